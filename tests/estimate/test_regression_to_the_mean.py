"""Intraclass correlation and expected regression to the mean, against papers, a library, a twin and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.estimate.changes.regression_to_the_mean import (
    RESAMPLES,
    SEED,
    expected_changes,
    intraclass_correlation,
    regression_to_the_mean,
)
from app.estimate.results import Reason
from tests.twin import sensitivity as twin

SHROUT_AND_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
GROUPS = st.lists(st.lists(st.integers(1, 90).map(lambda n: n / 10), max_size=4), max_size=6)


def columns(groups):
    return [i for i, group in enumerate(groups) for _ in group], [x for group in groups for x in group]


def last_of_each(groups):
    return [j == len(group) - 1 for group in groups for j in range(len(group))]


def regressed(groups, change, **more):
    more = {"resamples": 50} | more
    return regression_to_the_mean(*columns(groups), last_of_each(groups), change, **more)


# --- intraclass correlation -------------------------------------------------------------------------------------------


def test_the_icc_of_six_subjects_and_four_judges():
    """Shrout and Fleiss (1979), Psychological Bulletin 86:420, tables 2 to 4: BMS 11.24, WMS 6.26, ICC(1,1) .17."""
    found = intraclass_correlation(*columns(SHROUT_AND_FLEISS))

    assert round(found.mean_square_between, 2) == 11.24
    assert round(found.mean_square_within, 2) == 6.26
    assert round(found.value, 2) == 0.17
    assert (found.patients, found.repeated, found.values, found.truncated) == (6, 6, 24, False)


def test_the_mean_squares_of_unbalanced_groups_are_those_of_statsmodels():
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    groups = [[7.1, 7.4, 6.9], [8.2], [6.1, 6.4], [7.7, 7.2, 7.9, 7.3], [5.5, 5.8]]
    who, values = columns(groups)
    table = anova_lm(ols("y ~ C(g)", pd.DataFrame({"g": who, "y": values})).fit())
    found = intraclass_correlation(who, values)

    assert [found.mean_square_between, found.mean_square_within] == pytest.approx(table["mean_sq"].tolist(), rel=1e-10)
    assert found.value == pytest.approx(twin.icc(groups), rel=1e-12)


@given(GROUPS)
def test_the_icc_is_that_of_the_twin(groups):
    found, slow = intraclass_correlation(*columns(groups)), twin.icc(groups)

    if slow is None:
        assert found.value is None
        assert found.reason in {Reason.NO_PATIENTS, Reason.TOO_FEW_REPEATED, Reason.CONSTANT_VALUES}
    else:
        assert found.value == pytest.approx(max(0.0, slow), abs=1e-9)
        assert found.truncated is (found.value == 0 and slow < 0)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([], Reason.NO_PATIENTS),
        ([[7.0], [8.0], [6.0]], Reason.TOO_FEW_REPEATED),
        ([[7.0, 7.2], [8.0], [6.0]], Reason.TOO_FEW_REPEATED),
        ([[0.1 + 0.2, 0.1 + 0.2], [0.1 + 0.2, 0.1 + 0.2, 0.1 + 0.2]], Reason.CONSTANT_VALUES),
    ],
)
def test_an_icc_that_nothing_tells_is_null_and_says_why(groups, reason):
    found = intraclass_correlation(*columns(groups))
    assert (found.value, found.reason, found.truncated) == (None, reason, False)


def test_patients_who_never_vary_have_an_icc_of_one_and_nothing_to_regress():
    found = regressed([[7.1, 7.1], [8.3, 8.3, 8.3]], [-1.0, -0.5])
    assert (found.icc.value, found.estimates[0].expected) == (1.0, 0.0)


def test_patients_who_vary_more_than_they_differ_have_an_icc_of_zero_and_it_is_said():
    found = regressed([[6.0, 8.0], [8.0, 6.0]], [0.5, -0.5])

    assert (found.icc.value, found.icc.truncated) == (0.0, True)
    assert found.estimates[0].expected == pytest.approx(7.0 - 7.0)


# --- expected change --------------------------------------------------------------------------------------------------

CHANGES = st.lists(st.one_of(st.just(math.nan), st.integers(-30, 10).map(lambda n: n / 10)), min_size=6, max_size=6)


@given(GROUPS, CHANGES)
def test_the_expected_change_is_that_of_the_twin(groups, changes):
    changes = changes[: len(groups)]
    found = regressed(groups, changes, resamples=5)
    seen = [i for i, group in enumerate(groups) if group and not math.isnan(changes[i])]
    slow = twin.expected_change(groups, [groups[i][-1] for i in seen], [group[:-1] for group in groups])

    assert found.n == len(seen)
    if slow is None:
        assert found.estimates[0].expected is None
        assert found.reason is not None
        return
    observed = sum(changes[i] for i in seen) / len(seen)
    assert found.estimates[0].expected == pytest.approx(slow, abs=1e-9)
    assert found.estimates[0].remainder == pytest.approx(observed - slow, abs=1e-9)
    each = expected_changes(found, [groups[i][-1] for i in seen])
    assert np.mean(each) == pytest.approx(slow, abs=1e-9)


def simulated(patients, seed, visits):
    """ln CK without any effect: own level 7 with SD 1, one day's error with SD 0.5, so that the ICC is 0.8."""
    generator = np.random.default_rng(seed)
    return (7 + generator.normal(size=patients))[:, None] + 0.5 * generator.normal(size=(patients, visits))


