"""Routes that need no study: which method reproduces a printed figure, and planning from assumed figures."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict

from app.access.study_answers import calculation
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
from app.errors import TakesTooLong
from app.http.answers import Asker, Asking
from app.http.dependencies import JsonBody
from app.http.openapi import JSON, answers, reads, reference, refuses
from app.http.routing import Operations
from app.readers.json_timelines import read_model

router = Operations()
_AS_TEXT = ConfigDict(strict=False, extra="ignore")


@router.post(
    "/v1/verify",
    operation_id="verifyPublishedFigure",
    tags=["analyses"],
    summary="Which method reproduces a printed interval or rate?",
    openapi_extra=reads({JSON: reference(PublishedFigure)}, "The counts, and the figures as they are printed."),
    responses={
        200: answers("The methods that reproduce it, if any.", reference(Verification)),
        **refuses(TakesTooLong, reading=True),
    },
)
async def verify_published_figure(body: JsonBody, asker: Asking) -> Response:
    """Tries every method at the stated level and, if none fits, at the other usual levels. Nothing is stored."""
    figure = await run_sync(read_model, body, PublishedFigure)
    return await _calculated(asker, verify, figure.root)


async def _calculated(asker: Asker, calculate: Callable[[Any], BaseModel], given: BaseModel) -> Response:
    """What a calculator gives. It is computed by workers, because only they load the libraries of statistics."""
    tag = f"{calculate.__name__} {given.model_dump_json()}"
    return Response(await asker.computed(tag, partial(calculation, calculate, given)), media_type=JSON)


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
    responses={200: answers("The plan.", reference(PlannedProportion)), **refuses(TakesTooLong)},
)
async def plan_a_proportion(plan: Annotated[ProportionParameters, Query()], asker: Asking) -> Response:
    """Uses the Clopper-Pearson interval, averaged over the outcomes that are likely at the assumed rate."""
    return await _calculated(
        asker, plan_proportion, ProportionPlan.model_construct(plan.model_fields_set, **dict(plan))
    )


@router.get(
    "/v1/planning/paired-change",
    operation_id="planPairedChange",
    tags=["planning"],
    summary="What change can n patients show, or how many patients does a change need?",
    responses={200: answers("The plan.", reference(PlannedPairedChange)), **refuses(TakesTooLong)},
)
async def plan_a_paired_change(plan: Annotated[ChangeParameters, Query()], asker: Asking) -> Response:
    """Uses the two-sided paired t test, and the signed rank test with its efficiency for normal differences."""
    return await _calculated(asker, plan_change, ChangePlan.model_construct(plan.model_fields_set, **dict(plan)))


@router.get(
    "/v1/planning/median-time",
    operation_id="planMedianTime",
    tags=["planning"],
    summary="How precise is a median time after n events, or how many events does a narrow interval need?",
    responses={200: answers("The plan.", reference(PlannedMedianTime)), **refuses(TakesTooLong)},
)
async def plan_a_median_time(plan: Annotated[MedianParameters, Query()], asker: Asking) -> Response:
    """Uses the exact interval of the median of exponential times."""
    return await _calculated(asker, plan_median, MedianPlan.model_construct(plan.model_fields_set, **dict(plan)))
