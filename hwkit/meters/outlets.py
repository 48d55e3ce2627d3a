"""Outlets that can be switched, at the address of the meter in them; what is told is read back.

shelly:HOST[:PORT][?channel=0]                     a relay of any generation
tasmota:HOST[:PORT][?channel=0]                    channel 0 is its POWER1
snmp:HOST[:PORT]?profile=apc-rpdu2&outlet=3        what has a [switch] in its profile

Who asks stands in credentials.toml, as for the meters; SNMP 1 and 2c change nothing without
`write_community` there. Sources: shelly-api-docs.shelly.cloud (Gen1 /relay, Gen2 Switch.Set and
Switch.GetStatus), tasmota.github.io (Commands: Power), and each profile's own.
"""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NoDriver,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.meters.http import HttpMeter
from hwkit.meters.instruments import channel_of, tasmota_login
from hwkit.meters.profiles import fill
from hwkit.meters.snmp import profile_of, version_of
from hwkit.plugins import Address
from hwkit.wire.credentials import credentials, table_of
from hwkit.wire.fields import has
from hwkit.wire.http import BadStatus, Refused, Untrusted
from hwkit.wire.tcp import endpoint, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.wire.snmp import Snmp

PATIENCE_S = 60.0  # a network that is away may come back: an outlet is not to stay off for it
SEEN_S = 5.0  # in which a relay has moved, and says so; then it is told again
SOON_S = 0.2
DEADLINE_S = 4.5  # of one request by SNMP
T = TypeVar("T")
MISSING = {
    "snmp": ("pysnmp", "pysnmp is missing: pip install 'hwkit[snmp]'"),
    "shelly": ("aiohttp", "aiohttp is missing: pip install 'hwkit[http]'"),
    "tasmota": ("aiohttp", "aiohttp is missing: pip install 'hwkit[http]'"),
}


def find(text: str) -> Outlet:
    """Return the outlet at an address; costs no I/O. Raises PlanError, and NoDriver."""
    address = Address.parse(text)
    if address.scheme not in KINDS:
        raise PlanError(f"outlet {text!r}: it is one of {', '.join(KINDS)}")
    module, why = MISSING[address.scheme]
    if find_spec(module) is None:
        raise NoDriver(text, why)
    return KINDS[address.scheme](address)


