"""A request that is sent again with its `Idempotency-Key`: one effect, one answer."""

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import Busy, Cause
from app.http import idempotency
from app.store import ledger
from app.store.audit_journal import AuditJournal
from app.submission import batches, loop
from tests.api.examples import JSON, NDJSON, codes, events, fill, lab, make_study, timeline
from tests.api.fhir_bodies import bundle, ck, entry, patient
from tests.hl7v2.hl7v2_messages import OBX, oru

KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
PSEUDONYMS = {"identifiers": "pseudonyms"}
CSV_TABLE = "patient,time,code,value,unit,upper_limit\nP01,2005-03-16,CK,900,U/L,163\n"


def fhir(body):
    return {"content": json.dumps(body), "headers": {"Content-Type": "application/fhir+json"}}


WRITES = {
    "events": ("POST", "/v1/studies/trial/patients/P01/events", {"json": events("P01", lab(7, 500))}),
    "put": ("PUT", "/v1/studies/trial/patients/P01", {"json": timeline("P01")}),
    "batch": ("POST", "/v1/studies/trial/timelines", {"json": [timeline("P01"), timeline("P02"), {"patient": {}}]}),
    "atomic lines": (
        "POST",
        "/v1/studies/trial/timelines?atomic=true",
        {"content": json.dumps(timeline("P01")), "headers": NDJSON},
    ),
    "csv": ("POST", "/v1/studies/trial/labs", {"content": CSV_TABLE, "headers": {"Content-Type": "text/csv"}}),
    "hl7v2": (
        "POST",
        "/v1/studies/trial/hl7v2",
        {"content": oru(OBX), "headers": {"Content-Type": "application/hl7-v2"}},
    ),
    "fhir transaction": ("POST", "/fhir/trial", fhir(bundle(entry(patient()), entry(ck())))),
    "fhir batch": ("POST", "/fhir/trial", fhir(bundle(entry(patient()), entry(ck()), type="batch"))),
    "fhir create": ("POST", "/fhir/trial/Patient", fhir(patient())),
}


def send(client, method, url, *, key=KEY, **more):
    return client.request(method, url, **{**more, "headers": {**more.get("headers", {}), **key}})


def kept(answer):
    """What of an answer is the same when it is sent again."""
    return (
        answer.status_code,
        answer.content,
        {
            name: value
            for name, value in answer.headers.items()
            if name not in {"date", "idempotent-replayed", "x-request-id"}
        },
    )


def revision(client):
    return client.get("/v1/studies/trial").json()["revision"]


@pytest.mark.parametrize("write", WRITES)
def test_the_same_request_with_its_key_gets_the_first_answer_again_and_changes_nothing(anywhere, write):
    make_study(anywhere, **PSEUDONYMS)
    method, url, more = WRITES[write]
    first = send(anywhere, method, url, **more)
    assert first.status_code in {200, 201}, first.text
    assert "Idempotent-Replayed" not in first.headers
    after = revision(anywhere)
    assert after > 0
    again = send(anywhere, method, url, **more)
    assert kept(again) == kept(first)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert revision(anywhere) == after
    other = send(anywhere, method, url, key={"Idempotency-Key": '"another"'}, **more)
    assert kept(other) != kept(first) or write in {"hl7v2", "fhir create"}


def test_a_key_belongs_to_one_request(anywhere):
    make_study(anywhere, **PSEUDONYMS)
    first = send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 500)))
    assert first.status_code == 201
    for url, body in (
        ("/v1/studies/trial/patients/P01/events", events("P01", lab(7, 501))),
        ("/v1/studies/trial/patients/P02/events", events("P02", lab(7, 500))),
        ("/v1/studies/trial/patients/P01/events?receipt=full", events("P01", lab(7, 500))),
    ):
        refused = send(anywhere, "POST", url, json=body)
        assert refused.status_code == 422
        assert codes(refused) == [("/header/Idempotency-Key", "reused_key")]
    assert revision(anywhere) == 1


def test_studies_and_routes_have_keys_of_their_own(anywhere):
    make_study(anywhere, **PSEUDONYMS)
    make_study(anywhere, "other")
    body = events("P01", lab(7, 500))
    assert send(anywhere, "POST", "/v1/studies/trial/patients/P01/events", json=body).status_code == 201
    assert send(anywhere, "POST", "/v1/studies/other/patients/P01/events", json=body).status_code == 201
    assert send(anywhere, "POST", "/v1/studies/trial/timelines", json=[body]).status_code == 200


