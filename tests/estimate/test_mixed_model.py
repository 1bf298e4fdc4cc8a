"""The mixed model of repeated measures, compared with R and with a likelihood that is written out."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.estimate.changes.mixed_model import mixed_model, offered
from app.estimate.changes.paired_change import paired_change
from app.estimate.changes.restricted_likelihood import Patterns, maximum
from app.estimate.results import Reason
from tests.estimate.comparison_twins import restricted_height, satterthwaite
from tests.repetition import repeats

ORTHODONT = np.array(
    [
        *([26, 25, 29, 31], [21.5, 22.5, 23, 26.5], [23, 22.5, 24, 27.5], [25.5, 27.5, 26.5, 27], [20, 23.5, 22.5, 26]),
        *(
            [24.5, 25.5, 27, 28.5],
            [22, 22, 24.5, 26.5],
            [24, 21.5, 24.5, 25.5],
            [23, 20.5, 31, 26],
            [27.5, 28, 31, 31.5],
        ),
        *([23, 23, 23.5, 25], [21.5, 23.5, 24, 28], [17, 24.5, 26, 29.5], [22.5, 25.5, 25.5, 26], [23, 24.5, 26, 30]),
        *([22, 21.5, 23.5, 25],),
        *(
            [21, 20, 21.5, 23],
            [21, 21.5, 24, 25.5],
            [20.5, 24, 24.5, 26],
            [23.5, 24.5, 25, 26.5],
            [21.5, 23, 22.5, 23.5],
        ),
        *([20, 21, 21, 22.5], [21.5, 22.5, 23, 25], [23, 23, 23.5, 24], [20, 21, 22, 21.5], [16.5, 19, 19, 19.5]),
        *([24.5, 25, 28, 28],),
    ],
    dtype=float,
)
"""Potthoff and Roy 1964, R `nlme::Orthodont`: distance in mm of 16 boys and 11 girls at the ages of 8, 10, 12, 14."""
BOYS = np.arange(27) < 16
WEEKS = (0, 10, 12, 14)
"""The age of 8 stands for the baseline."""
PART = np.where(np.arange(108).reshape(27, 4) % 7 == 3, np.nan, ORTHODONT)
"""Every seventh value is missing."""


def drawn(seed, patients=25, visits=5, missing=0.0):
    """Values that correlate the less the farther apart their visits are, and spread the more the later they are."""
    source = np.random.default_rng(seed)
    apart = np.abs(np.subtract.outer(np.arange(visits), np.arange(visits)))
    values = source.normal(size=(patients, visits)) @ np.linalg.cholesky(0.7**apart).T
    values = values * np.linspace(1, 2, visits) + 0.3 * np.arange(visits)
    values[source.random(values.shape) < missing] = np.nan
    return values


def numbers(model):
    """Estimates, standard errors, degrees of freedom, covariances."""
    return (
        [each.estimate for each in model.effects],
        [each.standard_error for each in model.effects],
        [each.test.df for each in model.effects],
        [each.covariance for each in model.covariances],
    )


def listed(values):
    return [[None if np.isnan(v) else v for v in row] for row in values.tolist()]


def square(covariances, visits):
    matrix = np.zeros((visits, visits))
    matrix[np.triu_indices(visits)] = covariances
    return matrix + np.triu(matrix, 1).T


def test_these_are_the_data_that_r_has():
    """Contrast 8 - 2 x 10 + 12 of ln distance by R: mean 0.0148318, standard error 0.0305792."""
    contrast = np.log(ORTHODONT[:, :3]) @ [1, -2, 1]
    assert contrast.mean() == pytest.approx(0.0148318, abs=5e-8)
    assert contrast.std(ddof=1) / np.sqrt(27) == pytest.approx(0.0305792, abs=5e-8)


R = {
    "complete": (
        ORTHODONT,
        -215.686668,
        [22.185185185, 0.981481481, 2.462962963, 3.907407407, 23.166666667, 24.648148148, 26.092592593],
        [0.468485105, 0.385345342, 0.390344719, 0.451364806, 0.415168189, 0.542243088, 0.532449282],
        [26.0000431, 26.0000179, 25.9999747, 25.9999807, 26.0000137, 26.0000170, 26.0000042],
        [25.8799394, 26.0036139, 26.0158319, 26.0168835, 26.0731830, 26.0017931, 25.9828713],
        [5.92591393, 3.28525047, 4.87534763, 4.03987963, 4.65384489, 3.85897161, 4.53205040, 7.93874431, 6.19729272,
         7.65456041],
    ),
    "part": (
        PART,
        -189.499103,
        [22.234118102, 0.830034592, 2.560900587, 3.625468962, 23.064152694, 24.795018690, 25.859587064],
        [0.498602822, 0.411867788, 0.449108432, 0.501112313, 0.460170106, 0.553785945, 0.501892574],
        [26.0763095, 24.7831535, 24.6240091, 25.2569369, 22.8756471, 23.3735552, 25.6138427],
        [26.3236136, 24.8740302, 24.6472102, 25.3659188, 23.0171029, 23.4039724, 26.4109795],
        [6.41279244, 3.95245959, 4.80837534, 3.34414483, 5.45921585, 3.87413245, 4.66148307, 7.87739349, 5.40527283,
         6.54103306],
    ),
}  # fmt: skip
"""`tests/estimate/mixed_model.R`: log-likelihood, estimates, errors, degrees of freedom with the Hessian of numDeriv,
those that emmeans prints, covariances."""


@pytest.mark.parametrize("name", R)
def test_orthodont_is_what_gls_and_emmeans_of_r_answer(name):
    values, likelihood, estimates, errors, df, printed, covariances = R[name]
    model = mixed_model(values, WEEKS)
    found = numbers(model)
    assert [(each.term, each.week) for each in model.effects] == [
        *(("intercept", None), ("week", 10), ("week", 12), ("week", 14)),
        *(("mean", 10), ("mean", 12), ("mean", 14)),
    ]
    assert model.log_likelihood == pytest.approx(likelihood, abs=1e-6)
    assert found[0] == pytest.approx(estimates, rel=1e-7, abs=1e-7)
    assert found[1] == pytest.approx(errors, rel=5e-6)
    assert found[2] == pytest.approx(df, rel=1e-5)
    assert found[2] == pytest.approx(printed, rel=0.04)
    assert found[3] == pytest.approx(covariances, rel=5e-6)
    assert (model.patients, model.values) == (27, np.count_nonzero(~np.isnan(values)))
    assert (model.converged, model.reason) == (True, None)


def test_two_groups_are_what_gls_of_r_answers():
    """`part, by sex` of the script; so few patients are not offered, so that the likelihood is asked itself."""
    best = maximum(Patterns.of_values(PART[None], BOYS.astype(np.int64)))
    change = np.eye(4) - np.eye(4)[[0]] * (np.arange(4)[:, None] > 0)
    girls = np.stack([change, 0 * change], axis=1)
    found = best.contrasts(np.concatenate([girls, np.stack([-change, change], axis=1)]))
    estimates = [21.2103329066, 0.7739465156, 2.0328946368, 2.9085124241]
    estimates += [1.7425572549, 0.0705234553, 0.8573483844, 1.2598388649]
    errors = [0.748845561, 0.659752576, 0.709309003, 0.754384098, 0.976348400, 0.856483101, 0.918541904, 0.987940185]
    df = [24.4484345, 23.8032834, 24.2068291, 23.0516374, 24.6205443, 23.6787822, 24.0936928, 23.7034917]
    assert best.log_likelihood[0] == pytest.approx(-181.476275, abs=1e-6)
    assert found[0][0] == pytest.approx(estimates, rel=1e-6, abs=1e-6)
    assert found[1][0] == pytest.approx(errors, rel=5e-6)
    assert found[2][0] == pytest.approx(df, rel=1e-5)


def test_two_visits_are_what_lmer_and_lmertest_of_r_answer():
    """pbkrtest corrects the errors as well (Kenward and Roger): they are 0.3 and 1.2 % larger, df 24.71 and 21.13."""
    model = mixed_model(PART[:, [0, 2]], (0, 12))
    estimates, errors, df, covariances = numbers(model)
    assert model.log_likelihood == pytest.approx(-104.84206, abs=5e-6)
    assert estimates == pytest.approx([22.16263659, 2.59890604, 24.7615426], rel=1e-8)
    assert errors == pytest.approx([0.504966390, 0.474610582, 0.540754072], rel=1e-7)
    assert df == pytest.approx([25.6986752, 21.5936533, 23.6682428], rel=1e-6)
    assert [effect.test.statistic for effect in model.effects[:2]] == pytest.approx([43.88933009, 5.47587039], rel=1e-7)
    assert [effect.test.p for effect in model.effects[:2]] == pytest.approx([1.07508532e-25, 1.78783121e-05], rel=1e-5)
    between, late, residual = 4.404910256, 0.751092338, 2.011836020
    assert covariances == pytest.approx([between + residual, between, between + late + residual], rel=1e-6)
    assert errors == pytest.approx([0.506631161, 0.480084385, errors[2]], rel=0.012)


def test_complete_values_have_the_t_tests_of_each_change():
    """The covariance is that of the sample then, and Satterthwaite's degrees of freedom are exactly n - 1."""
    values = drawn(1)
    model = mixed_model(values, (0, 1, 2, 4, 8), level=0.9)
    assert numbers(model)[3] == pytest.approx(np.cov(values.T)[np.triu_indices(5)], rel=1e-9)
    for place, effect in enumerate(model.effects[1:5], 1):
        change = paired_change(values[:, place] - values[:, 0], level=0.9)
        assert effect.estimate == pytest.approx(change.mean, abs=1e-12)
        assert effect.test.df == pytest.approx(24, rel=1e-9)
        assert effect.test.statistic == pytest.approx(change.tests[1].statistic, rel=1e-9)
        assert effect.test.p == pytest.approx(change.tests[1].p, rel=1e-8)
        interval = (effect.interval.low, effect.interval.high)
        assert interval == pytest.approx((change.intervals[0].low, change.intervals[0].high), rel=1e-9)
        assert (effect.interval.method, effect.test.method) == ("satterthwaite_t", "satterthwaite_t")
    means = [model.effects[0], *model.effects[5:]]
    assert [each.estimate for each in means] == pytest.approx(values.mean(axis=0))
    assert [each.standard_error for each in means] == pytest.approx(values.std(axis=0, ddof=1) / 5)


