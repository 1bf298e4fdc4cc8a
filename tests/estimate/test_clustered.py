"""Intervals of rates with several units in a patient, against plain Python and the cluster-robust regression of
statsmodels.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.estimate.rates.clustered import clustered_proportion, clustered_rate, clustered_rate_ratio
from app.estimate.rates.poisson import rate_ratio
from app.estimate.rates.proportion import proportion

EVENTS = np.array([0, 3, 1, 0, 7, 2, 0, 1])
TIME = np.array([10.0, 12.5, 3.0, 8.0, 20.0, 6.0, 9.5, 1.0])
OTHER_EVENTS = np.array([1, 0, 2, 0, 3, 1, 1, 0])
OTHER_TIME = np.array([30.0, 22.0, 41.0, 8.0, 25.0, 16.0, 19.5, 11.0])
K = np.array([1, 2, 0, 1, 3, 0, 1])
N = np.array([1, 2, 1, 3, 3, 2, 1])


def robust(design, events, time, patient):
    """Coefficients and covariance of a Poisson regression with an offset, robust to clusters."""
    import statsmodels.api as sm

    model = sm.GLM(events, design, family=sm.families.Poisson(), offset=np.log(time))
    groups = {"groups": patient, "use_correction": False}
    fit = model.fit(cov_type="cluster", cov_kwds=groups, tol=1e-14, maxiter=200)
    return fit.params, fit.cov_params()


def limits(centre, variance, patients, level):
    from scipy.stats import t

    half = t.ppf((1 + level) / 2, patients - 1) * math.sqrt(variance * patients / (patients - 1))
    return math.exp(centre - half), math.exp(centre + half)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_a_rate_has_the_interval_of_a_regression_robust_to_clusters(level):
    params, covariance = robust(np.ones((8, 1)), EVENTS, TIME, np.arange(8))
    found = clustered_rate(EVENTS, TIME, level=level)
    assert (found.low, found.high) == pytest.approx(limits(params[0], covariance[0, 0], 8, level), rel=1e-9)
    assert math.exp(params[0]) == pytest.approx(EVENTS.sum() / TIME.sum())


def test_a_ratio_of_rates_has_the_interval_of_a_regression_robust_to_clusters():
    design = np.column_stack([np.ones(16), np.repeat([1.0, 0.0], 8)])
    stacked = np.concatenate([EVENTS, OTHER_EVENTS]), np.concatenate([TIME, OTHER_TIME])
    params, covariance = robust(design, *stacked, np.tile(np.arange(8), 2))
    found = clustered_rate_ratio(EVENTS, TIME, OTHER_EVENTS, OTHER_TIME)
    assert (found.low, found.high) == pytest.approx(limits(params[1], covariance[1, 1], 8, 0.95), rel=1e-9)


def test_a_proportion_has_the_variance_of_a_regression_robust_to_clusters():
    """Korn and Graubard's interval by scipy.stats.beta on the variance of statsmodels."""
    import statsmodels.api as sm
    from scipy.stats import beta, t

    outcome = np.concatenate([np.repeat([1.0, 0.0], [k, n - k]) for k, n in zip(K, N, strict=True)])
    groups = {"groups": np.repeat(np.arange(7), N), "use_correction": False}
    fit = sm.OLS(outcome, np.ones((13, 1))).fit(cov_type="cluster", cov_kwds=groups)
    rate, variance = fit.params[0], fit.cov_params()[0, 0] * 7 / 6
    effective = min(13, 13 / 12 * rate * (1 - rate) / variance * (t.ppf(0.025, 12) / t.ppf(0.025, 6)) ** 2)
    found = clustered_proportion(K, N)
    assert found.patients == 7
    assert found.effective_n == pytest.approx(effective, rel=1e-12)
    assert found.design_effect == pytest.approx(12 * variance / (rate * (1 - rate)), rel=1e-12)
    k = rate * effective
    assert found.interval.low == pytest.approx(beta.ppf(0.025, k, effective - k + 1), rel=1e-9)
    assert found.interval.high == pytest.approx(beta.ppf(0.975, k + 1, effective - k), rel=1e-9)


def test_patients_whose_units_are_all_alike_count_once_each():
    """A unit that is counted twice adds no information."""
    once, twice = clustered_proportion(K[:4], N[:4]), clustered_proportion(2 * K[:4], 2 * N[:4])
    assert twice.design_effect / 13 == pytest.approx(once.design_effect / 6)
    assert twice.effective_n < 2 * once.effective_n


@pytest.mark.parametrize(("k", "n"), [(5, 7), (0, 3), (4, 4), (1, 2)])
def test_patients_with_one_each_have_the_exact_interval(k, n):
    found = clustered_proportion(np.repeat([1, 0], [k, n - k]), np.ones(n, dtype=np.int64))
    exact = proportion(k, n).intervals[0]
    assert found.effective_n == pytest.approx(n)
    assert (found.interval.low, found.interval.high) == pytest.approx((exact.low, exact.high))


def test_no_more_are_counted_than_there_are():
    """Each patient has one of two: they vary less than independent units, but the interval is not shorter."""
    found = clustered_proportion(np.array([1, 1, 1]), np.array([2, 2, 2]))
    assert (found.design_effect, found.effective_n) == (0, 6)
    exact = proportion(3, 6).intervals[0]
    assert (found.interval.low, found.interval.high) == pytest.approx((exact.low, exact.high))


