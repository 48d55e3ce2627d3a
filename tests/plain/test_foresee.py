"""What a metered run can reach, told before a device is touched."""

import json

import pytest
from meter_runs import spec

from hwkit.errors import PlanError
from hwkit.harness.efficiency import SHARES, Budget
from hwkit.harness.energy import ALIGNMENT, METER_CLASS
from hwkit.harness.foresee import Expected, foresee, worst
from hwkit.harness.plan import Plan
from hwkit.harness.reach import time_left
from hwkit.protocols import Accuracy, Basis, HasherSpec

COUNTED = HasherSpec("cuda:0", Basis.COUNTED, "gpu")
SHARED = HasherSpec("asic:1", Basis.SHARES, "asic")
MINER = Expected(3500.0, 200e12, "nameplate")


@pytest.mark.parametrize(
    ("text", "power_w", "hashrate_h_s"),
    [("3500W,200TH/s", 3500, 200e12), ("1.5 GH/s", None, 1.5e9), ("3.5kW", 3500, None)],
)
def test_what_is_expected_is_read(text, power_w, hashrate_h_s):
    found = Expected.parse(text)
    assert found.power_w == pytest.approx(power_w)
    assert found.hashrate_h_s == pytest.approx(hashrate_h_s)


@pytest.mark.parametrize("text", ["", "3500", "3500W,3kW", "0W", "-1W", "1TH", "fast"])
def test_what_expects_nothing_is_refused(text):
    with pytest.raises(PlanError, match="expects nothing"):
        Expected.parse(text)


@pytest.mark.parametrize("expected", [MINER, Expected()])
@pytest.mark.parametrize("device", [COUNTED, SHARED])
def test_a_precision_below_the_floor_is_refused_with_the_class_that_reaches_it(expected, device):
    plan = Plan(time_s=300.0, precision=0.01, meters=("test",))
    with pytest.raises(PlanError, match=r"3.5 % at best.*takes class 0.5 S"):
        foresee(plan, device, [spec(0.03)], expected, asked=True)
    said = foresee(plan, device, [spec(0.03)], expected, asked=False)
    assert "±1 % is not reached" in said.text
    assert said.time_s is None
    foresee(plan, device, [spec(0.002)], expected, asked=True)


def test_it_tells_what_is_reached_by_term_and_when():
    plan = Plan(time_s=3600.0, precision=0.02, meters=("test",))
    found = foresee(plan, SHARED, [spec(0.01)], MINER, asked=True)
    assert found.budget is not None
    assert found.budget.terms[METER_CLASS] == pytest.approx(0.01 / 3**0.5)
    assert found.budget.terms[SHARES] == pytest.approx((10 * 3600) ** -0.5, rel=1e-3)
    assert "at 3.5 kW and 200 TH/s (nameplate) ±1.6 % of J/TH in 1 h (meter class 1.2 %" in (
        found.text
    )
    assert found.time_s == pytest.approx(4 / 10 / (0.02**2 - 4 * 0.01**2 / 3), rel=0.2)
    json.dumps(found.to_json(), allow_nan=False)


def test_what_nobody_vouches_for_promises_nothing_of_the_truth():
    plan = Plan(time_s=300.0, precision=0.01, meters=("test",))
    found = foresee(plan, SHARED, [spec(None)], MINER, asked=True)
    assert found.time_s is not None
    assert "accuracy unchecked" in found.text
    assert "promises nothing of the truth" in found.text


def test_a_sum_is_foreseen_by_the_meter_that_says_least():
    assert worst([spec(0.01), spec(0.03), spec(None)], 100.0) == spec(0.03)


def test_the_time_left_follows_from_what_is_measured():
    # Class 1 % leaves (2 %)^2 - (2 * 0.58 %)^2 for shares, which have 4 % now after 100 s.
    budget = Budget.of({METER_CLASS: 0.01 / 3**0.5}, 0.04, 0.04)
    expected = 100 * (0.04**2 / (0.02**2 - 4 * 0.01**2 / 3) - 1)
    assert time_left(budget, 0.02, 100.0) == pytest.approx(expected, rel=1e-6)
    assert time_left(budget, 0.5, 100.0) == 0
    assert time_left(budget, 0.01, 100.0) is None


