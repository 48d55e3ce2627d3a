"""What the addresses of several meters have in common: what they state, hosts, numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hwkit.errors import PlanError
from hwkit.protocols import Accuracy, Scope
from hwkit.wire.fields import Field
from hwkit.wire.tcp import refuse_login

if TYPE_CHECKING:
    from hwkit.plugins import Address
    from hwkit.protocols import MeterSpec

# What any meter's address may state of it, whatever its driver or profile knows.
STATED = ("scope", "accuracy", "interval", "quantum", "calibrated")
# Of those that send by themselves: intervals without a reading that are a fault, told before the
# three that are a gap.
PATIENCE = 2.0
WH = 3600.0  # joules
KWH = 3.6e6
# Options that point to a number: which of a reading, and what makes it SI units.
POINTERS = {
    "watts": ("watts", 1.0),
    "joules": ("joules", 1.0),
    "wh": ("joules", WH),
    "kwh": ("joules", KWH),
    "volts": ("volts", 1.0),
    "amperes": ("amperes", 1.0),
}


def stated(address: Address, usual: MeterSpec) -> MeterSpec:
    """Return the spec of a meter with what its address states: scope, accuracy and so on.

    Raises PlanError for what makes no sense.
    """
    said = address.options
    of_reading = percent_of(address, "accuracy")
    return replace(
        usual,
        scope=_scope(address, usual.scope),
        accuracy=Accuracy(of_reading, source="stated by ?accuracy=")
        if of_reading
        else usual.accuracy,
        interval_s=number_of(address, "interval", 1.0) if "interval" in said else usual.interval_s,
        quantum_w=number_of(address, "quantum", 1.0) if "quantum" in said else usual.quantum_w,
        calibrated=_date(address) if "calibrated" in said else usual.calibrated,
    )


def patience_s(spec: MeterSpec, deadline_s: float) -> float:
    """Return how long to wait for what comes by itself: the deadline, or PATIENCE intervals."""
    return max(deadline_s, PATIENCE * (spec.interval_s or 0.0))


def host_of(address: Address, *, path: bool = False) -> tuple[str, int | None, str]:
    """Return host, port and path of HOST[:PORT][/PATH]. Raises PlanError, also for a user in it."""
    refuse_login(address)
    place, slash, rest = address.place.partition("/")
    try:
        parts = urlsplit(f"//{place}")
        port = parts.port
    except ValueError as error:
        raise PlanError(f"address {address}: {error}") from error
    if not parts.hostname or parts.netloc != place or not place.isprintable() or " " in place:
        raise PlanError(f"address {address}: it names no host, as in {address.scheme}:192.0.2.61")
    if slash and not path:
        raise PlanError(f"address {address}: nothing comes after the host, not {slash + rest!r}")
    return parts.hostname, port, slash + rest


def name_of(address: Address) -> str:
    """Return the address with its options: two channels of one instrument are two meters."""
    options = "&".join(f"{key}={value}" for key, value in sorted(address.options.items()))
    return f"{address}?{options}" if options else str(address)


def number_of(address: Address, key: str, default: float) -> float:
    """Return an option as a positive number."""
    text = address.options.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise PlanError(f"address {address}: {key} is a number above 0, not {text!r}")
    return value


def percent_of(address: Address, key: str) -> float | None:
    """Return an option such as 5% as a fraction, None when it is not given."""
    text = address.options.get(key)
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%")) if text.endswith("%") else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < 100:
        raise PlanError(f"address {address}: {key} is a percentage, as in 5%, not {text!r}")
    return value / 100


def asked_fields(address: Address) -> dict[str, Field]:
    """Return the fields that an address points to itself; `scale` is of watts alone.

    Raises PlanError when it points to neither power nor energy, or to energy twice.
    """
    fields: dict[str, Field] = {}
    for key, pointer in address.options.items():
        if key not in POINTERS:
            continue
        name, scale = POINTERS[key]
        if name in fields:
            raise PlanError(f"address {address}: it names its energy twice")
        scale *= number_of(address, "scale", 1.0) if name == "watts" else 1.0
        try:
            fields[name] = Field(pointer, scale)
        except PlanError as error:
            raise PlanError(f"address {address}: {key}={error}") from error
    if not {"watts", "joules"} & set(fields):
        said = "it says where its watts are, as in ?watts=/ENERGY/Power, or wh, kwh, joules"
        raise PlanError(f"address {address}: {said}")
    return fields


def _scope(address: Address, usual: Scope) -> Scope:
    said = address.options.get("scope", usual.value)
    if said not in set(Scope):
        raise PlanError(f"address {address}: scope is {', '.join(Scope)}, not {said!r}")
    return Scope(said)


def _date(address: Address) -> str:
    said = address.options["calibrated"]
    try:
        return date.fromisoformat(said).isoformat()
    except ValueError as error:
        raise PlanError(
            f"address {address}: calibrated is a date, as 2026-03-31, not {said!r}"
        ) from error
