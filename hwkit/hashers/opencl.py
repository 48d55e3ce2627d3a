"""OpenCL devices: each works in a child process of its own, and its answers are checked here."""

from __future__ import annotations

import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import (
    DeviceFault,
    DeviceTimeout,
    HwkitError,
    NoDevice,
    NoDriver,
    PlanError,
    ProtocolError,
    Unavailable,
    WrongHash,
)
from hwkit.hashers.child import SILENCE_S, Child
from hwkit.hashers.hoist import uniforms
from hwkit.hashers.kernel import KernelHasher, TimedHits, usable_cpus
from hwkit.hashers.native import check_question
from hwkit.protocols import Hit
from hwkit.prove.questions import CHECKS, answer
from hwkit.sha256d import sha256d

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event

    from hwkit.plugins import Address
    from hwkit.protocols import Hasher, Progress
    from hwkit.work import Job, Target

ANSWER = "hwkit.hashers.opencl_device:answer"
INSTALL = "pip install 'hwkit[opencl]'"
RUNTIME = "no OpenCL runtime is installed; for a processor: apt-get install pocl-opencl-icd"
OPEN_S = 120.0  # a driver may take its time to start and to compile
LEAVE_S = 1.5  # after `stop`
WATCH_S = 0.05
AT_ONCE = 2  # questions: the next one is there when a device has answered
CANDIDATES = 1 << 16  # of a question to the child
WIDTHS = (1, 4, 8, 16)
ROTATIONS = ("rotate", "shifts")


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to build and launch kernels/sha256d.cl."""

    width: int  # nonces in a work item
    rotation: str
    group: int  # work items in a work group

    def __str__(self) -> str:
        """Say it in words: 'width 16, shifts, group 64'."""
        return f"width {self.width}, {self.rotation}, group {self.group}"


@dataclass(frozen=True, slots=True)
class Device:
    """What a driver tells of a device."""

    place: int  # among all devices, as listed
    platform: str
    version: str
    device: str
    driver: str
    is_cpu: bool
    compute_units: int
    largest_group: int
    vector_width: int
    available: bool
    has_compiler: bool

    @property
    def address(self) -> str:
        """Its address: 'opencl:0'."""
        return f"opencl:{self.place}"

    @property
    def usual(self) -> Variant:
        """The variant that suits most devices of its kind."""
        if self.is_cpu:
            width = max(width for width in WIDTHS if width <= max(self.vector_width, 4))
            return Variant(width, "shifts", min(16, self.largest_group))
        return Variant(1, "rotate", min(256, self.largest_group))

    def hasher(self, variant: Variant) -> DeviceHasher:
        """Return a hasher of one variant."""
        kernel = OpenCLKernel(self, variant)
        # A device that is the processor takes turns with its kernels.
        resource, threads = self.address, AT_ONCE
        if self.is_cpu:
            resource, threads = "cpu", min(self.compute_units, usable_cpus())
        told = {key: getattr(self, key) for key in ("device", "platform", "version", "driver")}
        return DeviceHasher.lift(
            kernel, resource, threads, compute_units=self.compute_units, **told, **asdict(variant)
        )


class OpenCLKernel:
    """A device and a variant; its process starts with the first question."""

    capacity = 1024

    def __init__(self, device: Device, variant: Variant) -> None:
        """Take what to build; nothing is built yet."""
        self.name = device.address
        self.lanes = variant.width * variant.group
        self.child = Child(f"{self.name} {variant}", ANSWER)
        shifts = variant.rotation == "shifts"
        self._open = ("open", device.place, variant.width, shifts, variant.group)
        self._lock = threading.Lock()
        self._is_open = False

    def scan(
        self, header: bytes, target: Target, nonces: range, versions: Sequence[int] = ()
    ) -> Sequence[Hit]:
        """Return all hits; see Kernel.scan. Raises DeviceFault, and WrongHash for a false one."""
        check_question(header, nonces, versions)
        hits = TimedHits()
        top = target.value >> 224
        prefixes = {
            version: version.to_bytes(4, "little") + header[4:76]
            for version in versions or (int.from_bytes(header[:4], "little"),)
        }
        known = [uniforms(prefix) for prefix in prefixes.values()]
        most = max(1, (CANDIDATES << 32) // ((top + 1) * len(known)))
        for first in range(nonces.start, nonces.stop, most):
            piece = nonces[first - nonces.start :][:most]
            found = self._ask(known, top, piece)
            hits.busy_ns += found[1]
            values = {
                (nonce, version): self._value(prefix, nonce, top)
                for (version, prefix), some in zip(prefixes.items(), found[0], strict=True)
                for nonce in self._sound(some, piece)
            }
            hits += [
                Hit(nonce, version)
                for nonce in sorted({nonce for nonce, _ in values})
                for version in versions or prefixes
                if values.get((nonce, version), target.value + 1) <= target.value
            ]
        return hits

    def _ask(self, known: Sequence[Sequence[int]], top: int, nonces: range) -> Any:  # noqa: ANN401
        with self._lock:
            if not self._is_open:
                self.child.ask(*self._open, silence_s=OPEN_S)
                # The first launch compiles on some drivers.
                self.child.ask("scan", known, top, 0, 1, silence_s=OPEN_S)
                self._is_open = True
        answer = self.child.ask("scan", known, top, nonces.start, len(nonces), silence_s=SILENCE_S)
        match answer:
            case [list(found), int()] if list(map(type, found)) == [list] * len(known):
                return answer
        raise ProtocolError(f"{self.child.name}: an answer to no question of ours", b"")

    def _sound(self, candidates: list[int], nonces: range) -> list[int]:
        if any(type(nonce) is not int or nonce not in nonces for nonce in candidates):
            raise ProtocolError(f"{self.child.name}: a nonce that was not asked about", b"")
        if len(set(candidates)) < len(candidates):
            raise ProtocolError(f"{self.child.name}: a nonce reported twice", b"")
        return candidates

    def _value(self, prefix: bytes, nonce: int, top: int) -> int:
        header = prefix + struct.pack("<I", nonce)
        value = int.from_bytes(sha256d(header), "little")
        if value >> 224 > top:
            came, expected = f"at most {top:#x}", f"{value >> 224:#x}"
            raise WrongHash(f"{self.child.name}: top word", header, nonce, came, expected)
        return value


class DeviceHasher(KernelHasher):
    """A hasher whose threads only wait: the device is ended where it does not end by itself."""

    kernel: OpenCLKernel

    def with_threads(self, threads: int) -> Self:  # noqa: ARG002
        """Return this hasher: how many compute units work is the driver's affair."""
        return self

    def with_affinity(self, affinity: tuple[int, ...]) -> Self:  # noqa: ARG002
        """Return this hasher, as with_threads does."""
        return self

    def run(self, job: Job, stop: Event) -> Iterator[Progress]:
        """Report counted hashes; see KernelHasher.run. Ends 1.5 s after `stop` at the latest."""
        with _ended(self.kernel, stop):
            yield from KernelHasher.run(replace(self, threads=AT_ONCE), job, stop)


