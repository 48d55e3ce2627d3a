"""A person who reads a counter: a kWh meter on the wall, a plug with a display."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from hwkit.errors import DeviceLost
from hwkit.meters.addressing import KWH, WH, name_of, stated
from hwkit.protocols import MeterSpec, Provenance, Reading, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.plugins import Address
    from hwkit.protocols import Meter

# 1234.5 is kWh to 0.1; a decimal comma, and the unit of another display, are taken too.
_TYPED = re.compile(r"([0-9]{1,12}(?:[.,][0-9]{1,9})?) ?(mwh|kwh|wh)?", re.ASCII | re.IGNORECASE)
_UNITS = {"mwh": 1000 * KWH, "kwh": KWH, "wh": WH}


def find(address: Address | None) -> Iterator[Meter]:
    """Yield the person, once asked for."""
    if address is not None:
        yield Manual(address)


class Manual:
    """Asks for the counter at each reading: at a run's two ends."""

    def __init__(self, address: Address) -> None:
        """Costs no I/O; `manual:LABEL` tells several counters apart."""
        address.allow("scope", "accuracy", "calibrated")  # its quantum is what is typed
        self._label = address.place or "the energy counter"
        self._last: float | None = None
        self._asked = 0
        usual = MeterSpec(name_of(address), Scope.WALL, Provenance.MANUAL, interval_s=None)
        self._spec = stated(address, usual)

    @property
    def spec(self) -> MeterSpec:
        """What it is; its quantum is known once a value was typed: the coarsest of them."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Return nothing: a display has not said what it is."""
        self._asked = 0
        return {}

    def read(self) -> Reading:
        """Ask until an energy is typed; how long that takes is up to a person.

        The first is asked for as the start's, the next as the end's, and so on. A value below the
        last one is taken when it is typed twice. Raises DeviceLost when nobody is there to answer
        (end of file), KeyboardInterrupt on Ctrl-C.
        """
        asked = time.monotonic_ns()
        doubted: float | None = None
        when = ("start", "end")[self._asked % 2]
        self._asked += 1
        said = f"What does {self._label} read at the {when}?"
        question = f"{said} (kWh, all digits, as in 1234.56) "
        while True:
            line = ask(question)
            if not line:
                what = f"what {self._label} reads at the {when}"
                raise DeviceLost(f"{self._spec.name}: nobody typed {what}")
            took_ns = time.monotonic_ns() - asked
            typed = _TYPED.fullmatch(line.strip())
            if typed is None:
                question = f"{line.strip()[:40]!r} is no energy. {self._label}, as in 1234.56: "
                continue
            number, unit = typed[1].replace(",", "."), _UNITS[(typed[2] or "kWh").lower()]
            joules = float(number) * unit
            if self._last is not None and joules < self._last and joules != doubted:
                doubted = joules
                question = f"That is less than before ({self._last / KWH:.12g} kWh). "
                question += "Type the right one, or the same again to have it so: "
                asked = time.monotonic_ns()
                continue
            self._last = joules
            self._coarsen(float(Decimal(1).scaleb(min(_exponent(number), 0))) * unit)
            return Reading(asked + took_ns // 2, joules, took_ns=took_ns)

    def close(self) -> None:
        """Nothing is held."""

    def _coarsen(self, quantum_j: float) -> None:
        known = self._spec.quantum_j
        if known is None or quantum_j > known:
            self._spec = replace(self._spec, quantum_j=quantum_j)


def ask(question: str) -> str:
    """Return a line that a person types, empty at the end of file; stdout stays a document's."""
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline(200)
    if not sys.stdin.isatty() or not line:  # nobody's return key has ended the line there
        sys.stderr.write("\n")
    return line


def _exponent(number: str) -> int:
    return -len(number.partition(".")[2])
