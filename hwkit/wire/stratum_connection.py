"""One miner's connection to the bench pool: Stratum v1, of a peer that may be anybody."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from hwkit.protocols import Assigned, Link, Submission, Verdict
from hwkit.wire.stratum_jobs import NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.wire.stratum import Pool
    from hwkit.wire.stratum_jobs import Sent
    from hwkit.work import Target

TLS_HANDSHAKE = 0x16  # the first byte of a TLS client, as bfgminer is on stratum+tcp
LONGEST_NAME = 200  # characters of an agent's or user's name that are kept
LONGEST_ID = 64
OTHER, NO_JOB, DUPLICATE, LOW, UNAUTHORIZED = 20, 21, 22, 23, 24
CODES = {
    Verdict.WRONG: OTHER,
    Verdict.STALE: NO_JOB,
    Verdict.DUPLICATE: DUPLICATE,
    Verdict.LOW: LOW,
}
# They count any answer of `true` that is to no share of theirs as a share accepted (cgminer.c,
# "Accepted untracked stratum share"); and Whatsminer's asks before it has said who it is.
CGMINER_FAMILY = ("cgminer", "bfgminer", "sgminer", "bmminer", "btminer", "whatsminer", "antminer")
ANSWERS_GET_VERSION = ("cgminer", "bfgminer", "sgminer", "cpuminer")
# Seconds, of silence and between probes; their number; ms that what we sent may go unacknowledged.
KEPT_ALIVE = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 15,
    "TCP_KEEPCNT": 4,
    "TCP_USER_TIMEOUT": 120_000,
}
_decode = json.JSONDecoder().decode


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may cost. Honest miners stay far below each."""

    line: int = 8192  # bytes: a job's own notification has 800, a miner's longest message 400
    unread: int = 1 << 16  # bytes of ours that a peer may leave unread
    patience: int = 1000  # messages, beside good shares, at once; reads that complete none count
    patience_per_s: int = 100
    handshake_s: float = 15.0  # until authorized
    connections: int = 2048
    waiting_events: int = 1 << 17  # beyond them nothing is read from any peer until some are taken


