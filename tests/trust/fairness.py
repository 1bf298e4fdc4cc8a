"""A server with the demonstration study, its patients repeated with other days and values, and a second study. Five of
the dearest questions about the first are asked and closed at once; then one about the second is timed, and again while
the five stay open. Meanwhile `/livez` is asked all the time. The figures are medians of several rounds.
"""

import json
import os
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

from app import demo
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import read_timeline
from app.settings import Settings
from app.store import ledger, studies
from app.store.engine import Database
from app.store.opening import open_ledger
from app.timeline.times import latest_acceptable, microseconds
from tests.api.test_server import ROOT, Process, environment, started
from tests.tables import with_tables
from tests.trust.figures import Figure

AT_ONCE = 5
DEAREST = "/v1/studies/large/analyses/ck-normal-interval?by=diagnosis&resamples=200&seed={}"
CHEAP = "/v1/studies/small/analyses/ck-change?level=0.9{}"
_numbers = count(100_000)


def run(full: bool) -> list[Figure]:
    """Measure. Raises `AssertionError` if a closed question delays others, or if `/livez` waits: the cheap question is
    answered in less time than two of the dearest need one after the other, and `/livez` in less than one of them.
    """
    patients, rounds = (5_000, 5) if full else (150, 1)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/x.db"
        fill(url, patients)
        measured = measure(url, rounds)
    assert measured["closed"] < 2 * (measured["dearest"] + measured["alone"]), measured
    assert measured["livez"] < measured["dearest"] + measured["alone"], measured
    return [
        Figure("P15", f"{what}, {patients:,} patients", value)
        for what, value in (
            ("the dearest question alone", f"{measured['dearest']:.2f} s"),
            ("a cheap question about another study alone", f"{measured['alone'] * 1e3:.0f} ms"),
            (f"the same after {AT_ONCE} dearest ones were closed at once", f"{measured['closed'] * 1e3:.0f} ms"),
            (f"the same while {AT_ONCE} dearest ones are open", f"{measured['open'] * 1e3:.0f} ms"),
            ("the slowest `/livez` meanwhile", f"{measured['livez'] * 1e3:.0f} ms"),
            ("memory of the service at rest and afterwards", f"{measured['rest']} MB, {measured['service']} MB"),
            ("memory that each worker does not share, afterwards", f"{measured['workers']} MB"),
        )
    ]


def measure(url: str, rounds: int, directory: Path = ROOT) -> dict[str, Any]:
    """Seconds and megabytes. The server runs from the tree in `directory`."""
    closed, opened, alone, livez = [], [], [], []
    with started([sys.executable, "-m", "app"], environment(url), directory) as server:
        for _ in range(2):
            timed(server, CHEAP.format(next(_numbers)))  # everything is loaded
        rest = megabytes(server.process.pid)
        dearest = timed(server, DEAREST.format(next(_numbers)))
        for _ in range(rounds):
            alone.append(timed(server, CHEAP.format(next(_numbers))))
            with asked_at_once(server) as connections:
                for connection in connections:
                    connection.close()
                with asked_all_the_time(server) as slowest:
                    closed.append(timed(server, CHEAP.format(next(_numbers))))
                livez.append(max(slowest))
            settle(server)
            with asked_at_once(server), asked_all_the_time(server) as slowest:
                opened.append(timed(server, CHEAP.format(next(_numbers))))
            livez.append(max(slowest))
            settle(server)
        shared = memory(server.process.pid)
    return {
        "dearest": dearest,
        "alone": statistics.median(alone),
        "closed": statistics.median(closed),
        "open": statistics.median(opened),
        "livez": max(livez),
        "rest": rest,
        "service": shared[server.process.pid],
        "workers": max([private for pid, private in shared.items() if pid != server.process.pid], default=0),
    }


def fill(url: str, patients: int) -> None:
    """Two studies: one with so many patients, and the demonstration itself."""
    with_tables(url)
    database, now = Database(url), datetime.now(UTC)
    assert open_ledger(database, Settings(database_url=url).heads_path) is None
    documents = json.loads(demo.TIMELINES.read_bytes())
    for study, number in (("large", patients), ("small", len(documents))):
        declared = studies.StudyDeclaration(study, SEED_2008, test=True)
        with database.writing() as connection:
            studies.put_study(connection, study, declared, client=None, received_at=microseconds(now))
        for first in range(0, number, 250):
            histories = [
                read_timeline(json.dumps(varied(documents[k % len(documents)], k)).encode(), latest_acceptable(now))
                for k in range(first, min(first + 250, number))
            ]
            with database.writing() as connection:
                ledger.submit_each(
                    connection, study, histories, format="native-json", client=None, received_at=microseconds(now)
                )
    database.dispose()


def varied(document: dict[str, Any], number: int) -> dict[str, Any]:
    """The same patient under another name, with other days of draws and other values."""
    draw, copy = random.Random(number), json.loads(json.dumps(document))
    copy["patient"]["id"] = f"P{number:05d}"
    for series in copy["lab_series"]:
        times = [datetime.fromisoformat(time) + timedelta(days=draw.randrange(-2, 3)) for time in series["times"]]
        series["times"] = [time.isoformat() for time in times]
        series["values"] = [round(value * draw.uniform(0.85, 1.15), 1) for value in series["values"]]
    return copy


def timed(server: Process, path: str) -> float:
    """The seconds until a question is answered."""
    began = time.monotonic()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200, (answer.status, path)
    return time.monotonic() - began


@contextmanager
def asked_at_once(server: Process) -> Iterator[list[socket.socket]]:
    """Connections with one of the dearest questions each, which are closed afterwards."""
    connections = []
    for _ in range(AT_ONCE):
        connection = socket.create_connection(("127.0.0.1", server.port))
        path = DEAREST.format(next(_numbers))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        connections.append(connection)
    time.sleep(0.2)
    yield connections
    for connection in connections:
        connection.close()


@contextmanager
def asked_all_the_time(server: Process) -> Iterator[list[float]]:
    """Ask `/livez` again and again; the seconds of each answer."""
    ended, seconds = threading.Event(), []

    def ask() -> None:
        while not ended.is_set() or not seconds:
            seconds.append(timed(server, "/livez"))
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    yield seconds
    ended.set()
    asking.join()


def settle(server: Process) -> None:
    """Wait until nothing is computed any more."""
    while True:
        before = seconds_of(server.process.pid)
        time.sleep(0.5)
        if seconds_of(server.process.pid) - before < 0.1:
            return


def seconds_of(parent: int) -> float:
    """The seconds of processor of a process and those below it that run."""
    ticks = 0
    for pid in family(parent):
        with suppress(OSError):  # it has just ended, as a worker may
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def family(parent: int) -> list[int]:
    """A process and all below it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [parent]
    for pid in found:
        found += [child for child, above in parents.items() if above == pid]
    return found


def memory(parent: int) -> dict[int, int]:
    """The megabytes of a process, and those that each process below it does not share."""
    found = {}
    for pid in family(parent):
        with suppress(OSError):  # it has just ended, as a worker may
            found[pid] = megabytes(pid) if pid == parent else megabytes(pid, "Private_Dirty")
    return found


def megabytes(pid: int, kind: str = "Rss") -> int:
    """The memory of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) // 1024
