"""A run with meters beside it: joules of the same window as the hashes, whatever the meters do."""

import json
import math
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.errors import DeviceLost, NoDevice, PlanError, Unavailable, WrongHash
from hwkit.harness import metered
from hwkit.harness import metering as meterings
from hwkit.harness.correction import Correction
from hwkit.harness.corrections import Kept
from hwkit.harness.energy import Grade, energy
from hwkit.harness.metering import Metering, spec_from_json, spec_to_json
from hwkit.harness.plan import Plan
from hwkit.harness.result import results
from hwkit.harness.session import Session
from hwkit.harness.turn import run_windows
from hwkit.harness.watch import Watch
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.null import NullHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Accuracy, Basis, MeterSpec, Provenance, Reading, Scope, Window
from hwkit.records.record import Chunk
from hwkit.records.rows import from_reading
from hwkit.records.verify import verify
from hwkit.report.live import Live, energy_lines
from hwkit.work import MAX_TARGET, Job, Target

from .conftest import HWKIT

CLASS_1 = Accuracy(0.01, source="class 1")
WALL = MeterSpec("fake:1", Scope.WALL, Provenance.METER, CLASS_1, interval_s=0.05)
BY_HAND = MeterSpec(
    "hand:1", Scope.WALL, Provenance.MANUAL, CLASS_1, interval_s=None, quantum_j=0.1
)
JOB = Job.create(seed=b"", ntime=1_700_000_000, target=Target(MAX_TARGET >> 8))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Windows of a tenth of a second: what they are made of is the same."""
    monkeypatch.setattr(metered, "METERED_WINDOW_S", 0.1)
    monkeypatch.setattr(metered, "AUDITS_AT_END_S", 0.5)
    monkeypatch.setattr(meterings, "LEAST_LAG_S", 0.05)


def about_100(now):
    """Return watts at a moment: no real load stands still."""
    return 100 + ((now >> 20) % 7 - 3) / 1e3


@dataclass
class FakeMeter:
    """A meter of 100 W, which may do other things as well."""

    watts: Any = about_100
    spec: MeterSpec = WALL
    fault: object = None
    is_open: bool = False
    reads: int = 0
    asked: list = field(default_factory=list)

    def open(self):
        if self.fault == "closed":
            raise NoDevice(self.spec.name, "connection refused")
        if self.fault == "nonsense":
            raise DeviceLost("fake:1: it is no meter")
        self.is_open = True
        return {"model": "Fake 3000", "serial": "7"}

    def read(self):
        self.reads += 1
        now = time.monotonic_ns()
        self.asked.append(now)
        if self.fault == "dies" and self.reads > 20:
            raise DeviceLost("fake:1: gone")
        if self.fault == "breaks" and self.reads > 20:
            raise ZeroDivisionError
        watts = self.watts(now) if callable(self.watts) else self.watts
        return Reading(now, watts=watts, took_ns=1_000_000, volts=230.0)

    def close(self):
        self.is_open = False


@dataclass
class EndsOnly(FakeMeter):
    """A counter that is read at the run's two ends, as a person reads one."""

    spec: MeterSpec = BY_HAND

    def read(self):
        self.reads += 1
        time.sleep(0.3)  # the person looks for a pencil
        now = time.monotonic_ns()
        return Reading(now, joules=now / 1e7, took_ns=0)  # 100 W


def honest():
    return KernelHasher.lift(ReferenceKernel(), "cpu", 1)


def run(store, *meters, hashers=None, windows=None, known=(), **changes):
    """Measure to the end of the plan, or stop once there are so many windows."""
    stop = threading.Event()

    plan = Plan(
        **{
            "time_s": 1.0,
            "precision": None,
            "warmup_s": 0.1,
            "turn_s": 0.1,
            "meters": tuple(meter.spec.name for meter in meters),
        }
        | changes
    )
    with Metering(meters, known) as metering:
        session = Session(plan, hashers or [honest()], store, stop, metering=metering)

        def tick():
            if windows is not None and len(session.entries[0].windows) >= windows:
                stop.set()

        entries = session.run(tick, 0.02)
    assert not any(meter.is_open for meter in meters)
    return [store.get(entry.run.id) for entry in entries if entry.run]


