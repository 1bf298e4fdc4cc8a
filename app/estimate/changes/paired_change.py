"""The change of one measure within patients: centre, spread, tests and intervals of one difference for each patient."""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.estimate.arithmetic import check_level, deviation_of, mean_of, quantile_of, sorted_values, to_twelve_digits
from app.estimate.changes.hodges_lehmann import pseudomedian
from app.estimate.changes.signed_rank import SignedRankP, Zeros, rank_test
from app.estimate.results import Change, Interval, Reason, TestResult

Floats = NDArray[np.float64]
TName = Literal["paired_t", "one_sample_t"]


def paired_change(
    differences: ArrayLike,
    *,
    level: float = 0.95,
    zeros: Zeros = "drop",
    signed_rank_p: SignedRankP = "exact",
    t_name: TName = "paired_t",
) -> Change:
    """Describe and test finite differences (after minus before), one for each patient, in their own unit.

    `tests` are the signed rank test and the t test named `t_name`; `intervals` are the t interval of the mean
    and the Hodges-Lehmann interval of the pseudomedian. See `signed_rank_test` and `hodges_lehmann` for ties, zeros and
    large samples. The t test and interval are those of R `t.test(d)`. For one difference, and for equal differences (to
    12 significant digits), t, its p and its interval are null; SciPy would give t = infinity, p = 0.
    """
    check_level(level)
    values = sorted_values(differences)
    ordered, ranked = values.tolist(), to_twelve_digits(values)
    mean = mean_of(ordered) if ordered else None
    spread, missing = _spread(values, ranked, mean)
    return Change(
        n=len(ordered),
        mean=mean,
        median=quantile_of(ordered, 0.5) if ordered else None,
        sd=spread,
        tests=(rank_test(ranked, zeros, signed_rank_p), _t_test(ordered, mean, spread, missing, t_name)),
        intervals=(
            _t_interval(len(ordered), mean, spread, missing, level),
            pseudomedian(ranked, level=level, zeros=zeros),
        ),
        reason=None if len(ordered) > 1 else missing,
    )


def _spread(values: Floats, ranked: Floats, mean: float | None) -> tuple[float | None, Reason | None]:
    """The standard deviation, and the reason if t is not defined."""
    if not len(values):
        return None, Reason.NO_PATIENTS
    if len(values) == 1:
        return None, Reason.TOO_FEW_VALUES
    spread = deviation_of(values, mean) if ranked[0] < ranked[-1] else 0.0
    return spread, None if spread else Reason.CONSTANT_DIFFERENCES


def _t_test(
    ordered: list[float], mean: float | None, spread: float | None, missing: Reason | None, name: str
) -> TestResult:
    """Student's t on n - 1 degrees of freedom, as R `t.test(d)`, with SciPy's distribution.

    `scipy.stats.ttest_1samp` does not sum exactly: for 0.1, 0.2 and -0.3 it gives t = -8.9e-17 instead of 0, and for
    equal values p = 0.
    """
    t = p = None
    n = len(ordered)
    if spread and mean is not None:
        from scipy.special import stdtr

        t = mean / (spread / math.sqrt(n))
        p = min(1.0, 2 * float(stdtr(n - 1, -abs(t))))
    return TestResult(
        method=name,
        statistic=t,
        df=n - 1 if n > 1 else None,
        p=p,
        n_used=n,
        n_zero=ordered.count(0.0),
        reason=missing,
    )


def _t_interval(n: int, mean: float | None, spread: float | None, missing: Reason | None, level: float) -> Interval:
    low = high = None
    if spread and mean is not None:
        from scipy.special import stdtrit

        half_width = -float(stdtrit(n - 1, (1 - level) / 2)) * spread / math.sqrt(n)
        low, high = mean - half_width, mean + half_width
    return Interval(of="mean", method="t", level=level, low=low, high=high, reason=missing)
