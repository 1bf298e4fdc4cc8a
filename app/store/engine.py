"""The database: one snapshot to read, one transaction to write, and no driver error that carries a value.

SQLite is used in WAL mode with `synchronous=FULL`; without that an acknowledged commit can be lost with the power.
The driver's own idea of when a transaction begins gives neither a snapshot nor a transactional migration, so the
hooks in `drivers` begin it. Writers take their place before they read (`BEGIN IMMEDIATE`): a reader that turns into a
writer fails at once under contention.
"""

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    RootTransaction,
    Select,
    Text,
    create_engine,
    event,
    make_url,
    select,
    table,
)
from sqlalchemy.engine.interfaces import DBAPIModule
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql import column

from app.errors import Busy, NotInstalled, ServiceError
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


_VERSION: Select[str] = select(column("version_num", Text)).select_from(table("alembic_version"))
Result = TypeVar("Result")
Transaction = Connection
"""An open transaction; only the store runs statements in it."""
MOST_TOGETHER = 64
"""How many pieces of work share a transaction at most."""


class Task(Generic[Result]):
    """A piece of work that waits for a transaction, and then its result or its refusal."""

    def __init__(self, work: Callable[[Connection], Result]) -> None:
        self._work = work
        self._results: list[Result] = []
        self._error: BaseException | None = None
        self.done = threading.Event()

    def do(self, connection: Connection) -> None:
        """Do the work; a refusal is kept for whoever asked for it."""
        self._results, self._error = [], None
        try:
            self._results.append(self._work(connection))
        except ServiceError as refusal:
            if isinstance(refusal, Busy):
                raise
            self._error = refusal

    def fail(self, error: BaseException) -> None:
        """The transaction of this task alone failed."""
        self._error = error
        self.done.set()

    def outcome(self) -> Result:
        """What the work returned or raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]


class Database:
    """A database by its URL; one object serves all threads of a process. Raises `ValueError` for a URL of no use."""

    def __init__(self, url: str, *, pool_size: int = 8, wait_seconds: float = 5.0) -> None:
        try:
            address = _address(url)
            self.engine = _engine(address, pool_size, wait_seconds)
        except ArgumentError:
            raise ValueError("this is no address of a database that can be used") from None
        self._sqlite = address.get_backend_name() == "sqlite"
        self._wait = wait_seconds
        self._one_writer = threading.Lock()
        self._waiting: deque[Task[Any]] = deque()
        self._driver = self.engine.dialect.loaded_dbapi
        if self._sqlite:
            self._reader, self._writer = self.engine, self.engine.execution_options(write=True)
        else:
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writer = self.engine.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot: what is read inside the block is one state of the database, whoever writes meanwhile."""
        with translated(self._driver), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: when the block has ended, COMMIT has returned; an exception undoes all of it."""
        with self._turn(), self._transaction() as connection:
            yield connection

    def together(self, work: Callable[[Connection], Result]) -> Result:
        """Do `work` in a transaction that it shares with whoever waits at the same time; COMMIT has returned before.

        On SQLite one barrier of the disk then serves all who wait. `work` may be done twice, and may refuse with a
        `ServiceError` only before it has written: the others' work stands.
        """
        if not self._sqlite:
            with self.writing() as connection:
                return work(connection)
        task = Task(work)
        self._waiting.append(task)
        try:
            with self._turn():
                if not task.done.is_set():  # or somebody else has done it while we waited for our turn
                    self._do([self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))])
        except Busy:
            with suppress(ValueError):
                self._waiting.remove(task)
                raise
            task.done.wait()  # it was taken at the last moment
        return task.outcome()

    def _do(self, tasks: Sequence["Task[Any]"]) -> None:
        """Do the tasks in one transaction; where that fails, each in one of its own."""
        try:
            with self._transaction() as connection:
                for task in tasks:
                    task.do(connection)
        except BaseException as error:
            for task in tasks:
                if len(tasks) == 1 or isinstance(error, Busy):
                    task.fail(error)
                else:
                    self._do([task])
        else:
            for task in tasks:
                task.done.set()

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
        with translated(self._driver), self._turn():
            raw = self.engine.raw_connection()
            try:
                return cut_log(raw.driver_connection) if self._sqlite else vacuum(raw.driver_connection)
            finally:
                raw.invalidate()  # its settings were changed
                raw.close()

    def dispose(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(self._driver), self._writer.connect() as connection:
            transaction = connection.begin()
            try:
                yield connection
                transaction.commit()
            except BaseException as error:
                self._undo(connection, transaction, error)
                raise

    def _undo(self, connection: Connection, transaction: RootTransaction, error: BaseException) -> None:
        """Roll back; after an error of the database the connection is not trusted with another transaction."""
        with suppress(SQLAlchemyError, self._driver.Error):
            transaction.rollback()
        if isinstance(error, (DBAPIError, self._driver.Error)):
            connection.invalidate()

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
    try:
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
    except ImportError:
        raise NotInstalled(
            "A postgresql:// address needs psycopg, which is not installed: pip install 'myoresponse[postgres]'"
        ) from None
    if sqlite:
        _keep_private(address)
        event.listen(engine, "connect", partial(prepare_sqlite, round(wait_seconds * 1000)))
        event.listen(engine, "begin", begin_sqlite)
    else:
        event.listen(engine, "connect", partial(prepare_postgresql, round(wait_seconds * 1000)))
    return engine


def _keep_private(address: URL) -> None:
    """Create the file for its owner only; SQLite gives the files beside it the same mode."""
    with suppress(OSError):
        os.close(os.open(address.database or "", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
