"""The erasure of a person (GDPR article 17), and the readmission of an erased person.

Deleted: every fact, the content of the worklist, the salt, the identifiers, and the study's kept answers. Kept: the
leaves of the hash chain, which show nothing without the salt, and a tombstone, which recognises the identifier if it
comes again. Revisions that held the person cannot be read any more. The revisions before and after can.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select

from app.errors import Conflict, Erased, NotFound, PreconditionFailed
from app.store.assertions import Counts
from app.store.engine import origin_of
from app.store.fact_tables import FACT_TABLES, shown
from app.store.hashes import name_tombstone, tombstone
from app.store.kept_answers import forget_answers
from app.store.ledger_keys import keys_of
from app.store.queries import Insertion, Query
from app.store.revision_builder import RevisionBuilder
from app.store.seals import change, row_of, rows_of_patient
from app.store.tables import client_ids, erased_names, erasures, patient_attributes, patients, studies
from app.store.timelines import check_etag
from app.store.worklist import erase_items, erased_item_entry, items_of
from app.timeline.merged_records import MERGED_INTO

_NO_PATIENT = 0
"""Instead of the key of a patient, if the study had only items of the worklist of a person."""
_INSERT = Insertion(erasures)
_DELETE_PATIENT = Query(patients.delete().where(patients.c.key == bindparam("patient")), "patient")
_DELETE_CLIENT_IDS = Query(client_ids.delete().where(client_ids.c.patient_key == bindparam("patient")), "patient")
_PATIENT_CLIENT_IDS = Query(
    select(*[each for each in client_ids.c if each.name != "study"]).where(
        client_ids.c.patient_key == bindparam("patient")
    ),
    "patient",
)
_ERASED_NAMES = Query(
    select(erased_names.c.name, erased_names.c.person).where(
        erased_names.c.study == bindparam("study"), erased_names.c.person == bindparam("stone")
    ),
    "study",
    "stone",
)
_ERASED_NAME = Query(
    select(erased_names.c.name, erased_names.c.person).where(
        erased_names.c.study == bindparam("study"), erased_names.c.name == bindparam("stone")
    ),
    "study",
    "stone",
)
_INSERT_ERASED_NAMES = Insertion(erased_names)
_DELETE_ERASED_NAME = Query(
    erased_names.delete().where(erased_names.c.study == bindparam("study"), erased_names.c.name == bindparam("stone")),
    "study",
    "stone",
)
_DELETE_ERASED_NAMES = Query(
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
_STUDY = Query(select(studies.c.key, studies.c.locked_secret).where(studies.c.id == bindparam("study")), "study")
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
    """A person was erased: revisions from `first_revision` to `revision` - 1 cannot be read any more.

    `facts` is the number of statements that were deleted, past versions included, `set_aside` that of the items of the
    worklist that were emptied.
    """

    patient: str
    revision: int
    first_revision: int
    facts: int
    set_aside: int


def erase(
    connection: Connection,
    study_id: str,
    patient: str,
    *,
    client: str | None,
    received_at: int,
    if_match: str | None = None,
    elsewhere: Callable[[bytes], bool] = lambda stone: False,
) -> Erasure:
    """Delete all data of a person, as one revision. Call `Database.scrub` after the transaction.

    `elsewhere` says whether there is something outside the database of the person whose tombstone it gets: then the
    person is erased, too, although the study has nothing.

    Raises `NotFound`, `Erased`, `PreconditionFailed`, and `Conflict` if another record is merged into this one: data of
    the same person would remain. A merge that was undone belongs to the other record. It stays there, with the
    identifier of this person.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    builder.load_patients([patient])
    if builder.is_erased(patient):
        raise Erased
    person = builder.people.get(patient)
    listed = items_of(connection, builder.key, patient)
    stone = tombstone(builder.secret, patient)
    if person is None and not listed and not elsewhere(stone):
        raise NotFound("The study has no patient of this name.")
    forget_answers(connection, builder.key)
    if person is None:
        if if_match is not None:
            raise PreconditionFailed("There is no timeline, so that If-Match cannot match.")
        return _erase_items_only(builder, patient, stone, listed, client)
    if if_match is not None:
        check_etag(connection, study_id, patient, if_match)
    if (origin := origin_of(connection)) is not None:
        origin.bring_merged(connection, patient)
    if _IS_MERGED_INTO.rows(connection, builder.key, person.key, json.dumps(patient))[0][0]:
        raise Conflict(
            "Another record is merged into this one. If both are of one person, erase the other record first; if not, "
            "undo the merge."
        )
    first = min([person.first_revision, *[added for _, added in listed]])
    entries = [erased_entry(stone, person.key, first), *[erased_item_entry(item) for item, _ in listed]]
    number = builder.append_revision([], Counts(), format="erasure", client=client, entries=entries, erased=1)
    builder.write()
    change(connection, builder.key, [], rows_of_patient(connection, person.key))
    facts = sum(table.delete.run(connection, person.key) for table in FACT_TABLES.values())
    _keep_tombstones(builder, person.key, stone)
    _DELETE_CLIENT_IDS.run(connection, person.key)
    _DELETE_PATIENT.run(connection, person.key)
    erase_items(connection, builder.key, patient, number)
    _INSERT.run(connection, [(builder.key, number, first, None, stone, person.key)])
    return Erasure(patient, number, first, facts, len(listed))


