"""Difference and ratio of two proportions."""

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep

from app.estimate.arithmetic import normal_quantile
from app.estimate.rates.two_proportions import two_proportions
from app.estimate.results import Reason
from tests.estimate import comparison_twins as twin
from tests.repetition import repeats

GROUP = st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
TABLES = st.tuples(GROUP, GROUP).map(lambda two: (*two[0], *two[1]))
LEVELS = st.sampled_from([0.8, 0.95, 0.99])


def limits(of, counts, level=0.95, **methods):
    effect = getattr(two_proportions(counts, level=level, **methods), of)
    return {each.method: (each.low, each.high) for each in effect.intervals}


@pytest.mark.parametrize(
    ("counts", "of", "method", "expected"),
    [
        # Newcombe 1998, Statistics in Medicine 17:873, table II, method 10.
        ((56, 70, 48, 80), "difference", "newcombe", (0.0524, 0.3339)),
        ((9, 10, 3, 10), "difference", "newcombe", (0.1705, 0.8090)),
        ((0, 10, 0, 10), "difference", "newcombe", (-0.2775, 0.2775)),
        ((10, 10, 0, 10), "difference", "newcombe", (0.6075, 1)),
        # ProDERM: 37 of 47 against 21 of 48; the paper prints Wald's 0.1670 to 0.5324.
        ((37, 47, 21, 48), "difference", "newcombe", (0.1545, 0.5099)),
        # R PropCIs::diffscoreci(7, 34, 1, 34, 0.95) and riskscoreci, from the tests of statsmodels.
        ((7, 34, 1, 34), "difference", "miettinen-nurminen", (0.0270416, 0.3452912)),
        ((7, 34, 1, 34), "ratio", "koopman", (1.220853, 42.575718)),
        # R contingencytables: Perondi 2004 (adrenaline) and Ritland 2007 (XFS), as its tests expect them.
        ((7, 34, 1, 34), "difference", "newcombe", (0.0189, 0.3404)),
        ((7, 34, 1, 34), "ratio", "miettinen-nurminen", (1.2086, 43.0330)),
        ((0, 16, 15, 72), "difference", "miettinen-nurminen", (-0.3164, -0.0056)),
    ],
)
def test_a_published_interval_is_found_again(counts, of, method, expected):
    more = {"ratio_methods": ("miettinen-nurminen", "koopman", "katz")}
    digits = 1e-6 if expected[1] in {0.3452912, 42.575718} else 5.001e-5
    assert limits(of, counts, **more)[method] == pytest.approx(expected, abs=digits)


@given(TABLES, LEVELS)
@settings(max_examples=repeats(40))
def test_a_newcombe_interval_is_that_of_statsmodels(counts, level):
    expected = confint_proportions_2indep(*counts, method="newcomb", compare="diff", alpha=1 - level)
    assert limits("difference", counts, level)["newcombe"] == pytest.approx(expected, abs=1e-12)


