"""A service at another address than loopback: it prints one key once, and is closed to everybody without one."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest

from tests.api.test_server import LONGEST, here

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ENDED = "the process has ended"


@contextmanager
def process(url: str, *command: str, **settings: str) -> Iterator[list[str]]:
    """A service as a process, and the lines that it writes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MYORESPONSE_")}
    named = {f"MYORESPONSE_{name}": value for name, value in settings.items()}
    variables = kept | {"MYORESPONSE_DATABASE_URL": url, "PYTHONUNBUFFERED": "1"} | named
    started = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(chain(iter(started.stdout.readline, ""), [ENDED])))
    reader.start()
    try:
        yield lines
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(60)
        reader.join()
        started.stdout.close()


def wait_for(lines: list[str], pattern: str) -> re.Match[str]:
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        if found := re.search(pattern, "".join(lines)):
            return found
        if ENDED in lines:
            break
        time.sleep(0.02)
    raise AssertionError("".join(lines))


def status(port: int, path: str, key: str | None = None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


# Loopback is bound; `require_keys` makes it as closed as any other address.
def test_the_first_start_prints_one_key_once_and_the_service_is_closed_without_it(url):
    serve = ("-m", "app", "serve", "--port", "0")
    with process(url, *serve, REQUIRE_KEYS="true") as lines:
        port = int(wait_for(lines, r"http://127\.0\.0\.1:(\d+)/\S*/events")[1])
        key = wait_for(lines, r"KEY=(myo_\S+)")[1]
        assert "Every request needs an API key or a token.\n" in lines
        assert '  curl -H "Authorization: Bearer $KEY" http://127.0.0.1' in "".join(lines)
        assert (status(port, "/v1/studies"), status(port, "/v1/studies", key)) == (401, 200)
        assert status(port, "/livez") == 200
    assert sum(key in line for line in lines) == 1
    with process(url, *serve, REQUIRE_KEYS="true") as lines:
        port = int(wait_for(lines, r"http://127\.0\.0\.1:(\d+)/\S*/events")[1])
        assert status(port, "/v1/studies", key) == 200
    assert "myo_" not in "".join(lines)


def test_a_loopback_start_makes_no_key(url):
    with process(url, "-m", "app", "serve", "--port", "0") as lines:
        port = int(wait_for(lines, r"http://127\.0\.0\.1:(\d+)/\S*/events")[1])
        assert status(port, "/v1/studies") == 200
        assert "Programs on this machine need no key; every other request needs one.\n" in lines
    assert "myo_" not in "".join(lines)
    listed = here("keys", "list", DATABASE_URL=url)
    assert listed.stdout == "There are no keys.\n"


def test_a_bare_server_on_another_address_is_closed(url):
    """The launcher of somebody else: 127.0.0.1 is not asked, a forwarded request is."""
    with process(url, "-m", "uvicorn", "app.main:create_app", "--factory", "--port", "0", "--no-access-log") as lines:
        port = int(wait_for(lines, r"running on http://127\.0\.0\.1:(\d+)")[1])
        assert status(port, "/v1/studies") == 200
    with process(url, "-m", "uvicorn", "app.main:create_app", "--factory", "--port", "0", HOST="0.0.0.0") as lines:  # noqa: S104 - only a setting
        port = int(wait_for(lines, r"running on http://127\.0\.0\.1:(\d+)")[1])
        assert (status(port, "/v1/studies"), status(port, "/livez")) == (401, 200)
