"""`rehearse=true`: each write answers as it would, and stores nothing."""

import json

import pytest

NATIVE = {"patient": {"id": "P1"}, "labs": [
    {"code": "CK", "time": "2020-01-02T10:00:00+09:00", "value": 500, "unit": "U/L", "id": "7", "source": "A"},
]}  # fmt: skip
OBSERVATION = {
    "resourceType": "Observation", "status": "final", "identifier": [{"system": "A", "value": "8"}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "2157-6"}]}, "subject": {"reference": "Patient/P1"},
    "effectiveDateTime": "2020-01-03T10:00:00+09:00",
    "valueQuantity": {"value": 501, "unit": "U/L", "system": "http://unitsofmeasure.org", "code": "U/L"},
}  # fmt: skip
MESSAGE = (
    "MSH|^~\\&|LAB|A|MYO|MYO|20240502080000+0900||ORU^R01|1|P|2.5.1\rPID|1||P1^^^H\r"
    "OBR|1||78^LAB-A|CK|||20200104100000+0900\rOBX|1|NM|2157-6^CK^LN||502|U/L|30-170||||F\r"
)
TABLE = "patient,time,code,value,unit\nP1,2020-01-05,CK,503,U/L\n"
BUNDLE = {
    "resourceType": "Bundle", "type": "batch",
    "entry": [{"resource": OBSERVATION, "request": {"method": "POST", "url": "Observation"}}],
}  # fmt: skip
NAMED = {**OBSERVATION, "id": "mine"}
WRITES = {
    "events": ("POST", "/v1/studies/trial/patients/P1/events", json.dumps(NATIVE), "application/json"),
    "put": ("PUT", "/v1/studies/trial/patients/P1", json.dumps(NATIVE), "application/json"),
    "timelines": ("POST", "/v1/studies/trial/timelines", json.dumps([NATIVE]), "application/json"),
    "stream": ("POST", "/v1/studies/trial/timelines", json.dumps(NATIVE) + "\n", "application/x-ndjson"),
    "csv": ("POST", "/v1/studies/trial/labs", TABLE, "text/csv"),
    "hl7v2": ("POST", "/v1/studies/trial/hl7v2", MESSAGE, "application/hl7-v2"),
    "bundle": ("POST", "/fhir/trial", json.dumps(BUNDLE), "application/fhir+json"),
    "create": ("POST", "/fhir/trial/Observation", json.dumps(OBSERVATION), "application/fhir+json"),
    "update": ("PUT", "/fhir/trial/Observation/mine", json.dumps(NAMED), "application/fhir+json"),
}


@pytest.fixture
def trial(anywhere):
    declared = {"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms"}
    anywhere.put("/v1/studies/trial", json=declared)
    return anywhere


def ask(client, write, *, rehearse):
    method, path, body, kind = WRITES[write]
    params = {"rehearse": "true"} if rehearse else None
    return client.request(method, path, content=body, headers={"Content-Type": kind}, params=params)


@pytest.mark.parametrize("write", WRITES)
def test_a_rehearsed_write_answers_as_the_write_itself_and_stores_nothing(trial, write):
    rehearsed = ask(trial, write, rehearse=True)
    study = trial.get("/v1/studies/trial").json()
    assert (study["revision"], study["patients"]) == (0, 0)
    written = ask(trial, write, rehearse=False)
    assert rehearsed.status_code == written.status_code
    assert trial.get("/v1/studies/trial").json()["patients"] == 1
    if write in {"events", "put", "timelines", "csv"}:
        assert rehearsed.json() == written.json() | {"proposals": []}


@pytest.mark.parametrize("write", [write for write in WRITES if write != "put"])
def test_a_rehearsal_after_the_write_says_that_all_of_it_stands(trial, write):
    ask(trial, write, rehearse=False)
    before = trial.get("/v1/studies/trial").json()
    answer = ask(trial, write, rehearse=True)
    assert answer.status_code == 200
    assert "created" not in answer.text
    assert trial.get("/v1/studies/trial").json() == before


def test_later_items_of_a_rehearsal_see_the_earlier_ones(trial):
    corrected = json.loads(json.dumps(NATIVE))
    corrected["labs"][0] |= {"value": 600, "version": 2}
    answer = trial.post("/v1/studies/trial/timelines?rehearse=true", json=[NATIVE, corrected, NATIVE])
    assert [item["status"] for item in answer.json()["items"]] == ["created", "changed", "stale"]


def test_a_withdrawal_is_rehearsed(trial):
    ask(trial, "update", rehearse=False)
    assert trial.delete("/fhir/trial/Observation/mine?rehearse=true").status_code == 204
    assert trial.get("/fhir/trial/Observation/mine").json()["status"] == "final"


def test_a_study_and_a_protocol_are_rehearsed(trial):
    changed = {"name": "Other", "protocol": "relative-20"}
    answer = trial.put("/v1/studies/trial?rehearse=true", json=changed)
    assert (answer.status_code, answer.json()["name"]) == (200, "Other")
    assert trial.get("/v1/studies/trial").json()["name"] == "Trial"
    assert trial.put("/v1/studies/new?rehearse=true", json=changed).status_code == 201
    assert trial.get("/v1/studies/new").status_code == 404


def test_a_refusal_is_the_same_in_a_rehearsal(trial):
    for rehearse in ("true", "false"):
        answer = trial.post(f"/v1/studies/none/timelines?rehearse={rehearse}", json=[NATIVE])
        assert answer.status_code == 404
    assert trial.post("/v1/studies/trial/timelines?rehearse=yes", json=[NATIVE]).status_code == 422


def test_a_rehearsal_proposes_what_the_study_could_declare(trial):
    table = "patient,time,code,value,unit,code_system,code_text\nP1,2020-01-05,CKN,503,U/L,L,Creatine kinase\n"
    table += "P1,2020-01-05,CK,503,U\\L,,\n"
    headers = {"Content-Type": "text/csv"}
    answer = trial.post("/v1/studies/trial/labs?rehearse=true", content=table, headers=headers)
    proposed = {each["declaration"]: each["value"] for each in answer.json()["proposals"]}
    assert proposed["local_codes"] == {"L|CKN": "CK"}
    assert trial.get("/v1/studies/trial/intake").json() == {"items": [], "proposals": []}


def test_the_last_line_of_a_rehearsed_stream_has_the_proposals(trial):
    method, path, body, kind = WRITES["stream"]
    answer = trial.request(method, f"{path}?rehearse=true", content=body, headers={"Content-Type": kind})
    assert json.loads(answer.text.splitlines()[-1])["proposals"] == []
    assert "proposals" not in trial.request(method, path, content=body, headers={"Content-Type": kind}).text
