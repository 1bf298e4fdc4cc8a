"""The Total Improvement Score, worsening and improvement: golden cases, every boundary, and a slow twin."""

import itertools
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive.core_set import FollowedMeasure, ValueRange, most_abnormal
from app.derive.exact_comparison import sign_of_sum
from app.derive.imacs_definition_of_improvement import definition_of_improvement
from app.derive.relative_change import BoundedVerdict, improved, worsened
from app.derive.study import DerivedStudy
from app.derive.total_improvement_score import (
    at_last_visit,
    improvement_scores,
    measure_score,
    twice_running,
    worsening_course,
)
from app.protocol.improvement import TABLE, THRESHOLDS
from app.protocol.presets import ACR_EULAR_2016_ADULT, ACR_EULAR_2016_JUVENILE, IMACS_2004
from tests.derive.core_sets import cohort, visit
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin import improvement_score as slow
from tests.twin.core_set_cohorts import CASES

GOLDEN = {
    "A": ((6, 5, 110, 1.5, 3000, 3), (3, 4, 125, 1, 1500, 2), 52.5, "moderate", "moderate"),
    "B all on a boundary": ((5, 5, 120, 1, 450, 4), (4.5, 3.5, 123, 0.875, 300, 0), 17.5, "none", "none"),
    "C one step more": ((5, 5, 120, 1, 451, 4.1), (4.4, 3.4, 124, 0.75, 300, 0), 50, "moderate", "moderate"),
    "D": ((9, 9, 90, 2.5, 3000, 6), (4, 4, 140, 1, 100, 1), 100, "major", "major"),
    "E everything worse": ((3, 3, 140, 1, 200, 1), (6, 6, 100, 2, 5000, 5), 0, "none", "none"),
    "F ceiling": ((3, 4, 142, 0.5, 600, 2), (1, 2, 150, 0, 150, 1), 47.5, "moderate", "moderate"),
}
"""Constructed examples of the project's clinical reference, section 2.1: limit of CK 200, MMT8 0 to 150."""

TENTHS = np.arange(101) / 10


def followed(name, before, after, span, better="lower", unit=1.0):
    """A measure with exact values: `before` of each patient, `after` of each patient and visit."""
    closed, units = np.zeros((1, 1), dtype=bool), np.full((1, 1), unit)
    readings = [ValueRange(each, each, closed, closed, units) for each in (before, after)]
    return FollowedMeasure(name, better, span, *readings, np.zeros(after.shape, dtype=np.int64))


def scored(name, before, after, span, better="lower", unit=1.0):
    return measure_score(followed(name, before, after, span, better, unit), np.full((len(before), 1), float(span)))


def scores(protocol, *patients):
    study = DerivedStudy(cohort(*patients), protocol)
    return improvement_scores(protocol.improvement_score, study.core_set(protocol.improvement_score))


@pytest.mark.parametrize("case", GOLDEN)
def test_the_golden_cases_have_their_score_and_level(case):
    before, after, expected, adult, juvenile = GOLDEN[case]
    found = scores(ACR_EULAR_2016_ADULT, {0: visit(*before), 4: visit(*after)})

    assert (found.lower[0, 0], found.upper[0, 0]) == (expected, expected)
    for population, level in (("adult", adult), ("juvenile", juvenile)):
        reached = [name for name, least in THRESHOLDS[population].items() if found.lower[0, 0] >= least]
        assert [*["none"], *reached][-1] == level


def test_the_maxima_of_the_table_add_up_to_100():
    assert sum(bands.scores[-1] for bands in TABLE.values()) == 100
    assert all(2 * score == round(2 * score) for bands in TABLE.values() for score in bands.scores)


def test_every_pair_of_one_decimal_vas_values_on_a_cut_scores_the_lower_band():
    """All 101 x 101 pairs at once, of which 319 lie exactly on a cut (5, 15, 25 or 40 per cent of 10 cm)."""
    before, after = np.repeat(TENTHS[:, None], 101, axis=0), np.tile(TENTHS[:, None], (101, 1))
    found = scored("physician_global", before, after, 10)
    cuts, values = TABLE["physician_global"]
    on_a_cut, by_floats = 0, 0
    for row, (b, a) in enumerate(itertools.product(range(101), range(101))):
        percent = b - a  # tenths of 10 cm are per cent
        expected = values[sum(percent > cut for cut in cuts)]
        assert found.lower[row, 0] == found.upper[row, 0] == expected
        if percent in cuts:
            on_a_cut += 1
            by_floats += values[sum((b / 10 - a / 10) / 10 * 100 > cut for cut in cuts)] != expected
    assert (on_a_cut, by_floats) == (319, 26)


