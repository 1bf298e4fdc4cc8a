"""The routes of the analyses: each question by GET (with the study's protocol) and by POST (with another protocol), the
report, the report on data that are not stored, and the comparison of two studies.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache, partial
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import Depends, Path, Query, Response
from pydantic import ConfigDict, Field, create_model

from app.access.callers import Caller, Scope
from app.access.study_answers import (
    WHOLE,
    Compute,
    StudyQuestion,
    answer_bytes,
    answer_of_cohort,
    comparison_of_studies,
)
from app.analyses import QUESTIONS, NullOptions, Options, Question
from app.analyses.answer_document import answer_model, report_model
from app.analyses.comparison.study_comparison import BetweenStudies, OtherStudy, StudyComparison
from app.api.protocols import Declared, protocol_of
from app.errors import Erased, Fault, FaultCode, InvalidDocument, NotFound, TakesTooLong
from app.http.answers import Asker, Asking, answer_question, despite_erasure
from app.http.authentication import CallerOf
from app.http.dependencies import IDENTIFIER, At, IfNoneMatch, JsonBody, Now, StudyId, latest
from app.http.openapi import JSON, NOT_MODIFIED, answers, reads, reference, refuses
from app.http.responses import etag_from, matches, tagged
from app.http.routing import Operations
from app.protocol.model import Protocol
from app.readers.json_timelines import read_model
from app.store.audit import everyone_was_read, was_read
from app.store.engine import Database
from app.store.revisions import AsOf
from app.store.snapshot import study_at
from app.submission.native_patients import undeclared_attribute
from app.timeline.cohort import Cohort
from app.timeline.document import Document, Many, Timeline
from app.timeline.normalize import History, normalise
from app.timeline.zones import TimeZone

router = Operations(tags=["analyses"])


@cache
def as_parameters(options_type: type[Options]) -> type[Options]:
    """The options of a question as query parameters, whose values are text."""
    return type("OptionParameters", (options_type,), {"model_config": ConfigDict(strict=False, extra="ignore")})


class OptionParameters(NullOptions):
    """The options of the whole report as query parameters."""

    model_config = ConfigDict(strict=False, extra="ignore")


ReportOptions = Annotated[OptionParameters, Query()]
R_SCRIPT = "text/x-r"


async def _code(
    code: Annotated[
        Literal["R"] | None,
        Query(
            description="`R`: not the answer, but an R script that computes its figures from the datasets of that "
            "revision.",
            examples=["R"],
        ),
    ] = None,
) -> Literal["R"] | None:
    return code


Code = Annotated[Literal["R"] | None, Depends(_code)]
"""A dependency of its own: beside a model of options, a function takes no other query parameter."""


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


def _asked(
    name: str, study: str, at: AsOf, kind: type[Options], options: Options, protocol: Protocol | None = None
) -> tuple[StudyQuestion, Compute]:
    """A question, and what answers it. The options have the type that a worker knows."""
    known = kind.model_construct(options.model_fields_set, **dict(options))
    return StudyQuestion(name, study, at, known, protocol), partial(answer_bytes, name, known)


async def _answer_question(
    asker: Asker, caller: Caller, question: StudyQuestion, compute: Compute, if_none_match: str | None
) -> Response:
    patient = _patient_alone(question.options)
    if question.options.patients or question.name == "what-is-missing":
        caller.require(Scope.READ_PATIENTS)
        everyone_was_read() if patient is None else was_read(question.study, [patient])
    return await answer_question(asker, question, compute, if_none_match)


def _patient_alone(options: Options) -> str | None:
    """The only patient who is listed, if one is named. Raises `InvalidDocument` if nobody is listed."""
    if options.patient is not None and not options.patients:
        detail = "One patient is listed with `patients=true` only."
        raise InvalidDocument(faults=[Fault("/query/patient", FaultCode.CONTRADICTION, detail)])
    return options.patient


def _get_handler(name: str, options_type: type[Options]) -> Callable[..., Awaitable[Response]]:
    async def handler(
        study: StudyId,
        asker: Asking,
        caller: CallerOf,
        at: At,
        options: Annotated[as_parameters(options_type), Query()],  # type: ignore[valid-type]
        code: Code,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        if code is not None:
            question, _ = _asked(name, study, at, options_type, options)
            return await run_sync(_script, asker, question, if_none_match)
        return await _answer_question(asker, caller, *_asked(name, study, at, options_type, options), if_none_match)

    return handler


def _script(asker: Asker, question: StudyQuestion, if_none_match: str | None) -> Response:
    """The R script of a question. It has the names of datasets and nothing of a patient."""
    with study_at(asker.state.database, question.study, question.at) as snapshot:
        revision, protocol, origin = snapshot.revision, snapshot.protocol, snapshot.tag()
    written = asker.state.script(question.name, question.study, revision, protocol, question.options)
    tag = etag_from("R", question.name, *origin, question.options.model_dump(mode="json"))
    return tagged(written, tag, if_none_match, R_SCRIPT)


def _post_handler(name: str, options_type: type[Options]) -> Callable[..., Awaitable[Response]]:
    async def handler(
        study: StudyId,
        asker: Asking,
        caller: CallerOf,
        body: JsonBody,
        at: At,
        options: Annotated[as_parameters(options_type), Query()],  # type: ignore[valid-type]
    ) -> Response:
        protocol = await run_sync(_other_protocol, body)
        asked = _asked(name, study, at, options_type, options, protocol)
        return await _answer_question(asker, caller, *asked, None)

    return handler


def _other_protocol(body: bytes) -> Protocol:
    return protocol_of(read_model(body, WhatIf).protocol)


def _add_routes(
    name: str, operation: str, title: str, answered: dict[str, Any], options_type: type[Options] = Options
) -> None:
    """Add the routes of one question: GET and POST. The report has only GET."""
    read = answers("The answer.", answered, "ETag")
    read["content"][R_SCRIPT] = {"schema": {"type": "string"}}
    path = f"/v1/studies/{{study}}/{name}" if name == WHOLE else f"/v1/studies/{{study}}/{WHOLE}/{name}"
    router.get(
        path,
        operation_id=f"get{operation}",
        summary=title,
        description=f"{title} From the study's data and protocol at one revision, by default the latest. "
        "The same revision, protocol, options and version of the software give the same bytes and the same ETag.",
        responses={
            200: read,
            304: NOT_MODIFIED,
            **refuses(NotFound, Erased, TakesTooLong),
        },
    )(_get_handler(name, options_type))
    if name == WHOLE:
        return
    router.post(
        path,
        operation_id=f"ask{operation}",
        summary=f"{title} With another protocol",
        description=f"{title} From the study's data at one revision, with the protocol in the body. Nothing is stored.",
        openapi_extra=reads({JSON: reference(WhatIf)}, "The protocol to use."),
        responses={
            200: answers("The answer.", answered, "ETag"),
            **refuses(NotFound, Erased, TakesTooLong, reading=True),
        },
    )(_post_handler(name, options_type))


def _camel(question: Question) -> str:
    return "".join(word.capitalize() for word in question.name.split("-"))


_add_routes(
    WHOLE, "Report", "What does the whole report say, and who was left out?", reference(report_model()), NullOptions
)
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
        **refuses(TakesTooLong, reading=True),
    },
)
async def ask_unstored(body: JsonBody, now: Now, asker: Asking, options: ReportOptions) -> Response:
    """The whole report on the timelines in the body. Nothing is stored."""
    _patient_alone(options)
    cohort, protocol = await run_sync(_unstored_cohort, body, latest(now))
    known = NullOptions.model_construct(options.model_fields_set, **dict(options))
    tag = etag_from(hashlib.sha256(body).hexdigest(), known.model_dump(mode="json"))
    answer = await asker.computed(tag, partial(answer_of_cohort, cohort, protocol, known))
    return Response(answer, media_type=JSON)


def _unstored_cohort(body: bytes, latest_instant: int) -> tuple[Cohort, Protocol]:
    unstored = read_model(body, Unstored, latest_instant)
    histories, protocol = _histories(unstored, latest_instant), protocol_of(unstored.protocol)
    faults = [
        replace(fault, pointer=f"/timelines/{i}{fault.pointer}")
        for i, history in enumerate(histories)
        if (fault := undeclared_attribute(history, protocol)) is not None
    ]
    if faults:
        raise InvalidDocument(faults=faults)
    return Cohort.of_histories(histories, unstored.time_zone), protocol


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
        **refuses(NotFound, Erased, TakesTooLong),
    },
)
async def compare_studies(
    study: StudyId,
    other: OtherStudyId,
    asker: Asking,
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
    return await despite_erasure(partial(_comparison, asker, (study, at), (other, other_at), options, if_none_match))


Side = tuple[str, AsOf]
"""A study, and which revision of it."""


async def _comparison(
    asker: Asker, side: Side, other_side: Side, options: BetweenStudies, if_none_match: str | None
) -> Response:
    (study, at), (other, other_at) = side, other_side
    found, found_other, origin = await run_sync(_versions, asker.state.database, study, at, other, other_at)
    tag = etag_from("comparisons", *origin, options.model_dump(mode="json"))
    if matches(if_none_match, tag):
        return tagged(b"", tag, if_none_match)
    known = BetweenStudies.model_construct(options.model_fields_set, **dict(options))
    work = partial(comparison_of_studies, study, found, other, found_other, known)
    return tagged(await asker.computed(tag, work, study, other), tag, None)


def _versions(
    database: Database, study: str, at: AsOf, other: str, other_at: AsOf
) -> tuple[AsOf, AsOf, list[tuple[str, int, int, str]]]:
    """The revisions of both studies by their numbers, and what the tag of the answer is made from."""
    with study_at(database, study, at) as first:
        found = first, first.other_study(other, other_at)
        return AsOf(found[0].revision), AsOf(found[1].revision), [each.tag() for each in found]