@contextmanager
def _ended(kernel: OpenCLKernel, stop: Event) -> Iterator[None]:
    """End the kernel's process LEAVE_S after `stop` unless it has answered by then."""
    left = threading.Event()

    def watch() -> None:
        while not (stop.is_set() or left.wait(WATCH_S)):
            pass
        stopped = time.monotonic()
        while not left.wait(WATCH_S):
            if min(time.monotonic() - stopped, kernel.child.silent_s) > LEAVE_S:
                fault = f"{kernel.child.name}: silent {LEAVE_S:g} s after it was to stop"
                kernel.child.end(DeviceTimeout(fault))
                return

    watcher = threading.Thread(target=watch, name=f"{kernel.name} watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        watcher.join()


def find(address: Address | None) -> Iterator[Hasher | Unavailable]:
    """Yield the OpenCL devices, or the one addressed; see hwkit.plugins."""
    if address is not None:
        address.allow("width", "rotation", "group")
    if find_spec("pyopencl") is None:
        yield NoDriver(str(address or "opencl"), INSTALL)
        return
    found = list(_listed())
    if address is None:
        for each in found:
            yield from _right(each) if isinstance(each, Device) else [each]
        return
    devices = [each for each in found if isinstance(each, Device)]
    device = _addressed(address, devices)
    if device is None:
        why = next((each.why for each in found if isinstance(each, Unavailable)), None)
        there = ", ".join(f"{each.address} ({each.device})" for each in devices)
        yield NoDevice(str(address), f"there are {there}" if there else why or "no device")
    elif address.options:
        yield device.hasher(_asked(address, device))
    else:
        yield list(_right(device))[-1]


def _right(device: Device) -> Iterator[Hasher | Unavailable]:
    """Yield the hasher of the widest variant that is right, after the fault of each wider one."""
    usual = device.usual
    for width in sorted({1, *WIDTHS[: WIDTHS.index(usual.width) + 1]}, reverse=True):
        hasher = device.hasher(replace(usual, width=width))
        fault = _fault(hasher.kernel)
        if fault is None:
            yield hasher
            return
        hasher.kernel.child.end()
        yield NoDevice(device.address, fault.removeprefix(f"{device.address} "))


def _fault(kernel: OpenCLKernel) -> str | None:
    """Return what a few questions show to be wrong, None where nothing; it is no proof."""
    some = CHECKS["mainnet headers"](kernel)[::100] + CHECKS["two hits in a step"](kernel)[:4]
    for question in some:
        try:
            hits = kernel.scan(question.header, question.target, question.nonces)
        except HwkitError as error:
            return str(error)
        if tuple(hits) != answer(question):
            return f"{kernel.child.name}: wrong answer about {question}"
    return None


def _addressed(address: Address, devices: Sequence[Device]) -> Device | None:
    place = address.place or "0"
    named = [each for each in devices if place.lower() in each.device.lower()]
    if place.isdecimal():
        named = [each for each in devices if str(each.place) == place]
    if len(named) > 1:
        several = ", ".join(each.address for each in named)
        raise PlanError(f"address {address}: several devices are so named: {several}")
    return named[0] if named else None


def _asked(address: Address, device: Device) -> Variant:
    usual = device.usual
    width = address.integer("width") or usual.width
    rotation = address.options.get("rotation", usual.rotation)
    group = address.integer("group") or usual.group
    if width not in WIDTHS:
        raise PlanError(f"address {address}: width is one of {', '.join(map(str, WIDTHS))}")
    if rotation not in ROTATIONS:
        raise PlanError(f"address {address}: rotation is one of {', '.join(ROTATIONS)}")
    if group > device.largest_group:
        raise PlanError(f"address {address}: a group has at most {device.largest_group} items")
    return Variant(width, rotation, group)


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
