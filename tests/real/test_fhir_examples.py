"""The examples that HL7 publishes for FHIR R4 and US Core: what becomes of each file, and why."""

import csv
import json
from pathlib import Path

import pytest

from app.errors import FaultCode
from app.fhir.bundle_entries import Entry
from app.fhir.read_bundle import read_bundle, read_line
from tests.fhir.fhir_messages import concept, feed, history_and_faults

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "fhir_r4_examples"
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the FHIR R4 examples of HL7 are not beside this project (shared/data/fhir_r4_examples)"
)

TO = feed(key=b"k" * 32)
NOT_OURS = "skipped: code"
OTHER_KIND = "skipped: resource"

VERDICTS: dict[str, list[str]] = {
    # an event that happened; its term is the text of the event
    "hl7/AdverseEvent-example.json": ["kept: adverse_events"],
    # a POST of somebody without identifiers; a PUT and a DELETE of whatever a search finds; an operation; two reads
    "hl7/Bundle-bundle-transaction.json": [
        "refused: resource.identifier no_subject",
        "kept: patient",
        "kept: patient",
        "kept: patient",
        "kept: patient",
        "request: DELETE",
        "refused: request.url unsupported",
        "refused: request.url unsupported",
        "request: GET",
        "request: GET",
    ],
    "hl7/Bundle-f001.json": [OTHER_KIND] * 2,
    # four lipids
    "hl7/Bundle-lipids.json": [OTHER_KIND, *[NOT_OURS] * 4],
    # a blood count
    "hl7/Bundle-report.json": [OTHER_KIND, *[NOT_OURS] * 13],
    "hl7/DiagnosticReport-f201.json": [OTHER_KIND],
    # vancomycin, piperacillin, busulfan, each in a contained Medication
    "hl7/MedicationAdministration-medadmin0301.json": [NOT_OURS],
    "hl7/MedicationAdministration-medadmin0303.json": [NOT_OURS],
    "hl7/MedicationAdministration-medadmin0310.json": [NOT_OURS],
    "hl7/Observation-bgpanel.json": [NOT_OURS],
    "hl7/Observation-blood-pressure-cancel.json": [NOT_OURS],
    "hl7/Observation-blood-pressure-dar.json": [NOT_OURS],
    "hl7/Observation-date-lastmp.json": [NOT_OURS],
    # no subject, and components with numbers like -1e245: of no concern where the code is not kept
    "hl7/Observation-decimal.json": [NOT_OURS],
    "hl7/Observation-f001.json": [NOT_OURS],
    "hl7/Observation-f002.json": [NOT_OURS],
    "hl7/Observation-f003.json": [NOT_OURS],
    "hl7/Observation-unsat.json": [NOT_OURS],
    "hl7/Patient-example.json": ["kept: patient"],
    "hl7/Patient-f001.json": ["kept: patient"],
    "hl7/Patient-pat1.json": ["kept: patient"],
    "us-core/diagnosticreport-metabolic-panel.json": [OTHER_KIND],
    "us-core/observation-cbc-hemoglobin.json": [NOT_OURS],
    "us-core/observation-serum-creatinine.json": [NOT_OURS],
    "us-core/observation-serum-sodium.json": [NOT_OURS],
    # race 2106-3 and others stand in extensions; none of them is a result
    "us-core/patient-example.json": ["kept: patient"],
}

AS_CK: dict[str, list[str]] = {
    # what the same files say once their code is replaced by that of CK: how a conforming sender writes a result
    "hl7/Observation-bgpanel.json": ["skipped: value"],  # hasMember: its members are the results
    "hl7/Observation-blood-pressure-cancel.json": [
        "refused: identifier[0] bad_identifier"
    ],  # kept as it is: has colons
    "hl7/Observation-blood-pressure-dar.json": ["refused: identifier[0] bad_identifier"],
    "hl7/Observation-date-lastmp.json": ["kept: labs final 2016-01-24"],  # as a result that is no number
    "hl7/Observation-decimal.json": ["refused: effective[x] missing", "refused: subject no_subject"],
    "hl7/Observation-f001.json": ["refused: valueQuantity.code unknown_unit"],  # mmol/L
    "hl7/Observation-f002.json": ["refused: valueQuantity.code unknown_unit"],
    "hl7/Observation-f003.json": ["refused: valueQuantity.code unknown_unit"],  # kPa
    "hl7/Observation-unsat.json": ["kept: labs cancelled 2013-04-02T09:30:10+01:00"],  # no value, and the reason for it
    "us-core/observation-cbc-hemoglobin.json": ["refused: valueQuantity.code unknown_unit"],
    "us-core/observation-serum-creatinine.json": ["refused: valueQuantity.code unknown_unit"],
    "us-core/observation-serum-sodium.json": ["refused: valueQuantity.code unknown_unit"],
}


