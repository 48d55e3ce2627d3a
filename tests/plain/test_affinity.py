"""Threads on the processors they were given, kernels on cores they suit, and the record of it."""

import os
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hwkit import plugins
from hwkit.cli.bench import _say_picked
from hwkit.cli.options import find_hashers
from hwkit.errors import NoDriver
from hwkit.harness import audit
from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.hashers import cpu, native, topology
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.hashers.topology import Processor, Topology
from hwkit.records.verify import verify
from hwkit.testing import run_for
from hwkit.work import Job, Target

HERE = topology.usable() or ()
pytestmark = pytest.mark.skipif(len(HERE) < 2, reason="two processors and affinity are needed")
JOB = Job.create(seed=b"", ntime=1_700_000_000, target=Target(0))


class Witness(ReferenceKernel):
    """Takes down where each of its threads may run."""

    def __init__(self, name="cpu:witness"):
        self.name = name
        self.supported = True
        self.seen = {}

    def scan(self, header, target, nonces, versions=()):
        self.seen[threading.current_thread().name] = os.sched_getaffinity(0)
        return super().scan(header, target, nonces, versions)


def lifted(kernel, *affinity):
    hasher = KernelHasher.lift(kernel, "cpu", 1)
    return hasher.with_affinity(affinity) if affinity else hasher


def measured(store, hasher, **changes):
    plan = Plan(time_s=600, precision=None, warmup_s=0.05, turn_s=0.05, **changes)
    session = Session(
        plan,
        [hasher],
        store,
        threading.Event(),
        enough=lambda session: len(session.entries[0].windows) >= 3,
    )
    return session.run()[0]


# --- pinned ----------------------------------------------------------------------------------


def test_worker_n_runs_on_the_nth_processor_and_no_other_thread_is_touched():
    kernel = Witness()
    hasher = lifted(kernel, HERE[1], HERE[0])
    assert (hasher.threads, hasher.spec.details["affinity"]) == (2, [HERE[1], HERE[0]])
    run_for(hasher, JOB, 0.1)
    assert kernel.seen == {"cpu:witness/0": {HERE[1]}, "cpu:witness/1": {HERE[0]}}
    assert topology.usable() == HERE


def test_fewer_threads_take_the_first_processors_and_more_start_over():
    hasher = lifted(Witness(), *HERE[:2])
    one, three = hasher.with_threads(1), hasher.with_threads(3)
    assert (one.processors, one.spec.details["affinity"]) == (HERE[:1], [HERE[0]])
    assert one.with_threads(2).processors == HERE[:2]
    run_for(three, JOB, 0.2)
    assert three.kernel.seen["cpu:witness/2"] == {HERE[0]}
    assert three.spec.details["affinity"] == list(HERE[:2])


def test_without_affinity_nothing_is_pinned():
    kernel = Witness()
    hasher = lifted(kernel).with_threads(2)
    run_for(hasher, JOB, 0.1)
    assert set(map(frozenset, kernel.seen.values())) == {frozenset(HERE)}
    assert hasher.processors is None
    assert "affinity" not in hasher.spec.details


@pytest.mark.parametrize("leave", [KeyboardInterrupt, GeneratorExit])
def test_the_caller_is_as_it_was_whatever_ends_the_run(leave):
    before = set(threading.enumerate())
    reports = lifted(Witness(), HERE[0]).run(JOB, threading.Event())
    next(reports)
    with pytest.raises(leave):
        reports.throw(leave)
    assert topology.usable() == HERE
    assert set(threading.enumerate()) <= before


def test_a_processor_that_is_gone_is_a_fault_of_the_run():
    with pytest.raises(OSError, match="Invalid argument"):
        run_for(lifted(Witness(), topology.MOST - 1), JOB, 0.1)


def test_options_and_addresses_pin():
    first = HERE[0]
    for [hasher] in (
        plugins.hashers(f"cpu:reference?affinity={first}"),
        find_hashers(["cpu:reference"], None, HERE),  # it holds the interpreter lock: one thread
    ):
        assert isinstance(hasher, KernelHasher)
        assert (hasher.processors, hasher.threads) == ((first,), 1)
    for hasher in find_hashers([], None, HERE[:2]):
        if isinstance(hasher, KernelHasher) and hasher.spec.name != "cpu:reference":
            assert (hasher.processors, hasher.threads) == (HERE[:2], 2)
    [found] = plugins.hashers(f"cpu:auto?affinity={first}&threads=2")
    assert isinstance(found, KernelHasher)
    assert (found.processors, found.threads) == ((first,), 2)


def test_the_record_says_where(store, monkeypatch):
    monkeypatch.setattr(topology, "read", lambda: Topology(unlike()))
    monkeypatch.setattr(topology, "usable", lambda: HERE[:2])
    entry = measured(store, lifted(ReferenceKernel(), HERE[1]))
    record = store.get(entry.run.id)
    device = record.document["device"]
    assert device["details"]["affinity"] == [HERE[1]]
    assert (device["processors"], device["cores"], device["core_types"]) == (1, 1, ["efficiency"])
    assert record.document["host"]["cpu"]["core_groups"][0]["type"] == "performance"
    assert [finding for finding in verify(record) if not finding.passed] == []
    free = store.get(measured(store, lifted(ReferenceKernel())).run.id).document
    assert free["device"]["core_types"] == ["performance", "efficiency"]
    assert "MixedCores" in {caveat["caveat"] for caveat in free["caveats"]}
    assert "cycles_per_hash" not in free["figures"]


# --- a kernel for each type of core ----------------------------------------------------------


def unlike():
    """Two processors of ours, as if of two types."""
    return (
        Processor(HERE[0], HERE[0], 0, "performance"),
        Processor(HERE[1], HERE[1], 0, "efficiency"),
    )


