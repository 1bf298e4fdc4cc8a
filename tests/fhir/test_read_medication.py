"""FHIR MedicationStatements and MedicationAdministrations of other drugs."""

import pytest

from app.errors import FaultCode
from app.fhir.read_medication import drug_by_text
from app.readers.json_timelines import read_timeline
from app.timeline.drugs import RXNORM
from app.timeline.receipts import Disposition
from tests.fhir.fhir_messages import (
    LATEST,
    REMOVED,
    bundle,
    changed,
    concept,
    history_and_faults,
    ivig,
    left_out,
    post,
    quantity,
    read,
    read_all,
)

ATC = "http://www.whocc.no/atc"
SNOMED = "http://snomed.info/sct"
ABBREVIATION = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
DAILY = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}


def dosage(value=50, unit="mg", timing=DAILY, **more):
    """One dosage of a statement."""
    return changed({"timing": timing, "doseAndRate": [{"doseQuantity": quantity(value, unit)}]}, **more)


def taken(**changes):
    """A MedicationStatement of prednisolone."""
    statement = {
        "resourceType": "MedicationStatement",
        "identifier": [{"system": "urn:pharmacy", "value": "m-1"}],
        "status": "active",
        "medicationCodeableConcept": concept("H02AB06", ATC),
        "subject": {"reference": "Patient/P01"},
        "effectivePeriod": {"start": "2005-01-20"},
        "dosage": [dosage()],
    }
    return changed(statement, **changes)


def given(**changes):
    """A MedicationAdministration of methylprednisolone."""
    return ivig(
        **{"medicationCodeableConcept": concept("H02AB04", ATC), "dosage": {"dose": quantity(1, "g")}} | changes
    )


def fields(resource):
    (statement,) = read(resource).statements
    return statement.fields


def dose(*dosages, **changes):
    found = fields(taken(dosage=list(dosages), **changes))
    return found["dose"], found["unit"]


def test_a_statement_is_the_fact_that_our_own_format_gives():
    native = read_timeline(
        b'{"patient":{"id":"P01"},"medications":[{"drug":"prednisolone","start":"2005-01-20","end":"2005-06-30",'
        b'"dose":50,"unit":"mg/d","id":"m-1","source":"urn:pharmacy","status":"final"}]}',
        LATEST,
    )
    period = {"start": "2005-01-20", "end": "2005-06-30T23:59:00+09:00"}
    assert history_and_faults(read(taken(effectivePeriod=period, status="completed"))) == (native, ())


def test_an_administration_is_a_medication_of_its_day_with_what_was_given_as_daily_dose():
    found = fields(given(effectivePeriod=REMOVED, effectiveDateTime="2005-04-11T23:30:00+09:00"))
    assert {name: found[name] for name in ("drug", "start", "end", "dose", "unit", "id", "source")} == {
        "drug": "methylprednisolone", "start": "2005-04-11", "end": "2005-04-11", "dose": 1.0, "unit": "g/d",
        "id": "inf-1", "source": "urn:ward",
    }  # fmt: skip


def test_an_infusion_over_midnight_counts_on_the_day_on_which_it_began():
    period = {"start": "2005-04-11T23:30:00+09:00", "end": "2005-04-12T01:30:00+09:00"}
    found = fields(given(effectiveDateTime=REMOVED, effectivePeriod=period))
    assert (found["start"], found["end"]) == ("2005-04-11", "2005-04-11")


@pytest.mark.parametrize("kind", [taken, given])
@pytest.mark.parametrize(
    ("drug", "name"),
    [
        (concept("8640", RXNORM), "prednisone"),
        (concept("6851", "urn:oid:2.16.840.1.113883.6.88"), "methotrexate"),
        (concept("L04AX03", "urn:oid:2.16.840.1.113883.6.73"), "methotrexate"),
        (concept("l04ax03", ATC, text="MTX"), "MTX"),
        (concept("312617", RXNORM, "prednisone 5 MG Oral Tablet"), "prednisone"),
        (concept("1", "urn:pharmacy", text="Prednisolone 5 mg tablet"), "prednisolone"),
        ({"text": "mPSL"}, "mPSL"),
        ({"text": "プレドニゾロン"}, "プレドニゾロン"),
        (concept("J06BA01", ATC), "SCIG"),
    ],
)
def test_the_drug_is_known_by_its_codes_and_names(kind, drug, name):
    assert fields(kind(medicationCodeableConcept=drug))["drug"] == name


