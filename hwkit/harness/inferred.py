"""Figures of a miner that is fed: what its shares prove, what it claims, what chance is not."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from hwkit.harness import caveats as general
from hwkit.harness import miner_caveats as caveats
from hwkit.harness.chance import (
    UNLIKELY,
    Dispersion,
    bin_edge,
    binomial_z,
    dispersion,
    floor_of,
    spread_of,
)
from hwkit.harness.claims import MATTERS, Claim
from hwkit.harness.delivered import COUNTERS
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY
from hwkit.harness.statistics import garwood_interval, poisson_interval, trend
from hwkit.protocols import Basis, Verdict
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.harness.caveats import Caveat
    from hwkit.harness.delivered import Delivered
    from hwkit.harness.efficiency import Work
    from hwkit.protocols import Window

MINUTE_S = 60.0
IN_A_SLICE = 10.0  # shares due at least, or chi-squared is no chi-squared
FEWEST_SLICES = 5
# Bad nonces: Canaan calls 0.6 to 1.6 % normal (DH in its log, as zeusbtc.com explains it).
MANY_ERRORS = 0.02
MANY_REFUSED = 0.01  # of the shares that came in
BURST = 0.05  # of the mean gap: one in twenty is as short by chance
MANY_BURSTS = 0.15
FAR_Z = 7.0
DRIFT, DRIFT_Z = 0.02, 4.0


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
    claim = Claim.of(delivered.rises, delivered.means)
    told = {"basis": basis.value, "counters": _counters(delivered), **claim.to_json()}
    if basis is Basis.CLAIMED:
        hashes = sum(window.hashes for window in windows)
        if not hashes:
            return Inferred({}, (), told)
        bare = Figure.bare(hashes / time_s, "H/s")
        found = (caveats.ClaimedHashes(), *_changes(delivered))
        return Inferred({"hashrate": bare}, found, told)
    rate = hashrate(delivered.credited, time_s)
    held = _claim_held(claim, rate, time_s)
    oddities = _oddities(windows, delivered, time_s)
    errors = _errors(delivered, oddities.caveats, time_s)
    answering = delivered.answering.to_json(windows[0].opened, windows[-1].closed, time_s)
    figures = held.figures if rate is None else {"hashrate": rate} | held.figures
    return Inferred(
        figures,
        (
            *held.caveats,
            *_changes(delivered),
            *_refusals(delivered),
            *errors.caveats,
            *oddities.caveats,
        ),
        told | _account(delivered) | held.told | oddities.told | errors.told | answering,
    )


def hashrate(work: Work, time_s: float) -> Figure | None:
    """Return the rate that shares prove: sum of work over time, its exact 95 % interval (Garwood).

    Without a share it is 0 with an upper bound, 95 % one-sided (3.0 shares); None where no job was
    ever sent.
    """
    if not work.shares:
        bound = -math.log(0.05) * work.largest / time_s
        return Figure(0.0, 0.0, bound, "H/s") if bound else None
    interval = garwood_interval(work.hashes, work.squares, work.largest)
    return Figure(work.hashes / time_s, interval.lo / time_s, interval.hi / time_s, "H/s")


def _claim_held(claim: Claim, rate: Figure | None, time_s: float) -> Inferred:
    """Hold what it claims against what its shares prove."""
    if rate is None:
        return Inferred({}, ())
    first = claim.rate(time_s)
    # A mean of longer than the run is of another time: it is told, and no gap.
    others = [each for each in claim.others if each.over_s <= time_s]
    if not rate.value:
        most = max(([first] if first else []) + others, key=lambda each: each.h_s, default=None)
        if most is not None and most.h_s > rate.hi:
            return Inferred({}, (caveats.NothingDelivered(most.h_s, rate.hi, time_s),))
        return Inferred({}, (caveats.NoShares(rate.hi, time_s),))
    found: list[Caveat] = []
    told: dict[str, Any] = {}
    gaps = [(each.gap(rate), each.by) for each in others if each.h_s > rate.value]
    if first is not None:
        gaps.insert(0, (first.gap(rate), first.by))
    flagged = [
        (gap, by) for gap, by in gaps if abs(gap.value) > MATTERS and not gap.lo <= 0 <= gap.hi
    ]
    if flagged:
        gap, by = max(flagged, key=lambda each: each[0].value)
        found.append(caveats.ClaimGap(gap.value, gap.lo, gap.hi, by))
    if first is not None and claim.devfee:
        found.append(caveats.DevFee(claim.devfee))
        told["gap_without_devfee"] = first.gap(rate, 1 - claim.devfee).to_json()
    return Inferred({"claim_gap": gaps[0][0]} if first is not None else {}, tuple(found), told)


def _account(delivered: Delivered) -> dict[str, Any]:
    """Return what came, what was refused, and at which difficulties."""
    work, squares = delivered.work, delivered.squares
    return {
        "shares": delivered.shares,
        "work": {
            "hashes": work,
            "squares": squares,
            "largest": delivered.largest,
            "effective_shares": work**2 / squares if squares else None,
        },
        "refused": {v.value: delivered.verdicts[v] for v in Verdict if v is not Verdict.GOOD},
        "jobs": delivered.assigned,
        "jobs_of_shares": len(delivered.worked),
        "difficulties": [
            {
                "difficulty": float(target.difficulty),
                "shares": level.shares,
                "least": float(target.difficulty) / level.nearest,  # that a share has reached
            }
            for target, level in sorted(delivered.levels.items(), reverse=True)
        ],
    }


def _oddities(windows: Sequence[Window], delivered: Delivered, time_s: float) -> Inferred:
    """Return what of the shares chance does not explain."""
    spread = spread_of(delivered.spread)
    if spread is None:
        return Inferred({}, ())
    found = _floors(delivered)
    if spread.p < UNLIKELY and not found:
        found.append(caveats.UnlikelyShares(spread.ks, spread.p, spread.shares))
    sliced = _sliced(windows, delivered, time_s)
    if sliced is not None and sliced.p < UNLIKELY:
        found.append(caveats.Dispersed(sliced.index, sliced.p, sliced.slice_s))
    gaps, silence = _silences(windows, delivered, time_s)
    drift = [] if silence else _drift(windows, time_s)  # one that fell silent did not drift
    bursts, batched = _bursts(delivered, time_s)
    told = {
        "dispersion": sliced and sliced.to_json(),
        "spread": spread.to_json(),
        "gaps": gaps,
        "bursts": bursts,
    }
    return Inferred({}, (*found, *silence, *batched, *drift), told)


def _counters(delivered: Delivered) -> dict[str, float]:
    """Return by how much the miner's own counters rose."""
    return {name: delivered.rises[name].total for name in COUNTERS if name in delivered.rises}


