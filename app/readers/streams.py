"""Cuts a text that arrives in parts into lines or JSON elements. At most one of them is in memory at a time."""

import re
from collections.abc import Iterator
from typing import NamedTuple

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def without_mark(text: bytes) -> bytes:
    """A text in UTF-8 without its byte order mark, which some programs write at the beginning of every text."""
    return text.removeprefix(BYTE_ORDER_MARK)


class Line(NamedTuple):
    """One line or element with its number from 1; `text` is `None` if it is too long."""

    number: int
    text: bytes | None


class Lines:
    """Cuts parts of a text into lines. Blank lines are counted and left out. `longest` is in bytes.

    A byte order mark is no part of a line: files that were joined may have several.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._number = 1
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, part: bytes) -> list[Line]:
        """The lines that this part completes."""
        first, *more = part.split(b"\n")
        self._add(first)
        if not more:
            return []
        complete = [self._cut(), *(self._whole(text) for text in more[:-1])]
        self._add(more[-1])
        return [line for line in complete if line is not None]

    def end(self) -> list[Line]:
        """The last line, if no line break follows it."""
        last = self._cut()
        return [last] if last is not None else []

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._longest:
            self._begun.clear()
        elif part:
            self._begun.append(part)

    def _cut(self) -> Line | None:
        """End the line that has begun."""
        too_long, text = self._size > self._longest, b"".join(self._begun)
        self._begun, self._size = [], 0
        if not too_long:
            return self._whole(text)
        self._number += 1
        return Line(self._number - 1, None)

    def _whole(self, text: bytes) -> Line | None:
        number = self._number
        self._number += 1
        if len(text) > self._longest:
            return Line(number, None)
        text = without_mark(text)
        return Line(number, text) if text.strip() else None


_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
"""A string (which may contain marks), or a mark. A single quote mark begins a string that has not ended yet."""
_DEEPER = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_BLANK = b" \t\r\n"


def elements_of(array: bytes) -> Iterator[bytes]:
    """The elements of a JSON array, each as it was written. The text is known to be JSON."""
    begin = depth = 0
    for token in _TOKEN.finditer(array):
        mark = array[token.start() : token.start() + 1]
        depth += _DEEPER.get(mark, 0)
        if depth == 0 or (depth == 1 and mark == b","):
            if element := array[begin : token.start()].strip(_BLANK):
                yield element
            begin = token.end()
        elif depth == 1 and begin == 0:
            begin = token.end()


class Elements:
    """Cuts parts of a JSON text into the elements of its array, numbered from 1. Any other text is one element.

    The reader of an element checks whether it is JSON. Text after the array is given to it as an element too, and an
    array that does not end gives an empty last element; the reader refuses both. `longest` is in bytes. A longer
    element has no text, and nothing after it is read.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._held = b""
        self._scanned = self._depth = 0
        self._number = 1
        self._begun = self._inside = self._over = False

    def feed(self, part: bytes) -> list[Line]:
        """The elements that this part completes."""
        if self._over:
            return []
        self._held += part
        self._begin()
        complete = self._cut() if self._inside else []
        if len(self._held) > self._longest:
            self._held, self._over = b"", True
            complete.append(Line(self._number, None))
        return complete

    def end(self) -> list[Line]:
        """The elements of the rest."""
        if self._over:
            return []
        last = self._element(self._held)
        return [*last, Line(self._number, b"")] if self._inside else last

    def _begin(self) -> None:
        if self._begun:
            return
        self._held = without_mark(self._held).lstrip(_BLANK)
        if self._held and not BYTE_ORDER_MARK.startswith(self._held):
            self._begun, self._inside = True, self._held[:1] == b"["
            self._held = self._held[1:] if self._inside else self._held

    def _cut(self) -> list[Line]:
        """The elements that end in the text so far. Text after the array is not changed."""
        complete: list[Line] = []
        begin, at = 0, len(self._held)
        for token in _TOKEN.finditer(self._held, self._scanned):
            mark = token[0]
            if mark == b'"':
                at = token.start()  # looked at again with the next part
                break
            if self._depth == 0 and mark in b",]":
                complete += self._element(self._held[begin : token.start()])
                begin = token.end()
                if mark == b"]":
                    self._inside = False
                    break
            else:
                self._depth = max(self._depth + _DEEPER.get(mark, 0), 0)
        self._held, self._scanned = self._held[begin:], max(at - begin, 0)
        return complete

    def _element(self, text: bytes) -> list[Line]:
        """The element; nothing if its text is empty."""
        text = text.strip(_BLANK)
        if not text:
            return []
        self._number += 1
        return [Line(self._number - 1, text if len(text) <= self._longest else None)]
