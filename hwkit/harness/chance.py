"""What chance makes of shares: Poisson's counts, evenly spread hashes, exponential gaps.

Probabilities are rounded: the last bits of a logarithm are the machine's, and a record is computed
again on others.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hwkit.harness.statistics import chi_squared_below

if TYPE_CHECKING:
    from collections.abc import Sequence

UNLIKELY = 1e-5  # what has a smaller probability is not called chance
DIGITS = 6
BINS = 4096  # of hashes as fractions of their target
OCTAVE = 16  # bins of gaps to a factor of two


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How the counts of equal stretches vary: of a steady miner the index is about 1."""

    index: float  # chi-squared over its degrees of freedom
    p: float  # of an index as far from 1, on either side
    slices: int
    slice_s: float

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record."""
        return asdict(self)


def dispersion(counts: Sequence[float], exposures: Sequence[float], slice_s: float) -> Dispersion:
    """Return the index of dispersion of Poisson counts, each due in proportion to its exposure.

    Fisher's (Statistical Methods for Research Workers, section 16): chi-squared over n - 1.
    """
    rate = math.fsum(counts) / math.fsum(exposures)
    pairs = zip(counts, exposures, strict=True)
    chi2 = math.fsum((n - rate * e) ** 2 / (rate * e) for n, e in pairs)
    freedom = len(counts) - 1
    below = chi_squared_below(chi2, freedom)
    p = min(1.0, 2 * min(below, 1 - below))
    return Dispersion(chi2 / freedom, round(max(p, 0.0), DIGITS), len(counts), slice_s)


@dataclass(frozen=True, slots=True)
class Spread:
    """How evenly hashes lie below their targets: each place is as likely as any other."""

    ks: float  # the largest distance of the two distributions (Kolmogorov and Smirnov)
    p: float
    crowded: float  # the part of the distance that is from too many just below their target
    shares: int

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record."""
        return asdict(self)


def spread_of(histogram: Sequence[int]) -> Spread | None:
    """Return how far hashes, counted in equal bins of hash over target, are from even.

    None without any. Hash / target is D / achieved difficulty. Binned, the distance is at most a
    bin too small.
    """
    n, before = sum(histogram), 0
    if not n:
        return None
    most = least = 0.0
    for place, count in enumerate(histogram, 1):
        before += count
        distance = before / n - place / len(histogram)
        most, least = max(most, distance), min(least, distance)
    ks = max(most, -least)
    return Spread(ks, round(kolmogorov(ks, n), DIGITS), -least, n)


def kolmogorov(distance: float, n: int) -> float:
    """Return the probability of so large a distance by chance (Stephens, JRSS B 32, 1970)."""
    x = (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * distance
    if x < 0.2:
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101))
    return min(max(2 * math.fsum(terms), 0.0), 1.0)


def floor_of(difficulty: float, nearest: float, shares: int) -> float | None:
    """Return the difficulty that a device filters its shares by, where more than was assigned.

    `nearest` is the largest hash over target of so many shares: chance leaves the rest of the range
    empty with a probability of its `shares`-th power.
    """
    if shares and nearest < 1 and shares * math.log(max(nearest, 1e-300)) < math.log(1e-6):
        return difficulty / nearest
    return None


def gap_bin(gap: float) -> int:
    """Return the bin of a gap: bins are logarithmic, and the same on every machine."""
    if gap <= 0:
        return -(1 << 16)
    mantissa, exponent = math.frexp(gap)
    return exponent * OCTAVE + int((mantissa - 0.5) * 2 * OCTAVE)


def bin_edge(number: int) -> float:
    """Return the upper edge of a bin."""
    exponent, place = divmod(number + 1, OCTAVE)
    return math.ldexp(0.5 + place / (2 * OCTAVE), exponent) if exponent > -1000 else 0.0


def binomial_z(count: int, n: int, p: float) -> float:
    """Return how many standard deviations a count of n lies above what chance p makes of it."""
    return (count - n * p) / math.sqrt(n * p * (1 - p))
