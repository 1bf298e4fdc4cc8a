"""What is read: a document, a list of patients, the columns of a cohort."""

import hashlib
import json

import pytest

from app.errors import NotFound
from app.protocol.presets import SEED_2008
from app.store.studies import StudyDeclaration, put_study
from app.store.timelines import Filters, list_patients, timeline_etag
from app.timeline.cohort import Cohort
from tests.store.posts import FULL, ck, columns, columns_of, etag, got, history, now, post, timeline


def listed(database, study, revision, **more):
    with database.reading() as connection:
        return list_patients(connection, study, revision, **more)


def test_a_document_gives_values_units_limits_and_times_as_they_were_sent(database, study):
    post(database, study, FULL)
    document = got(database, study, "P01")
    assert document["patient"] == FULL["patient"]
    assert document["ended"] == FULL["ended"]
    assert document["labs"][1] == FULL["labs"][1] | {"source": "B", "status": "final"}
    assert document["labs"][2] == {
        "code": "LDH", "time": "2005-03-23", "value": 1005.5, "unit": "U/L", "upper_limit": 229, "lab": "A",
        "source": "A", "status": "final",
    }  # fmt: skip
    assert document["medications"] == [
        {"drug": "prednisolone", "start": "2005-01-20", "dose": 50, "unit": "mg/d", "status": "final"}
    ]
    assert document["adverse_events"][0]["related"] is True
    assert document["adverse_events"][1] == {"term": "rash", "issued": "2005-04-14T23:00:00Z", "status": "final"}


def test_whole_numbers_are_written_as_they_were_sent(database, study):
    post(database, study, FULL)
    document = got(database, study, "P01")
    numbers = [document["patient"]["weight_kg"], document["labs"][0]["value"], document["assessments"][0]["score"]]
    assert [(value, type(value)) for value in numbers] == [(49, int), (1101, int), (62, int)]


def test_sections_are_in_order_of_time_whatever_the_order_of_arrival(database, study):
    days = [f"2005-03-{day:02d}" for day in (20, 3, 11)]
    for day in days:
        post(database, study, timeline("P1", ck(f"on-{day}", time=day)))
    assert [lab["time"] for lab in got(database, study, "P1")["labs"]] == sorted(days)


def test_the_etag_is_that_of_the_content_and_not_of_its_history(database, study):
    post(database, study, timeline("P1", ck("a"), ck("b")))
    post(database, study, timeline("P2", ck("b")))
    post(database, study, timeline("P2", ck("a")))
    first, second = got(database, study, "P1"), got(database, study, "P2")
    assert etag(database, study, "P1") != etag(database, study, "P2")
    with database.reading() as connection:
        one, other = [timeline_etag(connection, study, each | {"patient": {}}) for each in (first, second)]
    assert one == other
    before = etag(database, study, "P1")
    post(database, study, timeline("P1", ck("c")))
    assert etag(database, study, "P1") != before
    assert (before[0], before[-1]) == ('"', '"')


def test_a_patient_is_not_found_before_the_revision_that_created_them(database, study):
    post(database, study, timeline("P1", ck()))
    post(database, study, timeline("P2", ck()))
    assert got(database, study, "P2", 2)["labs"]
    for patient, revision in (("P2", 1), ("P1", 0), ("P3", None)):
        with pytest.raises(NotFound):
            got(database, study, patient, revision)
    with pytest.raises(NotFound):
        got(database, f"{study}-no", "P1")


def test_patients_are_listed_by_code_point_in_pages_of_one_revision(database, study):
    names = ["b", "B", "a-1", "a.1", "A", "a", "0"]
    post(database, study, *[timeline(name) for name in names])
    post(database, study, timeline("later"))
    pages, after = [], None
    while page := listed(database, study, 1, after=after, limit=3):
        pages.append([one.id for one in page])
        after = page[-1].id
    assert pages == [["0", "A", "B"], ["a", "a-1", "a.1"], ["b"]]
    assert len(listed(database, study, 2)) == 8
    assert listed(database, study, 0) == []


def test_a_list_has_attributes_and_counts_as_they_stood(database, study):
    post(database, study, FULL)
    post(database, study, timeline("P02", ck()))
    post(database, study, timeline("P02", ck(value=None, status="entered-in-error"), about={"sex": "male"}))
    full, other = listed(database, study, 3)
    assert full.attributes == {name: FULL["patient"][name] for name in FULL["patient"] if name != "id"} | {
        "ended": FULL["ended"]
    }
    assert full.counts == {"labs": 3, "assessments": 1, "infusions": 1, "medications": 1, "adverse_events": 2}
    assert (other.attributes, other.counts["labs"]) == ({"sex": "male"}, 0)
    assert listed(database, study, 2)[1].counts["labs"] == 1


