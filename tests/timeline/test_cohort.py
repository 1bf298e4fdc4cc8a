"""Histories as columns: the day in the study's zone, one order of rows, a digest of nothing but the facts."""

import json
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.timeline.cohort import (
    NO_TIME,
    AssessmentRow,
    Cohort,
    EventRow,
    InfusionRow,
    LabRow,
    MedicationRow,
    PatientRow,
    patient_row,
)
from app.timeline.times import EPOCH_DAY, Moment, day_text, read_time
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES
from tests.repetition import repeats
from tests.timeline.documents import LATEST, NOW, document, history, lab, series


def cohort(*timelines: dict, time_zone: str | None = None) -> Cohort:
    return Cohort.of_histories(map(history, timelines), time_zone)


def of(patient: str, **parts) -> dict:
    return document(**parts) | {"patient": {"id": patient}}


def days(times: list[str], zone: str | None) -> list[str]:
    """The days on which results drawn at these times count, in the order of the times."""
    counted = {}
    for time in times:
        labs = cohort(of("P01", labs=[lab(time=time)]), time_zone=zone).labs
        counted[time] = day_text(int(labs.day[0]))
    return [counted[time] for time in times]


# Days


def test_without_a_zone_the_day_is_the_one_that_is_written():
    assert days(["2005-03-16T23:30:00Z", "2005-03-16T00:30:00+14:00", "2005-03-16"], None) == ["2005-03-16"] * 3


def test_with_a_zone_the_day_is_that_of_its_calendar():
    times = ["2005-03-15T15:30:00Z", "2005-03-15T14:30:00Z", "2005-03-16T09:00:00+09:00", "2005-03-16"]
    assert days(times, "Asia/Tokyo") == ["2005-03-16", "2005-03-15", "2005-03-16", "2005-03-16"]


def test_a_date_stays_where_it_is_in_every_zone():
    assert days(["2005-03-16"], "Pacific/Kiritimati") == days(["2005-03-16"], "Pacific/Pago_Pago") == ["2005-03-16"]


def test_the_zone_knows_when_clocks_were_changed():
    """New York went from UTC-5 to UTC-4 on 2005-04-03 and back on 2005-10-30."""
    midnights = ["2005-04-03T04:59:59Z", "2005-04-03T05:00:00Z", "2005-04-04T03:59:59Z", "2005-04-04T04:00:00Z"]
    assert days(midnights, "America/New_York") == ["2005-04-02", "2005-04-03", "2005-04-03", "2005-04-04"]
    midnights = ["2005-10-30T03:59:59Z", "2005-10-30T04:00:00Z", "2005-10-31T04:59:59Z", "2005-10-31T05:00:00Z"]
    assert days(midnights, "America/New_York") == ["2005-10-29", "2005-10-30", "2005-10-30", "2005-10-31"]


def test_a_place_may_leave_out_a_day():
    """Samoa crossed the date line: 2011-12-30 did not happen there."""
    assert days(["2011-12-30T09:59:59Z", "2011-12-30T10:00:00Z"], "Pacific/Apia") == ["2011-12-29", "2011-12-31"]


def test_the_leap_day_counts():
    assert days(["2004-02-28T15:00:00Z", "2004-02-29T15:00:00Z"], "Asia/Tokyo") == ["2004-02-29", "2004-03-01"]


@given(
    st.integers(0, 2_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)).filter(lambda t: t < NOW),
    st.sampled_from(["Asia/Tokyo", "America/St_Johns", "Pacific/Chatham", "Europe/London", "America/New_York"]),
)
def test_the_day_agrees_with_the_standard_library(at, zone):
    moment = read_time(at.isoformat(), LATEST)
    assert isinstance(moment, Moment)
    row = LabRow("P01", "CK", moment.day, moment.instant, False, 1.0, None, None, None, None)
    counted = Cohort.assemble([PatientRow("P01")], [row], [], [], [], [], zone).labs.day[0]
    assert counted == at.astimezone(ZoneInfo(zone)).date().toordinal() - EPOCH_DAY


# What is in the columns


