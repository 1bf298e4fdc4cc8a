"""The routes of the patients: list them; read, replace, extend and erase a timeline; read all versions of its facts."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal

from anyio import from_thread
from fastapi import Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from app import SOFTWARE
from app.access.callers import Scope
from app.analyses.patient_verdicts import PatientVerdicts, patient_verdicts
from app.api.intake import rehearsed_proposals
from app.api.studies import ProtocolName
from app.errors import (
    Absent,
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
from app.http.authentication import CallerOf, Client
from app.http.dependencies import (
    At,
    Cursor,
    Flag,
    IfMatch,
    IfNoneMatch,
    JsonBody,
    Limit,
    Now,
    OnlyIfAbsent,
    PatientId,
    State,
    Store,
    StudyId,
    Writing,
    latest,
)
from app.http.idempotency import KeyedRoute
from app.http.openapi import JSON, NOT_MODIFIED, Responses, answers, reads, reference, refuses, specimen
from app.http.problems import Proposed
from app.http.receipts import (
    ReceiptBody,
    ReceiptNote,
    ReceiptWanted,
    Short,
    long_receipt,
    notes_document,
    short_document,
)
from app.http.responses import address, etag_from, page, reply, tagged, written
from app.http.routing import Operations
from app.http.state import AppState
from app.readers.json_timelines import read_timeline
from app.store import ledger
from app.store.audit import was_read
from app.store.engine import Database
from app.store.erasure_list import complete_erasure_list
from app.store.history import Circumstance, Reason, Version, Wanted
from app.store.snapshot import study_at
from app.store.timelines import Filters, ListedPatient
from app.submission import batches
from app.submission.dead_letters import letters_of
from app.submission.loop import Submitter
from app.submission.native_patients import NativePatients
from app.timeline.document import (
    IDENTIFIER_PATTERN,
    AdverseEvent,
    Assessment,
    Document,
    Ended,
    FactDecision,
    Infusion,
    Kind,
    LabResult,
    Medication,
    Patient,
    Timeline,
)
from app.timeline.normalize import History
from app.timeline.receipts import ShortReceipts
from app.timeline.times import instant_text
from app.timeline.vocabulary import AssessmentCode, Diagnosis, LabCode, Sex, Status

router = Operations(tags=["patients"], route_class=KeyedRoute)
FORMAT = "native-json"
RESULT = {
    "code": "CK", "time": "2005-03-16T09:48:00+09:00", "value": 1101, "unit": "U/L", "upper_limit": 163, "lab": "A",
    "source": "A", "id": "acc-77", "version": 1, "issued": "2005-03-16T23:00:00Z", "status": "preliminary",
}  # fmt: skip


class PatientSummary(BaseModel):
    """A patient in a list."""

    patient: Patient = Field(description="The patient.", examples=[{"id": "P01", "sex": "female"}])
    ended: Ended | Absent = Field(
        default=None,
        description="When and why the patient left the study; absent if unknown, as in the timeline.",
        examples=[{"date": "2006-09-01", "reason": "completed"}],
    )
    counts: dict[str, int] = Field(
        description="Facts by section of the timeline.", examples=[{"labs": 101, "infusions": 5, "adverse_events": 1}]
    )


class PatientPage(BaseModel):
    """A page of patients by identifier. All pages are read at one revision."""

    items: list[PatientSummary] = Field(
        description="The patients.", examples=[[{"patient": {"id": "P01"}, "counts": {}}]]
    )
    next: str | None = Field(
        description="Address of the next page.", examples=["/v1/studies/demo/patients?limit=100&cursor=WzE2LCJQMTYiXQ"]
    )


class TimelineOutcome(BaseModel):
    """The outcome of a timeline that was sent."""

    patient: str = Field(description="The patient.", examples=["P01"])
    status: Literal["created", "changed", "unchanged", "stale"] = Field(
        description="`created`: the patient is new. `changed`: something was stored. `unchanged`: it was stored "
        "before. `stale`: nothing that stands changed, because a newer version was stored before.",
        examples=["created"],
    )
    revision: int | None = Field(description="The revision that stored it; null if nothing was stored.", examples=[17])
    counts: dict[str, int] = Field(
        description="Number of assertions by outcome. `added`, `superseded` (an earlier one), `unchanged`, `stale`, "
        "`late` (older than what stands) and `repeats` (within the document) add up to all that were received. "
        "`unversioned_corrections`: superseded ones whose order only their arrival decided. `withdrawn`: facts that "
        "stood before and do not stand now.",
        examples=[{"added": 101, "superseded": 0, "unchanged": 0}],
    )
    receipt: ReceiptBody = Field(description="What happened to each fact.", examples=[specimen(ReceiptBody)])
    short: Short = None
    proposals: Proposed = None


def outcome_document(outcome: ledger.Outcome, short: ShortReceipts) -> dict[str, Any]:
    """The outcome of a timeline as a JSON object, to be written once."""
    return {
        "patient": outcome.patient,
        "status": outcome.status,
        "revision": outcome.revision,
        "counts": outcome.counts.as_dict(),
        "receipt": long_receipt(outcome.receipt),
        **short_document(short),
    }


def _read_history(patient: str, body: bytes, now: int, patients: NativePatients) -> History:
    history = read_timeline(body, latest(now), patients.who)
    if history.patient != patient:
        place = "/patient/id" if history.plain_id else "/patient/identifier"
        raise InvalidDocument(faults=[Fault(place, FaultCode.PATH_MISMATCH)])
    return history


def _answer(request: Request, store: Database, study: str, outcome: ledger.Outcome, short: ShortReceipts) -> Response:
    document = outcome_document(outcome, short) | rehearsed_proposals(store, study)
    if outcome.status != "created":
        return reply(document)
    location = address(request, f"/v1/studies/{study}/patients/{outcome.patient}")
    return reply(document, 201, {"Location": location})


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
    state: State,
    at: At,
    limit: Limit = 100,
    cursor: Cursor = None,
    sex: Annotated[Sex | None, Query(description="Only patients of this sex.", examples=["female"])] = None,
    diagnosis: Annotated[
        Diagnosis | None, Query(description="Only patients with this diagnosis.", examples=["polymyositis"])
    ] = None,
    part: Annotated[
        str | None,
        Query(
            alias="q",
            pattern=IDENTIFIER_PATTERN,
            description="Only patients whose identifier contains this text, in upper or lower case.",
            examples=["p0"],
        ),
    ] = None,
) -> Response:
    """The patients in order of their identifiers. All pages are read at the revision of the first page, even
    if new data arrive.
    """
    question = ("patients", study, sex, diagnosis, *(() if part is None else (part,)))
    at, after = state.cursors.walk(question, at, cursor, start=None)
    with study_at(state.database, study, at) as snapshot:
        found = snapshot.patients(Filters(sex, diagnosis, part), after=after, limit=limit + 1)
    was_read(study, [listed.id for listed in found[:limit]])
    items = [_summary(listed) for listed in found[:limit]]
    following = state.cursors.sign(question, [snapshot.revision, found[limit - 1].id]) if len(found) > limit else None
    return page(request, items, following)


def _summary(listed: ListedPatient) -> dict[str, Any]:
    attributes = dict(listed.attributes)
    ended = {"ended": attributes.pop("ended")} if "ended" in attributes else {}
    return {"patient": {"id": listed.id, **attributes}, **ended, "counts": listed.counts}


@router.get(
    "/v1/studies/{study}/patients/{patient}",
    operation_id="getTimeline",
    summary="Read a timeline",
    responses={
        200: answers("The complete timeline.", reference(Timeline), "ETag"),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased),
    },
)
def get_timeline(
    study: StudyId, patient: PatientId, store: Store, at: At, if_none_match: IfNoneMatch = None
) -> Response:
    """All facts of one patient at a revision, each with its source and number. A PUT of the same document changes
    nothing; it needs the ETag in If-Match.
    """
    with study_at(store, study, at) as snapshot:
        document = snapshot.timeline(patient)
        tag = snapshot.timeline_etag(document)
    return tagged(written(document), tag, if_none_match)


@router.put(
    "/v1/studies/{study}/patients/{patient}",
    operation_id="putTimeline",
    summary="Create or replace a timeline",
    openapi_extra=reads({JSON: reference(Timeline)}, "The whole timeline; a fact that is left out is withdrawn."),
    responses={
        **_WRITTEN,
        **refuses(NotFound, Conflict, Erased, PreconditionFailed, PreconditionRequired, reading=True),
    },
)
def put_timeline(
    request: Request,
    study: StudyId,
    patient: PatientId,
    state: State,
    store: Writing,
    body: JsonBody,
    now: Now,
    caller: CallerOf,
    if_match: IfMatch = None,
    if_none_match: OnlyIfAbsent = None,
    readmit: Annotated[
        Flag, Query(description="`true` (scope `admin`): data of a person who was erased.", examples=["false"])
    ] = "false",
    receipt: ReceiptWanted = None,
) -> Response:
    """Create or replace a timeline. To replace one, send If-Match with the ETag of GET, so that nobody's change is
    lost. `If-None-Match: *` allows only to create. The same content again changes nothing.
    """
    if readmit == "true":
        caller.require(Scope.ADMIN)
    patients = NativePatients(store, study, state.settings.secret, now)
    submitter = Submitter(store, study, FORMAT, now, client=caller.name, full=receipt is not None)
    only_new = if_none_match is not None
    with submitter.refusals_counted():
        history = _read_history(patient, body, now, patients)
        outcome = batches.replace_timeline(
            submitter, patients, history, if_match=if_match, only_new=only_new, readmit=readmit == "true"
        )
    return _answer(request, store, study, outcome, submitter.short)


@router.post(
    "/v1/studies/{study}/patients/{patient}/events",
    operation_id="postEvents",
    summary="Add to a timeline",
    openapi_extra=reads({JSON: reference(Timeline)}, "What to add: a timeline with the new facts only."),
    responses={**_WRITTEN, **refuses(NotFound, Conflict, Erased, reading=True)},
)
def post_events(
    request: Request,
    study: StudyId,
    patient: PatientId,
    state: State,
    store: Writing,
    body: JsonBody,
    now: Now,
    client: Client,
    receipt: ReceiptWanted = None,
) -> Response:
    """Add facts to a timeline. An unknown patient is created. A fact with a known identity is a correction or a
    repetition. The request may be sent again: nothing is stored twice.
    """
    patients = NativePatients(store, study, state.settings.secret, now)
    submitter = Submitter(store, study, FORMAT, now, client=client, full=receipt is not None)
    with submitter.refusals_counted():
        # No name holds the history, so that its memory is free when the answer is written.
        outcome = batches.add_timeline(submitter, patients, _read_history(patient, body, now, patients))
    return _answer(request, store, study, outcome, submitter.short)


class VerdictsOfPatient(PatientVerdicts):
    """The verdicts about one patient, with what they are from. What depends on other patients is not here: rates,
    tests and claims are in the answers to the questions.
    """

    patient: str = Field(description="The patient.", examples=["P01"])
    study: str = Field(description="The study.", examples=["demo"])
    revision: int = Field(description="The revision that was read.", examples=[16])
    as_of: str = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    protocol: ProtocolName = Field(
        description="The protocol in force.", examples=[{"id": "seed-2008", "digest": "sha256:..."}]
    )
    software: str = Field(description="The version of the service.", examples=["myoresponse 0.1.0"])


@router.get(
    "/v1/studies/{study}/patients/{patient}/verdicts",
    operation_id="getVerdicts",
    summary="Read the verdicts about a patient",
    responses={
        200: answers("Each verdict, or why there is none.", reference(VerdictsOfPatient), "ETag"),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased),
    },
)
def get_verdicts(
    study: StudyId, patient: PatientId, store: Store, at: At, if_none_match: IfNoneMatch = None
) -> Response:
    """What the definitions of the protocol say of one patient, from the facts of this patient alone: the response by
    each rule and the time with normal CK, or why the patient is left out. They are the verdicts that the questions list
    with `patients=true` under the protocol of the study.
    """
    with study_at(store, study, at) as snapshot:
        protocol, cohort = snapshot.protocol, snapshot.cohort_of_person(patient)
        tag = snapshot.etag(etag_from("verdicts", patient, *snapshot.tag()))
    head = {"patient": patient, "study": study, "revision": snapshot.revision, "as_of": snapshot.as_of,
            "protocol": {"id": protocol.id, "digest": protocol.digest}, "software": SOFTWARE}  # fmt: skip
    found = patient_verdicts(cohort, protocol).model_dump(mode="json")
    return tagged(written(head | found), tag, if_none_match)


class ErasureOutcome(BaseModel):
    """What the erasure of a person deletes."""

    patient: str = Field(description="The patient.", examples=["P01"])
    revision: int = Field(description="The revision of the erasure.", examples=[18])
    first_revision: int = Field(
        description="From this revision on, those before the erasure cannot be read any more.", examples=[1]
    )
    facts: int = Field(description="Statements that go, earlier versions included.", examples=[104])
    set_aside: int = Field(description="Items of the worklist that lose their content.", examples=[0])


@router.delete(
    "/v1/studies/{study}/patients/{patient}",
    operation_id="erasePatient",
    summary="Erase a person",
    status_code=204,
    response_description="The person is erased.",
    responses={
        200: answers("A rehearsal: what would be deleted.", reference(ErasureOutcome)),
        **refuses(NotFound, Conflict, Erased, PreconditionFailed),
    },
)
def erase_patient(
    study: StudyId,
    patient: PatientId,
    state: State,
    store: Writing,
    now: Now,
    client: Client,
    erase: Annotated[
        Literal["true"],
        Query(
            description="Must be `true`: this deletes a person from every revision and cannot be undone.",
            examples=["true"],
        ),
    ],
    if_match: IfMatch = None,
) -> Response:
    """Delete all data of a person from every revision, past ones included (GDPR article 17). From now on, requests
    that read a revision with this person are answered 410, and so are submissions for this person, until a PUT with
    `readmit=true`.

    A record into which others are merged (`merged_into`) is refused with 409: erase those first if they are of the same
    person, or undo the merge. A merge that was undone stays in the other record, with this identifier. Dead letters of
    the person are deleted, too, also if the study has nothing else of the person.
    """
    del erase
    letters, submitter = letters_of(state.settings, store), Submitter(store, study, FORMAT, now, client=client)
    erased = batches.erase_patient(submitter, patient, if_match=if_match, letters=letters)
    if store.origin is not None:
        return reply(asdict(erased))
    store.afterwards(partial(_clear, state, study))
    store.afterwards(partial(batches.forget_letters, state.database, study, patient, letters))
    return Response(status_code=204)


def _clear(state: AppState, study: str) -> None:
    """List the erasure, forget what was computed from the data of the person, and remove their bytes."""
    complete_erasure_list(state.database)
    state.answers.drop(study)
    from_thread.run(state.computing.workers.forget, study)
    state.scrubber.scrub()


class AttributeVersion(Document):
    """One attribute of the patient."""

    name: (
        Literal[
            "sex", "birth_year", "diagnosis", "weight_kg", "steroid_resistant", "attributes", "merged_into", "ended"
        ]
        | Annotated[str, StringConstraints(pattern="^decision:")]
    ) = Field(
        description="Name of the attribute in a timeline; of a decision about two facts, `decision:` and their name.",
        examples=["weight_kg"],
    )  # fmt: skip
    value: str | float | bool | Ended | dict[str, str] | FactDecision = Field(description="Its value.", examples=[49])
    status: Status = Field(description="`entered-in-error` withdraws it.", examples=["final"])
    issued: str | None = Field(
        default=None, description="When its source issued it; absent if unknown.", examples=[None]
    )


class HistoryRevision(BaseModel):
    """A revision that added or removed a version."""

    revision: int = Field(description="Number of the revision.", examples=[16])
    received_at: str = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    format: str = Field(description="The format that it came in.", examples=["native-json"])
    client: str | None = Field(
        description="Who sent it; null: a program on the machine of the service, without a key.", examples=[None]
    )


class FactVersion(BaseModel):
    """One version of one fact."""

    kind: Kind = Field(description="What kind of fact it is.", examples=["lab_result"])
    fact: LabResult | Assessment | Infusion | Medication | AdverseEvent | AttributeVersion = Field(
        description="Its content: the fields that it has in a timeline, with its source, number, version, issue time "
        "and status.",
        examples=[RESULT],
    )
    added: HistoryRevision = Field(description="The revision that stored it.", examples=[specimen(HistoryRevision)])
    removed: HistoryRevision | None = Field(
        description="The revision that ended it; null while it stands. A version that never stood was added and "
        "removed by the same revision.",
        examples=[specimen(HistoryRevision) | {"revision": 17}],
    )
    standing: bool = Field(description="Whether it stands at the revision of this page.", examples=[False])
    reason: Reason | None = Field(
        description="Why it does not stand; null if it stands.\n"
        "- `superseded`: a greater version replaced it.\n"
        "- `withdrawn`: its source withdrew the fact (status `entered-in-error` or `cancelled`).\n"
        "- `withdrawal`: this version says that the fact is withdrawn.\n"
        "- `left_out`: a PUT of the timeline left the fact out, or a later merge turned a merge round.\n"
        "- `late`: a greater version was stored before it arrived. It never stood.",
        examples=["superseded"],
    )
    notes: list[ReceiptNote] | None = Field(
        default=None, description="What its receipt noted; absent if nothing.", examples=[[specimen(ReceiptNote)]]
    )


class HistoryPage(BaseModel):
    """A page of versions in the order in which they were stored. All pages are read at one revision."""

    items: list[FactVersion] = Field(description="The versions.", examples=[[specimen(FactVersion)]])
    next: str | None = Field(
        description="Address of the next page.",
        examples=["/v1/studies/demo/patients/P01/history?limit=100&cursor=WzE2LDEwMF0"],
    )


def _revision_document(circumstance: Circumstance) -> dict[str, Any]:
    return {
        "revision": circumstance.revision,
        "received_at": instant_text(circumstance.received_at),
        "format": circumstance.format,
        "client": circumstance.client,
    }


def _version_document(version: Version) -> dict[str, Any]:
    return {
        "kind": version.kind,
        "fact": version.fact,
        "added": _revision_document(version.added),
        "removed": None if version.removed is None else _revision_document(version.removed),
        "standing": version.standing,
        "reason": version.reason,
        **({"notes": notes_document(version.notes)} if version.notes else {}),
    }


@router.get(
    "/v1/studies/{study}/patients/{patient}/history",
    operation_id="listHistory",
    summary="Read every version of every fact",
    responses={
        200: answers("A page of versions, oldest revision first.", reference(HistoryPage), "Link"),
        **refuses(NotFound, Erased, MalformedDocument),
    },
)
def list_history(
    request: Request,
    study: StudyId,
    patient: PatientId,
    state: State,
    at: At,
    limit: Limit = 100,
    cursor: Cursor = None,
    kind: Annotated[Kind | None, Query(description="Only facts of this kind.", examples=["lab_result"])] = None,
    code: Annotated[
        Literal[LabCode, AssessmentCode] | None,
        Query(description="Only laboratory results or scores with this code.", examples=["CK"]),
    ] = None,
    number: Annotated[
        str | None,
        Query(
            alias="id",
            max_length=64,
            pattern=IDENTIFIER_PATTERN,
            description="Only facts with this number (`id` in the timeline), of any source.",
            examples=["acc-77"],
        ),
    ] = None,
) -> Response:
    """All versions of all facts of a patient, oldest revision first: each with the revision that stored it, its source,
    and why it no longer stands. All pages are read at the revision of the first page, even if new data arrive.
    """
    question = ("history", study, patient, kind, code, number)
    at, offset = state.cursors.walk(question, at, cursor, start=0)
    with study_at(state.database, study, at) as snapshot:
        found = snapshot.history(patient, Wanted(kind, code, number), offset=offset, limit=limit + 1)
    following = state.cursors.sign(question, [snapshot.revision, offset + limit]) if len(found) > limit else None
    return page(request, [_version_document(version) for version in found[:limit]], following)
