"""`hwkit meter compare`: two meters of one load, and what is corrected by it."""

import json
import struct
import subprocess

import pytest
from fake_meter import address as fake
from fake_meter import load
from meter_runs import S, reading, sampled, spec

from hwkit.errors import Unmeasurable
from hwkit.harness import corrections
from hwkit.harness.correction import of_one_window
from hwkit.protocols import Provenance

from .conftest import HWKIT, meter


@pytest.fixture
def sdm120(peer):
    """A Modbus server that reads as an SDM120 the load that fake_meter.py reads; its address."""

    def serve(stream):
        while head := stream.recv(7):
            transaction, _, _, unit = struct.unpack(">HHHB", head)
            function, first, count = struct.unpack(">BHH", stream.recv(5))
            words = {0x00: 230.1, 0x0C: load(), 0x46: 50.0}
            raw = b"".join(
                struct.pack(">f", words.get(first + at, 0.0)) for at in range(0, count, 2)
            )
            body = struct.pack(">BBB", unit, function, 2 * count) + raw[: 2 * count]
            if function != 4:
                body = struct.pack(">BBB", unit, function | 0x80, 2)
            stream.sendall(struct.pack(">HHH", transaction, 0, len(body)) + body)

    return f"modbus:127.0.0.1:{peer(serve)}?profile=sdm120&interval=0.1&accuracy=0.5%"


@pytest.mark.needs(module="pymodbus")
def test_a_planted_2_percent_is_found_and_put_right(sdm120, path):
    """From the command line, end to end: J/TH by the better meter's truth, within U."""
    plug = fake(gain=1.02)
    done = meter("compare", plug, sdm120, "--time", "6s", "--between", "0W", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    factor = found["factor"]
    assert factor["lo"] <= 1.02 <= factor["hi"]
    assert factor["U"] < 0.01
    assert found["power_w"] == pytest.approx(100, rel=0.01)
    assert found["correction"]["by"]["accuracy"]["of_reading"] == 0.005
    listed = meter("corrections")
    assert listed.stdout.startswith(plug)
    assert "times as much" in listed.stdout

    def bench(*options):
        told = ("--meter", plug, "--time", "5s", "--warmup", "0s", "--store", path, *options)
        done = subprocess.run(
            [HWKIT, "bench", "cpu:reference", *map(str, told)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = bench()
    assert "corrected  by modbus:127.0.0.1" in said
    assert "accuracy unchecked" not in said.partition("instrument")[0]
    shown = meter_json("records", "show", "last", "--store", path)
    [seen] = shown["metered"]
    hashes, wall_s = shown["counts"]["hashes"], shown["counts"]["wall_ns"] / 1e9
    truth = 100 * wall_s / hashes * 1e12
    assert seen["efficiency"]["lo"] <= truth <= seen["efficiency"]["hi"]
    assert seen["power"]["value"] == pytest.approx(100, rel=0.015)
    verified = subprocess.run(
        [HWKIT, "verify", "last", "--store", path], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stdout
    planned = ("--plan", "--expect", "100W,1MH/s")
    assert "accuracy unchecked" not in bench(*planned)
    assert "accuracy unchecked" in bench(*planned, "--no-corrections")
    assert "corrected" not in bench("--no-corrections")
    shown = meter_json("records", "show", "last", "--store", path)
    assert shown["metered"][0]["power"]["value"] == pytest.approx(102, rel=0.005)
    assert "correction" not in shown["meters"][0]
    assert meter("forget", plug).returncode == 0
    assert "None." in meter("corrections").stdout


def meter_json(*arguments):
    done = subprocess.run(
        [HWKIT, *map(str, arguments), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_not_kept_and_why():
    done = meter("compare", fake(gain=1.02), fake(), "--time", "3s")
    assert done.returncode == 0, done.stderr
    assert " reads 1.0" in done.stdout
    assert "Not kept:" in done.stdout
    assert "accuracy is unchecked" in done.stdout
    assert corrections.read() == []


def test_too_little_was_seen(tmp_path):
    (tmp_path / "dumb").touch()
    done = meter("compare", fake(), fake(dumb=tmp_path / "dumb"), "--time", "2s", "--json")
    assert done.returncode == 5
    document = json.loads(done.stdout)
    assert document["verdict"] == "INCONCLUSIVE"
    assert "0 readings of exec:" in document["why"]


def test_a_meter_read_by_a_person_is_held_against_one_that_is_not():
    plug = sampled([reading(t / 10, 102.0) for t in range(-30, 6030)], spec(interval_s=0.1))
    by_hand = spec(0.005, interval_s=None, provenance=Provenance.MANUAL, quantum_j=360.0)
    hand = sampled([reading(3, joules=7200.0), reading(580, joules=7200.0 + 57600)], by_hand)
    a, b = of_one_window(plug, hand)
    assert (a.opened, a.closed) == (b.opened, b.closed) == (3 * S, 580 * S)
    assert a.joules == pytest.approx(102 * 577)
    assert b.joules == 57600
    with pytest.raises(Unmeasurable, match="0 readings of test came"):
        of_one_window(plug, sampled([], by_hand))
