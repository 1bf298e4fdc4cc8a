"""Files on the disk, whose content is read in parts, so that it may have any size."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from app.errors import Fault, FaultCode, MalformedDocument, TooLarge
from app.hl7v2.message import messages_of
from app.readers.streams import BYTE_ORDER_MARK, Line
from app.submission.streams import LineGroup

PART = 262_144
"""How many bytes are read at a time."""
_LATIN_MARK = BYTE_ORDER_MARK.decode("latin-1")
_MESSAGE = re.compile(rb"(?<=[\r\n\x0b\x1c])MSH(?![A-Za-z0-9])")


class Cutter(Protocol):
    """Cuts a text that arrives in parts into the pieces that are stored one by one: lines, elements or messages."""

    def feed(self, part: bytes) -> list[Line]:
        """The pieces that are complete with this part."""

    def end(self) -> list[Line]:
        """The last piece, after all parts."""


class Messages:
    """Cuts a text into HL7 v2 messages, numbered from 1. The lines before and after a batch are left out.

    A message of more than `longest` bytes is given without its text (`None`).
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._held = b""
        self._number = 0
        self._dropping = False

    def feed(self, part: bytes) -> list[Line]:
        """The messages that are complete: another message begins after each of them."""
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
    """The content of a file in groups, one for each transaction, with the number of bytes that were read for it.

    The last group may be empty.
    """
    read, group = 0, LineGroup()
    with file.open("rb") as opened:
        more = True
        while more:
            part = opened.read1(PART)  # of a pipe, what has come until now
            read, more = read + len(part), bool(part)
            for line in cutter.feed(part) if more else cutter.end():
                if group.add(line):
                    yield read, group.take()
                    read = 0
    yield read, group.take()


class Record(NamedTuple):
    """A row of a table: the line of the file where it begins, its cells, and its bytes."""

    line: int
    cells: list[str]
    text: bytes


def records(file: Path, delimiter: str, longest: int) -> Iterator[Record]:
    """The rows of a table as they were written, including empty rows. The cells are not decoded yet.

    Raises `MalformedDocument` where it is not clear where a row ends, and `TooLarge` for a row of more than `longest`
    bytes.
    """
    row_lines: list[str] = []
    first_line = 1

    def lines() -> Iterator[str]:
        while line := text.readline(longest + 1):
            row_lines.append(line)
            if sum(map(len, row_lines)) > longest:
                raise TooLarge(f"The row that begins on line {first_line} has more than {longest} bytes.")
            yield line.removeprefix(_LATIN_MARK) if first_line == len(row_lines) == 1 else line

    with io.TextIOWrapper(file.open("rb"), encoding="latin-1", newline="") as text:
        reader = csv.reader(lines(), delimiter=delimiter, skipinitialspace=delimiter != "\t")
        try:
            for cells in reader:
                yield Record(first_line, cells, "".join(row_lines).encode("latin-1"))
                row_lines.clear()
                first_line = reader.line_num + 1
        except csv.Error:
            detail = f"The row that begins on line {first_line} has no proper end."
            raise MalformedDocument(detail, [Fault(f"/{first_line}", FaultCode.MALFORMED)]) from None
