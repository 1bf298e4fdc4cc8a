"""One service for the whole catalogue in this process, and one over the wire."""

import shutil
from collections.abc import Iterator
from itertools import count

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.api.test_server import Process, running
from tests.catalogue.service import Trial
from tests.documented import Documented

_numbers = count(1)


@pytest.fixture(scope="session")
def client(migrated_file) -> Iterator[TestClient]:
    """The application, its limits as they are shipped."""
    settings = Settings(database_url=f"sqlite:///{shutil.copy(migrated_file, migrated_file.with_name('here.db'))}")
    with Documented(create_app(settings), base_url="http://127.0.0.1:8000") as running_client:
        yield running_client


@pytest.fixture
def trial(client) -> Trial:
    """A new study."""
    return Trial(client, f"trial-{next(_numbers)}")


@pytest.fixture(scope="session")
def wire(migrated_file) -> Iterator[Process]:
    """A server process with little patience and small limits."""
    url = f"sqlite:///{shutil.copy(migrated_file, migrated_file.with_name('wire.db'))}"
    with running(url, BODY_TIMEOUT_SECONDS="0.5", MAX_BODY_BYTES="100000") as server:
        yield server
