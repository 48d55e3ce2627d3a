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


def spread(values: Sequence[float]) -> float:
    """Return half the distance of the 10th and 90th percentile over the median; 0 for one value."""
    if len(values) < 2:
        return 0.0
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
