"""A miner's own pools: always as they were, whatever dies in between, and when."""

import json
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_miner import OWN, FakeMiner
from scripted_pool import ScriptedPool
from simulated import simulated_process

from hwkit.cli import asic_restore
from hwkit.errors import DeviceFault, NoDevice, NotPermitted, Unavailable
from hwkit.hashers.asic import asking, pools, restore, ways
from hwkit.hashers.asic.fed import FedMiner
from hwkit.hashers.asic.pools import Bench, CgminerWay
from hwkit.plugins import Address
from hwkit.wire import cgminer

HWKIT = Path(sys.executable).with_name("hwkit")
CHANGES = ["addpool", "switchpool", "poolpriority", "removepool"]
PATIENCE_S = 60  # for what a busy machine may take its time with
BENCH = Bench("127.0.0.1", 9, "hwkit.test")
# Runs a miner until it is told to stop, as a command does: restores, unless it is killed.
RUN = """
import signal, sys, threading, time
from hwkit.cli.restoring import restored
from hwkit.hashers.asic.fed import FedMiner
from hwkit.harness.plan import Plan
from hwkit.plugins import Address
from hwkit.work import Target
stop = threading.Event()
signal.signal(signal.SIGINT, lambda *_: stop.set())
miner = FedMiner(Address.parse(sys.argv[1]))
with restored([miner]):
    for report in miner.run(Plan(seed="x").job(int(time.time()), Target.from_difficulty(1)), stop):
        if report.shares:
            print(len(report.shares), flush=True)
"""


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HWKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(pools, "SOON_S", 0.02)
    monkeypatch.setattr(pools, "AWAY_S", 0.1)
    return tmp_path / "state" / "restore"


@pytest.fixture
def miner():
    with FakeMiner(hashes=False) as fake:
        yield fake


def files(state):
    return sorted(each.name for each in state.glob("*"))


def kept(miner):
    """Keep a miner's pools, as a run does before it changes anything."""
    own = CgminerWay("127.0.0.1", miner.port).read()
    return restore.Pending("127.0.0.1", miner.port, 80, "cgminer", BENCH, own)


def point(miner, pending):
    way = CgminerWay("127.0.0.1", miner.port)
    assert pools.until(lambda: way.toward_bench(pending.own, BENCH), PATIENCE_S)


def test_it_is_pointed_at_the_bench_pool_and_back(miner, state):
    before = miner.state()
    pending = kept(miner)
    with pending.kept():
        point(miner, pending)
        assert miner.current()["url"] == BENCH.url
        ways.put_back(pending)
    assert miner.state() == before
    assert files(state) == []
    # Nothing of its own was touched on the way: the passwords that the API hides cannot be lost.
    changes = [each for each in miner.asked if each not in {"pools", "config", "privileged"}]
    assert changes == CHANGES


def test_what_is_kept_is_whole_private_and_without_passwords(miner, state):
    with kept(miner).kept():
        (path,) = state.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text = path.read_text()
    assert "secret" not in text
    assert "hwkit.test" in text
    (found,) = restore.pending()
    assert (found.host, found.port, found.way, found.bench) == (
        "127.0.0.1",
        miner.port,
        "cgminer",
        BENCH,
    )
    assert [pool["url"] for pool in found.own["pools"]] == [pool["url"] for pool in OWN]


class Died(BaseException):
    """What a kill is to code that runs: nothing after it is done, not even what `except` holds."""


def dying(monkeypatch, requests):
    """Let this process die at a request, before it is sent or after it was answered."""
    asked = []

    def ask(*arguments, **named):
        asked.append(arguments)
        if len(asked) > requests // 2 and requests % 2 == 0:
            raise Died
        reply = real(*arguments, **named)
        if len(asked) > requests // 2:
            raise Died
        return reply

    real = cgminer.ask
    monkeypatch.setattr(cgminer, "ask", ask)


