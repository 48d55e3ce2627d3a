"""Many futures of price and difficulty, and what a machine is worth in each of them.

Month k is taken at its middle; its money comes at its end. All candidates see the same futures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hwkit.economics.cashflow import discount_factor
from hwkit.economics.hashprice import DAY_S, J_PER_KWH
from hwkit.economics.machine import NAMEPLATE
from hwkit.economics.network import INTERVAL_S, issued_between
from hwkit.economics.scenario import LATEST, MONTH_DAYS
from hwkit.errors import PlanError
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hwkit.economics.machine import Machine
    from hwkit.economics.scenario import Scenario
    from hwkit.economics.snapshot import Snapshot
    from hwkit.economics.tariff import Tariff
    from hwkit.units import Figure

    Array = NDArray[np.float64]

TOGETHER = 4096  # futures at once: their months stay in a processor's cache
BLOCKS = MONTH_DAYS * DAY_S / INTERVAL_S  # of a month


@dataclass(frozen=True, slots=True)
class Terms:
    """What a machine is judged under: assumptions, a day's network, and what power costs."""

    scenario: Scenario
    snapshot: Snapshot
    tariff: Tariff

    def __post_init__(self) -> None:
        """Refuse an order before the day that prices and difficulty are of."""
        order, day = self.scenario.order, self.snapshot.day
        if order is not None and order < day:
            raise PlanError(
                f"ordered on {order}, and prices and difficulty are of {day}: "
                "hwkit worth snapshot FILE takes in those of the order's day"
            )
        if self.wait > LATEST:
            raise PlanError(f"ordered on {order}, more than {LATEST} months after {day}")

    @property
    def wait(self) -> int:
        """Months from the snapshot's day to the order, to the nearest."""
        order = self.scenario.order
        return 0 if order is None else round((order - self.snapshot.day).days / MONTH_DAYS)

    @property
    def months(self) -> int:
        """From the order to the end of its life."""
        return self.scenario.delay + self.scenario.months

    def delayed(self, months: int) -> Terms:
        """Return the same purchase, delivered so many months later."""
        order = self.scenario.order or self.snapshot.day
        days = math.floor((self.scenario.delay + months) * MONTH_DAYS)
        late = replace(self.scenario, order=order, deliver=order + timedelta(days))
        return replace(self, scenario=late)


@dataclass(frozen=True, slots=True)
class Futures:
    """Paths by future and month: $ a BTC, difficulty; and a machine's errors, two a future.

    Months count from the snapshot's day. `normal` and `uniform` (-1 to 1) are for hashrate and
    power; 0 on the one expected path.
    """

    price: Array
    difficulty: Array
    normal: Array
    uniform: Array
    seed: int | None  # of luck; None: none

    def __len__(self) -> int:
        """How many."""
        return len(self.price)


@dataclass(frozen=True, slots=True)
class Worth:
    """What one machine is worth in each future, as parts that are linear in its price.

    NPV is `running` less `outlay` times the price, in $; likewise in BTC, at the prices of the day.
    """

    running: Array
    outlay: float  # of $1 of price: payments, discounted, less the residual value
    running_btc: Array
    outlay_btc: Array
    held: Array  # in place of `running`, coins being kept to the end
    bought: Array  # the NPV of $1 of payments that buys coins, kept to the end
    cumulative: Array | None = None  # of `running`: discounted sums by month

    def npv(self, price: float, policy: str = "sell") -> Array:
        """Return the NPV in each future, in $; `policy` is sell, hold or buy (coins instead)."""
        if policy == "buy":
            return price * self.bought
        return (self.held if policy == "hold" else self.running) - price * self.outlay

    def ahead_of_btc(self, price: float) -> Array:
        """Return the BTC by which it beats buying coins with the same payments, in each future."""
        return self.running_btc - price * self.outlay_btc

    def bids(self, policy: str = "sell") -> Array:
        """Return the price in each future at which its NPV is 0."""
        return (self.held if policy == "hold" else self.running) / self.outlay

    def bids_btc(self) -> Array:
        """Return the price in each future at which it equals coins bought with its payments.

        Infinite where coins fall so far that the residual value buys back all of them.
        """
        dear = np.full_like(self.outlay_btc, np.inf)
        return np.divide(self.running_btc, self.outlay_btc, out=dear, where=self.outlay_btc > 0)


