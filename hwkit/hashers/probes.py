"""What a card says of itself beside a measurement: recorded, and never part of the result."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PCI = Path("/sys/bus/pci/devices")
LONGEST = 64  # characters of a number in sysfs
# Bits of nvmlDeviceGetCurrentClocksEventReasons (driver 535 and later), as nvml.h names them.
REASONS = {
    0x001: "GpuIdle",
    0x002: "ApplicationsClocksSetting",
    0x004: "SwPowerCap",
    0x008: "HwSlowdown",
    0x010: "SyncBoost",
    0x020: "SwThermalSlowdown",
    0x040: "HwThermalSlowdown",
    0x080: "HwPowerBrakeSlowdown",
    0x100: "DisplayClockSetting",
}
# Those that hold a card below the clock that it was set to.
THROTTLING = frozenset(
    {"SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown"}
)


def probe(pci: str) -> dict[str, Any]:
    """Return what the card at a PCI address ('0000:65:00.0') tells now; what it does not is absent.

    clock_hz, temperature_c, power_w (drawn), power_limit_w (the one enforced), and slowed_by: the
    reasons why its clock is not higher, THROTTLING or not. From NVML, else from the kernel's hwmon,
    as amdgpu fills it, which has no reasons.
    """
    if re.fullmatch(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", pci) is None:
        return {}
    return _from_nvml(pci) or _from_hwmon(pci)


def _from_nvml(pci: str) -> dict[str, Any]:
    nvml = _nvml()
    if nvml is None:
        return {}
    try:
        card = nvml.nvmlDeviceGetHandleByPciBusId(pci)
    except nvml.NVMLError:
        return {}
    told: dict[str, Callable[[], Any]] = {
        "clock_hz": lambda: nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM) * 1e6,
        "temperature_c": lambda: float(
            nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)
        ),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(card) / 1e3,
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1e3,
        "slowed_by": lambda: _names(nvml.nvmlDeviceGetCurrentClocksEventReasons(card)),
    }
    values = {}
    for name, ask in told.items():
        with suppress(nvml.NVMLError):  # this card has no such sensor
            values[name] = ask()
    return values


@cache
def _nvml() -> Any:  # noqa: ANN401 - a module without types, that may be absent
    """Return NVML, started once; None where its Python module or its library is not installed."""
    try:
        import pynvml  # noqa: PLC0415 - optional: part of hwkit[cuda]
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _names(bits: int) -> list[str]:
    """Return the reasons by name; one that nvml.h has got since by its bit."""
    return [REASONS.get(1 << n, f"{1 << n:#x}") for n in range(bits.bit_length()) if bits >> n & 1]


def _from_hwmon(pci: str) -> dict[str, Any]:
    """Read what amdgpu tells: Linux, Documentation/gpu/amdgpu/thermal.rst."""
    files = {
        "clock_hz": ("freq1_input", 1.0),
        "temperature_c": ("temp1_input", 1e-3),
        "power_w": ("power1_average", 1e-6),
        "power_limit_w": ("power1_cap", 1e-6),
    }
    values = {}
    for folder in sorted((PCI / pci / "hwmon").glob("hwmon*")):
        for name, (file, unit) in files.items():
            with suppress(OSError, ValueError), (folder / file).open(encoding="ascii") as text:
                values[name] = int(text.read(LONGEST)) * unit
    return values
