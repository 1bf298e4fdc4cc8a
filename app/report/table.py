"""Tables as CSV (RFC 4180), written so that a spreadsheet computes nothing that a sender wrote."""

import csv
import io
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
    record = io.StringIO(newline="")
    writer = csv.writer(record)
    for row in _with_header(columns, rows):
        writer.writerow([_written(cell) for cell in row])
        yield record.getvalue()
        record.seek(0)
        record.truncate()


def _with_header(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[Sequence[Cell]]:
    yield columns
    yield from rows


def _written(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case str():
            return f"'{cell}" if cell.startswith(_FORMULA) else cell
        case _:
            return format(Decimal(repr(cell)), "f").removesuffix(".0")
