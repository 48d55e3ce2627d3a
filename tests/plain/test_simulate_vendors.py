"""Miners that no dialect of ours knows, by pyasic-rs: the real one, and one that goes wrong."""

import json
import math
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner
from simulated import USUAL_H_S, simulated, simulated_process

from hwkit.cli import cli
from hwkit.errors import DeviceFault, DeviceLost, NoDevice, NoDriver, PlanError, ProtocolError
from hwkit.harness.plan import Plan
from hwkit.hashers.asic import asking, claims, vendors, watched
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.hashers.asic.vendors import AnyMiner
from hwkit.hashers.asic.vendors_reading import reading
from hwkit.plugins import Address
from hwkit.report import miner as shown
from hwkit.work import Target

with_library = pytest.mark.needs(module="pyasic_rs")


def mines(dialect, host):
    """Run a simulated miner at the usual port of a host, which has work from a pool of its own."""
    return simulated_process("--dialect", dialect, "--listen", host, "--api-port", 4028)


def read(miner):
    """Let pyasic-rs read it, whoever else knows it."""
    return miner._theirs()


def told_by(said):
    return reading(said, 5)


@pytest.fixture
def own_dialects_know_nobody(monkeypatch):
    def unknown(answers):
        raise ProtocolError("unknown", b"")

    monkeypatch.setattr(asking, "recognise", unknown)
    monkeypatch.setattr(asking, "find_spec", lambda _: None)  # nor is a page asked


@pytest.fixture
def fake(fakes, monkeypatch, own_dialects_know_nobody):
    """Return a function that gives a miner which a function of fake_vendors reads."""
    monkeypatch.setattr(vendors, "installed", lambda: vendors.LOOKED_AT)
    made = []

    def make(function, host="127.0.6.1"):
        monkeypatch.setattr(vendors, "CHILD", f"fake_vendors:{function}")
        made.append(AnyMiner(host))
        return made[-1]

    yield make
    for each in made:
        each.close()


# The real library, and our own simulated miners.

# Power and its target, in W. Of an Avalon's PS[...] it takes the supply's output, without its loss,
# for the power, and the wall's, which WALLPOWER confirms, for the target.
UNLIKE_OURS = {"avalon": (3526.0, 3731.0)}


@with_library
@pytest.mark.parametrize(
    ("dialect", "host"),
    [("luxos", "127.0.6.2"), ("whatsminer", "127.0.6.3"), ("avalon", "127.0.6.4")],
)
def test_it_reads_what_our_own_dialect_reads(dialect, host):
    theirs: Any = AnyMiner(host)
    ours: Any = None
    with mines(dialect, host):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            ours, told = Miner(host).read(), read(theirs)
            rates = [math.fsum(board.value for board in told.boards_h_s)]
            if dialect != "avalon":  # whose average of a minute starts slowly
                rates.append(told.hashrate_h_s.value)
            if all(USUAL_H_S / 2 < rate < USUAL_H_S * 2 for rate in rates):
                break
            time.sleep(0.3)
        theirs.close()
    power, target = UNLIKE_OURS.get(dialect, (ours.power_w.value, ours.power_target_w.value))
    assert (told.power_w.value, told.power_target_w.value) == (power, target)
    assert (told.power_w.provenance, told.power_w.scope) == (None, None)
    assert told.expected_h_s.value == pytest.approx(ours.expected_h_s.value, rel=1e-6)
    assert told.mac.value.replace(":", "") == ours.mac.value.replace(":", "").upper()
    assert [(pool.url, pool.user) for pool in told.pools] == [
        (pool.url, pool.user) for pool in ours.pools
    ]
    assert sorted(round(fan.value) for fan in told.fans_rpm) == sorted(
        round(fan.value) for fan in ours.fans_rpm if fan.label != "psu"
    )
    # Windows differ, and it has just begun: a factor of 2, where a wrong unit is one of 1000.
    assert all(USUAL_H_S / 2 < rate < USUAL_H_S * 2 for rate in rates), rates
    if dialect == "avalon":  # it reads 0 chips there
        assert (told.chips, ours.chips.value) == (None, 480)
    else:
        assert told.chips.value == ours.chips.value


