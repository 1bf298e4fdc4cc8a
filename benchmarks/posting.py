"""Timelines of 100 new results, posted on 16 connections and durable when they are answered."""

import itertools
import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from app.store.migrations import upgrade
from benchmarks.load import loaded, request
from benchmarks.pairs import Counts, Load, Loaded, Measured, Row, Took, in_turn
from benchmarks.programs import PEERS, Service, installed, own_service, service
from tests.bench.cohort import results_only
from tests.bench.loopback import put_study
from tests.trust.figures import NotHere

CLIENTS = 16
RESULTS = 100
SHORT = {"versioned": "Django with versions", "plain": "Django", "datasette": "Datasette"}
MODELS = 50
"""Timelines that are made before; each request has one of them, of a patient of its own."""


@dataclass
class Side:
    """A server that stores: how it is asked for a new patient, and what it has stored."""

    name: str
    service: Service
    requests: Iterator[bytes]
    stored: Callable[[], int]

    def run(self, seconds: float, runs: list[Load]) -> Took:
        """Load it so long. Every answer must be one of 100 stored results."""
        before, used = self.stored(), self.service.cpu()
        load = loaded(self.service.port, seconds, posts=[self.requests] * CLIENTS)["posts"]
        count = len(load.latencies)
        load = load._replace(cpu=(self.service.cpu() - used) / count)
        if (found := self.stored() - before) != RESULTS * count:
            raise SystemExit(f"{self.name} answered {count} posts and stored {found} results")
        runs.append(load)
        return Took(load.seconds / count, load.cpu)


def measure(counts: Counts, folder: Path) -> Measured:
    """MyoResponse in both of its forms; Django REST framework with versions and without; Datasette."""
    forms = {"labs": "as `labs`", "series": "as `lab_series`"}
    peers = {
        "versioned": "Django REST framework + gunicorn + django-simple-history",
        "plain": "Django REST framework + gunicorn, without versions",
        "datasette": "Datasette's upsert API, without versions",
    }
    with ExitStack() as stack:
        sides = [*_ours(stack, folder, counts)]
        skipped = None
        try:
            sides += [*_django(stack, folder), *_datasette(stack, folder)]
        except NotHere as missing:
            skipped = str(missing)
        runs: dict[str, list[Load]] = {side.name: [] for side in sides}
        for side in sides:
            side.run(counts.seconds / 4, [])  # what is loaded at the first request is no part of it
        rounds = in_turn(counts.pairs, *(lambda s=side: s.run(counts.seconds, runs[s.name]) for side in sides))
    place = {side.name: number for number, side in enumerate(sides)}
    asked = {("labs", "versioned"): 8.0, ("series", "versioned"): 12.0, ("labs", "datasette"): 5.0}
    asked["series", "datasette"] = 5.0
    rows = [
        Row(
            f"POST as {form}: {SHORT[peer]}",
            f"POST of {RESULTS} new results {forms[form]}, durable, {CLIENTS} connections",
            peers[peer],
            [(each[place[form]], each[place[peer]]) for each in rounds] if not skipped else (),
            asked.get((form, peer)),
            "cpu" if peer == "datasette" else "seconds",
            skipped,
        )
        for peer, form in itertools.product(peers, forms)
    ]
    told = {name: f"POST of {RESULTS} results, MyoResponse {form}" for name, form in forms.items()}
    told |= {name: f"the same, {peer}" for name, peer in peers.items()}
    return Measured(rows, [Loaded(told[name], CLIENTS, loads) for name, loads in runs.items()])


def _ours(stack: ExitStack, folder: Path, counts: Counts) -> Iterator[Side]:
    file = folder / "own.db"
    url = f"sqlite:///{file}"
    upgrade(url)
    started = stack.enter_context(own_service(url, folder, counts.settle, os.cpu_count() or 1))
    with closing(HTTPConnection("127.0.0.1", started.port)) as connection:
        put_study(connection)
    for form in ("labs", "series"):
        bodies = [json.loads(results_only(number, series=form == "series")) for number in range(MODELS)]
        for body in bodies:
            body["patient"] = {"id": "{}"}
        path = "/v1/studies/bench/patients/{}/events"
        yield Side(form, started, _requests(path, bodies, form), _count(file, "lab_results"))


def _django(stack: ExitStack, folder: Path) -> Iterator[Side]:
    file = folder / "django.db"
    variables = {"DJANGO_SERVICE_DATABASE": str(file), "DJANGO_SETTINGS_MODULE": "django_service.settings"}
    variables["PYTHONPATH"] = str(PEERS)
    command = [installed("django-admin"), "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(command, cwd=folder, env=os.environ | variables, check=True)
    workers = str(2 * (os.cpu_count() or 1) + 1)
    options = ["--workers", workers, "--worker-class", "gthread", "--threads", "4", "--bind", "127.0.0.1:{port}"]
    gunicorn = [installed("gunicorn"), *options, "django_service.wsgi"]
    started = stack.enter_context(service(gunicorn, "/", folder, variables, 1))
    bodies = [{"labs": json.loads(results_only(number, series=False))["labs"]} for number in range(MODELS)]
    for kind in ("versioned", "plain"):
        stored = _count(file, f"django_service_{kind}result")
        if kind == "versioned":
            stored = _both(stored, _count(file, "django_service_historicalversionedresult"))
        yield Side(kind, started, _requests(f"/{kind}/patients/{{}}/results/", bodies, kind), stored)


def _datasette(stack: ExitStack, folder: Path) -> Iterator[Side]:
    file = folder / "results.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(
            "CREATE TABLE results (patient TEXT, code TEXT, time TEXT, lab TEXT, value REAL, unit TEXT, "
            "upper_limit REAL, PRIMARY KEY (patient, code, time, lab))"
        )
    settings = folder / "datasette.json"
    settings.write_text('{"permissions": {"insert-row": true, "update-row": true}}')
    command = [installed("datasette"), "serve", str(file), "--config", str(settings), "--port", "{port}"]
    started = stack.enter_context(service(command, "/-/versions.json", folder, {}, 1))
    bodies = [
        {"rows": [{"patient": "{}", **each} for each in json.loads(results_only(number, series=False))["labs"]]}
        for number in range(MODELS)
    ]
    yield Side("datasette", started, _requests("/results/results/-/upsert", bodies, "d"), _count(file, "results"))


def _requests(path: str, bodies: list[dict[str, object]], prefix: str) -> Iterator[bytes]:
    """Requests without end, each of a new patient: its identifier takes the place of `{}`."""
    parts = [json.dumps(body).encode().split(b'"{}"') for body in bodies]
    for number in itertools.count():
        patient = f"{prefix}{number}"
        yield request("POST", path.replace("{}", patient), f'"{patient}"'.encode().join(parts[number % len(parts)]))


def _count(file: Path, table: str) -> Callable[[], int]:
    def counted() -> int:
        with closing(sqlite3.connect(file, timeout=20)) as database:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    return counted


def _both(first: Callable[[], int], second: Callable[[], int]) -> Callable[[], int]:
    """A count that must be the same in both tables."""

    def counted() -> int:
        if first() != (found := second()):
            raise SystemExit("results and their versions differ")
        return found

    return counted
