"""Running average power limit: what a processor says that its packages used (Linux powercap).

Source: the kernel's Documentation/power/powercap/powercap.rst. What the counter stands on differs:
measured by Intel since Haswell (Hackenberg et al., "An Energy Efficiency Feature Survey of the
Intel Haswell Processor", 2015), a model before, and a model of AMD's (Schoene et al., "Energy
Efficiency Aspects of the AMD Zen 2 Architecture", 2021).
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hwkit.errors import DeviceLost, NoDevice, NotPermitted, ProtocolError, Unavailable
from hwkit.meters.addressing import STATED, name_of, stated
from hwkit.meters.bounded import Bounded
from hwkit.plugins import Address
from hwkit.protocols import MeterSpec, Provenance, Reading, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.protocols import Meter

TREE = Path("/sys/class/powercap")
CPUINFO = Path("/proc/cpuinfo")
# Sandy Bridge and Ivy Bridge (family 6): their counters come from activity, no sensor.
MODELLED = {0x2A, 0x2D, 0x3A, 0x3E}
MOST_W = 5000.0  # of one package: a counter that fell by more than this allows was not wrapped
_NUMBER = re.compile(rb"[0-9]{1,20}")


def find(address: Address | None) -> Iterator[Meter | Unavailable]:
    """Yield rapl (all packages), rapl:package-0 or rapl:psys; or why there is none."""
    asked = address or Address("rapl", "", {})
    asked.allow(*STATED)
    zones = _zones(TREE)
    wanted = [name for name in zones if name == asked.place or not asked.place]
    if not asked.place:
        wanted = [name for name in zones if name.startswith("package-")]
    if wanted:
        meter = RaplMeter(asked, {name: zones[name] for name in wanted})
        denied = meter.denied()
        yield meter if denied is None or address is not None else denied
    elif zones:
        yield NoDevice(str(asked), f"no such zone; there are {', '.join(zones)}")
    else:
        why = f"nothing in {TREE}: a virtual machine, or sudo modprobe intel_rapl_msr"
        yield NoDevice(str(asked), why)


class RaplMeter:
    """One zone's energy counter, or the sum of several."""

    def __init__(self, address: Address, zones: Mapping[str, Path]) -> None:
        """Read where the counters wrap."""
        self._zones = zones
        ranges = [_range_uj(path) for path in zones.values()]
        self._ranges = ranges
        self._before: tuple[int, list[int]] | None = None  # when, and the counters
        self._wrapped = [0] * len(ranges)
        whole = "psys" in zones
        usual = MeterSpec(
            name_of(address),
            Scope.DEVICE if whole else Scope.CHIP,
            _provenance(),
            # A sum wraps nowhere in particular: its parts are put right here.
            modulus_j=ranges[0] / 1e6 if len(ranges) == 1 and ranges[0] is not None else None,
            details={"zones": list(zones)},
        )
        self._spec = stated(address, usual)
        self._driver = Bounded(self._spec.name)

    @property
    def spec(self) -> MeterSpec:
        """What it is."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Take a reading. Raises NoDevice, NotPermitted."""
        denied = self.denied()
        if denied is not None:
            raise denied
        try:
            self._driver.ask(self._read)
        except OSError as error:
            raise NoDevice(self._spec.name, f"{error.filename}: {error.strerror}") from error
        return {}

    def read(self) -> Reading:
        """Return the energy so far. Raises DeviceLost, DeviceTimeout, ProtocolError."""
        try:
            return self._driver.ask(self._read)
        except OSError as error:
            raise DeviceLost(f"{self._spec.name}: {error.filename}: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is held."""

    def denied(self) -> NotPermitted | None:
        """Return what a user who may not read the counters has to do."""
        for path in self._zones.values():
            file = path / "energy_uj"
            try:
                file.open("rb").close()
            except PermissionError:
                why = (
                    f"{file} is readable by root only: sudo chmod a+r {TREE}/intel-rapl:*/energy_uj"
                )
                return NotPermitted(self._spec.name, why)
            except OSError:
                return None
        return None

    def _read(self) -> Reading:
        asked = time.monotonic_ns()
        counters = [_counter(self._spec.name, path / "energy_uj") for path in self._zones.values()]
        took_ns = time.monotonic_ns() - asked
        at = asked + took_ns // 2
        if len(counters) > 1:
            self._unwrap(at, counters)
        total = sum(counters) + sum(self._wrapped)
        return Reading(at, joules=total / 1e6, took_ns=took_ns)

    def _unwrap(self, at: int, counters: list[int]) -> None:
        """Count the turns of each part; where one was set back, the sum falls: a reset, to all."""
        before, self._before = self._before, (at, counters)
        if before is None:
            return
        most = MOST_W * (at - before[0]) / 1e9 * 1e6
        for index, (was, now) in enumerate(zip(before[1], counters, strict=True)):
            turn = self._ranges[index]
            if now >= was:
                continue
            if turn is not None and now + turn - was <= most:
                self._wrapped[index] += turn
            else:
                self._wrapped = [0] * len(counters)
                return


def _zones(tree: Path) -> dict[str, Path]:
    """Return the top zones by name. intel-rapl-mmio shows the same package again: not counted."""
    zones = {}
    for path in sorted(tree.glob("intel-rapl:*")):
        if re.fullmatch(r"intel-rapl:[0-9]+", path.name):
            try:
                name = (path / "name").read_text(encoding="ascii", errors="replace").strip()
            except OSError:
                continue
            zones[name] = path
    return zones


def _range_uj(path: Path) -> int | None:
    try:
        return _counter(path.name, path / "max_energy_range_uj")
    except (OSError, ProtocolError):
        return None


def _counter(name: str, path: Path) -> int:
    with path.open("rb") as file:
        said = file.read(100).strip()
    if not _NUMBER.fullmatch(said):
        raise ProtocolError(f"{name}: {path} holds no number", said)
    return int(said)


def _provenance() -> Provenance:
    """Return the smaller claim where the processor does not say what it is."""
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as file:
            text = file.read(8192)
    except OSError:
        return Provenance.ESTIMATED
    said = dict(re.findall(r"^(vendor_id|cpu family|model)\s*: (\w+)$", text, re.MULTILINE))
    measured = said.get("vendor_id") == "GenuineIntel" and said.get("cpu family") == "6"
    model = said.get("model", "")
    if measured and model.isdigit() and int(model) not in MODELLED:
        return Provenance.BOARD
    return Provenance.ESTIMATED
