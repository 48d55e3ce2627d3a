"""From units to the model: mean, spread between units, tolerance interval, bad fraction.

Units are taken to be drawn by chance and to spread normally. An error of a meter is not in the
differences of those units that share it: as far as they do it is kept apart, and widens the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.harness.statistics import gamma_quantile, student_t
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST = 3  # below: this unit, not this model
CONFIDENCE = 0.95
CONTENT = 0.90  # of the model's units that lie in the tolerance interval
LARGEST = 1_000_000  # of a lot


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit's figure, with its standard uncertainties (k = 1): its own, and that of its meter."""

    value: float
    own: float
    meter: float
    instrument: str | None = None  # None: nothing that units could share


@dataclass(frozen=True, slots=True)
class Spread:
    """What units say of their model."""

    mean: Figure  # with the meter's error, where it is shared
    between: Figure | None  # standard deviation between units, without what measuring added
    tolerance: (
        Figure | None
    )  # holds CONTENT of all units with CONFIDENCE, but for the meter's error
    shared_U: float  # the meter's, expanded, in the unit of the mean  # noqa: N815
    units: int

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "units": self.units,
            "mean": self.mean.to_json(),
            "between": self.between and self.between.to_json(),
            "tolerance": self.tolerance
            and self.tolerance.to_json() | {"content": CONTENT, "confidence": CONFIDENCE},
            "shared_U": self.shared_U,
        }


def spread(units: Sequence[Unit], unit: str) -> Spread:
    """Return mean, spread and tolerance interval. Raises PlanError without a unit."""
    if not units:
        raise PlanError("a lot has at least one unit")
    n = len(units)
    values = [each.value for each in units]
    mean = fmean(values)
    if n == 1:
        U = 2 * math.hypot(units[0].own, units[0].meter)  # noqa: N806
        return Spread(Figure(mean, mean - U, mean + U, unit), None, None, 2 * units[0].meter, 1)
    groups = _groups(units)
    shared, apart = _meters(groups)
    own = math.sqrt(fmean(each.own**2 for each in units))
    s = stdev(values)
    # What measuring adds is known, even where the units happen to agree by chance.
    u_mean = max(s, math.hypot(own, apart)) / math.sqrt(n)
    U = math.hypot(student_t(n - 1) * u_mean, 2 * shared)  # noqa: N806
    k = tolerance_factor(n)
    return Spread(
        Figure(mean, mean - U, mean + U, unit),
        _between(s, own, apart, groups, unit),
        Figure(mean, mean - k * s, mean + k * s, unit),
        2 * shared,
        n,
    )


def _groups(units: Sequence[Unit]) -> list[list[Unit]]:
    """Return units by the instrument that saw them."""
    groups: dict[str, list[Unit]] = {}
    for number, each in enumerate(units):
        groups.setdefault(each.instrument or f"of unit {number} alone", []).append(each)
    return list(groups.values())


def _meters(groups: Sequence[Sequence[Unit]]) -> tuple[float, float]:
    """Return which part of the meters' u no difference between units shows, and which they show.

    Of variance, in the mean: a meter's part is that of the pairs of units which it saw both of.
    """
    n = sum(map(len, groups))
    sizes = [(len(some), max(each.meter for each in some) ** 2) for some in groups]
    shared = sum(size * (size - 1) * square for size, square in sizes) / (n * (n - 1))
    shown = sum(size * (n - size) * square for size, square in sizes) / (n * (n - 1))
    return math.sqrt(shared), math.sqrt(shown)


def next_unit(found: Spread) -> Figure:
    """Return where one more unit lies (95 %): Student's t, around a mean that is not certain."""
    mean = found.mean
    between = found.between.value if found.between else 0.0
    U = math.hypot(mean.U, student_t(found.units - 1) * between)  # noqa: N806
    return Figure(mean.value, mean.value - U, mean.value + U, mean.unit)