# It sends what it likes to who refuses it: so to our own, and in a process of its own.
SET_POOLS = """
import asyncio, sys
from pyasic_rs import MinerFactory, PoolConfig, PoolGroupConfig
async def main(host, password):
    miner = await MinerFactory().get_miner(host)
    miner.set_auth("admin", password)
    pools = [PoolConfig(url="stratum+tcp://127.0.0.1:1", username="new", password="n")]
    print(await miner.set_pools_config([PoolGroupConfig(name="", quota=1, pools=pools)]))
asyncio.run(main(*sys.argv[1:]))
"""


@with_library
@pytest.mark.needs(module="passlib")
@pytest.mark.parametrize(("password", "users"), [("right", ["new"]), ("wrong", ["me"])])
def test_it_changes_the_pools_of_our_whatsminer(password, users):
    """Their encryption and ours are two programs, and understand each other."""
    host = "127.0.6.8"
    own = ["127.0.0.1:2,me,x"]
    with simulated(
        "whatsminer2", pools=own, host=host, api_port=4028, admin_password="right"
    ) as miner:
        command = [sys.executable, "-c", SET_POOLS, host, password]
        subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert [pool.user for pool in miner.pools.list] == users


@with_library
def test_every_value_is_tagged(own_dialects_know_nobody):
    host = "127.0.6.5"
    with mines("luxos", host):
        found = CliRunner().invoke(cli, ["asic", "show", host, "--vendors", "--json"])
        lines = CliRunner().invoke(cli, ["asic", "show", host, "--vendors"]).stdout
        raw = CliRunner().invoke(cli, ["asic", "show", host, "--vendors", "--raw"]).stdout
    said = json.loads(found.stdout)
    assert said["dialect"] == "pyasic-rs: LuxOS"
    sources = re.findall(r'"source": "(.*?)"', found.stdout)
    assert len(sources) > 20
    assert [each for each in sources if "pyasic-rs: " not in each] == []
    assert said["power_w"]["provenance"] is said["power_w"]["scope"] is None
    assert "elapsed_s" in said
    assert said["elapsed_s"] is None  # its uptime is the system's
    assert lines.startswith("Antminer S19KPro, read by pyasic-rs: LuxOS\n")
    assert "1051 W, nobody says of what" in lines
    assert raw.startswith('pyasic-rs: {"schema_version": ')


@with_library
def test_a_watched_miner(own_dialects_know_nobody):
    host = "127.0.6.6"
    with mines("luxos", host):
        first: Any = AnyMiner(host)
        until = time.monotonic() + 60
        while not first.read().hashrate_h_s.value and time.monotonic() < until:
            time.sleep(0.3)
        first.close()
        hasher: Any = next(watched.find(Address.parse(f"asic-api:{host}?vendors=yes")))
        stop = threading.Event()
        told: list[Any] = []
        for progress in hasher.run(Plan(seed="t").job(1, Target.from_difficulty(1)), stop):
            told.append(progress)
            if sum(each.hashes for each in told) > 0 or time.monotonic() > until:
                stop.set()
    took_s = (told[-1].at - told[0].at) / 1e9
    assert 0 < sum(each.hashes for each in told) < 2 * USUAL_H_S * took_s
    power = [each for one in told for each in one.events if each.name == "claimed_power_w"]
    assert {each.words for each in power} == {("pyasic-rs: wattage",)}


@with_library
def test_nobody_there():
    with pytest.raises(NoDevice, match=r"refused.*; pyasic-rs does not know it either"):
        AnyMiner("127.0.6.7").read()


@with_library
@pytest.mark.parametrize("own", [None, "mine"])
def test_no_default_login_is_sent(own, tmp_path, monkeypatch):
    """Left alone it says root to each of these, already to find out what they are."""
    if own:
        (tmp_path / "c.toml").write_text(f'["127.0.6.8"]\nuser = "{own}"\npassword = "secret"\n')
        monkeypatch.setenv("HWKIT_CREDENTIALS", str(tmp_path / "c.toml"))
    for realm in ("antMiner Configuration", "blackMiner Configuration", "Daoge Configuration"):
        said: list[str | None] = []

        class Handler(BaseHTTPRequestHandler):
            realm_ = realm
            said_ = said

            def do_GET(self):
                self.said_.append(self.headers.get("Authorization"))
                self.send_response(401)
                challenge = f'Digest realm="{self.realm_}", nonce="a1", qop="auth"'
                self.send_header("WWW-Authenticate", challenge)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        try:
            server = ThreadingHTTPServer(("127.0.6.8", 80), Handler)
        except PermissionError:
            pytest.skip("port 80 is root's here, and the library asks at no other")
        with server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            miner = AnyMiner("127.0.6.8")
            with pytest.raises(NoDevice):
                read(miner)
            miner.close()
            server.shutdown()
        names = re.findall(r'username="(.*?)"', " ".join(filter(None, said)))
        assert set(names) == {own or ""}, realm


