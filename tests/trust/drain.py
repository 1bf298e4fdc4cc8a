"""A server gets SIGTERM while clients post single documents and streams of lines, as from a process manager. Each
request that was accepted must be answered, each answer 201 must be stored, each line of a stream that was answered must
be stored, and the process must end in time.
"""

import http.client
import json
import signal
import socket
import threading
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, field

from app.store.engine import Database
from tests.api.examples import events, lab
from tests.api.test_server import STOPPED, Process, running
from tests.trust.figures import Figure
from tests.trust.ground import folder, fresh

CLIENTS = 6
LINES = 40


@dataclass(slots=True)
class Load:
    """What clients have sent and were told."""

    stored: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    cut: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


def run(full: bool) -> list[Figure]:
    """Stop under load and look."""
    cycles = 20 if full else 1
    posts = lines = cut = 0
    slowest = 0.0
    for cycle in range(cycles):
        with folder() as place:
            url = fresh(place / "x.db")
            load = Load()
            with running(url) as server:
                # A client must not keep the program alive, whatever happens to the server.
                threads = [
                    threading.Thread(target=client, args=(server.port, load), daemon=True)
                    for client in (*[_post] * CLIENTS, _stream)
                ]
                for thread in threads:
                    thread.start()
                try:
                    time.sleep(0.5 + 0.05 * cycle)
                    slowest = max(slowest, _stop(server))
                finally:
                    load.stop.set()
                for thread in threads:
                    thread.join()
            database = Database(url)
            with database.reading() as connection:
                there = {row[0] for row in connection.exec_driver_sql("SELECT id FROM patients")}
            database.dispose()
            lost = {*load.stored, *load.lines} - there
            assert not lost, f"{len(lost)} acknowledged writes are lost"
            load.cut += len(there.intersection(load.unanswered))  # they were processed; the others never were read
            assert load.cut == 0, f"{load.cut} accepted requests were not answered"
            posts, lines = posts + len(load.stored), lines + len(load.lines)
            cut += load.cut
    return [
        Figure("P13", f"stops by SIGTERM under {CLIENTS} clients and a stream of lines", str(cycles)),
        Figure("P13", "posts answered 201, and lines of streams answered `created`", f"{posts}; {lines}"),
        Figure("P13", "of them lost", "0"),
        Figure("P13", "requests and streams that were processed and not answered to their end", str(cut)),
        Figure("P13", "longest time from the signal to the end of the process", f"{slowest:.1f} s"),
    ]


def _stop(server: Process) -> float:
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(timeout=40)
    assert server.process.returncode in STOPPED
    return time.monotonic() - began


def _post(port: int, load: Load) -> None:
    """Post one document after the other, each over its own connection."""
    while not load.stop.is_set():
        patient = uuid.uuid4().hex
        body = json.dumps(events(patient, lab(7, 500)))
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=40)) as client:
            try:
                client.connect()
                client.request("POST", f"/v1/studies/trial/patients/{patient}/events", body, _JSON)
            except OSError:
                time.sleep(0.02)
                continue
            try:
                status = client.getresponse().status
            except (OSError, http.client.HTTPException):
                load.unanswered.append(patient)
                continue
            assert status == 201, status
            load.stored.append(patient)


_JSON = {"Content-Type": "application/json", "Connection": "close"}


def _stream(port: int, load: Load) -> None:
    """Send lines slowly, so that the signal comes between them, and end the stream: it must be answered to its end."""
    head = (
        b"POST /v1/studies/trial/timelines HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    sent: list[str] = []
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=40) as connection:
            connection.sendall(head)
            for number in range(LINES):
                sent.append(f"L{number}-{uuid.uuid4().hex[:8]}")
                line = json.dumps(events(sent[-1], lab(7, 1))).encode() + b"\n"
                connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
                time.sleep(0.05)
            connection.sendall(b"0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        answer = b""
    if not answer:
        load.unanswered += sent
        return
    outcomes = [json.loads(line) for line in answer.split(b"\r\n\r\n", 1)[1].splitlines() if line[:1] == b"{"]
    load.cut += outcomes[-1].get("counts") != {"created": LINES}
    load.lines += [outcome["patient"] for outcome in outcomes if outcome.get("status") == "created"]
