"""What more patients would show if the observed figures are true: precision, detectable change, events for a median."""

from typing import Literal

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, of_all_treated
from app.analyses.answer import (
    Answer,
    Basis,
    Context,
    Definition,
    Excluded,
    Findings,
    Grouped,
    Options,
    Question,
)
from app.analyses.ck_change import changes
from app.analyses.claims import description
from app.analyses.sensitivity.key_results import last_day
from app.analyses.weekly_change import differences
from app.derive.per_patient import included
from app.derive.response import ResponseVerdicts
from app.estimate.changes.paired_change import paired_change
from app.estimate.results import Number, Reason, Result, WhyNull
from app.estimate.sample_size import (
    LARGEST_PLAN,
    DetectableChange,
    MedianPrecision,
    PlannedSize,
    ProportionPrecision,
    detectable_change,
    events_for_median,
    median_precision,
    proportion_precision,
    size_for_change,
    size_for_half_width,
    size_for_signed_rank,
)
from app.protocol.endpoints import ResponseRule
from app.timeline.cohort import Floats

Scale = Literal["ln", "raw"]


class PlanningOptions(Options):
    """The common options, and the aims of the plan."""

    power: float = Field(default=0.8, gt=0.5, le=0.9999, description="Power of the planned tests.", examples=[0.8])
    half_width: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Intended half width of the interval of a rate.",
        examples=[0.1],
    )
    ratio: float = Field(
        default=2, gt=1, le=100, description="Intended ratio of the upper to the lower limit of a median.", examples=[2]
    )


class PlannedRate(Grouped):
    """A response rate with more patients."""

    measure: str = Field(description="The measure.", examples=["MMT"])
    definition: Definition = Field(description="The primary rule.")
    responders: int = Field(description="Patients who responded.", examples=[14])
    evaluable: int = Field(description="Patients whom the rule could judge.", examples=[15])
    assumed: Number | None = Field(description="The assumed rate: the observed one.", examples=[0.933333333333])
    reason: WhyNull = None
    all_treated: AllTreated = Field(description="The observed count over all treated patients.")
    forecast: tuple[ProportionPrecision, ...] = Field(
        description="The interval expected with the same number of patients, with twice and with four times as many.",
        examples=[[]],
    )
    for_half_width: PlannedSize = Field(description="Patients for an interval of the intended width.")


class PlannedChange(Grouped):
    """A change from baseline, or the before/after difference of ln(CK), with more patients."""

    measure: str = Field(description="The measure.", examples=["CK"])
    scale: Scale = Field(description="Scale of the differences.", examples=["ln"])
    week: int | None = Field(description="The week; null for the before/after difference.", examples=[4])
    n: int = Field(description="Patients with a difference.", examples=[15])
    mean: Number | None = Field(description="Mean difference observed.", examples=[-0.53])
    sd: Number | None = Field(description="Standard deviation observed, which the plan assumes.", examples=[0.23])
    reason: WhyNull = None
    detectable: tuple[DetectableChange, ...] = Field(
        description="The difference that the paired t test detects with the intended power, with the same number of "
        "patients, with twice and with four times as many.",
        examples=[[]],
    )
    for_observed: PlannedSize = Field(description="Patients for the observed mean, by the paired t test.")
    for_observed_signed_rank: PlannedSize = Field(
        description="Patients for the observed mean, by the signed-rank test."
    )


class PlannedMedian(Grouped):
    """The median time with normal CK with more events."""

    events: int = Field(description="Patients whose CK became abnormal again.", examples=[8])
    reason: WhyNull = None
    forecast: tuple[MedianPrecision, ...] = Field(
        description="The interval with the same number of events, with twice and with four times as many, for "
        "exponential times.",
        examples=[[]],
    )
    for_ratio: PlannedSize = Field(description="Events for limits with the intended ratio.")


class Plan(Result):
    """The aims of the plan."""

    power: Number = Field(description="Power of the tests.", examples=[0.8])
    alpha: Number = Field(description="Two-sided level of the tests, as the protocol declares it.", examples=[0.05])
    half_width: Number = Field(description="Half the width of the interval of a rate.", examples=[0.1])
    ratio: Number = Field(description="Upper over lower limit of a median.", examples=[2])


class Planning(Answer):
    """What more patients would show, if the observed figures are true."""

    aims: Plan = Field(description="The aims.")
    results: tuple[PlannedRate, ...] = Field(description="The primary response rates.", examples=[[]])
    changes: tuple[PlannedChange, ...] = Field(description="The changes.", examples=[[]])
    medians: tuple[PlannedMedian, ...] = Field(description="The median time with normal CK.", examples=[[]])