def test_of_complete_values_the_interaction_is_the_two_sample_t_test_of_the_changes():
    values, first = drawn(2, patients=41, visits=4), np.arange(41) < 20
    model = mixed_model(values, WEEKS, group=first)
    actual = {(each.term, each.week): each for each in model.effects}
    assert list(actual) == [
        *(("intercept", None), ("week", 10), ("week", 12), ("week", 14)),
        *(("group", None), ("group_by_week", 10), ("group_by_week", 12), ("group_by_week", 14)),
    ]
    change = values[:, 1:] - values[:, :1]
    assert actual["intercept", None].estimate == pytest.approx(values[~first, 0].mean())
    assert actual["group", None].estimate == pytest.approx(values[first, 0].mean() - values[~first, 0].mean())
    for place, week in enumerate(WEEKS[1:]):
        one, two = change[first, place], change[~first, place]
        pooled = (one.var(ddof=1) * 19 + two.var(ddof=1) * 20) / 39
        assert actual["week", week].estimate == pytest.approx(two.mean())
        assert actual["group_by_week", week].estimate == pytest.approx(one.mean() - two.mean())
        assert actual["group_by_week", week].standard_error == pytest.approx((pooled * (1 / 20 + 1 / 21)) ** 0.5)
        assert actual["group_by_week", week].test.df == pytest.approx(39, rel=1e-9)


