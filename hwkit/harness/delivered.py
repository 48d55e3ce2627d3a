"""What a miner delivered and what it told, window by window: shares are counted, none is kept."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hwkit.harness.answering import Answering
from hwkit.harness.chance import BINS, gap_bin
from hwkit.harness.efficiency import Work
from hwkit.protocols import Assigned, Basis, Link, Probe, Submission, Verdict
from hwkit.sha256d import sha256d

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hwkit.protocols import MinerEvent, Window
    from hwkit.work import Job, Share, Target

# Counters of a miner's own, as probes name them: what matters is by how much they rise.
COUNTERS = ("accepted", "rejected", "stale", "hardware_errors", "difficulty_accepted")
TOTAL_HASHES = "total_hashes"
# What it tells as it is now: what matters is the mean.
RATE, POWER, DEVFEE = "claimed_hashrate_h_s", "claimed_power_w", "devfee_fraction"
MOST_MEANS = 64
OTHER_RATE = f"{RATE} "  # and where it stands: of other windows, or other words for it
# How it is set: told when it changes.
SETTINGS = {
    "firmware",
    "mode",
    "tuning",
    "frequency_mhz",
    "voltage_v",
    "power_target_w",
    "hashrate_target_h_s",
    "chips",
}
# What the pool tells of itself: by how much its clock was late, and how long a miner's answer took.
LATE, ANSWERED = "pool_late_s", "answered_s"


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that was told otherwise; it changed somewhere between two looks."""

    name: str
    since: int  # monotonic ns: when it was told as before for the last time
    at: int
    before: Setting
    now: Setting


class Setting(NamedTuple):
    """What a miner said that it is set to: a number, or words."""

    value: float | None
    words: tuple[str, ...]


@dataclass(slots=True)
class Level:
    """Shares of one target."""

    shares: int = 0
    nearest: float = 0.0  # the largest hash, as a fraction of the target


@dataclass(slots=True)
class Rise:
    """By how much a counter rose, from its last reading before the first window on."""

    total: float = 0.0
    over_ns: int = 0
    resets: int = 0
    steps_s: float = 0.0  # between its changes, in all, and the sum of their cubes
    cubes: float = 0.0
    _last: tuple[int, float] | None = None
    _changed: int = 0

    @property
    def stale_s(self) -> float:
        """How far it may lag: the step in which a moment lies, as its square is on average."""
        return math.sqrt(self.cubes / self.steps_s) if self.steps_s else 0.0

    def take(self, at: int, value: float, *, counts: bool) -> None:
        """Add a reading; one before the first window is only begun from."""
        if self._last is not None and counts:
            began, before = self._last
            if value < before:  # a reboot: what lies between the two nobody knows
                self.resets += 1
            else:
                self.total += value - before
                self.over_ns += at - began
            if value != before:
                step_s = (at - self._changed) / 1e9
                self.steps_s, self.cubes = self.steps_s + step_s, self.cubes + step_s**3
        if self._last is None or value != self._last[1] or not counts:
            self._changed = at
        self._last = at, value


@dataclass(slots=True)
class Mean:
    """What a reading was on average, in time, from its last one before the first window on."""

    area: float = 0.0
    over_ns: int = 0
    words: tuple[str, ...] = ()
    count: int = 0  # of readings, their mean and the sum of squares about it (Welford)
    middle: float = 0.0
    about: float = 0.0
    _last: tuple[int, float] | None = None

    @property
    def value(self) -> float | None:
        """The mean; None without a reading."""
        if self.over_ns:
            return self.area / self.over_ns
        return self._last and self._last[1]

    @property
    def scatter(self) -> float:
        """The standard error of the mean of its readings, as if each were of its own."""
        return math.sqrt(self.about / (self.count - 1) / self.count) if self.count > 1 else 0.0

    def take(self, at: int, value: float, words: tuple[str, ...], *, counts: bool) -> None:
        """Add a reading."""
        if counts:
            self.count += 1
            off = value - self.middle
            self.middle += off / self.count
            self.about += off * (value - self.middle)
        if self._last is not None and counts:
            began, before = self._last
            self.area += (at - began) * (before + value) / 2
            self.over_ns += at - began
        self._last = at, value
        self.words = words or self.words


@dataclass(slots=True)
class Series:
    """What was told of one name, in order: 16 bytes each, half a megabyte a day."""

    at: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def between(self, opened: int, closed: int) -> Iterable[tuple[int, float]]:
        """Return what was told between two moments, both included."""
        first, last = bisect_left(self.at, opened), bisect_right(self.at, closed)
        return zip(self.at[first:last], self.values[first:last], strict=True)


