"""Times to an event compared between groups: the log-rank test, Cox's hazard ratios, restricted means.

All methods use only the numbers at risk and of events in each group at each event time, because the group is the only
covariate. So ties are exact, and the order of the patients has no effect (the time transform `rank` of lifelines breaks
ties by it). Whether a hazard ratio exists is decided by which groups were at risk together, not by the divergence of an
iteration.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from app.estimate.arithmetic import LARGEST, normal_quantile
from app.estimate.results import Interval, Number, Reason, RestrictedMean, Result, TestResult, WhyNull
from app.estimate.times.survival import survival_at_events

Floats = NDArray[np.float64]
MOST_GROUPS = 20
MOST_STEPS = 50
LONGEST_STEP = 4.0
"""The largest change of a log hazard ratio in one step of Newton's method."""
ZPH, MEAN_Z = "schoenfeld_score/km", "restricted_mean_z"
CONVERGED = 1e-9
"""The search ends at a shorter step: the method squares the error, so all written digits are then exact."""


class LogRank(Result):
    """The log-rank test of equal hazards, with the observed and expected events of each group."""

    observed: tuple[int, ...] = Field(description="Events of each group.", examples=[[112, 53]])
    expected: tuple[Number, ...] = Field(
        description="Events that each group would have had under one hazard for all.", examples=[[91.58, 73.42]]
    )
    test: TestResult = Field(description="The test; `statistic` is chi-square.")


class HazardRatio(Result):
    """The hazard of one group over that of the first."""

    value: Number | None = Field(description="Hazard ratio.", examples=[0.588])
    log_value: Number | None = Field(description="Its natural logarithm.", examples=[-0.531])
    standard_error: Number | None = Field(description="Standard error of the logarithm.", examples=[0.167])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Wald interval of the ratio.", examples=[[]])
    test: TestResult = Field(description="Wald test of a ratio of 1; `statistic` is z.")


class Cox(Result):
    """Cox's proportional hazards model with the group as its only covariate."""

    ties: str = Field(description="How tied events enter the partial likelihood.", examples=["efron"])
    hazard_ratios: tuple[HazardRatio, ...] = Field(description="One for each group, the first null.", examples=[[]])
    likelihood_ratio: TestResult = Field(description="Test of equal hazards; `statistic` is chi-square.")
    proportional_hazards: TestResult = Field(
        description="Test that the ratios do not change with time; `statistic` is chi-square. A small p speaks against "
        "reading the ratios as one number."
    )


class MeanDifference(Result):
    """The restricted mean of one group minus that of the first."""

    value: Number | None = Field(description="Difference, in the unit of the times.", examples=[55.97])
    standard_error: Number | None = Field(description="Its standard error.", examples=[14.96])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Normal interval of the difference.", examples=[[]])
    test: TestResult = Field(description="Test of no difference; `statistic` is z.")


@dataclass(frozen=True, eq=False)
class RiskTable:
    """The event times of all groups: one row for each time, one column for each group.

    `patients` is the number of patients of each group, `size` that of all.
    """

    size: int
    patients: NDArray[np.int64]
    events: NDArray[np.int64]
    at_risk: NDArray[np.int64]

    def subset(self, groups: NDArray[np.int64]) -> "RiskTable":
        """The table of some of the groups, at the times at which one of them had an event."""
        events, at_risk = self.events[:, groups], self.at_risk[:, groups]
        here = events.any(axis=1)
        return RiskTable(self.size, self.patients[groups], events[here], at_risk[here])


@dataclass(frozen=True, eq=False)
class PartialLikelihood:
    """Efron's partial likelihood at some log hazard ratios: its logarithm, and the shares of the groups in each factor.

    `shares` has one row for each event and one column for each group: the probability that the event is in this group.
    `factor_time` is the row of `RiskTable` that each event belongs to.
    """

    logarithm: float
    shares: Floats
    factor_time: NDArray[np.int64]

    def information(self, weights: Floats | None = None) -> Floats:
        """The information matrix of the groups, each event weighted."""
        weighted = self.shares if weights is None else self.shares * weights[self.factor_time][:, None]
        return np.diag(weighted.sum(axis=0)) - weighted.T @ self.shares


