"""Figures of a miner that is fed: what its shares prove, what it claims, and what is odd about them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from hwkit.harness import caveats
from hwkit.harness.chance import (
    UNLIKELY,
    Dispersion,
    bin_edge,
    binomial_z,
    dispersion,
    floor_of,
    spread_of,
)
from hwkit.harness.delivered import COUNTERS, DEVFEE, POWER, RATE, TOTAL_HASHES
from hwkit.harness.efficiency import TERA
from hwkit.harness.statistics import garwood_interval, trend
from hwkit.protocols import Basis, Verdict
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.harness.caveats import Caveat
    from hwkit.harness.delivered import Delivered
    from hwkit.protocols import Window

MINUTE_S = 60.0
IN_A_SLICE = 10.0  # shares due at least, or chi-squared is no chi-squared
FEWEST_SLICES = 5
MANY_REFUSED = 0.01  # of the shares that came in
BURST = 0.05  # of the mean gap: one in twenty is as short by chance
MANY_BURSTS = 0.15
FAR_Z = 7.0
MATTERS = 0.01  # of a claim: what is within a percent is no purchase's affair
DRIFT = 0.02


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a fed or watched miner's rows say beside the joules."""

    figures: dict[str, Figure]
    caveats: tuple[Caveat, ...]
    told: dict[str, Any] = field(default_factory=dict)  # as it stands in a record


def infer(windows: Sequence[Window], delivered: Delivered, basis: Basis) -> Inferred:
    """Return figures, caveats and the record's block of windows that follow each other."""
    if not windows:
        return Inferred({}, ())
    delivered.settle(windows[-1].closed)
    time_s = (windows[-1].closed - windows[0].opened) / 1e9
    claim = Claim.of(delivered)
    told: dict[str, Any] = {"basis": basis.value, "counters": _counters(delivered)}
    if claim.told:
        told["claimed"] = claim.told
    if basis is Basis.CLAIMED:
        hashes = sum(window.hashes for window in windows)
        rate = hashes / time_s
        bare = {"hashrate": Figure(rate, rate, rate, "H/s")} if hashes else {}
        return Inferred(bare, (caveats.ClaimedHashes(),) if hashes else (), told)
    rate = hashrate(delivered, time_s)
    figures = {} if rate is None else {"hashrate": rate}
    found: list[Caveat] = []
    if rate is not None and not delivered.shares:
        bound = rate.hi
        if claim.rate_h_s is not None and claim.rate_h_s > bound:
            found.append(caveats.NothingDelivered(claim.rate_h_s, bound, time_s))
        else:
            found.append(caveats.NoShares(bound, time_s))
    if rate is not None and delivered.shares and claim.rate_h_s is not None:
        figures["claim_gap"] = gap = claim.gap(rate, time_s)
        if claim.devfee is not None:
            kept = claim.gap(rate, time_s, 1 - claim.devfee)
            told["claimed"]["gap_without_devfee"] = kept.to_json()
            found.append(caveats.DevFee(claim.devfee))
        if abs(gap.value) > MATTERS and not gap.lo <= 0 <= gap.hi:
            found.append(caveats.ClaimGap(gap.value, gap.lo, gap.hi))
    told["shares"] = delivered.shares
    told["work"] = {
        "hashes": delivered.work,
        "squares": delivered.squares,
        "largest": delivered.largest,
        "effective_shares": delivered.work**2 / delivered.squares if delivered.squares else None,
    }
    told["difficulties"] = [
        {
            "difficulty": float(target.difficulty),
            "shares": level.shares,
            "least": float(target.difficulty) / level.nearest,
        }
        for target, level in sorted(delivered.levels.items(), reverse=True)
    ]
    told["refused"] = {v.value: delivered.verdicts[v] for v in Verdict if v is not Verdict.GOOD}
    told["jobs"] = delivered.assigned
    found += _refusals(delivered)
    if delivered.shares:
        sliced = _sliced(windows, delivered, time_s)
        told["dispersion"] = sliced and sliced.to_json()
        spread = spread_of(delivered.spread)
        told["spread"] = spread and spread.to_json()
        floors = _floors(delivered)
        found += floors
        if spread is not None and spread.p < UNLIKELY and not floors:
            found.append(caveats.UnlikelyShares(spread.ks, spread.p, spread.shares))
        if sliced is not None and sliced.p < UNLIKELY:
            found.append(caveats.Dispersed(sliced.index, sliced.p, sliced.slice_s))
        silence, bursts = _silences(windows, delivered, time_s), _bursts(delivered, time_s)
        told["gaps"], told["bursts"] = silence[0], bursts[0]
        found += silence[1] + bursts[1]
        found += _drift(windows, time_s)
    return Inferred(figures, tuple(found), told)


