"""The questions: each by GET with the study's protocol, by POST with another one, and the whole report."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from app import SOFTWARE
from app.analyses import QUESTIONS, Options, Question, report
from app.analyses import answer as ask
from app.api.dependencies import COMPUTES, AsItStood, IfNoneMatch, JsonBody, Now, Parts, Point, StudyId, latest
from app.api.documentation import JSON, NOT_MODIFIED, answers, reads, reference, refuses
from app.api.protocols import Declared, protocol_of
from app.api.replies import matches, tagged
from app.api.service import Service
from app.api.studies import TimeZone
from app.errors import Erased, Fault, FaultCode, InvalidDocument, NotFound
from app.ingest.native import read_model
from app.protocol.model import Protocol
from app.report.document import Header, Provenance, frame, frame_model, report_document, report_model
from app.store import revisions, studies, timelines
from app.timeline.cohort import Cohort
from app.timeline.document import Document, Many, Timeline
from app.timeline.facts import History
from app.timeline.normalize import normalise
from app.timeline.times import instant_text

router = APIRouter(tags=["analyses"], dependencies=[COMPUTES])
WHOLE = "analyses"


@cache
def as_parameters(options_type: type[Options]) -> type[Options]:
    """The options of a question as query parameters, where everything is text."""
    return type("AskedOptions", (options_type,), {"model_config": ConfigDict(strict=False, extra="ignore")})


class AskedOptions(Options):
    """The options of the whole report as query parameters."""

    model_config = ConfigDict(strict=False, extra="ignore")


Asked = Annotated[AskedOptions, Query()]


class WhatIf(Document):
    """A question with definitions of its own."""

    protocol: Declared = Field(description="Name of a preset, or the definitions themselves.", examples=["relative-20"])


class Unstored(Document):
    """A whole cohort and how to read it; nothing of it is stored."""

    protocol: Declared = Field(description="Name of a preset, or the definitions themselves.", examples=["seed-2008"])
    time_zone: TimeZone | None = Field(
        default=None,
        max_length=64,
        description="IANA name of the zone of the laboratory's day.",
        examples=["Asia/Tokyo"],
    )
    timelines: Many[Timeline] = Field(
        description="The patients, each once.", examples=[[{"patient": {"id": "P01", "diagnosis": "polymyositis"}}]]
    )


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One question to a study as it stood, with the study's protocol or another."""

    name: str
    study: str
    at: AsItStood
    options: Options
    instead: Protocol | None = None

    def tag(self, point: revisions.RevisionPoint, protocol_digest: str) -> str:
        """The ETag: the same revision, protocol, options and software give the same bytes.

        The instant of the revision is in it for the case that a database was put back and revisions were counted
        anew.
        """
        options = self.options.model_dump(mode="json")
        parts = [self.name, self.study, point.number, point.received_at, protocol_digest, options, SOFTWARE]
        return f'"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'


def compute(name: str, header: Header, cohort: Cohort, protocol: Protocol, options: Options) -> bytes:
    """The answer to one question, or the whole report."""
    if name == WHOLE:
        return report_document(header, report(cohort, protocol, options))
    return frame(header, ask(name, cohort, protocol, options))


def inquire(parts: Service, inquiry: Inquiry, now: int, if_none_match: str | None) -> Response:
    """Answer from the client's copy, from ours, or by computing."""
    erasures = parts.answers.erasures(inquiry.study)
    with parts.database.reading() as connection:
        point = revisions.resolve(
            connection, inquiry.study, revision=inquiry.at.revision, as_of=inquiry.at.as_of, now=now
        )
        declared = studies.get_study(connection, inquiry.study, point.number)
        protocol = inquiry.instead or declared.protocol
        tag = inquiry.tag(point, protocol.digest)
        body = b"" if matches(if_none_match, tag) else parts.answers.get(tag)
        if body is not None:
            return tagged(body, tag, if_none_match)
        cohort = timelines.cohort(connection, inquiry.study, point.number)
        changed = studies.protocol_changed_after_first_outcome(connection, inquiry.study, point.number)
    if protocol.digest != declared.protocol_digest:  # declared now, by the question
        changed = len(cohort.labs) + len(cohort.assessments) > 0
    header = Header(
        study=inquiry.study,
        revision=point.number,
        as_of=instant_text(point.received_at),
        provenance=provenance(protocol, cohort, changed),
    )
    body = compute(inquiry.name, header, cohort, protocol, inquiry.options)
    parts.answers.keep(inquiry.study, tag, body, erasures)
    return tagged(body, tag, None)


