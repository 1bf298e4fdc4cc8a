"""Every operation of the description is asked on rich data, and each of its answers is the described one. The client
holds them against the description; here it is counted that no success is left out.
"""

import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from app.analyses import QUESTIONS
from app.http.openapi import NDJSON
from app.http.problems import KINDS
from app.main import create_app
from app.pages.charts.rendering import MEDIA_TYPES
from app.readers.table_kinds import KINDS_OF_TABLES
from app.settings import Settings
from tests.api import fhir_bodies
from tests.api.conftest import BASE
from tests.api.demonstration_tables import MAPPING, redcap
from tests.api.examples import lab, timeline
from tests.documented import Documented, description
from tests.hl7v2.hl7v2_messages import MSH, oru
from tests.releases.studies import HL7V2, TABLE, fill

TRIAL = "/v1/studies/trial"
SECRET = "x" * 32


@pytest.fixture(scope="module")
def asked(migrated_file, tmp_path_factory) -> Iterator[Documented]:
    """A client that has asked everything."""
    file = shutil.copy(migrated_file, tmp_path_factory.mktemp("asked") / "x.db")
    settings = Settings(database_url=f"sqlite:///{file}", pseudonym_secret=SECRET, cursor_key=SECRET)
    with Documented(create_app(settings), base_url=BASE) as client:
        fill(client)
        reads(client)
        analyses(client)
        writes(client)
        resources(client)
        yield client


def again(client: Documented, address: str) -> None:
    """Read, and read again what one has."""
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    if "etag" in answer.headers:
        assert client.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        assert client.head(address).status_code == 200


def reads(client: Documented) -> None:
    for address in (
        *("/livez", "/readyz", "/problems", "/v1/protocols", "/v1/protocols/relative-20", "/v1/templates/labs.csv"),
        "/v1/templates/tables.xlsx",
        *("/v1/studies?limit=2", "/v1/audit?limit=500", "/v1/audit?limit=2", "/v1/studies/demo/comparisons/trial"),
        *(f"{TRIAL}/datasets", f"{TRIAL}/datasets/adsl.parquet", f"{TRIAL}/datasets/ard.csv"),
        *(
            f"{TRIAL}/datasets/adeff.xpt",
            f"{TRIAL}/changes/stream?from=0&seconds=1",
            f"{TRIAL}/report",
            f"{TRIAL}/series?measure=CK&limit=2",
            f"{TRIAL}/series?measure=MMT&patient=P01",
        ),
        *(f"{TRIAL}/charts", *(f"{TRIAL}/charts/spells.{suffix}?width=narrow" for suffix in MEDIA_TYPES)),
    ):
        again(client, address)
    for slug in KINDS:
        again(client, f"/problems/{slug}")
    for kind in ("Patient", "Observation", "MedicationAdministration", "MedicationStatement", "MedicationRequest",
                 "AdverseEvent"):  # fmt: skip
        again(client, f"/fhir/trial/{kind}?_count=500")
    for study in ("trial", "ward", "hospital", "resources", "scores"):
        home = f"/v1/studies/{study}"
        for address in (home, f"{home}/protocol", f"{home}/intake", f"/fhir/{study}/metadata"):
            again(client, address)
        again(client, f"/fhir/{study}/MeasureReport/response-rates")
        for address in (f"{home}/revisions?limit=20", f"{home}/set-aside", f"{home}/patients?limit=2"):
            for page in pages(client, address):
                assert "items" in page
        for person in client.get(f"{home}/patients").json()["items"][:4]:
            again(client, f"{home}/patients/{person['patient']['id']}")
            again(client, f"{home}/patients/{person['patient']['id']}/verdicts")
            assert list(pages(client, f"{home}/patients/{person['patient']['id']}/history?limit=100"))


