"""The grammar of ER7, the text form of HL7 v2: lines, delimiters, segments, fields and escapes.

This is the one module that knows the `hl7` library, which splits. What it gets wrong is kept from it or done here: it
takes a message with line feeds for one segment and loses the patient in it, takes a header that ends early for a
whole one, gives escapes as they stand, and recurses without end where two delimiters are the same character.
"""

import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import hl7  # type: ignore[import-untyped]

from app.errors import Fault, FaultCode, MalformedDocument

MOST_PARTS = 200_000
"""Delimiters in what is read of one message, room for 10,000 results; each part costs 400 bytes while it is read."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_ENDS = bytes.maketrans(b"\n\x0b\x1c", b"\r\r\r")
"""Line feeds, and the two characters by which MLLP frames messages: none of them may stand inside a message."""
_SEGMENT = re.compile(r"([A-Z][A-Z0-9]{2})(?![A-Za-z0-9])")
_HEADER = re.compile(r"MSH([!-/:-@\[-`{-~])((?:(?!\1)[!-/:-@\[-`{-~]){4,5})(?=\1|\Z)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FORMATTING = {"H": "", "N": "", ".br": "\n", ".sp": "\n"}
"""Escape sequences about the look of a text."""
NULL = '""'
NO_SEGMENT = "The line behind this segment is none, or goes on with it: part of it is lost."


class Delimiters(NamedTuple):
    """The characters that a message names in MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    def unescape(self, text: str, codec: str = "ascii") -> str:
        r"""The text with its escape sequences replaced, `\X0D\` by the character that its bytes are in `codec`.

        A sequence that is not known stays as it is.
        """
        if self.escape not in text:
            return text
        literal = {"F": self.field, "S": self.component, "T": self.subcomponent, "R": self.repetition, "E": self.escape}
        known = literal | _FORMATTING

        def meant(found: re.Match[str]) -> str:
            name = found[1]
            if re.fullmatch(r"X(?:[0-9A-Fa-f]{2})+", name):
                return bytes.fromhex(name[1:]).decode(codec, "replace")
            return known.get(name, found[0])

        mark = re.escape(self.escape)
        return re.sub(f"{mark}([^{mark}]*){mark}", meant, text)

    def escaped(self, text: str) -> str:
        """The text as it stands in a message with these delimiters."""
        names = {self.escape: "E", self.field: "F", self.component: "S", self.subcomponent: "T", self.repetition: "R"}
        written = "".join(f"{self.escape}{names[each]}{self.escape}" if each in names else each for each in text)
        return self.printable(written)

    def printable(self, text: str) -> str:
        """The text with control characters, which would end a segment or a frame, as escape sequences."""
        return _CONTROL.sub(lambda found: f"{self.escape}X{ord(found[0]):02X}{self.escape}", text)


