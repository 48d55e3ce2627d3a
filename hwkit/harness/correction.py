"""One meter held against another in series: by what factor it errs, and joules put right by it.

The formulas are derived in docs/metering.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import PlanError, Unmeasurable
from hwkit.harness import caveats
from hwkit.harness.efficiency import Budget
from hwkit.harness.energy import METER_CLASS, Energy, Grade, class_u, energy, linearity_u
from hwkit.harness.metering import spec_from_json, spec_to_json
from hwkit.harness.plan import percent
from hwkit.protocols import Accuracy, Provenance
from hwkit.units import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwkit.harness.caveats import Caveat
    from hwkit.harness.metering import Sampled
    from hwkit.protocols import MeterSpec
    from hwkit.units import Figure

INDEPENDENT = {Provenance.METER, Provenance.MANUAL}
FEWEST = 10  # readings of each: from fewer a counter's step cannot be told
BETWEEN_W = 1.0  # what a plug or a DIN meter draws at most, as its datasheet has it
BETWEEN = "drawn between"
VALID_DAYS = 365  # usual between two calibrations
SAME_NS = 1_000_000
ALIKE = 3.0  # times the load of the comparison, up or down, within which it says something


@dataclass(frozen=True, slots=True)
class Correction:
    """How many times what `by` reads a meter reads, at one load on one day."""

    factor: float
    u: float  # relative standard uncertainty of the factor (k = 1); the class of `by` comes beside
    by: MeterSpec  # with model and serial as it told them
    on: str  # UTC date, ISO 8601
    power_w: float  # of the load, as `by` read it

    def u_at(self, spec: MeterSpec, power_w: float) -> float:
        """Return the relative standard uncertainty that stands in place of the meter's own class.

        Of the factor, of the class of `by` at the load of the comparison, and of how the meter's
        own error may wander from that load to this one.
        """
        wander = linearity_u(spec.accuracy, power_w, self.power_w)
        return math.hypot(self.u, self.reference_u, wander)

    def put_right(self, spec: MeterSpec, power_w: float | None) -> MeterSpec:
        """Return the meter as it is foreseen: with what is left to it in place of its class."""
        u = self.u_at(spec, power_w or self.power_w)
        return replace(spec, accuracy=Accuracy(u * math.sqrt(3), source=f"put right by {self}"))

    @property
    def reference_u(self) -> float:
        """The relative standard uncertainty by the class of `by`, at the load of the comparison."""
        return class_u(self.by, self.power_w) or 0.0

    @classmethod
    def of(cls, found: Comparison, by: MeterSpec, on: str) -> Self:
        """Return what a comparison says of its first meter; `by` is the second, as it is here."""
        return cls(found.factor.value, found.budget.u, by, on, found.power_w)

    def __str__(self) -> str:
        """Say it in words that follow 'by'."""
        times = f"it reads {self.factor:.5g} times as much, ±{percent(2 * self.u)}"
        beside = f"beside that one's own ±{percent(2 * self.reference_u)}"
        return f"{self.by.name}: {times} {beside}, at {show(self.power_w, 'W')}, {self.on}"

    def age_days(self, day: str) -> int:
        """Return how old it is on a day (ISO 8601, a date or a time)."""
        return (date.fromisoformat(day[:10]) - date.fromisoformat(self.on)).days

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record, beside its meter."""
        return {
            "factor": self.factor,
            "u": self.u,
            "by": spec_to_json(self.by),
            "on": self.on,
            "power_w": self.power_w,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read back what to_json wrote. Raises as its types do, ValueError for what cannot be."""
        factor, u, power_w = (float(document[name]) for name in ("factor", "u", "power_w"))
        by = spec_from_json(document["by"])
        if not (0 < factor < math.inf and 0 <= u < math.inf and 0 < power_w < math.inf):
            raise ValueError("a correction's factor and power lie above 0, its u not below")
        if class_u(by, power_w) is None:
            raise ValueError(f"{by.name}: its accuracy is unchecked, so it corrects nothing")
        date.fromisoformat(document["on"])
        return cls(factor, u, by, document["on"], power_w)


def corrected(seen: Energy, correction: Correction | None) -> Energy:
    """Return the energy of one meter, put right; without a correction, as it is."""
    if correction is None or not seen.joules:
        return seen
    [spec] = seen.specs
    joules = seen.joules / correction.factor
    terms = {name: u / correction.factor for name, u in seen.terms.items()}
    terms[METER_CLASS] = joules * correction.u_at(spec, joules / seen.time_s)
    return replace(seen, joules=joules, terms=terms, corrections={spec.name: correction})


def doubts(seen: Energy, day: str) -> list[Caveat]:
    """Return what a reader has to know of how one meter was put right, on a day (ISO 8601)."""
    found: list[Caveat] = []
    for name, correction in seen.corrections.items():
        age_days = correction.age_days(day)
        if age_days > VALID_DAYS:
            found.append(caveats.OldCorrection(name, correction.on, age_days))
        at_w = (seen.joules or 0.0) / seen.time_s
        if not 1 / ALIKE <= at_w / correction.power_w <= ALIKE:
            found.append(caveats.DistantCorrection(name, correction.power_w, at_w))
    return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many times what the second meter read the first one read, over one window."""

    a: Energy
    b: Energy
    factor: Figure
    budget: Budget  # alignment, steps, sampling, what lies between; no class

    @property
    def power_w(self) -> float:
        """The load, as the second meter read it."""
        return (self.b.joules or 0.0) / self.b.time_s

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "a": self.a.specs[0].name,
            "b": self.b.specs[0].name,
            "factor": self.factor.to_json() | {"budget": self.budget.to_json()},
            "power_w": self.power_w,
            "time_s": self.a.time_s,
            "contradiction": self.contradiction,
        }

    @property
    def against(self) -> str | None:
        """Why nothing can be corrected by it; None where it can."""
        [a], [b] = self.a.specs, self.b.specs
        of_b, of_a = class_u(b, self.power_w), class_u(a, self.power_w)
        if b.provenance not in INDEPENDENT:
            return f"{b.name} is no instrument of its own ({b.provenance})"
        if of_b is None:
            return f"{b.name}: its accuracy is unchecked"
        if of_a is not None and math.hypot(of_b, self.budget.u) >= of_a:
            return f"by {b.name} it would be known no better than by its own class"
        return None

    @property
    def contradiction(self) -> bool:
        """Do the two differ by more than both classes and the comparison allow (k = 2)?"""
        [a], [b] = self.a.specs, self.b.specs
        classes = [class_u(a, self.power_w), class_u(b, self.power_w)]
        if None in classes:
            return False
        allowed = 2 * math.hypot(self.budget.u, *(u for u in classes if u is not None))
        return abs(math.log(self.factor.value)) > allowed


