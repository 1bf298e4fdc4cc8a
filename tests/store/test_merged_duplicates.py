"""The same infusion or event in two records that are merged later: counted once, listed, decided, and apart again."""

import json

import pytest

from app.errors import NotFound
from app.store import decisions
from app.store.known_cohorts import known_cohort
from app.store.ledger import submit
from app.store.rehearsal import rehearsal
from app.store.studies import study_key
from app.timeline.cohort import Cohort
from app.timeline.facts import History, attribute
from app.timeline.same_facts import pair_of
from tests.store.posts import columns, history, now, post, timeline
from tests.store.test_decisions import (
    MORNING,
    check,
    counted,
    decide,
    digest,
    dose,
    ehr,
    event,
    latest,
    sent,
    standing,
)


def between(database, study, revision=None):
    """The pairs of merged records that wait, as the worklist lists them."""
    with database.reading() as connection:
        at = latest(database, study) if revision is None else revision
        return decisions.waiting_between(connection, study_key(connection, study), at)


def merge(database, study, record="P1", survivor="P2", status="final"):
    """Merge a record into another one, as ADT^A40 does, or take this back, as ADT^A37 does."""
    link = attribute("merged_into", json.dumps(survivor))._replace(issued=now(), status=status)
    with database.writing() as connection:
        submit(connection, study, [History(record, (link,))], format="t", client=None, received_at=now())


def undo(database, study, record="P1", survivor="P2"):
    merge(database, study, record, survivor, "entered-in-error")


def test_what_content_proves_to_be_one_counts_once_after_the_merge_and_twice_after_it_is_undone(database, study):
    sent(database, study, dose(MORNING, dose=30_000, unit="mg"), who="P1")
    sent(database, study, ehr(), who="P2")
    before = digest(database, study)
    merge(database, study)
    assert (counted(database, study), counted(database, study, 2), between(database, study)) == ((1, 0), (2, 0), [])
    [found] = standing(database, study)
    assert (found.patient, found.decision.decided, found.decision.by, found.revision) == ("P1", "proven", None, 3)
    undo(database, study)
    assert (counted(database, study), digest(database, study), standing(database, study)) == ((2, 0), before, [])
    merge(database, study)
    assert counted(database, study) == (1, 0)
    check(database, study)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_date_and_a_date_time_of_two_records_both_count_and_wait_until_a_person_decides(database, study, turn):
    for who, fact in zip(("P1", "P2"), [dose(), ehr()][::turn], strict=True):
        sent(database, study, fact, who=who)
    apart = digest(database, study)
    assert between(database, study) == []
    merge(database, study)
    merged = digest(database, study)
    [item] = between(database, study)
    assert (item.number, item.patient, item.reason, item.code) == (None, "P1", "possible_duplicate", "IVIG")
    assert (item.pair, item.revision) == (pair_of("infusion", "#e1||EHR", "@d12884|IVIG"), 3)
    assert counted(database, study) == (2, 0)
    done = decide(database, study, item.pair)
    assert (done.status, counted(database, study), between(database, study)) == ("decided", (1, 0), [])
    assert columns(database, study, latest(database, study)).infusions.instant.tolist() == [1113181200000000]
    undo(database, study)
    assert (digest(database, study), between(database, study)) == (apart, [])
    merge(database, study)
    assert (counted(database, study), between(database, study)) == ((1, 0), [])
    assert decide(database, study, item.pair, "undecided").status == "taken_back"
    assert (digest(database, study), [each.pair for each in between(database, study)]) == (merged, [item.pair])
    assert decide(database, study, item.pair, "different").status == "decided"
    assert (counted(database, study), between(database, study)) == ((2, 0), [])
    check(database, study)


def test_a_person_may_say_that_what_content_proves_is_two(database, study):
    sent(database, study, dose(MORNING), who="P1")
    sent(database, study, ehr(), who="P2")
    merge(database, study)
    [found] = standing(database, study)
    assert decide(database, study, found.decision.pair, "different").status == "decided"
    assert (counted(database, study), between(database, study)) == ((2, 0), [])


@pytest.mark.parametrize("who", ["P1", "P2", "P3"])
def test_what_arrives_after_the_merge_is_compared_with_all_records_of_the_person(database, study, who):
    for each in ("P1", "P2", "P3"):
        sent(database, study, dose("2005-01-01"), who=each)
    merge(database, study, "P1", "P2")
    merge(database, study, "P3", "P1")
    others = [each for each in ("P1", "P2", "P3") if each != who]
    sent(database, study, dose(MORNING), dose("2005-05-01"), who=others[0])
    sent(database, study, ehr(), ehr("e2", "2005-05-01T10:00:00+09:00"), who=who)
    assert counted(database, study) == (4, 0)  # 1 January, 11 April, and 1 May twice
    [item] = between(database, study)
    assert item.pair == pair_of("infusion", "#e2||EHR", "@d12904|IVIG")
    decide(database, study, item.pair, who=item.patient)
    assert counted(database, study) == (3, 0)
    check(database, study)


