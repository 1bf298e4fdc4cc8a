"""Several processes at one address, and the application below a server that somebody else starts."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.api.workers import bound
from app.settings import Settings
from tests.api.examples import timeline
from tests.api.test_server import LONGEST, ROOT, STOPPED, Process, begin, environment, running, with_demo

pytestmark = pytest.mark.slow
DEMO = "/v1/studies/demo"


def workers(server: Process) -> list[int]:
    """The processes that serve."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(each) for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def serving(url: str, **settings: str):
    return running(url, "-m", "app", "serve", "--workers", "2", **settings)


def what_one_worker_gives_the_others_accept(server: Process) -> None:
    """Cursors and ETags; each question is a connection of its own, so that any worker may take it."""
    tags, pages = set(), set()
    for _ in range(15):
        status, body = server.ask("GET", f"{DEMO}/patients?limit=2")
        following = json.loads(body)["next"]
        assert status == 200
        pages.add(following)
        assert server.ask("GET", following)[0] == 200
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{server.port}{DEMO}/patients/P01", timeout=30
        ) as answer:
            tags.add(answer.headers["ETag"])
    assert len(tags) == len(pages) == 1


def test_a_worker_that_dies_is_replaced_and_all_stop_if_their_parent_is_killed(sqlite_url):
    with serving(sqlite_url) as server:
        server.wait_for("event=start service=http", 2)
        before = workers(server)
        os.kill(before[0], signal.SIGKILL)
        server.wait_for("event=worker status=died exit=-9")
        with ExitStack() as stack:  # those that the system gives to the one that is gone wait for its successor
            asked = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 60)) for _ in range(16)]
            for each in asked:
                each.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            server.wait_for("event=start service=http", 3)
            assert {each.recv(15) for each in asked} == {b"HTTP/1.1 200 OK"}
        after = workers(server)
        assert len(after) == 2
        assert before[0] not in after
        assert server.ask("GET", "/livez")[0] == 200
        server.process.kill()
        until = time.monotonic() + 30
        while any(Path(f"/proc/{each}").exists() for each in after) and time.monotonic() < until:
            time.sleep(0.1)
        assert not any(Path(f"/proc/{each}").exists() for each in after)


def test_an_address_that_is_taken_is_said_in_a_line(sqlite_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "app", "serve", "--workers", "2", "--port", str(port)],
            cwd=ROOT, env=environment(sqlite_url), capture_output=True, text=True, timeout=LONGEST, check=False,
        )  # fmt: skip
    assert ended.returncode == 3
    assert ended.stderr.strip().endswith("ddress already in use.")


def test_connections_are_dealt_out_among_the_workers_and_no_other_program_gets_any():
    settings = Settings(host="127.0.0.1", port=0, workers=4)
    sockets = bound(settings)
    address = sockets[0].getsockname()
    with ExitStack() as stack:
        for each in sockets:
            stack.enter_context(each)
            assert each.getsockname() == address
        with pytest.raises(OSError, match="in use"):
            bound(settings.model_copy(update={"port": address[1]}))
        for _ in range(64):
            stack.enter_context(socket.create_connection(address, timeout=30))
        for each in sockets:  # none for one of four has a chance of 1e-8
            each.settimeout(30)
            stack.enter_context(each.accept()[0])


def test_an_erasure_in_one_process_reaches_the_answers_that_another_one_keeps(serve, migrated_url):
    first, second = serve(migrated_url), serve(migrated_url)
    home = "/v1/studies/trial"
    assert first.put(home, json={"name": "T", "protocol": "seed-2008"}).status_code == 201
    assert first.post(f"{home}/timelines", json=[timeline("P1"), timeline("P2")]).status_code == 200
    assert second.get(f"{home}/analyses/response-rates").status_code == 200
    kept = second.app_state["app_state"].answers
    assert kept.size > 0
    assert first.delete(f"{home}/patients/P1?erase=true").status_code == 204
    until = time.monotonic() + 20
    while kept.size and time.monotonic() < until:
        time.sleep(0.05)
    assert kept.size == 0


def test_a_bare_uvicorn_serves_local_programs_only_and_logs_no_patient(sqlite_url):
    with_demo(sqlite_url)
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--port", "0"],
        cwd=ROOT, env=environment(sqlite_url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    begun = ""
    try:
        while (listening := re.search(r"Uvicorn running on http://127\.0\.0\.1:(\d+)", begun)) is None:
            line = server.stdout.readline()
            assert line, begun
            begun += line
        port = int(listening[1])

        def raw(path: str, *headers: str) -> bytes:
            lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "Connection: close", "", ""]
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall("\r\n".join(lines).encode())
                return b"".join(iter(lambda: connection.recv(65536), b""))

        assert raw(f"{DEMO}/patients/P01").startswith(b"HTTP/1.1 200")
        assert raw(f"{DEMO}/patients/P01", "X-Forwarded-For: 192.0.2.1").startswith(b"HTTP/1.1 401")
        assert raw("/v1/studies/demo%2Fpatients%2FP01").startswith(b"HTTP/1.1 400")
    finally:
        server.terminate()
        written = begun + server.communicate(timeout=60)[0]
    assert "P01" not in written


def test_workers_give_the_same_tell_each_other_what_is_stored_and_finish_what_has_begun_before_they_stop(sqlite_url):
    """What one gives the others accept. Who follows a study hears of what another process stored. At the end a request
    that has begun is finished, and who follows is sent away in order.
    """
    with_demo(sqlite_url)
    with serving(sqlite_url) as server:
        server.wait_for("event=start service=http", 2)
        processes = workers(server)
        assert len(processes) == 2
        what_one_worker_gives_the_others_accept(server)
        latest = json.loads(server.ask("GET", DEMO)[1])["revision"]
        followers = []
        for _ in range(6):
            follower = socket.create_connection(("127.0.0.1", server.port), timeout=LONGEST)
            follower.sendall(f"GET {DEMO}/changes/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            followers.append(follower)
        heard = [until(follower, f"id: {latest}\nretry".encode()) for follower in followers]
        stored = {"patient": {"id": "P01"}, "labs": timeline("P01")["labs"]}
        assert server.ask("POST", f"{DEMO}/patients/P01/events", stored)[0] == 200
        for follower, before in zip(followers, heard, strict=True):
            assert b"event: revision\n" in until(follower, f"id: {latest + 1}\n".encode(), before)
        body = json.dumps([timeline("D1")]).encode()
        head = f"POST {DEMO}/timelines HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=LONGEST) as connection:
            begin(connection, f"{head}Content-Length: {len(body)}\r\n")
            connection.sendall(body[:50])
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            for follower in followers:
                assert until(follower, b"0\r\n\r\n").endswith(b"0\r\n\r\n"), "the answer did not end in order"
                follower.close()
            assert time.monotonic() - began < 10
            time.sleep(max(0, began + 1 - time.monotonic()))
            connection.sendall(body[50:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert server.process.wait(timeout=60) in STOPPED
        server.reader.join(timeout=60)
        output = "".join(server.lines)
        assert output.count("event=stop service=http reason=SIGTERM") == 2
        assert not any(Path(f"/proc/{each}").exists() for each in processes)
        assert output.count("Try:") == 1


def until(follower, wanted, read=b""):
    """What a connection gives until the wanted words are there."""
    while wanted not in read:
        part = follower.recv(65_536)
        assert part, read
        read += part
    return read
