"""The lines of a dataset in CSV, made by Arrow a column at a time: the same bytes as `as_csv`, many times as fast.

The extra `parquet` installs pyarrow. Arrow only joins texts and prints numbers; how a text is written is said in
`readers.csv_lines`.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import numpy as np

from app.datasets.variables import NEAR, CodedColumn, Column, Dataset, Datum, NumberColumn, distinct
from app.readers.csv_lines import digits, written_cells
from app.timeline.cohort import Floats

SMALLEST, GREATEST = 1e-4, 1e10
"""From the one up to the other Arrow prints numbers without an exponent, in the fewest digits, as `digits` does."""
PART_BYTES = 1_000_000
FEW = 8
"""Cells of a column are written together where on average at least so many are equal."""


def is_installed() -> bool:
    """Whether pyarrow is there."""
    return find_spec("pyarrow") is not None


def lines(piece: Dataset) -> Iterator[bytes]:
    """The lines of a piece, without the names of its columns, in parts of so many bytes as a cache holds."""
    from pyarrow import compute

    if not len(piece):
        return
    empty = {"null_handling": "replace", "null_replacement": ""}
    *cells, last = _strings(piece.columns)
    ended = compute.binary_join_element_wise(last, "", "\r\n", **empty)
    written = compute.binary_join_element_wise(*cells, ended, ",", **empty)
    content, ends = written.buffers()[2], np.frombuffer(written.buffers()[1], dtype=np.int32)
    for begin in range(0, int(ends[len(piece)]), PART_BYTES):
        yield content[begin : min(begin + PART_BYTES, int(ends[len(piece)]))].to_pybytes()


def _strings(columns: Sequence[Column]) -> Iterator[Any]:
    """The columns as texts; neighbours that have few different cells together are one."""
    gathered: CodedColumn | None = None
    for column in _coded(columns):
        together = None if gathered is None else _together(gathered, column)
        if gathered is not None and together is None:
            yield _text(gathered)
        gathered = together or (column if isinstance(column, CodedColumn) else None)
        if gathered is None:
            yield _text(column)
    if gathered is not None:
        yield _text(gathered)


def _coded(columns: Sequence[Column]) -> Iterator[Column]:
    """The columns with their words as they are written; neighbours with the same places are one."""
    for _, neighbours in groupby(columns, key=lambda each: id(each.place if isinstance(each, CodedColumn) else each)):
        match list(neighbours):
            case [CodedColumn() as alone]:  # the addresses of facts: most of all texts, with nothing to join
                yield CodedColumn(_written(alone.words), alone.place)
            case [CodedColumn(_, place), *_] as same:
                words = zip(*(_written(each.words) for each in same if isinstance(each, CodedColumn)), strict=True)
                yield CodedColumn([",".join(each) for each in words], place)
            case [NumberColumn(values)]:
                yield _repeated(values) or NumberColumn(values)
            case [cells, *_]:
                yield _written(cells)


def _repeated(values: Floats) -> CodedColumn | None:
    """A column of numbers of which most are those of the row before, else `None`."""
    bits = values.view(np.int64)
    begins = np.concatenate([[True], bits[1:] != bits[:-1]])
    first = np.flatnonzero(begins)
    if len(first) * FEW > len(values):
        return None
    return CodedColumn([text or "" for text in printed(values[first]).to_pylist()], np.cumsum(begins) - 1)


def _together(first: CodedColumn, second: Column) -> CodedColumn | None:
    """Two neighbouring columns as one, or `None` if they do not have few different cells together."""
    if not isinstance(second, CodedColumn) or len(first.words) * len(second.words) > NEAR * len(second):
        return None
    size = len(second.words)
    pairs, place = distinct(first.place * size + second.place)
    if len(pairs) * FEW > len(place):
        return None
    places = zip((pairs // size).tolist(), (pairs % size).tolist(), strict=True)
    return CodedColumn([f"{first.words[one]},{second.words[other]}" for one, other in places], place)


def _text(column: Column) -> Any:  # noqa: ANN401 - pyarrow publishes no types
    import pyarrow

    match column:
        case CodedColumn(words, place):
            return pyarrow.array(words, pyarrow.string()).take(pyarrow.array(place))
        case NumberColumn(values):
            return printed(values)
        case texts:
            return pyarrow.array(texts, pyarrow.string())


def _written(cells: Sequence[Datum]) -> list[str]:
    texts: Sequence[Any] = cells
    if date in {*map(type, cells)}:
        texts = [cell.isoformat() if isinstance(cell, date) else cell for cell in cells]
    return written_cells(texts)


def printed(values: Floats) -> Any:  # noqa: ANN401 - pyarrow publishes no types
    """The numbers as `digits` writes them, null for NaN and infinite ones."""
    import pyarrow
    from pyarrow import compute

    finite, size = np.isfinite(values), np.abs(values)
    texts = pyarrow.array(values + 0.0, mask=~finite).cast(pyarrow.string())
    rare = np.flatnonzero(finite & (values != 0) & ~((size >= SMALLEST) & (size < GREATEST)))
    if not len(rare):
        return texts
    mask = np.zeros(len(values), dtype=np.bool_)
    mask[rare] = True
    written = pyarrow.array([digits(number) for number in values[rare].tolist()], pyarrow.string())
    return compute.replace_with_mask(texts, mask, written)
