"""What a path cannot say: functions that take text in an answer apart. Pure; all else stays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hwkit.wire.cgminer_text import brackets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECTION = re.compile(r"'(\w+)':\{(.*?)\}(?=,?'|\s*$|,)", re.DOTALL)
_MODULE = re.compile(r"MM ID[0-9]+(:Summary)?|HBinfo")


def _brackets(document: Any) -> Any:  # noqa: ANN401 - JSON
    """Avalon: "MM ID0": "Ver[..] PS[..]" and "MM ID0:Summary": "'STATS':{Ver[..]}" become objects.

    Sections are taken together, a section HB0 under its name; what is an object already stays.
    """
    return _members(
        document,
        lambda key, value: (
            (key.removesuffix(":Summary"), _module(value)) if _MODULE.fullmatch(key) else None
        ),
    )


def _module(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return value.get("STATS", value)
    if not isinstance(value, str):
        return value
    sections = _SECTION.findall(value)
    if not sections:
        return brackets(value)
    inner = {name: brackets(said) for name, said in sections}
    return inner.pop("STATS", {}) | inner


def _error_codes(document: Any) -> Any:  # noqa: ANN401
    """Whatsminer: {"218": "when", "reason": "why"} becomes {"code": "218", "reason": "why"}."""
    return _members(
        document,
        lambda key, value: (key, _codes(value)) if key in {"error_code", "error-code"} else None,
    )


def _members(
    document: Any,  # noqa: ANN401
    change: Callable[[str, Any], tuple[str, Any] | None],
    deepest: int = 8,
) -> Any:  # noqa: ANN401
    """Replace members of objects anywhere but in the depths, where no miner has any."""
    if deepest == 0:
        return document
    if isinstance(document, list):
        return [_members(each, change, deepest - 1) for each in document]
    if not isinstance(document, dict):
        return document
    return dict(
        change(key, value) or (key, _members(value, change, deepest - 1))
        for key, value in document.items()
    )


def _codes(value: Any) -> list[dict[str, str]]:  # noqa: ANN401
    """Return codes of [218], ["218"], [{"218": when}], and of {"218": when} (2.0.4)."""
    entries = value if isinstance(value, list) else [value]
    found = []
    for entry in entries:
        if isinstance(entry, dict):
            reason = str(entry.get("reason", ""))
            codes = [key for key in entry if key.isdigit()]
        else:
            reason, codes = "", [] if entry in ("", None) else [str(entry)]
        found += [{"code": f"{code}: {reason}" if reason else code} for code in codes]
    return found


def _msg(document: Any) -> Any:  # noqa: ANN401
    """Whatsminer 2: a summary whose object Msg stands for the list SUMMARY."""
    if isinstance(document, dict) and isinstance(document.get("Msg"), dict):
        return document | {"SUMMARY": [document["Msg"]]}
    return document


FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    "brackets": _brackets,
    "error_codes": _error_codes,
    "msg": _msg,
}
