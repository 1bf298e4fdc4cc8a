"""HL7 v2 messages before their content is read: a body split into batches and messages, and the header of a message.

`body_of` splits the bytes of a request, a file or a frame into `Batch` objects; `messages_of` returns the messages.
`read_envelope` reads the header MSH: sender, receiver, type, character set, and which acknowledgement the sender wants.
It returns an `Envelope` for any bytes, because a message that cannot be read is acknowledged, too; `Envelope.faults`
lists the faults of the header. `read_batch_envelope` does the same for the header of a batch (BHS).
"""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from sys import getsizeof

from app.errors import Accepts, Fault, FaultCode, MalformedDocument
from app.hl7v2.segments import (
    MOST_READ,
    NULL,
    READ_SEGMENTS,
    STANDARD,
    Delimiters,
    Segment,
    delimiters_of,
    lines_of,
    segments_of,
)

MOST_MESSAGES = 10_000
"""Greatest number of messages in one body; each is stored in a separate transaction."""
MOST_BATCHES = 1_000
"""Greatest number of batches in one body; each has an acknowledgement."""

_BATCH_SEGMENTS = frozenset({b"FHS", b"BHS", b"BTS", b"FTS"})
_SEGMENT_NAME = re.compile(rb"(MSH|FHS|BHS|BTS|FTS)(?![A-Za-z0-9])")
_VALID_HEADER = re.compile(rb"(?:MSH|FHS|BHS)([!-/:-@\[-`{-~])(?:(?!\1)[!-/:-@\[-`{-~]){4}")


@dataclass(slots=True)
class Batch:
    """Messages, each as its lines. `header` and `trailer` are the lines BHS and BTS, or `None`. `cut_off`: the batch is
    the last one of a file (FHS) that has no end (FTS).
    """

    header: bytes | None = None
    messages: list[list[bytes]] = field(default_factory=list)
    trailer: bytes | None = None
    cut_off: bool = False

    def faults(self) -> list[Fault]:
        """The fault of a batch of which messages may be missing; the sender must send those again."""
        faults = [] if self.header is None else self._count_faults()
        return faults or ([Fault("FTS", FaultCode.MISSING)] if self.cut_off else [])

    def _count_faults(self) -> list[Fault]:
        if self.trailer is None:
            return [Fault("BTS", FaultCode.MISSING)]
        counted = self.trailer[4:].split(self.trailer[3:4] or b"|")[0].strip()
        if counted and counted != str(len(self.messages)).encode():
            why = "The number of messages in the batch differs from the number in its trailer."
            return [Fault("BTS-1", FaultCode.LENGTH_MISMATCH, why)]
        return []


@dataclass(frozen=True, slots=True)
class Body:
    """The batches of a body. `is_batch`: it is answered as a batch, because it is one or holds several messages."""

    batches: Sequence[Batch]
    is_batch: bool


def body_of(body: bytes) -> Body:
    """Split a body into batches. Lines before the first header are a message, too, which is then refused."""
    batches = [Batch()]
    is_batch = file_is_open = False
    open_message: list[bytes] | None = None
    separator = b""
    for line in lines_of(body):
        name = _boundary_name(line, separator)
        if name:
            separator = line[3:4] or separator
        if name in _BATCH_SEGMENTS:
            is_batch, open_message = True, None
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
    filled = [batch for batch in batches if batch.header is not None or batch.messages]
    if filled:
        filled[-1].cut_off = file_is_open
    return Body(filled, is_batch or sum(len(batch.messages) for batch in filled) > 1)


def _boundary_name(line: bytes, separator: bytes) -> bytes:
    """The segment name of a line that begins or ends a message, a batch or a file; b"" for any other line.

    `separator` is the field separator of the lines before. A note may contain line feeds: one of its lines, such as
    `MSH-6 intact` (a protein), must not split a message. A damaged header must not become a part of the last message.
    """
    match = _SEGMENT_NAME.match(line)
    if match is None or (separator and line[3:4] not in {b"", separator} and not _VALID_HEADER.match(line)):
        return b""
    return match[1]


