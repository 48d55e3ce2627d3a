"""The door by which every hasher and meter comes in, ours too: entry points.

A plugin names a function `find(address: Address | None)` under the entry point group
hwkit.hashers or hwkit.meters, the entry point's name being the first word of its addresses. With
None it yields everything that is here and, as Unavailable values, the reason for what is not; with
an address, that one. HWKIT_WITHOUT=opencl,cuda leaves kinds out of the first, for a driver that
only hangs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

from hwkit.errors import NoDevice, NoDriver, PlanError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hwkit.protocols import Hasher, Meter


@dataclass(frozen=True, slots=True)
class Address:
    """`scheme:place?key=value&...`: 'cpu:avx2?threads=2'."""

    scheme: str
    place: str
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. Raises PlanError for a malformed one."""
        path, _, query = text.partition("?")
        scheme, _, place = path.partition(":")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise PlanError(f"address {text!r}: after '?' come key=value pairs") from error
        if not scheme:
            raise PlanError(f"address {text!r}: it starts with a kind, as in 'cpu:avx2'")
        options = dict(pairs)
        if len(options) < len(pairs):
            raise PlanError(f"address {text!r}: an option is given twice")
        return cls(scheme, place, options)

    def __str__(self) -> str:
        """Return the address without its options."""
        return f"{self.scheme}:{self.place}" if self.place else self.scheme

    def allow(self, *keys: str) -> None:
        """Raise PlanError for an option that this kind of device does not have."""
        for key in self.options:
            if key not in keys:
                has = f"it has {', '.join(keys)}" if keys else "it has none"
                raise PlanError(f"address {self}: no option {key!r}; {has}")

    def integer(self, key: str) -> int | None:
        """Return an option as a positive integer, None when it is not given."""
        if key not in self.options:
            return None
        text = self.options[key]
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
            raise PlanError(f"address {self}: {key} is a number from 1 to 999999999, not {text!r}")
        return int(text)


def hashers(address: str | None = None) -> Iterator[Hasher | Unavailable]:
    """Yield the hashers of this machine, or the one addressed, and what is absent with its reason.

    Raises PlanError for an address of no known kind.
    """
    yield from _find("hwkit.hashers", address)


def meters(address: str | None = None) -> Iterator[Meter | Unavailable]:
    """Yield the meters of this machine, or the one addressed, and what is absent with its reason.

    Raises PlanError for an address of no known kind.
    """
    yield from _find("hwkit.meters", address)


def meter_kinds() -> list[str]:
    """Return the first words that a meter's address can have."""
    return sorted({door.name for door in entry_points(group="hwkit.meters")})


def _find(group: str, text: str | None) -> Iterator[Any]:
    doors = {door.name: door for door in entry_points(group=group)}
    if text is None:
        without = os.environ.get("HWKIT_WITHOUT", "").split(",")
        for name, door in sorted(doors.items()):
            if name in without:
                yield NoDevice(name, "left out: HWKIT_WITHOUT names it")
            else:
                yield from _through(door, None)
        return
    address = Address.parse(text)
    if address.scheme not in doors:
        known = ", ".join(sorted(doors)) or "none"
        raise PlanError(f"address {text!r}: no such kind {address.scheme!r}; known: {known}")
    yield from _through(doors[address.scheme], address)


def _through(door: EntryPoint, address: Address | None) -> Iterator[Any]:
    try:
        find = door.load()
    except Exception as error:  # noqa: BLE001 - someone else's module: it may fail in any way
        why = f"its plugin does not load: {type(error).__name__}: {error}"
        yield NoDriver(door.name, why)
        return
    yield from find(address)
