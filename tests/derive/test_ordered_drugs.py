"""Orders of drugs equal their slow twin: which of them count, and on which days the dose is not known."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer
from app.analyses.steroid_sparing import SteroidOptions
from app.derive.dose_steps import dose_steps
from app.derive.doses import prednisolone
from app.derive.exposure import first_new_drug_day
from app.derive.ordered_drugs import counted_drugs
from app.derive.study import DerivedStudy
from app.derive.study_by_course import CourseStudy
from app.protocol.presets import SEED_2008
from app.timeline import cohort_batches
from app.timeline.cohort import NO_TIME, Cohort, InfusionRow, LabRow, MedicationRow, PatientRow
from tests.repetition import repeats
from tests.twin import ordered_drugs as twin

DAY0 = 20_000
SEEN = 40
NAMES = {"prednisolone": "prednisolone", "PSL": "prednisolone", "methylprednisolone": "methylprednisolone"}
EQUAL = {"prednisolone": Fraction(1), "methylprednisolone": Fraction(5, 4)}
MEDICATIONS = st.lists(
    st.tuples(
        st.sampled_from(["prednisolone", "prednisolone", "PSL", "methylprednisolone"]),
        st.integers(-3, 12),
        st.sampled_from([None, 0, 1, 2, 3, 5, 8]),
        st.sampled_from([None, 5, 10, 20]),
        st.sampled_from([True, True, True, False]),
    ),
    max_size=6,
)


def cohort_of(patients, seen=SEEN):
    names = [f"P{number:03d}" for number in range(len(patients))]
    return Cohort.assemble(
        [PatientRow(name) for name in names],
        [LabRow(name, "CK", DAY0 + seen, None, False, 500.0, 200.0, None, None, None) for name in names],
        [],
        [InfusionRow(name, "IVIG", DAY0, None, False, 20.0, "g", None) for name in names],
        [
            MedicationRow(
                name, drug, DAY0 + first, None if length is None else DAY0 + first + length,
                None if dose is None else float(dose), None if dose is None else "mg/d", ordered,
            )
            for name, found in zip(names, patients, strict=True)
            for drug, first, length, dose, ordered in found
        ],
        [],
    )  # fmt: skip


def slow(found):
    return [
        (NAMES[drug], first, None if length is None else first + length,
         None if dose is None else dose * EQUAL[NAMES[drug]], ordered)
        for drug, first, length, dose, ordered in found
    ]  # fmt: skip


def agree(found, study, place):
    doses, steps = study.dosing, dose_steps(study.cohort, study.exposure)
    medications = slow(found)
    for day in range(SEEN + 1):
        expected, covered, doubtful = twin.dose(medications, day)
        at = np.full(len(study.cohort), day)
        known = doses.at(at)[place]
        assert np.isnan(known) if expected is None or not covered else known == pytest.approx(float(expected))
        on = (doses.patient == place) & (doses.first <= day) & (day <= doses.last)
        assert bool(doses.doubtful[on].any()) == doubtful
        everywhere = prednisolone(study.cohort, study.exposure, day).daily_milligrams[place]
        unknown = expected is None or not twin.counted(medications)
        assert np.isnan(everywhere) if unknown else everywhere == pytest.approx(float(expected))
        mine = (steps.patient == place) & (steps.day <= day)
        if mine.any() and not unknown:
            assert steps.daily_milligrams[mine][-1] == pytest.approx(float(expected))


@settings(max_examples=repeats(60, thorough=600))
@given(st.lists(MEDICATIONS, min_size=1, max_size=3))
def test_doses_and_doubtful_days_are_those_of_the_twin(patients):
    study = DerivedStudy(cohort_of(patients), SEED_2008)
    for place, found in enumerate(patients):
        agree(found, study, place)


@settings(max_examples=repeats(20, thorough=200))
@given(st.lists(MEDICATIONS, min_size=1, max_size=2))
def test_the_orders_that_count_are_those_of_the_twin(patients):
    cohort = cohort_of(patients)
    table, expected = counted_drugs(cohort), []
    for place, found in enumerate(patients):
        expected += [(place, first, ordered) for _, first, _, _, ordered in twin.counted(slow(found))]
    rows = zip(table.taken.patient, table.taken.start_day - DAY0, table.taken.ordered, strict=True)
    assert sorted((int(who), int(day), bool(ordered)) for who, day, ordered in rows) == sorted(expected)
    counts = DerivedStudy(cohort, SEED_2008).orders(steroids=True)
    ordered = sum(each[4] for found in patients for each in found)
    assert counts == (sum(each[2] for each in expected), ordered - sum(each[2] for each in expected))


def test_orders_are_the_same_in_batches_of_a_cohort():
    pytest.importorskip("pyarrow")
    cohort = cohort_of([[("prednisolone", 0, None, 20, True)], [("prednisolone", 0, None, 20, False)], []])
    again = cohort_batches.cohort_of(list(cohort_batches.batches_of(cohort)), zoned=False)
    assert again.medications.ordered.tolist() == cohort.medications.ordered.tolist() == [True, False]
    assert again.digest == cohort.digest


def shown(cohort, name="steroid-sparing", options=None):
    found = answer(name, cohort, SEED_2008, options or SteroidOptions(patients=True)).model_dump(mode="json")
    return {key: found[key] for key in ("results", "cumulative", "responses") if key in found}


def test_the_order_of_the_orders_does_not_matter():
    orders = [("prednisolone", 0, 10, 20, True), ("PSL", 5, 10, 10, True), ("prednisolone", 12, None, 5, True),
              ("methylprednisolone", 3, 3, 4, True)]  # fmt: skip
    answers = [shown(cohort_of([list(each)])) for each in permutations(orders)]
    assert all(each == answers[0] for each in answers)


TAPER = [("prednisolone", -10, 19, 20), ("prednisolone", 10, 9, 10), ("prednisolone", 20, None, 5)]


def test_an_order_alone_gives_the_same_steroid_sparing_as_the_same_statement():
    of_orders, of_statements = (
        cohort_of([[(*each, ordered) for each in TAPER]], seen=200) for ordered in (True, False)
    )
    assert shown(of_orders) == shown(of_statements)
    assert shown(of_orders)["cumulative"][0]["n"] == 1
    assert of_orders.digest != of_statements.digest
    both = cohort_of([[(*each, ordered) for each in TAPER for ordered in (True, False)]], seen=200)
    assert shown(both) == shown(of_statements)


def test_two_orders_of_one_time_are_never_added():
    twice = cohort_of([[("prednisolone", 0, None, 20, True), ("prednisolone", 0, None, 20, True)]], seen=100)
    [row] = shown(twice)["cumulative"][0]["patients"]
    assert (row["milligrams"], row["reason"], row["days_known"]) == (None, "overlapping_orders", 0)
    [verdict] = answer("steroid-sparing", twice, SEED_2008, SteroidOptions(patients=True)).results[0].patients
    assert (verdict.dose_at_start, verdict.reason) == (None, "overlapping_orders")


ON_DAY_5 = [("prednisolone", 5, 0, 20, True), ("prednisolone", 5, 6, 10, True)]


@pytest.mark.parametrize("orders", [ON_DAY_5, ON_DAY_5[::-1], [*ON_DAY_5[:1] * 2, ("prednisolone", 6, 5, 10, True)]])
def test_an_order_of_one_day_and_another_one_of_that_day_are_not_added(orders):
    study = DerivedStudy(cohort_of([list(orders)]), SEED_2008)
    assert np.isnan(study.dosing.at(np.array([5])))[0]
    assert study.dosing.at(np.array([6])).tolist() == [10]


def test_a_planned_last_day_is_no_observation():
    planned, taken = (cohort_of([[("prednisolone", 0, 300, 20, ordered)]], seen=10) for ordered in (True, False))
    reasons = [shown(each)["cumulative"][0]["patients"][0]["reason"] for each in (planned, taken)]
    assert reasons == ["observed_too_short", None]


def test_courses_have_the_orders_of_their_patient():
    found = [("prednisolone", 0, None, 20, True), ("prednisolone", 30, None, 20, True), ("mPSL", 0, 3, 5, True),
             ("mPSL", 50, 3, 5, False)]  # fmt: skip
    study = DerivedStudy(cohort_of([found], seen=100), SEED_2008)
    view = CourseStudy(study)
    assert view.orders(steroids=True) == study.orders(steroids=True) == (2, 1)
    assert view.dosing.unknown(60) == study.dosing.unknown(60)
    assert study.dosing.unknown(60)[0] == "overlapping_orders"


def test_a_new_drug_is_not_one_that_was_only_ordered_beside_its_record():
    beside = [("azathioprine", -5, None, 50, False), ("azathioprine", 20, None, 100, True)]
    alone = [("azathioprine", 20, None, 100, True)]
    later = [("azathioprine", 30, None, 50, False), ("azathioprine", 20, None, 100, True)]
    cohort = cohort_of([beside, alone, later])
    days = first_new_drug_day(cohort, DerivedStudy(cohort, SEED_2008).exposure, ("azathioprine",))
    assert days.tolist() == [NO_TIME, 20, 30]


@pytest.mark.parametrize(
    ("name", "measure"),
    [("steroid-sparing", "glucocorticoids"), ("baseline-table", "prednisolone"), ("ck-normal-time", "medications")],
)
def test_an_answer_says_how_many_orders_count_and_how_many_do_not(name, measure):
    found = [("prednisolone", 0, None, 20, True), ("mPSL", 0, 3, 5, True), ("mPSL", 50, 3, 5, False)]
    asked = SteroidOptions() if name == "steroid-sparing" else Options()
    for orders, expected in ((found, {"orders_counted": 1, "orders_left_out": 1}), (found[2:], {})):
        flags = answer(name, cohort_of([orders], seen=100), SEED_2008, asked).flags
        assert {
            flag.code: flag.count for flag in flags if flag.measure == measure and "orders" in flag.code
        } == expected
