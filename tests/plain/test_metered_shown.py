"""What a user sees of a run with meters: the live lines, and the command."""

import json
import re
import subprocess
import threading

import pytest

from hwkit.harness import metering as meterings
from hwkit.harness.metering import Metering
from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.report.live import Live, energy_lines

from .conftest import HWKIT
from .metered_session import FakeMeter, honest

pytestmark = pytest.mark.usefixtures("quick_windows")


def seen_live(session):
    """Return the lines of the live table while an entry measures."""
    [entry] = session.entries
    return energy_lines(session) if entry.state == "measuring" else []


def test_the_live_line_tells_j_th_power_and_what_is_left(store):
    lines, stop = [], threading.Event()
    plan = Plan(time_s=60.0, precision=0.013, warmup_s=0.1, turn_s=0.1, meters=("fake:1",))
    with Metering([FakeMeter()]) as metering:
        session = Session(plan, [honest()], store, stop, metering=metering)

        def tick():
            lines.extend(seen_live(session))
            if lines and "J/TH" in lines[-1]:
                stop.set()

        session.run(tick, 0.02)
    value = r"cpu:reference: (J/TH )?[\d.]+ ± [\d.]+( [kMG]J/TH)?"
    assert re.fullmatch(rf"{value}, (±1.3 % in|ends in) .*, 100 W now", lines[-1])
    assert "100 W now" in lines[0]


def test_the_live_line_tells_of_a_dead_meter_at_once(store, monkeypatch):
    monkeypatch.setattr(meterings, "SILENT_S", 0.2)
    lines, stop = [], threading.Event()
    plan = Plan(time_s=600.0, precision=None, warmup_s=0.1, turn_s=0.1, meters=("fake:1",))
    with Metering([FakeMeter(fault="dies")]) as metering:
        session = Session(plan, [honest()], store, stop, metering=metering)

        def tick():
            lines.extend(seen_live(session))
            if any("no answer" in line for line in lines):
                stop.set()

        session.run(tick, 0.02)
    assert re.fullmatch(r"meter fake:1: no answer for \d s \(fake:1: gone\)", lines[-1])


def test_nothing_is_drawn_where_stderr_is_no_terminal(store, capfd):
    with Metering([FakeMeter()]) as metering:
        plan = Plan(time_s=0.5, precision=None, warmup_s=0.1, turn_s=0.1, meters=("fake:1",))
        session = Session(plan, [honest()], store, threading.Event(), metering=metering)
        with Live(session) as live:
            session.run(live.tick, 0.02)
    assert capfd.readouterr() == ("", "")


def hwkit(*arguments):
    return subprocess.run(
        [HWKIT, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_from_the_command_line(path):
    done = hwkit(
        *("bench", "cpu:reference", "--meter", "nameplate:100W?tolerance=5%", "--time", "6s"),
        *("--warmup", "0s", "--store", str(path), "--json"),
    )
    assert done.returncode == 0, done.stderr
    [record] = json.loads(done.stdout)["records"]
    assert record["figures"]["power"]["value"] == pytest.approx(100)
    assert record["figures"]["efficiency"]["unit"] == "J/TH"
    assert record["plan"]["meters"] == ["nameplate:100W?tolerance=5%"]
    shown = hwkit("records", "show", "last", "--store", str(path))
    assert "ClaimedEnergy" in shown.stdout
    assert "±5 % of the reading (nameplate tolerance)" in shown.stdout
    verified = hwkit("verify", "last", "--store", str(path))
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize(
    ("meter", "code", "says"),
    [
        ("nosuch:1", 2, "no such kind 'nosuch'"),
        ("nameplate:many", 2, "is no power"),
        ("exec:/no/such/program", 3, "No such file"),
    ],
)
def test_meters_that_are_none(path, meter, code, says):
    done = hwkit("bench", "cpu:reference", "--meter", meter, "--store", str(path))
    assert done.returncode == code, done.stderr
    [line] = [line for line in done.stderr.splitlines() if says in line]
    assert "Traceback" not in done.stderr
    assert meter.partition("?")[0] in line


def test_the_plan_says_how_long_it_takes():
    done = hwkit("bench", "cpu:reference", "--meter", "nameplate:100W", "--standard", "--plan")
    assert done.returncode == 0
    assert "by nameplate:100W" in done.stdout
    assert "after 10 min to 45 min of warm-up" in done.stdout
