"""The page `/docs/api`, to read the description of the API and to try it. It works without internet."""

import base64
import hashlib
import pathlib
from html import escape
from typing import Any

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from app.http.responses import address

router = APIRouter()
SCRIPTS = pathlib.Path(fastapi_offline.__file__).parent / "static"
PUBLIC = {"Cache-Control": "public, max-age=300"}
"""Headers of an answer that is about the service and not about patients."""

# Swagger UI resolves the references of the whole document before it shows the list, and again for each operation that
# is opened; each time takes seconds. Here it resolves only what an operation refers to.
_SCRIPT = """
let whole

const each = (object, change) =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [name, change(value)]))

const Quick = () => ({
  statePlugins: {spec: {wrapActions: {parseToJson: (original, system) => (text) => {
    whole = JSON.parse(text ?? system.specSelectors.specStr())
    const brief = ({tags, summary, operationId}) => ({tags, summary, operationId})
    const paths = each(whole.paths, (path) => each(path, brief))
    const {securitySchemes} = whole.components
    system.specActions.updateJsonSpec({...whole, paths, components: {securitySchemes}})
    return {}
  }}}},
  afterLoad(system) {
    const resolve = system.fn.resolveSubtree
    system.fn.resolveSubtree = (shown, path, options) => resolve(partOf(whole, path), path, options)
  },
})

function partOf(document, path) {
  const part = {openapi: document.openapi, info: document.info, paths: {}, components: {}}
  const copy = (steps) => {
    let from = document, to = part
    for (const step of steps.slice(0, -1)) {
      from = from?.[step]
      to = to[step] ??= {}
    }
    const last = steps.at(-1)
    if (from?.[last] === undefined || to[last] !== undefined) return
    to[last] = from[last]
    follow(from[last])
  }
  const follow = (value) => {
    if (value === null || typeof value !== "object") return
    if (typeof value.$ref === "string") copy(value.$ref.split("/").slice(1))
    Object.values(value).forEach(follow)
  }
  copy(path)
  return part
}

SwaggerUIBundle({
  url: document.getElementById("swagger-ui").dataset.description,
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: -1,
  showExtensions: true,
  showCommonExtensions: true,
  plugins: [Quick],
})
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{files}/swagger-ui.css">
<link rel="icon" href="{files}/favicon.png">
</head>
<body>
<div id="swagger-ui" data-description="{description}"></div>
<script src="{files}/swagger-ui-bundle.js"></script>
<script>{script}</script>
</body>
</html>
"""


def allowed_inline(text: str) -> str:
    """The source in a Content-Security-Policy that allows a script or a style inside a page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_POLICY = (
    f"default-src 'none'; script-src 'self' {allowed_inline(_SCRIPT)}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


@router.get("/docs/api", include_in_schema=False)
async def docs(request: Request) -> Response:
    """The page with the description."""
    page = _PAGE.format(
        title=escape(request.app.title),
        files=address(request, "/docs/files"),
        description=address(request, "/openapi.json"),
        script=_SCRIPT,
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - as the base class has it
        """A file that a browser may cache."""
        answer = super().file_response(*args, **kwargs)
        answer.headers.update(PUBLIC)
        return answer


def install(app: FastAPI) -> None:
    """Add the page and its files."""
    app.include_router(router)
    app.mount("/docs/files", _Files(directory=SCRIPTS), name="docs-files")