def planning(context: Context) -> Findings:
    """Every primary rate, every change at every declared week, the before/after difference and the median time."""
    options, study = context.options_as(PlanningOptions), context.study
    rates: list[PlannedRate] = []
    excluded: list[Excluded] = []
    for rule in (declared.rule for declared in context.protocol.responses if declared.primary):
        verdict, definition = study.response(rule), Definition.of_rule(rule)
        rates.append(_rate(context, options, rule, verdict))
        excluded += context.excluded(verdict.reason, rule.measure, definition=definition)
    excluded += context.excluded(study.remission_episodes.reason, "CK", estimate="time_normal")
    return Findings(
        {"results": rates, "changes": _changes(context, options), "medians": [_median(context, options)]},
        excluded,
        claims=[description(int(study.safety.sum()), "what a further study would need, planned from the values")],
    )


def _basis(whole: Context) -> Basis:
    options = whole.options_as(PlanningOptions)
    aims = Plan(
        power=options.power,
        alpha=whole.protocol.weekly_change.alpha,
        half_width=options.half_width,
        ratio=options.ratio,
    )
    definition = Definition(id="planned_from_observed", parameters=aims.model_dump(mode="json"))
    return Basis(("planned_from_observed", "definitions_are_ours", "bounds_as_values"), definition, {"aims": aims})


def _rate(context: Context, options: PlanningOptions, rule: ResponseRule, verdict: ResponseVerdicts) -> PlannedRate:
    k, n = int(verdict.responder.sum()), int(verdict.evaluable.sum())
    return PlannedRate(
        group=context.group,
        measure=rule.measure,
        definition=Definition.of_rule(rule),
        responders=k,
        evaluable=n,
        assumed=k / n if n else None,
        reason=None if n else Reason.NO_PATIENTS,
        all_treated=of_all_treated(context, verdict.responder, ~verdict.judged, last_day(context.study, rule)),
        forecast=tuple(
            proportion_precision(size, k / n, level=context.level) for size in _sizes(n) if size <= LARGEST_PLAN
        ),
        for_half_width=size_for_half_width(options.half_width, k / n, level=context.level)
        if n
        else PlannedSize(n=None, reason=Reason.NO_PATIENTS),
    )


def _changes(context: Context, options: PlanningOptions) -> list[PlannedChange]:
    weekly = context.protocol.weekly_change
    rows = [
        _change(context, options, measure, scale, week, differences(context.study, measure, scale, week))
        for measure in weekly.measures
        for scale in (("ln",) if measure == "CK" else ("raw",))
        for week in weekly.weeks
    ]
    return [*rows, _change(context, options, "CK", "ln", None, changes(context.study))]


def _change(
    context: Context, options: PlanningOptions, measure: str, scale: Scale, week: int | None, difference: Floats
) -> PlannedChange:
    observed = paired_change(difference[~np.isnan(difference)], level=context.level)
    sd, mean, alpha = observed.sd, observed.mean, context.protocol.weekly_change.alpha
    spread = sd is not None and sd > 0
    reason = observed.reason or (None if spread else Reason.CONSTANT_DIFFERENCES)
    nothing = PlannedSize(n=None, reason=reason)
    aims = {"alpha": alpha, "power": options.power}
    return PlannedChange(
        group=context.group,
        measure=measure,
        scale=scale,
        week=week,
        n=observed.n,
        mean=mean,
        sd=sd,
        reason=reason,
        detectable=tuple(
            detectable_change(size, sd, **aims) for size in _sizes(observed.n) if sd and size <= LARGEST_PLAN
        ),
        for_observed=size_for_change(mean, sd, **aims) if sd and mean is not None else nothing,
        for_observed_signed_rank=size_for_signed_rank(mean, sd, **aims) if sd and mean is not None else nothing,
    )


def _median(context: Context, options: PlanningOptions) -> PlannedMedian:
    episodes = context.study.remission_episodes
    events = int((episodes.relapsed & included(episodes.reason)).sum())
    return PlannedMedian(
        group=context.group,
        events=events,
        reason=None if events else Reason.NO_EVENTS,
        forecast=tuple(median_precision(size, level=context.level) for size in _sizes(events) if size <= LARGEST_PLAN),
        for_ratio=events_for_median(options.ratio, level=context.level),
    )


def _sizes(n: int) -> list[int]:
    """The same number, twice and four times as many; empty for 0."""
    return [n * multiple for multiple in (1, 2, 4)] if n else []


QUESTION = Question(
    "planning",
    "What would more patients show, if the observed figures are true?",
    Planning,
    planning,
    _basis,
    options_type=PlanningOptions,
)
