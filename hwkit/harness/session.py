"""The one loop: hashers take turns, each turn one window, until each is precise or out of time."""

from __future__ import annotations

import random
import secrets
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import hwkit
from hwkit.errors import DeviceFault, PlanError, WrongHash
from hwkit.harness.audit import auditor_for
from hwkit.harness.delivered import Delivered
from hwkit.harness.entry import CALIBRATION, Entry
from hwkit.harness.figures import wall_rate
from hwkit.harness.host import host_facts, host_identity, place
from hwkit.harness.metered import Unit, lanes, units
from hwkit.harness.plan import MINERS_CHOICE
from hwkit.harness.setup import Setup
from hwkit.harness.turn import run_windows, take_turn
from hwkit.harness.wiring import Wiring
from hwkit.hashers import cpu
from hwkit.hashers.device import DeviceHasher
from hwkit.hashers.kernel import KernelHasher
from hwkit.protocols import Basis
from hwkit.prove import ProofStopped, prove_all
from hwkit.prove.long import long_call
from hwkit.work import MAX_TARGET, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.harness.metering import Metering
    from hwkit.harness.plan import Plan
    from hwkit.harness.turn import Turn
    from hwkit.protocols import Hasher, Sink
    from hwkit.work import Job

SHARES_PER_S = 100  # of a counted device: enough to watch it, too few to cost anything
WARMUP_TURN_S = 0.1
DONE = {"complete", "interrupted", "void", "unproven"}
LONG_CALL_S = 1.0
LEAVE_S = 1.5  # how long an interrupted session waits for hashers to stop


