"""What one body may have, in whatever format: how much is counted on its bytes, before anything is made of them.

A parser makes up to thirty bytes of memory of each byte that it reads, and an error report even more. So commas,
brackets and line ends are counted first, which costs almost nothing, and the time of the processor is looked at while a
body is read.
"""

import time
from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import NamedTuple

from app.errors import TooLarge

MOST_VALUES = 750_000
"""Greatest number of values in one JSON document, where an object or an array counts as three: 50,000 results with ten
fields each, or 9,000 FHIR resources. An object with one member needs 340 bytes.
"""
MOST_MEMBERS = 1_000
"""Greatest number of members of one JSON object. No object that is read here has more than fifty."""
MOST_LINES = 200_000
"""Greatest number of lines in one body of HL7 v2."""
MOST_ROWS = 500_000
"""Greatest number of rows in one table; a client sends more in parts."""
MOST_FIELDS = 1_000
"""Greatest number of fields in one form; the parser of forms needs a microsecond for each `&`, also of empty ones."""

MOST_WIDENING = 5_000_000
"""By how many bytes the texts of one JSON document may grow when they are decoded. A text needs 1, 2 or 4 bytes for
each of its characters, as many as the widest of them: one emoji makes a text of Latin letters four times as large.
"""


class Limit(NamedTuple):
    """How many of these bytes a body may have, and what the refusal says."""

    marks: bytes
    most: int
    says: str

    def check(self, count: int) -> None:
        """Raise `TooLarge` if this is more than the limit."""
        if count > self.most:
            raise TooLarge(self.says)

    def count(self, part: bytes) -> int:
        """How many of these bytes there are."""
        return sum(times * part.count(mark) for mark, times in Counter(self.marks).items())


VALUES = Limit(b",{{{[[[", MOST_VALUES, f"A body may hold {MOST_VALUES} values; an object or array counts as three.")
"""Each value but the first follows one of these. Those in texts count, too."""
MOST_TEXTS = 400_000
"""Greatest number of texts in one JSON document, without the names of members. A text needs 60 bytes, or 80 with its
place in a list: more than twice of what a number needs.
"""
LINES = Limit(b"\r\n", MOST_LINES, f"A body may hold {MOST_LINES} lines.")
ROWS = Limit(b"\n", MOST_ROWS, f"A table may hold {MOST_ROWS} rows.")

FIELDS = Limit(b"&", MOST_FIELDS, f"A form may hold {MOST_FIELDS} fields.")

_PIECE = 100_000
"""Bytes that are looked at in one step: a copy of a long text needs memory."""
_CONTINUATION, _BEYOND_LATIN, _BEYOND_16_BITS = (bytes(range(*ends)) for ends in ((128, 192), (196, 256), (240, 256)))
"""Bytes of UTF-8 that begin no character, and those that begin one of two or four bytes."""


def check_width(body: bytes) -> None:
    """Raise `TooLarge` if the texts of a JSON document would grow too much."""
    if 3 * len(body) <= MOST_WIDENING or (body.isascii() and b"\\u" not in body):
        return
    if sum(_widening(*text) for text in _texts(body)) > MOST_WIDENING and _is_utf8(body):
        raise TooLarge(
            f"Texts may need {MOST_WIDENING} bytes more in memory than in the body; a character outside Latin-1 makes "
            "each character of its text two or four bytes long."
        )


def check_texts(body: bytes) -> None:
    """Raise `TooLarge` if a JSON document holds too many texts. Two quotes make one; a colon follows a name."""
    quotes = body.count(b'"')
    if quotes > 2 * MOST_TEXTS and quotes - 2 * sum(map(body.count, (b'":', b'" :'))) > 2 * MOST_TEXTS:
        raise TooLarge(f"A body may hold {MOST_TEXTS} texts.")


def _texts(body: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The document, with blanks for escaped quotes and backslashes, and where each of its texts begins and ends."""
    plain = body.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    begin = plain.find(b'"') + 1
    while begin:
        end = plain.find(b'"', begin)
        yield plain, begin, end if end >= 0 else len(plain)
        begin = plain.find(b'"', end + 1) + 1 if end >= 0 else 0


def _widening(plain: bytes, begin: int, end: int) -> int:
    """By how many bytes a text grows when it is decoded."""
    escapes = plain.count(b"\\u", begin, end)
    characters, width = -5 * escapes, 2 if escapes else 1
    for at in range(begin, end, _PIECE):
        piece = plain[at : min(at + _PIECE, end)]
        if piece.isascii():
            characters += len(piece)
            continue
        characters += len(piece.translate(None, _CONTINUATION))
        if len(piece.translate(None, _BEYOND_16_BITS)) < len(piece):
            width = 4
        elif width == 1 and len(piece.translate(None, _BEYOND_LATIN)) < len(piece):
            width = 2
    if width == 2 and plain.find(b"\\ud", begin, end) + plain.find(b"\\uD", begin, end) > -2:
        width = 4
    return max(width * characters - (end - begin), 0)


def _is_utf8(body: bytes) -> bool:
    """Whether the body is UTF-8: its parser refuses any other, and says why."""
    decoder = getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(body), _PIECE):
            decoder.decode(body[at : at + _PIECE])
    except UnicodeDecodeError:
        return False
    return True


@dataclass(slots=True)
class ReadingTime:
    """The processor time in which a body must be read, from the first check in its thread."""

    seconds: float
    _until: float | None = None

    def check(self) -> None:
        """Raise `TooLarge` if it is over."""
        if self._until is None:
            self._until = time.thread_time() + self.seconds
        elif time.thread_time() > self._until:
            raise TooLarge(f"The body needs more than {self.seconds:g} seconds of processor time; send it in parts.")

    def restart(self) -> None:
        """Begin anew, for the next part of a stream."""
        self._until = None


reading_time: ContextVar[ReadingTime | None] = ContextVar("reading_time", default=None)
"""The time of the request that is served; without it, as for files, there is no limit."""


def check_time() -> None:
    """Raise `TooLarge` if the time of the request is over."""
    allowed = reading_time.get()
    if allowed is not None:
        allowed.check()


def restart_time() -> None:
    """Begin the time of the request anew."""
    allowed = reading_time.get()
    if allowed is not None:
        allowed.restart()
