"""The list of erasures outside the database: after a restore it says who must be erased again.

A backup holds everybody who was in the study when it was made. The list is a file beside the heads. Each line is signed
and has a study, a tombstone (`hashes`) and the time of the erasure: nobody can learn a name from it, but with the keys
of the study a person who is in the database can be recognised. Lines are only added: after an erasure, and at the start
those that are missing.
"""

import hmac
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from app.errors import ServiceError
from app.store.engine import Database
from app.store.hashes import canonical, tombstone
from app.store.heads import HeadsFile
from app.store.ledger_keys import keys_of
from app.store.queries import Query
from app.store.tables import erasures, patients, revisions, set_aside, studies

log = logging.getLogger("myoresponse")
_LAST = Query(
    select(studies.c.id, erasures.c.tombstone, func.max(revisions.c.received_at))
    .join_from(erasures, studies, studies.c.key == erasures.c.study)
    .join(revisions, (revisions.c.study == erasures.c.study) & (revisions.c.number == erasures.c.erased_revision))
    .group_by(studies.c.id, erasures.c.tombstone)
)
_STUDY = Query(select(studies.c.key, studies.c.locked_secret).where(studies.c.id == bindparam("study")), "study")
_PATIENTS = Query(
    select(patients.c.id)
    .where(patients.c.study == bindparam("study"))
    .union(
        select(set_aside.c.patient).where(
            set_aside.c.study == bindparam("of_study"), set_aside.c.patient.is_not(None), set_aside.c.erased.is_(None)
        )
    ),
    "study",
    "of_study",
)


class ListedErasure(NamedTuple):
    """The last erasure of a person: the study, the tombstone, and when in microseconds since 1970."""

    study: str
    tombstone: bytes
    at: int


def erasure_list(heads: HeadsFile) -> Path:
    """The file."""
    return heads.path.with_name(f"{heads.path.name}.erasures")


def complete_erasure_list(database: Database) -> None:
    """Add the erasures of the database that the list does not have. If that fails, the next start does it."""
    heads = database.heads
    if heads is None:
        return
    try:
        with database.reading() as connection:
            found = _in_database(connection)
        new = sorted(found - set(_lines(heads, database.keys.heads)))
        if new:
            _append(heads, database.keys.heads, new)
    except (OSError, ServiceError) as error:
        log.warning("event=erasures listed=no error=%s", type(error).__name__)


def erased_since(connection: Connection, heads: HeadsFile) -> list[tuple[str, str]]:
    """The studies and identifiers of the persons in the database who were erased later than it knows, in the order of
    their erasures. Raises `OSError`.
    """
    last: dict[tuple[str, bytes], int] = {}
    for line in _lines(heads, keys_of(connection).heads):
        last[line[:2]] = max(line.at, last.get(line[:2], line.at))
    for known in _in_database(connection):
        if known.at >= last.get(known[:2], known.at + 1):
            del last[known[:2]]
    found = []
    for study in {study for study, _ in last}:
        row = _STUDY.row(connection, study)
        if row is None:
            continue
        secret = keys_of(connection).unlock(row[1])
        for (patient,) in _PATIENTS.rows(connection, row[0], row[0]):
            at = last.get((study, tombstone(secret, patient)))
            if at is not None:
                found.append((at, study, patient))
    return [(study, patient) for _, study, patient in sorted(found)]


def _in_database(connection: Connection) -> set[ListedErasure]:
    return {ListedErasure(study, bytes(stone), at) for study, stone, at in _LAST.rows(connection)}


def _append(heads: HeadsFile, key: bytes, new: list[ListedErasure]) -> None:
    contents = [[heads.database.hex(), each.study, each.tombstone.hex(), each.at] for each in new]
    text = "".join(canonical([*content, _signature(key, content)]) + "\n" for content in contents)
    file = os.open(erasure_list(heads), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        os.write(file, text.encode("ascii"))
        os.fsync(file)
    finally:
        os.close(file)


def _lines(heads: HeadsFile, key: bytes) -> Iterator[ListedErasure]:
    """The lines of this database. One that was cut, or is not signed with the secret file, is left out."""
    try:
        lines = erasure_list(heads).read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            *content, signature = json.loads(line)
            database, study, stone, at = content
            is_signed = hmac.compare_digest(signature, _signature(key, content))
        except (ValueError, TypeError):
            is_signed = False
        if not is_signed:
            log.warning("event=erasures line=unsigned")
        elif database == heads.database.hex():
            yield ListedErasure(study, bytes.fromhex(stone), at)


def _signature(key: bytes, content: list[Any]) -> str:
    return hmac.digest(key, b"erasure" + canonical(content).encode("ascii"), "sha256").hex()
