"""An evaluation on disk: whose machine it is, who goes on with it, what it puts back."""

import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from evidence import BLOCK, judged, seen
from simulated import simulated

from hwkit.cli import cli, evaluate
from hwkit.errors import (
    DeviceFault,
    DeviceLost,
    HwkitError,
    NoDevice,
    NotPermitted,
    PlanError,
    ProtocolError,
    RecordError,
)
from hwkit.evaluate import run, state
from hwkit.evaluate.identity import asked, recognise
from hwkit.evaluate.outside import Person, Switch, internet
from hwkit.evaluate.protocol import Step
from hwkit.evaluate.run import Runner
from hwkit.evaluate.verdicts import (
    Verdict,
)
from hwkit.hashers.asic.restore import pending
from hwkit.protocols import Basis


@pytest.fixture
def kept(path):
    found = state.begun(str(path), {"address": "asic:192.0.2.1", "steps": [], "pending": {}})
    found.save()
    return found


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        ({"serial": "A1"}, {"serial": "A2"}, True),
        ({"mac": "02:00:00:00:00:01"}, {"mac": "020000000001"}, False),
        ({"mac": "02:00:00:00:00:01"}, {"mac": "02:00:00:00:00:02"}, True),
        ({"model": "S21"}, {"model": "S19"}, True),
        ({"serial": "A1", "model": "S21"}, {"serial": "a1", "model": "Antminer S21"}, False),
        ({"serial": "A1", "model": "S21"}, {"model": "S19"}, True),
        ({"serial": "A1"}, {}, False),
        ({}, {"serial": "A1"}, False),
    ],
)
def test_another_machine_is_refused(before, now, refused):
    known = dict(before)
    if refused:
        with pytest.raises(PlanError, match="another machine answers"):
            recognise(known, now, "asic:h")
        assert known == before
    else:
        recognise(known, now, "asic:h")
        assert known == now | before


def test_it_is_not_gone_on_with_on_another_machine(path, tmp_path):
    protocol = tmp_path / "protocol.toml"
    protocol.write_text(BLOCK)
    with simulated("luxos") as miner:
        address = f"asic:127.0.0.1:{miner.api_port}"
        words = ["evaluate", address, "--spec", "S21 XP (270 TH)", "--store", str(path)]
        told = asked(address)
        assert {"serial", "mac", "make", "model"} <= set(told)
        made = evaluate.command.make_context("evaluate", [*words[1:], "--protocol", str(protocol)])
        document = evaluate._document(made.params)
        state.begun(str(path), document | {"identity": told | {"serial": "ANOTHER"}}).save()
        done = CliRunner().invoke(cli, ["evaluate", "--resume", "last", "--store", str(path)])
        assert isinstance(done.exception, PlanError)
        said = str(done.exception)
        assert "another machine answers (serial 'ANOTHER' before, 'SIMULATED0001' now)" in said
        assert not pending()
    assert asked("cpu:auto") == {}
    assert asked("asic:127.0.0.1:1") == {}


def test_what_another_machine_did_is_not_kept(kept):
    kept.document["identity"] = {"serial": "A1"}
    told = {"records": ["first", "second"]}
    nothing: Any = None
    runner = Runner(kept, nothing, nothing, nothing, nothing, nothing, (), nothing, print)
    runner.identify = lambda: {"serial": "A1"}
    runner._recognise(told)
    runner.identify = lambda: {"serial": "B2"}
    with pytest.raises(PlanError, match="'A1' before, 'B2' now"):
        runner._recognise(told)
    assert told["records"] == ["first"]


def test_one_that_keeps_silent_of_who_it_is_decides_nothing(kept):
    nothing: Any = None
    runner = Runner(kept, nothing, nothing, nothing, nothing, nothing, (), nothing, print)
    answers = iter([{"serial": "A1"}, {}, {"serial": "A1"}])
    runner.identify = lambda: next(answers)
    told: dict[str, Any] = {"name": "soak 1", "kind": "soak", "why": "", "records": []}
    runner._recognise(told)
    runner._recognise(told)  # a call that went unanswered is made again
    runner.identify = dict
    runner._recognise(told, failed=True)  # as it may while it restarts
    assert "identity" not in judged(seen(), steps=[told])
    runner.identify = lambda: {"model": "S21"}
    runner._recognise(told)
    assert told["unrecognised"] == 1
    line = judged(seen(), steps=[told])["identity"]
    assert (line.verdict, line.decides) == (
        Verdict.INCONCLUSIVE,
        "a run in which it always tells who it is",
    )
    assert "after soak 1 it told neither" in line.why


