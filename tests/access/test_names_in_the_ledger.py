"""The ledger names the caller of each revision, whatever the door."""

import json

from typer.testing import CliRunner

from app.__main__ import cli
from tests.api.examples import JSON, NDJSON, lab, make_study, timeline
from tests.api.fhir_bodies import FHIR, LAB, about, ck, named, patient
from tests.hl7v2.hl7v2_messages import oru

SECRET = "an invented secret of 40 characters ...."
CSV = "patient,time,code,value,unit,upper_limit,lab\nP4,2005-03-16T09:48:00+09:00,CK,1101,U/L,163,A\n"


def writes(client):
    """A write through each door; each makes at least one revision."""
    home = make_study(client, identifiers="pseudonyms", authorities=["urn:oid:1.2.3.9", "WARD7"])
    protocol = client.get(f"{home}/protocol").json() | {"id": "another"}
    base = "/fhir/trial"
    yield client.put(f"{home}/protocol", json=protocol)
    yield client.put(f"{home}/patients/P1", json=timeline("P1"))
    yield client.post(f"{home}/patients/P1/events", json={"patient": {"id": "P1"}, "labs": [lab(100, 110)]})
    yield client.post(f"{home}/timelines", json=[timeline("P2")])
    yield client.post(f"{home}/timelines?atomic=true", json=[timeline("P20")])
    yield client.post(f"{home}/timelines", content=json.dumps(timeline("P3")), headers=NDJSON)
    yield client.post(f"{home}/labs", content=CSV, headers={"Content-Type": "text/csv"})
    yield client.post(f"{home}/hl7v2", content=oru(), headers={"Content-Type": "application/hl7-v2"})
    entry = {"resource": ck(1102, "1"), "request": {"method": "POST", "url": "Observation"}}
    for kind in ("transaction", "batch"):
        entry["resource"] = ck(1102, kind)
        bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
        yield client.post(base, json=bundle, headers=FHIR)
    yield client.post(f"{base}/Patient", json=patient("MRN-7"), headers=FHIR)
    made = client.post(f"{base}/Observation", json=ck(1103, "2"), headers=FHIR)
    yield made
    yield client.put(f"{base}/Observation/mine", json=ck(1104, "3", id="mine"), headers=FHIR)
    yield client.delete(f"{base}/Observation/{made.json()['id']}")
    odd = ck(1105, "4", valueQuantity={"value": 1, "unit": "parsec"})
    client.post(base, json={"resourceType": "Bundle", "type": "batch", "entry": [{**entry, "resource": odd}]})
    table = CSV.replace("U/L", "parsec")
    yield client.post(f"{home}/labs", content=table + CSV.splitlines()[1], headers={"Content-Type": "text/csv"})
    [item, *_] = client.get(f"{home}/set-aside").json()["items"]
    yield client.post(f"{home}/set-aside/{item['item']}/dismissal", json={"reason": "duplicate"}, headers=JSON)
    for more in ({}, {"id": "i1", "source": "EHR"}):
        infusion = {"time": "2005-04-11", "product": "IVIG"} | more
        yield client.post(
            f"{home}/patients/P1/events", json={"patient": {"id": "P1"}, "infusions": [infusion]}, headers=JSON
        )
    [pair] = [each["pair"] for each in client.get(f"{home}/set-aside").json()["items"] if "pair" in each]
    yield client.post(pair["decide"], json={"decision": "same", "reason": "One."}, headers=JSON)
    yield client.delete(f"{home}/patients/P1?erase=true")


def test_every_door_names_its_caller(start, url):
    service = start(url, pseudonym_secret=SECRET)
    client = service.client()
    name = f"key:{client.headers['authorization'].split('_')[1]}"
    for number, answer in enumerate(writes(client)):
        assert answer.status_code in {200, 201, 204}, (number, answer.text)
    revisions = client.get("/v1/studies/trial/revisions?limit=500").json()["items"]
    formats = {each["format"] for each in revisions}
    assert {"study", "protocol", "native-json", "native-ndjson", "csv", "hl7v2", "fhir-r4", "dismissal"} <= formats
    assert {"decision", "erasure"} <= formats
    assert {each["client"] for each in revisions} == {name}


def test_an_import_is_named_as_the_command(url, tmp_path, start):
    make_study(start(url).client())
    files = {"a.json": json.dumps([timeline("P1")]), "b.ndjson": json.dumps(timeline("P2")), "c.csv": CSV}
    files["d.hl7"] = oru().decode()
    files["e.json"] = json.dumps(ck(1101, "7", identifier=named("7", LAB), subject=about()))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    environment = {"MYORESPONSE_DATABASE_URL": url, "MYORESPONSE_PSEUDONYM_SECRET": SECRET}
    paths = [str(tmp_path / name) for name in files]
    done = CliRunner().invoke(cli, ["import", *paths, "--study", "trial"], env=environment)
    assert "rejected" not in done.output or done.exit_code == 0, done.output
    read = start(url, pseudonym_secret=SECRET).client()
    revisions = read.get("/v1/studies/trial/revisions").json()["items"][1:]
    assert len({each["format"] for each in revisions}) == 5
    assert {each["client"] for each in revisions} == {"command"}


def test_a_local_program_has_no_name(start, url):
    local = start(url, require_keys=False).stranger
    make_study(local)
    assert [each["client"] for each in local.get("/v1/studies/trial/revisions").json()["items"]] == [None]
