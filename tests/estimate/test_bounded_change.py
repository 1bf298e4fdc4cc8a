"""Means of differences that are partly bounds: the answers of R `survreg` in tests/data/reference_bounds.json."""

import json
import math
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.estimate.changes.bounded_change import censored_normal, change_within_bounds
from app.estimate.changes.paired_change import paired_change
from app.estimate.leave_one_out import influence_on_change
from app.estimate.results import Reason
from tests.repetition import repeats

REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "reference_bounds.json").read_text(encoding="utf-8"))
CASES = [pytest.param(case, id=case["id"]) for case in REFERENCE["cases"]]
INF = math.inf


def limits(case):
    """R writes an open side as NA."""
    return [-INF if x is None else x for x in case["low"]], [INF if x is None else x for x in case["high"]]


def some_point(low, high):
    """A number that stands for each bound."""
    return [next((x for x in limits if math.isfinite(x)), 0.5) for limits in zip(low, high, strict=True)]


def figures(case):
    return [case["mean"], case["standard_error"], case["log_scale"]]


@pytest.mark.parametrize("case", CASES)
def test_the_fit_is_what_r_answers(case):
    fit = censored_normal(*limits(case))
    assert [fit.mean, fit.standard_error, fit.log_scale] == pytest.approx(figures(case), rel=1e-10)


@pytest.fixture(scope="module")
def answers_of_r():
    """What R says of each case: a line each, from one process."""
    lines = ["library(survival)"]
    for case in REFERENCE["cases"]:
        low, high = (",".join("NA" if x is None else repr(x) for x in case[side]) for side in ("low", "high"))
        call = f'sprintf("%.13g", {{{REFERENCE["r_call"]}}})'
        lines.append(f'local({{low <- c({low}); high <- c({high}); cat({call}); cat("\\n")}})')
    script = "\n".join(lines)
    answer = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True, timeout=120)
    said = answer.stdout.splitlines()
    return {case["id"]: line.split() for case, line in zip(REFERENCE["cases"], said, strict=True)}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
@pytest.mark.parametrize("case", CASES)
def test_r_still_answers_what_is_stored(case, answers_of_r):
    found = [float(number) for number in answers_of_r[case["id"]]]
    assert found == pytest.approx(figures(case), rel=1e-10)


def likelihood(mean, log_scale, low, high):
    """The log-likelihood in plain Python."""
    scale, total = math.exp(log_scale), 0.0
    for a, b in zip(low, high, strict=True):
        u, v = (a - mean) / scale, (b - mean) / scale
        if a == b:
            total += -log_scale - u * u / 2
        elif u > 0:
            total += math.log(math.erfc(u / math.sqrt(2)) / 2 - math.erfc(v / math.sqrt(2)) / 2)
        else:
            total += math.log(math.erfc(-v / math.sqrt(2)) / 2 - math.erfc(-u / math.sqrt(2)) / 2)
    return total