@given(st.tuples(st.integers(1, 29), st.integers(30, 40), st.integers(1, 29), st.integers(30, 40)), LEVELS)
@settings(max_examples=repeats(40))
def test_intervals_of_a_ratio_are_those_of_statsmodels(counts, level):
    """Its score interval of a difference has a wrong term (issue 10269) and is no second opinion."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = confint_proportions_2indep(*counts, method="score", compare="ratio", alpha=1 - level)
        katz = confint_proportions_2indep(*counts, method="log", compare="ratio", alpha=1 - level)
    found = limits("ratio", counts, level)
    assert found["katz"] == pytest.approx(katz, rel=1e-10)
    assert found["miettinen-nurminen"] == pytest.approx(score, rel=1e-7) or not _are_limits(counts, score, level)


def _are_limits(counts, score, level):
    """Whether statsmodels found what it was looking for: its search sometimes ends where the rates leave 0 to 1."""
    z = normal_quantile(level)
    return all(twin.score_ratio(counts, each) == pytest.approx(z * z, rel=1e-4) for each in score)


@given(TABLES, LEVELS)
@settings(max_examples=repeats(60))
def test_a_score_limit_lies_z_standard_errors_from_the_difference(counts, level):
    low, high = limits("difference", counts, level)["miettinen-nurminen"]
    z = normal_quantile(level)
    observed = counts[0] / counts[1] - counts[2] / counts[3]
    for limit in (low, high):
        at_the_end = abs(limit) == 1 and limit == observed
        assert at_the_end or twin.score_difference(counts, limit) == pytest.approx(z * z, rel=1e-5)
    for share in (0.02, 0.3, 0.7, 0.98):
        assert twin.score_difference(counts, low + share * (high - low)) < z * z * (1 + 1e-6)
    for outside in (low - (low + 1) * 0.05, low - (low + 1) * 0.9, high + (1 - high) * 0.05, high + (1 - high) * 0.9):
        assert outside in {low, high} or twin.score_difference(counts, outside) > z * z * (1 - 1e-6)


@given(TABLES, LEVELS)
@settings(max_examples=repeats(60))
def test_a_score_limit_lies_z_standard_errors_from_the_ratio(counts, level):
    low, high = limits("ratio", counts, level)["miettinen-nurminen"]
    z = normal_quantile(level)
    for limit in (low, high):
        assert limit in {0, None} or twin.score_ratio(counts, limit) == pytest.approx(z * z, rel=1e-4)
    assert (low == 0) == (counts[0] == 0)
    assert (high is None) == (counts[2] == 0)
    if low:
        assert twin.score_ratio(counts, low / 2) > z * z
    if high:
        assert twin.score_ratio(counts, high * 2) > z * z


@given(TABLES)
@settings(max_examples=repeats(25))
def test_groups_that_change_places_change_the_sign_and_turn_the_ratio_over(counts):
    k1, n1, k2, n2 = counts
    one, other = two_proportions(counts), two_proportions((k2, n2, k1, n1))
    assert one.difference.estimate == pytest.approx(-other.difference.estimate, abs=1e-15)
    for here, there in zip(one.difference.intervals, other.difference.intervals, strict=True):
        assert (here.low, here.high) == pytest.approx((-there.high, -there.low), abs=1e-9)
    for here, there in zip(one.ratio.intervals, other.ratio.intervals, strict=True):
        if None not in (here.low, here.high, there.low, there.high) and here.low and there.low:
            assert (here.low, here.high) == pytest.approx((1 / there.high, 1 / there.low), rel=1e-9)
    if k1 and k2:
        assert one.ratio.estimate == pytest.approx(1 / other.ratio.estimate)


@given(TABLES)
@settings(max_examples=repeats(25))
def test_failures_that_are_counted_instead_change_the_sign(counts):
    k1, n1, k2, n2 = counts
    one, other = limits("difference", counts), limits("difference", (n1 - k1, n1, n2 - k2, n2))
    for method, (low, high) in one.items():
        assert (low, high) == pytest.approx((-other[method][1], -other[method][0]), abs=1e-9)


@given(TABLES, LEVELS)
@settings(max_examples=repeats(40))
def test_an_interval_holds_its_estimate(counts, level):
    answer = two_proportions(counts, level=level)
    for effect, least, greatest in ((answer.difference, -1, 1), (answer.ratio, 0, math.inf)):
        for each in effect.intervals:
            if effect.estimate is None or each.low is None:
                continue
            high = math.inf if each.high is None else each.high
            assert least <= each.low <= effect.estimate + 1e-12
            assert effect.estimate - 1e-12 <= high <= greatest


def test_a_ratio_to_nobody_has_no_value_and_no_upper_limit():
    ratio = two_proportions((3, 10, 0, 10)).ratio
    score, katz = ratio.intervals
    assert (ratio.estimate, ratio.reason) == (None, Reason.ZERO_DENOMINATOR)
    assert (score.high, score.reason) == (None, Reason.ZERO_DENOMINATOR)
    assert twin.score_ratio((3, 10, 0, 10), score.low) == pytest.approx(normal_quantile(0.95) ** 2)
    assert (katz.low, katz.high, katz.reason) == (None, None, Reason.NO_STANDARD_ERROR)


def test_without_responders_the_ratio_may_be_anything():
    score, _ = two_proportions((0, 10, 0, 12)).ratio.intervals
    assert (score.low, score.high, score.reason) == (0, None, Reason.ZERO_DENOMINATOR)


def test_where_all_respond_the_ratio_is_one_without_a_standard_error():
    ratio = two_proportions((7, 7, 8, 8)).ratio
    assert ratio.estimate == 1
    assert [each.reason for each in ratio.intervals] == [None, Reason.NO_STANDARD_ERROR]
    assert ratio.intervals[0].low < 1 < ratio.intervals[0].high


@pytest.mark.parametrize("counts", [(0, 0, 3, 5), (3, 5, 0, 0), (0, 0, 0, 0)])
def test_without_patients_in_a_group_nothing_is_known(counts):
    answer = two_proportions(counts)
    for effect in (answer.difference, answer.ratio):
        assert (effect.estimate, effect.reason) == (None, Reason.NO_PATIENTS)
        assert {(each.low, each.high, each.reason) for each in effect.intervals} == {(None, None, Reason.NO_PATIENTS)}


def test_what_is_no_count_or_method_is_refused():
    for wrong in ((3, 2, 0, 1), (-1, 2, 0, 1), (1, 2, 2, 1)):
        with pytest.raises(ValueError, match="counts"):
            two_proportions(wrong)
    with pytest.raises(ValueError, match="bayes"):
        two_proportions((1, 2, 1, 2), ratio_methods=("bayes",))
