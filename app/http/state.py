"""The state of the running application: what is kept between requests."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from cachetools import LRUCache

from app.access.authenticator import Authenticator
from app.access.changes_seen import ChangesSeen
from app.access.computing import Computing
from app.access.rates import Rates
from app.errors import ServiceError, Unavailable
from app.http.repeated import RepeatedAnswer, RequestKey
from app.http.responses import Cursors
from app.secret_file import SecretFile
from app.settings import Settings
from app.store.audit_trail import AuditTrail
from app.store.engine import Database
from app.store.erased_persons import latest_erasures
from app.store.failures import DatabaseFailure, refusal_of
from app.store.opening import open_ledger
from app.submission.dead_letters import DeadLetters

if TYPE_CHECKING:
    from app.analyses import Options
    from app.protocol.model import Protocol

log = logging.getLogger("myoresponse")


Script = Callable[[str, str, int, "Protocol", "Options"], bytes]
"""What writes the R script of a question: its name, the study, the revision, the protocol and the options."""


class Answers:
    """The latest answers to questions; the answers of a study are dropped when a person is erased from it."""

    LARGEST = 1_000_000
    """Greatest size of a kept answer in bytes; an answer that lists every patient can be a hundred times larger."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: LRUCache[str, tuple[str, bytes]] = LRUCache(most_bytes, getsizeof=lambda kept: len(kept[1]))
        self._repeated: LRUCache[RequestKey, RepeatedAnswer] = LRUCache(most_bytes, getsizeof=lambda kept: kept.size)
        self._erasures: dict[str, int] = {}
        self.hits = self.misses = 0

    def erasures(self, study: str) -> int:
        """How often answers of the study were dropped; read it before the data of the study."""
        return self._erasures.get(study, 0)

    def get(self, key: str) -> bytes | None:
        """The answer kept under this key."""
        with self._lock:
            entry = self._kept.get(key)
            self.hits += entry is not None
            self.misses += entry is None
            return entry[1] if entry else None

    @property
    def size(self) -> int:
        """The bytes of all kept answers."""
        return int(self._kept.currsize + self._repeated.currsize)

    def keep(self, study: str, key: str, answer: bytes, erasures: int) -> None:
        """Keep an answer, unless a person was erased from the study since its data were read."""
        with self._lock:
            if self._erasures.get(study, 0) != erasures:
                return
            if len(answer) > min(self.LARGEST, self._kept.maxsize):
                return
            self._kept[key] = (study, answer)
            while len(self._kept) > self._most:
                self._kept.popitem()
            self._make_room()

    def repeated(self, key: RequestKey) -> RepeatedAnswer | None:
        """What was answered to such a request; without a mark it does not stand."""
        with self._lock:
            return self._repeated.get(key)

    def keep_repeated(self, key: RequestKey, answer: RepeatedAnswer) -> None:
        """Keep what was answered to a request, unless a person was erased from the study since its data were read."""
        with self._lock:
            study, erasures = answer.said.study, answer.said.erasures
            if self._erasures.get(study or "", 0) != erasures or answer.size > min(self.LARGEST, self._kept.maxsize):
                return
            self._repeated[key] = answer
            self._make_room()

    def _make_room(self) -> None:
        """Requests go first: an answer serves many of them."""
        while self._repeated and (len(self._repeated) > self._most or self.size > self._kept.maxsize):
            self._repeated.popitem()

    def drop(self, study: str) -> None:
        """Drop the answers about a study."""
        with self._lock:
            self._erasures[study] = self._erasures.get(study, 0) + 1
            for key in [key for key, (owner, _) in self._kept.items() if owner == study]:
                del self._kept[key]
            for request in [request for request, kept in self._repeated.items() if kept.said.study == study]:
                del self._repeated[request]


