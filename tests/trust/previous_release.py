"""Releases before the integrity of the ledger serve four clients that post, while the new release migrates their
database and starts on it. Then each write that the old release acknowledged must be there, none by halves, and every
chain whole. After the migration the old release must store nothing. Then the new release writes, the database goes back
to the old tables, the old release reads all and writes, and the new release takes it over once more.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.store import migrations
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.opening import open_ledger
from app.store.verification import verify_database
from tests.api.examples import events, lab
from tests.api.test_server import environment, started
from tests.postgres import bundled_binaries, controlled_server
from tests.store.posts import post
from tests.trust.figures import Figure, NotHere
from tests.trust.ground import ROOT, SAFE, folder

RELEASES = {
    "0.1.0": ("7d727bace9d0706770862a946bab106726677517", "0002"),
    "the last one with its keys in the database": ("5b8af9156ddc18512f046f87c5b2d669850deb79", "0004"),
}
"""The commits of earlier releases, and the last migration of each."""
CLIENTS = 4
COMMAND = [sys.executable, "-m", "app"]


@dataclass(slots=True)
class Load:
    """What clients were told; `late` counts the answers to what was sent after the migration."""

    stored: list[str] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    told: Counter[int] = field(default_factory=Counter)
    late: Counter[int] = field(default_factory=Counter)
    migrated: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)


def run(full: bool) -> list[Figure]:
    """Migrate under the old release, go back, and look."""
    chosen = list(RELEASES) if full else ["0.1.0"]
    figures = []
    for name in chosen:
        commit, tables = RELEASES[name]
        with folder() as place:
            release = _unpacked(commit, place / "release")
            for kind in ("SQLite", "PostgreSQL") if full else ("SQLite",):
                home = place / kind
                home.mkdir()
                with _database(kind, home) as url:
                    figures += _upgraded(f"{name}, {kind}", release, tables, url, home, 3.0 if full else 1.0)
    return figures


def _unpacked(commit: str, place: Path) -> Path:
    """The code of a release. Raises `NotHere` where the history does not have it."""
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT, capture_output=True, check=False
    )
    if known.returncode:
        raise NotHere("the history of this checkout does not have the earlier releases")
    place.mkdir()
    packed = subprocess.run(["git", "archive", commit, "app", "alembic"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "x"], cwd=place, input=packed.stdout, check=True)
    return place


@contextmanager
def _database(kind: str, home: Path) -> Iterator[str]:
    if kind == "SQLite":
        yield f"sqlite:///{home / 'x.db'}"
        return
    binaries = bundled_binaries()
    if binaries is None:
        raise NotHere("there is no PostgreSQL for this platform in the test packages")
    with controlled_server(binaries, SAFE) as server:
        yield server.url


NEWER = frozenset({"MYORESPONSE_SECRET_FILE", "MYORESPONSE_HEADS_FILE"})
"""Settings that the earlier releases refuse, because they do not know them."""


def _upgraded(name: str, release: Path, tables: str, url: str, home: Path, seconds: float) -> list[Figure]:
    """The new release migrates, starts and writes while the old one goes on being asked to write."""
    known = environment(url, PSEUDONYM_SECRET="x" * 32, CURSOR_KEY="x" * 32)
    variables = {name: value for name, value in known.items() if name not in NEWER}
    subprocess.run([*COMMAND, "migrate"], cwd=release, env=variables, check=True, capture_output=True)
    load = Load()
    with started(COMMAND, variables, release) as old:
        assert old.ask("PUT", "/v1/studies/trial", {"name": "T", "protocol": "seed-2008"})[0] == 201
        clients = [threading.Thread(target=_post, args=(old.port, load, number)) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(seconds)
        began = time.monotonic()
        migrations.upgrade(url)
        took = time.monotonic() - began
        load.migrated.set()
        with _opened(url, home) as database:
            time.sleep(seconds)
            assert old.ask("GET", "/readyz")[0] == 503, "the old release says that it is ready"
            load.stop.set()
            for client in clients:
                client.join()
            there = _patients(database)
            assert set(load.stored) <= there <= load.sent, "an acknowledged write is lost, or a refused one is there"
            assert load.late, "nothing was sent after the migration"
            assert not {status for status in load.late if status < 500}, load.late
            _whole(database)
            post(database, "trial", events("new", lab(7, 500), lab(14, 400)))
            _whole(database)
    again = subprocess.run(COMMAND, cwd=release, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert again.returncode, "the old release starts on the new tables"
    stored = f"{len(load.stored)}; 0; 0; {took:.1f} s"
    figures = [
        Figure("P16", f"{name}: writes acknowledged until the migration; lost; halves; time of `migrate`", stored),
        Figure(
            "P16", f"{name}: answers of the old release afterwards, of which nothing is stored", _counted(load.late)
        ),
    ]
    return [*figures, *_back(name, release, tables, url, home, variables, there | {"new"})]


def _back(
    name: str, release: Path, tables: str, url: str, home: Path, variables: dict[str, str], there: set[str]
) -> list[Figure]:
    """The old release reads on the old tables what both wrote, and writes; then the new release takes it over."""
    migrations.downgrade(url, tables, LedgerKeys(home / "secret"))
    with started(COMMAND, variables, release) as old:
        assert old.ask("GET", "/readyz")[0] == 200
        for patient in [*sorted(there)[:20], "new"]:
            status, answer = old.ask("GET", f"/v1/studies/trial/patients/{patient}")
            assert (status, [each["value"] for each in json.loads(answer)["labs"]]) == (200, [500, 400]), answer
        for number in range(20):
            assert _send(old.port, f"back-{number}") == 201
        assert _send(old.port, "new", 21) == 200  # a second revision of a patient that the new release stored
    migrations.upgrade(url)
    with _opened(url, home) as database:
        _whole(database)
        found = _patients(database)
    assert found == there | {f"back-{number}" for number in range(20)}
    what = "ways back: patients that the old release read or wrote, and the new one found again, with whole chains"
    return [Figure("P16", f"{name}: {what}", str(len(found)))]


@contextmanager
def _opened(url: str, home: Path) -> Iterator[Database]:
    """The database as the new release opens it."""
    database = Database(url, keys=LedgerKeys(home / "secret"))
    try:
        assert open_ledger(database, home / "heads") is None
        yield database
    finally:
        database.dispose()


def _whole(database: Database) -> None:
    with database.reading() as connection:
        faults = [fault for part in verify_database(connection, database.heads) for fault in part.faults]
    assert faults == [], faults[:3]


def _patients(database: Database) -> set[str]:
    with database.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT id, (SELECT count(*) FROM lab_results WHERE patient_key = key) FROM patients"
        ).all()
    assert {count for name, count in rows if name != "new"} <= {2}, "a write is there by halves"
    return {name for name, _ in rows}


def _counted(told: Counter[int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(told.items()))


def _post(port: int, load: Load, client: int) -> None:
    number = 0
    while not load.stop.is_set():
        number += 1
        patient, late = f"P{client}-{number}", load.migrated.is_set()
        load.sent.add(patient)
        status = _send(port, patient)
        (load.late if late else load.told)[status] += 1
        if status == 201:
            load.stored.append(patient)
        if status >= 500:
            time.sleep(0.05)


def _send(port: int, patient: str, *more: int) -> int:
    body = json.dumps(events(patient, lab(7, 500), lab(14, 400), *[lab(day, 300) for day in more]))
    headers = {"Content-Type": "application/json", "Connection": "close"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("POST", f"/v1/studies/trial/patients/{patient}/events", body, headers)
        answer = client.getresponse()
        answer.read()
        return answer.status
