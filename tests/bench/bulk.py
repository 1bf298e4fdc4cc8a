"""Bodies of lines: what streaming them in costs beside bare SQLite, and how much memory it takes.

`python -m tests.bench.bulk [BYTES]` measures both alone.
"""

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from app.store.engine import SQLITE_PRAGMAS
from app.store.migrations import upgrade
from app.submission.loop import GROUP
from tests.bench.cohort import results_only
from tests.bench.loopback import memory, put_study, server

PATIENTS = 1_000
PAIRS = 5
RESULTS = 100
"""Results of one patient, which is one line."""
GIGABYTE = 1_000_000_000
MOST_GROWTH = 60_000_000

Row = tuple[str, str, str]


def bulk(folder: Path) -> list[Row]:
    """Lines of `lab_series` over loopback into SQLite, against `executemany` of the tuples that came of them."""
    url = f"sqlite:///{folder / 'bulk.db'}"
    upgrade(url)
    plain, lean = [], []
    with server(url) as (_, connection):
        put_study(connection)
        for pair in range(PAIRS):
            numbers = range(pair * PATIENTS, (pair + 1) * PATIENTS)
            ours = post(connection, [b"".join(results_only(n, series=True) + b"\n" for n in numbers)])
            rows = _rows(folder / "bulk.db", PATIENTS * RESULTS)
            plain.append((ours, _insert(folder / f"plain{pair}.db", folder / "bulk.db", rows, lean=False)))
            lean.append((ours, _insert(folder / f"lean{pair}.db", folder / "bulk.db", rows, lean=True)))
    rate = PATIENTS * RESULTS / statistics.median(ours for ours, _ in plain)
    ratio, against_lean = (statistics.median(bare / ours for ours, bare in pairs) for pairs in (plain, lean))
    return [
        (
            f"bulk NDJSON of `lab_series` over loopback into SQLite ({rate:,.0f} results/s)",
            "`sqlite3.executemany` of ready tuples into the same table, the same keys, groups and durability",
            f"{ratio:.2f} of its rows/s, {against_lean:.2f} if it, too, leaves out empty columns; asked: at least 0.3",
        )
    ]


def stream_memory(folder: Path, size: int = GIGABYTE) -> list[Row]:
    """How much the server grows while a client sends so many bytes before it reads the first outcome."""
    url = f"sqlite:///{folder / 'stream.db'}"
    upgrade(url)
    with server(url) as (process, connection):
        put_study(connection)
        post(connection, [results_only(0, series=True)])
        rest = memory(process, "VmRSS")
        Path(f"/proc/{process}/clear_refs").write_text("5")  # the greatest size is noted from now on
        sent = Sent(size)
        seconds = post(connection, sent)
        growth = memory(process, "VmHWM") - rest
    return [
        (
            f"memory while {sent.bytes / 1e9:.2f} GB of NDJSON stream in ({sent.lines:,} patients, {seconds:.0f} s)",
            f"the same server at rest ({rest / 1e6:.0f} MB)",
            f"{growth / 1e6:+.0f} MB; asked: {MOST_GROWTH / 1e6:.0f} MB at most",
        )
    ]


class Sent:
    """Lines of new patients until there are so many bytes, in parts; `bytes` and `lines` are those sent so far."""

    def __init__(self, size: int) -> None:
        self.bytes = self.lines = 0
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        while self.bytes < self._size:
            part = b"".join(results_only(self.lines + n + 1, series=True) + b"\n" for n in range(20))
            self.lines += 20
            self.bytes += len(part)
            yield part


def post(connection: HTTPConnection, parts: Iterable[bytes]) -> float:
    """Seconds until the last line was answered; every line must have been stored."""
    connection.close()  # the server has closed one that was idle
    start = time.perf_counter()
    headers = {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
    connection.request("POST", "/v1/studies/bench/timelines", parts, headers, encode_chunked=True)
    last = b""
    with connection.getresponse() as answer:
        for line in answer:
            last = line
    seconds = time.perf_counter() - start
    end = json.loads(last)
    if end.get("counts") != {"created": end.get("lines")}:
        raise SystemExit(f"not everything was stored: {last[:300]!r}")
    return seconds


def _rows(file: Path, count: int) -> list[tuple[object, ...]]:
    """The latest rows of results, as they are stored."""
    with closing(sqlite3.connect(file)) as database:
        found = database.execute("SELECT * FROM lab_results ORDER BY added DESC LIMIT ?", (count,)).fetchall()
    return found[::-1]


def _insert(file: Path, original: Path, rows: list[tuple[object, ...]], *, lean: bool) -> float:
    """Seconds to insert ready tuples into the same table of another file; `lean`: without the columns that are empty.

    A transaction takes as many rows as a group of lines does.
    """
    upgrade(f"sqlite:///{file}")
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        for pragma in SQLITE_PRAGMAS:
            database.execute(f"PRAGMA {pragma.format(wait=5000)}")
        database.execute("ATTACH ? AS original", (str(original),))
        database.execute("INSERT INTO studies SELECT * FROM original.studies")
        database.execute("INSERT INTO patients SELECT * FROM original.patients")
        database.execute("DETACH original")
        names = [name for _, name, *_ in database.execute("PRAGMA table_info(lab_results)")]
        kept = [i for i, values in enumerate(zip(*rows, strict=True)) if not lean or any(v is not None for v in values)]
        ready = [tuple([row[i] for i in kept]) for row in rows]
        columns, places = ", ".join(names[i] for i in kept), ", ".join("?" * len(kept))
        statement = f"INSERT INTO lab_results ({columns}) VALUES ({places})"
        start = time.perf_counter()
        for first in range(0, len(ready), GROUP * RESULTS):
            database.execute("BEGIN IMMEDIATE")
            database.executemany(statement, ready[first : first + GROUP * RESULTS])
            database.execute("COMMIT")
        return time.perf_counter() - start


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        where = Path(temporary)
        for told in (*bulk(where), *stream_memory(where, *map(int, sys.argv[1:]))):
            print(" | ".join(told))