@pytest.mark.parametrize("kind", [taken, given])
@pytest.mark.parametrize(
    "drug",
    [
        concept("C09AA05", ATC),
        concept("S01BA04", ATC, text="prednisolone"),
        concept("D07AA03", ATC, text="prednisolone"),
        concept("1", RXNORM, "prednisolone 10 MG/ML Ophthalmic Suspension"),
        concept("5492", RXNORM, text="Hydrocortisone 1 % cream"),
        concept("2", RXNORM, "lidocaine 10 MG/ML / methylprednisolone 40 MG/ML Injection"),
        concept("3", RXNORM, "aspirin 100 MG Oral Tablet"),
        {"text": "CPA"},
        {"text": "IVIG"},
    ],
)
def test_another_drug_or_one_for_one_place_of_the_body_is_not_ours(kind, drug):
    entry = read(kind(medicationCodeableConcept=drug))
    assert (entry.skipped, entry.statements, entry.faults) == ("code", (), ())


@pytest.mark.parametrize(
    ("route", "read_as"),
    [
        (concept("26643006", SNOMED), None),
        (concept("47625008", SNOMED, "Intravenous route"), None),
        ({"text": "by mouth"}, None),
        (concept("PO", "http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration"), None),
        (concept("54485002", SNOMED, "Ophthalmic route"), "route"),
        ({"text": "topical"}, "route"),
        ({"text": "intra-articular"}, "route"),
    ],
)
def test_a_dose_for_one_place_of_the_body_is_not_ours(route, read_as):
    assert read(taken(dosage=[dosage(route=route)])).skipped == read_as
    assert read(given(dosage={"dose": quantity(40, "mg"), "route": route})).skipped == read_as


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("active", "final"), ("completed", "final"), ("stopped", "final"), ("on-hold", "final"),
     ("entered-in-error", "entered-in-error"), ("not-taken", "cancelled")],
)  # fmt: skip
def test_a_status_of_a_statement_becomes_one_of_ours(sent, kept):
    assert fields(taken(status=sent, effectivePeriod={"start": "2005-01-20", "end": "2005-02-01"}))["status"] == kept


@pytest.mark.parametrize("sent", ["intended", "unknown"])
def test_a_statement_that_does_not_say_that_the_drug_was_taken_is_left_alone(sent):
    assert read(taken(status=sent)).skipped == "status"


def test_an_unknown_status_is_refused():
    assert [(fault.pointer, fault.code) for fault in read(taken(status="bogus")).faults] == [
        ("MedicationStatement.status", FaultCode.UNKNOWN_VALUE)
    ]


@pytest.mark.parametrize(
    ("changes", "at", "code"),
    [
        ({"effectivePeriod": REMOVED}, ".effectivePeriod.start", "missing"),
        ({"effectivePeriod": REMOVED, "effectiveDateTime": "2005-01-20"}, ".effectivePeriod.start", "missing"),
        ({"effectivePeriod": {"start": "2005-01"}}, ".effectivePeriod.start", "missing"),
        ({"effectivePeriod": {"start": "2005-01-20", "end": "2005"}}, ".effectivePeriod.end", "missing"),
        ({"status": "stopped"}, ".effectivePeriod.end", "missing"),
        ({"status": "completed"}, ".effectivePeriod.end", "missing"),
        ({"status": "on-hold"}, ".effectivePeriod.end", "missing"),
        ({"medicationCodeableConcept": concept("H02AB06", ATC, text="prednisone")}, ".medicationCodeableConcept",
         "code_conflict"),
    ],
)  # fmt: skip
def test_a_statement_without_a_day_or_a_drug_that_is_known_is_set_aside_and_refuses_nothing(changes, at, code):
    entry = read(taken(**changes))
    assert (entry.statements, entry.faults, entry.skipped) == ((), (), None)
    [line] = entry.aside
    assert (line.place, line.disposition, line.reason) == ("MedicationStatement" + at, Disposition.SET_ASIDE, code)


