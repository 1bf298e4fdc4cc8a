"""Each row that analyses read is found as a fact of a timeline."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocol.presets import SEED_2008
from app.store import timelines
from app.store.engine import Database
from app.store.ledger import submit
from app.store.studies import StudyDeclaration, put_study
from app.store.timelines import cohort as read_cohort
from app.store.timelines import cohorts_with_sources, sources
from app.timeline.cohort import NO_TIME
from app.timeline.normalize import AttributeFact, History
from app.timeline.source_facts import KINDS, Source, addresses, aligned
from app.timeline.times import day_text
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES
from tests.datasets.addresses import fact_at
from tests.store.posts import FULL, begin_study, ck, got, now, post, revisions, timeline
from tests.tables import with_tables


def read(database, study, revision=None):
    """The cohort and its sources at a revision, and every timeline as it stood."""
    revision = revisions(database, study)[-1].number if revision is None else revision
    with database.reading() as connection:
        cohort = read_cohort(connection, study, revision)
        found = sources(connection, study, revision, cohort)
    records = {record for person in found.records for record in person}
    return cohort, found, {record: got(database, study, record, revision) for record in records}


def check(database, study, revision=None):
    """The address of each row leads to one fact with the same content, and to a different fact for each row."""
    cohort, found, documents = read(database, study, revision)
    persons = dict(zip([row.id for row in cohort.patients], found.records, strict=True))
    people = [row.id for row in cohort.patients]
    for kind in KINDS:
        table, addresses = getattr(cohort, kind), getattr(found, kind).tolist()
        assert len(addresses) == len(table) == len(set(addresses))
        for i, each in enumerate(addresses):
            fact = fact_at(documents, each)
            assert each.split("/")[0] in persons[people[table.patient[i]]]
            when = fact.get("onset", fact.get("time", fact.get("start")))
            day = int((table.start_day if kind == "medications" else table.day)[i])
            if not cohort.zoned:
                assert when is None if day == NO_TIME else when[:10] == day_text(day)
            row = {
                "labs": lambda i=i: (LAB_CODES[cohort.labs.code[i]], cohort.labs.lab[i]),
                "assessments": lambda i=i: (ASSESSMENT_CODES[cohort.assessments.code[i]], cohort.assessments.score[i]),
                "infusions": lambda i=i: (cohort.infusions.product[i], cohort.infusions.unit[i]),
                "medications": lambda i=i: (cohort.medications.drug[i], cohort.medications.dose[i]),
                "events": lambda i=i: (cohort.events.term[i], cohort.events.severity[i]),
            }[kind]()
            names = {
                "labs": ("code", "lab"), "assessments": ("code", "score"), "infusions": ("product", "unit"),
                "medications": ("drug", "dose"),
                "events": ("term", "severity"),
            }[kind]  # fmt: skip
            assert row == tuple(fact.get(name) for name in names)
    return {kind: getattr(found, kind).tolist() for kind in KINDS}


def test_numbered_and_unnumbered_facts_of_every_kind_are_found(database, study):
    post(database, study, FULL)
    assert check(database, study) == {
        "labs": [
            "P01/labs/CK/id:acc-77/A",
            "P01/labs/CK/at:2005-03-17T00:48:00Z/B",
            "P01/labs/LDH/at:2005-03-23/A",
        ],
        "assessments": ["P01/assessments/MMT/at:2005-03-16/"],
        "infusions": ["P01/infusions/at:2005-04-11/IVIG"],
        "medications": ["P01/medications/at:2005-01-20/prednisolone"],
        "events": ["P01/adverse_events/at:/rash", "P01/adverse_events/id:ae-1/"],
    }


def test_words_with_slashes_are_found(database, study):
    post(
        database,
        study,
        timeline(
            "P1",
            ck("7", source="A/B"),
            {"code": "CK", "time": "2005-03-18", "value": 1, "unit": "U/L", "source": "x/y/z"},
            infusions=[{"time": "2005-04-11", "product": "IVIG 10 %/5 g"}],
            adverse_events=[{"term": "rash/itch", "onset": "2005-04-12"}, {"term": "@pain"}],
        ),
    )
    assert check(database, study)["labs"] == ["P1/labs/CK/id:7/A/B", "P1/labs/CK/at:2005-03-18/x/y/z"]


def test_facts_with_the_same_content_are_each_named_once(database, study):
    twins = [ck(number, value=5) for number in ("b", "a", "c")]
    post(database, study, timeline("P1", *twins), timeline("P2", *twins[:1]))
    assert check(database, study)["labs"] == [
        "P1/labs/CK/id:a/A",
        "P1/labs/CK/id:b/A",
        "P1/labs/CK/id:c/A",
        "P2/labs/CK/id:b/A",
    ]


@pytest.mark.parametrize("limits", [{}, {"upper_limit": 170}])
@pytest.mark.parametrize(("other", "order"), [(6, ("a", "a1", "b")), (4, ("b", "a", "a1"))])
def test_facts_with_the_same_content_are_in_the_order_of_their_addresses(database, study, limits, other, order):
    """The database has them in another order: `#a1|CK|A` is before `#a|CK|A`."""
    same = [ck(number, value=5, **limits) for number in ("a1", "a")]
    post(database, study, timeline("P1", ck("b", value=other, **limits), *same))
    assert check(database, study)["labs"] == [f"P1/labs/CK/id:{number}/A" for number in order]


EQUAL_INSTANTS = (ck("a", time="2005-03-16T08:00:00+09:00"), ck("b", time="2005-03-15T18:00:00-05:00"))
"""Results that differ in nothing but their numbers and the days that were written."""


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
@pytest.mark.parametrize("merged", [False, True])
def test_facts_of_one_instant_are_each_named_in_the_row_of_their_day(database, zone, merged):
    study = begin_study(database, f"instants-{zone}-{merged}", time_zone=zone)
    post(
        database, study, timeline("P1", *EQUAL_INSTANTS), timeline("P2", about={"merged_into": "P1"} if merged else {})
    )
    order = ["b", "a"] if zone is None else ["a", "b"]
    assert check(database, study)["labs"] == [f"P1/labs/CK/id:{number}/A" for number in order]
    with database.reading() as connection:
        [(cohort, found)] = cohorts_with_sources(connection, study, revisions(database, study)[-1].number)
    assert [found.labs.tolist(), cohort.labs.day.tolist()] == [
        [f"P1/labs/CK/id:{number}/A" for number in order],
        read(database, study)[0].labs.day.tolist(),
    ]


def test_corrected_and_withdrawn_facts_are_those_of_the_revision(database, study):
    post(database, study, timeline("P1", ck("a", value=1), ck("b", value=2)))
    post(database, study, timeline("P1", ck("a", value=3, version=2)))
    post(database, study, timeline("P1", ck("b", value=None, status="entered-in-error")))
    assert [len(check(database, study, n)["labs"]) for n in (0, 1, 2, 3)] == [0, 2, 2, 1]


def test_a_time_zone_moves_days_and_loses_no_source(database, study):
    post(database, study, FULL, timeline("P2", ck(time="2005-03-16T20:00:00Z"), ck("k2", time="2005-03-16")))
    with database.writing() as connection:
        definition = StudyDeclaration("A trial", SEED_2008, "Asia/Tokyo")
        put_study(connection, study, definition, client=None, received_at=now())
    assert len(check(database, study)["labs"]) == 5


def test_merged_records_name_the_record_that_each_fact_was_sent_for(database, study):
    post(database, study, timeline("P1", ck("a", value=1), ck("same", value=4)))
    post(database, study, FULL | {"patient": {"id": "P2", "merged_into": "P1"}})
    post(database, study, timeline("P2", ck("b", value=2), ck("same", value=4)))
    found = check(database, study)
    assert found["labs"] == [
        "P1/labs/CK/id:a/A",
        "P2/labs/CK/id:b/A",
        "P1/labs/CK/id:same/A",
        "P2/labs/CK/id:acc-77/A",
        "P2/labs/CK/at:2005-03-17T00:48:00Z/B",
        "P2/labs/LDH/at:2005-03-23/A",
    ]
    assert found["infusions"] == ["P2/infusions/at:2005-04-11/IVIG"]
    _, found, _ = read(database, study)
    assert found.records == (("P1", "P2"),)


def test_a_fact_that_another_record_withdraws_or_corrects_is_not_named(database, study):
    """Content alone does not show which of two equal results the other record withdraws."""
    equal = [ck("a", value=4), ck("b", value=4)]
    post(database, study, timeline("P1", *equal), timeline("P2", about={"merged_into": "P1"}))
    post(database, study, timeline("P2", ck("a", value=None, status="cancelled")))
    assert check(database, study)["labs"] == ["P1/labs/CK/id:b/A"]
    post(database, study, timeline("P2", ck("b", value=9, version=3)))
    assert check(database, study)["labs"] == ["P2/labs/CK/id:b/A"]


def test_records_are_two_again_when_a_merge_is_undone(database, study):
    post(database, study, timeline("P1", ck("a")), timeline("P2", ck("a")))
    for issued, status in ((10**15, "final"), (2 * 10**15, "entered-in-error")):
        fact = AttributeFact("merged_into", None, None, None, issued, status, json.dumps("P1"))
        with database.writing() as connection:
            submit(connection, study, [History("P2", (fact,))], format="x", client=None, received_at=now())
    assert [check(database, study, n)["labs"] for n in (1, 2, 3)] == [
        ["P1/labs/CK/id:a/A", "P2/labs/CK/id:a/A"],
        ["P1/labs/CK/id:a/A"],
        ["P1/labs/CK/id:a/A", "P2/labs/CK/id:a/A"],
    ]


VALUES = st.sampled_from([1, 2])
DRAWS = st.lists(
    st.builds(
        lambda number, day, value, source, version: {
            "code": "CK", "time": day, "value": value, "unit": "U/L", "id": number, "source": source,
            "version": version,
        },
        st.sampled_from(["a", "b"]), st.sampled_from(["2005-03-16", "2005-03-16T00:00:00Z"]), VALUES,
        st.sampled_from([None, "A"]), st.sampled_from([None, 1, 2]),
    ),
    max_size=5,
    unique_by=lambda each: (each["id"], each["source"], each["version"]),
)  # fmt: skip


NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A ledger on SQLite for many small studies."""
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('sources') / 'ledger.db'}")
    database = Database(url)
    yield database
    database.dispose()


