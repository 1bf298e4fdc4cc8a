"""The mixed model of repeated measures, beside R and a plain search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.estimate.changes import mixed_model as module
from app.estimate.changes.mixed_model import mixed_model
from app.estimate.results import Reason
from tests.estimate.comparison_twins import random_intercept

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
    told = {(each.term, each.week): each.estimate for each in model.effects}
    assert told["group", None] == pytest.approx(ORTHODONT[BOYS, 0].mean() - ORTHODONT[~BOYS, 0].mean(), abs=1e-9)
    for place, week in enumerate(WEEKS[1:]):
        assert told["week", week] == pytest.approx(change[~BOYS, place].mean(), abs=1e-9)
        expected = change[BOYS, place].mean() - change[~BOYS, place].mean()
        assert told["group_by_week", week] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_incomplete_values_are_fitted_as_the_twin_fits_them(seed, grouped):
    drawn = np.random.default_rng(seed)
    values = drawn.normal(size=(14, 1)) * 1.5 + drawn.normal(size=(14, 4)) + [0, -1, -2, -2]
    values[drawn.random((14, 4)) < 0.25] = np.nan
    group = np.arange(14) % 2 == 0
    model = mixed_model(values, (0, 1, 2, 4), group=group if grouped else None)

    def columns(i, j):
        weeks = [1.0, *(float(j == k) for k in (1, 2, 3))]
        return [*weeks, *(group[i] * week for week in weeks)] if grouped else weeks

    rows = [[None if np.isnan(v) else v for v in row] for row in values.tolist()]
    likelihood, beta, errors, between, within = random_intercept(rows, columns)
    assert model.reason is None
    assert model.log_likelihood == pytest.approx(likelihood, abs=1e-6)
    found = numbers(model)
    assert found[0] == pytest.approx(beta, abs=2e-4)
    assert found[1] == pytest.approx(errors, rel=2e-4)
    assert [model.variance_between, model.variance_within] == pytest.approx([between, within], rel=5e-4)


@given(st.permutations(range(12)))
@settings(max_examples=5, deadline=None)
def test_the_order_of_the_patients_shows_nowhere(order):
    values = ORTHODONT[10:22]
    group = BOYS[10:22]
    assert mixed_model(values[order], WEEKS, group=group[order]) == mixed_model(values, WEEKS, group=group)


def test_a_week_without_values_leaves_the_model():
    values = ORTHODONT.copy()
    values[:, 2] = np.nan
    model = mixed_model(values, WEEKS)
    assert [each.week for each in model.effects] == [None, 10, 14]
    values[~BOYS, 1] = np.nan
    told = [(each.term, each.week) for each in mixed_model(values, WEEKS, group=BOYS).effects]
    assert told == [("intercept", None), ("week", 14), ("group", None), ("group_by_week", 14)]


def test_patients_who_do_not_differ_have_no_variance_between_them():
    drawn = np.random.default_rng(5)
    values = drawn.normal(size=(12, 4))
    values -= values.mean(axis=1, keepdims=True)
    model = mixed_model(values, WEEKS)
    assert model.reason is Reason.NOT_CONVERGED or model.singular


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
    ],
    ids=["nobody", "no value", "no baseline", "one patient", "one week", "constant", "no deviation"],
)
def test_what_cannot_be_fitted_is_null_and_says_why(values, reason):
    model = mixed_model(values, WEEKS)
    assert (model.reason, model.converged, model.log_likelihood) == (reason, None, None)
    assert {(each.estimate, each.interval.reason, each.test.p) for each in model.effects} <= {(None, reason, None)}


def test_more_patients_than_can_be_fitted_in_time_are_told(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 26)
    assert mixed_model(ORTHODONT, WEEKS).reason is Reason.TOO_LARGE
    assert mixed_model(ORTHODONT[:26], WEEKS).reason is None


def test_without_the_extra_the_model_is_null(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert mixed_model(ORTHODONT, WEEKS).reason is Reason.EXTRA_NOT_INSTALLED


def test_a_search_that_does_not_end_is_told(monkeypatch):
    from statsmodels.regression.mixed_linear_model import MixedLM

    fit = MixedLM.fit

    def unfinished(self, **more):
        result = fit(self, **more)
        result.converged = False
        return result

    monkeypatch.setattr(MixedLM, "fit", unfinished)
    model = mixed_model(ORTHODONT, WEEKS)
    assert (model.reason, model.converged, model.effects[0].estimate) == (Reason.NOT_CONVERGED, False, None)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="week 0"):
        mixed_model(ORTHODONT, (1, 2, 3, 4))
    with pytest.raises(ValueError, match="column"):
        mixed_model(ORTHODONT, (0, 1))
