"""Interactions of FHIR R4 that are not supported: each address says what is supported instead."""

from typing import NoReturn

from fastapi import Request

from app.fhir.search_parameters import SEARCHES
from app.fhir.unsupported import refusal_of
from app.http.addresses import path_of
from app.http.problems import allowed_methods
from app.http.routing import Operations

first = Operations(tags=["fhir"])
"""Before the addresses of resources: a name that begins with `_` or `$` is never the id of one."""
last = Operations(tags=["fhir"])
"""After all others."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def refuse_unsupported(request: Request) -> NoReturn:
    """Refuse an interaction that is not supported, and name what is."""
    rest = path_of(request.scope).split("/", 3)[3:]
    raise refusal_of(request.method, rest[0] if rest else "", ", ".join(allowed_methods(request)))


for _type in SEARCHES:
    for _path in (f"{_type}/_history", f"{_type}/${{operation}}"):
        first.add_api_route(
            f"/fhir/{{study}}/{_path}",
            refuse_unsupported,
            methods=["GET"],
            include_in_schema=False,
            response_model=None,
        )
for _path in ("/fhir/{study}", "/fhir/{study}/{rest:path}"):
    last.add_api_route(_path, refuse_unsupported, methods=list(METHODS), include_in_schema=False, response_model=None)
