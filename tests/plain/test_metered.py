"""A run with meters beside it: joules of the same window as the hashes, whatever the meters do."""

import json
import threading
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.errors import PlanError, WrongHash
from hwkit.harness.metering import Metering, spec_from_json, spec_to_json
from hwkit.harness.plan import Plan
from hwkit.harness.result import results
from hwkit.harness.turn import run_windows
from hwkit.harness.watch import Watch
from hwkit.hashers.null import NullHasher
from hwkit.protocols import Accuracy, Basis, MeterSpec, Provenance, Reading, Scope, Window
from hwkit.records.record import Chunk
from hwkit.records.rows import from_reading
from hwkit.work import MAX_TARGET, Job, Target

from .metered_session import WALL, EndsOnly, FakeMeter, faults_of, honest, names_of, run

pytestmark = pytest.mark.usefixtures("quick_windows")
JOB = Job.create(seed=b"", ntime=1_700_000_000, target=Target(MAX_TARGET >> 8))


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


def test_a_value_that_stands_still_is_no_gap():
    window = Window(0, 0, 60 * 10**9, 10**9, None, 0, None)
    read = [Reading(t * 10**9, watts=100.21, took_ns=0) for t in range(-5, 66)]
    [seen] = results([(replace(WALL, interval_s=1.0), read)], [window], Basis.COUNTED)
    names = {type(caveat).__name__ for caveat in seen.caveats()}
    assert "MeterFault" in names
    assert "MeterGap" not in names
    assert seen.energy.coverage == 1
