"""Can these readings be what they say? Scale, power factor, volts and amperes, mains."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from hwkit.protocols import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hwkit.protocols import MeterSpec, Reading

LEAST, MOST = 0.3, 2.0  # of the nameplate
POWER_FACTOR = 1.02  # with rounding and the meter's class; above it nothing can be
LEAST_FACTOR = 0.05  # nothing at work is as bad: kilowatts taken as watts are 0.001
MAINS = 0.10  # of the nominal voltage (IEC 60038)
NOMINAL_V = (100.0, 120.0, 208.0, 230.0, 277.0)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What cannot be, or is unusual; `refuse` until a person confirms it."""

    kind: str  # scale, power factor, volt-amperes, mains
    text: str
    refuse: bool


def implausible(
    readings: Sequence[Reading],
    spec: MeterSpec,
    nameplate_w: float | None = None,
    nominal_v: float | None = None,
) -> tuple[Doubt, ...]:
    """Return what is wrong with a running device's readings, by their medians; () where nothing is.

    Without `nominal_v` the mains are held against the nearest of the world's nominal voltages.
    """
    scale = out_of_scale(spec.name, _median(reading.watts for reading in readings), nameplate_w)
    doubts = [scale] if scale else []
    factor = _median(reading.power_factor for reading in readings)
    if factor is not None and abs(factor) > POWER_FACTOR:
        text = f"{spec.name} reads a power factor of {factor:.3g}: none is above 1"
        doubts.append(Doubt("power factor", text, refuse=True))
    apparent = _median(
        reading.watts / (reading.volts * reading.amperes)
        for reading in readings
        if reading.watts is not None and reading.volts and reading.amperes
    )
    if apparent is not None and not LEAST_FACTOR <= apparent <= POWER_FACTOR:
        hint = next((text for scale, text in _SCALES if LEAST <= apparent / scale <= MOST), "")
        text = f"{spec.name} reads {apparent:.3g} times as many watts as volts by amperes{hint}"
        doubts.append(Doubt("volt-amperes", text, refuse=True))
    volts = _median(reading.volts for reading in readings)
    if volts is not None and spec.scope is Scope.WALL:
        nominal = nominal_v or min(NOMINAL_V, key=lambda known: abs(volts / known - 1))
        if abs(volts / nominal - 1) > MAINS:
            text = f"mains at {volts:.4g} V, {100 * (volts / nominal - 1):+.0f} % of {nominal:g} V"
            doubts.append(Doubt("mains", text, refuse=False))
    return tuple(doubts)


def out_of_scale(name: str, watts: float | None, nameplate_w: float | None) -> Doubt | None:
    """Return the doubt about a power that the nameplate makes; None where there is none."""
    if watts is None or not nameplate_w or LEAST <= watts / nameplate_w <= MOST:
        return None
    times = watts / nameplate_w
    hint = next((text for scale, text in _SCALES if LEAST <= times / scale <= MOST), "")
    text = f"{name} reads {watts:.4g} W, {times:.3g} times the nameplate{hint}"
    return Doubt("scale", text, refuse=True)


_SCALES = (
    (1e-3, ": kilowatts taken as watts?"),
    (1e3, ": milliwatts taken as watts?"),
    (0.1, ": tenths lost?"),
    (10.0, ": tenths taken as whole ones?"),
)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