@pytest.mark.parametrize(("seed", "visits", "groups"), [(0, 2, 1), (1, 3, 1), (2, 3, 1), (3, 2, 2)])
def test_incomplete_values_are_fitted_as_the_twin_fits_them(seed, visits, groups):
    weeks = tuple(range(visits))
    values = drawn(seed, patients=5 * visits * groups, visits=visits, missing=0.1)
    first = np.arange(len(values)) % 2 == 0
    model = mixed_model(values, weeks, group=first if groups == 2 else None)
    estimates, errors, df, covariances = numbers(model)
    rows, side = listed(values), [int(groups == 2 and not each) for each in first]
    covariance = square(covariances, visits)
    height = restricted_height(rows, side, covariance)
    assert model.log_likelihood == pytest.approx(height, abs=1e-9)
    source = np.random.default_rng(seed)
    for size in np.repeat([1e-4, 1e-2, 0.1, 0.5], 10):
        root = np.linalg.cholesky(covariance) @ (np.eye(visits) + size * source.normal(size=(visits, visits)))
        assert restricted_height(rows, side, root @ root.T) < height
    last = {"week": -1.0, "group_by_week": -1.0}
    for effect, error, found in zip(model.effects, errors, df, strict=True):
        week = effect.week or 0
        weights = {(groups - 1, week): 1.0}
        if effect.term in last:
            weights[groups - 1, 0] = last[effect.term]
        if effect.term.startswith("group"):
            weights |= {(0, visit): -weight for (_, visit), weight in weights.items()}
        variance, expected = satterthwaite(rows, side, covariance.tolist(), weights)
        assert error == pytest.approx(variance**0.5, rel=1e-9)
        assert found == pytest.approx(expected, rel=1e-3)
    assert estimates[0] != pytest.approx(np.nanmean(values[:, 0]), abs=1e-6)


