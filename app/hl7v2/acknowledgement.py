"""Acknowledgements: the answer to a message or a batch in HL7 v2.

An acknowledgement depends only on the message and its outcome: the same message with the same outcome gets the same
bytes. It repeats the control id, the time and the names of sender and receiver of the message.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from app.errors import SENTENCES, Fault, FaultCode
from app.hl7v2.message import PROCESSING, VERSION, Envelope
from app.hl7v2.segments import NULL, STANDARD
from app.readers.suggestions import Proposal, in_words
from app.timeline.receipts import (
    DISPOSITIONS,
    NOT_KEPT,
    NOTES,
    AffectedFact,
    Disposition,
    NotKept,
    Receipt,
    ReceiptLine,
)

Code = Literal["AA", "AE", "AR"]
CODES: tuple[Code, ...] = ("AA", "AE", "AR")
"""Application acknowledgement codes, the worst last."""
Severity = Literal["E", "W", "I"]
_SEVERITY: dict[Disposition, Severity] = {Disposition.REFUSED: "E", Disposition.SET_ASIDE: "W"}

_ACCEPT: dict[Code, str] = {"AA": "CA", "AE": "CE", "AR": "CR"}
_CONDITIONS = {"AL": CODES, "NE": (), "ER": ("AE", "AR"), "SU": ("AA",), "": ()}
"""HL7 table 0155: the outcomes after which an acknowledgement is sent. Any other word means always."""

_ERRORS = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "207": "Application internal error",
}
"""The codes of HL7 table 0357 that are used."""
_ERROR_OF: dict[FaultCode, str] = {
    FaultCode.MISSING: "101",
    FaultCode.NO_SUBJECT: "101",
    FaultCode.UNKNOWN_VALUE: "103",
    FaultCode.UNKNOWN_UNIT: "103",
    FaultCode.MASS_UNIT: "103",
    FaultCode.UNIT_MISMATCH: "103",
    FaultCode.CODE_CONFLICT: "103",
    FaultCode.UNKNOWN_ENCODING: "103",
    FaultCode.NOT_PRODUCTION: "202",
    FaultCode.AMBIGUOUS_SUBJECT: "204",
    FaultCode.BAD_IDENTIFIER: "204",
    FaultCode.UNKNOWN_REFERENCE: "204",
    FaultCode.ERASED: "204",
    FaultCode.CONFLICTING_DUPLICATE: "205",
    FaultCode.LETTERS_UNAVAILABLE: "207",
}
"""The code of a fault in table 0357; any other fault is a data type error."""
_NAMED_ERRORS = {FaultCode.ERASED: "erased^Person erased^99MYO"}
"""What ERR-3 says beside the code of table 0357, which has none for it."""
_HEADER_ERRORS = {"MSH-9": "200", "MSH-11": "202", "MSH-12": "203"}

_NOT_KEPT, _FAULT_CODES = frozenset(NotKept), frozenset(FaultCode)
_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[([0-9]+)\])?(?:-([0-9]+))?")
_EVENT = re.compile(r"[A-Z][0-9]{2}")
_DEFAULT_VERSION = "2.5"
"""The version of an answer to a message that names no version; from this version on ERR has its long form."""
_PROPOSAL = "proposal"
"""Our code of an ERR about what the study could declare."""
_COUNTS = "counts"
"""Our code of an ERR with the counts of a receipt, from version 2.7 on, which has no MSA-3."""
_LONGEST_TEXT = 80
"""Length of MSA-3 before version 2.5."""
MOST_ERRORS = 100
"""Greatest number of ERR beside AA, unless the whole receipt is wanted."""


def acknowledgement(
    envelope: Envelope,
    code: Code,
    faults: Sequence[Fault] = (),
    receipt: Receipt | None = None,
    *,
    aside: Sequence[Fault] = (),
    full: bool = False,
    proposed: Sequence[Proposal] | None = None,
) -> bytes:
    """The acknowledgement of a message, or b"" if the sender wants none.

    In enhanced mode (MSH-15 or MSH-16 is given) an application acknowledgement is sent if MSH-16 asks for one after
    this outcome, else an accept acknowledgement if MSH-15 asks for one. A message gets one answer and never two: the
    answer is sent after the message has been stored, so that the first kind includes the second.

    MSA-3 counts the facts of the receipt; from version 2.7 on, which has no MSA-3, the first ERR that is no fault does,
    with severity I. From version 2.5 on, the lines of the receipt are in ERR: with severity W what was set
    aside, with I what else is to be noted; with `full` also what is plainly kept, and what is not stored here. `aside`
    are the faults of what was set aside. Where nothing was stored, a line has an ERR unless a fault says the same.

    `proposed` is what a rehearsal proposes to declare; it is `None` if this is no rehearsal. A rehearsal is always
    acknowledged. From version 2.5 on, each proposal is one ERR with severity I; before, MSA-3 names them.
    """
    answer = _answer(envelope, code)
    if answer is None and proposed is not None:
        answer = code
    if answer is None:
        return b""
    receipt = receipt or Receipt()
    why = {(fault.pointer, str(fault.code)): fault.explanation for fault in aside}
    errors = {(fault.pointer, str(fault.code)) for fault in faults}
    lines = [line for line in receipt.lines if (line.place, line.reason) not in errors]
    if code != "AA":
        lines = [line for line in lines if line.disposition is not Disposition.KEPT]
    remarks = _remarks(lines, why, full=full) if _has_long_errors(envelope) else iter(())
    shown = dict.fromkeys(islice(remarks, None if full else MOST_ERRORS))
    more = 0 if full else sum(1 for _ in remarks)
    counts, proposals = _counted(receipt, more), proposed or ()
    if not _has_long_errors(envelope):
        counts = _with_proposals(counts, proposals)
    has_text = _minor_version(envelope) < 7
    segments = [_header(envelope, code), _segment("MSA", answer, envelope.control_id, counts if has_text else "")]
    segments += _errors(envelope, faults)
    if counts and not has_text:
        segments.append(_segment("ERR", "", "", f"0^{_ERRORS['0']}^HL70357", "I", _COUNTS, "", "", counts))
    segments += [_remark_segment(remark) for remark in shown]
    segments += [_proposal_segment(each) for each in proposals if _has_long_errors(envelope)]
    return _written(segments, envelope.codec)


def _counted(receipt: Receipt, more: int) -> str:
    """The facts by disposition, such as `kept 3, set aside 1`, and the number of remarks that are left out."""
    counts = [f"{each.replace('_', ' ')} {count}" for each in Disposition if (count := receipt.counts[each])]
    return ", ".join(counts) + (f"; {more} more notes" if more else "")


class _Remark(NamedTuple):
    """One ERR that is no fault: place, severity, our code, what it is about, what else it did, and a sentence."""

    place: str
    severity: Severity
    code: str
    about: str
    effects: str
    sentence: str


def _remarks(lines: Sequence[ReceiptLine], why: Mapping[tuple[str, str], str], *, full: bool) -> Iterator[_Remark]:
    """What is to be said of the lines of a receipt: first what is refused or set aside, then the others in their order.

    `why` has the sentences of faults by place and code.
    """
    for line in sorted(lines, key=lambda line: line.disposition not in _SEVERITY):
        if line.disposition is Disposition.NOT_OURS and not full:
            continue
        effects = "; ".join(map(_effect, line.affects))
        if line.disposition is not Disposition.KEPT or effects or (full and not line.notes):
            severity = _SEVERITY.get(line.disposition, "I")
            code = line.disposition.value if line.reason is None else str(line.reason)
            yield _Remark(line.place, severity, code, "", effects, why.get((line.place, code)) or _sentence(line))
        for note in line.notes:
            yield _Remark(line.place, "I", note.code.value, note.about or "", "", NOTES[note.code])


def _proposal_segment(proposal: Proposal) -> str:
    """One ERR: its code, what could be declared, the whole proposal as JSON, and a sentence."""
    texts = (
        proposal.declaration,
        json.dumps(proposal.document),
        in_words(proposal.declaration, proposal.value),
    )
    written = (STANDARD.escaped(text) for text in texts)
    return _segment("ERR", "", "", f"0^{_ERRORS['0']}^HL70357", "I", _PROPOSAL, *written)


def _with_proposals(counts: str, proposals: Sequence[Proposal]) -> str:
    """The text of MSA-3 with what could be declared: with its content if that fits, else only the names."""
    if not proposals:
        return counts
    names = dict.fromkeys(each.declaration for each in proposals)
    for words in (map(_short_proposal, proposals), names):
        text = STANDARD.escaped("; ".join(filter(None, (counts, f"declare {', '.join(words)}"))))
        if len(text) <= _LONGEST_TEXT:
            break
    return text


def _short_proposal(proposal: Proposal) -> str:
    value = proposal.value
    if isinstance(value, dict):
        value = ", ".join(f"{name}={meaning}" for name, meaning in value.items())
    elif isinstance(value, list):
        value = ", ".join(value)
    return f"{proposal.declaration} {value or ''}".rstrip()


def _effect(fact: AffectedFact) -> str:
    named = " ".join(filter(None, (fact.section, fact.code, fact.time)))
    return f"{named} {'counts now' if fact.stands else 'no longer counts'}"


def _sentence(line: ReceiptLine) -> str:
    if line.reason in _NOT_KEPT:
        return NOT_KEPT[NotKept(line.reason)]
    if line.disposition is Disposition.SET_ASIDE and line.reason in _FAULT_CODES:
        return SENTENCES[FaultCode(line.reason)]
    return DISPOSITIONS[line.disposition]


def _remark_segment(remark: _Remark) -> str:
    fault = Fault(remark.place, FaultCode(remark.code)) if remark.code in _FAULT_CODES else None
    if fault is None and remark.severity == "E":
        error = "204"  # the only reason that is no fault code: it is not certain which result is meant
    else:
        error = "0" if fault is None or remark.severity == "I" else _error(fault)
    place = "^".join(_location(remark.place)).rstrip("^")
    written = (STANDARD.escaped(text) for text in (remark.about, remark.effects, remark.sentence))
    return _segment("ERR", "", place, f"{error}^{_ERRORS[error]}^HL70357", remark.severity, remark.code, *written)


def batch_acknowledgement(
    header: Envelope, acknowledgements: Sequence[bytes], faults: Sequence[Fault] = (), code: Code = "AE"
) -> bytes:
    """The acknowledgements of the messages of a batch, written as a batch; b"" if the senders want none.

    Faults of the batch itself are in one more acknowledgement, with the control id of the batch (BHS-11).
    """
    sent = [ack for ack in acknowledgements if ack]
    if faults:
        sent.append(acknowledgement(header, code, faults))
    if acknowledgements and not sent:
        return b""
    names = [*header.receiver, *header.sender]
    head = _segment("BHS", _encoding(), *names, header.sent_at, "", "", "", _digest(header, "batch"), header.control_id)
    return _written([head], header.codec) + b"".join(sent) + _written([f"BTS|{len(sent)}"], header.codec)


def _answer(envelope: Envelope, code: Code) -> str | None:
    if not envelope.accept and not envelope.application:
        return code
    if code in _CONDITIONS.get(envelope.application, CODES):
        return code
    return _ACCEPT[code] if code in _CONDITIONS.get(envelope.accept, CODES) else None


def _kind(envelope: Envelope) -> str:
    """MSH-9 of the answer: 2.1 has no event there, and the structure of a message was added in 2.3.1.

    From 2.6 on the event is required: if the message has none, the answer says that it is empty.
    """
    version = _version(envelope)
    event = envelope.kind[1] if _EVENT.fullmatch(envelope.kind[1]) else ""
    if version == "2.1":
        return "ACK"
    if not event and _minor_version(envelope) >= 6:
        event = NULL
    return f"ACK^{event}^ACK" if version > "2.3" else f"ACK^{event}".rstrip("^")


def _header(envelope: Envelope, code: Code) -> str:
    processing = envelope.processing if envelope.processing in PROCESSING else "P"
    charset = envelope.charset if _version(envelope) >= "2.3" else ""  # MSH-18 was added in 2.3
    return _segment(
        "MSH", _encoding(), *envelope.receiver, *envelope.sender, envelope.sent_at, "", _kind(envelope),
        _digest(envelope, code), processing, _version(envelope), "", "", "", "", "", charset,
    )  # fmt: skip


def _encoding() -> str:
    return "".join((STANDARD.component, STANDARD.repetition, STANDARD.escape, STANDARD.subcomponent))


def _version(envelope: Envelope) -> str:
    return envelope.version if VERSION.fullmatch(envelope.version) else _DEFAULT_VERSION


def _digest(envelope: Envelope, outcome: str) -> str:
    """The control id of an acknowledgement: the same for the same message, sender and outcome."""
    text = "\r".join((*envelope.sender, *envelope.receiver, envelope.control_id, envelope.sent_at, outcome))
    return base64.b32encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:12]).decode()[:20]


def _has_long_errors(envelope: Envelope) -> bool:
    return _minor_version(envelope) >= 5


def _minor_version(envelope: Envelope) -> int:
    return int(_version(envelope).split(".")[1])


def _errors(envelope: Envelope, faults: Sequence[Fault]) -> Iterator[str]:
    """One ERR for each fault; before version 2.5 one ERR, in which each fault is a repetition."""
    if _has_long_errors(envelope):
        for fault in faults:
            error, sentence = _error(fault), STANDARD.escaped(fault.explanation)
            text = "^".join(filter(None, (error, _ERRORS[error], "HL70357", _NAMED_ERRORS.get(fault.code))))
            place = "^".join(_location(fault.pointer)).rstrip("^")
            yield _segment("ERR", "", place, text, "E", fault.code.value, "", "", sentence)
    elif faults:
        short = _shortest if _version(envelope) == "2.1" else _short
        yield _segment("ERR", STANDARD.repetition.join(map(short, faults)))


def _shortest(fault: Fault) -> str:
    """A fault as one text: ERR-1 of version 2.1 has no components."""
    text = " ".join(filter(None, (fault.pointer, _error(fault), fault.code.value)))
    return STANDARD.escaped(f"{text}: {fault.explanation}")


def _short(fault: Fault) -> str:
    error, (segment, number, field) = _error(fault), _location(fault.pointer)
    text = (error, _ERRORS[error], "HL70357", fault.code.value, STANDARD.escaped(fault.explanation), "99MYO")
    return "^".join((segment, number, field, STANDARD.subcomponent.join(text)))


def _error(fault: Fault) -> str:
    _, _, field = _location(fault.pointer)
    if fault.code in {FaultCode.UNSUPPORTED, FaultCode.UNKNOWN_VALUE} and fault.pointer in _HEADER_ERRORS:
        return _HEADER_ERRORS[fault.pointer]
    if not field and fault.code in {FaultCode.MISSING, FaultCode.MALFORMED}:
        return "100"
    return _ERROR_OF.get(fault.code, "102")


def _location(place: str) -> tuple[str, str, str]:
    """Segment, its number and the field of a place such as `OBX[2]-5`."""
    match = _PLACE.fullmatch(place)
    return (match[1], match[2] or "1", match[3] or "") if match else ("", "", "")


def _segment(name: str, *fields: str) -> str:
    return STANDARD.field.join((name, *fields)).rstrip(STANDARD.field)


def _written(segments: Sequence[str], codec: str) -> bytes:
    text = "".join(f"{segment}\r" for segment in segments)
    try:
        return text.encode(codec, "surrogateescape")  # bytes of unknown characters come back as they were
    except UnicodeEncodeError:
        return text.encode(codec, "replace")
