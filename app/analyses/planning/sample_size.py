"""Sample size without a study: precision and number of patients from assumed figures."""

from typing import Self, TypeVar

from pydantic import Field, model_validator

from app.estimate.results import Result
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
from app.protocol.parts import Part, contradiction

Plan = TypeVar("Plan", bound=Part)


class ProportionPlan(Part):
    """The plan of a rate: the precision with `n` patients, or the patients that a narrow interval needs."""

    rate: float = Field(ge=0, le=1, description="Assumed true rate, a fraction.", examples=[0.8])
    n: int | None = Field(default=None, ge=1, le=LARGEST_PLAN, description="Patients.", examples=[15])
    half_width: float | None = Field(
        default=None, gt=0, lt=1, description="Intended half width of the interval.", examples=[0.1]
    )
    level: float = Field(default=0.95, ge=0.5, le=0.9999, description="Confidence level.", examples=[0.95])

    @model_validator(mode="after")
    def _must_have_a_goal(self) -> Self:
        return _with_a_goal(self, "n", "half_width")


class ChangePlan(Part):
    """The plan of a paired change: what `n` patients can detect, or the patients that a difference needs."""

    sd: float = Field(ge=1e-9, le=1e9, description="Assumed standard deviation of the differences.", examples=[0.55])
    n: int | None = Field(default=None, ge=1, le=LARGEST_PLAN, description="Patients.", examples=[15])
    difference: float | None = Field(
        default=None, ge=-1e9, le=1e9, description="True mean difference, in the unit of `sd`.", examples=[0.4]
    )
    power: float = Field(default=0.8, gt=0.5, le=0.9999, description="Power of the test.", examples=[0.8])
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5, description="Two-sided level of the test.", examples=[0.05])

    @model_validator(mode="after")
    def _must_have_a_goal(self) -> Self:
        return _with_a_goal(self, "n", "difference")


class MedianPlan(Part):
    """The plan of a median time: its limits after `events` events, or the events that close limits need."""

    events: int | None = Field(default=None, ge=1, le=LARGEST_PLAN, description="Events.", examples=[8])
    ratio: float | None = Field(
        default=None, gt=1, le=1e6, description="Intended ratio of the upper to the lower limit.", examples=[2]
    )
    level: float = Field(default=0.95, ge=0.5, le=0.9999, description="Confidence level.", examples=[0.95])

    @model_validator(mode="after")
    def _must_have_a_goal(self) -> Self:
        return _with_a_goal(self, "events", "ratio")


class PlannedProportion(Result):
    """The plan of a rate; what was not requested is null."""

    precision: ProportionPrecision | None = Field(description="The interval that `n` patients will give.")
    for_half_width: PlannedSize | None = Field(description="Patients for an interval of `half_width`.")


class PlannedPairedChange(Result):
    """The plan of a paired change; what was not requested is null."""

    detectable: DetectableChange | None = Field(description="The difference that `n` patients can detect.")
    for_difference: PlannedSize | None = Field(description="Patients for `difference` by the paired t test.")
    for_difference_signed_rank: PlannedSize | None = Field(
        description="Patients for `difference` by the signed-rank test."
    )


class PlannedMedianTime(Result):
    """The plan of a median time; what was not requested is null."""

    precision: MedianPrecision | None = Field(description="The limits after `events` events, for exponential times.")
    for_ratio: PlannedSize | None = Field(description="Events for limits whose ratio is `ratio`.")


def plan_proportion(plan: ProportionPlan) -> PlannedProportion:
    """Plan a rate by the Clopper-Pearson interval."""
    return PlannedProportion(
        precision=None if plan.n is None else proportion_precision(plan.n, plan.rate, level=plan.level),
        for_half_width=None
        if plan.half_width is None
        else size_for_half_width(plan.half_width, plan.rate, level=plan.level),
    )


def plan_change(plan: ChangePlan) -> PlannedPairedChange:
    """Plan a paired change by the two-sided paired t test and by the signed-rank test."""
    aims = {"alpha": plan.alpha, "power": plan.power}
    with_difference = plan.difference is not None
    return PlannedPairedChange(
        detectable=None if plan.n is None else detectable_change(plan.n, plan.sd, **aims),
        for_difference=size_for_change(plan.difference or 0, plan.sd, **aims) if with_difference else None,
        for_difference_signed_rank=size_for_signed_rank(plan.difference or 0, plan.sd, **aims)
        if with_difference
        else None,
    )


def plan_median(plan: MedianPlan) -> PlannedMedianTime:
    """Plan a median time by the exact interval of an exponential median."""
    return PlannedMedianTime(
        precision=None if plan.events is None else median_precision(plan.events, level=plan.level),
        for_ratio=None if plan.ratio is None else events_for_median(plan.ratio, level=plan.level),
    )


def _with_a_goal(plan: Plan, *names: str) -> Plan:
    """The plan itself; raises a contradiction where none of the fields is given."""
    if all(getattr(plan, name) is None for name in names):
        raise contradiction(f"give {' or '.join(names)}, or both.")
    return plan
