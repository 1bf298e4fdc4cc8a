"""A server is killed (`kill -9`) under writes by four threads and reads by one, again and again: each revision that is
stored has its audit row, no row is without its revision, each read that was answered has its row after the next start,
and the heads outside are never ahead of the database.
"""

import signal
import sqlite3
import tempfile
import threading
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any

from app.store.opening import heads_now
from app.store.verification import verify_database
from tests.api.test_server import Process, running
from tests.repetition import repeats
from tests.trust.figures import Figure
from tests.trust.opened import migrated, opened

WRITERS = 4


def run(full: bool) -> list[Figure]:
    """50 kills, or 2; 1 in the quick profile."""
    kills = 50 if full else repeats(2)
    answered = read = stored = 0
    with tempfile.TemporaryDirectory() as folder:
        url = migrated(Path(folder))
        for kill in range(kills):
            counts = killed_under_writes(url, kill)
            answered, read = answered + counts[0], read + counts[1]
            stored = checked(url, Path(folder), read)
        behind = lines_behind(url)
    assert stored >= answered
    return [
        Figure("P12", "kills under four writers", str(kills)),
        Figure("P12", "writes that were answered, and revisions that were stored", f"{answered:,}, {stored:,}"),
        Figure("P12", "revisions without an audit row, and rows without their revision", "0, 0"),
        Figure("P12", "reads that were answered, and those of them without an audit row", f"{read:,}, 0"),
        Figure("P12", "heads ahead of the database", "0"),
        Figure("P12", "chains whose heads were behind after the last kill", str(behind)),
    ]


def killed_under_writes(url: str, kill: int) -> tuple[int, int]:
    """Start the server, write with four threads, read with one, kill it. How many writes and reads were answered."""
    answered: list[int] = []
    read: list[int] = []
    with running(url) as server:
        assert server.ask("PUT", "/v1/studies/trial", {"name": "Trial", "protocol": "seed-2008"})[0] in {200, 201}
        threads = [threading.Thread(target=write, args=(server, kill, each, answered)) for each in range(WRITERS)]
        threads.append(threading.Thread(target=read_on, args=(server, read)))
        for thread in threads:
            thread.start()
        time.sleep(0.7 + 0.13 * (kill % 7))
        server.process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
    return len(answered), len(read)


def read_on(server: Process, read: list[int]) -> None:
    """Read until the server is gone."""
    while True:
        try:
            status, _ = server.ask("GET", "/v1/studies/trial/patients?limit=1")
        except (OSError, HTTPException):
            return
        assert status == 200
        read.append(status)


def write(server: Process, kill: int, thread: int, answered: list[int]) -> None:
    """Write until the server is gone."""
    number = 0
    while True:
        number += 1
        patient = f"P{kill}-{thread}-{number}"
        lab = {"code": "CK", "time": "2005-03-16", "value": 100 + number, "unit": "U/L"}
        document = {"patient": {"id": patient}, "labs": [lab]}
        try:
            status, _ = server.ask("PUT", f"/v1/studies/trial/patients/{patient}", document)
        except (OSError, HTTPException):
            return
        assert status == 201
        answered.append(number)


def checked(url: str, folder: Path, read: int) -> int:
    """Verify everything, and compare the audit with the revisions. How many revisions of patients there are."""
    with opened(url) as database, database.reading() as connection:
        faults = [fault for part in verify_database(connection, database.heads) for fault in part.faults]
    assert faults == []
    with sqlite3.connect(folder / "x.db") as raw:
        revisions = [number for (number,) in raw.execute("SELECT number FROM revisions ORDER BY number")]
        rows = raw.execute("SELECT first_revision, revision FROM audit WHERE first_revision NOT NULL").fetchall()
        found = raw.execute("SELECT count(*) FROM audit WHERE operation = 'listPatients'").fetchone()[0]
    covered = sorted(number for first, last in rows for number in range(first, last + 1))
    assert covered == revisions
    assert found >= read, (found, read)
    return len(revisions) - 1


def lines_behind(url: str) -> int:
    """How many chains go further than their last head outside."""
    with opened(url) as database, database.reading() as connection:
        noted: dict[Any, int] = {}
        for line in database.heads.lines():
            noted[line.chain] = max(noted.get(line.chain, -1), line.head.number)
        return sum(head.number > noted.get(chain, -1) for chain, head in heads_now(connection))
