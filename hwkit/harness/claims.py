"""What a miner claims of itself: the rate that heads its claims, others beside it, power."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.harness.delivered import DEVFEE, OTHER_RATE, POWER, RATE, TOTAL_HASHES, Mean
from hwkit.harness.efficiency import TERA
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwkit.harness.delivered import Rise

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MATTERS = 0.01  # of a claim: what is within a percent is no purchase's affair


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate that a miner claims, and where it says so."""

    h_s: float
    by: str
    error: float = 0.0  # relative, one standard deviation: of a counter's age, or its readings
    over_s: float = 0.0  # a mean of so long before each reading, where it says that

    @classmethod
    def of_reading(cls, name: str, mean: Mean) -> Rate | None:
        """Return the mean of a rate that it names; None where that is none."""
        if not mean.value or mean.value < 0:
            return None
        label = re.fullmatch(r"(\d{1,6}(?:\.\d+)?) ?([smhd])", mean.words[-1] if mean.words else "")
        over_s = float(label[1]) * SECONDS[label[2]] if label else 0.0
        by = mean.words[0] if mean.words else name
        return cls(mean.value, by, 2 * mean.scatter / mean.value, over_s)

    def gap(self, delivered: Figure, part: float = 1.0) -> Figure:
        """Return claimed over delivered - 1: 0.30 claims 30 % more than it delivers.

        `part` of the claim goes to us. The interval is of the shares and of the claim.
        """
        more = math.hypot(math.log(delivered.value / delivered.lo), 2 * self.error)
        less = math.hypot(math.log(delivered.hi / delivered.value), 2 * self.error)
        ratio = self.h_s * part / delivered.value
        return Figure(ratio - 1, ratio * math.exp(-less) - 1, ratio * math.exp(more) - 1, "")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a miner said of itself in the window of its shares; None: it did not."""

    rate_h_s: float | None
    by: str | None  # the probe that it is from
    stale_s: float  # how old a counter may be when it is read
    power_w: float | None
    power_said_by: tuple[str, ...]
    devfee: float | None
    at: str = ""  # where in its answers the rate stands
    others: tuple[Rate, ...] = ()  # that it names beside that one

    @classmethod
    def of(cls, rises: Mapping[str, Rise], means: Mapping[str, Mean]) -> Claim:
        """Return it: the rate by its hash counter where it has one, else by the rates it named."""
        total, power, fee = rises.get(TOTAL_HASHES), means.get(POWER, Mean()), means.get(DEVFEE)
        rate, by, stale_s = means.get(RATE, Mean()).value, RATE, 0.0
        if total is not None and total.over_ns and (total.total or rate is None):
            rate, by, stale_s = total.total * 1e9 / total.over_ns, TOTAL_HASHES, total.stale_s
        return cls(
            rate,
            None if rate is None else by,
            stale_s,
            power.value,
            power.words,
            None if fee is None else fee.value,
            (means[RATE].words or ("",))[0] if by == RATE and RATE in means else "",
            tuple(
                each
                for name, mean in sorted(means.items())
                if name.startswith(OTHER_RATE)
                # Records from before it told over how long its first rate is a mean leave it out.
                or (name == RATE and by != RATE and len(mean.words) > 1)
                if (each := Rate.of_reading(name, mean)) is not None
            ),
        )

    @property
    def largest(self) -> Rate | None:
        """The largest rate that it names, where it is more than the one that heads its claims."""
        largest = max(self.others, key=lambda each: each.h_s, default=None)
        if largest is None or largest.h_s <= (self.rate_h_s or 0.0) * (1 + MATTERS):
            return None
        return largest

    def rate(self, time_s: float) -> Rate | None:
        """Return the rate that heads its claims; a counter's age counts at both ends of a time."""
        if self.rate_h_s is None:
            return None
        return Rate(self.rate_h_s, self.at or str(self.by), self.stale_s / (math.sqrt(6) * time_s))

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record; J/TH is its own watts over its own hashes."""
        told = {
            "hashrate_h_s": self.rate_h_s,
            "by": self.by,
            "largest_h_s": self.largest and self.largest.h_s,
            "largest_by": self.largest and self.largest.by,
            "power_w": self.power_w,
            "power_said_by": " ".join(self.power_said_by) or None,
            "devfee_fraction": self.devfee,
            "efficiency_j_th": (
                self.power_w * TERA / self.rate_h_s if self.power_w and self.rate_h_s else None
            ),
        }
        kept = {name: value for name, value in told.items() if value is not None}
        return {"claimed": kept} if kept else {}
