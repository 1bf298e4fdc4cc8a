"""Errors of the database: each becomes a refusal of ours with a named cause, and no value of a row is in its text.

PostgreSQL names an error by SQLSTATE: the first two characters are its class, and a class has one cause here unless a
state in it means another. SQLite has result codes. It reports a disk that has become full or read-only in places where
only the file system can tell which, so that is asked.

A failure is counted by its cause, and logged when its cause is new or 10 seconds after it was logged last.
"""

import logging
import os
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine.interfaces import DBAPIModule
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import Busy, Cause, ServiceError, Unavailable

log = logging.getLogger("myoresponse")
RETRY_HELPS = frozenset({Cause.LOCKED, Cause.RESTARTING, Cause.TOO_MANY_CONNECTIONS, Cause.UNREACHABLE})
"""The causes that usually end without anybody's help."""


class DatabaseFailure(Exception):
    """Why the database cannot be used, for its operator, without data and without its address.

    It is the cause of the `ServiceError` that is raised. `cause` is its name, if it has one.
    """

    def __init__(self, why: str, cause: Cause | None = None) -> None:
        super().__init__(why)
        self.cause = cause


def refusal_of(failure: DatabaseFailure) -> ServiceError:
    """The refusal of a request that failed for this reason."""
    if failure.cause is None:
        return ServiceError(str(failure))
    return (Busy if failure.cause in RETRY_HELPS else Unavailable)(cause=failure.cause)


def is_undone(refusal: ServiceError) -> bool:
    """Whether the database has undone the transaction for the sake of others, so that it may be run again at once."""
    return isinstance(refusal.__cause__, DatabaseFailure) and str(refusal.__cause__) == _UNDONE


class Failures:
    """The failures of one database in this process: their counts, and the last one that lasts."""

    LOG_SECONDS = 10.0
    REMEMBERED_SECONDS = 10.0
    LASTING = frozenset({Cause.DISK_FULL, Cause.IO_ERROR, Cause.DAMAGED})
    """A small write may succeed while they last, so that the failure of a larger one is remembered."""

    def __init__(self, driver: DBAPIModule, file: str | None) -> None:
        self.counts = Counter[Cause]()
        """How many failures each cause had since the start."""
        self.written_at = 0.0
        """When this process committed last, by the clock of `time.monotonic`."""
        self._driver = driver
        self._file = file
        self._lock = threading.Lock()
        self._logged: dict[Cause, float] = {}
        self._last: tuple[DatabaseFailure, float] | None = None

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn errors of the pool and the driver into ours, without SQL, parameters or rows in their text."""
        try:
            yield
        except PoolTimeout:
            failure = DatabaseFailure("all connections of this process are in use", Cause.TOO_MANY_CONNECTIONS)
            self.note(failure)
            raise refusal_of(failure) from failure
        except (SQLAlchemyError, self._driver.Error) as error:
            failure, kind = self._failure(error)
            if failure.cause is None:
                raise ServiceError(kind) from failure
            self.note(failure)
            raise refusal_of(failure) from failure

    def note(self, failure: DatabaseFailure) -> None:
        """Count and log a failure, and remember it if it lasts."""
        cause = failure.cause
        if cause is None:
            return
        now = time.monotonic()
        with self._lock:
            self.counts[cause] += 1
            if cause in self.LASTING:
                self._last = failure, now
            due = now - self._logged.get(cause, -self.LOG_SECONDS) >= self.LOG_SECONDS
            if due:
                self._logged[cause] = now
        if due:
            log.error("event=database cause=%s count=%d why=%r", cause, self.counts[cause], str(failure))

    def forget(self) -> None:
        """Forget the last failure: a transaction that wrote was committed."""
        self.written_at = time.monotonic()
        if self._last is not None:
            self._last = None

    def remembered(self) -> DatabaseFailure | None:
        """The last failure that lasts, if it was a few seconds ago and nothing was written since."""
        last = self._last
        return last[0] if last is not None and time.monotonic() - last[1] < self.REMEMBERED_SECONDS else None

    def _failure(self, error: Exception) -> tuple[DatabaseFailure, str]:
        """The failure, and the name of the error for the log."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, sqlite3.Error):
            name = getattr(cause, "sqlite_errorname", "")
            return _of_sqlite(cause, self._file), f"{type(cause).__name__} {name}"
        if isinstance(cause, self._driver.Error):
            connecting = isinstance(cause, (self._driver.OperationalError, self._driver.InterfaceError))
            state = getattr(cause, "sqlstate", None)
            return _of_postgresql(cause, state, connecting), f"{type(cause).__name__} {state}"
        raise error


