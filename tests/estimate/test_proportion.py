import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from app.estimate.rates.proportion import METHODS, proportion
from app.estimate.results import Reason
from tests.estimate.twins import tail_at_least

COUNTS = st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
LEVELS = st.sampled_from([0.8, 0.9, 0.95, 0.99, 0.999])


def limits(k, n, level, method):
    (interval,) = proportion(k, n, level=level, methods=[method]).intervals
    return interval.low, interval.high


@given(COUNTS, LEVELS)
def test_a_clopper_pearson_limit_leaves_half_of_the_rest_in_the_tail(counts, level):
    k, n = counts
    low, high = limits(k, n, level, "clopper-pearson")
    assert k == 0 or float(tail_at_least(k, n, low)) == pytest.approx((1 - level) / 2, rel=1e-12)
    assert k == n or float(1 - tail_at_least(k + 1, n, high)) == pytest.approx((1 - level) / 2, rel=1e-12)
    assert k > 0 or low == 0
    assert k < n or high == 1


@given(COUNTS, LEVELS)
def test_a_mid_p_limit_counts_half_of_what_was_observed(counts, level):
    k, n = counts
    low, high = limits(k, n, level, "mid-p")
    above = tail_at_least(k, n, low) + tail_at_least(k + 1, n, low)
    below = 2 - tail_at_least(k, n, high) - tail_at_least(k + 1, n, high)
    assert k == 0 or float(above) == pytest.approx(1 - level, rel=1e-12)
    assert k == n or float(below) == pytest.approx(1 - level, rel=1e-12)
    assert k > 0 or low == 0
    assert k < n or high == 1


@given(COUNTS)
def test_a_wilson_limit_is_1_96_standard_errors_from_the_rate(counts):
    k, n = counts
    for limit in limits(k, n, 0.95, "wilson"):
        distance = abs(k / n - limit) / math.sqrt(limit * (1 - limit) / n) if 0 < limit < 1 else None
        assert distance == (None if limit in {0, 1} else pytest.approx(1.959963984540054))


@given(COUNTS, LEVELS)
def test_a_jeffreys_limit_cuts_the_posterior(counts, level):
    from scipy.integrate import quad

    k, n = counts
    low, high = limits(k, n, level, "jeffreys")

    def density(root):  # of x = root^2 (1 - ...) under Beta(k + 1/2, n - k + 1/2), smooth at 0
        log = math.lgamma(n + 1) - math.lgamma(k + 0.5) - math.lgamma(n - k + 0.5)
        return 2 * math.exp(log) * root ** (2 * k) * (1 - root * root) ** (n - k - 0.5)

    if k > 0:
        assert quad(density, 0, math.sqrt(low), epsabs=1e-13)[0] == pytest.approx((1 - level) / 2, rel=1e-7)
    if k < n:
        assert quad(density, 0, math.sqrt(high), epsabs=1e-13)[0] == pytest.approx((1 + level) / 2, rel=1e-7)
    assert k > 0 or low == 0
    assert k < n or high == 1


@given(COUNTS, st.sampled_from(sorted(METHODS)))
def test_counting_the_others_mirrors_the_interval(counts, method):
    k, n = counts
    low, high = limits(k, n, 0.95, method)
    assert limits(n - k, n, 0.95, method) == pytest.approx((1 - high, 1 - low), abs=1e-14)
    assert 0 <= low <= k / n <= high <= 1


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(("k", "n"), [(0, 1_000_000), (1, 1_000_000), (500_000, 1_000_000), (1_000_000, 1_000_000)])
def test_a_million_patients_are_no_difficulty(method, k, n):
    low, high = limits(k, n, 0.95, method)
    assert 0 <= low <= k / n <= high <= 1
    assert high - low < 0.002


def test_a_rate_among_no_patients_is_null_and_so_are_its_limits():
    result = proportion(0, 0, methods=sorted(METHODS))
    assert (result.rate, result.reason) == (None, Reason.NO_PATIENTS)
    assert {(each.low, each.high, each.reason) for each in result.intervals} == {(None, None, Reason.NO_PATIENTS)}


def test_the_rate_is_the_unrounded_fraction():
    assert Fraction(proportion(7, 16).rate) == Fraction(7, 16)


def test_the_default_is_clopper_pearson_with_wilson_alongside():
    assert [each.method for each in proportion(1, 2).intervals] == ["clopper-pearson", "wilson"]


@pytest.mark.parametrize(("k", "n", "level"), [(-1, 3, 0.95), (4, 3, 0.95), (1, -1, 0.95), (1, 3, 95), (1, 3, 1.0)])
def test_counts_and_levels_that_cannot_be_are_refused(k, n, level):
    with pytest.raises(ValueError, match=r"`k`|`level`"):
        proportion(k, n, level=level)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="not wald"):
        proportion(1, 2, methods=["wilson", "wald"])


def test_scipy_searches_for_a_clopper_pearson_limit_and_misses_its_fourth_digit():
    """`binomtest` stops its search at 2e-12, too early for this limit (R: qbeta(5e-5, 1, 100000))."""
    searched = binomtest(1, 100_000).proportion_ci(0.9999).low
    assert limits(1, 100_000, 0.9999, "clopper-pearson")[0] == pytest.approx(5.00012500292e-10, rel=1e-11, abs=0)
    assert searched != pytest.approx(5.000125e-10, rel=1e-5, abs=0)
