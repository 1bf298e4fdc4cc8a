"""What runs before and after each request: the access log, the headers of answers, the checks, cross-origin calls.

HEAD is answered as GET without a body.

The line in the access log holds the method, the template of the route, the status and the time taken; of a refusal
also its kind, and the codes of its faults with their counts. The address as it was sent is never written, because it
contains identifiers of patients.

Every answer is `Cache-Control: no-store` unless its route sets another value, which only documents about the service
do: data about patients must not stay on the disk of a reader. A program that keeps an answer itself sends its ETag in
If-None-Match; if the answer is still the same, it is not sent again.

A web page in a browser on this machine can reach a loopback service in two ways: by a host name of the page that is
made to point to this machine (DNS rebinding), and by a request to another origin. The check of the Host header stops
the first, the checks of the headers Origin and Sec-Fetch-Site the second.
"""

import asyncio
import io
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.admission import Admission
from app.access.budget import Budget, too_large
from app.errors import (
    AddressTooLong,
    BodyTimeout,
    Busy,
    Fault,
    FaultCode,
    ForeignOrigin,
    HeadersTooLarge,
    InvalidDocument,
    ServiceError,
    UnsupportedMediaType,
)
from app.http.addresses import check_address
from app.http.metrics import Metrics, Traffic
from app.http.openapi import NDJSON
from app.http.problems import refusal, unexpected
from app.http.repeated import Repetition
from app.log import counted, log_request, of_request
from app.readers.budget import ReadingTime, reading_time
from app.settings import Settings

