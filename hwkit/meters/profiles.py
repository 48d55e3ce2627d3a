"""What an instrument is, as data: TOML in data/<kind>/, or a file of the user's own.

model = "Eastron SDM120-Modbus"
sources = ["...", "..."]            # documents that the rows were held against
scope = "wall"                      # what it usually sees; the address may say otherwise
interval_s = 1.0                    # how often it has something new to say
averaging_s = 0.0                   # a power reading is the mean of so long
[accuracy]                          # left out: nobody vouches for it
of_reading = 0.01
source = "IEC 62053-21 class 1"
[[quantities]]
quantity = "joules"                 # a field of Reading
unit = "kWh"
scale = 0.1                         # of the raw number, to the unit
step = 0.1                          # of the number, in the unit; else that of an integer
modulus = 42949672.96               # where a counter wraps, in the unit; only where documented
absent = [-1]                       # raw numbers that mean: not measured
register = 52                       # and the words of the driver
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hwkit.errors import PlanError
from hwkit.meters.addressing import STATED, number_of, stated
from hwkit.meters.polled import QUANTITIES
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    from hwkit.plugins import Address

LARGEST = 1 << 20  # bytes of a profile
OPTIONS = (*STATED, "profile", "range")
UNITS = {
    "W": ("watts", 1.0),
    "kW": ("watts", 1e3),
    "J": ("joules", 1.0),
    "Wh": ("joules", 3600.0),
    "kWh": ("joules", 3.6e6),
    "V": ("volts", 1.0),
    "A": ("amperes", 1.0),
    "Hz": ("hertz", 1.0),
    "1": ("power_factor", 1.0),
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """One row: where a number lies, and what makes it one of SI."""

    name: str  # a field of Reading
    factor: float
    where: Mapping[str, Any]  # the driver's own words
    step: float | None = None  # J or W, as the number
    modulus: float | None = None
    absent: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a kind of instrument."""

    name: str
    model: str
    scope: Scope
    sources: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    settings: Mapping[str, Any]  # the driver's own words
    accuracy: Accuracy | None = None
    interval_s: float = 1.0
    averaging_s: float = 0.0

    def spec(self, address: Address, quantities: tuple[Quantity, ...]) -> MeterSpec:
        """Return the spec of a meter that reads these quantities; the address' options win.

        Raises PlanError for options that make no sense.
        """
        said = address.options
        step = {each.name: each.step for each in quantities}
        modulus = {each.name: each.modulus for each in quantities}
        usual = MeterSpec(
            name=f"{address}?{urlencode(said, safe=':/?%')}" if said else str(address),
            scope=self.scope,
            provenance=Provenance.METER,
            accuracy=self._accuracy(address),
            interval_s=self.interval_s,
            averaging_s=self.averaging_s,
            quantum_w=step.get("watts"),
            quantum_j=step.get("joules"),
            modulus_j=modulus.get("joules"),
            model=self.model,
            details={"profile": self.name, "sources": list(self.sources)},
        )
        return stated(address, usual)

    def _accuracy(self, address: Address) -> Accuracy | None:
        if self.accuracy is None or "range" not in address.options:
            return self.accuracy
        return replace(self.accuracy, range_w=number_of(address, "range", 1.0))


def load(
    kind: str, address: Address, row: Mapping[str, Any], settings: Mapping[str, Any]
) -> Profile:
    """Return the profile that an address names: one of ours, or a TOML file.

    `row` and `settings` are JSON Schemas of the driver's words, for a row and for the whole.
    Raises PlanError for no profile, an unknown one, and one that is not as this module says.
    """
    named = address.options.get("profile", "")
    if named.endswith(".toml"):
        name, text = named, _text(Path(named))
    elif named in known(kind):
        name, text = named, (_folder(kind) / f"{named}.toml").read_text(encoding="utf-8")
    else:
        has = ", ".join(known(kind))
        fault = f"there is no profile {named!r}" if named else "it needs a profile"
        raise PlanError(f"address {address}: {fault}: ?profile= one of {has}, or a FILE.toml")
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise PlanError(f"profile {name}: it is no TOML: {error}") from error
    return parse(name, document, row, settings)


