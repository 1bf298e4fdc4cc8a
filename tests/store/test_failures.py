"""Why a database cannot serve: the cause in the refusal, in the log, in the count and in readiness."""

import shutil
import sqlite3
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app.errors import Busy, Cause, ServiceError, Unavailable
from app.store import migrations
from app.store.engine import Database
from app.store.failures import RETRY_HELPS, DatabaseFailure, Failures, refusal_of
from tests.postgres import bundled_binaries, running_server
from tests.store.posts import begin_study, post, timeline
from tests.tables import with_tables

READ_ONLY = "default_transaction_read_only"


def failed(database: Database, statement: str) -> ServiceError:
    """The refusal of a statement."""
    with pytest.raises(ServiceError) as refusal, database.writing() as connection:
        connection.exec_driver_sql(statement)
    return refusal.value


@pytest.fixture
def sqlite(tmp_path) -> Database:
    url = with_tables(f"sqlite:///{tmp_path / 'ledger.db'}")
    database = Database(url)
    begin_study(database, "trial")
    yield database
    database.dispose()


@pytest.mark.parametrize("cause", Cause)
def test_a_refusal_promises_that_a_retry_helps_only_where_the_cause_ends_by_itself(cause):
    refusal = refusal_of(DatabaseFailure("why", cause))
    assert refusal.cause is cause
    assert refusal.status == 503
    assert isinstance(refusal, Unavailable) == (cause not in RETRY_HELPS)


def test_a_file_that_can_only_be_read_is_named_and_read(sqlite, tmp_path):
    post(sqlite, "trial", timeline("P1"))
    database = Database(f"sqlite:///file:{tmp_path / 'ledger.db'}?mode=ro&uri=true")
    assert failed(database, "DELETE FROM patients").cause is Cause.READ_ONLY
    assert database.objection().cause is Cause.READ_ONLY
    with database.reading() as connection:
        assert connection.execute(text("SELECT id FROM patients")).scalar_one() == "P1"
    database.dispose()


def test_a_damaged_file_is_named(sqlite, tmp_path):
    copy = shutil.copy(tmp_path / "ledger.db", tmp_path / "damaged.db")
    Path(copy).write_bytes(b"SQLite format 3\0" + b"\xff" * 8_000)
    database = Database(f"sqlite:///{copy}")
    assert database.objection().cause is Cause.DAMAGED
    database.dispose()


def test_tables_of_another_version_are_named_by_requests_and_by_readiness(database_url):
    database = Database(database_url)
    if database_url.startswith("sqlite"):  # the server of the tests has another objection
        assert database.objection().cause is Cause.NO_TABLES
    assert failed(database, "SELECT id FROM studies").cause is Cause.NO_TABLES
    migrations.upgrade(database_url)
    assert failed(database, "SELECT no_such_column FROM studies").cause is Cause.NO_TABLES
    database.dispose()


def test_a_lock_is_an_objection_after_a_request_would_have_been_refused_and_until_it_is_free(sqlite, tmp_path):
    sqlite._wait = 0.1
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert sqlite.objection() is None
    assert sqlite.objection().cause is Cause.LOCKED
    holder.close()
    assert sqlite.objection() is None


def test_writers_that_go_on_one_after_the_other_are_no_lock(sqlite, tmp_path):
    """The test of readiness may come too late for the lock again and again, while each writer gets it in time."""
    sqlite._wait = 0.1
    for _ in range(3):
        post(sqlite, "trial", timeline("P1"))
        holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        sqlite.failures.written_at = time.monotonic() + 60  # a commit while the test waits, however long it does
        assert sqlite.objection() is None
        holder.close()


def test_readiness_leaves_nothing_but_the_wait_of_requests_as_it_was(sqlite):
    with sqlite.reading() as connection:
        before = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    for _ in range(3):
        assert sqlite.objection() is None
    with sqlite.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA user_version").scalar_one() == before
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 5000


def test_readiness_writes(sqlite, tmp_path):
    log = tmp_path / "ledger.db-wal"
    before = log.stat().st_size
    assert sqlite.objection() is None
    assert log.stat().st_size > before


