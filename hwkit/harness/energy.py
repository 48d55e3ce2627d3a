"""Joules between two instants, from a meter's raw readings, and how far they can be believed.

Pure: no I/O, no clock. Everything is derived in docs/metering.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby, pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError, Unmeasurable
from hwkit.harness.assembly import NEGLIGIBLE, Source, choose, compare
from hwkit.harness.readings import Finding, Readings
from hwkit.protocols import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hwkit.harness.correction import Correction
    from hwkit.protocols import Accuracy, MeterSpec, Reading, Scope

GOOD, ENOUGH = 0.95, 0.80  # of the window; below the one it is graded down, below the other bears
DECADE = 10.0  # of load, within which a meter's error may wander through all that its class allows
MANY = 10  # findings of one kind that are told one by one
METER_CLASS, ALIGNMENT, DISAGREEMENT = "meter class", "alignment", "disagreement"


class Grade(StrEnum):
    """What an energy may be used for."""

    FULL = "full"
    REDUCED = "reduced"  # something was bounded, stuck or contradicted; it says what
    NONE = "none"  # less than 80 % of the window was seen: no headline


@dataclass(frozen=True, slots=True)
class Polling:
    """How often the meter was really read, in seconds; None where there were no two readings."""

    readings: int
    median_s: float | None
    p99_s: float | None
    largest_s: float | None

    def __str__(self) -> str:
        """Say it in words."""
        if self.median_s is None:
            return "no two readings"
        rest = f"99 % within {self.p99_s:.3g} s, {self.largest_s:.3g} s at most"
        return f"each {self.median_s:.3g} s (median), {rest}"


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules of a window, with the standard uncertainty (k = 1, joules) of each term."""

    joules: float | None  # None: nothing was seen
    opened: int  # monotonic ns; a manual meter's window is that of its readings
    closed: int
    source: Source | None
    specs: tuple[MeterSpec, ...]
    coverage: float = 0.0  # the part of the window in which energy was seen
    terms: Mapping[str, float] = field(default_factory=dict, hash=False)
    polling: Polling = Polling(0, None, None, None)
    difference: float | None = None  # counter less integral, as a fraction, where both saw
    findings: tuple[Finding, ...] = ()
    corrections: Mapping[str, Correction] = field(default_factory=dict, hash=False)  # by meter

    @property
    def time_s(self) -> float:
        """How long the window is."""
        return (self.closed - self.opened) / 1e9

    @property
    def u(self) -> float:
        """The combined standard uncertainty in joules."""
        return math.hypot(*self.terms.values())

    @property
    def grade(self) -> Grade:
        """What it may be used for."""
        if self.joules is None or self.coverage < ENOUGH:
            return Grade.NONE
        graded = {"gap", "stuck", "clock", "disagreement"} & {
            finding.kind for finding in self.findings
        }
        return Grade.REDUCED if graded or self.coverage < GOOD else Grade.FULL

    @property
    def unchecked(self) -> bool:
        """Is there a meter in it whose accuracy nobody vouches for? Then u leaves it out."""
        return any(s.accuracy is None and s.name not in self.corrections for s in self.specs)

    @property
    def scope(self) -> Scope:
        """What was metered."""
        return self.specs[0].scope

    def to_json(self) -> dict[str, Any]:
        """Return all but the meters, which stand in the record by themselves."""
        polling = self.polling
        return {
            "joules": self.joules,
            "U": None if self.joules is None else 2 * self.u,
            "opened": self.opened,
            "closed": self.closed,
            "source": self.source and self.source.value,
            "coverage": self.coverage,
            "terms": dict(self.terms),
            "readings": polling.readings,
            "interval_s": {
                "median": polling.median_s,
                "p99": polling.p99_s,
                "largest": polling.largest_s,
            },
            "difference": self.difference,
            "grade": self.grade.value,
            "findings": [{"kind": f.kind, "at": f.at, "text": f.text} for f in self.findings],
        }


