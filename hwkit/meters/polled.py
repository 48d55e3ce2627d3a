"""A meter that is asked over a wire: what all of them owe, whoever is at the other end."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from hwkit.errors import DeviceFault, DeviceLost, DeviceTimeout, NoDevice, Unavailable
from hwkit.protocols import MeterSpec, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hwkit.meters.profiles import Quantity

LIMIT_S = 4.5  # of a reading, connecting again included: the seam says 5
QUANTITIES = frozenset(field.name for field in fields(Reading)) - {"at", "took_ns", "flags"}


class Wire(Protocol):
    """A connection that can be cut."""

    def shutdown(self) -> None:
        """Make whoever waits for an answer stop waiting; from any thread."""

    def close(self) -> None:
        """Let go."""


W = TypeVar("W", bound=Wire)


class PolledMeter(ABC, Generic[W]):
    """Connects when it must, asks, and lets go of a wire that failed: the next call connects."""

    def __init__(self, spec: MeterSpec) -> None:
        """Take the spec; nothing is connected yet."""
        self._spec = spec
        self._lock = threading.Lock()
        self._wire: W | None = None
        self._closed = 0

    @property
    def spec(self) -> MeterSpec:
        """What it is; from open() on with what the instrument told of it, as its range."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Connect, and return what the instrument says of itself.

        Raises Unavailable, and ProtocolError for an instrument that answers nonsense.
        """
        self.close()
        deadline = time.monotonic() + LIMIT_S
        with self._lock:
            try:
                self._wire = self._connect(deadline)
                return self._identify(self._wire, deadline)
            except (DeviceTimeout, DeviceLost) as error:
                self._drop()
                raise NoDevice(self._spec.name, f"{error}{self._advice()}") from error
            except BaseException:
                self._drop()
                raise

    def read(self) -> Reading:
        """Return one reading, within LIMIT_S. Raises DeviceFault; the next call connects again."""
        closed = self._closed
        deadline = time.monotonic() + LIMIT_S
        with self._lock:
            try:
                if self._wire is None:
                    self._wire = self._connect(deadline)
                if closed != self._closed:
                    raise DeviceLost(f"{self._spec.name}: closed while it was read")
                began = time.monotonic_ns()
                values = self._ask(self._wire, deadline)
                ended = time.monotonic_ns()
            except Unavailable as error:
                self._drop()
                raise DeviceLost(str(error)) from error
            except DeviceFault:
                self._drop()
                raise
        return reading(began, ended, values)

    def close(self) -> None:
        """Let go; may be called twice, and while another thread reads: that one is cut short."""
        self._closed += 1
        wire = self._wire
        if wire is not None:
            wire.shutdown()
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    @abstractmethod
    def _connect(self, deadline: float) -> W:
        """Return a wire. Raises Unavailable and DeviceFault."""

    @abstractmethod
    def _identify(self, wire: W, deadline: float) -> Mapping[str, str]:
        """Return what the instrument says of itself; raise NoDevice if it is another's."""

    @abstractmethod
    def _ask(self, wire: W, deadline: float) -> Iterable[tuple[Quantity, float | None]]:
        """Return each quantity with its raw value, None for one that was not measured."""

    def _advice(self) -> str:
        return ""


def reading(began: int, ended: int, values: Iterable[tuple[Quantity, float | None]]) -> Reading:
    """Make a reading of raw values: what is no finite number is absent, and a flag says so."""
    found: dict[str, float] = {}
    flags = []
    for quantity, raw in values:
        if raw is None or raw in quantity.absent or math.isnan(raw):
            flags.append(f"{quantity.name} absent")
        elif math.isinf(raw) or math.isinf(raw * quantity.factor):
            flags.append(f"{quantity.name} over range")
        else:
            found[quantity.name] = raw * quantity.factor
    return Reading((began + ended) // 2, flags=tuple(flags), took_ns=ended - began, **found)
