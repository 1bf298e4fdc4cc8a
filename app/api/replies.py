"""Answers as bytes: JSON that a person can read, too, with an ETag where a client may ask again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic_core import to_json

from app import SOFTWARE
from app.api.documentation import JSON
from app.api.pages import PINNED


def written(document: Any) -> bytes:  # noqa: ANN401 - whatever JSON can say
    """A document as JSON."""
    return to_json(document, indent=2) + b"\n"


def reply(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401
    """A JSON answer."""
    return Response(written(document), status, headers, JSON)


def tagged(body: bytes, tag: str, if_none_match: str | None, media_type: str = JSON) -> Response:
    """An answer with its ETag, or 304 where the client has it."""
    if matches(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, headers={"ETag": tag}, media_type=media_type)


def etag_from(*origin: Any) -> str:  # noqa: ANN401 - whatever JSON can say
    """The strong ETag of an answer that is computed from these: the same ones and software give the same bytes."""
    return f'"{hashlib.sha256(json.dumps([*origin, SOFTWARE]).encode()).hexdigest()[:32]}"'


def etag_of(body: bytes) -> str:
    """The strong ETag of a document by its bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether If-None-Match names this ETag (weak comparison, RFC 9110 section 13.1.2)."""
    named = [] if if_none_match is None else [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in named or tag in named


def address(request: Request, path: str) -> str:
    """An address of this service from the root of the host, so that it holds behind a proxy that renames the host."""
    return f"{request.scope.get('root_path', '')}{path}"


def page(request: Request, items: Sequence[Mapping[str, Any]], cursor: str | None) -> Response:
    """A page of a list; the next one is the same request with another cursor."""
    if cursor is None:
        return reply({"items": items, "next": None})
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in PINNED]
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    following = address(request, f"{path}?{urlencode([*kept, ('cursor', cursor)])}")
    return reply({"items": items, "next": following}, headers={"Link": f'<{following}>; rel="next"'})
