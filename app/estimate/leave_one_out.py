"""The influence of single patients: every estimate again without each patient in turn (leave one out).

The functions use update formulas; tests compare them with computing every estimate again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from app.estimate.arithmetic import LARGEST, NOISE, deviation_of, mean_of
from app.estimate.changes.bounded_change import METHOD as MEAN_METHOD
from app.estimate.changes.bounded_change import change_within_bounds
from app.estimate.changes.paired_change import TName, paired_change
from app.estimate.changes.signed_rank import LARGEST_EXACT, SignedRankP, Zeros, rounded, signed_rank_test
from app.estimate.results import LEAST_P, Change, CurvePoint, Number, Reason, Result, TestResult, WhyNull
from app.estimate.times.survival import HALF_TOLERANCE, Plateau, kaplan_meier

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LARGEST_REFITTED = 200
"""Estimates without an update formula are computed again for each of at most so many patients."""


class Influence(Result):
    """The range of one number when each patient is left out once."""

    of: str = Field(description="Which number.", examples=["mean", "rate", "median", "p"])
    method: str = Field(description="How it is computed.", examples=["mean", "wilcoxon_exact", "paired_t"])
    value: Number | None = Field(description="The number with every patient.", examples=[-1.408388201483])
    low: Number | None = Field(description="Least number without one patient.", examples=[-1.45])
    high: Number | None = Field(description="Greatest number without one patient.", examples=[-1.35])
    undefined: int = Field(description="Patients without whom it is not defined.", examples=[0])
    reason: WhyNull = None


class InfluenceOnTest(Influence):
    """The range of one p value, and whether one patient decides its significance."""

    alpha: Number = Field(description="Level that p is held against.", examples=[0.05])
    significance_depends_on_one_patient: bool | None = Field(
        description="Whether p is on the other side of alpha without one patient.", examples=[False]
    )


@dataclass(frozen=True)
class LeaveOneOutInfluence:
    """The influence on an estimate and, for a mean, on its signed-rank test and t test.

    `position` is the place, counted from 0, of the value without which the estimate changes most: the first of several,
    `None` if the estimate never changes.
    """

    estimate: Influence
    position: int | None
    tests: tuple[InfluenceOnTest, ...] = ()


def influence(of: str, method: str, value: float | None, left_out: Floats, reason: Reason | None = None) -> Influence:
    """The range of `left_out`. Its entry i is the number without patient i, NaN where that is not defined."""
    known = np.flatnonzero(~np.isnan(left_out))
    return Influence(
        of=of,
        method=method,
        value=value,
        low=float(left_out[known].min()) if len(known) else None,
        high=float(left_out[known].max()) if len(known) else None,
        undefined=len(left_out) - len(known),
        reason=reason if reason or (value is not None and len(known)) else _why_none(len(left_out), value),
    )


def influence_on_rate(responder: ArrayLike) -> LeaveOneOutInfluence:
    """The influence on k/n of `responder`, one truth value for each patient.

    Without a responder the rate is (k - 1)/(n - 1), without another patient k/(n - 1).
    """
    counts = np.asarray(responder, dtype=np.bool_).astype(np.float64)
    n, k = len(counts), counts.sum()
    left_out = (k - counts) / (n - 1) if n > 1 else np.full(n, np.nan)
    rate = float(k / n) if n else None
    return LeaveOneOutInfluence(influence("rate", "proportion", rate, left_out), farthest(left_out, rate))


def influence_on_change(
    differences: ArrayLike,
    *,
    alpha: float,
    zeros: Zeros = "drop",
    signed_rank_p: SignedRankP = "exact",
    t_name: TName = "paired_t",
    within: tuple[ArrayLike, ArrayLike] | None = None,
) -> LeaveOneOutInfluence:
    """The influence on the mean of finite differences, one for each patient, on their signed-rank test and t test.

    Without value x the mean is (S - x)/(n - 1), with S the sum, and the sum of squared deviations is
    Q - n/(n - 1) (x - mean)^2, with Q that of all values. So the time is O(n). The rank test has no such formula: up to
    50 differences it is computed again for each; with more the influence on it is null with `too_large`. The estimates
    are those of `paired_change`. A `ValueError` is raised for values that are not finite or not one-dimensional.

    `within` are the lower and upper limits of differences of which some are known only as bounds. The estimates are
    then those of `change_within_bounds`, computed again for each patient; with more than 200 patients the influence is
    null with `too_large`.
    """
    if within is not None and not np.array_equal(*within):
        low, high = (np.asarray(each, dtype=np.float64) for each in within)
        return _within_bounds(np.asarray(differences, dtype=np.float64), low, high, alpha, zeros, signed_rank_p, t_name)
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.all(np.abs(values) <= LARGEST):
        raise ValueError("`differences` must be one-dimensional and finite.")
    full = paired_change(values, zeros=zeros, signed_rank_p=signed_rank_p)
    mean, spread = _without_one(values)
    rank, t = full.tests
    return LeaveOneOutInfluence(
        estimate=influence("mean", "mean", full.mean, mean),
        position=farthest(mean, full.mean),
        tests=(_on_rank_test(values, rank, alpha, zeros, signed_rank_p), _on_t_test(mean, spread, t, alpha, t_name)),
    )


def _within_bounds(
    points: Floats, low: Floats, high: Floats, alpha: float, zeros: Zeros, signed_rank_p: SignedRankP, t_name: TName
) -> LeaveOneOutInfluence:
    """Every estimate again without each patient; patients with the same limits are left out once."""

    def estimates(left_out: int | None) -> Change:
        kept = [each if left_out is None else np.delete(each, left_out) for each in (points, low, high)]
        return change_within_bounds(*kept, zeros=zeros, signed_rank_p=signed_rank_p, t_name=t_name)

    full = estimates(None)
    rows = list(zip(low.tolist(), high.tolist(), strict=True))
    few = len(rows) <= LARGEST_REFITTED
    found = {row: estimates(i) for i, row in enumerate(rows)} if few else {}
    without = [found[row] for row in rows] if few else []
    missing = None if few else Reason.TOO_LARGE
    mean = np.array([change.mean for change in without], dtype=np.float64)
    tests = []
    for place, test in enumerate(full.tests):
        p = np.array([change.tests[place].p_at_most for change in without], dtype=np.float64)
        tests.append(_verdict(influence("p", test.method, test.p_at_most, p, missing or _why(test)), p, alpha))
    why = missing or (full.reason if full.mean is None else None)
    return LeaveOneOutInfluence(
        estimate=influence("mean", MEAN_METHOD, full.mean, mean, why),
        position=farthest(mean, full.mean),
        tests=tuple(tests),
    )


def _without_one(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation without each value; NaN where not defined, deviation 0 where the others are equal."""
    n = len(values)
    if n < 2:
        return np.full(n, np.nan), np.full(n, np.nan)
    listed = values.tolist()
    whole = mean_of(listed)
    mean = whole + (whole - values) / (n - 1)
    mean = np.where(np.abs(mean) <= 4 * NOISE * np.abs(values).max(), 0.0, mean)
    if n == 2:
        return mean, np.full(n, np.nan)
    squares = deviation_of(listed) ** 2 * (n - 1)
    rest = squares - (values - whole) ** 2 * (n / (n - 1))
    spread = np.sqrt(np.maximum(rest, 0.0) / (n - 2))
    if squares:
        for i in np.flatnonzero(rest <= 1e-4 * squares).tolist():  # the rest has lost its digits
            others = listed[:i] + listed[i + 1 :]
            mean[i], spread[i] = mean_of(others), deviation_of(others)
    first, last = int(np.argmin(values)), int(np.argmax(values))
    for i in (first, last):
        if _equal(np.delete(values, i)):
            spread[i] = 0.0
    return mean, np.zeros(n) if _equal(values) else spread


