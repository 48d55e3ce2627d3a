"""What a label says: a constant, for those who have no meter."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from hwkit.errors import PlanError
from hwkit.meters.addressing import name_of, percent_of, stated
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Reading, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hwkit.plugins import Address
    from hwkit.protocols import Meter

_POWER = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(k?)W", re.ASCII)


def find(address: Address | None) -> Iterator[Meter]:
    """Yield the nameplate addressed; without an address nothing."""
    if address is not None:
        yield Nameplate(address)


class Nameplate:
    """So many watts, always."""

    def __init__(self, address: Address) -> None:
        """Raise PlanError for what is no power."""
        address.allow("tolerance", "scope")
        power = _POWER.fullmatch(address.place)
        self._watts = float(power[1]) * (1000 if power[2] else 1) if power else 0.0
        if self._watts <= 0:
            said = f"{address.place!r} is no power, as in nameplate:3250W?tolerance=5%"
            raise PlanError(f"address {address}: {said}")
        tolerance = percent_of(address, "tolerance")
        usual = MeterSpec(
            name_of(address),
            Scope.WALL,
            Provenance.NAMEPLATE,
            None if tolerance is None else Accuracy(tolerance, source="nameplate tolerance"),
        )
        self._spec = stated(address, usual)

    @property
    def spec(self) -> MeterSpec:
        """What it is; unchecked unless the address gives the label's tolerance."""
        return self._spec

    def open(self) -> Mapping[str, str]:
        """Return nothing: a label has no serial number of a meter."""
        return {}

    def read(self) -> Reading:
        """Return the same as ever."""
        return Reading(time.monotonic_ns(), watts=self._watts, took_ns=0)

    def close(self) -> None:
        """Nothing is held."""