@pytest.mark.parametrize("reboots", ["never", "change", "forget"])
def test_whichever_request_it_dies_at(state, monkeypatch, reboots):
    died = 0
    with FakeMiner(hashes=False, away_s=0.02) as miner:
        before = miner.state()
        for requests in range(24):
            miner.reboots = reboots
            pending = kept(miner)
            with monkeypatch.context() as patch:
                dying(patch, requests)
                try:
                    with pending.kept():
                        way = CgminerWay("127.0.0.1", miner.port)
                        changes = 0
                        while changes < 8 and not way.toward_bench(pending.own, BENCH):
                            changes += 1  # one that forgets never gets there
                            time.sleep(0.03 if reboots != "never" else 0)
                        ways.put_back(pending)
                except Died:
                    died += 1
                except (NoDevice, NotPermitted):
                    pass  # it was rebooting
            for each in restore.abandoned():
                ways.put_back(each)
            assert miner.state() == before, requests
            assert files(state) == []
    assert died > 12  # at each request there is, and then some


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "command", ["addpool", "switchpool", "poolpriority", "removepool", "pools"]
)
def test_a_connection_that_is_cut(miner, state, command, when):
    before = miner.state()
    cuts = [when]
    miner.cut = lambda asked: cuts.pop() if asked == command and cuts else None
    own = {"pools": OWN}
    pending = restore.Pending("127.0.0.1", miner.port, 80, "cgminer", BENCH, own)
    with pending.kept():
        point(miner, pending)
        ways.put_back(pending)
    assert miner.state() == before
    assert cuts == []
    assert files(state) == []


def test_restoring_twice_is_harmless(miner):
    before = miner.state()
    pending = kept(miner)
    with pending.kept():
        point(miner, pending)
        ways.put_back(pending)
        asked = len(miner.asked)
        ways.put_back(pending)
    assert miner.asked[asked:] == ["pools"]  # it looked, and there was nothing to do
    assert miner.state() == before


def test_a_miner_that_has_come_back_to_its_own_pools_by_itself(miner, state):
    pending = kept(miner)
    with pending.kept():
        point(miner, pending)
    with miner.lock:
        miner.load()
    asked = len(miner.asked)
    (left,) = restore.abandoned()
    ways.put_back(left)
    assert miner.asked[asked:] == ["pools"]
    assert files(state) == []


def test_what_its_owner_has_changed_meanwhile_stays(miner):
    pending = kept(miner)
    with pending.kept():
        point(miner, pending)
        with miner.lock:
            miner.addpool("stratum+tcp://new.example:3333", "owner.new", "x")
        ways.put_back(pending)
    urls = [pool["url"] for pool in miner.by_priority()]
    assert urls == [*(pool["url"] for pool in OWN), "stratum+tcp://new.example:3333"]


def test_one_that_cannot_leave_the_bench_pool_stays_on_the_list(miner, state, monkeypatch):
    monkeypatch.setattr(pools, "DEAD_S", 0.2)
    pending = kept(miner)
    with pending.kept():
        point(miner, pending)
        for pool in miner.pools[:3]:
            pool["enabled"] = False  # as if all its own were dead
        with pytest.raises(DeviceFault, match="all dead"):
            ways.put_back(pending)
    assert len(files(state)) == 1
    assert "restart" in miner.asked  # which helps a real one
    miner.pools[0]["enabled"] = miner.pools[1]["enabled"] = True
    (left,) = restore.abandoned()
    ways.put_back(left)
    assert files(state) == []


def test_a_miner_that_does_not_answer_stays_on_the_list(miner, state, monkeypatch):
    monkeypatch.setattr(CgminerWay, "patience_s", 0.2)
    pending = kept(miner)
    with pending.kept():
        pass
    miner.close()
    with pytest.raises(NoDevice):
        ways.put_back(pending)
    assert len(files(state)) == 1


@pytest.mark.parametrize("strategy", ["Balance", "Load Balance", "Rotate"])
def test_a_miner_that_would_serve_its_own_pools_as_well_is_refused(miner, strategy):
    miner.strategy = strategy
    with pytest.raises(NotPermitted, match=strategy):
        kept(miner)


@pytest.mark.needs(module="fcntl")
def test_while_a_process_feeds_it_nobody_else_touches_it(miner):
    pending = kept(miner)
    with pending.kept():
        assert restore.abandoned() == []
        with pytest.raises(NotPermitted, match="another hwkit is at it"), pending.claimed():
            pass
    assert len(restore.abandoned()) == 1
    with pytest.raises(NotPermitted, match="hwkit asic restore"), pending.kept():
        pass  # what it has to get back must not be overwritten with what it has now


