"""Time to an event with right censoring: the Kaplan-Meier curve, its median and the area under it.

lifelines counts the risk sets. S(t) is computed here, by the formula of its fitter: the fitter also makes limits and
tables, which takes as long again. The rest is computed here because lifelines differs: its median compares the
floating-point S(t) with 0.5 exactly, so that it gives the next event for many curves that reach one half (4 for the
times 1..6, where 3 or 3.5 is right); it gives bands where they are not defined; and its variance of the restricted mean
is the variance of one patient's time, not of the estimate.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.estimate.arithmetic import LARGEST, normal_quantile
from app.estimate.results import Censoring, CurvePoint, Interval, Median, NumberAtRisk, Reason, RestrictedMean, Survival

Band = Literal["log-log", "log", "plain"]
Plateau = Literal["left_end", "midpoint_to_last", "not_reached"]

HALF_TOLERANCE = 1e-8
"""S(t) within this distance of one half counts as one half: products of floats have rounding errors."""
GRID, WIDE_GRID = 30, 90
"""Numbers at risk are given every 30 d, or every 90 d where follow-up is longer than `WIDE_AFTER`."""
WIDE_AFTER = 360


@dataclass(frozen=True)
class CurveStep:
    """One event time of the curve; `greenwood` is the sum of d/(n(n - d)) up to it, infinite if no one is left."""

    time: float
    at_risk: int
    events: int
    censored: int
    survival: float
    greenwood: float


@dataclass(frozen=True)
class HalfRule:
    """The convention for the median while a curve is at exactly one half."""

    median: Literal["midpoint", "lower"]
    plateau: Plateau

    def crossing(self, points: Sequence[tuple[float, float]], last_time: float) -> float | None:
        """The time at which a step function, given as (time, value from then on), falls to one half, or `None`.

        This is R's `survmean` (`minmin`), `quantile.survfit` with `midpoint_to_last`, and the percentile of SAS PROC
        LIFETEST with `not_reached`: the middle between inf{t: S(t) <= 1/2} and inf{t: S(t) < 1/2}.
        """
        reached = [(time, value) for time, value in points if value < 0.5 + HALF_TOLERANCE]
        if not reached:
            return None
        start, value = reached[0]
        if self.median == "lower" or value <= 0.5 - HALF_TOLERANCE:
            return start
        end = next((time for time, value in reached if value <= 0.5 - HALF_TOLERANCE), None)
        if end is not None:
            return (start + end) / 2
        if self.plateau == "not_reached":
            return None
        return (start + last_time) / 2 if self.plateau == "midpoint_to_last" else start


def kaplan_meier(
    durations: ArrayLike,
    events: ArrayLike,
    *,
    level: float = 0.95,
    interval: Band = "log-log",
    median: Literal["midpoint", "lower"] = "midpoint",
    plateau: Plateau = "left_end",
    unit: str = "d",
) -> Survival:
    """Kaplan-Meier curve and median of durations >= 0 (in `unit`) that end in an event (true) or in censoring (false).

    Both arrays have one entry for each patient; events come before censorings at the same time; an event at time 0
    counts. The first row of the curve is time 0, where S is 1 before any event. Each row counts the censorings from its
    time on and before the next, so `at_risk` of the next row is `at_risk - events - censored`.

    The band is Greenwood's under the transform `interval` (R `survfit(conf.type=)`), kept within 0 and 1, null where S
    is 0. The median is the first time with S <= 1/2. While S is exactly 1/2 (within 1e-8), `midpoint` takes the middle
    between that time and the next event, as R and SAS do, and `lower` the first time; if S stays at 1/2 until the end
    of follow-up, `left_end` takes the first time (R `print.survfit`), `midpoint_to_last` the middle to the last time (R
    `quantile.survfit`), and with `not_reached` there is no median (SAS PROC LIFETEST). The limits of the median
    (Brookmeyer and Crowley 1982) are where the limits of S cross 1/2, by the same rules. A `ValueError` is raised for
    negative or infinite durations, arrays of different lengths and unknown conventions.
    """
    z = normal_quantile(level)
    if interval not in TRANSFORMS:
        raise ValueError(f"`interval` must be one of {', '.join(TRANSFORMS)}.")
    if median not in ("midpoint", "lower") or plateau not in get_args(Plateau):
        raise ValueError(f"`median` must be midpoint or lower, `plateau` one of {', '.join(get_args(Plateau))}.")
    times, observed = _by_time(durations, events)
    steps = [_curve_point(step, z, interval) for step in _product_limit(times, observed)]
    curve = from_zero(steps, times, times[~observed])
    return Survival(
        n=times.size,
        events=int(np.count_nonzero(observed)),
        median=median_of(curve, HalfRule(median, plateau), times, level, interval, unit),
        curve=curve,
        numbers_at_risk=numbers_at_risk(times),
    )


def from_zero(steps: Sequence[CurvePoint], times: NDArray[np.float64], censored: ArrayLike) -> tuple[CurvePoint, ...]:
    """The rows of a curve after a row at time 0, each with the times of its censorings; none without a patient.

    `times` are those of all patients, `censored` those of the patients without any event.
    """
    if not times.size:
        return ()
    first = steps[0].at_risk if steps else 0
    start = CurvePoint(
        time=0, at_risk=times.size, events=0, censored=times.size - first, survival=1, low=1, high=1, reason=None
    )
    marks, patients = np.unique(np.asarray(censored, dtype=np.float64), return_counts=True)
    places = np.searchsorted([step.time for step in steps], marks, side="right").tolist()
    of_row: list[list[Censoring]] = [[] for _ in range(len(steps) + 1)]
    for place, mark, count in zip(places, marks.tolist(), patients.tolist(), strict=True):
        of_row[place].append(Censoring(time=mark, patients=count))
    rows = zip((start, *steps), of_row, strict=True)
    return tuple(CurvePoint(**vars(row) | {"censorings": tuple(marked)}) if marked else row for row, marked in rows)


def numbers_at_risk(durations: ArrayLike, until: float | None = None) -> tuple[NumberAtRisk, ...]:
    """How many durations are at least as long as 0, 30, 60, ... up to `until`, by default the longest of them.

    The times are those of every quarter (0, 90, 180, ...) where `until` is after day 360. An event or a censoring at a
    time was at risk at that time (R `summary(survfit, times=)`, `n.risk`).
    """
    ordered = np.sort(np.asarray(durations, dtype=np.float64))
    if until is None:
        until = float(ordered[-1]) if ordered.size else -1.0
    grid = np.arange(0, math.floor(until) + 1, GRID if until <= WIDE_AFTER else WIDE_GRID)
    counts = ordered.size - np.searchsorted(ordered, grid, side="left")
    return tuple(NumberAtRisk(time=time, at_risk=n) for time, n in zip(grid.tolist(), counts.tolist(), strict=True))


def median_of(
    curve: Sequence[CurvePoint],
    rule: HalfRule,
    times: NDArray[np.float64],
    level: float,
    interval: Band,
    unit: str = "d",
) -> Median:
    """The median of a curve of patients who were followed for `times`, with its limits.

    Brookmeyer and Crowley 1982; R `print.survfit` and `quantile.survfit`, see `HalfRule`.
    """
    last_time = float(times.max(initial=0))
    low = rule.crossing([(point.time, point.low) for point in curve if point.low is not None], last_time)
    high = rule.crossing([(point.time, point.high) for point in curve if point.high is not None], last_time)
    value = rule.crossing([(point.time, point.survival) for point in curve], last_time)
    missing = _why_no_median(curve)
    limits = Interval(
        of="median",
        method=f"brookmeyer-crowley/{interval}",
        level=level,
        low=low,
        high=high,
        reason=missing if None in (low, high) else None,
    )
    return Median(
        value=value,
        at_risk=None if value is None else int(np.count_nonzero(times >= value)),
        unit=unit,
        convention=rule.median,
        plateau=rule.plateau,
        reason=missing if value is None else None,
        intervals=(limits,),
    )


def restricted_mean(
    durations: ArrayLike, events: ArrayLike, *, until: float, level: float = 0.95, known: Survival | None = None
) -> RestrictedMean:
    """The area under the Kaplan-Meier curve from 0 to `until`, in the unit of the durations, with its standard error.

    `known` is the curve of these patients, if it was estimated before: it is not estimated again.

    With A_j the area from event time t_j to `until`, the variance is the sum of A_j^2 d_j/(n_j(n_j - d_j)); a time at
    which no patient is left has A_j = 0 and adds nothing (R `summary(survfit, rmean=until)`). The interval is the mean
    +- z standard errors (R survRM2 `rmst2`), kept within 0 and `until`. A variance of 0, as without an event before
    `until`, does not say how the mean varies: standard error and interval are null. After the last time the curve is
    unknown, and all are null with `beyond_follow_up`, unless the curve has reached 0 and stays there. A `ValueError` is
    raised for an `until` that is negative or infinite.
    """
    if not 0 <= until <= LARGEST:
        raise ValueError("`until` must be finite and not negative.")
    times, observed = _by_time(durations, events)
    steps: Sequence[CurveStep | CurvePoint] = _product_limit(times, observed) if known is None else known.curve[1:]
    if not times.size:
        return mean_within(until, level, Reason.NO_PATIENTS)
    if until > times[-1] and not (steps and steps[-1].survival == 0):
        return mean_within(until, level, Reason.BEYOND_FOLLOW_UP)
    steps = [step for step in steps if step.time < until]
    ends = [step.time for step in steps] + [until]
    areas = [step.survival * (end - step.time) for step, end in zip(steps, ends[1:], strict=True)]
    rest = list(accumulate(reversed(areas)))[::-1]
    variance = math.fsum(
        area * area * step.events / (step.at_risk * (step.at_risk - step.events))
        for step, area in zip(steps, rest, strict=True)
        if step.survival > 0
    )
    return mean_within(until, level, None, math.fsum([ends[0], *areas]), math.sqrt(variance))


def mean_within(
    until: float, level: float, missing: Reason | None, value: float | None = None, error: float = 0.0
) -> RestrictedMean:
    """A restricted mean with its normal interval; null with the reason where it is `missing`."""
    low = high = None
    if value is not None and error:
        spread = normal_quantile(level) * error
        low, high = max(0.0, value - spread), min(until, value + spread)
    reason = missing or (None if error else Reason.NO_STANDARD_ERROR)
    limits = Interval(of="restricted_mean", method="normal", level=level, low=low, high=high, reason=reason)
    return RestrictedMean(until=until, value=value, standard_error=error or None, reason=reason, intervals=(limits,))


def survival_at_events(durations: ArrayLike, events: ArrayLike) -> NDArray[np.float64]:
    """S(t) of the Kaplan-Meier curve just after each of its event times, in their order."""
    steps = _product_limit(*_by_time(durations, events))
    return np.array([step.survival for step in steps], dtype=np.float64)


def _by_time(durations: ArrayLike, events: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Both arrays in ascending order of time, events first."""
    times, observed = np.asarray(durations, dtype=np.float64), np.asarray(events, dtype=np.bool_)
    if times.ndim != 1 or times.shape != observed.shape:
        raise ValueError("`durations` and `events` must be one-dimensional and equally long.")
    if not np.all((times >= 0) & (times <= LARGEST)):
        raise ValueError("`durations` must be finite and not negative.")
    order = np.lexsort((~observed, times))
    return times[order], observed[order]


