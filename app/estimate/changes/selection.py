"""The k-th smallest of many sums of two values, without forming them all."""

import numpy as np
from numpy.typing import NDArray

FEW = 16
"""Once so few sums a row are left, they are sorted rather than searched."""


def kth_sum(rows: NDArray[np.float64], columns: NDArray[np.float64], start: NDArray[np.int64], k: int) -> float:
    """The k-th smallest (from 1) of the sums of each row with the columns from its `start` on; both are ascending.

    Each round takes as pivot the weighted median of the medians of what is left of the rows, counts the sums below and
    up to it, and drops the side that k is not on (Johnson and Mizoguchi 1978); the few that remain are sorted. Memory
    is O(n) and time O(n log^2 n). Sums that differ by a few units in the last place of the largest value count as
    equal.
    """
    first, end = start, np.full(rows.size, columns.size)  # of row i the columns first[i] .. end[i] - 1 are left
    slack = 4 * np.spacing(max(np.max(np.abs(rows)), np.max(np.abs(columns))))
    while np.sum(end - first) > FEW * rows.size:
        pivot = _pivot(rows, columns, first, end)
        below = np.clip(np.searchsorted(columns, pivot - rows - slack, side="left"), first, end)
        up_to = np.clip(np.searchsorted(columns, pivot - rows + slack, side="right"), first, end)
        if k <= np.sum(below - start):
            end = below
        elif k > np.sum(up_to - start):
            first = up_to
        else:
            return pivot
    left = end - first
    kept = np.arange(np.sum(left)) - np.repeat(np.cumsum(left) - left - first, left)
    sums = np.sort(np.repeat(rows, left) + columns[kept])
    return float(sums[k - 1 - np.sum(first - start)])


def _pivot(
    rows: NDArray[np.float64], columns: NDArray[np.float64], first: NDArray[np.int64], end: NDArray[np.int64]
) -> float:
    """The middle of the rows' middles, each row weighing as much as it still holds: a quarter lies on either side."""
    held = np.flatnonzero(end > first)
    middles = rows[held] + columns[(first[held] + end[held]) // 2]
    order = np.argsort(middles, kind="stable")
    weight = np.cumsum((end - first)[held][order])
    return float(middles[order][np.searchsorted(weight, (weight[-1] + 1) // 2)])
