"""A miner's own pools: read, exchanged for the bench pool with the fewest changes, and put back.

A miner may reboot, and this process may die, between any two requests. So a way of changing pools
is two steps that may be repeated for ever: each looks at what the miner has now, changes one thing
at most, and says whether there was nothing left to change.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from hwkit.errors import DeviceFault, NoDriver, NotPermitted, ProtocolError, Unavailable
from hwkit.units import plain
from hwkit.wire import cgminer
from hwkit.wire.http import Refused
from hwkit.wire.whatsminer_writes import Closed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOON_S = 0.2  # after a change, until the next look
AWAY_S = 1.0  # after a fault: it may be restarting
DEAD_S = 20.0  # after a restart a pool is dead for a while
BY_HAND = "set its pool by hand (bench --manual waits for that)"
SHARED = {"Balance", "Load Balance", "Rotate"}  # strategies that keep serving the other pools


class Unwilling(DeviceFault):
    """It answers that it will not."""


class ByHand(NotPermitted):
    """It cannot be changed from here."""


class OwnDead(DeviceFault):
    """Its own pools are back in their order, and none is alive: the bench pool stays the last."""


class Elsewhere(NotPermitted):
    """Somebody else has pointed it elsewhere meanwhile: its owner, or another hwkit.

    What it had stays kept: where that was another hwkit, it comes back to our bench pool.
    """

    def __init__(self, host: str, url: str) -> None:
        """Say which miner it is, and where it works."""
        super().__init__(
            host,
            f"somebody else has pointed it to {url} meanwhile, and it is left so: "
            f"if that is right, hwkit asic restore {host} --forget",
        )


# Faults that no repetition will cure.
FINAL = (cgminer.Denied, Closed, Refused, NoDriver, ByHand, OwnDead, Elsewhere)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the bench pool listens, and the name by which a miner is to come."""

    host: str
    port: int
    user: str

    @property
    def place(self) -> str:
        """HOST:PORT; IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """What a miner takes for a pool's address."""
        return f"stratum+tcp://{self.place}"

    def is_at(self, url: str) -> bool:
        """Is this the address of the bench pool, however a miner spells it?"""
        return url.rpartition("//")[2].split("/")[0].split("#")[0] == self.place


class Way(Protocol):
    """How the pools of one miner are changed."""

    name: ClassVar[str]  # by which it is kept on disk
    patience_s: ClassVar[float]  # how long a change may take until the miner answers again

    def read(self) -> dict[str, Any]:
        """Return its own pools as JSON: `pools` (url, user), and what else putting back needs.

        Raises DeviceFault and Unavailable; NotPermitted where it has what cannot be measured so.
        """
        ...

    @property
    def cost(self) -> str | None:
        """What else a change does to the miner, in words; None: nothing."""
        ...

    def toward_bench(self, own: Mapping[str, Any], bench: Bench) -> bool:
        """Take one step to the bench pool; True: it is there. Raises as read does."""
        ...

    def toward_own(self, own: Mapping[str, Any], bench: Bench) -> bool:
        """Take one step back to its own pools; True: it is there.

        Raises Elsewhere for a miner that can have one pool alone, which is neither.
        """
        ...

    def close(self) -> None:
        """Let go of its connection, if one is kept."""


def until(
    step: Callable[[], bool],
    patience_s: float,
    wait: Callable[[float], object] = time.sleep,
    stopped: Callable[[], bool] = lambda: False,
    what: str = "its pools are",
) -> bool:
    """Repeat a step until it says that it is done; False when stopped before.

    A miner that is away may be rebooting: its last fault is raised when it is not back in time.
    """
    deadline = time.monotonic() + patience_s
    changed = 0
    while not stopped():
        fault: Exception | None = None
        try:
            if step():
                return True
            changed += 1
        except FINAL:
            raise
        except (DeviceFault, Unavailable) as error:
            fault = error
        if time.monotonic() > deadline:
            if fault and not changed:
                raise fault
            why = str(fault) if fault else "it forgets what it is told"
            raise DeviceFault(f"{what} not as told after {patience_s:g} s: {why}") from fault
        wait(AWAY_S if fault else SOON_S)
    return False