STANDARD = Delimiters()


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; `number` is its place among those of its name in the message, from 1."""

    name: str
    number: int
    delimiters: Delimiters
    codec: str
    _fields: Any
    """What the library made of it: lists in lists, as deep as there are delimiters in a part."""
    cut: bool = False
    """Whether something of it behind its code (OBX-3) is lost."""

    def text(self, field: int, component: int = 1, subcomponent: int = 1) -> str:
        """The text of a part of a field, of its first repetition; "" where it is absent or the HL7 null value."""
        return self.texts(field, component, subcomponent)[0]

    def texts(self, field: int, component: int = 1, subcomponent: int = 1) -> list[str]:
        """The text of this part in each repetition of the field."""
        found = _part(self._fields, field + 1)
        return [
            self._read(_part(_part(repetition, component), subcomponent))
            for repetition in ([found] if isinstance(found, str) else found)
        ]

    def is_null(self, field: int) -> bool:
        """Whether the field holds the HL7 null value `""`, which says that what was known is to be deleted."""
        return self.raw(field).strip() == NULL

    def is_plain(self, field: int) -> bool:
        """Whether the field, once, holds one text without components."""
        raw, marks = self.raw(field), self.delimiters
        return not any(mark in raw for mark in (marks.repetition, marks.component, marks.subcomponent))

    def raw(self, field: int) -> str:
        """The field as it was sent."""
        return str(_part(self._fields, field + 1))

    def place(self, field: int | None = None) -> str:
        """What users of HL7 call this segment or a field of it; the first of those that occur once has no number."""
        number = f"[{self.number}]" if self.number > 1 or self.name in {"OBR", "OBX", "SPM"} else ""
        return f"{self.name}{number}" + (f"-{field}" if field is not None else "")

    def _read(self, leaf: Any) -> str:  # noqa: ANN401
        text = str(leaf).strip()
        return "" if text == NULL else self.delimiters.unescape(text, self.codec)


def _part(whole: Any, index: int) -> Any:  # noqa: ANN401
    """A part by its number from 1; what has no parts is its own first one."""
    if isinstance(whole, str):
        return whole if index == 1 else ""
    return whole[index - 1] if index <= len(whole) else ""


def lines_of(body: bytes) -> list[bytes]:
    """The lines of a body whatever ends them, without byte-order marks, frames and empty ones."""
    lines = body.replace(b"\r\n", b"\r").translate(_LINE_ENDS).split(b"\r")
    return [line for line in (each.removeprefix(_BYTE_ORDER_MARK) for each in lines) if line.strip()]


def delimiters_of(header: str) -> Delimiters:
    """The delimiters that a message header (its first line) declares.

    Raises `MalformedDocument` where there is no header, or where its delimiters cannot tell parts apart.
    """
    if not header.startswith("MSH"):
        raise _malformed("MSH", "A message begins with MSH.")
    found = _HEADER.match(header)
    marks = found[1] + found[2] if found else ""
    if len(set(marks)) != len(marks) or not marks:
        raise _malformed("MSH-2", "MSH-1 and MSH-2 name the five delimiters, each of them another character.")
    return Delimiters(*list(marks[:5]))


def segments_of(
    lines: Sequence[str], delimiters: Delimiters, codec: str, wanted: frozenset[str]
) -> tuple[list[Segment], Counter[str]]:
    """The segments of the wanted names, and how many there are of each other name.

    A line that is no segment goes on with what a line feed inside of a field broke off, and so does ADD. Behind a
    segment that is not wanted it is passed over; behind one that is wanted, part of that is lost. An OBX is then `cut`,
    if its code is whole: nobody may ask for that test. Raises `MalformedDocument` for any other, and where there are
    more parts than anybody reads.
    """
    numbers: Counter[str] = Counter()
    kept: list[str] = []
    cut: set[int] = set()
    name = ""
    for line in lines:
        found = _SEGMENT.match(line)
        if found is None or (line[3:] and line[3] != delimiters.field) or found[1] == "ADD":
            if name == "OBX" and kept[-1].count(delimiters.field) > 3:
                cut.add(len(kept) - 1)
            elif name in wanted:
                raise _malformed(f"{name}[{numbers[name]}]", NO_SEGMENT)
            continue
        name = found[1]
        numbers[name] += 1
        if name in wanted:
            kept.append(line)
    others = Counter({name: count for name, count in numbers.items() if name not in wanted})
    return _split(kept, cut, delimiters, codec), others


def _split(lines: Sequence[str], cut: Container[int], delimiters: Delimiters, codec: str) -> list[Segment]:
    if sum(line.count(mark) for line in lines for mark in delimiters) > MOST_PARTS:
        raise MalformedDocument(None, [Fault("MSH", FaultCode.TOO_MANY)])
    # Without a delimiter behind MSH-2 the library takes the header for something else.
    head = lines[0] if delimiters.field in lines[0][4:] else lines[0] + delimiters.field
    try:
        split = list(zip(lines, hl7.parse("\r".join([head, *lines[1:]])), strict=True))
    except Exception:  # its checks are assertions and look-ups; whatever it stumbles over is no message to us
        raise _malformed("MSH", "The message does not follow the grammar of ER7.") from None
    numbers: Counter[str] = Counter()
    segments = []
    for i, (line, fields) in enumerate(split):
        numbers[line[:3]] += 1
        segments.append(Segment(line[:3], numbers[line[:3]], delimiters, codec, fields, i in cut))
    return segments


def _malformed(place: str, why: str) -> MalformedDocument:
    return MalformedDocument(None, [Fault(place, FaultCode.MALFORMED, why)])
