"""The tables of facts: how the assertions of each kind are found, written, closed and deleted."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, literal, or_, select

from app.store.queries import CHUNKS, Insertion, Query, Row, filled, listed, listed_names
from app.store.supersession import Assertion, Fact
from app.store.tables import FACTS
from app.timeline.facts import FIELDS, AnyFact
from app.timeline.vocabulary import WITHDRAWN

LATEST = 2**62
"""A revision after every real one."""


def stands_at(table: Table) -> ColumnElement[bool]:
    """Whether a row stands at the revision that the parameter `revision` names."""
    revision: Any = bindparam("revision")
    return and_(table.c.added <= revision, or_(table.c.removed.is_(None), table.c.removed > revision))


def shown(table: Table) -> ColumnElement[bool]:
    """Whether a row is one that clients and analyses see; an assertion that withdraws its fact stands, but is not
    seen.
    """
    return table.c.status.not_in([literal(status) for status in sorted(WITHDRAWN)])


@dataclass(frozen=True, slots=True)
class FactTable:
    """The statements for the table of one kind of fact; `flags` are the places of its truth values."""

    kind: str
    of_patient: Query
    at_revision: Query
    insert: Insertion
    close: Query
    delete: Query
    flags: tuple[int, ...]

    def known(self, connection: Connection, patient: int, identities: Iterable[str]) -> Iterator[Assertion]:
        """All that was ever asserted of these identities of one patient."""
        for chunk in filled(identities):
            for row in _by_identity(self.kind, len(chunk)).rows(connection, patient, *chunk):
                yield _assertion(row)

    def known_of_patients(
        self, connection: Connection, facts: Iterable[tuple[int, str]]
    ) -> Iterator[tuple[int, Assertion]]:
        """All that was ever asserted of these facts, each named by the key of its patient and its identity."""
        for chunk in filled(facts):
            for row in _by_fact(self.kind, len(chunk)).rows(connection, *chain.from_iterable(chunk)):
                yield row[0], _assertion(row[1:])

    def all_of(self, connection: Connection, patient: int) -> Iterator[Assertion]:
        """All that was ever asserted of one patient."""
        return map(_assertion, self.of_patient.rows(connection, patient))

    def shown_at(self, connection: Connection, patient: int, revision: int) -> list[AnyFact]:
        """The facts of one patient that clients see at a revision."""
        make: Any = FACTS[self.kind][1]
        return [make(*self.plain(row)) for row in self.at_revision.rows(connection, patient, revision)]

    def plain(self, fact: Fact) -> Fact:
        """The fact with truth values, which SQLite gives back as numbers."""
        if not self.flags:
            return fact
        values = list(fact)
        for i in self.flags:
            values[i] = None if values[i] is None else bool(values[i])
        return tuple(values)

    def write(self, connection: Connection, groups: Sequence[tuple[int, Sequence[Assertion]]]) -> None:
        """Store assertions in groups, each with the key of its patient."""
        flat = [one for _, assertions in groups for one in assertions]
        if not flat:
            return
        content = list(zip(*[one.fact for one in flat], strict=True))
        self.insert.run_columns(
            connection,
            [
                [patient for patient, assertions in groups for _ in assertions],
                content[0],
                [one.added for one in flat],
                [one.ordinal for one in flat],
                [one.removed for one in flat],
                *content[1:],
            ],
        )

    def end(self, connection: Connection, assertions: Sequence[tuple[int, Assertion]]) -> None:
        """Store that assertions no longer stand; of an identity at most one does."""
        self.close.run_many(connection, [(one.removed, patient, one.fact[0]) for patient, one in assertions])


def _assertion(row: Row) -> Assertion:
    return Assertion(row[3:], row[0], row[2], row[1], stored=True)


def _columns(kind: str) -> list[Any]:
    table, _ = FACTS[kind]
    return [table.c[field.name] for field in FIELDS[kind]]


@cache
def _by_identity(kind: str, length: int) -> Query:
    table, _ = FACTS[kind]
    assert length in CHUNKS  # noqa: S101 - or the number of statements would grow without bound
    clause = select(table.c.added, table.c.ordinal, table.c.removed, *_columns(kind)).where(
        table.c.patient_key == bindparam("patient"), table.c.identity.in_(listed(length))
    )
    return Query(clause, "patient", *listed_names(length))


@cache
def _by_fact(kind: str, length: int) -> Query:
    """Facts of several patients. SQLite would read the whole table for a list of pairs behind IN."""
    table, _ = FACTS[kind]
    assert length in CHUNKS  # noqa: S101 - or the number of statements would grow without bound
    facts = [
        and_(table.c.patient_key == bindparam(f"patient_{i}"), table.c.identity == bindparam(f"fact_{i}"))
        for i in range(length)
    ]
    columns = table.c.patient_key, table.c.added, table.c.ordinal, table.c.removed, *_columns(kind)
    clause = select(*columns).where(or_(*facts))
    return Query(clause, *[f"{name}_{i}" for i in range(length) for name in ("patient", "fact")])


def _fact_table(kind: str) -> FactTable:
    table, _ = FACTS[kind]
    mine: Any = table.c.patient_key == bindparam("patient")
    everything = select(table.c.added, table.c.ordinal, table.c.removed, *_columns(kind)).where(mine)
    standing = select(*_columns(kind)).where(mine, stands_at(table), shown(table))
    closing = (
        table.update()
        .where(mine, table.c.identity == bindparam("fact"), table.c.removed.is_(None))
        .values(removed=bindparam("ended"))
    )
    return FactTable(
        kind,
        Query(everything, "patient"),
        Query(standing, "patient", "revision"),
        Insertion(table),
        Query(closing, "ended", "patient", "fact"),
        Query(table.delete().where(mine), "patient"),
        tuple(i for i, field in enumerate(FIELDS[kind]) if field.type is bool),
    )


FACT_TABLES: dict[str, FactTable] = {kind: _fact_table(kind) for kind in FACTS}