def test_the_visits_before_a_patient_left_correct_the_mean_of_the_rest():
    """Patients with high values left: those who stayed are low, and the model knows that."""
    values = drawn(3, patients=400, visits=2)
    left = values[:, 0] > np.quantile(values[:, 0], 0.65)
    full = values[:, 1].mean()
    values[left, 1] = np.nan
    [effect] = [each for each in mixed_model(values, (0, 1)).effects if each.term == "mean"]
    assert np.nanmean(values[:, 1]) < full - 0.5
    assert effect.estimate == pytest.approx(full, abs=2 * effect.standard_error)


def test_a_maximum_far_from_the_start_is_found():
    """The 6 of 10 patients who stayed spread less at first, so that the later variance is extrapolated twentyfold.

    Whole steps of Newton do not lead there.
    """
    early = [-0.39, -0.73, -0.39, -0.73, -0.39, -0.73, 1.97, 1.97, -0.29, -0.29]
    values = np.column_stack([early, [1.56, 0.05, 0.76, -0.76, -0.05, -1.56, *[np.nan] * 4]])
    model = mixed_model(values, (0, 1))
    assert (model.reason, model.converged) == (None, True)
    covariance = square(numbers(model)[3], 2)
    height = restricted_height(listed(values), [0] * 10, covariance)
    assert model.log_likelihood == pytest.approx(height, abs=1e-9)
    assert covariance[1, 1] > 20 * covariance[0, 0]
    for factor in (0.99, 1.01):
        assert restricted_height(listed(values), [0] * 10, covariance * factor) < height


def test_a_covariance_that_the_values_leave_open_is_no_maximum():
    """All who stayed had the same first value, so that nothing says how the visits go together."""
    late = [0, 0, 0, 1, 0, 1, 0, 0, np.nan, np.nan]
    model = mixed_model(np.column_stack([[0.0] * 8 + [1.0, 0.0], late]), (0, 1))
    assert (model.reason, model.converged) == (Reason.NOT_CONVERGED, False)


