"""Leave-one-out influence by update formulas, against leaving each patient out and computing again."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.estimate.changes.paired_change import paired_change
from app.estimate.leave_one_out import influence_on_change, influence_on_median, influence_on_rate
from app.estimate.results import Reason
from app.estimate.times.survival import kaplan_meier
from tests.repetition import repeats
from tests.twin.sensitivity import t_p, without_each

DIFFERENCES = st.lists(st.sampled_from([-3, -2.5, -1, -0.3, 0, 0, 0.1, 0.3, 0.3, 1, 2, 7.7, 60]), max_size=9)
TIMES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=9)


def ends(numbers):
    """Least and greatest of the numbers that are defined, and how many are not."""
    known = [x for x in numbers if x is not None]
    return (min(known), max(known), len(numbers) - len(known)) if known else (None, None, len(numbers))


def agrees(found, numbers):
    low, high, undefined = ends(numbers)
    assert found.undefined == undefined
    if low is None:
        assert (found.low, found.high) == (None, None)
        assert found.reason is not None
    else:
        assert [found.low, found.high] == pytest.approx([low, high], rel=1e-9, abs=1e-12)


# --- a rate -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=12))
def test_a_rate_without_each_patient(responders):
    left = [sum(others) / len(others) if others else None for others in without_each(responders)]
    agrees(influence_on_rate(responders).estimate, left)


def test_fourteen_of_fifteen_move_most_by_the_one_who_did_not_respond():
    found = influence_on_rate([True] * 7 + [False] + [True] * 7)
    assert (found.position, found.estimate.low, found.estimate.high) == (7, 13 / 14, 1.0)


def test_where_all_responded_nobody_moves_the_rate():
    found = influence_on_rate([True] * 5)
    assert (found.position, found.estimate.low, found.estimate.high) == (None, 1.0, 1.0)


# --- a mean and its tests ---------------------------------------------------------------------------------------------


@given(DIFFERENCES)
@example([5.0])
@example([0.1 + 0.2, 0.3, 0.3])
@example([1.0, 1.0, 1.0, 9.0])
@example([1e-9, 2e-9, 1e6, 3e-9])
@example([-1.0, 1.0, 2.0])
def test_a_mean_and_its_tests_without_each_patient(differences):
    found = influence_on_change(differences, alpha=0.05)
    left = [paired_change(others) for others in without_each(differences)]

    agrees(found.estimate, [each.mean for each in left])
    for test, place in zip(found.tests, (0, 1), strict=True):
        agrees(test, [each.tests[place].p for each in left])
        p, others = paired_change(differences).tests[place].p, [each.tests[place].p for each in left]
        known = [each for each in others if each is not None]
        expected = any((each <= 0.05) != (p <= 0.05) for each in known) if p is not None and known else None
        assert test.significance_depends_on_one_patient is expected


@settings(max_examples=repeats(30))
@given(st.lists(st.integers(-40, 40).map(lambda n: n / 10), min_size=3, max_size=8))
def test_the_t_test_without_each_patient_is_that_of_an_integrated_density(differences):
    found = influence_on_change(differences, alpha=0.05).tests[1]
    low, high, undefined = ends([t_p(others) for others in without_each(differences)])
    assert found.undefined == undefined
    if low is not None:
        assert [found.low, found.high] == pytest.approx([low, high], rel=1e-3, abs=1e-7)


def test_six_differences_of_one_sign_are_significant_only_together():
    """Exact signed-rank p: 2/64 with six, 2/32 with five."""
    rank, t = influence_on_change([1, 2, 3, 4, 5, 6], alpha=0.05).tests
    assert (rank.value, rank.low, rank.high) == (0.03125, 0.0625, 0.0625)
    assert rank.significance_depends_on_one_patient is True
    assert t.significance_depends_on_one_patient is False


def test_seven_differences_of_one_sign_do_not_depend_on_one_patient():
    rank, _ = influence_on_change([1, 2, 3, 4, 5, 6, 7], alpha=0.05).tests
    assert (rank.high, rank.significance_depends_on_one_patient) == (0.03125, False)


def test_a_p_equal_to_alpha_is_on_the_side_of_significance():
    rank, _ = influence_on_change([1, 2, 3, 4, 5, 6], alpha=0.0625).tests
    assert rank.significance_depends_on_one_patient is False


def test_the_patient_who_moves_the_mean_most_is_the_farthest_from_it():
    assert influence_on_change([1.0, 2.0, 30.0, 3.0], alpha=0.05).position == 2
    assert influence_on_change([-9.0, 2.0, 3.0, 2.0], alpha=0.05).position == 0


def test_of_patients_who_move_it_equally_the_first_is_named_whatever_the_last_digit():
    values = [0.1, 0.3, 0.2]
    assert influence_on_change(values, alpha=0.05).position == 0
    assert influence_on_change([0.2, *values[:2]], alpha=0.05).position == 1


@pytest.mark.parametrize(("n", "reason"), [(50, None), (51, Reason.TOO_LARGE)])
def test_beyond_fifty_differences_the_rank_test_is_not_repeated(n, reason):
    rank, t = influence_on_change(np.arange(1, n + 1), alpha=0.05).tests
    assert (rank.reason, rank.low is None) == (reason, reason is not None)
    assert rank.value is not None
    assert t.low is not None


@pytest.mark.parametrize("zeros", ["drop", "pratt"])
def test_the_rank_test_that_is_repeated_is_the_one_asked_for(zeros):
    values = [0, 0, 1, 2, 3, -1, 5]
    [rank, _] = influence_on_change(values, alpha=0.05, zeros=zeros, signed_rank_p="normal").tests
    left = [paired_change(o, zeros=zeros, signed_rank_p="normal").tests[0].p for o in without_each(values)]
    agrees(rank, left)


def test_a_hundred_thousand_differences_are_left_out_one_by_one_at_once():
    import time

    values = np.random.default_rng(1).normal(0.003, 1, 100_000)
    began = time.process_time()
    found = influence_on_change(values, alpha=0.05)
    assert time.process_time() - began < 10
    place = found.position
    assert abs(values[place] - values.mean()) == np.abs(values - values.mean()).max()
    assert found.estimate.high == pytest.approx(np.delete(values, np.argmin(values)).mean(), rel=1e-9)


# --- a median time ----------------------------------------------------------------------------------------------------


@settings(max_examples=repeats(15, thorough=40))
@given(TIMES, st.sampled_from(["midpoint", "lower"]), st.sampled_from(["left_end", "midpoint_to_last", "not_reached"]))
@example([(1, True), (2, True), (3, True), (4, True)], "midpoint", "left_end")
@example([(10, True), (20, True), (30, False), (40, False), (40, False)], "midpoint", "midpoint_to_last")
@example([(10, True), (20, True), (30, False), (40, False), (40, False)], "midpoint", "not_reached")
def test_a_median_without_each_patient(pairs, median, plateau):
    def fit(chosen):
        times, events = zip(*chosen, strict=True) if chosen else ((), ())
        return kaplan_meier(times, events, median=median, plateau=plateau).median.value

    times, events = zip(*pairs, strict=True) if pairs else ((), ())
    found = influence_on_median(times, events, median=median, plateau=plateau)
    assert found.estimate.value == fit(pairs)
    agrees(found.estimate, [fit(others) for others in without_each(pairs)])


def test_a_curve_that_reaches_one_half_without_one_patient_is_reported():
    """Three events among seven: the median is reached only without one who was censored."""
    found = influence_on_median([1, 2, 3, 9, 9, 9, 9], [1, 1, 1, 0, 0, 0, 0])
    assert (found.estimate.value, found.estimate.low, found.estimate.high) == (None, 3.0, 3.0)
    assert (found.estimate.undefined, found.estimate.reason, found.position) == (3, Reason.NOT_REACHED, None)


def test_the_medians_of_ten_thousand_times_are_found_by_bisection():
    generator = np.random.default_rng(2)
    times, events = generator.integers(1, 400, 10_000), generator.random(10_000) < 0.7
    found = influence_on_median(times, events).estimate
    assert found.low <= found.value <= found.high
    worst = int(np.argmax(times * events))
    assert found.low <= kaplan_meier(np.delete(times, worst), np.delete(events, worst)).median.value <= found.high


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        influence_on_change([1.0, math.nan], alpha=0.05)