@pytest.mark.needs(module="fcntl")
def test_a_miner_by_its_other_name_is_the_same_miner(miner):
    pending = kept(miner)
    with pending.kept(), pytest.raises(NotPermitted, match="another hwkit is at it"):
        FedMiner(Address.parse(f"asic:localhost:{miner.port}")).look()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host": 1}', "null", "\xff"])
def test_a_damaged_file_is_said_and_kept(state, text):
    state.mkdir(parents=True)
    path = state / "127.0.0.1_4028.json"
    path.write_bytes(text.encode("latin-1"))
    [damaged] = restore.damaged()
    assert "see to the miner" in str(damaged.fault)
    assert damaged.place == "127.0.0.1:4028"
    assert not restore.pending()
    assert path.exists()


def test_a_damaged_file_keeps_no_other_miner_from_its_pools(miner, hwkit, state):
    before = miner.state()
    pending = kept(miner)
    with pending.kept():
        point(miner, pending)
    (state / "192.0.2.9_4028.json").write_text("{}")
    done = hwkit("asic", "restore", "--json", store=None)
    assert done.returncode == 4
    assert miner.state() == before
    seen, damaged = json.loads(done.stdout)["miners"]
    assert seen == {"miner": f"127.0.0.1:{miner.port}", "fault": None}
    assert "see to the miner" in damaged["fault"]
    done = hwkit("asic", "restore", "192.0.2.9", "--forget", store=None)
    assert done.returncode == 0, done.stderr
    assert restore.damaged() == []


def test_miners_that_are_gone_are_tried_side_by_side(miner, monkeypatch):
    both = threading.Barrier(2, timeout=60)

    def put_back(kept, *_):
        both.wait()
        raise NotPermitted(kept.place, "gone")

    monkeypatch.setattr(ways, "put_back", put_back)
    for host in ("192.0.2.8", "192.0.2.9"):
        with replace(kept(miner), host=host).kept():
            pass
    assert CliRunner().invoke(asic_restore.command, ["--json"]).exit_code == 4
    assert len(restore.pending()) == 2


def test_where_nothing_can_be_kept_nothing_is_changed(miner, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HWKIT_STATE", str(tmp_path / "file"))
    with pytest.raises(NotPermitted, match="cannot be written"), kept(miner).kept():
        pass
    assert set(miner.asked) <= {"pools", "config"}


# The command.


def test_every_command_says_who_waits_and_asic_restore_sees_to_it(miner, hwkit, state):
    before = miner.state()
    pending = kept(miner)
    with pending.kept():
        point(miner, pending)
    place = f"127.0.0.1:{miner.port}"
    first, *_ = hwkit("records", "list").stderr.splitlines()
    assert place in first
    assert "hwkit asic restore" in first
    other = hwkit("asic", "restore", "192.0.2.9", store=None)
    assert (other.returncode, other.stdout) == (0, "192.0.2.9: nothing waits to be given back.\n")
    assert pending.place in [each.place for each in restore.pending()]
    done = hwkit("asic", "restore", "127.0.0.1", "--json", store=None)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"miners": [{"miner": place, "fault": None}]}
    assert miner.state() == before
    assert files(state) == []
    assert place not in hwkit("records", "list").stderr
    assert "Nothing waits" in hwkit("asic", "restore", store=None).stdout


def test_asic_restore_forget_touches_no_miner(miner, hwkit, state):
    with kept(miner).kept():
        pass
    asked = len(miner.asked)
    assert hwkit("asic", "restore", "--forget", store=None).returncode == 0
    assert files(state) == []
    assert len(miner.asked) == asked


# Kills of a process that really runs one.


