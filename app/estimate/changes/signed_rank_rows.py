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
    """The p of a row, and whether the pseudomedian is above 0, if there are no ties: then it follows from V."""

    p: float | None
    rises: bool | None


def signed_rank_rows(differences: Floats, zeros: Zeros = "drop", p: SignedRankP = "exact") -> list[RowTest]:
    """The test of each row; a NaN is no difference."""
    values = rounded_rows(differences)
    ranked = np.where(values == 0, np.nan, values) if zeros == "drop" else values
    order = np.argsort(np.abs(ranked), axis=1)
    ordered = np.take_along_axis(ranked, order, axis=1)
    doubled, tied = _doubled_midranks(np.abs(ordered))
    doubled[np.isnan(ordered) | (ordered == 0)] = 0
    positive = np.where(ordered > 0, doubled, 0).sum(axis=1)
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
        found.append(RowTest(value, None if broken else bool(4 * positive[i] > 2 * whole[i])))
    return found


def rises(differences: Floats, zeros: Zeros = "drop") -> bool | None:
    """Whether the pseudomedian of differences with a significant test is above 0; None if it is 0.

    It is the median of the means of all pairs, so that its sign follows from how many of them are above and below 0.
    """
    ordered = np.sort(rounded_rows(differences[None, :])[0])
    ordered = ordered[~np.isnan(ordered) & ((ordered != 0) | (zeros == "pratt"))]
    n = len(ordered)
    above = n - np.maximum(np.searchsorted(ordered, -ordered, side="right"), np.arange(n))
    below = np.maximum(np.searchsorted(ordered, -ordered, side="left"), np.arange(n)) - np.arange(n)
    half = n * (n + 1) / 4
    return True if above.sum() > half else False if below.sum() > half else None


def rounded_rows(differences: Floats) -> Floats:
    """To 12 significant digits, so that equal differences are ties (see `signed_rank.rounded`)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.floor(np.log10(np.abs(differences)))
    places = np.clip(_DIGITS - 1 - np.where(np.isfinite(exponent), exponent, 0), -300, 300).astype(np.int64)
    up, down = _POWERS[np.maximum(places, 0)], _POWERS[np.maximum(-places, 0)]
    rounded: Floats = np.rint(differences * up / down) / up * down
    return rounded


_POWERS = 10.0 ** np.arange(301)


def _doubled_midranks(ordered: Floats) -> tuple[Ints, NDArray[np.bool_]]:
    """Twice the midrank of each value of ascending rows, and whether a row has ties; the NaN at the end do not tie."""
    rows, length = ordered.shape
    if not length:
        return np.zeros((rows, 0), dtype=np.int64), np.zeros(rows, dtype=np.bool_)
    new = np.ones((rows, length), dtype=np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(new.ravel()) - 1
    size = np.bincount(group)
    first = np.flatnonzero(new.ravel()) % length
    doubled: Ints = (2 * first + size + 1)[group].reshape(rows, length)
    tied: NDArray[np.bool_] = np.logical_not(np.logical_and.reduce(new, axis=1))
    return doubled, tied


@lru_cache(maxsize=LARGEST_EXACT + 1)
def _without_ties(size: int) -> Ints:
    """How many of the patterns of signs of the ranks 1, 2, ... have each doubled sum or a smaller one."""
    return np.cumsum(sign_patterns(2 * np.arange(1, size + 1)))


def _two_tails(at_most: Ints, observed: int, size: int) -> float:
    above = int(at_most[-1]) - (int(at_most[observed - 1]) if observed else 0)
    return min(1.0, 2 * min(int(at_most[observed]), above) / (1 << size))
