"""Reading by FHIR R4: the addresses of single resources, their versions, and searches by GET and by form."""

import re
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

from fastapi import Depends, Path, Query, Request, Response
from pydantic import ValidationError

from app.errors import Accepts, Conflict, Erased, Fault, FaultCode, InvalidDocument, MalformedDocument, NotFound
from app.fhir.openapi_fhir import FhirBundle, FhirResource, answers_fhir, refuses_fhir
from app.fhir.operation_outcome import FHIR_JSON
from app.fhir.search import SearchedStudy, logical_id_of
from app.fhir.search_paging import facade_address, search_page
from app.fhir.search_parameters import (
    REPEATABLE,
    SEARCHES,
    AdverseEventSearch,
    MedicationAdministrationSearch,
    MedicationStatementSearch,
    ObservationSearch,
    PageSearch,
    PatientSearch,
    Presentation,
)
from app.fhir.write_resources import etag_of, history_bundle, resource_of
from app.http.dependencies import IfNoneMatch, Now, State, StudyId, body_of
from app.http.openapi import NOT_MODIFIED, Responses, reads, reference
from app.http.parameters import fields_of
from app.http.problems import parameter_faults
from app.http.responses import matches, written
from app.http.routing import Operations
from app.http.state import AppState
from app.store.snapshot import study_at
from app.timeline.resource import StoredResource, SupportedType
from app.timeline.times import EPOCH

router = Operations(tags=["fhir"])
FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 100
_GONE = "The resource has been withdrawn; `_history` shows its earlier versions."

Shown = Annotated[Presentation, Query()]


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
Search = TypeVar("Search", bound=PageSearch)


def _reader(resource: SupportedType) -> Callable[..., Response]:
    def read(
        study: StudyId,
        logical_id: LogicalId,
        state: State,
        now: Now,
        presentation: Shown,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        del presentation
        versions = _versions(state, study, resource, logical_id, now)
        return _shown(next(each for each in versions if not each.late), logical_id, if_none_match)

    return read


def _version_reader(resource: SupportedType) -> Callable[..., Response]:
    def read_version(
        study: StudyId,
        logical_id: LogicalId,
        version: Version,
        state: State,
        now: Now,
        presentation: Shown,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        del presentation
        for each in _versions(state, study, resource, logical_id, now):
            if each.version == version:
                return _shown(each, logical_id, if_none_match)
        raise NotFound("The resource has no version of this number.")

    return read_version


def _history_reader(resource: SupportedType) -> Callable[..., Response]:
    def read_history(
        request: Request, study: StudyId, logical_id: LogicalId, state: State, now: Now, presentation: Shown
    ) -> Response:
        del presentation
        versions = _versions(state, study, resource, logical_id, now)
        base = facade_address(request, study)
        here = f"{base}/{resource}/{logical_id}/_history"
        return Response(written(history_bundle(base, versions, here, logical_id)), media_type=FHIR_JSON)

    return read_history


def _versions(state: AppState, study: str, resource: SupportedType, name: str, now: int) -> list[StoredResource]:
    """The versions of a resource, newest first; `name` is our identifier or a client id. Raises `NotFound`."""
    with study_at(state.database, study) as snapshot:
        alias = SearchedStudy(snapshot, state.settings.secret, now).client_id(resource, name)
        versions = snapshot.versions(resource, name if alias is None else logical_id_of(alias))
    if not versions:
        raise NotFound
    return versions


def version_headers(resource: StoredResource) -> dict[str, str]:
    """ETag and Last-Modified of a version of a resource."""
    received = EPOCH + timedelta(microseconds=resource.received_at)
    return {"ETag": etag_of(resource), "Last-Modified": format_datetime(received, usegmt=True)}


def _shown(version: StoredResource, name: str, if_none_match: str | None) -> Response:
    """One version as an answer, or 304 if the client has it. Raises `Erased` if the resource is gone."""
    if version.gone:
        raise Erased(_GONE)
    headers = version_headers(version)
    if matches(if_none_match, f'"{version.version}"'):
        return Response(status_code=304, headers=headers)
    return Response(written(resource_of(version, name)), headers=headers, media_type=FHIR_JSON)


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
    "A version that arrived after a newer one has the tag `late`; it was never the current version."
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
        return _page(request, state, study, resource, _of_form(body, model), now)

    return search_by_form


def _page(
    request: Request, state: AppState, study: str, resource: SupportedType, query: PageSearch, now: int
) -> Response:
    return Response(written(search_page(request, state, study, resource, query, now)), media_type=FHIR_JSON)


def _of_form(body: bytes, model: type[Search]) -> Search:
    """The search parameters of a form. Raises `MalformedDocument` and `InvalidDocument`."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise MalformedDocument(faults=[Fault("", FaultCode.MALFORMED)]) from None
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    declared = dict(fields_of(model))
    known = {name for _, name in declared}
    faults = []
    if not known >= given.keys():
        faults.append(Fault("/query", FaultCode.UNKNOWN_PARAMETER, None, Accepts(one_of=tuple(sorted(known)))))
    faults += [
        Fault(f"/query/{name}", FaultCode.REPEATED_PARAMETER)
        for name, values in given.items()
        if len(values) > 1 and name in known - REPEATABLE
    ]
    if faults:
        raise InvalidDocument(faults=faults)
    try:
        return model.model_validate(
            {name: values if name in REPEATABLE else values[0] for name, values in given.items()}
        )
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        placed = [{**each, "loc": ("query", *each["loc"])} for each in found]
        raise InvalidDocument(faults=parameter_faults(placed, declared)) from None


_FOUND: Responses = {
    200: answers_fhir(
        "A page of resources. All pages of a search come from one revision, even if data are stored meanwhile.",
        FhirBundle,
    ),
    **refuses_fhir(NotFound, Erased, Conflict, MalformedDocument),
}
_ABOUT_SEARCHING = (
    "The current resources that meet every parameter, in a fixed order. Withdrawn resources are left out unless "
    "`status` names their status. Other parameters, such as `_sort`, are refused. The link `next` leads to the next "
    "page."
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
