"""Intervals hold what they promise: coverage by simulation, values against published tables."""

import importlib
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.harness import statistics as s

values = st.lists(st.floats(0.1, 1e9), min_size=1, max_size=60)


@given(values)
def test_the_median_lies_in_its_interval_whatever_the_values(sample):
    interval = s.median_interval(sample)
    assert interval.lo <= interval.value <= interval.hi
    assert interval.value == median(sample)


def test_median_interval_uses_the_published_ranks():
    # Hahn and Meeker / Conover table A3: n = 20 at 95 % takes the 6th and 15th values (95.9 %).
    interval = s.median_interval([float(n) for n in range(1, 21)])
    assert (interval.lo, interval.hi) == (6.0, 15.0)
    assert interval.confidence == pytest.approx(0.9586, abs=1e-4)


def test_below_six_values_the_interval_says_that_it_is_not_95_percent():
    assert s.median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).confidence == pytest.approx(0.9375)
    assert s.median_interval([1.0] * 6).confidence >= 0.95


def test_signed_rank_interval_uses_the_published_critical_value():
    # Hollander and Wolfe table A.4: n = 10, 95 %: P(T+ <= 8) = 0.024, so the 9th from each end.
    sample = [float(n) ** 2 for n in range(10)]
    walsh = sorted((a + b) / 2 for i, a in enumerate(sample) for b in sample[i:])
    interval = s.centre_interval(sample, 0.95)
    assert (interval.lo, interval.hi) == (walsh[8], walsh[-9])


@pytest.mark.parametrize("n", [12, 40, 120])
def test_centre_interval_covers_as_often_as_it_says(n):
    draw = random.Random(n)
    runs, covered = 400, 0
    for _ in range(runs):
        # Skewed and heavy-tailed, as differences on a shared machine are not: symmetric is enough.
        sample = [draw.gauss(0, 1) * (5 if draw.random() < 0.1 else 1) for _ in range(n)]
        interval = s.centre_interval(sample, 0.95)
        covered += interval.lo <= 0 <= interval.hi
    assert 0.92 <= covered / runs <= 0.98


def test_shift_interval_finds_a_planted_shift():
    draw = random.Random(1)
    a = [draw.gauss(1.03, 0.02) for _ in range(80)]
    b = [draw.gauss(1.00, 0.02) for _ in range(60)]
    interval = s.shift_interval(a, b, 0.99)
    assert 0 < interval.lo < 0.03 < interval.hi


@given(st.integers(0, 10**7))
def test_poisson_interval_holds_the_count(count):
    interval = s.poisson_interval(count)
    assert 0 <= interval.lo <= count < interval.hi


@pytest.mark.parametrize(
    ("count", "lo", "hi"), [(0, 0.0, 3.689), (10, 4.795, 18.39), (100, 81.36, 121.63)]
)
def test_poisson_interval_equals_the_exact_one(count, lo, hi):
    # Garwood (1936), the exact chi-squared limits.
    interval = s.poisson_interval(count)
    assert interval.lo == pytest.approx(lo, rel=0.01, abs=0.01)
    assert interval.hi == pytest.approx(hi, rel=0.01)


def test_poisson_z_is_rarely_large_by_chance_and_large_for_a_fault():
    assert abs(s.poisson_z(500, 500.0)) < 0.1
    assert s.poisson_z(0, 100.0) < -7
    assert s.poisson_z(1000, 500.0) > 7


def test_trend_finds_a_drift_and_none_where_there_is_none():
    draw = random.Random(7)
    at = [float(n) for n in range(100)]
    flat = [1 + draw.gauss(0, 0.01) for _ in at]
    falling = [1 - 0.001 * t + draw.gauss(0, 0.01) for t in at]
    assert abs(s.trend(at, flat)[1]) < 3
    slope, z = s.trend(at, falling)
    assert slope == pytest.approx(-0.001, rel=0.2)
    assert z < -3
    assert s.trend([1.0], [2.0]) == (0.0, 0.0)


