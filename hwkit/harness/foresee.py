"""What a metered run can be expected to reach: said, and refused, before a device is touched."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY, Budget
from hwkit.harness.energy import class_u
from hwkit.harness.plan import FED_SHARES_PER_S, duration, percent
from hwkit.harness.reach import Conditions, reachable, time_for
from hwkit.protocols import Accuracy, Basis
from hwkit.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.harness.plan import Plan
    from hwkit.protocols import HasherSpec, MeterSpec

LARGE_W = 1e9  # where no step and no part of a range matters
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([kMGTPE]?)(W|H/s)", re.ASCII)
_PREFIX = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a device is expected to draw and to do; None: nobody knows."""

    power_w: float | None = None
    hashrate_h_s: float | None = None
    source: str = ""  # who expects it

    @classmethod
    def parse(cls, text: str) -> Expected:
        """Read '3500W,200TH/s'. Raises PlanError."""
        found: dict[str, float] = {}
        for word in text.split(","):
            amount = _AMOUNT.fullmatch(word.strip())
            value = float(amount[1]) * _PREFIX[amount[2]] if amount else 0.0
            if amount is None or value <= 0 or amount[3] in found:
                raise PlanError(f"{text!r} expects nothing: write 3500W,200TH/s")
            found[amount[3]] = value
        return cls(found.get("W"), found.get("H/s"), "--expect")


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What one device's run is expected to come to."""

    device: str
    expected: Expected
    budget: Budget | None  # at the end of the plan's time; None: power or hashrate is not known
    time_s: float | None  # until the plan's precision; None: none is asked for, or it is not known
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "device": self.device,
            "power_w": self.expected.power_w,
            "hashrate_h_s": self.expected.hashrate_h_s,
            "source": self.expected.source,
            "budget": self.budget and self.budget.to_json(),
            "time_s": self.time_s,
            "text": self.text,
        }


def foresee(
    plan: Plan, device: HasherSpec, specs: Sequence[MeterSpec], expected: Expected, *, asked: bool
) -> Foreseen:
    """Say what a run of this plan is expected to reach, with the meters whose sum its power is.

    Raises PlanError for a precision that was asked for and that no time can reach, naming the
    meter that could. What nobody vouches for has no floor: the precision is then that of what the
    meter shows, and the text says so.
    """
    notes = [
        f"{each.name}: its range is told only when it is asked, so what depends on it is left out"
        for each in specs
        if _of_unknown_range(each)
    ]
    specs = [_without_unknown_range(each) for each in specs]
    spec = worst(specs, expected.power_w or LARGE_W)
    unchecked = [each.name for each in specs if each.accuracy is None]
    if unchecked:
        spec = replace(spec, accuracy=Accuracy(0.0))
    notes += [
        f"{name}: accuracy unchecked, so ± is of what it shows, and promises nothing of the truth"
        for name in unchecked
    ]
    power_w, rate = expected.power_w, expected.hashrate_h_s
    known = power_w is not None and rate is not None
    conditions = _conditions(device, spec, power_w, rate)
    budget, time_s = None, None
    if plan.precision is not None:
        try:
            time_s = time_for(plan.precision, conditions)
        except PlanError as error:
            if asked:
                raise
            notes.append(f"±{percent(plan.precision)} is not reached: {error}")
    if not known:
        floor = class_u(spec, power_w or LARGE_W) or 0.0
        least = f": at best ±{percent(2 * floor)}, by the meter's class" if floor else ""
        said = f"what it draws and does is not known yet (--expect 3500W,200TH/s){least}"
    else:
        budget = reachable(conditions, plan.time_s)
        if not budget.terms:
            time_s = None
        terms = ", ".join(f"{name} {percent(2 * u)}" for name, u in _sorted(budget))
        reached = max(budget.below, budget.above)
        said = f"at {show(power_w or 0, 'W')} and {show(rate or 0, 'H/s')} ({expected.source}) "
        if terms:
            said += f"±{percent(reached)} of J/TH in {duration(plan.time_s)} ({terms})"
        else:
            said += "what its steps leave open is known once it has been read"
        if time_s is not None and plan.precision is not None:
            said += f", ±{percent(plan.precision)} in {duration(time_s)}"
    text = "; ".join([f"{device.name}: {said}", *notes])
    return Foreseen(device.name, expected, budget, time_s if known else None, text)


def _of_unknown_range(spec: MeterSpec) -> bool:
    accuracy = spec.accuracy
    return accuracy is not None and bool(accuracy.of_range) and accuracy.range_w is None


def _without_unknown_range(spec: MeterSpec) -> MeterSpec:
    if spec.accuracy is None or not _of_unknown_range(spec):
        return spec
    return replace(spec, accuracy=replace(spec.accuracy, of_range=0.0))


def worst(specs: Sequence[MeterSpec], power_w: float) -> MeterSpec:
    """Return the meter that says least of a sum: no sum of it and others can be better known."""
    return max(specs, key=lambda spec: class_u(spec, power_w) or 0.0)


def _conditions(
    device: HasherSpec, spec: MeterSpec, power_w: float | None, rate: float | None
) -> Conditions:
    """Return what is known; of what is not, the best that it can be."""
    rate = rate or 1e15
    counted = device.basis is Basis.COUNTED
    difficulty = None if counted else rate / FED_SHARES_PER_S / HASHES_PER_DIFFICULTY
    return Conditions(spec, power_w or LARGE_W, rate, difficulty)


def _sorted(budget: Budget) -> list[tuple[str, float]]:
    return sorted(budget.terms.items(), key=lambda term: -term[1])
