"""The PostgreSQL server under the service is stopped with `pg_ctl stop -m immediate`, which is a crash, while four
clients post with keys and send again what was not answered; then it is started again. After that the server becomes one
that can only be read (a standby), as after a failover to the wrong side, and is promoted. The service is never started
again.
"""

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

from app.store import hash_chain
from app.store.engine import Database
from tests.api.examples import events, lab
from tests.api.test_server import Process, running
from tests.postgres import Server
from tests.trust.figures import Figure
from tests.trust.ground import postgres

CLIENTS = 4


@dataclass(slots=True)
class Load:
    """What clients were told."""

    stored: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)


def run(full: bool) -> list[Figure]:
    """Stop, start and look."""
    with postgres() as database, running(database.url) as service:
        return [*_crashes(database, service, 20 if full else 1), *_failover(database, service)]


def _crashes(database: Server, service: Process, stops: int) -> list[Figure]:
    load, chance, slowest = Load(), random.Random(1), 0.0
    clients = [threading.Thread(target=_post, args=(service.port, load)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for _ in range(stops):
        time.sleep(0.5 + chance.random())
        database.control("stop", "-m", "immediate")
        time.sleep(chance.random())
        database.control("start")
        slowest = max(slowest, _until_ready(service))
    load.stop.set()
    for client in clients:
        client.join()
    lost = set(load.stored) - _patients(database.url)
    assert not lost, f"{len(lost)} acknowledged writes are lost"
    assert load.told["500"] == 0, load.told
    refused = ", ".join(f"{name} {count}" for name, count in sorted(load.told.items()) if name != "201")
    return [
        Figure("P2", f"crashes of PostgreSQL (`pg_ctl stop -m immediate`) under {CLIENTS} clients", str(stops)),
        Figure("P2", "posts answered 201; of them lost; answers 500", f"{len(load.stored)}; {len(lost)}; 0"),
        Figure("P2", "answers 503 by cause, each sent again with its key", refused or "none"),
        Figure("P2", "longest time from the start of the server to readiness of the service", f"{slowest:.1f} s"),
    ]


def _failover(database: Server, service: Process) -> list[Figure]:
    """Writes are refused by name while the server is a standby, and what is not audited is read; then all goes on."""
    assert _send(service.port, "before")[0] == 201
    database.control("stop", "-m", "fast")
    signal = database.data / "standby.signal"
    signal.touch()
    signal.chmod(0o666)
    database.control("start")
    _until_ready(service, "read_only")
    status, problem, headers = _send(service.port, "during")
    told = (status, problem["type"], problem.get("cause"))
    assert told == (503, "/problems/unavailable", "read_only"), (problem, service.lines[-3:])
    assert "retry-after" not in headers
    assert service.ask("GET", "/v1/studies/trial")[0] == 200
    database.control("promote")
    waited = _until_ready(service)
    assert _send(service.port, "after")[0] == 201
    there = _patients(database.url)
    assert {"before", "after"} <= there
    assert "during" not in there
    service.wait_for("event=readiness ready=yes after=read_only")
    return [
        Figure("P2", "failovers to a server that can only be read, and back; writes lost", "1; 0"),
        Figure("P2", "time from the promotion to readiness of the service", f"{waited:.1f} s"),
    ]


def _until_ready(service: Process, cause: str | None = None) -> float:
    """Wait until the service is ready, or names this cause. The seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < 60:
        status, body = service.ask("GET", "/readyz")
        if (status == 200) if cause is None else (json.loads(body).get("cause") == cause):
            return time.monotonic() - began
        time.sleep(0.1)
    raise AssertionError(f"readiness still says {body!r}")


def _patients(url: str) -> set[str]:
    database = Database(url)
    with database.reading() as connection:
        assert hash_chain.verify(connection, "trial").faults == ()
        found = {row[0] for row in connection.exec_driver_sql("SELECT id FROM patients")}
        halves = connection.exec_driver_sql(
            "SELECT count(*) FROM patients WHERE (SELECT count(*) FROM lab_results WHERE patient_key = key) <> 2"
        ).scalar_one()
    database.dispose()
    assert halves == 0
    return found


def _post(port: int, load: Load) -> None:
    while not load.stop.is_set():
        patient = uuid.uuid4().hex
        for _ in range(600):
            status, problem, _headers = _send(port, patient)
            load.told[f"503 {problem.get('cause')}" if status == 503 else str(status)] += 1
            if status == 201:
                load.stored.append(patient)
                break
            time.sleep(0.05)


def _send(port: int, patient: str) -> tuple[int, dict, dict[str, str]]:
    headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{patient}"', "Connection": "close"}
    body = json.dumps(events(patient, lab(7, 500), lab(14, 400)))
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("POST", f"/v1/studies/trial/patients/{patient}/events", body, headers)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read()), {name.lower(): value for name, value in answer.getheaders()}
