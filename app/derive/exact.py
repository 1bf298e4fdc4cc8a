"""Comparisons that must not be decided by binary rounding.

10 x 0.7 <= 7 x 1.0 is true of the numbers that were written, and false of some of the floats that stand for them: a
float comparison misclassifies 70 of 299 exact cases. Where floats are clearly apart they decide; where they nearly
tie, the decimals that were written decide.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from app.timeline.columns import Bools, Floats

_NEARLY = 1e-12
"""Well above the rounding error of a sum of three products of doubles, relative to their size."""
_EXACT = 2.0**50
"""Sums of whole numbers below this are exact as they stand."""


def at_most_zero(*terms: tuple[float, Floats | float]) -> Bools:
    """Whether the sum of coefficient times column is zero or less, row by row, in exact decimal arithmetic.

    A row with a NaN in any column is not at most zero.
    """
    columns = np.broadcast_arrays(*(np.asarray(column, dtype=np.float64) for _, column in terms))
    products = [coefficient * column for (coefficient, _), column in zip(terms, columns, strict=True)]
    total = np.add.reduce(products)
    size = np.add.reduce([np.abs(product) for product in products])
    answer: Bools = total <= 0
    whole = np.logical_and.reduce([product == np.rint(product) for product in products]) & (size < _EXACT)
    for i in np.flatnonzero((np.abs(total) <= _NEARLY * size) & ~whole):
        exact = sum(
            (
                _written(coefficient) * _written(float(column[i]))
                for (coefficient, _), column in zip(terms, columns, strict=True)
            ),
            Fraction(0),
        )
        answer[i] = exact <= 0
    return answer


def ln_ratio(over: Sequence[Floats], under: Sequence[Floats]) -> Floats:
    """The natural logarithm of a ratio of products, row by row; NaN where a factor is NaN or not positive.

    One quotient is formed before the logarithm is taken, so that equal ratios give equal numbers and stay tied, and a
    ratio that is 1 in the decimals that were written gives exactly 0: a difference of logarithms would leave noise
    there, which a signed-rank test would rank.
    """
    factors = [*over, *under]
    usable = np.logical_and.reduce([factor > 0 for factor in factors])
    quotient = np.multiply.reduce([np.where(usable, factor, 1.0) for factor in over]) / np.multiply.reduce(
        [np.where(usable, factor, 1.0) for factor in under]
    )
    result: Floats = np.where(usable, np.log(quotient), np.nan)
    for i in np.flatnonzero(np.abs(result) < _NEARLY):
        if _product(over, i) == _product(under, i):
            result[i] = 0.0
    return result


def difference(after: Floats, before: Floats) -> Floats:
    """After minus before without the noise of binary subtraction: measured values have at most nine decimals."""
    return np.round(after - before, 9) + 0.0


def _product(factors: Sequence[Floats], row: np.signedinteger[Any]) -> Fraction:
    return prod((_written(float(factor[row])) for factor in factors), start=Fraction(1))


def _written(number: float) -> Fraction:
    """The decimal number that a float was read from: its shortest decimal form."""
    return Fraction(Decimal(repr(float(number))))