def analyses(client: Documented) -> None:
    protocol = client.get("/v1/protocols/relative-20").json()
    again(client, f"{TRIAL}/analyses?by=sex&patients=true&null=true")
    again(client, f"{TRIAL}/changes?from=0&to=2")
    again(client, f"{TRIAL}/changes?from=1&to=4&limit=2&patients=true")
    for name in ("response-rates", "weekly-change", "ck-change", "ck-normal-time"):
        again(client, f"{TRIAL}/analyses/{name}?null=true")
        again(client, f"{TRIAL}/analyses/{name}?code=R")
    for name in QUESTIONS:
        for study in ("trial", "scores"):
            address = f"/v1/studies/{study}/analyses/{name}"
            again(client, f"{address}?patients=true")
            assert client.post(f"{address}?by=sex&patients=true", json={"protocol": protocol}).status_code == 200
    people = [timeline(f"P{number}", ck=500 + 100 * number) for number in range(4)]
    client.post("/v1/analyses?by=sex&patients=true", json={"protocol": "seed-2008", "timelines": people})
    client.post("/v1/verify", json={"kind": "proportion", "k": 8, "n": 19, "printed_in": "percent", "value": "42.0"})
    for plan in (
        "proportion?rate=0.8&n=15&half_width=0.1",
        "paired-change?sd=0.55&difference=0.4",
        "median-time?events=8",
    ):
        again(client, f"/v1/planning/{plan}")


def writes(client: Documented) -> None:
    client.put(TRIAL, json={"name": "Trial, renamed", "protocol": "seed-2008", "time_zone": "Asia/Tokyo"})
    known = client.get(f"{TRIAL}/patients/P01")
    tag = {"If-Match": known.headers["etag"]}
    client.put(f"{TRIAL}/patients/P01?receipt=full", json=known.json(), headers=tag)
    new = timeline("P50", labs=[lab(1, 90), lab(2, 100, upper_limit=None), lab(3, 5, comparator="<")])
    assert (
        client.post(f"{TRIAL}/patients/P50/events", json=new | {"labs": [lab(1, 5, unit="furlong")]}).status_code == 422
    )
    for patient in ("P50", "P51"):
        document = new | {"patient": new["patient"] | {"id": patient}}
        for options in ("?rehearse=true&receipt=full", "?receipt=full"):
            client.post(f"{TRIAL}/patients/{patient}/events{options}", json=document)
    client.post(f"{TRIAL}/timelines?rehearse=true", json=[new | {"labs": [lab(1, 5, unit="furlong")]}])
    client.post(f"{TRIAL}/timelines?receipt=full", content=b"[]\n1\n{}\n", headers={"Content-Type": NDJSON})
    table = "patient,code,time,value,unit,upper_limit\nP60,CK,2006-09-04,152,U/L,163\nP60,X,2006-09-05,1,U/L,\n"
    for sent in (table, table.replace("152", "?")):
        client.post(f"{TRIAL}/labs?receipt=full&rehearse=true", content=sent, headers=TABLE)
        client.post(f"{TRIAL}/labs?receipt=full", content=sent, headers=TABLE)
    for kind in KINDS_OF_TABLES:
        template = client.get(f"/v1/templates/{kind.replace('_', '-')}.csv").content
        wrong = template.replace(b"P01", b"?")
        for sent in (template, wrong):
            address = f"{TRIAL}/tables/{kind.replace('_', '-')}?receipt=full"
            client.post(f"{address}&rehearse=true", content=sent, headers=TABLE)
            client.post(address, content=sent, headers=TABLE)
    client.put("/v1/studies/redcap", json={"name": "R", "identifiers": "pseudonyms", "tables": [MAPPING]})
    export = redcap()
    for sent in (export, export.replace(b"2005", b"?")):
        client.post("/v1/studies/redcap/tables?mapping=redcap&rehearse=true", content=sent, headers=TABLE)
        client.post("/v1/studies/redcap/tables?mapping=redcap&receipt=full", content=sent, headers=TABLE)
    client.post("/v1/studies/redcap/tables?mapping=redcap", content=b"a\n1\n", headers=TABLE)
    quiet = oru(header=MSH.replace("2.5.1", "2.5.1|||NE|NE"))
    for sent in (oru(), quiet):
        client.post(f"{TRIAL}/hl7v2", content=sent, headers=HL7V2)
    items = [item for page in pages(client, f"{TRIAL}/set-aside?limit=2") for item in page["items"]]
    assert items
    for item in items:
        client.post(f"{TRIAL}/set-aside/{item['item']}/dismissal", json={"reason": "duplicate"})
    for number in range(1, 4):
        twice = {"time": f"2006-09-0{number}", "product": "IVIG", "dose": 30, "unit": "g"}
        for more in ({}, {"id": f"i{number}", "source": "EHR"}):
            client.post(f"{TRIAL}/patients/P50/events", json={"patient": {"id": "P50"}, "infusions": [twice | more]})
    pairs = [item["pair"] for page in pages(client, f"{TRIAL}/set-aside?limit=2") for item in page["items"]]
    assert len(pairs) == 3
    for pair in pairs:
        for decision in ("same", "undecided", "different"):
            client.post(pair["decide"], json={"decision": decision, "reason": "Asked."})
    assert [item for page in pages(client, f"{TRIAL}/decisions?limit=2") for item in page["items"]]
    for page in pages(client, f"{TRIAL}/patients/P50/history?{urlencode({'kind': 'labs'})}"):
        assert page
    client.delete(f"{TRIAL}/patients/P51?erase=true&rehearse=true")


