"""Fifty runs interrupted and fifty killed, each at a random moment: every record can be read."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwkit.hashers import native
from hwkit.records import Store
from hwkit.records.verify import verify

pytestmark = pytest.mark.soak
HWKIT = Path(sys.executable).with_name("hwkit")
KERNEL = "cpu:reference" if native.MISSING else "cpu:portable"
COMMAND = [str(HWKIT), "bench", KERNEL, "--time", "300s", "--warmup", "0.1s", "--threads", "1"]
RUNS = 50
LEAVE_S = 2.0
LOST_S = 1.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
def test_fifty_ends_at_random_moments(path, number):
    chance = random.Random()
    store = Store(str(path))
    states, left_s, lost_s = [], [], []
    for _ in range(RUNS):
        before = len(store.listing())
        command = [*COMMAND, "--store", str(path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stderr
        child.stderr.readline()  # it has begun
        time.sleep(chance.uniform(0, 6))
        sent = time.monotonic_ns()
        child.send_signal(number)
        child.communicate(timeout=60)
        left_s.append((time.monotonic_ns() - sent) / 1e9)
        assert child.returncode == (130 if number == signal.SIGINT else -number)
        if len(store.listing()) == before:
            continue  # it was proving, or warming up
        record = store.get("last")
        states.append(record.document["state"])
        assert [finding for finding in verify(record) if not finding.passed] == []
        closed = [window.closed for window in record.read("windows")]
        lost_s.append((sent - (closed[-1] if closed else record.document["began_ns"])) / 1e9)
    for row in store.listing():
        assert not [f for f in verify(store.get(row.id)) if not f.passed]
    store.close()
    print(
        f"{number.name}: {len(states)} records of {RUNS} runs, the last leaving after "
        f"{max(left_s):.2f} s; lost at most {max(lost_s):.2f} s"
    )
    assert set(states) == {"interrupted"}
    assert max(left_s) < LEAVE_S
    assert max(lost_s) < LOST_S
