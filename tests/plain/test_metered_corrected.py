"""A run with a meter that has a correction: by the better meter's truth, and to be checked."""

from dataclasses import replace

import pytest

from hwkit.harness.correction import Correction
from hwkit.harness.corrections import Kept
from hwkit.protocols import Accuracy, MeterSpec, Provenance, Scope

from .metered_session import FakeMeter, about_100, faults_of, names_of, run

pytestmark = pytest.mark.usefixtures("quick_windows")
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
