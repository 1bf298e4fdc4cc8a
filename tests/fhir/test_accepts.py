"""Each coded element of a resource or a bundle is answered by the words it accepts, and each type by its JSON type."""

import json
from typing import Any, get_args

import pytest

from app.errors import InvalidDocument, ServiceError
from app.fhir import read_administration, read_adverse_event, read_observation
from app.fhir.bundle_entries import BundleType
from app.fhir.operation_outcome import refused
from app.fhir.read_bundle import read_resource
from app.timeline.vocabulary import Comparator
from tests.fhir.fhir_messages import (
    bundle,
    ck,
    concept,
    feed,
    history_and_faults,
    ivig,
    person,
    post,
    quantity,
    rash,
    read,
    read_all,
)
from tests.readers.refusals import CLOSED

CANARY = "canary-7391"
EVENTS = "http://terminology.hl7.org/CodeSystem/adverse-event-"
SCORE = {"code": concept("MMT", "urn:myoresponse:codes"), "valueQuantity": quantity(62, None), "referenceRange": []}
CODED = [
    (ck(status=CANARY), "Observation.status", set(read_observation.STATUSES)),
    (ck(status=None), "Observation.status", set(read_observation.STATUSES)),
    (ivig(status=CANARY), "MedicationAdministration.status", set(read_administration.STATUSES)),
    (person(link=[{"type": CANARY}]), "Patient.link[0].type", {"replaced-by", "replaces", "refer", "seealso"}),
    (person(link=[{"other": {}}]), "Patient.link[0].type", {"replaced-by", "replaces", "refer", "seealso"}),
    (rash(actuality=CANARY), "AdverseEvent.actuality", {"actual", "potential"}),
    (rash(severity=concept(CANARY, EVENTS + "severity")), "AdverseEvent.severity.coding",
     set(read_adverse_event.SEVERITY)),
    (rash(seriousness=concept(CANARY, EVENTS + "seriousness")), "AdverseEvent.seriousness.coding",
     set(read_adverse_event.SERIOUSNESS)),
    (rash(outcome=concept(CANARY, EVENTS + "outcome")), "AdverseEvent.outcome.coding", set(read_adverse_event.FATAL)),
    (rash(suspectEntity=[{"causality": [{"assessment": concept(CANARY, EVENTS + "causality-assess")}]}]),
     "AdverseEvent.suspectEntity[0].causality[0].assessment.coding", set(read_adverse_event.CAUSALITY)),
    (ck(valueQuantity=quantity(1, comparator=CANARY)), "Observation.valueQuantity.comparator",
     set(get_args(Comparator))),
    (ck(valueQuantity=quantity(1, CANARY), referenceRange=[]), "Observation.valueQuantity.code", {"U/L", "ukat/L"}),
    (ck(valueQuantity={**quantity(1), "unit": "ug/L"}, referenceRange=[]), "Observation.valueQuantity.unit",
     {"U/L", "IU/L"}),
    (ck(valueQuantity=None, valueString="7391 U/L"), "Observation.valueString", {"valueQuantity"}),
    (ck(**SCORE | {"valueQuantity": None, "valueString": "7391 U/L"}), "Observation.valueString",
     {"valueQuantity", "valueInteger"}),
    (ck(effectiveDateTime=None), "Observation.effective[x]", {"effectiveDateTime", "effectivePeriod"}),
    (ck(effectiveDateTime=None, effectiveTiming={"code": {"text": CANARY}}), "Observation.effectiveTiming",
     {"effectiveDateTime", "effectivePeriod", "effectiveInstant"}),
    (ck(subject={"reference": "Patient/P01", "type": CANARY}), "Observation.subject.type", {"Patient"}),
    (ck(subject={"reference": "Group/P01"}), "Observation.subject.reference", {"Patient"}),
]  # fmt: skip
"""A resource with one wrong word, its place, and the words that the place accepts."""
FORMS = [
    (ck(effectiveDateTime=CANARY), "Observation.effectiveDateTime", "YYYY-MM-DD, or an RFC 3339 date-time"),
    (ck(effectiveDateTime="2005-03-16T09:48:00"), "Observation.effectiveDateTime", "YYYY-MM-DD, or an RFC 3339"),
    (ck(issued="2005-03-16"), "Observation.issued", "an RFC 3339 date-time with an offset"),
    (ck(id="no such?"), "Observation.id", "1 to 64 of the characters A-Z, a-z, 0-9, dot and hyphen"),
    (ck(**SCORE | {"valueQuantity": quantity(62, "U/L")}), "Observation.valueQuantity.code", "no unit, 1, or"),
    ({**ck(), "resourceType": CANARY}, "resourceType", "a resource type of FHIR R4"),
]
TYPES = [
    (ck(status=7391), "Observation.status", "string"),
    (ck(code=CANARY), "Observation.code", "object"),
    (ck(identifier=CANARY), "Observation.identifier", "array"),
    (ck(identifier=[CANARY]), "Observation.identifier[0]", "object"),
    (ck(valueQuantity=quantity(CANARY)), "Observation.valueQuantity.value", "number"),
]
BUNDLES = [
    (bundle(type=CANARY), "Bundle.type", set(get_args(BundleType))),
    ({"resourceType": "Bundle"}, "Bundle.type", set(get_args(BundleType))),
    ({"resourceType": "Patient"}, "resourceType", {"Bundle"}),
    (bundle(post(ck()) | {"request": {"method": "PATCH", "url": "Observation"}}), "Bundle.entry[0].request.method",
     {"POST", "PUT", "DELETE"}),
]  # fmt: skip


