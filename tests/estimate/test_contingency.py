"""Fourfold tables: Fisher, McNemar, Mantel and Haenszel."""

import math
from fractions import Fraction
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact as scipy_fisher
from statsmodels.stats.contingency_tables import StratifiedTable, mcnemar

from app.estimate.rates import contingency
from app.estimate.rates.contingency import fisher_exact, mcnemar_exact
from app.estimate.rates.mantel_haenszel import mantel_haenszel
from app.estimate.results import Reason
from tests.estimate import comparison_twins as twin
from tests.repetition import repeats

GROUP = st.integers(0, 12).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
TABLES = st.tuples(GROUP, GROUP).map(lambda two: (*two[0], *two[1]))
PEOPLED = TABLES.filter(lambda counts: counts[1] and counts[3])
ADMITTED = [
    (512, 825, 89, 108),
    (353, 560, 17, 25),
    (120, 325, 202, 593),
    (138, 417, 131, 375),
    (53, 191, 94, 393),
    (22, 373, 24, 341),
]
"""R `UCBAdmissions`: admitted and all men, admitted and all women, by department."""


@given(PEOPLED)
def test_p_sums_the_tables_that_are_no_likelier(counts):
    assert fisher_exact(*counts).test.p == pytest.approx(float(twin.fisher(*counts)), rel=1e-12)


@given(PEOPLED, st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=repeats(50))
def test_an_exact_limit_leaves_half_of_the_rest_in_the_tail(counts, level):
    effect = fisher_exact(*counts, level=level).odds_ratio
    [interval] = effect.intervals
    tables = [*twin.hypergeometric(*counts)]
    if effect.reason is Reason.NO_INFORMATION:
        assert len(tables) == 1
        return
    if interval.low:
        assert float(twin.tails_and_mean(*counts, interval.low)[0]) == pytest.approx((1 - level) / 2, rel=1e-9)
    if interval.high is not None:
        assert float(twin.tails_and_mean(*counts, interval.high)[1]) == pytest.approx((1 - level) / 2, rel=1e-9)
    if effect.estimate:
        assert float(twin.tails_and_mean(*counts, effect.estimate)[2]) == pytest.approx(counts[0], rel=1e-9)
    assert (interval.low == 0) == (effect.estimate == 0) == (counts[0] == tables[0])
    assert (interval.high is None) == (effect.estimate is None) == (counts[0] == tables[-1])


@pytest.mark.parametrize("table", [[[3, 1], [1, 3]], [[10, 3], [2, 15]], [[120, 80], [90, 110]], [[0, 5], [3, 4]]])
def test_the_p_of_fisher_is_that_of_scipy(table):
    (a, b), (c, d) = table
    assert fisher_exact(a, a + b, c, c + d).test.p == pytest.approx(scipy_fisher(table).pvalue, rel=1e-9)


def test_the_lady_tasting_tea():
    """R ?fisher.test, Agresti 1990, p. 61."""
    tea = fisher_exact(3, 4, 1, 4)
    assert tea.test.p == pytest.approx(0.4857143, abs=5e-8)
    assert tea.odds_ratio.estimate == pytest.approx(6.4083, abs=5e-5)


def test_eight_of_eight_against_six_of_seven_is_no_sign_of_no_difference():
    answer = fisher_exact(8, 8, 6, 7)
    assert answer.test.p == pytest.approx(0.4667, abs=5e-5)
    assert (answer.odds_ratio.estimate, answer.odds_ratio.reason) == (None, Reason.ZERO_DENOMINATOR)
    assert answer.odds_ratio.intervals[0].low < 0.1


@given(PEOPLED)
def test_groups_that_change_places_turn_the_odds_over(counts):
    k1, n1, k2, n2 = counts
    one, other = fisher_exact(k1, n1, k2, n2), fisher_exact(k2, n2, k1, n1)
    assert one.test.p == pytest.approx(other.test.p, rel=1e-12)
    if one.odds_ratio.estimate:
        assert one.odds_ratio.estimate == pytest.approx(1 / other.odds_ratio.estimate, rel=1e-9)
        assert one.odds_ratio.intervals[0].low == pytest.approx(1 / other.odds_ratio.intervals[0].high, rel=1e-9)


def test_totals_that_leave_one_table_say_nothing():
    for counts in ((0, 4, 0, 6), (4, 4, 6, 6)):
        answer = fisher_exact(*counts)
        assert (answer.test.p, answer.odds_ratio.reason) == (1, Reason.NO_INFORMATION)
    for counts in ((0, 0, 2, 6), (0, 0, 0, 0)):
        answer = fisher_exact(*counts)
        assert (answer.test.p, answer.test.reason) == (None, Reason.NO_PATIENTS)
        assert answer.odds_ratio.reason is Reason.NO_PATIENTS


@pytest.mark.slow
def test_fisher_of_a_hundred_thousand_patients_is_that_of_scipy(monkeypatch):
    """The p alone: the odds ratio is SciPy's own, which needs twelve seconds for so many."""
    small = fisher_exact(3, 5, 2, 5).odds_ratio
    monkeypatch.setattr(contingency, "_conditional", lambda *_, **__: small)
    expected = scipy_fisher([[30_000, 20_000], [29_700, 20_300]]).pvalue
    assert fisher_exact(30_000, 50_000, 29_700, 50_000).test.p == pytest.approx(expected, rel=1e-7)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 9))
