"""Routes that need no study: which method reproduces a printed figure, and planning from assumed figures."""

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
        200: answers("The methods that reproduce it, if any.", reference(Verification)),
        **refuses(reading=True),
    },
)
def verify_published_figure(body: JsonBody) -> Response:
    """Tries every method at the stated level and, if none fits, at the other usual levels. Nothing is stored."""
    return reply(verify(read_model(body, PublishedFigure).root).model_dump(mode="json"))


class ProportionParameters(ProportionPlan):
    """The plan of a rate as query parameters."""

    model_config = _AS_TEXT


class ChangeParameters(ChangePlan):
    """The plan of a paired change as query parameters."""

    model_config = _AS_TEXT


class MedianParameters(MedianPlan):
    """The plan of a median time as query parameters."""

    model_config = _AS_TEXT


@router.get(
    "/v1/planning/proportion",
    operation_id="planProportion",
    tags=["planning"],
    summary="How precise is a rate from n patients, or how many patients does a narrow interval need?",
    responses={200: answers("The plan.", reference(PlannedProportion)), **refuses()},
)
def plan_a_proportion(plan: Annotated[ProportionParameters, Query()]) -> Response:
    """Uses the Clopper-Pearson interval, averaged over the outcomes that are likely at the assumed rate."""
    return reply(plan_proportion(plan).model_dump(mode="json"))


@router.get(
    "/v1/planning/paired-change",
    operation_id="planPairedChange",
    tags=["planning"],
    summary="What change can n patients show, or how many patients does a change need?",
    responses={200: answers("The plan.", reference(PlannedPairedChange)), **refuses()},
)
def plan_a_paired_change(plan: Annotated[ChangeParameters, Query()]) -> Response:
    """Uses the two-sided paired t test, and the signed rank test with its efficiency for normal differences."""
    return reply(plan_change(plan).model_dump(mode="json"))


@router.get(
    "/v1/planning/median-time",
    operation_id="planMedianTime",
    tags=["planning"],
    summary="How precise is a median time after n events, or how many events does a narrow interval need?",
    responses={200: answers("The plan.", reference(PlannedMedianTime)), **refuses()},
)
def plan_a_median_time(plan: Annotated[MedianParameters, Query()]) -> Response:
    """Uses the exact interval of the median of exponential times."""
    return reply(plan_median(plan).model_dump(mode="json"))
