"""The service as a process: how it starts, what it writes, how it stops."""

import gc
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI, routing
from typer.testing import CliRunner

from app import __version__, main
from app.__main__ import cli
from app.api import server as serving
from app.http.rooms import Room
from app.http.routing import Operation
from app.secret_file import beside
from app.settings import Settings
from app.store.tables import SCHEMA_REVISION
from tests.api.examples import timeline
from tests.repetition import PROFILE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STOPPED = {0, -signal.SIGTERM}
"""After its work is done the server ends by the signal that asked it to, as a shell expects."""
LONGEST = 900
"""Seconds that a test waits for a process before it fails. On a very busy machine the start alone takes some
minutes; a process that has ended is not waited for.
"""


PREPARED_LATER = """
from app.__main__ import cli
from app.access import computing

if __name__ == "__main__":
    computing.PREPARED_AFTER = 3600.0
    cli(prog_name="python -m app")
"""
SERVE = ("-c", PREPARED_LATER) if PROFILE == "quick" else ("-m", "app")
"""In the quick profile, what computes is loaded when it is first asked for, and not some seconds after the start: that
takes longer than the start itself, and most servers of the tests are never asked for it.
"""


class Process:
    """A server on a port of its own; `lines` is what it has written so far."""

    def __init__(self, command: list[str], variables: dict[str, str], directory: Path) -> None:
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(command, cwd=directory, env=variables, **pipe)
        self.lines: list[str] = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(iter(self.process.stdout.readline, "")))
        self.reader.start()
        try:
            self.port = int(self.wait_for(r"curl .*?http://127\.0\.0\.1:(\d+)/\S*/events")[1])
        except BaseException:
            self.close()
            raise

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """The last of so many matches in what the server writes."""
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline and (self.process.poll() is None or self.reader.is_alive()):
            found = list(re.finditer(pattern, "".join(self.lines)))
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.01)
        raise AssertionError("".join(self.lines))

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request over the wire."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def raw(self, text: bytes) -> bytes:
        """What comes back for bytes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(text)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def stop(self) -> str:
        """Ask the server to stop; all that it wrote."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.reader.join()
        return "".join(self.lines)

    def close(self) -> None:
        """Kill the server, if it has not ended."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


def environment(url: str, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MYORESPONSE_")}
    if url.startswith("postgresql"):  # in the folder of the test, wherever the process is started
        files = {f"{kind.upper()}_FILE": str(beside(url, kind).absolute()) for kind in ("secret", "heads")}
        settings = files | settings
    named = {f"MYORESPONSE_{name}": value for name, value in settings.items()}
    return kept | {"MYORESPONSE_DATABASE_URL": url, "MYORESPONSE_PORT": "0", "PYTHONUNBUFFERED": "1"} | named


def running(url: str, *command: str, **settings: str) -> AbstractContextManager[Process]:
    return started([sys.executable, *(command or SERVE)], environment(url, **settings))


@contextmanager
def started(command: list[str], variables: dict[str, str], directory: Path = ROOT) -> Iterator[Process]:
    server = Process(command, variables, directory)
    try:
        yield server
    finally:
        server.close()


def begin(connection: socket.socket, head: str) -> None:
    """Send the head of a request, and wait until the server has begun with it and asks for the body."""
    connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    asked, received = b"HTTP/1.1 100 Continue\r\n\r\n", b""
    while len(received) < len(asked):
        part = connection.recv(len(asked) - len(received))
        assert part, received
        received += part
    assert received == asked


def listens(server: Process) -> bool:
    """Whether the server takes new connections."""
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture(scope="module")
def server(migrated_file, tmp_path_factory) -> Iterator[Process]:
    """A server that many tests ask, with the demonstration study and little patience for a body."""
    url = f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('server') / 'demo.db')}"
    with_demo(url)
    with running(url, BODY_TIMEOUT_SECONDS="0.3") as server:
        yield server


def test_the_application_is_put_together_without_the_statistics_libraries_and_without_extras():
    program = "import app.main, sys; app.main.create_app(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    unneeded = {"scipy.stats", "lifelines", "pandas", "matplotlib", "alembic", "psycopg", "pyarrow"}
    rooms = {"app.analyses", "app.fhir.routes_read", "app.pages.site", "app.datasets.routes", "jinja2", "markdown_it"}
    assert (unneeded | {"jwt", "cryptography"} | rooms) & set(loaded) == set()
    assert "app.http.authentication" in loaded


def test_the_process_is_alive_before_the_statistics_libraries_are_loaded_and_then_loads_them(sqlite_url):
    program = textwrap.dedent("""
        import sys, threading
        import app.main
        from app.access import computing
        from app.api import server
        from app.settings import Settings

        load, begun = computing.warm, threading.Event()

        def loaded(): return [name in sys.modules for name in ("scipy.special", "lifelines")]

        def warm():
            input()
            print("before", loaded(), flush=True)
            load()
            print("after", loaded(), flush=True)

        computing.warm = warm
        server.run(app.main.create_app(), Settings())
    """)
    with running(sqlite_url, "-c", program, COMPUTE_WORKERS="0") as server:
        status, body = server.ask("GET", "/livez")
        assert (status, json.loads(body)["status"]) == (200, "alive")
        server.process.stdin.write("\n")
        server.process.stdin.flush()
        server.wait_for("after .*")
        assert "before [False, False]\n" in server.lines
        assert "after [True, True]\n" in server.lines


def test_a_server_prints_what_to_try_and_each_of_it_works(server):
    commands = [line.strip() for line in server.lines if line.startswith("  curl ")]
    assert len(commands) == 3
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    direct = os.environ | {"no_proxy": "*"}
    rates, ck, posted = [
        subprocess.run(
            ["sh", "-c", command.replace("curl", "curl -sf", 1)], env=direct, capture_output=True, text=True, check=True
        ).stdout
        for command in commands
    ]
    assert '"rate": 0.933333333333' in rates
    assert '"value": 334.5' in ck
    assert json.loads(posted)["status"] == "changed"


def test_the_log_names_routes_and_never_a_patient(server):
    server.ask("GET", "/until-here")
    server.wait_for("route=- status=404")
    before = len(server.lines)
    assert server.ask("PUT", "/v1/studies/secret-study", {"name": "T", "protocol": "seed-2008"})[0] == 201
    assert server.ask("PUT", "/v1/studies/secret-study/patients/SECRET-1", timeline("SECRET-1"))[0] == 201
    assert server.ask("GET", "/v1/studies/secret-study/patients/SECRET-1?x=SECRET")[0] == 422
    assert server.ask("GET", "/SECRET/%0Aevent=forged")[0] == 400
    server.wait_for("route=- status=400")
    lines = server.lines[before:]
    assert len(lines) == 4
    pattern = re.compile(
        r"time=\S+ level=INFO event=request method=\w+ route=\S+ status=\d{3} ms=\d+\.\d"
        r"( problem=[a-z-]+( faults=[a-z_:0-9,]+)? instance=urn:uuid:[0-9a-f-]{36})?\n"
    )
    assert [line for line in lines if not pattern.fullmatch(line)] == []
    assert " status=422 " in lines[2]
    assert " problem=invalid faults=unknown_parameter:1 instance=" in lines[2]
    assert " problem=ambiguous-address instance=" in lines[3]
    assert "secret" not in "".join(server.lines).lower()
    assert "P01" not in "".join(line for line in server.lines if "event=" in line)


def test_a_port_that_is_taken_is_said_in_a_line(sqlite_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("serve", "--port", str(taken.getsockname()[1]), DATABASE_URL=sqlite_url)
    assert ended.returncode == 3
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "address already in use" in ended.stderr
    assert "event=" not in ended.stdout


def test_the_version_is_printed():
    assert here("--version").stdout == f"myoresponse {__version__}\n"


def test_a_request_that_has_begun_is_finished_before_the_server_stops_and_the_log_says_when_it_begins_and_ends(
    sqlite_url,
):
    with running(sqlite_url, PSEUDONYM_SECRET="hunter2" * 5, CACHE_BYTES="1000") as server:
        port = server.port
        server.ask("PUT", "/v1/studies/trial", {"name": "T", "protocol": "seed-2008"})
        body = json.dumps(timeline("P1")).encode()
        head = (
            f"PUT /v1/studies/trial/patients/P1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
        )
        with socket.create_connection(("127.0.0.1", port), timeout=LONGEST) as connection:
            begin(connection, head)
            connection.sendall(body[:100])
            server.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 30
            while listens(server):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            connection.sendall(body[100:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 201")
        output = server.stop()
        assert server.process.returncode in STOPPED
    assert "PUT route=/v1/studies/{study}/patients/{patient} status=201" in output
    logged = [line.partition(" level=INFO ")[2].rstrip() for line in output.splitlines() if "event=" in line]
    assert logged[0] == (
        f"event=start service=http version={__version__} database=sqlite tables={SCHEMA_REVISION} "
        f"address=http://127.0.0.1:{port} pseudonyms=on unauthenticated=off cors=off cache_bytes=1000"
    )
    assert re.fullmatch(r"event=stop service=http reason=SIGTERM uptime_s=\d+\.\d requests=2", logged[-1])
    assert output.index("event=start") < output.index("Try:")
    assert "hunter2" not in output


def test_a_request_that_is_not_finished_in_time_is_refused_when_the_server_stops(sqlite_url):
    program = """
        import app.main
        from app.api import server
        from app.settings import Settings

        server.GRACE_SECONDS = 0.5
        server.run(app.main.create_app(), Settings())
    """
    with running(sqlite_url, "-c", textwrap.dedent(program)) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=LONGEST) as connection:
            head = "PUT /v1/studies/trial HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            begin(connection, f"{head}Content-Length: 9\r\n")
            connection.sendall(b"{")
            server.process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nretry-after: " in answer
        problem = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert problem["type"] == "/problems/busy"
        assert "may be stored as a whole" in problem["detail"]
        assert "status=503" in server.stop()


def test_hostile_bytes_are_answered_and_closed(server):
    post = b"POST /v1/studies/t/timelines HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    stalled = server.raw(post + b"Content-Length: 100\r\n\r\n[")
    assert stalled.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in stalled
    continued = server.raw(post + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
    assert continued.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408")
    both = server.raw(post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert both.startswith(b"HTTP/1.1 400")
    close = b"Connection: close\r\n\r\n"
    for hosts in (b"", b"Host: localhost\r\nHost: evil\r\n"):
        answer = server.raw(b"GET /v1/studies HTTP/1.1\r\n" + hosts + close)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))
    dots = server.raw(b"GET /v1/studies/%2e%2e HTTP/1.1\r\nHost: localhost\r\n" + close)
    assert dots.startswith(b"HTTP/1.1 400")
    assert b"\r\nserver:" not in dots.lower()
    head = server.raw(b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n" + close)
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n")
    assert server.ask("GET", "/livez")[0] == 200
    assert "Traceback" not in "".join(server.lines)


def test_a_client_that_leaves_is_no_error(server):
    begun = (
        b"POST /v1/analyses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(begun)
            time.sleep(0.05)
    server.wait_for("status=499", 5)
    assert server.ask("GET", "/livez")[0] == 200
    assert "Traceback" not in "".join(server.lines)
    assert "event=failure" not in "".join(server.lines)


def run(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    url = settings.pop("DATABASE_URL", "sqlite:////nowhere/x.db")
    command_line = [sys.executable, "-m", "app", *command]
    return subprocess.run(
        command_line,
        cwd=ROOT,
        env=environment(url, **settings),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


def here(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, for a command that ends without serving."""
    variables = {"DATABASE_URL": "sqlite:////nowhere/x.db", "PORT": "0"} | settings
    ended = CliRunner().invoke(cli, command, env={f"MYORESPONSE_{name}": value for name, value in variables.items()})
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exc_info
    return subprocess.CompletedProcess(command, ended.exit_code, ended.stdout, ended.stderr)


