"""The cgminer API's text form, and the brackets that Avalons put into it (cgminer 4.11.1, api.c).

    STATUS=S,When=1,Code=11,Msg=Summary,Description=cgminer|SUMMARY,Elapsed=98,MHS av=0.00|

A section ends with a bar, a field with a comma; a backslash makes | , = and itself plain.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from hwkit.errors import ProtocolError
from hwkit.wire.repair import BAD_ESCAPE, SHOWN, Truncated, named, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

UNESCAPED_COMMA = "unescaped comma"  # in a value: what follows it has no =
STRAY_WORD = "field without a value"  # left out
MISSING_BAR = "missing bar at the end"

# What JSON calls a list of sections, where that is not the name of each.
_LISTS = {"POOL": "POOLS", "ASC": "DEVS", "PGA": "DEVS", "CPU": "DEVS", "GPU": "DEVS"}
_LISTS |= {"DEVDETAILS": "DEVS"}
_OF_ONE = {"17", "57", "106"}  # answers to gpu|N, pga|N and asc|N: JSON has that name in singular

_PIECE = re.compile(r"([^\\|,=]++)|([|,=])|\\([\\|,=])|(\\)")
_BRACKETS = re.compile(r"(\w++)\[([^][]*+)\]|\w++|'([^']*+)':\{([^{}]*+)\}")


def loads(raw: bytes, peer: str = "answer") -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what the JSON form would have been, and the names of what had to be repaired.

    All values are text: this form does not tell the number 3.10 from a version 3.10. Raises
    Truncated for one that has neither its last bar nor a NUL, ProtocolError for what is no such
    text; both with the bytes.
    """
    repairs: Counter[str] = Counter()
    text, nul = opened(raw, repairs)
    text = text.rstrip("\t\r\n ")
    if not text.startswith(("STATUS=", "CMD=")):
        said = f"{peer}: neither JSON nor the API's text: {text[:SHOWN]!r}"
        raise ProtocolError(said, raw)
    if not text.endswith("|"):
        if not nul:
            raise Truncated(f"{peer}: cut off after {len(raw)} bytes: ask again", raw)
        repairs[MISSING_BAR] += 1
        text += "|"
    whole: dict[str, Any] = {}
    part, lists = whole, _LISTS
    parts = []
    for fields in _sections(text, repairs):
        name, value = fields[0]
        if name == "CMD" and value is not None:
            part = {}
            parts.append(part)
            whole.setdefault(value, []).append(part)
            continue
        section = {key: said for key, said in fields if said is not None}
        if name == "STATUS":
            lists = {} if section.get("Code") in _OF_ONE else _LISTS
        part.setdefault(lists.get(name, name), []).append(section)
    for each in (whole, *parts):
        each["id"] = 1
    return whole, named(repairs)


def brackets(text: str) -> dict[str, str]:
    """Return the values of "Key[value] Key[value]", an Avalon's module in one string.

    A group as newer ones have it, "'HB0':{Key[value] ...}", is a value to be taken apart again.
    What is of neither form is left out.
    """
    found = _BRACKETS.finditer(text)
    pairs = (item.group(1, 2) if item[1] else item.group(3, 4) for item in found)
    return {key: value for key, value in pairs if key is not None}


def _sections(text: str, repairs: Counter[str]) -> Iterator[list[tuple[str, str | None]]]:
    """Yield each section's fields; one without = has None, as the first often is: a bare name."""
    fields: list[tuple[str, str | None]] = []
    key: str | None = None
    parts: list[str] = []
    for piece in _PIECE.finditer(text):
        mark = piece[2]
        if mark == "=" and key is None:
            key, parts = "".join(parts), []
        elif mark and mark != "=":
            fields.append(("".join(parts), None) if key is None else (key, "".join(parts)))
            key, parts = None, []
            if mark == "|":
                yield _joined(fields, repairs)
                fields = []
        else:
            if piece[4]:
                repairs[BAD_ESCAPE] += 1
            parts.append(piece[3] or piece[0])


def _joined(
    fields: list[tuple[str, str | None]], repairs: Counter[str]
) -> list[tuple[str, str | None]]:
    """Return the fields; what a comma cut off a value is put back."""
    whole = fields[:1]
    for key, value in fields[1:]:
        before, begun = whole[-1]
        if value is None and begun is None:
            repairs[STRAY_WORD] += 1
        elif value is None:
            repairs[UNESCAPED_COMMA] += 1
            whole[-1] = before, f"{begun},{key}"
        else:
            whole.append((key, value))
    return whole
