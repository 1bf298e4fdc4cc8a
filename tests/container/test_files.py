"""What the files for containers declare, and what the proxy lets through. `make image` builds and starts the image."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from app.settings import Settings
from tests.hl7v2.test_mllp_security import make_certificate

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
PROXY = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]
NAMES = {f"MYORESPONSE_{name.upper()}" for name in Settings.model_fields}


def test_the_image_runs_as_its_own_user_and_says_whether_it_is_alive():
    assert re.search(r"^USER 10001:10001$", LAST_STAGE, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n  CMD .*/livez", LAST_STAGE, re.MULTILINE)
    assert "exec python -m app serve" in LAST_STAGE


def test_the_image_holds_no_secret_and_no_setting_that_opens_it():
    assert not re.search(r"UNAUTHENTICATED|PASSWORD|PSEUDONYM|_KEY=", DOCKERFILE)
    assert (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*"
    assert "--require-hashes" in DOCKERFILE


def test_every_setting_that_the_files_name_exists():
    text = DOCKERFILE + (ROOT / "compose.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\bMYORESPONSE_[A-Z_]+(?==|:(?! *\?))", text)) - {"MYORESPONSE_NAME"}
    assert named
    assert named - NAMES == set()


def test_the_bytecode_of_the_image_is_compiled_when_it_is_built():
    compiled = re.search(r"^RUN .*compileall .* /srv/myoresponse/app$", LAST_STAGE, re.MULTILINE)
    assert compiled is not None
    assert compiled.start() > LAST_STAGE.index("COPY app /srv/myoresponse/app")


def test_the_log_of_the_image_is_json():
    assert "MYORESPONSE_LOG=json" in LAST_STAGE


@pytest.mark.parametrize("name", ["proxy", "service"])
def test_what_faces_the_network_has_a_read_only_root_and_no_further_rights(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_only_the_proxy_has_a_port_and_the_database_is_reached_from_inside_only():
    assert [name for name, each in COMPOSE["services"].items() if "ports" in each] == ["proxy"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert COMPOSE["services"]["database"]["networks"] == COMPOSE["services"]["service"]["networks"] == ["inside"]


def test_secrets_are_files_and_never_variables():
    for name, service in COMPOSE["services"].items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|SECRET|KEY", variable)
            assert not secret or variable.endswith("_FILE"), (name, variable)
            assert not re.search(r"://[^/]*:[^/]*@", value), (name, variable)
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


# --- the proxy, running -----------------------------------------------------------------------------------------------


class Upstream(threading.Thread):
    """Answers every request and keeps the heads that arrived."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.heads: list[str] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                self.heads.append(connection.recv(65536).partition(b"\r\n\r\n")[0].decode("latin-1"))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Proxy:
    """nginx with the configuration of the tree, in front of an upstream that keeps what arrives."""

    def __init__(self, folder: Path) -> None:
        self.upstream, self.port, self.folder = Upstream(), free_port(), folder

    def ask(self, head: str) -> tuple[int, list[str]]:
        """The status of a raw request, and the heads that reached the service."""
        before = len(self.upstream.heads)
        context = ssl._create_unverified_context()  # noqa: S323 - its certificate is of this test
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain, context.wrap_socket(plain) as tls:
            tls.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := tls.recv(65536):
                answer += piece
        return int(answer.split(b" ", 2)[1]), self.upstream.heads[before:]


@contextmanager
def running(proxy: Proxy) -> Iterator[Proxy]:
    """The proxy, until the end of the block. It writes only below its folder."""
    folder = proxy.folder
    make_certificate(folder, "tls")
    text = PROXY.replace("server service:8000", f"server 127.0.0.1:{proxy.upstream.port}")
    text = text.replace("listen 8443", f"listen 127.0.0.1:{proxy.port}").replace("/var/run/", f"{folder}/")
    text = text.replace("/run/secrets/tls.crt", f"{folder}/tls.pem").replace(
        "/run/secrets/tls.key", f"{folder}/tls.key"
    )
    text = text.replace("/dev/stdout", f"{folder}/access.log").replace("/dev/stderr", f"{folder}/error.log")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(text.replace("http {\n", f"http {{\n{temporary}", 1))
    command = ["nginx", "-e", folder / "error.log", "-c", folder / "nginx.conf", "-g", "daemon off;"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for _ in range(200):
            assert process.poll() is None, process.stdout.read()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", proxy.port)) == 0:
                    break
            time.sleep(0.02)
        yield proxy
    finally:
        process.terminate()
        process.communicate(timeout=20)
        proxy.upstream.listening.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory) -> Iterator[Proxy]:
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("no nginx, or no openssl to make its certificate with")
    with running(Proxy(tmp_path_factory.mktemp("proxy"))) as started:
        yield started


