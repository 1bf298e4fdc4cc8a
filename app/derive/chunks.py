"""Divides the patients of a study into chunks, so that the columns of one chunk fit the processor's cache.

The derivation of a patient uses only the rows of that patient. So a study that is derived chunk by chunk equals the
study that is derived at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain, pairwise
from typing import Any, TypeVar

import numpy as np

from app.derive.per_patient import NONE, Code
from app.timeline.cohort import Bools, Ints

Derived = TypeVar("Derived")

ROWS_AT_ONCE = 1 << 16
"""Half a megabyte for each column: the columns of one derivation fit the cache together."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring patients and their rows. Inside a chunk patients are numbered from 0."""

    patients: slice
    rows: slice

    def local_rows(self, rows: Ints) -> Ints:
        """The row of each of these patients (-1 for none), counted from the first row of the chunk."""
        mine = rows[self.patients]
        return np.where(mine == NONE, NONE, mine - self.rows.start)

    def masks(self, whole: Sequence[tuple[Code, Bools]]) -> list[tuple[Code, Bools]]:
        """The named masks, cut to these patients."""
        return [(name, mask[self.patients]) for name, mask in whole]


def chunks(patient: Ints, size: int) -> Iterator[Chunk]:
    """All patients in order, in chunks of about `ROWS_AT_ONCE` rows; always at least one chunk.

    `patient` is the number of the patient of each row, ascending; `size` is the number of patients.
    """
    later = np.unique(patient[ROWS_AT_ONCE::ROWS_AT_ONCE])
    begins = [0, *later[later > 0].tolist(), size]
    for first, stop in pairwise(begins):
        yield Chunk(slice(first, stop), slice(*np.searchsorted(patient, [first, stop]).tolist()))


def neighbours(ends: Ints, rows: int) -> Iterator[tuple[int, int]]:
    """For each chunk of about `rows` rows its first patient and the patient after its last; at least one chunk.

    `ends` is, for each patient, the number of rows of this patient and of all patients before.
    """
    cuts = np.flatnonzero(np.diff(ends // rows)) + 1
    return pairwise([0, *cuts.tolist(), len(ends)])


def concatenated(derived: Iterable[Derived]) -> Derived:
    """The results of all chunks as one. Every field must be an array or tuple with one entry for each patient."""
    parts = list(derived)
    if len(parts) == 1:
        return parts[0]
    kind: Any = type(parts[0])
    columns: list[Any] = []
    for field in fields(kind):
        values = [getattr(part, field.name) for part in parts]
        array = isinstance(values[0], np.ndarray)
        columns.append(np.concatenate(values) if array else tuple(chain.from_iterable(values)))
    whole: Derived = kind(*columns)
    return whole
