"""Single facts by the identifiers that FHIR knows them by: how each stands, and all that was ever asserted of it."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import and_, bindparam, exists, or_, select

from app.errors import Erased
from app.store.engine import Transaction
from app.store.fact_tables import FACT_TABLES
from app.store.hashes import tombstone
from app.store.queries import Query, filled, listed, listed_names
from app.store.studies import study_key
from app.store.supersession import Assertion
from app.store.tables import FACTS, erasures, patient_attributes, patients, revisions, studies
from app.timeline.facts import AttributeFact, attribute
from app.timeline.resource import (
    KINDS_OF,
    TYPE_OF,
    FactNumber,
    NumberedFact,
    ResourceKey,
    StoredResource,
    SupportedType,
    digest_of,
    logical_id,
    read_logical_id,
)

__all__ = ["Identities", "StoredResource", "history", "locate", "logical_id", "patient_key", "standing"]

_SECRET = Query(select(studies.c.secret).where(studies.c.key == bindparam("study")), "study")
_IS_ERASED = Query(
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

Patient = tuple[str, int, int]
"""A patient's subject identifier, key, and first revision."""


@cache
def _patients_by(column: str, length: int) -> Query:
    clause = select(patients.c.id, patients.c.key, patients.c.first_revision).where(
        patients.c.study == bindparam("study"), patients.c[column].in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


@cache
def _erased_keys(length: int) -> Query:
    clause = select(erasures.c.patient_key).where(
        erasures.c.study == bindparam("study"), erasures.c.patient_key.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


@cache
def _received_at(length: int) -> Query:
    clause = select(revisions.c.number, revisions.c.received_at).where(
        revisions.c.study == bindparam("study"), revisions.c.number.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


@cache
def _identities(kind: str, length: int) -> Query:
    table, _ = FACTS[kind]
    columns = table.c.patient_key, table.c.identity
    return Query(select(*columns).where(table.c.patient_key.in_(listed(length))).distinct(), *listed_names(length))


@cache
def _attributes(length: int) -> Query:
    c = patient_attributes.c
    clause = (
        select(c.patient_key, c.identity, c.value, c.added, c.removed)
        .where(c.patient_key.in_(listed(length)))
        .order_by(c.identity, c.added)
    )
    return Query(clause, *listed_names(length))


@cache
def _numbered(kind: str, length: int) -> Query:
    """Facts of numbers and patients. An identity begins with the number, so that each is a range of the primary key."""
    table, _ = FACTS[kind]
    ranges = [
        and_(
            table.c.patient_key == bindparam(f"patient_{i}"),
            table.c.identity >= bindparam(f"first_{i}"),
            table.c.identity < bindparam(f"behind_{i}"),
        )
        for i in range(length)
    ]
    clause = select(table.c.patient_key, table.c.identity, table.c.source).where(or_(*ranges)).distinct()
    return Query(clause, *[f"{name}_{i}" for i in range(length) for name in ("patient", "first", "behind")])


class Identities:
    """What facts are kept by, found by the digests that the identifiers of resources have of it.

    All facts of a patient are read at once and remembered: to look up many resources of one patient costs what one
    does. It is used within one transaction, and does not see what that stores.
    """

    def __init__(self, connection: Transaction) -> None:
        self._connection = connection
        self._by_digest: dict[tuple[int, str], dict[str, str]] = {}

    def find(self, patient_key: int, kind: str, digest: str) -> str | None:
        """What the fact of this patient and kind is kept by that has this digest."""
        self.load(kind, [patient_key])
        return self._by_digest[patient_key, kind].get(digest)

    def load(self, kind: str, patient_keys: Iterable[int]) -> None:
        """Read the facts of one kind of these patients, if that has not been done."""
        unread = [key for key in patient_keys if (key, kind) not in self._by_digest]
        self._by_digest |= {(key, kind): {} for key in unread}
        for chunk in filled(unread):
            for key, identity in _identities(kind, len(chunk)).rows(self._connection, *chunk):
                self._by_digest[key, kind][digest_of(kind, identity)] = identity


def standing(
    connection: Transaction, study: int, patients: Iterable[Patient], wanted: Iterable[ResourceKey]
) -> dict[ResourceKey, StoredResource]:
    """Resources as they stand, of these patients of a study (by its key); those that it does not have are left out."""
    keys = set(wanted)
    if not keys:
        return {}
    people = {patient[0]: patient for patient in patients}
    facts = [key for key in keys if key.kind is not None]
    others = [key for key in keys if key.kind is None]
    versions = _versions_of_facts(connection, study, people, facts) if facts else {}
    versions |= _versions_of_patients(connection, study, people, others) if others else {}
    return {key: found for key, known in versions.items() if (found := _newest(known)) is not None}


def find_named(
    connection: Transaction, study: int, names: Iterable[tuple[str, str]], identities: Identities
) -> tuple[dict[tuple[str, str], ResourceKey], set[str]]:
    """The facts that identifiers of ours name, each with the type of resource before it; and which of the identifiers
    are of persons who have been erased.
    """
    read = {one: name for one in names if (name := read_logical_id(one[1])) is not None}
    if not read:
        return {}, set()
    keys = {name.patient_key for name in read.values()}
    people = {key: patient for patient, key, _ in _find_patients(connection, study, "key", keys)}
    gone = {
        key
        for chunk in filled(keys - people.keys())
        for (key,) in _erased_keys(len(chunk)).rows(connection, study, *chunk)
    }
    by_type: dict[str, set[int]] = {}
    for (resource, _), name in read.items():
        if name.patient_key in people:
            by_type.setdefault(resource, set()).add(name.patient_key)
    for resource, of_type in by_type.items():
        for kind in KINDS_OF[resource]:
            identities.load(kind, of_type)
    found = {}
    for one, (key, digest) in read.items():
        for kind in KINDS_OF[one[0]] if key in people else ():
            identity = identities.find(key, kind, digest)
            if identity is not None and one not in found:
                found[one] = ResourceKey(people[key], kind, identity)
    return found, {text for (_, text), name in read.items() if name.patient_key in gone}


def numbered(
    connection: Transaction, patients: Iterable[Patient], wanted: Iterable[FactNumber]
) -> dict[FactNumber, list[NumberedFact]]:
    """The facts of these patients that have these numbers, each with its source; in the order of their identities."""
    found: dict[FactNumber, list[NumberedFact]] = {one: [] for one in wanted}
    if not found:
        return {}
    people = {who: key for who, key, _ in patients}
    names = {key: who for who, key in people.items()}
    asked: dict[str, list[tuple[int, str, str]]] = {}
    for who, resource, number in found:
        for kind in KINDS_OF[resource] if who in people else ():
            asked.setdefault(kind, []).append((people[who], f"#{number}|", f"#{number}}}"))
    for kind, ranges in asked.items():
        rows = [
            row
            for chunk in filled(ranges)
            for row in _numbered(kind, len(chunk)).rows(connection, *chain.from_iterable(chunk))
        ]
        for key, identity, source in sorted(rows, key=lambda row: row[1]):
            one = (names[key], TYPE_OF[kind], identity[1:].partition("|")[0])
            found[one].append((ResourceKey(names[key], kind, identity), source))
    return found


def history(
    connection: Transaction,
    study_id: str,
    resource: SupportedType,
    logical_id: str,
    identities: Identities | None = None,
) -> list[StoredResource]:
    """Every version of a resource, newest first; empty where the study has none of that identifier.

    Raises `Erased` for a person who has been erased.
    """
    study = study_key(connection, study_id)
    if resource == "Patient":
        people = {one[0]: one for one in _find_patients(connection, study, "id", [logical_id])}
        if not people:
            _refuse_erased(connection, study, stone_of=logical_id)
            return []
        key = ResourceKey(logical_id)
        return _versions_of_patients(connection, study, people, [key])[key]
    found = locate(connection, study_id, resource, logical_id, identities)
    if found is None:
        return []
    kind, who, patient_key, identity = found
    key = ResourceKey(who, kind, identity)
    return _versions_of_facts(connection, study, {who: (who, patient_key, 0)}, [key])[key]


def locate(
    connection: Transaction,
    study_id: str,
    resource: SupportedType,
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
    people = _find_patients(connection, study, "key", [name.patient_key])
    if not people:
        _refuse_erased(connection, study, key=name.patient_key)
        return None
    known = identities or Identities(connection)
    for kind in KINDS_OF[resource]:
        identity = known.find(name.patient_key, kind, name.digest)
        if identity is not None:
            return kind, people[0][0], name.patient_key, identity
    return None


def patient_key(connection: Transaction, study: int, patient: str) -> int | None:
    """The key of a patient, if the study (by its key) has one of this identifier."""
    return next((key for _, key, _ in _find_patients(connection, study, "id", [patient])), None)


def _find_patients(connection: Transaction, study: int, column: str, values: Iterable[Any]) -> list[Patient]:
    return [
        (who, key, first)
        for chunk in filled(values)
        for who, key, first in _patients_by(column, len(chunk)).rows(connection, study, *chunk)
    ]


def _newest(versions: Sequence[StoredResource]) -> StoredResource | None:
    """The version that stands: the newest of those that were not late."""
    return next((version for version in versions if not version.late), None)


def _versions_of_facts(
    connection: Transaction, study: int, people: Mapping[str, Patient], wanted: Sequence[ResourceKey]
) -> dict[ResourceKey, list[StoredResource]]:
    """Every assertion of each fact and every time that it was left out, newest first."""
    stored: dict[ResourceKey, list[Assertion]] = {key: [] for key in wanted}
    asked: dict[str, list[tuple[int, str]]] = {}
    names = {}
    for who, kind, identity in wanted:
        if kind is not None and identity is not None:
            asked.setdefault(kind, []).append((people[who][1], identity))
            names[people[who][1]] = who
    for kind, facts in asked.items():
        for patient_key, assertion in FACT_TABLES[kind].known_of_patients(connection, facts):
            stored[ResourceKey(names[patient_key], kind, assertion.fact[0])].append(assertion)
    changes = {at for known in stored.values() for one in known for at in (one.added, one.removed) if at is not None}
    received = _received(connection, study, changes)
    return {key: _versions(people[key.patient][1], key, known, received) for key, known in stored.items()}


def _versions(
    patient_key: int, key: ResourceKey, stored: list[Assertion], received: Mapping[int, int]
) -> list[StoredResource]:
    who, kind = key.patient, key.kind or ""
    make: Any = FACTS[kind][1]
    stored.sort(key=lambda one: (one.added, one.ordinal))
    versions = []
    for one in stored:
        fact = make(*FACT_TABLES[kind].plain(one.fact))
        late = one.removed == one.added
        versions.append(
            StoredResource(who, patient_key, kind, fact, one.added, received[one.added], ordinal=one.ordinal, late=late)
        )
        if one.removed is not None and _left_out(one, stored):
            versions.append(
                StoredResource(who, patient_key, kind, fact, one.removed, received[one.removed], removed=True)
            )
    return sorted(versions, key=lambda version: (version.added, version.ordinal), reverse=True)


def _left_out(one: Assertion, stored: Sequence[Assertion]) -> bool:
    """Whether an assertion was closed without another that took its place."""
    return one.removed != one.added and all(
        other.added != one.removed or other.removed == other.added for other in stored
    )


def _versions_of_patients(
    connection: Transaction, study: int, people: Mapping[str, Patient], wanted: Sequence[ResourceKey]
) -> dict[ResourceKey, list[StoredResource]]:
    """Every version of each patient, newest first: one for each revision that changed an attribute."""
    rows: dict[int, list[tuple[Any, ...]]] = {people[key.patient][1]: [] for key in wanted}
    for chunk in filled(rows):
        for patient_key, *row in _attributes(len(chunk)).rows(connection, *chunk):
            rows[patient_key].append(tuple(row))
    changes = {
        patient_key: {first} | {at for _, _, *span in rows[patient_key] for at in span if at is not None}
        for _, patient_key, first in (people[key.patient] for key in wanted)
    }
    received = _received(connection, study, {at for numbers in changes.values() for at in numbers})
    versions = {}
    for key in wanted:
        who, patient_key, _ = people[key.patient]
        versions[key] = [
            StoredResource(
                who, patient_key, "patient", None, at, received[at], attributes=_attributes_at(rows[patient_key], at)
            )
            for at in sorted(changes[patient_key], reverse=True)
        ]
    return versions


def _attributes_at(rows: Sequence[Any], revision: int) -> tuple[AttributeFact, ...]:
    return tuple(
        attribute(name, value)
        for name, value, added, removed in rows
        if added <= revision and (removed is None or removed > revision)
    )


def _received(connection: Transaction, study: int, numbers: Iterable[int]) -> dict[int, int]:
    """When each of these revisions was received."""
    return {
        number: at
        for chunk in filled(numbers)
        for number, at in _received_at(len(chunk)).rows(connection, study, *chunk)
    }


def _refuse_erased(connection: Transaction, study: int, *, key: int = -1, stone_of: str = "") -> None:
    secret = bytes((_SECRET.row(connection, study) or (b"",))[0])
    stone = tombstone(secret, stone_of)
    if (_IS_ERASED.row(connection, study, key, stone) or (False,))[0]:
        raise Erased
