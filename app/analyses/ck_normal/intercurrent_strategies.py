"""The time with normal CK under each strategy for rescue treatment and death."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from pydantic import Field

from app.analyses.answer import Context
from app.derive.per_patient import included
from app.derive.rescue_treatment import ABNORMAL, CAUSES, CENSORED, DIED, Outcomes, outcome_intervals
from app.derive.study import DerivedStudy
from app.estimate.results import Median, RestrictedMean, Result, Survival
from app.estimate.times.aalen_johansen import Incidence, cumulative_incidence, event_free, restricted_mean_event_free
from app.estimate.times.interval_censored import IntervalCensored, interval_censored
from app.estimate.times.survival import HalfRule, kaplan_meier, median_of, restricted_mean
from app.protocol.conventions import Conventions
from app.protocol.endpoints import RescueStrategy
from app.timeline.cohort import NO_TIME, Bools

STRATEGIES: tuple[RescueStrategy, ...] = get_args(RescueStrategy)


class TimeByStrategy(Result):
    """The time with normal CK, by one strategy for further treatment or death before CK became abnormal again."""

    strategy: RescueStrategy = Field(description="The strategy.", examples=["composite"])
    declared: bool = Field(description="Whether it is the protocol's.", examples=[False])
    in_force: bool = Field(description="Whether the other fields of the answer follow it.", examples=[False])
    n: int = Field(description="Patients in the risk set, the same under every strategy.", examples=[13])
    events: int = Field(description="Events: under `composite` rescue and death are events too.", examples=[8])
    by_rescue: int = Field(
        description="Patients whose time rescue ended or, under `hypothetical`, censored.", examples=[0]
    )
    by_death: int = Field(description="Patients whose time death ended.", examples=[0])
    rescue_after_last_ck: int = Field(
        description="Patients censored at their last CK of known normality whose rescue came later. It is not counted, "
        "because follow-up ends at that CK.",
        examples=[1],
    )
    death_after_last_ck: int = Field(
        description="Patients censored at their last CK of known normality who died later; not counted either.",
        examples=[0],
    )
    medians: tuple[Median, ...] = Field(
        description="The median by both conventions, first `midpoint`, then `lower`.", examples=[[]]
    )
    rmst: RestrictedMean = Field(
        description="Restricted mean of the time; under `competing` the mean time until CK became abnormal, where "
        "patients with rescue or death first count up to the horizon."
    )
    incidence: tuple[Incidence, ...] = Field(
        default=(),
        exclude_if=lambda incidence: not incidence,
        description="Under `competing`, the cumulative incidence of abnormal CK, rescue and death (Aalen-Johansen).",
        examples=[[]],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """The times of the risk set under one strategy, and the estimates from them.

    `curve` is the Kaplan-Meier curve; under `competing` it is 1 - F of abnormal CK.
    """

    strategy: RescueStrategy
    outcomes: Outcomes
    in_set: Bools
    curve: Survival
    mean: RestrictedMean


def in_risk_set(context: Context) -> Bools:
    """Whether each patient is in the risk set of the time with normal CK."""
    return included(context.study.remission_episodes.reason)


def times_of(context: Context, strategy: RescueStrategy) -> Times:
    """The estimates under one strategy."""
    in_set, outcomes = in_risk_set(context), context.study.outcomes(strategy)
    return Times(strategy, outcomes, in_set, *_estimates(context, strategy, outcomes, in_set))


def times_by_strategy(context: Context) -> dict[RescueStrategy, Times]:
    """The estimates under every strategy; where no rescue or death changes a time, those of `treatment_policy`."""
    ignored = times_of(context, "treatment_policy")
    by_strategy = {ignored.strategy: ignored}
    for strategy in STRATEGIES[1:]:
        outcomes = context.study.outcomes(strategy)
        if outcomes.cut.any():
            curve, mean = _estimates(context, strategy, outcomes, ignored.in_set)
        else:
            curve, mean = ignored.curve, ignored.mean
        by_strategy[strategy] = Times(strategy, outcomes, ignored.in_set, curve, mean)
    return by_strategy


def strategies(
    context: Context, times: dict[RescueStrategy, Times], in_force: RescueStrategy
) -> tuple[TimeByStrategy, ...]:
    """One row for each strategy."""
    declared = context.protocol.ck_normal_time.rescue
    return tuple(_row(context, of_strategy, declared, in_force) for of_strategy in times.values())


def _row(context: Context, times: Times, declared: RescueStrategy, in_force: RescueStrategy) -> TimeByStrategy:
    cut, died = times.outcomes.cut, times.outcomes.cause == DIED
    return TimeByStrategy(
        strategy=times.strategy,
        declared=times.strategy == declared,
        in_force=times.strategy == in_force,
        n=times.curve.n,
        events=times.curve.events,
        by_rescue=int((cut & ~died).sum()),
        by_death=int((cut & died).sum()),
        rescue_after_last_ck=int(times.outcomes.rescue_after_last_ck.sum()),
        death_after_last_ck=int(times.outcomes.death_after_last_ck.sum()),
        medians=_medians(context, times),
        rmst=times.mean,
        incidence=_incidence(context, times) if times.strategy == "competing" else (),
    )


def _estimates(
    context: Context, strategy: RescueStrategy, outcomes: Outcomes, in_set: Bools
) -> tuple[Survival, RestrictedMean]:
    study = context.study
    duration, cause = outcomes.duration[in_set], outcomes.cause[in_set]
    until = context.protocol.ck_normal_time.rmst_until_days
    if strategy != "competing":
        ended = cause != CENSORED
        curve = study.estimated(kaplan_meier, duration, ended, **context.curve)
        return curve, restricted_mean(duration, ended, until=until, level=context.level, known=curve)
    known = len(CAUSES)
    curve = event_free(duration, cause, causes_known=known, **context.curve)
    return curve, restricted_mean_event_free(duration, cause, causes_known=known, until=until, level=context.level)


def _medians(context: Context, times: Times) -> tuple[Median, ...]:
    """The medians by both conventions; the convention in force is that of the curve."""
    durations, conventions, curve = times.outcomes.duration[times.in_set], context.conventions, times.curve
    return tuple(
        curve.median
        if convention == curve.median.convention
        else median_of(
            curve.curve,
            HalfRule(convention, conventions.plateau),
            durations.astype(np.float64),
            context.level,
            conventions.interval,
        )
        for convention in ("midpoint", "lower")
    )


def _incidence(context: Context, times: Times) -> tuple[Incidence, ...]:
    return cumulative_incidence(
        times.outcomes.duration[times.in_set],
        times.outcomes.cause[times.in_set],
        CAUSES,
        until=context.protocol.ck_normal_time.rmst_until_days,
        level=context.level,
        interval=context.conventions.interval,
    )


def is_event(strategy: RescueStrategy, outcomes: Outcomes) -> Bools:
    """Whether the time of each patient ended in an event of the curve."""
    cause = outcomes.cause
    event: Bools = cause == ABNORMAL if strategy == "competing" else cause != CENSORED
    return event


def spell_intervals(
    study: DerivedStudy, strategy: RescueStrategy, conventions: Conventions, *, level: float, resamples: int = 200
) -> IntervalCensored:
    """The time with normal CK from the interval between two draws in which it ended."""
    left, right = outcome_intervals(study.remission_intervals, study.outcomes(strategy))
    chosen = study.remission_intervals.in_set
    return study.estimated(
        interval_censored,
        left[chosen],
        np.where(right == NO_TIME, np.inf, right)[chosen],
        level=level,
        median=conventions.median,
        plateau=conventions.plateau,
        resamples=resamples,
    )
