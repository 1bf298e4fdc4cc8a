"""The change of one measure within patients where some differences are known only as bounds.

`<x` says that a value lies below x. To count it as x/2 would make the mean depend on the detection limit and the spread
too small. Here each difference is the interval in which it lies, and the mean is that of the normal distribution with
the greatest likelihood (R `survreg(Surv(low, high, type = "interval2") ~ 1, dist = "gaussian")`).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.estimate.arithmetic import LARGEST, check_level, quantile_of, to_twelve_digits
from app.estimate.changes.paired_change import TName, paired_change
from app.estimate.changes.signed_rank import SignedRankP, Zeros, signed_rank_test
from app.estimate.results import BoundedMean, Change, Interval, Reason, TestResult

Floats = NDArray[np.float64]
MOST_STEPS = 200
CONVERGED = 1e-12
METHOD = "censored_normal_t"


@dataclass(frozen=True, slots=True)
class NormalFit:
    """The normal distribution with the greatest likelihood; all null, with the reason, where there is none."""

    mean: float | None = None
    standard_error: float | None = None
    log_scale: float | None = None
    reason: Reason | None = None


def change_within_bounds(
    points: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    level: float = 0.95,
    zeros: Zeros = "drop",
    signed_rank_p: SignedRankP = "exact",
    t_name: TName = "paired_t",
) -> Change:
    """Describe and test differences that lie between `low` and `high`, one of each for each patient.

    A known difference has equal limits; an open side is infinite. `points` are the differences with substituted values.
    Where every difference is known this is `paired_change`. Else the mean is that of `censored_normal`; its interval is
    the mean +- t standard errors, with m - 1 degrees of freedom and the standard error times sqrt(m/(m - 1)), where m
    differences are known on both sides: without bounds that is exactly the t interval. The test belongs to it. The
    median is given if the bounds leave only one possible, the rank test if they leave only one order of the absolute
    differences and only one sign of each. The standard deviation and the Hodges-Lehmann interval are null.
    """
    check_level(level)
    values, lower, upper = _limits(points, low, high)
    substituted = paired_change(values, level=level, zeros=zeros, signed_rank_p=signed_rank_p, t_name=t_name)
    if np.array_equal(lower, upper):
        return substituted
    fit = censored_normal(lower, upper)
    known = int(np.count_nonzero(np.isfinite(lower) & np.isfinite(upper)))
    zero = int(np.count_nonzero((lower == 0) & (upper == 0)))
    interval, t = _mean_interval(fit, known, level), _t_test(fit, known, len(values), zero)
    pseudomedian = substituted.intervals[1].model_copy(
        update={"low": None, "high": None, "estimate": None, "reason": Reason.HIDDEN_BY_BOUNDS}
    )
    return Change(
        n=len(values),
        mean=fit.mean,
        median=_median(lower, upper),
        sd=None,
        tests=(_rank_test(lower, upper, zeros, signed_rank_p, substituted.tests[0]), t),
        intervals=(interval, pseudomedian),
        reason=fit.reason or Reason.HIDDEN_BY_BOUNDS,
        bounds=_bounded_mean(lower, upper, fit, substituted),
    )


def rank_p_within_bounds(
    points: ArrayLike, low: ArrayLike, high: ArrayLike, zeros: Zeros = "drop", signed_rank_p: SignedRankP = "exact"
) -> float | None:
    """The p of the rank test of `change_within_bounds` alone, where some differences are bounds."""
    values, lower, upper = _limits(points, low, high)
    substituted = signed_rank_test(values, zeros, signed_rank_p)
    return _rank_test(lower, upper, zeros, signed_rank_p, substituted).p_at_most


def censored_normal(low: ArrayLike, high: ArrayLike) -> NormalFit:
    """The normal distribution with the greatest likelihood for values that lie between `low` and `high`.

    In 1/sd and mean/sd the log-likelihood is concave (Pratt 1981, Burridge 1981), so Newton's method with halved steps
    finds the one maximum. There is none with a positive spread if one value lies within the bounds of all patients; and
    with fewer than two values that are known on both sides the spread would come from the bounds alone. Both are null.
    """
    _, lower, upper = _limits(low, low, high)
    informative = np.isfinite(lower) | np.isfinite(upper)
    lower, upper = lower[informative], upper[informative]
    if not len(lower):
        return NormalFit(reason=Reason.NO_PATIENTS)
    if np.count_nonzero(np.isfinite(lower) & np.isfinite(upper)) < 2:
        return NormalFit(reason=Reason.TOO_FEW_KNOWN)
    if to_twelve_digits(lower).max() <= to_twelve_digits(upper).min():
        return NormalFit(reason=Reason.SPREAD_HIDDEN)
    order = np.lexsort((upper, lower))
    return _maximum(lower[order], upper[order])


def _maximum(lower: Floats, upper: Floats) -> NormalFit:
    """Newton's method on values that are first moved and scaled to about mean 0 and standard deviation 1."""
    middle = np.where(np.isfinite(lower), np.where(np.isfinite(upper), (lower + upper) / 2, lower), upper)
    centre, width = float(middle.mean()), float(middle.std()) or 1.0
    lower, upper = (lower - centre) / width, (upper - centre) / width
    at = np.array([0.0, 1.0])  # mean/sd, 1/sd
    here, gradient, curvature = _likelihood(lower, upper, at)
    for _ in range(MOST_STEPS):
        step = np.linalg.solve(-curvature, gradient)
        while np.abs(step).max() > CONVERGED and (
            at[1] + step[1] <= 0 or _likelihood(lower, upper, at + step)[0] < here - 1e-12 * abs(here)
        ):
            step /= 2
        if at[1] + step[1] > 0:
            at = at + step
        here, gradient, curvature = _likelihood(lower, upper, at)
        if np.abs(step).max() <= CONVERGED * max(1.0, np.abs(at).max()):
            break
    else:
        return NormalFit(reason=Reason.NOT_CONVERGED)
    theta, rho = at.tolist()
    to_mean = np.array([[rho, -theta], [0.0, -rho]])  # derivatives of mean/sd and 1/sd by mean and ln sd
    variance = np.linalg.inv(to_mean.T @ -curvature @ to_mean)
    return NormalFit(
        mean=centre + width * theta / rho,
        standard_error=width * math.sqrt(variance[0, 0]),
        log_scale=math.log(width / rho),
    )


