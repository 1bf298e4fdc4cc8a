"""Figures of papers, textbooks and R manuals, as the reference of the project collects them (clinical.md section 6)."""

import pytest

from app.estimate.arithmetic import normal_quantile
from app.estimate.changes.multiplicity import adjust
from app.estimate.changes.paired_change import paired_change
from app.estimate.rates.poisson import event_rate
from app.estimate.rates.proportion import proportion
from app.estimate.times.survival import kaplan_meier, restricted_mean
from tests.estimate.reference import by_id

PERCENT = [
    # The seed report's rates.
    (14, 15, "clopper-pearson", 68.05, 99.83),
    (14, 15, "wilson", 70.18, 98.81),
    (14, 15, "jeffreys", 72.82, 99.27),
    (14, 15, "mid-p", 71.27, 99.67),
    (12, 15, "clopper-pearson", 51.91, 95.67),
    (12, 15, "wilson", 54.81, 92.95),
    (12, 15, "jeffreys", 55.64, 94.02),
    (12, 15, "mid-p", 54.65, 94.65),
    (15, 15, "clopper-pearson", 78.20, 100),
    (15, 15, "wilson", 79.61, 100),
    (15, 15, "jeffreys", 84.82, 100),
    (15, 15, "mid-p", 81.90, 100),
    (7, 16, "clopper-pearson", 19.75, 70.12),
    (7, 16, "wilson", 23.10, 66.82),
    (7, 16, "jeffreys", 22.16, 67.39),
    (7, 16, "mid-p", 21.54, 68.05),
    (0, 15, "clopper-pearson", 0, 21.80),
    (0, 15, "wilson", 0, 20.39),
    (0, 15, "jeffreys", 0, 15.18),
    (0, 15, "mid-p", 0, 18.10),
    # Newcombe 1998, Statistics in Medicine 17:857, table I.
    (81, 263, "wilson", 25.53, 36.62),
    (15, 148, "wilson", 6.24, 16.05),
    (0, 20, "wilson", 0, 16.11),
    (1, 29, "wilson", 0.61, 17.18),
    (81, 263, "clopper-pearson", 25.27, 36.76),
    (15, 148, "clopper-pearson", 5.78, 16.17),
    (0, 20, "clopper-pearson", 0, 16.84),
    (1, 29, "clopper-pearson", 0.09, 17.76),
    (81, 263, "mid-p", 25.44, 36.58),
    (15, 148, "mid-p", 6.01, 15.81),
    (0, 20, "mid-p", 0, 13.91),
    (1, 29, "mid-p", 0.17, 15.85),
    # R ?binom.test, Mendel's 682 of 925.
    (682, 925, "clopper-pearson", 70.76683, 76.54066),
]


@pytest.mark.parametrize(("k", "n", "method", "low", "high"), PERCENT)
def test_intervals_of_published_proportions(k, n, method, low, high):
    (interval,) = proportion(k, n, methods=[method]).intervals
    digits = 5 if n == 925 else 2
    assert (round(100 * interval.low, digits), round(100 * interval.high, digits)) == (low, high)


def test_darwin_crossed_and_self_fertilised_maize():
    """R: t.test(d); wilcox.test(d, conf.int = TRUE), no ties."""
    result = paired_change([6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75])
    rank, t = result.tests
    shift = result.intervals[1]
    assert (rank.statistic, rank.p) == (96, 0.041259765625)
    assert t.p == pytest.approx(0.0497029, abs=5e-8)
    assert (shift.method, shift.estimate, shift.low, shift.high) == ("hodges_lehmann_exact", 25, 4.0, 41.5)


def test_student_sleep():
    """R: t.test(extra ~ group, paired), exactRankTests::wilcox.exact, coin::wilcoxsign_test(zero.method = "Pratt")."""
    differences = by_id("paired_sleep")["input"]["differences"]
    dropped, pratt = (paired_change(differences, zeros=zeros) for zeros in ("drop", "pratt"))
    t = dropped.tests[1]
    assert (round(t.statistic, 4), t.df, round(t.p, 6)) == (4.0621, 9, 0.002833)
    assert [round(x, 6) for x in (dropped.intervals[0].low, dropped.intervals[0].high)] == [0.700114, 2.459886]
    assert dropped.tests[0].p == pratt.tests[0].p == 0.00390625
    assert pratt.tests[0].method == "wilcoxon_exact_pratt"


def test_fifteen_tied_differences_have_the_exact_p():
    """exactRankTests::wilcox.exact; SciPy answers .0023527, R wilcox.test .0025848."""
    assert paired_change([1, 1, 2, 3, -1, 4, 5, 6, 7, 8, 9, 10, 11, 12, -2]).tests[0].p == 0.00103759765625


@pytest.mark.parametrize(("n", "p"), [(4, 0.125), (5, 0.0625), (6, 0.03125), (7, 0.015625), (15, 6.103515625e-05)])
def test_the_smallest_p_that_so_few_differences_can_reach(n, p):
    assert paired_change(range(1, n + 1)).tests[0].p == p


def test_a_ladder_of_p_values():
    """R: p.adjust(c(.01, .02, .03, .04, .05), "holm"), "hochberg"."""
    p = [0.01, 0.02, 0.03, 0.04, 0.05]
    assert adjust(p, "holm") == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert adjust(p, "hochberg") == pytest.approx([0.05] * 5)


