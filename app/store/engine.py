"""The database: transactions that read and transactions that write.

The file holds, in this order: `Database`; how an engine is made; how a new connection is set up; how deleted content is
removed from the files; and how it is tried whether the database can serve. An error of a driver becomes one of ours in
`failures`.

SQLite runs in WAL mode with `synchronous=FULL`. Without FULL, a loss of power can lose a commit that was already
answered. SQLAlchemy begins the transactions, not the driver: the driver begins them too late for a snapshot and for a
migration. A writer takes the lock before it reads (`BEGIN IMMEDIATE`), because a reader that becomes a writer fails at
once while another one writes.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    RootTransaction,
    Select,
    Text,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    table,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.sql import column

from app.errors import Busy, Cause, NotInstalled, ServiceError
from app.secret_file import secret_path
from app.store.failures import DatabaseFailure, Failures, is_undone, refusal_of
from app.store.heads import HeadsFile, begin_noting
from app.store.ledger_keys import LedgerKeys
from app.store.process_turn import ProcessTurn
from app.store.tables import SCHEMA_REVISION, metadata
from app.store.writer_queue import Gathered, Item, Result, Task, WriterQueue, run_each, run_tasks

if TYPE_CHECKING:
    from app.store.segments import Segments

_VERSION: Select[str] = select(column("version_num", Text)).select_from(table("alembic_version"))
Transaction = Connection
"""An open transaction. Only the store runs queries in it."""
REPEAT_SECONDS = (0.01, 0.05, 0.2)
"""The pauses before work is run again whose transaction the database has undone for the sake of others."""
PROBE_SECONDS = 0.5
"""How long a test of the database waits for a lock."""
MOST_LATER = 1_000
"""The largest number of pieces of work that wait to run later."""
log = logging.getLogger("myoresponse")


class UnusableAddress(ValueError):
    """The URL is not one of a database that can be used."""


class CopySource(Protocol):
    """What a copy is made of (`store.rehearsal`). Each method copies what a submission is about to look up."""

    def bring_patients(self, connection: Connection, ids: Iterable[str]) -> None:
        """Copy the patients with these identifiers."""

    def bring_keys(self, connection: Connection, keys: Iterable[int]) -> None:
        """Copy the patients with these keys."""

    def bring_client_ids(self, connection: Connection, names: Iterable[tuple[str, str]]) -> None:
        """Copy these client ids, each a type of resource and an id."""

    def bring_person(self, connection: Connection, patient: str) -> None:
        """Copy all records that are read as one person with this record."""

    def bring_merged(self, connection: Connection, patient: str) -> None:
        """Copy the patients whose records were ever merged into that of this patient."""

    def bring_item(self, connection: Connection, number: int) -> None:
        """Copy the item of the worklist with this number."""


class Database:
    """The database at a URL, for all threads of a process. Raises `UnusableAddress` for one that cannot be used.

    A copy for a rehearsal has an `origin` and need not be `durable`: it does not wait for the disk. Without `keys`, the
    secret file is beside the database.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        wait_seconds: float = 5.0,
        origin: CopySource | None = None,
        durable: bool = True,
        keys: LedgerKeys | None = None,
    ) -> None:
        self.origin = origin
        self.keys = keys or LedgerKeys(secret_path(url), make=True)
        self.heads: HeadsFile | None = None
        self.segments: Segments | None = None
        try:
            address = _address(url)
            self.engine = _engine(address, pool_size, wait_seconds, durable)
        except (ArgumentError, ValueError) as error:
            if isinstance(error, UnusableAddress):
                raise
            raise UnusableAddress("this is not a database address that can be used") from None
        self._sqlite = address.get_backend_name() == "sqlite"
        self._wait = wait_seconds
        self._queue = WriterQueue()
        shared = self._sqlite and origin is None
        self._process_turn = ProcessTurn(Path(address.database or "").absolute().parent) if shared else None
        self._queues: WeakValueDictionary[str, WriterQueue] = WeakValueDictionary()  # those in which somebody waits
        self._later: list[Callable[[Connection], object]] = []
        self._later_lock = threading.Lock()
        self._later_thread: threading.Thread | None = None
        self._driver = self.engine.dialect.loaded_dbapi
        self._locked_since: float | None = None
        self.failures = Failures(self._driver, address.database if self._sqlite else None)
        if self._sqlite:
            self._reader = self.engine.execution_options(keys=self.keys)
            self._writer = self.engine.execution_options(keys=self.keys, write=True, origin=origin)
        else:
            mine = self.engine.execution_options(keys=self.keys)
            self._reader = mine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writer = mine.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot: the block reads one state of the database, also while others write."""
        with self.failures.translated(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction. After the block, COMMIT has returned. An exception in the block undoes all of it."""
        with self._exclusive_write(), self._transaction() as connection:
            yield connection

    def alone(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction of its own, and return its result after COMMIT. It may be run several times.

        PostgreSQL undoes a transaction if it and another one wait for each other, or could not have run one after the
        other. Nothing of it was committed, and the work is run again, after each pause of `REPEAT_SECONDS`.
        """
        return self._repeated(self.writing, work)

    def _repeated(
        self, begin: Callable[[], AbstractContextManager[Connection]], work: Callable[[Connection], Result]
    ) -> Result:
        for seconds in REPEAT_SECONDS:
            try:
                with begin() as connection:
                    return work(connection)
            except Busy as refusal:
                if not is_undone(refusal):
                    raise
            time.sleep(seconds)
        with begin() as connection:
            return work(connection)

    def together(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction that it shares with other work that waits, and return its result after COMMIT.

        On SQLite, one write to the disk then serves all of them. `work` may be run several times. It may raise a
        `ServiceError` only before it has written anything, because the other work is committed nevertheless.
        """
        if not self._sqlite:
            return self.alone(work)
        context = copy_context()  # it may run in the thread of another task
        task: Task[Callable[[Connection], Result], Result]
        task = Task(lambda connection: context.run(work, connection), run_each)
        return self._in_queue(self._queue, task)

    def gathered(self, name: str, item: Item, work: Gathered[Item, Result]) -> Result:
        """Let `work` store an item together with others of the same name that wait; its result is given after COMMIT.

        `work` gets all of them and returns a result for each, in their order. It may be run several times, also for
        each of them in a separate transaction. A refusal of one of them, or of all, must have written nothing.
        """
        queue = self._queue if self._sqlite else self._queues.setdefault(name, WriterQueue())
        return self._in_queue(queue, Task(item, work, name))

    def _in_queue(self, queue: WriterQueue, task: Task[Any, Result]) -> Result:
        until = time.monotonic() + self._wait
        queue.enter(task)
        if not task.woken.wait(self._wait) and queue.leave(task):
            raise self._turn_did_not_come()
        task.woken.wait()  # another thread may have just begun to run it
        if queue.leader is task:
            try:
                with self._turn(queue, until - time.monotonic()):
                    self._run(queue.take())
            finally:
                queue.leave(task)
        return task.outcome()

    def _run(self, tasks: Sequence[Task[Any, Any]]) -> None:
        """Run the tasks in one transaction. If it fails, and not for being busy, run each in a separate transaction."""
        try:
            self._repeated(self._transaction, partial(run_tasks, tasks))
        except BaseException as error:
            for task in tasks:
                if len(tasks) == 1 or isinstance(error, Busy):
                    task.fail(error)
                else:
                    self._run([task])
        else:
            for task in tasks:
                task.woken.set()

    def later(self, work: Callable[[Connection], object]) -> None:
        """Run `work` soon, in another thread. It is given up if it fails, or if too much waits: nobody relies on it."""
        with self._later_lock:
            if len(self._later) >= MOST_LATER:
                return
            self._later.append(work)
            if self._later_thread is None:
                self._later_thread = threading.Thread(target=self._work_off, name="later", daemon=True)
                self._later_thread.start()

    def settle(self, seconds: float) -> None:
        """Wait until what was to run later has run, but not longer than this."""
        thread = self._later_thread
        if thread is not None:
            thread.join(seconds)

    def _work_off(self) -> None:
        while True:
            with self._later_lock:
                works, self._later = self._later, []
                if not works:
                    self._later_thread = None
                    return
            try:
                with self.writing() as connection:
                    for work in works:
                        work(connection)
            except Exception as error:  # nobody waits for an answer
                log.warning("event=later lost=%d error=%s", len(works), type(error).__name__)

    def revision(self) -> str | None:
        """The last migration of the tables, or `None` if the database has no tables of this service."""
        with self.reading() as connection:
            return revision_of(connection)

    def ready(self) -> bool:
        """Whether the database answers and has the tables of this version."""
        try:
            return self.revision() == SCHEMA_REVISION
        except (ServiceError, SQLAlchemyError):
            return False

    def objection(self) -> DatabaseFailure | None:
        """Why the database cannot serve, or `None` if it can: a small write is tried.

        A lock is an objection after nothing was written for as long as a request would wait. A failure of a larger
        write is remembered for some seconds, because this write may succeed where that one failed.
        """
        try:
            with self.failures.translated(), self._test_connection() as connection:
                found = self._tried_sqlite(connection) if self._sqlite else _tried_postgresql(connection)
                if found is not None:
                    connection.invalidate()  # its session may be what is wrong
        except ServiceError as refusal:
            why = refusal.__cause__
            found = why if isinstance(why, DatabaseFailure) else DatabaseFailure(str(refusal), Cause.UNREACHABLE)
        else:
            if found is not None:
                self.failures.note(found)
        if found is None or found.cause is not Cause.LOCKED:
            self._locked_since = None
            return found or self.failures.remembered()
        now = time.monotonic()
        self._locked_since = max(self._locked_since or now, self.failures.written_at)
        return found if now - self._locked_since >= self._wait else self.failures.remembered()

    @contextmanager
    def _test_connection(self) -> Iterator[Connection]:
        """A connection that is not used again after an error."""
        with self._writer.connect() as connection:
            try:
                yield connection
            except BaseException:
                connection.invalidate()
                raise

    def _tried_sqlite(self, connection: Connection) -> DatabaseFailure | None:
        """Try a write, in the time that a probe has; nothing is stored."""
        if not self._queue.lock.acquire(timeout=PROBE_SECONDS):
            return DatabaseFailure("another request of this process writes to it", Cause.LOCKED)
        driver: Any = connection.connection.driver_connection
        try:
            driver.execute(f"PRAGMA busy_timeout={round(PROBE_SECONDS * 1000)}")
            with connection.begin():
                for pragma, safe in (("journal_mode", "wal"), ("synchronous", 2)):
                    if connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() != safe:
                        return DatabaseFailure(f"its {pragma} is not the one that was set", Cause.UNSAFE_SETTINGS)
                connection.exec_driver_sql("PRAGMA user_version = 0")  # the value that it has: the page is written
                return _objection_to_tables(connection)
        finally:
            driver.execute(f"PRAGMA busy_timeout={round(self._wait * 1000)}")
            self._queue.lock.release()

    def afterwards(self, work: Callable[[], object]) -> None:
        """Run `work` when what was written is committed: now. In a request with a key it is committed later."""
        work()

    def scrub(self) -> bool:
        """Remove deleted content from the files as well. Call this after an erasure.

        Segments that have the deleted content are removed first.

        SQLite overwrites deleted rows with zeros (`secure_delete`), but its log holds older pages until they are copied
        and the log is truncated. `False` means that a reader still needs an older state: call again later.
        PostgreSQL frees the rows. The operator must make sure that its pages, its log and all backups expire.
        """
        swept = self.sweep()
        with self.failures.translated(), self._exclusive_write():
            raw = self.engine.raw_connection()
            try:
                return (_truncate_log if self._sqlite else _vacuum)(raw.driver_connection) and swept
            finally:
                raw.invalidate()  # the settings of this connection were changed
                raw.close()

    def sweep(self) -> bool:
        """Remove the segments that have an erased person. `False` means that this must be tried again."""
        return self.segments is None or self.segments.sweep(self)

    def dispose(self) -> None:
        """Close the pooled connections, after what was to run later."""
        self.settle(2 * self._wait)
        if self.heads is not None:
            self.heads.close()
        if self._process_turn is not None:
            self._process_turn.close()
        self.engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self.failures.translated(), self._writer.connect() as connection:
            transaction = connection.begin()
            noted = begin_noting(connection)
            try:
                yield connection
                transaction.commit()
                self.failures.forget()
            except BaseException as error:
                self._undo(connection, transaction, error)
                raise
            if self.heads is not None:
                self.heads.add(noted)

    def _undo(self, connection: Connection, transaction: RootTransaction, error: BaseException) -> None:
        """Roll back. After an error of the database, the connection is not used again."""
        with suppress(SQLAlchemyError, self._driver.Error):
            transaction.rollback()
        if isinstance(error, (DBAPIError, self._driver.Error)):
            connection.invalidate()

    @contextmanager
    def _exclusive_write(self) -> Iterator[None]:
        """SQLite: one writer of this process at a time. PostgreSQL: nothing, as a writer locks its study."""
        if not self._sqlite:
            yield
            return
        with self._turn(self._queue, self._wait):
            yield

    @contextmanager
    def _turn(self, queue: WriterQueue, seconds: float) -> Iterator[None]:
        """The only writer of a queue. Raises `Busy` if its turn does not come in so many seconds."""
        if not queue.lock.acquire(timeout=max(0, seconds)):
            raise self._turn_did_not_come()
        try:
            with nullcontext() if self._process_turn is None else self._process_turn.taken():
                yield
        finally:
            queue.lock.release()

    def _turn_did_not_come(self) -> ServiceError:
        failure = DatabaseFailure("another request of this process writes to it", Cause.LOCKED)
        self.failures.note(failure)
        refusal = refusal_of(failure)
        refusal.__cause__ = failure
        return refusal


_SAFE = ("fsync", "full_page_writes", "synchronous_commit")


def _tried_postgresql(connection: Connection) -> DatabaseFailure | None:
    """Try a write. It is a message in the log of the server, which COMMIT brings to the disk; nothing reads it."""
    with connection.begin():
        if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() != "off":
            return DatabaseFailure("it can only be read", Cause.READ_ONLY)
        off = [name for name in _SAFE if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off"]
        if off:
            return DatabaseFailure(f"its server runs with {' and '.join(off)} off", Cause.UNSAFE_SETTINGS)
        connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'myoresponse', '')")
        return _objection_to_tables(connection)


def _objection_to_tables(connection: Connection) -> DatabaseFailure | None:
    revision = revision_of(connection)
    if revision == SCHEMA_REVISION:
        return None
    why = "it has no tables of this program" if revision is None else "its tables are those of another version"
    return DatabaseFailure(why, Cause.NO_TABLES)


def revision_of(connection: Connection) -> str | None:
    """The last migration of the tables that this transaction sees, or `None` if there are no tables of this service."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = list(connection.execute(_VERSION).scalars())
    return found[0] if len(found) == 1 else None


def kind_of(url: str) -> str:
    """Which database a URL names: `sqlite` or `postgresql`."""
    return _address(url).get_backend_name()


def _address(url: str) -> URL:
    """The URL with the driver that we use. Many hosting platforms write `postgres://`."""
    address = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    if address.get_backend_name() == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    if address.get_backend_name() != "sqlite":
        raise UnusableAddress("the database must be SQLite or PostgreSQL")
    if address.database in {None, "", ":memory:"} or "mode=memory" in (address.database or ""):
        raise UnusableAddress(
            "an SQLite database must be a file: in memory, each connection would have a database to itself"
        )
    return address


def _engine(address: URL, pool_size: int, wait_seconds: float, durable: bool) -> Engine:
    sqlite = address.get_backend_name() == "sqlite"
    try:
        engine = create_engine(
            address,
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=wait_seconds,
            pool_use_lifo=True,  # the connection that was used last has the best cache
            pool_pre_ping=not sqlite,
            connect_args={} if sqlite else {"connect_timeout": 10, "application_name": "myoresponse"},
        )
    except ImportError:
        raise NotInstalled(
            "A postgresql:// address needs psycopg, which is not installed: pip install 'myoresponse[postgres]'"
        ) from None
    if sqlite:
        _create_private_file(address)
        event.listen(engine, "connect", partial(_prepare_sqlite, round(wait_seconds * 1000)))
        if not durable:
            event.listen(engine, "connect", _do_not_wait)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", partial(_prepare_postgresql, round(wait_seconds * 1000)))
    return engine


def _create_private_file(address: URL) -> None:
    """Create the file so that only its owner can read it. SQLite gives its other files the same mode."""
    with suppress(OSError):
        os.close(os.open(address.database or "", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


SQLITE_PRAGMAS = (
    "busy_timeout={wait}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    "secure_delete=ON",
)
"""`busy_timeout` comes first, because the change to WAL may have to wait for another process.

`secure_delete` overwrites deleted content.
"""

_POSTGRESQL_SESSION = """
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1; SET lock_timeout = {wait};
    SET idle_in_transaction_session_timeout = '60s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
"""Settings that could change a result have fixed values, and COMMIT returns only after the data are on the disk."""


def _prepare_sqlite(wait: int, driver: sqlite3.Connection, _: object) -> None:
    """Set up a new connection: SQLAlchemy begins transactions, not the driver. `wait` is in milliseconds."""
    driver.isolation_level = None
    for pragma in SQLITE_PRAGMAS:
        driver.execute(f"PRAGMA {pragma.format(wait=wait)}")


def _do_not_wait(driver: sqlite3.Connection, _: object) -> None:
    driver.execute("PRAGMA synchronous=OFF")


def origin_of(connection: Connection) -> CopySource | None:
    """What the database of a writing transaction is a copy of, if it is one."""
    origin: CopySource | None = connection.get_execution_options().get("origin")
    return origin


def _begin_sqlite(connection: Connection) -> None:
    """Begin a snapshot for a reader, or a transaction with the write lock for a writer."""
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def _prepare_postgresql(wait: int, driver: Any, _: object) -> None:  # noqa: ANN401 - psycopg.Connection
    """Set up a new connection. `wait` is in milliseconds."""
    driver.execute(_POSTGRESQL_SESSION.format(wait=wait).encode())
    driver.commit()


def _truncate_log(driver: Any) -> bool:  # noqa: ANN401 - sqlite3.Connection behind the pool
    """Copy the log of SQLite into the file and truncate it. `False` where a reader prevented that."""
    driver.execute("PRAGMA busy_timeout=200")  # short, because writers wait meanwhile
    busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _vacuum(driver: Any) -> bool:  # noqa: ANN401 - psycopg.Connection behind the pool
    """Free the deleted rows, also in the indexes. Always `True`."""
    driver.autocommit = True
    driver.execute("VACUUM (INDEX_CLEANUP ON) " + ", ".join(sorted(metadata.tables)))
    return True
