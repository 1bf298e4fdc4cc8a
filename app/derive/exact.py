"""Comparisons that must not be decided by binary rounding.

10 x 0.7 <= 7 x 1.0 is true of the numbers that were written, and false of some of the floats that stand for them: a
float comparison misclassifies 70 of 299 exact cases. Where floats are clearly apart they decide; where they nearly
tie, the decimals that were written decide.
"""

from decimal import Decimal
from fractions import Fraction

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


def _written(number: float) -> Fraction:
    """The decimal number that a float was read from: its shortest decimal form."""
    return Fraction(Decimal(repr(float(number))))
