"""What each of the two drivers needs to be told, and what it must not tell anybody."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPIModule
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import Busy, ServiceError
from app.store.tables import metadata

SQLITE_PRAGMAS = (
    "busy_timeout={wait}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    "secure_delete=ON",
)
"""`busy_timeout` comes first: switching to WAL may have to wait for another process. Deleted content is overwritten."""

POSTGRESQL_SESSION = """
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1; SET lock_timeout = {wait};
    SET idle_in_transaction_session_timeout = '60s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
"""What could change a result is pinned, and a commit that was answered is on the disk."""

_SQLITE_BUSY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


def prepare_sqlite(wait: int, driver: sqlite3.Connection, _: object) -> None:
    """Settle a new connection: SQLAlchemy begins transactions, not the driver; `wait` is in milliseconds."""
    driver.isolation_level = None
    for pragma in SQLITE_PRAGMAS:
        driver.execute(f"PRAGMA {pragma.format(wait=wait)}")


def begin_sqlite(connection: Connection) -> None:
    """Begin a snapshot, or for a writer a transaction that is its place in the queue."""
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def prepare_postgresql(wait: int, driver: Any, _: object) -> None:  # noqa: ANN401 - psycopg.Connection
    """Settle a new connection; `wait` is in milliseconds."""
    driver.execute(POSTGRESQL_SESSION.format(wait=wait).encode())
    driver.commit()


def cut_log(driver: Any) -> bool:  # noqa: ANN401 - sqlite3.Connection behind the pool
    """Copy the log of SQLite into the file and cut it to nothing; whether no reader was in the way."""
    driver.execute("PRAGMA busy_timeout=200")  # writers are waiting behind us
    busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def vacuum(driver: Any) -> bool:  # noqa: ANN401 - psycopg.Connection behind the pool
    """Free the rows that were deleted, in the indexes too."""
    driver.autocommit = True
    driver.execute("VACUUM (INDEX_CLEANUP ON) " + ", ".join(sorted(metadata.tables)))
    return True


@contextmanager
def translated(driver: DBAPIModule) -> Iterator[None]:
    """Errors of pool and driver as ours: no SQL, no parameter and no row in their text."""
    try:
        yield
    except PoolTimeout:
        raise Busy from None
    except (SQLAlchemyError, driver.Error) as error:
        _refuse(error, driver)


def _refuse(error: Exception, driver: DBAPIModule) -> NoReturn:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        if isinstance(code, int) and code & 0xFF in _SQLITE_BUSY:
            raise Busy from None
        raise ServiceError(f"{type(cause).__name__} {getattr(cause, 'sqlite_errorname', '')}") from None
    if isinstance(cause, (driver.OperationalError, driver.InterfaceError)):
        raise Busy from None
    if isinstance(cause, driver.Error):
        raise ServiceError(f"{type(cause).__name__} {getattr(cause, 'sqlstate', None)}") from None
    raise error