@dataclass(frozen=True, slots=True)
class Months:
    """A machine's months in some futures, the delivery first; all arrays by future and month."""

    cash: Array  # $: sold coins less what running them cost
    coins: Array  # BTC
    price: Array  # $ a BTC
    kwh: Array  # at the site

    @property
    def kept(self) -> Array:
        """The same $ where no coin is sold before the last month."""
        flows: Array = self.cash - self.coins * self.price
        flows[:, -1] += self.coins.sum(axis=1) * self.price[:, -1]
        return flows


def draw(terms: Terms) -> Futures:
    """Draw futures by the scenario's seed: both logarithms walk at random, correlated."""
    scenario, months = terms.scenario, terms.wait + terms.months
    random = np.random.default_rng(scenario.seed)
    shape = (scenario.runs, months)
    z = random.standard_normal((2, *shape))
    rho = scenario.correlation
    z[1] = rho * z[0] + np.sqrt(1 - rho * rho) * z[1]
    volatility = np.array([scenario.price_volatility, scenario.difficulty_volatility])
    z *= volatility[:, None, None] * np.sqrt(_steps(months))
    np.cumsum(z, axis=2, out=z)
    z[0] -= scenario.price_volatility**2 / 2 * np.cumsum(_steps(months))
    np.exp(z, out=z)
    price, difficulty = _middle(terms)
    z[0] *= price
    z[1] *= difficulty
    return Futures(
        z[0],
        z[1],
        random.standard_normal((2, scenario.runs)),
        random.uniform(-1.0, 1.0, (2, scenario.runs)),
        scenario.seed,
    )


def expected(terms: Terms) -> Futures:
    """Return the one path of no surprises: the mean price, the median difficulty."""
    price, difficulty = _middle(terms)
    return Futures(price[None], difficulty[None], np.zeros((2, 1)), np.zeros((2, 1)), None)


def worth(machine: Machine, terms: Terms, futures: Futures, *, cumulative: bool = False) -> Worth:
    """Return what a machine is worth in each future."""
    scenario, last = terms.scenario, terms.months
    factors = discount_factor(np.arange(scenario.delay + 1, last + 1), scenario.discount)
    end = float(discount_factor(last, scenario.discount))
    landed = 1 + scenario.landed
    pays = [(part * landed, month) for part, month in scenario.pay]
    outlay = sum(part * float(discount_factor(month, scenario.discount)) for part, month in pays)
    running, coins, held, sums = [], [], [], []
    for months in _in_pieces(machine, terms, futures):
        sold = months.cash @ factors
        running.append(sold)
        coins.append((months.cash / months.price).sum(axis=1))
        kept = months.kept
        held.append(kept @ factors)
        if cumulative:
            flows = kept if scenario.policy == "hold" else months.cash
            sums.append(np.cumsum(flows * factors, axis=1))
    final = futures.price[:, -1]
    bought = [part / _price_at(futures, terms, month) for part, month in pays]
    bought_btc = np.sum(bought, axis=0)
    return Worth(
        np.concatenate(running),
        outlay - scenario.residual * end,
        np.concatenate(coins),
        bought_btc - scenario.residual / final,
        np.concatenate(held),
        bought_btc * final * end - outlay,
        np.concatenate(sums) if cumulative else None,
    )


def months_of(machine: Machine, terms: Terms, futures: Futures) -> Months:
    """Return a machine's months in these futures: run when that leaves more than it costs."""
    scenario, tariff = terms.scenario, terms.tariff
    begin = terms.wait + scenario.delay
    end = begin + scenario.months
    price, difficulty = futures.price[:, begin:end], futures.difficulty[:, begin:end]
    rate = _drawn(machine.hashrate, machine, futures, 0)
    watts = _drawn(machine.power, machine, futures, 1) * scenario.overhead
    rewards = _rewards(terms) * (1 - scenario.pool_fee)
    hashes_per_kwh = (rate / watts * J_PER_KWH)[:, None]
    coins_per_kwh = hashes_per_kwh * rewards / (difficulty * HASHES_PER_DIFFICULTY)
    earned = coins_per_kwh * price
    left = earned - scenario.hosting_usd_per_kwh if scenario.hosting_usd_per_kwh else earned
    full = watts[:, None] / 1000 * (MONTH_DAYS * 24 * _available(scenario))  # kWh, run throughout
    cash = full * tariff.margin(left)
    hours = tariff.hours(left)
    fixed = scenario.fixed_usd_per_month + scenario.demand_usd_per_kw_month * watts[:, None] / 1000
    if np.any(fixed):
        stands = cash <= fixed
        cash = np.where(stands, 0.0, cash - fixed)
        hours = np.where(stands, 0.0, hours)
    kwh = full * hours
    coins = kwh * coins_per_kwh
    luck = _luck(scenario, futures.seed, coins / rewards)
    if luck is not None:
        cash = cash + coins * (luck - 1) * price
        coins = coins * luck
    return Months(cash, coins, price, kwh)


