"""What clients that follow a study cost: `python -m tests.bench.live`."""

import json
import socket
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

from app.store.migrations import upgrade
from tests.bench.cohort import results_only
from tests.bench.loopback import process_seconds, put_study, request, server

CONNECTIONS = 200
MOST_GROWTH = 50_000_000
_STREAM = "/v1/studies/bench/changes/stream"
Row = tuple[str, str, str]


def live_connections(folder: Path, count: int = CONNECTIONS) -> list[Row]:
    """How much the server grows while so many clients follow a study and one revision is sent to all, how long that
    takes, and what they cost while nothing happens.
    """
    url = f"sqlite:///{folder / 'live.db'}"
    upgrade(url)
    with server(url) as (process, connection):
        put_study(connection)
        request(connection, "POST", "/v1/studies/bench/timelines", b"[" + results_only(0, series=True) + b"]")
        _follow(connection.port, 1)[0].close()
        rest = _resident(process)
        followers = _follow(connection.port, count)
        before = process_seconds(process)
        time.sleep(10)
        idle = (process_seconds(process) - before) / 10
        began = time.perf_counter()
        again = HTTPConnection("127.0.0.1", connection.port)
        request(again, "POST", "/v1/studies/bench/timelines", b"[" + results_only(1, series=True) + b"]")
        for follower in followers:
            _until(follower, b"event: revision\n")
        seconds = time.perf_counter() - began
        growth = _resident(process) - rest
        for follower in followers:
            follower.close()
    if growth >= MOST_GROWTH:
        raise SystemExit(f"{count} live connections cost {growth / 1e6:.0f} MB")
    return [
        (
            f"memory of {count} clients that follow a study, after a revision that all had in {seconds:.1f} s",
            f"the same server at rest ({rest / 1e6:.0f} MB)",
            f"{growth / 1e6:+.1f} MB; asked: under {MOST_GROWTH / 1e6:.0f} MB; {idle:.1%} of a processor without news",
        )
    ]


def _follow(port: int, count: int) -> list[socket.socket]:
    followers = []
    for _ in range(count):
        follower = socket.create_connection(("127.0.0.1", port), timeout=180)
        follower.sendall(f"GET {_STREAM} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        _until(follower, b"retry: ")
        followers.append(follower)
    return followers


def _until(follower: socket.socket, wanted: bytes) -> None:
    read = b""
    while wanted not in read:
        part = follower.recv(65_536)
        if not part:
            raise SystemExit(f"the stream has ended: {read[:500]!r}")
        read += part


def _resident(process: int) -> int:
    """The bytes of a process in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(live_connections(Path(name), *map(int, sys.argv[1:])), indent=1))
