"""A database of a harness, opened as the service opens it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.secret_file import beside
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.opening import open_ledger
from tests.tables import with_tables


def migrated(folder: Path) -> str:
    """The address of a new database in a folder."""
    return with_tables(f"sqlite:///{folder / 'x.db'}")


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """The database, with its secret file and its heads beside it."""
    database = Database(url, keys=LedgerKeys(beside(url, "secret")))
    try:
        assert open_ledger(database, beside(url, "heads")) is None
        yield database
    finally:
        database.dispose()
