"""A request that is sent again, byte for byte, gets the answer of before from memory: in the event loop, not routed.

An answer to a question depends on the request, on the database and on nothing else. So it stands as long as nothing was
committed to the database (`store.changes`): no result has come, no person was erased, no key was revoked. All checks of
the request had an outcome that depends on its bytes alone, so that they are not done again. What belongs to each single
answer is done each time: the rate of the client is counted, the row of the audit is stored before the answer leaves,
the answer is counted and has its line in the log.

A route says that its answer is `repeatable`. Its caller must be known by an API key, or not at all: tokens and sessions
end by themselves. The answer is kept when it is given for the second time, so that only requests that do come again
cost a look at the database. An erasure drops what is kept of its study.
"""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from starlette.types import Message, Scope

from app.access.callers import Caller
from app.access.rates import RateState
from app.http.audit import ROWS, stored
from app.store.audit import AuditEntry
from app.store.changes import Mark

if TYPE_CHECKING:
    from app.http.state import AppState

REPEATABLE = "myoresponse.repeatable"
"""Where a route notes that its answer stands until the database changes."""
RATED = "myoresponse.rated"
"""Where the name is noted by which a request was counted."""
_BODY = frozenset({b"content-length", b"transfer-encoding"})
_ID = b"x-request-id"
_OVERHEAD = 1_000
"""Bytes of memory of what is kept, beside the bytes of request and answer."""

RequestKey = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Repeatable:
    """What a route says of its answer: the study that it is about, if any, and how often answers of that study had been
    dropped (`Answers.erasures`) before it was read.
    """

    study: str | None = None
    erasures: int = 0


@dataclass(frozen=True, slots=True)
class RepeatedAnswer:
    """An answer as it was sent, and what belongs to it each time. Without a `mark` it does not stand, and has no body:
    it was asked for once.
    """

    said: Repeatable
    mark: Mark | None
    route: str
    caller: Caller
    rated: str | None
    rows: tuple[AuditEntry, ...]
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    size: int

    def headers_now(self, request_id: str, rate: dict[str, str]) -> list[tuple[bytes, bytes]]:
        """Its headers, with the id of this request and what is left of the rate."""
        now = {name.lower().encode(): value.encode() for name, value in rate.items()}
        headers = [(name, now.get(name, value)) for name, value in self.headers] if now else [*self.headers]
        headers.append((_ID, request_id.encode()))
        return headers


def depends(said: Repeatable, caller: Caller) -> bool:
    """Whether an answer depends on the database."""
    return said.study is not None or caller.name is not None


class Repetition:
    """A GET request without a body: what was answered to it before, and what is kept of its answer now."""

    __slots__ = ("_body", "_key", "_mark", "_parts", "_start", "_state")

    def __init__(self, scope: Scope) -> None:
        self._state = cast("AppState", scope["state"]["app_state"])
        client = scope.get("client")
        self._key: RequestKey = (
            scope["path"],
            scope.get("raw_path"),
            scope["query_string"],
            scope.get("scheme"),
            tuple(scope.get("server") or ()),
            client and client[0],
            *[header for header in scope["headers"] if header[0] != _ID],
        )
        self._mark: Mark | None = None
        self._start: Message | None = None
        self._parts = 0
        self._body = b""

    async def before(self) -> RepeatedAnswer | None:
        """The answer of before, if it still stands."""
        known = self._state.answers.repeated(self._key)
        if known is None:
            return None
        if depends(known.said, known.caller):
            self._mark = await self._state.changes.mark()
            if self._mark is None or known.mark != self._mark:
                return None
        return known if time.time_ns() // 1000 < known.caller.ends_at else None

    def note(self, message: Message) -> None:
        """Note what is sent as the answer."""
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._parts += 1
            self._body = message.get("body", b"")

    def keep(self, scope: Scope) -> None:
        """Keep the answer that was noted, if its route has said that it may be repeated."""
        said: Repeatable | None = scope.get(REPEATABLE)
        start, caller = self._start, scope["state"].get("caller")
        if said is None or start is None or caller is None or self._parts != 1 or start["status"] not in {200, 304}:
            return
        if not caller.ends_at or any(name in _BODY for name, _ in scope["headers"]):
            return
        stands = self._mark is not None or not depends(said, caller)
        headers = tuple(header for header in start["headers"] if header[0] != _ID)
        body = self._body if stands else b""
        size = _OVERHEAD + len(body) + sum(len(name) + len(value) for name, value in scope["headers"])
        kept = RepeatedAnswer(
            said,
            self._mark,
            scope["route"].path,
            caller,
            scope.get(RATED),
            tuple(scope.get(ROWS, ())),
            start["status"],
            headers,
            body,
            size,
        )
        self._state.answers.keep_repeated(self._key, kept)

    async def audited(self, known: RepeatedAnswer, request_id: str) -> bool:
        """Store the rows of the answer that is sent again. Whether it may be sent."""
        if not known.rows:
            return True
        at = time.time_ns() // 1000
        rows = [replace(row, at=at, who=row.who._replace(request=request_id)) for row in known.rows]
        return await stored(self._state.trail, rows)

    def found(self, known: RepeatedAnswer) -> None:
        """Count that a kept answer was sent, as where a new one would be looked for."""
        if known.said.study is not None and known.status == 200:
            self._state.answers.hits += 1

    def counted(self, known: RepeatedAnswer) -> RateState | None:
        """The rate of the client after this request; `None` if it has no limit."""
        rates = self._state.rates
        return None if known.rated is None or rates is None else rates.count(known.rated)
