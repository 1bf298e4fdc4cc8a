"""Reads and stores HL7 v2 messages, each as one submission, and writes the acknowledgement."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.errors import Accepts, Erased, Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.acknowledgement import CODES, Code, acknowledgement, batch_acknowledgement
from app.hl7v2.data_types import in_hl7_form
from app.hl7v2.message import MOST_MESSAGES, Batch, Envelope, body_of, messages_of, read_batch_envelope, read_envelope
from app.hl7v2.oru_results import ReadMessage, read_message
from app.readers.statements import Feed
from app.store.engine import Database, Transaction
from app.store.ledger import Counts
from app.submission.feeds import read_feed
from app.submission.loop import Submitter, patiently
from app.timeline.normalize import MOST_FAULTS

FORMAT = "hl7v2"


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one message, or to one batch.

    `ack` is the acknowledgement in ER7, with CR line ends and in the character set of the message; it is empty if the
    sender wants none. `code` is the application code (AA stored, AE faulty, AR not read), also if an accept
    acknowledgement is sent; of a batch it is the worst one. Places of `faults` in a batch begin with the message:
    `message[2].OBX[1]-5`. `counts` is `None` if nothing was stored.
    """

    ack: bytes
    code: Code
    faults: tuple[Fault, ...]
    counts: Counts | None
    skipped: Mapping[str, int]


def store_message(
    database: Database,
    study: str,
    message: bytes,
    *,
    secret: str | None,
    now: int,
    client: str | None = None,
    pauses: Sequence[float] = (),
) -> Reply:
    """Read and store a message, or the messages of a batch one after the other, and return the answer.

    A message is stored as a whole or not at all; each message of a batch is stored separately. Any bytes get an
    answer. Raises `NotFound` for an unknown study, `Conflict` if the secret of its identifiers is missing or is not
    the same as before, and `Busy`: then the message may be sent again, also a batch that was stored in part.
    """
    feed = patiently(lambda: read_feed(database, study, secret, now), pauses)
    submitter = Submitter(database, study, FORMAT, now, feed, client, pauses)
    body = body_of(message)
    if sum(len(batch.messages) for batch in body.batches) > MOST_MESSAGES:
        return _refused(Envelope(()), "AR", [Fault("", FaultCode.TOO_MANY, None, Accepts(at_most_items=MOST_MESSAGES))])
    if not body.is_batch or not body.batches:
        return _answer(submitter, feed, body.batches[0].messages[0] if body.batches else [])
    replies: list[Reply] = []
    acks = []
    for batch in body.batches:
        batch_replies = [
            _numbered(_answer(submitter, feed, lines), len(replies) + i) for i, lines in enumerate(batch.messages, 1)
        ]
        ack, batch_faults = _batch_ack(batch, batch_replies)
        replies += [*batch_replies, *batch_faults]
        acks.append(ack)
    return _joined(replies, b"".join(acks))


def partition(body: bytes) -> list[bytes]:
    """The messages of a batch file, or of several messages in one text, each to be stored separately."""
    return messages_of(body)


def _answer(submitter: Submitter, feed: Feed, lines: Sequence[bytes]) -> Reply:
    envelope = read_envelope(lines)
    try:
        read = read_message(envelope, feed)
        counts = submitter.commit(lambda transaction: _store(transaction, submitter, read)) if read.histories else None
    except MalformedDocument as refusal:
        return _refused(envelope, "AR", refusal.faults)
    except InvalidDocument as refusal:
        return _refused(envelope, "AE", refusal.faults)
    except Erased as refusal:
        return _refused(envelope, "AE", [Fault("PID-3", FaultCode.NO_SUBJECT, f"{refusal.title()}.")])
    return Reply(acknowledgement(envelope, "AA", skipped=read.skipped), "AA", (), counts, read.skipped)


def _store(transaction: Transaction, submitter: Submitter, read: ReadMessage) -> Counts:
    """Store a message as one submission."""
    counts = submitter.submit(submitter.builder(transaction), read.histories).counts
    if read.ends_known_link and counts.added:
        raise InvalidDocument(faults=[Fault("PID[2]-3", FaultCode.UNKNOWN_REFERENCE)])
    return counts


def _refused(envelope: Envelope, code: Code, faults: Sequence[Fault]) -> Reply:
    faults = [in_hl7_form(fault) for fault in faults]
    return Reply(acknowledgement(envelope, code, faults), code, tuple(faults), None, {})


def _numbered(reply: Reply, number: int) -> Reply:
    """The reply to a message of a batch; its places begin with the number of the message."""
    return replace(reply, faults=_within(f"message[{number}]", reply.faults))


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
    )


def _within(message: str, faults: Sequence[Fault]) -> tuple[Fault, ...]:
    return tuple(replace(fault, pointer=f"{message}.{fault.pointer}".rstrip(".")) for fault in faults)
