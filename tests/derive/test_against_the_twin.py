"""Every derivation equals its slow twin, on cohorts with gaps, ties, duplicates, boundary values and no patients."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import Options, report
from app.derive.exact_comparison import ln_ratio
from app.derive.study import DerivedStudy
from app.timeline.cohort import NO_TIME
from tests.repetition import repeats
from tests.twin import derivations as twin
from tests.twin.cohorts import cohorts, protocols

STUDIES = st.tuples(cohorts(), protocols())
REASONS_OF_THE_TWIN = {"no_value_at_visit": "no_value_in_window"}


def ids(study, mask):
    return [row.id for row, chosen in zip(study.cohort.patients, mask, strict=True) if chosen]


def renamed(reason):
    return REASONS_OF_THE_TWIN.get(reason, reason)


@settings(max_examples=repeats(30, thorough=100))
@given(STUDIES)
def test_populations_and_courses_are_those_of_the_twin(case):
    study, slow = DerivedStudy(*case), twin.tally(*case)
    exposure = study.exposure

    assert ids(study, study.safety) == slow.safety
    assert ids(study, study.efficacy) == slow.efficacy
    second = exposure.second_course != NO_TIME
    days = (exposure.second_course_day - exposure.day0)[second]
    assert (days == exposure.second_course[second]).all()
    assert (exposure.second_course_day[~second] == NO_TIME).all()
    assert list(zip(ids(study, second), days.tolist(), strict=True)) == slow.second_course
    assert exposure.flags["second_course"] == len(slow.second_course)
    assert exposure.flags["course_number_disagrees"] == len(slow.course_disagrees)
    for patient, count, courses in zip(
        twin.patients_of(case[0]), exposure.infusions.tolist(), exposure.courses.tolist(), strict=True
    ):
        slow_courses = twin.course(patient, case[1]).courses
        assert (count, courses) == (sum(course.infusions for course in slow_courses), len(slow_courses))


@settings(max_examples=repeats(30, thorough=100))
@given(STUDIES)
def test_records_baselines_and_visits_are_those_of_the_twin(case):
    study, slow = DerivedStudy(*case), twin.tally(*case)
    patients = twin.patients_of(case[0])
    for measure in twin.measures_of(case[1]):
        records, rows = study.analysis_values(measure), study.weeks(measure)
        expected = [
            (i, r.day, float(r.value)) for i, p in enumerate(patients) for r in twin.kept(p, case[1], measure).records
        ]
        assert (
            list(zip(records.patient.tolist(), records.day.tolist(), records.value.tolist(), strict=True)) == expected
        )
        assert {code: records.flags.get(code, 0) for code in twin.LEFT_OUT} == slow.left_out[measure]
        assert ids(study, study.baseline_too_old(measure)) == slow.too_old[measure]
        for i, patient in enumerate(patients):
            seen = {week: int(records.day[row[i]]) for week, row in rows.items() if row[i] >= 0}
            assert seen == {week: record.day for week, record in twin.visits(patient, case[1], measure).items()}


@settings(max_examples=repeats(40, thorough=100))
@given(STUDIES)
def test_responders_are_those_of_the_twin(case):
    study, slow = DerivedStudy(*case), twin.tally(*case)
    for declared, expected, near in zip(case[1].responses, slow.responses, slow.near_ceiling, strict=True):
        verdict = study.response(declared.rule)
        found = {
            row.id: reason or ("responder" if responder else "non_responder")
            for row, reason, responder in zip(study.cohort.patients, verdict.reason, verdict.responder, strict=True)
        }
        assert found == expected
        evaluable = {who for who, result in expected.items() if result in {"responder", "non_responder"}}
        assert verdict.flags.get("near_ceiling", 0) == len(evaluable & set(near))


@settings(max_examples=repeats(30, thorough=100))
@given(STUDIES)
def test_weekly_differences_are_those_of_the_twin(case):
    study, slow = DerivedStudy(*case), twin.tally(*case)
    for (measure, scale, week), expected in slow.changes.items():
        if scale == "ln":
            difference = ln_ratio([study.ck_at(week)], [study.ck_at(0)])
        else:
            difference = study.difference(measure, week)
        known = ~np.isnan(difference)
        assert ids(study, known) == [who for who, _ in expected]
        assert difference[known] == pytest.approx([change for _, change in expected], rel=1e-12, abs=1e-9)


@settings(max_examples=repeats(40, thorough=100))
@given(STUDIES)
def test_spells_of_normal_ck_are_those_of_the_twin(case):
    study, slow = DerivedStudy(*case), twin.tally(*case)
    spells, first = study.remission_episodes, study.first_normal
    inside = [reason is None for reason in spells.reason]
    found = [
        (who, twin.Spell(int(start), int(duration), bool(event)))
        for who, start, duration, event, kept in zip(
            ids(study, [True] * len(inside)), spells.start, spells.duration, spells.relapsed, inside, strict=True
        )
        if kept
    ]
    assert found == slow.spells
    reasons = Counter(reason for reason in spells.reason if reason is not None)
    treated = [who for who, reason in zip(slow.all, spells.reason, strict=True) if reason != "not_treated"]
    assert treated == slow.safety
    expected = Counter(slow.spell_reasons)
    expected["no_value_after_baseline"] += expected.pop("not_in_efficacy_set", 0) - reasons.pop("not_treated", 0)
    assert +reasons == +expected
    assert [
        (who, twin.Spell(0, int(time), bool(reached)))
        for who, time, reached in zip(
            ids(study, first.evaluable), first.time[first.evaluable], first.reached[first.evaluable], strict=True
        )
    ] == slow.first_normals
    assert study.analysis_values("CK").flags.get("borrowed_upper_limit", 0) == slow.borrowed_upper_limit
    assert int((study.ck_known == -1).sum()) == slow.unknown_normality


@pytest.mark.slow
@settings(max_examples=repeats(30, thorough=100))
@given(STUDIES)
def test_answers_count_what_the_twin_counts(case):
    slow, answers = twin.tally(*case), report(*case, Options()).answers
    [change] = answers["ck-change"].results
    [reaction] = answers["adverse-reactions"].results
    [normal] = answers["ck-normal-time"].results

    assert change.n == len(slow.ck_change)
    excluded = Counter({row.reason: row.count for row in answers["ck-change"].excluded})
    assert excluded == Counter({renamed(reason): count for reason, count in slow.ck_change_reasons.items()})
    for field in (
        "safety",
        "patients_with_reaction",
        "patients_with_event",
        "events",
        "related_events",
        "serious_events",
    ):
        assert getattr(reaction, field) == slow.adverse[field]
    assert {row.term: (row.patients, row.events) for row in reaction.by_term} == slow.related_by_term
    assert (normal.n, normal.events) == (len(slow.spells), sum(spell.event for _, spell in slow.spells))
    for row in answers["weekly-change"].results:
        assert row.n == len(slow.changes[row.measure, row.scale, row.week])


@settings(max_examples=repeats(20, thorough=100))
@given(STUDIES)
def test_those_included_and_those_left_out_add_up_to_everybody(case):
    answers = report(*case, Options()).answers
    everybody = answers["response-rates"].populations.all
    for row in answers["response-rates"].results:
        excluded = answers["response-rates"].excluded
        left_out = [e.count for e in excluded if (e.measure, e.definition) == (row.measure, row.definition)]
        assert row.evaluable + sum(left_out) == everybody
    for row in answers["weekly-change"].results:
        left_out = [
            e.count
            for e in answers["weekly-change"].excluded
            if (e.measure, e.week, e.estimate) == (row.measure, row.week, row.scale if row.measure == "CK" else None)
        ]
        assert row.n + sum(left_out) == everybody
    [change], [normal] = answers["ck-change"].results, answers["ck-normal-time"].results
    assert change.n + sum(e.count for e in answers["ck-change"].excluded) == everybody
    for name, n in (("time_normal", normal.n), ("time_to_first_normal", normal.time_to_first_normal.n)):
        assert n + sum(e.count for e in answers["ck-normal-time"].excluded if e.estimate == name) == everybody


@settings(max_examples=repeats(10, thorough=100))
@given(STUDIES)
def test_subgroups_partition_the_responders(case):
    whole, parts = (report(*case, Options(by=by)).answers["response-rates"] for by in (None, "diagnosis"))
    for row in whole.results:
        mine = [part for part in parts.results if (part.measure, part.definition) == (row.measure, row.definition)]
        assert sum(part.responders for part in mine) == row.responders
        assert sum(part.evaluable for part in mine) == row.evaluable
