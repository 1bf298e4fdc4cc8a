"""The lines of the log: as text as they always were, as JSON with the same parts as fields, and never what was sent."""

import ast
import asyncio
import errno
import io
import json
import logging
import re
import sys
import threading
import time
from pathlib import Path

import pytest

from app.log import OURS, JsonLines, OwnLines, RequestLine, TextLines, log_to_stdout, of_request

ROOT = Path(__file__).parents[1]
log = logging.getLogger(OURS)


@pytest.fixture
def written(capsys):
    """Begin to log in a form; what was written since, as two texts. The loggers are left as they were."""
    root, hooks = logging.getLogger(), (threading.excepthook, sys.unraisablehook)
    before = (list(root.handlers), list(log.handlers), log.level, log.propagate)

    def begin(form):
        log_to_stdout(form)
        return capsys.readouterr

    yield begin
    root.handlers[:], log.handlers[:], log.level, log.propagate = before
    threading.excepthook, sys.unraisablehook = hooks


def test_a_line_as_text_is_the_line_as_it_was_written(written):
    read = written("text")
    with of_request("4711"):
        log.info("event=request method=%s status=%d ms=%.1f", "GET", 200, 1.25)
    line = read().out
    assert re.fullmatch(
        r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} level=INFO event=request method=GET status=200 ms=1.2\n", line
    )


def test_a_line_as_json_has_the_same_parts_as_fields_and_the_id_of_the_request(written):
    read = written("json")
    with of_request("4711"):
        log.warning("event=request route=%s status=%d ms=%.1f faults=a:2,b:1 why=%r", "/v1/{x}", 422, 8.0, "it is full")
    log.info("event=stop service=http")
    inside, outside = map(json.loads, read().out.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", inside.pop("time"))
    assert inside == {
        "level": "warning",
        "event": "request",
        "route": "/v1/{x}",
        "status": 422,
        "ms": 8.0,
        "faults": {"a": 2, "b": 1},
        "why": "it is full",
        "request_id": "4711",
    }
    assert "request_id" not in outside


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_of_the_server_keeps_its_text_and_one_of_another_library_does_not(written, form):
    read = written(form)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.\nsecond line")
    logging.getLogger("sqlalchemy.pool").warning("CANARY %s", "CANARY")
    captured = read()
    assert captured.out == ""
    server, pool = captured.err.splitlines()
    assert "Invalid HTTP request received. second line" in server
    assert "sqlalchemy.pool" in pool
    assert "CANARY" not in pool


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_written_by_its_type_and_place_wherever_it_ends(written, form):
    read = written(form)

    def fails():
        raise ValueError("CANARY")

    try:
        fails()
    except ValueError:
        logging.getLogger("uvicorn.error").exception("CANARY in ASGI application")
    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()

    async def forgotten():
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(fails), name="CANARY")
        await asyncio.wait([task])

    asyncio.run(forgotten())
    captured = read()
    text = captured.out + captured.err
    assert "CANARY" not in text
    assert text.count("ValueError") == 3, text
    assert text.count("test_log.py:") >= 3


def test_a_line_cannot_be_forged_by_a_value(written):
    read = written("json")
    log.info("event=request route=%s", '/a\nb"} {"event=forged')
    assert len(read().out.splitlines()) == 1


class FullDisk(io.StringIO):
    """A file that takes nothing while it is full."""

    full = True

    def write(self, text: str) -> int:
        """Write, or say that there is no room."""
        if self.full:
            raise OSError(errno.ENOSPC, "no room")
        return super().write(text)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_log_that_cannot_be_written_disturbs_nobody_and_goes_on_afterwards(at_once, capsys):
    handler = OwnLines(disk := FullDisk())
    handler.SECONDS = 0.01
    logger = logging.Logger("x")
    logger.addHandler(handler)
    line = RequestLine({"status": 200}, "4711", at_once=at_once)
    logger.handle(line)
    until = time.monotonic() + 10
    while "no room" not in capsys.readouterr().err and time.monotonic() < until:
        time.sleep(0.01)
    disk.full = False
    logger.handle(line)
    while not disk.getvalue() and time.monotonic() < until:
        time.sleep(0.01)
    assert "event=request status=200" in disk.getvalue()


def messages() -> list[tuple[str, str]]:
    """The file and the text of each line that the program logs; parts that are computed are `%s`."""
    found = []
    for path in sorted((ROOT / "app").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
                and node.func.attr in {"debug", "info", "warning", "error", "exception", "critical"}
            ):
                assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: the text is not a constant"
                found.append((path.name, node.args[0].value))
    return found


def test_each_line_that_the_program_logs_is_made_of_names_and_values():
    """So that a line as JSON loses no part of it. A `%s` at the end may hold further parts."""
    form = re.compile(r"event=[\w-]+( [\w-]+=(%[\w.]+|[\w.,:-]+))*(%s)*")
    assert len(messages()) > 10
    assert [each for each in messages() if not form.fullmatch(each[1])] == []


def test_both_forms_leave_out_the_texts_of_exceptions():
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "CANARY", None, (ValueError, ValueError("CANARY"), None))
    for form in (TextLines(), JsonLines()):
        assert "CANARY" not in form.format(record)
        assert "ValueError" in form.format(record)
