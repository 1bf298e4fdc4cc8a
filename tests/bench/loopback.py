"""A server process on loopback, spoken to as a client does, and what it costs."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def server(url: str) -> Iterator[tuple[int, HTTPConnection]]:
    """The process of a server on a database, at rest, and a connection to it."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.server", str(port), url], cwd=ROOT)
    try:
        await_first_answer(port)
        time.sleep(5)  # the statistics load in the background; their cost is no request's
        yield process.pid, HTTPConnection("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(30)


def put_study(connection: HTTPConnection) -> None:
    """Make the study that benchmarks post to."""
    body = json.dumps({"name": "bench", "protocol": "seed-2008"})
    request(connection, "PUT", "/v1/studies/bench", body.encode())


def cpu(process: int, connection: HTTPConnection, address: Callable[[bytes], str], bodies: list[bytes]) -> float:
    """Server CPU in milliseconds a request."""
    addresses = [address(body) for body in bodies]
    before = process_seconds(process)
    for to, body in zip(addresses, bodies, strict=True):
        request(connection, "POST", to, body)
    return (process_seconds(process) - before) / len(bodies) * 1e3


def process_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int, name: str) -> int:
    """Bytes of memory of a process, by their name in its status."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def request(connection: HTTPConnection, method: str, to: str, body: bytes) -> None:
    connection.request(method, to, body, {"content-type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 300:
        raise SystemExit(f"{method} {to}: {response.status} {answer[:300]!r}")


def await_first_answer(port: int) -> None:
    for _ in range(12_000):
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/livez")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.01)
    raise SystemExit("the server did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
