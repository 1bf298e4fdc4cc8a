"""FHIR MedicationAdministrations (infusions) and AdverseEvents."""

import pytest

from app.readers.json_timelines import read_timeline
from app.timeline.receipts import Note, NoteCode
from tests.fhir.fhir_messages import (
    LATEST,
    REMOVED,
    UCUM,
    bundle,
    concept,
    faults,
    feed,
    history_and_faults,
    ivig,
    left_out,
    post,
    quantity,
    rash,
    read,
    read_all,
)

URN = "urn:uuid:79378cb8-8f58-48e8-a5e8-60ac2755b674"
SYSTEM = "http://terminology.hl7.org/CodeSystem/adverse-event-"
IMMUNOGLOBULIN = concept("J06BA02", "http://www.whocc.no/atc")
MEDICATION = {"resourceType": "Medication", "id": "m1", "code": IMMUNOGLOBULIN}


def by_reference(reference, **more):
    """An administration whose drug is in another resource."""
    return ivig(medicationCodeableConcept=REMOVED, medicationReference={"reference": reference}, **more)


def test_an_infusion_is_the_fact_that_our_own_format_gives():
    native = read_timeline(
        b'{"patient":{"id":"P01"},"infusions":[{"time":"2005-04-11T10:00:00+09:00","product":"IVIG","dose":0.4,'
        b'"unit":"g/kg","id":"inf-1","source":"urn:ward","status":"final"}]}',
        LATEST,
    )
    assert history_and_faults(read(ivig())) == (native, ())


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("completed", "final"),
        ("stopped", "final"),
        ("on-hold", "final"),
        ("in-progress", "preliminary"),
        ("not-done", "cancelled"),
        ("entered-in-error", "entered-in-error"),
    ],
)
def test_a_status_of_an_administration_becomes_one_of_ours(sent, kept):
    assert read(ivig(status=sent)).statements[0].fields["status"] == kept


@pytest.mark.parametrize(
    ("resource", "why"),
    [
        (ivig(status="unknown"), "status"),
        (ivig(medicationCodeableConcept=concept("C09AA05", "http://www.whocc.no/atc"), status="bogus"), "code"),
        (ivig(medicationCodeableConcept=concept("2157-6")), "code"),
        (ivig(medicationCodeableConcept={"text": "IVIG"}), "code"),
        (by_reference("Medication/elsewhere"), "code"),
        (by_reference("#absent", contained=[MEDICATION]), "code"),
        (by_reference("#p", contained=[{"resourceType": "Patient", "id": "p", "code": IMMUNOGLOBULIN}]), "code"),
        (rash(actuality="potential", event=REMOVED), "resource"),
    ],
)
def test_what_is_no_known_infusion_and_no_event_is_left_alone(resource, why):
    entry = read(resource)
    assert (entry.skipped, entry.statements, entry.faults) == (why, (), ())


def test_the_drug_may_be_given_by_a_contained_medication():
    assert history_and_faults(read(by_reference("#m1", contained=[MEDICATION]))) == history_and_faults(read(ivig()))


@pytest.mark.parametrize("reference", [URN, "Medication/m1"])
def test_the_drug_may_be_given_by_a_medication_of_the_bundle(reference):
    entries = read_all(bundle(post(by_reference(reference)), post(MEDICATION, URN))).entries
    assert [entry.skipped for entry in entries] == [None, "resource"]
    assert history_and_faults(entries[0]) == history_and_faults(read(ivig()))


def test_a_drug_of_the_study_counts_as_immunoglobulin():
    local = ivig(medicationCodeableConcept=concept("17", "urn:pharmacy"))
    assert read(local).skipped == "code"
    assert read(local, feed(codes={"urn:pharmacy|17": "IVIG"})).statements[0].fields["product"] == "IVIG"


@pytest.mark.parametrize(
    ("dosage", "dose"),
    [
        (REMOVED, (None, None)),
        ({"text": "as written"}, (None, None)),
        ({"dose": quantity(0.4, "g/kg")}, (0.4, "g/kg")),
        ({"dose": {"value": 400, "unit": "mg/kg"}}, (400, "mg/kg")),
        ({"dose": {"value": 20, "unit": "Gramm", "system": UCUM, "code": "g"}}, (20, "g")),
    ],
)
def test_a_dose_is_kept_with_its_unit(dosage, dose):
    fields = read(ivig(dosage=dosage)).statements[0].fields
    assert (fields["dose"], fields["unit"]) == dose


@pytest.mark.parametrize(
    ("changes", "place", "code"),
    [
        ({"medicationCodeableConcept": REMOVED}, ".medication[x]", "missing"),
        ({"medicationReference": {}}, ".medication[x]", "repeated_value"),
        ({"medicationCodeableConcept": 1}, ".medicationCodeableConcept", "wrong_type"),
        ({"status": REMOVED}, ".status", "missing"),
        ({"status": "final"}, ".status", "unknown_value"),
        ({"effectivePeriod": REMOVED}, ".effective[x]", "missing"),
        ({"effectivePeriod": {}}, ".effectivePeriod.start", "missing"),
        ({"effectivePeriod": {"start": "2005-04"}}, ".effectivePeriod.start", "bad_time"),
        ({"dosage": {"dose": quantity(-1, "g")}}, ".dosage.dose.value", "out_of_range"),
        ({"dosage": {"modifierExtension": []}}, ".dosage.modifierExtension", "unknown_modifier"),
        ({"dosage": []}, ".dosage", "wrong_type"),
        ({"modifierExtension": []}, ".modifierExtension", "unknown_modifier"),
    ],
)
def test_what_is_wrong_with_an_infusion_is_reported_at_its_element(changes, place, code):
    assert faults(ivig(**changes)) == [("MedicationAdministration" + place, code)]


