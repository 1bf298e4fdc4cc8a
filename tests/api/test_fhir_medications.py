"""Medications by FHIR: stored, read back, searched, corrected and withdrawn; and what a receipt says of the others."""

import json

import pytest

from tests.api import fhir_bodies
from tests.api.examples import make_study
from tests.api.fhir_bodies import FHIR, bundle, entry, without_tags
from tests.api.fhir_reads import HOME, got, resources

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
WHOM = {"reference": "Patient/P01"}
DOSES = [
    ("prednisolone", "2005-01-20", "2005-06-30", 50, "mg/d"),
    ("MTX", "2005-01-20", None, 15, "mg/wk"),
    ("mPSL", "2005-04-01", "2005-04-03", 1, "g/d"),
    ("Dexamethason", "2005-05-01", "2005-05-04", 500, "ug/d"),
    ("prednisone", "2005-07-01", None, 0.5, "mg/kg/d"),
    ("cyclophosphamide", "2005-08-01", "2005-08-01", 750, "mg/m2"),
    ("rituximab", "2005-09-01", "2005-09-01", 1000, "mg"),
    ("tocilizumab", "2005-10-01", "2005-10-01", 8, "mg/kg"),
    ("IVIG", "2005-10-02", "2005-10-02", 30, "g"),
    ("aspirin", "2005-01-20", None, 100, "mg/d"),
    ("CPA", "2005-01-20", None, None, None),
]


def taken(number="med-1", **more):
    return fhir_bodies.taken(number, subject=WHOM, **more)


def infusion(number="inf-1", **more):
    return fhir_bodies.infusion(number, subject=WHOM, **more)


def sent(client, resource, name=None, status=None):
    kind, content = resource["resourceType"], json.dumps(resource)
    answer = (
        client.post(f"{HOME}/{kind}", content=content, headers=FHIR)
        if name is None
        else client.put(f"{HOME}/{kind}/{name}", content=content, headers=FHIR)
    )
    assert answer.status_code == (status or 201), answer.text
    return answer.json()


def medications(client):
    timeline = client.get("/v1/studies/trial/patients/P01").json()
    return [
        (each["drug"], each["start"], each.get("end"), each.get("dose"), each.get("unit"))
        for each in timeline.get("medications", ())
    ]


@pytest.fixture
def trial(client):
    make_study(client, identifiers="pseudonyms")
    return client


def test_a_statement_is_read_searched_corrected_and_withdrawn(anywhere):
    make_study(anywhere, identifiers="pseudonyms")
    stored = sent(anywhere, taken())
    assert medications(anywhere) == [("prednisolone", "2005-01-20", None, 50, "mg/d")]
    address = f"MedicationStatement/{stored['id']}"
    assert got(anywhere, address) == without_tags(stored)
    coded = {each["system"]: each["code"] for each in stored["medicationCodeableConcept"]["coding"]}
    assert coded == {"http://www.whocc.no/atc": "H02AB06", RXNORM: "8638"}
    for query, found in (
        ("", 1), ("?patient=P01", 1), ("?effective=2005-01-20", 1), ("?effective=lt2005-01-20", 0),
        ("?effective=ge2005-01-20T00:00:00Z", 1), ("?identifier=med-1", 1), ("?_id=" + stored["id"], 1),
    ):  # fmt: skip
        assert len(resources(got(anywhere, "MedicationStatement" + query))) == found, query
    assert sent(anywhere, taken(), status=200)["meta"]["versionId"] == stored["meta"]["versionId"]
    ended = taken(status="completed", effectivePeriod={"start": "2005-01-20", "end": "2005-02-20"})
    assert sent(anywhere, ended, status=200)["effectivePeriod"]["end"] == "2005-02-20"
    assert len(resources(got(anywhere, address + "/_history"))) == 2
    assert sent(anywhere, taken(status="not-taken"), status=200)["status"] == "not-taken"
    assert medications(anywhere) == []
    assert resources(got(anywhere, "MedicationStatement")) == []


def test_what_is_read_and_sent_back_changes_nothing(trial):
    native = [dict(zip(("drug", "start", "end", "dose", "unit"), row, strict=True)) for row in DOSES]
    answer = trial.post("/v1/studies/trial/patients/P01/events", json={"patient": {"id": "P01"}, "medications": native})
    assert answer.status_code in {200, 201}
    before = medications(trial)
    assert sorted(before, key=str) == sorted(DOSES, key=str)
    shown = resources(got(trial, "MedicationStatement?_count=100"))
    assert len(shown) == len(DOSES)
    for each in shown:
        if each["medicationCodeableConcept"]["text"] == "IVIG":  # into a vein: an administration, or nothing
            continue
        again = sent(trial, each, name=each["id"], status=200)
        assert again["meta"]["versionId"] == each["meta"]["versionId"], each
    assert medications(trial) == before


