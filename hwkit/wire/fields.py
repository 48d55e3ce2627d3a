"""Numbers out of JSON that somebody else wrote: each a finite number in SI units, or an error."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from hwkit.errors import PlanError, ProtocolError
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SHOWN = 200  # bytes of what makes no sense
_ABSENT = object()
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """Where a number is (a JSON Pointer, RFC 6901) and what makes it SI units."""

    pointer: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Raise PlanError for what is no pointer."""
        if self.pointer and not self.pointer.startswith("/"):
            said = f"{self.pointer!r} is no JSON pointer (RFC 6901), as in /ENERGY/Power"
            raise PlanError(said)


def parse(peer: str, text: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON document. Raises ProtocolError for anything else; NaN is none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        said = f"{peer}: answers with what is no JSON: {text[:60]!r}"
        raise ProtocolError(said, text[:SHOWN]) from error


def numbers(
    peer: str, document: object, fields: Mapping[str, Field], required: Collection[str]
) -> dict[str, Any]:
    """Return those of the fields that the document has, floats in SI units: parts of a Reading.

    Raises ProtocolError naming the field for what is no finite number, and for a required one that
    is absent or null.
    """
    found: dict[str, Any] = {}
    for name, field in fields.items():
        value = _at(document, field.pointer)
        if value is _ABSENT or value is None:
            if name in required:
                raise _fault(peer, document, f"says nothing of {field.pointer or 'a number'}")
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            where = field.pointer or "its answer"
            raise _fault(peer, document, f"{where} is no number but {_short(value)}")
        try:
            number = value * field.scale
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise _fault(peer, document, f"{field.pointer} is beyond all measure")
        found[name] = number
    return found


def text(document: object, pointer: str) -> str | None:
    """Return what the document says there as a short printable text; None where it says nothing."""
    value = _at(document, pointer)
    if value is _ABSENT or value is None or isinstance(value, (dict, list)):
        return None
    return plain(value)[:80] or None


def has(document: object, pointer: str) -> bool:
    """Is there anything but null?"""
    value = _at(document, pointer)
    return value is not _ABSENT and value is not None


def _at(document: object, pointer: str) -> object:
    for escaped in pointer.split("/")[1:]:
        token = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(token, _ABSENT)
        elif isinstance(document, list) and _INDEX.fullmatch(token):
            document = document[int(token)] if int(token) < len(document) else _ABSENT
        else:
            return _ABSENT
    return document


def _fault(peer: str, document: object, what: str) -> ProtocolError:
    return ProtocolError(f"{peer}: {what}", repr(document)[:SHOWN].encode(errors="replace"))


def _short(value: object) -> str:
    if isinstance(value, list):
        return "a list (name one with its index)"
    if isinstance(value, dict):
        return "an object"
    return repr(value) if isinstance(value, bool) else repr(plain(value)[:40])


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
