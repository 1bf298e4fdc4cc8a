"""Many timelines: all in one revision, or each by itself; in groups that share a transaction; for as long as they come.

What was answered is stored: a group is committed before anybody is told what became of it.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from app.errors import Busy, ServiceError
from app.ingest.lines import Line
from app.ingest.native import Item, read_item, together
from app.store import ledger
from app.store.collector import collector_paused
from app.store.engine import Database
from app.timeline.times import latest_acceptable, microseconds

GROUP = 100
"""Timelines stored in one transaction; each has a revision of its own."""
GROUP_BYTES = 1_000_000
"""Bytes of lines from which on a group is full, however few they are."""
PAUSES = (0.1, 0.2, 0.4)
"""Seconds between the tries to store a group of a stream; each try has waited its seconds for its turn before."""

Status = Literal["created", "changed", "unchanged", "stale", "skipped", "rejected"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one timeline of many, by its place among them from 0; `error` is why nothing could be done."""

    index: int
    patient: str | None
    status: Status
    revision: int | None = None
    error: ServiceError | None = None


def counted(outcomes: Sequence[ItemOutcome]) -> dict[Status, int]:
    """How many there are of each status, those that occur."""
    return in_order(Counter(outcome.status for outcome in outcomes))


def in_order(counts: Counter[Status]) -> dict[Status, int]:
    """Counts above 0 in the order of `STATUSES`."""
    return {status: counts[status] for status in STATUSES if counts[status]}


def store_together(database: Database, study: str, items: Sequence[Item], format: str, now: int) -> list[ItemOutcome]:
    """All items in one revision; a problem of any is a problem of all, its place prefixed with the item's index."""
    if refused := together(items):
        raise refused
    histories = [item.history for item in items if item.history is not None]
    with database.writing() as connection:
        submission = ledger.submit(connection, study, histories, format=format, client=None, received_at=now)
    return [_became(item, outcome) for item, outcome in zip(items, submission.outcomes, strict=True)]


def store_each(database: Database, study: str, items: Sequence[Item], format: str, now: int) -> list[ItemOutcome]:
    """Every item by itself. When the database is busy, what was stored is told, and the rest is skipped.

    Raises `Busy` where nothing was stored, and `NotFound` for an unknown study even if there is no item.
    """
    told: list[ItemOutcome] = []
    busy: Busy | None = None
    for first in range(0, max(len(items), 1), GROUP):
        group = items[first : first + GROUP]
        try:
            told += _skip(group, busy) if busy else _store(database, study, group, format, now)
        except Busy as error:
            if not any(outcome.status not in {"rejected", "skipped"} for outcome in told):
                raise
            busy = error
            told += _skip(group, busy)
    return told


class Stream:
    """Timelines that arrive one on a line, stored in groups as they come; `counts` says what became of them so far."""

    def __init__(self, database: Database, study: str, format: str) -> None:
        self.counts: Counter[Status] = Counter()
        self._database = database
        self._study = study
        self._format = format
        self._busy: Busy | None = None

    @property
    def told(self) -> int:
        """How many outcomes there are."""
        return self.counts.total()

    def store(self, lines: Sequence[Line]) -> list[ItemOutcome]:
        """Read and store a group of lines; what became of each, in their order, once COMMIT has returned.

        While the database is busy the group is tried again; when that was enough, it is skipped and so is all that
        comes after it. Raises `Busy` instead where that is the first group, and `NotFound` for an unknown study.
        """
        now = datetime.now(UTC)
        with collector_paused():
            latest = latest_acceptable(now)
            items = [read_item(self.told + i, line.text, latest) for i, line in enumerate(lines)]
            outcomes = self._stored(items, microseconds(now))
        self.counts.update(outcome.status for outcome in outcomes)
        return outcomes

    def _stored(self, items: Sequence[Item], now: int) -> list[ItemOutcome]:
        if self._busy is None:
            try:
                return self._patiently(items, now)
            except Busy as busy:
                if not self.told:
                    raise
                self._busy = busy
        return _skip(items, self._busy)

    def _patiently(self, items: Sequence[Item], now: int) -> list[ItemOutcome]:
        for seconds in PAUSES:
            try:
                return _store(self._database, self._study, items, self._format, now)
            except Busy:
                time.sleep(seconds)
        return _store(self._database, self._study, items, self._format, now)


def _store(database: Database, study: str, items: Sequence[Item], format: str, now: int) -> list[ItemOutcome]:
    """One transaction with every item that could be read."""
    histories = [item.history for item in items if item.history is not None]
    with database.writing() as connection:
        stored = iter(ledger.submit_each(connection, study, histories, format=format, client=None, received_at=now))
    return [_became(item, next(stored) if item.error is None else item.error) for item in items]


def _skip(items: Sequence[Item], busy: Busy) -> list[ItemOutcome]:
    """The same without trying: whoever sends them again is told more."""
    return [_became(item, item.error) if item.error else _became(item, busy, "skipped") for item in items]


def _became(item: Item, outcome: ledger.Outcome | ServiceError, status: Status = "rejected") -> ItemOutcome:
    if isinstance(outcome, ServiceError):
        return ItemOutcome(item.index, item.history.patient if item.history else None, status, error=outcome)
    return ItemOutcome(item.index, outcome.patient, outcome.status, outcome.revision)