@dataclass(slots=True)
class Delivered:
    """All that figures of a fed or watched miner need; of shares it keeps sums alone.

    Live it is fed by the session, and from a record by its rows. What was sent, refused and told
    counts from the first window's opening to the last one's end.
    """

    job: Job
    targets: dict[int, Target] = field(default_factory=dict)  # by the job's serial
    shares: int = 0
    work: float = 0.0  # hashes that they stand for; so are the next two
    squares: float = 0.0
    largest: float = 0.0  # of one share, credited or possible
    levels: dict[Target, Level] = field(default_factory=dict)
    spread: list[int] = field(default_factory=lambda: [0] * BINS)  # of hash over target
    gaps: dict[int, list[int]] = field(default_factory=dict)  # by bin: how many, and ns in all
    longest: tuple[float, int] = (0.0, 0)  # gap: over the work of a share, and ns
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    assigned: int = 0
    worked: set[int] = field(default_factory=set)  # serials of the jobs that shares are of
    rises: dict[str, Rise] = field(default_factory=lambda: defaultdict(Rise))
    means: dict[str, Mean] = field(default_factory=lambda: defaultdict(Mean))
    settings: dict[str, Probe] = field(default_factory=dict)  # as they were told last
    changes: list[Change] = field(default_factory=list)
    # For figures of a part of the run: by window, and what the miner claimed, by name.
    squares_of: array[float] = field(default_factory=lambda: array("d"))
    claims: dict[str, Series] = field(default_factory=lambda: defaultdict(Series))
    late: Counter[int] = field(default_factory=Counter)  # by bin: how late the pool's clock was
    answering: Answering = field(default_factory=Answering)
    opened: int | None = None
    last: int = 0  # when the last share came, or the first window opened
    each: float = 0.0  # hashes that a share stood for last
    # Of each kind, in order: one waits until a window closes after it.
    _pending: dict[type[MinerEvent], deque[MinerEvent]] = field(
        default_factory=lambda: defaultdict(deque)
    )

    def __post_init__(self) -> None:
        """Begin with the job itself, whose shares count at its own target."""
        self.targets[self.job.serial] = self.job.target

    def hear(self, event: MinerEvent) -> None:
        """Take what was sent, refused or told."""
        if isinstance(event, Assigned):
            self.targets[event.serial] = event.target
            self.answering.sent(event)
        good = isinstance(event, Submission) and event.verdict is Verdict.GOOD
        if not good and not isinstance(event, Link):
            self._pending[type(event)].append(event)

    def close(self, window: Window, shares: Iterable[tuple[int, Share]]) -> None:
        """Take a window with its shares, each with the time of its arrival."""
        if self.opened is None:
            self.opened = self.last = window.opened
            self.settle(window.opened)
        before = self.squares
        for at, share in shares:
            self._credit(at, share)
        self.squares_of.append(self.squares - before)
        self.settle(window.closed)

    def settle(self, until: int) -> None:
        """Count what was sent, refused and told up to a moment."""
        for waiting in self._pending.values():
            while waiting and waiting[0].at <= until:
                event = waiting.popleft()
                self._count(event, counts=self.opened is not None and event.at > self.opened)

    @property
    def credited(self) -> Work:
        """What was credited so far."""
        return Work(self.work, Basis.SHARES, self.shares, self.squares, self.largest)

    def gap_to(self, at: int, each: float) -> tuple[float, int]:
        """Return the gap since the last share: over the hashes a share stands for, and in ns."""
        gap = at - self.last
        return (gap / max(each, self.each) if max(each, self.each) else 0.0), gap

    def _count(self, event: MinerEvent, *, counts: bool) -> None:
        if isinstance(event, Probe):
            self._told(event, counts=counts)
        elif isinstance(event, Assigned):
            self.assigned += counts
            work = float(event.target.work)  # of those before it opened the last one is in force
            self.largest = max(self.largest, work) if counts else work
        elif isinstance(event, Submission):
            self.verdicts[event.verdict] += counts

    def _credit(self, at: int, share: Share) -> None:
        target = self.targets[share.serial]
        digest = int.from_bytes(sha256d(self.job.header(share)), "little")
        work = float(target.work)
        self.shares += 1
        self.work += work
        self.squares += work * work
        self.largest = max(self.largest, work)
        level = self.levels.setdefault(target, Level())
        level.shares += 1
        level.nearest = max(level.nearest, (digest + 1) / (target.value + 1))
        self.spread[min(digest * BINS // (target.value + 1), BINS - 1)] += 1
        gap = self.gap_to(at, work)
        some = self.gaps.setdefault(gap_bin(gap[0]), [0, 0])
        some[0] += 1
        some[1] += gap[1]
        self.longest = max(self.longest, gap)
        self.last, self.each = at, work
        self.worked.add(share.serial)
        self.answering.came(at, share.serial)

    def _is_rate(self, name: str) -> bool:
        """Is it a rate beside the first? Who invents names has so many and no more."""
        known = name in self.means or len(self.means) < MOST_MEANS
        return name.startswith(OTHER_RATE) and known

    def _told(self, probe: Probe, *, counts: bool) -> None:
        name, value = probe.name, probe.value
        if name in SETTINGS:
            before = self.settings.get(name, probe)
            old, now = Setting(before.value, before.words), Setting(value, probe.words)
            if counts and old != now:
                self.changes.append(Change(name, before.at, probe.at, old, now))
            self.settings[name] = probe
        elif value is None or not math.isfinite(value):
            return
        elif name in (*COUNTERS, TOTAL_HASHES):
            self.rises[name].take(probe.at, value, counts=counts)
        elif name in (RATE, POWER, DEVFEE) or self._is_rate(name):
            self.means[name].take(probe.at, value, probe.words, counts=counts)
        elif name == LATE and counts:
            self.late[gap_bin(value)] += 1
        elif name == ANSWERED and counts:
            self.answering.took(value)
        if value is not None and name in (TOTAL_HASHES, RATE, POWER):
            self.claims[name].at.append(probe.at)
            self.claims[name].values.append(value)
