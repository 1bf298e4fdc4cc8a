"""Numbers of which some are known only as bounds, and the logarithm of their ratios."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.derive.exact_comparison import ln_ratio
from app.timeline.cohort import Bools, Floats


@dataclass(frozen=True, slots=True, eq=False)
class BoundedValues:
    """One number for each patient, NaN where there is none, and the limits between which the true one lies.

    Where a value is known, both limits are equal to it. An open side is infinite. `point` is the number that stands for
    a bound where a calculation cannot use bounds.
    """

    point: Floats
    low: Floats
    high: Floats

    @classmethod
    def known(cls, values: Floats) -> "BoundedValues":
        """Values that are all known."""
        return cls(values, values, values)

    def where(self, kept: Bools) -> "BoundedValues":
        """Some of the patients."""
        return BoundedValues(self.point[kept], self.low[kept], self.high[kept])

    def unless(self, missing: Bools) -> "BoundedValues":
        """The same values, NaN for some of the patients."""
        return BoundedValues(*(np.where(missing, np.nan, each) for each in (self.point, self.low, self.high)))

    @property
    def bounded(self) -> Bools:
        """Where only a bound is known."""
        bounded: Bools = self.low < self.high
        return bounded


def ln_ratio_within(over: Sequence[BoundedValues], under: Sequence[BoundedValues]) -> BoundedValues:
    """The natural logarithm of a ratio of products with its limits; NaN where `ln_ratio` of the points is NaN."""
    point = ln_ratio([each.point for each in over], [each.point for each in under])
    if not any(each.bounded.any() for each in (*over, *under)):
        return BoundedValues.known(point)
    known = ~np.isnan(point)
    low = ln_ratio([each.low for each in over], [each.high for each in under])
    high = ln_ratio([each.high for each in over], [each.low for each in under])
    # A limit of 0 has no logarithm: it leaves that side open.
    return BoundedValues(
        point, np.where(known & np.isnan(low), -np.inf, low), np.where(known & np.isnan(high), np.inf, high)
    )