def with_demo(url: str) -> None:
    """Load the demonstration study, as the command does."""
    loaded = here("demo", DATABASE_URL=url)
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({"REQUIRE_KEYS": "true", "ALLOW_UNAUTHENTICATED": "true"}, 2, "MYORESPONSE_REQUIRE_KEYS must not be set"),
        ({"PORT": "many"}, 2, "MYORESPONSE_PORT"),
        ({"PORT": "70000", "MAX_BODY_BYTES": "-1"}, 2, "MYORESPONSE_MAX_BODY_BYTES"),
        ({"CORS_ORIGINS": "*"}, 2, "MYORESPONSE_CORS_ORIGINS"),
        ({"CORS_ORIGINS": "https://a.example,https://*.example"}, 2, "MYORESPONSE_CORS_ORIGINS"),
        ({"CORS_ORIGINS": "https://a.example/"}, 2, "MYORESPONSE_CORS_ORIGINS"),
        ({"CORS_ORIGINS": "null"}, 2, "MYORESPONSE_CORS_ORIGINS"),
        ({"ROOT_PATH": "myo/"}, 2, "MYORESPONSE_ROOT_PATH"),
        ({"DATABASE_URL": "mysql://user:hunter2@host/name"}, 2, "MYORESPONSE_DATABASE_URL"),
        ({"DATABASE_URL": "hunter2"}, 2, "MYORESPONSE_DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://user:hunter2@host:port/name"}, 2, "MYORESPONSE_DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:///:memory:"}, 2, "MYORESPONSE_DATABASE_URL"),
        ({}, 3, "the directory of its file does not exist"),
        ({"DATABASE_URL": "postgresql://user:hunter2@127.0.0.1:1/name"}, 3, "no server listens at its host and port"),
        (
            {"PORTT": "hunter2", "ALOWED_HOSTS": "x", "PORT": "many"},
            2,
            "MYORESPONSE_PORTT: there is no such setting, the",
        ),
        ({"PORTT": "hunter2", "ALOWED_HOSTS": "x", "PORT": "many"}, 2, "the nearest name is MYORESPONSE_ALLOWED_HOSTS"),
        ({"PORTT": "hunter2", "ALOWED_HOSTS": "x", "PORT": "many"}, 2, "; MYORESPONSE_PORT: Input should be a valid"),
        (
            {"MLLP_KEY": "key.pem"},
            2,
            "used. MYORESPONSE_MLLP_CERTIFICATE and MYORESPONSE_MLLP_KEY must be set together",
        ),
    ],
)
def test_a_server_that_cannot_start_says_why_in_a_line(settings, code, says):
    ended = here("serve", **settings)
    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "hunter2" not in ended.stderr + ended.stdout


