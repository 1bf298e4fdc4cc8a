"""The number of a patient is one rule for all formats: what is no number, and what two writings have in common."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings

FORMATS = ("fhir", "hl7v2", "csv")
WARD = {"name": "Ward", "protocol": "seed-2008", "authorities": ["WARD7"], "time_zone": "Asia/Tokyo"}
TIME = "2024-05-01T09:30:00+09:00"


@pytest.fixture
def client(migrated_file: Any, tmp_path: Any) -> Iterator[TestClient]:
    """A service with a secret, and a study of medical record numbers."""
    (tmp_path / "x.db").write_bytes(migrated_file.read_bytes())
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'x.db'}", pseudonym_secret="x" * 32)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        assert client.put("/v1/studies/ward", json=WARD).status_code == 201
        yield client


def sent(client: TestClient, format: str, number: str) -> tuple[int, str]:
    """The answer to one result of the patient with this number."""
    if format == "fhir":
        body = json.dumps({
            "resourceType": "Observation", "status": "final", "effectiveDateTime": TIME,
            "identifier": [{"system": "LAB", "value": "77"}],
            "subject": {"identifier": {"system": "WARD7", "value": number}},
            "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]},
            "valueQuantity": {"value": 900, "system": "http://unitsofmeasure.org", "code": "U/L"},
        })  # fmt: skip
        answer = client.post("/fhir/ward/Observation", content=body, headers={"Content-Type": "application/fhir+json"})
    elif format == "hl7v2":
        body = "\r".join((
            "MSH|^~\\&|LAB|A|MYO|MYO|20240502080000+0900||ORU^R01|1|P|2.5.1||||||UNICODE UTF-8",
            f"PID|1||{number}^^^WARD7",
            "OBR|1||77^LAB|2157-6^CK^LN|||20240501093000+0900",
            "OBX|1|NM|2157-6^CK^LN||900|U/L|||||F",
        ))  # fmt: skip
        headers = {"Content-Type": "application/hl7-v2"}
        answer = client.post("/v1/studies/ward/hl7v2", content=body.encode(), headers=headers)
    else:
        body = f"patient,time,code,value,unit,source,id\n{number},{TIME},CK,900,U/L,LAB,77\n"
        params = {"atomic": "true"}
        headers = {"Content-Type": "text/csv"}
        answer = client.post("/v1/studies/ward/labs", content=body.encode(), headers=headers, params=params)
    return answer.status_code, answer.text


def subjects(client: TestClient) -> list[str]:
    return [each["patient"]["id"] for each in client.get("/v1/studies/ward/patients").json()["items"]]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("word", ["UNKNOWN", "NA", "-", "NULL", "0", "000", "1.23457E+11", "77.0", "7\u200b7"])
def test_a_word_that_is_no_number_is_refused_in_every_feed(client, format, word):
    status, text = sent(client, format, word)
    assert (status, "bad_identifier" in text) == (422, True), text
    assert subjects(client) == []


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("word", ["UNKNOWN", "77.0"])
def test_a_word_that_is_no_pseudonym_is_refused_in_every_feed(client, format, word):
    client.put("/v1/studies/ward", json={**WARD, "identifiers": "pseudonyms"})
    status, text = sent(client, format, word)
    assert (status, "bad_identifier" in text) == (422, True), text


def test_the_number_of_a_patient_is_one_in_all_feeds_in_any_width_with_any_blanks_and_with_its_zeros(client):
    for format in FORMATS:
        for number in ("00421", " 00421 ", "\uff10\uff10\uff14\uff12\uff11", "\u300000421"):
            assert sent(client, format, number)[0] in {200, 201}
    assert len(subjects(client)) == 1
    for format in FORMATS:
        assert sent(client, format, "421")[0] in {200, 201}
    assert len(subjects(client)) == 2


@pytest.mark.parametrize("place", ["id", "merged_into"])
@pytest.mark.parametrize("word", ["UNKNOWN", "0", "77.0", "NA", "-"])
def test_a_word_that_is_no_pseudonym_is_refused_in_native_json(client, place, word):
    patient = {"id": "P1", place: word}
    answer = client.post("/v1/studies/ward/timelines", json=[{"patient": patient, "labs": [{"time": "2024"}]}])
    [item] = answer.json()["items"]
    faults = [(fault["pointer"], fault["code"]) for fault in item["problem"]["errors"]]
    assert (f"/patient/{place}", "bad_identifier") in faults
    assert ("/labs/0/code", "missing") in faults
    answer = client.post("/v1/studies/ward/timelines", json=[{"patient": patient, "ended": {"date": "2024-02-30",
                         "reason": "completed"}}])  # fmt: skip
    faults = [(fault["pointer"], fault["code"]) for fault in answer.json()["items"][0]["problem"]["errors"]]
    assert set(faults) == {(f"/patient/{place}", "bad_identifier"), ("/ended/date", "bad_time")}
    assert subjects(client) == []
