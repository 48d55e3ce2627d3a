"""A machine at one day's hashprice: what it earns, what that costs, and where it breaks even."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hwkit.economics.alternatives import GRID_G_PER_KWH
from hwkit.economics.hashprice import (
    Costs,
    all_in_cost,
    break_even_difficulty,
    break_even_power_price,
    emissions_kg,
    kwh_per_btc,
    kwh_per_th_day,
)
from hwkit.economics.network import subsidy
from hwkit.units import Figure

if TYPE_CHECKING:
    from hwkit.economics.machine import Machine
    from hwkit.economics.scenario import Scenario
    from hwkit.economics.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Today:
    """One day of one machine, by a snapshot; $ unless named otherwise."""

    revenue_per_day: float
    power_per_day: float
    break_even_usd_per_kwh: Figure  # with the interval of its J/TH
    break_even_difficulty: float | None  # None: its power costs nothing
    costs: Costs
    kg_per_btc: float
    kg_per_th_day: float

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "revenue_usd_per_day": self.revenue_per_day,
            "power_usd_per_day": self.power_per_day,
            "break_even_usd_per_kwh": self.break_even_usd_per_kwh.to_json(),
            "break_even_difficulty": self.break_even_difficulty,
            "all_in_usd_per_btc": self.costs.per_btc,
            "all_in_usd_per_th_day": self.costs.per_th_day,
            "costs_usd_per_day": asdict(self.costs),
            "emissions_kg_per_btc": self.kg_per_btc,
            "emissions_kg_per_th_day": self.kg_per_th_day,
        }


def today(
    machine: Machine,
    price: float | None,
    scenario: Scenario,
    snapshot: Snapshot,
    g_per_kwh: float = GRID_G_PER_KWH,
) -> Today:
    """Return a machine's day; its all-in costs take an unknown price for 0."""
    paid_day = snapshot.paid(scenario.pool_scheme)
    each = subsidy(snapshot.height) + paid_day.fees_btc
    efficiency, overhead, fee = machine.efficiency_j_th, scenario.overhead, scenario.pool_fee
    paid = scenario.usd_per_kwh + scenario.hosting_usd_per_kwh
    costs = all_in_cost(
        machine.hashrate.value / 1e12,
        efficiency.value,
        price_usd=(price or 0.0) * (1 + scenario.landed),
        usd_per_kwh=scenario.usd_per_kwh,
        difficulty=snapshot.difficulty,
        btc_per_block=each,
        life_years=scenario.years,
        residual=scenario.residual,
        uptime=scenario.uptime * scenario.availability,
        overhead=overhead,
        pool_fee=fee,
        hosting_usd_per_kwh=scenario.hosting_usd_per_kwh,
        maintenance_usd_per_year=12 * scenario.fixed_usd_per_month,
        interest=max(scenario.discount, 0.0),
    )
    value, dear, cheap = (
        break_even_power_price(paid_day.hashprice, j_th, fee, overhead)
        for j_th in (efficiency.value, efficiency.hi, efficiency.lo)
    )
    return Today(
        costs.btc * snapshot.usd_per_btc,
        costs.power + costs.hosting,
        Figure(value, dear, cheap, "$/kWh"),
        break_even_difficulty(
            efficiency.value,
            paid,
            btc_per_block=each,
            usd_per_btc=snapshot.usd_per_btc,
            pool_fee=fee,
            overhead=overhead,
        )
        if paid > 0
        else None,
        costs,
        emissions_kg(kwh_per_btc(efficiency.value, snapshot.difficulty, each, overhead), g_per_kwh),
        emissions_kg(kwh_per_th_day(efficiency.value, overhead), g_per_kwh),
    )