@given(
    st.integers(1, 3).flatmap(
        lambda visits: arrays.arrays(
            float,
            st.tuples(st.integers(5 * visits, 5 * visits + 3), st.just(visits)),
            elements=st.sampled_from([0, 0, 0, 0.5, 1, 1, -2, 9, np.nan]),
        )
    )
)
@settings(max_examples=repeats(40), deadline=None)
def test_whatever_is_measured_there_is_a_maximum_or_a_reason(values):
    model = mixed_model(values, tuple(range(values.shape[1])))
    if model.reason is not None:
        assert {each.test.reason for each in model.effects} <= {model.reason}
        return
    assert all(each.standard_error > 0 and each.test.df > 0 for each in model.effects)
    covariance = square(numbers(model)[3], len(model.effects) // 2 + 1)
    kept = values[:, ~np.isnan(values).all(axis=0)]
    rows = listed(kept[~np.isnan(kept).all(axis=1)])
    height = restricted_height(rows, [0] * len(rows), covariance)
    assert model.log_likelihood == pytest.approx(height, rel=1e-6, abs=1e-6)
    source = np.random.default_rng(0)
    for size in (1e-3, 0.1, 0.9):
        root = np.linalg.cholesky(covariance) @ (np.eye(len(covariance)) + size * source.normal(size=covariance.shape))
        assert restricted_height(rows, [0] * len(rows), root @ root.T) <= height + 1e-6


def test_a_patient_seen_once_counts():
    more = np.vstack([ORTHODONT, [[30, np.nan, np.nan, np.nan]]])
    alone, both = mixed_model(ORTHODONT, WEEKS), mixed_model(more, WEEKS)
    assert (both.patients, both.values) == (28, 109)
    assert both.effects[0].estimate > alone.effects[0].estimate


@given(st.floats(-1e3, 1e3), st.sampled_from([1e-3, 0.1, 7.0, 1e4]))
@settings(max_examples=repeats(10), deadline=None)
def test_another_origin_and_unit_change_the_numbers_as_they_should(origin, unit):
    plain, moved = mixed_model(PART, WEEKS), mixed_model(origin + unit * PART, WEEKS)
    expected = [unit * each for each in numbers(plain)[0]]
    for place in (0, 4, 5, 6):
        expected[place] += origin
    assert numbers(moved)[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert numbers(moved)[1] == pytest.approx([unit * each for each in numbers(plain)[1]], rel=1e-6)
    assert numbers(moved)[2] == pytest.approx(numbers(plain)[2], rel=1e-6)
    assert moved.log_likelihood == pytest.approx(plain.log_likelihood - (plain.values - 4) * np.log(unit), abs=1e-5)


@given(st.permutations(range(27)))
@settings(max_examples=repeats(5), deadline=None)
def test_the_order_of_the_patients_shows_nowhere(order):
    assert mixed_model(PART[order], WEEKS) == mixed_model(PART, WEEKS)
    first = np.arange(27) % 2 == 0
    two, weeks = PART[:, :2], (0, 10)
    assert mixed_model(two[order], weeks, group=first[order]) == mixed_model(two, weeks, group=first)


def test_a_week_without_values_leaves_the_model():
    values = ORTHODONT.copy()
    values[:, 2] = np.nan
    model = mixed_model(values, WEEKS)
    assert [each.week for each in model.effects] == [None, 10, 14, 10, 14]
    assert [(each.week, each.other) for each in model.covariances] == [
        *((0, 0), (0, 10), (0, 14)),
        *((10, 10), (10, 14), (14, 14)),
    ]
    values[~BOYS, 1] = np.nan
    actual = [(each.term, each.week) for each in mixed_model(values, WEEKS, group=BOYS).effects]
    assert actual == [("intercept", None), ("week", 14), ("group", None), ("group_by_week", 14)]


@pytest.mark.parametrize(("visits", "least"), [(1, 5), (2, 10), (4, 20), (8, 40)])
def test_the_model_is_offered_from_five_patients_a_visit(visits, least):
    for patients, reason in ((least, None), (least - 1, Reason.TOO_FEW)):
        model = mixed_model(drawn(1, patients=patients, visits=visits), range(visits))
        assert model.reason is reason
        assert all(
            (each.estimate is None, each.interval.reason) == (reason is not None, reason) for each in model.effects
        )
        assert (model.log_likelihood is None) == (reason is not None)
        assert [each.test.df for each in model.effects] == pytest.approx(
            [patients - 1.0] * len(model.effects)
        ) or reason


def test_the_model_is_offered_while_three_fifths_were_seen_at_both_of_any_two_visits():
    values = drawn(1, patients=20, visits=4)
    values[:4, 1] = values[4:8, 3] = np.nan
    assert offered(~np.isnan(values))
    assert mixed_model(values, WEEKS).reason is None
    values[8, 3] = np.nan
    assert not offered(~np.isnan(values))
    assert mixed_model(values, WEEKS).reason is Reason.TOO_FEW


def test_nine_visits_are_never_offered():
    assert mixed_model(drawn(1, patients=100, visits=8), range(8)).reason is None
    assert mixed_model(drawn(1, patients=100, visits=9), range(9)).reason is Reason.TOO_FEW


def test_each_of_two_groups_must_have_enough_patients():
    first = np.arange(27) < 20
    for group in (first, ~first):
        assert mixed_model(ORTHODONT, WEEKS, group=group).reason is Reason.TOO_FEW
    assert mixed_model(ORTHODONT, WEEKS).reason is None


ALIKE = ORTHODONT[:, :1] + [[0, 1, 2, np.nan], [0, 1, 2, 3], [0, 1, 2, 3]] * 9


@pytest.mark.parametrize(
    ("values", "reason", "converged"),
    [
        (ORTHODONT[:0], Reason.NO_PATIENTS, None),
        (np.full((3, 4), np.nan), Reason.NO_PATIENTS, None),
        (np.where(np.arange(4) == 0, np.nan, ORTHODONT), Reason.NO_PATIENTS, None),
        (ORTHODONT[:1], Reason.TOO_FEW, None),
        (np.ones((27, 4)), Reason.SINGULAR_COVARIANCE, False),
        (np.ones((27, 4)) * [1, 2, 3, 4], Reason.SINGULAR_COVARIANCE, False),
        (np.where(drawn(1, 27, 4) > 1, 0.1, np.nextafter(0.1, 1)), Reason.SINGULAR_COVARIANCE, False),
        (ORTHODONT[:, :1] / 3 + [0, 0.1, 0.7, 1.3], Reason.SINGULAR_COVARIANCE, False),
        (np.where(np.arange(4) == 2, 7.0, ORTHODONT), Reason.SINGULAR_COVARIANCE, False),
        (ORTHODONT[:, [0, 1, 2, 2]], Reason.SINGULAR_COVARIANCE, False),
        (np.column_stack([ORTHODONT[:, :3], ORTHODONT[:, :3].sum(axis=1)]), Reason.SINGULAR_COVARIANCE, False),
        (ALIKE, Reason.SINGULAR_COVARIANCE, False),
        (drawn(2, 27, 4)[:, :1] * 1e7 + drawn(3, 27, 4), Reason.SINGULAR_COVARIANCE, False),
    ],
    ids=[
        *("nobody", "no value", "no baseline", "one patient", "constant", "no deviation"),
        *("rounding errors", "all alike"),
        *("one visit constant", "two visits equal", "a visit is the sum of others", "all alike, some missing"),
        "next to no residual",
    ],
)
def test_what_cannot_be_fitted_is_null_and_says_why(values, reason, converged):
    model = mixed_model(values, WEEKS)
    assert (model.reason, model.converged, model.log_likelihood) == (reason, converged, None)
    expected = {(None, None, reason, None, None)} if model.effects else set()
    assert {
        (each.estimate, each.standard_error, each.interval.reason, each.test.p, each.test.df) for each in model.effects
    } == expected
    assert {each.covariance for each in model.covariances} <= {None}


def test_a_search_that_does_not_end_is_null_and_says_so(monkeypatch):
    monkeypatch.setattr("app.estimate.changes.restricted_likelihood.STEPS", 2)
    model = mixed_model(PART, WEEKS)
    assert (model.reason, model.converged, model.log_likelihood) == (Reason.NOT_CONVERGED, False, None)


def test_week_zero_alone_has_the_t_interval_of_its_mean():
    model = mixed_model(np.where(np.arange(4) == 0, ORTHODONT, np.nan), WEEKS)
    [mean] = model.effects
    expected = paired_change(ORTHODONT[:, 0]).intervals[0]
    assert (mean.interval.low, mean.interval.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.05, 0.1])
def test_ordinary_values_are_never_without_an_answer(missing):
    models = [mixed_model(drawn(seed, missing=missing), (0, 1, 2, 4, 8)) for seed in range(15)]
    models = [model for model in models if model.reason is not Reason.TOO_FEW]
    assert {(model.reason, model.converged) for model in models} == {(None, True)}
    assert len(models) > 10


def test_cohorts_that_are_fitted_together_have_the_numbers_that_they_have_alone():
    values = np.stack([drawn(seed, patients=20, visits=4, missing=0.05) for seed in range(6)])
    values[3] = 1.0
    side = np.zeros(20, dtype=np.int64)
    together = maximum(Patterns.of_values(values, side))
    assert together.singular.tolist() == [False, False, False, True, False, False]
    assert together.converged.tolist() == [True, True, True, False, True, True]
    for place in (0, 1, 2, 4, 5):
        alone = maximum(Patterns.of_values(values[place : place + 1], side))
        assert together.means[place] == pytest.approx(alone.means[0], rel=1e-9)
        for both, one in zip(together.contrasts(np.eye(4)[:, None]), alone.contrasts(np.eye(4)[:, None]), strict=True):
            assert both[place] == pytest.approx(one[0], rel=1e-7)


def test_ten_thousand_patients_take_no_time():
    start = time.process_time()
    model = mixed_model(drawn(1, patients=10_000, missing=0.1), (0, 1, 2, 4, 8))
    assert time.process_time() - start < 5
    assert [each.covariance for each in model.covariances[:2]] == pytest.approx([1, 0.7 * 1.25], rel=0.1)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="week 0"):
        mixed_model(ORTHODONT, (1, 2, 3, 4))
    with pytest.raises(ValueError, match="column"):
        mixed_model(ORTHODONT, (0, 1))
