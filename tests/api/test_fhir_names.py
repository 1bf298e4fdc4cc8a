"""Client ids of resources: each leads to the right patient or fact, and never to another one."""

from typing import Any

import pytest

from app.store import resources
from tests.api.examples import events, lab
from tests.api.fhir_bodies import (
    BY_URN,
    FHIR,
    SECRET,
    URN,
    Facade,
    about,
    asks,
    bundle,
    ck,
    entry,
    headache,
    issues,
    ldh,
    patient,
    sodium,
    statuses,
)


@pytest.fixture
def trial(serve, sqlite_url) -> Facade:
    """A study of medical records."""
    return Facade(serve(sqlite_url, pseudonym_secret=SECRET))


@pytest.fixture
def open_trial(client) -> Facade:
    """A study whose feeds have pseudonyms."""
    return Facade(client, identifiers="pseudonyms")


@pytest.fixture
def trial_anywhere(serve, migrated_url) -> Facade:
    return Facade(serve(migrated_url, pseudonym_secret=SECRET))


def of(name: str) -> dict[str, str]:
    return {"reference": f"Patient/{name}"}


def panel(first: float = 61, second: float = 62, **more: Any) -> dict[str, Any]:
    """Two results in one resource."""
    both = [{"code": each["code"], "valueQuantity": each["valueQuantity"]} for each in (ck(first), ldh(second))]
    sent = ck(number="acc-9", component=both, code={"coding": [{"system": "http://loinc.org", "code": "24325-3"}]})
    del sent["valueQuantity"], sent["referenceRange"]
    return sent | more


# Patients


def test_two_patients_whose_numbers_and_identifiers_are_swapped_are_refused(open_trial):
    """`Patient/1` of the sender is subject 2, but `Patient/1` of our answers is subject 1."""
    both = (entry(patient("2", id="1"), "PUT", "Patient/1"), entry(patient("1", id="2"), "PUT", "Patient/2"))
    answer = open_trial.post(bundle(*both, entry(ck(subject=of("1")))))
    places = [f"Bundle.entry[{i}].resource.id" for i in (0, 1)]
    assert (answer.status_code, issues(answer)) == (422, [("error", "conflict", place) for place in places])
    assert open_trial.timelines() == []


@pytest.mark.parametrize("sent", [
    bundle({"resource": patient("8", id="7")}, type="collection"),
    bundle(entry(patient("8", id="7"), "PUT", "Patient/7")),
])  # fmt: skip
def test_an_identifier_that_is_another_patients_subject_is_refused(open_trial, sent):
    open_trial.client.post(f"{open_trial.home}/patients/7/events", json=events("7", lab(0, 77)))
    assert open_trial.post(sent).status_code == 422
    assert open_trial.client.get("/fhir/trial/Patient/7").json()["identifier"][0]["value"] == "7"
    assert open_trial.client.get("/fhir/trial/Observation?patient=7").json()["total"] == 1


def test_a_subject_that_comes_after_a_clients_name_for_another_patient_takes_no_results_from_either(open_trial):
    open_trial.put(patient("P01", id="P02"))
    open_trial.client.post(f"{open_trial.home}/patients/P02/events", json=events("P02", lab(0, 77)))
    unclear = open_trial.post(ck(subject=of("P02")))
    assert issues(unclear) == [("error", "multiple-matches", "Observation.subject.reference")]
    assert open_trial.put(patient("P01", id="P02")).status_code == 422
    [found] = open_trial.client.get("/fhir/trial/Observation?patient=P02").json()["entry"]
    assert (found["resource"]["subject"], found["resource"]["valueQuantity"]["value"]) == (of("P02"), 77)
    assert open_trial.client.get("/fhir/trial/Patient/P02").json()["identifier"][0]["value"] == "P02"
    assert open_trial.post(ck(subject=about("P01"))).status_code == 201


