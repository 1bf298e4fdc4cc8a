"""Whether a figure that a paper prints follows from its counts."""

from fastapi import APIRouter, Response

from app.analyses.verify import PublishedFigure, Verification, verify
from app.api.dependencies import JsonBody
from app.api.documentation import JSON, answers, reads, reference, refuses
from app.api.responses import reply
from app.ingest.native import read_model

router = APIRouter(tags=["analyses"])


@router.post(
    "/v1/verify",
    operation_id="verifyPublishedFigure",
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
