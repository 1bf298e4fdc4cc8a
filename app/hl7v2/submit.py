"""Reads and stores HL7 v2 messages, each as one submission, and writes the acknowledgement."""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.errors import Accepts, Erased, Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.acknowledgement import CODES, Code, acknowledgement, batch_acknowledgement
from app.hl7v2.data_types import in_hl7_form
from app.hl7v2.message import (
    MOST_BATCHES,
    MOST_MESSAGES,
    Batch,
    Envelope,
    body_of,
    messages_of,
    read_batch_envelope,
    read_envelope,
)
from app.hl7v2.oru_results import ReadMessage, read_message
from app.readers.statements import Feed
from app.readers.suggestions import Proposal, in_words
from app.store.engine import Database, Transaction
from app.store.ledger import Counts, Submission
from app.submission.feeds import read_feed
from app.submission.intake import proposed_in_rehearsal
from app.submission.loop import Submitter, patiently
from app.timeline.facts import History
from app.timeline.normalize import MOST_FAULTS
from app.timeline.receipts import Disposition, NotKept, Receipt, ReceiptLine

FORMAT = "hl7v2"
_SEGMENTS = {name: i for i, name in enumerate(("MSH", "EVN", "PID", "MRG", "OBR", "SPM", "OBX"))}
_NOT_AT_FAULT = frozenset({*NotKept, FaultCode.UNKNOWN_REFERENCE})
"""Reasons for which a result is set aside although its sender has nothing to correct."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one message, or to one batch.

    `ack` is the acknowledgement in ER7, with CR line ends and in the character set of the message; it is empty if the
    sender wants none. `code` is the application code (AA stored, AE faulty, AR not read), also if an accept
    acknowledgement is sent; of a batch it is the worst one. Places of `faults` and of the receipt in a batch begin with
    the message: `message[2].OBX[1]-5`. `counts` is `None` if nothing was stored. `receipt` says what happened to each
    fact; it is empty if the message could not be read. `parts` are the replies to the messages of a batch, in order.
    """

    ack: bytes
    code: Code
    faults: tuple[Fault, ...]
    counts: Counts | None
    skipped: Mapping[str, int]
    receipt: Receipt = field(default_factory=Receipt)
    parts: tuple["Reply", ...] = ()


def store_message(
    database: Database,
    study: str,
    message: bytes,
    *,
    secret: str | None,
    now: int,
    client: str | None = None,
    pauses: Sequence[float] = (),
    full: bool = False,
    propose: bool = False,
    not_ours: Container[tuple[str, str]] = (),
) -> Reply:
    """Read and store a message, or the messages of a batch one after the other, and return the answer.

    A message is one submission, without the results that are set aside; each message of a batch is stored separately.
    It is faulty (AE) if nothing of it is kept and its sender can correct something.
    A message of a type and event of `not_ours` is acknowledged (AA), and nothing of it is read.
    Any bytes get an answer; with `full` it lists every fact, and with `propose` that of a rehearsal says what the study
    could declare. Raises `NotFound` for an unknown study, `Conflict` if the secret of its identifiers is missing or is
    not the same as before, and `Busy`: then the message may be sent again, also a batch that was stored in part.
    """
    feed = patiently(lambda: read_feed(database, study, secret, now), pauses)
    submitter = Submitter(database, study, FORMAT, now, feed, client, pauses, full)
    proposals = _NewProposals(database, study).take if propose and database.origin is not None else _no_rehearsal
    body = body_of(message)
    for count, most in (
        (sum(len(each.messages) for each in body.batches), MOST_MESSAGES),
        (len(body.batches), MOST_BATCHES),
    ):
        if count > most:
            return _refused(
                Envelope(()), "AR", [Fault("", FaultCode.TOO_MANY, None, Accepts(at_most_items=most))], None
            )
    if not body.is_batch or not body.batches:
        return _answer(submitter, feed, body.batches[0].messages[0] if body.batches else [], proposals, not_ours)
    replies: list[Reply] = []
    parts: list[Reply] = []
    acks = []
    for batch in body.batches:
        own = [_answer(submitter, feed, lines, proposals, not_ours) for lines in batch.messages]
        batch_replies = [_numbered(reply, len(replies) + i) for i, reply in enumerate(own, 1)]
        ack, batch_faults = _batch_ack(batch, batch_replies)
        replies += [*batch_replies, *batch_faults]
        parts += own
        acks.append(ack)
    return replace(_joined(replies, b"".join(acks)), parts=tuple(parts))


