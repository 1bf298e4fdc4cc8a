"""What a message says of itself in MSH: from whom to whom, its type, its characters, and how it is acknowledged.

An envelope is found for any bytes, because even what cannot be read is acknowledged; what is wrong with it stands
beside it.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from app.errors import Fault, FaultCode, MalformedDocument
from app.hl7v2.segments import STANDARD, Delimiters, Segment, delimiters_of, lines_of, segments_of

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
    for number in (9, 10, 11, 12):
        if not header.text(number):
            yield Fault(header.place(number), FaultCode.MISSING)
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


MOST_MESSAGES = 10_000
"""Messages of one body; each is a transaction of its own."""

_AROUND = frozenset({b"FHS", b"BHS", b"BTS", b"FTS"})
_NAME = re.compile(rb"(MSH|FHS|BHS|BTS|FTS)(?![A-Za-z0-9])")
_HEADER = re.compile(rb"(?:MSH|FHS|BHS)([!-/:-@\[-`{-~])(?:(?!\1)[!-/:-@\[-`{-~]){4}")


@dataclass(slots=True)
class Batch:
    """Messages, each as its lines. `header` and `trailer` are the lines BHS and BTS, where there are any; `cut_off`
    says that it is the last one of a file (FHS) without an end (FTS).
    """

    header: bytes | None = None
    messages: list[list[bytes]] = field(default_factory=list)
    trailer: bytes | None = None
    cut_off: bool = False

    def faults(self) -> list[Fault]:
        """Whether all messages of the batch are here; the others of one that was cut off must be sent again."""
        found = [] if self.header is None else self._miscounted()
        return found or ([Fault("FTS", FaultCode.MISSING)] if self.cut_off else [])

    def _miscounted(self) -> list[Fault]:
        if self.trailer is None:
            return [Fault("BTS", FaultCode.MISSING)]
        counted = self.trailer[4:].split(self.trailer[3:4] or b"|")[0].strip()
        if counted and counted != str(len(self.messages)).encode():
            why = "The batch holds another number of messages than its trailer says."
            return [Fault("BTS-1", FaultCode.LENGTH_MISMATCH, why)]
        return []


@dataclass(frozen=True, slots=True)
class Body:
    """What was sent. `enveloped` says that it is answered as a batch: it was one, or held several messages."""

    batches: Sequence[Batch]
    enveloped: bool


def body_of(body: bytes) -> Body:
    """The batches of a body. Lines before the first header are a message, too, if not one that can be read."""
    batches = [Batch()]
    around = file_is_open = False
    open_message: list[bytes] | None = None
    separator = b""
    for line in lines_of(body):
        name = _name(line, separator)
        if name:
            separator = line[3:4] or separator
        if name in _AROUND:
            around, open_message = True, None
            file_is_open = name == b"FHS" or (file_is_open and name != b"FTS")
            if name == b"BHS":
                batches.append(Batch(line))
            elif name == b"BTS":
                batches[-1].trailer = line
        elif name == b"MSH" or open_message is None:
            if batches[-1].trailer is not None:
                batches.append(Batch())
            open_message = [line]
            batches[-1].messages.append(open_message)
        else:
            open_message.append(line)
    found = [batch for batch in batches if batch.header is not None or batch.messages]
    if found:
        found[-1].cut_off = file_is_open
    return Body(found, around or sum(len(batch.messages) for batch in found) > 1)


def _name(line: bytes, separator: bytes) -> bytes:
    """The name of the line where it begins or ends something; b"" of any other.

    `separator` is that of the fields so far. Within a note that line feeds have broken, a line such as `MSH-6 intact`
    (a protein) must not take a message apart, while a header that is damaged must not become a part of the last one.
    """
    found = _NAME.match(line)
    if found is None or (separator and line[3:4] not in {b"", separator} and not _HEADER.match(line)):
        return b""
    return found[1]


def messages_of(body: bytes) -> list[bytes]:
    """The messages of a body, each with CR line ends."""
    messages = [message for batch in body_of(body).batches for message in batch.messages]
    return [b"".join(line + b"\r" for line in message) for message in messages]
