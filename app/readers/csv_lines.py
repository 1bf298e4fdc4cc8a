"""Tables as CSV (RFC 4180), written so that a spreadsheet computes nothing that a sender wrote."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

Cell = str | float | bool | None
"""What a cell may hold; `None` is an empty one. Numbers are finite."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet takes for a formula."""


def lines(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """The lines of a table, its header first, one record at a time: a table of any length is written as it is read.

    A text that begins like a formula gets a `'` before it; a number is digits, a decimal point and its sign, never an
    exponent, and stays a number.
    """
    written = ([_written(cell) for cell in row] for row in rows)
    return _records(itertools.chain([[_written(name) for name in columns]], written))


def lines_of_columns(columns: Sequence[str], values: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """The same table from its columns, all of one length; what a column holds many times is written once."""
    written = []
    for column in values:
        known = {cell: _written(cell) for cell in set(column)}
        written.append([known[cell] for cell in column])
    return _records(itertools.chain([[_written(name) for name in columns]], zip(*written, strict=True)))


def _records(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    record = io.StringIO(newline="")
    writer = csv.writer(record)
    for row in rows:
        writer.writerow(row)
        yield record.getvalue()
        record.seek(0)
        record.truncate()


def _written(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case str():
            return f"'{cell}" if cell.startswith(_FORMULA) else cell
        case _:
            return digits(cell)


def digits(number: float) -> str:
    """A number in digits, a decimal point and its sign, never with an exponent; `float` reads the same number again.

    There is one zero, without a sign.
    """
    return format(Decimal(repr(number or 0)), "f").removesuffix(".0")