def _likelihood(lower: Floats, upper: Floats, at: Floats) -> tuple[float, Floats, Floats]:
    """The log-likelihood at (mean/sd, 1/sd), its gradient and its matrix of second derivatives."""
    from scipy.special import log_ndtr

    theta, rho = at.tolist()
    exact = lower == upper
    y = lower[exact]
    rest = rho * y - theta
    value = len(y) * math.log(rho) - float(rest @ rest) / 2
    gradient = np.array([rest.sum(), len(y) / rho - rest @ y])
    curvature = np.array([[-len(y), y.sum()], [y.sum(), -len(y) / rho**2 - y @ y]])
    low, high = lower[~exact], upper[~exact]
    a, b = rho * low - theta, rho * high - theta
    flip = a > 0  # the lower tail keeps its digits
    small, large = np.where(flip, -b, a), np.where(flip, -a, b)
    chance = log_ndtr(large) + np.log1p(-np.exp(log_ndtr(small) - log_ndtr(large)))
    low, high, a, b = (np.where(np.isfinite(x), x, 0.0) for x in (low, high, a, b))
    root = math.log(2 * math.pi) / 2
    fa = np.where(np.isfinite(lower[~exact]), np.exp(-a * a / 2 - root - chance), 0.0)
    fb = np.where(np.isfinite(upper[~exact]), np.exp(-b * b / 2 - root - chance), 0.0)
    aa, ab, bb = a * fa - fa * fa, fa * fb, -b * fb - fb * fb
    value += float(chance.sum())
    gradient += [(fa - fb).sum(), fb @ high - fa @ low]
    crossed = -(aa @ low + ab @ (low + high) + bb @ high)
    curvature += [
        [(aa + 2 * ab + bb).sum(), crossed],
        [crossed, aa @ low**2 + 2 * (ab @ (low * high)) + bb @ high**2],
    ]
    return value, gradient, curvature