def log_rank(durations: ArrayLike, events: ArrayLike, groups: ArrayLike, size: int) -> LogRank:
    """The log-rank test of `size` groups, numbered from 0, with the hypergeometric variance (R `survdiff`).

    A group without patients at risk at any event time does not count and adds no degree of freedom. The test is null
    without an event, with only one group at risk, or if no two groups were at risk together. `durations`, `events` and
    `groups` have one entry for each patient; a `ValueError` is raised for invalid or unequally long arrays.
    """
    table = _table(durations, events, groups, size)
    n, d = table.at_risk.sum(axis=1), table.events.sum(axis=1)
    share = table.at_risk / n[:, None]
    observed, expected = table.events.sum(axis=0), (share * d[:, None]).sum(axis=0)
    spread = np.where(n > 1, d * (n - d) / np.maximum(n - 1, 1), 0.0)
    variance = np.diag((share * spread[:, None]).sum(axis=0)) - (share * spread[:, None]).T @ share
    kept = np.flatnonzero(expected > 0)[1:]
    missing = _nothing_to_test(table, len(kept) + 1)
    inner = variance[np.ix_(kept, kept)]
    if not missing and _rank(inner, variance) < len(kept):
        missing = Reason.NEVER_COMPARED
    excess = (observed - expected)[kept]
    statistic = None if missing else float(excess @ np.linalg.solve(inner, excess))
    return LogRank(
        observed=tuple(observed.tolist()),
        expected=tuple(expected.tolist()),
        test=_chi_square("log_rank", statistic, len(kept), table.size, missing),
    )


def cox(durations: ArrayLike, events: ArrayLike, groups: ArrayLike, size: int, *, level: float = 0.95) -> Cox:
    """Cox's model for `size` groups, numbered from 0, against the first, with Efron's treatment of ties (R `coxph`).

    The hazard ratio of a group without events would be 0 without an interval; it is null, and the others are estimated
    without this group. A finite estimate exists if each group with events is connected with every other by steps from a
    group that had an event to a group that was then at risk (Ford 1957, for paired comparisons). Otherwise all ratios
    are null. lifelines ends its search where the likelihood changes by less than 1e-9 of itself or Newton's decrement
    is below 1e-7, before all digits are right, and gives separated groups a ratio: exp(-17.9) for two groups of four.
    The test of proportional hazards is the score test of Grambsch and Therneau 1994 with the time as 1 - S(t-) of all
    patients together, as R `cox.zph` computes it since survival 3.0.
    """
    whole = _table(durations, events, groups, size)
    kept = np.flatnonzero(whole.events.any(axis=0))
    table = whole.subset(kept)
    missing = _nothing_to_test(whole, int(np.count_nonzero(whole.patients)))
    if not missing and 0 not in kept:
        missing = Reason.NO_EVENTS_IN_REFERENCE
    if not missing and (len(kept) < 2 or not _connected(table)):
        missing = Reason.SEPARATED
    beta = None if missing else _maximum(table)
    if beta is None:
        return _no_model(whole, missing or Reason.NOT_CONVERGED)
    at_maximum = _likelihood(table, beta)
    times, observed = np.asarray(durations, dtype=np.float64), np.asarray(events, dtype=np.bool_)
    inside = np.isin(np.asarray(groups), kept)
    errors = np.sqrt(np.diag(np.linalg.inv(at_maximum.information()[1:, 1:])))
    estimates = zip(kept[1:].tolist(), beta[1:].tolist(), errors.tolist(), strict=True)
    found = {group: _ratio(effect, error, level, whole.size) for group, effect, error in estimates}
    twice = 2 * (at_maximum.logarithm - _likelihood(table, np.zeros(len(kept))).logarithm)
    return Cox(
        ties="efron",
        hazard_ratios=tuple(found.get(group) or _no_ratio(whole, group, None) for group in range(size)),
        likelihood_ratio=_chi_square("likelihood_ratio", max(0.0, twice), len(kept) - 1, whole.size, None),
        proportional_hazards=_check(table, at_maximum, survival_at_events(times[inside], observed[inside]), whole.size),
    )


