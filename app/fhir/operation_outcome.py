"""OperationOutcomes of FHIR R4: every refusal below `/fhir`, and information about entries that were not stored.

An issue has an issue type of R4, our own code for the fault, and the place as an expression. Like a problem document,
it never repeats what was sent. It is the same information as in the problem documents of the other addresses.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from fastapi import Response
from pydantic import BaseModel, Field
from starlette.types import Scope

from app import errors
from app.errors import SENTENCES, Absent, Fault, FaultCode, ServiceError
from app.fhir.unsupported import named_parameters
from app.http.responses import written
from app.readers.suggestions import PROPOSALS, in_words

FHIR_JSON = "application/fhir+json"
FAULT_SYSTEM = "urn:myoresponse:faults"
"""The system of our fault codes in `issue.details.coding`."""
SKIPPED_SYSTEM = "urn:myoresponse:skipped"
"""The system of the reasons why something is not stored."""

DECLARATION_SYSTEM = "urn:myoresponse:declarations"
"""The system of the names of what a study could declare, in a rehearsal."""
PROPOSAL = "urn:myoresponse:extension:proposal"
"""The extension of such a coding with the whole proposal as JSON."""
EXAMPLE_INSTANCE = "urn:uuid:6f0c9f4e-6a55-4f0e-9a0e-2f6f0d9b8a11"
"""The name of an occurrence in the API description."""

Severity = Literal["fatal", "error", "warning", "information"]

ISSUE_TYPE_OF: dict[FaultCode, str] = {
    FaultCode.MISSING: "required",
    FaultCode.UNKNOWN_FIELD: "structure",
    FaultCode.WRONG_TYPE: "structure",
    FaultCode.NOT_FINITE: "value",
    FaultCode.OUT_OF_RANGE: "value",
    FaultCode.TOO_LONG: "too-long",
    FaultCode.TOO_SHORT: "value",
    FaultCode.TOO_MANY: "too-costly",
    FaultCode.BAD_IDENTIFIER: "value",
    FaultCode.BAD_TEXT: "value",
    FaultCode.UNKNOWN_VALUE: "code-invalid",
    FaultCode.UNKNOWN_CODE: "code-invalid",
    FaultCode.UNKNOWN_UNIT: "code-invalid",
    FaultCode.MASS_UNIT: "code-invalid",
    FaultCode.UNIT_MISMATCH: "code-invalid",
    FaultCode.BAD_TIME: "value",
    FaultCode.NO_OFFSET: "value",
    FaultCode.FUTURE_TIME: "business-rule",
    FaultCode.REVERSED_PERIOD: "invariant",
    FaultCode.REVERSED_LIMITS: "invariant",
    FaultCode.OFF_SCALE: "business-rule",
    FaultCode.SCALE_NOT_DECLARABLE: "business-rule",
    FaultCode.LENGTH_MISMATCH: "structure",
    FaultCode.BEFORE_BIRTH: "business-rule",
    FaultCode.DOSE_WITHOUT_UNIT: "required",
    FaultCode.CONFLICTING_DUPLICATE: "conflict",
    FaultCode.PATH_MISMATCH: "value",
    FaultCode.UNKNOWN_PARAMETER: "not-supported",
    FaultCode.REPEATED_PARAMETER: "invalid",
    FaultCode.CONTRADICTION: "invalid",
    FaultCode.MALFORMED: "structure",
    FaultCode.DUPLICATE_KEY: "structure",
    FaultCode.CODE_CONFLICT: "code-invalid",
    FaultCode.NO_SUBJECT: "required",
    FaultCode.AMBIGUOUS_SUBJECT: "multiple-matches",
    FaultCode.ERASED: "deleted",
    FaultCode.UNKNOWN_REFERENCE: "not-found",
    FaultCode.UNKNOWN_MODIFIER: "extension",
    FaultCode.AMBIGUOUS_TIME: "value",
    FaultCode.VALUE_AND_REASON: "invariant",
    FaultCode.REPEATED_VALUE: "structure",
    FaultCode.UNSUPPORTED: "not-supported",
    FaultCode.NOT_PRODUCTION: "business-rule",
    FaultCode.BAD_NUMBER: "value",
    FaultCode.RAGGED_ROW: "structure",
    FaultCode.UNKNOWN_COLUMN: "structure",
    FaultCode.REPEATED_COLUMN: "structure",
    FaultCode.UNKNOWN_ENCODING: "structure",
    **dict.fromkeys((FaultCode.FORMULA, FaultCode.UNCLEAR_CELL, FaultCode.MERGED_CELLS, FaultCode.HIDDEN), "value"),
    **dict.fromkeys((FaultCode.UNKNOWN_SHEET, FaultCode.REPEATED_SHEET, FaultCode.EMPTY_SHEET), "structure"),
    **dict.fromkeys((FaultCode.MACROS, FaultCode.EXTERNAL_LINK, FaultCode.ENCRYPTED), "not-supported"),
    FaultCode.REUSED_KEY: "conflict",
    FaultCode.LETTERS_UNAVAILABLE: "no-store",
}
"""The issue type (R4 code system `issue-type`) of each fault."""

_TYPE_OF_REFUSAL: dict[type[ServiceError], str] = {
    errors.MalformedDocument: "structure",
    errors.AmbiguousAddress: "structure",
    errors.HeadTimeout: "timeout",
    errors.Unauthorized: "login",
    errors.Forbidden: "forbidden",
    errors.ForeignOrigin: "forbidden",
    errors.NotFound: "not-found",
    errors.MethodNotAllowed: "not-supported",
    errors.NotAcceptable: "not-supported",
    errors.BodyTimeout: "timeout",
    errors.Conflict: "conflict",
    errors.Erased: "deleted",
    errors.PreconditionFailed: "conflict",
    errors.TooLarge: "too-long",
    errors.AddressTooLong: "too-long",
    errors.UnsupportedMediaType: "not-supported",
    errors.InvalidDocument: "invalid",
    errors.NothingKept: "business-rule",
    errors.PreconditionRequired: "required",
    errors.TooManyRequests: "throttled",
    errors.HeadersTooLarge: "too-long",
    errors.NotInstalled: "not-supported",
    errors.Busy: "transient",
    errors.Unavailable: "no-store",
    errors.TakesTooLong: "too-costly",
    ServiceError: "exception",
}
"""The issue type of a refusal without faults."""


class FhirExtension(BaseModel):
    """An extension of FHIR R4, with a value or with extensions."""

    url: str = Field(description="What it is.", examples=[PROPOSAL])
    extension: list[dict[str, Any]] | Absent = Field(default=None, description="Its parts.", examples=[[]])
    valueString: str | Absent = Field(default=None, description="Its value as a text.", examples=["{}"])  # noqa: N815 - FHIR


class OperationOutcomeCoding(BaseModel):
    """A code of this service for a fault, or for the reason why something is not stored."""

    system: str = Field(
        description=f"`{FAULT_SYSTEM}` for faults, `{SKIPPED_SYSTEM}` for reasons why something is not stored, "
        f"`{DECLARATION_SYSTEM}` for what the study could declare (in a rehearsal; the extension `{PROPOSAL}` of the "
        "coding has it as JSON).",
        examples=[FAULT_SYSTEM],
    )
    code: str = Field(description="The code; `GET /problems` lists the codes of faults.", examples=["unknown_unit"])
    extension: list[FhirExtension] | Absent = Field(
        default=None, description="The whole proposal.", examples=[[{"url": PROPOSAL, "valueString": "{}"}]]
    )


class OperationOutcomeDetails(BaseModel):
    """The content of an issue, for programs and for people."""

    coding: list[OperationOutcomeCoding] = Field(
        default=[],
        description="The code of this service for it.",
        examples=[[{"system": FAULT_SYSTEM, "code": "unknown_unit"}]],
    )
    text: str = Field(
        description="The same in words, with what is accepted; it never repeats what was sent.",
        examples=[SENTENCES[FaultCode.UNKNOWN_UNIT]],
    )


class OperationOutcomeIssue(BaseModel):
    """One fault of a request, or one piece of information."""

    severity: Severity = Field(description="`information` if nothing is wrong.", examples=["error"])
    code: str = Field(description="Issue type, from the R4 code system `issue-type`.", examples=["code-invalid"])
    details: OperationOutcomeDetails = Field(
        description="The issue as a code and a sentence.", examples=[{"text": SENTENCES[FaultCode.UNKNOWN_UNIT]}]
    )
    diagnostics: str | None = Field(
        default=None,
        description="Identifies this occurrence; the log line of the request has the same identifier.",
        examples=[EXAMPLE_INSTANCE],
    )
    expression: list[str] = Field(
        default=[],
        description="The place, as a simple FHIRPath expression; `http.` and a name for a query parameter, a header or "
        "a part of the address.",
        examples=[["Bundle.entry[3].resource.valueQuantity.code"]],
    )


class OperationOutcome(BaseModel):
    """Faults of a request and information about it, as a resource of FHIR R4."""

    resourceType: Literal["OperationOutcome"] = Field(description="Always this.", examples=["OperationOutcome"])  # noqa: N815 - FHIR
    issue: list[OperationOutcomeIssue] = Field(
        description="The issues, in order of place.",
        examples=[[{"severity": "error", "code": "not-found", "details": {"text": errors.NotFound.title()}}]],
    )
    extension: list[FhirExtension] | Absent = Field(
        default=None,
        description="Of a receipt: the number of facts of each disposition.",
        examples=[[{"url": "urn:myoresponse:extension:receipt", "extension": []}]],
    )


def outcome(issues: Sequence[Mapping[str, Any]], extension: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """An OperationOutcome."""
    extended = {"extension": list(extension)} if extension else {}
    return {"resourceType": "OperationOutcome", **extended, "issue": list(issues)}


def issue(
    severity: Severity, code: str, text: str, *, place: str = "", codings: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """One issue; `codings` are the systems and codes of what `text` says in words."""
    details: dict[str, Any] = {"text": text}
    if codings:
        details = {"coding": [{"system": system, "code": of} for system, of in codings], "text": text}
    content: dict[str, Any] = {"severity": severity, "code": code, "details": details}
    return content | {"expression": [place]} if place else content


def proposal_issues(proposals: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One issue for each declaration that a rehearsal proposes. The proposal is JSON, as in other formats."""
    issues = []
    for each in proposals:
        declared = issue("information", "informational", in_words(each["declaration"], each["value"]))
        whole = {"url": PROPOSAL, "valueString": json.dumps(each, ensure_ascii=False)}
        coding = {"extension": [whole], "system": DECLARATION_SYSTEM, "code": each["declaration"]}
        declared["details"] = {"coding": [coding], **declared["details"]}
        issues.append(declared)
    return issues


