"""The databases that the other tests stand on are real, separate and empty."""

import os
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, inspect, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tests.postgres import bundled_binaries, fresh_database, running_server

ROOT = Path(__file__).parents[1]


def ask(url: str | URL, *statements: str) -> list:
    """Run each statement and commit; the rows of the last one, if it has any."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
        return list(result) if result.returns_rows else []


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_starts_from_an_empty_database(database_url, turn):
    assert inspect(create_engine(database_url, poolclass=NullPool)).get_table_names() == []
    ask(database_url, "CREATE TABLE visit (day INTEGER)", "INSERT INTO visit VALUES (28)")
    assert ask(database_url, "SELECT day FROM visit") == [(28,)]


@pytest.mark.postgresql
def test_postgresql_is_a_real_server_that_stores_utf8_and_sorts_by_code_point(postgres_url):
    assert make_url(postgres_url).drivername == "postgresql+psycopg"
    [(version, encoding)] = ask(
        postgres_url, "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')"
    )
    assert version >= 140000
    assert encoding == "UTF8"
    assert ask(postgres_url, "SELECT x FROM (VALUES ('b'), ('Ä'), ('a'), ('B')) AS t (x) ORDER BY x") == [
        ("B",),
        ("a",),
        ("b",),
        ("Ä",),
    ]


@pytest.mark.postgresql
def test_a_dropped_database_takes_its_open_connections_with_it(postgres_server_url):
    with fresh_database(postgres_server_url) as url:
        engine = create_engine(url)
        left_open = engine.connect()
        left_open.execute(text("SELECT 1"))
    name = make_url(url).database
    assert ask(postgres_server_url, f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == []
    left_open.invalidate()
    engine.dispose()


@pytest.mark.postgresql
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="the server is not ours: TEST_DATABASE_URL is set")
def test_the_started_server_leaves_nothing_behind_and_is_not_reachable_from_the_network():
    binaries = bundled_binaries()
    if binaries is None or not hasattr(os, "geteuid"):
        pytest.skip("no PostgreSQL wheel for this platform")
    mode_before = stat.S_IMODE(binaries.stat().st_mode)
    with running_server(binaries) as url:
        data = make_url(url).query["host"]
        assert ask(url, "SHOW listen_addresses") == [("",)]
        assert stat.S_IMODE(os.stat(data).st_mode) == 0o700
    assert not os.path.exists(data)
    assert stat.S_IMODE(binaries.stat().st_mode) == mode_before


@pytest.mark.postgresql
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="the server is not ours: TEST_DATABASE_URL is set")
def test_the_server_stops_even_when_the_test_run_is_killed():
    program = textwrap.dedent("""
        from tests.postgres import bundled_binaries, running_server
        with running_server(bundled_binaries()) as url:
            print(url, flush=True)
            input()
    """)
    if bundled_binaries() is None or not hasattr(os, "geteuid"):
        pytest.skip("no PostgreSQL wheel for this platform")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as run:
        url = run.stdout.readline().strip()
        assert ask(url, "SELECT 1") == [(1,)]
        run.kill()
    socket = Path(make_url(url).query["host"])
    deadline = time.monotonic() + 20
    while socket.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not socket.exists()
    with pytest.raises(OperationalError):
        ask(url, "SELECT 1")