def test_one_that_never_tells_who_it_is_may_be_judged(kept):
    nothing: Any = None
    runner = Runner(kept, nothing, nothing, nothing, nothing, nothing, (), nothing, print)
    told: dict[str, Any] = {"name": "soak 1", "kind": "soak", "why": "", "records": []}
    runner._recognise(told)
    assert "identity" not in judged(seen(), steps=[told])


def test_an_evaluation_is_found_again_and_a_changed_one_refused(path, kept):
    name = kept.document["id"]
    assert state.read(str(path), name[:12]).document == kept.document
    assert state.read(str(path), "last").document == kept.document
    assert state.unfinished(str(path), "asic:192.0.2.1") == name
    assert state.unfinished(str(path), "asic:192.0.2.2") is None
    kept.path.write_text(kept.path.read_text().replace("192.0.2.1", "192.0.2.9"))
    with pytest.raises(RecordError, match="it was changed"):
        state.read(str(path), "last")
    kept.path.write_text("{")
    with pytest.raises(RecordError, match="no evaluation"):
        state.read(str(path), "last")
    with pytest.raises(RecordError, match="no evaluation 'e1'"):
        state.read(str(path), "e1")


@pytest.mark.parametrize(
    ("changes", "code", "why"),
    [
        ({}, 2, "has no verdict yet"),
        ({"id": 7}, 2, "its id is 7"),
        ({"schema": 9}, 2, "of another hwkit (schema 9)"),
        ({"verdict": "PASS"}, 1, "makes no sense: KeyError: 'protocol'"),
        ({"verdict": "PASS", "records": 7, "protocol": 7}, 1, "makes no sense"),
        ({"verdict": "PASS", "records": {"20261122": "0"}}, 1, "no record '20261122'"),
        ({"verdict": "PASS", "steps": [{"records": ["20261122"]}]}, 1, "makes no sense"),
    ],
)
def test_an_evaluation_that_somebody_wrote_is_told_in_a_line(path, kept, changes, code, why):
    kept.document |= changes
    kept.save()
    done = CliRunner().invoke(cli, ["verify", str(kept.path), "--store", str(path)])
    fault = done.exception
    assert (fault.exit_code if isinstance(fault, HwkitError) else done.exit_code) == code
    assert isinstance(fault, (HwkitError, SystemExit))
    assert why in done.output + str(fault)


@pytest.mark.needs(module="fcntl")
def test_one_process_at_a_time_goes_on_with_it(kept):
    with kept.claimed(), pytest.raises(NotPermitted), kept.claimed():
        pass


def test_one_that_has_ended_is_not_gone_on_with(kept):
    kept.document["state"] = "complete"
    with pytest.raises(PlanError, match="has ended"):
        state.refuse_ended(kept)


def test_a_switch_says_what_its_program_said(tmp_path):
    Switch.parse("true").to("on")
    with pytest.raises(DeviceFault, match="exit code 1"):
        Switch.parse("false").to("on")
    with pytest.raises(NoDevice):
        Switch.parse(str(tmp_path / "none")).to("on")
    for text in ("", "'"):
        with pytest.raises(PlanError):
            Switch.parse(text)
    asked: list[str] = []
    Person(asked.append, "outlet").to("off")
    assert "outlet" in asked[0]
    assert "off" in asked[0]


def test_the_internet_is_asked_for_only_when_told(peer):
    port = peer(lambda stream: None)
    assert internet(None) == {"asked": None, "reachable": None}
    assert internet(f"127.0.0.1:{port}")["reachable"] is True
    assert internet("127.0.0.1:1")["reachable"] is False
    with pytest.raises(PlanError):
        internet("nowhere")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "name a device"),
        (["cpu:reference"], "name a device"),
        (["cpu:reference", "--spec", "no such thing"], "no model"),
        (["cpu:reference", "--spec", "S21 XP", "--protocol", "fast"], "no protocol 'fast'"),
        *(
            (["cpu:reference", "--spec", "S21 XP", "--plan", "--internet", place], "is HOST:PORT")
            for place in ("x", ":::99999", "h:0", "h:65536", "a b:1", "http://h:1", "[h]:1", ":1")
        ),
        (["--resume", "last"], "no evaluation 'last'"),
        (["x", "--resume", "last"], "give neither address"),
        (["cpu:reference", "--spec", "S21 XP", "--person"], "no terminal to ask at"),
    ],
)
def test_what_makes_no_sense_is_refused(path, words, why):
    done = CliRunner().invoke(cli, ["evaluate", *words, "--store", str(path)])
    assert isinstance(done.exception, PlanError | RecordError)
    assert done.exception.exit_code == 2
    assert why in str(done.exception)
    assert not path.exists()


