"""What a miner says of itself, as lines: value, unit, and where it says so."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from hwkit.hashers.asic.dialects import dialects
from hwkit.protocols import Provenance, Scope
from hwkit.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hwkit.hashers.asic.telemetry import Pool, Power, Telemetry, Value

NAME, VALUE = 18, 34  # columns
SCALED = {"H/s", "Sol/s", "H"}
ONE = {
    "expected_h_s": "expected",
    "hashrate_target_h_s": "hashrate target",
    "errors_h_s": "lost to errors",
    "power_target_w": "power target",
    "frequency_mhz": "frequency",
    "voltage_v": "voltage",
    "chips": "chips",
    "hardware_errors": "hardware errors",
    "hardware_error_rate": "of the work",
    "accepted": "accepted",
    "rejected": "rejected",
    "stale": "stale",
    "difficulty_accepted": "difficulty accepted",
    "difficulty_rejected": "difficulty rejected",
    "difficulty_stale": "difficulty stale",
    "total_hashes": "hashes in all",
    "elapsed_s": "counting for",
    "mode": "mode",
    "tuning": "tuning",
    "diverted": "diverted",
}
WORDS = ("firmware", "serial", "mac", "hostname", "algorithm")
SCOPES = {Scope.WALL: "at the wall", Scope.DEVICE: "DC, behind its supply"}
SAYS = {
    Provenance.PSU: "its power supply",
    Provenance.BOARD: "sensors on its board",
    Provenance.ESTIMATED: "estimated, no sensor",
}


def lines(told: Telemetry) -> Iterator[str]:
    """Yield what a person reads of it."""
    what = [each.value for each in (told.make, told.model) if each is not None]
    ours = dialects().get(told.dialect)
    speaks = f"speaks {ours.title}" if ours else f"read by {told.dialect}"
    yield f"{' '.join(what) or 'a miner'}, {speaks}"
    yield from _words(told)
    for rate in told.hashrates_h_s:
        yield _line("hashrate", f"{_number(rate)} ({rate.label})", rate.source)
    yield from _many("board", told.boards_h_s)
    yield from _power(told.power_w)
    yield from _many("temperature", told.temperatures_c)
    yield from _many("fan", told.fans_rpm)
    for name, shown in ONE.items():
        one: Value[float] | Value[str] | None = getattr(told, name)
        if one is not None:
            yield _line(shown, _number(one), one.source)
    yield from map(_pool, told.pools)
    for error in told.errors:
        yield _line("it reports", error.value, error.source)
    for finding in told.findings:
        yield _line("amiss", str(finding))
    for repair in told.repairs:
        yield _line("repaired", repair)
    for absent in told.absent:
        yield _line("no answer", absent)
    silent = [shown for name, shown in ONE.items() if getattr(told, name) is None]
    yield _line("it says nothing of", ", ".join(silent))


def _words(told: Telemetry) -> Iterator[str]:
    for name in WORDS:
        value: Value[str] | None = getattr(told, name)
        if value is not None:
            yield _line(name, value.value, value.source)


def _pool(pool: Pool) -> str:
    marks = ["active"] * bool(pool.active) + ["its maker's"] * pool.fee
    words = filter(None, (pool.url, pool.user, pool.status, *marks))
    return _line(f"pool {pool.number}", " ".join(words), pool.source)


def _power(power: Power | None) -> Iterator[str]:
    if power is None:
        yield _line("power", "it says none: only a meter can tell")
        return
    if power.provenance is None or power.scope is None:
        yield _line("power", f"{power.value:.4g} W, nobody says of what", power.source)
        return
    who = SAYS.get(power.provenance, power.provenance.value)
    scope = SCOPES.get(power.scope, "of its boards alone")
    yield _line("power", f"{power.value:.4g} W, {scope} ({who})", power.source)


def _many(name: str, values: tuple[Value[float], ...]) -> Iterator[str]:
    """Show values of one label on one line."""
    for label, group in groupby(values, key=lambda value: value.label):
        alike = list(group)
        unit = alike[0].unit
        if unit in SCALED:
            said = ", ".join(show(value.value, unit) for value in alike)
        else:
            said = ", ".join(f"{value.value:.5g}" for value in alike[:12]) + f" {unit}"
            if len(alike) > 12:
                low, high = min(v.value for v in alike), max(v.value for v in alike)
                said = f"{low:.5g} to {high:.5g} {unit} ({len(alike)})"
        yield _line(name, f"{said} ({label})" if label else said, alike[0].source)


def _number(value: Value[float] | Value[str]) -> str:
    if isinstance(value.value, str):
        return value.value
    if value.unit in SCALED:
        return show(value.value, value.unit)
    if value.unit == "1":
        return f"{100 * value.value:.3g} %"
    return f"{value.value:.10g} {value.unit}".rstrip()


def _line(name: str, value: str, source: str = "") -> str:
    return f"{name:<{NAME}} {value:<{VALUE}} {source}".rstrip()
