"""What a message says of itself in MSH: from whom to whom, its type, its characters, and how it is acknowledged.

An envelope is found for any bytes, because even what cannot be read is acknowledged; what is wrong with it stands
beside it.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from app.errors import Fault, FaultCode, MalformedDocument
from app.hl7v2.segments import STANDARD, Delimiters, Segment, delimiters_of, segments_of

TYPES = frozenset({("ORU", "R01"), ("ADT", "A40"), ("ADT", "A37")})
"""Message type and event of what is read."""

_CODECS: dict[str, str] = {
    "": "ascii",
    "ASCII": "ascii",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 12), 13, 14, 15)},
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
}
"""Character sets of HL7 table 0211 in which the delimiters are ASCII; `UTF-8` is not in it and is often written."""

_JAPANESE = frozenset({"ISO IR6", "ISO IR13", "ISO IR14", "ISO IR87", "ISO IR159"})
"""Character sets that a message in ASCII may change to by the escape sequences of ISO 2022 (`~ISO IR87`)."""

VERSION = re.compile(r"2\.[1-9](\.[1-9])?")
"""The versions that are read; results have looked the same in all of them."""
_ANY = "latin-1"
"""Reads and writes back any bytes, where the character set is not known."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with its header read. `sender` and `receiver` are application and facility, `sent_at` is MSH-7: as
    they were sent, in our delimiters. `faults` are those of the header; with any the message is not read.
    """

    lines: tuple[str, ...]
    delimiters: Delimiters = STANDARD
    codec: str = _ANY
    charset: str = ""
    sender: tuple[str, str] = ("", "")
    receiver: tuple[str, str] = ("", "")
    facility: str = ""
    sent_at: str = ""
    kind: tuple[str, str] = ("", "")
    control_id: str = ""
    processing: str = ""
    version: str = ""
    accept: str = ""
    application: str = ""
    faults: tuple[Fault, ...] = ()


def opened(lines: Sequence[bytes]) -> Envelope:
    """The envelope of the lines of one message."""
    blind = tuple(line.decode(_ANY) for line in lines)
    try:
        delimiters = delimiters_of(blind[0] if blind else "")
        (header,), _ = segments_of(blind[:1], delimiters, _ANY, frozenset({"MSH"}))
    except MalformedDocument as refusal:
        return Envelope(blind, faults=refusal.faults)
    codec, charset, faults = _characters(header)
    text = blind
    if codec != _ANY:
        try:
            text = tuple(line.decode(codec) for line in lines)
        except UnicodeDecodeError:
            codec, charset, faults = _ANY, "", (Fault("MSH-18", FaultCode.UNKNOWN_ENCODING),)
        else:
            (header,), _ = segments_of(text[:1], delimiters, codec, frozenset({"MSH"}))
    return _read(header, text, charset, faults)


def opened_batch(line: bytes) -> Envelope:
    """The envelope of a batch from its header BHS, which is laid out as MSH is but for its control id."""
    text = line.decode(_ANY)
    try:
        (header,), _ = segments_of(("MSH" + text[3:],), delimiters_of("MSH" + text[3:]), _ANY, frozenset({"MSH"}))
    except MalformedDocument:
        return Envelope((text,))
    return replace(_read(header, (text,), "", ()), control_id=_in_our_delimiters(header, 11), faults=())


def _characters(header: Segment) -> tuple[str, str, tuple[Fault, ...]]:
    """The codec and the name of the character set, or how to read the header all the same and the fault."""
    declared = STANDARD.repetition.join(part.upper() for part in header.texts(18))
    codec = _CODECS.get(declared) or _codec_of_several(*declared.split(STANDARD.repetition))
    if codec is None:
        return _ANY, "", (Fault("MSH-18", FaultCode.UNKNOWN_ENCODING),)
    return codecs.lookup(codec).name, declared, ()


def _codec_of_several(first: str, *others: str) -> str | None:
    japanese = others and first in {"", "ASCII", "ISO IR6"} and _JAPANESE.issuperset(others)
    return "iso2022_jp_ext" if japanese else None


def _read(header: Segment, lines: tuple[str, ...], charset: str, faults: tuple[Fault, ...]) -> Envelope:
    def echo(field: int) -> str:
        return _in_our_delimiters(header, field)

    return Envelope(
        lines,
        header.delimiters,
        header.codec,
        charset,
        sender=(echo(3), echo(4)),
        receiver=(echo(5), echo(6)),
        facility=header.text(4),
        sent_at=echo(7),
        kind=(header.text(9), header.text(9, 2)),
        control_id=echo(10),
        processing=header.text(11),
        version=header.text(12),
        accept=header.text(15).upper(),
        application=header.text(16).upper(),
        faults=(*_faults(header), *faults),
    )


def _faults(header: Segment) -> Iterator[Fault]:
    for field in (9, 10, 11, 12):
        if not header.text(field):
            yield Fault(header.place(field), FaultCode.MISSING)
    kind = (header.text(9), header.text(9, 2))
    if kind[0] and kind not in TYPES:
        yield Fault(header.place(9), FaultCode.UNSUPPORTED)
    if header.text(11) not in {"", "P", "T", "D"}:
        yield Fault(header.place(11), FaultCode.UNKNOWN_VALUE)
    if header.text(12) and not VERSION.fullmatch(header.text(12)):
        yield Fault(header.place(12), FaultCode.UNKNOWN_VALUE)


def _in_our_delimiters(header: Segment, field: int) -> str:
    """A field as it was sent, but with the delimiters that we write with."""
    raw, theirs, ours = header.raw(field).strip(), header.delimiters, STANDARD
    if theirs == ours:
        return ours.printable(raw)
    return ours.repetition.join(
        ours.component.join(
            ours.subcomponent.join(
                ours.escaped(theirs.unescape(part, header.codec)) for part in component.split(theirs.subcomponent)
            )
            for component in repetition.split(theirs.component)
        )
        for repetition in raw.split(theirs.repetition)
    )
