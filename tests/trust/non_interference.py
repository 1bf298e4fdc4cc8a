"""Client A sends the same requests twice: to a service that nobody else uses, and to one where client B has patients
with the same identifiers and goes on writing between the requests of A. Clock, random numbers and secret file are the
same in both. Every answer to A must have the same status, headers and bytes, apart from Date and the name of the
occurrence of a refusal. Then A asks for a patient that only B has and for one that nobody has: the times must not tell.
"""

import json
import random
import re
import secrets
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fastapi.testclient import TestClient

from app.access.callers import ALL_SCOPES
from app.access.operations import NEEDS
from app.main import create_app
from app.settings import Settings
from tests.api.examples import NDJSON, lab, timeline
from tests.api.fhir_bodies import FHIR, HOSPITAL, SECRET, ck, patient
from tests.hl7v2.hl7v2_messages import oru
from tests.tables import with_tables
from tests.trust.figures import Figure
from tests.trust.operations_by_role import VALUES

BASE = "http://127.0.0.1:8000"
BEGIN = 1_790_000_000
"""An instant in 2026, in seconds since 1970."""
DIFFERENT = frozenset({"date", "x-request-id"})
_INSTANCE = re.compile(rb"urn:uuid:[0-9a-f-]{36}|\"request\": \"[0-9a-f]{32}\"")
MOST_DIFFERENCE = 0.1


