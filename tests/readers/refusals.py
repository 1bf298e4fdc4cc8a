"""What a reader says when it refuses."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.errors import Fault, FaultCode, ServiceError
from tests.timeline.documents import LATEST

CLOSED = frozenset({
    FaultCode.UNKNOWN_VALUE, FaultCode.UNKNOWN_CODE, FaultCode.UNKNOWN_UNIT, FaultCode.MASS_UNIT,
    FaultCode.UNIT_MISMATCH, FaultCode.UNKNOWN_FIELD, FaultCode.UNKNOWN_COLUMN, FaultCode.UNKNOWN_PARAMETER,
    FaultCode.UNKNOWN_ENCODING, FaultCode.OUT_OF_RANGE, FaultCode.OFF_SCALE, FaultCode.TOO_LONG, FaultCode.TOO_SHORT,
    FaultCode.WRONG_TYPE, FaultCode.BAD_TEXT, FaultCode.BAD_TIME, FaultCode.NO_OFFSET, FaultCode.BAD_NUMBER,
})  # fmt: skip
"""The codes of places with a closed set, a range, a size or a form."""


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


def lacking(error: ServiceError) -> list[Fault]:
    """The faults of places with a closed set, a range or a form that do not say what is accepted."""
    return [fault for fault in error.faults if fault.code in CLOSED and fault.accepts is None]