def messages_of(body: bytes) -> list[bytes]:
    """The messages of a body, each with CR line ends."""
    messages = [message for batch in body_of(body).batches for message in batch.messages]
    return [b"".join(line + b"\r" for line in message) for message in messages]


PROCESSING = ("P", "T", "D")
"""MSH-11, HL7 table 0103: production, training, debugging."""
TYPES = frozenset({("ORU", "R01"), ("ADT", "A40"), ("ADT", "A37")})
"""Type and event of the messages that are read."""
_ONLY_EVENT = {"ORU": "R01"}
"""The event of a type that has no other one; before version 2.5 it may be left out (2.1 has no event in MSH-9)."""
_EVENT_IN_MSH_9 = "2.5"

_ISO = ("", "ISO", "ISO ", "ISO-", "ISO_")
_NAMES = {
    "ascii": ("", "ASCII", "US-ASCII", "ISO IR6"),
    "utf-8": ("UNICODE UTF-8", "UNICODE UTF8", "UTF-8", "UTF8"),
    **{
        f"iso8859-{part}": tuple(f"{prefix}8859{mark}{part}" for prefix in _ISO for mark in "/-")
        for part in (*range(1, 12), 13, 14, 15)
    },
}
_CODECS: dict[str, str] = {
    **{name: codec for codec, names in _NAMES.items() for name in names},
    **dict.fromkeys(("LATIN1", "LATIN-1"), "iso8859-1"),
}
"""Character sets of HL7 table 0211 whose delimiters are ASCII, and other usual names of them."""

_JAPANESE = frozenset({"ISO IR6", "ISO IR13", "ISO IR14", "ISO IR87", "ISO IR159"})
"""Character sets to which a message in ASCII may switch by escape sequences of ISO 2022 (`~ISO IR87`)."""
_DECLARABLE = {"Shift_JIS": "cp932"}
"""The codec of a declared character set, if it is not the one of its name. Windows adds characters to Shift_JIS."""

_ACCEPTED_CHARSETS = Accepts(
    one_of=("ASCII", "UNICODE UTF-8", *(name for name in _CODECS if name.startswith("8859/")), *sorted(_JAPANESE))
)
_ACCEPTED_HEADERS = {
    9: Accepts(one_of=tuple(sorted("^".join(kind) for kind in TYPES))),
    11: Accepts(one_of=PROCESSING),
    12: Accepts(form="2.1 to 2.9, also with a third number such as 2.5.1"),
}
"""What the fields of MSH accept, by their numbers."""

VERSION = re.compile(r"2\.[1-9](\.[1-9])?")
"""The versions that are read; results have the same form in all of them."""
_UNDECODED = re.compile("[\udc80-\udcff]")
_PIECE = 100_000
"""Bytes that are decoded at a time where the text is not needed."""
_MOST_READ = Accepts(form=f"at most {MOST_READ} bytes in all segments of one message that are read, also when decoded")
_ANY_BYTES = "latin-1"
"""The codec that decodes and encodes any bytes; used where the character set is not known."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message whose header has been read. `sender` and `receiver` are application and facility, `sent_at` is MSH-7;
    all are as they were sent, but with our delimiters. `faults` are those of the header; with any, the message is not
    read. `facility` is the text of MSH-4, `None` if it is not certain. Bytes that are not in the character set stay in
    `lines` (`surrogateescape`); then it is not `all_decoded`. `lines` has only the name of a segment that is not
    read. An MSH-18 that is not known is the `unknown_charset`.
    """

    lines: tuple[str, ...]
    delimiters: Delimiters = STANDARD
    codec: str = _ANY_BYTES
    charset: str = ""
    sender: tuple[str, str] = ("", "")
    receiver: tuple[str, str] = ("", "")
    facility: str | None = ""
    sent_at: str = ""
    kind: tuple[str, str] = ("", "")
    control_id: str = ""
    processing: str = ""
    version: str = ""
    accept: str = ""
    application: str = ""
    faults: tuple[Fault, ...] = ()
    all_decoded: bool = True
    unknown_charset: str = ""


