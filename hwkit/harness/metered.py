"""Runs in one go, metered or of a miner that is fed: windows that follow each other.

Of one device, or of a group on a shared meter.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.harness.metering import Sight
from hwkit.harness.turn import run_windows
from hwkit.harness.watch import Watch

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from hwkit.harness.entry import Entry
    from hwkit.harness.plan import Plan
    from hwkit.harness.turn import Turn
    from hwkit.work import Job

    Guard = Callable[[Entry, Callable[[Entry], None]], None]

METERED_WINDOW_S = 0.5  # with the report that closes it, 0.25 s later, what a kill may cost
AUDITS_AT_END_S = 20.0


class Unit:
    """One device, or several that share a meter and therefore work at the same time."""

    def __init__(self, entries: Sequence[Entry], plan: Plan, stop: threading.Event) -> None:
        """Take entries whose records are open."""
        self.entries = list(entries)
        self._stop = stop
        sampled = {each.spec.name: each for entry in entries for each in entry.sampled}
        self._sight = Sight(list(sampled.values()))
        self._watch = Watch(self._sight, plan, stop.is_set, self.entries)
        self._failures: list[BaseException] = []
        self._turns: dict[int, tuple[Job, list[Turn]]] = {}  # by the entry's number
        for entry in entries:
            entry.partners = [other for other in entries if other is not entry]

    def measure(self, guarded: Guard, done: Callable[[Entry], str | None]) -> None:
        """Let all of them work until one has been measured long enough, or fails."""
        now = time.monotonic_ns()
        for entry in self.entries:
            entry.readings_from = entry.readings_until = now
        idle = self._watch.idle(self._keep_readings)
        for entry in self.entries:
            entry.facts["idle"] = list(idle)
        threads = [
            threading.Thread(target=self._work, args=(entry, guarded, done), daemon=True)
            for entry in self.entries[1:]
        ]
        for thread in threads:
            thread.start()
        self._work(self.entries[0], guarded, done)
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        idle = self._watch.idle(self._keep_readings)
        for entry in self.entries:
            entry.facts["idle"] += idle
            entry.facts["unsettled"] = self._watch.unsettled
            if entry.state == "measuring":
                entry.store_readings()

    def audit(self, entry: Entry, draw: random.Random) -> str | None:
        """Scan stretches of its windows again, now that no meter sees it; say why it has ended."""
        job, turns = self._turns[entry.number]
        until = time.monotonic() + (0.2 if self._stop.is_set() else AUDITS_AT_END_S)
        for index in draw.sample(range(len(turns)), len(turns)):
            if time.monotonic() < until:
                entry.audit(job, turns[index], index, draw)
        if entry.run is not None:
            entry.run.commit()
        return self._watch.why

    def _keep_readings(self) -> None:
        for entry in self.entries:
            if entry.state == "measuring":
                entry.keep_readings()

    def _work(self, entry: Entry, guarded: Guard, done: Callable[[Entry], str | None]) -> None:
        try:
            guarded(entry, partial(self._windows, done=done))
        except BaseException as error:  # noqa: BLE001 - raised again by measure
            self._failures.append(error)
        if entry.state != "measuring" or self._failures:
            for other in entry.partners:
                other.partners_failed = True
            self._watch.why = f"{entry.name} failed, which shares its meter"

    def _windows(self, entry: Entry, done: Callable[[Entry], str | None]) -> None:
        """Measure windows that follow each other in one go, so that a meter sees but two edges."""
        if entry.job is None or entry.run is None:
            return
        run, job, turns = entry.run, entry.job.roll(entry.turns), list[Any]()
        self._turns[entry.number] = job, turns
        entry.turns += 1

        def take(turn: Turn) -> bool:
            entry.probe()
            entry.keep(turn)
            if entry.auditor is not None:
                turns.append(turn)
            entry.store_readings()
            run.commit()
            entry.refuse_unlikely()
            return not self._watch.over(done(entry), turn.window.closed)

        run_windows(
            entry.hasher,
            job,
            METERED_WINDOW_S,
            self._stop,
            take,
            ready=partial(self._watch.ready, entry),
            beside=entry.keep_readings,
            hear=entry.hear,
            lag_s=self._sight.lag_s,
        )


def units(group: Sequence[Entry]) -> list[list[Entry]]:
    """Return which entries of a lane work at the same time: those of a group, else each alone."""
    found: dict[tuple[str, ...] | int, list[Entry]] = {}
    for entry in group:
        found.setdefault(entry.wiring.group or entry.number, []).append(entry)
    return list(found.values())


def lanes(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return which entries may not work at any time: those of one resource, or on one meter.

    Raises PlanError for a group of which two can only work one after another.
    """
    found: list[list[Entry]] = []
    for entry in entries:
        near = [lane for lane in found if any(_apart(entry, other) for other in lane)]
        joined = [other for lane in near for other in lane] + [entry]
        found = [lane for lane in found if lane not in near]
        found.append(sorted(joined, key=lambda each: each.number))
    for unit in [unit for lane in found for unit in units(lane)]:
        if len({entry.hasher.spec.resource for entry in unit}) < len(unit):
            names = " and ".join(entry.name for entry in unit)
            raise PlanError(f"{names} share a meter, and what they run on: measure them one by one")
    return found


def _apart(a: Entry, b: Entry) -> bool:
    """May these two not work at any time, each as it likes?"""
    meters = {each.spec.name for each in a.sampled} & {each.spec.name for each in b.sampled}
    return bool(meters) or a.hasher.spec.resource == b.hasher.spec.resource
