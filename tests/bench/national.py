"""A national registry: how the service holds it while hospitals send, analysts ask and people read.

`python -m tests.bench.national 50000` runs it on SQLite, `python -m tests.bench.national 50000 postgresql` on a
PostgreSQL of its own, each with 100 results of each patient. Both say on the standard error how far they are, print a
row for each figure, and remove what they wrote.

50,000 patients who are seen four times a year are 200,000 visits a year. On 250 days of eight hours that is one message
in 36 seconds. Here ten messages arrive every second: a day of the whole country in 80 seconds, and so that each
question is asked about a revision that nobody has asked about.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from sqlalchemy import create_engine, text

from app.access.callers import ALL_SCOPES
from app.access.keys import ApiKeys
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.migrations import upgrade
from app.store.opening import open_ledger
from benchmarks.pairs import Load
from benchmarks.programs import Service, service
from tests.bench.hospitals import HOSPITALS, OF_A_VISIT, RESULTS, STUDY, Asked, messages, timeline
from tests.bench.loopback import ROOT, memory
from tests.bench.postgres_bulk import DURABLE
from tests.postgres import bundled_binaries, controlled_server, fresh_database

FEEDS, ANALYSTS, READERS = 4, 2, 2
SECONDS = 180.0
BYTES_OF_A_RESULT = 90
QUESTIONS = tuple(
    f"{STUDY}/analyses/{each}" for each in ("weekly-change", "response-rates", "ck-change", "ck-normal-time")
)
PAGES = (f"{STUDY}.html", f"{STUDY}/report.html")
FEED = "results of one visit"
BUSY, TOO_LONG = (429, 503), 504
PATIENCE = 300.0
"""Seconds after which a client that is always told to come again gives up, and the run ends."""

Row = tuple[str, str]
Say = Callable[[str], None]


@dataclass
class Seen:
    """What the clients of one kind saw: how long each request took until its answer, and the statuses of the others."""

    latencies: list[float] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)


@dataclass
class Taken:
    """What something took: seconds, processor time of the service, and the most memory of one of its processes that
    serves, of one that computes, and of all of them. What PostgreSQL takes is not in it.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    serving: int = 0
    computing: int = 0
    together: int = 0

    def __str__(self) -> str:
        serving, computing, together = (each / 1e6 for each in (self.serving, self.computing, self.together))
        memory = f"serving {serving:,.0f} MB, computing {computing:,.0f} MB, together {together:,.0f} MB"
        return f"{self.seconds:,.1f} s, {self.cpu:,.1f} s of a processor; {memory}"


def national(patients: int, *, postgres: bool = False, seconds: float = SECONDS, settle: float = 5.0) -> list[Row]:
    """Load a registry, then send, ask and read at once; at the end everything that was acknowledged must be there."""
    say = _clock()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="national-")))
        url = stack.enter_context(_postgres()) if postgres else f"sqlite:///{folder / 'registry.db'}"
        upgrade(url)
        variables = _settings(url, folder, patients, several=postgres)
        loader, *keys = _keys(url, folder, 1 + FEEDS + ANALYSTS + READERS)
        command = [sys.executable, "-m", "app", "serve", "--port", "{port}"]
        with service(command, "/livez", folder, variables, settle) as started:
            rows = [_loaded(started, loader, patients, say), *_first_answers(started, loader, say)]
            seen, taken = _mixed(started, keys, patients, seconds)
            say("all clients have their answers")
        rows += [_of_clients(kind, each, taken) for kind, each in seen.items()]
        rows.append((f"the service meanwhile, on {os.cpu_count()} processors", str(taken)))
        rows.append(_count(url, patients * RESULTS + len(OF_A_VISIT) * len(seen[FEED].latencies)))
        rows.append(_disk(url, folder))
        rows.append(_verified(folder, variables))
        say("verified")
    return rows


def _clock() -> Say:
    began = time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - began:6,.0f} s: {what}", file=sys.stderr, flush=True)

    return say


@contextmanager
def _postgres() -> Iterator[str]:
    binaries = bundled_binaries()
    if binaries is None:
        raise SystemExit("there is no PostgreSQL for this machine")
    with controlled_server(binaries, DURABLE) as server, fresh_database(server.url) as url:
        yield url


