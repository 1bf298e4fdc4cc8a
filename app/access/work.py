"""A piece of computing, and where it is done. It loads nothing that computes: the service only sends it to workers."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from app.store.engine import Database

if TYPE_CHECKING:
    from app.access.kept_cohorts import KeptCohorts


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a process that computes has at hand: the database, and the cohorts of earlier questions."""

    database: Database
    cohorts: "KeptCohorts"


Work = Callable[[Workplace], bytes | Iterator[bytes]]
"""A piece of computing: a function of a module and its arguments (`functools.partial`). It gives the whole answer, or
one part after the other.
"""


def parts_of(work: Work, place: Workplace) -> Iterator[bytes]:
    """What the work gives, in parts."""
    made = work(place)
    if isinstance(made, bytes):
        yield made
    else:
        yield from made


class AnswerOrigin(NamedTuple):
    """From which state of a study an answer is made, as its ETag has it (`StudyAt.tag`)."""

    study: str
    revision: int
    received_at: int
    protocol: str

    @classmethod
    def of(cls, part: bytes) -> Self:
        """The origin that a worker has sent as a part."""
        return cls(*json.loads(part))

    def part(self) -> bytes:
        """The origin, to be sent as a part."""
        return json.dumps(self).encode()

    def is_before(self, other: Self) -> bool:
        """Whether this state lacks something that the other has."""
        return self.revision < other.revision or self.received_at < other.received_at
