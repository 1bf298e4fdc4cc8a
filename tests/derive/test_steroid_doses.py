"""Glucocorticoid doses equal their slow twin: sums, times to a low dose, doses on a day; also course by course."""

import math
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer
from app.analyses.steroid_sparing import SteroidOptions
from app.derive.dose_steps import dose_steps
from app.derive.doses import prednisolone
from app.derive.intercurrent_events import Event
from app.derive.steroid_doses import low_dose
from app.derive.study import DerivedStudy
from app.derive.study_by_course import CourseStudy
from app.protocol.endpoints import SteroidRescue, SteroidSparing
from app.protocol.presets import SEED_2008
from app.timeline.cohort import AssessmentRow, Cohort, InfusionRow, LabRow, MedicationRow, PatientRow
from tests.repetition import repeats
from tests.twin import steroid_sparing as twin
from tests.twin import steroids

DAY0 = 20_000
WINDOWS = (1, 2, 7, 20, 28)
UNITS = st.sampled_from(["mg/d"] * 6 + ["mg/wk", "g/d", "mg"])
DRUGS = st.sampled_from(["Prednisolone"] * 4 + ["mPSL", "dexamethasone", "prednisone", "Deflazacort", "methotrexate"])
DOSES = st.sampled_from(["0", "2.5", "5", "7.4", "7.5", "7.6", "10", "0.1", "0.2", "52.5", "1"])


@st.composite
def periods(draw):
    """Periods as (first day, last day or None, dose, unit, drug) in any order: a taper whose periods follow each
    other, share a day or leave a gap, and a few others.
    """
    found, start = [], draw(st.sampled_from([-5, 0, 0, 1]))
    for _ in range(draw(st.integers(0, 4))):
        length = draw(st.sampled_from([0, 1, 2, 5, 9, 12]))
        found.append((start, start + length, draw(DOSES), "mg/d", "prednisolone"))
        start += length + draw(st.sampled_from([0, 1, 1, 1, 2]))
    for start in draw(st.lists(st.integers(-10, 30), max_size=2)):
        length = draw(st.sampled_from([None, 0, 1, 10, 28]))
        found.append((start, None if length is None else start + length, draw(DOSES), draw(UNITS), draw(DRUGS)))
    return draw(st.permutations(found))


@st.composite
def studies(draw):
    """Patients as (periods, last day seen, day of death or None, days of further infusions)."""
    patients = draw(st.lists(st.tuples(periods(), st.integers(0, 40), st.sampled_from([None, None, 3, 20]),
                                       st.sampled_from([[], [], [15], [20, 36]])), max_size=5))  # fmt: skip
    rule = SteroidSparing(
        windows=WINDOWS,
        low_dose=draw(st.sampled_from([0.0, 5.0, 7.5])),
        sustained_days=draw(st.sampled_from([1, 2, 3, 6, 10])),
        after_last_period=draw(st.sampled_from(["unknown", "stopped"])),
    )
    return patients, rule


def cohort_of(patients):
    rows = [f"P{number:03d}" for number in range(len(patients))]
    return Cohort.assemble(
        [
            PatientRow(row, ended_day=None if died is None else DAY0 + died, ended_reason=died and "died")
            for row, (_, _, died, _) in zip(rows, patients, strict=True)
        ],
        [
            LabRow(row, "CK", DAY0 + seen, None, False, 500.0, 200.0, None, None, None)
            for row, (_, seen, _, _) in zip(rows, patients, strict=True)
        ],
        [],
        [
            InfusionRow(row, "IVIG", DAY0 + day, None, False, 20.0, "g", None)
            for row, (_, _, _, further) in zip(rows, patients, strict=True)
            for day in (0, *further)
        ],
        [
            MedicationRow(row, drug, DAY0 + first, None if last is None else DAY0 + last, float(dose), unit)
            for row, (given_periods, _, _, _) in zip(rows, patients, strict=True)
            for first, last, dose, unit, drug in given_periods
        ],
        [],
        None,
    )