# A child that goes wrong.


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("hang", "pyasic-rs at 127.0.6.1: no answer for 2 s"),
        ("crash", r"crashed \(SIGSEGV\)"),
        ("raises", r"RuntimeError: called `Option::unwrap\(\)`"),
        ("babbles", "answered with 8 bytes that are no reading"),
        ("floods", "answered with what is no answer"),
        ("is_long", "answered with 20971.. bytes that are no reading"),
        ("eats", "MemoryError"),
        ("knows_nobody", "pyasic-rs does not know it either"),
    ],
)
def test_whatever_happens_there_is_a_message(fake, monkeypatch, function, says):
    monkeypatch.setattr(vendors, "DEADLINE_S", 2.0 if function == "hang" else 60.0)
    miner = fake(function)
    with pytest.raises((DeviceFault, NoDevice), match=says) as caught:
        miner.read()
    assert "connection refused" in str(caught.value)  # what became of our own questions
    assert len(str(caught.value)) < 500


def test_a_child_that_crashed_is_not_asked_again(fake):
    miner = fake("crash")
    with pytest.raises(DeviceLost):
        read(miner)
    assert miner._child is None
    vendors.CHILD = "fake_vendors:tells"  # monkeypatch gives it back
    assert read(miner).serial.value == "1"


def test_who_has_known_it_is_asked_from_then_on(fake, monkeypatch):
    miner = fake("tells")
    assert miner.read().serial.value == "1"
    monkeypatch.setattr(miner, "_ours", lambda: pytest.fail("asked again"))
    assert miner.read().serial.value == "2"  # by the same child
    process = miner._child._process._process
    miner.close()
    assert process.wait(30) is not None


def test_it_gets_the_users_login_and_an_empty_one_without(fake, tmp_path, monkeypatch):
    assert fake("tells").read().hostname.value == "127.0.6.1 ['', '', '']"
    (tmp_path / "c.toml").write_text('["127.0.6.1"]\nuser = "u"\npassword = "p"\n')
    monkeypatch.setenv("HWKIT_CREDENTIALS", str(tmp_path / "c.toml"))
    assert fake("tells").read().hostname.value == "127.0.6.1 ['u', 'p', '']"


def test_one_that_our_dialects_know_is_none_of_its_business(fakes, monkeypatch):
    monkeypatch.setattr(vendors, "installed", lambda: vendors.LOOKED_AT)
    with simulated("cgminer", host="127.0.6.9", api_port=4028):
        miner = AnyMiner("127.0.6.9")
        monkeypatch.setattr(miner, "_theirs", lambda: pytest.fail("asked"))
        assert miner.read().dialect == "cgminer"
        assert "version" in miner.answers


# Without the library, or another.


@pytest.mark.parametrize("here", [None, "0.9.0"])
def test_without_it(monkeypatch, here):
    monkeypatch.setattr(vendors, "installed", lambda: here)
    with pytest.raises(NoDriver, match=re.escape("pip install 'hwkit[vendors]'")) as caught:
        AnyMiner("127.0.6.10")
    assert (here or "not installed") in str(caught.value)
    [absent] = watched.find(Address.parse("asic-api:127.0.6.10?vendors=yes"))
    assert isinstance(absent, NoDriver)


def test_a_miner_nobody_knows_names_the_extra(own_dialects_know_nobody):
    with simulated("cgminer") as miner:
        unknown = Miner("127.0.0.1", Ports(api=miner.api_port))
        with pytest.raises(ProtocolError, match=r"--vendors.*hwkit\[vendors\]"):
            unknown.read()


