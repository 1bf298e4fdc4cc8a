"""Orders by FHIR: stored, read back, searched, corrected, withdrawn; beside statements, tables, JSON and exports."""

import json

import pytest

from tests.api import fhir_bodies
from tests.api.examples import make_study
from tests.api.fhir_bodies import FHIR, bundle, entry, without_tags
from tests.api.fhir_reads import HOME, got, resources
from tests.api.test_fhir_medications import DOSES, medications, sent, taken

WHOM = {"reference": "Patient/P01"}
TIMELINE = "/v1/studies/trial/patients/P01"


def ordered(number="order-1", **more):
    return fhir_bodies.ordered(number, subject=WHOM, **more)


def over(start, end=None):
    """How to take 50 mg a day."""
    repeat = {
        "frequency": 1,
        "period": 1,
        "periodUnit": "d",
        "boundsPeriod": {"start": start} | ({"end": end} if end else {}),
    }
    return [{"timing": {"repeat": repeat}, "doseAndRate": [{"doseQuantity": {"value": 50, "unit": "mg"}}]}]


def tags(stored):
    return {tag["code"] for tag in stored["meta"].get("tag", ())}


@pytest.fixture
def trial(client):
    make_study(client, identifiers="pseudonyms")
    return client


def test_an_order_is_kept_as_one_and_the_receipt_says_so(anywhere):
    make_study(anywhere, identifiers="pseudonyms")
    stored = sent(anywhere, ordered())
    assert "ordered" in tags(stored)
    [line] = anywhere.get(TIMELINE).json()["medications"]
    assert line == {
        "drug": "prednisolone", "start": "2005-01-20", "dose": 50, "unit": "mg/d", "ordered": True,
        "source": line["source"], "id": line["id"], "status": "final",
    }  # fmt: skip
    address = f"MedicationRequest/{stored['id']}"
    shown = got(anywhere, address)
    assert (shown["resourceType"], shown["intent"], shown["status"]) == ("MedicationRequest", "order", "active")
    assert shown == without_tags(stored)
    assert anywhere.get(f"{HOME}/MedicationStatement/{stored['id']}").status_code == 404
    assert resources(got(anywhere, "MedicationRequest?patient=P01&date=2005-01-20")) == [shown]
    assert resources(got(anywhere, "MedicationRequest?_sort=-date")) == [shown]
    assert resources(got(anywhere, "MedicationStatement")) == []
    assert resources(got(anywhere, f"{address}/_history")) == [shown]
    assert anywhere.delete(f"{HOME}/{address}").status_code == 204
    assert medications(anywhere) == []
    assert resources(got(anywhere, "MedicationRequest")) == []


def test_what_is_read_and_sent_back_changes_nothing(trial):
    listed = [
        {"drug": drug, "start": start, "ordered": True}
        | {name: each for name, each in (("end", end), ("dose", dose), ("unit", unit)) if each is not None}
        for drug, start, end, dose, unit in DOSES
    ]
    numbered = {"drug": "AZA", "start": "2006-01-01", "ordered": True, "id": "7", "source": "EHR",
                "issued": "2006-01-01T08:00:00Z"}  # fmt: skip
    future = {"drug": "AZA", "start": "2006-02-01", "end": "2999-01-01", "ordered": True}
    assert trial.put(TIMELINE, json={"patient": {"id": "P01"}, "medications": [*listed, numbered, future]}).is_success
    before = trial.get(TIMELINE).json()
    shown = resources(got(trial, "MedicationRequest?_count=100"))
    assert len(shown) == len(DOSES) + 2
    for each in shown:
        if each["medicationCodeableConcept"]["text"] == "IVIG":  # into a vein: it is no such medication
            continue
        answer = trial.put(f"{HOME}/MedicationRequest/{each['id']}", json=without_tags(each), headers=FHIR)
        assert answer.status_code == 200, (each, answer.text)
        assert without_tags(answer.json()) == each
    assert trial.get(TIMELINE).json() == before


