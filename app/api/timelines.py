"""Many timelines in one request: a JSON array, or one document a line."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.types import Message

from app.api.dependencies import Flag, Now, State, StudyId, body_of, latest, media_type
from app.api.documentation import JSON, NDJSON, answers, reads, reference, refuses, specimen, text
from app.api.problems import Problem
from app.api.responses import reply
from app.api.streaming import StreamedOutcomes, item_document
from app.errors import Erased, NotFound
from app.ingest import READERS
from app.submission.batches import ItemStatus, counted, store_timelines
from app.submission.loop import Submitter
from app.submission.streams import Stream
from app.timeline.document import Timeline

router = APIRouter(tags=["patients"])

FORMATS = {JSON: "native-json", NDJSON: "native-ndjson"}
Atomic = Annotated[
    Flag,
    Query(description="`true`: all of them in one revision, or none if anything is wrong with any.", examples=["true"]),
]


async def _batch_body(request: Request, atomic: Atomic = "false") -> bytes | None:
    """The body; `None` where it is stored while it arrives, so that only its head is checked here."""
    if media_type(request) == NDJSON and atomic == "false":
        await body_of(JSON, NDJSON)(Request(request.scope, _nothing))
        return None
    return await body_of(JSON, NDJSON)(request)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


BatchBody = Annotated[bytes | None, Depends(_batch_body)]


class BatchItem(BaseModel):
    """What became of one timeline of many."""

    index: int = Field(description="Its place in the array or among the lines, from 0.", examples=[0])
    patient: str | None = Field(description="The patient; null where the item could not be read.", examples=["P01"])
    status: ItemStatus = Field(
        description="`created`, `changed`, `unchanged` and `stale` as for one timeline; `rejected`: see `problem`; "
        "`skipped`: not tried, send it again.",
        examples=["created"],
    )
    revision: int | None = Field(description="The revision that stored it; null where nothing was.", examples=[17])
    problem: Problem | None = Field(description="Why it was not stored; pointers begin at the item.", examples=[None])


class BatchOutcome(BaseModel):
    """What became of many timelines, in the order in which they were sent."""

    items: list[BatchItem] = Field(description="One outcome an item.", examples=[[specimen(BatchItem)]])
    counts: dict[ItemStatus, int] = Field(description="Items by status.", examples=[{"created": 15, "rejected": 1}])


class LineOutcome(BatchItem):
    """What became of one line of many."""

    line: int = Field(description="Its line in the body, from 1; blank lines have no outcome.", examples=[1])


class StreamEnd(BaseModel):
    """The last line of an answer that is complete."""

    counts: dict[ItemStatus, int] = Field(description="Lines by status.", examples=[{"created": 15, "rejected": 1}])
    lines: int = Field(description="Lines with an outcome, which is all that are not blank.", examples=[16])
    digest: str = Field(
        description="SHA-256 of the body as it was received: that of the file if all of it arrived (`sha256sum`).",
        examples=["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    )


_OUTCOMES = answers("One outcome an item or a line.", reference(BatchOutcome))
_OUTCOMES["content"][NDJSON] = {"schema": {"anyOf": [reference(LineOutcome), reference(StreamEnd)]}}


@router.post(
    "/v1/studies/{study}/timelines",
    operation_id="postTimelines",
    summary="Add many timelines",
    openapi_extra=reads(
        {JSON: {"type": "array", "items": reference(Timeline)}, NDJSON: text(NDJSON, reference(Timeline))},
        "An array of timelines, or one timeline a line.",
    ),
    responses={200: _OUTCOMES, **refuses(NotFound, Erased, reading=True)},
)
def post_timelines(
    request: Request, study: StudyId, state: State, body: BatchBody, now: Now, atomic: Atomic = "false"
) -> Response:
    """Merge many timelines, as `events` does for one. Without `atomic=true` every item stands for itself: it is a
    revision of its own, and one that is rejected does not keep the others out. The request may be sent again.

    Lines are stored while they arrive, however many there are, and answered as lines: one outcome each, in their
    order, once it is stored, and at the end counts and a digest. A stream that breaks has no such end; what was
    answered is stored, and what was not may be sent again. With `atomic=true` lines are answered like an array.
    """
    written = media_type(request) or JSON
    if body is None:
        stream = Stream(state.database, study, FORMATS[written])
        stream.check_study()
        return StreamedOutcomes(stream, state.settings)
    submitter = Submitter(state.database, study, FORMATS[written], now)
    outcomes = store_timelines(submitter, READERS[written](body, latest(now)), atomic=atomic == "true")
    return reply({"items": [item_document(each) for each in outcomes], "counts": counted(outcomes)})
