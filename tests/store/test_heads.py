"""The heads outside the database: what is written of them, and which lines are believed."""

import multiprocessing
import os
import threading
import time

import pytest
from sqlalchemy import delete, update

from app.disk import replace_whole
from app.store.heads import ChainHead, HeadsFile, SignedHead
from app.store.opening import shorten
from app.store.tables import FACTS, leaves, revisions
from app.store.verification import verify_database
from tests.store.posts import begin_study, ck, post, timeline
from tests.trust.opened import migrated, opened

KEY, NAME = b"k" * 32, b"n" * 16
lab_results = FACTS["labs"][0]
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


def at(number, chain=1):
    """The head of a study after so many revisions."""
    return {("study", chain): ChainHead(number, bytes([number]) * 32)}


def test_the_last_line_of_each_chain_stays_and_whatever_the_database_does_not_agree_with(heads):
    for number in (1, 3, 2, 9, 5):
        heads.write(at(number))
    heads.write(at(4, chain=2))
    HeadsFile(heads.path, KEY, b"o" * 16).write(FIRST)
    HeadsFile(heads.path, b"x" * 32, NAME).write(at(1))
    before = heads.path.read_bytes().splitlines()
    os.chmod(heads.path, 0o640)
    assert heads.compact(lambda line: line.head.number != 9) == 3
    assert heads.path.read_bytes().splitlines() == [before[3], *before[4:]]
    assert heads.path.stat().st_mode & 0o777 == 0o640
    assert heads.compact(lambda line: line.head.number != 9) == 0
    assert sorted(heads.path.parent.iterdir()) == [heads.path]


def test_what_is_appended_while_the_lines_are_compared_stays(heads):
    for number in (1, 2, 3):
        heads.write(at(number))

    def appending(line):
        heads.write(at(100 + line.head.number))
        return True

    assert heads.compact(appending) == 2
    assert [line.head.number for line in heads.lines()] == [3, 101, 102, 103]


def test_a_file_that_another_process_replaced_meanwhile_is_left_to_it(heads):
    for number in (1, 2, 3):
        heads.write(at(number))

    def replacing(line):
        heads.compact(lambda _: True)
        return True

    assert heads.compact(replacing) == 0
    assert [line.head.number for line in heads.lines()] == [3]


def test_a_head_behind_a_link_is_replaced_where_it_is(heads, tmp_path):
    (tmp_path / "disk").mkdir()
    heads.path.symlink_to(tmp_path / "disk" / "heads")
    heads.write(at(1))
    heads.write(at(2))
    assert heads.compact(lambda _: True) == 1
    assert heads.path.is_symlink()
    assert [line.head.number for line in heads.lines()] == [2]


def test_what_another_one_appends_while_the_file_is_replaced_stays(heads, monkeypatch):
    """It waits for the lock of the old file, and then finds that this is no longer the file."""
    for number in (1, 2, 3):
        heads.write(at(number))
    other = threading.Thread(target=lambda: HeadsFile(heads.path, KEY, NAME).write(at(9)))

    def waited_for(path, lines, **more):
        copied = list(lines)
        other.start()
        other.join(0.1)
        replace_whole(path, copied, **more)

    monkeypatch.setattr("app.store.heads.replace_whole", waited_for)
    assert heads.compact(lambda _: True) == 2
    other.join()
    assert [line.head.number for line in heads.lines()] == [3, 9]


def _append(path, chain, most):
    heads = HeadsFile(path, KEY, NAME)
    for number in range(most):
        heads.write({("study", chain): ChainHead(number, b"\1" * 32)})
        if number % 10 == 0:
            heads.compact(lambda _: True)


def test_processes_that_append_and_compact_at_once_lose_no_line(heads):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append, args=(heads.path, chain, 100)) for chain in (1, 2, 3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    heads.compact(lambda _: True)
    assert sorted((line.chain[1], line.head.number) for line in heads.lines()) == [(1, 99), (2, 99), (3, 99)]


@pytest.fixture
def written(tmp_path):
    """A database with a study of 30 revisions, each of which was noted."""
    with opened(migrated(tmp_path)) as database:
        begin_study(database, "trial")
        for number in range(30):
            post(database, "trial", timeline("P1", ck(f"k{number}", number + 1)))
            database.heads.flush()
        yield database


def faults(database, name="heads outside"):
    with database.reading() as connection:
        found = {part.subject: part.faults for part in verify_database(connection, database.heads)}
    return found[name]


def cut(database, after):
    """Take the last revisions away, with everything that they did."""
    with database.writing() as connection:
        connection.execute(delete(lab_results).where(lab_results.c.added > after))
        connection.execute(update(lab_results).where(lab_results.c.removed > after).values(removed=None))
        connection.execute(delete(leaves).where(leaves.c.number > after))
        connection.execute(delete(revisions).where(revisions.c.number > after))


def test_a_cut_end_is_noticed_after_the_file_was_compacted(written):
    lines = len(list(written.heads.lines()))
    removed = shorten(written, written.heads)
    assert removed > 25
    assert len(list(written.heads.lines())) == lines - removed
    assert faults(written) == ()
    cut(written, 28)
    assert "and the database has no such entry: the end is missing" in faults(written)[0]


def test_an_end_that_was_cut_and_grew_again_before_the_file_was_compacted_is_noticed_afterwards(written):
    cut(written, 20)
    for number in range(40, 60):
        post(written, "trial", timeline("P1", ck(f"k{number}", number + 1)))
    written.heads.flush()
    before = len(faults(written))
    assert before > 5
    assert shorten(written, written.heads) > 10
    assert len(faults(written)) == before


@pytest.mark.slow
def test_a_large_file_is_compacted_by_itself_and_one_that_may_not_be_replaced_grows(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(HeadsFile, "SECONDS", 0.01)
    monkeypatch.setattr(HeadsFile, "LARGE", 3_000)
    with opened(migrated(tmp_path)) as database:
        draft = tmp_path / "x.db.heads.draft"
        draft.mkdir()
        begin_study(database, "trial")
        sizes = []
        for number in range(1_000):
            post(database, "trial", timeline("P1", ck(f"k{number}", number + 1)))
            time.sleep(0.02)
            sizes.append(database.heads.path.stat().st_size)
            if draft.exists() and "event=heads removed=0 error=IsADirectoryError" in caplog.text:
                draft.rmdir()
            if sizes[-1] < max(sizes):
                break
        assert faults(database) == ()
    assert max(sizes) > 6_000
    assert sizes[-1] < 3_000
    assert not draft.exists()


def test_a_head_that_is_written_during_the_verification_is_no_fault(written):
    with written.reading() as connection:
        parts = verify_database(connection, written.heads)
        first = next(parts)
        post(written, "trial", timeline("P1", ck("late", 7)))
        written.heads.flush()
        assert [part.faults for part in (first, *parts)] == [()] * 5
