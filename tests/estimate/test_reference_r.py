"""Every answer of R in tests/data/reference_r.json (R 4.2.2, survival 3.5-3, exactRankTests 0.8-35)."""

import math
from collections import Counter

import pytest

from app.estimate.arithmetic import normal_quantile
from app.estimate.changes import signed_rank, two_samples
from app.estimate.changes.multiplicity import adjust
from app.estimate.changes.paired_change import paired_change
from app.estimate.rates.contingency import fisher_exact, mcnemar_exact
from app.estimate.rates.proportion import proportion
from app.estimate.times.group_survival import log_rank
from app.estimate.times.survival import kaplan_meier, restricted_mean
from tests.estimate.reference import CASES, near, r_cases

BUILT = {"km": 13, "binom": 9, "paired": 7, "holm": 2, "ic": 3, "fisher": 3, "mcnemar": 3, "mwu": 2, "logrank": 3}


def test_no_case_of_r_slips_by_uncounted():
    assert Counter(case["id"].split("_")[0] for case in CASES) == BUILT


@pytest.mark.parametrize("case", r_cases("binom"))
def test_a_proportion_is_what_r_answers(case):
    expected = case["expected"]
    result = proportion(case["input"]["x"], case["input"]["n"])
    clopper_pearson, wilson = result.intervals
    assert result.rate == near(expected["estimate"])
    assert [clopper_pearson.low, clopper_pearson.high] == near(expected["clopper_pearson"])
    assert [wilson.low, wilson.high] == near(expected["wilson"])


@pytest.mark.parametrize("case", r_cases("paired"))
def test_a_paired_change_is_what_r_answers(case):
    expected = case["expected"]
    result = paired_change(case["input"]["differences"])
    rank, t = result.tests
    assert result.n == expected["n"]
    assert result.mean == near(expected["mean"])
    assert result.median == near(expected["median"])
    assert (rank.method, rank.statistic, rank.p) == ("wilcoxon_exact", expected["V"], near(expected["p_exact"]))
    assert (rank.n_used, rank.n_zero) == (expected["n_nonzero"], expected["n"] - expected["n_nonzero"])
    assert (t.method, t.df) == ("paired_t", expected["df"])
    assert [t.statistic, t.p] == near([expected["t"], expected["p_t"]])
    assert [result.intervals[0].low, result.intervals[0].high] == near(expected["t_ci95"])


@pytest.mark.parametrize("case", r_cases("paired"))
def test_the_normal_signed_rank_test_is_what_r_answers(case, monkeypatch):
    monkeypatch.setattr(signed_rank, "LARGEST_EXACT", 0)
    result = signed_rank.signed_rank_test(case["input"]["differences"])
    assert result.method == "wilcoxon_normal_corrected"
    assert result.p == near(case["expected"]["p_normal_corrected"])


def in_arrays(case):
    """R writes a vector of length one as a number."""
    time, event = case["input"]["time"], case["input"]["event"]
    return (time, event) if isinstance(time, list) else ([time], [event])


@pytest.mark.parametrize("case", r_cases("km"))
@pytest.mark.parametrize("interval", ["plain", "log", "log-log"])
def test_a_median_time_is_what_r_answers(case, interval):
    """`quantile.survfit`, whose plateau to the end of follow-up ends at the last time."""
    expected = case["expected"]
    result = kaplan_meier(*in_arrays(case), interval=interval, plateau="midpoint_to_last")
    limits = result.median.intervals[0]
    assert (result.n, result.events) == (expected["n"], expected["events"])
    assert {"median": result.median.value, "lower": limits.low, "upper": limits.high} == expected[
        "median_by_conf_type"
    ][interval]
    assert result.median.value == expected["quantiles_25_50_75"][1]


SURVIVAL_AT = [
    pytest.param(case.values[0], row, id=f"{case.id} at {row['t']}")
    for case in r_cases("km")
    for row in case.values[0]["expected"].get("survival_at", [])
]


