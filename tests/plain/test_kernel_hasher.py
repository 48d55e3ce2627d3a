"""KernelHasher: how it deals out nonces, gathers what its threads find, and ends."""

import queue
import threading
import time
from dataclasses import replace
from itertools import islice

import pytest

from hwkit.errors import WrongHash
from hwkit.hashers import kernel as module
from hwkit.hashers.kernel import KernelHasher, _Chunk, _Nonces, _Reporter
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Hit, Span
from hwkit.testing import HasherContract, run_for
from hwkit.work import NONCES, Job, Target

MS = 1_000_000


def new_job():
    return Job.create(seed=b"", ntime=1_700_000_000, target=Target(0))


class FakeKernel:
    """Answers at once, or after a while, or not at all."""

    name = "test:fake"
    lanes = capacity = 1

    def __init__(self, seconds=0.0, fails_on=None, wait=None):
        self.seconds = seconds
        self.fails_on = fails_on
        self.wait = wait
        self.asked = []

    def scan(self, header, target, nonces, versions=()):
        self.asked.append((header, nonces))
        self.versions = versions
        if self.wait is not None:
            self.wait.wait()
        time.sleep(self.seconds)
        if len(self.asked) == self.fails_on:
            raise WrongHash("a fault", header, 0, "this", "that")
        return [Hit(nonces.start, 0x20000000)]


class TestItsContract(HasherContract):
    ends_within_s = 0.2

    @pytest.fixture(params=[1, 3])
    def hasher(self, request):
        return KernelHasher.lift(ReferenceKernel(), "cpu", request.param)


# --- dealing ---------------------------------------------------------------------------------


def test_every_nonce_is_dealt_once_and_then_extranonce2_is_rolled():
    job = new_job()
    nonces = _Nonces(job)
    nonces._first = NONCES - 100
    dealt = [nonces.take(64) for _ in range(4)]
    spans = [(span.extranonce2[0], span.first, span.count) for span, _, _ in dealt]
    assert spans == [(0, NONCES - 100, 64), (0, NONCES - 36, 36), (1, 0, 64), (1, 64, 64)]
    headers = [header for _, header, _ in dealt]
    assert headers[0] == headers[1] != headers[2] == headers[3]
    for span, header, versions in dealt:
        assert (span.group, span.hashes, versions) == (None, span.count, ())
        assert header == job.header_of(
            job.serial, span.extranonce2, job.ntime, job.version, nonce=0
        )


def test_versions_are_rolled_before_extranonce2_is():
    """A whole group of them with each nonce; the nonces that one has used up are the next one's."""
    job = replace(new_job(), version_rolling=True)
    nonces = _Nonces(job)
    dealt = []
    for _ in range(2 * job.version_groups):
        dealt.append(nonces.take(NONCES - 100))
        dealt.append(nonces.take(1 << 10))
    assert [(span.first, span.count) for span, _, _ in dealt[:2]] == [
        (0, NONCES - 100),
        (NONCES - 100, 100),
    ]
    groups = [(span.extranonce2[0], span.group) for span, _, _ in dealt[::2]]
    assert groups == [(extranonce2, group) for extranonce2 in (0, 1) for group in range(4096)]
    for span, header, versions in (dealt[0], dealt[1], dealt[2], dealt[-1]):
        assert versions == job.versions(span.group)
        assert span.hashes == 16 * span.count
        assert header == job.header_of(0, span.extranonce2, job.ntime, job.version, 0)


def test_a_job_that_rolls_versions_is_asked_about_with_them():
    kernel = FakeKernel(0.001)
    job = replace(new_job(), version_rolling=True)
    run = run_for(KernelHasher.lift(kernel, "test", 1), job, 0.1)
    assert kernel.versions in {job.versions(span.group) for span in run.spans}
    asked = sum(len(nonces) for _, nonces in kernel.asked)
    assert sum(report.hashes or 0 for report in run.reports) == 16 * asked
    run_for(KernelHasher.lift(kernel, "test", 1), new_job(), 0.1)
    assert kernel.versions == ()


def test_whole_headers_can_be_dealt():
    nonces = _Nonces(new_job())
    spans = [nonces.take(NONCES)[0] for _ in range(3)]
    assert [(span.first, span.count) for span in spans] == [(0, NONCES)] * 3
    assert len({span.extranonce2 for span in spans}) == 3


def test_a_fast_kernel_uses_up_headers(monkeypatch):
    """Shares name the extranonce2 with which they were found."""
    monkeypatch.setattr(module, "GROWTH", 1 << 20)
    kernel = FakeKernel(seconds=0.001)
    run = run_for(KernelHasher.lift(kernel, "test", 2), new_job(), 0.1)
    spans = [span for report in run.reports for span in report.scanned]
    assert len({span.extranonce2 for span in spans}) > 3
    assert len({header for header, _ in kernel.asked}) > 3
    shares = {share for report in run.reports for share in report.shares}
    assert {(s.extranonce2, s.nonce) for s in shares} == {(s.extranonce2, s.first) for s in spans}
    ordered = sorted(spans, key=lambda span: (span.extranonce2, span.first))
    ends: dict[bytes, int] = {}
    for span in ordered:
        assert span.first == ends.get(span.extranonce2, 0)  # no gap, no overlap
        ends[span.extranonce2] = span.first + span.count


