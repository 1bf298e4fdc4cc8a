"""Insertions: rows that one statement writes together are stored as those that are written one by one."""

import sqlite3

import pytest
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, Table, Text, create_engine, select

from app.store.queries import ROWS_TOGETHER, Insertion, Query

WORDS = Table(
    "words_of_a_test",
    MetaData(),
    Column("key", Integer, primary_key=True),
    Column("word", Text),
    Column("never", Text),
    Column("known", Boolean),
    Column("place", Integer, nullable=False, server_default="0"),
    Column("value", Float),
)


def row(number: int) -> tuple[object, ...]:
    """A row with an empty column, and with empty cells in others."""
    word = None if number % 7 == 3 else f"'word' {number} \N{GREEK SMALL LETTER MU}"
    known = (True, False, None)[number % 3]
    return number, word, None, known, number % 2, number / 3


def test_a_statement_has_no_more_values_than_sqlite_takes(sqlite_url):
    rows = [row(number) for number in range(457)]
    engine = create_engine(sqlite_url)
    with engine.connect() as connection:
        connection.connection.driver_connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 61)
        WORDS.create(connection)
        Insertion(WORDS).run(connection, rows)
        assert len(Query(select(WORDS)).rows(connection)) == len(rows)
    engine.dispose()


@pytest.mark.parametrize(
    "count",
    sorted({*range(1, 14), *(of + more for of in ROWS_TOGETHER for more in (-1, 0, 1)), 3 * ROWS_TOGETHER[0] + 77}),
)
def test_any_number_of_rows_is_stored_as_given(database, count):
    rows = [row(number) for number in range(count)]
    every = Query(select(WORDS).order_by(WORDS.c.key))
    with database.engine.connect() as connection, connection.begin() as transaction:
        WORDS.create(connection)
        Insertion(WORDS).run(connection, rows)
        found = [(*each[:3], None if each[3] is None else bool(each[3]), *each[4:]) for each in every.rows(connection)]
        transaction.rollback()
    assert found == rows