def test_every_table_holds_what_was_said():
    timeline = {
        "patient": {"id": "P01", "sex": "female", "birth_year": 1953, "weight_kg": 49, "diagnosis": "polymyositis"},
        "labs": [lab(comparator="<", lab="A", issued="2005-03-17T08:00:00Z")],
        "assessments": [{"code": "MMT", "time": "2005-03-16", "score": 62, "scale_max": 100}],
        "infusions": [{"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg"}],
        "medications": [{"drug": "prednisolone", "start": "2005-01-20", "dose": 50, "unit": "mg/d"}],
        "adverse_events": [{"term": "headache", "serious": False, "related": True}],
        "ended": {"date": "2006-09-01", "reason": "completed"},
    }
    whole = cohort(timeline)
    ended = date(2006, 9, 1).toordinal() - EPOCH_DAY
    assert whole.patients == (PatientRow("P01", "female", 1953, "polymyositis", 49.0, None, ended, "completed"),)
    labs, scores, events = whole.labs.of("CK"), whole.assessments.of("MMT"), whole.events
    assert (labs.value[0], labs.upper_limit[0], labs.comparator[0], labs.lab[0]) == (1101, 163, 1, "A")
    assert labs.issued[0] == read_time("2005-03-17T08:00:00Z", LATEST).instant
    assert (scores.score[0], scores.scale_max[0], scores.instant[0]) == (62, 100, NO_TIME)
    assert (whole.infusions.dose[0], whole.infusions.unit[0], whole.infusions.course[0]) == (0.4, "g/kg", 0)
    assert (whole.medications.dose[0], whole.medications.end_day[0]) == (50, NO_TIME)
    assert (events.day[0], events.serious[0], events.related[0]) == (NO_TIME, False, "true")


def test_an_absent_number_is_nan_inside():
    assert np.isnan(cohort(of("P01", labs=[lab(upper_limit=None)])).labs.upper_limit[0])


def test_what_was_withdrawn_does_not_count():
    withdrawn = {"status": "entered-in-error"}
    timeline = of(
        "P01",
        labs=[lab(**withdrawn), lab(status="cancelled", time="2005-03-17")],
        assessments=[{"code": "MMT", "time": "2005-03-16", "score": 62, **withdrawn}],
        infusions=[{"time": "2005-04-11", "product": "IVIG", **withdrawn}],
        medications=[{"drug": "prednisolone", "start": "2005-01-20", **withdrawn}],
        adverse_events=[{"term": "headache", **withdrawn}],
    )
    whole = cohort(timeline)
    tables = (whole.labs, whole.assessments, whole.infusions, whole.medications, whole.events)
    assert [len(table) for table in tables] == [0] * 5
    assert whole.digest == cohort(of("P01")).digest


@pytest.mark.parametrize(
    ("assertions", "value"),
    [
        ([lab(id="7"), lab(id="7", version=2, value=1100)], 1100),
        ([lab(id="7", version=2, value=1100), lab(id="7")], 1100),
        ([lab(id="7", issued="2005-03-18T00:00:00Z"), lab(id="7", issued="2005-03-17T00:00:00Z", value=1100)], 1101),
        ([lab(id="7", status="corrected", value=1100), lab(id="7", status="preliminary")], 1100),
        ([lab(id="7", version=1, status="cancelled"), lab(id="7", version=2, value=1100)], 1100),
        ([lab(id="7", version=1), lab(id="7", version=2, status="entered-in-error")], None),
    ],
)
def test_of_several_assertions_of_a_fact_the_one_that_stands_counts(assertions, value):
    values = cohort(of("P01", labs=assertions)).labs.value.tolist()
    assert values == ([] if value is None else [value])


def test_an_attribute_that_was_never_stated_is_none():
    assert patient_row("P01", {}) == PatientRow("P01")


def test_a_cohort_may_be_empty():
    assert (len(cohort()), len(cohort().labs)) == (0, 0)
    assert cohort().digest.startswith("sha256:")


# Order