def test_patients_less_varied_than_chance_count_no_more_than_they_are():
    found = clustered_proportion(np.array([1, 1, 1, 2]), np.array([2, 2, 2, 2]))
    exact = proportion(5, 8).intervals[0]
    assert found.design_effect == pytest.approx(7 / 15)
    assert found.effective_n == 8
    assert (found.interval.low, found.interval.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("k", [[0, 0, 0], [2, 1, 3]])
def test_where_none_or_all_have_it_each_patient_counts_as_one(k):
    found = clustered_proportion(np.array(k), np.array([2, 1, 3]))
    exact = proportion(3 if any(k) else 0, 3).intervals[0]
    assert (found.design_effect, found.effective_n, found.reason) == (None, 3, "constant_values")
    assert (found.interval.low, found.interval.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("n", "reason"), [([], "no_patients"), ([0, 0], "no_patients"), ([0, 4], "one_patient")])
def test_a_proportion_needs_two_patients(n, reason):
    found = clustered_proportion(np.array(n, dtype=np.int64), np.array(n, dtype=np.int64))
    assert (found.reason, found.interval.low, found.interval.reason) == (reason, None, reason)


@pytest.mark.parametrize(
    ("events", "time", "reason"),
    [
        ([], [], "no_patients"),
        ([0, 0], [0, 0], "no_patients"),
        ([3], [2], "one_patient"),
        ([0, 0], [2, 3], "no_standard_error"),
        ([2, 3], [2, 3], "constant_values"),
    ],
)
def test_a_rate_without_a_standard_error_says_why(events, time, reason):
    events, time = np.array(events, dtype=np.int64), np.array(time, dtype=np.int64)
    found = clustered_rate(events, time)
    assert (found.low, found.high, found.reason) == (None, None, reason)
    assert clustered_rate_ratio(events, time, events, time).reason == reason


def test_a_ratio_needs_events_on_either_side():
    found = clustered_rate_ratio(EVENTS, TIME, 0 * EVENTS, OTHER_TIME)
    assert (found.low, found.high, found.reason) == (None, None, "no_standard_error")


def test_a_limit_that_is_no_number_is_null():
    found = clustered_rate(np.array([1, 0]), np.array([1, 10**6]), level=0.9999)
    assert (found.high, found.reason) == (None, "out_of_range")
    assert 0 <= found.low < 1e-6


PATIENTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 40)), max_size=12)


@given(PATIENTS, st.randoms())
def test_the_interval_of_a_rate_is_that_of_plain_python_in_any_order(rows, random):
    found = clustered_rate(np.array([e for e, _ in rows], dtype=np.int64), np.array([t for _, t in rows], dtype=float))
    rows = [(e, t) for e, t in rows if t > 0 or e > 0]
    random.shuffle(rows)
    if found.low is None:
        return
    m, count, time = len(rows), sum(e for e, _ in rows), sum(t for _, t in rows)
    variance = m / (m - 1) * sum((e - count / time * t) ** 2 for e, t in rows) / count**2
    if found.high is not None:
        wanted = limits(math.log(count / time), variance * (m - 1) / m, m, 0.95)
        assert (found.low, found.high) == pytest.approx(wanted, rel=1e-9)


def test_the_ratio_of_two_rates_is_that_of_poisson_test():
    """R: poisson.test(c(11, 6 + 8 + 7), c(800, 1083 + 1050 + 878)), an example of its help page."""
    found = rate_ratio(11, 800, 6 + 8 + 7, 1083 + 1050 + 878)
    [interval] = found.intervals
    assert found.ratio == pytest.approx(1.971488, abs=5e-7)
    assert found.p == pytest.approx(0.07967, abs=5e-6)
    assert (interval.low, interval.high) == pytest.approx((0.8584264, 4.2772659), abs=5e-8)


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.5, 50), st.floats(0.5, 50))
def test_each_limit_of_a_ratio_leaves_half_of_the_rest_in_its_tail(events, others, time, rest):
    [interval] = rate_ratio(events, time, others, rest, level=0.9).intervals
    total = events + others
    for ratio, outcomes in ((interval.low, range(events, total + 1)), (interval.high, range(events + 1))):
        share = ratio * time / (ratio * time + rest)
        tail = math.fsum(math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in outcomes)
        assert tail == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize(
    ("counts", "ratio", "low_is_zero", "high_is_null", "reason"),
    [
        ((0, 5.0, 3, 5.0), 0.0, True, False, None),
        ((3, 5.0, 0, 5.0), None, False, True, "zero_denominator"),
        ((0, 5.0, 0, 5.0), None, False, True, "no_information"),
        ((0, 0.0, 3, 5.0), None, False, True, "no_patients"),
        ((3, 5.0, 0, 0.0), None, False, True, "no_patients"),
    ],
)
def test_a_ratio_without_events_or_time_says_why(counts, ratio, low_is_zero, high_is_null, reason):
    found = rate_ratio(*counts)
    [interval] = found.intervals
    assert (found.ratio, found.reason, interval.reason) == (ratio, reason, reason)
    assert (interval.low == 0, interval.high is None) == (low_is_zero, high_is_null)
    assert (found.p is None) == (reason in {"no_information", "no_patients"})
