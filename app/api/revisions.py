"""The route of the ledger: the accepted submissions of a study."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.errors import MalformedDocument, NotFound
from app.http.dependencies import Cursor, Limit, State, StudyId
from app.http.openapi import answers, reference, refuses, specimen
from app.http.responses import page
from app.store.revisions import RevisionRecord
from app.store.snapshot import study_at
from app.timeline.times import instant_text

router = APIRouter(tags=["revisions"])


class RevisionSummary(BaseModel):
    """One accepted submission."""

    revision: int = Field(description="Its number: 1, 2, 3, ... in each study.", examples=[16])
    received_at: str = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    client: str | None = Field(
        description="Who sent it; null: a program on the machine of the service, without a key.", examples=[None]
    )
    format: str = Field(description="The format that it came in.", examples=["native-json"])
    digest: str = Field(
        description="Keyed digest of the submission: it can be checked, but nobody can find the values by trying.",
        examples=["9f2c6f0d1b7a4c55"],
    )
    counts: dict[str, int] = Field(
        description="Number of assertions by outcome, as in the answer to a timeline.",
        examples=[{"added": 101}],
    )
    hash: str = Field(
        description="Hash of this revision and the hash before it: a later change can be detected.",
        examples=["4be1f0c2d3a59687"],
    )
    erased: bool = Field(
        description="Whether a person in it was erased, so that it cannot be replayed.", examples=[False]
    )


class RevisionPage(BaseModel):
    """A page of revisions, oldest first."""

    items: list[RevisionSummary] = Field(description="The revisions.", examples=[[specimen(RevisionSummary)]])
    next: str | None = Field(
        description="Address of the next page.", examples=["/v1/studies/demo/revisions?cursor=WzEwMF0"]
    )


def _revision_document(record: RevisionRecord) -> dict[str, Any]:
    return {
        "revision": record.number,
        "received_at": instant_text(record.received_at),
        "client": record.client,
        "format": record.format,
        "digest": record.digest,
        "counts": record.counts,
        "hash": record.hash,
        "erased": record.erased,
    }


@router.get(
    "/v1/studies/{study}/revisions",
    operation_id="listRevisions",
    summary="List the revisions of a study",
    responses={
        200: answers("A page of revisions.", reference(RevisionPage), "Link"),
        **refuses(NotFound, MalformedDocument),
    },
)
def list_revisions(
    request: Request, study: StudyId, state: State, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """Every submission that stored something, in the order of acceptance. A submission that changed
    nothing makes no revision.
    """
    question = ("revisions", study)
    after = state.cursors.read(question, cursor)[0] if cursor else None
    with study_at(state.database, study) as listed:
        found = listed.revisions(after=after, limit=limit + 1)
    following = state.cursors.sign(question, [found[limit - 1].number]) if len(found) > limit else None
    return page(request, [_revision_document(record) for record in found[:limit]], following)
