"""The contract tests must be able to fail, and cost nothing to those who do not want them."""

import inspect
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from hwkit.errors import PlanError
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Basis, HasherSpec, Progress
from hwkit.prove.questions import SENSELESS
from hwkit.testing import HasherContract, KernelContract
from hwkit.work import Job, Target

CONTRACT = HasherContract()
JOB = Job.create(seed=b"", ntime=1_700_000_000, target=Target.from_difficulty(2**-18))


class Bad:
    """The reference as a hasher, with its reports changed on their way."""

    spec = HasherSpec("test:bad", Basis.COUNTED, "test", {"threads": 1})

    def run(self, job, stop):
        for report in KernelHasher.lift(ReferenceKernel(), "test", 1).run(job, stop):
            yield self.change(report)

    def change(self, report):
        return report


class BackInTime(Bad):
    at = time.monotonic_ns() + 10**12

    def change(self, report):
        self.at -= 1
        return replace(report, at=self.at)


class FromTheFuture(Bad):
    def change(self, report):
        return replace(report, at=report.at + 10**9)


class CountsTooMany(Bad):
    def change(self, report):
        return replace(report, hashes=report.hashes + 1)


class ReportsTwice(Bad):
    def change(self, report):
        double = report.shares + report.shares, report.scanned + report.scanned
        return replace(report, shares=double[0], scanned=double[1], hashes=2 * report.hashes)


class SharesOfAnotherNonce(Bad):
    def change(self, report):
        shares = tuple(replace(share, nonce=share.nonce ^ 1) for share in report.shares)
        return replace(report, shares=shares)


class SharesFromElsewhere(Bad):
    def change(self, report):
        return replace(report, scanned=tuple(replace(s, first=1 << 31) for s in report.scanned))


class IgnoresRolling(Bad):
    """Scans nonces only, whatever the job asks for."""

    def run(self, job, stop):
        yield from super().run(replace(job, version_rolling=False), stop)


class CountsNoncesWhereItRolls(Bad):
    def change(self, report):
        return replace(report, hashes=sum(span.count for span in report.scanned))


class ForgetsTheVersion(Bad):
    """Reports its shares with the job's version."""

    def change(self, report):
        return replace(report, shares=tuple(replace(s, version=0) for s in report.shares))


class TooBusy(Bad):
    def change(self, report):
        return replace(report, busy_ns=10**10)


class Silent(Bad):
    def run(self, job, stop):
        stop.wait()
        yield Progress(time.monotonic_ns(), hashes=0)


class Deaf(Bad):
    def run(self, job, stop):
        for _ in range(15):
            time.sleep(0.05)
            yield Progress(time.monotonic_ns(), hashes=0)
        stop.wait()


class LeavesAThread(Bad):
    def run(self, job, stop):
        threading.Thread(target=time.sleep, args=(0.5,)).start()
        yield from super().run(job, stop)


class GivesUp(Bad):
    def run(self, job, stop):
        yield Progress(time.monotonic_ns(), hashes=0)


class AnotherEachTime(Bad):
    @property
    def spec(self):  # type: ignore[override]
        return HasherSpec(f"test:{time.monotonic_ns()}", Basis.COUNTED, "test")


class Unwritable(Bad):
    spec = HasherSpec("test:bad", Basis.COUNTED, "test", {"kernel": ReferenceKernel()})


class ReadsAFile(Bad):
    @property
    def spec(self):  # type: ignore[override]
        with open(__file__, encoding="utf-8"):  # noqa: PTH123 - what a careless author writes
            return super().spec


