"""The same kWh or megawatt, sold three ways: mining, hosting others' machines, renting out GPUs.

Three lines that are never mixed: hosting buys no machines, rental buys the dearest.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hwkit.economics.hashprice import YEAR_H, revenue_per_kwh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.economics.machine import Machine
    from hwkit.economics.snapshot import Snapshot

GRID_G_PER_KWH = 288.0  # of mining in 2024 (Cambridge report 2025: 39.8 Mt for 138 TWh)


@dataclass(frozen=True, slots=True)
class Offer:
    """A dated price for computing or for power with a roof, and whose it is."""

    kind: str  # rental | hosting
    what: str
    usd: float
    usd_per: str
    date: str
    source: str
    notes: str
    watts: float | None = None  # of a board, without its share of a server; None: $ are a MW-year's

    def usd_per_kwh(
        self, utilisation: float = 1.0, overhead: float = 1.0, watts: float | None = None
    ) -> float:
        """Return what a kWh at the site earns; `watts` in place of the board's own, if given."""
        if self.watts is None:
            return self.usd / YEAR_H / 1000 * utilisation / overhead
        return self.usd * utilisation / ((watts or self.watts) / 1000) / overhead


@dataclass(frozen=True, slots=True)
class Use:
    """What a kWh earns in one use of it."""

    kind: str  # mining | hosting | rental
    what: str
    usd_per_kwh: float
    usd_per_mw_year: float
    date: str
    source: str

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


@cache
def offers() -> tuple[Offer, ...]:
    """Return the dated table that comes with the package."""
    data = files(__name__.rpartition(".")[0]) / "data" / "rental.csv"
    return tuple(
        Offer(
            row["kind"],
            row["what"],
            float(row["usd"]),
            row["usd_per"],
            row["date"],
            row["source"],
            row["notes"],
            float(row["watts"]) if row["watts"] else None,
        )
        for row in csv.DictReader(data.read_text("utf-8").splitlines())
    )


def side_by_side(
    machines: Sequence[Machine],
    snapshot: Snapshot,
    *,
    pool_fee: float = 0.0,
    overhead: float = 1.0,
    utilisation: float = 1.0,
) -> list[Use]:
    """Return what a kWh of the site earns by mining with each machine, by hosting and by rental.

    `utilisation` is how much of the time a GPU is rented.
    """
    mining = [
        (
            "mining",
            machine.name,
            revenue_per_kwh(snapshot.hashprice, machine.efficiency_j_th.value, pool_fee, overhead),
            snapshot.day.isoformat(),
            snapshot.source,
        )
        for machine in machines
    ]
    other = [
        (
            offer.kind,
            offer.what,
            offer.usd_per_kwh(utilisation if offer.kind == "rental" else 1.0, overhead),
            offer.date,
            offer.source,
        )
        for offer in offers()
    ]
    return [
        Use(kind, what, usd, usd * 1000 * YEAR_H, date, source)
        for kind, what, usd, date, source in mining + other
    ]
