"""Where the rows of a table come from: how it is written (`Dialect`), and its rows one by one (`RowSource`).

A reader of a table goes through the rows once, and then reads those of each patient again. So not all cells are in
memory at a time, and a table of any origin needs only its rows as texts: `TableBody` has the bytes of a CSV,
`GatheredRows` what another reader gives, such as the rows of a worksheet.
"""

import csv
import io
import itertools
import re
from _csv import Reader
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from app.errors import Accepts, Fault, FaultCode, MalformedDocument, TooLarge, UnsupportedMediaType
from app.readers.budget import ROWS
from app.readers.charsets import Charset
from app.readers.streams import BYTE_ORDER_MARK
from app.readers.table_dates import ISO, DateForm

LONGEST_ROW = 500_000
"""Greatest size of one row in bytes, with the line breaks in its cells."""
MOST_COLUMNS = 5_000
"""Greatest number of columns of a table; no row may have more cells."""

Delimiter = Literal[",", ";", "\t"]
DecimalMark = Literal[".", ","]

DELIMITERS: dict[Delimiter, str] = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LINE = re.compile(rb"[^\r\n]*+(?:\r\n|\r|\n)?")
_BETWEEN = "\0"
"""Stands between the cells of a gathered row; no cell may contain it."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written: its delimiter, decimal mark, words for a missing value, dates, character set, time zone.

    An empty cell is always missing. The words are compared with whole cells, without spaces around them. Times without
    an offset are in `zone`; without one, they are in the time zone of the study.
    """

    delimiter: Delimiter = ","
    decimal: DecimalMark = "."
    missing: frozenset[str] = frozenset()
    dates: DateForm = ISO
    charset: Charset = "UTF-8"
    zone: ZoneInfo | None = None


class Row(NamedTuple):
    """A row: its number, its cells, where it begins and ends in its source, and the number of its sheet from 0.

    The number is the line of the text on which the row begins, or the number of the row in a sheet; both from 1.
    """

    line: int
    cells: Sequence[str]
    begin: int = 0
    end: int = 0
    sheet: int = 0


class RowSource(Protocol):
    """The rows of a table, each of which can be read again."""

    def rows(self) -> Iterator[Row]:
        """The rows that are not empty, the header first. Raises `ServiceError` where they cannot be read."""

    def row(self, line: int, begin: int, end: int) -> Row:
        """A row that was read before."""


class TableBody:
    """The bytes of a table as CSV. Raises `MalformedDocument` and `UnsupportedMediaType`, also while it is read."""

    def __init__(self, content: bytes, dialect: Dialect) -> None:
        self.content, self._dialect = content, dialect
        self.begun = 1
        """The line on which the row begins that is read now."""
        self._at = self._begun = len(BYTE_ORDER_MARK) if content.startswith(BYTE_ORDER_MARK) else 0

    def rows(self) -> Iterator[Row]:
        """The rows that are not empty, read line by line."""
        if self.content.startswith(_UTF16):
            raise self._not_readable()
        if b"\0" in self.content:
            line = self.content.count(b"\n", 0, self.content.index(b"\0")) + 1
            raise MalformedDocument(f"There is a NUL on line {line}.", [Fault(f"/{line}", FaultCode.MALFORMED)])
        reader = self._reader(self._lines())
        try:
            for cells in reader:
                if any(map(str.strip, cells)):
                    yield Row(self.begun, cells, self._begun, self._at)
                self.begun, self._begun = reader.line_num + 1, self._at
        except UnicodeDecodeError:
            raise self._not_readable() from None
        except csv.Error:
            line = self.begun
            detail = f"A quoted cell of the row that begins on line {line} does not end correctly."
            raise MalformedDocument(detail, [Fault(f"/{line}", FaultCode.MALFORMED)]) from None

    def row(self, line: int, begin: int, end: int) -> Row:
        """A row that was read before."""
        text = io.StringIO(self.content[begin:end].decode(self._dialect.charset), newline="")
        return Row(line, next(self._reader(text)), begin, end)

    def _reader(self, lines: Iterable[str]) -> Reader:
        delimiter = self._dialect.delimiter
        return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t")

    def _lines(self) -> Iterator[str]:
        charset = self._dialect.charset
        for number in itertools.count(1):
            if self._at == len(self.content):
                return
            ROWS.check(number // 2)  # some lines are empty or continue a row
            match = _LINE.match(self.content, self._at)
            self._at = match.end() if match else len(self.content)
            if self._at - self._begun > LONGEST_ROW:
                raise TooLarge(f"A row may have {LONGEST_ROW} bytes.")
            yield match[0].decode(charset) if match else ""

    def _not_readable(self) -> UnsupportedMediaType:
        charset = self._dialect.charset
        how = f"as {charset}, with or without a byte order mark" if charset == "UTF-8" else f"as {charset}"
        accepts = Accepts(one_of=(charset,))
        return UnsupportedMediaType(
            f"A table is read {how}.", [Fault("", FaultCode.UNKNOWN_ENCODING, None, accepts)]
        )  # fmt: skip


class GatheredRows:
    """The rows that another reader gives, each as its number and its cells; the first one is the header.

    They are kept as bytes, because the reader may be unable to read a row again.
    """

    def __init__(self, rows: Iterable[tuple[int, Sequence[str]]]) -> None:
        self._given = rows
        self._kept = bytearray()

    def rows(self) -> Iterator[Row]:
        """The rows that are not empty, taken from the reader one by one."""
        for number, cells in self._given:
            if not any(map(str.strip, cells)):
                continue
            text = _BETWEEN.join(cells).encode("utf-8", "surrogatepass")
            if len(text) > LONGEST_ROW:
                raise TooLarge(f"A row may have {LONGEST_ROW} bytes.")
            if text.count(b"\0") != len(cells) - 1:
                raise MalformedDocument(f"There is a NUL in row {number}.", [Fault(f"/{number}", FaultCode.MALFORMED)])
            begin = len(self._kept)
            self._kept += text
            yield Row(number, cells, begin, len(self._kept))

    def row(self, line: int, begin: int, end: int) -> Row:
        """A row that was taken before."""
        return Row(line, self._kept[begin:end].decode("utf-8", "surrogatepass").split(_BETWEEN), begin, end)
