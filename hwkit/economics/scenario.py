"""What the worth of a purchase hangs on: every assumption, and where its default is from."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from hwkit.economics.handwritten import read_table
from hwkit.errors import PlanError

MONTH_DAYS = 365.25 / 12
LATEST = 60  # months after the order, of delivery and payments
SCHEMES = ("fpps", "pps", "pplns", "solo")
# Limits within which an assumption makes sense: wrong units fall outside.
LIMITS: dict[str, tuple[float, float]] = {
    "usd_per_kwh": (-1, 10),
    "years": (1 / 12, 15),
    "uptime": (0, 1),
    "overhead": (1, 3),
    "pool_fee": (0, 0.99),
    "pool_share": (1e-9, 1),
    "discount": (-0.5, 2),
    "residual": (0, 1),
    "hosting_usd_per_kwh": (0, 10),
    "fixed_usd_per_month": (0, 1e9),
    "demand_usd_per_kw_month": (0, 1e4),
    "curtailment_usd_per_kwh": (0, 10),
    "restart_h": (0, 1000),
    "difficulty_growth": (-0.9, 3),
    "difficulty_volatility": (0, 3),
    "price_drift": (-0.9, 3),
    "price_volatility": (0, 3),
    "correlation": (-1, 1),
    "landed": (0, 2),
    "doa": (0, 1),
    "fail_rate": (0, 50),
    "repair_days": (0, 365),
    "confidence": (0.01, 0.99),
    "runs": (100, 160_000),  # 25 years of the most: 770 MB
    "seed": (0, 2**63),
}


SHARES = {"uptime", "pool_fee", "discount", "residual", "landed", "doa", "confidence"} | {
    "difficulty_growth",
    "price_drift",
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """Assumptions of one purchase, for one machine; rates are a year's, shares are fractions.

    `pay` are the parts of the price and the months after the order in which they fall due. A month
    begun counts as one: so many pass from the order to the delivery.
    """

    usd_per_kwh: float = 0.05
    years: float = 4.0  # from the delivery on
    uptime: float = 0.97
    overhead: float = 1.03  # the site's power over the machine's
    pool_scheme: str = "fpps"  # pps pays no fees; pplns and solo keep the luck
    pool_fee: float = 0.02
    pool_share: float | None = None  # of the network; pplns needs it
    discount: float = 0.15
    residual: float = 0.10  # of the price, at the end
    hosting_usd_per_kwh: float = 0.0
    fixed_usd_per_month: float = 0.0  # maintenance, staff: saved in a month that is not run
    demand_usd_per_kw_month: float = 0.0  # likewise
    curtailment_usd_per_kwh: float = 0.0  # paid for not running
    restart_h: float = 0.0  # hours of running that earn nothing after a stop
    # The median's: 0.0065 a period since April 2024, with 0.0472 around it (data/difficulty.csv).
    difficulty_growth: float = 0.184
    difficulty_volatility: float = 0.241
    price_drift: float = 0.0  # the mean's; no view
    price_volatility: float = 0.48  # 2024-01 to 2026-06
    correlation: float = 0.6  # of quarterly price and difficulty, 2022Q1 to 2026Q1
    order: date | None = None
    deliver: date | None = None
    pay: tuple[tuple[float, int], ...] = ((1.0, 0),)
    landed: float = 0.0  # freight, duty and taxes, of the price; paid with it
    doa: float = 0.0  # share that arrives dead and is repaired
    fail_rate: float = 0.0  # failures of a machine in a year
    repair_days: float = 30.0
    policy: str = "sell"  # coins as they come, or hold them to the end
    confidence: float = 0.5  # how likely a purchase must be to pay
    runs: int = 10_000
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                form = ": 0.05 is 5 %" if name in SHARES else ""
                raise PlanError(
                    f"{name} lies between {least:g} and {most:g}, not at {value:g}{form}"
                )
        if self.pool_scheme not in SCHEMES:
            raise PlanError(f"pool_scheme is one of {', '.join(SCHEMES)}, not {self.pool_scheme!r}")
        if self.pool_scheme == "pplns" and self.pool_share is None:
            raise PlanError("pplns: pool_share is needed, the pool's part of the network")
        if self.policy not in {"sell", "hold"}:
            raise PlanError(f"policy is sell or hold, not {self.policy!r}")
        _check_order(self)

    @property
    def months(self) -> int:
        """How many months it runs."""
        return round(12 * self.years)

    @property
    def delay(self) -> int:
        """Months from the order to the delivery; one begun counts."""
        if self.order is None or self.deliver is None:
            return 0
        return math.ceil((self.deliver - self.order).days / MONTH_DAYS - 1 / 30)

    @property
    def availability(self) -> float:
        """Part of the time that failures leave."""
        return max(0.0, 1 - self.fail_rate * self.repair_days / 365.25)

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        days = {"order": self.order, "deliver": self.deliver}
        told = {name: day and day.isoformat() for name, day in days.items()}
        return asdict(self) | told | {"pay": [list(each) for each in self.pay]}


def read_scenario(text: str, where: str) -> dict[str, Any]:
    """Read the fields that a TOML file sets. Raises PlanError that says what is wrong and where."""
    found = read_table(text, where)
    known = {each.name: each.type for each in fields(Scenario)}
    for name, value in found.items():
        if name not in known:
            raise PlanError(f"{where}: no assumption {name!r}; there are {', '.join(known)}")
        kind = str(known[name])
        fits = {
            "str": isinstance(value, str),
            "int": type(value) is int,
            "date | None": type(value) is date,
        }.get(kind, type(value) in {int, float})
        if name == "pay":
            found[name], fits = (
                (payments(value), True) if isinstance(value, str) else (value, False)
            )
        if not fits:
            raise PlanError(f"{where}: {name} is {_WORDS.get(kind, 'a number')}, not {value!r}")
    return found


def _check_order(asked: Scenario) -> None:
    paid = sum(part * (1 + asked.discount) ** (-month / 12) for part, month in asked.pay)
    back = asked.residual * (1 + asked.discount) ** (-(asked.delay + asked.months) / 12)
    if paid * (1 + asked.landed) <= back:
        raise PlanError("residual: it would be sold for more than it costs, at any price")
    if (asked.order is None) != (asked.deliver is None):
        raise PlanError("order and deliver: both, or neither")
    if asked.order and asked.deliver and asked.deliver < asked.order:
        raise PlanError(f"delivered on {asked.deliver}, before it is ordered on {asked.order}")
    if asked.delay > LATEST:
        raise PlanError(f"delivered {asked.delay} months after the order: at most {LATEST}")
    if abs(sum(part for part, _ in asked.pay) - 1) > 1e-9:
        raise PlanError("pay: the parts of the price make 100 %")
    if any(part < 0 or not 0 <= month <= LATEST for part, month in asked.pay):
        raise PlanError(f"pay: parts above 0, months from 0 to {LATEST}")


_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "date | None": "a date (2026-10-03)",
    "tuple[tuple[float, int], ...]": "a text as '25%@0,75%@2'",
}


def payments(text: str) -> tuple[tuple[float, int], ...]:
    """Read '25%@0,75%@2': parts of the price, and months after the order. Raises PlanError."""
    parts = []
    for each in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*@\s*(\d{1,3})\s*", each)
        if found is None:
            raise PlanError(f"pay: {each!r} is no part of the price and month, as in 25%@0,75%@2")
        parts.append((float(found[1]) / 100, int(found[2])))
    return tuple(parts)
