"""What hashing is worth: pure functions over dated data that comes with the package.

No network, no clock, no files but its own data; numpy is imported by what draws futures alone.
"""

from hwkit.economics.hashprice import (
    break_even_difficulty,
    break_even_efficiency,
    break_even_power_price,
    hashprice,
    revenue_per_kwh,
)
from hwkit.economics.network import (
    expected_blocks,
    expected_btc,
    history,
    implied_hashrate,
    network_hashrate,
    subsidy,
)
from hwkit.economics.treasury import treasury

__all__ = [
    "break_even_difficulty",
    "break_even_efficiency",
    "break_even_power_price",
    "expected_blocks",
    "expected_btc",
    "hashprice",
    "history",
    "implied_hashrate",
    "network_hashrate",
    "revenue_per_kwh",
    "subsidy",
    "treasury",
]
