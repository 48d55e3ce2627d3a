"""When a device counts as settled, and when a meter's readings cannot be what they say."""

import math
import random

import pytest
from meter_runs import S, reading, spec

from hwkit.errors import PlanError
from hwkit.harness.plausible import implausible
from hwkit.harness.steady import Gate, Warmth, steadiness
from hwkit.protocols import Scope


def warming(seconds, tau=300.0, rise=0.075, noise=0.0, seed=1):
    """Watts of a miner that starts cold."""
    draw = random.Random(seed)
    return [
        (t * S, 3350 * (1 - rise * math.exp(-t / tau)) * draw.gauss(1, noise))
        for t in range(seconds)
    ]


def judged(samples, seconds, **others):
    return steadiness(seconds * S, 0, power=samples[:seconds], **others)


def test_a_warm_up_has_a_least_and_a_most():
    flat = [(t * S, 100.0) for t in range(4000)]
    assert judged(flat, 599).warmth is Warmth.WARMING
    assert judged(flat, 600).warmth is Warmth.STEADY
    drifting = [(t * S, 100.0 + t / 100) for t in range(4000)]
    assert judged(drifting, 2699).warmth is Warmth.WARMING
    late = judged(drifting, 2700)
    assert late.warmth is Warmth.NOT_STEADY
    assert "power drifts +2" in late.why


def test_the_gate_opens_when_the_exponential_has_gone_where_it_must():
    # 3350 W, 7.5 %, tau 300 s: the slope over 5 min falls below 0.5 % after 13 to 14 min.
    samples = warming(3000)
    opened = next(t for t in range(600, 2700, 10) if judged(samples, t).warmth is Warmth.STEADY)
    remaining = 0.075 * math.exp(-opened / 300)
    assert 720 <= opened <= 1080
    assert remaining < 0.005


def test_noise_neither_opens_nor_shuts_the_gate():
    steady = [judged(warming(3000, noise=0.005, seed=k), 2400).warmth for k in range(50)]
    assert steady.count(Warmth.STEADY) >= 48
    early = [judged(warming(3000, tau=600.0, noise=0.005, seed=k), 620).warmth for k in range(50)]
    assert early.count(Warmth.STEADY) == 0


def test_temperature_and_fan_hold_it_shut_too():
    flat = [(t * S, 100.0) for t in range(1200)]
    hot = [(t * S, 60.0 + t / 300) for t in range(1200)]
    result = judged(flat, 1200, hottest=hot)
    assert result.warmth is Warmth.WARMING
    assert result.celsius == pytest.approx(1.0)
    assert "temperature drifts +1 °C" in result.why
    fan = [(t * S, 50.0 if t < 1000 else 60.0) for t in range(1200)]
    assert "fan" in judged(flat, 1200, fan=fan).why
    assert judged(flat, 1200, hottest=[(t * S, 60.0) for t in range(1200)]).warmth is Warmth.STEADY
    assert judged([], 1200, hottest=[(t * S, 60.0) for t in range(1200)]).warmth is Warmth.STEADY


def test_without_evidence_it_is_not_steady():
    assert judged([], 1200).warmth is Warmth.WARMING
    assert judged([], 2800).warmth is Warmth.NOT_STEADY
    few = [(t * S, 100.0) for t in range(0, 1200, 60)]
    assert "not seen often enough" in judged(few, 1200).why
    off = [(t * S, 0.0) for t in range(1200)]
    assert judged(off, 1200).warmth is Warmth.WARMING


def test_a_gate_that_cannot_open_is_refused():
    with pytest.raises(PlanError, match="trailing"):
        Gate(trailing_s=0.0)
    with pytest.raises(PlanError, match="least"):
        Gate(least_s=10.0, most_s=5.0)


def refused(read, meter=None, nameplate=3250.0, nominal=None):
    return [
        (doubt.kind, doubt.refuse)
        for doubt in implausible(read, meter or spec(), nameplate, nominal)
    ]


@pytest.mark.parametrize(("watts", "hint"), [(3.35, "kilowatts"), (3.35e6, "milliwatts")])
def test_kilowatts_taken_for_watts(watts, hint):
    (doubt,) = implausible([reading(0, watts=watts)], spec(), 3250.0)
    assert doubt.refuse
    assert hint in doubt.text


def test_what_is_plausible_is_not_doubted():
    read = [
        reading(0, watts=3350.0, volts=229.0, amperes=14.8, power_factor=0.99),
        reading(1, watts=30.0),
        reading(2, watts=3350.0, volts=231.0, amperes=14.7, power_factor=1.0),
    ]
    assert refused(read) == []
    assert refused([]) == []
    assert refused([reading(0, watts=3.0)], nameplate=None) == []


def test_more_power_than_volts_by_amperes():
    read = [reading(0, watts=3350.0, volts=230.0, amperes=1.48)]
    assert refused(read) == [("volt-amperes", True)]
    read = [reading(0, watts=3.35, volts=230.0, amperes=14.8)]
    assert refused(read, nameplate=None) == [("volt-amperes", True)]
    [doubt] = implausible(read, spec())
    assert "kilowatts taken as watts?" in doubt.text
    assert refused([reading(0, watts=3350.0, power_factor=1.2)]) == [("power factor", True)]


def test_mains_beyond_a_tenth_is_a_caveat():
    read = [reading(0, watts=3350.0, volts=195.0)]
    assert refused(read, nominal=230.0) == [("mains", False)]
    assert refused([reading(0, watts=3350.0, volts=0.0)]) == [("mains", False)]
    assert refused(read) == [], "208 V it may be"
    assert refused([reading(0, watts=3350.0, volts=150.0)]) == [("mains", False)]
    assert refused([reading(0, watts=3350.0, volts=12.0)], spec(scope=Scope.DEVICE)) == []
