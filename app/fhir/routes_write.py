"""Writing by FHIR: the addresses that store bundles and single resources or withdraw them, and their answers.

A location and a body have the identifier that this service gave the resource. Only the answer to a PUT has the id of
the address in its body. A location never contains a client id.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn, cast, get_args

from fastapi import Depends, Header, Query, Request, Response

from app.errors import (
    Accepts,
    Conflict,
    Erased,
    Fault,
    FaultCode,
    InvalidDocument,
    MethodNotAllowed,
    NotFound,
    NothingKept,
    PreconditionFailed,
    UnsupportedMediaType,
)
from app.fhir import submit
from app.fhir.batch_reads import BatchReader, phrase
from app.fhir.capability_statement import FACT_TYPES
from app.fhir.openapi_fhir import FhirBundle, FhirResource, answers_fhir, examples_of, reads_fhir, refuses_fhir
from app.fhir.operation_outcome import FHIR_JSON, OperationOutcome, issue, outcome, proposal_issues, refused
from app.fhir.read_patient import IF_NONE_EXIST, identifier_searched
from app.fhir.reading import version_headers
from app.fhir.resolve_entries import ERASE_INSTEAD
from app.fhir.routes_read import LogicalId
from app.fhir.search_paging import own_address
from app.fhir.search_parameters import WritePresentation
from app.fhir.submit import BundleResult, EntryResult, EntryStatus
from app.fhir.unsupported import check_conditions
from app.fhir.write_receipts import counts_extension, receipt_issues, tags_of
from app.fhir.write_resources import etag_of, resource_of
from app.http.authentication import CallerOf, Client
from app.http.dependencies import IfMatch, Now, OnlyIfAbsent, State, StudyId, Writing
from app.http.idempotency import KeyedRoute
from app.http.openapi import JSON, Responses, answers, reference, shared
from app.http.problems import allowed_methods, count_refused
from app.http.responses import address, written
from app.http.routing import Operations
from app.readers.pseudonyms import Identifier
from app.store.audit import was_read
from app.store.engine import Database
from app.submission.intake import proposed_in_rehearsal
from app.submission.receipts import joined
from app.timeline.resource import StoredResource, SupportedType
from app.timeline.times import instant_text

router = Operations(tags=["fhir"], route_class=KeyedRoute)

Return = Literal["minimal", "representation", "OperationOutcome"]
TYPES: tuple[SupportedType, ...] = get_args(SupportedType)
_MEDIA_TYPE = re.compile(
    r'application/(fhir\+)?json(?: *; *(?:charset="?utf-8"?|fhirVersion="?4\.0(?:\.1)?"?))*', re.IGNORECASE
)
_RETURN = re.compile(r"\breturn *= *\"?(minimal|representation|OperationOutcome)\b")
_STATUS: dict[EntryStatus, int] = {"created": 201, "updated": 200, "unchanged": 200, "deleted": 204, "skipped": 200}
_TEXT: dict[EntryStatus, str] = {
    "created": "Stored as a new resource.",
    "updated": "Stored as a new version.",
    "unchanged": "Nothing new: what stands is unchanged.",
    "deleted": "Withdrawn.",
}


async def _fhir_body(request: Request) -> bytes:
    """The bytes of the body. Raises `UnsupportedMediaType` if it is not FHIR R4 as JSON, or has a content coding."""
    check_conditions(request)
    accepted = {"Accept-Post": f"{FHIR_JSON}, {JSON}", "Accept": f"{FHIR_JSON}, {JSON}"}
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType(
            "Send the body without a content coding.", headers=accepted | {"Accept-Encoding": "identity"}
        )
    given = request.headers.getlist("content-type")
    if len(given) != 1 or _MEDIA_TYPE.fullmatch(given[0].strip()) is None:
        raise UnsupportedMediaType(
            f"Content-Type must be {FHIR_JSON} or {JSON}; a fhirVersion must be 4.0.", headers=accepted
        )
    return await request.body()


FhirBody = Annotated[bytes, Depends(_fhir_body)]
Format = Annotated[WritePresentation, Query()]
Prefer = Annotated[
    str | None,
    Header(
        alias="Prefer",
        max_length=200,
        description="`return=minimal` (the default for bundles), `return=representation` (the current resource, the "
        "default for single resources) or `return=OperationOutcome`.",
        examples=["return=minimal"],
    ),
]
IfNoneExist = Annotated[
    str | None,
    Header(
        alias="If-None-Exist",
        max_length=1_000,
        description="`identifier=system|value`: create the resource only if no resource has this identifier. If one "
        "has it, the answer is 200 with that resource and nothing is stored; if several have it, 412. The patient and "
        "the code in the body must match, too, because a laboratory gives one accession number to many results and "
        "another laboratory may give it to another patient. `Observation?identifier=...` is accepted as well.",
        examples=["identifier=urn:oid:1.2.3.4|acc-77"],
    ),
]

Searched = Annotated[
    str | None,
    Query(
        alias="identifier",
        max_length=1_000,
        description="`system|value`: the identifier by which the resource is known to its sender. With POST the same "
        "as `If-None-Exist`; with PUT it names the resource that is updated.",
        examples=["urn:oid:1.2.3.4|acc-77"],
    ),
]
_CONDITION = Accepts(form="system|value")
_BY_IDENTIFIER = "An update without an id in its address needs the parameter `identifier`, and no other condition."
_ONE_CONDITION = "Give the condition once: in the address, or in If-None-Exist."

_STORED: Responses = {
    200: answers_fhir(
        "The current resource: unchanged, or a new version. An OperationOutcome if the resource is not stored. No body "
        "with `return=minimal`.",
        FhirResource,
        "ETag",
        "Location",
    ),
    201: answers_fhir("Stored as a new resource. No body with `return=minimal`.", FhirResource, "ETag", "Location"),
}


_nothing_kept = answers(
    "The bundle is not acceptable; or nothing of a batch was kept: then the outcome of each entry.",
    {"anyOf": [reference(OperationOutcome), reference(FhirBundle)]},
    media_type=FHIR_JSON,
)
_nothing_kept["content"][FHIR_JSON]["examples"] = examples_of(InvalidDocument)
_NOTHING_KEPT = shared("FhirNothingKept", _nothing_kept)


@router.post("/fhir/{study}/", include_in_schema=False)  # as clients write the base of a server
@router.post(
    "/fhir/{study}",
    operation_id="fhirTransaction",
    summary="Store a bundle",
    openapi_extra=reads_fhir(FhirBundle, "A Bundle of type `transaction`, `batch` or `collection`."),
    responses={
        200: answers_fhir("The outcome of each entry, in the order in which they were sent.", FhirBundle),
        **refuses_fhir(NotFound, MethodNotAllowed, Conflict, Erased, PreconditionFailed, reading=True),
        NothingKept.status: _NOTHING_KEPT,
    },
)
def post_bundle(
    request: Request,
    study: StudyId,
    state: State,
    store: Writing,
    body: FhirBody,
    now: Now,
    client: Client,
    caller: CallerOf,
    presentation: Format,
    prefer: Prefer = None,
) -> Response:
    """Store a bundle. A `transaction` is stored as one revision; if any entry is faulty, nothing is stored. The same
    holds for a `collection` and for a `searchset`, the answer of another server to a search, whose entries are all
    merged. Each entry of a `batch` is stored or refused by itself. Two
    entries must not give one identifier to two resources, and one must not delete what another one stores.

    POST, PUT and DELETE are supported, in any order, with conditional create (`ifNoneExist`) and conditional update
    (`PUT Observation?identifier=system|value`). A batch may have up to 100 GET: a read, a history or a search, for
    which the caller needs the scope `read-patients`; they are answered after the other entries. A transaction with GET
    and a bundle with PATCH are refused (in a batch the entry is answered 405). An entry that is not stored (another
    resource type, another code) is not an error: it is answered 200 with an OperationOutcome that gives the reason. The
    first of these outcomes also gives their number. An extension of `meta` counts the facts by disposition; an entry
    with a fact that is not plainly kept has an OperationOutcome. A batch of which nothing was kept, and that reads
    nothing, is answered 422. The request may be sent again.
    """
    full = presentation.receipt is not None
    result = submit.store_bundle(
        store, study, body, secret=state.settings.secret, now=now, client=client, full=full,
        own=own_address(request, state, study), may_read=True,
    )  # fmt: skip
    count_refused(request.scope, (entry.error for entry in result.results))
    reader = BatchReader(request, state, study, store, now, caller)
    read = {place: reader.answer(each.entry) for place, each in enumerate(result.results) if each.status == "read"}
    status = NothingKept.status if _nothing_of(result, read) else 200
    proposed, preferred = _proposed(store, study), _preferred_return(prefer, "minimal")
    if preferred == "representation":
        _note_shown(store, study, result.results)
    return _fhir(_answer_to_bundle(result, preferred, proposed, read, full=full), status)


def _nothing_of(bundle: BundleResult, read: Mapping[int, dict[str, Any]]) -> bool:
    """Whether a batch should store something, and nothing of it was kept or read."""
    stored = [each for each in bundle.results if each.status != "read"]
    lost = bundle.type == "batch" and bool(stored) and all(each.receipt.lost for each in stored)
    return lost and not any(answer["response"]["status"] < "4" for answer in read.values())


def _create(resource: SupportedType) -> Callable[..., Response]:
    def create(
        request: Request,
        study: StudyId,
        state: State,
        store: Writing,
        body: FhirBody,
        now: Now,
        client: Client,
        presentation: Format,
        searched: Searched = None,
        if_none_exist: IfNoneExist = None,
        prefer: Prefer = None,
    ) -> Response:
        if searched is not None and if_none_exist is not None:
            raise InvalidDocument(faults=[Fault("/query/identifier", FaultCode.CONTRADICTION, _ONE_CONDITION)])
        identifier = None if if_none_exist is None else _condition(if_none_exist, resource)
        if if_none_exist is not None and identifier is None:
            raise InvalidDocument(faults=[Fault("/header/If-None-Exist", FaultCode.UNSUPPORTED, None, IF_NONE_EXIST)])
        if searched is not None:
            identifier = _searched_by(searched)
        result = submit.create(
            store, study, resource, body, if_none_exist=identifier, secret=state.settings.secret, now=now,
            client=client, full=presentation.receipt is not None, own=own_address(request, state, study),
        )  # fmt: skip
        return _answer(request, store, study, result, prefer)

    return create


def _upsert(resource: SupportedType) -> Callable[..., Response]:
    def update_by_identifier(
        request: Request,
        study: StudyId,
        state: State,
        store: Writing,
        body: FhirBody,
        now: Now,
        client: Client,
        presentation: Format,
        searched: Searched = None,
        if_match: IfMatch = None,
        prefer: Prefer = None,
    ) -> Response:
        if searched is None:
            raise InvalidDocument(faults=[Fault("/query/identifier", FaultCode.MISSING, _BY_IDENTIFIER, _CONDITION)])
        result = submit.update(
            store, study, resource, _searched_by(searched), body, if_match=if_match, secret=state.settings.secret,
            now=now, client=client, full=presentation.receipt is not None, own=own_address(request, state, study),
        )  # fmt: skip
        return _answer(request, store, study, result, prefer)

    return update_by_identifier


def _update(resource: SupportedType) -> Callable[..., Response]:
    def update(
        request: Request,
        study: StudyId,
        logical_id: LogicalId,
        state: State,
        store: Writing,
        body: FhirBody,
        now: Now,
        client: Client,
        presentation: Format,
        if_match: IfMatch = None,
        if_none_match: OnlyIfAbsent = None,
        prefer: Prefer = None,
    ) -> Response:
        result = submit.update(
            store,
            study,
            resource,
            logical_id,
            body,
            if_match=if_match,
            only_new=if_none_match is not None,
            secret=state.settings.secret,
            now=now,
            client=client,
            full=presentation.receipt is not None,
            own=own_address(request, state, study),
        )
        return _answer(request, store, study, result, prefer, logical_id)

    return update


def _withdraw(resource: SupportedType) -> Callable[..., Response]:
    def withdraw(
        request: Request,
        study: StudyId,
        logical_id: LogicalId,
        state: State,
        store: Writing,
        now: Now,
        client: Client,
        presentation: Format,
        if_match: IfMatch = None,
    ) -> Response:
        check_conditions(request)
        result = submit.withdraw(
            store, study, resource, logical_id, if_match=if_match, secret=state.settings.secret, now=now,
            client=client, full=presentation.receipt is not None,
        )  # fmt: skip
        return Response(status_code=204) if store.origin is None else _fhir(_outcome_of(result))

    return withdraw


@router.post(
    "/fhir/{study}/DiagnosticReport",
    operation_id="fhirCreateDiagnosticReport",
    summary="Store the results in a DiagnosticReport",
    openapi_extra=reads_fhir(FhirResource, "The DiagnosticReport, which contains its Observations."),
    responses={
        200: answers_fhir("The receipt: nothing new, or not kept.", OperationOutcome, "ETag", "Location"),
        201: answers_fhir(
            "The receipt. The location is that of the first result.", OperationOutcome, "ETag", "Location"
        ),
        **refuses_fhir(NotFound, Conflict, Erased, PreconditionFailed, reading=True),
    },
)
def create_report(
    request: Request,
    study: StudyId,
    state: State,
    store: Writing,
    body: FhirBody,
    now: Now,
    client: Client,
    presentation: Format,
    prefer: Prefer = None,
) -> Response:
    """Store the Observations that a report contains, as in a bundle. The report itself is not kept, so that the answer
    is an OperationOutcome with the receipt of its results. A report that contains none is not ours.
    """
    result = submit.create(
        store, study, "DiagnosticReport", body, secret=state.settings.secret, now=now, client=client,
        full=presentation.receipt is not None, own=own_address(request, state, study),
    )  # fmt: skip
    preferred = "minimal" if _preferred_return(prefer, "OperationOutcome") == "minimal" else "OperationOutcome"
    return _answer(request, store, study, result, f"return={preferred}")


_CREATED_ONCE = (
    "Store a resource. If its identifier (or, without one, its patient, code and time) is known, it is a correction "
    "or a repetition: the answer is 200 with the location of the resource. The request may be sent again."
)
_UPDATED = (
    "Store a resource under an identifier: the one that this service gave, or a client id, by which it can then be "
    "read and referred to. The patient, the code and the sender's identifier of a resource cannot be changed; a "
    "resource without an identifier keeps the stored one. Send If-Match with the ETag of the version that was read, "
    "so that a newer version is not overwritten but answered 412. Under this service's identifier, a change with a "
    "lower `meta.versionId` than that of the current version is answered 409. With `If-None-Match: *` an existing "
    "resource is answered 412. Content that is not stored (another code, another kind of value) cannot replace a "
    "stored resource and is refused. Of two versions with `issued` the later one is current, whatever their order."
)
_WITHDRAWN = (
    "Withdraw a resource, as if it were sent again as entered in error: analyses do not use it, its history remains. "
    "A panel is withdrawn as a whole under its client id. An AdverseEvent can be withdrawn only in this way, because "
    "R4 has no status for it. A repeated request changes nothing. A rehearsal is answered with the receipt."
)
_UPSERTED = (
    "Store a resource under an identifier of its sender, `?identifier=system|value`: the resource that has it is "
    "updated, and without one a new resource is made. The identifier must be the one by which the resource in the body "
    "is known: its official one, else its first one; of a Patient, that of the declared authority. The patient and the "
    "code in the body must match, too. 412 if several resources have it, as several draws under one number. Several "
    "clients that send the same at one time make one resource."
)
for _type in TYPES:
    router.add_api_route(
        f"/fhir/{{study}}/{_type}",
        _upsert(_type),
        methods=["PUT"],
        operation_id=f"fhirUpdate{_type}ByIdentifier",
        summary=f"Store a resource {_type} under an identifier of its sender",
        description=_UPSERTED,
        openapi_extra=reads_fhir(FhirResource, f"The {_type}."),
        responses={**_STORED, **refuses_fhir(NotFound, Conflict, Erased, PreconditionFailed, reading=True)},
    )
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
for _type in FACT_TYPES:
    router.add_api_route(
        f"/fhir/{{study}}/{_type}/{{id}}",
        _withdraw(_type),
        methods=["DELETE"],
        operation_id=f"fhirWithdraw{_type}",
        summary=f"Withdraw a resource {_type}",
        description=_WITHDRAWN,
        status_code=204,
        response_description="The resource is withdrawn.",
        responses={
            200: answers_fhir("The receipt of a rehearsal.", OperationOutcome),
            **refuses_fhir(NotFound, Conflict, Erased, PreconditionFailed),
        },
    )


@router.delete("/fhir/{study}/Patient/{id}", include_in_schema=False, response_model=None)
def refuse_to_delete_a_patient(request: Request) -> NoReturn:
    """Refuse: erasing a person cannot be undone, and has its own address."""
    raise MethodNotAllowed(ERASE_INSTEAD, headers={"Allow": ", ".join(allowed_methods(request))})


def _searched_by(searched: str) -> Identifier:
    """The identifier in the parameter of a conditional request."""
    system, bar, value = searched.rpartition("|")
    if not value:
        raise InvalidDocument(faults=[Fault("/query/identifier", FaultCode.BAD_TEXT, None, _CONDITION)])
    return Identifier(system if bar else "", value)


def _condition(searched: str, resource: SupportedType) -> Identifier | None:
    """The identifier in If-None-Exist; some clients write the address of the search before it."""
    address_of, mark, query = searched.partition("?")
    if mark and (not address_of or address_of.rpartition("/")[2] == resource):
        return identifier_searched(query)
    return identifier_searched(searched)


def _preferred_return(prefer: str | None, usual: Return) -> Return:
    match = _RETURN.search(prefer or "")
    return usual if match is None else cast(Return, match[1])


def _fhir(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(written(document), status, headers, FHIR_JSON)


def _proposed(store: Database, study: str) -> list[dict[str, Any]]:
    """The issues of a rehearsal about what the study could declare; none for a write that is stored."""
    return proposal_issues(each.document for each in proposed_in_rehearsal(store, study))


def _answer(
    request: Request, store: Database, study: str, result: EntryResult, prefer: str | None, name: str | None = None
) -> Response:
    """The answer to a single resource that was sent; `name` is its id in the address of a PUT. What the receipt says
    is in tags of the resource; if nothing is kept, the answer is an OperationOutcome. A rehearsal always has a body.
    """
    preferred = _preferred_return(prefer, "representation")
    if preferred == "minimal" and store.origin is not None:
        preferred = "OperationOutcome"
    stored, proposed = result.stored, _proposed(store, study)
    if stored is None or result.receipt.lost:
        return _fhir(_outcome_of(result, proposed))
    headers = {"Location": address(request, f"/fhir/{study}/{_location(stored)}"), **version_headers(stored)}
    status = _STATUS[result.status]
    if preferred == "minimal":
        return Response(status_code=status, headers=headers)
    if preferred == "OperationOutcome" or stored.gone:
        return _fhir(_outcome_of(result, proposed), status, headers)
    _note_shown(store, study, [result])
    own = stored.type != result.entry.resource  # an administration that is stored as a statement
    document, tags = resource_of(stored, None if own else name), tags_of([*receipt_issues(result.receipt), *proposed])
    if tags:
        document["meta"]["tag"] = [*document["meta"].get("tag", ()), *tags]
    return _fhir(document, status, headers)


def _note_shown(store: Database, study: str, results: Sequence[EntryResult]) -> None:
    """Note for the audit whose resources are shown as they stand. Those of a write are in the row of the write."""
    written: Collection[EntryStatus] = () if store.origin is not None else ("created", "updated", "deleted")
    was_read(study, [each.stored.patient for each in results if each.stored and each.status not in written])


def _answer_to_bundle(
    bundle: BundleResult,
    preferred: Return,
    proposed: Sequence[Mapping[str, Any]],
    read: Mapping[int, dict[str, Any]],
    *,
    full: bool,
) -> dict[str, Any]:
    """The answer to a bundle; `read` has the answers to the entries that ask to read, by their places. What a rehearsal
    proposes is in the outcome of the first entry that stores something.
    """
    kind = "batch-response" if bundle.type == "batch" else "transaction-response"
    counts = counts_extension(joined([result.receipt for result in bundle.results]).counts)
    document: dict[str, Any] = {"resourceType": "Bundle", "meta": {"extension": counts}, "type": kind}
    entries = [
        read[place] if place in read else _entry(result, preferred, full=full)
        for place, result in enumerate(bundle.results)
    ]
    _count_skipped(bundle.results, entries)
    first = next((place for place in range(len(entries)) if place not in read), None)
    if first is not None and proposed:
        entries[first]["response"].setdefault("outcome", _outcome_of(bundle.results[first]))["issue"].extend(proposed)
    return document | {"entry": entries} if entries else document


def _entry(result: EntryResult, preferred: Return, *, full: bool) -> dict[str, Any]:
    """The answer for one entry; with an OperationOutcome if not every fact is plainly kept, or if the client prefers
    one.
    """
    if result.error is not None:
        return {"response": {"status": phrase(result.error.status), "outcome": refused(result.error)}}
    lost = bool(result.receipt.lines) and result.receipt.lost
    stored = None if lost else result.stored
    response: dict[str, Any] = {"status": phrase(200 if lost else _STATUS[result.status])}
    if stored is not None:
        response |= {
            "location": _location(stored),
            "etag": etag_of(stored),
            "lastModified": instant_text(stored.received_at),
        }
    if stored is None or preferred == "OperationOutcome" or result.receipt.lines or full:
        response["outcome"] = _outcome_of(result)
    if stored is not None and preferred == "representation" and not stored.gone:
        return {"resource": resource_of(stored), "response": response}
    return {"response": response}


def _count_skipped(results: Sequence[EntryResult], entries: Sequence[Mapping[str, Any]]) -> None:
    """Add the number of skipped entries in the bundle, by reason, to the outcome of the first of them."""
    skipped = [place for place, result in enumerate(results) if result.status == "skipped" and result.entry.skipped]
    if skipped:
        reasons = Counter(str(results[place].entry.skipped) for place in skipped)
        counted = ", ".join(f"{count} by {reason}" for reason, count in sorted(reasons.items()))
        text = f"Of the {len(results)} entries of this bundle {len(skipped)} are not kept: {counted}."
        entries[skipped[0]]["response"]["outcome"]["issue"].append(issue("information", "informational", text))


def _outcome_of(result: EntryResult, proposed: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The receipt of an entry as an OperationOutcome, and what a rehearsal proposes."""
    done = [] if result.receipt.lost else [issue("information", "informational", _TEXT[result.status])]
    return outcome([*done, *receipt_issues(result.receipt), *proposed], counts_extension(result.receipt.counts))


def _location(stored: StoredResource) -> str:
    return f"{stored.type}/{stored.id}/_history/{stored.version}"
