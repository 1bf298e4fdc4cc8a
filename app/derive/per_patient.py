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
    rows = np.flatnonzero(chosen)[::-1]
    first = np.full(size, NONE, dtype=np.int64)
    first[patient[rows]] = rows
    return first


def last_where(patient: Ints, size: int, chosen: Bools) -> Ints:
    """The last chosen row of each patient, -1 for none."""
    rows = np.flatnonzero(chosen)
    last = np.full(size, NONE, dtype=np.int64)
    last[patient[rows]] = rows
    return last


def any_where(patient: Ints, size: int, chosen: Bools) -> Bools:
    """Whether a patient has a chosen row."""
    found = np.zeros(size, dtype=np.bool_)
    found[patient[chosen]] = True
    return found


def count_where(patient: Ints, size: int, chosen: Bools) -> Ints:
    """How many chosen rows each patient has."""
    return np.bincount(patient[chosen], minlength=size).astype(np.int64)


def nearest_of(patient: Ints, size: int, rows: Ints, day: Ints, target: int) -> Ints:
    """Of these rows the one of each patient whose day is nearest to `target`; of two equally near, the later."""
    ranked = rows[np.lexsort((day[rows], -np.abs(day[rows] - target), patient[rows]))]
    nearest = np.full(size, NONE, dtype=np.int64)
    nearest[patient[ranked]] = ranked
    return nearest


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
    return np.where(rows == NONE, np.nan, column[np.maximum(rows, 0)])


def pick_int(column: Ints, rows: Ints, missing: int) -> Ints:
    """The whole number at each row, `missing` where there is no row."""
    if len(column) == 0:
        return np.full(rows.shape, missing, dtype=np.int64)
    return np.where(rows == NONE, missing, column[np.maximum(rows, 0)])


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
