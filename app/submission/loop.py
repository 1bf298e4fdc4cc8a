"""One loop for every format: items are stored together or each for itself, and every item has its outcome, in order.

A group of items shares a transaction, which is committed before the outcome of any of them is given.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import TypeVar

from app.errors import Busy, ServiceError
from app.readers.statements import Feed
from app.store import ledger
from app.store.engine import Database, Transaction
from app.store.revision_builder import RevisionBuilder
from app.submission.feeds import remember_key
from app.timeline.facts import History

GROUP = 100
"""Items stored in one transaction; each has a revision of its own."""
PAUSES = (0.1, 0.2, 0.4)
"""Seconds between the tries of a stream or a file; each try has waited its seconds for its turn before."""

Content = TypeVar("Content")
Result = TypeVar("Result")
Work = Callable[[Transaction, Sequence[Content]], Sequence[Result | ServiceError]]
"""Stores the contents of a group and returns an outcome for each, in their order."""


def patiently(work: Callable[[], Result], pauses: Sequence[float]) -> Result:
    """What the work returns, tried again after each of these seconds while the database is busy."""
    for seconds in pauses:
        try:
            return work()
        except Busy:
            time.sleep(seconds)
    return work()


@dataclass(slots=True)
class Submitter:
    """Stores items of one format in one study.

    `feed` is what the study declares of its feeds, for formats that are read by it; without it nothing has looked the
    study up yet. A stream sets `received_at` anew for each group. `pauses` are seconds between tries (`patiently`).
    """

    database: Database
    study: str
    format: str
    received_at: int
    feed: Feed | None = None
    client: str | None = None
    pauses: Sequence[float] = ()
    _begun: bool = field(default=False, init=False)
    _busy: Busy | None = field(default=None, init=False)

    def commit(self, work: Callable[[Transaction], Result], *, shared: bool = False) -> Result:
        """What the work returns, after COMMIT; where it raises, nothing is stored.

        This is the only place where the transaction of a submission begins and ends. A `shared` one is that of all who
        wait at the same time (`Database.together`): such work may refuse only before it has written.
        """

        def attempt() -> Result:
            if shared:
                return self.database.together(work)
            with self.database.writing() as transaction:
                return work(transaction)

        return patiently(attempt, self.pauses)

    def each(self, items: Iterable[Content | ServiceError], work: Work[Content, Result]) -> list[Result | ServiceError]:
        """The outcome of each item; an item is a content to store, or the refusal with which it comes.

        Raises `Busy` where nothing was stored, and what `group` raises.
        """
        remaining = iter(items)
        outcomes = self.group(list(islice(remaining, GROUP)), work)
        while group := list(islice(remaining, GROUP)):
            outcomes += self.group(group, work)
        if self._busy is not None and all(isinstance(outcome, ServiceError) for outcome in outcomes):
            raise self._busy
        return outcomes

    def group(
        self, items: Sequence[Content | ServiceError], work: Work[Content, Result]
    ) -> list[Result | ServiceError]:
        """The outcome of each item of one group, stored in one transaction.

        Where the database stays busy, the items of this group and of all later ones are not stored: their outcome is
        `Busy`. Raises `Busy` instead in the first group, and what the work raises: `NotFound` for an unknown study,
        even if there is no item.
        """
        ready = [item for item in items if not isinstance(item, ServiceError)]
        results: Iterator[Result | ServiceError] = iter(())
        if self._busy is None and (ready or self.feed is None):
            try:
                results = iter(self.commit(lambda transaction: work(transaction, ready)))
            except Busy as busy:
                if not self._begun:
                    raise
                self._busy = busy
        self._begun = True
        if self._busy is not None:
            results = repeat(self._busy)
        return [item if isinstance(item, ServiceError) else next(results) for item in items]

    def builder(self, transaction: Transaction) -> RevisionBuilder:
        """A new revision of the study, which is locked from here on until the transaction ends."""
        return RevisionBuilder(transaction, self.study, self.received_at)

    def submit(self, builder: RevisionBuilder, histories: Sequence[History]) -> ledger.Submission:
        """Merge histories as one revision."""
        self._remember_key(builder.connection, histories)
        return ledger.submit_to(builder, histories, format=self.format, client=self.client)

    def submit_each(
        self, transaction: Transaction, histories: Sequence[History]
    ) -> list[ledger.Outcome | ServiceError]:
        """Merge histories as a revision each."""
        self._remember_key(transaction, histories)
        return ledger.submit_each(
            transaction, self.study, histories, format=self.format, client=self.client, received_at=self.received_at
        )

    def _remember_key(self, transaction: Transaction, histories: Sequence[History]) -> None:
        if self.feed is not None and histories:
            remember_key(transaction, self.study, self.feed)
