"""How many requests a client may send in a time. The counts are in the memory of one process."""

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

POLICY = "client"


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


class Rates:
    """Counts the requests of each client in a window that moves on, so that no client can send twice as many around
    the end of a window.
    """

    def __init__(self, rate: str) -> None:
        self._rate: RateLimitItem = parse(rate)
        self._counter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, client: str) -> RateState:
        """Count a request of a client."""
        allowed = self._counter.hit(self._rate, client)
        stats = self._counter.get_window_stats(self._rate, client)
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        left = max(0, stats.remaining) if allowed else 0
        return RateState(allowed, self._rate.amount, self._rate.get_expiry(), left, seconds)