_NO_WRITING = "this user may not write to its file or to the directory of the file"
_LOCKED = DatabaseFailure("it is locked, because another program writes to it", Cause.LOCKED)
_FULL = DatabaseFailure("its disk is full", Cause.DISK_FULL)
_IO_ERROR = "the disk or the file system of its file reports an error"
_BY_RESULT = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_INTERRUPT: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_NOMEM: DatabaseFailure("there is no memory left for it", Cause.IO_ERROR),
    sqlite3.SQLITE_READONLY: DatabaseFailure(_NO_WRITING, Cause.READ_ONLY),
    sqlite3.SQLITE_PERM: DatabaseFailure(_NO_WRITING, Cause.READ_ONLY),
    sqlite3.SQLITE_NOTADB: DatabaseFailure("its file is not an SQLite database", Cause.DAMAGED),
    sqlite3.SQLITE_CORRUPT: DatabaseFailure("its file is damaged", Cause.DAMAGED),
}
_NO_TABLES = DatabaseFailure("it has not the tables of this version", Cause.NO_TABLES)
LEAST_SPACE = 100_000
"""A disk with fewer free bytes than this is full."""


def _of_sqlite(error: sqlite3.Error, file: str | None) -> DatabaseFailure:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    path = None if file is None else Path(file.removeprefix("file:").partition("?")[0])
    if primary == sqlite3.SQLITE_IOERR:
        return _of_disk(path) or DatabaseFailure(_IO_ERROR, Cause.IO_ERROR)
    if primary == sqlite3.SQLITE_CANTOPEN:
        return _of_file(path)
    if str(error).startswith(("no such table", "no such column")):
        return _NO_TABLES
    found = _BY_RESULT.get(primary) if primary is not None else None
    return found or DatabaseFailure(getattr(error, "sqlite_errorname", "") or type(error).__name__)


def _of_disk(path: Path | None) -> DatabaseFailure | None:
    """What the file system of the file says about itself."""
    try:
        disk = os.statvfs(path.parent) if path is not None else None
    except OSError:
        return None
    if disk is None:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return DatabaseFailure("its file system can only be read", Cause.READ_ONLY)
    return _FULL if disk.f_blocks and disk.f_bavail * disk.f_frsize < LEAST_SPACE else None


def _of_file(path: Path | None) -> DatabaseFailure:
    """Why the file cannot be opened."""
    if path is not None and path.is_dir():
        return DatabaseFailure("its file is a directory", Cause.UNREACHABLE)
    if path is not None and not path.parent.is_dir():
        return DatabaseFailure("the directory of its file does not exist", Cause.UNREACHABLE)
    return _of_disk(path) or DatabaseFailure(_NO_WRITING, Cause.READ_ONLY)


