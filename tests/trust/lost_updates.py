"""Eight clients each change one timeline many times: they read it, add to what they read, and PUT it with `If-Match`;
where another one was faster (412), they read again. In the end every change must be there. The control puts without
looking at the version that it read.
"""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

from app.store import hash_chain
from app.store.engine import Database
from tests.api.examples import lab
from tests.api.test_server import running
from tests.trust.figures import Figure, NotHere
from tests.trust.ground import folder, fresh, postgres

CLIENTS = 8


def run(full: bool) -> list[Figure]:
    """Change and count."""
    each = 100 if full else 4
    figures = []
    with folder() as place:
        figures += _race(fresh(place / "x.db"), "SQLite", each)
    if full:
        with ExitStack() as servers, suppress(NotHere):
            figures += _race(servers.enter_context(postgres()).url, "PostgreSQL", each)
    return figures


def _race(url: str, kind: str, each: int) -> list[Figure]:
    with running(url) as server:
        refused = _clients(server.port, "P1", each, careless=False)
        kept = len(_read(server.port, "P1")[1]["labs"])
        _clients(server.port, "P2", min(each, 10), careless=True)
        control = CLIENTS * min(each, 10) - len(_read(server.port, "P2")[1]["labs"])
    database = Database(url)
    with database.reading() as connection:
        assert hash_chain.verify(connection, "trial").faults == ()
    database.dispose()
    assert kept == CLIENTS * each, f"{kept} of {CLIENTS * each} changes are there"
    assert control > 0, "careless clients should lose changes: this test sees nothing"
    made, lost = f"changes by {CLIENTS} clients to one timeline ({kind})", "control without a look at what was read"
    return [
        Figure("P20", f"{made}; of them there", f"{CLIENTS * each}; {kept}"),
        Figure("P20", f"answers 412, read again ({kind})", str(refused)),
        Figure("P20", f"{lost} ({kind}): changes lost (must be more than 0)", str(control)),
    ]


def _clients(port: int, patient: str, each: int, careless: bool) -> int:
    """How many changes were refused and tried again."""
    together = threading.Barrier(CLIENTS)
    _write(port, patient, None, [])

    def change(client: int) -> int:
        refused = 0
        together.wait()
        for number in range(each):
            mine = lab(7 + client, number + 1, id=f"{client}-{number}")
            while True:
                tag, read = _read(port, patient)
                if careless:
                    together.wait(timeout=60)
                    tag, _ = _read(port, patient)
                status = _write(port, patient, tag, [*read["labs"], mine])
                if status in {200, 201} or careless:
                    break
                assert status in {412, 503}, status
                refused += status == 412
        return refused

    with ThreadPoolExecutor(CLIENTS) as clients:
        return sum(clients.map(change, range(CLIENTS)))


def _read(port: int, patient: str) -> tuple[str, dict]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("GET", f"/v1/studies/trial/patients/{patient}")
        answer = client.getresponse()
        return answer.headers["ETag"], json.loads(answer.read())


def _write(port: int, patient: str, tag: str | None, labs: list[dict]) -> int:
    headers = {"Content-Type": "application/json"} | ({"If-Match": tag} if tag else {"If-None-Match": "*"})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request(
            "PUT",
            f"/v1/studies/trial/patients/{patient}",
            json.dumps({"patient": {"id": patient}, "labs": labs}),
            headers,
        )
        answer = client.getresponse()
        answer.read()
        return answer.status
