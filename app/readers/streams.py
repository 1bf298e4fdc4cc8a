"""The lines of a text that arrives in parts and may be of any length: no more than one line is held at a time."""

import re
from typing import NamedTuple


class Line(NamedTuple):
    """One line with its number in the text, from 1; the text of a line that is too long is not kept."""

    number: int
    text: bytes | None


class Lines:
    """Cuts parts of a text into its lines; blank lines are counted and left out. `longest` is in bytes."""

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
        """The last line, where no line break follows it."""
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
        return Line(number, text) if text.strip() else None


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|["\[\]{},]', re.DOTALL)
"""A string, which may hold any of the marks, or a mark; a quote by itself begins a string that has not ended yet."""
_DEEPER = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_BLANK = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Elements:
    """Cuts parts of a JSON text into the elements of its array, numbered from 1; any other text is one element.

    Whether an element is JSON is for its reader to say; it refuses what follows after the array, too, and the empty
    element at the end of an array that does not end. `longest` is in bytes: an element with more is without its text,
    and nothing is read after it.
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
        """What is left over."""
        if self._over:
            return []
        last = self._element(self._held)
        return [*last, Line(self._number, b"")] if self._inside else last

    def _begin(self) -> None:
        if self._begun:
            return
        self._held = self._held.removeprefix(_BYTE_ORDER_MARK).lstrip(_BLANK)
        if self._held and not _BYTE_ORDER_MARK.startswith(self._held):
            self._begun, self._inside = True, self._held[:1] == b"["
            self._held = self._held[1:] if self._inside else self._held

    def _cut(self) -> list[Line]:
        """The elements that end in what is held; after the array the rest is left as it is."""
        complete: list[Line] = []
        begin, at = 0, len(self._held)
        for token in _TOKEN.finditer(self._held, self._scanned):
            mark = token[0]
            if mark == b'"':
                at = token.start()  # to be looked at again when more of it is here
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
        """The element, unless there is nothing in its place."""
        text = text.strip(_BLANK)
        if not text:
            return []
        self._number += 1
        return [Line(self._number - 1, text if len(text) <= self._longest else None)]
