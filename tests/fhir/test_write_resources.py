"""Facts as FHIR resources: valid in an independent model of R4, and read back as the same facts."""

import json
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st

from app.fhir.read_bundle import read_line
from app.fhir.write_resources import history_bundle, resource_of, searchset
from app.readers.statements import history_of
from app.timeline.document import Timeline
from app.timeline.facts import AssessmentFact, EventFact, InfusionFact, LabFact
from app.timeline.normalize import normalise
from app.timeline.resource import KINDS_OF, StoredResource, logical_id, read_logical_id
from app.timeline.vocabulary import LAB_CODES, STATUSES, UNITS
from tests.fhir.fhir_messages import LATEST, feed, quantity
from tests.fhir.fhir_messages import ck as observation
from tests.store.posts import FULL, ck
from tests.store.posts import history as facts_of

KEY = (1_795_000_000_000_000 << 11) + 77
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
AT = 1_795_000_000_000_000


def found(kind: str, fact: Any, **more: Any) -> StoredResource:
    return StoredResource("P01", KEY, kind, fact, 17, AT, **more)


def all_of(timeline: dict[str, Any]) -> list[StoredResource]:
    """Every resource of a timeline."""
    facts = facts_of(timeline)
    person = found("patient", None, attributes=facts.attributes)
    return [person, *[found(kind, fact) for kind in ("labs", "assessments", "infusions", "events")
                      for fact in getattr(facts, kind)]]  # fmt: skip


def one(section: str, **fields: Any) -> dict[str, Any]:
    """The resource of the one fact of a timeline."""
    timeline = Timeline.model_validate_json(json.dumps({"patient": {"id": "P01"}, section: [fields]}))
    history_ = normalise(timeline, LATEST)
    kind = {"adverse_events": "events"}.get(section, section)
    [fact] = getattr(history_, kind)
    return resource_of(found(kind, fact))


def valid(resource: dict[str, Any]) -> None:
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)


@pytest.mark.parametrize("each", all_of(FULL), ids=range(8))
def test_a_foreign_model_of_r4_accepts_every_resource(each):
    valid(resource_of(each))


def test_a_foreign_model_of_r4_accepts_the_bundles():
    everything = all_of(FULL)
    valid(searchset("http://x/fhir/t", everything, links={"self": "http://x"}, total=9, revision=17, received_at=AT))
    valid(searchset("http://x/fhir/t", [], links={"self": "http://x"}, total=0, revision=17, received_at=AT))
    for each in everything:
        gone = StoredResource("P01", KEY, each.kind, each.fact, 18, AT, removed=True)
        versions: list[Any] = [(gone, "DELETE", False), (each, "POST", True)]
        valid(history_bundle("http://x/fhir/t", versions, each.id, links={"self": "http://x/_history"}, total=2))
        valid(history_bundle("http://x/fhir/t", [], each.id, links={"self": "http://x/_history"}, total=0))


def test_a_patient_is_shown_by_pseudonym_sex_and_year_of_birth_only():
    assert resource_of(all_of(FULL)[0]) == {
        "resourceType": "Patient",
        "id": "P01",
        "meta": {"versionId": "17", "lastUpdated": "2026-11-18T11:06:40Z"},
        "identifier": [{"system": "urn:myoresponse:subject", "value": "P01"}],
        "gender": "female",
        "birthDate": "1953",
    }


def test_a_result_is_shown_in_the_unit_and_at_the_time_that_were_sent():
    shown = one("labs", code="CK", time="2005-03-16T09:48:00+09:00", value=5.5, unit="ukat/L", upper_limit=3.1,
                lower_limit=0.5, comparator=">", issued="2005-03-17T08:00:00+09:00", status="corrected")  # fmt: skip
    assert shown["effectiveDateTime"] == "2005-03-16T09:48:00+09:00"
    assert shown["issued"] == "2005-03-16T23:00:00Z"
    assert shown["status"] == "corrected"
    coded = {"unit": "ukat/L", "system": "http://unitsofmeasure.org", "code": "ukat/L"}
    assert shown["valueQuantity"] == {"value": 5.5, "comparator": ">", **coded}
    assert shown["referenceRange"] == [{"low": {"value": 0.5, **coded}, "high": {"value": 3.1, **coded}}]
    assert [(coding["system"], coding["code"]) for coding in shown["code"]["coding"]] == [
        ("http://loinc.org", "2157-6"),
        ("urn:myoresponse:codes", "CK"),
    ]


