"""What each revision did to the facts of a study: how many came to stand and how many ended, and whose they are."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select

from app.store.fact_tables import shown
from app.store.history import KINDS
from app.store.queries import Query
from app.store.tables import FACTS, leaves, patients, protocols
from app.timeline.document import Kind

_OF_STEPS: Any = (
    leaves.c.study == bindparam("study"),
    leaves.c.number > bindparam("after"),
    leaves.c.number <= bindparam("until"),
)
"""The leaves name the patients whom a revision changed, so that only their facts are read."""
_NAMES = ("study", "after", "until")


@dataclass(frozen=True, slots=True)
class RevisionStep:
    """What one revision did. A corrected fact is one that ended and one that was added."""

    added: dict[Kind, int] = field(default_factory=dict)
    ended: dict[Kind, int] = field(default_factory=dict)
    patients: list[str] = field(default_factory=list)
    protocol: bool = False
    """Whether it declared another protocol."""


def _counts(stored: str, *, ended: bool) -> Query:
    table = FACTS[stored][0]
    there = table.c.patient_key == leaves.c.patient_key
    if ended:
        mine = (table.c.removed == leaves.c.number, table.c.added < leaves.c.number)
    else:
        mine = (table.c.added == leaves.c.number, table.c.removed.is_(None) | (table.c.removed > leaves.c.number))
    clause: Select[tuple[int, int]] = (
        select(leaves.c.number, func.count())
        .join_from(leaves, table, there)
        .where(*_OF_STEPS, *mine, shown(table))
        .group_by(leaves.c.number)
    )
    return Query(clause, *_NAMES)


_ADDED = {kind: _counts(stored, ended=False) for kind, stored in KINDS.items()}
_ENDED = {kind: _counts(stored, ended=True) for kind, stored in KINDS.items()}
_PATIENTS = Query(
    select(leaves.c.number, patients.c.id)
    .join_from(leaves, patients, patients.c.key == leaves.c.patient_key)
    .where(*_OF_STEPS)
    .order_by(leaves.c.number, patients.c.id),
    *_NAMES,
)
_PROTOCOLS = Query(
    select(protocols.c.added).where(
        protocols.c.study == bindparam("study"),
        protocols.c.added > bindparam("after"),
        protocols.c.added <= bindparam("until"),
    ),
    *_NAMES,
)


def steps(connection: Connection, study: int, after: int, until: int) -> dict[int, RevisionStep]:
    """What the revisions after `after`, up to `until`, did, by their numbers."""
    found = {number: RevisionStep() for number in range(after + 1, until + 1)}
    for kind in KINDS:
        for number, count in _ADDED[kind].rows(connection, study, after, until):
            found[number].added[kind] = count
        for number, count in _ENDED[kind].rows(connection, study, after, until):
            found[number].ended[kind] = count
    for number, patient in _PATIENTS.rows(connection, study, after, until):
        found[number].patients.append(patient)
    declared = {row[0] for row in _PROTOCOLS.rows(connection, study, after, until)}
    return {
        number: RevisionStep(step.added, step.ended, step.patients, number in declared)
        for number, step in found.items()
    }