# --- as a user has it ------------------------------------------------------------------------

PLUG = "nameplate:3500W?tolerance=3%"


def test_it_is_refused_before_a_device_is_touched(hwkit, path):
    done = hwkit("bench", "cpu:reference", "--meter", PLUG, "--precision", "1%")
    assert done.returncode == 2
    assert "takes class 0.5 S" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not path.exists()


def test_a_preset_named_is_asked_for_and_the_default_is_not(hwkit):
    plan = ("bench", "cpu:reference", "--meter", PLUG, "--plan")
    assert hwkit(*plan, "--standard").returncode == 2
    done = hwkit(*plan)
    assert done.returncode == 0
    assert "±3 % is not reached" in done.stdout


def test_the_newest_record_says_what_to_expect(hwkit):
    meter = ("--meter", "nameplate:100W?tolerance=1%")
    unknown = hwkit("bench", "cpu:reference", *meter, "--plan")
    assert "not known yet (--expect 3500W,200TH/s)" in unknown.stdout
    done = hwkit("bench", "cpu:reference", *meter, "--time", "3s", "--warmup", "0s")
    assert done.returncode == 0, done.stderr
    assert "not known yet" in done.stderr  # at every start
    told = json.loads(hwkit("bench", "cpu:reference", *meter, "--plan", "--json").stdout)
    [found] = told["foreseen"]
    assert found["source"] == "its newest record"
    assert found["power_w"] == pytest.approx(100)
    expect = hwkit("bench", "cpu:reference", *meter, "--plan", "--expect", "90W,1MH/s")
    assert "at 90 W and 1 MH/s (--expect)" in expect.stdout


def test_a_rig_says_how_long_its_devices_take_together(hwkit, tmp_path):
    device = '[[device]]\naddress = "{}"\nmeters = ["nameplate:{}W?tolerance=1%"]\n'
    plates = "nameplate_w = 100\nnameplate_th_s = 0.5\n"
    path = tmp_path / "rig.toml"
    path.write_text(device.format("cpu:reference", 100) + plates + device.format("null", 1))
    done = hwkit("bench", "--rig", path, "--plan", "--time", "10min", "--warmup", "0s")
    assert done.returncode == 0, done.stderr
    assert "at most 10 min" in done.stdout
    assert "at 100 W and 500 GH/s (nameplate)" in done.stdout
    path.write_text(device.format("cpu:reference", 100) + device.format("cpu:portable", 100))
    group = hwkit("bench", "--rig", path, "--plan")
    assert group.returncode == 2
    assert "share a meter, and what they run on" in group.stderr


def test_a_meter_that_sends_unasked_is_foreseen_by_its_interval():
    """As energy() has it: each edge's reading is up to an interval old."""
    plan = Plan(time_s=60.0, precision=0.05, meters=("test",))
    found = foresee(plan, COUNTED, [spec(None, unasked=True)], Expected(100.0, 8e6), asked=True)
    assert found.budget is not None
    assert found.budget.terms[ALIGNMENT] == pytest.approx(1 / 6**0.5 / 60)


def test_a_range_that_only_the_instrument_knows_is_left_out_and_told():
    of_range = Accuracy(0.001, of_range=0.001)
    plan = Plan(time_s=60.0, precision=0.05, meters=("test",))
    found = foresee(plan, COUNTED, [spec(accuracy=of_range)], MINER, asked=True)
    assert found.budget is not None
    assert found.budget.terms[METER_CLASS] == pytest.approx(0.001 / 3**0.5)
    assert "its range is told only when it is asked" in found.text


def test_what_is_of_meters_wants_one(hwkit):
    for option in (("--idle", "1s"), ("--expect", "1W"), ("--confirm",), ("--no-corrections",)):
        done = hwkit("bench", "cpu:reference", "--plan", *option)
        assert done.returncode == 2
        assert f"{option[0]} is of runs with a meter" in done.stderr


def test_one_meter_named_twice_is_refused_by_the_plan(hwkit):
    done = hwkit("bench", "cpu:reference", "--plan", "--meter", PLUG, "--meter", PLUG)
    assert done.returncode == 2
    assert "named twice" in done.stderr
