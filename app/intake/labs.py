"""Tables of results: the rows of each patient are one submission, and a table may be all or nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from app.errors import Busy, InvalidDocument, ServiceError
from app.ingest.feed import Feed, Skipped
from app.ingest.table import Dialect, PatientResults, read_table
from app.intake.feeds import feed_of, remember_key
from app.intake.timelines import GROUP, ItemOutcome
from app.store import ledger
from app.store.collector import collector_paused
from app.store.engine import Database
from app.timeline.normalize import MOST_FAULTS

FORMAT = "csv"


@dataclass(frozen=True, slots=True)
class TableOutcome:
    """What became of a table.

    `items` are its patients in the order of their first rows; the rows that name nobody are one item without a
    patient. `rows` is how many rows there are below the header, `skipped` how many were left alone, by reason.
    """

    items: tuple[ItemOutcome, ...]
    rows: int
    skipped: Mapping[Skipped, int]


def take(
    database: Database,
    study: str,
    body: bytes,
    dialect: Dialect,
    *,
    secret: str | None,
    now: int,
    atomic: bool,
    client: str | None = None,
) -> TableOutcome:
    """Read and store a table of results. With `atomic` all of it is one revision, or nothing is stored.

    Raises `NotFound` for an unknown study, `Conflict` where there is no secret for its identifiers, what `read_table`
    raises, and `Busy` where nothing was stored. With `atomic` it raises what is wrong with any row, and `Erased`.
    """
    with database.reading() as connection:
        feed = feed_of(connection, study, secret, now)
    with collector_paused():
        table = read_table(body, dialect, feed)
        store = _Store(database, study, feed, now, client)
        items = store.together(table.read()) if atomic else store.each(table.read())
    return TableOutcome(tuple(items), table.rows, table.skipped)


@dataclass(frozen=True, slots=True)
class _Store:
    """Where histories go, and what is noted with them."""

    database: Database
    study: str
    feed: Feed
    now: int
    client: str | None

    def together(self, patients: Iterable[PatientResults]) -> list[ItemOutcome]:
        """Store all in one revision; raises the refusal of all where any is refused."""
        read = list(patients)
        if refused := _refusal(read):
            raise refused
        histories = [each.history for each in read if each.history is not None]
        with self.database.writing() as connection:
            if histories:
                remember_key(connection, self.study, self.feed)
            stored = ledger.submit(
                connection, self.study, histories, format=FORMAT, client=self.client, received_at=self.now
            )
        return [_became(i, outcome.patient, outcome) for i, outcome in enumerate(stored.outcomes)]

    def each(self, patients: Iterator[PatientResults]) -> list[ItemOutcome]:
        """Store every patient as a revision of their own. Once the database is busy the others are not tried."""
        told: list[ItemOutcome] = []
        busy: Busy | None = None
        while group := list(islice(patients, GROUP)):
            if busy is None:
                try:
                    told += self._store(len(told), group)
                    continue
                except Busy as refusal:
                    if all(item.error is not None for item in told):
                        raise
                    busy = refusal
            told += [
                _became(i, each.subject, each.error) if each.error else _became(i, each.subject, busy, tried=False)
                for i, each in enumerate(group, len(told))
            ]
        return told

    def _store(self, first: int, group: Sequence[PatientResults]) -> list[ItemOutcome]:
        """One transaction with every patient of a group whose rows could be read."""
        histories = [each.history for each in group if each.history is not None]
        outcomes: list[ledger.Outcome | ServiceError] = []
        if histories:
            with self.database.writing() as connection:
                remember_key(connection, self.study, self.feed)
                outcomes = ledger.submit_each(
                    connection, self.study, histories, format=FORMAT, client=self.client, received_at=self.now
                )
        stored = iter(outcomes)
        return [_became(i, each.subject, each.error or next(stored)) for i, each in enumerate(group, first)]


def _became(
    index: int, patient: str | None, outcome: ledger.Outcome | ServiceError, *, tried: bool = True
) -> ItemOutcome:
    if isinstance(outcome, ServiceError):
        return ItemOutcome(index, patient, "rejected" if tried else "skipped", error=outcome)
    return ItemOutcome(index, patient, outcome.status, outcome.revision)


def _refusal(patients: Iterable[PatientResults]) -> ServiceError | None:
    """The refusal of a whole table if any patient is refused; places are of the table, so they stand as they are."""
    refused = [each.error for each in patients if each.error is not None]
    greater = next((error for error in refused if not isinstance(error, InvalidDocument)), None)
    faults = [fault for error in refused for fault in error.faults]
    return greater or (InvalidDocument(faults=faults[:MOST_FAULTS]) if refused else None)
