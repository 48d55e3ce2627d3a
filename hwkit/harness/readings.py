"""What a meter's raw readings say, stretch by stretch: power pieces, counter pieces, findings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, pairwise, zip_longest
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from hwkit.harness.streams import Piece, Stream
from hwkit.protocols import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hwkit.protocols import MeterSpec, Reading

GAP = 3.0  # intervals without a reading that are still interpolated
STUCK = 10.0  # update periods with one and the same value
FEW_MOVES = 3  # that could be multiples of anything
FEW = 10  # intervals from which a median is believed against the meter's own word
MOST_W, MOST_J = 1e9, 1e18  # a gigawatt, and thirty years of it: beyond, a number is no reading
LEAP = 100.0  # times the usual power: with nothing else to go by, more is no rise, no reading
CLOCK = "clock"  # a flag: its stamp and its arrival drift apart


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the readings that is not plain measuring, and when (monotonic ns)."""

    kind: str  # gap, wrap, reset, jump, stuck, absurd, order, clock, slow, disagreement
    at: int
    text: str


class _Limits(NamedTuple):
    """What a counter may rise, from its last change on."""

    rise_w: float
    wrap_w: float  # where it fell, and would have to have wrapped
    slack_j: float


class Readings:
    """A meter's readings in order of time, seconds since `origin` (monotonic ns)."""

    def __init__(
        self,
        readings: Iterable[Reading],
        spec: MeterSpec,
        origin: int,
        ceiling_w: float | None = None,
        until: int | None = None,
    ) -> None:
        """Sort, drop what no meter can mean, and form the pieces.

        `ceiling_w` is what can be drawn at most; what is usual from `origin` `until` then, and
        _limits, stand in for it. A stamp that comes twice counts once, as it came last.
        """
        self.origin = origin
        self.spec = spec
        self.findings: list[tuple[float, float, Finding]] = []  # from, to, what
        arrived = list(readings)
        self.all = sorted(arrived, key=lambda reading: reading.at)
        for before, after in pairwise(arrived):
            if after.at < before.at:
                self._find("order", after.at, after.at, "stamped before the one that came before")
        for reading in self.all:
            if CLOCK in reading.flags:
                self._find("clock", reading.at, reading.at, "its stamp and its arrival drift apart")
        limit = _range(spec)
        most_w = [ceiling_w, limit, MOST_W]
        if not (ceiling_w or limit):
            most_w.append(self._leap_w(until))
        watts = self._values("watts", min(w for w in most_w if w))
        joules = self._values("joules", MOST_J)
        self.interval_s = self._interval([t for t, _ in watts] or [t for t, _ in joules])
        self.power = self._power(watts)
        self._known_w = (ceiling_w, limit, max((w for _, w in watts), default=None))
        self.counter = self._counter(joules)
        self._find_stuck_power(watts)

    @property
    def peak_w(self) -> float:
        """The largest power seen, by power readings where there are any."""
        return self.power.peak_w or self.counter.peak_w

    def _leap_w(self, until: int | None) -> float | None:
        """Return what is too much to be a reading beside the usual ones; None: too few to say."""
        inside = [
            reading.watts
            for reading in self.all
            if until is not None and self.origin <= reading.at <= until and reading.watts
        ]
        return LEAP * median(inside) if len(inside) >= FEW else None

    def _find(self, kind: str, start_ns: float, end_ns: float, text: str) -> None:
        start, end = (start_ns - self.origin) / 1e9, (end_ns - self.origin) / 1e9
        self.findings.append((start, end, Finding(kind, round(end_ns), text)))

    def _at(self, kind: str, start: float, end: float, text: str) -> None:
        self._find(kind, self.origin + start * 1e9, self.origin + end * 1e9, text)

    def _values(self, name: str, most: float) -> list[tuple[float, float]]:
        """Return (seconds, value) of the readings that have a value a meter can mean."""
        found: dict[float, float] = {}
        for reading in self.all:
            value = getattr(reading, name)
            if value is None:
                continue
            if 0 <= value <= most:  # and no NaN
                found[(reading.at - self.origin) / 1e9] = value
            else:
                self._find("absurd", reading.at, reading.at, f"{value:g} {name} is left out")
        return list(found.items())

    def _interval(self, times: Sequence[float]) -> float:
        """Return the meter's interval: its own word, or what it does where that is longer."""
        nominal = self.spec.interval_s
        if nominal is None:
            return math.inf
        steps = [b - a for a, b in pairwise(times)]
        achieved = median(steps) if len(steps) >= FEW else 0.0
        if achieved > 1.5 * nominal:
            self._at(
                "slow", times[0], times[-1], f"a reading each {achieved:.3g} s, not {nominal:g} s"
            )
        return max(nominal, achieved)

    def _power(self, watts: Sequence[tuple[float, float]]) -> Stream:
        """Join neighbours that are no further apart than GAP intervals.

        A reading that is a mean of the time before it belongs to the middle of that time. A meter
        read at a run's two ends says nothing of the power between. No step is larger than the
        smallest move seen.
        """
        shift = self.spec.averaging_s / 2
        pieces = [
            Piece(t0 - shift, t1 - shift, p0, p1)
            for (t0, p0), (t1, p1) in pairwise(watts)
            if t1 - t0 <= GAP * self.interval_s < math.inf
        ]
        peak = max((value for _, value in watts), default=0.0)
        moves = [abs(p1 - p0) for (_, p0), (_, p1) in pairwise(watts) if p1 != p0]
        shown = min(moves, default=0.0) if len(watts) > FEW else 0.0
        step = shown if self.spec.quantum_w is None else self.spec.quantum_w
        return Stream(pieces, step, peak)

    def _counter(self, joules: Sequence[tuple[float, float]]) -> Stream:
        """Take differences; a fall is a wrap where it can be one, else a reset: a hole.

        A counter that shows a coarse step, or is renewed rarely, rose all the time since its last
        change, and not in the last interval.
        """
        changes = [same[0] for same in _runs(joules)]
        rises = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(changes) if b[1] > a[1]]
        known_w = [w and times * w for w, times in zip(self._known_w, (1, 1, 2), strict=True)]
        most_w = min((w for w in known_w if w), default=math.inf)
        # A rise that nothing can have drawn says nothing of the step.
        step = self._step(joules, [rise for width, rise in rises if rise <= most_w * width])
        usual_w = median(rise / width for width, rise in rises[1:] or rises) if rises else 0.0
        stuck = self._stuck_counter(joules, step, usual_w)
        limits = self._limits(usual_w, step)
        pieces: list[Piece] = []
        changed = since = joules[0][0] if joules else 0.0  # since: what no piece tells of yet
        peak = usual_w
        for before, after in pairwise(joules):
            (t0, c0), (t1, c1) = before, after
            rise = self._rise(before, after, changed, limits)
            changed = changed if c1 == c0 else t1
            if rise == 0 and not any(start <= t0 and t1 <= end for start, end in stuck):
                continue
            if t0 > since and not (rise and rise <= 2 * step):
                pieces.append(Piece(since, t0, 0.0, 0.0))
                since = t0
            if rise:
                pieces.append(Piece(since, t1, rise / (t1 - since), rise / (t1 - since)))
                peak = max(peak, (rise - step) / (t1 - since))
            since = t1
        if joules and joules[-1][0] > since:
            pieces.append(Piece(since, joules[-1][0], 0.0, 0.0))
        return Stream(pieces, step, peak)

    def _step(self, joules: Sequence[tuple[float, float]], rises: Sequence[float]) -> float:
        """Return the counter's step: its word, and what its values show where that is more.

        Where values repeat, a rise is a step (or the meter renews its counter rarely, which comes
        to the same). Where none does, no step is larger than the smallest rise.
        """
        stated = self.spec.quantum_j
        if rises and len(joules) > FEW:
            if any(c1 == c0 for (_, c0), (_, c1) in pairwise(joules)):
                return max(stated or 0.0, median(rises))
            if stated is None:
                return min(rises)
        return stated or 0.0

    def _limits(self, usual_w: float, step: float) -> _Limits:
        """Return what a rise can be: by what was said, by power readings, by the meter's range.

        A counter that rises faster than power readings say, all the time, contradicts them, which
        is not for here. A counter alone cannot tell a jump from a load that sets in, and is given
        much; that it wraps while a load sets in is rare, and to take it for a reset costs little.
        """
        ceiling_w, limit_w, peak_w = self._known_w
        if ceiling_w is not None:
            return _Limits(ceiling_w, ceiling_w, 2 * step)
        most_w = math.inf if limit_w is None else limit_w
        if peak_w is not None:
            most_w = min(most_w, 2 * max(peak_w, usual_w))
            return _Limits(most_w, most_w, 2 * step)
        return _Limits(min(most_w, LEAP * usual_w), min(most_w, LEAP / 10 * usual_w), 2 * step)

    def _rise(
        self, before: tuple[float, float], after: tuple[float, float], changed: float, most: _Limits
    ) -> float | None:
        """Return by how much the counter rose; None where it cannot say."""
        (t0, c0), (t1, c1) = before, after
        modulus = self.spec.modulus_j
        if modulus is not None and most.wrap_w * (t1 - t0) >= modulus:
            self._at("gap", t0, t1, f"in {t1 - t0:.3g} s the counter may have wrapped unseen")
            return None
        if c1 >= c0:
            if c1 - c0 <= most.rise_w * (t1 - changed) + most.slack_j:
                return c1 - c0
            self._at("jump", t0, t1, f"the counter rose {c1 - c0:g} J, more than can be drawn")
            return None
        if modulus is not None and max(c0, c1) <= modulus:
            rise = c1 - c0 + modulus
            if rise <= most.wrap_w * (t1 - changed) + most.slack_j:
                self._at("wrap", t0, t1, f"the counter wrapped at {modulus:g} J")
                return rise
        self._at("reset", t0, t1, f"the counter fell from {c0:g} to {c1:g} J: the window is split")
        return None

    def _stuck_counter(
        self, joules: Sequence[tuple[float, float]], step: float, usual_w: float
    ) -> list[tuple[float, float]]:
        """Return when the counter stood still though energy flowed, and did not catch up after."""
        found = []
        runs = _runs(joules)
        for same, after in zip_longest(runs, runs[1:]):
            start, end = same[0][0], same[-1][0]
            if not STUCK * self.interval_s < end - start < math.inf:
                continue
            seen_s = sum(b - a for a, b in self.power.covered(start, end))
            flowed = (
                self.power.energy(start, end) * (end - start) / seen_s
                if seen_s > (end - start) / 2
                else usual_w * (end - start)
            )
            caught_up = after is not None and after[0][1] - same[0][1] > flowed / 2
            if flowed > STUCK * step and flowed > 0 and not caught_up:
                self._at("stuck", start, end, f"the counter stood still for {end - start:.0f} s")
                found.append((start, end))
        return found

    def _find_stuck_power(self, watts: Sequence[tuple[float, float]]) -> None:
        """Find one value held for long: not where its step is coarse, or the counter bears it out.

        The readings are kept: a steady load is no fault of theirs. A nameplate has but one value.
        """
        if self.spec.provenance is Provenance.NAMEPLATE:
            return
        step = self.spec.quantum_w
        step = max(_common_step(watts), _shown_step(watts)) if step is None else step
        for same in _runs(watts):
            (start, value), (end, _) = same[0], same[-1]
            if (
                step >= 1e-3 * value
                or not STUCK * max(self.interval_s, self.spec.averaging_s) < end - start
            ):
                continue
            counted = self.counter.energy(start, end)
            told = value * (end - start)
            if abs(counted - told) > 2 * self.counter.step + 0.02 * told:
                self._at("stuck", start, end, f"{value:g} W and no other for {end - start:.0f} s")


def _common_step(samples: Sequence[tuple[float, float]]) -> float:
    """Return the step that all moves are multiples of; 0 where there is none, or too few moves."""
    moves = [abs(b - a) for (_, a), (_, b) in pairwise(samples) if b != a]
    least = min(moves, default=0.0)
    if len(moves) < FEW_MOVES or any(abs(move / least % 1 - 0.5) < 0.49 for move in moves):
        return 0.0
    return least


def _shown_step(samples: Sequence[tuple[float, float]]) -> float:
    """Return 1 or 0.1 W where no reading is finer: that may be all that the meter shows."""
    return next(
        (
            step
            for step in (1.0, 0.1)
            if all(math.isclose(w, round(w / step) * step) for _, w in samples)
        ),
        0.0,
    )


def _range(spec: MeterSpec) -> float | None:
    """Return the most a meter can show: its range with a fifth more."""
    range_w = spec.accuracy.range_w if spec.accuracy else None
    return None if range_w is None else 1.2 * range_w


def _runs(samples: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Cut the samples where the value changes."""
    return [list(group) for _, group in groupby(samples, key=lambda sample: sample[1])]
