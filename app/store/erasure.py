"""Erasing a person, and letting them in again (GDPR article 17).

What goes: every fact, the salt and the identifier. What stays: the leaves of the hash chain, which without the salt
say nothing, and a tombstone, by which the identifier is recognised when it comes again. The revisions that held the
person can not be answered any more; those before and after can.
"""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select

from app.errors import Conflict, Erased, NotFound
from app.store.fact_tables import FACT_TABLES, shown
from app.store.hashes import name_tombstone, tombstone
from app.store.queries import Insertion, Query
from app.store.revision_builder import RevisionBuilder
from app.store.supersession import Counts
from app.store.tables import aliases, erased_names, erasures, patient_attributes, patients
from app.store.timelines import check_etag
from app.timeline.merged_records import MERGED_INTO

_INSERT = Insertion(erasures)
_DELETE_PATIENT = Query(patients.delete().where(patients.c.key == bindparam("patient")), "patient")
_DELETE_ALIASES = Query(aliases.delete().where(aliases.c.patient_key == bindparam("patient")), "patient")
_NAMES = Query(
    select(aliases.c.alias).where(aliases.c.patient_key == bindparam("patient"), aliases.c.resource == "Patient"),
    "patient",
)
_INSERT_NAMES = Insertion(erased_names)
_FORGET_NAME = Query(
    erased_names.delete().where(erased_names.c.study == bindparam("study"), erased_names.c.name == bindparam("stone")),
    "study",
    "stone",
)
_FORGET_NAMES = Query(
    erased_names.delete().where(
        erased_names.c.study == bindparam("study"), erased_names.c.person == bindparam("stone")
    ),
    "study",
    "stone",
)
_READMIT = Query(
    erasures.update()
    .where(
        erasures.c.study == bindparam("of_study"),
        erasures.c.tombstone == bindparam("stone"),
        erasures.c.readmitted_revision.is_(None),
    )
    .values(readmitted_revision=bindparam("number")),
    "number",
    "of_study",
    "stone",
)
_OPEN_ERASURE = Query(
    select(erasures.c.erased_revision).where(
        erasures.c.study == bindparam("study"),
        erasures.c.tombstone == bindparam("stone"),
        erasures.c.readmitted_revision.is_(None),
    ),
    "study",
    "stone",
)
_IS_MERGED_INTO = Query(
    select(
        exists().where(
            patients.c.study == bindparam("study"),
            patients.c.key != bindparam("itself"),
            patient_attributes.c.patient_key == patients.c.key,
            patient_attributes.c.identity == MERGED_INTO,
            patient_attributes.c.value == bindparam("survivor"),
            patient_attributes.c.removed.is_(None),
            shown(patient_attributes),
        )
    ),
    "study",
    "itself",
    "survivor",
)


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person was erased: revisions from `first_revision` up to, not including, `revision` cannot be answered any
    more.
    """

    patient: str
    revision: int
    first_revision: int


def erase(
    connection: Connection,
    study_id: str,
    patient: str,
    *,
    client: str | None,
    received_at: int,
    if_match: str | None = None,
) -> Erasure:
    """Delete all that is known of a person, as one revision. Call `Database.scrub` after the transaction.

    Raises `Conflict` where another record is merged into this one: what is left would be of the same person. A merge
    that was undone is a part of the other record, and stays there with the identifier that it named.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    builder.load_patients([patient])
    if builder.is_erased(patient):
        raise Erased
    person = builder.people.get(patient)
    if person is None:
        raise NotFound("The study has no patient of this name.")
    if if_match is not None:
        check_etag(connection, study_id, patient, if_match)
    if _IS_MERGED_INTO.rows(connection, builder.key, person.key, json.dumps(patient))[0][0]:
        raise Conflict(
            "Another record is merged into this one. Erase that record first if it is of the same person, or undo the "
            "merge."
        )
    stone = tombstone(builder.secret, patient)
    entry = erased_entry(stone, person.key, person.first_revision)
    number = builder.append_revision([], Counts(), format="erasure", client=client, entries=[entry], erased=1)
    builder.write()
    for shelf in FACT_TABLES.values():
        shelf.delete.run(connection, person.key)
    _bury_names(builder, person.key, stone)
    _DELETE_ALIASES.run(connection, person.key)
    _DELETE_PATIENT.run(connection, person.key)
    _INSERT.run(connection, [(builder.key, number, person.first_revision, None, stone, person.key)])
    return Erasure(patient, number, person.first_revision)


def _bury_names(builder: RevisionBuilder, patient_key: int, person: bytes) -> None:
    """Remember the names that clients gave the patient, so that none of them makes the person anew."""
    names = [name_tombstone(builder.secret, name) for (name,) in _NAMES.rows(builder.connection, patient_key)]
    for name in names:
        _FORGET_NAME.run(builder.connection, builder.key, name)  # of whoever had the name before, and was erased too
    _INSERT_NAMES.run(builder.connection, [(builder.key, name, person) for name in names])


def readmission(builder: RevisionBuilder, patient: str) -> list[list[Any]]:
    """Mark that the revision in the making lets an erased person in again; what its leaf says of that."""
    stone = tombstone(builder.secret, patient)
    found = _OPEN_ERASURE.row(builder.connection, builder.key, stone)
    _READMIT.run(builder.connection, builder.number, builder.key, stone)
    _FORGET_NAMES.run(builder.connection, builder.key, stone)
    builder.readmit(patient)
    return [readmitted_entry(stone, row) for row in found or ()]


def erased_entry(stone: bytes, key: int, first_revision: int) -> list[Any]:
    """What the leaf of the study says of an erasure."""
    return ["erased", stone.hex(), key, first_revision]


def readmitted_entry(stone: bytes, erased_revision: int) -> list[Any]:
    """What the leaf of the study says of a readmission."""
    return ["readmitted", stone.hex(), erased_revision]