def _equal(values: Floats) -> bool:
    """Whether all values are equal to 12 significant digits, as differences are compared."""
    least, greatest = rounded([values.min(), values.max()])
    return bool(least == greatest)


def _on_t_test(mean: Floats, spread: Floats, full: TestResult, alpha: float, name: str) -> InfluenceOnTest:
    from scipy.special import stdtr

    n = len(mean)
    p = np.full(n, np.nan)
    known = spread > 0
    if known.any():
        tail = stdtr(n - 2, -np.abs(mean[known]) / (spread[known] / np.sqrt(n - 1)))
        p[known] = np.clip(2 * tail, LEAST_P, 1.0)
    return _verdict(influence("p", name, full.p_at_most, p, _why(full)), p, alpha)


def _on_rank_test(
    values: Floats, full: TestResult, alpha: float, zeros: Zeros, signed_rank_p: SignedRankP
) -> InfluenceOnTest:
    n = len(values)
    if n > LARGEST_EXACT:
        p = np.zeros(0)
        return _verdict(influence("p", full.method, full.p_at_most, p, Reason.TOO_LARGE), p, alpha)
    found: dict[float, float | None] = {}
    for i, value in enumerate(values.tolist()):
        if value not in found:
            found[value] = signed_rank_test(np.delete(values, i), zeros, signed_rank_p).p_at_most
    p = np.array([found[value] for value in values.tolist()], dtype=np.float64)
    return _verdict(influence("p", full.method, full.p_at_most, p, _why(full)), p, alpha)


def _why(test: TestResult) -> Reason | None:
    """Why a test has no p; a p that is too small to be written counts as the least one."""
    return None if test.p_below else test.reason


def _verdict(found: Influence, p: Floats, alpha: float) -> InfluenceOnTest:
    """Whether p crosses alpha without one of the patients; null where p is not defined."""
    known = p[~np.isnan(p)]
    depends = None
    if found.value is not None and len(known):
        depends = bool(np.any((known <= alpha) != (found.value <= alpha)))
    return InfluenceOnTest(**found.model_dump(), alpha=alpha, significance_depends_on_one_patient=depends)


