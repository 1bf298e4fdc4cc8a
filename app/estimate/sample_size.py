"""Precision and sample size: what a number of patients or events can show, before the data are collected.

The functions take the assumptions (a true rate, a true standard deviation, exponential times) as given. They do not
consider how certain these are.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.estimate.arithmetic import check_level
from app.estimate.results import Number, Reason, Result, WhyNull

LARGEST_PLAN = 100_000
"""The largest number of patients or events of a plan."""
_PITMAN = 3 / math.pi
"""Asymptotic relative efficiency of the signed rank test to the t test for normal differences (Pitman)."""


class ProportionPrecision(Result):
    """The Clopper-Pearson interval that n patients will give, if the true rate is the one assumed."""

    n: int = Field(description="Patients.", examples=[15])
    rate: Number = Field(description="Assumed true rate.", examples=[0.8])
    level: Number = Field(description="Confidence level.", examples=[0.95])
    expected_half_width: Number = Field(
        description="Half the width of the interval, averaged over the outcomes that the rate makes likely.",
        examples=[0.2],
    )
    expected_low: Number = Field(description="Lower limit, averaged in the same way.", examples=[0.52])
    expected_high: Number = Field(description="Upper limit, averaged in the same way.", examples=[0.95])


class PlannedSize(Result):
    """A sample size, null if 100,000 are not enough."""

    n: int | None = Field(description="Patients or events.", examples=[70])
    reason: WhyNull = None


class DetectableChange(Result):
    """The smallest true mean difference that a two-sided paired t test on n patients detects with the given power."""

    n: int = Field(description="Patients with a difference.", examples=[15])
    difference: Number | None = Field(description="The difference, in the unit of the deviation.", examples=[0.43])
    reason: WhyNull = None


class MedianPrecision(Result):
    """The width of the interval of a median time with so many events, if times are exponential."""

    events: int = Field(description="Events.", examples=[8])
    low_factor: Number = Field(description="Lower limit over the median.", examples=[0.55])
    high_factor: Number = Field(description="Upper limit over the median.", examples=[2.3])
    ratio: Number = Field(description="Upper limit over lower limit.", examples=[4.2])


def proportion_precision(n: int, rate: float, *, level: float = 0.95) -> ProportionPrecision:
    """The expected Clopper-Pearson interval of a true `rate` in `n` patients, 1 <= n <= 100,000.

    Limits (R `binom.test`) are averaged over k from Binomial(n, rate). Values of k further from the mean than ten
    standard deviations plus twenty are left out. A `ValueError` is raised for a rate outside 0 to 1, a size outside 1
    to 100,000 or a level outside 0 to 1.
    """
    check_level(level)
    _check_size(n, 1)
    if not 0 <= rate <= 1:
        raise ValueError("`rate` must be between 0 and 1.")
    low, high = _expected_limits(n, rate, level)
    return ProportionPrecision(
        n=n, rate=rate, level=level, expected_half_width=(high - low) / 2, expected_low=low, expected_high=high
    )


def size_for_half_width(half_width: float, rate: float, *, level: float = 0.95) -> PlannedSize:
    """The smallest n whose expected Clopper-Pearson interval has at most this half width.

    The interval is that of `proportion_precision`. Its expected width falls as n grows, so n is found by bisection; a
    test compares this with trying every n.
    """
    if not 0 < half_width < 1:
        raise ValueError("`half_width` must be between 0 and 1.")
    return _least(lambda n: proportion_precision(n, rate, level=level).expected_half_width <= half_width, 1)


def detectable_change(n: int, sd: float, *, alpha: float = 0.05, power: float = 0.8) -> DetectableChange:
    """The difference that a two-sided paired t test of `n` >= 2 differences with deviation `sd` detects with `power`.

    R `power.t.test(n, sd = sd, power = power, type = "paired", strict = TRUE)`.
    """
    _check_test(sd, alpha, power)
    _check_size(n, 1)
    if n < 2:
        return DetectableChange(n=n, difference=None, reason=Reason.TOO_FEW_VALUES)
    low, high = 0.0, 1.0
    while _power(n, high, alpha) < power:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if _power(n, middle, alpha) >= power else (middle, high)
    return DetectableChange(n=n, difference=high * sd)


def size_for_change(difference: float, sd: float, *, alpha: float = 0.05, power: float = 0.8) -> PlannedSize:
    """The smallest n with which a two-sided paired t test detects a true `difference` with `power`.

    R `power.t.test(delta = difference, sd = sd, power = power, type = "paired", strict = TRUE)`, rounded up.
    """
    _check_test(sd, alpha, power)
    if difference == 0:
        return PlannedSize(n=None, reason=Reason.ALL_DIFFERENCES_ZERO)
    return _least(lambda n: _power(n, abs(difference) / sd, alpha) >= power, 2)


def size_for_signed_rank(difference: float, sd: float, *, alpha: float = 0.05, power: float = 0.8) -> PlannedSize:
    """The sample size for the signed-rank test of normal differences: that of the t test divided by 3/pi (Pitman).

    It is never less than the exact test needs to reach `alpha` at all (6 at 0.05).
    """
    plain = size_for_change(difference, sd, alpha=alpha, power=power)
    if plain.n is None:
        return plain
    n = max(math.ceil(plain.n / _PITMAN), math.ceil(1 - math.log2(alpha)))
    return PlannedSize(n=n) if n <= LARGEST_PLAN else PlannedSize(n=None, reason=Reason.TOO_LARGE)


def median_precision(events: int, *, level: float = 0.95) -> MedianPrecision:
    """The exact interval of the median of exponential times after `events` >= 1 events.

    Total time over the mean is half a chi-squared variable on 2d degrees of freedom (Epstein and Sobel 1953), so the
    limits are the estimate times 2d over its quantiles. They do not depend on the censoring.
    """
    check_level(level)
    _check_size(events, 1)
    from scipy.special import gammaincinv

    tail = (1 - level) / 2
    low, high = (float(events / gammaincinv(events, share)) for share in (1 - tail, tail))
    return MedianPrecision(events=events, low_factor=low, high_factor=high, ratio=high / low)


def events_for_median(ratio: float, *, level: float = 0.95) -> PlannedSize:
    """The smallest number of events with which the upper limit of a median is at most `ratio` times the lower limit.

    The limits are those of `median_precision`.
    """
    if ratio <= 1:
        raise ValueError("`ratio` must be above 1.")
    return _least(lambda events: median_precision(events, level=level).ratio <= ratio, 1)


def _least(enough: Callable[[int], bool], first: int) -> PlannedSize:
    """The smallest size from `first` on that is enough, by doubling and bisection."""
    high = first
    while not enough(high):
        if high == LARGEST_PLAN:
            return PlannedSize(n=None, reason=Reason.TOO_LARGE)
        high = min(2 * high, LARGEST_PLAN)
    low = first - 1
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return PlannedSize(n=high)


def _expected_limits(n: int, rate: float, level: float) -> tuple[float, float]:
    from scipy.special import betainccinv, betaincinv, gammaln, xlog1py, xlogy

    spread = 10 * math.sqrt(n * rate * (1 - rate)) + 20
    k = np.arange(max(0, math.floor(n * rate - spread)), min(n, math.ceil(n * rate + spread)) + 1)
    chances = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    weight: NDArray[np.float64] = np.exp(chances + xlogy(k, rate) + xlog1py(n - k, -rate))
    tail = (1 - level) / 2
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, betainccinv(k + 1, np.maximum(n - k, 1), tail), 1.0)
    total = np.sum(weight)
    return float(np.sum(weight * low) / total), float(np.sum(weight * high) / total)


def _power(n: int, effect: float, alpha: float) -> float:
    """Power of the two-sided t test on n differences whose mean is `effect` deviations, both tails counted.

    SciPy has no value of the noncentral t distribution if the shift is very large. The normal deviate is then
    negligible: t is the shift over the observed deviation, and the square of this deviation has a chi-squared
    distribution.
    """
    from scipy.special import chdtr, nctdtr, stdtrit

    shift, critical = effect * math.sqrt(n), -float(stdtrit(n - 1, alpha / 2))
    upper = float(nctdtr(n - 1, shift, critical))
    if not math.isfinite(upper):
        return float(chdtr(n - 1, (n - 1) * (shift / critical) ** 2))
    lower = float(nctdtr(n - 1, -shift, critical))  # P(T < -c) with shift d is P(T > c) with shift -d
    return 1 - upper + (1 - lower if math.isfinite(lower) else 0.0)


def _check_size(n: int, least: int) -> None:
    if not least <= n <= LARGEST_PLAN:
        raise ValueError(f"a size must be between {least} and {LARGEST_PLAN}.")


def _check_test(sd: float, alpha: float, power: float) -> None:
    if not (sd > 0 and math.isfinite(sd) and 0 < alpha < 1 and alpha < power < 1):
        raise ValueError("`sd` must be positive, `alpha` between 0 and 1 and `power` between `alpha` and 1.")
