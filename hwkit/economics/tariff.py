"""What power costs: one price, or an hourly file; run when an hour earns more than it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np

from hwkit.economics.prices import DEAREST
from hwkit.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

GRID = 65  # break-even prices at which a schedule with restarts is worked out


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of hours ($/kWh), ascending, with what curtailing pays and what restarts cost.

    Without restarts an hour is run if and only if its price and the credit for not running it are
    below what its kWh earns: that greedy rule is optimal, and a month's margin follows from the
    sorted prices. `restart_h` are hours of running that earn nothing, after each stop; then the
    best schedule is found for GRID break-even prices, and read between them.
    """

    ascending: Array
    sums: Array  # of the first k prices
    credit: float = 0.0
    grid: tuple[Array, Array, Array] | None = None  # break-even, margin, hours run

    @classmethod
    def of(
        cls, usd_per_kwh: Sequence[float], *, credit: float = 0.0, restart_h: float = 0.0
    ) -> Self:
        """Take prices of hours in their order; one price is that of every hour."""
        if not usd_per_kwh:
            raise PlanError("a tariff has one price at least")
        if not all(abs(price) <= DEAREST for price in usd_per_kwh):
            raise PlanError(f"a price of power lies within ±{DEAREST:g} $/kWh")
        ascending = np.sort(np.asarray(usd_per_kwh, dtype=np.float64))
        sums = np.concatenate(([0.0], np.cumsum(ascending)))
        grid = None
        if restart_h and len(usd_per_kwh) > 1:
            edges = np.linspace(0.0, max(2 * float(ascending[-1]), 0.01), GRID)
            runs = [schedule(usd_per_kwh, float(b), credit, restart_h) for b in edges]
            grid = (
                edges,
                np.array([margin for margin, _ in runs]),
                np.array([sum(ran) / len(ran) for _, ran in runs]),
            )
        return cls(ascending, sums, credit, grid)

    def margin(self, earned: Array) -> Array:
        """Return what an hour's kWh leaves on average, in $, where running it earns so much."""
        if self.grid is not None:
            return self._between(earned, self.grid[1])
        if len(self.ascending) == 1:
            return np.asarray(np.maximum(earned - self.ascending[0], self.credit))
        count = np.searchsorted(self.ascending, earned - self.credit)
        running = count * earned - self.sums[count]
        return np.asarray(
            (running + (len(self.ascending) - count) * self.credit) / len(self.ascending)
        )

    def hours(self, earned: Array) -> Array:
        """Return the part of the hours that are run where a kWh earns so much."""
        if self.grid is not None:
            return np.asarray(np.interp(earned, self.grid[0], self.grid[2]))
        run = np.searchsorted(self.ascending, earned - self.credit)
        return np.asarray(run / len(self.ascending))

    def scaled(self, factor: float) -> Self:
        """Return the tariff with every price so many times as high."""
        grid = self.grid and (self.grid[0] * factor, self.grid[1] * factor, self.grid[2])
        return replace(
            self,
            ascending=self.ascending * factor,
            sums=self.sums * factor,
            credit=self.credit * factor,
            grid=grid,
        )

    @property
    def mean(self) -> float:
        """The mean price of all hours."""
        return float(self.sums[-1]) / len(self.ascending)

    def _between(self, earned: Array, values: Array) -> Array:
        """Read a value at its break-even; past the grid every hour is run, and a kWh earns more."""
        edges = self.grid[0] if self.grid is not None else earned
        return np.asarray(np.interp(earned, edges, values) + np.maximum(earned - edges[-1], 0.0))


def schedule(
    usd_per_kwh: Sequence[float], earned: float, credit: float = 0.0, restart_h: float = 0.0
) -> tuple[float, list[bool]]:
    """Return the best mean margin of an hour's kWh ($), and which hours to run for it.

    Two states and the price of a change between them: dynamic programming is exact (a start costs
    `restart_h` hours of what running earns). Without restarts it is the greedy rule.
    """
    start = restart_h * max(earned, 0.0)
    off, on = 0.0, 0.0  # the best so far of those that end so; it may begin in either
    came: list[tuple[bool, bool]] = []  # was it on, of those that are now off, on
    for price in usd_per_kwh:
        from_on, stays = on > off, on >= off - start
        off, on = (
            max(off, on) + credit,
            (on if stays else off - start) + earned - price,
        )
        came.append((from_on, stays))
    state = on > off
    best = max(on, off) / len(usd_per_kwh)
    ran = []
    for from_on, stays in reversed(came):
        ran.append(state)
        state = stays if state else from_on
    return best, ran[::-1]


def starts(ran: Sequence[bool]) -> int:
    """Return how often a schedule starts after a stop."""
    return sum(after and not before for before, after in pairwise(ran))
