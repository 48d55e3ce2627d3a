"""SCPI over a raw TCP socket: a line out, a line in (IEEE 488.2, SCPI-1999)."""

from __future__ import annotations

import math
import re
import socket
from typing import TYPE_CHECKING

from hwkit.errors import DeviceLost, DeviceTimeout, ProtocolError
from hwkit.wire.tcp import await_bytes, connect, pending

if TYPE_CHECKING:
    from typing import Self

LONGEST = 4096  # bytes of an answer: 255 numeric items of a WT300 are some 3000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_INFINITY = 9.9e37  # SCPI-1999 7.2.1: 9.9E+37 stands for infinity, 9.91E+37 for not a number


class Scpi:
    """A conversation with one instrument."""

    def __init__(self, stream: socket.socket) -> None:
        """Take over a connected stream."""
        self._stream = stream
        self._rest = b""

    @classmethod
    def connect(cls, places: list[tuple[int, tuple[str, int]]], deadline: float) -> Self:
        """Connect before a time.monotonic() deadline. Raises as wire.tcp.connect."""
        return cls(connect(places, deadline))

    def ask(self, question: str, deadline: float) -> str:
        """Return the line that answers a question.

        Raises DeviceTimeout, DeviceLost, and ProtocolError for a line without end, one that is no
        ASCII, and for words that nobody asked for: the answers would then be one question behind.
        """
        try:
            if self._rest or pending(self._stream):
                came = self._rest or self._stream.recv(LONGEST)
                if not came:
                    raise DeviceLost(f"{question}: it hung up")
                raise ProtocolError(f"{question}: it answers what was not asked", came)
            self.tell(question)
            while b"\n" not in self._rest:
                if len(self._rest) > LONGEST:
                    raise ProtocolError(f"{question}: its answer has no end", self._rest)
                came = await_bytes(self._stream, LONGEST, deadline)
                if not came:
                    raise DeviceLost(f"{question}: it hung up")
                self._rest += came
        except DeviceTimeout:
            if self._rest:
                raise ProtocolError(f"{question}: half an answer", self._rest) from None
            raise DeviceTimeout(f"{question}: no answer in time") from None
        except OSError as error:
            raise DeviceLost(f"{question}: {error.strerror}") from error
        line, _, self._rest = self._rest.partition(b"\n")
        if len(line) > LONGEST or not line.isascii():
            raise ProtocolError(f"{question}: its answer is no line of text", line[:LONGEST])
        return line.decode("ascii").strip()

    def tell(self, command: str) -> None:
        """Send a line that has no answer. Raises DeviceLost."""
        try:
            self._stream.sendall(command.encode("ascii") + b"\n")
        except OSError as error:  # the socket's own timeout included: a peer that takes nothing
            raise DeviceLost(f"{command}: {error.strerror or 'it takes nothing'}") from error

    def shutdown(self) -> None:
        """Make whoever waits for an answer stop waiting; from any thread."""
        try:
            self._stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already closed, by us or by the peer

    def close(self) -> None:
        """Let go."""
        self._stream.close()


def number(text: str) -> float:
    """Return the number in an answer; NaN and infinity as SCPI-1999 7.2.1 spells them.

    Raises ProtocolError for what is no number.
    """
    word = text.strip().upper()
    if word == "NAN":
        return math.nan
    if word.lstrip("+-") in {"INF", "INFINITY", "NINF"}:
        return -math.inf if word[0] in "-N" else math.inf
    if not _NUMBER.fullmatch(word):
        raise ProtocolError(f"{text!r:.60} is no number", text.encode())
    value = float(word)
    if abs(value) < _INFINITY:
        return value
    return math.nan if math.isclose(value, 9.91e37) else math.copysign(math.inf, value)
