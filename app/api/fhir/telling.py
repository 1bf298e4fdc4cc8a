"""What the FHIR facade says of the whole study: its capability statement, and its rates as MeasureReports."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from app.analyses import Options, answer
from app.api.analyses import Inquiry, provenance
from app.api.dependencies import IDENTIFIER, IfNoneMatch, Now, Parts, Point, Store, StudyId
from app.api.documentation import NOT_MODIFIED
from app.api.fhir.described import FhirResource, answers_fhir, refuses_fhir
from app.api.fhir.outcomes import FHIR_JSON
from app.api.fhir.parameters import SEARCHES, PageSearch, Presentation
from app.api.fhir.walks import base_of
from app.api.replies import matches, written
from app.errors import Erased, NotFound
from app.ingest.fhir import administrations, observations
from app.report.capabilities import SearchParameter, Statuses, capability_statement
from app.report.document import Header
from app.report.measure_report import measure_report
from app.store import revisions, studies, timelines
from app.timeline.cohort import NO_TIME, Cohort
from app.timeline.times import DAY_MICROSECONDS, day_text, instant_text

router = APIRouter()
MEASURED = ("response-rates", "adverse-reactions", "improvement-score", "definition-of-improvement")
"""The analyses that are rates."""
Analysis = Annotated[
    str, Path(max_length=64, pattern=IDENTIFIER, description="Name of the analysis.", examples=["response-rates"])
]
_STATUSES = Statuses(observations.STATUSES, administrations.STATUSES)
_TYPES = {
    "_id": "token",
    "_lastUpdated": "date",
    "identifier": "token",
    "patient": "reference",
    "subject": "reference",
    "code": "token",
    "date": "date",
    "effective-time": "date",
    "status": "token",
}
"""The FHIR types of the search parameters; the others say how an answer is given, or look into a patient."""


@router.get(
    "/fhir/{study}/metadata",
    operation_id="fhirCapabilities",
    summary="Say what the FHIR facade of a study can do",
    responses={200: answers_fhir("The CapabilityStatement.", FhirResource), **refuses_fhir(NotFound)},
)
def read_capabilities(
    request: Request, study: StudyId, store: Store, presentation: Annotated[Presentation, Query()]
) -> Response:
    """The CapabilityStatement: resources, interactions and search parameters; and how codes and statuses are mapped,
    the study's own codes among them.
    """
    del presentation
    with store.reading() as connection:
        declared = studies.get_study(connection, study)
    statement = capability_statement(
        base_of(request, study),
        study=study,
        local_codes=declared.feeds.local_codes,
        searches={name: _parameters(model) for name, model in SEARCHES.items()},
        statuses=_STATUSES,
        analyses=MEASURED,
    )
    return Response(written(statement), media_type=FHIR_JSON)


def _parameters(model: type[PageSearch]) -> list[SearchParameter]:
    return [
        SearchParameter(field.alias, _TYPES[field.alias], field.description or "")
        for field in model.model_fields.values()
        if field.alias in _TYPES
    ]


@router.get(
    "/fhir/{study}/MeasureReport/{analysis}",
    operation_id="fhirReadMeasureReport",
    summary="Read rates of a study as a MeasureReport",
    responses={
        200: answers_fhir("The MeasureReport.", FhirResource, "ETag"),
        304: NOT_MODIFIED,
        **refuses_fhir(NotFound, Erased),
    },
)
def read_measure_report(
    study: StudyId,
    analysis: Analysis,
    parts: Parts,
    now: Now,
    at: Point,
    presentation: Annotated[Presentation, Query()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Response rates, rates of adverse reactions or of improvement: the counts and rates of the native analysis at one
    revision, with the study's protocol. The same revision gives the same bytes.
    """
    del presentation
    if analysis not in MEASURED:
        raise NotFound
    inquiry = Inquiry(f"MeasureReport/{analysis}", study, at, Options())
    erasures = parts.answers.erasures(study)
    with parts.database.reading() as connection:
        point = revisions.resolve(connection, study, revision=at.revision, as_of=at.as_of, now=now)
        protocol = studies.get_study(connection, study, point.number).protocol
        tag = inquiry.tag(point, protocol.digest)
        body = b"" if matches(if_none_match, tag) else parts.answers.get(tag)
        if body is None:
            cohort = timelines.cohort(connection, study, point.number)
            changed = studies.protocol_changed_after_first_outcome(connection, study, point.number)
    if body is None:
        as_of = instant_text(point.received_at)
        header = Header(
            study=study, revision=point.number, as_of=as_of, provenance=provenance(protocol, cohort, changed)
        )
        days = _days(cohort, point.received_at // DAY_MICROSECONDS)
        body = written(measure_report(header, answer(analysis, cohort, protocol, inquiry.options), days))
        parts.answers.keep(study, tag, body, erasures)
    headers = {"ETag": tag}
    return Response(body, headers=headers, media_type=FHIR_JSON) if body else Response(status_code=304, headers=headers)


def _days(cohort: Cohort, otherwise: int) -> tuple[str, str]:
    """The first and the last day that the data speak of."""
    tables = (cohort.labs, cohort.assessments, cohort.infusions, cohort.events)
    known = [table.day[table.day != NO_TIME] for table in tables]
    ends = [int(end) for days in known if len(days) for end in (days.min(), days.max())] or [otherwise]
    return day_text(min(ends)), day_text(max(ends))