@pytest.mark.parametrize(
    "target",
    [
        "/v1/studies/demo/patients/P01?limit=1",
        "//v1//studies",
        "/a%20b%C3%A4",
        "/fhir/demo/Patient?identifier=a%2Fb%25|c",
    ],
)
def test_the_proxy_passes_an_address_on_as_it_arrived(proxy, target):
    status, heads = proxy.ask(f"GET {target} HTTP/1.1\nHost: myo.example")
    assert status == 200
    assert [head.splitlines()[0] for head in heads] == [f"GET {target} HTTP/1.1"]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/studies/demo%2Fpatients%2FZ9?erase=true", "/a%5cb", "/a%252Fb", "/a%00", "/a/../b", "/a/%2e%2E/b", "/a/.",
        "http://myo.example/v1/studies",
    ],
)  # fmt: skip
def test_the_proxy_refuses_an_address_with_two_readings(proxy, target):
    status, heads = proxy.ask(f"DELETE {target} HTTP/1.1\nHost: myo.example")
    assert (status, heads) == (400, [])


def test_the_proxy_says_itself_from_where_a_request_came(proxy):
    forged = (
        "X-Forwarded-For: 127.0.0.1\nX-Real-IP: 127.0.0.1\nForwarded: for=127.0.0.1\nX-Forwarded-Host: a\nX_Caller: a"
    )
    _, [head] = proxy.ask(f"GET /livez HTTP/1.1\nHost: MYO.example\n{forged}\nX-Request-Id: 4711")
    headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:])
    assert headers == {
        "host": "myo.example",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "https",
        "x-request-id": "4711",
    }


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 4\nTransfer-Encoding: chunked",
        "Content-Length: 4\nContent-Length: 5",
        "Transfer-Encoding: xchunked",
        "Content-Length: +4",
    ],
)
def test_the_proxy_refuses_a_body_with_two_ends(proxy, framing):
    status, heads = proxy.ask(f"POST /v1/analyses HTTP/1.1\nHost: myo.example\n{framing}")
    assert status in {400, 501}
    assert heads == []


def test_the_proxy_keeps_the_metrics_inside(proxy):
    assert proxy.ask("GET /metrics HTTP/1.1\nHost: myo.example") == (404, [])


def test_the_proxy_has_limits_of_size_and_of_time(proxy):
    assert proxy.ask(f"GET /livez HTTP/1.1\nHost: myo.example\nX-Long: {'a' * 9_000}") == (400, [])
    assert proxy.ask(f"GET /{'a' * 9_000} HTTP/1.1\nHost: myo.example")[1] == []
    assert proxy.ask("POST /v1/analyses HTTP/1.1\nHost: myo.example\nContent-Length: 17000000") == (413, [])
    limits = ("client_header_timeout 10s", "client_body_timeout 30s", "limit_conn connections 64", "send_timeout 30s")
    assert [limit for limit in limits if f"{limit};" not in PROXY] == []


def test_the_log_of_the_proxy_has_no_address_and_no_header(proxy):
    proxy.ask("GET /v1/studies/CANARY/patients/CANARY?CANARY=CANARY HTTP/1.1\nHost: myo.example\nUser-Agent: CANARY")
    proxy.ask("GET /CANARY%2F HTTP/1.1\nHost: CANARY\nX-Request-Id: CANARY")
    proxy.upstream.listening.shutdown(socket.SHUT_RDWR)  # nginx writes the address beside such an error
    assert proxy.ask("GET /CANARY HTTP/1.1\nHost: myo.example")[0] == 502
    time.sleep(0.1)
    lines = (proxy.folder / "access.log").read_text().splitlines()
    assert {json.loads(line)["event"] for line in lines} == {"proxy"}
    assert "CANARY" not in "".join(path.read_text() for path in proxy.folder.glob("*.log"))
