"""Stores the audit rows of reads and refusals: first in the journal, then, several at a time, in the database."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from app.store import audit
from app.store.audit import AuditEntry, AuditLine, Who
from app.store.audit_journal import AuditJournal
from app.store.engine import Database

log = logging.getLogger("myoresponse")
Kind = tuple[str, int | None, str | None]
"""What makes refusals equal: the operation, the status, and who was refused."""


@dataclass(slots=True)
class _Refused:
    """Equal refusals in a minute: when it ends, and the last one with their number, the first one not counted."""

    until: int
    last: AuditEntry | None = None


class AuditTrail:
    """The rows that no write has. One thread writes them to the journal, another one moves them to the database."""

    TOGETHER = 500
    """Greatest number of rows that are written or moved at once."""
    MOST_WAITING = 10_000
    """Greatest number of rows that wait. A read is refused then, and a refusal is only logged."""
    WINDOW = 60_000_000
    """How long equal refusals are counted, in microseconds. The first has its own row, the others share one."""
    MOST_KINDS = 1_000
    """Greatest number of kinds of refusals that are told apart at a time."""
    PAUSE = 0.5
    """Seconds in which rows are collected before they are moved, or after which it is tried again."""
    IDLE = 2.0
    """Seconds that the thread which writes waits for further rows: to start one takes longer than to write a row."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._waiting: list[tuple[AuditEntry, Future[None]]] = []
        self._thread: threading.Thread | None = None
        self._refused: dict[Kind, _Refused] = {}
        self._journal: AuditJournal | None = None
        self._moving = threading.Condition()
        self._journaled: list[AuditLine] = []
        self._mover: threading.Thread | None = None
        self._hurry = threading.Event()

    def add(self, entry: AuditEntry) -> Future[None]:
        """Store a row. The result is there when it is on the disk; the error is that of the file or the database."""
        done: Future[None] = Future()
        with self._lock:
            if len(self._waiting) + len(self._journaled) >= self.MOST_WAITING:
                done.set_exception(OverflowError("too many rows of the audit wait"))
                return done
            self._waiting.append((entry, done))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work_off, name="audit", daemon=True)
                self._thread.start()
            elif len(self._waiting) == 1:
                self._more.notify()
        return done

    def answered(self, entry: AuditEntry) -> None:
        """Store the row of an answer or of a refusal that does not wait for it."""
        if (entry.status or 0) >= 400:
            self.refused(entry)
        else:
            self.add(entry)

    def refused(self, read: AuditEntry) -> None:
        """Store the row of a refusal. Of many equal ones in a minute, the first has a row and the others share one."""
        with self._lock:
            kind = (read.who.operation, read.status, read.who.caller or read.who.address)
            if len(self._refused) >= self.MOST_KINDS and kind not in self._refused:
                kind = ("", read.status, None)
            due = self._due(read.at)
            known = self._refused.get(kind)
            if known is None:
                self._refused[kind] = _Refused(read.at + self.WINDOW)
                due.append(read)
            else:
                last = read if kind[0] else replace(read, who=Who("-", read.who.door))
                known.last = replace(last, count=1 if known.last is None else known.last.count + 1)
        for each in due:
            self.add(each)

    def _due(self, now: int) -> list[AuditEntry]:
        """The shared rows of the minutes that have ended."""
        ended = [kind for kind, refused in self._refused.items() if refused.until <= now]
        return [last for kind in ended if (last := self._refused.pop(kind).last) is not None]

    def close(self, seconds: float = 10.0) -> None:
        """Store what waits, also the rows of minutes that have not ended. What cannot be moved stays in the journal.

        From now on rows are moved at once, and are not tried again.
        """
        with self._lock:
            due = self._due(2**63)
        for each in due:
            self.add(each)
        self._hurry.set()
        with self._lock:
            self._more.notify()
        _wait_for(self._thread, seconds)
        _wait_for(self._mover, seconds)  # the thread before may have begun it
        with self._moving:
            if self._journal is not None and self._mover is None:
                self._journal.close()
                self._journal = None

    def _work_off(self) -> None:
        """Write what waits to the journal, until nothing has come for a while."""
        while True:
            with self._lock:
                if not self._waiting and not self._hurry.is_set():
                    self._more.wait(self.IDLE)
                batch, self._waiting = self._waiting[: self.TOGETHER], self._waiting[self.TOGETHER :]
                if not batch:
                    self._thread = None
                    return
            error = self._write([entry for entry, _ in batch])
            if error is not None:
                log.warning("event=audit lost=%d error=%s", len(batch), type(error).__name__)
            for _, done in batch:
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _write(self, entries: Sequence[AuditEntry]) -> Exception | None:
        """Write rows to the journal, and return the error, for those who wait, if that is not possible."""
        try:
            lines = self._lines(entries)
            with self._moving:
                heads = self._database.heads
                if self._journal is None and heads is not None:
                    self._journal = AuditJournal(heads.path, self._database.keys.heads)
                if self._journal is not None:
                    self._journal.append(lines)
                    self._journaled += lines
                    if self._mover is None:
                        self._mover = threading.Thread(target=self._move, name="audit-mover", daemon=True)
                        self._mover.start()
                    return None
            self._store(lines)
        except Exception as error:
            return error
        return None

    def _lines(self, entries: Sequence[AuditEntry]) -> list[AuditLine]:
        """The lines of rows. Only the numbers of patients are looked up in the database."""
        if not any(entry.patients for entry in entries):
            return audit.lines_of(None, entries)
        with self._database.reading() as connection:
            return audit.lines_of(connection, entries)

    def _move(self) -> None:
        """Move rows from the journal to the database, until none is left. While that fails, it is tried again."""
        failing = False
        while True:
            self._hurry.wait(self.PAUSE)
            with self._moving:
                lines = self._journaled[: self.TOGETHER]
                if not lines:
                    if self._journal is not None:
                        self._journal.empty()
                    self._mover = None
                    return
            try:
                self._store(lines)
            except Exception as error:
                if not failing:
                    log.warning("event=audit waiting=%d error=%s", len(self._journaled), type(error).__name__)
                failing = True
                if self._hurry.is_set():
                    with self._moving:
                        self._mover = None
                    return  # the next start moves them
                continue
            failing = False
            with self._moving:
                del self._journaled[: len(lines)]

    def _store(self, lines: Sequence[AuditLine]) -> None:
        self._database.together(lambda transaction: audit.store_lines(transaction, lines))


def _wait_for(thread: threading.Thread | None, seconds: float) -> None:
    if thread is not None:
        thread.join(seconds)
