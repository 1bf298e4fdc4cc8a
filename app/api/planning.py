"""Plans: precision and sample size from assumed figures, without a study."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict

from app.analyses.planning.sample_size import (
    ChangePlan,
    MedianPlan,
    PlannedMedianTime,
    PlannedPairedChange,
    PlannedProportion,
    ProportionPlan,
    plan_change,
    plan_median,
    plan_proportion,
)
from app.api.documentation import answers, reference, refuses
from app.api.replies import reply

router = APIRouter(tags=["planning"])
_AS_TEXT = ConfigDict(strict=False, extra="ignore")


class AskedProportion(ProportionPlan):
    """The plan of a rate as query parameters."""

    model_config = _AS_TEXT


class AskedChange(ChangePlan):
    """The plan of a paired change as query parameters."""

    model_config = _AS_TEXT


class AskedMedian(MedianPlan):
    """The plan of a median time as query parameters."""

    model_config = _AS_TEXT


@router.get(
    "/v1/planning/proportion",
    operation_id="planProportion",
    summary="How precisely will so many patients show a rate, or how many does a narrow interval need?",
    responses={200: answers("The plan.", reference(PlannedProportion)), **refuses()},
)
def plan_a_proportion(plan: Annotated[AskedProportion, Query()]) -> Response:
    """By the Clopper-Pearson interval, averaged over the outcomes that the assumed rate makes likely."""
    return reply(plan_proportion(plan).model_dump(mode="json"))


@router.get(
    "/v1/planning/paired-change",
    operation_id="planPairedChange",
    summary="What change can so many patients show, or how many does a change need?",
    responses={200: answers("The plan.", reference(PlannedPairedChange)), **refuses()},
)
def plan_a_paired_change(plan: Annotated[AskedChange, Query()]) -> Response:
    """By the two-sided paired t test, and by the signed rank test with its efficiency for normal differences."""
    return reply(plan_change(plan).model_dump(mode="json"))


@router.get(
    "/v1/planning/median-time",
    operation_id="planMedianTime",
    summary="How close are the limits of a median after so many events, or how many events do close limits need?",
    responses={200: answers("The plan.", reference(PlannedMedianTime)), **refuses()},
)
def plan_a_median_time(plan: Annotated[AskedMedian, Query()]) -> Response:
    """By the exact interval of the median of exponential times."""
    return reply(plan_median(plan).model_dump(mode="json"))
