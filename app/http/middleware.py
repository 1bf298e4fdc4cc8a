"""What happens around every request: its line in the log, the headers of its answer, HEAD as GET without a body, and
who may ask. Until the service asks for keys, that is programs on this machine, and no web page of somebody else.

The log line holds the method, the template of the route, the status and the time taken. An address as it was sent is
never written down: identifiers of patients are part of it.

Every answer is `Cache-Control: no-store` unless it says otherwise, and only documents about the service itself do:
what is about patients must not stay on the disk of a reader. An ETag is for programs that keep an answer themselves;
they send If-None-Match and are spared the body.

A page that a browser on this machine shows can reach a loopback service in two ways: by a name of its own that it
lets point here (DNS rebinding), and by posting across origins. The first is stopped by the Host header, the second by
the Origin header.
"""

import asyncio
import logging
import re
import time
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import AddressTooLong, BodyTimeout, ForeignOrigin, HeadersTooLarge, ServiceError, TooLarge
from app.http.openapi import NDJSON
from app.http.problems import refusal, unexpected
from app.settings import Settings

LONGEST_ADDRESS = 8_192
LARGEST_HEADERS = 32_768
SLOWEST_BYTES_A_SECOND = 5_000
_ALLOWANCE = "myoresponse.allowance"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
log = logging.getLogger("myoresponse")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def objection_to_exposure(settings: Settings) -> str | None:
    """Why the service must not listen where the settings say, or `None` where it may."""
    if settings.listens_on_loopback or settings.allow_unauthenticated:
        return None
    return (
        "This version does not ask for keys: whoever reaches it reads and changes everything, so it listens on "
        "loopback only. Set MYORESPONSE_HOST=127.0.0.1, or, where something in front of it decides who may call, "
        "MYORESPONSE_ALLOW_UNAUTHENTICATED=true."
    )


@dataclass(slots=True)
class Allowance:
    """How large the body of a request may be, and whether it must keep a pace as a whole.

    A handler that stores a body while it arrives widens it before it reads.
    """

    most: int
    paced: bool = True


def allow_stream(scope: Scope, most: int) -> None:
    """Let the body of this request have `most` bytes and come as slowly as it likes, if it never stops for long."""
    allowance: Allowance = scope[_ALLOWANCE]
    allowance.most, allowance.paced = most, False


class RequestGuard:
    """Refuses a request that may not come in, and answers for every error of the application behind it."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.host_names = frozenset(name.lower() for name in settings.host_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self.check(scope)
            scope[_ALLOWANCE] = allowance = Allowance(self.settings.max_body_bytes)
            await self.app(scope, self.limited(receive, allowance), sending)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = refusal(scope, error) if isinstance(error, ServiceError) else unexpected(scope, error)
            if not started:
                await answer(scope, receive, sending)

    def check(self, scope: Scope) -> None:
        """Refuse a request by its head alone."""
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_ADDRESS:
            raise AddressTooLong
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
            raise HeadersTooLarge
        headers = Headers(scope=scope)
        host = self.checked_host(headers.getlist("host"))
        if scope["method"] not in SAFE_METHODS:
            self.check_origin(headers.getlist("origin"), host)
        length = headers.get("content-length", "0")
        # What has lines may be stored while it arrives; where it is not, it is counted as it arrives.
        lines = headers.get("content-type", "").strip().lower() == NDJSON
        most = self.settings.max_stream_bytes if lines else self.settings.max_body_bytes
        if length.isdecimal() and int(length[:20]) > most:
            raise TooLarge(headers={"Connection": "close"})

    def checked_host(self, given: list[str]) -> str:
        """The Host header, if it names this service; its port does not matter."""
        found = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
        if found is None or found["name"] not in self.host_names:
            raise ForeignOrigin("The Host header names no host of this service; see MYORESPONSE_ALLOWED_HOSTS.")
        return found[0]

    def check_origin(self, given: Iterable[str], host: str) -> None:
        """Refuse a change that a page of a foreign origin asks for; programs send no Origin."""
        own = {f"http://{host}", f"https://{host}"}
        if not own.union(self.settings.origins).issuperset(given):
            raise ForeignOrigin("The Origin header names no application that may write; see MYORESPONSE_CORS_ORIGINS.")

    def limited(self, receive: Receive, allowance: Allowance) -> Receive:
        """The same messages: waited for only so long while the body is incomplete, and only so many bytes of it.

        Each part must come in time, and the body as a whole at no less than a modem's pace, so that a client that
        sends a byte now and then holds nothing for ever. A stream holds a line at most; its pace is the sender's.

        FastAPI's own `max_body_size` would answer in plain text.
        """
        complete, size = False, 0
        patience, began = self.settings.body_timeout_seconds, time.monotonic()

        async def receiving() -> Message:
            nonlocal complete, size
            if complete:
                return await receive()
            try:
                left = patience
                if allowance.paced:
                    left += began + size / SLOWEST_BYTES_A_SECOND - time.monotonic()
                async with asyncio.timeout(min(patience, max(left, 0))):
                    message = await receive()
            except TimeoutError:
                raise BodyTimeout(headers={"Connection": "close"}) from None
            complete = not message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > allowance.most:
                raise TooLarge(headers={"Connection": "close"})
            return message

        return receiving


class CrossOrigin(CORSMiddleware):
    """Cross-origin calls of the applications in the settings; a preflight that fails is a problem document like any
    other.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(
            app,
            allow_origins=settings.origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
            allow_headers=("If-Match", "If-None-Exist", "If-None-Match", "Prefer"),
            expose_headers=("Content-Disposition", "ETag", "Last-Modified", "Link", "Location", "Retry-After"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight here, let everything else pass."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if scope["type"] == "http" and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self.preflight(scope, headers)(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def preflight(self, scope: Scope, headers: Headers) -> Response:
        """The answer to a preflight."""
        if "origin" not in headers:
            return refusal(scope, ForeignOrigin("A preflight names its origin."))
        answer = self.preflight_response(headers)
        if answer.status_code < 400:
            return Response(status_code=204, headers=dict(answer.headers) | {"content-length": "0"})
        refused = refusal(scope, ForeignOrigin("The origin, the method or a header of this preflight is not allowed."))
        refused.headers["Vary"] = answer.headers["Vary"]
        return refused


class AccessLog:
    """The outermost layer; `root_path` is the prefix that a proxy in front strips."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and write its line."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        asked: str = scope["method"]
        inner = dict(scope, root_path=self.root_path, method="GET" if asked == "HEAD" else asked)
        status = 499  # the client was gone before there was an answer

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            elif asked == "HEAD" and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self.app(inner, receive, sending)
        finally:
            _write_line(inner, asked, status, time.perf_counter() - began)


def _write_line(scope: MutableMapping[str, Any], method: str, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "-")
    instance = scope.get("myoresponse.instance")
    log.info(
        "event=request method=%s route=%s status=%d ms=%.1f%s",
        method if method in METHODS else "-",
        route,
        status,
        seconds * 1000,
        f" instance={instance}" if instance else "",
    )
