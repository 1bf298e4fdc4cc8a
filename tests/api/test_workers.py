"""Answers computed by worker processes: the same bytes as by threads, whoever goes away, and nothing left behind."""

import os
import shutil
import signal
import socket
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

import pytest

from app.analyses import QUESTIONS
from app.datasets import NAMES
from app.fhir.routes_about import MEASURED
from tests.api.examples import fill, timeline
from tests.api.test_server import Process, running

pytestmark = pytest.mark.slow
PREPARED = 2
"""The number of worker processes of the servers here."""

OPTIONS = ("", "?by=diagnosis&patients=true", "?profile=R&level=0.9&signed_rank_p=exact")
ADDRESSES = [
    *(f"/v1/studies/trial/analyses/{name}{options}" for name, options in product(QUESTIONS, OPTIONS)),
    "/v1/studies/trial/analyses/ck-normal-interval?resamples=300&seed=5",
    "/v1/studies/trial/analyses",
    "/v1/studies/trial/analyses?patients=true&revision=3",
    "/v1/studies/trial/comparisons/other?stratify=sex",
    *(f"/v1/studies/trial/datasets/{name}.{suffix}" for name, suffix in product(NAMES, ("csv", "parquet", "xpt"))),
    *(f"/fhir/trial/MeasureReport/{name}" for name in MEASURED),
    "/v1/planning/proportion?rate=0.8&n=15&half_width=0.1",
    "/v1/planning/paired-change?sd=0.55&n=15&difference=0.4",
    "/v1/planning/median-time?events=8&ratio=2",
    "/v1/studies/none/analyses/ck-change",
    "/v1/studies/trial/analyses/ck-change?revision=99",
]


def test_processes_give_the_bytes_and_tags_that_threads_give(serve, sqlite_url):
    threads = serve(sqlite_url, compute_workers=0)
    processes = serve(sqlite_url, compute_workers=PREPARED)
    fill(threads, 12)
    fill(threads, 8, "other")
    for address in ADDRESSES:
        expected, got = threads.get(address), processes.get(address)
        assert (got.status_code, expected.status_code) in {(200, 200), (404, 404)}
        if got.status_code == 200:
            assert got.content == expected.content, address
            changing = {"date", "server", "x-request-id"}
            assert {n: v for n, v in got.headers.items() if n not in changing} == {
                n: v for n, v in expected.headers.items() if n not in changing
            }
            if tag := got.headers.get("etag"):
                assert processes.get(address, headers={"If-None-Match": tag}).status_code == 304
        else:
            assert got.json() | {"instance": ""} == expected.json() | {"instance": ""}
    bodies = {
        "/v1/analyses": {"protocol": "seed-2008", "timelines": [timeline(f"P{n}", ck=900 + n) for n in range(5)]},
        "/v1/studies/trial/analyses/response-rates": {"protocol": "relative-20"},
        "/v1/verify": {"kind": "proportion", "k": 8, "n": 19, "printed_in": "percent", "value": "42.1"},
    }
    for address, body in bodies.items():
        answers = [client.post(address, json=body) for client in (threads, processes)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].content == answers[1].content, address


def test_an_erased_person_is_in_no_process(serve, sqlite_url):
    client = serve(sqlite_url, compute_workers=PREPARED)
    home = fill(client, 3)
    assert client.get(f"{home}/analyses/ck-change?patients=true").text.count("P01") > 0
    computing = client.app_state["app_state"].computing
    [worker] = [worker for worker in computing.workers._idle if "trial" in worker.studies]
    assert client.delete(f"{home}/patients/P01?erase=true").status_code == 204
    assert not worker.is_alive()
    assert "P01" not in client.get(f"{home}/analyses/ck-change?patients=true").text
    assert client.get(f"{home}/analyses/ck-change?revision=3").status_code == 410


PROGRAM = """
    import app.api.analyses as analyses, app.main
    from app.api import server
    from app.settings import Settings
    from tests.access.works import answer_or_spin

    if __name__ == "__main__":
        analyses.answer_bytes = answer_or_spin
        server.run(app.main.create_app(), Settings())
"""
MINUTE = "/v1/studies/{}/analyses/ck-change?level=0.77&patients={}"