def faults_of(record):
    return [str(finding) for finding in verify(record) if not finding.passed]


def names_of(record):
    return {caveat["caveat"] for caveat in record.document["caveats"]}


def test_joules_and_hashes_are_of_one_window(store):
    [record] = run(store, FakeMeter())
    windows = list(record.read("windows"))
    assert len(windows) >= 5
    for before, after in pairwise(windows):
        assert after.opened == before.closed
    time_s = (windows[-1].closed - windows[0].opened) / 1e9
    hashes = sum(window.hashes for window in windows)
    [seen] = record.document["metered"]
    assert seen["energy"]["joules"] == pytest.approx(100 * time_s, rel=1e-3)
    assert seen["energy"]["coverage"] == 1
    assert record.figures["power"].value == pytest.approx(100, rel=1e-3)
    figure = record.figures["efficiency"]
    assert figure.value == pytest.approx(100 * time_s / hashes * 1e12, rel=1e-3)
    assert figure.unit == "J/TH"
    assert figure.relative >= 2 * 0.01 / 3**0.5 * 0.99
    assert record.document["meters"][0]["told"] == {"model": "Fake 3000", "serial": "7"}
    assert faults_of(record) == []
    quiet = {"UncheckedMeter", "ClaimedEnergy", "MeterGap", "MeterSilent"}
    assert not quiet & names_of(record)


def test_it_stops_once_j_th_is_precise(store):
    [record] = run(store, FakeMeter(), precision=0.5, time_s=60)
    assert record.document["why"] == "precision reached"
    assert record.figures["efficiency"].relative <= 0.5


def test_a_load_that_changes_is_followed(store):
    began = time.monotonic_ns()
    rising = FakeMeter(lambda now: 100 + 50 * (now - began) / 1e9)
    [record] = run(store, rising)
    windows = list(record.read("windows"))
    middle = (windows[0].opened + windows[-1].closed) / 2
    assert record.figures["power"].value == pytest.approx(rising.watts(middle), rel=0.02)


def test_several_meters_side_by_side(store):
    board = replace(FakeMeter().spec, name="fake:2", scope=Scope.BOARD, provenance=Provenance.BOARD)
    [record] = run(
        store, FakeMeter(), FakeMeter(lambda now: 60 + now % 7 / 1e4, replace(board, accuracy=None))
    )
    wall, chip = record.document["metered"]
    assert (wall["meter"], chip["meter"]) == ("fake:1", "fake:2")
    assert chip["efficiency"]["value"] == pytest.approx(0.6 * wall["efficiency"]["value"], rel=0.01)
    assert record.figures["efficiency"].value == wall["efficiency"]["value"]
    assert {"UncheckedMeter", "ClaimedEnergy"} < names_of(record)
    assert faults_of(record) == []


def test_a_meter_that_is_read_by_hand(store):
    hand = EndsOnly()
    [record] = run(store, hand)
    assert hand.reads == 2
    [seen] = record.document["metered"]
    windows = list(record.read("windows"))
    energy = seen["energy"]
    assert energy["opened"] == pytest.approx(windows[0].opened, abs=0.2e9)
    assert windows[-1].opened <= energy["closed"] <= windows[-1].closed
    time_s = (windows[-1].closed - windows[0].opened) / 1e9
    rate = sum(window.hashes for window in windows) / time_s
    assert record.figures["efficiency"].value == pytest.approx(100 / rate * 1e12, rel=0.1)
    assert seen["energy"]["source"] == "manual"
    assert record.figures["power"].value == pytest.approx(100, rel=1e-6)
    assert faults_of(record) == []