def test_a_client_may_name_a_statement_and_delete_it(trial):
    own = taken(id="pills", identifier=[])
    sent(trial, own, name="pills")
    assert got(trial, "MedicationStatement/pills")["id"] == "pills"
    assert trial.delete(f"{HOME}/MedicationStatement/pills").status_code == 204
    assert medications(trial) == []


def test_an_administration_of_another_drug_is_a_statement_of_one_day(trial):
    given = infusion(
        "pulse-1",
        effectiveDateTime="2005-04-01T09:00:00+09:00",
        medicationCodeableConcept={"coding": [{"system": RXNORM, "code": "6902"}]},
        dosage={"dose": {"value": 1000, "unit": "mg"}},
    )
    stored = sent(trial, given)
    assert (stored["resourceType"], stored["effectivePeriod"]) == (
        "MedicationStatement", {"start": "2005-04-01", "end": "2005-04-01"},
    )  # fmt: skip
    assert medications(trial) == [("methylprednisolone", "2005-04-01", "2005-04-01", 1000, "mg/d")]
    assert sent(trial, given, status=200)["id"] == stored["id"]
    sent(trial, given | {"status": "entered-in-error"}, status=200)
    assert medications(trial) == []


@pytest.mark.parametrize("identifiers", ["pseudonyms", "medical_record"])
def test_a_client_id_of_such_an_administration_names_it_under_its_own_type_only(serve, sqlite_url, identifiers):
    client = serve(sqlite_url, pseudonym_secret="a secret of at least thirty-two bytes")
    make_study(client, identifiers=identifiers)
    whom = {"subject": {"identifier": {"system": "urn:mrn", "value": "P01"}}}
    pills = taken("med-1", id="1") | whom
    pulse = {
        **infusion("pulse-1", id="1", effectiveDateTime="2005-04-01T09:00:00+09:00"), **whom,
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "6902"}]},
        "dosage": {"dose": {"value": 1000, "unit": "mg"}},
    }  # fmt: skip
    sent(client, pills, name="1")
    stored = sent(client, pulse, name="1")
    assert (stored["resourceType"], stored["id"] == "1") == ("MedicationStatement", False)
    assert got(client, f"MedicationStatement/{stored['id']}")["medicationCodeableConcept"]["text"] == (
        "methylprednisolone"
    )
    assert got(client, "MedicationStatement/1")["medicationCodeableConcept"]["text"] == "prednisolone"
    assert client.get(f"{HOME}/MedicationAdministration/1").status_code == 404
    assert client.get(f"{HOME}/MedicationAdministration/1/_history").status_code == 404
    assert sent(client, pulse, name="1", status=200)["meta"]["versionId"] == stored["meta"]["versionId"]
    half = pulse | {"dosage": {"dose": {"value": 500, "unit": "mg"}}}
    assert sent(client, half, name="1", status=200)["id"] == stored["id"]
    shown = resources(got(client, "MedicationStatement"))
    assert sorted(each["dosage"][0]["doseAndRate"][0]["doseQuantity"]["value"] for each in shown) == [50, 500]
    assert client.delete(f"{HOME}/MedicationAdministration/1").status_code == 204
    assert [each["id"] != stored["id"] for each in resources(got(client, "MedicationStatement"))] == [True]


