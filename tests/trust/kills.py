"""A process that writes is killed (SIGKILL, by strace) at the n-th system call that changes a file, for many n: before
each such call of WAL, of its copy into the file, and of the truncation. After each kill the file is opened again,
checked, and the next process goes on in it. Then the whole service is killed at random moments while clients post.
"""

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from app.store import hash_chain
from app.store.engine import Database
from tests.api.examples import events, lab
from tests.api.test_server import running
from tests.trust.figures import Figure
from tests.trust.ground import folder, fresh, harmed, need_strace, spread


def run(full: bool) -> list[Figure]:
    """Kill and look."""
    need_strace()
    return [*at_each_call(full), *whole_service(kills=20 if full else 1)]


def at_each_call(full: bool) -> list[Figure]:
    """Kills at single system calls of the store."""
    counts = (("pwrite64", 260, 170), ("fdatasync", 20, 20), ("ftruncate", 1, 1))
    points = [
        (name, count) for name, most, wanted in counts for count in spread(most, wanted if full else 2 + wanted // 60)
    ]
    killed = _killed(points)
    assert killed.lost == 0, f"{killed.lost} acknowledged writes are lost"
    assert killed.halves == 0, f"{killed.halves} writes are there by halves"
    control = _killed([("pwrite64", 9), ("pwrite64", 33)], early=True)
    assert control.lost, "a write that was acknowledged before its COMMIT should have been lost"
    return [
        Figure("P1", "kills at a system call of the store (SQLite)", str(killed.kills)),
        Figure("P1", "points that the work did not reach", str(killed.unharmed)),
        Figure("P1", "acknowledged writes before these kills", str(killed.acknowledged)),
        Figure("P1", "of them lost", str(killed.lost)),
        Figure("P1", "writes stored by halves, or without their kept answer", str(killed.halves)),
        Figure(
            "P1", "control: writes lost that were acknowledged before COMMIT (must be more than 0)", str(control.lost)
        ),
        Figure("P1", "stored, but killed before the acknowledgement", str(killed.more)),
    ]


@dataclass(slots=True)
class _Killed:
    kills: int = 0
    unharmed: int = 0
    acknowledged: int = 0
    lost: int = 0
    halves: int = 0
    more: int = 0


def _killed(points: Sequence[tuple[str, int]], early: bool = False) -> _Killed:
    acks: set[int] = set()
    killed = _Killed()
    with folder() as place:
        url = fresh(place / "x.db")
        for name, *words in harmed("killed", url, points, early):
            match name:
                case "ack":
                    acks.add(int(words[0]))
                case "unharmed":
                    killed.unharmed += 1
                case "found":
                    halves, *numbers = map(int, words)
                    killed.lost = max(killed.lost, len(acks - set(numbers)))
                    killed.halves += halves
                    killed.more = len(set(numbers) - acks)
        _check_chain(url)
    killed.kills = len(points) - killed.unharmed
    killed.acknowledged = len(acks)
    return killed


def whole_service(kills: int) -> list[Figure]:
    """Kills of the whole service under four clients."""
    acknowledged: list[str] = []
    with folder() as place:
        url = fresh(place / "x.db")
        for _ in range(kills):
            with running(url) as server:
                stop = threading.Event()
                clients = [threading.Thread(target=_post, args=(server.port, acknowledged, stop)) for _ in range(4)]
                for client in clients:
                    client.start()
                time.sleep(0.3 + random.random())
                server.process.kill()
                stop.set()
                for client in clients:
                    client.join()
        database = Database(url)
        with database.reading() as connection:
            stored = {row[0] for row in connection.exec_driver_sql("SELECT id FROM patients")}
            halves = connection.exec_driver_sql(
                "SELECT count(*) FROM patients WHERE (SELECT count(*) FROM lab_results WHERE patient_key = key) <> 2"
            ).scalar_one()
        database.dispose()
        _check_chain(url)
    lost = set(acknowledged) - stored
    assert not lost, f"{len(lost)} acknowledged posts are lost"
    assert halves == 0
    return [
        Figure("P1", "kills of the whole service under four clients (SQLite)", str(kills)),
        Figure("P1", "posts answered 201 before these kills; of them lost", f"{len(acknowledged)}; 0"),
    ]


def _post(port: int, acknowledged: list[str], stop: threading.Event) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with closing(client), suppress(OSError, http.client.HTTPException):
        while not stop.is_set():
            patient = uuid.uuid4().hex
            body = json.dumps(events(patient, lab(7, 500), lab(14, 400)))
            headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{patient}"'}
            client.request("POST", f"/v1/studies/trial/patients/{patient}/events", body, headers)
            answer = client.getresponse()
            answer.read()
            if answer.status == 201:
                acknowledged.append(patient)


def _check_chain(url: str) -> None:
    database = Database(url)
    with database.reading() as connection:
        assert hash_chain.verify(connection, "trial").faults == ()
    database.dispose()
