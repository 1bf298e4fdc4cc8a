"""A file that is sent while it is computed, so that nobody holds all of it in memory.

What is computed waits on the disk while the client reads more slowly. If the computing breaks after the first part, the
connection is closed without the end of the answer: with HTTP/1.1 its last chunk is missing, and a client that reads to
the end gets an error instead of a short file.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.errors import ServiceError
from app.http.spool import Spool
from app.settings import Settings

PART_BYTES = 1_000_000
SMALLEST = 32_768
"""From so many bytes on, a file is sent in parts; a smaller one has a Content-Length."""
log = logging.getLogger("myoresponse")


class FileInParts(Response):
    """The answer with a file. `compute` lets the function that it is given have each part, in a thread."""

    def __init__(
        self, compute: Callable[[Callable[[bytes], None]], Awaitable[None]], settings: Settings, media_type: str
    ) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._compute = compute
        self._settings = settings
        self._spool = Spool(settings.max_spool_bytes)
        self._reading = CapacityLimiter(1)  # all other threads may wait for room in such files
        self._room = threading.Condition()
        self._is_read = True
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._computing: asyncio.Future[None] | None = None

    async def begin(self) -> Response:
        """The answer: this one, or a whole one where the file is small. Raises what is raised before the first bytes
        can be sent.
        """
        self._computing = asyncio.ensure_future(self._compute(self._take))
        self._computing.add_done_callback(lambda _: self._news.set())
        try:
            while not self._computing.done() and self._spool.waiting < SMALLEST:
                await self._news.wait()
                self._news.clear()
            if self._computing.done():
                self._computing.result()
            self._news.set()
            if self._spool.waiting >= SMALLEST:
                return self
            whole = Response(self._spool.read(SMALLEST), media_type=self.media_type)
        except BaseException:
            await self._close()
            raise
        await self._close()
        return whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        leaving = asyncio.ensure_future(_has_gone(receive))
        only_head = scope.get("state", {}).get("only_head", False)
        sending = asyncio.ensure_future(self._send_head(send) if only_head else self._send(send))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except ServiceError as error:
            log.warning("event=file broken=%s", error.slug)
            raise ClientDisconnect from None  # the connection is closed without the end of the answer
        except TimeoutError:
            log.warning("event=file broken=unread")
            raise ClientDisconnect from None
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.gather(leaving, sending, return_exceptions=True)
            await self._close()

    async def _send_head(self, send: Send) -> None:
        """Send the head of the answer, and the first part, on which it depends; nothing more is computed."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._spool.read(PART_BYTES)})

    async def _send(self, send: Send) -> None:
        """Send the parts as fast as the client reads them, then the end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        computing = self._computing
        ended = computing is None
        while not ended:
            await self._news.wait()
            self._news.clear()
            ended = computing is not None and computing.done()  # read before the spool: nothing is left in it
            while part := await run_sync(self._spool.read, PART_BYTES, limiter=self._reading):
                async with asyncio.timeout(self._settings.body_timeout_seconds):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                with self._room:
                    self._room.notify()
        if computing is not None:
            computing.result()
        await send({"type": "http.response.body", "body": b""})

    def _take(self, part: bytes) -> None:
        with self._room:
            self._room.wait_for(lambda: not (self._spool.is_full and self._is_read))
            if self._is_read:
                self._spool.write(part)
        self._loop.call_soon_threadsafe(self._news.set)

    async def _close(self) -> None:
        with self._room:
            self._is_read = False
            self._room.notify()
        if self._computing is not None:
            self._computing.cancel()
            await asyncio.gather(self._computing, return_exceptions=True)
        self._spool.close()


async def _has_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
