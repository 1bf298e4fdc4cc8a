"""What the harnesses stand on: a database with a study, a program that is harmed, and what is found afterwards."""

import hashlib
import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, chdir, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select

from app.settings import Settings
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.opening import open_ledger
from app.store.tables import metadata
from tests.postgres import Server, bundled_binaries, controlled_server
from tests.store.posts import begin_study
from tests.tables import with_tables
from tests.trust.figures import NotHere

ROOT = Path(__file__).parents[2]
ASIDE = frozenset({"audit", "intake"})
"""The tables that also record what was refused."""
SAFE = "-c listen_addresses='' -c port=5432 -c fsync=on -c full_page_writes=on"
"""A server that keeps what it has confirmed, unlike that of the other tests."""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on a disk, because in memory nothing has to be brought to a disk."""
    with TemporaryDirectory(prefix="myoresponse-trust-") as name:
        yield Path(name)


def fresh(file: Path) -> str:
    """A database with the study `trial`, in one file without a log; its URL."""
    url = f"sqlite:///{file}"
    _prepare(url)
    return url


def _prepare(url: str) -> None:
    """Make the tables, open the ledger as the first start of the service does, and begin the study."""
    with_tables(url)
    settings = Settings(database_url=url)
    database = Database(url, keys=LedgerKeys(settings.secret_path))
    assert open_ledger(database, settings.heads_path) is None
    begin_study(database, "trial")
    database.dispose()


@contextmanager
def postgres() -> Iterator[Server]:
    """A PostgreSQL server that keeps what it has confirmed, with the tables and the study `trial`."""
    binaries = bundled_binaries()
    if binaries is None:
        raise NotHere("there is no PostgreSQL for this platform in the test packages")
    # The secret file and the heads are made in the working directory.
    with controlled_server(binaries, SAFE) as server, chdir(server.data.parent):
        _prepare(server.url)
        yield server


@contextmanager
def databases(full: bool) -> Iterator[list[tuple[str, str]]]:
    """The databases with the study `trial`, each by its URL and its kind: SQLite, and with full counts PostgreSQL.

    Raises `NotHere` where there is no PostgreSQL for full counts: a part that is not run must not look as if it was.
    """
    with folder() as place, ExitStack() as servers:
        found = [(fresh(place / "x.db"), "SQLite")]
        if full:
            found.append((servers.enter_context(postgres()).url, "PostgreSQL"))
        yield found


def need_strace() -> None:
    """Raise `NotHere` where strace is missing or may not attach to a process."""
    if shutil.which("strace") is None:
        raise NotHere("strace is not installed")
    tried = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False)
    if tried.returncode:
        raise NotHere("strace may not trace a process here")


def harmed(action: str, *arguments: object) -> list[list[str]]:
    """The lines of the program that is harmed, split into words."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.trust.victim", action, json.dumps(arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def found(file: Path) -> tuple[set[int], int]:
    """The numbers of the patients in a file, and how many of them are there by halves. Raises if it is damaged."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = connection.execute(
            "SELECT p.id, count(l.identity), p.first_revision IN (SELECT number FROM revisions WHERE study = p.study)"
            " FROM patients p LEFT JOIN lab_results l ON l.patient_key = p.key GROUP BY p.key"
        ).fetchall()
        (answers,) = connection.execute("SELECT count(*) FROM kept_answers WHERE status = 201").fetchone()
    numbers = {int(name[1:]) for name, _, _ in rows}
    halves = sum(results != 2 or not revision for _, results, revision in rows)
    keyed = sum(number % 2 == 0 for number in numbers)
    return numbers, halves + abs(keyed - answers)


def dump(url: str, but: frozenset[str] = frozenset()) -> str:
    """A hash of every row of every table but these."""
    database = Database(url)
    try:
        return content(database, but)
    finally:
        database.dispose()


def content(database: Database, but: frozenset[str] = frozenset()) -> str:
    """A hash of every row of every table but these, from one snapshot."""
    digest = hashlib.sha256()
    with database.reading() as connection:
        for table in (metadata.tables[name] for name in sorted(metadata.tables.keys() - but)):
            rows = sorted(map(repr, connection.execute(select(table)).fetchall()))
            digest.update(json.dumps([table.name, rows]).encode())
    return digest.hexdigest()


def spread(most: int, count: int, seed: int = 1) -> list[int]:
    """`count` different numbers from 1 to `most`, the same in each run, with both ends."""
    drawn = random.Random(seed).sample(range(2, most), max(0, min(count, most) - 2))
    return sorted({1, most, *drawn})
