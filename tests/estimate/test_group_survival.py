"""Comparisons of groups against R, lifelines, and Efron's partial likelihood written out."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.estimate.results import Reason, RestrictedMean
from app.estimate.times.group_survival import MOST_GROUPS, cox, log_rank, mean_difference
from app.estimate.times.survival import restricted_mean
from tests.estimate.reference import by_id
from tests.repetition import repeats

TWO = st.lists(st.tuples(st.integers(1, 8), st.booleans(), st.integers(0, 1)), min_size=2, max_size=16)
THREE = st.lists(st.tuples(st.integers(1, 8), st.booleans(), st.integers(0, 2)), min_size=3, max_size=20)


def columns(patients):
    return [list(column) for column in zip(*patients, strict=True)]


def r_case(name):
    case = by_id(name)
    levels = case["expected"]["levels"]
    groups = [levels.index(group) for group in case["input"]["group"]]
    return case["input"]["time"], case["input"]["event"], groups


def logarithm(patients, beta, change):
    """Efron's partial likelihood with log hazard ratios `beta + change * g(t)`, straight from the definition."""
    times = sorted({time for time, event, _ in patients if event})
    survival, total = 1.0, 0.0
    for at in times:
        n = sum(time >= at for time, _, _ in patients)
        dead = [group for time, event, group in patients if event and time == at]
        effect = [0.0] + [b + c * (1 - survival) for b, c in zip(beta, change, strict=True)]
        total += sum(effect[group] for group in dead)
        risk = sum(math.exp(effect[group]) for time, _, group in patients if time >= at)
        tied = sum(math.exp(effect[group]) for group in dead)
        total -= sum(math.log(risk - drawn / len(dead) * tied) for drawn in range(len(dead)))
        survival *= 1 - len(dead) / n
    return total


def derivatives(function, size, step=1e-4):
    """Gradient and Hessian of a function of `size` numbers at 0 by central differences."""

    def at(**moved):
        return function([step * moved.get(f"x{i}", 0) for i in range(size)])

    gradient = [(at(**{f"x{i}": 1}) - at(**{f"x{i}": -1})) / (2 * step) for i in range(size)]
    hessian = np.empty((size, size))
    for i, j in product(range(size), repeat=2):
        if i == j:
            hessian[i, i] = (at(**{f"x{i}": 1}) - 2 * at() + at(**{f"x{i}": -1})) / step**2
            continue
        signs = [(a * b, at(**{f"x{i}": a, f"x{j}": b})) for a, b in product((1, -1), repeat=2)]
        hessian[i, j] = sum(sign * value for sign, value in signs) / (4 * step**2)
    return np.array(gradient), hessian


@settings(max_examples=repeats(40))
@given(TWO | THREE)
def test_cox_is_at_the_maximum_of_efrons_likelihood_with_its_curvature(patients):
    size = 1 + max(group for *_, group in patients)
    model = cox(*columns(patients), size)
    assume(size > 1 and all(ratio.reason is None for ratio in model.hazard_ratios[1:]))
    beta = [ratio.log_value for ratio in model.hazard_ratios[1:]]
    assume(max(map(abs, beta)) < 6)
    none = [0.0] * len(beta)

    def near_maximum(moved):
        return logarithm(patients, [b + m for b, m in zip(beta, moved, strict=True)], none)

    gradient, hessian = derivatives(near_maximum, len(beta))
    assert gradient == pytest.approx(0, abs=1e-6)
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    assert [ratio.standard_error for ratio in model.hazard_ratios[1:]] == pytest.approx(errors, rel=1e-4)
    twice = 2 * (logarithm(patients, beta, none) - logarithm(patients, none, none))
    assert model.likelihood_ratio.statistic == pytest.approx(twice, abs=1e-9)


@settings(max_examples=repeats(40))
@given(TWO | THREE)
def test_the_check_of_proportional_hazards_is_the_score_test_of_an_effect_that_changes_with_time(patients):
    size = 1 + max(group for *_, group in patients)
    model = cox(*columns(patients), size)
    checked = model.proportional_hazards
    assume(size > 1 and checked.statistic is not None and all(r.reason is None for r in model.hazard_ratios[1:]))
    beta = [ratio.log_value for ratio in model.hazard_ratios[1:]]
    assume(max(map(abs, beta)) < 4)
    free = len(beta)

    def moved(by):
        return logarithm(patients, [b + m for b, m in zip(beta, by[:free], strict=True)], by[free:])

    gradient, hessian = derivatives(moved, 2 * free)
    inverse = np.linalg.inv(-hessian)
    assume(np.linalg.cond(hessian) < 1e4)
    assert checked.statistic == pytest.approx(gradient @ inverse @ gradient, rel=1e-3, abs=1e-5)
    assert checked.df == free