class Outlet(ABC):
    """One outlet; look() and to() connect, and let go again: hours may lie between them."""

    name: str

    @abstractmethod
    def is_on(self) -> bool:
        """Return what it says it is. Raises Unavailable and DeviceFault."""

    def look(self) -> bool:
        """Return what it says it is. Raises as is_on does, and where we may not switch it."""
        try:
            return self.is_on()
        finally:
            self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of its connection, if one is kept; the next call makes another."""

    @abstractmethod
    def tell(self, *, on: bool) -> None:
        """Tell it, once. Raises as is_on does; a fault does not say that nothing was done."""

    def to(self, word: str, wait: Callable[[float], object] = time.sleep) -> None:
        """Switch it on or off, and return when it says that it is.

        Told again for PATIENCE_S. Raises the last fault, and DeviceFault where it is told in vain.
        """
        try:
            self._tell_until(word, wait)
        finally:
            self.close()

    def _tell_until(self, word: str, wait: Callable[[float], object]) -> None:
        on = word == "on"
        until = time.monotonic() + PATIENCE_S
        fault: Exception | None = None
        while True:
            try:
                if on and self.is_on():  # as where it could not be switched off
                    return
                self.tell(on=on)
                if self._comes_to(wait, on=on):
                    return
                fault = None
            except (DeviceFault, NoDevice) as error:
                fault = error
            if time.monotonic() > until:
                if fault is not None:
                    raise fault
                raise DeviceFault(f"{self.name}: told to be {word}, and it says that it is not")
            wait(SOON_S)

    def _comes_to(self, wait: Callable[[float], object], *, on: bool) -> bool:
        until = time.monotonic() + SEEN_S
        while True:
            try:
                if self.is_on() is on:
                    return True
            except (DeviceFault, NoDevice):  # busy with what it was told
                if time.monotonic() > until:
                    raise
            if time.monotonic() > until:
                return False
            wait(SOON_S)


class _HttpOutlet(Outlet):
    """A relay of an instrument that answers over HTTP."""

    def __init__(self, address: Address) -> None:
        """Raises PlanError for an address that makes no sense."""
        self._address = address
        self._meter = HttpMeter(address)
        self._channel = channel_of(address)
        self.name = self._meter.spec.name

    def close(self) -> None:
        """Let go of its connection; see Outlet."""
        self._meter.close()
        self._meter = HttpMeter(self._address)

    def _get(self, path: str, secret: str = "") -> object:
        """Return a document. Raises DeviceFault, NotPermitted, NoDevice."""
        try:
            return self._meter.host.get(path, secret).document
        except Refused as error:
            raise NotPermitted(self.name, self._meter.advice()) from error
        except Untrusted as error:
            raise NotPermitted(self.name, str(error)) from error
        except BadStatus as error:
            why = f"{error}: has it a relay there, and is the channel right?"
            raise NoDevice(self.name, why) from error

    def _word(self, document: object, key: str, words: dict[object, bool]) -> bool:
        """Return what a member says: 1 is no true, and what is neither is no answer."""
        said = document.get(key) if isinstance(document, dict) else None
        for word, on in words.items():
            if type(said) is type(word) and said == word:
                return on
        raise ProtocolError(f"{self.name}: it does not say whether it is on: {said!r:.60}", b"")


class ShellyOutlet(_HttpOutlet):
    """A relay of a Shelly."""

    def __init__(self, address: Address) -> None:
        """Raises PlanError for an address that makes no sense."""
        super().__init__(address)
        self._second: bool | None = None  # is it of the second generation, or later?

    def close(self) -> None:
        """Let go of its connection; see Outlet."""
        super().close()
        self._second = None

    def is_on(self) -> bool:
        """Return what it says it is; see Outlet."""
        truth: dict[object, bool] = {True: True, False: False}
        if self._is_second():
            status = self._get(f"/rpc/Switch.GetStatus?id={self._channel}")
            return self._word(status, "output", truth)
        return self._word(self._get(f"/relay/{self._channel}"), "ison", truth)

    def tell(self, *, on: bool) -> None:
        """Tell it; see Outlet."""
        if self._is_second():
            self._get(f"/rpc/Switch.Set?id={self._channel}&on={'true' if on else 'false'}")
        else:
            self._get(f"/relay/{self._channel}?turn={'on' if on else 'off'}")

    def _is_second(self) -> bool:
        if self._second is None:
            told = self._get("/shelly")
            second = has(told, "/gen")
            if not second and not has(told, "/type"):
                raise NoDevice(self.name, "it answers, but not as a Shelly does")
            self._meter.log_in("digest" if second else "basic", "admin")
            self._second = second
        return self._second


class TasmotaOutlet(_HttpOutlet):
    """A relay of a Tasmota."""

    def is_on(self) -> bool:
        """Return what it says it is; see Outlet."""
        return self._say("")

    def tell(self, *, on: bool) -> None:
        """Tell it; see Outlet."""
        self._say("%20on" if on else "%20off")

    def _say(self, word: str) -> bool:
        number = self._channel + 1
        path = f"/cm?cmnd=Power{number}{word}"
        said = self._get(path, tasmota_login(self._meter.hostname))
        if has(said, "/WARNING"):
            raise NotPermitted(self.name, self._meter.advice())
        key = "POWER" if number == 1 and has(said, "/POWER") else f"POWER{number}"  # SetOption26
        return self._word(said, key, {"ON": True, "OFF": False})


class SnmpOutlet(Outlet):
    """An outlet of a power distribution unit."""

    def __init__(self, address: Address) -> None:
        """Raises PlanError for an address that makes no sense, or whose profile switches none."""
        profile = profile_of(address)
        switch = profile.settings.get("switch")
        if switch is None:
            raise PlanError(f"outlet {address}: nothing is known of how a {profile.model} switches")
        indices = dict(profile.settings.get("indices", {}))
        address.allow("profile", "version", *sorted(indices))
        if "outlet" not in address.options:
            raise PlanError(f"outlet {address}: it says which: &outlet=3")
        indices = {key: str(address.integer(key) or usual) for key, usual in indices.items()}
        self.name = f"{address}?outlet={indices['outlet']}"
        self._tell, self._look = (
            {**switch[each], "oid": fill(switch[each]["oid"], indices)} for each in ("tell", "look")
        )
        self._host, self._port = endpoint(address, 161)
        who = dict(credentials(self._host))
        self._version = version_of(address, who)
        self._may = self._version == "3" or "write_community" in who
        if self._version != "3":
            who["community"] = who.get("write_community", who.get("community", "public"))
        self._who = who

    def is_on(self) -> bool:
        """Return what it says it is; see Outlet."""
        oid = str(self._look["oid"])
        value = self._asked(lambda wire, until: wire.get([oid], until))[oid]
        for on in (True, False):
            if type(value) is int and value == self._look["on" if on else "off"]:
                return on
        if value is None:
            raise NoDevice(self.name, "it has no such outlet that can be switched")
        raise ProtocolError(f"{self.name}: it is neither on nor off: {value!r:.40}", b"")

    def look(self) -> bool:
        """Return what it says it is; see Outlet."""
        if not self._may:
            why = f"SNMP {self._version} switches by write_community: put one under"
            raise NotPermitted(self.name, f"{why} {table_of(self._host)}")
        return super().look()

    def tell(self, *, on: bool) -> None:
        """Tell it; see Outlet."""
        value = self._tell["on" if on else "off"]
        self._asked(lambda wire, until: wire.set(self._tell["oid"], value, until))

    def close(self) -> None:
        """Do nothing: each request has a socket of its own."""

    def _asked(self, ask: Callable[[Snmp, float], T]) -> T:
        from hwkit.wire.snmp import Snmp  # noqa: PLC0415 - optional

        wire = Snmp(resolve(self._host, self._port, socket.SOCK_DGRAM)[0], self._version, self._who)
        try:
            return ask(wire, time.monotonic() + DEADLINE_S)
        except (DeviceTimeout, DeviceLost) as error:
            hint = "" if self._version == "3" else "; or it refuses that community"
            raise DeviceTimeout(f"{self.name}: {error}{hint}") from error
        finally:
            wire.close()


KINDS: dict[str, Callable[[Address], Outlet]] = {
    "shelly": ShellyOutlet,
    "tasmota": TasmotaOutlet,
    "snmp": SnmpOutlet,
}
