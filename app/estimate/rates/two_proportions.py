"""Two independent proportions: their difference and their ratio, with intervals."""

import math
from collections.abc import Callable, Sequence
from typing import cast

from pydantic import Field

from app.estimate.arithmetic import check_level, normal_quantile
from app.estimate.effect import EffectEstimate, unknown_effect
from app.estimate.rates.proportion import proportion
from app.estimate.results import Interval, Reason, Result

Counts = tuple[int, int, int, int]
"""k1, n1, k2, n2: k1 of n1 patients of the first group, k2 of n2 of the second."""
Limits = tuple[float | None, float | None, Reason | None]

DIFFERENCE_METHODS = ("newcombe", "miettinen-nurminen")
RATIO_METHODS = ("miettinen-nurminen", "katz")
LARGEST_LOGARITHM = 300.0
"""The logarithm of a ratio of two observed rates is always smaller; the square of its exp is still a float."""


class TwoProportions(Result):
    """The comparison of the rates of two groups."""

    difference: EffectEstimate = Field(description="Rate of the first group minus rate of the second.")
    ratio: EffectEstimate = Field(description="Rate of the first group over rate of the second.")


def two_proportions(
    counts: Counts,
    *,
    level: float = 0.95,
    difference_methods: Sequence[str] = DIFFERENCE_METHODS,
    ratio_methods: Sequence[str] = RATIO_METHODS,
) -> TwoProportions:
    """Difference k1/n1 - k2/n2 and ratio (k1/n1)/(k2/n2) with two-sided intervals, in the order of the methods.

    For the difference: `newcombe` combines the two Wilson intervals (Newcombe 1998, Stat Med 17:873, method 10),
    `miettinen-nurminen` inverts the score test with the variance times N/(N - 1) (Miettinen and Nurminen 1985; R
    `PropCIs::diffscoreci`). For the ratio: `miettinen-nurminen` in the same way; `koopman` the same without N/(N - 1)
    (Koopman 1984; R `PropCIs::riskscoreci`); `katz` the interval of the logarithm (Katz 1978), which does not exist if
    a rate is 0 or both rates are 1. A ratio to a rate of 0 has no value and no upper limit. If a group has no patients,
    everything is null. A `ValueError` is raised for a k that is not between 0 and its n, and for an unknown method.
    """
    check_level(level)
    k1, n1, k2, n2 = counts
    if not (0 <= k1 <= n1 and 0 <= k2 <= n2):
        raise ValueError("`counts` must be k1, n1, k2, n2 with each k between 0 and its n.")
    if unknown := {*difference_methods} - DIFFERENCE.keys() | {*ratio_methods} - RATIO.keys():
        raise ValueError(f"there is no method {', '.join(sorted(unknown))}.")
    if not n1 or not n2:
        return TwoProportions(
            difference=unknown_effect("difference", difference_methods, level, Reason.NO_PATIENTS),
            ratio=unknown_effect("ratio", ratio_methods, level, Reason.NO_PATIENTS),
        )
    ratio = None if k2 == 0 else (k1 * n2) / (k2 * n1)
    return TwoProportions(
        difference=EffectEstimate(
            estimate=(k1 * n2 - k2 * n1) / (n1 * n2),
            intervals=tuple(_interval("difference", name, DIFFERENCE[name](counts, level), level)
                            for name in difference_methods),
        ),
        ratio=EffectEstimate(
            estimate=ratio,
            reason=Reason.ZERO_DENOMINATOR if ratio is None else None,
            intervals=tuple(_interval("ratio", name, RATIO[name](counts, level), level) for name in ratio_methods),
        ),
    )  # fmt: skip


def _interval(of: str, method: str, limits: Limits, level: float) -> Interval:
    low, high, reason = limits
    return Interval(of=of, method=method, level=level, low=low, high=high, reason=reason)


def _newcombe(counts: Counts, level: float) -> Limits:
    k1, n1, k2, n2 = counts
    (low1, high1), (low2, high2) = _wilson(k1, n1, level), _wilson(k2, n2, level)
    p1, p2 = k1 / n1, k2 / n2
    difference = (k1 * n2 - k2 * n1) / (n1 * n2)
    low = difference - math.hypot(p1 - low1, high2 - p2)
    high = difference + math.hypot(high1 - p1, p2 - low2)
    return max(-1.0, low), min(1.0, high), None


def _wilson(k: int, n: int, level: float) -> tuple[float, float]:
    [interval] = proportion(k, n, level=level, methods=("wilson",)).intervals
    return cast(float, interval.low), cast(float, interval.high)


