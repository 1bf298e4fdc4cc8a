"""Wilcoxon's signed-rank test.

The exact distribution is counted here, because neither R `wilcox.test` nor SciPy gives an exact test with ties or
zeros. R uses a normal approximation. SciPy uses it from 14 pairs on and without continuity correction, and its exact
Pratt test is wrong.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.estimate.arithmetic import sorted_values, to_twelve_digits
from app.estimate.results import Reason, TestResult

Zeros = Literal["drop", "pratt"]
SignedRankP = Literal["exact", "exact_unless_tied", "normal_corrected", "normal"]

LARGEST_EXACT = 50
"""Distributions are exact up to so many non-zero differences: counts of 2^50 sign patterns fit into 64 bits."""


@dataclass(frozen=True)
class SignedRanks:
    """The ranks of absolute differences: twice the midrank, a whole number, for each difference that is not zero."""

    doubled: NDArray[np.int64]
    positive: NDArray[np.bool_]
    n_zero: int

    def exact(self, p: SignedRankP = "exact") -> bool:
        """Whether p is exact: there are few enough differences, and `p` requests it."""
        size = self.doubled.size
        if not size:
            return True  # there is one pattern only, and no variance
        if p == "exact_unless_tied":
            return size < LARGEST_EXACT and not self.n_zero and np.unique(self.doubled).size == size
        return p == "exact" and size <= LARGEST_EXACT


def rounded(differences: ArrayLike) -> NDArray[np.float64]:
    """The differences in ascending order and to 12 significant digits, so that equal differences are ties.

    Differences of decimal values have rounding errors: without rounding, 1.3 - 1.1 and 0.3 - 0.1 would not be tied.
    """
    return to_twelve_digits(sorted_values(differences))


def signed_ranks(differences: NDArray[np.float64], zeros: Zeros) -> SignedRanks:
    """Rank the absolute values of rounded differences; ties have the mean of their ranks (midranks).

    `drop` removes zeros before ranking (Wilcoxon 1945, as R and SAS), `pratt` after ranking (Pratt 1959).
    """
    if zeros not in ("drop", "pratt"):
        raise ValueError("`zeros` must be drop or pratt.")
    ranked = differences[differences != 0] if zeros == "drop" else differences
    _, group, size = np.unique(np.abs(ranked), return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    doubled = (2 * last - size + 1)[group]
    kept = ranked != 0
    n_zero = int(np.count_nonzero(differences == 0))
    return SignedRanks(doubled=doubled[kept].astype(np.int64), positive=ranked[kept] > 0, n_zero=n_zero)


def signed_rank_test(differences: ArrayLike, zeros: Zeros = "drop", p: SignedRankP = "exact") -> TestResult:
    """Two-sided test that differences are symmetric about 0; the statistic is V, the sum of the positive ranks.

    Up to 50 non-zero differences p is exact (`wilcoxon_exact`): twice the smaller tail, at most 1, over all 2^n
    patterns of signs of the midranks, as in R `exactRankTests::wilcox.exact`. With more, it comes from the normal
    distribution with tie and continuity correction (`wilcoxon_normal_corrected`, R `wilcox.test(exact = FALSE)`).
    The argument `p` may request that distribution always (`normal_corrected`), the same without continuity correction
    (`normal`: `wilcoxon_normal`, R `correct = FALSE`), or, as R by default, only with ties, zeros or at least 50
    differences (`exact_unless_tied`). With `zeros="pratt"` the name of the method ends in `_pratt`. If every difference
    is zero p is 1; without differences it is null.
    """
    return rank_test(rounded(differences), zeros, p)


def rank_test(values: NDArray[np.float64], zeros: Zeros, p: SignedRankP) -> TestResult:
    """The same of values that are `rounded`."""
    ranks = signed_ranks(values, zeros)
    exact, corrected = ranks.exact(p), p != "normal"
    method = "wilcoxon_exact" if exact else "wilcoxon_normal_corrected" if corrected else "wilcoxon_normal"
    return TestResult(
        method=method + ("_pratt" if zeros == "pratt" else ""),
        statistic=int(ranks.doubled[ranks.positive].sum()) / 2 if values.size else None,
        p=(_exact_p(ranks) if exact else _normal_p(ranks, corrected=corrected)) if values.size else None,
        n_used=ranks.doubled.size,
        n_zero=ranks.n_zero,
        reason=None if values.size else Reason.NO_PATIENTS,
    )


def _exact_p(ranks: SignedRanks) -> float:
    patterns = sign_patterns(ranks.doubled)
    observed = int(ranks.doubled[ranks.positive].sum())
    tail = min(int(patterns[: observed + 1].sum()), int(patterns[observed:].sum()))
    return min(1.0, 2 * tail / (1 << ranks.doubled.size))


def _normal_p(ranks: SignedRanks, *, corrected: bool) -> float:
    """The variance over the patterns of signs is a quarter of the sum of squared midranks, ties and zeros included."""
    variance = float(np.sum(ranks.doubled.astype(np.float64) ** 2)) / 16
    distance = abs(float(ranks.doubled[ranks.positive].sum()) / 2 - float(ranks.doubled.sum()) / 4)
    return math.erfc(max(0.0, distance - (0.5 if corrected else 0)) / math.sqrt(2 * variance))


def sign_patterns(ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the 2^n patterns of signs for each sum 0, 1, ... of the positive ranks (whole numbers > 0).

    Each rank in turn is positive or negative, so the counts are added to themselves, shifted by that rank.
    """
    patterns = np.zeros(int(ranks.sum()) + 1, dtype=np.int64)
    patterns[0] = 1
    for rank in ranks.tolist():
        patterns[rank:] = patterns[rank:] + patterns[:-rank]
    return patterns