@pytest.mark.parametrize(("case", "row"), SURVIVAL_AT)
def test_a_curve_and_its_bands_are_what_r_answers(case, row):
    def point(interval):
        return [each for each in kaplan_meier(*in_arrays(case), interval=interval).curve if each.time <= row["t"]][-1]

    assert point("log").survival == near(row["S"])
    assert [point("log").low, point("log").high] == [near(row["log_lower"]), near(row["log_upper"])]
    assert [point("log-log").low, point("log-log").high] == [near(row["loglog_lower"]), near(row["loglog_upper"])]
    if point("log").time == row["t"]:
        assert point("log").at_risk == row["at_risk"]
    if row["se"] is not None and (low := point("plain").low) > 0:
        assert (point("plain").survival - low) / normal_quantile(0.95) == pytest.approx(row["se"], rel=1e-11)


@pytest.mark.parametrize("case", [each for each in r_cases("km") if "rmst" in each.values[0]["expected"]])
def test_a_restricted_mean_is_what_r_answers(case):
    expected = case["expected"]["rmst"]
    result = restricted_mean(*in_arrays(case), until=expected["tau"])
    assert [result.value, result.standard_error] == near([expected["rmst"], expected["se"]])
    assert result.reason is None
    assert math.isclose(result.until, expected["tau"])


@pytest.mark.parametrize("case", r_cases("logrank"))
def test_a_log_rank_test_is_what_r_answers(case):
    expected, groups = case["expected"], case["input"]["group"]
    numbers = [expected["levels"].index(group) for group in groups]
    result = log_rank(*in_arrays(case), numbers, len(expected["levels"]))
    assert list(result.observed) == expected["observed"]
    assert list(result.expected) == near(expected["expected"])
    assert (result.test.statistic, result.test.df) == (near(expected["chisq"]), expected["df"])
    assert result.test.p == near(expected["p"])


@pytest.mark.parametrize("case", r_cases("holm"))
def test_holm_is_what_r_answers(case):
    assert adjust(case["input"]["p"], "holm") == tuple(near(p) for p in case["expected"]["holm"])


@pytest.mark.parametrize("case", r_cases("fisher"))
def test_a_fisher_test_is_what_r_answers(case):
    """R searches the odds ratio, or 1 over it where it is above 1, to an absolute error of 1.2e-4 at best."""
    table, expected = case["input"]["table"], case["expected"]
    result = fisher_exact(table["a"], table["a"] + table["b"], table["c"], table["c"] + table["d"])
    [limits] = result.odds_ratio.intervals
    assert result.test.p == near(expected["p"])
    for found, by_r in zip(
        (result.odds_ratio.estimate, limits.low, limits.high),
        (expected["conditional_mle_odds_ratio"], *expected["or_ci95"]),
        strict=True,
    ):
        turned = (1 / found, 1 / by_r) if by_r > 1 else (found, by_r)
        assert turned[0] == pytest.approx(turned[1], abs=1.3e-4)


@pytest.mark.parametrize("case", r_cases("mcnemar"))
def test_a_mcnemar_test_is_what_r_answers(case):
    result = mcnemar_exact(case["input"]["b"], case["input"]["c"], 5)
    assert result.test.p == near(case["expected"]["p"])


@pytest.mark.parametrize("case", r_cases("mwu"))
def test_a_mann_whitney_test_is_what_r_answers(case, monkeypatch):
    samples, expected = (case["input"]["x"], case["input"]["y"]), case["expected"]
    exact = two_samples.two_samples(*samples).test
    assert (exact.method, exact.statistic, exact.p) == ("mann_whitney_exact", expected["W"], near(expected["p_exact"]))
    monkeypatch.setattr(two_samples, "LARGEST_EXACT", 0)
    normal = two_samples.two_samples(*samples).test
    assert (normal.method, normal.p) == ("mann_whitney_normal_corrected", near(expected["p_normal_corrected"]))
