"""Eight clients each count in one timeline many times: they read a value, add 1, and PUT the timeline with `If-Match`;
where another one was faster (412), they read again. In the end every step must be there. The control puts with the
newest tag, whatever it read.
"""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from app.store import hash_chain
from app.store.engine import Database
from tests.api.examples import events, lab
from tests.api.test_server import running
from tests.repetition import repeats
from tests.trust.figures import Figure
from tests.trust.ground import databases

CLIENTS = 8


def run(full: bool) -> list[Figure]:
    """Change and count."""
    each = 100 if full else repeats(4)
    with databases(full) as found:
        return [figure for url, kind in found for figure in _race(url, kind, each)]


def _race(url: str, kind: str, each: int) -> list[Figure]:
    with running(url) as server:
        refused = _clients(server.port, "P1", each, careless=False)
        kept = _read(server.port, "P1")[1]
        _clients(server.port, "P2", min(each, 10), careless=True)
        control = CLIENTS * min(each, 10) - _read(server.port, "P2")[1]
    database = Database(url)
    with database.reading() as connection:
        assert hash_chain.verify(connection, "trial").faults == ()
    database.dispose()
    assert kept == CLIENTS * each, f"{kept} of {CLIENTS * each} steps are there"
    assert control > 0, "careless clients should lose steps: this test sees nothing"
    made, lost = f"steps of {CLIENTS} clients in one timeline ({kind})", "control without a look at what was read"
    return [
        Figure("P20", f"{made}; of them there", f"{CLIENTS * each}; {kept}"),
        Figure("P20", f"answers 412, read again ({kind})", str(refused)),
        Figure("P20", f"{lost} ({kind}): steps lost (must be more than 0)", str(control)),
    ]


def _clients(port: int, patient: str, each: int, careless: bool) -> int:
    """How many changes were refused and tried again."""
    together = threading.Barrier(CLIENTS)
    _write(port, patient, None, 0)

    def count(_: int) -> int:
        refused = 0
        together.wait()
        for _ in range(each):
            while True:
                tag, value = _read(port, patient)
                if careless:
                    together.wait(timeout=60)
                    tag, _value = _read(port, patient)
                status = _write(port, patient, tag, value + 1)
                if status == 200 or careless:
                    break
                assert status in {412, 503}, status
                refused += status == 412
        return refused

    with ThreadPoolExecutor(CLIENTS) as clients:
        return sum(clients.map(count, range(CLIENTS)))


def _read(port: int, patient: str) -> tuple[str, int]:
    """The tag of the timeline, and its value."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("GET", f"/v1/studies/trial/patients/{patient}")
        answer = client.getresponse()
        labs = json.loads(answer.read())["labs"]
        return answer.headers["ETag"], round(labs[0]["value"])


def _write(port: int, patient: str, tag: str | None, value: int) -> int:
    headers = {"Content-Type": "application/json"} | ({"If-Match": tag} if tag else {"If-None-Match": "*"})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request(
            "PUT",
            f"/v1/studies/trial/patients/{patient}",
            json.dumps(events(patient, lab(7, value, id="count"))),
            headers,
        )
        answer = client.getresponse()
        answer.read()
        return answer.status