def group_of(name, level):
    case = by_id(name)["input"]
    rows = zip(case["time"], case["event"], case["group"], strict=True)
    return tuple(zip(*[(time, event) for time, event, group in rows if group == level], strict=True))


def lifelines_set(load, **columns):
    import lifelines.datasets

    frame = getattr(lifelines.datasets, load)()
    for column, level in columns.items():
        frame = frame[frame[column] == level]
    return frame.iloc[:, 0].to_numpy(), frame.iloc[:, 1].to_numpy()


DATASET_Z = (
    [45, 80, 120, 150, 200, 260, 301, 368, 400, 430, 500, 520, 600, 700],
    [1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0],
)
CK_NORMAL = (
    [29, 41, 77, 118, 162, 231, 310, 359, 384, 413, 441, 469, 502],
    [0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0],
)
"""The spells of normal CK in the project's reference cohort."""

MEDIANS = [
    ("lung, men", group_of("logrank_lung_sex", "1"), "log-log", 270, 210, 306),
    ("lung, women", group_of("logrank_lung_sex", "2"), "log-log", 426, 345, 524),
    ("lung, men", group_of("logrank_lung_sex", "1"), "log", 270, 212, 310),
    ("lung, women", group_of("logrank_lung_sex", "2"), "log", 426, 348, 550),
    ("6-MP", group_of("logrank_gehan", "6-MP"), "log-log", 23, 13, None),
    ("no 6-MP", group_of("logrank_gehan", "control"), "log-log", 8, 4, 11),
    ("aml, maintained", group_of("logrank_aml", "Maintained"), "log", 31, 18, None),
    ("aml, not maintained", group_of("logrank_aml", "Nonmaintained"), "log-log", 23, 5, 33),
    ("waltons, control", lifelines_set("load_waltons", group="control"), "log-log", 58, 56, 60),
    ("waltons, miR-137", lifelines_set("load_waltons", group="miR-137"), "log-log", 26, 19, 29),
    ("data set Z", DATASET_Z, "log-log", 334.5, 120, 600),
    ("data set Z", DATASET_Z, "log", 334.5, 200, None),
    ("data set Z and one censored", ([20, *DATASET_Z[0]], [0, *DATASET_Z[1]]), "log-log", 334.5, 120, 600),
    ("spells of normal CK", CK_NORMAL, "log-log", 334.5, 77, None),
    ("spells of normal CK", CK_NORMAL, "log", 334.5, 162, None),
    ("spells of normal CK", CK_NORMAL, "plain", 334.5, 162, None),
]


@pytest.mark.parametrize(("name", "data", "interval", "median", "low", "high"), MEDIANS)
def test_medians_of_published_data(name, data, interval, median, low, high):
    """R: quantile(survfit(Surv(time, event) ~ 1, conf.type = interval), 0.5)."""
    result = kaplan_meier(*data, interval=interval).median
    assert (result.value, result.intervals[0].low, result.intervals[0].high) == (median, low, high)


def test_the_curve_of_the_6_mp_patients():
    """Freireich 1963; R: survfit(Surv(time, cens) ~ 1, MASS::gehan)."""
    time, event = group_of("logrank_gehan", "6-MP")
    curve = kaplan_meier(time, event, interval="plain").curve[1:]
    assert [point.time for point in curve] == [6, 7, 10, 13, 16, 22, 23]
    assert [round(point.survival, 4) for point in curve] == [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]
    errors = [(point.survival - point.low) / normal_quantile(0.95) for point in curve]
    assert (round(errors[0], 4), round(errors[-1], 4)) == (0.0764, 0.1346)


def test_the_curve_of_the_maintained_aml_patients():
    curve = kaplan_meier(*group_of("logrank_aml", "Maintained")).curve[1:]
    assert [point.time for point in curve] == [9, 13, 18, 23, 31, 34, 48]
    expected = [0.909091, 0.818182, 0.715909, 0.613636, 0.490909, 0.368182, 0.184091]
    assert [round(point.survival, 6) for point in curve] == expected


@pytest.mark.parametrize(("sex", "value", "error"), [("1", 241.495085, 10.358227), ("2", 297.465410, 10.791324)])
def test_restricted_means_of_lung_by_sex(sex, value, error):
    """R: summary(survfit(Surv(time, status) ~ sex, lung), rmean = 365)."""
    result = restricted_mean(*group_of("logrank_lung_sex", sex), until=365)
    assert (result.value, result.standard_error) == pytest.approx((value, error), abs=1e-6, rel=0)


def test_the_copies_of_lung_in_lifelines_and_in_r_agree():
    import lifelines.datasets

    lung = lifelines.datasets.load_lung()
    assert kaplan_meier(lung["time"], lung["status"]) == kaplan_meier(
        by_id("km_lung_all")["input"]["time"], by_id("km_lung_all")["input"]["event"]
    )


@pytest.mark.parametrize(
    ("events", "exposure", "low", "high"),
    [(137, 24.19893, 4.753125, 6.692709), (7, 10, 0.281436, 1.442268), (0, 10, 0, 0.368888)],
)
def test_rates_of_r_poisson_test(events, exposure, low, high):
    """R: poisson.test(137, 24.19893) and poisson.test(7, 10)."""
    result = event_rate(events, exposure, "patient-year")
    assert result.rate == events / exposure
    assert [round(x, 6) for x in (result.intervals[0].low, result.intervals[0].high)] == [low, high]
