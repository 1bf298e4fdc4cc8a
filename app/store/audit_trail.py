"""Stores the audit rows of reads and refusals: several at a time, in a transaction that waiting writes may share."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

from app.store import audit
from app.store.audit import AuditEntry, Who
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
    """The rows that no write has. A thread stores them, and ends when there are none."""

    TOGETHER = 500
    """Greatest number of rows in one transaction."""
    MOST_WAITING = 10_000
    """Greatest number of rows that wait. A read is refused then, and a refusal is only logged."""
    WINDOW = 60_000_000
    """How long equal refusals are counted, in microseconds. The first has its own row, the others share one."""
    MOST_KINDS = 1_000
    """Greatest number of kinds of refusals that are told apart at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: list[tuple[AuditEntry, Future[None]]] = []
        self._thread: threading.Thread | None = None
        self._refused: dict[Kind, _Refused] = {}

    def add(self, read: AuditEntry) -> Future[None]:
        """Store a row soon. The result is there after COMMIT; the error is that of the database."""
        done: Future[None] = Future()
        with self._lock:
            if len(self._waiting) >= self.MOST_WAITING:
                done.set_exception(OverflowError("too many rows of the audit wait"))
                return done
            self._waiting.append((read, done))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work_off, name="audit", daemon=True)
                self._thread.start()
        return done

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
        """Store what waits, also the rows of minutes that have not ended."""
        with self._lock:
            due = self._due(2**63)
        for each in due:
            self.add(each)
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work_off(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting[: self.TOGETHER], self._waiting[self.TOGETHER :]
                if not batch:
                    self._thread = None
                    return
            reads = [read for read, _ in batch]
            error = self._stored(reads)
            if error is not None:
                log.warning("event=audit lost=%d error=%s", len(batch), type(error).__name__)
            for _, done in batch:
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _stored(self, reads: Sequence[AuditEntry]) -> Exception | None:
        """Store rows, and return the error, for those who wait, if that is not possible."""
        try:
            self._database.together(lambda transaction: audit.store(transaction, reads))
        except Exception as error:
            return error
        return None
