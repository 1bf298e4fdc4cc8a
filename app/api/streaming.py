"""A stream: a body of lines that is stored while it arrives, and answered line by line at the same time.

Some clients read the answer while they send (curl), others send everything before they read (requests, httpx). So one
task reads and stores, another sends, and neither waits for the other. Outcomes that the client does not read yet wait
in memory or on the disk. They contain pseudonyms, places and codes, and no values.

If a stream breaks, its answer has no last line. Every line that was answered is stored.
"""

import asyncio
import hashlib
import logging
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
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
from app.readers.streams import Line, Lines
from app.settings import Settings
from app.submission.batches import ItemOutcome, in_order
from app.submission.streams import LineGroup, Stream

log = logging.getLogger("myoresponse")

PAUSE_SECONDS = 0.2
"""How long a line waits for other lines, to be stored in one transaction with them."""
IN_MEMORY = 1_000_000
"""Most bytes of outcomes that wait in memory; more wait on the disk."""
PART_BYTES = 65_536


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


class Spool:
    """A buffer of bytes between a task that writes and a task that reads. It is emptied when all bytes were read."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by close()
        self._lock = threading.Lock()
        self._read = self._written = 0

    def write(self, content: bytes) -> None:
        """Add bytes."""
        with self._lock:
            self._file.seek(self._written)
            self._file.write(content)
            self._written += len(content)

    def read(self) -> bytes:
        """The next bytes; empty if all were read."""
        with self._lock:
            if self._read == self._written:
                self._read = self._written = 0
                self._file.seek(0)
                self._file.truncate()
                return b""
            self._file.seek(self._read)
            part = self._file.read(min(PART_BYTES, self._written - self._read))
            self._read += len(part)
            return part

    def close(self) -> None:
        """Delete the content."""
        with self._lock:
            self._file.close()


class Arrivals:
    """The body of a request as groups of lines. `digest` is the SHA-256 of the bytes that were received so far."""

    def __init__(self, receive: Receive, longest: int) -> None:
        self.digest = hashlib.sha256()
        self._receive = receive
        self._lines = Lines(longest)

    async def groups(self) -> AsyncIterator[list[Line]]:
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
                    more = message.get("more_body", False)
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
        self._spool = Spool()
        self._news = asyncio.Event()
        self._begun = self._ended = self._complete = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        allow_stream(scope, self._settings.max_stream_bytes)
        sending = asyncio.create_task(self._send(send))
        try:
            await self._store(scope, receive)
            await sending
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
        async for group in arrivals.groups():
            if group or not self._begun:
                await run_sync(self._store_group, scope, group)
                self._begun = True
                self._news.set()
        counts = self._stream.counts
        digest = f"sha256:{arrivals.digest.hexdigest()}"
        end = {"counts": in_order(counts), "facts": facts_document(self._stream.facts), "lines": counts.total()}
        await run_sync(lambda: self._write(end | {"digest": digest} | self._more()))
        self._end(complete=True)

    def _store_group(self, scope: Scope, group: Sequence[Line]) -> None:
        outcomes = self._stream.store(group)
        count_refused(scope, (outcome.error for outcome in outcomes))
        self._write(
            *({**item_document(outcome), "line": line.number} for outcome, line in zip(outcomes, group, strict=True))
        )

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
        if self._complete:
            await send({"type": "http.response.body", "body": b""})