def test_a_record_that_was_merged_says_so(trial):
    for number in ("MRN-1", "MRN-2"):
        trial.post(ck(subject=about(number)))
    one, other = (each["patient"]["id"] for each in trial.timelines())
    link = {"patient": {"id": one, "merged_into": other}}
    assert trial.client.post(f"{trial.home}/patients/{one}/events", json=link).status_code == 200
    read = trial.client.get(f"/fhir/trial/Patient/{one}")
    assert read.json()["link"] == [{"other": of(other), "type": "replaced-by"}]
    assert "link" not in trial.client.get(f"/fhir/trial/Patient/{other}").json()
    again = trial.put(read.json())
    assert (again.status_code, again.headers["etag"]) == (200, read.headers["etag"])


# Two entries with one name


@pytest.mark.parametrize(("one", "other"), [
    (ck(1, "A1", id="x"), ck(2, "A2", id="x")),
    (ck(1, "A1", id="x"), ldh(id="x")),
    (patient("M-1", id="x"), patient("M-2", id="x")),
])  # fmt: skip
def test_one_identifier_for_two_resources_refuses_a_transaction(trial_anywhere, one, other):
    sent = [entry(each, "PUT", f"{each['resourceType']}/x") for each in (one, other)]
    answer = trial_anywhere.post(bundle(*sent))
    assert (answer.status_code, issues(answer)) == (422, [("error", "conflict", "Bundle.entry[1].resource.id")])
    assert trial_anywhere.timelines() == []


def test_a_correction_and_its_original_may_both_be_put(trial):
    original = ck(100, id="x", issued="2005-03-16T12:00:00+09:00")
    corrected = ck(120, id="x", status="corrected", issued="2005-03-17T12:00:00+09:00")
    sent = [entry(each, "PUT", "Observation/x") for each in (corrected, original)]
    assert statuses(trial.post(bundle(*sent))) == ["201", "200"]
    assert trial.labs() == [("CK", 120)]


@pytest.mark.parametrize("order", [1, -1])
def test_to_put_and_delete_a_resource_refuses_a_transaction(trial, order):
    trial.put(ck(id="x"))
    sent = [entry(ck(1200, id="x"), "PUT", "Observation/x"), asks("DELETE", "Observation/x")][::order]
    answer = trial.post(bundle(*sent))
    assert (answer.status_code, [code for _, code, _ in issues(answer)]) == (422, ["conflict"])
    assert trial.labs() == [("CK", 1101)]


# Another resource at the same address


@pytest.mark.parametrize("now", [sodium(id="x"), ck(id="x", focus=[BY_URN])])
def test_an_update_by_what_is_not_kept_does_not_leave_the_old_result_standing_in_silence(trial, now):
    trial.put(ck(id="x"))
    answer = trial.put(now)
    assert (answer.status_code, issues(answer)) == (422, [("error", "value", "Observation")])
    assert "DELETE" in answer.json()["issue"][0]["details"]["text"]
    assert trial.delete("Observation/x").status_code == 204
    assert trial.put(now).status_code == 200
    assert trial.labs() == []


def test_an_event_that_did_not_happen_after_all_is_not_left_standing_in_silence(trial):
    trial.put(headache(id="x"))
    assert trial.put(headache(id="x", actuality="potential")).status_code == 422


def test_a_late_message_that_there_is_no_result_yet_leaves_the_result(trial):
    trial.put(ck(id="x"))
    assert trial.put(ck(id="x", status="registered")).status_code == 200
    assert trial.labs() == [("CK", 1101)]


# Panels


def test_to_delete_a_panel_withdraws_all_of_it(trial_anywhere):
    trial_anywhere.post(ldh(number="acc-9", effectiveDateTime="2005-03-17", subject=about("MRN-2")))
    assert trial_anywhere.put(panel(id="p")).status_code == 201
    assert trial_anywhere.put(panel(63, id="p")).status_code == 200
    assert trial_anywhere.labs() == [("CK", 63), ("LDH", 62), ("LDH", 300)]
    assert trial_anywhere.delete("Observation/p").status_code == 204
    assert trial_anywhere.labs() == [("LDH", 300)]
    revision = trial_anywhere.revision()
    assert trial_anywhere.delete("Observation/p").status_code == 204
    assert trial_anywhere.revision() == revision