@pytest.mark.parametrize(("limit", "why"), [("-1", "x>0"), ("inf", "finite"), ("nan", "finite")])
def test_a_limit_that_makes_no_sense_is_refused(path, limit, why):
    words = ["evaluate", "cpu:reference", "--spec", "S21 XP", "--efficiency", limit]
    done = CliRunner().invoke(cli, [*words, "--store", str(path)])
    assert done.exit_code == 2
    assert why in done.output
    assert not path.exists()


def test_what_was_changed_is_put_back_after_a_crash(kept, tmp_path):
    """As a process leaves it that was killed with the outlet off and the mode changed."""
    words = tmp_path / "words"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $1 >> {words}\n")
    program.chmod(0o755)
    switch: Any = Switch.parse(str(program))
    kept.document["pending"] = {"outlet": "off", "setting": "low"}
    nothing: Any = None
    runner = Runner(kept, nothing, nothing, nothing, nothing, nothing, (), nothing, print)
    runner.put_back()
    assert set(kept.document["pending"]) == {"outlet", "setting"}  # nobody is there to do it
    runner.outlet = runner.setter = switch
    runner.put_back()
    runner.put_back()
    assert words.read_text().split() == ["on", "restore"]
    assert json.loads(kept.path.read_text())["pending"] == {}


def test_an_outlet_that_fails_leaves_it_pending_and_says_so(kept):
    kept.document["pending"] = {"outlet": "off"}
    said: list[str] = []
    nothing: Any = None
    runner = Runner(kept, nothing, nothing, nothing, nothing, nothing, (), nothing, said.append)
    runner.outlet = Switch.parse("false")
    runner.put_back()
    assert kept.document["pending"] == {"outlet": "off"}
    assert "outlet is not put back: false on: exit code 1" in said[0]


def quiet(kept, *, outlet=None, setter=None):
    """Return what takes steps without a device."""
    event: Any = threading.Event()
    nothing: Any = None
    runner = Runner(kept, nothing, nothing, event, nothing, nothing, (), nothing, print)
    runner.outlet, runner.setter = outlet, setter
    return runner


def test_one_that_has_ended_puts_back_what_it_could_not(path, tmp_path):
    words, broken, program = (tmp_path / each for each in ("words", "broken", "program"))
    program.write_text(f"#!/bin/sh\necho $1 >> {words}\ntest ! -e {broken}\n")
    program.chmod(0o755)
    options = {"outlet": None, "setter": str(program)}
    begun = {"address": "cpu:reference", "steps": [], "options": options, "identity": {}}
    left = {"state": "complete", "restored": False, "faults": [], "pending": {"setting": "low"}}
    ended = state.begun(str(path), begun | left)
    ended.save()
    assert state.unfinished(str(path), "cpu:reference") == ended.document["id"]
    resume = ["evaluate", "--resume", "last", "--store", str(path)]
    broken.touch()
    done = CliRunner().invoke(cli, resume)
    assert done.exit_code == 4
    assert "setting is not put back" in done.stderr
    broken.unlink()
    done = CliRunner().invoke(cli, resume)
    assert done.exit_code == 0, done.exception
    assert "had ended; put back: setting" in done.stdout
    assert words.read_text().split() == ["restore", "restore"]
    document = state.read(str(path), "last").document
    assert (document["pending"], document["restored"]) == ({}, True)
    assert state.unfinished(str(path), "cpu:reference") is None
    assert "has ended" in str(CliRunner().invoke(cli, resume).exception)
    assert not path.exists()


def test_settings_that_cannot_be_put_back_were_measured_all_the_same(kept, tmp_path, monkeypatch):
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\ntest "$1" != restore || { echo no route >&2; exit 3; }\n')
    program.chmod(0o755)
    kept.document["pending"] = {}
    runner = quiet(kept, setter=Switch.parse(str(program)))
    record = seen("modes").document["id"]
    monkeypatch.setattr(
        Runner, "_measure", lambda _, __, told, *___, **____: told["records"].append(record)
    )
    told = {"name": "modes", "kind": "modes", "state": "waiting", "why": "", "records": []}
    runner._step(Step("modes", "modes", values=("low",)), told)
    assert told["state"] == "done"
    assert kept.document["pending"] == {"setting": "low"}
    [line] = [each for each in judged(seen("modes"), steps=[told]).values() if each.name == "modes"]
    assert line.verdict is Verdict.PASS
    assert "1 measured" in line.why
    assert "not put back" in line.why
    assert "no route" in line.why