def test_what_is_read_by_hand_after_a_window_closed_is_the_next_ones():
    """Else the joules would be of a longer time than the hashes."""
    at = time.monotonic_ns()

    class Typed(EndsOnly):
        def read(self):
            return Reading(at, joules=1.0, took_ns=0)

    watch = Watch(Metering([Typed()]), Plan(), lambda: False)
    until = time.monotonic() + 30
    while not watch.over("time", at + 1) and time.monotonic() < until:
        time.sleep(0.01)
    assert watch.over(None, at)
    assert not watch.over(None, at - 1)


def test_idle_before_and_after(store):
    [record] = run(store, FakeMeter(), idle_s=0.3)
    before, after = record.document["idle"]
    windows = list(record.read("windows"))
    assert before[1] - before[0] == after[1] - after[0] == pytest.approx(0.3e9)
    assert before[1] < windows[0].opened
    assert windows[-1].closed < after[0]
    [seen] = record.document["metered"]
    assert seen["idle_w"] == pytest.approx(100, rel=1e-3)
    assert faults_of(record) == []


def test_hashers_that_share_a_meter_are_measured_one_by_one(store):
    other = replace(honest(), spec=replace(honest().spec, name="cpu:other"))
    first, second = run(store, FakeMeter(), hashers=[honest(), other], time_s=0.5)
    ends = [list(record.read("windows"))[-1].closed for record in (first, second)]
    assert next(second.read("windows")).opened > ends[0]
    assert faults_of(first) == faults_of(second) == []
    unlike = replace(honest().spec, resource="gpu")
    with pytest.raises(PlanError, match="one by one"):
        run(store, FakeMeter(), hashers=[honest(), replace(honest(), spec=unlike)])


@pytest.mark.parametrize("fault", ["dies", "breaks"])
def test_a_meter_that_dies_costs_the_joules_and_not_the_hashes(store, fault):
    [record] = run(store, FakeMeter(fault=fault), time_s=2.0)
    assert record.document["state"] == "complete"
    assert "hashrate" in record.figures
    assert "efficiency" not in record.figures  # less than 80 % of the window was seen
    assert "MeterGap" in names_of(record)
    said = {what for _, what in record.read("events")}
    why = "fake:1: gone" if fault == "dies" else "fake:1: ZeroDivisionError: "
    assert said == {why}
    [silent] = [c for c in record.document["caveats"] if c["caveat"] == "MeterSilent"]
    assert silent["last"] == why
    assert silent["times"] == len(list(record.read("events")))
    assert faults_of(record) == []


@pytest.mark.parametrize("fault", ["closed", "nonsense"])
def test_a_meter_that_is_not_there_is_noticed_before_anything_runs(store, fault):
    good = FakeMeter(spec=replace(FakeMeter().spec, name="fake:0"))
    with pytest.raises(Unavailable, match=r"^fake:1: (connection refused|it is no meter)$"):
        run(store, good, FakeMeter(fault=fault))
    assert not good.is_open
    assert store.listing() == []


def test_whatever_a_driver_raises_in_open_it_is_that_meter_that_is_not_here():
    class Breaks(FakeMeter):
        def open(self):
            raise OSError(5, "Input/output error")

    with pytest.raises(Unavailable, match=r"^fake:1: OSError: .*Input/output error"):
        Metering([Breaks()]).__enter__()


def test_a_meter_that_hangs_in_open_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(meterings, "OPEN_S", 0.1)

    class Hangs(FakeMeter):
        def open(self):
            threading.Event().wait()

    with pytest.raises(Unavailable, match=r"^fake:1: its driver did not answer within 0.1 s"):
        Metering([Hangs()]).__enter__()


def test_an_accuracy_of_a_range_that_nobody_knows_is_refused_before_anything_runs():
    of_range = replace(WALL, accuracy=Accuracy(0.001, 0.001))
    meter = FakeMeter(spec=of_range)
    with pytest.raises(PlanError, match="range=, in W"):
        Metering([meter]).__enter__()
    assert not meter.is_open


