"""The shape of a document in today's schema: anybody may have written it, so nothing is assumed."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hwkit.errors import RecordError
from hwkit.records.upgrades import SCHEMA
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST = 1 << 96  # of whole numbers, as in the schema


def refuse_misshapen(document: dict[str, Any]) -> None:
    """Raise RecordError at the first thing that is not as the JSON Schema beside this file says."""
    from fastjsonschema import JsonSchemaValueException  # noqa: PLC0415 - slow to import

    try:
        _validator()(document)
    except JsonSchemaValueException as error:
        fault = error.message.removeprefix("data.")
        if error.rule == "type":  # as other findings: what is, not what must be
            fault = fault.replace(" must be ", " is no ")
        raise RecordError(f"not a record of schema {SCHEMA}: {plain(fault):.300}") from error


@cache
def _validator() -> Callable[[dict[str, Any]], object]:
    from fastjsonschema import compile as compiled  # noqa: PLC0415 - slow to import

    text = (files("hwkit.records") / f"schema-{SCHEMA}.json").read_text(encoding="utf-8")
    return compiled(json.loads(text))


def is_number(value: object) -> bool:
    """Is it a number, neither a bool nor infinite nor too large to compute with?"""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST
