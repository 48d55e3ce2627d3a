"""Figures with their uncertainty, and how they print."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

_PREFIXES = {-3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}
_SCALED = {"H/s", "H", "Hz", "J", "W", "s", "J/TH"}  # units that take an SI prefix


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value with its 95 % interval, both in `unit`."""

    value: float
    lo: float
    hi: float
    unit: str

    @classmethod
    def bare(cls, value: float, unit: str) -> Self:
        """Return a value for which no interval can speak."""
        return cls(value, value, value, unit)

    @property
    def U(self) -> float:  # noqa: N802 - the symbol of the GUM (JCGM 100:2008)
        """The expanded uncertainty: half the width of the 95 % interval."""
        return (self.hi - self.lo) / 2

    @property
    def relative(self) -> float:
        """U as a fraction of the value; infinite for a value of 0."""
        return self.U / abs(self.value) if self.value else math.inf

    def __str__(self) -> str:
        """Show value and uncertainty to the same decimal, as in '25.61 ± 0.12 MH/s'.

        Where nothing was seen, the upper bound.
        """
        if self.lo == self.value == 0 < self.hi:
            return f"at most {show(self.hi, self.unit)}"
        scale, prefix = prefixed(max(abs(self.value), self.U)) if self.scales else (1.0, "")
        value, U = self.value / scale, self.U / scale  # noqa: N806
        decimals = _decimals(U if U > 0 else abs(value) / 1000)
        return f"{value:.{decimals}f} ± {U:.{decimals}f} {prefix}{self.unit}"

    @property
    def scales(self) -> bool:
        """Does the unit take an SI prefix?"""
        return self.unit in _SCALED

    def to_json(self) -> dict[str, Any]:
        """Return the figure as records and --json print it."""
        return {"value": self.value, "U": self.U, "lo": self.lo, "hi": self.hi, "unit": self.unit}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read back what to_json wrote; U follows from the interval."""
        return cls(document["value"], document["lo"], document["hi"], document["unit"])


def show(value: float, unit: str, digits: int = 4) -> str:
    """Return a bare value with an SI prefix and so many significant digits: '25.61 MH/s'."""
    scale, prefix = prefixed(abs(value))
    return f"{value / scale:.{digits}g} {prefix}{unit}"


def plain(text: object) -> str:
    """Return text without what could steer a terminal: a record may be anybody's."""
    return "".join(char if char.isprintable() else "\ufffd" for char in str(text))


def prefixed(magnitude: float) -> tuple[float, str]:
    """Return the scale and SI prefix that leave one to three digits before the point."""
    if magnitude == 0 or not math.isfinite(magnitude):
        return 1.0, ""
    power = min(max(math.floor(math.log10(magnitude) / 3), min(_PREFIXES)), max(_PREFIXES))
    return 10.0 ** (3 * power), _PREFIXES[power]


def _decimals(U: float) -> int:  # noqa: N803
    """Two significant digits of the uncertainty decide where the value is rounded."""
    if U == 0 or not math.isfinite(U):
        return 3
    leading = math.floor(math.log10(float(f"{U:.1e}")))  # after rounding: 0.0996 is 0.10
    return min(max(1 - leading, 0), 6)