def test_what_hangs_in_read_and_in_close_does_not_keep_us(monkeypatch):
    monkeypatch.setattr(meterings, "CLOSE_S", 0.1)
    closed, hung = threading.Event(), threading.Event()

    class Hangs(FakeMeter):
        def read(self):
            hung.set()
            threading.Event().wait()

        def close(self):
            threading.Event().wait()

    class Cut(FakeMeter):
        def read(self):
            closed.wait()
            raise DeviceLost("fake:2: closed")

        def close(self):
            closed.set()

    other = Cut(spec=replace(WALL, name="fake:2"))
    with Metering([Hangs(), other]):
        assert hung.wait(30)
    assert closed.wait(30), "who is read is cut short, and not waited for first"


ODD: list[Any] = [{"watts": "100"}, {"watts": True}, {"watts": 1j}, {"watts": [1.0]}]
ODD += [{"at": None}, {"at": 1.5}, {"at": 1 << 63}, {"flags": (1,)}, {"took_ns": 0.1}]


@pytest.mark.parametrize("came", [None, 1.0, *(Reading(**{"at": 0} | odd) for odd in ODD)])
def test_what_is_no_reading_is_a_fault_and_the_next_is_asked_for(came):
    class Odd(FakeMeter):
        def read(self):
            self.reads += 1
            return came if self.reads % 2 else super().read()

    with Metering([Odd()]) as metering:
        [seen] = metering.sampled
        until = time.monotonic() + 30
        while not (seen.readings and seen.faults) and time.monotonic() < until:
            time.sleep(0.01)
    assert {reading.watts for reading in seen.readings} != {None}
    assert "fake:1: its driver returned no reading" in seen.faults[0][1]


@pytest.mark.parametrize("watts", [math.nan, math.inf, -math.inf, 10**400])
def test_what_is_no_number_is_absent_and_the_record_is_whole(store, watts):
    reads = iter(range(10**9))
    meter = FakeMeter(lambda now: watts if next(reads) % 10 == 3 else about_100(now))
    [record] = run(store, meter)
    assert faults_of(record) == []
    flagged = [reading for _, reading in record.read("readings") if reading.flags]
    assert {(each.watts, each.flags) for each in flagged} == {(None, ("watts absent",))}
    assert record.figures["power"].value == pytest.approx(100, rel=1e-3)


def test_a_meter_whose_step_is_known_once_it_was_read(store):
    """As of one read by hand: what is in the record at the end is what the figures stand on."""

    class Learns(FakeMeter):
        def read(self):
            self.spec = replace(self.spec, quantum_w=7.0)
            return super().read()

    [record] = run(store, Learns())
    assert record.document["meters"][0]["quantum_w"] == 7.0
    assert "power step" in record.document["metered"][0]["energy"]["terms"]
    assert faults_of(record) == []


def test_the_meters_watch_the_whole_warm_up(store):
    meter = FakeMeter()
    [record] = run(store, meter, warmup_s=1.0, time_s=0.3)
    first = next(record.read("readings"))[1].at
    windows = list(record.read("windows"))
    assert windows[0].opened - first >= 0.9e9
    assert windows[0].opened - record.document["began_ns"] < 1.9e9, "it warmed up twice"


def test_stopped_in_the_middle_it_leaves_what_was_measured(store):
    [record] = run(store, FakeMeter(), windows=5, time_s=600)
    assert record.document["state"] == "interrupted"
    assert record.figures["efficiency"].value > 0
    assert faults_of(record) == []


def test_readings_that_were_changed_are_found(store, resealed):
    [record] = run(store, FakeMeter())
    rows = [
        from_reading(meter, replace(reading, watts=reading.watts * 0.9))
        for meter, reading in record.read("readings")
    ]
    forged = resealed(record, readings=rows)
    assert any("does not follow from the rows" in fault for fault in faults_of(forged))
    gone = replace(record, chunks=record.chunks | {"readings": [Chunk.of("readings", rows)]})
    assert faults_of(gone)


GOOD = MeterSpec("good:1", Scope.WALL, Provenance.METER, Accuracy(0.002), model="Good")
OFF = Kept("fake:1", "Fake 3000", "7", Correction(1.02, 0.0005, GOOD, "2026-01-31", 100.0))