@contextmanager
def running(miner):
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, f"asic:127.0.0.1:{miner.port}?wait=60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def kill(miner, state, random):
    """Run, kill at a random moment in a random way, and restore where the process died."""
    before = miner.state()
    number = random.choice([signal.SIGINT, signal.SIGKILL])
    with running(miner) as child:
        deadline = time.monotonic() + PATIENCE_S
        if random.random() < 0.5:  # at work
            assert child.stdout.readline().strip().isdigit()
        else:  # being pointed at the pool
            while not any(state.glob("*.json")) and child.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(random.uniform(0, 0.5))
        if random.random() < 0.3:  # its connections are cut as well
            miner.hang_up()
        child.send_signal(number)
        said = child.communicate(timeout=PATIENCE_S)
    if number == signal.SIGINT:
        assert child.returncode == 0, said
        assert files(state) == [], said
    for each in restore.abandoned():
        ways.put_back(each)
    assert miner.state() == before, said
    assert [name for name in files(state) if not name.startswith(".")] == []


@pytest.mark.parametrize("reboots", ["never", "change"])
def test_killed(state, reboots):
    with FakeMiner(reboots=reboots, away_s=0.1) as miner:
        for seed in range(2):
            kill(miner, state, random.Random(f"{reboots} {seed}"))


# Each of these is a process, and so is the miner, whose power may be cut as well.

SIMULATED = {
    "cgminer": ["--dialect", "cgminer"],
    "bfgminer": ["--dialect", "bfgminer"],
    "reboots": ["--reboot-on-pool-change", "--reboot-takes", "2s"],
    "forgets": ["--forget"],
    "axeos": ["--dialect", "axeos", "--reboot-takes", "2s"],
    "bitmain": ["--dialect", "bitmain", "--reboot-takes", "4s"],
    "whatsminer2": ["--dialect", "whatsminer2"],
    "whatsminer3": ["--dialect", "whatsminer3"],
}


@pytest.mark.soak
@pytest.mark.parametrize("kind", SIMULATED)
def test_killed_ten_times(kind, state, credentials, tmp_path, monkeypatch):
    user = "super" if kind == "whatsminer3" else "root"
    credentials(user=user, password="simulated", pool_password="x")
    monkeypatch.setenv("HWKIT_SIMULATE_PASSWORD", "simulated")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    kept = tmp_path / "miner.json"
    with ScriptedPool() as one, ScriptedPool() as two:
        own = [f"--pool={one.own('owner.one')}", f"--pool={two.own('owner.two')}"]
        flags = [*SIMULATED[kind], "--state", kept, *own]
        with simulated_process(*flags) as miner:
            ports = miner.api_port, miner.web_port or 1
            before = settled(kept, *ports)
        flags += ["--api-port", ports[0], "--web-port", ports[1] if ports[1] > 1 else 0]
        for _ in range(10):
            with simulated_process(*flags) as miner:
                killed_somehow(miner, ports, state, draw)
            with simulated_process(*flags):  # its power may have been cut: it is on again
                done = subprocess.run(
                    [HWKIT, "asic", "restore"], capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr
                assert settled(kept, *ports) == before
                assert not any(state.glob("*.json"))


def settled(kept, api_port, web_port):
    """What the miner keeps of its pools, once it answers."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        miner = asking.Miner("127.0.0.1", asking.Ports(api=api_port, http=web_port))
        try:
            miner.read()
            return json.loads(kept.read_text())
        except (DeviceFault, Unavailable, OSError, ValueError):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        finally:
            miner.close()


def killed_somehow(miner, ports, state, draw):
    """Bench it, and end bench, or miner, or both at a random moment."""
    address = f"asic:127.0.0.1:{ports[0]}?web={ports[1]}"
    bench = subprocess.Popen(
        [HWKIT, "bench", address, "--time", "300s", "--store", state.parent / "store"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not any(state.glob("*.json")) and bench.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(draw.uniform(0, 6))
    how = draw.choice(["interrupt", "kill", "power", "both"])
    print(how)
    if how in {"power", "both"}:
        miner.kill()
    if how in {"kill", "both"}:
        bench.kill()
    elif how == "interrupt":
        bench.send_signal(signal.SIGINT)
    else:
        bench.send_signal(signal.SIGINT)
        time.sleep(2)
        bench.send_signal(signal.SIGINT)  # it will not wait for a miner that is off
    bench.communicate(timeout=600)
