"""Is a limit met by more than U, exceeded by more than U, or neither? And what would decide it.

Guard bands as in JCGM 106:2012 and ISO 14253-1: PASS and FAIL both bear the whole 95 % interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from hwkit.harness.efficiency import Budget
from hwkit.harness.plan import duration
from hwkit.harness.reach import LONGEST_S, meter_for, time_left
from hwkit.harness.statistics import garwood_interval
from hwkit.units import Figure, show

if TYPE_CHECKING:
    from collections.abc import Sequence

TAIL = 0.05  # of an interval of 95 %
RANDOM = "chance"  # the one term of a figure whose interval is all that is known of it
AT_THE_LIMIT = "it lies at the limit: no run of 30 days decides"


class Verdict(StrEnum):
    """What became of a line."""

    PASS = "PASS"  # noqa: S105 - met by more than U
    FAIL = "FAIL"  # exceeded by more than U
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_TESTED = "NOT_TESTED"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure may be, at most or at least, and who says so."""

    value: float
    unit: str
    most: bool
    source: str

    def __str__(self) -> str:
        """Show it as people say it."""
        return f"at {'most' if self.most else 'least'} {amount(self.value, self.unit)}"

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in an evaluation."""
        bound = {"most" if self.most else "least": self.value}
        return bound | {"unit": self.unit, "source": self.source}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at, and its verdict."""

    name: str
    verdict: Verdict
    why: str
    figure: Figure | None = None
    limit: Limit | None = None
    decides: str | None = None  # what would, where it is INCONCLUSIVE

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in an evaluation."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "why": self.why,
            "figure": self.figure and self.figure.to_json(),
            "limit": self.limit and self.limit.to_json(),
            "decides": self.decides,
        }


def judge(figure: Figure, limit: Limit) -> Verdict:
    """Hold a figure's 95 % interval against a limit."""
    lo, hi = (figure.lo, figure.hi) if limit.most else (-figure.hi, -figure.lo)
    bound = limit.value if limit.most else -limit.value
    if hi <= bound:
        return Verdict.PASS
    return Verdict.FAIL if lo > bound else Verdict.INCONCLUSIVE


def of_many(figure: Figure, n: int) -> Figure:
    """Widen a figure so that of n such ones none fails by chance oftener than one (Bonferroni)."""
    if not figure.value:  # where nothing was seen, a bound: -ln 0.05 shares
        return Figure(0.0, 0.0, figure.hi * (1 - math.log(n) / math.log(TAIL)), figure.unit)
    normal = NormalDist()
    wider = normal.inv_cdf(1 - TAIL / 2 / n) / normal.inv_cdf(1 - TAIL / 2)
    lo, hi = (figure.value + wider * (end - figure.value) for end in (figure.lo, figure.hi))
    return Figure(figure.value, lo, hi, figure.unit)


def line(
    name: str, figure: Figure, limit: Limit, measured_s: float, budget: Budget | None = None
) -> Line:
    """Judge a figure whose uncertainty is relative, as of power; say what would decide."""
    verdict = judge(figure, limit)
    decides = None
    if verdict is Verdict.INCONCLUSIVE:
        decides = decided_by(figure, limit, measured_s, budget)
    return Line(name, verdict, f"{told(figure)}, {limit}", figure, limit, decides)


def decided_by(
    figure: Figure, limit: Limit, measured_s: float, budget: Budget | None = None
) -> str:
    """Say what would make U so small that the limit lies outside of it, were the value to stay."""
    if not (figure.value > 0 and limit.value > 0 and measured_s > 0):
        return "a longer run"
    margin = abs(math.log(figure.value / limit.value))
    budget = budget or _budget(figure)
    left = time_left(budget, margin, measured_s) if margin > 0 else math.inf
    if left is None:
        asked = meter_for(margin)
        return AT_THE_LIMIT if asked.startswith("an instrument better") else f"a meter of {asked}"
    return AT_THE_LIMIT if left > LONGEST_S else f"{duration(max(left, 1.0))} more"


def counted(
    name: str, count: int, of: float, limit: Limit, *, measured_s: float, what: str
) -> Line:
    """Judge a fraction of things that happened by chance (Poisson, exact): 3 of 1,000 shares."""
    found = garwood_interval(count, count, 1.0)
    figure = Figure(count / of, found.lo / of, found.hi / of, "")
    verdict = judge(figure, limit)
    decides = None
    if verdict is Verdict.INCONCLUSIVE:
        margin = abs(limit.value - figure.value)
        reach = figure.hi - figure.value if figure.value < limit.value else figure.value - figure.lo
        # Of none the bound falls with the time, else with its root.
        more = reach / margin if margin else math.inf
        left_s = measured_s * ((more if not count else more * more) - 1)
        decides = AT_THE_LIMIT if left_s > LONGEST_S else f"{duration(max(left_s, 1.0))} more"
    why = f"{count} of {of:,.0f} {what}, {told(figure)}, {limit}"
    return Line(name, verdict, why, figure, limit, decides)


def overall(lines: Sequence[Line], needed: Sequence[str]) -> Verdict:
    """Return the worst of the lines; without one that is `needed` nothing passes."""
    words = {each.verdict for each in lines}
    if Verdict.FAIL in words:
        return Verdict.FAIL
    tested = {each.name for each in lines if each.verdict is not Verdict.NOT_TESTED}
    if Verdict.INCONCLUSIVE in words or not tested >= set(needed):
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def zones(limit: Limit, U: float) -> tuple[float, float]:  # noqa: N803
    """Return what readings stay INCONCLUSIVE at a relative U: those between these two."""
    return limit.value * math.exp(-U), limit.value * math.exp(U)


def amount(value: float, unit: str) -> str:
    """Show a bare value; a fraction in %."""
    if not unit:
        return f"{100 * value:.3g} %"
    return show(value, unit) if unit in {"H/s", "W", "J/TH"} else f"{value:.4g} {unit}"


def told(figure: Figure) -> str:
    """Show a figure with its interval; a fraction in %."""
    if figure.unit:
        return str(figure)
    percents = (100 * figure.value, 100 * figure.lo, 100 * figure.hi)
    return "{:.2g} % ({:.2g} to {:.2g} %)".format(*percents)


def _budget(figure: Figure) -> Budget:
    """Return the budget of a figure that only chance makes uncertain."""
    below = math.log(figure.value / figure.lo) if figure.lo > 0 else math.inf
    above = math.log(figure.hi / figure.value)
    return Budget({RANDOM: max(below, above) / 2}, below, above)
