"""The submission loop of all formats: it stores items together or each by itself, and gives their outcomes in order.

The items of a group share a transaction. It is committed before any of their outcomes is given.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress, islice, repeat
from typing import TypeVar

from app.errors import Busy, ServiceError
from app.readers.statements import Feed
from app.store import ledger
from app.store.engine import Database, Transaction
from app.store.revision_builder import RevisionBuilder
from app.submission.feeds import remember_key
from app.submission.receipts import left_out_of, receipt_of
from app.submission.treatment import noted_by_protocol
from app.timeline.facts import History
from app.timeline.merged_records import surviving_record

GROUP = 100
"""Greatest number of items in one transaction; each item has its own revision."""
PAUSES = (0.1, 0.2, 0.4)
"""Seconds between the attempts of a stream or a file; each attempt also waits for the lock of the database."""

Content = TypeVar("Content")
Result = TypeVar("Result")
Work = Callable[[Transaction, Sequence[Content]], Sequence[Result | ServiceError]]
"""Stores the contents of a group and returns an outcome for each, in their order."""


def patiently(work: Callable[[], Result], pauses: Sequence[float]) -> Result:
    """The result of the work. While the database is busy, it is tried again after each of these pauses in seconds."""
    for seconds in pauses:
        try:
            return work()
        except Busy:
            time.sleep(seconds)
    return work()


@dataclass(slots=True)
class Submitter:
    """Stores items of one format in one study.

    `feed` is what the study declares of its feeds, for formats that need it. Without it, it is not yet known whether
    the study exists. A stream sets `received_at` for each group. `pauses` are seconds between attempts (`patiently`).
    With `full`, receipts list every fact.
    """

    database: Database
    study: str
    format: str
    received_at: int
    feed: Feed | None = None
    client: str | None = None
    pauses: Sequence[float] = ()
    full: bool = False
    _begun: bool = field(default=False, init=False)
    _busy: Busy | None = field(default=None, init=False)

    def commit(self, work: Callable[[Transaction], Result], *, shared: bool = False) -> Result:
        """The result of the work, after COMMIT. If the work raises an error, nothing is stored.

        Only here the transaction of a submission begins and ends. A `shared` transaction is used by all submissions
        that wait at the same time (`Database.together`); such work may raise an error only before it has written.
        """

        def attempt() -> Result:
            if shared:
                return self.database.together(work)
            with self.database.writing() as transaction:
                return work(transaction)

        return patiently(attempt, self.pauses)

    def each(self, items: Iterable[Content | ServiceError], work: Work[Content, Result]) -> list[Result | ServiceError]:
        """The outcome of each item. An item is a content to store, or the refusal of its reader.

        Raises `Busy` if nothing was stored, and what `group` raises.
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

        If the database stays busy, the items of this group and of all later groups are not stored, and their outcome is
        `Busy`. In the first group `Busy` is raised instead. Raises what the work raises: `NotFound` for an unknown
        study, even if there is no item.
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
        """A new revision of the study. The study is locked until the transaction ends."""
        return RevisionBuilder(transaction, self.study, self.received_at)

    def submit(self, builder: RevisionBuilder, histories: Sequence[History]) -> ledger.Submission:
        """Store histories as one revision."""
        self._remember_key(builder.connection, histories)
        enrolled = self._enrolled(builder, histories)
        histories = [noted_by_protocol(builder.connection, self.study, history) for history in histories]
        stored = list(compress(histories, enrolled))
        submission = ledger.submit_to(builder, stored, format=self.format, client=self.client)
        results = iter(submission.outcomes)
        outcomes = [
            self.receipted(history, next(results)) if known else left_out_of(history)
            for history, known in zip(histories, enrolled, strict=True)
        ]
        return replace(submission, outcomes=tuple(outcomes))

    def submit_each(
        self, transaction: Transaction, histories: Sequence[History]
    ) -> list[ledger.Outcome | ServiceError]:
        """Store each history as one revision."""
        self._remember_key(transaction, histories)
        enrolled = [True] * len(histories)
        if self._only_enrolled:
            enrolled = self._enrolled(self.builder(transaction), histories)
        histories = [noted_by_protocol(transaction, self.study, history) for history in histories]
        stored = list(compress(histories, enrolled))
        results = iter(
            ledger.submit_each(
                transaction, self.study, stored, format=self.format, client=self.client, received_at=self.received_at
            )
        )
        return [
            left_out_of(history) if not known
            else outcome if isinstance(outcome := next(results), ServiceError)
            else self.receipted(history, outcome)
            for history, known in zip(histories, enrolled, strict=True)
        ]  # fmt: skip

    def receipted(self, history: History, outcome: ledger.Outcome) -> ledger.Outcome:
        """The outcome of a history with its receipt."""
        receipt = receipt_of(history, outcome, full=self.full)
        patient, status, revision, counts = outcome.patient, outcome.status, outcome.revision, outcome.counts
        return ledger.Outcome(patient, status, revision, counts, outcome.fates, receipt, outcome.draws)

    @property
    def _only_enrolled(self) -> bool:
        return self.feed is not None and self.feed.enrolled_only

    def _enrolled(self, builder: RevisionBuilder, histories: Sequence[History]) -> list[bool]:
        """Whether each history may be stored: a feed may not add patients to some studies.

        The study has the patient, or the record that the history links with the patient's. A person who was erased is
        left to the ledger.
        """
        if not self._only_enrolled:
            return [True] * len(histories)
        linked = [(history.patient, surviving_record(history)) for history in histories]
        builder.load_patients(filter(None, chain.from_iterable(linked)))
        known = set(builder.people)
        enrolled = []
        for patient, into in linked:
            enrolled.append(patient in known or into in known or builder.is_erased(patient))
            if enrolled[-1]:
                known.add(patient)
        return enrolled

    def _remember_key(self, transaction: Transaction, histories: Sequence[History]) -> None:
        if self.feed is not None and histories:
            remember_key(transaction, self.study, self.feed)
