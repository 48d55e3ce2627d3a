"""What a session must see through: each hasher here lies or fails in one way."""

import re
import threading
import time
from dataclasses import dataclass, replace

import pytest

from hwkit.errors import DeviceLost, PlanError
from hwkit.harness import session as sessions
from hwkit.harness import turn
from hwkit.harness.entry import CALIBRATION
from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Basis, HasherSpec, Progress
from hwkit.records import Store
from hwkit.records.verify import verify

from .short_session import honest, plan, run


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "records.sqlite"))


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
