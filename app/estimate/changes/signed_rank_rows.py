"""Wilcoxon's signed-rank test of many rows of differences at once: p and the direction, nothing else.

The rules are those of `signed_rank_test` and `hodges_lehmann`, which describe one row.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.estimate.changes.signed_rank import LARGEST_EXACT, SignedRankP, Zeros, sign_patterns

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_DIGITS = 12


class RowTest(NamedTuple):
    """The p of a row, and whether the pseudomedian is above 0; None where neither more than half of the means of all
    pairs are above 0 nor below, and for a row without differences.
    """

    p: float | None
    rises: bool | None


def signed_rank_rows(differences: Floats, zeros: Zeros = "drop", p: SignedRankP = "exact") -> list[RowTest]:
    """The test of each row; a NaN is no difference."""
    values = rounded_rows(differences)
    ranked = np.where(values == 0, np.nan, values) if zeros == "drop" else values
    sizes, above = _ascending(ranked)
    doubled, tied, balanced = _doubled_midranks(sizes, above)
    doubled[np.isnan(sizes) | (sizes == 0)] = 0
    positive = np.where(above, doubled, 0).sum(axis=1)
    size = (doubled > 0).sum(axis=1)
    squares = (doubled.astype(np.float64) ** 2).sum(axis=1)
    whole = doubled.sum(axis=1)
    present = (~np.isnan(values)).sum(axis=1)
    with_zero = (values == 0).any(axis=1)
    found: list[RowTest] = []
    for i in range(len(values)):
        n = int(size[i])
        broken = bool(tied[i]) or (zeros == "pratt" and bool(with_zero[i]))
        if not present[i]:
            found.append(RowTest(None, None))
            continue
        lead = 2 * int(positive[i]) - int(whole[i])
        if not n:
            value = 1.0
        elif (p == "exact" and n <= LARGEST_EXACT) or (
            p == "exact_unless_tied" and n < LARGEST_EXACT and not with_zero[i] and not tied[i]
        ):
            patterns = np.cumsum(sign_patterns(doubled[i][doubled[i] > 0])) if broken else _without_ties(n)
            value = _two_tails(patterns, int(positive[i]), n)
        else:
            distance = abs(float(positive[i]) / 2 - float(whole[i]) / 4) - (0 if p == "normal" else 0.5)
            value = math.erfc(max(0.0, distance) / math.sqrt(2 * float(squares[i]) / 16))
        found.append(RowTest(value, None if abs(lead) <= 2 * int(balanced[i]) else lead > 0))
    return found


def _ascending(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The sizes of the values of each row in ascending order, NaN last, and which are above 0.

    The last bit of a size is replaced by the sign, so that whole numbers are sorted, which is faster than their order.
    Two values of at most 12 digits lie thousands of last bits apart.
    """
    bits = np.abs(values).view(np.int64) & -2
    bits |= values > 0
    bits.sort(axis=1)
    sizes: Floats = (bits & -2).view(np.float64)
    return sizes, (bits & 1).astype(np.bool_)


def rounded_rows(differences: Floats) -> Floats:
    """To 12 significant digits, so that equal differences are ties (see `signed_rank.rounded`). Whole numbers of fewer
    digits stay as they are.
    """
    whole = (np.rint(differences) == differences) & (np.abs(differences) < 10.0**_DIGITS)
    if (whole | np.isnan(differences)).all():
        return differences
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(differences)))
    places = np.clip(_DIGITS - 1 - np.where(np.isfinite(exponent), exponent, 0), -300, 300).astype(np.int64)
    up, down = _POWERS[np.maximum(places, 0)], _POWERS[np.maximum(-places, 0)]
    rounded: Floats = np.rint(differences * up / down) / up * down
    return rounded


_POWERS = 10.0 ** np.arange(301)


def _doubled_midranks(ordered: Floats, above: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.bool_], Ints]:
    """Twice the midrank of each size of ascending rows, whether a row has ties, and how many of the means of pairs of
    its values are 0; the NaN at the end do not tie. `above` are the values above 0.

    The difference of the two rank sums is that of the numbers of means above and below 0 (Tukey 1949).
    """
    rows, length = ordered.shape
    if not length:
        nothing = np.zeros(rows, dtype=np.int64)
        return np.zeros((rows, 0), dtype=np.int64), nothing.astype(np.bool_), nothing
    new = np.ones((rows, length), dtype=np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(new.ravel()) - 1
    size = np.bincount(group)
    first = np.flatnonzero(new.ravel()) % length
    doubled: Ints = (2 * first + size + 1)[group].reshape(rows, length)
    tied: NDArray[np.bool_] = np.logical_not(np.logical_and.reduce(new, axis=1))
    if not tied.any() and not (ordered == 0).any():
        return doubled, tied, np.zeros(rows, dtype=np.int64)
    ups = np.bincount(group[above.ravel()], minlength=len(size))
    starts = new.ravel()
    zero = ordered.ravel()[starts] == 0
    pairs = np.where(zero, size * (size + 1) // 2, ups * (size - ups))
    balanced = np.bincount(np.flatnonzero(starts) // length, weights=pairs, minlength=rows).astype(np.int64)
    return doubled, tied, balanced


@lru_cache(maxsize=LARGEST_EXACT + 1)
def _without_ties(size: int) -> Ints:
    """How many of the patterns of signs of the ranks 1, 2, ... have each doubled sum or a smaller one."""
    return np.cumsum(sign_patterns(2 * np.arange(1, size + 1)))


def _two_tails(at_most: Ints, observed: int, size: int) -> float:
    above = int(at_most[-1]) - (int(at_most[observed - 1]) if observed else 0)
    return min(1.0, 2 * min(int(at_most[observed]), above) / (1 << size))