def mean_difference(mean: RestrictedMean, first: RestrictedMean, size: int, *, level: float = 0.95) -> MeanDifference:
    """The difference of two restricted means up to the same time, with a normal interval, in the unit of the times.

    The groups are independent and have `size` patients together, so the variances of the means add up. Each mean is
    that of `restricted_mean` (R `summary(survfit, rmean=)`). If one mean has no standard error, the difference has
    none, and its interval and test are null.
    """
    value = error = low = high = None
    reason = next((each.reason for each in (mean, first) if each.value is None), None)
    if mean.value is not None and first.value is not None:
        value, reason = mean.value - first.value, Reason.NO_STANDARD_ERROR
    if value is not None and mean.standard_error is not None and first.standard_error is not None:
        error, reason = math.hypot(mean.standard_error, first.standard_error), None
        spread = normal_quantile(level) * error
        low, high = value - spread, value + spread
    return MeanDifference(
        value=value,
        standard_error=error,
        reason=reason,
        intervals=(Interval(of="difference", method="normal", level=level, low=low, high=high, reason=reason),),
        test=_z_test(MEAN_Z, None if value is None or error is None else value / error, size, reason),
    )


def _table(durations: ArrayLike, events: ArrayLike, groups: ArrayLike, size: int) -> RiskTable:
    times, group = np.asarray(durations, dtype=np.float64), np.asarray(groups, dtype=np.int64)
    observed = np.asarray(events, dtype=np.bool_)
    if times.ndim != 1 or not times.shape == observed.shape == group.shape:
        raise ValueError("`durations`, `events` and `groups` must be one-dimensional and equally long.")
    if not np.all((times >= 0) & (times <= LARGEST)):
        raise ValueError("`durations` must be finite and not negative.")
    if not np.all((group >= 0) & (group < size)) or size > MOST_GROUPS:
        raise ValueError(f"`groups` must be numbers from 0 to below `size`, which is at most {MOST_GROUPS}.")
    distinct, place = np.unique(times, return_inverse=True)
    cells = len(distinct) * size
    leaving = np.bincount(place * size + group, minlength=cells).reshape(-1, size)
    had = np.bincount(place[observed] * size + group[observed], minlength=cells).reshape(-1, size)
    patients = leaving.sum(axis=0)
    at_risk = patients - np.cumsum(leaving, axis=0) + leaving
    here = had.any(axis=1)
    return RiskTable(times.size, patients, had[here].astype(np.int64), at_risk[here].astype(np.int64))


def _nothing_to_test(table: RiskTable, groups: int) -> Reason | None:
    if not table.size:
        return Reason.NO_PATIENTS
    if not table.events.any():
        return Reason.NO_EVENTS
    return Reason.ONE_GROUP if groups < 2 else None


def _rank(matrix: Floats, scale: Floats) -> int:
    """The rank of a matrix; values below 1e-10 of the largest entry of `scale` are rounding errors."""
    return int(np.linalg.matrix_rank(matrix, tol=1e-10 * float(np.abs(scale).max(initial=0.0))))


def _connected(table: RiskTable) -> bool:
    """Whether every group is connected with every other, by events of one group while the next is at risk."""
    reached = ((table.events > 0).T.astype(np.float64) @ (table.at_risk > 0)) > 0
    for through in range(len(reached)):
        reached |= reached[:, [through]] & reached[[through], :]
    return bool(reached.all())


def _likelihood(table: RiskTable, beta: Floats) -> PartialLikelihood:
    """Efron: of D tied events the i-th (from 0) is drawn from the risk set minus i/D of the tied events."""
    d = table.events.sum(axis=1)
    time = np.repeat(np.arange(len(d)), d)
    drawn = (np.arange(len(time)) - np.repeat(np.cumsum(d) - d, d)) / d[time]
    left = (table.at_risk[time] - drawn[:, None] * table.events[time]) * np.exp(beta)
    total = left.sum(axis=1)
    logarithm = float(table.events.sum(axis=0) @ beta - np.log(total).sum())
    return PartialLikelihood(logarithm, left / total[:, None], time)