def regression_of(values, change):
    """All but the last column are the run-in, the last of which is the baseline."""
    n, k = values.shape[0], values.shape[1] - 1
    is_baseline = np.tile([False] * (k - 1) + [True], n)
    return regression_to_the_mean(
        np.repeat(np.arange(n), k), values[:, :-1].ravel(), is_baseline, change, resamples=200
    )


def test_without_an_effect_patients_with_a_high_baseline_change_as_expected():
    values = simulated(20_000, 1, visits=4)
    high = values[:, 2] > 7.5
    change = np.where(high, values[:, 3] - values[:, 2], np.nan)
    error = np.nanstd(change) / math.sqrt(high.sum())
    found = regression_of(values, change)

    assert found.icc.value == pytest.approx(0.8, abs=0.01)
    assert found.observed < -20 * error
    for estimate in found.estimates:
        assert abs(estimate.remainder) < 3 * error
        assert estimate.intervals[1].low < 0 < estimate.intervals[1].high


def test_the_formula_says_too_little_of_a_group_chosen_by_its_baselines_and_the_mean_before_them_all():
    """Chosen by the baseline alone: the values before it are what the patients return to."""
    values = simulated(40_000, 2, visits=4)
    values = values[values[:, 2] > 7.5]
    change = values[:, 3] - values[:, 2]
    found = regression_of(values, change)
    before, everything = found.estimates
    error = np.std(values[:, 3] - values[:, :2].mean(axis=1)) / math.sqrt(len(values))

    assert found.observed + 10 * error < before.expected < everything.expected < 0
    assert abs((values[:, 3] - values[:, :2].mean(axis=1)).mean()) < 3 * error


def test_in_patients_chosen_for_a_rise_the_mean_of_all_run_in_values_is_what_they_return_to():
    """Steroid resistant: CK at week 0 is not lower than at week -4."""
    values = simulated(20_000, 3, visits=3)
    values = values[values[:, 1] >= values[:, 0]]
    from_mean = values[:, 2] - values[:, :2].mean(axis=1)
    error = np.std(from_mean) / math.sqrt(len(values))
    found = regression_of(values, values[:, 2] - values[:, 1])

    assert abs(from_mean.mean()) < 3 * error
    assert found.observed < -10 * error
    assert found.estimates[0].expected > found.observed + 10 * error


# --- resampling -------------------------------------------------------------------------------------------------------

FEW = [[7.1, 7.4, 6.9], [8.2, 8.6], [6.1, 6.4], [7.7, 7.2, 7.9, 7.3], [5.5, 5.8], [6.6]]
CHANGE = [-1.2, -0.4, -2.0, -1.1, -0.3, -0.9]


