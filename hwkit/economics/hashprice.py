"""What a hash earns and what it costs: the field's formulas, one function each.

Hashprice is $ per PH/s and day (Luxor's unit). `pool_fee` is what the pool keeps of it; `overhead`
is how many times the machine's power the site takes (PUE); fees of a block are in BTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwkit.errors import PlanError
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY

DAY_S = 86_400.0
YEAR_H = 8766.0
PETA, TERA = 1e15, 1e12
J_PER_KWH = 3.6e6


def btc_per_ph_day(difficulty: float, btc_per_block: float) -> float:
    """Return the coins that 1 PH/s finds in a day on average."""
    if difficulty <= 0:
        raise PlanError(f"a difficulty is above 0, not {difficulty:g}")
    return DAY_S * PETA * btc_per_block / (difficulty * HASHES_PER_DIFFICULTY)


def hashprice(difficulty: float, btc_per_block: float, usd_per_btc: float) -> float:
    """Return $ per PH/s and day; `btc_per_block` is subsidy and fees."""
    return btc_per_ph_day(difficulty, btc_per_block) * usd_per_btc


def difficulty_of(hashrate_h_s: float) -> float:
    """Return the difficulty at which a network of this hashrate finds a block in ten minutes."""
    return hashrate_h_s * 600 / HASHES_PER_DIFFICULTY


def kwh_per_th_day(efficiency_j_th: float, overhead: float = 1.0) -> float:
    """Return the energy of 1 TH/s in a day."""
    return efficiency_j_th * overhead * DAY_S / J_PER_KWH


def revenue_per_kwh(
    hashprice_usd: float, efficiency_j_th: float, pool_fee: float = 0.0, overhead: float = 1.0
) -> float:
    """Return $ earned with a kWh; 0.097 is $97 a MWh."""
    return hashprice_usd / 1000 * (1 - pool_fee) / kwh_per_th_day(efficiency_j_th, overhead)


def break_even_power_price(
    hashprice_usd: float, efficiency_j_th: float, pool_fee: float = 0.0, overhead: float = 1.0
) -> float:
    """Return the $/kWh above which running loses money: what the kWh earns."""
    return revenue_per_kwh(hashprice_usd, efficiency_j_th, pool_fee, overhead)


def break_even_efficiency(
    hashprice_usd: float, usd_per_kwh: float, pool_fee: float = 0.0, overhead: float = 1.0
) -> float:
    """Return the J/TH above which running loses money."""
    if usd_per_kwh <= 0:
        raise PlanError("power that costs nothing has no J/TH at which it is too dear")
    return hashprice_usd / 1000 * (1 - pool_fee) / (kwh_per_th_day(1.0, overhead) * usd_per_kwh)


def break_even_difficulty(
    efficiency_j_th: float,
    usd_per_kwh: float,
    *,
    btc_per_block: float,
    usd_per_btc: float,
    pool_fee: float = 0.0,
    overhead: float = 1.0,
) -> float:
    """Return the difficulty above which running loses money."""
    needed = kwh_per_th_day(efficiency_j_th, overhead) * usd_per_kwh * 1000 / (1 - pool_fee)
    return hashprice(1.0, btc_per_block, usd_per_btc) / needed


def kwh_per_btc(
    efficiency_j_th: float, difficulty: float, btc_per_block: float, overhead: float = 1.0
) -> float:
    """Return the energy that a coin takes; times a price it is CBECI's cost of minting."""
    return (
        kwh_per_th_day(efficiency_j_th, overhead) * 1000 / btc_per_ph_day(difficulty, btc_per_block)
    )


def annual_twh(hashrate_h_s: float, efficiency_j_th: float) -> float:
    """Return the energy that so many hashes a second take in a year of 8,766 hours, in TWh."""
    return hashrate_h_s / TERA * efficiency_j_th * YEAR_H / 1e12


def emissions_kg(kwh: float, g_per_kwh: float) -> float:
    """Return kg of CO2 equivalent at a grid factor in g/kWh."""
    return kwh * g_per_kwh / 1000


@dataclass(frozen=True, slots=True)
class Costs:
    """What a machine costs in a day, by kind, in $; uptime is in each flow once."""

    power: float
    maintenance: float
    hosting: float
    financing: float
    depreciation: float
    th_s: float  # mean, with the machine's uptime
    btc: float  # earned in the day

    @property
    def total(self) -> float:
        """All of it."""
        return self.power + self.maintenance + self.hosting + self.financing + self.depreciation

    @property
    def per_btc(self) -> float | None:
        """$ for each coin; None where none is earned."""
        return self.total / self.btc if self.btc else None

    @property
    def per_th_day(self) -> float | None:
        """$ for each TH/s and day; None where nothing hashes."""
        return self.total / self.th_s if self.th_s else None


def all_in_cost(
    th_s: float,
    efficiency_j_th: float,
    *,
    price_usd: float,
    usd_per_kwh: float,
    difficulty: float,
    btc_per_block: float,
    life_years: float = 4.0,
    residual: float = 0.0,
    uptime: float = 1.0,
    overhead: float = 1.0,
    pool_fee: float = 0.0,
    hosting_usd_per_kwh: float = 0.0,
    maintenance_usd_per_year: float = 0.0,
    interest: float = 0.0,
) -> Costs:
    """Return a day's costs: depreciation is a straight line, interest on the mean balance.

    `residual` is a fraction of the price, `interest` a year's.
    """
    kwh = th_s * uptime * kwh_per_th_day(efficiency_j_th, overhead)
    days = life_years * YEAR_H / 24
    return Costs(
        power=kwh * usd_per_kwh,
        maintenance=maintenance_usd_per_year / (YEAR_H / 24),
        hosting=kwh * hosting_usd_per_kwh,
        financing=price_usd * (1 + residual) / 2 * interest / (YEAR_H / 24),
        depreciation=price_usd * (1 - residual) / days,
        th_s=th_s * uptime,
        btc=th_s * uptime / 1000 * btc_per_ph_day(difficulty, btc_per_block) * (1 - pool_fee),
    )
