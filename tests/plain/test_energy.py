"""Joules of a window: the rules, each fault that other tools fell for, and histories at random."""

import math
import random
from itertools import pairwise

import meter_runs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meter_runs import MINER, REBOOT, S, energy, polled, reading, spec, stepped

from hwkit.errors import PlanError, Unmeasurable
from hwkit.harness.assembly import Source
from hwkit.harness.energy import Energy, Grade, together
from hwkit.protocols import Accuracy, Provenance, Scope


def kinds(result):
    return [finding.kind for finding in result.findings]


def steady(watts, times, **fields):
    return [reading(t, watts=watts, **fields) for t in times]


# What is said of a plain window


def test_a_steady_load_is_watts_times_seconds():
    result = energy(steady(300.0, range(-1, 62)), spec(quantum_w=1.0), 0, 60 * S)
    assert result.joules == pytest.approx(18_000)
    assert result.source is Source.INTEGRAL
    assert result.grade is Grade.FULL
    assert result.coverage == 1
    assert (result.polling.median_s, result.polling.largest_s) == (1.0, 1.0)
    assert result.terms["meter class"] == pytest.approx(18_000 * 0.01 / math.sqrt(3))


def test_edges_between_readings_are_interpolated():
    ramp = [reading(t, watts=100.0 * t) for t in range(11)]
    result = energy(ramp, spec(), round(0.5 * S), round(9.5 * S))
    assert result.joules == pytest.approx(100 * (9.5**2 - 0.5**2) / 2)


def test_a_counter_goes_before_power_and_is_interpolated_at_the_edges():
    both = [reading(t, watts=99.0, joules=1e6 + 100.0 * t) for t in range(-1, 62)]
    result = energy(both, spec(quantum_j=0.1), round(0.25 * S), round(59.75 * S))
    assert result.source is Source.COUNTER
    assert result.joules == pytest.approx(5950)
    assert result.difference == pytest.approx(1 / 99)


def test_a_counter_whose_step_costs_more_than_power_readings_gives_way():
    # 0.1 kWh, as some rack PDUs count: 7.3 % of ten minutes; their 10 W of power are 0.09 %.
    counter = stepped(360_000.0)
    both = [reading(t, watts=3350.0, joules=counter(3350.0 * t)) for t in range(602)]
    pdu = spec(quantum_j=360_000.0, quantum_w=10.0)
    result = energy(both, pdu, 0, 600 * S)
    assert result.source is Source.INTEGRAL
    assert result.joules == pytest.approx(3350 * 600)
    assert result.terms["power step"] / result.joules == pytest.approx(10 / 3350 / math.sqrt(12))
    alone = energy([reading(r.at / S, joules=r.joules) for r in both], pdu, 0, 600 * S)
    assert alone.terms["counter step"] / (3350 * 600) == pytest.approx(0.073, abs=0.001)
    assert abs(alone.joules - 3350 * 600) < 2 * alone.u


@pytest.mark.parametrize(
    ("quantum_j", "time_s", "percent"),
    [(360_000, 3600, 1.2), (36_000, 600, 0.73), (36_000, 3600, 0.12), (3_600, 600, 0.07)],
)
def test_the_table_of_counter_steps(quantum_j, time_s, percent):
    counter = stepped(quantum_j)
    read = [reading(t, joules=counter(3350.0 * t)) for t in range(-200, time_s + 200)]
    result = energy(read, spec(quantum_j=quantum_j), 0, time_s * S)
    share = 100 * result.terms["counter step"] / (3350 * time_s)
    assert share == pytest.approx(percent, rel=0.05)


def test_a_counters_step_is_seen_where_nobody_tells_it():
    counter = stepped(3_600.0)
    read = [reading(t, joules=counter(900.0 * t)) for t in range(101)]
    result = energy(read, spec(), 0, 100 * S)
    assert result.terms["counter step"] == pytest.approx(3_600 / math.sqrt(6))


