"""Statements that are written in Core, compiled once per database and sent to the driver as text with a tuple.

A post of a hundred results is a dozen small statements. SQLAlchemy's execution of one costs several times what SQLite
needs for it, so the hot path keeps SQLAlchemy for what it is best at (the text, the pool, the transaction) and hands
rows to the driver directly. Errors of the driver are translated where the transaction is opened (`engine.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.sql import ClauseElement, bindparam
from sqlalchemy.sql.compiler import SQLCompiler

Row = tuple[Any, ...]

COPY_FROM = 5
"""From this many rows on, PostgreSQL takes them faster through COPY than through one INSERT each."""

CHUNKS = (1, 8, 32, 128, 512)
"""Lengths of the lists that stand behind IN; a shorter list is filled up by repeating its last value."""


class Query:
    """One statement and the names of its parameters in the order in which a caller gives them."""

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

    def row(self, connection: Connection, *values: Any) -> Row | None:  # noqa: ANN401
        """The first row, or `None` where there is none."""
        found = self.rows(connection, *values)
        return found[0] if found else None

    def run(self, connection: Connection, *values: Any) -> int:  # noqa: ANN401
        """Execute it and say how many rows it changed."""
        text, places, fixed = self._on(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.execute(text, _placed(values, places, fixed))
        changed = cursor.rowcount
        cursor.close()
        return changed

    def run_many(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Execute it once for each row of values."""
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
        """The text, where each of its places takes its value from, and the values that the clause itself holds."""
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
    """The values in tuples of the lengths of `CHUNKS`, so that a handful of statements serves lists of any length."""
    listed_values = list(values)
    for first in range(0, len(listed_values), CHUNKS[-1]):
        chunk = listed_values[first : first + CHUNKS[-1]]
        length = next(size for size in CHUNKS if size >= len(chunk))
        yield (*chunk, *[chunk[-1]] * (length - len(chunk)))


def listed(length: int) -> list[Any]:
    """Parameters `one_of_0`, `one_of_1`, ... for a list behind IN."""
    return [bindparam(f"one_of_{i}") for i in range(length)]


def listed_names(length: int) -> list[str]:
    """The names of `listed`."""
    return [f"one_of_{i}" for i in range(length)]


class Insertion:
    """Rows into one table, in bulk.

    Binding an absent value costs the SQLite driver several times what binding a number does, and most columns of most
    facts are absent. A column that is empty in all rows is therefore left out of the statement.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._columns = list(table.columns)
        self._flags = {i for i, column in enumerate(self._columns) if column.type.python_type is bool}
        self._texts: dict[tuple[str, tuple[int, ...]], str] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert rows that hold every column of the table in its order."""
        if rows:
            self.run_columns(connection, list(zip(*rows, strict=True)))

    def run_columns(self, connection: Connection, columns: Sequence[Sequence[Any]]) -> None:
        """Insert the same from columns of one length, at least one row; an `ordinal` of 0 is the default."""
        kept = tuple([i for i, values in enumerate(columns) if self._is_given(i, values)])
        if connection.dialect.name == "sqlite":
            given = [_whole(columns[i]) if i in self._flags else columns[i] for i in kept]
        else:
            given = [columns[i] for i in kept]
        self._send(connection, kept, list(zip(*given, strict=True)))

    def _is_given(self, index: int, values: Sequence[Any]) -> bool:
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
            cursor.executemany(self._text(connection.dialect.name, kept, connection.dialect), rows)
        cursor.close()

    def _text(self, form: str, kept: tuple[int, ...], dialect: Dialect) -> str:
        text = self._texts.get((form, kept))
        if text is None:
            text = self._texts[form, kept] = self._write(form, kept, dialect)
        return text

    def _write(self, form: str, kept: tuple[int, ...], dialect: Dialect) -> str:
        names = [self._columns[i].name for i in kept]
        if form == "copy":
            quoted = ", ".join(dialect.identifier_preparer.quote(name) for name in names)
            return f"COPY {dialect.identifier_preparer.format_table(self._table)} ({quoted}) FROM STDIN"
        clause = self._table.insert().inline().values({name: bindparam(name) for name in names})
        compiled = _compile(clause, dialect)
        assert compiled.positiontup == names  # noqa: S101 - Core keeps the order of the table
        return str(compiled)


def _whole(flags: Sequence[Any]) -> list[int | None]:
    """Booleans as SQLite stores them; its driver would take a detour for each."""
    return [None if flag is None else int(flag) for flag in flags]