def slow_periods(found):
    periods = []
    for first, last, dose, unit, drug in found:
        if (equal := steroids.EQUAL_TO_5_MG.get(drug.lower())) is not None:
            daily = steroids.PER_DAY.get(unit)
            periods.append((first, last, None if daily is None else Fraction(dose) * daily * 5 / Fraction(equal)))
    return periods


def last_day(patient):
    """The last day of a patient under observation: the last fact, at most the day of death."""
    found, seen, died, further = patient
    days = [0, seen, died or 0, *further, *(first if last is None else last for first, last, _ in slow_periods(found))]
    return max(days) if died is None else min(max(days), died)


def protocol_with(rule):
    return SEED_2008.model_copy(update={"steroid_sparing": rule})


def agree(found, slow, rule, last):
    """Whether the derived doses of one row are those of the twin. `found` is (sums, days known, low, at risk)."""
    sums, known, (day, reached, at_risk) = found
    for window, value, days in zip(WINDOWS, sums, known, strict=True):
        expected = twin.total(slow, window)
        assert days == sum(slow.get(each) is not None for each in range(window))
        assert math.isnan(value) if expected is None else value == pytest.approx(float(expected), rel=1e-12, abs=1e-12)
    expected = twin.time_to_low(slow, last, Fraction(str(rule.low_dose)), rule.sustained_days)
    assert at_risk == (expected is not None)
    if expected is not None:
        assert (day, reached) == expected


def derived(study, rule):
    """What `agree` takes, for each row of a study."""
    doses = study.dosing
    low = low_dose(doses, rule.low_dose, rule.sustained_days)
    sums = [doses.milligrams(window).tolist() for window in WINDOWS]
    known = [doses.known_days(window).tolist() for window in WINDOWS]
    lows = list(zip(low.day.tolist(), low.reached.tolist(), low.at_risk.tolist(), strict=True))
    return [([each[i] for each in sums], [each[i] for each in known], lows[i]) for i in range(len(lows))]


@settings(max_examples=repeats(60, thorough=400))
@given(studies())
def test_sums_and_times_are_those_of_the_twin(case):
    patients, rule = case
    study = DerivedStudy(cohort_of(patients), protocol_with(rule))
    for patient, found in zip(patients, derived(study, rule), strict=True):
        last = last_day(patient)
        slow = twin.doses_of(slow_periods(patient[0]), last, stopped=rule.after_last_period == "stopped")
        agree(found, slow, rule, last)


ABSURD = st.sampled_from([("1e6", "g/d", "betamethasone"), ("1e300", "mg/d", "prednisolone"), ("1e9", "mg/wk", "mPSL")])


@settings(max_examples=repeats(60, thorough=400))
@given(studies(), ABSURD, st.integers(0, 5), st.sampled_from([None, 0, 3, 30]))
def test_an_absurd_dose_of_one_patient_changes_no_figure_of_another(case, absurd, place, last):
    patients, rule = case
    place = min(place, len(patients))
    among = [*patients[:place], ([(0, last, *absurd)], 10, None, []), *patients[place:]]
    alone, together = (DerivedStudy(cohort_of(each), protocol_with(rule)) for each in (patients, among))
    others = [i for i in range(len(among)) if i != place]
    steps = [(study.cohort.patients, dose_steps(study.cohort, study.exposure)) for study in (alone, together)]
    found = [
        [(who, *row) for who, *row in zip(*(getattr(each, name).tolist() for name in
                                            ("patient", "day", "daily_milligrams", "covered")), strict=True)]
        for _, each in steps
    ]  # fmt: skip
    mine = [(others.index(who), *row) for who, *row in found[1] if who != place]
    assert repr(mine) == repr(found[0])
    figures = derived(together, rule)
    assert repr([figures[i] for i in others]) == repr(derived(alone, rule))


