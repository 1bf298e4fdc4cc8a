"""Follows the revisions of studies for clients that stay connected.

One task of a process looks once a second for a later revision of each study that somebody follows, also for those that
another process or a command stored. It reads a new revision once, for all who follow the study. Who comes back
after a while reads by itself what it has missed.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from app.errors import Busy, ServiceError
from app.store.engine import Database

if TYPE_CHECKING:
    from app.access.live_events import Begin

POLL_SECONDS = 1.0
AT_ONCE = 100
"""Greatest number of revisions that are read, or kept for others, at a time."""
RETRY_SECONDS = 5


@dataclass(slots=True)
class FollowedStudy:
    """A study that somebody follows: its latest revision, and the events of the last revisions by their numbers."""

    latest: int
    followers: int = 0
    events: dict[int, bytes] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake everybody who waits for news."""
        self.news.set()
        self.news = asyncio.Event()


class LiveStudies:
    """The clients that follow studies in this process: `most` of them, and `most_of_client` of one client. All methods
    run in one event loop.
    """

    def __init__(self, most: int, most_of_client: int) -> None:
        self._most = most
        self._most_of_client = most_of_client
        self._clients: Counter[str] = Counter()
        self._followed: dict[str, FollowedStudy] = {}
        self._watching: asyncio.Task[None] | None = None
        self.ended = False

    @property
    def connections(self) -> int:
        """How many clients follow now."""
        return self._clients.total()

    @contextmanager
    def place(self, client: str | None) -> Iterator[None]:
        """A place for one connection of a client; `None` is a program on this machine. Raises `Busy`."""
        if self.ended:
            raise self._busy("The service is about to stop.")
        if self.connections >= self._most:
            raise self._busy(f"{self._most} clients follow studies already.")
        if client is not None and self._clients[client] >= self._most_of_client:
            raise self._busy(f"One client may follow studies over {self._most_of_client} connections.")
        name = client or ""
        self._clients[name] += 1
        try:
            yield
        finally:
            self._clients[name] -= 1
            self._clients += Counter()  # forgets who has none

    @staticmethod
    def _busy(why: str) -> Busy:
        return Busy(why, headers={"Retry-After": str(RETRY_SECONDS)})

    async def follow(self, database: Database, study: str, begin: "Begin", pause: float) -> AsyncGenerator[bytes]:
        """The events of each revision after the first one, in order; nothing (`b""`) after `pause` seconds without any.

        It ends with the service, and if the ledger was replaced by an older one.
        """
        followed, position = self._joined(study, begin.latest), begin.after
        followed.followers += 1
        try:
            if self._watching is None or self._watching.done():
                self._watching = asyncio.create_task(self._watch(database), context=Context())
            while not self.ended and position <= followed.latest:
                news = followed.news
                if position < followed.latest:
                    for number, events in (await self._next(database, study, followed, position)).items():
                        yield events
                        position = number
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await news.wait()
                    if not news.is_set():
                        yield b""
        finally:
            followed.followers -= 1
            if followed.followers == 0 and self._followed.get(study) is followed:
                del self._followed[study]

    def _joined(self, study: str, latest: int) -> FollowedStudy:
        """The study with what is kept of it, at this revision or a later one."""
        followed = self._followed.setdefault(study, FollowedStudy(latest))
        if followed.latest < latest:
            followed.latest = latest
            followed.tell()
        return followed

    async def _next(self, database: Database, study: str, followed: FollowedStudy, position: int) -> dict[int, bytes]:
        """The events of the next revision, or of some next revisions."""
        if position + 1 in followed.events:
            return {position + 1: followed.events[position + 1]}
        until = min(position + AT_ONCE, followed.latest)
        return await _events(database, study, position, until)

    def end(self) -> None:
        """End every connection, and take no further one."""
        self.ended = True
        for followed in self._followed.values():
            followed.tell()

    async def close(self) -> None:
        """End, also the task that looks for revisions."""
        self.end()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self, database: Database) -> None:
        """Look for later revisions while somebody follows a study."""
        while self._followed:
            await asyncio.sleep(POLL_SECONDS)
            from app.store.snapshot import latest_revisions

            with suppress(ServiceError):  # a database that does not answer shows in the readiness
                known = {study: followed.latest for study, followed in self._followed.items()}
                for study, latest in (await run_sync(latest_revisions, database, sorted(known))).items():
                    followed = self._followed.get(study)
                    # Somebody who joined meanwhile may have seen a later revision than this look did.
                    if followed is not None and followed.latest == known[study] != latest:
                        await self._renew(database, study, followed, latest)

    async def _renew(self, database: Database, study: str, followed: FollowedStudy, latest: int) -> None:
        """Keep the events of the new revisions and tell everybody."""
        if latest > followed.latest:
            after = max(followed.latest, latest - AT_ONCE)
            new = await _events(database, study, after, latest)
            followed.events = dict(sorted((followed.events | new).items())[-AT_ONCE:])
            latest = max(latest, followed.latest)
        followed.latest = latest
        followed.tell()


async def _events(database: Database, study: str, after: int, until: int) -> dict[int, bytes]:
    from app.access.live_events import events_of_study

    return await run_sync(events_of_study, database, study, after, until)
