"""The routes of the intake: what arrives in a study, what is set aside, and what the study could declare."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Path, Request, Response
from pydantic import BaseModel, Field

from app.api.decisions import PossiblySame, pair_document
from app.errors import Absent, Conflict, Erased, Fault, FaultCode, InvalidDocument, MalformedDocument, NotFound
from app.http.authentication import Client
from app.http.dependencies import At, Cursor, JsonBody, Limit, Now, State, Store, StudyId, Writing
from app.http.openapi import JSON, answers, reads, reference, refuses, specimen
from app.http.problems import IntakeProposal
from app.http.responses import address, page, reply
from app.http.routing import Operations
from app.readers.json_timelines import read_model
from app.readers.suggestions import PROPOSALS
from app.store import worklist
from app.store.audit import was_read
from app.store.engine import Database
from app.store.intake import ArrivalCount
from app.store.snapshot import study_at
from app.store.worklist import DismissalReason, SetAside
from app.submission.intake import NOTED, proposals, proposed_in_rehearsal
from app.submission.loop import Submitter
from app.timeline.document import Document, Text
from app.timeline.receipts import Disposition
from app.timeline.times import instant_text

router = Operations(tags=["intake"])
WAIT = 0.5
"""Seconds that an answer waits for refusals that are about to be counted."""
_SEEN = "2026-11-22T10:00:00Z"


class SetAsideItem(BaseModel):
    """A fact that was sent and cannot count, or two facts that may be the same."""

    item: int | None = Field(
        description="Its number on the worklist; null for two facts of merged records, which are compared as they are "
        "listed.",
        examples=[1],
    )
    patient: str = Field(description="The patient, by pseudonym.", examples=["P01"])
    code: str | None = Field(description="What was measured, if it is known.", examples=["CK"])
    reason: str = Field(description="Why it is set aside (docs/codes.md).", examples=["unknown_unit"])
    place: str = Field(description="Where it stood in what was sent.", examples=["OBX[1]-6"])
    sender: str | None = Field(description="The system that sent it, if known.", examples=["LAB|ELAB-3"])
    format: str = Field(description="The format that it came in.", examples=["hl7v2"])
    statement: str | None = Field(
        description="Address of the history that has the statement with its content; null if it could not be read.",
        examples=[None],
    )
    pair: PossiblySame | Absent = Field(
        default=None,
        description="Two facts that may be the same: both count until somebody decides. Absent for one fact.",
        examples=[specimen(PossiblySame)],
    )
    revision: int = Field(description="The revision that set it aside.", examples=[17])
    received_at: str = Field(description="When it was received.", examples=[_SEEN])


class SetAsidePage(BaseModel):
    """A page of the worklist, oldest item first. All pages are read at one revision."""

    items: list[SetAsideItem] = Field(description="The items.", examples=[[specimen(SetAsideItem)]])
    next: str | None = Field(
        description="Address of the next page.", examples=["/v1/studies/demo/set-aside?limit=100&cursor=WzE3LDFd"]
    )


class DismissalRequest(Document):
    """Why an item needs no further work."""

    reason: DismissalReason = Field(
        description="`duplicate`: the fact is stored by another statement. `error_at_source`: the source says that it "
        "was wrong. `not_of_study`: it is not for this study. `cannot_be_mended`: the source cannot send it again. "
        "`other`: see `comment`, which it needs.",
        examples=["duplicate"],
    )
    comment: Text | None = Field(
        default=None, description="More, without data of the patient.", examples=["Confirmed by telephone."]
    )


class DismissalOutcome(BaseModel):
    """The outcome of a dismissal."""

    item: int = Field(description="The item.", examples=[1])
    status: Literal["dismissed", "unchanged"] = Field(
        description="`unchanged`: the same dismissal was stored before.", examples=["dismissed"]
    )
    revision: int = Field(description="The revision that dismissed it.", examples=[18])


class UnknownCode(BaseModel):
    """Something that the service does not keep."""

    reason: str = Field(description="Why (docs/codes.md).", examples=["code"])
    system: str | None = Field(description="The system of the code.", examples=["L"])
    code: str | None = Field(description="The code, if it was read.", examples=["NA"])
    count: int = Field(description="How often it arrived.", examples=[412])
    first_seen: str = Field(description="When it arrived first.", examples=[_SEEN])
    last_seen: str = Field(description="When it arrived last.", examples=[_SEEN])


_COUNTS: dict[str, Any] = {"examples": [{"unknown_unit": 3}]}


class IntakeSource(BaseModel):
    """What arrived from one sender in one format. Each dictionary has numbers by reason or code."""

    sender: str | None = Field(description="The sender; null if unknown.", examples=["LAB|ELAB-3"])
    format: str = Field(description="The format.", examples=["hl7v2"])
    kept: int = Field(description="Facts that were kept.", examples=[1012])
    noted: dict[str, int] = Field(description="Notes about kept facts.", examples=[{"no_upper_limit": 3}])
    not_applied: dict[str, int] = Field(description="Facts that were not applied.", examples=[{"older": 2}])
    set_aside: dict[str, int] = Field(description="Facts that were set aside.", **_COUNTS)
    refused: dict[str, int] = Field(description="Refused submissions; one counts for each of its codes.", **_COUNTS)
    not_ours: list[UnknownCode] = Field(
        description="What is not kept; a reason `other` counts together what has no row of its own.",
        examples=[[specimen(UnknownCode)]],
    )
    first_seen: str = Field(description="When something arrived first.", examples=[_SEEN])
    last_seen: str = Field(description="When something arrived last.", examples=[_SEEN])


class Intake(BaseModel):
    """What arrived in a study."""

    items: list[IntakeSource] = Field(
        description="What arrived, by sender and format.", examples=[[specimen(IntakeSource)]]
    )
    proposals: list[IntakeProposal] = Field(
        description="What the study could declare.", examples=[[specimen(IntakeProposal)]]
    )


def _item_document(
    request: Request, study: str, item: SetAside, facts: Mapping[int | str, list[dict[str, Any]]]
) -> dict[str, Any]:
    pair = {} if item.pair is None else {"pair": pair_document(request, study, item.patient, item.pair, facts[item.at])}
    history = None
    if item.statement is not None:
        path = f"/v1/studies/{study}/patients/{item.patient}/history"
        history = address(request, f"{path}?{urlencode(item.statement)}")
    return {
        "item": item.number,
        "patient": item.patient,
        "code": item.code,
        "reason": item.reason,
        "place": item.place,
        "sender": item.sender,
        "format": item.format,
        "statement": history,
        "revision": item.revision,
        "received_at": instant_text(item.received_at),
        **pair,
    }


@router.get(
    "/v1/studies/{study}/set-aside",
    operation_id="listSetAside",
    summary="List what is set aside",
    responses={
        200: answers("A page of the worklist.", reference(SetAsidePage), "Link"),
        **refuses(NotFound, Erased, MalformedDocument),
    },
)
def list_set_aside(
    request: Request, study: StudyId, state: State, at: At, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The worklist: facts that matter and cannot count as they were sent. An item leaves it when a later message about
    the same fact is kept, or when it is dismissed. An item about two facts that may be the same leaves it when somebody
    decides.
    """
    question = ("set-aside", study)
    at, after = state.cursors.walk(question, at, cursor, start=0)
    with study_at(state.database, study, at) as snapshot:
        found = snapshot.set_aside(after=after, limit=limit + 1)
        pairs = {item.at: (item.patient, item.pair) for item in found[:limit] if item.pair is not None}
        facts = dict(zip(pairs, snapshot.facts_of_pairs(list(pairs.values())), strict=True))
    was_read(study, [item.patient for item in found[:limit]])
    items = [_item_document(request, study, item, facts) for item in found[:limit]]
    more = len(found) > limit
    return page(
        request, items, state.cursors.sign(question, [snapshot.revision, found[limit - 1].at]) if more else None
    )


