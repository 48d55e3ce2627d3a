"""What any meter's address may state of it: the same words with each, and the user's count."""

from typing import Any

import pytest

from hwkit import plugins
from hwkit.errors import PlanError
from hwkit.meters import hwmon, rapl
from hwkit.protocols import Accuracy, Scope

FIELDS = "watts=/watts"
ADDRESSES = {
    "exec": "exec:./meter?",
    "csv": "csv:power.csv?",
    "shelly": "shelly:192.0.2.1?",
    "tasmota": "tasmota:192.0.2.1?",
    "axeos": "axeos:192.0.2.1?",
    "redfish": "redfish:192.0.2.1?",
    "http": f"http:192.0.2.1/a?{FIELDS}&",
    "mqtt": f"mqtt:192.0.2.1/a?{FIELDS}&",
    "modbus": "modbus:192.0.2.1?profile=sdm120&",
    "snmp": "snmp:192.0.2.1?profile=apc-rpdu2&",
    "scpi": "scpi:192.0.2.1?profile=wt300&",
    "rapl": "rapl?",
    "hwmon": "hwmon:psu/power1?",
}
BY_A_PERSON = {"manual": "manual?"}  # who reads at two moments, in steps of what is typed
ELSEWHERE = {"nvml", "nameplate", "reported"}  # what they state has tests beside their drivers


@pytest.fixture(autouse=True)
def trees(tmp_path, monkeypatch):
    """One package and one sensor."""
    zone, chip = tmp_path / "intel-rapl:0", tmp_path / "hwmon0"
    for folder, files in (
        (zone, {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "99"}),
        (chip, {"name": "psu", "power1_input": "1"}),
    ):
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    monkeypatch.setattr(rapl, "TREE", tmp_path)
    monkeypatch.setattr(hwmon, "TREE", tmp_path)


def test_no_kind_is_left_out():
    known = {*ADDRESSES, *BY_A_PERSON, *ELSEWHERE}
    assert known == set(plugins.meter_kinds())


def spec_of(address):
    found: Any
    [found] = plugins.meters(address)
    return found.spec


@pytest.mark.needs(module="aiohttp")
@pytest.mark.needs(module="paho")
@pytest.mark.needs(module="pymodbus")
@pytest.mark.needs(module="pysnmp")
@pytest.mark.parametrize("kind", ADDRESSES)
def test_what_is_stated_counts(kind):
    said = "scope=chip&accuracy=3%&interval=8&quantum=0.5&calibrated=2026-03-31"
    spec = spec_of(ADDRESSES[kind] + said)
    assert spec.scope is Scope.CHIP
    assert spec.accuracy == Accuracy(0.03, source="stated by ?accuracy=")
    assert (spec.interval_s, spec.quantum_w, spec.calibrated) == (8, 0.5, "2026-03-31")
    assert spec.name.startswith(f"{kind}")
    usual = spec_of(ADDRESSES[kind].rstrip("?&"))
    assert usual.scope is not Scope.CHIP or kind == "rapl"
    assert usual.accuracy != spec.accuracy
    assert usual.quantum_w != 0.5
    assert usual.calibrated is None


def test_of_a_persons_reading_the_class():
    spec = spec_of("manual?accuracy=2%&scope=device&calibrated=2026-03-31")
    assert spec.accuracy == Accuracy(0.02, source="stated by ?accuracy=")
    assert spec.interval_s is None
    with pytest.raises(PlanError, match="no option 'interval'; it has scope, accuracy, calib"):
        spec_of("manual?interval=5")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("accuracy=1", "accuracy is a percentage, as in 5%, not '1'"),
        ("accuracy=nan%", "accuracy is a percentage"),
        ("accuracy=0%", "accuracy is a percentage"),
        ("quantum=-1", "quantum is a number above 0, not '-1'"),
        ("interval=soon", "interval is a number above 0"),
        ("scope=moon", "scope is chip, board, device, wall, not 'moon'"),
        ("calibrated=soon", "calibrated is a date, as 2026-03-31, not 'soon'"),
    ],
)
def test_what_makes_no_sense(said, fault):
    with pytest.raises(PlanError, match=fault):
        spec_of(f"exec:./meter?{said}")


@pytest.mark.needs(module="aiohttp")
@pytest.mark.needs(module="paho")
@pytest.mark.needs(module="pymodbus")
@pytest.mark.needs(module="pysnmp")
@pytest.mark.parametrize(
    "kind", ["shelly", "tasmota", "axeos", "redfish", "http", "mqtt", "modbus", "snmp", "scpi"]
)
@pytest.mark.parametrize("rest", ["", "?no=option", "/a/b?watts="])
def test_a_password_in_an_address_is_never_repeated(kind, rest):
    with pytest.raises(PlanError, match=r"credentials file, docs/meters\.md") as caught:
        spec_of(f"{kind}:admin:s3cret@192.0.2.1:8000{rest}")
    assert "s3cret" not in str(caught.value)
    assert f"{kind}:...@192.0.2.1:8000" in str(caught.value)


@pytest.mark.needs(module="aiohttp")
def test_a_three_percent_plug_is_refused_a_precision_of_one(hwkit):
    """Before anything is touched: nothing listens at that address."""
    meter = "shelly:127.0.0.1:9?accuracy=3%"
    done = hwkit("bench", "cpu:reference", "--meter", meter, "--precision", "1%")
    assert done.returncode == 2, done.stderr
    assert "can give ±3.5 % at best, however long it runs: ±1 % takes class 0.5" in done.stderr
