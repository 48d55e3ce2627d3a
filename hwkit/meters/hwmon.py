"""Sensors that Linux shows under /sys/class/hwmon: GPUs, power supplies, current monitors.

Source: the kernel's Documentation/hwmon/sysfs-interface (power in microwatts, energy in
microjoules, intervals in milliseconds) and the ABI pages of the drivers named in SEES.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hwkit.errors import DeviceLost, NoDevice, NotPermitted, PlanError, ProtocolError, Unavailable
from hwkit.meters.addressing import STATED, name_of, stated
from hwkit.meters.bounded import Bounded
from hwkit.plugins import Address
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Reading, Scope
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.protocols import Meter

TREE = Path("/sys/class/hwmon")
_SENSOR = re.compile(r"(power|energy)[1-9][0-9]?", re.ASCII)
_NUMBER = re.compile(rb"-?[0-9]{1,20}")
# What a driver's sensors see. amdgpu's power is the SoC's; of i915 and xe the first is the card's.
SEES = {
    "amdgpu": (Scope.CHIP, Provenance.BOARD),
    "i915": (Scope.BOARD, Provenance.BOARD),
    "xe": (Scope.BOARD, Provenance.BOARD),
    "nouveau": (Scope.BOARD, Provenance.BOARD),
    "corsairpsu": (Scope.DEVICE, Provenance.PSU),
    "power_meter": (Scope.WALL, Provenance.PSU),  # ACPI 4.0, of a whole machine
}
# Any other is a sensor on some board, which ?scope= may know better; a label may say more.
LABELS = {
    "pin": (Scope.WALL, Provenance.PSU),  # PMBus: into a supply, and out of it
    "pout1": (Scope.DEVICE, Provenance.PSU),
    "card": (Scope.BOARD, Provenance.BOARD),
    "pkg": (Scope.CHIP, Provenance.BOARD),
}


def find(address: Address | None) -> Iterator[Meter | Unavailable]:
    """Yield hwmon:CHIP/power1, or every sensor of power and energy; or why there is none."""
    chips = _chips(TREE)
    if address is not None:
        address.allow(*STATED)
        chip, slash, sensor = address.place.partition("/")
        if not slash or not _SENSOR.fullmatch(sensor):
            raise PlanError(f"address {address}: it names chip and sensor, as in amdgpu/power1")
        yield _one(address, chips, chip, sensor)
        return
    found = [(chip, sensor) for chip, path in chips.items() for sensor in _sensors(path)]
    if not found:
        yield NoDevice("hwmon", f"no sensor of power or energy in {TREE}")
    for chip, sensor in found:
        yield HwmonMeter(Address("hwmon", f"{chip}/{sensor}", {}), chips[chip], sensor)


class HwmonMeter:
    """One sensor of one chip."""

    def __init__(self, address: Address, path: Path, sensor: str) -> None:
        """Read how the sensor describes itself."""
        self._path = path
        self._sensor = sensor
        average = path / f"{sensor}_average"
        self._file = average if average.exists() else path / f"{sensor}_input"
        driver = _said(path / "name") or "unknown"
        label = _said(path / f"{sensor}_label")
        scope, provenance = LABELS.get(
            label or "", SEES.get(driver, (Scope.BOARD, Provenance.BOARD))
        )
        interval = _said(path / f"{sensor}_average_interval") if average.exists() else None
        accuracy = re.fullmatch(r"([0-9.]{1,6})%", _said(path / f"{sensor}_accuracy") or "")
        usual = MeterSpec(
            name_of(address),
            scope,
            provenance,
            Accuracy(float(accuracy[1]) / 100, source=f"hwmon {sensor}_accuracy")
            if accuracy
            else None,
            averaging_s=float(interval) / 1000 if interval and interval.isdigit() else 0.0,
            details={"driver": driver, "label": label},
        )
        self._spec = stated(address, usual)
        self._driver = Bounded(self._spec.name)

    @property
    def spec(self) -> MeterSpec:
        """What it is."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Take a reading; the kernel tells the driver's name. Raises NoDevice, NotPermitted."""
        try:
            self._driver.ask(self._read)
        except PermissionError as error:
            why = f"{self._file} may not be read: sudo chmod a+r {self._file}"
            raise NotPermitted(self._spec.name, why) from error
        except OSError as error:
            raise NoDevice(self._spec.name, f"{self._file}: {error.strerror}") from error
        return {"model": str(self._spec.details["driver"])}

    def read(self) -> Reading:
        """Return what it senses now. Raises DeviceLost, DeviceTimeout, ProtocolError."""
        try:
            return self._driver.ask(self._read)
        except OSError as error:
            raise DeviceLost(f"{self._spec.name}: {self._file}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is held."""

    def _read(self) -> Reading:
        asked = time.monotonic_ns()
        with self._file.open("rb") as file:
            said = file.read(100).strip()
        took_ns = time.monotonic_ns() - asked
        if not _NUMBER.fullmatch(said):
            raise ProtocolError(f"{self._spec.name}: {plain(said)} is no number", said)
        value, at = int(said) / 1e6, asked + took_ns // 2
        if self._sensor.startswith("energy"):
            return Reading(at, joules=value, took_ns=took_ns)
        return Reading(at, watts=value, took_ns=took_ns)


def _one(address: Address, chips: Mapping[str, Path], chip: str, sensor: str) -> Meter | NoDevice:
    matching = [each for each in chips if chip in {each, each.partition("@")[0]}]
    if not matching:
        known = ", ".join(chips) or "none"
        return NoDevice(str(address), f"no chip {chip} in {TREE}; there are {known}")
    if len(matching) > 1:
        raise PlanError(f"address {address}: {chip} is one of {', '.join(matching)}")
    path = chips[matching[0]]
    if sensor not in _sensors(path):
        known = ", ".join(_sensors(path)) or "no power and no energy"
        return NoDevice(str(address), f"{matching[0]} has {known}")
    return HwmonMeter(address, path, sensor)


def _chips(tree: Path) -> dict[str, Path]:
    """Return folders by chip name; where several share one, by name@device, which stays the same.

    The number in hwmon3 does not: it is another after a restart.
    """
    named: dict[str, list[Path]] = {}
    for path in sorted(tree.glob("hwmon*")):
        named.setdefault(_said(path / "name") or path.name, []).append(path)
    chips = {}
    for name, paths in named.items():
        for path in paths:
            device = (path / "device").resolve().name if len(paths) > 1 else ""
            chips[f"{name}@{device}" if device else name] = path
    return chips


def _sensors(path: Path) -> list[str]:
    found = {file.name.rpartition("_")[0] for file in path.glob("*_input")}
    found |= {file.name.rpartition("_")[0] for file in path.glob("power*_average")}
    return sorted(sensor for sensor in found if _SENSOR.fullmatch(sensor))


def _said(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return plain(file.read(100).decode(errors="replace").strip()) or None
    except OSError:
        return None
