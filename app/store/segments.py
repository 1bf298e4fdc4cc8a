"""Segments: the columns of a study as files beside the database, so that a question need not read the rows.

A segment is a list (`list.json`) and the files that it names, each a batch of patients (`timeline.cohort_batches`).
The ledger stays the only truth: a segment is written after a commit, it counts only for the revision, with its hash,
from which it was made, and patients who changed since are read from their rows (`known_cohorts`). Whatever is wrong
with a segment is logged with its cause; then the rows are read, and the segment is made again.

A file is named by a keyed hash of its content and is never changed. The list has such a hash as well and is replaced
in one step, so that who reads an older segment reads it to its end. One process at a time writes (`lock`). Who writes
has the lock from the moment when it sees that nobody was erased until its files are there, and an erasure takes the
lock before it removes them: no file with an erased person can appear later.
"""

import errno
import fcntl
import hmac
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app import SOFTWARE
from app.disk import replace_whole, sync_directory
from app.errors import ServiceError
from app.store.engine import Database
from app.store.known_cohorts import KnownCohort, LedgerState, changed_patients, state_of, still_counts
from app.store.ledger_keys import FINGERPRINT, LedgerKeys
from app.timeline import cohort_batches
from app.timeline.cohort import TABLES
from app.timeline.times import EPOCH

FORM = 1
"""The form of the list. A list of a later form is not read."""
LEAST_ROWS = 10_000
"""A smaller study is read from its rows as fast."""
RENEW = 16
"""A segment is made again when more than one in so many of its patients has changed."""
PAUSES = 20
"""After a segment was written, it is not renewed for so many times as long as that took, unless it is of no use at all:
questions about a study that is written to all the time would wait for it again and again.
"""
LOCK_SECONDS = 5.0
"""How long the removal of segments waits for one that is being written."""
MOMENT_SECONDS = 0.2
"""How long the writing of a segment waits for a removal, which is short. Who writes the same one takes longer."""
REST_SECONDS = 60.0
"""The pause after a segment could not be written."""
_LIST, _LOCK, _FILE = "list.json", "lock", ".arrow"
_MARK = 64
log = logging.getLogger("myoresponse")


class Flaw(StrEnum):
    """Why a segment is not used."""

    LOST = "lost"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    FOREIGN = "foreign"
    NEWER = "newer_form"
    OTHER_VERSION = "other_version"
    NOT_OF_LEDGER = "not_of_this_ledger"
    UNREADABLE = "unreadable"


