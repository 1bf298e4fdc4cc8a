"""The parts of the running service that outlive a request."""

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from app.api.pages import Cursors
from app.settings import Settings
from app.store.engine import Database

log = logging.getLogger("myoresponse")


class Answers:
    """The answers to questions that were asked lately; those of a study are dropped when a person is erased from it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._erasures: dict[str, int] = {}

    def erasures(self, study: str) -> int:
        """How often answers of the study were dropped; to be asked before its data are read."""
        return self._erasures.get(study, 0)

    def get(self, key: str) -> bytes | None:
        """The answer kept under this key."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found[1] if found else None

    def keep(self, study: str, key: str, answer: bytes, erasures: int) -> None:
        """Keep an answer, unless somebody was erased from the study since its data were read."""
        with self._lock:
            if self._erasures.get(study, 0) != erasures:
                return
            self._kept[key] = (study, answer)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def drop(self, study: str) -> None:
        """Forget what was answered about a study."""
        with self._lock:
            self._erasures[study] = self._erasures.get(study, 0) + 1
            for key in [key for key, (of, _) in self._kept.items() if of == study]:
                del self._kept[key]


class Scrubber:
    """Sees to it that after an erasure no byte of what was deleted stays in the database's files."""

    RETRY_SECONDS = 1.0

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._retrying: threading.Thread | None = None

    def scrub(self) -> None:
        """Scrub now; where a reader is in the way, again and again in the background."""
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
    """Whether the database can serve, looked up once a second at most: many probes cost no more than one."""

    SECONDS = 1.0

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._ready = False
        self._until = 0.0

    def ready(self) -> bool:
        """Whether the database can be reached and has the tables of this version."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._ready = self._database.ready()
                self._until = time.monotonic() + self.SECONDS
            return self._ready


@dataclass(frozen=True, slots=True)
class Service:
    """What handlers work with."""

    settings: Settings
    database: Database
    answers: Answers
    cursors: Cursors
    scrubber: Scrubber
    readiness: Readiness
