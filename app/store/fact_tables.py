"""The queries for each table of facts: find, write, close and delete assertions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    cast,
    func,
    literal,
    null,
    or_,
    select,
)

from app.store.assertions import Assertion, Fact
from app.store.queries import CHUNKS, Insertion, Query, Row, filled, listed, listed_names
from app.store.tables import FACTS
from app.timeline.facts import FIELDS, ORDERED, AnyFact, identity_of_order
from app.timeline.vocabulary import WITHDRAWN

MOST_ROWS = 2_000
"""Greatest number of rows that are made ready for the driver at the same time: each needs several hundred bytes."""
LATEST = 2**62
"""A revision after every real one."""


def stands_at(table: Table) -> ColumnElement[bool]:
    """Whether a row stands at the revision in the parameter `revision`."""
    revision: Any = bindparam("revision")
    return and_(table.c.added <= revision, or_(table.c.removed.is_(None), table.c.removed > revision))


def shown(table: Table) -> ColumnElement[bool]:
    """Whether clients and analyses see a row.

    An assertion that withdraws its fact stands, but is not shown. Nor is a result that is no number.
    """
    values = [table.c[name] for name in sorted(_VALUES) if name in table.c and table.c[name].nullable]
    current = [table.c.status != status for status in sorted(WITHDRAWN)]  # SQLite takes longer for NOT IN
    return and_(*current, *[value.is_not(None) for value in values])


def ordered(table: Table) -> ColumnElement[bool]:
    """Whether a medication was ordered, as its identity says (`facts.names_an_order`)."""
    after_number = func.coalesce(func.length(table.c.id), 0) + 2
    return func.substr(table.c.identity, after_number, len(_ORDER)) == literal(_ORDER)


def read_columns(table: Table, names: Iterable[str]) -> list[ColumnElement[Any]]:
    """The columns with what analyses read."""
    return [ordered(table).label(name) if name == ORDERED.name else table.c[name] for name in names]


_ORDER = identity_of_order(None, None, "", "")[1:-1]


def when(table: Table) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The calendar day and the instant of a row. Of a medication it is the first day, and there is no instant."""
    if "day" in table.c:
        return table.c.day, table.c.instant
    return cast(table.c.start_day, BigInteger), cast(null(), BigInteger)


_VALUES = {field.name for declared in FIELDS.values() for field in declared if field.read.required}


@dataclass(frozen=True, slots=True)
class FactTable:
    """The queries for the table of one kind of fact. `flags` are the indexes of its Boolean fields."""

    kind: str
    of_patient: Query
    at_revision: Query
    insert: Insertion
    close: Query
    set_mark: Query
    delete: Query
    flags: tuple[int, ...]

    def known(self, connection: Connection, patient: int, identities: Iterable[str]) -> Iterator[Assertion]:
        """All assertions of these identities of one patient, including those that no longer stand."""
        for chunk in filled(identities):
            for row in _by_identity(self.kind, len(chunk)).rows(connection, patient, *chunk):
                yield _assertion(row)

    def known_of_patients(
        self, connection: Connection, facts: Iterable[tuple[int, str]]
    ) -> Iterator[tuple[int, Assertion]]:
        """All assertions of these facts, each with its patient key. A fact is given by patient key and identity."""
        for chunk in filled(facts):
            for row in _by_fact(self.kind, len(chunk)).rows(connection, *chain.from_iterable(chunk)):
                yield row[0], _assertion(row[1:])

    def all_of(self, connection: Connection, patient: int) -> Iterator[Assertion]:
        """All assertions of one patient, including those that no longer stand."""
        return map(_assertion, self.of_patient.rows(connection, patient))

    def shown_at(self, connection: Connection, patient: int, revision: int) -> list[AnyFact]:
        """The facts of one patient that clients see at a revision, as tuples of `timeline.facts`."""
        make: Any = FACTS[self.kind][1]
        return [make(*self.plain(row)) for row in self.at_revision.rows(connection, patient, revision)]

    def plain(self, fact: Fact) -> Fact:
        """The fact with Booleans where SQLite gives numbers."""
        if not self.flags:
            return fact
        values = list(fact)
        for i in self.flags:
            values[i] = None if values[i] is None else bool(values[i])
        return tuple(values)

    def write(self, connection: Connection, groups: Sequence[tuple[int, Sequence[Assertion]]]) -> None:
        """Store assertions, some thousands at a time. They come in groups, each with the key of its patient."""
        owners = [patient for patient, assertions in groups for _ in assertions]
        all_of_them = [assertion for _, assertions in groups for assertion in assertions]
        for first in range(0, len(owners), MOST_ROWS):
            flat = all_of_them[first : first + MOST_ROWS]
            content = list(zip(*[assertion.fact for assertion in flat], strict=True))
            self.insert.run_columns(
                connection,
                [
                    owners[first : first + MOST_ROWS],
                    content[0],
                    [assertion.added for assertion in flat],
                    [assertion.ordinal for assertion in flat],
                    [assertion.removed for assertion in flat],
                    *content[1:],
                    [assertion.notes for assertion in flat],
                    [assertion.draw for assertion in flat],
                    [assertion.mark for assertion in flat],
                ],
            )

    def end(self, connection: Connection, assertions: Sequence[tuple[int, Assertion]]) -> None:
        """Store that assertions no longer stand. Of one draw at most one stands."""
        self.close.run_many(
            connection, [(closed.removed, patient, closed.fact[0], closed.draw) for patient, closed in assertions]
        )

    def mark(self, connection: Connection, assertions: Sequence[tuple[int, Assertion]]) -> None:
        """Store the marks of assertions."""
        self.set_mark.run_many(
            connection,
            [(each.mark, patient, each.fact[0], each.added, each.ordinal) for patient, each in assertions],
        )


