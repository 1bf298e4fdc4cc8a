"""Cumulative incidence against fractions, against R's definition of its standard error, and against lifelines.

On `mgus2` of R survival (1384 patients, ties everywhere; the data are not in this repository) the functions give what
`survfit(Surv(etime, event) ~ 1)` gives, as the reference of the project has it (clinical.md section 6): progression at
120 and 240 months .063722168 (SE .00679685) and .099813716 (.00978485), death .53181770 and .72402798.
"""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.estimate.results import Reason
from app.estimate.times.aalen_johansen import cumulative_incidence, event_free, restricted_mean_event_free
from app.estimate.times.survival import kaplan_meier, restricted_mean
from tests.repetition import repeats

PATIENTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=12)
FEW = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=6)
NAMES = ("abnormal", "rescue", "death")
BANDS = st.sampled_from(["log-log", "log", "plain"])
EXHAUSTED = [(1, 1), (1, 2), (1, 0), (4, 1), (4, 3)]


def columns(patients):
    return [time for time, _ in patients], [cause for _, cause in patients]


def incidence(patients, cause, until, weights=None):
    """F of one cause by its definition, every sum made anew; weights may be fractions."""
    weights = weights or [Fraction(1)] * len(patients)
    free, total = Fraction(1), Fraction(0)
    for at in sorted({time for time, each in patients if each and time <= until}):
        at_risk = sum(w for (time, _), w in zip(patients, weights, strict=True) if time >= at)
        here = [(each, w) for (time, each), w in zip(patients, weights, strict=True) if time == at and each]
        total += free * sum(w for each, w in here if each == cause) / at_risk
        free *= 1 - sum(w for _, w in here) / at_risk
    return total


def area(patients, until, weights=None):
    """The area under 1 - F of the first cause, day by day."""
    return sum(1 - incidence(patients, 1, day, weights) for day in range(until))


def jackknifed(estimate, patients):
    """The infinitesimal jackknife: the root of the sum of squared derivatives by the patients' weights."""
    step, total = 1e-4, 0.0
    for index in range(len(patients)):
        up, down = ([1.0] * len(patients) for _ in range(2))
        up[index], down[index] = 1 + step, 1 - step
        total += ((float(estimate(up)) - float(estimate(down))) / (2 * step)) ** 2
    return math.sqrt(total)


@given(PATIENTS, st.integers(0, 10))
@example(EXHAUSTED, 4)
@example(EXHAUSTED, 9)
def test_the_incidence_is_that_of_fractions_at_any_time(patients, until):
    found = cumulative_incidence(*columns(patients), NAMES, until=until)
    at_end = [(time, cause) for time, cause in patients if time == max(time for time, _ in patients)]
    known = patients and (until <= at_end[0][0] or all(cause for _, cause in at_end))
    for place, each in enumerate(found, 1):
        assert (each.cause, each.events) == (NAMES[place - 1], sum(cause == place for _, cause in patients))
        if not known:
            missing = Reason.BEYOND_FOLLOW_UP if patients else Reason.NO_PATIENTS
            assert (each.value, each.standard_error, each.reason) == (None, None, missing)
            assert each.intervals[0].reason == missing
            continue
        assert each.value == pytest.approx(float(incidence(patients, place, until)), abs=1e-14)
        for point in each.curve:
            assert point.incidence == pytest.approx(float(incidence(patients, place, point.time)), abs=1e-14)
            assert point.at_risk == sum(time >= point.time for time, _ in patients)
            assert point.events == patients.count((point.time, place))


@settings(max_examples=repeats(30))
@given(FEW, st.integers(0, 4))
@example(EXHAUSTED, 4)
def test_the_standard_error_is_the_infinitesimal_jackknife_as_in_r(patients, until):
    assume(until <= max(time for time, _ in patients))
    for place, each in enumerate(cumulative_incidence(*columns(patients), NAMES, until=until), 1):
        expected = jackknifed(lambda weights, p=place: incidence(patients, p, until, weights), patients)
        certain = each.value in (0, 1)
        assert each.standard_error == (None if certain else pytest.approx(expected, abs=1e-7))
    mean = restricted_mean_event_free(*columns(patients), causes_known=3, until=until)
    assert mean.value == pytest.approx(float(area(patients, until)), abs=1e-12)
    expected = jackknifed(lambda weights: area(patients, until, weights), patients)
    assert mean.standard_error == (pytest.approx(expected, abs=1e-6) if expected > 1e-9 else None)


@given(PATIENTS)
def test_the_incidences_of_all_causes_and_those_still_free_make_one(patients):
    assume(patients)
    until = max(time for time, _ in patients)
    total = math.fsum(each.value for each in cumulative_incidence(*columns(patients), NAMES, until=until))
    free = 1 - incidence([(time, min(cause, 1)) for time, cause in patients], 1, until)
    assert total + float(free) == pytest.approx(1, abs=1e-14)


@settings(max_examples=repeats(20))
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), max_size=14),
    BANDS,
    st.sampled_from(["midpoint", "lower"]),
    st.sampled_from(["left_end", "midpoint_to_last", "not_reached"]),
    st.integers(0, 12),
)
def test_without_competing_events_everything_is_kaplan_meier(patients, interval, median, plateau, until):
    times, causes = columns(patients)
    how = {"interval": interval, "median": median, "plateau": plateau}
    found, expected = event_free(times, causes, causes_known=3, **how), kaplan_meier(times, causes, **how)
    assert (found.n, found.events, found.median) == (expected.n, expected.events, expected.median)
    assert found.numbers_at_risk == expected.numbers_at_risk
    for one, other in zip(found.curve, expected.curve, strict=True):
        same = ("time", "at_risk", "events", "censored", "censorings", "reason")
        assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
        assert one.survival == pytest.approx(other.survival, abs=1e-14)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-12)
    mean, usual = (
        restricted_mean_event_free(times, causes, causes_known=1, until=until),
        restricted_mean(times, causes, until=until),
    )
    assert mean.reason == usual.reason
    assert (mean.value, mean.standard_error) == pytest.approx((usual.value, usual.standard_error), abs=1e-12)


