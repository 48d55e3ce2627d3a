"""Meters of lines: programs that really run, files that really grow, and a person's typing."""

import io
import os
import shlex
import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hwkit import plugins
from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    DeviceTimeout,
    NoDevice,
    NotPermitted,
    PlanError,
    ProtocolError,
)
from hwkit.meters import manual, program
from hwkit.meters.lines import Lines
from hwkit.protocols import Meter, Provenance, Scope

WAIT_S = 60.0


@pytest.fixture
def meter():
    meters: list[Any] = []

    def find(address):
        found: Any
        [found] = plugins.meters(address)
        meters.append(found)
        return found

    yield find
    for each in meters:
        each.close()


@pytest.fixture
def patient(monkeypatch):
    """No line may be late on a machine that stalls."""
    monkeypatch.setattr(program, "DEADLINE_S", WAIT_S)


# lines


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"350.25\n"], {"watts": 350.25}),
        ([b"-1.5e2\r\n"], {"watts": -150.0}),
        ([b"5, 350\n"], {"watts": 350.0}),
        ([b"time,volts,watts,mode\n", b"1,230.5,350,on\n"], {"watts": 350.0, "volts": 230.5}),
        ([b'"Watts"\n', b"12\n"], {"watts": 12.0}),
        ([b"joules,watts\n", b"7,\n"], {"joules": 7.0}),
        ([b'{"watts": 3, "joules": 9, "other": "x"}\n'], {"watts": 3.0, "joules": 9.0}),
        ([b"\n", b"1\n"], {"watts": 1.0}),
    ],
)
def test_lines(lines, expected):
    taker = Lines("test")
    *before, last = [taker.take(line, 77) for line in lines]
    assert before == [None] * len(before)
    assert last is not None
    assert {name: getattr(last, name) for name in expected} == expected
    assert last.at == 77  # relative seconds begin at the first arrival
    assert last.took_ns is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"nan\n", "'nan' for a number"),
        (b"1,inf\n", "'inf' for a number"),
        (b"1_000\n", "'1_000' for a number"),
        (b"0x10\n", "for a number"),
        (b"1e999\n", "for a number"),
        (b"power is 5 W\n", "for a number"),
        ("٣\n".encode(), "for a number"),
        (b"1,2,3\n", "more columns than names"),
        (b"noon,5\n", "a time that is none"),
        (b"1700000000000,5\n", "a time that is no seconds"),
        (b"1,\n", "neither watts nor joules"),
        (b"{}\n", "neither watts nor joules"),
        (b'{"watts": true}\n', "/watts is no number but True"),
        (b'{"watts": "5"}\n', "/watts is no number but '5'"),
        (b'{"watts": NaN}\n', "what is no JSON"),
        (b'{"watts": 1, "time": []}\n', "a time that is none"),
        (b'{"watts": 1, "time": true}\n', "a time that is none"),
        (b"{\n", "what is no JSON"),
        (b"\xff\xfe\n", "is no text"),
    ],
)
def test_lines_that_are_no_reading(line, why):
    with pytest.raises(ProtocolError, match=why) as caught:
        Lines("test").take(line, 0)
    assert "\n" not in str(caught.value)


def test_times():
    lines = Lines("test")
    lines._wall_ns, lines._monotonic_ns = 1_700_000_000 * 10**9, 5 * 10**9

    def at(text):
        reading = lines.take(f"{text},1\n".encode(), 99)
        assert reading
        return reading.at

    assert at("1700000002.5") == 7.5e9
    assert at("2023-11-14T22:13:22Z") == 7e9
    assert at("2023-11-14 23:13:21.25+01:00") == pytest.approx(6.25e9, abs=1000)
    local = datetime.fromtimestamp(1_700_000_001, UTC).astimezone().replace(tzinfo=None)
    assert at(local.isoformat()) == 6e9
    assert at("40.5") == 99
    assert at("42") == 99 + 1.5e9


# programs


def python(code, *arguments):
    return shlex.join([sys.executable, "-u", "-c", code, *map(str, arguments)])


