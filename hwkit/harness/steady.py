"""Has the device settled? Slopes of power and temperature over a trailing window."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING

from hwkit.errors import PlanError
from hwkit.harness.statistics import slope

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST = 10  # values without which a slope is chance
SEEN = 0.9  # of the trailing window that values must span


class Warmth(StrEnum):
    """Where a warm-up stands."""

    WARMING = "warming"
    STEADY = "steady"
    NOT_STEADY = "not-steady"  # the longest warm-up is over: measured all the same, and labelled


@dataclass(frozen=True, slots=True)
class Gate:
    """When a device counts as settled."""

    trailing_s: float = 300.0
    power: float = 0.005  # of its mean that it may drift in the trailing window
    celsius: float = 0.5  # that the hottest sensor may drift in it
    least_s: float = 600.0
    most_s: float = 2700.0

    def __post_init__(self) -> None:
        """Raise PlanError for a gate that cannot open."""
        if not self.trailing_s > 0:
            raise PlanError(f"a trailing window of {self.trailing_s:g} s: it lies above 0")
        if not 0 <= self.least_s <= self.most_s:
            raise PlanError(
                f"warm-up between {self.least_s:g} and {self.most_s:g} s: the least is the less"
            )


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Where the warm-up stands and what the slopes are; None where there is nothing to tell by."""

    warmth: Warmth
    power: float | None  # drift over the trailing window, as a fraction of its mean
    celsius: float | None
    why: str


def steadiness(
    now_ns: int,
    begun_ns: int,
    *,
    power: Sequence[tuple[int, float]],
    hottest: Sequence[tuple[int, float]] = (),
    fan: Sequence[tuple[int, float]] = (),
    gate: Gate | None = None,
) -> Steadiness:
    """Judge samples of (monotonic ns, value): watts, degrees Celsius, fan duty.

    A quantity without samples is not asked for; one that has too few in the trailing window keeps
    the gate shut. Without any there is no evidence, and the gate opens only as not-steady.
    """
    gate = gate or Gate()
    spent_s = (now_ns - begun_ns) / 1e9
    watts, celsius = (_drift(samples, now_ns, gate) for samples in (power, hottest))
    drift = watts[0] / watts[1] if watts and watts[1] > 0 else None
    against = []
    if not power and not hottest:
        against.append("nothing tells power or temperature")
    if power and (drift is None or abs(drift) >= gate.power):
        against.append(_text("power", drift and 100 * drift, "%"))
    if hottest and (celsius is None or abs(celsius[0]) >= gate.celsius):
        against.append(_text("temperature", celsius and celsius[0], "°C"))
    if len({value for at, value in fan if at >= now_ns - gate.trailing_s * 1e9}) > 1:
        against.append("the fan changes its speed")
    if spent_s < gate.least_s:
        warmth, why = Warmth.WARMING, f"{spent_s:.0f} s of at least {gate.least_s:.0f} s"
    elif not against:
        warmth, why = Warmth.STEADY, f"steady after {spent_s:.0f} s"
    else:
        warmth = Warmth.WARMING if spent_s < gate.most_s else Warmth.NOT_STEADY
        why = "; ".join(against)
    return Steadiness(warmth, drift, celsius and celsius[0], why)


def _drift(
    samples: Sequence[tuple[int, float]], now_ns: int, gate: Gate
) -> tuple[float, float] | None:
    """Return how far the fitted line moves over the trailing window, and the mean; None: too few.

    Least squares: white noise of standard deviation s moves it by s sqrt(12 / n), chance alone.
    """
    since = now_ns - gate.trailing_s * 1e9
    recent = [((at - now_ns) / 1e9, value) for at, value in samples if since <= at <= now_ns]
    if len(recent) < FEWEST or -recent[0][0] < SEEN * gate.trailing_s:
        return None
    times, values = zip(*recent, strict=True)
    return slope(times, values) * gate.trailing_s, fmean(values)


def _text(what: str, drift: float | None, unit: str) -> str:
    if drift is None:
        return f"{what} is not seen often enough"
    return f"{what} drifts {drift:+.2g} {unit}"
