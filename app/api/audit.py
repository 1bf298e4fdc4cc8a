"""The route of the audit: who read or wrote which data, and when."""

from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from app.errors import Fault, FaultCode, Forbidden, InvalidDocument, MalformedDocument, NotFound
from app.http.authentication import CallerOf
from app.http.dependencies import IDENTIFIER, Cursor, Limit, Now, State
from app.http.openapi import answers, reference, refuses, specimen
from app.http.responses import page
from app.http.routing import Operations
from app.store.audit import Listed, everyone_was_read, was_read
from app.store.snapshot import audit_rows
from app.timeline.times import Moment, instant_text, read_time

router = Operations(tags=["service"])
_BEGIN = -(2**63)
_PLAIN = ("caller", "address", "door", "operation", "scope", "status", "extent")


class AuditRow(BaseModel):
    """One access to data of patients."""

    at: str = Field(description="When it was.", examples=["2026-11-22T10:00:00.000000Z"])
    row: int = Field(description="Its number in the chain of the study.", examples=[41])
    study: str | None = Field(description="The study; null if it belongs to none.", examples=["demo"])
    caller: str | None = Field(description="Who it was; null without a key.", examples=["key:ab12cd34"])
    address: str | None = Field(description="The address that it came from.", examples=["127.0.0.1"])
    door: str = Field(description="http, fhir, hl7v2, mllp or command.", examples=["http"])
    operation: str = Field(description="The operation, as this description names it.", examples=["getTimeline"])
    scope: str | None = Field(description="The right that it needs.", examples=["read-patients"])
    status: int | None = Field(description="The status of the answer; null of a write that was stored.", examples=[200])
    extent: str = Field(
        description="Whose data: `patients` (those listed), `everyone`, `figures` about them, or `nothing`.",
        examples=["patients"],
    )
    patients: list[str] = Field(description="The patients whom the study still has.", examples=[["P01"]])
    erased: int = Field(description="How many more there were, who were erased since.", examples=[0])
    revisions: list[int] = Field(description="The revision that was read, or those that were made.", examples=[[16]])
    request: str | None = Field(description="The identifier of the request, if it has one.", examples=[None])
    count: int = Field(description="How many equal refusals the row stands for.", examples=[1])


class AuditPage(BaseModel):
    """A page of the audit, oldest row first."""

    items: list[AuditRow] = Field(description="The rows.", examples=[[specimen(AuditRow)]])
    next: str | None = Field(description="Address of the next page.", examples=["/v1/audit?cursor=WzE2LDEsNDFd"])


Named = Annotated[
    str | None, Query(max_length=64, pattern=IDENTIFIER, description="Only rows of this study.", examples=["demo"])
]
NamedPatient = Annotated[
    str | None,
    Query(max_length=64, pattern=IDENTIFIER, description="Only rows that list this patient.", examples=["P01"]),
]
Since = Annotated[
    str | None,
    Query(max_length=40, description="Only rows from this instant on.", examples=["2026-11-22T00:00:00Z"]),
]
Until = Annotated[
    str | None, Query(max_length=40, description="Only rows up to this instant.", examples=["2026-11-23T00:00:00Z"])
]


@router.get(
    "/v1/audit",
    operation_id="listAudit",
    summary="List who read or wrote which data",
    responses={
        200: answers("A page of the audit.", reference(AuditPage), "Link"),
        **refuses(MalformedDocument, NotFound),
    },
)
def list_audit(
    request: Request,
    state: State,
    caller: CallerOf,
    now: Now,
    study: Named = None,
    patient: NamedPatient = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Every read of patients' data, every write and every refusal, in the order of time. Rows of one patient need the
    study, and so does a key that is good for some studies only. `python -m app verify` verifies the chain of the rows.
    To read the audit has a row, too.
    """
    if caller.studies is not None and study is None:
        raise Forbidden("Name one of your studies in `study`.")
    caller.require_study(study or "")
    if patient is not None and study is None:
        raise InvalidDocument(faults=[Fault("/query/study", FaultCode.MISSING)])
    question = ("audit", study, patient, until)
    # Each page has a row of its own. So that there is a last page, the first one says up to when rows are listed.
    begin = (_instant("since", since) - 1 if since else _BEGIN, -1, -1, _instant("until", until) if until else now)
    *after, before = state.cursors.read(question, cursor) if cursor else begin
    place = (after[0], after[1], after[2])
    found = audit_rows(state.database, study, patient, after=place, until=before, limit=limit + 1)
    last = found[limit - 1][1] if len(found) > limit else None
    # The number of the chain depends on how many studies others have.
    chain = 0 if last is None or study is not None else last.chain
    shown = {name for _, row in found[:limit] for name in row.patients}
    if study is not None:
        was_read(study, shown)
    elif shown:
        everyone_was_read()
    following = None if last is None else state.cursors.sign(question, [last.at, chain, last.number, before])
    return page(request, [_document(name, row) for name, row in found[:limit]], following)


def _document(study: str | None, row: Listed) -> dict[str, Any]:
    made = [] if row.revision is None else [row.revision]
    if row.first_revision is not None and row.revision is not None:
        made = [row.first_revision, row.revision] if row.first_revision < row.revision else made
    return {
        "at": instant_text(row.at),
        "row": row.number,
        "study": study,
        **{name: getattr(row, name) for name in _PLAIN},
        "patients": list(row.patients),
        "erased": row.erased,
        "revisions": made,
        "request": row.request,
        "count": row.count,
    }


def _instant(name: str, given: str) -> int:
    moment = read_time(given.replace(" ", "+"), 2**62)
    if isinstance(moment, Moment) and moment.instant is not None:
        return moment.instant
    raise InvalidDocument(
        faults=[Fault(f"/query/{name}", moment if isinstance(moment, FaultCode) else FaultCode.NO_OFFSET)]
    )