def test_a_program(meter, patient):
    found = meter(f"exec:{python('import time; print(12.5); print(13); time.sleep(600)')}")
    assert isinstance(found, Meter)
    assert found.spec.provenance is Provenance.METER
    assert found.spec.scope is Scope.WALL
    assert found.spec.accuracy is None
    with pytest.raises(DeviceLost, match="not open"):
        found.read()
    before = time.monotonic_ns()
    assert found.open() == {}
    readings = [found.read() for _ in range(2)]
    assert [reading.watts for reading in readings] == [12.5, 13.0]
    assert before < readings[0].at <= readings[1].at < time.monotonic_ns()


def test_a_program_that_ends_is_started_again(meter, patient):
    found = meter(f"exec:{python('print(5); raise SystemExit(7)')}")
    found.open()
    for _ in range(2):
        assert found.read().watts == 5.0
        with pytest.raises(DeviceLost, match="the program ended, with exit code 7"):
            found.read()


def test_what_a_program_complains_of_is_told(meter, patient):
    wrong = "import sys; sys.stderr.write('a\\nno \\x1b[2J port\\n\\n'); raise SystemExit(2)"
    found = meter(f"exec:{python(wrong)}")
    found.open()
    with pytest.raises(DeviceLost, match=r"with exit code 2: no .\[2J port$") as caught:
        found.read()
    assert "\x1b" not in str(caught.value)


def test_endless_complaints_are_neither_kept_nor_in_the_way(meter, patient):
    endless = "import sys\nfor _ in range(400): sys.stderr.write(5000 * 'x')\nprint(7); sys.exit(2)"
    found = meter(f"exec:{python(endless)}")
    found.open()
    assert found.read().watts == 7.0
    with pytest.raises(DeviceLost, match=r"with exit code 2: x{200}$"):
        found.read()


def test_a_program_that_prints_nothing(meter, monkeypatch):
    monkeypatch.setattr(program, "DEADLINE_S", 0.1)
    found = meter(f"exec:{python('import time; time.sleep(600)')}?interval=0.01")
    found.open()
    with pytest.raises(DeviceTimeout, match=r"it printed nothing for 0\.1 s; .* \?interval="):
        found.read()


def test_a_program_that_prints_rarely_is_waited_for(meter, monkeypatch):
    monkeypatch.setattr(program, "DEADLINE_S", 0.01)
    late = python("import time; time.sleep(0.3); print(7)")
    found = meter(f"exec:{late}?interval={WAIT_S}")
    found.open()
    assert found.read().watts == 7.0


def test_a_program_that_prints_without_end(meter, patient):
    found = meter(f"exec:{python('while True: print(7 * chr(55), end=str())')}")
    found.open()
    with pytest.raises(ProtocolError, match="lines of more than 4096 bytes"):
        found.read()


def test_a_program_that_says_nonsense_now_and_then(meter, patient):
    found = meter(f"exec:{python('import time; print(1); print(None); print(2); time.sleep(600)')}")
    found.open()
    assert found.read().watts == 1.0
    with pytest.raises(ProtocolError, match="'None' for a number"):
        found.read()
    assert found.read().watts == 2.0


def test_what_waits_unread_is_bounded(meter, patient, monkeypatch):
    monkeypatch.setattr(program, "WAITING", 4)
    code = "import time\nfor n in range(50): print(n)\ntime.sleep(600)"
    found = meter(f"exec:{python(code)}")
    found.open()
    deadline = time.monotonic() + WAIT_S
    while not any(line[0] == b"49\n" for line in tuple(found._run._lines.queue)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [found.read().watts for _ in range(4)] == [46.0, 47.0, 48.0, 49.0]


@pytest.mark.needs(path="/proc/self/stat")
def test_its_children_end_with_it(meter, patient, tmp_path):
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    child += "; time.sleep(600)"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}])"
    code += "; print(1); time.sleep(600)"
    found = meter(f"exec:{python(code)}")
    found.open()
    assert found.read().watts == 1.0
    deadline = time.monotonic() + WAIT_S
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    assert _runs(pid)
    found.close()
    found.close()
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(DeviceLost):
        found.read()


