"""A byte order mark, which some programs write before every text, is no part of a body in any format."""

import json

import pytest

from app.http.openapi import JSON, NDJSON

MARK = b"\xef\xbb\xbf"
TIMELINE = {"patient": {"id": "P1"}, "labs": [{"code": "CK", "time": "2024-05-01", "value": 9, "unit": "U/L"}]}
OBSERVATION = {
    "resourceType": "Observation", "status": "final", "effectiveDateTime": "2024-05-01",
    "identifier": [{"system": "LAB", "value": "77"}],
    "subject": {"identifier": {"system": "WARD7", "value": "P1"}},
    "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
    "valueQuantity": {"value": 9, "system": "http://unitsofmeasure.org", "code": "U/L"},
}  # fmt: skip
BUNDLE = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": OBSERVATION,
          "request": {"method": "POST", "url": "Observation"}}]}  # fmt: skip
MESSAGE = "\r".join((
    "MSH|^~\\&|LAB|A|MYO|MYO|20240502080000+0900||ORU^R01|1|P|2.5.1||||||UNICODE UTF-8", "PID|1||P1^^^WARD7",
    "OBR|1||77^LAB|2157-6^CK^LN|||20240501", "OBX|1|NM|2157-6^CK^LN||9|U/L|||||F",
))  # fmt: skip
WRITES = {
    "events": ("/v1/studies/ward/patients/P1/events", JSON, json.dumps(TIMELINE)),
    "array": ("/v1/studies/ward/timelines", JSON, json.dumps([TIMELINE])),
    "lines": ("/v1/studies/ward/timelines", NDJSON, json.dumps(TIMELINE)),
    "lines together": ("/v1/studies/ward/timelines?atomic=true", NDJSON, json.dumps(TIMELINE)),
    "resource": ("/fhir/ward/Observation", "application/fhir+json", json.dumps(OBSERVATION)),
    "bundle": ("/fhir/ward", "application/fhir+json", json.dumps(BUNDLE)),
    "message": ("/v1/studies/ward/hl7v2", "application/hl7-v2", MESSAGE),
    "table": ("/v1/studies/ward/labs", "text/csv", "patient,time,code,value,unit\nP1,2024-05-01,CK,9,U/L\n"),
}
"""For each kind of body its address, its media type and its text."""
UTF_16 = {**dict.fromkeys(WRITES, 400), "lines": 200, "message": 422, "table": 415}


@pytest.fixture(autouse=True)
def study(client):
    declared = {"name": "Ward", "protocol": "seed-2008", "identifiers": "pseudonyms"}
    client.put("/v1/studies/ward", json=declared)


@pytest.mark.parametrize("kind", WRITES)
def test_a_byte_order_mark_before_a_body_changes_nothing(client, kind):
    address, media_type, text = WRITES[kind]
    answer = client.post(address, content=MARK + text.encode(), headers={"Content-Type": media_type})
    assert answer.status_code in {200, 201}, answer.text
    [fact] = client.get("/v1/studies/ward/patients/P1").json()["labs"]
    assert fact["value"] == 9


@pytest.mark.parametrize("kind", WRITES)
def test_a_body_in_utf_16_is_refused_for_its_encoding(client, kind):
    address, media_type, text = WRITES[kind]
    answer = client.post(address, content=text.encode("utf-16"), headers={"Content-Type": media_type})
    assert answer.status_code == UTF_16[kind], answer.text
    assert kind == "message" or "unknown_encoding" in answer.text
    assert client.get("/v1/studies/ward/patients").json()["items"] == []
