"""A study that hospitals write to while people ask and read: answers beside writers, and everything mixed."""

import itertools
import json
import random
import statistics
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from app.store.migrations import upgrade
from benchmarks.load import loaded, request
from benchmarks.pairs import Counts, Load, Loaded, Measured, Row, Took, in_turn
from benchmarks.programs import own_service
from tests.bench.cohort import timeline
from tests.bench.loopback import put_study
from tests.bench.loopback import request as send

STUDY = "/v1/studies/bench"
WRITERS, ANALYSTS, READERS = 4, 2, 2
QUESTION = "weekly-change"
QUESTIONS = (QUESTION, "response-rates", "ck-change", "ck-normal-time")
PAGES = (f"{STUDY}.html", f"{STUDY}/analyses")
ASKED = 0.5
ASKED_ALONE = 5
LONGER = 3
"""Answers take longer than posts: they are counted for so many times as long."""


def measure(counts: Counts, folder: Path) -> Measured:
    """Writers post one result at a time, of patients that are known, so that the study keeps its size."""
    url = f"sqlite:///{folder / 'shared.db'}"
    upgrade(url)
    seconds = counts.seconds * LONGER
    with own_service(url, folder, counts.settle) as started:
        with closing(HTTPConnection("127.0.0.1", started.port)) as connection:
            put_study(connection)
            _fill(connection, counts.patients)
        writes = _writes(counts.patients)
        beside: list[Load] = []

        def alone() -> Took:
            """The question after each new result, asked by one analyst while nobody writes."""
            latencies = []
            for _ in range(ASKED_ALONE):
                loaded(started.port, 0, writes=[writes])
                latencies += loaded(started.port, 0, answers=[_asks((QUESTION,))])["answers"].latencies
            return Took(statistics.median(latencies))

        def among_writers() -> Took:
            kinds = {"writes": [writes] * WRITERS, "answers": [_asks((QUESTION,)) for _ in range(ANALYSTS)]}
            beside.append(loaded(started.port, seconds, **kinds)["answers"])
            return Took(beside[-1].slowest(0.5))

        alone()
        pairs = in_turn(counts.pairs, among_writers, alone)
        mixed = [
            loaded(
                started.port,
                seconds,
                feeds=[writes] * WRITERS,
                questions=[_asks(QUESTIONS) for _ in range(ANALYSTS)],
                pages=[_reads() for _ in range(READERS)],
            )
            for _ in range(counts.pairs)
        ]
    work = f"p50 of `{QUESTION}`, {counts.patients:,} patients, {WRITERS} writers and {ANALYSTS} analysts at once"
    row = Row("answers beside writers: alone", work, "the same alone, after each new result", pairs, ASKED)
    told = {"feeds": WRITERS, "questions": ANALYSTS, "pages": READERS}
    loads = [Loaded(f"`{QUESTION}` beside {WRITERS} writers", ANALYSTS, beside)]
    loads += [Loaded(f"mixed: {kind}", count, [run[kind] for run in mixed]) for kind, count in told.items()]
    return Measured([row], loads)


def _fill(connection: HTTPConnection, patients: int) -> None:
    for first in range(0, patients, 100):
        documents = [timeline(number) for number in range(first, min(first + 100, patients))]
        send(connection, "POST", f"{STUDY}/timelines", json.dumps(documents).encode())


def _writes(patients: int) -> Iterator[bytes]:
    """New results of patients that are known, each on a day and at a time of its own."""
    rng = random.Random(1)
    for number in itertools.count():
        who = f"P{rng.randrange(patients):06d}"
        time = (
            f"2020-{1 + number % 12:02d}-{1 + number // 12 % 28:02d}T{number // 336 % 24:02d}:{number // 8064 % 60:02d}"
        )
        result = {"code": "CK", "unit": "U/L", "upper_limit": 163, "lab": "A", "value": rng.randrange(50, 3000)}
        body = {"patient": {"id": who}, "labs": [result | {"time": f"{time}:{number // 483_840 % 60:02d}+09:00"}]}
        yield request("POST", f"{STUDY}/patients/{who}/events", json.dumps(body).encode())


def _asks(questions: tuple[str, ...]) -> Iterator[bytes]:
    return (request("GET", f"{STUDY}/analyses/{each}") for each in itertools.cycle(questions))


def _reads() -> Iterator[bytes]:
    return (request("GET", each) for each in itertools.cycle(PAGES))
