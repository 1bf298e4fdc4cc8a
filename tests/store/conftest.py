"""One database for each engine, and a new study for every test.

To make a PostgreSQL database takes a second, and studies share nothing. So the tests share one database for each
engine. A test of the database itself uses `database_url`.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from tests.postgres import fresh_database
from tests.store.posts import begin_study
from tests.tables import with_tables

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A migrated database, once for each engine."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("store")
        if request.param == "sqlite":
            url = f"sqlite:///{folder / 'ledger.db'}"
        else:
            url = stack.enter_context(fresh_database(request.getfixturevalue("postgres_server_url")))
        with_tables(url)
        database = Database(url, keys=LedgerKeys(folder / "secret", make=True))
        stack.callback(database.dispose)
        yield database


@pytest.fixture
def study(database: Database) -> str:
    """A study that has only revision 0."""
    return begin_study(database, f"trial-{next(_numbers):05d}")