LONGEST_ADDRESS = 8_192
LARGEST_HEADERS = 32_768
SLOWEST_BYTES_A_SECOND = 5_000
_BUDGET = "myoresponse.budget"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,64}")
LISTS = frozenset({b"accept", b"accept-encoding", b"content-encoding", b"if-match", b"if-none-match", b"prefer"})
"""Headers that are lists: they may have several lines."""
SINGLE = frozenset({b"content-length", b"idempotency-key", b"if-none-exist", b"transfer-encoding"})
"""Headers that have one value. Their readers refuse it if Authorization, Content-Type, Host or Origin stands twice."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def allow_stream(scope: Scope, most: int) -> None:
    """Allow a body of `most` bytes at any speed; each part must still arrive in time."""
    budget: Budget = scope[_BUDGET]
    budget.allow_stream(most)


class RequestGuard:
    """The first check of each request; it also turns each error of the application into an answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.admission = Admission(settings.max_bodies, settings.max_bytes_in_flight)
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

        place = None
        try:
            self.check(scope)
            headers = Headers(scope=scope)
            kind, length = headers.get("content-type", ""), headers.get("content-length", "0")
            most = self.settings.max_body_bytes
            place = self.admission.enter(min(int(length[:20]), most) if length.isdecimal() else 0)
            scope[_BUDGET] = budget = Budget(most, place, kind)
            reading_time.set(ReadingTime(self.settings.reading_seconds))
            await self.app(scope, self.limited(receive, budget), sending)
        except ClientDisconnect:
            return
        except Exception as error:
            answer = refusal(scope, error) if isinstance(error, ServiceError) else unexpected(scope, error)
            if not started:
                await answer(scope, receive, sending)
        except asyncio.CancelledError:
            if started:
                raise
            sent = "" if scope["method"] in SAFE_METHODS else " What was sent may be stored as a whole: send it again."
            stopped = Busy(f"The service has stopped before it had an answer.{sent}")
            await refusal(scope, stopped)(scope, receive, sending)
        finally:
            if place is not None:
                place.leave()

    def check(self, scope: Scope) -> None:
        """Refuse a request by its address and its headers."""
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_ADDRESS:
            raise AddressTooLong(f"An address may have at most {LONGEST_ADDRESS} bytes.")
        check_address(scope)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
            raise HeadersTooLarge(f"The headers may have at most {LARGEST_HEADERS} bytes.")
        scope["headers"] = each_once(scope["headers"])
        headers = Headers(scope=scope)
        host = self.checked_host(headers.getlist("host"))
        if scope["method"] not in SAFE_METHODS:
            self.check_origin(headers.getlist("origin"), host)
            self.check_page(headers, followed=False)
        else:
            document = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            self.check_page(headers, followed=document)
        check_form(headers.get("content-type", "").lower())
        length = headers.get("content-length", "0")
        # NDJSON may be stored while it arrives. For a route that does not, `limited` checks the size.
        lines = headers.get("content-type", "").strip().lower() == NDJSON
        most = self.settings.max_stream_bytes if lines else self.settings.max_body_bytes
        if length.isdecimal() and int(length[:20]) > most:
            raise too_large(most)

    def checked_host(self, given: list[str]) -> str:
        """The Host header, if it names this service; any port is accepted."""
        match = _HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
        if match is None or match["name"] not in self.host_names:
            raise ForeignOrigin("The Host header names no host of this service; see MYORESPONSE_ALLOWED_HOSTS.")
        return match[0]

    def check_origin(self, given: Iterable[str], host: str) -> None:
        """Refuse a change that a web page of another origin requests; programs send no Origin header."""
        own = {f"http://{host}", f"https://{host}"}
        if not own.union(self.settings.origins).issuperset(given):
            raise ForeignOrigin("The Origin header names no application that may write; see MYORESPONSE_CORS_ORIGINS.")

    def check_page(self, headers: Headers, *, followed: bool) -> None:
        """Refuse to be a part of a page of another origin: it could measure answers that it cannot read, or change
        something. Browsers say whose page it is. A link to a page of ours may be `followed`.
        """
        foreign = headers.get("sec-fetch-site") in {"cross-site", "same-site"}
        if foreign and not followed and headers.get("origin") not in self.settings.origins:
            raise ForeignOrigin("A page of another origin asks for this; see MYORESPONSE_CORS_ORIGINS.")

    def limited(self, receive: Receive, budget: Budget) -> Receive:
        """The same messages, with a limit of time while the body is incomplete; each part is charged to the budget.

        Each part must arrive in time. The whole body must arrive at `SLOWEST_BYTES_A_SECOND` or faster, so that a
        client that sends single bytes cannot use memory for ever. A stream needs memory for one line only; its speed
        is not checked. Any other body is one message, so that it is in memory once, and not also in parts.

        The `max_body_size` of FastAPI would answer in plain text.
        """
        complete = False
        patience, began = self.settings.body_timeout_seconds, time.monotonic()

        async def part() -> Message:
            nonlocal complete
            try:
                left = patience
                if budget.paced:
                    left += began + budget.size / SLOWEST_BYTES_A_SECOND - time.monotonic()
                async with asyncio.timeout(min(patience, max(left, 0))):
                    message = await receive()
            except TimeoutError:
                raise BodyTimeout(headers={"Connection": "close"}) from None
            complete = not message.get("more_body", False)
            budget.charge(message.get("body", b""), complete=complete)
            return message

        async def receiving() -> Message:
            if complete:
                return await receive()
            message = await part()
            if not budget.paced or not message.get("more_body", False):
                return message
            whole = io.BytesIO()
            whole.write(message["body"])
            while message.get("more_body", False):
                message = await part()
                whole.write(message.get("body", b""))
            return message if message["type"] == "http.disconnect" else {**message, "body": whole.getvalue()}

        return receiving


def check_form(kind: str) -> None:
    """Refuse a form that names a charset, which no browser does: some codecs need minutes for a field."""
    if kind.lstrip().startswith("multipart/") and "charset" in kind:
        raise UnsupportedMediaType("A form is read as UTF-8. Leave out its charset.")


