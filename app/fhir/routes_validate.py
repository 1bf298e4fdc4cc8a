"""`$validate`: a rehearsal of one resource. Nothing is stored, and the outcome says what would become of it."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response

from app.errors import (
    Accepts,
    Conflict,
    Erased,
    Fault,
    FaultCode,
    InvalidDocument,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
)
from app.fhir import submit
from app.fhir.openapi_fhir import FhirResource, answers_fhir, reads_fhir, refuses_fhir
from app.fhir.operation_outcome import FHIR_JSON, OperationOutcome, issue, outcome, proposal_issues, refused
from app.fhir.own_address import OwnAddress
from app.fhir.routes_read import LogicalId
from app.fhir.routes_write import TYPES, FhirBody
from app.fhir.search_paging import own_address
from app.fhir.search_parameters import WritePresentation
from app.fhir.submit import EntryResult, EntryStatus
from app.fhir.unsupported import refusal_of
from app.fhir.write_receipts import counts_extension, receipt_issues
from app.http.authentication import Client
from app.http.dependencies import Now, State, StudyId
from app.http.openapi import Responses
from app.http.responses import written
from app.http.routing import Operations
from app.http.state import AppState
from app.readers.faults import check_syntax
from app.readers.streams import without_mark
from app.readers.suggestions import PROPOSALS
from app.store.engine import Database
from app.store.rehearsal import rehearsal
from app.submission.intake import proposed_in_rehearsal

router = Operations(tags=["fhir"])
Mode = Literal["create", "update", "delete"]
_TEXT: dict[EntryStatus, str] = {
    "created": "It would be stored as a new resource.",
    "updated": "It would be stored as a new version.",
    "unchanged": "It would change nothing: what stands says the same, or is newer.",
    "deleted": "It would be withdrawn.",
    "skipped": "It would not be kept.",
}
_FAULTY = (InvalidDocument, Conflict, Erased, PreconditionFailed, MethodNotAllowed)
"""Refusals that are a result of the validation. Others mean that it could not be done."""
_MODES = Accepts(one_of=("create", "update", "delete"))
_PARTS = ("resource", "mode")
VALIDATED = (*TYPES, "DiagnosticReport")


class ValidatePresentation(WritePresentation):
    """The parameters of a validation."""

    mode: Mode | None = Query(
        default=None,
        description="`create`, `update` or `delete`: what is rehearsed. Default: `create`, and with an id `update`.",
        examples=["create"],
    )


ResourceType = Annotated[
    str,
    Path(
        alias="type",
        max_length=64,
        pattern="^[A-Za-z]+$",
        description="Type of the resource: " + ", ".join(VALIDATED) + ".",
        examples=["Observation"],
    ),
]


class _Rehearsal:
    """One resource that is tried in a copy of the study."""

    def __init__(
        self,
        copy: Database,
        study: str,
        resource: str,
        own: OwnAddress,
        secret: str | None,
        now: int,
        client: str | None,
        *,
        full: bool,
    ) -> None:
        self._copy = copy
        self._study = study
        self._resource = resource
        self._own = own
        self._more: dict[str, Any] = {"secret": secret, "now": now, "client": client, "full": full}

    def outcome(self, sent: bytes, mode: Mode | None, logical_id: str | None) -> dict[str, Any]:
        """What would become of the resource, as an OperationOutcome."""
        try:
            result = self._tried(sent, mode or ("create" if logical_id is None else "update"), logical_id)
        except _FAULTY as error:
            error.members.setdefault(PROPOSALS, self._proposals())
            return refused(error)
        done = issue("information", "informational", _TEXT[result.status])
        found = [done, *receipt_issues(result.receipt), *proposal_issues(self._proposals())]
        return outcome(found, counts_extension(result.receipt.counts))

    def _tried(self, sent: bytes, mode: Mode, logical_id: str | None) -> EntryResult:
        kind: Any = self._resource
        if mode == "create" and logical_id is None:
            return submit.create(self._copy, self._study, kind, sent, own=self._own, **self._more)
        name = logical_id or _id_in(sent)
        if name is None or mode == "create":
            raise InvalidDocument(faults=[Fault("/query/mode", FaultCode.CONTRADICTION, _OTHER_ADDRESS)])
        if mode == "delete":
            return submit.withdraw(self._copy, self._study, kind, name, **self._more)
        return submit.update(self._copy, self._study, kind, name, sent, own=self._own, **self._more)

    def _proposals(self) -> list[Mapping[str, Any]]:
        return [each.document for each in proposed_in_rehearsal(self._copy, self._study)]


_OTHER_ADDRESS = (
    "An update or a deletion needs the id of the resource; a resource with an id at its address is no new one."
)


def _id_in(sent: bytes) -> str | None:
    content = json.loads(sent)
    own = content.get("id") if isinstance(content, dict) else None
    return own if isinstance(own, str) else None


def _sent(body: bytes) -> tuple[bytes, Mode | None]:
    """The resource to validate and what is rehearsed: the body, or what a Parameters resource in it says.

    Raises `MalformedDocument`, and `InvalidDocument` for a parameter that is not known.
    """
    content = check_syntax(without_mark(body))
    if not isinstance(content, dict) or content.get("resourceType") != "Parameters":
        return body, None
    listed = content.get("parameter")
    parts = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    resources = [each["resource"] for each in parts if each.get("name") == "resource" and "resource" in each]
    modes = [each.get("valueCode") for each in parts if each.get("name") == "mode"]
    faults = [
        Fault(f"Parameters.parameter[{i}].name", FaultCode.UNSUPPORTED, None, Accepts(one_of=_PARTS))
        for i, each in enumerate(parts)
        if each.get("name") not in _PARTS
    ]
    if len(resources) != 1:
        faults.append(Fault("Parameters.parameter", FaultCode.MISSING, "One parameter `resource` is needed."))
    mode: Mode | None = None
    for each in modes:
        if each not in (_MODES.one_of or ()):
            faults.append(Fault("Parameters.parameter.valueCode", FaultCode.UNKNOWN_VALUE, None, _MODES))
        else:
            mode = each
    if faults:
        raise InvalidDocument(faults=faults)
    return json.dumps(resources[0]).encode(), mode


_ANSWERS: Responses = {
    200: answers_fhir("What would become of the resource.", OperationOutcome),
    **refuses_fhir(NotFound, Conflict, reading=True),
}


@router.post(
    "/fhir/{study}/{type}/$validate",
    operation_id="fhirValidate",
    summary="Rehearse the storing of a resource",
    openapi_extra=reads_fhir(FhirResource, "The resource, or Parameters."),
    responses=_ANSWERS,
)
def validate(
    request: Request,
    study: StudyId,
    resource: ResourceType,
    state: State,
    body: FhirBody,
    now: Now,
    client: Client,
    presentation: Annotated[ValidatePresentation, Query()],
) -> Response:
    """Rehearse the storing of a resource: nothing is stored, and the OperationOutcome says what would become of each
    fact. An issue `error` means that it would be refused. The body is the resource, or Parameters with `resource` and
    `mode`. Profiles are not checked. The answer is 200, also if the resource has faults.
    """
    return _validated(request, state, study, resource, None, body, now, client, presentation)


@router.post(
    "/fhir/{study}/{type}/{id}/$validate",
    operation_id="fhirValidateStored",
    summary="Rehearse the storing of a resource at its address",
    openapi_extra=reads_fhir(FhirResource, "The resource, or Parameters."),
    responses=_ANSWERS,
)
def validate_stored(
    request: Request,
    study: StudyId,
    resource: ResourceType,
    logical_id: LogicalId,
    state: State,
    body: FhirBody,
    now: Now,
    client: Client,
    presentation: Annotated[ValidatePresentation, Query()],
) -> Response:
    """The same for an update or a deletion of the resource at this address."""
    return _validated(request, state, study, resource, logical_id, body, now, client, presentation)


def _validated(
    request: Request,
    state: AppState,
    study: str,
    resource: str,
    logical_id: str | None,
    body: bytes,
    now: int,
    client: str | None,
    presentation: ValidatePresentation,
) -> Response:
    if resource not in VALIDATED:
        raise refusal_of(request.method, resource, "")
    sent, mode = _sent(body)
    own, secret = own_address(request, state, study), state.settings.secret
    with rehearsal(state.database, study) as copy:
        tried = _Rehearsal(copy, study, resource, own, secret, now, client, full=presentation.receipt is not None)
        document = tried.outcome(sent, presentation.mode or mode, logical_id)
    return Response(written(document), media_type=FHIR_JSON)
