"""Reading by FHIR: single resources and their versions; a hospital's numbers and names are not shown."""

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.api.conftest import BASE
from tests.api.examples import fill, lab, make_study, timeline
from tests.api.fhir_bodies import without_tags
from tests.api.fhir_reads import FHIR, HOME, create, got, link, observation, resources, walk

SECRET = "x" * 32


@pytest.fixture
def filled(client) -> Any:
    """A study with P00, P01 and P02."""
    fill(client, 3)
    return client


# Single resources


@pytest.mark.parametrize("kind", ["Patient", "Observation", "MedicationAdministration"])
def test_every_resource_that_a_search_finds_is_read_at_its_address(filled, kind):
    for entry in got(filled, kind)["entry"]:
        resource = entry["resource"]
        assert entry["search"] == {"mode": "match"}
        assert got(filled, entry["fullUrl"]) == resource
        assert entry["fullUrl"] == f"{BASE}{HOME}/{kind}/{resource['id']}"
        version = resource["meta"]["versionId"]
        assert got(filled, f"{kind}/{resource['id']}/_history/{version}") == resource


def test_a_resource_has_a_version_and_an_instant_and_is_not_sent_again_to_who_has_it(filled):
    read = filled.get(f"{HOME}/Patient/P01")
    assert read.headers["etag"] == f'W/"{read.json()["meta"]["versionId"]}"'
    assert read.headers["last-modified"].endswith(" GMT")
    assert read.headers["cache-control"] == "no-store"
    again = filled.get(f"{HOME}/Patient/P01", headers={"If-None-Match": read.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert filled.get(f"{HOME}/Patient/P01", headers={"If-None-Match": 'W/"99"'}).status_code == 200


def test_what_is_not_there_is_an_outcome_that_repeats_nothing(filled):
    for address in ("Observation/nobody-1234", "Patient/P77", "Patient/P01/_history/77", "MeasureReport/ck-change",
                    "Observation/nobody-1234/_history"):  # fmt: skip
        outcome = got(filled, address, 404)
        assert outcome["issue"][0]["code"] == "not-found"
        assert "nobody" not in json.dumps(outcome)
    assert filled.get("/fhir/nowhere/Patient/P01").status_code == 404
    assert filled.get("/fhir/nowhere/Observation").status_code == 404
    assert filled.get(f"{HOME}/Condition/1").status_code == 404


def test_versions_are_listed_newest_first_and_a_late_one_is_tagged(anywhere):
    home = make_study(anywhere)
    for value, version in ((1, 1), (3, 3), (2, 2)):
        sent = {"patient": {"id": "P01"}, "labs": [lab(0, value, id="k1", version=version)]}
        assert anywhere.post(f"{home}/patients/P01/events", json=sent).status_code in {200, 201}
    [shown] = resources(got(anywhere, "Observation"))
    bundle = got(anywhere, f"Observation/{shown['id']}/_history")
    assert bundle["type"] == "history"
    assert [(each["meta"]["versionId"], each["valueQuantity"]["value"], "tag" in each["meta"])
            for each in resources(bundle)] == [("3", 2, True), ("2", 3, False), ("1", 1, False)]  # fmt: skip
    assert shown["valueQuantity"]["value"] == 3
    assert got(anywhere, f"Observation/{shown['id']}/_history/1")["valueQuantity"]["value"] == 1


def test_a_fact_that_was_left_out_is_gone_and_its_history_ends_with_its_deletion(filled):
    [first, *_] = resources(got(filled, "Observation?patient=P01"))
    home = "/v1/studies/trial/patients/P01"
    tag = filled.get(home).headers["etag"]
    assert filled.put(home, json={"patient": {"id": "P01"}}, headers={"If-Match": tag}).status_code == 200
    assert got(filled, f"Observation/{first['id']}", 410)["issue"][0]["code"] == "deleted"
    [deleted, before] = got(filled, f"Observation/{first['id']}/_history")["entry"]
    assert "resource" not in deleted
    assert deleted["request"]["method"] == "DELETE"
    assert before["resource"] == first
    assert got(filled, "Observation?patient=P01")["total"] == 0


def test_a_withdrawn_result_is_shown_with_its_status_and_an_event_is_gone(client):
    make_study(client)
    sent = timeline("P01", labs=[lab(0, 5, id="k1")], adverse_events=[{"id": "e1", "term": "rash"}])
    client.put("/v1/studies/trial/patients/P01", json=sent)
    found = {kind: resources(got(client, f"{kind}?patient=P01"))[0]["id"] for kind in ("Observation", "AdverseEvent")}
    sent["labs"][0]["status"] = sent["adverse_events"][0]["status"] = "entered-in-error"
    client.post("/v1/studies/trial/patients/P01/events", json=sent)
    assert got(client, f"Observation/{found['Observation']}")["status"] == "entered-in-error"
    got(client, f"AdverseEvent/{found['AdverseEvent']}", 410)
    assert got(client, f"AdverseEvent/{found['AdverseEvent']}/_history")["entry"][0]["request"]["method"] == "DELETE"
    assert found["Observation"] not in [each["id"] for each in resources(got(client, "Observation"))]
    [shown] = resources(got(client, "Observation?status=entered-in-error"))
    assert shown["id"] == found["Observation"]
    assert got(client, "AdverseEvent")["total"] == 0


def test_the_facts_of_an_erased_person_are_gone(filled):
    [first, *_] = resources(got(filled, "Observation?patient=P01"))
    walked = link(got(filled, "Observation?_count=1"), "next")
    assert filled.delete("/v1/studies/trial/patients/P01?erase=true").status_code == 204
    got(filled, f"Observation/{first['id']}", 410)
    got(filled, "Patient/P01", 410)
    got(filled, walked, 410)
    assert {each["id"] for each in resources(got(filled, "Patient"))} == {"P00", "P02"}
    assert got(filled, f"Observation?_id={first['id']}")["total"] == 0


# What came by FHIR


def cursors(bundle: dict[str, Any]) -> str:
    """The contents of the cursors in the links."""
    written = [parse_qs(urlsplit(each["url"]).query).get("_cursor", [""])[0] for each in bundle["link"]]
    return "".join(repr(base64.urlsafe_b64decode(one + "=" * (-len(one) % 4))) for one in written)


SENT = [
    {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "MRN-4711"}], "gender": "female",
     "birthDate": "1953-04-05"},
    observation(subject={"identifier": {"system": "urn:mrn", "value": "MRN-4711"}}),
    {"resourceType": "MedicationAdministration", "identifier": [{"system": "urn:pharmacy", "value": "m-1"}],
     "status": "completed", "effectiveDateTime": "2005-04-11",
     "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "J06BA02"}]},
     "subject": {"identifier": {"system": "urn:mrn", "value": "MRN-4711"}}},
    {"resourceType": "AdverseEvent", "identifier": {"system": "urn:ae", "value": "a-1"}, "actuality": "actual",
     "subject": {"identifier": {"system": "urn:mrn", "value": "MRN-4711"}}, "event": {"text": "headache"},
     "date": "2005-04-12"},
]  # fmt: skip


