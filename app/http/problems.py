"""Every refusal as a problem document (RFC 9457). No problem repeats anything that was sent.

A problem names its kind (`type`), and for each fault a place (`pointer`) and a `code`. Clients decide by `type` and
`code`; the sentences are for people and may change. An unexpected error is answered with 500. The log gets its type and
its place in the code, never its text: the text of an exception may quote a patient's data.
"""

import json
import logging
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app import errors
from app.errors import SENTENCES, Absent, Accepts, Fault, FaultCode, ServiceError, pointer
from app.http.addresses import path_of
from app.http.parameters import Place, accepted_value, declared_parameters
from app.http.rooms import loaded_routes
from app.log import places

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
log = logging.getLogger("myoresponse")

Writer = Callable[[Scope, ServiceError, Mapping[str, str]], Response]
"""Writes a refusal with these headers in the form of a standard, such as a FHIR OperationOutcome."""
_writers: dict[str, Writer] = {}

_ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServiceError)]
KINDS: dict[str, type[ServiceError]] = {
    kind.slug: kind for kind in sorted(_ALL, key=lambda kind: (kind.status, kind.slug))
}
"""Every kind of refusal by its slug."""


class ProblemFault(BaseModel):
    """One fault."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) to the place in the document that was sent. For a part of the request "
        "outside the document it begins with `/path/`, `/query/` or `/header/` and the name.",
        examples=["/labs/3/unit"],
    )
    code: FaultCode = Field(
        description="What is wrong:\n" + "\n".join(f"- `{code}`: {text}" for code, text in SENTENCES.items()),
        examples=["unknown_unit"],
    )
    detail: str = Field(
        description="The fault in a sentence; it never repeats what was sent.",
        examples=[SENTENCES[FaultCode.UNKNOWN_UNIT]],
    )
    accepts: Accepts | Absent = Field(
        default=None,
        description="What this place accepts; absent where it cannot be said of one place.",
        examples=[{"one_of": ["ug/L", "ng/mL"]}],
        exclude_if=lambda accepts: accepts is None,
    )


class IntakeProposal(BaseModel):
    """A declaration that could let more of what arrives count. A person must know that it is true."""

    declaration: Literal[
        "authorities", "charsets", "local_codes", "result_time", "time_zone", "unit_aliases"
    ] = Field(description="The field of the study.", examples=["local_codes"])  # fmt: skip
    value: dict[str, str] | list[str] | str | None = Field(
        description="What to declare; null if a person must choose it.", examples=[{"L|CKN": "CK"}]
    )
    count: int = Field(description="How often it was met.", examples=[57])


Proposed = Annotated[
    list[IntakeProposal] | None,
    Field(description="In a rehearsal: declarations that could let more count.", examples=[None]),
]


class Problem(BaseModel):
    """Why a request was refused (RFC 9457). No member ever repeats what was sent."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(
        description="The kind of problem: stable, compare it as text. The address describes the kind.",
        examples=["/problems/invalid"],
        json_schema_extra={"enum": [f"/problems/{slug}" for slug in KINDS]},
    )
    title: str = Field(description="The kind in a sentence.", examples=[errors.InvalidDocument.title()])
    status: int = Field(description="The HTTP status of the answer.", examples=[422])
    detail: str | None = Field(default=None, description="More about this occurrence.", examples=[None])
    instance: str = Field(
        description="Identifier of this occurrence; the log line of the request has it, too.",
        examples=["urn:uuid:6f0c9f4e-6a55-4f0e-9a0e-2f6f0d9b8a11"],
    )
    cause: errors.Cause | Absent = Field(
        default=None,
        description="Why the database cannot serve, where that is the reason.",
        examples=["disk_full"],
        exclude_if=lambda cause: cause is None,
    )
    errors: list[ProblemFault] = Field(
        default=[],
        description="All faults, in order of place.",
        examples=[[{"pointer": "/labs/3/unit", "code": "unknown_unit", "detail": SENTENCES[FaultCode.UNKNOWN_UNIT]}]],
    )
    proposals: list[IntakeProposal] | Absent = Field(
        default=None,
        description="In a rehearsal: declarations that could let more count.",
        examples=[[{"declaration": "local_codes", "value": {"L|CKN": "CK"}, "count": 57}]],
        exclude_if=lambda proposals: proposals is None,
    )


class ProblemKind(BaseModel):
    """One kind of problem."""

    type: str = Field(description="The kind, as in the `type` of a problem.", examples=["/problems/invalid"])
    title: str = Field(description="The kind in a sentence.", examples=[errors.InvalidDocument.title()])
    status: int = Field(description="The HTTP status of its answers.", examples=[422])
    description: str = Field(description="When it is given.", examples=[errors.InvalidDocument.title()])


class ProblemCode(BaseModel):
    """One code of `errors` in a problem."""

    code: FaultCode = Field(description="The code.", examples=["unknown_unit"])
    detail: str = Field(description="What it means.", examples=[SENTENCES[FaultCode.UNKNOWN_UNIT]])


