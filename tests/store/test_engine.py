"""What the database promises: one snapshot for a reader, COMMIT before the answer, no value in an error."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import NullPool

from app.errors import Busy, Cause, NotFound, ServiceError, Unavailable
from app.store import migrations
from app.store.engine import Database
from app.store.ledger import submit
from tests.store.posts import begin_study, ck, columns, history, now, post, revisions, timeline, values
from tests.tables import with_tables

ROOT = Path(__file__).parents[2]


def counted(connection, study):
    found = connection.execute(
        text("SELECT count(*) FROM revisions r JOIN studies s ON s.key = r.study WHERE s.id = :study"), {"study": study}
    )
    return found.scalar_one()


def test_a_reader_sees_one_state_while_others_write(database, study):
    with database.reading() as connection:
        before = counted(connection, study)
        post(database, study, timeline("P1", ck()))
        assert counted(connection, study) == before
    with database.reading() as connection:
        assert counted(connection, study) == before + 1


def test_without_our_hooks_a_reader_sees_two_states_in_one_transaction(database, study):
    """The control: the test above can fail."""
    plain = create_engine(database.engine.url, poolclass=NullPool)
    with plain.begin() as connection:
        before = counted(connection, study)
        post(database, study, timeline("P1", ck()))
        assert counted(connection, study) == before + 1


def test_analyses_read_whole_revisions_while_writers_write(database, study):
    """Each revision gives one result to both patients; no reader may see one without the other."""
    done = threading.Event()
    refused = []

    def write(which):
        for n in range(25):
            pair = [timeline(patient, ck(f"{which}-{n}", value=n + 1)) for patient in ("A", "B")]
            try:
                post(database, study, *pair)
            except ServiceError as refusal:
                refused.append(refusal)

    writers = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for writer in writers:
        writer.start()
    halves = []

    def read():
        while not done.is_set():
            labs = columns(database, study, 10**9).labs
            halves.append((labs.value[labs.patient == 0].tolist(), labs.value[labs.patient == 1].tolist()))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for writer in writers:
        writer.join()
    done.set()
    for reader in readers:
        reader.join()
    assert refused == []
    assert len(halves) > 1
    assert all(a == b for a, b in halves)
    assert len(values(database, study, "A")) == 50


def test_concurrent_writers_lose_nothing_and_number_without_gaps(database, study):
    """Eight threads post, retry each post at once, and read; every revision is counted once."""
    refused = []

    def write(which):
        for n in range(12):
            written = timeline(f"P{n % 3}", ck(f"{which}-{n}"))
            try:
                assert post(database, study, written).status in {"created", "changed"}
                assert post(database, study, written).status == "unchanged"
            except (ServiceError, AssertionError) as refusal:
                refused.append(repr(refusal))

    threads = [threading.Thread(target=write, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == []
    assert [one.number for one in revisions(database, study)] == list(range(8 * 12 + 1))
    assert sum(len(values(database, study, f"P{n}")) for n in range(3)) == 8 * 12


def test_writers_of_several_processes_wait_for_each_other(tmp_path):
    file = tmp_path / "ledger.db"
    url = with_tables(f"sqlite:///{file}")
    mine, theirs = Database(url), Database(url)
    study = begin_study(mine, "trial")
    threads = [
        threading.Thread(target=lambda d=database, w=which: [post(d, study, timeline(f"P{w}-{n}")) for n in range(20)])
        for which, database in enumerate((mine, theirs))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.number for one in revisions(mine, study)] == list(range(41))
    for database in (mine, theirs):
        database.dispose()


def test_work_that_waits_at_the_same_time_shares_a_commit_and_keeps_its_own_outcome(database, study):
    commits = []

    @event.listens_for(database.engine, "commit")
    def committed(connection):
        commits.append(1)

    revision_of, refused = {}, []

    def ask(which):
        for n in range(10):
            name = f"{which}-{n}"
            written = history(timeline(f"P{n}", ck(name)))
            elsewhere = "nowhere" if which == 3 else study

            def work(connection, written=written, name=elsewhere):
                return submit(connection, name, [written], format="native", client=None, received_at=now())

            try:
                revision_of[name] = database.together(work).revision
            except NotFound:
                refused.append(which)

    threads = [threading.Thread(target=ask, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    event.remove(database.engine, "commit", committed)
    assert refused == [3] * 10
    assert sorted(revision_of.values()) == list(range(1, 71))
    assert len(revisions(database, study)) == 71
    if database.engine.dialect.name == "sqlite":
        assert len(commits) < 70


def test_a_fault_in_one_piece_of_work_does_not_undo_the_work_of_the_others(tmp_path):
    url = with_tables(f"sqlite:///{tmp_path / 'ledger.db'}")
    database = Database(url)
    begin_study(database, "trial")
    outcomes = {}

    def ask(name, fault):
        def work(connection):
            done = submit(
                connection, "trial", [history(timeline(name, ck()))], format="native", client=None, received_at=now()
            )
            if fault:
                raise fault
            return done

        try:
            outcomes[name] = database.together(work).outcomes[0].status
        except (ZeroDivisionError, Busy) as error:
            outcomes[name] = type(error)

    asked = [("P1", None), ("P2", ZeroDivisionError()), ("P3", None)]
    threads = [threading.Thread(target=ask, args=one) for one in asked]
    with database.writing():  # so that they have to wait for each other
        for thread in threads:
            thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert outcomes == {"P1": "created", "P2": ZeroDivisionError, "P3": "created"}
    assert [one.id for one in columns(database, "trial", 9).patients] == ["P1", "P3"]
    database.dispose()


def test_work_that_waits_too_long_is_taken_back(tmp_path):
    url = with_tables(f"sqlite:///{tmp_path / 'ledger.db'}")
    database = Database(url, wait_seconds=0.1)
    begin_study(database, "trial")
    done = []
    with database.writing(), pytest.raises(Busy):
        database.together(done.append)
    database.together(lambda connection: None)
    assert done == []
    database.dispose()


CHILD = """
import itertools, sys
from app.store.engine import Database
from app.store.ledger import submit
from tests.store.posts import ck, post, timeline
database = Database(sys.argv[1])
for n in itertools.count(int(sys.argv[2])):
    post(database, "trial", timeline(f"P{n}", ck(value=n + 1)))
    print(n, flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_the_death_of_the_process(tmp_path):
    url = with_tables(f"sqlite:///{tmp_path / 'ledger.db'}")
    database = Database(url)
    study = begin_study(database, "trial")
    acknowledged = []
    for _ in range(3):
        start = str(len(acknowledged) + 1000 * (_ + 1))
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, url, start], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as child:
            for _count in range(20):
                acknowledged.append(int(child.stdout.readline()))
            child.kill()
            acknowledged += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    held = columns(database, study, 10**9)
    assert set(acknowledged) <= {int(one.id[1:]) for one in held.patients}
    assert len(held.labs) == len(held.patients)  # none by halves
    database.dispose()