def tombstones(connection: Connection, study_id: str, patients_of: Iterable[str]) -> tuple[dict[str, bytes], bool]:
    """The hash by which each of these persons would be recognised after an erasure, and whether one of them is erased.

    Raises `NotFound` for an unknown study.
    """
    found = _STUDY.row(connection, study_id)
    if found is None:
        raise NotFound("There is no study of this name.")
    secret = keys_of(connection).unlock(found[1])
    stones = {patient: tombstone(secret, patient) for patient in patients_of}
    erased = any(_OPEN_ERASURE.row(connection, found[0], stone) is not None for stone in stones.values())
    return stones, erased


def _erase_items_only(
    builder: RevisionBuilder, patient: str, stone: bytes, listed: Sequence[tuple[int, int]], client: str | None
) -> Erasure:
    """Delete what was set aside of a person of whom the study has nothing else.

    An erasure closes the revisions that had the person. If none had, an empty one before it is closed, so that the
    revisions of others stay readable.
    """
    if not listed:
        builder.append_revision([], Counts(), format="erasure", client=client)
    first = min((added for _, added in listed), default=builder.number - 1)
    entries = [erased_entry(stone, _NO_PATIENT, first), *[erased_item_entry(item) for item, _ in listed]]
    number = builder.append_revision([], Counts(), format="erasure", client=client, entries=entries)
    builder.write()
    erase_items(builder.connection, builder.key, patient, number)
    _INSERT.run(builder.connection, [(builder.key, number, first, None, stone, _NO_PATIENT)])
    return Erasure(patient, number, first, 0, len(listed))


def _keep_tombstones(builder: RevisionBuilder, patient_key: int, person: bytes) -> None:
    """Keep a tombstone of each client id of the patient, so that none of them can store the person again."""
    connection, study = builder.connection, builder.key
    known = _PATIENT_CLIENT_IDS.rows(connection, patient_key)
    names = [name_tombstone(builder.secret, name) for resource, name, *_ in known if resource == "Patient"]
    gone = [row_of(client_ids.name, *row) for row in known]
    for name in names:  # an erased person may have had the same id before
        gone += [row_of(erased_names.name, *row) for row in _ERASED_NAME.rows(connection, study, name)]
        _DELETE_ERASED_NAME.run(connection, study, name)
    _INSERT_ERASED_NAMES.run(connection, [(study, name, person) for name in names])
    change(connection, study, [row_of(erased_names.name, name, person) for name in names], gone)


def readmission(builder: RevisionBuilder, patient: str) -> list[list[Any]]:
    """Mark that the next revision stores an erased person again. The entries for the leaf of the study."""
    stone = tombstone(builder.secret, patient)
    found = _OPEN_ERASURE.row(builder.connection, builder.key, stone)
    _READMIT.run(builder.connection, builder.number, builder.key, stone)
    gone = _ERASED_NAMES.rows(builder.connection, builder.key, stone)
    change(builder.connection, builder.key, [], [row_of(erased_names.name, *row) for row in gone])
    _DELETE_ERASED_NAMES.run(builder.connection, builder.key, stone)
    builder.readmit(patient)
    return [readmitted_entry(stone, row) for row in found or ()]


def erased_entry(stone: bytes, key: int, first_revision: int) -> list[Any]:
    """The entry for an erasure in the leaf of the study."""
    return ["erased", stone.hex(), key, first_revision]


def readmitted_entry(stone: bytes, erased_revision: int) -> list[Any]:
    """The entry for a readmission in the leaf of the study."""
    return ["readmitted", stone.hex(), erased_revision]
