"""The state of the running application: what is kept between requests."""

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
from cachetools import LRUCache

from app.access.authenticator import Authenticator
from app.access.computing import Computing
from app.http.responses import Cursors
from app.secret_file import SecretFile
from app.settings import Settings
from app.store.audit_trail import AuditTrail
from app.store.engine import Database
from app.store.opening import open_ledger

log = logging.getLogger("myoresponse")


class Answers:
    """The latest answers to questions; the answers of a study are dropped when a person is erased from it."""

    LARGEST = 1_000_000
    """Greatest size of a kept answer in bytes; an answer that lists every patient can be a hundred times larger."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: LRUCache[str, tuple[str, bytes]] = LRUCache(most_bytes, getsizeof=lambda kept: len(kept[1]))
        self._erasures: dict[str, int] = {}

    def erasures(self, study: str) -> int:
        """How often answers of the study were dropped; read it before the data of the study."""
        return self._erasures.get(study, 0)

    def get(self, key: str) -> bytes | None:
        """The answer kept under this key."""
        with self._lock:
            entry = self._kept.get(key)
            return entry[1] if entry else None

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

    def drop(self, study: str) -> None:
        """Drop the answers about a study."""
        with self._lock:
            self._erasures[study] = self._erasures.get(study, 0) + 1
            for key in [key for key, (owner, _) in self._kept.items() if owner == study]:
                del self._kept[key]


class Scrubber:
    """Makes sure that after an erasure no byte of the deleted data stays in the files of the database."""

    RETRY_SECONDS = 1.0

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._retrying: threading.Thread | None = None

    def scrub(self) -> None:
        """Scrub now; if a reader prevents it, try again in the background until it succeeds."""
        if self._database.scrub():
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
            if self._database.scrub():
                return
        if not self._database.scrub():
            log.warning("event=scrub status=due")


class Readiness:
    """Whether the database can serve, checked at most once a second: many probes cost no more than one."""

    SECONDS = 1.0

    def __init__(self, database: Database, heads: Path) -> None:
        self._database = database
        self._heads = heads
        self._lock = threading.Lock()
        self._ready = False
        self._until = 0.0
        self._thread = anyio.CapacityLimiter(1)

    async def is_ready(self) -> bool:
        """`ready`, in a separate thread: a probe must not wait until a question is answered."""
        return await anyio.to_thread.run_sync(self.ready, limiter=self._thread)

    def ready(self) -> bool:
        """Whether the database can be reached and has the tables of this version."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._ready = self._database.ready() and self._opened()
                self._until = time.monotonic() + self.SECONDS
            return self._ready

    def _opened(self) -> bool:
        """Whether the ledger is open; a database that came later than the service is opened now."""
        return self._database.heads is not None or open_ledger(self._database, self._heads) is None


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

    @property
    def secret(self) -> SecretFile:
        """The secret file, which gives the keys of cursors, ETags and sessions."""
        return self.database.keys.secret
