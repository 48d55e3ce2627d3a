"""The loop, and above all the lies it must see through: each hasher here lies in one way."""

import re
import threading
import time
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from hwkit.errors import DeviceLost, PlanError
from hwkit.harness import entry as entry_module
from hwkit.harness import session as sessions
from hwkit.harness import turn
from hwkit.harness.entry import CALIBRATION
from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.hashers import probes
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.null import NullHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Basis, HasherSpec, Progress
from hwkit.records import Store
from hwkit.records.verify import verify


def plan(**changes):
    return Plan(**{"time_s": 0.4, "precision": None, "warmup_s": 0.05, "turn_s": 0.05} | changes)


def honest(kernel=None):
    return KernelHasher.lift(kernel or ReferenceKernel(), "cpu", 1)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "records.sqlite"))


def run(store, *hashers, stop=None, windows=None, **changes):
    """Measure to the end of the plan, or until every hasher has so many windows.

    What a test counts on is given as a number of windows: on a busy machine, or under a
    sanitizer, a time holds any number of them.
    """

    def enough(session):
        return all(len(entry.windows) >= windows for entry in session.entries)

    if windows is not None:
        changes["time_s"] = 600
    return Session(
        plan(**changes), hashers, store, stop or threading.Event(), enough=windows and enough
    ).run()


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


@dataclass
class Broken:
    """A kernel that misses every hit: it must not get a speed."""

    name: str = "cpu:broken"
    lanes: int = 1
    capacity: int = 1024

    def scan(self, header, target, nonces, versions=()):
        return []


def test_an_unproven_kernel_gets_no_speed_and_no_record(store):
    broken, fine = run(store, honest(Broken()), honest())
    assert broken.state == "unproven"
    assert "mainnet headers" in broken.why
    assert broken.windows == []
    assert fine.state == "complete"
    assert [row.device for row in store.listing()] == ["cpu:reference"]


class Liar:
    """Reports what an honest hasher does, changed by `lie`."""

    def __init__(self, lie):
        self._lie = lie
        self._hasher = honest()
        self.spec = HasherSpec("liar", Basis.COUNTED, "cpu")

    def run(self, job, stop):
        for progress in self._hasher.run(job, stop):
            yield self._lie(progress)


