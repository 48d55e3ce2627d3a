"""Settings of miners: told, read back, on disk before, and put back whatever dies in between."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from simulated import simulated, simulated_process
from web_server import Server

from hwkit.errors import DeviceFault, NotPermitted
from hwkit.hashers.asic import restore, settings
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.hashers.asic.settings import Settings

HWKIT = Path(sys.executable).with_name("hwkit")
PATIENCE_S = 60
HTTP = pytest.mark.needs(module="aiohttp")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HWKIT_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "restore"


def of(miner):
    return Settings("127.0.0.1", Ports(api=miner.api_port, http=miner.web_port))


def told(miner):
    asked = Miner("127.0.0.1", Ports(api=miner.api_port, http=miner.web_port))
    try:
        return asked.read()
    finally:
        asked.close()


def test_a_luxos_is_set_by_its_profiles():
    with simulated("luxos") as miner:
        own, before = of(miner), dict(miner.pools.settings)
        assert own.set("power-target", "784") == "power-target 190MHz"
        assert told(miner).mode.value == "190MHz"
        assert told(miner).power_target_w.value == 784
        assert miner.speed == pytest.approx(190 / 290)
        assert own.set("any", "85%") == "power-target 240MHz"  # of 1188 W: 978 W is nearest
        assert own.set("mode", "340MHz") == "mode 340MHz"
        assert own.set("frequency", "100%") == "frequency 290MHz"  # of what it was set to at first
        own.set("frequency", "190")
        with pytest.raises(NotPermitted, match="no mode 'low'; it has 190MHz, 240MHz"):
            own.set("mode", "low")
        with pytest.raises(NotPermitted, match="it changes mode, power-target, frequency"):
            own.set("voltage", "12")
        assert len(restore.changed()) == 1
        own.restore()
        assert restore.changed() == []
        assert miner.pools.settings == before


@HTTP
def test_an_axeos_is_set_by_number():
    with simulated("axeos") as miner:
        own, before = of(miner), dict(miner.pools.settings)
        assert own.set("any", "80%") == "frequency 420"
        assert told(miner).frequency_mhz.value == 420
        assert miner.power_w == pytest.approx(17.2 * 0.8)
        own.set("voltage", "1100")
        for value, why in (
            ("5250", "5250 lies outside of 20% to 150% of what its frequency is, 525"),
            ("50", "50 lies outside"),
            ("fast", "'fast' is none"),
            ("nan", "'nan' is none"),
        ):
            with pytest.raises(NotPermitted, match=why):
                own.set("frequency", value)
        [kept] = restore.changed()
        assert kept.own == {"frequency": 525, "voltage": 1150}
        own.restore()
        assert miner.pools.settings == before


@pytest.mark.parametrize(
    ("dialect", "why"),
    [
        ("luxos", "Access denied"),
        pytest.param("axeos", "lets nobody change that", marks=HTTP),
        ("avalon", "Access denied"),
    ],
)
def test_one_that_lets_nobody_write_stays_as_it_is(dialect, why):
    with simulated(dialect, writable=False) as miner:
        before, own = dict(miner.pools.settings), of(miner)
        value = "190MHz" if dialect == "luxos" else "2"
        with pytest.raises(NotPermitted, match=why):
            own.set(
                "frequency" if dialect == "axeos" else "mode",
                "420" if dialect == "axeos" else value,
            )
        own.restore()
        assert restore.changed() == []
        assert miner.pools.settings == before


def test_what_has_no_settings_that_can_be_put_back_has_none():
    with (
        simulated("cgminer") as miner,
        pytest.raises(NotPermitted, match="it changes nothing of it"),
    ):
        of(miner).set("frequency", "80%")


def test_an_avalon_has_modes():
    with simulated("avalon") as miner:
        own = of(miner)
        own.set("mode", "2")
        assert told(miner).mode.value == "2"
        own.restore()
        assert told(miner).mode.value == "1"


class Braiins:
    """The REST API, in the recording's words; what is wrong with it is `wrong`."""

    def __init__(self, mode=1, wrong=None):
        self.watt, self.mode, self.wrong, self.puts = 3031, mode, wrong, []

    def __call__(self, handler):
        if handler.headers.get("Authorization") == "token-1":
            return True
        if handler.path == "/api/v1/version":
            return True
        handler.say(401, b"")
        return False

    def answers(self):
        rate = {"gigahash_per_second": 120000.0}
        return {
            "/api/v1/version": {"major": 1, "minor": 7, "patch": 0},
            "/api/v1/miner/details": {"bos_version": {"current": "25.11"}, "bosminer_uptime_s": 9},
            "/api/v1/miner/stats": {"miner_stats": {"real_hashrate": {"last_5s": rate}}},
            "/api/v1/miner/hw/hashboards": {"hashboards": []},
            "/api/v1/cooling/state": {"fans": []},
            "/api/v1/performance/tuner-state": {},
            "/api/v1/pools": [],
            "/api/v1/configuration/miner": lambda: {
                "tuner": {"tuner_mode": self.mode, "power_target": {"watt": self.watt}}
            },
        }

    def sent(self, handler, document):
        """Answer a POST or PUT."""
        if handler.path == "/api/v1/auth/login":
            right = document == {"username": "root", "password": "secret"}
            handler.say(200 if right else 401, b'{"token": "token-1"}' if right else b"")
        elif handler.path == "/api/v1/performance/power-target" and self(handler):
            self.puts.append(document["watt"])
            if self.wrong is not None:
                handler.say(*self.wrong)
                return
            self.watt = document["watt"]
            handler.say(200, json.dumps(document).encode())


