"""What stands of some persons before any decision about facts that may be one, and which of these facts wait for one.

The worklist lists the pairs of one record. Those of two records of a person are found when the records are read.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, or_, select

from app.store.fact_tables import stands_at
from app.store.queries import Query, filled, listed, listed_names
from app.store.tables import FACTS, set_aside
from app.timeline.facts import FACT_TYPES, FIELDS, counts_nowhere
from app.timeline.number_rule import standing
from app.timeline.receipts import NoteCode
from app.timeline.same_facts import KIND_OF, Decision, Pair, UndecidedPair, pair_of, undecided


def asserted_facts(connection: Connection, kind: str, revision: int, names: dict[int, str]) -> dict[str, list[Any]]:
    """The facts of these patients (by key) that stand, with withdrawals, by the identifiers of the patients."""
    make: Any = FACT_TYPES[kind]
    facts: dict[str, list[Any]] = {}
    for chunk in filled(names):
        for key, *fact in _asserted_of(kind, len(chunk)).rows(connection, revision, *chunk):
            facts.setdefault(names[key], []).append(make(*fact))
    return facts


def standing_of(kind: str, records: Sequence[Sequence[Any]]) -> list[Any]:
    """The facts of a person that count before any decision, from what stands in each of the records."""
    if len(records) > 1:
        return standing(kind, *records)
    return [fact for record in records for fact in record if not counts_nowhere(kind, fact)]


def pair_in(statement: str | None) -> Pair | None:
    """The two facts that an item of the worklist is about, if it is about two."""
    found = None if statement is None else json.loads(statement)
    return pair_of(found["kind"], *found["facts"]) if found and "facts" in found else None


def listed_pairs(connection: Connection, study: int, revision: int, records: Iterable[str]) -> dict[str, list[Pair]]:
    """The pairs of these patients that the worklist lists at a revision."""
    found: dict[str, list[Pair]] = {}
    for chunk in filled(sorted(records)):
        for record, statement in _listed_of(len(chunk)).rows(connection, study, revision, *chunk):
            if (pair := pair_in(statement)) is not None:
                found.setdefault(record, []).append(pair)
    return found


def undecided_of(
    connection: Connection,
    revision: int,
    waiting: Mapping[str, Sequence[Pair]],
    records_of: Mapping[str, Sequence[str]],
    keys: Mapping[str, int],
    decided: Mapping[str, Sequence[Decision]],
    zone: ZoneInfo | None,
) -> dict[str, list[UndecidedPair]]:
    """Of the pairs of each person that are `waiting`, those on which figures depend. `decided` has the decisions."""
    names = {keys[record]: record for person in waiting for record in records_of[person]}
    found: dict[str, list[UndecidedPair]] = {}
    for named in dict.fromkeys(pair.kind for pairs in waiting.values() for pair in pairs):
        kind = KIND_OF[named]
        asserted = asserted_facts(connection, kind, revision, names)
        for person, pairs in waiting.items():
            facts = standing_of(kind, [asserted.get(record, ()) for record in records_of[person]])
            mine = undecided(named, facts, dict.fromkeys(pairs), decided.get(person, ()), zone)
            found.setdefault(person, []).extend(mine)
    return found


@cache
def _asserted_of(kind: str, length: int) -> Query:
    table, _ = FACTS[kind]
    clause = select(table.c.patient_key, *[table.c[field.name] for field in FIELDS[kind]]).where(
        table.c.patient_key.in_(listed(length)), stands_at(table)
    )
    return Query(clause, "revision", *listed_names(length))


@cache
def _listed_of(length: int) -> Query:
    clause = select(set_aside.c.patient, set_aside.c.statement).where(
        set_aside.c.study == bindparam("study"),
        set_aside.c.patient.in_(listed(length)),
        set_aside.c.reason == NoteCode.POSSIBLE_DUPLICATE.value,
        set_aside.c.added <= bindparam("revision"),
        or_(set_aside.c.removed.is_(None), set_aside.c.removed > bindparam("revision")),
    )
    return Query(clause, "study", "revision", *listed_names(length))
