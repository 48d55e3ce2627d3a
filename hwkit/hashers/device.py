"""A kernel behind a driver: it works in a child process, and its answers are checked here."""

from __future__ import annotations

import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

from hwkit.errors import (
    DeviceTimeout,
    HwkitError,
    NoDevice,
    PlanError,
    ProtocolError,
    Unavailable,
    WrongHash,
)
from hwkit.hashers import tunings
from hwkit.hashers.child import SILENCE_S, Child
from hwkit.hashers.hoist import uniforms
from hwkit.hashers.kernel import FIRST_CHUNK, GROWTH, KernelHasher, TimedHits
from hwkit.hashers.native import check_question
from hwkit.protocols import Hit
from hwkit.prove.questions import CHECKS, answer
from hwkit.sha256d import sha256d

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event

    from _typeshed import DataclassInstance

    from hwkit.hashers.tunings import Tuning
    from hwkit.plugins import Address
    from hwkit.protocols import Hasher, Progress
    from hwkit.work import Job, Target

OPEN_S = 120.0  # a driver may take its time to start and to compile
LEAVE_S = 1.5  # after `stop`, without a word
LATEST_S = 15.0  # and with any
WATCH_S = 0.05
V = TypeVar("V", bound="DataclassInstance")  # a variant: it says itself in words
LONGEST_NS = 1 << 62
AT_ONCE = 2  # questions: the next one is there when a device has answered
CANDIDATES = 1 << 16  # of a question to the child


class Device(Protocol[V]):
    """A device as its driver describes it, and what it can be asked to run."""

    @property
    def address(self) -> str:
        """Its address: 'opencl:0'."""
        ...

    @property
    def device(self) -> str:
        """Its name."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """What a tuning is of: the device, its driver, the text of the kernel."""
        ...

    @property
    def usual(self) -> Sequence[V]:
        """The variant that suits most devices of its kind, and what is simpler, in that order."""
        ...

    @property
    def left_out(self) -> Mapping[str, str]:
        """Variants that are known not to work, in words, and why."""
        ...

    def worth_trying(self) -> Sequence[V]:
        """Return what may be the fastest here."""
        ...

    def variant(self, **told: Any) -> V:  # noqa: ANN401
        """Return the variant with these fields."""
        ...

    def variant_of(self, address: Address) -> V:
        """Return the variant that an address' options ask for. Raises PlanError."""
        ...

    def hasher(self, variant: V, **details: Any) -> DeviceHasher:  # noqa: ANN401
        """Return a hasher of one variant."""
        ...


class DeviceKernel:
    """One variant on one device; its process starts with the first question."""

    capacity = 1024

    def __init__(
        self,
        name: str,
        variant: DataclassInstance,
        lanes: int,
        function: str,
        arguments: Sequence[int | str],
    ) -> None:
        """Take what to build, and with which arguments; nothing is built yet.

        `function` is 'module:function' of the child: it answers 'open' with these arguments, and
        'scan' as hwkit.hashers.opencl_device.answer does.
        """
        self.name = name
        self.lanes = lanes
        self.child = Child(f"{name} {variant}", function)
        self._open = ("open", *arguments)
        self._lock = threading.Lock()
        self._is_open = False
        self.nonces_per_ns = 0.0  # of its last answer

    def scan(
        self, header: bytes, target: Target, nonces: range, versions: Sequence[int] = ()
    ) -> TimedHits:
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
        self.nonces_per_ns = len(nonces) / max(hits.busy_ns, 1)
        return hits

    def _ask(self, known: Sequence[Sequence[int]], top: int, nonces: range) -> Any:  # noqa: ANN401
        with self._lock:
            if not self._is_open:
                self.child.ask(*self._open, silence_s=OPEN_S)
                self._is_open = True
        answer = self.child.ask("scan", known, top, nonces.start, len(nonces), silence_s=SILENCE_S)
        match answer:
            case [list(found), int(busy_ns)] if (
                list(map(type, found)) == [list] * len(known) and 0 <= busy_ns < LONGEST_NS
            ):
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


