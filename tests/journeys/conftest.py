"""A service with the demonstration study, used over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.demo import NAME, STUDY, TIMELINES
from app.main import create_app
from app.settings import Settings
from tests.documented import Documented
from tests.tables import with_tables


def service(database_url: str) -> TestClient:
    """A client of a service on a fresh database."""
    app = create_app(Settings(database_url=with_tables(database_url)))
    return Documented(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 50_000))


def load_demo(client: TestClient) -> None:
    """Post the demonstration study as an integration would."""
    assert client.put(f"/v1/studies/{STUDY}", json={"name": NAME, "protocol": "seed-2008"}).status_code in {200, 201}
    answer = client.post(
        f"/v1/studies/{STUDY}/timelines", content=TIMELINES.read_bytes(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["counts"]["created"] == 16


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The demonstration study on SQLite."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with service(f"sqlite:///{folder / 'demo.db'}") as client:
        load_demo(client)
        yield client
