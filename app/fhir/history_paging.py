"""The versions of one resource in pages, newest first, each with how it was made: POST, PUT or DELETE."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import Request

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, NotFound
from app.fhir.date_parameter import bound
from app.fhir.search import SearchedStudy, logical_id_of
from app.fhir.search_paging import facade_address
from app.fhir.search_parameters import LARGEST_PAGE, VersionsPage
from app.fhir.write_resources import Made, history_bundle
from app.http.state import AppState
from app.store.engine import Database
from app.store.snapshot import StudyAt, study_at
from app.timeline.resource import StoredResource, SupportedType

_WITH_A_CURSOR = frozenset({"cursor", "count", "format", "pretty"})
_SINCE = Accepts(form="YYYY-MM-DD, or YYYY-MM-DDThh:mm:ss(Z or +hh:mm)")
_MADE: Mapping[str, Made] = {"fhirWithdraw": "DELETE", "fhirUpdate": "PUT", "fhirCreate": "POST"}
"""How the operations of single resources make versions, by the beginning of their names."""
_OF_BUNDLE = "fhirTransaction"


def versions_of(
    snapshot: StudyAt, state: AppState, resource: SupportedType, name: str, now: int
) -> tuple[list[StoredResource], bool]:
    """The versions of a resource, newest first, and whether `name` is a client id and not our own.

    Raises `NotFound`.
    """
    alias = SearchedStudy(snapshot, state.settings.secret, now).client_id(resource, name)
    versions = snapshot.versions(resource, name if alias is None else logical_id_of(alias))
    if not versions:
        raise NotFound
    return versions, alias is not None


def history_page(
    request: Request,
    state: AppState,
    study: str,
    resource: SupportedType,
    name: str,
    query: VersionsPage,
    now: int,
    database: Database | None = None,
) -> dict[str, Any]:
    """A page of the versions of a resource, as a bundle. Raises `NotFound`, `Erased`, and `InvalidDocument`."""
    with study_at(database or state.database, study) as snapshot:
        versions, by_client = versions_of(snapshot, state, resource, name, now)
        made = _made(versions, snapshot.operations(versions), by_client=by_client)
    question = ("fhir-history", study, resource, versions[0].id)
    since, page, total, after = _position(state, question, query)
    wanted = [each for each in made if since is None or each[0].received_at >= since]
    total = len(wanted) if total is None else total
    left = [each for each in wanted if after is None or [each[0].added, each[0].ordinal] < after]
    base = facade_address(request, study)
    here = f"{base}/{resource}/{name}/_history"
    links = {"self": _address(here, query, page)}
    if len(left) > page:
        last = left[page - 1][0]
        position = [-1 if since is None else since, page, total, last.added, last.ordinal]
        following = {"_count": page, "_cursor": state.cursors.sign(question, position)}
        links["next"] = f"{here}?{urlencode(following)}"
    return history_bundle(base, left[:page], name, links=links, total=total)


def _position(
    state: AppState, question: Sequence[str], query: VersionsPage
) -> tuple[int | None, int, int | None, list[int] | None]:
    """The earliest time of receipt, the size of the page, the total if it is known, and the version before the page."""
    if query.cursor is None:
        return _since(query.since), min(query.count, LARGEST_PAGE), None, None
    given = query.model_fields_set - _WITH_A_CURSOR
    if given:
        detail = "A cursor holds the whole question; send no other parameter with it."
        raise InvalidDocument(faults=[Fault(f"/query/_{name}", FaultCode.CONTRADICTION, detail) for name in given])
    since, page, total, *after = state.cursors.read(question, query.cursor)
    page = query.count if "count" in query.model_fields_set else page
    return (None if since < 0 else since), min(page, LARGEST_PAGE), total, after


def _since(text: str | None) -> int | None:
    """The instant from which on versions are wanted, in microseconds since 1970."""
    if text is None:
        return None
    read = bound(text, of_instants=True) if text[:1].isdecimal() else FaultCode.BAD_TIME
    if isinstance(read, FaultCode):
        raise InvalidDocument(faults=[Fault("/query/_since", read, None, _SINCE)])
    return max(read.low, 0)


def _address(here: str, query: VersionsPage, page: int) -> str:
    count = str(page) if "count" in query.model_fields_set else None
    given = {"_cursor": query.cursor, "_since": query.since, "_count": count}
    pairs = {name: value for name, value in given.items() if value is not None}
    return f"{here}?{urlencode(pairs)}" if pairs else here


def _made(
    versions: Sequence[StoredResource], operations: Mapping[int, str], *, by_client: bool
) -> list[tuple[StoredResource, Made, bool]]:
    """How each version was made, and whether it is the first one.

    The audit names the operation that stored a single resource. A version of a bundle is a DELETE if it is its
    predecessor, withdrawn. The first version of another origin counts as a POST, if its client did not choose the id.
    """
    listed = []
    for i, version in enumerate(versions):
        before = versions[i + 1] if i + 1 < len(versions) else None
        operation = operations.get(version.added, "")
        made = next((made for name, made in _MADE.items() if operation.startswith(name)), None)
        in_bundle = operation in {"", _OF_BUNDLE}
        if version.gone or (made is None and in_bundle and _is_withdrawn_again(version, before)):
            made = "DELETE"
        if made is None:
            made = "POST" if before is None and not by_client else "PUT"
        listed.append((version, made, before is None))
    return listed


def _is_withdrawn_again(version: StoredResource, before: StoredResource | None) -> bool:
    """Whether a version is the one before it, and only withdrawn."""
    if before is None or before.fact is None or version.fact is None or before.withdrawn:
        return False
    return version.fact == before.fact._replace(status="entered-in-error")
