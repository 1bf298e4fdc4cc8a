"""What route functions receive: the state of the running application, and the checks that all requests share."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NoReturn, cast, get_origin

from anyio import CancelScope
from anyio.to_thread import run_sync
from fastapi import Depends, Header, Path, Query, Request
from fastapi.routing import APIRoute

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, ServiceError, UnsupportedMediaType
from app.http.openapi import JSON
from app.http.parameters import declared_parameters
from app.http.state import AppState
from app.readers.suggestions import PROPOSALS
from app.store.engine import Database
from app.store.rehearsal import rehearsal
from app.store.revisions import AsOf
from app.submission.intake import proposed_in_rehearsal
from app.timeline.times import CLOCK_SKEW, INSTANT_FORM, Moment, microseconds, read_time

IDENTIFIER = r"^[A-Za-z0-9.\-]*[A-Za-z0-9\-][A-Za-z0-9.\-]*$"
"""The identifiers of `timeline.document`, not of dots only: `.` and `..` have another meaning in an address."""
_JSON_TYPE = re.compile(r'application/json(?: *; *charset="?utf-8"?)?', re.IGNORECASE)


async def _state(request: Request) -> AppState:
    return cast(AppState, request.state.app_state)


async def _database(request: Request) -> Database:
    return cast(AppState, request.state.app_state).database


async def _now() -> int:
    return microseconds(datetime.now(UTC))


def latest(now: int) -> int:
    """The latest instant that a document received now may name."""
    return now + CLOCK_SKEW // timedelta(microseconds=1)


State = Annotated[AppState, Depends(_state)]


Store = Annotated[Database, Depends(_database)]
Flag = Literal["true", "false"]
Now = Annotated[int, Depends(_now)]
"""Microseconds since 1970, read once for each request."""

StudyId = Annotated[
    str, Path(max_length=64, pattern=IDENTIFIER, description="Identifier of the study.", examples=["demo"])
]
PatientId = Annotated[
    str, Path(max_length=64, pattern=IDENTIFIER, description="Pseudonym of the patient in the study.", examples=["P01"])
]
Limit = Annotated[int, Query(ge=1, le=500, description="Greatest number of items on a page.", examples=[100])]
Cursor = Annotated[
    str | None,
    Query(max_length=1_000, description="Where the page begins; copy it from `next`.", examples=["WzE2LCJQMTYiXQ"]),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="ETag of the version that this request is based on; 412 if there is a newer one.",
        examples=['"0b5a9c1e7f"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match",
        description="ETag of the answer that the client has; 304 if it is still the same.",
        examples=['"0b5a9c1e7f"'],
    ),
]
OnlyIfAbsent = Annotated[
    Literal["*"] | None, Header(alias="If-None-Match", description="`*`: only create, never replace.", examples=["*"])
]


KEY_HEADER = "Idempotency-Key"
ONE_TRANSACTION = "myoresponse.one_transaction"
"""Where the scope of a request with a key has the function that gives its database (`http.idempotency`)."""
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=KEY_HEADER,
        description="A new key for each request, in quotes. The same request with the same key gets its first answer "
        "again, for a day; another request with it is refused. Not for lines that are stored while they arrive.",
        examples=['"8e03978e-40d5-43e8-bc93-6894a57f9324"'],
    ),
]


async def _writing(
    request: Request,
    study: StudyId,
    _: IdempotencyKey = None,
    rehearse: Annotated[
        Flag,
        Query(description="`true`: the same answer, and nothing is stored.", examples=["true"]),
    ] = "false",
) -> Database:
    database = cast(AppState, request.state.app_state).database
    if rehearse == "true":  # FastAPI needs longer for a dependency that is a generator, also if it does nothing
        ends_with_request: AsyncExitStack = request.scope["fastapi_inner_astack"]
        return await ends_with_request.enter_async_context(_rehearsing(database, study))
    begin: Callable[[], Awaitable[Database]] | None = request.scope.get(ONE_TRANSACTION)
    return database if begin is None else await begin()


@asynccontextmanager
async def _rehearsing(database: Database, study: str) -> AsyncIterator[Database]:
    copied = rehearsal(database, study)
    copy = await run_sync(copied.__enter__)
    try:
        yield copy
    except ServiceError as refusal:
        proposed = await run_sync(proposed_in_rehearsal, copy, study)
        if proposed:
            refusal.members.setdefault(PROPOSALS, [each.document for each in proposed])
        raise
    finally:
        with CancelScope(shield=True):  # the copy is deleted, also if the client has gone
            await run_sync(copied.__exit__, None, None, None)


Writing = Annotated[Database, Depends(_writing)]
"""The database that a request writes to: in a rehearsal, a copy of the study. The refusal of a rehearsal has the
proposals of what the study could declare.
"""


async def _as_of(
    now: Now,
    revision: Annotated[
        int | None,
        Query(ge=0, le=2**53 - 1, description="Answer from the data and the protocol of this revision.", examples=[16]),
    ] = None,
    as_of: Annotated[
        str | None,
        Query(
            max_length=40,
            description="Answer from what had been received by this instant: RFC 3339 with an offset, not in the "
            "future. The `+` of an offset is `%2B` in an address; a space in its place is read as `+`.",
            examples=["2026-11-22T10:00:00Z"],
        ),
    ] = None,
) -> AsOf:
    if revision is not None and as_of is not None:
        raise InvalidDocument(
            faults=[Fault("/query/as_of", FaultCode.CONTRADICTION, "Give `revision` or `as_of`, not both.")]
        )
    if as_of is None:
        return AsOf(revision)
    moment = read_time(as_of.replace(" ", "+"), now)
    if isinstance(moment, Moment) and moment.instant is not None:
        return AsOf(received_by=moment.instant)
    code = moment if isinstance(moment, FaultCode) else FaultCode.NO_OFFSET
    future = "An answer can be given as of a past instant only." if code is FaultCode.FUTURE_TIME else None
    accepts = None if future else Accepts(form=INSTANT_FORM)
    raise InvalidDocument(faults=[Fault("/query/as_of", code, future, accepts)])


At = Annotated[AsOf, Depends(_as_of)]
"""The revision that a request asks for; the latest if it names none."""


async def only_known_parameters(request: Request) -> None:
    """Refuse a query parameter that the operation does not have, or one that is given twice and is not a list: neither
    may be ignored. An operation that never returns refuses the request whatever its parameters are.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    route = request.scope["route"]
    if not given or route.endpoint.__annotations__.get("return") is NoReturn:
        return
    known = known_parameters(route)
    faults = [
        Fault(f"/query/{name}", FaultCode.REPEATED_PARAMETER)
        for name, repeatable in known.items()
        if not repeatable and given.count(name) > 1
    ]
    if not known.keys() >= set(given):
        takes = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
        detail = f"This resource does not take a query parameter of this name. {takes}"
        accepts = Accepts(one_of=tuple(sorted(known))) if known else None
        faults.append(Fault("/query", FaultCode.UNKNOWN_PARAMETER, detail, accepts))
    if faults:
        raise InvalidDocument(faults=faults)