def read_envelope(lines: Sequence[bytes], charsets: Mapping[str, str] | None = None) -> Envelope:
    """Read the header of one message, given as its lines. `charsets` are the names that the study declares."""
    start = lines[0][:MOST_READ] if lines else b""
    first = start.decode(_ANY_BYTES)
    try:
        delimiters = delimiters_of(first)
        (header,), _ = segments_of([first], delimiters, _ANY_BYTES, frozenset({"MSH"}))
    except MalformedDocument as refusal:
        return Envelope((first,), faults=refusal.faults)
    codec, charset, faults = _character_set(header, start, charsets or {})
    text = start.decode(codec, "surrogateescape")
    if codec != _ANY_BYTES:
        (header,), _ = segments_of([text], delimiters, codec, frozenset({"MSH"}))
    unknown = _charset_name(header) if faults else ""
    try:
        read, all_decoded = _decoded(lines, codec)
    except MalformedDocument as refusal:
        return _envelope_of(header, (text,), charset, (*faults, *refusal.faults))
    envelope = _envelope_of(header, read, charset, faults)
    return replace(envelope, all_decoded=all_decoded, unknown_charset=unknown)


def _decoded(lines: Sequence[bytes], codec: str) -> tuple[tuple[str, ...], bool]:
    """The lines as texts, and whether all bytes are in the character set. Raises `MalformedDocument` if those that are
    read are too large.
    """
    texts: list[str] = []
    all_decoded, sent, held = True, 0, 0
    for line in lines:
        name = line[:3].decode(_ANY_BYTES)
        if name not in READ_SEGMENTS:
            texts.append(line[:4].decode(_ANY_BYTES))
            all_decoded = all_decoded and _is_decoded(line, codec)
            continue
        sent += len(line)
        text = line.decode(codec, "surrogateescape") if sent <= MOST_READ else ""
        held += getsizeof(text)
        if max(sent, held) > MOST_READ:
            raise MalformedDocument(None, [Fault(name, FaultCode.TOO_LONG, None, _MOST_READ)])
        texts.append(text)
        all_decoded = all_decoded and (line.isascii() or not _UNDECODED.search(text))
    return tuple(texts), all_decoded


