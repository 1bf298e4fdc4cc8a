"""Every refusal is a problem document, and none repeats what was sent."""

import json
import logging
import re

import pytest

from app.errors import CAUSES, SENTENCES, Cause, Fault, FaultCode, InvalidDocument, ServiceError
from app.http.problems import KINDS, problem
from app.store.failures import DatabaseFailure, refusal_of
from tests.api.examples import JSON, NDJSON, codes, fill, make_study, timeline
from tests.hl7v2.hl7v2_messages import obx, oru

URN = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_shape(answer, status: int, kind: str) -> dict:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["link"].endswith(f'/problems/{kind}>; rel="describedby"')
    document = answer.json()
    assert list(document) == ["type", "title", "status", "detail", "instance", "errors"]
    assert document["type"] == f"/problems/{kind}"
    assert document["status"] == status
    assert document["title"] == KINDS[kind].title()
    assert URN.fullmatch(document["instance"])
    for fault in document["errors"]:
        assert list(fault) in (["pointer", "code", "detail"], ["pointer", "code", "detail", "accepts"])
        assert fault["code"] in set(FaultCode)
        assert fault["detail"]
    return document


def test_each_kind_of_refusal_has_the_one_shape(client):
    home = fill(client, 1)
    tag = client.get(f"{home}/patients/P00").headers["etag"]
    patient = f"{home}/patients/P00"
    check_shape(client.post(f"{home}/timelines", content=b"{", headers=JSON), 400, "malformed")
    check_shape(client.get("/livez", headers={"Host": "evil"}), 403, "foreign-origin")
    check_shape(client.get("/nowhere"), 404, "not-found")
    check_shape(client.get("/v1/studies/nobody"), 404, "not-found")
    check_shape(client.get(f"{home}/patients/nobody"), 404, "not-found")
    check_shape(client.get(f"{home}/analyses/nothing"), 404, "not-found")
    check_shape(client.get("/v1/protocols/nothing"), 404, "not-found")
    check_shape(client.get("/problems/nothing"), 404, "not-found")
    check_shape(client.get("/docs/files/nothing.js"), 404, "not-found")
    check_shape(client.delete(home), 405, "method-not-allowed")
    check_shape(client.post("/docs/files/swagger-ui.css"), 405, "method-not-allowed")
    check_shape(client.put(patient, json=timeline("P00"), headers={"If-Match": '"x"'}), 412, "precondition-failed")
    check_shape(client.put(patient, json=timeline("P00", ck=5)), 428, "precondition-required")
    check_shape(client.post(f"{home}/timelines", content=b"[]"), 415, "unsupported-media-type")
    check_shape(client.post(f"{home}/timelines", content=b"3", headers=JSON), 422, "invalid")
    check_shape(client.get(f"{patient}?nonsense=1"), 422, "invalid")
    assert client.delete(f"{patient}?erase=true", headers={"If-Match": tag}).status_code == 204
    check_shape(client.get(patient), 410, "erased")


def test_all_faults_of_a_document_are_reported_at_once_with_their_places(client):
    home = make_study(client)
    wrong = timeline("P00", colour="red")
    wrong["labs"][2]["unit"] = "g/L"
    wrong["labs"][4]["value"] = -1
    wrong["assessments"][0]["score"] = "62"
    answer = client.put(f"{home}/patients/P00", json=wrong)
    check_shape(answer, 422, "invalid")
    assert {("/labs/4/value", "out_of_range"), ("/assessments/0/score", "wrong_type"), ("", "unknown_field")} <= set(
        codes(answer)
    )
    assert client.get(f"{home}/patients").json()["items"] == []