_KNOWN: dict[Callable[..., Any], dict[str, bool]] = {}


def known_parameters(route: APIRoute) -> dict[str, bool]:
    """The query parameters of an operation, as the API description lists them. The value says whether the parameter is
    declared as a list: then it may be given more than once.
    """
    known = _KNOWN.get(route.endpoint)
    if known is None:
        known = _KNOWN[route.endpoint] = {
            name: get_origin(field.annotation) is list
            for (where, name), field in declared_parameters(route.dependant)
            if where == "query"
        }
    return known


def body_of(*media_types: str) -> Callable[[Request], Awaitable[bytes]]:
    """A dependency that returns the bytes of a body that has one of these media types and no content coding."""
    accepted = {"Accept-Post": ", ".join(media_types), "Accept": ", ".join(media_types)}

    async def read(request: Request) -> bytes:
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType(
                "Send the body without a content coding.", headers=accepted | {"Accept-Encoding": "identity"}
            )
        if media_type(request) not in media_types:
            raise UnsupportedMediaType(f"Content-Type must be {' or '.join(media_types)}.", headers=accepted)
        return await request.body()

    return read


def media_type(request: Request) -> str | None:
    """The media type of the body in lower case, JSON without its charset; `None` unless exactly one is given."""
    given = request.headers.getlist("content-type")
    if len(given) != 1:
        return None
    return JSON if _JSON_TYPE.fullmatch(given[0].strip()) else given[0].strip().lower()


JsonBody = Annotated[bytes, Depends(body_of(JSON))]