def test_a_bundle_says_of_each_medication_what_became_of_it(trial):
    request = {"resourceType": "MedicationRequest", "status": "active", "intent": "plan",
               "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "8640"}]}}  # fmt: skip
    other = taken("med-2", medicationCodeableConcept={"text": "ramipril"})
    drops = taken("med-3", dosage=[{"route": {"text": "eye drops"}}])
    unended = taken("med-4", status="stopped")
    short = taken("med-5", medicationCodeableConcept={"text": "cyclosporine"})
    answer = trial.post(
        HOME, content=json.dumps(bundle(*map(entry, (taken(), request, other, drops, unended, short)))), headers=FHIR
    )
    assert answer.status_code == 200, answer.text
    codes = [
        {
            issue["details"].get("coding", [{}])[0].get("code")
            for issue in each["response"].get("outcome", {}).get("issue", ())
        }
        for each in answer.json()["entry"]
    ]
    assert "order" in codes[1]
    assert "code" in codes[2]
    assert "route" in codes[3]
    assert "missing" in codes[4]
    assert [row[0] for row in medications(trial)] == ["prednisolone", "cyclosporine"]


def test_named_numbers_of_medications_do_not_meet_those_of_infusions(trial):
    sent(trial, infusion("n-1"))
    sent(trial, taken("n-1"))
    document = trial.get("/v1/studies/trial/patients/P01").json()
    assert (len(document["infusions"]), len(document["medications"])) == (1, 1)


@pytest.mark.parametrize("kind", [None, "transaction", "batch"])
def test_an_administration_of_another_drug_may_be_put_again_under_its_id_and_deleted(trial, kind):
    steroid = {"coding": [{"system": "http://www.whocc.no/atc", "code": "H02AB06"}]}

    def put(milligrams):
        written = {"dose": {"value": milligrams, "unit": "mg"}}
        resource = infusion("adm-1", id="adm-1", medicationCodeableConcept=steroid, dosage=written)
        if kind is None:
            return trial.put(f"{HOME}/MedicationAdministration/adm-1", json=resource, headers=FHIR).status_code
        sent_as = bundle(entry(resource, "PUT", "MedicationAdministration/adm-1"), type=kind)
        answer = trial.post(HOME, json=sent_as, headers=FHIR).json()
        return int(answer["entry"][0]["response"]["status"][:3])

    assert [put(each) for each in (50, 50, 60, 60)] == [201, 200, 200, 200]
    assert [each[3] for each in medications(trial)] == [60]
    assert trial.get(f"{HOME}/MedicationAdministration/adm-1").status_code == 404, "it is a MedicationStatement here"
    assert trial.delete(f"{HOME}/MedicationAdministration/adm-1").status_code == 204
    assert medications(trial) == []


@pytest.mark.parametrize("wrong", [[], {}, [1]])
def test_a_code_or_number_of_another_json_type_is_a_fault_or_is_left_out(trial, wrong):
    dose = {"doseAndRate": [{"doseQuantity": {"value": 50, "unit": "mg"}}]}
    timed = dose | {"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": wrong}}}
    for changed in ({"status": wrong}, {"dosage": [timed]}):
        assert trial.post(f"{HOME}/MedicationStatement", json=taken(**changed), headers=FHIR).status_code == 422
    sent(trial, taken(dosage=[dose | {"sequence": wrong}, dose | {"sequence": wrong}]))


@pytest.mark.parametrize("often", [{"frequency": 1e299, "period": 1}, {"frequency": 1e200, "period": 1e-200}])
def test_a_dose_that_no_number_can_hold_is_refused_as_too_great(trial, often):
    dosage = {"timing": {"repeat": often | {"periodUnit": "d"}},
              "doseAndRate": [{"doseQuantity": {"value": 1e200, "unit": "mg"}}]}  # fmt: skip
    answer = trial.post(f"{HOME}/MedicationStatement", json=taken(dosage=[dosage]), headers=FHIR)
    assert (answer.status_code, answer.json()["issue"][0]["details"]["coding"][0]["code"]) == (422, "out_of_range")


def steroid(milligrams, number="adm-1", **more):
    drug = {"coding": [{"system": "http://www.whocc.no/atc", "code": "H02AB06"}]}
    written = {"dose": {"value": milligrams, "unit": "mg"}}
    return infusion(number, medicationCodeableConcept=drug, dosage=written, **more)


def test_a_conditional_update_of_an_administration_of_another_drug_finds_it(trial):
    def put(resource, **headers):
        by = f"identifier={fhir_bodies.LAB}|{resource['identifier'][0]['value']}"
        return trial.put(f"{HOME}/MedicationAdministration?{by}", json=resource, headers=FHIR | headers)

    first = put(steroid(50))
    assert [first.status_code, put(steroid(50)).status_code] == [201, 200]
    read = {"If-Match": first.headers["etag"]}
    assert [put(steroid(60), **read).status_code, put(steroid(70), **read).status_code] == [200, 412]
    assert put(steroid(60, effectiveDateTime="2005-04-12")).status_code == 200
    assert medications(trial) == [("prednisolone", "2005-04-12", "2005-04-12", 60, "mg/d")], "its day has moved"
    assert put(infusion("inf-9")).status_code == 201
    assert put(steroid(5, "inf-9")).status_code == 422, "an infusion does not become another drug"


def test_a_conditional_create_of_an_administration_of_another_drug_changes_nothing_that_exists(trial):
    header = FHIR | {"If-None-Exist": f"identifier={fhir_bodies.LAB}|adm-1"}
    answers = [trial.post(f"{HOME}/MedicationAdministration", json=steroid(dose), headers=header) for dose in (50, 60)]
    assert [each.status_code for each in answers] == [201, 200]
    assert [each[3] for each in medications(trial)] == [50]
