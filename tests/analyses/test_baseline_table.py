"""The baseline table compared with plain Python: `statistics`, and each patient computed alone."""

import statistics
from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer
from app.protocol.presets import SEED_2008
from app.timeline.cohort import NO_TIME, AssessmentRow, Cohort, InfusionRow, LabRow, MedicationRow, PatientRow
from app.timeline.times import EPOCH_DAY
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin.cohorts import cohorts

DAY0 = date(2024, 2, 29).toordinal() - EPOCH_DAY


def study(patients, labs=(), scores=(), infusions=None, medications=()):
    given_to_all = [InfusionRow(row.id, "IVIG", DAY0, None, False, 0.4, "g/kg", None) for row in patients]
    return Cohort.assemble(patients, list(labs), list(scores), given_to_all if infusions is None else infusions,
                           list(medications), [])  # fmt: skip


def rows(cohort, **fields):
    table = answer("baseline-table", cohort, SEED_2008, Options())
    return [row for row in table.results if all(getattr(row, name) == value for name, value in fields.items())]


def row(cohort, **fields):
    [found] = rows(cohort, **fields)
    return found


def test_age_is_the_year_of_the_first_infusion_minus_the_year_of_birth():
    cohort = study([PatientRow("A", birth_year=1953), PatientRow("B", birth_year=2000), PatientRow("C")])
    found = row(cohort, variable="age")

    assert (found.n, found.missing, found.summary.mean) == (2, 1, statistics.fmean([71, 24]))


def test_categories_count_patients_with_a_value_and_the_others_are_missing():
    cohort = study(
        [PatientRow("A", sex="female"), PatientRow("B", sex="male"), PatientRow("C", sex="female"), PatientRow("D")]
    )
    found = row(cohort, variable="sex")

    assert [(category.value, category.count, category.rate) for category in found.categories] == [
        ("female", 2, 2 / 3),
        ("male", 1, 1 / 3),
    ]
    assert (found.n, found.missing) == (3, 1)


def test_untreated_patients_are_in_no_row():
    patients = [PatientRow("A", weight_kg=50.0), PatientRow("B", weight_kg=90.0)]
    cohort = study(patients, infusions=[InfusionRow("A", "IVIG", DAY0, None, False, 0.4, "g/kg", None)])

    assert row(cohort, variable="weight").summary.mean == 50
    assert row(cohort, variable="infusions").n == 1


@pytest.mark.parametrize(
    ("doses", "weight", "expected"),
    [
        ([(0.4, "g/kg")] * 5, None, 2.0),
        ([(400.0, "mg/kg")] * 5, None, 2.0),
        ([(20.0, "g")] * 5, 50.0, 2.0),
        ([(20.0, "g")] * 5, None, None),
        ([(0.4, "g/kg"), (None, None)], 50.0, None),
    ],
)
def test_the_dose_of_the_index_course_is_summed_per_kg_or_unknown(doses, weight, expected):
    infusions = [InfusionRow("A", "IVIG", DAY0 + i, None, False, *dose, None) for i, dose in enumerate(doses)]
    infusions.append(InfusionRow("A", "IVIG", DAY0 + 60, None, False, 0.4, "g/kg", None))
    found = row(study([PatientRow("A", weight_kg=weight)], infusions=infusions), variable="index_course_dose")

    assert found.summary.mean == (pytest.approx(expected) if expected is not None else None)
    assert found.missing == (expected is None)


@pytest.mark.parametrize(
    ("periods", "week", "expected"),
    [
        ([(-30, None, 50.0, "mg/d")], 0, 50.0),
        ([(-30, -1, 50.0, "mg/d")], 0, 0.0),
        ([(-30, 0, 50.0, "mg/d")], 0, 50.0),
        ([(-30, 0, 50.0, "mg/d"), (1, None, 0.02, "g/d")], 1, 20.0),
        ([(-30, None, 50.0, "mg/d"), (-30, None, 10.0, "mg/d")], 0, 60.0),
        ([(-30, None, 70.0, "mg/wk")], 0, 10.0),
        ([(-30, 28, 40.0, "mg/d"), (28, None, 30.0, "mg/d")], 4, 30.0),
        ([(-30, 28, 40.0, "mg/d"), (29, None, 30.0, "mg/d")], 4, 40.0),
        ([(-30, None, 1.0, "mg/kg")], 0, None),
        ([], 0, None),
    ],
)
def test_the_prednisolone_of_a_week_is_the_sum_of_the_periods_that_cover_its_day(periods, week, expected):
    medications = [
        MedicationRow("A", "Prednisolone", DAY0 + start, None if end is None else DAY0 + end, dose, unit)
        for start, end, dose, unit in periods
    ]
    found = row(study([PatientRow("A")], medications=medications), section="prednisolone", week=week)

    assert found.summary.mean == (pytest.approx(expected) if expected is not None else None)


def test_a_value_is_also_given_as_a_multiple_of_its_own_upper_limit():
    labs = [
        LabRow("A", "CK", DAY0, None, False, 400.0, 200.0, None, None, None),
        LabRow("B", "CK", DAY0, None, False, 300.0, None, None, None, None),
    ]
    found = row(study([PatientRow("A"), PatientRow("B")], labs), variable="CK/upper_limit")

    assert (found.n, found.missing, found.summary.mean) == (1, 1, 2.0)


def test_a_visit_is_kept_when_its_window_has_a_value():
    scores = [AssessmentRow("A", "MMT", DAY0 + day, None, False, 60.0, None, None) for day in (0, 10, 29)]
    cohort = study([PatientRow("A")], scores=scores)
    kept = {r.week: r.categories[0].value for r in rows(cohort, section="visits_kept", variable="MMT")}

    assert kept == {-4: "missed", 0: "kept", 1: "kept", 2: "missed", 4: "kept", 8: "missed"}


@settings(max_examples=repeats(40, thorough=100))
@given(cohorts(), st.sampled_from(["CK", "MMT", "ADL"]))
def test_values_by_visit_are_summarised_as_statistics_does(cohort, measure):
    patients = twin.patients_of(cohort)
    treated = [p for p in patients if twin.course(p, SEED_2008).treated]
    for found in rows(cohort, section="visit", variable=measure):
        values = [
            float(twin.stand_in(seen[found.week]))
            for p in treated
            if found.week in (seen := twin.visits(p, SEED_2008, measure))
        ]
        summary = found.summary
        assert (found.n, found.missing) == (len(values), len(treated) - len(values))
        if not values:
            assert (summary.mean, summary.reason) == (None, "no_patients")
            continue
        assert summary.mean == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert summary.median == pytest.approx(statistics.median(values), rel=1e-12)
        if len(values) > 1:
            assert summary.sd == pytest.approx(float(statistics.stdev(map(Fraction, values))), rel=1e-9)
            q1, _, q3 = statistics.quantiles(values, n=4, method="inclusive")  # type 7, as R's quantile
            assert (summary.q1, summary.q3) == (pytest.approx(q1, rel=1e-12), pytest.approx(q3, rel=1e-12))


def test_the_column_of_days_without_end_is_marked_and_not_a_day():
    cohort = study([PatientRow("A")], medications=[MedicationRow("A", "prednisolone", DAY0, None, 5.0, "mg/d")])

    assert cohort.medications.end_day.tolist() == [NO_TIME]