def test_long_samples_are_averaged_and_not_squared():
    draw = random.Random(3)
    interval = s.centre_interval([draw.gauss(0, 1) for _ in range(50_000)], 0.99)
    assert interval.lo < 0 < interval.hi
    assert interval.half_width < 0.05


def test_values_that_resemble_the_ones_before_widen_the_interval():
    draw = random.Random(11)
    runs, covered, plain_covered = 300, 0, 0
    for _ in range(runs):
        sample, level = [], 0.0
        for _ in range(60):
            level = 0.6 * level + draw.gauss(0, 1)
            sample.append(level)
        interval = s.median_interval(sample)
        plain_covered += interval.lo <= 0 <= interval.hi
        interval = s.widened(interval, sample)
        covered += interval.lo <= 0 <= interval.hi
    assert plain_covered / runs < 0.85
    assert covered / runs > 0.9


def test_independent_values_are_hardly_widened():
    draw = random.Random(12)
    sample = [draw.gauss(0, 1) for _ in range(100)]
    interval = s.median_interval(sample)
    assert s.widened(interval, sample) == interval


def test_spread_is_that_of_a_normal_sample():
    draw = random.Random(5)
    sample = [draw.gauss(100, 3) for _ in range(5000)]
    assert s.spread(sample) == pytest.approx(0.03 * 1.2816, rel=0.1)
    humps = [50.0] * 40 + [100.0] * 60  # a machine that was slow for a while
    assert s.spread(humps) == pytest.approx(0.25)
    assert s.spread([4.0]) == 0
    assert s.spread([1.0, 1.0]) == 0
    assert s.spread([0.0] * 6 + [1e6] * 3) is None


@pytest.mark.needs(module="scipy.stats")
@pytest.mark.parametrize("count", [1, 3, 10, 37, 99])
def test_garwoods_interval_is_the_exact_one(count):
    stats = importlib.import_module("scipy.stats")
    interval = s.garwood_interval(count, count, 1.0)
    assert interval.lo == pytest.approx(stats.chi2.ppf(0.025, 2 * count) / 2, rel=1e-9)
    assert interval.hi == pytest.approx(stats.chi2.ppf(0.975, 2 * count + 2) / 2, rel=1e-9)
    scaled = s.garwood_interval(5.0 * count, 25.0 * count, 5.0)
    assert scaled.lo == pytest.approx(5 * interval.lo)
    assert scaled.hi == pytest.approx(5 * interval.hi)


def test_garwoods_interval_of_nothing_has_an_upper_end():
    assert s.garwood_interval(0.0, 0.0, 1.0).hi == pytest.approx(3.689, abs=1e-3)


def test_sums_of_unequal_weights_are_covered():
    draw, inside, runs = random.Random(4), 0, 2_000
    for _ in range(runs):
        weights = [8.0] * _poisson(draw, 6.0) + [1.0] * _poisson(draw, 20.0)
        interval = s.garwood_interval(sum(weights), sum(w * w for w in weights), 8.0)
        inside += interval.lo <= 68.0 <= interval.hi
    assert 0.94 <= inside / runs <= 0.995


def _poisson(draw, mean):
    count, level = 0, draw.expovariate(1.0)
    while level < mean:
        count, level = count + 1, level + draw.expovariate(1.0)
    return count


@pytest.mark.needs(module="scipy.stats")
@given(st.floats(0.01, 150.0) | st.floats(1e6, 1e30), st.floats(0.001, 0.999))
def test_gamma_quantiles_are_scipys(shape, p):
    stats = importlib.import_module("scipy.stats")
    assert s.gamma_quantile(p, shape) == pytest.approx(stats.gamma.ppf(p, shape), rel=1e-8)


@pytest.mark.needs(module="scipy.stats")
@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 29, 100])
def test_students_t_is_scipys(freedom):
    stats = importlib.import_module("scipy.stats")
    assert s.student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-8)


def test_the_slope_of_a_line_is_its_slope():
    at = [0.0, 1.0, 4.0, 5.0]
    assert s.slope(at, [3 - 2 * t for t in at]) == pytest.approx(-2)
    assert s.slope([1.0, 1.0], [0.0, 5.0]) == 0.0
