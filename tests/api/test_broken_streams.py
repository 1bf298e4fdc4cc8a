"""Streams of lines on a real server: who waits for whom, and what a broken one leaves behind."""

import hashlib
import http.client
import json
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.api.examples import NDJSON, timeline
from tests.api.test_server import LONGEST, SERVE, Process, environment, running, started
from tests.api.test_streaming import joined, many

pytestmark = pytest.mark.slow
PATIENCE = 3
"""Seconds that a server with little patience waits for the next part of a body."""


@pytest.fixture(scope="module")
def server(migrated_file, tmp_path_factory) -> Iterator[Process]:
    """A server with the patience of every day, which no sender here uses up on a busy machine."""
    url = f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('streams') / 'x.db')}"
    with running(url, MAX_BODY_BYTES="1000000") as server:
        yield server


@pytest.fixture(scope="module")
def hurried(migrated_file, tmp_path_factory) -> Iterator[Process]:
    """A server with little patience, for what happens when it ends."""
    url = f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('hurried') / 'x.db')}"
    with running(url, BODY_TIMEOUT_SECONDS=str(PATIENCE)) as server:
        yield server


@pytest.fixture
def home(server, request) -> str:
    """A study of the test's own."""
    return begun(server, f"/v1/studies/{abs(hash(request.node.name))}")


def begun(server: Process, home: str) -> str:
    """The address of a study, which is declared."""
    assert server.ask("PUT", home, {"name": "T", "protocol": "seed-2008"})[0] == 201
    return home


def stored(server: Process, home: str) -> list[str]:
    status, body = server.ask("GET", f"{home}/patients?limit=500")
    assert status == 200
    return [item["patient"]["id"] for item in json.loads(body)["items"]]


class Sender:
    """A client that sends a chunked body in pieces and reads what comes meanwhile."""

    def __init__(self, connection: socket.socket, home: str, query: str) -> None:
        self.connection = connection
        self.received = b""
        head = f"POST {home}/timelines{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")

    def send(self, part: bytes) -> None:
        """One chunk; an empty one is the end."""
        self.connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))

    def outcomes(self, count: int) -> list[dict]:
        """So many outcomes, waited for."""
        while self.received.count(b"}\n") < count:
            part = self.connection.recv(65536)
            assert part, self.received
            self.received += part
        return self.read()

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        while part := self.connection.recv(65536):
            self.received += part
        return self.received

    def read(self) -> list[dict]:
        """The lines received so far that are whole."""
        lines = self.received.split(b"\r\n\r\n", 1)[-1].splitlines()
        return [json.loads(line) for line in lines if line[:1] == b"{" and line[-1:] == b"}"]


ENDED = r"POST route=(\S+ status=\d+)"
"""The line of the log at the end of a post."""


def posted(server: Process) -> int:
    """How many posts the log has."""
    return len(re.findall(ENDED, "".join(server.lines)))


@contextmanager
def sending(server: Process, home: str, query: str = "") -> Iterator[Sender]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=LONGEST) as connection:
        yield Sender(connection, home, query)


def test_a_trickling_sender_gets_each_answer_while_it_sends(server, home):
    with sending(server, home) as sender:
        for n in range(3):
            sender.send(many(1, n)[:30])
            sender.send(many(1, n)[30:])
            assert [each["status"] for each in sender.outcomes(n + 1)] == ["created"] * (n + 1)
        assert stored(server, home) == ["P0000", "P0001", "P0002"]
        sender.send(b"")
        [*_, end] = sender.outcomes(4)
        assert end["counts"] == {"created": 3}
        assert end["digest"] == f"sha256:{hashlib.sha256(many(3)).hexdigest()}"


@pytest.mark.parametrize(("count", "cut"), [(1, -20), (5, -1), (230, -20), (230, -1)])
def test_a_broken_stream_stores_exactly_the_lines_that_were_acknowledged(server, home, count, cut):
    """A cut before the line break leaves a whole document behind, of which nobody can know that it is whole."""
    before = posted(server)
    with sending(server, home) as sender:
        sender.send(many(count) + many(1, 9000)[:cut])
        answered = sender.outcomes(count)
        assert [each["status"] for each in answered] == ["created"] * count
    assert server.wait_for(ENDED, before + 1)[1] == "/v1/studies/{study}/timelines status=200"
    assert stored(server, home) == [each["patient"] for each in answered] == [f"P{n:04}" for n in range(count)]
    assert server.ask("POST", f"{home}/timelines", [])[0] == 200


