"""Files on the disk: what format one has, and its content in parts, so that one of any size can be read."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

from app.errors import Fault, FaultCode, MalformedDocument, TooLarge
from app.hl7v2.message import messages_of
from app.readers.streams import Line
from app.submission.streams import LineGroup

Format = Literal["timelines", "ndjson", "csv", "fhir", "hl7v2"]
FORMATS: tuple[Format, ...] = get_args(Format)

PART = 262_144
"""Bytes that are read at a time."""
LOOKED_AT = 65_536
"""Bytes at the beginning by which a format is recognised."""

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".hl7": "hl7v2",
    ".fhir.json": "fhir",
    ".fhir.ndjson": "fhir",
    ".fhir.jsonl": "fhir",
}
_LINES = (".ndjson", ".jsonl")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LATIN_MARK = _BYTE_ORDER_MARK.decode("latin-1")
_RESOURCE = re.compile(rb'"resourceType"\s*:')
_MESSAGE = re.compile(rb"(?<=[\r\n\x0b\x1c])MSH(?![A-Za-z0-9])")


def format_of(file: Path) -> Format | None:
    """The format of a file by its name and its first bytes; `None` where they do not say."""
    name = file.name.lower()
    for suffix, format in _SUFFIXES.items():
        if name.endswith(suffix):
            return format
    with file.open("rb") as opened:
        head = opened.read(LOOKED_AT).removeprefix(_BYTE_ORDER_MARK).strip()
    if head.lstrip(b"\x0b")[:3] in {b"MSH", b"FHS", b"BHS"}:
        return "hl7v2"
    if head[:1] == b"{" and _RESOURCE.search(head):
        return "fhir"
    if name.endswith(_LINES):
        return "ndjson"
    if head[:1] == b"{" and has_lines(file):
        return "ndjson"
    return "timelines" if head[:1] in {b"{", b"["} or name.endswith(".json") else None


def has_lines(file: Path, longest: int = 16_000_000) -> bool:
    """Whether each line of a file is a JSON document, as far as its name and its first line say."""
    if file.name.lower().endswith(_LINES):
        return True
    with file.open("rb") as opened:
        first = next(filter(bytes.strip, iter(lambda: opened.readline(longest), b"")), b"")
    try:
        return isinstance(json.loads(first.removeprefix(_BYTE_ORDER_MARK)), dict)
    except (ValueError, RecursionError):
        return False


class Cutter(Protocol):
    """What cuts a text that arrives in parts into what is stored by itself: lines, elements, messages."""

    def feed(self, part: bytes) -> list[Line]:
        """What this part completes."""

    def end(self) -> list[Line]:
        """What is left over."""


class Messages:
    """Cuts a text into HL7 v2 messages, numbered from 1; the lines around a batch are left out.

    A message with more than `longest` bytes is without its text.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._held = b""
        self._number = 0
        self._dropping = False

    def feed(self, part: bytes) -> list[Line]:
        """The messages that end in this part, which is where another begins."""
        self._held += part
        begins = [found.start() for found in _MESSAGE.finditer(self._held)]
        complete: list[Line] = []
        if begins:
            complete = self._cut(self._held[: begins[-1]])
            self._held = self._held[begins[-1] :]
        if len(self._held) > self._longest:
            self._dropping, self._held = True, self._held[-1:]
        return complete

    def end(self) -> list[Line]:
        """The last message."""
        return self._cut(self._held)

    def _cut(self, text: bytes) -> list[Line]:
        messages: list[bytes | None] = [
            message if len(message) <= self._longest else None for message in messages_of(text)
        ]
        if self._dropping:
            messages[:1] = [None]
            self._dropping = False
        first, self._number = self._number + 1, self._number + len(messages)
        return [Line(number, message) for number, message in enumerate(messages, first)]


def groups(file: Path, cutter: Cutter) -> Iterator[tuple[int, list[Line]]]:
    """The content of a file in groups for one transaction each, with the bytes that were read for each.

    The last group may be empty.
    """
    read, group = 0, LineGroup()
    with file.open("rb") as opened:
        more = True
        while more:
            part = opened.read(PART)
            read, more = read + len(part), bool(part)
            for line in cutter.feed(part) if more else cutter.end():
                if group.add(line):
                    yield read, group.take()
                    read = 0
    yield read, group.take()


class Record(NamedTuple):
    """A row of a table: the line of the file on which it begins, its cells, and the bytes that it was read from."""

    line: int
    cells: list[str]
    text: bytes


def records(file: Path, delimiter: str, longest: int) -> Iterator[Record]:
    """The rows of a table as they were written, those without content included; cells are not decoded yet.

    Raises `MalformedDocument` where a row cannot be told from the next, and `TooLarge` where it has more than
    `longest` bytes.
    """
    taken: list[str] = []
    begun = 1

    def lines() -> Iterator[str]:
        while line := text.readline(longest + 1):
            taken.append(line)
            if sum(map(len, taken)) > longest:
                raise TooLarge(f"The row that begins on line {begun} has more than {longest} bytes.")
            yield line.removeprefix(_LATIN_MARK) if begun == len(taken) == 1 else line

    with io.TextIOWrapper(file.open("rb"), encoding="latin-1", newline="") as text:
        reader = csv.reader(lines(), delimiter=delimiter, skipinitialspace=delimiter != "\t")
        try:
            for cells in reader:
                yield Record(begun, cells, "".join(taken).encode("latin-1"))
                taken.clear()
                begun = reader.line_num + 1
        except csv.Error:
            detail = f"The row that begins on line {begun} does not end as it should."
            raise MalformedDocument(detail, [Fault(f"/{begun}", FaultCode.MALFORMED)]) from None