def accepted_at(resource: Any, place: str) -> Any:
    """What a place of a resource accepts, where one fault of it was found."""
    faults = [fault for fault in dict.fromkeys(history_and_faults(read(resource))[1]) if fault.pointer == place]
    assert [fault.accepts is not None for fault in faults] == [True], faults
    text = refused(InvalidDocument(faults=faults))["issue"][0]["details"]["text"]
    assert text.endswith(faults[0].accepts.words)
    assert CANARY not in text
    assert "7391" not in text
    return faults[0].accepts


@pytest.mark.parametrize(("resource", "place", "words"), CODED)
def test_a_word_that_is_not_known_is_answered_by_the_known_ones(resource, place, words):
    assert words <= set(accepted_at(resource, place).one_of)


@pytest.mark.parametrize(("resource", "place", "form"), FORMS)
def test_a_text_of_another_form_is_answered_by_the_form(resource, place, form):
    assert accepted_at(resource, place).form.startswith(form)


@pytest.mark.parametrize(("resource", "place", "type"), TYPES)
def test_a_value_of_another_type_is_answered_by_the_type(resource, place, type):
    assert accepted_at(resource, place).types == (type,)


@pytest.mark.parametrize(("content", "place", "words"), BUNDLES)
def test_a_bundle_is_answered_by_what_its_elements_accept(content, place, words):
    try:
        faults = read_all(content).entries[0].faults
    except ServiceError as refusal:
        faults = refusal.faults
    assert {fault.pointer: set(fault.accepts.one_of) for fault in faults} == {place: words}


def test_a_resource_of_another_type_is_answered_by_the_type_of_its_address():
    [fault] = read_resource(json.dumps(ck()).encode(), feed(), "Patient").faults
    assert (fault.pointer, fault.accepts.one_of) == ("resourceType", ("Patient",))


@pytest.mark.parametrize("resource", [ck(), ivig(), rash(), person()], ids=lambda resource: resource["resourceType"])
def test_no_element_of_another_type_or_word_lacks_what_it_accepts(resource):
    """Every element, however deep, is replaced by a wrong text, number, list and object in turn."""
    for changed in variants(resource):
        _, faults = history_and_faults(read(changed))
        lacking = [fault for fault in faults if fault.code in CLOSED and fault.accepts is None]
        assert lacking == [], changed
        assert not any(CANARY in fault.explanation for fault in faults)


def variants(part: Any) -> list[Any]:
    """The part with each of its parts, and itself, replaced by something else."""
    inner: list[Any] = [CANARY, 7391, [CANARY], {"value": CANARY, "code": CANARY}]
    if isinstance(part, dict):
        for name, value in part.items():
            inner += [part | {name: other} for other in variants(value) if name != "resourceType"]
    if isinstance(part, list):
        for i, value in enumerate(part):
            inner += [[*part[:i], other, *part[i + 1 :]] for other in variants(value)]
    return [each for each in inner if not (isinstance(part, dict) and "resourceType" in part) or isinstance(each, dict)]
