"""The routes of the analyses: each question by GET (with the study's protocol) and by POST (with another protocol), the
report, the report on data that are not stored, and the comparison of two studies.
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
from app.store.audit import everyone_was_read
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.cohort import Cohort
from app.timeline.document import Document, Many, Timeline
from app.timeline.normalize import History, normalise

router = APIRouter(tags=["analyses"], dependencies=[COMPUTES])
WHOLE = "analyses"


@cache
def as_parameters(options_type: type[Options]) -> type[Options]:
    """The options of a question as query parameters, whose values are text."""
    return type("OptionParameters", (options_type,), {"model_config": ConfigDict(strict=False, extra="ignore")})


class OptionParameters(Options):
    """The options of the whole report as query parameters."""

    model_config = ConfigDict(strict=False, extra="ignore")


ReportOptions = Annotated[OptionParameters, Query()]


class WhatIf(Document):
    """The protocol to use instead of the study's own."""

    protocol: Declared = Field(description="Name of a preset, or the definitions themselves.", examples=["relative-20"])


class Unstored(Document):
    """A cohort and its protocol. Nothing of it is stored."""

    protocol: Declared = Field(description="Name of a preset, or the definitions themselves.", examples=["seed-2008"])
    time_zone: TimeZone | None = Field(
        default=None,
        max_length=64,
        description="IANA name of the time zone in which days are counted.",
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

    if question.options.patients or question.name == "what-is-missing":
        everyone_was_read()
    return answer_question(state, question, answer, if_none_match)


def _get_handler(name: str, options_type: type[Options]) -> Callable[..., Response]:
    def handler(
        study: StudyId,
        state: State,
        at: At,
        options: Annotated[as_parameters(options_type), Query()],  # type: ignore[valid-type]
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        return _answer_question(state, StudyQuestion(name, study, at, options), if_none_match)

    return handler


def _post_handler(name: str, options_type: type[Options]) -> Callable[..., Response]:
    def handler(
        study: StudyId,
        state: State,
        body: JsonBody,
        at: At,
        options: Annotated[as_parameters(options_type), Query()],  # type: ignore[valid-type]
    ) -> Response:
        protocol = protocol_of(read_model(body, WhatIf).protocol)
        return _answer_question(state, StudyQuestion(name, study, at, options, protocol), None)

    return handler


def _add_routes(
    name: str, operation: str, title: str, answered: dict[str, Any], options_type: type[Options] = Options
) -> None:
    """Add the routes of one question: GET and POST. The report has only GET."""
    path = f"/v1/studies/{{study}}/{name}" if name == WHOLE else f"/v1/studies/{{study}}/{WHOLE}/{name}"
    router.get(
        path,
        operation_id=f"get{operation}",
        summary=title,
        description=f"{title} From the study's data and protocol at one revision, by default the latest. "
        "The same revision, protocol, options and version of the software give the same bytes and the same ETag.",
        responses={200: answers("The answer.", answered, "ETag"), 304: NOT_MODIFIED, **refuses(NotFound, Erased)},
    )(_get_handler(name, options_type))
    if name == WHOLE:
        return
    router.post(
        path,
        operation_id=f"ask{operation}",
        summary=f"{title} With another protocol",
        description=f"{title} From the study's data at one revision, with the protocol in the body. Nothing is stored.",
        openapi_extra=reads({JSON: reference(WhatIf)}, "The protocol to use."),
        responses={200: answers("The answer.", answered, "ETag"), **refuses(NotFound, Erased, reading=True)},
    )(_post_handler(name, options_type))


def _camel(question: Question) -> str:
    return "".join(word.capitalize() for word in question.name.split("-"))


_add_routes(WHOLE, "Report", "What does the whole report say, and who was left out?", reference(report_model()))
for _question in QUESTIONS.values():
    _add_routes(
        _question.name,
        _camel(_question),
        _question.title,
        reference(answer_model(_question.answer_type)),
        _question.options_type,
    )


@router.post(
    "/v1/analyses",
    operation_id="askUnstored",
    summary="What does the whole report say about data that are not stored?",
    openapi_extra=reads({JSON: reference(Unstored)}, "The protocol and the whole cohort."),
    responses={
        200: answers("The whole report; study and revision are null.", reference(report_model())),
        **refuses(reading=True),
    },
)
def ask_unstored(body: JsonBody, now: Now, options: ReportOptions) -> Response:
    """The whole report on the timelines in the body. Nothing is stored."""
    unstored = read_model(body, Unstored, latest(now))
    protocol = protocol_of(unstored.protocol)
    cohort = Cohort.of_histories(_histories(unstored, latest(now)), unstored.time_zone)
    header = Header(study=None, revision=None, as_of=None, provenance=provenance(protocol, cohort, None))
    return Response(compute(WHOLE, header, cohort, protocol, options), media_type=JSON)


_TWICE = "The document holds two timelines of one patient."


def _histories(unstored: Unstored, latest_instant: int) -> list[History]:
    """The facts of every timeline. Raises `InvalidDocument` with the faults of all timelines."""
    faults: list[Fault] = []
    histories: dict[str, History] = {}
    for index, timeline in enumerate(unstored.timelines):
        try:
            history = normalise(timeline, latest_instant)
        except InvalidDocument as invalid:
            faults += [each.at(f"/timelines/{index}{each.pointer}") for each in invalid.faults]
            continue
        if histories.setdefault(history.patient, history) is not history:
            faults.append(Fault(f"/timelines/{index}/patient/id", FaultCode.CONFLICTING_DUPLICATE, _TWICE))
    if faults:
        raise InvalidDocument(faults=faults)
    return list(histories.values())


class OtherStudy(Header):
    """The other study: its revision, its provenance and its own protocol."""

    declared_protocol: str = Field(
        description="Digest of the other study's own protocol, which is not used here.",
        examples=["sha256:6f29e5f4..."],
    )


class BetweenStudiesParameters(BetweenStudies):
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
        description="Revision of the other study; without it, the one at `as_of`, or the latest.",
        examples=[12],
    ),
]