def test_a_list_can_be_filtered_by_what_the_patients_were_at_that_revision(database, study):
    myositis = ["polymyositis", "dermatomyositis"]
    for n in range(6):
        about = {"sex": ["female", "male", "other"][n % 3], "diagnosis": myositis[n % 2]}
        post(database, study, timeline(f"P{n}", about=about))
    post(database, study, timeline("P0", about={"sex": "unknown"}))

    def ids(revision, **filters):
        return [one.id for one in listed(database, study, revision, filters=Filters(**filters))]

    assert ids(6, sex="female") == ["P0", "P3"]
    assert ids(7, sex="female") == ["P3"]
    assert ids(7, diagnosis="dermatomyositis") == ["P1", "P3", "P5"]
    assert ids(7, sex="female", diagnosis="dermatomyositis") == ["P3"]
    assert ids(7, sex="female", diagnosis="polymyositis") == []


def test_a_list_can_be_searched_by_a_part_of_the_identifier_in_upper_or_lower_case(database, study):
    post(database, study, *[timeline(name, about={"sex": "male"}) for name in ("A-10", "a-11", "B.1", "P-A", "1.0")])
    post(database, study, timeline("a-12", about={"sex": "female"}))

    def ids(part, revision=2, after=None, **filters):
        found = listed(database, study, revision, filters=Filters(**filters, part=part), after=after)
        return [one.id for one in found]

    assert ids("A") == ["A-10", "P-A", "a-11", "a-12"]
    assert ids("a-1") == ["A-10", "a-11", "a-12"]
    assert ids("a", after="P-A") == ["a-11", "a-12"]
    assert ids("a-1", revision=1) == ["A-10", "a-11"]
    assert ids("a-1", sex="female") == ["a-12"]
    assert (ids(".1"), ids("1.0"), ids("x")) == (["B.1"], ["1.0"], [])


def test_more_patients_than_one_statement_takes_are_listed(database, study):
    post(database, study, *[timeline(f"P{n:04d}", ck()) for n in range(700)])
    found = listed(database, study, 1, limit=1000)
    assert len(found) == 700
    assert all(one.counts["labs"] == 1 for one in found)


def test_the_columns_are_those_of_the_histories_that_were_posted(database, study):
    documents = [FULL, timeline("P02", ck(), ck("k2", value=None, status="cancelled")), timeline("P03")]
    for written in documents:
        post(database, study, written)
    stored, sent = columns(database, study, 3), Cohort.of_histories([history(written) for written in documents])
    assert stored.digest == sent.digest
    assert stored.patients == sent.patients
    assert len(stored.labs) == 4
    assert columns(database, study, 1).digest == Cohort.of_histories([history(FULL)]).digest


def test_the_columns_of_one_patient_are_those_of_the_whole_study_cut_to_this_patient(database, study):
    post(database, study, FULL, timeline("P02", ck(), ck("k2", value=7, upper_limit=3)), timeline("P03"))
    post(database, study, timeline("P02", ck("k2", value=None, status="cancelled"), ck(value=1200, version=2)))
    with database.writing() as connection:
        definition = StudyDeclaration("A trial", SEED_2008, "Asia/Tokyo")
        put_study(connection, study, definition, client=None, received_at=now())
    for revision in (1, 2, 3):
        whole = columns(database, study, revision)
        for place, row in enumerate(whole.patients):
            one = columns_of(database, study, row.id, revision)
            assert one.patients == (row,)
            assert one.digest == whole.between(place, place + 1).digest
    with pytest.raises(NotFound):
        columns_of(database, study, "P02", 0)


def test_the_columns_of_an_empty_study_are_empty(database, study):
    empty = columns(database, study, 0)
    assert (len(empty), len(empty.labs), empty.zoned) == (0, 0, False)
    assert empty.digest == Cohort.of_histories([]).digest


def test_days_are_counted_in_the_time_zone_that_was_declared_at_the_revision(database, study):
    post(database, study, timeline("P1", ck(time="2005-03-16T20:00:00Z")))
    with database.writing() as connection:
        definition = StudyDeclaration("A trial", SEED_2008, "Asia/Tokyo")
        put_study(connection, study, definition, client=None, received_at=now())
    before, after = columns(database, study, 1), columns(database, study, 2)
    assert after.labs.day[0] - before.labs.day[0] == 1
    assert (before.zoned, after.zoned) == (False, True)


def test_both_engines_give_the_same_bytes(database, study):
    """Each engine is compared with the histories themselves, and with one pinned document."""
    post(database, study, FULL)
    assert columns(database, study, 1).digest == Cohort.of_histories([history(FULL)]).digest
    text = json.dumps(got(database, study, "P01"), sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "48684943212cf3e5cde9ea2cf2aa0697f56b4d7dae71fb16a7622220839ec6f8"
    )
