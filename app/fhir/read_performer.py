"""The laboratory that performed a measurement: the organization that a resource names as its performer.

A person or a device is no laboratory, and a performer that does not say what it is may be a person: neither is read.
In a resource that this service wrote, the performer is the laboratory.
"""

import re

from app.fhir.elements import LONGEST_SOURCE, Element, Resource, is_kept
from app.fhir.read_patient import References, contained
from app.timeline.receipts import Note, NoteCode

_TYPES = ("Organization", "http://hl7.org/fhir/StructureDefinition/Organization")
_REFERENCE = re.compile(r"(?:.*/)?Organization/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_UNREADABLE = (Note(NoteCode.DETAIL_LEFT_OUT, "lab"),)


def laboratory(
    resource: Resource, references: References | None = None, base: str | None = None
) -> tuple[str | None, tuple[Note, ...]]:
    """The name of the only organization that performed, and a note if there are several or if it has no usable name.

    A performer is a detail: nothing in it is a fault of the resource.
    """
    listed = resource.content.get("performer")
    performers = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    names = {name for each in performers if (name := _name(resource, each, references, base)) is not None}
    if not names:
        return None, ()
    [name, *others] = names
    if others or not _is_label(name):
        return None, _UNREADABLE
    return name, ()


def _name(resource: Resource, performer: Element, references: References | None, base: str | None) -> str | None:
    """The name of a performer that is an organization, "" if it has none; `None` if it is none."""
    reference = performer.get("reference")
    found: list[Element] = []
    if isinstance(reference, str) and reference.startswith("#"):
        held = contained(resource, reference[1:])
        found = [] if held is None else [held]
    elif isinstance(reference, str) and references is not None:
        found = references.found(reference, base)
    is_organization = (
        performer.get("type") in _TYPES
        or _is_ours(resource)
        or (isinstance(reference, str) and _REFERENCE.fullmatch(reference) is not None)
        or any(each.get("resourceType") == "Organization" for each in found)
    )
    if not is_organization or performer.get("type", "Organization") not in _TYPES:
        return None
    identifier = performer.get("identifier")
    given = [performer.get("display"), *(each.get("name") for each in found)]
    if isinstance(identifier, dict):
        given.append(identifier.get("value"))
    return next((name.strip() for name in given if isinstance(name, str) and name.strip()), "")


def _is_ours(resource: Resource) -> bool:
    identifiers = resource.content.get("identifier")
    return isinstance(identifiers, list) and any(
        isinstance(identifier, dict) and is_kept(identifier) for identifier in identifiers
    )


def _is_label(name: str) -> bool:
    return 0 < len(name) <= LONGEST_SOURCE and name.isprintable()
