"""A meter held against a better one: the factor, its uncertainty, and joules put right by it."""

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meter_runs import Load, S, reading, spec

from hwkit.errors import NotPermitted, PlanError, RecordError, Unmeasurable
from hwkit.harness import corrections
from hwkit.harness.correction import Correction, compared, corrected, doubts
from hwkit.harness.corrections import Kept
from hwkit.harness.energy import energy, together
from hwkit.protocols import Accuracy, Provenance, Scope

PLUG = spec(0.03, name="plug:1", model="Plug")
GOOD = spec(0.002, name="good:1", model="Good")
BY_GOOD = Correction(1.02, 0.001, GOOD, "2026-01-31", 100.0)
STEADY = Load(((-60.0, 100.0), (4000.0, 100.0)))


def seen(meter, *, gain=1.0, watts=100.0, draw=None, time_s=600, noise=0.01):
    draw = draw or random.Random(1)
    readings = [
        reading(t + draw.random() / 10, watts * gain * (1 + draw.gauss(0, noise)))
        for t in range(-2, time_s + 3)
    ]
    return energy(readings, meter, 0, time_s * S)


def put_right(raw, correction=BY_GOOD):
    """Return it with the class relative to its joules."""
    right = corrected(raw, correction)
    assert right.joules
    return right, right.terms["meter class"] / right.joules


def test_a_planted_error_is_found_within_its_interval():
    """In 95 of 100 comparisons at least, each reading of each meter off by a percent by chance."""
    draw, within = random.Random(7), 0
    for _ in range(200):
        result = compared(
            seen(PLUG, gain=1.02, draw=draw), seen(GOOD, draw=draw), between_w=0.0
        ).factor
        within += result.lo <= 1.02 <= result.hi
    assert within >= 188  # 190 are meant; with p = 0.95 fewer come in one of 10 comparisons of 200


def test_joules_put_right_hold_the_truth():
    """A meter 2 % off and one that is off by anything its class allows; the truth is 100 W."""
    draw, within = random.Random(11), 0
    rough, better = replace(PLUG, accuracy=Accuracy(0.02)), replace(GOOD, accuracy=Accuracy(0.005))
    for _ in range(150):
        error, other = 1.02, 1 + draw.uniform(-0.005, 0.005)
        found = compared(
            seen(rough, gain=error, draw=draw, time_s=120),
            seen(better, gain=other, draw=draw, time_s=120),
            between_w=0.0,
        )
        raw = seen(rough, gain=error, draw=draw, time_s=120)
        right = corrected(raw, Correction.of(found, better, "2026-01-31"))
        assert right.joules
        assert right.u < raw.u
        within += abs(right.joules - 12000) <= 2 * right.u
    assert within >= 139  # 93 %


def test_the_classes_are_not_in_the_factor_and_what_lies_between_is():
    result = compared(seen(PLUG, noise=1e-6), seen(GOOD, noise=1e-6))
    assert "drawn between 100 %" in str(result.budget.dominant)
    assert result.budget.u == pytest.approx(0.01 / math.sqrt(3), rel=1e-3)  # 1 W of 100 W
    assert result.power_w == pytest.approx(100, rel=1e-5)


def test_a_meter_put_right_is_known_by_the_others_class():
    raw = seen(PLUG, gain=1.02)
    right, of_class = put_right(raw)
    assert right.joules == pytest.approx(raw.joules / 1.02)
    assert of_class == pytest.approx(math.hypot(0.001, 0.002 / math.sqrt(3)), rel=0.02)
    assert raw.terms["sampling"] > 0
    assert right.terms["sampling"] == pytest.approx(raw.terms["sampling"] / 1.02)
    assert corrected(raw, None) is raw
    nothing = seen(PLUG, watts=0.0)
    assert corrected(nothing, BY_GOOD) is nothing


def test_another_load_costs_what_the_class_may_wander():
    _, of_class = put_right(seen(PLUG, watts=1000.0))
    assert of_class == pytest.approx(
        math.hypot(0.001, 0.002 / math.sqrt(3), 2 * 0.03 / math.sqrt(3)), rel=0.01
    )


def test_an_unchecked_meter_is_checked_once_it_is_put_right():
    raw = seen(replace(PLUG, accuracy=None))
    assert raw.unchecked
    assert "meter class" not in raw.terms
    right, of_class = put_right(raw)
    assert not right.unchecked
    assert of_class > 0


def test_meters_put_right_by_one_reference_err_together():
    one = corrected(seen(PLUG), BY_GOOD)
    other = corrected(seen(replace(PLUG, name="other:1", model="Other")), BY_GOOD)
    both = together([(1, one), (1, other)])
    assert both.terms["meter class"] == pytest.approx(
        one.terms["meter class"] + other.terms["meter class"]
    )
    better = replace(BY_GOOD, by=replace(GOOD, model="Another"))
    apart = together([(1, one), (1, replace(other, corrections={"other:1": better}))])
    assert apart.terms["meter class"] == pytest.approx(both.terms["meter class"] / math.sqrt(2))
    assert both.corrections.keys() == {"plug:1", "other:1"}


