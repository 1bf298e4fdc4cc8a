"""The questions: each by GET with the study's protocol and by POST with another one, the whole report, and two studies
side by side, judged by the same definitions.
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field, create_model

from app.analyses import QUESTIONS, Options, Question, report
from app.analyses import answer as ask
from app.analyses.answer_document import Header, answer_json, answer_model, report_document, report_model
from app.analyses.comparison.study_comparison import BetweenStudies, NamedCohort, StudyComparison, study_comparison
from app.api.protocols import Declared, protocol_of
from app.api.studies import TimeZone
from app.errors import Erased, Fault, FaultCode, InvalidDocument, NotFound
from app.http.answers import StudyQuestion, answer_question, declared_after_first_outcome, header, provenance
from app.http.dependencies import COMPUTES, IDENTIFIER, At, IfNoneMatch, JsonBody, Now, State, StudyId, latest
from app.http.openapi import JSON, NOT_MODIFIED, answers, reads, reference, refuses
from app.http.responses import etag_from, matches, tagged
from app.http.state import AppState
from app.protocol.model import Protocol
from app.readers.json_timelines import read_model
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.cohort import Cohort
from app.timeline.document import Document, Many, Timeline
from app.timeline.normalize import History, normalise

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


def compute(name: str, header: Header, cohort: Cohort, protocol: Protocol, options: Options) -> bytes:
    """The answer to one question, or the whole report."""
    if name == WHOLE:
        return report_document(header, report(cohort, protocol, options))
    return answer_json(header, ask(name, cohort, protocol, options))


def _answer_question(state: AppState, question: StudyQuestion, if_none_match: str | None) -> Response:
    def answer(header: Header, cohort: Cohort, protocol: Protocol) -> bytes:
        return compute(question.name, header, cohort, protocol, question.options)

    return answer_question(state, question, answer, if_none_match)


def _asker(name: str, options_type: type[Options]) -> Callable[..., Response]:
    def asker(
        study: StudyId,
        state: State,
        at: At,
        options: Annotated[as_parameters(options_type), Query()],  # type: ignore[valid-type]
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        return _answer_question(state, StudyQuestion(name, study, at, options), if_none_match)

    return asker


def _what_if_asker(name: str, options_type: type[Options]) -> Callable[..., Response]:
    def asker(
        study: StudyId,
        state: State,
        body: JsonBody,
        at: At,
        options: Annotated[as_parameters(options_type), Query()],  # type: ignore[valid-type]
    ) -> Response:
        protocol = protocol_of(read_model(body, WhatIf).protocol)
        return _answer_question(state, StudyQuestion(name, study, at, options, protocol), None)

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
        reference(answer_model(_question.answer_type)),
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


class OtherStudy(Header):
    """The other study: as it stood when, from what, and the protocol that it declares itself."""

    declared_protocol: str = Field(
        description="Digest of the protocol that the other study declares; the first study's was applied.",
        examples=["sha256:6f29e5f4..."],
    )


class AskedBetween(BetweenStudies):
    """The options of a comparison of two studies as query parameters."""

    model_config = ConfigDict(strict=False, extra="ignore")


OtherStudyId = Annotated[
    str, Path(max_length=64, pattern=IDENTIFIER, description="Identifier of the other study.", examples=["history"])
]
OtherRevision = Annotated[
    int | None,
    Query(
        ge=0,
        le=2**53 - 1,
        description="Read the other study at this revision; without it, as it stood at `as_of`, or as it stands now.",
        examples=[12],
    ),
]

DESCRIPTION = (
    "The rates, ratios and changes of one study against those of another, both judged by the first study's protocol. "
    "`revision` and `as_of` say at which revision the first study is read, `other_revision` says it of the other. The "
    "same revisions, protocol, options and version of the software give the same bytes and the same ETag."
)


Side = tuple[StudyAt, Cohort, bool]
"""A study, its patients, and whether the protocol that judges them was declared after its first outcome had arrived."""


@router.get(
    "/v1/studies/{study}/comparisons/{other}",
    operation_id="compareStudies",
    summary="Do two studies respond differently?",
    description=DESCRIPTION,
    responses={
        200: answers(
            "The comparison.",
            reference(
                create_model(
                    "StudyComparisonDocument",
                    __base__=answer_model(StudyComparison),
                    __doc__="Two studies side by side, the first against the other.",
                    other=(OtherStudy, Field(description="The other study.")),
                )
            ),
            "ETag",
        ),
        304: NOT_MODIFIED,
        **refuses(NotFound, Erased),
    },
)
def compare_studies(
    study: StudyId,
    other: OtherStudyId,
    state: State,
    at: At,
    asked: Annotated[AskedBetween, Query()],
    other_revision: OtherRevision = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Both studies in one snapshot of the database. Nothing is kept: an answer about two studies would outlive an
    erasure in one of them.
    """
    if study == other:
        raise InvalidDocument(
            faults=[Fault("/path/other", FaultCode.CONTRADICTION, "A study is not compared with itself.")]
        )
    other_at = AsOf(other_revision, at.received_by if other_revision is None else None)
    with study_at(state.database, study, at) as first:
        second = first.beside(other, other_at)
        tag = etag_from("comparisons", _read(first), _read(second), asked.model_dump(mode="json"))
        if matches(if_none_match, tag):
            return tagged(b"", tag, if_none_match)
        sides = _side(first, first.protocol), _side(second, first.protocol)
    return tagged(_compared(*sides, asked), tag, None)


def _side(one: StudyAt, protocol: Protocol) -> Side:
    cohort = one.cohort()
    return one, cohort, declared_after_first_outcome(one, cohort, protocol)


def _compared(of_first: Side, of_second: Side, asked: BetweenStudies) -> bytes:
    """The answer, with what both studies were read from."""
    (first, cohort, changed), (second, other_cohort, other_changed) = of_first, of_second
    protocol, digest = first.protocol, second.declared.protocol_digest
    same = digest == first.declared.protocol_digest
    names = NamedCohort(first.id, cohort), NamedCohort(second.id, other_cohort)
    answer = study_comparison(*names, protocol, asked, same_protocol=same)
    beside = header(second, other_cohort, protocol, changed=other_changed)
    other = OtherStudy(**dict(beside), declared_protocol=digest)
    return answer_json(header(first, cohort, protocol, changed=changed), answer, other=other)


def _read(one: StudyAt) -> tuple[str, int, str, str]:
    return one.id, one.revision, one.as_of, one.declared.protocol_digest