def test_a_component_that_a_panel_was_given_later_is_withdrawn_with_it(trial):
    whole = panel(id="p")
    assert trial.put(whole | {"component": whole["component"][:1]}).status_code == 201
    assert trial.put(whole).status_code == 200
    assert trial.put(whole | {"component": whole["component"][::-1]}).status_code == 200
    assert trial.labs() == [("CK", 61), ("LDH", 62)]
    trial.delete("Observation/p")
    assert trial.labs() == []


def test_a_result_that_shares_its_accession_with_a_deleted_one_stands(trial):
    trial.put(ck(id="one"))
    trial.put(ldh(id="other"))
    trial.delete("Observation/one")
    assert trial.labs() == [("LDH", 300)]


# Conditions


def test_a_put_that_may_only_create_does_not_update(trial_anywhere):
    first = trial_anywhere.put(ck(id="x"), If_None_Match="*")
    again = trial_anywhere.put(ck(1200, id="x"), If_None_Match="*")
    assert (first.status_code, again.status_code) == (201, 412)
    assert [trial_anywhere.put(patient(id="p"), If_None_Match="*").status_code for _ in range(2)] == [412, 412]
    assert trial_anywhere.labs() == [("CK", 1101)]


@pytest.mark.parametrize("version", ["9" * 5_000, "1." * 2_000 + "1", "\N{ARABIC-INDIC DIGIT ONE}", "", "-1", "1e9"])
def test_any_text_may_be_the_version_that_an_update_was_read_in(trial, version):
    stored = trial.post(ck()).json()
    assert trial.put(ck(1200, id=stored["id"], meta={"versionId": version})).status_code in {200, 409}


# Searching


@pytest.mark.parametrize("name", ["patient", "subject", "subject:Patient"])
@pytest.mark.parametrize("value", ["pat-1", "Patient/pat-1"])
def test_a_patient_is_searched_for_by_any_of_these(trial, name, value):
    trial.put(patient(id="pat-1"))
    trial.post(ck())
    answer = trial.client.get("/fhir/trial/Observation", params={name: value})
    assert (answer.status_code, answer.json()["total"]) == (200, 1)
    assert "pat-1" not in answer.text


@pytest.mark.parametrize("name", ["patient.identifier", "subject.identifier"])
def test_a_hospitals_number_of_a_patient_stands_in_no_address(trial, name):
    for number in ("acc-1", "acc-2"):
        trial.post(ck(number=number))
    answer = trial.client.get("/fhir/trial/Observation", params={name: "urn:oid:1.2.3.9|MRN-1", "_count": 1})
    assert (answer.status_code, answer.json()["total"]) == (200, 2)
    assert "MRN-1" not in answer.text


@pytest.mark.parametrize("media_type", ["", "; charset=UTF-8", ';charset="utf-8"'])
def test_a_form_may_say_its_encoding_and_the_format_beside_it(trial, media_type):
    trial.post(ck())
    headers = {"Content-Type": "application/x-www-form-urlencoded" + media_type}
    address = "/fhir/trial/Observation/_search?_format=json&_pretty=true"
    answer = trial.client.post(address, content="code=2157-6", headers=headers)
    assert (answer.status_code, answer.json()["total"]) == (200, 1)
    assert trial.client.post(address, content="code=1", headers=FHIR).status_code == 415


