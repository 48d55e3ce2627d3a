"""A machine as its money sees it: hashrate and power, each with what is known of its error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.protocols import Basis, Scope
from hwkit.units import Figure

if TYPE_CHECKING:
    from hwkit.economics.catalogue import Nameplate

MEASURED, NAMEPLATE = "measured", "nameplate"
ONE = "this unit, not this model"
TERA = 1e12


@dataclass(frozen=True, slots=True)
class Machine:
    """Hashrate (H/s) and power (W) with errors that are independent of each other.

    Of a measured one the bounds are 95 % (k = 2); of a nameplate they are limits.
    """

    name: str
    origin: str  # measured | nameplate
    hashrate: Figure
    power: Figure
    notes: tuple[str, ...] = ()
    record: str | None = None

    @property
    def efficiency_j_th(self) -> Figure:
        """Power over hashrate; relative errors as a sum of squares, of limits as corners."""
        value = self.power.value / self.hashrate.value * TERA
        if self.origin == NAMEPLATE:
            lo = self.power.lo / self.hashrate.hi * TERA
            return Figure(value, lo, self.power.hi / self.hashrate.lo * TERA, "J/TH")
        u = math.hypot(self.power.relative, self.hashrate.relative)
        return Figure(value, value * math.exp(-u), value * math.exp(u), "J/TH")

    @classmethod
    def of_nameplate(cls, plate: Nameplate) -> Machine:
        """Return what a maker says, with its tolerance or the one assumed."""
        of_rate, of_power = plate.tolerances
        rate, power = plate.hashrate_th_s * TERA, plate.power_w
        note = f"tolerance ±{100 * of_rate:g} % TH/s, ±{100 * of_power:g} % W"
        notes = [f"{note} {'assumed' if plate.assumed else 'as stated'}"]
        if plate.boundary != Scope.WALL:
            notes.append(f"power is of the {plate.boundary}, not of the wall")
        return cls(
            plate.model,
            NAMEPLATE,
            Figure(rate, rate * (1 - of_rate), rate * (1 + of_rate), "H/s"),
            Figure(power, power * (1 - of_power), power * (1 + of_power), "W"),
            tuple(notes),
        )

    @classmethod
    def of_record(cls, document: dict[str, Any]) -> Machine:
        """Return what was measured, from a record's document.

        Its power's error is what makes J/TH's U with the hashrate's. Raises PlanError for a record
        without J/TH.
        """
        name = document["id"]
        seen = [each for each in document.get("metered", []) if each["efficiency"] is not None]
        if not seen:
            raise PlanError(
                f"record {name} has no J/TH: measure it with hwkit bench ... --meter ADDRESS"
            )
        first = seen[0]
        rate = Figure.from_json(first["hashrate"])
        efficiency = Figure.from_json(first["efficiency"])
        watts = efficiency.value * rate.value / TERA
        of_power = Figure.from_json(first["power"]).relative
        u = max(of_power, math.sqrt(max(efficiency.relative**2 - rate.relative**2, 0.0)))
        notes = []
        if first["scope"] != Scope.WALL:
            notes.append(f"power is of the {first['scope']}, not of the wall")
        if first["unchecked"]:
            notes.append("nobody vouches for its meter")
        if any(each["caveat"] == "ClaimedEnergy" for each in document["caveats"]):
            notes.append("its power is a claim, no meter's")
        if document["device"]["basis"] == Basis.CLAIMED:
            notes.append("its hashrate is its own claim")
        if document["state"] != "complete":
            notes.append(f"the run is {document['state']}")
        return cls(
            str(document["device"]["name"]),
            MEASURED,
            rate,
            Figure(watts, watts * (1 - u), watts * (1 + u), "W"),
            (ONE, *notes),
            str(name),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "name": self.name,
            "origin": self.origin,
            "record": self.record,
            "hashrate": self.hashrate.to_json(),
            "power": self.power.to_json(),
            "efficiency": self.efficiency_j_th.to_json(),
            "notes": list(self.notes),
        }
