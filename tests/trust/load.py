"""Clients post at once to one server: as many as its threads (1x), twice and four times as many, each sending again as
soon as it has its answer and, when refused, after the time that Retry-After names. Then forty post 15 MB at once, while
`/livez` is asked. Clients and server share the two cores of one machine, so that the clients, too, slow the server.
"""

import asyncio
import json
import statistics
import tempfile
import threading
import time
from typing import NamedTuple

from tests.api.examples import events, lab
from tests.api.test_server import Process, running
from tests.tables import with_tables
from tests.trust.figures import Figure
from tests.trust.many import HOME, Meter

THREADS = 8
MOST_RATIO = 3.0
MOST_MEMORY = 400_000_000
"""Forty bodies of 15 MB are 600 MB."""


class Heard(NamedTuple):
    """An answer: its status, whether it says when to come again, and how long it took."""

    status: int
    retry: int | None
    seconds: float


async def post(port: int, path: str, body: bytes, kind: str = "application/json") -> Heard:
    """One request on a connection of its own; a server that closes before it read the body may have answered."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = b""
    try:
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
    except (ConnectionError, asyncio.IncompleteReadError) as error:
        answer = getattr(error, "partial", b"")
    finally:
        writer.close()
    lines = answer.lower().split(b"\r\n")
    retry = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"retry-after")), None)
    return Heard(int(lines[0].split()[1]) if lines[0] else 0, retry, time.monotonic() - began)


async def client(port: int, number: int, until: float, heard: list[Heard]) -> None:
    """Post again and again."""
    count = 0
    while time.monotonic() < until:
        patient = f"P{number:03}-{int(until)}-{count}"
        body = json.dumps(events(patient, *(lab(day, 100 + day) for day in range(20)))).encode()
        answer = await post(port, f"{HOME}/patients/{patient}/events", body)
        heard.append(answer)
        count += 1
        if answer.status == 503:
            await asyncio.sleep(answer.retry or 0)


def loaded(server: Process, clients: int, seconds: float) -> list[Heard]:
    """What so many clients hear in so many seconds."""

    async def together() -> list[Heard]:
        heard: list[Heard] = []
        until = time.monotonic() + seconds
        await asyncio.gather(*(client(server.port, number, until, heard) for number in range(clients)))
        return heard

    return asyncio.run(together())


def slowest(heard: list[Heard]) -> float:
    """The time in which 99 of 100 admitted requests are answered."""
    admitted = sorted(each.seconds for each in heard if each.status < 300)
    return admitted[int(len(admitted) * 0.99) - 1] if admitted else float("inf")


def flood(server: Process, count: int, size: int) -> list[Heard]:
    """What so many clients hear that post so many bytes at once."""
    bodies = [b'{"patient":{"id":"P%d"},"x":"%s"}' % (number, b"x" * size) for number in range(count)]

    async def together() -> list[Heard]:
        posts = (post(server.port, f"{HOME}/patients/P{i}/events", body) for i, body in enumerate(bodies))
        return await asyncio.gather(*posts)

    return asyncio.run(together())


def run(full: bool) -> list[Figure]:
    """Load at 1x, 2x and 4x, then the flood."""
    runs, seconds = (5, 10.0) if full else (1, 0.7)
    ratios: dict[int, list[float]] = {2: [], 4: []}
    shares: dict[int, list[float]] = {1: [], 2: [], 4: []}
    alone, figures = [], []
    with tempfile.TemporaryDirectory() as folder:
        url = with_tables(f"sqlite:///{folder}/load.db")
        with running(url) as server:
            server.ask("PUT", HOME, {"name": "Trial", "protocol": "seed-2008"})
            loaded(server, 1, 1)
            for _ in range(runs):
                unloaded = slowest(loaded(server, THREADS, seconds))
                alone.append(unloaded)
                for times in (2, 4):
                    heard = loaded(server, THREADS * times, seconds)
                    refused = [each for each in heard if each.status == 503]
                    assert all(each.retry for each in refused), "a refusal without Retry-After"
                    assert {each.status for each in heard} <= {200, 201, 503}, {each.status for each in heard}
                    ratios[times].append(slowest(heard) / unloaded)
                    shares[times].append(len(refused) / len(heard))
            began = time.monotonic()
            patience = 30 if full else 3
            while (
                slowest(loaded(server, THREADS, 1)) > 1.5 * statistics.median(alone)
                and time.monotonic() - began < patience
            ):
                pass
            recovery = time.monotonic() - began
            meter = Meter(server)
            rest = meter.memory("VmRSS")
            meter.forget()
            probing = threading.Thread(target=meter.probe)
            probing.start()
            answers = flood(server, 40, 15_000_000 if full else 1_000_000)
            meter.stop()
            probing.join()
            more = meter.memory("VmHWM") - rest
    told = {status: [each.status for each in answers].count(status) for status in sorted({a.status for a in answers})}
    assert set(told) <= {0, 422, 503}, told
    assert more < MOST_MEMORY, f"{more / 1e6:.0f} MB"
    if full:
        assert statistics.median(ratios[4]) <= MOST_RATIO, ratios
    figures += [
        Figure("P15", f"p99 at 1x ({THREADS} clients), median of {runs}", f"{statistics.median(alone) * 1000:.0f} ms"),
        *(
            Figure(
                "P15",
                f"load {times}x: p99 of the admitted to that at 1x, median of {runs}; refused",
                f"{statistics.median(ratios[times]):.2f}; {statistics.median(shares[times]):.0%}",
            )
            for times in (2, 4)
        ),
        Figure("P15", "after 4x: until p99 is as at 1x", f"{recovery:.1f} s"),
        Figure("P15", "40 posts at once: answers by status (0: closed while sending)", str(told)),
        Figure("P14", "40 posts at once: memory above rest", f"{more / 1e6:.0f} MB"),
        Figure("P15", "40 posts at once: longest wait for `/livez`", f"{max(meter.waits) * 1000:.0f} ms"),
    ]
    return figures


if __name__ == "__main__":
    import sys

    print(*run("full" in sys.argv), sep="\n")
