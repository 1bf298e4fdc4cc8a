"""Plans without a study: precision and size from assumed figures."""

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
    """A rate: what so many patients will show, or how many a narrow interval needs."""

    rate: float = Field(ge=0, le=1, description="Assumed true rate, a fraction.", examples=[0.8])
    n: int | None = Field(default=None, ge=1, le=LARGEST_PLAN, description="Patients.", examples=[15])
    half_width: float | None = Field(
        default=None, gt=0, lt=1, description="Half the width of the interval, as aimed at.", examples=[0.1]
    )
    level: float = Field(default=0.95, ge=0.5, le=0.9999, description="Confidence level.", examples=[0.95])

    @model_validator(mode="after")
    def _must_ask(self) -> Self:
        return _asks(self, "n", "half_width")


class ChangePlan(Part):
    """A paired change: what so many patients can detect, or how many a difference needs."""

    sd: float = Field(ge=1e-9, le=1e9, description="Assumed standard deviation of the differences.", examples=[0.55])
    n: int | None = Field(default=None, ge=1, le=LARGEST_PLAN, description="Patients.", examples=[15])
    difference: float | None = Field(
        default=None, ge=-1e9, le=1e9, description="True mean difference, in the unit of `sd`.", examples=[0.4]
    )
    power: float = Field(default=0.8, gt=0.5, le=0.9999, description="Power of the test.", examples=[0.8])
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5, description="Two-sided level of the test.", examples=[0.05])

    @model_validator(mode="after")
    def _must_ask(self) -> Self:
        return _asks(self, "n", "difference")


class MedianPlan(Part):
    """A median time: how close its limits are after so many events, or how many events close limits need."""

    events: int | None = Field(default=None, ge=1, le=LARGEST_PLAN, description="Events.", examples=[8])
    ratio: float | None = Field(
        default=None, gt=1, le=1e6, description="Upper over lower limit, as aimed at.", examples=[2]
    )
    level: float = Field(default=0.95, ge=0.5, le=0.9999, description="Confidence level.", examples=[0.95])

    @model_validator(mode="after")
    def _must_ask(self) -> Self:
        return _asks(self, "events", "ratio")


class PlannedProportion(Result):
    """The plan of a rate; what was not asked for is null."""

    precision: ProportionPrecision | None = Field(description="The interval that `n` patients will give.")
    for_half_width: PlannedSize | None = Field(description="Patients for an interval of `half_width`.")


class PlannedPairedChange(Result):
    """The plan of a paired change; what was not asked for is null."""

    detectable: DetectableChange | None = Field(description="The difference that `n` patients can detect.")
    for_difference: PlannedSize | None = Field(description="Patients for `difference` by the paired t test.")
    for_difference_signed_rank: PlannedSize | None = Field(description="Patients for it by the signed rank test.")


class PlannedMedianTime(Result):
    """The plan of a median time; what was not asked for is null."""

    precision: MedianPrecision | None = Field(description="The limits after `events` events, for exponential times.")
    for_ratio: PlannedSize | None = Field(description="Events for limits whose ratio is `ratio`.")


def plan_proportion(plan: ProportionPlan) -> PlannedProportion:
    """By the Clopper-Pearson interval."""
    return PlannedProportion(
        precision=None if plan.n is None else proportion_precision(plan.n, plan.rate, level=plan.level),
        for_half_width=None
        if plan.half_width is None
        else size_for_half_width(plan.half_width, plan.rate, level=plan.level),
    )


def plan_change(plan: ChangePlan) -> PlannedPairedChange:
    """By the two-sided paired t test, and the signed rank test beside it."""
    aim = {"alpha": plan.alpha, "power": plan.power}
    asked = plan.difference is not None
    return PlannedPairedChange(
        detectable=None if plan.n is None else detectable_change(plan.n, plan.sd, **aim),
        for_difference=size_for_change(plan.difference or 0, plan.sd, **aim) if asked else None,
        for_difference_signed_rank=size_for_signed_rank(plan.difference or 0, plan.sd, **aim) if asked else None,
    )


def plan_median(plan: MedianPlan) -> PlannedMedianTime:
    """By the exact interval of an exponential median."""
    return PlannedMedianTime(
        precision=None if plan.events is None else median_precision(plan.events, level=plan.level),
        for_ratio=None if plan.ratio is None else events_for_median(plan.ratio, level=plan.level),
    )


def _asks(plan: Plan, *names: str) -> Plan:
    """The plan itself, if it asks for something."""
    if all(getattr(plan, name) is None for name in names):
        raise contradiction(f"give {' or '.join(names)}, or both.")
    return plan
