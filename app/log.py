"""The log of the service: one line for each event, without patients' data.

A line of ours is written as `log.info("event=request method=%s status=%d", ...)`: each part is a name, `=` and a value;
a value with spaces is quoted (`%r`). As text the line is printed as it is. As JSON each part becomes a field, and the
id of the request is added. Lines of other libraries are printed by the same two formatters. Their exceptions are
reduced to type and place, because the text of an exception may quote a patient's data; and their own text is kept only
if they are the server.

The line of a request may wait for a tenth of a second and is then written together with others. Every other line is
written at once, after those that wait, and so is the line of a request that failed.
"""

import json
import logging
import re
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

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
    own, others = OwnLines(sys.stdout), logging.StreamHandler(sys.stderr)
    for handler in (own, others):
        handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line has them
    log.addHandler(own)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger().addHandler(others)
    threading.excepthook = lambda raised: _uncaught("thread", raised.exc_value)
    sys.unraisablehook = lambda raised: _uncaught("unraisable", raised.exc_value)


class RequestLine(logging.LogRecord):
    """The line of a request. Unless it must be written `at_once`, it may wait for others."""

    def __init__(self, parts: Mapping[str, object], request_id: str, *, at_once: bool) -> None:
        text = "event=request " + " ".join([f"{name}={value}" for name, value in parts.items()])
        super().__init__(OURS, logging.INFO, "", 0, text, (), None)
        self.parts = parts
        self.request_id = request_id
        self.at_once = at_once


def log_request(parts: Mapping[str, object], request_id: str, *, at_once: bool) -> None:
    """Write the line of a request."""
    if log.isEnabledFor(logging.INFO):
        log.handle(RequestLine(parts, request_id, at_once=at_once))


class OwnLines(logging.StreamHandler[TextIO]):
    """Writes our lines. Those that may wait are written by a thread, and at the end of the process."""

    SECONDS = 0.1

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[str] = []
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or let it wait."""
        try:
            self._waiting.append(self.format(record) + self.terminator)
            if not isinstance(record, RequestLine) or record.at_once:
                self.flush()
            elif len(self._waiting) == 1:
                self._some.set()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._write_waiting, name="log", daemon=True)
                    self._thread.start()
        except Exception:  # as every handler does: logging itself says what is wrong
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        with self.lock or nullcontext():
            text, self._waiting = "".join(self._waiting), []
            if text:
                self.stream.write(text)
                super().flush()

    def _write_waiting(self) -> None:
        while self._some.wait():
            time.sleep(self.SECONDS)
            self._some.clear()
            try:
                self.flush()
            except Exception:  # the lines are lost, and nothing else is
                self.handleError(RequestLine({}, "", at_once=True))


class TextLines(logging.Formatter):
    """A line as text: `time=... level=INFO event=...`."""

    def __init__(self) -> None:
        super().__init__()
        self._time = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        second = int(record.created)
        if second != self._time[0]:
            self._time = second, f"{datetime.fromtimestamp(second).astimezone():%Y-%m-%dT%H:%M:%S%z}"
        text = record.getMessage()
        if record.name != OURS:
            text = " ".join(f"{name}={value}" for name, value in _of_others(record, text).items())
        return f"time={self._time[1]} level={record.levelname} {text}"


class JsonLines(ProcessorFormatter):
    """A line as JSON, with the id of the request."""

    def __init__(self) -> None:
        super().__init__(foreign_pre_chain=[merge_contextvars, _fields], processors=[JSONRenderer()])

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record. That of a request has its fields already."""
        if not isinstance(record, RequestLine):
            return super().format(record)
        said = {name: _value(name, str(value)) for name, value in record.parts.items()}
        return json.dumps({**_head(record), "event": "request", **said, "request_id": record.request_id})


def _fields(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The fields of a line. `event` holds the record and what is known of the request."""
    record: logging.LogRecord = event["_record"]
    text: str = event["event"]
    known = {"request_id": event["request_id"]} if "request_id" in event else {}
    if record.name == OURS:
        said = {name: _value(name, text) for name, text in _PART.findall(text)}
    else:
        said = _of_others(record, text)
    return {**_head(record), **said, **known}


def _head(record: logging.LogRecord) -> dict[str, str]:
    at = datetime.fromtimestamp(record.created, UTC)
    return {"time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z", "level": record.levelname.lower()}


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
