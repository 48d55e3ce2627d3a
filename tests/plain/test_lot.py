"""From units to the model: intervals that cover, bounds that hold, and what is said of few."""

import json
import math
import random
from itertools import cycle
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hwkit.cli import cli
from hwkit.errors import PlanError
from hwkit.evaluate import state
from hwkit.evaluate.lot import (
    CONTENT,
    Unit,
    bad_at_most,
    next_unit,
    sample_size,
    spread,
    tolerance_factor,
)
from hwkit.evaluate.units import Named, machine_of
from hwkit.units import Figure


def coverage(lots, units, draw, *, between=0.02, own=0.005, meter=0.006, meters="A"):
    """Return how often mean, spread and tolerance interval of simulated lots hold the truth."""
    mean_held = spread_held = content_held = 0
    normal = stats.norm(1.0, between)
    for _ in range(lots):
        errors = {name: draw.uniform(-meter, meter) * math.sqrt(3) for name in meters}
        shared = errors[meters[0]]
        some = [
            Unit(draw.gauss(1.0, between) + errors[name] + draw.gauss(0, own), own, meter, name)
            for name, _ in zip(cycle(meters), range(units), strict=False)
        ]
        found = spread(some, "J/TH")
        assert found.between
        assert found.tolerance
        mean_held += found.mean.lo <= 1.0 <= found.mean.hi
        spread_held += found.between.lo <= between <= found.between.hi
        lo, hi = found.tolerance.lo - shared, found.tolerance.hi - shared
        content_held += normal.cdf(hi) - normal.cdf(lo) >= CONTENT
    return mean_held / lots, spread_held / lots, content_held / lots


@pytest.mark.parametrize(
    "lots", [300, pytest.param(10_000, marks=pytest.mark.soak)], ids=["some", "many"]
)
@pytest.mark.parametrize("units", [3, 5, 20])
def test_intervals_hold_the_truth_as_often_as_they_say(lots, units):
    mean, between, content = coverage(lots, units, random.Random(f"{lots} {units}"))
    slack = 4 * math.sqrt(0.95 * 0.05 / lots)
    assert mean >= 0.95 - slack
    assert 0.93 - slack <= between <= 0.97 + slack
    assert content >= 0.95 - slack


@pytest.mark.parametrize(
    "lots", [300, pytest.param(10_000, marks=pytest.mark.soak)], ids=["some", "many"]
)
@pytest.mark.parametrize("units", [3, 5, 20])
def test_the_next_unit_lies_where_it_is_said_to(lots, units):
    draw = random.Random(f"next {lots} {units}")
    held = narrow = 0
    for _ in range(lots):
        shared = draw.gauss(0, 0.006)
        some = [
            Unit(draw.gauss(1.0, 0.02) + shared + draw.gauss(0, 0.005), 0.005, 0.006, "one")
            for _ in range(units)
        ]
        found, following = spread(some, "J/TH"), draw.gauss(1.0, 0.02)
        said = next_unit(found)
        held += said.lo <= following <= said.hi
        narrow += found.mean.lo <= following <= found.mean.hi
    slack = 4 * math.sqrt(0.95 * 0.05 / lots)
    assert 0.95 - slack <= held / lots
    assert narrow / lots < 0.95 - slack  # the mean's interval is not the next unit's


def of_units(*j_th, model=None):
    """Units of 200 TH/s, whose J/TH and power are known to 1 %, each by a meter of its own."""

    def figure(value, unit):
        return Figure(value, 0.99 * value, 1.01 * value, unit)

    def unit(number, value):
        figures = {
            "hashrate": figure((200 + number) * 1e12, "H/s"),
            "power": figure(value * (200 + number), "W"),
            "efficiency": figure(value, "J/TH"),
        }
        seen = {name: each.to_json() for name, each in figures.items()}
        document = {
            "id": f"record {number}",
            "device": {"name": "asic:fake", "basis": "shares"},
            "metered": [seen | {"meter": "m", "scope": "board", "unchecked": False}],
            "caveats": [],
            "state": "complete",
        }
        record: Any = SimpleNamespace(id=f"record {number}", figures=figures, document=document)
        return Named(record)

    return [unit(*each)._replace(model=model) for each in enumerate(j_th)]