@contextmanager
def minutes(file: Path) -> Iterator[Process]:
    """A server with two studies, whose questions with the confidence level 0.77 take a minute of a processor."""
    settings = {"COMPUTE_WORKERS": str(PREPARED)}
    with running(f"sqlite:///{file}", "-c", textwrap.dedent(PROGRAM), **settings) as server:
        for study in ("first", "second"):
            server.ask("PUT", f"/v1/studies/{study}", {"name": "T", "protocol": "seed-2008"})
            assert server.ask("PUT", f"/v1/studies/{study}/patients/P01", timeline("P01"))[0] == 201
        yield server


@pytest.fixture(scope="module")
def server(migrated_file, tmp_path_factory) -> Iterator[Process]:
    """A server that several tests ask."""
    with minutes(shutil.copy(migrated_file, tmp_path_factory.mktemp("server") / "x.db")) as server:
        yield server


@pytest.fixture
def short_lived(migrated_file, tmp_path) -> Iterator[Process]:
    """A server that a test stops."""
    with minutes(shutil.copy(migrated_file, tmp_path / "x.db")) as server:
        yield server


def ask_and(server: Process, path: str) -> socket.socket:
    """A connection on which a question has been asked."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return connection


def children(parent: int) -> dict[int, float]:
    """The processes below a process, with the seconds of processor that each has used."""
    known, found = {parent}, {}
    while True:
        more = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[1]) in known and fields[0] != "Z":
                    more[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if more.keys() <= known:
            return found | more
        known |= more.keys()
        found |= more


def wait_until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_five_questions_closed_at_once_are_stopped_and_another_study_is_answered(server):
    server.ask("GET", "/v1/studies/second/analyses/ck-change?level=0.9")  # everything is loaded
    connections = [ask_and(server, MINUTE.format("first", flag)) for flag in ("true", "false")]
    connections += [ask_and(server, MINUTE.format("first", "true&by=sex")) for _ in range(3)]
    for connection in connections:
        connection.close()
    began = time.monotonic()
    assert server.ask("GET", "/v1/studies/second/analyses/ck-change?level=0.8")[0] == 200
    assert time.monotonic() - began < 20
    server.wait_for("status=499", count=5)


def test_the_service_answers_while_all_processes_compute_and_leaves_none_of_them_behind(short_lived):
    """First the questions are open while it is alive, then it is asked to stop, and their clients go away."""
    server = short_lived
    server.ask("GET", "/v1/studies/second/analyses/ck-change?level=0.9")
    connections = [ask_and(server, MINUTE.format(study, "true")) for study in ("first", "second")]
    pid = server.process.pid
    wait_until(lambda: sum(seconds > 0.3 for seconds in children(pid).values()) >= PREPARED)
    for _ in range(20):
        began = time.monotonic()
        assert server.ask("GET", "/livez")[0] == 200
        assert server.ask("GET", "/v1/studies/first/patients")[0] == 200
        assert time.monotonic() - began < 5
    below = children(pid)
    assert len(below) >= PREPARED
    server.process.send_signal(signal.SIGTERM)
    for connection in connections:
        connection.close()
    server.process.wait(timeout=30)
    wait_until(lambda: not any(map(lives, below)))


def test_a_service_that_is_killed_leaves_no_process_behind(short_lived):
    server = short_lived
    connections = [ask_and(server, MINUTE.format(study, "true")) for study in ("first", "second")]
    pid = server.process.pid
    wait_until(lambda: sum(seconds > 0.3 for seconds in children(pid).values()) >= PREPARED)
    below = children(pid)
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not any(map(lives, below)))
    for connection in connections:
        connection.close()


def test_the_service_itself_never_loads_the_statistics_libraries(server):
    assert server.ask("GET", "/v1/studies/first/analyses")[0] == 200
    assert server.ask("GET", "/v1/planning/proportion?rate=0.8&n=15")[0] == 200
    mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "/numpy/" in mapped
    assert "/scipy/" not in mapped
    assert "/pandas/" not in mapped
