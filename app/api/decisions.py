"""The routes of the decisions: whether two infusions, periods of a drug or adverse events of a patient are one."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Path, Request, Response
from pydantic import BaseModel, Field

from app.errors import Erased, MalformedDocument, NotFound
from app.http.authentication import Client
from app.http.dependencies import At, Cursor, JsonBody, Limit, Now, PatientId, State, StudyId, Writing
from app.http.openapi import JSON, answers, reads, reference, refuses, specimen
from app.http.responses import address, page, reply
from app.http.routing import Operations
from app.readers.json_timelines import read_model
from app.store import decisions
from app.store.audit import was_read
from app.store.decisions import ListedDecision, Said
from app.store.snapshot import study_at
from app.submission.loop import Submitter
from app.timeline.document import AdverseEvent, Document, Infusion, Medication, Text
from app.timeline.same_facts import NAME_PATTERN, Decided, Pair, PairKind
from app.timeline.times import instant_text

router = Operations(tags=["intake"])
_NAME = "5feceb66ffc86f38d952786c6d696c79"
_LENGTH = len(_NAME)
_DOSE = {"time": "2005-04-11", "product": "IVIG", "dose": 30, "unit": "g"}


class PossiblySame(BaseModel):
    """Two facts of a patient that may be the same."""

    kind: PairKind = Field(description="What they are.", examples=["infusion"])
    facts: list[Infusion | Medication | AdverseEvent] = Field(
        description="The facts as the timeline shows them. The first one counts if they are one. One that was "
        "withdrawn since is not here.",
        examples=[[_DOSE | {"time": "2005-04-11T10:00:00+09:00", "id": "7", "source": "EHR"}, _DOSE]],
    )
    decide: str = Field(
        description="Where a decision about them is posted.",
        examples=[f"/v1/studies/demo/patients/P01/decisions/{_NAME}"],
    )


class FactsDecided(PossiblySame):
    """A decision that stands."""

    patient: str = Field(description="The patient.", examples=["P01"])
    decision: Decided = Field(
        description="`same`: only one of the facts counts, while their times agree. `different`: both count. `proven`: "
        "the service found at intake that their content is the same, and one counts while it is.",
        examples=["same"],
    )
    by: str | None = Field(description="Who decided; null for the service.", examples=["registry"])
    at: str | None = Field(description="When; null for the service.", examples=["2026-11-22T10:00:00Z"])
    reason: str | None = Field(description="Why; null for the service.", examples=["Both mean one morning."])
    revision: int = Field(description="The revision that stored it.", examples=[18])


class DecisionPage(BaseModel):
    """A page of decisions, by patient. All pages are read at one revision."""

    items: list[FactsDecided] = Field(description="The decisions.", examples=[[specimen(FactsDecided)]])
    next: str | None = Field(
        description="Address of the next page.", examples=["/v1/studies/demo/decisions?limit=100&cursor=WzE3LDFd"]
    )


class DecisionRequest(Document):
    """Whether two facts are one."""

    decision: Said = Field(
        description="`same`: only one of them counts from now on. `different`: both count. `undecided` takes back what "
        "was decided: both count, and they are listed on the worklist again.",
        examples=["same"],
    )
    reason: Text = Field(description="Why, without data of the patient.", examples=["Both mean one morning."])


class FactsDecisionOutcome(BaseModel):
    """What a decision did."""

    status: Literal["decided", "taken_back", "unchanged"] = Field(
        description="`unchanged`: the same was stored before.", examples=["decided"]
    )
    revision: int | None = Field(
        description="The revision that stored it; null if there never was a decision to take back.", examples=[18]
    )


def pair_document(
    request: Request, study: str, patient: str, pair: Pair, facts: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Two facts that may be the same."""
    path = f"/v1/studies/{study}/patients/{patient}/decisions/{pair.name}"
    return {"kind": pair.kind, "facts": list(facts), "decide": address(request, path)}


@router.get(
    "/v1/studies/{study}/decisions",
    operation_id="listDecisions",
    summary="List what is decided about equal facts",
    responses={
        200: answers("A page of decisions.", reference(DecisionPage), "Link"),
        **refuses(NotFound, Erased, MalformedDocument),
    },
)
def list_decisions(
    request: Request, study: StudyId, state: State, at: At, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """The decisions that stand: which infusions, periods of a drug and adverse events that two sources sent are one. A
    decision that was taken back is not listed; the history of the patient has it.
    """
    question = ("decisions", study)
    at, after = state.cursors.walk(question, at, cursor, start="")
    with study_at(state.database, study, at) as snapshot:
        found = snapshot.decisions(after=(after[:-_LENGTH], after[-_LENGTH:]), limit=limit + 1)
        shown = found[:limit]
        facts = snapshot.facts_of_pairs([(each.patient, each.decision.pair) for each in shown])
    was_read(study, [each.patient for each in shown])
    items = [_document(request, study, each, pair) for each, pair in zip(shown, facts, strict=True)]
    last = shown[-1].patient + shown[-1].decision.pair.name if len(found) > limit else None
    return page(request, items, state.cursors.sign(question, [snapshot.revision, last]) if last else None)


def _document(request: Request, study: str, listed: ListedDecision, facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    pair, decided, by, reason = listed.decision
    return {
        "patient": listed.patient,
        **pair_document(request, study, listed.patient, pair, facts),
        "decision": decided,
        "by": by,
        "at": None if listed.at is None else instant_text(listed.at),
        "reason": reason,
        "revision": listed.revision,
    }


@router.post(
    "/v1/studies/{study}/patients/{patient}/decisions/{pair}",
    operation_id="decideFacts",
    summary="Decide whether two facts are one",
    openapi_extra=reads({JSON: reference(DecisionRequest)}, "What is decided, and why."),
    responses={
        200: answers("What the decision did.", reference(FactsDecisionOutcome)),
        **refuses(NotFound, Erased, reading=True),
    },
)
def decide_facts(
    study: StudyId,
    patient: PatientId,
    pair: Annotated[str, Path(pattern=NAME_PATTERN, description="Name of the pair.", examples=[_NAME])],
    store: Writing,
    body: JsonBody,
    now: Now,
    client: Client,
) -> Response:
    """Decide about two facts that the worklist lists as possibly the same, decide again, or take a decision back. This
    makes a revision. Both facts stay stored; analyses count one of them if they are the same. The same request again
    changes nothing.
    """
    asked = read_model(body, DecisionRequest)
    done = Submitter(store, study, "decision", now).commit(
        lambda transaction: decisions.decide(
            transaction, study, patient, pair, asked.decision, asked.reason, client=client, received_at=now
        )
    )
    return reply({"status": done.status, "revision": done.revision})
