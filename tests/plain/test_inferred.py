"""What shares tell of a miner, and what is odd about them: real hashes, in a time of our own.

Beside each oddity stands the same miner without it.
"""

import math
import random
from dataclasses import replace

import pytest
from hashing_miner import START, WORK, Timeline, found_shares, of_work, told
from meter_runs import poisson

from hwkit.harness import chance
from hwkit.harness import miner_caveats as caveats
from hwkit.harness.caveats import NotSteady
from hwkit.harness.comparison import compare, in_blocks
from hwkit.harness.delivered import Delivered
from hwkit.harness.inferred import infer
from hwkit.harness.plan import Plan
from hwkit.harness.statistics import chi_squared_below, garwood_interval
from hwkit.protocols import Assigned, Basis, Submission, Verdict
from hwkit.report.delivered import delivered_rows
from hwkit.work import Target


@pytest.fixture(scope="module")
def timeline():
    job = Plan(seed="a miner").job(1_800_000_000, Target(1), basis=Basis.SHARES)
    return Timeline(job, found_shares(job))


def names(inferred):
    return {type(caveat).__name__ for caveat in inferred.caveats}


def one(inferred, kind):
    (found,) = [caveat for caveat in inferred.caveats if isinstance(caveat, kind)]
    return found


def covers(figure, value):
    return figure.lo <= value <= figure.hi


def test_an_honest_miner_has_its_rate_and_nothing_odd(timeline):
    inferred = timeline.infer()
    assert covers(inferred.figures["hashrate"], timeline.rate_h_s)
    assert inferred.figures["hashrate"].relative == pytest.approx(1.96 / math.sqrt(3125), rel=0.05)
    assert names(inferred) == set()
    assert inferred.told["dispersion"]["index"] == pytest.approx(1, abs=1)
    assert inferred.told["dispersion"]["slices"] == 10
    lines = dict(delivered_rows({"delivered": inferred.told, "figures": {}}))
    assert "1 by chance" in lines["dispersion"]
    assert "KS" in lines["hashes"]


def test_each_share_counts_at_the_difficulty_of_its_job(timeline):
    mixed = replace(timeline, works=(WORK, 8 * WORK)).infer()
    rate = mixed.figures["hashrate"]
    assert covers(rate, timeline.rate_h_s)
    few, many = mixed.told["difficulties"]
    assert few["shares"] == pytest.approx(8 * many["shares"], rel=0.2)
    assert not covers(rate, WORK * mixed.told["shares"] / timeline.time_s)
    # (sum d)^2 / sum d^2: half of the work says an eighth as much as it would.
    effective = mixed.told["work"]["effective_shares"]
    assert effective == pytest.approx(1562 * 4 / 9, rel=0.1)
    assert rate.relative == pytest.approx(1.96 / math.sqrt(effective), rel=0.05)
    assert names(mixed) == set()


def test_the_interval_covers_as_often_as_it_says():
    draw = random.Random(5)
    runs, hit, as_one = 400, 0, 0
    for _ in range(runs):
        few, many = poisson(draw, 40.0), poisson(draw, 15.0)
        total, squares = few + 4.0 * many, few + 16.0 * many
        interval = garwood_interval(total, squares, 4.0)
        hit += interval.lo <= 100 <= interval.hi
        plain = garwood_interval(few + many, few + many, 1.0)
        as_one += plain.lo * total / (few + many) <= 100 <= plain.hi * total / (few + many)
    assert 0.94 <= hit / runs <= 0.99
    assert as_one / runs < 0.92  # as if all were of one difficulty


def test_warm_up_is_left_out(timeline):
    delivered, windows = timeline.rows()
    late = Delivered(timeline.job)
    late.targets |= delivered.targets
    for event in told("total_hashes", *range(0, 104_000, 1000), first=-3.0):
        late.hear(event)
    for window in windows[50:]:
        late.close(window, ())
    assert late.rises["total_hashes"].total == 50_000  # from the last look before it
    assert infer(windows[50:], late, Basis.SHARES).told["shares"] == 0


def test_a_stall(timeline):
    inferred = replace(timeline, keep=lambda at, _: not 40 < at < 50).infer()
    assert one(inferred, caveats.Flatline).longest_s == pytest.approx(10, abs=0.2)
    assert inferred.told["gaps"]["silent_s"] == pytest.approx(10, abs=0.2)
    assert one(inferred, caveats.Dispersed).index > 10


def test_a_pause_is_not_called_a_restart():
    pause = caveats.Flatline(longest_s=0.0963, due=18.7, silent_s=0.0)
    assert "in all" not in pause.finding
    assert "reboot" not in pause.advice
    stall = caveats.Flatline(longest_s=10.0, due=100.0, silent_s=25.0)
    assert "silent for 25 s in all" in stall.finding
    assert "reboot" in stall.advice


