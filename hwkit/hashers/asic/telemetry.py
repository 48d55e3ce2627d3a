"""What a miner says of itself: every value with its unit and where it was said; absent is None."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hwkit.errors import Unmeasurable
from hwkit.protocols import Provenance, Scope

T = TypeVar("T", float, str)
COUNTERS = (
    "accepted",
    "rejected",
    "stale",
    "hardware_errors",
    "difficulty_accepted",
    "difficulty_rejected",
    "difficulty_stale",
    "total_hashes",
)
# Elapsed counts whole seconds, and an answer is some time on its way.
SLACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Value(Generic[T]):
    """A number or text that a miner said, in `unit`; `source` names command and path.

    `label` tells values of one kind apart: the window of a hashrate, what a temperature is of.
    """

    value: T
    unit: str
    source: str
    label: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        label = {"label": self.label} if self.label else {}
        return {"value": self.value, "unit": self.unit} | label | {"source": self.source}


@dataclass(frozen=True, slots=True)
class Power(Value[float]):
    """Power in W, with who says so and what it includes: only a meter at the wall needs neither.

    None is not told: a library has read it.
    """

    provenance: Provenance | None = Provenance.ESTIMATED
    scope: Scope | None = Scope.WALL

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return Value.to_json(self) | {
            "provenance": self.provenance and self.provenance.value,
            "scope": self.scope and self.scope.value,
        }


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool that it knows, as it says; `fee` is one that is not its owner's."""

    number: int
    source: str
    url: str | None = None
    user: str | None = None
    status: str | None = None
    active: bool | None = None
    accepted: float | None = None
    rejected: float | None = None
    stale: float | None = None
    difficulty_accepted: float | None = None
    fee: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something amiss in what it said: of which field, where, and why."""

    field: str
    source: str
    why: str

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.field}: {self.why} ({self.source})"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a miner says of itself at one moment, SI units; `at` is monotonic ns, None of old."""

    dialect: str
    at: int | None = None
    make: Value[str] | None = None
    model: Value[str] | None = None
    firmware: Value[str] | None = None
    serial: Value[str] | None = None
    mac: Value[str] | None = None
    hostname: Value[str] | None = None
    algorithm: Value[str] | None = None  # None: it does not say
    hashrate_h_s: Value[float] | None = None  # what it puts first; its label is the window
    hashrates_h_s: tuple[Value[float], ...] = ()  # of all windows
    boards_h_s: tuple[Value[float], ...] = ()  # of each hash board
    expected_h_s: Value[float] | None = None  # nominal, as it names it
    errors_h_s: Value[float] | None = None  # hashes that came to nothing
    power_w: Power | None = None
    temperatures_c: tuple[Value[float], ...] = ()
    fans_rpm: tuple[Value[float], ...] = ()
    fans: Value[float] | None = None  # how many it should have
    chips: Value[float] | None = None
    frequency_mhz: Value[float] | None = None
    voltage_v: Value[float] | None = None
    hardware_errors: Value[float] | None = None
    hardware_error_rate: Value[float] | None = None  # a fraction of the work, as it counts
    accepted: Value[float] | None = None
    rejected: Value[float] | None = None
    stale: Value[float] | None = None
    difficulty_accepted: Value[float] | None = None
    difficulty_rejected: Value[float] | None = None
    difficulty_stale: Value[float] | None = None
    total_hashes: Value[float] | None = None
    elapsed_s: Value[float] | None = None  # that its counters count
    mode: Value[str] | None = None
    tuning: Value[str] | None = None  # "done" or "running"; None: unknown
    power_target_w: Value[float] | None = None
    hashrate_target_h_s: Value[float] | None = None
    diverted: Value[float] | None = None  # the fraction of its work that goes to another's pool
    pools: tuple[Pool, ...] = ()
    errors: tuple[Value[str], ...] = ()  # its own error codes and words
    findings: tuple[Finding, ...] = ()
    repairs: tuple[str, ...] = ()  # of malformed answers, as "stats: missing comma"
    absent: tuple[str, ...] = ()  # commands that it did not answer, and why

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it: every field, null where it says nothing."""
        return {name: _json(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Delta:
    """By how much a miner's counters moved between two moments; None: it does not count that."""

    elapsed_s: float
    accepted: float | None
    rejected: float | None
    stale: float | None
    hardware_errors: float | None
    difficulty_accepted: float | None
    difficulty_rejected: float | None
    difficulty_stale: float | None
    total_hashes: float | None

    @property
    def hashrate_h_s(self) -> float | None:
        """What it claims to have hashed, over the time it says."""
        return None if self.total_hashes is None else self.total_hashes / self.elapsed_s


def delta(before: Telemetry, after: Telemetry) -> Delta:
    """Return by how much its counters moved over a window.

    Raises Unmeasurable where it was restarted, its counters were set back, or it is another device;
    and where it does not say how long it counts.
    """
    for name in ("dialect", "model", "serial", "firmware"):
        a, b = _bare(getattr(before, name)), _bare(getattr(after, name))
        if a is not None and b is not None and a != b:
            raise Unmeasurable(
                f"its {name} was {a} and is {b}: these are two devices, or firmwares"
            )
    if before.elapsed_s is None or after.elapsed_s is None:
        raise Unmeasurable("it does not say how long it counts: a restart would go unseen")
    elapsed_s = after.elapsed_s.value - before.elapsed_s.value
    if elapsed_s < 0:
        raise Unmeasurable(
            f"it was restarted in the window: it counted {before.elapsed_s.value:.0f} s "
            f"and then {after.elapsed_s.value:.0f} s"
        )
    if before.at is not None and after.at is not None:
        passed_s = (after.at - before.at) / 1e9
        if elapsed_s < 0.8 * passed_s - SLACK_S:
            what = f"{passed_s:.0f} s passed, it counted {elapsed_s:.0f} s"
            raise Unmeasurable(f"it was restarted or stood still: {what}")
    if elapsed_s == 0:
        raise Unmeasurable("it counted no second between the two")
    moved = {name: _moved(name, before, after) for name in COUNTERS}
    return Delta(elapsed_s=elapsed_s, **moved)


def _moved(name: str, before: Telemetry, after: Telemetry) -> float | None:
    a: Value[float] | None = getattr(before, name)
    b: Value[float] | None = getattr(after, name)
    if a is None or b is None:
        return None
    if _place(a.source) != _place(b.source):
        raise Unmeasurable(f"{name} comes from {a.source} and then from {b.source}")
    if b.value < a.value:
        raise Unmeasurable(f"its counter {name} was set back: {a.value:.10g}, then {b.value:.10g}")
    return b.value - a.value


def _place(source: str) -> str:
    """Leave out how many addends a sum had: boards come and go, the counter stays one."""
    return re.sub(r"\(\d+\)", "", source)


def _bare(value: Value[str] | str | None) -> str | None:
    return value.value if isinstance(value, Value) else value


def _json(value: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, (Value, Pool)):
        return value.to_json()
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    return str(value) if isinstance(value, Finding) else value