def known(kind: str) -> list[str]:
    """Return the names of our own profiles of a kind."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _folder(kind).iterdir()
        if entry.name.endswith(".toml")
    )


def parse(
    name: str, document: dict[str, Any], row: Mapping[str, Any], settings: Mapping[str, Any]
) -> Profile:
    """Return the profile that a document describes. Raises PlanError as load."""
    from fastjsonschema import JsonSchemaValueException, validate  # noqa: PLC0415 - slow to import

    try:
        validate(_schema(row, settings), document)
        quantities = tuple(_quantity(each, row) for each in document["quantities"])
    except JsonSchemaValueException as error:
        fault = error.message.removeprefix("data.").removeprefix("data ")
        raise PlanError(f"profile {name}: {fault:.300}") from error
    except PlanError as error:
        raise PlanError(f"profile {name}: {error}") from error
    accuracy = document.get("accuracy")
    return Profile(
        name=name,
        model=document["model"],
        scope=Scope(document["scope"]),
        sources=tuple(document["sources"]),
        quantities=quantities,
        settings={key: document[key] for key in settings if key in document},
        accuracy=Accuracy(**accuracy) if accuracy else None,
        interval_s=document.get("interval_s", 1.0),
        averaging_s=document.get("averaging_s", 0.0),
    )


def fill(template: str, indices: Mapping[str, str]) -> str:
    """Put indices where a row leaves them open: '...4.{outlet}'. Raises PlanError for others."""
    try:
        return template.format_map(indices)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise PlanError(f"profile: {template!r} leaves open what has no default") from error


def scale(address: Address, key: str) -> float:
    """Return an option that is a factor, 1 where it is not given. Raises PlanError."""
    value = _finite(address.options.get(key, "1"))
    if value is None:
        raise PlanError(f"address {address}: {key} is a number, not {address.options[key]!r}")
    return value


def _schema(row: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a driver's profiles: no word that nobody reads."""
    number = {"type": "number"}
    positive = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e15}
    fraction = {"type": "number", "minimum": 0, "maximum": 0.2}
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    own = {key: {k: v for k, v in value.items() if k != "needed"} for key, value in row.items()}
    quantity = {
        "type": "object",
        "properties": {
            "quantity": {"enum": sorted(QUANTITIES)},
            "unit": {"enum": sorted(UNITS)},
            "scale": number,
            "step": positive,
            "modulus": positive,
            "absent": {"type": "array", "items": number},
        }
        | own,
        "required": ["quantity", "unit", *(key for key in row if row[key].get("needed"))],
        "additionalProperties": False,
    }
    accuracy = {
        "type": "object",
        "properties": {
            "of_reading": fraction,
            "of_range": fraction,
            "range_w": positive,
            "source": {"type": "string"},
        },
        "required": ["of_reading", "source"],
        "additionalProperties": False,
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "sources": texts,
            "scope": {"enum": [scope.value for scope in Scope]},
            "interval_s": positive,
            "averaging_s": {"type": "number", "minimum": 0, "maximum": 3600},
            "accuracy": accuracy,
            "quantities": {"type": "array", "items": quantity, "minItems": 1},
        }
        | dict(settings),
        "required": ["model", "sources", "scope", "quantities"],
        "additionalProperties": False,
    }


def _quantity(said: dict[str, Any], row: Mapping[str, Any]) -> Quantity:
    name, unit = UNITS[said["unit"]]
    if said["quantity"] != name:
        raise PlanError(f"{said['quantity']} in {said['unit']}: that is a unit of {name}")
    scale = float(said.get("scale", 1.0))
    if not scale or not math.isfinite(scale):
        raise PlanError(f"{name}: scale {scale:g} makes nothing of anything")
    step, modulus = said.get("step"), said.get("modulus")
    return Quantity(
        name=name,
        factor=scale * unit,
        where={key: said[key] for key in row if key in said},
        step=None if step is None else step * unit,
        modulus=None if modulus is None else modulus * unit,
        absent=tuple(said.get("absent", ())),
    )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            read = file.read(LARGEST + 1)
        if len(read) > LARGEST:
            raise PlanError(f"profile {path}: it is larger than any profile")
        return read.decode()
    except OSError as error:
        raise PlanError(f"profile {path}: it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"profile {path}: it is no UTF-8") from error


def _folder(kind: str) -> Traversable:
    return files("hwkit.meters") / "data" / kind


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
