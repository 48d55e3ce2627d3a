"""Miners that no dialect of ours knows, as pyasic-rs reads them: asked only where a user says so.

It is somebody else's code, and reads what anybody answers, so it works in a process of its own
(vendors_child.py): that it crashes, hangs, fills or prints there is one message here.
"""

from __future__ import annotations

import json
import socket
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, NoDevice, NoDriver, PlanError, ProtocolError, Unavailable
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.hashers.asic.vendors_reading import NAME, reading
from hwkit.hashers.child import Child
from hwkit.wire import cgminer
from hwkit.wire.cgminer import Reply
from hwkit.wire.credentials import credentials
from hwkit.wire.tcp import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.hashers.asic.telemetry import Telemetry

INSTALL = "pip install 'hwkit[vendors]'"
# This and no other: of another nobody has looked whom it logs in to, and as whom.
LOOKED_AT = "0.8.6"
DEADLINE_S = 30.0  # of a reading: 10 to find out what it is, then some answers of 5 at most each
LARGEST = 1 << 20  # bytes of a reading; one of three boards has 3,000
CHILD = "hwkit.hashers.asic.vendors_child:answer"


class AnyMiner:
    """A miner at an address: as Miner reads it where a dialect of ours knows it, else pyasic-rs."""

    def __init__(
        self, host: str, ports: Ports | None = None, *, deadline_s: float = cgminer.DEADLINE_S
    ) -> None:
        """Costs no I/O; the deadline is of our own questions.

        Raises NoDriver where the library is missing, PlanError for a miner that listens elsewhere
        than it asks.
        """
        if (here := installed()) != LOOKED_AT:
            why = f"{here} is another than hwkit has looked at" if here else "it is not installed"
            raise NoDriver(NAME, f"{why}: {INSTALL}")
        if ports not in {None, Ports()}:
            usual = f"{Ports().api}, {Ports().http} and {Ports().whatsminer}"
            raise PlanError(f"{host}: {NAME} asks at the usual ports alone, {usual}")
        self.host = host
        self.answers: dict[str, Reply] = {}
        self._deadline_s = deadline_s
        self._child: Child | None = None
        self._known_by: Callable[[], Telemetry] | None = None

    def read(self) -> Telemetry:
        """Return what it says now. Who has known it once is asked from then on.

        Raises NoDevice where neither knows it, DeviceFault for what became of the library.
        """
        if self._known_by is None:
            try:
                return self._by(self._ours)
            except (Unavailable, DeviceFault) as error:
                ours = str(error.why if isinstance(error, Unavailable) else error)
            try:
                return self._by(self._theirs)
            except NoDevice as error:
                raise NoDevice(self.host, f"{ours}; {error.why}") from error
            except DeviceFault as error:
                raise DeviceFault(f"{error}; and our own dialects: {ours}") from error
        return self._known_by()

    def close(self) -> None:
        """End its process; who waits for an answer gets DeviceLost."""
        if self._child is not None:
            self._child.end()

    def _by(self, read: Callable[[], Telemetry]) -> Telemetry:
        told = read()
        self._known_by = read
        return told

    def _ours(self) -> Telemetry:
        miner = Miner(self.host, deadline_s=self._deadline_s)
        try:
            return miner.read()
        finally:
            self.answers = miner.answers
            miner.close()

    def _theirs(self) -> Telemetry:
        # It knows no names, and puts an IPv6 address into a URL without its brackets.
        families = resolve(self.host, Ports().api, socket.SOCK_STREAM)
        place = next((place[0] for family, place in families if family == socket.AF_INET), None)
        if place is None:
            raise NoDevice(self.host, f"{NAME} speaks IPv4 alone")
        words = credentials(self.host)
        login = [words.get(name, "") for name in ("user", "password", "token")]
        asked = time.monotonic_ns()
        said = self._ask(place, login)
        took_ns = time.monotonic_ns() - asked
        if said is None:
            raise NoDevice(self.host, f"{NAME} does not know it either")
        raw = json.dumps(said).encode()
        if not isinstance(said, dict) or len(raw) > LARGEST:
            why = f"{NAME} at {self.host}: answered with {len(raw)} bytes that are no reading"
            raise ProtocolError(why, raw[:80])
        at = asked + took_ns // 2
        self.answers = {NAME: Reply(raw, said, (), at, took_ns)}
        return reading(said, at)

    def _ask(self, *request: Any) -> Any:  # noqa: ANN401 - JSON
        child = self._child = self._child or Child(f"{NAME} at {self.host}", CHILD)
        try:
            return child.ask(*request, silence_s=DEADLINE_S)
        except DeviceFault:
            child.end()
            self._child = None  # the next reading has another
            raise


def installed() -> str | None:
    """Return which pyasic-rs is here, without importing it; None where there is none."""
    try:
        return version(NAME)
    except PackageNotFoundError:
        return None
