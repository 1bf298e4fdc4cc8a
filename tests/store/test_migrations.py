"""The migrations make exactly the tables that the code declares, and remove them again."""

import os
import re
import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, bindparam, create_engine, text
from sqlalchemy.pool import NullPool

from app.errors import ServiceError
from app.store import migrations
from app.store.engine import Database, revision_of
from app.store.tables import FACTS, SCHEMA_REVISION, metadata
from tests.store.posts import begin_study, ck, post, timeline, values

SQLITE = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
POSTGRESQL = [
    "SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name, ordinal_position "
    "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1",
]


def schema(url):
    """The schema of the database, without the table of Alembic."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        queries = [SQLITE] if engine.dialect.name == "sqlite" else POSTGRESQL
        rows = [tuple(row) for query in queries for row in connection.execute(text(query))]
    if engine.dialect.name == "sqlite":  # the order and the lines inside CREATE TABLE mean nothing
        rows = [(*row[:3], sorted(filter(None, map(str.strip, re.split("[,\n]", row[3]))))) for row in rows]
    return [row for row in rows if "alembic" not in str(row)]


def test_the_migrations_give_exactly_the_tables_of_the_code(database_url):
    migrations.upgrade(database_url)
    migrated = schema(database_url)
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    migrations.downgrade(database_url, "base")
    assert schema(database_url) == []
    metadata.create_all(create_engine(database_url, poolclass=NullPool))
    assert schema(database_url) == migrated


def test_up_down_and_up_again_is_up(database_url):
    migrations.upgrade(database_url)
    once = schema(database_url)
    database = Database(database_url)
    begin_study(database, "trial")
    post(database, "trial", timeline("P1", ck()))
    migrations.upgrade(database_url)
    assert values(database, "trial", "P1") == [1101]
    database.dispose()
    migrations.downgrade(database_url, "base")
    migrations.upgrade(database_url)
    assert schema(database_url) == once


def test_a_migration_is_applied_whole_or_not_at_all(database_url):
    """The last table of the migration exists already."""
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE adverse_events (x INTEGER)"))
    before = schema(database_url)
    with pytest.raises(ServiceError):
        migrations.upgrade(database_url)
    assert schema(database_url) == before
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE adverse_events"))
    migrations.upgrade(database_url)
    assert schema(database_url) != before


RESULT = """
    INSERT INTO lab_results
    (patient_key, identity, added, ordinal, removed, id, status, code, time, day, instant, utc, value)
    VALUES (7, :identity, :added, 0, :removed, '1', 'final', 'CK', :time, :day, :instant, :utc, :value)
"""
MORNING, NOON = ("2005-03-16T09:00:00+09:00", 12858, 1_110_931_200_000_000), ("2005-03-16", 12859, None)


def rows_of_0_1_0(*rows):
    """Rows as the first release stored them: number, added, removed, time, value."""
    return [
        {"identity": f"#{number}|CK|", "added": added, "removed": removed, "time": text, "day": day,
         "instant": instant, "utc": False, "value": value}
        for number, added, removed, (text, day, instant), value in rows
    ]  # fmt: skip


def test_what_the_first_release_overwrote_or_left_out_is_marked(database_url):
    """So nothing stands suddenly; what it overwrote counts when it is sent again."""
    migrations.upgrade(database_url, "0002")
    engine = create_engine(database_url, poolclass=NullPool)
    stored = rows_of_0_1_0(
        ("overwritten", 1, 2, MORNING, 1), ("overwritten", 2, None, NOON, 2),
        ("corrected", 1, 2, MORNING, 3), ("corrected", 2, None, MORNING, 4),
        ("left_out", 1, 2, MORNING, 5), ("left_out", 2, 3, NOON, 6),
        ("put_again", 1, 2, MORNING, 7), ("put_again", 3, None, MORNING, 8),
        ("late", 2, None, MORNING, 9), ("late", 3, 3, MORNING, 10),
    )  # fmt: skip
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO studies (key, id, created_at, secret) VALUES (1, 'trial', 0, :bytes)"), {"bytes": b""}
        )
        connection.execute(text(
            "INSERT INTO patients (key, study, id, salt, first_revision) VALUES (7, 1, 'P1', :bytes, 1)"
        ), {"bytes": b""})  # fmt: skip
        for row in stored:
            connection.execute(text(RESULT).bindparams(bindparam("utc", type_=Boolean)), row)
    migrations.upgrade(database_url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT value, mark, draw FROM lab_results ORDER BY value")).all()
    assert [row.mark for row in found] == [
        "overwritten", None, None, None, "left_out", "left_out", "replaced", None, None, None
    ]  # fmt: skip
    assert {row.draw for row in found} == {""}
    migrations.downgrade(database_url, "0002")
    migrations.upgrade(database_url)


@pytest.mark.postgresql
def test_a_migration_waits_for_a_writer_before_it_changes_a_table(postgres_url):
    """Else it changes the tables of facts, then waits for the writer, and the writer waits for the tables of facts."""
    migrations.upgrade(postgres_url, "0002")
    engine = create_engine(postgres_url, poolclass=NullPool)
    migrating = threading.Thread(target=migrations.upgrade, args=(postgres_url,))
    observing = engine.execution_options(isolation_level="AUTOCOMMIT")  # a transaction sees one state of the activity
    with engine.begin() as connection, observing.connect() as observer:
        connection.execute(text("SELECT key FROM studies FOR UPDATE"))
        migrating.start()
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while migrating.is_alive() and not observer.execute(waiting).scalar_one():
            time.sleep(0.01)
        assert migrating.is_alive()
        connection.execute(text("SET LOCAL lock_timeout = 100"))
        connection.execute(text("SELECT * FROM lab_results"))
    migrating.join()
    with engine.connect() as connection:
        assert revision_of(connection) == SCHEMA_REVISION


def test_the_process_may_be_started_anywhere(tmp_path):
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        migrations.upgrade("sqlite:///here.db")
        assert schema("sqlite:///here.db") != []
    finally:
        os.chdir(before)


def test_the_version_that_readiness_asks_for_is_the_newest_migration():
    assert ScriptDirectory(str(migrations.SCRIPTS)).get_current_head() == SCHEMA_REVISION


def test_the_columns_of_a_fact_are_the_fields_of_its_tuple():
    for table, fact in FACTS.values():
        names = [column.name for column in table.columns]
        after = ["notes", "draw", "mark"]
        assert names == ["patient_key", "identity", "added", "ordinal", "removed", *fact._fields[1:], *after]
