"""Conversion of means and intervals of logarithms to ratios."""

import math

from app.estimate.results import Interval, Reason


def geometric_mean_ratio(mean_of_ln: float | None) -> float | None:
    """The geometric mean ratio: exp of a mean difference of natural logarithms. `None` stays `None`."""
    return None if mean_of_ln is None else _exp(mean_of_ln)


def ratio_interval(interval: Interval, of: str = "geometric_mean_ratio") -> Interval:
    """The interval with its limits and estimate converted by exp from natural logarithms to ratios.

    A limit too large for a float becomes null with the reason `out_of_range`. This can occur with two patients and a
    level near 1.
    """
    low, high, estimate = (geometric_mean_ratio(x) for x in (interval.low, interval.high, interval.estimate))
    lost = (low, high) != (None, None) and None in (low, high)
    reason = interval.reason or (Reason.OUT_OF_RANGE if lost else None)
    return Interval(
        of=of, method=interval.method, level=interval.level, low=low, high=high, estimate=estimate, reason=reason
    )


def _exp(x: float) -> float | None:
    return math.exp(x) if x < 709 else None
