"""Is a meter what it is said to be? Its readings held against its spec.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

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
    watts, joules = (values_of(sampled.readings, name) for name in ("watts", "joules"))
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


def values_of(readings: Iterable[Reading], name: str) -> list[tuple[float, float]]:
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
