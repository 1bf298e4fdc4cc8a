"""How many requests a client may send in a time.

The counts are in memory. Several processes at one address share them: each settles with the database once a second
(`SharedCounts`), so that no request waits for it.
"""

import logging
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.settings import Settings
from app.store import request_counts
from app.store.engine import Database
from app.store.request_counts import Counted

POLICY = "client"
log = logging.getLogger("myoresponse")


@dataclass(frozen=True, slots=True)
class RateState:
    """What is left to a client after a request; `allowed` says whether this request is served."""

    allowed: bool
    most: int
    window: int
    left: int
    seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """The fields of the RateLimit draft of the IETF; of a refusal, also when to try again."""
        fields = {
            "RateLimit-Policy": f'"{POLICY}";q={self.most};w={self.window}',
            "RateLimit": f'"{POLICY}";r={self.left};t={self.seconds}',
        }
        return fields if self.allowed else fields | {"Retry-After": str(self.seconds)}


class SharedCounts(MemoryStorage):
    """Counts in memory that are settled with those of other processes, at most once a second.

    To settle means to add what was counted here to the counts in the database, and to read these. So all processes
    together let a client send no more than its rate, and what each of them counts in the second before it settles. If
    the database fails, this process goes on counting alone, and settles later. Without requests nothing is read.
    """

    SECONDS = 1.0

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._lock = threading.Lock()
        self._new: Counter[str] = Counter()
        self._used: dict[str, float] = {}
        self._is_alone = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rates", daemon=True)
        self._thread.start()

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count a request here."""
        with self._lock:
            self._new[key] += amount
            self._used[key] = time.time() + expiry
            return super().incr(key, expiry, amount)

    def decr(self, key: str, amount: int = 1) -> int:
        """Take a count back."""
        with self._lock:
            self._new[key] -= amount
            return super().decr(key, amount)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a request if the limit lets it pass. The counts that this depends on are read when it is settled."""
        now = time.time()
        before, current = self.sliding_window_keys(key, expiry, now)
        with self._lock:
            self._used |= {before: now + expiry, current: now + 2 * expiry}
        return super().acquire_sliding_window_entry(key, limit, expiry, amount)

    def settle(self) -> None:
        """Add what was counted here since the last time, and take over the counts of all processes."""
        now = time.time()
        with self._lock:
            used = {key: until for key, until in self._used.items() if until > now}
            new = {key: more for key, more in self._new.items() if more and key in used}
            self._used, self._new = {}, Counter()
        if not used:
            return
        try:
            if new:
                added = {key: Counted(more, math.ceil(used[key] * 1_000_000)) for key, more in new.items()}
                self._database.together(
                    lambda transaction: request_counts.add(transaction, added, math.floor(now * 1_000_000))
                )
                new = {}
            with self._database.reading() as connection:
                totals = request_counts.totals(connection, used)
        except Exception as error:
            self._keep(used, new, error)
            return
        with self._lock:
            for key, total in totals.items():
                self.expirations[key] = max(used[key], self.expirations.get(key, 0.0))
                self.storage[key] = total + self._new[key]
        if self._is_alone:
            log.warning("event=rates shared=yes")
        self._is_alone = False

    def stop(self) -> None:
        """Settle for the last time."""
        self._stopped.set()
        self._thread.join()

    def _keep(self, used: dict[str, float], new: dict[str, int], error: Exception) -> None:
        """Keep what could not be settled. The log has one line, however long that lasts."""
        with self._lock:
            self._used = used | self._used
            self._new.update(new)
        if not self._is_alone:
            log.warning("event=rates shared=no error=%s", type(error).__name__)
        self._is_alone = True

    def _work(self) -> None:
        while not self._stopped.wait(self.SECONDS):
            self.settle()
        self.settle()


class Rates:
    """Counts the requests of each client in a window that moves on, so that no client can send twice as many around
    the end of a window.
    """

    def __init__(self, rate: str, shared: SharedCounts | None = None) -> None:
        self._rate: RateLimitItem = parse(rate)
        self.shared = shared
        self._counter = SlidingWindowCounterRateLimiter(shared or MemoryStorage())

    @classmethod
    def of(cls, settings: Settings, database: Database) -> "Rates | None":
        """The rates of the settings, if there is a limit; shared where several processes serve one address."""
        if not settings.rate:
            return None
        return cls(settings.rate, SharedCounts(database) if settings.shares_rates else None)

    def stop(self) -> None:
        """Settle for the last time with other processes, if there may be any."""
        if self.shared is not None:
            self.shared.stop()

    def count(self, client: str) -> RateState:
        """Count a request of a client."""
        return self._state(client, self._counter.hit(self._rate, client))

    def look(self, client: str) -> RateState:
        """Whether a client has a request left. None is counted."""
        return self._state(client, self._counter.test(self._rate, client))

    def _state(self, client: str, allowed: bool) -> RateState:
        stats = self._counter.get_window_stats(self._rate, client)
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        left = max(0, stats.remaining) if allowed else 0
        return RateState(allowed, self._rate.amount, self._rate.get_expiry(), left, seconds)
