"""`hwkit meter`: watched as a user does it, and what is refused."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from fake_meter import address as fake
from hypothesis import given
from hypothesis import strategies as st
from meter_runs import S, reading, sampled, spec
from meter_servers import Wt310
from rich.console import Console

from hwkit.cli import main
from hwkit.harness import corrections
from hwkit.harness.energy import energy
from hwkit.report.meters import COLUMNS, MetersLive, _joules, summary, watts_now

from .conftest import HWKIT, meter

PATIENCE_S = 60  # this machine may stall


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
