"""The verdicts about one patient are those that the questions list for this patient, without the rest of the study."""

import json

import pytest

from app.demo import TIMELINES
from tests.api.examples import fill, lab, make_study, timeline

QUESTIONS = ("response-rates", "ck-normal-time")


def listed(client, home, patient, **query):
    """What the questions list for one patient."""
    asked = {"patients": "true", "patient": patient, **query}
    rates, times = (client.get(f"{home}/analyses/{name}", params=asked).json() for name in QUESTIONS)
    responses = [
        {"measure": row["measure"], "definition": row["definition"], "primary": row["primary"], "verdict": verdict}
        for row in rates["results"]
        for verdict in row["patients"]
    ]
    spells = [spell for row in times["results"] for spell in row["patients"]]
    return responses, spells[0] if spells else None


@pytest.mark.parametrize("protocol", ["seed-2008", "myositis-2026", "relative-20"])
def test_they_are_those_that_the_questions_list(client, protocol):
    client.put("/v1/studies/demo", json={"name": "D", "protocol": protocol, "identifiers": "pseudonyms"})
    people = json.loads(TIMELINES.read_bytes())
    assert client.post("/v1/studies/demo/timelines", json=people).status_code == 200
    left_out, judged = set(), 0
    for patient in (each["patient"]["id"] for each in people):
        found = client.get(f"/v1/studies/demo/patients/{patient}/verdicts").json()
        assert (found["responses"], found["ck_normal_time"]) == listed(client, "/v1/studies/demo", patient)
        left_out |= {each["verdict"]["reason"] for each in found["responses"]} | {found["ck_normal_time"]["reason"]}
        judged += sum(each["verdict"]["responder"] is not None for each in found["responses"])
    assert judged > 30
    assert len(left_out) > 1
    assert found["protocol"]["id"] == protocol


def test_two_records_of_one_person_are_judged_as_one(anywhere):
    home = fill(anywhere, 2)
    first_normal = {"patient": {"id": "P00", "merged_into": "P01"}, "labs": [lab(3, 100)]}
    anywhere.post(f"{home}/patients/P00/events", json=first_normal)
    for patient in ("P00", "P01"):
        found = anywhere.get(f"{home}/patients/{patient}/verdicts").json()
        assert (found["responses"], found["ck_normal_time"]) == listed(anywhere, home, patient)
    assert found["ck_normal_time"]["start"] == 3
    merged = anywhere.get(f"{home}/patients/P00/verdicts").json()
    assert (merged["responses"], merged["ck_normal_time"]) == ([], None)


def test_they_stay_those_of_a_revision_and_change_with_its_facts_and_its_protocol(client):
    home = fill(client, 1)
    address, before = f"{home}/patients/P00/verdicts", client.get(home).json()["revision"]
    first = client.get(address)
    assert client.get(address, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    infusion = timeline("P00")["infusions"][0]
    withdrawn = {"patient": {"id": "P00"}, "infusions": [infusion | {"status": "entered-in-error"}]}
    client.post(f"{home}/patients/P00/events", json=withdrawn)
    again = client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 200
    assert client.get(f"{address}?revision={before}").json() == first.json()
    client.put(f"{home}/protocol", json=client.get("/v1/protocols/relative-20").json())
    other = client.get(address, headers={"If-None-Match": again.headers["etag"]})
    assert (other.status_code, other.json()["protocol"]["id"]) == (200, "relative-20")


def test_a_patient_whom_the_study_does_not_have_or_has_erased_is_refused(client):
    home = fill(client, 1)
    assert client.get(f"{home}/patients/P9/verdicts").status_code == 404
    client.delete(f"{home}/patients/P00?erase=true")
    assert client.get(f"{home}/patients/P00/verdicts").status_code == 410


def test_a_patient_without_a_treatment_is_left_out_with_the_reason(client):
    home = make_study(client)
    client.put(f"{home}/patients/P1", json={"patient": {"id": "P1"}, "labs": [lab(1, 900)]})
    found = client.get(f"{home}/patients/P1/verdicts").json()
    assert {each["verdict"]["reason"] for each in found["responses"]} == {"not_treated"}
    assert (found["ck_normal_time"]["start"], found["ck_normal_time"]["reason"]) == (None, "not_treated")