def twin(low, high):
    """The maximum by a search that halves its steps along both axes, and the standard error from differences."""
    known = [a for a, b in zip(low, high, strict=True) if a == b]
    at, step = [sum(known) / len(known), 0.0], 1.0
    best = likelihood(*at, low, high)
    while step > 1e-9:
        tries = [[at[0] + dx * step, at[1] + dy * step] for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
        found = max(tries, key=lambda point: likelihood(*point, low, high))
        if likelihood(*found, low, high) > best:
            at, best = found, likelihood(*found, low, high)
        else:
            step /= 2
    h = 1e-4

    def second(i, j):
        def moved(di, dj):
            point = list(at)
            point[i] += di * h
            point[j] += dj * h
            return likelihood(*point, low, high)

        return (moved(1, 1) - moved(1, -1) - moved(-1, 1) + moved(-1, -1)) / (4 * h * h)

    mm, ml, ll = second(0, 0), second(0, 1), second(1, 1)
    return at[0], math.sqrt(-ll / (mm * ll - ml * ml)), at[1]


@settings(max_examples=repeats(10, thorough=60), deadline=None)
@given(st.lists(st.integers(-30, 30), min_size=4, max_size=10), st.integers(-25, 0), st.integers(1, 25))
def test_the_fit_is_that_of_a_slow_search(tenths, floor, ceiling):
    values = [x / 10 for x in tenths]
    low = [-INF if x < floor / 10 else min(x, ceiling / 10) for x in values]
    high = [INF if x > ceiling / 10 else max(x, floor / 10) for x in values]
    fit = censored_normal(low, high)
    if fit.reason is None:
        assert [fit.mean, fit.standard_error, fit.log_scale] == pytest.approx(twin(low, high), rel=2e-5, abs=2e-6)


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        ([], [], Reason.NO_PATIENTS),
        ([-INF], [INF], Reason.NO_PATIENTS),
        ([1.0], [1.0], Reason.TOO_FEW_KNOWN),
        ([-INF, -INF, -INF], [1.0, 2.0, 3.0], Reason.TOO_FEW_KNOWN),
        ([1.0, -INF, -INF], [1.0, -1.0, 0.5], Reason.TOO_FEW_KNOWN),
        ([2.0, 2.0, -INF], [2.0, 2.0, 3.0], Reason.SPREAD_HIDDEN),
        ([2.0, 2.0, -INF], [2.0, 2.0, 2.0], Reason.SPREAD_HIDDEN),
        ([0.3, 0.1 + 0.2, -INF], [0.3, 0.1 + 0.2, 3.0], Reason.SPREAD_HIDDEN),
        ([0.0, 1.0], [2.0, 3.0], Reason.SPREAD_HIDDEN),
    ],
)
def test_without_a_maximum_everything_is_null_with_its_reason(low, high, reason):
    fit = censored_normal(low, high)
    assert (fit.mean, fit.standard_error, fit.log_scale, fit.reason) == (None, None, None, reason)
    change = change_within_bounds([1.0] * len(low), low, high)
    if low != high:
        assert (change.mean, change.reason) == (None, reason)
        assert (change.intervals[0].low, change.intervals[0].high, change.intervals[0].reason) == (None, None, reason)
        assert (change.tests[1].p, change.tests[1].reason) == (None, reason)


def test_tied_values_with_a_bound_beyond_them_have_a_fit():
    assert censored_normal([2.0, 2.0, -INF], [2.0, 2.0, 1.0]).reason is None


@given(st.lists(st.floats(-20, 20), max_size=8))
def test_where_every_value_is_known_nothing_changes(values):
    assert change_within_bounds(values, values, values) == paired_change(values)


def test_the_interval_passes_into_the_t_interval_as_a_bound_becomes_a_value():
    values = [-1.2, -0.4, -2.1, -0.9, -1.6]
    exact = paired_change(values)
    nearly = change_within_bounds(values, [*values[:-1], -1.6 - 1e-5], values)
    assert nearly.bounds is not None
    assert [nearly.intervals[0].low, nearly.intervals[0].high] == pytest.approx(
        [exact.intervals[0].low, exact.intervals[0].high], abs=1e-4
    )
    assert (nearly.tests[1].statistic, nearly.tests[1].df) == (pytest.approx(exact.tests[1].statistic, abs=1e-4), 4)


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_the_patients_changes_no_bit(case):
    low, high = limits(case)
    points = some_point(low, high)
    rows = list(zip(points, low, high, strict=True))
    first = change_within_bounds(*zip(*rows, strict=True))
    random.Random(7).shuffle(rows)
    assert change_within_bounds(*zip(*rows, strict=True)) == first


def test_the_counts_say_what_kind_of_bound_each_difference_is():
    every_kind = next(case for case in REFERENCE["cases"] if case["id"] == "every_kind")
    low, high = limits(every_kind)
    bounds = change_within_bounds([1.0] * 10, low, high).bounds
    counts = (bounds.exact, bounds.below, bounds.above, bounds.between, bounds.unknown)
    assert counts == (5, 2, 1, 1, 1)


def test_substitution_stands_beside_the_mean_as_a_sensitivity():
    points = [math.log(x) for x in (0.5, 0.25, 0.4, 0.1)]
    low = [*points[:3], -INF]
    change = change_within_bounds(points, low, [*points[:3], math.log(0.2)])
    substituted = paired_change(points)
    assert change.bounds.substituted_mean == substituted.mean
    assert change.mean == censored_normal(low, [*points[:3], math.log(0.2)]).mean != substituted.mean


def rank(low, high):
    test = change_within_bounds(some_point(low, high), low, high).tests[0]
    return test.statistic, test.p, test.reason