def test_mcnemar_is_that_of_statsmodels_and_of_the_twin(first_only, second_only, concordant):
    answer = mcnemar_exact(first_only, second_only, concordant)
    n = first_only + second_only
    if n + concordant == 0:
        assert (answer.test.p, answer.test.reason) == (None, Reason.NO_PATIENTS)
        return
    tail = Fraction(sum(math.comb(n, x) for x in range(min(first_only, second_only) + 1)), 2**n)
    assert answer.test.p == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-12)
    assert (answer.test.n_used, answer.test.n_zero) == (n, concordant)
    if n:
        expected = mcnemar([[concordant, first_only], [second_only, 0]], exact=True).pvalue
        assert answer.test.p == pytest.approx(min(1, expected), rel=1e-9)
        assert answer.test.p == mcnemar_exact(second_only, first_only, concordant).test.p


def test_mcnemar_of_approval_ratings():
    """R ?mcnemar.test, Agresti 1990: 794, 150, 86, 570; exact p of clinical.md."""
    answer = mcnemar_exact(150, 86, 794 + 570)
    assert answer.test.p == pytest.approx(3.715936e-5, rel=1e-6)
    assert answer.odds_ratio.estimate == pytest.approx(150 / 86)


def test_patients_who_all_agree_tell_nothing_of_a_difference():
    answer = mcnemar_exact(0, 0, 3)
    assert (answer.test.p, answer.odds_ratio.estimate) == (1, None)
    assert answer.odds_ratio.reason is Reason.NO_INFORMATION


def test_an_endpoint_that_is_never_alone_has_no_finite_odds():
    [interval] = mcnemar_exact(6, 0, 1).odds_ratio.intervals
    assert (interval.high, interval.reason) == (None, Reason.ZERO_DENOMINATOR)
    assert interval.low == pytest.approx(0.025 ** (1 / 6) / (1 - 0.025 ** (1 / 6)))


def test_admissions_to_berkeley():
    """R mantelhaen.test(UCBAdmissions)."""
    answer = mantel_haenszel(ADMITTED)
    plain, corrected = answer.tests
    [interval] = answer.odds_ratio.intervals
    assert [plain.statistic, corrected.statistic] == pytest.approx([1.524607, 1.426946], abs=5e-7)
    assert corrected.p == pytest.approx(0.232263, abs=5e-7)
    assert answer.odds_ratio.estimate == pytest.approx(0.9046968, abs=5e-8)
    assert [interval.low, interval.high] == pytest.approx([0.7719074, 1.0603298], abs=5e-8)
    assert (answer.strata, answer.uninformative_strata) == (6, 0)


def test_deaths_under_tolbutamide():
    """Rothman 2008, table 15-1, by R metafor 3.0 `rma.mh(level = 90, correct = FALSE)`, as its own tests expect it."""
    answer = mantel_haenszel([(8, 106, 5, 120), (22, 98, 16, 85)], level=0.9)
    difference, odds = answer.difference.intervals[0], answer.odds_ratio.intervals[0]
    assert answer.difference.estimate == pytest.approx(0.0349, abs=5e-5)
    assert [difference.low, difference.high] == pytest.approx([-0.0176, 0.0874], abs=5e-5)
    assert answer.odds_ratio.estimate == pytest.approx(1.4031, abs=5e-5)
    assert [odds.low, odds.high] == pytest.approx([0.8411, 2.3409], abs=5e-5)
    assert (answer.tests[0].statistic, answer.tests[0].p) == pytest.approx((1.1914, 0.2750), abs=5e-5)


@given(st.lists(PEOPLED, min_size=1, max_size=5), st.sampled_from([0.8, 0.95]))
def test_mantel_haenszel_is_that_of_statsmodels(strata, level):
    answer = mantel_haenszel(strata, level=level)
    tables = [np.array([[k1, n1 - k1], [k2, n2 - k2]], dtype=float) for k1, n1, k2, n2 in strata]
    over = sum(t[0, 0] * t[1, 1] / t.sum() for t in tables)
    under = sum(t[0, 1] * t[1, 0] / t.sum() for t in tables)
    if over and under:
        other = StratifiedTable(tables)
        [interval] = answer.odds_ratio.intervals
        assert answer.odds_ratio.estimate == pytest.approx(other.oddsratio_pooled, rel=1e-12)
        assert [interval.low, interval.high] == pytest.approx(
            [*other.oddsratio_pooled_confint(alpha=1 - level)], rel=1e-9
        )
        assert answer.tests[0].statistic == pytest.approx(other.test_null_odds(correction=False).statistic, rel=1e-9)
        if abs(over - under) >= 0.5:  # R corrects only then
            assert answer.tests[1].p == pytest.approx(other.test_null_odds(correction=True).pvalue, rel=1e-9)
        else:
            assert answer.tests[1].statistic == answer.tests[0].statistic


