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


RESULT = {"code": "CK", "time": TIME, "value": 900, "unit": "U/L", "upper_limit": 170}


def native(number: str = "00421", system: str = "WARD7", **more: Any) -> dict[str, Any]:
    """A timeline that names its patient by a number."""
    return {"patient": {"identifier": {"value": number, "system": system}, **more}, "labs": [RESULT]}


def posted(client: TestClient, *timelines: Any, lines: bool = False, **params: str) -> Any:
    content, media_type = json.dumps(timelines), "application/json"
    if lines:
        content, media_type = "\n".join(map(json.dumps, timelines)), "application/x-ndjson"
    headers = {"Content-Type": media_type}
    return client.post("/v1/studies/ward/timelines", content=content, headers=headers, params=params)


def faults(problem: Any) -> list[tuple[str, str]]:
    return [(fault["pointer"], fault["code"]) for fault in problem["errors"]]


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("number", ["00421", " 00421", "\uff10\uff10\uff14\uff12\uff11"])
def test_a_number_in_native_json_is_the_patient_of_the_feeds(client, lines, number):
    sent(client, "hl7v2", "00421")
    [subject] = subjects(client)
    answer = posted(client, native(number), lines=lines)
    item = json.loads(answer.text.splitlines()[0]) if lines else answer.json()["items"][0]
    assert (item["patient"], item["status"]) == (subject, "changed")
    assert subjects(client) == [subject]
    assert "421" not in answer.text + client.get(f"/v1/studies/ward/patients/{subject}").text


def test_a_number_and_the_identifier_that_it_gives_may_stand_together(client):
    posted(client, native())
    [subject] = subjects(client)
    assert posted(client, native(id=subject)).json()["items"][0]["status"] == "unchanged"
    answer = posted(client, native(id="P9"), native("00422", id=subject)).json()
    assert [faults(item["problem"]) for item in answer["items"]] == [[("/patient/identifier", "ambiguous_subject")]] * 2
    assert subjects(client) == [subject]


def test_a_timeline_must_name_its_patient(client):
    [item] = posted(client, {"patient": {"sex": "female"}}).json()["items"]
    assert faults(item["problem"]) == [("/patient/id", "missing")]


@pytest.mark.parametrize(
    ("identifier", "fault"),
    [
        ({"value": "UNKNOWN", "system": "WARD7"}, ("/patient/identifier", "bad_identifier")),
        ({"value": "0", "system": "WARD7"}, ("/patient/identifier", "bad_identifier")),
        ({"value": "1", "system": "OTHER"}, ("/patient/identifier", "ambiguous_subject")),
        ({"value": "1"}, ("/patient/identifier/system", "missing")),
        ({"system": "WARD7"}, ("/patient/identifier/value", "missing")),
        ("1", ("/patient/identifier", "wrong_type")),
    ],
)
def test_a_number_that_names_nobody_is_refused(client, identifier, fault):
    [item] = posted(client, {"patient": {"identifier": identifier}, "labs": [RESULT]}).json()["items"]
    assert faults(item["problem"]) == [fault]


def test_a_number_stands_in_the_body_and_its_pseudonym_in_the_address(client):
    posted(client, native())
    [subject] = subjects(client)
    assert client.post(f"/v1/studies/ward/patients/{subject}/events", json=native()).status_code == 200
    answer = client.post("/v1/studies/ward/patients/P1/events", json=native())
    assert (answer.status_code, faults(answer.json())) == (422, [("/patient/identifier", "path_mismatch")])


def test_a_number_needs_a_secret_and_a_study(client, migrated_file, tmp_path):
    assert posted(client, native()).status_code == 200
    assert client.post("/v1/studies/none/timelines", json=[native()]).status_code == 404
    (tmp_path / "y.db").write_bytes(migrated_file.read_bytes())
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'y.db'}")
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as without:
        without.put("/v1/studies/ward", json=WARD)
        [item] = posted(without, native()).json()["items"]
        assert item["problem"]["status"] == 409
        assert without.post("/v1/studies/ward/patients/P1/events", json=native()).status_code == 409


def test_a_number_means_nothing_where_no_study_is_asked(client):
    body = {"protocol": "seed-2008", "timelines": [native()]}
    answer = client.post("/v1/analyses", json=body)
    assert (answer.status_code, faults(answer.json())[0]) == (422, ("/timelines/0/patient/identifier", "unsupported"))


