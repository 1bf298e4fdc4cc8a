"""Verification computes everything again: it notices every change of a stored value."""

import random
import sqlite3
from dataclasses import replace

import pytest

from app.errors import FaultCode, NotFound
from app.protocol.presets import RELATIVE_20, SEED_2008
from app.store import hashes
from app.store.assertions import Assertion, Changes
from app.store.engine import Database
from app.store.erasure import erase
from app.store.hash_chain import verify
from app.store.hashes import patient_leaf
from app.store.ledger import submit
from app.store.studies import StudyDeclaration, put_protocol, put_study
from app.store.worklist import dismiss
from app.timeline.receipts import Disposition, ReceiptLine
from tests.store.posts import FULL, begin_study, ck, history, now, post, put, timeline
from tests.tables import with_tables

TAMPERINGS = 300
TABLES = [
    "studies", "study_facts", "protocols", "revisions", "leaves", "patients", "erasures", "patient_attributes",
    "lab_results", "assessments", "infusions", "medications", "adverse_events", "set_aside",
]  # fmt: skip
ROW_KEYS = {("study_facts", "key"), ("protocols", "key")} | {(table, "ordinal") for table in TABLES}
"""Columns that only number rows and have no other meaning."""
NOT_HASHED = {"notes", "draw", "mark"}
"""Columns of facts that follow from the facts, or say something about them to their sender."""


def fill(database, study):
    """A study to which everything has happened that can happen to a study."""
    post(database, study, FULL)
    post(database, study, timeline("P1", ck(value=1, version=1), ck("k2")), timeline("P2", ck(lab="B")))
    post(database, study, timeline("P1", ck(value=3, version=3)))
    post(database, study, timeline("P1", ck(value=2, version=2)))
    post(database, study, timeline("P1", ck("k2", value=None, status="cancelled")))
    put(database, study, timeline("P2"), "*")
    put(database, study, timeline("P2", ck(lab="B")), "*")
    with database.writing() as connection:
        put_protocol(connection, study, RELATIVE_20, client="statistician", received_at=now())
        definition = StudyDeclaration("Renamed", SEED_2008, "Asia/Tokyo", test=True)
        put_study(connection, study, definition, client=None, received_at=now())
    for patient in ("P1", "P2", "P3"):
        lines = [ReceiptLine(f"/labs/{i}", Disposition.SET_ASIDE, FaultCode.BAD_NUMBER) for i in range(2)]
        unreadable = replace(history(timeline(patient, ck("k1"))), aside=tuple(lines))
        with database.writing() as connection:
            submit(connection, study, [unreadable], format="native", client=None, received_at=now())
        with database.writing() as connection:
            dismiss(connection, study, 1, "other", "x", client=None, received_at=now())
    for gone in ("P3", "P4"):
        post(database, study, timeline(gone, ck()))
        with database.writing() as connection:
            erase(connection, study, gone, client=None, received_at=now())
    put(database, study, timeline("P3", ck()), readmit=True)


def checked(database, study):
    with database.reading() as connection:
        return verify(connection, study)


def test_an_honest_ledger_has_no_faults_on_either_engine(database, study):
    fill(database, study)
    verification = checked(database, study)
    assert verification.faults == ()
    assert (verification.revisions, verification.erased_leaves) == (18, 2)
    assert len(bytes.fromhex(verification.head)) == 32
    with pytest.raises(NotFound):
        checked(database, "nowhere")


