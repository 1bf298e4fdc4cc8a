"""Receipts: what happened to each fact that was sent, in every format.

A receipt counts the facts of a submission by their disposition, and has a line for each fact that is not plainly kept.
No part of a receipt contains a submitted value or the number of a person.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from app.errors import Accepts


class Disposition(StrEnum):
    """What happened to a fact that was sent."""

    KEPT = "kept"
    NOT_APPLIED = "not_applied"
    SET_ASIDE = "set_aside"
    NOT_OURS = "not_ours"
    REFUSED = "refused"


DISPOSITIONS: dict[Disposition, str] = {
    Disposition.KEPT: "The fact counts, or the withdrawal was applied. A fact that stood before is kept, too.",
    Disposition.NOT_APPLIED: "Another statement about the same fact stands.",
    Disposition.SET_ASIDE: "The fact matters, but it cannot count as it was sent. It is listed until it is mended.",
    Disposition.NOT_OURS: "The service does not keep content of this kind.",
    Disposition.REFUSED: "The fact has a fault that the sender must mend. Nothing of it is stored.",
}


class NotKept(StrEnum):
    """Why the ledger does not let a statement count. Other reasons are fault codes, or kinds of skipped content."""

    OLDER = "older"
    STALE = "stale"
    SUPERSEDED = "superseded"
    AMBIGUOUS_DATE = "ambiguous_date"
    AMBIGUOUS_CORRECTION = "ambiguous_correction"
    AMBIGUOUS_WITHDRAWAL = "ambiguous_withdrawal"
    NOT_A_NUMBER = "not_a_number"
    NO_RESULT = "no_result"


NOT_KEPT: dict[NotKept, str] = {
    NotKept.OLDER: "A later version, time of issue or status of the same fact had arrived before.",
    NotKept.STALE: "The same statement was stored before, and another one has replaced it since.",
    NotKept.SUPERSEDED: "Another statement of the same submission stands instead.",
    NotKept.AMBIGUOUS_DATE: "The number has several draws on this date, and the statement has no time of day.",
    NotKept.AMBIGUOUS_CORRECTION: "The number has several draws, and it is not stated which one is corrected.",
    NotKept.AMBIGUOUS_WITHDRAWAL: "It is not stated which draw of the number is withdrawn, or none is at this time.",
    NotKept.NO_RESULT: "It cancels a draw of the number that has no result.",
    NotKept.NOT_A_NUMBER: "The result is a text and not a number. A result that it replaces does not count any more.",
}


class NoteCode(StrEnum):
    """What a receipt says about a fact that is kept."""

    NO_UPPER_LIMIT = "no_upper_limit"
    LIMIT_UNREADABLE = "limit_unreadable"
    BOUND = "bound"
    UTC_DAY = "utc_day"
    ZONE_FROM_MESSAGE = "zone_from_message"
    DETAIL_LEFT_OUT = "detail_left_out"
    DRUG_UNKNOWN = "drug_unknown"
    DRUG_AMBIGUOUS = "drug_ambiguous"
    DRUG_NOT_READ = "drug_not_read"
    DOSE_NOT_DAILY = "dose_not_daily"
    ORDERED = "ordered"
    START_FROM_AUTHORED = "start_from_authored"
    PRODUCT_IS_NO_TREATMENT = "product_is_no_treatment"
    NEW_PATIENT = "new_patient"
    POSSIBLE_DUPLICATE = "possible_duplicate"
    COUNTED_ONCE = "counted_once"
    IMPLAUSIBLE = "implausible"
    ISSUED_FROM_RECEIPT = "issued_from_receipt"
    SAME_NUMBER_OTHER_TIME = "same_number_other_time"
    UNVERSIONED_CORRECTION = "unversioned_correction"
    PLAIN_ID = "plain_id"
    REPEATED = "repeated"
    UNCHANGED = "unchanged"


NOTES: dict[NoteCode, str] = {
    NoteCode.NO_UPPER_LIMIT: "No upper limit of normal was sent, so analyses cannot say whether the result is normal.",
    NoteCode.LIMIT_UNREADABLE: "A limit of normal was sent that could not be read; it was left out.",
    NoteCode.BOUND: "The result is known only to be below or above the value.",
    NoteCode.UTC_DAY: "The time is written in UTC, so the day at the laboratory is not known.",
    NoteCode.ZONE_FROM_MESSAGE: "The time has no offset; that of the time of the message was used.",
    NoteCode.DETAIL_LEFT_OUT: "A detail could not be read and was left out.",
    NoteCode.DRUG_UNKNOWN: "The drug is not one that analyses know.",
    NoteCode.DRUG_AMBIGUOUS: "Several drugs share this short name, so analyses read none of them; send the full name.",
    NoteCode.DRUG_NOT_READ: "The drug is known, and no analysis reads it: the protocol does not name it.",
    NoteCode.DOSE_NOT_DAILY: "The unit is not that of a daily dose, so the dose on these days is unknown to analyses.",
    NoteCode.ORDERED: "The drug was ordered, and nobody says that it was taken; the order counts only for a person "
    "without another record of the drug.",
    NoteCode.START_FROM_AUTHORED: "The order has no first day; the day on which it was written is used.",
    NoteCode.PRODUCT_IS_NO_TREATMENT: "The product is not the treatment that the study declares.",
    NoteCode.NEW_PATIENT: "The patient was not in the study before.",
    NoteCode.POSSIBLE_DUPLICATE: "Another fact that stands may be the same, with another number or source; both count.",
    NoteCode.COUNTED_ONCE: "The content proves that another fact that stands is the same one; one of them counts.",
    NoteCode.IMPLAUSIBLE: "The content is possible and unlikely; it counts.",
    NoteCode.ISSUED_FROM_RECEIPT: "The correction or withdrawal has no time of issue; the time of receipt is used.",
    NoteCode.SAME_NUMBER_OTHER_TIME: "The number has another result at another time, which stands, too.",
    NoteCode.UNVERSIONED_CORRECTION: "It replaced another statement because it arrived later; nothing else decides.",
    NoteCode.PLAIN_ID: "The patient was named by a new plain identifier in a study of medical record numbers.",
    NoteCode.REPEATED: "The same statement is in the submission more than once.",
    NoteCode.UNCHANGED: "The fact stood already.",
}


TOLD_AGAIN = frozenset({
    NoteCode.NO_UPPER_LIMIT, NoteCode.LIMIT_UNREADABLE, NoteCode.BOUND, NoteCode.UTC_DAY, NoteCode.ZONE_FROM_MESSAGE,
    NoteCode.DETAIL_LEFT_OUT, NoteCode.DRUG_UNKNOWN, NoteCode.DRUG_AMBIGUOUS, NoteCode.DRUG_NOT_READ,
    NoteCode.DOSE_NOT_DAILY, NoteCode.ORDERED, NoteCode.START_FROM_AUTHORED, NoteCode.PRODUCT_IS_NO_TREATMENT,
    NoteCode.NEW_PATIENT, NoteCode.UNCHANGED,
})  # fmt: skip
"""The notes that rest on what was sent alone, so that a full receipt of the same says them again; and that of a new
patient, which the status of the item says, too.
"""
LISTED_OF_A_KIND = 1_000
"""How many facts of one answer that are kept with the same notes are listed. A line of an answer needs 0.2 kB."""


class Note(NamedTuple):
    """One note about a fact: its code and, if the code needs it, the detail, the rule or the field that it is about."""

    code: NoteCode
    about: str | None = None


class AffectedFact(NamedTuple):
    """Another fact that counts or no longer counts because of a statement.

    `section` is its section of a timeline; `time` its time as written. `stands` says whether it counts now.
    """

    section: str
    code: str | None
    time: str | None
    stands: bool


class SentFact(NamedTuple):
    """What a reader knows of a fact that does not count. It serves the worklist and the intake; no receipt shows it.

    `word` is the code, product, drug or term. Of a fact that is not ours it is `system|code`, and `suggests` is a code
    of ours that it might mean. `time` is the instant in microseconds, or `d` and the day. `content` is any text that
    differs if the content differs; only a keyed hash of it is stored. `at` is the place of the fact itself.
    """

    at: str
    section: str | None = None
    word: str | None = None
    source: str | None = None
    id: str | None = None
    time: str | None = None
    content: str | None = None
    unit: str | None = None
    suggests: str | None = None


class ReceiptLine(NamedTuple):
    """What happened to one fact, at its place in what was sent.

    `reason` is a `NotKept`, a fault code, or the kind of skipped content; of a kept fact it is `None`. `sent` is what
    the reader knows of a fact that is set aside or not ours, `accepts` what its place accepts.
    """

    place: str
    disposition: Disposition
    reason: str | None = None
    notes: tuple[Note, ...] = ()
    affects: tuple[AffectedFact, ...] = ()
    sent: SentFact | None = None
    accepts: Accepts | None = None

    @property
    def has_effect(self) -> bool:
        """Whether another fact does not count because of this one, which is set aside: since now, or since before."""
        return self.disposition is Disposition.SET_ASIDE and bool(self.affects or self.notes)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The number of facts of each disposition, and the lines in the order of what was sent.

    `short` is the number of lines that are not listed, because enough lines of the answer say the same.
    """

    counts: Counter[Disposition] = field(default_factory=Counter)
    lines: Sequence[ReceiptLine] = ()
    short: int = 0

    def total(self, *dispositions: Disposition) -> int:
        """The number of facts with one of these dispositions."""
        return sum(self.counts[disposition] for disposition in dispositions)

    @property
    def lost(self) -> bool:
        """Whether facts were sent, and none of them is kept, older than what stands, or set aside with an effect."""
        if not self.counts.total() or self.total(Disposition.KEPT, Disposition.NOT_APPLIED):
            return False
        return not any(line.has_effect for line in self.lines)


