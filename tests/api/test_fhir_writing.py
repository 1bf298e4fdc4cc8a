"""Single resources by FHIR: created once, updated under any identifier, withdrawn."""

import threading
from typing import Any

import pytest

from tests.api.fhir_bodies import (
    HOSPITAL,
    SECRET,
    UCUM,
    Facade,
    about,
    ck,
    headache,
    infusion,
    issues,
    ldh,
    named,
    patient,
    sodium,
    without_tags,
)


@pytest.fixture
def trial(serve, sqlite_url) -> Facade:
    """A study whose identifiers are numbers of medical records."""
    return Facade(serve(sqlite_url, pseudonym_secret=SECRET))


@pytest.fixture
def open_trial(client) -> Facade:
    """A study whose identifiers are pseudonyms already."""
    return Facade(client, identifiers="pseudonyms")


@pytest.fixture
def trial_anywhere(serve, migrated_url) -> Facade:
    """A study whose identifiers are numbers of medical records, on each engine."""
    return Facade(serve(migrated_url, pseudonym_secret=SECRET))


# Creating


def test_a_result_is_stored_and_answered_with_its_place_and_version(trial_anywhere):
    answer = trial_anywhere.post(ck())
    assert answer.status_code == 201
    stored = answer.json()
    assert answer.headers["location"] == f"/fhir/trial/Observation/{stored['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"].endswith(" GMT")
    assert stored["meta"]["versionId"] == "1"
    assert stored["valueQuantity"]["value"] == 1101
    assert trial_anywhere.labs() == [("CK", 1101)]


def test_the_same_result_again_is_the_same_resource_and_no_revision(trial):
    first = trial.post(ck())
    again = trial.post(ck())
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["location"] == first.headers["location"]
    assert trial.revision() == 1


def test_a_corrected_result_supersedes_in_whatever_order_it_comes(trial):
    original = ck(100, issued="2005-03-16T12:00:00+09:00")
    corrected = ck(120, status="corrected", issued="2005-03-17T12:00:00+09:00")
    first = trial.post(original)
    second = trial.post(corrected)
    assert (second.status_code, second.headers["etag"]) == (200, 'W/"2"')
    assert second.json()["id"] == first.json()["id"]
    assert trial.labs() == [("CK", 120)]
    late = trial.post(original)
    assert (late.status_code, late.json()["valueQuantity"]["value"]) == (200, 120)
    trial.post(ck(number="acc-78", value=220, status="corrected", issued="2005-03-17T12:00:00+09:00"))
    trial.post(ck(number="acc-78", value=200, issued="2005-03-16T12:00:00+09:00"))
    assert trial.labs() == [("CK", 120), ("CK", 220)]


def test_a_patient_is_stored_without_name_and_day_of_birth(trial):
    answer = trial.post(patient(name=[{"family": "Planted"}]))
    assert answer.status_code == 201
    assert answer.json()["birthDate"] == "1953"
    assert "name" not in answer.json()
    again = trial.post(patient())
    assert (again.status_code, again.json()) == (200, without_tags(answer.json()))


def test_a_patient_of_whom_nothing_is_kept_is_a_patient(trial):
    assert trial.post({"resourceType": "Patient", "identifier": named("MRN-1", HOSPITAL)}).status_code == 201
    assert len(trial.timelines()) == 1


def test_what_is_not_kept_is_no_error_and_makes_no_revision(trial):
    answer = trial.post(sodium())
    assert answer.status_code == 200
    assert issues(answer) == [("warning", "not-supported", "Observation")]
    assert answer.json()["issue"][0]["details"]["coding"][0]["code"] == "code"
    assert "location" not in answer.headers
    assert trial.revision() == 0


def test_a_reference_leads_to_a_patient_of_the_study_or_is_refused(trial):
    unknown = trial.post(ck(subject={"reference": "Patient/nobody"}))
    assert unknown.status_code == 422
    assert issues(unknown) == [("error", "not-found", "Observation.subject.reference")]
    known = trial.post(patient()).json()["id"]
    assert trial.post(ck(subject={"reference": f"Patient/{known}"})).status_code == 201
    assert len(trial.timelines()) == 1