def _settings(url: str, folder: Path, patients: int, *, several: bool) -> dict[str, str]:
    """Those of docs/scaling.md: each process that computes may keep the columns. One process serves, and has two that
    compute; or `several` do, with one each.
    """
    settings = {
        "DATABASE_URL": url,
        "SECRET_FILE": folder / "registry.secret",
        "HEADS_FILE": folder / "registry.heads",
        "SEGMENTS": folder / "segments",
        "REQUIRE_KEYS": "true",
        "WORKERS": 2 if several else 1,
        "COMPUTE_WORKERS": 1 if several else 2,
        "COMPUTE_SECONDS": 180,
        "COHORT_BYTES": max(200_000_000, patients * RESULTS * BYTES_OF_A_RESULT * 3 // 2),
    }
    return {f"MYORESPONSE_{name}": str(value) for name, value in settings.items()} | {"PYTHONPATH": str(ROOT)}


def _keys(url: str, folder: Path, count: int) -> list[str]:
    """A key for each client: the processes that compute are divided among those who ask."""
    database = Database(url, keys=LedgerKeys(folder / "registry.secret"))
    if (objection := open_ledger(database, folder / "registry.heads")) is not None:
        raise SystemExit(objection)
    made = [ApiKeys(database).create(f"client {n}", ALL_SCOPES, now=time.time_ns() // 1000).text for n in range(count)]
    database.dispose()
    return made


def _loaded(started: Service, key: str, patients: int, say: Say) -> Row:
    """A body of lines from each hospital that has a patient, all of which must be created."""
    declared = {"name": "Registry", "protocol": "seed-2008", "identifiers": "pseudonyms", "time_zone": "Asia/Tokyo"}
    _answer(started.port, key, Asked("PUT", STUDY, json.dumps(declared).encode()))
    size, hospitals = 0, min(HOSPITALS, patients)
    with _taken(started) as taken:
        for hospital in range(hospitals):
            own = range(hospital, patients, HOSPITALS)
            body = b"\n".join(map(timeline, own))
            size += len(body)
            end = _answer(started.port, key, Asked("POST", f"{STUDY}/timelines", body, "application/x-ndjson"))
            if json.loads(end.splitlines()[-1])["counts"] != {"created": len(own)}:
                raise SystemExit(f"not everything was stored: {end[-300:]!r}")
            if hospital % 10 == 9:
                say(f"{hospital + 1} of {hospitals} hospitals are loaded")
    results = patients * RESULTS
    what = f"bulk NDJSON of {hospitals} hospitals, {patients:,} patients, {results:,} results, {size / 1e6:,.0f} MB"
    return what, f"{results / taken.seconds:,.0f} results/s while the client makes them; {taken}"


def _first_answers(started: Service, key: str, say: Say) -> list[Row]:
    """The first question reads rows. What follows has the columns."""
    rows = []
    for path in (QUESTIONS[-1], f"{STUDY}/analyses", *PAGES):
        with _taken(started) as taken:
            answer = _answer(started.port, key, Asked("GET", path))
        rows.append((f"{_short(path)} after the import, alone ({len(answer) / 1e3:,.0f} kB)", str(taken)))
        say(f"{path} is answered")
    return rows


@contextmanager
def _taken(started: Service) -> Iterator[Taken]:
    """What the block takes; it is complete after the block."""
    taken, done = Taken(), threading.Event()
    watching = threading.Thread(target=_watch, args=(started, taken, done))
    watching.start()
    began, cpu = time.perf_counter(), started.cpu()
    try:
        yield taken
        taken.seconds, taken.cpu = time.perf_counter() - began, started.cpu() - cpu
    finally:
        done.set()
        watching.join()


def _watch(started: Service, taken: Taken, done: threading.Event) -> None:
    """Look at the memory of all processes again and again. Pages that several of them share count once together."""
    while True:
        together = 0
        for process in started.processes():
            with suppress(OSError, StopIteration):  # it has just ended
                computes = b"forkserver" in Path(f"/proc/{process}/cmdline").read_bytes()
                pages = Path(f"/proc/{process}/smaps_rollup").read_text()
                together += 1024 * int(pages.split("\nPss:")[1].split()[0])
                kind = "computing" if computes else "serving"
                setattr(taken, kind, max(getattr(taken, kind), memory(process, "VmRSS")))
        taken.together = max(taken.together, together)
        if done.wait(2):
            return


def _mixed(started: Service, keys: list[str], patients: int, seconds: float) -> tuple[dict[str, Seen], Taken]:
    """Feeds, questions and pages at once, each client with its key."""
    seen: dict[str, Seen] = {kind: Seen() for kind in (FEED, *QUESTIONS, *PAGES)}
    began = time.monotonic()
    clients = [messages(first, FEEDS, patients, began, seconds) for first in range(FEEDS)]
    clients += [_reads(QUESTIONS, began + seconds) for _ in range(ANALYSTS)]
    clients += [_reads(PAGES, began + seconds) for _ in range(READERS)]
    with _taken(started) as taken, ThreadPoolExecutor(len(clients)) as threads:
        each = zip(keys, clients, strict=True)
        for client in [threads.submit(_client, started.port, key, asked, seen) for key, asked in each]:
            client.result()
    return seen, taken


def _reads(paths: tuple[str, ...], until: float) -> Iterator[Asked]:
    """One after the other until it is time, each at least once. By the first one, the study has changed."""
    time.sleep(1)
    for number, path in enumerate(itertools.cycle(paths)):
        if number >= len(paths) and time.monotonic() >= until:
            return
        yield Asked("GET", path)


def _client(port: int, key: str, requests: Iterator[Asked], seen: dict[str, Seen]) -> None:
    """Send each request when it is due, and again while the service is busy. A latency begins when it was due."""
    for asked in requests:
        mine = seen[FEED if asked.due else asked.path]
        began = asked.due or time.monotonic()
        time.sleep(max(0.0, began - time.monotonic()))
        while (status := _heard(port, key, asked)[0]) in BUSY:
            mine.refused[status] += 1
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"{asked.path}: {status} for {PATIENCE:.0f} s")
            time.sleep(1)
        if status == TOO_LONG:
            mine.refused[status] += 1
        else:
            mine.latencies.append(time.monotonic() - began)


def _answer(port: int, key: str, asked: Asked) -> bytes:
    status, answer = _heard(port, key, asked)
    if status >= 300:
        raise SystemExit(f"{asked.path}: {status} {answer[:500]!r}")
    return answer


def _heard(port: int, key: str, asked: Asked) -> tuple[int, bytes]:
    """Status and body of an answer. What is neither a success nor for want of time stops the run."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=2 * PATIENCE)) as connection:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": asked.media_type}
        connection.request(asked.method, asked.path, asked.body, headers)
        response = connection.getresponse()
        body = response.read()
    if response.status >= 300 and response.status not in {*BUSY, TOO_LONG}:
        raise SystemExit(f"{asked.method} {asked.path}: {response.status} {body[:500]!r}")
    return response.status, body


def _of_clients(kind: str, seen: Seen, taken: Taken) -> Row:
    if not seen.latencies:
        return _short(kind), f"no answer; refused: {dict(seen.refused)}"
    load = Load(taken.seconds, seen.latencies)
    refused = ", ".join(f"{count} x {status}" for status, count in sorted(seen.refused.items())) or "none"
    p50, p99 = (f"{load.slowest(share):.3f} s" for share in (0.5, 0.99))
    return _short(kind), f"{len(seen.latencies):,} in {taken.seconds:,.0f} s; p50 {p50}, p99 {p99}; refused: {refused}"


def _short(path: str) -> str:
    return f"`{path.removeprefix('/v1/studies/')}`" if path != FEED else path


def _count(url: str, acknowledged: int) -> Row:
    """Every result that was acknowledged is there, and no other."""
    engine = create_engine(url)
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT count(*) FROM lab_results")).scalar_one()
    engine.dispose()
    if stored != acknowledged:
        raise SystemExit(f"{acknowledged:,} results were acknowledged, and {stored:,} are stored")
    return "results acknowledged, and results stored", f"{acknowledged:,}, {stored:,}"


def _disk(url: str, folder: Path) -> Row:
    if url.startswith("sqlite"):
        size = sum(file.stat().st_size for file in folder.glob("registry.db*"))
    else:
        engine = create_engine(url)
        with engine.connect() as connection:
            size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
        engine.dispose()
    segments = sum(file.stat().st_size for file in (folder / "segments").rglob("*.arrow"))
    return "on the disk", f"database {size / 1e6:,.0f} MB, segments {segments / 1e6:,.0f} MB"


def _verified(folder: Path, variables: dict[str, str]) -> Row:
    """`verify` of everything, as an operator runs it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "verify"], cwd=folder, env=os.environ | variables, stdout=subprocess.PIPE
    )
    with process.stdout as output:
        said = output.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"verify: {process.returncode} {said}")
    seconds = usage.ru_utime + usage.ru_stime
    return "`verify`", f"right; {seconds:,.0f} s of a processor, {usage.ru_maxrss / 1e3:,.0f} MB of memory"


if __name__ == "__main__":
    for told in national(int(sys.argv[1]), postgres=sys.argv[2:] == ["postgresql"]):
        print(*told, sep=" | ", flush=True)
