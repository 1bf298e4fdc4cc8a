"""Heads outside the database: a file that notes how far each chain has come, so that a cut tail is noticed.

After a commit, the head of each chain that grew is a line of the file, at most one each second for a chain, and when
the service stops. A line is signed with a key from the secret file. It is written after the commit: a file that is
behind is usual after a crash, a file that is ahead shows that something is missing in the database.

A file that has grown large is replaced by a shorter one: of the lines that the database agrees with, the last of each
chain proves all before it. Several processes may share the file: who writes to it has its lock. On a disk that allows
only to append, it is not replaced.
"""

import errno
import fcntl
import hmac
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from sqlalchemy import Connection

from app.disk import replace_whole
from app.errors import ServiceError
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
    LARGE = 1_000_000
    """From how many bytes on the file is replaced by a shorter one. A line has about 230."""

    def __init__(self, path: Path, key: bytes, database: bytes) -> None:
        self.path = path
        self._key = key
        self.database = database
        self.shorten: Callable[[], int] | None = None
        """Replaces the file when it is large: `compact` with what the database says (`opening`)."""
        self._large = self.LARGE
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._shortening = threading.Lock()
        self._pending: dict[Chain, ChainHead] = {}
        self._timer: threading.Timer | None = None

    def add(self, heads: Mapping[Chain, ChainHead]) -> None:
        """Write these heads soon."""
        if not heads:
            return
        with self._lock:
            self._collect(heads)
            if self._timer is None:
                self._timer = threading.Timer(self.SECONDS, self._run)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Write what was collected. If that fails, it is tried again with the next heads."""
        with self._writing:
            with self._lock:
                self._timer = None
                pending, self._pending = self._pending, {}
            try:
                self.write(pending)
            except OSError as error:
                with self._lock:
                    self._collect(pending)
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
        with self._shortening:
            self.shorten = None

    def write(self, heads: Mapping[Chain, ChainHead]) -> None:
        """Append lines now, all at once. Raises `OSError`; what was written of them before is written again later."""
        text = "".join(self._line(chain, head) for chain, head in heads.items())
        with self._locked() as descriptor:
            if os.write(descriptor, text.encode("ascii")) < len(text):
                os.write(descriptor, b"\n")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def lines(self) -> Iterator[SignedHead | str]:
        """The heads of this database, and a fault for each line that is not signed or not whole. Raises `OSError`."""
        with self.as_it_is() as lines:
            yield from lines

    @contextmanager
    def as_it_is(self) -> Iterator[Iterator[SignedHead | str]]:
        """The lines that the file has now, as of `lines`. What is written later is left out. Raises `OSError`."""
        with self.path.open("rb") as file:
            yield self._lines(file, os.fstat(file.fileno()).st_size)

    def compact(self, agrees: Callable[[SignedHead], bool]) -> int:
        """Replace the file by one without the lines that a later one makes needless. How many there were.

        A line is needless if the database agrees with it and with a later one of its chain. What the database does not
        agree with, what is not signed, and the lines of other databases stay. Raises `OSError`; then the file is as it
        was, or replaced.
        """
        path = self.path.resolve()
        with path.open("rb") as file:
            needless = _needless(self._lines(file, os.fstat(file.fileno()).st_size), agrees)
            if not needless:
                return 0
            with self._locked() as descriptor:
                mine = os.fstat(file.fileno())
                if not os.path.samestat(mine, os.fstat(descriptor)):
                    return 0  # another process has replaced it meanwhile
                file.seek(0)
                kept = (line for at, line in enumerate(file, 1) if at not in needless)
                replace_whole(path, kept, draft=path.with_name(f"{path.name}.draft"), mode=mine.st_mode & 0o777)
        return len(needless)

    def has_lines(self) -> bool:
        """Whether the file has any line of this database."""
        try:
            return any(True for _ in islice(self.lines(), 1))
        except FileNotFoundError:
            return False

    def _collect(self, heads: Mapping[Chain, ChainHead]) -> None:
        for chain, head in heads.items():
            known = self._pending.get(chain)
            if known is None or known.number < head.number:
                self._pending[chain] = head

    def _run(self) -> None:
        self.flush()
        with self._shortening, suppress(FileNotFoundError):
            if self.shorten is None or self.path.stat().st_size < self._large:
                return
            try:
                log.info("event=heads removed=%d", self.shorten())
            except (OSError, ServiceError) as error:
                log.warning("event=heads removed=0 error=%s", type(error).__name__)
            self._large = max(self.LARGE, 2 * self.path.stat().st_size)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file to append to. Nobody else appends to it or replaces it in the meantime. Raises `OSError`."""
        while True:
            descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._is_at_its_path(descriptor):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _is_at_its_path(self, descriptor: int) -> bool:
        """Whether the file was not replaced or moved away while its lock was waited for."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _lines(self, file: BinaryIO, size: int) -> Iterator[SignedHead | str]:
        """The lines in the first bytes of a file. The last one may be incomplete after a crash."""
        end = 0
        for number, line in enumerate(file, 1):
            end += len(line)
            if end > size or not line.endswith(b"\n"):
                return
            read = self._read(number, line)
            if read is not None:
                yield read

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


def _needless(lines: Iterable[SignedHead | str], agrees: Callable[[SignedHead], bool]) -> set[int]:
    """The numbers of the lines that a later one of their chain makes needless."""
    last: dict[Chain, SignedHead] = {}
    needless = set[int]()
    for line in lines:
        if isinstance(line, str) or not agrees(line):
            continue
        known = last.get(line.chain, line)
        older, newer = (known, line) if known.head.number <= line.head.number else (line, known)
        last[line.chain] = newer
        if older is not newer:
            needless.add(older.line)
    return needless