@router.post(
    "/v1/studies/{study}/set-aside/{item}/dismissal",
    operation_id="dismissSetAside",
    summary="Dismiss an item of the worklist",
    openapi_extra=reads({JSON: reference(DismissalRequest)}, "Why the item needs no further work."),
    responses={
        200: answers("The item is dismissed.", reference(DismissalOutcome)),
        **refuses(NotFound, Conflict, Erased, reading=True),
    },
)
def dismiss_set_aside(
    study: StudyId,
    item: Annotated[int, Path(ge=1, le=2**53 - 1, description="Number of the item.", examples=[1])],
    store: Writing,
    body: JsonBody,
    now: Now,
    client: Client,
) -> Response:
    """Take an item off the worklist. This makes a revision; nothing else changes. The same request again changes
    nothing; another reason or comment is refused with 409, and so is an item about two facts that may be the same.
    """
    asked = read_model(body, DismissalRequest)
    if asked.reason == "other" and asked.comment is None:
        raise InvalidDocument(faults=[Fault("/comment", FaultCode.MISSING)])
    done = Submitter(store, study, "dismissal", now).commit(
        lambda transaction: worklist.dismiss(
            transaction, study, item, asked.reason, asked.comment, client=client, received_at=now
        )
    )
    return reply({"item": item, "status": done.status, "revision": done.revision})


