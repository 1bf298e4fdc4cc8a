"""Whether the database has changed, as an event loop asks it."""

import asyncio

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from app.store.changes import DatabaseChanges, Mark


class ChangesSeen:
    """Gives marks of a database to the requests of one event loop.

    A mark is never older than its request: what was confirmed to anybody before the request began is in it. Requests
    that come while a server is asked share the next answer.
    """

    def __init__(self, changes: DatabaseChanges) -> None:
        self._changes = changes
        self._thread: CapacityLimiter | None = None
        self._running: asyncio.Task[Mark | None] | None = None
        self._next: asyncio.Task[Mark | None] | None = None

    async def mark(self) -> Mark | None:
        """The state of the database now; `None` if that is not known."""
        if not self._changes.waits:
            return self._changes.mark()
        if self._next is None:
            self._next = asyncio.create_task(self._asked(self._running))
        return await asyncio.shield(self._next)

    async def _asked(self, before: asyncio.Task[Mark | None] | None) -> Mark | None:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        self._thread = self._thread or CapacityLimiter(1)
        return await run_sync(self._changes.mark, limiter=self._thread)

    async def close(self) -> None:
        """Ask no more."""
        tasks = [task for task in (self._running, self._next) if task is not None]
        if tasks:
            await asyncio.wait(tasks)
        self._changes.close()