def _assertion(row: Row) -> Assertion:
    return Assertion(row[5:], row[0], row[2], row[1], stored=True, draw=row[3], mark=row[4])


def _columns(kind: str) -> list[Any]:
    table, _ = FACTS[kind]
    return [table.c[field.name] for field in FIELDS[kind]]


def _row(kind: str) -> list[Any]:
    """The columns that `_assertion` reads."""
    table, _ = FACTS[kind]
    return [table.c.added, table.c.ordinal, table.c.removed, table.c.draw, table.c.mark, *_columns(kind)]


@cache
def _by_identity(kind: str, length: int) -> Query:
    table, _ = FACTS[kind]
    assert length in CHUNKS  # noqa: S101 - else the number of different queries would grow without limit
    clause = select(*_row(kind)).where(
        table.c.patient_key == bindparam("patient"), table.c.identity.in_(listed(length))
    )
    return Query(clause, "patient", *listed_names(length))


@cache
def _by_fact(kind: str, length: int) -> Query:
    """Facts of several patients. For a list of pairs after IN, SQLite would read the whole table."""
    table, _ = FACTS[kind]
    assert length in CHUNKS  # noqa: S101 - else the number of different queries would grow without limit
    facts = [
        and_(table.c.patient_key == bindparam(f"patient_{i}"), table.c.identity == bindparam(f"fact_{i}"))
        for i in range(length)
    ]
    clause = select(table.c.patient_key, *_row(kind)).where(or_(*facts))
    return Query(clause, *[f"{name}_{i}" for i in range(length) for name in ("patient", "fact")])


def _fact_table(kind: str) -> FactTable:
    table, _ = FACTS[kind]
    mine: Any = table.c.patient_key == bindparam("patient")
    everything = select(*_row(kind)).where(mine)
    standing = select(*_columns(kind)).where(mine, stands_at(table), shown(table))
    closing = (
        table.update()
        .where(
            mine,
            table.c.identity == bindparam("fact"),
            table.c.draw == bindparam("of_draw"),
            table.c.removed.is_(None),
        )
        .values(removed=bindparam("ended"))
    )
    marking = (
        table.update()
        .where(
            mine,
            table.c.identity == bindparam("fact"),
            table.c.added == bindparam("since"),
            table.c.ordinal == bindparam("place"),
        )
        .values(mark=bindparam("given"))
    )
    return FactTable(
        kind,
        Query(everything, "patient"),
        Query(standing, "patient", "revision"),
        Insertion(table),
        Query(closing, "ended", "patient", "fact", "of_draw"),
        Query(marking, "given", "patient", "fact", "since", "place"),
        Query(table.delete().where(mine), "patient"),
        tuple(i for i, field in enumerate(FIELDS[kind]) if field.type is bool),
    )


FACT_TABLES: dict[str, FactTable] = {kind: _fact_table(kind) for kind in FACTS}
