"""MedicationAdministrations of immunoglobulin: infusions; and the drug of every resource about a drug.

The code of the drug is in the resource itself, in a Medication that it contains, or in a Medication of the bundle. A
Medication elsewhere is not fetched: then the drug is unknown, and the resource is skipped like one of another drug.
"""

from typing import get_args

from app.errors import Accepts, FaultCode
from app.fhir.elements import Element, ReadResult, Resource
from app.fhir.read_medication import given, statement
from app.fhir.read_observation import effective, status_of
from app.fhir.read_order import order
from app.fhir.read_patient import References, contained
from app.readers.statements import Place, Statement
from app.timeline.receipts import Note, NoteCode
from app.timeline.vocabulary import IVIG, InfusionUnit

STATUSES: dict[str, str | None] = {
    "in-progress": "preliminary",
    "not-done": "cancelled",
    "on-hold": "final",
    "completed": "final",
    "entered-in-error": "entered-in-error",
    "stopped": "final",
    "unknown": None,
}
"""Our status for each status of an R4 MedicationAdministration. An infusion counts once it was started, so
`stopped` and `on-hold` are final. `None`: the status says nothing, and the resource is skipped.
"""

_IN_ERROR = "entered-in-error"
"""The status of a Medication that does not say which drug it is. `inactive` does not change what was given."""
_DOSE_UNITS = get_args(InfusionUnit)
_DRUG_FORMS = ("medicationCodeableConcept", "medicationReference")
_R5_FORMS = ("concept", "reference")
"""The same in the element `medication` of R5."""


def administration(resource: Resource, references: References, base: str | None) -> ReadResult:
    """The infusion that a MedicationAdministration states, or the medication if the drug is another one."""
    content = resource.content
    drug, at = _drug(resource, references, base)
    if resource.meaning(drug, at) != IVIG:
        return given(resource, drug, at, STATUSES)
    status = status_of(resource, STATUSES)
    if status is None:
        return ReadResult(skipped="status")
    resource.check_modifiers(content, "")
    time, time_at = effective(resource, ("effectiveDateTime", "effectivePeriod"))
    named = resource.named(resource.elements(content, "identifier"))
    dose, unit, unit_at, notes = _dose(resource)
    fields = {
        "id": named.id,
        "source": named.source,
        "status": status,
        "time": time,
        "product": IVIG,
        "dose": dose,
        "unit": unit,
    }
    places = {
        "id": named.at,
        "source": named.at,
        "status": ".status",
        "time": time_at,
        "product": at,
        "dose": ".dosage.dose.value",
        "unit": ".dosage.dose" + unit_at,
    }
    return ReadResult((Statement("infusions", fields, Place(resource.place, places), notes),))


def medication(resource: Resource, references: References, base: str | None) -> ReadResult:
    """What a MedicationStatement states."""
    drug, at = _drug(resource, references, base)
    return statement(resource, drug, at)


def request_of_drug(resource: Resource, references: References, base: str | None) -> ReadResult:
    """What a MedicationRequest orders."""
    drug, at = _drug(resource, references, base)
    return order(resource, drug, at)


def _drug(resource: Resource, references: References, base: str | None) -> tuple[Element | None, str]:
    """The code of the drug, and the place in the resource that gives it or refers to it."""
    content, forms, place = resource.content, _DRUG_FORMS, ""
    if content["resourceType"] == "MedicationRequest" and isinstance(content.get("medication"), dict):
        content, forms, place = resource.element(content, "medication") or {}, _R5_FORMS, ".medication"
    form = resource.only(content, forms, place or ".medication[x]")
    if form is None:
        resource.fault(place or ".medication[x]", FaultCode.MISSING, Accepts(one_of=forms))
        return None, place or ".medication[x]"
    given, at = resource.element(content, form, place), f"{place}.{form}"
    if form == forms[0] or given is None:
        return given, at
    reference = resource.text(given, "reference", at) or ""
    if reference.startswith("#"):
        held = contained(resource, reference[1:])
        found = [] if held is None else [held]
    else:
        found = references.found(reference, base)
    if len(found) != 1 or found[0].get("resourceType") != "Medication":
        return None, at
    medication = Resource(found[0], resource.place, resource.message)
    code = medication.element(found[0], "code")
    modified = not {"modifierExtension", "implicitRules"}.isdisjoint(found[0]) or found[0].get("status") == _IN_ERROR
    if medication.faults or modified:
        resource.fault(at, FaultCode.UNKNOWN_MODIFIER if modified else FaultCode.WRONG_TYPE)
        return None, at
    return code, at


def _dose(resource: Resource) -> tuple[float | None, str | None, str, tuple[Note, ...]]:
    """The dose, its unit, the element of the dose that gave the unit, and a note if the dose was left out.

    A volume or a bound is no dose that is known here; that the infusion was given counts without it.
    """
    dosage = resource.element(resource.content, "dosage")
    written = None if dosage is None else resource.element(dosage, "dose", ".dosage")
    if written is None:
        return None, None, "", ()
    dose = resource.quantity(written, ".dosage.dose")
    if dose.value is None:
        return None, None, "", ()
    if dose.comparator is not None or dose.unit not in _DOSE_UNITS:
        return None, None, "", (Note(NoteCode.DETAIL_LEFT_OUT, "dose"),)
    return dose.value, dose.unit, dose.unit_at, ()
