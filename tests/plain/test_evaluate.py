"""Verdicts, protocols and what is kept on disk: arithmetic and refusals, without a device."""

import json
import math
import random
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from simulated import simulated

from hwkit.cli import cli, evaluate
from hwkit.economics.catalogue import Nameplate
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
from hwkit.evaluate import run, schedule, state
from hwkit.evaluate.identity import asked, recognise
from hwkit.evaluate.lines import lines_of
from hwkit.evaluate.outside import Person, Switch, internet
from hwkit.evaluate.protocol import NAMES, Protocol, Step
from hwkit.evaluate.run import Runner, ordered
from hwkit.evaluate.seen import Seen
from hwkit.evaluate.spec import EFFICIENCY, HASHRATE, POWER, Spec
from hwkit.evaluate.verdicts import (
    AT_THE_LIMIT,
    Limit,
    Line,
    Verdict,
    counted,
    decided_by,
    judge,
    line,
    of_many,
    overall,
    zones,
)
from hwkit.harness.efficiency import SHARES, Budget
from hwkit.harness.energy import METER_CLASS
from hwkit.harness.plan import seconds
from hwkit.harness.statistics import garwood_interval
from hwkit.hashers.asic.restore import pending
from hwkit.protocols import Basis
from hwkit.units import Figure

PLATE = Nameplate("Miner (100 TH)", 100.0, 3000.0)
BLOCK = '[[step]]\nkind = "block"\n'

amounts = st.floats(0.01, 100)
widths = st.floats(0.0001, 0.5)


def about(value, wide):
    return Budget({SHARES: wide / 2}, wide, wide).figure(value, "J/TH")


def limit(value, *, most=True):
    return Limit(value, "J/TH", most=most, source="test")


@given(value=amounts, wide=widths, at=amounts, most=st.booleans())
def test_pass_and_fail_bear_the_whole_interval(value, wide, at, most):
    figure, verdict = about(value, wide), judge(about(value, wide), limit(at, most=most))
    inside = (figure.hi <= at) if most else (figure.lo >= at)
    outside = (figure.lo > at) if most else (figure.hi < at)
    expected = Verdict.PASS if inside else Verdict.FAIL if outside else Verdict.INCONCLUSIVE
    assert verdict is expected


@given(value=amounts, wide=widths, at=amounts)
def test_at_most_is_at_least_turned_round(value, wide, at):
    figure = about(value, wide)
    mirrored = Figure(-value, -figure.hi, -figure.lo, "J/TH")
    assume(at not in {figure.lo, figure.hi})
    assert judge(figure, limit(at)) is judge(mirrored, limit(-at, most=False))


@given(value=amounts, wide=st.floats(0.001, 0.3), at=amounts, narrower=st.floats(0.05, 1))
def test_a_narrower_interval_never_turns_a_verdict_round(value, wide, at, narrower):
    before, after = (
        judge(about(value, wide), limit(at)),
        judge(about(value, wide * narrower), limit(at)),
    )
    assert before in {after, Verdict.INCONCLUSIVE}


@given(value=st.floats(0.8, 1.25), wide=st.floats(0.001, 0.3), systematic=st.floats(0, 0.01))
def test_what_would_decide_it_does(value, wide, systematic):
    """After so much more time, were the value to stay, the verdict is no longer INCONCLUSIVE."""
    terms = {SHARES: wide / 2, METER_CLASS: systematic}
    whole = 2 * math.hypot(*terms.values())
    budget = Budget(terms, whole, whole)
    told = line("J/TH", budget.figure(value, "J/TH"), limit(1.0), 3600.0, budget)
    assume(told.verdict is Verdict.INCONCLUSIVE)
    margin = abs(math.log(value))
    assert told.decides
    if not told.decides.endswith("more"):
        room = margin**2 - (2 * systematic) ** 2  # what is left for chance, squared
        assert room <= 0 or wide**2 / room > 700  # of an hour: 30 days
        return
    needed_s = seconds(told.decides.removesuffix(" more")) + 60.0  # of hours it shows minutes
    later = 2 * math.hypot(wide / 2 / math.sqrt(1 + needed_s / 3600.0), systematic)
    after = Budget({}, later * 0.9999, later * 0.9999).figure(value, "J/TH")
    assert judge(after, limit(1.0)) is not Verdict.INCONCLUSIVE