def test_shares_of_a_job_sent_before_the_window_are_of_a_job(timeline):
    told = timeline.infer().told
    assert told["jobs_of_shares"] >= 1
    lines = dict(delivered_rows({"delivered": told | {"jobs": 0}, "figures": {}}))
    assert "of 0 jobs" not in lines["delivered"]


def test_a_stall_that_never_ends(timeline):
    inferred = replace(timeline, keep=lambda at, _: at < 90).infer()
    assert one(inferred, caveats.Flatline).longest_s == pytest.approx(10, abs=0.2)


def test_a_throttle(timeline):
    draw = random.Random(1)
    inferred = replace(timeline, keep=lambda at, _: at < 60 or draw.random() < 0.7).infer()
    assert one(inferred, caveats.Dispersed).index > 3
    assert one(inferred, NotSteady).drift < -0.1


def test_shares_by_the_clock(timeline):
    between_s, ticks = timeline.time_s / timeline.infer().told["shares"], iter(range(10**6))
    inferred = replace(timeline, move=lambda _: next(ticks) * between_s).infer()
    assert one(inferred, caveats.Dispersed).index < 0.5


def test_shares_in_batches(timeline):
    inferred = replace(timeline, move=lambda at: math.ceil(at * 2) / 2).infer()
    assert one(inferred, caveats.Batched).share > 0.9
    assert covers(inferred.figures["hashrate"], timeline.rate_h_s)


def test_a_device_that_filters(timeline):
    inferred = replace(timeline, keep=lambda _, found: found.fraction < 1 / 8).infer()
    floor = one(inferred, caveats.DeviceFloor)
    assert floor.effective / floor.assigned == pytest.approx(8, rel=0.02)
    assert "8" in floor.finding
    assert not covers(inferred.figures["hashrate"], timeline.rate_h_s)
    assert "UnlikelyShares" not in names(inferred)


def test_a_filter_that_was_not_needed_is_none(timeline):
    # The floor lies below what was assigned.
    mixed = replace(
        timeline, works=(16 * WORK, 16 * WORK), keep=lambda _, found: found.fraction < 1 / 8
    ).infer()
    assert names(mixed) == set()


def test_somebody_chose(timeline):
    inferred = replace(timeline, keep=lambda _, found: not 0.3 < found.fraction < 0.5).infer()
    assert one(inferred, caveats.UnlikelyShares).ks == pytest.approx(0.125, abs=0.02)


@pytest.mark.parametrize(
    ("verdict", "kind", "harmless", "many"),
    [
        (Verdict.DUPLICATE, caveats.Duplicates, 0, 1),
        (Verdict.WRONG, caveats.WrongShares, 0, 1),
        (Verdict.STALE, caveats.StaleShares, 20, 40),
        (Verdict.LOW, caveats.LowShares, 20, 40),
    ],
)
def test_what_was_refused_is_counted_apart(timeline, verdict, kind, harmless, many):
    def refused(count):
        events = (Submission(START + n + 1, 1, None, verdict) for n in range(count))
        early = Submission(START - 1, 1, None, verdict)  # of the warm-up
        return replace(timeline, events=(early, *events)).infer()

    assert refused(many).told["refused"][verdict] == many
    assert one(refused(many), kind).count == many
    assert refused(harmless).told["refused"][verdict] == harmless
    assert names(refused(harmless)) == set()


def counts(timeline, times, **changes):
    """A counter of hashes that is read each second and rises by so many times the rate."""
    each = timeline.rate_h_s * times
    return told("total_hashes", *(each * n for n in range(round(timeline.time_s) + 3)), **changes)


def test_a_liar_is_caught(timeline):
    inferred = replace(timeline, events=counts(timeline, 1.3)).infer()
    gap = inferred.figures["claim_gap"]
    assert covers(gap, 0.30)
    assert gap.U < 0.06
    assert one(inferred, caveats.ClaimGap).gap == gap.value
    assert inferred.told["claimed"]["by"] == "total_hashes"


def test_who_does_not_lie_is_not(timeline):
    inferred = replace(timeline, events=counts(timeline, 1.0)).infer()
    assert covers(inferred.figures["claim_gap"], 0.0)
    assert names(inferred) == set()


