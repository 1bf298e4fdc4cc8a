"""One connection: how long a client may take for the head of a request, how large the head may be, and how many
connections there are.

Uvicorn begins to watch a request when its head is complete, and has no limit before that. This protocol adds the
limits to uvicorn's own. `serve` uses it; the command `uvicorn` takes no protocol of an application. Size and speed of
bodies are limits of `app.http.middleware`, whatever the server.

The clock of a head runs while the service waits for the client and no request is in work: from the connection, or from
the first byte after an answer, until a head is complete. So what arrives after an answer cannot hold a connection
either. The limit of size counts the bytes of a connection of which no head and no body came: it holds for heads, for
trailers, for the extensions of chunks and for empty lines.
"""

import asyncio
import json
from typing import ClassVar, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.errors import Busy, HeadersTooLarge, HeadTimeout, MalformedDocument, ServiceError
from app.http.middleware import HEADERS, LARGEST_HEADERS, LONGEST_ADDRESS
from app.http.problems import MEDIA_TYPE, RETRY_SECONDS, problem

LARGEST_HEAD = LONGEST_ADDRESS + LARGEST_HEADERS
LINGER_SECONDS = 1.0
"""How long a refused client may read its answer. If it still sends, a connection that is closed at once loses it."""


class HttpConnection(HttpToolsProtocol):
    """A connection with limits."""

    head_seconds: ClassVar[float] = 10.0
    most: ClassVar[int] = 400
    _clock: asyncio.TimerHandle | None = None
    _silent = 0
    """Number of bytes since the last progress."""
    _progress = False
    _in_head = True
    _refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse one connection too many."""
        super().connection_made(cast(asyncio.Transport, transport))
        if len(self.connections) > self.most:
            self._refuse(Busy("There are too many connections.", headers={"Retry-After": str(RETRY_SECONDS)}))
        else:
            self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what arrived."""
        if self._refused:
            return
        self._progress = False
        super().data_received(data)
        self._silent = 0 if self._progress else self._silent + len(data)
        if self.transport.is_closing():
            return
        if self._silent > LARGEST_HEAD:
            self._refuse(HeadersTooLarge(f"The head of a request may have at most {LARGEST_HEAD} bytes."))
        elif self._clock is None and self._is_idle():
            self._start_clock()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Trailers are not headers: they arrive after the checks."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._progress, self._in_head = True, False
        self._stop_clock()
        # The parser of addresses refuses one of 64 KiB without a word of why. The rest of one too long is not needed.
        self.url = self.url[: LONGEST_ADDRESS + 2]
        super().on_headers_complete()
        # The parser of addresses removes a host and a fragment. What was sent is checked, not what is left of it.
        self.scope["raw_path"] = self.root_path.encode() + self.url.partition(b"?")[0]
        if b"#" in self.url:
            self.scope["raw_path"] += b"#"

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._progress = True
        super().on_body(body)

    def on_response_complete(self) -> None:
        """An answer is sent. If a head has begun meanwhile, its time begins now."""
        super().on_response_complete()
        if self._silent and self._is_idle() and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._start_clock()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP with a problem document, as everything else."""
        self._refuse(MalformedDocument(msg))

    def _is_idle(self) -> bool:
        """Whether no request of this connection is in work."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _start_clock(self) -> None:
        self._clock = self.loop.call_later(self.head_seconds, self._late)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _late(self) -> None:
        self._clock = None
        if self.transport.is_closing() or not self._is_idle():
            return
        if self._silent:
            self._refuse(HeadTimeout())
        else:
            self.transport.close()

    def _refuse(self, error: ServiceError) -> None:
        """Answer, unless another answer is being sent, and close."""
        self._refused = True
        self._stop_clock()
        if not self._is_idle() or len(self.connections) > 2 * self.most:
            self.transport.abort()
            return
        body = json.dumps(problem(error).model_dump(mode="json"), indent=2).encode() + b"\n"
        headers = {
            **HEADERS,
            **error.headers,
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[error.status] + lines.encode() + b"\r\n" + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


def limited(head_seconds: float, most: int) -> type[HttpConnection]:
    """The protocol with these limits."""
    return type("HttpConnection", (HttpConnection,), {"head_seconds": head_seconds, "most": most})
