"""The submission loop of all formats: it stores items together or each by itself, and gives their outcomes in order.

The items of a group share a transaction. It is committed before any of their outcomes is given.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice, repeat
from typing import TypeVar

from app.errors import Busy, NotFound, ServiceError, Unavailable
from app.readers.statements import Feed
from app.store import intake, ledger
from app.store.engine import Database, Transaction
from app.store.intake import Arrival
from app.store.revision_builder import RevisionBuilder
from app.submission.feeds import remember_key
from app.submission.intake import authorities, count_arrived, count_later, refused, suggested, unknown_charset
from app.submission.receipts import only_aside, receipt_of
from app.submission.treatment import noted_by_protocol
from app.timeline.facts import History
from app.timeline.merged_records import surviving_record
from app.timeline.receipts import Receipt, ShortReceipts

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
        except Unavailable:
            raise
        except Busy:
            time.sleep(seconds)
    return work()


@dataclass(slots=True)
class Submitter:
    """Stores items of one format in one study.

    `feed` is what the study declares of its feeds, for formats that need it. Without it, it is not yet known whether
    the study exists. A stream sets `received_at` for each group. `pauses` are seconds between attempts (`patiently`).
    With `full`, receipts list every fact; else `short` shortens those of one answer, where its format does so. `sender`
    is the system that sent the items, if the format says so; else the source of each fact counts as its sender.
    `more_noted` adds notes to an outcome with its receipt.
    """

    database: Database
    study: str
    format: str
    received_at: int
    feed: Feed | None = None
    client: str | None = None
    pauses: Sequence[float] = ()
    full: bool = False
    sender: str | None = None
    more_noted: Callable[[History, ledger.Outcome], ledger.Outcome] | None = None
    short: ShortReceipts = field(default_factory=ShortReceipts, init=False)
    _begun: bool = field(default=False, init=False)
    _busy: Busy | None = field(default=None, init=False)

    def commit(self, work: Callable[[Transaction], Result]) -> Result:
        """The result of the work, after COMMIT. If the work raises an error, nothing is stored.

        The work may be run several times: it must change nothing but the database.
        Only here the transaction of a submission begins and ends, and for posts that are stored together (`posts`).
        """
        return patiently(lambda: self.database.alone(work), self.pauses)

    def each(self, items: Iterable[Content | ServiceError], work: Work[Content, Result]) -> list[Result | ServiceError]:
        """The outcome of each item. An item is a content to store, or the refusal of its reader.

        Raises `Busy` if nothing was stored, and what `group` raises.
        """
        return list(chain.from_iterable(self.groups(items, work)))

    def groups(
        self, items: Iterable[Content | ServiceError], work: Work[Content, Result]
    ) -> Iterator[list[Result | ServiceError]]:
        """The same in groups, each given after it was stored."""
        remaining, stored = iter(items), False
        group = list(islice(remaining, GROUP))
        while True:
            outcomes = self.group(group, work)
            stored = stored or not all(isinstance(outcome, ServiceError) for outcome in outcomes)
            yield outcomes
            group = list(islice(remaining, GROUP))
            if not group:
                break
        if self._busy is not None and not stored:
            raise self._busy

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
        outcomes = [item if isinstance(item, ServiceError) else next(results) for item in items]
        self.count_refusals([outcome for outcome in outcomes if isinstance(outcome, ServiceError)])
        return outcomes

    def builder(self, transaction: Transaction) -> RevisionBuilder:
        """A new revision of the study. The study is locked until the transaction ends."""
        return RevisionBuilder(transaction, self.study, self.received_at)

    def submit(
        self, builder: RevisionBuilder, histories: Sequence[History], unkept: Receipt | None = None
    ) -> ledger.Submission:
        """Store histories as one revision. `unkept` has what was sent with them and belongs to no history."""
        self._remember_key(builder.connection, histories)
        histories = self._of_enrolled(builder, histories) if self._only_enrolled else histories
        histories = [noted_by_protocol(builder.connection, self.study, history) for history in histories]
        submission = ledger.submit_to(builder, histories, format=self.format, client=self.client, sender=self.sender)
        outcomes = [self.receipted(*each) for each in zip(histories, submission.outcomes, strict=True)]
        self.count(builder.connection, zip(histories, outcomes, strict=True), unkept)
        return replace(submission, outcomes=tuple(outcomes))

    def submit_each(
        self, transaction: Transaction, histories: Sequence[History]
    ) -> list[ledger.Outcome | ServiceError]:
        """Store each history as one revision."""
        self._remember_key(transaction, histories)
        histories = self._of_enrolled(self.builder(transaction), histories) if self._only_enrolled else histories
        histories = [noted_by_protocol(transaction, self.study, history) for history in histories]
        outcomes = ledger.submit_each(
            transaction, self.study, histories, format=self.format, client=self.client, received_at=self.received_at,
            sender=self.sender,
        )  # fmt: skip
        results = [
            outcome if isinstance(outcome, ServiceError) else self.receipted(history, outcome)
            for history, outcome in zip(histories, outcomes, strict=True)
        ]
        answered = zip(histories, results, strict=True)
        self.count(transaction, [(each, done) for each, done in answered if not isinstance(done, ServiceError)])
        return results

    def receipted(self, history: History, outcome: ledger.Outcome) -> ledger.Outcome:
        """The outcome of a history with its receipt."""
        receipt = receipt_of(history, outcome, full=self.full)
        receipted = ledger.Outcome(
            outcome.patient, outcome.status, outcome.revision, outcome.counts, outcome.fates, receipt, outcome.draws
        )
        return receipted if self.more_noted is None else self.more_noted(history, receipted)

    def shortened(self, result: Result) -> Result:
        """The outcome as it is answered, after COMMIT: its receipt is shortened, unless it is to be full."""
        if self.full or not isinstance(result, ledger.Outcome):
            return result
        return replace(result, receipt=self.short.shortened(result.receipt))

    def count(
        self,
        transaction: Transaction,
        stored: Iterable[tuple[History, ledger.Outcome]],
        unkept: Receipt | None = None,
    ) -> None:
        """Count what arrived for the intake of the study, in the transaction that stores it."""
        counts = Counter[Arrival]() if unkept is None else self._arrived(unkept)
        for history, outcome in stored:
            count_arrived(counts, history, outcome.receipt, self.format, self.sender)
        if self.feed is not None:
            counts.update(authorities(self.feed.pseudonyms, self.format, self.sender))
        intake.add(transaction, self.study, counts, self.received_at)

    def count_receipt(self, receipt: Receipt) -> None:
        """Count the facts of a receipt that belong to no history."""
        count_later(self.database, self.study, self._arrived(receipt), self.received_at)

    def count_suggestions(self, receipt: Receipt) -> None:
        """Count what the study could declare so that the facts of the receipt of a refusal count."""
        counts = suggested(receipt, self.format, self.sender)
        count_later(self.database, self.study, counts, self.received_at)

    def _arrived(self, receipt: Receipt) -> Counter[Arrival]:
        counts = Counter[Arrival]()
        count_arrived(counts, History(""), receipt, self.format, self.sender)
        return counts

    def count_refusals(self, refusals: Iterable[ServiceError]) -> None:
        """Count refusals for the intake of the study, without making anybody wait."""
        given = [each for each in refusals if not isinstance(each, Busy | NotFound)]
        counts = refused(given, self.format, self.sender)
        count_later(self.database, self.study, counts, self.received_at)

    def count_charset(self, name: str) -> None:
        """Count the name of a character set that is not known."""
        count_later(self.database, self.study, unknown_charset(name, self.format, self.sender), self.received_at)

    @contextmanager
    def refusals_counted(self) -> Iterator[None]:
        """Count a refusal that the block raises."""
        try:
            yield
        except ServiceError as refusal:
            self.count_refusals([refusal])
            raise

    @property
    def _only_enrolled(self) -> bool:
        return self.feed is not None and self.feed.enrolled_only

    def _of_enrolled(self, builder: RevisionBuilder, histories: Sequence[History]) -> list[History]:
        """The histories; the facts of patients whom a feed may not add to the study are set aside.

        The study has a patient, or the record that the history links with the patient's. A person who was erased is
        left to the ledger.
        """
        linked = [(history.patient, surviving_record(history)) for history in histories]
        builder.load_patients(filter(None, chain.from_iterable(linked)))
        known = set(builder.people)
        found = []
        for history, (patient, into) in zip(histories, linked, strict=True):
            enrolled = patient in known or into in known or builder.is_erased(patient)
            if enrolled:
                known.add(patient)
            found.append(history if enrolled else only_aside(history))
        return found

    def _remember_key(self, transaction: Transaction, histories: Sequence[History]) -> None:
        if self.feed is not None and histories:
            remember_key(transaction, self.study, self.feed)
