"""The audit: each read and write has its row, nothing of an erased person is left in it, and no row can be changed."""

import errno
import fcntl
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from app.errors import ServiceError
from app.hl7v2 import submit
from app.hl7v2.message_handler import MessageHandler
from app.http.audit import NOT_AUDITED
from app.http.rooms import every_route
from app.main import create_app
from app.settings import Settings
from app.store import audit
from app.store.audit import Access, AuditEntry, Who, acting
from app.store.audit_journal import AuditJournal, move_left_behind
from app.store.audit_trail import AuditTrail
from app.submission.dead_letters import DeadLetters
from app.timeline.times import microseconds
from tests.api.examples import fill, timeline
from tests.api.fhir_bodies import FHIR, bundle, entry, patient
from tests.hl7v2.conftest import KEYS
from tests.hl7v2.hl7v2_messages import obx, oru
from tests.timeline.documents import NOW
from tests.trust import tampering
from tests.trust.opened import migrated, opened

HOME = "/v1/studies/trial"


@pytest.fixture
def trial(anywhere):
    """A client with a study of three patients."""
    client = anywhere
    declared = {"name": "Trial", "protocol": "seed-2008", "identifiers": "pseudonyms"}
    assert client.put(HOME, json=declared).status_code == 201
    for name in ("P1", "P2", "P3"):
        assert client.put(f"{HOME}/patients/{name}", json=timeline(name, ck=900)).status_code == 201
    return client


def rows(client, **asked):
    """The rows of the study, after those that no answer waits for, but for those of this reading."""
    client.app_state["app_state"].trail.close()
    found, address = [], "/v1/audit"
    asked = {"study": "trial", "limit": 500} | asked
    answer = client.get(address, params={name: value for name, value in asked.items() if value is not None})
    assert answer.status_code == 200, answer.text
    found += [row for row in answer.json()["items"] if row["operation"] != "listAudit"]
    return found


def last(client, count=1):
    """The operation, extent, patients and status of the last rows."""
    return [(row["operation"], row["extent"], row["patients"], row["status"]) for row in rows(client)[-count:]]


@pytest.mark.parametrize(
    ("address", "row"),
    [
        (f"{HOME}/patients/P1", ("getTimeline", "patients", ["P1"], 200)),
        (f"{HOME}/patients/P1/history", ("listHistory", "patients", ["P1"], 200)),
        (f"{HOME}/patients?limit=2", ("listPatients", "patients", ["P1", "P2"], 200)),
        (f"{HOME}/patients?sex=male", ("listPatients", "nothing", [], 200)),
        (f"{HOME}/set-aside", ("listSetAside", "nothing", [], 200)),
        (f"{HOME}/analyses/response-rates", ("getResponseRates", "figures", [], 200)),
        (f"{HOME}/analyses/response-rates?patients=true", ("getResponseRates", "everyone", [], 200)),
        (f"{HOME}/analyses/response-rates?patients=true&patient=P2", ("getResponseRates", "patients", ["P2"], 200)),
        (f"{HOME}/analyses/response-rates?patients=true&patient=P9", ("getResponseRates", "nothing", [], 404)),
        (f"{HOME}/analyses/what-is-missing", ("getWhatIsMissing", "everyone", [], 200)),
        (f"{HOME}/datasets/adsl.csv", ("getDataset", "everyone", [], 200)),
        (f"{HOME}/datasets/ard.csv", ("getDataset", "figures", [], 200)),
        ("/fhir/trial/Patient/P2", ("fhirReadPatient", "patients", ["P2"], 200)),
        ("/fhir/trial/Patient/P2/_history", ("fhirHistoryOfPatient", "patients", ["P2"], 200)),
        ("/fhir/trial/Observation?_count=1", ("fhirSearchObservation", "patients", ["P1"], 200)),
        ("/fhir/trial/MeasureReport/response-rates", ("fhirReadMeasureReport", "figures", [], 200)),
        (f"{HOME}/patients/P9", ("getTimeline", "nothing", [], 404)),
    ],
)
def test_each_read_of_patients_data_has_a_row(trial, address, row):
    assert trial.get(address).status_code == row[-1]
    assert last(trial) == [row]


def test_each_write_has_one_row_with_its_revision_and_its_patients(trial):
    trial.post(f"{HOME}/patients/P1/events", json=timeline("P1", ck=901))
    trial.post("/fhir/trial", json=bundle(entry(patient("P7"))), headers=FHIR)
    trial.post(f"{HOME}/patients/P1/events", json=timeline("P1", ck=901))
    found = [(row["operation"], row["door"], row["revisions"], row["patients"], row["status"]) for row in rows(trial)]
    assert found[-3][:4] == ("postEvents", "http", [4], ["P1"])
    assert (found[-2][:3], len(found[-2][3])) == (("fhirTransaction", "fhir", [5]), 1)
    assert found[-1] == ("postEvents", "http", [], [], 200)


