"""What a page costs beside the documents that it shows."""

import json
import statistics
import time
from http.client import HTTPConnection
from pathlib import Path

from app.demo import TIMELINES
from app.pages.pictures import OF_OVERVIEW
from app.store.migrations import upgrade
from tests.bench.loopback import process_seconds, put_study, request, server

READS = 200
PAIRS = 5
STUDY = "/v1/studies/bench"


def pages(folder: Path) -> list[tuple[str, str, str]]:
    """The overview of the demonstration study against its report, and against everything that it shows."""
    url = f"sqlite:///{folder / 'pages.db'}"
    upgrade(url)
    with server(url) as (process, connection):
        put_study(connection)
        request(connection, "POST", f"{STUDY}/timelines", TIMELINES.read_bytes())
        kept = [
            (_cpu(process, connection, f"{STUDY}.html"), _cpu(process, connection, f"{STUDY}/analyses"))
            for _ in range(PAIRS)
        ]
        new = []
        for number in range(PAIRS):
            _change(connection, 2 * number)
            parts = sum(_seconds(connection, path) for path in _parts())
            _change(connection, 2 * number + 1)
            new.append((_seconds(connection, f"{STUDY}.html"), parts))
    return [
        (
            f"overview of a study from memory ({_first(kept):.2f} ms of server CPU)",
            f"its report as JSON from memory ({_second(kept):.2f} ms)",
            f"{_ratio(kept):.2f}; asked: 2 at most",
        ),
        (
            f"overview after a change ({_first(new) * 1e3:.0f} ms)",
            f"the answers and charts that it shows, one by one ({_second(new) * 1e3:.0f} ms)",
            f"{_ratio(new):.2f}; asked: 1.5 at most",
        ),
    ]


def _parts() -> list[str]:
    charts = [f"{STUDY}/charts/{name}.svg?width={width}" for name in OF_OVERVIEW for width in ("wide", "narrow")]
    return [STUDY, f"{STUDY}/analyses", *charts]


def _change(connection: HTTPConnection, number: int) -> None:
    lab = {"code": "CK", "time": f"2006-{1 + number % 12:02}-04", "value": 150 + number, "unit": "U/L"}
    body = {"patient": {"id": "P01"}, "labs": [lab | {"upper_limit": 163}]}
    request(connection, "POST", f"{STUDY}/patients/P01/events", json.dumps(body).encode())


def _cpu(process: int, connection: HTTPConnection, path: str) -> float:
    """Server CPU in milliseconds a read of what is in memory already."""
    _seconds(connection, path)
    before = process_seconds(process)
    for _ in range(READS):
        _seconds(connection, path)
    return (process_seconds(process) - before) / READS * 1e3


def _seconds(connection: HTTPConnection, path: str) -> float:
    """How long an answer takes; of something that is not there, nothing."""
    begin = time.perf_counter()
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return time.perf_counter() - begin if response.status == 200 else 0.0


def _first(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(first for first, _ in pairs)


def _second(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(second for _, second in pairs)


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(first / second for first, second in pairs)
