"""Figures by setting: a run in which a miner was set otherwise falls into stretches.

A window in which something may have changed belongs to none of them: that is from the look at which
a setting was told as before for the last time to the one at which it was told otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from hwkit.harness.claims import Claim
from hwkit.harness.delivered import POWER, RATE, TOTAL_HASHES, Mean, Rise
from hwkit.harness.efficiency import Work
from hwkit.harness.inferred import hashrate
from hwkit.protocols import Basis
from hwkit.units import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hwkit.harness.delivered import Change, Delivered, Setting
    from hwkit.harness.result import Result
    from hwkit.protocols import Window

    Meter = Callable[[Sequence[Window]], Sequence[Result]]

MOST = 20  # that a record names, the longest: one that tunes changes at each look


@dataclass(frozen=True, slots=True)
class Stretch:
    """Windows that follow each other, in all of which the settings were these."""

    first: int  # its first window's number
    windows: Sequence[Window]
    settings: dict[str, Setting]  # of those that changed in the run
    changed: tuple[str, ...]  # since the stretch before

    @property
    def opened(self) -> int:
        """When it began, in monotonic ns."""
        return self.windows[0].opened

    @property
    def closed(self) -> int:
        """When it ended, in monotonic ns."""
        return self.windows[-1].closed

    @property
    def shares(self) -> int:
        """How many came in it."""
        return sum(window.shares for window in self.windows)


def by_setting(
    windows: Sequence[Window], delivered: Delivered, basis: Basis, meter: Meter
) -> dict[str, Any]:
    """Return the figures of each stretch as they stand in a record; nothing where none changed.

    `meter` returns what meters say of some windows. Of more stretches than MOST the longest are
    named; what came in the others, and in windows of a change, is told in sum.
    """
    found = stretches(windows, delivered.changes)
    if not delivered.changes or not windows:
        return {}
    longest = sorted(found, key=lambda each: each.opened - each.closed)[:MOST]
    named = sorted(longest, key=lambda each: each.first)
    between_s = (sum(w.closed - w.opened for w in windows) - _length(found)) / 1e9
    told = {
        "stretches": [_told(each, windows[0].opened, delivered, basis, meter) for each in named],
        "between": {
            "time_s": between_s,
            "shares": sum(w.shares for w in windows) - sum(each.shares for each in found),
        },
    }
    if len(found) > MOST:
        told["unnamed"] = {
            "stretches": len(found) - MOST,
            "time_s": (_length(found) - _length(named)) / 1e9,
            "shares": sum(each.shares for each in found) - sum(each.shares for each in named),
        }
    return {"settings": told}


def stretches(windows: Sequence[Window], changes: Sequence[Change]) -> list[Stretch]:
    """Return the stretches between changes, in order; each of whole windows."""
    ordered = sorted(changes, key=lambda change: (change.at, change.since))
    settings: dict[str, Setting] = {}
    for change in ordered:
        settings.setdefault(change.name, change.before)
    found: list[Stretch] = []
    done, changed = 0, set[str]()
    for after, some in _runs(windows, ordered):
        for change in ordered[done:after]:
            settings[change.name] = change.now
            changed.add(change.name)
        number, first = some[0]
        names = tuple(sorted(changed)) if found else ()
        found.append(Stretch(number, [first, *(w for _, w in some[1:])], dict(settings), names))
        done = after
        changed.clear()
    return found


def _runs(
    windows: Sequence[Window], ordered: Sequence[Change]
) -> Iterator[tuple[int, list[tuple[int, Window]]]]:
    """Yield windows that follow each other without a change, and how many changes came before.

    `ordered` by their ends. A change touches a window when it may have happened in it.
    """
    # The earliest beginning among a change and all after it: whether one of them has begun.
    begins: list[float] = [math.inf]
    for change in reversed(ordered):
        begins.append(min(begins[-1], change.since))
    begins.reverse()
    after, keyed = 0, []
    for number, window in enumerate(windows):
        while after < len(ordered) and ordered[after].at <= window.opened:
            after += 1
        if begins[after] >= window.closed:
            keyed.append((after, number, window))
    for key, group in groupby(keyed, itemgetter(0)):
        yield key, [(number, window) for _, number, window in group]


def _told(
    stretch: Stretch, origin: int, delivered: Delivered, basis: Basis, meter: Meter
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "from_s": (stretch.opened - origin) / 1e9,
        "to_s": (stretch.closed - origin) / 1e9,
        "changed": list(stretch.changed),
        "settings": {
            name: " ".join(setting.words) if setting.value is None else setting.value
            for name, setting in sorted(stretch.settings.items())
        },
        "shares": stretch.shares,
    }
    rate = _rate(stretch, delivered, basis)
    if rate is not None:
        told["hashrate"] = rate.to_json()
    told |= _claim(stretch, delivered).to_json()
    for result in list(meter(stretch.windows))[:1]:
        if (result.energy.opened, result.energy.closed) != (stretch.opened, stretch.closed):
            continue  # of a counter that a person reads at the run's ends
        if result.power is not None:
            told["power"] = result.power[0].to_json()
        if result.efficiency is not None:
            told["efficiency"] = result.efficiency.efficiency.to_json()
    return told


def _rate(stretch: Stretch, delivered: Delivered, basis: Basis) -> Figure | None:
    time_s = (stretch.closed - stretch.opened) / 1e9
    hashes = float(sum(window.hashes for window in stretch.windows))
    if basis is Basis.CLAIMED:
        return Figure.bare(hashes / time_s, "H/s") if hashes else None
    last = stretch.first + len(stretch.windows)
    squares = math.fsum(delivered.squares_of[stretch.first : last])
    work = Work(hashes, basis, stretch.shares, squares, delivered.largest)
    return hashrate(work, time_s)


def _claim(stretch: Stretch, delivered: Delivered) -> Claim:
    """Return what it claimed within a stretch."""
    rise, means = Rise(), {RATE: Mean(), POWER: Mean()}
    said: tuple[str, ...] = delivered.means[POWER].words
    for at, value in delivered.claims[TOTAL_HASHES].between(stretch.opened, stretch.closed):
        rise.take(at, value, counts=True)
    for name, mean in means.items():
        for at, value in delivered.claims[name].between(stretch.opened, stretch.closed):
            mean.take(at, value, said, counts=True)
    return Claim.of({TOTAL_HASHES: rise}, means)


def _length(some: Sequence[Stretch]) -> int:
    return sum(each.closed - each.opened for each in some)