def test_with_another_secret_nobody_seems_to_be_unknown(serve, migrated_url):
    """A second process that was started with another secret, before any pseudonym was stored."""
    trial = Facade(serve(migrated_url, pseudonym_secret=SECRET))
    other = serve(migrated_url, pseudonym_secret=SECRET[::-1])
    trial.put(patient(id="pat-1"))
    stored = trial.put(ck(id="x")).json()
    for query in ("Patient?identifier=urn:oid:1.2.3.9|MRN-1", "Observation?patient.identifier=urn:oid:1.2.3.9|MRN-1",
                  "Observation?identifier=urn:oid:1.2.3.4|acc-77"):  # fmt: skip
        assert other.get(f"/fhir/trial/{query}").status_code == 409
    second = Facade(other, "another")
    second.base = trial.base
    assert second.delete("Observation/x").status_code == 409
    assert second.post(ck(), If_None_Exist="identifier=urn:oid:1.2.3.4|acc-77").status_code == 409
    assert other.get(f"/fhir/trial/Observation?patient={stored['subject']['reference']}").json()["total"] == 1
    assert trial.revision() == 2


# Many


@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_many_updates_of_one_patient_look_up_the_patient_once(trial, monkeypatch, kind):
    """Each look-up reads all facts of the patient; one look-up for each update would be quadratic."""
    many = [ck(i, f"acc-{i}") for i in range(60)]
    trial.post(bundle(*map(entry, many)))
    found = trial.client.get("/fhir/trial/Observation?_count=100").json()["entry"]
    read = [each["resource"] for each in found]
    calls, digest_of = [], resources.digest_of
    monkeypatch.setattr(resources, "digest_of", lambda *named: calls.append(named) or digest_of(*named))
    sent = [entry(each, "PUT", f"Observation/{each['id']}") for each in read]
    assert statuses(trial.post(bundle(*sent, type=kind))) == ["200"] * 60
    assert len(calls) == 60
    names = ",".join(each["id"] for each in read[:50])
    assert trial.client.get(f"/fhir/trial/Observation?_id={names}").json()["total"] == 50
    assert len(calls) < 4 * 60


def test_a_reference_inside_of_a_bundle_goes_before_a_name_that_the_study_knows(trial):
    trial.put(patient("MRN-1", id="pat-1"))
    sent = bundle({"fullUrl": URN, **entry(patient("MRN-2", id="pat-9"))}, entry(ck(subject=BY_URN)))
    assert statuses(trial.post(sent)) == ["201", "201"]
    assert trial.client.get("/fhir/trial/Observation?patient=pat-1").json()["total"] == 0


def test_a_name_of_an_erased_patient_does_not_make_the_person_anew(trial_anywhere):
    trial = trial_anywhere
    assert trial.put(patient(id="ehr-1")).status_code == 201
    assert trial.post(ck(subject=of("ehr-1"))).status_code == 201
    [subject] = [timeline["patient"]["id"] for timeline in trial.timelines()]
    assert trial.client.delete(f"{trial.home}/patients/{subject}?erase=true").status_code == 204
    assert trial.client.get("/fhir/trial/Patient/ehr-1").status_code == 410
    assert trial.post(ck(subject=of("ehr-1"))).status_code == 410
    assert trial.put({"resourceType": "Patient", "id": "ehr-1", "gender": "female"}).status_code == 410
    assert trial.timelines() == []
    again = trial.client.put(f"{trial.home}/patients/{subject}?readmit=true", json={"patient": {"id": subject}})
    assert again.status_code == 201, again.text
    assert trial.put(patient(id="ehr-1")).status_code == 200
    assert trial.post(ck(subject=of("ehr-1"))).status_code == 201


def test_a_name_that_leads_to_somebody_else_than_the_identifier_beside_it_is_refused(trial):
    trial.put(patient(id="ehr-1"))
    trial.put(patient("MRN-2", id="ehr-2"))
    in_one_message = bundle(
        {"fullUrl": URN, **entry(patient("MRN-3"))}, entry(ck(number="acc-9", subject={**BY_URN, **about("MRN-1")}))
    )
    assert trial.post(in_one_message).status_code == 422
    assert trial.post(ck(subject={**BY_URN, **about("MRN-1")})).status_code == 201  # what leads nowhere says nothing
