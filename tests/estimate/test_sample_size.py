"""Precision and sample size against statsmodels, trying every size, and figures of R."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2, norm, t
from statsmodels.stats.power import TTestPower

from app.estimate import sample_size
from app.estimate.rates.proportion import proportion
from app.estimate.sample_size import (
    detectable_change,
    events_for_median,
    median_precision,
    proportion_precision,
    size_for_change,
    size_for_half_width,
    size_for_signed_rank,
)


@given(st.integers(1, 60), st.floats(0, 1).filter(lambda rate: rate == 0 or rate > 1e-300))
def test_the_expected_interval_averages_the_interval_of_every_outcome(n, rate):
    found = proportion_precision(n, rate)
    weights = [float(binom.pmf(k, n, rate)) for k in range(n + 1)]
    limits = [proportion(k, n, methods=["clopper-pearson"]).intervals[0] for k in range(n + 1)]
    expected = [
        math.fsum(w * getattr(each, side) for w, each in zip(weights, limits, strict=True)) for side in ("low", "high")
    ]
    assert [found.expected_low, found.expected_high] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.4375, 0.8, 1.0])
@pytest.mark.parametrize("half_width", [0.05, 0.1, 0.2, 0.35])
def test_the_size_for_a_width_is_the_first_that_is_enough(rate, half_width):
    n = size_for_half_width(half_width, rate).n
    enough = [proportion_precision(each, rate).expected_half_width <= half_width for each in range(1, n + 40)]
    assert enough.index(True) + 1 == n
    assert all(enough[n - 1 :])


def test_with_nobody_responding_the_half_width_is_half_the_upper_limit():
    """0 of 15: Clopper-Pearson 0 to 21.80 %."""
    assert round(proportion_precision(15, 0.0).expected_half_width, 4) == 0.1090


@pytest.mark.parametrize(
    ("n", "effect", "alpha", "power"), [(15, 0.8, 0.05, 0.8), (8, 1.2, 0.05, 0.9), (60, 0.4, 0.01, 0.8)]
)
def test_size_and_difference_are_those_of_statsmodels(n, effect, alpha, power):
    theirs = TTestPower()
    found = detectable_change(n, 2.0, alpha=alpha, power=power).difference
    assert found / 2 == pytest.approx(theirs.solve_power(None, n, alpha, power), rel=1e-6)
    size = theirs.solve_power(effect, None, alpha, power)
    assert size_for_change(effect * 3, 3.0, alpha=alpha, power=power).n == math.ceil(float(size))


@cache
def deviations_of_two():
    """The deviations that two differences may have, each as likely as another."""
    shares = (np.arange(200_000) + 0.5) / 200_000
    return np.sqrt(chi2.ppf(shares, 1))


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1e-6, 1e-5])
@pytest.mark.parametrize("power", [0.51, 0.8, 0.9999])
def test_power_is_what_is_asked_for_where_scipy_has_no_noncentral_t(alpha, power):
    """The power is averaged over the deviations that two differences may have: their square is chi-squared."""
    difference = detectable_change(2, 1.0, alpha=alpha, power=power).difference
    found = norm.cdf(difference * math.sqrt(2) - t.isf(alpha / 2, 1) * deviations_of_two()).mean()
    assert found == pytest.approx(power, abs=1e-4)
    assert size_for_change(difference * (1 + 1e-9), 1.0, alpha=alpha, power=power).n == 2
    assert size_for_change(difference * 0.999, 1.0, alpha=alpha, power=power).n == 3


def test_a_paired_size_of_r():
    """R 4.2.2: power.t.test(delta = 1, sd = 1, power = 0.9, type = "paired") answers n = 12.58547."""
    assert size_for_change(1.0, 1.0, power=0.9).n == 13
    assert size_for_change(-1.0, 1.0, power=0.9).n == 13


def test_what_is_detectable_needs_no_more_patients_than_it_was_asked_for():
    for n in (2, 3, 6, 15, 200):
        difference = detectable_change(n, 1.0).difference
        assert size_for_change(difference * (1 + 1e-9), 1.0).n == n


def test_the_signed_rank_test_needs_a_few_more_and_never_fewer_than_six():
    assert size_for_signed_rank(1.0, 1.0, power=0.9).n == 14  # 13 / 0.955
    assert size_for_change(100.0, 1.0).n == 2
    assert size_for_signed_rank(100.0, 1.0).n == 6


def test_no_difference_needs_no_end_of_patients():
    assert (size_for_change(0, 1).n, size_for_change(0, 1).reason) == (None, "all_differences_zero")
    assert (size_for_change(1e-6, 1).n, size_for_change(1e-6, 1).reason) == (None, "too_large")
    assert (size_for_signed_rank(0, 1).n, size_for_half_width(1e-5, 0.5).reason) == (None, "too_large")
    assert (detectable_change(1, 1).difference, detectable_change(1, 1).reason) == (None, "too_few_values")


@pytest.mark.parametrize("events", [1, 8, 20, 100])
def test_the_interval_of_an_exponential_median_is_that_of_chi_squared(events):
    found = median_precision(events)
    assert found.low_factor == pytest.approx(2 * events / chi2.ppf(0.975, 2 * events), rel=1e-12)
    assert found.high_factor == pytest.approx(2 * events / chi2.ppf(0.025, 2 * events), rel=1e-12)


@pytest.mark.parametrize("ratio", [1.5, 2, 4, 10])
def test_the_events_for_a_median_are_the_first_that_are_enough(ratio):
    events = events_for_median(ratio).n
    enough = [median_precision(each).ratio <= ratio for each in range(1, events + 20)]
    assert enough.index(True) + 1 == events
    assert all(enough[events - 1 :])


@pytest.mark.parametrize(
    ("plan", "arguments", "named"),
    [
        (proportion_precision, (0, 0.5), {}),
        (proportion_precision, (sample_size.LARGEST_PLAN + 1, 0.5), {}),
        (proportion_precision, (5, 1.5), {}),
        (size_for_half_width, (1, 0.5), {}),
        (detectable_change, (5, 0), {}),
        (detectable_change, (5, 1), {"alpha": 0.9, "power": 0.5}),
        (events_for_median, (1,), {}),
        (median_precision, (0,), {}),
    ],
)
def test_what_is_no_plan_is_refused(plan, arguments, named):
    with pytest.raises(ValueError, match="must"):
        plan(*arguments, **named)
