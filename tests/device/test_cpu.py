"""The processor's kernels and hashers that are here: each keeps its contract, and all agree."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkit import plugins
from hwkit.errors import NoDevice, NoDriver, PlanError
from hwkit.hashers import cpu, cpuinfo
from hwkit.hashers import native as compiled
from hwkit.hashers.kernel import KernelHasher, usable_cpus
from hwkit.hashers.null import NullHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Hasher
from hwkit.prove import Question, agree, prove, prove_sha256
from hwkit.prove.questions import MINED, ROLLED, answer
from hwkit.testing import HasherContract, KernelContract, run_for
from hwkit.vectors import mainnet_headers
from hwkit.work import MAX_TARGET, NONCES, Header, Job, Target

COMPILED = [] if compiled.MISSING else [k for k in compiled.kernels() if k.supported]
KERNELS: list[Any] = [ReferenceKernel(), *COMPILED]  # those that cpu:auto chooses from
NUMBA = [cpu._numba()] if importlib.util.find_spec("numba") else []
FAST = [*COMPILED, *NUMBA]
EVERY = [*KERNELS, *NUMBA]


def by_name(kernel):
    return kernel.name


class TestKernels(KernelContract):
    @pytest.fixture(params=EVERY, ids=by_name)
    def kernel(self, request):
        return request.param


class TestHashers(HasherContract):
    ends_within_s = 0.2

    @pytest.fixture(params=EVERY, ids=by_name)
    def hasher(self, request):
        [hasher] = plugins.hashers(request.param.name)
        return hasher


class TestNull(HasherContract):
    @pytest.fixture
    def hasher(self):
        return NullHasher()


def test_null_hashes_nothing():
    run = run_for(NullHasher(), Job.create(seed=b"", ntime=0, target=Target(MAX_TARGET)), 0.2)
    assert run.reports
    assert all((r.hashes, r.busy_ns, r.shares, r.scanned) == (0, 0, (), ()) for r in run.reports)


# --- which kernels there are -----------------------------------------------------------------


@pytest.mark.needs(module="hwkit.hashers._native", path="/proc/cpuinfo")
def test_the_kernels_offered_are_those_the_processor_promises():
    assert {kernel.name for kernel in COMPILED} == cpu.promised(cpuinfo.flags())
    assert cpu.missing_kernels(cpuinfo.flags()) == set()


def test_a_kernel_that_is_promised_and_missing_is_noticed(native, monkeypatch):
    everything = frozenset().union(*cpu.NEEDS.values())
    assert cpu.promised(everything) == {"cpu:portable", *cpu.NEEDS}
    monkeypatch.setattr(compiled, "kernels", lambda: KERNELS[1:2])
    assert cpu.missing_kernels(everything) == set(cpu.NEEDS)
    assert cpu.missing_kernels(frozenset()) == set()
    assert cpu.missing_kernels(None) == set()


def test_every_compiled_kernel_is_found_or_its_absence_explained(native):
    found = list(plugins.hashers())
    names = {f.spec.name if isinstance(f, Hasher) else f.address for f in found}
    assert names >= {"cpu:portable", "cpu:reference"}
    assert names >= {kernel.name for kernel in compiled.kernels()} | {"cpu:numba"}


@pytest.fixture
def without_avx512(native, monkeypatch):
    kernels = compiled.kernels()
    for kernel in kernels:
        kernel.supported = kernel.supported and kernel.name != "cpu:avx512"
    monkeypatch.setattr(compiled, "kernels", lambda: kernels)


@pytest.mark.usefixtures("without_avx512")
def test_a_kernel_that_this_processor_does_not_run():
    if "cpu:avx512" not in {kernel.name for kernel in compiled.kernels()}:
        pytest.skip("not compiled for this processor's family")
    for address in ("cpu:avx512", "cpu:avx512?threads=2", None):
        absent = [found for found in plugins.hashers(address) if isinstance(found, NoDevice)]
        assert "cpu:avx512" in {each.address for each in absent}
        assert any("avx512f" in each.why for each in absent)


def no_numba():
    raise NoDriver("cpu:numba", "not installed")


def test_without_the_extension_the_reference_remains(monkeypatch):
    monkeypatch.setattr(compiled, "MISSING", "not built")
    monkeypatch.setattr(cpu, "_numba", no_numba)
    found = list(cpu.find(None))
    assert [type(each) for each in found] == [KernelHasher, NoDriver, NoDriver]
    [absent] = plugins.hashers("cpu:portable")
    assert isinstance(absent, NoDriver)
    [reference] = plugins.hashers("cpu:reference")
    assert isinstance(reference, KernelHasher)
    assert compiled.compiler() is None
    assert compiled.clock_hz() is None
    with pytest.raises(NoDriver):
        compiled.sha256(b"")


@pytest.mark.parametrize("address", ["cpu:no_such", "cpu:", "cpu:portable:2", "cpu:Portable"])
def test_addresses_of_no_kernel(native, address):
    with pytest.raises(PlanError, match="no such kernel; there are cpu:auto"):
        list(plugins.hashers(address))


def test_options(native):
    [hasher] = plugins.hashers("cpu:portable?threads=3")
    assert isinstance(hasher, KernelHasher)
    assert (hasher.threads, hasher.spec.details["threads"]) == (3, 3)
    for bad in ("threads=0", "threads=two", "colour=red"):
        with pytest.raises(PlanError):
            list(plugins.hashers(f"cpu:portable?{bad}"))


def test_auto_is_a_proven_kernel_and_says_what_it_measured():
    cpu._fastest.cache_clear()
    [auto] = plugins.hashers("cpu:auto?threads=1")
    assert isinstance(auto, KernelHasher)
    details = auto.spec.details
    assert details["picked_by"] == "cpu:auto"
    assert set(details["measured_h_s"]) == {kernel.name for kernel in KERNELS}
    assert max(details["measured_h_s"], key=details["measured_h_s"].get) == auto.spec.name
    assert all(rate > 1000 for rate in details["measured_h_s"].values())
    assert prove(auto.kernel).passed
    assert auto.threads == 1


def test_auto_leaves_out_a_kernel_that_is_not_proven(native, monkeypatch):
    class Blind(ReferenceKernel):
        name = "cpu:blind"
        lanes = 16  # as where C has vector code: Numba is left out

        def scan(self, header, target, nonces, versions=()):
            return []

    blind = Blind()
    blind.supported = True  # type: ignore[attr-defined]
    monkeypatch.setattr(compiled, "kernels", lambda: [blind])
    cpu._fastest.cache_clear()
    try:
        [auto] = cpu.find(plugins.Address.parse("cpu:auto"))
    finally:
        cpu._fastest.cache_clear()
    assert isinstance(auto, KernelHasher)
    assert auto.spec.name == "cpu:reference"  # the blind one answers at once, and is out


# --- that they are right ---------------------------------------------------------------------


def test_all_kernels_find_the_same_hits_among_16_million(native):
    """Across the seams of calls, pieces and buffers that a proof is too short to reach."""
    fast_first = sorted(FAST, key=lambda kernel: -kernel.lanes)
    checks = agree(fast_first, MINED, piece=1 << 23)
    assert [check.fault for check in checks] == [None] * (len(FAST) - 1)
    hits = fast_first[0].scan(MINED.header, MINED.target, MINED.nonces)
    assert len(hits) == pytest.approx(1024, abs=160)  # five standard deviations
    assert [hit for hit in hits if hit.nonce < MINED.nonces.start + (1 << 16)] == list(
        answer(Question(MINED.header, MINED.target, MINED.nonces[: 1 << 16]))
    )


def test_all_kernels_find_the_same_hits_with_rolled_versions(native):
    checks = agree(FAST, ROLLED, piece=1 << 17)
    assert [check.fault for check in checks] == [None] * (len(FAST) - 1)
    hits = FAST[-1].scan(ROLLED.header, ROLLED.target, ROLLED.nonces, ROLLED.versions)
    assert len(hits) == pytest.approx(256, abs=80)  # five standard deviations


@pytest.mark.parametrize("kernel", FAST, ids=by_name)
def test_every_mainnet_nonce_is_found_among_thousands(kernel):
    for height, raw in mainnet_headers().items():
        header = Header.unpack(raw)
        first = max(0, header.nonce - height % 2000)
        nonces = range(first, min(first + 2000, NONCES))
        hits = kernel.scan(raw[:76] + bytes(4), Target.from_nbits(header.nbits), nonces)
        assert [hit.nonce for hit in hits] == [header.nonce], height


@pytest.mark.parametrize("kernel", FAST, ids=by_name)
@settings(max_examples=60)
@given(
    header=st.binary(min_size=80, max_size=80),
    first=st.integers(0, NONCES - 1),
    count=st.integers(0, 200),
    bits=st.integers(0, 9),
    below=st.integers(0, MAX_TARGET),
    versions=st.lists(st.integers(0, NONCES - 1), max_size=3)
    | st.lists(st.integers(0, NONCES - 1), min_size=15, max_size=18),
)
def test_any_question_is_answered_as_the_reference_does(
    *, kernel, header, first, count, bits, below, versions
):
    nonces = range(first, min(first + count, NONCES))
    for target in (Target(MAX_TARGET >> bits), Target(below >> bits)):
        question = Question(header, target, nonces, tuple(versions))
        assert tuple(kernel.scan(header, target, nonces, versions)) == answer(question)


@pytest.mark.parametrize("length", [0, 76, 79, 81, 160])
@pytest.mark.parametrize("kernel", EVERY, ids=by_name)
def test_headers_of_another_length_are_refused(kernel, length):
    with pytest.raises(PlanError, match="80 bytes"):
        kernel.scan(bytes(length), Target(MAX_TARGET), range(8))


@pytest.mark.parametrize("kernel", EVERY, ids=by_name)
def test_empty_ranges_have_no_hits(kernel):
    for nonces in (range(0), range(5, 5), range(5, 3), range(NONCES, NONCES)):
        assert list(kernel.scan(bytes(80), Target(MAX_TARGET), nonces)) == []


def test_sha256_of_the_extension(native):
    check = prove_sha256(compiled.sha256, checkpoints=3)
    assert check.passed, check.fault


# --- threads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rolling", [False, True])
def test_any_number_of_threads_finds_the_same_over_what_it_reports(threads, rolling):
    kernel = KERNELS[-1]
    job = Job.create(
        seed=b"threads",
        ntime=1_700_000_000,
        target=Target(MAX_TARGET >> 16),
        version_rolling=rolling,
    )
    run = run_for(KernelHasher.lift(kernel, "cpu", threads), job, 0.25)
    found = {(s.extranonce2, s.nonce, s.version) for report in run.reports for s in report.shares}
    again = set()
    for span in run.spans:
        header = job.header_of(0, span.extranonce2, job.ntime, job.version, 0)
        nonces = range(span.first, span.first + span.count)
        hits = kernel.scan(header, job.target, nonces, job.versions(span.group))
        again |= {(span.extranonce2, hit.nonce, hit.version) for hit in hits}
    assert run.spans
    assert found == again


@pytest.mark.parametrize("kernel", FAST, ids=by_name)
def test_the_interpreter_lock_is_released(kernel):
    """Python goes on between the beginning and the end of one long call into C."""
    began, ended = threading.Event(), threading.Event()

    def scan():
        began.set()
        kernel.scan(bytes(80), Target(0), range(1 << 21))
        ended.set()

    # No switch by force: Python goes on only where the scan lets go.
    interval = sys.getswitchinterval()
    thread = threading.Thread(target=scan)
    steps = 0
    try:
        sys.setswitchinterval(100)
        thread.start()
        began.wait()
        while not ended.is_set() and steps < 10_000:
            steps += 1
            ended.wait(1e-5)
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert steps > 20


def test_affinity_is_honoured():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    code = """
import json, os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from hwkit import plugins
from hwkit.hashers.kernel import usable_cpus
from hwkit.protocols import Hasher
threads = {h.spec.details["threads"] for h in plugins.hashers() if isinstance(h, Hasher)}
print(json.dumps([usable_cpus(), sorted(threads)]))
"""
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert json.loads(out) == [1, [1]]


def test_all_processors_are_used_unless_asked_otherwise(native):
    [hasher] = plugins.hashers("cpu:portable")
    assert isinstance(hasher, KernelHasher)
    assert hasher.threads == usable_cpus() >= 1
    [reference] = plugins.hashers("cpu:reference")
    assert isinstance(reference, KernelHasher)
    assert reference.threads == 1  # it holds the interpreter lock


def test_a_clock_is_measured(native):
    hz = compiled.clock_hz()
    if hz is None:
        pytest.skip("no known latency on this processor")
    assert 2e8 < hz < 1e10
