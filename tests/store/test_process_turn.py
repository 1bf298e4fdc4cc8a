"""The order of the processes that write to one SQLite file. Two turns of a directory are as those of two processes."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.store import process_turn
from app.store.engine import Database
from app.store.process_turn import ProcessTurn
from app.store.rehearsal import rehearsal
from tests.bench.loopback import ROOT

LONGEST = 30.0
TAKES = """
import pathlib, sys, time
from app.store.process_turn import ProcessTurn

with ProcessTurn(pathlib.Path(sys.argv[1])).taken():
    print("taken", flush=True)
    time.sleep(60)
"""

WRITES_ALL_THE_TIME = """
import sys, time
from app.store.engine import Database

database = Database(sys.argv[1])
print("begun", flush=True)
for _ in range(400):
    with database.writing():
        time.sleep(0.005)
"""


@pytest.fixture
def patient(monkeypatch):
    """Processes wait long enough for a slow machine."""
    monkeypatch.setattr(process_turn, "PATIENCE_SECONDS", LONGEST)


def begun(program, place):
    """Another process."""
    command = [sys.executable, "-c", program, str(place)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@contextmanager
def writing(turn):
    """A thread that writes when it is its turn: an event says that it does, another one ends it."""
    writes, ends = threading.Event(), threading.Event()

    def run():
        with turn.taken():
            writes.set()
            ends.wait(LONGEST)

    thread = threading.Thread(target=run)
    thread.start()
    yield writes, ends
    ends.set()
    thread.join(LONGEST)
    assert not thread.is_alive()


@contextmanager
def at_once():
    """The block waits for no turn."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < LONGEST / 2


def wait_in_vain(first, second, monkeypatch, *, closed=False):
    """While the first writes, the second gives up its turn, for which a thread still waits; then they are patient."""
    monkeypatch.setattr(process_turn, "PATIENCE_SECONDS", 0.01)
    with writing(first) as (one_writes, _):
        assert one_writes.wait(LONGEST)
        with second.taken():
            is_waiting(second)
        if closed:
            second.close()
    monkeypatch.setattr(process_turn, "PATIENCE_SECONDS", LONGEST)


def open_files():
    return len(os.listdir("/proc/self/fd"))


def is_waiting(turn):
    """Wait until a thread waits for a turn in the system."""
    until = time.monotonic() + LONGEST
    while turn._came is None:
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.usefixtures("patient")
def test_a_process_writes_when_the_one_before_has_ended(tmp_path):
    first, second = ProcessTurn(tmp_path), ProcessTurn(tmp_path)
    with writing(first) as (one_writes, one_ends):
        assert one_writes.wait(LONGEST)
        with writing(second) as (other_writes, _):
            is_waiting(second)
            assert not other_writes.wait(0.05)
            one_ends.set()
            assert other_writes.wait(LONGEST)


def test_a_turn_that_does_not_come_in_time_keeps_nobody_from_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(process_turn, "PATIENCE_SECONDS", 0.05)
    first, second = ProcessTurn(tmp_path), ProcessTurn(tmp_path)
    with writing(first) as (one_writes, one_ends):
        assert one_writes.wait(LONGEST)
        for _ in range(3):
            with second.taken():
                pass
        assert not one_ends.is_set()


def test_a_turn_that_comes_when_nobody_waits_any_more_goes_to_the_next(tmp_path, monkeypatch):
    first, second, third = (ProcessTurn(tmp_path) for _ in range(3))
    wait_in_vain(first, second, monkeypatch)
    with at_once(), third.taken():
        pass
    with at_once(), second.taken():
        pass


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_the_turn_of_a_process_that_is_killed_goes_to_the_next(tmp_path):
    held = begun(TAKES, tmp_path)
    assert held.stdout.readline() == "taken\n"
    turn = ProcessTurn(tmp_path)
    with writing(turn) as (writes, _):
        is_waiting(turn)
        assert not writes.is_set()
        held.send_signal(signal.SIGKILL)
        held.communicate()
        assert writes.wait(LONGEST)


@pytest.mark.slow
def test_a_process_that_writes_all_the_time_leaves_the_others_their_turns(sqlite_url):
    database, mine = Database(sqlite_url), 0
    other = begun(WRITES_ALL_THE_TIME, sqlite_url)
    assert other.stdout.readline() == "begun\n"
    while other.poll() is None:
        with database.writing():
            mine += 1
        time.sleep(0.005)
    assert other.returncode == 0
    assert mine >= 100
    other.communicate()
    database.dispose()


@pytest.mark.usefixtures("patient")
def test_a_transaction_that_writes_to_sqlite_waits_for_its_turn(sqlite_url):
    database, stored = Database(sqlite_url), threading.Event()
    other = ProcessTurn(Path(sqlite_url.removeprefix("sqlite:///")).parent)

    def write():
        with database.writing():
            stored.set()

    thread = threading.Thread(target=write)
    with other.taken():
        thread.start()
        is_waiting(database._process_turn)
        assert not stored.wait(0.05)
        with database.reading():
            pass
    assert stored.wait(LONGEST)
    thread.join(LONGEST)
    database.dispose()


@pytest.mark.usefixtures("patient")
def test_the_copy_of_a_rehearsal_has_its_folder_for_itself_and_needs_no_turn(database, study):
    with at_once(), rehearsal(database, study) as copy, copy.writing():
        pass


def test_where_there_is_no_directory_there_is_no_order(tmp_path):
    turn = ProcessTurn(tmp_path / "missing")
    with turn.taken(), turn.taken():
        pass
    turn.close()


@pytest.mark.parametrize(("failing", "code"), [("fcntl.flock", errno.ENOLCK), ("os.open", errno.EACCES)])
def test_where_the_directory_cannot_be_locked_there_is_no_order_and_the_log_says_so(
    tmp_path, monkeypatch, caplog, failing, code
):
    def refuse(*_):
        raise OSError(code, "refused")

    monkeypatch.setattr(f"app.store.process_turn.{failing}", refuse)
    turn = ProcessTurn(tmp_path)
    assert caplog.messages == [f"event=turn status=none cause={errno.errorcode[code]}"]
    with turn.taken(), turn.taken():
        pass
    turn.close()


def test_a_turn_that_is_closed_leaves_no_open_file_and_takes_no_turn(tmp_path):
    first, second = ProcessTurn(tmp_path), ProcessTurn(tmp_path)
    before = open_files()
    second.close()
    second.close()
    assert open_files() == before - 1
    with at_once(), first.taken(), second.taken():
        pass


@pytest.mark.slow
def test_a_turn_that_is_closed_while_it_is_held_goes_to_the_next_at_its_end(tmp_path):
    first, second = ProcessTurn(tmp_path), ProcessTurn(tmp_path)
    before = open_files()
    with first.taken():
        first.close()
        assert open_files() == before
        with writing(second) as (writes, _):
            is_waiting(second)
            assert not writes.is_set()
    assert open_files() == before - 1
    with at_once(), second.taken():
        pass


def test_a_turn_that_somebody_waits_for_is_closed_without_harm(tmp_path, monkeypatch):
    first, second, third = (ProcessTurn(tmp_path) for _ in range(3))
    wait_in_vain(first, second, monkeypatch, closed=True)
    with at_once(), third.taken():
        pass
