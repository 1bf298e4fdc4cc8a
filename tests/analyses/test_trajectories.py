"""What charts show of patients: their values by day, and medians that a second way of computing confirms."""

import json
from datetime import date
from statistics import median

import pytest

from app.analyses.trajectories import MOST_PATIENTS, trajectories
from app.demo import TIMELINES
from app.derive.study import DerivedStudy
from app.protocol.presets import SEED_2008
from app.timeline.cohort import Cohort
from app.timeline.document import Timeline
from app.timeline.normalize import normalise
from tests.api.examples import lab, timeline


def study(documents):
    return DerivedStudy(
        Cohort.of_histories(
            [normalise(Timeline.model_validate_json(json.dumps(each)), 4 * 10**15) for each in documents]
        ),
        SEED_2008,
    )


@pytest.fixture(scope="module")
def documents():
    return json.loads(TIMELINES.read_bytes())


def test_every_ck_of_the_reference_is_there_by_its_day(documents):
    found = {each.patient: each for each in trajectories(study(documents)).patients}
    assert len(found) == 16
    for document in documents:
        (series,) = (each for each in document["lab_series"] if each["code"] == "CK")
        first = min(date.fromisoformat(each["time"][:10]) for each in document["infusions"])
        by_day = {
            (date.fromisoformat(at[:10]) - first).days: value
            for at, value in zip(series["times"], series["values"], strict=True)
        }
        one = found[document["patient"]["id"]]
        assert {each.day: each.value for each in one.results} == by_day
        assert all(each.normal == (each.value <= series["upper_limit"]) for each in one.results)
        assert one.infusions[0] == 0


def test_the_medians_are_those_of_the_values_nearest_to_each_visit(documents):
    """By hand: the last CK up to day 0, and the one nearest to each week within its window."""
    derived = study(documents)
    made = {each.week: each.ratio for each in trajectories(derived).weeks}
    assert list(made) == list(derived.weeks("CK"))
    limits = {each["patient"]["id"]: each["lab_series"][0]["upper_limit"] for each in documents}
    baseline = [
        max((each for each in one.results if each.day <= 0), key=lambda each: each.day).value / limits[one.patient]
        for one in trajectories(derived).patients
    ]
    assert len(set(limits.values())) > 1
    assert (made[0].n, made[0].median) == (16, pytest.approx(median(baseline)))
    week = 4
    near = []
    for one in trajectories(derived).patients:
        inside = [each for each in one.results if each.day > 0 and abs(each.day - 7 * week) <= 3]
        if inside:
            nearest = min(inside, key=lambda each: (abs(each.day - 7 * week), -each.day))
            near.append(nearest.value / limits[one.patient])
    assert made[week].n == len(near)
    assert made[week].median == pytest.approx(median(near))


def test_of_more_patients_than_are_listed_every_second_or_third_is_and_the_medians_are_of_all():
    many = study([timeline(f"P{number:03}", ck=500 + number) for number in range(100)])
    found = trajectories(many)
    assert [each.patient for each in found.patients] == [f"P{number:03}" for number in range(0, 100, 3)]
    assert len(found.patients) <= MOST_PATIENTS
    assert (found.with_ck, found.weeks[0].ratio.n) == (100, 100)


def test_one_patient_alone_and_nobody_who_is_not_there_or_was_not_treated():
    derived = study([timeline("A"), timeline("B"), {"patient": {"id": "C"}, "labs": timeline("C")["labs"]}])
    assert [each.patient for each in trajectories(derived, "B").patients] == ["B"]
    assert trajectories(derived, "C").patients == ()
    assert trajectories(derived, "D").patients == ()
    assert [each.patient for each in trajectories(derived).patients] == ["A", "B"]


def test_bounds_missing_limits_and_unknown_onsets_are_told():
    person = timeline("A") | {
        "labs": [lab(-1, 900), lab(7, 50, comparator="<"), lab(14, 60, upper_limit=None)],
        "adverse_events": [{"term": "Rash"}, {"onset": "2005-04-12", "term": "Fever", "serious": True}],
    }
    (one,) = trajectories(study([person])).patients
    assert [(each.comparator, each.upper_limit, each.normal) for each in one.results] == [
        (None, 163, False),
        ("<", 163, True),
        (None, None, None),
    ]
    assert sorted((each.term, each.day, each.serious) for each in one.events) == [
        ("Fever", 1, True),
        ("Rash", None, False),
    ]
