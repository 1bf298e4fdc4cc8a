"""A database with data goes down the last migration and up again: every row of every table must be as before. A process
that migrates is killed (SIGKILL, by strace) at the n-th system call that changes a file, for many n: the file must have
the old tables or the new ones with all rows, never something between.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from app.store import migrations
from app.store.engine import Database
from tests.store.posts import FULL, ck, post, timeline
from tests.trust.figures import Figure
from tests.trust.ground import dump, folder, fresh, harmed, need_strace, spread

BEFORE = "0007"
"""The tables before the last migration, which made `request_counts`."""


def run(full: bool) -> list[Figure]:
    """Migrate and look."""
    patients = 1_000 if full else 20
    with folder() as place:
        url = fresh(place / "x.db")
        database = Database(url)
        for number in range(patients):
            post(database, "trial", FULL | timeline(f"P{number}", *[ck(f"k{each}", each + 1) for each in range(10)]))
        database.dispose()
        before, steps = dump(url), 0
        for _ in range(3 if full else 1):
            migrations.downgrade(url, BEFORE)  # what the last migration added is empty here
            migrations.upgrade(url)
            assert dump(url) == before, "a row has changed on the way down and up"
            steps += 1
        rows = _rows(place / "x.db")
        return [
            Figure(
                "P16", "times down one migration and up again on data; rows that differ", f"{steps} ({rows} rows); 0"
            ),
            *_killed(place, before, full),
        ]


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


def _rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sum(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables)
