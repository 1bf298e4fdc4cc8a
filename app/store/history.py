"""The history of one patient: every version of every fact, who sent it when, and why it does not stand any more.

A version is an assertion of the ledger. The rules of `supersession` decided which one stands. This file only reads it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import Connection, bindparam, literal_column, select, union_all

from app.store.assertions import AMBIGUOUS, IDENTITY, STATUS, Assertion, order
from app.store.fact_tables import FACT_TABLES
from app.store.queries import Query, filled, listed, listed_names
from app.store.tables import FACTS, revisions
from app.store.timelines import fact_document, find_patient
from app.timeline.document import Kind
from app.timeline.facts import counts_nowhere
from app.timeline.receipts import Note, NoteCode
from app.timeline.vocabulary import WITHDRAWN

Reason = Literal["superseded", "withdrawn", "withdrawal", "left_out", "late", "set_aside"]
"""Why a version is not shown.

`superseded`: a greater version took its place. `withdrawn`: its source withdrew the fact. `withdrawal`: it is such a
withdrawal. `left_out`: a timeline that replaced another left the fact out, another draw of its number took its place,
or a later merge turned a merge round. `late`: a greater version was already known when it arrived. `set_aside`: it is
not clear to which draw of its number it belongs, or it is no number.
"""

KINDS: dict[Kind, str] = dict(zip(get_args(Kind), FACTS, strict=True))
"""The key in `FACTS` for each kind of a document."""


@dataclass(frozen=True, slots=True)
class Circumstance:
    """A revision that added or ended a version: its time (microseconds since 1970), its format and its client."""

    revision: int
    received_at: int
    format: str
    client: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one fact, as a timeline shows it, with the revisions that added and ended it.

    `removed` is the revision from which it no longer stood. A version that never stood has the same in both. `notes` is
    what the receipt noted when it was stored.
    """

    kind: Kind
    fact: dict[str, Any]
    added: Circumstance
    removed: Circumstance | None
    reason: Reason | None
    notes: tuple[Note, ...] = ()

    @property
    def standing(self) -> bool:
        """Whether timelines and analyses show it."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions to read; `None` means any. `number` is the number that the source gave a fact."""

    kind: Kind | None = None
    code: str | None = None
    number: str | None = None


class _Key(NamedTuple):
    """The key of one row: its kind, and its primary key within the patient."""

    kind: Kind
    added: int
    identity: str
    ordinal: int


class _Row(NamedTuple):
    """One row of a page: its key, and its notes as JSON text."""

    key: _Key
    notes: str | None


def versions(
    connection: Connection,
    study_id: str,
    patient: str,
    revision: int,
    wanted: Wanted | None = None,
    *,
    offset: int = 0,
    limit: int = 100,
) -> list[Version]:
    """Versions of a patient's facts as they were known at a revision: at most `limit`, after the first `offset`.

    They are in the order in which they were stored: by revision, and in a fixed order within a revision. Stored content
    of a revision never changes, so pages at one revision fit together. Raises `NotFound` and `Erased`.
    """
    study, key = find_patient(connection, study_id, patient, revision)
    page = _page(connection, key, revision, wanted or Wanted(), offset, limit)
    places = [row.key for row in page]
    by_kind = {kind: _assertions(connection, key, kind, places, revision) for kind in {place.kind for place in places}}
    rows = [by_kind[place.kind][place] for place in places]
    numbers = {number for version, _ in rows for number in (version.added, version.removed) if number is not None}
    known = _circumstances(connection, study, numbers)
    return [_version(at.key.kind, *row, _notes(at.notes), known) for at, row in zip(page, rows, strict=True)]


def _notes(text: str | None) -> tuple[Note, ...]:
    """The notes of a fact from their JSON text."""
    return tuple(Note(NoteCode(code), *about) for code, *about in json.loads(text or "[]"))


def _version(
    kind: Kind,
    assertion: Assertion,
    reason: Reason | None,
    notes: tuple[Note, ...],
    known: Mapping[int, Circumstance],
) -> Version:
    stored = KINDS[kind]
    make: Any = FACTS[stored][1]
    document = fact_document(stored, make(*FACT_TABLES[stored].plain(assertion.fact)))
    removed = None if assertion.removed is None else known[assertion.removed]
    return Version(kind, document, known[assertion.added], removed, reason, notes)