def tamper(file, chance):
    """Change one thing in the file. What was changed, or `None` if nothing was."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA ignore_check_constraints=ON")
        table = chance.choice(TABLES)
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        row = dict(zip(names, chance.choice(rows), strict=True))
        where = " AND ".join(f'"{key}" = ?' for key in keys)
        at = [row[key] for key in keys]
        if chance.random() < 0.2:
            connection.execute(f"DELETE FROM {table} WHERE {where}", at)
            return f"deleted from {table}"
        column = chance.choice([name for name in names if (table, name) not in ROW_KEYS and name not in NOT_HASHED])
        if chance.random() < 0.3:
            new = dict(zip(names, chance.choice(rows), strict=True))[column]
        else:
            new = altered(row[column], chance)
        if new == row[column]:
            return None
        try:
            connection.execute(f'UPDATE {table} SET "{column}" = ? WHERE {where}', [new, *at])
        except sqlite3.IntegrityError:  # a key or a NOT NULL stood in the way
            return None
        return f"{table}.{column} of {at}: {row[column]!r} became {new!r}"


def altered(value, chance):
    if isinstance(value, bytes):
        place = chance.randrange(len(value))
        return value[:place] + bytes([value[place] ^ (1 << chance.randrange(8))]) + value[place + 1 :]
    if isinstance(value, str):
        return chance.choice([value + "x", value[:-1], value.swapcase(), "", None])
    if isinstance(value, float):
        return chance.choice([value + 1, value * (1 + 2**-52), None])
    if isinstance(value, int):
        return chance.choice([value + 1, value - 1, None])
    return chance.choice([1, 0, "x", 1.5])


@pytest.mark.slow
def test_hundreds_of_tamperings_are_all_noticed(tmp_path):
    original = tmp_path / "original.db"
    with_tables(f"sqlite:///{original}")
    database = Database(f"sqlite:///{original}")
    study = begin_study(database, "trial")
    fill(database, study)
    assert checked(database, study).faults == ()
    assert database.scrub()  # so that the file alone is all there is
    database.dispose()

    chance = random.Random(20080118)
    done, unnoticed, where = 0, [], set()
    clean = original.read_bytes()
    file = tmp_path / "tampered.db"
    while done < TAMPERINGS:
        for leftover in tmp_path.glob("tampered.db*"):
            leftover.unlink(missing_ok=True)
        file.write_bytes(clean)
        change = tamper(file, chance)
        if change is None:
            continue
        done += 1
        where.add(change.split(" of ")[0])
        tampered = Database(f"sqlite:///{file}")
        try:
            if checked(tampered, study).faults == ():
                unnoticed.append(change)
        except NotFound:  # the study itself is gone
            assert change.startswith(("studies.id", "deleted from studies"))
        finally:
            tampered.dispose()
    assert unnoticed == []
    assert len(where) > 100


def test_a_cut_tail_is_seen_by_comparing_the_head(tmp_path):
    file = tmp_path / "ledger.db"
    with_tables(f"sqlite:///{file}")
    database = Database(f"sqlite:///{file}")
    study = begin_study(database, "trial")
    post(database, study, timeline("P1", ck()))
    shorter = checked(database, study).head
    post(database, study, timeline("P2", ck()))
    assert checked(database, study).head != shorter
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM lab_results WHERE added = 2")
        connection.execute("DELETE FROM leaves WHERE number = 2")
        connection.execute("DELETE FROM patients WHERE first_revision = 2")
        connection.execute("DELETE FROM revisions WHERE number = 2")
    connection.close()
    cut = checked(database, study)
    assert (cut.faults, cut.head) == ((), shorter)
    database.dispose()


@pytest.mark.parametrize("together", [1, 3, 7])
def test_a_leaf_is_the_same_however_many_facts_are_written_at_once(together, monkeypatch):
    facts = [ck(f"k{n}", time=f"2005-03-{n:02}", value=n, lab="A" if n % 2 else None) for n in range(1, 20)]
    labs = [
        Assertion(fact, 2, 2 if n % 5 == 0 else None) for n, fact in enumerate(history(timeline("P1", *facts)).labs)
    ]
    changes = {"labs": Changes(labs[3:], labs[:3])}
    whole = patient_leaf(b"salt", 2, "P1", 1, changes)
    monkeypatch.setattr(hashes, "_PIECE", together)
    assert patient_leaf(b"salt", 2, "P1", 1, changes) == whole