@pytest.mark.parametrize(
    ("low", "high", "as_if"),
    [
        ([-1, -2, -3, 1.5, -INF], [-1, -2, -3, 1.5, -3.5], [-1, -2, -3, 1.5, -4]),
        ([-1, -2, 3.5], [-1, -2, INF], [-1, -2, 4]),
        ([-1, 1, -2.5, -4], [-1, 1, -1.5, -4], [-1, 1, -2, -4]),
        ([0, 0, 1, -INF], [0, 0, 1, -1.5], [0, 0, 1, -2]),
    ],
)
def test_a_rank_test_is_made_where_the_bounds_leave_one_order(low, high, as_if):
    expected = paired_change(as_if).tests[0]
    assert rank(low, high) == (expected.statistic, expected.p, None)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ([-1, -4, -INF], [-1, -4, -3.5]),  # below -3.5: smaller or larger than 4
        ([-1, -3.5, -INF], [-1, -3.5, -3.5]),  # it may be a tie
        ([-1, -2, -INF], [-1, -2, 0.5]),  # its sign is open
        ([-1, -2, 0], [-1, -2, INF]),  # it may be smaller than 1
        ([-1, -INF, -INF], [-1, -2, -3]),  # two bounds: either may be the larger
        ([1, -INF, 5], [1, -2, INF]),
        ([-1, -2, -INF], [-1, -2, INF]),
    ],
)
def test_a_rank_test_is_null_where_the_bounds_leave_its_order_open(low, high):
    assert rank(low, high) == (None, None, Reason.HIDDEN_BY_BOUNDS)


@settings(max_examples=repeats(60, thorough=400), deadline=None)
@given(st.lists(st.tuples(st.integers(-6, 6), st.sampled_from("=<>")), min_size=1, max_size=6), st.randoms())
def test_no_allowed_values_contradict_a_rank_test_that_was_made(patients, chance):
    low = [-INF if sign == "<" else float(x) for x, sign in patients]
    high = [INF if sign == ">" else float(x) for x, sign in patients]
    change = change_within_bounds([float(x) for x, _ in patients], low, high)
    for _ in range(5):
        drawn = [x + {"=": 0, "<": -1, ">": 1}[sign] * chance.choice([0.25, 0.5, 1, 2, 7.5]) for x, sign in patients]
        allowed = paired_change(drawn)
        if change.tests[0].reason is None:
            assert (change.tests[0].statistic, change.tests[0].p) == (allowed.tests[0].statistic, allowed.tests[0].p)
        if change.median is not None:
            assert change.median == allowed.median


def test_what_bounds_hide_is_null_with_the_reason():
    change = change_within_bounds([-1.0, -2.0, -3.0], [-1.0, -2.0, -INF], [-1.0, -2.0, -2.5])
    assert (change.sd, change.median, change.reason) == (None, -2.0, Reason.HIDDEN_BY_BOUNDS)
    pseudomedian = change.intervals[1]
    assert (pseudomedian.estimate, pseudomedian.low, pseudomedian.reason) == (None, None, Reason.HIDDEN_BY_BOUNDS)


def test_the_interval_covers_in_small_groups_with_many_bounds():
    """1,000 cohorts of 12 with a third below the limit (a quarter of them in the quick profile): normal limits cover
    92 to 94 %, these at least 95 %.
    """
    drawn, covered, number = np.random.default_rng(5), 0, repeats(1000)
    for _ in range(number):
        values = drawn.normal(size=12)
        low, high = np.where(values < -0.43, -INF, values), np.maximum(values, -0.43)
        interval = change_within_bounds(values, low, high).intervals[0]
        covered += interval.low is None or interval.low <= 0 <= interval.high
    assert 0.945 * number <= covered <= 0.99 * number


def test_leaving_one_out_is_computing_again_without_the_patient():
    points = [-1.0, -2.0, -3.0, 1.5, -4.0, -0.4]
    low, high = [-1.0, -2.0, -3.0, 1.5, -INF, -0.4], [-1.0, -2.0, -3.0, 1.5, -3.5, -0.4]
    found = influence_on_change(points, alpha=0.05, within=(low, high))
    again = [change_within_bounds(*(np.delete(each, i) for each in (points, low, high))) for i in range(6)]
    means = [change.mean for change in again]
    assert (found.estimate.low, found.estimate.high) == (min(means), max(means))
    assert found.position == int(np.argmax(np.abs(np.array(means) - found.estimate.value)))
    p = [change.tests[0].p for change in again]
    assert (found.tests[0].low, found.tests[0].high) == (min(p), max(p))


def test_with_too_many_patients_to_fit_again_the_influence_says_so():
    values = np.arange(-100.0, 101.0)
    low = np.where(values < -90, -INF, values)
    found = influence_on_change(values, alpha=0.05, within=(low, np.maximum(values, -90)))
    assert (found.estimate.low, found.estimate.reason) == (None, Reason.TOO_LARGE)