def test_an_address_of_postgresql_without_its_driver_is_refused_in_a_line_that_names_the_extra():
    program = """
        import sys
        sys.modules["psycopg"] = None
        from app.__main__ import cli
        for command in ("serve", "migrate", "demo"):
            try:
                cli([command])
            except SystemExit as end:
                assert end.code == 2
    """
    variables = environment("postgresql://user:hunter2@127.0.0.1:1/name")
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert ["pip install 'myoresponse[postgres]'" in line for line in lines] == [True] * 3
    assert "hunter2" not in ended.stderr + ended.stdout


def test_a_database_without_tables_is_not_served_and_is_after_migrating_where_the_options_say(tmp_path):
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    refused = here("serve", DATABASE_URL=url)
    assert (refused.returncode, "python -m app migrate" in refused.stderr) == (3, True)
    assert here("demo", DATABASE_URL=url).returncode == 3
    assert run("migrate", DATABASE_URL=url).returncode == 0
    assert here("migrate", DATABASE_URL=url).returncode == 0
    with running(url, "-m", "app", "serve", "--port", "0", "--host", "localhost", PORT="1") as server:
        assert server.port > 1
        assert server.ask("GET", "/readyz")[0] == 200
    assert here("serve", "--port", "70000").returncode == 2


@pytest.mark.parametrize(
    "url", ["postgresql://user:hunter2@127.0.0.1:1/name", "hunter2", "sqlite:////nowhere/at/all/x.db"]
)
def test_a_migration_that_cannot_be_done_says_why_in_a_line(url):
    ended = here("migrate", DATABASE_URL=url)
    assert ended.returncode in {2, 3}
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert "hunter2" not in ended.stderr