@pytest.mark.parametrize("query", ["", "?rehearse=true"])
def test_a_resource_that_is_shown_and_not_changed_has_a_row_of_its_patient(trial, query, monkeypatch):
    found = trial.get("/fhir/trial/Observation?subject=P2&_count=1").json()["entry"][0]["resource"]
    address = f"/fhir/trial/Observation/{found['id']}{query}"
    shown = trial.put(address, json=found, headers=FHIR)
    assert (shown.status_code, shown.json()["valueQuantity"]) == (200, found["valueQuantity"])
    assert last(trial) == [("fhirUpdateObservation", "patients", ["P2"], 200)]
    sent = bundle(entry(found, "PUT", f"Observation/{found['id']}"), entry(patient("P8")), type="batch")
    asked = FHIR | {"Prefer": "return=representation"}
    assert "valueQuantity" in trial.post(f"/fhir/trial{query}", json=sent, headers=asked).text
    assert ("fhirTransaction", "patients", ["P2"], 200) in last(trial, 2)
    monkeypatch.setattr(AuditJournal, "append", lambda *_: 1 / 0)
    refused = trial.put(address, json=found, headers=FHIR)
    assert (refused.status_code, "valueQuantity" in refused.text) == (503, False)


def test_a_comparison_has_a_row_with_its_own_revision_in_each_study(trial):
    other = fill(trial, 1, "other").rpartition("/")[2]
    assert trial.get(f"{HOME}/comparisons/{other}").status_code == 200
    assert [rows(trial, study=name)[-1]["revisions"] for name in ("trial", other)] == [[3], [1]]


def test_rows_are_found_by_patient_and_by_time_and_come_in_pages(trial):
    for name in ("P1", "P2", "P1"):
        trial.get(f"{HOME}/patients/{name}")
    mine = rows(trial, patient="P1")
    assert [row["operation"] for row in mine] == ["putTimeline", "getTimeline", "getTimeline"]
    assert rows(trial, patient="P9") == rows(trial, study="nobody") == []
    assert [row["row"] for row in rows(trial, since=mine[1]["at"])] == [4, 5, 6]
    assert [row["row"] for row in rows(trial, until=mine[1]["at"])] == [0, 1, 2, 3, 4]
    first = trial.get("/v1/audit", params={"study": "trial", "limit": 4}).json()
    second = trial.get(first["next"]).json()
    assert [row["row"] for page in (first, second) for row in page["items"]] == list(range(8))
    assert trial.get("/v1/audit?patient=P1").status_code == 422
    assert trial.get("/v1/audit?since=2026-01-01").status_code == 422


def test_nothing_in_the_audit_leads_to_an_erased_person(trial):
    trial.get(f"{HOME}/patients/P2")
    trial.get(f"{HOME}/patients")
    number = next(audit_numbers(trial, "P2"))
    assert trial.delete(f"{HOME}/patients/P2?erase=true").status_code == 204
    found = rows(trial)
    assert [(row["operation"], row["patients"], row["erased"]) for row in found[4:]] == [
        ("getTimeline", [], 1),
        ("listPatients", ["P1", "P3"], 1),
        ("erasePatient", [], 0),
    ]
    assert rows(trial, patient="P2") == []
    trial.put(f"{HOME}/patients/P2?readmit=true", json=timeline("P2", ck=77))
    assert number != next(audit_numbers(trial, "P2"))
    assert [row["operation"] for row in rows(trial, patient="P2")] == ["putTimeline"]


def audit_numbers(client, name):
    database = client.app_state["app_state"].database
    with database.reading() as connection:
        yield from audit._numbers(connection, 1, [name])


def test_a_flood_of_refusals_has_a_row_and_a_count(trial):
    for number in range(300):
        assert trial.get(f"{HOME}/patients/N{number}").status_code == 404
    found = [(row["operation"], row["status"], row["count"]) for row in rows(trial)[4:]]
    assert found == [("getTimeline", 404, 1), ("getTimeline", 404, 299)]
    assert trial.get("/v1/studies", headers={"Host": "elsewhere.example"}).status_code == 403
    newest = rows(trial, study=None)[-1]
    assert (newest["study"], newest["status"]) == (None, 403)


