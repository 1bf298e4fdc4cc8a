"""The service about itself: its health, its description, a page to read and try it, and the kinds of problems. No
internet is needed.
"""

import gzip
import hashlib
import re
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Path, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from app import SOFTWARE
from app.api.docs import PUBLIC
from app.errors import SENTENCES, Busy, NotFound
from app.http.dependencies import IDENTIFIER, State
from app.http.openapi import JSON, answers, openapi, openapi_yaml, reference, refuses
from app.http.problems import KINDS, ProblemCode, ProblemKind, ProblemKinds, kind_of
from app.http.responses import matches, reply

health = APIRouter(tags=["service"])
"""Whether the process lives, and whether it can serve."""
router = APIRouter(tags=["service"])
Slug = Annotated[
    str,
    Path(max_length=64, pattern=IDENTIFIER, description="Last part of the `type` of a problem.", examples=["invalid"]),
]
_GZIP = re.compile(r"\bgzip\b(?! *; *q=0(\.0*)? *(,|$))", re.IGNORECASE)
"""That a client takes gzip: it is named, and not with the weight 0."""


class Health(BaseModel):
    """How the service is."""

    status: Literal["alive", "ready"] = Field(description="`alive`, or `ready` to serve.", examples=["ready"])
    software: str = Field(description="Name and version of the service.", examples=[SOFTWARE])


@health.get(
    "/livez",
    operation_id="getLiveness",
    summary="Is the process alive?",
    responses={200: answers("It is.", reference(Health)), **refuses()},
)
async def livez() -> Response:
    """Answers whenever the process can answer at all; neither the database nor any library is asked."""
    return reply({"status": "alive", "software": SOFTWARE})


@health.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can the service serve?",
    responses={200: answers("It can.", reference(Health)), **refuses()},
)
async def readyz(state: State) -> Response:
    """Answers 503 unless the database can be reached and has the tables of this version. Looked up once a second at
    most.
    """
    if not await state.readiness.is_ready():
        raise Busy("The database cannot be reached, or its tables are not those of this version.")
    return reply({"status": "ready", "software": SOFTWARE})


@router.get(
    "/problems",
    operation_id="listProblems",
    summary="List the kinds of problems",
    responses={200: answers("The kinds, and the codes inside them.", reference(ProblemKinds)), **refuses()},
)
async def list_problems() -> Response:
    """Every kind of refusal that any operation may give, and every code of `errors` in one."""
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
        raise NotFound
    return reply(kind_of(KINDS[slug]), headers=PUBLIC)


@router.get("/openapi.json", include_in_schema=False)
def openapi_as_json(request: Request) -> Response:
    """The description of the API as JSON, for programs and therefore without spaces."""
    return _described(request, JSON, lambda app: to_json(openapi(app)))


@router.get("/openapi.yaml", include_in_schema=False)
def openapi_as_yaml(request: Request) -> Response:
    """The description of the API as YAML."""
    return _described(request, "application/yaml", lambda app: openapi_yaml(app).encode())


def _described(request: Request, media_type: str, write: Callable[[FastAPI], bytes]) -> Response:
    """The description in one notation: written and compressed at the first request, then kept."""
    kept: dict[str, dict[str, tuple[bytes, str]]] = request.app.state.descriptions
    if media_type not in kept:
        body = write(request.app)
        kept[media_type] = {
            coding: (each, f'"{hashlib.sha256(each).hexdigest()[:32]}"')
            for coding, each in (("gzip", gzip.compress(body, mtime=0)), ("identity", body))
        }
    coding = "gzip" if _GZIP.search(request.headers.get("accept-encoding", "")) else "identity"
    body, tag = kept[media_type][coding]
    headers = PUBLIC | {"ETag": tag, "Vary": "Accept-Encoding"}
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    if coding == "gzip":
        headers["Content-Encoding"] = coding
    return Response(body, headers=headers, media_type=media_type)


def install(app: FastAPI) -> None:
    """Offer all of this."""
    app.state.descriptions = {}
    app.include_router(router)
