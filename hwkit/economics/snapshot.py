"""One day of the network, dated: what today's price and difficulty are taken to be."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Self

from hwkit.economics.handwritten import number, read_table, whole
from hwkit.economics.hashprice import hashprice
from hwkit.economics.network import covered, difficulty_at, height_at, listed_until, subsidy
from hwkit.errors import PlanError

# How many times the list's difficulty a snapshot's may be, and its inverse: on a day of the list
# and past its end. Another unit (T, P) is a thousand times off at least.
KNOWN, LATER = 1.5, 30.0
LEAST_DIFFICULTY = 1e12
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

    def paid(self, scheme: str) -> Self:
        """Return the day as a pool of this scheme pays for it: pps keeps the fees."""
        return replace(self, fee_share=0.0) if scheme == "pps" else self

    def warning(self, today: date) -> str | None:
        """Say how old it is, where that matters, or that it is to come; None where neither."""
        days = (today - self.day).days
        if days < -1:  # a day begins somewhere else first
            return f"prices and difficulty are of {self.day}, in {-days} days: nobody has seen them"
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
        "usd_per_btc": (1, 1e9),
        "difficulty": (LEAST_DIFFICULTY, 1e24),
        "fee_share": (0, 0.99),
    }
    names = {each.name for each in fields(Snapshot)}
    if found.keys() != names:
        raise PlanError(f"{where}: a snapshot has {', '.join(sorted(names))}, each once")
    if type(found["day"]) is not date or not isinstance(found["source"], str):
        raise PlanError(f"{where}: day is a date (2026-10-03), source a text")
    numbers = {name: number(found, name, where, limits) for name, limits in ranges.items()}
    height = whole(found, "height", where, (0, 10_000_000))
    known = Snapshot(**found | numbers | {"height": height})
    _check_against_the_list(known, where)
    return known


def _check_against_the_list(known: Snapshot, where: str) -> None:
    in_list = covered(known.day)
    listed, most = difficulty_at(known.day), KNOWN if in_list else LATER
    if not listed / most <= known.difficulty <= listed * most:
        raise PlanError(
            f"{where}: difficulty is {known.difficulty:.5g}, and the list of difficulties has "
            f"{listed:.4g} {'on that day' if in_list else 'last'}: is it in another unit?"
        )
    # Past the list blocks are taken to come every ten minutes: they may come a tenth faster.
    height = height_at(known.day)
    room = 300 + max(0.1 * (height - height_at(listed_until())), 0.0)
    if not abs(known.height - height) <= room:
        raise PlanError(
            f"{where}: height is {known.height:,}, but about {height:,.0f} on {known.day}"
        )


@cache
def shipped() -> Snapshot:
    """Return the snapshot that comes with the package."""
    data = files(__name__.rpartition(".")[0]) / "data" / "snapshot.toml"
    return read_snapshot(data.read_text("utf-8"), "snapshot.toml")