def test_a_thread_that_waits_for_its_device_is_given_short_chunks_too():
    """It uses next to no processor time; its chunks are bounded all the same."""

    class Device(FakeKernel):
        def scan(self, header, target, nonces, versions=()):
            time.sleep(len(nonces) / 1e7)  # 10 MH/s, asleep
            return super().scan(header, target, nonces)

    kernel = Device()
    run = run_for(KernelHasher.lift(kernel, "test", 1), new_job(), 0.5)
    assert max(len(nonces) for _, nonces in kernel.asked) <= 1e7 * 0.05
    assert len(run.reports) > 5


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fault_in_a_thread_is_raised_where_the_caller_is(threads):
    before = set(threading.enumerate())
    hasher = KernelHasher.lift(FakeKernel(0.001, fails_on=5), "test", threads)
    with pytest.raises(WrongHash, match="a fault"):
        list(islice(hasher.run(new_job(), threading.Event()), 1000))
    assert set(threading.enumerate()) <= before


def test_a_fault_after_stop_is_raised_too():
    release, stop = threading.Event(), threading.Event()
    kernel = FakeKernel(fails_on=1, wait=release)
    threading.Timer(0.05, stop.set).start()
    threading.Timer(0.35, release.set).start()
    with pytest.raises(WrongHash):
        list(KernelHasher.lift(kernel, "test", 1).run(new_job(), stop))


def test_what_was_found_before_the_end_is_reported():
    kernel = FakeKernel(0.005)
    run = run_for(KernelHasher.lift(kernel, "test", 2), new_job(), 0.1)
    asked = sum(len(nonces) for _, nonces in kernel.asked)
    assert sum(report.hashes or 0 for report in run.reports) == asked


def test_a_thread_that_cannot_be_started_leaves_none_behind(monkeypatch):
    before = set(threading.enumerate())
    start, count = threading.Thread.start, iter(range(10))

    def starts_two(thread):
        if next(count) == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", starts_two)
    reports = KernelHasher.lift(FakeKernel(0.001), "test", 4).run(new_job(), threading.Event())
    with pytest.raises(RuntimeError, match="can't start"):
        next(reports)
    assert set(threading.enumerate()) <= before


def test_reports_that_nobody_takes_any_more_end_the_threads():
    before = set(threading.enumerate())
    hasher = KernelHasher.lift(FakeKernel(0.001), "test", 2)
    reports = hasher.run(new_job(), threading.Event())
    assert set(threading.enumerate()) <= before  # nothing runs before it is asked to
    next(reports)
    assert len(set(threading.enumerate()) - before) == 2
    del reports
    assert set(threading.enumerate()) <= before


def test_a_slow_kernel_is_reported_alive():
    run = run_for(KernelHasher.lift(FakeKernel(0.6), "test", 1), new_job(), 1.0)
    assert [report.hashes for report in run.reports][:2] == [0, 0]
    assert sum(report.hashes or 0 for report in run.reports) >= 1024
    times = [report.at for report in run.reports]
    assert times == sorted(times)


# --- reports ---------------------------------------------------------------------------------


def chunk(worker, at):
    return _Chunk(worker, at, Span(0, b"", 0, 1), (), 1)


def test_reports_do_not_run_backwards_when_chunks_do():
    """A thread may be held up between the end of its scan and the queue."""
    reporter, stop = _Reporter(threads=1), threading.Event()
    start = reporter._last
    chunks: queue.SimpleQueue = queue.SimpleQueue()
    reports = reporter.reports(chunks, stop)

    def put(*at_ms):
        for at in at_ms:
            chunks.put(chunk(0, start + at * MS))

    put(30, 10)
    first = next(reports)
    assert (first.at, first.hashes) == (start + 30 * MS, 2)
    put(57, 56, 20)
    second = next(reports)
    assert (second.at, second.hashes) == (start + 57 * MS, 3)
    put(40)
    stop.set()
    assert list(reports) == []
    (last,) = reporter.rest(chunks)
    assert (last.at, last.hashes) == (start + 57 * MS, 1)


def test_the_first_report_comes_when_every_thread_is_at_work():
    reporter, stop = _Reporter(threads=2), threading.Event()
    chunks: queue.SimpleQueue = queue.SimpleQueue()
    for _ in range(2):
        chunks.put(chunk(0, reporter._last))
    threading.Timer(0.06, chunks.put, [chunk(1, reporter._last)]).start()
    reports = reporter.reports(chunks, stop)
    assert next(reports).hashes == 3
    stop.set()
    assert list(reports) == []


def test_another_number_of_threads_is_another_hasher():
    one = KernelHasher.lift(FakeKernel(), "test", 1, picked_by="me")
    two = one.with_threads(2)
    assert (one.threads, one.spec.details["threads"]) == (1, 1)
    assert (two.threads, two.spec.details) == (
        2,
        {"lanes": 1, "threads": 2, "picked_by": "me"},
    )
