"""The studies of a release's database, made by requests alone, so that every later release can make them again."""

import json
from datetime import timedelta
from typing import Any

from app import demo
from tests.api import fhir_bodies
from tests.api.examples import FIRST, JSON, NDJSON, lab, timeline
from tests.feeds import cohorts, writers
from tests.feeds.writers import HOSPITAL, ZONE

FHIR = {"Content-Type": "application/fhir+json"}
HL7V2 = {"Content-Type": "application/hl7-v2"}
TABLE = {"Content-Type": "text/csv"}
AUTHORITIES = [f"urn:oid:{HOSPITAL}", "WARD7"]
_CORE_SET = ("PHYSICIAN_GLOBAL", "PATIENT_GLOBAL", "HAQ", "EXTRAMUSCULAR", "MMT8")


def fill(client: Any) -> None:
    """Make every study; each request must be accepted."""
    demonstration(client)
    trial(client)
    feeds(client, "ward", identifiers="pseudonyms")
    feeds(client, "hospital", identifiers="medical_record")
    fhir_resources(client)
    core_sets(client)
    sent(client.put("/v1/studies/empty", json={"name": "Nobody yet", "protocol": "seed-2008"}))


def sent(answer: Any) -> Any:
    """The answer to a request that was accepted."""
    assert answer.status_code in {200, 201, 204}, answer.text
    return answer


def demonstration(client: Any) -> None:
    """The cohort with the figures of the published report."""
    sent(client.put("/v1/studies/demo", json={"name": demo.NAME, "protocol": "seed-2008", "test": True}))
    sent(client.post("/v1/studies/demo/timelines", content=demo.TIMELINES.read_bytes(), headers=JSON))


def trial(client: Any) -> None:
    """Patients in native JSON with corrections, withdrawals, a replacement, an erasure and a change of protocol."""
    home = "/v1/studies/trial"
    sent(client.put(home, json={"name": "Trial", "protocol": "seed-2008", "time_zone": "Asia/Tokyo"}))
    people = [timeline(f"P{i:02}", ck=800 + 150 * i, sex="female" if i % 2 else "male", **_safety(i)) for i in range(8)]
    lines = "".join(json.dumps(each) + "\n" for each in people)
    sent(client.post(f"{home}/timelines", content=lines, headers=NDJSON))
    numbered = {"id": "acc-1", "source": "LAB-A"}
    for more in (
        {"value": 901, "version": 1},
        {"value": 905, "version": 3, "status": "corrected"},
        {"value": 903, "version": 2, "status": "amended"},
        {"status": "entered-in-error", "version": 4},
    ):
        add(client, home, "P00", lab(100, more.pop("value", 0), **numbered, **more))
    add(client, home, "P01", lab(110, 2.5, unit="ukat/L", upper_limit=2.7, lower_limit=0.5))
    add(client, home, "P01", lab(120, 20, comparator="<", upper_limit=None), lab(121, 5000, comparator=">"))
    add(client, home, "P02", lab(60, 240, time=str(FIRST + timedelta(60)), status="preliminary"))
    series = {
        "code": "LDH",
        "unit": "U/L",
        "upper_limit": 225,
        "times": ["2005-04-11", "2005-05-11"],
        "values": [400, 210],
    }
    sent(client.post(f"{home}/patients/P03/events", json={"patient": {"id": "P03"}, "lab_series": [series]}))
    known = client.get(f"{home}/patients/P04")
    document = known.json()
    document["labs"] = document["labs"][:-2]
    sent(client.put(f"{home}/patients/P04", json=document, headers={"If-Match": known.headers["etag"]}))
    sent(client.put(f"{home}/patients/P99", json=timeline("P99", ck=77)))
    sent(client.delete(f"{home}/patients/P99?erase=true"))
    protocol = client.get(f"{home}/protocol")
    other = client.get("/v1/protocols/relative-20").json()
    sent(client.put(f"{home}/protocol", json=other, headers={"If-Match": protocol.headers["etag"]}))
    add(client, home, "P06", lab(200, 170.5))


