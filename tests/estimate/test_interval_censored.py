"""The interval-censored estimate against R, a stored optimum, surpyval, lifelines and a slow twin."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.estimate.results import Reason
from app.estimate.times import interval_censored as module
from app.estimate.times import turnbull
from app.estimate.times.interval_censored import interval_censored
from app.estimate.times.turnbull import distinct_intervals, intersections
from tests.estimate.reference import by_id, r_cases
from tests.repetition import repeats
from tests.twin import turnbull as twin

NPMLE = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[1] / "data" / "reference_npmle.json").read_text("utf-8"))["cases"]
}
INTERVALS = st.lists(
    st.tuples(st.integers(0, 8), st.one_of(st.integers(1, 9), st.none())).map(
        lambda drawn: (drawn[0], None if drawn[1] is None else drawn[0] + drawn[1])
    ),
    min_size=1,
    max_size=12,
)
VISITS = st.lists(
    st.integers(0, 5).flatmap(
        lambda k: st.sampled_from([(28 * k, 28 * (k + 1)), (28 * k, 28 * (k + 2)), (28 * k, None)])
    ),
    min_size=1,
    max_size=14,
)
ANY = INTERVALS | VISITS
MEDIANS = st.sampled_from(["midpoint", "lower"])
PLATEAUS = st.sampled_from(["left_end", "midpoint_to_last", "not_reached"])


def columns(intervals):
    return [left for left, _ in intervals], [twin.end(right) for _, right in intervals]


def estimate(intervals, **more):
    return interval_censored(*columns(intervals), **({"resamples": 0} | more))


def masses_of(result):
    return [(each.left, each.right, each.mass) for each in result.masses]


def survival(result, time):
    """S at a time between the masses."""
    assert not any(each.left < time < twin.end(each.right) for each in result.masses)
    return 1 - math.fsum(each.mass for each in result.masses if twin.end(each.right) <= time)


def patients_of(case):
    return list(zip(case["input"]["left"], case["input"]["right"], strict=True))


@pytest.mark.parametrize("case", r_cases("ic"))
def test_a_curve_is_what_r_answers(case):
    """`survfit` stops its EM early: it has then not quite removed the masses that the maximum does not have."""
    result = estimate(patients_of(case))
    expected = case["expected"]
    steps = zip(expected["curve_time"], [1, *expected["curve_S"]], expected["curve_S"], strict=False)
    left_over = sum(
        before - after
        for time, before, after in steps
        if not any(each.left < time < twin.end(each.right) for each in result.masses)
    )
    assert left_over < 4e-4
    assert [survival(result, time) for time in expected["at"]] == pytest.approx(expected["S_at"], abs=1e-4 + left_over)
    assert (result.median.left + result.median.right) / 2 == expected["median"]


@pytest.mark.parametrize("case", r_cases("ic"))
def test_the_masses_are_those_of_the_stored_optimum(case):
    result, expected = estimate(patients_of(case)), NPMLE[case["id"]]
    assert [(each.left, each.right) for each in result.masses] == [(m["left"], m["right"]) for m in expected["masses"]]
    assert [each.mass for each in result.masses] == pytest.approx([m["mass"] for m in expected["masses"]], abs=1e-9)
    assert result.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-9)
    assert result.excess == 0


@pytest.mark.parametrize("case", r_cases("ic"))
def test_surpyval_sees_the_same_curve(case):
    """Surpyval takes [L, R] with flag 2 as (L, R] and flag 1 as (L, infinity), as we do; its default is another curve
    (Fleming-Harrington).
    """
    from surpyval import Turnbull

    patients = patients_of(case)
    result = estimate(patients)
    model = Turnbull.fit(
        x=[[left, left if right is None else right] for left, right in patients],
        c=[1 if right is None else 2 for _, right in patients],
        turnbull_estimator="Kaplan-Meier",
    )
    theirs = [float(np.squeeze(model.sf(time))) for time in case["expected"]["at"]]
    assert [survival(result, time) for time in case["expected"]["at"]] == pytest.approx(theirs, abs=1e-5)


def test_lifelines_reads_the_intervals_as_closed_and_answers_another_curve():
    from lifelines import KaplanMeierFitter

    case = by_id("ic_breast_cosmesis_radiotherapy")
    left, right = columns(patients_of(case))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = KaplanMeierFitter().fit_interval_censoring(left, right)
    curve = fit.survival_function_.iloc[:, 0]
    theirs = float(curve[curve.index <= 40].iloc[-1])
    assert survival(estimate(patients_of(case)), 40) == pytest.approx(0.46586, abs=1e-3)
    assert abs(theirs - 0.46586) > 0.02


@given(ANY)
@settings(max_examples=repeats(70))
@example([(0, None), (3, None), (8, None)])  # all right-censored
@example([(2, 5)] * 4)  # identical
@example([(0, 9), (2, 7), (4, 5)])  # nested
@example([(0, 1), (1, 2), (2, 3), (3, None)])  # disjoint, neighbours that touch
@example([(0, 2), (1, 3), (2, 4), (0, 4), (3, 5)])
def test_the_estimate_is_the_maximum_by_the_twin(intervals):
    result = estimate(intervals)
    masses = masses_of(result)
    assert math.fsum(mass for _, _, mass in masses) == pytest.approx(1, abs=1e-12)
    assert all(mass > 0 for _, _, mass in masses)
    assert {(left, right) for left, right, _ in masses} <= set(twin.maximal(intervals))
    assert twin.excess(intervals, masses) <= 1e-9
    assert result.excess <= 1e-9
    assert result.log_likelihood == pytest.approx(twin.log_likelihood(intervals, masses), abs=1e-10)
    crawled = twin.self_consistent(intervals, 12)
    assert result.log_likelihood >= twin.log_likelihood(intervals, crawled) - 1e-10
    assert [each.survival for each in result.masses] == pytest.approx(
        [1 - math.fsum(mass for _, _, mass in masses[:k]) for k in range(len(masses))], abs=1e-12
    )


@pytest.mark.parametrize("name", NPMLE)
def test_the_crawling_twin_gets_there_too(name):
    patients = patients_of(by_id(name))
    slow = {(left, right): mass for left, right, mass in twin.self_consistent(patients, 4000)}
    for each in estimate(patients).masses:
        assert slow.pop((each.left, each.right)) == pytest.approx(each.mass, abs=1e-4)
    assert max(slow.values(), default=0) < 1e-4


@given(ANY)
def test_the_maximal_intersections_are_those_of_the_definition(intervals):
    left, right = (np.array(column, dtype=np.float64) for column in columns(intervals))
    sample = distinct_intervals(left, right)
    part = intersections(sample.begin, sample.end, len(sample.points))
    found = [
        (float(a), None if math.isinf(b) else float(b))
        for a, b in zip(sample.points[part.left], sample.points[part.right], strict=True)
    ]
    assert found == twin.maximal(intervals)
    for row, first, beyond in zip(range(len(sample.count)), part.first, part.beyond, strict=True):
        mine = (float(sample.points[sample.begin[row]]), float(sample.points[sample.end[row]]))
        assert [k for k, piece in enumerate(found) if twin.covers(mine, piece)] == list(range(first, beyond))


@given(ANY, st.data())
@settings(max_examples=repeats(50))
def test_no_shift_of_mass_makes_the_observations_likelier(intervals, data):
    result = estimate(intervals)
    masses = masses_of(result)
    target = data.draw(st.sampled_from(twin.pieces(intervals)))
    share = data.draw(st.sampled_from([1e-6, 1e-3, 0.1, 0.5]))
    moved = [(left, right, mass * (1 - share)) for left, right, mass in masses] + [(*target, share)]
    assert twin.log_likelihood(intervals, moved) <= result.log_likelihood + 1e-10


@given(ANY, MEDIANS, PLATEAUS)
@example([(0, 1), (1, 2), (2, 3), (3, 4)], "midpoint", "left_end")
@example([(0, 1), (1, 2), (9, None), (9, None)], "midpoint", "midpoint_to_last")
@example([(0, 1), (1, 2), (9, None), (9, None)], "midpoint", "not_reached")
def test_the_median_is_where_the_twin_puts_it(intervals, convention, plateau):
    result = estimate(intervals, median=convention, plateau=plateau)
    last = max(limit for pair in intervals for limit in pair if limit is not None)
    found = (result.median.left, result.median.right)
    assert found == twin.median(masses_of(result), convention, plateau, last)
    assert (result.median.convention, result.median.plateau, result.median.unit) == (convention, plateau, "d")
    reached = result.median.right is not None
    assert result.median.reason == (None if reached else Reason.NOT_REACHED if result.events else Reason.NO_EVENTS)


@given(ANY.flatmap(lambda each: st.tuples(st.just(each), st.permutations(each))))
@settings(max_examples=repeats(50))
def test_the_order_of_the_patients_does_not_change_a_byte(orders):
    one, other = (estimate(each, resamples=40).model_dump_json() for each in orders)
    assert one == other


HALVES = [(0, 10), (20, 30), (40, 50), (60, 70)]


@pytest.mark.parametrize(
    ("intervals", "options", "expected"),
    [
        pytest.param(HALVES[:3], {}, (20, 30), id="below one half after the second mass"),
        pytest.param(HALVES, {}, (30, 40), id="one half between two masses: half-way between them"),
        pytest.param(HALVES, {"median": "lower"}, (20, 30), id="or the mass that came to one half"),
        pytest.param([*HALVES[:2], (80, None), (80, None)], {}, (20, 30), id="one half to the end: the left end"),
        pytest.param(
            [*HALVES[:2], (80, None), (80, None)],
            {"plateau": "midpoint_to_last"},
            (50, 55),
            id="or the middle to the last time",
        ),
        pytest.param(
            [*HALVES[:2], (80, None), (80, None)],
            {"plateau": "not_reached"},
            (50, None),
            id="or half-way to the open last interval, without a right end",
        ),
        pytest.param(HALVES, {"plateau": "not_reached"}, (30, 40), id="which changes nothing where a mass follows"),
        pytest.param([*HALVES[:1], (80, None), (90, None)], {}, (90, None), id="not reached: beyond the last mass"),
    ],
)
def test_the_median_of_an_exact_half_follows_the_conventions(intervals, options, expected):
    median = estimate(intervals, **options).median
    assert (median.left, median.right) == expected


@pytest.mark.parametrize("n", range(2, 61, 2))
def test_a_half_that_floats_miss_by_a_bit_is_still_a_half(n):
    median = estimate([(k, k + 1) for k in range(n)]).median
    assert (median.left, median.right) == (n / 2 - 0.5, n / 2 + 0.5)


def test_on_ever_denser_visits_the_median_becomes_that_of_kaplan_meier():
    case = by_id("km_lung_all")
    from app.estimate.times.survival import kaplan_meier

    time, event = case["input"]["time"], case["input"]["event"]
    intervals = [(t - 1e-3, t) if e else (t, None) for t, e in zip(time, event, strict=True)]
    exact, seen = kaplan_meier(time, event), estimate(intervals)
    assert seen.median.right == exact.median.value
    assert [each.right for each in seen.masses if each.right] == [point.time for point in exact.curve[1:]]
    steps = [survival(seen, point.time) for point in exact.curve[1:]]
    assert steps == pytest.approx([point.survival for point in exact.curve[1:]], abs=1e-10)


def test_nobody_has_no_estimate():
    result = estimate([], resamples=200)
    assert (result.n, result.events, result.masses, result.log_likelihood) == (0, 0, (), None)
    assert (result.reason, result.median.reason) == (Reason.NO_PATIENTS, Reason.NO_PATIENTS)
    assert result.median.intervals[0].reason == Reason.NO_PATIENTS


def test_without_an_event_the_curve_stays_at_1_and_the_median_lies_beyond():
    result = estimate([(5, None), (8, None)], resamples=200)
    assert masses_of(result) == [(8, None, 1)]
    assert (result.median.left, result.median.right, result.median.reason) == (8, None, Reason.NO_EVENTS)
    limits = result.median.intervals[0]
    assert (limits.low, limits.high, limits.reason) == (None, None, Reason.NO_EVENTS)


def test_a_search_that_does_not_end_at_the_maximum_has_no_answer(monkeypatch):
    monkeypatch.setattr(turnbull, "MOST_STEPS", 1)
    monkeypatch.setattr(turnbull, "LARGEST_SUPPORT", 0)
    result = estimate(patients_of(by_id("ic_breast_cosmesis_radiotherapy")), resamples=50)
    assert result.excess > 1e-3
    assert (result.reason, result.median.reason) == (Reason.NOT_CONVERGED, Reason.NOT_CONVERGED)
    assert (result.masses, result.log_likelihood, result.median.left) == ((), None, None)


def test_a_search_that_is_too_wide_to_end_is_too_large(monkeypatch):
    monkeypatch.setattr(turnbull, "MOST_STEPS", 1)
    monkeypatch.setattr(turnbull, "LARGEST_SUPPORT", 0)
    monkeypatch.setattr(module, "LARGEST_SUPPORT", 0)
    result = estimate(patients_of(by_id("ic_breast_cosmesis_radiotherapy")))
    assert (result.reason, result.median.reason, result.masses) == (Reason.TOO_LARGE, Reason.TOO_LARGE, ())


def test_em_steps_alone_arrive_where_newton_steps_do(monkeypatch):
    patients = patients_of(by_id("ic_small"))
    quick = estimate(patients)
    monkeypatch.setattr(turnbull, "LARGEST_SUPPORT", 0)
    slow = estimate(patients)
    assert [each.mass for each in slow.masses] == pytest.approx([each.mass for each in quick.masses], abs=1e-6)


def test_more_distinct_intervals_than_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_SAMPLE", 3)
    assert estimate(HALVES[:3]).reason is None
    assert estimate([*HALVES[:3], *HALVES[:3]]).reason is None
    assert estimate(HALVES).reason == Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("left", "right"),
    [([1], [1]), ([2], [1]), ([-1], [1]), ([math.nan], [1]), ([0], [math.nan]), ([math.inf], [math.inf]), ([0], [])],
)
def test_what_is_no_interval_is_refused(left, right):
    with pytest.raises(ValueError, match="left"):
        interval_censored(left, right)


def test_a_hundred_thousand_patients_are_answered():
    generator = np.random.default_rng(4)
    left = generator.integers(0, 400, 100_000)
    right = np.where(generator.random(100_000) < 0.3, np.inf, left + generator.integers(1, 60, 100_000))
    result = interval_censored(left, right)
    assert result.excess <= 1e-9
    assert result.median.intervals[0].reason == Reason.TOO_LARGE


@pytest.mark.parametrize("intervals", [[], [(3, None)], [(0, 30), (30, 60), (30, None), (60, 91), (45, None)]])
def test_everybody_is_at_risk_or_undecided_or_has_left_at_each_time(intervals):
    found = estimate(intervals)
    last = max((right or left for left, right in intervals), default=-1)
    assert [row.time for row in found.numbers_at_risk] == list(range(0, last + 1, 30))
    for row in found.numbers_at_risk:
        assert row.at_risk == sum(left >= row.time for left, _ in intervals)
        assert row.undecided == sum(left < row.time <= (right or -1) for left, right in intervals)
    marks = [(mark.time, mark.patients) for mark in found.censorings]
    assert marks == [(left, 1) for left, right in sorted(intervals, key=str) if right is None]
    right = found.median.right
    assert found.median.at_risk == (None if right is None else sum(left >= right for left, _ in intervals))
