"""The one loop: hashers take turns, each turn one window, until each is precise or out of time."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import hwkit
from hwkit.errors import (
    DeviceFault,
    HwkitError,
    PlanError,
    ProtocolError,
    WrongHash,
)
from hwkit.harness.audit import Auditor, auditor_for
from hwkit.harness.figures import Summary, conditions, share_count_fault, summarise, wall_rate
from hwkit.harness.host import host_facts, host_identity, place
from hwkit.harness.turn import take_turn
from hwkit.hashers import cpu
from hwkit.hashers.kernel import KernelHasher
from hwkit.protocols import Audit, Basis, CreditedShare, Window
from hwkit.prove import Proof, ProofStopped, prove_all
from hwkit.work import MAX_TARGET, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.harness.plan import Plan
    from hwkit.protocols import Hasher, RunSink, Sink
    from hwkit.work import Job

SHARES_PER_S = 100  # of a counted device: enough to watch it, too few to cost anything
MIN_WINDOWS = 10  # before an interval is trusted to stop a run
CALIBRATION = Target.from_difficulty(2**-8)
WARMUP_TURN_S = 0.1
DONE = {"complete", "interrupted", "void", "unproven"}
LEAVE_S = 1.5  # how long an interrupted session waits for hashers to stop


@dataclass(slots=True)
class Entry:
    """One hasher's part in a session: what it has shown so far."""

    hasher: Hasher
    number: int  # its place in the session
    state: str = "waiting"  # proving, warming, measuring, complete, interrupted, void, unproven
    why: str = ""
    proof: Proof | None = None
    run: RunSink | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # what its record opened with
    job: Job | None = None
    windows: list[Window] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    error: HwkitError | None = None
    auditor: Auditor | None = None
    turns: int = 0
    hashes: int = 0  # in windows, as are the shares
    shares: int = 0
    measured_s: float = 0.0
    look_at: int = MIN_WINDOWS  # at so many windows the precision is looked at next

    @property
    def name(self) -> str:
        """The hasher's address."""
        return self.hasher.spec.name

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