@pytest.mark.parametrize("header", ["no-quotes", '""', '"a', '"' + "x" * 256 + '"', '"é"', '"a", "b"', '"a";p=1'])
def test_a_key_is_a_text_in_quotes(client, header):
    make_study(client)
    answer = send(
        client, *WRITES["events"][:2], json=events("P01", lab(7, 1)), key={"Idempotency-Key": header.encode("latin-1")}
    )
    assert answer.status_code == 400
    assert codes(answer) == [("/header/Idempotency-Key", "malformed")]
    assert revision(client) == 0


def test_two_keys_are_refused(client):
    make_study(client)
    headers = [("Idempotency-Key", '"a"'), ("Idempotency-Key", '"b"'), ("Content-Type", "application/json")]
    answer = client.post(WRITES["events"][1], content=b"{}", headers=headers)
    assert answer.status_code == 422
    assert codes(answer) == [("/header/idempotency-key", "repeated_value")]


def test_lines_that_are_stored_while_they_arrive_take_no_key(client):
    make_study(client)
    answer = send(client, "POST", "/v1/studies/trial/timelines", content=json.dumps(timeline("P01")), headers=NDJSON)
    assert answer.status_code == 422
    assert codes(answer) == [("/header/Idempotency-Key", "unsupported")]
    assert revision(client) == 0


def test_a_refused_request_may_be_corrected_under_its_key(anywhere):
    make_study(anywhere, **PSEUDONYMS)
    bad = events("P01", lab(7, -1))
    assert send(anywhere, *WRITES["events"][:2], json=bad).status_code == 422
    assert send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1))).status_code == 201


def test_an_unknown_study_keeps_nothing(anywhere):
    assert send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1))).status_code == 404
    make_study(anywhere, **PSEUDONYMS)
    assert send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1))).status_code == 201


def test_what_was_set_aside_stays_listed_and_its_refusal_is_kept(anywhere):
    make_study(anywhere, **PSEUDONYMS)
    table = CSV_TABLE.replace("900", "many")
    more = {"content": table, "headers": {"Content-Type": "text/csv"}}
    first = send(anywhere, "POST", "/v1/studies/trial/labs", **more)
    assert first.json()["type"] == "/problems/nothing-kept"
    assert len(anywhere.get("/v1/studies/trial/set-aside").json()["items"]) == 1
    assert kept(send(anywhere, "POST", "/v1/studies/trial/labs", **more)) == kept(first)


def test_a_rehearsal_keeps_no_answer(client):
    make_study(client)
    url = WRITES["events"][1]
    body = events("P01", lab(7, 1))
    assert send(client, "POST", f"{url}?rehearse=true", json=body).status_code == 201
    assert send(client, "POST", url, json=body).status_code == 201
    assert revision(client) == 1


def test_a_request_that_is_being_processed_is_a_conflict(anywhere, monkeypatch):
    make_study(anywhere, **PSEUDONYMS)
    begun, go_on = threading.Event(), threading.Event()
    add = batches.add_timeline

    def slowly(*arguments):
        begun.set()
        go_on.wait(10)
        return add(*arguments)

    monkeypatch.setattr("app.api.patients.batches.add_timeline", slowly)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(send, anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1)))
        assert begun.wait(10)
        second = send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1)))
        go_on.set()
    assert (second.status_code, second.json()["type"]) == (409, "/problems/conflict")
    assert first.result().status_code == 201
    assert send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1))).status_code == 201


def test_two_processes_store_a_request_once_and_answer_alike(anywhere, monkeypatch):
    """The second process does not know that the first one works on the same request."""
    monkeypatch.setattr(idempotency._Running, "begin", lambda self, key: True)
    make_study(anywhere, **PSEUDONYMS)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1))), range(8))
        )
    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {201}
    assert revision(anywhere) == 1


