"""The service about itself: its description, a page to read and try it, and the kinds of problems. No internet is
needed.
"""

import base64
import hashlib
import pathlib
import re
from typing import Annotated

import fastapi_offline
from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles

from app.api.dependencies import IDENTIFIER
from app.api.documentation import answers, openapi, openapi_yaml, reference, refuses
from app.api.problems import KINDS, ProblemCode, ProblemKind, ProblemKinds, kind_of
from app.api.responses import address, reply
from app.errors import SENTENCES, NotFound

router = APIRouter(tags=["service"])
SCRIPTS = pathlib.Path(fastapi_offline.__file__).parent / "static"
PUBLIC = {"Cache-Control": "public, max-age=300"}
Slug = Annotated[
    str,
    Path(max_length=64, pattern=IDENTIFIER, description="Last part of the `type` of a problem.", examples=["invalid"]),
]
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


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
