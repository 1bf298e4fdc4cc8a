"""The budget of one request: how many bytes its body may have, and how much it may say in them.

It is charged at the door for every part of the body that arrives, whatever the format, so that a body that is refused
was never in memory as a whole.
"""

from dataclasses import dataclass, field

from app.access.admission import Admitted
from app.errors import TooLarge
from app.readers.budget import FIELDS, LINES, ROWS, VALUES, Limit

_LIMITS = {"json": VALUES, "csv": ROWS, "er7": LINES, "hl7-v2": LINES, "x-www-form-urlencoded": FIELDS}
"""By the end of the media type."""


@dataclass(slots=True)
class Budget:
    """What the body of a request may still use, and whether a minimum speed is required (`paced`).

    A handler that stores a body while it arrives calls `allow_stream` before it reads.
    """

    most_bytes: int
    place: Admitted
    media_type: str = ""
    paced: bool = True
    size: int = field(default=0, init=False)
    _limit: Limit | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        kind = self.media_type.partition(";")[0].strip().lower()
        self._limit = next((limit for end, limit in _LIMITS.items() if kind.endswith(end)), None)

    def allow_stream(self, most_bytes: int) -> None:
        """Allow so many bytes at any speed; each of its lines has a budget of its own."""
        self.place.stream()
        self.most_bytes, self.paced, self._limit = most_bytes, False, None

    def charge(self, part: bytes, *, complete: bool) -> None:
        """Count a part of the body. Raises `TooLarge` or `Busy`, which end the connection."""
        self.size += len(part)
        if self.size > self.most_bytes:
            raise too_large(self.most_bytes)
        if self._limit is not None:
            self._count += self._limit.count(part)
            try:
                self._limit.check(self._count)
            except TooLarge as refusal:
                refusal.headers["Connection"] = "close"
                raise
        self.place.arrive(len(part), complete=complete)


def too_large(most: int) -> TooLarge:
    """The refusal of a body with more bytes."""
    return TooLarge(f"The body may have at most {most} bytes.", headers={"Connection": "close"})