def hashrate(delivered: Delivered, time_s: float) -> Figure | None:
    """Return the rate that shares prove: sum of work over time, its exact 95 % interval (Garwood).

    Without a share it is 0 with an upper bound, 95 % one-sided (3.0 shares); None where no job was
    ever sent.
    """
    if not delivered.shares:
        bound = -math.log(0.05) * delivered.largest / time_s
        return Figure(0.0, 0.0, bound, "H/s") if bound else None
    interval = garwood_interval(delivered.work, delivered.squares, delivered.largest)
    return Figure(delivered.work / time_s, interval.lo / time_s, interval.hi / time_s, "H/s")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a miner said of itself in the window of its shares."""

    rate_h_s: float | None
    devfee: float | None
    stale_s: float  # how old a counter may be when it is read
    told: dict[str, Any]

    @classmethod
    def of(cls, delivered: Delivered) -> Claim:
        """Return it: the rate by its hash counter where it has one, else by the rates it named."""
        total, mean = delivered.rises.get(TOTAL_HASHES), delivered.means.get
        rate, by, stale_s = None, None, 0.0
        if total is not None and total.over_ns:
            rate, by, stale_s = total.total * 1e9 / total.over_ns, TOTAL_HASHES, total.step_ns / 1e9
        elif (named := mean(RATE)) is not None:
            rate, by = named.value, RATE
        power, fee = mean(POWER), mean(DEVFEE)
        told: dict[str, Any] = {}
        if rate is not None:
            told |= {"hashrate_h_s": rate, "by": by}
        if power is not None and power.value is not None:
            told |= {"power_w": power.value, "power_said_by": " ".join(power.words) or None}
            if rate:
                told["efficiency_j_th"] = power.value * TERA / rate
        if fee is not None:
            told["devfee_fraction"] = fee.value
        return cls(rate, fee and fee.value, stale_s, told)

    def gap(self, delivered: Figure, time_s: float, part: float = 1.0) -> Figure:
        """Return claimed over delivered - 1: 0.30 claims 30 % more than it delivers.

        `part` of the claim goes to us. The interval is of the shares, and of a counter's age at
        both ends (rectangular, each).
        """
        claimed = (self.rate_h_s or 0.0) * part
        twice = 2 * self.stale_s / (math.sqrt(6) * time_s)
        more = math.hypot(math.log(delivered.value / delivered.lo), twice)
        less = math.hypot(math.log(delivered.hi / delivered.value), twice)
        ratio = claimed / delivered.value
        return Figure(ratio - 1, ratio * math.exp(-less) - 1, ratio * math.exp(more) - 1, "")


def _counters(delivered: Delivered) -> dict[str, float]:
    """Return by how much the miner's own counters rose."""
    return {name: delivered.rises[name].total for name in COUNTERS if name in delivered.rises}


def _refusals(delivered: Delivered) -> list[Caveat]:
    came = delivered.shares + sum(delivered.verdicts.values())
    found: list[Caveat] = []
    for verdict, kind, many in (
        (Verdict.DUPLICATE, caveats.Duplicates, 0.0),
        (Verdict.WRONG, caveats.WrongShares, 0.0),
        (Verdict.STALE, caveats.StaleShares, MANY_REFUSED),
        (Verdict.LOW, caveats.LowShares, MANY_REFUSED),
    ):
        count = delivered.verdicts[verdict]
        if count > many * came:
            found.append(kind(count, came))
    return found


def _floors(delivered: Delivered) -> list[Caveat]:
    """Return the difficulty below which no share came, where a lower one was assigned."""
    for target, level in sorted(delivered.levels.items(), reverse=True):  # the easiest first
        difficulty = float(target.difficulty)
        effective = floor_of(difficulty, level.nearest, level.shares)
        if effective is not None:
            return [caveats.DeviceFloor(difficulty, effective, level.shares)]
    return []