class ProblemKinds(BaseModel):
    """All kinds of problems and all codes inside them."""

    items: list[ProblemKind] = Field(
        description="The kinds.",
        examples=[[{"type": "/problems/invalid", "title": "...", "status": 422, "description": "..."}]],
    )
    codes: list[ProblemCode] = Field(
        description="The codes.", examples=[[{"code": "unknown_unit", "detail": SENTENCES[FaultCode.UNKNOWN_UNIT]}]]
    )


def kind_of(kind: type[ServiceError]) -> ProblemKind:
    """The description of one kind of refusal."""
    paragraphs = (kind.__doc__ or "").strip()
    return ProblemKind(
        type=f"/problems/{kind.slug}",
        title=kind.title(),
        status=kind.status,
        description=re.sub(r"\s+", " ", paragraphs),
    )


def problem(error: ServiceError, instance: str | None = None) -> Problem:
    """The problem document of a refusal."""
    return Problem(
        type=f"/problems/{error.slug}",
        title=error.title(),
        status=error.status,
        detail=error.detail,
        instance=instance or f"urn:uuid:{uuid.uuid4()}",
        cause=error.cause if isinstance(error, errors.Busy) else None,
        errors=[
            ProblemFault(pointer=fault.pointer, code=fault.code, detail=fault.sentence, accepts=fault.accepts)
            for fault in error.faults
        ],
    )


def count_refused(scope: Scope, refused: Iterable[ServiceError | None]) -> None:
    """Count the fault codes of refused parts for the line of the request in the log. A refusal without faults counts by
    its kind.
    """
    counts: Counter[str] = scope.setdefault("myoresponse.faults", Counter())
    for error in refused:
        if error is not None:
            _note_cause(scope, error)
            counts.update([str(fault.code) for fault in error.faults] or [error.slug])


def _note_cause(scope: Scope, error: ServiceError) -> None:
    """Note why the database could not serve, if that is the reason."""
    if isinstance(error, errors.Busy) and error.cause is not None:
        scope["myoresponse.cause"] = error.cause


def refusal(scope: Scope, error: ServiceError) -> Response:
    """The answer to a refused request: a problem document, or the form that `install` registered for its address."""
    scope["myoresponse.problem"] = error.slug
    _note_cause(scope, error)
    if error.faults:
        count_refused(scope, [error])
    root: str = scope.get("root_path", "")
    headers = {"Link": f'<{root}/problems/{error.slug}>; rel="describedby"'} | error.headers
    if isinstance(error, errors.Busy) and not isinstance(error, errors.Unavailable):
        headers.setdefault("Retry-After", str(RETRY_SECONDS))
    path = path_of(scope)
    for prefix, write in _writers.items():
        if path.startswith(prefix):
            return write(scope, error, headers)
    document = problem(error)
    scope["myoresponse.instance"] = document.instance
    body = json.dumps(document.model_dump(mode="json") | error.members, indent=2).encode() + b"\n"
    return Response(body, error.status, headers, MEDIA_TYPE)


def unexpected(scope: Scope, error: BaseException) -> Response:
    """The answer to an unexpected error; its type and its place in the code are logged."""
    answer = refusal(scope, ServiceError())
    kind = str(error).replace(" ", ":") if isinstance(error, ServiceError) else type(error).__name__
    log.error("event=failure type=%s at=%s instance=%s", kind, places(error), scope["myoresponse.instance"])
    return answer


_CODES: dict[str, FaultCode] = {
    "missing": FaultCode.MISSING,
    "literal_error": FaultCode.UNKNOWN_VALUE,
    "enum": FaultCode.UNKNOWN_VALUE,
    "finite_number": FaultCode.NOT_FINITE,
    "greater_than": FaultCode.OUT_OF_RANGE,
    "greater_than_equal": FaultCode.OUT_OF_RANGE,
    "less_than": FaultCode.OUT_OF_RANGE,
    "less_than_equal": FaultCode.OUT_OF_RANGE,
    "int_parsing_size": FaultCode.OUT_OF_RANGE,
    "string_too_long": FaultCode.TOO_LONG,
    "string_too_short": FaultCode.TOO_SHORT,
    "string_pattern_mismatch": FaultCode.BAD_TEXT,
    "extra_forbidden": FaultCode.UNKNOWN_PARAMETER,
    "contradiction": FaultCode.CONTRADICTION,
    "unknown_value": FaultCode.UNKNOWN_VALUE,
}


