"""Time to one of several competing events: cumulative incidence by Aalen and Johansen.

The estimate is F_k(t) = sum of S(t_j-) d_kj/n_j over the event times t_j <= t, where S falls with the events of every
cause. To censor the other causes and use 1 - Kaplan-Meier would overstate the incidence. Tied times stay tied;
lifelines moves them apart at random, so that its result depends on a seed.

The variance is that of the delta method with multinomial hazards at each event time, which is also the infinitesimal
jackknife of R (`survfit(Surv(time, state) ~ 1)`, `std.err`). It is updated at each event time with the estimate.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from app.estimate.arithmetic import LARGEST, normal_quantile
from app.estimate.results import (
    CurvePoint,
    Interval,
    Number,
    Reason,
    RestrictedMean,
    Result,
    Survival,
    WhyNull,
    is_none,
)
from app.estimate.times.survival import (
    TRANSFORMS,
    Band,
    HalfRule,
    Plateau,
    from_zero,
    mean_within,
    median_of,
    numbers_at_risk,
)

CENSORED = 0
ZERO_METHOD = "clopper-pearson/weighted_risk_set"


class IncidencePoint(Result):
    """One step of a cumulative incidence: the counts and F(t) at one event time of the cause, and until the next."""

    time: Number = Field(description="Time of the event.", examples=[41])
    at_risk: int = Field(description="Patients without any of the events just before this time.", examples=[12])
    events: int = Field(description="Events of this cause at this time.", examples=[1])
    incidence: Number = Field(description="F(t) from this time on.", examples=[0.083333333333])
    low: Number | None = Field(description="Lower pointwise confidence limit of F(t).", examples=[0.0121744345])
    high: Number | None = Field(description="Upper pointwise confidence limit of F(t).", examples=[0.461022819429])
    reason: Annotated[WhyNull, Field(exclude_if=is_none)] = None


class Incidence(Result):
    """The cumulative incidence of one of several competing causes."""

    cause: str = Field(description="The cause.", examples=["abnormal", "rescue", "death"])
    events: int = Field(description="Patients whose first event was of this cause.", examples=[8])
    until: Number = Field(description="Time at which the incidence is read.", examples=[365])
    value: Number | None = Field(description="F at that time.", examples=[0.5])
    standard_error: Number | None = Field(
        description="Its standard error; null where F is 0 or 1.", examples=[0.144337567297]
    )
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Confidence interval of F at that time.", examples=[[]])
    curve: tuple[IncidencePoint, ...] = Field(description="One row for each event time of the cause.", examples=[[]])


@dataclass(frozen=True, slots=True)
class EventTime:
    """One event time: the number at risk, and the events of each cause."""

    time: float
    at_risk: int
    events: tuple[int, ...]


@dataclass(slots=True)
class IncidenceState:
    """The estimate for one cause at the current time.

    It holds the incidence, S (`event_free_share`), the incidence of the other causes, the area under 1 - F, and the
    covariances of the incidence (f), S (s) and that area (a).
    """

    incidence: float = 0.0
    event_free_share: float = 1.0
    others: float = 0.0
    area: float = 0.0
    ff: float = 0.0
    fs: float = 0.0
    ss: float = 0.0
    aa: float = 0.0
    fa: float = 0.0
    sa: float = 0.0

    @property
    def cause_free(self) -> float:
        """1 - F, the share without an event of the cause, as a sum: so no digits are lost where it is small."""
        return self.event_free_share + self.others

    def advance(self, days: float) -> None:
        """Move the time forward, without an event."""
        self.area += self.cause_free * days
        self.aa += 2 * days * self.fa + days * days * self.ff
        self.fa += days * self.ff
        self.sa += days * self.fs

    def add_events(self, n: int, own: int, all_events: int) -> None:
        """Add the events of one time: `own` of the cause, `all_events` of all causes, `n` at risk."""
        hazard, stay, square = own / n, (n - all_events) / n, self.event_free_share * self.event_free_share
        self.ff += 2 * hazard * self.fs + hazard * hazard * self.ss + square * own * (n - own) / n**3
        self.fs = stay * (self.fs + hazard * self.ss) - square * own * (n - all_events) / n**3
        self.ss = stay * stay * self.ss + square * all_events * (n - all_events) / n**3
        self.fa, self.sa = self.fa + hazard * self.sa, stay * self.sa
        self.incidence += self.event_free_share * hazard
        self.others += self.event_free_share * (all_events - own) / n
        self.event_free_share *= stay


def cumulative_incidence(
    durations: ArrayLike,
    causes: ArrayLike,
    names: Sequence[str],
    *,
    until: float,
    level: float = 0.95,
    interval: Band = "log-log",
) -> tuple[Incidence, ...]:
    """The cumulative incidence of each cause at `until` and at each of its event times (R `survfit`, as above).

    `durations` and `causes` have one entry for each patient; `until` is in the unit of the durations. `causes` is 0 for
    a censored duration and i for the i-th of `names`. Events come before censorings at the same time. The limits are
    those of 1 - F under the transform `interval`, subtracted from 1; without competing events they are those of the
    Kaplan-Meier curve. After the last duration F is unknown, unless no patient was left at risk. Where nobody had the
    event by `until` the variance is 0 and says nothing; the limits are those of Clopper and Pearson for 0 of the
    patients in the weighted risk set (see `_risk_set`), and the standard error is null. A `ValueError` is raised for
    negative or infinite durations, unknown causes and arrays of different lengths.
    """
    times, event_times = _event_times(durations, causes, len(names))
    z = normal_quantile(level)
    followed = _risk_set(np.asarray(durations, dtype=np.float64), np.asarray(causes, dtype=np.int64), until)
    return tuple(
        _incidence(place, name, times, event_times, until, level, z, interval, followed)
        for place, name in enumerate(names)
    )


def event_free(
    durations: ArrayLike,
    causes: ArrayLike,
    *,
    causes_known: int,
    level: float = 0.95,
    interval: Band = "log-log",
    median: Literal["midpoint", "lower"] = "midpoint",
    plateau: Plateau = "left_end",
    unit: str = "d",
) -> Survival:
    """The curve 1 - F of the first of `causes_known` causes. Its median is the time at which F reaches one half.

    A patient with an earlier event of another cause never has the event. The rows are time 0 and the event times of the
    first cause; their `censored` counts all patients who left before the next row without this event, `censorings` only
    those without any event. Without other causes this is the Kaplan-Meier estimate with Greenwood's limits.
    """
    times, event_times = _event_times(durations, causes, causes_known)
    z = normal_quantile(level)
    rows = [
        (event_time, state.cause_free, state.ff)
        for event_time, state in _states(event_times, 0)
        if event_time.events[0]
    ]
    at_risk = [event_time.at_risk for event_time, _, _ in rows]
    curve = []
    for (event_time, cause_free, variance), n_next in zip(rows, [*at_risk, 0][1:], strict=True):
        low, high = _limits(cause_free, variance, z, interval)
        curve.append(
            CurvePoint(
                time=event_time.time,
                at_risk=event_time.at_risk,
                events=event_time.events[0],
                censored=event_time.at_risk - event_time.events[0] - n_next,
                survival=cause_free,
                low=low,
                high=high,
                reason=Reason.NO_SURVIVORS if low is None else None,
            )
        )
    in_order = from_zero(curve, times, np.asarray(durations, dtype=np.float64)[np.asarray(causes) == CENSORED])
    return Survival(
        n=times.size,
        events=sum(event_time.events[0] for event_time, _, _ in rows),
        median=median_of(in_order, HalfRule(median, plateau), times, level, interval, unit),
        curve=in_order,
        numbers_at_risk=numbers_at_risk(times),
    )


def restricted_mean_event_free(
    durations: ArrayLike, causes: ArrayLike, *, causes_known: int, until: float, level: float = 0.95
) -> RestrictedMean:
    """The area under 1 - F of the first cause from 0 to `until`, with its standard error and normal interval.

    It is `until` minus the restricted mean time lost to the cause (Andersen 2013). It is null if `until` is after the
    last duration, unless no patient was left at risk. A `ValueError` is raised for an invalid time.
    """
    if not 0 <= until <= LARGEST:
        raise ValueError("`until` must be finite and not negative.")
    times, event_times = _event_times(durations, causes, causes_known)
    if missing := _unknown_at(times, event_times, until):
        return mean_within(until, level, missing)
    state, now = IncidenceState(), 0.0
    for event_time in event_times:
        if event_time.time >= until:
            break
        state.advance(event_time.time - now)
        state.add_events(event_time.at_risk, event_time.events[0], sum(event_time.events))
        now = event_time.time
    state.advance(until - now)
    lost = any(event_time.events[0] for event_time in event_times if event_time.time < until)
    return mean_within(until, level, None, state.area, math.sqrt(max(0.0, state.aa)) if lost else 0.0)


def _incidence(
    place: int,
    name: str,
    times: NDArray[np.float64],
    event_times: Sequence[EventTime],
    until: float,
    level: float,
    z: float,
    interval: Band,
    followed: float,
) -> Incidence:
    missing = _unknown_at(times, event_times, until)
    curve, value, variance, cause_free = [], 0.0, 0.0, 1.0
    for event_time, state in _states(event_times, place):
        if event_time.time <= until:
            value, variance, cause_free = state.incidence, state.ff, state.cause_free
        if event_time.events[place]:
            low, high = _limits(state.cause_free, state.ff, z, interval)
            curve.append(
                IncidencePoint(
                    time=event_time.time,
                    at_risk=event_time.at_risk,
                    events=event_time.events[place],
                    incidence=state.incidence,
                    low=None if high is None else 1 - high,
                    high=None if low is None else 1 - low,
                    reason=Reason.NO_SURVIVORS if low is None else None,
                )
            )
    limits = _interval(value, cause_free, variance, z, interval, level, followed, missing)
    certain = Reason.NO_EVENTS if value == 0 else Reason.NO_SURVIVORS if cause_free == 0 else None
    return Incidence(
        cause=name,
        events=sum(event_time.events[place] for event_time in event_times),
        until=until,
        value=None if missing else value,
        standard_error=None if missing or certain else math.sqrt(max(0.0, variance)),
        reason=missing or certain,
        intervals=(limits,),
        curve=tuple(curve),
    )


def _interval(
    value: float,
    cause_free: float,
    variance: float,
    z: float,
    interval: Band,
    level: float,
    followed: float,
    missing: Reason | None,
) -> Interval:
    """The limits of F at one time."""
    if value == 0 and not missing:
        highest = -math.expm1(math.log((1 - level) / 2) / followed)
        return Interval(of="incidence", method=ZERO_METHOD, level=level, low=0, high=highest)
    low, high = (None, None) if missing else _limits(cause_free, variance, z, interval)
    return Interval(
        of="incidence",
        method=f"aalen-johansen/{interval}",
        level=level,
        low=None if high is None else 1 - high,
        high=None if low is None else 1 - low,
        reason=missing or (Reason.NO_SURVIVORS if low is None else None),
    )


def _risk_set(times: NDArray[np.float64], cause: NDArray[np.int64], until: float) -> float:
    """How many patients were followed to `until` or have had another event, after which the event cannot come.

    A patient with another event at T counts as G(until)/G(T), the share who would not have been censored since (Fine
    and Gray 1999). Without censoring these are all patients, without other events those still at risk, as in Fay,
    Brittain and Proschan 2013 (Biostatistics 14:723).
    """
    distinct, place = np.unique(times, return_inverse=True)
    leaving = np.bincount(place, minlength=len(distinct))
    censored = np.bincount(place[cause == CENSORED], minlength=len(distinct))
    at_risk = times.size - np.cumsum(leaving) + censored  # of being censored: events come first
    stays = 1 - np.divide(censored, at_risk, out=np.zeros(len(distinct)), where=at_risk > 0)
    stays = np.where(distinct < until, stays, 1.0)
    remaining = np.cumprod(stays[::-1])[::-1]
    other = (cause != CENSORED) & (times < until)
    return float(np.count_nonzero(times >= until) + remaining[place[other]].sum())


def _event_times(durations: ArrayLike, causes: ArrayLike, known: int) -> tuple[NDArray[np.float64], list[EventTime]]:
    """The durations in ascending order, and the times with at least one event."""
    times, cause = np.asarray(durations, dtype=np.float64), np.asarray(causes, dtype=np.int64)
    if times.ndim != 1 or times.shape != cause.shape:
        raise ValueError("`durations` and `causes` must be one-dimensional and equally long.")
    if not np.all((times >= 0) & (times <= LARGEST)):
        raise ValueError("`durations` must be finite and not negative.")
    if not np.all((cause >= CENSORED) & (cause <= known)):
        raise ValueError("`causes` must be 0 for censored, else the number of a cause.")
    distinct, place = np.unique(times, return_inverse=True)
    counts = np.bincount(place * (known + 1) + cause, minlength=len(distinct) * (known + 1))
    table = counts.reshape(len(distinct), known + 1)
    leaving = table.sum(axis=1)
    at_risk = times.size - np.cumsum(leaving) + leaving
    here = np.flatnonzero(table[:, 1:].any(axis=1))
    rows = zip(distinct[here].tolist(), at_risk[here].tolist(), table[here, 1:].tolist(), strict=True)
    return np.sort(times), [EventTime(time, n, tuple(events)) for time, n, events in rows]


def _states(event_times: Sequence[EventTime], place: int) -> Iterator[tuple[EventTime, IncidenceState]]:
    """Each event time with the state for one cause just after it."""
    state = IncidenceState()
    for event_time in event_times:
        state.add_events(event_time.at_risk, event_time.events[place], sum(event_time.events))
        yield event_time, state


def _limits(cause_free: float, variance: float, z: float, interval: Band) -> tuple[float, float] | tuple[None, None]:
    """Limits of 1 - F; `None` where it is 0 or 1."""
    if interval not in TRANSFORMS:
        raise ValueError(f"`interval` must be one of {', '.join(TRANSFORMS)}.")
    if not 0 < cause_free < 1:
        return None, None
    return TRANSFORMS[interval](cause_free, z * math.sqrt(max(0.0, variance)) / cause_free)


def _unknown_at(times: NDArray[np.float64], event_times: Sequence[EventTime], until: float) -> Reason | None:
    """The reason if F at a time is unknown, else `None`."""
    if not times.size:
        return Reason.NO_PATIENTS
    exhausted = bool(event_times) and event_times[-1].at_risk == sum(event_times[-1].events)
    return Reason.BEYOND_FOLLOW_UP if until > times[-1] and not exhausted else None
