"""Printed figures compared with their counts: which can be reproduced, and by which method."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from app.analyses.verify import PublishedFigure, verify
from app.estimate.rates.rounded_figures import agreement, of_difference, of_proportion, of_rate


def verified(**figure):
    return verify(PublishedFigure.model_validate(figure).root)


def proportion_of(k, n, low, high, **more):
    interval = {"low": low, "high": high, "level": more.pop("level", 0.95)}
    return verified(kind="proportion", k=k, n=n, printed_in="percent", interval=interval, **more)


def rate_of(events, exposure, per, low, high, **more):
    return verified(kind="rate", events=events, exposure=exposure, per=per, interval={"low": low, "high": high}, **more)


def test_an_interval_printed_as_clopper_pearson_that_no_method_gives():
    """Lim 2020, 8 of 19, "42.0 %; Clopper-Pearson 95 % CI 19.6-64.6"; Clopper-Pearson is 20.25 to 66.50."""
    found = proportion_of(8, 19, "19.6", "64.6", value="42.0")
    [exact] = [row for row in found.candidates if row.method == "clopper-pearson"]

    assert (found.verdict, found.reproduced_by, found.level) == ("not_reproduced", (), None)
    assert (round(exact.low, 2), round(exact.high, 2)) == (20.25, 66.50)
    assert (found.value.agreement, round(found.value.computed, 1)) == ("last_digit", 42.1)


def test_the_difference_of_proderm_is_plain_wald():
    """Aggarwal 2022, 37/47 against 21/48: 34.97 (16.70 to 53.24); Newcombe would give 15.45 to 50.99."""
    found = verified(
        kind="difference", k1=37, n1=47, k2=21, n2=48, printed_in="percent", value="34.97",
        interval={"low": "16.70", "high": "53.24"},
    )  # fmt: skip
    [newcombe] = [row for row in found.candidates if row.method == "newcombe"]

    assert (found.verdict, found.reproduced_by) == ("reproduced", ("wald",))
    assert found.value.agreement == "agrees"
    assert (round(newcombe.low, 2), round(newcombe.high, 2)) == (15.45, 50.99)


@pytest.mark.parametrize(
    ("events", "exposure", "per", "value", "low", "high", "verdict", "method"),
    [
        # Anaphylaxis per 10,000 infusions of immunoglobulin, PMC8561696.
        (128, 174_413, 10_000, "7.34", "6.12", "8.73", "reproduced", "poisson_exact"),
        (39, 18_504, 10_000, "21.08", "14.98", "28.82", "but_for_the_last_digit", "poisson_exact"),
        (51, 130_943, 10_000, "3.89", "2.89", "5.13", "but_for_the_last_digit", "poisson_exact"),
        # Serious infections per 100 patient-years, J Rheumatol markup 17898.
        (10, 156.88, 100, "6.37", "3.43", "11.85", "reproduced", "log-wald"),
    ],
)
def test_rates_of_published_safety_reports(events, exposure, per, value, low, high, verdict, method):
    found = rate_of(events, exposure, per, low, high, value=value)

    assert found.verdict == verdict
    assert method in found.reproduced_by
    assert found.value.agreement == "agrees"


def test_a_level_that_is_not_the_stated_one_is_found():
    """14 of 15 by Clopper-Pearson at 0.9, printed as if it were 0.95."""
    low, high = (100 * limit for limit in of_proportion(14, 15, 0.9)["clopper-pearson"])
    found = proportion_of(14, 15, f"{low:.2f}", f"{high:.2f}")

    assert (found.verdict, found.reproduced_by, found.level) == ("reproduced", ("clopper-pearson",), 0.9)
    assert "at level 0.9, not 0.95" in found.text


def test_a_limit_beyond_the_range_may_be_printed_as_the_end_of_the_range():
    """Wald's upper limit for 12 of 15 is 100.2 %."""
    assert "wald" in proportion_of(12, 15, "59.8", "100").reproduced_by
    assert "wald" in proportion_of(12, 15, "59.8", "100.2").reproduced_by


def test_a_rate_without_an_interval_is_checked_alone():
    found = verified(kind="proportion", k=7, n=16, printed_in="percent", value="43.8")

    assert (found.verdict, found.value.agreement, found.candidates) == ("no_interval", "agrees", ())


