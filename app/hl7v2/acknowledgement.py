"""Acknowledgements: the answer to a message or a batch in HL7 v2.

An acknowledgement depends only on the message and its outcome: the same message with the same outcome gets the same
bytes. It repeats the control id, the time and the names of sender and receiver of the message.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from app.errors import Fault, FaultCode
from app.hl7v2.message import PROCESSING, VERSION, Envelope
from app.hl7v2.segments import STANDARD

Code = Literal["AA", "AE", "AR"]
CODES: tuple[Code, ...] = ("AA", "AE", "AR")
"""Application acknowledgement codes, the worst last."""

_ACCEPT: dict[Code, str] = {"AA": "CA", "AE": "CE", "AR": "CR"}
_CONDITIONS = {"AL": CODES, "NE": (), "ER": ("AE", "AR"), "SU": ("AA",), "": ()}
"""HL7 table 0155: the outcomes after which an acknowledgement is sent. Any other word means always."""

_ERRORS = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
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
    FaultCode.CONFLICTING_DUPLICATE: "205",
}
"""The code of a fault in table 0357; any other fault is a data type error."""
_HEADER_ERRORS = {"MSH-9": "200", "MSH-11": "202", "MSH-12": "203"}

_PLACE = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[([0-9]+)\])?(?:-([0-9]+))?")
_EVENT = re.compile(r"[A-Z][0-9]{2}")
_DEFAULT_VERSION = "2.5"
"""The version of an answer to a message that names no version; from this version on ERR has its long form."""


def acknowledgement(
    envelope: Envelope, code: Code, faults: Sequence[Fault] = (), skipped: Mapping[str, int] | None = None
) -> bytes:
    """The acknowledgement of a message, or b"" if the sender wants none.

    In enhanced mode (MSH-15 or MSH-16 is given) an application acknowledgement is sent if MSH-16 asks for one after
    this outcome, else an accept acknowledgement if MSH-15 asks for one. A message gets one answer and never two: the
    answer is sent after the message has been stored, so that the first kind includes the second.
    """
    answer = _answer(envelope, code)
    if answer is None:
        return b""
    # MSA-3 lists what was skipped; of a refused message nothing was stored.
    counts = ", ".join(f"{reason} {count}" for reason, count in sorted((skipped or {}).items()))
    text = f"skipped: {counts}" if counts and code == "AA" else ""
    segments = [_header(envelope, code), _segment("MSA", answer, envelope.control_id, text)]
    segments += _errors(_version(envelope), faults)
    return _written(segments, envelope.codec)


def batch_acknowledgement(header: Envelope, acknowledgements: Sequence[bytes], faults: Sequence[Fault] = ()) -> bytes:
    """The acknowledgements of the messages of a batch, written as a batch; b"" if the senders want none.

    Faults of the batch itself are in one more acknowledgement, with the control id of the batch (BHS-11).
    """
    sent = [ack for ack in acknowledgements if ack]
    if faults:
        sent.append(acknowledgement(header, "AE", faults))
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


def _header(envelope: Envelope, code: Code) -> str:
    event = envelope.kind[1] if _EVENT.fullmatch(envelope.kind[1]) else ""
    processing = envelope.processing if envelope.processing in PROCESSING else "P"
    return _segment(
        "MSH", _encoding(), *envelope.receiver, *envelope.sender, envelope.sent_at, "", f"ACK^{event}^ACK",
        _digest(envelope, code), processing, _version(envelope), "", "", "", "", "", envelope.charset,
    )  # fmt: skip


def _encoding() -> str:
    return "".join((STANDARD.component, STANDARD.repetition, STANDARD.escape, STANDARD.subcomponent))


def _version(envelope: Envelope) -> str:
    return envelope.version if VERSION.fullmatch(envelope.version) else _DEFAULT_VERSION


def _digest(envelope: Envelope, outcome: str) -> str:
    """The control id of an acknowledgement: the same for the same message, sender and outcome."""
    text = "\r".join((*envelope.sender, *envelope.receiver, envelope.control_id, envelope.sent_at, outcome))
    return base64.b32encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:12]).decode()[:20]


def _errors(version: str, faults: Sequence[Fault]) -> Iterator[str]:
    """One ERR for each fault; before version 2.5 one ERR, in which each fault is a repetition."""
    if int(version.split(".")[1]) >= 5:
        for fault in faults:
            error, sentence = _error(fault), STANDARD.escaped(fault.explanation)
            text = f"{error}^{_ERRORS[error]}^HL70357"
            yield _segment(
                "ERR", "", "^".join(_location(fault)).rstrip("^"), text, "E", fault.code.value, "", "", sentence
            )
    elif faults:
        yield _segment("ERR", STANDARD.repetition.join(map(_short, faults)))


def _short(fault: Fault) -> str:
    error, (segment, number, field) = _error(fault), _location(fault)
    text = (error, _ERRORS[error], "HL70357", fault.code.value, STANDARD.escaped(fault.explanation), "99MYO")
    return "^".join((segment, number, field, STANDARD.subcomponent.join(text)))


def _error(fault: Fault) -> str:
    _, _, field = _location(fault)
    if fault.code in {FaultCode.UNSUPPORTED, FaultCode.UNKNOWN_VALUE} and fault.pointer in _HEADER_ERRORS:
        return _HEADER_ERRORS[fault.pointer]
    if not field and fault.code in {FaultCode.MISSING, FaultCode.MALFORMED}:
        return "100"
    return _ERROR_OF.get(fault.code, "102")


def _location(fault: Fault) -> tuple[str, str, str]:
    """Segment, its number and the field of a place such as `OBX[2]-5`."""
    match = _PLACE.fullmatch(fault.pointer)
    return (match[1], match[2] or "1", match[3] or "") if match else ("", "", "")


def _segment(name: str, *fields: str) -> str:
    return STANDARD.field.join((name, *fields)).rstrip(STANDARD.field)


def _written(segments: Sequence[str], codec: str) -> bytes:
    return "".join(f"{segment}\r" for segment in segments).encode(codec, "replace")