def _maximum(table: RiskTable) -> Floats | None:
    """The log hazard ratios at the maximum, the first group's 0, by Newton's method with halved steps."""
    beta: Floats = np.zeros(table.events.shape[1])
    here = _likelihood(table, beta)
    for _ in range(MOST_STEPS):
        score = (table.events.sum(axis=0) - here.shares.sum(axis=0))[1:]
        step = np.linalg.solve(here.information()[1:, 1:], score)
        step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), LONGEST_STEP))
        there = _likelihood(table, beta + np.concatenate([[0.0], step]))
        while there.logarithm < here.logarithm - 1e-9 * abs(here.logarithm) and np.abs(step).max() > CONVERGED:
            step /= 2
            there = _likelihood(table, beta + np.concatenate([[0.0], step]))
        beta, here = beta + np.concatenate([[0.0], step]), there
        if np.abs(step).max() < CONVERGED:
            return beta
    return None


def _check(table: RiskTable, at_maximum: PartialLikelihood, survival: Floats, size: int) -> TestResult:
    """The score test for a ratio that changes with 1 - S(t-), where S is the curve of all groups together."""
    d = table.events.sum(axis=1)
    time = 1 - np.concatenate([[1.0], survival[:-1]])
    time = time - (time * d).sum() / d.sum()
    residual = table.events.astype(np.float64)
    np.subtract.at(residual, at_maximum.factor_time, at_maximum.shares)
    score = (time @ residual)[1:]
    plain, crossed, squared = (at_maximum.information(time**power)[1:, 1:] for power in (0, 1, 2))
    inner = squared - crossed @ np.linalg.solve(plain, crossed)
    degrees = len(score)
    if _rank(inner, squared) < degrees:
        return _chi_square(ZPH, None, degrees, size, Reason.TOO_FEW_EVENTS)
    return _chi_square(ZPH, float(score @ np.linalg.solve(inner, score)), degrees, size, None)


def _ratio(beta: float, error: float, level: float, size: int) -> HazardRatio:
    spread = normal_quantile(level) * error
    low, value, high = (float(np.exp(x)) for x in (beta - spread, beta, beta + spread))
    limits = Interval(of="hazard_ratio", method="wald", level=level, low=low, high=high)
    return HazardRatio(
        value=value,
        log_value=beta,
        standard_error=error,
        intervals=(limits,),
        test=_z_test("wald", beta / error, size, None),
    )


def _no_model(whole: RiskTable, reason: Reason) -> Cox:
    size = whole.events.shape[1]
    tests = [_chi_square(method, None, 0, whole.size, reason) for method in ("likelihood_ratio", ZPH)]
    return Cox(
        ties="efron",
        hazard_ratios=tuple(_no_ratio(whole, group, reason) for group in range(size)),
        likelihood_ratio=tests[0],
        proportional_hazards=tests[1],
    )


def _no_ratio(whole: RiskTable, group: int, reason: Reason | None) -> HazardRatio:
    """A null ratio. The reason is that of the group itself, else that of the model."""
    if not group:
        reason = Reason.REFERENCE_GROUP
    elif not whole.patients[group]:
        reason = Reason.NO_PATIENTS
    elif not whole.events[:, group].any():
        reason = Reason.NO_EVENTS
    return HazardRatio(
        value=None,
        log_value=None,
        standard_error=None,
        reason=reason,
        intervals=(),
        test=_z_test("wald", None, whole.size, reason),
    )


def _chi_square(method: str, statistic: float | None, degrees: int, size: int, reason: Reason | None) -> TestResult:
    from scipy.special import chdtrc

    p = None if statistic is None else float(chdtrc(degrees, statistic))
    df = degrees if statistic is not None else None
    return TestResult(method=method, statistic=statistic, df=df, p=p, n_used=size, n_zero=0, reason=reason)


def _z_test(method: str, statistic: float | None, size: int, reason: Reason | None) -> TestResult:
    from scipy.special import ndtr

    p = None if statistic is None else float(2 * ndtr(-abs(statistic)))
    return TestResult(method=method, statistic=statistic, p=p, n_used=size, n_zero=0, reason=reason)
