"""A command that cannot use its database says why in one line, and never the address or its password."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text
from typer.testing import CliRunner

from app import __version__
from app.__main__ import cli
from app.store import migrations
from app.store.engine import Database
from tests.postgres import bundled_binaries, running_server
from tests.tables import with_tables

PASSWORD = "hunter2"
COMMANDS = (
    ["migrate"],
    ["serve"],
    ["demo"],
    ["mllp", "--study", "trial"],
    ["export", "--study", "trial"],
    ["import", "--study", "trial", __file__],
    ["dead-letters", "--send", "--study", "trial", __file__],
)
MIGRATE = "to make them, run: python -m app migrate"


def why(command: list[str], url: str) -> str:
    """The reason that a command gives, after a check of the form: one line, exit code 3, no password, no address."""
    ended = CliRunner().invoke(cli, command, env={"MYORESPONSE_DATABASE_URL": url})
    assert (ended.exit_code, ended.stdout) == (3, ""), ended.output
    [line] = ended.stderr.splitlines()
    assert PASSWORD not in line
    assert url not in line
    assert line.startswith("The database cannot be used: ")
    return line.removeprefix("The database cannot be used: ").removesuffix(".")


@pytest.fixture(params=COMMANDS, ids=lambda command: command[0])
def command(request) -> list[str]:
    return request.param


@contextmanager
def changed(url: str, statement: str) -> Iterator[None]:
    """A migrated database after one statement."""
    with_tables(url)
    database = Database(url)
    try:
        with database.writing() as connection:
            connection.execute(text(statement))
        yield
    finally:
        database.dispose()


# --- either engine ----------------------------------------------------------------------------------------------------


def test_tables_of_a_later_version_are_not_used(database_url, command):
    with changed(database_url, "UPDATE alembic_version SET version_num = '9999'"):
        assert why(command, database_url) == (
            f"its tables are newer than this program, {__version__}; install the version that made them"
        )


def test_a_refused_migration_leaves_tables_of_a_later_version_as_they_are(database_url):
    with changed(database_url, "UPDATE alembic_version SET version_num = '9999'"):
        why(["migrate"], database_url)
        database = Database(database_url)
        assert database.revision() == "9999"
        database.dispose()


def test_tables_of_an_earlier_version_are_only_migrated(database_url, command):
    migrations.upgrade(database_url, "0001")
    if command == ["migrate"]:
        assert CliRunner().invoke(cli, command, env={"MYORESPONSE_DATABASE_URL": database_url}).exit_code == 0
    else:
        assert why(command, database_url) == f"its tables are those of an earlier version; {MIGRATE}"


def test_a_database_without_tables_is_only_migrated(database_url, command):
    if command == ["migrate"]:
        assert CliRunner().invoke(cli, command, env={"MYORESPONSE_DATABASE_URL": database_url}).exit_code == 0
    else:
        assert why(command, database_url) == f"it has no tables of this program; {MIGRATE}"


# --- SQLite -----------------------------------------------------------------------------------------------------------


def test_the_directory_of_a_file_must_exist(tmp_path, command):
    assert why(command, f"sqlite:///{tmp_path}/nowhere/x.db") == "the directory of its file does not exist"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory in which nobody may create a file")
def test_the_directory_of_a_file_must_be_writable(command):
    assert why(command, "sqlite:////proc/x.db") == "this user may not write to its file or to the directory of the file"


def test_a_directory_is_no_file_of_a_database(tmp_path):
    assert why(["migrate"], f"sqlite:///{tmp_path}") == "its file is a directory"


def test_a_file_of_another_program_is_not_used(tmp_path, command):
    file = tmp_path / "x.db"
    file.write_text("A letter, and not the file of a database. " * 100)
    assert why(command, f"sqlite:///{file}") == "its file is not an SQLite database"
    assert file.read_text().startswith("A letter")


@pytest.mark.slow
def test_a_file_in_which_another_program_writes_is_not_migrated(tmp_path):
    file = tmp_path / "x.db"
    migrations.upgrade(f"sqlite:///{file}")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        reason = why(["migrate"], f"sqlite:///{file}")
    finally:
        other.close()
    assert reason == "it is locked, because another program writes to it"


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"database": "nowhere"}, "the server has no database of its name; create it first"),
        (
            {"username": "nobody_here"},
            "the server does not admit its user: the name, the password, or where the connection comes from is wrong",
        ),
    ],
)
def test_the_server_must_know_the_database_and_its_user(postgres_url, command, change, reason):
    url = make_url(postgres_url).set(password=PASSWORD, **change)
    assert why(command, url.render_as_string(hide_password=False)) == reason


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/name", "no server listens at its host and port"),
        (f"postgresql://somebody:{PASSWORD}@/name?host=/nowhere", "no server listens at its host and port"),
        (f"postgresql://somebody:{PASSWORD}@a.invalid/name", "its host is not known"),
        (f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/name?{PASSWORD}=1", "an option of its address is not valid"),
        (
            f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/name?sslmode={PASSWORD}",
            "an option of its address is not valid",
        ),
    ],
)
def test_a_server_that_cannot_be_reached_is_named_by_the_cause(command, url, reason):
    assert why(command, url) == reason


@pytest.mark.postgresql
def test_the_user_must_be_allowed_to_make_tables(postgres_url, request):
    def execute(*statements):
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    execute("CREATE ROLE only_reads LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    request.addfinalizer(lambda: execute("DROP ROLE only_reads"))
    url = make_url(postgres_url).set(username="only_reads").render_as_string(hide_password=False)
    assert why(["migrate"], url) == "its user may not create, change or read tables there"


@pytest.mark.slow
@pytest.mark.postgresql
def test_a_database_that_another_program_migrates_is_not_migrated(postgres_url):
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
        other.execute("SELECT pg_advisory_xact_lock(20080118)")
        assert why(["migrate"], postgres_url) == "it is locked by another program"


@pytest.mark.slow
@pytest.mark.postgresql
def test_a_wrong_password_is_not_admitted():
    """The server of the tests asks for no password; this one does."""
    binaries = bundled_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL of our own")
    with running_server(binaries) as server_url:
        address = make_url(server_url)
        rules = Path(address.query["host"]) / "pg_hba.conf"
        rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
        with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'right'")
            connection.execute("SELECT pg_reload_conf()")
        for password in (PASSWORD, None):
            url = address.set(username="guarded", password=password).render_as_string(hide_password=False)
            assert why(["migrate"], url).startswith("the server does not admit its user")
        right = address.set(username="guarded", password="right").render_as_string(hide_password=False)
        ended = CliRunner().invoke(cli, ["migrate"], env={"MYORESPONSE_DATABASE_URL": right})
        assert ended.exit_code == 0, ended.output