@pytest.mark.parametrize(
    ("watts", "day", "says"),
    [
        (100.0, "2026-02-01T10:00:00+00:00", set()),
        (300.0, "2027-01-31", set()),
        (320.0, "2026-02-01", {"DistantCorrection"}),
        (30.0, "2026-02-01", {"DistantCorrection"}),
        (100.0, "2027-02-01", {"OldCorrection"}),
    ],
)
def test_what_a_reader_has_to_know(watts, day, says):
    told = doubts(corrected(seen(PLUG, watts=watts), BY_GOOD), day)
    assert {type(caveat).__name__ for caveat in told} == says
    assert doubts(seen(PLUG), day) == []


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (PLUG, replace(GOOD, accuracy=None), "unchecked"),
        (PLUG, replace(GOOD, provenance=Provenance.NAMEPLATE), "no instrument of its own"),
        (PLUG, replace(GOOD, provenance=Provenance.PSU), "no instrument of its own"),
        (GOOD, PLUG, "no better"),
        (GOOD, GOOD, "no better"),
        (PLUG, GOOD, "None"),
        (replace(PLUG, accuracy=None), PLUG, "None"),
    ],
)
def test_what_may_correct_what(a, b, says):
    result = compared(seen(replace(a, name="a")), seen(replace(b, name="b")), 0.1)
    assert says in str(result.against)


def test_meters_that_contradict_each_other():
    assert compared(seen(GOOD, gain=1.05), seen(PLUG)).contradiction
    assert not compared(seen(GOOD, gain=1.02), seen(PLUG)).contradiction
    assert not compared(seen(replace(GOOD, accuracy=None), gain=2.0), seen(PLUG)).contradiction


def test_what_cannot_be_compared():
    board = seen(replace(GOOD, scope=Scope.BOARD))
    with pytest.raises(PlanError, match="wall and board do not see the same"):
        compared(seen(PLUG), board)
    with pytest.raises(Unmeasurable, match="not see the same time"):
        compared(seen(PLUG), seen(GOOD, time_s=500))
    with pytest.raises(Unmeasurable, match="6 readings of plug:1: 10 at least"):
        compared(seen(PLUG, time_s=6), seen(GOOD, time_s=6))
    with pytest.raises(Unmeasurable, match="is the load switched on"):
        compared(seen(PLUG), seen(GOOD, gain=0.0))
    gone = energy([reading(t, 100 + t / 100) for t in range(300)], GOOD, 0, 600 * S)
    with pytest.raises(Unmeasurable, match=r"saw 49\.8 % of the time \(gap\)"):
        compared(seen(PLUG), gone)


NUMBERS = st.floats(0.01, 100)


@given(NUMBERS, NUMBERS, st.floats(0, 1), st.floats(1, 1e6))
def test_to_correct_divides_and_comes_back_from_json(factor, scale, u, power_w):
    found = Correction(factor, u, GOOD, "2026-01-31", power_w)
    assert Correction.from_json(json.loads(json.dumps(found.to_json()))) == found
    raw = seen(PLUG, watts=100 * scale, time_s=20)
    right, of_class = put_right(raw, found)
    assert right.joules * factor == pytest.approx(raw.joules)
    assert of_class >= math.hypot(u, 0.002 / math.sqrt(3)) * 0.999


@pytest.mark.parametrize(
    "change",
    [
        {"factor": 0.0},
        {"factor": -1.0},
        {"factor": math.nan},
        {"u": -0.1},
        {"power_w": 0.0},
        {"on": "yesterday"},
        {"on": None},
        {"by": None},
        {"by": {}},
        {"by": replace(BY_GOOD, by=replace(GOOD, accuracy=None)).to_json()["by"]},
    ],
    ids=str,
)
def test_a_correction_that_is_none(change):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        Correction.from_json(BY_GOOD.to_json() | change)


# --- in the user's file ---------------------------------------------------------------------

KEPT = Kept("plug:1", "Plug", "7", BY_GOOD)


def test_corrections_are_kept_replaced_and_forgotten():
    assert corrections.read() == []
    second = Kept("plug:2", None, None, BY_GOOD)
    anew = replace(KEPT, correction=replace(BY_GOOD, factor=1.03))
    other = replace(KEPT, serial="8")
    for each in (KEPT, second, anew, other):
        corrections.keep(each)
    assert corrections.read() == [second, anew, other]
    assert corrections.forget("nothing") == []
    assert corrections.forget("plug:1") == [anew, other]
    assert corrections.read() == [second]
    assert len(list(corrections._path().parent.iterdir())) == 1  # nothing half-written is left


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xff",
        b"[" * 100_000,
        b'{"version": 2, "corrections": []}',
        b'{"version": 1}',
        b'{"version": 1, "corrections": [1]}',
        b'{"version": 1, "corrections": [{"name": "plug:1", "model": null, "serial": null}]}',
        b" " * (corrections.LARGEST + 1),
    ],
    ids=range(10),
)
def test_a_broken_file_is_an_error_and_stays(text):
    path = corrections._path()
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    for use in (corrections.read, lambda: corrections.keep(KEPT), lambda: corrections.forget("x")):
        with pytest.raises(RecordError, match=r"corrections\.json: no corrections of ours"):
            use()
    assert path.read_bytes() == text


def test_a_file_whose_place_is_taken():
    path = corrections._path()
    path.mkdir(parents=True)
    with pytest.raises(NotPermitted, match="cannot be read"):
        corrections.read()
    path.rmdir()
    path.parent.rmdir()
    path.parent.write_text("")
    with pytest.raises(NotPermitted):
        corrections.keep(KEPT)