@pytest.mark.parametrize("unit", ["IU/L", "u/L", "units/L", "\u00b5kat/L"])
def test_a_unit_that_is_no_ucum_code_is_shown_as_text_and_never_as_a_code(unit):
    shown = one("labs", code="CK", time="2005-03-16", value=5, unit=unit)["valueQuantity"]
    assert shown == {"value": 5, "unit": unit}


@pytest.mark.parametrize(("status", "why"), [("entered-in-error", "error"), ("cancelled", "not-performed")])
def test_a_withdrawn_result_without_a_value_says_why_there_is_none(status, why):
    shown = one("labs", code="CK", time="2005-03-16", status=status)
    assert shown["status"] == status
    assert "valueQuantity" not in shown
    assert shown["dataAbsentReason"]["coding"][0]["code"] == why
    valid(shown)
    assert "dataAbsentReason" not in one("labs", code="CK", time="2005-03-16", value=5, unit="U/L", status=status)


def test_an_infusion_of_another_product_has_a_name_and_no_code_that_it_was_not_sent_with():
    shown = one("infusions", time="2005-04-11", product="Privigen 10 %", status="cancelled")
    assert shown["medicationCodeableConcept"] == {"text": "Privigen 10 %"}
    assert shown["status"] == "not-done"
    assert "dosage" not in shown
    valid(shown)


@pytest.mark.parametrize(
    ("related", "system", "code"),
    [
        ("definite", f"{TERMINOLOGY}adverse-event-causality-assess", "Certain"),
        ("unknown", f"{TERMINOLOGY}adverse-event-causality-assess", "Unassessable-Unclassifiable"),
        ("unrelated", "urn:myoresponse:codes", "unrelated"),
        (False, "urn:myoresponse:codes", "false"),
    ],
)  # fmt: skip
def test_a_relation_that_r4_has_no_code_for_has_one_of_our_own(related, system, code):
    shown = one("adverse_events", term="rash", related=related)
    [coding] = shown["suspectEntity"][0]["causality"][0]["assessment"]["coding"]
    assert coding == {"system": system, "code": code}
    valid(shown)


def test_a_fatal_event_has_the_outcome_that_says_so():
    shown = one("adverse_events", term="stroke", severity="fatal")
    assert shown["outcome"]["coding"][0]["code"] == "fatal"
    valid(shown)


def test_a_version_that_never_stood_is_tagged():
    [_, lab, *_] = all_of(FULL)
    late = StoredResource("P01", KEY, "labs", lab.fact, 17, AT, late=True, ordinal=2)
    shown = resource_of(late)
    assert shown["meta"]["tag"][0]["code"] == "late"
    assert shown["meta"]["versionId"] == "17.2"
    valid(shown)


# What was sent by FHIR comes back as the same facts


RESOURCES = [
    observation(),
    observation(issued="2005-03-17T08:00:00.25+09:00", status="amended"),
    observation(
        valueQuantity=quantity(5.51, "ukat/L", comparator="<"), effectiveDateTime="2005-03-16", referenceRange=None
    ),
    observation(valueQuantity={"value": 5.5, "unit": "IU/L"}, referenceRange=None),
    observation(valueQuantity={"value": 0, "unit": "units/L"}, identifier=[{"value": "x.7"}]),
    observation(
        valueQuantity=quantity(11, "mU/mL"),
        referenceRange=[{"low": quantity(1.5, "mU/mL"), "high": quantity(163, "mU/mL")}],
    ),
    observation(status="entered-in-error"),
    observation(status="cancelled", valueQuantity=None, dataAbsentReason={"coding": [{"code": "error"}]}),
    observation(code={"coding": [{"system": "urn:myoresponse:codes", "code": "MMT8"}]}, valueQuantity={"value": 62.5}),
    {
        "resourceType": "MedicationAdministration",
        "identifier": [{"system": "urn:pharmacy", "value": "m-1"}],
        "status": "completed",
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "J06BA02"}]},
        "subject": {"reference": "Patient/P01"},
        "effectivePeriod": {"start": "2005-04-11T10:00:00Z"},
        "dosage": {"dose": quantity(0.4, "g/kg")},
    },
    {
        "resourceType": "AdverseEvent",
        "identifier": {"system": "urn:ae", "value": "a-1"},
        "actuality": "actual",
        "subject": {"reference": "Patient/P01"},
        "event": {"text": "headache"},
        "date": "2005-04-12",
        "seriousness": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/adverse-event-seriousness", "code": "Non-serious"}
            ]
        },
        "severity": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/adverse-event-severity", "code": "mild"}]
        },
        "suspectEntity": [
            {
                "instance": {"reference": "Medication/1"},
                "causality": [
                    {
                        "assessment": {
                            "coding": [
                                {
                                    "system": "http://terminology.hl7.org/CodeSystem/adverse-event-causality-assess",
                                    "code": "Probably-Likely",
                                }
                            ]
                        }
                    }
                ],
            }
        ],
    },
]


