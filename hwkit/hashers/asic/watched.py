"""WatchedMiner: a miner on somebody else's pool, and what it says that it hashes: no proof.

By its own count of hashes; of one that keeps none, by the rates that it names.

Addresses: asic-api:HOST[:PORT], PORT being that of its API; ?web=PORT of its pages; ?vendors=yes
asks pyasic-rs about one that no dialect of ours knows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hwkit.errors import DeviceLost, NoDevice, NoDriver, PlanError, ProtocolError
from hwkit.hashers.asic.asking import Ports
from hwkit.hashers.asic.claims import Claims
from hwkit.hashers.asic.vendors import AnyMiner
from hwkit.protocols import Basis, HasherSpec, Progress
from hwkit.wire.tcp import endpoint

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence

    from hwkit.errors import Unavailable
    from hwkit.plugins import Address
    from hwkit.protocols import Hasher, Probe
    from hwkit.work import Job

API, WEB = 4028, 80
REPORT_S = 0.2
LOST_S = 30.0  # without an answer
INTERVAL_S = 1.0


def find(address: Address | None) -> Iterator[Hasher | Unavailable]:
    """Yield the miner addressed; without an address nothing, since no network is searched."""
    if address is not None:
        try:
            yield WatchedMiner(address)
        except NoDriver as absent:
            yield absent


class WatchedMiner:
    """Reports the hashes by which a miner's own count has risen."""

    def __init__(self, address: Address) -> None:
        """Costs no I/O.

        Raises PlanError for an address that makes no sense, NoDriver without pyasic-rs.
        """
        address.allow("web", "vendors")
        self._host, port = endpoint(address, API)
        self._ports = Ports(api=port, http=address.integer("web") or WEB)
        self._vendors = address.options.get("vendors") == "yes"
        if "vendors" in address.options and not self._vendors:
            raise PlanError(f"address {address}: it is vendors=yes, or nothing")
        if self._vendors:
            AnyMiner(self._host, self._ports)  # that it can be asked
        self._spec = HasherSpec(str(address), Basis.CLAIMED, f"asic:{self._host}:{port}")

    @property
    def spec(self) -> HasherSpec:
        """What it is."""
        return self._spec

    def run(self, job: Job, stop: threading.Event) -> Iterator[Progress]:  # noqa: ARG002
        """Report what it claims, whatever it works on; see Hasher.run.

        Raises DeviceLost when it does not answer for 30 s, ProtocolError when it does not count.
        """
        claims = Claims(self._host, self._ports, INTERVAL_S, vendors=self._vendors)
        claims.begin()
        counted = _Counted()
        heard, answered = time.monotonic(), False
        try:
            while True:
                ended = stop.is_set()
                told = claims.take()
                if told:
                    heard, answered = time.monotonic(), True
                elif not answered and isinstance(claims.fault, NoDevice):
                    raise DeviceLost(str(claims.fault)) from claims.fault  # it was never there
                elif time.monotonic() - heard > LOST_S:
                    said = f"{self._spec.name}: no answer for {LOST_S:g} s: {claims.fault}"
                    raise DeviceLost(said) from claims.fault
                risen = counted.since(told, self._spec.name)
                yield Progress(time.monotonic_ns(), hashes=risen, events=tuple(told))
                if ended:
                    return
                stop.wait(REPORT_S)
        finally:
            claims.close()


class _Counted:
    """Its own count of hashes: what it has risen by since the last look."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._named: tuple[int, float] | None = None  # monotonic ns, H/s

    def since(self, told: Sequence[Probe], name: str) -> int:
        """Return the rise. Raises ProtocolError where it tells neither a count nor a rate."""
        totals = [each.value for each in told if each.name == "total_hashes"]
        if told and not totals and self._last is None:
            return self._by_rates(told, name)
        risen = 0.0
        for total in totals:
            if total is None:
                continue
            if self._last is not None:  # what it lost in a restart nobody knows
                risen += max(total - self._last, 0.0)
            self._last = total
        return round(risen)

    def _by_rates(self, told: Sequence[Probe], name: str) -> int:
        rates = [each for each in told if each.name == "claimed_hashrate_h_s" and each.value]
        if not rates and self._named is None:
            raise ProtocolError(f"{name}: it tells neither what it has hashed nor how fast", b"")
        risen = 0.0
        for each in rates:
            if self._named is not None:
                at, rate_h_s = self._named
                risen += (each.at - at) / 1e9 * (rate_h_s + (each.value or 0.0)) / 2
            self._named = each.at, each.value or 0.0
        return round(risen)