def _runs(pid):
    """Tell whether there is such a process, and more of it than an entry in a table."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_close_while_another_thread_reads(meter, patient):
    found = meter(f"exec:{python('import time; print(1); time.sleep(600)')}")
    found.open()
    assert found.read().watts == 1.0
    faults: list[DeviceFault] = []

    def read():
        try:
            found.read()
        except DeviceFault as fault:
            faults.append(fault)

    reader = threading.Thread(target=read)
    reader.start()
    found.close()
    reader.join(WAIT_S / 2)
    assert not reader.is_alive()
    assert isinstance(faults[0], DeviceLost)


def test_programs_that_do_not_start(meter, tmp_path):
    with pytest.raises(NoDevice, match="No such file"):
        meter(f"exec:{tmp_path}/none").open()
    (tmp_path / "text").write_text("1")
    with pytest.raises(NotPermitted, match="may not be run"):
        meter(f"exec:{tmp_path}/text").open()


@pytest.mark.parametrize("address", ["exec:", "exec", "exec:echo 'x", "exec:x?y=1"])
def test_what_is_no_command(address):
    with pytest.raises(PlanError):
        list(plugins.meters(address))


# files


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "power.csv"
    path.write_text("time,watts\n1700000000,100\n")
    return path


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def keep_appending(path, text, stop):
    while not stop.wait(0.02):
        append(path, text)


def test_a_file_that_grows(meter, patient, log):
    found = meter(f"csv:{log}")
    assert isinstance(found, Meter)
    assert found.open() == {}
    now = datetime.now(UTC)
    append(log, f"{now.isoformat()},350.5\n{now.timestamp() + 1},351\n")
    first, second = found.read(), found.read()
    assert (first.watts, second.watts) == (350.5, 351.0)
    assert second.at - first.at == pytest.approx(1e9, abs=1e4)
    assert abs(first.at - time.monotonic_ns()) < WAIT_S * 1e9
    threading.Timer(0.2, append, [log, f"{now.timestamp() + 2},352\n"]).start()
    assert found.read().watts == 352.0


def test_a_file_as_it_is(meter, patient, log):
    append(log, "1700000001,101\n")
    found = meter(f"csv:{log}?from=start")
    found.open()
    readings = [found.read() for _ in range(2)]
    assert [reading.watts for reading in readings] == [100.0, 101.0]
    assert readings[1].at - readings[0].at == 1e9
    assert readings[1].at < time.monotonic_ns()


def test_a_finished_file_without_a_date(meter, patient, log):
    log.write_text("1,100\n")
    found = meter(f"csv:{log}?from=start")
    found.open()
    with pytest.raises(ProtocolError, match="since nobody knows when"):
        found.read()


def test_a_file_that_grows_rarely_is_waited_for(meter, monkeypatch, log):
    monkeypatch.setattr(program, "DEADLINE_S", 0.0)
    found = meter(f"csv:{log}?interval={WAIT_S}")
    found.open()
    threading.Timer(0.3, append, [log, ",352\n"]).start()
    assert found.read().watts == 352.0


def test_a_line_is_read_once_it_is_whole(meter, monkeypatch, log):
    append(log, "17000")  # the beginning of a line that is no reading of ours
    found = meter(f"csv:{log}?interval=0.01")
    found.open()
    append(log, "00001,50\n,35")
    monkeypatch.setattr(program, "DEADLINE_S", 0.0)
    with pytest.raises(DeviceTimeout, match="no new line"):
        found.read()
    append(log, "1\n")
    monkeypatch.setattr(program, "DEADLINE_S", WAIT_S)
    assert found.read().watts == 351.0


@pytest.mark.parametrize("change", ["replaced", "shorter", "gone"])
def test_a_file_that_becomes_another(meter, patient, log, change):
    found = meter(f"csv:{log}")
    found.open()
    other = log.with_name("other")
    other.write_text("watts\n")
    if change == "replaced":
        other.rename(log)
    elif change == "shorter":
        os.truncate(log, 5)
    else:
        log.unlink()
    with pytest.raises(DeviceLost):
        found.read()
    log.write_text("watts\n")
    read = threading.Event()
    writer = threading.Thread(target=keep_appending, args=(log, "7\n", read))
    writer.start()
    try:
        assert found.read().watts == 7.0
    finally:
        read.set()
        writer.join()


def test_files_that_are_none(meter, tmp_path):
    with pytest.raises(NoDevice, match="No such file"):
        meter(f"csv:{tmp_path}/none").open()
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(NoDevice, match="it is no file"):
            meter(f"csv:{tmp_path}/{name}").open()
    with pytest.raises(DeviceLost, match="not open"):
        meter(f"csv:{tmp_path}/none").read()


def test_a_file_of_one_endless_line(meter, patient, log):
    found = meter(f"csv:{log}")
    found.open()
    append(log, "7" * 10_000)
    with pytest.raises(ProtocolError, match="more than 4096 bytes"):
        found.read()


@pytest.mark.parametrize("address", ["csv:", "csv:a?from=end", "csv:a?interval=0"])
def test_what_is_no_file(address):
    with pytest.raises(PlanError):
        list(plugins.meters(address))


# a person


@pytest.fixture
def types(monkeypatch, capsys):
    """Return a function that has a person type these lines."""

    def type_in(*lines):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return type_in


@pytest.mark.parametrize(
    ("typed", "joules", "quantum_j"),
    [
        ("1234.56", 1234.56 * 3.6e6, 36000.0),
        ("1234,56", 1234.56 * 3.6e6, 36000.0),
        ("1234", 1234 * 3.6e6, 3.6e6),
        ("1234.0 kWh", 1234 * 3.6e6, 3.6e5),
        ("850 Wh", 850 * 3600.0, 3600.0),
        ("1.234MWh", 1234 * 3.6e6, 3.6e6),
        ("  0.5 ", 0.5 * 3.6e6, 3.6e5),
    ],
)
def test_what_is_typed(meter, types, typed, joules, quantum_j):
    found = meter("manual:the meter")
    assert isinstance(found, Meter)
    assert found.spec.interval_s is None
    assert found.spec.provenance is Provenance.MANUAL
    assert found.open() == {}
    types(typed)
    before = time.monotonic_ns()
    reading = found.read()
    assert reading.joules == pytest.approx(joules)
    assert before <= reading.at <= time.monotonic_ns()
    assert reading.watts is None
    assert found.spec.quantum_j == pytest.approx(quantum_j)


def test_the_coarsest_decides(meter, types):
    found = meter("manual")
    types("100.25", "100.5")
    found.read()
    assert found.spec.quantum_j == pytest.approx(0.01 * 3.6e6)
    found.read()
    assert found.spec.quantum_j == pytest.approx(0.1 * 3.6e6)


@pytest.mark.parametrize(
    "nonsense", ["", "abc", "-1", "nan", "inf", "1e3", "1.2.3", "0x1", "٣", "12 W", "9" * 300]
)
def test_what_is_no_energy_is_asked_again(meter, types, capsys, nonsense):
    found = meter("manual:panel")
    types(nonsense, "100.5")
    assert found.read().joules == pytest.approx(100.5 * 3.6e6)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "What does panel read at the start?" in printed.err
    assert "is no energy" in printed.err


def test_less_than_before_is_asked_again_and_taken_when_it_is_meant(meter, types, capsys):
    found = meter("manual")
    types("100.5", "99.5", "101.5")
    found.read()
    assert found.read().joules == pytest.approx(101.5 * 3.6e6)
    assert "less than before" in capsys.readouterr().err
    types("0.5", "0.5")
    assert found.read().joules == pytest.approx(0.5 * 3.6e6)


def test_start_and_end_are_asked_for(meter, types, capsys):
    found = meter("manual")
    found.open()
    types("1", "2", "3")
    for when in ("start", "end", "start"):
        found.read()
        said = capsys.readouterr().err
        assert f"What does the energy counter read at the {when}?" in said
        assert said.endswith("\n")
    found.open()
    with pytest.raises(DeviceLost, match="nobody typed what the energy counter reads at the start"):
        found.read()


def test_nobody_there(meter, types, monkeypatch):
    found = meter("manual")
    types()
    with pytest.raises(DeviceLost, match="nobody typed"):
        found.read()

    def interrupted(question):
        raise KeyboardInterrupt

    monkeypatch.setattr(manual, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found.read()


def test_nothing_of_these_is_here_unasked():
    for find in (program.find_exec, program.find_csv, manual.find):
        assert list(find(None)) == []


def test_signals_of_the_terminal_do_not_reach_the_program(meter, patient):
    """Ctrl-C goes to a terminal's whole group: the program is in another."""
    found = meter(f"exec:{python('import os; print(os.getpgrp())')}")
    found.open()
    assert found.read().watts != os.getpgrp()
    assert signal.getsignal(signal.SIGINT) is not None
