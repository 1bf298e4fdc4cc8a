"""Answers as bytes: JSON, ETags and conditional requests, lists in pages, and the media type that a client prefers.

A cursor says where the next page of a list begins, and at which revision the first page was read. Clients cannot
interpret it. Its signature covers the request (the list, the study, the filters), so that a cursor cannot be used in
another request, and nobody else can make one.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic_core import to_json

from app import ANSWERS, SOFTWARE, commit, libraries
from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument, NotAcceptable
from app.http.addresses import path_of
from app.http.openapi import JSON
from app.http.problems import unknown_name
from app.store.revisions import AsOf

PINNED = frozenset({"cursor", "revision", "as_of"})
"""The parameters that a cursor contains; the address of the next page leaves them out."""
_SIGNATURE_BYTES = 16
_RANGE = re.compile(r"([!#$%&'*+.^_`|~\w-]+)/([!#$%&'*+.^_`|~\w-]+)", re.ASCII)
_WEIGHT = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", re.ASCII | re.IGNORECASE)


def written(document: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A document as JSON."""
    return to_json(document, indent=2) + b"\n"


def reply(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401
    """A JSON answer."""
    return Response(written(document), status, headers, JSON)


def tagged(body: bytes, tag: str, if_none_match: str | None, media_type: str = JSON) -> Response:
    """An answer with its ETag, or 304 if the client has it."""
    if matches(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, headers={"ETag": tag}, media_type=media_type)


def etag_from(*origin: Any) -> str:  # noqa: ANN401 - any JSON
    """The strong ETag of an answer made from `origin`: the same software and packages give the same bytes."""
    made_by = [SOFTWARE, ANSWERS, libraries(), commit()]
    return f'"{hashlib.sha256(json.dumps([*origin, *made_by]).encode()).hexdigest()[:32]}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether If-None-Match names this ETag (weak comparison, RFC 9110 section 13.1.2)."""
    named = [] if if_none_match is None else [name.strip().removeprefix("W/") for name in if_none_match.split(",")]
    return "*" in named or tag in named


def address(request: Request, path: str) -> str:
    """An address of this service without the host, so that it is valid behind a proxy that renames the host."""
    return f"{request.scope.get('root_path', '')}{path}"


def page(request: Request, items: Sequence[Mapping[str, Any]], cursor: str | None) -> Response:
    """A page of a list; the next one is the same request with another cursor."""
    if cursor is None:
        return reply({"items": items, "next": None})
    following = next_page(request, cursor)
    return reply({"items": items, "next": following}, headers=link(following))


def next_page(request: Request, cursor: str) -> str:
    """The address of the next page of a list."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in PINNED]
    return address(request, f"{path_of(request.scope)}?{urlencode([*kept, ('cursor', cursor)])}")


def link(following: str) -> dict[str, str]:
    """The header that names the next page."""
    return {"Link": f'<{following}>; rel="next"'}


class Cursors:
    """Makes and reads cursors. All processes with the same key read each other's; `key` is called at the first one."""

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._load = key

    def sign(self, question: Sequence[str | None], position: Sequence[str | int]) -> str:
        """The cursor for a position in the list that answers `question`."""
        written = json.dumps(position, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._signature(question, written) + written).rstrip(b"=").decode()

    def read(self, question: Sequence[str | None], cursor: str) -> list[Any]:
        """The position in a cursor. Raises `MalformedDocument` if the cursor was not made for this question."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        signature, written = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(question, written)):
            fault = Fault(
                "/query/cursor", FaultCode.MALFORMED, "This cursor was not made by this service for this list."
            )
            raise MalformedDocument("Read the list again from its beginning, without a cursor.", [fault])
        position: list[Any] = json.loads(written)
        return position

    def walk(
        self, question: Sequence[str | None], at: AsOf, cursor: str | None, *, start: str | int | None
    ) -> tuple[AsOf, Any]:
        """The revision at which a list is read, and where its page begins: from the cursor, else `at` and `start`."""
        if cursor is None:
            return at, start
        if not at.latest:
            fault = Fault("/query/cursor", FaultCode.CONTRADICTION, "A cursor names its revision; do not name another.")
            raise InvalidDocument(faults=[fault])
        revision, position = self.read(question, cursor)
        return AsOf(revision), position

    @cached_property
    def _key(self) -> bytes:
        return self._load()

    def _signature(self, question: Sequence[str | None], written: bytes) -> bytes:
        signed = json.dumps(question, separators=(",", ":")).encode()
        return hmac.digest(self._key, signed + b"\n" + written, hashlib.sha256)[:_SIGNATURE_BYTES]


def preferred(accept: Sequence[str], offered: Sequence[str]) -> str | None:
    """The offered media type that a client prefers, of equal ones the first; `None` if it accepts none of them.

    `accept` holds the lines of the header Accept; without any, the first offered type is returned. Parts that cannot be
    read are ignored, and so are parameters other than the weight.
    """
    ranges = [read for part in ",".join(accept).split(",") if (read := _read(part)) is not None]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda offer: _weight(offer, ranges))
    return best if _weight(best, ranges) > 0 else None


def named_file(
    name: str, accept: Sequence[str], names: Collection[str], suffixes: Mapping[str, str], what: str
) -> tuple[str, str]:
    """The one of `names` and the media type that the last part of an address names: the suffix decides, else Accept.

    `suffixes` has the media types; `what` says what kind of thing it is. Raises `NotFound` with the known names, and
    `NotAcceptable`.
    """
    stem, dot, suffix = name.partition(".")
    if stem not in names or (dot and suffix not in suffixes):
        known = (*names, *(f"{each}.{ending}" for each in names for ending in suffixes))
        raise unknown_name(known, f"There is no {what} of this name.")
    media_type = suffixes[suffix] if dot else preferred(accept, tuple(suffixes.values()))
    if media_type is None:
        raise NotAcceptable(f"A {what} is {', '.join(suffixes.values())}.", headers={"Vary": "Accept"})
    return stem, media_type


def _read(part: str) -> tuple[str, float] | None:
    """A media range and its weight."""
    name, *parameters = (text.strip() for text in part.split(";"))
    if _RANGE.fullmatch(name) is None:
        return None
    weights = [match for text in parameters if (match := _WEIGHT.fullmatch(text)) is not None]
    return name.lower(), float(weights[0].group(1)) if weights else 1.0


def _weight(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The weight of the most specific range that a media type lies in."""
    kind = media_type.partition("/")[0]
    for pattern in (media_type, f"{kind}/*", "*/*"):
        weights = [weight for name, weight in ranges if name == pattern]
        if weights:
            return max(weights)
    return 0.0
