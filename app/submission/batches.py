"""Stores timelines and tables of results: one timeline, many in one revision, or each by itself."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NotRequired, TypedDict, Unpack, cast, get_args

from app.errors import Busy, Fault, InvalidDocument, ServiceError, Unavailable
from app.readers.gc_pause import gc_paused
from app.readers.json_timelines import Item, together
from app.readers.statements import Skipped
from app.readers.table_layout import LABS, Layout
from app.readers.table_rows import Dialect, TableBody
from app.readers.tables import PatientResults, Sheet, read_sheets
from app.store import erasure, ledger
from app.store.engine import Database, Transaction
from app.submission.dead_letters import DeadLetters
from app.submission.feeds import read_feed
from app.submission.loop import Submitter, Work, patiently
from app.submission.native_patients import NativePatients, undeclared_attributes
from app.submission.posts import PostedTimeline, store_posts
from app.submission.treatment import noted_by_protocol
from app.timeline.facts import History
from app.timeline.normalize import MOST_FAULTS
from app.timeline.receipts import Disposition, Receipt, ShortReceipts

CSV = "csv"
ItemStatus = Literal["created", "changed", "unchanged", "stale", "skipped", "rejected"]
STATUSES: tuple[ItemStatus, ...] = get_args(ItemStatus)
ReadItem = Item | PatientResults
"""One item of many from its reader: either a history or a refusal."""


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """The outcome of one item of many: its index from 0, its status, its revision and receipt, or its refusal.

    The refusal of an item is its `error`.
    """

    index: int
    patient: str | None
    status: ItemStatus
    revision: int | None = None
    error: ServiceError | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class TableOutcome:
    """The outcome of a table.

    `items` are its patients in the order of their first rows; the rows without a patient are one item. `rows` is the
    number of rows below the header, `skipped` the number of skipped rows by reason, `faults` the first faults of rows.
    `short` says what the receipts do not list, `unread` which columns were not read, by their numbers.
    """

    items: tuple[ItemOutcome, ...]
    rows: int
    skipped: Mapping[Skipped, int]
    short: ShortReceipts
    faults: Sequence[Fault] = ()
    unread: Sequence[int] = ()


class StoringTable(TypedDict):
    """How a table is stored: `secret` replaces numbers of patients, `now` is the time of receipt.

    With `atomic` all of it is one revision. `pauses` and `full` are those of a `Submitter`. `format` is the format in
    which the rows were sent.
    """

    secret: str | None
    now: int
    atomic: bool
    client: NotRequired[str | None]
    pauses: NotRequired[Sequence[float]]
    full: NotRequired[bool]
    format: NotRequired[str]


def counted(outcomes: Iterable[ItemOutcome]) -> dict[ItemStatus, int]:
    """The number of outcomes of each status that occurs."""
    return in_order(Counter(outcome.status for outcome in outcomes))


def facts_of(outcomes: Iterable[ItemOutcome]) -> Counter[Disposition]:
    """The number of facts of each disposition in the receipts of these items."""
    facts = Counter[Disposition]()
    for outcome in outcomes:
        if outcome.receipt is not None:
            for disposition, count in outcome.receipt.counts.items():
                facts[disposition] += count
    return facts


def in_order(counts: Counter[ItemStatus]) -> dict[ItemStatus, int]:
    """Counts above 0 in the order of `STATUSES`."""
    return {status: counts[status] for status in STATUSES if counts[status]}


def add_timeline(submitter: Submitter, patients: NativePatients, history: History) -> ledger.Outcome:
    """Merge one timeline. Those that wait at the same time are stored together, unless a number was replaced."""
    if patients.has_numbers:
        outcome = submitter.commit(lambda transaction: patients.add(submitter, transaction, [history])).outcomes[0]
    else:
        post, gathered = PostedTimeline(submitter, patients, history), submitter.database.gathered
        outcome = patiently(lambda: gathered(submitter.study, post, store_posts), submitter.pauses)
    return submitter.shortened(outcome)


def replace_timeline(
    submitter: Submitter,
    patients: NativePatients,
    history: History,
    *,
    if_match: str | None,
    only_new: bool,
    readmit: bool,
) -> ledger.Outcome:
    """Replace all facts of the patient by a timeline (`ledger.replace`)."""

    def replaced(transaction: Transaction) -> ledger.Outcome:
        patients.check(submitter.builder(transaction), [history])
        noted = noted_by_protocol(transaction, submitter.study, history)
        outcome = ledger.replace(
            transaction, submitter.study, noted, if_match=if_match, if_none_match=only_new, readmit=readmit,
            format=submitter.format, client=submitter.client, received_at=submitter.received_at,
            sender=submitter.sender,
        )  # fmt: skip
        receipted = patients.noted(noted, submitter.receipted(noted, outcome))
        submitter.count(transaction, [(noted, receipted)])
        return receipted

    return submitter.shortened(submitter.commit(replaced))


_LETTERS_LEFT = (
    "The person is erased from the database, but the directory of dead letters cannot be used. When it can, run "
    "python -m app dead-letters: it deletes the letters of erased persons."
)


def erase_patient(submitter: Submitter, patient: str, *, if_match: str | None, letters: DeadLetters) -> erasure.Erasure:
    """Delete everything about a person from every revision (`erasure.erase`). `forget_letters` does the rest."""

    def has_letters(stone: bytes) -> bool:
        try:
            return letters.has(submitter.study, stone)
        except OSError:
            raise Unavailable("The directory of dead letters cannot be used. Nothing is erased.") from None

    return submitter.commit(
        lambda transaction: erasure.erase(
            transaction, submitter.study, patient,
            client=submitter.client, received_at=submitter.received_at, if_match=if_match, elsewhere=has_letters,
        )
    )  # fmt: skip


def forget_letters(database: Database, study: str, patient: str, letters: DeadLetters) -> None:
    """Delete the dead letters of a person who was erased. Raises `Unavailable` if the directory cannot be used."""
    with database.reading() as connection:
        stones, _ = erasure.tombstones(connection, study, [patient])
    try:
        letters.forget(study, stones[patient])
    except OSError:
        raise Unavailable(_LETTERS_LEFT) from None


def store_timelines(
    submitter: Submitter, patients: NativePatients, items: list[Item], *, atomic: bool
) -> list[ItemOutcome]:
    """Store many timelines. With `atomic` all are one revision, and the refusal of any is a refusal of all.

    Without it, `items` is empty afterwards, so that what was stored needs no memory. Raises what `Submitter.each`
    raises, and with `atomic` `Erased`.
    """
    if atomic:
        return _store_together(submitter, items, together(items), partial(patients.add, submitter))
    return _store_each(submitter, _taken_from(items), partial(patients.add_each, submitter))


def store_table(
    database: Database,
    study: str,
    body: bytes,
    dialect: Dialect,
    layout: Layout = LABS,
    **how: Unpack[StoringTable],
) -> TableOutcome:
    """Read and store a CSV, the rows of each patient as one item. With `atomic` all of it is one revision.

    Raises `NotFound` for an unknown study, `Conflict` where there is no secret for its identifiers, what `read_table`
    raises, and `Busy` where nothing was stored. With `atomic` it raises what is wrong with any row, and `Erased`.
    """
    return store_sheets(database, study, [Sheet(TableBody(body, dialect), layout)], dialect, **how)


def store_sheets(
    database: Database, study: str, sheets: Iterable[Sheet], dialect: Dialect, **how: Unpack[StoringTable]
) -> TableOutcome:
    """The same of the rows of one or more sheets; the rows of a patient in all of them are one item."""
    pauses = how.get("pauses", ())
    feed = patiently(lambda: read_feed(database, study, how["secret"], how["now"]), pauses)
    format, full = how.get("format", CSV), how.get("full", False)
    submitter = Submitter(database, study, format, how["now"], feed, how.get("client"), pauses, full)
    with gc_paused(), submitter.refusals_counted():
        table = read_sheets(sheets, dialect, feed)
        if how["atomic"]:
            patients = list(table.read(strict=True))
            items = _store_together(submitter, patients, _refusal(patients), partial(_add, submitter))
        else:
            items = _store_each(submitter, table.read(), partial(_add_each, submitter))
    return TableOutcome(tuple(items), table.rows, table.skipped, submitter.short, table.faults, table.unread)


def outcome_of(index: int, patient: str | None, result: ledger.Outcome | ServiceError) -> ItemOutcome:
    """The outcome of an item. `patient` is used if the result does not name the patient."""
    if isinstance(result, ServiceError):
        return ItemOutcome(index, patient, "skipped" if isinstance(result, Busy) else "rejected", error=result)
    return ItemOutcome(index, result.patient, result.status, result.revision, receipt=result.receipt)


def lost(outcome: ItemOutcome) -> bool:
    """Whether an item was sent in vain: it was refused, or none of its facts is kept or older than what stands."""
    if outcome.receipt is None:
        return outcome.status == "rejected"
    return outcome.receipt.lost


def content_of(item: ReadItem) -> History | ServiceError:
    """The history of an item, or its refusal; a reader gives one of the two."""
    return cast(History | ServiceError, item.error or item.history)


def _add(submitter: Submitter, transaction: Transaction, histories: Sequence[History]) -> ledger.Submission:
    refused = [fault for fault in undeclared_attributes(transaction, submitter.study, histories) if fault is not None]
    if refused:
        raise InvalidDocument(faults=refused)
    return submitter.submit(submitter.builder(transaction), histories)


def _add_each(
    submitter: Submitter, transaction: Transaction, histories: Sequence[History]
) -> list[ledger.Outcome | ServiceError]:
    """Store each history of a table, unless it states an attribute that the protocol does not declare."""
    refused = undeclared_attributes(transaction, submitter.study, histories)
    allowed = [history for history, fault in zip(histories, refused, strict=True) if fault is None]
    outcomes = iter(submitter.submit_each(transaction, allowed))
    return [next(outcomes) if fault is None else InvalidDocument(faults=[fault]) for fault in refused]


def _store_together(
    submitter: Submitter,
    items: Sequence[ReadItem],
    refused: ServiceError | None,
    add: Callable[[Transaction, Sequence[History]], ledger.Submission],
) -> list[ItemOutcome]:
    if refused is not None:
        raise refused
    histories = [item.history for item in items if item.history is not None]
    submission = submitter.commit(lambda transaction: add(transaction, histories))
    outcomes = map(submitter.shortened, submission.outcomes)
    return [outcome_of(i, outcome.patient, outcome) for i, outcome in enumerate(outcomes)]


def _store_each(
    submitter: Submitter, items: Iterable[ReadItem], add_each: Work[History, ledger.Outcome]
) -> list[ItemOutcome]:
    """Store every item by itself. Items are read when their group is stored, and shortened then, so that not all are in
    memory.
    """
    patients: deque[str | None] = deque()
    told: list[ItemOutcome] = []

    def contents() -> Iterator[History | ServiceError]:
        for item in items:
            patients.append(item.subject)
            yield content_of(item)

    for group in submitter.groups(contents(), add_each):
        shortened = map(submitter.shortened, group)
        told += [outcome_of(i, patients.popleft(), result) for i, result in enumerate(shortened, len(told))]
    return told


def _taken_from(items: list[Item]) -> Iterator[Item]:
    items.reverse()
    while items:
        yield items.pop()


def _refusal(patients: Iterable[PatientResults]) -> ServiceError | None:
    """The refusal of a whole table if any patient is refused. The places are already places of the table."""
    refused = [each.error for each in patients if each.error is not None]
    greater = next((error for error in refused if not isinstance(error, InvalidDocument)), None)
    faults = [fault for error in refused for fault in error.faults]
    return greater or (InvalidDocument(faults=faults[:MOST_FAULTS]) if refused else None)