@dataclass(frozen=True, slots=True)
class DeviceHasher(KernelHasher):
    """A hasher whose threads only wait: the device is ended where it does not end by itself."""

    kernel: DeviceKernel
    device: Device[Any] | None = None  # what may be tuned; None where a variant was asked for

    # Beside what lies between two questions, in which a device has nothing to do.
    chunk_ns: ClassVar[int] = 100_000_000

    @property
    def first_chunk(self) -> int:
        """Nonces of a first scan: by the device's last answer, so that its second is whole."""
        return max(FIRST_CHUNK, int(self.kernel.nonces_per_ns * self.chunk_ns / GROWTH))

    def with_threads(self, threads: int) -> Self:  # noqa: ARG002
        """Return this hasher: how many compute units work is the driver's affair."""
        return self

    def with_affinity(self, affinity: tuple[int, ...]) -> Self:  # noqa: ARG002
        """Return this hasher, as with_threads does."""
        return self

    def run(self, job: Job, stop: Event) -> Iterator[Progress]:
        """Report counted hashes; see KernelHasher.run. Ends 1.5 s after `stop` at the latest."""
        # The processor may be everybody's: to be late there is no fault of the driver's.
        leave_s = SILENCE_S if self.spec.resource == "cpu" else LEAVE_S
        with _ended(self.kernel, stop, leave_s):
            yield from KernelHasher.run(replace(self, threads=AT_ONCE), job, stop)


def choose(
    address: Address | None,
    found: Sequence[Device[V] | Unavailable],
) -> Iterator[Hasher | Unavailable]:
    """Yield hashers of what was found, or of the device addressed, in the variant asked for.

    Raises PlanError for an address of several devices, or for a variant that there is not.
    """
    if address is None:
        for each in found:
            yield from [each] if isinstance(each, Unavailable) else best_known(each)
        return
    devices = [each for each in found if not isinstance(each, Unavailable)]
    place = address.place or "0"
    named = [each for each in devices if place.lower() in each.device.lower()]
    if place.isdecimal():
        named = [each for each in devices if each.address == f"{address.scheme}:{place}"]
    if len(named) > 1:
        several = ", ".join(each.address for each in named)
        raise PlanError(f"address {address}: several devices are so named: {several}")
    if not named:
        why = next((each.why for each in found if isinstance(each, Unavailable)), None)
        there = ", ".join(f"{each.address} ({each.device})" for each in devices)
        none = f"no such device; there are {there}" if there else why or "no device"
        yield NoDevice(str(address), none)
    elif address.options:
        yield named[0].hasher(named[0].variant_of(address))
    else:
        yield list(best_known(named[0]))[-1]


def best_known(device: Device[V]) -> Iterator[Hasher | Unavailable]:
    """Yield the hasher of the best variant known that is right, after the fault of each other one.

    That is the one that measured best here before, else the usual one, else a simpler one.
    """
    for variants, why in device.left_out.items():
        yield NoDevice(device.address, f"{variants}: left out: {why}")
    tuning = tunings.read(device.identity)
    # Whatever that file says: one of those that a race is run between.
    known = [each for each in device.worth_trying() if tuning and asdict(each) == tuning.variant]
    for variant in known + list(device.usual):
        hasher = of_variant(device, variant, tuning)
        fault = fault_of(hasher.kernel)
        if fault is None:
            yield hasher
            return
        hasher.kernel.child.end()
        yield NoDevice(device.address, fault.removeprefix(f"{device.address} "))


def of_variant(device: Device[V], variant: V, tuning: Tuning | None) -> DeviceHasher:
    """Return the hasher of a variant, which says how it was chosen."""
    chosen = tuning is not None and tuning.variant == asdict(variant)
    details = {"tuned": tuning.to_json()} if tuning and chosen else {}
    return replace(device.hasher(variant, **details), device=device)


def fault_of(kernel: DeviceKernel) -> str | None:
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


@contextmanager
def _ended(kernel: DeviceKernel, stop: Event, leave_s: float) -> Iterator[None]:
    """End the kernel's process `leave_s` after `stop` unless it has answered by then."""
    left = threading.Event()

    def watch() -> None:
        while not (stop.is_set() or left.wait(WATCH_S)):
            pass
        stopped = time.monotonic()
        while not left.wait(WATCH_S):
            late_s = time.monotonic() - stopped
            if min(late_s, kernel.child.silent_s) > leave_s or late_s > LATEST_S:
                fault = f"{kernel.child.name}: at work {late_s:.3g} s after it was to stop"
                kernel.child.end(DeviceTimeout(fault))
                return

    watcher = threading.Thread(target=watch, name=f"{kernel.name} watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        watcher.join()
