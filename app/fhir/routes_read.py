"""Reading by FHIR R4: the addresses of single resources, their versions, and searches by GET and by form."""

import re
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response

from app.errors import Conflict, Erased, MalformedDocument, NotFound
from app.fhir.history_paging import history_page
from app.fhir.openapi_fhir import FhirBundle, FhirResource, answers_fhir, refuses_fhir
from app.fhir.operation_outcome import FHIR_JSON
from app.fhir.reading import current_version, one_version, parameters_of, shown, version_headers
from app.fhir.search_paging import search_page
from app.fhir.search_parameters import (
    SEARCHES,
    AdverseEventSearch,
    MedicationAdministrationSearch,
    MedicationRequestSearch,
    MedicationStatementSearch,
    ObservationSearch,
    PageSearch,
    PatientSearch,
    Presentation,
    ReadPresentation,
    VersionsPage,
)
from app.http.dependencies import IfNoneMatch, Now, State, StudyId, body_of
from app.http.openapi import NOT_MODIFIED, Responses, reads, reference
from app.http.responses import matches, written
from app.http.routing import Operations
from app.http.state import AppState
from app.timeline.resource import StoredResource, SupportedType

router = Operations(tags=["fhir"])
FORM = "application/x-www-form-urlencoded"

Shown = Annotated[Presentation, Query()]
ShownInPart = Annotated[ReadPresentation, Query()]


async def _form(request: Request) -> bytes:
    """The bytes of a form. Its media type may have the parameter `charset=utf-8`, which some clients send."""
    given = request.headers.getlist("content-type")
    coded = "content-encoding" in request.headers
    if len(given) == 1 and not coded and _FORM.fullmatch(given[0].strip()) is not None:
        return await request.body()
    return await _plain_form(request)


_FORM = re.compile(rf'{re.escape(FORM)} *; *charset="?utf-8"?', re.IGNORECASE)
_plain_form = body_of(FORM)
FormBody = Annotated[bytes, Depends(_form)]
LogicalId = Annotated[
    str,
    Path(
        alias="id",
        max_length=64,
        pattern=r"^[A-Za-z0-9\-.]+$",
        description="Identifier of the resource: the one that this service gave, or a client id.",
        examples=["g2v7k5mdyq3ha-x2uqyyj6cwmq7yzwn3tjqkdvqe"],
    ),
]
Version = Annotated[
    str,
    Path(
        max_length=64,
        pattern=r"^[A-Za-z0-9\-.]+$",
        description="Version of the resource: the revision of the study that stored it.",
        examples=["17"],
    ),
]


