"""Find facts by their FHIR identifiers: the version that stands, and all versions."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import and_, bindparam, exists, or_, select

from app.errors import Erased
from app.store.assertions import Assertion, RuleMark
from app.store.engine import Transaction, origin_of
from app.store.fact_tables import FACT_TABLES, when
from app.store.hashes import tombstone
from app.store.ledger_keys import keys_of
from app.store.queries import Query, filled, listed, listed_names
from app.store.studies import study_key
from app.store.tables import FACTS, erasures, patient_attributes, patients, revisions, studies
from app.timeline.facts import AttributeFact, FactTime, attribute, fact_time
from app.timeline.resource import (
    KINDS_OF,
    FactNumber,
    NumberedFact,
    ResourceKey,
    StoredResource,
    SupportedType,
    digest_of,
    logical_id,
    read_logical_id,
    type_of,
)

__all__ = ["Identities", "StoredResource", "history", "locate", "logical_id", "patient_key", "standing"]

_SECRET = Query(select(studies.c.locked_secret).where(studies.c.key == bindparam("study")), "study")
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
def _patients_query(column: str, length: int) -> Query:
    clause = select(patients.c.id, patients.c.key, patients.c.first_revision).where(
        patients.c.study == bindparam("study"), patients.c[column].in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


@cache
def _erased_keys_query(length: int) -> Query:
    clause = select(erasures.c.patient_key).where(
        erasures.c.study == bindparam("study"), erasures.c.patient_key.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


@cache
def _received_query(length: int) -> Query:
    clause = select(revisions.c.number, revisions.c.received_at).where(
        revisions.c.study == bindparam("study"), revisions.c.number.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


@cache
def _identities(kind: str, length: int) -> Query:
    table, _ = FACTS[kind]
    columns = table.c.patient_key, table.c.identity, table.c.draw
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
    """Facts of patients with given numbers. An identity begins with the number: each is a range of the primary key."""
    table, _ = FACTS[kind]
    ranges = [
        and_(
            table.c.patient_key == bindparam(f"patient_{i}"),
            table.c.identity >= bindparam(f"first_{i}"),
            table.c.identity < bindparam(f"behind_{i}"),
        )
        for i in range(length)
    ]
    c = table.c
    columns = c.patient_key, c.identity, c.source, c.draw, *when(table), c.removed, c.mark
    clause = select(*columns).where(or_(*ranges))
    return Query(clause, *[f"{name}_{i}" for i in range(length) for name in ("patient", "first", "behind")])


class Identities:
    """Finds the identity and the draw of a fact by their digest, which is in the identifier of the resource.

    All facts of a patient are read at once and kept, so that many resources of one patient cost as much as one. Use it
    in one transaction. It does not see facts that this transaction stores later.
    """

    def __init__(self, connection: Transaction) -> None:
        self._connection = connection
        self._by_digest: dict[tuple[int, str], dict[str, tuple[str, str]]] = {}

    def find(self, patient_key: int, kind: str, digest: str) -> tuple[str, str] | None:
        """The identity and draw of the fact of this patient and kind that has this digest; `None` if there is none."""
        self.load(kind, [patient_key])
        return self._by_digest[patient_key, kind].get(digest)

    def load(self, kind: str, patient_keys: Iterable[int]) -> None:
        """Read the identities of one kind of facts of these patients, if they are not read yet."""
        unread = [key for key in patient_keys if (key, kind) not in self._by_digest]
        self._by_digest |= {(key, kind): {} for key in unread}
        for chunk in filled(unread):
            for key, identity, draw in _identities(kind, len(chunk)).rows(self._connection, *chunk):
                self._by_digest[key, kind][digest_of(kind, identity, draw)] = identity, draw


def standing(
    connection: Transaction, study: int, patients: Iterable[Patient], resources: Iterable[ResourceKey]
) -> dict[ResourceKey, StoredResource]:
    """Resources of these patients of a study (given by its key) as they stand now; unknown ones are left out."""
    keys = set(resources)
    if not keys:
        return {}
    people = {patient[0]: patient for patient in patients}
    facts = [key for key in keys if key.kind is not None]
    patient_keys = [key for key in keys if key.kind is None]
    versions = _versions_of_facts(connection, study, people, facts) if facts else {}
    versions |= _versions_of_patients(connection, study, people, patient_keys) if patient_keys else {}
    return {key: found for key, known in versions.items() if (found := _newest(known)) is not None}


def find_named(
    connection: Transaction, study: int, names: Iterable[tuple[str, str]], identities: Identities
) -> tuple[dict[tuple[str, str], ResourceKey], set[str]]:
    """The facts that identifiers of the service name, and those identifiers that belong to erased persons.

    Each identifier comes as (resource type, identifier).
    """
    read = {named: parts for named in names if (parts := read_logical_id(named[1])) is not None}
    if not read:
        return {}, set()
    keys = {parts.patient_key for parts in read.values()}
    if (origin := origin_of(connection)) is not None:
        origin.bring_keys(connection, keys)
    people = {key: patient for patient, key, _ in _find_patients(connection, study, "key", keys)}
    erased = {
        key
        for chunk in filled(keys - people.keys())
        for (key,) in _erased_keys_query(len(chunk)).rows(connection, study, *chunk)
    }
    by_type: dict[str, set[int]] = {}
    for (resource, _), parts in read.items():
        if parts.patient_key in people:
            by_type.setdefault(resource, set()).add(parts.patient_key)
    for resource, patient_keys in by_type.items():
        for kind in KINDS_OF[resource]:
            identities.load(kind, patient_keys)
    facts = {}
    for named, (key, digest) in read.items():
        for kind in KINDS_OF[named[0]] if key in people else ():
            found = identities.find(key, kind, digest)
            if found is not None and type_of(kind, found[0]) == named[0] and named not in facts:
                facts[named] = ResourceKey(people[key], kind, *found)
    return facts, {text for (_, text), parts in read.items() if parts.patient_key in erased}


def numbered(
    connection: Transaction, patients: Iterable[Patient], numbers: Iterable[FactNumber]
) -> dict[FactNumber, list[NumberedFact]]:
    """The facts of these patients with these numbers, each with its source, in the order of their identities and draws.

    A fact that a DELETE withdrew is left out, because it may be created again.
    """
    facts: dict[FactNumber, list[NumberedFact]] = {number: [] for number in numbers}
    if not facts:
        return {}
    people = {who: key for who, key, _ in patients}
    names = {key: who for who, key in people.items()}
    ranges_of: dict[str, list[tuple[int, str, str]]] = {}
    for who, resource, number in facts:
        for kind in KINDS_OF[resource] if who in people else ():
            ranges_of.setdefault(kind, []).append((people[who], f"#{number}|", f"#{number}}}"))
    for kind, ranges in ranges_of.items():
        rows = [
            row
            for chunk in filled(ranges)
            for row in _numbered(kind, len(chunk)).rows(connection, *chain.from_iterable(chunk))
        ]
        times: dict[tuple[int, str, str], set[FactTime]] = {}
        sources = {}
        for key, identity, source, draw, day, instant, _, _ in rows:
            times.setdefault((key, identity, draw), set()).add(fact_time(day, instant))
            sources[key, identity, draw] = source
        deleted = {(row[0], row[1], row[3]) for row in rows if row[6] is None and row[7] == RuleMark.DELETED}
        for key, identity, draw in sorted(times.keys() - deleted, key=lambda each: each[1:]):
            fact_number = (names[key], type_of(kind, identity), identity[1:].partition("|")[0])
            fact = ResourceKey(names[key], kind, identity, draw)
            given = frozenset(times[key, identity, draw])
            if fact_number in facts:
                facts[fact_number].append(NumberedFact(fact, sources[key, identity, draw], given))
    return facts


def history(
    connection: Transaction,
    study_id: str,
    resource: SupportedType,
    logical_id: str,
    identities: Identities | None = None,
) -> list[StoredResource]:
    """All versions of a resource, newest first; empty if the study has no resource with this identifier.

    Raises `Erased` for a person who was erased.
    """
    study = study_key(connection, study_id)
    if resource == "Patient":
        people = {row[0]: row for row in _find_patients(connection, study, "id", [logical_id])}
        if not people:
            _refuse_erased(connection, study, patient=logical_id)
            return []
        key = ResourceKey(logical_id)
        return _versions_of_patients(connection, study, people, [key])[key]
    found = locate(connection, study_id, resource, logical_id, identities)
    if found is None:
        return []
    kind, who, patient_key, identity, draw = found
    key = ResourceKey(who, kind, identity, draw)
    return _versions_of_facts(connection, study, {who: (who, patient_key, 0)}, [key])[key]


def locate(
    connection: Transaction,
    study_id: str,
    resource: SupportedType,
    logical_id: str,
    identities: Identities | None = None,
) -> tuple[str, str, int, str, str] | None:
    """The fact with this identifier: its kind, its patient, the key of the patient, its identity and its draw.

    `None` if there is no such fact. Raises `Erased` for a person who was erased.
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
        fact = known.find(name.patient_key, kind, name.digest)
        if fact is not None and type_of(kind, fact[0]) == resource:
            return kind, people[0][0], name.patient_key, *fact
    return None