def refused(error: ServiceError, instance: str | None = None) -> dict[str, Any]:
    """The OperationOutcome of a refusal: one issue for each fault, or one for the refusal itself; in a rehearsal also
    one for each declaration that it proposes.
    """
    severity: Severity = "fatal" if error.status == ServiceError.status else "error"
    issues = [_of_fault(fault, severity) for fault in error.faults]
    if error.detail is not None and [fault.pointer for fault in error.faults] == [""]:
        issues[0]["details"]["text"] = error.detail
    elif not issues or error.detail is not None:
        text = error.detail or f"{error.title()}."
        issues.insert(0, issue(severity, _TYPE_OF_REFUSAL[type(error)], text))
    if instance is not None:
        issues[0]["diagnostics"] = instance
    return outcome([*issues, *proposal_issues(error.members.get(PROPOSALS, ()))])


def refusal(scope: Scope, error: ServiceError, headers: Mapping[str, str]) -> Response:
    """The answer to a refused request below `/fhir`."""
    error.faults = named_parameters(error, scope)
    instance = f"urn:uuid:{uuid.uuid4()}"
    scope["myoresponse.instance"] = instance
    return Response(written(refused(error, instance)), error.status, headers, FHIR_JSON)


def _of_fault(fault: Fault, severity: Severity) -> dict[str, Any]:
    code = ISSUE_TYPE_OF[fault.code]
    codings = [(FAULT_SYSTEM, str(fault.code))]
    return issue(severity, code, fault.explanation, place=_expression(fault.pointer), codings=codings)


def _expression(place: str) -> str:
    """A place as a FHIRPath. The readers of FHIR give paths already; a part of the request becomes `http.` and its
    name, and a JSON pointer becomes a path.
    """
    if not place.startswith("/"):
        return place
    first, *rest = place[1:].split("/")
    if first in {"query", "header", "path"}:
        return ".".join(["http", *rest])
    return first + "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in rest)
