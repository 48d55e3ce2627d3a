"""A stream to a peer that may stall: connecting and waiting against one deadline."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING

from hwkit.errors import DeviceTimeout, HwkitError, NoDevice, NotPermitted, PlanError

if TYPE_CHECKING:
    from hwkit.plugins import Address


NO_HOST = "no such host: check the name, or give its number"


def endpoint(address: Address, port: int) -> tuple[str, int]:
    """Return host and port of an address 'scheme:HOST[:PORT]'; IPv6 goes in brackets.

    Raises PlanError for one that names no host, or no port from 1 to 65535.
    """
    place = address.place
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        host, colon, said = host if bracket else "", rest[:1], rest[1:]
    else:
        host, colon, said = place.partition(":")
    if not host or colon not in {"", ":"}:
        raise PlanError(f"address {address}: after the kind comes HOST or HOST:PORT")
    if not colon:
        return host, port
    if not said.isascii() or not said.isdigit() or not 0 < int(said[:6]) < 1 << 16:
        raise PlanError(f"address {address}: a port is a number from 1 to 65535, not {said!r}")
    return host, int(said)


def refuse_login(address: Address) -> None:
    """Raise PlanError for an address with a user or password in it, and do not repeat them."""
    place = address.place.partition("/")[0]
    if "@" in place:
        shown = f"{address.scheme}:...@{place.rpartition('@')[2]}"
        said = "user and password belong into the credentials file, docs/meters.md says where"
        raise PlanError(f"address {shown}: {said}")


def broken(error: OSError) -> str:
    """Say what became of a connection, and what to do."""
    if isinstance(error, socket.gaierror):
        return NO_HOST
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: is the port right, and is it on?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted; ?tls=unverified takes it"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "it failed").replace("_", " ").lower()
        return f"it speaks no TLS that we do ({reason}): is the port that of TLS? Else without ?tls"
    return str(error.strerror).lower() if error.strerror else "broke the connection off"


def resolve(host: str, port: int, kind: socket.SocketKind) -> list[tuple[int, tuple[str, int]]]:
    """Return family and address of each place a name stands for. Raises NoDevice."""
    try:
        found = socket.getaddrinfo(host, port, type=kind)
    except (OSError, UnicodeError) as error:
        raise NoDevice(host, NO_HOST) from error
    return [(family, place) for family, _, _, _, place in found]  # type: ignore[misc]


def connect(places: list[tuple[int, tuple[str, int]]], deadline: float) -> socket.socket:
    """Return a stream to the first place that accepts, before a time.monotonic() deadline.

    Raises NoDevice, NotPermitted, or DeviceTimeout where nothing answers.
    """
    last: OSError | None = None
    # The timeout stays on the stream: sending to a peer that takes nothing ends, too.
    for left, (family, place) in zip(range(len(places), 0, -1), places, strict=True):
        stream = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Each place gets its share: a dead IPv6 route must not use up IPv4's time.
            stream.settimeout(max((deadline - time.monotonic()) / left, 0.001))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.connect(place)
        except OSError as error:
            last = error
            stream.close()
        else:
            return stream
    raise unreachable(places[0][1], last) from last


async def resolve_async(
    host: str, port: int, kind: socket.SocketKind
) -> list[tuple[int, tuple[str, int]]]:
    """Do as resolve does; what a name stands for is asked on another thread."""
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, resolve, host, port, kind)
    return [(family, place) for family, _, _, _, place in found]  # type: ignore[misc]


async def connect_async(
    places: list[tuple[int, tuple[str, int]]], deadline: float
) -> socket.socket:
    """Do as connect does; the stream does not block."""
    last: OSError | None = None
    for left, (family, place) in zip(range(len(places), 0, -1), places, strict=True):
        stream = socket.socket(family, socket.SOCK_STREAM)
        try:
            stream.settimeout(0)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout((deadline - time.monotonic()) / left):
                await asyncio.get_running_loop().sock_connect(stream, place)
        except OSError as error:
            last = error
            stream.close()
        except asyncio.CancelledError:
            stream.close()
            raise
        else:
            return stream
    raise unreachable(places[0][1], last) from last


def unreachable(place: tuple[str, int], error: OSError | None) -> HwkitError:
    """Return what it means that nobody could connect there."""
    where = f"{place[0]}:{place[1]}"
    if isinstance(error, TimeoutError):
        return DeviceTimeout(f"{where}: nothing answers there")
    if isinstance(error, PermissionError):
        return NotPermitted(where, f"the system forbids it: {error.strerror}")
    if isinstance(error, ConnectionResetError):
        return NotPermitted(where, "it takes a connection and drops it: may this machine have one?")
    # Not strerror: asyncio has words of its own there.
    why = os.strerror(error.errno).lower() if error and error.errno else "it cannot be reached"
    return NoDevice(where, f"{why}: is it on, its network interface enabled, the port right?")


def await_bytes(stream: socket.socket, most: int, deadline: float) -> bytes:
    """Return what has come, at least a byte and `most` at most; b'' when the peer has closed.

    Raises DeviceTimeout at the deadline, OSError for a broken stream.
    """
    left = deadline - time.monotonic()
    if left <= 0 or not _readable(stream, left):
        raise DeviceTimeout("no answer in time")
    return stream.recv(most)


def pending(stream: socket.socket) -> bool:
    """Has something come that nobody waits for: bytes, or the end?"""
    return _readable(stream, 0)


def _readable(stream: socket.socket, seconds: float) -> bool:
    """Wait for input; by poll, for select knows no descriptor past 1023."""
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
