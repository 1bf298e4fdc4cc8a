"""A running service with copies of the demonstration study, and the packages for TypeScript."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.demo import TIMELINES
from tests.api.test_server import Process, running
from tests.clients.installing import installed_typescript
from tests.tables import with_tables

DIRECT = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | {"no_proxy": "*"}
"""The variables of a program that speaks to the service on this machine."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    url = with_tables(f"sqlite:///{tmp_path_factory.mktemp('clients') / 'x.db'}")
    with running(url) as process:
        yield process


@pytest.fixture(scope="session")
def study(server: Process) -> Callable[..., str]:
    """Makes a study, with the timelines of the demonstration unless it shall be `empty`; its name again."""

    def made(name: str, *, empty: bool = False) -> str:
        status, answer = server.ask("PUT", f"/v1/studies/{name}", {"name": name, "protocol": "seed-2008"})
        assert status == 201, answer
        if not empty:
            status, answer = server.ask("POST", f"/v1/studies/{name}/timelines", json.loads(TIMELINES.read_bytes()))
            assert status == 200, answer
        return name

    return made


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generator and the compiler, and the types generated there."""
    return installed_typescript(tmp_path_factory.getbasetemp())
