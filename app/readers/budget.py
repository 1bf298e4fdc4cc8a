"""What one body may have, in whatever format: how much is counted on its bytes, before anything is made of them.

A parser makes up to thirty bytes of memory of each byte that it reads, and an error report even more. So commas,
brackets and line ends are counted first, which costs almost nothing, and the time of the processor is looked at while a
body is read.
"""

import time
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
        return sum(map(part.count, _each(self.marks)))


def _each(marks: bytes) -> list[bytes]:
    return [marks[at : at + 1] for at in range(len(marks))]


VALUES = Limit(b",{{{[[[", MOST_VALUES, f"A body may hold {MOST_VALUES} values; an object or array counts as three.")
"""Each value but the first follows one of these. Those in texts count, too."""
LINES = Limit(b"\r\n", MOST_LINES, f"A body may hold {MOST_LINES} lines.")
ROWS = Limit(b"\n", MOST_ROWS, f"A table may hold {MOST_ROWS} rows.")


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
