"""A stream: a body of lines that is stored while it arrives, and answered line by line at the same time.

Some clients read the answer while they send (curl), others send everything before they read (requests, httpx). So one
task reads and stores, another sends. Outcomes that the client does not read yet wait in memory or on the disk. They
contain pseudonyms, places and codes, and no values. When too many of them wait, no more lines are read until the client
reads; if it does not, the stream ends there.

After the first outcomes of a kind, further ones are short. A stream of which too many lines are rejected is ended. The
last line says where it ended and why, and the rest of the body is thrown away.

If a stream breaks, its answer has no last line. Every line that was answered is stored.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any

from anyio.to_thread import run_sync
from fastapi import Response
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.errors import ServiceError
from app.http.middleware import allow_stream
from app.http.openapi import NDJSON
from app.http.problems import count_refused, problem
from app.http.receipts import facts_document, receipt_document
from app.http.spool import Spool
from app.readers.streams import Line, Lines
from app.settings import Settings
from app.submission.batches import ItemOutcome, in_order
from app.submission.streams import LineGroup, Stream

log = logging.getLogger("myoresponse")

PAUSE_SECONDS = 0.2
"""How long a line waits for other lines, to be stored in one transaction with them."""
TOLD_IN_FULL = 100
"""How many rejected lines with a problem of one kind are answered in full."""
MOST_FAULTS_TOLD = 1_000
"""After so many faults, all other problems are short."""


class StopReason(StrEnum):
    """Why a stream was ended before its end: too many lines are rejected, or the answer was not read."""

    REJECTED = "rejected"
    UNREAD = "unread"


def item_document(outcome: ItemOutcome) -> dict[str, Any]:
    """The outcome of an item as a JSON object."""
    return {
        "index": outcome.index,
        "patient": outcome.patient,
        "status": outcome.status,
        "revision": outcome.revision,
        "receipt": None if outcome.receipt is None else receipt_document(outcome.receipt),
        "problem": None if outcome.error is None else problem(outcome.error).model_dump(mode="json"),
    }


class Arrivals:
    """The body of a request as groups of lines. `digest` is the SHA-256 of the bytes that were received so far."""

    def __init__(self, receive: Receive, longest: int) -> None:
        self.digest = hashlib.sha256()
        self._receive = receive
        self._lines = Lines(longest)
        self._incomplete = True

    async def groups(self) -> AsyncGenerator[list[Line]]:
        """Full groups of lines, and smaller ones if the sender is slow. The last group may be empty.

        Raises `ClientDisconnect` if the client disconnects before the end of the body.
        """
        loop, arriving = asyncio.get_running_loop(), None
        group, due, more = LineGroup(), 0.0, True
        try:
            while more:
                arriving = arriving or asyncio.ensure_future(self._receive())
                await asyncio.wait({arriving}, timeout=max(due - loop.time(), 0) if group.lines else None)
                complete: list[Line] = []
                if arriving.done():
                    message, arriving = arriving.result(), None
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    self._incomplete = more = message.get("more_body", False)
                    complete = self._read(message.get("body", b""), more)
                for line in complete:
                    due = due if group.lines else loop.time() + PAUSE_SECONDS
                    if group.add(line):
                        yield group.take()
                if more and group.lines and loop.time() >= due:
                    yield group.take()
            yield group.take()
        finally:
            if arriving is not None:
                arriving.cancel()

    async def discard(self) -> None:
        """Throw away the rest of the body, so that a client that sends first comes to read the answer."""
        while self._incomplete:
            message = await self._receive()
            self._incomplete = message["type"] != "http.disconnect" and message.get("more_body", False)

    def _read(self, part: bytes, more: bool) -> list[Line]:
        self.digest.update(part)
        complete = self._lines.feed(part)
        return complete if more else complete + self._lines.end()


class StreamedOutcomes(Response):
    """Stores the lines of the body and answers with one outcome a line, then a line with counts and digest.

    A refusal before the first outcome is a problem document like any other. `more` gives further members of the last
    line.
    """

    def __init__(self, stream: Stream, settings: Settings, more: Callable[[], dict[str, Any]]) -> None:
        super().__init__(media_type=NDJSON)
        del self.headers["content-length"]
        self._stream = stream
        self._settings = settings
        self._more = more
        self._spool = Spool(settings.max_spool_bytes)
        self._news, self._read = asyncio.Event(), asyncio.Event()
        self._begun = self._ended = self._complete = False
        self._told: Counter[tuple[str, ...]] = Counter()
        self._faults_told = self._short = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        allow_stream(scope, self._settings.max_stream_bytes)
        sending = asyncio.create_task(self._send(send))
        try:
            await self._store(scope, receive)
            await self._until_read(sending)
        except ServiceError as error:
            if not self._begun:
                raise
            await self._break_off(error, sending)
            raise ClientDisconnect from None  # the connection is closed without the end of the answer
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self._spool.close()

    async def _store(self, scope: Scope, receive: Receive) -> None:
        """Store the lines. The outcomes of a group can be sent after the group was committed."""
        arrivals = Arrivals(receive, self._settings.max_body_bytes)
        groups, why = arrivals.groups(), None
        async for group in groups:
            if group or not self._begun:
                if not await self._room():
                    why = StopReason.UNREAD
                    break
                await run_sync(self._store_group, scope, group)
                self._begun = True
                self._news.set()
                if self._stream.counts["rejected"] >= self._settings.max_rejected_lines and group:
                    why = StopReason.REJECTED
                    break
        await groups.aclose()
        await run_sync(lambda: self._write(self._last_line(arrivals, why)))
        self._news.set()
        if why is not None:
            log.warning("event=stream stopped=%s lines=%d", why, self._stream.counts.total())
            with suppress(ServiceError):
                await arrivals.discard()
        self._end(complete=True)

    def _last_line(self, arrivals: Arrivals, why: StopReason | None) -> dict[str, Any]:
        counts = self._stream.counts
        exports = [
            {"study": each.head.study, "revision": each.head.revision, "whole": each.is_whole}
            for each in self._stream.exports.read
        ]
        return (
            {"counts": in_order(counts), "facts": facts_document(self._stream.facts), "lines": counts.total()}
            | {"digest": f"sha256:{arrivals.digest.hexdigest()}"}
            | ({"exports": exports} if exports else {})
            | ({"short": self._short} if self._short else {})
            | ({"stopped": why} if why else {})
            | self._more()
        )

    async def _room(self) -> bool:
        """Wait until outcomes can be added. Returns whether the client reads."""
        while self._spool.is_full:
            self._read.clear()
            try:
                async with asyncio.timeout(self._settings.body_timeout_seconds):
                    await self._read.wait()
            except TimeoutError:
                return False
        return True

    async def _until_read(self, sending: asyncio.Task[None]) -> None:
        """Wait until the client has read everything. Raises `ClientDisconnect` if it does not read."""
        taken = -1
        while not sending.done():
            if self._spool.taken == taken:
                log.warning("event=stream stopped=unread lines=%d", self._stream.counts.total())
                raise ClientDisconnect
            taken = self._spool.taken
            await asyncio.wait({sending}, timeout=self._settings.body_timeout_seconds)
        await sending

    def _store_group(self, scope: Scope, group: Sequence[Line]) -> None:
        group = self._stream.exports.timelines(group)
        outcomes = self._stream.store(group)
        count_refused(scope, (outcome.error for outcome in outcomes))
        self._write(*(self._line(outcome, line.number) for outcome, line in zip(outcomes, group, strict=True)))

    def _line(self, outcome: ItemOutcome, number: int) -> dict[str, Any]:
        """The outcome of a line; a short one after enough of its kind."""
        if outcome.error is not None and outcome.status == "rejected":
            kind = (outcome.error.slug, *sorted({fault.code for fault in outcome.error.faults}))
            self._told[kind] += 1
            if self._told[kind] > TOLD_IN_FULL or self._faults_told > MOST_FAULTS_TOLD:
                self._short += 1
                return {"index": outcome.index, "line": number, "status": outcome.status}
            self._faults_told += len(outcome.error.faults)
        return {**item_document(outcome), "line": number}

    def _write(self, *documents: dict[str, Any]) -> None:
        self._spool.write(b"".join(to_json(document) + b"\n" for document in documents))

    def _end(self, *, complete: bool) -> None:
        self._ended, self._complete = True, complete
        self._news.set()

    async def _break_off(self, error: ServiceError, sending: asyncio.Task[None]) -> None:
        """Send the outcomes of what was stored before the stream broke, to a client that still reads."""
        log.warning("event=stream broken=%s lines=%d", error.slug, self._stream.counts.total())
        self._end(complete=False)
        await asyncio.wait({sending}, timeout=self._settings.body_timeout_seconds)

    async def _send(self, send: Send) -> None:
        """Send the outcomes as fast as the client reads them."""
        ended = begun = False
        while not ended:
            await self._news.wait()
            self._news.clear()
            ended = self._ended  # read before the spool, so that nothing is left in it after the end
            if not begun:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                begun = True
            while part := await run_sync(self._spool.read):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                self._read.set()
        if self._complete:
            await send({"type": "http.response.body", "body": b""})
