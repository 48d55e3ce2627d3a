"""FedMiner: a miner that works for a pool of ours; its shares are hashed again, and count.

Addresses: asic:HOST[:PORT], PORT being that of its API. Options: manual=1 (its pool is set by
hand), wait=SECONDS until it comes, listen=PORT of our pool, web=PORT of its pages.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from contextlib import ExitStack
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceTimeout, PlanError, Unavailable
from hwkit.hashers.asic import ways
from hwkit.hashers.asic.asking import Ports
from hwkit.hashers.asic.claims import Claims
from hwkit.hashers.asic.feeding import Links, Ours, Source, Steers
from hwkit.hashers.asic.pools import Bench, Way, until
from hwkit.hashers.asic.restore import Pending, pending, place_of
from hwkit.protocols import Basis, HasherSpec, Link, Progress, Submission, Verdict
from hwkit.units import plain
from hwkit.wire.stratum import Pool, addresses_of, local_address_to
from hwkit.wire.tcp import endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hwkit.hashers.asic.feeding import Event
    from hwkit.plugins import Address
    from hwkit.protocols import Hasher
    from hwkit.work import Job

API, WEB, STRATUM = 4028, 80, 3333  # the usual ports
WAIT_S = 180.0  # a stock miner restarts for 2 to 3 minutes
REPORT_S = 0.1
LOOK_S = 0.5


def find(address: Address | None) -> Iterator[Hasher | Unavailable]:
    """Yield the miner addressed; without an address nothing, since no network is searched."""
    if address is not None:
        yield FedMiner(address)


class FedMiner:
    """A miner pointed at a pool of ours from its first run on, until restore()."""

    def __init__(self, address: Address) -> None:
        """Costs no I/O. Raises PlanError for an address that makes no sense."""
        address.allow("manual", "wait", "listen", "web")
        self.host, self.port = endpoint(address, API)
        if address.options.get("manual", "1") != "1":
            raise PlanError(f"address {address}: manual=1, or nothing")
        self._manual = "manual" in address.options
        self._wait_s = float(address.integer("wait") or WAIT_S)
        self._listen = address.integer("listen") or (STRATUM if self._manual else 0)
        self._web = address.integer("web") or WEB
        self._spec = HasherSpec(str(address), Basis.SHARES, f"asic:{self.host}:{self.port}")
        self._source = Source()
        self._reset()

    def _reset(self) -> None:
        self._claims = Claims(self.host, Ports(api=self.port, http=self._web))
        self._pool: Pool | None = None
        self._way: Way | None = None
        self._kept: Pending | None = None
        self._holding = ExitStack()  # the lock on what is kept
        self._over = threading.Event()
        self._taking: threading.Thread | None = None
        self._fault: BaseException | None = None
        self._told: deque[Link] = deque()
        self._links = Links()
        self._steers = Steers(None)
        self._user = f"hwkit.{secrets.token_hex(3)}"

    @property
    def spec(self) -> HasherSpec:
        """What it is."""
        return self._spec

    def look(self) -> Sequence[str]:
        """Say what will be done to it; give back what a process that died has left changed."""
        place = place_of(self.host, self.port)
        if self._manual:
            bench = Bench(local_address_to(self.host), self._listen, self._user)
            return [
                f"{place}: set its pool to {bench.url}, any user, any password",
                f"{place}: it has {self._wait_s:g} s to come; set it back yourself afterwards",
            ]
        said = [f"{place}: its own pools, left changed, were put back first" for _ in self._left()]
        self._way = ways.choose(self.host, self.port, self._web)
        urls = ", ".join(plain(pool["url"]) for pool in self._way.read()["pools"])
        said.append(f"{place}: its own pools will be put back at the end: {urls}")
        return said + ([f"{place}: {self._way.cost}"] if self._way.cost else [])

    def run(self, job: Job, stop: threading.Event) -> Iterator[Progress]:
        """Report its shares, what it was sent and what it told; see Hasher.run.

        From the first run on it is pointed at the pool, and again when it has left it. Raises
        DeviceTimeout when it does not come, DeviceFault and Unavailable when it cannot be told to.
        """
        ours = Ours(job)
        self._serve(job)
        self._claims.begin()
        while True:
            ended = stop.is_set()
            yield self._report(ours)
            if ended:
                return
            if self._fault is not None:
                raise self._fault
            stop.wait(REPORT_S)

    def renew(self) -> None:
        """Call off its jobs: what it has found of them and kept to itself is stale from now on."""
        if self._pool is not None:
            self._pool.new_block()

    @property
    def changed(self) -> bool:
        """Are its own pools kept, to be put back?"""
        return self._kept is not None

    def restore(self) -> None:
        """Give it its own pools back, and close ours; see Restorable."""
        self._over.set()
        self._claims.close()
        if self._taking is not None:
            self._taking.join()
        try:
            if self._kept is not None:
                ways.put_back(self._kept)
        finally:
            if self._pool is not None:
                self._pool.close()
            if self._way is not None:
                self._way.close()
            self._holding.close()
            self._reset()

    def _report(self, ours: Ours) -> Progress:
        events: list[Event] = [self._told.popleft() for _ in range(len(self._told))]
        if self._pool is not None:
            taken = self._pool.take()
            self._links.hear(taken)
            difficulty = self._steers.hear(taken, self._claims.last_h_s)
            if difficulty is not None:
                self._pool.set_difficulty(difficulty)
            events += [event for event in taken if ours.has(event)]
            events += self._pool.lateness.take()
        events += self._claims.take()
        events.sort(key=attrgetter("at"))
        good = (each for each in events if isinstance(each, Submission))
        shares = tuple(each.share for each in good if each.verdict is Verdict.GOOD and each.share)
        return Progress(time.monotonic_ns(), shares=shares, events=tuple(events))

    def _serve(self, job: Job) -> None:
        """Let the pool's next jobs be of this one."""
        before, self._source.job = self._source.job, job
        if self._taking is None:
            self._taking = threading.Thread(target=self._take, name=self._spec.name, daemon=True)
            self._taking.start()
        elif self._pool is not None and before is not None:
            if before.extranonce1 == job.extranonce1:
                self._pool.new_block()
            else:  # which a miner is told when it connects
                self._pool.close()
                self._pool = self._opened(self._pool.address[1])

    def _opened(self, port: int) -> Pool:
        """Return a pool that listens where this miner can reach it, and to nobody else."""
        # By its own word to begin with, and from then on by its shares alone.
        self._steers = Steers(self._claims.rate_h_s())
        return Pool(
            self._source,
            self._steers.difficulty,
            listen=(local_address_to(self.host), port),
            admit=addresses_of(self.host),
        ).start()

    # On a thread of its own: a miner may take minutes for each of these.

    def _take(self) -> None:
        """Point it at the pool, see that it comes, and point it there again when it has left."""
        try:
            self._pool = self._opened(self._listen)
            bench = Bench(*self._pool.address, self._user)
            own: dict[str, Any] = {}
            if not self._manual:
                if self._way is None:
                    self.look()
                own = self._keep(bench)
            while not self._over.is_set():
                self._point(own, bench)
                self._await_it(bench)
                while self._links.there_of_late and not self._over.wait(LOOK_S):
                    pass
        except BaseException as error:  # noqa: BLE001 - raised again where its reports are heard
            self._fault = error

    def _keep(self, bench: Bench) -> dict[str, Any]:
        """Write its own pools to disk: from here on it may be changed."""
        assert self._way is not None  # noqa: S101 - look() has chosen it
        own = self._way.read()
        kept = Pending(self.host, self.port, self._web, self._way.name, bench, own)
        self._holding.enter_context(kept.kept())
        self._kept = kept
        return own

    def _point(self, own: dict[str, Any], bench: Bench) -> None:
        way = self._way
        if way is not None:
            step = partial(way.toward_bench, own, bench)
            patience_s = min(way.patience_s, 2 * self._wait_s)
            if until(step, patience_s, self._over.wait, self._over.is_set):
                self._tell("pointed", bench.url)

    def _await_it(self, bench: Bench) -> None:
        """Wait until it has got a job. Raises DeviceTimeout with what may be the reason."""
        deadline = time.monotonic() + self._wait_s
        while not (self._links.working or self._over.wait(REPORT_S)):
            if time.monotonic() > deadline:
                why = self._links.why_not() or f"nothing came to {bench.place}: a firewall?"
                said = f"{self._spec.name}: it has not come to work in {self._wait_s:g} s: {why}"
                raise DeviceTimeout(said)

    def _tell(self, what: str, words: str) -> None:
        self._told.append(Link(time.monotonic_ns(), None, what, words))

    def _left(self) -> Iterator[None]:
        """Put back what a process that died has left changed."""
        for each in pending():
            if each.port == self.port and _is_one_host(each.host, self.host):
                with each.claimed():
                    ways.put_back(each)
                yield


def _is_one_host(one: str, other: str) -> bool:
    """Are these names of one miner? One that is not known now is only itself."""
    if one == other:
        return True
    try:
        return not addresses_of(one).isdisjoint(addresses_of(other))
    except Unavailable:
        return False