def each_once(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers, each list in one line (RFC 9110 section 5.3), so that no reader sees a part of it.

    Raises `InvalidDocument` if a header that is read and is not a list stands twice.
    """
    lines: dict[bytes, bytes] = {}
    others: list[tuple[bytes, bytes]] = []
    repeated = set()
    for name, value in headers:
        if name in LISTS:
            lines[name] = lines[name] + b", " + value if name in lines else value
            continue
        if name in SINGLE and any(name == other for other, _ in others):
            repeated.add(name.decode())
        others.append((name, value))
    if repeated:
        raise InvalidDocument(faults=[Fault(f"/header/{name}", FaultCode.REPEATED_VALUE) for name in repeated])
    return [*others, *lines.items()]


class CrossOrigin(CORSMiddleware):
    """Allows cross-origin calls of the applications in the settings; a refused preflight gets a problem document."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(
            app,
            allow_origins=settings.origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
            allow_headers=(
                "Authorization",
                "Idempotency-Key",
                "If-Match",
                "If-None-Exist",
                "If-None-Match",
                "Prefer",
            ),
            expose_headers=(
                "Content-Disposition",
                "ETag",
                "Idempotent-Replayed",
                "Last-Modified",
                "Link",
                "Location",
                "Retry-After",
            ),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight; pass on every other request."""
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
    """The outermost layer: names each request, sets the headers of its answer, counts it and writes its line.

    `root_path` is the prefix that a proxy removes. The id of a request is that of its `X-Request-Id`, or a new one; it
    is in the header of the answer and in `request.state.request_id`.
    """

    def __init__(self, app: ASGIApp, root_path: str, metrics: Metrics) -> None:
        self.app = app
        self.root_path = root_path
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and write its line."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        method: str = scope["method"]
        repetition = Repetition(scope) if method == "GET" and "app_state" in scope.get("state", {}) else None
        if repetition is not None and await self.repeated(scope, repetition, send, began):
            return
        inner = dict(scope, root_path=self.root_path, method="GET" if method == "HEAD" else method)
        given = _given_id(scope)
        request_id = given or uuid.uuid4().hex
        inner["state"] = dict(scope.get("state", {}), request_id=request_id, only_head=method == "HEAD")
        status = 499  # the client left before there was an answer
        traffic = Traffic()

        async def receiving() -> Message:
            message = await receive()
            traffic.received += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
            elif method == "HEAD" and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            traffic.sent += len(message.get("body", b""))
            if repetition is not None:
                repetition.note(message)
            await send(message)

        with self.metrics.in_flight.track_inprogress(), of_request(request_id):
            try:
                await self.app(inner, receiving, sending)
                if repetition is not None:
                    repetition.keep(inner)
            finally:
                seconds = time.perf_counter() - began
                known = method if method in METHODS else "-"
                route = getattr(inner.get("route"), "path", "-")
                self.metrics.count(inner, route, known, status, seconds, traffic)
                _write_line(inner, known, route, status, seconds, request_id, given)

    async def repeated(self, scope: Scope, repetition: Repetition, send: Send, began: float) -> bool:
        """Send the answer of before, if the request was sent before and the answer stands. Whether it was sent."""
        known = await repetition.before()
        if known is None:
            return False
        given = _given_id(scope)
        request_id = given or uuid.uuid4().hex
        rate = repetition.counted(known)
        if rate is not None and not rate.allowed:
            return False  # it is refused where every request is
        self.metrics.in_flight.inc()
        try:
            if not await repetition.audited(known, request_id):
                return False
            headers = known.headers_now(request_id, {} if rate is None else rate.headers)
            await send({"type": "http.response.start", "status": known.status, "headers": headers})
            await send({"type": "http.response.body", "body": known.body})
        finally:
            self.metrics.in_flight.dec()
        repetition.found(known)
        seconds = time.perf_counter() - began
        self.metrics.count({}, known.route, "GET", known.status, seconds, Traffic(sent=len(known.body)))
        caller = {"state": {"caller": known.caller}}
        _write_line(caller, "GET", known.route, known.status, seconds, request_id, given)
        return True


def _given_id(scope: Scope) -> str | None:
    """The id that the client gives its request, if it is one word of harmless characters."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    return given[0].decode("ascii") if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else None


def _write_line(
    scope: Mapping[str, Any],
    method: str,
    route: str,
    status: int,
    seconds: float,
    request_id: str,
    given: str | None,
) -> None:
    parts = {"method": method, "route": route, "status": status, "ms": f"{seconds * 1000:.1f}"}
    more = {
        "problem": scope.get("myoresponse.problem"),
        "faults": counted(scope.get("myoresponse.faults", Counter())),
        "instance": scope.get("myoresponse.instance"),
        "cause": scope.get("myoresponse.cause"),
        "client": getattr(scope["state"].get("caller"), "name", None),
        "request_id": given,
    }
    parts |= {name: value for name, value in more.items() if value}
    log_request(parts, request_id, at_once=status >= 500)
