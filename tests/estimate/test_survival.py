import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter

from app.estimate.arithmetic import normal_quantile
from app.estimate.results import Reason
from app.estimate.times.survival import HALF_TOLERANCE, kaplan_meier, restricted_mean
from tests.estimate import twins
from tests.estimate.reference import by_id

PATIENTS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=14)
EVENTS_ONLY = st.lists(st.tuples(st.integers(0, 30), st.just(True)), max_size=24)
ANY = PATIENTS | EVENTS_ONLY
MEDIANS = st.sampled_from(["midpoint", "lower"])
PLATEAUS = st.sampled_from(["left_end", "midpoint_to_last", "not_reached"])
BANDS = st.sampled_from(["log-log", "log", "plain"])


def columns(patients):
    return [time for time, _ in patients], [event for _, event in patients]


def first_crossing(points, convention, last, plateau):
    """Where a limit falls to one half, by the words of the docstring."""
    for index, (time, value) in enumerate(points):
        if value < 0.5 + HALF_TOLERANCE:
            later = [t for t, v in points[index:] if v <= 0.5 - HALF_TOLERANCE]
            if convention == "lower" or value <= 0.5 - HALF_TOLERANCE:
                return time
            if later:
                return (time + later[0]) / 2
            return {"left_end": time, "midpoint_to_last": (time + last) / 2, "not_reached": None}[plateau]
    return None


@given(ANY)
def test_the_curve_is_the_product_of_fractions(patients):
    result = kaplan_meier(*columns(patients))
    expected = twins.steps(patients)
    assert [(point.time, point.at_risk, point.events) for point in result.curve[1:]] == [step[:3] for step in expected]
    assert [point.survival for point in result.curve[1:]] == pytest.approx(
        [float(step[3]) for step in expected], abs=1e-14
    )
    assert (result.n, result.events) == (len(patients), sum(event for _, event in patients))


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=300), st.sampled_from([1, 2, 3]))
def test_the_curve_is_that_of_the_fitter_of_lifelines_to_the_last_bit(patients, parts_of_a_day):
    times, events = columns(patients)
    times = [time / parts_of_a_day for time in times]
    fit = KaplanMeierFitter().fit(times, events)
    table = fit.event_table[fit.event_table["observed"] > 0]
    points = kaplan_meier(times, events).curve[1:]
    assert [(point.time, point.at_risk, point.events) for point in points] == [
        *zip(table.index, table["at_risk"], table["observed"], strict=True)
    ]
    assert [point.survival for point in points] == fit.survival_function_.loc[table.index].iloc[:, 0].tolist()


@given(ANY)
def test_everybody_is_accounted_for_along_the_curve(patients):
    result = kaplan_meier(*columns(patients))
    assert result.n == sum(point.events + point.censored for point in result.curve)
    for point, following in zip(result.curve, result.curve[1:], strict=False):
        assert following.at_risk == point.at_risk - point.events - point.censored
        assert point.censored == sum(point.time <= time < following.time and not event for time, event in patients)
    marks = [mark.time for point in result.curve for mark in point.censorings for _ in range(mark.patients)]
    assert marks == sorted(time for time, event in patients if not event)
    assert all(point.censored == sum(mark.patients for mark in point.censorings) for point in result.curve)
    assert all(point.time <= mark.time for point in result.curve for mark in point.censorings)


@given(ANY)
def test_every_curve_begins_at_time_0_where_everybody_is_without_the_event(patients):
    curve = kaplan_meier(*columns(patients)).curve
    assert len(curve) >= min(1, len(patients))
    for point in curve[:1]:
        assert (point.time, point.at_risk, point.events) == (0, len(patients), 0)
        assert (point.survival, point.low, point.high, point.reason) == (1, 1, 1, None)


@given(ANY)
def test_numbers_at_risk_are_those_who_were_followed_at_least_as_long(patients):
    result = kaplan_meier(*columns(patients))
    last = max((time for time, _ in patients), default=-1)
    grid = range(0, int(last) + 1, 30 if last <= 360 else 90)
    counted = [(time, sum(own >= time for own, _ in patients)) for time in grid]
    assert [(row.time, row.at_risk) for row in result.numbers_at_risk] == counted
    median = result.median.value
    assert result.median.at_risk == (None if median is None else sum(own >= median for own, _ in patients))


