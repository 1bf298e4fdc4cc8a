"""Rows of the audit are changed, deleted, exchanged and cut off at random; the whole verification must notice each.

The end of a chain is cut whole, with nothing left of it in the database: only the heads outside the database show it.
"""

import random
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select, text, update

from app.store import audit
from app.store.audit import AuditEntry, Who
from app.store.engine import Database
from app.store.tables import audit as rows
from app.store.verification import verify_database
from tests.repetition import repeats
from tests.store.posts import begin_study
from tests.trust.figures import Figure
from tests.trust.opened import migrated, opened

STUDIES = ("one", "two", "three")


def run(full: bool) -> list[Figure]:
    """10,000 rows and 1,000 tamperings, or a tenth of both; a quarter of that in the quick profile."""
    count = 10_000 if full else repeats(1_000)
    with tempfile.TemporaryDirectory() as folder, opened(migrated(Path(folder))) as database:
        fill(database, count)
        missed, cut_unseen = tampered(database, count // 40, random.Random(12))
    assert missed == {"edit": 0, "delete": 0, "swap": 0, "cut": 0}, missed
    return [
        Figure(
            "P12", f"edits, deletions, swaps and cut ends among {count:,} rows of the audit", f"{4 * (count // 40):,}"
        ),
        Figure("P12", "of these, missed", str(sum(missed.values()))),
        Figure("P12", "of these, seen through the heads outside the database alone", str(cut_unseen)),
    ]


def fill(database: Database, count: int) -> None:
    """Store this number of audit rows, in groups of several sizes, and their heads outside."""
    for study in STUDIES:
        begin_study(database, study)
    chance = random.Random(1)
    stored = len(STUDIES)
    while stored < count:
        group = min(chance.choice((1, 1, 2, 7, 40)), count - stored)
        reads = [read(chance, stored + place) for place in range(group)]
        with database.writing() as connection:
            audit.store(connection, reads)
        stored += group
    database.heads.flush()


def read(chance: random.Random, number: int) -> AuditEntry:
    """A row of some operation."""
    who = Who("getTimeline", "http", f"key:{number % 7}", "10.0.0.1", "read-patients", f"r-{number}")
    return AuditEntry(who, 1_700_000_000_000_000 + number, chance.choice((*STUDIES, None)), 200, "figures", (), number)


def tampered(database: Database, times: int, chance: random.Random) -> tuple[dict[str, int], int]:
    """How many tamperings of each kind were missed, and how many cut ends only the heads outside show."""
    with database.reading() as connection:
        everything = [tuple(row) for row in connection.execute(select(rows.c.chain, rows.c.number))]
        ends = dict(connection.execute(select(rows.c.chain, func.max(rows.c.number)).group_by(rows.c.chain)).all())
    missed, cut_unseen = {"edit": 0, "delete": 0, "swap": 0, "cut": 0}, 0
    middle = [place for place in everything if place[1] != ends[place[0]]]
    for kind in missed:
        for _ in range(times):
            with database._writer.connect() as connection, connection.begin() as transaction:
                for name in ("audit_no_update", "audit_no_delete"):
                    connection.execute(text(f"DROP TRIGGER {name}"))
                change(connection, kind, chance, middle, ends)
                _, found = audit.verify(connection)
                if kind == "cut":
                    cut_unseen += not found
                    parts = verify_database(connection, database.heads)
                    found = [fault for part in parts if part.subject == "heads outside" for fault in part.faults]
                missed[kind] += not found
                transaction.rollback()
    return missed, cut_unseen


def change(connection: Connection, kind: str, chance: random.Random, middle: list[tuple], ends: dict[int, int]) -> None:
    """Change rows in one of four ways."""
    place = chance.choice(middle)
    if kind == "edit":
        column = chance.choice([column for column in rows.c if column.name not in {"chain", "number"}])
        [[before]] = connection.execute(select(column).where(*at(place))).all()
        after = another(column, before)
        connection.execute(update(rows).where(*at(place)).values({column: after}))
    elif kind == "delete":
        connection.execute(delete(rows).where(*at(place)))
    elif kind == "swap":
        other = chance.choice([each for each in middle if each[0] == place[0] and each != place])
        for old, new in ((place, (place[0], -1)), (other, place), ((place[0], -1), other)):
            connection.execute(update(rows).where(*at(old)).values(number=new[1]))
    else:
        chain = chance.choice(list(ends))
        connection.execute(
            delete(rows).where(rows.c.chain == chain, rows.c.number > ends[chain] - chance.randint(1, 20))
        )


def another(column: Any, before: Any) -> Any:
    """Another value of a column; a value that may be missing is taken away."""
    if before is None:
        return b"x" * 16 if column.name == "patients" else 7 if column.type.python_type is int else "x"
    if column.nullable:
        return None
    if isinstance(before, bytes):
        return bytes([*before[:-1], before[-1] ^ 1])
    return before + 1 if isinstance(before, int) else f"{before}x"


def at(place: tuple[int, int]) -> list[Any]:
    """The condition that selects a row."""
    return [rows.c.chain == place[0], rows.c.number == place[1]]
