"""A running application for each test: on SQLite always, on PostgreSQL too where storage matters."""

import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from app.access.callers import ALL_SCOPES
from app.main import create_app
from app.settings import Settings
from app.store import migrations
from app.timeline.times import microseconds
from tests.documented import Documented
from tests.postgres import fresh_database

BASE = "http://127.0.0.1:8000"


WRITTEN: defaultdict[str, dict[str, Any]] = defaultdict(dict)
"""The description of the API as it was first served below each root path; to write it takes the longest of all."""


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory) -> Path:
    """An SQLite file with the tables of this version, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "x.db"
    migrations.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(migrated_file, tmp_path) -> str:
    """A migrated SQLite database for one test."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'x.db')}"


@pytest.fixture(scope="session")
def migrated_database(postgres_server_url) -> Iterator[str]:
    """The name of a PostgreSQL database with the tables of this version, to be copied."""
    with fresh_database(postgres_server_url) as url:
        migrations.upgrade(url)
        yield make_url(url).database


@pytest.fixture
def migrated_postgres_url(postgres_server_url, migrated_database, tmp_path, monkeypatch) -> Iterator[str]:
    """A migrated PostgreSQL database for one test; the secret file and the heads are in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    server = make_url(postgres_server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    name = f"{migrated_database}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_database}")
        yield make_url(postgres_server_url).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def migrated_url(request) -> str:
    """A migrated database for one test, on each engine."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "migrated_postgres_url")


@pytest.fixture
def serve() -> Iterator[Callable[..., TestClient]]:
    """Start the application with settings of the test's own."""
    with ExitStack() as running:

        def start(url: str, **settings: Any) -> TestClient:
            app = create_app(Settings(database_url=url, **settings))
            client = running.enter_context(Documented(app, base_url=BASE))
            client.prefix = settings.get("root_path", "")
            app.state.descriptions = WRITTEN[client.prefix]
            return client

        yield start


@pytest.fixture
def client(serve, sqlite_url) -> TestClient:
    """The application on SQLite."""
    return serve(sqlite_url)


@pytest.fixture
def anywhere(serve, migrated_url) -> TestClient:
    """The application on each engine."""
    return serve(migrated_url)


@pytest.fixture
def scoped(serve, sqlite_url):
    """A service that asks for keys, with a client that may do everything and what makes another one."""
    client = serve(sqlite_url, require_keys=True, rate="")
    keys = client.app_state["app_state"].authenticator.keys

    def of(scopes):
        text = keys.create("who", frozenset(scopes), None, now=microseconds(datetime.now(UTC))).text
        client.headers["Authorization"] = f"Bearer {text}"
        return client

    return of(ALL_SCOPES), of
