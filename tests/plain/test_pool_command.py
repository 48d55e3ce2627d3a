"""`hwkit pool` as a user runs it."""

import io
import json
import re
import signal
import subprocess
from typing import Any

import pytest
from rich.console import Console
from stratum_miner import DEADLINE_S, Miner

from hwkit.cli import pool as command
from hwkit.protocols import Assigned, Link, Submission, Verdict
from hwkit.report.pool import Followed, Visitors, summary, table
from hwkit.wire.stratum_difficulty import Steering
from hwkit.wire.stratum_figures import Miner as Counted
from hwkit.work import Share, Target

from .conftest import HWKIT

S = 10**9
EASY = 2.0**-26


def serve(*arguments):
    """Start it; return the process and where it listens."""
    child = subprocess.Popen(
        [HWKIT, "pool", "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr
    said = re.search(r"stratum\+tcp://(.*):(\d+)", child.stderr.readline())
    assert said
    return child, (said[1], int(said[2]))


def test_it_serves_and_tells_what_came():
    child, address = serve("--difficulty", str(EASY), "--challenge", "bought in May", "--json")
    miner = Miner(address, "bitaxe/1").handshake()
    assert b"bought in May".hex() in miner.jobs[0][3]
    for n in range(5):
        assert miner.submit(miner.share(extranonce2=bytes([0, 0, 0, n])))["result"] is True
    miner.submit(miner.share(meets=False))
    miner.close()
    child.send_signal(signal.SIGINT)
    stdout, _ = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0
    document = json.loads(stdout)
    [told] = document["miners"]
    assert told["agent"] == "bitaxe/1"
    assert told["shares"] == {"good": 5, "low": 1, "stale": 0, "duplicate": 0, "wrong": 0}
    assert told["difficulty"] == EASY
    figure = told["hashrate"]
    assert figure["lo"] < figure["value"] < figure["hi"]
    work = 5 * float(Target.from_difficulty(EASY).work)
    assert figure["value"] * told["time_s"] == pytest.approx(work)


def test_nobody_comes():
    child, _ = serve("--time", "200ms")
    stdout, _ = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0
    assert stdout == "Nobody came.\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--listen", "127.0.0.1:x"], "x"),
        (["--listen", "127.0.0.1:99999"], "65535"),
        (["--listen", ":3333"], "place to listen"),
        (["--listen", "user@127.0.0.1"], "place to listen"),
        (["--difficulty", "0"], "difficulty"),
        (["--difficulty", "hard"], "difficulty"),
        (["--expect", "200"], "200TH/s"),
        (["--expect", "200TH/s", "--difficulty", "1"], "one of them"),
        (["--time", "soon"], "duration"),
        (["--challenge", "x" * 81], "challenge"),
    ],
)
def test_what_makes_no_sense_is_said(arguments, why):
    done = subprocess.run(
        [HWKIT, "pool", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_place_that_is_taken():
    child, (host, port) = serve()
    done = subprocess.run(
        [HWKIT, "pool", "--listen", f"{host}:{port}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=DEADLINE_S)
    assert done.returncode == 3
    assert "cannot listen there" in done.stderr


@pytest.mark.parametrize(
    ("text", "rate"), [("200TH/s", 200e12), ("1.2 TH/s", 1.2e12), ("7MH", 7e6), ("5kH/s", 5e3)]
)
def test_hashrates_are_read(text, rate):
    assert command._rate(text) == rate


def assigned(serial, difficulty, connection):
    return Assigned(
        serial, Target.from_difficulty(difficulty), 0, clean=True, connection=connection
    )


class Told:
    """A pool that notes the difficulties that it is told to give."""

    def __init__(self):
        self.difficulties = {}

    def set_difficulty(self, difficulty, connection):
        self.difficulties[connection] = difficulty


def test_each_miner_is_steered_by_its_own_shares(monkeypatch):
    monkeypatch.setattr(command._Window, "time_s", 10.0)
    pool: Any = Told()
    windows: dict[int, command._Window] = {}
    events: list[Any] = [assigned(n, 1024, n) for n in (1, 2, 3)]
    easiest = Target.from_difficulty(1024).to_bytes()
    events += [
        Submission(1, 1, Share(1, b"", 0, 0, n), Verdict.GOOD, digest=easiest) for n in range(400)
    ]
    events += [Submission(1, 3, None, Verdict.WRONG), Link(2, 3, "closed")]
    command._steer(pool, events, windows, Steering(1024.0))
    assert pool.difficulties == {2: 128.0}  # the first gives 40 a second
    late: list[Any] = [assigned(4, 128, 2)]
    late += [Submission(3, 2, Share(2, b"", 0, 0, 0), Verdict.GOOD, digest=bytes(32))] * 9
    command._steer(pool, late, windows, Steering(1024.0))
    assert pool.difficulties == {2: 16.0}  # shares of the job before say nothing, and 1 has paused


def test_the_table_and_the_summary():
    visitors = Visitors(0)
    visitors.take([Link(0, 1, "connected", "192.0.2.1"), Link(0, 1, "agent", "evil\x1b[2J")])
    visitors.take([assigned(1, 1, 1)])
    visitors.take(Submission(n * S, 1, Share(1, b"", 0, 0, n), Verdict.GOOD) for n in range(1, 101))
    visitors.take([Link(0, 2, "connected", "192.0.2.2"), Link(5, 2, "closed", "by the miner")])
    visitors.take([Link(5, None, "refused", "all connections are taken")])
    out = io.StringIO()
    Console(file=out, width=200).print(table(visitors, 100 * S))
    shown = out.getvalue()
    assert "\x1b" not in shown
    assert "4.30 ± 0.86 GH/s" in shown
    text = "\n".join(summary(visitors, 100 * S))
    assert "4.30 ± 0.86 GH/s; 100 good" in text
    assert "1 without a share: by the miner" in text
    assert "all connections are taken" in text
    assert list(visitors.miners) == [1]


def test_no_share_has_an_upper_bound_only():
    """Two-sided 95 %: 3.69 shares' worth of hashes."""
    followed = Followed(Counted(1))
    assert followed.hashrate(S) is None
    followed.miner.take(assigned(1, 1, 1))
    rate = followed.hashrate(100 * S)
    assert rate
    assert (rate.value, rate.lo) == (0, 0)
    assert rate.hi == pytest.approx(3.689 * 2**32 / 100, rel=1e-3)
