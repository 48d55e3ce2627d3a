"""Buy at most at $X, wait, or buy BTC instead: each with its probability, over the same futures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from hwkit.economics import futures as fut
from hwkit.economics.cashflow import Irr, irr, npv, payback, static_payback_days
from hwkit.economics.hashprice import kwh_per_th_day
from hwkit.economics.scenario import LATEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwkit.economics.machine import Machine

POLICIES = ("sell", "hold", "buy")
PERCENTILES = (5, 50, 95)


class Word(StrEnum):
    """What to do."""

    BUY = "BUY"
    WAIT = "WAIT"
    BUY_BTC = "BUY BTC"


@dataclass(frozen=True, slots=True)
class Spread:
    """How likely an NPV is above 0, and its 5th, 50th and 95th percentile in $."""

    positive: float
    p5: float
    p50: float
    p95: float

    @classmethod
    def of(cls, values: fut.Array) -> Spread:
        """Summarise the NPVs of many futures."""
        return cls(float(np.mean(values > 0)), *map(float, np.percentile(values, PERCENTILES)))

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Statement:
    """The one path of no surprises, month by month from the order on, in $."""

    flows: tuple[float, ...]
    discount: float
    bid: float  # the price at which its NPV is 0
    static_payback_days: float | None  # today's hashprice for ever, always running, pool fee paid
    btc: float
    kwh: float

    @property
    def npv(self) -> float:
        """What the flows are worth on the day of the order."""
        return npv(self.flows, self.discount)

    @property
    def irr(self) -> Irr:
        """A year's rate at which they are worth nothing."""
        return irr(self.flows)

    @property
    def payback_months(self) -> float | None:
        """Until the money is back."""
        return payback(self.flows)

    @property
    def payback_discounted_months(self) -> float | None:
        """Until it is back with what it would have earned elsewhere."""
        return payback(self.flows, self.discount)

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "npv_usd": self.npv,
            "irr": self.irr.to_json(),
            "static_payback_days": self.static_payback_days,
            "payback_months": self.payback_months,
            "payback_discounted_months": self.payback_discounted_months,
            "bid_usd": self.bid,
            "btc": self.btc,
            "kwh": self.kwh,
            "flows_usd": list(self.flows),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """One candidate: what to do, what it is worth, and how likely that is."""

    machine: Machine
    price: float | None
    word: Word | None  # None without a price
    probability: float | None  # of what the word rests on
    at_most: float  # $: at this price both tests are met
    ahead_of_btc: float | None  # how likely it ends with more coins than its payments would buy
    policies: dict[str, Spread]
    statement: Statement | None

    @property
    def words(self) -> str:
        """The verdict in a line."""
        limit = f"${max(self.at_most, 0):,.0f}"
        if self.at_most <= 0:
            limit = "nothing"
        if self.word is None or self.probability is None:
            return f"buy at most at {limit}"
        sure = f"{100 * self.probability:.0f} %"
        if self.word is Word.BUY:
            return f"buy at most at {limit}: it pays in {sure} of futures"
        if self.word is Word.WAIT:
            return f"wait, worth at most {limit}: it does not pay in {sure} of futures"
        return f"buy BTC instead, ahead in {sure} of futures; worth at most {limit}"

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "machine": self.machine.to_json(),
            "price_usd": self.price,
            "verdict": self.word,
            "words": self.words,
            "probability": self.probability,
            "at_most_usd": self.at_most,
            "ahead_of_btc": self.ahead_of_btc,
            "policies": {name: spread.to_json() for name, spread in self.policies.items()},
            "expected": self.statement and self.statement.to_json(),
        }


def judge(candidates: Sequence[tuple[Machine, float | None]], terms: fut.Terms) -> list[Verdict]:
    """Return a verdict each, best first: by the median NPV for a $ of price, else by $ a TH/s.

    Buy: it pays with the confidence asked for, and ends with more coins than its payments would
    have bought at least as often as not. Else buy BTC instead where those coins come out ahead with
    that confidence; else wait. At most: the highest price at which it is bought.
    """
    futures = fut.draw(terms)
    found = [
        _verdict(machine, price, fut.worth(machine, terms, futures), terms)
        for machine, price in candidates
    ]
    return sorted(found, key=lambda each: _rank(each, terms.scenario.policy), reverse=True)


def statement(machine: Machine, price: float, terms: fut.Terms) -> Statement:
    """Return the flows of the expected path and what follows from them."""
    scenario, last = terms.scenario, terms.months
    day = terms.snapshot.paid(scenario.pool_scheme)
    months = fut.months_of(machine, terms, fut.expected(terms))
    flows = [0.0] * (last + 1)
    brought = months.kept if scenario.policy == "hold" else months.cash
    for month, cash in enumerate(brought[0].tolist(), scenario.delay + 1):
        flows[month] += cash
    running = npv(flows, scenario.discount)
    dues = [0.0] * (max(last, *(month for _, month in scenario.pay)) + 1)
    for part, month in scenario.pay:
        dues[month] -= part * (1 + scenario.landed)
    dues[last] += scenario.residual
    flows += [0.0] * (len(dues) - len(flows))
    th_s = machine.hashrate.value / 1e12
    return Statement(
        tuple(flow + price * due for flow, due in zip(flows, dues, strict=True)),
        scenario.discount,
        running / -npv(dues, scenario.discount),
        static_payback_days(
            price,
            th_s * day.hashprice / 1000 * (1 - scenario.pool_fee),
            th_s * kwh_per_th_day(machine.efficiency_j_th.value) * terms.tariff.mean,
        ),
        float(months.coins.sum()),
        float(months.kwh.sum()),
    )


def costs_of_delay(
    machine: Machine, price: float, terms: fut.Terms, months: int = 6
) -> list[float]:
    """Return what delivery 1, 2, ... months later takes from the NPV of the expected path, in $."""
    most = min(months, LATEST - terms.scenario.delay)
    values = [statement(machine, price, terms.delayed(late)).npv for late in range(most + 1)]
    return [values[0] - value for value in values[1:]]


def _verdict(machine: Machine, price: float | None, worth: fut.Worth, terms: fut.Terms) -> Verdict:
    scenario = terms.scenario
    # P(bid > x) falls with x: the price that is paid back so often is a percentile of the bids.
    pays = np.percentile(worth.bids(scenario.policy), 100 * (1 - scenario.confidence))
    at_most = float(min(pays, np.median(worth.bids_btc())))
    if price is None:
        return Verdict(machine, None, None, None, at_most, None, {}, None)
    policies = {name: Spread.of(worth.npv(price, name)) for name in POLICIES}
    positive = policies[scenario.policy].positive
    ahead = float(np.mean(worth.ahead_of_btc(price) > 0))
    if price <= at_most:
        word, probability = Word.BUY, positive
    elif 1 - ahead >= max(scenario.confidence, 0.5):
        word, probability = Word.BUY_BTC, 1 - ahead
    else:
        word, probability = Word.WAIT, 1 - positive
    return Verdict(
        machine,
        price,
        word,
        probability,
        at_most,
        ahead,
        policies,
        statement(machine, price, terms),
    )


def _rank(verdict: Verdict, policy: str) -> tuple[bool, float]:
    if verdict.price is None:
        return False, verdict.at_most / verdict.machine.hashrate.value
    return True, verdict.policies[policy].p50 / verdict.price