def test_a_new_plain_identifier_is_noted_where_numbers_are_of_medical_records(client):
    note = {"place": "/patient", "disposition": "kept", "notes": [{"code": "new_patient"}, {"code": "plain_id"}]}
    for _, expected in enumerate([[note], []]):
        [item] = posted(client, {"patient": {"id": "P1"}, "labs": [RESULT]}).json()["items"]
        assert (item["receipt"]["lines"], item["receipt"]["counts"]["kept"]) == (expected, 1)
    answer = client.post("/v1/studies/ward/patients/P2/events", json={"patient": {"id": "P2"}})
    assert answer.json()["receipt"]["lines"] == [note]
    answer = client.put("/v1/studies/ward/patients/P3", json={"patient": {"id": "P3"}})
    assert answer.json()["receipt"]["lines"] == [note]
    new = [note | {"notes": [{"code": "new_patient"}]}]
    assert posted(client, native()).json()["items"][0]["receipt"]["lines"] == new
    client.put("/v1/studies/ward", json={**WARD, "identifiers": "pseudonyms"})
    assert posted(client, {"patient": {"id": "P4"}}).json()["items"][0]["receipt"]["lines"] == new


@pytest.mark.parametrize("lines", [False, True])
def test_where_native_identifiers_must_be_known_a_new_one_is_refused_and_a_number_is_not(client, lines):
    posted(client, {"patient": {"id": "P1"}})
    client.put("/v1/studies/ward", json={**WARD, "native_ids": "known"})
    answer = posted(client, {"patient": {"id": "P1"}}, {"patient": {"id": "P2"}}, native(), lines=lines)
    items = [json.loads(line) for line in answer.text.splitlines()][:3] if lines else answer.json()["items"]
    assert [item["status"] for item in items] == ["unchanged", "rejected", "created"]
    assert faults(items[1]["problem"]) == [("/patient/id", "unknown_reference")]
    together = posted(client, {"patient": {"id": "P1"}}, {"patient": {"id": "P2"}}, lines=lines, atomic="true")
    assert (together.status_code, faults(together.json())) == (422, [("/1/patient/id", "unknown_reference")])
    for method, address in (("POST", "/v1/studies/ward/patients/P2/events"), ("PUT", "/v1/studies/ward/patients/P2")):
        alone = client.request(method, address, json={"patient": {"id": "P2"}})
        assert (alone.status_code, faults(alone.json())) == (422, [("/patient/id", "unknown_reference")])


def test_where_only_enrolled_patients_may_come_a_new_number_is_refused_and_a_plain_identifier_enrols(client):
    client.put("/v1/studies/ward", json={**WARD, "enrolled_only": True})
    answer = posted(client, native(), {"patient": {"id": "P2"}}).json()
    assert [item["status"] for item in answer["items"]] == ["rejected", "created"]
    assert faults(answer["items"][0]["problem"]) == [("/patient/identifier", "unknown_reference")]


@pytest.mark.parametrize("text", ["Creatine kinase", "CK", None])
def test_the_title_of_a_result_is_read_and_not_stored(client, text):
    answer = posted(client, native() | {"labs": [RESULT | {"code_text": text}]}).json()
    assert answer["items"][0]["receipt"]["counts"]["kept"] == 1
    timeline = client.get(f"/v1/studies/ward/patients/{subjects(client)[0]}").text
    assert "code_text" not in timeline


def test_a_result_whose_title_names_another_isoenzyme_is_refused(client):
    [item] = posted(client, native() | {"labs": [RESULT | {"code_text": "CK-MB"}]}).json()["items"]
    assert faults(item["problem"]) == [("/labs/0/code_text", "code_conflict")]


@pytest.mark.parametrize("written", [" P1 ", "\uff30\uff11", "\u3000P1"])
def test_a_patient_of_native_json_is_the_same_with_blanks_and_in_full_width(client, written):
    home = "/v1/studies/ward/patients/P1"
    first = {"patient": {"id": "P1"}, "labs": [{"code": "CK", "time": TIME, "value": 900, "unit": "U/L"}]}
    assert client.put(home, json=first).status_code == 201
    again = first | {"patient": {"id": written, "merged_into": f"{written.rstrip()}7 "}}
    for answer in (
        client.post(f"{home}/events", json=again),
        client.post("/v1/studies/ward/timelines", json=[again]),
        client.put(home, json=again, headers={"If-Match": client.get(home).headers["ETag"]}),
    ):
        assert answer.status_code == 200, answer.text
    assert subjects(client) == ["P1"]
    other = client.put("/v1/studies/ward/patients/P2", json=again)
    assert [(fault["pointer"], fault["code"]) for fault in other.json()["errors"]] == [("/patient/id", "path_mismatch")]


@pytest.mark.parametrize("written", ["P 1", "\uff2e\uff21", "\u3000", "P\u200b1", "\uff10"])
def test_what_names_nobody_when_it_is_normalised_is_refused_in_native_json(client, written):
    answer = client.post("/v1/studies/ward/timelines", json=[{"patient": {"id": written}}])
    [item] = answer.json()["items"]
    assert [(fault["pointer"], fault["code"]) for fault in item["problem"]["errors"]] == [
        ("/patient/id", "bad_identifier")
    ]
