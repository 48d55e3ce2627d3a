"""Power distribution units by SNMP: 'snmp:HOST[:PORT]?profile=apc-rpdu2&outlet=3'.

Options: version (1, 2c, 3; 3 where credentials.toml has its keys, else 2c); what the profile
counts, as outlet, phase, device, inlet, cord; or
without a profile oid and scale (to W), energy_oid and energy_scale (to kWh); scope, interval,
accuracy, range and calibrated as all meters have. Who asks stands in credentials.toml
(hwkit/wire/snmp.py).
"""

from __future__ import annotations

import re
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hwkit.errors import NoDevice, NoDriver, PlanError, ProtocolError
from hwkit.meters import profiles
from hwkit.meters.polled import PolledMeter
from hwkit.wire.credentials import credentials, table_of
from hwkit.wire.snmp import Snmp
from hwkit.wire.tcp import endpoint, refuse_login, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.errors import Unavailable
    from hwkit.meters.profiles import Profile, Quantity
    from hwkit.plugins import Address
    from hwkit.wire.snmp import Value

_OID = {"type": "string", "pattern": r"^\d+(\.(\d+|\{[a-z]+\}))+$"}
ROW: dict[str, Any] = {
    "oid": _OID | {"needed": True},
    "of": {"type": "string"},  # the part of the unit: an option of that name chooses it
    "decimals": _OID,  # where the unit says how many of the digits are decimals
}
SETTINGS: dict[str, Any] = {
    "part": {"type": "string"},  # what is meant where the address names none
    "indices": {"type": "object", "additionalProperties": {"type": "string"}},
    "object_id": _OID,  # what sysObjectID begins with
    # Of outlets that can be switched (outlets.py), the MIB's numbers: there is no rule to them.
    "switch": {
        "type": "object",
        "properties": {
            key: {
                "type": "object",
                "properties": {"oid": _OID, "on": {"type": "integer"}, "off": {"type": "integer"}},
                "required": ["oid", "on", "off"],
                "additionalProperties": False,
            }
            for key in ("tell", "look")
        },
        "required": ["tell", "look"],
        "additionalProperties": False,
    },
    "identity": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"is": {"enum": ["model", "serial", "firmware"]}, "oid": _OID},
            "required": ["is", "oid"],
            "additionalProperties": False,
        },
    },
}
_GENERIC = ("oid", "scale", "energy_oid", "energy_scale")
_SYS_OBJECT_ID = "1.3.6.1.2.1.1.2.0"  # RFC 3418


def find(address: Address | None) -> Iterator[SnmpMeter | Unavailable]:
    """Yield the meter at an address; without one nothing, for a network is not searched."""
    if address is not None:
        refuse_login(address)
    if find_spec("pysnmp") is None:
        yield NoDriver("snmp", "pysnmp is missing: pip install 'hwkit[snmp]'")
    elif address is not None:
        yield SnmpMeter(address)