@settings(max_examples=repeats(40, thorough=300))
@given(studies())
def test_each_course_has_the_doses_from_its_first_day_to_the_day_before_the_next(case):
    patients, rule = case
    study = DerivedStudy(cohort_of(patients), protocol_with(rule))
    view = CourseStudy(study)
    rows = derived(view, rule)
    courses = view.courses
    first = courses.first_day - study.exposure.day0[courses.patient]
    assert len(rows) == len(courses)
    for i, found in enumerate(rows):
        patient, begins = patients[int(courses.patient[i])], int(first[i])
        later = [int(first[j]) for j in range(i + 1, len(rows)) if courses.patient[j] == courses.patient[i]]
        last = min([last_day(patient), *(day - 1 for day in later)]) - begins
        moved = [(a - begins, None if b is None else b - begins, dose) for a, b, dose in slow_periods(patient[0])]
        agree(found, twin.doses_of(moved, last, stopped=rule.after_last_period == "stopped"), rule, last)


@settings(max_examples=repeats(40, thorough=300))
@given(studies(), st.integers(0, 41))
def test_a_known_dose_is_that_of_the_other_analyses(case, day):
    patients, rule = case
    study = DerivedStudy(cohort_of(patients), protocol_with(rule))
    dose = study.dosing.at(np.full(len(patients), day))
    everywhere = prednisolone(study.cohort, study.exposure, day).daily_milligrams
    known = ~np.isnan(dose)
    assert dose[known] == pytest.approx(everywhere[known], abs=1e-6)
    steps = dose_steps(study.cohort, study.exposure)
    for i in np.flatnonzero(known):
        mine = (steps.patient == i) & (steps.day <= day)
        assert steps.daily_milligrams[mine][-1] == dose[i]


def test_the_sums_of_a_patient_do_not_depend_on_the_other_patients():
    thirds = [(day, None, dose, "mg/wk", "mPSL") for day, dose in enumerate(("0.1", "0.2", "52.5"))]
    many = [([(0, None, "1", "g/d", "mPSL")], 40, None, [])] * 200 + [(thirds, 40, None, [])]
    [alone] = DerivedStudy(cohort_of(many[-1:]), SEED_2008).dosing.milligrams(28).tolist()
    assert DerivedStudy(cohort_of(many), SEED_2008).dosing.milligrams(28)[-1] == alone


def test_a_low_dose_at_the_end_of_one_patient_does_not_go_on_in_the_next():
    high, low = ("20", "mg/d", "prednisolone"), ("5", "mg/d", "prednisolone")
    pair = [([(0, 34, *high), (35, None, *low)], 40, None, []), ([(0, None, *low)], 100, None, [])]
    found = low_dose(DerivedStudy(cohort_of(pair), SEED_2008).dosing, 7.5, 10)
    assert (found.day[0], found.reached.tolist(), found.at_risk.tolist()) == (40, [False, False], [True, False])


TAPERS = [20, 40, 40, 60, 75, None, 90, None]
"""The day of the low dose of eight patients; those without one are seen up to days 50 and 100."""


def tapering():
    patients = []
    for place, day in enumerate(TAPERS):
        high, low = ("20", "mg/d", "prednisolone"), ("4", "mg/d", "methylprednisolone")
        found = [(0, None, *high)] if day is None else [(0, day - 1, *high), (day, None, *low)]
        patients.append((found, 50 if place == 5 else 100, None, []))
    return cohort_of(patients)