def count_more(progress):
    """Claims half as many hashes again, and names nonces for them."""
    more = tuple(
        replace(span, count=span.count // 2, first=span.first + (1 << 31))
        for span in progress.scanned
    )
    hashes = progress.hashes + sum(span.count for span in more)
    return replace(progress, hashes=hashes, scanned=progress.scanned + more)


def find_nothing(progress):
    return replace(progress, shares=())


def invent(progress):
    if not progress.shares:
        return progress
    false = replace(progress.shares[0], nonce=progress.shares[0].nonce ^ 1)
    return replace(progress, shares=(*progress.shares, false))


def rolled_by(progress, by):
    """Moves all that is said of versions to another group, which was never asked about."""
    return replace(
        progress, scanned=tuple(replace(span, group=span.group + by) for span in progress.scanned)
    )


LIES = {
    "counts nonces that it never scanned": (count_more, "standard deviations off|audit"),
    "finds nothing": (find_nothing, "standard deviations off|audit"),
    "invents a share": (invent, "a false share"),
    "reports a share twice": (
        lambda p: replace(p, shares=p.shares + p.shares[:1]),
        "a share reported twice",
    ),
    "counts nonces twice": (
        lambda p: replace(p, hashes=2 * p.hashes, scanned=p.scanned + p.scanned),
        "counted twice",
    ),
    "counts more than it names": (
        lambda p: replace(p, hashes=p.hashes + 1),
        "hashes reported for",
    ),
    "counts and names nothing": (lambda p: replace(p, scanned=()), "hashes reported for"),
    "stamps reports ahead": (lambda p: replace(p, at=p.at + 10**12), "out of its time"),
    "stamps reports in the past": (lambda p: replace(p, at=5), "out of its time"),
    "takes hashes back by counting backwards": (
        lambda p: replace(p, hashes=-p.hashes, scanned=(replace(p.scanned[0], count=-p.hashes),)),
        "nonces reported that the job does not have",
    ),
    "works less than no time": (lambda p: replace(p, busy_ns=-1), "ns of work reported"),
    "counts another job's nonces": (
        lambda p: replace(p, scanned=tuple(replace(s, serial=s.serial ^ 1) for s in p.scanned)),
        "nonces reported that the job does not have",
    ),
    "reports another job's share": (
        lambda p: replace(p, shares=tuple(replace(s, serial=s.serial + 1) for s in p.shares)),
        "a share of another job",
    ),
    "hides where a share came from": (
        lambda p: replace(
            p,
            hashes=sum(s.count for s in p.scanned[1:]) if p.shares else p.hashes,
            scanned=p.scanned[1:] if p.shares else p.scanned,
        ),
        "not counted",
    ),
}


ROLLING_LIES = {
    "counts nonces with twice the versions": (
        lambda p: replace(rolled_by(p, 0), hashes=2 * p.hashes),
        "hashes reported for",
    ),
    "rolls versions that it never scanned": (
        lambda p: replace(p, hashes=2 * p.hashes, scanned=p.scanned + rolled_by(p, 1).scanned),
        "standard deviations off|audit",
    ),
    "names other versions than it scanned": (lambda p: rolled_by(p, 1), "not counted|audit"),
    "counts versions that the mask does not have": (
        lambda p: rolled_by(p, 4096),
        "nonces reported that the job does not have",
    ),
    "counts less than no version": (
        lambda p: rolled_by(p, -1),
        "nonces reported that the job does not have",
    ),
    "counts a group of versions twice": (
        lambda p: replace(p, hashes=2 * p.hashes, scanned=p.scanned + p.scanned),
        "counted twice",
    ),
    "finds nothing with the last version": (
        lambda p: replace(
            p, shares=tuple(s for s in p.shares if s.version != 0x20000000 | 15 << 13)
        ),
        "audit",
    ),
    "rolls bits outside the mask": (
        lambda p: replace(p, shares=tuple(replace(s, version=s.version | 1) for s in p.shares)),
        "outside the job's mask",
    ),
    "reports a share of another version": (
        lambda p: replace(
            p, shares=tuple(replace(s, version=s.version ^ 0x2000) for s in p.shares)
        ),
        "a false share",
    ),
    "does not roll at all": (
        lambda p: replace(
            p,
            hashes=p.hashes // 16,
            scanned=tuple(replace(span, group=None) for span in p.scanned),
        ),
        "other work reported than asked for, version rolling",
    ),
}


def until_void(session):
    return any(entry.state == "void" for entry in session.entries)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_voids_the_run_and_leaves_the_others_alone(store, name):
    lie, words = LIES[name]
    session = Session(
        plan(time_s=30, turn_s=0.1),
        [Liar(lie), honest()],
        store,
        threading.Event(),
        enough=until_void,
    )
    liar, fine = session.run()
    assert liar.state == "void"
    assert re.search(words, liar.why), liar.why
    assert fine.state == "complete"
    if liar.run is not None:
        document = store.get(liar.run.id).document
        assert (document["state"], document["why"]) == ("void", liar.why)


@pytest.mark.parametrize("name", ROLLING_LIES)
def test_a_lie_about_versions_voids_the_run(store, name):
    lie, words = ROLLING_LIES[name]
    session = Session(
        plan(time_s=60, turn_s=0.1, version_rolling=True),
        [Liar(lie)],
        store,
        threading.Event(),
        enough=until_void,
    )
    (liar,) = session.run()
    assert liar.state == "void"
    assert re.search(words, liar.why), liar.why


def test_versions_that_nobody_asked_for_void_the_run(store):
    class Rolls(Liar):
        def run(self, job, stop):
            yield from self._hasher.run(replace(job, version_rolling=True), stop)

    (rolls,) = run(store, Rolls(None))
    assert rolls.state == "void"
    assert "other work reported than asked for, no rolled version" in rolls.why


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


@dataclass
class Forgetful:
    """Proven, then leaves out one hit in four while it is measured: what only an audit sees."""

    name: str = "cpu:forgetful"
    lanes: int = 1
    capacity: int = 1024

    def scan(self, header, target, nonces, versions=()):
        hits = ReferenceKernel().scan(header, target, nonces, versions)
        mining = header[4:36] == MINED_ON
        return [hit for hit in hits if not (mining and hit.nonce % 4 == 0)]


MINED_ON = Plan(seed="forgetful").job(0, CALIBRATION).prev_hash


def test_an_audit_finds_hits_left_out_after_the_proof(store):
    session = Session(
        plan(time_s=60, turn_s=0.1, seed="forgetful"),
        [honest(Forgetful())],
        store,
        threading.Event(),
        enough=until_void,
    )
    (entry,) = session.run()
    assert entry.state == "void"
    assert re.search("audit by cpu:.* differs|standard deviations off", entry.why)


class Faulty:
    """Fails in the middle of the run, as a card that falls off its bus does."""

    spec = HasherSpec("faulty", Basis.COUNTED, "cpu")

    def __init__(self):
        self._turns = 0

    def run(self, job, stop):
        self._turns += 1
        for progress in honest().run(job, stop):
            if self._turns > 4:
                raise DeviceLost("faulty: it fell off the bus")
            yield progress


def test_a_device_that_is_lost_keeps_its_record_and_the_others_run_on(store):
    faulty, fine = run(store, Faulty(), honest())
    assert (faulty.state, faulty.why) == ("void", "faulty: it fell off the bus")
    assert fine.state == "complete"
    record = store.get(faulty.run.id)
    assert record.document["state"] == "void"
    assert [what for _, what in record.read("events")] == [
        "DeviceLost: faulty: it fell off the bus"
    ]
    assert all(finding.passed for finding in verify(record))


class Done:
    """Thinks that it is done, at once."""

    spec = HasherSpec("done", Basis.COUNTED, "cpu")

    def run(self, job, stop):
        yield Progress(time.monotonic_ns(), hashes=0)


def test_a_hasher_that_ends_by_itself_is_a_fault_and_not_a_loop(store):
    (entry,) = run(store, Done())
    assert entry.state == "void"
    assert "without being told to" in entry.why


class Silent:
    """Reports, then says nothing for a while."""

    spec = HasherSpec("silent", Basis.COUNTED, "cpu")

    def run(self, job, stop):
        yield Progress(time.monotonic_ns(), hashes=0)
        time.sleep(0.3)
        yield Progress(time.monotonic_ns(), hashes=0)


def test_silence_is_a_fault(store, monkeypatch):
    monkeypatch.setattr(turn, "SILENCE_S", 0.2)
    monkeypatch.setattr(turn, "FIRST_S", 0.2)
    (entry,) = run(store, Silent())
    assert entry.state == "void"
    assert "was silent" in entry.why


class Stuck:
    """Never comes back and does not look at stop: a hung driver."""

    spec = HasherSpec("stuck", Basis.COUNTED, "elsewhere")
    free = threading.Event()

    def run(self, job, stop):
        self.free.wait(30)
        yield Progress(time.monotonic_ns(), hashes=0)


def test_a_hasher_that_hangs_does_not_hold_an_interrupted_session(store):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    fine, _ = run(store, honest(), Stuck(), stop=stop, time_s=60)
    assert time.monotonic() - began < 0.3 + sessions.LEAVE_S + 1
    assert fine.state == "interrupted"
    Stuck.free.set()


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), OSError("bug"), PlanError("bug")])
def test_whatever_a_hasher_raises_is_its_own_fault_and_not_the_session_s(store, error):
    def bug(progress):
        raise error

    broken, fine = run(store, Liar(bug), honest())
    assert broken.state == "void"
    assert "bug" in broken.why
    assert fine.state == "complete"


