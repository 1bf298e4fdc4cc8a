"""Each operation that reads data of patients or of who has read them, or writes, has one row of the audit."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select

from app.access.operations import KNOWN, NEEDS, OPEN
from app.analyses import QUESTIONS
from app.datasets.routes import NAMES
from app.demo import TIMELINES
from app.fhir.routes_about import MEASURED
from app.pages import report_routes
from app.pages.charts import CHARTS
from app.protocol.presets import RELATIVE_20
from app.store.tables import audit
from tests.api.examples import JSON, events, lab, make_study, timeline
from tests.api.fhir_bodies import FHIR, HOSPITAL, LAB, about, ck, headache, infusion, ordered, patient, taken, whole
from tests.hl7v2.hl7v2_messages import OBX, oru
from tests.repetition import repeats
from tests.trust.operations_by_role import UNSUPPORTED

HOME = "/v1/studies/trial"
SCORES = "patient,code,time,score\nP01,MMT,2005-03-01,60\n"
TABLES = [{
    "name": "scores", "patient": "patient",
    "parts": [{"kind": "assessments", "columns": {"score": "score", "time": "time", "code": "code"}}],
}]  # fmt: skip
SILENT = OPEN | {
    "GET /metrics", "GET /v1/session", "GET /v1/studies", "GET /v1/studies/{study}", "GET /v1/studies/{study}/protocol",
    "GET /v1/studies/{study}/revisions", "GET /v1/studies/{study}/intake", "GET /v1/studies/{study}/datasets",
    "GET /v1/studies/{study}/charts",
    "GET /fhir/{study}/metadata", "GET /v1/protocols", "GET /v1/protocols/{protocol}", "GET /v1/templates/labs.csv",
    "GET /v1/templates/{kind}.csv", "GET /v1/templates/tables.xlsx",
    "GET /v1/planning/proportion", "GET /v1/planning/paired-change", "GET /v1/planning/median-time", "POST /v1/verify",
    "POST /v1/analyses",
}  # fmt: skip
"""What shows nothing that is stored of a patient: these have no row."""
ROWS = dict.fromkeys(OPEN | KNOWN | NEEDS.keys(), 1) | dict.fromkeys(SILENT, 0)
ROWS["GET /v1/studies/{study}/comparisons/{other}"] = 2
"""One in the chain of each study."""
ROWS |= dict.fromkeys((f"GET /v1/studies/{{study}}/report{suffix}" for suffix in ("", ".md", ".pdf")), 8)
"""One of the answers that the report is made of, and one of each of its charts, without those of parts of a protocol
that are not declared.
"""
ORDER = ("GET", "POST", "PUT", "PATCH", "DELETE")
REPLACING = "PUT /v1/studies/{study}/patients/{patient}"
FILES = {"GET /docs/files", "GET /pages/files/{digest}/{name}"}
"""The files of the documentation, which are no operation."""
REFUSED = {"DELETE /fhir/{study}/Patient/{id}": 405} | dict.fromkeys(UNSUPPORTED, 404)
"""What is always refused."""
REPORT = {"resourceType": "DiagnosticReport", "status": "final", "subject": about(), "contained": [ck(number="r-1")]}
MAKERS = {
    "Patient": patient,
    "Observation": lambda number="ck-1": ck(number=number),
    "MedicationAdministration": infusion,
    "MedicationStatement": taken,
    "MedicationRequest": ordered,
    "AdverseEvent": headache,
}
PLANS = {
    "proportion": "n=10&rate=0.5",
    "paired-change": "n=10&sd=1&difference=1",
    "median-time": "events=10",
}
CSV = "patient,time,code,value,unit,upper_limit\nP01,2005-03-19,CK,907,U/L,163\n"
FIGURE = {"kind": "proportion", "k": 8, "n": 19, "printed_in": "percent", "value": "42.0"}


def fhir(document: Any) -> dict[str, Any]:
    return {"content": json.dumps(document), "headers": FHIR}


class Requests:
    """A request for each operation that succeeds, on studies that have data of each kind."""

    def __init__(self, client: Any) -> None:
        self.client, self.tag = client, ""
        for study in ("trial", "other"):
            make_study(client, study, identifiers="pseudonyms", tables=TABLES)
            client.put(f"/v1/studies/{study}/patients/P01", json=timeline("P01"))
        assert client.post("/fhir/trial", **fhir(whole())).status_code == 200
        assert client.post("/fhir/trial/MedicationStatement", **fhir(taken())).status_code == 201
        assert client.post("/fhir/trial/MedicationRequest", **fhir(ordered())).status_code == 201
        unreadable = CSV.replace("907", "?").replace("-19", "-23")
        client.post(f"{HOME}/labs", content=unreadable, headers={"Content-Type": "text/csv"})
        self.values = {"study": "trial", "other": "other", "patient": "P01", "name": "adsl.csv"}
        self.values |= {"kind": "assessments", "analysis": "response-rates", "slug": "invalid", "protocol": "seed-2008"}
        self.values["item"] = str(client.get(f"{HOME}/set-aside").json()["items"][0]["item"])
        for more in ({}, {"id": "i1", "source": "EHR"}):
            drip = {"time": "2006-04-11", "product": "IVIG"} | more
            client.post(f"{HOME}/patients/P01/events", json={"patient": {"id": "P01"}, "infusions": [drip]})
        [pair] = [item["pair"] for item in client.get(f"{HOME}/set-aside").json()["items"] if "pair" in item]
        self.values["pair"] = pair["decide"].rpartition("/")[2]
        self.values |= {"rest:path": "Encounter", "operation": "lastn", "type": "Observation"}
        self.known = {name: client.get(f"/fhir/trial/{name}").json()["entry"][0]["resource"] for name in MAKERS}

    def send(self, operation: str) -> Any:
        """Ask for an operation."""
        method, _, path = operation.partition(" ")
        kind = next((name for name in MAKERS if f"/{name}" in path), None)
        address = path if kind is None else path.replace("{id}", self.known[kind]["id"])
        address = address.replace("/charts/{name}", "/charts/flow.json").replace("/docs/{name}", "/docs/tutorial")
        address = address.replace("{id}", self.known["Observation"]["id"])
        version = {} if kind is None else {"version": self.known[kind]["meta"]["versionId"]}
        for name, value in (self.values | version).items():
            address = address.replace(f"{{{name}}}", value)
        return self.client.request(method, address, **self.body(operation, method, path, kind))

    def body(self, operation: str, method: str, path: str, kind: str | None) -> dict[str, Any]:
        """What is sent with it."""
        if path.endswith("_search"):
            return {"data": {"_count": "1"}}
        if kind is not None and method == "PUT" and path.endswith(kind):
            system = HOSPITAL if kind == "Patient" else LAB
            return fhir(MAKERS[kind](f"up-{kind}")) | {"params": {"identifier": f"{system}|up-{kind}"}}
        if kind is not None and method in {"POST", "PUT"}:
            return fhir(self.known[kind] if method == "PUT" else MAKERS[kind](f"new-{kind}"))
        if "/analyses/" in path and method == "POST":
            return {"json": {"protocol": "relative-20"}}
        if path.startswith("/v1/planning/"):
            return {"params": PLANS[path.rpartition("/")[2]]}
        return {
            "PUT /v1/studies/{study}": {
                "json": {"name": "New", "protocol": "seed-2008", "identifiers": "pseudonyms", "tables": TABLES}
            },
            "PUT /v1/studies/{study}/protocol": {
                "json": RELATIVE_20.model_dump(mode="json")
            },
            "POST /v1/studies/{study}/set-aside/{item}/dismissal": {"json": {"reason": "duplicate"}},
            "POST /v1/studies/{study}/patients/{patient}/decisions/{pair}": {
                "json": {"decision": "same", "reason": "One."}
            },
            REPLACING: {
                "json": timeline("P01", ck=1001), "headers": {"If-Match": self.tag}
            },
            "POST /v1/studies/{study}/patients/{patient}/events": {"json": events("P01", lab(8, 501))},
            "POST /v1/studies/{study}/timelines": {"json": [events("P01", lab(9, 502))]},
            "POST /v1/studies/{study}/labs": {"content": CSV, "headers": {"Content-Type": "text/csv"}},
            "POST /v1/studies/{study}/tables/{kind}": {"content": SCORES, "headers": {"Content-Type": "text/csv"}},
            "POST /v1/studies/{study}/tables": {
                "content": SCORES, "headers": {"Content-Type": "text/csv"}, "params": {"mapping": "scores"}
            },
            "POST /v1/studies/{study}/hl7v2": {
                "content": oru(OBX), "headers": {"Content-Type": "application/hl7-v2"}
            },
            "POST /fhir/{study}/{type}/$validate": fhir(ck(number="v-1")),
            "POST /fhir/{study}/{type}/{id}/$validate": fhir(self.known["Observation"]),
            "POST /fhir/{study}/DiagnosticReport": fhir(REPORT),
            "POST /fhir/{study}": fhir(whole()),
            "POST /fhir/{study}/": fhir(whole()),
            "POST /v1/analyses": {"json": {"protocol": "seed-2008", "timelines": [timeline("X")]}, "headers": JSON},
            "POST /v1/verify": {"json": FIGURE},
            "GET /v1/studies/{study}/series": {"params": {"measure": "CK"}},
            "GET /v1/studies/{study}/changes/stream": {"params": {"seconds": "0"}},
            "DELETE /v1/studies/{study}/patients/{patient}": {"params": {"erase": "true"}},
        }.get(operation, {})  # fmt: skip


@pytest.mark.slow
def test_each_operation_that_reads_data_of_patients_or_writes_has_one_row_and_the_others_none(service, monkeypatch):
    monkeypatch.setattr(report_routes, "printed", lambda *_: b"%PDF-")  # it takes ten seconds, and reads nothing
    client = service.client()
    state = service.stranger.app_state["app_state"]
    requests = Requests(client)

    def count() -> int:
        state.trail.close()
        with state.database.reading() as connection:
            return connection.execute(select(func.count()).select_from(audit)).scalar_one()

    found, refused, before = {}, {}, count()
    for operation in sorted(ROWS.keys() - FILES, key=lambda each: (ORDER.index(each.partition(" ")[0]), each)):
        if operation == REPLACING:
            requests.tag, before = client.get(f"{HOME}/patients/P01").headers["etag"], count()
        answer = requests.send(operation)
        if answer.status_code >= 400:
            refused[operation] = answer.status_code
        after = count()
        found[operation], before = after - before, after
    assert refused == REFUSED
    assert {name: rows for name, rows in found.items() if rows != ROWS[name]} == {}


@pytest.mark.parametrize("study", ["trial", None])
def test_who_reads_the_audit_has_a_row_that_names_whom_it_showed(service, study):
    client = service.client()
    make_study(client)
    client.put(f"{HOME}/patients/P01", json=timeline("P01"))
    asked = {} if study is None else {"study": study}
    assert client.get("/v1/audit", params=asked).status_code == 200
    service.stranger.app_state["app_state"].trail.close()
    row = client.get("/v1/audit", params=asked).json()["items"][-1]
    assert (row["operation"], row["study"], row["scope"]) == ("listAudit", study, "admin")
    assert (row["extent"], row["patients"]) == (("patients", ["P01"]) if study else ("everyone", []))


def test_pages_of_the_audit_come_to_an_end_although_each_has_a_row(service):
    client = service.client()
    make_study(client)
    address, pages = "/v1/audit?study=trial&limit=1", 0
    while address is not None and pages < 20:
        address, pages = client.get(address).json()["next"], pages + 1
    assert (address, pages) == (None, 1)


@pytest.mark.slow
def test_no_answer_that_names_a_patient_is_recorded_as_figures(service):
    client = service.client()
    state = service.stranger.app_state["app_state"]
    home = make_study(client)
    make_study(client, "other")
    timelines = json.loads(TIMELINES.read_bytes())
    for number, each in enumerate(timelines):
        each["patient"]["id"] = f"ZQX{number}Z"
    for study in ("trial", "other"):
        assert client.post(f"/v1/studies/{study}/timelines", json=timelines).status_code == 200
    queries = ("", "?patients=true", "?by=diagnosis")[: max(2, repeats(3))]
    asked = [
        *(f"{home}/analyses/{name}{query}" for name in QUESTIONS for query in queries),
        *(f"{home}/analyses{query}" for query in ("", "?patients=true", "?by=sex")),
        *(f"{home}/datasets/{name}.csv" for name in NAMES),
        *(f"{home}/charts/{name}.json" for name in CHARTS),
        *(f"/fhir/trial/MeasureReport/{name}" for name in MEASURED),
        f"{home}/comparisons/other",
    ]
    named = set()
    for address in asked:
        extents = []
        for method in ("GET", "POST") if "/analyses/" in address else ("GET",):
            sent = {} if method == "GET" else {"json": {"protocol": "relative-20"}}
            answer = client.request(method, address, **sent)
            assert answer.status_code == 200, (address, answer.text)
            state.trail.close()
            with state.database.reading() as connection:
                rows = select(audit.c.extent).where(audit.c.chain == 1).order_by(audit.c.number.desc())
                extents.append((connection.execute(rows).scalars().first(), "ZQX" in answer.text))
        named |= {address for _, names in extents if names}
        assert all(extent in {"everyone", "patients"} for extent, names in extents if names), address
    assert len(named) > 15
    assert f"{home}/analyses/sensitivity?patients=true" in named
