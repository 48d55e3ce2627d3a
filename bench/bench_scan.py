"""The scans, and what our own loop around them costs."""

import importlib.util
import os
import threading
import time

import pytest

from hwkit.harness.plan import Plan
from hwkit.harness.statistics import centre_interval
from hwkit.harness.tally import Tally
from hwkit.hashers import cpu, native
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Basis
from hwkit.work import Share, Target

pytest.importorskip("hwkit.hashers._native")

KERNELS = {kernel.name: kernel for kernel in native.kernels() if kernel.supported}
COMPILED = tuple(KERNELS)
KERNELS["cpu:reference"] = ReferenceKernel()
if importlib.util.find_spec("numba"):
    KERNELS["cpu:numba"] = cpu._numba()
SHARES_PER_S = 100  # as harness.session has it
ROUND_S = 0.02
PAIRS = int(os.environ.get("HWKIT_BENCH_PAIRS", "30"))
TURN_S = 0.25


def work(rate_h_s):
    """A job with the share target that the harness gives at this rate, and its first header."""
    job = Plan(seed="bench").job(1_700_000_000, Target(int((1 << 256) * SHARES_PER_S / rate_h_s)))
    return job, job.header(Share(0, bytes(8), job.ntime, job.version, 0))


def rate_of(kernel):
    """A rough rate: how many nonces make a round."""
    _, header = work(1e7)
    count = 1 << 10
    kernel.scan(header, Target(0), range(count))  # Numba's compiles at its first call
    while True:
        began = time.thread_time_ns()
        kernel.scan(header, Target(0), range(count))
        took = time.thread_time_ns() - began
        if took > 5_000_000:
            return count * 1e9 / took
        count *= 4


@pytest.mark.parametrize("name", KERNELS)
def test_scan(benchmark, name):
    kernel = KERNELS[name]
    rate = rate_of(kernel)
    job, header = work(rate)
    nonces = range(int(rate * ROUND_S))
    best_ns = 1 << 62

    def scan():
        nonlocal best_ns
        began = time.thread_time_ns()
        kernel.scan(header, job.target, nonces)
        best_ns = min(best_ns, time.thread_time_ns() - began)

    benchmark.pedantic(scan, rounds=60, warmup_rounds=3)
    benchmark.extra_info |= {
        "MH/s by wall": round(len(nonces) / benchmark.stats.stats.min / 1e6, 3),
        "MH/s per CPU second": round(len(nonces) * 1e3 / best_ns, 3),
    }
    print(name, benchmark.extra_info)


def bare(kernel, header, target):
    """CPU time per hash of the C function in the plainest loop."""
    lib, ffi = native._native.lib, native._native.ffi
    hits, found = ffi.new("uint32_t[]", 1024), ffi.new("uint32_t *")
    limit, piece = target.to_bytes(), int(rate_of(kernel) * 0.01)
    first = done = 0
    began_at, began = time.monotonic(), time.thread_time_ns()
    while time.monotonic() - began_at < TURN_S:
        lib.hwk_scan(kernel._entry, header, limit, first, piece, hits, 1024, found)
        first = (first + piece) % (1 << 31)
        done += piece
    return (time.thread_time_ns() - began) / done


def through_the_harness(kernel, job):
    """CPU time per hash: of the thread that scans, and of the one that reports and tallies."""
    stop, tally, done = threading.Event(), Tally(job, Basis.COUNTED), 0
    began_at, began, began_here = time.monotonic(), time.process_time_ns(), time.thread_time_ns()
    for progress in KernelHasher.lift(kernel, "cpu", 1).run(job, stop):
        tally.take(progress)
        done += progress.hashes or 0
        if time.monotonic() - began_at >= TURN_S:
            stop.set()
    tally.close()
    here = time.thread_time_ns() - began_here
    return (time.process_time_ns() - began - here) / done, here / done


@pytest.mark.parametrize("name", COMPILED)
def test_overhead_of_the_harness(benchmark, name):
    """Pairs in turns: CPU time per hash beyond the bare loop's: centre, from, to."""
    kernel = KERNELS[name]
    job, header = work(rate_of(kernel))
    ratios = []

    def pair():
        plain = ours = None
        for turn in (0, 1) if len(ratios) % 2 else (1, 0):
            if turn:
                ours = through_the_harness(kernel, job)
            else:
                plain = bare(kernel, header, job.target)
        ratios.append((ours[0] / plain - 1, ours[1] / plain))

    benchmark.pedantic(pair, rounds=PAIRS, warmup_rounds=1)
    for what, shares in zip(
        ("scanning thread", "reporting thread"), zip(*ratios[1:], strict=True), strict=True
    ):
        centre = centre_interval(shares, 0.95)
        benchmark.extra_info[f"{what} %"] = [
            round(100 * figure, 2) for figure in (centre.value, centre.lo, centre.hi)
        ]
    print(name, benchmark.extra_info)