@pytest.mark.parametrize(
    "change", [{"at": None}, {"shares": None}, {"busy_ns": "1"}, {"hashes": "many"}]
)
def test_reports_of_no_sense_void_the_run(store, change):
    liar, fine = run(store, Liar(lambda progress: replace(progress, **change)), honest())
    assert (liar.state, fine.state) == ("void", "complete")


def test_hashers_of_one_session_work_on_headers_of_their_own(store):
    entries = run(store, honest(), honest())
    one, other = (store.get(entry.run.id).document["job"] for entry in entries)
    assert one["prev_hash"] != other["prev_hash"]


def test_stamps_that_fall_behind_make_no_window_shorter(store):
    class Slow(Liar):
        """Its clock goes at a quarter of the speed."""

        def run(self, job, stop):
            first = time.monotonic_ns()
            for progress in self._hasher.run(job, stop):
                yield replace(progress, at=first + (progress.at - first) // 4)

    liar, fine = run(store, Slow(None), honest(), turn_s=0.1, time_s=1.0)
    shares = []
    for entry in (liar, fine):
        figures = store.get(entry.run.id).figures
        shares.append(figures["hashrate"].value / figures["hashrate_per_cpu_second"].value)
    assert shares[0] < 3 * shares[1]  # by its own stamps it would be 4 times as fast


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