def test_the_end_waits_for_rows_that_only_then_begin_to_be_moved(trial, monkeypatch):
    """The thread that writes rows begins the thread that moves them."""
    slow = {name: getattr(AuditTrail, name) for name in ("_write", "_store")}
    for name, work in slow.items():
        monkeypatch.setattr(AuditTrail, name, lambda *given, work=work: (time.sleep(0.3), work(*given))[1])
    before = len(rows(trial))
    assert trial.get(f"{HOME}/patients/nobody").status_code == 404
    assert len(rows(trial)) == before + 1


def test_what_cannot_be_audited_is_not_shown_but_figures_are(sqlite_url, serve, monkeypatch):
    client = serve(sqlite_url)
    client.put(HOME, json={"name": "Trial", "protocol": "seed-2008"})
    client.put(f"{HOME}/patients/P1", json=timeline("P1", ck=900))
    client.get(f"{HOME}/analyses/response-rates")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(AuditJournal, "append", full)
    for address in (f"{HOME}/patients/P1", f"{HOME}/patients", f"{HOME}/datasets/adsl.csv", "/fhir/trial/Patient/P1"):
        refused = client.get(address)
        assert refused.status_code == 503
        assert "P1" not in refused.text
    assert client.get(f"{HOME}/analyses/response-rates").status_code == 200
    assert client.get(HOME).status_code == 200


def test_a_read_does_not_wait_while_another_process_writes_and_its_row_follows(sqlite_url, serve):
    client = serve(sqlite_url)
    client.put(HOME, json={"name": "Trial", "protocol": "seed-2008"})
    client.put(f"{HOME}/patients/P1", json=timeline("P1", ck=900))
    client.get(f"{HOME}/patients/P1")
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert client.get(f"{HOME}/patients/P1").status_code == 200
        assert time.monotonic() - began < 2
        assert [row["operation"] for row in client.get("/v1/audit?study=trial").json()["items"]].count(
            "getTimeline"
        ) < 2
        other.execute("COMMIT")
    assert [row["operation"] for row in rows(client)].count("getTimeline") == 2


def test_rows_of_a_process_that_was_killed_are_moved_once_at_the_next_start(tmp_path):
    url = migrated(tmp_path)
    entries = [AuditEntry(Who("x", "http"), 7, None, 200, "nothing") for _ in range(2)]
    entries += [AuditEntry(Who("x", "http", "key:1"), at, None, 200, "nothing") for at in (8, 9)]
    with opened(url) as database:
        with database.reading() as connection:
            lines = audit.lines_of(connection, entries)
        journal = AuditJournal(database.heads.path, database.keys.heads)
        journal.append(lines)
        with journal.path.open("ab") as file:
            file.write(b'[null,10,"half')
        with database.writing() as connection:
            audit.store_lines(connection, lines[:3])  # it was killed before the journal was emptied
        with opened(url) as another, another.reading() as connection:
            assert audit.verify(connection)[0] == 3  # the file belongs to a process that is running
        os.close(journal._file)
    with opened(url) as database, database.reading() as connection:
        assert audit.verify(connection) == (4, [])
        assert sorted(connection.execute(text("SELECT at FROM audit")).scalars()) == [7, 7, 8, 9]
    assert sorted(each.name for each in tmp_path.iterdir() if "reads" in each.name) == []


def test_a_journal_that_another_start_took_for_one_that_was_left_behind_is_begun_again(tmp_path, monkeypatch):
    with opened(migrated(tmp_path)) as database:
        heads, key, lock, started = database.heads.path, database.keys.heads, fcntl.flock, []

        def later(file, how):
            if not started:
                started.append(1)
                move_left_behind(database, heads, key)
            lock(file, how)

        monkeypatch.setattr(fcntl, "flock", later)
        journal = AuditJournal(heads, key)
        assert journal.path.exists()
        journal.close()
        assert started == [1]


def test_a_journal_that_another_start_has_moved_meanwhile_is_no_error(tmp_path, monkeypatch):
    with opened(migrated(tmp_path)) as database:
        heads = database.heads.path
        monkeypatch.setattr(Path, "glob", lambda *_: [heads.with_name(f"{heads.name}.reads-0")])
        move_left_behind(database, heads, database.keys.heads)


def test_the_database_refuses_to_change_or_delete_a_row(trial):
    database = trial.app_state["app_state"].database
    statements = ["UPDATE audit SET caller = 'nobody'", "DELETE FROM audit"]
    if not database._sqlite:
        statements.append("TRUNCATE audit")
    for statement in statements:
        with pytest.raises((DatabaseError, ServiceError)), database.writing() as connection:
            connection.execute(text(statement))
    assert len(rows(trial)) == 4