def test_the_same_pairs_the_other_way_round_are_worse_and_score_nothing():
    before, after = np.repeat(TENTHS[:, None], 101, axis=0), np.tile(TENTHS[:, None], (101, 1))
    on_a_cut = np.isin(np.rint(10 * (before - after)), (5, 15, 25, 40))
    assert on_a_cut.sum() == 319
    assert not scored("physician_global", after, before, 10).upper[on_a_cut].any()
    for name in ("patient_global", "extramuscular"):
        there = scored(name, before, after, 10)
        scale_turned = scored(name, after, before, 10, better="higher")
        assert (there.lower == scale_turned.lower).all()


@pytest.mark.parametrize(
    ("name", "span", "step", "better", "gains"),
    [
        ("physician_global", 10, "0.1", "lower", ("0.6", "1.6", "2.6", "4.1")),
        ("muscle_strength", 80, "1", "higher", ("2", "9", "17", "25")),
        ("muscle_strength", 150, "1", "higher", ("4", "16", "31", "46")),
        ("muscle_strength", 260, "1", "higher", ("6", "27", "53", "79")),
        ("muscle_strength", 52, "1", "higher", ("2", "6", "11", "16")),
        ("function", 3, "0.125", "lower", ("0.25", "0.5", "0.875", "1.25")),
    ],
)
def test_the_smallest_gain_of_each_band_is_that_of_the_reference(name, span, step, better, gains):
    """Band by band from every possible baseline: the reference's smallest raw gain is in it, one step less is not."""
    steps = [Decimal(step) * k for k in range(int(Decimal(span) / Decimal(step)) + 1)]
    for band, gain in enumerate(map(Decimal, gains), 1):
        starts = [start for start in steps if start + gain <= span]
        low, high = ([[float(value)] for value in column] for column in (starts, [s + gain for s in starts]))
        short = [[float(s + gain - Decimal(step))] for s in starts]
        table = TABLE[name]
        for ends, passed in ((high, band), (short, band - 1)):
            best, worst = (ends, low) if better == "lower" else (low, ends)
            found = scored(name, np.array(best), np.array(worst), span, better)
            cuts = sum(Fraction(gain - (0 if passed == band else Decimal(step))) * 100 > cut * span
                       for cut in table.cuts)  # fmt: skip
            assert cuts == passed
            assert set(found.lower[:, 0]) == {table.scores[passed]}


@given(
    st.lists(
        st.tuples(*[st.integers(-5000, 5000).map(lambda n: n / 100)] * 3, st.sampled_from([1.0, 0.1, 200.0, 1e-9])),
        max_size=20,
    )
)
def test_the_sign_of_a_sum_of_products_is_that_of_fractions(rows):
    columns = [np.array([row[i] for row in rows]) for i in range(4)]
    a, b, c, d = columns
    found = sign_of_sum((0.3, a, b), (-1.0, b, c, d), (2.0, d))
    expected = []
    for row in rows:
        w, x, y, z = map(slow.exact, row)
        total = Fraction("0.3") * w * x - x * y * z + 2 * z
        expected.append((total > 0) - (total < 0))
    assert found.tolist() == expected


def test_the_sign_of_a_sum_that_cancels_is_zero_however_many_decimals_or_digits():
    for x in (0.1, 1 / 3, 1e-12, 123456789.123456, 4e15 + 1, 7e300):
        assert sign_of_sum((3.0, np.array([x])), (-3.0, x)).tolist() == [0]
    assert sign_of_sum((1.0, np.array([np.nan, np.inf, 0.0])), (-1.0, 2.0)).tolist() == [0, 1, -1]
    factors = [np.array([x]) for x in (1.000001, 0.999999, 1000.000001, 999.999999)]  # 24 decimals, just below 1e6
    assert sign_of_sum((1.0, *factors), (-1.0, 1e6)).tolist() == [-1]
    assert sign_of_sum((-1.0, *factors), (1.0, 1e6)).tolist() == [1]
    assert sign_of_sum((1.0, np.array([0.3])), (-3.0, 0.1)).tolist() == [0]  # 0.3 == 3 x 0.1, though not in floats