@pytest.mark.parametrize("identifiers", ["medical_record", "pseudonyms"])
def test_what_was_read_and_is_put_back_makes_no_new_version(serve, sqlite_url, identifiers):
    client = serve(sqlite_url, pseudonym_secret=SECRET)
    make_study(client, identifiers=identifiers)
    for resource in SENT:
        made = create(client, resource)
        read = got(client, f"{made['resourceType']}/{made['id']}")
        assert read == without_tags(made)
        address = f"{HOME}/{read['resourceType']}/{read['id']}"
        again = client.put(address, content=json.dumps(read), headers=FHIR)
        assert again.status_code == 200, again.text
        assert without_tags(again.json()) == read
    assert client.get("/v1/studies/trial").json()["revision"] == len(SENT)


def test_a_number_of_the_hospital_finds_its_fact_and_stands_in_no_address_and_no_answer(serve, migrated_url):
    client = serve(migrated_url, pseudonym_secret=SECRET)
    make_study(client, identifiers="medical_record")
    for number in ("MRN-4711", "MRN-4712"):
        who = {"identifier": {"system": "urn:mrn", "value": number}}
        for accession in range(3):
            create(client, observation(f"ACC-{number}-{accession}", subject=who))
    for query, count in (
        ("identifier=urn:lab:a|ACC-MRN-4711-1", 1),
        ("identifier=urn:lab:a|ACC-MRN-4711-1,urn:lab:a|ACC-MRN-4712-0", 2),
        ("identifier=urn:lab:b|ACC-MRN-4711-1", 0),
        ("identifier=urn:lab:a|", 6),
        ("identifier=|ACC-MRN-4711-1", 0),
        ("patient.identifier=urn:mrn|MRN-4711", 3),
        ("patient.identifier=urn:mrn|MRN-4711&patient.identifier=urn:mrn|MRN-4712", None),
        ("patient.identifier=urn:other|MRN-4711", 0),
        ("patient.identifier=MRN-4711", 0),
        ("patient=MRN-4711", 0),
        ("_id=MRN-4711", 0),
    ):
        answer = client.get(f"{HOME}/Observation?{query}&_count=1")
        if count is None:
            assert answer.status_code == 422
            continue
        assert len(walk(client, f"Observation?{query}&_count=1")) == count, query
        said = re.sub(r"T[\d:.]+Z", "", unquote(answer.text)) + cursors(answer.json())  # a time may have any digits
        assert "4711" not in said
        assert answer.json()["total"] == count if "patient" in query or count < 2 else True
        self_link = link(answer.json(), "self")
        assert len(resources(got(client, self_link))) == min(count, 1)
    [person] = resources(got(client, "Patient?identifier=urn:mrn|MRN-4711"))
    assert [each["id"] for each in resources(got(client, f"Patient?identifier={person['id']}"))] == [person["id"]]
    [shown] = resources(got(client, "Observation?identifier=urn:lab:a|ACC-MRN-4711-1"))
    number = shown["identifier"][0]["value"]
    assert resources(got(client, f"Observation?identifier=urn:lab:a|{number}")) == [shown]