def test_what_would_decide_it_is_said_as_people_say_it():
    budget = Budget({SHARES: 0.02}, 0.04, 0.04)
    assert decided_by(about(1.0, 0.04), limit(1.03), 3600.0, budget) == "49 min 52 s more"
    coarse = Budget({METER_CLASS: 0.01}, 0.02, 0.02)
    said = decided_by(about(1.0, 0.02), limit(1.01), 3600.0, coarse)
    assert said == "a meter of class 0.5 S (IEC 62053-22) or better"
    assert decided_by(about(1.0, 0.04), limit(1.0), 3600.0, budget) == AT_THE_LIMIT
    assert decided_by(about(1.0, 0.04), limit(1.0002), 3600.0, budget) == AT_THE_LIMIT


@given(count=st.integers(0, 200), of=st.integers(200, 10**6), most=st.floats(0.0001, 0.2))
def test_fractions_are_judged_by_exact_poisson_bounds(count, of, most):
    told = counted(
        "rejects", count, of, Limit(most, "", most=True, source=""), measured_s=600, what="shares"
    )
    lo = stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    hi = stats.chi2.ppf(0.975, 2 * count + 2) / 2
    assert told.figure
    assert told.figure.lo == pytest.approx(lo / of, rel=1e-6)
    assert told.figure.hi == pytest.approx(hi / of, rel=1e-6)
    assert (told.decides is None) == (told.verdict is not Verdict.INCONCLUSIVE)


def test_none_of_few_is_no_pass():
    few = counted(
        "rejects", 0, 100, Limit(0.01, "", most=True, source=""), measured_s=60, what="shares"
    )
    assert (few.verdict, few.decides) == (Verdict.INCONCLUSIVE, "2 min 41 s more")
    many = counted(
        "rejects", 0, 369, Limit(0.01, "", most=True, source=""), measured_s=60, what="shares"
    )
    assert many.verdict is Verdict.PASS


words = st.sampled_from(list(Verdict))


@given(st.lists(words, min_size=1))
def test_the_whole_is_the_worst_of_its_lines(some):
    lines = [Line(f"{n}", verdict, "") for n, verdict in enumerate(some)]
    told = overall(lines, [])
    if Verdict.FAIL in some:
        assert told is Verdict.FAIL
    elif Verdict.INCONCLUSIVE in some:
        assert told is Verdict.INCONCLUSIVE
    else:
        assert told is Verdict.PASS
    if Verdict.FAIL not in some:
        untested = [*lines, Line("J/TH", Verdict.NOT_TESTED, "no meter")]
        assert overall(untested, ["J/TH"]) is Verdict.INCONCLUSIVE


@given(at=amounts, wide=widths)
def test_readings_between_the_zones_stay_inconclusive(at, wide):
    least, most = zones(limit(at), wide)
    assert judge(about(least * 0.9999, wide), limit(at)) is Verdict.PASS
    assert judge(about(math.sqrt(least * most), wide), limit(at)) is Verdict.INCONCLUSIVE
    assert judge(about(most * 1.0001, wide), limit(at)) is Verdict.FAIL


def test_a_spec_has_a_limit_of_its_own_for_joules():
    spec = Spec.of(PLATE, 0.05)
    limits = {name: each.value for name, each in spec.limits.items()}
    assert limits == pytest.approx({HASHRATE: 97e12, POWER: 3150.0, EFFICIENCY: 31.5})
    corners = limits[POWER] / (limits[HASHRATE] / 1e12) / PLATE.efficiency_j_th
    assert corners == pytest.approx(1.0825, abs=1e-4)
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert Spec.of(PLATE, 0.05, 30.2).limits[EFFICIENCY].value == 30.2


