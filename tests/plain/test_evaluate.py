"""Verdicts and protocols: arithmetic and refusals, without a device."""

import json
import math

import pytest
from evidence import BLOCK, PLATE
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from hwkit.errors import (
    PlanError,
)
from hwkit.evaluate import schedule
from hwkit.evaluate.protocol import NAMES, Protocol, Step
from hwkit.evaluate.run import ordered
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
    overall,
    zones,
)
from hwkit.harness.efficiency import SHARES, Budget
from hwkit.harness.energy import METER_CLASS
from hwkit.harness.plan import seconds
from hwkit.protocols import Basis
from hwkit.units import Figure

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
