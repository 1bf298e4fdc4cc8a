"""Other representations of a JSON answer, at the same address: asked for by a suffix (`.html`) or by Accept.

`main` fills the table. What makes a representation asks this service for documents as every client does, with the key
or the session of the one who asked, so that it shows nothing that its reader may not read, and each answer that it
shows has its row in the audit. No endpoint knows of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

from fastapi import Response
from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.callers import STRANGER, Caller
from app.access.sessions import Session
from app.errors import ServiceError
from app.http.addresses import is_in_one_form, path_of
from app.http.audit import ROWS
from app.http.authentication import PART
from app.http.openapi import JSON
from app.http.problems import refusal, unexpected
from app.http.repeated import RATED, REPEATABLE, Repeatable
from app.http.responses import preferred
from app.http.state import AppState
from app.store.audit import AuditEntry

PROBLEM = "application/problem+json"
_ELSEWHERE = ("/fhir/", "/docs", "/pages/", "/openapi.", "/livez", "/readyz", "/metrics")
"""Addresses that have one representation only, or choose it themselves."""
LARGEST = 32_000_000
"""Greatest size of an answer that is shown, in bytes."""
EVENTS = "text/event-stream"
_LEFT_OUT = frozenset(
    {b"accept", b"accept-encoding", b"content-length", b"content-type", b"if-none-match", b"transfer-encoding"}
)
"""Headers of a request that its parts do not have."""


_ROUTED = frozenset({"route", "path_params", "endpoint", "fastapi"})
"""What the router notes in a request; its parts are routed anew."""


class NoDocument(Exception):
    """An answer that is a stream, or too large to be shown."""


@dataclass(frozen=True, slots=True)
class ServedDocument:
    """One answer of this service."""

    status: int
    headers: Headers
    body: bytes

    @property
    def tag(self) -> str | None:
        """Its ETag."""
        return self.headers.get("etag")

    @property
    def is_json(self) -> bool:
        """Whether it is JSON, a refusal included."""
        return self.headers.get("content-type", "").partition(";")[0] in {JSON, PROBLEM}

    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """Its content."""
        return from_json(self.body)


class Asked:
    """A request for a representation, and the way to ask this service for documents in its name."""

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, path: str, *, counted: bool = False) -> None:
        self.app = app
        self.scope = scope
        self.receive = receive
        self.path = path
        """The address of the document, without the suffix."""
        self.caller: Caller = STRANGER
        """Who asks; known after the first document."""
        self.session: Session | None = None
        self._counted = counted  # by the rate of the caller
        self._rated: str | None = None
        self._rows: list[AuditEntry] = []

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters."""
        return parse_qsl(self.scope["query_string"].decode(), keep_blank_values=True)

    @property
    def state(self) -> AppState:
        """The state of the application."""
        return cast(AppState, self.scope["state"]["app_state"])

    @property
    def root(self) -> str:
        """The prefix that a proxy removes."""
        return str(self.scope.get("root_path", ""))

    async def get(self, path: str, query: Sequence[tuple[str, str]] = (), tag: str | None = None) -> ServedDocument:
        """The document at an address; with the `tag` of a known one, 304 if it is still the same."""
        conditions = [] if tag is None else [(b"if-none-match", tag.encode())]
        return await self.send("GET", path, query, headers=conditions)

    async def send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> ServedDocument:
        """The answer to a request in the name of the one who asked."""
        kept = [(name, value) for name, value in self.scope["headers"] if name not in _LEFT_OUT]
        if body:
            kept.append((b"content-length", str(len(body)).encode()))
        accept = (b"accept", f"{JSON}, */*;q=0.1".encode())
        scope = {
            **{name: value for name, value in self.scope.items() if name not in _ROUTED},
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": urlencode(query).encode(),
            "headers": [*kept, accept, *headers],
            "state": {name: value for name, value in self.scope["state"].items() if name not in {"caller", "session"}},
            PART: self._counted,
        }
        self._counted = True
        answer = await _answer(self.app, scope, body, self.receive)
        if answer.status == 429:
            self._counted = False  # so that the next document is refused, too
        self.caller = scope["state"].get("caller", self.caller)
        self.session = scope["state"].get("session", self.session)
        self._rated = scope.get(RATED, self._rated)
        self._rows += scope.get(ROWS, ())
        if "route" in scope:
            self.scope.setdefault("route", scope["route"])  # for the log
        return answer

    def stands(self, study: str, erasures: int) -> None:
        """Note that the representation stands until the database changes, as the documents that it shows do: it is
        about this study, and was made after so many erasures.
        """
        self.scope.update({REPEATABLE: Repeatable(study, erasures), RATED: self._rated, ROWS: self._rows})
        self.scope["state"]["caller"] = self.caller


ORIGIN = "myoresponse.origin"
"""The address of the service as it is to be printed, where no Host header says it."""