@given(st.lists(TABLES, max_size=6))
def test_neither_empty_strata_nor_their_order_change_anything(strata):
    answer = mantel_haenszel(strata)
    assert mantel_haenszel([*reversed(strata), (0, 0, 0, 0)]) == answer
    assert answer.strata == sum(1 for s in strata if s[1] and s[3])
    assert answer.uninformative_strata == sum(1 for s in strata if bool(s[1]) != bool(s[3]))
    if not answer.strata:
        assert {answer.odds_ratio.reason, answer.difference.reason} == {Reason.NO_PATIENTS}
        assert {test.reason for test in answer.tests} == {Reason.NO_PATIENTS}


@given(PEOPLED)
def test_one_stratum_has_the_plain_difference(counts):
    k1, n1, k2, n2 = counts
    assert mantel_haenszel([counts]).difference.estimate == pytest.approx(k1 / n1 - k2 / n2, abs=1e-15)


def test_no_limit_of_a_difference_within_strata_lies_beyond_one():
    interval = mantel_haenszel([(2, 2, 0, 1), (1, 2, 0, 2)]).difference.intervals[0]
    assert (interval.low, interval.high) == (pytest.approx(0.208, abs=1e-3), 1.0)
    turned = mantel_haenszel([(0, 1, 2, 2), (0, 2, 1, 2)]).difference.intervals[0]
    assert (turned.low, turned.high) == (-1.0, pytest.approx(-0.208, abs=1e-3))


@pytest.mark.parametrize(
    ("sizes", "second", "difference"),
    [([(3, 2)], ["1/4"], "1/3"), ([(2, 2), (1, 3)], ["1/2", "1/5"], "1/4"), ([(1, 1), (2, 1)], ["1/3", "2/3"], "-1/6")],
)
def test_the_variance_of_the_difference_is_right_on_average(sizes, second, difference):
    """Over all outcomes, weighted by how likely they are, Sato's estimate P + Q equals the variance of the weighted
    sum, exactly. The figures are recovered from the answers; outcomes without a variance have P = Q = 0.
    """
    delta, level = Fraction(difference), 0.05  # so narrow that no limit towards 0 is cut
    z = NormalDist().inv_cdf((1 + level) / 2)
    rates = [(Fraction(p) + delta, Fraction(p)) for p in second]
    true = sum(
        (Fraction(m * m * n) * p * (1 - p) + Fraction(n * n * m) * q * (1 - q)) / (n + m) ** 2
        for (n, m), (p, q) in zip(sizes, rates, strict=True)
    )
    weight = sum(Fraction(n * m, n + m) for n, m in sizes)
    expected = 0.0
    for outcome in product(*(range(size + 1) for pair in sizes for size in pair)):
        strata = [(outcome[2 * i], n, outcome[2 * i + 1], m) for i, (n, m) in enumerate(sizes)]
        likely = math.prod(
            math.comb(size, k) * rate**k * (1 - rate) ** (size - k)
            for (k1, n, k2, m), (p, q) in zip(strata, rates, strict=True)
            for k, size, rate in ((k1, n, p), (k2, m, q))
        )
        effect = mantel_haenszel(strata, level=level).difference
        limit = effect.intervals[0].low if effect.estimate > 0 else effect.intervals[0].high
        variance = 0.0 if limit is None else ((effect.estimate - limit) / z) ** 2 * float(weight) ** 2
        p_term = sum(
            Fraction(n * n * k2 - m * m * k1, (n + m) ** 2) + Fraction(n * m * (m - n), 2 * (n + m) ** 2)
            for k1, n, k2, m in strata
        )
        # The estimate multiplies P in Sato's formula; the identity holds with the true difference in its place.
        expected += float(likely) * (variance - (effect.estimate - float(delta)) * float(p_term))
    assert expected == pytest.approx(float(true), rel=1e-9)


def test_strata_without_responders_of_one_kind_have_their_reasons():
    nobody = mantel_haenszel([(0, 5, 0, 6)])
    assert nobody.odds_ratio.reason is Reason.NO_INFORMATION
    assert {test.reason for test in nobody.tests} == {Reason.NO_INFORMATION}
    assert (nobody.difference.estimate, nobody.difference.intervals[0].reason) == (0, Reason.NO_STANDARD_ERROR)
    none_in_first = mantel_haenszel([(0, 5, 3, 6)])
    assert (none_in_first.odds_ratio.estimate, none_in_first.odds_ratio.reason) == (0, None)
    assert none_in_first.odds_ratio.intervals[0].reason is Reason.NO_STANDARD_ERROR
    all_in_first = mantel_haenszel([(5, 5, 3, 6)])
    assert (all_in_first.odds_ratio.estimate, all_in_first.odds_ratio.reason) == (None, Reason.ZERO_DENOMINATOR)


def test_what_is_no_count_is_refused():
    with pytest.raises(ValueError, match="k must be"):
        fisher_exact(3, 2, 0, 1)
    with pytest.raises(ValueError, match="negative"):
        mcnemar_exact(-1, 2, 0)
    with pytest.raises(ValueError, match="strata"):
        mantel_haenszel([(1, 2, 2, 1)])