def energy(
    readings: Iterable[Reading],
    spec: MeterSpec,
    a_ns: int,
    b_ns: int,
    *,
    ceiling_w: float | None = None,
    floor_w: float = 0.0,
) -> Energy:
    """Return the joules between two instants of the monotonic clock.

    Readings from before and after the window belong in it: its edges are interpolated. What nobody
    saw is bounded by `floor_w` and the largest power seen; `ceiling_w` is what can be drawn at most
    (say twice the nameplate), above which a reading is left out. Raises Unmeasurable for a window
    that is not one.
    """
    arrived = list(readings)
    if spec.interval_s is None:
        a_ns, b_ns = _own_window(arrived, a_ns, b_ns)
    if b_ns <= a_ns:
        raise Unmeasurable(f"a window of {(b_ns - a_ns) / 1e9:g} s holds no energy")
    seen = Readings(arrived, spec, a_ns, ceiling_w, b_ns)
    width = (b_ns - a_ns) / 1e9
    result = Energy(None, a_ns, b_ns, None, (spec,), polling=_polling(seen.all, a_ns, b_ns))
    chosen = choose(seen, width, floor_w)
    if chosen is None:
        return replace(result, findings=_within(seen, width))
    joules, difference = chosen.joules, None
    of_class = class_u(spec, joules / width)
    terms = {
        **chosen.terms,
        METER_CLASS: joules * (of_class or 0.0),
        ALIGNMENT: _alignment(seen, joules / width, a_ns, b_ns),
    }
    both = compare(seen, width)
    if both is not None:
        counter, integral, u = both
        difference = (counter - integral) / integral
        if abs(counter - integral) > max(
            2 * math.hypot(u, terms[METER_CLASS]), NEGLIGIBLE * integral
        ):
            text = f"the counter says {counter / integral:.4g} times what power readings say"
            seen.findings.append((0.0, width, Finding("disagreement", b_ns, text)))
            terms[DISAGREEMENT] = abs(counter - integral) / math.sqrt(3)
    manual = spec.provenance is Provenance.MANUAL
    return replace(
        result,
        joules=joules,
        source=Source.MANUAL if manual else chosen.source,
        coverage=1 - chosen.unseen_s / width,
        terms={name: u for name, u in terms.items() if u > 0},
        difference=difference,
        findings=_within(seen, width),
    )


def together(parts: Sequence[tuple[int, Energy]]) -> Energy:
    """Return the sum of energies of one window, each with a sign: two outlets, less a pump.

    Errors of meters of one model add linearly, whatever the sign: nothing says that they cancel.
    Meters without a model count as one. All else adds in quadrature. Raises PlanError where scopes
    differ, or windows by more than 1 ms.
    """
    energies = [energy for _, energy in parts]
    first = energies[0]
    if len({energy.scope for energy in energies}) > 1:
        scopes = ", ".join(energy.scope for energy in energies)
        raise PlanError(f"meters of {scopes} in one sum: they see different things")
    if any(abs(e.opened - first.opened) + abs(e.closed - first.closed) > 1e6 for e in energies):
        raise PlanError("energies of different windows have no sum")
    joules = (
        None
        if any(energy.joules is None for energy in energies)
        else sum(sign * (energy.joules or 0.0) for sign, energy in parts)
    )
    names = {name for energy in energies for name in energy.terms} - {METER_CLASS}
    terms = {name: math.hypot(*(e.terms.get(name, 0.0) for e in energies)) for name in names}

    def model(energy: Energy) -> str:  # whose class it is: a corrected meter's is the reference's
        by = {name: correction.by for name, correction in energy.corrections.items()}
        return " ".join(sorted(by.get(spec.name, spec).model or "" for spec in energy.specs))

    alike = groupby(sorted(energies, key=model), key=model)
    of_class = math.hypot(*(sum(e.terms.get(METER_CLASS, 0.0) for e in some) for _, some in alike))
    sources = {energy.source for energy in energies}
    return Energy(
        joules if joules is None or joules >= 0 else None,
        first.opened,
        first.closed,
        sources.pop() if len(sources) == 1 else Source.INTEGRAL,
        tuple(spec for energy in energies for spec in energy.specs),
        min(energy.coverage for energy in energies),
        terms | ({METER_CLASS: of_class} if of_class else {}),
        max((energy.polling for energy in energies), key=lambda polling: polling.largest_s or 0.0),
        max((e.difference for e in energies if e.difference is not None), key=abs, default=None),
        tuple(finding for energy in energies for finding in energy.findings),
        {name: each for energy in energies for name, each in energy.corrections.items()},
    )


