"""Time to an event that is observed at visits only: it lies in (L, R], after one visit and not after the next.

Intervals are open on the left and closed on the right, as in R's `survfit(Surv(L, R, type = "interval2") ~ 1)`: an
event that a visit shows may have occurred on that day, and had not occurred at the visit before. lifelines'
`fit_interval_censoring` takes them as closed on both sides, so that neighbouring intervals share their common point.

The estimate gives the probability of each interval, but not where in the interval it lies. So S(t) is known only
between the intervals, and the median is an interval. R places each mass in the middle of its interval, so that its
median is the middle of this interval.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from app.estimate.arithmetic import LARGEST, check_level
from app.estimate.results import Censoring, Interval, Number, Reason, Result, WhyNull
from app.estimate.times.survival import HalfRule, Plateau, numbers_at_risk
from app.estimate.times.turnbull import (
    ACCEPTED,
    LARGEST_SUPPORT,
    BootstrapLimits,
    Fit,
    Floats,
    Intersections,
    Sample,
    distinct_intervals,
    intersections,
    maximise,
    median_interval,
    percentile_limits,
)

SEED = 1976
"""The seed of the resampling if no other is given."""
LARGEST_SAMPLE = 200_000
"""With more distinct intervals than this there is no estimate; 100,000 patients seen on whole days have fewer."""


class IntervalMass(Result):
    """The probability of the event in one interval (left, right], and S(t) before it."""

    left: Number = Field(description="The event is later than this time.", examples=[28])
    right: Number | None = Field(
        description="The event is at this time at the latest; null where the interval is open.", examples=[35, None]
    )
    mass: Number = Field(description="Probability of the event in this interval.", examples=[0.166666666667])
    survival: Number = Field(
        description="S(t) from the end of the interval before (or time 0) up to `left`: it falls by `mass` somewhere "
        "in the interval, and nothing says where.",
        examples=[0.833333333333],
    )


class ResampledInterval(Interval):
    """A percentile interval from resampling the patients."""

    resamples: int = Field(description="How often the patients were drawn with replacement.", examples=[200])
    seed: int = Field(description="Where the random numbers started.", examples=[SEED])
    not_reached: int | None = Field(
        description="Resamples whose median is beyond follow-up; null where none were drawn.", examples=[3]
    )


RESAMPLED_MEDIAN = {
    "of": "median",
    "method": "bootstrap_percentile",
    "level": 0.95,
    "low": 56,
    "high": 182,
    "reason": None,
    "resamples": 200,
    "seed": SEED,
    "not_reached": 0,
}


class IntervalMedian(Result):
    """The interval (left, right] in which the median lies."""

    left: Number | None = Field(description="The median is later than this time.", examples=[84])
    right: Number | None = Field(
        description="The median is at this time at the latest; null where it is not reached.", examples=[112]
    )
    at_risk: int | None = Field(
        description="Patients seen without the event at `right` or later; null where it is null.", examples=[5]
    )
    unit: str = Field(description="Unit of every time here.", examples=["d"])
    convention: str = Field(
        description="When S(t) is exactly one half between two masses, `lower` answers the interval of the first and "
        "`midpoint` the middle between the two: half-way between their left ends to half-way between their right ends.",
        examples=["midpoint", "lower"],
    )
    plateau: str = Field(
        description="When S(t) stays at exactly one half to the end of follow-up, `left_end` answers the interval in "
        "which it came to one half, `midpoint_to_last` the middle between that and the last time, and `not_reached` "
        "the middle between that and the open last interval, without a right end.",
        examples=["left_end", "midpoint_to_last", "not_reached"],
    )
    reason: WhyNull = None
    intervals: tuple[ResampledInterval, ...] = Field(
        description="Confidence interval of the median from the left ends of the resampled medians to the right ends; "
        "none when no resamples were asked for.",
        examples=[[RESAMPLED_MEDIAN]],
    )


class SeenAtRisk(Result):
    """How many patients are known to be without the event at one time."""

    time: Number = Field(description="The time.", examples=[90])
    at_risk: int = Field(description="Patients seen without the event at this time or later.", examples=[9])
    undecided: int = Field(
        description="Patients whose event came between two draws, one before this time and one at or after it.",
        examples=[1],
    )


class IntervalCensored(Result):
    """The nonparametric maximum likelihood estimate of an interval-censored time."""

    n: int = Field(description="Patients.", examples=[13])
    events: int = Field(description="Patients whose event was seen: their interval has an end.", examples=[8])
    median: IntervalMedian = Field(description="Median time to the event, an interval.")
    masses: tuple[IntervalMass, ...] = Field(
        description="Where the probability is; S(t) is constant between these intervals and unknown inside them.",
        examples=[[{"left": 28, "right": 35, "mass": 0.166666666667, "survival": 0.833333333333}]],
    )
    censorings: tuple[Censoring, ...] = Field(
        description="The last time at which each patient without the event was seen.", examples=[[]]
    )
    numbers_at_risk: tuple[SeenAtRisk, ...] = Field(
        description="Every 30 d up to the last time; every 90 d where that is after day 360.", examples=[[]]
    )
    log_likelihood: Number | None = Field(description="Its logarithm at the estimate.", examples=[-8.50121623689])
    excess: Number | None = Field(
        description="Largest excess over the Kuhn-Tucker bound, to nine decimals; 0 at the exact optimum. Times `n` it "
        f"bounds what the log-likelihood lacks. Above {ACCEPTED:g} there is no estimate.",
        examples=[2.2e-16],
    )
    reason: WhyNull = None


def interval_censored(
    left: ArrayLike,
    right: ArrayLike,
    *,
    level: float = 0.95,
    median: Literal["midpoint", "lower"] = "midpoint",
    plateau: Plateau = "left_end",
    resamples: int = 200,
    seed: int = SEED,
    unit: str = "d",
) -> IntervalCensored:
    """The Turnbull estimate and the median of times (in `unit`) that lie in (left, right], one for each patient.

    Turnbull 1976; R `survfit(Surv(L, R, type = "interval2") ~ 1)`. 0 <= left < right, else a `ValueError` is raised; an
    infinite `right` is right-censored. An exact time must be given as an interval: (day - 1, day] for whole days.

    The median is the interval in which S(t) crosses one half. If S is exactly one half (within 1e-8) after one mass
    and before the next, the rules of `kaplan_meier` are applied to the left ends and, separately, to the right ends. A
    median in the open last interval is not reached: its left end is known, its right end is null.
    """
    check_level(level)
    lefts, rights = _checked(left, right)
    rule = HalfRule(median, plateau)
    events = int(np.isfinite(rights).sum())
    seen = _censorings(lefts, rights), _at_risk(lefts, rights)

    def none(reason: Reason, excess: float | None = None) -> IntervalCensored:
        limits = _interval(BootstrapLimits(None, None, None, reason), level, resamples, seed)
        return IntervalCensored(
            n=len(lefts),
            events=events,
            median=_median((None, None), lefts, rule, unit, reason, limits),
            masses=(),
            censorings=seen[0],
            numbers_at_risk=seen[1],
            log_likelihood=None,
            excess=excess,
            reason=reason,
        )

    if not len(lefts):
        return none(Reason.NO_PATIENTS)
    sample = distinct_intervals(lefts, rights)
    if len(sample.count) > LARGEST_SAMPLE:
        return none(Reason.TOO_LARGE)
    part = intersections(sample.begin, sample.end, len(sample.points))
    fit = maximise(part, sample.count.astype(np.float64))
    if not fit.excess <= ACCEPTED:
        too_large = len(part.left) > LARGEST_SUPPORT
        return none(Reason.TOO_LARGE if too_large else Reason.NOT_CONVERGED, fit.excess)
    low, high = median_interval(sample.points, part, fit.mass, rule)
    reached = math.isfinite(high)
    missing = None if reached else Reason.NOT_REACHED if events else Reason.NO_EVENTS
    limits = percentile_limits(sample, part, fit.mass, rule, level, resamples, seed)
    return IntervalCensored(
        n=len(lefts),
        events=events,
        median=_median(
            (low, high if reached else None), lefts, rule, unit, missing, _interval(limits, level, resamples, seed)
        ),
        masses=_masses(sample, part, fit),
        censorings=seen[0],
        numbers_at_risk=seen[1],
        log_likelihood=fit.log_likelihood,
        excess=round(fit.excess, 9),
    )


def _checked(left: ArrayLike, right: ArrayLike) -> tuple[Floats, Floats]:
    lefts, rights = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if lefts.ndim != 1 or lefts.shape != rights.shape:
        raise ValueError("`left` and `right` must be one-dimensional and equally long.")
    if not np.all((lefts >= 0) & (lefts < rights) & (lefts <= LARGEST) & ((rights <= LARGEST) | np.isinf(rights))):
        raise ValueError("`left` must be finite, not negative and below `right`.")
    return lefts + 0.0, rights


def _censorings(lefts: Floats, rights: Floats) -> tuple[Censoring, ...]:
    times, patients = np.unique(lefts[np.isinf(rights)], return_counts=True)
    rows = zip(times.tolist(), patients.tolist(), strict=True)
    return tuple(Censoring(time=time, patients=count) for time, count in rows)


def _at_risk(lefts: Floats, rights: Floats) -> tuple[SeenAtRisk, ...]:
    """On the grid of `numbers_at_risk`, up to the last time at which anybody was seen."""
    last = float(np.where(np.isinf(rights), lefts, rights).max(initial=-1))
    rows = numbers_at_risk(lefts, last)
    times = np.array([row.time for row in rows])[:, None]
    undecided = ((lefts < times) & (rights >= times) & np.isfinite(rights)).sum(axis=1).tolist()
    return tuple(
        SeenAtRisk(time=row.time, at_risk=row.at_risk, undecided=count)
        for row, count in zip(rows, undecided, strict=True)
    )


def _masses(sample: Sample, part: Intersections, fit: Fit) -> tuple[IntervalMass, ...]:
    carrying = np.flatnonzero(fit.mass > 0)
    masses = fit.mass[carrying]
    rows = zip(
        sample.points[part.left[carrying]].tolist(),
        sample.points[part.right[carrying]].tolist(),
        masses.tolist(),
        np.concatenate(([1.0], 1 - np.cumsum(masses)[:-1])).tolist(),
        strict=True,
    )
    return tuple(
        IntervalMass(left=left, right=right if math.isfinite(right) else None, mass=mass, survival=survival)
        for left, right, mass, survival in rows
    )


def _median(
    bounds: tuple[float | None, float | None],
    lefts: Floats,
    rule: HalfRule,
    unit: str,
    reason: Reason | None,
    intervals: tuple[ResampledInterval, ...],
) -> IntervalMedian:
    return IntervalMedian(
        left=bounds[0],
        right=bounds[1],
        at_risk=None if bounds[1] is None else int(np.count_nonzero(lefts >= bounds[1])),
        unit=unit,
        convention=rule.median,
        plateau=rule.plateau,
        reason=reason,
        intervals=intervals,
    )


def _interval(limits: BootstrapLimits, level: float, resamples: int, seed: int) -> tuple[ResampledInterval, ...]:
    """The limits as an interval; none if no resamples were requested."""
    interval = ResampledInterval(
        of="median",
        method="bootstrap_percentile",
        level=level,
        low=limits.low,
        high=limits.high,
        reason=limits.reason,
        resamples=resamples,
        seed=seed,
        not_reached=limits.not_reached,
    )
    return (interval,) if resamples else ()
