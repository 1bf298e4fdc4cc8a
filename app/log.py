"""The log of the service: one line for each event, without patients' data.

A line of ours is written as `log.info("event=request method=%s status=%d", ...)`: each part is a name, `=` and a value;
a value with spaces is quoted (`%r`). As text the line is printed as it is. As JSON each part becomes a field, and the
id of the request is added. Lines of other libraries are printed by the same two formatters. Their exceptions are
reduced to type and place, because the text of an exception may quote a patient's data; and their own text is kept only
if they are the server.
"""

import logging
import re
import sys
import threading
import traceback
from collections import Counter
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Literal

from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.processors import JSONRenderer
from structlog.stdlib import ProcessorFormatter

LogForm = Literal["text", "json"]
"""How lines are written."""
OURS = "myoresponse"
_SERVER = "uvicorn.error"
_PART = re.compile(r"""([\w-]+)=('[^']*'|"[^"]*"|\S*)""")
_INTEGER, _DECIMAL = re.compile(r"-?\d{1,15}"), re.compile(r"-?\d{1,15}\.\d+")
log = logging.getLogger(OURS)


def log_to_stdout(form: LogForm = "text") -> None:
    """Write one line for each event: our own to the standard output, those of other libraries to the standard error.

    Exceptions that end a thread, or that nobody can catch, are written in the same way.
    """
    own, others = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    for handler in (own, others):
        handler.setFormatter(_json() if form == "json" else TextLines())
    log.addHandler(own)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger().addHandler(others)
    threading.excepthook = lambda raised: _uncaught("thread", raised.exc_value)
    sys.unraisablehook = lambda raised: _uncaught("unraisable", raised.exc_value)


class TextLines(logging.Formatter):
    """A line as text: `time=... level=INFO event=...`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        at = datetime.fromtimestamp(record.created).astimezone()
        text = record.getMessage()
        if record.name != OURS:
            text = " ".join(f"{name}={value}" for name, value in _of_others(record, text).items())
        return f"time={at:%Y-%m-%dT%H:%M:%S%z} level={record.levelname} {text}"


def _json() -> logging.Formatter:
    """A line as JSON, with the id of the request."""
    return ProcessorFormatter(foreign_pre_chain=[merge_contextvars, _fields], processors=[JSONRenderer()])


def _fields(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The fields of a line. `event` holds the record and what is known of the request."""
    record: logging.LogRecord = event["_record"]
    text: str = event["event"]
    known = {"request_id": event["request_id"]} if "request_id" in event else {}
    if record.name == OURS:
        said = {name: _value(name, text) for name, text in _PART.findall(text)}
    else:
        said = _of_others(record, text)
    at = datetime.fromtimestamp(record.created, UTC)
    return {"time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z", "level": record.levelname.lower(), **said, **known}


def _value(name: str, text: str) -> Any:  # noqa: ANN401 - JSON
    """A value for JSON: a number, the counts of fault codes, or a text."""
    if name == "faults":
        return {code: int(count) for code, _, count in (each.rpartition(":") for each in text.split(",")) if code}
    if text[:1] in {"'", '"'}:
        return text.strip(text[0])
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _of_others(record: logging.LogRecord, text: str) -> dict[str, Any]:
    """What is kept of a line of another library. The text of any but the server may quote what was sent."""
    said: dict[str, Any] = {"event": "other", "logger": record.name, "line": f"{record.module}:{record.lineno}"}
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        said |= {"type": type(error).__name__, "at": places(error)}
    elif record.name == _SERVER:
        said["text"] = " ".join(text.split())
    return said


def _uncaught(where: str, error: BaseException | None) -> None:
    if error is not None:
        log.error("event=failure type=%s at=%s where=%s", type(error).__name__, places(error), where)


def of_request(request_id: str) -> AbstractContextManager[None]:
    """Within the block, each line as JSON has this id of a request."""
    return bound_contextvars(request_id=request_id)


def switched(on: bool) -> str:
    """`on` or `off`."""
    return "on" if on else "off"


def counted(codes: Counter[str]) -> str:
    """Codes with their counts, the most frequent first: `unknown_unit:2,missing:1`."""
    return ",".join(f"{code}:{count}" for code, count in sorted(codes.items(), key=lambda each: (-each[1], each[0])))


def places(error: BaseException) -> str:
    """The files and lines of an exception, innermost first, without its message, which may contain data."""
    frames = traceback.extract_tb(error.__traceback__)
    return "<".join(f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}" for frame in reversed(frames))
