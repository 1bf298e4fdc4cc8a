"""What `/metrics` says, to whom, and that no label has a value that was sent."""

import json
import re
import threading

import pytest
from fastapi.testclient import TestClient

from app.access.callers import Scope
from app.access.computing import REASONS
from app.access.keys import ApiKeys
from app.errors import Busy, Cause, FaultCode
from app.http import metrics, middleware, problems
from app.http.rooms import every_route
from app.main import create_app
from app.settings import Settings
from app.store.engine import Database
from app.store.failures import DatabaseFailure
from app.timeline.receipts import Disposition
from tests.api.conftest import BASE
from tests.api.examples import JSON, fill, make_study, timeline

HERE = ("127.0.0.1", 50_000)
SAMPLE = re.compile(r'(?P<name>\w+)(\{(?P<labels>(\w+="[^"\\]*",?)+)\})? (?P<value>\S+)')


@pytest.fixture
def client(migrated_url):
    """The application on each engine, asked from this machine."""
    with TestClient(create_app(Settings(database_url=migrated_url)), base_url=BASE, client=HERE) as running:
        yield running


def read(client, **more) -> dict[str, float]:
    """The samples by their name with labels, after a check of the form of each line."""
    answer = client.get("/metrics", **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not SAMPLE.fullmatch(line)] == []
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_requests_are_counted_by_the_template_of_their_route_and_the_class_of_their_status(client):
    home = fill(client, 1)
    for patient in ("P00", "P00", "P77"):
        client.get(f"{home}/patients/{patient}")
    found = read(client)
    of = 'route="/v1/studies/{study}/patients/{patient}"'
    assert found[f'myoresponse_http_requests_total{{method="GET",{of},status="2xx"}}'] == 2
    assert found[f'myoresponse_http_requests_total{{method="GET",{of},status="4xx"}}'] == 1
    assert found[f'myoresponse_http_request_seconds_count{{method="GET",{of}}}'] == 3
    assert found[f'myoresponse_http_request_seconds_bucket{{le="60.0",method="GET",{of}}}'] == 3
    assert found['myoresponse_http_refusals_total{problem="not-found"}'] == 1
    assert found["myoresponse_http_requests_in_flight"] == 1  # this one


def test_bytes_are_counted_both_ways(client):
    home = make_study(client)
    before = read(client)
    body = json.dumps([timeline("P1")]).encode()
    answer = client.post(f"{home}/timelines", content=body, headers=JSON)
    found = read(client)
    of = '{method="POST",route="/v1/studies/{study}/timelines"}'
    assert f"myoresponse_http_received_bytes_total{of}" not in before
    assert found[f"myoresponse_http_received_bytes_total{of}"] == len(body)
    assert found[f"myoresponse_http_sent_bytes_total{of}"] == len(answer.content)


def test_facts_are_counted_by_format_and_by_what_happened_to_them_whoever_stored_them(client, migrated_url):
    home = make_study(client)
    revisions = read(client)["myoresponse_revisions_total"]
    lab = {"code": "CK", "time": "2005-03-16", "value": 1101, "unit": "U/L"}
    sent = [{"patient": {"id": "P1"}, "labs": [lab, lab | {"time": "2005-03-17"}]}]
    # Another application on the same database, as the listener for MLLP is one.
    with TestClient(create_app(Settings(database_url=migrated_url)), base_url=BASE) as other:
        assert other.post(f"{home}/timelines", json=sent).status_code == 200
    found = read(client)
    of = 'disposition="kept",format="native-json",sender="unnamed"'
    assert found[f"myoresponse_intake_facts_total{{{of}}}"] == 2
    assert found["myoresponse_revisions_total"] == revisions + 1
    assert found["myoresponse_studies"] == 1


def test_faults_are_counted_by_their_code(client):
    home = make_study(client)
    client.post(f"{home}/timelines", json=[{"patient": {"id": "P 1"}}, {"patient": {"id": "P 2"}}])
    assert read(client)['myoresponse_faults_total{code="bad_identifier"}'] == 2


def test_kept_answers_are_counted_when_they_are_found_and_when_not(client):
    home = fill(client, 3)
    for _ in range(3):
        assert client.get(f"{home}/analyses/response-rates").status_code == 200
    found = read(client)
    assert found['myoresponse_answer_lookups_total{result="miss"}'] == 1
    assert found['myoresponse_answer_lookups_total{result="hit"}'] == 2
    assert found["myoresponse_answer_bytes"] > 1_000