def test_a_rate_named_counts_where_no_counter_is(timeline):
    words = ("summary /SUMMARY/0/MHS 5s", "5s")
    named = told("claimed_hashrate_h_s", *[1.3 * timeline.rate_h_s] * 100, words=words)
    inferred = replace(timeline, events=named).infer()
    assert covers(inferred.figures["claim_gap"], 0.30)
    both = replace(timeline, events=(*named, *counts(timeline, 1.0))).infer()
    assert covers(both.figures["claim_gap"], 0.0)
    assert one(both, caveats.ClaimGap).by == words[0]


def test_a_lie_beside_an_honest_counter_is_named(timeline):
    source = "summary /SUMMARY/0/MHS 5s"
    name, rate = f"claimed_hashrate_h_s {source}", timeline.rate_h_s
    honest = counts(timeline, 1.0)
    said = (*honest, *told(name, *[4 * rate] * 100, words=(source, "5s")))
    inferred = replace(timeline, events=said).infer()
    assert covers(inferred.figures["claim_gap"], 0.0)
    gap = one(inferred, caveats.ClaimGap)
    assert gap.gap == pytest.approx(3.0, rel=0.1)
    assert source in gap.finding
    lines = dict(delivered_rows({"delivered": inferred.told, "figures": {}}))
    assert "MHS 5s" in lines["it claims"]
    assert "total_hashes" in lines["it claims"]
    silent = replace(timeline, events=said, keep=lambda *_: False).infer()
    assert one(silent, caveats.NothingDelivered).claimed_h_s == pytest.approx(4 * rate)