class SnmpMeter(PolledMeter[Snmp]):
    """What a power distribution unit measures of itself, of a phase or of an outlet."""

    def __init__(self, address: Address) -> None:
        """Raises PlanError for an address that makes no sense."""
        profile = profile_of(address)
        indices = dict(profile.settings.get("indices", {}))
        parts = {each.where["of"] for each in profile.quantities if "of" in each.where}
        address.allow(*profiles.OPTIONS, "version", *_GENERIC, *sorted(indices.keys() | parts))
        named = sorted(parts & address.options.keys(), key=list(indices).index)
        # The smallest named part is meant: outlet=3 of inlet=2.
        part = named[-1] if named else profile.settings.get("part")
        indices = {key: str(address.integer(key) or usual) for key, usual in indices.items()}
        self._profile = profile
        self._quantities = tuple(q for q in profile.quantities if q.where.get("of") == part)
        super().__init__(profile.spec(address, self._quantities))
        self._host, self._port = endpoint(address, 161)
        self._who = credentials(self._host)
        self._version = version_of(address, self._who)
        self._places: list[tuple[int, tuple[str, int]]] = []
        self._oids = [profiles.fill(q.where["oid"], indices) for q in self._quantities]
        self._digits_at = [
            profiles.fill(q.where["decimals"], indices) if "decimals" in q.where else None
            for q in self._quantities
        ]
        self._digits: list[int] | None = None
        self._identity = {
            each["is"]: profiles.fill(each["oid"], indices)
            for each in profile.settings.get("identity", ())
        }

    def _connect(self, deadline: float) -> Snmp:
        del deadline  # nothing is sent yet
        self._places = self._places or resolve(self._host, self._port, socket.SOCK_DGRAM)
        return Snmp(self._places[0], self._version, self._who)

    def _identify(self, wire: Snmp, deadline: float) -> Mapping[str, str]:
        asked = [_SYS_OBJECT_ID, *self._identity.values()]
        answer = wire.get(asked, deadline)
        begins = self._profile.settings.get("object_id")
        came = answer[_SYS_OBJECT_ID]
        if begins and isinstance(came, tuple):
            arcs = tuple(int(arc) for arc in begins.split("."))
            if came[: len(arcs)] != arcs:
                it_is = ".".join(map(str, came))
                why = f"no {self._profile.model}: its sysObjectID is {it_is}; another profile?"
                raise NoDevice(self.spec.name, why)
        said = {key: _text(answer[oid]) for key, oid in self._identity.items()}
        measured = {q.name for q, value in self._ask(wire, deadline) if value is not None}
        if not measured & {"watts", "joules"}:
            why = "it has neither power nor energy there: check profile and number"
            raise NoDevice(self.spec.name, why)
        return {key: text for key, text in said.items() if text}

    def _ask(self, wire: Snmp, deadline: float) -> list[tuple[Quantity, float | None]]:
        if self._digits is None:
            self._digits = self._decimals(wire, deadline)
        answer = wire.get(self._oids, deadline)
        values = [_number(oid, answer[oid]) for oid in self._oids]
        return [
            (quantity, None if value is None or value in quantity.absent else value / 10**digits)
            for quantity, value, digits in zip(self._quantities, values, self._digits, strict=True)
        ]

    def _decimals(self, wire: Snmp, deadline: float) -> list[int]:
        asked = [oid for oid in self._digits_at if oid]
        answer = wire.get(asked, deadline)
        digits = {oid: _number(oid, answer[oid]) or 0.0 for oid in asked}
        for oid, value in digits.items():
            if value not in range(10):
                raise ProtocolError(f"{oid}: {value:g} is no number of decimals", b"")
        return [int(digits[oid]) if oid else 0 for oid in self._digits_at]

    def _advice(self) -> str:
        if self._version == "3":
            return ": is SNMP 3 enabled there?"
        return (
            f": is SNMP {self._version} enabled there, and the community right? "
            f"({table_of(self._host)}; it says nothing to a wrong one)"
        )


def version_of(address: Address, who: Mapping[str, str]) -> str:
    """Return the version of SNMP that an address names, or its host's credentials are of."""
    keys = who.keys() & {"auth_key", "priv_key"}  # of use to version 3 alone
    version = address.options.get("version", "3" if keys else "2c")
    if version not in {"1", "2c", "3"}:
        raise PlanError(f"address {address}: version is 1, 2c or 3, not {version!r}")
    return version


def profile_of(address: Address) -> Profile:
    """Return the profile that an address names, or the one that its options are."""
    said = address.options
    if not said.keys() & set(_GENERIC):
        return profiles.load("snmp", address, ROW, SETTINGS)
    if "profile" in said:
        raise PlanError(f"address {address}: a profile, or oid and scale: not both")
    rows = []
    for quantity, unit, key in (("watts", "W", ""), ("joules", "kWh", "energy_")):
        if f"{key}oid" in said:
            scale = profiles.scale(address, f"{key}scale")
            oid = said[f"{key}oid"].removeprefix(".")
            rows.append({"quantity": quantity, "unit": unit, "oid": oid, "scale": scale})
    model = "any by SNMP"
    document = {"model": model, "sources": ["the address"], "scope": "wall", "quantities": rows}
    return profiles.parse(str(address), document, ROW, SETTINGS)


def _number(oid: str, value: Value) -> float | None:
    """Return a number; units that know only integers send others as text."""
    if isinstance(value, bytes) and re.fullmatch(rb"\s*[+-]?\d{1,18}(\.\d{1,18})?\s*", value):
        return float(value)
    if isinstance(value, bytes | tuple):
        raise ProtocolError(f"{oid}: {value!r:.60} is no number", bytes(str(value), "utf-8"))
    return value


def _text(value: Value) -> str:
    return value.decode("ascii", "replace").strip("\0 ") if isinstance(value, bytes) else ""