def test_a_database_that_does_not_answer_is_not_waited_for_and_the_last_known_counts_are_given(client, monkeypatch):
    monkeypatch.setattr("app.http.state.Readiness.SECONDS", 0.0)
    monkeypatch.setattr(Database, "objection", lambda self: None)
    make_study(client)
    known = read(client)
    assert known["myoresponse_database_up"] == 1
    monkeypatch.setattr(metrics, "PATIENCE", 0.1)
    go_on, answered = threading.Event(), []
    monkeypatch.setattr(Database, "objection", lambda self: answered.append(go_on.wait(30)))
    found = read(client)
    assert answered == []
    go_on.set()
    assert found["myoresponse_database_up"] == 0
    assert found["myoresponse_studies"] == known["myoresponse_studies"]


def test_a_failure_of_the_database_is_counted_by_its_cause(client):
    assert read(client)['myoresponse_database_failures_total{cause="disk_full"}'] == 0
    database = client.app_state["app_state"].database
    database.failures.note(DatabaseFailure("its disk is full", Cause.DISK_FULL))
    assert read(client)['myoresponse_database_failures_total{cause="disk_full"}'] == 1


def test_a_refusal_because_of_the_database_names_the_cause_in_its_line(client, monkeypatch, caplog):
    def fails(*_, **__):
        raise Busy(cause=Cause.LOCKED)

    monkeypatch.setattr("app.store.studies.list_studies", fails)
    with caplog.at_level("INFO", "myoresponse"):
        assert client.get("/v1/studies").status_code == 503
    assert caplog.records[-1].getMessage().endswith(" cause=locked")


def test_two_applications_in_a_process_count_for_themselves(client, migrated_url):
    client.get("/livez")
    with TestClient(create_app(Settings(database_url=migrated_url)), base_url=BASE, client=HERE) as other:
        assert not [name for name in read(other) if "/livez" in name]
    assert [name for name in read(client) if "/livez" in name]


def test_metrics_are_for_programs_on_this_machine_and_for_keys_that_may_do_everything(client, migrated_url):
    keys = ApiKeys(client.app_state["app_state"].database)
    proxied = {"X-Forwarded-For": "127.0.0.1"}

    def answer(scope, studies=None):
        new = keys.create("monitoring", [scope], studies, now=1, expires_at=None)
        return client.get("/metrics", headers=proxied | {"Authorization": f"Bearer {new.text}"})

    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", headers=proxied).status_code == 401
    assert answer(Scope.ADMIN).status_code == 200
    refused = [answer(scope) for scope in Scope if scope is not Scope.ADMIN] + [answer(Scope.ADMIN, ["trial"])]
    assert {each.status_code for each in refused} == {403}
    assert "myoresponse_" not in "".join(each.text for each in refused)


def test_no_label_has_a_value_that_was_sent(client):
    """Each label is from a closed set, whatever the address, the method, the body and the headers are."""
    home = fill(client, 1)
    client.request("CANARY", f"{home}/patients/CANARY", headers={"X-Request-Id": "CANARY"})
    client.get("/CANARY/CANARY?CANARY=CANARY")
    client.post(f"{home}/timelines", json=[{"patient": {"id": "CANARY-1"}, "CANARY": 1, "labs": [{"code": "CANARY"}]}])
    lab = {"code": "CK", "time": "2005-03-16", "value": 1, "unit": "U/L", "lab": "CANARY"}
    client.post(f"{home}/timelines", json=[{"patient": {"id": "CANARY-1"}, "labs": [lab]}])
    found = read(client)
    assert "canary" not in " ".join(found).lower()
    closed = {
        "method": middleware.METHODS | {"-"},
        "status": {"1xx", "2xx", "3xx", "4xx", "5xx"},
        "problem": set(problems.KINDS),
        "code": set(FaultCode) | set(problems.KINDS),
        "disposition": set(Disposition),
        "format": {"native-json", "native-ndjson", "csv", "fhir-r4", "hl7v2"},
        "sender": {"named", "unnamed"},
        "result": {"hit", "miss"},
        "cause": set(Cause),
        "reason": set(REASONS),
        "route": {"-", *(str(route.path) for route in every_route(client.app))},
    }
    for name in found:
        for label, value in re.findall(r'(\w+)="([^"]*)"', name):
            if label not in {"le", "version", "tables", "python"}:
                assert value in closed[label], name
