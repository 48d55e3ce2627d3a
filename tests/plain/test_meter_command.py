"""`hwkit meter`: watched, tested and compared as a user does it, and what the checks find."""

import io
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_meter import load
from hypothesis import given
from hypothesis import strategies as st
from meter_runs import S, reading, spec
from meter_servers import Wt310
from rich.console import Console

from hwkit.cli import main
from hwkit.errors import PlanError, Unmeasurable
from hwkit.harness import corrections
from hwkit.harness.correction import of_one_window
from hwkit.harness.energy import energy
from hwkit.harness.metercheck import Verdict, checks, overall
from hwkit.harness.metering import Sampled
from hwkit.harness.meterstep import Load, find_step, step_check
from hwkit.protocols import Provenance
from hwkit.report.meters import COLUMNS, MetersLive, _joules, summary, watts_now

from .conftest import FAKES, HWKIT

PATIENCE_S = 60  # this machine may stall


def fake(**options):
    """Return the address of a program that prints readings."""
    said = " ".join(f"{key}={value}" for key, value in options.items())
    return f"exec:{sys.executable} {FAKES / 'fake_meter.py'} {said}?interval=0.05"


def meter(*arguments, **options):
    return subprocess.run(
        [HWKIT, "meter", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def verdicts(done):
    return {each["name"]: each["verdict"] for each in json.loads(done.stdout)["checks"]}


# --- watch ----------------------------------------------------------------------------------


def test_an_address_alone_is_watched():
    done = meter(fake(watts=50), "--time", "2s")
    assert done.returncode == 0, done.stderr
    said = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert said["power"].startswith(("49.", "50."))
    assert "by its integral; accuracy unchecked" in said["energy"]
    assert "100 % of the time seen" in said["readings"]
    assert ", 230.1 V, " in said["last"]
    assert done.stderr == ""  # it is no terminal


def test_several_at_once_as_one_document():
    done = meter("--json", fake(watts=50), fake(watts=20, gain=2), "--time", "2s")
    assert done.returncode == 0, done.stderr
    for each in json.loads(done.stdout)["meters"]:
        watts = 50 if "watts=50" in each["name"] else 40
        assert each["power"]["value"] == pytest.approx(watts, rel=0.01)
        assert each["energy"]["U"] > 0
        assert each["energy"]["interval_s"]["median"] < 1
        assert each["last"]["power_factor"] == 0.98
        assert each["faults"] == {}


def interrupted(lines, *arguments):
    """Run the command, interrupt it once a fake has printed 60 lines; return code and output."""
    process = subprocess.Popen(
        [HWKIT, "meter", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + PATIENCE_S
    while not (lines.exists() and lines.stat().st_size >= 60) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out


def test_ctrl_c_is_how_a_watch_ends(tmp_path):
    lines = tmp_path / "lines"
    code, out = interrupted(lines, fake(lines=lines))
    assert code == 0
    assert out.startswith("meter ")
    assert "fault" not in out


def test_ctrl_c_ends_the_others_early_and_nothing_is_kept(tmp_path):
    lines = tmp_path / "lines"
    code, out = interrupted(lines, "test", fake(lines=lines))
    assert code == 130
    assert "PASS          interval" in out
    lines.unlink()
    code, out = interrupted(lines, "compare", fake(), fake(gain=1.1, lines=lines))
    assert code == 130
    assert "Not kept: it was interrupted" in out


def test_a_meter_that_says_nothing_is_a_fault():
    done = meter("exec:sleep 100", "--time", "6s")
    assert done.returncode == 4
    assert "1 times: exec:sleep 100: it printed nothing for 4.5 s" in done.stdout


def test_a_person_reads_at_the_two_ends():
    done = meter("watch", "manual", "--time", "1s", input="1.00\n1.01\n")
    assert done.returncode == 0, done.stderr
    assert "36 kJ" in done.stdout.replace(".0", "").replace("± 29 kJ", "kJ")
    assert "as typed" in done.stdout
    asked = done.stderr.splitlines()  # what is typed comes by a pipe: nothing else ends the lines
    assert [" at the start?" in asked[0], " at the end?" in asked[1]] == [True, True]


def test_a_person_who_leaves_before_the_end():
    done = meter("watch", "manual", "--time", "1s", input="1.25\n")
    assert done.returncode == 4
    said = told_by(done.stdout)
    assert said["nothing"] == "only one value was typed: 1.25 kWh; it takes another at the end"
    assert "nobody typed what the energy counter reads at the end" in said["fault"]


def test_a_person_who_types_less_than_at_the_start():
    done = meter("watch", "manual", "--time", "1s", input="1.25\n0.5\n0.5\n")
    assert done.returncode == 4
    assert "what was typed fell from 1.25 to 0.5 kWh: a digit" in told_by(done.stdout)["nothing"]


def told_by(text):
    return dict(line.split(maxsplit=1) for line in text.splitlines())


@pytest.mark.parametrize(
    ("power", "flag", "why"),
    [
        ("NAN", "watts absent", "(NaN, or its word for not measured)"),
        ("INF", "watts over range", "choose a larger range"),
    ],
)
def test_an_instrument_that_measures_nothing_is_a_fault(peer, power, flag, why):
    port = peer(Wt310(P=power, WH="NAN").serve)
    done = meter(f"scpi:127.0.0.1:{port}?profile=wt300&interval=0.1", "--time", "1s")
    assert done.returncode == 4, done.stdout
    said = told_by(done.stdout)["nothing"]
    assert re.match(r"none of \d+ readings tells power or energy: ", said)
    assert flag in said
    assert why in said
    assert re.search(f"^flag +{flag} in [0-9]+ of [0-9]+ readings$", done.stdout, re.MULTILINE)


def test_kilowatts_taken_as_watts():
    readings = [reading(t, 0.1, 100.0 * t, volts=230.0, amperes=0.43) for t in range(30)]
    said = dict(summary(sampled(readings, of=spec(quantum_j=360.0))))
    assert said["scale"].startswith("kilowatts taken as watts?")
    assert "0.00101 times as many watts as volts by amperes" in said["volt-amperes"]
    assert said["power"].startswith("100 mW ± more than 100 times that")
    assert said["energy"].startswith("2.9 J ± ")
    right = [reading(t, 100.0, 100.0 * t, volts=230.0, amperes=0.43) for t in range(30)]
    assert not {"scale", "volt-amperes"} & set(dict(summary(sampled(right))))


@given(st.floats(0.1, 1e6), st.floats(0, 1e6))
def test_an_uncertainty_never_rounds_its_value_away(joules, u):
    of_it = energy([reading(t, 1.0) for t in range(9)], spec(), 0, 8 * S)
    text = _joules(replace(of_it, joules=joules, terms={"x": u}))
    assert text[0] in "123456789" or text.startswith("0.1"), text


def sampled(readings, of=None, told=None, faults=()):
    each = Sampled(SimpleNamespace(spec=of or spec()), told or {}, faults=list(faults))
    for one in readings:
        each.take(one)
    return each


def shown(each):
    said = io.StringIO()
    Console(file=said, width=200).print(MetersLive([each]).table())
    return said.getvalue()


def test_the_table_that_follows_meters():
    power = sampled([reading(t, 100 + t % 2, volts=230.0) for t in range(60)], faults=[(0, "x")])
    said = shown(power).splitlines()
    assert all(column in said[1] for column in COLUMNS)
    assert said[2].split()[:4] == ["test", "101", "W", "230"]
    assert said[2].split()[-1] == "1"
    assert "5.929" in said[2]  # kJ
    counter = sampled([reading(t, joules=50.0 * t) for t in range(60)])
    assert watts_now(counter) == pytest.approx(50)
    assert "50 W" in shown(counter)
    assert watts_now(sampled([])) is None
    assert "-" in shown(sampled([]))
    assert dict(summary(sampled([])))["readings"] == "0"


def test_what_a_meter_says_cannot_steer_the_terminal():
    evil = "\x1b[2J[bold]"
    said = shown(sampled([reading(t, 1.0) for t in range(3)], of=spec(name=evil)))
    assert "\x1b" not in said


# --- test -----------------------------------------------------------------------------------


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


# --- compare --------------------------------------------------------------------------------


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


BAD = {
    "unknown kind": (["bogus:1"], "no such kind"),
    "unknown command": (["tset", "rapl"], "no such kind 'tset'"),
    "nothing to watch": (["watch"], "Missing argument"),
    "no time": (["exec:true", "--time", "0s"], "above 0"),
    "endless": (["exec:true", "--time", "1000d"], "up to 30 days"),
    "a person's patience": (["test", "manual"], "a person reads it"),
    "no load": (["test", "exec:true", "--step", "much"], "is no load"),
    "one meter": (["compare", "exec:true"], "Missing argument"),
    "unlike": (["compare", "exec:true", "exec:cat?scope=chip"], "do not see the same"),
    "two persons": (["compare", "manual:a", "manual:b"], "not read at one time"),
    "itself": (["compare", "exec:true", "exec:true"], "named twice"),
    "between nothing": (["compare", "exec:true", "exec:cat", "--between", "x"], "is no power"),
    "forget nothing": (["forget", "plug:1"], "there is no correction of 'plug:1'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_usage_is_one_line(name, monkeypatch, capfd):
    arguments, says = BAD[name]
    monkeypatch.setattr(sys, "argv", ["hwkit", "meter", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    said = capfd.readouterr()
    assert left.value.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert says in said.err


def test_a_broken_file_of_corrections_is_one_line():
    path = corrections._path()
    path.parent.mkdir(parents=True)
    path.write_text("{")
    nameplate = ("bench", "null", "--meter", "nameplate:100W")
    for arguments in (
        ("meter", "corrections"),
        ("meter", "forget", "x"),
        ("meter", "compare", "exec:true", "exec:cat"),
        nameplate,
    ):
        done = subprocess.run(
            [HWKIT, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert done.returncode == 2, done.stderr
        assert "corrections.json: no corrections of ours, remove it" in done.stderr
        assert "Traceback" not in done.stderr
    assert os.fspath(path) in done.stderr