def _slices(windows: Sequence[Window], slice_s: float) -> list[tuple[float, int, int]]:
    """Return seconds, hashes and shares of stretches at least so long; what is left over is not."""
    found, opened, hashes, shares = [], windows[0].opened, 0, 0
    for window in windows:
        hashes, shares = hashes + window.hashes, shares + window.shares
        if window.closed - opened >= slice_s * 1e9:
            found.append(((window.closed - opened) / 1e9, hashes, shares))
            opened, hashes, shares = window.closed, 0, 0
    return found


def _slice_s(delivered: Delivered, time_s: float) -> float:
    """Return a minute, or a tenth of a short run; more where shares are rare."""
    return max(min(MINUTE_S, time_s / 10), IN_A_SLICE * time_s / delivered.shares)


def _sliced(windows: Sequence[Window], delivered: Delivered, time_s: float) -> Dispersion | None:
    """Return how the shares of equal stretches vary; None where there are too few."""
    slice_s = _slice_s(delivered, time_s)
    slices = _slices(windows, slice_s)
    if len(slices) < FEWEST_SLICES:
        return None
    usual = delivered.work / delivered.shares
    # Where difficulty changed, as many shares are due as the work of one goes into the time.
    each = [hashes / shares if shares else usual for _, hashes, shares in slices]
    counts = [float(shares) for _, _, shares in slices]
    exposures = [seconds / work for (seconds, _, _), work in zip(slices, each, strict=True)]
    return dispersion(counts, exposures, slice_s)


def _drift(windows: Sequence[Window], time_s: float) -> list[Caveat]:
    """Return whether the rate rose or fell through the run by more than chance."""
    slices = _slices(windows, time_s / 20)
    at = list(accumulate(seconds for seconds, _, _ in slices))
    rates = [hashes / seconds for seconds, hashes, _ in slices]
    mean = sum(rates) / len(rates)
    slope, z = trend(at, rates)
    drift = slope * time_s / mean if mean else 0.0
    return [caveats.NotSteady(drift)] if abs(drift) > DRIFT and abs(z) > 4 else []


def _silences(
    windows: Sequence[Window], delivered: Delivered, time_s: float
) -> tuple[dict[str, float], list[Caveat]]:
    """Return the longest time without a share, and what of the run chance does not explain."""
    rate = delivered.work / (time_s * 1e9)  # a ns
    last = delivered.gap_to(windows[-1].closed, delivered.each)
    longest = max(delivered.longest, last)
    due = longest[0] * rate
    # Of n gaps one is so long with n exp(-due) at most.
    unlikely = math.log((delivered.shares + 1) / UNLIKELY)
    silent_ns = last[1] if last[0] * rate > unlikely else 0
    silent_ns += sum(ns for place, (_, ns) in delivered.gaps.items() if _is_over(place, unlikely / rate))
    told = {"longest_s": longest[1] / 1e9, "due": due, "silent_s": silent_ns / 1e9}
    if due <= unlikely:
        return told, []
    return told, [caveats.Flatline(longest[1] / 1e9, due, silent_ns / 1e9)]


def _is_over(place: int, gap: float) -> bool:
    """Lies all of a bin above this gap?"""
    return bin_edge(place - 1) >= gap


def _bursts(delivered: Delivered, time_s: float) -> tuple[dict[str, float], list[Caveat]]:
    """Return how many shares came at once with the one before."""
    rate = delivered.work / (time_s * 1e9)
    places = [place for place in delivered.gaps if bin_edge(place) <= BURST / rate]
    short = sum(delivered.gaps[place][0] for place in places)
    edge = max((bin_edge(place) for place in places), default=0.0)
    by_chance = 1 - math.exp(-rate * edge)
    share = short / delivered.shares
    told = {"share": share, "by_chance": by_chance}
    many = by_chance == 0 or binomial_z(short, delivered.shares, by_chance) > FAR_Z
    if share > MANY_BURSTS and short > 10 and many:
        return told, [caveats.Batched(share, by_chance)]
    return told, []
