"""Figures from rows: the one place where a record's numbers are computed, and computed again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from hwkit.errors import Unmeasurable
from hwkit.harness import caveats
from hwkit.harness.circumstances import held_back, of_the_place
from hwkit.harness.correction import Correction
from hwkit.harness.inferred import infer
from hwkit.harness.miner_caveats import NothingDelivered
from hwkit.harness.result import Partners, Result, results
from hwkit.harness.statistics import (
    Interval,
    median_interval,
    poisson_interval,
    poisson_z,
    spread,
    trend,
    widened,
)
from hwkit.harness.stretches import by_setting
from hwkit.harness.surroundings import sampled
from hwkit.harness.wiring import Wiring
from hwkit.protocols import Basis
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hwkit.harness.caveats import Caveat
    from hwkit.harness.delivered import Delivered
    from hwkit.protocols import Audit, MeterSpec, Probe, Reading, Window
    from hwkit.work import Target

IMPOSSIBLE_Z = 7.0  # by chance once in 10^7 at most (no share where 16 are due)
STEADY = 0.02
CLOCK_FALL = 0.05
CARDS = ("gpu:", "opencl")  # resources far faster than the processor that audits them
FEW_HITS = 5  # with so few, nearly half could be missing
OFTEN_SILENT = 0.2  # of a meter's readings: one in ten lost costs nothing
FULL_SHARE = 0.95
NEAR_S = 60.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run's rows say."""

    figures: dict[str, Figure]
    counts: dict[str, int]
    spread: float | None
    audit: dict[str, Any]
    caveats: tuple[Caveat, ...]
    metered: tuple[Result, ...] = ()  # of each meter or sum, as they were named
    surroundings: dict[str, Any] = field(default_factory=dict)  # as they were sampled
    delivered: dict[str, Any] = field(default_factory=dict)  # of a miner: what was seen and told

    @property
    def failed(self) -> Caveat | None:
        """What makes a measurement that was done a FAIL."""
        return next((c for c in self.caveats if isinstance(c, NothingDelivered)), None)

    @property
    def headline(self) -> Figure | None:
        """What the run is about, and its precision of: J/TH where meters saw it, else hashrate."""
        names = ("efficiency", "group_efficiency") if self.metered else ("hashrate",)
        return next((self.figures[name] for name in names if name in self.figures), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record."""
        document = {
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "counts": self.counts,
            "spread": self.spread,
            "audit": self.audit,
            "caveats": [caveat.to_json() for caveat in self.caveats],
        }
        if self.surroundings:
            document["surroundings"] = self.surroundings
        if self.delivered:
            document["delivered"] = self.delivered
        if self.metered:
            document["metered"] = [result.to_json() for result in self.metered]
        return document


def summarise(
    windows: Sequence[Window],
    audits: Sequence[Audit],
    target: Target,
    *,
    threads: int | None,
    usable: int | None = None,
    cores: int | None = None,
    core_types: Sequence[str] | None = None,
    quota: float | None = None,
    precision: float | None,
    audited: bool,
    basis: Basis = Basis.COUNTED,
    metered: Sequence[tuple[MeterSpec, Sequence[Reading]]] = (),
    idle: Sequence[tuple[int, int]] = (),
    corrections: Mapping[str, Correction] | None = None,
    day: str | None = None,
    unsettled: str | None = None,
    probes: Sequence[Probe] = (),
    wiring: Wiring | None = None,
    partners: Partners | None = None,
    nominal_v: float | None = None,
    card: bool = False,
    delivered: Delivered | None = None,
    silent: Mapping[str, tuple[int, str]] | None = None,
) -> Summary:
    """Compute every figure and caveat from the rows alone. Without hashes there is no hashrate.

    `threads` may be more than the processors that are `usable` to them, which are of so many
    `cores`, of `core_types`; `quota` is how many processors' worth of time there is. Each is None
    where it is unknown. `metered` are the meters with their readings, `idle` the stretches in which
    they watched the device idle, `silent` how often one did not read and what it was last,
    `unsettled` why a warm-up ended that had to, `probes` what a card or a sensor told beside,
    `delivered` what a miner that is fed or watched has shown and said; the rest is as results()
    takes it.
    """
    counts = {
        "windows": len(windows),
        "hashes": sum(window.hashes for window in windows),
        "shares": sum(window.shares for window in windows),
        "wall_ns": sum(window.closed - window.opened for window in windows),
        "busy_ns": sum(window.busy_ns or 0 for window in windows),
    }
    audit = _audit(audits)
    at_once = min(threads, usable or threads) if threads else None
    if core_types and len(core_types) > 1:  # the clock seen is that of one core
        windows = [replace(window, clock_hz=None) for window in windows]
    seen = results(
        metered,
        windows,
        basis,
        idle=idle,
        corrections=corrections,
        day=day,
        wiring=wiring,
        partners=partners,
        nominal_v=nominal_v,
    )
    around = sampled(probes)
    of_meters = [caveat for result in seen for caveat in result.caveats()]
    of_meters += _silent(seen, silent or {})
    if delivered is not None:
        inferred = infer(windows, delivered, basis)
        figures = inferred.figures | _energetic(seen)
        found = [*inferred.caveats, *_short_of(precision, figures), *of_meters]
        if unsettled is not None:
            found.append(caveats.NotSettled(unsettled))

        def meter(some: Sequence[Window]) -> list[Result]:
            if wiring is not None and wiring.group:  # whose meter saw others, too
                return []
            near = [(spec, _near(readings, spec, some)) for spec, readings in metered]
            return results(near, some, basis, corrections=corrections, day=day, wiring=wiring)

        told = inferred.told | by_setting(windows, delivered, basis, meter)
        return Summary(figures, counts, None, audit, tuple(found), tuple(seen), around, told)
    if counts["hashes"] == 0:
        return Summary(_energetic(seen), counts, None, audit, tuple(of_meters), tuple(seen), around)
    rate = _interval([wall_rate(window) for window in windows])
    figures = {"hashrate": _figure(rate, "H/s"), "hashrate_by_shares": _by_shares(counts, target)}
    figures |= _energetic(seen)
    if unsettled is not None:
        of_meters.append(caveats.NotSettled(unsettled))
    looked_at = next((figures[n].relative for n in figures if n.endswith("efficiency")), None)
    busy = [window for window in windows if window.busy_ns]
    if busy:
        figures["hashrate_per_cpu_second"] = _figure(
            _interval([cpu_rate(window) for window in busy]), "H/s"
        )
    clocked = [
        window.clock_hz / cpu_rate(window) for window in busy if window.clock_hz and window.hashes
    ]
    if clocked:
        figures["cycles_per_hash"] = _figure(_interval(clocked), "cycles/H")
    return Summary(
        figures,
        counts,
        spread([wall_rate(window) for window in windows]),
        audit,
        (
            *_caveats(windows, rate, at_once, quota, (precision, looked_at), audited=audited),
            *of_the_place(at_once, cores, core_types, quota),
            *([caveats.ThinAudit(audit["hits"])] if card and audit["hits"] < FEW_HITS else []),
            *held_back(probes),
            *of_meters,
        ),
        tuple(seen),
        around,
    )


def _near(
    readings: Sequence[Reading], spec: MeterSpec, windows: Sequence[Window]
) -> Sequence[Reading]:
    """Return the readings in and around some windows: those of a whole day cost time."""
    around_ns = round(1e9 * max(NEAR_S, 3 * (spec.interval_s or 0.0) + spec.averaging_s))
    opened, closed = windows[0].opened - around_ns, windows[-1].closed + around_ns
    return [reading for reading in readings if opened <= reading.at <= closed]


def _short_of(precision: float | None, figures: dict[str, Figure]) -> list[Caveat]:
    """Say where a miner's J/TH, or without it its hashrate, is less precise than was asked for."""
    named = ("efficiency", "group_efficiency", "hashrate")
    headline = next((figures[name] for name in named if name in figures), None)
    reached = 0.0 if headline is None else headline.relative
    short = precision is not None and precision < reached < math.inf
    return [caveats.Imprecise(precision or 0.0, reached)] if short else []


def _silent(
    seen: Sequence[Result], silent: Mapping[str, tuple[int, str]]
) -> list[caveats.MeterSilent]:
    """Say of meters how often they did not read, where that mattered or was often."""
    found = {}
    for _, part in (part for result in seen for part in result.parts):
        name = part.specs[0].name
        times, last = silent.get(name, (0, ""))
        often = times > OFTEN_SILENT * (times + part.polling.readings)
        if times and (often or part.coverage < 1):
            found[name] = caveats.MeterSilent(name, times, last)
    return list(found.values())


def _energetic(seen: Sequence[Result]) -> dict[str, Figure]:
    """Return power and J/TH as the first meter has them: who named it first wants it first.

    Those of a group have names of their own: nobody shall take them for one device's.
    """
    figures: dict[str, Figure] = {}
    for result in seen[:1]:
        of = "group_" if result.group else ""
        if result.power is not None:
            figures[f"{of}power"] = result.power[0]
        if result.efficiency is not None:
            figures[f"{of}efficiency"] = result.efficiency.efficiency
    return figures


def conditions(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a run's document says of how it was measured, as summarise takes it."""
    device, cpu = document["device"], document["host"]["cpu"]
    wiring, partners = document.get("wiring"), document.get("group")
    return {
        "threads": device["threads"],
        "usable": device.get("processors", cpu["usable"]),
        "cores": device.get("cores"),
        "core_types": device.get("core_types"),
        "quota": cpu.get("quota"),
        "precision": document["plan"]["precision"],
        "audited": document["auditor"] is not None,
        "basis": Basis(device["basis"]),
        "idle": [(a, b) for a, b in document.get("idle", [])],
        "corrections": {
            meter["name"]: Correction.from_json(meter["correction"])
            for meter in document.get("meters", [])
            if "correction" in meter
        },
        "day": document["clock"]["utc"],
        "unsettled": document.get("unsettled"),
        "wiring": wiring and Wiring.from_json(wiring),
        "partners": partners and Partners.from_json(partners),
        "nominal_v": document.get("conditions", {}).get("mains_v"),
        "silent": {
            meter["name"]: (int(meter["faults"]["times"]), str(meter["faults"]["last"]))
            for meter in document.get("meters", [])
            if "faults" in meter
        },
        "card": str(device["resource"]).startswith(CARDS),
    }


def wall_rate(window: Window) -> float:
    """Return hashes per second between the window's edges."""
    return window.hashes * 1e9 / (window.closed - window.opened)


def cpu_rate(window: Window) -> float:
    """Return hashes per second of thread CPU time: what one thread does when it runs."""
    if not window.busy_ns:
        raise Unmeasurable("the window has no thread CPU time")
    return window.hashes * 1e9 / window.busy_ns


def compared_rate(windows: Sequence[Window]) -> Callable[[Window], float]:
    """Return the rate to compare by: per CPU second where every window has one, else by wall."""
    return cpu_rate if windows and all(window.busy_ns for window in windows) else wall_rate


def share_count_fault(hashes: int, shares: int, target: Target) -> str | None:
    """Say how the shares contradict the hashes counted; None where chance explains it.

    A hash meets the target (target + 1) / 2^256 of the time; a count seven standard deviations off
    is a device that did not do what it counted, or left hits out.
    """
    expected = float(hashes / target.work)
    z = poisson_z(shares, expected)
    if abs(z) <= IMPOSSIBLE_Z:
        return None
    return (
        f"{shares} shares for {hashes} hashes, where {expected:.1f} are expected: "
        f"{abs(z):.0f} standard deviations off"
    )


def _by_shares(counts: dict[str, int], target: Target) -> Figure:
    """Return the rate that the re-hashed shares alone prove, with its Poisson interval."""
    interval = poisson_interval(counts["shares"])
    scale = float(target.work) * 1e9 / counts["wall_ns"]
    return Figure(interval.value * scale, interval.lo * scale, interval.hi * scale, "H/s")


def _interval(in_order: Sequence[float]) -> Interval:
    return widened(median_interval(in_order), in_order)


def _figure(interval: Interval, unit: str) -> Figure:
    return Figure(interval.value, interval.lo, interval.hi, unit)


def _audit(audits: Sequence[Audit]) -> dict[str, Any]:
    hits = sum(audit.hits for audit in audits)
    return {
        "chunks": len(audits),
        "nonces": sum(audit.hashes for audit in audits),  # with each version, where rolled
        "hits": hits,
        # A kernel that leaves out more than this fraction would have been caught 95 times in 100.
        "missing_at_most": 1 - 0.05 ** (1 / hits) if hits else None,
    }


def _caveats(
    windows: Sequence[Window],
    rate: Interval,
    at_once: int | None,
    quota: float | None,
    precisions: tuple[float | None, float | None],
    *,
    audited: bool,
) -> list[Caveat]:
    """Say what the windows show; `precisions`: the one asked for, and J/TH's where it was its."""
    precision, looked_at = precisions
    found: list[Caveat] = []
    reached = looked_at
    if reached is None:
        reached = rate.half_width / rate.value if rate.value else math.inf
    if rate.confidence < 0.94:
        found.append(caveats.FewWindows(len(windows), rate.confidence))
    elif precision is not None and reached > precision:
        found.append(caveats.Imprecise(precision, reached))
    slope, z = trend([window.opened / 1e9 for window in windows], [wall_rate(w) for w in windows])
    change = slope * (windows[-1].closed - windows[0].opened) / 1e9
    drift = change / rate.value if rate.value else 0.0
    if abs(drift) > STEADY and abs(z) > 3:
        found.append(caveats.NotSteady(drift))
    clocks = [window.clock_hz for window in windows if window.clock_hz]
    third = len(clocks) // 3
    if third >= 3:
        first, last = median(clocks[:third]), median(clocks[-third:])
        if last < (1 - CLOCK_FALL) * first:
            found.append(caveats.Throttled(first, last))
    busy = sum(window.busy_ns or 0 for window in windows)
    wall = sum(window.closed - window.opened for window in windows)
    if at_once and busy:
        share = busy / (min(at_once, quota or at_once) * wall)
        if share < FULL_SHARE:
            found.append(caveats.Oversubscribed(share))
    if not audited:
        found.append(caveats.NotAudited())
    return found