def _page(connection: Connection, key: int, revision: int, wanted: Wanted, offset: int, limit: int) -> list[_Row]:
    filters = tuple(name for name in ("code", "number") if getattr(wanted, name) is not None)
    kinds = tuple(
        kind
        for kind, stored in KINDS.items()
        if wanted.kind in {None, kind} and ("code" not in filters or "code" in FACTS[stored][0].c)
    )
    if not kinds:
        return []
    values = [getattr(wanted, name) for name in filters]
    rows = _keys(kinds, filters).rows(connection, key, revision, offset, limit, *values)
    all_kinds = tuple(KINDS)
    return [
        _Row(_Key(all_kinds[place], added, identity, ordinal), notes) for added, place, identity, ordinal, notes in rows
    ]


def _assertions(
    connection: Connection, key: int, kind: Kind, page: Sequence[_Key], revision: int
) -> dict[_Key, tuple[Assertion, Reason | None]]:
    """The rows of one kind on a page, each with the reason why it does not stand."""
    by_identity: dict[str, list[Assertion]] = {place.identity: [] for place in page if place.kind == kind}
    for row in FACT_TABLES[KINDS[kind]].known(connection, key, by_identity):
        ended_later = row.removed is not None and row.removed > revision
        by_identity[row.fact[IDENTITY]].append(replace(row, removed=None) if ended_later else row)
    return {
        _Key(kind, assertion.added, identity, assertion.ordinal): (assertion, _reason(KINDS[kind], assertion, known))
        for identity, known in by_identity.items()
        for assertion in known
    }


def _reason(kind: str, assertion: Assertion, known: Sequence[Assertion]) -> Reason | None:
    """Why an assertion does not stand, from all assertions of its fact; `None` where it stands."""
    added, removed = assertion.added, assertion.removed
    if removed is None:
        if assertion.fact[STATUS] in WITHDRAWN:
            return "withdrawal"
        return "set_aside" if counts_nowhere(kind, assertion.fact) else None
    if removed == added and assertion.mark in AMBIGUOUS:
        return "set_aside"
    known = [other for other in known if other.draw == assertion.draw]
    before = (other for other in known if (other.added, other.ordinal) < (added, assertion.ordinal))
    if removed == added and any(order(other.fact) > order(assertion.fact) for other in before):
        return "late"
    successor = next((other for other in known if other.added == removed != other.removed), None)
    if successor is None:
        return "left_out"
    return "withdrawn" if successor.fact[STATUS] in WITHDRAWN else "superseded"


def _circumstances(connection: Connection, study: int, numbers: set[int]) -> dict[int, Circumstance]:
    return {
        row[0]: Circumstance(*row)
        for chunk in filled(numbers)
        for row in _revisions(len(chunk)).rows(connection, study, *chunk)
    }


@cache
def _keys(kinds: tuple[Kind, ...], filters: tuple[str, ...]) -> Query:
    """The keys of a patient's rows and their notes, in the order of the history."""
    columns = {"code": "code", "number": "id"}
    parts = []
    for place, (kind, stored) in enumerate(KINDS.items()):
        if kind in kinds:
            table = FACTS[stored][0]
            conditions = [table.c[columns[name]] == bindparam(name) for name in filters]
            parts.append(
                select(table.c.added, literal_column(str(place)).label("place"), table.c.identity, table.c.ordinal,
                       table.c.notes)
                .where(table.c.patient_key == bindparam("patient"), table.c.added <= bindparam("revision"), *conditions)
            )  # fmt: skip
    together = union_all(*parts).subquery()
    clause = (
        select(together.c.added, together.c.place, together.c.identity, together.c.ordinal, together.c.notes)
        .order_by(together.c.added, together.c.place, together.c.identity, together.c.ordinal)
        .limit(bindparam("limit"))
        .offset(bindparam("offset"))
    )
    return Query(clause, "patient", "revision", "offset", "limit", *filters)


@cache
def _revisions(length: int) -> Query:
    clause = select(revisions.c.number, revisions.c.received_at, revisions.c.format, revisions.c.client).where(
        revisions.c.study == bindparam("study"), revisions.c.number.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))