def _reader(resource: SupportedType) -> Callable[..., Response]:
    def read(
        study: StudyId,
        logical_id: LogicalId,
        state: State,
        now: Now,
        presentation: ShownInPart,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        current = current_version(state, study, resource, logical_id, now)
        return _shown(current, logical_id, presentation, if_none_match)

    return read


def _version_reader(resource: SupportedType) -> Callable[..., Response]:
    def read_version(
        study: StudyId,
        logical_id: LogicalId,
        version: Version,
        state: State,
        now: Now,
        presentation: ShownInPart,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        named = one_version(state, study, resource, logical_id, version, now)
        return _shown(named, logical_id, presentation, if_none_match)

    return read_version


def _history_reader(resource: SupportedType) -> Callable[..., Response]:
    def read_history(
        request: Request,
        study: StudyId,
        logical_id: LogicalId,
        state: State,
        now: Now,
        query: Annotated[VersionsPage, Query()],
    ) -> Response:
        page = history_page(request, state, study, resource, logical_id, query, now)
        return Response(written(page), media_type=FHIR_JSON)

    return read_history


def _shown(version: StoredResource, name: str, presentation: ReadPresentation, if_none_match: str | None) -> Response:
    """One version as an answer, or 304 if the client has it. Raises `Erased` if the resource is gone."""
    document = shown(version, name, presentation.elements)
    headers = version_headers(version)
    if matches(if_none_match, f'"{version.version}"'):
        return Response(status_code=304, headers=headers)
    return Response(written(document), headers=headers, media_type=FHIR_JSON)


_READ: Responses = {
    200: answers_fhir("The resource.", FhirResource, "ETag"),
    304: NOT_MODIFIED,
    **refuses_fhir(NotFound, Erased),
}
_ABOUT_READING = (
    "The current version of the resource. A resource that was entered in error or cancelled is shown with that "
    "status. 410 if R4 has no such status (AdverseEvent), if a timeline was replaced without the fact, or if the "
    "person has been erased."
)
_ABOUT_VERSIONS = (
    "Every version of the resource, newest first: all statements of the fact, each with the revision that stored it. "
    "A version that arrived after a newer one has the tag `late`; it was never the current version. `request.method` "
    "says how a version was made; the entry of a DELETE has no resource. The link `next` leads to older versions."
)
for _type in SEARCHES:
    _home = f"/fhir/{{study}}/{_type}/{{id}}"
    router.add_api_route(
        _home,
        _reader(_type),
        methods=["GET"],
        operation_id=f"fhirRead{_type}",
        summary=f"Read a resource {_type}",
        description=_ABOUT_READING,
        responses=_READ,
    )
    router.add_api_route(
        f"{_home}/_history",
        _history_reader(_type),
        methods=["GET"],
        operation_id=f"fhirHistoryOf{_type}",
        summary=f"List the versions of a resource {_type}",
        description=_ABOUT_VERSIONS,
        responses={200: answers_fhir("The versions, as a bundle.", FhirBundle), **refuses_fhir(NotFound, Erased)},
    )
    router.add_api_route(
        f"{_home}/_history/{{version}}",
        _version_reader(_type),
        methods=["GET"],
        operation_id=f"fhirReadVersionOf{_type}",
        summary=f"Read a version of a resource {_type}",
        description="One version of the resource.",
        responses=_READ,
    )


def _form_search(resource: SupportedType, model: type[PageSearch]) -> Callable[..., Response]:
    def search_by_form(
        request: Request, study: StudyId, state: State, body: FormBody, now: Now, presentation: Shown
    ) -> Response:
        del presentation
        return _page(request, state, study, resource, parameters_of(body, model), now)

    return search_by_form


def _page(
    request: Request, state: AppState, study: str, resource: SupportedType, query: PageSearch, now: int
) -> Response:
    return Response(written(search_page(request, state, study, resource, query, now)), media_type=FHIR_JSON)


_FOUND: Responses = {
    200: answers_fhir(
        "A page of resources. All pages of a search come from one revision, even if data are stored meanwhile.",
        FhirBundle,
    ),
    **refuses_fhir(NotFound, Erased, Conflict, MalformedDocument),
}
_ABOUT_SEARCHING = (
    "The current resources that meet every parameter. Withdrawn resources are left out unless `status` names their "
    "status. Other parameters, such as `_include`, are refused. The link `next` leads to the next page."
)


@router.get(
    "/fhir/{study}/Patient",
    operation_id="fhirSearchPatient",
    summary="Search resources Patient",
    description=_ABOUT_SEARCHING,
    responses=_FOUND,
)
def search_patients(
    request: Request, study: StudyId, state: State, now: Now, query: Annotated[PatientSearch, Query()]
) -> Response:
    """Patients."""
    return _page(request, state, study, "Patient", query, now)


@router.get(
    "/fhir/{study}/Observation",
    operation_id="fhirSearchObservation",
    summary="Search resources Observation",
    description=_ABOUT_SEARCHING,
    responses=_FOUND,
)
def search_observations(
    request: Request, study: StudyId, state: State, now: Now, query: Annotated[ObservationSearch, Query()]
) -> Response:
    """Laboratory results, then assessments."""
    return _page(request, state, study, "Observation", query, now)


@router.get(
    "/fhir/{study}/MedicationAdministration",
    operation_id="fhirSearchMedicationAdministration",
    summary="Search resources MedicationAdministration",
    description=_ABOUT_SEARCHING,
    responses=_FOUND,
)
def search_administrations(
    request: Request, study: StudyId, state: State, now: Now, query: Annotated[MedicationAdministrationSearch, Query()]
) -> Response:
    """Infusions."""
    return _page(request, state, study, "MedicationAdministration", query, now)


@router.get(
    "/fhir/{study}/MedicationStatement",
    operation_id="fhirSearchMedicationStatement",
    summary="Search resources MedicationStatement",
    description=_ABOUT_SEARCHING,
    responses=_FOUND,
)
def search_statements(
    request: Request, study: StudyId, state: State, now: Now, query: Annotated[MedicationStatementSearch, Query()]
) -> Response:
    """Other drugs over time."""
    return _page(request, state, study, "MedicationStatement", query, now)


@router.get(
    "/fhir/{study}/MedicationRequest",
    operation_id="fhirSearchMedicationRequest",
    summary="Search resources MedicationRequest",
    description=_ABOUT_SEARCHING,
    responses=_FOUND,
)
def search_orders(
    request: Request, study: StudyId, state: State, now: Now, query: Annotated[MedicationRequestSearch, Query()]
) -> Response:
    """Orders of other drugs."""
    return _page(request, state, study, "MedicationRequest", query, now)


@router.get(
    "/fhir/{study}/AdverseEvent",
    operation_id="fhirSearchAdverseEvent",
    summary="Search resources AdverseEvent",
    description=_ABOUT_SEARCHING,
    responses=_FOUND,
)
def search_events(
    request: Request, study: StudyId, state: State, now: Now, query: Annotated[AdverseEventSearch, Query()]
) -> Response:
    """Adverse events."""
    return _page(request, state, study, "AdverseEvent", query, now)


for _type, _model in SEARCHES.items():
    router.add_api_route(
        f"/fhir/{{study}}/{_type}/_search",
        _form_search(_type, _model),
        methods=["POST"],
        operation_id=f"fhirSearch{_type}ByForm",
        summary=f"Search resources {_type} by a form",
        description="The same search with its parameters in the body, so that a hospital's identifiers do not "
        "appear in addresses and logs. " + _ABOUT_SEARCHING,
        openapi_extra=reads({FORM: reference(_model)}, "The search parameters."),
        responses={**_FOUND, **refuses_fhir(NotFound, Erased, Conflict, reading=True)},
    )
