"""Whatever a meter's driver does, it costs that meter's joules and not the hashes."""

import math
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from hwkit.errors import DeviceLost, PlanError, Unavailable
from hwkit.harness import metering as meterings
from hwkit.harness.energy import Grade, energy
from hwkit.harness.metering import Metering
from hwkit.protocols import Accuracy, Reading

from .metered_session import WALL, FakeMeter, about_100, faults_of, names_of, run

pytestmark = pytest.mark.usefixtures("quick_windows")


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