def _product_limit(times: NDArray[np.float64], observed: NDArray[np.bool_]) -> list[CurveStep]:
    """The event times of the curve, counted by lifelines; S(t) is that of its fitter, to the last bit."""
    if not observed.any():
        return []
    from lifelines.utils import survival_table_from_events

    table = survival_table_from_events(times, observed)
    here = np.flatnonzero(table["observed"])
    time = table.index.to_numpy()[here].tolist()
    n, d = (table[name].to_numpy()[here] for name in ("at_risk", "observed"))
    with np.errstate(divide="ignore"):
        survival = np.exp(np.cumsum(np.log(n - d) - np.log(n))).tolist()
    at_risk, deaths, left = n.tolist(), d.tolist(), (n - d).tolist()
    censored = [m - n_next for m, n_next in zip(left, [*at_risk[1:], 0], strict=True)]
    terms = (d / (n * m) if m else math.inf for n, d, m in zip(at_risk, deaths, left, strict=True))
    return list(map(CurveStep, time, at_risk, deaths, censored, survival, accumulate(terms)))


def _curve_point(step: CurveStep, z: float, interval: Band) -> CurvePoint:
    low, high = TRANSFORMS[interval](step.survival, z * math.sqrt(step.greenwood)) if step.survival else (None, None)
    return CurvePoint(
        time=step.time,
        at_risk=step.at_risk,
        events=step.events,
        censored=step.censored,
        survival=step.survival,
        low=low,
        high=high,
        reason=None if step.survival else Reason.NO_SURVIVORS,
    )


def _log_log(survival: float, spread: float) -> tuple[float, float]:
    """Limits symmetric in ln(-ln S); `spread` is z standard errors of ln S."""
    power = math.exp(spread / -math.log(survival))
    return survival**power, survival ** (1 / power)


def _log(survival: float, spread: float) -> tuple[float, float]:
    return survival * math.exp(-spread), min(1.0, survival * math.exp(spread))


def _plain(survival: float, spread: float) -> tuple[float, float]:
    return max(0.0, survival - survival * spread), min(1.0, survival + survival * spread)


TRANSFORMS: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "log-log": _log_log,
    "log": _log,
    "plain": _plain,
}


def _why_no_median(curve: Sequence[CurvePoint]) -> Reason:
    if not curve:
        return Reason.NO_PATIENTS
    return Reason.NOT_REACHED if len(curve) > 1 else Reason.NO_EVENTS
