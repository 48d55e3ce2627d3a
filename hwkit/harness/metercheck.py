"""Is a meter what it is said to be? Its readings held against its spec, and a known load.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import PlanError
from hwkit.harness.assembly import NEGLIGIBLE, compare
from hwkit.harness.energy import class_u, energy
from hwkit.harness.plausible import implausible
from hwkit.harness.readings import FEW, GAP, Readings
from hwkit.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hwkit.harness.energy import Energy
    from hwkit.harness.metering import Sampled
    from hwkit.protocols import Reading

SLOW = 1.5  # times the stated interval, as in what energy() finds
VALUES = 8  # all on a coarser grid by chance: once in 2^7 at most
VAGUE = 0.05  # counter and integral that may differ by more say nothing of each other
COARSE = 1e-3  # of the value: a step that explains a value that repeats
BROKEN = {"reset", "jump", "absurd", "order"}  # findings that no plain meter gives rise to
# Of the rated power, that a heating appliance may draw (IEC 60335-1, clause 10.1, to 200 W).
TOLERANCE = 0.10
LASTING = 3  # readings in a row that make a step of what might be a spike
SETTLED = 20  # readings after a step, of which the second half is the new level
BAND = 0.05  # of the step, around the new level: in there it has settled
CHANCE = 6.0  # standard deviations: no reading of a minute, nor of a day, lies beyond
NORMAL = 1.4826  # times the median deviation from the median is a standard deviation
OF_MEDIAN = 1.2533  # times that of the mean is a median's


class Verdict(StrEnum):
    """What a check came to."""

    PASS = "PASS"  # noqa: S105 - a word, no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NONE = "-"  # there is nothing to hold it against


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    text: str

    def to_json(self) -> dict[str, str]:
        """Return it as --json prints it."""
        return {"name": self.name, "verdict": self.verdict.value, "text": self.text}


def overall(checks: Iterable[Check]) -> Verdict:
    """Return the worst of the verdicts."""
    found = {check.verdict for check in checks}
    worst = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
    return next((verdict for verdict in worst if verdict in found), Verdict.INCONCLUSIVE)


def checks(sampled: Sampled) -> Iterator[Check]:
    """Yield what a meter's readings say of it; the step test comes beside."""
    told = " ".join(f"{key} {value}" for key, value in sampled.told.items())
    yield Check("identity", Verdict.PASS if told else Verdict.NONE, told or "it says nothing of it")
    span = sampled.span
    if span is None:
        of = f"{len(sampled.readings)} readings" if sampled.readings else "no reading"
        yield Check("readings", Verdict.FAIL, f"{of} came{_causes(sampled)}")
        return
    seen = energy(sampled.readings, sampled.spec, *span)
    yield _interval(sampled, seen)
    yield _dropouts(sampled, seen)
    watts, joules = (_values(sampled.readings, name) for name in ("watts", "joules"))
    yield _quantum("step of power", watts, sampled.spec.quantum_w, "W")
    yield _quantum("step of counter", joules, sampled.spec.quantum_j, "J")
    yield _update(watts or joules, seen, "watts" if watts else "joules")
    yield _agreement(sampled, span)
    broken = [finding for finding in seen.findings if finding.kind in BROKEN]
    said = "; ".join(f"{finding.kind}: {finding.text}" for finding in broken[:3])
    yield Check("findings", Verdict.FAIL if broken else Verdict.PASS, said or "none")
    yield _plausible(sampled)


def _interval(sampled: Sampled, seen: Energy) -> Check:
    stated, polling = sampled.spec.interval_s, seen.polling
    if polling.median_s is None or stated is None or polling.readings <= FEW:
        text = f"{polling.readings} readings do not tell it: --time longer"
        return Check("interval", Verdict.INCONCLUSIVE, text)
    text = f"{polling}; {stated:g} s stated"
    slow = polling.median_s > SLOW * stated
    return Check("interval", Verdict.FAIL if slow else Verdict.PASS, text)


def _dropouts(sampled: Sampled, seen: Energy) -> Check:
    gaps = [finding for finding in seen.findings if finding.kind == "gap"]
    if gaps:
        text = f"{100 * (1 - seen.coverage):.2g} % of the time unseen: {gaps[0].text}"
        return Check("drop-outs", Verdict.FAIL, text + _causes(sampled))
    if sampled.faults:
        asked = len(sampled.faults) + len(sampled.readings)
        text = f"{len(sampled.faults)} of {asked} readings failed, never {GAP:g} intervals long"
        return Check("drop-outs", Verdict.PASS, text + _causes(sampled))
    return Check("drop-outs", Verdict.PASS, f"none in {len(sampled.readings)} readings")