def test_what_was_acknowledged_survives_the_death_of_the_server(sqlite_url):
    with running(sqlite_url) as server:
        server.ask("PUT", "/v1/studies/trial", {"name": "T", "protocol": "seed-2008"})
        with sending(server, "/v1/studies/trial") as sender:
            sender.send(many(1000))
            sender.outcomes(150)
            server.process.kill()
            with suppress(ConnectionResetError):
                sender.rest()
    answered = [each["patient"] for each in sender.read()]
    with running(sqlite_url) as server:
        kept = stored(server, "/v1/studies/trial")
    assert answered == [f"P{n:04}" for n in range(len(answered))]
    assert kept == [f"P{n:04}" for n in range(len(kept))]
    assert 150 <= len(answered) <= len(kept)


@pytest.fixture(scope="module")
def rehearsing(migrated_file, tmp_path_factory) -> Iterator[tuple[Process, Path]]:
    """A server, and the folder of its temporary files."""
    place = tmp_path_factory.mktemp("rehearsing")
    folder = place / "temporary"
    folder.mkdir()
    url = f"sqlite:///{shutil.copy(migrated_file, place / 'x.db')}"
    # The socket of worker processes would stand in the folder, too.
    variables = environment(url, COMPUTE_WORKERS="0") | {"TMPDIR": str(folder)}
    with started([sys.executable, *SERVE], variables) as server:
        yield server, folder


@pytest.mark.parametrize("cut", [5_000, 20_001])
def test_a_rehearsal_that_is_cut_stores_nothing_and_leaves_nothing_on_the_disk(rehearsing, cut):
    server, folder = rehearsing
    home, before = f"/v1/studies/cut-{cut}", posted(server)
    assert server.ask("PUT", home, {"name": "T", "protocol": "seed-2008"})[0] == 201
    with sending(server, home, "?rehearse=true") as sender:
        sender.send(many(400)[:cut])
        rehearsed = many(400)[:cut].count(b"\n")
        assert [each["status"] for each in sender.outcomes(rehearsed)] == ["created"] * rehearsed
        assert list(folder.glob("myoresponse-rehearsed-*"))
    assert server.wait_for(ENDED, before + 1)[1].startswith("/v1/studies/{study}/timelines ")
    for _ in range(300):
        if not list(folder.iterdir()):
            break
        time.sleep(0.1)
    assert list(folder.iterdir()) == []
    assert stored(server, home) == []
    assert json.loads(server.ask("GET", home)[1])["revision"] == 0
    assert "Traceback" not in "".join(server.lines)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/studies/hl7v2/hl7v2", "application/hl7-v2"),
        ("/v1/studies/labs/labs", "text/csv"),
        ("/fhir/fhir", "application/fhir+json"),
    ],
)
def test_a_body_that_is_cut_in_a_rehearsal_leaves_nothing(rehearsing, path, kind):
    server, folder = rehearsing
    home, before = f"/v1/studies/{path.rpartition('/')[2]}", posted(server)
    assert server.ask("PUT", home, {"name": "T", "protocol": "seed-2008"})[0] == 201
    with socket.create_connection(("127.0.0.1", server.port), timeout=LONGEST) as connection:
        head = f"POST {path}?rehearse=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        connection.sendall(head.encode() + b"Content-Length: 1000\r\n\r\nMSH|^~")
        time.sleep(0.5)
    server.wait_for(ENDED, before + 1)
    assert list(folder.iterdir()) == []
    assert json.loads(server.ask("GET", home)[1])["revision"] == 0
    assert "Traceback" not in "".join(server.lines)


def test_a_client_that_leaves_at_any_moment_leaves_a_prefix_of_its_lines_and_no_part_of_one(server, home):
    for cut in (1, 40, 150, 5_000, 20_001, 33_333):
        before = posted(server)
        with sending(server, home) as sender:
            sender.send(many(400)[:cut])
        server.wait_for(ENDED, before + 1)
        kept = stored(server, home)
        assert kept == [f"P{n:04}" for n in range(len(kept))]
        assert len(kept) <= many(400)[:cut].count(b"\n")
    assert "Traceback" not in "".join(server.lines)
    assert "event=failure" not in "".join(server.lines)


def test_a_stall_ends_the_stream_after_the_stored_lines_were_answered(hurried):
    home = begun(hurried, "/v1/studies/stalled")
    with sending(hurried, home) as sender:
        began = time.monotonic()
        sender.send(many(2) + b'{"pat')
        received = sender.rest()
        assert 0.9 * PATIENCE < time.monotonic() - began < PATIENCE + 10
    assert [each["status"] for each in sender.read()] == ["created"] * 2
    assert not received.endswith(b"0\r\n\r\n")
    hurried.wait_for("event=stream broken=body-timeout lines=2")
    assert stored(hurried, home) == ["P0000", "P0001"]