def test_numbers_at_risk_and_the_curve_from_time_0_are_those_of_r():
    """R 4.2.2, survival: fit <- survfit(Surv(time, event) ~ 1, conf.type = "log-log");
    summary(fit, times = seq(0, 334, 30))$n.risk; summary(fit, times = 121)$n.risk, 121 being the median; survfit0(fit).
    """
    time = [5, 30, 30, 41, 60, 60, 75, 90, 120, 121, 200, 200, 334]
    event = [0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0]
    found = kaplan_meier(time, event)
    assert [row.at_risk for row in found.numbers_at_risk] == [13, 12, 9, 6, 5, 3, 3, 1, 1, 1, 1, 1]
    assert [row.time for row in found.numbers_at_risk] == list(range(0, 334, 30))
    assert (found.median.value, found.median.at_risk) == (121, 4)
    rows = [(0, 13, 1), (30, 12, 0.9166666667), (41, 10, 0.825), (60, 9, 0.7333333333), (75, 7, 0.6285714286),
            (120, 5, 0.5028571429), (121, 4, 0.3771428571), (200, 3, 0.2514285714)]  # fmt: skip
    assert [(point.time, point.at_risk) for point in found.curve] == [row[:2] for row in rows]
    assert [point.survival for point in found.curve] == pytest.approx([row[2] for row in rows], abs=1e-10)
    marks = [(mark.time, mark.patients) for point in found.curve for mark in point.censorings]
    assert marks == [(5, 1), (30, 1), (60, 1), (90, 1), (200, 1), (334, 1)]


def test_a_long_follow_up_has_its_numbers_at_risk_by_quarters():
    """R 4.2.2, survival: summary(survfit(Surv(time, event) ~ 1), times = seq(0, 400, 90))$n.risk."""
    found = kaplan_meier([10, 89, 90, 91, 400], [1, 0, 1, 1, 0]).numbers_at_risk
    assert [(row.time, row.at_risk) for row in found] == [(0, 5), (90, 3), (180, 1), (270, 1), (360, 1)]
    assert [row.time for row in kaplan_meier([360], [1]).numbers_at_risk] == list(range(0, 361, 30))
    assert [row.time for row in kaplan_meier([361], [1]).numbers_at_risk] == [0, 90, 180, 270, 360]


@given(ANY, MEDIANS, PLATEAUS)
@example([(time, True) for time in range(1, 7)], "midpoint", "left_end")
@example([(time, True) for time in range(1, 15)], "midpoint", "left_end")
def test_the_median_is_that_of_exact_fractions(patients, median, plateau):
    result = kaplan_meier(*columns(patients), median=median, plateau=plateau).median
    assert result.value == twins.median(patients, median, plateau)
    assert (result.convention, result.plateau, result.unit) == (median, plateau, "d")


