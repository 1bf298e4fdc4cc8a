"""The Hodges-Lehmann estimate of a shift (pseudomedian) with the interval that belongs to the signed-rank test."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.estimate.arithmetic import check_level, normal_quantile
from app.estimate.changes.selection import Sums
from app.estimate.changes.signed_rank import LARGEST_EXACT, Zeros, rounded, sign_patterns
from app.estimate.results import Interval, Reason


def hodges_lehmann(differences: ArrayLike, *, level: float = 0.95, zeros: Zeros = "drop") -> Interval:
    """The pseudomedian, which is the median of the means of all pairs of differences (Walsh averages), with limits.

    Each difference is also paired with itself. With `zeros="drop"` zeros are left out as in the test (and in R); with
    `pratt` they stay. The limits are the C-th smallest and C-th largest Walsh average. Up to 50 differences C comes
    from the exact distribution of V without ties (`hodges_lehmann_exact`; R `wilcox.test(conf.int = TRUE)` with
    `qsignrank`, C at least 1): coverage is at least `level`, and ties only make it larger. If even C = 1, the whole
    range, has a lower coverage (fewer than 6 differences at 0.95), R gives the range, sometimes with a warning; here
    the limits are null with `level_not_attainable`. Beyond 50, C comes from the normal distribution with continuity
    correction and without tie correction, which gives the wider interval (`hodges_lehmann_normal`; Hollander and Wolfe
    1999, section 3.3).
    """
    return pseudomedian(rounded(differences), level=level, zeros=zeros)


def pseudomedian(values: NDArray[np.float64], *, level: float, zeros: Zeros) -> Interval:
    """The same of values that are `rounded`."""
    check_level(level)
    kept = values[values != 0] if zeros == "drop" else values
    averages = _WalshAverages(kept)
    low, high, reason = averages.limits(level)
    return Interval(
        of="pseudomedian",
        method="hodges_lehmann_exact" if kept.size <= LARGEST_EXACT else "hodges_lehmann_normal",
        level=level,
        low=low,
        high=high,
        estimate=averages.median(),
        reason=reason if values.size else Reason.NO_PATIENTS,
    )


class _WalshAverages:
    """The means of all pairs of ascending values, each also paired with itself."""

    def __init__(self, ordered: NDArray[np.float64]) -> None:
        self._size = ordered.size
        self._pairs = ordered.size * (ordered.size + 1) // 2
        self._sums = _sums_of_pairs(ordered) if ordered.size else None

    def median(self) -> float | None:
        """The pseudomedian."""
        if self._sums is None:
            return None
        lower = self._sums.kth((self._pairs + 1) // 2) / 2
        return lower if self._pairs % 2 else (lower + self._sums.kth(self._pairs // 2 + 1) / 2) / 2

    def limits(self, level: float) -> tuple[float | None, float | None, Reason | None]:
        """Lower and upper limit, and why there are none."""
        if self._sums is None:
            return None, None, Reason.ALL_DIFFERENCES_ZERO
        c = _rank_of_limit(self._size, level)
        if c is None:
            return None, None, Reason.LEVEL_NOT_ATTAINABLE
        return self._sums.kth(c) / 2, self._sums.kth(self._pairs + 1 - c) / 2, None


def _rank_of_limit(n: int, level: float) -> int | None:
    """Which Walsh average, counted from either end, is the limit; `None` if even the first gives too low a coverage."""
    tail = (1 - level) / 2
    if n > LARGEST_EXACT:
        spread = normal_quantile(level) * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(1, math.floor(n * (n + 1) / 4 - spread + 0.5))
    at_most = np.cumsum(sign_patterns(np.arange(1, n + 1))) / 2**n
    fuzz = 10 * np.finfo(np.float64).eps  # as in R qsignrank
    c = max(1, int(np.searchsorted(at_most, tail - fuzz)))
    return c if at_most[c - 1] <= tail + fuzz else None


def walsh_average(ordered: NDArray[np.float64], k: int) -> float:
    """The k-th smallest (from 1) of the n(n + 1)/2 means of pairs of ascending values, without computing all."""
    return _sums_of_pairs(ordered).kth(k) / 2


def _sums_of_pairs(ordered: NDArray[np.float64]) -> Sums:
    """Row i of the triangle holds the sums of value i with itself and every later one, in ascending order."""
    return Sums(ordered, ordered, np.arange(ordered.size))
