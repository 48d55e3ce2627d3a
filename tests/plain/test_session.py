"""The loop: who is measured when, for how long, and what is in the record."""

import threading
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from hwkit.errors import PlanError
from hwkit.harness import entry as entry_module
from hwkit.harness.session import Session
from hwkit.hashers import probes
from hwkit.hashers.null import NullHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.records import Store
from hwkit.records.verify import verify

from .short_session import honest, plan, run


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "records.sqlite"))


def test_an_honest_hasher_leaves_a_record_that_verifies(store):
    (entry,) = run(store, honest(), windows=4)
    assert (entry.state, entry.why) == ("complete", "enough for the whole session")
    record = store.get(entry.run.id)
    assert [finding for finding in verify(record) if not finding.passed] == []
    document = record.document
    assert document["counts"]["windows"] >= 4
    assert document["counts"]["shares"] > 0
    assert document["proof"]["verdict"] == "PASS"
    assert record.figures["hashrate"].value > 1000
    assert record.figures["hashrate_per_cpu_second"].value > 1000


def test_windows_begin_and_end_where_scans_do(store, monkeypatch):
    """A device that is starved answers after several windows' time: none of them is empty."""

    class Starved(ReferenceKernel):
        def scan(self, header, target, nonces, versions=()):
            if "/" in threading.current_thread().name:  # a worker's, not the proof's
                time.sleep(0.3)
            return super().scan(header, target, nonces, versions)

    (entry,) = run(store, honest(Starved()), turn_s=0.05, windows=3)
    assert [window for window in entry.windows if not window.hashes] == []
    assert [finding for finding in verify(store.get(entry.run.id)) if not finding.passed] == []


def test_what_a_card_tells_is_recorded_beside(store, monkeypatch):
    told = {"clock_hz": 1.98e9, "slowed_by": ["SwPowerCap", "GpuIdle"]}
    monkeypatch.setattr(probes, "probe", lambda pci: told if pci == "0000:65:00.0" else {})
    monkeypatch.setattr(entry_module, "PROBE_NS", 0)
    card = honest()
    spec = replace(card.spec, details={**card.spec.details, "pci": "0000:65:00.0"})
    (entry,) = run(store, replace(card, spec=spec), windows=4)
    record = store.get(entry.run.id)
    seen = list(record.read("probes"))
    assert {(probe.name, probe.value, probe.words) for probe in seen} == {
        ("clock_hz", 1.98e9, ()),
        ("slowed_by", None, ("SwPowerCap", "GpuIdle")),
    }
    windows = list(record.read("windows"))
    assert len(seen) == 2 * len(windows)
    assert windows[0].opened < seen[0].at
    [caveat] = [each for each in record.document["caveats"] if each["caveat"] == "HeldBack"]
    assert caveat["finding"] == "SwPowerCap in 100 % of the looks"
    assert [finding for finding in verify(record) if not finding.passed] == []


def test_it_stops_when_its_time_is_over(store):
    (entry,) = run(store, honest())
    assert (entry.state, entry.why) == ("complete", "time")
    measured = sum(window.closed - window.opened for window in entry.windows)
    *before, _ = entry.windows
    assert measured >= 0.4e9 > sum(window.closed - window.opened for window in before)


def test_it_stops_once_it_is_precise(store):
    (entry,) = run(store, honest(), precision=0.5, time_s=60)
    assert (entry.state, entry.why) == ("complete", "precision reached")
    assert len(entry.windows) < 100


def test_hashers_of_one_resource_take_turns_round_by_round_in_changing_order(store):
    # Twenty rounds in one order: one chance in half a million.
    entries = run(store, honest(), honest(), windows=20, turn_s=0.02)
    turns = sorted(
        ((window, number) for number, entry in enumerate(entries) for window in entry.windows),
        key=lambda turn: turn[0].opened,
    )
    for (earlier, _), (later, _) in pairwise(turns):
        assert earlier.closed <= later.opened
        assert earlier.round <= later.round
    rounds = [
        tuple(number for window, number in turns if window.round == round_)
        for round_ in range(min(len(entry.windows) for entry in entries))
    ]
    assert set(rounds) == {(0, 1), (1, 0)}


def test_different_resources_run_together(store):
    one, other = honest(), replace(honest(), spec=replace(honest().spec, resource="elsewhere"))
    left, right = run(store, one, other, time_s=0.5)
    assert left.windows[0].opened < right.windows[-1].closed
    assert right.windows[0].opened < left.windows[-1].closed


def test_no_window_holds_the_warm_up(store):
    began = time.monotonic_ns()
    (entry,) = run(store, honest(), warmup_s=0.3)
    assert entry.windows[0].opened - began > 0.3e9


def test_a_hasher_that_hashes_nothing_gets_no_figure(store):
    (entry,) = run(store, NullHasher(), turn_s=0.1)
    document = store.get(entry.run.id).document
    assert document["figures"] == {}
    assert document["counts"]["hashes"] == 0
    assert document["spread"] is None


def test_nothing_to_measure_is_refused(store):
    with pytest.raises(PlanError, match="nothing to measure"):
        Session(plan(), [], store, threading.Event())


def test_version_rolling_leaves_a_record_that_says_so_and_verifies(store):
    (entry,) = run(store, honest(), windows=4, version_rolling=True)
    assert entry.state == "complete", entry.why
    record = store.get(entry.run.id)
    assert [finding for finding in verify(record) if not finding.passed] == []
    assert record.work == "version rolling"
    assert record.document["plan"]["version_rolling"] is True
    assert [row.work for row in store.listing()] == ["version rolling"]
    job = entry.job
    assert {credited.share.version for credited in record.read("shares")} <= set(job.versions(0))
    assert len({credited.share.version for credited in record.read("shares")}) > 1
    assert all(window.hashes % 16 == 0 for window in entry.windows)
    assert all(audit.group == 0 for audit in entry.audits)


def test_hashers_of_one_session_work_on_headers_of_their_own(store):
    entries = run(store, honest(), honest())
    one, other = (store.get(entry.run.id).document["job"] for entry in entries)
    assert one["prev_hash"] != other["prev_hash"]


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2, 0.5])
def test_an_interrupted_session_leaves_valid_records(store, after_s):
    stop = threading.Event()
    timer = threading.Timer(after_s, stop.set)
    timer.start()
    (entry,) = run(store, honest(), stop=stop, time_s=60)
    timer.join()
    assert entry.state == "interrupted"
    for row in store.listing():
        assert row.state == "interrupted"
        assert all(finding.passed for finding in verify(store.get(row.id)))


def test_a_run_ends_early_when_the_session_has_enough(store):
    session = Session(
        plan(time_s=60),
        [honest()],
        store,
        threading.Event(),
        enough=lambda session: len(session.entries[0].windows) >= 3,
    )
    (entry,) = session.run()
    assert (entry.state, len(entry.windows)) == ("complete", 3)


def test_the_challenge_is_in_every_share(store):
    (entry,) = run(store, honest(), challenge="lot 7, 2026-11-22")
    findings = {finding.name: finding for finding in verify(store.get(entry.run.id))}
    assert findings["challenge and beacon"].detail == "challenge 'lot 7, 2026-11-22'"
