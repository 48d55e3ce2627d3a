"""One day of the network, dated: what today's price and difficulty are taken to be."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from hwkit.economics.handwritten import number, read_table
from hwkit.economics.hashprice import hashprice
from hwkit.economics.network import subsidy
from hwkit.errors import PlanError

OLD_DAYS = 30  # difficulty is set anew every two weeks: after two of them a warning


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a day's price, difficulty and fees were, and who says so."""

    day: date
    height: int
    usd_per_btc: float
    difficulty: float
    fee_share: float  # of all rewards
    source: str

    @property
    def fees_btc(self) -> float:
        """Fees of a block: f / (1 - f) of the subsidy."""
        return self.fee_share / (1 - self.fee_share) * subsidy(self.height)

    @property
    def hashprice(self) -> float:
        """$ per PH/s and day, fees included."""
        each = subsidy(self.height) + self.fees_btc
        return hashprice(self.difficulty, each, self.usd_per_btc)

    def warning(self, today: date) -> str | None:
        """Say how old it is, where that matters; None where it does not."""
        days = (today - self.day).days
        if days <= OLD_DAYS:
            return None
        return (
            f"prices and difficulty are of {self.day}, {days} days ago: "
            "hwkit worth snapshot FILE takes newer ones"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "day": self.day.isoformat(),
            "hashprice_usd_per_ph_day": self.hashprice,
        }


def read_snapshot(text: str, where: str) -> Snapshot:
    """Read a snapshot from TOML. Raises PlanError that says what is wrong with it, and where."""
    found = read_table(text, where)
    ranges: dict[str, tuple[float, float]] = {
        "height": (0, 1e7),
        "usd_per_btc": (1e-6, 1e12),
        "difficulty": (1, 1e30),
        "fee_share": (0, 0.99),
    }
    names = {each.name for each in fields(Snapshot)}
    if found.keys() != names:
        raise PlanError(f"{where}: a snapshot has {', '.join(sorted(names))}, each once")
    if type(found["day"]) is not date or not isinstance(found["source"], str):
        raise PlanError(f"{where}: day is a date (2026-10-03), source a text")
    numbers = {name: number(found, name, where, limits) for name, limits in ranges.items()}
    return Snapshot(**found | numbers | {"height": int(found["height"])})


@cache
def shipped() -> Snapshot:
    """Return the snapshot that comes with the package."""
    data = files(__name__.rpartition(".")[0]) / "data" / "snapshot.toml"
    return read_snapshot(data.read_text("utf-8"), "snapshot.toml")
