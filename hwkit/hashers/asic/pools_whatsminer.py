"""Pools of a Whatsminer, by the encrypted commands of its API 2 or 3 (wire/whatsminer_writes.py).

They take all pools at once, with their passwords, which the miner tells nobody: its owner says them
in the credentials file, as `pool_password` or `pool_password_1` to `_3`, and they are kept nowhere
else. Only the first pool is exchanged: should the bench pool go away, it goes on to its second.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from hwkit.errors import DeviceFault, NotPermitted, ProtocolError, Unavailable
from hwkit.hashers.asic.pools import BY_HAND, ByHand, Elsewhere, rows_of
from hwkit.units import plain
from hwkit.wire import whatsminer
from hwkit.wire.cgminer import Truncated
from hwkit.wire.credentials import table_of
from hwkit.wire.http import Refused
from hwkit.wire.whatsminer_writes import Api2, Api3, Closed, NotDone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hwkit.hashers.asic.pools import Bench

MOST = 3  # pools that its commands take
TAKEN_UP_S = 60.0  # until it shows what it was told; else its btminer is restarted, once
SETTLED_S = 10.0  # it may take out its pools one by one, and be looked at meanwhile
UNREAD_S = 20.0  # after an answer that was lost, or cannot be read: it may be doing it
UNREAD = 3  # of those that cannot be read, in a row, are enough
ANY = "x"  # our pool's password
FAILOVER = "failover"
UPDATE = "update_pools"


class Pool(NamedTuple):
    """A pool, by what a Whatsminer tells of it."""

    url: str
    user: str


class WhatsminerWay(ABC):
    """The first pool, told with all others; a restart of its mining program where that is in vain.

    API 1's own daemon writes the configuration and then tells its running btminer, which shows it
    (so found by who took it apart; pyasic and asic-rs restart nothing either); some firmware takes
    it up at its next start alone (pyasic, issue 325).
    """

    name: ClassVar[str]
    patience_s: ClassVar[float] = 420.0
    cost: ClassVar[str] = (
        "it may restart its mining program, now and at the end, and then tune for minutes"
    )

    def __init__(self, host: str, words: Mapping[str, str]) -> None:
        """Say whose, and what the credentials file says of it; costs no I/O."""
        self._host = host
        self._passwords = [
            words.get(f"pool_password_{place}", words.get("pool_password"))
            for place in range(1, MOST + 1)
        ]
        self._told: list[Pool] = []
        self._told_at = -math.inf
        self._restarted = False
        self._strange_since: float | None = None
        self._unread, self._unread_at = 0, -math.inf

    def read(self) -> dict[str, Any]:
        """Return its pools; see pools.Way."""
        pools = self._pools()
        if not pools:
            why = f"it has no pool of its own to return to: give it one, or {BY_HAND}"
            raise NotPermitted(self._host, why)
        if len(pools) > MOST:
            why = f"it has {len(pools)} pools, and can be told {MOST}: the others would be lost"
            raise NotPermitted(self._host, why)
        self._with_passwords(pools, None)
        return {"pools": [pool._asdict() for pool in pools]}

    def toward_bench(self, own: Mapping[str, Any], bench: Bench) -> bool:
        """Name the bench pool first; see pools.Way."""
        now = self._shown()
        if bench.is_at(now[0].url):
            self._told, self._restarted = [], False
            return True
        try:
            self._tell([Pool(bench.url, bench.user), *_own(own)[1:]], bench)
        except NotDone as error:
            said = str(error).removeprefix(f"{self._host}: ")
            raise ByHand(self._host, f"{said}: {BY_HAND}") from error
        return False

    def toward_own(self, own: Mapping[str, Any], bench: Bench) -> bool:
        """Name its own first pool; see pools.Way.

        It is told even where it shows its own: what it was told before, by who died, may be in its
        configuration, and be taken up at its next start.
        """
        now, theirs = self._shown(), _own(own)
        if not bench.is_at(now[0].url) and now[0] != theirs[0]:
            self._strange_since = self._strange_since or time.monotonic()
            if time.monotonic() - self._strange_since < SETTLED_S:
                return False
            raise Elsewhere(self._host, now[0].url)
        self._strange_since = None
        rest = now[1:] if len(now) >= len(theirs) else theirs[1:]
        wanted = [theirs[0], *rest]
        if now == wanted == self._told:
            return True
        try:
            self._tell(wanted, bench)
        except (Closed, NotDone, Refused, ByHand):
            if now != wanted:
                raise
            return True  # it took nothing before, either
        return False

    def close(self) -> None:  # noqa: B027 - of pools.Way, which is a protocol
        """Do nothing: each request has a connection of its own."""

    def _shown(self) -> list[Pool]:
        now = self._pools()
        if not now:
            raise DeviceFault(f"{self._host}: it shows no pools: is it just starting?")
        return now

    def _tell(self, pools: list[Pool], bench: Bench) -> None:
        """Tell it, unless it was told of late; restart it once where it does not take that up."""
        now = time.monotonic()
        told = pools == self._told
        if (told and now - self._told_at < TAKEN_UP_S) or now - self._unread_at < UNREAD_S:
            return
        try:
            if told and not self._restarted:
                self._restart()
                self._restarted = True
            else:
                self._set(self._with_passwords(pools, bench))
        except (NotDone, Refused):
            raise
        except DeviceFault as error:
            self._unread_at = now
            if isinstance(error, ProtocolError) and not isinstance(error, Truncated):
                self._unread += 1
            if self._unread >= UNREAD:
                said = str(error).removeprefix(f"{self._host}: ")
                raise ByHand(self._host, f"{said}, {UNREAD} times: {BY_HAND}") from error
            raise
        self._told, self._told_at, self._unread = pools, time.monotonic(), 0

    def _with_passwords(
        self, pools: Sequence[Pool], bench: Bench | None
    ) -> list[tuple[str, str, str]]:
        """Return URL, user and password of each. Raises ByHand where one is not known."""
        whole = []
        for place, pool, known in zip(range(1, MOST + 1), pools, self._passwords, strict=False):
            password = ANY if bench is not None and bench.is_at(pool.url) else known
            if password is None:
                words = f"pool_password (or pool_password_{place}) under {table_of(self._host)}"
                why = f"it wants its own pools' passwords back, and tells none: put {words}"
                raise ByHand(self._host, f"{why}, or {BY_HAND}")
            whole.append((*pool, password))
        return whole

    @abstractmethod
    def _pools(self) -> list[Pool]:
        """Return its pools, by priority."""

    @abstractmethod
    def _set(self, pools: Sequence[tuple[str, str, str]]) -> None:
        """Tell it URL, user and password of each."""

    @abstractmethod
    def _restart(self) -> None:
        """Restart its mining program."""


class Whatsminer2Way(WhatsminerWay):
    """update_pools of API 2, with pools 1 to 3; those that it has not are empty."""

    name: ClassVar[str] = "whatsminer2"

    def __init__(self, host: str, port: int, words: Mapping[str, str]) -> None:
        """Say whose, and what the credentials file says: `password` is admin's; costs no I/O."""
        super().__init__(host, words)
        self._port = port
        self._api = Api2(host, port, words["password"])

    def _pools(self) -> list[Pool]:
        return [Pool(row.url, row.user) for row in rows_of(self._host, self._port)]

    def read(self) -> dict[str, Any]:
        """Return its pools; see pools.Way. What could not be told it again is refused."""
        own = super().read()
        self._api.refuse_longer(UPDATE, **self._members(self._with_passwords(_own(own), None)))
        return own

    def _members(self, pools: Sequence[tuple[str, str, str]]) -> dict[str, str]:
        filled = [*pools, *[("", "", "")] * (MOST - len(pools))]
        return {
            f"{name}{place}": value
            for place, pool in enumerate(filled, 1)
            for name, value in zip(("pool", "worker", "passwd"), pool, strict=True)
        }

    def _set(self, pools: Sequence[tuple[str, str, str]]) -> None:
        self._api.order(UPDATE, **self._members(pools))

    def _restart(self) -> None:
        self._api.order("restart_btminer")


