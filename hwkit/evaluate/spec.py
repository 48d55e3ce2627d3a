"""What a device has to keep: a nameplate, its tolerances, and J/TH as a limit of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from hwkit.evaluate.verdicts import Limit
from hwkit.harness.efficiency import TERA
from hwkit.harness.foresee import Expected
from hwkit.harness.plan import percent

if TYPE_CHECKING:
    from hwkit.economics.catalogue import Nameplate

HASHRATE, POWER, EFFICIENCY = "hashrate", "power", "J/TH"


@dataclass(frozen=True, slots=True)
class Spec:
    """Limits, each with who says so. The corners of -3 % and +5 % would allow +8.2 % of J/TH."""

    model: str
    hashrate_h_s: float
    power_w: float
    limits: dict[str, Limit]
    boundary: str  # as in protocols.Scope
    source: str | None = None

    @classmethod
    def of(cls, plate: Nameplate, over: float, efficiency_j_th: float | None = None) -> Self:
        """Return what a nameplate promises; J/TH `over` it, a fraction, unless it is told."""
        less, more = plate.tolerances
        rate_h_s, power_w = plate.hashrate_th_s * TERA, plate.power_w
        assumed = " (assumed)" if plate.assumed else ""
        of_rate, of_power = f"nameplate - {percent(less)}", f"nameplate + {percent(more)}"
        of_both = f"nameplate + {percent(over)}" if efficiency_j_th is None else "told"
        j_th = efficiency_j_th or plate.efficiency_j_th * (1 + over)
        limits = {
            HASHRATE: Limit(rate_h_s * (1 - less), "H/s", most=False, source=of_rate + assumed),
            POWER: Limit(power_w * (1 + more), "W", most=True, source=of_power + assumed),
            EFFICIENCY: Limit(j_th, "J/TH", most=True, source=of_both),
        }
        return cls(plate.model, rate_h_s, power_w, limits, plate.boundary, plate.source)

    @property
    def expected(self) -> Expected:
        """What it is expected to draw and to do."""
        return Expected(self.power_w, self.hashrate_h_s, "nameplate")

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in an evaluation."""
        return {
            "model": self.model,
            "hashrate_h_s": self.hashrate_h_s,
            "power_w": self.power_w,
            "efficiency_j_th": self.power_w * TERA / self.hashrate_h_s,
            "limits": {name: limit.to_json() for name, limit in self.limits.items()},
            "boundary": self.boundary,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Read back what to_json wrote."""
        limits = {
            name: Limit(
                each.get("most", each.get("least")), each["unit"], "most" in each, each["source"]
            )
            for name, each in document["limits"].items()
        }
        return cls(
            document["model"],
            document["hashrate_h_s"],
            document["power_w"],
            limits,
            document["boundary"],
            document["source"],
        )
