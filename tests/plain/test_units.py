"""Figures: how they print, and that nothing is lost between record and figure."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkit.units import Figure, prefixed, show


def around(value, U, unit="H/s"):  # noqa: N803 - the symbol of the GUM
    return Figure(value, value - U, value + U, unit)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (around(25_613_000, 120_000), "25.61 ± 0.12 MH/s"),
        (around(25_613_000, 1_200_000), "25.6 ± 1.2 MH/s"),
        (around(999_600, 400), "999.60 ± 0.40 kH/s"),
        (around(1e12, 1e10), "1.000 ± 0.010 TH/s"),
        (around(5, 20), "5 ± 20 H/s"),
        (around(5e3, 2e6), "0.0 ± 2.0 MH/s"),  # the uncertainty is the larger
        (around(25.61, 0.0996, "J/TH"), "25.61 ± 0.10 J/TH"),  # never three digits of it
        (around(-2.5e-6, 1e-7, "J"), "-2.50 ± 0.10 µJ"),
        (around(1e-12, 0, "W"), "0.001000 ± 0.000000 nW"),  # below the least prefix
        (around(3e21, 1e20), "3000 ± 100 EH/s"),  # above the greatest
        (around(0, 0), "0.000 ± 0.000 H/s"),
        (around(25.61, 0, "J/TH"), "25.610 ± 0.000 J/TH"),
        (around(21_500, 300, "J/TH"), "21.50 ± 0.30 kJ/TH"),
        (around(0.30, 0.02, "1"), "0.300 ± 0.020 1"),
    ],
)
def test_figures_print_to_the_decimal_of_their_uncertainty(figure, text):
    assert str(figure) == text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_still_prints(value):
    assert str(Figure(value, 0, 1, "H/s")).startswith(str(value))
    assert str(Figure(1.0, value, value, "H/s"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (25_613_999, "25.61 MH/s"),
        (0, "0 H/s"),
        (-4e9, "-4 GH/s"),
        (1000, "1 kH/s"),
        (999, "999 H/s"),
        (1e-9, "1 nH/s"),
        (math.inf, "inf H/s"),
    ],
)
def test_bare_values(value, text):
    assert show(value, "H/s") == text


@given(st.floats(1e-9, 1e20))
def test_prefixes_leave_one_to_three_digits(value):
    scale, prefix = prefixed(value)
    assert value / scale * (1 + 1e-15) >= 1 and value / scale < 1000 * (1 + 1e-15)  # noqa: PT018
    assert prefix in {"n", "µ", "m", "", "k", "M", "G", "T", "P", "E"}


NUMBER = st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBER, NUMBER, NUMBER, st.sampled_from(["H/s", "J/TH", "1"]))
def test_json_round_trip(value, lo, hi, unit):
    figure = Figure(value, lo, hi, unit)
    document = json.loads(json.dumps(figure.to_json()))
    assert Figure.from_json(document) == figure
    assert set(document) == {"value", "U", "lo", "hi", "unit"}


def test_uncertainty_of_a_lopsided_interval():
    figure = Figure(10.0, 9.0, 13.0, "W")
    assert (figure.U, figure.relative) == (2.0, 0.2)
    assert Figure(-10.0, -11.0, -9.0, "W").relative == 0.1
    assert Figure(0.0, -1.0, 1.0, "W").relative == math.inf