@given(ANY, BANDS, MEDIANS, PLATEAUS, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_the_bands_are_those_of_the_textbook_and_the_limits_of_the_median_are_where_they_cross(
    patients, interval, median, plateau, level
):
    result = kaplan_meier(*columns(patients), interval=interval, median=median, plateau=plateau, level=level)
    expected = twins.steps(patients)
    bands = [
        (None, None) if variance is None else twins.band(step[3], variance, normal_quantile(level), interval)
        for step, variance in zip(expected, twins.greenwood(expected), strict=True)
    ]
    for point, (low, high) in zip(result.curve[1:], bands, strict=True):
        assert (point.low, point.high) == ((None, None) if low is None else pytest.approx((low, high), abs=1e-12))
        assert point.reason == (Reason.NO_SURVIVORS if low is None else None)
    last = max((time for time, _ in patients), default=0)
    sides = [
        [(step[0], pair[side]) for step, pair in zip(expected, bands, strict=True) if pair[side] is not None]
        for side in (0, 1)
    ]
    limits = result.median.intervals[0]
    assert limits.method == f"brookmeyer-crowley/{interval}"
    assert (limits.low, limits.high) == tuple(first_crossing(side, median, last, plateau) for side in sides)


@given(ANY, st.integers(0, 12))
def test_the_restricted_mean_is_the_area_in_exact_fractions(patients, until):
    result = restricted_mean(*columns(patients), until=until)
    ends_at_zero = any(survival == 0 for *_, survival in twins.steps(patients))
    known = patients and (ends_at_zero or until <= max(time for time, _ in patients))
    if not known:
        reason = Reason.BEYOND_FOLLOW_UP if patients else Reason.NO_PATIENTS
        assert (result.value, result.standard_error, result.reason) == (None, None, reason)
        assert (result.intervals[0].low, result.intervals[0].reason) == (None, reason)
        return
    area, variance = twins.restricted_mean(patients, until)
    assert result.value == pytest.approx(float(area), abs=1e-12)
    [limits] = result.intervals
    if not variance:
        nothing = (result.standard_error, limits.low, limits.high, result.reason, limits.reason)
        assert nothing == (None, None, None, Reason.NO_STANDARD_ERROR, Reason.NO_STANDARD_ERROR)
        return
    error = math.sqrt(variance)
    assert (result.standard_error, result.reason, limits.reason) == (pytest.approx(error, abs=1e-12), None, None)
    assert limits.low == pytest.approx(max(0, float(area) - 1.959963984540054 * error), abs=1e-9)
    assert limits.high == pytest.approx(min(until, float(area) + 1.959963984540054 * error), abs=1e-9)


@pytest.mark.parametrize(("sex", "low", "high"), [(0, 221.193334326, 261.796836058), (1, 276.314803188, 318.616015876)])
def test_the_interval_of_a_restricted_mean_is_that_of_r(sex, low, high):
    """R: a <- summary(survfit(Surv(time, status == 2) ~ sex, lung), rmean = 365)$table[, c("rmean", "se(rmean)")];
    a[, 1] - qnorm(.975) * a[, 2]; a[, 1] + qnorm(.975) * a[, 2]. survRM2 computes the same interval.
    """
    case = by_id("logrank_lung_sex")["input"]
    times, events, groups = (np.array(case[name]) for name in ("time", "event", "group"))
    chosen = groups == np.unique(groups)[sex]
    [limits] = restricted_mean(times[chosen], events[chosen], until=365).intervals
    assert (limits.of, limits.method, limits.level) == ("restricted_mean", "normal", 0.95)
    assert (limits.low, limits.high) == pytest.approx((low, high), abs=1e-7)


@given(ANY.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
def test_the_order_of_the_patients_does_not_change_a_digit(orders):
    one, other = orders
    assert kaplan_meier(*columns(one)).model_dump_json() == kaplan_meier(*columns(other)).model_dump_json()
    assert restricted_mean(*columns(one), until=5) == restricted_mean(*columns(other), until=5)


@given(ANY, st.sampled_from([0, 3, 5, 8, 40]))
def test_the_area_under_a_known_curve_is_that_of_the_curve_estimated_again(patients, until):
    times, events = columns(patients)
    known = kaplan_meier(times, events)
    assert restricted_mean(times, events, until=until, known=known) == restricted_mean(times, events, until=until)


def test_the_order_of_many_patients_does_not_change_a_digit():
    case = by_id("km_lung_all")["input"]
    backwards = case["time"][::-1], case["event"][::-1]
    assert kaplan_meier(case["time"], case["event"]) == kaplan_meier(*backwards)
    assert restricted_mean(case["time"], case["event"], until=365) == restricted_mean(*backwards, until=365)


def test_a_median_on_an_exact_half_is_the_midpoint_of_the_plateau():
    assert kaplan_meier([100, 200, 300, 400], [1, 1, 1, 1]).median.value == 250
    assert kaplan_meier([100, 200, 300, 400], [1, 1, 1, 1], median="lower").median.value == 200


@pytest.mark.parametrize("n", range(2, 201, 2))
def test_a_half_that_floats_miss_by_a_bit_is_still_a_half(n):
    """Lifelines answers the next event for 24 of these 100 curves."""
    times = range(1, n + 1)
    assert kaplan_meier(times, [True] * n).median.value == n / 2 + 0.5
    assert kaplan_meier(times, [True] * n, median="lower").median.value == n / 2


def test_the_uncensored_times_1_to_6_have_the_median_3_5_or_3_and_never_the_4_of_lifelines():
    from lifelines import KaplanMeierFitter

    assert KaplanMeierFitter().fit([1, 2, 3, 4, 5, 6]).median_survival_time_ == 4
    assert kaplan_meier([1, 2, 3, 4, 5, 6], [1] * 6).median.value == 3.5
    assert kaplan_meier([1, 2, 3, 4, 5, 6], [1] * 6, median="lower").median.value == 3


def test_a_plateau_to_the_end_of_follow_up_has_its_median_at_the_left_end():
    case = by_id("km_half_then_all_censored")["input"]
    assert kaplan_meier(case["time"], case["event"]).median.value == 40
    assert kaplan_meier(case["time"], case["event"], plateau="midpoint_to_last").median.value == 60
    assert kaplan_meier(case["time"], case["event"], median="lower", plateau="midpoint_to_last").median.value == 40


def test_by_not_reached_a_plateau_to_the_end_of_follow_up_has_no_median():
    case = by_id("km_half_then_all_censored")["input"]
    median = kaplan_meier(case["time"], case["event"], plateau="not_reached").median
    assert (median.value, median.reason) == (None, Reason.NOT_REACHED)
    assert (median.intervals[0].low, median.intervals[0].high) == (10, None)
    assert kaplan_meier(case["time"], case["event"], median="lower", plateau="not_reached").median.value == 40


def test_a_limit_that_lies_on_one_half_follows_the_same_rule():
    """With level 1/10^9 the log-log limits are S itself, which is 1/2 from 2 to 3."""
    limits = kaplan_meier([1, 2, 3, 4], [1, 1, 1, 1], level=1e-9).median.intervals[0]
    assert (limits.low, limits.high) == (2.5, 2.5)
    case = by_id("km_half_then_all_censored")["input"]
    for plateau, end in (("left_end", 40), ("midpoint_to_last", 60), ("not_reached", None)):
        limits = kaplan_meier(case["time"], case["event"], level=1e-9, plateau=plateau).median.intervals[0]
        assert (limits.low, limits.high) == (end, end)


def test_a_median_that_is_not_reached_still_has_a_lower_limit():
    median = kaplan_meier([5, 8, 12, 30, 40], [1, 0, 0, 0, 0]).median
    assert (median.value, median.reason) == (None, Reason.NOT_REACHED)
    limits = median.intervals[0]
    assert (limits.low, limits.high, limits.reason) == (5, None, Reason.NOT_REACHED)


def test_nobody_at_all_has_no_curve():
    result = kaplan_meier([], [])
    assert (result.n, result.events, result.curve) == (0, 0, ())
    assert (result.median.value, result.median.reason) == (None, Reason.NO_PATIENTS)
    assert result.median.intervals[0].reason == Reason.NO_PATIENTS


def test_without_an_event_there_is_no_median():
    result = kaplan_meier([5, 8, 12], [0, 0, 0])
    (start,) = result.curve
    assert (result.n, result.events, start.at_risk, start.censored) == (3, 0, 3, 3)
    assert (result.median.value, result.median.reason) == (None, Reason.NO_EVENTS)
    assert result.median.intervals[0].reason == Reason.NO_EVENTS
    assert restricted_mean([5, 8, 12], [0, 0, 0], until=12).value == 12


def test_one_patient_with_an_event_has_a_median_and_no_limits():
    result = kaplan_meier([7], [True])
    assert (result.median.value, result.median.reason) == (7, None)
    limits = result.median.intervals[0]
    assert (limits.low, limits.high, limits.reason) == (None, None, Reason.NOT_REACHED)
    _, point = result.curve
    assert (point.survival, point.low, point.high, point.reason) == (0, None, None, Reason.NO_SURVIVORS)


def test_an_event_at_time_zero_counts():
    result = kaplan_meier([0, 0, 4], [True, False, True])
    assert [(point.time, point.at_risk, point.events, point.censored) for point in result.curve] == [
        (0, 3, 0, 0),
        (0, 3, 1, 1),
        (4, 1, 1, 0),
    ]


def test_who_is_censored_at_the_time_of_an_event_was_still_at_risk():
    _, point = kaplan_meier([3, 3], [False, True]).curve
    assert (point.at_risk, point.events, point.censored) == (2, 1, 1)


def test_the_band_is_the_one_asked_for():
    case = by_id("km_lung_all")["input"]
    bands = {each: kaplan_meier(case["time"], case["event"], interval=each).curve[81] for each in
             ("log-log", "log", "plain")}  # fmt: skip
    assert len({point.low for point in bands.values()}) == 3
    assert all(point.low < point.survival < point.high for point in bands.values())


def test_beyond_follow_up_the_restricted_mean_is_known_only_when_the_curve_has_come_down_to_zero():
    assert restricted_mean([2, 4], [1, 0], until=5).reason == Reason.BEYOND_FOLLOW_UP
    ended = restricted_mean([2, 4], [1, 1], until=5)
    assert (ended.value, ended.reason) == (3, None)
    assert ended.standard_error == pytest.approx(math.sqrt(0.5))


def test_the_standard_error_of_the_restricted_mean_is_not_the_spread_of_the_patients():
    """Lifelines returns 13480.44 as the variance here, whose root is 116; R's standard error is 7.798859."""
    case = by_id("km_lung_all")["input"]
    result = restricted_mean(case["time"], case["event"], until=365)
    assert (round(result.value, 6), round(result.standard_error, 6)) == (263.221866, 7.798859)


@pytest.mark.parametrize(
    ("durations", "events"), [([-1], [1]), ([math.nan], [1]), ([math.inf], [0]), ([1, 2], [1]), ([[1]], [[1]]), (1, 1)]
)
def test_what_are_no_durations_is_refused(durations, events):
    for compute in (kaplan_meier, lambda *data: restricted_mean(*data, until=1)):
        with pytest.raises(ValueError, match="`durations`"):
            compute(durations, events)


@pytest.mark.parametrize("wrong", [{"interval": "wald"}, {"median": "upper"}, {"plateau": "right"}, {"level": 95}])
def test_an_unknown_convention_is_refused(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
        kaplan_meier([1], [1], **wrong)


@pytest.mark.parametrize("until", [-1, math.nan, math.inf])
def test_an_end_that_is_no_time_is_refused(until):
    with pytest.raises(ValueError, match="`until`"):
        restricted_mean([1], [1], until=until)