def test_three_units_have_a_spread_of_their_own_and_fewer_the_nameplates():
    two = machine_of(of_units(17.0, 18.0), (0.1, 0.2))
    assert two.hashrate.relative == pytest.approx(math.hypot(0.01, 0.2 / math.sqrt(3)))
    assert two.power.relative == pytest.approx(math.hypot(0.0 + 0.01, 0.4 / math.sqrt(3)))
    assert two.notes[0].startswith("these 2 units, not this model: between units ±10 % TH/s")
    assert two.notes[1:] == ("power is of the board, not of the wall",)
    alike, unlike = (
        machine_of(of_units(*some, model="A"), (0.1, 0.2))
        for some in ((17.0, 17.05, 17.1), (15.0, 17.05, 19.1))
    )
    assert alike.name == "A"
    assert alike.record == "record 0,record 1,record 2"
    assert alike.notes[0].startswith("the next one after 3 units")
    assert alike.efficiency_j_th.value == pytest.approx(17.05)
    assert alike.efficiency_j_th.relative < two.efficiency_j_th.relative
    assert unlike.efficiency_j_th.relative > 0.4  # Student's t of two degrees is 4.3
    assert "assumed" not in alike.notes[0]


@pytest.mark.parametrize(
    "lots", [300, pytest.param(10_000, marks=pytest.mark.soak)], ids=["some", "many"]
)
@pytest.mark.parametrize("meters", ["AAAAAAAAAB", "AAAAABBBBB", "AAAAAABBCD", "ABCDEFGHIJ"])
def test_intervals_hold_where_some_units_share_a_meter(lots, meters):
    """Meters that matter: their errors are larger than the spread between units."""
    some = {"between": 0.005, "own": 0.002, "meter": 0.006, "meters": meters}
    mean, between, _ = coverage(lots, 10, random.Random(f"{lots} {meters}"), **some)
    slack = 4 * math.sqrt(0.95 * 0.05 / lots)
    assert mean >= 0.95 - slack
    assert between >= 0.95 - slack


def test_an_interval_that_left_the_meter_out_would_be_found():
    """The meter's error is in every unit: a mean of many that knows nothing of it misses."""
    draw, lots = random.Random(1), 300
    held = 0
    for _ in range(lots):
        shared = draw.uniform(-0.03, 0.03)
        some = [Unit(draw.gauss(1.0, 0.01) + shared, 0.0, 0.0, "one") for _ in range(20)]
        mean = spread(some, "J/TH").mean
        held += mean.lo <= 1.0 <= mean.hi
    assert held / lots < 0.7


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_howes_factor_holds_as_much_as_the_exact_integral_says(n):
    """Of mean z and spread s, k s covers CONTENT where s is large enough (Odeh and Owen, 1980)."""
    k, freedom = tolerance_factor(n), n - 1

    def held(z):
        half = math.sqrt(stats.ncx2.ppf(CONTENT, 1, z * z))
        return stats.chi2.sf(freedom * (half / k) ** 2, freedom)

    deviation = 1 / math.sqrt(n)
    points = [deviation * (i + 0.5) / 20 for i in range(-100, 100)]
    weights = [stats.norm.pdf(z, scale=deviation) for z in points]
    confidence = sum(w * held(z) for w, z in zip(weights, points, strict=True)) / sum(weights)
    assert confidence == pytest.approx(0.95, abs=0.006)


@given(lot=st.integers(1, 200), data=st.data())
def test_the_bound_on_bad_units_is_the_hypergeometric_one(lot, data):
    sampled = data.draw(st.integers(1, lot))
    bad = data.draw(st.integers(0, sampled))
    most = round(bad_at_most(bad, sampled, lot) * lot)
    numbers = range(bad, lot - sampled + bad + 1)
    chances = {d: stats.hypergeom.cdf(bad, lot, d, sampled) for d in numbers}
    # Ties are the last bit's affair.
    assert max(d for d in numbers if chances[d] > 0.05 + 1e-9) <= most
    assert most <= max(d for d in numbers if chances[d] > 0.05 - 1e-9)


@given(sampled=st.integers(1, 300), data=st.data())
def test_of_a_large_lot_it_is_clopper_and_pearsons(sampled, data):
    bad = data.draw(st.integers(0, sampled))
    expected = 1.0 if bad == sampled else stats.beta.ppf(0.95, bad + 1, sampled - bad)
    assert bad_at_most(bad, sampled, None) == pytest.approx(expected, abs=1e-6)


def test_sample_sizes():
    assert sample_size(0.05, None) == 59
    assert sample_size(0.10, None) == 29
    for lot in (20, 100, 1000):
        n = sample_size(0.05, lot)
        assert bad_at_most(0, n, lot) <= 0.05 < bad_at_most(0, n - 1, lot)
        assert n <= 59
    with pytest.raises(PlanError):
        sample_size(0.0, 100)


