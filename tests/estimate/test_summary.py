import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.estimate.results import Reason
from app.estimate.summary import summarise

VALUES = st.lists(st.integers(-9, 9) | st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=30)


def type_7(values, fraction):
    """Hyndman and Fan's type 7 on exact fractions."""
    ordered = sorted(map(Fraction, values))
    position = (len(ordered) - 1) * fraction
    below = math.floor(position)
    above = math.ceil(position)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


@given(VALUES)
def test_a_summary_is_that_of_exact_fractions(values):
    result = summarise(values)
    exact = list(map(Fraction, values))
    mean = sum(exact) / len(exact)
    scale = max(map(abs, values))
    assert result.n == len(values)
    assert result.mean == pytest.approx(float(mean), rel=1e-15, abs=1e-16 * scale)
    quartiles = [float(type_7(values, Fraction(each, 4))) for each in (1, 2, 3)]
    assert [result.q1, result.median, result.q3] == pytest.approx(quartiles, rel=1e-15, abs=1e-15 * scale)
    if len(values) > 1:
        variance = sum((each - mean) ** 2 for each in exact) / (len(exact) - 1)
        assert result.sd == pytest.approx(math.sqrt(variance), rel=1e-12, abs=1e-15 * scale)


def test_quartiles_are_those_of_r():
    """R: quantile(c(1, 2, 3, 4, 10), c(.25, .75)) is 2, 4; quantile(1:4, ...) is 1.75, 3.25."""
    assert (summarise([10, 2, 3, 4, 1]).q1, summarise([10, 2, 3, 4, 1]).q3) == (2, 4)
    assert (summarise([1, 2, 3, 4]).q1, summarise([1, 2, 3, 4]).q3) == (1.75, 3.25)


def test_no_values_have_no_summary():
    result = summarise([])
    assert (result.n, result.reason) == (0, Reason.NO_PATIENTS)
    assert {result.mean, result.sd, result.median, result.q1, result.q3} == {None}


def test_one_value_has_everything_but_a_spread():
    result = summarise([4])
    assert (result.mean, result.median, result.q1, result.q3) == (4, 4, 4, 4)
    assert (result.sd, result.reason) == (None, Reason.TOO_FEW_VALUES)


@given(VALUES.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
def test_the_order_of_the_patients_does_not_change_a_digit(orders):
    one, other = orders
    assert summarise(one) == summarise(other)


def test_a_sum_that_floats_would_lose_is_kept():
    assert summarise([1e15, 0.9, -1e15]).mean == pytest.approx(0.3, rel=1e-15)


def test_values_whose_squares_no_float_can_hold_have_no_summary():
    """5 g in a patient of 1e-101 kg is 5e101 g/kg."""
    found = summarise([1.0, 5e101])

    assert (found.n, found.mean, found.sd, found.reason) == (2, None, None, "out_of_range")
    assert summarise([1.0, 1e100]).mean == 5e99


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        summarise([1.0, math.nan])


def test_what_rounding_leaves_of_values_that_cancel_is_no_mean():
    assert summarise([0.1, 0.2, -0.3]).mean == 0.0


@pytest.mark.parametrize("value", [42.7, 42.8, 0.1])
def test_equal_values_have_no_spread(value):
    assert summarise([value] * 3).sd == 0.0
