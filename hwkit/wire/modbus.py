"""Modbus TCP and RTU by pymodbus, touched nowhere else: its interface moves in minor steps.

Numbers as the instruments' documents lay them out: 16-bit registers, the high byte first; of a
number of several registers the high word first ("big") or last ("little").
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceLost, DeviceTimeout, NoDevice, NotPermitted, ProtocolError
from hwkit.wire.tcp import await_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 125  # registers a request: Modbus Application Protocol 1.1b3, 6.3
_LARGEST = 2 * 260  # bytes: two frames of the largest size, for what is left of an older answer
FORMATS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q"}
FORMATS |= {"float32": "f", "float64": "d"}
ILLEGAL = {2, 3}  # exceptions that another address, or fewer registers, may avoid
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "server device failure",
    6: "server device busy",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
# pymodbus reports through its log what it also raises; without a handler Python would print it.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())
logging.getLogger("pymodbus.logging").addHandler(logging.NullHandler())


class Modbus:
    """One connection to a bus; not for several threads at once."""

    def __init__(self, opened: Any, framing: str = "socket") -> None:
        """Take over a connected socket, or an open port of pyserial's.

        Framing is "socket", "rtu" on a serial port, and also "rtu" behind a bare converter from
        serial to network. Raises ImportError without pymodbus.
        """
        from pymodbus import FramerType  # noqa: PLC0415 - optional
        from pymodbus.client import ModbusSerialClient, ModbusTcpClient  # noqa: PLC0415 - optional

        framer = FramerType(framing)
        self._silence_s = 0.0
        self._client: Any
        if isinstance(opened, socket.socket):
            self._client = ModbusTcpClient("", framer=framer, retries=0)
        else:
            self._client = ModbusSerialClient(opened.port, framer=framer, retries=0)
            # 3.5 characters of 11 bits, 1.75 ms at the fast rates: Modbus over Serial Line 2.5.1.1.
            self._silence_s = max(3.5 * 11 / opened.baudrate, 1.75e-3)
        self._opened = self._client.socket = opened
        # pymodbus waits by the wall clock, as long again after every byte, and takes what comes.
        self._client.recv = self._receive
        self._received = b""
        self._deadline = 0.0

    def read(self, kind: str, first: int, count: int, unit: int, deadline: float) -> list[int]:
        """Return `count` registers from address `first` on, "input" or "holding" ones.

        The deadline is of time.monotonic(). Raises Refusal, ProtocolError, DeviceTimeout and
        DeviceLost; after each but Refusal the connection is worth nothing more.
        """
        from pymodbus.exceptions import ModbusException  # noqa: PLC0415 - optional

        self._received = b""
        self._deadline = deadline
        what = f"unit {unit}, {kind} registers {first:#06x} to {first + count - 1:#06x}"
        ask = getattr(self._client, f"read_{kind}_registers")
        time.sleep(self._silence_s)
        try:
            answer = ask(first, count=count, device_id=unit)
        except DeviceTimeout as error:
            if self._received:
                raise ProtocolError(f"{what}: no whole answer", self._received) from error
            raise DeviceTimeout(f"{what}: no answer in time") from error
        except ModbusException as error:
            if self._received:
                raise ProtocolError(f"{what}: {error}", self._received) from error
            raise DeviceLost(f"{what}: it hung up") from error
        except OSError as error:
            raise DeviceLost(f"{what}: {error.strerror or error}") from error
        if answer.isError():
            raise Refusal(what, answer.exception_code)
        if len(answer.registers) != count:
            raise ProtocolError(f"{what}: {len(answer.registers)} registers came", self._received)
        return list(answer.registers)

    def _receive(self, _: int | None = None) -> bytes:
        if isinstance(self._opened, socket.socket):
            came = await_bytes(self._opened, _LARGEST, self._deadline)
            if not came:
                raise ConnectionResetError(errno.ECONNRESET, "it hung up")
        else:
            self._opened.timeout = max(self._deadline - time.monotonic(), 0)
            came = self._opened.read(max(self._opened.in_waiting, 1))
            if not came:
                raise DeviceTimeout("no answer in time")
        self._received += came
        if len(self._received) > _LARGEST:
            raise ProtocolError("more than any answer is long", self._received)
        return came

    def shutdown(self) -> None:
        """Make whoever waits for an answer stop waiting; from any thread."""
        try:
            if isinstance(self._opened, socket.socket):
                self._opened.shutdown(socket.SHUT_RDWR)
            else:
                self._opened.cancel_read()
        except OSError:
            return  # already closed, by us or by the peer

    def close(self) -> None:
        """Let go."""
        self._opened.close()


def serial_port(path: str, baud: int, parity: str, stop_bits: int) -> Any:
    """Open a serial port, for us alone.

    Raises NoDevice, NotPermitted, and ImportError without pyserial.
    """
    import serial  # noqa: PLC0415 - optional

    try:
        return serial.Serial(
            path, baud, parity=parity, stopbits=stop_bits, write_timeout=1, exclusive=True
        )
    except serial.SerialException as error:
        if error.errno == errno.EACCES:
            raise NotPermitted(path, "join its group: sudo usermod -aG dialout $USER") from error
        if error.errno in {errno.EAGAIN, errno.EBUSY}:
            raise NoDevice(path, "another program has it open") from error
        why = "no such port" if error.errno == errno.ENOENT else "it is no serial port"
        raise NoDevice(path, f"{why}: ls /dev/serial/by-id shows those there are") from error


def decode(registers: Sequence[int], kind: str, order: str) -> float:
    """Return the number that registers hold: a type of FORMATS, words in "big" or "little" order.

    What are NaN and infinity there are NaN and infinity here.
    """
    words = registers if order == "big" else registers[::-1]
    value: float = struct.unpack(f">{FORMATS[kind]}", struct.pack(f">{len(words)}H", *words))[0]
    return value


def size(kind: str) -> int:
    """Return how many registers a type takes."""
    return struct.calcsize(f">{FORMATS[kind]}") // 2


class Refusal(ProtocolError):
    """The unit answered with an exception code: it is there, and has not what was asked for."""

    def __init__(self, what: str, code: int) -> None:
        """Keep the code."""
        said = _EXCEPTIONS.get(code, "of no known meaning")
        super().__init__(f"{what}: Modbus exception {code} ({said})", bytes([code & 0xFF]))
        self.code = code