def test_a_resource_is_read_by_the_name_that_its_client_gave_it(serve, sqlite_url):
    client = serve(sqlite_url, pseudonym_secret=SECRET)
    make_study(client, identifiers="medical_record")
    patient = {"resourceType": "Patient", "id": "their-7", "identifier": [{"system": "urn:mrn", "value": "1"}]}
    assert client.put(f"{HOME}/Patient/their-7", content=json.dumps(patient), headers=FHIR).status_code == 201
    sent = observation(id="ck-9", subject={"reference": "Patient/their-7"})
    assert client.put(f"{HOME}/Observation/ck-9", content=json.dumps(sent), headers=FHIR).status_code == 201
    read = got(client, "Observation/ck-9")
    assert read["id"] == "ck-9"
    assert [each["id"] for each in resources(got(client, "Observation/ck-9/_history"))] == ["ck-9"]
    [ours] = resources(got(client, "Observation?patient=Patient/their-7"))
    assert ours == read | {"id": ours["id"]}
    assert resources(got(client, "Observation?_id=ck-9")) == [ours]
    assert got(client, f"Observation/{ours['id']}") == ours
    assert got(client, "Patient/their-7")["id"] == "their-7"
    assert "their-7" not in json.dumps(got(client, "Observation?subject=their-7"))


def test_a_service_without_the_secret_is_searched_by_what_needs_none(client):
    make_study(client)
    client.put("/v1/studies/trial/patients/P01", json=timeline("P01"))
    assert got(client, "Observation?patient=P01&code=CK")["total"] == 7
    assert got(client, "Patient/P01")["id"] == "P01"
    assert got(client, "Patient/P09", 404)["issue"][0]["code"] == "not-found"
    assert got(client, "Observation?identifier=urn:lab:a|1", 409)["issue"][0]["code"] == "conflict"