@pytest.mark.parametrize("name", NAMES)
def test_our_protocols_are_read_and_written(name):
    protocol = Protocol.named(name)
    assert protocol.name == name
    assert Protocol.from_json(json.loads(json.dumps(protocol.to_json()))) == protocol


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[step", "not TOML"),
        ("", "no [[step]]"),
        ('[[step]]\nkind = "soak"\n', "no step is a block"),
        ('[[step]]\nkind = "spin"\n', "kind is one of block"),
        ('[[step]]\nkind = ["a"]\n', "not ['a']"),
        (BLOCK + "times = 3\n", "'times' is not known"),
        (BLOCK + 'time = "soon"\n', "'soon' is no duration"),
        (BLOCK + "time = 30\n", "30 is none"),
        (BLOCK + 'time = "0s"\n', "above 0"),
        (BLOCK + BLOCK, "two steps have one name"),
        (BLOCK + '[[step]]\nkind = "modes"\n', "values names none"),
        (BLOCK + '[[step]]\nkind = "modes"\nvalues = ["restore"]\n', "'restore'"),
        (BLOCK + '[[step]]\nkind = "sweep"\nvalues = [1]\n', "of is one of power-target"),
        (BLOCK + '[[step]]\nkind = "sweep"\nof = "fan"\nvalues = [1]\n', "not 'fan'"),
        ("[limits]\nrejects = -1\n" + BLOCK, "rejects is a number from 0 up"),
        ("[limits]\nrejcts = 1\n" + BLOCK, "'rejcts' is not known"),
        ("[reference]\ninlet_c = 30\n" + BLOCK, "inlet_c is [from, to]"),
        ("[reference]\nmode = 3\n" + BLOCK, "mode is a text"),
        ("step = 3\n", "no [[step]]"),
        ("step = [3]\n", "kind is one of"),
        ("limits = 3\n" + BLOCK, "is to be a table"),
    ],
)
def test_a_protocol_that_is_none_says_what_is_wrong(text, why):
    with pytest.raises(PlanError) as refused:
        Protocol.parse(text, "ours.toml")
    assert "ours.toml" in str(refused.value)
    assert why in str(refused.value)


def test_steps_that_need_a_person_come_last():
    steps = (Step("power-cycle", "cold"), Step("block", "block"), Step("soak", "soak"))
    assert [each.name for each in ordered(steps, {"outlet"})] == ["block", "soak", "cold"]
    assert ordered(steps, set()) == list(steps)


def test_the_schedule_names_what_cannot_be_done():
    protocol, spec = Protocol.named("accept"), Spec.of(PLATE, 0.05)
    said = schedule.lines(spec, protocol, {"cold start": "no outlet"}, None, Basis.SHARES)
    assert any("cold start: NOT_TESTED, no outlet" in each for each in said)
    [rate] = [each for each in said if each.lstrip().startswith("hashrate at least")]
    assert "INCONCLUSIVE" in rate


def figures(rate=100e12, watts=3000.0, wide=0.01):
    made = {"hashrate": (rate, "H/s"), "power": (watts, "W")}
    made["efficiency"] = (watts / rate * 1e12, "J/TH")
    return {n: Budget({}, wide, wide).figure(v, unit).to_json() for n, (v, unit) in made.items()}


def seen(kind="block", **changes):
    document = {
        "id": "r",
        "state": "complete",
        "counts": {"wall_ns": 600 * 10**9},
        "figures": figures(),
        "device": {"basis": "shares"},
        "caveats": [],
        "metered": [{}],
        "meters": [{"scope": "wall"}],
        "delivered": {
            "shares": 10_000,
            "refused": {"duplicate": 0, "low": 3},
            "gaps": {"longest_s": 1.0, "silent_s": 0.0, "due": 9.0},
            "counters": {"hardware_errors": 1},
            "work": {"hashes": 6e13},
            "dispersion": {"index": 1.0, "p": 0.5, "slices": 10, "slice_s": 60.0},
        },
    }
    return Seen(kind, document | changes, 70.0, 0, None)


def judged(*some, reference=None, steps=()):
    protocol = replace(Protocol.parse(BLOCK, "test"), reference=reference or {})
    found = lines_of(Spec.of(PLATE, 0.05), protocol, some, steps)
    return {each.name: each for each in found}


