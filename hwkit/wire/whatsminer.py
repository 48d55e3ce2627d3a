"""Whatsminer's API 3, TCP port 4433: four bytes of length, little-endian, then JSON, both ways.

What changes something is signed: whatsminer_writes.py. Source: MicroBT, WhatsMiner API V3.
"""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceLost, DeviceTimeout, ProtocolError
from hwkit.units import plain
from hwkit.wire import repair, tcp
from hwkit.wire.cgminer import Reply, Truncated

if TYPE_CHECKING:
    from collections.abc import Mapping

PORT = 4433
DEADLINE_S = 5.0
LARGEST = 1 << 20  # bytes of an answer
_HEAD = 4


def ask(
    host: str,
    command: str,
    parameter: str | None = None,
    *,
    port: int = PORT,
    deadline_s: float = DEADLINE_S,
    extra: Mapping[str, Any] | None = None,
) -> Reply:
    """Ask one thing over a connection of its own.

    Raises NoDevice, NotPermitted, DeviceLost, DeviceTimeout, Truncated and ProtocolError.
    """
    peer = f"{host}:{port}: {plain(command)[:40]}"
    given = {} if parameter is None else {"param": parameter}
    request = json.dumps({"cmd": command} | given | dict(extra or {})).encode()
    deadline = time.monotonic() + deadline_s
    places = tcp.resolve(host, port, socket.SOCK_STREAM)
    with tcp.connect(places, deadline) as stream:
        asked = time.monotonic_ns()
        try:
            stream.sendall(len(request).to_bytes(_HEAD, "little") + request)
            length = int.from_bytes(_exactly(stream, _HEAD, deadline, peer), "little")
            if not 0 < length <= LARGEST:
                said = f"{peer}: an answer of {length} bytes: is this port another protocol's?"
                raise ProtocolError(said, length.to_bytes(_HEAD, "little"))
            raw = _exactly(stream, length, deadline, peer)
        except DeviceTimeout as error:
            raise DeviceTimeout(f"{peer}: no answer in time") from error
        except OSError as error:
            raise DeviceLost(f"{peer}: it broke the connection off") from error
        took_ns = time.monotonic_ns() - asked
    document, repairs = repair.loads(raw, peer)
    if not isinstance(document, dict):
        raise ProtocolError(f"{peer}: answered with {document!r:.60}, which is no object", raw)
    return Reply(raw, document, repairs, asked + took_ns // 2, took_ns)


def _exactly(stream: socket.socket, count: int, deadline: float, peer: str) -> bytes:
    came = bytearray()
    while len(came) < count:
        piece = tcp.await_bytes(stream, count - len(came), deadline)
        if not piece:
            raise Truncated(f"{peer}: cut off after {len(came)} of {count} bytes", bytes(came))
        came += piece
    return bytes(came)
