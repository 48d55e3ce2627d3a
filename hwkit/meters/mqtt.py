"""Meters that publish JSON under an MQTT topic, unasked: each message is a reading at its arrival.

Sources: tasmota.github.io (MQTT: tele/TOPIC/SENSOR), zigbee2mqtt.io (MQTT topics and messages).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from hwkit.errors import DeviceLost, DeviceTimeout, NoDevice, NoDriver, NotPermitted, PlanError
from hwkit.meters.addressing import (
    KWH,
    POINTERS,
    STATED,
    asked_fields,
    host_of,
    name_of,
    patience_s,
    stated,
)
from hwkit.protocols import MeterSpec, Provenance, Reading, Scope
from hwkit.wire.credentials import credentials, table_of
from hwkit.wire.fields import Field, numbers, parse
from hwkit.wire.mqtt import Refused, Subscription, tls_context
from hwkit.wire.tcp import refuse_login

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.errors import Unavailable
    from hwkit.plugins import Address
    from hwkit.protocols import Meter

PORT, TLS_PORT = 1883, 8883  # IANA: mqtt, secure-mqtt
PROFILES = {
    "tasmota": {
        "watts": Field("/ENERGY/Power"),
        "joules": Field("/ENERGY/Total", KWH),
        "volts": Field("/ENERGY/Voltage"),
        "amperes": Field("/ENERGY/Current"),
        "power_factor": Field("/ENERGY/Factor"),
    },
    "zigbee2mqtt": {
        "watts": Field("/power"),
        "joules": Field("/energy", KWH),
        "volts": Field("/voltage"),
        "amperes": Field("/current"),
    },
}
# Tasmota's Total has three decimals unless EnergyRes says otherwise; what a Zigbee plug's energy
# has is its maker's affair.
QUANTA_J = {"tasmota": 0.001 * KWH}


def find(address: Address | None) -> Iterator[Meter | Unavailable]:
    """Yield the meter addressed; without an address nothing, since no network is searched."""
    if address is not None:
        refuse_login(address)
    if find_spec("paho") is None:
        where = "mqtt" if address is None else str(address)
        yield NoDriver(where, "paho-mqtt is missing: pip install 'hwkit[mqtt]'")
    elif address is not None:
        yield MqttMeter(address)


class MqttMeter:
    """Who publishes under one topic."""

    def __init__(self, address: Address) -> None:
        """Costs no I/O. Raises PlanError for an address that makes no sense."""
        address.allow(*STATED, "profile", "tls", "scale", *POINTERS)
        self._host, self._port, path = host_of(address, path=True)
        self._topic = path.removeprefix("/")
        if not self._topic or set("#+\0") & set(self._topic):
            raise PlanError(f"address {address}: one topic comes after the host, as in mqtt:h/a/b")
        self._tls = address.options.get("tls")
        if self._tls not in {None, "verified", "unverified"}:
            raise PlanError(f"address {address}: tls is verified or unverified, not {self._tls!r}")
        profile = address.options.get("profile", "generic")
        if profile != "generic" and profile not in PROFILES:
            known = ", ".join((*PROFILES, "generic"))
            raise PlanError(f"address {address}: no profile {profile!r}; there are {known}")
        self._fields: Mapping[str, Field] = PROFILES.get(profile) or asked_fields(address)
        self._required = ("watts",) if profile in PROFILES else tuple(self._fields)
        self._subscription: Subscription | None = None
        usual = MeterSpec(
            name_of(address),
            Scope.WALL,
            Provenance.METER,
            interval_s=10.0,  # Tasmota's shortest TelePeriod
            quantum_j=QUANTA_J.get(profile),
            unasked=True,
        )
        self._spec = stated(address, usual)

    @property
    def spec(self) -> MeterSpec:
        """What it is; its interval is what the address says or 10 s, as its sender decides."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Connect and subscribe; a broker says nothing of who publishes.

        Raises NoDevice, NotPermitted, and ProtocolError for what is no broker.
        """
        name = self._spec.name
        self.close()
        self._subscription = self._subscribe()
        try:
            self._subscription.connect()
        except Refused as error:
            table = f"see {table_of(self._host)}"
            why = str(error).removeprefix(f"{name}: ")
            raise NotPermitted(name, why if "?tls" in why else f"{why}: {table}") from error
        except (DeviceLost, DeviceTimeout) as error:
            raise NoDevice(name, str(error).removeprefix(f"{name}: ")) from error
        return {}

    def read(self) -> Reading:
        """Return the next message as a reading, as old as it is.

        Raises DeviceTimeout where none comes within two intervals.
        """
        if self._subscription is None:
            raise DeviceLost(f"{self._spec.name}: it is not open")
        message = self._subscription.next(patience_s(self._spec, 0.0))
        name = self._spec.name
        document = parse(name, message.payload)
        return Reading(message.at, **numbers(name, document, self._fields, self._required))

    def close(self) -> None:
        """Let go; who reads gets DeviceLost."""
        if self._subscription is not None:
            self._subscription.close()

    def _subscribe(self) -> Subscription:
        words = credentials(self._host)
        login = (words["user"], words.get("password")) if "user" in words else None
        verified = self._tls != "unverified"
        tls = tls_context(verified=verified) if self._tls is not None else None
        port = self._port or (TLS_PORT if tls else PORT)
        return Subscription(self._spec.name, self._host, port, self._topic, login=login, tls=tls)