def test_a_meter_that_reads_2_percent_too_much_is_put_right(store):
    [record] = run(store, FakeMeter(lambda now: 1.02 * about_100(now)), known=[OFF])
    [meter] = record.document["meters"]
    assert meter["correction"] == OFF.correction.to_json()
    [seen] = record.document["metered"]
    windows = list(record.read("windows"))
    time_s = (windows[-1].closed - windows[0].opened) / 1e9
    hashes = sum(window.hashes for window in windows)
    for name, truth in (("power", 100), ("efficiency", 100 * time_s / hashes * 1e12)):
        figure = record.figures[name]
        assert figure.lo <= truth <= figure.hi
        assert 2 * 0.002 / 3**0.5 <= figure.relative < 2 * 0.01 / 3**0.5 / 2  # not the own class
    assert record.figures["power"].value == pytest.approx(100, rel=1e-3)
    watts = [reading.watts for _, reading in record.read("readings")]
    assert watts == pytest.approx([102] * len(watts), rel=1e-3)  # raw as ever
    assert seen["energy"]["joules"] == pytest.approx(
        100 * (seen["energy"]["closed"] - seen["energy"]["opened"]) / 1e9, rel=1e-3
    )
    assert faults_of(record) == []
    assert not {"DistantCorrection", "UncheckedMeter"} & names_of(record)


def test_a_correction_that_was_changed_in_a_record_is_found(store, resealed):
    [record] = run(store, FakeMeter(lambda now: 1.02 * about_100(now)), known=[OFF], idle_s=0.2)

    def change(document):
        document["meters"][0]["correction"]["factor"] = 1.1

    assert any("does not follow" in fault for fault in faults_of(resealed(record, change)))

    def remove(document):
        del document["meters"][0]["correction"]

    assert any("does not follow" in fault for fault in faults_of(resealed(record, remove)))

    def break_it(document):
        document["meters"][0]["correction"] = {"factor": "much"}

    assert any("makes no sense" in fault for fault in faults_of(resealed(record, break_it)))
    assert record.document["metered"][0]["idle_w"] == pytest.approx(100, rel=1e-3)


def test_a_correction_of_another_instrument_is_not_taken(store):
    other = replace(OFF, serial="8")
    [record] = run(store, FakeMeter(), known=[other], time_s=0.3)
    assert "correction" not in record.document["meters"][0]
    assert record.figures["power"].value == pytest.approx(100, rel=1e-3)


def test_a_correction_that_is_old_or_of_another_load_is_a_caveat(store):
    old = replace(OFF.correction, on="2020-01-31", power_w=400.0)
    [record] = run(store, FakeMeter(), known=[replace(OFF, correction=old)], time_s=0.3)
    assert {"OldCorrection", "DistantCorrection"} < names_of(record)
    [distant] = [c for c in record.document["caveats"] if c["caveat"] == "DistantCorrection"]
    assert distant["power_w"] == 400
    assert distant["at_w"] == pytest.approx(100 / 1.02, rel=1e-3)
    assert faults_of(record) == []


def test_a_meter_that_sends_by_itself_is_heard_as_fast_as_it_sends():
    """Else its readings would wait, and be of ever longer ago."""

    class Sends(FakeMeter):
        def read(self):
            time.sleep(0.002)
            return replace(super().read(), took_ns=None)

    slow = replace(FakeMeter().spec, interval_s=10.0)
    meter = Sends(spec=slow)
    with Metering([meter]) as metering:
        until = time.monotonic() + 30
        while len(metering.sampled[0].readings) < 20 and time.monotonic() < until:
            time.sleep(0.01)
    assert meter.reads >= 20


def seen_live(session):
    """Return the lines of the live table while an entry measures."""
    [entry] = session.entries
    return energy_lines(session) if entry.state == "measuring" else []


