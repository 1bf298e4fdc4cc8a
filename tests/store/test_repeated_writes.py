"""Writes that PostgreSQL undoes, because two transactions wait for each other or could not run one after the other."""

import threading
import time

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.main import create_app
from app.settings import Settings
from app.store.engine import REPEAT_SECONDS, Database
from app.submission.loop import Submitter
from tests.api.examples import events, lab, make_study

pytestmark = pytest.mark.postgresql
REFUSE = """
    CREATE SEQUENCE tries;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('tries') <= {times} THEN RAISE EXCEPTION USING ERRCODE = '{state}'; END IF; RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON lab_results FOR EACH STATEMENT EXECUTE FUNCTION refuse()
"""
EVENTS = "/v1/studies/trial/patients/P1/events"


@pytest.fixture
def client(migrated_postgres_url, tmp_path):
    settings = Settings(
        database_url=migrated_postgres_url, secret_file=tmp_path / "secret", heads_file=tmp_path / "heads"
    )
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        make_study(client)
        yield client


@pytest.fixture
def other(client, migrated_postgres_url):
    """Another program that uses the database."""
    database = Database(migrated_postgres_url)
    yield database
    database.dispose()


def refusing(other, times, state="40001"):
    with other.writing() as connection:
        connection.exec_driver_sql(REFUSE.format(times=times, state=state))


def tries(other):
    with other.reading() as connection:
        return connection.execute(text("SELECT last_value FROM tries")).scalar_one()


def stored(other):
    """How many patients and results there are."""
    counts = "SELECT (SELECT count(*) FROM patients), (SELECT count(*) FROM lab_results)"
    with other.reading() as connection:
        return tuple(connection.execute(text(counts)).one())


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_write_that_was_undone_is_run_again_and_stored_once(client, other, state):
    refusing(other, len(REPEAT_SECONDS), state)
    answer = client.post(EVENTS, json=events("P1", lab(7, 500)))
    assert (answer.status_code, tries(other), stored(other)) == (201, len(REPEAT_SECONDS) + 1, (1, 1))


def test_a_write_that_is_undone_again_and_again_is_refused_and_may_be_sent_again(client, other):
    refusing(other, 1_000)
    answer = client.post(EVENTS, json=events("P1", lab(7, 500)))
    assert (answer.status_code, answer.json()["cause"], answer.headers["retry-after"]) == (503, "locked", "1")
    assert (tries(other), stored(other)) == (len(REPEAT_SECONDS) + 1, (0, 0))


def test_a_write_with_a_key_is_not_run_again_and_nothing_of_it_is_kept(client, other):
    refusing(other, 1)
    key = {"Idempotency-Key": '"one"'}
    assert client.post(EVENTS, json=events("P1", lab(7, 500)), headers=key).status_code == 503
    assert (tries(other), stored(other)) == (1, (0, 0))
    assert client.post(EVENTS, json=events("P1", lab(7, 500)), headers=key).status_code == 201
    assert (tries(other), stored(other)) == (2, (1, 1))


def test_another_failure_is_not_repeated(client, other):
    refusing(other, 1, "55P03")
    assert client.post(EVENTS, json=events("P1", lab(7, 500))).status_code == 503
    assert tries(other) == 1


def test_of_two_transactions_that_wait_for_each_other_the_one_of_the_service_is_run_again(client, other):
    """The other one has locked the results and then asks for the study, which the service has locked."""
    answers = []
    posting = threading.Thread(target=lambda: answers.append(client.post(EVENTS, json=events("P1", lab(7, 500)))))
    with other.writing() as connection:
        connection.exec_driver_sql("SET LOCAL deadlock_timeout = '60s'")  # the service finds out first
        connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
        connection.exec_driver_sql("LOCK TABLE lab_results IN SHARE MODE")
        posting.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while not connection.exec_driver_sql(waiting).scalar_one():  # a transaction sees one state of the activity
            connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
            time.sleep(0.01)
        connection.exec_driver_sql("SELECT * FROM studies FOR UPDATE")
    posting.join()
    assert [answer.status_code for answer in answers] == [201]
    assert client.app_state["app_state"].database.failures.counts["locked"] == 1
    assert stored(other) == (1, 1)


def test_work_that_is_run_again_begins_anew(other):
    seen = []

    def work(connection):
        seen.append(connection.execute(text("SELECT max(created_at) FROM studies")).scalar_one())
        connection.execute(text("UPDATE studies SET created_at = created_at + 1"))
        if len(seen) < 3:
            connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")
        return connection.execute(text("SELECT max(created_at) FROM studies")).scalar_one()

    assert Submitter(other, "trial", "study", 0).commit(work) == seen[0] + 1
    assert seen == [seen[0]] * 3
