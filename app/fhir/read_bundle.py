"""From the bytes of a FHIR message to entries: one resource, or a bundle of them.

An entry has every fault that its resource alone shows. Other faults (units, ranges, times in the future) are found by
`readers.statements.history_of`, when the statements of a patient are put together. An entry that is faulty already gets
those faults here, too, so that the sender sees all of them at once.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, get_args

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, TooLarge
from app.fhir.bundle_entries import Bundle, BundleType, Entry, Method, Request
from app.fhir.elements import ARRAY, OBJECT, R4_TYPES, TEXT, Element, Message, ReadResult, Resource, is_id, is_kept
from app.fhir.own_address import NOWHERE, OwnAddress
from app.fhir.read_administration import administration, medication, request_of_drug
from app.fhir.read_adverse_event import adverse_event
from app.fhir.read_common_observation import common_observation
from app.fhir.read_inside import read_inside
from app.fhir.read_observation import observation
from app.fhir.read_patient import IF_NONE_EXIST, References, identifier_searched, patient, server_of
from app.readers.budget import check_time
from app.readers.faults import check_syntax
from app.readers.gc_pause import gc_paused
from app.readers.statements import Feed, Statement, history_of
from app.readers.streams import without_mark
from app.timeline.normalize import MOST_FAULTS
from app.timeline.resource import KINDS_OF
from app.timeline.vocabulary import WITHDRAWN

_METHODS: dict[str, Method] = {method: method for method in get_args(Method)}
_ADDRESS = re.compile(r"([A-Za-z]+)(?:/([A-Za-z0-9\-.]{1,64})(/_history(?:/[A-Za-z0-9\-.]{1,64})?)?)?(\?.*)?")
MOST_ENTRIES = 10_000
"""The greatest number of entries of one bundle."""

_REFERRED_TO = ("Patient", "Medication", "Organization")
"""The types of resources that others of the bundle refer to."""
SERVED = Accepts(one_of=tuple(method for method in _METHODS if method != "GET"))
"""The methods of entries that are served in every bundle."""
SERVED_IN_A_BATCH = Accepts(one_of=tuple(_METHODS))
MOST_READS = 100
"""The greatest number of entries of one batch that read or search."""
A_PART = "This is a part of a resource. What it does not show would be lost: read and send the whole resource."
OF_ANOTHER_SERVER = "This is an address of another server, or of another study."
NO_SUCH_CONDITION = (
    "A conditional update has the parameter `identifier` and no other one; a conditional delete is not supported."
)
_ACCEPTED_TYPES = Accepts(form="a resource type of FHIR R4", see="https://hl7.org/fhir/R4/resourcelist.html")
_ACCEPTED_REQUESTS = {
    "method": SERVED,
    "url": Accepts(
        form="[type] for POST, [type]/[id] or [type]?identifier=system|value for PUT, [type]/[id] for DELETE, a read, "
        "a history or a search for GET; a slash or the address of this facade may come before it"
    ),
    "ifNoneExist": IF_NONE_EXIST,
    "ifNoneMatch": Accepts(form="the ETag of the version that the client has, in an entry with GET"),
}
"""What the elements of a request accept."""
_WITH_REQUESTS = frozenset({"transaction", "batch"})
_CREATE = {"method": "POST", "url": "Observation"}
_CREATED = Request("POST", "Observation", "Observation")
"""The request of most results, as it is sent and as it is read."""
_SUBJECT = frozenset({"reference", "display"})
"""The elements of the subject of most results; `display` is not read."""
_BUNDLE_TYPES: dict[str, BundleType] = {name: name for name in get_args(BundleType)}


def read_resource(body: bytes, feed: Feed, resource: str, own: OwnAddress = NOWHERE) -> Entry:
    """One resource; `resource` is the type in the address to which it was sent.

    Raises `MalformedDocument`, `TooLarge`, or `InvalidDocument` if the body is not a JSON object.
    """
    content = _object(body)
    if content.get("resourceType") != resource:
        return Entry(0, resource, resource, faults=(_another_type(content, resource),))
    return _alone(content, Message(feed, body, own=own))


def read_line(body: bytes, feed: Feed, own: OwnAddress = NOWHERE) -> Entry:
    """One resource of any type: a line of FHIR NDJSON. Raises the same errors as `read_resource`."""
    return _alone(_object(body), Message(feed, body, own=own))


@gc_paused()  # what was parsed is gone before the collector would examine it
def read_bundle(body: bytes, feed: Feed, own: OwnAddress = NOWHERE) -> Bundle:
    """A bundle of type transaction, batch or collection, or the answer to a search (searchset), which is read like a
    collection. `own` is the address of the facade to which it was sent.

    Raises `MalformedDocument`, `TooLarge`, or `InvalidDocument` if the bundle itself is faulty.
    """
    content = _object(body)
    if content.get("resourceType") != "Bundle":
        raise InvalidDocument(faults=[_another_type(content, "Bundle")])
    bundle = Resource(content, "Bundle", Message(feed, body, own=own))
    bundle.check_modifiers(content, "")
    given = bundle.text(content, "type")
    kind = None if given is None else _BUNDLE_TYPES.get(given)
    if content.get("type") is None:
        bundle.fault(".type", FaultCode.MISSING, Accepts(one_of=tuple(_BUNDLE_TYPES)))
    elif given is not None and kind is None:
        bundle.fault(".type", FaultCode.UNSUPPORTED, Accepts(one_of=tuple(_BUNDLE_TYPES)))
    listed = content.get("entry")
    if listed is not None and not isinstance(listed, list):
        bundle.fault(".entry", FaultCode.WRONG_TYPE, ARRAY)
    if bundle.faults or kind is None:
        raise InvalidDocument(faults=bundle.faults)
    listed = listed or []
    if len(listed) > MOST_ENTRIES:
        raise TooLarge(f"A bundle may hold {MOST_ENTRIES} entries.")
    if sum(1 for each in listed if _reads(each)) > MOST_READS:
        raise TooLarge(f"A batch may have {MOST_READS} entries with GET.")
    bundle.message.strict = kind != "batch"
    references = _references(listed, bundle.message)
    return Bundle(kind, tuple(_entry(each, i, kind, references, bundle.message) for i, each in enumerate(listed)))


def _object(body: bytes) -> dict[str, Any]:
    content = check_syntax(without_mark(body))
    if not isinstance(content, dict):
        raise InvalidDocument(faults=[Fault("", FaultCode.WRONG_TYPE, None, OBJECT)])
    return content


def _another_type(content: Element, accepted: str) -> Fault:
    """The fault of a resource whose type is missing or is not the one accepted here."""
    missing = content.get("resourceType") is None
    code = FaultCode.MISSING if missing else FaultCode.UNKNOWN_VALUE
    return Fault("resourceType", code, None, Accepts(one_of=(accepted,)))


def _type_fault(content: Element, at: str) -> Fault | None:
    """The fault of a resource whose type is not one of R4, else `None`."""
    kind = content.get("resourceType")
    if kind is None:
        return Fault(at, FaultCode.MISSING, None, _ACCEPTED_TYPES)
    if not isinstance(kind, str):
        return Fault(at, FaultCode.WRONG_TYPE, None, TEXT)
    return None if kind in R4_TYPES else Fault(at, FaultCode.UNKNOWN_VALUE, None, _ACCEPTED_TYPES)


def _references(listed: list[Any], message: Message) -> References:
    references = References(message)
    for entry in listed:
        content = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(content, dict) and content.get("resourceType") in _REFERRED_TO:
            url = entry.get("fullUrl")
            references.add(url if isinstance(url, str) else None, content)
    return references


def _alone(content: Element, message: Message) -> Entry:
    """A resource that was not sent in a bundle."""
    wrong = _type_fault(content, "resourceType")
    if wrong is not None:
        return Entry(0, "", None, faults=(wrong,))
    resource = Resource(content, content["resourceType"], message)
    if resource.place == "Bundle":  # it is read by `read_bundle`
        return Entry(0, resource.place, resource.place, skipped="resource")
    return _read(resource, 0, References(message))


def _entry(each: Any, index: int, kind: BundleType, references: References, message: Message) -> Entry:  # noqa: ANN401
    """An entry of a bundle: its request and its resource, if it has one."""
    check_time()
    common = _common_entry(each, index, kind, references, message)
    return _any_entry(each, index, kind, references, message) if common is None else common


def _common_entry(each: object, index: int, kind: BundleType, references: References, message: Message) -> Entry | None:
    """The entry of a laboratory result in its most common form that is created; `None` if it has another form or may
    have a fault. It is read here several times faster than by `_any_entry`; both give the same entry.
    """
    created = kind in _WITH_REQUESTS
    if type(each) is not dict or not _is_common(each, created):
        return None
    content, base, place = each["resource"], server_of(each.get("fullUrl")), f"Bundle.entry[{index}].resource"
    stated = common_observation(Resource(content, place, message), references, base)
    if stated is None:
        return None
    who = references.patient_at(content["subject"]["reference"], base)
    if type(who) is FaultCode:
        return None
    return Entry(
        index, place, "Observation", content.get("id"), _CREATED if created else None, who,
        place + ".subject.reference", (stated,), strict=message.strict,
    )  # fmt: skip


def _is_common(each: Element, created: bool) -> bool:
    """Whether an entry is like those of most results: its request, its addresses, its id and its subject."""
    content = each.get("resource")
    if type(content) is not dict or content.get("resourceType") != "Observation" or "implicitRules" in each:
        return False
    url, own, meta, subject = each.get("fullUrl"), content.get("id"), content.get("meta"), content.get("subject")
    if type(subject) is not dict or not _SUBJECT.issuperset(subject) or (type(meta) is dict and "tag" in meta):
        return False
    reference = subject.get("reference")
    return (
        each.get("request") == (_CREATE if created else None)
        and (url is None or type(url) is str)
        and (own is None or (type(own) is str and is_id(own)))
        and type(reference) is str
        and reference[:1] != "#"
    )


def _any_entry(each: Any, index: int, kind: BundleType, references: References, message: Message) -> Entry:  # noqa: ANN401
    """An entry of any form."""
    place = f"Bundle.entry[{index}]"
    if not isinstance(each, dict):
        return Entry(index, place, None, faults=(Fault(place, FaultCode.WRONG_TYPE, None, OBJECT),))
    entry = Resource(each, place, message)
    entry.check_modifiers(each, "")
    request = None
    if kind in _WITH_REQUESTS:
        request = _read_request(entry)
    elif each.get("request") is not None:
        entry.fault(".request", FaultCode.UNSUPPORTED)
    content = each.get("resource")
    if content is not None and not isinstance(content, dict):
        entry.fault(".resource", FaultCode.WRONG_TYPE, OBJECT)
        content = None
    elif content is None and (
        kind in {"collection", "searchset"} or (request is not None and request.method in {"POST", "PUT"})
    ):
        entry.fault(".resource", FaultCode.MISSING)
    if request is not None:
        _check_agreement(entry, request, content)
        own = None if content is None or request.condition is None else content.get("id")
        request = replace(request, id=own) if isinstance(own, str) and is_id(own) else request
    if content is None or (request is not None and request.method in {"GET", "DELETE"}):
        return Entry(index, place, request.resource if request else None, request=request, faults=tuple(entry.faults))
    url = entry.text(each, "fullUrl")
    wrong = _type_fault(content, place + ".resource.resourceType")
    if wrong is not None:
        return Entry(index, place + ".resource", None, request=request, faults=(*entry.faults, wrong))
    resource = Resource(content, place + ".resource", message)
    return _read(resource, index, references, server_of(url), request, entry.faults)


def _read_request(entry: Resource) -> Request | None:
    """The request of a bundle entry; `None` if it cannot be served, with a fault added to the entry."""
    given = entry.element(entry.content, "request")
    if given is None:
        if entry.content.get("request") is None:
            entry.fault(".request", FaultCode.MISSING)
        return None
    method, url = entry.text(given, "method", ".request"), entry.text(given, "url", ".request")
    if url is not None and (url.startswith("/") or "://" in url):
        url = entry.message.own.inside(url)
        if url is None:
            entry.fault(".request.url", FaultCode.UNSUPPORTED, _ACCEPTED_REQUESTS["url"], OF_ANOTHER_SERVER)
            return None
    if len(given) == 2 and method is not None and url is not None:
        parsed = _parse_request(method, url)  # most entries have only these two
        if isinstance(parsed, Request):
            return parsed
    for name in ("method", "url"):
        if given.get(name) is None:
            entry.fault(".request." + name, FaultCode.MISSING, _ACCEPTED_REQUESTS[name])
    if method is None or url is None:
        return None
    condition, match = entry.text(given, "ifNoneExist", ".request"), entry.text(given, "ifMatch", ".request")
    known = entry.text(given, "ifNoneMatch", ".request")
    if method != "GET" and known is not None:
        entry.fault(".request.ifNoneMatch", FaultCode.UNSUPPORTED, _ACCEPTED_REQUESTS["ifNoneMatch"])
    parsed = _parse_request(method, url, condition, match, known)
    if isinstance(parsed, Request):
        return parsed
    detail = NO_SUCH_CONDITION if parsed == "url" and "?" in url and method in {"PUT", "DELETE"} else None
    accepts = _ACCEPTED_REQUESTS[parsed]
    if accepts is SERVED and not entry.message.strict:
        accepts = SERVED_IN_A_BATCH
    entry.fault(".request." + parsed, FaultCode.UNSUPPORTED, accepts, detail)
    return None


def _reads(entry: object) -> bool:
    """Whether an entry asks to read."""
    request = entry.get("request") if isinstance(entry, dict) else None
    return isinstance(request, dict) and request.get("method") == "GET"


def _check_agreement(entry: Resource, request: Request, content: Element | None) -> None:
    """Add faults if the resource of an entry is not the one that its request names."""
    if request.method in {"GET", "DELETE"}:
        if content is not None:
            entry.fault(".resource", FaultCode.UNSUPPORTED)
        return
    if content is None:
        return
    if content.get("resourceType") != request.resource:
        entry.fault(".request.url", FaultCode.PATH_MISMATCH)
    if request.method == "PUT" and request.condition is None and content.get("id") != request.id:
        missing = content.get("id") is None
        entry.fault(".resource.id", FaultCode.MISSING if missing else FaultCode.PATH_MISMATCH)


@lru_cache(maxsize=256)
def _parse_request(
    method: str, url: str, condition: str | None = None, match: str | None = None, known_tag: str | None = None
) -> Request | str:
    """The request, or the name of its element that is not supported. Cached, because most entries are alike."""
    known = _METHODS.get(method)
    if known is None:
        return "method"
    address = _ADDRESS.fullmatch(url)
    if address is None or address[1] not in R4_TYPES:
        return "url"
    resource, own, versions, query = address.groups()
    searched = identifier_searched(query[1:]) if known == "PUT" and own is None and query is not None else None
    fits = {
        "POST": own is None and query is None,
        "PUT": searched is not None or (own is not None and versions is None and query is None),
        "DELETE": own is not None and versions is None and query is None,
        "GET": True,
    }
    if not fits[known]:
        return "url"
    if condition is None:
        return Request(known, url, resource, own, None, match, searched, known_tag)
    before, mark, query = condition.partition("?")
    identifier = identifier_searched(query if mark and before.rpartition("/")[2] in {"", resource} else condition)
    if identifier is None or known != "POST":
        return "ifNoneExist"
    return Request(known, url, resource, own, identifier, match)


def _read(
    resource: Resource,
    index: int,
    references: References,
    base: str | None = None,
    request: Request | None = None,
    before: Sequence[Fault] = (),
) -> Entry:
    """An entry with the statements and the subject of its resource; `before` are the faults of the entry itself."""
    kind, place, own = resource.content["resourceType"], resource.place, resource.content.get("id")
    if not isinstance(own, str):
        own = None
    read = _read_content(kind, resource, references, base)
    strict = resource.message.strict
    if read.skipped is not None and not resource.faults:
        skipped, status = None if before else read.skipped, resource.content.get("status")
        withdrawn = isinstance(status, str) and status in WITHDRAWN
        return Entry(index, place, kind, own, request, skipped=skipped, faults=tuple(before), withdrawn=withdrawn,
                     aside=read.lines, unknown=read.unknown)  # fmt: skip
    if kind not in KINDS_OF and read.skipped is not None:
        return Entry(index, place, kind, own, request, faults=(*before, *resource.faults))
    resource.check_id()
    partial = kind != "Patient" and _is_part(resource.content)
    if partial and _is_from_here(resource.content):
        resource.fault(".meta.tag", FaultCode.UNSUPPORTED, None, A_PART)
    subject, subject_place = references.subject(resource, base)
    links = references.links(resource, base) if kind == "Patient" else ()
    stated = read.statements
    if read.aside and (strict or not stated):  # else they are set aside, and harm no other fact
        resource.faults += [fault for faulty in read.aside for fault in faulty.faults]
        stated += tuple(faulty.statement for faulty in read.aside if faulty.statement is not None)
    if not resource.faults and not before:
        set_aside = () if strict else read.aside
        return Entry(
            index, place, kind, own, request, subject, subject_place, stated,
            set_aside=set_aside, aside=read.lines, panel=read.panel, links=links, strict=strict,
            partial=partial,
        )  # fmt: skip
    faults = [*before, *resource.faults, *_other_faults(stated, resource)]
    return Entry(index, place, kind, own, request, None, subject_place, faults=tuple(faults[:MOST_FAULTS]))


def _is_part(content: Element) -> bool:
    """Whether the tag of a resource says that only some of its elements are shown."""
    meta = content.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return isinstance(tags, list) and any(isinstance(tag, dict) and tag.get("code") == "SUBSETTED" for tag in tags)


def _is_from_here(content: Element) -> bool:
    """Whether a resource comes from an answer of this service."""
    given = content.get("identifier")
    listed = given if isinstance(given, list) else [given]
    return any(isinstance(each, dict) and is_kept(each) for each in listed)


def _read_content(kind: str, resource: Resource, references: References, base: str | None) -> ReadResult:
    match kind:
        case "Patient":
            read = patient(resource)
        case "Observation":
            read = observation(resource, references, base)
        case "AdverseEvent":
            read = adverse_event(resource)
        case "MedicationAdministration":
            read = administration(resource, references, base)
        case "MedicationStatement":
            read = medication(resource, references, base)
        case "MedicationRequest":
            read = request_of_drug(resource, references, base)
        case _:
            read = ReadResult(skipped="resource")
    return read_inside(resource, read, references, base)


def _other_faults(statements: tuple[Statement, ...], resource: Resource) -> list[Fault]:
    """Further faults of the statements of a faulty resource. Missing fields are left out: they are reported already."""
    given = (
        statement._replace(fields={name: value for name, value in statement.fields.items() if value is not None})
        for statement in statements
    )
    _, faults = history_of("unread", given, resource.feed.latest)
    known = {fault.pointer for fault in resource.faults}
    return [fault for fault in faults if fault.code is not FaultCode.MISSING and fault.pointer not in known]
