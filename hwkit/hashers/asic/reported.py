"""A miner's own word for its power, as a meter: `reported:HOST[:PORT]`. No instrument saw it.

PORT is that of its API; ?web=PORT of its pages, ?interval=SECONDS from look to look.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from hwkit.errors import DeviceLost, NoDevice, Unavailable
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.protocols import MeterSpec, Provenance, Reading, Scope
from hwkit.wire.tcp import endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.hashers.asic.telemetry import Telemetry
    from hwkit.plugins import Address
    from hwkit.protocols import Meter

API, WEB = 4028, 80
INTERVAL_S = 5  # its API takes one client at a time, and others ask, too
DEADLINE_S = 2.0  # of one question


def find(address: Address | None) -> Iterator[Meter]:
    """Yield the miner addressed; without an address nothing, since no network is searched."""
    if address is not None:
        yield Reported(address)


class Reported:
    """Asks a miner what it draws; who says so, and of what, it tells when it is opened."""

    def __init__(self, address: Address) -> None:
        """Costs no I/O. Raises PlanError for an address that makes no sense."""
        address.allow("web", "interval")
        self._host, port = endpoint(address, API)
        self._ports = Ports(api=port, http=address.integer("web") or WEB)
        self._spec = MeterSpec(
            str(address),
            Scope.WALL,
            Provenance.ESTIMATED,
            interval_s=float(address.integer("interval") or INTERVAL_S),
        )

    @property
    def spec(self) -> MeterSpec:
        """What it is; from open() on with scope and provenance as the miner's dialect has them."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Ask once. Raises NoDevice for a miner that tells no power, and as Miner.read does."""
        said = self._look()
        if said.power_w is None:
            raise NoDevice(self._spec.name, "it tells no power: put a meter at the wall")
        power = said.power_w
        self._spec = replace(
            self._spec,
            scope=power.scope or self._spec.scope,
            provenance=power.provenance or self._spec.provenance,
        )
        told = {name: getattr(said, name) for name in ("make", "model", "serial", "firmware")}
        known = {name: value.value for name, value in told.items() if value is not None}
        return known | {"dialect": said.dialect, "source": power.source}

    def read(self) -> Reading:
        """Return what it says. Raises DeviceFault, DeviceLost where it says nothing."""
        asked = time.monotonic_ns()
        try:
            said = self._look()
        except Unavailable as error:
            raise DeviceLost(str(error)) from error
        if said.power_w is None:
            raise DeviceLost(f"{self._spec.name}: it tells no power now")
        took_ns = time.monotonic_ns() - asked
        return Reading(asked + took_ns // 2, watts=said.power_w.value, took_ns=took_ns)

    def close(self) -> None:
        """Nothing is held: each look is connections of its own."""

    def _look(self) -> Telemetry:
        miner = Miner(self._host, self._ports, deadline_s=DEADLINE_S)
        try:
            return miner.read()
        finally:
            miner.close()
