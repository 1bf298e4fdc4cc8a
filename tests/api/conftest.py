"""A running application for each test: on SQLite always, on PostgreSQL too where storage matters."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.access.callers import ALL_SCOPES
from app.main import create_app
from app.settings import Settings
from app.timeline.times import microseconds
from tests.documented import WRITTEN, Documented

BASE = "http://127.0.0.1:8000"


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
