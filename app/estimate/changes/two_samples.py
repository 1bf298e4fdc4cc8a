"""Two independent samples: the Mann-Whitney test and the Hodges-Lehmann estimate of the shift between them."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from app.estimate.arithmetic import check_level, normal_quantile
from app.estimate.changes.selection import kth_sum
from app.estimate.changes.signed_rank import rounded
from app.estimate.results import Interval, Reason, Result, TestResult

LARGEST_EXACT = 60
"""Distributions are exact up to so many values in both samples: counts of C(60, 30) selections fit into 64 bits."""

SHIFT_INTERVAL = {
    "of": "shift",
    "method": "hodges_lehmann_exact",
    "level": 0.95,
    "low": -0.4,
    "high": 0.1,
    "estimate": -0.15,
    "reason": None,
}


class Shift(Result):
    """The shift of the first sample against the second, with the Mann-Whitney test."""

    n_first: int = Field(description="Values of the first sample.", examples=[8])
    n_second: int = Field(description="Values of the second sample.", examples=[7])
    shift: Interval = Field(
        description="Median of all differences of a first and a second value, with its interval.",
        examples=[SHIFT_INTERVAL],
    )
    test: TestResult = Field(description="Mann-Whitney test; the statistic is W.")


def two_samples(first: ArrayLike, second: ArrayLike, *, level: float = 0.95) -> Shift:
    """Mann-Whitney test of two samples of finite values, and the shift between them with its interval.

    W is the number of pairs in which the first value is greater; ties count one half (R `wilcox.test`). Up to 60 values
    in both samples together p is exact (`mann_whitney_exact`): the share of all selections of the midranks whose sum is
    at least as far from its expectation, as in R `exactRankTests::wilcox.exact`. With more, it comes from the normal
    distribution with tie and continuity correction (`mann_whitney_normal_corrected`, R `wilcox.test(exact = FALSE)`); p
    is 1 if all values are equal. The shift is the median of all differences between the samples. Its limits are the
    C-th smallest and C-th largest difference, C from the distribution of W without ties: exact up to the same size
    (`hodges_lehmann_exact`, R `wilcox.test(conf.int = TRUE)` with `qwilcox`), then normal with continuity correction
    (`hodges_lehmann_normal`). If even the whole range has a lower coverage than `level`, the limits are null with
    `level_not_attainable`. Memory is O(n). Values are rounded to 12 significant digits, so that equal values are ties.
    """
    check_level(level)
    x, y = rounded(first), rounded(second)
    exact = x.size + y.size <= LARGEST_EXACT
    reason = None if x.size and y.size else Reason.NO_PATIENTS
    statistic, p = (None, None) if reason else _test(x, y, exact=exact)
    return Shift(
        n_first=x.size,
        n_second=y.size,
        shift=_shift(x, y, level, reason, exact=exact),
        test=TestResult(
            method="mann_whitney_exact" if exact else "mann_whitney_normal_corrected",
            statistic=statistic,
            p=p,
            n_used=x.size + y.size,
            n_zero=0,
            reason=reason,
        ),
    )


def _test(x: NDArray[np.float64], y: NDArray[np.float64], *, exact: bool) -> tuple[float, float]:
    """W and its two-sided p, from twice the midranks, which are whole numbers."""
    _, group, size = np.unique(np.concatenate([x, y]), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(size) - size + 1)[group].astype(np.int64)
    excess = int(doubled[: x.size].sum()) - x.size * (x.size + 1)
    p = _exact_p(doubled, x.size) if exact else _normal_p(excess / 2, x.size, y.size, size)
    return excess / 2, p


def _exact_p(doubled: NDArray[np.int64], n: int) -> float:
    """The share of the selections whose sum is at least as far from its expectation as the observed sum."""
    ways = selections(doubled, n)
    expected = n * (doubled.size + 1)
    distance = abs(int(doubled[:n].sum()) - expected)
    far = np.abs(np.arange(ways.size) - expected) >= distance
    return int(ways[far].sum()) / math.comb(doubled.size, n)


def _normal_p(w: float, n: int, m: int, tied: NDArray[np.int64]) -> float:
    total = n + m
    cubes = math.fsum(float(t) ** 3 - float(t) for t in tied if t > 1)
    variance = n * m / 12 * (total + 1 - cubes / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    return math.erfc(max(0.0, abs(w - n * m / 2) - 0.5) / math.sqrt(2 * variance))


def selections(ranks: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The number of selections of n of the ranks (whole numbers > 0) for each sum 0, 1, ....

    Each rank in turn is selected or not, so the counts for one rank fewer are added, shifted by that rank.
    """
    ways = np.zeros((n + 1, int(ranks.sum()) + 1), dtype=np.int64)
    ways[0, 0] = 1
    for rank in ranks.tolist():
        ways[1:, rank:] += ways[:-1, :-rank].copy()
    answer: NDArray[np.int64] = ways[n]
    return answer


def _shift(
    x: NDArray[np.float64], y: NDArray[np.float64], level: float, reason: Reason | None, *, exact: bool
) -> Interval:
    low = high = estimate = None
    if reason is None:
        pairs = x.size * y.size
        lower = _difference(x, y, (pairs + 1) // 2)
        estimate = lower if pairs % 2 else (lower + _difference(x, y, pairs // 2 + 1)) / 2
        c = _rank_of_limit(x.size, y.size, level, exact=exact)
        if c is None:
            reason = Reason.LEVEL_NOT_ATTAINABLE
        else:
            low, high = _difference(x, y, c), _difference(x, y, pairs + 1 - c)
    return Interval(
        of="shift",
        method="hodges_lehmann_exact" if exact else "hodges_lehmann_normal",
        level=level,
        low=low,
        high=high,
        estimate=estimate,
        reason=reason,
    )


def _difference(x: NDArray[np.float64], y: NDArray[np.float64], k: int) -> float:
    """The k-th smallest (from 1) of all differences of ascending values, to 12 significant digits."""
    found = kth_sum(x, -y[::-1], np.zeros(x.size, dtype=np.int64), k)
    return float(f"{found:.12g}") + 0.0


def _rank_of_limit(n: int, m: int, level: float, *, exact: bool) -> int | None:
    """Which difference, counted from either end, is the limit; `None` if even the first gives too low a coverage."""
    tail = (1 - level) / 2
    if not exact:
        spread = normal_quantile(level) * math.sqrt(n * m * (n + m + 1) / 12)
        return max(1, math.floor(n * m / 2 - spread + 0.5))
    ways = selections(np.arange(1, n + m + 1), n)[n * (n + 1) // 2 :]
    at_most = np.cumsum(ways) / math.comb(n + m, n)
    fuzz = 10 * np.finfo(np.float64).eps  # as in R qwilcox
    c = max(1, int(np.searchsorted(at_most, tail - fuzz)))
    return c if at_most[c - 1] <= tail + fuzz else None
