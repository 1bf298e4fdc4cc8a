"""Writing by FHIR: bundles and single resources are stored, and the answer says of each whether it was.

A location, an ETag and a body always carry the identifier that this service gave a resource; only where the client has
just named it in the address of a PUT does the body repeat that name. Addresses are never made of a client's names.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, cast, get_args

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic_core import to_json

from app.errors import (
    Conflict,
    Erased,
    Fault,
    FaultCode,
    InvalidDocument,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    UnsupportedMediaType,
)
from app.fhir import submit
from app.fhir.openapi_fhir import FhirBundle, FhirResource, answers_fhir, reads_fhir, refuses_fhir
from app.fhir.operation_outcome import FHIR_JSON, SKIPPED_SYSTEM, issue, outcome, refused
from app.fhir.read_patient import identifier_searched
from app.fhir.resolve_entries import ERASE_INSTEAD
from app.fhir.routes_read import LogicalId
from app.fhir.search_parameters import Presentation
from app.fhir.submit import BundleResult, Disposition, EntryResult
from app.fhir.write_resources import resource_of
from app.http.dependencies import IfMatch, Now, OnlyIfAbsent, State, StudyId
from app.http.openapi import JSON, Responses
from app.http.problems import allowed_methods
from app.http.responses import address
from app.readers.pseudonyms import Identifier
from app.readers.statements import Skipped
from app.timeline.resource import StoredResource, SupportedType
from app.timeline.times import EPOCH, instant_text

router = APIRouter(tags=["fhir"])

Return = Literal["minimal", "representation", "OperationOutcome"]
TYPES: tuple[SupportedType, ...] = get_args(SupportedType)
WITHDRAWN_BY_DELETE: tuple[SupportedType, ...] = ("Observation", "MedicationAdministration", "AdverseEvent")
_MEDIA_TYPE = re.compile(
    r'application/(fhir\+)?json(?: *; *(?:charset="?utf-8"?|fhirVersion="?4\.0(?:\.1)?"?))*', re.IGNORECASE
)
_RETURN = re.compile(r"\breturn *= *\"?(minimal|representation|OperationOutcome)\b")
_STATUS: dict[Disposition, int] = {"created": 201, "updated": 200, "unchanged": 200, "deleted": 204, "skipped": 200}
_TEXT: dict[Disposition, str] = {
    "created": "Stored as a new resource.",
    "updated": "Stored as a new version.",
    "unchanged": "Nothing new: what stands is unchanged.",
    "deleted": "Withdrawn.",
}
_WHY_SKIPPED: dict[Skipped, str] = {
    "resource": "Not kept: resources of this kind are not.",
    "code": "Not kept: nothing with this code is.",
    "status": "Not kept: this status says that there is nothing yet, or nothing any more.",
    "value": "Not kept: values of this kind are not.",
    "segment": "Not kept.",
}


async def _fhir_body(request: Request) -> bytes:
    """The bytes of the body, if it is JSON and not encoded."""
    accepted = {"Accept-Post": f"{FHIR_JSON}, {JSON}", "Accept": f"{FHIR_JSON}, {JSON}"}
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType(
            "Send the body without a content coding.", headers=accepted | {"Accept-Encoding": "identity"}
        )
    given = request.headers.getlist("content-type")
    if len(given) != 1 or _MEDIA_TYPE.fullmatch(given[0].strip()) is None:
        raise UnsupportedMediaType(f"Content-Type must be {FHIR_JSON} or {JSON}, of FHIR R4.", headers=accepted)
    return await request.body()


FhirBody = Annotated[bytes, Depends(_fhir_body)]
Format = Annotated[Presentation, Query()]
Prefer = Annotated[
    str | None,
    Header(
        alias="Prefer",
        max_length=200,
        description="`return=minimal`, `return=representation` (the resource as it stands, the default for single "
        "resources) or `return=OperationOutcome`. For bundles, `minimal` is the default.",
        examples=["return=minimal"],
    ),
]
IfNoneExist = Annotated[
    str | None,
    Header(
        alias="If-None-Exist",
        max_length=1_000,
        description="`identifier=system|value`: create only if no resource has this identifier; one that has is "
        "answered with 200 and nothing is stored, several with 412. A laboratory gives one accession number to many "
        "results, and another laboratory to another patient, so the patient and the code in the body are part of what "
        "is looked for. The address of the search may stand before it (`Observation?identifier=...`).",
        examples=["identifier=urn:oid:1.2.3.4|acc-77"],
    ),
]

_STORED: Responses = {
    200: answers_fhir(
        "What stands: nothing was new, or it is a new version. An OperationOutcome where nothing of it is kept.",
        FhirResource,
        "ETag",
        "Location",
    ),
    201: answers_fhir("Stored as a new resource.", FhirResource, "ETag", "Location"),
}


@router.post("/fhir/{study}/", include_in_schema=False)  # as clients write the base of a server
@router.post(
    "/fhir/{study}",
    operation_id="fhirTransaction",
    summary="Store a bundle",
    openapi_extra=reads_fhir(FhirBundle, "A Bundle of type `transaction`, `batch` or `collection`."),
    responses={
        200: answers_fhir("What became of each entry, in the order in which they were sent.", FhirBundle),
        **refuses_fhir(NotFound, MethodNotAllowed, Conflict, Erased, PreconditionFailed, reading=True),
    },
)
def post_bundle(
    request: Request,
    study: StudyId,
    state: State,
    body: FhirBody,
    now: Now,
    presentation: Format,
    prefer: Prefer = None,
) -> Response:
    """Store a bundle. A `transaction` is one revision or, if anything is wrong with any entry, nothing; so is a
    `collection`, whose entries are all merged. Each entry of a `batch` stands for itself. Two entries must not give
    one identifier to two resources, nor one delete what another one puts.

    POST, PUT and DELETE are served, in any order of the entries. GET and PATCH are not: they refuse a transaction, and
    in a batch they are answered 405. What is not kept (other resources, other codes) is no error: its entry is answered
    200 with an OperationOutcome that says why, and the first of these counts all of them. The request may be sent
    again.
    """
    del request, presentation
    result = submit.store_bundle(state.database, study, body, secret=state.settings.secret, now=now)
    return _fhir(_answer_to_bundle(result, _wanted(prefer, "minimal")))


def _create(resource: SupportedType) -> Callable[..., Response]:
    def create(
        request: Request,
        study: StudyId,
        state: State,
        body: FhirBody,
        now: Now,
        presentation: Format,
        if_none_exist: IfNoneExist = None,
        prefer: Prefer = None,
    ) -> Response:
        del presentation
        wanted = None if if_none_exist is None else _condition(if_none_exist, resource)
        if if_none_exist is not None and wanted is None:
            raise InvalidDocument(faults=[Fault("/header/If-None-Exist", FaultCode.UNSUPPORTED)])
        result = submit.create(
            state.database, study, resource, body, if_none_exist=wanted, secret=state.settings.secret, now=now
        )
        return _answer(request, study, result, prefer)

    return create


def _update(resource: SupportedType) -> Callable[..., Response]:
    def update(
        request: Request,
        study: StudyId,
        logical_id: LogicalId,
        state: State,
        body: FhirBody,
        now: Now,
        presentation: Format,
        if_match: IfMatch = None,
        if_none_match: OnlyIfAbsent = None,
        prefer: Prefer = None,
    ) -> Response:
        del presentation
        result = submit.update(
            state.database,
            study,
            resource,
            logical_id,
            body,
            if_match=if_match,
            only_new=if_none_match is not None,
            secret=state.settings.secret,
            now=now,
        )
        return _answer(request, study, result, prefer, logical_id)

    return update


def _withdraw(resource: SupportedType) -> Callable[..., Response]:
    def withdraw(
        study: StudyId,
        logical_id: LogicalId,
        state: State,
        now: Now,
        presentation: Format,
        if_match: IfMatch = None,
    ) -> Response:
        del presentation
        submit.withdraw(
            state.database, study, resource, logical_id, if_match=if_match, secret=state.settings.secret, now=now
        )
        return Response(status_code=204)

    return withdraw


_CREATED_ONCE = (
    "A resource with an identifier (or, without one, the same patient, code and time) that is known is a correction or "
    "a repetition: it is answered 200 with the location of the resource, and the request may be sent again."
)
_UPDATED = (
    "Store a resource under an identifier: the one that this service gave it, or one of the client's own, by which it "
    "can be read and referred to from then on. Patient, code and the sender's identifier of a resource cannot be "
    "changed; a resource without an identifier takes over that of what it updates. If-Match with the ETag of the "
    "version that was read refuses to overwrite a newer one, and so does a lower `meta.versionId` of a resource that "
    "goes by this service's identifier; `If-None-Match: *` refuses to overwrite any. What is not kept is refused where "
    "it would take the place of what is: the old result would stand in silence. Of two versions with `issued` the "
    "later one stands, whatever their order."
)
_WITHDRAWN = (
    "Withdraw a resource, as if it came again as entered in error: analyses do not see it, its history stays. A panel "
    "is withdrawn as a whole under the identifier that its client gave it. For AdverseEvent this is the one way, as R4 "
    "has no status for it. To do it again changes nothing."
)
for _type in TYPES:
    router.add_api_route(
        f"/fhir/{{study}}/{_type}",
        _create(_type),
        methods=["POST"],
        operation_id=f"fhirCreate{_type}",
        summary=f"Store a resource {_type}",
        description=_CREATED_ONCE,
        openapi_extra=reads_fhir(FhirResource, f"The {_type}."),
        responses={**_STORED, **refuses_fhir(NotFound, Conflict, Erased, PreconditionFailed, reading=True)},
    )
    router.add_api_route(
        f"/fhir/{{study}}/{_type}/{{id}}",
        _update(_type),
        methods=["PUT"],
        operation_id=f"fhirUpdate{_type}",
        summary=f"Store a resource {_type} under an identifier",
        description=_UPDATED,
        openapi_extra=reads_fhir(FhirResource, f"The {_type}, with the identifier of the address as its `id`."),
        responses={**_STORED, **refuses_fhir(NotFound, Conflict, Erased, PreconditionFailed, reading=True)},
    )
for _type in WITHDRAWN_BY_DELETE:
    router.add_api_route(
        f"/fhir/{{study}}/{_type}/{{id}}",
        _withdraw(_type),
        methods=["DELETE"],
        operation_id=f"fhirWithdraw{_type}",
        summary=f"Withdraw a resource {_type}",
        description=_WITHDRAWN,
        status_code=204,
        response_description="The resource is withdrawn.",
        responses=refuses_fhir(NotFound, Conflict, Erased, PreconditionFailed),
    )


@router.delete("/fhir/{study}/Patient/{id}", include_in_schema=False)
def refuse_to_delete_a_patient(request: Request) -> Response:
    """Erasing a person cannot be undone and is asked for in so many words, at an address of its own."""
    allowed = [method for method in allowed_methods(request) if method != "DELETE"]
    raise MethodNotAllowed(ERASE_INSTEAD, headers={"Allow": ", ".join(allowed)})


def _condition(searched: str, resource: SupportedType) -> Identifier | None:
    """The identifier that If-None-Exist searches for; some clients write the search with its address before it."""
    address_of, mark, query = searched.partition("?")
    if mark and (not address_of or address_of.rpartition("/")[2] == resource):
        return identifier_searched(query)
    return identifier_searched(searched)


def _wanted(prefer: str | None, usual: Return) -> Return:
    found = _RETURN.search(prefer or "")
    return usual if found is None else cast(Return, found[1])


def _fhir(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(document, indent=2) + b"\n", status, headers, FHIR_JSON)


def _answer(request: Request, study: str, result: EntryResult, prefer: str | None, name: str | None = None) -> Response:
    """The answer to a single resource that was sent; `name` is what its client calls it in the address."""
    wanted = _wanted(prefer, "representation")
    found = result.stored
    if found is None:
        return _fhir(outcome(_issues(result)))
    headers = {
        "Location": address(request, f"/fhir/{study}/{_location(found)}"),
        "ETag": f'W/"{found.version}"',
        "Last-Modified": format_datetime(EPOCH + timedelta(microseconds=found.received_at), usegmt=True),
    }
    status = _STATUS[result.disposition]
    if wanted == "minimal":
        return Response(status_code=status, headers=headers)
    if wanted == "OperationOutcome" or found.gone:
        return _fhir(outcome(_issues(result)), status, headers)
    return _fhir(resource_of(found, name), status, headers)


def _answer_to_bundle(bundle: BundleResult, wanted: Return) -> dict[str, Any]:
    kind = "batch-response" if bundle.type == "batch" else "transaction-response"
    document: dict[str, Any] = {"resourceType": "Bundle", "type": kind}
    entries = [_entry(result, wanted) for result in bundle.results]
    _count_skipped(bundle.results, entries)
    return document | {"entry": entries} if entries else document


def _entry(result: EntryResult, wanted: Return) -> dict[str, Any]:
    """What became of one entry; there is an outcome where there is something to say, or where it was asked for."""
    if result.error is not None:
        return {"response": {"status": _phrase(result.error.status), "outcome": refused(result.error)}}
    response: dict[str, Any] = {"status": _phrase(_STATUS[result.disposition])}
    found = result.stored
    if found is not None:
        response |= {
            "location": _location(found),
            "etag": f'W/"{found.version}"',
            "lastModified": instant_text(found.received_at),
        }
    if found is None or wanted == "OperationOutcome":
        response["outcome"] = outcome(_issues(result))
    if found is not None and wanted == "representation" and not found.gone:
        return {"resource": resource_of(found), "response": response}
    return {"response": response}


def _count_skipped(results: Sequence[EntryResult], entries: Sequence[Mapping[str, Any]]) -> None:
    """Add to the first outcome that says that something is not kept how many there are of the kind in the bundle."""
    skipped = [place for place, result in enumerate(results) if result.disposition == "skipped"]
    if skipped:
        reasons = Counter(results[place].entry.skipped or "value" for place in skipped)
        counted = ", ".join(f"{count} by {reason}" for reason, count in sorted(reasons.items()))
        text = f"Of the {len(results)} entries of this bundle {len(skipped)} are not kept: {counted}."
        entries[skipped[0]]["response"]["outcome"]["issue"].append(issue("information", "informational", text))


def _issues(result: EntryResult) -> list[dict[str, Any]]:
    if result.disposition == "skipped":
        why = result.entry.skipped or "value"
        return [
            issue(
                "information",
                "not-supported",
                _WHY_SKIPPED[why],
                place=result.entry.place,
                coding=(SKIPPED_SYSTEM, why),
            )
        ]
    return [issue("information", "informational", _TEXT[result.disposition])]


def _location(found: StoredResource) -> str:
    return f"{found.type}/{found.id}/_history/{found.version}"


def _phrase(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
