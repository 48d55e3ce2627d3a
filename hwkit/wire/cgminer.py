"""The cgminer API, TCP port 4028: one request a connection, one answer, which a NUL ends.

Its server takes one client at a time, reads a request with a single recv of 4095 bytes, and waits
for ever for one that connects and says nothing (cgminer 4.11.1 and bfgminer 5.5.0, api.c; most
makers' firmware descends from it). So a request is one write right after connecting, and there is
at most one connection from here to a miner.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hwkit.errors import (
    DeviceFault,
    DeviceTimeout,
    HwkitError,
    NoDevice,
    NotPermitted,
    PlanError,
    ProtocolError,
    Unavailable,
)
from hwkit.units import plain
from hwkit.wire import cgminer_text, repair, tcp
from hwkit.wire.cgminer_text import brackets
from hwkit.wire.repair import CUT_OFF, Truncated
from hwkit.wire.turns import turn_at, turn_at_async

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "Denied",
    "Reply",
    "Status",
    "Truncated",
    "ask",
    "ask_async",
    "brackets",
    "parse",
    "poll",
    "send",
]

PORT = 4028
DEADLINE_S = 5.0
LONGEST = 4095  # bytes of a request
LARGEST = 1 << 20  # bytes of an answer: bfgminer's limit is 64 KiB, others have none
NO_NUL = "no NUL at the end"
NO_CLOSE = "neither NUL nor close"  # whole, but told so only by the deadline
_PIECE = 1 << 16
_STREAM = socket.SOCK_STREAM
_ACCESS_DENIED = 45


@dataclass(frozen=True, slots=True)
class Status:
    """What an answer says of itself."""

    kind: str  # S success, I informational, W warning, E error, F fatal: a bug in the miner
    code: int | None
    message: str | None

    @property
    def failed(self) -> bool:
        """Was it not done?"""
        return self.kind in {"E", "F"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the bytes, the document in them, and what had to be repaired to read it."""

    raw: bytes
    document: dict[str, Any]
    repairs: tuple[str, ...]  # by name; empty for what is as it should be
    at: int  # monotonic ns: the middle between question and answer
    took_ns: int | None  # None: it did not come over a wire

    @property
    def status(self) -> Status | None:
        """What it says of itself; None where it says nothing, as a joined answer does."""
        return status(self.document)


class Denied(NotPermitted):
    """The miner knows us, and this command is not in our group; `reply` says so."""

    def __init__(self, where: str, why: str, reply: Reply) -> None:
        """Keep the answer."""
        super().__init__(where, why)
        self.reply = reply


