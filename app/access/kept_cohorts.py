"""The cohorts that were asked about lately, so that the next question about the same revision need not read the rows.

A revision never changes, unless a person is erased from it. So a cohort is kept together with the number of erasures of
its study, and counts only while that number is the same.
"""

import threading
from dataclasses import dataclass, fields

import numpy as np
from cachetools import LRUCache

from app.derive.later_revision import BYTES_DERIVED, keep_for_later, room_for_estimates
from app.store.engine import Database
from app.store.known_cohorts import KnownCohort
from app.store.snapshot import StudyAt, erasures_of
from app.timeline.cohort import TABLES, Cohort

_Key = tuple[str, int, int]
"""A study, its revision, and the instant of this revision: a number may mean another revision after a restore."""
BYTES_OF_A_WORD = 64
BYTES_OF_A_PATIENT = 700
WORDS_LOOKED_AT = 1 << 16
"""The words of a longer column are estimated from about so many of its rows."""


@dataclass(frozen=True, slots=True)
class KeptCohort:
    """A cohort, its size in bytes, and how many persons had been erased from its study when it was read."""

    known: KnownCohort
    size: int
    erasures: int


class KeptCohorts:
    """Cohorts of at most `most_bytes` together; the one that was not asked about for the longest time goes first."""

    def __init__(self, most_bytes: int) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[_Key, KeptCohort] = LRUCache(most_bytes, getsizeof=lambda kept: kept.size)
        self._drops = 0
        self._read: dict[str, KnownCohort] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """The bytes of all kept cohorts."""
        return int(self._kept.currsize)

    def cohort_of(self, study: StudyAt) -> Cohort:
        """The cohort of a study at its revision: the kept one, or one that is read now, inside the block of `study`.

        Of a study with a kept cohort of another revision, only patients who changed are read.
        """
        key, erasures = (study.id, study.revision, study.received_at), study.erasures()
        with self._lock:
            kept, drops = self._kept.get(key), self._drops
            others = {key[1]: each.known for key, each in self._kept.items() if key[0] == study.id}
        if kept is not None and kept.erasures == erasures:
            return kept.known.cohort
        nearest = sorted(others, key=lambda revision: abs(revision - study.revision))
        known = study.known_cohort(others[revision] for revision in nearest[:1])
        for revision in nearest[:1]:
            keep_for_later(others[revision].cohort, known.cohort)
        read = KeptCohort(known, size_of(known.cohort), erasures)
        with self._lock:
            if drops == self._drops:
                self._read[study.id] = known
                if read.size <= self._kept.maxsize:
                    self._kept[key] = read
        return known.cohort

    def write_segments(self, database: Database) -> None:
        """Write segments of the cohorts that were read since the last call. Call this when nobody waits."""
        with self._lock:
            read, self._read = self._read, {}
        if database.segments is not None:
            for known in read.values():
                database.segments.keep(database, known)

    def drop(self, study: str) -> None:
        """Drop the cohorts of a study, also one that is being read."""
        with self._lock:
            self._drops += 1
            self._read.pop(study, None)
            for key in [key for key in self._kept if key[0] == study]:
                del self._kept[key]

    def hold_erased(self, database: Database) -> bool:
        """Whether a person was erased from the study of a kept cohort since it was read."""
        with self._lock:
            kept = {key[0]: each.erasures for key, each in self._kept.items()}
        return bool(kept) and any(erasures_of(database, study) != count for study, count in kept.items())


def size_of(cohort: Cohort) -> int:
    """The size of a cohort in memory in bytes, with an average for texts and for the attributes of a patient, and with
    the most that is kept of what is derived and estimated.
    """
    tables = [getattr(cohort, name) for name in TABLES]
    columns: list[np.ndarray] = [getattr(table, part.name) for table in tables for part in fields(table)]
    steps = [(column, 1 + len(column) // WORDS_LOOKED_AT) for column in columns if column.dtype == object]
    words = sum(step * len({*column[::step].tolist()}) for column, step in steps)
    return (
        sum(column.nbytes for column in columns)
        + BYTES_OF_A_WORD * words
        + (BYTES_OF_A_PATIENT + BYTES_DERIVED) * len(cohort)
        + room_for_estimates(len(cohort))
    )