@pytest.fixture
def braiins(credentials):
    """Return a function that serves a Braiins, and the settings of it."""
    credentials(password="secret")
    servers = []

    def start(fake):
        server = Server(fake.answers(), auth=fake, sent=fake.sent)
        servers.append(server)
        server.thread.start()
        return Settings("127.0.0.1", Ports(api=1, http=server.port, whatsminer=1))

    yield start
    for each in servers:
        each.stop()


@HTTP
def test_a_braiins_has_a_power_target(braiins):
    own = braiins(fake := Braiins())
    assert own.set("any", "80%") == "power-target 2425"
    own.set("power-target", "2600")
    own.restore()
    assert fake.puts == [2425, 2600, 3031]


@HTTP
def test_one_that_tunes_for_something_else_is_left_alone(braiins):
    own = braiins(fake := Braiins(mode=2))
    with pytest.raises(NotPermitted, match="changes no any; it changes nothing"):
        own.set("any", "80%")
    assert fake.puts == []


@HTTP
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ((400, b"no"), "it will not be set to 2425: .*HTTP 400"),
        ((200, b"yes"), "its power-target is not as told"),  # and does not do it
        ((503, b""), "HTTP 503"),
    ],
)
def test_what_does_not_do_as_it_is_told_is_found_out(braiins, monkeypatch, wrong, why):
    monkeypatch.setattr(settings, "PATIENCE_S", 0.5)
    own = braiins(fake := Braiins(wrong=wrong))
    with pytest.raises((NotPermitted, DeviceFault), match=why):
        own.set("power-target", "80%")
    fake.wrong = None
    own.restore()
    assert fake.watt == 3031


RUN = """
import sys, time
from hwkit.hashers.asic.asking import Ports
from hwkit.hashers.asic.settings import Settings
own = Settings("127.0.0.1", Ports(api=int(sys.argv[1])))
own.set("frequency", "190")
print("set", flush=True)
time.sleep(600)
"""


def test_a_killed_process_leaves_it_to_asic_restore(tmp_path):
    with simulated_process("--dialect", "luxos") as miner:
        miner.web_port = 80
        with subprocess.Popen(
            [sys.executable, "-c", RUN, str(miner.api_port)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "set\n"
            with pytest.raises(NotPermitted, match="another hwkit is at it"):
                of(miner).left()
            process.send_signal(signal.SIGKILL)
        assert told(miner).mode.value == "190MHz"
        with pytest.raises(NotPermitted, match="waits to be put back"):
            of(miner).set("frequency", "240")  # its own would be forgotten
        done = subprocess.run(
            [HWKIT, "asic", "restore", f"127.0.0.1:{miner.api_port}", "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            env=os.environ,
        )
        assert done.returncode == 0, done.stderr
        assert "mode 290MHz" in done.stderr
        assert told(miner).mode.value == "290MHz"
    assert restore.changed() == []


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"what": "pools", "by": "x"}', '{"what": "outlet", "by": 1}', '{"by": "x"}'],
)
def test_a_file_that_is_none_is_told(state, text):
    (state / "set").mkdir(parents=True)
    (state / "set" / "outlet_x.json").write_text(text)
    [damaged] = restore.damaged()
    assert "see to the miner" in str(damaged.fault)
    assert not restore.changed()