@pytest.mark.parametrize(
    ("label", "claimed"),
    [
        ("5s", [1.0]),
        ("5s", [0.5]),  # who claims less flatters nobody
        ("5s", [0.7, 1.4]),  # that is how a mean over some seconds looks
        ("24h", [1.3]),  # of another time
        ("864000 s", [1.3]),
    ],
)
def test_an_honest_rate_beside_the_counter_is_no_gap(timeline, label, claimed):
    source = f"summary /SUMMARY/0/MHS {label}"
    values = [each * timeline.rate_h_s for each in claimed * (100 // len(claimed))]
    said = told(f"claimed_hashrate_h_s {source}", *values, words=(source, label))
    assert names(replace(timeline, events=(*counts(timeline, 1.0), *said)).infer()) == set()


def test_a_miner_that_invents_names_costs_no_memory(timeline):
    delivered = Delivered(timeline.job)
    for n in range(1000):
        (probe,) = told(f"claimed_hashrate_h_s {n}", 1.0)
        delivered.hear(probe)
    delivered.settle(2 * START)
    assert len(delivered.means) <= 64


def test_a_counter_that_seldom_moves_is_less_believed(timeline):
    each = 20 * timeline.rate_h_s
    rare = told("total_hashes", *(each * (n // 20) for n in range(103)))
    gap = replace(timeline, events=rare).infer().figures["claim_gap"]
    exact = replace(timeline, events=counts(timeline, 1.0)).infer().figures["claim_gap"]
    assert gap.U > 4 * exact.U
    assert covers(gap, 0.0)


def test_a_counter_that_begins_anew_loses_only_that_moment(timeline):
    each = timeline.rate_h_s
    anew = told("total_hashes", *(each * (n % 50) for n in range(103)))
    gap = replace(timeline, events=anew).infer().figures["claim_gap"]
    assert covers(gap, 0.0)


def test_what_it_diverts_and_draws_by_its_own_word(timeline):
    fee = told("devfee_fraction", *[0.02] * 100)
    power = told("claimed_power_w", *[5.0] * 100, words=("psu",))
    inferred = replace(timeline, events=(*counts(timeline, 1.02), *fee, *power)).infer()
    assert one(inferred, caveats.DevFee).fraction == pytest.approx(0.02)
    gap, without = inferred.figures["claim_gap"], inferred.told["gap_without_devfee"]
    assert (1 + without["value"]) / (1 + gap.value) == pytest.approx(0.98)
    claimed = inferred.told["claimed"]
    assert claimed["power_said_by"] == "psu"
    assert claimed["efficiency_j_th"] == pytest.approx(5e12 / (1.02 * timeline.rate_h_s))


def test_its_own_counters_stand_beside(timeline):
    errors = told("hardware_errors", *range(100, 203))
    inferred = replace(timeline, events=errors).infer()
    assert inferred.told["counters"] == {"hardware_errors": 100.0}


def test_settings_that_change_are_said_and_others_are_not(timeline):
    same = told("mode", None, None, None, first=-5.0, every=20.0, words=("eco",))
    assert names(replace(timeline, events=same).infer()) == set()
    later = told("mode", None, first=50.0, words=("turbo",))
    inferred = replace(timeline, events=(*same, *later)).infer()
    assert one(inferred, caveats.SettingsChanged).names == "mode"


def nothing(timeline, *events):
    return replace(timeline, keep=lambda *_: False, events=events).infer()


def test_no_share_with_a_claim_is_a_failure(timeline):
    inferred = nothing(timeline, *counts(timeline, 1.0))
    found = one(inferred, caveats.NothingDelivered)
    assert found.claimed_h_s == pytest.approx(timeline.rate_h_s)
    assert "FAIL" in found.advice
    assert "claim_gap" not in inferred.figures


def test_a_counter_that_stands_still_takes_no_claim_back(timeline):
    still = told("total_hashes", *[5e9] * 103)
    assert names(nothing(timeline, *still)) == {"NoShares"}
    named = told("claimed_hashrate_h_s", *[1e6] * 100)
    found = one(nothing(timeline, *still, *named), caveats.NothingDelivered)
    assert found.claimed_h_s == 1e6


def test_a_share_of_a_job_from_before_the_last_one_keeps_its_weight(timeline):
    _, windows = timeline.rows()
    delivered = Delivered(timeline.job)
    for serial, work in ((1, 4 * WORK), (2, WORK)):
        sent = START - 10 + serial
        delivered.hear(Assigned(serial, of_work(work), sent, clean=False, connection=1))
    share = next(found.share for found in timeline.found[0] if found.fraction < 1 / 4)
    delivered.close(windows[0], [(START + 1, share)])
    assert delivered.largest == pytest.approx(4 * WORK)


def test_no_share_without_a_claim_is_a_bound(timeline):
    inferred = nothing(timeline)
    rate = inferred.figures["hashrate"]
    assert (rate.value, rate.lo) == (0.0, 0.0)
    assert rate.hi == pytest.approx(2.9957 * WORK / timeline.time_s, rel=1e-3)
    assert str(rate) == "at most 1.917 H/s"
    assert names(inferred) == {"NoShares"}


def test_no_share_where_none_was_due_is_no_failure(timeline):
    claim = counts(timeline, 0.9 * 2.99 * WORK / timeline.time_s / timeline.rate_h_s)
    assert names(nothing(timeline, *claim)) == {"NoShares"}


def test_what_is_only_claimed_has_no_interval(timeline):
    delivered, windows = timeline.rows()
    inferred = infer(windows, delivered, Basis.CLAIMED)
    rate = inferred.figures["hashrate"]
    assert rate.lo == rate.value == rate.hi
    assert names(inferred) == {"ClaimedHashes"}


def test_miners_are_compared_by_blocks_of_shares(timeline):
    _, slow = timeline.rows()
    _, fast = replace(timeline, time_s=80.0).rows()
    _, again = replace(timeline, works=(2 * WORK, WORK)).rows()
    a, b, c = (in_blocks(windows, Basis.SHARES) for windows in (slow, fast, again))
    assert min(window.shares for window in a[:-1]) > 50
    assert compare(b, a, paired=False).word == "FASTER"
    assert compare(c, a, paired=False).word == "AMBIGUOUS"
    assert in_blocks(slow, Basis.COUNTED) == slow
    assert len(in_blocks(slow, Basis.CLAIMED)) == 20


@pytest.mark.needs(module="scipy")
def test_probabilities_are_those_of_scipy():
    from scipy import stats  # noqa: PLC0415

    for freedom, x in ((9, 3.0), (9, 40.0), (60, 61.0), (1439, 1600.0), (1439, 1e5)):
        expected = stats.chi2.cdf(x, freedom)
        assert chi_squared_below(x, freedom) == pytest.approx(expected, abs=1e-9)
    for distance, n in ((0.1, 50), (0.05, 400), (0.02, 4000), (0.004, 40_000)):
        expected = stats.kstwo.sf(distance, n)
        assert chance.kolmogorov(distance, n) == pytest.approx(expected, rel=0.03, abs=1e-4)
    draw = random.Random(3)
    values = [draw.random() ** 1.1 for _ in range(2000)]
    histogram = [0] * chance.BINS
    for value in values:
        histogram[int(value * chance.BINS)] += 1
    expected = stats.kstest(values, "uniform").statistic
    seen = chance.spread_of(histogram)
    assert seen is not None
    assert seen.ks == pytest.approx(expected, abs=1 / chance.BINS)


def test_gaps_fall_between_the_edges_of_their_bin():
    draw = random.Random(2)
    for _ in range(500):
        gap = 10 ** draw.uniform(-9, 12)
        place = chance.gap_bin(gap)
        assert chance.bin_edge(place - 1) <= gap < chance.bin_edge(place)
    assert chance.bin_edge(chance.gap_bin(0.0)) == 0.0