@dataclass(frozen=True, slots=True)
class Row:
    """A pool, as the cgminer API tells it."""

    number: int
    priority: int
    url: str
    user: str
    enabled: bool
    alive: bool

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of what `pools` answers."""
        number, priority = int(row["POOL"]), int(row.get("Priority", row["POOL"]))
        status = row.get("Status")
        named = str(row["URL"]), str(row.get("User", ""))
        return cls(number, priority, *named, status != "Disabled", status == "Alive")


class CgminerWay:
    """addpool, switchpool, poolpriority and removepool of the cgminer API.

    The miner's own pools stay where they are, with the passwords that this API never tells: nothing
    is lost, and a miner that reboots comes back to them by itself.
    """

    name: ClassVar[str] = "cgminer"
    patience_s: ClassVar[float] = 240.0

    def __init__(self, host: str, port: int) -> None:
        """Say whose API; costs no I/O."""
        self._host = host
        self._port = port
        self._dead_since: float | None = None
        self._restarted = False

    def read(self) -> dict[str, Any]:
        """Return its own pools, by priority; see Way."""
        match cgminer.ask(self._host, "config", port=self._port).document:
            case {"CONFIG": [{"Strategy": str(strategy)}, *_]} if strategy in SHARED:
                why = f"its pool strategy is {strategy}: it would serve its other pools as well"
                raise NotPermitted(self._host, why)
        pools = [{"url": row.url, "user": row.user} for row in self._rows()]
        if not pools:
            why = f"it has no pool of its own to return to: give it one, or {BY_HAND}"
            raise NotPermitted(self._host, why)
        return {"pools": pools}

    @property
    def cost(self) -> None:
        """Nothing: its pools stay, and it works on."""

    def toward_bench(self, own: Mapping[str, Any], bench: Bench) -> bool:  # noqa: ARG002
        """Add the bench pool, then put it first; see Way."""
        ours = [row for row in self._rows() if bench.is_at(row.url)]
        try:
            if not ours:
                self._ask("addpool", f"{bench.url},{bench.user},x")
            elif ours[0].priority or not ours[0].enabled:
                self._ask("switchpool", str(ours[0].number))
            else:
                return True
        except Unwilling as error:
            raise ByHand(self._host, f"{error}: {BY_HAND}") from error
        return False

    def toward_own(self, own: Mapping[str, Any], bench: Bench) -> bool:
        """Put its own pools into their order, then remove the bench pool; see Way."""
        rows = self._rows()
        ours = [row for row in rows if bench.is_at(row.url)]
        theirs = [row for row in rows if row not in ours]
        order = _in_order(theirs, own["pools"])
        if theirs and rows != order + ours:
            # It switches to the first alive. Never switchpool: that would enable a disabled one.
            self._ask("poolpriority", ",".join(str(row.number) for row in order + ours))
        elif ours:
            self._remove(ours[0], theirs)
        else:
            return True
        return False

    def close(self) -> None:
        """Do nothing: each request has a connection of its own."""

    def _rows(self) -> list[Row]:
        return rows_of(self._host, self._port)

    def _remove(self, ours: Row, theirs: list[Row]) -> None:
        """Remove the bench pool, which a cgminer does not let go while no other is alive.

        Restarted, it begins with its first one, alive or dead; of what it could lose by that, with
        all of them dead, there is nothing.
        """
        try:
            self._ask("removepool", str(ours.number))
        except Unwilling as error:
            if any(row.alive for row in theirs):
                raise
            self._dead_since = self._dead_since or time.monotonic()
            if time.monotonic() - self._dead_since < DEAD_S:
                raise
            if not self._restarted:
                self._restarted, self._dead_since = True, None
                self._ask("restart")
                return
            why = f"{self._host}: its own pools are first again, and all dead: until one is alive"
            raise OwnDead(f"{why}, it does not let the bench pool go") from error

    def _ask(self, command: str, parameter: str | None = None) -> None:
        """Change something. Raises Unwilling where it says that it has not."""
        status = cgminer.ask(self._host, command, parameter, port=self._port).status
        if status is None or status.failed:
            said = plain((status and status.message) or "no reason given")
            raise Unwilling(f"{self._host}: {command}: {said}")


def rows_of(host: str, port: int) -> list[Row]:
    """Return the pools that the cgminer API tells, by priority. Raises as cgminer.ask does."""
    reply = cgminer.ask(host, "pools", port=port)
    try:
        rows = [Row.of(row) for row in reply.document.get("POOLS", [])]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ProtocolError(f"{host}: its pools make no sense", reply.raw) from error
    return sorted((row for row in rows if row.url), key=lambda row: row.priority)


def is_privileged(host: str, port: int) -> bool:
    """May we change what its cgminer API lets one change? Raises as cgminer.ask does."""
    try:
        status = cgminer.ask(host, "privileged", port=port).status
    except cgminer.Denied:
        return False
    return status is not None and status.kind == "S"


def _in_order(rows: list[Row], pools: list[dict[str, str]]) -> list[Row]:
    """Return rows in the order of these pools; those that came since follow as they are."""
    left, order = list(rows), []
    for pool in pools:
        for row in left:
            if (row.url, row.user) == (pool["url"], pool["user"]):
                left.remove(row)
                order.append(row)
                break
    return order + left
