"""Meters that mean ill, all beside one run: nothing hangs, and no J/TH is wrong without a word."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import ClassVar

import pytest
from meter_servers import Load
from web_server import Handler, Server

from hwkit.errors import HwkitError
from hwkit.hashers import native
from hwkit.records import Store
from hwkit.records.verify import verify

from .conftest import HWKIT

pytestmark = pytest.mark.needs(module="aiohttp")
KERNEL = "cpu:reference" if native.MISSING else "cpu:portable"
TIME_S = 10
PATIENCE_S = 120  # for what a busy machine may take its time with
LEAVE_S = 2.0
LOAD = Load()


class Hostile(Handler):  # type: ignore[misc]
    """Answers well, save each so many-eth time; the path says how then."""

    seen: ClassVar[dict[str, int]] = {}

    def do_GET(self):  # noqa: N802 - as http.server calls it
        name = self.path.removeprefix("/")
        self.seen[name] = self.seen.get(name, -1) + 1
        document = {"p": LOAD.power(), "e": LOAD.energy()}
        act, each = ACTS[name]
        if self.seen[name] % each == each - 1:
            act(self, document)
        else:
            self.answer(document)

    def answer(self, document):
        self.say(200, document if isinstance(document, bytes) else json.dumps(document).encode())

    def start(self):
        self.send_response(200)
        self.end_headers()
        self.close_connection = True


def drip(handler, document):
    handler.start()
    with suppress(OSError):
        for _ in range(1000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)


def endless(handler, document):
    handler.start()
    with suppress(OSError):
        while True:
            handler.wfile.write(b"[" * 4096)


def says(change):
    return lambda handler, document: handler.answer(change(document))


def slow(handler, document):
    time.sleep(4 * (handler.seen["slow"] > 0))  # not when it is opened
    handler.answer(document)


ACTS = {
    "drip": (drip, 6),
    "endless": (endless, 4),
    "garbage": (says(lambda _: b"\xff\x00<html>"), 4),
    "nan": (says(lambda d: d | {"p": float("nan")}), 4),
    "huge": (says(lambda d: d | {"p": 1e30}), 4),
    "negative": (says(lambda d: d | {"p": -5000.0}), 4),
    "spike": (says(lambda d: d | {"p": 1e6}), 4),
    "slow": (slow, 1),
    "backwards-counter": (says(lambda d: d | {"e": 0.0}), 4),
}
PROGRAMS = {
    "backwards": "import time\nt = 1000\nwhile True:\n print(f'{t},3250.{t % 7}', flush=True)\n"
    " t -= 1\n time.sleep(1)\n",
    "one stamp": "import time\nwhile True:\n print(f'1000,325{int(time.time()) % 9}', flush=True)\n"
    " time.sleep(1)\n",
    "flood": "import itertools\nfor n in itertools.count():\n print(f'325{n % 9}')\n",
    "fast clock": "import time\nt = time.monotonic()\nwhile True:\n"
    " s = time.monotonic() - t\n print(f'time,joules\\n{1.2 * s},{3250 * s}', flush=True)\n"
    " time.sleep(1)\n",
}


def command(path, addresses, time_s):
    meters = [word for address in addresses for word in ("--meter", address)]
    words = ["bench", KERNEL, "--threads", "1", *meters, "--time", f"{time_s}s", "--warmup", "0s"]
    return [str(HWKIT), *words, "--json", "--store", str(path)]


@pytest.fixture(scope="module")
def beset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    server = Server({})
    server.RequestHandlerClass = Hostile
    server.thread.start()
    meters = {
        name: f"http:127.0.0.1:{server.port}/{name}?watts=/p"
        + "&joules=/e" * name.endswith("counter")
        for name in ACTS
    }
    for number, (name, text) in enumerate(PROGRAMS.items()):
        script = folder / f"{number}.py"
        script.write_text(text)
        meters[name] = f"exec:{sys.executable} {script}"
    path = folder / "records.sqlite"
    try:
        done = subprocess.run(
            command(path, meters.values(), TIME_S),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    [printed] = json.loads(done.stdout)["records"]
    store = Store(str(path))
    record = store.get("last")
    store.close()
    return dict(zip(meters, printed["metered"], strict=True)), printed, record


@pytest.mark.parametrize(
    ("name", "grade", "faults"),
    [
        ("drip", "none", None),  # each drop of it costs the 4.5 s that a reading may take
        ("endless", "full", None),
        ("garbage", "full", None),
        ("nan", "full", None),
        ("huge", "full", "absurd"),
        ("negative", "full", "absurd"),
        ("spike", "full", "absurd"),
        ("slow", "none", None),  # too few to know that this is its way, and no fault
        ("backwards-counter", "full", "jump, reset"),
        ("backwards", "none", None),
        ("one stamp", "none", None),
        ("flood", "full", None),
        ("fast clock", "reduced", "clock"),
    ],
)
def test_no_j_th_is_wrong_without_a_word(beset, name, grade, faults):
    metered, printed, record = beset
    seen = metered[name]
    energy, j_th = seen["energy"], seen["efficiency"]
    assert energy["grade"] == grade, energy
    told = {
        caveat["caveat"]: caveat
        for caveat in printed["caveats"]
        if caveat.get("meter") == seen["meter"]
    }
    assert told.get("MeterFault", {}).get("kinds") == faults
    if grade == "none":
        assert "MeterGap" in told
    assert (j_th is None) == (grade == "none")
    if grade == "full":
        truth = LOAD.energy(energy["closed"]) - LOAD.energy(energy["opened"])
        truth *= 1e12 / printed["counts"]["hashes"]
        assert j_th["lo"] <= truth <= j_th["hi"]
        assert j_th["value"] == pytest.approx(truth, rel=0.01)
    if name in {"drip", "endless", "garbage", "nan"}:
        assert any(seen["meter"].partition("?")[0] in what for _, what in record.read("events"))


def test_the_record_holds(beset):
    _, printed, record = beset
    assert printed["state"] == "complete"
    assert [finding.fault for finding in verify(record) if finding.fault] == []


def test_two_of_one_name_are_refused_before_anything_runs(hwkit):
    twice = ("--meter", "nameplate:100W", "--meter", "nameplate:100W")
    done = hwkit("bench", KERNEL, *twice)
    assert done.returncode == 2
    assert "a meter is named twice: nameplate:100W" in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupted_beside_a_meter_that_takes_its_time(path):
    """It is asked at any moment; nobody waits for its answer."""
    program = path.with_name("slow.py")
    program.write_text("import time\nwhile True:\n time.sleep(3)\n print(3250.0, flush=True)\n")
    child = subprocess.Popen(
        command(path, [f"exec:{sys.executable} {program}"], 300),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not has_windows(path):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE_S)
        stolen_s = max(0.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 1)
        assert time.monotonic() - sent < LEAVE_S + stolen_s
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 130, err
    assert json.loads(out)["records"][0]["state"] == "interrupted"


def has_windows(path):
    store = Store(str(path))
    try:
        return any(True for _ in store.get("last").read("windows"))
    except HwkitError:
        return False
    finally:
        store.close()