@pytest.mark.parametrize(
    "dose", [quantity(200, "mL"), {"value": 20}, {"value": 20, "unit": "Flasche"}, quantity(1, "g", comparator=">")]
)
def test_an_infusion_counts_without_a_dose_that_cannot_be_read(dose):
    sent = ivig(dosage={"dose": dose})
    history, wrong = history_and_faults(read(sent))
    assert (wrong, left_out(sent)) == ((), ["dose"])
    assert history == history_and_faults(read(ivig(dosage=REMOVED)))[0]


@pytest.mark.parametrize(
    "changed",
    [{"modifierExtension": []}, {"implicitRules": "urn:rules"}, {"status": "entered-in-error"}],
)
def test_a_medication_with_a_modifier_is_not_understood(changed):
    resource = by_reference("#m1", contained=[{**MEDICATION, **changed}])
    assert faults(resource) == [("MedicationAdministration.medicationReference", "unknown_modifier")]


def test_a_medication_that_is_not_in_use_any_more_is_the_same_drug():
    resource = by_reference("#m1", contained=[{**MEDICATION, "status": "inactive"}])
    assert history_and_faults(read(resource)) == history_and_faults(read(ivig()))


@pytest.mark.parametrize("date", ["2005-04", "2005"])
def test_an_event_with_a_partial_date_is_an_event_of_unknown_onset(date):
    history, wrong = history_and_faults(read(rash(date=date)))
    [event], [dateless] = history.events, history_and_faults(read(rash(date=REMOVED)))[0].events
    assert (wrong, event) == ((), dateless._replace(onset=date, identity=event.identity))
    assert list(history.notes.values()) == [(Note(NoteCode.DETAIL_LEFT_OUT, "onset"),)]


def test_an_adverse_event_is_the_fact_that_our_own_format_gives():
    native = read_timeline(
        b'{"patient":{"id":"P01"},"adverse_events":[{"id":"ae-1","source":"urn:safety","onset":"2005-04-12",'
        b'"term":"rash","severity":"mild","serious":false,"related":"probable","status":"final"}]}',
        LATEST,
    )
    suspect = [{"causality": [{"assessment": concept("Probably-Likely", SYSTEM + "causality-assess")}]}]
    assert history_and_faults(read(rash(suspectEntity=suspect))) == (native, ())


def suspects(*codes):
    """Suspected entities, each with one assessment."""
    return [{"causality": [{"assessment": concept(code, SYSTEM + "causality-assess")}]} for code in codes]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"event": {"coding": [{"display": "rash"}]}}, {"term": "rash"}),
        ({"date": REMOVED, "detected": "2005-04-13"}, {"onset": "2005-04-13"}),
        ({"date": REMOVED, "recordedDate": "2005-04-13"}, {"onset": None}),
        ({"identifier": REMOVED}, {"source": "fhir", "id": "ae-1"}),
        ({"seriousness": concept("SeriousResultsInHospitalization", SYSTEM + "seriousness")}, {"serious": True}),
        ({"seriousness": concept("Non-serious", "urn:other")}, {"serious": None}),
        ({"severity": concept("severe", SYSTEM + "severity")}, {"severity": "severe"}),
        ({"outcome": concept("fatal", SYSTEM + "outcome")}, {"severity": "fatal"}),
        ({"outcome": concept("ongoing", SYSTEM + "outcome")}, {"severity": "mild"}),
        ({"suspectEntity": suspects("Certain")}, {"related": "definite"}),
        ({"suspectEntity": suspects("Possible", "Possible")}, {"related": "possible"}),
        ({"suspectEntity": suspects("Unlikely")}, {"related": "unlikely"}),
        ({"suspectEntity": suspects("Conditional-Classified")}, {"related": "unknown"}),
        ({"suspectEntity": suspects("Certain", "Unlikely")}, {"related": "unknown"}),
        ({"suspectEntity": [{"instance": {}}]}, {"related": None}),
    ],
)
def test_what_an_adverse_event_says_is_kept_in_our_words(changes, expected):
    fields = read(rash(**changes)).statements[0].fields
    assert {name: fields[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "place", "code"),
    [
        ({"actuality": REMOVED}, ".actuality", "missing"),
        ({"actuality": "likely"}, ".actuality", "unknown_value"),
        ({"event": REMOVED}, ".event", "missing"),
        ({"event": {"coding": [{"code": "1"}]}}, ".event.text", "missing"),
        ({"event": {"text": "r" * 201}}, ".event", "too_long"),
        ({"event": {"text": "two\nlines"}}, ".event", "bad_text"),
        ({"date": "2005-04-31"}, ".date", "bad_time"),
        ({"severity": concept("bad", SYSTEM + "severity")}, ".severity.coding", "unknown_code"),
        ({"seriousness": concept("Grave", SYSTEM + "seriousness")}, ".seriousness.coding", "unknown_code"),
        ({"outcome": concept("dead", SYSTEM + "outcome")}, ".outcome.coding", "unknown_code"),
        ({"suspectEntity": suspects("Sure")}, ".suspectEntity[0].causality[0].assessment.coding", "unknown_code"),
        ({"suspectEntity": [{"modifierExtension": []}]}, ".suspectEntity[0].modifierExtension", "unknown_modifier"),
        (
            {"seriousness": {"coding": [{"system": SYSTEM + "seriousness", "code": code} for code in
                                        ("Serious", "Non-serious")]}},
            ".seriousness", "code_conflict",
        ),
        ({"identifier": []}, ".identifier", "wrong_type"),
        ({"modifierExtension": []}, ".modifierExtension", "unknown_modifier"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_adverse_event_is_reported_at_its_element(changes, place, code):
    assert faults(rash(**changes)) == [("AdverseEvent" + place, code)]