def _is_decoded(line: bytes, codec: str) -> bool:
    """Whether all bytes of a line are in a character set. A long line is not decoded as a whole."""
    if line.isascii() and b"\x1b" not in line:
        return True
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        for at in range(0, len(line), _PIECE):
            decoder.decode(line[at : at + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def read_batch_envelope(line: bytes) -> Envelope:
    """Read the header BHS of a batch. It has the fields of MSH, but its control id is BHS-11."""
    text = line.decode(_ANY_BYTES)
    try:
        (header,), _ = segments_of(("MSH" + text[3:],), delimiters_of("MSH" + text[3:]), _ANY_BYTES, frozenset({"MSH"}))
    except MalformedDocument:
        return Envelope((text,))
    return replace(_envelope_of(header, (text,), "", ()), control_id=_in_our_delimiters(header, 11), faults=())


def _character_set(header: Segment, line: bytes, charsets: Mapping[str, str]) -> tuple[str, str, tuple[Fault, ...]]:
    """The codec and the name of the character set; for an unknown one `_ANY_BYTES`, no name and the fault.

    What the study declares of a name comes before what the name means elsewhere.
    """
    declared = {name.upper(): charset for name, charset in charsets.items()}
    name = _charset_name(header)
    if name not in declared and not line.isascii() and "Shift_JIS" in declared.values():
        # A name of a sender in Shift_JIS may have bytes that look like delimiters: MSH-18 is then at another place.
        decoded = line.decode("cp932", "surrogateescape")
        ((other,), _) = segments_of([decoded], header.delimiters, "cp932", frozenset({"MSH"}))
        if declared.get(_charset_name(other)) == "Shift_JIS":
            name = _charset_name(other)
    known = declared.get(name)
    codec = _CODECS.get(name) or _codec_of_several(*name.split(STANDARD.repetition))
    if known is not None:
        codec = _DECLARABLE.get(known, known)
    if codec is None:
        return _ANY_BYTES, "", (_unknown_charset(),)
    return codecs.lookup(codec).name, name, ()


def _charset_name(header: Segment) -> str:
    field = header.raw(18).strip()
    names = [part.strip().upper() for part in field.split(header.delimiters.repetition)]
    return "" if names == [NULL] else STANDARD.repetition.join(names)


def _unknown_charset() -> Fault:
    return Fault("MSH-18", FaultCode.UNKNOWN_ENCODING, None, _ACCEPTED_CHARSETS)


def _codec_of_several(first: str, *others: str) -> str | None:
    japanese = others and first in {"", "ASCII", "ISO IR6"} and _JAPANESE.issuperset(others)
    return "iso2022_jp_ext" if japanese else None


def _envelope_of(header: Segment, lines: tuple[str, ...], charset: str, faults: tuple[Fault, ...]) -> Envelope:
    def as_sent(field: int) -> str:
        return _in_our_delimiters(header, field)

    return Envelope(
        lines,
        header.delimiters,
        header.codec,
        charset,
        sender=(as_sent(3), as_sent(4)),
        receiver=(as_sent(5), as_sent(6)),
        facility=_facility(header),
        sent_at=as_sent(7),
        kind=_kind(header, lines),
        control_id=as_sent(10),
        processing=header.text(11),
        version=header.text(12),
        accept=header.text(15).upper(),
        application=header.text(16).upper(),
        faults=(*_header_faults(header, _kind(header, lines)), *faults),
    )


def _facility(header: Segment) -> str | None:
    certain = header.certain is None or header.certain >= 3  # MSH-1 is a delimiter: MSH-4 is the fourth text
    return header.text(4) if certain and not header.is_undecoded(4) else None


def _kind(header: Segment, lines: Sequence[str]) -> tuple[str, str]:
    """Type and event. Before version 2.5, MSH-9 may hold the type alone: the event of ADT is then EVN-1."""
    kind, event = header.text(9), header.text(9, 2)
    if event or not header.text(12) < _EVENT_IN_MSH_9:
        return kind, event
    if kind == "ADT":
        mark = header.delimiters.field
        told = [line.split(mark)[1].strip() for line in lines if line.startswith(f"EVN{mark}")]
        return kind, told[0] if told else ""
    return kind, _ONLY_EVENT.get(kind, "")


def _header_faults(header: Segment, kind: tuple[str, str]) -> Iterator[Fault]:
    for number in (9, 10, 11, 12):
        if not header.text(number):
            yield Fault(header.place(number), FaultCode.MISSING, None, _ACCEPTED_HEADERS.get(number))
    if kind[0] and kind not in TYPES:
        yield Fault(header.place(9), FaultCode.UNSUPPORTED, None, _ACCEPTED_HEADERS[9])
    if header.text(11) not in {"", *PROCESSING}:
        yield Fault(header.place(11), FaultCode.UNKNOWN_VALUE, None, _ACCEPTED_HEADERS[11])
    if header.text(12) and not VERSION.fullmatch(header.text(12)):
        yield Fault(header.place(12), FaultCode.UNKNOWN_VALUE, None, _ACCEPTED_HEADERS[12])


def _in_our_delimiters(header: Segment, field: int) -> str:
    """A field as it was sent, but with the delimiters that we write."""
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