def test_where_identifiers_are_pseudonyms_a_reference_names_a_patient_whom_it_may_create(open_trial):
    answer = open_trial.post(ck(subject={"reference": "Patient/P07"}))
    assert answer.status_code == 201
    assert answer.json()["subject"] == {"reference": "Patient/P07"}
    assert open_trial.post(ck(subject={"reference": "Patient/P_07"})).status_code == 422


def test_without_the_secret_nothing_is_stored_from_medical_records(client):
    answer = Facade(client).post(ck())
    assert answer.status_code == 409
    assert issues(answer) == [("error", "conflict", "")]


# Conditional creation


def test_a_conditional_create_finds_what_is_stored(trial):
    first = trial.post(ck(), If_None_Exist="identifier=urn:oid:1.2.3.4|acc-77")
    again = trial.post(ck(999), If_None_Exist="identifier=urn%3Aoid%3A1.2.3.4%7Cacc-77")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["location"] == first.headers["location"]
    assert again.json()["valueQuantity"]["value"] == 1101
    assert trial.revision() == 1


def test_another_analyte_of_the_same_accession_is_not_lost_to_a_conditional_create(trial):
    condition = {"If_None_Exist": "identifier=urn:oid:1.2.3.4|acc-77"}
    assert [trial.post(each, **condition).status_code for each in (ck(), ldh(), ck())] == [201, 201, 200]
    assert trial.labs() == [("CK", 1101), ("LDH", 300)]


def test_another_patients_result_is_not_lost_to_a_conditional_create(trial):
    """Two laboratories give one number to two patients; an answer with the wrong result would lose one."""
    condition = {"If_None_Exist": "identifier=urn:oid:1.2.3.4|acc-77"}
    sent = (ck(100), ck(200, subject=about("MRN-2")), ck(200, subject=about("MRN-2")))
    assert [trial.post(each, **condition).status_code for each in sent] == [201, 201, 200]
    assert trial.labs() == [("CK", 100), ("CK", 200)]


def test_a_conditional_create_that_finds_several_is_refused(open_trial):
    for lab in ("lab-a", "lab-b"):
        open_trial.post(ck(identifier=named("77", lab)))
    answer = open_trial.post(ck(identifier=named("77", "lab-c")), If_None_Exist="identifier=77")
    assert answer.status_code == 412
    assert open_trial.facts() == 2


@pytest.mark.parametrize(
    "before", ["?", "Observation?", "/Observation?", "http://127.0.0.1:8000/fhir/trial/Observation?"]
)
def test_a_condition_may_be_written_with_the_address_of_its_search(trial, before):
    """The HAPI client writes the full address into If-None-Exist."""
    condition = {"If_None_Exist": before + "identifier=urn%3Aoid%3A1.2.3.4%7Cacc-77"}
    assert [trial.post(ck(), **condition).status_code for _ in range(2)] == [201, 200]
    of_another = {"If_None_Exist": "Patient?identifier=urn:oid:1.2.3.4|acc-77"}
    assert trial.post(ck(), **of_another).status_code == 422


def test_a_conditional_create_of_a_patient_an_infusion_or_an_event_finds_it(trial):
    for resource, system, number in (
        (patient(), HOSPITAL, "MRN-1"),
        (infusion(), "urn:oid:1.2.3.4", "inf-1"),
        (headache(), "urn:oid:1.2.3.4", "ae-1"),
    ):
        condition = {"If_None_Exist": f"identifier={system}|{number}"}
        assert [trial.post(resource, **condition).status_code for _ in range(2)] == [201, 200]


@pytest.mark.parametrize("condition", ["code=1", "identifier=", "identifier=a|b&code=1", ""])
def test_a_condition_that_is_no_identifier_is_refused(trial, condition):
    answer = trial.post(ck(), If_None_Exist=condition)
    assert issues(answer) == [("error", "not-supported", "http.If-None-Exist")]
    assert trial.revision() == 0


