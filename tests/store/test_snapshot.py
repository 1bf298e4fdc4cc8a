"""A study as it stood at one revision, whatever is written meanwhile."""

import pytest

from app.errors import Erased, Fault, FaultCode, InvalidDocument, NotFound
from app.protocol.presets import PRESETS, SEED_2008
from app.store.erasure import erase
from app.store.history import Wanted
from app.store.resource_search import Criteria
from app.store.revisions import AS_IT_STANDS, AsOf
from app.store.snapshot import study_at
from app.store.studies import put_protocol
from tests.store.posts import ck, columns, got, now, post, revisions, timeline


@pytest.fixture
def filled(database, study):
    """A study with a patient at revision 1 and another at revision 2."""
    post(database, study, timeline("P1", ck("k1", 900)))
    post(database, study, timeline("P2", ck("k2", 800)))
    return study


def forget(database, study, patient):
    with database.writing() as transaction:
        erase(transaction, study, patient, client=None, received_at=now())


def read(found):
    """Everything that can be read of a study in which P1 is known."""
    observations = Criteria("Observation")
    resources = found.search(observations, limit=10)
    return (
        found.declared,
        found.tag(),
        found.as_of,
        found.cohort().digest,
        found.protocol_changed_after_first_outcome(),
        found.timeline("P1"),
        found.patients(),
        found.history("P1", Wanted()),
        [one.number for one in found.revisions()],
        resources,
        found.count(observations),
        [each for one in resources for each in found.versions("Observation", one.id)],
    )


def test_an_open_study_stays_as_it_was_while_another_writes(database, filled):
    with study_at(database, filled) as found:
        before = read(found)
        post(database, filled, timeline("P1", ck("k1", 700, version=2)), timeline("P3", ck("k3", 1)))
        with database.writing() as transaction:
            put_protocol(transaction, filled, PRESETS["relative-20"], client=None, received_at=now())
        forget(database, filled, "P2")
        assert read(found) == before
    with study_at(database, filled) as found:
        assert found.revision == 5
        assert [one.id for one in found.patients()] == ["P1", "P3"]


def test_a_past_revision_is_read_as_it_was_then(database, filled):
    with study_at(database, filled) as found:
        then = read(found)
    post(database, filled, timeline("P1", ck("k1", 700, version=2), ck("k4", 5)), timeline("P3", ck("k3", 1)))
    with database.writing() as transaction:
        put_protocol(transaction, filled, PRESETS["relative-20"], client=None, received_at=now())
    with study_at(database, filled, AsOf(2)) as found:
        again = read(found)
    assert again == then
    with study_at(database, filled) as found:
        latest = read(found)
        assert all(one != other for one, other in zip(latest, then, strict=True))


def test_it_says_what_the_store_says_of_its_revision(database, filled):
    received = revisions(database, filled)[1].received_at
    for at in (AsOf(1), AsOf(received_by=received)):
        with study_at(database, filled, at) as found:
            assert (found.id, found.revision, found.received_at) == (filled, 1, received)
            assert found.tag() == (found.etag("study"), 1, received, SEED_2008.digest)
            assert filled not in str(found.tag())
            assert found.tag(PRESETS["relative-20"]) == (*found.tag()[:3], PRESETS["relative-20"].digest)
            assert found.protocol == found.declared.protocol == SEED_2008
            assert found.declared.patients == 1
            assert found.timeline("P1") == got(database, filled, "P1", 1)
            assert found.cohort().digest == columns(database, filled, 1).digest
            assert [one.id for one in found.patients()] == ["P1"]
            with pytest.raises(NotFound):
                found.timeline("P2")


def test_two_studies_are_read_in_one_state(database, filled):
    with study_at(database, filled, AsOf(1)) as first:
        post(database, filled, timeline("P3", ck("k3", 1)))
        second = first.other_study(filled, AS_IT_STANDS)
        assert second.revision == 2
        assert first.revision == 1


def test_a_study_or_a_revision_that_is_not_there_is_not_found(database, filled):
    for name, at in ((f"{filled}-no", AS_IT_STANDS), (filled, AsOf(3)), (filled, AsOf(received_by=1))):
        with pytest.raises(NotFound), study_at(database, name, at):
            pass


def test_a_revision_that_held_a_person_who_has_been_erased_is_gone(database, filled):
    forget(database, filled, "P2")
    with pytest.raises(Erased), study_at(database, filled, AsOf(2)):
        pass
    for at in (AsOf(1), AS_IT_STANDS):
        with study_at(database, filled, at) as found:
            assert [one.id for one in found.patients()] == ["P1"]


def test_what_is_left_of_such_a_revision_is_read_where_that_is_asked_for(database, filled):
    forget(database, filled, "P2")
    with study_at(database, filled, AsOf(2), though_erased=True) as found:
        assert found.revision == 2
        assert [one.id for one in found.patients()] == ["P1"]
        with pytest.raises(Erased):
            found.timeline("P2")


def test_an_instant_that_is_still_to_come_is_refused(database, filled):
    with pytest.raises(InvalidDocument) as refusal, study_at(database, filled, AsOf(received_by=4 * 10**15)):
        pass
    assert refusal.value.faults == (Fault("as_of", FaultCode.FUTURE_TIME),)
