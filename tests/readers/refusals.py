"""What a reader says when it refuses."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.errors import ServiceError
from tests.timeline.documents import LATEST


def as_bytes(document: Any) -> bytes:
    """A document as a client sends it; bytes stay as they are."""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def refusal(read: Callable[..., Any], body: Any, *more: Any) -> ServiceError:
    """The refusal of a body."""
    with pytest.raises(ServiceError) as caught:
        read(as_bytes(body), *(more or (LATEST,)))
    return caught.value


def told(error: ServiceError) -> list[tuple[str, str]]:
    """The places and codes of a refusal."""
    return [(fault.pointer, fault.code.value) for fault in error.faults]


def all_text(error: ServiceError) -> str:
    """Everything of a refusal that could reach a client or a log."""
    return "\n".join([str(error), repr(error), error.detail or "", *map(repr, error.faults)])
