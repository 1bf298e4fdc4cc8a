"""The lines of a text that arrives in parts and may be of any length: no more than one line is held at a time."""

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
