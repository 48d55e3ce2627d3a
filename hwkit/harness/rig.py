"""The rig file: which devices there are, what meters see them, and what is around them.

TOML; docs/metering.md has an example.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.errors import NotPermitted, PlanError
from hwkit.harness.surroundings import LIMITS
from hwkit.harness.wiring import Wiring, shown
from hwkit.protocols import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hwkit.harness.wiring import Sum
    from hwkit.protocols import Meter, MeterSpec

LARGEST = 1 << 20  # bytes
LISTS = ("meters", "less", "beside", "includes")
DEVICE = {"address", *LISTS, "boundary", "nameplate_w", "nameplate_th_s"}


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the file, as it was written."""

    where: str  # "rig.toml: device 2 (cuda:0)"
    address: str
    meters: tuple[str, ...] = ()  # whose sum is its power
    less: tuple[str, ...] = ()  # what of it is not its own
    beside: tuple[str, ...] = ()  # each a J/TH of its own: a chip's sensor beside the wall
    includes: tuple[str, ...] = ()
    boundary: str | None = None
    nameplate_w: float | None = None
    nameplate_th_s: float | None = None


@dataclass(frozen=True, slots=True)
class Rig:
    """Devices in the order of the file, and what was said of their surroundings."""

    devices: tuple[Device, ...]
    conditions: Mapping[str, float | str]

    def only(self, addresses: Sequence[str]) -> Rig:
        """Return the rig with these of its devices; with none named, all. Raises PlanError."""
        known = {device.address: device for device in self.devices}
        for address in addresses:
            if address not in known:
                raise PlanError(f"{address} is not in the rig file; it has {', '.join(known)}")
        kept = tuple(known[address] for address in addresses) if addresses else self.devices
        seen = {meter for device in kept for meter in (*device.meters, *device.less)}
        for device in self.devices:
            shared = seen & {*device.meters, *device.less}
            if shared and device not in kept:
                raise PlanError(f"{device.where}: {min(shared)} sees it too: it cannot be left out")
        return Rig(kept, self.conditions)


