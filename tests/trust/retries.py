"""Clients post through a proxy on the same machine that cuts answers: it passes a request on, waits for the answer, and
closes the connection with a part of it or without it. The client sends the same request again with its key until it has
an answer; some requests are sent again although they were answered, and some twice at the same time. In the end there
must be one row for each logical write, and every answer to a request must have the same bytes.
"""

import asyncio
import hashlib
import http.client
import json
import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field

from app.store.engine import Database
from tests.api.examples import events, lab
from tests.api.test_server import running
from tests.repetition import repeats
from tests.trust.figures import Figure
from tests.trust.ground import databases
from tests.trust.proxies import LoopbackProxy

CLIENTS = 8
CUT = 0.3


class CuttingProxy(LoopbackProxy):
    """Passes connections on to a port; of the answers it cuts a share, after the server has sent them."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__()
        self.target = port
        self.cut = self.passed = 0
        self._chance = random.Random(seed)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request: the client closes after it."""
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))[15:])
            back.write(head + await reader.readexactly(length))
            answer = await there.read(-1)
            if self._chance.random() < CUT:
                self.cut += 1
                answer = answer[: self._chance.choice((0, 20, len(answer) - 1))]
            else:
                self.passed += 1
            writer.write(answer)
            await writer.drain()
        for end in (back, writer):
            with suppress(OSError):
                end.close()
                await end.wait_closed()


@dataclass(slots=True)
class Told:
    """What clients were told, by logical write."""

    answers: dict[int, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    sent: int = 0
    conflicts: int = 0
    refused: int = 0


def run(full: bool) -> list[Figure]:
    """Post, cut and send again."""
    writes = 2_000 if full else repeats(60)
    with databases(full) as found:
        return [figure for url, kind in found for figure in _through(url, kind, writes)]


def _through(url: str, kind: str, writes: int) -> list[Figure]:
    told = Told()
    with running(url) as server, CuttingProxy(server.port, 1) as proxy:
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda number: _write(proxy.port, number, told), range(writes)))
        reused = sum(_send(server.port, number, b'{"other":1}')[0] == 422 for number in range(0, writes, 10))
    database = Database(url)
    with database.reading() as connection:
        counted = connection.exec_driver_sql("SELECT count(*), count(DISTINCT patient_key) FROM lab_results").one()
        revisions = connection.exec_driver_sql("SELECT count(*) FROM revisions WHERE number > 0").scalar_one()
    database.dispose()
    assert counted == (writes, writes), f"{counted} rows and patients for {writes} writes"
    different = sum(len(answers) != 1 for answers in told.answers.values())
    assert different == 0, f"{different} requests have more than one answer"
    assert len(told.answers) == writes
    assert reused == len(range(0, writes, 10))
    what = f"{kind}, {CLIENTS} clients, {CUT:.0%} of the answers cut after the server had sent them"
    return [
        Figure("P3", f"logical writes ({what})", str(writes)),
        Figure("P3", f"requests sent for them, of them cut ({kind})", f"{told.sent}; {proxy.cut}"),
        Figure("P3", f"rows stored; revisions ({kind})", f"{counted[0]}; {revisions}"),
        Figure("P3", f"requests whose answers differ in a byte ({kind})", str(different)),
        Figure("P3", f"answers 409 because the same request was being processed ({kind})", str(told.conflicts)),
        Figure("P3", f"keys sent with another body; of them refused with 422 ({kind})", f"{reused}; {reused}"),
    ]


def _write(port: int, number: int, told: Told) -> None:
    """One logical write: sent until it is answered, and in part again after that."""
    chance = random.Random(number)
    body = json.dumps(events(f"P{number}", lab(7, number + 1))).encode()
    wanted = chance.choice((1, 1, 1, 2, 3))
    if chance.random() < 0.1:
        with ThreadPoolExecutor(2) as twice:
            for answered in twice.map(lambda _: _send(port, number, body), range(2)):
                wanted -= _note(told, number, *answered)
    for _ in range(200):
        if wanted <= 0:
            return
        wanted -= _note(told, number, *_send(port, number, body))
    raise AssertionError("no answer after 200 attempts")


def _note(told: Told, number: int, status: int, answer: bytes) -> bool:
    """Count what came. Whether it was the answer to the write."""
    told.sent += 1
    told.conflicts += status == 409
    if status != 201:
        assert status in {0, 409, 503}, (status, answer)
        return False
    told.answers[number].add(hashlib.sha256(answer).digest())
    return True


def _send(port: int, number: int, body: bytes) -> tuple[int, bytes]:
    """The status and the body; 0 if the connection was cut."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": f'"write-{number}"', "Connection": "close"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        try:
            client.request("POST", f"/v1/studies/trial/patients/P{number}/events", body, headers)
            answer = client.getresponse()
            body = answer.read()
            return (answer.status if answer.headers["Content-Length"] else 0), body  # else cut inside the head
        except (OSError, http.client.HTTPException):
            return 0, b""