def _errors(delivered: Delivered, oddities: Sequence[Caveat], time_s: float) -> Inferred:
    """Return what part of the nonces that its chips found were bad, by its own count of those.

    HW / (HW + N), where N good ones stand for the work credited: one for each unit of difficulty 1,
    as cgminer counts (api.c: Device Hardware% = 100 HW / (HW + Diff1 Work)); fewer where the device
    keeps back what is below a difficulty of its own; or one for each share, where those are easier.
    Its interval is that of a Poisson count of HW. Nothing where it does not count them.
    """
    rise = delivered.rises.get("hardware_errors")
    if rise is None or not rise.over_ns or not delivered.work:
        return Inferred({}, ())
    floors = [each for each in oddities if isinstance(each, caveats.DeviceFloor)]
    each = max([1.0, *(floor.effective for floor in floors)])
    units = delivered.work / HASHES_PER_DIFFICULTY / each
    good = max(units, float(delivered.shares)) * rise.over_ns / (time_s * 1e9)
    bad = poisson_interval(round(rise.total))
    value, lo, hi = (n / (n + good) for n in (bad.value, bad.lo, bad.hi))
    share = Figure(value, lo, hi, "")
    told = {"errors": round(rise.total), "good": good, "chip_difficulty": each}
    found = []
    if share.lo > MANY_ERRORS:
        found.append(caveats.HardwareErrors(share.value, share.lo, share.hi))
    return Inferred({}, tuple(found), {"hardware_errors": told | {"share": share.to_json()}})


def _changes(delivered: Delivered) -> list[Caveat]:
    names = ", ".join(sorted({change.name for change in delivered.changes}))
    return [caveats.SettingsChanged(names)] if names else []


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
    slices = _slices(windows, time_s / 60)
    at = list(accumulate(seconds for seconds, _, _ in slices))
    rates = [hashes / seconds for seconds, hashes, _ in slices]
    mean = sum(rates) / len(rates)
    slope, z = trend(at, rates)
    drift = slope * time_s / mean if mean else 0.0
    return [general.NotSteady(drift)] if abs(drift) > DRIFT and abs(z) > DRIFT_Z else []


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
    silent_ns += sum(
        ns for place, (_, ns) in delivered.gaps.items() if _is_over(place, unlikely / rate)
    )
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
    late = _late(delivered, edge * delivered.work / delivered.shares)
    if late is not None:
        told["pool_late"] = late
    # A share that was read late may be followed at once by the next: by the pool's doing.
    excused = by_chance + (late or 0.0)
    many = excused == 0 or (excused < 1 and binomial_z(short, delivered.shares, excused) > FAR_Z)
    if share > MANY_BURSTS and short > 10 and many:
        return told, [caveats.Batched(share, by_chance)]
    return told, []


def _late(delivered: Delivered, gap_ns: float) -> float | None:
    """Return how often the pool's clock was late by half of a gap; None where nobody looked.

    What is read so late may seem to come at once with the next: of shares that chance would have
    come apart, no more than this fraction does so by the pool's doing, or by that of a machine that
    makes a miner on it wait as long.
    """
    looks = sum(delivered.late.values())
    late = sum(n for place, n in delivered.late.items() if bin_edge(place) > gap_ns / 2e9)
    return late / looks if looks else None
