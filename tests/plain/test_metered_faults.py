"""The faults that meters have, each put into a real server during a run of the real command."""

import json
import struct
import subprocess
import time
from dataclasses import dataclass
from itertools import pairwise

import pytest
from meter_servers import Load, ModbusServer, float32

from hwkit.errors import HwkitError
from hwkit.hashers import native
from hwkit.records import Store
from hwkit.records.verify import verify

from .conftest import HWKIT

pytestmark = pytest.mark.needs(module="pymodbus")
PATIENCE_S = 120  # for what a busy machine may take its time with
KERNEL = "cpu:reference" if native.MISSING else "cpu:portable"
INTERVAL_S = 0.3
TIME_S = 12
BUSY = 6  # a Modbus exception: server device busy
MODULUS = 10_000  # J: three seconds
SILENT_S, OFF_S = 1.5, 1.0
WATTS = 'quantity = "watts"\nunit = "W"\nregister = 0\nkind = "input"\ntype = "float32"\n'
JOULES = (
    'quantity = "joules"\nunit = "J"\nregister = 2\nkind = "input"\ntype = "uint32"\nstep = 1.0\n'
)
VOLTS = 'quantity = "volts"\nunit = "V"\nregister = 4\nkind = "input"\ntype = "float32"\n'
AMPERES = 'quantity = "amperes"\nunit = "A"\nregister = 6\nkind = "input"\ntype = "float32"\n'
PROFILES = {
    "power": (WATTS,),
    "counter": (WATTS, JOULES),
    "wrapping": (WATTS, f"{JOULES}modulus = {MODULUS}.0\n"),
    "all": (WATTS, VOLTS, AMPERES),
}


class Scene:
    """One load, looked at by meters that each have a fault once `since` is set (monotonic ns)."""

    def __init__(self):
        self.load = Load()
        self.since = None
        self.asked = []
        self.stuck_at = None

    def t(self):
        """Seconds since the faults began; negative before."""
        return -1.0 if self.since is None else (time.monotonic_ns() - self.since) / 1e9

    def off_j(self, at=None):
        """Joules that a device does not take which is off for a second of the silence."""
        if self.since is None:
            return 0.0
        seconds = ((time.monotonic_ns() if at is None else at) - self.since) / 1e9
        return self.load.mean * min(max(seconds - 0.25, 0), OFF_S)

    def healthy(self, watts=None, joules=None):
        """What a good meter says."""
        watts = self.load.power() if watts is None else watts
        joules = self.load.energy() if joules is None else joules
        counted = list(struct.unpack(">2H", struct.pack(">I", int(joules))))
        said = {0: float32(watts), 2: counted}
        return said | {4: float32(230.0), 6: float32(self.load.power() / 230.0)}

    def dropped(self):
        self.asked.append(time.monotonic())
        return BUSY if len(self.asked) % 10 == 7 else self.healthy()

    def burst(self):
        return BUSY if 0 <= self.t() < SILENT_S else self.healthy()

    def bridged(self):
        """Nobody can see that it was off but the counter."""
        if 0 <= self.t() < SILENT_S:
            return BUSY
        return self.healthy(joules=self.load.energy() - self.off_j())

    def stuck(self):
        if self.t() < 0:
            return self.healthy()
        self.stuck_at = self.stuck_at or self.load.power()
        return self.healthy(watts=self.stuck_at)

    def wrapped(self):
        return self.healthy(joules=self.load.energy() % MODULUS)

    def reset(self):
        before = 0.0 if self.since is None else self.load.energy(self.since)
        return self.healthy(joules=self.load.energy() - before)

    def dead(self):
        return self.healthy() if self.t() < 0 else None  # and no answer ever

    def reconnecting(self):
        return self.healthy()

    def scale(self):
        return self.healthy(watts=self.load.power() / 1000)


@dataclass(frozen=True)
class Row:
    """What the notes want of a fault."""

    profile: str
    grade: str = "full"
    source: str = "integral"
    found: frozenset = frozenset()
    caveats: frozenset = frozenset()
    told: str = ""  # what an event says of it


def kinds(*names):
    return frozenset(names)


