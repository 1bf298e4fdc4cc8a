"""One worker process: what runs in it, and what the service holds of it.

The two ends of a pipe connect them. The service sends a piece of work, and the worker sends the parts of the answer, or
a refusal. A worker that is stopped is killed by its number, in the middle of its work, and another one is started.

A worker ends by itself when the service has gone, also during its work; when it has used up the seconds of processor
that a question may cost (the system then ends it by SIGPROF); and when a person was erased from a study whose cohort it
keeps, so that no byte of the person stays in its memory.
"""

import atexit
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, ClassVar

from app.access.work import Work, Workplace, parts_of
from app.errors import ServiceError
from app.log import places
from app.store.engine import Database, kind_of
from app.store.ledger_keys import LedgerKeys

NICE = 5
"""Added to the niceness of workers, so that health checks and submissions come before analyses."""
IDLE_SECONDS = 10.0
"""How often a worker without work looks for erasures by other processes."""
_NOBODY_KNOWS = 255
"""The exit code of a process when the process that it was forked from has ended: it may still run."""
_FORK_SERVER = "app.access.fork_server"
_DRIVERS = {"sqlite": [], "postgresql": ["psycopg"]}
"""What is loaded before a worker is forked, by kind of database."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker needs to know: the database, its secret file and the folder of its segments, and the limits in
    bytes and in seconds of a processor.
    """

    database_url: str
    secret_path: Path
    cohort_bytes: int
    cpu_seconds: float
    segments_path: Path | None = None


class WorkerEnded(Exception):
    """The process ended before it answered. `code` is its exit code, the number of a signal as a negative number."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class WorkerProcess:
    """A worker process, as the service holds it. Its methods wait: call them in a thread."""

    END_SECONDS: ClassVar = 5.0

    def __init__(self, settings: WorkerSettings) -> None:
        """Start the process."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_FORK_SERVER, *_DRIVERS[kind_of(settings.database_url)]])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work_off, args=(theirs, settings), name="worker", daemon=True)
        self._process.start()
        theirs.close()
        atexit.register(self._process.kill)
        self.studies: set[str] = set()
        """The studies that it was asked about, whose data may be in its memory."""

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process runs. This does not wait."""
        return self._process.is_alive()

    def ask(self, work: Work, take: Callable[[bytes], object]) -> None:
        """Let `take` have each part of what the work gives. Raises the refusal of the work, or `WorkerEnded`, also
        after some parts.
        """
        message = self._received(work)
        while isinstance(message, bytes):
            take(message)
            message = self._received()
        if message is not None:
            raise message

    def _received(self, work: Work | None = None) -> bytes | ServiceError | None:
        """The next part of the answer, a refusal, or `None` at the end; `work` is sent before."""
        try:
            if work is not None:
                self._pipe.send(work)
            message: bytes | tuple[str, str, int] | ServiceError | None = self._pipe.recv()
            while isinstance(message, tuple):
                from app.store import segments

                segments.tell(*message)
                message = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(self.END_SECONDS)
            raise WorkerEnded(self._process.exitcode) from None
        return message

    def kill(self) -> None:
        """End the process now, whatever it does. This does not wait."""
        atexit.unregister(self._process.kill)
        if self.is_alive():
            self._process.kill()
        elif self._process.exitcode == _NOBODY_KNOWS and self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def join(self) -> None:
        """Wait until the process has ended."""
        self._process.join(self.END_SECONDS)


def work_off(pipe: Connection, settings: WorkerSettings) -> None:
    """What a worker process runs: answer until the service closes the pipe.

    A signal to the whole group of processes, such as Ctrl-C, is for the service, which finishes open requests first.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    os.nice(NICE)
    logging.disable()  # the service logs what was refused, and why
    threading.Thread(target=_end_with_the_service, name="end-with-service", daemon=True).start()
    from app.access.kept_cohorts import KeptCohorts
    from app.store import segments

    keys, said = LedgerKeys(settings.secret_path), list[tuple[str, str, int]]()
    place = Workplace(
        Database(settings.database_url, pool_size=1, keys=keys),
        KeptCohorts(settings.cohort_bytes),
    )
    if settings.segments_path is not None:
        place.database.segments = segments.Segments(settings.segments_path, keys)
        place.database.segments.say = lambda *line: said.append(line)
    while not _holds_erased(place):
        if pipe.poll(IDLE_SECONDS):
            try:
                work: Work = pipe.recv()
            except EOFError:
                return
            signal.setitimer(signal.ITIMER_PROF, settings.cpu_seconds)
            for message in _messages(work, place):
                if not isinstance(message, bytes):
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    while said:
                        pipe.send(said.pop(0))
                pipe.send(message)
            place.cohorts.write_segments(place.database)


def _messages(work: Work, place: Workplace) -> Iterator[bytes | ServiceError | None]:
    """The parts of the answer, then `None`, or a refusal. Of an unexpected error, only its type and its place in the
    code leave the process.
    """
    try:
        yield from parts_of(work, place)
    except ServiceError as refusal:
        yield refusal
    except Exception as error:  # the service answers 500
        yield ServiceError(f"{type(error).__name__} at {places(error)}")
    else:
        yield None


def _holds_erased(place: Workplace) -> bool:
    try:
        return place.cohorts.hold_erased(place.database)
    except ServiceError:  # without the database nobody knows
        return True


def _end_with_the_service() -> None:
    service: Any = multiprocessing.parent_process()
    wait([service.sentinel])
    os._exit(1)
