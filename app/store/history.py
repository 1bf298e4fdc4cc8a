"""The record of one patient: every version of every fact, who sent it when, and why it does not stand any more.

A version is an assertion of the ledger (`merge`). Nothing here decides anything: it tells what the ledger decided.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import Connection, bindparam, literal_column, select, union_all

from app.store.fact_tables import FACT_TABLES
from app.store.queries import Query, filled, listed, listed_names
from app.store.supersession import IDENTITY, STATUS, Assertion, order
from app.store.tables import FACTS, revisions
from app.store.timelines import fact_document, find_patient
from app.timeline.document import Kind
from app.timeline.vocabulary import WITHDRAWN

Reason = Literal["superseded", "withdrawn", "withdrawal", "left_out", "late"]
"""Why a version is not shown: a greater one took its place; its source withdrew the fact; it is that withdrawal; a
timeline that was put left the fact out; a greater one was known when it came.
"""

KINDS: dict[Kind, str] = dict(zip(get_args(Kind), FACTS, strict=True))
"""Where the facts of each kind are stored."""


@dataclass(frozen=True, slots=True)
class Circumstance:
    """The revision that did something: when it was received (microseconds since 1970), in which format, from whom."""

    revision: int
    received_at: int
    format: str
    client: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one fact: what it says in the words of a timeline, which revision added it, which one ended it.

    `removed` is the revision from which it no longer stood; one that never stood was added and removed by the same.
    """

    kind: Kind
    fact: dict[str, Any]
    added: Circumstance
    removed: Circumstance | None
    reason: Reason | None

    @property
    def standing(self) -> bool:
        """Whether timelines and analyses show it."""
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions are asked for; `None` means any. `number` is the source's own number of a fact."""

    kind: Kind | None = None
    code: str | None = None
    number: str | None = None


class _Key(NamedTuple):
    """What names one row: its kind, and its place in the table of that kind."""

    kind: Kind
    added: int
    identity: str
    ordinal: int


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
    """Versions of a patient's facts as they were known at a revision, `limit` of them after the first `offset`.

    They come in the order in which they were stored: by revision, and within one always in the same order. What was
    stored by a revision never changes, so that pages at one revision fit together. Raises `NotFound` and `Erased`.
    """
    study, key = find_patient(connection, study_id, patient, revision)
    page = _page(connection, key, revision, wanted or Wanted(), offset, limit)
    told = {kind: _told(connection, key, kind, page, revision) for kind in {one.kind for one in page}}
    rows = [told[one.kind][one] for one in page]
    numbers = {number for one, _ in rows for number in (one.added, one.removed) if number is not None}
    known = _circumstances(connection, study, numbers)
    return [_version(one.kind, *row, known) for one, row in zip(page, rows, strict=True)]


def _version(kind: Kind, one: Assertion, reason: Reason | None, known: Mapping[int, Circumstance]) -> Version:
    stored = KINDS[kind]
    make: Any = FACTS[stored][1]
    document = fact_document(stored, make(*FACT_TABLES[stored].plain(one.fact)))
    return Version(kind, document, known[one.added], None if one.removed is None else known[one.removed], reason)


def _page(connection: Connection, key: int, revision: int, wanted: Wanted, offset: int, limit: int) -> list[_Key]:
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
    named = tuple(KINDS)
    return [_Key(named[place], added, identity, ordinal) for added, place, identity, ordinal in rows]


def _told(
    connection: Connection, key: int, kind: Kind, page: Sequence[_Key], revision: int
) -> dict[_Key, tuple[Assertion, Reason | None]]:
    """The rows of a kind that a page names, each with the reason why it does not stand."""
    of_identity: dict[str, list[Assertion]] = {one.identity: [] for one in page if one.kind == kind}
    for one in FACT_TABLES[KINDS[kind]].known(connection, key, of_identity):
        ends_later = one.removed is not None and one.removed > revision
        of_identity[one.fact[IDENTITY]].append(replace(one, removed=None) if ends_later else one)
    return {
        _Key(kind, one.added, identity, one.ordinal): (one, _reason(one, known))
        for identity, known in of_identity.items()
        for one in known
    }


def _reason(one: Assertion, known: Sequence[Assertion]) -> Reason | None:
    """Why a version does not stand, by the other versions of its fact."""
    if one.removed is None:
        return "withdrawal" if one.fact[STATUS] in WITHDRAWN else None
    if one.removed == one.added and any(order(each.fact) > order(one.fact) for each in _before(one, known)):
        return "late"
    successor = next((each for each in known if each.added == one.removed != each.removed), None)
    if successor is None:
        return "left_out"
    return "withdrawn" if successor.fact[STATUS] in WITHDRAWN else "superseded"


def _before(one: Assertion, known: Sequence[Assertion]) -> Iterator[Assertion]:
    return (each for each in known if (each.added, each.ordinal) < (one.added, one.ordinal))


def _circumstances(connection: Connection, study: int, numbers: set[int]) -> dict[int, Circumstance]:
    return {
        row[0]: Circumstance(*row)
        for chunk in filled(numbers)
        for row in _revisions(len(chunk)).rows(connection, study, *chunk)
    }


@cache
def _keys(kinds: tuple[Kind, ...], filters: tuple[str, ...]) -> Query:
    """What names the rows of a patient in the order of the record."""
    columns = {"code": "code", "number": "id"}
    parts = []
    for place, (kind, stored) in enumerate(KINDS.items()):
        if kind in kinds:
            table = FACTS[stored][0]
            met = [table.c[columns[name]] == bindparam(name) for name in filters]
            parts.append(
                select(table.c.added, literal_column(str(place)).label("place"), table.c.identity, table.c.ordinal)
                .where(table.c.patient_key == bindparam("patient"), table.c.added <= bindparam("revision"), *met)
            )  # fmt: skip
    together = union_all(*parts).subquery()
    clause = (
        select(together.c.added, together.c.place, together.c.identity, together.c.ordinal)
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
