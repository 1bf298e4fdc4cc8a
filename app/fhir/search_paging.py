"""Searches a page at a time: every page of a walk is answered from the revision at which the walk began.

The link to the next page holds the whole question as the store understands it, signed, and nothing of what was sent: a
hospital's number that was searched for stands in no address that we make.
"""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from pydantic import TypeAdapter

from app.errors import Fault, FaultCode, InvalidDocument
from app.fhir.search import IDENTIFYING, Searched, alias_of, criteria_of
from app.fhir.search_parameters import PageSearch
from app.fhir.write_resources import searchset
from app.http.responses import Cursors, address
from app.http.state import AppState
from app.store.resource_search import Criteria
from app.store.revisions import AS_IT_STANDS, AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.resource import SupportedType

_CRITERIA = TypeAdapter(Criteria)
_REWRITTEN = frozenset({"patient", "subject", "subject_patient", "ids", "cursor", "format", "pretty"})
"""Fields that the address of a page does not repeat as they were sent."""
_BESIDE_A_CURSOR = frozenset({"cursor", "format", "pretty"})


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a search stands: what is asked, at which revision, behind which resource (`None`: at the beginning)."""

    criteria: Criteria
    revision: int
    page: int
    total: int | None
    after: str | None = None

    def cursor(self, cursors: Cursors, study: str) -> str:
        """The walk as a cursor."""
        asked = _CRITERIA.dump_json(self.criteria, exclude_defaults=True).decode()
        total = -1 if self.total is None else self.total
        position: list[str | int] = [asked, self.revision, self.page, total, self.after or ""]
        return cursors.sign(_question(study, self.criteria.resource), position)


def base_of(request: Request, study: str) -> str:
    """The address of a study's facade as the client knows it; the Host header has been checked at the door."""
    return f"{request.url.scheme}://{request.headers['host']}{address(request, f'/fhir/{study}')}"


def answer(
    request: Request, state: AppState, study: str, resource: SupportedType, asked: PageSearch, now: int
) -> dict[str, Any]:
    """The page of a search that is asked for, as a bundle."""
    going_on = None if asked.cursor is None else _continued(state.cursors, study, resource, asked)
    with study_at(state.database, study, AS_IT_STANDS if going_on is None else AsOf(going_on.revision)) as searched:
        walk = going_on or _begun(Searched(searched, state.settings.secret, now), resource, asked)
        found = searched.search(walk.criteria, after=walk.after, limit=walk.page + 1)
        total = _total(searched, walk, asked, len(found))
    here = f"{base_of(request, study)}/{resource}"
    walk = replace(walk, total=total)
    links = {"self": _address(here, _said(walk, asked), walk.cursor(state.cursors, study))}
    if len(found) > walk.page > 0:
        links["next"] = _address(here, None, replace(walk, after=found[walk.page - 1].id).cursor(state.cursors, study))
    return searchset(
        base_of(request, study), found[: walk.page], links=links, total=total, revision=searched.revision,
        received_at=searched.received_at,
    )  # fmt: skip


def _question(study: str, resource: SupportedType) -> tuple[str, ...]:
    return ("fhir", study, resource)


def _begun(searched: Searched, resource: SupportedType, asked: PageSearch) -> Walk:
    return Walk(criteria_of(searched, resource, asked), searched.study.revision, asked.count, None)


def _continued(cursors: Cursors, study: str, resource: SupportedType, asked: PageSearch) -> Walk:
    given = asked.model_fields_set - _BESIDE_A_CURSOR
    if given:
        detail = "A cursor says all that is asked; give nothing beside it."
        raise InvalidDocument(
            faults=[Fault(f"/query/{alias_of(asked, name)}", FaultCode.CONTRADICTION, detail) for name in given]
        )
    criteria, revision, page, total, after = cursors.read(_question(study, resource), asked.cursor or "")
    return Walk(_CRITERIA.validate_json(criteria), revision, page, None if total < 0 else total, after or None)


def _total(searched: StudyAt, walk: Walk, asked: PageSearch, found: int) -> int | None:
    """How many there are in all, where that is cheap to know or was asked for; later pages repeat the first."""
    if walk.after is not None or walk.total is not None:
        return walk.total
    if asked.total == "none":
        return None
    if found <= walk.page and walk.page > 0:
        return found
    narrow = walk.criteria.patients is not None or walk.criteria.ids is not None
    if narrow or asked.total == "accurate" or walk.page == 0:
        return searched.count(walk.criteria)
    return None


def _address(here: str, said: list[tuple[str, str]] | None, cursor: str) -> str:
    asked = [("_cursor", cursor)] if said is None else said
    return f"{here}?{urlencode(asked)}" if asked else here


def _said(walk: Walk, asked: PageSearch) -> list[tuple[str, str]] | None:
    """The parameters of the page as they were understood; `None` where only a cursor can say them."""
    criteria = walk.criteria
    if asked.cursor is not None or criteria.numbers is not None or () in {criteria.patients, criteria.ids}:
        return None
    named = {"patient": criteria.patients, "_id": criteria.ids}
    said = [(name, ",".join(values)) for name, values in named.items() if values is not None]
    for name in sorted(asked.model_fields_set - _REWRITTEN - set(IDENTIFYING)):
        value = getattr(asked, name)
        said += [(alias_of(asked, name), str(each)) for each in (value if isinstance(value, list) else [value])]
    return said