def refuse_unlike(a: MeterSpec, b: MeterSpec) -> None:
    """Raise PlanError for meters that no one load can be seen by."""
    if a.scope is not b.scope:
        raise PlanError(f"meters of {a.scope} and {b.scope} do not see the same joules")
    if a.interval_s is None and b.interval_s is None:
        raise PlanError("two meters read by a person are not read at one time")


def of_one_window(a: Sampled, b: Sampled) -> tuple[Energy, Energy]:
    """Return the energies of two meters over the time that both have seen.

    Raises Unmeasurable where there is none.
    """
    spans = [each.span for each in (a, b)]
    opened = max((span[0] for span in spans if span), default=0)
    closed = min((span[1] for span in spans if span), default=0)
    if None in spans or opened >= closed:
        fewest = min((a, b), key=lambda each: len(each.readings))
        why = f": {fewest.faults[-1][1]}" if fewest.faults else ""
        said = f"{len(fewest.readings)} readings of {fewest.spec.name} came"
        raise Unmeasurable(f"{said}, none beside the other's{why}")
    return energy(a.readings, a.spec, opened, closed), energy(b.readings, b.spec, opened, closed)


def compared(a: Energy, b: Energy, between_w: float = BETWEEN_W) -> Comparison:
    """Hold energies of one window, by two meters in series, against each other.

    The meter nearer to the supply sees what the other one draws, `between_w` at most. Raises
    PlanError where the meters see different things, Unmeasurable where they saw too little.
    """
    refuse_unlike(a.specs[0], b.specs[0])
    if abs(a.opened - b.opened) + abs(a.closed - b.closed) > SAME_NS:
        raise Unmeasurable("the meters did not see the same time: one of them fell silent")
    of_a, of_b = _joules(a), _joules(b)
    terms = {
        f"{name} of {which}": u / joules
        for which, seen, joules in (("A", a, of_a), ("B", b, of_b))
        for name, u in seen.terms.items()
        if name != METER_CLASS
    }
    terms[BETWEEN] = between_w * b.time_s / of_b / math.sqrt(3)
    budget = Budget.of(terms)
    return Comparison(a, b, budget.figure(of_a / of_b, ""), budget)


def _joules(seen: Energy) -> float:
    """Return what one meter saw. Raises Unmeasurable where no ratio can stand on it."""
    [spec] = seen.specs
    if seen.grade is not Grade.FULL:
        kinds = ", ".join(sorted({finding.kind for finding in seen.findings}))
        saw = f"{spec.name} saw {100 * seen.coverage:.3g} % of the time"
        raise Unmeasurable(f"{saw}{kinds and f' ({kinds})'}: no ratio can stand on that")
    if spec.interval_s is not None and seen.polling.readings < FEWEST:
        said = f"{seen.polling.readings} readings of {spec.name}"
        raise Unmeasurable(f"{said}: {FEWEST} at least, so a longer --time")
    if not seen.joules:
        raise Unmeasurable(f"{spec.name} saw no energy: is the load switched on?")
    return seen.joules
