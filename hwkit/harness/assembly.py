"""Streams put together: counter and power, each filling the other's holes, and bounds for the rest.

The terms are derived in docs/metering.md. Times are seconds from the window's opening.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hwkit.harness.readings import GAP, Finding
from hwkit.harness.streams import holes

if TYPE_CHECKING:
    from hwkit.harness.readings import Readings
    from hwkit.harness.streams import Stream

NEGLIGIBLE = 0.001  # no meter class is better: a counter whose step costs less goes before power
COUNTER_STEP, POWER_STEP, SAMPLING, GAPS = "counter step", "power step", "sampling", "gaps"


class Source(StrEnum):
    """What the joules were taken from."""

    COUNTER = "counter"
    INTEGRAL = "integral"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Candidate:
    source: Source
    joules: float
    unseen_s: float
    terms: dict[str, float]
    gaps: list[tuple[float, float, Finding]]

    @property
    def u(self) -> float:
        return math.hypot(*self.terms.values())


def choose(seen: Readings, width: float, floor_w: float) -> Candidate | None:
    """Take the counter or the integral, each with its holes filled by the other where it can."""
    counter = _assemble(Source.COUNTER, seen, width, floor_w)
    integral = _assemble(Source.INTEGRAL, seen, width, floor_w)
    chosen = counter or integral
    if counter and integral and not counter_first(counter.u, integral.u, counter.joules):
        chosen = integral
    if chosen is not None:
        seen.findings += chosen.gaps
    return chosen


def counter_first(u_counter: float, u_integral: float, joules: float) -> bool:
    """Say whether the counter gives the joules: unless its step costs more than power readings."""
    return u_counter <= max(u_integral, NEGLIGIBLE * joules)


def compare(seen: Readings, width: float) -> tuple[float, float, float] | None:
    """Return counter, integral and u of their difference, in joules, where both saw; else None."""
    counter = integral = u = 0.0
    for start, end in seen.counter.covered(0.0, width):
        for a, b in seen.power.covered(start, end):
            counter += seen.counter.energy(a, b)
            integral += seen.power.energy(a, b)
            u = math.hypot(
                u,
                *_counter_terms(seen.counter, seen, a, b).values(),
                *_power_terms(seen.power, seen, a, b).values(),
            )
    return (counter, integral, u) if integral > 0 else None


def _assemble(source: Source, seen: Readings, width: float, floor_w: float) -> Candidate | None:
    """Add up what one stream says, what the other says of its holes, and bounds for the rest."""
    streams = [seen.counter, seen.power] if source is Source.COUNTER else [seen.power, seen.counter]
    if not streams[0].between(0.0, width):
        return None
    joules, rest = 0.0, [(0.0, width)]
    terms: dict[str, float] = {}
    gaps: list[tuple[float, float, Finding]] = []
    for stream in streams:
        left = []
        for a, b in rest:
            joules += stream.energy(a, b)
            left += holes(stream.covered(a, b), a, b)
            of_stream = _counter_terms if stream is seen.counter else _power_terms
            for name, u in of_stream(stream, seen, a, b).items():
                terms[name] = math.hypot(terms.get(name, 0.0), u)
        rest = left
    gaps += _cut_silences(seen, width) if source is Source.COUNTER else []
    for a, b in rest:  # whatever closes one gap may close the next: limits add linearly
        power, u = _bounded(streams[0], seen, a, b, floor_w)
        joules += power * (b - a)
        terms[GAPS] = terms.get(GAPS, 0.0) + u
        if b - a > seen.interval_s:
            text = f"nobody saw {b - a:.3g} s: taken as {power:.4g} W, ±{u / (b - a):.2g} W"
            gaps.append((a, b, Finding("gap", round(seen.origin + b * 1e9), text)))
    return Candidate(source, joules, sum(b - a for a, b in rest), terms, gaps)


def _counter_terms(stream: Stream, seen: Readings, a: float, b: float) -> dict[str, float]:
    """Two readings end each stretch, each off by up to half a step; edges lie between readings."""
    pieces, edges = stream.pieces, 0.0
    for number, start, end in stream.between(a, b):
        piece = pieces[number]
        length = piece.t1 - piece.t0
        part = (end - start) / length
        if part < 1:  # the power of this part may differ from its piece's mean
            near = [p.p0 for p in pieces[max(number - 1, 0) : number + 2]]
            spread = seen.peak_w if length > GAP * seen.interval_s else max(near) - min(near)
            edges += (part * (1 - part) * length * spread) ** 2 / 3
    stretches = len(stream.covered(a, b))
    return {
        COUNTER_STEP: stream.step * math.sqrt(stretches / 6),
        SAMPLING: math.sqrt(edges),
    }


def _cut_silences(seen: Readings, width: float) -> list[tuple[float, float, Finding]]:
    """Find where an edge of the window lies in a silence that the counter spans."""
    found = []
    for number, start, end in seen.counter.between(0.0, width):
        piece = seen.counter.pieces[number]
        silence = piece.t1 - piece.t0
        coarse = piece.p0 * silence <= 2 * seen.counter.step
        if end - start < silence > GAP * seen.interval_s and not coarse:
            text = f"the window ends within {silence:.3g} s that only the counter tells of"
            found.append((start, end, Finding("gap", round(seen.origin + piece.t1 * 1e9), text)))
    return found


def _power_terms(stream: Stream, seen: Readings, a: float, b: float) -> dict[str, float]:
    """What happened between two readings nobody saw, save what a reading is the mean of."""
    unseen = covered = 0.0
    for number, start, end in stream.between(a, b):
        piece = stream.pieces[number]
        length = piece.t1 - piece.t0
        covered += end - start
        if end - start == length:
            length = max(length - seen.spec.averaging_s, 0.0)
        unseen += (length * (piece.p1 - piece.p0)) ** 2 / 2
    return {POWER_STEP: stream.step * covered / math.sqrt(12), SAMPLING: math.sqrt(unseen)}


def _bounded(
    stream: Stream, seen: Readings, a: float, b: float, floor_w: float
) -> tuple[float, float]:
    """Return the power taken for a hole, its neighbours' mean, and u in joules by its limits."""
    near = stream.beside(a, b)
    peak = max(seen.peak_w, floor_w)
    power = min(max(sum(near) / len(near), floor_w), peak)
    return power, max(power - floor_w, peak - power) * (b - a) / math.sqrt(3)
