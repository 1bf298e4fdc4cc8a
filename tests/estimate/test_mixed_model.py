"""The mixed model of repeated measures, compared with R, statsmodels, a plain search and a grid."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from app.estimate.changes.mixed_model import mixed_model
from app.estimate.results import Reason
from tests.estimate.comparison_twins import random_intercept, restricted_heights
from tests.repetition import repeats

AGES = (8, 10, 12, 14)
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
RATIOS = np.concatenate(([0.0], np.geomspace(1e-6, 1e6, 3000)))


def drawn(seed, patients=15, share=0.3, missing=0.0, visits=5):
    """Values whose share of variance between patients is `share`."""
    source = np.random.default_rng(seed)
    noise = source.normal(size=(patients, visits)) * np.sqrt(1 - share)
    values = noise + source.normal(size=(patients, 1)) * np.sqrt(share) + 0.3 * np.arange(visits)
    values[source.random(values.shape) < missing] = np.nan
    return values


def of_statsmodels(values):
    """The same model, and where the search of statsmodels ended."""
    who, visit = np.nonzero(~np.isnan(values))
    x = np.column_stack([np.ones(len(who)), *(visit == k for k in range(1, values.shape[1]))])
    model = MixedLM(values[who, visit], x, groups=who)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model, model.fit(reml=True)


def numbers(model):
    return [each.estimate for each in model.effects], [each.standard_error for each in model.effects]


def test_these_are_the_data_that_r_has():
    """Contrast 8 - 2 x 10 + 12 of ln distance by R: mean 0.0148318, standard error 0.0305792."""
    contrast = np.log(ORTHODONT[:, :3]) @ [1, -2, 1]
    assert contrast.mean() == pytest.approx(0.0148318, abs=5e-8)
    assert contrast.std(ddof=1) / np.sqrt(27) == pytest.approx(0.0305792, abs=5e-8)


def test_orthodont_is_what_r_answers():
    """R lme4::lmer(distance ~ factor(age) + (1 | Subject), REML = TRUE)."""
    model = mixed_model(ORTHODONT, WEEKS)
    estimates, errors = numbers(model)
    assert estimates[1:] == pytest.approx([0.981481, 2.462963, 3.907407], abs=5e-7)
    assert errors[1:] == pytest.approx([0.392378] * 3, abs=1e-6)
    assert model.log_likelihood == pytest.approx(-221.5988, abs=5e-5)
    assert [model.variance_between, model.variance_within] == pytest.approx([4.464803, 2.078466], rel=1e-5)
    assert (model.patients, model.values, model.converged, model.singular, model.reason) == (27, 108, True, False, None)


def test_an_effect_has_walds_z_and_interval():
    effect = mixed_model(ORTHODONT, WEEKS, level=0.9).effects[1]
    assert (effect.term, effect.week, effect.test.method) == ("week", 10, "wald_z")
    assert effect.test.statistic == pytest.approx(0.981481 / 0.392378, rel=1e-5)
    assert effect.test.p == pytest.approx(0.0123715, abs=1e-6)
    assert effect.interval.high - effect.estimate == pytest.approx(1.644853627 * effect.standard_error, rel=1e-8)


def test_of_complete_values_the_interaction_is_the_difference_of_the_mean_changes():
    model = mixed_model(ORTHODONT, WEEKS, group=BOYS)
    change = ORTHODONT[:, 1:] - ORTHODONT[:, :1]
    actual = {(each.term, each.week): each.estimate for each in model.effects}
    assert actual["group", None] == pytest.approx(ORTHODONT[BOYS, 0].mean() - ORTHODONT[~BOYS, 0].mean(), abs=1e-9)
    for place, week in enumerate(WEEKS[1:]):
        assert actual["week", week] == pytest.approx(change[~BOYS, place].mean(), abs=1e-9)
        expected = change[BOYS, place].mean() - change[~BOYS, place].mean()
        assert actual["group_by_week", week] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_incomplete_values_are_fitted_as_the_twin_fits_them(seed, grouped):
    values = drawn(seed, patients=14, share=0.7, missing=0.25, visits=4)
    group = np.arange(14) % 2 == 0
    model = mixed_model(values, (0, 1, 2, 4), group=group if grouped else None)

    def columns(i, j):
        weeks = [1.0, *(float(j == k) for k in (1, 2, 3))]
        return [*weeks, *(group[i] * week for week in weeks)] if grouped else weeks

    rows = [[None if np.isnan(v) else v for v in row] for row in values.tolist()]
    likelihood, beta, errors, between, within = random_intercept(rows, columns)
    assert model.reason is None
    assert model.log_likelihood == pytest.approx(likelihood, abs=1e-10)
    found = numbers(model)
    assert found[0] == pytest.approx(beta, abs=1e-6)
    assert found[1] == pytest.approx(errors, rel=1e-6)
    assert [model.variance_between, model.variance_within] == pytest.approx([between, within], rel=1e-6)


def test_statsmodels_finds_the_same_model_where_its_search_ends_at_the_maximum():
    """And gives this model the same likelihood where it does not."""
    agreed = 0
    for seed in range(30):
        values = drawn(seed, share=(0.1, 0.3, 0.6)[seed % 3], missing=0.1)
        model = mixed_model(values, (0, 1, 2, 4, 8))
        second, fit = of_statsmodels(values)
        ratio = np.array([[model.variance_between / model.variance_within]])
        here = MixedLMParams.from_components(fe_params=np.array(numbers(model)[0]), cov_re=ratio)
        if not model.singular:  # it divides by the variance between patients
            assert second.loglike(here, profile_fe=False) == pytest.approx(model.log_likelihood, abs=1e-8)
        assert model.log_likelihood >= fit.llf - 1e-9
        if fit.converged and fit.llf > model.log_likelihood - 1e-9:
            agreed += 1
            assert numbers(model)[0] == pytest.approx(fit.fe_params, abs=1e-3)
            variances = [fit.cov_re[0, 0], fit.scale]
            assert [model.variance_between, model.variance_within] == pytest.approx(variances, abs=1e-3)
    assert agreed >= 10


@given(
    arrays.arrays(
        float,
        st.tuples(st.integers(2, 7), st.integers(2, 5)),
        elements=st.sampled_from([np.nan, -30, -2, 0, 0.5, 1, 9]),
    )
)
@settings(max_examples=repeats(300), deadline=None)
def test_at_no_ratio_is_the_likelihood_higher(values):
    values = values[~np.isnan(values).all(axis=1)]
    values = values[:, ~np.isnan(values).all(axis=0)] if len(values) else values
    model = mixed_model(values, tuple(range(values.shape[1])))
    if model.reason is None:
        heights = restricted_heights(values, RATIOS)
        assert model.log_likelihood >= heights.max() - 1e-8
        assert model.log_likelihood <= heights.max() + 0.01
        assert model.singular == (model.variance_between == 0)
    else:
        assert model.reason in (Reason.NO_PATIENTS, Reason.TOO_FEW_VALUES, Reason.CONSTANT_DIFFERENCES)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2])
def test_ordinary_values_are_never_without_an_answer(share):
    models = [mixed_model(drawn(seed, share=share), (0, 1, 2, 4, 8)) for seed in range(40)]
    assert {(model.reason, model.converged) for model in models} == {(None, True)}
    assert 0 < sum(model.singular for model in models) < 40


@pytest.mark.parametrize(
    ("values", "between"),
    [
        ([[5, 5, np.nan], [np.nan, 0, np.nan], [np.nan, np.nan, -3], [np.nan, -1, 6], [np.nan, -4, 2]], 28.4129),
        ([[np.nan, -28, np.nan], [-2, -2, -9], [-5, -5, -2]], 176.8114),
        ([[16, np.nan, np.nan, 2], [np.nan, np.nan, np.nan, 4], [np.nan, np.nan, 5, 5], [np.nan, 4, np.nan, np.nan],
          [np.nan, -3, 4, 1], [-4, np.nan, np.nan, np.nan]], 0.50155),
        ([[2, -3], [np.nan, 7], [0, 0]], 0.0),
    ],
)  # fmt: skip
def test_of_two_maxima_the_higher_is_taken(values, between):
    values = np.array(values, dtype=float)
    heights = restricted_heights(values, RATIOS)
    steps = np.diff(heights)
    assert (steps[0] < 0) + ((steps[:-1] > 0) & (steps[1:] < 0)).sum() == 2
    model = mixed_model(values, tuple(range(values.shape[1])))
    assert model.log_likelihood == pytest.approx(heights.max(), abs=1e-5)
    assert model.variance_between == pytest.approx(between, rel=1e-4)


def test_complete_values_have_the_variances_of_the_analysis_of_variance():
    """Searle, Casella and McCulloch 1992: of balanced values REML takes the mean squares where they differ."""
    values = drawn(1, share=0.5)
    n, visits = values.shape
    own = values - values.mean(axis=1, keepdims=True)
    residual = ((own - own.mean(axis=0)) ** 2).sum() / (n - 1) / (visits - 1)
    people = visits * values.mean(axis=1).var(ddof=1)
    model = mixed_model(values, (0, 1, 2, 4, 8))
    assert model.variance_within == pytest.approx(residual, rel=1e-12)
    assert model.variance_between == pytest.approx((people - residual) / visits, rel=1e-12)


def test_two_patients_are_enough():
    values = np.array([[1.0, 2.0, 4.0], [5.0, 7.0, 9.0]])
    model = mixed_model(values, (0, 1, 2))
    assert (model.reason, model.singular) == (None, False)
    assert model.variance_between == pytest.approx((3 * np.var([7 / 3, 7], ddof=1) - model.variance_within) / 3)


def test_a_patient_seen_once_counts():
    more = np.vstack([ORTHODONT, [[30, np.nan, np.nan, np.nan]]])
    alone, both = mixed_model(ORTHODONT, WEEKS), mixed_model(more, WEEKS)
    assert (both.patients, both.values) == (28, 109)
    assert both.effects[0].estimate > alone.effects[0].estimate


@given(st.floats(-1e3, 1e3), st.sampled_from([1e-3, 0.1, 7.0, 1e4]))
@settings(max_examples=repeats(20), deadline=None)
def test_another_origin_and_unit_change_the_numbers_as_they_should(origin, unit):
    values = np.where(np.arange(108).reshape(27, 4) % 7 == 3, np.nan, ORTHODONT)
    plain, moved = mixed_model(values, WEEKS), mixed_model(origin + unit * values, WEEKS)
    expected = [unit * each for each in numbers(plain)[0]]
    expected[0] += origin
    assert numbers(moved)[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert numbers(moved)[1] == pytest.approx([unit * each for each in numbers(plain)[1]], rel=1e-6)
    assert moved.variance_between == pytest.approx(unit**2 * plain.variance_between, rel=1e-6)
    free = plain.values - len(plain.effects)
    assert moved.log_likelihood == pytest.approx(plain.log_likelihood - free * np.log(unit), abs=1e-5)


@given(st.permutations(range(12)))
@settings(max_examples=repeats(5), deadline=None)
def test_the_order_of_the_patients_shows_nowhere(order):
    group = BOYS[10:22]
    for values in (ORTHODONT[10:22], drawn(4, patients=12, missing=0.3, visits=4)):
        assert mixed_model(values[order], WEEKS, group=group[order]) == mixed_model(values, WEEKS, group=group)


def test_a_week_without_values_leaves_the_model():
    values = ORTHODONT.copy()
    values[:, 2] = np.nan
    model = mixed_model(values, WEEKS)
    assert [each.week for each in model.effects] == [None, 10, 14]
    values[~BOYS, 1] = np.nan
    actual = [(each.term, each.week) for each in mixed_model(values, WEEKS, group=BOYS).effects]
    assert actual == [("intercept", None), ("week", 14), ("group", None), ("group_by_week", 14)]


def test_patients_who_do_not_differ_have_no_variance_between_them():
    values = np.random.default_rng(5).normal(size=(12, 4))
    values -= values.mean(axis=1, keepdims=True)
    model = mixed_model(values, WEEKS)
    assert (model.reason, model.converged, model.singular, model.variance_between) == (None, True, True, 0)
    free = values.size - 4
    assert model.variance_within == pytest.approx(((values - values.mean(axis=0)) ** 2).sum() / free)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (ORTHODONT[:0], Reason.NO_PATIENTS),
        (np.full((3, 4), np.nan), Reason.NO_PATIENTS),
        (np.where(np.arange(4) == 0, np.nan, ORTHODONT), Reason.NO_PATIENTS),
        (ORTHODONT[:1], Reason.TOO_FEW_VALUES),
        (np.where(np.arange(4) == 0, ORTHODONT, np.nan), Reason.TOO_FEW_VALUES),
        (np.ones((5, 4)), Reason.CONSTANT_DIFFERENCES),
        (np.ones((5, 4)) * [1, 2, 3, 4], Reason.CONSTANT_DIFFERENCES),
        (np.zeros((5, 4)), Reason.CONSTANT_DIFFERENCES),
        (ORTHODONT[:, :1] / 3 + [0, 0.1, 0.7, 1.3], Reason.CONSTANT_DIFFERENCES),
        (ORTHODONT[:, :1] + [[0, 1, 2, np.nan], [0, np.nan, 2, 3], [0, 1, np.nan, 3]] * 9, Reason.CONSTANT_DIFFERENCES),
        (np.array([[1, 2, np.nan, np.nan], [4, np.nan, np.nan, np.nan]]), Reason.TOO_FEW_VALUES),
    ],
    ids=[
        *("nobody", "no value", "no baseline", "one patient", "one week", "constant", "no deviation", "zero"),
        *("all alike", "all alike, some missing", "two patients, one change"),
    ],
)
def test_what_cannot_be_fitted_is_null_and_says_why(values, reason):
    model = mixed_model(values, WEEKS)
    assert (model.reason, model.converged, model.log_likelihood) == (reason, None, None)
    assert {(each.estimate, each.interval.reason, each.test.p) for each in model.effects} <= {(None, reason, None)}


def test_one_patient_a_group_cannot_tell_patients_from_groups():
    values = np.vstack([ORTHODONT[:1], ORTHODONT[16:17]])
    assert mixed_model(values, WEEKS, group=np.array([True, False])).reason is Reason.TOO_FEW_VALUES
    assert mixed_model(values, WEEKS).reason is None


def test_a_residual_variance_that_is_next_to_none_is_reported():
    values = drawn(2)[:, :1] * 1e7 + drawn(3)
    model = mixed_model(values, (0, 1, 2, 4, 8))
    assert (model.reason, model.converged, model.effects[0].estimate) == (Reason.NOT_CONVERGED, False, None)
    assert mixed_model(drawn(2)[:, :1] * 1e4 + drawn(3), (0, 1, 2, 4, 8)).reason is None


def test_ten_thousand_patients_take_no_time():
    start = time.process_time()
    model = mixed_model(drawn(1, patients=10_000, share=0.4, missing=0.1), (0, 1, 2, 4, 8))
    assert time.process_time() - start < 5
    assert [model.variance_between, model.variance_within] == pytest.approx([0.4, 0.6], rel=0.05)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="week 0"):
        mixed_model(ORTHODONT, (1, 2, 3, 4))
    with pytest.raises(ValueError, match="column"):
        mixed_model(ORTHODONT, (0, 1))
