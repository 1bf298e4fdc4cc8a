"""The k-th smallest of many sums of two values, without computing all sums."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW = 16
"""When at most so many sums for each row are left, they are computed."""
SAMPLED = 8192
"""The size of the sample of a round."""
MARGIN = 0.003
"""The sample estimates the rank of a sum to about this share of all sums; the pivots are this far on either side."""


def kth_sum(rows: Floats, columns: Floats, start: Ints, k: int) -> float:
    """The k-th smallest (from 1) of the sums of each row with the columns from its `start` on; both are ascending.

    Each round takes two pivots from a regular sample of the remaining sums, one on each side of the k-th. It counts the
    sums below them and drops those on the wrong side. After a few rounds the remaining sums fit into memory. If a round
    leaves more than half, the next uses the weighted median of the rows' medians, which always drops a quarter
    (Johnson and Mizoguchi 1978). Memory is O(n), time at worst O(n log^2 n). Sums that differ by a few units in the
    last place of the largest value count as equal.
    """
    first, end = start, np.full(rows.size, columns.size)  # of row i the columns first[i] .. end[i] - 1 are left
    slack = 4 * np.spacing(max(np.max(np.abs(rows)), np.max(np.abs(columns))))
    left, narrowed = int(np.sum(end - first)), True
    while left > FEW * rows.size:
        share = (k - np.sum(first - start)) / left
        for pivot in _around(rows, columns, first, end, share) if narrowed else [_middle(rows, columns, first, end)]:
            below = np.clip(np.searchsorted(columns, pivot - rows - slack, side="left"), first, end)
            if k <= np.sum(below - start):
                end = below
                continue
            up_to = np.clip(np.searchsorted(columns, pivot - rows + slack, side="right"), first, end)
            if k <= np.sum(up_to - start):
                return pivot
            first = up_to
        before, left = left, int(np.sum(end - first))
        narrowed = left <= before / 2
    held = end - first
    kept = np.arange(left) - np.repeat(np.cumsum(held) - held - first, held)
    place = k - 1 - int(np.sum(first - start))
    return float(np.partition(np.repeat(rows, held) + columns[kept], place)[place])


def _around(rows: Floats, columns: Floats, first: Ints, end: Ints, share: float) -> list[float]:
    """Two sums from a regular sample; the sum at this share of the remaining sums is expected between them."""
    last = np.cumsum(end - first)
    places = ((np.arange(SAMPLED) + 0.5) * (last[-1] / SAMPLED)).astype(np.int64)
    row = np.searchsorted(last, places, side="right")
    sums = rows[row] + columns[end[row] - last[row] + places]
    wanted = np.clip([(share - MARGIN) * SAMPLED, (share + MARGIN) * SAMPLED], 0, SAMPLED - 1).astype(np.int64)
    pivots: list[float] = np.partition(sums, wanted)[wanted].tolist()
    return pivots


def _middle(rows: Floats, columns: Floats, first: Ints, end: Ints) -> float:
    """The median of the rows' medians, weighted by the remaining sums of each row: a quarter lies on either side."""
    held = np.flatnonzero(end > first)
    middles = rows[held] + columns[(first[held] + end[held]) // 2]
    order = np.argsort(middles, kind="stable")
    weight = np.cumsum((end - first)[held][order])
    return float(middles[order][np.searchsorted(weight, (weight[-1] + 1) // 2)])
