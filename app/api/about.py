"""The service about itself: its health, its description, a page to read and try it, and the kinds of problems. No
internet is needed.
"""

import base64
import hashlib
import pathlib
import re
from typing import Annotated, Literal

import fastapi_offline
from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from app import SOFTWARE
from app.api.dependencies import IDENTIFIER, State
from app.api.documentation import answers, openapi, openapi_yaml, reference, refuses
from app.api.problems import KINDS, ProblemCode, ProblemKind, ProblemKinds, kind_of
from app.api.responses import address, reply
from app.errors import SENTENCES, Busy, NotFound

health = APIRouter(tags=["service"])
"""Whether the process lives, and whether it can serve."""
router = APIRouter(tags=["service"])
SCRIPTS = pathlib.Path(fastapi_offline.__file__).parent / "static"
PUBLIC = {"Cache-Control": "public, max-age=300"}
Slug = Annotated[
    str,
    Path(max_length=64, pattern=IDENTIFIER, description="Last part of the `type` of a problem.", examples=["invalid"]),
]
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


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
async def openapi_json(request: Request) -> Response:
    """The description of the API as JSON."""
    return reply(openapi(request.app), headers=PUBLIC)


@router.get("/openapi.yaml", include_in_schema=False)
def openapi_as_yaml(request: Request) -> Response:
    """The description of the API as YAML."""
    return Response(openapi_yaml(request.app), headers=PUBLIC, media_type="application/yaml")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """A page to read the description and to try it; everything on it comes from here."""
    page = get_swagger_ui_html(
        title=request.app.title,
        openapi_url=address(request, "/openapi.json"),
        swagger_js_url=address(request, "/docs/files/swagger-ui-bundle.js"),
        swagger_css_url=address(request, "/docs/files/swagger-ui.css"),
        swagger_favicon_url=address(request, "/docs/files/favicon.png"),
    )
    digests = [hashlib.sha256(script.encode()).digest() for script in _INLINE.findall(bytes(page.body).decode())]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'"
    )
    return page


def install(app: FastAPI) -> None:
    """Offer all of this."""
    app.include_router(router)
    app.mount("/docs/files", StaticFiles(directory=SCRIPTS), name="docs-files")
