"""The process that is killed, or whose disk fails: `python -m tests.trust.victim ACTION ARGUMENTS`.

It imports everything once and then forks a child for each fault. The child attaches strace to itself, which injects
the fault, and writes patients; each has two results, so that half of one would be seen. Every second patient is written
with a key, and its answer with it. A line on the standard output says what was acknowledged.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event, make_url

from app.errors import Busy
from app.store import migrations
from app.store.engine import Database
from app.store.kept_answers import KeptAnswer, KeyedRequest, OneTransaction
from tests.store.posts import ck, now, post, timeline
from tests.trust.ground import content, found

SYSCALLS = "pwrite64,fdatasync,fsync,ftruncate"
PAGES = 40
"""After so many pages the log is copied into the file, so that each child passes through several such copies."""


def say(*words: object) -> None:
    """A line that is out when this returns."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


@contextmanager
def traced(*options: str) -> Iterator[None]:
    """This process under strace, with its options."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", *options, "-p", str(os.getpid())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    status = Path("/proc/self/status")
    while "TracerPid:\t0" in status.read_text():
        time.sleep(0.005)
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)  # it lets go
        tracer.wait()


def opened(url: str, synchronous: str = "FULL") -> Database:
    """The database with short logs. The control runs with a weaker `synchronous`."""
    database = Database(url, wait_seconds=5)

    @event.listens_for(database.engine, "connect")
    def shorten(driver: object, _: object) -> None:
        driver.execute(f"PRAGMA wal_autocheckpoint={PAGES}")
        driver.execute(f"PRAGMA synchronous={synchronous}")

    return database


def write(database: Database, number: int) -> None:
    """Write patient `P<number>` with two results; if the number is even, with a key and its answer."""
    labs = [ck("a", number + 1), ck("b", number + 1, time="2005-03-17")]
    if number % 2:
        post(database, "trial", timeline(f"P{number}", *labs))
        return
    request = KeyedRequest("trial", "", "POST", f"P{number}", (b"",), now(), 10**18)
    whole = OneTransaction(database, request)
    try:
        post(whole, "trial", timeline(f"P{number}", *labs))
        whole.keep(KeptAnswer(201, {}, f"P{number}".encode()))
    finally:
        whole.undo()


def in_child(work: Callable[[], None]) -> None:
    """Run the work in a child and wait until it has ended or was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def killed(url: str, points: list[tuple[str, int]], early: bool, most: int = 12) -> None:
    """A child for each point: it is killed at the n-th call of a name. Says `point`, `ack`, `unharmed` and `found`.

    The control acknowledges `early`, before it writes.
    """
    for place, (name, count) in enumerate(points):

        def work(place: int = place, name: str = name, count: int = count) -> None:
            database = opened(url)
            with traced("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={count}"):
                for number in range(place * most, (place + 1) * most):
                    if early:
                        say("ack", number)
                    write(database, number)
                    if not early:
                        say("ack", number)
            say("unharmed")

        say("point", name, count)
        in_child(work)
        numbers, halves = found(Path(make_url(url).database))
        say("found", halves, *sorted(numbers))


def recorded(url: str, trace: str, synchronous: str, count: int) -> None:
    """Write patients while strace records each byte that goes to a file, and each acknowledgement."""

    def work() -> None:
        database = opened(url, synchronous)
        with traced("-y", "-xx", "-s", "100000", "-o", trace, "-e", f"trace={SYSCALLS},write"):
            for number in range(count):
                write(database, number)
                say("ack", number)

    in_child(work)


def failing(url: str, points: list[tuple[str, str, str]]) -> None:
    """A child for each point: from the n-th call of a name on, that call gives an error. Says what became of it."""
    for place, (name, count, error) in enumerate(points):

        def work(place: int = place, name: str = name, count: str = count, error: str = error) -> None:
            database = opened(url)
            number, state = 10 * place, content(database)
            other = database.engine.raw_connection()  # as in the service, which has several
            with traced("-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={count}"):
                for each in range(number, number + 4):
                    try:
                        write(database, each)
                        say("ack", each)
                        state = content(database)
                    except Busy as refusal:
                        say("refused", each, refusal.cause)
                        say("same", content(database) == state)
                objection = database.objection()
                say("objection", objection.cause if objection else None)
            database.failures.REMEMBERED_SECONDS = 0.0
            after = database.objection()
            say("after", after.cause if after else None)
            write(database, number + 9)
            other.close()
            say("ack", number + 9)

        say("point", name, count, error)
        in_child(work)
        numbers, halves = found(Path(make_url(url).database))
        say("found", halves, *sorted(numbers))


def migrated(url: str, name: str, count: int) -> None:
    """A child that migrates to the tables of this version and is killed at the n-th call of a name."""

    def work() -> None:
        with traced("-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={count}"):
            migrations.upgrade(url)

    in_child(work)


if __name__ == "__main__":
    {"killed": killed, "recorded": recorded, "failing": failing, "migrated": migrated}[sys.argv[1]](
        *json.loads(sys.argv[2])
    )
