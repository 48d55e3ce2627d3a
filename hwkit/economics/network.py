"""The network from 474 numbers: difficulty, time, blocks and coins of any hashrate and dates.

A period is 2,016 blocks of one target. Its data are in data/README.md, with their sources.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING

from hwkit.errors import PlanError
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY
from hwkit.harness.statistics import garwood_interval
from hwkit.units import Figure
from hwkit.work import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Moment = datetime | date | str | float  # a bare date is its midnight, UTC; a number is Unix

PERIOD = 2016  # blocks
TIMESPAN_S = 14 * 86_400.0  # that a period is meant to take
INTERVAL_S = 600.0  # that a block is meant to take
HALVING = 210_000  # blocks
COIN = 100_000_000  # satoshi
EARLIEST, LATEST = 1970, 2140  # years: of Unix time, of the last new coin


@dataclass(frozen=True, slots=True)
class Period:
    """2,016 blocks of one target, and when the first of them was mined (Unix seconds)."""

    number: int
    nbits: int
    began: float
    ended: float  # when the next one began; of the newest, after 14 days

    @property
    def start_height(self) -> int:
        """The height of its first block."""
        return self.number * PERIOD

    @property
    def hashes_per_block(self) -> float:
        """How many hashes a block takes on average: about difficulty times 2^32."""
        return float(Target.from_nbits(self.nbits).work)

    @property
    def difficulty(self) -> float:
        """How many times harder than the first block."""
        return float(Target.from_nbits(self.nbits).difficulty)

    @property
    def hashrate_h_s(self) -> float:
        """The network's mean over the period: its work over its time."""
        return PERIOD * self.hashes_per_block / (self.ended - self.began)


def expected_blocks(
    hashrate_h_s: float,
    start: Moment,
    end: Moment,
    confidence: float = 0.95,
    *,
    later: float | None = None,
) -> Figure:
    """Return how many blocks a hashrate finds between two moments, with bounds of the count.

    The bounds are Poisson's: with this confidence the number found lies between them. `later` is
    the difficulty from the end of the list on. Raises PlanError for dates that nothing covers.
    """
    if not 0 <= hashrate_h_s < math.inf:
        raise PlanError(f"a hashrate is a number of H/s from 0 up, not {hashrate_h_s:g}")
    mean = hashrate_h_s * _blocks_per_hash_s(start, end, later)
    _check_possible(mean, start, end, f"{hashrate_h_s:.4g} H/s")
    tail = (1 - confidence) / 2
    lo, hi = poisson_quantile(tail, mean), poisson_quantile(1 - tail, mean)
    return Figure(mean, min(mean, lo), max(mean, hi), "blocks")


def expected_btc(
    hashrate_h_s: float,
    start: Moment,
    end: Moment,
    fee_share: float = 0.0,
    confidence: float = 0.95,
    *,
    later: float | None = None,
) -> Figure:
    """Return the coins those blocks bring, with the same bounds; fees are a share of all rewards.

    What is found is S / (1 - fee_share) a block, where S is the subsidy at its height.
    """
    blocks = expected_blocks(hashrate_h_s, start, end, confidence, later=later)
    a, b = height_at(start), height_at(end)
    each = issued_between(a, b) / (b - a) / (1 - fee_share)
    return Figure(blocks.value * each, blocks.lo * each, blocks.hi * each, "BTC")


def implied_hashrate(blocks: int, start: Moment, end: Moment, confidence: float = 0.95) -> Figure:
    """Return the mean hashrate that finds so many blocks; Garwood's exact interval, in H/s."""
    if blocks < 0:
        raise PlanError(f"a number of blocks is from 0 up, not {blocks}")
    _check_possible(blocks, start, end, f"{blocks:,} blocks")
    interval = garwood_interval(float(blocks), float(blocks), 1.0, confidence)
    per_hash = _blocks_per_hash_s(start, end)
    return Figure(blocks / per_hash, interval.lo / per_hash, interval.hi / per_hash, "H/s")


def network_hashrate(start: Moment, end: Moment) -> float:
    """Return the network's mean in H/s between two moments: work of its blocks over time."""
    a, b = _unix(start), _unix(end)
    work = sum(time_s * period.hashrate_h_s for period, time_s in _parts(start, end))
    return work / (b - a)


def mean_difficulty(start: Moment, end: Moment) -> float:
    """Return the mean difficulty over the time between two moments."""
    a, b = _unix(start), _unix(end)
    return sum(time_s * period.difficulty for period, time_s in _parts(start, end)) / (b - a)


def issued(start: Moment, end: Moment) -> float:
    """Return the coins of all blocks between two moments, without fees, in BTC."""
    return issued_between(height_at(start), height_at(end))


def issued_between(a: float, b: float) -> float:
    """Return the coins of all blocks between two heights, without fees, in BTC."""
    edges: list[float] = [a, *range(next_halving(a), math.ceil(b), HALVING), b]
    return sum((v - u) * subsidy(u) for u, v in pairwise(edges))


def covered(moment: Moment) -> bool:
    """Does the difficulty list reach so far?"""
    return _unix(moment) <= listed_until()


def listed_until() -> float:
    """Return where the difficulty list ends, in Unix seconds."""
    return history()[-1].ended