def _in_pieces(machine: Machine, terms: Terms, futures: Futures) -> Iterator[Months]:
    for first in range(0, len(futures), TOGETHER):
        part = slice(first, first + TOGETHER)
        some = replace(
            futures,
            price=futures.price[part],
            difficulty=futures.difficulty[part],
            normal=futures.normal[:, part],
            uniform=futures.uniform[:, part],
            seed=None if futures.seed is None else futures.seed + first,
        )
        yield months_of(machine, terms, some)


def _steps(months: int) -> Array:
    """Return the years from one month's middle to the next; the first is half a month away."""
    steps = np.full(months, 1 / 12)
    steps[0] = 1 / 24
    return steps


def _middle(terms: Terms) -> tuple[Array, Array]:
    """Return the mean price and the median difficulty of each month."""
    scenario, snapshot = terms.scenario, terms.snapshot
    years = np.cumsum(_steps(terms.wait + terms.months))
    price = snapshot.usd_per_btc * (1 + scenario.price_drift) ** years
    difficulty = snapshot.difficulty * (1 + scenario.difficulty_growth) ** years
    return price, difficulty


def _price_at(futures: Futures, terms: Terms, month: int) -> Array:
    """Return $ a BTC when a payment falls due."""
    at = terms.wait + month
    if at == 0:
        return np.full(len(futures), terms.snapshot.usd_per_btc)
    return futures.price[:, min(at, futures.price.shape[1]) - 1]


def _drawn(figure: Figure, machine: Machine, futures: Futures, which: int) -> Array:
    """Return a figure's value in each future: even between limits, or normal with k = 2."""
    if machine.origin == NAMEPLATE:
        return np.asarray(figure.value + figure.U * futures.uniform[which])
    relative = figure.relative / 2 * futures.normal[which]
    return np.asarray(figure.value * np.exp(relative))


def _rewards(terms: Terms) -> Array:
    """Return BTC a block in each month of running."""
    scenario, snapshot = terms.scenario, terms.snapshot
    fees = snapshot.paid(scenario.pool_scheme).fees_btc
    first = snapshot.height + BLOCKS * (terms.wait + scenario.delay)
    edges = [first + BLOCKS * month for month in range(scenario.months + 1)]
    return np.array([issued_between(a, b) / BLOCKS + fees for a, b in pairwise(edges)])


def _available(scenario: Scenario) -> Array:
    """Return the part of each month that it can run: uptime, repairs, arrivals that were dead."""
    ages = np.arange(scenario.months)
    dead = scenario.doa * np.clip(scenario.repair_days / MONTH_DAYS - ages, 0.0, 1.0)
    return np.asarray(scenario.uptime * scenario.availability * (1 - dead))


def _luck(scenario: Scenario, seed: int | None, blocks: Array) -> Array | None:
    """Return blocks found over those expected, where the pool's scheme keeps its luck.

    `blocks` is what the machine alone finds on average. Those of a pool are many more.
    """
    if seed is None or scenario.pool_scheme not in {"pplns", "solo"}:
        return None
    if scenario.pool_share is not None and scenario.pool_scheme == "pplns":
        blocks = np.full(blocks.shape, scenario.pool_share * BLOCKS)
    found = np.random.default_rng((seed, 1)).poisson(blocks)
    luck: Array = np.divide(found, blocks, out=np.ones_like(blocks), where=blocks > 0)
    return luck
