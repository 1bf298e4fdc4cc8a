"""A database with data goes down each migration and up again: every row of every table must be as before, but for what
the migration declares that it cannot keep. A process that migrates is killed (SIGKILL, by strace) at the n-th system
call that changes a file, for many n: the file must have the old tables or the new ones with all rows, never something
between.
"""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, select
from sqlalchemy.pool import NullPool

from app.settings import Settings
from app.store import migrations
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from tests.store.posts import FULL, ck, post, timeline
from tests.trust.figures import Figure
from tests.trust.ground import dump, folder, fresh, harmed, need_strace, postgres, spread

BEFORE = "0007"
"""The tables before the migration that made `request_counts`."""


LOST = {
    "0008": {"request_counts"},
    "0007": {"kept_answers"},
    "0006": {"api_keys"},
    "0005": {"audit", "secret_fingerprint", "study_seals", "studies.locked_secret"},
    "0004": {"set_aside", "intake"},
    "0003": {"notes", "draw", "mark"},
    "0002": {"aliases", "erased_names", "pseudonym_keys"},
}
"""What each migration cannot keep on the way down: tables, columns, and columns of all tables.

The secrets of studies are plain until the service starts again.
"""


def run(full: bool) -> list[Figure]:
    """Migrate and look."""
    with folder() as place:
        url = fresh(place / "x.db")
        _fill(url, 1_000 if full else 20)
        file = place / "walk.db"
        _settled(place / "x.db")
        shutil.copy(place / "x.db", file)
        shutil.copy(place / "x.db.secret", place / "walk.db.secret")
        figures = [_walked(f"sqlite:///{file}", "SQLite", LedgerKeys(place / "x.db.secret"))]
        if full:
            with postgres() as server:
                _fill(server.url, 1_000)
                keys = LedgerKeys(Settings(database_url=server.url).secret_path)
                figures.append(_walked(server.url, "PostgreSQL", keys))
        return [*figures, *_killed(place, dump(url), full)]


def _fill(url: str, patients: int) -> None:
    database = Database(url)
    for number in range(patients):
        post(database, "trial", FULL | timeline(f"P{number}", *[ck(f"k{each}", each + 1) for each in range(10)]))
    database.dispose()


def _walked(url: str, kind: str, keys: LedgerKeys) -> Figure:
    """Down one migration and up again, for each migration from the last to the second, on the rows that are left."""
    steps = [script.revision for script in ScriptDirectory(str(migrations.SCRIPTS)).walk_revisions()][:-1]
    most = 0
    for step, before in pairwise([*steps, "0001"]):
        found = _content(url, LOST.get(step, set()))
        migrations.downgrade(url, before, keys)
        migrations.upgrade(url, step)
        again = _content(url, LOST.get(step, set()))
        differ = [name for name in found.keys() | again.keys() if found.get(name) != again.get(name)]
        assert not differ, f"down and up {step} changes {differ}"
        most = max(most, sum(rows for rows, _ in found.values()))
        migrations.downgrade(url, before, keys)
    what = f"{kind}: migrations, each down and up again on data; rows of all tables; rows that differ"
    return Figure("P16", what, f"{len(steps)}; {most}; 0")


def _content(url: str, lost: set[str]) -> dict[str, tuple[int, str]]:
    """The number of the rows of each table that there is, and a hash of them, but for what is lost."""
    engine, tables = create_engine(url, poolclass=NullPool), MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        found = {}
        for table in tables.sorted_tables:
            kept = [each for each in table.columns if not {each.name, f"{table.name}.{each.name}"} & lost]
            if table.name not in lost:
                rows = sorted(repr(tuple(row)) for row in connection.execute(select(*kept)))
                found[table.name] = len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return found


def _killed(place: Path, before: str, full: bool) -> list[Figure]:
    need_strace()
    release = place / "old.db"
    shutil.copy(place / "x.db", release)
    migrations.downgrade(f"sqlite:///{release}", BEFORE)
    _settled(release)
    file = place / "killed.db"
    points = [("pwrite64", count) for count in spread(20, 20 if full else 2)]
    points += [("fdatasync", count) for count in spread(3, 3 if full else 2)]
    old = new = 0
    for name, count in points:
        for leftover in place.glob("killed.db*"):
            leftover.unlink()
        shutil.copy(release, file)
        harmed("migrated", f"sqlite:///{file}", name, count)
        database = Database(f"sqlite:///{file}")
        found = database.revision()
        database.dispose()
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert ("request_counts" in tables) == (found != BEFORE), "the tables are not those of the version"
        old, new = old + (found == BEFORE), new + (found != BEFORE)
        migrations.upgrade(f"sqlite:///{file}")
        assert dump(f"sqlite:///{file}") == before
    return [
        Figure("P16", "kills of a process that migrates; then old tables, new tables, something between",
               f"{len(points)}; {old}, {new}, 0"),
    ]  # fmt: skip


def _settled(file: Path) -> None:
    """Everything in one file, without a log."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