def absent():
    raise NoDriver("cpu", "not here")


@pytest.fixture
def two_types(monkeypatch):
    """A machine with two types of cores, on each of which another kernel wins the race."""
    kernels = [Witness("cpu:one"), Witness("cpu:two")]
    wins = {frozenset([HERE[0]]): "cpu:one", frozenset([HERE[1]]): "cpu:two"}

    def race(raced, **_):
        winner = wins.get(frozenset(os.sched_getaffinity(0)))
        rates = {"cpu:reference": 0.5, winner: 2.0}
        return {kernel.name: rates.get(kernel.name, 1.0) for kernel in raced}

    monkeypatch.setattr(topology, "read", lambda: Topology(unlike()))
    monkeypatch.setattr(topology, "usable", lambda: HERE[:2])
    monkeypatch.setattr(native, "kernels", lambda: kernels)
    monkeypatch.setattr(cpu, "_numba", absent)
    monkeypatch.setattr(cpu, "race", race)
    monkeypatch.setattr(cpu, "prove", lambda _: SimpleNamespace(passed=True))
    for cached in (cpu._fastest, audit._proven):
        cached.cache_clear()
    yield SimpleNamespace(kernels=kernels, wins=wins)
    for cached in (cpu._fastest, audit._proven):
        cached.cache_clear()


def test_each_type_of_core_runs_the_kernel_that_won_there(two_types, capsys):
    [hasher] = plugins.hashers("cpu:auto")
    assert isinstance(hasher, KernelHasher)
    assert (hasher.spec.name, hasher.threads) == ("cpu:auto", 2)
    details = hasher.spec.details
    assert (details["affinity"], details["kernels"]) == (list(HERE[:2]), ["cpu:one", "cpu:two"])
    assert details["by_core_type"]["efficiency"] == {
        "kernel": "cpu:two",
        "measured_h_s": {"cpu:reference": 0.5, "cpu:one": 1.0, "cpu:two": 2.0},
    }
    run_for(hasher, JOB, 0.2)
    assert [kernel.seen for kernel in two_types.kernels] == [
        {"cpu:auto/0": {HERE[0]}},
        {"cpu:auto/1": {HERE[1]}},
    ]
    _say_picked(hasher.spec)
    assert "cpu:auto is cpu:two on efficiency cores: cpu:ref" in capsys.readouterr().err


def test_its_parts_keep_their_kernels(two_types):
    [one] = plugins.hashers("cpu:auto?threads=1")
    [other] = find_hashers(["cpu:auto"], None, (HERE[1],))
    assert isinstance(one, KernelHasher)
    assert isinstance(other, KernelHasher)
    assert (one.processors, [kernel.name for kernel in one.kernels]) == (HERE[:1], ["cpu:one"])
    assert (other.processors, other.spec.details["kernels"]) == ((HERE[1],), ["cpu:two"])


def test_its_record_verifies_and_none_of_its_kernels_audits_it(two_types, store):
    [hasher] = plugins.hashers("cpu:auto")
    entry = measured(store, hasher)
    assert entry.state == "complete", entry.why
    record = store.get(entry.run.id)
    assert record.document["auditor"] == "cpu:reference"
    assert record.document["proof"]["kernel"] == "cpu:one and cpu:two"
    assert record.document["device"]["details"]["kernels"] == ["cpu:one", "cpu:two"]
    assert record.document["audit"]["chunks"] > 0
    assert [finding for finding in verify(record) if not finding.passed] == []


def test_every_kernel_of_it_must_be_proven(two_types, store):
    class Blind(Witness):
        def scan(self, header, target, nonces, versions=()):
            return []

    [hasher] = plugins.hashers("cpu:auto")
    assert isinstance(hasher, KernelHasher)
    blind = replace(hasher, suited={**hasher.suited, HERE[1]: Blind("cpu:blind")})
    assert measured(store, blind).state == "unproven"


def test_where_one_kernel_wins_everywhere_nothing_is_pinned(two_types):
    two_types.wins[frozenset([HERE[1]])] = "cpu:one"
    [hasher] = plugins.hashers("cpu:auto")
    assert isinstance(hasher, KernelHasher)
    assert (hasher.spec.name, hasher.affinity) == ("cpu:one", None)
    assert hasher.spec.details["by_core_type"].keys() == {"performance", "efficiency"}


@pytest.mark.parametrize("told", [(), (None, "efficiency"), ("performance", "performance")])
def test_where_two_types_are_not_told_one_race_decides(two_types, monkeypatch, told):
    kinds = [each._replace(type=kind) for each, kind in zip(unlike(), told, strict=False)]
    monkeypatch.setattr(topology, "read", lambda: Topology(tuple(kinds)))
    [hasher] = plugins.hashers("cpu:auto")
    assert isinstance(hasher, KernelHasher)
    assert hasher.affinity is None
    assert "measured_h_s" in hasher.spec.details


def test_where_threads_cannot_be_pinned_one_race_decides(two_types, monkeypatch):
    monkeypatch.setattr(topology, "usable", lambda: None)
    [hasher] = plugins.hashers("cpu:auto")
    assert isinstance(hasher, KernelHasher)
    assert hasher.affinity is None


def test_an_auditor_is_none_of_those_it_audits(two_types, monkeypatch):
    auditor = audit.auditor_for({"cpu:one", "cpu:two"})
    assert auditor
    assert auditor.kernel.name == "cpu:reference"
    assert audit.auditor_for({"cpu:one", "cpu:two", "cpu:reference"}) is None
    monkeypatch.setattr(native, "kernels", absent)
    audit._proven.cache_clear()
    assert audit.auditor_for({"cpu:reference"}) is None