_NOT_ADMITTED = (
    "the server does not admit its user: the name, the password, or where the connection comes from is wrong"
)
_NO_DATABASE = "the server has no database of its name; create it first"
_NO_CONNECTION = "the server has no free connection"
_NOT_RUNNING = "the server is starting or stopping"
_UNDONE = "the server has undone a transaction so that others can go on"
_WHY_POSTGRESQL = {
    "0A000": "it can only be read",
    "25006": "it can only be read",
    "28000": _NOT_ADMITTED,
    "28P01": _NOT_ADMITTED,
    "3D000": _NO_DATABASE,
    "3F000": "it has no schema for tables",
    "40001": _UNDONE,
    "40P01": _UNDONE,
    "42501": "its user may not create, change or read tables there",
    "42703": str(_NO_TABLES),
    "42P01": str(_NO_TABLES),
    "53100": "its disk is full",
    "53300": _NO_CONNECTION,
    "55P03": "it is locked by another program",
    "57P01": _NOT_RUNNING,
    "57P02": _NOT_RUNNING,
    "57P03": _NOT_RUNNING,
    "58030": "the disk of the server reports an error",
    "XX001": "its data are damaged",
    "XX002": "an index of it is damaged",
}
"""By SQLSTATE. A connection that failed has none: see below."""
_BY_STATE = {
    "08": Cause.UNREACHABLE,  # connection
    "0A000": Cause.READ_ONLY,  # what a standby does not support: a transaction that may write
    "25006": Cause.READ_ONLY,
    "28": Cause.UNREACHABLE,  # authorization
    "3D": Cause.UNREACHABLE,  # no such database
    "3F": Cause.NO_TABLES,  # no such schema
    "40": Cause.LOCKED,  # transactions that have to be repeated: serialization, deadlock
    "42501": Cause.READ_ONLY,
    "42703": Cause.NO_TABLES,
    "42P01": Cause.NO_TABLES,
    "53": Cause.TOO_MANY_CONNECTIONS,  # resources
    "53100": Cause.DISK_FULL,
    "55": Cause.LOCKED,  # an object is in use
    "57": Cause.RESTARTING,  # intervention of an operator
    "57014": Cause.LOCKED,  # cancelled after a time that the server allows
    "57P04": Cause.UNREACHABLE,  # the database was dropped
    "58": Cause.IO_ERROR,  # the system outside PostgreSQL
    "58P01": Cause.DAMAGED,  # a file is gone
    "72": Cause.LOCKED,  # the snapshot is too old
    "F0": Cause.RESTARTING,  # configuration
    "XX001": Cause.DAMAGED,
    "XX002": Cause.DAMAGED,
}
"""By SQLSTATE, or by its class."""
_WHY_NO_CONNECTION = {
    r'database ".*" does not exist': _NO_DATABASE,
    r'role ".*" does not exist|authentication failed|no password supplied|no pg_hba\.conf entry': _NOT_ADMITTED,
    r"connection refused|no such file or directory": "no server listens at its host and port",
    r"resolve host|translate host name": "its host is not known",
    r"timeout|timed out|unreachable|no route": "its host does not answer",
    r"too many clients|connection slots|too many connections": _NO_CONNECTION,
    r"starting up|shutting down|recovery mode|not yet accepting": _NOT_RUNNING,
    r"invalid connection option|invalid \w+ value": "an option of its address is not valid",
    r"\bSSL\b|certificate": "its server does not agree to the TLS options of the address",
}
"""By the text of the driver. The text of a server that does not speak English is not understood."""
_BY_WHY = {_NO_CONNECTION: Cause.TOO_MANY_CONNECTIONS, _NOT_RUNNING: Cause.RESTARTING}


def _of_postgresql(error: BaseException, state: str | None, connecting: bool) -> DatabaseFailure:
    """The failure. Without a state it has a cause only if it is one of the connection."""
    if state is None:
        found = (why for text, why in _WHY_NO_CONNECTION.items() if re.search(text, str(error), re.IGNORECASE))
        why = next(found, "its server cannot be reached, or does not accept the connection")
        return DatabaseFailure(why, _BY_WHY.get(why, Cause.UNREACHABLE) if connecting else None)
    why = _WHY_POSTGRESQL.get(state, f"the server answers with SQLSTATE {state}")
    return DatabaseFailure(why, _BY_STATE.get(state, _BY_STATE.get(state[:2])))
