"""What FHIR R4 has and this service does not support: parameters, headers and interactions, each refused by its name.

Only names of the standard are repeated in a refusal. Another name may be a mistake that contains data of a patient.
"""

from collections.abc import Collection, Iterable, Sequence
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.types import Scope

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, MethodNotAllowed, NotFound, ServiceError
from app.fhir.elements import R4_TYPES
from app.http.parameters import declared_parameters

_OF_SEARCH = """
    _at _contained _containedType _content _count _elements _filter _format _getpages _getpagesoffset _graph _has
    _id _in _include _lastUpdated _language _list _maxresults _offset _page _pretty _profile _query _revinclude
    _score _security _since _sort _source _summary _tag _text _total _totalMethod _type active actuality address
    based-on birthdate category code code-value-concept code-value-quantity combo-code combo-code-value-quantity
    combo-value-quantity component-code component-value-quantity context data-absent-reason date death-date deceased
    derived-from device effective-time email encounter event family focus gender general-practitioner given
    has-member identifier language link location medication method name organization part-of patient performer phone
    phonetic reason-given reason-not-given recorder request resultingcondition seriousness severity specimen status
    study subject substance telecom value-concept value-date value-quantity value-string mode profile resource
"""
_PARAMETERS = frozenset(_OF_SEARCH.split())
_MODIFIERS = frozenset(
    {"above", "below", "contains", "exact", "identifier", "in", "iterate", "missing", "not", "not-in", "of-type",
     "recurse", "text", "Patient"}
)  # fmt: skip
CONDITIONS = ("If-Match", "If-Modified-Since", "If-None-Exist", "If-None-Match", "If-Unmodified-Since")
"""The headers that make a request conditional."""
SERVED = (
    "AdverseEvent", "DiagnosticReport", "MeasureReport", "MedicationAdministration", "MedicationRequest",
    "MedicationStatement", "Observation", "Patient",
)  # fmt: skip
"""The types of resources that have addresses."""
OPERATIONS = ("$validate",)
_PATCH = "PATCH is not supported. Read the resource, change it, and PUT it with If-Match."
_DELETE = "A conditional delete is not supported. Search the resources and DELETE each of them by its id."
_ALL_TYPES = "An interaction with all types at once is not supported. Name one type."
_TYPE_HISTORY = "The history of a type or of the whole study is not supported: read the history of one resource."
_COMPARTMENT = "A search in a compartment is not supported: search the type, with the parameter `patient`."
_OPERATION = "This operation of FHIR is not supported."
_NOT_KEPT = "Resources of this type are not kept, so that they have no address. In a bundle they are skipped."
_NO_TYPE = "This is no type of resources of FHIR R4, or it has no address here."


def unknown_parameters(names: Iterable[str], accepts: Accepts | None) -> list[Fault]:
    """A fault for each of these names that is one of R4; none for other names."""
    found = []
    for name in names:
        base, _, modifier = name.partition(":")
        if base.split(".")[0] in _PARAMETERS and (modifier in _MODIFIERS or modifier == ""):
            what = f"The modifier `:{modifier}` of `{base}`" if modifier else f"The parameter `{name}`"
            chained = "." in base
            text = f"{'A chained parameter' if chained else what} is not supported here."
            place = base.split(".")[0] if chained else name
            found.append(Fault(f"/query/{place}", FaultCode.UNKNOWN_PARAMETER, text, accepts))
    return found


def named_parameters(error: ServiceError, scope: Scope) -> tuple[Fault, ...]:
    """The faults of a refusal, in which the parameters of R4 that are not known are named."""
    unnamed = [fault for fault in error.faults if (fault.pointer, fault.code) == _UNNAMED]
    if not unnamed:
        return error.faults
    known: Collection[str] = (unnamed[0].accepts.one_of or ()) if unnamed[0].accepts else ()
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    names = dict.fromkeys(name for name, _ in pairs if name not in known)
    named = unknown_parameters(names, unnamed[0].accepts)
    others = [fault for fault in error.faults if fault not in unnamed]
    return (*others, *named, *(() if names and len(named) == len(names) else unnamed))  # those of a form are not here


_UNNAMED = ("/query", FaultCode.UNKNOWN_PARAMETER)


def check_conditions(request: Request) -> None:
    """Refuse a header with a condition that this operation does not have: it must not be ignored."""
    declared = {name for (where, name), _ in declared_parameters(request.scope["route"].dependant) if where == "header"}
    faults = [
        Fault(f"/header/{name}", FaultCode.UNSUPPORTED, f"This request does not take {name}.", _conditions(declared))
        for name in CONDITIONS
        if name in request.headers and name not in declared
    ]
    if faults:
        raise InvalidDocument(faults=faults)


def _conditions(declared: Collection[str]) -> Accepts | None:
    known = tuple(name for name in CONDITIONS if name in declared)
    return Accepts(one_of=known) if known else None


def refusal_of(method: str, rest: str, allowed: str) -> ServiceError:
    """Why an interaction that has no operation is refused; `rest` is its address below that of the facade, and
    `allowed` lists the methods of this address.
    """
    first, *others = rest.split("/")
    elsewhere = _elsewhere(first, others)
    if elsewhere is not None and not (method == "PATCH" and first in SERVED):
        why, *accepted = elsewhere
        return NotFound(faults=[Fault("/path", FaultCode.UNSUPPORTED, why, Accepts(one_of=tuple(accepted)))])
    if method not in {"PATCH", "DELETE"} and len(others) > 1:
        return NotFound()
    reason = _PATCH if method == "PATCH" else _DELETE if method == "DELETE" and not others else None
    return MethodNotAllowed(reason, headers={"Allow": allowed})


def _elsewhere(first: str, others: Sequence[str]) -> tuple[str, ...] | None:
    """Why there is nothing at an address, and what there is; `None` if only the method is wrong."""
    last = others[-1] if others else first
    if last.startswith("$"):
        return (_OPERATION, *OPERATIONS)
    if last == "_history":
        return _TYPE_HISTORY, "[type]/[id]/_history"
    if first in {"", "_search"}:
        return (_ALL_TYPES, *SERVED)
    if first not in SERVED:
        return (_NOT_KEPT if first in R4_TYPES else _NO_TYPE, *SERVED)
    if len(others) > 1 and others[1] in R4_TYPES:
        return _COMPARTMENT, f"{others[1]}?patient=[id]"
    return None