def test_nothing_is_measured_in_a_setting_that_was_left(kept, tmp_path, monkeypatch):
    broken, program = tmp_path / "broken", tmp_path / "program"
    program.write_text(f'#!/bin/sh\ntest "$1" != restore || test ! -e {broken}\n')
    program.chmod(0o755)
    broken.touch()
    kinds = ("modes", "soak", "sweep")
    kept.document["steps"] = [
        {"name": kind, "kind": kind, "state": "waiting", "why": "", "records": []} for kind in kinds
    ]
    runner = quiet(kept, setter=Switch.parse(str(program)))
    monkeypatch.setattr(
        Runner, "_measure", lambda _, __, told, *___, **____: told["records"].append("r")
    )
    monkeypatch.setattr(Runner, "_measured_s", lambda _, told: 60.0 * len(told["records"]))
    steps = [Step("modes", "modes", values=("low",)), Step("soak", "soak", time=60.0)]
    runner.take([*steps, Step("sweep", "sweep", values=("80%",))])
    modes, soak, sweep = kept.document["steps"]
    assert [each["state"] for each in (modes, soak, sweep)] == ["done", "not-tested", "done"]
    assert soak["why"] == "it is still set to low: that was not put back"
    assert not soak["records"]


class Asked:
    """A measurement that ends as it is told."""

    def __init__(self, error=None, hashes=0):
        self.error, self.hashes, self.why, self.summary = error, hashes, str(error or "time"), None
        self.hasher = SimpleNamespace(spec=SimpleNamespace(basis=Basis.CLAIMED))
        second = 1_000_000_000
        opened = time.monotonic_ns()
        window = SimpleNamespace(opened=opened, closed=opened + second, shares=0, hashes=hashes)
        self.windows = [window] if hashes else []


REFUSED = DeviceLost("no miner answers there")
RATELESS = ProtocolError("it tells neither what it has hashed nor how fast", b"")


@pytest.mark.parametrize(
    ("ends", "told_of", "verdict"),
    [
        ([Asked(REFUSED), Asked(RATELESS), Asked(hashes=100)], (60.0, 100.0), Verdict.PASS),
        ([Asked(REFUSED)], (0.0, 100.0), Verdict.FAIL),
        ([Asked(REFUSED)], (0.0, 0.0), Verdict.FAIL),
        ([Asked(RATELESS)], (0.0, 0.0), Verdict.NOT_TESTED),
        ([Asked()], (0.0, 0.0), Verdict.NOT_TESTED),
        ([Asked(hashes=10)], (60.0, 100.0), Verdict.FAIL),
    ],
)
def test_after_a_power_cycle_it_is_waited_for(kept, monkeypatch, ends, told_of, verdict):
    within, usual_h_s = told_of
    left = iter(ends)

    def measure(_, __, told, *___, **____):
        told["records"].append(str(len(told["records"])))
        return next(left)

    monkeypatch.setattr(run, "AGAIN_S", 0.01)
    monkeypatch.setattr(Runner, "_measure", measure)
    monkeypatch.setattr(Runner, "_usual_h_s", lambda *_: usual_h_s)
    kept.document |= {"pending": {}, "identity": {"serial": "A"}}
    answers = iter([{}, {"serial": "A"}])
    runner = quiet(kept, outlet=Switch.parse("true"))
    runner.identify = lambda: next(answers, {"serial": "A"})
    told = {"name": "p", "kind": "power-cycle", "state": "waiting", "why": "", "records": []}
    runner._step(Step("power-cycle", "p", off=0.0, within=within), told)
    assert next(left, None) is None
    assert len(told["records"]) == 1  # of what came to nothing none is kept
    assert judged(seen(), steps=[told])["restarts"].verdict is verdict


def test_the_plan_touches_nothing(path):
    words = ["asic:192.0.2.1", "--spec", "s21 xp 270", "--plan", "--json"]
    done = CliRunner().invoke(cli, ["evaluate", *words, "--store", str(path)])
    assert done.exit_code == 0, done.stderr
    assert "--spec 's21 xp 270' is taken as Antminer S21 XP (270 TH)" in done.stderr
    assert json.loads(done.stdout)["spec"]["power_w"] > 1000
    assert "NOT_TESTED, it needs --outlet ADDRESS" in done.stderr
    assert not path.exists()
    assert not (path.parent / "evaluations").exists()
