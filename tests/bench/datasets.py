"""`adeff.csv` of a large study over loopback, against Arrow writing the same table from ready columns."""

import io
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pyarrow
from pyarrow import csv

from app.store.migrations import upgrade
from tests.bench.cohort import timeline
from tests.bench.loopback import process_seconds, put_study, request, server

PATIENTS = 5_000
AT_ONCE = 100
PAIRS = 5
ADDRESS = "/v1/studies/bench/datasets/adeff.csv"


def datasets(folder: Path, pairs: int = PAIRS) -> list[tuple[str, str, str]]:
    """Processor time, the first byte and the memory of a file with more than a million rows."""
    url = f"sqlite:///{folder / 'datasets.db'}"
    upgrade(url)
    with server(url) as (_, connection):
        put_study(connection)
        for first in range(0, PATIENTS, AT_ONCE):
            some = [timeline(number) for number in range(first, first + AT_ONCE)]
            request(connection, "POST", "/v1/studies/bench/timelines", json.dumps(some).encode())
    with server(url) as (process, connection):
        _read(connection)  # libraries are loaded once
        rest = _memory(process)
        content, costs, first = b"", [], []
        for _ in range(pairs):
            before, begin = _seconds(process), time.perf_counter()
            content, waited = _read(connection)
            costs.append((_seconds(process) - before, time.perf_counter() - begin))
            first.append(waited)
        grown = _memory(process, "VmHWM") - rest
    table = csv.read_csv(io.BytesIO(content))
    peers = [_written(table, folder / "peer.csv") for _ in range(pairs)]
    ours, theirs = statistics.median(cost for cost, _ in costs), statistics.median(peers)
    return [
        (
            f"`adeff.csv` of {PATIENTS:,} patients x 100 results, {table.num_rows:,} rows with "
            f"{len(content) / 1e6:.0f} MB, over loopback from SQLite ({ours:.2f} s of CPU)",
            f"pyarrow.csv {pyarrow.__version__} writing the same table from ready columns ({theirs:.2f} s of CPU)",
            f"{ours / theirs:.1f}; first byte after {statistics.median(first):.2f} s; {grown / 1e6:+.0f} MB in all "
            "processes; asked: 3 at most, 0.5 s, +150 MB",
        )
    ]


def _read(connection: HTTPConnection) -> tuple[bytes, float]:
    """The file, and the seconds until its first byte."""
    connection.close()  # the server has closed one that was idle
    begin = time.perf_counter()
    connection.request("GET", ADDRESS)
    with connection.getresponse() as answer:
        first = answer.read(1)
        waited = time.perf_counter() - begin
        return first + answer.read(), waited


def _written(table: pyarrow.Table, file: Path) -> float:
    """Seconds of processor that Arrow takes."""
    begin = time.process_time()
    csv.write_csv(table, file)
    return time.process_time() - begin


def _seconds(process: int) -> float:
    return sum(process_seconds(each) for each in _family(process))


def _memory(process: int, name: str = "VmRSS") -> int:
    """Bytes of memory of the server and its workers."""
    found = 0
    for each in _family(process):
        lines = Path(f"/proc/{each}/status").read_text().splitlines()
        found += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
    return found


def _family(process: int) -> Iterator[int]:
    """A process and all that come from it."""
    yield process
    for each in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == process:
                yield from _family(int(each))
