"""Which of two takes less energy: on one meter, in turns, with a word at the end."""

import json
import random
from dataclasses import replace
from functools import cache

import pytest
from meter_runs import S, reading, spec

from hwkit.errors import PlanError, Unmeasurable
from hwkit.harness.efficiency import LINEARITY, REPEATS, Work, efficiency
from hwkit.harness.energy import METER_CLASS, energy
from hwkit.harness.ranking import rank
from hwkit.protocols import Scope


def measured(j_th, power=100.0, meter=None, gain=1.0, **fields):
    """J/TH of a minute, as a meter of 3 % sees it."""
    meter = meter or spec(0.03, **fields)
    readings = [reading(t, watts=power * gain) for t in range(-5, 66)]
    seen = efficiency(
        energy(readings, meter, 0, 60 * S), Work.counted(round(power * 60 * 1e12 / j_th))
    )
    assert seen is not None
    return seen


@cache
def measured_once():
    return measured(20.0)


def pairs(ratio, n=4, noise=0.0005, seed=1):
    draw, once = random.Random(seed), measured_once()

    def one(j_th):
        value = j_th * draw.gauss(1, noise)
        return replace(once, efficiency=replace(once.efficiency, value=value))

    return [(one(ratio * 20), one(20)) for _ in range(n)]


@pytest.mark.parametrize(
    ("ratio", "word"), [(1.0, "SAME"), (0.95, "BETTER"), (1.05, "WORSE"), (1.0, "AMBIGUOUS")]
)
def test_the_words(ratio, word):
    found = rank(pairs(ratio, noise=0.02 if word == "AMBIGUOUS" else 0.0005))
    assert found.word == word
    assert found.ratio.lo < ratio < found.ratio.hi
    assert METER_CLASS not in found.budget.terms
    assert "class cancels" in found.says
    json.dumps(found.to_json(), allow_nan=False)


def test_a_plug_of_three_percent_ranks_to_one_because_its_error_cancels():
    for gain in (0.97, 1.03):
        two = [(measured(19.5, gain=gain), measured(20.0, gain=gain))] * 3
        found = rank(two)
        assert found.word == "BETTER"
        assert found.ratio.value == pytest.approx(0.975, rel=1e-6)
    apart = [(measured(19.5, name="a"), measured(20.0, name="b"))] * 3
    assert rank(apart).word == "AMBIGUOUS"
    assert rank(apart).budget.terms[METER_CLASS] > 0.03
    assert (
        METER_CLASS in rank([(measured(19.5), measured(20.0))], one_instrument=False).budget.terms
    )


def test_what_is_the_same_in_every_pair_is_not_made_less_by_pairs():
    unlike = [(measured(20.0, 100.0), measured(20.0, 150.0))]
    one, many = rank(unlike), rank(unlike * 10)
    assert many.budget.terms[LINEARITY] == pytest.approx(one.budget.terms[LINEARITY])


def test_pairs_that_differ_widen_it():
    draw = random.Random(2)
    wild = [(measured(20 * draw.gauss(1, 0.05)), measured(20.0)) for _ in range(3)]
    assert rank(wild).budget.terms[REPEATS] > 0.01
    assert rank(wild).word == "AMBIGUOUS"


def test_runs_apart_are_allowed_more():
    close = [(measured(19.6), measured(20.0))]
    assert rank(close).word == "BETTER"
    assert rank(close, apart=True).word == "AMBIGUOUS"
    far = [(measured(15.0), measured(20.0))]
    assert rank(far, apart=True).word == "BETTER"
    assert rank(far, apart=True, disturbed=True).word == "AMBIGUOUS"


@pytest.mark.parametrize("n", [2, 3, 6])
def test_like_devices_are_told_apart_once_in_a_hundred_at_most(n):
    found = [rank(pairs(1.0, n, noise=0.02, seed=seed)).word for seed in range(400)]
    assert found.count("BETTER") + found.count("WORSE") <= 8  # 4 due at 1 %: 8 by chance in 20 000


def test_what_has_no_ratio():
    with pytest.raises(Unmeasurable, match="no pair"):
        rank([])
    with pytest.raises(PlanError, match="unlike"):
        rank([(measured(20.0), measured(20.0, scope=Scope.CHIP))])


# --- as a user has it ------------------------------------------------------------------------

PLATE = "nameplate:100W?tolerance=3%"


def test_two_devices_in_turns_on_one_meter_and_their_records(hwkit, path):
    done = hwkit(
        *("compare", "cpu:reference", "cpu:portable", "--meter", PLATE),
        *("--turns", "2", "--time", "2s", "--warmup", "0s", "--threads", "1", "--json"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["pairs"] == len(found["records"]) == 2
    assert found["ratio"]["value"] > 1  # watts are the same, and C is faster than Python
    assert "class cancels" in found["says"]
    for name in [name for pair in found["records"] for name in pair]:
        assert hwkit("verify", name).returncode == 0
    a, b = found["records"][0]
    shown = hwkit("compare", a, b)
    assert shown.returncode == 0, shown.stderr
    assert "one meter saw both: its class cancels" in shown.stdout
    assert shown.stdout.splitlines()[-1] in {
        "A is WORSE than B in J/TH",
        "A is AMBIGUOUS in J/TH",
    }
    assert "efficiency" in json.loads(hwkit("compare", a, b, "--json").stdout)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cpu:reference", "cpu:portable", "--precision", "1%"), "not to a precision"),
        (("last", "last"), "compares two addresses"),
    ],
)
def test_turns_that_make_no_sense(hwkit, arguments, says):
    done = hwkit("compare", *arguments, "--meter", PLATE)
    assert done.returncode == 2
    assert says in done.stderr