def test_requests_with_keys_to_one_study_do_not_lock_each_other_out(anywhere):
    make_study(anywhere, **PSEUDONYMS)

    def post(number):
        path = f"/v1/studies/trial/patients/P{number}/events"
        return send(
            anywhere, "POST", path, json=events(f"P{number}", lab(7, 1)), key={"Idempotency-Key": f'"{number}"'}
        )

    with ThreadPoolExecutor(6) as pool:
        assert [answer.status_code for answer in pool.map(post, range(30))] == [201] * 30


def test_an_answer_5xx_keeps_neither_answer_nor_effect(anywhere, monkeypatch):
    make_study(anywhere, **PSEUDONYMS)
    with monkeypatch.context() as broken:
        broken.setattr("app.api.patients._answer", lambda *_: 1 / 0)
        assert send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1))).status_code == 500
    assert revision(anywhere) == 0
    assert send(anywhere, *WRITES["events"][:2], json=events("P01", lab(7, 1))).status_code == 201


def test_an_answer_is_kept_for_the_time_that_is_set_and_then_deleted(serve, sqlite_url, tmp_path, monkeypatch):
    client = serve(sqlite_url, idempotency_hours=1.0)
    make_study(client)
    first = send(client, *WRITES["events"][:2], json=events("P01", lab(7, 1)))
    rows = sqlite3.connect(tmp_path / "x.db")
    assert rows.execute("SELECT count(*) FROM kept_answers").fetchone() == (1,)
    rows.execute("UPDATE kept_answers SET created_at = created_at - 3600 * 1000000")
    rows.commit()
    again = send(client, *WRITES["events"][:2], json=events("P01", lab(7, 1)))
    assert (first.status_code, again.status_code) == (201, 200)  # the ledger still stores nothing twice
    rows.execute("UPDATE kept_answers SET created_at = created_at - 3600 * 1000000")
    rows.commit()
    send(client, *WRITES["events"][:2], json=events("P01", lab(7, 1)), key={"Idempotency-Key": '"new"'})
    assert rows.execute("SELECT count(*) FROM kept_answers").fetchone() == (1,)
    rows.close()


def test_the_erasure_of_a_person_deletes_the_answers_about_them(anywhere):
    home = fill(anywhere, 1)
    body = events("P00", lab(100, 5))
    assert send(anywhere, "POST", f"{home}/patients/P00/events", json=body).status_code == 200
    assert anywhere.delete(f"{home}/patients/P00?erase=true").status_code == 204
    assert send(anywhere, "POST", f"{home}/patients/P00/events", json=body).status_code == 410


def test_an_erasure_with_a_key_is_done_leaves_no_byte_and_is_answered_again(client, tmp_path):
    home = fill(client, 2)
    assert client.put(f"{home}/patients/REMEMBERME", json=timeline("REMEMBERME")).status_code == 201
    client.get(f"{home}/analyses/response-rates")
    assert any(b"REMEMBERME" in file.read_bytes() for file in tmp_path.glob("x.db*"))
    address = f"{home}/patients/REMEMBERME?erase=true"
    answered = [send(client, "DELETE", address), send(client, "DELETE", address)]
    assert [(each.status_code, each.headers.get("idempotent-replayed")) for each in answered] == [
        (204, None),
        (204, "true"),
    ]
    assert client.get(f"{home}/patients/REMEMBERME").status_code == 410
    assert client.app_state["app_state"].answers.size == 0
    assert all(b"REMEMBERME" not in file.read_bytes() for file in tmp_path.glob("x.db*"))


def test_neither_the_key_nor_the_request_can_be_read_from_the_database(client, tmp_path):
    make_study(client)
    send(client, *WRITES["events"][:2], json=events("P01", lab(7, 1)), key={"Idempotency-Key": '"CANARY-KEY"'})
    assert all(b"CANARY" not in file.read_bytes() for file in tmp_path.glob("x.db*"))


def test_a_key_is_documented_for_every_write_that_takes_one(client):
    paths = client.get("/openapi.json").json()["paths"]
    taking = {
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if any(
            "IdempotencyKey" in str(each) or "Idempotency-Key" in str(each) for each in operation.get("parameters", ())
        )
    }
    assert {f"{method} {url.partition('?')[0]}" for method, url, _ in WRITES.values()} <= {
        name.replace("{study}", "trial").replace("{patient}", "P01") for name in taking
    }