class Session:
    """Proves hashers, then measures them side by side; each leaves one record in the sink.

    Hashers with the same resource take turns in random order, so that a drifting machine favours
    none; different resources run together. `stop` may be set at any moment: what was measured until
    then stands, and the record says that it was interrupted.
    """

    def __init__(
        self,
        plan: Plan,
        hashers: Sequence[Hasher],
        sink: Sink,
        stop: threading.Event,
        *,
        enough: Callable[[Session], bool] | None = None,
    ) -> None:
        """Take what to measure; `enough` may end the whole session early (a comparison does)."""
        if not hashers:
            raise PlanError("nothing to measure: no hasher was given")
        self.plan = plan
        self.id = secrets.token_hex(8)
        self.entries = [Entry(hasher, number) for number, hasher in enumerate(hashers)]
        self._sink = sink
        self._stop = stop
        self._enough = enough
        self._random = random.Random(plan.seed)  # noqa: S311 - order of turns, not a secret
        self._host = host_facts()

    def run(self, tick: Callable[[], None] = lambda: None, tick_s: float = 0.2) -> list[Entry]:
        """Measure to the end, calling `tick` now and then from this thread; return the entries."""
        groups: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            groups[entry.hasher.spec.resource].append(entry)
        failures: list[BaseException] = []

        def work(group: list[Entry]) -> None:
            try:
                self._group(group)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(group,), name=f"turns: {resource}", daemon=True)
            for resource, group in groups.items()
        ]
        for thread in threads:
            thread.start()
        stopped: float | None = None
        while alive := [thread for thread in threads if thread.is_alive()]:
            tick()
            alive[0].join(tick_s)
            if self._stop.is_set():
                stopped = stopped or time.monotonic()
                if time.monotonic() - stopped > LEAVE_S:
                    self._abandon()
                    break
        tick()
        if failures:
            raise failures[0]
        return self.entries

    def _group(self, group: list[Entry]) -> None:
        """Take one resource's entries from proof to seal."""
        try:
            for step in (self._prove, self._open):
                for entry in group:
                    if not self._stop.is_set() and entry.state in {"waiting", "proven"}:
                        self._guarded(entry, step)
            self._turns(group)
        finally:
            for entry in group:
                if entry.state not in DONE:
                    self._finish(entry, "interrupted", f"interrupted while {entry.state}")

    def _turns(self, group: list[Entry]) -> None:
        """Let the entries take turns, one round after another, until each is done."""
        for number in count():
            active = [entry for entry in group if entry.state == "measuring"]
            enough = self._enough is not None and self._enough(self)
            for entry in self._random.sample(active, len(active)):
                if self._stop.is_set():
                    return
                if enough:
                    self._finish(entry, "complete", "enough for the whole session")
                else:
                    self._guarded(entry, partial(self._measure, number=number))
            if not active:
                return

    def _prove(self, entry: Entry) -> None:
        entry.state = "proving"
        if isinstance(entry.hasher, KernelHasher):
            try:
                entry.proof = prove_all(entry.hasher.kernels, self._stop.is_set)
            except ProofStopped:
                return
            if not entry.proof.passed:
                fault = entry.proof.fault
                entry.state = "unproven"
                entry.why = f"{fault.name}: {fault.fault}" if fault else ""
                return
        if entry.hasher.spec.basis is Basis.COUNTED:
            entry.auditor = auditor_for(entry.kernels)
        entry.state = "proven"

    def _guarded(self, entry: Entry, step: Callable[[Entry], None]) -> None:
        """Do one step; a fault of the device voids its run and leaves the others' alone."""
        try:
            step(entry)
        except (WrongHash, DeviceFault) as error:
            entry.error = error
            if entry.run is not None:
                entry.run.event(time.monotonic_ns(), f"{type(error).__name__}: {error}")
            self._finish(entry, "void", str(error))

    def _open(self, entry: Entry) -> None:
        """Warm up, find the rate, and open the record with a job that fits it."""
        entry.state = "warming"
        job = self.plan.job(int(time.time()), CALIBRATION, entry.number)
        began = time.monotonic()
        rates = [0.0]
        while not self._stop.is_set():
            # Serials from the top down: those from 0 up are the measurement's.
            work = job.roll(0xFFFFFFFF - len(rates))
            turn = take_turn(entry.hasher, work, min(WARMUP_TURN_S, self.plan.turn_s), self._stop)
            if turn is not None:
                rates.append(wall_rate(turn.window))
            if time.monotonic() - began >= self.plan.warmup_s and len(rates) > 1:
                break
        target = CALIBRATION
        if rates[-1]:
            target = Target(min(MAX_TARGET, int((1 << 256) * SHARES_PER_S / rates[-1])))
        # Anew: after a long warm-up the job is to be of the run's own time.
        entry.job = self.plan.job(int(time.time()), target, entry.number)
        entry.facts = self._facts(entry, entry.job)
        entry.run = self._sink.open(entry.facts, host_identity())
        entry.state = "measuring"

    def _measure(self, entry: Entry, number: int) -> None:
        """Measure one window of one entry, audit it, and store it."""
        if entry.job is None or entry.run is None:
            return
        job = entry.job.roll(entry.turns)
        entry.turns += 1
        turn = take_turn(entry.hasher, job, self.plan.turn_s, self._stop, number)
        if turn is None:
            return  # stopped before the window could close: nothing of it counts
        window, shares, spans = turn.window, turn.shares, turn.spans
        index = len(entry.windows)
        entry.run.window(window)
        for at, share in shares:
            entry.run.share(CreditedShare(index, at, share))
        entry.windows.append(window)
        if entry.auditor is not None:
            for audit in entry.auditor.audit(
                job,
                spans,
                [share for _, share in shares],
                window=index,
                window_s=(window.closed - window.opened) / 1e9,
                random=self._random,
            ):
                entry.audits.append(audit)
                entry.run.audit(audit)
        entry.run.commit()
        entry.hashes += window.hashes
        entry.shares += window.shares
        entry.measured_s += (window.closed - window.opened) / 1e9
        fault = share_count_fault(entry.hashes, entry.shares, entry.job.target)
        if fault:
            raise ProtocolError(fault, b"")
        if self._precise(entry):
            self._finish(entry, "complete", "precision reached")
        elif entry.measured_s >= self.plan.time_s:
            self._finish(entry, "complete", "time")

    def _precise(self, entry: Entry) -> bool:
        """Is the interval narrow enough? Looked at ever more rarely: long runs stay cheap."""
        if self.plan.precision is None or len(entry.windows) < entry.look_at:
            return False
        entry.look_at += max(1, entry.look_at // 20)
        figure = self._summary(entry).figures.get("hashrate")
        return figure is not None and figure.relative <= self.plan.precision

    def _summary(self, entry: Entry) -> Summary:
        target = entry.job.target if entry.job else CALIBRATION
        return summarise(
            entry.windows,
            entry.audits,
            target,
            **conditions(entry.facts),
        )

    def _facts(self, entry: Entry, job: Job) -> dict[str, Any]:
        """Return what is known of a run when it opens."""
        spec = entry.hasher.spec
        return {
            "session": self.id,
            "hwkit": hwkit.__version__,
            "clock": {
                "utc": datetime.now(UTC).isoformat(),
                "monotonic_ns": time.monotonic_ns(),
            },
            "plan": self.plan.to_json(),
            "entry": entry.number,
            "job": job.to_json(),
            "device": {
                "name": spec.name,
                "basis": spec.basis.value,
                "resource": spec.resource,
                "threads": entry.threads,
                **(
                    place(entry.hasher)
                    if isinstance(entry.hasher, KernelHasher) and spec.resource == cpu.RESOURCE
                    else {}
                ),
                "work": self.plan.work,
                "details": dict(spec.details),
            },
            "proof": entry.proof.to_json() if entry.proof else None,
            "auditor": entry.auditor.kernel.name if entry.auditor else None,
            "host": self._host,
        }

    def _finish(self, entry: Entry, state: str, why: str) -> None:
        """Seal the entry's record, if it has come to one."""
        entry.state, entry.why = state, why
        if entry.run is None:
            return
        ended = {"state": state, "why": why, "ended_ns": time.monotonic_ns()}
        entry.run.seal(ended | self._summary(entry).to_json())

    def _abandon(self) -> None:
        """Leave what does not stop; its record stays as last committed, and says so."""
        for entry in self.entries:
            if entry.state not in DONE:
                entry.why = f"interrupted while {entry.state}, which did not stop in time"
                entry.state = "interrupted"
