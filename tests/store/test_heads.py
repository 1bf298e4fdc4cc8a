"""The heads outside the database: what is written of them, and which lines are believed."""

import time

import pytest

from app.store.heads import ChainHead, HeadsFile, SignedHead
from app.store.verification import verify_database
from tests.store.posts import begin_study
from tests.trust.opened import migrated, opened

KEY, NAME = b"k" * 32, b"n" * 16
FIRST = {("study", 1): ChainHead(3, b"\1" * 32), ("audit", 0): ChainHead(7, b"\2" * 32)}


@pytest.fixture
def heads(tmp_path):
    return HeadsFile(tmp_path / "heads", KEY, NAME)


def test_what_was_written_is_read_with_the_numbers_of_its_lines(heads):
    heads.write(FIRST)
    heads.write({("seal", 1): ChainHead(1, b"\3" * 32)})
    assert list(heads.lines()) == [
        SignedHead(1, ("study", 1), FIRST["study", 1]),
        SignedHead(2, ("audit", 0), FIRST["audit", 0]),
        SignedHead(3, ("seal", 1), ChainHead(1, b"\3" * 32)),
    ]


def test_lines_of_another_database_are_left_out_and_forged_ones_are_faults(heads, tmp_path):
    HeadsFile(heads.path, KEY, b"o" * 16).write(FIRST)
    assert (list(heads.lines()), heads.has_lines()) == ([], False)
    HeadsFile(heads.path, b"x" * 32, NAME).write(FIRST)
    assert list(heads.lines()) == [f"line {number}: it is not signed with the secret file" for number in (3, 4)]
    written = heads.path.read_text()
    heads.write(FIRST)
    heads.path.write_text(heads.path.read_text().removeprefix(written).replace('"study",1,3', '"study",1,2'))
    assert next(iter(heads.lines())) == "line 1: it is not signed with the secret file"


def test_a_line_that_a_crash_or_a_full_disk_cut_is_left_out(heads):
    heads.write(FIRST)
    whole = heads.path.read_bytes()
    heads.path.write_bytes(whole[:-20])
    assert [line.line for line in heads.lines()] == [1]
    heads.path.write_bytes(whole[:100] + b"\n" + whole)
    assert [line.line for line in heads.lines()] == [2, 3]


def test_heads_of_a_second_are_one_line_and_the_greatest_is_written(heads):
    for number in range(5):
        heads.add({("study", 1): ChainHead(number, bytes([number]) * 32)})
    heads.add({("study", 1): ChainHead(2, b"\2" * 32)})
    assert not heads.path.exists()
    heads.close()
    assert [line.head.number for line in heads.lines()] == [4]


def test_heads_that_could_not_be_written_are_written_with_the_next_ones(tmp_path, caplog):
    heads = HeadsFile(tmp_path / "folder" / "heads", KEY, NAME)
    heads.add(FIRST)
    heads.flush()
    assert "event=heads lost=2" in caplog.text
    (tmp_path / "folder").mkdir()
    heads.flush()
    assert len(list(heads.lines())) == 2


def test_a_file_that_is_behind_is_no_fault_and_one_that_lacks_an_old_study_is(tmp_path, monkeypatch):
    url = migrated(tmp_path)
    with opened(url) as database:
        begin_study(database, "old")
    behind = (tmp_path / "x.db.heads").read_bytes()
    with opened(url) as database:
        for number in range(3):
            begin_study(database, f"new-{number}", test=True)
    with opened(url) as database, database.reading() as connection:
        database.heads.path.write_bytes(behind)
        monkeypatch.setattr("app.store.verification.GRACE_SECONDS", time.time())  # the studies of the test are old
        faults = [fault for part in verify_database(connection, database.heads) for fault in part.faults]
        assert faults == []
        monkeypatch.setattr("app.store.verification.GRACE_SECONDS", 60)
        faults = [fault for part in verify_database(connection, database.heads) for fault in part.faults]
        assert faults == [f"study of new-{number}: the file has no line of it" for number in range(3)]