def class_u(spec: MeterSpec, power_w: float) -> float | None:
    """Return the relative standard uncertainty by a meter's class at this power; None: unchecked.

    Its limits are rectangular, of reading and of range independent of each other.
    """
    accuracy = spec.accuracy
    if accuracy is None:
        return None
    if accuracy.of_range and accuracy.range_w is None:
        raise PlanError(f"{spec.name}: its accuracy is a part of its range, which is not given")
    of_range = accuracy.of_range * (accuracy.range_w or 0.0)
    return math.hypot(accuracy.of_reading, of_range / power_w if power_w else 0.0) / math.sqrt(3)


def linearity_u(accuracy: Accuracy | None, p: float, q: float) -> float:
    """Return the relative standard uncertainty that a class leaves of the ratio of two loads.

    Nothing of like ones. Without a class nothing is known of it, and 0 is returned.
    """
    if accuracy is None:
        return 0.0
    apart = min(abs(math.log(p / q, DECADE)), 1.0)
    of_range = accuracy.of_range * (accuracy.range_w or 0.0)
    return math.hypot(2 * accuracy.of_reading * apart, of_range * abs(1 / p - 1 / q)) / math.sqrt(3)


def _alignment(seen: Readings, power_w: float, a_ns: int, b_ns: int) -> float:
    """Return joules: each edge's reading was made somewhere between its request and its answer.

    One that came unasked, an interval before it came: how often they come does not say how old
    they are, for a program that floods has a backlog.
    """

    def width(edge: int) -> float:
        after = bisect_left(seen.all, edge, key=lambda reading: reading.at)
        near = seen.all[max(after - 1, 0) : after + 1]
        nearest = min(near, key=lambda reading: abs(reading.at - edge))
        if nearest.took_ns is not None:
            return nearest.took_ns / 1e9
        return 0.0 if math.isinf(seen.interval_s) else seen.interval_s

    return power_w * math.hypot(width(a_ns), width(b_ns)) / math.sqrt(12)


def _own_window(readings: Sequence[Reading], a_ns: int, b_ns: int) -> tuple[int, int]:
    """Return the readings that enclose the window, or lie next to its ends."""
    at = sorted(reading.at for reading in readings if reading.joules is not None)
    if len(at) < 2:
        return a_ns, b_ns
    return (
        max((t for t in at if t <= a_ns), default=at[0]),
        min((t for t in at if t >= b_ns), default=at[-1]),
    )


def _polling(readings: Sequence[Reading], a_ns: int, b_ns: int) -> Polling:
    inside = [reading.at for reading in readings if a_ns <= reading.at <= b_ns]
    steps = sorted((b - a) / 1e9 for a, b in pairwise(inside))
    if not steps:
        return Polling(len(inside), None, None, None)
    p99 = steps[math.ceil(0.99 * len(steps)) - 1]
    return Polling(len(inside), median(steps), p99, steps[-1])


def _within(seen: Readings, width: float) -> tuple[Finding, ...]:
    """Return what was found in the window; of many alike the first few, and how many more."""
    inside = [finding for start, end, finding in seen.findings if end >= 0 and start <= width]
    told = []
    for kind in dict.fromkeys(finding.kind for finding in inside):
        alike = [finding for finding in inside if finding.kind == kind]
        told += alike[:MANY]
        if len(alike) > MANY:
            told.append(Finding(kind, alike[-1].at, f"and {len(alike) - MANY} more, to here"))
    return tuple(told)
