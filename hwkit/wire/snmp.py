"""SNMP 1, 2c and 3 by pysnmp: one GET or SET at a time (RFC 1157, 3416, 3414).

The words of a host's credentials: `community` (else "public", as every agent's read-only default);
for version 3 `user`, `auth_key` with `auth` (sha, sha224, sha256, sha384, sha512, md5) and
`priv_key` with `priv` (aes, aes192, aes256, des); what is not said is sha and aes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from hwkit.errors import (
    DeviceLost,
    DeviceTimeout,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.wire.credentials import place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Value = int | float | bytes | tuple[int, ...] | None
_TRIES = 2  # a datagram may be lost
_EACH_S = 2.0
_AUTH = {
    "sha": "USM_AUTH_HMAC96_SHA",
    "sha224": "USM_AUTH_HMAC128_SHA224",
    "sha256": "USM_AUTH_HMAC192_SHA256",
    "sha384": "USM_AUTH_HMAC256_SHA384",
    "sha512": "USM_AUTH_HMAC384_SHA512",
    "md5": "USM_AUTH_HMAC96_MD5",
}
_PRIV = {
    "aes": "USM_PRIV_CFB128_AES",
    "aes192": "USM_PRIV_CFB192_AES",
    "aes256": "USM_PRIV_CFB256_AES",
    "des": "USM_PRIV_CBC56_DES",
}
# What an agent says of who asks (RFC 3414, 3.2; RFC 3416, 3): no repetition will help.
_REFUSALS = {
    "UnknownUserName": "no such user",
    "WrongDigest": "wrong auth_key, or not that auth",
    "UnsupportedSecurityLevel": "that user has no such security level: auth_key, priv_key",
    "UnsupportedSecLevel": "that user has no such security level: auth_key, priv_key",
    "DecryptionError": "wrong priv_key, or not that priv",
    "AuthenticationFailure": "wrong auth_key, or not that auth",
    "authorizationError": "that user may not read this, or not change it",
    "noAccess": "that user may not read this, or not change it",
    "notWritable": "that user may not change this",
    "readOnly": "that user may not change this",
}
_SHORTEST = 8  # characters of a pass phrase: RFC 3414, 11.2
_NO_SUCH_NAME = 2  # an error-status of version 1: RFC 1157, 4.1.1
_OPAQUE_FLOAT = b"\x9f\x78\x04"  # as Net-SNMP wraps a float


class Snmp:
    """One agent, asked by one thread at a time."""

    def __init__(
        self, place: tuple[int, tuple[str, int]], version: str, words: Mapping[str, str]
    ) -> None:
        """Say who is asked (wire.tcp.resolve), by which version ("1", "2c", "3") and who asks.

        Raises PlanError for words that make no sense, and ImportError without pysnmp.
        """
        self._family, self._place = place
        self._who = _identity(str(self), version, words)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._fault)
        self._asking: asyncio.Task[Any] | None = None
        self._faults: list[BaseException] = []
        # The engine takes a third of a second to make: not within a reading.
        self._target, self._engine = self._loop.run_until_complete(self._prepare())

    def get(self, oids: Sequence[str], deadline: float) -> dict[str, Value]:
        """Return what each object holds, None for one that is not there; all of one moment.

        The deadline is of time.monotonic(). Raises NotPermitted, DeviceTimeout, ProtocolError,
        and DeviceLost when closed meanwhile.
        """
        wanted = list(oids)
        while wanted:
            indication, status, index, found = self._run("get_cmd", dict.fromkeys(wanted), deadline)
            if indication is not None:
                raise self._said(indication)
            if int(status) == _NO_SUCH_NAME and 0 < int(index) <= len(wanted):
                del wanted[int(index) - 1]  # version 1 refuses a request for what one object lacks
                continue
            if int(status):
                raise self._refused(status.prettyPrint())
            values = {str(name): _value(value) for name, value in found}
            if set(values) != set(wanted):
                raise ProtocolError(f"{self}: it answers for other objects", b"")
            return dict.fromkeys(oids) | values
        return dict.fromkeys(oids)

    def set(self, oid: str, value: int, deadline: float) -> None:
        """Set one object to an INTEGER. Raises as get does; NotPermitted where it may only be read.

        Sent again where no answer comes: what is set is to be the same when it is set twice.
        """
        indication, status, _, _ = self._run("set_cmd", {oid: value}, deadline)
        if indication is not None:
            raise self._said(indication)
        if int(status) == _NO_SUCH_NAME:  # as version 1 says of what may only be read
            raise NotPermitted(str(self), f"it has no {oid} that may be changed by us ({place()})")
        if int(status):
            raise self._refused(status.prettyPrint())

    def __str__(self) -> str:
        return f"{self._place[0]}:{self._place[1]}"

    def _run(self, command: str, objects: Mapping[str, int | None], deadline: float) -> Any:
        from pysnmp.error import PySnmpError  # noqa: PLC0415 - optional

        self._faults.clear()
        asking = self._ask(command, objects, deadline - time.monotonic())
        self._asking = self._loop.create_task(asking)
        try:
            return self._loop.run_until_complete(self._asking)
        except TimeoutError as error:
            raise self._silence() from error
        except asyncio.CancelledError as error:
            raise DeviceLost(f"{self}: closed while it was asked") from error
        except PySnmpError as error:
            raise ProtocolError(f"{self}: {error}", b"") from error

    async def _prepare(self) -> tuple[Any, Any]:
        from pysnmp.hlapi.v3arch import asyncio as api  # noqa: PLC0415 - optional

        v6 = self._family == socket.AF_INET6
        kind = api.Udp6TransportTarget if v6 else api.UdpTransportTarget
        return await kind.create(self._place[:2], _EACH_S, _TRIES - 1), api.SnmpEngine()

    async def _ask(self, command: str, objects: Mapping[str, int | None], seconds: float) -> Any:
        from pysnmp.hlapi.v3arch import asyncio as api  # noqa: PLC0415 - optional

        async with asyncio.timeout(seconds):
            sent = [
                api.ObjectType(
                    api.ObjectIdentity(oid),
                    *([] if value is None else [api.Integer32(value)]),
                )
                for oid, value in objects.items()
            ]
            asked = getattr(api, command)
            where = (self._target, api.ContextData())
            return await asked(self._engine, self._who, *where, *sent, lookupMib=False)

    def _refused(self, name: str) -> Exception:
        if name in _REFUSALS:
            return NotPermitted(str(self), f"{_REFUSALS[name]} ({place()})")
        return ProtocolError(f"{self}: it answers with error status {name}", b"")

    def _said(self, indication: Any) -> Exception:
        name = type(indication).__name__
        if name == "RequestTimedOut":
            return self._silence()
        if name in _REFUSALS:
            return NotPermitted(str(self), f"{_REFUSALS[name]} ({place()})")
        return ProtocolError(f"{self}: {indication}", b"")

    def _silence(self) -> Exception:
        if self._faults:
            return ProtocolError(f"{self}: what comes is no SNMP: {self._faults[0]}", b"")
        return DeviceTimeout(f"{self}: no answer in time")

    def _fault(self, _: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        self._faults.append(what.get("exception") or RuntimeError(what["message"]))

    def shutdown(self) -> None:
        """Make whoever waits for an answer stop waiting; from any thread."""
        asking = self._asking
        if asking is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(asking.cancel)

    def close(self) -> None:
        """Let go."""
        if self._loop.is_closed():
            return
        self._engine.close_dispatcher()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


def _identity(host: str, version: str, words: Mapping[str, str]) -> Any:
    """Return who asks, as pysnmp has it."""
    from pysnmp.hlapi.v3arch import asyncio as api  # noqa: PLC0415 - optional

    if version != "3":
        return api.CommunityData(words.get("community", "public"), mpModel=int(version == "2c"))
    if "user" not in words:
        raise PlanError(f"{host}: SNMP 3 needs its user, auth_key, priv_key in {place()}")
    for key in ("auth_key", "priv_key"):
        if 0 < len(words.get(key, "")) < _SHORTEST:
            raise PlanError(f"{host}: its {key} in {place()} has fewer than 8 characters")
    if "priv_key" in words and "auth_key" not in words:
        raise PlanError(f"{host}: SNMP 3 knows no priv_key without auth_key: {place()}")
    protocols: dict[str, Any] = {}
    for key, table in (("auth", _AUTH), ("priv", _PRIV)):
        if f"{key}_key" in words:
            said = words.get(key, next(iter(table)))
            if said not in table:
                raise PlanError(f"{host}: no {key} {said!r}; there are {', '.join(table)}")
            protocols[f"{key}Protocol"] = getattr(api, table[said])
    return api.UsmUserData(words["user"], words.get("auth_key"), words.get("priv_key"), **protocols)


def _value(value: Any) -> Value:
    """Return a value of pysnmp's as one of Python's."""
    name = type(value).__name__
    if name in {"NoSuchObject", "NoSuchInstance", "EndOfMibView", "Null"}:
        return None
    if name == "ObjectIdentifier":
        return tuple(int(arc) for arc in value)
    if hasattr(value, "asOctets"):
        octets = bytes(value.asOctets())
        if octets[:3] == _OPAQUE_FLOAT and len(octets) == 7:
            number: float = struct.unpack(">f", octets[3:])[0]
            return number
        return octets
    return int(value)
