"""J/TH with an honest interval: energy and work of one window, their terms combined.

The formulas are derived in docs/metering.md.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import PlanError
from hwkit.harness.assembly import POWER_STEP
from hwkit.harness.energy import DISAGREEMENT, METER_CLASS, Energy, Grade, linearity_u
from hwkit.harness.statistics import garwood_interval, student_t
from hwkit.protocols import Basis
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HASHES_PER_DIFFICULTY = 2**48 / 65535  # 2^256 / (0xffff << 208)
FEW_SHARES = 100  # below them the interval is exact and lopsided
SHARES, WORK_ALIGNMENT, REPEATS, LINEARITY = "shares", "work alignment", "repeats", "linearity"
TERA = 1e12
HOPELESS = 100.0  # exp of it is as good as infinite, and still a number
SYSTEMATIC = {METER_CLASS, POWER_STEP, DISAGREEMENT}  # the same in every run: repeats cannot tell


@dataclass(frozen=True, slots=True)
class Work:
    """Hashes done in the energy's window, and what their number stands on."""

    hashes: float
    basis: Basis
    shares: int | None = None
    squares: float = 0.0  # sum of the squared hashes that each share stands for
    largest: float = 0.0  # the most hashes that one share stands for
    alignment_s: float = 0.0  # by how much its window's length may differ from the energy's

    @classmethod
    def counted(cls, hashes: int, alignment_s: float = 0.0) -> Self:
        """Return work whose every nonce was asked about: exact."""
        return cls(hashes, Basis.COUNTED, alignment_s=alignment_s)

    @classmethod
    def of_shares(cls, difficulties: Iterable[float], alignment_s: float = 0.0) -> Self:
        """Return work inferred from verified shares, by the difficulty assigned to each one's job.

        Never by the difficulty a share happened to reach. The window must have been closed by the
        clock: one that ends with its n-th share tells n / (n - 1) too much.
        """
        each = [HASHES_PER_DIFFICULTY * difficulty for difficulty in difficulties]
        squares = math.fsum(d * d for d in each)
        largest = max(each, default=0.0)
        return cls(math.fsum(each), Basis.SHARES, len(each), squares, largest, alignment_s)

    @classmethod
    def claimed(cls, hashes: float) -> Self:
        """Return work that a device says it did: no interval can speak for it."""
        return cls(hashes, Basis.CLAIMED)

    @classmethod
    def together(cls, parts: Sequence[Work]) -> Self:
        """Return the work of several devices on one meter, or of several runs."""
        if len({work.basis for work in parts}) != 1:
            raise PlanError("work counted, inferred from shares and claimed has no sum")
        known = [work.shares for work in parts if work.shares is not None]
        return cls(
            math.fsum(work.hashes for work in parts),
            parts[0].basis,
            sum(known) if len(known) == len(parts) else None,
            math.fsum(work.squares for work in parts),
            max(work.largest for work in parts),
            max(work.alignment_s for work in parts),
        )

    @property
    def effective_shares(self) -> float | None:
        """How many shares of one difficulty would say as much: (sum d)^2 / sum d^2 (Kish)."""
        return self.hashes**2 / self.squares if self.squares else None

    @property
    def deviations(self) -> tuple[float, float]:
        """By what the hashes may be off, below and above, as logarithms; 95 %, from shares."""
        effective = self.effective_shares
        if effective is None:
            return 0.0, 0.0
        if effective >= FEW_SHARES:
            return 2 / math.sqrt(effective), 2 / math.sqrt(effective)
        interval = garwood_interval(self.hashes, self.squares, self.largest)
        return math.log(self.hashes / interval.lo), math.log(interval.hi / self.hashes)


@dataclass(frozen=True, slots=True)
class Budget:
    """Relative standard uncertainties (k = 1) by term, and the expanded one (k = 2) below, above.

    Both are logarithms: a value x lies between x exp(-below) and x exp(above).
    """

    terms: Mapping[str, float]
    below: float
    above: float

    @classmethod
    def of(cls, terms: Mapping[str, float], below: float = 0.0, above: float = 0.0) -> Self:
        """Combine symmetric terms with one that is known as 95 % deviations below and above."""
        kept = {name: u for name, u in terms.items() if u > 0}
        twice = 2 * math.hypot(*kept.values())
        lopsided = {SHARES: (below + above) / 4} if below + above else {}
        return cls(kept | lopsided, math.hypot(twice, below), math.hypot(twice, above))

    @property
    def u(self) -> float:
        """The combined relative standard uncertainty."""
        return math.hypot(*self.terms.values())

    @property
    def shares(self) -> dict[str, float]:
        """Each term's part of the variance, the largest first."""
        total = self.u**2
        ordered = sorted(self.terms.items(), key=lambda term: -term[1])
        return {name: u * u / total for name, u in ordered}

    @property
    def dominant(self) -> str | None:
        """The term that matters most, in words: 'meter class 78 % of the variance'."""
        for name, part in self.shares.items():
            return f"{name} {100 * part:.0f} % of the variance"
        return None

    def figure(self, value: float, unit: str) -> Figure:
        """Return a value with this budget's interval."""
        above = math.exp(min(self.above, HOPELESS))
        return Figure(value, value * math.exp(-self.below), value * above, unit)

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record."""
        return {
            "terms": dict(self.terms),
            "variance": self.shares,
            "dominant": self.dominant,
            "below": self.below,
            "above": self.above,
        }


@dataclass(frozen=True, slots=True)
class Efficiency:
    """J/TH, power and hashrate of one window, each with its budget."""

    energy: Energy
    work: Work
    efficiency: Figure  # J/TH
    power: Figure  # W
    hashrate: Figure  # H/s
    budget: Budget  # of the efficiency
    power_budget: Budget
    hashrate_budget: Budget
    repeats: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return figures and budgets as they stand in a record."""
        return {
            "efficiency": self.efficiency.to_json() | {"budget": self.budget.to_json()},
            "power": self.power.to_json() | {"budget": self.power_budget.to_json()},
            "hashrate": self.hashrate.to_json() | {"budget": self.hashrate_budget.to_json()},
            "work": asdict(self.work) | {"effective_shares": self.work.effective_shares},
            "scope": self.energy.scope.value,
            "unchecked": self.energy.unchecked,
            "repeats": self.repeats,
        }