def test_a_writer_that_waits_too_long_gets_busy(tmp_path):
    file = tmp_path / "ledger.db"
    with_tables(f"sqlite:///{file}")
    database = Database(f"sqlite:///{file}", wait_seconds=0.1)
    begin_study(database, "trial")
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy):
        post(database, "trial", timeline("P1"))
    holder.execute("ROLLBACK")
    holder.close()
    with database.writing(), pytest.raises(Busy), database.writing():
        pass
    assert post(database, "trial", timeline("P1")).revision == 1
    database.dispose()


@pytest.mark.postgresql
def test_a_writer_that_waits_too_long_for_a_study_on_postgresql_gets_busy(migrated_postgres_url):
    database = Database(migrated_postgres_url, wait_seconds=0.1)
    begin_study(database, "trial")
    begin_study(database, "free")
    with database.writing() as connection:
        connection.execute(text("SELECT key FROM studies WHERE id = 'trial' FOR UPDATE"))
        with pytest.raises(Busy):
            post(database, "trial", timeline("P1"))
        assert post(database, "free", timeline("P1")).revision == 1
    assert post(database, "trial", timeline("P1")).revision == 1
    database.dispose()


@pytest.mark.postgresql
def test_a_lost_connection_is_busy_once_and_replaced(migrated_postgres_url):
    database = Database(migrated_postgres_url, pool_size=1)
    begin_study(database, "trial")
    with pytest.raises(Busy), database.writing() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert post(database, "trial", timeline("P1")).revision == 1
    database.dispose()


def test_an_exhausted_pool_is_busy(migrated_url):
    database = Database(migrated_url, pool_size=1, wait_seconds=0.1)
    with database.reading(), pytest.raises(Busy), database.reading():
        pass
    database.dispose()