def difficulty_at(moment: Moment) -> float:
    """Return the difficulty at a moment; past the list, its last."""
    return history()[_index(_unix(moment))].difficulty


def height_at(moment: Moment) -> float:
    """Return how many blocks there are at a moment: those of a period lie evenly in its time.

    Past the list as if every further one took ten minutes.
    """
    at = _unix(moment)
    period = history()[_index(at)]
    return period.start_height + PERIOD * (at - period.began) / (period.ended - period.began)


def time_of(height: float) -> datetime:
    """Return when a block is mined; past the list, as if every further one took ten minutes."""
    periods = history()
    period = periods[min(max(int(height // PERIOD), 0), len(periods) - 1)]
    each = (period.ended - period.began) / PERIOD
    return datetime.fromtimestamp(period.began + (height - period.start_height) * each, UTC)


def subsidy(height: float) -> float:
    """Return the coins that a block at this height makes (Bitcoin Core, GetBlockSubsidy)."""
    return (50 * COIN >> int(height / HALVING)) / COIN


def next_halving(height: float) -> int:
    """Return the first height after this one at which the subsidy is halved."""
    return (int(height / HALVING) + 1) * HALVING


def walk(nbits: Sequence[int], began: float) -> Iterator[float]:
    """Yield when each of these periods begins, from the first one's time and the ratios alone.

    Consensus sets a new target by how long the last 2,015 intervals took: the list of targets is a
    clock. One mean interval lies between a period's last block and the next one's first. Not for
    what the limits of a retarget (a factor of 4) cut off, nor for difficulty 1.
    """
    yield began
    for before, after in pairwise(nbits):
        ratio = Target.from_nbits(after).value / Target.from_nbits(before).value
        began += TIMESPAN_S * ratio + INTERVAL_S
        yield began


def poisson_quantile(p: float, mean: float) -> int:
    """Return the least count that a Poisson number of this mean reaches with probability p."""
    if mean == 0:
        return 0
    # From where nothing worth counting lies below; terms as logarithms, so that none is 0.
    k = max(0, math.floor(mean - 12 * math.sqrt(mean)) - 40)
    total = 0.0
    while True:
        total += math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
        if total >= p or k > mean + 12 * math.sqrt(mean) + 60:
            return k
        k += 1


@cache
def history() -> tuple[Period, ...]:
    """Return every period from the first block on; where no time is known, the clock's."""
    text = (files(__name__.rpartition(".")[0]) / "data" / "difficulty.csv").read_text("ascii")
    rows = list(csv.DictReader(text.splitlines()))
    nbits = [int(row["nbits"], 16) for row in rows]
    times = [float(row["began"]) for row in rows if row["began"]]
    known = len(times)
    times += list(walk(nbits[known - 1 :], times[-1]))[1:]
    times.append(times[-1] + TIMESPAN_S)
    return tuple(
        Period(number, bits, began, ended)
        for number, (bits, (began, ended)) in enumerate(zip(nbits, pairwise(times), strict=True))
    )


def _check_possible(blocks: float, start: Moment, end: Moment, what: str) -> None:
    """Refuse more than the whole network finds, twice: where difficulty rises, a mean finds more.

    So large a number is a unit that was mistaken, and its bounds would take for ever.
    """
    there = height_at(end) - height_at(start)
    if blocks > 2 * there > 0:
        raise PlanError(
            f"{what}: {blocks:.4g} blocks from {start} to {end}, where all miners find {there:,.0f}"
        )


def _blocks_per_hash_s(start: Moment, end: Moment, later: float | None = None) -> float:
    """Return the blocks that 1 H/s finds: seconds over hashes a block, period by period."""
    a, b, last = _unix(start), _unix(end), history()[-1].ended
    if later is None or b <= last or b <= a:
        return sum(time_s / period.hashes_per_block for period, time_s in _parts(start, end))
    known = _blocks_per_hash_s(a, last) if a < last else 0.0
    return known + (b - max(a, last)) / (later * HASHES_PER_DIFFICULTY)


def _parts(start: Moment, end: Moment) -> Iterator[tuple[Period, float]]:
    """Yield the periods that two moments enclose, and how many seconds of each."""
    a, b = _unix(start), _unix(end)
    first, last = history()[0].began, history()[-1].ended
    if b <= a:
        raise PlanError(f"from {start} to {end}: the end comes after the start")
    if a < first or b > last:
        raise PlanError(
            f"{_day(a)} to {_day(b)}: the difficulty list goes from {_day(first)} to {_day(last)}"
        )
    for period in history()[_index(a) : _index(b) + 1]:
        yield period, min(b, period.ended) - max(a, period.began)


def _index(at: float) -> int:
    return max(bisect_right(_beginnings(), at) - 1, 0)


@cache
def _beginnings() -> list[float]:
    return [period.began for period in history()]


def _unix(moment: Moment) -> float:
    if isinstance(moment, int | float):
        return float(moment)
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise PlanError(f"{moment!r}: a date is written 2024-10-01") from error
    if not EARLIEST <= moment.year <= LATEST:
        raise PlanError(f"{moment}: a date is of the years {EARLIEST} to {LATEST}")
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
