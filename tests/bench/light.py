"""What a cached answer, a 304 and a health check cost the server, against a bare Starlette app on the same uvicorn."""

import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from app.access.callers import Scope
from app.access.keys import ApiKeys
from app.store.engine import Database
from app.store.migrations import upgrade
from tests.bench.loopback import ROOT, await_first_answer, free_port, process_seconds

REQUESTS = 2_000
"""Requests of one measurement."""
CONNECTIONS = 8
"""Connections that send at the same time."""
PAIRS = 5
QUESTION = "/v1/studies/demo/analyses/response-rates"
BARE = (
    "import sys, uvicorn; from starlette.applications import Starlette; from starlette.responses import Response; "
    "from starlette.routing import Route\n"
    "async def answer(request): return Response(b'x' * int(request.path_params['size']), media_type='text/plain')\n"
    "uvicorn.run(Starlette(routes=[Route('/livez', lambda r: Response(b'')), Route('/size/{size}', answer)]), "
    "port=int(sys.argv[1]), log_level='warning', access_log=False)"
)


def cached_answers(folder: Path) -> list[tuple[str, str, str]]:
    """Server CPU of each, in pairs with a bare Starlette app that sends as many bytes."""
    url = f"sqlite:///{folder / 'light.db'}"
    upgrade(url)
    environment = os.environ | {"MYORESPONSE_DATABASE_URL": url, "MYORESPONSE_RATE": "1000000/second"}
    subprocess.run([sys.executable, "-m", "app", "demo"], env=environment, cwd=ROOT, check=True, capture_output=True)
    database = Database(url)
    key = ApiKeys(database).create("bench", list(Scope), now=1).text
    database.dispose()
    return list(measured(environment, key, folder))


def measured(environment: dict[str, str], key: str, folder: Path) -> Iterator[tuple[str, str, str]]:
    """The rows."""
    ours, theirs = free_port(), free_port()
    serve = [sys.executable, "-m", "app", "serve", "--port", str(ours)]
    bare = [sys.executable, "-c", BARE, str(theirs)]
    with (
        (folder / "light.log").open("w") as log,
        running(serve, ours, environment, log) as mine,
        running(bare, theirs, environment, log) as peer,
    ):
        tag, size = first_answer(ours)
        cases = {
            "`/livez`": ("/livez", {}, 0, 3),
            "cached answer": (QUESTION, {}, size, 8),
            "304": (QUESTION, {"If-None-Match": tag}, 0, 8),
            "cached answer, with an API key": (QUESTION, {"Authorization": f"Bearer {key}"}, size, 8),
            "304, with an API key": (QUESTION, {"Authorization": f"Bearer {key}", "If-None-Match": tag}, 0, 8),
        }
        for what, (path, headers, bytes_sent, asked) in cases.items():
            pairs = []
            cost(mine, ours, path, headers, 200)
            for _ in range(PAIRS):
                pairs.append((cost(mine, ours, path, headers), cost(peer, theirs, f"/size/{bytes_sent}", {})))
            ratio = statistics.median(one / other for one, other in pairs)
            ms, bare_ms = (statistics.median(side) for side in zip(*pairs, strict=True))
            yield (
                f"{what} ({ms:.3f} ms of server CPU, {bytes_sent:,} bytes)",
                f"a bare Starlette app on uvicorn ({bare_ms:.3f} ms)",
                f"{ratio:.1f}; asked: at most {asked}",
            )


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str], log: object) -> Iterator[int]:
    """The process of a server that answers."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)  # type: ignore[call-overload]
    try:
        await_first_answer(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def first_answer(port: int) -> tuple[str, int]:
    """The ETag and the size of the answer, which is kept from now on."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", QUESTION)
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, body[:300]
    json.loads(body)
    return response.headers["ETag"], len(body)


def cost(process: int, port: int, path: str, headers: dict[str, str], requests: int = REQUESTS) -> float:
    """Server CPU in milliseconds a request; several connections send together, and then all read."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    sent = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    files = [connection.makefile("rb", 1 << 17) for connection in connections]
    before = process_seconds(process)
    for _ in range(requests // CONNECTIONS):
        for connection in connections:
            connection.sendall(sent)
        for file in files:
            length, line = 0, file.readline()
            assert line.split()[1] in {b"200", b"304"}, line
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            file.read(length)
    spent = process_seconds(process) - before
    for connection in connections:
        connection.close()
    return spent / requests * 1e3