def read(resource: dict[str, Any]) -> tuple[str, Any]:
    """The only fact of a resource, with its kind."""
    entry = read_line(json.dumps(resource).encode(), feed())
    assert entry.faults == ()
    facts, faults = history_of("P01", entry.statements, LATEST)
    assert faults == []
    [(kind, [fact])] = [(kind, facts_) for kind, facts_ in facts.kinds() if facts_]
    return kind, fact


@pytest.mark.parametrize("sent", RESOURCES, ids=range(len(RESOURCES)))
def test_what_was_sent_and_is_sent_back_is_the_same_fact(sent):
    sent = {name: value for name, value in sent.items() if value is not None}
    kind, fact = read(sent)
    shown = resource_of(found(kind, fact))
    valid(shown)
    assert read(shown) == (kind, fact)


@given(
    code=st.sampled_from([code for code in LAB_CODES if code != "MYOGLOBIN"]),
    value=st.floats(min_value=0, max_value=1e7, allow_subnormal=False),
    unit=st.sampled_from([unit.spelling for unit in UNITS.values() if unit.quantity == "activity"]),
    limit=st.none() | st.floats(min_value=0.001, max_value=1e6),
    comparator=st.sampled_from([None, "<", "<=", ">=", ">"]),
    status=st.sampled_from(STATUSES),
    time=st.sampled_from(["2005-03-16", "2005-03-16T09:48:00Z", "2005-03-16T09:48:00.123456+09:00"]),
)
def test_any_numbered_result_is_shown_and_read_as_itself(code, value, unit, limit, comparator, status, time):
    facts = facts_of({"patient": {"id": "P01"}, "labs": [{
        "code": code, "value": value, "unit": unit, "upper_limit": limit, "comparator": comparator, "status": status,
        "time": time, "id": "acc-77", "source": "urn:lab:a"}]})  # fmt: skip
    [fact] = facts.labs
    assert read(resource_of(found("labs", fact))) == ("labs", fact)


# Identifiers


@given(st.integers(min_value=0, max_value=2**63 - 1), st.text(max_size=30))
def test_an_identifier_is_one_of_fhir_and_leads_to_its_patient(key, identity):
    for kinds in KINDS_OF.values():
        for kind in set(kinds) - {"patient"}:
            name = logical_id(key, kind, identity)
            assert 1 <= len(name) <= 64
            assert set(name) <= set("abcdefghijklmnopqrstuvwxyz234567-")
            assert read_logical_id(name).patient_key == key
            assert logical_id(key, kind, identity) == name != logical_id(key, kind, identity + "x")


@given(st.text(max_size=70) | st.from_regex(r"[a-z2-7]{1,16}-[a-z2-7]{24,28}", fullmatch=True))
def test_any_text_is_an_identifier_of_ours_or_none(text):
    name = read_logical_id(text)
    if name is not None:
        assert name.patient_key < 2**63
        assert text.endswith(name.digest)


def test_every_kind_of_fact_that_is_a_resource_is_written():
    kinds = {LabFact: "labs", AssessmentFact: "assessments", InfusionFact: "infusions", EventFact: "events"}
    assert {type(each.fact): each.kind for each in all_of(FULL) if each.fact is not None} == kinds
    assert resource_of(found("labs", facts_of({"patient": {"id": "P01"}, "labs": [ck()]}).labs[0]))["id"] != "acc-77"
