"""The resampled limits of an interval-censored median against drawing the patients and computing the estimates one by
one.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.estimate.results import Reason
from app.estimate.times import turnbull
from app.estimate.times.interval_censored import SEED, interval_censored
from tests.estimate.reference import by_id
from tests.estimate.test_interval_censored import ANY, HALVES, columns, estimate, patients_of
from tests.repetition import repeats

COSMESIS = patients_of(by_id("ic_breast_cosmesis_radiotherapy"))


def drawn_one_by_one(intervals, resamples, seed, **options):
    """The medians of samples with replacement, the patients numbered in ascending order of their intervals."""
    ordered = sorted(intervals, key=lambda each: (each[0], math.inf if each[1] is None else each[1]))
    generator = np.random.default_rng(seed)
    medians = []
    for _ in range(resamples):
        chosen = [ordered[i] for i in generator.integers(len(ordered), size=len(ordered))]
        medians.append(estimate(chosen, **options).median)
    return (
        sorted(each.left for each in medians),
        sorted(math.inf if each.right is None else each.right for each in medians),
    )


def check(intervals, resamples, k, **options):
    found = estimate(intervals, resamples=resamples, **options).median.intervals[0]
    left, right = drawn_one_by_one(intervals, resamples, SEED, **{k: v for k, v in options.items() if k != "level"})
    high = right[-k]
    assert found.low == left[k - 1]
    assert found.high == (None if math.isinf(high) else high)
    assert found.reason == (Reason.NOT_REACHED if math.isinf(high) else None)
    assert found.not_reached == sum(map(math.isinf, right))


@given(ANY.filter(lambda each: len(each) > 1 and any(right is not None for _, right in each)))
@settings(max_examples=repeats(15, thorough=40))
def test_the_limits_are_those_of_estimates_made_one_by_one(intervals):
    check(intervals, 39, 1)


@pytest.mark.parametrize(
    ("resamples", "level", "k"), [(40, 0.95, 1), (79, 0.95, 2), (199, 0.9, 10), (200, 0.9, 10), (99, 0.5, 25)]
)
def test_the_limits_are_the_k_th_ends_of_the_medians(resamples, level, k):
    check(COSMESIS, resamples, k, level=level)


def test_irregular_visits_are_resampled_alike():
    generator = np.random.default_rng(5)
    left = generator.integers(0, 300, 80)
    right = left + generator.integers(3, 90, 80)
    check([(int(a), int(b) if b % 4 else None) for a, b in zip(left, right, strict=True)], 60, 1)


@pytest.mark.parametrize("median", ["midpoint", "lower"])
def test_the_medians_of_resamples_follow_the_convention(median):
    check(HALVES, 60, 1, median=median)


def test_the_seed_and_the_number_of_resamples_are_reported_and_give_the_same_limits_again():
    one, again = (estimate(COSMESIS, resamples=50).median.intervals[0] for _ in range(2))
    assert (one.resamples, one.seed, one.method, one.of) == (50, SEED, "bootstrap_percentile", "median")
    assert one == again
    others = {estimate(COSMESIS, resamples=50, seed=seed).median.intervals[0].low for seed in range(8)}
    assert len(others) > 1


def test_without_resamples_there_is_no_interval():
    assert estimate(COSMESIS, resamples=0).median.intervals == ()


@pytest.mark.parametrize(
    ("intervals", "resamples", "reason"),
    [
        ([(3, 5)], 200, Reason.TOO_FEW_VALUES),
        ([(3, None), (4, None)], 200, Reason.NO_EVENTS),
        (HALVES, 38, Reason.TOO_FEW_RESAMPLES),
    ],
)
def test_limits_that_cannot_be_had_say_why(intervals, resamples, reason):
    limits = estimate(intervals, resamples=resamples).median.intervals[0]
    assert (limits.low, limits.high, limits.not_reached, limits.reason) == (None, None, None, reason)
    assert estimate(HALVES, resamples=39).median.intervals[0].reason is None


def test_too_much_work_is_refused_by_its_size(monkeypatch):
    monkeypatch.setattr(turnbull, "LARGEST", 4 * 50)
    assert estimate(HALVES, resamples=50).median.intervals[0].reason is None
    found = estimate(HALVES, resamples=51)
    assert found.median.intervals[0].reason == Reason.TOO_LARGE
    assert (found.median.left, found.reason) == (30, None)


def test_a_resample_without_an_estimate_leaves_no_limits(monkeypatch):
    monkeypatch.setattr(turnbull, "ACCEPTED", -1)
    found = estimate(COSMESIS, resamples=50)
    assert found.reason is None
    assert found.median.intervals[0].reason == Reason.NOT_CONVERGED


def test_a_median_that_too_many_resamples_do_not_reach_has_no_upper_limit():
    patients = [(0, 10)] * 10 + [(20, None)] * 9
    limits = interval_censored(*columns(patients)).median.intervals[0]
    assert limits.low == 0
    assert (limits.high, limits.reason) == (None, Reason.NOT_REACHED)
    assert 0.025 * 200 < limits.not_reached < 200
    sure = interval_censored(*columns([(0, 10)] * 100 + [(20, None)] * 9)).median.intervals[0]
    assert (sure.low, sure.high, sure.reason, sure.not_reached) == (0, 10, None, 0)


@st.composite
def ties(draw):
    """Samples on a coarse grid, where resamples often come to one half exactly."""
    size = draw(st.sampled_from([2, 4, 6]))
    return [(10 * k, 10 * k + 10) for k in draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))]


@given(ties())
@settings(max_examples=repeats(25))
def test_halves_of_resamples_are_halves(intervals):
    check(intervals, 39, 1)