def parameter_faults(errors: Iterable[Mapping[str, Any]], declared: Mapping[Place, FieldInfo]) -> Iterator[Fault]:
    """The faults of the path, the query and the headers, from the errors of Pydantic and the declared parameters; a
    path has no parameters other than identifiers.
    """
    for details in errors:
        where, *inner = (str(part) for part in details["loc"])
        place = pointer(where, *inner[:1])
        code = FaultCode.BAD_IDENTIFIER if where == "path" else _CODES.get(details["type"], FaultCode.WRONG_TYPE)
        if code is FaultCode.CONTRADICTION:
            yield Fault(place, code, details["msg"])
        else:
            field = declared.get((where, inner[0])) if inner else None
            accepts = details.get("ctx", {}).get("accepts")
            yield Fault(place, code, None, accepts or (None if field is None else accepted_value(field)))


async def _on_refusal(request: Request, error: Exception) -> Response:
    refused = cast(ServiceError, error)
    return (
        unexpected(request.scope, refused) if refused.status == ServiceError.status else refusal(request.scope, refused)
    )


async def _on_bad_parameter(request: Request, error: Exception) -> Response:
    declared = dict(declared_parameters(request.scope["route"].dependant))
    faults = parameter_faults(cast(RequestValidationError, error).errors(), declared)
    return refusal(request.scope, errors.InvalidDocument(faults=faults))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    status = cast(HTTPException, error).status_code
    if status == errors.MethodNotAllowed.status:
        allowed = {"Allow": ", ".join(allowed_methods(request))}
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=allowed)
        return refusal(request.scope, errors.MethodNotAllowed(headers=allowed))
    known = _known_names(request) if status == errors.NotFound.status else []
    if known:
        return refusal(request.scope, unknown_name(known))
    if isinstance(error.__cause__, ServiceError):  # FastAPI turns what ends the reading of a form into its own error
        return await _on_refusal(request, error.__cause__)
    if status == errors.MalformedDocument.status:
        return refusal(request.scope, errors.MalformedDocument("The form cannot be read."))
    kind = next((kind for kind in KINDS.values() if kind.status == status), ServiceError)
    return refusal(request.scope, kind())


def unknown_name(known: Iterable[str], detail: str = "There is nothing of this name here.") -> errors.NotFound:
    """The refusal of an address whose last part is none of the known names."""
    accepts = Accepts(one_of=tuple(known))
    fault = Fault("/path", FaultCode.UNKNOWN_VALUE, "The last part of the address is no known name.", accepts)
    return errors.NotFound(detail, [fault])


def _known_names(request: Request) -> list[str]:
    """The documented names that could stand in place of the last part of an address below `/v1/`."""
    *above, _ = path_of(request.scope).split("/")
    known = set()
    for route in loaded_routes(request.app):
        *parts, last = str(route.path).split("/")
        fits = above[1:2] == ["v1"] and len(parts) == len(above) and all(map(_may_be, parts, above))
        if fits and not last.startswith("{"):
            known.add(last)
    return sorted(known)


def _may_be(declared: str, given: str) -> bool:
    return declared == given or (declared.startswith("{") and given != "")


def allowed_methods(request: Request) -> list[str]:
    """All methods of this address: Starlette names those of one route only, but each method has its own route.

    A route that only refuses is not in the description, and its method is none of an address that is in it.
    """
    path = path_of(request.scope)
    fitting = [route for route in loaded_routes(request.app) if route.path_regex.match(path)]
    if _is_search(path):
        fitting = [route for route in fitting if _is_search(str(route.path))]
    described = [route for route in fitting if getattr(route, "include_in_schema", False)]
    methods = {"OPTIONS"}
    for route in described or fitting:
        methods |= route.methods or {"GET"}  # files have no methods of their own
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _is_search(path: str) -> bool:
    return path.endswith("/_search")


async def no_search_as_resource(request: Request) -> None:
    """Refuse another method than that of a search at its address: `_search` is never the identifier of a resource. A
    route that only refuses says itself what is wrong.
    """
    route = request.scope["route"]
    if route.include_in_schema and _is_search(path_of(request.scope)) and not _is_search(str(route.path)):
        raise errors.MethodNotAllowed(headers={"Allow": ", ".join(allowed_methods(request))})


def install(app: FastAPI, *, below: Mapping[str, Writer]) -> None:
    """Answer every refusal with a problem document; below an address prefix in `below`, in the form of its writer."""
    _writers.update(below)
    app.add_exception_handler(ServiceError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_bad_parameter)
    app.add_exception_handler(HTTPException, _on_http_exception)


def examples(kinds: Iterable[type[ServiceError]]) -> dict[str, Any]:
    """One example document for each kind of refusal, for the description of the API."""
    instance = "urn:uuid:6f0c9f4e-6a55-4f0e-9a0e-2f6f0d9b8a11"
    unit = Fault("/labs/3/unit", FaultCode.UNKNOWN_UNIT, None, Accepts(one_of=("ug/L", "ng/mL")))
    fault = {422: unit, 400: Fault("", FaultCode.MALFORMED)}
    return {
        kind.slug: {
            "summary": kind.title(),
            "value": problem(kind(faults=[fault[kind.status]] if kind.status in fault else ()), instance).model_dump(
                mode="json"
            ),
        }
        for kind in kinds
    }