def test_what_has_no_row_is_an_operation_and_none_on_a_patient():
    operations = {
        route.operation_id or route.name: route
        for route in (context.original_route for context in every_route(create_app(Settings.model_construct())))
        if isinstance(route, APIRoute)
    }
    assert set(operations) >= NOT_AUDITED
    assert all("patient" not in operations[name].path for name in NOT_AUDITED)
    assert len(operations) > 100


def test_a_task_that_another_thread_commits_keeps_its_caller(tmp_path):
    with opened(migrated(tmp_path)) as database:
        ready = threading.Barrier(6)

        def act(number: int) -> None:
            ready.wait()
            who = Who("x", "http", f"key:{number}")
            with acting(Access(lambda: who)):
                database.together(work(number))

        def work(number: int):
            def store(connection):
                audit.store(connection, [AuditEntry(Who("x", "http", audit.caller()), number, None, 200, "nothing")])

            return store

        threads = [threading.Thread(target=act, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.reading() as connection:
            found = connection.execute(text("SELECT at, caller FROM audit")).all()
    assert sorted(found) == [(number, f"key:{number}") for number in range(6)]


def test_rows_of_reads_are_safe_before_a_writer_lets_them_into_the_database(tmp_path):
    with opened(migrated(tmp_path)) as database:
        trail = AuditTrail(database)
        with database.writing():  # a writer has the lock
            waiting = [trail.add(AuditEntry(Who("x", "http"), number, None, 200, "nothing")) for number in range(50)]
            for done in waiting:
                done.result(timeout=30)
            with database.reading() as connection:
                assert audit.verify(connection) == (0, [])
        trail.close()
        with database.reading() as connection:
            assert audit.verify(connection) == (50, [])


def test_no_tampering_is_missed():
    figures = {figure.what: figure.value for figure in tampering.run(full=False)}
    assert figures["of these, missed"] == "0"


def test_the_import_the_demonstration_and_the_export_have_rows(tmp_path: Path):
    from typer.testing import CliRunner

    from app.__main__ import cli

    url = migrated(tmp_path)
    environment = {"MYORESPONSE_DATABASE_URL": url}
    assert CliRunner().invoke(cli, ["demo"], env=environment).exit_code == 0
    assert (
        CliRunner()
        .invoke(cli, ["export", "--study", "demo", "--output", str(tmp_path / "x")], env=environment)
        .exit_code
        == 0
    )
    assert CliRunner().invoke(cli, ["import", "--study", "demo", str(tmp_path / "x")], env=environment).exit_code == 0
    with sqlite3.connect(tmp_path / "x.db") as raw:
        found = raw.execute("SELECT operation, caller, door, extent, first_revision, revision FROM audit").fetchall()
        clients = {client for (client,) in raw.execute("SELECT DISTINCT client FROM revisions")}
    assert found[0] == ("demo", "command", "command", "nothing", 0, 0)
    assert found[1][:4] == ("demo", "command", "command", "patients")
    assert ("export", "command", "command", "everyone", None, 16) in found
    assert clients == {"command"}


def test_a_message_over_mllp_has_a_row_with_its_sender(trial, tmp_path):
    database = trial.app_state["app_state"].database

    def store(message: bytes, client: str) -> submit.Reply:
        return submit.store_message(database, "trial", message, secret=None, now=microseconds(NOW), client=client)

    letters = DeadLetters(tmp_path / "letters", KEYS)
    letters.prepare()
    trail = trial.app_state["app_state"].trail
    handler = MessageHandler("trial", store, letters, trail.answered)
    before = len(rows(trial))
    [answer] = handler.answers(oru(obx()), "10.0.0.9", "mllp:ward")
    assert b"MSA|AA" in answer
    [again] = handler.answers(oru(obx()), "10.0.0.9", "mllp:ward")
    assert b"MSA|AA" in again
    for message in (oru(obx(f6="nonsense")), b"MSH|nonsense", oru(obx(f6="nonsense"))):
        [refused] = handler.answers(message, "10.0.0.9", "mllp:ward")
        assert b"MSA|AA" not in refused
    stored, repeated, *faulty = rows(trial)[before:]
    for row in (stored, repeated, *faulty):
        assert (row["door"], row["caller"], row["address"]) == ("mllp", "mllp:ward", "10.0.0.9")
        assert "nonsense" not in str(row)
    assert (stored["revisions"], len(stored["patients"]), stored["status"]) == ([4], 1, None)
    assert (repeated["revisions"], repeated["patients"], repeated["status"]) == ([], [], 200)
    shown = [(row["status"], row["extent"], row["count"]) for row in faulty]
    assert shown == [(422, "nothing", 1), (422, "nothing", 2)]