def origin_of(scope: Scope) -> str:
    """The address of this service, as the reader named it."""
    if ORIGIN in scope:
        return str(scope[ORIGIN])
    host = Headers(scope=scope).get("host", "")
    return f"{scope.get('scheme', 'http')}://{host}{scope.get('root_path', '')}"


async def read_here(app: Starlette, origin: str, path: str, query: Sequence[tuple[str, str]]) -> ServedDocument:
    """The document at an address of an application that does not serve. `origin` is where it would be served."""
    async with app.router.lifespan_context(app) as state:
        scope = {
            "type": "http", "http_version": "1.1", "scheme": "http", "method": "GET", "root_path": "", "app": app,
            "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0),
            "query_string": b"", "path": path, "state": dict(state or {}), ORIGIN: origin,
        }  # fmt: skip
        return await Asked(app, scope, _never, path).send("GET", path, query)


async def _never() -> Message:
    """No message comes."""
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}


async def _answer(app: ASGIApp, scope: Scope, body: bytes, receive: Receive) -> ServedDocument:
    status, headers, parts, size = 0, Headers(), [b""], 0

    async def sending(message: Message) -> None:
        nonlocal status, headers, size
        if message["type"] == "http.response.start":
            status, headers = message["status"], Headers(raw=message["headers"])
        size += len(message.get("body", b""))
        if size > LARGEST or headers.get("content-type", "").startswith(EVENTS):
            raise ClientDisconnect  # ends what sends it
        parts.append(message.get("body", b""))

    await app(scope, _with_body(body, receive), sending)
    if size > LARGEST or headers.get("content-type", "").startswith(EVENTS):
        raise NoDocument
    if status == 0:
        raise ClientDisconnect  # the application gives up an answer that nobody waits for
    return ServedDocument(status, headers, b"".join(parts))


def _with_body(body: bytes, receive: Receive) -> Receive:
    """The messages of a request with this body, whose client may go away."""
    sent = False

    async def receiving() -> Message:
        nonlocal sent
        if sent:
            return await _left(receive)
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


async def _left(receive: Receive) -> Message:
    """The message that the client has gone."""
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message


Show = Callable[[Asked], Awaitable[Response]]
"""Makes the representation of the document at the address that is asked for."""


@dataclass(frozen=True, slots=True)
class Representation:
    """A media type, and what makes it of an answer."""

    media_type: str
    show: Show


class Representations:
    """Answers a request for a representation of the table, by its suffix or by Accept; passes on every other request.

    An answer that is no JSON, like a file, is passed on as it is.
    """

    def __init__(self, app: ASGIApp, table: Mapping[str, Representation]) -> None:
        self.app = app
        self.table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        wanted = self.wanted(scope) if scope["type"] == "http" else None
        if wanted is None:
            if scope["type"] == "http":
                asked = Asked(self.app, scope, _never, path_of(scope), counted=True)
                scope["state"] = {**scope.get("state", {}), "asked": asked}
            await self.app(scope, receive, send)
            return
        representation, path = wanted
        received = _shared(receive)
        asked = Asked(self.app, scope, received, path)
        scope["state"] = {**scope.get("state", {}), "asked": asked}  # for what is made of other documents itself
        try:
            answer = await representation.show(asked)
        except NoDocument:
            await self.app(scope, _with_body(b"", received), send)
            return
        except ClientDisconnect:
            return
        except Exception as error:  # this stands outside the guard, which answers the errors of the application
            answer = refusal(scope, error) if isinstance(error, ServiceError) else unexpected(scope, error)
        answer.headers["Vary"] = "Accept"
        await answer(scope, receive, send)

    def wanted(self, scope: Scope) -> tuple[Representation, str] | None:
        """The representation that a request asks for, and the address of the document without the suffix. An address
        in another form is left to the check of all requests, which refuses it: the parts would be asked for in the
        one form.
        """
        path = path_of(scope)
        if scope["method"] not in {"GET", "HEAD"} or path.startswith(_ELSEWHERE) or not is_in_one_form(scope):
            return None
        stem, dot, suffix = path.rpartition(".")
        if dot and suffix in self.table and stem:
            return self.table[suffix], stem
        offered = {JSON: None, **{each.media_type: each for each in self.table.values()}}
        accept = Headers(scope=scope).getlist("accept")
        named = ",".join(accept).lower()
        chosen = preferred(accept, tuple(offered)[::-1]) if path == "/" else preferred(accept, tuple(offered))
        if chosen is None or (path != "/" and chosen not in named):
            return None
        representation = offered[chosen]
        return None if representation is None else (representation, path)


def _shared(receive: Receive) -> Receive:
    """The messages of the client for several readers: the first one reads, and all learn that the client has gone."""
    gone: asyncio.Future[Message] | None = None

    async def receiving() -> Message:
        nonlocal gone
        if gone is None:
            gone = asyncio.ensure_future(_left(receive))
        return await asyncio.shield(gone)

    return receiving
