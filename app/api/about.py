"""Routes about the service: its health, the description of the API, and the kinds of problems."""

import gzip
import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Path, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from app import SOFTWARE
from app.access.callers import STRANGER, Caller
from app.api.docs import PUBLIC
from app.errors import SENTENCES, Absent, Forbidden, NotFound
from app.http.authentication import CallerOf
from app.http.dependencies import IDENTIFIER, State
from app.http.metrics import MEDIA_TYPE as METRICS
from app.http.openapi import JSON, answers, openapi, openapi_yaml, reference, refuses
from app.http.problems import KINDS, ProblemCode, ProblemKind, ProblemKinds, kind_of, unknown_name
from app.http.repeated import REPEATABLE, Repeatable
from app.http.responses import matches, reply
from app.http.routing import Operations

health = Operations(tags=["service"])
"""The routes of the health checks and the metrics."""
router = APIRouter(tags=["service"])
Slug = Annotated[
    str,
    Path(max_length=64, pattern=IDENTIFIER, description="Last part of the `type` of a problem.", examples=["invalid"]),
]
_GZIP = re.compile(r"\bgzip\b(?! *; *q=0(\.0*)? *(,|$))", re.IGNORECASE)
"""Matches an Accept-Encoding that names gzip with a weight other than 0."""


class Health(BaseModel):
    """The health of the service."""

    status: Literal["alive", "ready"] = Field(description="`alive`, or `ready` to serve.", examples=["ready"])
    software: str | Absent = Field(
        default=None,
        description="Name and version of the service; absent for a caller without a key.",
        examples=[SOFTWARE],
        exclude_if=lambda value: value is None,
    )


@health.get(
    "/livez",
    operation_id="getLiveness",
    summary="Is the process alive?",
    responses={200: answers("It is alive.", reference(Health)), **refuses()},
)
async def livez(request: Request, caller: CallerOf) -> Response:
    """Answers while the process runs. The database is not checked."""
    request.scope[REPEATABLE] = Repeatable()
    return _health("alive", caller)


@health.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can the service serve?",
    responses={200: answers("It is ready.", reference(Health)), **refuses()},
)
async def readyz(state: State, caller: CallerOf) -> Response:
    """Answers 503 with the `cause` unless the database can be written to, keeps what it has confirmed, and has the
    tables of this version. This is tried at most once a second.
    """
    refusal = await state.readiness.refusal()
    if refusal is not None:
        raise type(refusal)() if caller is STRANGER else refusal
    return _health("ready", caller)


def _health(status: Literal["alive", "ready"], caller: Caller) -> Response:
    return reply(Health(status=status, software=None if caller is STRANGER else SOFTWARE))


@health.get("/metrics", include_in_schema=False)
async def metrics(request: Request, state: State, caller: CallerOf) -> Response:
    """The metrics of the service in the text format of Prometheus. They are about all studies."""
    if caller.studies is not None:
        raise Forbidden("Metrics are about all studies, and the key or token is for some.")
    return Response(await request.app.state.metrics.exposition(state), media_type=METRICS)


@router.get(
    "/problems",
    operation_id="listProblems",
    summary="List the kinds of problems",
    responses={200: answers("The kinds, and the codes inside them.", reference(ProblemKinds)), **refuses()},
)
async def list_problems() -> Response:
    """Every kind of refusal, and every code that `errors` can contain."""
    kinds = ProblemKinds(
        items=[kind_of(kind) for kind in KINDS.values()],
        codes=[ProblemCode(code=code, detail=sentence) for code, sentence in SENTENCES.items()],
    )
    return reply(kinds, headers=PUBLIC)


@router.get(
    "/problems/{slug}",
    operation_id="getProblem",
    summary="Read about a kind of problem",
    responses={200: answers("The kind.", reference(ProblemKind)), **refuses(NotFound)},
)
async def get_problem(slug: Slug) -> Response:
    """What the `type` of a problem means."""
    if slug not in KINDS:
        raise unknown_name(KINDS)
    return reply(kind_of(KINDS[slug]), headers=PUBLIC)


@router.get("/openapi.json", include_in_schema=False)
def openapi_as_json(request: Request) -> Response:
    """The description of the API as JSON without spaces."""
    return _description(request, JSON, lambda app: to_json(openapi(app)))


@router.get("/openapi.yaml", include_in_schema=False)
def openapi_as_yaml(request: Request) -> Response:
    """The description of the API as YAML."""
    return _description(request, "application/yaml", lambda app: openapi_yaml(app).encode())


def _description(request: Request, media_type: str, write: Callable[[FastAPI], bytes]) -> Response:
    """The description in one media type. It is written and compressed at the first request, then kept in memory."""
    descriptions: dict[str, dict[str, tuple[bytes, str]]] = request.app.state.descriptions
    if media_type not in descriptions:
        body = write(request.app)
        descriptions[media_type] = {
            coding: (content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
            for coding, content in (("gzip", gzip.compress(body, mtime=0)), ("identity", body))
        }
    coding = "gzip" if _GZIP.search(request.headers.get("accept-encoding", "")) else "identity"
    body, tag = descriptions[media_type][coding]
    headers = PUBLIC | {"ETag": tag, "Vary": "Accept-Encoding"}
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    if coding == "gzip":
        headers["Content-Encoding"] = coding
    return Response(body, headers=headers, media_type=media_type)


def install(app: FastAPI) -> None:
    """Add the routes of this module, but not the health checks."""
    app.state.descriptions = {}
    app.include_router(router)
