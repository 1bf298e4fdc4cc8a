"""The record of a patient: every version of every fact, for whoever asks where a number came from."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.dependencies import Cursor, Limit, Now, Parts, PatientId, Point, StudyId
from app.api.documentation import answers, reference, refuses, specimen
from app.api.replies import page
from app.errors import Erased, Fault, FaultCode, InvalidDocument, MalformedDocument, NotFound
from app.store import history, revisions
from app.store.history import Circumstance, Reason, Version, Wanted
from app.timeline.document import (
    IDENTIFIER_PATTERN,
    AdverseEvent,
    Assessment,
    Document,
    Ended,
    Infusion,
    Kind,
    LabResult,
    Medication,
)
from app.timeline.times import instant_text
from app.timeline.vocabulary import AssessmentCode, LabCode, Status

router = APIRouter(tags=["patients"])

RESULT = {
    "code": "CK", "time": "2005-03-16T09:48:00+09:00", "value": 1101, "unit": "U/L", "upper_limit": 163, "lab": "A",
    "source": "A", "id": "acc-77", "version": 1, "issued": "2005-03-16T23:00:00Z", "status": "preliminary",
}  # fmt: skip


class AttributeVersion(Document):
    """What was said of the patient themselves: one attribute by its name."""

    name: Literal[
        "sex", "birth_year", "diagnosis", "weight_kg", "steroid_resistant", "merged_into", "ended"
    ] = Field(description="Name of the attribute in a timeline.", examples=["weight_kg"])  # fmt: skip
    value: str | float | bool | Ended = Field(description="Its value.", examples=[49])
    status: Status = Field(description="`entered-in-error` takes it back.", examples=["final"])
    issued: str | None = Field(
        default=None, description="When its source said so; left out where it did not tell.", examples=[None]
    )


class HistoryRevision(BaseModel):
    """A revision that did something to a version."""

    revision: int = Field(description="Number of the revision.", examples=[16])
    received_at: str = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    format: str = Field(description="The format that it came in.", examples=["native-json"])
    client: str | None = Field(description="Who sent it; null while the service asks for no keys.", examples=[None])


class FactVersion(BaseModel):
    """One version of one fact."""

    kind: Kind = Field(description="What kind of fact it is.", examples=["lab_result"])
    fact: LabResult | Assessment | Infusion | Medication | AdverseEvent | AttributeVersion = Field(
        description="What it says: the fields that it has in a timeline, with its source, number, version, issue time "
        "and status.",
        examples=[RESULT],
    )
    added: HistoryRevision = Field(description="The revision that stored it.", examples=[specimen(HistoryRevision)])
    removed: HistoryRevision | None = Field(
        description="The revision from which it no longer stood; null while it does. A version that never stood was "
        "added and removed by the same revision.",
        examples=[specimen(HistoryRevision) | {"revision": 17}],
    )
    standing: bool = Field(
        description="Whether timelines and analyses show it at the revision of this walk.", examples=[False]
    )
    reason: Reason | None = Field(
        description="Why it is not shown; null where it is.\n"
        "- `superseded`: a greater version took its place.\n"
        "- `withdrawn`: its source withdrew the fact (status `entered-in-error` or `cancelled`).\n"
        "- `withdrawal`: this version says that the fact is withdrawn.\n"
        "- `left_out`: a timeline that was put left the fact out.\n"
        "- `late`: a greater version was known when it came, so that it never stood.",
        examples=["superseded"],
    )


class HistoryPage(BaseModel):
    """A page of versions in the order in which they were stored, all pages of a walk at one revision."""

    items: list[FactVersion] = Field(description="The versions.", examples=[[specimen(FactVersion)]])
    next: str | None = Field(
        description="Address of the next page.",
        examples=["/v1/studies/demo/patients/P01/history?limit=100&cursor=WzE2LDEwMF0"],
    )


def _revision(one: Circumstance) -> dict[str, Any]:
    return {
        "revision": one.revision,
        "received_at": instant_text(one.received_at),
        "format": one.format,
        "client": one.client,
    }


def _shown(version: Version) -> dict[str, Any]:
    return {
        "kind": version.kind,
        "fact": version.fact,
        "added": _revision(version.added),
        "removed": None if version.removed is None else _revision(version.removed),
        "standing": version.standing,
        "reason": version.reason,
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
    parts: Parts,
    now: Now,
    at: Point,
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
    """What was ever said of a patient, oldest revision first: each version with the revision that stored it, where it
    came from, and why it does not stand any more. A walk from page to page stays at the revision at which it began,
    whatever is posted meanwhile.
    """
    question = ("history", study, patient, kind, code, number)
    revision, offset = at.revision, 0
    if cursor is not None:
        if not at.latest:
            fault = Fault("/query/cursor", FaultCode.CONTRADICTION, "A cursor names its revision; do not name another.")
            raise InvalidDocument(faults=[fault])
        revision, offset = parts.cursors.read(question, cursor)
    with parts.database.reading() as connection:
        point = revisions.resolve(connection, study, revision=revision, as_of=at.as_of, now=now)
        found = history.versions(
            connection, study, patient, point.number, Wanted(kind, code, number), offset=offset, limit=limit + 1
        )
    following = parts.cursors.sign(question, [point.number, offset + limit]) if len(found) > limit else None
    return page(request, [_shown(version) for version in found[:limit]], following)
