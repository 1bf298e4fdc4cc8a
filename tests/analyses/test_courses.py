"""The question `courses`: counts that add up, rates by course, and intervals clustered by patient."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, answer
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort, InfusionRow, LabRow, PatientRow
from tests.analyses.reference import reference_cohort
from tests.repetition import repeats
from tests.twin import courses as slow
from tests.twin import derivations as twin
from tests.twin.cohorts import cohorts, protocols

DAY0 = 20_000
STUDIES = st.tuples(cohorts(max_patients=4), protocols())


def place_of(row, places):
    return [place for place in places if row.course in (None, place) or (row.and_later and place >= row.course)]


@settings(max_examples=repeats(25, thorough=100))
@given(STUDIES)
def test_rates_and_changes_by_course_are_those_of_the_twin(case):
    found = answer("courses", *case, Options())
    people = [slow.courses_of(patient, case[1]) for patient in twin.patients_of(case[0])]
    judged = [course for courses in people for course in courses]
    [count] = found.results

    assert (count.safety, count.courses) == (sum(map(bool, people)), len(judged))
    assert {row.courses: row.patients for row in count.by_courses} == Counter(len(each) for each in people if each)
    rules = {(d.rule.measure, d.rule.id): d.rule for d in case[1].responses if d.primary}
    for row in found.rates:
        rule = rules[row.measure, row.definition.id]
        of_place = [course for course in judged if place_of(row, [course.place])]
        verdicts = Counter(twin.response(course.patient, case[1], rule) for course in of_place)
        assert row.responders == verdicts.pop("responder", 0)
        assert row.evaluable == row.responders + verdicts.pop("non_responder", 0)
        assert {each.reason: each.count for each in row.left_out} == verdicts
    for row in found.changes:
        of_place = [course for course in judged if place_of(row, [course.place])]
        each = [twin.changes(course.patient, case[1]).get((row.measure, row.scale, row.week)) for course in of_place]
        known = [change for change in each if isinstance(change, float | int)]
        assert row.n == len(known)
        if known:
            assert row.mean == pytest.approx(math.fsum(known) / len(known), rel=1e-9, abs=1e-9)
        assert row.n + sum(one.count for one in row.left_out) == len(of_place)
    for row in found.baselines:
        of_place = [course for course in judged if place_of(row, [course.place])]
        records = [twin.baseline(course.patient, case[1], row.measure) for course in of_place]
        assert row.values.n == sum(record is not None for record in records)
        assert row.after_previous_course == sum(
            slow.baseline_after_previous(course, case[1], row.measure) for course in of_place
        )


def test_with_one_course_each_the_first_course_is_the_study():
    found = answer("courses", reference_cohort(), SEED_2008, Options())
    rates = {row.measure: row for row in answer("response-rates", reference_cohort(), SEED_2008, Options()).results[:3]}
    for row in found.rates:
        whole = rates[row.measure]
        assert (row.responders, row.evaluable, row.intervals) == (whole.responders, whole.evaluable, whole.intervals)
    weekly = answer("weekly-change", reference_cohort(), SEED_2008, Options()).results
    wanted = {(row.measure, row.week): row for row in weekly if row.measure != "CK" or row.scale == "ln"}
    for row in found.changes:
        same = wanted[row.measure, row.week]
        assert (row.n, row.mean, row.median, row.sd) == (same.n, same.mean, same.median, same.sd)
        assert row.geometric_mean_ratio == same.geometric_mean_ratio
    assert {row.course for row in found.rates} == {None, 1}


def test_third_and_later_courses_are_shown_together():
    starts = [0, 100, 200, 300]
    infusions = [InfusionRow("A", "IVIG", DAY0 + start, None, False, 20.0, "g", None) for start in starts]
    labs = [
        LabRow("A", "CK", DAY0 + start + day, None, False, value, 200.0, None, None, None)
        for start in starts
        for day, value in ((0, 1000.0), (28, 600.0))
    ]
    found = answer("courses", Cohort.assemble([PatientRow("A")], labs, [], infusions, [], []), SEED_2008, Options())
    rates = {(row.course, row.and_later): (row.responders, row.evaluable) for row in found.rates if row.measure == "CK"}
    assert rates == {(None, True): (4, 4), (1, False): (1, 1), (2, False): (1, 1), (3, True): (2, 2)}
    [count] = found.results
    assert (count.days_between_starts.n, count.days_between_starts.mean, count.grams.mean) == (3, 100, 20)
    assert {row.clustered.reason for row in found.rates if row.measure == "CK"} == {"one_patient"}


def test_courses_of_a_subgroup_are_those_of_its_patients():
    infusions, labs, people = [], [], []
    for who, sex, starts in (("A", "female", [0, 100]), ("B", "male", [0]), ("C", "male", [])):
        people.append(PatientRow(who, sex=sex))
        infusions += [InfusionRow(who, "IVIG", DAY0 + start, None, False, None, None, None) for start in starts]
        labs += [LabRow(who, "CK", DAY0 + day, None, False, 900.0, 200.0, None, None, None) for day in (0, 28, 128)]
    cohort = Cohort.assemble(people, labs, [], infusions, [], [])
    found = answer("courses", cohort, SEED_2008, Options(by="sex", patients=True))
    assert [(row.group, row.courses, row.safety) for row in found.results] == [
        ({"sex": "female"}, 2, 1),
        ({"sex": "male"}, 1, 1),
    ]
    listed = [(each.patient, each.course, each.first_day) for row in found.results for each in row.courses_listed]
    assert listed == [("A", 1, 0), ("A", 2, 100), ("B", 1, 0)]
    assert [(row.reason, row.group, row.count) for row in found.excluded] == [("not_treated", {"sex": "male"}, 1)]


def test_without_patients_there_are_no_courses():
    found = answer("courses", Cohort.assemble([], [], [], [], [], []), SEED_2008, Options(patients=True))
    assert found.results[0].courses == 0
    assert {row.reason for row in found.rates} == {"no_patients"}
    assert {row.clustered.reason for row in found.rates} == {"no_patients"}