def provenance(protocol: Protocol, cohort: Cohort, changed: bool | None) -> Provenance:
    """What an answer is computed from."""
    return Provenance(
        protocol=protocol.digest,
        protocol_id=protocol.id,
        protocol_changed_after_first_outcome=changed,
        data=cohort.digest,
        software=SOFTWARE,
    )


def _asker(name: str, options_type: type[Options]) -> Callable[..., Response]:
    def asker(
        study: StudyId,
        parts: Parts,
        now: Now,
        at: Point,
        options: Annotated[as_parameters(options_type), Query()],  # type: ignore[valid-type]
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        return inquire(parts, Inquiry(name, study, at, options), now, if_none_match)

    return asker


def _what_if_asker(name: str, options_type: type[Options]) -> Callable[..., Response]:
    def asker(
        study: StudyId,
        parts: Parts,
        body: JsonBody,
        now: Now,
        at: Point,
        options: Annotated[as_parameters(options_type), Query()],  # type: ignore[valid-type]
    ) -> Response:
        protocol = protocol_of(read_model(body, WhatIf).protocol)
        return inquire(parts, Inquiry(name, study, at, options, protocol), now, None)

    return asker


def _offer(
    name: str, operation: str, title: str, answered: dict[str, Any], options_type: type[Options] = Options
) -> None:
    """One question at its address, by GET and (a single one) by POST."""
    path = f"/v1/studies/{{study}}/{name}" if name == WHOLE else f"/v1/studies/{{study}}/{WHOLE}/{name}"
    router.get(
        path,
        operation_id=f"get{operation}",
        summary=title,
        description=f"{title} From the study's data and protocol at one revision, the latest unless another is named. "
        "The same revision, protocol, options and version of the software give the same bytes and the same ETag.",
        responses={200: answers("The answer.", answered, "ETag"), 304: NOT_MODIFIED, **refuses(NotFound, Erased)},
    )(_asker(name, options_type))
    if name == WHOLE:
        return
    router.post(
        path,
        operation_id=f"ask{operation}",
        summary=f"{title} With another protocol",
        description=f"{title} From the study's data at one revision, with the protocol in the body. Nothing is stored.",
        openapi_extra=reads({JSON: reference(WhatIf)}, "The definitions to answer by."),
        responses={200: answers("The answer.", answered, "ETag"), **refuses(NotFound, Erased, reading=True)},
    )(_what_if_asker(name, options_type))


def _camel(question: Question) -> str:
    return "".join(word.capitalize() for word in question.name.split("-"))


_offer(WHOLE, "Report", "What does the whole report say, and who was left out on the way?", reference(report_model()))
for _question in QUESTIONS.values():
    _offer(
        _question.name,
        _camel(_question),
        _question.title,
        reference(frame_model(_question.answer_type)),
        _question.options_type,
    )


@router.post(
    "/v1/analyses",
    operation_id="askUnstored",
    summary="What does the whole report say of data that are not stored?",
    openapi_extra=reads({JSON: reference(Unstored)}, "The protocol and the whole cohort."),
    responses={
        200: answers("The whole report; study and revision are null.", reference(report_model())),
        **refuses(reading=True),
    },
)
def ask_unstored(body: JsonBody, now: Now, options: Asked) -> Response:
    """The whole report on the timelines in the body. Nothing is stored."""
    asked = read_model(body, Unstored, latest(now))
    protocol = protocol_of(asked.protocol)
    cohort = Cohort.of_histories(_histories(asked, latest(now)), asked.time_zone)
    header = Header(study=None, revision=None, as_of=None, provenance=provenance(protocol, cohort, None))
    return Response(compute(WHOLE, header, cohort, protocol, options), media_type=JSON)


_TWICE = "The document holds two timelines of one patient."


def _histories(asked: Unstored, latest_instant: int) -> list[History]:
    """The facts of every timeline; what is wrong with any is reported for all."""
    faults: list[Fault] = []
    histories: dict[str, History] = {}
    for index, timeline in enumerate(asked.timelines):
        try:
            history = normalise(timeline, latest_instant)
        except InvalidDocument as invalid:
            faults += [Fault(f"/timelines/{index}{each.pointer}", each.code, each.detail) for each in invalid.faults]
            continue
        if histories.setdefault(history.patient, history) is not history:
            faults.append(Fault(f"/timelines/{index}/patient/id", FaultCode.CONFLICTING_DUPLICATE, _TWICE))
    if faults:
        raise InvalidDocument(faults=faults)
    return list(histories.values())