def test_a_statement_and_an_order_with_one_number_are_two_facts(trial):
    sent(trial, taken("n-1"))
    stored = sent(trial, ordered("n-1"))
    both = trial.get(TIMELINE).json()["medications"]
    assert [each.get("ordered", False) for each in both] == [True, False]
    assert {each["id"] for each in both} == {both[0]["id"]}
    query = f"?identifier={fhir_bodies.named('n-1')[0]['system']}|n-1"
    assert [each["id"] for each in resources(got(trial, "MedicationRequest" + query))] == [stored["id"]]
    assert len(resources(got(trial, "MedicationStatement" + query))) == 1


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled"])
def test_an_order_is_withdrawn_under_its_number(trial, status):
    stored, statement = sent(trial, ordered("n-1")), sent(trial, taken("n-1"))
    assert "ordered" not in tags(sent(trial, ordered("n-1", status=status), status=200))  # it counts for nobody
    assert [each.get("ordered") for each in trial.get(TIMELINE).json()["medications"]] == [None]
    assert got(trial, f"MedicationRequest/{stored['id']}")["status"] == status
    assert got(trial, f"MedicationStatement/{statement['id']}")["status"] == "active"


def test_a_later_version_of_an_order_takes_the_place_of_the_earlier_one(trial):
    sent(trial, ordered(id="slip"), name="slip")
    ended = ordered(id="slip", status="completed", dosageInstruction=over("2005-01-20", "2005-03-01"))
    assert sent(trial, ended, name="slip", status=200)["status"] == "completed"
    assert medications(trial) == [("prednisolone", "2005-01-20", "2005-03-01", 50, "mg/d")]
    assert got(trial, "MedicationRequest/slip")["id"] == "slip"
    assert trial.delete(f"{HOME}/MedicationRequest/slip").status_code == 204
    assert medications(trial) == []


def test_an_order_that_has_not_ended_yet_is_shown_as_active(trial):
    planned = sent(trial, ordered("n-1", dosageInstruction=over("2005-01-20", "2999-01-01")))
    past = sent(trial, ordered("n-2", dosageInstruction=over("2005-01-20", "2005-03-01")))
    assert (planned["status"], past["status"]) == ("active", "completed")
    gone = sent(
        trial, ordered("n-1", status="cancelled", dosageInstruction=over("2005-01-20", "2999-01-01")), status=200
    )
    assert gone["status"] == "cancelled"


@pytest.mark.parametrize("kind", [None, "transaction", "batch"])
def test_a_conditional_update_and_create_find_an_order_by_its_number(trial, kind):
    system = fhir_bodies.named("c-1")[0]["system"]

    def put(resource, method="PUT"):
        condition = f"MedicationRequest?identifier={system}|c-1"
        if kind is None:
            send = trial.put if method == "PUT" else trial.post
            return send(f"{HOME}/{condition}", json=resource, headers=FHIR).status_code
        more = {} if method == "PUT" else {"ifNoneExist": f"identifier={system}|c-1"}
        url = condition if method == "PUT" else "MedicationRequest"
        answer = trial.post(HOME, json=bundle(entry(resource, method, url, **more), type=kind), headers=FHIR).json()
        return int(answer["entry"][0]["response"]["status"][:3])

    sent(trial, taken("c-1"))
    assert [put(ordered("c-1", dosageInstruction=over("2005-01-20", end))) for end in (None, None, "2005-02-01")] == [
        201, 200, 200,
    ]  # fmt: skip
    assert put(ordered("c-1", dosageInstruction=over("2005-01-20", "2005-09-01")), "POST") == 200, "it exists"
    assert sorted(each[1:3] for each in medications(trial) if each[2]) == [("2005-01-20", "2005-02-01")]
    assert put(ordered("c-1", dosageInstruction=over("2005-01-21", "2005-02-02"))) == 200
    assert [each[1:3] for each in medications(trial) if each[2]] == [("2005-01-21", "2005-02-02")], "it was moved"
    assert len(medications(trial)) == 2, "the statement stays"


def test_a_bundle_says_of_each_order_what_became_of_it(trial):
    orders = [
        ordered(),
        ordered("o-2", intent="plan"),
        ordered("o-3", doNotPerform=True),
        ordered("o-4", status="draft"),
        ordered("o-5", status="stopped"),
        ordered("o-6", medicationCodeableConcept={"text": "ramipril"}),
        ordered("o-7", authoredOn="2005-04-01", dosageInstruction=[]),
    ]
    answer = trial.post(HOME, json=bundle(*map(entry, orders)), headers=FHIR).json()
    codes = [
        {coding["code"] for issue in each["response"].get("outcome", {}).get("issue", ())
         for coding in issue["details"].get("coding", ())}
        for each in answer["entry"]
    ]  # fmt: skip
    wanted = ("ordered", "order", "order", "status", "missing", "code", "start_from_authored")
    assert [code in found for code, found in zip(wanted, codes, strict=True)] == [True] * 7
    assert [row[1] for row in medications(trial)] == ["2005-01-20", "2005-04-01"]