def test_the_live_line_tells_j_th_power_and_what_is_left(store):
    lines, stop = [], threading.Event()
    plan = Plan(time_s=60.0, precision=0.013, warmup_s=0.1, turn_s=0.1, meters=("fake:1",))
    with Metering([FakeMeter()]) as metering:
        session = Session(plan, [honest()], store, stop, metering=metering)

        def tick():
            lines.extend(seen_live(session))
            if lines and "J/TH" in lines[-1]:
                stop.set()

        session.run(tick, 0.02)
    value = r"cpu:reference: (J/TH )?[\d.]+ ± [\d.]+( [kMG]J/TH)?"
    assert re.fullmatch(rf"{value}, (±1.3 % in|ends in) .*, 100 W now", lines[-1])
    assert "100 W now" in lines[0]


def test_the_live_line_tells_of_a_dead_meter_at_once(store, monkeypatch):
    monkeypatch.setattr(meterings, "SILENT_S", 0.2)
    lines, stop = [], threading.Event()
    plan = Plan(time_s=600.0, precision=None, warmup_s=0.1, turn_s=0.1, meters=("fake:1",))
    with Metering([FakeMeter(fault="dies")]) as metering:
        session = Session(plan, [honest()], store, stop, metering=metering)

        def tick():
            lines.extend(seen_live(session))
            if any("no answer" in line for line in lines):
                stop.set()

        session.run(tick, 0.02)
    assert re.fullmatch(r"meter fake:1: no answer for \d s \(fake:1: gone\)", lines[-1])


def test_nothing_is_drawn_where_stderr_is_no_terminal(store, capfd):
    with Metering([FakeMeter()]) as metering:
        plan = Plan(time_s=0.5, precision=None, warmup_s=0.1, turn_s=0.1, meters=("fake:1",))
        session = Session(plan, [honest()], store, threading.Event(), metering=metering)
        with Live(session) as live:
            session.run(live.tick, 0.02)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("rate", "flagged"), [(1.0, False), (1.2, True), (0.8, True), (1.0001, False)]
)
def test_stamps_that_drift_against_their_arrival(monkeypatch, rate, flagged):
    """A counter beside a clock that runs a fifth too fast would give a sixth too little."""
    clock = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock[0])
    [seen] = Metering([FakeMeter(spec=replace(WALL, interval_s=1.0))]).sampled
    for second in range(60):
        stall_s = 3 if 20 <= second < 23 else 0  # of ours, and then they come all at once
        clock[0] = (second + stall_s) * 10**9
        seen.take(Reading(round(second * rate * 1e9), joules=100.0 * second))
    assert any("clock" in reading.flags for reading in seen.readings) == flagged
    grade = energy(seen.readings, seen.spec, 5 * 10**9, 40 * 10**9).grade
    assert (grade is Grade.FULL) != flagged


def test_a_meter_named_twice():
    with pytest.raises(PlanError, match="named twice"):
        Metering([FakeMeter(), FakeMeter()])


def test_a_run_warms_up_until_power_has_settled(monkeypatch):
    clock = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0] / 1e9)
    falling = FakeMeter(lambda now: 100 + (100 * 0.99 ** (now / 1e9)))
    metering = Metering([falling])
    watch = Watch(metering, Plan(settle=True, warmup_s=1.0), lambda: False)
    while not watch.ready():
        clock[0] += 1_000_000_000
        metering.sampled[0].take(falling.read())
    assert 600 <= clock[0] / 1e9 < 1000  # the drift of a trailing 5 minutes is below 0.5 % by then
    assert watch.unsettled is None
    never = FakeMeter(lambda now: 100 + now / 1e9)
    metering, clock[0] = Metering([never]), 0
    watch = Watch(metering, Plan(settle=True), lambda: False)
    while not watch.ready():
        clock[0] += 1_000_000_000
        metering.sampled[0].take(never.read())
    assert clock[0] / 1e9 == pytest.approx(2700, abs=2)
    assert watch.unsettled == "power drifts +11 %"