def _score_difference(counts: Counts, level: float) -> Limits:
    """The differences at which the score statistic equals z; outside these limits it is larger."""
    k1, n1, k2, n2 = counts
    z = normal_quantile(level)
    observed = (k1 * n2 - k2 * n1) / (n1 * n2)
    inflation = (n1 + n2) / (n1 + n2 - 1)

    def beyond(difference: float) -> bool:
        p2 = _restricted_to_difference(counts, difference)
        p1 = min(1.0, max(0.0, p2 + difference))
        variance = (p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2) * inflation
        return (difference - observed) ** 2 > z * z * variance

    low = -1.0 if observed <= -1 else _turning_point(beyond, observed, -1.0)
    high = 1.0 if observed >= 1 else _turning_point(beyond, observed, 1.0)
    return low, high, None


def _restricted_to_difference(counts: Counts, difference: float) -> float:
    """The most likely second rate if the first rate is `difference` above it, by bisection.

    The likelihood has one maximum: its derivative is positive below and negative above.
    """
    k1, n1, k2, n2 = counts

    def rises(p2: float) -> bool:
        p1 = p2 + difference
        if not 0 < p1 < 1:
            return p1 <= 0
        return k1 / p1 - (n1 - k1) / (1 - p1) + k2 / p2 - (n2 - k2) / (1 - p2) > 0

    low, high = max(0.0, -difference), min(1.0, 1 - difference)
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rises(middle) else (low, middle)
    return middle


def _turning_point(beyond: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where a condition that is false at `inside` and true at `outside` becomes true, by bisection to the last bit."""
    while (middle := (inside + outside) / 2) not in (inside, outside):
        if beyond(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _miettinen_nurminen_ratio(counts: Counts, level: float) -> Limits:
    n1, n2 = counts[1], counts[3]
    return _score_ratio(counts, normal_quantile(level), (n1 + n2) / (n1 + n2 - 1))


def _koopman(counts: Counts, level: float) -> Limits:
    return _score_ratio(counts, normal_quantile(level), 1.0)


def _score_ratio(counts: Counts, z: float, inflation: float) -> Limits:
    """The ratios at which the score statistic equals z, by bisection of their logarithm."""
    k1, n1, k2, n2 = counts
    p1, p2 = k1 / n1, k2 / n2

    def beyond(logarithm: float) -> bool:
        ratio = math.exp(logarithm)
        rate = _restricted_to_ratio(counts, ratio)
        first = min(1.0, ratio * rate)
        variance = (first * (1 - first) / n1 + ratio * ratio * rate * (1 - rate) / n2) * inflation
        return (p1 - ratio * p2) ** 2 > z * z * variance

    if k1 == 0 and k2 == 0:
        return 0.0, None, Reason.ZERO_DENOMINATOR
    if k1 == 0:
        return 0.0, math.exp(_turning_point(beyond, -LARGEST_LOGARITHM, LARGEST_LOGARITHM)), None
    if k2 == 0:
        return math.exp(_turning_point(beyond, LARGEST_LOGARITHM, -LARGEST_LOGARITHM)), None, Reason.ZERO_DENOMINATOR
    centre = math.log(p1) - math.log(p2)
    low = math.exp(_turning_point(beyond, centre, -LARGEST_LOGARITHM))
    high = math.exp(_turning_point(beyond, centre, LARGEST_LOGARITHM))
    return low, high, None


def _restricted_to_ratio(counts: Counts, ratio: float) -> float:
    """The most likely second rate if the first rate is `ratio` times it: the smaller root of a quadratic."""
    k1, n1, k2, n2 = counts
    total, responders = n1 + n2, k1 + k2
    b = n1 * ratio + k1 + n2 + k2 * ratio
    root = math.sqrt(max(0.0, b * b - 4 * total * ratio * responders))
    return min(1.0, 2 * responders / (b + root))


def _katz(counts: Counts, level: float) -> Limits:
    k1, n1, k2, n2 = counts
    variance = 0.0 if 0 in (k1, k2) else (n1 - k1) / (k1 * n1) + (n2 - k2) / (k2 * n2)
    if not variance:
        return None, None, Reason.NO_STANDARD_ERROR
    centre, spread = (k1 * n2) / (k2 * n1), math.exp(normal_quantile(level) * math.sqrt(variance))
    return centre / spread, centre * spread, None


DIFFERENCE: dict[str, Callable[[Counts, float], Limits]] = {
    "newcombe": _newcombe,
    "miettinen-nurminen": _score_difference,
}
RATIO: dict[str, Callable[[Counts, float], Limits]] = {
    "miettinen-nurminen": _miettinen_nurminen_ratio,
    "koopman": _koopman,
    "katz": _katz,
}