def tolerance_factor(n: int, content: float = CONTENT, confidence: float = CONFIDENCE) -> float:
    """Return k of the two-sided normal tolerance interval, mean ± k s (Howe, JASA 64, 1969)."""
    z = NormalDist().inv_cdf((1 + content) / 2)
    freedom = n - 1
    chi2 = 2 * gamma_quantile(1 - confidence, freedom / 2)
    return z * math.sqrt(freedom * (1 + 1 / n) / chi2)


def bad_at_most(bad: int, sampled: int, lot: int | None, confidence: float = CONFIDENCE) -> float:
    """Return the fraction of bad units that a lot has at most, when so many of a sample are.

    Hypergeometric; of an endless lot (None) binomial (Clopper and Pearson). The sample is drawn by
    chance. Raises PlanError for numbers that do not fit.
    """
    if not 0 <= bad <= sampled or sampled < 1:
        raise PlanError(f"{bad} bad of {sampled}: that is no sample")
    if lot is None:
        return _binomial_bound(bad, sampled, confidence)
    if not sampled <= lot <= LARGEST:
        raise PlanError(f"a lot of {lot}: it lies between the {sampled} measured and {LARGEST:,}")
    # It falls as there are more bad ones: the last number that is not unlikely.
    lo, hi = bad, lot - (sampled - bad)
    while lo < hi:
        middle = (lo + hi + 1) // 2
        likely = _hypergeometric_below(bad, lot, middle, sampled) > 1 - confidence
        lo, hi = (middle, hi) if likely else (lo, middle - 1)
    return lo / lot


def sample_size(at_most: float, lot: int | None, confidence: float = CONFIDENCE) -> int:
    """Return how many units without a bad one show that no more than this fraction is bad."""
    if not 0 < at_most < 1:
        raise PlanError(f"a bad fraction of {at_most:g}: it lies between 0 and 1")
    if lot is None:
        return math.ceil(math.log(1 - confidence) / math.log(1 - at_most))
    lo, hi = 1, lot
    while lo < hi:
        middle = (lo + hi) // 2
        enough = bad_at_most(0, middle, lot, confidence) <= at_most
        lo, hi = (lo, middle) if enough else (middle + 1, hi)
    return lo


def _between(
    s: float, own: float, apart: float, groups: Sequence[Sequence[Unit]], unit: str
) -> Figure:
    """Return the standard deviation between units: chi-squared, what measuring added taken off.

    Where meters saw several units each, it is that within their groups: two meters differ by one
    draw, of which no expectation can be taken off.
    """
    n = sum(map(len, groups))
    freedom, ss, added = n - 1, (n - 1) * s * s, own * own + apart * apart
    if apart and n - len(groups) >= freedom / 2:
        of_all = [[each.value for each in some] for some in groups]
        freedom, added = n - len(groups), own * own
        ss = sum((value - fmean(some)) ** 2 for some in of_all for value in some)
    tail = (1 - CONFIDENCE) / 2
    low, high = (2 * gamma_quantile(p, freedom / 2) for p in (tail, 1 - tail))

    def without(variance: float) -> float:
        return math.sqrt(max(variance - added, 0.0))

    return Figure(without(ss / freedom), without(ss / high), without(ss / low), unit)


def _hypergeometric_below(bad: int, lot: int, of_lot: int, sampled: int) -> float:
    """Return the chance of so few bad ones in the sample, or fewer."""
    total = _log_choose(lot, sampled)
    return math.fsum(
        math.exp(_log_choose(of_lot, k) + _log_choose(lot - of_lot, sampled - k) - total)
        for k in range(max(0, sampled - (lot - of_lot)), min(bad, of_lot) + 1)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _binomial_bound(bad: int, sampled: int, confidence: float) -> float:
    if bad == sampled:
        return 1.0
    lo, hi = bad / sampled, 1.0
    while hi - lo > 1e-9:
        p = (lo + hi) / 2
        below = math.fsum(
            math.exp(_log_choose(sampled, k) + k * math.log(p) + (sampled - k) * math.log1p(-p))
            for k in range(bad + 1)
        )
        lo, hi = (p, hi) if below > 1 - confidence else (lo, p)
    return hi
