"""`hwkit bench --meter` beside real servers of every protocol, from the address to the record."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from meter_servers import Five

from hwkit.errors import HwkitError
from hwkit.harness.metering import Metering
from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.hashers import native
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.plugins import meters
from hwkit.records import Store
from hwkit.records.record import Chunk
from hwkit.records.rows import from_reading
from hwkit.records.verify import verify

from .conftest import HWKIT

LEAVE_S = 2.0
LOST_S = 1.0
PATIENCE_S = 120  # for what a busy machine may take its time with
NEEDED = [
    pytest.mark.needs(module="aiohttp"),
    pytest.mark.needs("snmpd", "mosquitto", module="pysnmp"),
    pytest.mark.needs(module="pymodbus"),
    pytest.mark.needs(module="paho.mqtt.client"),
]
pytestmark = NEEDED


KERNEL = "cpu:reference" if native.MISSING else "cpu:portable"


def command(path, addresses, *more, kernel="cpu:reference"):
    meters = [word for address in addresses for word in ("--meter", address)]
    return [HWKIT, "bench", kernel, *meters, *more, "--json", "--store", str(path)]


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    with Five(tmp_path_factory.mktemp("five")) as servers:
        yield servers


@pytest.fixture(scope="module")
def measured(five, tmp_path_factory):
    """One run with all five: what it printed, its record as stored, and where that is."""
    path = tmp_path_factory.mktemp("store") / "records.sqlite"
    done = subprocess.run(
        command(path, five.addresses.values(), "--time", "6s", "--warmup", "0s"),
        env={**os.environ, "HWKIT_CREDENTIALS": str(five.credentials)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    [printed] = json.loads(done.stdout)["records"]
    store = Store(str(path))
    record = store.get("last")
    store.close()
    return printed, record, path


@pytest.mark.parametrize(
    ("protocol", "source", "told"),
    [
        ("modbus", "integral", {}),  # its counter steps by 1 Wh, and an SDM120 has no name to tell
        ("snmp", "integral", {"model": "AP8959", "serial": "ZA1234567890", "firmware": "v6.8.0"}),
        ("mqtt", "integral", {}),  # nor does a broker know who publishes
        ("scpi", "integral", {"model": "WT310", "serial": "C2PH13047V", "range_w": "6000"}),
        ("shelly", "counter", {"model": "SPSW-104PE16EU", "serial": "A8032AB636EC"}),
    ],
)
def test_from_the_address_to_the_record(measured, five, protocol, source, told):
    printed, _, _ = measured
    names = list(five.addresses)
    number = names.index(protocol)
    meter, seen = printed["meters"][number], printed["metered"][number]
    energy, power, j_th = seen["energy"], seen["power"], seen["efficiency"]
    assert meter["name"] == seen["meter"]
    assert meter["name"].startswith(five.addresses[protocol].partition("?")[0])
    assert (meter["scope"], meter["provenance"]) == ("wall", "meter")
    assert meter["told"] | told == meter["told"]
    assert energy["source"] == source
    assert energy["readings"] >= 2
    truth = five.load.mean_between(energy["opened"], energy["closed"])
    assert power["value"] == pytest.approx(truth, rel=0.01)
    time_s = (energy["closed"] - energy["opened"]) / 1e9
    rate = printed["counts"]["hashes"] / time_s
    assert j_th["unit"] == "J/TH"
    assert j_th["value"] == pytest.approx(power["value"] / rate * 1e12, rel=1e-9)
    assert j_th["lo"] <= truth / rate * 1e12 <= j_th["hi"]


def test_what_is_known_of_each_instrument_stands_beside_it(measured):
    printed, record, _ = measured
    modbus, snmp, mqtt, scpi, shelly = printed["meters"]
    assert modbus["accuracy"]["of_reading"] == 0.01
    assert scpi["accuracy"] | {"of_reading": 0.001, "of_range": 0.001} == scpi["accuracy"]
    assert scpi["accuracy"]["range_w"] == 6000  # as the instrument says: the address does not
    assert (snmp["quantum_w"], snmp["quantum_j"]) == (10.0, 360_000.0)
    assert mqtt["quantum_j"] == 3600.0
    assert shelly["quantum_j"] == pytest.approx(3.6)
    unchecked = {
        caveat["meter"] for caveat in printed["caveats"] if caveat["caveat"] == "UncheckedMeter"
    }
    assert unchecked == {meter["name"] for meter in (snmp, mqtt, shelly)}
    assert not {"MeterFault", "Implausible", "ClaimedEnergy"} & {
        caveat["caveat"] for caveat in printed["caveats"]
    }
    first = printed["metered"][0]
    figure = printed["figures"]["efficiency"]
    assert first["efficiency"] | figure == first["efficiency"]
    assert printed["digest"] == record.digest


def test_the_record_verifies_and_one_with_other_readings_does_not(measured, resealed):
    _, record, path = measured
    verified = subprocess.run(
        [HWKIT, "verify", "last", "--store", str(path)], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout
    before = list(record.read("readings"))
    rows = {
        "scaled": [from_reading(m, replace(r, watts=r.watts and 0.9 * r.watts)) for m, r in before],
        "one of them": [
            from_reading(m, replace(r, watts=0.5 * r.watts) if n == len(before) // 2 else r)
            for n, (m, r) in enumerate(before)
        ],
        "left out": [from_reading(*each) for each in before[::2]],
        "later": [from_reading(m, replace(r, at=r.at + 300_000_000)) for m, r in before],
        "another's": [from_reading("modbus:elsewhere", r) for _, r in before],
        "a stranger's, too": [
            *(from_reading(*each) for each in before),
            from_reading("modbus:elsewhere", before[0][1]),
        ],
    }
    for how, forged in rows.items():
        assert _faults(resealed(record, readings=forged)), how
    changed = dict(record.chunks, readings=[Chunk.of("readings", rows["scaled"])])
    assert "was changed" in _faults(replace(record, chunks=changed))[0]


def test_a_wall_clock_that_steps_changes_nothing(five, store, monkeypatch):
    """An hour ahead, then two back, as after a wrong NTP server: SNMP 3 has clocks of its own."""
    monkeypatch.setenv("HWKIT_CREDENTIALS", str(five.credentials))
    wrong_s = 0
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + wrong_s)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + wrong_s * 10**9)
    addresses = tuple(five.addresses.values())
    plan = Plan(time_s=5.0, precision=None, warmup_s=0.0, meters=addresses)
    kernel = KernelHasher.lift(ReferenceKernel(), "cpu", 1)
    instruments: Any = [next(meters(address)) for address in addresses]
    with Metering(instruments) as metering:
        session = Session(plan, [kernel], store, threading.Event(), metering=metering)
        [entry] = session.entries

        def tick():
            nonlocal wrong_s
            wrong_s = (0, 0, 3600, -3600)[min(int(entry.measured_s), 3)]

        session.run(tick)
    assert wrong_s == -3600
    record = store.get("last")
    metered = record.document["metered"]
    for seen in metered:
        energy = seen["energy"]
        truth = five.load.mean_between(energy["opened"], energy["closed"])
        assert seen["power"]["value"] == pytest.approx(truth, rel=0.01)
        assert energy["findings"] == []
    said = [what for _, what in record.read("events")]
    assert all("the wall clock stepped" in what for what in said), said
    assert [round(float(what.split()[5]), -1) for what in said] == [3600, -7200]
    assert _faults(record) == []


@pytest.fixture
def benching(five, path):
    """Return a function that starts a long bench beside the Modbus meter, read often."""
    running = []

    def start(*more):
        address = f"{five.addresses['modbus']}&interval=0.2"
        child = subprocess.Popen(
            command(path, [address], "--time", "300s", "--threads", "1", *more, kernel=KERNEL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(child)
        return child

    yield start
    for child in running:
        child.kill()
        child.communicate()


def kept(path):
    """Return the last record with its windows and readings; None where there is none yet."""
    store = Store(str(path))
    try:
        record = store.get("last")
        return record, list(record.read("windows")), [r for _, r in record.read("readings")]
    except HwkitError:
        return None
    finally:
        store.close()


def until(path, condition):
    deadline = time.monotonic() + 60
    while (seen := kept(path)) is None or not condition(*seen):
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


def stolen_s():
    """On a machine where others wait for processors, so does what we measure."""
    return max(0.0, os.getloadavg()[0] / (os.cpu_count() or 1) - 1)


def test_interrupted_it_leaves_a_whole_result(benching, path, five):
    child = benching("--warmup", "0s")
    until(path, lambda _, windows, __: len(windows) >= 3)
    child.send_signal(signal.SIGINT)
    sent = time.monotonic()
    out, err = child.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - sent < LEAVE_S + stolen_s()
    assert child.returncode == 130, err
    [printed] = json.loads(out)["records"]
    assert printed["state"] == "interrupted"
    energy, j_th = (printed["metered"][0][key] for key in ("energy", "efficiency"))
    rate = printed["counts"]["hashes"] / printed["counts"]["wall_ns"] * 1e9
    truth = five.load.mean_between(energy["opened"], energy["closed"])
    assert j_th["lo"] <= truth / rate * 1e12 <= j_th["hi"]
    assert _faults(kept(path)[0]) == []


@pytest.mark.needs(path="/proc/self/stat")
@pytest.mark.parametrize(
    "when", ["idle", pytest.param("warming up", marks=pytest.mark.soak), "measuring"]
)
def test_killed_it_loses_a_second_at_most(benching, path, five, when):
    """Windows as well as readings, which are as good before the first window opens."""
    idle = ("--idle", "300s") if when == "idle" else ()
    child = benching("--warmup", "0s" if when == "measuring" else "300s", *idle)
    least = 4 if when == "measuring" else 0
    until(path, lambda _, windows, reads: len(windows) >= least and len(reads) >= 10)
    killed = time.monotonic_ns()
    child.kill()
    child.wait()
    record, windows, readings = kept(path)
    assert record.document["state"] == "interrupted"
    assert killed - readings[-1].at < (LOST_S + stolen_s()) * 1e9
    if when == "measuring":
        assert killed - windows[-1].closed < (LOST_S + stolen_s()) * 1e9
        truth = five.load.mean_between(windows[0].opened, windows[-1].closed)
        assert record.figures["power"].value == pytest.approx(truth, rel=0.01)
        assert all(b.opened == a.closed for a, b in pairwise(windows))
    assert _faults(record) == []


@pytest.mark.soak
@pytest.mark.needs(path="/proc/self/stat")
def test_killed_at_random_moments(benching, path):
    """What is lost of windows and of readings, at most."""
    lost = []
    for number in range(20):
        child = benching("--warmup", "0s")
        until(path, lambda _, windows, __, n=number: len(windows) >= 2 and _runs(path) > n)
        time.sleep(random.uniform(0, 2))
        killed = time.monotonic_ns()
        child.kill()
        child.wait()
        record, windows, readings = kept(path)
        assert _faults(record) == []
        lost.append([(killed - at) / 1e9 for at in (windows[-1].closed, readings[-1].at)])
    print(
        "lost at most: windows {:.2f} s, readings {:.2f} s".format(
            *map(max, zip(*lost, strict=True))
        )
    )
    assert max(map(max, lost)) < LOST_S + stolen_s()


def _runs(path):
    store = Store(str(path))
    count = len(store.listing())
    store.close()
    return count


def _faults(record):
    return [finding.fault for finding in verify(record) if finding.fault]
