"""Single facts by the identifiers that FHIR knows them by: how each stands, and all that was ever asserted of it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, exists, or_, select

from app.errors import Erased
from app.store.fact_tables import FACT_TABLES
from app.store.hashes import tombstone
from app.store.merge import Assertion
from app.store.statements import Statement
from app.store.studies import study_key
from app.store.tables import FACTS, erasures, patient_attributes, patients, revisions, studies
from app.timeline.facts import AttributeFact, attribute
from app.timeline.resource import KINDS_OF, Found, ResourceType, digest_of, logical_id, read_logical_id

__all__ = ["Found", "Identities", "find", "find_fact", "find_patient", "history", "locate", "logical_id", "patient_key"]

_PATIENT = [patients.c.id, patients.c.key, patients.c.first_revision]
_BY_KEY = Statement(
    select(*_PATIENT).where(patients.c.study == bindparam("study"), patients.c.key == bindparam("patient")),
    "study",
    "patient",
)
_BY_ID = Statement(
    select(*_PATIENT).where(patients.c.study == bindparam("study"), patients.c.id == bindparam("patient")),
    "study",
    "patient",
)
_SECRET = Statement(select(studies.c.secret).where(studies.c.key == bindparam("study")), "study")
_IS_ERASED = Statement(
    select(
        exists().where(
            erasures.c.study == bindparam("study"),
            or_(
                erasures.c.patient_key == bindparam("patient"),
                (erasures.c.tombstone == bindparam("stone")) & erasures.c.readmitted_revision.is_(None),
            ),
        )
    ),
    "study",
    "patient",
    "stone",
)
_RECEIVED = Statement(
    select(revisions.c.received_at).where(
        revisions.c.study == bindparam("study"), revisions.c.number == bindparam("number")
    ),
    "study",
    "number",
)
_IDENTITIES = {
    kind: Statement(select(table.c.identity).where(table.c.patient_key == bindparam("patient")).distinct(), "patient")
    for kind, (table, _) in FACTS.items()
}
_ATTRIBUTES = Statement(
    select(
        patient_attributes.c.identity,
        patient_attributes.c.value,
        patient_attributes.c.added,
        patient_attributes.c.removed,
    )
    .where(patient_attributes.c.patient_key == bindparam("patient"))
    .order_by(patient_attributes.c.identity, patient_attributes.c.added),
    "patient",
)


class Identities:
    """What facts are kept by, found by the digests that the identifiers of resources have of it.

    All facts of a patient are read at once and remembered: to look up many resources of one patient costs what one
    does. It is used within one transaction, and does not see what that stores.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._by_digest: dict[tuple[int, str], dict[str, str]] = {}

    def find(self, patient_key: int, kind: str, digest: str) -> str | None:
        """What the fact of this patient and kind is kept by that has this digest."""
        known = self._by_digest.get((patient_key, kind))
        if known is None:
            rows = _IDENTITIES[kind].rows(self._connection, patient_key)
            known = self._by_digest[patient_key, kind] = {digest_of(kind, identity): identity for (identity,) in rows}
        return known.get(digest)


def find(
    connection: Connection,
    study_id: str,
    resource: ResourceType,
    logical_id: str,
    identities: Identities | None = None,
) -> Found | None:
    """A resource as it stands by its identifier; `None` where the study has none of that identifier.

    Raises `Erased` for the facts of a person who has been erased. Who looks up many gives `identities`.
    """
    versions = history(connection, study_id, resource, logical_id, identities)
    return _standing(versions)


def find_fact(connection: Connection, study_id: str, patient_key: int, kind: str, identity: str) -> Found | None:
    """A fact as it stands by what it is kept by (`kind` as in `facts.KINDS`)."""
    study = study_key(connection, study_id)
    patient = _BY_KEY.row(connection, study, patient_key)
    return None if patient is None else _standing(_versions(connection, study, patient[:2], kind, identity))


def find_patient(connection: Connection, study_id: str, patient: str) -> Found | None:
    """A patient by the subject identifier."""
    return find(connection, study_id, "Patient", patient)


