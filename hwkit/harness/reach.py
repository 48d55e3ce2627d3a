"""What precision of J/TH can be reached, and in what time: told before a device is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hwkit.errors import PlanError
from hwkit.harness.assembly import COUNTER_STEP, POWER_STEP, SAMPLING, counter_first
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY, SYSTEMATIC, Budget, Work
from hwkit.harness.energy import ALIGNMENT, METER_CLASS, class_u
from hwkit.protocols import Basis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwkit.protocols import MeterSpec

FLUCTUATION = 0.01  # of a device's power from one reading to the next, as USUAL_SPREAD of its rate
LONGEST_S = 30 * 86400.0
FOREVER_S = 1e15
# Limits at a tenth of the load and above (IEC 62053-22:2020, 62053-21:2020), and what a laboratory
# analyser keeps at 50 Hz.
CLASSES = (
    (0.02, "class 2 (IEC 62053-21)"),
    (0.01, "class 1 (IEC 62053-21)"),
    (0.005, "class 0.5 S (IEC 62053-22)"),
    (0.002, "class 0.2 S (IEC 62053-22)"),
    (0.0015, "a power analyser of 0.15 %"),
    (0.001, "class 0.1 S (IEC 62053-22)"),
)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is expected of a run: all that its precision depends on but its time."""

    spec: MeterSpec
    power_w: float
    hashrate_h_s: float
    share_difficulty: float | None = None  # None: hashes are counted
    round_trip_s: float = 0.0  # of a request to the meter
    alignment_s: float = 0.0  # of the work's window

    def __post_init__(self) -> None:
        """Raise PlanError for what cannot be."""
        if not (self.power_w > 0 and self.hashrate_h_s > 0):
            raise PlanError("a plan needs a power and a hashrate above 0")
        if self.share_difficulty is not None and not self.share_difficulty > 0:
            raise PlanError(f"a share difficulty of {self.share_difficulty:g}: it lies above 0")


def reachable(conditions: Conditions, time_s: float) -> Budget:
    """Return the budget of J/TH that a window of this length is expected to have.

    Raises PlanError where less than one share is expected.
    """
    if not time_s > 0:
        raise PlanError(f"a window of {time_s:g} s: it lies above 0")
    spec = conditions.spec
    of_class = class_u(spec, conditions.power_w)
    trip_s = conditions.round_trip_s
    if spec.unasked and spec.interval_s is not None:
        trip_s = spec.interval_s
    terms = {
        METER_CLASS: of_class or 0.0,
        ALIGNMENT: trip_s / (math.sqrt(6) * time_s),
        "work alignment": conditions.alignment_s / (math.sqrt(3) * time_s),
        **_reading_terms(conditions, time_s),
    }
    fewer = more = 0.0
    if conditions.share_difficulty is not None:
        each = conditions.share_difficulty * HASHES_PER_DIFFICULTY
        hashes = conditions.hashrate_h_s * time_s
        if hashes < each:
            raise PlanError(
                f"less than one share of difficulty {conditions.share_difficulty:g} is expected in "
                f"{time_s:.3g} s: run longer, or assign a lower difficulty"
            )
        fewer, more = Work(hashes, Basis.SHARES, None, hashes * each, each).deviations
    return Budget.of(terms, more, fewer)


def time_for(precision: float, conditions: Conditions) -> float:
    """Return seconds until J/TH is known to this fraction (k = 2), as far as can be foreseen.

    Raises PlanError where no time suffices, naming the meter that would do, and where it takes
    longer than 30 days, naming what takes it.
    """
    spec = conditions.spec
    of_class = class_u(spec, conditions.power_w)
    if of_class is None:
        raise PlanError(
            f"{spec.name}: its accuracy is unchecked, so no precision can be promised: "
            f"±{100 * precision:g} % takes {meter_for(precision)}"
        )
    floor = _expanded(reachable(replace(conditions, share_difficulty=None), FOREVER_S))
    if floor >= precision:
        raise PlanError(
            f"{spec.name} can give ±{100 * floor:.2g} % at best, however long it runs: "
            f"±{100 * precision:g} % takes {meter_for(precision)}"
        )
    longest = reachable(conditions, LONGEST_S)
    if _expanded(longest) > precision:
        raise PlanError(
            f"±{100 * precision:g} % takes more than 30 days with {spec.name}: {longest.dominant}"
        )
    one_share = (conditions.share_difficulty or 0.0) * HASHES_PER_DIFFICULTY
    lo, hi = max(one_share / conditions.hashrate_h_s, 1e-6), LONGEST_S
    while hi / lo > 1.0001:
        middle = math.sqrt(lo * hi)
        reached = _expanded(reachable(conditions, middle)) <= precision
        lo, hi = (lo, middle) if reached else (middle, hi)
    return hi


def time_left(budget: Budget, precision: float, measured_s: float) -> float | None:
    """Return seconds until J/TH is known to this fraction, from what is measured so far.

    What is the same in every run stays; the variance of all else is taken to fall as time goes by.
    None where no time suffices.
    """
    stays = math.hypot(*(u for name, u in budget.terms.items() if name in SYSTEMATIC))
    room = (precision / 2) ** 2 - stays**2
    if room <= 0:
        return None
    random = (_expanded(budget) / 2) ** 2 - stays**2
    return max(measured_s * (random / room - 1), 0.0)


def meter_for(precision: float) -> str:
    """Return the loosest meter class that leaves room for this precision (k = 2).

    It may use half of the variance; shares and repeats need the rest.
    """
    for limit, name in CLASSES:
        if 2 * limit / math.sqrt(3) <= precision / math.sqrt(2):
            return f"{name} or better"
    return "an instrument better than 0.1 %"


def _expanded(budget: Budget) -> float:
    return max(budget.below, budget.above)


def _reading_terms(conditions: Conditions, time_s: float) -> Mapping[str, float]:
    """Return the terms of the counter or of power readings, chosen as energy() will."""
    spec = conditions.spec
    counter = {COUNTER_STEP: (spec.quantum_j or 0.0) / (math.sqrt(6) * conditions.power_w * time_s)}
    if spec.interval_s is None:
        return counter
    unseen = max(spec.interval_s - spec.averaging_s, 0.0)
    integral = {
        POWER_STEP: (spec.quantum_w or 0.0) / (math.sqrt(12) * conditions.power_w),
        SAMPLING: FLUCTUATION * unseen / math.sqrt(spec.interval_s * time_s),
    }
    u_counter, u_integral = math.hypot(*counter.values()), math.hypot(*integral.values())
    if spec.quantum_j is not None and counter_first(u_counter, u_integral, 1.0):
        return counter
    return integral