def _causes(sampled: Sampled) -> str:
    causes = Counter(what for _, what in sampled.faults).most_common(3)
    return "".join(f"; {times} times: {what}" for what, times in causes)


def _values(readings: Iterable[Reading], name: str) -> list[tuple[float, float]]:
    """Return (seconds, value) in order of time, of the readings that have it."""
    found = ((reading.at / 1e9, getattr(reading, name)) for reading in readings)
    return sorted((at, x) for at, x in found if x is not None and math.isfinite(x))


def _quantum(
    name: str, samples: Sequence[tuple[float, float]], stated: float | None, unit: str
) -> Check:
    """Hold the grid that values lie on against the stated one: a coarser one makes U too small."""
    values = sorted({value for _, value in samples})
    if not values:
        return Check(name, Verdict.NONE, f"no {unit} are told")
    moves = [b - a for a, b in pairwise(values)]
    finest = f"the smallest move seen is {show(min(moves), unit, 3)}" if moves else "one value seen"
    if not stated:
        return Check(name, Verdict.NONE, f"none stated; {finest}")
    said = f"{show(stated, unit, 3)} stated"
    steps = [(value - values[0]) / stated for value in values]
    if any(abs(step - round(step)) > 0.1 for step in steps):
        return Check(name, Verdict.PASS, f"finer than the {said}; {finest}")
    whole = math.gcd(*map(round, steps))
    if whole == 1:
        return Check(name, Verdict.PASS, f"{finest}, {said}")
    coarser = f"{len(values)} values, all in steps of {show(whole * stated, unit, 3)}, {said}"
    if whole and len(values) >= VALUES:
        return Check(name, Verdict.FAIL, coarser)
    few = coarser if whole else f"{finest}, {said}"
    return Check(name, Verdict.INCONCLUSIVE, f"{few}: let the load change, or --time longer")


def _update(samples: Sequence[tuple[float, float]], seen: Energy, what: str) -> Check:
    """Hold how often the value really changes against how often it is read."""
    changes = [after for before, after in pairwise(samples) if after[1] != before[1]]
    interval_s = seen.polling.median_s or 0.0
    if len(changes) < 2:
        text = f"{what} changed {len(changes)} times: a steady load, or a stuck meter"
        return Check("update", Verdict.INCONCLUSIVE, text)
    period_s = median(b[0] - a[0] for a, b in pairwise(changes))
    text = f"{what} change each {period_s:.3g} s (median), read each {interval_s:.3g} s"
    values = sorted({value for _, value in samples})
    move = min(b - a for a, b in pairwise(values))
    if period_s <= GAP * interval_s:
        return Check("update", Verdict.PASS, text)
    if what == "watts" and move >= COARSE * median(values):
        return Check("update", Verdict.NONE, f"{text}: its step may explain that")
    return Check("update", Verdict.FAIL, f"{text}: the same again is no reading")


def _agreement(sampled: Sampled, span: tuple[int, int]) -> Check:
    name, spec = "counter", sampled.spec
    width = (span[1] - span[0]) / 1e9
    both = compare(Readings(sampled.readings, spec, span[0]), width)
    if both is None:
        return Check(name, Verdict.NONE, "counter and power are not both told")
    counter, integral, u = both
    off, of_class = counter / integral - 1, class_u(spec, integral / width) or 0.0
    allowed = max(2 * math.hypot(u / integral, of_class), NEGLIGIBLE)
    text = f"{100 * off:+.2g} % off the integral of power, ±{100 * allowed:.2g} % allowed"
    if abs(off) > allowed:
        return Check(name, Verdict.FAIL, text)
    if allowed > VAGUE:
        return Check(name, Verdict.INCONCLUSIVE, f"{text}: --time longer")
    return Check(name, Verdict.PASS, text)


def _plausible(sampled: Sampled) -> Check:
    told = {
        name
        for name in ("volts", "amperes", "power_factor")
        if any(getattr(reading, name) is not None for reading in sampled.readings)
    }
    if not told:
        return Check("plausible", Verdict.NONE, "neither volts, amperes nor power factor are told")
    doubts = implausible(sampled.readings, sampled.spec, None)
    if not doubts:
        return Check("plausible", Verdict.PASS, f"{', '.join(sorted(told))} as can be")
    verdict = Verdict.FAIL if any(doubt.refuse for doubt in doubts) else Verdict.INCONCLUSIVE
    return Check("plausible", verdict, "; ".join(doubt.text for doubt in doubts))


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
    samples = _values(sampled.readings, "watts")
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
