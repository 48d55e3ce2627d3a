"""Meters by Modbus: 'modbus:HOST[:PORT]?profile=sdm120' or 'modbus:/dev/ttyUSB0?profile=sdm630'.

Options: unit (1), on a serial port baud, parity (N, E, O) and stopbits, behind a bare converter
from serial to network framing=rtu; scope, interval, accuracy and calibrated as all meters have.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from hwkit.errors import NoDevice, NoDriver, PlanError, ProtocolError
from hwkit.meters import profiles
from hwkit.meters.polled import PolledMeter
from hwkit.wire.modbus import FORMATS, ILLEGAL, MOST, Modbus, Refusal, decode, serial_port, size
from hwkit.wire.tcp import connect, endpoint, refuse_login, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hwkit.errors import Unavailable
    from hwkit.meters.profiles import Profile, Quantity
    from hwkit.plugins import Address

_REGISTER = {"type": "integer", "minimum": 0, "maximum": 65535}
_KIND = {"enum": ["input", "holding"]}
ROW: dict[str, Any] = {
    "register": _REGISTER | {"needed": True},
    "kind": _KIND | {"needed": True},
    "type": {"enum": sorted(FORMATS), "needed": True},
    "order": {"enum": ["big", "little"]},  # of the words
}
SETTINGS: dict[str, Any] = {
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "baud": {"type": "integer", "minimum": 300, "maximum": 1000000},
    "parity": {"enum": ["N", "E", "O"]},
    "block": {"type": "integer", "minimum": 1, "maximum": MOST},  # registers a request may span
    "identity": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "is": {"enum": ["model", "serial", "firmware"]},
                "register": _REGISTER,
                "kind": _KIND,
                "count": {"type": "integer", "minimum": 1, "maximum": 32},
                # "text": two characters a register, the high byte first; "swapped": the low one
                "as": {"enum": ["number", "text", "swapped"]},
                "among": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "required": ["is", "register", "kind", "count", "as"],
            "additionalProperties": False,
        },
    },
}


def find(address: Address | None) -> Iterator[ModbusMeter | Unavailable]:
    """Yield the meter at an address; without one nothing, for a bus is not searched."""
    if address is not None:
        refuse_login(address)
    if find_spec("pymodbus") is None:
        yield NoDriver("modbus", "pymodbus is missing: pip install 'hwkit[modbus]'")
    elif address is not None:
        meter = ModbusMeter(address)
        if meter.serial and find_spec("serial") is None:
            yield NoDriver(str(address), "pyserial is missing: pip install 'hwkit[modbus]'")
        else:
            yield meter


@dataclass(frozen=True, slots=True)
class Block:
    """Registers that one request fetches, so that their numbers are of one moment."""

    kind: str
    first: int
    count: int
    quantities: tuple[Quantity, ...]

    def halves(self) -> tuple[Block, ...]:
        """Return two, parted where most registers lie between that nobody wants."""
        firsts = [each.where["register"] for each in self.quantities]
        gaps = [after - before for before, after in pairwise(firsts)]
        at = gaps.index(max(gaps)) + 1
        return blocks(self.quantities[:at], MOST) + blocks(self.quantities[at:], MOST)


class ModbusMeter(PolledMeter[Modbus]):
    """An energy meter, on a network or on a serial line."""

    def __init__(self, address: Address) -> None:
        """Raises PlanError for an address that makes no sense."""
        address.allow(*profiles.OPTIONS, "unit", "baud", "parity", "stopbits", "framing")
        self._profile = profiles.load("modbus", address, ROW, SETTINGS)
        super().__init__(self._profile.spec(address, self._profile.quantities))
        self.serial = address.place.startswith(("/", "COM"))
        self._unit = address.integer("unit") or 1
        if self._unit > 247:
            raise PlanError(f"address {address}: a unit is a number from 1 to 247")
        self._line = _line(address, self._profile) if self.serial else None
        self._framing = _one_of(address, "framing", "rtu" if self.serial else "socket", _FRAMINGS)
        port = self._profile.settings.get("port", 502)
        self._host, self._port = ("", 0) if self.serial else endpoint(address, port)
        self._places: list[tuple[int, tuple[str, int]]] = []
        self._blocks = blocks(self._profile.quantities, self._profile.settings.get("block", 60))

    def _connect(self, deadline: float) -> Modbus:
        if self._line:
            return Modbus(serial_port(*self._line), self._framing)
        # A name is looked up once: a resolver that hangs is not to hold up a reading.
        self._places = self._places or resolve(self._host, self._port, socket.SOCK_STREAM)
        return Modbus(connect(self._places, deadline), self._framing)

    def _identify(self, wire: Modbus, deadline: float) -> Mapping[str, str]:
        said = {}
        for each in self._profile.settings.get("identity", ()):
            try:
                came = wire.read(
                    each["kind"], each["register"], each["count"], self._unit, deadline
                )
            except Refusal as refusal:
                if "among" in each:
                    raise self._stranger(str(refusal)) from refusal
                continue  # an older one, that does not tell
            said[each["is"]] = _identity(came, each["as"], each.get("among"), self._stranger)
        try:
            self._ask(wire, deadline)  # a register that it does not have is better known now
        except Refusal as refusal:
            raise self._stranger(str(refusal)) from refusal
        return said

    def _ask(self, wire: Modbus, deadline: float) -> list[tuple[Quantity, float | None]]:
        found: list[tuple[Quantity, float | None]] = []
        todo, done = list(self._blocks), []
        while todo:
            block = todo.pop(0)
            try:
                came = wire.read(block.kind, block.first, block.count, self._unit, deadline)
            except Refusal as refusal:
                if refusal.code not in ILLEGAL or len(block.quantities) == 1:
                    raise
                todo[:0] = block.halves()  # some refuse to be asked for what lies between
                continue
            done.append(block)
            for quantity in block.quantities:
                at = quantity.where["register"] - block.first
                kind = quantity.where["type"]
                words = came[at : at + size(kind)]
                order = quantity.where.get("order", "big")
                found.append((quantity, decode(words, kind, order)))
        self._blocks = tuple(done)
        return found

    def _stranger(self, why: str) -> NoDevice:
        return NoDevice(self.spec.name, f"no {self._profile.model}? {why}; check profile and unit")

    def _advice(self) -> str:
        line = "baud, parity" if self.serial else "that Modbus is enabled"
        return f": check unit {self._unit}, {line} and the wiring"


def blocks(quantities: tuple[Quantity, ...], most: int) -> tuple[Block, ...]:
    """Return the fewest requests that fetch these quantities, each of `most` registers at most."""
    found: list[Block] = []
    for each in sorted(quantities, key=lambda q: (q.where["kind"], q.where["register"])):
        kind, first = each.where["kind"], each.where["register"]
        end = first + size(each.where["type"])
        if found and found[-1].kind == kind and end - found[-1].first <= most:
            last = found.pop()
            count = max(last.count, end - last.first)
            found.append(Block(kind, last.first, count, (*last.quantities, each)))
        else:
            found.append(Block(kind, first, end - first, (each,)))
    return tuple(found)


_FRAMINGS = ("socket", "rtu")


def _line(address: Address, profile: Profile) -> tuple[str, int, str, int]:
    baud = address.integer("baud") or profile.settings.get("baud", 9600)
    usual = profile.settings.get("parity", "N")
    parity = _one_of(address, "parity", usual, ("N", "E", "O"))
    return address.place, baud, parity, int(_one_of(address, "stopbits", "1", ("1", "2")))


def _one_of(address: Address, key: str, usual: str, known: tuple[str, ...]) -> str:
    said = address.options.get(key, usual)
    if said not in known:
        raise PlanError(f"address {address}: {key} is {' or '.join(known)}, not {said!r}")
    return said


def _identity(
    registers: list[int],
    form: str,
    among: dict[str, str] | None,
    stranger: Callable[[str], NoDevice],
) -> str:
    """Return what identity registers say. Raises what `stranger` makes of one not looked for."""
    if form == "number":
        code = str(int.from_bytes(b"".join(word.to_bytes(2, "big") for word in registers), "big"))
        if among is not None and code not in among:
            raise stranger(f"its identification code is {code}")
        return among[code] if among else code
    order: Literal["little", "big"] = "little" if form == "swapped" else "big"
    # Some fill each register with one character, the other byte being 0.
    text = b"".join(word.to_bytes(2, order) for word in registers).replace(b"\0", b"").strip()
    try:
        said = text.decode("ascii")
    except UnicodeDecodeError as error:
        raise ProtocolError("its name is no text", text) from error
    if among is not None and said not in among:
        raise stranger(f"it says that it is {said!r}")
    return among[said] if among else said
