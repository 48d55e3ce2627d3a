"""Contract tests that a plugin's author inherits (with pytest):

    class TestMyKernel(KernelContract):
        @pytest.fixture
        def kernel(self):
            return MyKernel()

Timings are judged by the best of a few runs: what a busy machine spoils once is not the plugin's.
"""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from hwkit.errors import PlanError
from hwkit.protocols import Basis
from hwkit.prove import Question, prove
from hwkit.prove.questions import MINED, SENSELESS, SIXTEEN, answer
from hwkit.sha256d import sha256d
from hwkit.work import Job, Target

if TYPE_CHECKING:
    from hwkit.protocols import Hasher, Kernel, Meter, Progress, Span

TRIES = 3
RUN_S = 0.15
REPORT_WITHIN_S = 0.25


class KernelContract:
    """What every kernel owes."""

    @pytest.fixture
    def kernel(self) -> Kernel:
        """Return the kernel under test; override this."""
        raise NotImplementedError

    def test_it_is_proven(self, kernel: Kernel) -> None:
        """Every answer equals the reference's."""
        fault = prove(kernel).fault
        assert fault is None, fault

    @pytest.mark.parametrize("question", SENSELESS, ids=str)
    def test_it_refuses_what_makes_no_sense(self, kernel: Kernel, question: Question) -> None:
        """No header, no stretch of the nonce space, no version: PlanError, not a bent answer."""
        with pytest.raises(PlanError):
            kernel.scan(question.header, question.target, question.nonces, question.versions)

    def test_it_ignores_the_nonce_in_the_header(self, kernel: Kernel) -> None:
        """Only the range says which nonces are asked about."""
        nonces = range(MINED.nonces.start, MINED.nonces.start + 256)
        target = Target.from_difficulty(2**-28)
        answers = [
            list(kernel.scan(MINED.header[:76] + nonce, target, nonces))
            for nonce in (bytes(4), b"\xff" * 4, MINED.header[76:])
        ]
        assert answers[0] == answers[1] == answers[2]

    def test_it_tells_versions_apart(self, kernel: Kernel) -> None:
        """Each hit comes with its version, in the order in which they were given; as often, too."""
        few, twice = (5, 3, 4), (*SIXTEEN[::-1], 5, SIXTEEN[0])
        for versions in (few, SIXTEEN, SIXTEEN[1:], twice):
            question = Question(MINED.header, Target.from_difficulty(2**-31), range(64), versions)
            got = kernel.scan(question.header, question.target, question.nonces, question.versions)
            assert tuple(got) == answer(question), question

    def test_many_threads_may_ask_at_once(self, kernel: Kernel) -> None:
        """No call sees another's target, header or hits."""
        questions = [
            Question(MINED.header, Target((1 << 256 - bits) - 1), range(bits, bits + 2000))
            for bits in (1, 3, 5, 7)
        ]
        right: list[Question] = []

        def ask(question: Question) -> None:
            got = [kernel.scan(question.header, question.target, question.nonces) for _ in range(3)]
            if all(tuple(hits) == answer(question) for hits in got):
                right.append(question)

        threads = [threading.Thread(target=ask, args=(question,)) for question in questions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(right) == len(questions)

    def test_its_name_is_an_address(self, kernel: Kernel) -> None:
        """Name, width and capacity are what the prover and the records need."""
        assert ":" in kernel.name
        assert kernel.lanes >= 1
        assert kernel.capacity >= 1


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a hasher as the harness would see it, in monotonic ns."""

    began: int
    reports: list[Progress]
    heard: list[int]
    stopped: int
    ended: int

    @property
    def longest_silence_s(self) -> float:
        """Seconds without a report, from the start to the stop."""
        moments = [self.began, *(at for at in self.heard if at < self.stopped), self.stopped]
        return max(b - a for a, b in pairwise(moments)) / 1e9

    @property
    def spans(self) -> list[Span]:
        """All that was scanned."""
        return [span for report in self.reports for span in report.scanned]

    def refuse_miscounted(self, job: Job) -> None:
        """Fail unless the hashes are those of the spans, none twice, and the shares from them."""
        for report in self.reports:
            assert report.hashes == sum(span.hashes for span in report.scanned)
            for share in report.shares:
                assert any(
                    span.extranonce2 == share.extranonce2
                    and span.first <= share.nonce < span.first + span.count
                    and share.version in job.versions(span.group)
                    for span in report.scanned
                )
        assert all((span.group is not None) == job.version_rolling for span in self.spans)
        spans = sorted(self.spans, key=lambda span: (span.extranonce2, span.group or 0, span.first))
        for one, other in pairwise(spans):
            same = (one.extranonce2, one.group) == (other.extranonce2, other.group)
            assert not same or one.first + one.count <= other.first


def run_for(hasher: Hasher, job: Job, seconds: float = RUN_S) -> Run:
    """Run a hasher, tell it to stop after so many seconds, and take down what it said and when."""
    stop = threading.Event()
    stopped: list[int] = []

    def halt() -> None:
        stopped.append(time.monotonic_ns())
        stop.set()

    timer = threading.Timer(seconds, halt)
    timer.start()
    began = time.monotonic_ns()
    reports, heard = [], []
    try:
        for report in hasher.run(job, stop):
            heard.append(time.monotonic_ns())
            reports.append(report)
    finally:
        ended = time.monotonic_ns()
        timer.cancel()
        timer.join()
    assert stopped, "it ended before it was told to"
    return Run(began, reports, heard, stopped[0], ended)


class HasherContract:
    """What every hasher owes."""

    ends_within_s = 0.5

    @pytest.fixture
    def hasher(self) -> Hasher:
        """Return the hasher under test; override this."""
        raise NotImplementedError

    @pytest.fixture
    def job(self) -> Job:
        """Return a job whose shares are not rare: one in 2^14 hashes; override this at will."""
        target = Target.from_difficulty(2**-18)
        return Job.create(seed=b"contract", ntime=int(time.time()), target=target)

    def test_its_spec_is_constant(self, hasher: Hasher) -> None:
        """It never changes, can be a key, and what it tells can be kept in a record."""
        assert hasher.spec == hasher.spec
        assert hash(hasher.spec) == hash(hasher.spec)
        assert json.loads(json.dumps(dict(hasher.spec.details))) == dict(hasher.spec.details)

    def test_its_spec_costs_nothing(self, hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
        """No file, no connection, no process."""
        with monkeypatch.context() as patch:
            _refuse_io(patch)
            spec = hasher.spec
        assert spec == hasher.spec

    def test_it_reports_four_times_a_second(self, hasher: Hasher, job: Job) -> None:
        """An empty report will do: it says that the hasher is alive."""
        silences: list[float] = []
        while len(silences) < TRIES and min(silences, default=1.0) > REPORT_WITHIN_S:
            silences.append(run_for(hasher, job, 0.6).longest_silence_s)
        assert min(silences) <= REPORT_WITHIN_S, silences

    def test_it_ends_soon_after_stop(self, hasher: Hasher, job: Job) -> None:
        """In whatever it was."""
        took: list[float] = []
        while len(took) < TRIES and min(took, default=self.ends_within_s + 1) > self.ends_within_s:
            run = run_for(hasher, job)
            took.append((run.ended - run.stopped) / 1e9)
        assert min(took) <= self.ends_within_s, took

    def test_it_ends_when_it_was_stopped_before(self, hasher: Hasher, job: Job) -> None:
        """A stop that is set already is a stop."""
        stop = threading.Event()
        stop.set()
        began = time.monotonic()
        list(hasher.run(job, stop))
        assert time.monotonic() - began <= 1.0

    def test_it_leaves_no_thread_behind(self, hasher: Hasher, job: Job) -> None:
        """Neither when it was told to stop nor when its reports are no longer wanted."""
        before = set(threading.enumerate())
        run_for(hasher, job)
        assert set(threading.enumerate()) <= before
        reports = hasher.run(job, threading.Event())
        next(reports)
        if close := getattr(reports, "close", None):
            close()
            assert set(threading.enumerate()) <= before

    def test_its_times_are_in_order(self, hasher: Hasher, job: Job) -> None:
        """Each report is of a moment in the run, none before the one that came before."""
        run = run_for(hasher, job)
        times = [report.at for report in run.reports]
        assert times == sorted(times)
        assert all(run.began <= at <= heard for at, heard in zip(times, run.heard, strict=True))

    def test_every_share_meets_the_target(self, hasher: Hasher, job: Job) -> None:
        """Each was found once, on this job and not on its neighbour."""
        shares = [share for report in run_for(hasher, job).reports for share in report.shares]
        assert all(job.target.is_met_by(sha256d(job.header(share))) for share in shares)
        assert len(set(shares)) == len(shares)
        assert all(share.serial == job.serial for share in shares)

    def test_counted_hashes_are_those_it_scanned(self, hasher: Hasher, job: Job) -> None:
        """As many as its spans hold, no nonce twice, and every share within one of them."""
        if hasher.spec.basis is not Basis.COUNTED:
            pytest.skip("it does not count")
        run_for(hasher, job).refuse_miscounted(job)

    def test_it_rolls_versions_where_the_job_does(self, hasher: Hasher, job: Job) -> None:
        """Whole groups of them, counted as above, and no share is of another version."""
        if hasher.spec.basis is not Basis.COUNTED:
            pytest.skip("it does not count")
        rolling = replace(job, version_rolling=True)
        run = run_for(hasher, rolling)
        run.refuse_miscounted(rolling)
        shares = [share for report in run.reports for share in report.shares]
        assert all(job.target.is_met_by(sha256d(job.header(share))) for share in shares)

    def test_busy_time_is_no_longer_than_the_run(self, hasher: Hasher, job: Job) -> None:
        """Where it is told at all; of as many threads as its spec names."""
        run = run_for(hasher, job)
        busy = sum(report.busy_ns or 0 for report in run.reports)
        threads = int(hasher.spec.details.get("threads", 1))
        assert 0 <= busy <= (run.ended - run.began) * threads * 1.05


class MeterContract:
    """What every meter owes."""

    answers_within_s = 5.0

    @pytest.fixture
    def meter(self) -> Meter:
        """Return the meter under test, which sees something; override this."""
        raise NotImplementedError

    def test_its_spec_costs_nothing(self, meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
        """No file, no connection, no process; it can be a key and kept in a record."""
        with monkeypatch.context() as patch:
            _refuse_io(patch)
            spec = meter.spec
        assert spec == meter.spec
        assert hash(spec) == hash(meter.spec)
        assert json.loads(json.dumps(dict(spec.details))) == dict(spec.details)

    def test_it_says_who_it_is_in_texts(self, meter: Meter) -> None:
        """What the instrument tells of itself, under names, for the record."""
        try:
            told = meter.open()
            assert all(type(word) is str for pair in told.items() for word in pair)
        finally:
            meter.close()

    def test_it_reads_in_time_and_of_a_moment_while_it_read(self, meter: Meter) -> None:
        """Each reading has watts or joules, as finite numbers, and none is of before the last."""
        meter.open()
        try:
            last = -1
            for _ in range(3):
                asked = time.monotonic_ns()
                reading = meter.read()
                answered = time.monotonic_ns()
                assert answered - asked <= self.answers_within_s * 1e9
                assert asked <= reading.at <= answered or reading.took_ns is None
                assert last <= reading.at
                last = reading.at
                assert reading.watts is not None or reading.joules is not None
                values = (reading.watts, reading.joules, reading.volts, reading.amperes)
                assert all(math.isfinite(value) for value in values if value is not None)
        finally:
            meter.close()

    def test_it_can_be_closed_twice_and_opened_again(self, meter: Meter) -> None:
        """Whoever measures closes it whatever happens."""
        for _ in range(2):
            meter.open()
            meter.read()
            meter.close()
            meter.close()

    def test_it_leaves_no_thread_behind(self, meter: Meter) -> None:
        """Closed is closed."""
        before = set(threading.enumerate())
        meter.open()
        meter.read()
        meter.close()
        until = time.monotonic() + self.answers_within_s
        while set(threading.enumerate()) - before and time.monotonic() < until:
            time.sleep(0.01)
        assert set(threading.enumerate()) <= before


def _refuse_io(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"I/O for a spec: {args} {kwargs}")

    for name in ("builtins.open", "io.open", "os.open", "socket.socket", "subprocess.Popen"):
        monkeypatch.setattr(name, refuse)
