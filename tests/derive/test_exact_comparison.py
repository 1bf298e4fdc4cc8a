"""Comparisons and differences in the decimals that were written."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.derive.analysis_values import on_own_scales
from app.derive.exact_comparison import at_most_zero, difference, ln_ratio
from app.timeline.cohort import AssessmentRow, Cohort, PatientRow

TENTHS = st.integers(1, 5000).map(lambda n: n / 10)
HUNDREDTHS = st.integers(1, 100_000).map(lambda n: n / 100)


def test_seventy_per_cent_is_met_exactly_in_all_of_299_cases():
    baselines = np.array([n / 10 for n in range(1, 300)])
    values = np.array([float(Fraction(n, 10) * Fraction(7, 10)) for n in range(1, 300)])
    by_floats = 10 * values <= 7 * baselines

    assert at_most_zero((10, values), (-7, baselines)).all()
    assert (~by_floats).sum() > 0


@given(st.lists(st.tuples(HUNDREDTHS, HUNDREDTHS), max_size=20), st.sampled_from([1, 3, 20, 70]))
def test_a_sum_is_compared_as_fractions_are(pairs, percent):
    left, right = (np.array(column, dtype=float) for column in (zip(*pairs, strict=True) if pairs else ((), ())))
    expected = [100 * Fraction(str(a)) <= percent * Fraction(str(b)) for a, b in pairs]

    assert at_most_zero((100, left), (-percent, right)).tolist() == expected


@given(TENTHS, TENTHS)
def test_a_ratio_of_one_has_the_logarithm_zero(first, factor):
    """Week -4, 0 and 4 in one geometric progression: the change did not change."""
    base = float(Fraction(str(first)) * Fraction(str(factor)))
    last = float(Fraction(str(first)) * Fraction(str(factor)) ** 2)
    found = ln_ratio([np.array([first]), np.array([last])], [np.array([base]), np.array([base])])

    assert found.tolist() == [0.0]


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(2, 50))
def test_equal_ratios_have_equal_logarithms(over, under, factor):
    found = ln_ratio([np.array([over, over * factor], dtype=float)], [np.array([under, under * factor], dtype=float)])

    assert found[0] == found[1] == pytest.approx(math.log(over) - math.log(under), abs=1e-12)


def test_a_zero_has_no_logarithm():
    assert np.isnan(ln_ratio([np.array([0.0, 1.0])], [np.array([1.0, 0.0])])).all()


def test_a_ratio_that_no_float_can_hold_has_its_logarithm():
    """4.9e-324 is the smallest number that a float can hold, and a sender may write it."""
    least, large = np.array([5e-324]), np.array([1e6])

    assert ln_ratio([large], [least])[0] == pytest.approx(math.log(1e6) - math.log(5e-324))
    assert ln_ratio([least, least], [large, large])[0] == pytest.approx(2 * (math.log(5e-324) - math.log(1e6)))
    assert ln_ratio([least], [least])[0] == 0


@given(HUNDREDTHS, HUNDREDTHS, st.integers(0, 1000))
def test_equal_differences_are_equal_numbers(low, gain, shift):
    """62.3 to 67.3 is the same gain as 0.3 to 5.3."""
    exact = [Fraction(str(x)) for x in (low, gain)]
    pairs = [(float(exact[0] + exact[1] + k), float(exact[0] + k)) for k in (0, shift)]
    found = difference(*(np.array(column) for column in zip(*pairs, strict=True)))

    assert found.tolist() == [gain, gain]


def test_a_score_on_another_scale_is_converted_in_the_decimals_that_were_written():
    sent = [0.1, 3, 35, 55.5, 62, 70, 99.9, 100]
    rows = [
        AssessmentRow("P1", "PATIENT_GLOBAL", day, None, False, float(score), 100.0, None)
        for day, score in enumerate(sent)
    ]
    rows.append(AssessmentRow("P1", "PATIENT_GLOBAL", 50, None, False, 6.2, None, None))
    rows.append(AssessmentRow("P1", "PHYSICIAN_GLOBAL", 50, None, False, 6.2, 100.0, None))
    people = Cohort.assemble([PatientRow("P1")], [], rows, [], [], [])
    found = on_own_scales(people, {"PATIENT_GLOBAL": 100.0}).assessments

    assert sorted(found.of("PATIENT_GLOBAL").score.tolist()) == sorted([0.01, 0.3, 3.5, 5.55, 6.2, 6.2, 7, 9.99, 10])
    assert np.isnan(found.of("PATIENT_GLOBAL").scale_max).all()
    assert found.of("PHYSICIAN_GLOBAL").scale_max.tolist() == [100]
    assert people.assessments.of("PATIENT_GLOBAL").score.max() == 100
    assert on_own_scales(people, {}) is people
