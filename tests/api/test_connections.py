"""What a client may do with a connection and an address, by raw sockets to a real server."""

import http.client
import json
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.api.examples import timeline
from tests.api.test_server import Process, running, with_demo

pytestmark = pytest.mark.slow
HOST = b"Host: 127.0.0.1\r\n"
CLOSE = b"Connection: close\r\n\r\n"
HEAD_SECONDS = 0.6
CONNECTIONS = 8


@pytest.fixture(scope="module")
def server(migrated_file, tmp_path_factory) -> Iterator[Process]:
    """A server with little patience for a head and room for few connections."""
    url = f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('connections') / 'demo.db')}"
    with_demo(url)
    limits = {"HEAD_TIMEOUT_SECONDS": str(HEAD_SECONDS), "CONNECTIONS": str(CONNECTIONS), "IDLE_TIMEOUT_SECONDS": "1"}
    with running(url, **limits, BODY_TIMEOUT_SECONDS="2") as server:
        server.ask("PUT", "/v1/studies/demo/patients/Z9", timeline("Z9"))
        yield server


@pytest.fixture
def unhurried(sqlite_url) -> Iterator[Process]:
    """A server with room for few connections, none of which ends while a slow test goes on."""
    with running(sqlite_url, HEAD_TIMEOUT_SECONDS="60", CONNECTIONS=str(CONNECTIONS)) as server:
        yield server


def status(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split(b" ", 2)[1])


def kind(answer: bytes) -> str:
    """The kind of problem of a raw answer."""
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    return document.get("type") or document["issue"][0]["code"]


def until_closed(connection: socket.socket) -> bytes:
    """What arrives until the server closes."""
    connection.settimeout(20)
    return b"".join(iter(lambda: connection.recv(65536), b""))


def is_closed_after(connection: socket.socket, part: bytes, times: int, pause: float = 0) -> bool:
    """Whether the server closes the connection while this is sent so often."""
    try:
        for _ in range(times):
            connection.sendall(part)
            time.sleep(pause)
    except OSError:
        return True
    return False


HOSTILE = [
    "/v1/studies/demo%2Fpatients%2FZ9?erase=true",
    "/v1/studies/demo%2fpatients/Z9?erase=true",
    "/v1/studies%5Cdemo/patients/Z9?erase=true",
    "/v1/studies\\demo/patients/Z9?erase=true",
    "/v1/studies/demo%252Fpatients%252FZ9?erase=true",
    "/v1/studies/demo/patients/%5A9?erase=true",
    "/v1/studies/%64emo/patients/Z9?erase=true",
    "/v1/public/%2e%2e/studies/demo/patients/Z9?erase=true",
    "/v1/public/%2E./studies/demo/patients/Z9?erase=true",
    "/v1/public/../studies/demo/patients/Z9?erase=true",
    "/v1/./studies/demo/patients/Z9?erase=true",
    "/v1/studies//demo/patients/Z9?erase=true",
    "//v1/studies/demo/patients/Z9?erase=true",
    "/v1/studies/demo/patients/Z9;x=1?erase=true",
    "/v1/studies;x/demo/patients/Z9?erase=true",
    "/v1/studies/demo/patients/Z9%3Bx?erase=true",
    "/v1/studies/demo/patients/Z9%00?erase=true",
    "/v1/studies/demo/patients/Z9%0A?erase=true",
    "/v1/studies/demo/patients/Z9?erase=true#x",
    "/v1/studies/demo/patients/Z9#?erase=true",
    "/v1/studies/demo/patients/Z9%?erase=true",
    "http://127.0.0.1/v1/studies/demo/patients/Z9?erase=true",
    "http://other.example/v1/studies/demo/patients/Z9?erase=true",
    "/fhir/demo%2FPatient%2FZ9",
]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("target", HOSTILE)
def test_an_address_that_a_proxy_may_read_otherwise_is_refused(server, method, target):
    answer = server.raw(f"{method} {target} HTTP/1.1\r\n".encode() + HOST + CLOSE)
    assert status(answer) == 400
    assert kind(answer) in {"/problems/ambiguous-address", "structure"}
    assert b"Z9" not in answer
    assert server.ask("GET", "/v1/studies/demo/patients/Z9")[0] == 200


@pytest.mark.parametrize("target", [b"http://other.example", b"*", b"demo", b"/a\0b", b"/a b", b"\xff", b"/\xc3\xa4"])
def test_what_is_no_path_is_refused(server, target):
    assert status(server.raw(b"GET " + target + b" HTTP/1.1\r\n" + HOST + CLOSE)) == 400


def test_an_address_of_any_length_is_answered_414_in_the_form_of_its_prefix(server):
    for length in (8_300, 40_000 - len("/v1/?a=")):
        for prefix, form in ((b"/v1/", b"application/problem+json"), (b"/fhir/demo/Patient", b"application/fhir+json")):
            answer = server.raw(b"GET " + prefix + b"?a=" + b"x" * length + b" HTTP/1.1\r\n" + HOST + CLOSE)
            assert status(answer) == 414
            assert b"content-type: " + form in answer.lower()


@pytest.mark.parametrize(
    "sent", [b"NONSENSE / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n", b"\x16\x03\x01\x02"]
)
def test_what_is_no_http_is_answered_by_a_problem_document(server, sent):
    answer = server.raw(sent)
    assert status(answer) == 400
    assert b"content-type: application/problem+json" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/malformed"