def test_the_interval_is_that_of_patients_drawn_again_one_by_one():
    """The same draws from the patients in order of their change, each written out and given to the twin."""
    found = regressed(FEW, CHANGE, resamples=200)
    rows = sorted(range(len(FEW)), key=CHANGE.__getitem__)
    generator = np.random.default_rng(SEED)
    expected, remainder = [], []
    for _ in range(200):
        drawn = [rows[j] for j in generator.integers(0, len(rows), len(rows))]
        groups = [FEW[i] for i in drawn]
        change = twin.expected_change(groups, [group[-1] for group in groups], [group[:-1] for group in groups])
        expected.append(change)
        remainder.append(np.mean([CHANGE[i] for i in drawn]) - change)

    for interval, slow in zip(found.estimates[0].intervals, (expected, remainder), strict=True):
        assert [interval.low, interval.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]).tolist(), abs=1e-9)


def test_the_order_of_patients_and_of_values_changes_no_bit():
    found = regressed(FEW, CHANGE, resamples=300)
    for order in ([5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3]):
        again = regressed([FEW[i] for i in order], [CHANGE[i] for i in order], resamples=300)
        assert again.model_dump_json() == found.model_dump_json()
    who, values = columns(FEW)
    turned = regression_to_the_mean(who[::-1], values[::-1], last_of_each(FEW)[::-1], CHANGE, resamples=300)
    assert turned.model_dump_json() == found.model_dump_json()


def test_seed_and_resamples_are_reported_and_decide_the_interval():
    whole = regression_to_the_mean(*columns(FEW), last_of_each(FEW), CHANGE)
    assert (whole.bootstrap.seed, whole.bootstrap.resamples) == (SEED, RESAMPLES)
    assert whole == regression_to_the_mean(*columns(FEW), last_of_each(FEW), CHANGE)
    other = regression_to_the_mean(*columns(FEW), last_of_each(FEW), CHANGE, seed=1)
    assert other.estimates[0].expected == whole.estimates[0].expected
    assert other.estimates[0].intervals != whole.estimates[0].intervals


def test_a_higher_level_gives_a_wider_interval():
    narrow, wide = (regressed(FEW, CHANGE, level=level, resamples=500).estimates[0] for level in (0.8, 0.95))
    for inner, outer in zip(narrow.intervals, wide.intervals, strict=True):
        assert outer.low < inner.low < inner.high < outer.high


def test_where_too_few_resamples_have_an_answer_there_is_no_interval():
    """Two of eight patients have a second value: one resample in ten has neither of them."""
    groups = [[7.0, 7.3], [8.0, 7.6], [6.0], [5.0], [9.0], [7.7], [6.6], [7.9]]
    found = regressed(groups, [-1.0] * 8, resamples=400)

    assert found.estimates[0].expected is not None
    assert found.bootstrap.undefined > 40
    assert {interval.reason for interval in found.estimates[0].intervals} == {Reason.TOO_FEW_RESAMPLES}
    assert {interval.low for interval in found.estimates[0].intervals} == {None}


def test_without_anybody_observed_nothing_is_set_beside_anything():
    found = regressed(FEW, [math.nan] * 6)
    assert (found.n, found.observed, found.reason) == (0, None, Reason.NO_PATIENTS)
    assert found.icc.value is not None
    assert {estimate.expected for estimate in found.estimates} == {None}
    assert found.bootstrap.resamples == 0


def test_of_no_change_nothing_is_a_share():
    estimate = regressed(FEW, [0.0] * 6).estimates[0]
    assert (estimate.share, estimate.reason) == (None, Reason.ZERO_DENOMINATOR)
    assert estimate.remainder == -estimate.expected


def test_a_hundred_thousand_patients_are_resampled_less_often():
    import time

    values = simulated(100_000, 4, visits=3)
    began = time.process_time()
    found = regression_to_the_mean(
        np.repeat(np.arange(100_000), 2), values[:, :2].ravel(), np.tile([False, True], 100_000), values[:, 2]
    )
    assert found.bootstrap.resamples == 200
    assert time.process_time() - began < 10


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        intraclass_correlation([0, 0], [1.0, math.nan])