def test_windows_follow_each_other_and_the_hasher_works_on_after_the_last():
    turns, done = [], threading.Event()

    def take(turn):
        turns.append(turn)
        return len(turns) < 4

    began = time.monotonic()
    run_windows(
        NullHasher(), JOB, 0.1, done, take, ready=lambda: time.monotonic() > began + 0.3, lag_s=0.3
    )
    ended = time.monotonic_ns()
    assert len(turns) == 4
    windows = [turn.window for turn in turns]
    assert [w.closed for w in windows[:-1]] == [w.opened for w in windows[1:]]
    assert windows[0].opened >= (began + 0.3) * 1e9
    assert ended - windows[-1].closed >= 0.3e9


def test_what_the_taker_raises_is_not_the_devices():
    class Full(Exception):
        pass

    def take(turn):
        raise Full

    with pytest.raises(Full):
        run_windows(NullHasher(), JOB, 0.05, threading.Event(), take)

    def found(turn):
        raise WrongHash("an audit differs", bytes(80), 0, "nothing", "a hit")

    with pytest.raises(WrongHash):
        run_windows(NullHasher(), JOB, 0.05, threading.Event(), found)


SPECS = st.builds(
    MeterSpec,
    st.text(),
    st.sampled_from(Scope),
    st.sampled_from(Provenance),
    st.none() | st.builds(Accuracy, st.floats(0, 1), st.floats(0, 1), st.none(), st.text()),
    interval_s=st.none() | st.floats(0.001, 1e6),
    quantum_j=st.none() | st.floats(0, 1e9),
    modulus_j=st.none() | st.floats(1, 1e12),
    model=st.none() | st.text(),
    details=st.dictionaries(st.text(), st.integers() | st.text()),
)


@given(SPECS)
def test_a_spec_comes_back_from_a_record(spec):
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


# --- as a user has it ------------------------------------------------------------------------


def hwkit(*arguments):
    return subprocess.run(
        [HWKIT, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_from_the_command_line(path):
    done = hwkit(
        *("bench", "cpu:reference", "--meter", "nameplate:100W?tolerance=5%", "--time", "6s"),
        *("--warmup", "0s", "--store", str(path), "--json"),
    )
    assert done.returncode == 0, done.stderr
    [record] = json.loads(done.stdout)["records"]
    assert record["figures"]["power"]["value"] == pytest.approx(100)
    assert record["figures"]["efficiency"]["unit"] == "J/TH"
    assert record["plan"]["meters"] == ["nameplate:100W?tolerance=5%"]
    shown = hwkit("records", "show", "last", "--store", str(path))
    assert "ClaimedEnergy" in shown.stdout
    assert "±5 % of the reading (nameplate tolerance)" in shown.stdout
    verified = hwkit("verify", "last", "--store", str(path))
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize(
    ("meter", "code", "says"),
    [
        ("nosuch:1", 2, "no such kind 'nosuch'"),
        ("nameplate:many", 2, "is no power"),
        ("exec:/no/such/program", 3, "No such file"),
    ],
)
def test_meters_that_are_none(path, meter, code, says):
    done = hwkit("bench", "cpu:reference", "--meter", meter, "--store", str(path))
    assert done.returncode == code, done.stderr
    [line] = [line for line in done.stderr.splitlines() if says in line]
    assert "Traceback" not in done.stderr
    assert meter.partition("?")[0] in line


def test_the_plan_says_how_long_it_takes():
    done = hwkit("bench", "cpu:reference", "--meter", "nameplate:100W", "--standard", "--plan")
    assert done.returncode == 0
    assert "by nameplate:100W" in done.stdout
    assert "after 10 min to 45 min of warm-up" in done.stdout


def test_a_value_that_stands_still_is_no_gap():
    window = Window(0, 0, 60 * 10**9, 10**9, None, 0, None)
    read = [Reading(t * 10**9, watts=100.21, took_ns=0) for t in range(-5, 66)]
    [seen] = results([(replace(WALL, interval_s=1.0), read)], [window], Basis.COUNTED)
    names = {type(caveat).__name__ for caveat in seen.caveats()}
    assert "MeterFault" in names
    assert "MeterGap" not in names
    assert seen.energy.coverage == 1
