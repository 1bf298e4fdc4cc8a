"""What happens around every request: its line in the log, the headers of its answer, HEAD as GET without a body.

The log line holds the method, the template of the route, the status and the time taken. An address as it was sent is
never written down: identifiers of patients are part of it.

Every answer is `Cache-Control: no-store` unless it says otherwise, and only documents about the service itself do:
what is about patients must not stay on the disk of whoever looked. An ETag is for programs that keep an answer
themselves; they send If-None-Match and are spared the body.
"""

import logging
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("myoresponse")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


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