def test_an_enzyme_is_divided_by_its_own_limit_at_each_draw():
    """400 of 200 and 300 of 150 are both twice the limit: nothing has changed, though 100 U/L are gone."""
    before = visit(5, 5, 100, 1, (400, 200), 5)
    same, moved = visit(5, 5, 100, 1, (300, 200), 5), visit(5, 5, 100, 1, (300, 150), 5)
    found = scores(ACR_EULAR_2016_ADULT, {0: before, 4: same}, {0: before, 4: moved})
    enzyme = next(each for each in found.measures if each.name == "enzyme")
    assert enzyme.percent[:, 0].tolist() == pytest.approx([100 / 3000 * 100, 0])


def test_the_most_abnormal_enzyme_is_followed_and_a_tie_goes_to_the_first_declared():
    def reading(*pairs):
        value, limit = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
        closed = np.zeros(len(pairs), dtype=bool)
        return ValueRange(value, value, closed, closed, limit)

    first = reading((0.3, 0.1), (300, 200), (np.nan, 1))
    second = reading((3, 1), (320, 200), (np.nan, 1))
    chosen, undecided = most_abnormal([first, second])
    assert chosen.tolist() == [0, 1, -1]  # 0.3 / 0.1 is 2.9999999999999996 to a binary computer
    assert not undecided.any()