def test_a_path_that_names_another_patient_than_the_document_is_refused(client):
    home = make_study(client)
    for method, path in (("PUT", f"{home}/patients/P01"), ("POST", f"{home}/patients/P01/events")):
        answer = client.request(method, path, json=timeline("P02"))
        assert codes(answer) == [("/patient/id", "path_mismatch")]
    assert client.get(f"{home}/patients").json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/studies", "GET, HEAD, OPTIONS"),
        ("POST", "/v1/studies/trial", "GET, HEAD, OPTIONS, PUT"),
        ("PATCH", "/v1/studies/trial/patients/P00", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("GET", "/v1/studies/trial/patients/P00/events", "OPTIONS, POST"),
        ("HEAD", "/v1/studies/trial/patients/P00/events", "OPTIONS, POST"),
        ("TRACE", "/livez", "GET, HEAD, OPTIONS"),
        ("BREW", "/v1/analyses", "OPTIONS, POST"),
        ("PUT", "/v1/studies/trial/analyses/ck-change", "GET, HEAD, OPTIONS, POST"),
        *((method, "/fhir/trial/Observation/_search?a=1", "OPTIONS, POST") for method in ("GET", "PUT", "DELETE")),
        *(("DELETE", f"/fhir/trial/Patient/x{asked}", "GET, HEAD, OPTIONS, PUT") for asked in ("", "?_format=json")),
    ],
)
def test_a_method_that_an_address_does_not_have_is_405_and_allow_names_all_that_it_has(client, method, path, allowed):
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed


def test_options_tells_what_may_be_asked(client):
    answer = client.options("/v1/studies/trial/protocol")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "GET, HEAD, OPTIONS, PUT", b"")


@pytest.mark.parametrize(
    ("path", "allowed"), [("Patient/x", "GET, HEAD, OPTIONS, PUT"), ("Patient/_search", "OPTIONS, POST")]
)
def test_options_does_not_tell_of_what_is_always_refused(client, path, allowed):
    assert client.options(f"/fhir/trial/{path}").headers["allow"] == allowed


def test_head_is_get_without_the_body(client):
    home = fill(client, 1)
    for path in (
        home,
        f"{home}/patients",
        f"{home}/patients/P00",
        f"{home}/analyses/ck-change",
        "/livez",
        "/docs",
        "/openapi.yaml",
    ):
        got, head = [ask(path, headers={"X-Request-Id": "1"}) for ask in (client.get, client.head)]
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers == got.headers
    assert client.head(f"{home}/patients/nobody").status_code == 404


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_unexpected_error_answers_500_and_the_log_learns_its_type_and_place_but_not_its_text(
    client, monkeypatch, caplog
):
    def fails(*_, **__):
        raise ValueError("could not convert P-SECRET-4711")

    monkeypatch.setattr("app.store.studies.list_studies", fails)
    with caplog.at_level(logging.INFO):
        answer = client.get("/v1/studies")
    document = check_shape(answer, 500, "internal")
    assert "SECRET" not in answer.text + caplog.text
    [failure] = [record.getMessage() for record in caplog.records if "event=failure" in record.getMessage()]
    assert "type=ValueError" in failure
    assert "test_problems.py" in failure
    assert f"instance={document['instance']}" in failure
    assert "event=request method=GET route=/v1/studies status=500" in caplog.text


def test_a_busy_database_is_503_and_says_when_to_come_again(client, monkeypatch):
    from app.errors import Busy

    def busy(*_, **__):
        raise Busy

    monkeypatch.setattr("app.store.studies.list_studies", busy)
    answer = client.get("/v1/studies")
    check_shape(answer, 503, "busy")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("cause", [Cause.DISK_FULL, Cause.LOCKED])
def test_a_database_that_cannot_serve_is_503_with_its_cause_in_the_form_of_the_address(client, monkeypatch, cause):
    def fails(*_, **__):
        raise refusal_of(DatabaseFailure("why", cause))

    monkeypatch.setattr("app.store.studies.list_studies", fails)
    monkeypatch.setattr("app.fhir.submit.read_feed", fails)
    kind, fhir_kind = {"disk_full": ("unavailable", "no-store"), "locked": ("busy", "transient")}[cause]
    answer = client.get("/v1/studies")
    told = answer.json()
    assert (answer.status_code, told["type"], told["cause"]) == (503, f"/problems/{kind}", cause)
    assert told["detail"] == CAUSES[cause]
    assert ("retry-after" in answer.headers) == (kind == "busy")
    bundle = {"resourceType": "Bundle", "type": "batch"}
    refused = client.post("/fhir/trial", json=bundle, headers={"Content-Type": "application/fhir+json"})
    [issue] = refused.json()["issue"]
    assert (refused.status_code, issue["code"], issue["details"]["text"]) == (503, fhir_kind, CAUSES[cause])
    assert ("retry-after" in refused.headers) == (kind == "busy")


