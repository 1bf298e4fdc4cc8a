"""Writes tables as CSV (RFC 4180). A spreadsheet does not compute any text that a sender wrote."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import cast

Cell = str | float | bool | None
"""The value of a cell; `None` is an empty cell. Numbers are finite."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet reads a text that begins with one of these as a formula."""
_MARK = '"'
_IN_MARKS = (",", _MARK, "\r", "\n")
"""A text with one of these stands between quotation marks."""
_NEEDS_MARKS = re.compile(f"[{''.join(_IN_MARKS)}]")


def lines(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """The lines of a table with its header, one record at a time, so that a table of any length can be written.

    A text that begins like a formula gets a `'` before it. A number has digits, a decimal point and a sign, never an
    exponent, and stays a number.
    """
    written = ([_written(cell) for cell in row] for row in rows)
    return _records(itertools.chain([[_written(name) for name in columns]], written))


def lines_of_columns(columns: Sequence[str], values: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """The lines of a table that is given as columns of the same length; equal cells of a column are formatted once."""
    written = []
    for column in values:
        known = {cell: _written(cell) for cell in set(column)}
        written.append([known[cell] for cell in column])
    return _records(itertools.chain([[_written(name) for name in columns]], zip(*written, strict=True)))


def written_cells(cells: Sequence[Cell]) -> list[str]:
    """The cells as they stand in a line, with quotation marks where they need them."""
    if {*map(type, cells)} == {str}:
        texts = cast(Sequence[str], cells)
        joined = "".join(texts)
        if not any(sign in joined for sign in _IN_MARKS) and {text[:1] for text in texts}.isdisjoint(_FORMULA):
            return list(texts)
    written = map(_written, cells)
    return [f'"{text.replace(_MARK, 2 * _MARK)}"' if _NEEDS_MARKS.search(text) else text for text in written]


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
    """A number with digits, a decimal point and a sign, never with an exponent; `float` reads the same number again.

    Zero has no sign.
    """
    if type(number) is int:
        return str(number)
    return format(Decimal(repr(number or 0)), "f").removesuffix(".0")
