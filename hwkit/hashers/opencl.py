"""OpenCL devices: each works in a child process of its own, and its answers are checked here."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from importlib.resources import files
from importlib.util import find_spec
from itertools import product
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, NoDevice, NoDriver, PlanError, Unavailable
from hwkit.hashers.child import Child
from hwkit.hashers.device import OPEN_S, DeviceHasher, DeviceKernel, choose
from hwkit.hashers.kernel import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hwkit.plugins import Address
    from hwkit.protocols import Hasher

ANSWER = "hwkit.hashers.opencl_device:answer"
INSTALL = "pip install 'hwkit[opencl]'"
RUNTIME = "no OpenCL runtime is installed; for a processor: apt-get install pocl-opencl-icd"
WIDTHS = (1, 4, 8, 16)
# The build options that each word stands for.
ROTATIONS: dict[str, list[str]] = {"rotate": [], "shifts": ["-DSHIFTS"]}
ADDITIONS: dict[str, list[str]] = {"add": [], "multiply": ["-DMULTIPLY"]}
CPU_GROUP = 16  # 1 to 64 differ by less than 1 %
GPU_GROUPS = [64, 128, 256]
# Drivers and the widest variant that they do not crash with; docs/kernels.md.
NARROW = {("Portable Computing Language", "3.0-rc2"): 8}


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to build and launch kernels/sha256d.cl."""

    width: int  # nonces in a work item
    rotation: str
    additions: str
    group: int  # work items in a work group

    def __str__(self) -> str:
        """Say it in words: 'width 16, shifts, group 64'."""
        additions = "" if self.additions == "add" else f"{self.additions}, "
        return f"width {self.width}, {self.rotation}, {additions}group {self.group}"


@dataclass(frozen=True, slots=True)
class Device:
    """What a driver tells of a device."""

    place: int  # among all devices, as listed
    platform: str
    version: str
    device: str
    vendor: str
    driver: str
    is_cpu: bool
    compute_units: int
    largest_group: int
    vector_width: int
    pci: str | None  # where it is: "0000:65:00.0"
    available: bool
    has_compiler: bool

    @property
    def address(self) -> str:
        """Its address: 'opencl:0'."""
        return f"opencl:{self.place}"

    @property
    def identity(self) -> Mapping[str, str]:
        """What a tuning is of: see hwkit.hashers.device."""
        text = (files("hwkit.kernels") / "sha256d.cl").read_bytes()
        return {
            "kernel": f"sha256d.cl {hashlib.sha256(text).hexdigest()}",
            "units": str(self.compute_units),
            **self._told(),
        }

    @property
    def usual(self) -> Sequence[Variant]:
        """The variant that suits most devices of its kind, and narrower ones."""
        if not self.is_cpu:
            return [Variant(1, "rotate", "add", min(256, self.largest_group))]
        group = min(CPU_GROUP, self.largest_group)
        return [Variant(width, "shifts", "add", group) for width in self._widths(4)] + [
            Variant(1, "shifts", "add", group)
        ]

    @property
    def left_out(self) -> Mapping[str, str]:
        """Widths that this driver is known to crash with."""
        return {
            f"width {width}": f"{self.platform} {self.driver} crashes with it"
            for width in WIDTHS
            if width > self._widest
        }

    def worth_trying(self) -> Sequence[Variant]:
        """Return what may be the fastest here, by what was measured on devices of its kind."""
        if self.is_cpu:
            widths, additions, groups = [*self._widths(8)[:2], 1], ["add"], [CPU_GROUP]
        else:
            widths, groups = [1], GPU_GROUPS
            additions = ["add", "multiply"] if "nvidia" in self.vendor.lower() else ["add"]
        return [
            Variant(width, rotation, adding, group)
            for width, rotation, adding, group in product(widths, ROTATIONS, additions, groups)
            if group <= self.largest_group
        ]

    def variant(self, **told: Any) -> Variant:  # noqa: ANN401
        """Return the variant with these fields."""
        return Variant(**told)

    def variant_of(self, address: Address) -> Variant:
        """Return the variant that an address' options ask for. Raises PlanError."""
        usual = self.usual[0]
        width = address.integer("width") or usual.width
        rotation = address.options.get("rotation", usual.rotation)
        additions = address.options.get("additions", usual.additions)
        group = address.integer("group") or usual.group
        for key, word, words in (
            ("width", width, WIDTHS),
            ("rotation", rotation, ROTATIONS),
            ("additions", additions, ADDITIONS),
        ):
            if word not in words:
                raise PlanError(f"address {address}: {key} is one of {', '.join(map(str, words))}")
        if group > self.largest_group:
            raise PlanError(f"address {address}: a group has at most {self.largest_group} items")
        return Variant(width, rotation, additions, group)

    def hasher(self, variant: Variant, **details: Any) -> DeviceHasher:  # noqa: ANN401
        """Return a hasher of one variant."""
        options = [*ROTATIONS[variant.rotation], *ADDITIONS[variant.additions]]
        lanes = variant.width * variant.group
        arguments: list[int | str] = [self.place, variant.width, variant.group, *options]
        kernel = DeviceKernel(self.address, variant, lanes, ANSWER, arguments)
        # A device that is the processor takes turns with its kernels, a card with itself as CUDA's.
        # One whose place nobody tells may be listed twice, by two drivers: all such take turns.
        resource, threads = f"gpu:{self.pci}" if self.pci else "opencl", 1
        if self.is_cpu:
            resource, threads = "cpu", min(self.compute_units, usable_cpus())
        told = {**self._told(), "compute_units": self.compute_units}
        told |= {"pci": self.pci} if self.pci else {}
        return DeviceHasher.lift(kernel, resource, threads, **told, **asdict(variant), **details)

    def _told(self) -> dict[str, str]:
        return {key: getattr(self, key) for key in ("device", "platform", "version", "driver")}

    def _widths(self, least: int) -> list[int]:
        """Return the widths up to the device's own, or the least, the widest first."""
        most = min(max(self.vector_width, least), self._widest)
        return [width for width in reversed(WIDTHS) if 1 < width <= most]

    @property
    def _widest(self) -> int:
        return NARROW.get((self.platform, self.driver), max(WIDTHS))


def find(address: Address | None) -> Iterator[Hasher | Unavailable]:
    """Yield the OpenCL devices, or the one addressed; see hwkit.plugins."""
    if address is not None:
        address.allow("width", "rotation", "additions", "group")
    if find_spec("pyopencl") is None:
        yield NoDriver(str(address or "opencl"), INSTALL)
        return
    yield from choose(address, list(_listed()))


def _listed() -> Iterator[Device | Unavailable]:
    """Yield every device of every platform, or why it is none for us."""
    child = Child("opencl", ANSWER)
    try:
        platforms = child.ask("list", silence_s=OPEN_S)
    except DeviceFault as fault:
        yield NoDevice("opencl", str(fault).removeprefix("opencl: "))
        return
    finally:
        child.end()
    if not platforms:
        yield NoDevice("opencl", RUNTIME)
    place = 0
    for number, platform in enumerate(platforms):
        name = platform["platform"]
        if not platform["devices"]:
            yield NoDevice("opencl", f"{name} ({platform['version']}) has no device")
        for told in platform["devices"]:
            device = Device(place=place, platform=name, version=platform["version"], **told)
            place += 1
            if platform in platforms[:number]:
                yield NoDevice(device.address, f"{name} is listed twice")
            elif not device.available:
                yield NoDevice(device.address, f"{device.device}: its driver cannot use it")
            elif not device.has_compiler:
                yield NoDevice(device.address, f"{device.device}: its driver has no compiler")
            else:
                yield device
