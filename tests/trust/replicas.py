"""Three processes of `serve` share one PostgreSQL behind a proxy that sends each connection to the next one. Four
clients write with keys and send again what was cut, three ask, two follow, while one process after the other is killed
(SIGKILL) and started again, each time just after it has committed a write that it has not told anybody of. Then one
after the other is asked to stop (SIGTERM) with a request half sent. Every answer is held against what was acknowledged
before it was asked for, and at the end every process against the others and against the database.
"""

import hashlib
import http.client
import itertools
import json
import random
import signal
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.access.callers import ALL_SCOPES
from app.access.keys import ApiKeys
from app.store.engine import Database
from app.store.verification import verify_database
from app.timeline.times import microseconds
from tests.api.examples import events, lab
from tests.api.test_server import STOPPED, Process, begin, running
from tests.repetition import PROFILE, repeats
from tests.trust.figures import Figure
from tests.trust.ground import postgres
from tests.trust.opened import opened
from tests.trust.proxies import Balancer

REPLICAS, WRITERS, READERS, FOLLOWERS = 3, 4, 3, 2
RATE, BEFORE = 40, 10
"""How many requests a key may send, and how many of them each process has counted before it hears of the others."""
HOME = "/v1/studies/trial"
QUESTIONS = (HOME, f"{HOME}/analyses/ck-change", f"{HOME}/analyses/response-rates?patients=true")
SETTINGS = {"SHARE_RATES": "true", "RATE": f"{RATE}/hour"}
COMPUTING = ("0", "0", "1") if PROFILE == "quick" else ("1", "1", "1")
"""How many processes each replica has that compute: in the quick profile two replicas compute by themselves."""
FROM_OUTSIDE = {"X-Forwarded-For": "192.0.2.1"}
"""Makes a request one that needs a key or a session."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> tuple[int, str | None, bytes]:
        """What must be equal wherever it is asked."""
        return self.status, self.headers.get("etag"), self.body


def ask(port: int, method: str, path: str, body: object = None, **headers: str) -> Heard | None:
    """One request on a connection of its own; `None` if it was cut."""
    sent = {"Connection": "close"} | ({} if body is None else {"Content-Type": "application/json"}) | headers
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        try:
            client.request(method, path, None if body is None else json.dumps(body), sent)
            answer = client.getresponse()
            read = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        found = {name.lower(): value for name, value in answer.getheaders()}
        whole = "content-length" in found or answer.status in {204, 304}
        return Heard(answer.status, found, read) if whole else None


def sure(port: int, method: str, path: str, body: object = None, **headers: str) -> Heard:
    """The answer of a process that nobody stops."""
    heard = ask(port, method, path, body, **headers)
    assert heard is not None, f"{method} {path} was not answered"
    return heard


class Load:
    """What clients do, and what they were told."""

    def __init__(self, port: int, pause: float) -> None:
        self.port = port
        self.pause = pause
        """How long a client waits before its next request."""
        self.phase = "kills"
        self.stored: dict[str, int] = {}
        self.latest = 0
        """The last revision that was acknowledged to anybody."""
        self.told: Counter[str] = Counter()
        self.said: dict[tuple[str, int], tuple[str | None, bytes]] = {}
        self.repeated = 0
        self.heard: list[list[tuple[int, str]]] = [[] for _ in range(FOLLOWERS)]
        self.connections = 0
        self.done = threading.Event()
        self.silent = threading.Event()
        self._lock = threading.Lock()

    def write(self) -> None:
        """Store one patient after the other, and look for each of them."""
        while not self.done.is_set():
            patient = uuid.uuid4().hex
            self.acknowledged(patient, self._until(201, "POST", *post_of(patient)))
            self._until(200, "GET", f"{HOME}/patients/{patient}")
            time.sleep(self.pause)

    def acknowledged(self, patient: str, heard: Heard) -> None:
        """Note a write that was acknowledged."""
        with self._lock:
            self.stored[patient] = json.loads(heard.body)["revision"]
            self.latest = max(self.latest, self.stored[patient])

    def _until(self, wanted: int, method: str, path: str, body: object = None, headers: object = None) -> Heard:
        """The answer with this status. Until then the request is sent again."""
        cut: str | None = None
        for _ in range(400):
            heard = ask(self.port, method, path, body, **(headers or {}))
            if heard is None:
                cut = self.phase
                self._tell(f"cut {cut}")
                continue
            if heard.status == wanted:
                if cut and "idempotent-replayed" in heard.headers:
                    self._tell(f"stored and cut {cut}")
                return heard
            assert heard.status in ({409, 503} if method == "POST" else {503}), (path, heard)
            assert heard.status == 409 or "retry-after" in heard.headers, heard
            self._tell(str(heard.status))
            time.sleep(0.02)
        raise AssertionError(f"{method} {path}: no answer after 400 attempts")

    def _tell(self, what: str) -> None:
        with self._lock:
            self.told[what] += 1

    def read(self, seed: int) -> None:
        """Ask questions, now and at a revision, with the tag of the answer before."""
        chance, tags = random.Random(seed), dict[str, tuple[str, int]]()
        while not self.done.is_set():
            time.sleep(self.pause)
            question, floor = chance.choice(QUESTIONS), self.latest
            if chance.random() < 0.3 and question != HOME:
                question += f"{'&' if '?' in question else '?'}revision={floor}"
            tag, known = tags.get(question, ("", -1))
            heard = ask(self.port, "GET", question, **({"If-None-Match": tag} if tag else {}))
            if heard is None or heard.status == 503:
                self._tell(f"cut {self.phase}" if heard is None else "503")
                assert heard is None or "retry-after" in heard.headers, heard
                continue
            assert heard.status in {200, 304}, heard
            revision = known if heard.status == 304 else json.loads(heard.body)["revision"]
            assert revision >= floor, f"{question}: revision {revision} after {floor} was acknowledged"
            self._tell("asked")
            if heard.status == 200:
                tags[question] = heard.headers.get("etag", ""), revision
                self._compare(question.partition("revision=")[0].rstrip("?&"), revision, heard)

    def _compare(self, question: str, revision: int, heard: Heard) -> None:
        """Of one revision there is one answer, whoever gives it."""
        said = heard.headers.get("etag"), hashlib.sha256(heard.body).digest()
        with self._lock:
            self.repeated += (question, revision) in self.said
            assert self.said.setdefault((question, revision), said) == said, (question, revision)

    def follow(self, number: int) -> None:
        """Follow the study, and connect again with the last event whenever the connection ends."""
        heard = self.heard[number]
        while not self.silent.is_set():
            last = str(heard[-1][0]) if heard else "0"
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as client:
                try:
                    client.request("GET", f"{HOME}/changes/stream?seconds=4", headers={"Last-Event-ID": last})
                    answer = client.getresponse()
                    if answer.status == 200:
                        self.connections += 1
                        self._hear(answer, heard)
                    else:
                        assert answer.status == 503, (answer.status, answer.read())
                        assert "Retry-After" in answer.headers
                except (OSError, http.client.HTTPException):
                    self._tell("cut stream")
            time.sleep(0.05)

    def _hear(self, answer: http.client.HTTPResponse, heard: list[tuple[int, str]]) -> None:
        """Take over whole events only, as browsers do."""
        lines: list[str] = []
        while not self.silent.is_set() and (line := answer.readline().decode()).endswith("\n"):
            lines.append(line)
            if line == "\n":
                fields = dict(each.rstrip("\n").split(": ", 1) for each in lines if ": " in each and each[0] != ":")
                if fields.get("event") == "revision":
                    heard.append((int(fields["id"]), fields["data"]))
                lines = []


def post_of(patient: str) -> tuple[str, object, dict[str, str]]:
    """A write of one patient with two results: where, what, and with which key."""
    return f"{HOME}/patients/{patient}/events", events(patient, lab(7, 500), lab(14, 400)), _key_of(patient)


def _key_of(patient: str) -> dict[str, str]:
    return {"Idempotency-Key": f'"{patient}"'}


@dataclass(slots=True)
class Replicas:
    """The processes, each with what ends it, and the proxy before them."""

    url: str
    proxy: Balancer = field(init=False)
    processes: list[Process] = field(default_factory=list)
    _ends: list[ExitStack] = field(default_factory=list)

    @contextmanager
    def served(self) -> Iterator["Replicas"]:
        """Start all, beside each other."""
        self._ends = [ExitStack() for _ in range(REPLICAS)]
        try:
            with ThreadPoolExecutor(REPLICAS) as starting:
                self.processes = list(starting.map(self._started, range(REPLICAS)))
            with Balancer(self.ports) as self.proxy:
                yield self
        finally:
            for end in self._ends:
                end.close()

    @property
    def ports(self) -> list[int]:
        """Where each of them listens."""
        return [each.port for each in self.processes]

    def others(self, place: int) -> list[int]:
        """The ports of all but one."""
        return [port for each, port in enumerate(self.ports) if each != place]

    def again(self, place: int) -> None:
        """Start a process again that has ended."""
        self._ends[place].close()
        self.processes[place] = self._started(place)
        self.proxy.ports[place] = self.processes[place].port

    def _started(self, place: int) -> Process:
        settings = SETTINGS | {"COMPUTE_WORKERS": COMPUTING[place]}
        return self._ends[place].enter_context(running(self.url, "-m", "app", "serve", **settings))


def run(full: bool) -> list[Figure]:
    """Kill, stop and compare."""
    kills, stops = (15, 3) if full else (1, 1)
    with postgres() as server, opened(server.url) as database, Replicas(server.url).served() as replicas:
        load = Load(replicas.proxy.port, 0.05 if full else 2 / repeats(5))
        with _clients(load) as check:
            spent, rates = _rates(database, replicas)
            for number in range(kills):
                place = number % REPLICAS
                check()
                _at_once(load, replicas.ports)
                _sessions(database, replicas.ports, number < REPLICAS)
                _kill(load, replicas, place)
                replicas.again(place)
                if number < REPLICAS:
                    _learns(replicas.ports[place], spent)
            load.phase = "stops"
            slowest = max(_stop(load, replicas, number % REPLICAS, again=full) for number in range(stops))
            check(finish=True)
            _fresh(load, living := replicas.ports if full else replicas.others(0), 60 if full else max(2, repeats(4)))
        _the_same_everywhere(load, living)
        faults = _in_the_database(database, load)
        _erased_everywhere(load, living)
    return [
        *_figures(load, kills, stops, faults),
        Figure("P13", "longest time from SIGTERM to the end of one of three processes", f"{slowest:.1f} s"),
        *rates,
    ]


def _figures(load: Load, kills: int, stops: int, revisions: int) -> list[Figure]:
    told = load.told
    lost_answers = told["stored and cut stops"]
    assert lost_answers == 0, f"{lost_answers} requests were processed, and not answered, by a process that stopped"
    what = f"one of {REPLICAS} processes on one PostgreSQL, behind a proxy"
    repeats = kills * (REPLICAS - 1)
    return [
        Figure("P1", f"kills of {what}, under {WRITERS} writers, {READERS} readers, {FOLLOWERS} followers", str(kills)),
        Figure("P1", "writes acknowledged through the proxy; lost; stored twice", f"{len(load.stored)}; 0; 0"),
        Figure("P1", "revisions 1, 2, 3, ... without a gap, their times in order, verified", str(revisions)),
        Figure("P3", f"writes whose process was killed after COMMIT and before anybody was told ({what})", str(kills)),
        Figure("P3", "of them sent again through the others: answers; other than the first in a byte", f"{repeats}; 0"),
        Figure("P3", "requests that a kill cut; of them stored already, answered again", f"{told['cut kills']}; "
               f"{told['stored and cut kills']}"),
        Figure("P8", "answers through the proxy of a revision that was asked before; different in a byte or the tag",
               f"{load.repeated}; 0"),
        Figure("P20", "answers and 304 through the proxy; older than a write acknowledged before them",
               f"{told['asked']}; 0"),
        Figure("P13", f"stops by SIGTERM of {what}, each with a request half sent, which was answered 201", str(stops)),
        Figure("P13", "requests that a stop cut before they were read; after they were stored",
               f"{told['cut stops']}; 0"),
        Figure("P13", "answers 503 with Retry-After; 409 for a key in work; other refusals",
               f"{told['503']}; {told['409']}; 0"),
        Figure("P13", f"revisions that {FOLLOWERS} followers heard over {load.connections} connections; missing; twice",
               f"{sum(map(len, load.heard))}; 0; 0"),
    ]  # fmt: skip


@contextmanager
def _clients(load: Load) -> Iterator[Callable[..., None]]:
    """Clients at work. What is given raises the error of one that has failed; `finish` ends all but the followers."""
    works = [load.write] * WRITERS
    works += [lambda seed=seed: load.read(seed) for seed in range(READERS)]
    follow = [lambda number=number: load.follow(number) for number in range(FOLLOWERS)]
    with ThreadPoolExecutor(WRITERS + READERS + FOLLOWERS) as pool:
        running_now: list[Future[None]] = [pool.submit(work) for work in (*works, *follow)]

        def check(*, finish: bool = False) -> None:
            if finish:
                load.done.set()
                wait(running_now[: len(works)])
            for each in running_now:
                if each.done():
                    each.result()

        try:
            yield check
            until = time.monotonic() + 60
            while any(not heard or heard[-1][0] < load.latest for heard in load.heard):
                check()
                assert time.monotonic() < until, "a follower did not hear of the last revision"
                time.sleep(0.05)
        finally:
            load.done.set()
            load.silent.set()
        for each in running_now:
            each.result()


def _kill(load: Load, replicas: Replicas, place: int) -> None:
    """Kill a process that has committed a write and told nobody. Sent again through the others it has its effect once,
    and both give the answer that was stored with it.
    """
    time.sleep(0.2 + 0.5 * random.random())
    patient, others = uuid.uuid4().hex, replicas.others(place)
    path, body, key = post_of(patient)
    with _sent(replicas.ports[place], path, body, key) as (connection, rest):
        connection.sendall(rest)
        _wait(lambda: sure(others[0], "GET", f"{HOME}/patients/{patient}").status == 200)
        replicas.processes[place].process.kill()
        replicas.processes[place].process.wait()
    again = [sure(port, "POST", path, body, **key) for port in others]
    assert [each.status for each in again] == [201] * len(others), again
    assert all(each.headers.get("idempotent-replayed") == "true" for each in again), again
    assert len({each.body for each in again}) == 1, again
    load.acknowledged(patient, again[0])
    _alike(others, QUESTIONS[1] + f"?revision={load.stored[patient]}")


def _at_once(load: Load, ports: list[int]) -> None:
    """One request that comes to all at the same time has its effect once, and all give the same answer."""
    patient = uuid.uuid4().hex
    path, body, key = post_of(patient)
    with ThreadPoolExecutor(len(ports)) as together:
        heard = list(together.map(lambda port: sure(port, "POST", path, body, **key), ports))
    assert {each.status for each in heard} == {201}, heard
    assert len({each.body for each in heard}) == 1, heard
    load.acknowledged(patient, heard[0])


def _stop(load: Load, replicas: Replicas, place: int, *, again: bool) -> float:
    """Ask a process to stop while a request is half sent: it is finished, and nobody else is let in."""
    patient = uuid.uuid4().hex
    path, body, key = post_of(patient)
    with _sent(replicas.ports[place], path, body, key) as (connection, rest):
        began = time.monotonic()
        process = replicas.processes[place].process
        process.send_signal(signal.SIGTERM)
        _wait(lambda: ask(replicas.ports[place], "GET", "/readyz") is None)
        connection.sendall(rest)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 201"), answer
    load.acknowledged(patient, Heard(201, {}, answer.partition(b"\r\n\r\n")[2]))
    process.wait(timeout=40)
    assert process.returncode in STOPPED
    seconds = time.monotonic() - began
    if again:
        replicas.again(place)
    return seconds


@contextmanager
def _sent(port: int, path: str, body: object, key: dict[str, str]) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection on which half of a request was sent, with which the process has begun, and the rest of it."""
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in key.items()] + [f"Content-Length: {len(content)}", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        begin(connection, "\r\n".join(lines))
        connection.sendall(content[:20])
        yield connection, content[20:]


def _sessions(database: Database, ports: list[int], wanted: bool) -> None:
    """A key, and a session made from it, are good at every process, and at none from the moment at which they end."""
    if not wanted:
        return
    keys, now = ApiKeys(database), microseconds(datetime.now(UTC))
    new = keys.create("replicas", ALL_SCOPES, now=now)
    bearer = {"Authorization": f"Bearer {new.text}"}
    begun = sure(ports[0], "POST", "/v1/session", **bearer)
    assert begun.status == 201, begun
    cookie = FROM_OUTSIDE | {"Cookie": begun.headers["set-cookie"].partition(";")[0]}
    token = {"X-CSRF-Token": json.loads(begun.body)["token"]}
    for port in ports:
        assert {sure(port, "GET", QUESTIONS[1], **bearer).status for _ in range(3)} == {200}
        assert sure(port, "GET", "/v1/session", **cookie).body == begun.body.replace(b"key:", b"session:")
        change = f"{HOME}/patients/none/events", {"patient": {"id": "other"}}
        assert sure(port, "POST", *change, **cookie).status == 403
        assert sure(port, "POST", *change, **cookie, **token).status == 422  # let in, and then refused for its body
    assert sure(ports[1], "DELETE", "/v1/session", **cookie, **token).status == 204
    assert {sure(port, "GET", HOME, **cookie).status for port in ports} == {401}
    keys.revoke(new.stored.prefix, microseconds(datetime.now(UTC)))
    assert {sure(port, "GET", QUESTIONS[1], **bearer).status for port in ports} == {401}


def _rates(database: Database, replicas: Replicas) -> tuple[dict[str, str], list[Figure]]:
    """A key sends to each process. Once each knows of the others, none lets it send more than what it says is left."""
    if (left_of_the_hour := 3_600 - time.time() % 3_600) < 120:
        time.sleep(left_of_the_hour)  # the windows of rates begin with the hours of the clock
    key = ApiKeys(database).create("rate", ALL_SCOPES, now=microseconds(datetime.now(UTC)))
    bearer = {"Authorization": f"Bearer {key.text}"}
    ports, served = replicas.ports, 0
    for port in ports * BEFORE:
        assert sure(port, "GET", HOME, **bearer).status == 200
        served += 1
    left: dict[int, int] = {}
    for port in ports:
        left[port] = RATE
        for _ in range(BEFORE):
            time.sleep(1)
            heard = sure(port, "GET", HOME, **bearer)
            assert heard.status in {200, 429}
            served += heard.status == 200
            left[port] = int(heard.headers["ratelimit"].partition(";r=")[2].partition(";")[0])
            if left[port] <= RATE - REPLICAS * BEFORE:
                break
        else:
            raise AssertionError("a process does not learn of the others' counts")
    most, refused = served + sum(left.values()), 0
    while refused < 4 * REPLICAS:
        heard = sure(replicas.proxy.port, "GET", HOME, **bearer)
        served += heard.status == 200
        refused = refused + 1 if heard.status == 429 else 0
        assert heard.status == 200 or int(heard.headers["retry-after"]) > 0
    assert RATE <= served <= most, (served, most)
    what = f"requests served of a key with {RATE} an hour that sends to {REPLICAS} processes in turn; what they allow"
    return bearer, [Figure("P15", what, f"{served}; {RATE}, and what each serves before it learns of the others")]


def _learns(port: int, spent: dict[str, str]) -> None:
    """A process that was started again learns that a rate is used up, long before it would have counted that itself."""
    heard = [sure(port, "GET", HOME, **spent)]
    while heard[-1].status == 200:
        assert len(heard) < RATE // 2, "a process that was started again does not learn of the others' counts"
        time.sleep(0.5)
        heard.append(sure(port, "GET", HOME, **spent))
    assert heard[-1].status == 429


def _fresh(load: Load, ports: list[int], rounds: int) -> None:
    """What a process answers again and again from memory ends with the first write through another one."""
    for turn in range(rounds):
        asked, question, patient = ports[turn % len(ports)], QUESTIONS[turn % 2], uuid.uuid4().hex
        assert len({sure(asked, "GET", question).said for _ in range(3)}) == 1
        path, body, key = post_of(patient)
        load.acknowledged(patient, sure(ports[(turn + 1) % len(ports)], "POST", path, body, **key))
        revision = json.loads(sure(asked, "GET", question).body)["revision"]
        assert revision == load.stored[patient], f"{question}: {revision} after {load.stored[patient]}"


def _the_same_everywhere(load: Load, ports: list[int]) -> None:
    """Each process gives the same answers, takes the tags of the others, and goes on where a cursor of theirs ends."""
    for question in (*QUESTIONS, f"{HOME}/revisions?limit=50", f"{HOME}/patients?limit=20"):
        tag = _alike(ports, question).headers.get("etag")
        if tag:
            assert {sure(port, "GET", question, **{"If-None-Match": tag}).status for port in ports} == {304}
    page, found, turns = f"{HOME}/patients?limit={max(5, len(load.stored) // 20)}", [], itertools.cycle(ports)
    while page:
        read = json.loads(sure(next(turns), "GET", page).body)
        found += [each["patient"]["id"] for each in read["items"]]
        page = read["next"]
    assert found == sorted(load.stored), "a list that several processes gave page by page is not the whole list"


def _alike(ports: list[int], question: str) -> Heard:
    """The answer that all of them give."""
    heard = [sure(port, "GET", question) for port in ports]
    assert heard[0].status == 200, heard[0]
    assert len({each.said for each in heard}) == 1, question
    return heard[0]


def _in_the_database(database: Database, load: Load) -> int:
    """What was acknowledged is there once, in revisions without a gap. The number of revisions."""
    with database.reading() as connection:
        there = connection.exec_driver_sql(
            "SELECT id, first_revision, (SELECT count(*) FROM lab_results WHERE patient_key = key) FROM patients"
        ).fetchall()
        revisions = connection.exec_driver_sql(
            "SELECT number, received_at FROM revisions WHERE number > 0 ORDER BY number"
        ).fetchall()
        verified = [fault for part in verify_database(connection, database.heads) for fault in part.faults]
    assert {patient: number for patient, number, _ in there} == load.stored, "not every write is there as acknowledged"
    assert {count for _, _, count in there} == {2}, "a write is there by halves, or twice"
    numbers = [number for number, _ in revisions]
    assert numbers == list(range(1, len(load.stored) + 1)), "the revisions have a gap"
    assert sorted(at for _, at in revisions) == [at for _, at in revisions], "a later revision was received earlier"
    assert verified == [], verified
    for heard in load.heard:
        assert [number for number, _ in heard] == numbers, "a follower missed a revision, or heard of it twice"
    assert load.heard[0] == load.heard[1], "two followers were told different things"
    return len(numbers)


def _erased_everywhere(load: Load, ports: list[int]) -> None:
    """A person who is erased through one process is in no answer of any other one, from then on."""
    patient, asked = min(load.stored), QUESTIONS[2]
    assert patient in _alike(ports, asked).body.decode()
    assert sure(ports[0], "DELETE", f"{HOME}/patients/{patient}?erase=true").status == 204
    for port in ports:
        assert sure(port, "GET", f"{HOME}/patients/{patient}").status == 410
        assert sure(port, "GET", f"{asked}&revision={len(load.stored)}").status == 410
    assert patient not in _alike(ports, asked).body.decode()


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
