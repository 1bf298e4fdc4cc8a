"""The missing values that the answer lists make the patients evaluable when they are collected."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analyses import QUESTIONS, answer
from app.analyses.planning.what_is_missing import MissingOptions
from app.protocol.model import CkChangeWeeks, CkNormalTime, Visits, WeeklyChange
from app.protocol.presets import PRESETS, SEED_2008
from app.timeline.cohort import NO_TIME, AssessmentRow, Cohort, InfusionRow, LabRow, PatientRow
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES
from tests.analyses.reference import reference_cohort
from tests.repetition import repeats
from tests.twin.cohorts import cohorts, protocols

DAY0 = 20_000


def lab(day, value, limit=200.0, who="A"):
    return LabRow(who, "CK", DAY0 + day, None, False, value, limit, None, None, None)


def score(code, day, value, who="A"):
    return AssessmentRow(who, code, DAY0 + day, None, False, value, None, None)


def cohort(labs=(), scores=(), ended=None, treated=True):
    infusions = [InfusionRow("A", "IVIG", DAY0, None, False, 0.4, "g/kg", None)] if treated else []
    who = PatientRow("A", ended_day=None if ended is None else DAY0 + ended, ended_reason=ended and "died")
    return Cohort.assemble([who], list(labs), list(scores), infusions, [], [])


def missing(study, protocol=SEED_2008, **options):
    return answer("what-is-missing", study, protocol, MissingOptions(**options))


def listed(found):
    return {(row.measure, row.what, row.purpose, row.first_day, row.last_day, row.past) for row in found.collect}


def lacking(found, row):
    return [(found.results[place].endpoint, found.results[place].week) for place in row.endpoints]


def gap(found, **fields):
    [row] = [row for row in found.results if all(getattr(row, name) == value for name, value in fields.items())]
    return row


def test_an_endpoint_that_the_protocol_does_not_declare_has_that_reason():
    study = cohort([lab(-1, 1000.0)])
    found = missing(study, endpoint="improvement_score")
    assert (found.reason, found.results, found.to_collect) == ("not_declared", (), 0)
    assert [missing(study, endpoint=each).reason for each in (None, "weekly_change")] == [None, None]


def test_a_week_without_a_value_lacks_one_in_its_window():
    """Week 4 is day 25 to 31; CK is known before, at and after it."""
    labs = [lab(day, 1000.0) for day in (-28, -1, 7, 14, 56)]
    found = missing(cohort(labs), endpoint="weekly_change")

    [row] = [row for row in found.collect if row.measure == "CK"]
    assert (row.what, row.purpose, row.first_day, row.last_day, row.past) == ("value", "window", 25, 31, True)
    assert (str(row.first_date), str(row.last_date)) == ("2024-10-29", "2024-11-04")
    assert lacking(found, row) == [("weekly_change", 4)]


def test_a_baseline_that_lies_before_a_window_is_needed_again():
    """A value in week -1 would be the last before treatment and so the baseline: a later baseline is needed too."""
    protocol = SEED_2008.model_copy(
        update={"visits": Visits(weeks=(-4, -1, 4)), "ck_change": CkChangeWeeks(before_week=-1),
                "weekly_change": WeeklyChange(measures=("CK",), weeks=(4,))}
    )  # fmt: skip
    found = missing(cohort([lab(-20, 1000.0), lab(28, 500.0)]), protocol, endpoint="ck_change")

    assert listed(found) == {("CK", "value", "window", -10, -4, True), ("CK", "value", "baseline", -3, 0, True)}


def test_a_value_that_several_endpoints_need_is_listed_once():
    found = missing(cohort([lab(-1, 1000.0), lab(28, 500.0)]))

    [row] = [row for row in found.collect if (row.measure, row.first_day) == ("CK", -31)]
    assert lacking(found, row) == [("ck_change", None)]
    [row] = [row for row in found.collect if (row.measure, row.purpose) == ("MMT", "baseline")]
    assert lacking(found, row) == [("response", None), *(("weekly_change", week) for week in (1, 2, 4, 8))]


def test_at_most_limit_values_are_listed_and_all_are_counted():
    """The values that most endpoints need come first; a large study would otherwise give a very long list."""
    every, few = missing(cohort([lab(-1, 1000.0)])), missing(cohort([lab(-1, 1000.0)]), limit=2)

    assert few.to_collect == every.to_collect == len(every.collect) > 2
    assert few.collect == every.collect[:2]
    assert missing(cohort([lab(-1, 1000.0)]), limit=0).collect == ()


@pytest.mark.parametrize(
    ("labs", "expected"),
    [
        ([lab(14, 100.0)], ("CK", "value", "baseline", None, 0, True)),
        ([lab(-1, 1000.0, None), lab(14, 100.0)], ("CK", "upper_limit", "baseline", -1, -1, True)),
        ([lab(-1, 1000.0)], ("CK", "value", "window", 1, None, False)),
        ([lab(-1, 1000.0), lab(14, 100.0, None), lab(21, 100.0, None)],
         ("CK", "upper_limit", "normality", 14, 21, False)),
    ],
)  # fmt: skip
def test_the_time_with_normal_ck_lacks_a_value_or_an_upper_limit(labs, expected):
    assert listed(missing(cohort(labs), endpoint="ck_normal_time")) == {expected}


@pytest.mark.parametrize(
    ("labs", "ended", "expected"),
    [
        ([lab(-1, 1000.0)], None, [("value", 1, None), ("value", 2, None)]),
        ([lab(-1, 1000.0)], 2, [("value", 1, 1), ("value", 2, 2)]),
        ([lab(-1, 1000.0)], 1, []),
        ([lab(-1, 1000.0), lab(14, 100.0, None), lab(21, 100.0, None)], None, [("upper_limit", 14, 21)]),
        ([lab(-1, 1000.0), lab(14, 100.0), lab(21, 900.0)], None, []),
    ],
)
def test_sustained_normality_lacks_two_values_where_no_ck_was_seen(labs, ended, expected):
    """Who died too early for a second CK, or was seen and never normal twice in a row, is out of reach."""
    protocol = SEED_2008.model_copy(update={"ck_normal_time": CkNormalTime(sustained=True)})
    found = missing(cohort(labs, ended=ended), protocol, endpoint="ck_normal_time")

    assert [(row.what, row.first_day, row.last_day) for row in found.collect] == expected
    assert [(row.out_of_reach, row.collectable) for row in found.results] == [(int(not expected), int(bool(expected)))]


@pytest.mark.parametrize(
    ("labs", "scores", "ended", "endpoint"),
    [
        ([lab(-1, 100.0), lab(14, 100.0)], [], None, {"endpoint": "response", "measure": "CK"}),
        ([], [score("MMT", -1, 100.0), score("MMT", 14, 90.0)], None, {"endpoint": "response", "measure": "MMT"}),
        ([lab(-1, 1000.0), lab(14, 900.0)], [], None, {"endpoint": "ck_normal_time"}),
        ([lab(-1, 1000.0), lab(14, 0.0)], [], None, {"endpoint": "weekly_change", "measure": "CK", "week": 2}),
        ([lab(-1, 1000.0), lab(14, 900.0)], [], 24, {"endpoint": "weekly_change", "measure": "CK", "week": 4}),
    ],
)
def test_a_patient_whom_no_further_value_makes_evaluable_is_out_of_reach(labs, scores, ended, endpoint):
    found = missing(cohort(labs, scores, ended))
    row = gap(found, **endpoint)

    assert (row.evaluable, row.out_of_reach, row.collectable) == (0, 1, 0)


def test_a_window_ends_with_death():
    found = missing(cohort([lab(-1, 1000.0), lab(14, 900.0)], ended=25), endpoint="weekly_change")

    assert ("CK", "value", "window", 25, 25, False) in listed(found)


def test_a_patient_who_was_not_treated_lacks_nothing():
    found = missing(cohort([lab(-1, 1000.0)], treated=False))

    assert found.collect == ()
    assert [(row.reason, row.count) for row in found.excluded] == [("not_treated", 1)]


def test_the_reference_cohort_lacks_what_its_last_patient_and_one_visit_lack():
    found = missing(reference_cohort())

    assert {row.patient for row in found.collect if ("ck_change", None) in lacking(found, row)} <= {"P16"}
    assert gap(found, endpoint="response", measure="MMT").evaluable == 15
    assert gap(found, endpoint="weekly_change", measure="MMT", week=1).collectable == 2


@settings(max_examples=repeats(30, thorough=100))
@given(st.tuples(cohorts(), protocols()))
def test_everybody_treated_is_evaluable_out_of_reach_or_lacks_something(case):
    for row in answer("what-is-missing", *case, MissingOptions()).results:
        assert row.evaluable + row.out_of_reach + row.collectable + row.undecided == row.safety
        assert row.undecided == 0


def rows_of(study):
    """The rows of a cohort, from which a larger cohort can be built."""
    names = [row.id for row in study.patients]

    def maybe(number):
        return None if number == NO_TIME else int(number)

    def known(number):
        return None if math.isnan(number) else float(number)

    signs = {0: None, 1: "<", 2: "<=", 3: ">=", 4: ">"}
    t = study.labs
    labs = [
        LabRow(names[t.patient[i]], LAB_CODES[t.code[i]], int(t.day[i]), maybe(t.instant[i]), bool(t.utc[i]),
               float(t.value[i]), known(t.upper_limit[i]), signs[int(t.comparator[i])], maybe(t.issued[i]), t.lab[i])
        for i in range(len(t))
    ]  # fmt: skip
    t = study.assessments
    scores = [
        AssessmentRow(names[t.patient[i]], ASSESSMENT_CODES[t.code[i]], int(t.day[i]), maybe(t.instant[i]),
                      bool(t.utc[i]), float(t.score[i]), known(t.scale_max[i]), maybe(t.issued[i]))
        for i in range(len(t))
    ]  # fmt: skip
    t = study.infusions
    infusions = [
        InfusionRow(names[t.patient[i]], t.product[i], int(t.day[i]), maybe(t.instant[i]), bool(t.utc[i]),
                    known(t.dose[i]), t.unit[i], int(t.course[i]) or None)
        for i in range(len(t))
    ]  # fmt: skip
    return labs, scores, infusions


def collected(study, protocol, found):
    """The cohort with all values to collect: abnormal before treatment, better after it."""
    labs, scores, infusions = rows_of(study)
    day0 = {}
    for row in infusions:
        if row.product.strip().casefold() in {product.casefold() for product in protocol.treatment.products}:
            day0[row.patient] = min(day0.get(row.patient, row.day), row.day)
    for row in found.collect:
        last = row.last_day if row.last_day is not None else row.first_day + 20
        day = day0[row.patient] + last
        before = last <= 0
        if row.what == "upper_limit":
            first = day0[row.patient] + row.first_day
            labs = [
                each._replace(upper_limit=each.value / 2 if before else each.value, comparator=None)
                if (each.patient, each.code) == (row.patient, row.measure) and first <= each.day <= day
                else each
                for each in labs
            ]
        elif row.measure in LAB_CODES:
            value = 1013.0 if before else 87.0
            labs.append(LabRow(row.patient, row.measure, day, None, False, value, 200.0, None, None, None))
        else:
            scale = protocol.scale(row.measure)
            better, worse = (0.9, 0.4) if scale.better == "higher" else (0.1, 0.6)
            share = worse if before else better
            points = scale.minimum + share * (scale.maximum - scale.minimum)
            scores.append(AssessmentRow(row.patient, row.measure, day, None, False, points, None, None))
    return Cohort.assemble(study.patients, labs, scores, infusions, [], [])


@settings(max_examples=repeats(25, thorough=60))
@given(st.tuples(cohorts(), protocols()))
def test_a_patient_who_lacks_a_value_is_evaluable_when_it_is_collected(case):
    study, protocol = case
    found = answer("what-is-missing", study, protocol, MissingOptions())
    after = answer("what-is-missing", collected(study, protocol, found), protocol, MissingOptions())

    for before, now in zip(found.results, after.results, strict=True):
        assert now.collectable == 0
        assert now.evaluable + now.out_of_reach == now.safety
        assert now.evaluable >= before.evaluable


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("acr")])
def test_the_improvement_score_lacks_its_core_set_measures(name):
    protocol = PRESETS[name]
    study = cohort([lab(-1, 1000.0), lab(28, 500.0, None)], [score("PHYSICIAN_GLOBAL", -1, 6.0)])
    found = missing(study, protocol, endpoint="improvement_score")
    week = found.results[0].week
    asked = {(row.measure, row.what, row.purpose) for row in found.collect
             if week in [of for _, of in lacking(found, row)]}  # fmt: skip

    core = protocol.improvement_score.core_set
    assert ("PHYSICIAN_GLOBAL", "value", "window") in asked
    assert ("PHYSICIAN_GLOBAL", "value", "baseline") not in asked
    assert (core.muscle_strength, "value", "baseline") in asked
    assert ("CK", "upper_limit", "window") in asked

    after = missing(collected(study, protocol, found), protocol, endpoint="improvement_score")
    assert [(row.evaluable, row.collectable) for row in after.results] == [(1, 0)] * len(after.results)


def test_the_question_is_not_part_of_the_report():
    assert not QUESTIONS["what-is-missing"].in_report
