"""Functions that reduce a table sorted by patient to one entry for each patient; all derivations use them.

`patient` is the patient's number of each row, ascending. `size` is the number of patients; results have this length.
A row number of -1 means that the patient has no row.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from app.timeline.cohort import Bools, Floats, Ints

NONE = -1
Code = TypeVar("Code", bound=str)


def first_where(patient: Ints, size: int, chosen: Bools) -> Ints:
    """The first chosen row of each patient, -1 for none."""
    rows, begins = _of_each(patient, size, chosen)
    any_chosen = begins[1:] > begins[:-1]
    first = np.full(size, NONE, dtype=np.int64)
    first[any_chosen] = rows[begins[:-1][any_chosen]]
    return first


def last_where(patient: Ints, size: int, chosen: Bools) -> Ints:
    """The last chosen row of each patient, -1 for none."""
    rows, begins = _of_each(patient, size, chosen)
    any_chosen = begins[1:] > begins[:-1]
    last = np.full(size, NONE, dtype=np.int64)
    last[any_chosen] = rows[begins[1:][any_chosen] - 1]
    return last


def any_where(patient: Ints, size: int, chosen: Bools) -> Bools:
    """Whether a patient has a chosen row."""
    return count_where(patient, size, chosen) > 0


def count_where(patient: Ints, size: int, chosen: Bools) -> Ints:
    """How many chosen rows each patient has."""
    return np.diff(_of_each(patient, size, chosen)[1])


def _of_each(patient: Ints, size: int, chosen: Bools) -> tuple[Ints, Ints]:
    """The chosen rows, and where among them those of each patient begin; they end where those of the next begin."""
    rows = np.flatnonzero(chosen)
    return rows, np.searchsorted(rows, np.searchsorted(patient, np.arange(size + 1)))


def best_of(patient: Ints, size: int, rows: Ints, values: Floats, *, higher: bool) -> Ints:
    """The row of each patient with the highest (or lowest) of the `values`, the first of equal ones; -1 for none."""
    worst_first = np.lexsort((-rows, values if higher else -values))
    best = np.full(size, NONE, dtype=np.int64)
    best[patient[rows[worst_first]]] = rows[worst_first]
    return best


def pick(column: Floats, rows: Ints) -> Floats:
    """The value at each row, NaN where there is no row."""
    if len(column) == 0:
        return np.full(rows.shape, np.nan)
    found = column[rows]  # the last value where there is no row
    found[rows == NONE] = np.nan
    return found


def pick_int(column: Ints, rows: Ints, missing: int) -> Ints:
    """The whole number at each row, `missing` where there is no row."""
    if len(column) == 0:
        return np.full(rows.shape, missing, dtype=np.int64)
    found = column[rows]  # the last number where there is no row
    found[rows == NONE] = missing
    return found


def first_reason(checks: Sequence[tuple[Code, Bools]], size: int) -> tuple[Code | None, ...]:
    """For each patient the first reason whose mask is true; None if no mask is."""
    names = (None, *(name for name, _ in checks))
    return tuple(map(names.__getitem__, first_true([mask for _, mask in checks], size).tolist()))


def first_true(masks: Sequence[Bools], size: int) -> Ints:
    """For each patient the number of the first mask that is true, counted from 1; 0 if no mask is."""
    chosen = np.zeros(size, dtype=np.int64)
    for place in range(len(masks), 0, -1):
        chosen[masks[place - 1]] = place
    return chosen


def included(reasons: Sequence[str | None]) -> Bools:
    """Which patients have no reason to be left out."""
    return np.array([reason is None for reason in reasons], dtype=np.bool_)