def test_a_cause_is_logged_once_and_counted_each_time(sqlite, caplog):
    for _ in range(3):
        failed(sqlite, "SELECT 'CANARY' FROM no_such_table")
    assert sqlite.failures.counts == {Cause.NO_TABLES: 3}
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("event=database cause=no_tables count=1 ")
    assert "CANARY" not in line


def test_a_lasting_failure_is_remembered_until_something_was_written_or_some_seconds_have_passed(sqlite, monkeypatch):
    full = DatabaseFailure("its disk is full", Cause.DISK_FULL)
    sqlite.failures.note(full)
    assert sqlite.objection() is full
    post(sqlite, "trial", timeline("P1"))
    assert sqlite.objection() is None
    sqlite.failures.note(full)
    monkeypatch.setattr(Failures, "REMEMBERED_SECONDS", 0.0)
    assert sqlite.objection() is None


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("53100", Cause.DISK_FULL),
        ("58030", Cause.IO_ERROR),
        ("25006", Cause.READ_ONLY),
        ("0A000", Cause.READ_ONLY),
        ("40001", Cause.LOCKED),
        ("40P01", Cause.LOCKED),
        ("55P03", Cause.LOCKED),
        ("55006", Cause.LOCKED),
        ("53300", Cause.TOO_MANY_CONNECTIONS),
        ("53200", Cause.TOO_MANY_CONNECTIONS),
        ("57P01", Cause.RESTARTING),
        ("57P03", Cause.RESTARTING),
        ("08006", Cause.UNREACHABLE),
        ("XX001", Cause.DAMAGED),
        ("22012", None),
        ("XX000", None),
    ],
)
def test_a_state_of_postgresql_has_the_cause_of_its_class(postgres_url, state, cause):
    database = Database(postgres_url)
    refusal = failed(database, f"DO $$ BEGIN RAISE EXCEPTION 'CANARY' USING ERRCODE = '{state}'; END $$")
    assert getattr(refusal, "cause", None) is cause
    assert isinstance(refusal, Busy) == (cause is not None)
    assert "CANARY" not in f"{refusal} {refusal.__cause__}"
    database.dispose()


@pytest.mark.postgresql
def test_a_server_that_became_read_only_is_named_and_used_again_when_it_is_not(migrated_postgres_url):
    name = make_url(migrated_postgres_url).database
    plain = create_engine(migrated_postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def only_read(state: str) -> None:
        with plain.connect() as connection:
            connection.execute(text(f"SET {READ_ONLY} = off"))
            connection.execute(text(f"ALTER DATABASE {name} SET {READ_ONLY} = {state}"))

    only_read("on")
    database = Database(migrated_postgres_url)
    assert failed(database, "DELETE FROM patients").cause is Cause.READ_ONLY
    assert database.objection().cause is Cause.READ_ONLY
    only_read("off")
    begin_study(database, "trial")
    assert database.objection().cause is Cause.UNSAFE_SETTINGS  # as the server of the tests is
    database.dispose()


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("options", "unsafe"),
    [
        ("", None),
        ("-c fsync=off", "fsync"),
        ("-c full_page_writes=off", "full_page_writes"),
        ("-c fsync=off -c full_page_writes=off", "fsync and full_page_writes"),
        ("-c synchronous_commit=off", None),  # each connection of ours sets it
    ],
)
def test_a_server_that_may_lose_what_it_confirmed_is_not_ready(options, unsafe):
    binaries = bundled_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL of our own")
    with running_server(binaries, f"-c listen_addresses='' -c port=5432 {options}") as url:
        with_tables(url)
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE ROLE plain LOGIN IN ROLE pg_read_all_data, pg_write_all_data")
        database = Database(make_url(url).set(username="plain").render_as_string())
        found = database.objection()
        database.dispose()
    if unsafe is None:
        assert found is None
    else:
        assert (found.cause, str(found)) == (Cause.UNSAFE_SETTINGS, f"its server runs with {unsafe} off")
