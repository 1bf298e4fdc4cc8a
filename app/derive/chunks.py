"""The patients of a study some at a time, so that what is worked on stays in the cache of the processor.

What is derived of a patient rests on that patient's rows alone: a study derived in chunks is the study derived at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, pairwise
from typing import Any, TypeVar

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.per_patient import NONE, Code
from app.timeline.cohort import Bools, Ints

Derived = TypeVar("Derived")

ROWS_AT_ONCE = 1 << 16
"""Half a megabyte a column, so that the few columns of a derivation lie in the cache together."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring patients and the rows that are theirs; the patients of a chunk are numbered from 0."""

    patients: slice
    rows: slice

    def analysis_values(self, whole: AnalysisValues) -> AnalysisValues:
        """Their values; what was left out is counted for the whole only."""
        size = self.patients.stop - self.patients.start
        if size == whole.size:
            return whole
        columns = (each.name for each in fields(whole) if isinstance(getattr(whole, each.name), np.ndarray))
        mine: dict[str, Any] = {name: getattr(whole, name)[self.rows] for name in columns}
        mine["patient"] = mine["patient"] - self.patients.start
        return replace(whole, size=size, flags={}, **mine)

    def local_rows(self, rows: Ints) -> Ints:
        """Their rows, of which each patient has one or none, counted from the first row of the chunk."""
        mine = rows[self.patients]
        return np.where(mine == NONE, NONE, mine - self.rows.start)

    def masks(self, whole: Sequence[tuple[Code, Bools]]) -> list[tuple[Code, Bools]]:
        """Named marks of their patients."""
        return [(name, mask[self.patients]) for name, mask in whole]


def chunks(records: AnalysisValues) -> Iterator[Chunk]:
    """All patients in order, in chunks of about `ROWS_AT_ONCE` rows; one chunk where there are no more."""
    ends = np.searchsorted(records.patient, np.arange(1, records.size + 1))
    for first, stop in neighbours(ends, ROWS_AT_ONCE):
        yield Chunk(slice(first, stop), slice(*(int(ends[each - 1]) if each else 0 for each in (first, stop))))


def neighbours(ends: Ints, rows: int) -> Iterator[tuple[int, int]]:
    """The first patient and the one after the last of chunks of about so many rows; at least one chunk.

    `ends` tells of each patient how many rows there are up to and with theirs.
    """
    cuts = np.flatnonzero(np.diff(ends // rows)) + 1
    return pairwise([0, *cuts.tolist(), len(ends)])


def concatenated(found: Iterable[Derived]) -> Derived:
    """What was derived of each chunk as if of the whole: every field is one column or tuple, a row a patient."""
    every = list(found)
    if len(every) == 1:
        return every[0]
    kind: Any = type(every[0])
    columns: list[Any] = []
    for field in fields(kind):
        values = [getattr(each, field.name) for each in every]
        array = isinstance(values[0], np.ndarray)
        columns.append(np.concatenate(values) if array else tuple(chain.from_iterable(values)))
    one: Derived = kind(*columns)
    return one
