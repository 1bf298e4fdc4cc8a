"""The change of one measure within patients: centre, spread, tests and intervals of one difference for each patient."""

import math
from typing import Literal

from numpy.typing import ArrayLike

from app.estimate.arithmetic import check_level, deviation_of, mean_of, quantile_of, sorted_values
from app.estimate.changes.hodges_lehmann import hodges_lehmann
from app.estimate.changes.signed_rank import SignedRankP, Zeros, rounded, signed_rank_test
from app.estimate.results import Change, Interval, Reason, TestResult

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
    ordered = sorted_values(differences).tolist()
    mean = mean_of(ordered) if ordered else None
    spread, missing = _spread(ordered, mean)
    return Change(
        n=len(ordered),
        mean=mean,
        median=quantile_of(ordered, 0.5) if ordered else None,
        sd=spread,
        tests=(signed_rank_test(ordered, zeros, signed_rank_p), _t_test(ordered, mean, spread, missing, t_name)),
        intervals=(
            _t_interval(len(ordered), mean, spread, missing, level),
            hodges_lehmann(ordered, level=level, zeros=zeros),
        ),
        reason=None if len(ordered) > 1 else missing,
    )


def _spread(ordered: list[float], mean: float | None) -> tuple[float | None, Reason | None]:
    """The standard deviation, and the reason if t is not defined."""
    if not ordered:
        return None, Reason.NO_PATIENTS
    if len(ordered) == 1:
        return None, Reason.TOO_FEW_VALUES
    least, greatest = rounded([ordered[0], ordered[-1]])
    spread = deviation_of(ordered, mean) if least < greatest else 0.0
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
