"""The bench pool: feeds miners jobs over Stratum v1 and hashes every share again.

Its jobs cannot be blocks and pay nobody. What happens comes out, in order, as events: Assigned,
Submission and Link. What miners are like is in docs/stratum-quirks.md.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import NoDevice, NotPermitted
from hwkit.protocols import Assigned, Link, Submission
from hwkit.wire.lateness import Lateness
from hwkit.wire.stratum_connection import Connection, Limits
from hwkit.wire.stratum_jobs import REMEMBERED, Jobs, JobSource
from hwkit.wire.tcp import resolve
from hwkit.work import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from fractions import Fraction

Event = Assigned | Submission | Link
READ = 8192  # bytes read from a peer at a turn: 75 shares, a millisecond
BACKLOG = 512
TICK_S = 1.0
CLOSE_S = 0.5  # for the last answers to leave
MOST_REASONS = 64  # different ones that refusals are counted by, in a tick


class Pool:
    """A Stratum pool on a thread of its own."""

    def __init__(
        self,
        source: JobSource,
        difficulty: float | Fraction,
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        admit: Collection[str] | None = None,
        limits: Limits | None = None,
        job_s: float = 30.0,
        block_s: float | None = None,
    ) -> None:
        """Take what to serve, where, and to which addresses (None: to anybody who gets there).

        Each connection gets a new job every `job_s`, and a clean one every `block_s` (None: only by
        new_block). Raises PlanError for a difficulty that leaves no target.
        """
        self.jobs = Jobs(source)
        self.limits = limits or Limits()
        self.target = Target.from_difficulty(difficulty)
        self.buffer = memoryview(bytearray(READ))
        self._listen = listen
        self._admit = None if admit is None else {_plain(address) for address in admit}
        self._job_s, self._block_s = job_s, block_s
        self._events: deque[Event] = deque()
        self._taking = threading.Lock()
        self._connections: dict[int, Connection] = {}
        self._waiting: dict[int, Connection] = {}  # not authorized yet, oldest first
        self._numbers, self._questions = count(1), count(1)
        self._refused: Counter[str] = Counter()
        self._paused = False
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop, self._empty = asyncio.Event(), asyncio.Event()
        self._thread: threading.Thread | None = None
        self.address = listen
        self.lateness = Lateness()

    def start(self) -> Self:
        """Listen, and serve from now on. Raises NoDevice, NotPermitted for an address not ours."""
        listening = _listening(self._listen)
        self.address = listening.getsockname()[:2]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, listening), name="stratum pool", daemon=True
        )
        self._thread.start()
        return self

    def close(self) -> None:
        """Hang up on all and end; may be called twice. What is left can still be taken."""
        if self._thread is not None:
            self._call(self._stop.set)
            self._thread.join()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def take(self) -> list[Event]:
        """Return, in order, what has happened since the last call."""
        with self._taking:
            taken = [self._events.popleft() for _ in range(len(self._events))]
        if self._paused:
            self._call(self._resume)
        if self._failure is not None and not taken:
            raise self._failure
        return taken

    def set_difficulty(self, difficulty: float | Fraction, connection: int | None = None) -> None:
        """Send one connection, or all and those to come, a job of another difficulty at once."""
        target = Target.from_difficulty(difficulty)
        self._call(lambda: self._set_target(target, connection))

    def new_block(self) -> None:
        """Send all a clean job: what they work on is called off."""
        self._call(lambda: self._send_jobs(clean=True))

    # What connections call, on the pool's thread.

    def admitted(self, connection: Connection, peer: str) -> int | None:
        """Return a newcomer's number; None: it is refused."""
        peer = _plain(peer)
        refused = None
        if self._admit is not None and peer not in self._admit:
            refused = f"{peer}: not the miner that this pool is for"
        elif self._paused:
            refused = "more events wait than may"
        elif len(self._connections) >= self.limits.connections and not self._waiting:
            refused = "all connections are taken"
        if refused:
            self._refuse(refused)
            return None
        if len(self._connections) >= self.limits.connections:
            oldest = next(iter(self._waiting.values()))
            oldest.end("made room for another, not authorized yet")
            self.left(oldest)
        number = next(self._numbers)
        self._connections[number] = self._waiting[number] = connection
        self.put(Link(time.monotonic_ns(), number, "connected", peer))
        return number

    def settled(self, connection: Connection) -> None:
        """Know that it has authorized."""
        self._waiting.pop(connection.number or 0, None)

    def left(self, connection: Connection) -> None:
        """Know that it has ended."""
        self._waiting.pop(connection.number or 0, None)
        self._connections.pop(connection.number or 0, None)
        if not self._connections:
            self._empty.set()

    def put(self, event: Event) -> None:
        """Hand out an event."""
        self._events.append(event)

    def question(self) -> int:
        """Return an id for a question of ours."""
        return next(self._questions)

    def relieve(self) -> None:
        """Stop reading while too many events wait; forget shares when there are too many."""
        if len(self._events) > self.limits.waiting_events and not self._paused:
            self._paused = True
            for each in self._connections.values():
                each.pause()
        if self.jobs.remembered > REMEMBERED:
            self._send_jobs(clean=True)

    # The thread.

    def _run(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        loop.set_exception_handler(self._failed)
        try:
            loop.run_until_complete(self._serve(loop, listening))
        except BaseException as error:  # noqa: BLE001 - take() raises it
            self._failure = error
        finally:
            loop.close()

    async def _serve(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        server = await loop.create_server(lambda: Connection(self), sock=listening, backlog=BACKLOG)
        self.lateness.begin(loop)
        job_at = block_at = time.monotonic()
        while not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), TICK_S)
            self._tell_refusals()
            now = time.monotonic()
            if self._block_s is not None and now - block_at >= self._block_s:
                block_at = job_at = now
                self._send_jobs(clean=True)
            elif now - job_at >= self._job_s:
                job_at = now
                self._send_jobs(clean=False)
        server.close()
        self._empty.clear()
        for each in list(self._connections.values()):
            each.hang_up()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), CLOSE_S if self._connections else 0)
        for each in list(self._connections.values()):
            each.end("by the pool")
        await asyncio.sleep(0)  # those ends are told
        self._tell_refusals()

    def _call(self, what: Callable[[], object]) -> None:
        """Let the pool's thread do it; before that has begun do it, after its end leave it."""
        if self._loop is None:
            what()
            return
        with suppress(RuntimeError):  # what a closed loop raises
            self._loop.call_soon_threadsafe(what)

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep a failure of ours for take(); what the system refuses, refuses a newcomer."""
        error = context.get("exception")
        if isinstance(error, OSError):
            self._refuse(f"the system: {error.strerror}")
        else:
            self._failure = error or RuntimeError(context["message"])

    def _send_jobs(self, *, clean: bool) -> None:
        for each in list(self._connections.values()):
            each.send_job(clean=clean)
            if not clean:
                each.probe()

    def _set_target(self, target: Target, number: int | None) -> None:
        if number is None:
            self.target = target
        for each in list(self._connections.values()):
            if number in {None, each.number}:
                each.target = target
                each.send_job(clean=False)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            for each in list(self._connections.values()):
                each.resume()

    def _refuse(self, why: str) -> None:
        """Count a refusal; they are told once a tick, however many come."""
        if why in self._refused or len(self._refused) < MOST_REASONS:
            self._refused[why] += 1
        else:
            self._refused["others"] += 1

    def _tell_refusals(self) -> None:
        for why, times in self._refused.items():
            words = why if times == 1 else f"{why}, {times} times"
            self.put(Link(time.monotonic_ns(), None, "refused", words))
        self._refused.clear()


def local_address_to(host: str) -> str:
    """Return the address of this machine from which it reaches a host. Raises NoDevice."""
    [(family, place), *_] = resolve(host, 9, socket.SOCK_DGRAM)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(place)  # of UDP: nothing is sent, only the route is chosen
        except OSError as error:
            raise NoDevice(host, f"no route to it: {error.strerror}") from error
        return str(probe.getsockname()[0])


def addresses_of(host: str) -> frozenset[str]:
    """Return the addresses that a host's name stands for: what to admit. Raises NoDevice."""
    return frozenset(place[0] for _, place in resolve(host, 0, socket.SOCK_STREAM))


def _plain(address: str) -> str:
    """Return an IP address in its one form, IPv4 as itself where IPv6 wraps it."""
    number = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(number, "ipv4_mapped", None) or number)


def _listening(where: tuple[str, int]) -> socket.socket:
    [(family, place), *_] = resolve(*where, socket.SOCK_STREAM)
    stream = socket.socket(family, socket.SOCK_STREAM)
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stream.bind(place)
        stream.listen(BACKLOG)
        stream.settimeout(0)  # asyncio's own way of waiting
    except OSError as error:
        stream.close()
        name = f"{where[0]}:{where[1]}"
        raise NotPermitted(name, f"cannot listen there: {error.strerror}") from error
    return stream