def _safety(number: int) -> dict[str, Any]:
    """Adverse events, medication and an end of follow-up for some patients."""
    told: dict[str, Any] = {
        "medications": [{"drug": "prednisolone", "start": "2005-01-20", "dose": 50, "unit": "mg/d"}]
    }
    if number % 3 == 0:
        told["adverse_events"] = [
            {"id": "ae-1", "onset": "2005-04-12", "term": "headache", "severity": "mild", "related": "possible"},
            {"onset": "2005-05-20T10:00:00+09:00", "term": "rash", "serious": number == 6, "related": "unlikely"},
        ]
    if number % 4 == 1:
        told["medications"] += [
            {"drug": "methotrexate", "start": "2005-07-01", "end": None, "dose": 7.5, "unit": "mg/wk"}
        ]
        told["ended"] = {"date": "2005-12-01", "reason": "lost"}
    return told


def add(client: Any, home: str, patient: str, *labs: dict[str, Any]) -> None:
    """Add results to a patient's timeline."""
    labs = tuple({name: value for name, value in each.items() if value is not None} for each in labs)
    sent(client.post(f"{home}/patients/{patient}/events", json={"patient": {"id": patient}, "labs": list(labs)}))


def feeds(client: Any, study: str, *, identifiers: str) -> None:
    """The same hospital in four formats, with every kind of correction, and two numbers that are one person."""
    declared = {"name": "Ward", "protocol": "seed-2008", "time_zone": ZONE, "identifiers": identifiers}
    sent(client.put(f"/v1/studies/{study}", json=declared | {"authorities": AUTHORITIES}))
    for number in range(6):
        person = cohorts.person(number)
        for delivery in person.deliveries():
            if number < 2:
                sent(client.post(f"/fhir/{study}", content=writers.fhir(delivery), headers=FHIR))
            elif number < 4:
                message = writers.hl7v2(delivery, offsets=False)
                sent(client.post(f"/v1/studies/{study}/hl7v2", content=message, headers=HL7V2))
            else:
                table = writers.table([delivery], offsets=False)
                sent(client.post(f"/v1/studies/{study}/labs", params=writers.DIALECT, content=table, headers=TABLE))
    kept, merged = (f"{cohorts.person(number).number}^^^WARD7" for number in (2, 3))
    merge = (
        "MSH|^~\\&|ADT|WARD7|MYO|MYO|20260101120000||ADT^A40^ADT_A39|merge-1|P|2.5.1\r"
        f"EVN|A40|20260101120000\rPID|1||{kept}\rMRG|{merged}\r"
    )
    sent(client.post(f"/v1/studies/{study}/hl7v2", content=merge, headers=HL7V2))


def fhir_resources(client: Any) -> None:
    """Resources under their clients' names, updated, created once, withdrawn."""
    facade = fhir_bodies.Facade(client, "resources", identifiers="pseudonyms", authorities=[fhir_bodies.HOSPITAL])
    sent(facade.post(fhir_bodies.whole()))
    sent(facade.put(fhir_bodies.ck(700, "acc-80", id="mine-1", effectiveDateTime="2005-05-16T09:48:00+09:00")))
    sent(facade.put(fhir_bodies.ck(650, "acc-80", id="mine-1", effectiveDateTime="2005-05-16T09:48:00+09:00")))
    sent(facade.post(fhir_bodies.ldh(310, identifier=fhir_bodies.named("acc-90"))))
    sent(facade.put(fhir_bodies.infusion("inf-9", id="dose-2", effectiveDateTime="2005-04-12")))
    sent(facade.put(fhir_bodies.headache("ae-9", id="event-2", date="2005-04-15")))
    sent(facade.delete("AdverseEvent/event-2"))
    sent(
        facade.post(
            fhir_bodies.bundle(
                fhir_bodies.entry(fhir_bodies.ck(140, "acc-91", effectiveDateTime="2005-09-01")), type="batch"
            )
        )
    )


def core_sets(client: Any) -> None:
    """Core set measures at planned visits, for the improvement scores."""
    home = "/v1/studies/scores"
    sent(client.put(home, json={"name": "Scores", "protocol": "acr-eular-2016-adult"}))
    for number in range(4):
        start = {"PHYSICIAN_GLOBAL": 7, "PATIENT_GLOBAL": 6, "HAQ": 2, "EXTRAMUSCULAR": 5, "MMT8": 100}
        scores = [
            {
                "code": code,
                "time": str(FIRST + timedelta(day)),
                "score": round(start[code] + (8 if code == "MMT8" else -0.3) * (visit + number % 2), 2),
            }
            for visit, day in enumerate((0, 28, 56, 84, 168))
            for code in _CORE_SET
            if (number, visit, code) != (2, 2, "HAQ")
        ]
        document = timeline(f"S{number}", ck=1000 + number) | {"assessments": scores}
        sent(client.put(f"{home}/patients/S{number}", json=document))
