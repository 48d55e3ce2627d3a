"""The shape of a document in today's schema: anybody may have written it, so nothing is assumed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hwkit.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1 << 96  # above any count or time of ours, and safe to compute with

# A dict: these keys, and perhaps others. {...: shape}: any keys. A list: any number of its one
# element. A tuple: one of these. `float` takes whole numbers too.
_TEXT = (str, None)
SHAPE: dict[Any, Any] = {
    "schema": int,
    "id": str,
    "began": str,
    "began_ns": int,
    "ended_ns": int,
    "state": str,
    "why": str,
    "session": str,
    "hwkit": str,
    "clock": {"utc": str, "monotonic_ns": int},
    "plan": {"precision": (float, None), "challenge": _TEXT, "beacon": _TEXT},
    "job": {
        "prev_hash": str,
        "coinbase1": str,
        "coinbase2": str,
        "extranonce1": str,
        "extranonce2_size": int,
        "branch": [str],
        "version": int,
        "version_mask": int,
        "nbits": int,
        "ntime": int,
        "target": str,
        "serial": int,
    },
    "device": {
        "name": str,
        "basis": str,
        "resource": str,
        "threads": (int, None),
        "details": {...: object},
    },
    "proof": (None, {"verdict": str}),
    "auditor": _TEXT,
    "host": {
        "cpu": {"model": _TEXT, "usable": (int, None), "virtual": (bool, None)},
        "system": _TEXT,
        "kernel": _TEXT,
        "machine": _TEXT,
        "python": _TEXT,
        "compiler": _TEXT,
    },
    "figures": {...: {"value": float, "lo": float, "hi": float, "unit": str}},
    "counts": {"windows": int, "hashes": int, "shares": int, "wall_ns": int, "busy_ns": int},
    "spread": (float, None),
    "audit": {"chunks": int, "nonces": int, "hits": int, "missing_at_most": (float, None)},
    "caveats": [{"caveat": str, "finding": str, "advice": str}],
    "rows": {...: [{"rows": int, "sha256": str}]},
}


def refuse_misshapen(document: dict[str, Any]) -> None:
    """Raise RecordError at the first thing that is not as SHAPE has it."""
    if fault := _fault(document, SHAPE, ""):
        raise RecordError(f"not a record of schema {document['schema']}: {fault}")


def is_number(value: object) -> bool:
    """Is it a number, neither a bool nor infinite nor too large to compute with?"""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST


def _fault(value: Any, shape: Any, path: str) -> str | None:  # noqa: ANN401 - JSON and its shape
    """Say what is wrong with a value; None: nothing."""
    if isinstance(shape, tuple):
        faults = [_fault(value, choice, path) for choice in shape]
        return None if None in faults else faults[0]
    if isinstance(shape, dict | list):
        if type(value) is not type(shape):
            return f"{path or 'it'} is no {'object' if isinstance(shape, dict) else 'list'}"
        return next(filter(None, _faults_within(value, shape, path)), None)
    return None if _is_plain(value, shape) else f"{path} is no {getattr(shape, '__name__', shape)}"


def _faults_within(value: Any, shape: Any, path: str) -> Iterator[str | None]:  # noqa: ANN401
    if isinstance(shape, list):
        for place, each in enumerate(value):
            yield _fault(each, shape[0], f"{path}[{place}]")
        return
    for key, inner in (dict.fromkeys(value, shape[...]) if ... in shape else shape).items():
        where = f"{path}.{key}" if path else str(key)
        yield _fault(value[key], inner, where) if key in value else f"{where} is missing"


def _is_plain(value: object, kind: type | None) -> bool:
    if kind is None:
        return value is None
    if kind is str:  # half of a surrogate pair is text to JSON and to nothing else
        return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)
    if kind is int:
        return isinstance(value, int) and is_number(value)
    return is_number(value) if kind is float else isinstance(value, kind)
