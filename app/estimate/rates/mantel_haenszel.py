"""Two proportions compared within strata and combined by the method of Mantel and Haenszel."""

import math
from collections.abc import Sequence

from pydantic import Field

from app.estimate.arithmetic import check_level, normal_quantile
from app.estimate.effect import EffectEstimate, unknown_effect
from app.estimate.rates.two_proportions import Counts
from app.estimate.results import Interval, Reason, Result, TestResult


class Stratified(Result):
    """The comparison of two groups within strata."""

    strata: int = Field(description="Strata with patients of both groups.", examples=[2])
    uninformative_strata: int = Field(
        description="Further strata, with patients of one group only: they cannot be compared within.", examples=[0]
    )
    odds_ratio: EffectEstimate = Field(description="Common odds ratio.")
    difference: EffectEstimate = Field(description="Common difference of the rates.")
    tests: tuple[TestResult, ...] = Field(
        description="Cochran-Mantel-Haenszel test without and with continuity correction.", examples=[[]]
    )


def mantel_haenszel(strata: Sequence[Counts], *, level: float = 0.95) -> Stratified:
    """Mantel-Haenszel odds ratio and difference over strata of k1, n1, k2, n2, with the CMH test.

    The odds ratio has the interval of Robins, Breslow and Greenland (1986), as R `mantelhaen.test`. The difference has
    the interval of Sato (1989), which is valid for many small and for few large strata (R `metafor::rma.mh`); here it
    is limited to -1 to 1. The test is given without and with continuity correction. The correction is 1/2, and none if
    the sum deviates by less, as in R. A stratum without patients of one group is counted and left out. A stratum in
    which all or no patients responded adds nothing to the odds ratio and the test, but adds its weight to the
    difference. A `ValueError` is raised for a k that is not between 0 and its n.
    """
    check_level(level)
    if not all(0 <= k1 <= n1 and 0 <= k2 <= n2 for k1, n1, k2, n2 in strata):
        raise ValueError("`strata` must be k1, n1, k2, n2 with each k between 0 and its n.")
    inhabited = [stratum for stratum in strata if stratum[1] + stratum[3]]
    compared = [stratum for stratum in inhabited if stratum[1] and stratum[3]]
    return Stratified(
        strata=len(compared),
        uninformative_strata=len(inhabited) - len(compared),
        odds_ratio=_odds_ratio(compared, level),
        difference=_difference(compared, level),
        tests=tuple(_test(compared, corrected=corrected) for corrected in (False, True)),
    )


def _odds_ratio(strata: Sequence[Counts], level: float) -> EffectEstimate:
    """Sum of k1(n2 - k2)/N over the sum of (n1 - k1)k2/N, and the variance of its logarithm."""
    rows = [(k1 * (n2 - k2) / (n1 + n2), (n1 - k1) * k2 / (n1 + n2), (k1 + n2 - k2) / (n1 + n2))
            for k1, n1, k2, n2 in strata]  # fmt: skip
    over, under = math.fsum(row[0] for row in rows), math.fsum(row[1] for row in rows)
    if not over or not under:
        return _without_odds(level, over=bool(over), under=bool(under), compared=bool(strata))
    variance = (
        math.fsum(p * r for r, _, p in rows) / (2 * over**2)
        + math.fsum(p * s + (1 - p) * r for r, s, p in rows) / (2 * over * under)
        + math.fsum((1 - p) * s for _, s, p in rows) / (2 * under**2)
    )
    spread = math.exp(normal_quantile(level) * math.sqrt(variance))
    interval = Interval(
        of="odds_ratio",
        method="robins-breslow-greenland",
        level=level,
        low=over / under / spread,
        high=over / under * spread,
    )
    return EffectEstimate(estimate=over / under, intervals=(interval,))


def _without_odds(level: float, *, over: bool, under: bool, compared: bool) -> EffectEstimate:
    """An odds ratio that is 0, infinite or not defined; it has no standard error."""
    reason = Reason.ZERO_DENOMINATOR if over else Reason.NO_INFORMATION if compared else Reason.NO_PATIENTS
    if not under:
        return unknown_effect("odds_ratio", ("robins-breslow-greenland",), level, reason)
    unknown = unknown_effect("odds_ratio", ("robins-breslow-greenland",), level, Reason.NO_STANDARD_ERROR)
    return unknown.model_copy(update={"estimate": 0.0, "reason": None})


def _difference(strata: Sequence[Counts], level: float) -> EffectEstimate:
    """The differences weighted by n1 n2/N, and Sato's variance: (estimate P + Q)/(sum of weights)^2."""
    if not strata:
        return unknown_effect("difference", ("sato",), level, Reason.NO_PATIENTS)
    weight = math.fsum(n1 * n2 / (n1 + n2) for _, n1, _, n2 in strata)
    estimate = math.fsum((k1 * n2 - k2 * n1) / (n1 + n2) for k1, n1, k2, n2 in strata) / weight
    p = math.fsum((n1 * n1 * k2 - n2 * n2 * k1 + n1 * n2 * (n2 - n1) / 2) / (n1 + n2) ** 2 for k1, n1, k2, n2 in strata)
    q = math.fsum((k1 * (n2 - k2) + k2 * (n1 - k1)) / (2 * (n1 + n2)) for k1, n1, k2, n2 in strata)
    variance = (estimate * p + q) / weight**2
    if variance <= 0:
        unknown = unknown_effect("difference", ("sato",), level, Reason.NO_STANDARD_ERROR)
        return unknown.model_copy(update={"estimate": estimate, "reason": None})
    spread = normal_quantile(level) * math.sqrt(variance)
    low, high = max(-1.0, estimate - spread), min(1.0, estimate + spread)
    interval = Interval(of="difference", method="sato", level=level, low=low, high=high)
    return EffectEstimate(estimate=estimate, intervals=(interval,))


def _test(strata: Sequence[Counts], *, corrected: bool) -> TestResult:
    """Squared sum of k1 minus its expectation over the sum of its variances, chi-squared on 1 degree of freedom."""
    excess = math.fsum((k1 * n2 - k2 * n1) / (n1 + n2) for k1, n1, k2, n2 in strata)
    variance = math.fsum(
        n1 * n2 * (k1 + k2) * (n1 + n2 - k1 - k2) / ((n1 + n2) ** 2 * (n1 + n2 - 1)) for k1, n1, k2, n2 in strata
    )
    deviation = abs(excess) - (0.5 if corrected and abs(excess) >= 0.5 else 0)
    statistic = deviation**2 / variance if variance else None
    return TestResult(
        method="cochran-mantel-haenszel" + ("_corrected" if corrected else ""),
        statistic=statistic,
        df=1,
        p=None if statistic is None else math.erfc(math.sqrt(statistic / 2)),
        n_used=sum(n1 + n2 for _, n1, _, n2 in strata),
        n_zero=0,
        reason=None if variance else Reason.NO_INFORMATION if strata else Reason.NO_PATIENTS,
    )