def test_a_slow_but_steady_sender_is_not_cut_off(hurried):
    """Each part comes long before the patience of the server ends, the whole after it."""
    with sending(hurried, begun(hurried, "/v1/studies/steady")) as sender:
        began = time.monotonic()
        for n in range(8):
            sender.send(many(1, n))
            time.sleep(PATIENCE / 6)
        assert time.monotonic() - began > PATIENCE
        sender.send(b"")
        assert sender.outcomes(9)[-1]["counts"] == {"created": 8}


def test_a_body_that_never_begins_is_a_timeout(hurried):
    with sending(hurried, begun(hurried, "/v1/studies/never")) as sender:
        assert sender.rest().startswith(b"HTTP/1.1 408")


def test_a_client_that_sends_all_before_it_reads_is_not_waited_for(server, home):
    """Its outcomes fill every buffer on the way to it long before it has sent everything."""
    days = [f"2005-{month:02}-{day:02}" for month in range(1, 6) for day in range(1, 25)]
    results = [{"code": "CK", "time": day, "value": 900, "unit": "U/L"} for day in days]
    long = json.dumps({"patient": {"id": "P1"}, "labs": results}).encode() + b"\n"
    body = long * 600 + (b" " * 900_000 + b"\n") * 20 + many(1)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONGEST)
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.request("POST", f"{home}/timelines?receipt=full", body, NDJSON)
    answer = connection.getresponse().read()
    connection.close()
    assert len(answer) > 5_000_000
    end = json.loads(answer.rstrip(b"\n").rpartition(b"\n")[2])
    assert end["counts"] == {"created": 2, "unchanged": 599}
    assert end["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_two_streams_into_one_study_are_both_stored(server, home):
    ended = []

    def send(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONGEST)
        connection.request("POST", f"{home}/timelines", many(150, first), NDJSON)
        ended.append(json.loads(connection.getresponse().read().splitlines()[-1]))
        connection.close()

    threads = [threading.Thread(target=send, args=(first,)) for first in (0, 150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [end["counts"] for end in ended] == [{"created": 150}] * 2
    assert len(stored(server, home)) == 300


def test_a_patient_is_nowhere_in_the_log_of_a_stream(hurried):
    before = posted(hurried)
    with sending(hurried, begun(hurried, "/v1/studies/logged")) as sender:
        sender.send(joined(timeline("SECRET-1"), {"patient": {"id": "SECRET 2"}}) + b"SECRET-3")
        sender.outcomes(2)
        sender.rest()
    hurried.wait_for(ENDED, before + 1)
    assert "SECRET" not in "".join(hurried.lines)


def test_a_client_that_does_not_read_stops_the_stream_and_learns_what_was_stored(sqlite_url):
    with running(sqlite_url, BODY_TIMEOUT_SECONDS=str(PATIENCE), MAX_SPOOL_BYTES="20000") as server:
        home = "/v1/studies/trial"
        server.ask("PUT", home, {"name": "T", "protocol": "seed-2008"})
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before the window is agreed on
            connection.settimeout(LONGEST)
            connection.connect(("127.0.0.1", server.port))
            sender = Sender(connection, home, "?receipt=full")
            days = [f"2005-{month:02}-{day:02}" for month in range(1, 5) for day in range(1, 29)]
            results = [{"code": "CK", "time": day, "value": 900, "unit": "U/L"} for day in days]
            for number in range(900):
                sender.send(joined({"patient": {"id": f"P{number:04}"}, "labs": results}))
            server.wait_for("event=stream stopped=unread")
            sender.send(b"")
            while b'"stopped"' not in sender.received:
                sender.received += sender.connection.recv(65536)
        last = sender.received[sender.received.rindex(b'{"counts":{"created"') :]
        end, _ = json.JSONDecoder().raw_decode(last.decode())
        assert end["stopped"] == "unread"
        assert 0 < len(stored_all(server, home)) == end["lines"] < 900


def stored_all(server: Process, home: str) -> list[str]:
    """The patients of all pages."""
    found, address = [], f"{home}/patients?limit=500"
    while address:
        page = json.loads(server.ask("GET", address)[1])
        found += [item["patient"]["id"] for item in page["items"]]
        address = page["next"]
    return found
