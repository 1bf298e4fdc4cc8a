"""The routes of the ledger: the accepted submissions of a study, and what moved its key results."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from app.access.callers import Scope
from app.access.study_changes import ChangesPage, changes_of_study
from app.analyses.study_changes import StudyChanges
from app.errors import Erased, Fault, FaultCode, InvalidDocument, MalformedDocument, NotFound, TakesTooLong
from app.http.answers import Asker, Asking, despite_erasure
from app.http.authentication import CallerOf
from app.http.dependencies import Cursor, Flag, IfNoneMatch, Limit, State, StudyId
from app.http.openapi import NOT_MODIFIED, answers, reference, refuses, specimen
from app.http.responses import etag_from, link, matches, next_page, page, tagged
from app.http.routing import Operations
from app.store.audit import everyone_was_read
from app.store.revisions import AsOf, RevisionRecord
from app.store.snapshot import study_at
from app.timeline.receipts import Disposition
from app.timeline.times import instant_text

router = Operations(tags=["revisions"])


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
    """A page of revisions."""

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
    request: Request,
    study: StudyId,
    state: State,
    limit: Limit = 100,
    cursor: Cursor = None,
    order: Annotated[
        Literal["oldest", "newest"], Query(description="Which revision comes first.", examples=["newest"])
    ] = "oldest",
) -> Response:
    """Every submission that stored something, in the order of acceptance. A submission that changed
    nothing makes no revision.
    """
    question = ("revisions", study, *(() if order == "oldest" else (order,)))
    after = state.cursors.read(question, cursor)[0] if cursor else None
    with study_at(state.database, study) as listed:
        found = listed.revisions(after=after, limit=limit + 1, newest_first=order == "newest")
    following = state.cursors.sign(question, [found[limit - 1].number]) if len(found) > limit else None
    return page(request, [_revision_document(record) for record in found[:limit]], following)


FACTS_OF_A_PAGE = 6_000_000
"""A page of steps reads the facts of each of its revisions: at most so many facts together, and at least one revision.
That many take about 20 seconds of a processor.
"""
_REVISION = {"ge": 0, "le": 2**53 - 1}


@router.get(
    "/v1/studies/{study}/changes",
    operation_id="getChanges",
    summary="What moved each key result?",
    responses={
        200: answers("A page of steps.", reference(StudyChanges), "ETag", "Link"),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased, MalformedDocument, TakesTooLong),
    },
)
async def get_changes(
    request: Request,
    study: StudyId,
    asker: Asking,
    caller: CallerOf,
    since: Annotated[
        int, Query(alias="from", **_REVISION, description="The earlier revision; 0: the empty study.", examples=[0])
    ] = 0,
    to: Annotated[
        int | None, Query(**_REVISION, description="The later revision; without it the latest.", examples=[16])
    ] = None,
    patients: Annotated[
        Flag, Query(description="`true`: also whose facts each step changed; needs `read-patients`.", examples=["true"])
    ] = "false",
    limit: Annotated[
        int,
        Query(ge=1, le=100, description="Most revisions on a page; fewer of a large study.", examples=[20]),
    ] = 20,
    cursor: Cursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The key results at two revisions, and each revision between them: how many facts it added and ended, and
    which figures it moved. A figure of a revision that held a person who was erased since is null.
    """
    if patients == "true":
        caller.require(Scope.READ_PATIENTS)
        everyone_was_read()
    question = ("changes", study, str(since), str(to), patients)
    position = asker.state.cursors.read(question, cursor) if cursor else None
    planned = partial(_planned, request, asker, (study, since, to), question, position, limit)
    return await despite_erasure(partial(_changes, asker, study, planned, if_none_match))


def _planned(
    request: Request,
    asker: Asker,
    asked: tuple[str, int, int | None],
    question: tuple[str, ...],
    position: list[int] | None,
    limit: int,
) -> tuple[ChangesPage, str]:
    """The page that a request means, and the tag of its answer."""
    study, since, to = asked
    end, after = position or (to, since)
    with study_at(asker.state.database, study, AsOf(end)) as last:
        last.other_study(study, AsOf(since))
        if since > last.revision:
            detail = "The earlier revision is greater than the later one."
            raise InvalidDocument(faults=[Fault("/query/from", FaultCode.CONTRADICTION, detail)])
        arrived = sum(each.times for each in last.intake() if each.arrival.subject == Disposition.KEPT)
        until = min(after + limit, after + max(1, FACTS_OF_A_PAGE // max(1, arrived)), last.revision)
        more = until < last.revision
        following = next_page(request, asker.state.cursors.sign(question, [last.revision, until])) if more else None
        planned = ChangesPage(study, since, last.revision, after, until, question[-1] == "true", following)
        origin = last.tag(), last.erasures(), since, after, until, planned.patients, following
        return planned, etag_from("changes", *origin)


async def _changes(
    asker: Asker, study: str, planned: Callable[[], tuple[ChangesPage, str]], if_none_match: str | None
) -> Response:
    answers_kept = asker.state.answers
    erasures = answers_kept.erasures(study)
    wanted, tag = await run_sync(planned)
    body = b"" if matches(if_none_match, tag) else answers_kept.get(tag)
    if body is None:
        body = await asker.computed(tag, partial(changes_of_study, wanted), study)
        answers_kept.keep(study, tag, body, erasures)
    answer = tagged(body, tag, if_none_match)
    if wanted.following and body:
        answer.headers.update(link(wanted.following))
    return answer
