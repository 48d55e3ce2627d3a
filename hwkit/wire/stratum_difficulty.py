"""Which difficulty to give a miner: pure functions of what its shares have shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwkit.protocols import Submission, Verdict
from hwkit.work import DIFFICULTY_1, NONCES, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

START_PER_S, MOST_PER_S = 10.0, 50.0  # shares of one miner: to begin with, and aimed at
STEP = 2.0  # the difficulty falls by no more between two windows, that what it does is seen
STEP_UNSEEN = 8.0  # and by that until the first share comes,
LEAST_UNSEEN = 2.0**-16  # but not below: a miner that begins late would choke
FLOOR_CHANCE = 1e-6  # how unlikely its shares must be for a device to have a floor
FLOOR_MARGIN = 1e-3  # the floor lies below all its shares: by more only with this chance
LATENCY_SLACK_S = 0.02
EASIEST = 2.0**-32  # what Target.from_difficulty takes


@dataclass(frozen=True, slots=True)
class Seen:
    """What one window at one difficulty has shown of a miner."""

    shares: int  # good ones
    rejects: int  # low, stale, duplicate and wrong ones
    time_s: float
    latency_s: float | None = None  # the median, where it is known

    @classmethod
    def of(cls, events: Iterable[object], time_s: float, latency_s: float | None = None) -> Seen:
        """Count the submissions among events."""
        verdicts = [each.verdict for each in events if isinstance(each, Submission)]
        good = verdicts.count(Verdict.GOOD)
        return cls(good, len(verdicts) - good, time_s, latency_s)


@dataclass(frozen=True, slots=True)
class Steering:
    """The difficulty of a miner's next window, and what was learned on the way to it."""

    difficulty: float
    least: float = EASIEST  # below it the device has a floor, or rejects or latency rose
    before: Seen | None = None  # the window above this difficulty
    known: bool = False  # has a share come? Without one since, it has stopped: nothing is learned

    @classmethod
    def towards(cls, rate_h_s: float) -> Steering:
        """Begin where this hashrate gives 10 to 20 shares a second."""
        return cls(_power_below(rate_h_s / (START_PER_S * NONCES)))

    def after(self, seen: Seen, digests: Sequence[bytes] = ()) -> Steering:
        """Return what follows from a window at this difficulty and its good shares' hashes.

        Down by steps of 2 toward 50 shares a second, while rejects and latency are as they were
        before the last step, else back; up at once where shares come faster than that; never below
        the least.
        """
        least = max(self.least, floor(digests, Target.from_difficulty(self.difficulty)) or 0.0)
        per_s = seen.shares / seen.time_s
        if self.before is not None and suffers(seen, self.before):
            least = wanted = self.difficulty * STEP
        elif not seen.shares and not self.known:
            wanted = max(self.difficulty / STEP_UNSEEN, min(self.difficulty, LEAST_UNSEEN))
        elif per_s > STEP * MOST_PER_S:
            wanted = STEP * _power_below(self.difficulty * per_s / MOST_PER_S)
        elif 0 < per_s * STEP <= MOST_PER_S:
            wanted = self.difficulty / STEP
        else:
            wanted = self.difficulty
        difficulty = max(wanted, least)
        before = seen if difficulty < self.difficulty else None
        return Steering(difficulty, least, before, self.known or seen.shares > 0)


def suffers(seen: Seen, before: Seen) -> bool:
    """Have rejects or latency risen by more than chance does (3 standard deviations)?"""
    sent, sent_before = seen.shares + seen.rejects, before.shares + before.rejects
    if sent and sent_before:
        part = (seen.rejects + before.rejects + 1) / (sent + sent_before + 2)
        chance = math.sqrt(part * (1 - part) * (1 / sent + 1 / sent_before))
        if seen.rejects / sent - before.rejects / sent_before > 3 * chance:
            return True
    if seen.latency_s is None or before.latency_s is None:
        return False
    return seen.latency_s > 2 * before.latency_s + LATENCY_SLACK_S


def floor(digests: Sequence[bytes], target: Target) -> float | None:
    """Return the difficulty below which a device seems to send no shares; None: none is seen.

    A chip's own filter keeps easier ones back, and at a lower difficulty its work is undercounted.
    Of k honest shares at difficulty D none is below F with chance (D/F)^k. What is returned is the
    next power of two from the lowest floor that fits: filters are powers of two.
    """
    if not digests:
        return None
    easiest = DIFFICULTY_1 / max(1, *(int.from_bytes(each, "little") for each in digests))
    k, assigned = len(digests), float(target.difficulty)
    if k * math.log(assigned / easiest) >= math.log(FLOOR_CHANCE):
        return None
    lowest = 2.0 ** math.ceil(math.log2(easiest * FLOOR_MARGIN ** (1 / k)))
    return lowest if lowest > assigned else None


def _power_below(difficulty: float) -> float:
    return 2.0 ** math.floor(math.log2(max(difficulty, EASIEST)))