def test_every_kind_and_every_code_can_be_looked_up(client):
    listed = client.get("/problems").json()
    assert [each["type"] for each in listed["items"]] == [f"/problems/{slug}" for slug in KINDS]
    assert {each["code"]: each["detail"] for each in listed["codes"]} == {
        str(code): text for code, text in SENTENCES.items()
    }
    for kind in listed["items"]:
        assert client.get(kind["type"]).json() == kind


def test_a_problem_document_orders_its_errors_by_place():
    document = problem(InvalidDocument(faults=[Fault("/b", FaultCode.MISSING), Fault("/a", FaultCode.MISSING)]))
    assert [each.pointer for each in document.errors] == ["/a", "/b"]
    assert problem(ServiceError()).status == 500


PATIENT = '{"patient": {"id": "P00"}'
WRONG = '{"patient": {"id": "CANARY 1"}}'
CANARIES = [
    ("PUT", "", JSON, '{"name": "CANARYa", "protocol": "CANARYb", "CANARYc": 1}'),
    ("PUT", "", JSON, '{"name": "T", "protocol": "seed-2008", "time_zone": "CANARY/Zone"}'),
    ("PUT", "", JSON, '{"name": "T", "protocol": {"id": "CANARY!", "CANARYf": {}}}'),
    ("PUT", "", JSON, '{"name": "T", "protocol": {"id": "x", "scales": {"CANARY": {"maximum": 1}}}}'),
    ("PUT", "", JSON, '{"name": "T", "protocol": {"id": "x", "responses": [{"rule": {"id": "CANARY"}}]}}'),
    ("PUT", "", {**JSON, "Origin": "https://CANARY.example"}, "{}"),
    ("PUT", "/protocol", JSON, '{"id": "x", "title": 1, "conventions": {"median": "CANARY"}}'),
    ("PUT", "/patients/P00", JSON, '{"patient": {"id": "P00", "sex": "CANARY"}}'),
    ("PUT", "/patients/P00", JSON, '{"patient": {"id": "CANARY"}}'),
    ("PUT", "/patients/P00", JSON, '{"patient": {"id": "CANARY_1"}, "CANARY": {"CANARY": []}}'),
    ("PUT", "/patients/P00", JSON, PATIENT + ', "labs": [{"code": "CANARY", "time": "CANARY", "unit": "CANARY"}]}'),
    ("PUT", "/patients/P00", JSON, PATIENT + ', "ended": {"date": "2005-02-30", "reason": "CANARY"}}'),
    ("PUT", "/patients/P00", {**JSON, "If-Match": '"CANARY"'}, PATIENT + "}"),
    ("PUT", "/patients/P00", {**JSON, "If-None-Match": '"CANARY"'}, PATIENT + "}"),
    ("POST", "/patients/P00/events", JSON, '{"CANARY": 1, "CANARY": 2}'),
    ("POST", "/patients/P00/events", JSON, '{"patient": CANARY'),
    ("POST", "/patients/CANARY_9/events", JSON, '{"patient": {"id": "CANARY_9"}}'),
    ("POST", "/patients/CANARY/events", JSON, PATIENT + "}"),
    ("POST", "/timelines", JSON, f'[{PATIENT}, "infusions": [{{"time": "2005-01-01CANARY", "product": "x"}}]}}]'),
    ("POST", "/timelines?atomic=true", JSON, f"[{WRONG}, 3]"),
    ("POST", "/timelines?atomic=CANARY", JSON, "[]"),
    ("POST", "/timelines", NDJSON, WRONG + "\nCANARY\n"),
    ("POST", "/timelines", {"Content-Type": "text/CANARY"}, "CANARY"),
    ("POST", "/analyses/ck-change", JSON, '{"protocol": "CANARY"}'),
    ("GET", "/patients/CANARY", {}, None),
    ("GET", "/patients/CANARY_1", {}, None),
    ("GET", "/patients?CANARY=1", {}, None),
    ("GET", "/patients?cursor=CANARY", {}, None),
    ("GET", "/patients?sex=CANARY&limit=CANARY", {}, None),
    ("GET", "/analyses/CANARY", {}, None),
    ("GET", "/analyses?as_of=CANARY", {}, None),
    ("GET", "/analyses?level=CANARY&by=CANARY", {}, None),
    ("DELETE", "/patients/P00?erase=CANARY", {}, None),
    ("CANARY", "/patients/CANARY", {}, None),
    ("GET", "", {"Host": "CANARY.example"}, None),
    ("POST", "/../../analyses", JSON, f'{{"protocol": "seed-2008", "time_zone": "CANARY", "timelines": [{WRONG}]}}'),
    ("GET", "/../CANARY", {}, None),
    ("GET", "/../../../CANARY?CANARY=CANARY", {"X-Name": "CANARY"}, None),
]