class Connection(asyncio.BufferedProtocol):
    """Reads lines, answers them in order, and sends jobs once a miner is authorized."""

    _transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        """Belong to a pool, which gives a number when the connection is admitted."""
        self.number: int | None = None
        self.target = pool.target
        self._pool = pool
        self._rest = b""
        self._agent: str | None = None
        self._subscribed = self._authorized = self._ready = False
        self._mask: int | None = None  # None: it has not asked to roll versions
        self._live: dict[str, Sent] = {}
        self._told: Target | None = None
        self._why = "by the miner"
        self._patience = float(pool.limits.patience)
        self._patience_at = time.monotonic_ns()
        self._asked: tuple[int, int] | None = None  # the id of our question, and when it was
        self._deadline: asyncio.TimerHandle | None = None
        self._at = 0

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("?",)
        self.number = self._pool.admitted(self, str(peer[0]))
        if self.number is None:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=self._pool.limits.unread)
        _watch_for_death(transport.get_extra_info("socket"))
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(
            self._pool.limits.handshake_s, self.end, "not authorized in time"
        )

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        """Lend the pool's one buffer: its size is what a peer gets read at a turn."""
        return self._pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""
        self._at = time.monotonic_ns()
        data = bytes(self._pool.buffer[:nbytes])
        if self._rest:
            data = self._rest + data
        elif data[0] == TLS_HANDSHAKE:
            self.end("TLS: this pool speaks plain TCP")
            return
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > self._pool.limits.line:
            self.end("a line without end")
        elif not lines:
            self._bear()
        for line in lines:
            if self._transport.is_closing():
                return
            self._take(line)
        self._pool.relieve()

    def pause_writing(self) -> None:
        """End the connection of a peer that does not read what we send."""
        self.end("it does not read")

    def connection_lost(self, exc: Exception | None) -> None:
        """Say why it ended."""
        if self._deadline:
            self._deadline.cancel()
        if self.number is not None:
            self._pool.jobs.call_off(self._live)
            self._pool.left(self)
            self._tell("closed", f"{self._why}: {exc}" if exc else self._why)

    # What the pool calls.

    def end(self, why: str) -> None:
        """End it at once."""
        if not self._transport.is_closing():
            self._why = why
            self._transport.abort()

    def hang_up(self) -> None:
        """End it when all that was said has been sent."""
        self._why = "by the pool"
        self._transport.close()

    def pause(self) -> None:
        """Read no further for now."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def send_job(self, *, clean: bool) -> None:
        """Send a job at its target; the difficulty goes before, as it counts from the next job."""
        if not self._ready or self._transport.is_closing():
            return
        if self.target != self._told:
            self._told = self.target
            self._send(id=None, method="mining.set_difficulty", params=[_number(self.target)])
        sent = self._pool.jobs.issue(self._live, self.target, clean=clean)
        self._send(id=None, method="mining.notify", params=sent.notification(clean=clean))
        self._pool.put(
            Assigned(sent.serial, self.target, time.monotonic_ns(), clean, self.number or 0)
        )

    def probe(self) -> None:
        """Ask for its version, to see how long an answer takes, where it is known to give one."""
        if self._agent and self._agent.lower().startswith(ANSWERS_GET_VERSION):
            self._asked = self._pool.question(), time.monotonic_ns()
            self._send(id=self._asked[0], method="client.get_version", params=[])

    # Messages.

    def _take(self, line: bytes) -> None:
        try:
            message = _decode(line.decode())
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._bear()
            return
        method = message.get("method")
        if method == "mining.submit":
            self._submitted(message, line)
            return
        self._bear()
        number = message.get("id")
        if not isinstance(method, str):
            self._answered(number)
            return
        params = message.get("params")
        handle = self._methods.get(method)
        if handle is None:
            self._refuse(number, -3, f"unknown method {method[:LONGEST_NAME]}")
        else:
            handle(self, number, params if isinstance(params, list) else [])

    def _submitted(self, message: dict[str, Any], line: bytes) -> None:
        number = message.get("id")
        if self._ready:
            verdict, share, digest, why = self._pool.jobs.judge(
                self._live, message.get("params"), self._mask or 0
            )
        else:
            verdict, share, digest, why = Verdict.WRONG, None, None, "not authorized"
        now = time.monotonic_ns()
        raw = line if verdict is Verdict.WRONG else None
        self._pool.put(
            Submission(self._at, self.number or 0, share, verdict, now - self._at, digest, raw)
        )
        if verdict is Verdict.GOOD:
            if type(number) is int:
                self._transport.write(b'{"id":%d,"result":true,"error":null}\n' % number)
            else:
                self._answer(number, result=True)
            return
        self._bear()
        code = CODES[verdict] if self._ready else UNAUTHORIZED
        self._refuse(number, NO_JOB if why == NOT_FOUND else code, why)

    def _configure(self, number: object, params: list[Any]) -> None:
        """BIP 310: we roll versions, and set a difficulty of our own."""
        wanted = params[0] if params and isinstance(params[0], list) else []
        options = params[1] if len(params) > 1 and isinstance(params[1], dict) else {}
        granted: dict[str, Any] = {}
        for extension in wanted[:16]:
            if extension == "version-rolling":
                self._mask = self._pool.jobs.template.version_mask & _mask(options)
                granted |= {extension: True, f"{extension}.mask": f"{self._mask:08x}"}
            elif isinstance(extension, str):
                granted[extension[:LONGEST_NAME]] = False
        self._answer(number, granted)
        if self._ready:
            self._set_version_mask()

    def _subscribe(self, number: object, params: list[Any]) -> None:
        if params and isinstance(params[0], str) and self._agent is None:
            self._agent = params[0][:LONGEST_NAME]
            self._tell("agent", self._agent)
        session = f"{self.number:08x}"
        template = self._pool.jobs.template
        named = [[name, session] for name in ("mining.set_difficulty", "mining.notify")]
        self._answer(number, [named, template.extranonce1.hex(), template.extranonce2_size])
        if not self._subscribed:
            self._subscribed = True
            self._begin()

    def _authorize(self, number: object, params: list[Any]) -> None:
        """Accept whoever it is: this pool pays nobody."""
        self._answer(number, result=True)
        if not self._authorized:
            self._authorized = True
            user = params[0] if params and isinstance(params[0], str) else ""
            self._tell("authorized", user[:LONGEST_NAME])
            self._begin()

    def _begin(self) -> None:
        """Send the first job, once the miner has both subscribed and authorized."""
        if self._subscribed and self._authorized:
            self._ready = True
            if self._deadline:
                self._deadline.cancel()
            self._pool.settled(self)
            self._set_version_mask()
            self.send_job(clean=True)

    def _set_version_mask(self) -> None:
        """Not before it is authorized: firmware of the S21+ then dropped the connection."""
        if self._mask is not None:
            self._send(id=None, method="mining.set_version_mask", params=[f"{self._mask:08x}"])

    def _suggest(self, number: object, _: list[Any]) -> None:
        """Hear a wish for a difficulty: ours stands; see CGMINER_FAMILY."""
        if self._agent and not self._agent.lower().startswith(CGMINER_FAMILY):
            self._answer(number, result=True)

    def _extranonce(self, number: object, _: list[Any]) -> None:
        """Grant it: the extranonce never changes here."""
        self._answer(number, result=True)

    def _transactions(self, number: object, _: list[Any]) -> None:
        """Tell none: bfgminer asks with each clean job, and calls an empty list a mismatch."""
        self._refuse(number, OTHER, "this job has no transactions that could be told")

    def _ping(self, number: object, _: list[Any]) -> None:
        self._answer(number, "pong")

    def _pong(self, number: object, params: list[Any]) -> None:
        """Take it: nothing was asked."""

    def _version(self, number: object, _: list[Any]) -> None:
        self._answer(number, "hwkit")

    def _answered(self, number: object) -> None:
        """Time the answer to our question; an answer to none is nothing."""
        if self._asked is not None and number == self._asked[0]:
            took = self._at - self._asked[1]
            self._asked = None
            self._tell("answered", "client.get_version", took)

    _methods: ClassVar[dict[str, Callable[[Connection, object, list[Any]], None]]] = {
        "mining.configure": _configure,
        "mining.subscribe": _subscribe,
        "mining.authorize": _authorize,
        "mining.suggest_difficulty": _suggest,
        "mining.suggest_target": _suggest,
        "mining.extranonce.subscribe": _extranonce,
        "mining.get_transactions": _transactions,
        "mining.ping": _ping,
        "mining.pong": _pong,
        "client.get_version": _version,
    }

    # Sending.

    def _answer(self, number: object, result: object) -> None:
        self._send(id=_id(number), result=result, error=None)

    def _refuse(self, number: object, code: int, why: str) -> None:
        self._send(id=_id(number), result=None, error=[code, why, None])

    def _send(self, **message: object) -> None:
        self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _tell(self, what: str, words: str = "", took_ns: int | None = None) -> None:
        self._pool.put(Link(time.monotonic_ns(), self.number, what, words, took_ns))

    def _bear(self) -> None:
        """Lose a little patience, which comes back with time."""
        limits, now = self._pool.limits, time.monotonic_ns()
        regained = (now - self._patience_at) * limits.patience_per_s / 1e9
        self._patience = min(self._patience + regained, limits.patience) - 1
        self._patience_at = now
        if self._patience < 0:
            self.end("too much that is no good share")


def _id(number: object) -> int | str | None:
    """Return a request's id as far as it is one: a number, a text, or null."""
    if isinstance(number, str):
        return number[:LONGEST_ID]
    return number if isinstance(number, int) else None


def _mask(options: dict[str, Any]) -> int:
    """Return the version bits that a miner wants to roll: all, where it names none."""
    named = options.get("version-rolling.mask")
    try:
        return int(named, 16) & 0xFFFFFFFF if isinstance(named, str) else 0xFFFFFFFF
    except ValueError:
        return 0xFFFFFFFF


def _number(target: Target) -> int | float:
    """Return a difficulty for JSON: whole where it is, for firmware that reads no fraction."""
    exact = target.difficulty
    near = round(exact)
    return near if near and abs(exact - near) < 1e-9 * near else float(exact)


def _watch_for_death(stream: socket.socket) -> None:
    """Notice a peer that is gone without a word: within two minutes."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEPT_ALIVE.items():
        if hasattr(socket, option):
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
