"""The plan of a measurement: frozen before it starts, stored whole in the record."""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import asdict, dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import PlanError
from hwkit.harness.steady import Gate
from hwkit.protocols import Basis
from hwkit.work import Header, Job, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

TURN_S = 0.25
TURN_COST_S = 0.08  # starting, reporting once before the window opens, auditing, committing
USUAL_SPREAD = 0.03  # of windows on a machine that does other things too
FED_EXTRANONCE2 = 4  # bytes: some miners work with no other size (docs/stratum-quirks.md)
NONCES_ONLY, VERSION_ROLLING = "nonces only", "version rolling"  # unlike work, so never ranked
MINERS_CHOICE = "as the miner rolls"  # of one that is fed or watched: what it rolls is its own
_UNITS_S = {"ms": 0.001, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"time_s": 5.0, "precision": 0.01, "warmup_s": 0.5},
    "standard": {"time_s": 60.0, "precision": 0.005, "warmup_s": 3.0},
    "accept": {"time_s": 3600.0, "precision": None, "warmup_s": 60.0},
}
# Meters read about once a second, and devices take minutes to settle.
METERED: dict[str, dict[str, Any]] = {
    "quick": {"time_s": 300.0, "precision": 0.03, "warmup_s": 30.0},
    "standard": {"time_s": 1800.0, "precision": 0.01, "warmup_s": 60.0, "settle": True},
    "accept": {"time_s": 86400.0, "precision": None, "warmup_s": 60.0, "settle": True},
}
# A miner that is fed gives about ten shares a second, and takes minutes to come and to warm up.
FED: dict[str, dict[str, Any]] = {
    "quick": {"time_s": 600.0, "precision": 0.05, "warmup_s": 60.0},
    "standard": {"time_s": 7200.0, "precision": 0.01, "warmup_s": 600.0},
    "accept": {"time_s": 86400.0, "precision": None, "warmup_s": 600.0},
}
FED_SHARES_PER_S = (
    10.0  # that the bench pool begins with; it asks for more while that costs nothing
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how precisely, on what work."""

    time_s: float = 5.0  # measured at most, for each hasher
    precision: float | None = 0.01  # stop a hasher when its interval is this narrow; None: never
    warmup_s: float = 0.5  # turns that are not counted, for each hasher
    turn_s: float = TURN_S
    seed: str = field(default_factory=lambda: secrets.token_hex(16))
    challenge: str | None = None
    beacon: str | None = None  # 160 hex digits
    version_rolling: bool = False  # BIP 320: each nonce with 16 versions, which share a schedule
    meters: tuple[str, ...] = ()  # addresses; with any, precision is that of J/TH
    idle_s: float = 0.0  # before and after, so long the meters watch the device idle
    settle: bool = False  # warm up until power and temperature have settled (harness.steady)

    def __post_init__(self) -> None:
        """Raise PlanError for what cannot be measured."""
        object.__setattr__(self, "meters", tuple(self.meters))  # of JSON, which has lists
        if not 0 < self.time_s <= 30 * 86400:
            raise PlanError(f"time {self.time_s:g} s: it lies above 0 and up to 30 days")
        if self.precision is not None and not 0.0001 <= self.precision <= 0.5:
            raise PlanError(f"precision {100 * self.precision:g} %: it lies between 0.01% and 50%")
        if not 0 <= self.warmup_s <= 86400:
            raise PlanError(f"warm-up {self.warmup_s:g} s: it lies between 0 and a day")
        if not 0 <= self.idle_s <= 86400:
            raise PlanError(f"idle for {self.idle_s:g} s: it lies between 0 and a day")
        if not 0.02 <= self.turn_s <= 60:
            raise PlanError(f"a turn of {self.turn_s:g} s: it lies between 0.02 and 60 s")
        self.job(0xFFFFFFFF, Target(1))  # a challenge or beacon that makes no job is refused here

    @classmethod
    def preset(cls, name: str, basis: Basis = Basis.COUNTED, **changes: Any) -> Self:  # noqa: ANN401
        """Return 'quick', 'standard' or 'accept', with changes.

        With meters they take longer, and for a miner that shows its rate by shares still longer.
        """
        preset = dict((METERED if changes.get("meters") else PRESETS)[name])
        if basis is not Basis.COUNTED:
            preset |= FED[name]
        return cls(**{**preset, **changes})

    def with_precision(self, precision: float | None) -> Self:
        """Return the plan with another precision; None runs its whole time."""
        return replace(self, precision=precision)

    @property
    def work(self) -> str:
        """What kind of work it measures: only like is ranked against like."""
        return VERSION_ROLLING if self.version_rolling else NONCES_ONLY

    def job(self, ntime: int, target: Target, entry: int = 0, basis: Basis = Basis.COUNTED) -> Job:
        """Return the job that this plan's seed, challenge and beacon make for its n-th hasher.

        No two hashers of a session work on the same headers.
        """
        return Job.create(
            seed=(f"{self.seed}/{entry}" if entry else self.seed).encode(errors="surrogateescape"),
            ntime=ntime,
            target=target,
            challenge=self.challenge,
            beacon=None if self.beacon is None else Header.from_hex(self.beacon),
            version_rolling=self.version_rolling,
            extranonce2_size=8 if basis is Basis.COUNTED else FED_EXTRANONCE2,
        )

    def estimate(
        self, names: Sequence[str], chain: int | None = None, basis: Basis = Basis.COUNTED
    ) -> str:
        """Say how long it will take for these hashers and what precision can be reached.

        In one go, with meters or of a miner: of so many in a `chain` one works after another, all
        of them unless it is told. `basis` is that of the least known.
        """
        if self.meters or basis is not Basis.COUNTED:
            said = self._estimate_in_one_go(names, len(names) if chain is None else chain)
            return f"{said} {self._by_shares()}" if basis is Basis.SHARES else said
        turns = math.ceil(self.time_s / self.turn_s)
        longest_s = len(names) * (self.warmup_s + TURN_COST_S + turns * (self.turn_s + TURN_COST_S))
        # The spread of a normal sample is 1.2816 standard deviations, its median worse than its
        # mean by 1.2533.
        reach = 1.2533 * 1.96 * USUAL_SPREAD / 1.2816 / math.sqrt(turns)
        what = f"{names[0]} for" if len(names) == 1 else f"{len(names)} hashers taking turns,"
        early = (
            "" if self.precision is None else f", less where ±{percent(self.precision)} is reached"
        )
        return (
            f"{what} {duration(self.time_s)}{' each' * (len(names) > 1)}{beside(self.work)}: "
            f"at most {duration(longest_s)}{early}. "
            f"Windows that spread {percent(USUAL_SPREAD)} allow about ±{percent(reach)}."
        )

    def _by_shares(self) -> str:
        """Say how long precision takes: n shares give a rate to 1.96 / sqrt(n), 95 %."""
        said = []
        for precision in sorted({self.precision or 0.05, 0.01}, reverse=True):
            shares = shares_for(precision)
            takes = duration(shares / FED_SHARES_PER_S)
            said.append(f"±{percent(precision)} of the rate takes {shares:,} shares, {takes}")
        return f"At {FED_SHARES_PER_S:g} shares a second {', and '.join(said)}."

    def _estimate_in_one_go(self, names: Sequence[str], chain: int) -> str:
        gate = Gate()
        warm_s = gate.most_s if self.settle else self.warmup_s
        longest_s = chain * (warm_s + self.time_s + 2 * self.idle_s)
        least = (
            f" after {duration(gate.least_s)} to {duration(gate.most_s)} of warm-up"
            if self.settle
            else f" after {duration(self.warmup_s)} of warm-up" * (not self.meters)
        )
        early = (
            ""
            if self.precision is None
            else f", less where {self._headline} is known to ±{percent(self.precision)}"
        )
        each = " each" * (len(names) > 1)
        who = (" and then " if chain == len(names) else " and ").join(names)
        return (
            f"{who} for {duration(self.time_s)}{least}{each}"
            f"{beside(self.work)}{', by ' * bool(self.meters)}{', '.join(self.meters)}: "
            f"at most {duration(longest_s)}{early}."
        )

    @property
    def _headline(self) -> str:
        return "J/TH" if self.meters else "the rate"

    def to_json(self) -> dict[str, Any]:
        """Return every field."""
        return asdict(self) | {"meters": list(self.meters)}


def shares_for(precision: float) -> int:
    """Return how many shares of one difficulty give a rate to this fraction, 95 %."""
    return round((NormalDist().inv_cdf(0.975) / precision) ** 2)


def beside(work: str) -> str:
    """Return what stands beside a figure to say of what work it is: of nonces only, nothing."""
    return "" if work == NONCES_ONLY else f", {work}"


def seconds(text: str) -> float:
    """Read a duration: '90s', '1h30m', '2.5min'. Raises PlanError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d)", text)
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d)\s*", "", text).strip():
        raise PlanError(f"{text!r} is no duration: write 90s, 5min or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def fraction(text: str) -> float:
    """Read a precision: '1%' or '0.01'. Raises PlanError."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError as error:
        raise PlanError(f"{text!r} is no precision: write 1% or 0.01") from error
    return value / 100 if "%" in text else value


def duration(time_s: float) -> str:
    """Show seconds as people say them: '42 s', '5 min 30 s', '2 h 5 min'."""
    whole = round(time_s)
    if whole < 60:
        return f"{time_s:.3g} s" if time_s < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 >= 60 else "")


def percent(part: float) -> str:
    """Show a fraction: '0.5 %'."""
    return f"{100 * part:.2g} %"
