"""`hwkit meter test`: as a user does it, and what the checks find."""

import json
import random
import re
import subprocess
from dataclasses import replace

import pytest
from fake_meter import address as fake
from hypothesis import given
from hypothesis import strategies as st
from meter_runs import S, reading, sampled, spec

from hwkit.errors import PlanError
from hwkit.harness.metercheck import Verdict, checks, overall
from hwkit.harness.meterstep import Load, find_step, step_check

from .conftest import HWKIT, meter

PATIENCE_S = 60  # this machine may stall


def verdicts(done):
    return {each["name"]: each["verdict"] for each in json.loads(done.stdout)["checks"]}


def test_a_good_meter_passes():
    done = meter("test", fake(), "--time", "3s", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "PASS"
    assert verdicts(done) == {
        "identity": "-",
        "interval": "PASS",
        "drop-outs": "PASS",
        "step of power": "-",
        "step of counter": "-",
        "update": "PASS",
        "counter": "-",
        "findings": "PASS",
        "plausible": "PASS",
    }


def test_a_bad_one_fails_and_a_steady_load_says_little():
    done = meter("test", fake(power_factor=1.2), "--time", "3s")
    assert done.returncode == 1
    assert "FAIL          plausible" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAIL ")
    done = meter("test", fake(steady=1), "--time", "3s")
    assert done.returncode == 5
    assert "INCONCLUSIVE  update" in done.stdout


@pytest.mark.parametrize(("gain", "code"), [(1.0, 0), (0.1, 1), (1.3, 1)])
def test_a_known_load_is_switched(tmp_path, gain, code):
    switch = tmp_path / "on"
    address = fake(watts=20, step=60, switch=switch, gain=gain)
    process = subprocess.Popen(
        [HWKIT, "meter", "test", address, "--time", "1s", "--step", "60W"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert process.stderr.readline().startswith("Switch a load of 60 W on or off now")
    switch.touch()
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, out
    [line] = [line for line in out.splitlines() if " load " in line]
    said = re.search(r"([+-][\d.]+) W ± \S+ W for 60 W", line)
    assert said, line
    # A readout before the switch enters the level by its rounding and noise.
    assert float(said[1]) == pytest.approx(60 * gain, rel=0.01)
    assert "settled within" in line


def of(readings, said=None, **options):
    found = {each.name: each for each in checks(sampled(readings, said, **options))}
    return {name: each.verdict.value for name, each in found.items()}, found


def wandering(t):
    return 100 + (t * 7919 % 101) / 10  # steps of 0.1 W


def test_slower_than_stated_and_with_holes():
    found, texts = of([reading(t, wandering(t)) for t in range(0, 200, 2)])
    assert found["interval"] == "FAIL"
    assert "each 2 s (median), 99 % within 2 s, 2 s at most; 1 s stated" in texts["interval"].text
    kept = [reading(t, wandering(t)) for t in range(200) if not 50 < t < 80]
    found, texts = of(kept, faults=[(60 * S, "x: timed out")] * 5)
    assert found["drop-outs"] == "FAIL"
    assert "5 times: x: timed out" in texts["drop-outs"].text
    found, texts = of(
        [reading(t, wandering(t)) for t in range(200) if t != 50], faults=[(50 * S, "x: lost")]
    )
    assert found["drop-outs"] == "PASS"
    assert "1 of 200 readings failed" in texts["drop-outs"].text


@given(st.integers(1, 40), st.sampled_from([0.01, 0.1, 1.0, 3.6, 100.0]), st.integers())
def test_a_step_coarser_than_stated_is_found_and_no_other(times, stated, seed):
    """Values on the stated grid pass, those on a coarser one never do, once there are enough."""
    draw = random.Random(seed)
    values = [1000 * stated + draw.randrange(60) * stated * times for _ in range(200)]
    readings = [reading(t, value) for t, value in enumerate(values)]
    found, _ = of(readings, spec(quantum_w=stated))
    assert found["step of power"] == ("PASS" if times == 1 else "FAIL")


def test_steps_that_nothing_can_be_said_of():
    steady = [reading(t, 100.0) for t in range(60)]
    assert of(steady, spec(quantum_w=0.1))[0]["step of power"] == "INCONCLUSIVE"
    assert of(steady)[0]["step of power"] == "-"
    two = [reading(t, 100.0 + t % 2) for t in range(60)]
    assert of(two, spec(quantum_w=0.1))[0]["step of power"] == "INCONCLUSIVE"
    fine = [reading(t, 100 + t / 1000) for t in range(60)]
    assert of(fine, spec(quantum_w=0.1))[0]["step of power"] == "PASS"


def test_how_often_the_value_really_changes():
    rarely = [reading(t, wandering(t // 5) * 50) for t in range(200)]
    found, texts = of(rarely)
    assert found["update"] == "FAIL"
    assert "watts change each 5 s (median), read each 1 s" in texts["update"].text
    coarse = [reading(t, 100.0 + t // 5 % 2) for t in range(200)]
    assert of(coarse)[0]["update"] == "-"


def test_a_counter_that_contradicts_power():
    high = [reading(t, wandering(t), 1.37 * 105 * t) for t in range(300)]
    found, texts = of(high)
    assert found["counter"] == "FAIL"
    assert texts["counter"].text.startswith("+37 % off")
    good = [reading(t, wandering(t), 105.0 * t) for t in range(300)]
    assert of(good)[0]["counter"] == "PASS"
    vague = [reading(t, wandering(t), 3600.0 * (105 * t // 3600)) for t in range(300)]
    assert of(vague, spec(quantum_j=3600.0))[0]["counter"] == "INCONCLUSIVE"
    reset = [reading(t, joules=105.0 * (t % 100)) for t in range(300)]
    assert of(reset)[0]["findings"] == "FAIL"


def test_mains_that_are_unusual_are_not_the_meters_fault():
    high = [reading(t, wandering(t), volts=150.0) for t in range(100)]
    found, texts = of(high)
    assert found["plausible"] == "INCONCLUSIVE"
    assert "mains at 150 V, +25 % of 120 V" in texts["plausible"].text


def test_a_meter_of_which_nothing_came():
    found, texts = of([], faults=[(0, "x: refused")] * 3)
    assert found["readings"] == "FAIL"
    assert texts["readings"].text == "no reading came; 3 times: x: refused"
    assert overall([]) is Verdict.INCONCLUSIVE


@given(st.floats(1, 5000), st.floats(-5000, 5000), st.integers(0, 20), st.integers())
def test_a_step_is_found_with_its_size_and_settling(base, size, ramp, seed):
    """Upwards or downwards, at once or over `ramp` seconds, within what scatter allows."""
    draw = random.Random(seed)
    if abs(size) < 0.1 * base or base + size < 0.1 * base:
        return

    def watts(t):
        part = min(max((t - 40) / ramp, 0), 1) if ramp else float(t > 40)
        return (base + part * size) * (1 + draw.gauss(0, 0.001))

    step = find_step(sampled([reading(t, watts(t)) for t in range(150)]), 30 * S)
    assert step
    assert abs(step.watts - size) <= 4 * step.U + 1e-9
    assert ramp * 0.5 - 1 <= step.settled_s <= max(ramp, 1) + 1
    assert find_step(sampled([reading(t, watts(20)) for t in range(100)]), 30 * S) is None


def test_a_step_is_held_against_the_load():
    load = Load(100.0, 0.02)
    checked = sampled([reading(t, 100.0 * (t > 40) + t % 2 / 10) for t in range(90)])
    step = find_step(checked, 30 * S)
    assert step
    for seen, verdict in ((100.0, "PASS"), (103.5, "FAIL"), (-100.0, "PASS"), (50.0, "FAIL")):
        check = step_check(replace(step, watts=seen), load, checked)
        assert check.verdict.value == verdict
    doubtful = replace(step, watts=102.9, U=0.5)
    assert step_check(doubtful, load, checked).verdict is Verdict.INCONCLUSIVE
    assert step_check(None, load, checked).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("text", "load"),
    [
        ("100W", Load(100, 0.1)),
        ("2kW", Load(2000, 0.1)),
        ("60 W±2%", Load(60, 0.02)),
        ("1.5kW +-1.5%", Load(1500, 0.015)),
        ("0W", None),
        ("100", None),
        ("-5W", None),
        ("100W±", None),
        ("", None),
    ],
)
def test_a_load_is_read(text, load):
    if load is None:
        with pytest.raises(PlanError, match="is no load"):
            Load.read(text)
    else:
        assert Load.read(text) == load
