"""Devices whose energy is known, and meters that look at them, well or badly."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import SimpleNamespace

from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY, Work, efficiency
from hwkit.harness.energy import energy
from hwkit.harness.metering import Sampled
from hwkit.harness.reach import Conditions
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Reading, Scope

S = 10**9


def spec(of_reading=0.01, **fields):
    """A wall meter of some class; None: unchecked."""
    accuracy = None if of_reading is None else Accuracy(of_reading)
    return MeterSpec(
        fields.pop("name", "test"),
        fields.pop("scope", Scope.WALL),
        fields.pop("provenance", Provenance.METER),
        fields.pop("accuracy", accuracy),
        fields.pop("interval_s", 1.0),
        **fields,
    )


def reading(t, watts=None, joules=None, took_ns=0, **fields):
    """A reading at t seconds."""
    return Reading(round(t * S), joules=joules, watts=watts, took_ns=took_ns, **fields)


def sampled(readings, of=None, told=None, faults=()):
    """What a meter has said and done, as a session keeps it."""
    each = Sampled(SimpleNamespace(spec=of or spec()), told or {}, faults=list(faults))
    for one in readings:
        each.take(one)
    return each


class Load:
    """Power as straight lines between corners (seconds, watts), and its exact energy."""

    def __init__(self, corners):
        self.times = [t for t, _ in corners]
        self.watts = [p for _, p in corners]
        steps = pairwise(corners)
        self.sums = list(
            accumulate(((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in steps), initial=0.0)
        )

    def _before(self, t):
        return min(max(bisect_right(self.times, t) - 1, 0), len(self.times) - 2)

    def power(self, t):
        k = self._before(t)
        part = (t - self.times[k]) / (self.times[k + 1] - self.times[k])
        return self.watts[k] + part * (self.watts[k + 1] - self.watts[k])

    def until(self, t):
        k = self._before(t)
        return self.sums[k] + (t - self.times[k]) * (self.watts[k] + self.power(t)) / 2

    def energy(self, a, b):
        return self.until(b) - self.until(a)


# Twenty minutes of a miner, as in the tables of docs/metering.md: it warms up (7.5 %), throttles
# for three minutes, and reboots for 90 s at 300 s to 390 s.
REBOOT = (300.0, 390.0)
MINER = Load(
    (
        (-60.0, 3100.0),
        (0.0, 3130.0),
        (299.0, 3250.0),
        (300.0, 30.0),
        (390.0, 32.0),
        (420.0, 3200.0),
        (700.0, 3330.0),
        (705.0, 2700.0),
        (880.0, 2720.0),
        (885.0, 3330.0),
        (1260.0, 3350.0),
    )
)


def polled(load, times, draw=None, *, loss=0.0, skip=(), counter=None):
    """Readings of the load at these times but those lost; `counter` makes joules of exact ones."""
    draw = draw or random.Random(1)
    first = times[0]
    kept = []
    for t in times:
        if any(s < t < e for s, e in skip) or (loss and draw.random() < loss):
            continue
        joules = counter(load.energy(first, t)) if counter else None
        kept.append(reading(t, load.power(t), joules))
    return kept


def stepped(quantum, start=0.0):
    """A counter that shows whole steps."""
    return lambda joules: math.floor((start + joules) / quantum) * quantum


def poisson(draw, mean):
    """A Poisson number: by the normal approximation from 1,000 on."""
    if mean > 1000:
        return max(0, round(draw.gauss(mean, math.sqrt(mean))))
    count, level = 0, draw.expovariate(1.0)
    while level < mean:
        count += 1
        level += draw.expovariate(1.0)
    return count


def integration_error(draw, time_s=1200.0, loss=0.1):
    """By what fraction energy() misses what the miner took, read once a second with losses."""
    offset = draw.random()
    times = [t + offset for t in range(-5, int(time_s) + 5)]
    result = energy(polled(MINER, times, draw, loss=loss), spec(), 0, round(time_s * S))
    return result.joules / MINER.energy(0.0, time_s) - 1


@dataclass(frozen=True)
class History:
    """A meter's readings with all that may go wrong, what was really drawn, and by how much an
    honest reader may miss it: what could flow while the counter told nothing.
    """

    readings: list[Reading]
    spec: MeterSpec
    ceiling_w: float
    a_ns: int
    b_ns: int
    truth: float
    slack: float


def history(draw):
    """Make one: wraps, resets (to nought or to less), steps up, silences, coarse steps."""
    peak = 10 ** draw.uniform(0.5, 4)
    level = draw.uniform(0.3, 0.95) * peak
    ceiling = 2 * peak
    quantum = peak * 10 ** draw.uniform(-4, 0.5)
    wraps = draw.random() < 0.6
    modulus = math.ceil(draw.uniform(3, 60) * ceiling / quantum) * quantum
    has_watts = draw.random() < 0.5
    t, total, base = 0.0, 0.0, draw.uniform(0, modulus)
    readings, corners, eventful, events = [], [], 0.0, 0
    power = level
    for _ in range(draw.randrange(20, 50)):
        shown = math.floor(max(base + total, 0.0) / quantum) * quantum
        if wraps:
            shown %= modulus
        readings.append(reading(t, power if has_watts else None, shown))
        corners.append((t, power))
        step = draw.uniform(0.9, 1.1)
        what = draw.random()
        if what < 0.02:  # the meter starts anew
            base = -total + (draw.uniform(0, max(shown, 0.0)) if draw.random() < 0.5 else 0.0)
        elif what < 0.04:  # its counter jumps
            base += peak * 10 ** draw.uniform(-1, 6)
        elif what < 0.06:  # or nobody can read it
            step *= draw.uniform(2, 12)
        if what < 0.06:
            eventful += step
            events += 1
        after = min(max(power * draw.uniform(0.95, 1.05), 0.2 * peak), peak)
        total += step * (power + after) / 2
        power, t = after, t + step
    load = Load(corners)
    a, b = corners[0][0], corners[-1][0]
    if draw.random() < 0.7:  # edges between readings
        a, b = a + draw.uniform(0, 3), b - draw.uniform(0, 3)
    a_ns, b_ns = round(a * S), round(b * S)
    truth = load.energy(a, b)
    known = spec(
        quantum_j=quantum if draw.random() < 0.7 else None,
        modulus_j=modulus if wraps else None,
    )
    slack = ceiling * eventful + 4 * quantum * (2 + events) + 0.02 * truth + 2 * peak
    return History(readings, known, ceiling, a_ns, b_ns, truth, slack)


def history_fails(made):
    """Is the energy of a history negative, or further off than anything excuses?"""
    result = energy(made.readings, made.spec, made.a_ns, made.b_ns, ceiling_w=made.ceiling_w)
    if result.joules is None:
        return result.coverage > 0
    return not (result.joules >= 0 and abs(result.joules - made.truth) <= made.slack)


@dataclass(frozen=True)
class Setup:
    """A device, a meter and a plan."""

    name: str
    of_reading: float
    power_w: float
    hashrate_h_s: float
    share_difficulty: float
    time_s: float
    fields: tuple[tuple[str, object], ...] = ()

    @property
    def conditions(self):
        known = spec(self.of_reading, **dict(self.fields))
        return Conditions(
            known, self.power_w, self.hashrate_h_s, self.share_difficulty, round_trip_s=0.02
        )


def measured(setup, draw):
    """One run: drift, noise, a meter that is off by something its class allows, Poisson's shares.

    Return what was measured and the true J/TH.
    """
    known = setup.conditions.spec
    off = 1 + draw.uniform(-setup.of_reading, setup.of_reading)
    drift = draw.uniform(-0.02, 0.02)
    interval = known.interval_s
    count = math.ceil(setup.time_s / interval) + 6
    level = [setup.power_w * (1 + drift * k / count) * draw.gauss(1, 0.01) for k in range(count)]
    times = [(k - 2.5) * interval for k in range(count)]
    load = Load(list(zip(times, level, strict=True)))
    start = draw.uniform(0, 1e7)
    trip_s = setup.conditions.round_trip_s
    readings = []
    for t, watts in zip(times, level, strict=True):
        if draw.random() < 0.02:
            continue
        joules = None
        if known.quantum_j:
            joules = stepped(known.quantum_j, start)(off * load.until(t))
        stamp = t + trip_s * draw.uniform(-0.5, 0.5)
        readings.append(reading(stamp, off * watts, joules, took_ns=round(trip_s * S)))
    hashes = setup.hashrate_h_s * setup.time_s
    each = setup.share_difficulty * HASHES_PER_DIFFICULTY
    work = Work.of_shares([setup.share_difficulty] * poisson(draw, hashes / each))
    seen = energy(readings, known, 0, round(setup.time_s * S))
    return efficiency(seen, work), load.energy(0, setup.time_s) * 1e12 / hashes
