"""Which revision a request is answered from."""

import pytest

from app.errors import Erased, Fault, FaultCode, InvalidDocument, NotFound
from app.store.erasure import erase
from app.store.revisions import AsOf, RevisionPoint, list_revisions, resolve
from tests.store.posts import now, post, revisions, timeline


def resolved(database, study, **asked):
    with database.reading() as connection:
        return resolve(connection, study, AsOf(asked.get("revision"), asked.get("as_of")), now=asked.get("now", now()))


@pytest.fixture
def times(database, study):
    """When revisions 1 to 9 were received; 4, 5 and 6 at the same moment."""
    start = now()
    given = [start + 10 * min(n, 4) if n < 7 else start + 10 * n for n in range(1, 10)]
    for n, at in enumerate(given, 1):
        post(database, study, timeline(f"P{n}"), at=at)
    return given


def test_the_latest_revision_is_the_default(database, study, times):
    assert resolved(database, study) == RevisionPoint(9, times[-1])


def test_a_number_names_its_revision_and_no_other_number_does(database, study, times):
    assert resolved(database, study, revision=4) == RevisionPoint(4, times[3])
    for number in (-1, 10, 2**62, 2**63, 2**70):
        with pytest.raises(NotFound):
            resolved(database, study, revision=number)


def test_as_of_names_the_last_revision_received_by_then(database, study, times):
    for at in times:
        last = max(i for i, other in enumerate(times, 1) if other == at)
        assert resolved(database, study, as_of=at) == RevisionPoint(last, at)
        earlier = max((i for i, other in enumerate(times, 1) if other < at), default=0)
        assert resolved(database, study, as_of=at - 1).number == earlier
    assert resolved(database, study, as_of=now()).number == 9


def test_before_the_study_there_is_nothing(database, study, times):
    genesis = revisions(database, study)[0].received_at
    assert resolved(database, study, as_of=genesis).number == 0
    with pytest.raises(NotFound):
        resolved(database, study, as_of=genesis - 1)
    with pytest.raises(NotFound):
        resolved(database, f"{study}-no")


def test_the_future_is_refused(database, study, times):
    at = now()
    assert resolved(database, study, as_of=at, now=at).number == 9
    with pytest.raises(InvalidDocument) as refusal:
        resolved(database, study, as_of=at + 1, now=at)
    assert refusal.value.faults == (Fault("as_of", FaultCode.FUTURE_TIME),)


def test_a_time_at_which_somebody_was_known_who_is_erased_now_is_gone(database, study, times):
    with database.writing() as connection:
        erase(connection, study, "P7", client=None, received_at=now())
    assert resolved(database, study, as_of=times[5]).number == 6
    for n in (7, 8, 9):
        with pytest.raises(Erased):
            resolved(database, study, as_of=times[n - 1])
        with pytest.raises(Erased):
            resolved(database, study, revision=n)
    assert resolved(database, study).number == 10


def test_revisions_are_listed_in_pages(database, study, times):
    with database.reading() as connection:
        first = list_revisions(connection, study, limit=4)
        rest = list_revisions(connection, study, after=first[-1].number)
        with pytest.raises(NotFound):
            list_revisions(connection, f"{study}-no")
    assert [one.number for one in first + rest] == list(range(10))
    assert [one.format for one in first] == ["study", "native", "native", "native"]


def test_revisions_are_listed_from_the_newest_in_pages(database, study, times):
    with database.reading() as connection:
        first = list_revisions(connection, study, limit=4, newest_first=True)
        rest = list_revisions(connection, study, after=first[-1].number, newest_first=True)
    assert [one.number for one in first + rest] == [*reversed(range(10))]