@settings(max_examples=repeats(25))
@given(THREE)
@example([(1, True, 0), (2, True, 1), (2, False, 2), (3, True, 2), (3, True, 0), (4, False, 1), (5, True, 1)])
def test_the_log_rank_test_is_that_of_lifelines(patients):
    from lifelines.statistics import multivariate_logrank_test

    times, events, groups = columns(patients)
    result = log_rank(times, events, groups, 3)
    assume(result.test.statistic is not None and len(set(groups)) == 3 and all(e > 0 for e in result.expected))
    theirs = multivariate_logrank_test(times, groups, events)
    assert result.test.statistic == pytest.approx(theirs.test_statistic, abs=1e-9)
    assert result.test.p == pytest.approx(theirs.p_value, abs=1e-9)
    assert sum(result.observed) == pytest.approx(sum(result.expected))


def test_lung_cancer_by_sex_is_what_r_answers():
    """R: coxph(Surv(time, status) ~ sex, lung); cox.zph of it, chisq 2.86, p 0.091."""
    model = cox(*r_case("logrank_lung_sex"), 2)
    reference, ratio = model.hazard_ratios
    assert (reference.value, reference.reason) == (None, Reason.REFERENCE_GROUP)
    assert [round(x, 4) for x in (ratio.log_value, ratio.value, ratio.standard_error)] == [-0.5310, 0.5880, 0.1672]
    assert (round(ratio.test.statistic, 3), round(ratio.test.p, 5)) == (-3.176, 0.00149)
    assert [round(x, 4) for x in (ratio.intervals[0].low, ratio.intervals[0].high)] == [0.4237, 0.816]
    assert (round(model.likelihood_ratio.statistic, 2), round(model.likelihood_ratio.p, 6)) == (10.63, 0.001111)
    assert (round(model.proportional_hazards.statistic, 2), round(model.proportional_hazards.p, 3)) == (2.86, 0.091)


@pytest.mark.parametrize("name", ["logrank_lung_sex", "logrank_aml", "logrank_gehan"])
def test_the_hazard_ratio_is_that_of_lifelines(name):
    import pandas as pd
    from lifelines import CoxPHFitter

    times, events, groups = r_case(name)
    ratio = cox(times, events, groups, 2, level=0.9).hazard_ratios[1]
    fit = CoxPHFitter(alpha=0.1).fit(pd.DataFrame({"t": times, "e": events, "g": groups}), "t", "e")
    assert ratio.log_value == pytest.approx(fit.params_["g"], abs=1e-5)
    assert ratio.standard_error == pytest.approx(fit.standard_errors_["g"], abs=1e-6)
    limits = np.exp(fit.confidence_intervals_.loc["g"].to_numpy())
    assert (ratio.intervals[0].low, ratio.intervals[0].high) == pytest.approx(tuple(limits), rel=1e-5)


def test_the_restricted_means_of_lung_cancer_by_sex_differ_by_what_r_answers_for_each():
    """R: summary(survfit(..), rmean = 365): 241.495085 (10.358227) and 297.465410 (10.791324)."""
    times, events, groups = (np.array(column) for column in r_case("logrank_lung_sex"))
    men, women = (restricted_mean(times[groups == g], events[groups == g], until=365) for g in (0, 1))
    found = mean_difference(women, men, 228)
    assert found.value == pytest.approx(297.465410 - 241.495085, abs=1e-5)
    assert found.standard_error == pytest.approx(math.hypot(10.358227, 10.791324), abs=1e-5)
    spread = 1.959963984540054 * found.standard_error
    assert (found.intervals[0].low, found.intervals[0].high) == pytest.approx(
        (found.value - spread, found.value + spread)
    )
    assert found.test.p == pytest.approx(math.erfc(found.value / found.standard_error / math.sqrt(2)))


def test_the_walton_flies_are_what_r_answers():
    from lifelines.datasets import load_waltons

    flies = load_waltons()
    result = log_rank(flies["T"], flies["E"], (flies["group"] == "control").astype(int), 2)
    assert (round(result.test.statistic, 6), f"{result.test.p:.3e}") == (122.249126, "2.036e-28")


@given(TWO | THREE, st.randoms(use_true_random=False))
def test_the_order_of_the_patients_does_not_change_a_digit(patients, random):
    other = list(patients)
    random.shuffle(other)
    assert log_rank(*columns(patients), 3) == log_rank(*columns(other), 3)
    assert cox(*columns(patients), 3) == cox(*columns(other), 3)


@given(TWO)
def test_a_ratio_is_refused_exactly_where_the_likelihood_has_no_maximum(patients):
    """With two groups: an event of either while the other was at risk is what holds the ratio from both sides."""
    times = [{time for time, event, group in patients if event and group == g} for g in (0, 1)]
    last = [max((time for time, _, group in patients if group == g), default=0) for g in (0, 1)]
    held = [any(time <= last[1 - g] for time in times[g]) for g in (0, 1)]
    ratio = cox(*columns(patients), 2).hazard_ratios[1]
    assert (ratio.value is not None) == all(held)


