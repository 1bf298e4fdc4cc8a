"""FHIR messages for the tests of their reader: resources that can be changed, and helpers that read them."""

import json
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from app.errors import Fault
from app.fhir.bundle_entries import Bundle, Entry
from app.fhir.read_bundle import read_bundle, read_line
from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed, history_of, readable
from app.timeline.facts import History
from app.timeline.receipts import Disposition, NoteCode
from app.timeline.vocabulary import CodeBook

DAR = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-performed"}]}
"""A dataAbsentReason."""

LATEST = 1_767_225_600_000_000
"""2026-01-01T00:00Z."""
UCUM = "http://unitsofmeasure.org"
REMOVED = object()
"""A change to this removes the element."""


def feed(
    *,
    key: bytes | None = None,
    authorities: Iterable[str] = (),
    zone: str | None = None,
    codes: dict | None = None,
    units: dict | None = None,
) -> Feed:
    """A feed of a study whose identifiers are pseudonyms, unless a key is given."""
    book = CodeBook(codes or {}, units)
    return Feed(LATEST, Pseudonyms(key, tuple(authorities)), book, ZoneInfo(zone) if zone else None)


def quantity(value: Any, unit: str | None = "U/L", **more: Any) -> dict:
    """A Quantity in a UCUM unit."""
    coded = {} if unit is None else {"unit": unit, "system": UCUM, "code": unit}
    return {"value": value, **coded, **more}


def concept(code: str, system: str = "http://loinc.org", display: str | None = None, text: str | None = None) -> dict:
    """A CodeableConcept of one coding."""
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]} | ({"text": text} if text else {})


def changed(resource: dict, **changes: Any) -> dict:
    """A resource with other elements."""
    return {name: value for name, value in {**resource, **changes}.items() if value is not REMOVED}


def ck(**changes: Any) -> dict:
    """An Observation of CK as a laboratory sends it."""
    observation = {
        "resourceType": "Observation",
        "id": "ck-1",
        "identifier": [{"system": "urn:lab:a", "value": "acc-77"}],
        "status": "final",
        "code": concept("2157-6"),
        "subject": {"reference": "Patient/P01"},
        "effectiveDateTime": "2005-03-16T09:48:00+09:00",
        "valueQuantity": quantity(1101),
        "referenceRange": [{"low": quantity(45), "high": quantity(163)}],
    }
    return changed(observation, **changes)


def ivig(**changes: Any) -> dict:
    """A MedicationAdministration of immunoglobulin."""
    administration = {
        "resourceType": "MedicationAdministration",
        "id": "ivig-1",
        "identifier": [{"system": "urn:ward", "value": "inf-1"}],
        "status": "completed",
        "medicationCodeableConcept": concept("J06BA02", "http://www.whocc.no/atc"),
        "subject": {"reference": "Patient/P01"},
        "effectivePeriod": {"start": "2005-04-11T10:00:00+09:00", "end": "2005-04-11T14:00:00+09:00"},
        "dosage": {"text": "over four hours", "dose": quantity(0.4, "g/kg")},
    }
    return changed(administration, **changes)


def rash(**changes: Any) -> dict:
    """An AdverseEvent."""
    event = {
        "resourceType": "AdverseEvent",
        "id": "ae-1",
        "identifier": {"system": "urn:safety", "value": "ae-1"},
        "actuality": "actual",
        "event": {"text": "rash"},
        "subject": {"reference": "Patient/P01"},
        "date": "2005-04-12",
        "seriousness": concept("Non-serious", "http://terminology.hl7.org/CodeSystem/adverse-event-seriousness"),
        "severity": concept("mild", "http://terminology.hl7.org/CodeSystem/adverse-event-severity"),
    }
    return changed(event, **changes)


def person(**changes: Any) -> dict:
    """A Patient with everything that is not stored."""
    resource = {
        "resourceType": "Patient",
        "id": "P01",
        "identifier": [{"system": "urn:mrn", "value": "P01"}],
        "name": [{"family": "Planted", "given": ["Name"]}],
        "telecom": [{"system": "phone", "value": "555-0100"}],
        "address": [{"city": "Plantedville"}],
        "gender": "female",
        "birthDate": "1953-07-04",
    }
    return changed(resource, **changes)


def post(resource: dict, url: str | None = None, **more: Any) -> dict:
    """An entry that creates a resource."""
    entry = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}, **more}
    return {"fullUrl": url, **entry} if url else entry


def bundle(*entries: Any, type: str = "transaction") -> dict:
    """A Bundle."""
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def read(resource: Any, to: Feed | None = None) -> Entry:
    """One resource as it is read."""
    return read_line(json.dumps(resource).encode(), to or feed())


def read_all(content: Any, to: Feed | None = None) -> Bundle:
    """A bundle as it is read."""
    return read_bundle(json.dumps(content).encode(), to or feed())


def history_and_faults(entry: Entry) -> tuple[History, tuple[Fault, ...]]:
    """The history of one entry and all of its faults, those of its history included."""
    history, faults = history_of("P01", entry.statements, LATEST)
    return history, (*entry.faults, *faults)


def faults(resource: Any, to: Feed | None = None) -> list[tuple[str, str]]:
    """Places and codes of all faults of a resource."""
    return sorted((fault.pointer, str(fault.code)) for fault in set(history_and_faults(read(resource, to))[1]))


def set_aside(resource: Any, to: Feed | None = None) -> list[tuple[str, str]]:
    """Places and codes of the facts of a resource that are set aside, although others of it are kept."""
    entry = read(resource, to)
    assert entry.faults == ()
    history = readable("P01", entry.statements, LATEST)
    assert any(facts for _, facts in history.kinds())
    late = [(line.place, str(line.reason)) for line in history.aside if line.disposition is Disposition.SET_ASIDE]
    first = [faulty.faults[0] for faulty in entry.set_aside]
    return [*((fault.pointer, str(fault.code)) for fault in first), *late]


def left_out(resource: Any, to: Feed | None = None) -> list[str | None]:
    """The details of a resource that are left out."""
    entry = read(resource, to)
    assert entry.faults == ()
    notes = [
        *[note for line in entry.aside for note in line.notes],
        *[n for each in entry.statements for n in each.notes],
    ]
    assert {note.code for note in notes} <= {NoteCode.DETAIL_LEFT_OUT}
    return [note.about for note in notes]


def only(resource: Any, to: Feed | None = None) -> Any:
    """The one result or score of a resource that has no fault."""
    history, wrong = history_and_faults(read(resource, to))
    assert wrong == ()
    [fact] = history.labs + history.assessments
    return fact