class Steady:
    """A clock that stands, and random numbers that begin anew, at each step."""

    def __init__(self) -> None:
        self.seconds = float(BEGIN)
        self._of_thread = threading.local()

    def step(self, seconds: float) -> None:
        """Another instant; the random numbers depend on it alone."""
        self.seconds = BEGIN + seconds

    def _numbers(self, kind: str) -> random.Random:
        """The random numbers of this step, in this thread and of this kind: nothing else takes of them."""
        if getattr(self._of_thread, "step", None) != self.seconds:
            self._of_thread.step, self._of_thread.kinds = self.seconds, {}
        return self._of_thread.kinds.setdefault(kind, random.Random(f"{self.seconds} {kind}"))

    def _bytes(self, count: int = 32) -> bytes:
        return self._numbers(f"{count} bytes").randbytes(count)

    def _bits(self, count: int) -> int:
        return self._numbers("bits").getrandbits(count)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Use this clock and these random numbers everywhere in the service."""
        steady = self

        class Standing(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:
                return datetime.fromtimestamp(steady.seconds, tz)

        with ExitStack() as patched:
            for module in ("app.http.dependencies", "app.store.snapshot", "app.submission.streams"):
                patched.enter_context(patch(f"{module}.datetime", Standing))
            patched.enter_context(patch("time.time_ns", lambda: int(steady.seconds * 1e9)))
            patched.enter_context(patch.object(secrets, "token_bytes", self._bytes))
            patched.enter_context(patch.object(secrets, "randbits", self._bits))
            yield


class ClientA:
    """Sends the requests of A and keeps the answers; before each of them, B may write."""

    def __init__(self, client: TestClient, steady: Steady, key: str, other: Any) -> None:
        self.client, self.steady, self.other = client, steady, other
        self.headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}  # gzip shows what is random
        self.heard: list[tuple[Any, ...]] = []

    def send(self, method: str, path: str, **more: Any) -> Any:
        """One request of A."""
        number = len(self.heard)
        if self.other is not None and number % 7 == 3:
            self.steady.step(number + 0.5)
            self.other(number)
        self.steady.step(number)
        headers = self.headers | more.pop("headers", {})
        answer = self.client.request(method, path, headers=headers, **more)
        shown = sorted((name, value) for name, value in answer.headers.items() if name not in DIFFERENT)
        self.heard.append((method, path, answer.status_code, shown, _INSTANCE.sub(b"", answer.content)))
        return answer


def write_all(send: Any, study: str, count: int, level: float) -> None:
    """Writes through every door; the identifiers are always the same, the values depend on `level`."""
    home, facade = f"/v1/studies/{study}", f"/fhir/{study}"
    declared = {"name": f"Study {level}", "protocol": "seed-2008", "identifiers": "pseudonyms"}
    send("PUT", home, json=declared | {"authorities": [HOSPITAL, "WARD7"]})
    for number in range(count):
        send("PUT", f"{home}/patients/P{number:02}", json=timeline(f"P{number:02}", ck=level + number))
    send("POST", f"{home}/patients/P00/events", json={"patient": {"id": "P00"}, "labs": [lab(100, level)]})
    send("POST", f"{home}/timelines", json=[timeline("Q1", ck=level), timeline("Q2", ck=level)])
    send("POST", f"{home}/timelines", content=json.dumps(timeline("Q3", ck=level)), headers=NDJSON)
    rows = "patient,time,code,value,unit,upper_limit,lab\n"
    table = f"{rows}Q4,2005-03-16,CK,{level},U/L,163,A\nQ4,2005-03-17,CK,{level},parsec,163,A\n"
    send("POST", f"{home}/labs", content=table, headers={"Content-Type": "text/csv"})
    send("POST", f"{home}/hl7v2", content=oru(), headers={"Content-Type": "application/hl7-v2"})
    send("POST", f"{facade}/Patient", json=patient("MRN-1"), headers=FHIR)
    entry = {"resource": ck(level, "b1"), "request": {"method": "POST", "url": "Observation"}}
    send("POST", facade, json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]}, headers=FHIR)
    send("PUT", f"{facade}/Observation/mine", json=ck(level, "b2", id="mine"), headers=FHIR)
    send("POST", f"{facade}/Observation", json=ck(level, "b3"), headers={**FHIR, "If-None-Exist": "identifier=b1"})
    send("POST", f"{home}/set-aside/1/dismissal", json={"reason": "duplicate"})
    send("DELETE", f"{home}/patients/Q2?erase=true")
    send("PUT", f"{home}/patients/Q2", json=timeline("Q2"))


def ask_all(client_a: ClientA, full: bool) -> None:
    """Every operation that reads, on A's own study, on B's and on one that nobody has; then faulty and paged ones."""
    send, trail = client_a.send, client_a.client.app_state["app_state"].trail
    values = VALUES | {"id": "mine"}
    for operation in sorted(NEEDS):
        method, _, path = operation.partition(" ")
        if not full and "/analyses/" in path and not path.endswith(("response-rates", "safety")):
            continue
        if not full and re.search(r"/report|/comparisons/|/MeasureReport/|/analyses$", path):
            continue  # each of them computes for seconds
        if method in {"PUT", "DELETE"}:
            continue
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", value)
        if path.endswith("/changes/stream"):
            path += "?from=0&seconds=0"  # it would not end by itself
        for study, other in (("a", "b"), ("b", "a"), ("absent", "b")):
            address = path.replace("{study}", study).replace("{other}", other)
            body = {"json": {"protocol": "relative-20"}} if method == "POST" else {}
            send(method, address, **body)
            if "{study}" not in path:
                break
    for study in ("a", "b", "absent"):
        home, facade = f"/v1/studies/{study}", f"/fhir/{study}"
        for path in ("patients/P01", "patients/B99", "patients?limit=2", "patients?limit=0", "patients?x=1", "nothing"):
            send("GET", f"{home}/{path}")
        for path in ("Observation?patient=P01", "Observation?identifier=b1", "Patient?identifier=MRN-1", "Patient/P01"):
            send("GET", f"{facade}/{path}")
        send("HEAD", f"{home}/patients/P01")
        send("PUT", f"{home}/patients/P01", json=timeline("P01"), headers={"If-Match": '"nonsense"'})
        send("DELETE", f"{home}/patients/B99?erase=true")
        trail.close()  # the rows of reads are on the list that is asked for now
        send("GET", f"/v1/audit?study={study}&limit=5")
    following = "/v1/studies/a/patients?limit=3"
    while following:
        following = send("GET", following).json()["next"]
    read = send("GET", "/v1/studies/a/patients/P00")
    send("PUT", "/v1/studies/a/patients/P00", json=read.json(), headers={"If-Match": read.headers["etag"]})
    for path in ("/v1/studies", "/v1/studies?limit=1", "/", "/livez", "/readyz", "/v1/audit"):
        send("GET", path)


@contextmanager
def system(folder: Path, patients_of_b: int) -> Iterator[ClientA]:
    """A service; with patients of B it is the one that is not used by A alone."""
    url, steady = f"sqlite:///{folder / 'x.db'}", Steady()
    secret = folder / "secret"
    secret.touch(0o600)
    secret.write_text("5" * 64 + "\n")
    with steady.held():
        with_tables(url)
        settings = Settings(database_url=url, secret_file=secret, require_keys=True, rate="", pseudonym_secret=SECRET)
        with TestClient(create_app(settings), base_url=BASE, client=("127.0.0.1", 5000)) as client:
            keys = client.app_state["app_state"].authenticator.keys
            steady.step(-1)
            key = keys.create("A", ALL_SCOPES, ["a", "absent"], now=BEGIN).text
            other = None
            if patients_of_b:
                steady.step(-90_000)
                own = {"Authorization": f"Bearer {keys.create('B', ALL_SCOPES, ['b'], now=BEGIN).text}"}
                other = _writes_of_b(client, own)
                _fill_b(client, steady, own, patients_of_b)
            yield ClientA(client, steady, key, other)


def _fill_b(client: TestClient, steady: Steady, own: dict[str, str], count: int) -> None:
    step = -80_000.0

    def send(method: str, path: str, **more: Any) -> None:
        nonlocal step
        step += 1
        steady.step(step)
        client.request(method, path, headers=own | more.pop("headers", {}), **more)

    write_all(send, "b", 5, 700.0)
    for first in range(0, count, 100):
        labs = [lab(-1, 800), lab(30, 300)]
        some = [{"patient": {"id": f"B{number}"}, "labs": labs} for number in range(first, min(first + 100, count))]
        send("POST", "/v1/studies/b/timelines", json=some)


def _writes_of_b(client: TestClient, own: dict[str, str]) -> Any:
    def write(number: int) -> None:
        change = {"patient": {"id": f"P{number % 20:02}"}, "labs": [lab(200 + number, 150)]}
        client.post(f"/v1/studies/b/patients/P{number % 20:02}/events", json=change, headers=own)
        client.get("/v1/studies/b/analyses/response-rates", headers=own)

    return write


def script(client_a: ClientA, full: bool) -> None:
    """All requests of A."""
    write_all(client_a.send, "a", 12 if full else 4, 900.0)
    ask_all(client_a, full)
    if full:
        ask_all(client_a, full)


def difference_of_times(client_a: ClientA, pairs: int) -> tuple[float, float]:
    """The median seconds of a request for a patient that only B has, and for one that nobody has."""
    spent: dict[str, list[float]] = {"B7": [], "Z7": []}
    for number in range(pairs):
        for name in ("B7", "Z7") if number % 2 else ("Z7", "B7"):
            began = time.perf_counter()
            client_a.client.get(f"/v1/studies/a/patients/{name}", headers=client_a.headers)
            spent[name].append(time.perf_counter() - began)
    return statistics.median(spent["B7"]), statistics.median(spent["Z7"])


def run(full: bool) -> list[Figure]:
    """Compare the answers of both services."""
    count = 5_000 if full else 30
    with tempfile.TemporaryDirectory() as folder:
        alone, together = Path(folder, "alone"), Path(folder, "together")
        alone.mkdir()
        together.mkdir()
        with system(alone, 0) as client_a:
            script(client_a, full)
            first = client_a.heard
        with system(together, count) as client_a:
            script(client_a, full)
            second = client_a.heard
            of_b, of_nobody = difference_of_times(client_a, 300 if full else 30)
    different = [(one[:3], other[:3]) for one, other in zip(first, second, strict=False) if one != other]
    assert len(first) == len(second)
    assert different == [], (len(different), different[:10])
    figures = [
        Figure("P10", f"requests of A to an empty service and beside {count} patients of B", f"{len(first)}"),
        Figure("P10", "answers that differ in status, headers or bytes", f"{len(different)}"),
    ]
    if full:
        apart = abs(of_b - of_nobody) / of_nobody
        assert apart < MOST_DIFFERENCE, (of_b, of_nobody)
        figures.append(
            Figure(
                "P10",
                "medians of 2 x 300 requests: B's patient, nobody's",
                f"{of_b * 1e3:.2f} ms, {of_nobody * 1e3:.2f} ms",
            )
        )
    return figures