@given(st.lists(st.floats(90, 110), min_size=3, max_size=30))
def test_what_measuring_added_is_in_no_spread(values):
    bare = spread([Unit(v, 0.0, 0.0) for v in values], "W")
    told = spread([Unit(v, 1.0, 0.0) for v in values], "W")
    assert told.between
    assert bare.between
    assert told.between.value <= bare.between.value
    assert told.between.value == pytest.approx(
        math.sqrt(max(bare.between.value**2 - 1.0, 0.0)), abs=1e-6
    )
    assert told.mean.value == pytest.approx(fmean(values))


def test_few_units_and_none():
    alone = spread([Unit(100.0, 1.0, 2.0, "one")], "W")
    assert alone.between is None
    assert alone.tolerance is None
    assert math.isclose(alone.mean.U, 2 * math.hypot(1.0, 2.0))
    with pytest.raises(PlanError):
        spread([], "W")
    with pytest.raises(PlanError):
        bad_at_most(3, 2, None)
    with pytest.raises(PlanError):
        bad_at_most(0, 20, 10)


def test_meters_of_their_own_are_in_the_spread_of_the_mean():
    values = (99.0, 100.0, 101.0)
    one = spread([Unit(v, 0.1, 2.0, "one") for v in values], "W")
    each = spread([Unit(v, 0.1, 2.0, f"{v}") for v in values], "W")
    assert one.shared_U == 4.0
    assert each.shared_U == 0.0
    assert one.between
    assert each.between
    assert each.between.value < one.between.value


def test_one_unit_is_no_model(path, store, measured):
    store.add(measured)

    def lot(*words):
        return CliRunner().invoke(cli, ["lot", *words, "--store", str(path)])

    done = lot(measured.id, "--picked", "seller")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("This unit, not this model")
    assert "picked by the seller" in done.stdout
    told = json.loads(lot(measured.id, "--size", "200", "--json").stdout)
    assert told["speaks_of"] == "unit"
    assert told["figures"]["hashrate"]["between"] is None
    assert told["sample_size"]["units"] < 59
    twice = lot(measured.id, measured.id)
    assert isinstance(twice.exception, PlanError)
    assert "named twice" in str(twice.exception)


def test_evaluated_units_are_of_one_model_and_bring_their_verdicts(path, store, measured, rolling):
    store.add(measured)
    store.add(rolling)

    def evaluated(record, model, verdict, **identity):
        block = {"kind": "block", "records": [record.id]}
        told = {"spec": {"model": model}, "verdict": verdict, "steps": [block]}
        told["identity"] = identity
        kept = state.begun(str(path), told)
        kept.save()
        return kept.document["id"]

    ids = [evaluated(measured, "A", "PASS"), evaluated(rolling, "A", "INCONCLUSIVE")]
    words = ["lot", *ids, "--size", "20", "--picked", "random", "--json", "--store", str(path)]
    told = json.loads(CliRunner().invoke(cli, words).stdout)
    assert (told["verdicts"], told["not_good"]) == (["PASS", "INCONCLUSIVE"], 1)
    assert told["bad_at_most"] == bad_at_most(1, 2, 20)
    words[2] = evaluated(rolling, "B", "PASS")
    refused = CliRunner().invoke(cli, words).exception
    assert isinstance(refused, PlanError)
    assert "a lot is of one model" in str(refused)
    one = evaluated(measured, "A", "PASS", mac="02:00:00:00:00:01", serial="none")
    words[1:3] = one, evaluated(rolling, "A", "FAIL", mac="020000000001", serial="none")
    refused = CliRunner().invoke(cli, words).exception
    assert isinstance(refused, PlanError)
    assert "are of one machine (mac" in str(refused)
    words[2] = evaluated(rolling, "A", "FAIL", mac="02:00:00:00:00:02", serial="none")
    assert CliRunner().invoke(cli, words).exit_code == 0


def test_a_machine_says_how_the_evaluations_of_its_units_ended():
    one, other = of_units(17.0, 18.0)
    notes = machine_of([one, other._replace(verdict="FAIL")], (0.1, 0.2)).notes
    assert "1 of 2 evaluations ended FAIL: read why before you buy" in notes
    assert not any("ended" in each for each in machine_of([one, other], (0.1, 0.2)).notes)
