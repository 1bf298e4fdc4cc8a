"""The route that follows a study: its events are sent while they happen, as server-sent events."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import Header, Query, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT
from starlette.types import Receive, Scope, Send

from app.access.callers import LOCAL
from app.access.live_events import AnswerChange, Begin, NewRevision, SetAsideChange, beginning
from app.access.live_studies import LiveStudies
from app.errors import Fault, FaultCode, InvalidDocument, NotFound
from app.http.authentication import CallerOf, StillValid, network_of
from app.http.dependencies import State, StudyId
from app.http.openapi import answers, reference, refuses, text
from app.http.routing import Operations
from app.store.engine import Database

router = Operations(tags=["revisions"])
EVENTS = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
LONGEST_SECONDS = 3600
RETRY_MILLISECONDS = 2000
_HOLDS = {"anyOf": [reference(each) for each in (NewRevision, SetAsideChange, AnswerChange)]}


@dataclass(frozen=True, slots=True)
class Follower:
    """A client that follows a study: which, from where on, who it is, whether it still may, and how many seconds it may
    take to read a part.
    """

    study: str
    begin: Begin
    client: str | None
    still_valid: Callable[[], Awaitable[bool]]
    patience: float


class LiveEvents(Response):
    """Sends the events of a study after a revision. It ends when the client goes away or does not read, when its
    credentials are not valid any more, after `seconds`, and with the service.
    """

    def __init__(self, live: LiveStudies, database: Database, follower: Follower, seconds: int) -> None:
        super().__init__(media_type=EVENTS, headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._live = live
        self._database = database
        self._follower = follower
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request. Raises `Busy` if too many clients follow."""
        with self._live.place(self._follower.client):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if not scope["state"]["only_head"]:
                tasks = {asyncio.create_task(self._send(send)), asyncio.create_task(_gone(receive))}
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=self._seconds)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
            await send({"type": "http.response.body", "body": b""})

    async def _send(self, send: Send) -> None:
        follower = self._follower

        async def part(content: bytes) -> None:
            async with asyncio.timeout(follower.patience):
                await send({"type": "http.response.body", "body": content, "more_body": True})

        await part(f"id: {follower.begin.after}\nretry: {RETRY_MILLISECONDS}\n\n".encode())
        following = self._live.follow(self._database, follower.study, follower.begin, HEARTBEAT_SECONDS)
        async with aclosing(following):
            async for events in following:
                if not await follower.still_valid():
                    return
                await part(events or KEEPALIVE_COMMENT)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/v1/studies/{study}/changes/stream",
    operation_id="getChangesStream",
    summary="Follow a study",
    responses={200: answers("The events.", text(EVENTS, _HOLDS), media_type=EVENTS), **refuses(NotFound)},
)
async def get_changes_stream(
    request: Request,
    study: StudyId,
    state: State,
    caller: CallerOf,
    still_valid: StillValid,
    since: Annotated[
        int | None,
        Query(
            alias="from",
            ge=0,
            le=2**53 - 1,
            description="The revision that the client has; without it the latest. `Last-Event-ID` has precedence.",
            examples=[16],
        ),
    ] = None,
    seconds: Annotated[
        int,
        Query(ge=0, le=LONGEST_SECONDS, description="After how many seconds the answer ends.", examples=[3600]),
    ] = LONGEST_SECONDS,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            max_length=16,
            description="The `id` of the last event that the client has: browsers send it when they connect again.",
            examples=["16"],
        ),
    ] = None,
) -> Response:
    """Server-sent events, about a second after each revision: `set_aside` (the worklist changed), `answer_changed` (the
    data or the protocol that answers are computed from changed), then `revision` with the number as `id`. Names or
    values of patients are not in them. Every 15 seconds without an event a comment is sent. The answer ends when the
    key is not valid any more and when the service stops. 503 with Retry-After: too many clients follow.
    """
    if last_event_id is not None:
        since = _position(last_event_id)
    begin = await run_sync(beginning, state.database, study, since)
    client = None if caller is LOCAL else caller.name or network_of(request.scope)
    follower = Follower(study, begin, client, still_valid, state.settings.body_timeout_seconds)
    return LiveEvents(request.app.state.live, state.database, follower, seconds)


def _position(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdecimal()) or int(last_event_id) >= 2**53:
        detail = "It is the number of a revision, as `id` of an event."
        raise InvalidDocument(faults=[Fault("/header/last-event-id", FaultCode.MALFORMED, detail)])
    return int(last_event_id)