@pytest.mark.parametrize(
    ("low", "high"),
    [("64.6", "19.6"), ("0", "-0.1"), ("0.3", "0.299999999"), ("123456789.000000002", "123456789.000000001")],
)
def test_an_interval_whose_lower_limit_lies_above_its_upper_one_is_refused(low, high):
    with pytest.raises(ValidationError, match=r"interval: low must not exceed high\."):
        proportion_of(8, 19, low, high)
    assert proportion_of(8, 19, low, low).verdict == "not_reproduced"


@pytest.mark.parametrize(
    ("computed", "printed", "agrees"),
    [
        (43.75, "43.8", "agrees"),
        (43.75, "43.7", "agrees"),
        (43.75, "43.75", "agrees"),
        (43.7501, "43.7", "last_digit"),
        (42.105, "42.0", "last_digit"),
        (42.105, "42", "agrees"),
        (42.16, "42.0", "differs"),
        (0.0, "0", "agrees"),
        (-0.5, "-0.50", "agrees"),
    ],
)
def test_the_agreement_of_a_computed_and_a_printed_number(computed, printed, agrees):
    assert agreement(computed, printed) == agrees


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95]))
def test_intervals_of_a_proportion_are_those_of_statsmodels_and_scipy(case, level):
    k, n = case
    found = of_proportion(k, n, level)

    theirs = {"clopper-pearson": "beta", "agresti-coull": "agresti_coull"}
    for ours, name in theirs.items():
        low, high = proportion_confint(k, n, 1 - level, name)
        # statsmodels cuts Agresti and Coull off at 0 and 1
        assert (max(found[ours][0], 0), min(found[ours][1], 1)) == pytest.approx((low, high), abs=1e-9)
    for ours, name in (("wilson", "wilson"), ("wilson-corrected", "wilsoncc"), ("clopper-pearson", "exact")):
        interval = binomtest(k, n).proportion_ci(level, name)
        assert found[ours] == pytest.approx((interval.low, interval.high), abs=1e-9)
    spread = norm.ppf((1 + level) / 2) * math.sqrt(k * (n - k) / n**3)
    assert found["wald"] == pytest.approx((k / n - spread, k / n + spread), abs=1e-12)


@given(st.tuples(st.integers(0, 9), st.integers(9, 30), st.integers(0, 9), st.integers(9, 30)))
def test_intervals_of_a_difference_are_those_of_statsmodels(counts):
    k1, n1, k2, n2 = counts
    found = of_difference((k1, n1), (k2, n2), 0.95)
    for ours, name in (("wald", "wald"), ("agresti-caffo", "agresti-caffo"), ("newcombe", "newcomb")):
        assert found[ours] == pytest.approx(confint_proportions_2indep(k1, n1, k2, n2, method=name), abs=1e-9)


def test_the_cubes_of_byar_come_near_the_exact_limits():
    found = of_rate(39, 18_504, 0.95)

    assert found["byar"] == pytest.approx(found["poisson_exact"], rel=2e-3)
    assert "log-wald" not in of_rate(0, 10, 0.95)
    assert of_rate(0, 10, 0.95)["poisson_exact"] == pytest.approx((0, 0.368888), abs=1e-6)


def test_no_events_have_a_one_sided_limit_too():
    """The rule of three: Hanley and Lippman-Hand (JAMA 1983;249:1743-5)."""
    assert of_rate(0, 10, 0.95)["poisson_exact-one-sided"] == pytest.approx((0, 0.299573), abs=1e-6)
    assert of_rate(0, 10, 0.9)["poisson_exact-one-sided"][1] == of_rate(0, 10, 0.8)["poisson_exact"][1]
    assert "poisson_exact-one-sided" not in of_rate(1, 10, 0.95)


@pytest.mark.parametrize(
    "figure",
    [
        {"kind": "proportion", "k": 9, "n": 8, "printed_in": "percent"},
        {"kind": "proportion", "k": 1, "n": 0, "printed_in": "percent"},
        {"kind": "proportion", "k": 1, "n": 8},
        {"kind": "proportion", "k": 1, "n": 8, "printed_in": "percent", "value": 12.5},
        {"kind": "proportion", "k": 1, "n": 8, "printed_in": "percent", "value": "1e1"},
        {"kind": "difference", "k1": 5, "n1": 4, "k2": 1, "n2": 4, "printed_in": "fraction"},
        {"kind": "rate", "events": 1, "exposure": 0},
        {"kind": "median", "k": 1, "n": 8},
    ],
)
def test_a_figure_that_cannot_be_printed_is_refused(figure):
    with pytest.raises(ValidationError):
        PublishedFigure.model_validate(figure)