def unkept(message: bytes) -> Reply:
    """The answer to a refused message, or to a batch with one, whose letter cannot be kept: AR, to be sent again."""
    body, faults = body_of(message), [Fault("", FaultCode.LETTERS_UNAVAILABLE)]
    batch = body.batches[0] if body.batches else Batch()
    if batch.header is not None:
        ack = batch_acknowledgement(read_batch_envelope(batch.header), [], faults, "AR")
    else:
        ack = acknowledgement(read_envelope(batch.messages[0] if batch.messages else []), "AR", faults)
    return Reply(ack, "AR", tuple(faults), None, {})


def partition(body: bytes) -> list[bytes]:
    """The messages of a batch file, or of several messages in one text, each to be stored separately."""
    return messages_of(body)


class _NewProposals:
    """What a rehearsal proposes because of each message."""

    def __init__(self, database: Database, study: str) -> None:
        self._database = database
        self._study = study
        self._before = Counter[str]()

    def take(self) -> list[Proposal]:
        """What was proposed since the last call."""
        found = {in_words(*each[:2]): each for each in proposed_in_rehearsal(self._database, self._study)}
        new = [each._replace(times=each.times - self._before[words]) for words, each in found.items()]
        self._before = Counter({words: each.times for words, each in found.items()})
        return [each for each in new if each.times]


Proposals = Callable[[], Sequence[Proposal] | None]
"""Gives what a rehearsal proposes because of the message just read; `None` if this is no rehearsal."""


def _no_rehearsal() -> None:
    return None


def _answer(
    submitter: Submitter,
    feed: Feed,
    lines: Sequence[bytes],
    proposals: Proposals,
    not_ours: Container[tuple[str, str]] = (),
) -> Reply:
    envelope = read_envelope(lines, feed.charsets)
    submitter.sender = "|".join(envelope.sender).strip("|") or None
    if envelope.kind in not_ours and all(fault.pointer == "MSH-9" for fault in envelope.faults):
        receipt = _receipt([ReceiptLine("MSH-9", Disposition.NOT_OURS, "segment")])
        submitter.count_receipt(receipt)
        ack = acknowledgement(envelope, "AA", (), receipt, full=submitter.full, proposed=proposals())
        return Reply(ack, "AA", (), None, {}, receipt)
    try:
        with submitter.refusals_counted():
            read = read_message(envelope, feed)
            if not read.histories and _is_faulty(read.unkept):
                return _nothing_kept(envelope, read, submitter, proposals)
            histories = (*read.histories, *read.aside)
            submission = (
                submitter.commit(lambda transaction: _store(transaction, submitter, read, histories))
                if histories
                else None
            )
    except MalformedDocument as refusal:
        return _refused(envelope, "AR", refusal.faults, proposals())
    except InvalidDocument as refusal:
        if envelope.unknown_charset:
            submitter.count_charset(envelope.unknown_charset)
        return _refused(envelope, "AE", refusal.faults, proposals())
    except Erased:
        return _refused(envelope, "AE", [Fault("PID-3", FaultCode.ERASED)], proposals())
    receipts = [] if submission is None else [outcome.receipt for outcome in submission.outcomes]
    if submission is None:
        submitter.count_receipt(_receipt(read.lines))
    receipt = _together([*receipts, _receipt(read.lines)])
    counts = None if submission is None else submission.counts
    aside = [in_hl7_form(fault) for fault in read.faults]
    code: Code = "AA"
    faults: list[Fault] = []
    if receipt.lost and _is_faulty(receipt.lines):
        code, faults = "AE", aside
    ack = acknowledgement(envelope, code, faults, receipt, aside=aside, full=submitter.full, proposed=proposals())
    return Reply(ack, code, tuple(faults), counts, read.skipped, receipt)


def _store(
    transaction: Transaction, submitter: Submitter, read: ReadMessage, histories: Sequence[History]
) -> Submission:
    """Store a message as one submission."""
    submission = submitter.submit(submitter.builder(transaction), histories, _receipt(read.lines))
    if read.ends_known_link and submission.counts.added:
        raise InvalidDocument(faults=[Fault("PID[2]-3", FaultCode.UNKNOWN_REFERENCE)])
    return submission