def test_a_full_disk_is_named_and_stores_nothing(tmp_path):
    url = with_tables(f"sqlite:///{tmp_path / 'ledger.db'}")
    database = Database(url, pool_size=1)
    begin_study(database, "trial")

    def limit(pages):
        with database.writing() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    with database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    limit(pages + 2)
    many = timeline("P1", *[ck(f"k{n}") for n in range(500)])
    with pytest.raises(Unavailable) as refusal:
        post(database, "trial", many)
    assert refusal.value.cause is Cause.DISK_FULL
    assert database.objection().cause is Cause.DISK_FULL  # although a smaller write is possible
    assert database.failures.counts == {Cause.DISK_FULL: 1}
    assert [one.number for one in revisions(database, "trial")] == [0]
    limit(2**30)
    assert post(database, "trial", many).revision == 1
    assert database.objection() is None
    database.dispose()


def test_no_value_of_a_row_is_in_the_text_of_an_error(database, study):
    """Both drivers name the offending values; nothing of it may reach a log."""
    post(database, study, timeline("CANARY-ID"))
    statements = [
        "INSERT INTO patients (key, study, id, salt, first_revision) SELECT key + 1, study, id, salt, 1 FROM patients",
        "INSERT INTO studies (key, id, created_at, locked_secret) VALUES (0, 'CANARY-ID', 'CANARY-ID', 'CANARY-ID')",
        "SELECT 'CANARY-ID' FROM no_such_table",
    ]
    for statement in statements:
        with pytest.raises(ServiceError) as refusal, database.writing() as connection:
            connection.connection.cursor().execute(statement)
        message = f"{refusal.value!r} {refusal.value.detail} {refusal.value.__cause__}"
        assert "CANARY" not in message
        assert refusal.value.__suppress_context__
        with pytest.raises(ServiceError) as refusal, database.writing() as connection:
            connection.execute(text(statement))
        assert "CANARY" not in str(refusal.value)


def test_every_connection_to_sqlite_is_durable_checked_and_scrubbing(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000, "trusted_schema": 0,
                "secure_delete": 1}  # fmt: skip
    with database.reading() as one, database.reading() as other:
        for connection in (one, other):
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in expected}
            assert found == expected
    database.dispose()


SHOWN = ("TimeZone", "DateStyle", "synchronous_commit", "transaction_isolation", "transaction_read_only")


@pytest.mark.postgresql
def test_a_session_on_postgresql_depends_on_no_setting_of_the_server(postgres_url):
    plain = create_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with plain.connect() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        for setting in ("TimeZone = 'Pacific/Chatham'", "DateStyle = 'German'", "synchronous_commit = off"):
            connection.execute(text(f"ALTER DATABASE {name} SET {setting}"))
    database = Database(postgres_url)
    with database.reading() as connection:
        settings = [
            connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in (
                "TimeZone",
                "DateStyle",
                "synchronous_commit",
                "transaction_isolation",
                "transaction_read_only",
            )
        ]
    assert settings == ["UTC", "ISO, DMY", "on", "repeatable read", "on"]
    with database.writing() as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    with pytest.raises(ServiceError), database.reading() as connection:
        connection.execute(text("CREATE TABLE forbidden (x int)"))
    database.dispose()


def test_the_database_file_is_for_its_owner_only(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    migrations.upgrade(url)
    database = Database(url)
    begin_study(database, "trial")
    modes = {file.name: stat.S_IMODE(os.stat(file).st_mode) for file in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 4
    database.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x"])
def test_a_database_that_cannot_keep_a_ledger_is_refused(url):
    with pytest.raises(ValueError, match=r"must be|file"):
        Database(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_address_of_postgresql_is_understood(scheme):
    database = Database(f"{scheme}://somebody:secret@db.example/trial")
    assert database.engine.url.drivername == "postgresql+psycopg"
    assert "secret" not in repr(database.engine)


def test_readiness_is_being_reachable_with_the_tables_of_this_version(database_url, tmp_path):
    database = Database(database_url)
    assert not database.ready()
    migrations.upgrade(database_url)
    assert database.ready()
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert not database.ready()
    database.dispose()
    assert not Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'directory.db'}").ready()


def test_the_answer_comes_after_commit(database, study):
    """The order of events as the driver sees it: the block of a writer ends after COMMIT has returned."""
    seen = []

    @event.listens_for(database.engine, "commit")
    def committed(connection):
        seen.append("commit")

    post(database, study, timeline("P1", ck()))
    seen.append("answer")
    event.remove(database.engine, "commit", committed)
    assert seen == ["commit", "answer"]


def test_a_reader_does_not_keep_a_writer_waiting(database, study):
    with database.reading() as connection:
        counted(connection, study)
        started = time.monotonic()
        post(database, study, timeline("P1", ck()))
        assert time.monotonic() - started < 4