def entries(body: bytes) -> tuple[Entry, ...]:
    """The entries of a file."""
    return read_bundle(body, TO).entries if json.loads(body)["resourceType"] == "Bundle" else (read_line(body, TO),)


def verdicts(entry: Entry, to_drop: str) -> list[str]:
    """What became of an entry, without the place of the entry itself."""
    _, faults = history_and_faults(entry)
    if faults:
        return sorted({f"refused: {fault.pointer.removeprefix(to_drop)} {fault.code}" for fault in faults})
    if entry.skipped:
        return [f"skipped: {entry.skipped}"]
    if not entry.statements and entry.request:
        return [f"request: {entry.request.method}"]
    return [f"kept: {statement.section}" for statement in entry.statements]


def test_every_example_has_a_verdict():
    found = {str(file.relative_to(FOLDER)) for file in FOLDER.glob("*/*.json")}
    assert found == set(VERDICTS)


@pytest.mark.parametrize("file", VERDICTS)
def test_an_example_has_its_verdict(file):
    found = entries((FOLDER / file).read_bytes())
    single = not file.startswith("hl7/Bundle")
    of_each = [verdicts(entry, f"{entry.place}." if single else f"Bundle.entry[{entry.at}].") for entry in found]
    assert [verdict for each in of_each for verdict in each] == VERDICTS[file]


@pytest.mark.parametrize("file", AS_CK)
def test_an_example_that_were_ck_has_its_verdict(file):
    content = json.loads((FOLDER / file).read_bytes()) | {"code": concept("2157-6")}
    entry = read_line(json.dumps(content).encode(), feed())
    found = verdicts(entry, "Observation.")
    if found == ["kept: labs"]:
        [fields] = [statement.fields for statement in entry.statements]
        found = [f"kept: labs {fields['status']} {fields['time']}"]
    assert found == AS_CK[file]


@pytest.mark.parametrize("file", ["hl7/Patient-example.json", "hl7/Patient-f001.json", "us-core/patient-example.json"])
def test_no_name_address_number_or_birthday_of_an_example_is_kept(file):
    body = (FOLDER / file).read_bytes()
    content = json.loads(body)
    [entry] = entries(body)
    kept = repr((entry.subject, entry.statements))
    planted = [name["family"] for name in content["name"] if "family" in name]
    planted += [each["value"] for each in (*content["telecom"], *content["identifier"]) if "value" in each]
    planted += [line for address in content["address"] for line in address.get("line", ())]
    planted.append(content["birthDate"])
    assert len(planted) > 3
    assert not [text for text in planted if text in kept]


SEEN = FOLDER.parent / "hl7v2_oru" / "ck_codings_seen.csv"
SYSTEMS = {"LN": "http://loinc.org", "L": "urn:lab:a", "CDISC": "urn:lab:a", "MIMIC": "urn:lab:a", "": None}
"""The systems of the other formats as a FHIR sender would name them."""


@pytest.mark.skipif(not SEEN.is_file(), reason="ck_codings_seen.csv is not beside this project (shared/data/hl7v2_oru)")
def test_ck_as_it_was_seen_coded_gets_the_verdict_of_the_list_in_fhir():
    to = feed(codes={"urn:lab:a|CK": "CK", "urn:lab:a|50910": "CK"})
    with SEEN.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["source_format"] for row in rows} >= {"FHIR", "HL7v2"}
    for row in rows:
        content = {
            "resourceType": "Observation",
            "status": "final",
            "code": concept(row["code"], SYSTEMS.get(row["coding_system"], row["coding_system"]), row["text"]),
            "subject": {"reference": "Patient/1"},
            "effectiveDateTime": "2005-03-16",
            "valueQuantity": {"value": float(row["value"] or 1), "unit": row["unit"].split("^")[0] or "U/L"},
            "referenceRange": [{"text": row["reference_range"]}],
        }
        entry = read_line(json.dumps(content).encode(), to)
        history, faults = history_and_faults(entry)
        if row["is_total_serum_ck"] == "yes":
            assert (faults, [fact.code for fact in history.labs]) == ((), ["CK"]), row["why"]
        else:
            assert entry.skipped == "code" or [fault.code for fault in faults] == [FaultCode.CODE_CONFLICT], row["why"]