def ask(
    host: str,
    command: str,
    parameter: str | int | None = None,
    *,
    port: int = PORT,
    deadline_s: float = DEADLINE_S,
    text: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Reply:
    """Ask one thing; `extra` are further members of the request, `text` asks in the text form.

    An answer whose status is an error is an answer, but for code 45. Raises PlanError for a request
    of 4 KiB; NoDevice, NotPermitted (an access list), Denied, DeviceTimeout, Truncated and
    ProtocolError, each with what to do.
    """
    return _exchange(
        host, port, command, _request(command, parameter, extra, text=text), deadline_s
    )


def send(
    host: str,
    document: Mapping[str, Any],
    what: str,
    *,
    port: int = PORT,
    deadline_s: float = DEADLINE_S,
) -> Reply:
    """Send a request that is no command, as a Whatsminer's encrypted ones are; `what` is its name.

    Raises as ask does.
    """
    return _exchange(host, port, what, _written(what, document), deadline_s)


def _exchange(host: str, port: int, what: str, request: bytes, deadline_s: float) -> Reply:
    answer = _Answer(host, port, what)
    deadline = time.monotonic() + deadline_s
    places = tcp.resolve(host, port, _STREAM)
    try:
        with turn_at(places[0][1], deadline):
            answer.connecting()
            with tcp.connect(places, deadline) as stream:
                answer.asking()
                stream.sendall(request)
                while not answer.take(tcp.await_bytes(stream, _PIECE, deadline)):
                    pass
    except (TimeoutError, DeviceTimeout):
        return answer.late()
    except OSError as error:
        raise answer.broken() from error
    return answer.reply()


async def ask_async(
    host: str,
    command: str,
    parameter: str | int | None = None,
    *,
    port: int = PORT,
    deadline_s: float = DEADLINE_S,
    text: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> Reply:
    """Ask as `ask` does, in an event loop."""
    request = _request(command, parameter, extra, text=text)
    answer = _Answer(host, port, command)
    deadline = time.monotonic() + deadline_s
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline_s):
            places = await tcp.resolve_async(host, port, _STREAM)
            async with turn_at_async(places[0][1]):
                answer.connecting()
                with await tcp.connect_async(places, deadline) as stream:
                    answer.asking()
                    await loop.sock_sendall(stream, request)
                    while not answer.take(await loop.sock_recv(stream, _PIECE)):
                        pass
    except TimeoutError:
        return answer.late()
    except OSError as error:
        raise answer.broken() from error
    return answer.reply()


async def poll(
    miners: Iterable[tuple[str, int]],
    commands: Sequence[str],
    take: Callable[[tuple[str, int], dict[str, Reply | Unavailable | DeviceFault]], None],
    *,
    at_once: int = 64,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Ask each (host, port) these commands, and hand over what each answered as soon as it has.

    At most `at_once` connections are open. An error is a value; where a miner cannot be reached or
    does not answer, it stands for the commands that were left, too.
    """
    for command in commands:
        _request(command, None, None, text=False)  # a PlanError now, not one a worker
    left = iter(miners)

    async def work() -> None:
        for host, port in left:
            answers: dict[str, Reply | Unavailable | DeviceFault] = {}
            for command in commands:
                try:
                    said = await ask_async(host, command, port=port, deadline_s=deadline_s)
                    answers[command] = said
                except (NoDevice, DeviceTimeout) as error:
                    answers |= dict.fromkeys(commands[len(answers) :], error)
                    break
                except (Unavailable, DeviceFault) as error:
                    answers[command] = error
            take((host, port), answers)

    async with asyncio.TaskGroup() as workers:
        for _ in range(at_once):
            workers.create_task(work())


def parse(raw: bytes, peer: str = "answer") -> Reply:
    """Return the answer in these bytes, JSON or text; `at` is now.

    Raises Truncated and ProtocolError, with the bytes.
    """
    begin = raw[:64].lstrip()
    if not begin.strip(b"\0"):
        raise ProtocolError(f"{peer}: an empty answer", raw)
    if begin.startswith((b"HTTP/", b"<")):
        said = f"{peer}: a web server answers, no cgminer API: give another port, or ask it by http"
        raise ProtocolError(said, raw)
    if begin[0] in b'{[,"':
        document, repairs = repair.loads(raw, peer)
    else:
        document, repairs = cgminer_text.loads(raw, peer)
    if not isinstance(document, dict):
        said = f"{peer}: answered with a {type(document).__name__} where an object belongs"
        raise ProtocolError(said, raw)
    # bfgminer's limit is 64 KiB: it closes all brackets where a record ended, and says so by id.
    if document.get("id") == 0 and len(raw) > 1 << 15:
        repairs += (CUT_OFF,)
    return Reply(raw, document, repairs, time.monotonic_ns(), None)


def status(document: Mapping[str, Any]) -> Status | None:
    """Return what a document says of itself, as cgminer or as Whatsminer say it."""
    said = document.get("STATUS")
    if isinstance(said, list) and said:
        said = said[0]
    if isinstance(said, str):
        said = document  # Whatsminer: {"STATUS":"S","Code":131,"Msg":{...}}
    if not isinstance(said, dict) or not isinstance(kind := said.get("STATUS"), str):
        return None
    code, message = said.get("Code"), said.get("Msg")
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:9])
    known = isinstance(code, int) and not isinstance(code, bool)
    return Status(kind, code if known else None, message if isinstance(message, str) else None)


class _Answer:
    """One question's answer as it comes, whoever reads it; says what went wrong, and what to do."""

    def __init__(self, host: str, port: int, command: str) -> None:
        self._where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._peer = f"{self._where}: {plain(command)[:40]}"
        self._came = bytearray()
        self._late = "another question of ours takes its time: it answers one at a time"
        self._asked = 0

    def connecting(self) -> None:
        self._late = "nothing answers there"

    def asking(self) -> None:
        self._asked = time.monotonic_ns()
        self._late = "no answer in time: it serves one client at a time; does another wait there?"

    def take(self, piece: bytes) -> bool:
        """Add what came; b"" is the end. Is it whole?"""
        self._came += piece
        if len(self._came) > LARGEST:
            said = f"{self._peer}: more than {LARGEST} bytes, which is no miner's answer"
            raise ProtocolError(said, bytes(self._came[:_PIECE]))
        return not piece or b"\0" in piece

    def reply(self, note: str = NO_NUL) -> Reply:
        """Return the whole answer; `note` is its fault where there is no NUL."""
        raw = bytes(self._came)
        took_ns = time.monotonic_ns() - self._asked
        if not raw:
            why = "it hung up without a word: its access list (api-allow) lacks this machine"
            raise NotPermitted(self._where, why)
        reply = parse(raw, self._peer)
        repairs = reply.repairs if b"\0" in raw else (*reply.repairs, note)
        reply = replace(reply, repairs=repairs, at=self._asked + took_ns // 2, took_ns=took_ns)
        if (said := reply.status) and said.failed and said.code == _ACCESS_DENIED:
            why = f"{said.message or 'access denied'}: its api-groups or api-allow must permit it"
            raise Denied(self._where, plain(why), reply)
        return reply

    def late(self) -> Reply:
        """Return what came before the deadline, if it is whole."""
        if not self._came:
            raise DeviceTimeout(f"{self._peer}: {self._late}")
        try:
            return self.reply(NO_CLOSE)
        except Truncated as error:
            said = f"{self._peer}: {len(self._came)} bytes in time, and no end: give it longer"
            raise Truncated(said, error.received) from None

    def broken(self) -> HwkitError:
        """Return what a reset connection means."""
        if self._came:
            said = f"{self._peer}: broken off after {len(self._came)} bytes: ask again"
            return Truncated(said, bytes(self._came))
        why = "it reset the connection: api-allow lacks this machine, or it is restarting"
        return NotPermitted(self._where, why)


def _request(
    command: str, parameter: str | int | None, extra: Mapping[str, Any] | None, *, text: bool
) -> bytes:
    """Return the bytes to send: no NUL and no newline, which some take for a part of it."""
    given = {} if parameter is None else {"parameter": parameter}
    if text:
        if extra:
            raise PlanError(f"{command}: the text form has no further members: {', '.join(extra)}")
        words = "|".join((command, *map(str, given.values())))
        if not words.isprintable():
            raise PlanError(f"{command}: a control character cannot be sent in the text form")
        return _short(command, words.encode())
    return _written(command, {"command": command} | given | dict(extra or {}))


def _written(what: str, document: Mapping[str, Any]) -> bytes:
    return _short(what, json.dumps(document, separators=(",", ":")).encode())


def _short(what: str, request: bytes) -> bytes:
    if len(request) > LONGEST:
        said = f"{what}: a request has {LONGEST} bytes at most, not {len(request)}"
        raise PlanError(f"{said}: shorten its parameter")
    return request