def test_a_good_miner_has_no_line_against_it():
    words = {name: each.verdict for name, each in judged(seen()).items()}
    assert words.pop("restarts") is Verdict.NOT_TESTED
    assert words.pop("claim gap") is Verdict.NOT_TESTED
    assert set(words.values()) == {Verdict.PASS}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"figures": figures(rate=90e12)}, "hashrate"),
        ({"figures": figures(watts=3300.0)}, "power"),
        ({"figures": figures(97.5e12, 3140.0, 0.001)}, "J/TH"),
        ({"delivered": seen().told | {"refused": {"duplicate": 1}}}, "duplicates"),
        ({"delivered": seen().told | {"refused": {"low": 300}}}, "rejects"),
        ({"delivered": seen().told | {"counters": {"hardware_errors": 900}}}, "hardware errors"),
        (
            {"delivered": seen().told | {"gaps": {"longest_s": 60.0, "silent_s": 60.0, "due": 99}}},
            "availability",
        ),
        ({"caveats": [{"caveat": "Dispersed", "finding": "index 3"}]}, "stability"),
    ],
)
def test_each_fault_fails_on_its_own_line(changes, name):
    assert name in {n for n, each in judged(seen(**changes)).items() if each.verdict == "FAIL"}


def of_shares(rate, time_s=600.0, work=1e10):
    """Return what differs of a run that hashed at this rate; its interval is its shares'."""
    n = round(rate * time_s / work)
    found = garwood_interval(n * work, n * work * work, work)
    lo, hi = (found.lo or 0.0) / time_s, found.hi / time_s
    told = {"shares": n, "work": {"hashes": n * work, "squares": n * work**2, "largest": work}}
    power = Budget({}, 0.01, 0.01).figure(3000.0, "W").to_json()
    made = {"power": power, "hashrate": Figure(n * work / time_s, lo, hi, "H/s").to_json()}
    if n:
        value = 3000.0 * time_s / (n * work) * 1e12
        made["efficiency"] = Figure(value, value * 0.97, value * 1.03, "J/TH").to_json()
    gaps = seen().told["gaps"] if n else None
    dispersed = seen().told["dispersion"] if n else None
    delivered = seen().told | told | {"gaps": gaps, "dispersion": dispersed}
    return {"figures": made, "counts": {"wall_ns": time_s * 1e9}, "delivered": delivered}


def part(number, rate, **changes):
    """Return a part of a soak."""
    time_s = changes.pop("time_s", 600.0)
    made = seen("soak", **of_shares(rate, time_s) | changes)
    return replace(made, step="soak", part=number)


def test_a_miner_that_dies_in_the_soak_fails():
    """Its block was good; a part without a share has no gaps, no gap of claims and no J/TH."""
    found = judged(seen(), part(1, 100e12), part(2, 0.0))
    for name in ("availability", "hashrate", "J/TH"):
        assert found[name].verdict is Verdict.FAIL, name
        assert "soak 2" in found[name].why
    assert judged(seen(), part(1, 100e12))["availability"].verdict is Verdict.PASS


def test_a_claim_against_no_delivery_fails():
    nothing = {"caveat": "NothingDelivered", "finding": "claims 100 TH/s, no share in 600 s"}
    found = judged(seen(), part(1, 0.0, caveats=[nothing]))
    assert found["claim gap"].verdict is Verdict.FAIL
    assert "claims 100 TH/s" in found["claim gap"].why


def test_a_part_too_short_for_a_share_decides_nothing():
    """97 TH/s are 9,700 shares a second here: in 0.2 ms 1.9, of which often none comes."""
    found = judged(seen(), part(1, 0.0, time_s=0.0002))
    assert found["availability"].verdict is Verdict.PASS
    assert "hashrate" not in {n for n, each in found.items() if each.verdict is Verdict.FAIL}


@pytest.mark.parametrize("fed", [True, False])
def test_a_device_that_is_lost_on_the_way_fails(fed):
    step = {"kind": "soak", "name": "soak", "state": "not-tested", "why": "it failed: gone"}
    basis = {} if fed else {"device": {"basis": "counted"}}
    found = judged(seen(**basis), steps=[step | {"lost": True}])
    assert found["availability"].verdict is Verdict.FAIL
    assert "it was lost in soak: it failed: gone" in found["availability"].why
    kept = judged(seen(**basis), steps=[step | {"lost": False}])
    assert "availability" not in kept or kept["availability"].verdict is Verdict.PASS