def pages(client: Documented, address: str | None) -> Iterator[dict[str, Any]]:
    while address is not None:
        page = client.get(address).json()
        yield page
        address = page.get("next")


def resources(client: Documented) -> None:
    facade = fhir_bodies.Facade(client, "singles", identifiers="pseudonyms", authorities=[fhir_bodies.HOSPITAL])
    for number, (resource, changed) in enumerate(
        (
            (fhir_bodies.patient(), {"birthDate": "1950"}),
            (fhir_bodies.ck(700, "s-1"), {"status": "corrected"}),
            (fhir_bodies.infusion("s-2"), {"effectiveDateTime": "2005-04-13"}),
            (fhir_bodies.taken("s-4"), {"effectivePeriod": {"start": "2005-01-20", "end": "2005-03-20"}}),
            (fhir_bodies.ordered("s-5"), {"dispenseRequest": {"validityPeriod": {"end": "2005-03-20"}}}),
            (fhir_bodies.headache("s-3"), {"date": "2005-04-16"}),
        )
    ):
        kind = resource["resourceType"]
        for preferred in ("representation", "minimal", "OperationOutcome"):
            facade.post(resource, Prefer=f"return={preferred}")
        named = {name: value for name, value in resource.items() if name != "identifier"} | {"id": f"own-{number}"}
        for version in (named, named | changed):
            facade.put(version)
        facade.send("POST", f"/{kind}/$validate", resource)
        facade.send("POST", f"/{kind}/own-{number}/$validate", named)
        fresh = fhir_bodies.named(f"u-{number}", fhir_bodies.HOSPITAL if kind == "Patient" else fhir_bodies.LAB)
        upserted = resource | {"identifier": fresh[0] if kind == "AdverseEvent" else fresh}
        for _ in "ab":
            facade.send("PUT", f"/{kind}?identifier={fresh[0]['system']}|{fresh[0]['value']}", upserted)
        found = client.post(f"{facade.base}/{kind}/_search", data={"_count": "5"}).json()
        assert found["entry"]
        for entry in found["entry"]:
            place = f"{facade.base}/{kind}/{entry['resource']['id']}"
            again(client, place)
            client.get(f"{place}/_history")
            again(client, f"{place}/_history/{entry['resource']['meta']['versionId']}")
        if kind != "Patient":
            facade.delete(f"{kind}/own-{number}?rehearse=true")
            facade.delete(f"{kind}/own-{number}")
            facade.delete(f"{kind}/{found['entry'][0]['resource']['id']}", Prefer="return=OperationOutcome")
    contained = {name: value for name, value in fhir_bodies.ck(5, "s-8").items() if name != "subject"} | {"id": "o"}
    report = {"resourceType": "DiagnosticReport", "status": "final", "subject": fhir_bodies.about()}
    for _ in "ab":
        facade.post(report | {"contained": [contained]})
    facade.send("POST", "/DiagnosticReport/$validate", report)
    for kind in ("batch", "transaction"):
        facade.post(fhir_bodies.bundle(fhir_bodies.entry(fhir_bodies.ck(1, "s-9")), type=kind))


@pytest.mark.slow
def test_every_success_of_every_operation_was_answered_as_it_is_described(asked):
    documented = {
        (f"{method.upper()} {path}", status)
        for path, item in description()["paths"].items()
        for method, operation in item.items()
        for status in operation["responses"]
        if status < "4"
    }
    assert documented - asked.seen == set()
