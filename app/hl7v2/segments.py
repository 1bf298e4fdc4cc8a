"""The grammar of ER7, the text form of HL7 v2: lines, delimiters, segments, fields and escape sequences.

A segment is split where it is read: most fields of a message are not. The tests compare the parts with those of `hl7`.
"""

import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, MalformedDocument
from app.readers.streams import without_mark

MOST_PARTS = 200_000
"""Greatest number of delimiters in the segments that are read of one message: enough for 10,000 results."""

MOST_READ = 4_000_000
"""Greatest size in bytes of the segments that are read of one message, as they were sent and as texts in memory. No
field that is stored is so long; an attachment (OBX-5 with the data type ED) may be.
"""
READ_SEGMENTS = frozenset({"MSH", "EVN", "PID", "MRG", "OBR", "OBX", "SPM"})

_LINE_ENDS = bytes.maketrans(b"\n\x0b\x1c", b"\r\r\r")
"""Line feeds, and the two characters with which MLLP frames a message: all of them end a line."""
_SEGMENT = re.compile(r"([A-Z][A-Z0-9]{2})(?![A-Za-z0-9])")
_HEADER = re.compile(r"MSH([!-/:-@\[-`{-~])((?:(?!\1)[!-/:-@\[-`{-~]){4,5})(?=\1|\Z)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNDECODED = re.compile("[\x1b\udc80-\udcff\ufffd]")
"""Bytes that are no characters of the message's character set (`surrogateescape`), and switches to another set."""
_FORMATTING = {"H": "", "N": "", ".br": "\n", ".sp": "\n"}
"""Escape sequences for the layout of a text."""
NULL = '""'
NO_SEGMENT = "The line after this segment does not begin a new segment: a part of this one is lost."


class Delimiters(NamedTuple):
    """The characters that a message names in MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    def unescape(self, text: str, codec: str = "ascii") -> str:
        r"""The text with its escape sequences replaced; the bytes of a sequence such as `\X0D\` are decoded by `codec`.

        An unknown sequence is left unchanged.
        """
        if self.escape not in text:
            return text
        literal = {"F": self.field, "S": self.component, "T": self.subcomponent, "R": self.repetition, "E": self.escape}
        known = literal | _FORMATTING

        def replacement(match: re.Match[str]) -> str:
            name = match[1]
            if re.fullmatch(r"X(?:[0-9A-Fa-f]{2})+", name):
                return bytes.fromhex(name[1:]).decode(codec, "replace")
            return known.get(name, match[0])

        mark = re.escape(self.escape)
        return re.sub(f"{mark}([^{mark}]*){mark}", replacement, text)

    def escaped(self, text: str) -> str:
        """The text as it is written in a message with these delimiters."""
        names = {self.escape: "E", self.field: "F", self.component: "S", self.subcomponent: "T", self.repetition: "R"}
        written = "".join(f"{self.escape}{names[char]}{self.escape}" if char in names else char for char in text)
        return self.printable(written)

    def printable(self, text: str) -> str:
        """The text with control characters written as escape sequences: they would end a segment or a frame."""
        return _CONTROL.sub(lambda match: f"{self.escape}X{ord(match[0]):02X}{self.escape}", text)


STANDARD = Delimiters()
_DECODED = Accepts(form="characters of the set that MSH-18 names, or that the study declares for it; else ASCII")


def undecoded(place: str) -> Fault:
    """The fault of a field that is not in the character set of the message."""
    return Fault(place, FaultCode.UNKNOWN_ENCODING, None, _DECODED)


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; `number` is its place among the segments of this name in the message, from 1."""

    name: str
    number: int
    delimiters: Delimiters
    codec: str
    _fields: Sequence[str]
    """The fields as they were sent, by their numbers. Field 0 is the name; MSH-1 is the delimiter itself."""
    cut: bool = False
    """Whether a part of it after its code (OBX-3) is lost."""
    suspect: bool = False
    """Whether it may have bytes that are not in the character set of the message."""
    certain: int | None = None
    """The last field before which all delimiters are certain; `None` if all are. In some character sets the second
    byte of a character is the same as that of a delimiter.
    """

    def text(self, field: int, component: int = 1, subcomponent: int = 1) -> str:
        """The text of a part of a field in its first repetition; "" if it is absent or the HL7 null value."""
        return self.texts(field, component, subcomponent)[0]

    def texts(self, field: int, component: int = 1, subcomponent: int = 1) -> list[str]:
        """The text of this part in each repetition of the field.

        Raises `InvalidDocument` if a byte of it, or of a field before it, is not in the character set of the message,
        so that the text is not certain.
        """
        marks = self.delimiters
        texts = [
            self._read(_part(_part(repetition, marks.component, component), marks.subcomponent, subcomponent))
            for repetition in self.raw(field).split(marks.repetition)
        ]
        if not self.suspect or self.name == "MSH":
            return texts  # the header is compared with what is known, whatever its bytes
        at = field if self.certain is None else min(field, self.certain)
        if at < field or _UNDECODED.search("".join(texts)):
            raise InvalidDocument(faults=[undecoded(self.place(at))])
        return texts

    def is_null(self, field: int) -> bool:
        """Whether the field holds the HL7 null value `""`: the value that was sent before is to be deleted."""
        return self.raw(field).strip() == NULL

    def is_plain(self, field: int) -> bool:
        """Whether the field has one repetition, and that is a text without components."""
        raw, marks = self.raw(field), self.delimiters
        return not any(mark in raw for mark in (marks.repetition, marks.component, marks.subcomponent))

    def raw(self, field: int) -> str:
        """The field as it was sent."""
        return self._fields[field] if field < len(self._fields) else ""

    def is_undecoded(self, field: int) -> bool:
        """Whether the field has bytes that are not in the character set of the message."""
        return self.suspect and _UNDECODED.search(self.raw(field)) is not None

    def place(self, field: int | None = None) -> str:
        """The HL7 name of this segment or of a field of it, such as `OBX[2]-5`.

        The first segment of a name has a number only if it is an OBR, OBX or SPM.
        """
        number = f"[{self.number}]" if self.number > 1 or self.name in {"OBR", "OBX", "SPM"} else ""
        return f"{self.name}{number}" + (f"-{field}" if field is not None else "")

    def _read(self, part: str) -> str:
        text = part.strip()
        return "" if text == NULL else self.delimiters.unescape(text, self.codec)


def _part(whole: str, mark: str, number: int) -> str:
    """A part by its number, from 1; "" if there are not so many."""
    parts = whole.split(mark, number)
    return parts[number - 1] if number <= len(parts) else ""


def lines_of(body: bytes) -> list[bytes]:
    """The lines of a body with any line ends, without byte-order marks, frame characters and empty lines."""
    return [line for line in map(without_mark, body.translate(_LINE_ENDS).split(b"\r")) if line.strip()]


def delimiters_of(header: str) -> Delimiters:
    """The delimiters that a message header (its first line) declares.

    Raises `MalformedDocument` if there is no header or if it does not declare five different delimiters.
    """
    if not header.startswith("MSH"):
        raise _malformed("MSH", "A message begins with MSH.")
    match = _HEADER.match(header)
    marks = match[1] + match[2] if match else ""
    if len(set(marks)) != len(marks) or not marks:
        raise _malformed("MSH-2", "MSH-1 and MSH-2 must declare five different delimiters.")
    return Delimiters(*list(marks[:5]))


def segments_of(
    lines: Sequence[str], delimiters: Delimiters, codec: str, names: frozenset[str]
) -> tuple[list[Segment], Counter[str]]:
    """The segments with these names, and the number of segments of each other name.

    A line that is not a segment continues the segment before it, because a field contained a line feed; so does ADD.
    After a segment that is not read, the line is ignored. After one that is read, a part of that segment is lost. An
    OBX with a complete code is then `cut`, because its test may be one that is not stored. Raises `MalformedDocument`
    if a part of any other segment is lost, or if the message has more than `MOST_PARTS` delimiters.
    """
    numbers: Counter[str] = Counter()
    kept: list[str] = []
    cut: set[int] = set()
    name = ""
    for line in lines:
        match = _SEGMENT.match(line)
        if match is None or (line[3:] and line[3] != delimiters.field) or match[1] == "ADD":
            if name == "OBX" and kept[-1].count(delimiters.field) > 3:
                cut.add(len(kept) - 1)
            elif name in names:
                raise _malformed(f"{name}[{numbers[name]}]", NO_SEGMENT)
            continue
        name = match[1]
        numbers[name] += 1
        if name in names:
            kept.append(line)
    others = Counter({name: count for name, count in numbers.items() if name not in names})
    return _split(kept, cut, delimiters, codec), others


def _split(lines: Sequence[str], cut: Container[int], delimiters: Delimiters, codec: str) -> list[Segment]:
    if sum(line.count(mark) for line in lines for mark in delimiters) > MOST_PARTS:
        raise MalformedDocument(None, [Fault("MSH", FaultCode.TOO_MANY, None, Accepts(at_most_items=1))])
    numbers: Counter[str] = Counter()
    segments = []
    for i, line in enumerate(lines):
        name, *fields = line.split(delimiters.field)
        if name == "MSH":
            fields = [delimiters.field, *fields]
        numbers[name] += 1
        suspect = not line.isascii() or "\x1b" in line or f"{delimiters.escape}X" in line
        certain = _certain_fields(line, delimiters) if suspect else None
        segments.append(Segment(name, numbers[name], delimiters, codec, (name, *fields), i in cut, suspect, certain))
    return segments


@cache
def _uncertain(delimiters: Delimiters) -> re.Pattern[str]:
    """Finds a delimiter that may be the second byte of a character, and a switch to another character set."""
    return re.compile(f"\x1b|[\udc80-\udcff](?=[{re.escape(''.join(delimiters))}])")


def _certain_fields(line: str, delimiters: Delimiters) -> int | None:
    """The number of the first field with a delimiter that is not certain, or `None`. In UTF-8 all are certain."""
    found = _uncertain(delimiters).search(line)
    if found is None or is_utf8(line):
        return None
    return line.count(delimiters.field, 0, found.start())


def is_utf8(line: str) -> bool:
    """Whether the bytes of a line that was decoded as ASCII are UTF-8, without switches to another set."""
    try:
        line.encode("ascii", "surrogateescape").decode()
    except UnicodeError:
        return False
    return "\x1b" not in line


def _malformed(place: str, why: str) -> MalformedDocument:
    return MalformedDocument(None, [Fault(place, FaultCode.MALFORMED, why)])
