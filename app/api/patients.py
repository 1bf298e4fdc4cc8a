"""Patients of a study: one timeline each, read, replaced, added to and erased."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.dependencies import (
    Cursor,
    Flag,
    IfMatch,
    IfNoneMatch,
    JsonBody,
    Limit,
    Now,
    OnlyIfAbsent,
    Parts,
    PatientId,
    Point,
    Store,
    StudyId,
    latest,
)
from app.api.documentation import JSON, NOT_MODIFIED, Responses, answers, reads, reference, refuses
from app.api.replies import address, page, reply, tagged, written
from app.errors import (
    Conflict,
    Erased,
    Fault,
    FaultCode,
    InvalidDocument,
    MalformedDocument,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
)
from app.ingest.native import read_timeline
from app.store import erasure, ledger, revisions, timelines
from app.timeline.document import Patient, Timeline
from app.timeline.facts import History
from app.timeline.vocabulary import Diagnosis, Sex

router = APIRouter(tags=["patients"])
FORMAT = "native-json"


class PatientSummary(BaseModel):
    """A patient in a list."""

    patient: Patient = Field(description="The patient.", examples=[{"id": "P01", "sex": "female"}])
    counts: dict[str, int] = Field(
        description="Facts by section of the timeline.", examples=[{"labs": 101, "infusions": 5, "adverse_events": 1}]
    )


class PatientPage(BaseModel):
    """A page of patients by identifier, all pages of a walk at one revision."""

    items: list[PatientSummary] = Field(
        description="The patients.", examples=[[{"patient": {"id": "P01"}, "counts": {}}]]
    )
    next: str | None = Field(
        description="Address of the next page.", examples=["/v1/studies/demo/patients?limit=100&cursor=WzE2LCJQMTYiXQ"]
    )


class TimelineOutcome(BaseModel):
    """What became of a timeline that was sent."""

    patient: str = Field(description="The patient.", examples=["P01"])
    status: Literal["created", "changed", "unchanged", "stale"] = Field(
        description="`created`: the patient is new. `changed`: something was stored. `unchanged`: it had been stored "
        "before. `stale`: what stands is unchanged: it had been superseded before it came, known or not.",
        examples=["created"],
    )
    revision: int | None = Field(description="The revision that stored it; null where nothing was.", examples=[17])
    counts: dict[str, int] = Field(
        description="What became of the assertions. `added`, `superseded` (an earlier one), `unchanged`, `stale`, "
        "`late` (older than what stands) and `repeats` (within the document) add up to those received. "
        "`unversioned_corrections` are those superseded whose order only their arrival decided; `withdrawn` are facts "
        "that were visible before and are not now.",
        examples=[{"added": 101, "superseded": 0, "unchanged": 0}],
    )


def outcome_document(outcome: ledger.Outcome) -> dict[str, Any]:
    """An outcome as the API shows it."""
    return {
        "patient": outcome.patient,
        "status": outcome.status,
        "revision": outcome.revision,
        "counts": outcome.counts.as_dict(),
    }


def _of(patient: str, body: bytes, now: int) -> History:
    history = read_timeline(body, latest(now))
    if history.patient != patient:
        raise InvalidDocument(faults=[Fault("/patient/id", FaultCode.PATH_MISMATCH)])
    return history


def _told(request: Request, study: str, outcome: ledger.Outcome) -> Response:
    if outcome.status != "created":
        return reply(outcome_document(outcome))
    location = address(request, f"/v1/studies/{study}/patients/{outcome.patient}")
    return reply(outcome_document(outcome), 201, {"Location": location})


_WRITTEN: Responses = {
    200: answers("The outcome; the patient existed.", reference(TimelineOutcome)),
    201: answers("The outcome; the patient is new.", reference(TimelineOutcome), "Location"),
}


@router.get(
    "/v1/studies/{study}/patients",
    operation_id="listPatients",
    summary="List the patients of a study",
    responses={
        200: answers("A page of patients.", reference(PatientPage), "Link"),
        **refuses(NotFound, Erased, MalformedDocument),
    },
)
def list_patients(
    request: Request,
    study: StudyId,
    parts: Parts,
    now: Now,
    at: Point,
    limit: Limit = 100,
    cursor: Cursor = None,
    sex: Annotated[Sex | None, Query(description="Only patients of this sex.", examples=["female"])] = None,
    diagnosis: Annotated[
        Diagnosis | None, Query(description="Only patients with this diagnosis.", examples=["polymyositis"])
    ] = None,
) -> Response:
    """The patients in order of their identifiers. A walk from page to page stays at the revision at which it began,
    whatever is posted meanwhile.
    """
    question = ("patients", study, sex, diagnosis)
    revision, after = at.revision, None
    if cursor is not None:
        if not at.latest:
            fault = Fault("/query/cursor", FaultCode.CONTRADICTION, "A cursor names its revision; do not name another.")
            raise InvalidDocument(faults=[fault])
        revision, after = parts.cursors.read(question, cursor)
    with parts.database.reading() as connection:
        point = revisions.resolve(connection, study, revision=revision, as_of=at.as_of, now=now)
        found = timelines.list_patients(
            connection, study, point.number, after=after, limit=limit + 1, sex=sex, diagnosis=diagnosis
        )
    items = [{"patient": {"id": each.id, **each.attributes}, "counts": each.counts} for each in found[:limit]]
    following = parts.cursors.sign(question, [point.number, found[limit - 1].id]) if len(found) > limit else None
    return page(request, items, following)


@router.get(
    "/v1/studies/{study}/patients/{patient}",
    operation_id="getTimeline",
    summary="Read a timeline",
    responses={
        200: answers("The timeline, complete.", reference(Timeline), "ETag"),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased),
    },
)
def get_timeline(
    study: StudyId, patient: PatientId, store: Store, now: Now, at: Point, if_none_match: IfNoneMatch = None
) -> Response:
    """All facts of one patient at a revision, each with its source and number. To send the document back by PUT
    changes nothing; the ETag is what PUT asks for in If-Match.
    """
    with store.reading() as connection:
        point = revisions.resolve(connection, study, revision=at.revision, as_of=at.as_of, now=now)
        document = timelines.document(connection, study, patient, point.number)
    return tagged(written(document), timelines.timeline_etag(document), if_none_match)


@router.put(
    "/v1/studies/{study}/patients/{patient}",
    operation_id="putTimeline",
    summary="Make or replace a timeline",
    openapi_extra=reads({JSON: reference(Timeline)}, "The whole timeline; a fact that is left out is withdrawn."),
    responses={
        **_WRITTEN,
        **refuses(NotFound, Erased, PreconditionFailed, PreconditionRequired, reading=True),
    },
)
def put_timeline(
    request: Request,
    study: StudyId,
    patient: PatientId,
    store: Store,
    body: JsonBody,
    now: Now,
    if_match: IfMatch = None,
    if_none_match: OnlyIfAbsent = None,
    readmit: Annotated[
        Flag, Query(description="`true` admits a person again who had been erased.", examples=["false"])
    ] = "false",
) -> Response:
    """Replace a timeline, or make it. One that exists needs If-Match with the ETag that GET gave, so that nobody's
    change is lost; `If-None-Match: *` only ever makes. The same content again changes nothing.
    """
    history = _of(patient, body, now)
    with store.writing() as connection:
        outcome = ledger.replace(
            connection, study, history, if_match=if_match, if_none_match=if_none_match is not None,
            readmit=readmit == "true", format=FORMAT, client=None, received_at=now,
        )  # fmt: skip
    return _told(request, study, outcome)


@router.post(
    "/v1/studies/{study}/patients/{patient}/events",
    operation_id="postEvents",
    summary="Add to a timeline",
    openapi_extra=reads({JSON: reference(Timeline)}, "What to add: a timeline with the new facts only."),
    responses={**_WRITTEN, **refuses(NotFound, Erased, reading=True)},
)
def post_events(
    request: Request, study: StudyId, patient: PatientId, store: Store, body: JsonBody, now: Now
) -> Response:
    """Merge facts into a timeline; a patient who is not known is created. A fact with an identity that is known is a
    correction or a repetition, and a request may be sent again: what has been stored is not stored twice.
    """
    history = _of(patient, body, now)
    submission = store.together(
        lambda connection: ledger.submit(connection, study, [history], format=FORMAT, client=None, received_at=now)
    )
    return _told(request, study, submission.outcomes[0])


@router.delete(
    "/v1/studies/{study}/patients/{patient}",
    operation_id="erasePatient",
    summary="Erase a person",
    status_code=204,
    response_description="The person is erased.",
    responses=refuses(NotFound, Conflict, Erased, PreconditionFailed),
)
def erase_patient(
    study: StudyId,
    patient: PatientId,
    parts: Parts,
    now: Now,
    erase: Annotated[
        Literal["true"],
        Query(
            description="Must be `true`: this deletes a person from every revision and cannot be undone.",
            examples=["true"],
        ),
    ],
    if_match: IfMatch = None,
) -> Response:
    """Delete everything about a person from every revision, past ones included (GDPR article 17). What was answered
    from revisions that held the person is answered 410 from now on, and so is a later submission for that person,
    until a PUT with `readmit=true`.

    A record into which others are merged (`merged_into`) is refused with 409: erase those first if they are of the same
    person, or undo the merge. A merge that was undone stays in the record of the other person, with this identifier.
    """
    del erase
    with parts.database.writing() as connection:
        erasure.erase(connection, study, patient, client=None, received_at=now, if_match=if_match)
    parts.answers.drop(study)
    parts.scrubber.scrub()
    return Response(status_code=204)
