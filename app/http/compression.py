"""Answers of text, from a thousand bytes on, are sent as gzip to clients that take it.

The compressed form has an ETag of its own: that of the plain one with `-gzip` inside the quotes. A client sends back
the one that it got; the routes see the plain one. The 304 to `If-None-Match: *` names the plain one, because it has no
body whose size would decide. The same answer gives the same bytes, in both forms.

A file that is sent while it is computed is compressed part by part. Left as they are: what else is sent in parts, such
as events and the outcomes of lines; what has a coding already; files that are compressed by themselves; and answers
that hold a secret beside what a request can choose: a session, and a page for a request with a cookie, which has the
token of the session. The size of the compressed form could give the secret away, letter by letter (BREACH).

A large answer is compressed in a thread. The compressed form is not kept, so that an erasure need not look for it.
"""

import gzip
import re
import zlib
from collections.abc import Iterable
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.addresses import path_of

SMALLEST = 1_000
IN_A_THREAD = 32_768
"""From so many bytes on, an answer is compressed in a thread: what is smaller takes a millisecond."""
LEVEL = 5
_GZIP = 31
"""The form that zlib calls so: the longest window, and the head and the end of gzip."""
_TEXT = re.compile(r"text/(?!event-stream)[\w.+-]+|application/([\w.-]+\+)?(json|yaml|xml)|image/svg\+xml")
_PART = re.compile(r"([\w*-]+)(?: *; *q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?", re.ASCII | re.IGNORECASE)
_SUFFIX = re.compile(rb'-gzip"')
_SECRETS = "/v1/session"


class Compression:
    """Compresses what the layers below it answer: the routes, and other representations of their answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._threads: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope)
        wanted = takes_gzip(",".join(given.getlist("accept-encoding")))
        known = ",".join(given.getlist("if-none-match"))
        scope["headers"] = _plain_tags(scope["headers"], wanted=wanted)
        held: Message | None = None
        parts: Parts | None = None

        async def sending(message: Message) -> None:
            nonlocal held, parts
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                if message["status"] == 304 and wanted and (tag := _compressed_tag(headers)) and tag in known:
                    headers["ETag"] = tag
                    headers.add_vary_header("Accept-Encoding")
                if _may_be_compressed(scope, headers):
                    held = message
                    return
                if _is_in_parts(headers):
                    parts = Parts(message, wanted=wanted)
                    return
            elif parts is not None:
                for each in await parts.next(message):
                    await send(each)
                return
            elif held is not None:
                start, held = held, None
                message = await self.compressed(start, message, wanted=wanted)
                await send(start)
            await send(message)

        await self.app(scope, receive, sending)

    async def compressed(self, start: Message, message: Message, *, wanted: bool) -> Message:
        """The body, compressed if the client wants it so, and the headers of its answer changed accordingly."""
        body = message.get("body", b"")
        if message.get("more_body", False) or len(body) < SMALLEST:
            return message
        headers = MutableHeaders(raw=start["headers"])
        headers.add_vary_header("Accept-Encoding")
        if not wanted:
            return message
        if len(body) < IN_A_THREAD:
            body = _gzip(body)
        else:
            self._threads = self._threads or CapacityLimiter(2)
            body = await run_sync(_gzip, body, limiter=self._threads)
        headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
        if "etag" in headers:
            headers["ETag"] = _compressed_tag(headers)
        return {**message, "body": body}


class Parts:
    """A file that is sent in parts, compressed part by part: the same bytes as those of the whole file."""

    def __init__(self, start: Message, *, wanted: bool) -> None:
        self._start: Message | None = start
        self._wanted = wanted
        self._first = b""
        self._coder: Any = None

    async def next(self, message: Message) -> list[Message]:
        """The messages to send after the next part has arrived."""
        body, more = message.get("body", b""), message.get("more_body", False)
        messages: list[Message] = []
        if self._start is not None:
            body = self._first = self._first + body
            if more and len(body) < SMALLEST:
                return []
            start, self._start = self._start, None
            messages.append(start)
            if len(body) >= SMALLEST:
                headers = MutableHeaders(raw=start["headers"])
                headers.add_vary_header("Accept-Encoding")
                if self._wanted:
                    headers["Content-Encoding"] = "gzip"
                    headers["ETag"] = _compressed_tag(headers)
                    self._coder = zlib.compressobj(LEVEL, wbits=_GZIP)
        if self._coder is not None:
            body = await run_sync(self._compressed, body, more)
        if body or not more:
            messages.append({"type": "http.response.body", "body": body, "more_body": more})
        return messages

    def _compressed(self, body: bytes, more: bool) -> bytes:
        compressed: bytes = self._coder.compress(body)
        return compressed if more else compressed + self._coder.flush()


def takes_gzip(accepted: str) -> bool:
    """Whether a client takes gzip, and likes it as much as the plain form."""
    parts = [match for part in accepted.split(",") if (match := _PART.fullmatch(part.strip())) is not None]
    weights = {match[1].lower(): float(match[2] or 1) for match in parts}
    gzipped = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzipped > 0 and gzipped >= weights.get("identity", 0.0)


def _is_in_parts(headers: Headers) -> bool:
    """Whether an answer is a file without a coding that is sent in parts."""
    is_whole = "content-length" in headers or "content-encoding" in headers
    return not is_whole and headers.get("content-type", "").startswith("text/csv")


def _may_be_compressed(scope: Scope, headers: Headers) -> bool:
    """Whether an answer is text without a coding that holds no secret."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "content-encoding" in headers or "content-length" not in headers or not _TEXT.fullmatch(media_type):
        return False
    if "accept-encoding" in headers.get("vary", "").lower():  # its route has chosen the coding
        return False
    in_session = media_type == "text/html" and "cookie" in Headers(scope=scope)
    return not in_session and "set-cookie" not in headers and path_of(scope) != _SECRETS


def _compressed_tag(headers: Headers) -> str:
    """The ETag of the compressed form. A weak one is that of both forms."""
    tag = headers.get("etag", "")
    return tag if tag.startswith("W/") or not tag.endswith('"') else f'{tag[:-1]}-gzip"'


def _plain_tags(headers: Iterable[tuple[bytes, bytes]], *, wanted: bool) -> list[tuple[bytes, bytes]]:
    """The headers of a request as the routes read them: tags of compressed forms are those of the plain ones. A client
    that does not take gzip has no form that is still the same.
    """
    tagged = {b"if-match", b"if-none-match"} if wanted else {b"if-match"}
    return [(name, _SUFFIX.sub(b'"', value) if name in tagged else value) for name, value in headers]


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)
