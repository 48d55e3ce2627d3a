"""Laboratory instruments by SCPI over TCP: 'scpi:HOST[:PORT]?profile=wt300'.

Options: what the profile leaves open, as element or channel; or without a profile query and scale
(to W); scope, interval, accuracy, range and calibrated as all meters have.
"""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwkit.errors import NoDevice, PlanError, ProtocolError, Unavailable
from hwkit.meters import profiles
from hwkit.meters.polled import PolledMeter
from hwkit.wire.scpi import Scpi, number
from hwkit.wire.tcp import endpoint, refuse_login, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.meters.profiles import Profile, Quantity
    from hwkit.plugins import Address

_LINE = {"type": "string", "pattern": r"^[ -~]{1,200}$"}
ROW: dict[str, Any] = {
    "query": _LINE | {"needed": True},  # rows with one query share its answer
    "field": {"type": "integer", "minimum": 0, "maximum": 254},  # counted between its commas
}
SETTINGS: dict[str, Any] = {
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "indices": {"type": "object", "additionalProperties": {"type": "string"}},
    "identity": {"type": "string"},  # a regular expression for the answer to *IDN?
    "errors": _LINE,  # the query that takes an error off the instrument's queue
    "setup": {"type": "array", "items": _LINE},
    "range": {
        "type": "object",
        "properties": {"volts": _LINE, "amperes": _LINE},
        "required": ["volts", "amperes"],
        "additionalProperties": False,
    },
}
_QUEUE = 32  # errors that an instrument remembers


def find(address: Address | None) -> Iterator[ScpiMeter | Unavailable]:
    """Yield the meter at an address; without one nothing, for a network is not searched."""
    if address is not None:
        refuse_login(address)
    if address is not None:
        yield ScpiMeter(address)


class ScpiMeter(PolledMeter[Scpi]):
    """A power meter, an electronic load or a supply that tells what it measures."""

    def __init__(self, address: Address) -> None:
        """Raises PlanError for an address that makes no sense."""
        self._profile = profile = _profile(address)
        indices = dict(profile.settings.get("indices", {}))
        address.allow(*profiles.OPTIONS, "query", "scale", *sorted(indices))
        indices |= {key: address.options[key] for key in indices.keys() & address.options.keys()}
        for key, word in indices.items():
            if not re.fullmatch(r"[A-Za-z0-9]{1,8}", word, re.ASCII):
                raise PlanError(f"address {address}: {key} {word!r} is no word of SCPI")
        super().__init__(profile.spec(address, profile.quantities))
        self._host, self._port = endpoint(address, profile.settings.get("port", 5025))
        self._places: list[tuple[int, tuple[str, int]]] = []
        self._setup = [profiles.fill(line, indices) for line in profile.settings.get("setup", ())]
        self._queries: dict[str, list[Quantity]] = {}
        for each in profile.quantities:
            query = profiles.fill(each.where["query"], indices)
            self._queries.setdefault(query, []).append(each)

    def _connect(self, deadline: float) -> Scpi:
        # A name is looked up once: a resolver that hangs is not to hold up a reading.
        self._places = self._places or resolve(self._host, self._port, socket.SOCK_STREAM)
        wire = Scpi.connect(self._places, deadline)
        try:
            self._set_up(wire, deadline)
        except BaseException:
            wire.close()
            raise
        return wire

    def _set_up(self, wire: Scpi, deadline: float) -> None:
        """Say which items are wanted; after a power cut the instrument has forgotten them."""
        errors = self._profile.settings.get("errors")
        if errors:
            for _ in range(_QUEUE):  # those of others before us
                if number(wire.ask(errors, deadline).partition(",")[0]) == 0:
                    break
        for line in self._setup:
            wire.tell(line)
        if errors and self._setup:
            said = wire.ask(errors, deadline)
            if number(said.partition(",")[0]) != 0:
                why = f"no {self._profile.model}? It refuses the profile's setup: {said:.80}"
                raise NoDevice(self.spec.name, why)

    def _identify(self, wire: Scpi, deadline: float) -> Mapping[str, str]:
        name = wire.ask("*IDN?", deadline)
        wanted = self._profile.settings.get("identity")
        if wanted and not re.match(wanted, name, re.IGNORECASE):
            why = f"no {self._profile.model}: it says that it is {name!r:.80}; another profile?"
            raise NoDevice(self.spec.name, why)
        said = dict(zip(("maker", "model", "serial", "firmware"), name.split(","), strict=False))
        said = {key: text.strip() for key, text in said.items() if text.strip() not in {"", "0"}}
        self._ask(wire, deadline)
        return said | self._range(wire, deadline)

    def _range(self, wire: Scpi, deadline: float) -> dict[str, str]:
        """Return the range that the accuracy's second term is of."""
        queries = self._profile.settings.get("range")
        if not queries:
            return {}
        volts, amperes = (wire.ask(queries[key], deadline) for key in ("volts", "amperes"))
        if amperes.upper().startswith("EXT"):
            return {"range": f"{volts} V, external sensor {amperes}"}  # its scaling is the user's
        range_w = number(volts) * number(amperes)
        accuracy = self.spec.accuracy
        if accuracy and accuracy.range_w and abs(accuracy.range_w / range_w - 1) > 1e-3:
            why = f"its range is {range_w:g} W, not the {accuracy.range_w:g} W of the address"
            raise Unavailable(self.spec.name, why)
        if accuracy and accuracy.range_w is None:
            self._spec = replace(self._spec, accuracy=replace(accuracy, range_w=range_w))
        return {"range_w": f"{range_w:g}"}

    def _ask(self, wire: Scpi, deadline: float) -> list[tuple[Quantity, float | None]]:
        found: list[tuple[Quantity, float | None]] = []
        for query, quantities in self._queries.items():
            answer = wire.ask(query, deadline)
            fields = answer.split(",")
            for quantity in quantities:
                at = quantity.where.get("field", 0)
                if at >= len(fields):
                    raise ProtocolError(f"{query}: {len(fields)} numbers came", answer.encode())
                found.append((quantity, number(fields[at])))
        return found

    def _advice(self) -> str:
        return f": does it listen for SCPI on a raw socket at port {self._port}?"


def _profile(address: Address) -> Profile:
    """Return the profile that an address names, or the one that its options are."""
    if "query" not in address.options:
        return profiles.load("scpi", address, ROW, SETTINGS)
    if "profile" in address.options:
        raise PlanError(f"address {address}: a profile, or query and scale: not both")
    row: dict[str, Any] = {"quantity": "watts", "unit": "W", "query": address.options["query"]}
    row["scale"] = profiles.scale(address, "scale")
    model = "any by SCPI"
    document = {"model": model, "sources": ["the address"], "scope": "wall", "quantities": [row]}
    return profiles.parse(str(address), document, ROW, SETTINGS)
