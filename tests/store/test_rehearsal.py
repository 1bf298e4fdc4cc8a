"""A rehearsal: the same answers as the study itself gives, and nothing is stored."""

import subprocess
import sys
import tracemalloc

import pytest
from sqlalchemy import text

from app.store import ledger
from app.store.rehearsal import rehearsal, remove_leftovers
from tests.store.posts import ck, history, post, timeline

EVERYTHING = ("patients", "lab_results", "patient_attributes", "revisions", "leaves", "aliases", "study_facts")


def rows(database):
    with database.reading() as connection:
        return {table: sorted(map(repr, connection.execute(text(f"SELECT * FROM {table}")))) for table in EVERYTHING}


def outcomes(database, study, documents, keep=True):
    answers = []
    for document in documents:
        with database.writing() as connection:
            [outcome] = ledger.submit_each(
                connection, study, [history(document)], format="t", client=None, received_at=10**15
            )
            answers += [(outcome, outcome.fates)] if keep else []
    return answers


DOCUMENTS = (
    timeline("P1", ck(value=100, version=1)),
    timeline("P1", ck(value=200, version=3)),
    timeline("P1", ck(value=150, version=2)),
    timeline("P2", ck(value=100)),
    timeline("P2", ck(value=100)),
    timeline("P3", ck(value=7)),
    timeline("P1", ck(value=1, version=4, status="entered-in-error")),
)


def test_a_rehearsal_answers_as_the_study_does_and_stores_nothing(database, study):
    post(database, study, DOCUMENTS[0])
    post(database, study, timeline("P2", ck(value=99)))
    before = rows(database)
    with rehearsal(database, study) as copy:
        rehearsed = outcomes(copy, study, DOCUMENTS)
    assert rows(database) == before
    assert rehearsed == outcomes(database, study, DOCUMENTS)


def test_a_rehearsal_sees_the_study_as_it_stood_when_it_began(database, study):
    post(database, study, timeline("P1", ck(value=100, version=1)))
    with rehearsal(database, study) as copy:
        post(database, study, timeline("P1", ck(value=200, version=2)))
        post(database, study, timeline("P9", ck(value=200)))
        [(first, _), (second, _)] = outcomes(copy, study, [DOCUMENTS[1], timeline("P9", ck(value=200))])
    assert (first.counts.superseded, first.revision) == (1, 2)
    assert second.status == "created"


def test_a_rehearsal_does_not_wait_for_a_writer_and_no_writer_waits_for_it(database, study):
    with rehearsal(database, study) as copy, copy.writing() as rehearsing:
        post(database, study, timeline("P1", ck(value=200)))
        assert ledger.submit_each(
            rehearsing, study, [history(timeline("P2", ck()))], format="t", client=None, received_at=10**15
        )
    with database.writing(), rehearsal(database, study) as copy:
        assert outcomes(copy, study, [timeline("P1", ck(value=200))])[0][0].counts.unchanged == 1


def test_nothing_of_a_rehearsal_is_left_on_the_disk(database, study, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with rehearsal(database, study) as copy:
        outcomes(copy, study, DOCUMENTS)
        [folder] = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_an_erased_person_is_refused_in_a_rehearsal(database, study):
    from app.store.erasure import erase

    post(database, study, timeline("P1", ck()))
    with database.writing() as connection:
        erase(connection, study, "P1", client=None, received_at=10**15, if_match=None)
    with rehearsal(database, study) as copy, copy.writing() as connection:
        [refusal] = ledger.submit_each(
            connection, study, [history(DOCUMENTS[0])], format="t", client=None, received_at=10**15
        )
    assert refusal.status == 410


@pytest.mark.slow
def test_a_rehearsal_of_many_documents_needs_little_memory(database, study):
    def peak(documents: int) -> int:
        with rehearsal(database, study) as copy:
            tracemalloc.start()
            # Each patient has some, because what is compared with all results of one patient takes ever longer.
            outcomes(copy, study, (timeline(f"P{i % 50}", ck(str(i))) for i in range(documents)), keep=False)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    peak(10)
    few, many = peak(100), peak(500)
    assert many < 1_500_000
    assert many - few < 250_000, "half a kilobyte of a document would stay"


KILLED = """
import os, sys, tempfile
tempfile.tempdir = sys.argv[1]
from app.store.rehearsal import _private_folder
with _private_folder() as folder:
    (folder / "copy.db").write_text("a patient")
    print("made", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_rehearsal_left_is_removed_and_not_what_a_running_one_uses(
    database, study, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed, running = (subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2))
    try:
        for each in (killed, running):
            assert each.stdout.readline() == b"made\n"
        killed.kill()
        killed.wait(timeout=20)
        others = tmp_path / "myoresponse-rehearsed-file", tmp_path / "another"
        others[0].touch()
        others[1].mkdir()
        left = {*tmp_path.iterdir()} - {*others}
        assert len(left) == 2
        with rehearsal(database, study) as copy:
            outcomes(copy, study, DOCUMENTS)
            assert len({*tmp_path.iterdir()} - {*others}) == 2
        [kept] = {*tmp_path.iterdir()} - {*others}
        assert (kept / "copy.db").read_text() == "a patient"
        assert remove_leftovers() == 0
        running.kill()
        running.wait(timeout=20)
        assert (remove_leftovers(), {*tmp_path.iterdir()}) == (1, {*others})
    finally:
        for each in (killed, running):
            each.kill()
            each.communicate()