def test_the_demonstration_study_is_loaded_once(serve, migrated_url):
    command = run if migrated_url.startswith("sqlite") else here  # as a process it is started once
    first = command("demo", DATABASE_URL=migrated_url)
    assert first.stdout == "Study demo: 16 timelines read, 16 stored.\n", first.stderr
    assert here("demo", DATABASE_URL=migrated_url).stdout == "Study demo: 16 timelines read, 0 stored.\n"
    client = serve(migrated_url)
    study = client.get("/v1/studies/demo").json()
    assert (study["revision"], study["patients"], study["test"]) == (16, 16, True)
    rates = client.get("/v1/studies/demo/analyses/response-rates").json()["results"]
    primary = {each["measure"]: (each["responders"], each["evaluable"]) for each in rates if each["primary"]}
    assert primary == {"MMT": (14, 15), "ADL": (12, 15), "CK": (15, 15)}


def test_loading_the_demonstration_again_leaves_what_a_user_declared(serve, migrated_url):
    here("demo", DATABASE_URL=migrated_url)
    client = serve(migrated_url)
    assert client.put("/v1/studies/demo", json={"name": "mine", "protocol": "relative-20"}).status_code == 200
    here("demo", DATABASE_URL=migrated_url)

    study = client.get("/v1/studies/demo").json()
    assert (study["name"], study["protocol"]["id"], study["revision"]) == ("mine", "relative-20", 17)


def test_readiness_follows_the_database_and_liveness_does_not(serve, tmp_path, monkeypatch):
    from app.http.state import Readiness

    monkeypatch.setattr(Readiness, "SECONDS", 0.0)
    client = serve(f"sqlite:///{tmp_path / 'empty.db'}")
    unready = client.get("/readyz")
    assert (unready.status_code, unready.json()["type"]) == (503, "/problems/unavailable")
    assert unready.json()["cause"] == "no_tables"
    assert "Retry-After" not in unready.headers
    assert client.get("/livez").status_code == 200
    from app.store import migrations

    migrations.upgrade(f"sqlite:///{tmp_path / 'empty.db'}")
    assert client.get("/readyz").json()["status"] == "ready"