@dataclass(slots=True)
class ShortReceipts:
    """Shortens the receipts of one answer: of the facts that are kept with the same notes, only the first are listed.

    A line is left out only if a full receipt of the same says it again, and if it names no other fact. `lines` is the
    number of lines that were left out, `notes` how many of them have each note.
    """

    lines: int = 0
    notes: Counter[NoteCode] = field(default_factory=Counter)
    _listed: Counter[tuple[Note, ...]] = field(default_factory=Counter)

    def shortened(self, receipt: Receipt) -> Receipt:
        """The receipt without the lines of which enough are listed."""
        if not receipt.lines:
            return receipt
        lines = tuple(line for line in receipt.lines if self._lists(line))
        short = len(receipt.lines) - len(lines)
        self.lines += short
        return Receipt(receipt.counts, lines, short)

    def _lists(self, line: ReceiptLine) -> bool:
        if line.disposition is not Disposition.KEPT or line.affects or not _told_again(line.notes):
            return True
        self._listed[line.notes] += 1
        if self._listed[line.notes] <= LISTED_OF_A_KIND:
            return True
        self.notes.update({note.code for note in line.notes})
        return False


@lru_cache(maxsize=256)
def _told_again(notes: tuple[Note, ...]) -> bool:
    return all(note.code in TOLD_AGAIN for note in notes)