class Session:
    """Proves hashers, then measures them side by side; each leaves one record in the sink.

    Hashers with the same resource take turns in random order, so that a drifting machine favours
    none; different resources run together, unless a meter sees both. `stop` may be set at any
    moment: what was measured until then stands, and the record says that it was interrupted.
    """

    def __init__(
        self,
        plan: Plan,
        hashers: Sequence[Hasher],
        sink: Sink,
        stop: threading.Event,
        *,
        metering: Metering | None = None,
        setup: Setup | None = None,
        enough: Callable[[Session], bool] | None = None,
    ) -> None:
        """Take what to measure; `enough` may end the whole session early (a comparison does).

        `metering` is open. `setup` says which meters see which device: no other one is at work
        then, but those that share a meter on purpose. Without it each is seen by all of them.
        """
        if not hashers:
            raise PlanError("nothing to measure: no hasher was given")
        setup = setup or Setup()
        if metering is not None and setup.wirings is None:
            if len({each.spec.resource for each in hashers}) > 1:
                raise PlanError("meters would see several devices at once: measure them one by one")
            all_of_them = Wiring.side_by_side(each.spec.name for each in metering.sampled)
            setup = replace(setup, wirings=[all_of_them] * len(hashers))
        self.plan = plan
        self.id = secrets.token_hex(8)
        sampled = metering.sampled if metering else []
        self.entries = [Entry(hasher, n, sampled, setup) for n, hasher in enumerate(hashers)]
        self._lanes = lanes(self.entries)
        self._sink = sink
        self._stop = stop
        self._enough = enough
        self._metering = metering
        self._random = random.Random(plan.seed)  # noqa: S311 - order of turns, not a secret
        self._host = host_facts()

    def run(self, tick: Callable[[], None] = lambda: None, tick_s: float = 0.2) -> list[Entry]:
        """Measure to the end, calling `tick` now and then from this thread; return the entries."""
        failures: list[BaseException] = []

        def work(group: list[Entry]) -> None:
            try:
                self._group(group)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(lane,), name=f"turns: {lane[0].name}", daemon=True)
            for lane in self._lanes
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
        in_one_go = [entry for entry in group if self._metering is not None or not entry.counts]
        for unit in units(in_one_go):
            self._measure_in_one_go(unit)
        for number in count():
            active = [e for e in group if e.state == "measuring" and e not in in_one_go]
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
            before = [each.proof for each in self.entries if each.hasher is entry.hasher]
            try:
                entry.proof = next(filter(None, before), None) or prove_all(
                    entry.hasher.kernels, self._stop.is_set
                )
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
        """Do one step; a fault of the device, or absurd readings, void its run and no other."""
        try:
            step(entry)
        except (WrongHash, DeviceFault, PlanError) as error:
            entry.error = error
            if entry.run is not None:
                entry.run.event(time.monotonic_ns(), f"{type(error).__name__}: {error}")
            self._finish(entry, "void", str(error))

    def _open(self, entry: Entry) -> None:
        """Warm up, find the rate, and open the record with a job that fits it."""
        entry.state = "warming"
        if not entry.counts:  # whoever feeds it knows what it can take, and it warms up on record
            self._begin(entry, CALIBRATION)
            return
        job = self.plan.job(int(time.time()), CALIBRATION, entry.number)
        began = time.monotonic()
        rates = [0.0]
        # Meters watch it warm up, and the record is open then.
        warmup_s = self.plan.warmup_s if self._metering is None else 0.0
        while not self._stop.is_set():
            # Serials from the top down: those from 0 up are the measurement's.
            work = job.roll(0xFFFFFFFF - len(rates))
            turn = take_turn(entry.hasher, work, min(WARMUP_TURN_S, self.plan.turn_s), self._stop)
            if turn is not None:
                rates.append(wall_rate(turn.window))
            if time.monotonic() - began >= warmup_s and len(rates) > 1:
                break
        target = CALIBRATION
        if isinstance(entry.hasher, DeviceHasher) and entry.auditor and rates[-1]:
            other, roll = entry.auditor.kernel, bytes(job.extranonce2_size)
            header = job.header_of(0xFFFFFFFF, roll, job.ntime, job.version, 0)
            check = long_call(
                entry.hasher.kernel, other, header, int(rates[-1] * LONG_CALL_S), self._random
            )
            if not check.passed:
                entry.state, entry.why = "unproven", f"{check.name}: {check.fault}"
                return
        if rates[-1]:
            target = Target(min(MAX_TARGET, int((1 << 256) * SHARES_PER_S / rates[-1])))
        self._begin(entry, target)

    def _begin(self, entry: Entry, target: Target) -> None:
        """Open the record, with a job of its own time: a warm-up may have been long."""
        basis = entry.hasher.spec.basis
        entry.job = self.plan.job(int(time.time()), target, entry.number, basis)
        if not entry.counts:
            entry.delivered = Delivered(entry.job)
        entry.facts = self._facts(entry, entry.job)
        entry.run = self._sink.open(entry.facts, host_identity())
        entry.state = "measuring"

    def _measure(self, entry: Entry, number: int) -> None:
        """Measure one window of one entry, audit it, and store it."""
        if entry.job is None or entry.run is None:
            return
        job = entry.job.roll(entry.turns)
        entry.turns += 1
        turns: list[Turn] = []

        def take(turn: Turn) -> None:
            entry.probe()  # while it works
            turns.append(turn)

        run_windows(entry.hasher, job, self.plan.turn_s, self._stop, take, number=number)
        for turn in turns:  # none where it was stopped before the window could close
            entry.keep(turn)
            entry.audit(job, turn, len(entry.windows) - 1, self._random)
        entry.run.commit()
        entry.refuse_unlikely()
        if why := self._done(entry):
            self._finish(entry, "complete", why)

    def _measure_in_one_go(self, unit: list[Entry]) -> None:
        """Measure one device, or a group on a shared meter, without a pause."""
        unit = [entry for entry in unit if entry.state == "measuring"]
        if not unit or self._stop.is_set():
            return
        together = Unit(unit, self.plan, self._stop)
        together.measure(self._guarded, self._done)

        def wind_up(entry: Entry) -> None:
            why = together.audit(entry, self._random)
            if why:
                self._finish(entry, "interrupted" if entry.partners_failed else "complete", why)

        for entry in unit:
            if entry.state == "measuring":
                self._guarded(entry, wind_up)

    def _done(self, entry: Entry) -> str | None:
        """Say why an entry has been measured long enough; None while it has not."""
        if entry.is_precise(self.plan.precision):
            return "precision reached"
        return "time" if entry.measured_s >= self.plan.time_s else None

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
                "work": self.plan.work if entry.counts else MINERS_CHOICE,
                "details": dict(spec.details),
            },
            "proof": entry.proof.to_json() if entry.proof else None,
            "auditor": entry.auditor.kernel.name if entry.auditor else None,
            "host": self._host,
            **entry.metered_facts(),
        }

    def _finish(self, entry: Entry, state: str, why: str) -> None:
        """Seal the entry's record, if it has come to one."""
        entry.state, entry.why = state, why
        if entry.run is None:
            return
        ended = {"state": state, "why": why, "ended_ns": time.monotonic_ns()}
        if entry.sampled:  # a meter's step may be known only once it has been read
            entry.facts["meters"] = entry.meters_told()
        summary = entry.summarise()
        late = ("idle", "unsettled", "group", "meters")
        ended |= {key: entry.facts[key] for key in late if key in entry.facts}
        entry.run.seal(ended | summary.to_json())

    def _abandon(self) -> None:
        """Leave what does not stop; its record stays as last committed, and says so."""
        for entry in self.entries:
            if entry.state not in DONE:
                entry.why = f"interrupted while {entry.state}"
                entry.state = "interrupted"
