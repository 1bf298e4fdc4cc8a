"""The pages of a search: every page is answered from the revision of the first page.

The link to the next page has a signed cursor with the criteria of the store, and not the parameters that were sent, so
that a hospital's number never appears in a link of an answer.
"""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from pydantic import TypeAdapter

from app.errors import Fault, FaultCode, InvalidDocument
from app.fhir.own_address import OwnAddress
from app.fhir.search import IDENTIFYING, SearchedStudy, alias_of, criteria_of
from app.fhir.search_parameters import LARGEST_PAGE, PageSearch
from app.fhir.write_resources import searchset
from app.http.responses import Cursors, address
from app.http.state import AppState
from app.store.audit import was_read
from app.store.engine import Database
from app.store.resource_search import Criteria
from app.store.revisions import AS_IT_STANDS, AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.resource import SupportedType

_CRITERIA = TypeAdapter(Criteria)
_REWRITTEN = frozenset({"patient", "subject", "subject_patient", "ids", "cursor", "format", "pretty"})
"""Fields that the address of a page does not repeat as they were sent."""
_WITH_A_CURSOR = frozenset({"cursor", "count", "format", "pretty"})


@dataclass(frozen=True, slots=True)
class SearchPosition:
    """A page of a search: its criteria, revision, size, total, the resource before it (`None`: the first page), and the
    elements to show.
    """

    criteria: Criteria
    revision: int
    page: int
    total: int | None
    after: str | None = None
    elements: str | None = None

    def cursor(self, cursors: Cursors, study: str) -> str:
        """The position as a signed cursor."""
        criteria = _CRITERIA.dump_json(self.criteria, exclude_defaults=True).decode()
        total = -1 if self.total is None else self.total
        parts: list[str | int] = [criteria, self.revision, self.page, total, self.after or "", self.elements or ""]
        return cursors.sign(_question(study, self.criteria.resource), parts)


def facade_address(request: Request, study: str) -> str:
    """The address of a study's facade, as the client wrote it. The request guard has checked the Host header."""
    return f"{request.url.scheme}://{request.headers['host']}{address(request, f'/fhir/{study}')}"


def own_address(request: Request, state: AppState, study: str) -> OwnAddress:
    """The same, to tell references to this facade from others."""
    prefix: str = request.scope.get("root_path", "")
    return OwnAddress(study, prefix, request.headers["host"], state.settings.public_names)


def search_page(
    request: Request,
    state: AppState,
    study: str,
    resource: SupportedType,
    query: PageSearch,
    now: int,
    database: Database | None = None,
    most: int = LARGEST_PAGE,
) -> dict[str, Any]:
    """A page of a search with at most `most` resources, as a bundle; `database` is the one to read if it is not that of
    the service. Raises `InvalidDocument` for faulty parameters.
    """
    continued = None if query.cursor is None else _continue(state.cursors, study, resource, query)
    at = AS_IT_STANDS if continued is None else AsOf(continued.revision)
    with study_at(database or state.database, study, at) as snapshot:
        position = continued or _begin(SearchedStudy(snapshot, state.settings.secret, now), resource, query)
        position = replace(position, page=min(position.page, most))
        resources = snapshot.search(position.criteria, after=position.after, limit=position.page + 1)
        total = _total(snapshot, position, query, len(resources))
    was_read(study, [each.patient for each in resources[: position.page]])
    here = f"{facade_address(request, study)}/{resource}"
    position = replace(position, total=total)
    links = {"self": _address(here, _parameters(position, query), position, position.cursor(state.cursors, study))}
    if len(resources) > position.page > 0:
        following = replace(position, after=resources[position.page - 1].id)
        links["next"] = _address(here, None, following, following.cursor(state.cursors, study))
    return searchset(
        facade_address(request, study),
        resources[: position.page],
        links=links,
        total=total,
        revision=snapshot.revision,
        received_at=snapshot.received_at,
        elements=position.elements,
    )


def _question(study: str, resource: SupportedType) -> tuple[str, ...]:
    return ("fhir", study, resource)


def _begin(searched: SearchedStudy, resource: SupportedType, query: PageSearch) -> SearchPosition:
    page = 0 if query.summary == "count" else query.count
    criteria = criteria_of(searched, resource, query)
    return SearchPosition(criteria, searched.study.revision, page, None, elements=query.elements)


def _continue(cursors: Cursors, study: str, resource: SupportedType, query: PageSearch) -> SearchPosition:
    given = query.model_fields_set - _WITH_A_CURSOR
    if given:
        detail = "A cursor holds the whole search; send no other parameter with it."
        raise InvalidDocument(
            faults=[Fault(f"/query/{alias_of(query, name)}", FaultCode.CONTRADICTION, detail) for name in given]
        )
    read = cursors.read(_question(study, resource), query.cursor or "")
    criteria, revision, page, total, after, *more = read  # a cursor of the first release has no elements
    return SearchPosition(
        _CRITERIA.validate_json(criteria),
        revision,
        query.count if "count" in query.model_fields_set else page,
        None if total < 0 else total,
        after or None,
        (more[0] or None) if more else None,
    )


def _total(snapshot: StudyAt, position: SearchPosition, query: PageSearch, count: int) -> int | None:
    """The total, if it is cheap to know or was requested; later pages repeat that of the first page."""
    if position.after is not None or position.total is not None:
        return position.total
    if query.total == "none" and query.summary is None:
        return None
    if count <= position.page and position.page > 0:
        return count
    narrow = position.criteria.patients is not None or position.criteria.ids is not None
    if narrow or query.total == "accurate" or query.total_method is not None or position.page == 0:
        return snapshot.count(position.criteria)
    return None


def _address(here: str, parameters: list[tuple[str, str]] | None, position: SearchPosition, cursor: str) -> str:
    """The address of a page. Clients add their own number of resources to one without it."""
    pairs = [("_count", str(position.page)), ("_cursor", cursor)] if parameters is None else parameters
    return f"{here}?{urlencode(pairs)}" if pairs else here


def _parameters(position: SearchPosition, query: PageSearch) -> list[tuple[str, str]] | None:
    """The parameters of the page, with stored identifiers; `None` if only a cursor can hold them."""
    criteria = position.criteria
    if query.cursor is not None or criteria.numbers is not None or () in {criteria.patients, criteria.ids}:
        return None
    named = {"patient": criteria.patients, "_id": criteria.ids}
    pairs = [(name, ",".join(values)) for name, values in named.items() if values is not None]
    for name in sorted(query.model_fields_set - _REWRITTEN - set(IDENTIFYING)):
        value = position.page if name == "count" and query.summary is None else getattr(query, name)
        pairs += [(alias_of(query, name), str(each)) for each in (value if isinstance(value, list) else [value])]
    return pairs
