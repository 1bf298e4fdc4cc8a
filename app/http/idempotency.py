"""`Idempotency-Key`: a request that is sent again with its key gets the first answer again, byte for byte.

It follows draft-ietf-httpapi-idempotency-key-header-07. A key is a structured-field string, so it stands in quotes. It
belongs to a client, a study and a route. Everything that the request writes is then one transaction, and its answer is
stored in the same transaction (`store.kept_answers`). A refusal that leaves nothing in the study is not kept: the same
key may be sent again with a corrected body. Neither is an answer 5xx.

A body of lines that is stored while it arrives takes no key: its lines are committed and answered in groups, so that
there is no single answer to repeat, and its items are never stored twice.
"""

import re
import threading
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from fastapi import Request, Response

from app.errors import Accepts, Conflict, Fault, FaultCode, InvalidDocument, MalformedDocument, NothingKept
from app.http.dependencies import IDENTIFIER, KEY_HEADER, ONE_TRANSACTION, media_type
from app.http.openapi import NDJSON
from app.http.problems import refusal
from app.http.routing import Operation
from app.http.state import AppState
from app.store.audit import answered_again
from app.store.kept_answers import KeptAnswer, KeyedRequest, KeyTaken, OneTransaction
from app.timeline.times import microseconds

Result = TypeVar("Result")
REPLAYED = "Idempotent-Replayed"
_KEY = re.compile(r'"((?:[ !#-\\[\]-~]|\\["\\]){1,255})"')
_FORM = Accepts(form='1 to 255 printable ASCII characters in quotes, for example a UUID: "8e03978e-40d5-43e8-bc93"')
_WRITES = frozenset({"POST", "PUT", "DELETE"})
_PART_OF_REQUEST = ("content-type", "accept", "prefer", "if-none-exist", "if-none-match", "if-match")
"""Headers that may change what a request does or how it is answered."""
_NOT_KEPT = frozenset({"content-length", "date"})


class _Running:
    """The keys of requests that this process is working on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: set[tuple[str, ...]] = set()

    def begin(self, key: tuple[str, ...]) -> bool:
        """Whether no other request has this key."""
        with self._lock:
            free = key not in self._keys
            self._keys.add(key)
            return free

    def end(self, key: tuple[str, ...]) -> None:
        """The request was answered."""
        with self._lock:
            self._keys.discard(key)


_running = _Running()


class KeyedRoute(Operation):
    """A route of a write that takes an `Idempotency-Key`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, around it the keeping of its answer."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            named = re.fullmatch(IDENTIFIER, request.path_params.get("study", ""))
            if request.method not in _WRITES or KEY_HEADER not in request.headers or not named:
                return await handle(request)
            work = _KeyedWork(request, self.path_format)
            request.scope[ONE_TRANSACTION] = work.begin
            try:
                return await work.kept(handle)
            finally:
                with anyio.CancelScope(shield=True):
                    await work.end()

        return handler


class _Answered(Exception):
    """The request was answered before; its handler does not run."""

    def __init__(self, answer: KeptAnswer) -> None:
        super().__init__()
        self.answer = answer


class _KeyedWork:
    """A request with a key. It begins when the handler asks for its database: then the caller is known and allowed."""

    def __init__(self, request: Request, route: str) -> None:
        self._request = request
        self._route = route
        self._running: tuple[str, ...] | None = None
        self._database: OneTransaction | None = None

    async def begin(self) -> OneTransaction:
        """The database of the handler. Raises `_Answered`, and what is wrong with the key."""
        keyed = await _keyed(self._request, self._route)
        name = (keyed.study, keyed.client, keyed.route, keyed.key)
        if not _running.begin(name):
            raise Conflict("A request with this Idempotency-Key is being processed.", headers={"Retry-After": "1"})
        self._running = name
        state: AppState = self._request.state.app_state
        database = OneTransaction(state.database, keyed)
        if (found := await _in_thread(database.found)) is not None:
            raise _Answered(found)
        self._database = database
        return database

    async def kept(self, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
        """The kept answer, or that of the handler, after it was stored with everything that the handler wrote."""
        try:
            try:
                response = await handle(self._request)
            except NothingKept as refused:  # what was set aside is stored
                response = refusal(self._request.scope, refused)
            database = self._database
            if database is not None and response.status_code < 500:
                await _in_thread(lambda: database.keep(_kept(response)))
        except _Answered as before:
            return _again(before.answer)
        except KeyTaken:
            await self._undo()
            found = None if self._database is None else await _in_thread(self._database.found)
            if found is None:
                raise Conflict("A request with this Idempotency-Key was processed just now.") from None
            return _again(found)
        return response

    async def end(self) -> None:
        """Undo what was not kept, and let the next request with the key begin."""
        await self._undo()
        if self._running is not None:
            _running.end(self._running)

    async def _undo(self) -> None:
        if self._database is not None:
            await _in_thread(self._database.undo)


async def _in_thread(work: Callable[[], Result]) -> Result:
    """The result of the work, in a thread that no other request waits in: they may wait for this transaction."""
    return await anyio.to_thread.run_sync(work, limiter=_limiter())


_LIMITER: RunVar[anyio.CapacityLimiter] = RunVar("idempotency")


def _limiter() -> anyio.CapacityLimiter:
    try:
        return _LIMITER.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(4)
        _LIMITER.set(limiter)
        return limiter


async def _keyed(request: Request, route: str) -> KeyedRequest:
    """The request with its key. Raises what is wrong with the header."""
    given = request.headers.getlist(KEY_HEADER)
    match = _KEY.fullmatch(given[0].strip()) if len(given) == 1 else None
    if match is None:
        raise MalformedDocument(faults=[Fault(f"/header/{KEY_HEADER}", FaultCode.MALFORMED, None, _FORM)])
    if _is_stream(request):
        why = "Lines that are stored while they arrive take no key: they may be sent again without one."
        raise InvalidDocument(faults=[Fault(f"/header/{KEY_HEADER}", FaultCode.UNSUPPORTED, why)])
    state: AppState = request.state.app_state
    caller = getattr(request.state, "caller", None)
    parts = [request.url.path.encode(), request.url.query.encode()]
    parts += [request.headers.get(name, "").encode() for name in _PART_OF_REQUEST]
    return KeyedRequest(
        study=request.path_params["study"],
        client=getattr(caller, "name", None) or "",
        route=route,
        key=match[1],
        content=(*parts, await request.body()),
        now=microseconds(datetime.now(UTC)),
        kept_for=round(state.settings.idempotency_hours * 3_600_000_000),
    )


def _is_stream(request: Request) -> bool:
    return media_type(request) == NDJSON and request.query_params.get("atomic") != "true"


def _kept(response: Response) -> KeptAnswer:
    headers = {name: value for name, value in response.headers.items() if name not in _NOT_KEPT}
    return KeptAnswer(response.status_code, headers, bytes(response.body))


def _again(kept: KeptAnswer) -> Response:
    if not kept.same:
        raise InvalidDocument(faults=[Fault(f"/header/{KEY_HEADER}", FaultCode.REUSED_KEY)])
    answered_again(kept.patients)
    headers: Mapping[str, str] = {**kept.headers, REPLAYED: "true"}
    return Response(kept.body, kept.status, dict(headers))
