"""Modifier elements of R4: each of a resource that is read changes the meaning, is said, or refuses the resource."""

from typing import Any

import pytest

from tests.fhir.fhir_messages import (
    REMOVED,
    changed,
    ck,
    concept,
    history_and_faults,
    ivig,
    left_out,
    person,
    quantity,
    rash,
    read,
)

EXTENSION = [{"url": "urn:not", "valueBoolean": True}]
MEDICATION = {"resourceType": "Medication", "id": "m", "code": concept("J06BA02", "http://www.whocc.no/atc")}
REPLACED = [{"type": "replaced-by", "other": {"reference": "Patient/P02"}}]
CURRENT, OLD = {"system": "urn:b", "value": "2"}, {"system": "urn:a", "value": "1", "use": "old"}
OFFICIAL = {"system": "urn:c", "value": "3", "use": "official"}


def of_medication(**changes: Any) -> dict:
    """An administration of a drug that is in a Medication."""
    drug = {"medicationCodeableConcept": REMOVED, "medicationReference": {"reference": "#m"}}
    return ivig(**drug, contained=[{**MEDICATION, **changes}])


def report(**changes: Any) -> dict:
    """A report with a result."""
    about = {"status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/P01"}}
    return changed({"resourceType": "DiagnosticReport", **about, "contained": [ck(id="o")]}, **changes)


def refused(resource: dict) -> bool:
    """Whether a resource has a fault."""
    return bool(history_and_faults(read(resource))[1])


def status_of(resource: dict) -> str | None:
    """The status of the fact of a resource; `None` if it is skipped."""
    entry = read(resource)
    assert entry.faults == ()
    return None if entry.skipped else entry.statements[0].fields["status"]


MODIFIERS: dict[str, list[tuple[Any, Any]]] = {
    "*.implicitRules": [
        (refused(make(implicitRules="urn:rules")), True) for make in (ck, ivig, rash, person, of_medication, report)
    ],
    "*.modifierExtension": [
        (refused(make(modifierExtension=EXTENSION)), True) for make in (ck, ivig, rash, person, of_medication, report)
    ],
    "Observation.status": [
        (status_of(ck(status=sent)), kept)
        for sent, kept in {"registered": None, "unknown": None, "cancelled": "cancelled",
                           "entered-in-error": "entered-in-error", "corrected": "corrected"}.items()
    ],
    "Observation.component.modifierExtension": [
        (refused(ck(code=concept("24325-3"), valueQuantity=REMOVED, component=[
            {"code": concept("2157-6"), "valueQuantity": quantity(5), "modifierExtension": EXTENSION}])), True)
    ],
    "Observation.referenceRange.modifierExtension": [
        (refused(ck(referenceRange=[{"high": quantity(163), "modifierExtension": EXTENSION}])), True)
    ],
    "MedicationAdministration.status": [
        (status_of(ivig(status=sent)), kept)
        for sent, kept in {"unknown": None, "not-done": "cancelled", "entered-in-error": "entered-in-error",
                           "stopped": "final"}.items()
    ],
    "MedicationAdministration.dosage.modifierExtension": [
        (refused(ivig(dosage={"dose": quantity(1, "g"), "modifierExtension": EXTENSION})), True)
    ],
    "Medication.status": [
        (refused(of_medication(status="entered-in-error")), True),
        (refused(of_medication(status="inactive")), False),
    ],
    "AdverseEvent.actuality": [
        (read(rash(actuality="potential")).skipped, "resource"),
        (refused(rash(actuality=REMOVED)), True),
        (refused(rash(actuality="other")), True),
    ],
    "AdverseEvent.suspectEntity.modifierExtension": [
        (refused(rash(suspectEntity=[{"modifierExtension": EXTENSION}])), True)
    ],
    "DiagnosticReport.status": [
        (status_of(report(status=sent)), kept)
        for sent, kept in {"final": "final", "cancelled": "cancelled", "entered-in-error": "entered-in-error"}.items()
    ],
    "Patient.active": [
        (left_out(person(active=False)), ["active"]),
        (refused(person(active=True, link=REPLACED)), True),
    ],
    "Patient.deceased[x]": [
        (left_out(person(deceasedBoolean=True)), ["deceased"]),
        (left_out(person(deceasedDateTime="2020")), ["deceased"]),
    ],
    "Patient.link": [
        (len(read(person(active=False, link=REPLACED)).links), 1),
        (left_out(person(link=[{"type": "seealso", "other": {"reference": "Patient/P02"}}])), ["link"]),
    ],
    "Patient.link.modifierExtension": [(refused(person(link=[REPLACED[0] | {"modifierExtension": EXTENSION}])), True)],
    "Identifier.use": [
        (read(ck(identifier=[CURRENT, OFFICIAL])).statements[0].fields["source"], "urn:c"),
        (read(person(identifier=[OLD, CURRENT])).subject, "2"),
    ],
    "Quantity.comparator": [
        (read(ck(valueQuantity=quantity(5, comparator="<"))).statements[0].fields["comparator"], "<"),
        (left_out(ivig(dosage={"dose": quantity(1, "g", comparator=">")})), ["dose"]),
    ],
}  # fmt: skip
"""For each modifier element: what was read, and what was to be read."""


@pytest.mark.parametrize("element", MODIFIERS)
def test_a_modifier_element_is_never_passed_over(element):
    for found, expected in MODIFIERS[element]:
        assert found == expected