def _limits(points: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[Floats, Floats, Floats]:
    values, lower, upper = (np.asarray(each, dtype=np.float64) for each in (points, low, high))
    if values.ndim != 1 or not values.shape == lower.shape == upper.shape:
        raise ValueError("`points`, `low` and `high` must be one-dimensional and equally long.")
    if not np.all((lower <= upper) & (lower <= LARGEST) & (upper >= -LARGEST)):
        raise ValueError("`low` must not be above `high`.")
    return values, lower, upper


def _widening(known: int) -> float:
    """From the maximum likelihood standard error, whose variance has the divisor m, to that with m - 1."""
    return math.sqrt(known / (known - 1))


def _mean_interval(fit: NormalFit, known: int, level: float) -> Interval:
    low = high = None
    if fit.mean is not None and fit.standard_error is not None:
        from scipy.special import stdtrit

        half = -float(stdtrit(known - 1, (1 - level) / 2)) * fit.standard_error * _widening(known)
        low, high = fit.mean - half, fit.mean + half
    return Interval(of="mean", method=METHOD, level=level, low=low, high=high, reason=fit.reason)


def _t_test(fit: NormalFit, known: int, size: int, zero: int) -> TestResult:
    t = p = None
    if fit.mean is not None and fit.standard_error is not None:
        from scipy.special import stdtr

        t = fit.mean / (fit.standard_error * _widening(known))
        p = min(1.0, 2 * float(stdtr(known - 1, -abs(t))))
    df = known - 1 if known > 1 else None
    return TestResult(method=METHOD, statistic=t, df=df, p=p, n_used=size, n_zero=zero, reason=fit.reason)


def _median(lower: Floats, upper: Floats) -> float | None:
    """The sample median, where the medians of all lower and of all upper bounds agree."""
    with np.errstate(invalid="ignore"):
        least, greatest = (quantile_of(np.sort(each).tolist(), 0.5) for each in (lower, upper))
    return least if least == greatest else None


def _rank_test(
    lower: Floats, upper: Floats, zeros: Zeros, signed_rank_p: SignedRankP, substituted: TestResult
) -> TestResult:
    """The signed rank test, where all values that the bounds allow give the same ranks and signs.

    A bound may tie with nothing: ties would change the distribution of V.
    """
    low, high = to_twelve_digits(lower), to_twelve_digits(upper)
    bounded = low < high
    least, most = np.where(low > 0, low, -high), np.where(low > 0, high, -low)
    least, most = np.where(bounded, least, np.abs(low)), np.where(bounded, most, np.abs(low))
    order = np.lexsort((most, least))
    reach = np.maximum.accumulate(most[order])[:-1]
    nearest, touches = least[order][1:], bounded[order][1:] | (bounded[order][:-1])
    apart = np.where(touches, reach < nearest, reach <= nearest)
    if np.any(bounded & (least <= 0)) or not np.all(apart):
        zero = int(np.count_nonzero(~bounded & (low == 0)))
        return TestResult(
            method=substituted.method,
            statistic=None,
            p=None,
            n_used=len(low) - zero,
            n_zero=zero,
            reason=Reason.HIDDEN_BY_BOUNDS,
        )
    return signed_rank_test(np.where(bounded, np.where(low > 0, low, high), low), zeros, signed_rank_p)


def _bounded_mean(lower: Floats, upper: Floats, fit: NormalFit, substituted: Change) -> BoundedMean:
    from_below, from_above = np.isfinite(lower), np.isfinite(upper)
    exact = lower == upper
    return BoundedMean(
        exact=int(np.count_nonzero(exact)),
        below=int(np.count_nonzero(~from_below & from_above)),
        above=int(np.count_nonzero(from_below & ~from_above)),
        between=int(np.count_nonzero(from_below & from_above & ~exact)),
        unknown=int(np.count_nonzero(~from_below & ~from_above)),
        standard_error=fit.standard_error,
        log_scale=fit.log_scale,
        reason=fit.reason,
        substituted_mean=substituted.mean,
    )
