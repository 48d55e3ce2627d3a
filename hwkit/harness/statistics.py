"""Intervals that assume little: shared machines are not Gaussian. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from statistics import NormalDist, fmean, median, quantiles
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_WALSH = 400  # values beyond which neighbours are averaged first: n^2/2 averages are formed


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between two bounds, and the confidence that the method gives for them."""

    value: float
    lo: float
    hi: float
    confidence: float

    @property
    def half_width(self) -> float:
        """Half the distance between the bounds."""
        return (self.hi - self.lo) / 2


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the median between the order statistics that hold it with this confidence.

    Distribution-free (Hahn and Meeker, Statistical Intervals, 5.2). Below 6 values 95 % cannot be
    had: the bounds are then the extremes, and `confidence` says what they are worth.
    """
    ordered = sorted(values)
    n = len(ordered)
    rank = _binomial_rank(n, confidence)
    covered = 1 - 2 * _binomial_cdf(n, rank)
    return Interval(median(ordered), ordered[rank], ordered[n - 1 - rank], covered)


def widened(interval: Interval, in_order: Sequence[float]) -> Interval:
    """Return the interval widened for values that resemble the ones before them.

    n values with lag-1 correlation r say as much as n (1 - r) / (1 + r) independent ones (Bayley
    and Hammersley, 1946). A correlation below what chance makes (2 / sqrt(n)) widens nothing.
    """
    mean = fmean(in_order)
    total = sum((value - mean) ** 2 for value in in_order)
    if len(in_order) < 10 or total == 0:
        return interval
    lagged = sum((a - mean) * (b - mean) for a, b in pairwise(in_order))
    r = min(lagged / total, 0.95)
    if r < 2 / math.sqrt(len(in_order)):
        return interval
    factor = math.sqrt((1 + r) / (1 - r))
    below, above = interval.value - interval.lo, interval.hi - interval.value
    return Interval(
        interval.value,
        interval.value - factor * below,
        interval.value + factor * above,
        interval.confidence,
    )


def centre_interval(values: Sequence[float], confidence: float) -> Interval:
    """Return the Hodges-Lehmann centre with its signed-rank interval, for paired differences.

    Robust as a median, nearly as sharp as a mean (Hollander and Wolfe, Nonparametric Statistical
    Methods, 3.2 and 3.3).
    """
    values = _blocks(values)
    n = len(values)
    walsh = sorted((values[i] + values[j]) / 2 for i in range(n) for j in range(i, n))
    rank = _signed_rank(n, confidence)
    return Interval(median(walsh), walsh[rank], walsh[len(walsh) - 1 - rank], confidence)


def shift_interval(a: Sequence[float], b: Sequence[float], confidence: float) -> Interval:
    """Return by how much a lies above b, for unpaired samples (Hollander and Wolfe, 4.2, 4.3)."""
    a, b = _blocks(a), _blocks(b)
    shifts = sorted(x - y for x in a for y in b)
    m, n = len(a), len(b)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rank = math.floor(m * n / 2 - z * math.sqrt(m * n * (m + n + 1) / 12)) - 1
    rank = min(max(rank, 0), (len(shifts) - 1) // 2)
    return Interval(median(shifts), shifts[rank], shifts[len(shifts) - 1 - rank], confidence)


def spread(values: Sequence[float]) -> float | None:
    """Return half the distance of the 10th and 90th percentile over the median; 0 for one value.

    None where the median is 0: nothing is a part of that.
    """
    if len(values) < 2:
        return 0.0
    if median(values) == 0:
        return None
    tenths = quantiles(values, n=10, method="inclusive")
    return (tenths[-1] - tenths[0]) / 2 / abs(median(values))


def trend(at: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return the slope (Theil-Sen) and how many standard errors from none (Mann-Kendall's z)."""
    n = len(values)
    if n < 3:
        return 0.0, 0.0
    step = max(1, n // MOST_WALSH)
    picked = range(0, n, step)
    slopes, balance = [], 0
    for i in picked:
        for j in range(i + step, n, step):
            if at[j] != at[i]:
                slopes.append((values[j] - values[i]) / (at[j] - at[i]))
                balance += (values[j] > values[i]) - (values[j] < values[i])
    if not slopes:
        return 0.0, 0.0
    m = len(picked)
    return median(slopes), balance / math.sqrt(m * (m - 1) * (2 * m + 5) / 18)


def poisson_interval(count: int, confidence: float = 0.95) -> Interval:
    """Return bounds of the mean behind a Poisson count (Byar's approximation, within 0.1 %)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    high = count + 1
    lo = count * (1 - 1 / (9 * count) - z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    hi = high * (1 - 1 / (9 * high) + z / (3 * math.sqrt(high))) ** 3
    return Interval(float(count), max(lo, 0.0), hi, confidence)


def poisson_z(count: int, mean: float) -> float:
    """Return how many standard deviations a count lies from its mean (Anscombe's transform)."""
    return 2 * (math.sqrt(count + 0.375) - math.sqrt(mean + 0.375))


def garwood_interval(
    total: float, squares: float, largest: float, confidence: float = 0.95
) -> Interval:
    """Return bounds of the mean behind a sum of weights whose number is Poisson's.

    For `total` = sum d, `squares` = sum d^2 and the largest d. Of equal weights they are Garwood's
    exact ones (Biometrika 28, 1936); of unequal ones Fay and Feuer's (Statistics in Medicine 16,
    1997), which are conservative.
    """
    tail = (1 - confidence) / 2
    lo = squares / total * gamma_quantile(tail, total**2 / squares) if total else 0.0
    above, spread_above = total + largest, squares + largest**2
    hi = spread_above / above * gamma_quantile(1 - tail, above**2 / spread_above)
    return Interval(total, lo, hi, confidence)


def gamma_quantile(p: float, shape: float) -> float:
    """Return where the gamma distribution of this shape and scale 1 reaches p, to 1e-12.

    Where that takes too long by the function itself, by Cornish and Fisher (1938).
    """
    if shape > 1e6:
        z = NormalDist().inv_cdf(p)
        return shape + z * math.sqrt(shape) + (z * z - 1) / 3
    lo, hi = 0.0, shape + 10 * math.sqrt(shape) + 30
    while hi - lo > 1e-12 * hi:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if _gamma_cdf(middle, shape) < p else (lo, middle)
    return (lo + hi) / 2


def chi_squared_below(x: float, freedom: int) -> float:
    """Return P(chi-squared of so many degrees of freedom <= x)."""
    # Far above its mean it is 1 to a double's last bit, and the series would grow long.
    mean, deviation = freedom, math.sqrt(2 * freedom)
    return 1.0 if x > mean + 50 * deviation + 100 else _gamma_cdf(x / 2, freedom / 2)


@cache
def student_t(freedom: int, confidence: float = 0.95) -> float:
    """Return the two-sided quantile of Student's t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    lo, hi = 0.0, 1e3
    while hi - lo > 1e-9 * hi:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if _student_within(middle, freedom) < confidence else (lo, middle)
    return (lo + hi) / 2


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """Return the least-squares slope; 0 where all stand at one place."""
    middle, mean = fmean(at), fmean(values)
    squares = sum((t - middle) ** 2 for t in at)
    return (
        sum((t - middle) * (v - mean) for t, v in zip(at, values, strict=True)) / squares
        if squares
        else 0.0
    )


def _blocks(values: Sequence[float]) -> list[float]:
    """Average neighbours so that at most MOST_WALSH values are left."""
    size = -(-len(values) // MOST_WALSH)
    return [fmean(values[i : i + size]) for i in range(0, len(values), max(size, 1))]


def _binomial_rank(n: int, confidence: float) -> int:
    """Return the largest 0-based rank whose two order statistics still cover the median so."""
    rank = 0
    while rank + 1 <= (n - 1) // 2 and 2 * _binomial_cdf(n, rank + 1) <= 1 - confidence:
        rank += 1
    return rank


def _binomial_cdf(n: int, k: int) -> float:
    """Return P(at most k of n coins fall heads)."""
    if n > 1000:  # the sums grow long and the normal approximation is better than 1e-3
        return NormalDist(n / 2, math.sqrt(n) / 2).cdf(k + 0.5)
    return math.ldexp(sum(math.comb(n, i) for i in range(k + 1)), -n)


@cache
def _signed_rank(n: int, confidence: float) -> int:
    """Return the 0-based rank of the Walsh average at either end of the interval."""
    tail = (1 - confidence) / 2
    if n > 50:
        z = NormalDist().inv_cdf(1 - tail)
        return math.floor(n * (n + 1) / 4 - z * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)) - 1
    ways = [1] + [0] * (n * (n + 1) // 2)  # subsets of 1..n by their sum
    for rank in range(1, n + 1):
        for total in range(len(ways) - 1, rank - 1, -1):
            ways[total] += ways[total - rank]
    below = 0
    for total, count in enumerate(ways):
        below += count
        if below > tail * 2**n:
            return max(total - 1, 0)
    return 0


def _gamma_cdf(x: float, shape: float) -> float:
    """Return the regularised incomplete gamma function P(shape, x), by its series (DLMF 8.7.1)."""
    if x <= 0:
        return 0.0
    term = total = 1.0
    n = shape
    while term > 1e-16 * total:
        n += 1
        term *= x / n
        total += term
    return total * math.exp(shape * math.log(x) - x - math.lgamma(shape + 1))


def _student_within(t: float, freedom: int) -> float:
    """Return P(|T| <= t)."""
    angle = math.atan2(t, math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= (k - 1) / k * math.cos(angle) ** 2
        total += term
    total *= math.sin(angle)
    return (angle + total) * 2 / math.pi if odd else total