@router.get(
    "/v1/studies/{study}/intake",
    operation_id="getIntake",
    summary="Read what arrives",
    responses={200: answers("What arrived.", reference(Intake)), **refuses(NotFound)},
)
def get_intake(study: StudyId, store: Store) -> Response:
    """How much of what arrived, by sender and format, with proposals of what the study could declare. There are no
    values and no numbers of persons. The counts are not part of any revision.
    """
    store.settle(WAIT)
    with study_at(store, study) as snapshot:
        counts = snapshot.intake()
        declared = snapshot.declared
    proposed = proposals(counts, declared.feeds, declared.time_zone)
    return reply({"items": _sources(counts), "proposals": [each.document for each in proposed]})


def rehearsed_proposals(store: Database, study: str) -> dict[str, Any]:
    """The proposals of a rehearsal as a member of its answer; nothing for a write that is stored."""
    if store.origin is None:
        return {}
    return {PROPOSALS: [each.document for each in proposed_in_rehearsal(store, study)]}


def _sources(counts: Sequence[ArrivalCount]) -> list[dict[str, Any]]:
    """The counts by sender and format."""
    sources: dict[tuple[str, str], dict[str, Any]] = {}
    seen: dict[tuple[str, str], list[int]] = {}
    for (sender, format, subject, reason, code, _), times, first, last in counts:
        source = sources.setdefault((sender, format), {
            "sender": sender or None, "format": format, "kept": 0, NOTED: {}, Disposition.NOT_APPLIED: {},
            Disposition.SET_ASIDE: {}, Disposition.REFUSED: {}, Disposition.NOT_OURS: [],
        })  # fmt: skip
        seen.setdefault((sender, format), []).extend((first, last))
        if subject == Disposition.KEPT:
            source["kept"] += times
        elif subject == Disposition.NOT_OURS:
            system, divider, name = code.partition("|")
            source[subject].append({
                "reason": reason, "system": system or None, "code": (name if divider else code) or None, "count": times,
                "first_seen": instant_text(first), "last_seen": instant_text(last),
            })  # fmt: skip
        elif subject in source:
            source[subject][reason] = source[subject].get(reason, 0) + times
    return [
        source | {"first_seen": instant_text(min(seen[key])), "last_seen": instant_text(max(seen[key]))}
        for key, source in sources.items()
    ]
