"""Queries and insertions: written with SQLAlchemy Core, compiled once for each database, and run by the driver.

A post of a hundred results needs a dozen small statements. To run one through SQLAlchemy costs several times the time
that SQLite needs for it. So SQLAlchemy makes the text, the connections and the transactions, and rows go to the driver
directly. `engine.py` translates the errors of the driver, where it opens the transaction.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count
from typing import Any, cast

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.sql import ClauseElement, bindparam
from sqlalchemy.sql.compiler import SQLCompiler

Row = tuple[Any, ...]

COPY_FROM = 5
"""From this number of rows on, COPY is faster on PostgreSQL than one INSERT for each row."""
ROWS_TOGETHER = (200, 50, 10, 4, 2)
"""The numbers of rows of one INSERT on SQLite, the greatest first. The driver lets other threads run at each statement,
and a writer that others wait for would then wait for them.
"""

_STREAMS = count()

CHUNKS = (1, 8, 32, 128, 512)
"""The lengths of lists after IN. A shorter list is filled up with its last value."""


class Query:
    """One SQL statement, and the names of its parameters in the order in which a caller gives the values."""

    def __init__(self, clause: ClauseElement, *names: str) -> None:
        self._clause = clause
        self._names = names
        self._compiled: dict[str, tuple[str, tuple[int, ...] | None, Row]] = {}

    def rows(self, connection: Connection, *values: Any) -> list[Row]:  # noqa: ANN401 - a column's value
        """All rows."""
        text, places, fixed = self._on(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.execute(text, _placed(values, places, fixed))
        found = cast(list[Row], cursor.fetchall())
        cursor.close()
        return found

    def stream(self, connection: Connection, *values: Any) -> Iterator[Row]:  # noqa: ANN401 - as `rows`
        """All rows, a thousand at a time: memory does not grow with their number."""
        text, places, fixed = self._on(connection.dialect)
        # On PostgreSQL only a cursor with a name leaves the rows at the server.
        named = {"name": f"stream_{next(_STREAMS)}"} if connection.dialect.name == "postgresql" else {}
        cursor = connection.connection.cursor(**named)
        try:
            cursor.execute(text, _placed(values, places, fixed))
            while found := cursor.fetchmany(1_000):
                yield from found
        finally:
            cursor.close()

    def row(self, connection: Connection, *values: Any) -> Row | None:  # noqa: ANN401
        """The first row, or `None` where there is none."""
        found = self.rows(connection, *values)
        return found[0] if found else None

    def run(self, connection: Connection, *values: Any) -> int:  # noqa: ANN401
        """Run the statement. The number of rows that it changed."""
        text, places, fixed = self._on(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.execute(text, _placed(values, places, fixed))
        changed = cursor.rowcount
        cursor.close()
        return changed

    def run_many(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run the statement once for each row of values."""
        if not rows:
            return
        text, places, fixed = self._on(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.executemany(text, [_placed(row, places, fixed) for row in rows])
        cursor.close()

    def _on(self, dialect: Dialect) -> tuple[str, tuple[int, ...] | None, Row]:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = self._compile(dialect)
        return compiled

    def _compile(self, dialect: Dialect) -> tuple[str, tuple[int, ...] | None, Row]:
        """The text; the index of the value for each of its places; and the values that the clause itself holds.

        The indexes are `None` where the places are the parameters in their order.
        """
        compiled = _compile(self._clause, dialect)
        order = compiled.positiontup or []
        constants = [name for name in dict.fromkeys(order) if name not in self._names]
        sources = [*self._names, *constants]
        places = tuple(sources.index(name) for name in order)
        fixed = tuple(compiled.params[name] for name in constants)
        return str(compiled), None if places == tuple(range(len(self._names))) else places, fixed


def _compile(clause: ClauseElement, dialect: Dialect) -> SQLCompiler:
    positional: Any = type(dialect)
    compiled = clause.compile(dialect=positional(paramstyle="qmark" if dialect.name == "sqlite" else "format"))
    assert isinstance(compiled, SQLCompiler)  # noqa: S101 - for the type checker
    return compiled


def _placed(values: Row, places: tuple[int, ...] | None, fixed: Row) -> Row:
    if places is None:
        return values
    given = (*values, *fixed)
    return tuple([given[place] for place in places])


def filled(values: Iterable[Any]) -> Iterator[Row]:
    """The values in tuples of the lengths in `CHUNKS`, so that few queries serve lists of any length."""
    listed_values = list(values)
    for first in range(0, len(listed_values), CHUNKS[-1]):
        chunk = listed_values[first : first + CHUNKS[-1]]
        length = next(size for size in CHUNKS if size >= len(chunk))
        yield (*chunk, *[chunk[-1]] * (length - len(chunk)))


def listed(length: int) -> list[Any]:
    """Parameters `one_of_0`, `one_of_1`, ... for a list after IN."""
    return [bindparam(f"one_of_{i}") for i in range(length)]


def listed_names(length: int) -> list[str]:
    """The names of the parameters that `listed` gives."""
    return [f"one_of_{i}" for i in range(length)]


class Insertion:
    """Inserts many rows into one table.

    A column that is empty in all rows is left out of the statement: for the SQLite driver a NULL costs several times
    as much as a number, and most columns of most facts are NULL.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns = list(table.columns)
        self._flags = {i for i, column in enumerate(self._columns) if column.type.python_type is bool}
        self._texts: dict[tuple[str, tuple[int, ...], int], str] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert rows that hold every column of the table in its order."""
        if rows:
            self.run_columns(connection, list(zip(*rows, strict=True)))

    def run_columns(self, connection: Connection, columns: Sequence[Sequence[Any]]) -> None:
        """Insert one or more rows, given as columns of equal length. A column of zeros is left to its default."""
        kept = tuple([i for i, values in enumerate(columns) if self._has_values(i, values)])
        if connection.dialect.name == "sqlite":
            given = [_whole(columns[i]) if i in self._flags else columns[i] for i in kept]
        else:
            given = [columns[i] for i in kept]
        self._send(connection, kept, list(zip(*given, strict=True)))

    def _has_values(self, index: int, values: Sequence[Any]) -> bool:
        if self._columns[index].server_default is not None:
            return any(values)
        return values[0] is not None or values.count(None) < len(values)

    def _send(self, connection: Connection, kept: tuple[int, ...], rows: list[Row]) -> None:
        cursor = connection.connection.cursor()
        if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
            driver: Any = cursor
            with driver.copy(self._text("copy", kept, connection.dialect)) as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            sent = 0
            for count in self._counts(connection, len(kept)):
                while sent + count <= len(rows):
                    values = tuple(chain.from_iterable(rows[sent : sent + count]))
                    cursor.execute(self._text("sqlite", kept, connection.dialect, count), values)
                    sent += count
            self._send_each(cursor, self._text(connection.dialect.name, kept, connection.dialect), rows[sent:])
        cursor.close()

    @staticmethod
    def _counts(connection: Connection, columns: int) -> list[int]:
        """The numbers of rows of one statement, the greatest first: SQLite limits the values of a statement."""
        if connection.dialect.name != "sqlite":
            return []
        driver: Any = connection.connection.driver_connection
        most = driver.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        return [count for count in ROWS_TOGETHER if count * columns <= most]

    @staticmethod
    def _send_each(cursor: Any, text: str, rows: Sequence[Row]) -> None:  # noqa: ANN401 - of either driver
        if len(rows) == 1:  # psycopg would begin a pipeline for `executemany`, which needs more round trips
            cursor.execute(text, rows[0])
        elif rows:
            cursor.executemany(text, rows)

    def _text(self, form: str, kept: tuple[int, ...], dialect: Dialect, count: int = 1) -> str:
        text = self._texts.get((form, kept, count))
        if text is None:
            text = self._texts[form, kept, count] = self._write(form, kept, dialect, count)
        return text

    def _write(self, form: str, kept: tuple[int, ...], dialect: Dialect, count: int) -> str:
        names = [self._columns[i].name for i in kept]
        if form == "copy":
            quoted = ", ".join(dialect.identifier_preparer.quote(name) for name in names)
            return f"COPY {dialect.identifier_preparer.format_table(self._table)} ({quoted}) FROM STDIN"
        clause = self._table.insert().inline().values({name: bindparam(name) for name in names})
        compiled = _compile(clause, dialect)
        assert compiled.positiontup == names  # noqa: S101 - Core keeps the order of the table
        text = str(compiled)
        if count > 1:
            row = f"({', '.join('?' * len(names))})"
            assert text.endswith(f" VALUES {row}")  # noqa: S101 - the text of SQLAlchemy for SQLite
            text += f", {row}" * (count - 1)
        return text


def _whole(flags: Sequence[Any]) -> list[int | None]:
    """Booleans as the numbers that SQLite stores. The driver would need more time to convert each."""
    return [None if flag is None else int(flag) for flag in flags]
