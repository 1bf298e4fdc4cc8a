"""What the import of a file needs to know, and what it reports of each part of the file."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from app.errors import Busy, ServiceError
from app.readers.statements import Feed
from app.readers.tables import Dialect
from app.store.engine import Database
from app.submission.feeds import read_feed
from app.timeline.times import microseconds


@dataclass(frozen=True, slots=True)
class Into:
    """Where files go: a study, with what is needed to read for it. `longest` is the largest piece that is read."""

    database: Database
    study: str
    secret: str | None
    longest: int
    dialect: Dialect = field(default_factory=Dialect)


class Refusal(NamedTuple):
    """What was not stored: where in the file it is, as it was written (`None` where it was not kept), and why."""

    place: str
    text: bytes | None
    error: ServiceError


@dataclass(slots=True)
class Step:
    """What happened to one part of a file: the bytes that it was read from, what was stored, left alone and refused.

    `counts` are of what is stored by itself: a timeline, a resource, a message, the rows of a patient. `head` is what
    must stand before what was refused to make a file of it, the header of a table.
    """

    read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)
    head: bytes = b""

    def refuse(self, place: str, text: bytes | None, error: ServiceError) -> None:
        """Count what was not stored; what was not tried because the database was busy is counted as skipped."""
        self.counts["skipped" if isinstance(error, Busy) else "rejected"] += 1
        self.refused.append(Refusal(place, text, error))


def now() -> int:
    """The time at which something is received, in microseconds since 1970."""
    return microseconds(datetime.now(UTC))


def feed_for(into: Into) -> Feed:
    """What the study declares of its feeds, for what is received now."""
    return read_feed(into.database, into.study, into.secret, now())
