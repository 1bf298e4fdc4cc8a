"""A study, what is declared of it, and its protocol, at every revision."""

import threading

import pytest

from app.errors import NotFound, PreconditionFailed
from app.protocol.presets import RELATIVE_20, SEED_2008
from app.store.engine import Database
from app.store.etags import keyed_etag
from app.store.studies import (
    StudyDeclaration,
    StudyOutcome,
    get_study,
    list_studies,
    protocol_changed_after_first_outcome,
    put_protocol,
    put_study,
)
from tests.store.posts import begin_study, ck, now, post, revisions, timeline

DEFINITION = StudyDeclaration("A trial", SEED_2008)


def define(database, study, definition, at=None):
    with database.writing() as connection:
        return put_study(connection, study, definition, client="me", received_at=at or now())


def declare(database, study, protocol, **more):
    with database.writing() as connection:
        return put_protocol(connection, study, protocol, client="statistician", received_at=now(), **more)


def read(database, study, revision=None):
    with database.reading() as connection:
        return get_study(connection, study, revision)


def test_a_study_is_created_once_and_putting_it_again_changes_nothing(database, study):
    name = f"{study}-new"
    assert define(database, name, DEFINITION, at=5) == StudyOutcome("created", 0)
    assert define(database, name, DEFINITION) == StudyOutcome("unchanged", None)
    found = read(database, name)
    assert (found.id, found.name, found.time_zone, found.test) == (name, "A trial", None, False)
    assert (found.protocol, found.protocol_digest) == (SEED_2008, SEED_2008.digest)
    assert (found.revision, found.created_at, found.received_at, found.patients) == (0, 5, 5, 0)


def test_what_a_study_said_of_itself_can_be_read_as_of_every_revision(database, study):
    assert define(database, study, StudyDeclaration("Renamed", SEED_2008)) == StudyOutcome("changed", 1)
    assert define(database, study, StudyDeclaration("Renamed", SEED_2008, "Asia/Tokyo", True)).revision == 2
    post(database, study, timeline("P1"))
    assert declare(database, study, RELATIVE_20) == StudyOutcome("changed", 4)
    assert declare(database, study, RELATIVE_20) == StudyOutcome("unchanged", None)
    states = [read(database, study, n) for n in range(5)]
    assert [state.name for state in states] == ["A trial", "Renamed", "Renamed", "Renamed", "Renamed"]
    assert [state.time_zone for state in states] == [None, None, "Asia/Tokyo", "Asia/Tokyo", "Asia/Tokyo"]
    assert [state.protocol.id for state in states] == ["seed-2008"] * 4 + ["relative-20"]
    assert [state.patients for state in states] == [0, 0, 0, 1, 1]
    assert read(database, study) == states[4]


def test_a_protocol_may_return_to_an_earlier_one(database, study):
    for n, protocol in enumerate([RELATIVE_20, SEED_2008, RELATIVE_20], 1):
        assert declare(database, study, protocol).revision == n
    assert [read(database, study, n).protocol.id for n in range(4)] == ["seed-2008", "relative-20"] * 2


def test_a_protocol_may_be_replaced_on_condition_of_the_one_that_was_read(database, study):
    with database.reading() as connection:
        other, read_before = (keyed_etag(connection, study, each.digest) for each in (RELATIVE_20, SEED_2008))
    with pytest.raises(PreconditionFailed):
        declare(database, study, RELATIVE_20, if_match=other)
    assert declare(database, study, RELATIVE_20, if_match=read_before).revision == 1
    assert declare(database, study, SEED_2008, if_match="*").revision == 2


def test_a_study_or_revision_that_does_not_exist_is_not_found(database, study):
    for name, revision in ((f"{study}-no", None), (f"{study}-no", 0), (study, 1), (study, -1), (study, 2**70)):
        with pytest.raises(NotFound):
            read(database, name, revision)
    with pytest.raises(NotFound):
        declare(database, f"{study}-no", SEED_2008)


def changed(database, study, revision):
    with database.reading() as connection:
        return protocol_changed_after_first_outcome(connection, study, revision)


def test_the_ledger_knows_whether_the_protocol_came_after_the_first_outcome(database, study):
    post(database, study, timeline("P1", about={"sex": "female"}))  # 1: not an outcome
    declare(database, study, RELATIVE_20)  # 2: before any outcome
    post(database, study, timeline("P1", ck()))  # 3: the first one
    declare(database, study, SEED_2008)  # 4: after it
    assert [changed(database, study, n) for n in range(5)] == [False, False, False, False, True]
    with pytest.raises(NotFound):
        changed(database, study, 5)


@pytest.mark.parametrize("section", ["labs", "assessments"])
def test_a_result_and_a_score_are_outcomes_and_an_infusion_is_not(database, study, section):
    post(database, study, timeline("P1", infusions=[{"time": "2005-04-11", "product": "IVIG"}]))
    declare(database, study, RELATIVE_20)
    assert not changed(database, study, 2)
    score = {"code": "MMT", "time": "2005-03-16", "score": 62}
    post(database, study, timeline("P1", ck()) if section == "labs" else timeline("P1", assessments=[score]))
    declare(database, study, SEED_2008)
    assert changed(database, study, 4)


def test_two_clients_that_create_a_study_at_once_make_one(database, study):
    names = [f"{study}-{n}" for n in range(10)]
    outcomes, refused = [], []
    gate = threading.Barrier(2)

    def create():
        for name in names:
            gate.wait()
            try:
                outcomes.append(define(database, name, DEFINITION))
            except Exception as refusal:
                refused.append(refusal)

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == []
    assert sorted(one.status for one in outcomes) == ["created"] * 10 + ["unchanged"] * 10
    assert [len(revisions(database, name)) for name in names] == [1] * 10


def test_studies_are_listed_by_code_point_in_pages(migrated_url):
    database = Database(migrated_url)
    names = ["A", "B", "a", "a-1", "a.1", "b", "Z"]
    for name in names:
        begin_study(database, name)
    with database.reading() as connection:
        assert [one.id for one in list_studies(connection)] == sorted(names)
        first = list_studies(connection, limit=3)
        rest = list_studies(connection, after=first[-1].id)
    assert [one.id for one in first + rest] == sorted(names)
    database.dispose()
