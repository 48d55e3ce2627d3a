"""The store: what a commit costs, and a run of five days from disk to verdict."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hwkit.harness.figures import summarise
from hwkit.harness.host import host_facts
from hwkit.harness.plan import Plan
from hwkit.protocols import CreditedShare, Reading, Window
from hwkit.records import Store
from hwkit.work import MAX_TARGET, Share, Target

DAYS = float(os.environ.get("HWKIT_BENCH_DAYS", "5"))  # less for a quick look
WINDOW_S = 10
SHARES_PER_S = 10
EVERY_HASH = Target(MAX_TARGET)  # each header is a share: millions of real ones cost nothing
LARGEST_MB, LONGEST_S = 200, 60


def facts(job, monotonic_ns, utc):
    return {
        "id": f"{utc:%Y%m%dT%H%M%S}-bench",
        "began": utc.isoformat(),
        "began_ns": monotonic_ns,
        "session": "0" * 16,
        "hwkit": "0",
        "clock": {"utc": utc.isoformat(), "monotonic_ns": monotonic_ns},
        "plan": Plan(precision=None).to_json(),
        "job": job.to_json(),
        "device": {
            "name": "bench",
            "basis": "counted",
            "resource": "none",
            "threads": None,
            "details": {},
        },
        "proof": None,
        "auditor": None,
        "host": host_facts(),
    }


def begun(store, days=0.0):
    """Open a run that began `days` ago, as far as its document says."""
    ago_ns = int(days * 86400e9)
    began_ns = time.monotonic_ns() - ago_ns
    utc = datetime.now(UTC) - timedelta(days=days)
    job = Plan().job(int(utc.timestamp()) + 1, EVERY_HASH)
    run = store.open(facts(job, began_ns, utc), {"hostname": "bench"})
    return run, job, began_ns


def window_at(number, opened, shares):
    closed = opened + WINDOW_S * 10**9
    return Window(number, opened, closed, shares, WINDOW_S * 10**9, shares, None)


def share_rows(chance, job, number, opened, count):
    """Shares as an ASIC gives them: everything that may be rolled is rolled, each time."""
    step = WINDOW_S * 10**9 // count
    for place in range(count):
        at = opened + place * step + 1 + chance.randrange(step)
        version = job.version | chance.getrandbits(16) << 13
        extranonce2 = chance.randbytes(job.extranonce2_size)
        ntime = job.ntime + (at - opened) // 10**9
        nonce = chance.getrandbits(32)
        yield CreditedShare(number, at, Share(number, extranonce2, ntime, version, nonce))


@pytest.fixture(scope="module")
def five_days(tmp_path_factory):
    """A sealed run of five days at 10 shares a second, windows of 10 s, one meter at 1 Hz."""
    path = tmp_path_factory.mktemp("five-days") / "records.sqlite"
    store, chance, windows = Store(str(path)), random.Random(1), []
    run, job, began_ns = begun(store, DAYS)
    for number in range(int(DAYS * 86400) // WINDOW_S):
        opened = began_ns + number * WINDOW_S * 10**9
        window = window_at(number, opened, SHARES_PER_S * WINDOW_S)
        windows.append(window)
        run.window(window)
        for share in share_rows(chance, job, number, opened, window.shares):
            run.share(share)
        for second in range(WINDOW_S):
            at = opened + second * 10**9 + chance.randrange(10**8)
            run.reading("meter:bench", Reading(at, watts=round(chance.gauss(3250, 20), 1)))
        if number % 20 == 0:
            run.commit()
    summary = summarise(windows, [], job.target, threads=None, precision=None, audited=False)
    ended = {"state": "complete", "why": "time", "ended_ns": windows[-1].closed}
    run.seal(ended | summary.to_json())
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def test_five_days_verify(benchmark, five_days):
    def verify():
        hwkit = [Path(sys.executable).with_name("hwkit"), "verify", "last", "--store", five_days]
        began = time.monotonic()
        child = subprocess.Popen(hwkit, stdout=subprocess.PIPE)
        said = child.stdout.read().decode()
        child.stdout.close()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0, said
        return time.monotonic() - began, usage.ru_maxrss / 1024

    took_s, peak_mib = benchmark.pedantic(verify, rounds=1)
    size_mb = five_days.stat().st_size / 1e6
    benchmark.extra_info |= {
        "days": DAYS,
        "store_MB": round(size_mb, 1),
        "verify_s": round(took_s, 1),
        "peak_MiB": round(peak_mib),
    }
    print(benchmark.extra_info)
    assert size_mb < LARGEST_MB
    assert took_s < LONGEST_S


@pytest.mark.parametrize("shares", [25, 1000])
def test_commit_of_a_window(benchmark, tmp_path, shares):
    """One window with its shares, as a turn of the harness leaves them: 25 at 100 a second."""
    run, job, opened = begun(Store(str(tmp_path / "records.sqlite")))
    chance, number = random.Random(1), 0

    def commit():
        nonlocal number, opened
        window = window_at(number, opened, shares)
        run.window(window)
        for share in share_rows(chance, job, number, opened, shares):
            run.share(share)
        run.commit()
        number, opened = number + 1, window.closed

    benchmark.pedantic(commit, rounds=200, warmup_rounds=2)
    benchmark.extra_info["ms_per_commit"] = round(benchmark.stats.stats.median * 1e3, 3)
