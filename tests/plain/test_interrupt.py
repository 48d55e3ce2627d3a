"""Ctrl-C and its rougher relatives: what was measured until then stands, and the record says so."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwkit import cli
from hwkit.cli.interrupts import listen, until_interrupted
from hwkit.errors import HwkitError
from hwkit.hashers import native, topology
from hwkit.records import Store
from hwkit.records.verify import verify

HWKIT = Path(sys.executable).with_name("hwkit")
KERNEL = "cpu:reference" if native.MISSING else "cpu:portable"
LEAVE_S = 2.0
LOST_S = 1.0
PATIENCE_S = 60  # for what a busy machine may take its time with


@contextlib.contextmanager
def benching(path, *arguments):
    """A bench that would take very long; it says on stderr when it begins to prove."""
    child = subprocess.Popen(
        [HWKIT, "bench", KERNEL, "--time", "300s", "--threads", "1", "--store", path, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stderr
        assert " for 5 min" in child.stderr.readline()
        yield child
    finally:
        child.kill()
        child.communicate()


def at_once(child, number):
    """Send the signal; return what was said, once the child has left in time."""
    began = time.monotonic()
    child.send_signal(number)
    said = child.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - began < LEAVE_S
    return said


def until(condition):
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.02)
    return found


def windows(path):
    """How many windows the last record of a store has, or None where there is no record."""
    store = Store(str(path))
    try:
        return sum(1 for _ in store.get("last").read("windows"))
    except HwkitError:
        return None
    finally:
        store.close()


def kept(path):
    store = Store(str(path))
    record = store.get("last")
    store.close()
    assert [finding for finding in verify(record) if not finding.passed] == []
    return record


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("windows_before", [1, 5])
def test_interrupted_while_measuring(path, number, windows_before):
    with benching(path, "--warmup", "0.1s", "--json") as child:
        until(lambda: (windows(path) or 0) >= windows_before)
        out, _ = at_once(child, number)
    assert child.returncode == 130
    (document,) = json.loads(out)["records"]
    assert document["state"] == "interrupted"
    record = kept(path)
    assert record.document | {"digest": record.digest} == document
    assert document["counts"]["windows"] >= windows_before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with until_interrupted() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_may_hang_up_twice():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with until_interrupted() as stop:
            for _ in range(3):  # the second of any other ends the process
                os.kill(os.getpid(), signal.SIGHUP)
            until(stop.is_set)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_interrupted_while_proving(path):
    with benching(path, "--json") as child:
        out, err = at_once(child, signal.SIGINT)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert json.loads(out)["records"] == []
    assert windows(path) is None


def test_interrupted_while_warming_up(path):
    with benching(path, "--warmup", "300s", "--json") as child:
        time.sleep(4)  # proofs take a second or two
        out, err = at_once(child, signal.SIGINT)
    assert child.returncode == 130
    assert "Traceback" not in err
    for document in json.loads(out)["records"]:
        assert document["state"] == "interrupted"
        assert document["figures"] == {}
        kept(path)


def test_interrupted_before_anything(path):
    child = subprocess.Popen(
        [HWKIT, "bench", KERNEL, "--store", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.5)
    out, err = at_once(child, signal.SIGINT)
    assert out == "" or "interrupted" in out
    if "Traceback" in err:  # Python's own start, or the import of our first module
        assert "in main" not in err
    else:
        assert child.returncode in {130, -signal.SIGINT}


@pytest.fixture
def listening():
    before = signal.getsignal(signal.SIGINT)
    listen()
    yield
    signal.signal(signal.SIGINT, before)
    cli.interrupts._heard.clear()


def lost():
    """SIGINT within a weak reference's callback, of which the machinery of imports has many."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("listening")
def test_an_interrupt_that_was_lost_is_heard_before_anything_begins():
    lost()
    with pytest.raises(KeyboardInterrupt), until_interrupted():
        pytest.fail("it went on")


@pytest.mark.usefixtures("listening")
def test_an_interrupt_that_became_another_error_is_one(monkeypatch, capsys):
    def command(**_):
        lost()
        raise RuntimeError("Error calling __set_name__")

    monkeypatch.setattr(cli.cli, "main", command)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 130
    assert capsys.readouterr().err == "hwkit: interrupted\n"
    monkeypatch.setattr(cli.cli, "main", lambda **_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main()


PINNED = """
import os, sys
from hwkit.cli import main
before = os.sched_getaffinity(0)
pinned = f"--affinity {min(before)} --time 300s --warmup 0.1s --store".split()
sys.argv = ["hwkit", "bench", "cpu:reference", *pinned, sys.argv[1]]
try:
    main()
finally:
    print("as it was" if os.sched_getaffinity(0) == before else os.sched_getaffinity(0))
"""


@pytest.mark.skipif(len(topology.usable() or ()) < 2, reason="two processors are needed")
def test_interrupted_while_pinned_the_process_may_run_where_it_might(path):
    child = subprocess.Popen(
        [sys.executable, "-c", PINNED, path], stdout=subprocess.PIPE, text=True
    )
    try:
        until(lambda: windows(path))
        out, _ = at_once(child, signal.SIGINT)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 130
    assert out.endswith("as it was\n")


@pytest.mark.needs(path="/proc/self/stat")
def test_a_second_signal_leaves_at_once(path):
    with benching(path, "--warmup", "0.1s") as child:
        until(lambda: windows(path))
        child.send_signal(signal.SIGSTOP)  # so that both are there when it looks
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGTERM)
        began = time.monotonic()
        child.send_signal(signal.SIGCONT)
        child.wait(timeout=PATIENCE_S)
        assert time.monotonic() - began < LEAVE_S
    assert child.returncode in {128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert kept(path).document["state"] == "interrupted"


@pytest.mark.needs(path="/proc/self/stat")
def test_killed(path):
    with benching(path, "--warmup", "0.1s") as child:
        until(lambda: (windows(path) or 0) >= 3)
        killed = time.monotonic_ns()
        child.kill()
        child.wait()
    record = kept(path)
    assert record.document["state"] == "interrupted"
    last = [*record.read("windows")][-1].closed
    # A window is lost that was open, and one that was not committed yet: at most a second.
    assert (killed - last) / 1e9 < LOST_S + _stolen_s(), os.getloadavg()


def _stolen_s():
    """On a machine where others wait for processors, so does what we measure."""
    return max(0.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 1)
