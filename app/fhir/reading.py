"""Reading one resource or one form of parameters: what the addresses of the facade and the entries of a batch share."""

from collections.abc import Iterable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError

from app.errors import Accepts, Erased, Fault, FaultCode, InvalidDocument, MalformedDocument, NotFound
from app.fhir.history_paging import versions_of
from app.fhir.search_parameters import REPEATABLE, Presentation
from app.fhir.unsupported import unknown_parameters
from app.fhir.write_resources import etag_of, part_of, resource_of
from app.http.parameters import fields_of
from app.http.problems import parameter_faults
from app.http.state import AppState
from app.store.engine import Database
from app.store.snapshot import study_at
from app.timeline.resource import StoredResource, SupportedType
from app.timeline.times import EPOCH

MOST_FIELDS = 100
_GONE = "The resource has been withdrawn; `_history` shows its earlier versions."
Model = TypeVar("Model", bound=Presentation)


def current_version(
    state: AppState, study: str, resource: SupportedType, name: str, now: int, database: Database | None = None
) -> StoredResource:
    """The version that stands of a resource; `name` is our identifier or a client id. Raises `NotFound`."""
    with study_at(database or state.database, study) as snapshot:
        versions, _ = versions_of(snapshot, state, resource, name, now)
    return next(each for each in versions if not each.late)


def one_version(
    state: AppState,
    study: str,
    resource: SupportedType,
    name: str,
    version: str,
    now: int,
    database: Database | None = None,
) -> StoredResource:
    """The version of a resource with this number. Raises `NotFound`."""
    with study_at(database or state.database, study) as snapshot:
        versions, _ = versions_of(snapshot, state, resource, name, now)
    for each in versions:
        if each.version == version:
            return each
    raise NotFound("The resource has no version of this number.")


def shown(version: StoredResource, name: str, elements: str | None) -> dict[str, Any]:
    """A version as a resource, or these elements of it. Raises `Erased` if the resource is gone."""
    if version.gone:
        raise Erased(_GONE)
    return part_of(resource_of(version, name), elements)


def version_headers(resource: StoredResource) -> dict[str, str]:
    """ETag and Last-Modified of a version of a resource."""
    received = EPOCH + timedelta(microseconds=resource.received_at)
    return {"ETag": etag_of(resource), "Last-Modified": format_datetime(received, usegmt=True)}


def parameters_of(body: bytes, model: type[Model]) -> Model:
    """The parameters in a form or in an address. Raises `MalformedDocument` and `InvalidDocument`."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise MalformedDocument(faults=[Fault("", FaultCode.MALFORMED)]) from None
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    declared = dict(fields_of(model))
    known = {name for _, name in declared}
    faults = list(_unknown(given, known))
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


def _unknown(given: Iterable[str], known: set[str]) -> list[Fault]:
    unknown = [name for name in given if name not in known]
    if not unknown:
        return []
    accepts = Accepts(one_of=tuple(sorted(known)))
    return unknown_parameters(unknown, accepts) or [Fault("/query", FaultCode.UNKNOWN_PARAMETER, None, accepts)]
