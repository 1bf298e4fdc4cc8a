"""Comparisons, differences and ratios that binary rounding must not decide.

A comparison such as 10 x value <= 7 x baseline is true of the decimals that a sender wrote, and false of some of the
floats that stand for them: floats misclassify 70 of 299 exact cases. Where the floats clearly differ, they decide.
Where they nearly tie, the written decimals decide.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from app.timeline.cohort import Bools, Floats, Ints

_NEARLY = 1e-12
"""Well above the rounding error of a sum of three products of doubles, relative to their size."""
EXACT = 2.0**50
"""Sums of whole numbers below this are exact in floats."""


def at_most_zero(*terms: tuple[float, Floats | float]) -> Bools:
    """Whether the sum of coefficient times column is zero or less, row by row, in exact decimal arithmetic.

    The answer is false for a row with a NaN in any column.
    """
    columns = np.broadcast_arrays(*(np.asarray(column, dtype=np.float64) for _, column in terms))
    products = [coefficient * column for (coefficient, _), column in zip(terms, columns, strict=True)]
    total = np.add.reduce(products)
    size = np.add.reduce([np.abs(product) for product in products])
    answer: Bools = total <= 0
    whole = np.logical_and.reduce([product == np.rint(product) for product in products]) & (size < EXACT)
    for i in np.flatnonzero((np.abs(total) <= _NEARLY * size) & ~whole):
        exact = sum(
            (
                as_written(coefficient) * as_written(float(column[i]))
                for (coefficient, _), column in zip(terms, columns, strict=True)
            ),
            Fraction(0),
        )
        answer[i] = exact <= 0
    return answer


def sign_of_sum(*terms: tuple[Floats | float, ...]) -> Ints:
    """The sign (-1, 0 or 1) of a sum of products, row by row, in exact decimal arithmetic; 0 where a factor is NaN.

    Each term holds the factors of one product, columns or numbers.
    """
    shape = np.broadcast_shapes(*(np.shape(factor) for term in terms for factor in term))
    products = [reduce(np.multiply, term) for term in terms]
    total = np.broadcast_to(np.add.reduce(np.broadcast_arrays(*products)), shape)
    size = np.broadcast_to(np.add.reduce(np.broadcast_arrays(*map(np.abs, products))), shape)
    sign: Ints = np.sign(np.where(np.isnan(total), 0, total)).astype(np.int64)
    rows = np.nonzero((np.abs(total) <= _NEARLY * size) & np.isfinite(total))
    if rows[0].size:
        near = [[np.asarray(factor) if np.ndim(factor) == 0 else np.broadcast_to(factor, shape)[rows]
                 for factor in term] for term in terms]  # fmt: skip
        sign[rows] = _exact_sign(near, len(rows[0]))
    return sign


_DECIMALS = 6
_WHOLE = 2.0**62
"""Whole numbers below this add up exactly in 64 bits."""


def _exact_sign(terms: Sequence[Sequence[Floats]], size: int) -> Ints:
    """The sign of a sum of products, row by row: by whole numbers where there are few decimals, else by fractions."""
    short = np.ones(size, dtype=np.bool_)
    for term in terms:
        for factor in term:
            short &= _has_decimals(factor, _DECIMALS)
    few = np.flatnonzero(short)
    sign = np.zeros(size, dtype=np.int64)
    left = np.flatnonzero(~short)
    if few.size:
        total, fits = _whole_sum([[_at(factor, few) for factor in term] for term in terms], few.size)
        sign[few] = np.sign(total)
        left = np.concatenate([left, few[~fits]])
    for row in left:
        exact = Fraction(0)
        for term in terms:
            exact += prod((as_written(float(_at(factor, row))) for factor in term), start=Fraction(1))
        sign[row] = (exact > 0) - (exact < 0)
    return sign


def _whole_sum(terms: Sequence[Sequence[Floats]], size: int) -> tuple[Ints, Bools]:
    """A sum of products in units of its last decimal, and where this whole number fits into 64 bits."""
    places = [[_decimals(factor) for factor in term] for term in terms]
    most = max(map(sum, places))
    total, greatest = np.zeros(size, dtype=np.int64), np.zeros(size)
    for term, of_term in zip(terms, places, strict=True):
        scaled = [np.rint(factor * 10.0**k) for factor, k in zip(term, of_term, strict=True)]
        product = reduce(np.multiply, scaled) * 10.0 ** (most - sum(of_term))
        greatest += np.abs(product)
        whole = np.full(size, 10 ** min(most - sum(of_term), 18), dtype=np.int64)
        for factor in scaled:
            whole *= factor.astype(np.int64)
        total += whole
    return total, greatest < _WHOLE


def _at(factor: Floats, rows: Ints | np.signedinteger[Any]) -> Floats:
    """Some rows of a column; a single number is returned unchanged."""
    at: Floats = factor if factor.ndim == 0 else factor[rows]
    return at


def _has_decimals(column: Floats, decimals: int) -> Bools:
    """Whether each number, as written, has at most `decimals` decimals (and at most 15 digits in all)."""
    scaled = np.rint(column * 10.0**decimals)
    few: Bools = (np.abs(scaled) < 1e15) & (scaled / 10.0**decimals == column)
    return few


def _decimals(column: Floats) -> int:
    """The fewest decimals with which all numbers of a column can be written."""
    return next(k for k in range(_DECIMALS + 1) if k == _DECIMALS or _has_decimals(column, k).all())


def ln_ratio(over: Sequence[Floats], under: Sequence[Floats]) -> Floats:
    """The natural logarithm of a ratio of products, row by row; NaN where a factor is NaN or not positive.

    The quotient is formed first, then its logarithm. So equal ratios give equal numbers, and a ratio that is 1 in the
    written decimals gives exactly 0. A difference of logarithms would leave rounding errors there, and a signed-rank
    test would rank them. Only where the quotient is too large or small for a float, logarithms are subtracted.
    """
    factors = [*over, *under]
    usable = np.logical_and.reduce([factor > 0 for factor in factors])
    above, below = ([np.where(usable, factor, 1.0) for factor in each] for each in (over, under))
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        quotient = np.multiply.reduce(above) / np.multiply.reduce(below)
    held = (quotient > 0) & np.isfinite(quotient)
    apart = np.add.reduce(np.log(above)) - np.add.reduce(np.log(below))
    result: Floats = np.where(usable, np.log(quotient, out=apart, where=held), np.nan)
    for i in np.flatnonzero((np.abs(result) < _NEARLY) & (result != 0)):
        if _product(over, i) == _product(under, i):
            result[i] = 0.0
    return result


def difference(after: Floats, before: Floats) -> Floats:
    """After minus before, rounded to nine decimals.

    Measured values have no more decimals, and binary subtraction leaves errors beyond them.
    """
    return np.round(after - before, 9) + 0.0


def _product(factors: Sequence[Floats], row: np.signedinteger[Any]) -> Fraction:
    return prod((as_written(float(factor[row])) for factor in factors), start=Fraction(1))


def as_written(number: float) -> Fraction:
    """The decimal number that a float was read from, which is its shortest decimal form, as a fraction."""
    return Fraction(Decimal(repr(float(number))))