def test_a_rehearsal_tells_of_an_order_and_stores_nothing(trial):
    answer = trial.post(f"{HOME}/MedicationRequest/$validate", json=ordered(), headers=FHIR)
    assert answer.status_code == 200
    assert "ordered" in json.dumps(answer.json())
    assert trial.get(TIMELINE).status_code == 404


def test_an_order_of_r5_is_written_as_one_of_r4(trial):
    request = ordered(medication={"concept": ordered()["medicationCodeableConcept"]})
    del request["medicationCodeableConcept"]
    stored = sent(trial, request)
    assert stored["medicationCodeableConcept"]["coding"][0]["code"] == "H02AB06"


ROWS = "patient,drug,start,end,dose,unit,ordered\nP01,prednisolone,2005-01-20,,50,mg/d,{}\n"


@pytest.mark.parametrize(("cell", "found"), [("true", True), ("yes", True), ("false", None), ("", None)])
def test_a_table_says_what_was_ordered(trial, cell, found):
    answer = trial.post(
        "/v1/studies/trial/tables/medications", content=ROWS.format(cell), headers={"Content-Type": "text/csv"}
    )
    assert answer.is_success, answer.text
    [line] = trial.get(TIMELINE).json()["medications"]
    assert line.get("ordered") is found
    assert ("ordered" in answer.text) is bool(found)


def test_the_history_of_a_patient_shows_what_was_ordered(trial):
    sent(trial, ordered())
    [version] = [each for each in trial.get(f"{TIMELINE}/history").json()["items"] if each["kind"] == "medication"]
    assert version["fact"]["ordered"] is True
    assert "ordered" in {note["code"] for note in version["notes"]}


def test_false_says_nothing_and_changes_nothing(trial):
    drug = {"drug": "prednisolone", "start": "2005-01-20", "dose": 50, "unit": "mg/d"}
    trial.put(TIMELINE, json={"patient": {"id": "P01"}, "medications": [drug]})
    revision = trial.get("/v1/studies/trial").json()["revision"]
    again = trial.post(
        f"{TIMELINE}/events", json={"patient": {"id": "P01"}, "medications": [drug | {"ordered": False}]}
    )
    assert again.json()["status"] == "unchanged"
    assert trial.get("/v1/studies/trial").json()["revision"] == revision


def test_a_source_that_looks_like_the_mark_of_an_order_is_no_order(anywhere):
    make_study(anywhere, identifiers="pseudonyms")
    drug = {"drug": "prednisolone", "start": "2005-01-20"}
    listed = [
        drug | {"id": "7", "source": "order|EHR"},
        drug | {"id": "8", "source": "|order|EHR"},
        {"drug": "order", "start": "2005-01-20"},
        {"drug": "order|x", "start": "2005-01-21"},
        drug | {"id": "7", "source": "order|EHR", "ordered": True},
    ]
    anywhere.put(TIMELINE, json={"patient": {"id": "P01"}, "medications": listed})
    assert len(resources(got(anywhere, "MedicationStatement?_count=50"))) == 4
    assert len(resources(got(anywhere, "MedicationRequest?_count=50"))) == 1
    shown = anywhere.get(TIMELINE).json()["medications"]
    assert [each.get("ordered") for each in shown].count(True) == 1


def test_a_timeline_with_orders_that_is_sent_to_another_study_gives_the_same(trial):
    make_study(trial, "copy", identifiers="pseudonyms")
    for resource in (ordered(), taken(), ordered("o-2", dosageInstruction=over("2005-03-01", "2999-01-01"))):
        sent(trial, resource)
    document = trial.get(TIMELINE).json()
    assert [each.get("ordered") for each in document["medications"]] == [None, True, True]
    assert trial.put("/v1/studies/copy/patients/P01", json=document).is_success
    assert trial.get("/v1/studies/copy/patients/P01").json() == document
    answers = [trial.get(f"/v1/studies/{study}/analyses/steroid-sparing").json() for study in ("trial", "copy")]
    for name in ("results", "cumulative", "responses", "flags"):
        assert answers[0][name] == answers[1][name]
