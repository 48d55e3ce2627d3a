"""Is one faster than the other? A ratio with its interval, and a word for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hwkit.errors import Unmeasurable
from hwkit.harness.figures import compared_rate, cpu_rate
from hwkit.harness.statistics import centre_interval, shift_interval
from hwkit.protocols import Basis
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.protocols import Window

CONFIDENCE = 0.99  # of a comparison, since a word is made of it: false alarms must be rare
SAME_WITHIN = 0.01
RUN_TO_RUN = 0.03  # between runs at other times, beside what their windows show: an allowance
BLOCK_SHARES = 100
BLOCKS = 20
FEWEST = 8  # pairs (or windows of each): below, 99 % cannot be had


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rate of A over that of B. `word` says how A is: SAME, FASTER, SLOWER or AMBIGUOUS."""

    ratio: Figure
    word: str
    paired: bool
    windows: int  # pairs, or windows of the shorter side
    rate: str  # what was compared: "per CPU second" or "by wall clock"

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "ratio": self.ratio.to_json(),
            "word": self.word,
            "paired": self.paired,
            "windows": self.windows,
            "rate": self.rate,
        }


def compare(
    a: Sequence[Window], b: Sequence[Window], *, paired: bool, disturbed: bool = False
) -> Comparison:
    """Compare two runs by their windows; those of one round are pairs when `paired`.

    Runs that are not paired are widened by RUN_TO_RUN: two runs of one kernel differ by more than
    their windows say. `disturbed` runs (their caveats say that something came between) that are not
    paired are AMBIGUOUS. The rate is per second of thread CPU time where both runs have it: that of
    a shared machine's wall clock says more about its other users. Raises Unmeasurable without
    hashes on both sides.
    """
    a, b = [w for w in a if w.hashes], [w for w in b if w.hashes]
    if not a or not b:
        raise Unmeasurable("one side has no hashes: there is nothing to compare")
    rate = compared_rate([*a, *b])
    how = "per CPU second" if rate is cpu_rate else "by wall clock"
    if paired:
        rounds = {window.round: window for window in b}
        logs = [math.log(rate(w) / rate(rounds[w.round])) for w in a if w.round in rounds]
        count = len(logs)
        if not logs:
            raise Unmeasurable("the runs have no round in common")
        interval = centre_interval(logs, CONFIDENCE)
    else:
        left, right = ([math.log(rate(w)) for w in side] for side in (a, b))
        count = min(len(left), len(right))
        interval = shift_interval(left, right, CONFIDENCE)
    value, lo, hi = (math.exp(x) for x in (interval.value, interval.lo, interval.hi))
    if not paired:
        lo, hi = lo / (1 + RUN_TO_RUN), hi * (1 + RUN_TO_RUN)
    ratio = Figure(value, lo, hi, "")
    word = "AMBIGUOUS" if disturbed and not paired else _word(ratio, count)
    return Comparison(ratio, word, paired, count, how)


def in_blocks(windows: Sequence[Window], basis: Basis) -> list[Window]:
    """Return windows to compare by: a miner's are taken together until they have enough shares.

    Those of devices that count are as they were. A rate of few shares has no logarithm to speak of.
    """
    if basis is Basis.COUNTED or not windows:
        return list(windows)
    shares = sum(window.shares for window in windows)
    blocks = shares // BLOCK_SHARES if basis is Basis.SHARES else BLOCKS
    size = -(-len(windows) // max(blocks, 1))
    found = []
    for first in range(0, len(windows), size):
        some = windows[first : first + size]
        found.append(
            replace(
                some[0],
                closed=some[-1].closed,
                hashes=sum(window.hashes for window in some),
                shares=sum(window.shares for window in some),
            )
        )
    return found


def _word(ratio: Figure, count: int) -> str:
    if count < FEWEST:
        return "AMBIGUOUS"
    if ratio.lo >= 1 - SAME_WITHIN and ratio.hi <= 1 + SAME_WITHIN:
        return "SAME"
    if ratio.lo > 1:
        return "FASTER"
    if ratio.hi < 1:
        return "SLOWER"
    return "AMBIGUOUS"