@settings(max_examples=repeats(25))
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12))
def test_without_ties_lifelines_answers_the_same(causes):
    from lifelines import AalenJohansenFitter

    assume(1 in causes)
    times = [3 * (place + 1) for place in range(len(causes))]
    theirs = AalenJohansenFitter(calculate_variance=False).fit(times, causes, event_of_interest=1).cumulative_density_
    first = cumulative_incidence(times, causes, NAMES, until=times[-1])[0]
    for point in first.curve:
        assert point.incidence == pytest.approx(theirs.loc[point.time].iloc[0], abs=1e-12)


@given(PATIENTS.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
def test_the_order_of_the_patients_does_not_change_a_digit(orders):
    one, other = (columns(each) for each in orders)
    assert cumulative_incidence(*one, NAMES, until=5) == cumulative_incidence(*other, NAMES, until=5)
    assert event_free(*one, causes_known=3) == event_free(*other, causes_known=3)


def test_censoring_the_competing_event_would_overstate_the_incidence():
    """Of four, two are rescued before the others relapse: half ever relapse, and 1 - Kaplan-Meier says all."""
    times, causes = [10, 20, 30, 40], [2, 2, 1, 1]
    first = cumulative_incidence(times, causes, NAMES, until=40)[0]
    assert first.value == 0.5
    assert kaplan_meier(times, [cause == 1 for cause in causes]).curve[-1].survival == 0
    curve = event_free(times, causes, causes_known=3)
    assert [(point.time, point.survival, point.censored) for point in curve.curve] == [
        (0, 1, 2),
        (30, 0.75, 0),
        (40, 0.5, 0),
    ]
    assert [point.censorings for point in curve.curve] == [(), (), ()]
    assert (curve.events, curve.median.value) == (2, 40)
    assert restricted_mean_event_free(times, causes, causes_known=3, until=60).value == 30 + 7.5 + 10


def test_where_nobody_had_the_event_there_is_an_upper_limit_and_where_everybody_had_it_none():
    """R: binom.test(0, 2)$conf.int."""
    none, all_ = (cumulative_incidence([1, 2], causes, NAMES, until=2)[0] for causes in ([2, 0], [1, 1]))
    assert (none.value, none.standard_error, none.reason) == (0, None, Reason.NO_EVENTS)
    [limits] = none.intervals
    assert (limits.method, limits.low, limits.reason) == ("clopper-pearson/weighted_risk_set", 0, None)
    assert limits.high == pytest.approx(0.8418861169916)
    assert (all_.value, all_.intervals[0].high, all_.intervals[0].reason) == (1, None, Reason.NO_SURVIVORS)
    assert (all_.standard_error, all_.reason) == (None, Reason.NO_SURVIVORS)
    assert (all_.curve[-1].low, all_.curve[-1].reason) == (None, Reason.NO_SURVIVORS)


@pytest.mark.parametrize(
    ("times", "causes", "until", "followed"),
    [
        ([5, 20, 30, 60], [2, 3, 2, 0], 60, 4),  # nobody was censored: R binom.test(0, 4)
        ([5, 20, 30, 60, 60], [0, 0, 2, 0, 0], 60, 3),  # censored before the other event
        ([5, 20, 30, 60], [2, 0, 0, 0], 60, 1 + 1 / 3),  # two of the three others were censored later
        ([5, 20, 30, 60], [0, 0, 0, 0], 25, 2),
        ([5, 5, 60], [2, 0, 0], 60, 1 + 1 / 2),  # events come before censorings of the same day
    ],
)
def test_the_upper_limit_of_an_incidence_of_0_is_that_of_the_patients_followed(times, causes, until, followed):
    found = cumulative_incidence(times, causes, NAMES, until=until)[0]
    assert (found.value, found.intervals[0].low) == (0, 0)
    assert found.intervals[0].high == pytest.approx(1 - 0.025 ** (1 / followed), rel=1e-12)
    backwards = cumulative_incidence(times[::-1], causes[::-1], NAMES, until=until)[0]
    assert backwards.intervals == found.intervals


def test_limits_of_the_incidence_are_those_of_the_share_without_it():
    (first, *_) = cumulative_incidence([1, 2, 3, 4], [1, 2, 0, 0], NAMES, until=3)
    (limits,) = first.intervals
    assert (limits.of, limits.method) == ("incidence", "aalen-johansen/log-log")
    assert 0 < limits.low < first.value == 0.25 < limits.high < 1
    assert (limits.low, limits.high) == (first.curve[0].low, first.curve[0].high)


@pytest.mark.parametrize(
    ("durations", "causes", "about"), [([-1], [1], "durations"), ([1, 2], [1], "durations"), ([1], [4], "causes")]
)
def test_what_are_no_times_or_causes_is_refused(durations, causes, about):
    with pytest.raises(ValueError, match=f"`{about}`"):
        cumulative_incidence(durations, causes, NAMES, until=1)
    with pytest.raises(ValueError, match="`until`"):
        restricted_mean_event_free([1], [1], causes_known=1, until=-1)
    with pytest.raises(ValueError, match="`interval`"):
        cumulative_incidence([1], [1], NAMES, until=1, interval="wald")
