"""The addresses of the FHIR facade for a whole study: its capability statement, and its rates as MeasureReports."""

from functools import partial
from typing import Annotated

from fastapi import Path, Query, Request, Response

from app.access.study_answers import StudyQuestion
from app.analyses import Options
from app.errors import Erased, NotFound, TakesTooLong
from app.fhir import read_administration, read_medication, read_observation, read_order
from app.fhir.capability_statement import SearchParameter, Statuses, capability_statement
from app.fhir.measure_report import measured
from app.fhir.openapi_fhir import FhirResource, answers_fhir, refuses_fhir
from app.fhir.operation_outcome import FHIR_JSON
from app.fhir.search_paging import facade_address
from app.fhir.search_parameters import SEARCHES, PageSearch, Presentation
from app.http.answers import Asking, answer_question
from app.http.dependencies import IDENTIFIER, At, IfNoneMatch, Store, StudyId
from app.http.openapi import NOT_MODIFIED
from app.http.problems import unknown_name
from app.http.responses import written
from app.http.routing import Operations
from app.store.snapshot import study_at

router = Operations(tags=["fhir"])
MEASURED = ("response-rates", "adverse-reactions", "improvement-score", "definition-of-improvement")
"""The analyses with rates, which can be read as a MeasureReport."""
Analysis = Annotated[
    str, Path(max_length=64, pattern=IDENTIFIER, description="Name of the analysis.", examples=["response-rates"])
]
_STATUSES = Statuses(
    read_observation.STATUSES, read_administration.STATUSES, read_medication.STATUSES, read_order.ORDER_STATUSES
)
_TYPES = {
    "_id": "token",
    "_lastUpdated": "date",
    "identifier": "token",
    "patient": "reference",
    "subject": "reference",
    "category": "token",
    "code": "token",
    "date": "date",
    "effective-time": "date",
    "status": "token",
}
"""The FHIR types of the search parameters. Parameters of paging and chained parameters are not listed."""


@router.get(
    "/fhir/{study}/metadata",
    operation_id="fhirCapabilities",
    summary="Read the CapabilityStatement of a study",
    responses={200: answers_fhir("The CapabilityStatement.", FhirResource), **refuses_fhir(NotFound)},
)
def read_capabilities(
    request: Request, study: StudyId, store: Store, presentation: Annotated[Presentation, Query()]
) -> Response:
    """The CapabilityStatement: resources, interactions, search parameters, and the mappings of codes and statuses. The
    study's own codes are included.
    """
    del presentation
    with study_at(store, study) as snapshot:
        declared = snapshot.declared
    statement = capability_statement(
        facade_address(request, study),
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
        **refuses_fhir(NotFound, Erased, TakesTooLong),
    },
)
async def read_measure_report(
    study: StudyId,
    analysis: Analysis,
    asker: Asking,
    at: At,
    presentation: Annotated[Presentation, Query()],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Response rates, rates of adverse reactions, or rates of improvement: the counts and rates of the native analysis
    at one revision, with the study's protocol. The same revision gives the same bytes.
    """
    del presentation
    if analysis not in MEASURED:
        raise unknown_name(MEASURED)
    question = StudyQuestion(f"MeasureReport/{analysis}", study, at, Options())
    return await answer_question(asker, question, partial(measured, analysis), if_none_match, FHIR_JSON)