def history(
    connection: Connection,
    study_id: str,
    resource: ResourceType,
    logical_id: str,
    identities: Identities | None = None,
) -> list[Found]:
    """Every version of a resource, newest first; empty where the study has none of that identifier.

    Raises `Erased` for a person who has been erased.
    """
    study = study_key(connection, study_id)
    if resource == "Patient":
        patient = _BY_ID.row(connection, study, logical_id)
        if patient is not None:
            return _patient_versions(connection, study, *patient)
        _refuse_erased(connection, study, stone_of=logical_id)
        return []
    found = locate(connection, study_id, resource, logical_id, identities)
    if found is None:
        return []
    kind, who, key, identity = found
    return _versions(connection, study, (who, key), kind, identity)


def locate(
    connection: Connection,
    study_id: str,
    resource: ResourceType,
    logical_id: str,
    identities: Identities | None = None,
) -> tuple[str, str, int, str] | None:
    """The kind of a fact, the patient and their key, and what the fact is kept by, from its identifier.

    Raises `Erased` for a person who has been erased.
    """
    study = study_key(connection, study_id)
    name = read_logical_id(logical_id)
    if name is None:
        return None
    patient = _BY_KEY.row(connection, study, name.patient_key)
    if patient is None:
        _refuse_erased(connection, study, key=name.patient_key)
        return None
    known = identities or Identities(connection)
    for kind in KINDS_OF[resource]:
        identity = known.find(name.patient_key, kind, name.digest)
        if identity is not None:
            return kind, patient[0], name.patient_key, identity
    return None


def patient_key(connection: Connection, study: int, patient: str) -> int | None:
    """The key of a patient, if the study (by its key) has one of this identifier."""
    found = _BY_ID.row(connection, study, patient)
    return None if found is None else int(found[1])


def _standing(versions: Sequence[Found]) -> Found | None:
    """The version that stands: the newest of those that were not late."""
    return next((version for version in versions if not version.late), None)


def _versions(connection: Connection, study: int, patient: Sequence[Any], kind: str, identity: str) -> list[Found]:
    """Every assertion of a fact and every time that it was left out, newest first; a patient is identifier and key."""
    who, key = patient
    make: Any = FACTS[kind][1]
    shelf = FACT_TABLES[kind]
    stored = sorted(shelf.known(connection, key, [identity]), key=lambda one: (one.added, one.ordinal))
    received = _received(connection, study, {at for one in stored for at in (one.added, one.removed) if at is not None})
    versions = []
    for one in stored:
        fact = make(*shelf.plain(one.fact))
        late = one.removed == one.added
        versions.append(Found(who, key, kind, fact, one.added, received[one.added], ordinal=one.ordinal, late=late))
        if one.removed is not None and _left_out(one, stored):
            versions.append(Found(who, key, kind, fact, one.removed, received[one.removed], removed=True))
    return sorted(versions, key=lambda version: (version.added, version.ordinal), reverse=True)


def _left_out(one: Assertion, stored: Sequence[Assertion]) -> bool:
    """Whether an assertion was closed without another that took its place."""
    return one.removed != one.added and all(
        other.added != one.removed or other.removed == other.added for other in stored
    )


def _patient_versions(connection: Connection, study: int, who: str, key: int, first: int) -> list[Found]:
    rows = _ATTRIBUTES.rows(connection, key)
    changes = {first} | {at for _, _, *span in rows for at in span if at is not None}
    received = _received(connection, study, changes)
    return [
        Found(who, key, "patient", None, at, received[at], attributes=_attributes_at(rows, at))
        for at in sorted(changes, reverse=True)
    ]


def _attributes_at(rows: Sequence[Any], revision: int) -> tuple[AttributeFact, ...]:
    return tuple(
        attribute(name, value)
        for name, value, added, removed in rows
        if added <= revision and (removed is None or removed > revision)
    )


def _received(connection: Connection, study: int, numbers: set[int]) -> dict[int, int]:
    """When each of these revisions was received."""
    return {number: (_RECEIVED.row(connection, study, number) or (0,))[0] for number in numbers}


def _refuse_erased(connection: Connection, study: int, *, key: int = -1, stone_of: str = "") -> None:
    secret = bytes((_SECRET.row(connection, study) or (b"",))[0])
    stone = tombstone(secret, stone_of)
    if (_IS_ERASED.row(connection, study, key, stone) or (False,))[0]:
        raise Erased