def read(path: Path) -> Rig:
    """Read a rig file. Raises PlanError with the place of what is wrong, NotPermitted."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such file") from None
    except OSError as error:
        raise NotPermitted(str(path), f"it cannot be read: {error.strerror}") from error
    if len(text) > LARGEST:
        raise PlanError(f"{path}: it is larger than any rig")
    try:
        document = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # of TOML, and of UTF-8
        raise PlanError(f"{path}: it is no TOML: {error}") from error
    _only_known(str(path), document, {"device", "conditions"})
    tables = document.get("device")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise PlanError(f"{path}: devices are tables of their own: [[device]]")
    devices = tuple(_device(f"{path}: device {n}", each) for n, each in enumerate(tables, 1))
    for number, device in enumerate(devices):
        if device.address in {other.address for other in devices[:number]}:
            raise PlanError(f"{device.where}: it is there already")
    return Rig(devices, _conditions(f"{path}: conditions", document.get("conditions", {})))


def wire(rig: Rig, find: Callable[[str], Sequence[Meter]]) -> tuple[list[Meter], list[Wiring]]:
    """Return the meters of a rig, each once, and the wiring of each of its devices.

    `find` gives the meters at an address. Devices whose power is made of the same meter are a
    group: its sum is that of all their meters. Raises PlanError.
    """
    meters: dict[str, Meter] = {}

    def specs(addresses: Sequence[str]) -> list[MeterSpec]:
        found = [meter for address in addresses for meter in find(address)]
        return [meters.setdefault(meter.spec.name, meter).spec for meter in found]

    sums: list[Sum] = []
    beside: list[list[str]] = []
    for device in rig.devices:
        plus, minus = specs(device.meters), specs(device.less)
        _refuse_mixed(device, [*plus, *minus])
        sums.append((*((1, spec.name) for spec in plus), *((-1, spec.name) for spec in minus)))
        beside.append([spec.name for spec in specs(device.beside)])
    wirings = []
    for number, device in enumerate(rig.devices):
        sharing = _sharing(number, sums)
        some = [rig.devices[n] for n in sharing]
        total = tuple(dict.fromkeys(part for n in sharing for part in sums[n]))
        _refuse_ambiguous(device, total, beside[number])
        plates = [each.nameplate_w for each in some if each.nameplate_w is not None]
        wirings.append(
            Wiring(
                (total, *(((1, name),) for name in beside[number])),
                tuple(sorted({word for each in some for word in each.includes})),
                sum(plates) if len(plates) == len(some) else None,
                tuple(each.address for each in some) if len(some) > 1 else (),
            )
        )
    everything = [name for wiring in wirings for name in wiring.meters]
    return [meters[name] for name in dict.fromkeys(everything)], wirings


def _device(where: str, table: Mapping[str, Any]) -> Device:
    address = table.get("address")
    if not isinstance(address, str) or not address:
        raise PlanError(f"{where}: it needs an address, as in address = 'cpu:auto'")
    where = f"{where} ({address})"
    _only_known(where, table, DEVICE)
    for key in LISTS:
        words = table.get(key, [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise PlanError(f"{where}: {key} is a list of texts")
        if len(set(words)) < len(words):
            raise PlanError(f"{where}: {key} names the same twice")
    if not table.get("meters"):
        raise PlanError(f"{where}: meters is empty: what sees its power?")
    for key in ("nameplate_w", "nameplate_th_s"):
        if key in table and not 0 < _number(f"{where}: {key}", table[key]) < math.inf:
            raise PlanError(f"{where}: {key} is a number above 0")
    if table.get("boundary", Scope.WALL) not in set(Scope):
        raise PlanError(f"{where}: boundary is one of {', '.join(Scope)}")
    lists = {key: tuple(table.get(key, [])) for key in LISTS}
    return Device(where, **{**table, **lists})


def _conditions(where: str, table: object) -> dict[str, float | str]:
    if not isinstance(table, dict):
        raise PlanError(f"{where}: it is a table: [conditions]")
    _only_known(where, table, set(LIMITS))
    for name, value in table.items():
        if not isinstance(value, str):
            least, most = LIMITS[name]
            if not least <= _number(f"{where}: {name}", value) <= most:
                raise PlanError(f"{where}: {name} lies between {least:g} and {most:g}")
    return dict(table)


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PlanError(f"{where} is a number, not {value!r:.40}")
    return float(value)


def _only_known(where: str, table: Mapping[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise PlanError(f"{where}: no {key!r} is known; there are {', '.join(sorted(known))}")


def _refuse_mixed(device: Device, specs: Sequence[MeterSpec]) -> None:
    """Raise PlanError for a sum of what has none, or of what is not the boundary told."""
    scopes = sorted({spec.scope for spec in specs})
    if len(scopes) > 1:
        raise PlanError(f"{device.where}: meters of {' and '.join(scopes)} have no sum")
    if device.boundary is not None and scopes != [device.boundary]:
        raise PlanError(f"{device.where}: its meters see the {scopes[0]}, not {device.boundary}")
    if len(specs) > 1 and any(spec.interval_s is None for spec in specs):
        raise PlanError(f"{device.where}: a meter read by hand has a window of its own, and no sum")


def _refuse_ambiguous(device: Device, total: Sum, beside: Sequence[str]) -> None:
    names = [name for _, name in total]
    for name in (*names, *beside):
        if [*names, *beside].count(name) > 1:
            raise PlanError(f"{device.where}: {name} stands twice in {shown(total)} and beside it")


def _sharing(number: int, sums: Sequence[Sum]) -> list[int]:
    """Return the devices that share a meter with this one, directly or by another one."""
    found = {number}
    while True:
        names = {name for n in found for _, name in sums[n]}
        more = {n for n, total in enumerate(sums) if names & {name for _, name in total}}
        if more == found:
            return sorted(found)
        found = more