@pytest.mark.parametrize(
    ("dosages", "expected"),
    [
        ([dosage(50)], (50, "mg/d")),
        ([dosage(0.05, "g")], (0.05, "g/d")),
        ([dosage(500, "ug")], (500, "ug/d")),
        ([dosage(500, "mcg")], (500, "ug/d")),
        ([dosage(1, "mg/kg")], (1, "mg/kg/d")),
        ([dosage(50, "mg/d", REMOVED)], (50, "mg/d")),
        ([dosage(2.5, timing={"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}})], (5, "mg/d")),
        ([dosage(0.1, timing={"repeat": {"frequency": 3, "period": 1, "periodUnit": "d"}})], (0.3, "mg/d")),
        ([dosage(5, timing={"repeat": {"frequency": 1, "period": 8, "periodUnit": "h"}})], (15, "mg/d")),
        ([dosage(20, timing={"repeat": {"frequency": 1, "period": 2, "periodUnit": "d"}})], (10, "mg/d")),
        ([dosage(15, timing={"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk"}})], (15, "mg/wk")),
        ([dosage(15, timing={"repeat": {"frequency": 1, "period": 2, "periodUnit": "wk"}})], (7.5, "mg/wk")),
        ([dosage(15, timing={"repeat": {"frequency": 1, "period": 7, "periodUnit": "d"}})], (15, "mg/wk")),
        (
            [dosage(5, timing={"repeat": {"frequency": 2, "when": ["MORN", "EVE"], "period": 1, "periodUnit": "d"}})],
            (10, "mg/d"),
        ),
        ([dosage(5, timing={"code": concept("BID", ABBREVIATION)})], (10, "mg/d")),
        ([dosage(20, timing={"code": concept("QOD", ABBREVIATION)})], (10, "mg/d")),
        ([dosage(10, timing=DAILY | {"code": concept("QD", ABBREVIATION)})], (10, "mg/d")),
        ([dosage(10, sequence=1), dosage(5, sequence=1)], (15, "mg/d")),
        ([dosage(1000, "mg", REMOVED)], (1000, "mg")),
        ([], (None, None)),
    ],
)
def test_a_dose_is_what_is_taken_a_day_or_a_week(dosages, expected):
    assert dose(*dosages) == expected


@pytest.mark.parametrize(
    "dosages",
    [
        [dosage(2, "tablet")],
        [dosage(500, "ug", REMOVED)],
        [dosage(5, asNeededBoolean=True)],
        [dosage(5, timing=DAILY | {"code": concept("BID", ABBREVIATION)})],
        [dosage(5, timing={"repeat": {"frequency": 1, "frequencyMax": 3, "period": 1, "periodUnit": "d"}})],
        [dosage(5, timing={"repeat": {"frequency": 1, "period": 1, "periodUnit": "mo"}})],
        [dosage(5, timing={"repeat": {"timeOfDay": ["08:00:00", "20:00:00"], "period": 1, "periodUnit": "d"}})],
        [dosage(5, timing={"repeat": {"frequency": 1, "when": ["MORN", "EVE"], "period": 1, "periodUnit": "d"}})],
        [dosage(5, timing={"repeat": {"dayOfWeek": ["mon"], "period": 1, "periodUnit": "wk"}})],
        [dosage(5, timing={"event": ["2005-01-20"]})],
        [dosage(20), {"text": "10 mg in the evening"}],
        [dosage(5, timing={"code": {"text": "as discussed"}})],
        [dosage(60, sequence=1), dosage(50, sequence=2)],
        [dosage(60), dosage(50, "mg", REMOVED)],
        [{"timing": DAILY, "doseAndRate": [{"doseRange": {"low": quantity(5, "mg"), "high": quantity(9, "mg")}}]}],
    ],
)
def test_a_dose_that_is_not_said_exactly_is_left_out_and_noted(dosages):
    entry = read(taken(dosage=dosages))
    assert (entry.statements[0].fields["dose"], entry.statements[0].fields["unit"]) == (None, None)
    assert left_out(taken(dosage=dosages)) == ["dose"]


def test_the_drug_may_be_in_a_contained_medication_or_one_of_the_bundle():
    held = {"resourceType": "Medication", "id": "m1", "code": concept("8640", RXNORM)}
    by_reference = taken(medicationCodeableConcept=REMOVED, medicationReference={"reference": "#m1"}, contained=[held])
    assert fields(by_reference)["drug"] == "prednisone"
    urn = "urn:uuid:79378cb8-8f58-48e8-a5e8-60ac2755b674"
    referring = taken(medicationCodeableConcept=REMOVED, medicationReference={"reference": urn})
    entries = read_all(bundle(post(referring), post(held, fullUrl=urn)))
    assert entries.entries[0].statements[0].fields["drug"] == "prednisone"


def test_dosages_over_other_times_are_not_added():
    first = dosage(40, timing={"repeat": {**DAILY["repeat"], "boundsPeriod": {"end": "2005-01-26"}}})
    second = dosage(20, timing={"repeat": {**DAILY["repeat"], "boundsPeriod": {"start": "2005-01-27"}}})
    assert (fields(taken(dosage=[first, second]))["dose"], left_out(taken(dosage=[first, second]))) == (None, ["dose"])


def test_the_ids_of_statements_and_of_administrations_are_different_numbers():
    sources = {fields(each(identifier=REMOVED, id="7"))["source"] for each in (taken, given)}
    assert sources == {"fhir", "fhir:MedicationAdministration"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Prednisolone 5 mg", "prednisolone"),
        ("methylprednisolone (Solu-Medrol) 1 g", "methylprednisolone"),
        ("Solu-Medrol 1000", "methylprednisolone"),
        ("prednisolone acetate 10 MG/ML", None),
        ("not prednisolone 5 mg", None),
        ("5 mg prednisolone", None),
        ("", None),
    ],
)
def test_only_the_name_before_the_strength_names_a_drug(text, name):
    found = drug_by_text(text)
    assert (None if found is None else found.name) == name
