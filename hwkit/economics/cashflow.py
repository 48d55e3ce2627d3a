"""Monthly flows of money, whatever they are of: NPV, IRR, payback. Flow k is due after k months."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Months = TypeVar("Months", bound=Any)
HIGHEST = 1e6  # of 1 / (1 + monthly rate): rates from nearly -100 % a month on
PRECISION = 1e-13


@dataclass(frozen=True, slots=True)
class Irr:
    """A year's internal rate of return, or why there is none."""

    rate: float | None
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {"rate": self.rate, "why": self.why}


def npv(flows: Sequence[float], rate: float) -> float:
    """Return what flows are worth today at a year's discount rate."""
    return _value(flows, discount_factor(1.0, rate))


def discount_factor(months: Months, rate: float) -> Months:
    """Return what $1 after so many months is worth today; months may be an array."""
    factor: Months = (1 + rate) ** (-months / 12)
    return factor


def irr(flows: Sequence[float]) -> Irr:
    """Return the year's rate at which flows are worth nothing, where exactly one does that.

    Flows that change sign more than once may have several; which one a solver returns says nothing.
    """
    roots = _roots(flows)
    if not roots:
        never = "the money never comes back" if sum(flows) < 0 else "no money is laid out"
        return Irr(
            None, never if _changes(flows) == 0 else "no rate makes these flows worth nothing"
        )
    rates = [root**-12 - 1 for root in roots]
    if len(rates) > 1:
        shown = ", ".join(f"{100 * rate:.3g} %" for rate in sorted(rates)[:4])
        return Irr(None, f"undefined: {len(rates)} rates do it ({shown})")
    return Irr(rates[0])


def payback(flows: Sequence[float], rate: float = 0.0) -> float | None:
    """Return the months after which the sum, discounted at a year's rate, stays at 0 or above.

    Interpolated within a month; None where it never gets there.
    """
    factor = discount_factor(1.0, rate)
    sums = list(accumulate(flow * factor**k for k, flow in enumerate(flows)))
    if not sums or sums[-1] < 0:
        return None
    below = [k for k, total in enumerate(sums) if total < 0]
    if not below:
        return 0.0
    last = below[-1]
    return last + sums[last] / (sums[last] - sums[last + 1])


def static_payback_days(price: float, revenue_per_day: float, cost_per_day: float) -> float | None:
    """Return price over a day's profit, as makers advertise it; None where there is no profit."""
    profit = revenue_per_day - cost_per_day
    return price / profit if profit > 0 else None


def _value(flows: Sequence[float], x: float) -> float:
    """Return the sum of flow k times x^k (Horner)."""
    total = 0.0
    for flow in reversed(flows):
        total = total * x + flow
    return total


def _changes(flows: Sequence[float]) -> int:
    """Return how often the sign changes: an upper bound of the positive roots (Descartes)."""
    signs = [flow > 0 for flow in flows if flow]
    return sum(a != b for a, b in pairwise(signs))


def _roots(flows: Sequence[float]) -> list[float]:
    """Return every positive x at which the flows' polynomial crosses 0, each within (0, HIGHEST).

    Between neighbouring roots of its derivative a polynomial crosses 0 at most once. Divided by its
    lowest power first, each derivative changes sign less often, until nothing is left to cross.
    """
    scale = max(map(abs, flows), default=0.0)
    if not scale:
        return []
    some = [flow / scale for flow in flows]
    while some[0] == 0:
        some.pop(0)
    if _changes(some) == 0:
        return []
    slopes = [k * flow for k, flow in enumerate(some)][1:]
    turns = _roots(slopes) if _changes(some) > 1 else []
    edges = [0.0, *turns, HIGHEST]
    return [_bisect(some, a, b) for a, b in pairwise(edges) if _crosses(some, a, b)]


def _crosses(some: Sequence[float], a: float, b: float) -> bool:
    return (_value(some, a) > 0) != (_value(some, b) > 0)


def _bisect(some: Sequence[float], a: float, b: float) -> float:
    rising = _value(some, b) > 0
    while b - a > PRECISION * b:
        middle = (a + b) / 2
        if (_value(some, middle) > 0) == rising:
            b = middle
        else:
            a = middle
    return (a + b) / 2