def test_the_curve_and_its_median_are_those_worked_out_by_hand():
    [row] = answer("steroid-sparing", tapering(), SEED_2008, SteroidOptions()).results
    assert (row.n, row.events, row.low_at_start) == (8, 6, 0)
    assert [(step.time, step.at_risk, step.events) for step in row.curve] == [
        (0, 8, 0), (20, 8, 1), (40, 7, 2), (60, 4, 1), (75, 3, 1), (90, 2, 1),
    ]  # fmt: skip
    shares = [1, 7 / 8, 5 / 8, 5 / 8 * 3 / 4, 5 / 8 / 2, 5 / 8 / 4]
    assert [step.survival for step in row.curve] == pytest.approx(shares, rel=1e-12)
    assert row.median.value == 60


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_r_gives_the_same_curve_median_and_quartiles():
    found = answer("steroid-sparing", tapering(), SEED_2008, SteroidOptions(patients=True))
    [row] = found.results
    days, reached = [each.days for each in row.patients], [int(each.reached) for each in row.patients]
    sums = [each.milligrams for each in found.cumulative[1].patients if each.milligrams is not None]
    script = f"""
        library(survival)
        fit <- survfit(Surv(c({",".join(map(str, days))}), c({",".join(map(str, reached))})) ~ 1, conf.type = "log-log")
        of <- summary(fit)
        sums <- c({",".join(map(repr, sums))})
        cat(sprintf("%.13g", c(of$surv, of$lower, of$upper, summary(fit)$table[c("median", "0.95LCL", "0.95UCL")],
                               quantile(sums, c(0.25, 0.5, 0.75)))))
    """
    told = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True, timeout=120)
    steps, [interval] = row.curve[1:], row.median.intervals
    of_sums = found.cumulative[1].milligrams
    mine = [*(step.survival for step in steps), *(step.low for step in steps), *(step.high for step in steps),
            row.median.value, interval.low, interval.high, of_sums.q1, of_sums.median, of_sums.q3]  # fmt: skip
    assert mine == pytest.approx(
        [float(each) for each in told.stdout.replace("NA", "nan").split()], rel=1e-10, nan_ok=True
    )


def test_the_doses_of_the_request_have_priority_over_those_of_the_protocol():
    found = answer("steroid-sparing", tapering(), SEED_2008, SteroidOptions(low_dose=4.9, steroid_free_dose=5))
    assert found.results[0].events == 0
    definition = found.definitions[-1].parameters
    assert (definition["low_dose"], definition["steroid_free_dose"], definition["sustained_days"]) == (4.9, 5, 1)


def test_the_groups_add_up_to_the_study_and_stand_in_one_table():
    whole = answer("steroid-sparing", tapering(), SEED_2008, Options())
    parted = answer("steroid-sparing", tapering(), SEED_2008, Options(by="course"))
    assert [row.group for row in parted.results] == [{"course": "1"}]
    assert [row.milligrams for row in parted.cumulative] == [row.milligrams for row in whole.cumulative]
    assert [column.label for column in parted.table.columns] == ["1 (n = 8)"]
    assert parted.table.rows == whole.table.rows


def test_the_caveat_counts_the_patients_whose_doses_are_not_known_to_the_end_of_the_longest_window():
    rule = SteroidSparing(windows=(20, 51))
    study = tapering()
    for protocol, applies, count in ((protocol_with(rule), False, 0), (SEED_2008, True, 8)):
        [caveat] = [
            each
            for each in answer("steroid-sparing", study, protocol, SteroidOptions()).caveats
            if each.code == "steroid_record_incomplete"
        ]
        assert (caveat.applies, caveat.text.startswith(f"In {count} of 8 patients")) == (applies, True)


PLAIN = (0, None, "20", "mg/d", "prednisolone")


def with_strength(patients, *scores):
    """A cohort whose patients have these scores of MMT, as (day, score)."""
    cohort = cohort_of(patients)
    ids = [row.id for row in cohort.patients]
    rows = [
        AssessmentRow(each, "MMT", DAY0 + day, None, False, score, None, None) for each in ids for day, score in scores
    ]
    table = Cohort.assemble(list(cohort.patients), [], rows, [], [], [], None).assessments
    return replace(cohort, assessments=table)


def by_course(cohort, protocol=SEED_2008, **options):
    return answer("steroid-sparing", cohort, protocol, SteroidOptions(by="course", patients=True, **options))