def test_without_a_transaction_nothing_would_be_stored_twice_either(client):
    """The control: the ledger alone keeps data from counting twice, but answers a repetition in another way."""
    make_study(client)
    url, body = WRITES["events"][1], json.dumps(events("P01", lab(7, 1)))
    assert [client.post(url, content=body, headers=JSON).status_code for _ in range(2)] == [201, 200]
    assert revision(client) == 1


def test_a_failed_part_is_a_failed_request(anywhere, monkeypatch):
    """Without a key, a batch is answered with the items that were stored before the database failed."""
    make_study(anywhere, **PSEUDONYMS)
    monkeypatch.setattr(loop, "GROUP", 2)
    submit_each, calls = ledger.submit_each, []

    def fails_once(*arguments, **more):
        calls.append(1)
        if len(calls) == 2:
            raise Busy(cause=Cause.LOCKED)
        return submit_each(*arguments, **more)

    monkeypatch.setattr(ledger, "submit_each", fails_once)
    body = [timeline(f"P{n:02}") for n in range(4)]
    failed = send(anywhere, "POST", "/v1/studies/trial/timelines", json=body)
    assert (failed.status_code, failed.json()["cause"]) == (503, "locked")
    assert revision(anywhere) == 0
    again = send(anywhere, "POST", "/v1/studies/trial/timelines", json=body)
    assert again.json()["counts"] == {"created": 4}


def rows_of(client, operation):
    """The rows of an operation in the audit: its patients, extent, revisions and status."""
    client.app_state["app_state"].trail.close()
    found = client.get("/v1/audit?study=trial&limit=500").json()["items"]
    return [
        (row["patients"], row["extent"], row["revisions"], row["status"])
        for row in found
        if row["operation"] == operation
    ]


@pytest.mark.parametrize(("write", "operation"), [("batch", "postTimelines"), ("fhir transaction", "fhirTransaction")])
def test_an_answer_that_is_sent_again_has_a_row_with_the_patients_of_the_first(anywhere, write, operation):
    make_study(anywhere, **PSEUDONYMS)
    method, url, more = WRITES[write]
    first = send(anywhere, method, url, **more)
    [(patients, _, revisions, _)] = rows_of(anywhere, operation)
    assert (len(patients) > 0, len(revisions) > 0) == (True, True)
    send(anywhere, method, url, **more)
    again = (patients, "patients", [], first.status_code)
    assert rows_of(anywhere, operation)[1:] == [again]


def test_a_kept_answer_that_shows_what_stands_names_its_patient_also_when_it_is_sent_again(anywhere):
    make_study(anywhere, **PSEUDONYMS)
    anywhere.post("/fhir/trial", **fhir(bundle(entry(patient()), entry(ck()))))
    found = anywhere.get("/fhir/trial/Observation").json()["entry"][0]["resource"]
    address = ("PUT", f"/fhir/trial/Observation/{found['id']}")
    send(anywhere, *address, **fhir(found))
    assert "Idempotent-Replayed" in send(anywhere, *address, **fhir(found)).headers
    first, second = rows_of(anywhere, "fhirUpdateObservation")
    assert (first, len(first[0])) == (second, 1)


def test_a_kept_answer_is_not_sent_again_without_its_row(anywhere, monkeypatch):
    make_study(anywhere, **PSEUDONYMS)
    method, url, more = WRITES["events"]
    assert send(anywhere, method, url, **more).status_code in {200, 201}
    with monkeypatch.context() as full:
        full.setattr(AuditJournal, "append", lambda *_: 1 / 0)
        refused = send(anywhere, method, url, **more)
        assert (refused.status_code, "P01" in refused.text) == (503, False)
    assert "Idempotent-Replayed" in send(anywhere, method, url, **more).headers


def test_a_kept_answer_of_nobody_is_sent_again_with_a_row_of_nobody(anywhere):
    make_study(anywhere, **PSEUDONYMS)
    anywhere.put("/v1/studies/trial/patients/P01", json=timeline("P01"))
    erasing = ("DELETE", "/v1/studies/trial/patients/P01?erase=true")
    assert [send(anywhere, *erasing).status_code for _ in range(2)] == [204, 204]
    assert [row[:2] for row in rows_of(anywhere, "erasePatient")] == [([], "nothing"), ([], "nothing")]