PEOPLE = [f"P{i}" for i in range(4)]
DAYS = st.integers(12_000, 12_010)
INSTANTS = st.none() | st.integers(12_000, 12_010).map(lambda day: day * 86_400_000_000)
NUMBERS = st.sampled_from([0.0, 1.0, 163.0, 1101.5])
WORDS = st.sampled_from([None, "A", "B", "\u00e4"])
LABS = st.builds(
    LabRow, st.sampled_from(PEOPLE), st.sampled_from(LAB_CODES), DAYS, INSTANTS, st.booleans(), NUMBERS,
    st.none() | NUMBERS, st.sampled_from([None, "<", ">="]), INSTANTS, WORDS,
)  # fmt: skip
SCORES = st.builds(
    AssessmentRow, st.sampled_from(PEOPLE), st.sampled_from(ASSESSMENT_CODES), DAYS, INSTANTS, st.booleans(), NUMBERS,
    st.none() | NUMBERS, INSTANTS,
)  # fmt: skip
INFUSIONS = st.builds(
    InfusionRow, st.sampled_from(PEOPLE), st.sampled_from(["IVIG", "SCIG"]), DAYS, INSTANTS, st.booleans(),
    st.none() | NUMBERS, WORDS, st.none() | st.integers(1, 3),
)  # fmt: skip
MEDICATIONS = st.builds(
    MedicationRow,
    st.sampled_from(PEOPLE),
    st.sampled_from(["a", "b"]),
    DAYS,
    st.none() | DAYS,
    st.none() | NUMBERS,
    WORDS,
)
EVENTS = st.builds(
    EventRow, st.sampled_from(PEOPLE), st.none() | DAYS, INSTANTS, st.booleans(), st.sampled_from(["headache", "rash"]),
    WORDS, st.none() | st.booleans(), WORDS,
)  # fmt: skip
PATIENTS = st.tuples(
    *(st.builds(PatientRow, st.just(name), st.sampled_from([None, "female", "male"])) for name in PEOPLE)
)
ROWS = st.tuples(PATIENTS, *(st.lists(rows, max_size=6) for rows in (LABS, SCORES, INFUSIONS, MEDICATIONS, EVENTS)))
ZONES = st.sampled_from([None, "Asia/Tokyo"])