@pytest.mark.parametrize("address", ["asic-api:h?vendors=no", "asic-api:h:99?vendors=yes"])
def test_addresses_that_make_no_sense(monkeypatch, address):
    monkeypatch.setattr(vendors, "installed", lambda: vendors.LOOKED_AT)
    with pytest.raises(PlanError, match=r"vendors=yes|at the usual ports alone"):
        list(watched.find(Address.parse(address)))


def test_claims_end_its_child(fake):
    fake("tells")
    asked: Any = claims.Claims("127.0.6.1", Ports(), vendors=True)
    asked._look()
    assert asked.fault is None
    process = asked._any._child._process._process
    asked.close()
    assert process.wait(30) is not None


# What it tells, as Telemetry.

FULL = {
    "device_info": {"make": "M", "model": "X\x1b[2J", "firmware": "F", "algo": "SHA256"},
    "hashrate": {"value": 3.0, "unit": "GH/s", "algo": "SHA256"},
    "expected_hashrate": {"value": 0.0, "unit": "TH/s"},
    "hashboards": [
        {"hashrate": {"value": 1.0, "unit": "GH/s"}, "board_temperature": 0.0, "voltage": 12.0},
        {"hashrate": {"value": 2.0, "unit": "KH/s"}, "frequency": 500.0, "voltage": 14.0},
        {"hashrate": {"value": 2.0, "unit": "Sol/s"}, "outlet_chip_temperature": 4e9},
        {"hashrate": None, "tuned": False},
    ],
    "fans": [{"rpm": 0.0}, {"rpm": 4294967295}, {"rpm": True}],
    "total_chips": 0,
    "wattage": 0,
    "uptime": "0:00:02",
    "tuning_target": {"type": "hashrate", "value": {"value": 2.0, "unit": "TH/s"}},
    "messages": [{"code": 7, "message": "fan 3 stands still"}, {"message": ""}],
    "pools": [{"pools": [{"url": "stratum+tcp://p", "user": "u", "accepted_shares": 0}]}],
}


def test_units_are_those_it_declares_and_0_is_absent_where_it_stands_for_nothing():
    told = told_by(FULL)
    assert (told.hashrate_h_s.value, told.hashrate_h_s.unit) == (3e9, "H/s")
    assert told.algorithm.value == "sha256d"
    assert [board.value for board in told.boards_h_s] == [1e9, 2e3]
    for name in ("expected_h_s", "chips", "power_w", "tuning", "elapsed_s"):
        assert getattr(told, name) is None, name
    assert told.temperatures_c == ()
    assert [fan.value for fan in told.fans_rpm] == [0.0]  # a fan may stand still
    assert told.voltage_v.value == 13.0
    assert told.frequency_mhz.source == "mean(1) of pyasic-rs: hashboards.1.frequency ..."
    assert told.hashrate_target_h_s.value == 2e12
    assert [error.value for error in told.errors] == ["fan 3 stands still"]
    assert (told.pools[0].accepted, told.pools[0].rejected, told.pools[0].status) == (
        0.0,
        None,
        None,
    )
    assert "\x1b" not in told.model.value
    amiss = {(finding.field, finding.source) for finding in told.findings}
    assert amiss >= {
        ("boards_h_s", "pyasic-rs: hashboards.2.hashrate"),
        ("temperatures_c", "pyasic-rs: hashboards.2.outlet_chip_temperature"),
        ("fans_rpm", "pyasic-rs: fans.1.rpm"),
    }
    assert "pyasic-rs: F" in next(iter(shown.lines(told)))


@pytest.mark.parametrize("value", [None, [], {}, "x", 7, True, math.nan, [[None]], {"value": "x"}])
def test_nothing_in_it_is_trusted(value):
    """Each of its values in turn is something else."""
    for name in FULL:
        list(shown.lines(told_by({**FULL, name: value})))
    board = {"hashrate": value, "board_temperature": value, "tuned": value}
    pool = {"url": value, "accepted_shares": value, "alive": value, "active": value}
    told = told_by({"hashboards": [value, board], "pools": [{"pools": [value, pool]}]})
    json.dumps(told.to_json())


def test_it_is_reached_by_a_name(fake, monkeypatch):
    places = [
        (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 4028, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.6.1", 4028)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
    miner = fake("tells", host="miner.example")
    assert read(miner).hostname.value.startswith("127.0.6.1 ")
    del places[1]
    with pytest.raises(NoDevice, match="IPv4"):
        read(miner)