def _is_faulty(lines: Sequence[ReceiptLine]) -> bool:
    """Whether something is set aside that the sender can correct, and not because the patient is not enrolled."""
    aside = {line.reason for line in lines if line.disposition is Disposition.SET_ASIDE}
    return FaultCode.UNKNOWN_REFERENCE not in aside and not aside <= _NOT_AT_FAULT


def _receipt(lines: Sequence[ReceiptLine]) -> Receipt:
    """The receipt of lines that belong to no history."""
    return Receipt(Counter(line.disposition for line in lines if line.disposition is not Disposition.KEPT), lines)


def _together(receipts: Sequence[Receipt]) -> Receipt:
    counts = sum((receipt.counts for receipt in receipts), Counter[Disposition]())
    return Receipt(counts, sorted((line for receipt in receipts for line in receipt.lines), key=_in_message))


def _in_message(line: ReceiptLine) -> tuple[int, int, int]:
    """The order of lines: by the kind of segment, its number, and the field."""
    segment, _, field = line.place.partition("-")
    name, _, number = segment.rstrip("]").partition("[")
    return _SEGMENTS.get(name, len(_SEGMENTS)), int(number or 0), int(field or 0)


def _nothing_kept(envelope: Envelope, read: ReadMessage, submitter: Submitter, proposals: Proposals) -> Reply:
    """The refusal of a message of which nothing can be stored, because of faults of its results."""
    lines = [
        line._replace(disposition=Disposition.REFUSED) if line.disposition is Disposition.SET_ASIDE else line
        for line in read.unkept
    ]
    faults = [in_hl7_form(fault) for fault in InvalidDocument(faults=read.faults[:MOST_FAULTS]).faults]
    receipt = _receipt(lines)
    submitter.count_refusals([InvalidDocument(faults=faults)])
    submitter.count_suggestions(receipt)
    aside = [in_hl7_form(fault) for fault in read.faults]
    ack = acknowledgement(
        envelope, "AE", faults, receipt, aside=aside, full=submitter.full, proposed=proposals()
    )  # fmt: skip
    return Reply(ack, "AE", tuple(faults), None, {}, receipt)


def _refused(envelope: Envelope, code: Code, faults: Sequence[Fault], proposed: Sequence[Proposal] | None) -> Reply:
    faults = [in_hl7_form(fault) for fault in faults]
    ack = acknowledgement(envelope, code, faults, proposed=proposed)
    return Reply(ack, code, tuple(faults), None, {})


def _numbered(reply: Reply, number: int) -> Reply:
    """The reply to a message of a batch; its places begin with the number of the message."""
    at = f"message[{number}]"
    lines = [line._replace(place=f"{at}.{line.place}") for line in reply.receipt.lines]
    return replace(reply, faults=_within(at, reply.faults), receipt=Receipt(reply.receipt.counts, lines))


def _batch_ack(batch: Batch, replies: Sequence[Reply]) -> tuple[bytes, list[Reply]]:
    """The acknowledgement of a batch, and one more reply with the faults of the batch itself, if it has any."""
    faults = batch.faults()
    header = Envelope(()) if batch.header is None else read_batch_envelope(batch.header)
    ack = batch_acknowledgement(header, [reply.ack for reply in replies], faults)
    return ack, [Reply(b"", "AE", tuple(faults), None, {})] if faults else []


def _joined(replies: Sequence[Reply], ack: bytes) -> Reply:
    stored = [reply.counts for reply in replies if reply.counts is not None]
    return Reply(
        ack,
        max((reply.code for reply in replies), key=CODES.index, default="AA"),
        tuple(fault for reply in replies for fault in reply.faults)[:MOST_FAULTS],
        Counts(*map(sum, zip(*stored, strict=True))) if stored else None,
        sum((Counter(reply.skipped) for reply in replies), Counter()),
        Receipt(
            sum((reply.receipt.counts for reply in replies), Counter[Disposition]()),
            [line for reply in replies for line in reply.receipt.lines],
        ),
    )


def _within(message: str, faults: Sequence[Fault]) -> tuple[Fault, ...]:
    return tuple(replace(fault, pointer=f"{message}.{fault.pointer}".rstrip(".")) for fault in faults)