def test_events_of_two_records_are_compared_as_those_of_one(database, study):
    at = "2005-04-12T08:00:00+09:00"
    sent(database, study, who="P1", events=[event(at), event("2005-05-12")])
    sent(database, study, who="P2", events=[event(at, id="1", source="EHR"), event("2005-05", id="2", source="EHR")])
    merge(database, study)
    assert counted(database, study) == (0, 3)
    [item] = between(database, study)
    assert (item.pair.kind, item.code) == ("adverse_event", None)


def test_a_pair_that_one_record_has_is_the_business_of_that_record(database, study):
    sent(database, study, dose(), ehr(), who="P1")
    sent(database, study, ehr(version=2), who="P2")
    merge(database, study)
    assert (between(database, study), counted(database, study)) == ([], (2, 0))


def test_two_numbers_of_one_source_in_two_records_are_two(database, study):
    sent(database, study, ehr("e1"), who="P1")
    sent(database, study, ehr("e2"), who="P2")
    merge(database, study)
    assert (between(database, study), standing(database, study), counted(database, study)) == ([], [], (2, 0))


def test_a_withdrawn_fact_and_a_correction_end_what_was_the_same(database, study):
    sent(database, study, dose(MORNING), who="P1")
    sent(database, study, ehr(version=1), who="P2")
    merge(database, study)
    sent(database, study, ehr(version=2, time="2005-04-11"), who="P2")
    assert (counted(database, study), len(between(database, study)), standing(database, study)) == ((2, 0), 1, [])
    sent(database, study, ehr(version=3, status="entered-in-error"), who="P2")
    assert (counted(database, study), between(database, study)) == ((1, 0), [])


def test_a_pair_of_records_that_are_not_merged_cannot_be_decided(database, study):
    sent(database, study, dose(), who="P1")
    sent(database, study, ehr(), who="P2")
    with pytest.raises(NotFound):
        decide(database, study, pair_of("infusion", "#e1||EHR", "@d12884|IVIG"))


def test_both_facts_are_shown_whichever_record_has_them(database, study):
    sent(database, study, dose(), who="P1")
    sent(database, study, ehr(), who="P2")
    merge(database, study)
    [item] = between(database, study)
    with database.reading() as connection:
        key, at = study_key(connection, study), latest(database, study)
        [facts] = decisions.facts_of_pairs(connection, key, at, [(item.patient, item.pair)])
    assert [fact["time"] for fact in facts] == [MORNING, "2005-04-11"]


def test_a_decision_about_two_records_is_rehearsed(database, study):
    sent(database, study, dose(), who="P1")
    sent(database, study, ehr(), who="P2")
    merge(database, study)
    [item] = between(database, study)
    with rehearsal(database, study) as copy:
        assert decide(copy, study, item.pair).status == "decided"
    assert len(between(database, study)) == 1


def test_a_decision_through_a_fact_of_another_person_says_nothing(database, study):
    sent(database, study, dose(), who="P1")
    sent(database, study, dose(id="c1", source="CRF"), who="P1")
    sent(database, study, ehr(), who="P2")
    apart = digest(database, study)
    merge(database, study)
    for item in between(database, study):
        decide(database, study, item.pair)
    assert counted(database, study) == (1, 0)
    undo(database, study)
    assert (counted(database, study), digest(database, study)) == ((3, 0), apart)


def test_histories_that_are_not_stored_are_compared_alike(database, study):
    documents = [
        timeline("P1", about={"merged_into": "P2"}, infusions=[dose(MORNING), dose("2005-05-01")]),
        timeline("P2", infusions=[ehr("1", "2005-04-10T21:00:00-04:00"), ehr("2", "2005-05-01T08:00:00+09:00")]),
    ]
    for each in documents:
        post(database, study, each)
    assert (counted(database, study), len(standing(database, study))) == ((3, 0), 1)
    assert Cohort.of_histories([history(each) for each in documents]).digest == digest(database, study)


def test_what_is_known_of_an_earlier_revision_is_brought_up_to_date(database, study):
    sent(database, study, dose(MORNING), who="P1")
    sent(database, study, dose("2005-01-01"), who="P3")
    sent(database, study, ehr(), who="P2")
    with database.reading() as connection:
        key = study_key(connection, study)
        before = known_cohort(connection, key, latest(database, study), [])
    merge(database, study)
    sent(database, study, ehr(version=2, dose=20), who="P2")
    for at, expected in ((latest(database, study) - 1, 2), (latest(database, study), 3)):
        with database.reading() as connection:
            after = known_cohort(connection, key, at, [before])
        assert (len(after.cohort.infusions), after.cohort.digest) == (expected, columns(database, study, at).digest)