UNSEEN = kinds("MeterGap", "MeterSilent")
ROWS = {
    "dropped": Row("power", told="busy"),
    "burst": Row("power", "reduced", found=kinds("gap"), caveats=UNSEEN, told="busy"),
    "bridged": Row("counter", source="counter", told="busy"),
    "stuck": Row("power", "reduced", found=kinds("stuck"), caveats=kinds("MeterFault")),
    "wrapped": Row("wrapping", source="counter", found=kinds("wrap")),
    "reset": Row("counter", source="counter", found=kinds("reset"), caveats=kinds("MeterFault")),
    "dead": Row("power", "none", found=kinds("gap"), caveats=UNSEEN, told="no answer"),
    "reconnecting": Row("power", "reduced", found=kinds("gap"), caveats=UNSEEN, told="refused"),
    "scale": Row("all", caveats=kinds("Implausible")),
}


def run(folder):
    """Measure beside all faults at once; return scene, record, and names of the meters."""
    scene = Scene()
    blank = dict.fromkeys(range(8), 0)
    units = {name: unit for unit, name in enumerate(ROWS, 1)}
    server = ModbusServer(
        *((unit, blank, {}, getattr(scene, name)) for name, unit in units.items())
    )
    other = ModbusServer((1, blank, {}, scene.reconnecting))
    units["reconnecting"] = 1
    meters = {}
    for name, row in ROWS.items():
        profile = folder / f"{row.profile}.toml"
        quantities = "".join(f"[[quantities]]\n{each}" for each in PROFILES[row.profile])
        profile.write_text(f'model = "{name}"\nsources = ["a test"]\nscope = "wall"\n{quantities}')
        port = other.port if name == "reconnecting" else server.port
        said = f"profile={profile}&unit={units[name]}&interval={INTERVAL_S}&accuracy=1%25"
        meters[name] = f"modbus:127.0.0.1:{port}?{said}"
    path = folder / "records.sqlite"
    named = [word for address in meters.values() for word in ("--meter", address)]
    options = ("--time", f"{TIME_S}s", "--warmup", "0s", "--json", "--store", str(path))
    child = subprocess.Popen(
        [HWKIT, "bench", KERNEL, "--threads", "1", "--confirm", *named, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not windows_of(path) and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        scene.since = time.monotonic_ns()
        other.stop()
        time.sleep(SILENT_S)
        other.start()
        out, err = child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
        child.communicate()
        server.stop()
        other.stop()
    assert child.returncode == 0, err
    [printed] = json.loads(out)["records"]
    store = Store(str(path))
    record = store.get("last")
    store.close()
    return scene, printed, record, dict(zip(meters, printed["metered"], strict=True))


def windows_of(path):
    store = Store(str(path))
    try:
        return list(store.get("last").read("windows"))
    except HwkitError:
        return []
    finally:
        store.close()


@pytest.fixture(scope="module")
def afflicted(tmp_path_factory):
    """A run in which the machine did not stall: a stall is a fault that no row is about."""
    for _ in range(4):
        found = run(tmp_path_factory.mktemp("faults"))
        asked = found[0].asked
        if max(after - before for before, after in pairwise(asked)) < 2.5 * INTERVAL_S:
            break
    return found


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_is_flagged_graded_and_bounded(afflicted, name):
    scene, printed, record, metered = afflicted
    row, seen = ROWS[name], metered[name]
    energy = seen["energy"]
    assert energy["grade"] == row.grade, energy
    assert energy["source"] == row.source
    assert {finding["kind"] for finding in energy["findings"]} == row.found
    about = {
        caveat["caveat"]
        for caveat in printed["caveats"]
        if seen["meter"] in (caveat.get("meter"), caveat["finding"].partition(" reads ")[0])
    }
    assert about == row.caveats
    if row.told:
        assert any(row.told in what for _, what in record.read("events"))
    if row.grade == "none":
        assert seen["efficiency"] is None
        assert energy["joules"] > 0, "what a dying meter saw is told all the same"
        return
    opened, closed = energy["opened"], energy["closed"]
    truth = scene.load.energy(closed) - scene.load.energy(opened)
    truth -= (scene.off_j(closed) - scene.off_j(opened)) * (name == "bridged")
    truth /= 1000 if name == "scale" else 1
    j_th = truth / printed["counts"]["hashes"] * 1e12
    assert seen["efficiency"]["lo"] <= j_th <= seen["efficiency"]["hi"]
    if row.grade == "full":
        assert seen["efficiency"]["value"] == pytest.approx(j_th, rel=0.01)


def test_the_hashes_are_as_good_as_ever_and_the_record_holds(afflicted):
    _, printed, record, _ = afflicted
    assert printed["state"] == "complete"
    assert printed["figures"]["hashrate"]["value"] > 0
    assert [finding.fault for finding in verify(record) if finding.fault] == []
