"""A client that holds each answer against the description of the API, read strictly: status, media type, headers, and
a body in which each property is a declared one.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator, FormatChecker

from app.http.openapi import HEADERS, NDJSON, openapi
from app.main import create_app
from app.settings import Settings
from tests.satisfied import Check, Schemas

_SOMETIMES = {
    ("Link", 200),  # the last page has none
    *(("Retry-After", status) for status in (409, 503)),
    ("WWW-Authenticate", 403),
    ("Accept-Post", 415),  # the media type is read, its character set is not
}
"""Headers that are documented and may be absent."""
WRITTEN: defaultdict[str, dict[str, Any]] = defaultdict(dict)
"""The description of the API as it was first served below each root path; to write it takes the longest of all."""


class Documented(TestClient):
    """A client that fails where an answer is not one that the API description gives for the request. A page of an
    answer is none of the description's.
    """

    prefix = ""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.seen: set[tuple[str, str]] = set()
        """Operations with the statuses that they answered."""

    def request(self, method: str, url: Any, **more: Any) -> Any:
        """Send a request and hold its answer against the description."""
        answer = super().request(method, url, **more)
        asked = operation_of(answer.request.method, answer.request.url.path.removeprefix(self.prefix))
        if asked is not None and not answer.headers.get("content-type", "").startswith("text/html"):
            name, operation = asked
            self.seen.add((name, str(answer.status_code)))
            wrong = [f"{name}: {answer.status_code} {fault}" for fault in faults(operation, answer)]
            assert wrong == []
        return answer


@cache
def description() -> dict[str, Any]:
    """The description of the API, built once."""
    return openapi(create_app(Settings.model_construct()))


@cache
def _operations() -> list[tuple[re.Pattern[str], str, dict[str, Any]]]:
    """The operations of the API description by the pattern of their path. `_search` is never the identifier of a
    resource: it has a path of its own.
    """
    return [
        (re.compile(re.sub(r"\{\w+\}", "(?!_search$)[^/]+", path.replace("$", r"\$"))), path, operations)
        for path, operations in description()["paths"].items()
    ]


def operation_of(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The operation that a request asks for: its name and its description."""
    verb = "get" if method == "HEAD" else method.lower()
    for pattern, template, operations in _operations():
        if verb in operations and pattern.fullmatch(path):
            return f"{verb.upper()} {template}", operations[verb]
    return None


def faults(operation: dict[str, Any], answer: Any) -> Iterator[str]:
    """How an answer differs from what the description of its operation says."""
    status, headers = answer.status_code, answer.headers
    described = operation["responses"].get(str(status))
    if described is None:
        yield "is not documented"
        return
    if "$ref" in described:
        described = description()["components"]["responses"][described["$ref"].rpartition("/")[2]]
    fhir = operation["operationId"].startswith("fhir")
    for header in HEADERS:
        documented = header in described.get("headers", {})
        if header in headers and not documented and not (header == "RateLimit" or (header == "Link" and status >= 400)):
            yield f"has {header}, which is not documented"
        absent = (header, status) in _SOMETIMES or (fhir and status == 200)  # an OperationOutcome has no ETag
        if header not in headers and documented and not absent:
            yield f"has no {header}"
    yield from _faults_of_body(described.get("content", {}), answer)


def _faults_of_body(content: dict[str, Any], answer: Any) -> Iterator[str]:
    media_type, _, _ = answer.headers.get("content-type", "").partition(";")
    head = answer.request.method == "HEAD"
    bare = head or not content or answer.request.headers.get("prefer") == "return=minimal"
    if not media_type and not answer.content and bare:
        return
    if media_type not in content:
        yield f"is {media_type}, which is not documented"
    elif "json" in media_type and not head:
        schema = content[media_type]["schema"]
        text = json.dumps(schema)
        for line in answer.content.splitlines() if media_type == NDJSON else [answer.content]:
            value = json.loads(line)
            if not satisfied(text)(value):
                errors = list(validator(text).iter_errors(value))
                yield from (f"/{'/'.join(map(str, each.absolute_path))}: {each.message[:500]}" for each in errors)
                assert errors, "satisfied.py refuses what jsonschema accepts"


@cache
def satisfied(schema: str) -> Check:
    """What tells whether a value satisfies a schema of the description, which is given as JSON."""
    return schemas().check(json.loads(schema))


@cache
def schemas() -> Schemas:
    """The schemas of the description, closed, as functions."""
    return Schemas(strict())


@cache
def validator(schema: str) -> Draft202012Validator:
    """A validator of a schema of the description, which is given as JSON."""
    return Draft202012Validator(
        {**json.loads(schema), "components": {"schemas": strict()}}, format_checker=FormatChecker()
    )


@cache
def strict() -> Any:
    """The schemas of the description, closed: what they do not declare is not allowed."""
    return closed(description()["components"]["schemas"])


def closed(part: Any) -> Any:
    """A schema in which an object has no property that it does not declare."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    inner = {name: closed(each) for name, each in part.items()}
    if isinstance(part.get("properties"), dict) and part.get("type") == "object":
        inner.setdefault("additionalProperties", False)
    return inner
