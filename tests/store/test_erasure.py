"""Erasing a person takes them out of every revision, and out of the file."""

import random
import struct
from pathlib import Path

import pytest

from app.errors import Erased, NotFound, PreconditionFailed
from app.store.engine import Database
from app.store.erased_persons import open_erasures
from app.store.erasure import Erasure, erase, tombstones
from app.store.hash_chain import verify
from app.store.revisions import AsOf, resolve
from app.store.studies import get_study
from tests.store.posts import begin_study, ck, columns, etag, got, now, post, put, revisions, timeline, values
from tests.tables import with_tables


def forget(database, study, patient, **more):
    with database.writing() as connection:
        return erase(connection, study, patient, client="privacy office", received_at=now(), **more)


def answers(database, study):
    """Which revisions can be read."""
    readable = []
    for record in revisions(database, study):
        try:
            with database.reading() as connection:
                resolve(connection, study, AsOf(record.number), now=now())
            readable.append(record.number)
        except Erased:
            assert record.erased
    return readable


def test_revisions_that_held_the_person_cannot_be_answered_and_the_others_can(database, study):
    post(database, study, timeline("P1", ck(value=1)))
    post(database, study, timeline("P2", ck(value=2)))
    post(database, study, timeline("P3", ck(value=3)))
    assert forget(database, study, "P2") == Erasure("P2", 4, 2, facts=1, set_aside=0)
    post(database, study, timeline("P1", ck("k2", value=4)))
    assert answers(database, study) == [0, 1, 4, 5]
    assert columns(database, study, 1).labs.value.tolist() == [1]
    assert columns(database, study, 5).labs.value.tolist() == [1, 4, 3]


def test_the_person_answers_gone_and_a_stranger_not_found(database, study):
    post(database, study, timeline("P1", ck()))
    with pytest.raises(PreconditionFailed):
        forget(database, study, "P1", if_match='"stale"')
    forget(database, study, "P1", if_match=etag(database, study, "P1"))
    for attempt in (
        lambda: got(database, study, "P1"),
        lambda: post(database, study, timeline("P1", ck())),
        lambda: forget(database, study, "P1"),
    ):
        with pytest.raises(Erased):
            attempt()
    with pytest.raises(NotFound):
        forget(database, study, "P2")
    with pytest.raises(NotFound):
        got(database, study, "P2")


def test_a_person_may_be_readmitted_and_erased_again(database, study):
    for value in (1, 2, 3):
        put(database, study, timeline("P1", ck(value=value)), readmit=True)
        assert values(database, study, "P1") == [value]
        forget(database, study, "P1")
    assert answers(database, study) == [0, 2, 4, 6]
    with database.reading() as connection:
        verification = verify(connection, study)
    assert (verification.faults, verification.erased_leaves) == ((), 3)


def test_the_number_of_patients_follows_at_every_revision(database, study):
    post(database, study, timeline("P1"), timeline("P2"))
    forget(database, study, "P1")
    post(database, study, timeline("P3"), timeline("P2"))
    with database.reading() as connection:
        counted = [get_study(connection, study, n).patients for n in range(4)]
    assert counted == [0, 2, 1, 2]


def test_the_same_name_in_another_study_is_another_person(database, study):
    other = begin_study(database, f"{study}-other")
    for name in (study, other):
        post(database, name, timeline("P1", ck()))
    forget(database, study, "P1")
    assert values(database, other, "P1") == [1101]


def bytes_on_disk(file: Path) -> bytes:
    return b"".join(one.read_bytes() for one in sorted(file.parent.glob(f"{file.name}*")))


def test_no_byte_of_an_erased_person_is_left_in_the_file(tmp_path):
    """Identifiers, numbers and values are planted; other patients make pages split and rows move around them."""
    chance = random.Random(20080118)
    file = tmp_path / "ledger.db"
    with_tables(f"sqlite:///{file}")
    database = Database(f"sqlite:///{file}")
    study = begin_study(database, "trial")
    planted = {
        "identifier": b"ERASE-ME-0042",
        "accession": b"TRACE-7F3A9",
        "laboratory": b"Telltale",
        "event": b"xyzzy",
    }
    value = 54321.0987

    def some_results(patient):
        mine = patient == "ERASE-ME-0042"
        labs = [
            ck(
                f"{'TRACE-7F3A9' if mine else 'acc'}-{chance.getrandbits(chance.choice([4, 64]))}",
                value=value if mine else chance.uniform(30, 9000),
                version=n,
                lab="Telltale" if mine else "A",
            )
            for n in range(chance.randrange(1, 30))
        ]
        return timeline(patient, *labs, adverse_events=[{"term": "xyzzy"}] if mine else [])

    for _ in range(150):
        post(database, study, some_results(chance.choice(["ERASE-ME-0042", *[f"P{n}" for n in range(6)]])))
    before = bytes_on_disk(file)
    assert [name for name, text in planted.items() if text not in before] == []
    assert struct.pack(">d", value) in before
    forget(database, study, "ERASE-ME-0042")
    assert database.scrub()
    after = bytes_on_disk(file)
    assert [name for name, text in planted.items() if text in after] == []
    assert struct.pack(">d", value) not in after
    with database.reading() as connection:
        assert verify(connection, study).faults == ()
    database.dispose()


def test_scrubbing_says_when_a_reader_was_in_the_way(tmp_path):
    file = tmp_path / "ledger.db"
    with_tables(f"sqlite:///{file}")
    database = Database(f"sqlite:///{file}")
    study = begin_study(database, "trial")
    post(database, study, timeline("P1", ck("TRACE-1")))
    with database.reading() as connection:
        resolve(connection, study, now=now())
        forget(database, study, "P1")
        assert not database.scrub()
    assert database.scrub()
    assert b"TRACE-1" not in bytes_on_disk(file)
    database.dispose()


def test_scrubbing_does_no_harm_on_either_engine(database, study):
    post(database, study, timeline("P1", ck()))
    assert database.scrub()
    assert values(database, study, "P1") == [1101]


def test_a_person_known_only_by_letters_is_erased_and_nothing_else_becomes_unreadable(database, study):
    post(database, study, timeline("P1", ck("a")))
    before = columns(database, study, 1).digest
    with database.writing() as connection:
        stones, erased = tombstones(connection, study, ["P2"])
        assert not erased
        asked = []
        erasure = erase(
            connection, study, "P2", client=None, received_at=now(), elsewhere=lambda stone: asked.append(stone) or True
        )
    assert asked == [stones["P2"]]
    assert (erasure.first_revision, erasure.revision, erasure.facts) == (2, 3, 0)
    assert columns(database, study, 1).digest == before
    assert answers(database, study) == [0, 1, 3]
    with database.reading() as connection:
        assert tombstones(connection, study, ["P1", "P2"])[1]
        assert open_erasures(connection, study) == [stones["P2"]]
        assert verify(connection, study).faults == ()
    with pytest.raises(Erased):
        post(database, study, timeline("P2", ck("b")))
    assert put(database, study, timeline("P2", ck("b")), readmit=True).status == "created"
    with database.reading() as connection:
        assert open_erasures(connection, study) == []
        assert verify(connection, study).faults == ()