def test_a_mean_of_the_time_before_belongs_to_its_middle():
    ramp = [reading(t, watts=100.0 * (t - 2.0)) for t in range(30)]  # means of 4 s of a ramp
    right = energy(ramp, spec(averaging_s=4.0), 5 * S, 20 * S)
    assert right.joules == pytest.approx(100 * (20**2 - 5**2) / 2)
    assert energy(ramp, spec(), 5 * S, 20 * S).joules < 0.9 * right.joules


def test_what_a_reading_is_the_mean_of_has_been_seen():
    read = [reading(t, watts=100.0 + 10 * (t % 2)) for t in range(101)]
    result = energy(read, spec(), 0, 100 * S)
    assert result.terms["sampling"] == pytest.approx(math.sqrt(100 * 10**2 / 2))
    mean = energy(read, spec(averaging_s=1.0), 0, 99 * S)
    assert mean.terms["sampling"] == pytest.approx(math.sqrt(2 * 10**2 / 2)), "all but the edges"


def test_noise_between_readings_is_held():
    draw, errors, said = random.Random(8), [], []
    for _ in range(60):  # noise far quicker than readings: the truth is its mean
        read = [reading(t, watts=draw.gauss(1000, 50)) for t in range(301)]
        result = energy(read, spec(0.0), 0, 300 * S)
        errors.append(result.joules - 300_000)
        said.append(result.u)
    assert math.sqrt(sum(e * e for e in errors) / 60) == pytest.approx(max(said), rel=0.3)


def test_a_counters_edge_is_as_uncertain_as_power_varies_around_it():
    joules = [0.0, 100.0, 300.0, 400.0, 500.0]  # 200 W between readings of 100 W
    read = [reading(t, joules=j) for t, j in enumerate(joules)]
    result = energy(read, spec(0.0, quantum_j=0.0), round(1.25 * S), 4 * S)
    assert result.terms["sampling"] == pytest.approx(0.25 * 0.75 * 100 / math.sqrt(3))
    assert result.joules == pytest.approx(350)