def test_nothing_that_was_submitted_is_in_a_problem_or_in_the_log(client, caplog, capfd):
    fill(client, 1)
    with caplog.at_level(logging.DEBUG):
        for method, path, headers, body in CANARIES:
            answer = client.request(method, f"/v1/studies/trial{path}", headers=headers, content=body)
            if answer.status_code == 200:  # a batch: each item has its own problem
                lines = answer.headers["content-type"] == NDJSON["Content-Type"]
                items = map(json.loads, answer.text.splitlines()[:-1]) if lines else answer.json()["items"]
                assert {item["status"] for item in items} == {"rejected"}
            else:
                assert answer.status_code >= 400, (method, path, body)
            shown = json.dumps(dict(answer.headers)) + answer.text
            assert "canary" not in shown.lower(), (method, path, body, shown)
    own = "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith(("myoresponse", "sqlalchemy", "app"))
    )
    captured = capfd.readouterr()
    assert "canary" not in (own + captured.out + captured.err).lower()
    assert own.count("event=request") == len(CANARIES)


def test_a_line_of_the_log_names_the_route_and_not_the_address(client, caplog):
    home = fill(client, 1)
    with caplog.at_level(logging.INFO, "myoresponse"):
        client.get(f"{home}/patients/P00")
        client.get(f"{home}/patients/P77")
        client.get("/somewhere/else")
    lines = [record.getMessage() for record in caplog.records]
    assert [re.sub(r"ms=[\d.]+", "ms=_", re.sub(r" instance=\S+", " instance=_", line)) for line in lines] == [
        "event=request method=GET route=/v1/studies/{study}/patients/{patient} status=200 ms=_",
        "event=request method=GET route=/v1/studies/{study}/patients/{patient} status=404 ms=_ problem=not-found "
        "instance=_",
        "event=request method=GET route=- status=404 ms=_ problem=not-found instance=_",
    ]


