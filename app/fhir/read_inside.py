"""Facts inside other resources: results that a report or a panel contains, and facts in resources that are not stored.

A contained Observation has no id that means anything elsewhere, so its id is not its number. What it does not say
itself is said by its report, as R4 defines the elements of a report: whose values they are, the time to which they are
related, and when this version of them was released. Facts in any other place are not read, and a fault or a line of the
receipt says so.
"""

from collections.abc import Iterator
from typing import Any

from app.errors import Accepts, Fault, FaultCode
from app.fhir.elements import Element, FaultyFact, ReadResult, Resource
from app.fhir.read_administration import administration, medication, request_of_drug
from app.fhir.read_adverse_event import adverse_event
from app.fhir.read_observation import EFFECTIVE, observation, unlisted_panel
from app.fhir.read_patient import References
from app.readers.statements import left_out
from app.timeline.receipts import Disposition, ReceiptLine
from app.timeline.vocabulary import WITHDRAWN

SEND_ALONE = "A resource in this place is not read. Send it as an entry of its own, or by itself."
REPORT_STATUSES = (
    "registered", "partial", "preliminary", "final", "amended", "corrected", "appended", "cancelled",
    "entered-in-error", "unknown",
)  # fmt: skip
_STATUSES = Accepts(one_of=REPORT_STATUSES)
_INSIDE = ("contained", "entry", "parameter")
"""Elements that may hold resources."""
_HOLDS_RESULTS = frozenset({"DiagnosticReport", "Observation"})


def read_inside(resource: Resource, read: ReadResult, references: References, base: str | None) -> ReadResult:
    """What was read of a resource, and the results that it contains."""
    content = resource.content
    if content.keys().isdisjoint(_INSIDE):
        return read
    if content["resourceType"] in _HOLDS_RESULTS:
        read = _with_results(resource, read, references, base)
    unread = list(_facts_inside(resource, content, "", references))
    if read.skipped is not None:
        resource.faults += unread
        return read
    return read._replace(lines=(*read.lines, *(left_out(fault.pointer, "contained") for fault in unread)))


def _with_results(resource: Resource, read: ReadResult, references: References, base: str | None) -> ReadResult:
    """What was read of a report or a panel, with the Observations that it contains."""
    statements, aside, lines = list(read.statements), list(read.aside), list(read.lines)
    listed = resource.content.get("contained")
    for i, each in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(each, dict) or each.get("resourceType") != "Observation":
            continue
        inner = Resource(_alone(resource.content, each), f"{resource.place}.contained[{i}]", resource.message)
        found = observation(inner, references, base)
        if found.skipped is not None and not inner.faults:
            not_ours = ReceiptLine(inner.place, Disposition.NOT_OURS, found.skipped, sent=found.unknown)
            lines += found.lines or [not_ours]
        elif found.panel is not None:
            lines.append(unlisted_panel(found.panel, resource.feed.latest))
        else:
            _check_subject(resource, inner, references, base)
            aside += found.aside
            lines += found.lines
            if inner.faults:
                aside.append(FaultyFact(tuple(inner.faults), next(iter(found.statements), None)))
            else:
                statements += found.statements
    if len(statements) + len(aside) == len(read.statements) + len(read.aside):
        matters = any(line.disposition is Disposition.SET_ASIDE for line in lines)
        return read._replace(skipped=None if matters else read.skipped, lines=tuple(lines))
    if resource.content["resourceType"] == "DiagnosticReport":
        _check_report(resource)
    return ReadResult(tuple(statements), None, tuple(aside), tuple(lines), read.panel)


def _alone(container: Element, contained: Element) -> dict[str, Any]:
    """A contained Observation as if it were sent by itself."""
    alone = {name: value for name, value in contained.items() if name != "id"} | {"contained": container["contained"]}
    from_container = ["subject"]
    if container["resourceType"] == "DiagnosticReport":
        from_container += ["issued", *(["effectiveDateTime"] if all(alone.get(of) is None for of in EFFECTIVE) else [])]
        status = container.get("status")
        if isinstance(status, str) and status in WITHDRAWN:
            alone["status"] = status
    for name in from_container:
        if alone.get(name) is None and container.get(name) is not None:
            alone[name] = container[name]
    return alone


def _check_subject(resource: Resource, inner: Resource, references: References, base: str | None) -> None:
    """Add a fault if a contained result is of another patient than its container; a container without a subject gets
    that of the result.
    """
    who, _ = references.subject(inner, base)
    if resource.content.get("subject") is None and inner.content.get("subject") is not None:
        resource.content = {**resource.content, "subject": inner.content["subject"]}
    container = Resource(resource.content, resource.place, resource.message)
    if who is not None and who != references.subject(container, base)[0]:
        inner.fault(".subject", FaultCode.AMBIGUOUS_SUBJECT)


def _check_report(resource: Resource) -> None:
    """Add the faults of a report whose results are read."""
    resource.check_modifiers(resource.content, "")
    status = resource.text(resource.content, "status")
    if resource.content.get("status") is None:
        resource.fault(".status", FaultCode.MISSING, _STATUSES)
    elif status is not None and status not in REPORT_STATUSES:
        resource.fault(".status", FaultCode.UNKNOWN_VALUE, _STATUSES)


def _facts_inside(resource: Resource, content: Element, at: str, references: References) -> Iterator[Fault]:
    """A fault for each fact inside a resource that is not read there."""
    read = content["resourceType"] in _HOLDS_RESULTS and not at
    for where, each in _resources_inside(content, at):
        if read and each.get("resourceType") == "Observation":
            continue
        if _is_fact(Resource(each, "", resource.message), references):
            yield Fault(resource.place + where, FaultCode.UNSUPPORTED, SEND_ALONE)
        else:
            yield from _facts_inside(resource, each, where, references)


def _resources_inside(content: Element, at: str) -> Iterator[tuple[str, Element]]:
    """The resources directly inside another one, each with its place."""
    for name in _INSIDE:
        listed = content.get(name)
        for i, each in enumerate(listed if isinstance(listed, list) else ()):
            where = f"{at}.{name}[{i}]"
            inner = each
            if name != "contained" and isinstance(each, dict):
                inner, where = each.get("resource"), where + ".resource"
            if isinstance(inner, dict) and isinstance(inner.get("resourceType"), str):
                yield where, inner


def _is_fact(inner: Resource, references: References) -> bool:
    """Whether a resource states a fact that is stored where it is sent by itself."""
    match inner.content["resourceType"]:
        case "Observation":
            read = observation(inner)
        case "MedicationAdministration":
            read = administration(inner, references, None)
        case "MedicationStatement":
            read = medication(inner, references, None)
        case "MedicationRequest":
            read = request_of_drug(inner, references, None)
        case "AdverseEvent":
            read = adverse_event(inner)
        case _:
            return False
    return bool(read.statements or read.aside)