def test_a_missed_visit_neither_confirms_nor_refutes():
    attended = np.array([[1, 0, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
    holds = np.array([[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0]], dtype=bool)
    assert twice_running(attended, holds).tolist() == [
        [False, False, True, False], [False] * 4, [False] * 4,
    ]  # fmt: skip
    assert at_last_visit(attended, holds).tolist() == [False, True, True]


def test_a_score_that_cannot_be_negative_has_worsening_beside_it():
    before, after = (visit(*values) for values in GOLDEN["E everything worse"][:2])
    study = DerivedStudy(cohort({0: before, 4: after, 8: after}), ACR_EULAR_2016_ADULT)
    declared = ACR_EULAR_2016_ADULT.improvement_score
    course = worsening_course(declared.worsening, study.core_set(declared))
    assert course.worse.surely[0].tolist()[:3] == [True, True, False]
    assert course.confirmed.surely[0].tolist()[:3] == [False, True, True]


def possible(verdict: BoundedVerdict, at: tuple[int, int]) -> set[bool]:
    actual = verdict.verdict_at(at)
    return {False, True} if actual is None else {actual}


@settings(max_examples=repeats(25, thorough=60))
@given(CASES)
def test_scores_worsening_and_improvement_are_those_of_the_twin(case):
    cohort_, protocol = case
    study = DerivedStudy(cohort_, protocol)
    declared, definition = protocol.improvement_score, protocol.definition_of_improvement
    course = study.core_set(declared)
    found = improvement_scores(declared, course)
    worsening = worsening_course(declared.worsening, course)
    verdicts = definition_of_improvement(definition, study.core_set(definition))
    for i, patient in enumerate(twin.patients_of(cohort_)):
        expected = [slow.seen_at(patient, protocol, declared, definition, week) for week in found.weeks]
        confirmed = slow.confirmed(expected)
        for column, seen in enumerate(expected):
            at = (i, column)
            if seen.lower is None:
                assert np.isnan(found.lower[at])
                assert not found.attended[at]
            else:
                assert (found.lower[at], found.upper[at]) == (float(seen.lower), float(seen.upper))
                assert possible(worsening.confirmed, at) == confirmed[column]
            assert possible(worsening.worse, at) == seen.worse
            assert possible(verdicts.improved, at) == seen.improved
            names = [*declared.core_set.enzymes, None]
            assert names[course.enzyme[i]] == seen.enzyme


@settings(max_examples=repeats(40))
@given(CASES)
def test_a_visit_that_misses_a_measure_is_bounded_by_every_completion(case):
    """Whatever is filled in for what is missing, the score lies within the bounds, and both are attained."""
    cohort_, protocol = case
    study, declared = DerivedStudy(cohort_, protocol), protocol.improvement_score
    found = improvement_scores(declared, study.core_set(declared))
    attended = found.attended
    assert (found.lower[attended] <= found.upper[attended]).all()
    assert ((found.lower[attended] >= 0) & (found.upper[attended] <= 100)).all()
    gap = sum(np.where(each.known, each.upper - each.lower, TABLE[each.name].scores[-1]) for each in found.measures)
    assert np.allclose((found.upper - found.lower)[attended], gap[attended])


def test_the_presets_differ_in_population_only_where_they_should():
    adult, juvenile = (each.improvement_score for each in (ACR_EULAR_2016_ADULT, ACR_EULAR_2016_JUVENILE))
    assert adult.thresholds == {"minimal": 20, "moderate": 40, "major": 60}
    assert juvenile.thresholds == {"minimal": 30, "moderate": 45, "major": 70}
    assert {each.enzyme: each.upper_limits for each in adult.enzyme_ranges} == {
        "CK": 15, "ALDOLASE": 6, "LDH": 3, "AST": 3, "ALT": 3,
    }  # fmt: skip
    assert {each.source for each in adult.enzyme_ranges} == {"unverified"}
    assert IMACS_2004.definition_of_improvement.core_set == adult.core_set


def bound(value, sign):
    """One enzyme result known as a bound, with a limit of 100."""
    ends = {"<": (0, value), "<=": (0, value), ">": (value, np.inf), ">=": (value, np.inf), None: (value, value)}[sign]
    opened = [np.array([[sign == each]]) for each in (">", "<")]
    return ValueRange(*(np.array([[float(end)]]) for end in ends), *opened, np.full((1, 1), 100.0))


def enzyme(before, after):
    return FollowedMeasure("enzyme", "lower", np.nan, bound(*before), bound(*after), np.zeros((1, 1), dtype=np.int64))


@pytest.mark.parametrize(
    ("before", "after", "better", "worse"),
    [
        ((500, None), (400, None), True, False),
        ((500, None), (400, ">="), None, None),
        ((500, None), (400, ">"), False, None),
        ((500, None), (400, "<"), True, False),
        ((500, "<"), (400, None), False, None),
        ((500, "<="), (400, None), None, None),
        ((500, None), (625, "<="), None, None),
        ((500, None), (625, "<"), None, False),
        ((500, None), (625, ">="), False, True),
        ((500, ">"), (625, None), None, False),
        ((500, ">="), (625, None), None, None),
        ((0, None), (5, None), False, None),
        ((0, None), (0, None), False, False),
    ],
)
def test_a_bound_on_a_limit_counts_as_far_as_it_can_be_reached(before, after, better, worse):
    """Better by 20 per cent, worse by 25: 500 to exactly 400 and to exactly 625."""
    pair = enzyme(before, after)
    assert improved(pair, 20).verdict_at((0, 0)) is better
    assert worsened(pair, 25, 10).verdict_at((0, 0)) is worse


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        ((200, "<="), (200, None), -1),
        ((200, "<"), (200, None), 1),
        ((200, None), (200, "<="), 0),
        ((200, None), (200, ">"), 1),
        ((200, None), (200, ">="), -1),
        ((200, "<="), (200, ">"), 1),
        ((100, "<"), (200, "<"), -1),
    ],
)
def test_bounds_leave_the_most_abnormal_enzyme_open_only_where_they_must(first, second, chosen):
    readings = [ValueRange(*(getattr(bound(*each), name)[:, 0] for name in ValueRange.__dataclass_fields__))
                for each in (first, second)]  # fmt: skip
    found, undecided = most_abnormal(readings)
    assert (found.tolist(), undecided.tolist()) == ([chosen], [chosen == -1])


def test_a_limit_of_nothing_is_no_limit():
    ill = {**visit(5, 5, 100, 1, None, 5), "CK": (400, 0.0)}
    found = scores(ACR_EULAR_2016_ADULT, {0: ill, 4: ill})
    assert (found.lower[0, 0], found.upper[0, 0]) == (0, 7.5)