LAB = {"code": "CK", "time": "2005-03-16", "value": 1101, "unit": "U/L"}
NO_CODE = {name: LAB[name] for name in ("time", "value", "unit")}
WRONG_LABS = {"patient": {"id": "P1"}, "labs": [NO_CODE, LAB | {"unit": "CANARY"}, LAB | {"unit": "CANARY"}]}
RIGHT = {"patient": {"id": "P2"}, "labs": [LAB]}
FHIR = {"Content-Type": "application/fhir+json"}
NOBODY = {"resourceType": "Patient", "active": "CANARY"}


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "logged"),
    [
        pytest.param(
            "/v1/studies/trial/patients/P1/events", JSON, json.dumps(WRONG_LABS), 422,
            "problem=invalid faults=unknown_unit:2,missing:1", id="a timeline",
        ),
        pytest.param(
            "/v1/studies/trial/timelines", JSON, json.dumps([WRONG_LABS, RIGHT, WRONG_LABS]), 200,
            "faults=unknown_unit:4,missing:2", id="items of an array",
        ),
        pytest.param(
            "/v1/studies/trial/timelines", NDJSON, f"{json.dumps(WRONG_LABS)}\n{json.dumps(RIGHT)}\nCANARY\n", 200,
            "faults=unknown_unit:2,malformed:1,missing:1", id="lines",
        ),
        pytest.param(
            "/v1/studies/trial/labs", {"Content-Type": "text/csv"},
            "patient,time,code,value,unit\nP1,2005-03-16,CK,5,CANARY\nP2,2005-03-16,CK,5,U/L\n", 200,
            "faults=unknown_unit:1", id="rows of a table",
        ),
        pytest.param(
            "/v1/studies/trial/hl7v2", {"Content-Type": "application/hl7-v2"},
            oru(obx(f6="CANARY"), obx(f6="CANARY")), 422, "faults=unknown_unit:2", id="a message of HL7 v2",
        ),
        pytest.param(
            "/fhir/trial/Patient", FHIR, json.dumps(NOBODY), 422,
            "problem=invalid faults=no_subject:1", id="a resource",
        ),
        pytest.param(
            "/fhir/trial", FHIR,
            json.dumps({"resourceType": "Bundle", "type": "batch", "entry": [
                {"resource": NOBODY, "request": {"method": "POST", "url": "Patient"}},
                {"request": {"method": "GET", "url": "Patient/CANARY"}},
            ]}), 422, "faults=no_subject:1,not-found:1", id="entries of a batch",
        ),
        pytest.param(
            "/v1/studies/trial/timelines", JSON, json.dumps([RIGHT]), 200, "", id="nothing refused"
        ),
    ],
)  # fmt: skip
def test_the_line_of_a_request_counts_the_codes_of_what_was_refused(
    client, caplog, path, headers, body, status, logged
):
    client.put("/v1/studies/trial", json={"name": "T", "protocol": "seed-2008", "identifiers": "pseudonyms"})
    with caplog.at_level(logging.INFO, "myoresponse"):
        answer = client.post(path, headers=headers, content=body)
    assert answer.status_code == status, answer.text
    [line] = [record.getMessage() for record in caplog.records if "event=request" in record.getMessage()]
    more = re.sub(r" ?instance=\S+", "", line).partition(" ms=")[2].partition(" ")[2]
    assert more == logged
    assert "CANARY" not in line


def test_what_the_store_could_not_explain_is_500_and_only_the_log_learns_which_error_it_was(
    client, monkeypatch, caplog
):
    def fails(*_, **__):
        raise ServiceError("DatabaseError SQLITE_CORRUPT")

    monkeypatch.setattr("app.store.studies.list_studies", fails)
    answer = client.get("/v1/studies")
    assert check_shape(answer, 500, "internal")["detail"] is None
    assert "event=failure type=DatabaseError:SQLITE_CORRUPT at=" in caplog.text


def test_faults_at_one_place_with_and_without_a_detail_can_be_reported_together():
    faults = [Fault("/a", FaultCode.MISSING, "why"), Fault("/a", FaultCode.MISSING)]
    assert [fault.detail for fault in InvalidDocument(faults=faults).faults] == [None, "why"]


@pytest.mark.parametrize("given", ["4711", "a" * 64, "Root=1-67891233-abcdef012345678912345678", "0af7/x:y.z_1+2="])
def test_the_id_of_a_request_is_taken_from_its_header_and_is_in_the_answer_and_in_the_line(client, caplog, given):
    with caplog.at_level(logging.INFO, "myoresponse"):
        answers = [
            client.get("/v1/studies", headers={"X-Request-Id": given}),
            client.get("/v1/studies/nobody", headers={"X-Request-Id": given}),
            client.get("/livez", headers={"X-Request-Id": given, "Host": "evil.example.org"}),
        ]
    assert [answer.headers["x-request-id"] for answer in answers] == [given] * 3
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(" request_id=")[2] for line in lines] == [given] * 3


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "a\tb", 'a"b', "a;b", "ä".encode(), "<a>"])
def test_an_unsafe_id_of_a_request_is_replaced(client, caplog, given):
    with caplog.at_level(logging.INFO, "myoresponse"):
        answer = client.get("/v1/studies", headers={"X-Request-Id": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert "request_id" not in caplog.records[-1].getMessage()


def test_two_ids_of_one_request_are_none(client):
    answer = client.get("/v1/studies", headers=[("X-Request-Id", "a"), ("X-Request-Id", "b")])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
