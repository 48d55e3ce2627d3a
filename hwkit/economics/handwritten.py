"""TOML that somebody wrote by hand: a size cap, and errors that say what is wrong and where."""

from __future__ import annotations

import tomllib
from typing import Any

from hwkit.errors import PlanError

LARGEST = 1 << 20  # bytes: far more than anybody types


def read_table(text: str, where: str) -> dict[str, Any]:
    """Read TOML. Raises PlanError for what is none, or too long to have been written by hand."""
    if len(text) > LARGEST:
        raise PlanError(f"{where}: {len(text)} characters were not written by hand")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{where}: not TOML: {error}") from error


def number(row: dict[str, Any], name: str, where: str, limits: tuple[float, float]) -> float | None:
    """Return a number of a table, None where there is none. Raises PlanError beyond the limits."""
    least, most = limits
    value = row.get(name)
    if value is None:
        return None
    if type(value) not in {int, float} or not least <= value <= most:
        raise PlanError(f"{where}: {name} is a number from {least:g} to {most:g}, not {value!r}")
    return float(value)


def whole(row: dict[str, Any], name: str, where: str, limits: tuple[int, int]) -> int | None:
    """Return a whole number of a table, None where there is none. Raises PlanError."""
    least, most = limits
    value = row.get(name)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise PlanError(f"{where}: {name} is a whole number from {least} to {most}, not {value!r}")
    return value
