"""The same infusion in two records that are merged later over HTTP: once, or listed and decided, in any format."""

import pytest

from tests.api.examples import make_study
from tests.api.fhir_bodies import FHIR, HOSPITAL, about, patient
from tests.api.test_hl7v2 import HL7V2, MRG, PID, adt
from tests.hl7v2.hl7v2_messages import changed

HOME = "/v1/studies/trial"
DOSE = {"product": "IVIG", "dose": 30, "unit": "g"}
BY_DATE = DOSE | {"time": "2005-04-11"}
BY_TIME = DOSE | {"time": "2005-04-11T10:00:00+09:00", "id": "e1", "source": "EHR"}
PROVEN = BY_TIME | {"id": "c1", "source": "CRF"}


@pytest.fixture
def trial(client):
    make_study(client, identifiers="pseudonyms", authorities=[HOSPITAL, "WARD7"])
    return client


def infused(client, who, *infusions):
    body = {"patient": {"id": who}, "infusions": list(infusions)}
    assert client.post(f"{HOME}/patients/{who}/events", json=body).status_code in {200, 201}


def by_message(client, *, undo=False):
    """ADT^A40, and ADT^A37, which separates the records again."""
    event, at = ("A37", "20050402080000+0900") if undo else ("A40", "20050401080000+0900")
    body = adt(event, changed(PID, f3="123^^^WARD7"), MRG, at=at)
    return client.post(f"{HOME}/hl7v2", content=body, headers=HL7V2)


def by_resource(client, *, undo=False):
    """A FHIR patient that was replaced by another one, and is not any more."""
    if undo:
        return by_json(client, undo=True)
    link = [{"type": "replaced-by", "other": about("123")}]
    return client.post("/fhir/trial/Patient", json=patient("456", active=False, link=link), headers=FHIR)


def by_json(client, *, undo=False):
    """An attribute of the record, and a timeline without it."""
    if undo:
        read = client.get(f"{HOME}/patients/456")
        found = read.json()
        del found["patient"]["merged_into"]
        return client.put(f"{HOME}/patients/456", json=found, headers={"If-Match": read.headers["etag"]})
    return client.post(f"{HOME}/patients/456/events", json={"patient": {"id": "456", "merged_into": "123"}})


def listed(client):
    return client.get(f"{HOME}/set-aside").json()["items"]


@pytest.mark.parametrize("merged", [by_message, by_resource, by_json])
def test_the_infusions_of_merged_records_are_compared_however_the_merge_is_sent(trial, merged):
    infused(trial, "456", BY_DATE, PROVEN | {"time": "2005-05-11T10:00:00+09:00"})
    infused(trial, "123", BY_TIME, BY_TIME | {"id": "e2", "time": "2005-05-11T01:00:00Z"})
    apart = trial.get(f"{HOME}/analyses/adverse-reactions").json()["results"]
    assert listed(trial) == []
    answer = merged(trial)
    assert answer.status_code in {200, 201}, answer.text
    whole = trial.get(f"{HOME}/analyses/adverse-reactions").json()["results"]
    [item] = listed(trial)
    assert (item["item"], item["patient"], item["reason"], item["code"]) == (None, "456", "possible_duplicate", "IVIG")
    assert [fact["time"] for fact in item["pair"]["facts"]] == [BY_TIME["time"], BY_DATE["time"]]
    [proof] = trial.get(f"{HOME}/decisions").json()["items"]
    assert (proof["patient"], proof["decision"], len(proof["facts"])) == ("456", "proven", 2)
    done = trial.post(item["pair"]["decide"], json={"decision": "same", "reason": "One morning."})
    assert done.json()["status"] == "decided"
    assert listed(trial) == []
    once = trial.get(f"{HOME}/analyses/adverse-reactions").json()["results"]
    assert once != whole
    assert sorted(each["decision"] for each in trial.get(f"{HOME}/decisions").json()["items"]) == ["proven", "same"]
    answer = merged(trial, undo=True)
    assert answer.status_code in {200, 201}, answer.text
    assert trial.get(f"{HOME}/analyses/adverse-reactions").json()["results"] == apart
    assert listed(trial) == []


def test_the_worklist_shows_stored_items_first_and_then_those_of_merged_records_page_by_page(trial):
    days = ["2005-04-11", "2005-05-11", "2005-06-11"]
    infused(trial, "456", *[BY_DATE | {"time": day} for day in days])
    infused(trial, "123", BY_DATE | {"time": "2005-07-11"})
    infused(trial, "123", *[BY_TIME | {"id": day, "time": f"{day}T10:00:00+09:00"} for day in [*days, "2005-07-11"]])
    by_json(trial)
    address, seen = f"{HOME}/set-aside?limit=2", []
    while address:
        found = trial.get(address).json()
        seen.append([item["item"] for item in found["items"]])
        address = found["next"]
    assert seen == [[1, None], [None, None]]
    names = [item["pair"]["decide"] for item in listed(trial)]
    assert len({*names}) == 4