class UnusableSegment(Exception):
    """A segment that is not used, with the flaw that was found."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw)
        self.flaw = flaw


class SegmentFile(NamedTuple):
    """A file of a segment: its name, its size in bytes, and how many patients it has."""

    name: str
    size: int
    patients: int


class SegmentList(NamedTuple):
    """What a segment is: of which study, made by what, of which revision, and its files in the order of patients."""

    form: int
    database: str
    study: int
    made_by: str
    state: LedgerState
    links: dict[str, str]
    parts: list[SegmentFile]


class Segments:
    """The segments of a database in a folder. Without pyarrow there are none, and those of earlier times are removed as
    ever.

    `say` gets the status and the cause of each segment for the log, and its study, as `tell` does.
    """

    def __init__(self, folder: Path, keys: LedgerKeys, *, least_rows: int = LEAST_ROWS) -> None:
        self.folder = folder
        self.least_rows = least_rows
        self.say: Callable[[str, str, int], object] = tell
        self._keys = keys
        self._flawed: set[int] = set()
        self._failed_at: float | None = None
        self._pauses: dict[int, float] = {}

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, connection: Connection, study: int) -> KnownCohort | None:
        """The cohort of the segment of a study, or `None` if there is none that can be used."""
        if not cohort_batches.can_be_made():
            return None
        try:
            found = self._usable(connection, study)
            while found is not None:
                try:
                    batches = [self._batch(study, part) for part in found.parts]
                    cohort = cohort_batches.cohort_of(batches, zoned=found.state.zone is not None)
                    return KnownCohort(cohort, study, found.state, found.links, 0)
                except UnusableSegment:
                    before, found = found, self._usable(connection, study)
                    if found == before:
                        raise  # else it was made again meanwhile, and its earlier files are gone
        except UnusableSegment as unusable:
            self._flawed.add(study)
            self._say(study, "unusable", unusable.flaw)
        return None

    def batches(self, connection: Connection, study: int) -> Iterator[Any]:
        """The batches of the segment of a study one by one, each with whole patients. Raises `UnusableSegment`."""
        found = self._usable(connection, study)
        return (self._batch(study, part) for part in found.parts) if found is not None else iter(())

    def _usable(self, connection: Connection, study: int) -> SegmentList | None:
        """The list of the segment of a study, if there is one. Raises `UnusableSegment`."""
        found = self._list(study, _name_of(connection))
        if found is not None:
            if found.made_by != made_by(found.state.zone):
                raise UnusableSegment(Flaw.OTHER_VERSION)
            if not still_counts(connection, study, found.state):
                raise UnusableSegment(Flaw.NOT_OF_LEDGER)
        return found

    def _list(self, study: int, database: str) -> SegmentList | None:
        try:
            content = (self._place(study) / _LIST).read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            raise UnusableSegment(Flaw.UNREADABLE) from None
        mark, text = content[:_MARK], content[_MARK:]
        try:
            read = json.loads(text)
            form, *owner = read[:3]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise UnusableSegment(Flaw.DAMAGED) from None
        if isinstance(form, int) and form > FORM:
            raise UnusableSegment(Flaw.NEWER)
        if owner != [database, study]:
            raise UnusableSegment(Flaw.FOREIGN)
        if not hmac.compare_digest(mark, self._mark(text).encode()):
            raise UnusableSegment(Flaw.DAMAGED)
        state = LedgerState(read[4][0], bytes.fromhex(read[4][1]), *read[4][2:])
        return SegmentList(form, database, study, read[3], state, read[5], [SegmentFile(*part) for part in read[6]])

    def _batch(self, study: int, part: SegmentFile) -> cohort_batches.Batch:
        def check(content: Any) -> None:  # noqa: ANN401 - a buffer
            if len(content) != part.size:
                raise UnusableSegment(Flaw.TRUNCATED)
            if self._mark(content) != part.name:
                raise UnusableSegment(Flaw.DAMAGED)

        try:
            return cohort_batches.map_file(str(self._place(study) / f"{part.name}{_FILE}"), check)
        except FileNotFoundError:
            raise UnusableSegment(Flaw.LOST) from None
        except OSError:
            raise UnusableSegment(Flaw.UNREADABLE) from None

    # --- writing ------------------------------------------------------------------------------------------------------

    def keep(self, database: Database, known: KnownCohort) -> bool:
        """Write the segment of a cohort, unless the one that is there is near enough. Whether it was written.

        Not inside a transaction. Nothing fails if it cannot be written: the rows are there.
        """
        rows = sum(len(getattr(known.cohort, kind)) for kind in TABLES)
        if rows < self.least_rows or self._rests() or not cohort_batches.can_be_made():
            return False
        try:
            if self._pauses_for(known) or not self._is_due(database, known):
                return False
            with self._locked(known.study, MOMENT_SECONDS) as mine:
                began = time.monotonic()
                written = mine and self._write(database, known)
                self._pauses[known.study] = time.monotonic() + PAUSES * (time.monotonic() - began)
                return written
        except OSError as error:
            self._failed_at = time.monotonic()
            self._say(known.study, "not_written", errno.errorcode.get(error.errno or 0, "EIO"))
        except ServiceError as refusal:
            self._say(known.study, "not_written", type(refusal).__name__)
        return False

    def _rests(self) -> bool:
        """Whether a segment could not be written a short time ago."""
        return self._failed_at is not None and time.monotonic() < self._failed_at + REST_SECONDS

    def _pauses_for(self, known: KnownCohort) -> bool:
        """Whether the segment was written a short time ago, and not all rows had to be read since."""
        return known.changed < len(known.cohort) and time.monotonic() < self._pauses.get(known.study, 0.0)

    def _is_due(self, database: Database, known: KnownCohort) -> bool:
        if known.study in self._flawed:
            return True
        with database.reading() as connection:
            try:
                found = self._usable(connection, known.study)
            except UnusableSegment:
                return True
            if found is None:
                return True
            if known.state.revision <= found.state.revision:
                return False
            most = sum(part.patients for part in found.parts) // RENEW
            ends = found.state.revision, known.state.revision
            return (
                known.state.zone != found.state.zone
                or len(changed_patients(connection, known.study, *ends, most + 1)) > most
            )

    def _write(self, database: Database, known: KnownCohort) -> bool:
        with database.reading() as connection:
            if state_of(connection, known.study, known.state.revision) != known.state:
                return False  # somebody was erased meanwhile
            name = _name_of(connection)
        try:
            parts = [self._write_part(known.study, batch) for batch in cohort_batches.batches_of(known.cohort)]
            state = [known.state.revision, known.state.hash.hex(), *known.state[2:]]
            made = [FORM, name, known.study, made_by(known.state.zone), state, dict(known.links), parts]
            text = json.dumps(made).encode()
            _write_file(self._place(known.study) / _LIST, self._mark(text).encode() + text)
        finally:
            self._tidy(database, known.study)  # a disk that is full needs the place of files that no list names
        self._flawed.discard(known.study)
        return True

    def _write_part(self, study: int, batch: cohort_batches.Batch) -> SegmentFile:
        content = cohort_batches.to_bytes(batch)
        part = SegmentFile(self._mark(content), len(content), batch.num_rows)
        file = self._place(study) / f"{part.name}{_FILE}"
        with suppress(FileNotFoundError):
            if file.stat().st_size == part.size and file.read_bytes() == content:
                return part  # of the segment before: its patients have not changed
        _write_file(file, content)
        return part

    # --- removing -----------------------------------------------------------------------------------------------------

    def sweep(self, database: Database) -> bool:
        """Remove every segment of a state before an erasure or a restore, and what a killed process left.

        `False` if one could not be removed: call again later.
        """
        try:
            studies = [int(place.name) for place in self.folder.iterdir() if place.name.isdecimal()]
        except FileNotFoundError:
            return True
        except OSError:
            return False
        done = [self._swept(database, study) for study in studies]
        return all(done)

    def _swept(self, database: Database, study: int) -> bool:
        try:
            with self._locked(study, LOCK_SECONDS) as mine:
                if not mine:
                    return False
                self._tidy(database, study)
                return True
        except (OSError, ServiceError) as error:
            self._say(study, "not_removed", type(error).__name__)
            return False

    def _tidy(self, database: Database, study: int) -> None:
        """Remove what does not belong to a segment that can be used. Raises `OSError`. The caller has the lock."""
        kept: set[str] = set()
        with suppress(UnusableSegment), database.reading() as connection:
            found = self._usable(connection, study) if cohort_batches.can_be_made() else None
            if found is not None:
                kept = {_LIST, *(f"{part.name}{_FILE}" for part in found.parts)}
        _remove(self._place(study), kept)

    # --- files --------------------------------------------------------------------------------------------------------

    def _place(self, study: int) -> Path:
        return self.folder / str(study)

    def _mark(self, content: Any) -> str:  # noqa: ANN401 - bytes or a buffer
        return hmac.digest(self._keys.segments, content, "sha256").hex()

    @contextmanager
    def _locked(self, study: int, seconds: float) -> Iterator[bool]:
        """Whether this process has the lock of a study in the block; it waits so long for it. Raises `OSError`."""
        place = self._place(study)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(place / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            yield _lock(descriptor, seconds)
        finally:
            os.close(descriptor)

    def _say(self, study: int, status: str, cause: str) -> None:
        self.say(status, cause, study)


def tell(status: str, cause: str, study: int) -> None:
    """Log the status of the segment of a study, and its cause."""
    log.warning("event=segment status=%s cause=%s study=%d", status, cause, study)


def _lock(descriptor: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.02)
        else:
            return True


def _write_file(path: Path, content: bytes) -> None:
    replace_whole(path, [content], draft=path.with_name(f"{path.name}.part"))


def _remove(place: Path, kept: set[str]) -> None:
    """Remove all files but the lock and those to keep. Raises `OSError`."""
    gone = [file for file in place.iterdir() if file.name not in {_LOCK, *kept}]
    for file in gone:
        file.unlink(missing_ok=True)
    if gone:
        sync_directory(place)


def _name_of(connection: Connection) -> str:
    """The random name of the database."""
    found = FINGERPRINT.row(connection)
    return "" if found is None else bytes(found[1]).hex()


def made_by(zone: str | None) -> str:
    """What decides the columns beside the ledger: this software, their meaning, and the rules of the time zone."""
    return f"{SOFTWARE} {cohort_batches.meaning()} {_rules_of(zone) if zone else ''}"


@cache
def _rules_of(zone: str) -> str:
    """The offsets of a time zone through a century: other data of time zones may give other days."""
    known = ZoneInfo(zone)
    offsets = [(EPOCH + timedelta(days=10 * n)).astimezone(known).utcoffset() for n in range(-1_100, 2_600)]
    return hmac.digest(b"", repr(offsets).encode(), "sha256").hex()
