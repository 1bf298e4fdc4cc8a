"""Subgroups by age band, laboratory, course and declared attributes."""

import pytest

from app.analyses import QUESTIONS, Options, answer, report
from app.derive.groupings import group_values
from app.derive.study import DerivedStudy
from app.errors import InvalidDocument
from app.protocol.model import Protocol
from app.protocol.presets import SEED_2008
from app.timeline.cohort import AssessmentRow, Cohort, InfusionRow, LabRow, PatientRow
from tests.twin.cohorts import FIRST_DATE, changed

CENTRES = changed(SEED_2008, attributes={"centre": ("Kyoto", "Osaka")})
TREATED_IN = 2008


def people(*rows: PatientRow) -> Cohort:
    names = [row.id for row in rows]
    labs = [
        LabRow(who, "CK", FIRST_DATE + day, None, False, value, 200.0, None, None, lab)
        for who, lab in zip(names, ["A", "B", None, "A"], strict=False)
        for day, value in ((-1, 500.0), (28, 150.0))
    ]
    scores = [
        AssessmentRow(who, "MMT", FIRST_DATE + day, None, False, score, None, None)
        for who in names
        for day, score in ((0, 50.0), (28, 60.0), (120, 60.0), (148, 61.0))
    ]
    given = [InfusionRow(names[0], "IVIG", FIRST_DATE + 121, None, False, None, None, None)]
    given += [InfusionRow(who, "IVIG", FIRST_DATE, None, False, None, None, None) for who in names]
    return Cohort.assemble(rows, labs, scores, given, [], [])


FOUR = people(
    PatientRow("P1", birth_year=TREATED_IN - 17, attributes=(("centre", "Kyoto"),)),
    PatientRow("P2", birth_year=TREATED_IN - 18, attributes=(("centre", "Osaka"),)),
    PatientRow("P3", birth_year=TREATED_IN - 65, attributes=(("centre", "Nara"),)),
    PatientRow("P4"),
)


def test_the_groups_are_age_bands_laboratories_and_allowed_values():
    study = DerivedStudy(FOUR, CENTRES)
    assert group_values(study, "age_band") == ["0-17", "18-39", "65+", None]
    assert group_values(study, "laboratory") == ["A", "B", None, "A"]
    assert group_values(study, "centre") == ["Kyoto", "Osaka", None, None]


@pytest.mark.parametrize(
    ("year", "band"), [(17, "0-17"), (18, "18-39"), (39, "18-39"), (40, "40-64"), (64, "40-64"), (65, "65+")]
)
def test_the_age_is_that_of_the_year_of_day_0(year, band):
    study = DerivedStudy(people(PatientRow("P1", birth_year=TREATED_IN - year)), SEED_2008)
    assert group_values(study, "age_band") == [band]


@pytest.mark.parametrize("by", ["age_band", "laboratory", "centre"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_takes_the_new_groups(name, by):
    assert answer(name, FOUR, CENTRES, QUESTIONS[name].options_type(by=by)).by == by


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_course_is_a_group_where_the_question_is_of_visits_and_elsewhere_is_refused(name):
    options = QUESTIONS[name].options_type(by="course")
    if name in {"response-rates", "weekly-change", "ck-change", "steroid-sparing"}:
        found = answer(name, FOUR, SEED_2008, options)
        assert {row.group["course"] for row in found.results} == {"1", "2"}
        assert {"courses_not_independent", "later_courses_selected"} <= {each.code for each in found.caveats}
    else:
        with pytest.raises(InvalidDocument) as refused:
            answer(name, FOUR, SEED_2008, options)
        assert refused.value.faults[0].pointer == "/query/by"


def test_the_second_course_is_judged_from_its_own_baseline():
    found = answer("response-rates", FOUR, SEED_2008, Options(by="course"))
    rates = {row.group["course"]: (row.responders, row.evaluable) for row in found.results if row.measure == "MMT"}
    assert rates == {"1": (4, 4), "2": (0, 1)}  # 60 before the second course, 61 after it


def test_an_attribute_that_the_protocol_does_not_declare_is_refused_with_those_that_it_does():
    with pytest.raises(InvalidDocument) as refused:
        answer("response-rates", FOUR, CENTRES, Options(by="autoantibody"))
    assert refused.value.faults[0].accepts.one_of == ("diagnosis", "sex", "age_band", "laboratory", "course", "centre")


def test_the_report_has_the_flow_of_every_group():
    steps = report(FOUR, CENTRES, Options(by="centre")).flow
    treated = {(step.group or {}).get("centre", "all"): step.n for step in steps if step.step == "safety"}
    assert treated == {"all": 4, "Kyoto": 1, "Osaka": 1, None: 2}
    assert {step.group is None for step in report(FOUR, CENTRES, Options()).flow} == {True}


def test_attributes_change_the_digest_of_the_data_and_their_absence_does_not():
    plain = people(PatientRow("P1"))
    assert people(PatientRow("P1", attributes=(("centre", "Kyoto"),))).digest != plain.digest
    assert plain.digest == people(PatientRow("P1", attributes=None)).digest


@pytest.mark.parametrize(
    "attributes", [{"sex": ("a",)}, {"course": ("a",)}, {"centre": ()}, {"centre": ("a", "a")}, {"Centre": ("a",)}]
)
def test_an_attribute_has_a_name_of_its_own_and_each_value_once(attributes):
    with pytest.raises(ValueError, match="attributes"):
        changed(SEED_2008, attributes=attributes)


def test_a_protocol_without_attributes_has_the_digest_that_it_had():
    assert "attributes" not in SEED_2008.model_dump(mode="json")
    assert CENTRES.digest != Protocol(**dict(CENTRES) | {"attributes": {}}).digest