@pytest.mark.parametrize(
    ("patients", "size", "reason"),
    [
        ([(1, 1, 0), (2, 1, 0), (3, 1, 1), (4, 1, 1)], 2, Reason.SEPARATED),
        ([(1, 1, 0), (2, 0, 1), (3, 0, 1)], 2, Reason.NO_EVENTS),
        ([(1, 0, 0), (2, 1, 1), (3, 1, 1)], 2, Reason.NO_EVENTS_IN_REFERENCE),
        ([(1, 0, 0), (2, 0, 1)], 2, Reason.NO_EVENTS),
        ([(1, 1, 0), (2, 1, 0)], 2, Reason.NO_PATIENTS),
        ([(1, 1, 1), (2, 1, 2), (3, 1, 1), (3, 1, 2)], 3, Reason.NO_EVENTS_IN_REFERENCE),
    ],
)
def test_a_hazard_ratio_that_does_not_exist_is_null_and_says_why(patients, size, reason):
    ratio = cox(*columns(patients), size).hazard_ratios[-1]
    assert (ratio.value, ratio.intervals, ratio.test.p, ratio.reason) == (None, (), None, reason)


def test_groups_that_never_met_at_an_event_are_compared_by_way_of_a_third():
    """No event of group 0 found group 1 still at risk; but it found group 2, one of whose events found group 1."""
    patients = [(5, True, 0), (7, False, 0), (2, True, 1), (3, False, 1), (1, True, 2), (6, False, 2)]
    ratios = cox(*columns(patients), 3).hazard_ratios[1:]
    beta = [ratio.log_value for ratio in ratios]
    best = logarithm(patients, beta, [0, 0])
    for moved in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        assert logarithm(patients, [b + m for b, m in zip(beta, moved, strict=True)], [0, 0]) < best


def test_a_group_without_events_leaves_the_ratios_of_the_others_as_they_are():
    patients = [(1, 1, 0), (2, 1, 1), (3, 1, 0), (4, 0, 1), (5, 1, 1), (6, 1, 0)]
    with_third = [*patients, (7, 0, 2), (3, 0, 2)]
    two, three = cox(*columns(patients), 2), cox(*columns(with_third), 3)
    assert three.hazard_ratios[1].value == pytest.approx(two.hazard_ratios[1].value, abs=1e-12)
    assert three.hazard_ratios[2].reason == Reason.NO_EVENTS


@pytest.mark.parametrize(
    ("patients", "size", "reason"),
    [
        ([(1, 1, 0), (1, 1, 1)], 2, Reason.NEVER_COMPARED),
        ([(1, 1, 0), (2, 1, 0)], 1, Reason.ONE_GROUP),
        ([(1, 1, 0), (2, 1, 0)], 2, Reason.ONE_GROUP),
        ([(1, 0, 0), (2, 0, 1)], 2, Reason.NO_EVENTS),
    ],
)
def test_a_log_rank_test_that_says_nothing_is_null_and_says_why(patients, size, reason):
    test = log_rank(*columns(patients), size).test
    assert (test.statistic, test.df, test.p, test.reason) == (None, None, None, reason)


def test_nobody_at_all_is_compared_with_nobody():
    assert log_rank([], [], [], 2).test.reason == Reason.NO_PATIENTS
    assert cox([], [], [], 2).likelihood_ratio.reason == Reason.NO_PATIENTS


def test_with_one_event_there_is_nothing_to_see_of_a_change():
    model = cox([1, 1, 2, 2], [1, 1, 0, 0], [0, 1, 0, 1], 2)
    assert (model.hazard_ratios[1].value, model.proportional_hazards.reason) == (1, Reason.TOO_FEW_EVENTS)


def test_a_difference_of_means_that_are_unknown_or_have_no_spread():
    known = RestrictedMean(until=5, value=5, standard_error=None, reason=Reason.NO_STANDARD_ERROR)
    spread = RestrictedMean(until=5, value=4, standard_error=0.5)
    unknown = RestrictedMean(until=5, value=None, standard_error=None, reason=Reason.BEYOND_FOLLOW_UP)
    for pair in ((known, unknown), (unknown, known)):
        found = mean_difference(*pair, 4)
        assert (found.value, found.intervals[0].low, found.reason) == (None, None, Reason.BEYOND_FOLLOW_UP)
    for pair, value in (((known, known), 0), ((spread, known), -1), ((known, spread), 1)):
        flat = mean_difference(*pair, 4)
        assert (flat.value, flat.standard_error, flat.reason) == (value, None, Reason.NO_STANDARD_ERROR)
        assert (flat.intervals[0].low, flat.test.p, flat.test.reason) == (None, None, Reason.NO_STANDARD_ERROR)


@pytest.mark.parametrize(
    "wrong", [([-1], [1], [0], 1), ([1], [1], [1], 1), ([1], [1, 0], [0], 1), ([1], [1], [0], MOST_GROUPS + 1)]
)
def test_what_are_no_times_or_groups_is_refused(wrong):
    for compute in (log_rank, cox):
        with pytest.raises(ValueError, match=r"`durations`|`groups`"):
            compute(*wrong)
