"""Rehearsals: a copy of a study in which a client can try what it would store.

The copy is an SQLite file in a private folder, which is deleted at the end. It begins with what the study declares and
with its latest revision. A patient is copied when a submission first names the patient, as the patient stood at that
revision. The database of the study is only read, in short transactions, so that no other client waits.

A process that is killed cannot delete its folder. It loses its lock on the folder, so the next rehearsal and the next
start delete it.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.sql import ColumnElement

from app.store.engine import Database
from app.store.queries import filled
from app.store.tables import (
    FACTS,
    client_ids,
    erased_names,
    erasures,
    metadata,
    patient_attributes,
    patients,
    protocols,
    pseudonym_keys,
    revisions,
    set_aside,
    studies,
    study_facts,
)
from app.store.timelines import merged_records
from app.timeline.merged_records import MERGED_INTO

_PREFIX = "myoresponse-rehearsed-"
"""Not that of 0.1.0 (`myoresponse-rehearsal-`), whose folders have no lock."""
_FACTS = tuple(table for table, _ in FACTS.values())


@contextmanager
def rehearsal(database: Database, study: str) -> Iterator[Database]:
    """A database with a copy of the study. The copy of an unknown study is empty."""
    remove_leftovers()
    with _private_folder() as folder:
        copy = Database(
            f"sqlite:///{folder / 'copy.db'}",
            origin=CopiedStudy(database, study),
            durable=False,
            keys=database.keys,
        )
        try:
            metadata.create_all(copy.engine)
            with copy.writing() as connection:
                _origin(copy).begin(connection)
            yield copy
        finally:
            copy.dispose()


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder for this process only, which has a lock on it and deletes it at the end."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with _open(folder) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not folder.exists():
                continue  # another process took it for a folder that was left
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _open(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def remove_leftovers() -> int:
    """Delete the folders of rehearsals of this user whose processes were killed; the number of folders."""
    count = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), _open(folder) as descriptor:  # a foreign one, one that is used, or no folder
            if os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                count += 1
    return count


def _origin(copy: Database) -> "CopiedStudy":
    assert isinstance(copy.origin, CopiedStudy)  # noqa: S101 - for the type checker
    return copy.origin


class CopiedStudy:
    """The study that is rehearsed, as it stood when the rehearsal began."""

    def __init__(self, database: Database, study: str) -> None:
        self._database = database
        self._study = study
        self._key = self._head = -1
        self._known: set[Any] = set()

    def begin(self, connection: Connection) -> None:
        """Copy what the study declares, its latest revision, and the marks of erased persons."""
        with self._database.reading() as origin:
            for row in _rows(origin, studies, studies.c.id == self._study):
                connection.execute(studies.insert(), [row])
                self._key = row["key"]
            for table in (study_facts, protocols, pseudonym_keys, erasures, erased_names):
                _copy(origin, connection, table, table.c.study == self._key)
            latest = (
                select(revisions).where(revisions.c.study == self._key).order_by(revisions.c.number.desc()).limit(1)
            )
            for head in origin.execute(latest).mappings():
                connection.execute(revisions.insert(), [dict(head)])
                self._head = head["number"]
            last = select(set_aside.c.number).where(set_aside.c.study == self._key)
            for (number,) in origin.execute(last.order_by(set_aside.c.number.desc()).limit(1)):
                self._bring_items(origin, connection, set_aside.c.number == number)  # new items have later numbers

    def bring_patients(self, connection: Connection, ids: Iterable[str]) -> None:
        """Copy the patients with these identifiers."""
        unknown = [patient for patient in set(ids) if (patient, None) not in self._known]
        self._known |= {(patient, None) for patient in unknown}
        self._bring(connection, patients.c.id, unknown)
        for chunk in filled(unknown):
            with self._database.reading() as origin:
                self._bring_items(origin, connection, set_aside.c.patient.in_(set(chunk)))

    def bring_keys(self, connection: Connection, keys: Iterable[int]) -> None:
        """Copy the patients with these keys."""
        self._bring(connection, patients.c.key, [key for key in set(keys) if key not in self._known])

    def bring_client_ids(self, connection: Connection, names: Iterable[tuple[str, str]]) -> None:
        """Copy these client ids, each a type of resource and an id, with the patients whom they lead to."""
        unknown = sorted({name for name in names if name not in self._known})
        self._known |= set(unknown)
        by_type: dict[str, list[str]] = {}
        for resource, name in unknown:
            by_type.setdefault(resource, []).append(name)
        found: list[dict[str, Any]] = []
        with self._database.reading() as origin:
            for resource, ids in by_type.items():
                for chunk in filled(ids):
                    found += _rows(
                        origin,
                        client_ids,
                        client_ids.c.study == self._key,
                        client_ids.c.resource == resource,
                        client_ids.c.alias.in_(set(chunk)),
                    )
        self.bring_keys(connection, {row["patient_key"] for row in found})
        if found:
            connection.execute(client_ids.insert(), found)

    def bring_person(self, connection: Connection, patient: str) -> None:
        """Copy all records that are read as one person with this record."""
        with self._database.reading() as origin:
            merged, _ = merged_records(origin, self._key, self._head)
        own = [[survivor, *records] for survivor, records in merged.items()]
        self.bring_patients(connection, next((records for records in own if patient in records), []))

    def bring_merged(self, connection: Connection, patient: str) -> None:
        """Copy the patients whose records were ever merged into that of this patient."""
        merged = (
            select(patients.c.key)
            .join_from(patients, patient_attributes, patient_attributes.c.patient_key == patients.c.key)
            .where(
                patients.c.study == self._key,
                patient_attributes.c.identity == MERGED_INTO,
                patient_attributes.c.value == json.dumps(patient),
            )
        )
        with self._database.reading() as origin:
            keys = origin.execute(merged).scalars().all()
        self.bring_keys(connection, keys)

    def bring_item(self, connection: Connection, number: int) -> None:
        """Copy the item of the worklist with this number."""
        with self._database.reading() as origin:
            self._bring_items(origin, connection, set_aside.c.number == number)

    def _bring(self, connection: Connection, column: ColumnElement[Any], values: list[Any]) -> None:
        for chunk in filled(values):
            with self._database.reading() as origin:
                found = _rows(
                    origin,
                    patients,
                    patients.c.study == self._key,
                    patients.c.first_revision <= self._head,
                    column.in_(set(chunk)),
                )
                fresh = {row["key"]: row for row in found if row["key"] not in self._known}
                if fresh:
                    connection.execute(patients.insert(), list(fresh.values()))
                    numbers = self._bring_facts(origin, connection, set(fresh))
                    self._bring_revisions(origin, connection, numbers)
            self._known |= {*fresh, *[(row["id"], None) for row in fresh.values()]}

    def _bring_facts(self, origin: Connection, connection: Connection, keys: set[int]) -> set[int]:
        """Copy the facts of patients as they stood. Returns the numbers of the revisions that they name."""
        numbers: set[int] = set()
        for table in _FACTS:
            rows = _rows(origin, table, table.c.patient_key.in_(keys), table.c.added <= self._head)
            for row in rows:
                if row["removed"] is not None and row["removed"] > self._head:
                    row["removed"] = row["mark"] = None
                numbers |= {row["added"], row["removed"]} - {None}
            if rows:
                connection.execute(table.insert(), rows)
        return numbers

    def _bring_items(self, origin: Connection, connection: Connection, which: ColumnElement[bool]) -> None:
        """Copy items of the worklist as they stood."""
        rows = _rows(origin, set_aside, set_aside.c.study == self._key, set_aside.c.added <= self._head, which)
        fresh = [row for row in rows if ("item", row["number"]) not in self._known]
        self._known |= {("item", row["number"]) for row in fresh}
        for row in fresh:
            if row["removed"] is not None and row["removed"] > self._head:
                row.update(dict.fromkeys(("removed", "ending", "ending_digest", "dismissal", "comment")))
        if fresh:
            connection.execute(set_aside.insert(), fresh)
            self._bring_revisions(origin, connection, {row["added"] for row in fresh})

    def _bring_revisions(self, origin: Connection, connection: Connection, numbers: set[int]) -> None:
        unknown = sorted(
            number for number in numbers if ("revision", number) not in self._known | {("revision", self._head)}
        )
        self._known |= {("revision", number) for number in unknown}
        for chunk in filled(unknown):
            _copy(origin, connection, revisions, revisions.c.study == self._key, revisions.c.number.in_(set(chunk)))


def _rows(origin: Connection, table: Table, *conditions: ColumnElement[bool]) -> list[dict[str, Any]]:
    return [dict(row) for row in origin.execute(select(table).where(*conditions)).mappings()]


def _copy(origin: Connection, connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> None:
    rows = _rows(origin, table, *conditions)
    if rows:
        connection.execute(table.insert(), rows)