class Whatsminer3Way(WhatsminerWay):
    """set.miner.pools of API 3: a list, encrypted."""

    name: ClassVar[str] = "whatsminer3"

    def __init__(self, host: str, port: int, user: str, words: Mapping[str, str]) -> None:
        """Say whose, and who we are there: `password` is that user's; costs no I/O."""
        super().__init__(host, words)
        self._port = port
        self._api = Api3(host, port, user, words["password"])

    @staticmethod
    def answers(host: str, port: int) -> bool:
        """Does API 3 answer there?"""
        try:
            said = whatsminer.ask(host, "get.device.info", port=port).document
        except (DeviceFault, Unavailable):
            return False
        message = said.get("msg")
        return isinstance(message, dict) and "salt" in message

    def read(self) -> dict[str, Any]:
        """Return its pools; see pools.Way. One that shares its work among them is refused."""
        _, info = self._api.salt()  # raises Closed before anything is changed
        match info:
            case {"miner": {"pool-strategy": str(strategy)}} if strategy.lower() != FAILOVER:
                said = plain(strategy)[:20]
                why = f"its pool strategy is {said}: it would serve its other pools as well"
                raise NotPermitted(self._host, why)
        return super().read()

    def _pools(self) -> list[Pool]:
        peer = f"{self._host}: get.miner.status"
        reply = whatsminer.ask(self._host, "get.miner.status", "pools", port=self._port)
        try:
            rows = [
                (int(row.get("pool-priority", place)), Pool(str(row["url"]), str(row["account"])))
                for place, row in enumerate(reply.document["msg"]["pools"])
            ]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ProtocolError(f"{peer}: its pools make no sense", reply.raw) from error
        return [pool for _, pool in sorted(rows, key=itemgetter(0)) if pool.url]

    def _set(self, pools: Sequence[tuple[str, str, str]]) -> None:
        told = [dict(zip(("pool", "worker", "passwd"), pool, strict=True)) for pool in pools]
        self._api.order("set.miner.pools", told, secret=True)

    def _restart(self) -> None:
        self._api.order("set.miner.service", "restart")


def _own(own: Mapping[str, Any]) -> list[Pool]:
    return [Pool(pool["url"], pool["user"]) for pool in own["pools"]]
