"""Plans: what can be asked, and what is refused in one line."""

from dataclasses import replace

import pytest

from hwkit.errors import PlanError
from hwkit.harness.plan import Plan, duration, fraction, percent, seconds
from hwkit.vectors import mainnet_headers
from hwkit.work import Target

_ANY = Target(1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90s", 90),
        ("5min", 300),
        ("1h30m", 5400),
        ("2.5 min", 150),
        ("250ms", 0.25),
        ("5d", 432000),
    ],
)
def test_durations_are_read(text, value):
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "90", "s", "1h foo", "-5s", "five", "1e9s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(PlanError, match="is no duration"):
        seconds(text)


@pytest.mark.parametrize(("text", "value"), [("1%", 0.01), ("0.5 %", 0.005), ("0.02", 0.02)])
def test_precisions_are_read(text, value):
    assert fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "%", "one", "1%%"])
def test_what_is_no_precision_is_refused(text):
    with pytest.raises(PlanError, match="is no precision"):
        fraction(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"time_s": 0},
        {"time_s": -1},
        {"time_s": float("nan")},
        {"time_s": 1e9},
        {"precision": 0},
        {"precision": -0.01},
        {"precision": float("nan")},
        {"precision": 1e-9},
        {"precision": 5.0},
        {"warmup_s": -1},
        {"turn_s": 0},
        {"challenge": ""},
        {"challenge": "x" * 81},
        {"challenge": "\ud800"},
        {"beacon": "00"},
        {"beacon": "zz" * 80},
        {"beacon": "00" * 80},
    ],
)
def test_absurd_plans_are_refused(changes):
    with pytest.raises(PlanError):
        Plan(**changes)


def test_challenge_and_beacon_reach_the_coinbase():
    header = list(mainnet_headers().values())[-1]
    plan = Plan(challenge="für den Käufer", beacon=header.hex())
    job = plan.job(1_710_000_000, _ANY)
    assert "für den Käufer".encode() in job.coinbase2
    assert header in job.coinbase2


def test_the_same_seed_makes_the_same_job_and_another_another():
    one, same, other = (Plan(seed=seed).job(5, _ANY) for seed in ("a", "a", "b"))
    assert one == same
    assert one.prev_hash != other.prev_hash


def test_version_rolling_is_other_work_on_the_same_headers():
    plain, rolling = Plan(seed="a"), Plan(seed="a", version_rolling=True)
    assert rolling.job(5, _ANY) == replace(plain.job(5, _ANY), version_rolling=True)
    assert (plain.work, rolling.work) == ("nonces only", "version rolling")
    assert "version rolling" in rolling.estimate(["cpu:a"])
    assert "version" not in plain.estimate(["cpu:a"])


def test_the_estimate_names_duration_and_precision():
    text = Plan(time_s=5, precision=0.01).estimate(["cpu:a", "cpu:b"])
    assert "5 s each" in text
    assert "±1 %" in text
    assert "at most" in text


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.5, "0.5 s"), (42, "42 s"), (60, "1 min"), (330, "5 min 30 s"), (7500, "2 h 5 min")],
)
def test_durations_are_shown_as_people_say_them(time_s, text):
    assert duration(time_s) == text


def test_percent():
    assert percent(0.005) == "0.5 %"
    assert percent(0.01) == "1 %"
