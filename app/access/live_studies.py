"""Follows the revisions of studies for clients that stay connected.

One task of a process looks once a second for a later revision of each study that somebody follows, also for those that
another process or a command stored. It reads a new revision once, for all who follow the study. Who comes back
after a while reads by itself what it has missed.

An event holds numbers, times and kinds of facts, and nothing of a patient.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field

from anyio.to_thread import run_sync
from pydantic import Field
from pydantic_core import to_json

from app.access.study_changes import facts_of_step
from app.analyses.study_changes import ChangedFacts
from app.errors import Busy, NotFound, ServiceError
from app.estimate.results import Result
from app.store.engine import Database
from app.store.revisions import AsOf, RevisionRecord
from app.store.snapshot import latest_revisions, study_at
from app.store.steps import RevisionStep
from app.store.worklist import SetAsideStep
from app.timeline.times import instant_text

POLL_SECONDS = 1.0
AT_ONCE = 100
"""Greatest number of revisions that are read, or kept for others, at a time."""
RETRY_SECONDS = 5


class NewRevision(Result):
    """The data of the event `revision`: an accepted submission."""

    revision: int = Field(description="Its number.", examples=[17])
    received_at: str = Field(description="When it was received.", examples=["2026-11-22T10:00:00Z"])
    format: str = Field(description="The format that it came in.", examples=["native-json"])
    protocol_changed: bool = Field(description="Whether it declared another protocol.", examples=[False])
    facts: tuple[ChangedFacts, ...] = Field(
        description="How many facts of each kind came to stand and ended.", examples=[[]]
    )


class SetAsideChange(Result):
    """The data of the event `set_aside`: a revision changed the worklist."""

    revision: int = Field(description="The revision.", examples=[17])
    added: int = Field(description="Items that it set aside.", examples=[2])
    ended: int = Field(description="Items that were mended, replaced or dismissed.", examples=[1])


class AnswerChange(Result):
    """The data of the event `answer_changed`: a revision changed what answers are computed from. Which figures moved is
    not computed here: `GET /v1/studies/{study}/changes` says so.
    """

    revision: int = Field(description="The revision.", examples=[17])
    data: bool = Field(description="Whether facts came to stand or ended.", examples=[True])
    protocol: bool = Field(description="Whether the protocol is another one.", examples=[False])


@dataclass(frozen=True, slots=True)
class Begin:
    """After which revision a client begins to follow, and which was the latest when it asked."""

    after: int
    latest: int


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

    async def follow(self, database: Database, study: str, begin: Begin, pause: float) -> AsyncGenerator[bytes]:
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
        return await run_sync(events_of_study, database, study, position, until)

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
            new = await run_sync(events_of_study, database, study, after, latest)
            followed.events = dict(sorted((followed.events | new).items())[-AT_ONCE:])
            latest = max(latest, followed.latest)
        followed.latest = latest
        followed.tell()


def events_of_study(database: Database, study: str, after: int, until: int) -> dict[int, bytes]:
    """The events of the revisions after `after`, up to `until`, by their numbers, as `text/event-stream`."""
    with study_at(database, study, AsOf(until), though_erased=True) as snapshot:
        records = snapshot.revisions(after=after, limit=until - after)
        steps, worklist = snapshot.steps(after=after), snapshot.set_aside_steps(after=after)
    return {
        record.number: _events(record, steps[record.number], worklist.get(record.number, SetAsideStep()))
        for record in records
    }


def beginning(database: Database, study: str, after: int | None) -> Begin:
    """Where to begin: after a given revision, or after the latest. Raises `NotFound` if the study has it not."""
    with study_at(database, study) as snapshot:
        latest = snapshot.revision
    if after is not None and after > latest:
        raise NotFound("The study has no such revision.")
    return Begin(latest if after is None else after, latest)


def _events(record: RevisionRecord, step: RevisionStep, worklist: SetAsideStep) -> bytes:
    """The events of one revision. The last one has its number as `id`, so that all come again if one was lost."""
    facts = facts_of_step(step)
    parts = []
    if worklist.added or worklist.ended:
        change = SetAsideChange(revision=record.number, added=worklist.added, ended=worklist.ended)
        parts.append(_event("set_aside", change))
    if facts or step.protocol:
        parts.append(
            _event("answer_changed", AnswerChange(revision=record.number, data=bool(facts), protocol=step.protocol))
        )
    new = NewRevision(
        revision=record.number,
        received_at=instant_text(record.received_at),
        format=record.format,
        protocol_changed=step.protocol,
        facts=facts,
    )
    return b"".join([*parts, _event("revision", new, record.number)])


def _event(name: str, data: Result, number: int | None = None) -> bytes:
    place = "" if number is None else f"id: {number}\n"
    return f"event: {name}\n{place}data: ".encode() + to_json(data.model_dump(mode="json")) + b"\n\n"