@pytest.mark.parametrize("slow", [1, 2, 3])
def test_a_miner_that_cheats_between_the_blocks_fails(slow):
    rates = {1: 100e12, 2: 100e12, 3: 100e12} | {slow: 60e12}
    found = judged(seen(), *(part(n, rate) for n, rate in rates.items()))
    for name in ("hashrate", "J/TH", "stability"):
        assert found[name].verdict is Verdict.FAIL, name
        assert f"soak {slow}" in found[name].why


def test_what_is_only_claimed_is_not_held_against_itself():
    claimed = {"basis": "claimed"}
    some = [part(n, rate, device=claimed) for n, rate in ((1, 95e12), (2, 103e12))]
    found = judged(*some)
    assert found["stability"].verdict is Verdict.NOT_TESTED


def test_every_block_counts_and_not_the_last_alone():
    slow = seen(figures=figures(rate=90e12))
    assert judged(slow, seen())["hashrate"].verdict is Verdict.FAIL
    assert judged(seen(), slow)["hashrate"].verdict is Verdict.FAIL


def test_a_soak_as_a_whole_fails_where_no_part_does():
    """2 % below the limit: U of 2,478 shares, as of each part, is 4 %, of all 24 parts 0.8 %."""
    parts = [part(n, 0.0, **of_shares(95e12, work=2.3e13)) for n in range(1, 25)]
    assert judged(seen(), parts[0])["hashrate"].verdict is Verdict.INCONCLUSIVE
    assert judged(seen(), *parts)["hashrate"].verdict is Verdict.FAIL


def test_after_a_power_cycle_it_may_still_tune():
    cycled = replace(seen("power-cycle", **of_shares(60e12)), step="cold start")
    found = judged(seen(), cycled)
    assert found["hashrate"].verdict is Verdict.INCONCLUSIVE
    assert "in cold start" in found["hashrate"].why
    assert found["hashrate"].decides == "more time after a power cycle"
    assert judged(seen(), replace(cycled, document=seen().document))["hashrate"].verdict == "PASS"


def test_a_part_that_passes_is_named_where_it_is_the_worst():
    found = judged(seen(), part(1, 99e12), part(2, 100e12))
    assert found["hashrate"].verdict is Verdict.PASS
    assert "worst in soak 1: 99" in found["hashrate"].why
    hot = seen(conditions={"inlet_c": 41.0})
    found = judged(hot, part(1, 99e12), reference={"inlet_c": [5, 35]})
    assert found["hashrate"].verdict is Verdict.INCONCLUSIVE
    assert "worst in soak 1: 99" in found["hashrate"].why
    assert found["hashrate"].why.endswith("inlet_c 41 is outside of 5 to 35")


def test_many_parts_of_a_good_miner_fail_no_oftener_than_one():
    """1,000 days of a miner at its limit, in 24 parts each: one in forty may fail by chance."""
    draw = random.Random(7)
    limit = Limit(97e12, "H/s", most=False, source="")
    days = 0
    for _ in range(1000):
        rates = [draw.gauss(97e12, 1e12) for _ in range(24)]
        some = [Figure(r, r - 1.96e12, r + 1.96e12, "H/s") for r in rates]
        days += any(judge(of_many(each, 24), limit) is Verdict.FAIL for each in some)
        assert of_many(some[0], 1).lo == pytest.approx(some[0].lo)
    assert 5 <= days <= 50  # 25 are due, 4 standard deviations


def test_another_firmware_is_a_line():
    found = judged(replace(seen(), firmware="1.0"), replace(part(1, 100e12), firmware="2.0"))
    assert found["firmware"].verdict is Verdict.INCONCLUSIVE
    assert "1.0 became 2.0, from soak 1 on" in found["firmware"].why
    same = judged(replace(seen(), firmware="1.0"), replace(part(1, 100e12), firmware="1.0"))
    assert "firmware" not in same


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


