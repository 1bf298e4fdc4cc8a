"""Answers without a study: which method reproduces a printed figure, and plans from assumed figures."""

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
from app.analyses.verify import PublishedFigure, Verification, verify
from app.http.dependencies import JsonBody
from app.http.openapi import JSON, answers, reads, reference, refuses
from app.http.responses import reply
from app.readers.json_timelines import read_model

router = APIRouter()
_AS_TEXT = ConfigDict(strict=False, extra="ignore")


@router.post(
    "/v1/verify",
    operation_id="verifyPublishedFigure",
    tags=["analyses"],
    summary="Which method reproduces a printed interval or rate?",
    openapi_extra=reads({JSON: reference(PublishedFigure)}, "The counts, and the figures as they are printed."),
    responses={
        200: answers("What reproduces it, or that nothing does.", reference(Verification)),
        **refuses(reading=True),
    },
)
def verify_published_figure(body: JsonBody) -> Response:
    """Every method in use at the stated level and, where none fits, at the other usual levels. Nothing is stored."""
    return reply(verify(read_model(body, PublishedFigure).root).model_dump(mode="json"))


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
    tags=["planning"],
    summary="How precisely will so many patients show a rate, or how many does a narrow interval need?",
    responses={200: answers("The plan.", reference(PlannedProportion)), **refuses()},
)
def plan_a_proportion(plan: Annotated[AskedProportion, Query()]) -> Response:
    """By the Clopper-Pearson interval, averaged over the outcomes that the assumed rate makes likely."""
    return reply(plan_proportion(plan).model_dump(mode="json"))


@router.get(
    "/v1/planning/paired-change",
    operation_id="planPairedChange",
    tags=["planning"],
    summary="What change can so many patients show, or how many does a change need?",
    responses={200: answers("The plan.", reference(PlannedPairedChange)), **refuses()},
)
def plan_a_paired_change(plan: Annotated[AskedChange, Query()]) -> Response:
    """By the two-sided paired t test, and by the signed rank test with its efficiency for normal differences."""
    return reply(plan_change(plan).model_dump(mode="json"))


@router.get(
    "/v1/planning/median-time",
    operation_id="planMedianTime",
    tags=["planning"],
    summary="How close are the limits of a median after so many events, or how many events do close limits need?",
    responses={200: answers("The plan.", reference(PlannedMedianTime)), **refuses()},
)
def plan_a_median_time(plan: Annotated[AskedMedian, Query()]) -> Response:
    """By the exact interval of the median of exponential times."""
    return reply(plan_median(plan).model_dump(mode="json"))
