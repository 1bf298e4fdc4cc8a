"""What an entry of a bundle asks for: the method and the address of `Bundle.entry.request`."""

import re
from functools import lru_cache
from typing import get_args

from app.errors import FaultCode
from app.fhir.bundle_entries import Method, Request
from app.fhir.elements import R4_TYPES, Element, Resource
from app.fhir.read_patient import identifier_searched

_METHODS: dict[str, Method] = {method: method for method in get_args(Method)}
_ADDRESS = re.compile(r"([A-Za-z]+)(?:/([A-Za-z0-9\-.]{1,64}))?(\?.*)?")


def read_request(entry: Resource) -> Request | None:
    """The request of an entry, `entry.content`; `None` where it cannot be served, which is then among its faults."""
    given = entry.element(entry.content, "request")
    if given is None:
        if entry.content.get("request") is None:
            entry.fault(".request", FaultCode.MISSING)
        return None
    method, url = entry.text(given, "method", ".request"), entry.text(given, "url", ".request")
    if len(given) == 2 and method is not None and url is not None:
        asked = asked_for(method, url)  # as most entries of most bundles have it
        if isinstance(asked, Request):
            return asked
    for name in ("method", "url"):
        if given.get(name) is None:
            entry.fault(".request." + name, FaultCode.MISSING)
    if method is None or url is None:
        return None
    condition, match = entry.text(given, "ifNoneExist", ".request"), entry.text(given, "ifMatch", ".request")
    if method != "GET" and given.get("ifNoneMatch") is not None:
        entry.fault(".request.ifNoneMatch", FaultCode.UNSUPPORTED)
    asked = asked_for(method, url, condition, match)
    if isinstance(asked, Request):
        return asked
    entry.fault(".request." + asked, FaultCode.UNSUPPORTED)
    return None


def check_agreement(entry: Resource, request: Request, content: Element | None) -> None:
    """Whether the request and the resource beside it are about the same thing."""
    if request.method in {"GET", "DELETE"}:
        if content is not None:
            entry.fault(".resource", FaultCode.UNSUPPORTED)
        return
    if content is None:
        return
    if content.get("resourceType") != request.resource:
        entry.fault(".request.url", FaultCode.PATH_MISMATCH)
    if request.method == "PUT" and content.get("id") != request.id:
        missing = content.get("id") is None
        entry.fault(".resource.id", FaultCode.MISSING if missing else FaultCode.PATH_MISMATCH)


@lru_cache(maxsize=256)
def asked_for(method: str, url: str, condition: str | None = None, match: str | None = None) -> Request | str:
    """The request, or the element of it that is not served. Most entries of most bundles ask for the same."""
    known = _METHODS.get(method)
    if known is None:
        return "method"
    address = _ADDRESS.fullmatch(url)
    if address is None or address[1] not in R4_TYPES:
        return "url"
    resource, own, query = address.groups()
    fits = {
        "POST": own is None and query is None,
        "PUT": own is not None and query is None,
        "DELETE": own is not None and query is None,
        "GET": own is None or query is None,
    }
    if not fits[known]:
        return "url"
    if condition is None:
        return Request(known, url, resource, own, None, match)
    before, mark, query = condition.partition("?")
    searched = query if mark and before.rpartition("/")[2] in {"", resource} else condition
    identifier = identifier_searched(searched)
    if identifier is None or known != "POST":
        return "ifNoneExist"
    return Request(known, url, resource, own, identifier, match)