@given(ROWS, ZONES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_neither_a_column_nor_the_digest(rows, zone, random):
    shuffled = [random.sample(table, len(table)) for table in rows]
    one, other = Cohort.assemble(*rows, zone), Cohort.assemble(*shuffled, zone)
    assert one.patients == other.patients
    for name in ("labs", "assessments", "infusions", "medications", "events"):
        for part in getattr(one, name).__dataclass_fields__:
            np.testing.assert_array_equal(getattr(getattr(one, name), part), getattr(getattr(other, name), part))
    assert one.digest == other.digest


@given(ROWS, st.permutations(["Q7", "A", "zz", "0"]))
def test_renaming_the_patients_keeps_the_digest(rows, names):
    new = dict(zip(PEOPLE, names, strict=True))
    renamed = [
        [row._replace(**{"id" if isinstance(row, PatientRow) else "patient": new[row[0]]}) for row in table]
        for table in rows
    ]
    assert Cohort.assemble(*renamed).digest == Cohort.assemble(*rows).digest


def test_minus_zero_keeps_the_digest():
    def zeros(zero):
        return of(
            "P01",
            labs=[lab(value=zero)],
            lab_series=[series(code="LDH", values=[zero, zero])],
            assessments=[{"code": "HAQ", "time": "2005-03-16", "score": zero}],
            infusions=[{"time": "2005-04-11", "product": "IVIG", "dose": zero, "unit": "g"}],
            medications=[{"drug": "prednisolone", "start": "2005-01-20", "dose": zero, "unit": "mg/d"}],
        )

    assert "-0.0" in json.dumps(zeros(-0.0))
    assert cohort(zeros(-0.0)).digest == cohort(zeros(0.0)).digest


@given(ROWS)
def test_patients_and_their_rows_stand_in_order(rows):
    whole = Cohort.assemble(*rows)
    assert [row.id for row in whole.patients] == sorted(PEOPLE)
    for table in (whole.labs, whole.assessments, whole.infusions, whole.medications, whole.events):
        assert (np.diff(table.patient) >= 0).all()


# The digest


BASE = of("P01", labs=[lab()], infusions=[{"time": "2005-04-11", "product": "IVIG"}])


@pytest.mark.parametrize(
    "change",
    [
        {"labs": [lab(value=1102)]},
        {"labs": [lab(upper_limit=164)]},
        {"labs": [lab(upper_limit=None)]},
        {"labs": [lab(comparator=">")]},
        {"labs": [lab(code="LDH")]},
        {"labs": [lab(time="2005-03-16")]},
        {"labs": [lab(time="2005-03-16T09:48:00.000001+09:00")]},
        {"labs": [lab(time="2005-03-16T00:48:00Z")]},
        {"labs": [lab(issued="2005-03-17T00:00:00Z")]},
        {"labs": [lab(lab="A")]},
        {"labs": []},
        {"labs": [lab(), lab(time="2005-03-17")]},
        {"infusions": [{"time": "2005-04-12", "product": "IVIG"}]},
        {"infusions": [{"time": "2005-04-11", "product": "SCIG"}]},
        {"adverse_events": [{"term": "headache"}]},
        {"patient": {"id": "P01", "sex": "female"}},
        {"ended": {"date": "2006-09-01", "reason": "lost"}},
    ],
)
def test_the_digest_changes_with_any_fact_that_analyses_read(change):
    assert cohort(BASE | change).digest != cohort(BASE).digest


@pytest.mark.parametrize(
    "change",
    [
        {"labs": [lab(id="77")]},
        {"labs": [lab(source="LIS")]},
        {"labs": [lab(version=3)]},
        {"labs": [lab(lower_limit=45)]},
        {"labs": [lab(unit="IU/L")]},
        {"labs": [lab(value=1.101, upper_limit=0.163, unit="U/mL")]},
        {"labs": [lab(code="2157-6")]},
        {"labs": [], "lab_series": [series(times=["2005-03-16T09:48:00+09:00"], values=[1101])]},
        {"patient": {"id": "somebody-else"}},
    ],
)
def test_the_digest_knows_nothing_of_numbers_sources_and_spellings(change):
    assert cohort(BASE | change).digest == cohort(BASE).digest


def test_whether_a_zone_is_declared_is_part_of_the_digest():
    assert cohort(BASE, time_zone="Asia/Tokyo").digest != cohort(BASE).digest


def test_two_patients_with_the_same_facts_are_two():
    assert cohort(BASE, of("P02", labs=BASE["labs"], infusions=BASE["infusions"])).digest != cohort(BASE).digest


# A part of a cohort


@settings(max_examples=repeats(50))
@given(ROWS, st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_selection_is_the_cohort_of_the_selected(rows, keep):
    chosen = {name for name, kept in zip(sorted(PEOPLE), keep, strict=True) if kept}
    part = Cohort.assemble(*rows).select(np.array(keep))
    alone = Cohort.assemble(*([row for row in table if row[0] in chosen] for table in rows))
    assert part.patients == alone.patients
    assert part.digest == alone.digest
    np.testing.assert_array_equal(part.labs.patient, alone.labs.patient)


def test_the_facts_of_a_timeline_and_plain_tuples_make_the_same_cohort():
    row = ("P01", "CK", 12858, 1110934080000000, False, 1101.0, 163.0, None, None, None)
    infusion = ("P01", "IVIG", 12884, None, False, None, None, None)
    assert Cohort.assemble([PatientRow("P01")], [row], [], [infusion], [], []).digest == cohort(BASE).digest


def test_attributes_are_read_back_from_their_json():
    attributes = {"weight_kg": "49", "ended": json.dumps({"date": "2004-02-29", "reason": "died"})}
    assert patient_row("P01", attributes) == PatientRow("P01", weight_kg=49.0, ended_day=12477, ended_reason="died")


def test_z_and_a_zero_offset_arrive_in_any_order():
    """The same instant and value, once with and once without the flag of a Z time."""
    first = lab(id="1", time="2005-03-16T08:00:00Z")
    second = lab(id="2", time="2005-03-16T08:00:00+00:00")

    assert cohort(document(labs=[first, second])).digest == cohort(document(labs=[second, first])).digest


def test_the_severity_of_an_event_is_read_by_analyses_and_changes_the_digest():
    mild, severe = (
        cohort(document(adverse_events=[{"onset": "2005-04-12", "term": "rash", "severity": severity}]))
        for severity in ("mild", "severe")
    )

    assert mild.digest != severe.digest


def test_columns_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        cohort(document(labs=[lab()])).labs.value[0] = 9.0
