"""`hwkit evaluate` sets a simulated miner by its own API, and cuts its power by a Shelly."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from scripted_pool import ScriptedPool, said, until
from simulated import simulated_process
from web_server import Server

HWKIT = Path(sys.executable).with_name("hwkit")
PATIENCE_S = 300
BLOCK = '[[step]]\nkind = "block"\nname = "block"\nwarmup = "1s"\ntime = "2s"\n'
SWEEP = '[[step]]\nkind = "sweep"\nname = "clocks"\nof = "frequency"\ntime = "{time}s"\n'

pytestmark = pytest.mark.needs(module="aiohttp")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HWKIT_STATE", str(tmp_path / "state"))


@pytest.fixture
def command(tmp_path):
    """Return a function that makes the command line of an evaluation as a 0.2 MH/s miner."""

    def make(address, steps, *more):
        models, protocol = tmp_path / "models.csv", tmp_path / "protocol.toml"
        models.write_text("model,hashrate_th_s,power_w\nTest miner,2e-7,3250\n")
        protocol.write_text(steps)
        options = ["--spec", "Test miner", "--models", models, "--protocol", protocol]
        options += ["--internet", "none", "--json", "--store", tmp_path / "records.sqlite"]
        return [HWKIT, "evaluate", address, *options, *more]

    return make


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode in {0, 1, 5}, done.stderr
    return json.loads(done.stdout), done.stderr


def profile(port):
    return said(port, "config")["CONFIG"][0]["Profile"]


def test_a_sweep_shows_what_each_setting_does(command):
    """Of what it does at 290 MHz it does 66 % at 190: 3 s at 20 shares a second tell the two."""
    sweep = SWEEP.format(time=3) + 'warmup = "1s"\nvalues = [190, "100%", 777]\n'
    with simulated_process("--dialect", "luxos") as miner:
        line = command(f"asic:127.0.0.1:{miner.api_port}", BLOCK + sweep, "--settings", "native")
        document, spoken = run(line)
        assert profile(miner.api_port) == "290MHz"
    assert document["restored"], spoken
    slow, usual = document["by_setting"]
    assert [slow["setting"], usual["setting"]] == ["190", "100%"]
    rates = [each["hashrate"]["value"] for each in (slow, usual)]
    assert rates[0] < 0.9 * rates[1]
    [clocks] = [each for each in document["lines"] if each["name"] == "clocks"]
    assert clocks["verdict"] == "PASS"
    assert "777 not: " in clocks["why"]
    assert "it has no frequency '777'; it has 190, 240, 290, 340" in clocks["why"]
    assert list((Path(os.environ["HWKIT_STATE"]) / "restore").glob("**/*.json")) == []


@pytest.mark.soak
def test_a_killed_evaluation_leaves_nothing_that_restore_does_not_put_back(command):
    sweep = SWEEP.format(time=600) + "values = [190]\n"
    with (
        ScriptedPool() as own,
        simulated_process("--dialect", "luxos", "--pool", own.own("me", "x")) as miner,
    ):
        line = command(f"asic:127.0.0.1:{miner.api_port}", BLOCK + sweep, "--settings", "native")
        with subprocess.Popen(line, stdout=subprocess.DEVNULL) as process:
            until(
                lambda: process.poll() is not None or profile(miner.api_port) == "190MHz",
                PATIENCE_S,
            )
            process.send_signal(signal.SIGKILL)
        subprocess.run([HWKIT, "asic", "restore"], check=True, timeout=PATIENCE_S)
        assert profile(miner.api_port) == "290MHz"
        assert said(miner.api_port, "pools")["POOLS"][0]["URL"] == own.url


class Shelly:
    """A Shelly with a simulated miner behind it."""

    def __init__(self, folder, own):
        self.on = threading.Event()
        self.on.set()
        self.folder, self.own, self.port = folder, own, 0
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.server = Server(
            {
                "/shelly": {"gen": 3},
                "/rpc/Switch.GetStatus?id=0": lambda: {"output": self.on.is_set()},
                "/rpc/Switch.Set?id=0&on=false": lambda: self._turn(self.on.clear),
                "/rpc/Switch.Set?id=0&on=true": lambda: self._turn(self.on.set),
            }
        )

    def _turn(self, turn):
        turn()
        return {"was_on": True}

    def __enter__(self):
        self.server.thread.start()
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.server.stop()

    def _run(self):
        while not self._over.is_set():
            options = ["--api-port", self.port, "--state", self.folder / "state.json"]
            with simulated_process(*options, "--pool", self.own) as miner:
                self.port = miner.api_port
                self._ready.set()
                while self.on.is_set() and not self._over.wait(0.02):
                    pass
            while not (self.on.is_set() or self._over.wait(0.02)):
                pass


def test_killed_with_the_outlet_off_it_is_on_again_before_all_else(tmp_path, command):
    cycle = '[[step]]\nkind = "power-cycle"\noff = "{off}s"\nwithin = "4min"\ntime = "3s"\n'
    with ScriptedPool() as own, Shelly(tmp_path, own.own("me", "x")) as shelly:
        outlet = f"shelly:127.0.0.1:{shelly.server.port}"
        address = f"asic:127.0.0.1:{shelly.port}"
        line = command(address, BLOCK + cycle.format(off=600), "--outlet", outlet)
        with subprocess.Popen(line, stdout=subprocess.DEVNULL) as process:
            until(lambda: process.poll() is not None or not shelly.on.is_set(), PATIENCE_S)
            process.send_signal(signal.SIGKILL)
        # What is left of it would be as long again: as a buyer with less patience would have it.
        line = command(address, BLOCK + cycle.format(off=1), "--outlet", outlet)
        document, _ = run(line)
        [step] = [each for each in document["steps"] if each["kind"] == "power-cycle"]
        assert len(step["cycles"]) == 1, document["lines"]
        assert len(step["records"]) == 1
        assert shelly.on.is_set()
        until(lambda: said(shelly.port, "pools")["POOLS"][0]["URL"] == own.url, PATIENCE_S)
        asked = [path for path in shelly.server.asked if "Switch.Set" in path]
        assert [path.rpartition("=")[2] for path in asked] == ["false", "true"] * 2
    assert document["restored"], document["faults"]
