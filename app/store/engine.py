"""The database: one snapshot to read, one transaction to write, and no driver error that carries a value.

SQLite is used in WAL mode with `synchronous=FULL`; without that an acknowledged commit can be lost with the power.
The driver's own idea of when a transaction begins gives neither a snapshot nor a transactional migration, so the
hooks below begin it. Writers take their place before they read (`BEGIN IMMEDIATE`): a reader that turns into a writer
fails at once under contention.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NoReturn

import psycopg
from sqlalchemy import URL, Connection, Engine, Select, Text, create_engine, event, make_url, select, table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql import column

from app.errors import Busy, ServiceError
from app.store.tables import SCHEMA_REVISION, metadata

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

_VERSION: Select[str] = select(column("version_num", Text)).select_from(table("alembic_version"))
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


class Database:
    """A database by its URL; one object serves all threads of a process."""

    def __init__(self, url: str, *, pool_size: int = 8, wait_seconds: float = 5.0) -> None:
        address = _address(url)
        self._sqlite = address.get_backend_name() == "sqlite"
        self._wait = wait_seconds
        self._one_writer = threading.Lock()
        self.engine = _engine(address, pool_size, wait_seconds)
        if self._sqlite:
            self._reader, self._writer = self.engine, self.engine.execution_options(write=True)
        else:
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writer = self.engine.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot: what is read inside the block is one state of the database, whoever writes meanwhile."""
        with _translated(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: when the block has ended, COMMIT has returned; an exception undoes all of it."""
        with _translated(), self._turn(), self._writer.connect() as connection:
            transaction = connection.begin()
            try:
                yield connection
                transaction.commit()
            except BaseException as error:
                _undo(connection, transaction, error)
                raise

    def ready(self) -> bool:
        """Whether the database answers and its tables are those of this version."""
        try:
            with self.reading() as connection:
                return list(connection.execute(_VERSION).scalars()) == [SCHEMA_REVISION]
        except (ServiceError, SQLAlchemyError):
            return False

    def scrub(self) -> bool:
        """Take what was deleted out of the files as well; to be called after an erasure.

        SQLite overwrites deleted rows with zeros (`secure_delete`), but its log holds older pages until they have been
        copied and the log is cut to nothing. `False` means that a reader still needs an older state: call again later.
        PostgreSQL frees the rows; its pages, its log and every backup are the operator's to age out.
        """
        with _translated(), self._turn():
            raw = self.engine.raw_connection()
            try:
                return _cut_log(raw.driver_connection) if self._sqlite else _vacuum(raw.driver_connection)
            finally:
                raw.invalidate()  # its settings were changed
                raw.close()

    def dispose(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One writer of this process at a time on SQLite; on PostgreSQL a writer locks the study that it writes to."""
        if not self._sqlite:
            yield
            return
        if not self._one_writer.acquire(timeout=self._wait):
            raise Busy
        try:
            yield
        finally:
            self._one_writer.release()


def _address(url: str) -> URL:
    """The URL with the driver that we use; `postgres://` is what many hosting platforms hand out."""
    address = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    if address.get_backend_name() == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() != "sqlite":
        raise ValueError("the database must be SQLite or PostgreSQL")
    if address.database in {None, "", ":memory:"} or "mode=memory" in (address.database or ""):
        raise ValueError("an SQLite database must be a file: one in memory is another one on each connection")
    return address


def _engine(address: URL, pool_size: int, wait_seconds: float) -> Engine:
    sqlite = address.get_backend_name() == "sqlite"
    engine = create_engine(
        address,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_use_lifo=True,  # the connection used last has the warmest cache
        pool_pre_ping=not sqlite,
        connect_args={} if sqlite else {"connect_timeout": 10, "application_name": "myoresponse"},
    )
    if sqlite:
        _keep_private(address)
        event.listen(engine, "connect", partial(_prepare_sqlite, round(wait_seconds * 1000)))
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", partial(_prepare_postgresql, round(wait_seconds * 1000)))
    return engine


def _keep_private(address: URL) -> None:
    """Create the file for its owner only; SQLite gives the files beside it the same mode."""
    with suppress(OSError):
        os.close(os.open(address.database or "", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _prepare_sqlite(wait: int, driver: sqlite3.Connection, _: object) -> None:
    driver.isolation_level = None
    for pragma in SQLITE_PRAGMAS:
        driver.execute(f"PRAGMA {pragma.format(wait=wait)}")


def _begin_sqlite(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def _prepare_postgresql(wait: int, driver: psycopg.Connection[Any], _: object) -> None:
    driver.execute(POSTGRESQL_SESSION.format(wait=wait).encode())
    driver.commit()


def _cut_log(driver: Any) -> bool:  # noqa: ANN401 - sqlite3.Connection behind the pool
    driver.execute("PRAGMA busy_timeout=200")  # writers are waiting behind us
    busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _vacuum(driver: Any) -> bool:  # noqa: ANN401 - psycopg.Connection behind the pool
    driver.autocommit = True
    driver.execute("VACUUM " + ", ".join(sorted(metadata.tables)))
    return True


def _undo(connection: Connection, transaction: Any, error: BaseException) -> None:  # noqa: ANN401
    """Roll back; after an error of the database the connection is not trusted with another transaction."""
    with suppress(SQLAlchemyError, sqlite3.Error, psycopg.Error):
        transaction.rollback()
    if _driver_error(error) is not None:
        connection.invalidate()


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of pool and driver as ours: no SQL, no parameter and no row in their text."""
    try:
        yield
    except PoolTimeout:
        raise Busy from None
    except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as error:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    cause = _driver_error(error)
    if isinstance(cause, psycopg.Error):
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            raise Busy from None
        raise ServiceError(f"{type(cause).__name__} {cause.sqlstate}") from None
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        if isinstance(code, int) and code & 0xFF in _SQLITE_BUSY:
            raise Busy from None
        raise ServiceError(f"{type(cause).__name__} {getattr(cause, 'sqlite_errorname', '')}") from None
    raise error


def _driver_error(error: BaseException) -> BaseException | None:
    """The error of the driver, whether SQLAlchemy wrapped it or not."""
    if isinstance(error, DBAPIError):
        return error.orig
    return error if isinstance(error, sqlite3.Error | psycopg.Error) else None
