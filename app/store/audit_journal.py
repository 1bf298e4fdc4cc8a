"""The journal of the audit: rows of reads that are in a file, but not in the database yet.

An answer must not leave before its row is safe, and SQLite has one writer: a read would wait for every large write. So
the row is first a line of a file beside the heads, which needs no lock of the database, and is moved soon after. Each
process has a file of its own, which it locks. The file of a process that was killed is moved at the next start; a line
that is in the database already is left out. Lines have the numbers of patients, never identifiers.
"""

import fcntl
import hmac
import json
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from app.store import audit
from app.store.audit import AuditLine
from app.store.engine import Database
from app.store.hashes import canonical

log = logging.getLogger("myoresponse")
_KIND = ".reads-"


class AuditJournal:
    """The file of one process."""

    def __init__(self, heads: Path, key: bytes) -> None:
        self._key = key
        while True:
            self.path = heads.with_name(f"{heads.name}{_KIND}{secrets.token_hex(8)}")
            self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file).st_nlink:
                return
            os.close(self._file)  # a process that started just now took it for one that was left behind

    def append(self, lines: Sequence[AuditLine]) -> None:
        """Write lines. Raises `OSError`; then none of them is in the file.

        They outlast the process, and not a loss of power: to wait for the disk would take as long as to store them.
        """
        size = os.fstat(self._file).st_size
        text = "".join(_written(self._key, line) for line in lines).encode("ascii")
        try:
            if os.write(self._file, text) < len(text):
                raise OSError("the line was cut")
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, size)
            raise

    def empty(self) -> None:
        """Forget all lines: the database has them."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Remove the file, unless it has lines."""
        if os.fstat(self._file).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._file)


def move_left_behind(database: Database, heads: Path, key: bytes) -> None:
    """Store the lines of processes that ended without moving them. Others that start may do the same now."""
    for path in sorted(heads.parent.glob(f"{heads.name}{_KIND}*")):
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # its process is running, or another one moves them
            lines = list(_read(key, file))
            with database.writing() as connection:
                audit.store_lines(connection, [line for line in lines if not audit.has_line(connection, line)])
            path.unlink(missing_ok=True)
            log.info("event=audit moved=%d", len(lines))


def _written(key: bytes, line: AuditLine) -> str:
    study, row = line
    content = [study, *[value.hex() if isinstance(value, bytes) else value for value in row]]
    return canonical([*content, hmac.digest(key, canonical(content).encode("ascii"), "sha256").hex()]) + "\n"


def _read(key: bytes, file: Iterator[bytes]) -> Iterator[AuditLine]:
    """The lines of a file; what was not written to its end, or by nobody with the secret file, is left out."""
    for text in file:
        try:
            *content, signature = json.loads(text)
            expected = hmac.digest(key, canonical(content).encode("ascii"), "sha256").hex()
            if not hmac.compare_digest(signature, expected):
                raise ValueError
        except (ValueError, TypeError):
            log.warning("event=audit line=unsigned")
            continue
        study, *row = content
        if row[audit.NUMBERS] is not None:
            row[audit.NUMBERS] = bytes.fromhex(row[audit.NUMBERS])
        yield AuditLine(study, tuple(row))