@given(st.tuples(DRAWS, DRAWS, DRAWS), st.sampled_from([None, "P0", "P1"]))
def test_any_records_and_merges_are_found_again(ledger, drawn, survivor):
    study = begin_study(ledger, f"trial-{next(NUMBERS)}")
    for i, labs in enumerate(drawn):
        about = {"merged_into": survivor} if survivor and i == 2 else None
        post(ledger, study, timeline(f"P{i}", *labs, about=about))
    by_parts = check(ledger, study)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timelines, "_unmerged", lambda *_: [])
        assert check(ledger, study) == by_parts  # by the content of the rows


def test_sources_of_another_cohort_are_a_fault(database, study):
    post(database, study, timeline("P1", ck("a", value=1)))
    cohort, _, _ = read(database, study)
    post(database, study, timeline("P1", ck("b", value=2)))
    with database.reading() as connection, pytest.raises(LookupError):
        sources(connection, study, revisions(database, study)[-1].number, cohort)


def test_a_row_without_a_fact_is_a_fault_and_no_guess(database, study):
    post(database, study, timeline("P1", ck("a", value=1)))
    cohort, _, _ = read(database, study)
    other = Source("P1", "P1", ("CK", 12858, None, False, 2.0, None, None, None, "A"), "a", "A", "2005-03-16")
    content = [[cell] for cell in other.content]
    assert addresses("labs", ["P1"], ["a"], ["A"], ["2005-03-16"], content) == ["P1/labs/CK/id:a/A"]
    with pytest.raises(LookupError):
        aligned(cohort, {"labs": [other], "assessments": [], "infusions": [], "medications": [], "events": []}, {})
