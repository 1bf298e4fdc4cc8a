"""Many timelines in one request: a JSON array, or one document a line."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.dependencies import Flag, Now, Store, StudyId, body_of, latest, media_type
from app.api.documentation import JSON, NDJSON, answers, reads, reference, refuses, specimen
from app.api.problems import Problem, problem
from app.api.replies import reply
from app.errors import Busy, Erased, NotFound, ServiceError
from app.ingest import READERS
from app.ingest.native import Item, together
from app.store import ledger
from app.store.engine import Database
from app.timeline.model import Timeline

router = APIRouter(tags=["patients"])

FORMATS = {JSON: "native-json", NDJSON: "native-ndjson"}
GROUP = 100
"""Timelines stored in one transaction; each has a revision of its own."""

Status = Literal["created", "changed", "unchanged", "stale", "skipped", "rejected"]
STATUSES: tuple[Status, ...] = get_args(Status)
BatchBody = Annotated[bytes, Depends(body_of(JSON, NDJSON))]


class BatchItem(BaseModel):
    """What became of one timeline of many."""

    index: int = Field(description="Its place in the array or among the lines, from 0.", examples=[0])
    patient: str | None = Field(description="The patient; null where the item could not be read.", examples=["P01"])
    status: Status = Field(
        description="`created`, `changed`, `unchanged` and `stale` as for one timeline; `rejected`: see `problem`; "
        "`skipped`: not tried, send it again.",
        examples=["created"],
    )
    revision: int | None = Field(description="The revision that stored it; null where nothing was.", examples=[17])
    problem: Problem | None = Field(description="Why it was not stored; pointers begin at the item.", examples=[None])


class BatchOutcome(BaseModel):
    """What became of many timelines, in the order in which they were sent."""

    items: list[BatchItem] = Field(description="One outcome an item.", examples=[[specimen(BatchItem)]])
    counts: dict[Status, int] = Field(description="Items by status.", examples=[{"created": 15, "rejected": 1}])


@router.post(
    "/v1/studies/{study}/timelines",
    operation_id="postTimelines",
    summary="Add many timelines",
    openapi_extra=reads(
        {JSON: {"type": "array", "items": reference(Timeline)}, NDJSON: reference(Timeline)},
        "An array of timelines, or one timeline a line.",
    ),
    responses={
        200: answers("One outcome an item.", reference(BatchOutcome)),
        **refuses(NotFound, Erased, reading=True),
    },
)
def post_timelines(
    request: Request,
    study: StudyId,
    store: Store,
    body: BatchBody,
    now: Now,
    atomic: Annotated[
        Flag,
        Query(
            description="`true`: all of them in one revision, or none if anything is wrong with any.", examples=["true"]
        ),
    ] = "false",
) -> Response:
    """Merge many timelines, as `events` does for one. Without `atomic=true` every item stands for itself: it is a
    revision of its own, and one that is rejected does not keep the others out. The request may be sent again.
    """
    written = media_type(request) or JSON
    items = list(READERS[written](body, latest(now)))
    store_all = _together if atomic == "true" else _each
    outcomes = store_all(store, study, items, FORMATS[written], now)
    counts = {status: count for status in STATUSES if (count := sum(each["status"] == status for each in outcomes))}
    return reply({"items": outcomes, "counts": counts})


def _together(store: Database, study: str, items: Sequence[Item], written: str, now: int) -> list[dict[str, Any]]:
    """All items in one revision; a problem of any is a problem of the request, its place prefixed with the item's
    index.
    """
    if refused := together(items):
        raise refused
    histories = [item.history for item in items if item.history is not None]
    with store.writing() as connection:
        submission = ledger.submit(connection, study, histories, format=written, client=None, received_at=now)
    return [_outcome(item, outcome) for item, outcome in zip(items, submission.outcomes, strict=True)]


def _each(store: Database, study: str, items: Sequence[Item], written: str, now: int) -> list[dict[str, Any]]:
    """Every item by itself. When the database is busy, what was stored is told, and the rest is skipped."""
    good = [item for item in items if item.history is not None]
    told: dict[int, dict[str, Any]] = {
        item.index: _outcome(item, item.error) for item in items if item.error is not None
    }
    for group in _groups(good):
        histories = [item.history for item in group if item.history is not None]
        try:
            with store.writing() as connection:
                stored = ledger.submit_each(connection, study, histories, format=written, client=None, received_at=now)
        except Busy as busy:
            if not any(item.index in told for item in good):
                raise
            told |= {item.index: _outcome(item, busy, "skipped") for item in good if item.index not in told}
            break
        told |= {item.index: _outcome(item, outcome) for item, outcome in zip(group, stored, strict=True)}
    return [told[item.index] for item in items]


def _groups(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Groups for one transaction each; an empty batch still asks for the study."""
    yield from (items[first : first + GROUP] for first in range(0, max(len(items), 1), GROUP))


def _outcome(item: Item, became: ledger.Outcome | ServiceError, status: Status = "rejected") -> dict[str, Any]:
    patient = item.history.patient if item.history is not None else None
    if isinstance(became, ServiceError):
        why = problem(became).model_dump(mode="json")
        return {"index": item.index, "patient": patient, "status": status, "revision": None, "problem": why}
    return {
        "index": item.index,
        "patient": patient,
        "status": became.status,
        "revision": became.revision,
        "problem": None,
    }
