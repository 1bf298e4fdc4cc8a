"""The k-th smallest of many sums of two values, without computing all sums."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEW = 16_384
"""When at most so many sums are left, they are computed."""
SAMPLED, SAMPLED_LATER = 8192, 2048
"""The size of the sample of the first round, and of the others."""
MARGIN = 50
"""A place in the sample estimates the rank of a sum to about so many places; the pivots are this far on either side."""


def kth_sum(rows: Floats, columns: Floats, start: Ints, k: int) -> float:
    """The k-th smallest (from 1) of the sums of each row with the columns from its `start` on; see `Sums`."""
    return Sums(rows, columns, start).kth(k)


class Sums:
    """The sums of each row with the columns from its `start` on; both are ascending. What was counted for one
    selection serves the next.
    """

    def __init__(self, rows: Floats, columns: Floats, start: Ints) -> None:
        self._rows, self._columns, self._start = rows, columns, start
        self._all = np.full(rows.size, columns.size)
        self._smallest = columns[np.minimum(start, columns.size - 1)]
        self._slack = 4 * np.spacing(max(np.max(np.abs(rows)), np.max(np.abs(columns))))
        self._ends: dict[tuple[float, bool], Ints] = {}
        self._sample: Floats | None = None
        self._remaining: tuple[Ints, Ints, Floats] | None = None

    def kth(self, k: int) -> float:
        """The k-th smallest (from 1).

        Each round takes two pivots from a regular sample of the remaining sums, one on each side of the k-th. It counts
        the sums below them and drops those on the wrong side. After one or two rounds few sums remain. If
        a round leaves more than half, the next uses the weighted median of the rows' medians, which always drops a
        quarter (Johnson and Mizoguchi 1978). Memory is O(n), time at worst O(n log^2 n). Sums that differ by a few
        units in the last place of the largest value count as equal.
        """
        rows, columns, start = self._rows, self._columns, self._start
        first, end = start, self._all  # of row i the columns first[i] .. end[i] - 1 are left
        left, narrowed = int(np.sum(end - first)), True
        while left > FEW:
            share = (k - np.sum(first - start)) / left
            pivots = self._around(first, end, share) if narrowed else [_middle(rows, columns, first, end)]
            for pivot in pivots:
                below = np.clip(self._end(pivot, equal=False), first, end)
                if k <= np.sum(below - start):
                    end = below
                    continue
                up_to = np.clip(self._end(pivot, equal=True), first, end)
                if k <= np.sum(up_to - start):
                    return pivot
                first = up_to
            before, left = left, int(np.sum(end - first))
            narrowed = left <= before / 2
        place = k - 1 - int(np.sum(first - start))
        sums = self._left(first, end)
        sums.partition(place)
        return float(sums[place])

    def _end(self, pivot: float, *, equal: bool) -> Ints:
        """For each row the place after its last sum below the pivot, or up to it. A row without one has its start."""
        if (pivot, equal) not in self._ends:
            wanted = pivot - self._rows + (self._slack if equal else -self._slack)
            some = self._smallest <= wanted
            found = self._start.copy()
            found[some] = np.searchsorted(self._columns, wanted[some], side="right" if equal else "left")
            self._ends[pivot, equal] = found
        return self._ends[pivot, equal]

    def _around(self, first: Ints, end: Ints, share: float) -> list[float]:
        """Two sums from a regular sample; the sum at this share of the remaining sums is expected between them."""
        if first is self._start and end is self._all:
            if self._sample is None:
                self._sample = np.sort(_sample(self._rows, self._columns, first, end, SAMPLED))
            ordered = self._sample
        else:
            ordered = np.sort(_sample(self._rows, self._columns, first, end, SAMPLED_LATER))
        margin, size = MARGIN / ordered.size, ordered.size
        wanted = np.clip([(share - margin) * size, (share + margin) * size], 0, size - 1).astype(np.int64)
        pivots: list[float] = ordered[wanted].tolist()
        return pivots

    def _left(self, first: Ints, end: Ints) -> Floats:
        """The remaining sums, in any order."""
        if self._remaining is not None:
            known_first, known_end, known = self._remaining
            if np.array_equal(known_first, first) and np.array_equal(known_end, end):
                return known
        held = end - first
        last = np.cumsum(held)
        kept = np.arange(last[-1]) - np.repeat(last - held - first, held)
        sums: Floats = np.repeat(self._rows, held) + self._columns[kept]
        self._remaining = first, end, sums
        return sums


def _sample(rows: Floats, columns: Floats, first: Ints, end: Ints, size: int) -> Floats:
    """A regular sample of the remaining sums."""
    last = np.cumsum(end - first)
    places = ((np.arange(size) + 0.5) * (last[-1] / size)).astype(np.int64)
    row = np.searchsorted(last, places, side="right")
    sums: Floats = rows[row] + columns[end[row] - last[row] + places]
    return sums


def _middle(rows: Floats, columns: Floats, first: Ints, end: Ints) -> float:
    """The median of the rows' medians, weighted by the remaining sums of each row: a quarter lies on either side."""
    held = np.flatnonzero(end > first)
    middles = rows[held] + columns[(first[held] + end[held]) // 2]
    order = np.argsort(middles, kind="stable")
    weight = np.cumsum((end - first)[held][order])
    return float(middles[order][np.searchsorted(weight, (weight[-1] + 1) // 2)])