class ErasureWatch:
    """Drops what is kept of a study, answers and cohorts (`forget`), when another process has erased a person from it.

    An answer is never sent after an erasure that it contradicts: each request reads its revision first. But it must not
    stay in memory either.
    """

    SECONDS = 1.0

    def __init__(self, database: Database, answers: Answers, forget: Callable[[str], object]) -> None:
        self._database = database
        self._answers = answers
        self._forget = forget
        self._seen: dict[str, int] = {}
        self._unswept = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="erasures", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Drop what other processes have made out of date."""
        with self._database.reading() as connection:
            latest = latest_erasures(connection)
        for study, revision in latest.items():
            if self._seen.get(study) != revision:
                self._answers.drop(study)
                self._forget(study)
        self._unswept = self._unswept or self._seen != latest
        self._seen = latest
        self._unswept = self._unswept and not self._database.sweep()  # if it is not possible now, it is tried again

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self.SECONDS):
            with suppress(Exception):  # a database that cannot be read shows in the readiness
                self.look()


class Scrubber:
    """Makes sure that after an erasure no byte of the deleted data stays in the files of the database."""

    RETRY_SECONDS = 1.0

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._retrying: threading.Thread | None = None

    def scrub(self) -> None:
        """Scrub now; if somebody prevents it, try again in the background until it succeeds."""
        if self._scrubbed():
            return
        with self._lock:
            if self._retrying is None or not self._retrying.is_alive():
                self._retrying = threading.Thread(target=self._retry, name="scrub", daemon=True)
                self._retrying.start()

    def stop(self) -> None:
        """End the retries; a scrub that is still due is tried once more."""
        self._stopped.set()
        if self._retrying is not None:
            self._retrying.join()

    def _retry(self) -> None:
        while not self._stopped.wait(self.RETRY_SECONDS):
            if self._scrubbed():
                return
        if not self._scrubbed():
            log.warning("event=scrub status=due")

    def _scrubbed(self) -> bool:
        """Whether it is done now. The erasure is committed, so that it must not fail if this has to wait."""
        try:
            return self._database.scrub()
        except ServiceError:
            return False


_NO_LETTERS = (
    "The directory of MYORESPONSE_DEAD_LETTERS cannot be used: it must belong to the user of this process and be open "
    "to it only (chmod 700). Erasures delete the dead letters of a person there."
)


class Readiness:
    """Whether the database can serve, or why not, checked at most once a second: many probes cost no more than one."""

    SECONDS = 1.0

    def __init__(self, database: Database, heads: Path, letters: DeadLetters) -> None:
        self._database = database
        self._heads = heads
        self._letters = letters
        self._lock = threading.Lock()
        self._found: DatabaseFailure | None = None
        self._until = 0.0
        self._thread = anyio.CapacityLimiter(1)

    async def refusal(self) -> ServiceError | None:
        """Why the database cannot serve. It is found in its own thread, so that this need not wait for one."""
        found = await anyio.to_thread.run_sync(self.objection, limiter=self._thread)
        if found is None and not self._letters.is_usable():
            return Unavailable(_NO_LETTERS)
        if found is None or found.cause is not None:
            return None if found is None else refusal_of(found)
        return Unavailable("The ledger cannot be opened with its secret file.")

    def objection(self) -> DatabaseFailure | None:
        """Why the database cannot serve (`Database.objection`)."""
        with self._lock:
            if time.monotonic() >= self._until:
                before, self._found = self._found, self._database.objection() or self._unopened()
                self._until = time.monotonic() + self.SECONDS
                self._log(before, self._found)
            return self._found

    def _log(self, before: DatabaseFailure | None, now: DatabaseFailure | None) -> None:
        """Write a line when the answer changes."""
        if now is not None and (before is None or before.cause is not now.cause):
            log.error("event=readiness ready=no cause=%s why=%r", now.cause or "-", str(now))
        if now is None and before is not None:
            log.warning("event=readiness ready=yes after=%s", before.cause or "-")

    def _unopened(self) -> DatabaseFailure | None:
        """Why the ledger is not open; a database that came later than the service is opened now."""
        if self._database.heads is not None:
            return None
        why = open_ledger(self._database, self._heads)
        return None if why is None else DatabaseFailure(why)


@dataclass(frozen=True, slots=True)
class AppState:
    """What the running application holds; route functions receive it."""

    settings: Settings
    database: Database
    answers: Answers
    cursors: Cursors
    scrubber: Scrubber
    readiness: Readiness
    computing: Computing
    authenticator: Authenticator
    trail: AuditTrail
    rates: Rates | None
    script: Script
    changes: ChangesSeen

    @property
    def secret(self) -> SecretFile:
        """The secret file, which gives the keys of cursors, ETags and sessions."""
        return self.database.keys.secret