def test_within_both_tolerances_joules_alone_fail():
    found = judged(seen(figures=figures(97.5e12, 3140.0, 0.001)))
    assert [name for name, each in found.items() if each.verdict is Verdict.FAIL] == ["J/TH"]
    assert found["hashrate"].verdict is found["power"].verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"conditions": {"inlet_c": 41.0}}, "inlet_c 41 is outside of 5 to 35"),
        ({"surroundings": {"inlet_c": {"median": 2.0}}}, "inlet_c 2 is outside of 5 to 35"),
        ({"caveats": [{"caveat": "SettingsChanged", "finding": "mode"}]}, "set otherwise"),
    ],
)
def test_outside_of_its_conditions_a_spec_is_inconclusive(changes, why):
    found = judged(seen(**changes), reference={"inlet_c": [5, 35]})
    for name in (HASHRATE, POWER, EFFICIENCY):
        assert found[name].verdict is Verdict.INCONCLUSIVE
        assert why in found[name].why


def test_all_that_is_not_as_its_spec_means_it_is_named():
    reference = {"inlet_c": [5, 35], "mains_v": [200, 277]}
    said = judged(seen(conditions={"inlet_c": 41, "mains_v": 110}), reference=reference)[POWER].why
    assert "inlet_c 41 is outside of 5 to 35; mains_v 110 is outside of 200 to 277" in said


def test_another_boundary_is_inconclusive():
    found = judged(seen(meters=[{"scope": "device"}]))
    assert found[POWER].verdict is found[EFFICIENCY].verdict is Verdict.INCONCLUSIVE
    assert found[HASHRATE].verdict is Verdict.PASS


@pytest.mark.parametrize("caveat", ["ClaimedEnergy", "UncheckedMeter", "Implausible"])
def test_joules_that_nobody_vouches_for_decide_nothing(caveat):
    """A meter that is the nameplate itself passes by definition."""
    found = judged(seen(caveats=[{"caveat": caveat, "finding": ""}]))
    assert found[POWER].verdict is found[EFFICIENCY].verdict is Verdict.INCONCLUSIVE
    assert found[HASHRATE].verdict is Verdict.PASS


@pytest.mark.parametrize("caveat", ["DeviceFloor", "UnlikelyShares"])
def test_a_rate_of_chosen_shares_decides_nothing(caveat):
    found = judged(seen(caveats=[{"caveat": caveat, "finding": ""}]))
    assert found[HASHRATE].verdict is found[EFFICIENCY].verdict is Verdict.INCONCLUSIVE


def test_a_void_run_is_no_evidence():
    step = {"kind": "block", "name": "b", "state": "not-tested", "why": "it failed: gone"}
    found = judged(seen(state="void"), steps=[step])
    assert found[HASHRATE].verdict is Verdict.NOT_TESTED
    assert "it failed: gone" in found[HASHRATE].why


def test_what_has_not_settled_is_not_called_steady():
    found = judged(seen(caveats=[{"caveat": "NotSettled", "finding": ""}]))
    assert found["stability"].verdict is Verdict.INCONCLUSIVE


def test_hashes_that_nobody_saw_are_not_tested():
    found = judged(seen(device={"basis": "claimed"}))
    assert found[HASHRATE].verdict is found[EFFICIENCY].verdict is Verdict.NOT_TESTED
    assert found["rejects"].verdict is Verdict.NOT_TESTED


def cycle(back_s=20.0, changed=""):
    return {"back_s": back_s, "changed": changed, "why": ""}


@pytest.mark.parametrize(
    ("cycles", "verdict"),
    [
        ([cycle(), cycle(30.0)], Verdict.PASS),
        ([cycle(), cycle(None)], Verdict.FAIL),
        ([cycle(changed="mode")], Verdict.FAIL),
        ([], Verdict.NOT_TESTED),
    ],
)
def test_restarts(cycles, verdict):
    step = {"kind": "power-cycle", "name": "p", "state": "done", "why": "", "cycles": cycles}
    assert judged(seen(), steps=[step])["restarts"].verdict is verdict


def test_a_restart_that_nobody_asked_for_fails():
    assert judged(replace(seen(), reboots=1))["restarts"].verdict is Verdict.FAIL


def test_a_temperature_has_room_for_its_sensor():
    for celsius, verdict in ((89, "PASS"), (93, "INCONCLUSIVE"), (101, "FAIL")):
        assert judged(replace(seen(), temperature_c=celsius))["temperature"].verdict == verdict


@pytest.fixture
def kept(path):
    found = state.begun(str(path), {"address": "asic:192.0.2.1", "steps": [], "pending": {}})
    found.save()
    return found


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