def farthest(left_out: Floats, value: float | None) -> int | None:
    """The first place without which the number changes most, compared to nine significant digits."""
    if value is None or not len(left_out):
        return None
    distance = [float(f"{x:.9g}") for x in np.abs(np.nan_to_num(left_out, nan=value) - value).tolist()]
    return int(np.argmax(distance)) if max(distance) > 0 else None


def _why_none(n: int, value: float | None) -> Reason | None:
    if n == 0:
        return Reason.NO_PATIENTS
    return Reason.TOO_FEW_VALUES if n == 1 or value is not None else None


def influence_on_median(
    durations: ArrayLike,
    events: ArrayLike,
    *,
    median: Literal["midpoint", "lower"] = "midpoint",
    plateau: Plateau = "left_end",
) -> LeaveOneOutInfluence:
    """The influence on the Kaplan-Meier median of durations >= 0 that end in an event (true) or in censoring (false).

    Both arrays have one entry for each patient; the median is that of `kaplan_meier`. A patient was at risk until the
    own time. Without this patient the factors 1 - d/n before that time become 1 - d/(n - 1), the factor at the own
    event becomes 1 - (d - 1)/(n - 1), and the later factors stay. So every curve consists of a part of one curve with
    reduced factors, one own factor and a part of the full curve. Each crossing is found by bisection, in O(n log n).
    """
    times, observed = np.asarray(durations, dtype=np.float64), np.asarray(events, dtype=np.bool_)
    whole = kaplan_meier(times, observed, median=median, plateau=plateau)
    full = whole.median
    left_out = np.full(len(times), np.nan)
    if len(times) > 1 and observed.any():
        left_out = _Curves(times, observed, whole.curve[1:]).medians(median, plateau)
    found = influence("median", f"kaplan-meier/{median}", full.value, left_out)
    reason = found.reason or full.reason
    found = found.model_copy(update={"reason": reason if found.low is None or found.value is None else None})
    return LeaveOneOutInfluence(found, farthest(left_out, full.value))


class _Curves:
    """The curves without each patient, made from one Kaplan-Meier curve of all. Entry j of a curve is its value from
    event time j on.
    """

    def __init__(self, times: Floats, observed: NDArray[np.bool_], curve: Sequence[CurvePoint]) -> None:
        self.times = times
        self.event_times = np.array([point.time for point in curve])
        deaths, at_risk = (np.array([getattr(point, name) for point in curve]) for name in ("events", "at_risk"))
        fewer = np.maximum(at_risk - 1, 1)
        alone = at_risk == 1
        self.whole = np.array([point.survival for point in curve])
        self.reduced = np.cumprod(np.where(alone, 1.0, 1 - deaths / fewer))
        own = np.where(alone, 1.0, 1 - (deaths - 1) / fewer)
        # The number of event times before each patient's own time, and up to and including it.
        self.before: Ints = np.searchsorted(self.event_times, times, side="left")
        self.past: Ints = np.searchsorted(self.event_times, times, side="right")
        here = np.minimum(self.before, len(deaths) - 1)
        until = _after(self.reduced, self.before)
        factor = np.where(observed, own[here], np.where(alone[here], 1.0, 1 - deaths[here] / fewer[here]))
        self.at_own_time = np.where(self.past > self.before, until * factor, until)

    def medians(self, median: str, plateau: str) -> Floats:
        """The median without each patient, NaN where it is not reached; the rules are those of `HalfRule`."""
        first = self._first_below(0.5 + HALF_TOLERANCE)
        second = self._first_below(0.5 - HALF_TOLERANCE)
        start, end = self._time(first), self._time(second)
        if median == "lower":
            return start
        last = {"midpoint_to_last": self._last_times(), "not_reached": end}.get(plateau, start)
        return (start + np.where(np.isnan(end), last, end)) / 2 if len(start) else start

    def _first_below(self, threshold: float) -> Ints:
        """The place of the first event time at which each curve is below a threshold; the number of event times if
        none.
        """
        early = np.searchsorted(-self.reduced, -threshold, side="right")
        left = _after(self.whole, self.past)
        with np.errstate(divide="ignore", invalid="ignore"):
            bound = np.where(self.at_own_time > 0, threshold * left / self.at_own_time, 0.0)
        late = np.maximum(np.searchsorted(-self.whole, -bound, side="right"), self.past)
        at_own = np.where((self.past > self.before) & (self.at_own_time < threshold), self.before, late)
        return np.where(early < self.before, early, at_own)

    def _time(self, place: Ints) -> Floats:
        last = len(self.event_times) - 1
        return np.where(place <= last, self.event_times[np.minimum(place, last)], np.nan)

    def _last_times(self) -> Floats:
        next_greatest, greatest = np.sort(self.times)[-2:].tolist()
        last: Floats = np.where(self.times == greatest, next_greatest, greatest)
        return last


def _after(curve: NDArray[Any], passed: Ints) -> Floats:
    """The value of a curve after `passed` of its event times; 1 before the first."""
    value: Floats = np.concatenate([[1.0], curve])[passed]
    return value
