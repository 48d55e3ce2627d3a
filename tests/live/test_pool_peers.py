"""Real miners on the bench pool: what it credits is what they count as accepted.

    HWKIT_LIVE=1 python -m pytest tests/live

They are found on PATH and skipped where absent; they hash for a few seconds each.
"""

import contextlib
import os
import re
import shutil
import subprocess
import time

import pytest

from hwkit.protocols import Assigned, Link, Submission, Verdict
from hwkit.wire.stratum import Pool
from hwkit.wire.stratum_jobs import OneTemplate
from hwkit.work import MAX_TARGET, Job, Target

pytestmark = pytest.mark.skipif(not os.environ.get("HWKIT_LIVE"), reason="HWKIT_LIVE is not set")

ENOUGH, WAIT_S = 40, 180
HARD = 2.0**40  # no share comes of it
QUIET_S = 3.0  # longer than anything is under way
# Names on PATH, how each is told to mine here, how it says what was accepted, a difficulty.
PEERS = {
    "minerd": (
        ["minerd"],
        "-a sha256d -o stratum+tcp://{pool} -u bench -p x -t 1",
        r"accepted: (\d+)/",
        0.0005,
    ),
    "cpuminer-opt": (
        ["cpuminer", "cpuminer-opt"],
        "-a sha256d -o stratum+tcp://{pool} -u bench -p x -t 1 --no-color",
        r"Accepted (\d+)",
        0.001,
    ),
    "bfgminer": (
        ["bfgminer"],
        "-S noauto -S cpu:auto --cpu-threads 1 -o stratum+tcp://{pool} -u bench -p x -T",
        r"\bA:(\d+)",
        0.0001,
    ),
}
CGMINER = "-o stratum+tcp://{pool} -u bench -p x -T --suggest-diff 32"


@pytest.fixture
def pool():
    job = Job.create(
        seed=b"live", ntime=int(time.time()), target=Target(MAX_TARGET), extranonce2_size=4
    )
    with Pool(OneTemplate(job), 1, job_s=3.0, block_s=8.0) as started:
        yield started


@pytest.fixture
def run(pool, tmp_path):
    """Return a function that starts a program on the pool, and gives what reads what it says."""
    children: list[subprocess.Popen[bytes]] = []
    said = tmp_path / "said"

    def words():
        return said.read_text(errors="replace")

    def all_words():
        """Return what it has said by its end: some count at the end only."""
        for child in children:
            end(child)
        return words()

    def start(names, options):
        path = next(filter(None, map(shutil.which, names)), None)
        if path is None:
            pytest.skip(f"{names[0]} is absent")
        place = f"{pool.address[0]}:{pool.address[1]}"
        with said.open("wb") as output:
            command = [path, *options.format(pool=place).split()]
            children.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                )
            )
        return words, all_words

    yield start
    for child in children:
        end(child)


def end(child):
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(10)
    child.kill()
    child.wait()


def count(events, verdict):
    return sum(isinstance(e, Submission) and e.verdict is verdict for e in events)


def mine(pool, words):
    """Return the events of a stretch of mining, to its last share and answer."""
    events: list[object] = []
    until = time.monotonic() + WAIT_S
    while count(events, Verdict.GOOD) < ENOUGH:
        assert time.monotonic() < until, words()
        events += pool.take()
        time.sleep(0.1)
    pool.set_difficulty(HARD)
    quiet = time.monotonic() + QUIET_S
    while time.monotonic() < quiet:
        came = pool.take()
        if any(isinstance(event, Submission) for event in came):
            quiet = time.monotonic() + QUIET_S
        events += came
        time.sleep(0.1)
    return events


@pytest.mark.parametrize("name", PEERS)
def test_delivered_is_what_it_counts_as_accepted(pool, run, name):
    names, options, accepted, difficulty = PEERS[name]
    pool.set_difficulty(difficulty)
    words, all_words = run(names, options)
    events = mine(pool, words)
    told = max(int(number) for number in re.findall(accepted, all_words()))
    assert count(events, Verdict.GOOD) == told, words()
    assert [count(events, v) for v in (Verdict.LOW, Verdict.DUPLICATE, Verdict.WRONG)] == [0, 0, 0]
    # It follows new jobs, and clean ones.
    worked_on = {e.share.serial for e in events if isinstance(e, Submission) and e.share}
    assert len(worked_on) >= 2
    assert sum(isinstance(e, Assigned) and e.clean for e in events) >= 1
    answered = [e for e in events if isinstance(e, Link) and e.what == "answered"]
    assert answered
    assert all(event.took_ns for event in answered)


def test_cgminer_without_a_device_counts_nothing_as_accepted(pool, run):
    """It takes any answer of `true` that it cannot match for a share accepted."""
    words, all_words = run(["cgminer"], CGMINER)
    events: list[object] = []
    until = time.monotonic() + WAIT_S
    while not any(isinstance(e, Link) and e.what == "answered" for e in events):
        assert time.monotonic() < until, words()
        events += pool.take()
        time.sleep(0.1)
    assert re.search(r"Accepted shares: 0\b", all_words())
