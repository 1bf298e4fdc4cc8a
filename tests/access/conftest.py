"""A service that asks for keys, and clients with keys of each kind."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.access.callers import ALL_SCOPES, Scope
from app.access.keys import ApiKeys
from app.main import create_app
from app.settings import Settings
from app.store.engine import Database
from app.timeline.times import microseconds
from tests.documented import WRITTEN, Documented

BASE = "http://127.0.0.1:8000"


def now() -> int:
    return microseconds(datetime.now(UTC))


class Service:
    """A running service that asks everybody for a key; `client` makes a client with a key of its own."""

    def __init__(self, running: TestClient) -> None:
        self.stranger = running
        self.keys: ApiKeys = running.app_state["app_state"].authenticator.keys

    def key(self, scopes: Iterable[Scope] = ALL_SCOPES, studies: Iterable[str] | None = None, **more: Any) -> str:
        return self.keys.create("test", scopes, studies, now=now(), **more).text

    def client(self, scopes: Iterable[Scope] = ALL_SCOPES, studies: Iterable[str] | None = None) -> TestClient:
        return self.with_key(self.key(scopes, studies))

    def with_key(self, text: str) -> TestClient:
        """Another client of the same service."""
        other = Documented(self.stranger.app, base_url=BASE, headers={"Authorization": f"Bearer {text}"})
        transport = other._transport
        transport.app_state, transport.portal_factory = self.stranger.app_state, self.stranger._portal_factory
        return other


@pytest.fixture
def url(sqlite_url) -> str:
    return sqlite_url


@pytest.fixture
def start() -> Iterator[Callable[..., Service]]:
    """Start a service that asks for keys."""
    with ExitStack() as running:

        def started(url: str, **settings: Any) -> Service:
            chosen = {"require_keys": True, "rate": ""} | settings
            app = create_app(Settings(database_url=url, **chosen))
            app.state.descriptions = WRITTEN[chosen.get("root_path", "")]
            return Service(running.enter_context(Documented(app, base_url=BASE)))

        yield started


@pytest.fixture
def in_the_middle_of_an_hour(monkeypatch) -> None:
    """The windows of rates begin with the hours of the clock; no test of them may see the end of one."""
    shift = 1_800 - time.time() % 3_600
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift)


@pytest.fixture
def service(start, url) -> Service:
    return start(url)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """A migrated database on each engine."""
    database = Database(migrated_url)
    yield database
    database.dispose()
