"""The routes of the pages: their style and scripts, and the forms that work without a script.

A form asks this service for the same things as a program does, in the name of the one who sent it: what that needs, and
whether it was a page of ours that sent it, is checked there.
"""

import mimetypes
import re
from functools import cache
from typing import Annotated, cast

from fastapi import Form, Path, Request, Response

from app.errors import NotFound
from app.http.representations import Asked
from app.http.routing import Operations
from app.pages.site import FILES, file_digest

# The form that takes files reads them by itself.
router = Operations(include_in_schema=False)
_OWN_PLACE = re.compile(r"/(?!/)[!-\[\]-~]*")
"""An address of this host, as a header may hold it. Browsers read two slashes, or a backslash, as another host."""
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    return {
        file.name: (file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")
        for file in FILES.iterdir()
        if file.is_file()
    }


@router.get("/pages/files/{digest}/{name}")
async def page_file(digest: Annotated[str, Path()], name: Annotated[str, Path()]) -> Response:
    """The style of the pages, or a script."""
    if name not in _files() or digest != file_digest():
        raise NotFound("There is no such file.")
    body, media_type = _files()[name]
    return Response(body, headers=FOR_EVER, media_type=media_type)


Text = Annotated[str, Form(max_length=4_096)]


def asked_of(request: Request) -> Asked:
    """The way to ask this service in the name of the one who sent a form."""
    return cast(Asked, request.state.asked)


def see_other(request: Request, to: str) -> Response:
    """Go on to a page of this service."""
    safe = to if _OWN_PLACE.fullmatch(to) else "/"
    return Response(status_code=303, headers={"Location": safe if safe != "/" else f"{asked_of(request).root}/"})


def token_header(token: str) -> list[tuple[bytes, bytes]]:
    """The header that shows that a page of ours sent the form."""
    return [(b"x-csrf-token", token.encode("ascii", "ignore"))] if token else []


@router.post("/pages/sign-in")
async def sign_in(request: Request, key: Text, to: Text = "/") -> Response:
    """Begin a session with a key, and go on to the page that was asked for."""
    asked = asked_of(request)
    bearer = (b"authorization", b"Bearer " + key.strip().encode("ascii", "ignore"))
    begun = await asked.send("POST", "/v1/session", headers=[bearer])
    if begun.status != 201:
        return see_other(request, f"{asked.root}/?refused=key")
    answer = see_other(request, to)
    answer.headers["Set-Cookie"] = begun.headers["set-cookie"]
    return answer


@router.post("/pages/sign-out")
async def sign_out(request: Request, token: Text = "") -> Response:
    """End the session."""
    asked = asked_of(request)
    ended = await asked.send("DELETE", "/v1/session", headers=token_header(token))
    answer = see_other(request, f"{asked.root}/")
    if "set-cookie" in ended.headers:
        answer.headers["Set-Cookie"] = ended.headers["set-cookie"]
    return answer
