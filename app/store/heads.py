"""Heads outside the database: a file that notes how far each chain has come, so that a cut tail is noticed.

After a commit, the head of each chain that grew is a line of the file, at most one each second for a chain, and when
the service stops. A line is signed with a key from the secret file. It is written after the commit: a file that is
behind is usual after a crash, a file that is ahead shows that something is missing in the database. Lines are only
added, so that the file may be on a disk that allows no more, and several processes may share it.
"""

import errno
import hmac
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection

from app.store.hashes import canonical

log = logging.getLogger("myoresponse")
Chain = tuple[Literal["study", "seal", "audit"], int]
"""The revisions of a study, its seal, or its audit, by the key of the study; the audit of no study has the key 0."""
_NOTED = "heads"


class ChainHead(NamedTuple):
    """The last entry of a chain: its number, and its hash or seal."""

    number: int
    hash: bytes


class SignedHead(NamedTuple):
    """A line of the file, with the number of the line."""

    line: int
    chain: Chain
    head: ChainHead


def note(connection: Connection, chain: Chain, number: int, hashed: bytes) -> None:
    """Note the head of a chain in the transaction that makes it; it is written after the commit."""
    connection.info.setdefault(_NOTED, {})[chain] = ChainHead(number, hashed)


def begin_noting(connection: Connection) -> dict[Chain, ChainHead]:
    """What the transaction that begins now will note."""
    noted: dict[Chain, ChainHead] = {}
    connection.info[_NOTED] = noted
    return noted


@contextmanager
def part_noted(connection: Connection) -> Iterator[None]:
    """A part of a transaction. What it notes is forgotten if it is undone."""
    noted: dict[Chain, ChainHead] = connection.info.setdefault(_NOTED, {})
    before = dict(noted)
    try:
        yield
    except BaseException:
        noted.clear()
        noted.update(before)
        raise


class HeadsFile:
    """The file of the heads of one database."""

    SECONDS = 1.0
    """How long heads are collected before they are written."""

    def __init__(self, path: Path, key: bytes, database: bytes) -> None:
        self.path = path
        self._key = key
        self.database = database
        self._lock = threading.Lock()
        self._pending: dict[Chain, ChainHead] = {}
        self._timer: threading.Timer | None = None

    def add(self, heads: Mapping[Chain, ChainHead]) -> None:
        """Write these heads soon."""
        if not heads:
            return
        with self._lock:
            for chain, head in heads.items():
                known = self._pending.get(chain)
                if known is None or known.number < head.number:
                    self._pending[chain] = head
            if self._timer is None:
                self._timer = threading.Timer(self.SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write what was collected. If that fails, it is tried again with the next heads."""
        with self._lock:
            self._timer = None
            pending, self._pending = self._pending, {}
            try:
                self.write(pending)
            except OSError as error:
                self._pending = pending
                log.warning("event=heads lost=%d error=%s", len(pending), type(error).__name__)

    def close(self) -> None:
        """Write what was collected, down to the disk."""
        with self._lock:
            timer = self._timer
        if timer is not None:
            timer.cancel()
        self.flush()
        with suppress(OSError), self.path.open("ab") as file:
            os.fsync(file.fileno())

    def write(self, heads: Mapping[Chain, ChainHead]) -> None:
        """Append lines now, all at once. Raises `OSError`; what was written of them before is written again later."""
        text = "".join(self._line(chain, head) for chain, head in heads.items())
        descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            if os.write(descriptor, text.encode("ascii")) < len(text):
                os.write(descriptor, b"\n")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)

    def lines(self) -> Iterator[SignedHead | str]:
        """The heads of this database, and a fault for each line that is not signed or not whole.

        The last line may be incomplete after a crash. Raises `OSError`.
        """
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                read = self._read(number, line)
                if read is not None:
                    yield read

    def has_lines(self) -> bool:
        """Whether the file has any line of this database."""
        try:
            return any(True for _ in islice(self.lines(), 1))
        except FileNotFoundError:
            return False

    def _line(self, chain: Chain, head: ChainHead) -> str:
        content = [self.database.hex(), *chain, head.number, head.hash.hex(), time.time_ns() // 1000]
        return canonical([*content, self._signature(content)]) + "\n"

    def _read(self, number: int, line: bytes) -> SignedHead | str | None:
        """A line; `None` if it is about another database, or was cut when the disk was full."""
        try:
            read = json.loads(line)
        except ValueError:
            return None
        try:
            *content, signature = read
            database, kind, key, at, hashed, _ = content
            if database != self.database.hex():
                return None
            signed = hmac.compare_digest(signature, self._signature(content))
        except (ValueError, TypeError):
            signed = False
        if not signed:
            return f"line {number}: it is not signed with the secret file"
        return SignedHead(number, (kind, key), ChainHead(at, bytes.fromhex(hashed)))

    def _signature(self, content: list[Any]) -> str:
        return hmac.digest(self._key, canonical(content).encode("ascii"), "sha256").hex()
