"""Each line of an evaluation: what records must say for it to pass, and what fails it."""

import random
from dataclasses import replace

import pytest
from evidence import figures, judged, of_shares, part, seen

from hwkit.evaluate.spec import EFFICIENCY, HASHRATE, POWER
from hwkit.evaluate.verdicts import (
    Limit,
    Verdict,
    judge,
    of_many,
)
from hwkit.units import Figure


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