def test_of_sixteen_clients_at_once_one_creates(trial_anywhere):
    answers: list[Any] = []
    gate = threading.Barrier(16)

    def send(value: int) -> None:
        gate.wait()
        answers.append(trial_anywhere.post(ck(value), If_None_Exist="identifier=urn:oid:1.2.3.4|acc-77"))

    threads = [threading.Thread(target=send, args=(1000 + i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert trial_anywhere.revision() == 1


# Updating


def test_a_client_may_choose_the_identifier_and_refer_to_it(trial_anywhere):
    made = trial_anywhere.put(patient(id="pat-1"))
    assert (made.status_code, made.json()["id"]) == (201, "pat-1")
    assert "pat-1" not in made.headers["location"]
    assert trial_anywhere.put(patient(id="pat-1")).status_code == 200
    result = trial_anywhere.put(ck(id="obs-1", number=None, subject={"reference": "Patient/pat-1"}))
    assert result.status_code == 201
    changed = ck(900, id="obs-1", number=None, subject={"reference": "Patient/pat-1"})
    assert trial_anywhere.put(changed).headers["location"].split("/")[:5] == (result.headers["location"].split("/")[:5])
    assert trial_anywhere.labs() == [("CK", 900)]
    assert len(trial_anywhere.timelines()) == 1


def test_an_update_by_our_identifier_takes_over_what_the_body_leaves_out(trial):
    stored = trial.post(ck()).json()
    changed = ck(1200, number=None, id=stored["id"])
    answer = trial.put(changed)
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert trial.labs() == [("CK", 1200)]


def test_an_update_cannot_make_a_resource_another_one(trial):
    stored = trial.post(ck()).json()
    trial.post(patient("MRN-2"))
    for other in (
        ck(number="acc-99", id=stored["id"]),
        ldh(id=stored["id"]),
        ck(id=stored["id"], subject=about("MRN-2")),
    ):
        answer = trial.put(other)
        assert (answer.status_code, issues(answer)) == (422, [("error", "value", "Observation")])
    person = trial.post(patient()).json()["id"]
    assert issues(trial.put(patient("MRN-2", id=person))) == [("error", "value", "Patient.identifier")]
    assert trial.labs() == [("CK", 1101)]


def test_the_identifier_in_the_body_is_the_one_in_the_address(trial):
    for body, code in ((ck(id="b"), "value"), (ck(), "required")):
        answer = trial.send("PUT", "/Observation/a", body)
        assert (answer.status_code, issues(answer)) == (400, [("error", code, "Observation.id")])
    wrong_type = trial.send("PUT", "/Observation/a", patient(id="a"))
    assert (wrong_type.status_code, issues(wrong_type)) == (422, [("error", "code-invalid", "resourceType")])


def test_an_update_of_an_older_version_is_refused(trial):
    first = trial.post(ck())
    body = first.json()
    newer = body | {"valueQuantity": body["valueQuantity"] | {"value": 1200}}
    assert trial.put(newer, If_Match=first.headers["etag"]).status_code == 200
    newest = body | {"valueQuantity": body["valueQuantity"] | {"value": 1300}}
    stale = trial.put(newest, If_Match=first.headers["etag"])
    assert (stale.status_code, issues(stale)) == (412, [("error", "conflict", "")])
    by_version = trial.put(newest)
    assert (by_version.status_code, issues(by_version)) == (409, [("error", "conflict", "")])
    assert trial.labs() == [("CK", 1200)]
    assert trial.put(newest | {"meta": {"versionId": "2"}}).status_code == 200
    assert trial.put(ck(id="never-seen"), If_Match='W/"1"').status_code == 412


def test_a_retry_of_an_update_is_not_refused_for_the_version_that_it_was_read_in(trial):
    body = trial.post(ck()).json()
    changed = body | {"valueQuantity": body["valueQuantity"] | {"value": 1200}}
    assert [trial.put(changed).status_code for _ in range(2)] == [200, 200]
    assert trial.revision() == 2


def test_versions_of_another_server_do_not_hinder_its_feed(trial):
    """A server that exports by PUT counts its own writes in `meta.versionId`."""
    for version, value in ((1, 100), (2, 120), (3, 130)):
        trial.post(ck(number=f"other-{version}"))
        sent = trial.put(ck(value, id="theirs", number="acc-1", meta={"versionId": str(version)}))
        assert sent.json()["valueQuantity"]["value"] == value


@pytest.mark.parametrize("declared", [{"identifiers": "pseudonyms"}, {}])
def test_what_was_answered_can_be_sent_back_and_changes_nothing(serve, sqlite_url, declared):
    facade = Facade(serve(sqlite_url, pseudonym_secret=SECRET), **declared)
    issued = {"issued": "2005-03-16T12:00:00+09:00"}
    sent = (patient(), ck(**issued), ldh(number=None), infusion(), headache())
    stored = [facade.post(each).json() for each in sent]
    facade.put(ck(55, id="chosen", number=None))
    before = facade.revision()
    for each in stored:
        answer = facade.put(each)
        assert (answer.status_code, answer.json()) == (200, without_tags(each))
    assert facade.revision() == before


def test_an_update_leaves_what_fhir_has_no_place_for_as_it_stands(open_trial):
    infused = {"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg", "course": 2, "id": "i1"}
    timeline = {"patient": {"id": "P1"}, "infusions": [infused | {"version": 3}]}
    open_trial.client.post(f"{open_trial.home}/patients/P1/events", json=timeline)
    found = open_trial.post(infusion("i1", subject={"reference": "Patient/P1"}), If_None_Exist="identifier=i1")
    assert (found.status_code, open_trial.revision()) == (200, 1)
    resource = found.json()
    assert open_trial.put(resource).status_code == 200
    assert open_trial.revision() == 1
    dosage = {"dose": {"value": 0.8, "unit": "g/kg", "system": UCUM, "code": "g/kg"}}
    assert open_trial.put(resource | {"dosage": dosage}).status_code == 200
    [stands] = open_trial.timelines()[0]["infusions"]
    assert (stands["dose"], stands["course"], stands["version"]) == (0.8, 2, 3)


# Withdrawing


def test_entered_in_error_by_put_withdraws(trial):
    stored = trial.post(ck(issued="2005-03-16T12:00:00+09:00")).json()
    assert trial.put(ck(id=stored["id"], status="entered-in-error")).status_code == 200
    assert trial.labs() == []
    late = trial.post(ck(issued="2005-03-16T12:00:00+09:00"))
    assert (late.status_code, late.json()["status"]) == (200, "entered-in-error")
    assert trial.labs() == []


@pytest.mark.parametrize("resource", [ck(issued="2005-03-16T12:00:00+09:00"), infusion(), headache()])
def test_delete_withdraws_and_to_repeat_it_changes_nothing(trial_anywhere, resource):
    stored = trial_anywhere.post(resource).json()
    place = f"{stored['resourceType']}/{stored['id']}"
    assert trial_anywhere.delete(place, If_Match='W/"0"').status_code == 412
    assert [trial_anywhere.delete(place).status_code for _ in range(2)] == [204, 204]
    assert trial_anywhere.revision() == 2
    assert trial_anywhere.facts() == 0
    assert trial_anywhere.post(resource).status_code == 201, "what was deleted is created again"
    assert trial_anywhere.facts() == 1


def test_delete_by_the_identifier_that_the_client_chose(trial):
    trial.put(headache(id="my-event"))
    assert trial.delete("AdverseEvent/my-event").status_code == 204
    unknown = trial.delete("AdverseEvent/another")
    assert (unknown.status_code, issues(unknown)) == (404, [("error", "not-found", "")])


def test_a_patient_is_not_deleted_in_passing(trial):
    stored = trial.post(patient()).json()
    answer = trial.delete(f"Patient/{stored['id']}")
    assert answer.status_code == 405
    assert issues(answer) == [("error", "not-supported", "")]
    assert "?erase=true" in answer.json()["issue"][0]["details"]["text"]
    assert "DELETE" not in answer.headers["allow"]
    assert "PUT" in answer.headers["allow"]


def test_an_erased_person_is_gone_for_fhir_too(trial):
    trial.put(patient(id="pat-1"))
    stored = trial.post(ck()).json()
    [who] = [each["patient"]["id"] for each in trial.timelines()]
    assert trial.client.delete(f"{trial.home}/patients/{who}?erase=true").status_code == 204
    for answer in (
        trial.post(ck()),
        trial.post(patient()),
        trial.post(ck(subject={"reference": f"Patient/{who}"})),
        trial.delete(f"Observation/{stored['id']}"),
    ):
        assert (answer.status_code, issues(answer)) == (410, [("error", "deleted", "")])
    gone = trial.post(ck(subject={"reference": "Patient/pat-1"}))
    assert gone.status_code == 410, "a name that a client had given the person makes nobody anew"