def efficiency(energy: Energy, work: Work, repeats: Sequence[float] = ()) -> Efficiency | None:
    """Return J/TH and what belongs to it; None without hashes, or an energy that can bear it.

    `energy` and `work` are of one window, or summed over the same ones; `repeats` are the J/TH of
    single runs, of which three at least say how far one run can be believed.
    """
    power = power_of(energy)
    if power is None or not energy.joules or work.hashes <= 0:
        return None
    joules, time_s = energy.joules, energy.time_s
    of_energy = {name: u / joules for name, u in energy.terms.items()}
    of_work = {WORK_ALIGNMENT: work.alignment_s / (math.sqrt(3) * time_s)}
    fewer, more = work.deviations
    terms = of_energy | of_work
    if len(repeats) >= 3:
        terms[REPEATS] = repeats_u(repeats, terms, (fewer + more) / 4)
    budget = Budget.of(terms, more, fewer)  # more hashes are fewer joules for each
    hashrate = Budget.of(of_work, fewer, more)
    return Efficiency(
        energy,
        work,
        budget.figure(joules * TERA / work.hashes, "J/TH"),
        power[0],
        hashrate.figure(work.hashes / time_s, "H/s"),
        budget,
        power[1],
        hashrate,
        len(repeats),
    )


def power_of(energy: Energy) -> tuple[Figure, Budget] | None:
    """Return the mean power of a window with its budget; None for an energy that cannot bear it."""
    if energy.grade is Grade.NONE or not energy.joules:
        return None
    budget = Budget.of({name: u / energy.joules for name, u in energy.terms.items()})
    return budget.figure(energy.joules / energy.time_s, "W"), budget


def repeats_u(
    values: Sequence[float],
    terms: Mapping[str, float],
    u_shares: float,
    *,
    confidence: float = 0.95,
    k: float = 2.0,
) -> float:
    """Return the relative u of a mean of runs, so far as their own random terms do not explain it.

    By Student's t, so that k times it covers as much for as few as three runs.
    """
    n = len(values)
    u = stdev(values) / fmean(values) / math.sqrt(n) * student_t(n - 1, confidence) / k
    random = [x for name, x in terms.items() if name not in SYSTEMATIC]
    return math.sqrt(max(0.0, u * u - math.hypot(u_shares, *random) ** 2))


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times one J/TH is another's, with its budget."""

    figure: Figure
    budget: Budget
    cancelled: bool  # one meter saw both: its class is in neither

    @property
    def says(self) -> str:
        """What was cancelled, in words."""
        return (
            "one meter saw both: its class cancels"
            if self.cancelled
            else "two meters: the class of each counts"
        )


def ratio(a: Efficiency, b: Efficiency, *, one_instrument: bool = True) -> Ratio:
    """Return a's J/TH over b's. On one and the same meter its error of reading cancels.

    What is left of the class: its error of range, as far as the loads differ, and its linearity.
    Meters of one name that are known to be two are not `one_instrument`. Raises PlanError where
    scopes differ.
    """
    if a.energy.scope is not b.energy.scope:
        raise PlanError(f"J/TH at {a.energy.scope} and at {b.energy.scope} are unlike")
    specs, corrections = a.energy.specs, a.energy.corrections
    alike = (specs, corrections) == (b.energy.specs, b.energy.corrections)
    same = one_instrument and len(specs) == 1 and alike
    names = (a.budget.terms.keys() | b.budget.terms.keys()) - {SHARES, METER_CLASS}
    terms = {n: math.hypot(a.budget.terms.get(n, 0), b.budget.terms.get(n, 0)) for n in names}
    if same:
        accuracy = a.energy.specs[0].accuracy
        terms[LINEARITY] = linearity_u(accuracy, a.power.value, b.power.value)
    else:
        terms[METER_CLASS] = _classes(a, b)
    (a_fewer, a_more), (b_fewer, b_more) = a.work.deviations, b.work.deviations
    budget = Budget.of(terms, math.hypot(a_more, b_fewer), math.hypot(a_fewer, b_more))
    value = a.efficiency.value / b.efficiency.value
    return Ratio(budget.figure(value, ""), budget, cancelled=same)


def _classes(a: Efficiency, b: Efficiency) -> float:
    """Return the class terms of two meters: linear where they are of one model, or may be."""
    u, v = (each.budget.terms.get(METER_CLASS, 0.0) for each in (a, b))
    models = [{spec.model for spec in each.energy.specs} for each in (a, b)]
    return u + v if models[0] & models[1] else math.hypot(u, v)
