"""What every test may ask for: a database of its own, and property tests that repeat exactly."""

import gc
import os
import shutil
from collections.abc import Generator, Iterator
from functools import partialmethod
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import make_url
from starlette.testclient import TestClient

from tests.postgres import WHEEL, bundled_binaries, fresh_database, running_server
from tests.repetition import PROFILE
from tests.tables import with_tables

# The same examples on every machine and in every run, so that a red build is about the change and never about luck.
settings.register_profile("daily", max_examples=100, derandomize=True, deadline=None, print_blob=True)
# A first look: make check
settings.register_profile("quick", settings.get_profile("daily"), max_examples=25)
# What `repeats` cuts in daily use is run in full: make thorough
settings.register_profile("thorough", settings.get_profile("daily"))
# New examples on each run: HYPOTHESIS_PROFILE=search make test
settings.register_profile("search", max_examples=1000, derandomize=False, deadline=None, print_blob=True)
settings.load_profile(PROFILE)

# Hundreds of applications are started and stopped in one process. Tests of worker processes ask for them.
os.environ.setdefault("MYORESPONSE_COMPUTE_WORKERS", "0")

# A test client is a program on this machine, unless a test says otherwise.
TestClient.__init__ = partialmethod(TestClient.__init__, client=("127.0.0.1", 50_000))

# Thousands of commits wait for the disk, though none has to outlive the session: the files of the tests are in memory
# where there is room for them. The 64 MB that a container has by default are not enough.
MEMORY, ROOM = Path("/dev/shm"), 2 * 1024**3
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One process more than there are processors: a tenth of the time a test waits for a disk, a server or a clock."""
    processors = yield
    return processors + 1


gc.disable()  # until all tests are collected: what is loaded stays


def pytest_collection_finish() -> None:
    """Let the garbage collector ignore what is loaded now and stays. A tenth of the time went into visiting it."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A PostgreSQL server for the session: that of `TEST_DATABASE_URL`, else one started for it."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    binaries = bundled_binaries()
    if binaries is None or not hasattr(os, "geteuid"):
        pytest.skip(f"no PostgreSQL: {WHEEL} has no wheel for this platform and TEST_DATABASE_URL is not set")
    with running_server(binaries) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty PostgreSQL database for one test; the secret file and the heads are in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    with fresh_database(postgres_server_url) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database for one test, on each engine that the service runs on."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'x.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables of this version, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "x.db"
    with_tables(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A migrated SQLite database for one test."""
    return with_tables(f"sqlite:///{tmp_path / 'x.db'}")


@pytest.fixture(scope="session")
def migrated_database(postgres_server_url: str) -> Iterator[str]:
    """The name of a PostgreSQL database with the tables of this version, to be copied."""
    with fresh_database(postgres_server_url) as url:
        yield str(make_url(with_tables(url)).database)


@pytest.fixture
def migrated_postgres_url(
    postgres_server_url: str, migrated_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A migrated PostgreSQL database for one test; the secret file and the heads are in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    with fresh_database(postgres_server_url, template=migrated_database) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A migrated database for one test, on each engine."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "migrated_postgres_url")
