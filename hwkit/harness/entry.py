"""One hasher's part in a session: what it has shown, on its way into its record."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hwkit.errors import ProtocolError
from hwkit.harness.delivered import ANSWERED
from hwkit.harness.figures import conditions, share_count_fault, summarise
from hwkit.harness.reach import time_left
from hwkit.harness.result import Partners, work_within
from hwkit.harness.setup import Setup
from hwkit.harness.wall import WallClock
from hwkit.harness.wiring import Wiring
from hwkit.hashers import probes
from hwkit.hashers.kernel import KernelHasher
from hwkit.protocols import Assigned, Basis, CreditedShare, Link, Probe, Verdict
from hwkit.units import plain
from hwkit.work import Target

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from hwkit.errors import HwkitError
    from hwkit.harness.audit import Auditor
    from hwkit.harness.delivered import Delivered
    from hwkit.harness.figures import Summary
    from hwkit.harness.metering import Sampled
    from hwkit.harness.surroundings import Surroundings
    from hwkit.harness.turn import Turn
    from hwkit.protocols import Audit, Hasher, MinerEvent, RunSink, Window
    from hwkit.prove import Proof
    from hwkit.units import Figure
    from hwkit.work import Job

MIN_WINDOWS = 10  # before an interval is trusted to stop a run
CALIBRATION = Target.from_difficulty(2**-8)
FIRST_SHARE_S = 30.0  # that a miner has for it
PROBE_NS = 1_000_000_000
KEPT_NS = 600_000_000  # and hashers report every 0.25 s: a kill costs less than a second


@dataclass(slots=True)
class Entry:
    """A hasher, and what has been measured of it so far."""

    hasher: Hasher
    number: int  # its place in the session
    sampled: Sequence[Sampled] = ()  # the session's meters; soon: those that see it
    setup: Setup = field(default_factory=Setup)
    state: str = "waiting"  # proving, warming, measuring, complete, interrupted, void, unproven
    why: str = ""
    proof: Proof | None = None
    run: RunSink | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # what its record opened with
    job: Job | None = None
    delivered: Delivered | None = None  # of a miner that is fed or watched
    sent: int | None = None  # monotonic ns: when it got its first job
    at_work: bool = False  # it has sent a share, too
    windows: list[Window] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    error: HwkitError | None = None
    auditor: Auditor | None = None
    turns: int = 0
    hashes: int = 0  # in windows, as are the shares
    shares: int = 0
    measured_s: float = 0.0
    look_at: int = MIN_WINDOWS  # at so many windows the precision is looked at next
    summary: Summary | None = None  # as it was looked at last
    # Monotonic ns: the meters' readings are in the record from one moment to another.
    readings_from: int = 0
    readings_until: int = 0
    probed: int = 0
    wall: WallClock = field(default_factory=WallClock)
    partners: Sequence[Entry] = ()  # at work at the same time, on the same meter
    partners_failed: bool = False

    def __post_init__(self) -> None:
        """Keep the meters that see it."""
        self.sampled = [each for each in self.sampled if each.spec.name in self.wiring.meters]

    @property
    def wiring(self) -> Wiring:
        """How its meters see it."""
        return self.setup.wirings[self.number] if self.setup.wirings else Wiring(())

    @property
    def surroundings(self) -> Surroundings:
        """What is around it."""
        return self.setup.surroundings

    @property
    def confirmed(self) -> bool:
        """Are readings that cannot be meant so?"""
        return self.setup.confirmed

    @property
    def name(self) -> str:
        """The hasher's address."""
        return self.hasher.spec.name

    @property
    def record(self) -> RunSink:
        """The record that it is measured into; there is none before that."""
        if self.run is None:
            raise RuntimeError(f"{self.name} is {self.state}: its record is not open")
        return self.run

    @property
    def target(self) -> Target:
        """What its shares meet."""
        return self.job.target if self.job else CALIBRATION

    @property
    def kernels(self) -> set[str]:
        """The kernels whose work it is, by name: none of them may audit it."""
        if isinstance(self.hasher, KernelHasher):
            return {kernel.name for kernel in self.hasher.kernels}
        return {self.name}

    @property
    def threads(self) -> int | None:
        """Threads that the hasher runs on, where it runs on threads."""
        return self.hasher.threads if isinstance(self.hasher, KernelHasher) else None

    def keep(self, turn: Turn) -> None:
        """Put a window and its shares into the record."""
        record = self.record
        record.window(turn.window)
        for at, share in turn.shares:
            record.share(CreditedShare(len(self.windows), at, share))
        self.windows.append(turn.window)
        if self.delivered is not None:
            self.delivered.close(turn.window, turn.shares)
        self.hashes += turn.window.hashes
        self.shares += turn.window.shares
        self.measured_s += (turn.window.closed - turn.window.opened) / 1e9

    @property
    def counts(self) -> bool:
        """Are its hashes counted, and not inferred from shares or claimed?"""
        return self.hasher.spec.basis is Basis.COUNTED

    @property
    def warms_up(self) -> bool:
        """Does it work, so that a warm-up counts?

        A miner that is fed has first to be led to a pool, and may reboot for that; then its
        difficulty is sought. One that sends nothing is measured all the same.
        """
        if self.hasher.spec.basis is not Basis.SHARES or self.at_work:
            return True
        return self.sent is not None and time.monotonic_ns() - self.sent > FIRST_SHARE_S * 1e9

    def hear(self, events: Sequence[MinerEvent]) -> None:
        """Put what a miner was sent, sent in and told into the record."""
        record = self.record
        for event in _with_answers(events):
            if isinstance(event, Assigned):
                self.sent = self.sent or event.at
                record.assigned(event)
            elif isinstance(event, Probe):
                if not self.windows:  # how it warms up; a run of days is not to fill the memory
                    self.probes.append(event)
                record.probe(event)
            elif isinstance(event, Link):
                record.event(event.at, _told(event))
            elif event.verdict is Verdict.GOOD:
                self.at_work = True
            else:  # good ones are among the shares
                record.submission(event)
            if self.delivered is not None:
                self.delivered.hear(event)
        self.keep_readings()

    def audit(self, job: Job, turn: Turn, index: int, draw: random.Random) -> None:
        """Scan stretches of a window again. Raises WrongHash where the hits differ."""
        if self.auditor is None or self.run is None:
            return
        for audit in self.auditor.audit(
            job,
            turn.spans,
            [share for _, share in turn.shares],
            window=index,
            window_s=(turn.window.closed - turn.window.opened) / 1e9,
            random=draw,
        ):
            self.audits.append(audit)
            self.run.audit(audit)

    def refuse_unlikely(self) -> None:
        """Raise ProtocolError where the shares contradict the hashes counted."""
        if self.counts and (fault := share_count_fault(self.hashes, self.shares, self.target)):
            raise ProtocolError(fault, b"")

    def probe(self) -> None:
        """Record what the card tells of itself, once a second; best while it works."""
        pci, now = self.hasher.spec.details.get("pci"), time.monotonic_ns()
        if pci is None or self.run is None or now - self.probed < PROBE_NS:
            return
        self.probed = now
        for name, value in probes.probe(pci).items():
            words = tuple(value) if isinstance(value, list) else ()
            seen = Probe(now, name, None if isinstance(value, list) else value, words)
            self.probes.append(seen)
            self.run.probe(seen)

    def keep_readings(self) -> None:
        """Make what meters have read safe, now and then: also while no window closes."""
        if self.run is not None and time.monotonic_ns() > self.readings_until + KEPT_NS:
            self.store_readings()
            self.run.commit()

    def store_readings(self) -> None:
        """Put what meters have read since the last time into the record."""
        if self.run is None:
            return
        now = time.monotonic_ns()
        for each in self.sampled:
            for reading in each.between(self.readings_until, now):
                self.run.reading(each.spec.name, reading)
            for at, fault in each.faults_between(self.readings_until, now):
                self.run.event(at, fault)
        for probe in self.surroundings.between(self.readings_until, now):
            self.probes.append(probe)
            self.run.probe(probe)
        if (step := self.wall.stepped()) is not None:
            self.run.event(now, step)
        self.readings_until = now

    def look(self) -> Summary | None:
        """Return the figures as they were looked at last: ever more rarely, so that it is cheap."""
        if len(self.windows) >= self.look_at:
            self.look_at += max(1, self.look_at // 20)
            self.summarise()
        return self.summary

    def is_precise(self, precision: float | None) -> bool:
        """Is the interval narrow enough?"""
        due = len(self.windows) >= self.look_at
        if not due or (precision is None and not self.sampled and self.counts):
            return False
        summary = self.look()  # in one go in any case: the live line shows it
        figure = None if summary is None else summary.headline
        if precision is None or figure is None:
            return False
        return 0 < figure.relative <= precision  # of what is claimed nobody knows how precise it is

    @property
    def power_now_w(self) -> float | None:
        """What the meters of its power read last; None where one tells none."""
        last = {each.spec.name: each.readings[-1].watts for each in self.sampled if each.readings}
        total = 0.0
        for sign, name in self.wiring.sums[0] if last else ():
            watts = last.get(name)
            if watts is None:
                return None
            total += sign * watts
        return total if last else None

    def left_s(self, time_s: float, precision: float | None) -> float | None:
        """Return how long it has to go, by what it has shown; None: it has shown too little."""
        if self.summary is None or (self.counts and not self.summary.metered):
            return None
        rest = max(time_s - self.measured_s, 0.0)
        if not self.summary.metered:
            return self._left_by_shares(self.summary.headline, rest, precision)
        found = self.summary.metered[0].efficiency
        if found is None or precision is None:
            return rest
        looked_s = found.energy.time_s
        left = time_left(found.budget, precision, looked_s)
        return rest if left is None else min(max(left + looked_s - self.measured_s, 0.0), rest)

    def _left_by_shares(self, rate: Figure | None, rest: float, precision: float | None) -> float:
        """Return how long until the rate is so precise: its variance falls as shares come in."""
        if rate is None or precision is None or not 0 < rate.relative < math.inf:
            return rest
        return min(max(self.measured_s * ((rate.relative / precision) ** 2 - 1), 0.0), rest)

    def summarise(self) -> Summary:
        """Compute the figures from what there is."""
        since, until = self.readings_from, self.readings_until
        if self.partners:
            joint = None if self.partners_failed else partners_of(self)
            self.facts["group"] = joint and joint.to_json()
        self.summary = summarise(
            self.windows,
            self.audits,
            self.target,
            probes=self.probes,
            metered=[(each.spec, each.between(since, until)) for each in self.sampled],
            delivered=self.delivered,
            **conditions(self.facts),
        )
        return self.summary

    def meters_told(self) -> list[dict[str, Any]]:
        """Return the meters as a record has them, each with what went wrong so far."""
        told = []
        for each in self.sampled:
            faults = each.faults_between(self.readings_from, self.readings_until)
            last = {"faults": {"times": len(faults), "last": faults[-1][1]}} if faults else {}
            told.append(each.to_json() | last)
        return told

    def metered_facts(self) -> dict[str, Any]:
        """Return what a record says of meters, wiring and surroundings; nothing without any."""
        around = self.surroundings.to_json()
        facts: dict[str, Any] = {"conditions": around} if around else {}
        if self.sampled:
            facts["meters"] = self.meters_told()
            facts["wiring"] = self.wiring.to_json()
        return facts


def _told(link: Link) -> str:
    """Return what happened to a connection, as it stands among the events."""
    who = "a stranger" if link.connection is None else f"connection {link.connection}"
    took = "" if link.took_ns is None else f" ({link.took_ns / 1e6:.1f} ms)"
    return plain(f"{who}: {link.what}{link.words and f' {link.words}'}{took}")


def _with_answers(events: Sequence[MinerEvent]) -> Iterator[MinerEvent]:
    """Yield events, and after each answer how long it took, as a number that figures can use."""
    for event in events:
        yield event
        if isinstance(event, Link) and event.what == "answered" and event.took_ns is not None:
            yield Probe(event.at, ANSWERED, event.took_ns / 1e9, (event.words,))


def partners_of(entry: Entry) -> Partners | None:
    """Return the work of the others in the time in which all worked; None while there is none."""
    everyone = [list(each.windows) for each in (entry, *entry.partners)]
    if not all(everyone):
        return None
    opened = max(windows[0].opened for windows in everyone)
    closed = min(windows[-1].closed for windows in everyone)
    if opened >= closed:
        return None
    work = []
    for other, windows in zip(entry.partners, everyone[1:], strict=True):
        basis = other.hasher.spec.basis
        done = work_within(windows, basis, opened, closed)
        work.append((other.record.id, done))
    return Partners(opened, closed, tuple(work))