@pytest.mark.parametrize(
    ("bad", "test"),
    [
        (BackInTime, CONTRACT.test_its_times_are_in_order),
        (FromTheFuture, CONTRACT.test_its_times_are_in_order),
        (CountsTooMany, CONTRACT.test_counted_hashes_are_those_it_scanned),
        (ReportsTwice, CONTRACT.test_counted_hashes_are_those_it_scanned),
        (ReportsTwice, CONTRACT.test_every_share_meets_the_target),
        (SharesOfAnotherNonce, CONTRACT.test_every_share_meets_the_target),
        (SharesFromElsewhere, CONTRACT.test_counted_hashes_are_those_it_scanned),
        (IgnoresRolling, CONTRACT.test_it_rolls_versions_where_the_job_does),
        (CountsNoncesWhereItRolls, CONTRACT.test_it_rolls_versions_where_the_job_does),
        (ForgetsTheVersion, CONTRACT.test_it_rolls_versions_where_the_job_does),
        (ReportsTwice, CONTRACT.test_it_rolls_versions_where_the_job_does),
        (TooBusy, CONTRACT.test_busy_time_is_no_longer_than_the_run),
        (Silent, CONTRACT.test_it_reports_four_times_a_second),
        (LeavesAThread, CONTRACT.test_it_leaves_no_thread_behind),
        (GivesUp, CONTRACT.test_it_ends_soon_after_stop),
    ],
)
def test_a_hasher_that_breaks_its_contract_is_noticed(bad, test):
    with pytest.raises(AssertionError):
        test(bad(), JOB)


def test_a_hasher_that_does_not_stop_is_noticed():
    strict = HasherContract()
    strict.ends_within_s = 0.2
    with pytest.raises(AssertionError, match=r"\[0\.[5-9]"):
        strict.test_it_ends_soon_after_stop(Deaf(), JOB)


@pytest.mark.parametrize("bad", [AnotherEachTime, Unwritable])
def test_a_spec_that_breaks_its_contract_is_noticed(bad):
    with pytest.raises((AssertionError, TypeError)):
        CONTRACT.test_its_spec_is_constant(bad())


def test_a_spec_that_costs_is_noticed(monkeypatch):
    with pytest.raises(AssertionError, match="I/O for a spec"):
        CONTRACT.test_its_spec_costs_nothing(ReadsAFile(), monkeypatch)


def test_a_good_hasher_keeps_it_all(monkeypatch):
    for name in dir(CONTRACT):
        if name.startswith("test_its_spec_costs"):
            getattr(CONTRACT, name)(Bad(), monkeypatch)
        elif name.startswith("test_its_spec"):
            getattr(CONTRACT, name)(Bad())
        elif name.startswith("test_"):
            getattr(CONTRACT, name)(Bad(), JOB)


class Careless(ReferenceKernel):
    """Uses the nonce in the header, answers anything, and one thread's question for another's."""

    name = "careless"

    def scan(self, header, target, nonces, versions=()):
        self.target = target
        time.sleep(0.001)
        try:
            hits = super().scan(header, self.target, nonces)
        except PlanError:
            return []
        return hits[header[76] :]


@pytest.mark.parametrize(
    "name",
    [
        "test_it_is_proven",
        "test_it_ignores_the_nonce_in_the_header",
        "test_it_tells_versions_apart",
        "test_many_threads_may_ask_at_once",
        "test_its_name_is_an_address",
    ],
)
def test_a_kernel_that_breaks_its_contract_is_noticed(name):
    getattr(KernelContract(), name)(ReferenceKernel())
    with pytest.raises(AssertionError):
        getattr(KernelContract(), name)(Careless())


@pytest.mark.parametrize("question", SENSELESS, ids=str)
def test_a_kernel_that_answers_anything_is_noticed(question):
    with pytest.raises(pytest.fail.Exception):
        KernelContract().test_it_refuses_what_makes_no_sense(Careless(), question)


@pytest.mark.parametrize("contract", [KernelContract, HasherContract])
def test_a_contract_names_what_to_override(contract):
    fixture = contract.kernel if contract is KernelContract else contract.hasher
    with pytest.raises(NotImplementedError):
        inspect.unwrap(fixture)(contract())


def test_only_testing_needs_pytest():
    code = """
import os, pkgutil, sys, hwkit
for module in pkgutil.walk_packages([os.path.dirname(hwkit.__file__)], "hwkit."):
    if module.name != "hwkit.testing" and "_native" not in module.name:
        __import__(module.name)
assert "pytest" not in sys.modules and "hypothesis" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