def test_readiness_is_looked_up_once_a_second(client, monkeypatch):
    from app.store.engine import Database

    asked = []
    objection = Database.objection
    monkeypatch.setattr(Database, "objection", lambda self: asked.append(1) or objection(self))
    assert [client.get("/readyz").status_code for _ in range(5)] == [200] * 5
    assert len(asked) <= 2


@pytest.mark.parametrize("locked", [False, True])
def test_a_scrub_that_was_kept_from_happening_is_done_later(monkeypatch, locked):
    from app.errors import Busy
    from app.http.state import Scrubber

    class Reluctant:
        def __init__(self, refusals):
            self.refusals, self.calls = refusals, 0

        def scrub(self):
            self.calls += 1
            if locked and self.calls <= self.refusals:
                raise Busy
            return self.calls > self.refusals

    monkeypatch.setattr(Scrubber, "RETRY_SECONDS", 0.01)
    willing, reluctant = Reluctant(0), Reluctant(3)
    Scrubber(willing).scrub()
    assert willing.calls == 1
    scrubber = Scrubber(reluctant)
    scrubber.scrub()
    deadline = time.monotonic() + 5
    while reluctant.calls < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    scrubber.stop()
    assert reluctant.calls == 4


def routes_of_rooms() -> list[Operation]:
    rooms = [each for each in main.create_app(Settings.model_construct()).router.routes if isinstance(each, Room)]
    return [route for room in rooms for route in room._load()]


def test_every_room_declares_operations_whose_signatures_are_read_in_one_thread_at_a_time(monkeypatch):
    """FastAPI reads them under filters of warnings that all threads share: at the first requests it would be a race."""
    routes = routes_of_rooms()
    assert [route for route in routes if not isinstance(route, Operation)] == []
    monkeypatch.setattr(routing._IncludedRouter, "_build_effective_context", lambda *_: pytest.fail("read again"))
    assert len(list(routing.iter_route_contexts(routes))) > 100


def test_what_is_loaded_at_the_start_is_frozen_before_the_garbage_collector_goes_on(monkeypatch, sqlite_url):
    done = []
    monkeypatch.setattr("gc.freeze", lambda: done.append(("frozen", gc.isenabled())))
    monkeypatch.setattr("app.api.server.run", lambda *_: done.append(("served", gc.isenabled())))
    served = CliRunner().invoke(cli, ["serve"], env={"MYORESPONSE_DATABASE_URL": sqlite_url})
    assert served.exit_code == 0, served.output
    assert done == [("frozen", False), ("served", True)]


def test_the_garbage_collector_does_not_look_at_each_timeline(monkeypatch, sqlite_url):
    before, during = gc.get_threshold(), []
    monkeypatch.setattr(serving.Server, "run", lambda *_: during.append(gc.get_threshold()[0]))
    try:
        serving.run(FastAPI(), Settings(database_url=sqlite_url))
    finally:
        gc.set_threshold(*before)
    assert during == [serving.YOUNG_OBJECTS]


def test_a_look_at_the_end_of_an_address_finds_the_same_operations():
    for route in routes_of_rooms():
        own = re.sub(r"\{[^}]*\}", "x", route.path)
        for method in (min(route.methods), "QUERY"):
            for address in (own, f"{own}-", f"{own}/", own.rpartition("/")[0] or "/", "/", ""):
                scope = {"type": "http", "method": method, "path": f"/below{address}", "root_path": "/below"}
                assert route.matches(scope) == routing.APIRoute.matches(route, scope), (route.path, address)


def test_the_signature_of_an_operation_is_read_in_one_thread_at_a_time(monkeypatch):
    reading, most, read = 0, 0, routing.APIRoute.__init__

    def counted(route, *declared, **more):
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        time.sleep(0.05)
        read(route, *declared, **more)
        reading -= 1

    monkeypatch.setattr(routing.APIRoute, "__init__", counted)
    new = [Operation(f"/{number}", lambda: None) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(lambda route: route.operation_id, new)] == [None] * 4
    assert (reading, most) == (0, 1)


def test_an_operation_whose_signature_could_not_be_read_is_read_at_the_next_use(monkeypatch):
    route = Operation("/once", lambda: None)
    with monkeypatch.context() as broken:
        broken.setattr(routing.APIRoute, "__init__", lambda *_, **__: {}["gone"])
        with pytest.raises(KeyError):
            getattr(route, "operation_id")  # noqa: B009
    assert (route.operation_id, route.body_field) == (None, None)