def patient_key(connection: Transaction, study: int, patient: str) -> int | None:
    """The key of a patient of a study (given by its key); `None` if it has no patient with this identifier."""
    return next((key for _, key, _ in _find_patients(connection, study, "id", [patient])), None)


def _find_patients(connection: Transaction, study: int, column: str, values: Iterable[Any]) -> list[Patient]:
    return [
        (who, key, first)
        for chunk in filled(values)
        for who, key, first in _patients_query(column, len(chunk)).rows(connection, study, *chunk)
    ]


def _newest(versions: Sequence[StoredResource]) -> StoredResource | None:
    """The version that stands: the newest one that was not late."""
    return next((version for version in versions if not version.late), None)


def _versions_of_facts(
    connection: Transaction, study: int, people: Mapping[str, Patient], keys: Sequence[ResourceKey]
) -> dict[ResourceKey, list[StoredResource]]:
    """All assertions of each fact, and all times when it was left out, newest first."""
    stored: dict[ResourceKey, list[Assertion]] = {key: [] for key in keys}
    facts_of: dict[str, set[tuple[int, str]]] = {}
    names = {}
    for who, kind, identity, _ in keys:
        if kind is not None and identity is not None:
            facts_of.setdefault(kind, set()).add((people[who][1], identity))
            names[people[who][1]] = who
    for kind, facts in facts_of.items():
        for patient_key, assertion in FACT_TABLES[kind].known_of_patients(connection, facts):
            key = ResourceKey(names[patient_key], kind, assertion.fact[0], assertion.draw)
            if key in stored:
                stored[key].append(assertion)
    changes = {
        at
        for known in stored.values()
        for version in known
        for at in (version.added, version.removed)
        if at is not None
    }
    received = _received(connection, study, changes)
    return {key: _versions(people[key.patient][1], key, known, received) for key, known in stored.items()}


