"""A study that is derived chunk by chunk equals the study derived at once."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive import chunks as module
from app.derive.analysis_values import AnalysisValues
from app.derive.chunks import chunks
from app.derive.study import DerivedStudy
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort, InfusionRow, LabRow, PatientRow
from tests.repetition import repeats
from tests.twin.cohorts import cohorts, protocols

OF_EACH_PATIENT = ("remission_episodes", "first_normal", "sustained", "days_normal")


def derived(case, rows_at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_AT_ONCE", rows_at_once)
        study = DerivedStudy(*case)
        return {name: getattr(study, name) for name in OF_EACH_PATIENT}


def columns(found):
    return {
        (name, field.name): np.asarray(getattr(each, field.name)).tolist()
        for name, each in found.items()
        for field in fields(each)
    }


@settings(max_examples=repeats(30, thorough=100))
@given(st.tuples(cohorts(), protocols()), st.integers(1, 9))
def test_what_is_derived_does_not_depend_on_the_size_of_the_chunks(case, rows_at_once):
    assert columns(derived(case, rows_at_once)) == columns(derived(case, 10**6))


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 9))
def test_every_patient_and_every_row_is_in_exactly_one_chunk(rows_of_each, rows_at_once):
    patient = np.repeat(np.arange(len(rows_of_each)), rows_of_each)
    nothing = np.zeros(len(patient))
    records = AnalysisValues(len(rows_of_each), patient, patient, nothing, nothing, patient, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_AT_ONCE", rows_at_once)
        found = list(chunks(patient, len(rows_of_each)))
    assert [i for chunk in found for i in range(len(rows_of_each))[chunk.patients]] == list(range(len(rows_of_each)))
    assert [i for chunk in found for i in range(len(patient))[chunk.rows]] == list(range(len(patient)))
    for chunk in found:
        mine = records.of_chunk(chunk)
        assert mine.size == chunk.patients.stop - chunk.patients.start
        assert (mine.patient + chunk.patients.start == patient[chunk.rows]).all()
        assert len(mine.day) <= rows_at_once + max(rows_of_each, default=0)


def test_a_study_without_patients_is_one_empty_chunk():
    assert [chunk.patients for chunk in chunks(np.zeros(0, dtype=np.int64), 0)] == [slice(0, 0)]


def test_of_equal_results_of_a_day_the_lowest_known_limit_counts():
    rows = [LabRow("P", "CK", 8, None, False, 150.0, limit, None, None, "A") for limit in (200.0, None, 163.0)]
    infusion = InfusionRow("P", "IVIG", 1, None, False, 0.4, "g/kg", None)
    for order in (rows, rows[::-1]):
        cohort = Cohort.assemble([PatientRow("P")], order, [], [infusion], [], [])
        assert DerivedStudy(cohort, SEED_2008).analysis_values("CK").upper_limit.tolist() == [163.0]
