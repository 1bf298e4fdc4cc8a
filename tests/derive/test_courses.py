"""Courses and the study of courses equal their slow twin, and few values are copied even with many courses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive.exact_comparison import ln_ratio
from app.derive.study import DerivedStudy
from app.derive.study_by_course import CourseStudy
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort, InfusionRow, LabRow, PatientRow
from tests.repetition import repeats
from tests.twin import courses as slow
from tests.twin import derivations as twin
from tests.twin.cohorts import cohorts, protocols

STUDIES = st.tuples(cohorts(max_patients=4), protocols())


def slow_courses(case):
    return [course for patient in twin.patients_of(case[0]) for course in slow.courses_of(patient, case[1])]


@settings(max_examples=repeats(40, thorough=100))
@given(STUDIES)
def test_courses_are_those_of_the_twin(case):
    found = DerivedStudy(*case).courses
    expected = [
        (i, course.place, course.first, course.last, course.infusions, pytest.approx(0.4 * course.infusions))
        for i, patient in enumerate(twin.patients_of(case[0]))
        for course in slow.courses_of(patient, case[1])
    ]
    columns = (found.patient, found.place, found.first_day, found.last_day, found.infusions, found.grams_per_kg)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


@settings(max_examples=repeats(40, thorough=100))
@given(STUDIES)
def test_baselines_and_visits_of_a_course_are_those_of_the_twin(case):
    study, expected = CourseStudy(DerivedStudy(*case)), slow_courses(case)
    for measure in twin.measures_of(case[1]):
        records, rows = study.analysis_values(measure), study.weeks(measure)
        for i, course in enumerate(expected):
            seen = {week: (int(records.day[r[i]]), records.value[r[i]]) for week, r in rows.items() if r[i] >= 0}
            visits = twin.visits(course.patient, case[1], measure)
            assert seen == {week: (record.day, float(record.value)) for week, record in visits.items()}
        after = [slow.baseline_after_previous(course, case[1], measure) for course in expected]
        assert study.baseline_after_previous(measure).tolist() == after


@settings(max_examples=repeats(40, thorough=100))
@given(STUDIES)
def test_responses_and_changes_of_a_course_are_those_of_the_twin(case):
    study, expected = CourseStudy(DerivedStudy(*case)), slow_courses(case)
    for declared in case[1].responses:
        verdict = study.response(declared.rule)
        found = [
            reason or ("responder" if responder else "non_responder")
            for reason, responder in zip(verdict.reason, verdict.responder, strict=True)
        ]
        assert found == [twin.response(course.patient, case[1], declared.rule) for course in expected]
    changes = [twin.changes(course.patient, case[1]) for course in expected]
    for measure in case[1].weekly_change.measures:
        for week in case[1].weekly_change.weeks:
            scale = "ln" if measure == "CK" else "raw"
            fast = ln_ratio([study.ck_at(week)], [study.ck_at(0)]) if scale == "ln" else study.difference(measure, week)
            each = [change.get((measure, scale, week)) for change in changes]
            wanted = [np.nan if change is None or isinstance(change, str) else change for change in each]
            assert fast.tolist() == pytest.approx(wanted, rel=1e-12, abs=1e-9, nan_ok=True)


def test_a_patient_with_many_courses_does_not_copy_the_whole_history_for_each():
    weeks = range(400)
    infusions = [InfusionRow("A", "IVIG", 10_000 + 28 * w, None, False, 0.4, "g/kg", None) for w in weeks]
    labs = [LabRow("A", "CK", 10_000 + 7 * w, None, False, 300.0, 200.0, None, None, None) for w in range(1_600)]
    study = CourseStudy(DerivedStudy(Cohort.assemble([PatientRow("A")], labs, [], infusions, [], []), SEED_2008))
    assert len(study.courses) == 400
    assert len(study.cohort.labs) < 10 * len(study.courses)
    assert study.response(SEED_2008.responses[2].rule).evaluable.all()