DESCRIPTION = (
    "Compares the rates, ratios and changes of two studies. The protocol of the first study is used for both. "
    "`revision` and `as_of` select the revision of the first study, `other_revision` that of the other study. The "
    "same revisions, protocol, options and version of the software give the same bytes and the same ETag."
)


Side = tuple[StudyAt, Cohort, bool]
"""A study, its cohort, and whether the protocol in use was declared after its first outcome had arrived."""


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
                    __doc__="The comparison of two studies, the first with the other.",
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
    options: Annotated[BetweenStudiesParameters, Query()],
    other_revision: OtherRevision = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read both studies in one snapshot of the database. The answer is not kept in memory, because an erasure in one
    of the studies would not remove it.
    """
    if study == other:
        raise InvalidDocument(
            faults=[Fault("/path/other", FaultCode.CONTRADICTION, "A study is not compared with itself.")]
        )
    other_at = AsOf(other_revision, at.received_by if other_revision is None else None)
    with study_at(state.database, study, at) as first:
        second = first.other_study(other, other_at)
        tag = etag_from("comparisons", _version(first), _version(second), options.model_dump(mode="json"))
        if matches(if_none_match, tag):
            return tagged(b"", tag, if_none_match)
        sides = _side(first, first.protocol), _side(second, first.protocol)
    return tagged(_comparison(*sides, options), tag, None)


def _side(study: StudyAt, protocol: Protocol) -> Side:
    cohort = study.cohort()
    return study, cohort, declared_after_first_outcome(study, cohort, protocol)


def _comparison(of_first: Side, of_second: Side, options: BetweenStudies) -> bytes:
    """The answer, with the provenance of both studies."""
    (first, cohort, changed), (second, other_cohort, other_changed) = of_first, of_second
    protocol, digest = first.protocol, second.declared.protocol_digest
    same = digest == first.declared.protocol_digest
    names = NamedCohort(first.id, cohort), NamedCohort(second.id, other_cohort)
    answer = study_comparison(*names, protocol, options, same_protocol=same)
    other_header = header(second, other_cohort, protocol, changed=other_changed)
    other = OtherStudy(**dict(other_header), declared_protocol=digest)
    return answer_json(header(first, cohort, protocol, changed=changed), answer, other=other)


def _version(study: StudyAt) -> tuple[str, int, int, str]:
    return study.tag()
