"""Constant levels with correlated errors: against R, a twin with matrices, and the moments of many draws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.estimate.changes.constant_levels import LaterValues, constant_levels
from app.estimate.changes.hodges_lehmann import hodges_lehmann
from app.estimate.changes.signed_rank import signed_rank_test
from app.estimate.changes.signed_rank_rows import signed_rank_rows
from app.estimate.results import Reason
from app.estimate.times.aalen_johansen import event_free, restricted_mean_event_free
from app.estimate.times.many_curves import medians_and_means
from app.estimate.times.survival import HalfRule, kaplan_meier, restricted_mean
from tests.repetition import repeats

TWELVE = [
    (0, -59, 4.299), (0, -33, 4.892), (0, -30, 5.264), (0, -22, 4.992), (0, -15, 4.361), (0, -14, 4.219),
    (1, -50, 4.476), (1, -6, 4.685), (1, -3, 4.621), (2, -57, 4.244), (2, -49, 3.818), (2, -45, 3.995),
    (2, -40, 4.113), (2, -38, 4.08), (2, -30, 3.835), (2, -11, 4.092), (2, -9, 3.878), (3, -53, 4.692),
    (3, -42, 4.643), (4, -57, 5.206), (4, -52, 4.667), (4, -48, 4.943), (4, -42, 4.513), (4, -30, 4.607),
    (4, -29, 4.482), (4, -13, 5.328), (5, -49, 5.491), (5, -47, 5.295), (5, -43, 5.234), (5, -20, 4.968),
    (5, -17, 5.13), (5, -3, 4.85), (6, -51, 4.726), (6, -37, 5.342), (7, -19, 4.489), (7, -4, 4.041),
    (8, -31, 3.753), (8, -18, 4.37), (8, -9, 3.862), (9, -60, 5.73), (9, -52, 5.393), (9, -37, 5.106),
    (9, -12, 5.796), (10, -60, 4.774), (10, -56, 5.334), (10, -52, 5.272), (10, -40, 4.281), (10, -37, 4.878),
    (10, -20, 4.895), (10, -15, 4.525), (11, -60, 4.159), (11, -57, 4.28), (11, -16, 4.98),
]  # fmt: skip
PAIRS = [(p, d, v) for p, pair in enumerate([(62, 62), (56, 55), (70, 71), (48, 47), (68, 66), (57, 59)])
         for d, v in zip((-28, -1), pair, strict=True)]  # fmt: skip


def fitted(rows, size=None, **more):
    patient, day, value = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0, int)] * 3
    return constant_levels(patient, day, value.astype(float), size or len(set(patient.tolist())), **more)


def test_the_estimates_are_those_of_nlme():
    """R 4.2.2, nlme: lme(y ~ 1, random = ~1 | p, correlation = corCAR1(form = ~day | p), data = d): fixef, VarCorr,
    and the seventh power of Phi.
    """
    found, _ = fitted(TWELVE)

    assert [found.mean, found.sd_between, found.sd_within, found.correlation] == pytest.approx(
        [4.675407, 0.4115014, 0.3376123, 0.30964352], rel=2e-4
    )
    assert (found.patients, found.repeated, found.values, found.reason) == (12, 12, 53, None)


def test_two_values_of_each_patient_give_no_correlation():
    """The REML estimates of a balanced design: the mean square within, and (between - within)/2."""
    found, _ = fitted(PAIRS)
    pairs = np.array([v for _, _, v in PAIRS], dtype=float).reshape(-1, 2)
    within = ((pairs[:, 0] - pairs[:, 1]) ** 2).sum() / 2 / 6
    between = 2 * pairs.mean(axis=1).var(ddof=1)

    assert found.correlation is None
    assert found.sd_within == pytest.approx(math.sqrt(within), rel=1e-4)
    assert found.sd_between == pytest.approx(math.sqrt((between - within) / 2), rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "bounded", "reason"),
    [
        ([], 0, Reason.NO_PATIENTS),
        ([(0, 0, 1.0)], 0, Reason.TOO_FEW_RUN_IN),
        (PAIRS[:8], 0, Reason.TOO_FEW_RUN_IN),
        ([(p, d, 50.0 + p) for p, d, _ in PAIRS], 0, Reason.NO_ERROR_SEEN),
        ([(p, d, 50.0) for p, d, _ in PAIRS], 0, Reason.NO_ERROR_SEEN),
        (PAIRS, 2, Reason.BOUNDED_RUN_IN),
        (PAIRS, 1, None),
        (PAIRS[:10], 0, None),
    ],
)
def test_a_run_in_that_tells_too_little_has_no_estimates_and_a_reason(rows, bounded, reason):
    found, levels = fitted(rows, bounded=bounded)

    assert found.reason == reason
    assert (levels is None) == (found.mean is None) == (found.sd_within is None) == (reason is not None)


def slow_levels(rows, patient, found, per_day):
    """Mean and variance of a patient's level given the run-in by matrices: the normal distribution of level and values
    together.
    """
    own = [(d, v) for p, d, v in rows if p == patient]
    days, values = (np.array(column, dtype=float) for column in zip(*own, strict=True)) if own else ([], [])
    between = found.sd_between**2
    if not own:
        return found.mean, between
    errors = found.sd_within**2 * per_day ** np.abs(days[:, None] - days[None, :])
    weights = np.linalg.solve(errors + between, np.full(len(days), between))
    return found.mean + weights @ (values - found.mean), between - weights.sum() * between


def test_levels_given_the_run_in_are_those_of_the_joint_normal_distribution():
    found, levels = fitted(TWELVE, 13)

    for patient in range(13):
        mean, variance = slow_levels(TWELVE, patient, found, levels.per_day)
        assert levels.mean[patient] == pytest.approx(mean, rel=1e-9)
        assert levels.deviation[patient] ** 2 == pytest.approx(variance, rel=1e-7)


def slow_later(rows, patient, days, found, per_day):
    """Mean and covariance of later values given the own run-in by matrices."""
    own = [(d, v) for p, d, v in rows if p == patient]
    before, values = np.array([d for d, _ in own], dtype=float), np.array([v for _, v in own])
    every = np.concatenate([before, days])
    whole = found.sd_between**2 + found.sd_within**2 * per_day ** np.abs(every[:, None] - every[None, :])
    n = len(own)
    weights = np.linalg.solve(whole[:n, :n], whole[:n, n:]).T if n else np.zeros((len(days), 0))
    return found.mean + weights @ (values - found.mean), whole[n:, n:] - weights @ whole[:n, n:]


@pytest.mark.parametrize("patient", [0, 5, 12])
def test_later_values_have_the_mean_and_covariance_given_the_run_in(patient):
    """Patient 12 has no run-in. 20,000 draws; limits of five standard errors."""
    found, levels = fitted(TWELVE, 13)
    days = np.array([1, 2, 8, 8, 40])
    mean, covariance = slow_later(TWELVE, patient, days, found, levels.per_day)
    draws = 20_000
    drawn = LaterValues.of(levels, np.full(5, patient), days).drawn([[7, i] for i in range(draws)])

    deviation = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < 5 * deviation / math.sqrt(draws))
    error = np.sqrt((covariance**2 + np.outer(deviation, deviation) ** 2) / draws)
    assert np.all(np.abs(np.cov(drawn.T) - covariance) < 5 * error)
    assert np.array_equal(drawn[:, 2], drawn[:, 3])


def test_patients_chosen_for_a_high_baseline_fall_back_as_galton_says():
    """(1 - ICC)(mean - baseline), errors independent: here for one run-in value, which is the baseline."""
    found, levels = fitted(PAIRS)
    levels = type(levels)(
        *(getattr(levels, name) for name in ("mean", "deviation", "last", "last_day", "sd_within")), 0.0
    )
    icc = found.sd_between**2 / (found.sd_between**2 + found.sd_within**2)
    [mean] = [slow_later([(0, 0, 75.0)], 0, np.array([28]), found, 0.0)[0]]

    assert mean[0] - 75 == pytest.approx((1 - icc) * (found.mean - 75))
    assert levels.per_day == 0.0


def test_another_order_of_seeds_and_other_patients_change_no_draw():
    _, levels = fitted(TWELVE)
    patient, day = np.array([0, 0, 3, 7]), np.array([7, 14, 7, 7])
    both = LaterValues.of(levels, patient, day).drawn([[1, 0], [1, 1]])

    assert np.array_equal(LaterValues.of(levels, patient, day).drawn([[1, 1], [1, 0]]), both[::-1])


ROWS = st.lists(
    st.lists(st.one_of(st.none(), st.integers(-40, 40).map(lambda n: n / 10)), min_size=7, max_size=7), max_size=6
)


@given(
    ROWS,
    st.sampled_from(["drop", "pratt"]),
    st.sampled_from(["exact", "exact_unless_tied", "normal_corrected", "normal"]),
)
def test_the_tests_of_many_rows_are_those_of_each(rows, zeros, p):
    table = np.array([[math.nan if x is None else x for x in row] for row in rows]).reshape(-1, 7)
    found = signed_rank_rows(table, zeros, p)

    for row, own in zip(table, found, strict=True):
        values = row[~np.isnan(row)]
        expected = signed_rank_test(values, zeros, p).p
        assert own.p == (None if expected is None else pytest.approx(expected, rel=1e-12))
        centre = hodges_lehmann(values, zeros=zeros).estimate
        if own.p is not None and own.p <= 0.2:
            sign = None if not centre else centre > 0
            assert own.rises is sign


def test_the_test_of_many_values_is_that_of_one_row():
    random = np.random.default_rng(3)
    table = np.round(random.standard_normal((4, 80)) + 0.2, 2)

    for row, own in zip(table, signed_rank_rows(table), strict=True):
        assert own.p == pytest.approx(signed_rank_test(row).p, rel=1e-12)
        assert own.rises is bool(hodges_lehmann(row).estimate > 0)


SPELLS = st.lists(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=8), min_size=1, max_size=5)
RULES = st.builds(
    HalfRule, st.sampled_from(["midpoint", "lower"]), st.sampled_from(["left_end", "midpoint_to_last", "not_reached"])
)


@settings(max_examples=repeats(20, 100))
@given(SPELLS, RULES, st.integers(0, 15), st.booleans())
def test_the_medians_and_means_of_many_curves_are_those_of_each(spells, rule, until, competing):
    cohort = np.array([i for i, own in enumerate(spells) for _ in own], dtype=np.int64)
    durations, causes = (np.array([spell[k] for own in spells for spell in own], dtype=np.int64) for k in (0, 1))
    medians, means = medians_and_means(
        cohort, len(spells), durations, causes, competing=competing, until=until, rule=rule
    )
    for i, own in enumerate(spells):
        time, cause = ([spell[k] for spell in own] for k in (0, 1))
        named = {"median": rule.median, "plateau": rule.plateau}
        if competing:
            curve = event_free(time, cause, causes_known=3, **named)
            mean = restricted_mean_event_free(time, cause, causes_known=3, until=until).value
        else:
            curve = kaplan_meier(time, [each != 0 for each in cause], **named)
            mean = restricted_mean(time, [each != 0 for each in cause], until=until).value
        expected = math.nan if not own else math.inf if curve.median.value is None else curve.median.value
        assert medians[i] == pytest.approx(expected, nan_ok=True)
        assert means[i] == pytest.approx(math.nan if mean is None else mean, nan_ok=True)