def _versions(
    patient_key: int, key: ResourceKey, stored: list[Assertion], received: Mapping[int, int]
) -> list[StoredResource]:
    who, kind = key.patient, key.kind or ""
    make: Any = FACTS[kind][1]
    stored.sort(key=lambda assertion: (assertion.added, assertion.ordinal))
    versions = []
    for assertion in stored:
        fact = make(*FACT_TABLES[kind].plain(assertion.fact))
        late = assertion.removed == assertion.added
        versions.append(
            StoredResource(
                who,
                patient_key,
                kind,
                fact,
                assertion.added,
                received[assertion.added],
                ordinal=assertion.ordinal,
                late=late,
                draw=key.draw,
            )
        )
        if assertion.removed is not None and _left_out(assertion, stored):
            versions.append(
                StoredResource(
                    who,
                    patient_key,
                    kind,
                    fact,
                    assertion.removed,
                    received[assertion.removed],
                    removed=True,
                    draw=key.draw,
                )
            )
    return sorted(versions, key=lambda version: (version.added, version.ordinal), reverse=True)


def _left_out(assertion: Assertion, stored: Sequence[Assertion]) -> bool:
    """Whether an assertion was closed and no other took its place."""
    return assertion.removed != assertion.added and all(
        other.added != assertion.removed or other.removed == other.added for other in stored
    )


def _versions_of_patients(
    connection: Transaction, study: int, people: Mapping[str, Patient], keys: Sequence[ResourceKey]
) -> dict[ResourceKey, list[StoredResource]]:
    """All versions of each patient, newest first: one for each revision that changed an attribute."""
    rows: dict[int, list[tuple[Any, ...]]] = {people[key.patient][1]: [] for key in keys}
    for chunk in filled(rows):
        for patient_key, *row in _attributes(len(chunk)).rows(connection, *chunk):
            rows[patient_key].append(tuple(row))
    changes = {
        patient_key: {first} | {at for _, _, *span in rows[patient_key] for at in span if at is not None}
        for _, patient_key, first in (people[key.patient] for key in keys)
    }
    received = _received(connection, study, {at for numbers in changes.values() for at in numbers})
    versions = {}
    for key in keys:
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
    """The time of receipt of each of these revisions, in microseconds since 1970."""
    return {
        number: at
        for chunk in filled(numbers)
        for number, at in _received_query(len(chunk)).rows(connection, study, *chunk)
    }


def _refuse_erased(connection: Transaction, study: int, *, key: int = -1, patient: str = "") -> None:
    found = _SECRET.row(connection, study)
    stone = b"" if found is None else tombstone(keys_of(connection).unlock(found[0]), patient)
    if (_IS_ERASED.row(connection, study, key, stone) or (False,))[0]:
        raise Erased
