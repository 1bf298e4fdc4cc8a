"""The form that nearly all entries of a laboratory's bundles have, read in one go.

An entry that asks to store an Observation of the form that `plain` reads, about somebody whom one reference names, is
read here for little more than `plain` takes by itself; `reader` reads every entry and finds every fault. Whatever is
the least bit different, or might be at fault, is left to it: this reader says the same or nothing.
"""

from typing import Any

from app.errors import FaultCode
from app.ingest.fhir.entries import BundleType, Entry, Reference, Request
from app.ingest.fhir.patients import References, base_of
from app.ingest.fhir.plain import plain_statement
from app.ingest.fhir.requests import asked_for
from app.ingest.fhir.resource import Message, is_id

_ALONE = frozenset({"fullUrl", "resource"})
_ASKED = _ALONE | {"request"}
_SUBJECT = frozenset({"reference", "display"})


def plain_entry(each: Any, index: int, kind: BundleType, references: References, message: Message) -> Entry | None:  # noqa: ANN401
    """What an entry of a bundle says; `None` where it has another form or may have a fault."""
    try:
        content = each["resource"]
        own, asks = content.get("id"), kind != "collection"
        if (
            content["resourceType"] != "Observation"
            or not (_ASKED if asks else _ALONE).issuperset(each)
            or not (own is None or (type(own) is str and is_id(own)))
        ):
            return None
        request = _storing(each["request"], own) if asks else None
        who = _whom(content["subject"], each.get("fullUrl"), references)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    place = f"Bundle.entry[{index}].resource"
    statement = plain_statement(content, place, message)
    if statement is None:
        return None
    return Entry(index, place, "Observation", own, request, who, place + ".subject.reference", (statement,))


def _storing(asked: dict[str, Any], own: str | None) -> Request:
    """The request to create an Observation or to update that whose id is `own`. Raises `ValueError` for any other."""
    request = asked_for(asked["method"], asked["url"])
    if not isinstance(request, Request) or request.resource != "Observation" or len(asked) != 2:
        raise ValueError
    if request.method != "POST" and (request.method != "PUT" or request.id != own):
        raise ValueError
    return request


def _whom(subject: dict[str, Any], url: str | None, references: References) -> str | Reference:
    """Whom the reference of a subject leads to, for an entry at the address `url`. Raises `ValueError` at fault."""
    reference = subject["reference"]
    if (
        type(reference) is not str
        or reference.startswith("#")
        or not _SUBJECT.issuperset(subject)
        or not (url is None or type(url) is str)
    ):
        raise ValueError
    who = references.led_to(reference, base_of(url))
    if isinstance(who, FaultCode):
        raise ValueError
    return who