def test_a_patient_who_died_in_a_later_course_did_not_die_in_the_first_one():
    found = by_course(cohort_of([([PLAIN], 60, 60, [30])]))
    assert [(row.group, row.n, row.died) for row in found.results] == [({"course": "1"}, 1, 0), ({"course": "2"}, 1, 1)]


def test_further_treatment_is_counted_from_day_0_of_each_course():
    drugs = [(5, None, "15", "mg/wk", "methotrexate"), (40, None, "100", "mg/d", "azathioprine")]
    found = by_course(with_strength([([PLAIN, *drugs], 60, None, [30])], (-1, 50), (10, 80), (45, 90)))
    claims = [each for each in found.claims if each.code == "median_time_to_low_dose"]
    counts = "0 had a second course and 1 began a new immunosuppressant."
    assert [each.text.partition("Before it ended ")[2] for each in claims] == [counts, counts]
    rates = {row.group["course"]: row.all_treated for row in found.responses if row.measure == "MMT"}
    assert (rates["1"].rescued, rates["2"].rescued) == (1, 1)


def test_the_next_course_is_a_rescue_of_the_course_before():
    found = by_course(with_strength([([PLAIN], 60, None, [30])], (-1, 50), (10, 80)))
    assert [row.all_treated.rescued for row in found.responses if row.measure == "MMT"] == [1, 0]


def test_the_dose_on_the_day_of_the_next_course_is_known_for_a_value_before_it():
    found = by_course(with_strength([([PLAIN], 60, None, [30])], (-1, 50), (30, 80)), steroid_free_dose=20)
    [verdict] = next(row.patients for row in found.responses if row.measure == "MMT")
    assert (verdict.responder, verdict.day, verdict.daily_milligrams, verdict.steroid_free) == (True, 30, 20, True)


def test_a_dose_that_equals_the_declared_one_in_more_decimals_is_steroid_free():
    study = with_strength([([(0, None, "25", "mg/wk", "prednisolone")], 60, None, [])], (-1, 50), (30, 80))
    found = answer("steroid-sparing", study, SEED_2008, SteroidOptions(low_dose=25 / 7, steroid_free_dose=25 / 7))
    assert next(row.steroid_free for row in found.responses if row.measure == "MMT") == 1
    assert found.results[0].low_at_start == 1


@settings(max_examples=repeats(40, thorough=300))
@given(studies())
def test_the_events_of_a_course_are_those_of_a_study_that_begins_with_it(case):
    cohort = cohort_of(case[0])
    rule = SteroidRescue(rise=5, over="lowest", pulse=50)
    endpoint = SEED_2008.ck_normal_time.model_copy(update={"steroid_rescue": rule})
    study = DerivedStudy(cohort, SEED_2008.model_copy(update={"ck_normal_time": endpoint}))
    view = CourseStudy(study)
    for i, (patient, first) in enumerate(zip(view.courses.patient, view.courses.first_day, strict=True)):
        left = cohort.infusions.where(cohort.infusions.day >= first)
        alone = DerivedStudy(replace(cohort, infusions=left), study.protocol).intercurrent_events
        for event in get_args(Event):
            assert getattr(view.intercurrent_events, event)[i] == getattr(alone, event)[patient], event


def test_the_question_about_courses_counts_further_treatment_as_other_questions_do_by_course():
    drugs = [(5, None, "15", "mg/wk", "methotrexate"), (40, None, "100", "mg/d", "azathioprine")]
    study = with_strength([([PLAIN, *drugs], 60, None, [30])], (-1, 50), (10, 80), (45, 90))
    rates = [row for row in answer("courses", study, SEED_2008, Options()).rates if row.course and row.measure == "MMT"]
    found = answer("response-rates", study, SEED_2008, Options(by="course")).results
    groups = [row for row in found if (row.measure, row.definition) == ("MMT", rates[0].definition)]
    assert [row.all_treated.rescued for row in rates] == [row.all_treated.rescued for row in groups] == [1, 1]
