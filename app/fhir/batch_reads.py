"""The entries of a batch that ask to read: one resource, its versions, or a search, answered as at its own address.

They are answered after the other entries, so that they see what the batch has stored.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from fastapi import Request

from app.access.callers import Caller, Scope
from app.errors import ServiceError
from app.fhir.bundle_entries import Entry
from app.fhir.history_paging import history_page
from app.fhir.operation_outcome import refused
from app.fhir.reading import current_version, one_version, parameters_of, shown
from app.fhir.search_paging import search_page
from app.fhir.search_parameters import DEFAULT_PAGE, SEARCHES, ReadPresentation, VersionsPage
from app.fhir.unsupported import refusal_of
from app.fhir.write_resources import etag_of
from app.http.problems import count_refused
from app.http.responses import matches
from app.http.state import AppState
from app.store.engine import Database
from app.timeline.resource import StoredResource, SupportedType
from app.timeline.times import instant_text

_ADDRESS = re.compile(r"([A-Za-z]+)(?:/([A-Za-z0-9\-.]+)(?:(/_history)(?:/([A-Za-z0-9\-.]+))?)?)?(?:\?(.*))?")


@dataclass(frozen=True, slots=True)
class BatchReader:
    """Reads for the entries of one batch, for `caller`."""

    request: Request
    state: AppState
    study: str
    database: Database
    now: int
    caller: Caller

    def answer(self, entry: Entry) -> dict[str, Any]:
        """The answer to an entry that asks to read."""
        try:
            self.caller.require(Scope.READ_PATIENTS)
            return self._read(entry)
        except ServiceError as error:
            count_refused(self.request.scope, [error])
            return {"response": {"status": phrase(error.status), "outcome": refused(error)}}

    def _read(self, entry: Entry) -> dict[str, Any]:
        address = "" if entry.request is None else entry.request.url
        known = None if entry.request is None else entry.request.if_none_match
        parts = _ADDRESS.fullmatch(address)
        if parts is None or parts[1] not in SEARCHES:
            raise refusal_of("GET", address.partition("?")[0], "GET")
        kind, name, versions, version, query = parts.groups()
        resource, asked = cast(SupportedType, kind), (query or "").encode()
        if name is None:
            page = search_page(
                self.request, self.state, self.study, resource, parameters_of(asked, SEARCHES[resource]), self.now,
                self.database, DEFAULT_PAGE,
            )  # fmt: skip
            return {"resource": page, "response": {"status": phrase(200)}}
        if versions is not None and version is None:
            history = parameters_of(asked, VersionsPage)
            page = history_page(self.request, self.state, self.study, resource, name, history, self.now, self.database)
            return {"resource": page, "response": {"status": phrase(200)}}
        found = self._version(resource, name, version)
        return _shown(found, name, parameters_of(asked, ReadPresentation).elements, known)

    def _version(self, resource: SupportedType, name: str, version: str | None) -> StoredResource:
        if version is None:
            return current_version(self.state, self.study, resource, name, self.now, self.database)
        return one_version(self.state, self.study, resource, name, version, self.now, self.database)


def _shown(version: StoredResource, name: str, elements: str | None, known: str | None) -> dict[str, Any]:
    document = shown(version, name, elements)
    same = matches(known, f'"{version.version}"')
    response = {
        "status": phrase(304 if same else 200),
        "etag": etag_of(version),
        "lastModified": instant_text(version.received_at),
    }
    return {"response": response} if same else {"resource": document, "response": response}


def phrase(status: int) -> str:
    """A status as an entry has it."""
    return f"{status} {HTTPStatus(status).phrase}"