def test_trailers_are_no_headers(server):
    body = json.dumps({"name": "T", "protocol": "seed-2008"}).encode()
    sent = b"%x\r\n%s\r\n0\r\nContent-Type: application/json\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n" % (len(body), body)
    head = b"PUT /v1/studies/trailing HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" + CLOSE
    assert status(server.raw(head + sent)) == 415


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"\r\n"])
def test_a_head_that_does_not_end_is_answered_408_and_closed(server, begun):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(begun)
        answer = until_closed(connection)
    assert (status(answer), kind(answer)) == (408, "/problems/head-timeout")
    assert HEAD_SECONDS * 0.9 < time.monotonic() - began < HEAD_SECONDS + 3


def test_a_head_that_arrives_byte_by_byte_has_no_more_time(server):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(0.05)
        received = b""
        connection.sendall(b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A: ")
        while not received and time.monotonic() < began + 10:
            connection.sendall(b"a")
            try:
                received = connection.recv(65536)
            except TimeoutError:
                continue
    assert status(received) == 408
    assert time.monotonic() - began < HEAD_SECONDS + 3


def test_a_connection_on_which_nothing_is_sent_is_closed(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        began = time.monotonic()
        assert until_closed(connection) == b""
    assert time.monotonic() - began < HEAD_SECONDS + 3


def test_an_idle_connection_is_closed(server):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")
        answer = until_closed(connection)
    assert status(answer) == 200
    assert 0.5 < time.monotonic() - began < 5


def test_the_head_after_an_answer_has_its_time_too(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        connection.sendall(b"GET /livez HTTP/1.1\r\nX-A: ")
        answer = until_closed(connection)  # also what is left of the first answer
    assert b"HTTP/1.1 408 " in answer
    assert time.monotonic() - began < HEAD_SECONDS + 3


def test_a_body_that_arrives_after_its_answer_holds_no_connection(server):
    head = b"POST /v1/nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n"
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head)
        assert status(connection.recv(65536)) in {404, 405}
        assert is_closed_after(connection, b"x", 300, pause=0.05)
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("part", [b"X-A: " + b"a" * 4000 + b"\r\n", b"a" * 4000, b"\r\n" * 2000])
def test_a_head_of_any_size_costs_little_memory_and_is_refused(server, part):
    before = memory(server)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"" if part.startswith(b"\r\n") else b"GET /livez HTTP/1.1\r\nX: ")
        is_closed_after(connection, part * 4, 1_250)
        answer = b""
        with suppress(ConnectionError):  # it was closed while more was sent
            while received := connection.recv(65536):
                answer += received
    assert (status(answer), kind(answer)) == (431, "/problems/headers-too-large")
    assert memory(server) - before < 5_000_000


def test_trailers_of_any_size_are_refused(server):
    head = b"POST /v1/studies/demo/timelines HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
        assert is_closed_after(connection, b"X-A: " + b"a" * 4000 + b"\r\n", 5_000)


def test_one_connection_too_many_is_answered_503_and_the_others_are_served(unhurried):
    held = [socket.create_connection(("127.0.0.1", unhurried.port)) for _ in range(CONNECTIONS)]
    try:
        with socket.create_connection(("127.0.0.1", unhurried.port)) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\n" + HOST + CLOSE)
            answer = until_closed(connection)
        assert (status(answer), kind(answer)) == (503, "/problems/busy")
        assert b"retry-after: 1" in answer
        held[0].sendall(b"GET /livez HTTP/1.1\r\n" + HOST + CLOSE)
        assert status(until_closed(held[0])) == 200
        assert unhurried.ask("GET", "/livez")[0] == 200
    finally:
        for each in held:
            each.close()


def test_a_head_in_time_is_answered_however_slow_its_parts_are(unhurried):
    with socket.create_connection(("127.0.0.1", unhurried.port)) as connection:
        for part in (b"GET /live", b"z HTTP/1.1\r\n", HOST, CLOSE):
            connection.sendall(part)
            time.sleep(HEAD_SECONDS / 10)
        answer = until_closed(connection)
    assert status(answer) == 200


def test_a_large_body_and_the_next_request_in_one_piece_are_answered(server):
    body = json.dumps([timeline("Q1")] * 1).encode() + b" " * 100_000
    post = b"POST /v1/studies/demo/timelines HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    post += b"Content-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(post + body + b"GET /livez HTTP/1.1\r\n" + HOST + CLOSE)
        answer = until_closed(connection)
    assert answer.count(b"HTTP/1.1 200") == 2


def memory(server: Process) -> int:
    """The resident memory of the server in bytes."""
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_header_lines_of_a_list_are_read_together_and_others_only_once(server):
    def sent(*lines: tuple[str, str]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        body = json.dumps([timeline("Q2")]).encode()
        connection.putrequest("POST", "/v1/studies/demo/timelines")
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *lines):
            connection.putheader(name, value)
        connection.endheaders(body)
        answered = connection.getresponse().status
        connection.close()
        return answered

    assert sent() == 200
    assert sent(("Content-Encoding", "identity"), ("Content-Encoding", "gzip")) == 415
    assert sent(("Content-Encoding", "gzip"), ("Content-Encoding", "identity")) == 415
    assert sent(("Content-Type", "text/plain")) == 415
    assert sent(("Content-Length", "1")) == 400
    assert sent(("Idempotency-Key", "a"), ("Idempotency-Key", "b")) == 422