def test_round_trips_are_uncertain_at_either_end():
    read = steady(1000.0, range(61), took_ns=S // 2)
    result = energy(read, spec(), 0, 60 * S)
    assert result.terms["alignment"] == pytest.approx(1000 * 0.5 / math.sqrt(6))
    pushed = steady(1000.0, range(61), took_ns=None)
    assert energy(pushed, spec(), 0, 60 * S).terms["alignment"] == pytest.approx(
        1000 / math.sqrt(6)
    )


# The faults


def test_silence_is_bridged_by_the_counter():
    read = polled(MINER, range(-5, 1206), skip=[(200, 500)], counter=stepped(10.0))
    result = energy(read, spec(quantum_j=10.0), 0, 1200 * S)
    assert result.joules == pytest.approx(MINER.energy(0, 1200), abs=30)
    assert result.coverage == 1
    assert "gap" not in kinds(result)
    assert result.polling.largest_s == 300


def test_silence_that_nobody_bridges_is_bounded_and_graded_down():
    read = polled(MINER, range(-5, 1206), skip=[(295, 415)])  # the whole reboot is in it
    truth = MINER.energy(0, 1200)
    result = energy(read, spec(), 0, 1200 * S)
    assert result.joules > 1.05 * truth, "nothing can see what was drawn"
    assert result.joules - 2 * result.terms["gaps"] <= truth, "so the limits must hold it"
    assert result.grade is Grade.REDUCED
    assert kinds(result) == ["gap"]
    assert result.coverage == pytest.approx(0.9)


def test_samples_lost_only_during_a_reboot_do_not_raise_the_mean():
    lost = [(REBOOT[0] + 3 * k, REBOOT[0] + 3 * k + 3) for k in range(30)]  # two of three
    result = energy(polled(MINER, range(-5, 1206), skip=lost), spec(), 0, 1200 * S)
    assert result.joules == pytest.approx(MINER.energy(0, 1200), rel=0.0005)
    assert result.grade is Grade.FULL


@pytest.mark.parametrize(("every", "within"), [(1, 0.0005), (10, 0.006)])
def test_the_reboot_is_integrated_at_each_interval(every, within):
    times = [t + 0.3 for t in range(-60, 1250, every)]
    result = energy(polled(MINER, times), spec(interval_s=float(every)), 0, 1200 * S)
    assert result.joules == pytest.approx(MINER.energy(0, 1200), rel=within)


def test_a_reading_a_minute_knows_that_it_is_coarse():
    draw = random.Random(6)
    held = 0
    for _ in range(40):
        offset = 60 * draw.random()
        times = [t + offset - 60 for t in range(0, 1300, 60)]
        result = energy(polled(MINER, times), spec(0.0, interval_s=60.0), 0, 1200 * S)
        held += abs(result.joules - MINER.energy(0, 1200)) <= 2 * result.u
        assert result.terms["sampling"] / result.joules > 0.015
    assert held >= 38


def test_a_silence_in_steady_work_moves_nothing():
    read = polled(MINER, range(-5, 1206), skip=[(1000, 1120)])
    result = energy(read, spec(), 0, 1200 * S)
    assert result.joules == pytest.approx(MINER.energy(0, 1200), rel=0.0001)
    assert kinds(result) == ["gap"]
    assert result.terms["gaps"] > 0.05 * result.joules


def test_a_meter_that_died_gives_no_headline_but_what_it_saw():
    read = polled(MINER, range(-5, 700))
    result = energy(read, spec(), 0, 1200 * S)
    assert result.grade is Grade.NONE
    assert result.coverage == pytest.approx(699 / 1200)
    assert "gap" in kinds(result)
    mostly = energy(polled(MINER, range(-5, 1100)), spec(), 0, 1200 * S)
    assert mostly.grade is Grade.REDUCED


def test_a_wrap_counts_where_the_modulus_is_known():
    # Zeus 0.16.0 read -257,142.3 J right after such a wrap, where 5,001 J were drawn.
    modulus = 262_143.328850
    read = [reading(t, joules=(260_000 + 50.01 * t) % modulus) for t in range(101)]
    rapl = spec(modulus_j=modulus, quantum_j=61e-6)
    result = energy(read, rapl, 0, 100 * S)
    assert result.joules == pytest.approx(5_001)
    assert kinds(result) == ["wrap"]
    assert result.grade is Grade.FULL
    for end in range(1, 101):
        assert energy(read, rapl, 0, end * S).joules == pytest.approx(50.01 * end, rel=1e-6)


def test_every_offset_around_a_wrap():
    modulus = 1000.0
    for offset in range(-50, 51):
        read = [reading(t, joules=(modulus + offset + 7.0 * (t - 10)) % modulus) for t in range(21)]
        result = energy(read, spec(modulus_j=modulus, quantum_j=1.0), 0, 20 * S)
        assert result.joules == pytest.approx(140), offset


def test_a_fall_without_a_modulus_is_a_reset_that_splits_the_window():
    # Zeus read +162,143.3 J after one, where next to none were drawn.
    read = [reading(t, joules=(100_000 if t < 30 else -300) + 10.0 * t) for t in range(61)]
    result = energy(read, spec(quantum_j=1.0), 0, 60 * S)
    assert "reset" in kinds(result)
    assert result.joules == pytest.approx(600, abs=1e-6)
    assert result.coverage == pytest.approx(59 / 60)
    assert result.terms["counter step"] == pytest.approx(math.sqrt(2 / 6)), "four readings"
    assert result.terms["gaps"] == pytest.approx(10 / math.sqrt(3), rel=0.1), "nobody saw 1 s"


def test_a_fall_too_deep_for_a_wrap_is_a_reset_though_the_modulus_is_known():
    modulus = 262_143.0
    read = [reading(t, joules=(100_000 if t < 30 else -300) + 10.0 * t) for t in range(61)]
    result = energy(read, spec(quantum_j=1.0, modulus_j=modulus), 0, 60 * S)
    assert "reset" in kinds(result)
    assert result.joules == pytest.approx(600, abs=1e-6)


def test_power_readings_fill_what_a_reset_hides():
    read = [
        reading(t, watts=10.0, joules=(100_000 if t < 30 else -300) + 10.0 * t) for t in range(61)
    ]
    result = energy(read, spec(quantum_j=0.01), 0, 60 * S)
    assert result.joules == pytest.approx(600)
    assert result.coverage == 1
    assert "gaps" not in result.terms


def test_a_counter_that_jumps_up_is_not_believed():
    read = [reading(t, watts=10.0, joules=(0 if t < 30 else 5e6) + 10.0 * t) for t in range(61)]
    result = energy(read, spec(quantum_j=0.01), 0, 60 * S)
    assert "jump" in kinds(result)
    assert result.joules == pytest.approx(600)


def test_a_jump_is_not_taken_for_the_step_of_a_coarse_counter():
    # One of 100,000 random histories: two rises in all, of a counter whose step nobody tells.
    read = [
        reading(t, joules=2e5 + (4e9 if t > 5 else 0) + (17_804.0 if t > 10 else 0))
        for t in range(21)
    ]
    result = energy(read, spec(), S, 19 * S, ceiling_w=14_000.0)
    assert "jump" in kinds(result)
    assert result.joules < 14_000 * 18


def test_a_counter_read_as_nought_once_does_not_count_anew():
    read = [reading(t, joules=3.6e9 + 3000.0 * t) for t in range(61)]
    read[30] = reading(30, joules=0.0)
    result = energy(read, spec(quantum_j=1.0), 0, 60 * S)
    assert kinds(result)[:2] == ["reset", "jump"]
    assert abs(result.joules - 180_000) <= 2 * result.u


def test_a_load_that_sets_in_is_no_jump_of_a_counter():
    read = [reading(t, joules=3.0 * t + 87.0 * max(t - 60, 0)) for t in range(121)]
    assert kinds(energy(read, spec(quantum_j=1e-3), 0, 120 * S)) == []


def test_power_that_is_far_too_low_is_a_contradiction_and_not_600_jumps():
    read = [reading(t, watts=3.35 + t % 2 / 100, joules=3355.0 * t) for t in range(601)]
    result = energy(read, spec(quantum_j=1.0), 0, 600 * S)
    assert kinds(result) == ["disagreement"]
    assert result.joules == pytest.approx(3355 * 600)


def test_a_silence_in_which_a_counter_may_have_wrapped_unseen_is_none_that_it_spans():
    modulus = 1000.0
    read = [reading(t, joules=(10.0 * t) % modulus) for t in (*range(50), *range(250, 300))]
    result = energy(read, spec(modulus_j=modulus, quantum_j=1.0), 0, 290 * S, ceiling_w=20.0)
    assert "gap" in kinds(result)
    assert result.grade is Grade.NONE
    assert abs(result.joules - 2900) <= 2 * result.u


def test_a_value_that_stands_still_is_told_and_kept():
    # Zeus' polling path drops repeated samples: a steady 300 W were 0.0 J of 18,000.
    result = energy(steady(300.0, range(61)), spec(), 0, 60 * S)
    assert result.joules == pytest.approx(18_000)
    assert kinds(result) == [], "whole watts may be all that it shows"
    stuck = energy([*steady(300.21, range(61))], spec(), 0, 60 * S)
    assert kinds(stuck) == ["stuck"]
    assert stuck.grade is Grade.REDUCED
    read = steady(300.0, range(61))
    read[0] = reading(0, watts=299.37)  # it shows finer ones
    assert kinds(energy(read, spec(), 0, 60 * S)) == ["stuck"]
    coarse = energy(steady(300.0, range(61)), spec(quantum_w=1.0), 0, 60 * S)
    assert kinds(coarse) == [], "a step of 1 W explains it"
    counted = [reading(t, watts=300.0, joules=300.0 * t) for t in range(61)]
    assert kinds(energy(counted, spec(quantum_j=1.0), 0, 60 * S)) == [], "and so does the counter"


def test_one_changed_sample_among_equal_ones_changes_little():
    read = steady(300.0, range(61))
    read[30] = reading(30, watts=301.0)
    assert energy(read, spec(), 0, 60 * S).joules == pytest.approx(18_001)


def test_the_edges_of_a_window_between_readings_are_not_left_out():
    # Zeus: 0.5 s to 9.5 s at 1 Hz gave 2,404 J of 2,704.
    draw = random.Random(5)
    read = [reading(t, watts=300.0 + draw.uniform(-1, 1)) for t in range(11)]
    result = energy(read, spec(), S // 2, round(9.5 * S))
    assert result.joules == pytest.approx(2_700, rel=0.002)


def test_a_counter_that_stands_still_while_power_flows_is_not_believed():
    read = [reading(t, watts=100.0 + t % 3, joules=101.0 * min(t, 300)) for t in range(601)]
    result = energy(read, spec(quantum_j=1.0), 0, 600 * S)
    assert "stuck" in kinds(result)
    assert result.joules == pytest.approx(60_600, rel=0.001)


def test_a_counter_renewed_rarely_is_not_stuck():
    read = [reading(t, watts=100.0 + t % 3, joules=101.0 * (t - t % 60)) for t in range(721)]
    result = energy(read, spec(quantum_j=1.0), 0, 600 * S)
    assert "stuck" not in kinds(result)
    assert "jump" not in kinds(result)
    assert abs(result.joules - 60_600) <= 2 * result.u
    assert result.source is Source.INTEGRAL, "its 6 kJ are a coarse step"
    alone = energy([reading(r.at / S, joules=r.joules) for r in read], spec(), 0, 600 * S)
    assert alone.terms["counter step"] == pytest.approx(6_060 / math.sqrt(6))
    assert abs(alone.joules - 60_600) <= 2 * alone.u


def test_a_counter_that_catches_up_was_not_stuck():
    # Once it says nothing for a minute, and then all at once.
    read = [reading(t, joules=100.0 * (t if not 200 <= t < 260 else 200)) for t in range(601)]
    result = energy(read, spec(quantum_j=1.0), 0, 600 * S, ceiling_w=200.0)
    assert kinds(result) == []
    assert result.joules == pytest.approx(60_000)


def test_counter_and_integral_that_contradict_each_other_are_told_and_widen_it():
    # Tasmota issue 20925: the counter 37 % high.
    read = [reading(t, watts=100.0 + t % 3, joules=1.37 * 101 * t) for t in range(601)]
    result = energy(read, spec(quantum_j=1.0), 0, 600 * S)
    assert kinds(result) == ["disagreement"]
    assert result.difference == pytest.approx(0.37, abs=0.001)
    assert result.grade is Grade.REDUCED
    assert result.joules - 2 * result.u < 60_600, "the truth may be either"
    fine = [reading(t, watts=100.0 + t % 3, joules=1.008 * 101 * t) for t in range(601)]
    assert kinds(energy(fine, spec(quantum_j=1.0), 0, 600 * S)) == [], "a class 1 meter may"


def test_a_meter_slower_than_it_says_has_no_gaps_but_is_told():
    result = energy(polled(MINER, range(-20, 1221, 5)), spec(), 0, 1200 * S)
    assert kinds(result) == ["slow"]
    assert result.coverage == 1


# Input of every kind


def test_without_readings_there_is_no_energy():
    for read in ([], [reading(5)], [reading(5, watts=10.0)], [reading(5, joules=10.0)]):
        result = energy(read, spec(), 0, 10 * S)
        assert result.joules is None
        assert result.grade is Grade.NONE
        assert result.coverage == 0


def test_readings_outside_the_window_tell_nothing_of_it():
    assert energy(steady(10.0, range(20, 30)), spec(), 0, 10 * S).joules is None


@pytest.mark.parametrize("end", [0, -1])
def test_a_window_that_is_none(end):
    with pytest.raises(Unmeasurable, match="holds no energy"):
        energy(steady(10.0, range(20)), spec(), 0, end * S)


def test_stamps_twice_or_out_of_order():
    read = [reading(t, watts=100.0) for t in range(61)]
    shuffled = [*read[:20], read[21], read[20], *read[22:], read[40]]
    result = energy(shuffled, spec(quantum_w=1.0), 0, 60 * S)
    assert result.joules == pytest.approx(6_000)
    assert set(kinds(result)) == {"order"}


def test_what_no_meter_can_mean_is_left_out_and_told():
    read = [reading(t, watts=100.0 + t % 2) for t in range(61)]
    read[30] = reading(30, watts=-100.0)
    read[31] = reading(31, watts=math.nan)
    read[40] = reading(40, watts=1e9)
    result = energy(read, spec(), 0, 60 * S, ceiling_w=200.0)
    assert kinds(result).count("absurd") == 3
    assert result.joules == pytest.approx(6_030, rel=0.001)
    ranged = spec(accuracy=Accuracy(0.01, range_w=500.0))
    assert kinds(energy(read, ranged, 0, 60 * S)).count("absurd") == 3


def test_a_clamp_that_is_turned_round_measures_nothing():
    result = energy(steady(-3350.0, range(61)), spec(), 0, 60 * S)
    assert result.joules is None
    assert kinds(result) == ["absurd"] * 11
    assert result.findings[-1].text == "and 51 more, to here"


def test_a_manual_meters_window_is_that_of_its_readings():
    typed = [reading(-7, joules=3.6e9), reading(3613, joules=3.6e9 + 12_060_000)]
    person = spec(interval_s=None, provenance=Provenance.MANUAL, quantum_j=36_000.0)
    result = energy(typed, person, 0, 3600 * S)
    assert (result.opened, result.closed) == (-7 * S, 3613 * S)
    assert result.joules == 12_060_000
    assert result.source is Source.MANUAL
    assert result.coverage == 1
    assert result.terms["counter step"] == pytest.approx(36_000 / math.sqrt(6))
    assert energy(typed[:1], person, 0, 3600 * S).joules is None
    earlier = [reading(-9000, joules=3.5e9), *typed, reading(9000, joules=3.7e9)]
    assert energy(earlier, person, 0, 3600 * S).joules == 12_060_000, "those next to it"


def test_power_read_at_the_two_ends_only_is_no_energy():
    typed = [reading(0, watts=100.0), reading(3600, watts=100.0)]
    assert energy(typed, spec(interval_s=None), 0, 3600 * S).joules is None


def test_an_unchecked_meter_has_no_class_and_says_so():
    result = energy(steady(300.0, range(61)), spec(None), 0, 60 * S)
    assert result.unchecked
    assert "meter class" not in result.terms


def test_an_accuracy_of_a_range_that_is_not_given():
    with pytest.raises(PlanError, match="range, which is not given"):
        energy(steady(300.0, range(61)), spec(accuracy=Accuracy(0.01, 0.001)), 0, 60 * S)


def test_errors_of_reading_and_range_are_independent():
    meter = spec(accuracy=Accuracy(0.001, 0.002, 1000.0))
    result = energy(steady(500.0, range(61)), meter, 0, 60 * S)
    assert result.terms["meter class"] / 30_000 == pytest.approx(
        math.hypot(0.001, 0.004) / math.sqrt(3)
    )


# Sums


def test_errors_of_one_model_add_linearly_and_of_two_in_quadrature():
    def part(model, watts):
        return energy(steady(watts, range(61)), spec(model=model, quantum_w=1.0), 0, 60 * S)

    a, b, c = part("X", 1000.0), part("X", 2000.0), part("Y", 500.0)
    u = {e: e.terms["meter class"] for e in (a, b, c)}
    pair = together([(1, a), (1, b)])
    assert pair.joules == pytest.approx(180_000)
    assert pair.terms["meter class"] == pytest.approx(u[a] + u[b])
    assert pair.terms["power step"] == pytest.approx(
        math.hypot(a.terms["power step"], b.terms["power step"])
    )
    less = together([(1, a), (1, b), (-1, c)])
    assert less.joules == pytest.approx(150_000)
    assert less.terms["meter class"] == pytest.approx(math.hypot(u[a] + u[b], u[c]))
    assert together([(1, c), (-1, a)]).joules is None, "a sum below nought is no energy"


def test_a_sum_of_unlike_things_is_refused():
    wall = energy(steady(1000.0, range(61)), spec(), 0, 60 * S)
    board = energy(steady(1000.0, range(61)), spec(scope=Scope.BOARD), 0, 60 * S)
    with pytest.raises(PlanError, match="see different things"):
        together([(1, wall), (1, board)])
    later = energy(steady(1000.0, range(61)), spec(), S, 60 * S)
    with pytest.raises(PlanError, match="different windows"):
        together([(1, wall), (1, later)])
    nothing = Energy(None, 0, 60 * S, None, (spec(),))
    assert together([(1, wall), (1, nothing)]).joules is None


# Properties

watts = st.lists(st.floats(0, 1e4), min_size=30, max_size=60)
cuts = st.lists(st.integers(0, 29 * S), min_size=3, max_size=3, unique=True).map(sorted)


@given(watts, cuts)
def test_energies_of_windows_add_up(powers, cut):
    read = [reading(t, watts=p) for t, p in enumerate(powers)]
    a, b, c = cut
    parts = [energy(read, spec(), *window).joules for window in ((a, b), (b, c), (a, c))]
    assert parts[0] + parts[1] == pytest.approx(parts[2], rel=1e-6, abs=1e-3)


@given(watts, cuts, st.floats(0.001, 1.0))
def test_energies_by_a_counter_add_up(powers, cut, quantum):
    total, read = 0.0, []
    for t, power in enumerate(powers):
        read.append(reading(t, joules=math.floor(total / quantum) * quantum))
        total += power
    a, b, c = cut
    meter = spec(quantum_j=quantum)
    parts = [energy(read, meter, *window).joules for window in ((a, b), (b, c), (a, c))]
    if kinds(energy(read, meter, 0, 29 * S)) == []:
        assert parts[0] + parts[1] == pytest.approx(parts[2], rel=1e-6, abs=1e-3)


@given(watts, st.integers(-(10**18), 10**18))
def test_only_differences_of_time_count(powers, shift):
    read = [reading(t, watts=p) for t, p in enumerate(powers)]
    moved = [reading(0, watts=p).__class__(t * S + shift, watts=p) for t, p in enumerate(powers)]
    here = energy(read, spec(), S // 3, 29 * S).joules
    there = energy(moved, spec(), S // 3 + shift, 29 * S + shift).joules
    assert there == pytest.approx(here, rel=1e-9)


@given(
    st.lists(
        st.builds(
            reading,
            st.floats(-5, 70),
            st.none() | st.floats(),
            st.none() | st.floats(),
            st.none() | st.integers(0, S),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_garbage_never_gives_a_negative_or_nameless_energy(read, wraps):
    meter = spec(modulus_j=1000.0 if wraps else None)
    result = energy(read, meter, 0, 60 * S)
    assert result.joules is None or result.joules >= 0
    assert 0 <= result.coverage <= 1 + 1e-9
    assert all(u > 0 for u in result.terms.values())
    result.to_json()


def test_random_histories_are_never_negative_doubled_or_lost():
    fails = [
        k for k in range(1_000) if meter_runs.history_fails(meter_runs.history(random.Random(k)))
    ]
    assert fails == []


@pytest.mark.soak
def test_a_hundred_thousand_random_histories():
    draw = random.Random(100_000)
    assert not any(meter_runs.history_fails(meter_runs.history(draw)) for _ in range(100_000))


def test_histories_find_a_reader_that_takes_every_fall_for_a_wrap(monkeypatch):
    def naive(read, meter, a, b, **_):
        inside = [r.joules for r in read if a <= r.at <= b]
        rises = [y - x if y >= x else y - x + (meter.modulus_j or 0) for x, y in pairwise(inside)]
        return Energy(sum(rises), a, b, Source.COUNTER, (meter,), 1.0)

    monkeypatch.setattr(meter_runs, "energy", naive)
    draw = random.Random(3)
    assert sum(meter_runs.history_fails(meter_runs.history(draw)) for _ in range(300)) > 30


def test_one_reading_in_ten_lost_costs_little():
    errors = [abs(meter_runs.integration_error(random.Random(k))) for k in range(40)]
    assert math.sqrt(sum(e * e for e in errors) / len(errors)) <= 0.0005
