"""What a report draws: the fan of money over time, and which assumption matters most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hwkit.economics import futures as fut
from hwkit.economics.cashflow import discount_factor
from hwkit.economics.scenario import LATEST, LIMITS
from hwkit.economics.verdict import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hwkit.economics.machine import Machine
    from hwkit.units import Figure

PERCENTILES = (5, 25, 50, 75, 95)
LATE = 3  # months of delivery


@dataclass(frozen=True, slots=True)
class Fan:
    """Discounted money so far, in $: percentiles over futures, by months after the order.

    The residual value comes with the last month.
    """

    months: tuple[int, ...]
    bands: dict[int, tuple[float, ...]]  # by percentile

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        bands = {str(percentile): list(values) for percentile, values in self.bands.items()}
        return {"months": list(self.months), "percentiles": bands}


@dataclass(frozen=True, slots=True)
class Bar:
    """The NPV of the expected path with one assumption at its low and at its high end, in $."""

    what: str
    low: str
    high: str
    npv_low: float
    npv_high: float

    @property
    def swing(self) -> float:
        """By how much it moves the NPV."""
        return abs(self.npv_high - self.npv_low)

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


def fan(machine: Machine, price: float, terms: fut.Terms) -> Fan:
    """Return the percentiles of discounted money so far, by month."""
    scenario, last = terms.scenario, terms.months
    worth = fut.worth(machine, terms, fut.draw(terms), cumulative=True)
    paid = np.zeros(last + 1)
    for part, month in scenario.pay:
        due = price * part * (1 + scenario.landed)
        paid[min(month, last) :] += due * discount_factor(float(month), scenario.discount)
    paid[last] -= price * scenario.residual * discount_factor(float(last), scenario.discount)
    bands = np.tile(-paid, (len(PERCENTILES), 1))
    if worth.cumulative is not None:
        running = np.percentile(worth.cumulative, PERCENTILES, axis=0)
        bands[:, scenario.delay + 1 :] += running
    return Fan(
        tuple(range(last + 1)),
        {
            percentile: tuple(row.tolist())
            for percentile, row in zip(PERCENTILES, bands, strict=True)
        },
    )


def tornado(machine: Machine, price: float, terms: fut.Terms) -> list[Bar]:
    """Return what each assumption does to the NPV of the expected path, the strongest first.

    The machine's own hashrate and J/TH go over their intervals, the market over one standard
    deviation of a year's change, the rest over what is usual.
    """

    def npv(
        changed: fut.Terms | None = None, other: Machine | None = None, paid: float = price
    ) -> float:
        return statement(other or machine, paid, changed or terms).npv

    bars = [
        Bar(what, low, high, npv(changed=a), npv(changed=b))
        for what, (low, a), (high, b) in _of_terms(terms)
    ]
    bars += [
        Bar(what, str_low, str_high, npv(other=a), npv(other=b))
        for what, (str_low, a), (str_high, b) in _of_machine(machine)
    ]
    cheap, dear = 0.9 * price, 1.1 * price
    bars.append(
        Bar("machine price", f"${cheap:,.0f}", f"${dear:,.0f}", npv(paid=cheap), npv(paid=dear))
    )
    return sorted(bars, key=lambda bar: -bar.swing)


def _of_terms(
    terms: fut.Terms,
) -> Iterator[tuple[str, tuple[str, fut.Terms], tuple[str, fut.Terms]]]:
    snapshot, scenario = terms.snapshot, terms.scenario
    spread = scenario.price_volatility
    low, high = (snapshot.usd_per_btc * np.exp(sign * spread) for sign in (-1, 1))
    yield (
        "BTC price",
        (f"${low:,.0f}", replace(terms, snapshot=replace(snapshot, usd_per_btc=float(low)))),
        (f"${high:,.0f}", replace(terms, snapshot=replace(snapshot, usd_per_btc=float(high)))),
    )
    changes: dict[str, tuple[str, float]] = {
        "difficulty growth": ("difficulty_growth", scenario.difficulty_volatility),
        "uptime": ("uptime", 0.03),
        "overhead": ("overhead", 0.05),
        "pool fee": ("pool_fee", 0.01),
        "residual": ("residual", 0.10),
        "discount": ("discount", 0.05),
    }
    for what, (name, step) in changes.items():
        value, (least, most) = getattr(scenario, name), LIMITS[name]
        a, b = max(value - step, least), min(value + step, most)
        yield (
            what,
            (f"{100 * a:.3g} %", replace(terms, scenario=replace(scenario, **{name: a}))),
            (f"{100 * b:.3g} %", replace(terms, scenario=replace(scenario, **{name: b}))),
        )
    yield (
        "power price",
        (f"${0.9 * terms.tariff.mean:.4f}", replace(terms, tariff=terms.tariff.scaled(0.9))),
        (f"${1.1 * terms.tariff.mean:.4f}", replace(terms, tariff=terms.tariff.scaled(1.1))),
    )
    if scenario.delay + LATE <= LATEST:
        yield (
            "delivery",
            ("as agreed", terms),
            (f"{LATE} months late", terms.delayed(LATE)),
        )


def _of_machine(machine: Machine) -> Iterator[tuple[str, tuple[str, Machine], tuple[str, Machine]]]:
    def at(figure: Figure, value: float) -> Figure:
        return replace(figure, value=value)

    rate, watts = machine.hashrate, machine.power
    yield (
        "hashrate",
        (f"{rate.lo / 1e12:.4g} TH/s", replace(machine, hashrate=at(rate, rate.lo))),
        (f"{rate.hi / 1e12:.4g} TH/s", replace(machine, hashrate=at(rate, rate.hi))),
    )
    yield (
        "power",
        (f"{watts.lo:,.4g} W", replace(machine, power=at(watts, watts.lo))),
        (f"{watts.hi:,.4g} W", replace(machine, power=at(watts, watts.hi))),
    )
