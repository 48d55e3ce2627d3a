"""A known load is switched: what a meter makes of it, and how soon.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import PlanError
from hwkit.harness.metercheck import Check, Verdict, values_of
from hwkit.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.harness.metering import Sampled

TOLERANCE = 0.10  # of a lamp's or heater's label, where nobody says better: an assumption
LASTING = 3  # readings in a row that make a step of what might be a spike
SETTLED = 20  # readings after a step, of which the second half is the new level
BAND = 0.05  # of the step, around the new level: in there it has settled
CHANCE = 6.0  # standard deviations: no reading of a minute, nor of a day, lies beyond
NORMAL = 1.4826  # times the median deviation from the median is a standard deviation
OF_MEDIAN = 1.2533  # times that of the mean is a median's


@dataclass(frozen=True, slots=True)
class Load:
    """A load that is known, within a tolerance (a fraction)."""

    watts: float
    tolerance: float = TOLERANCE

    @classmethod
    def read(cls, text: str) -> Self:
        """Read '100W', '2kW±1%' or '2kW+-1%'. Raises PlanError."""
        number = r"(\d{1,9}(?:\.\d{1,9})?)"
        found = re.fullmatch(rf"{number} ?(k?)W ?(?:(?:±|\+-) ?{number} ?%)?", text, re.ASCII)
        watts = float(found[1]) * (1000 if found[2] else 1) if found else 0.0
        if found is None or not watts > 0:
            raise PlanError(f"{text!r} is no load: write 100W, or 100W±2% where it is known better")
        return cls(watts, TOLERANCE if found[3] is None else float(found[3]) / 100)


@dataclass(frozen=True, slots=True)
class Step:
    """What was seen of a load that was switched."""

    watts: float  # upwards or downwards
    U: float  # of the two levels' scatter (k = 2)
    settled_s: float  # at most so long after it was switched
    readings: int  # since then

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {"watts": self.watts, "U": self.U, "settled_s": self.settled_s}


def find_step(sampled: Sampled, asked_ns: int) -> Step | None:
    """Return the step since somebody was asked for one (monotonic ns); None: not seen yet."""
    samples = values_of(sampled.readings, "watts")
    before = [value for at, value in samples if at < asked_ns / 1e9]
    since = [(at, value) for at, value in samples if at >= asked_ns / 1e9]
    if len(before) < LASTING:
        return None
    level, noise = _level(before)
    quantum = sampled.spec.quantum_w or 0.0
    least = max(CHANCE * noise, 2 * quantum)
    away = [abs(value - level) > least for _, value in since]
    left = next((n for n in range(len(away)) if all(away[n : n + LASTING])), len(away))
    after = [value for _, value in since[left:]]
    if len(after) < LASTING:
        return None
    late = after[len(after) // 2 :]
    new, new_noise = _level(late)
    band = max(BAND * abs(new - level), CHANCE * new_noise, quantum)
    outside = [n for n, value in enumerate(after) if abs(value - new) > band]
    arrived = since[min(left + (outside[-1] + 1 if outside else 0), len(since) - 1)][0]
    was_there = since[left - 1][0] if left else max(at for at, _ in samples if at < asked_ns / 1e9)
    scatter = (noise / math.sqrt(len(before)), new_noise / math.sqrt(len(late)))
    U = 2 * math.hypot(*(OF_MEDIAN * u for u in scatter), quantum / math.sqrt(6))  # noqa: N806
    return Step(new - level, U, arrived - was_there, len(after))


def step_check(step: Step | None, load: Load, sampled: Sampled) -> Check:
    """Hold a step against the load that was switched; guard-banded by its scatter (ISO 14253-1)."""
    if step is None:
        return Check("load", Verdict.INCONCLUSIVE, f"no step of {show(load.watts, 'W')} was seen")
    accuracy = sampled.spec.accuracy
    allowed = (load.tolerance + (accuracy.of_reading if accuracy else 0.0)) * load.watts
    off = abs(abs(step.watts) - load.watts)
    text = (
        f"{step.watts:+.4g} W ± {step.U:.2g} W for {load.watts:g} W, ±{allowed:.3g} W allowed; "
        f"settled within {step.settled_s:.2g} s"
    )
    verdict = Verdict.INCONCLUSIVE
    if off + step.U <= allowed:
        verdict = Verdict.PASS
    elif off - step.U > allowed:
        verdict = Verdict.FAIL
    return Check("load", verdict, text)


def _level(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and a standard deviation that no spike moves."""
    level = median(values)
    return level, NORMAL * median(abs(value - level) for value in values)
