"""Computes answers beside each other: in worker processes that can be stopped, or in threads of the service.

A question waits in the fair queue, then it is computed. If the same question is asked again meanwhile, both get the one
answer: of a study as it stands, where it was read after both had asked. If everybody who asked has gone, the question
leaves the queue, or the process that computes it is killed.
"""

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from anyio.to_thread import run_sync

from app.access.fair_queue import FairQueue
from app.access.warming import settle, warm
from app.access.work import AnswerOrigin, Work, Workplace, parts_of
from app.access.worker_process import WorkerEnded, WorkerProcess, WorkerSettings
from app.errors import Busy, ServiceError, TakesTooLong
from app.settings import Settings
from app.store.engine import Database

PREPARED_AFTER = 3.0
"""Seconds after the start: the first requests need the processors more. A question that comes sooner starts workers."""
PATIENCE = 5
"""A question is stopped after so many times its seconds of processor, if it waits and does not compute."""
DEADLINE_EXIT = -27
"""The exit code of a worker that used up its seconds of processor: SIGPROF."""
TRIES = 3
REASONS = ("client_gone", "deadline", "died", "made_room")
"""Why the computing of an answer is stopped."""
log = logging.getLogger("myoresponse")


Answered = TypeVar("Answered")
Take = Callable[[bytes], object]
"""Gets the parts of an answer, one after the other, in a thread; it may wait."""


def _run(work: Work, place: Workplace, take: Take) -> None:
    for part in parts_of(work, place):
        take(part)


class TakenOnce:
    """Gives each byte of an answer to `take` once, although its computing may begin again."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._lock = threading.Lock()
        self._beginnings = self._taken = 0

    def begun(self) -> Take:
        """What takes the parts of the computing that begins now. Nothing more is taken of an earlier one."""
        self._beginnings += 1
        passed = 0
        beginning = self._beginnings

        def of_this_one(part: bytes) -> None:
            nonlocal passed
            with self._lock:
                if beginning != self._beginnings:
                    return
                new = part[max(self._taken - passed, 0) :]
                passed += len(part)
                self._taken += len(new)
                if new:
                    self._take(new)

        return of_this_one


class TakenLast:
    """Keeps the parts of the computing that began last; `tell` gets the first one, in a thread."""

    def __init__(self, tell: Take) -> None:
        self._tell = tell
        self.parts: list[bytes] = []

    def begun(self) -> Take:
        """What takes the parts of the computing that begins now."""
        parts = self.parts = []

        def of_this_one(part: bytes) -> None:
            parts.append(part)
            if len(parts) == 1:
                self._tell(part)

        return of_this_one


class Workers(ABC):
    """Who computes: processes or threads, so many at a time as there are `places`."""

    places: int
    can_be_stopped: bool

    def __init__(self) -> None:
        self.stopped: Counter[str] = Counter()
        """How many questions were stopped while they were computed, by reason."""

    @abstractmethod
    async def run(self, studies: Sequence[str], work: Work, take: Take) -> None:
        """Let `take` have each part of what the work gives, which reads these studies. If this is cancelled, nothing of
        the work goes on.
        """

    @abstractmethod
    async def prepare(self) -> None:
        """Start before the first question."""

    @abstractmethod
    async def forget(self, study: str) -> None:
        """Keep nothing of a study in memory that was read until now."""

    @abstractmethod
    async def close(self) -> None:
        """Stop all work and end."""


class ThreadWorkers(Workers):
    """Computes in threads of the service. A thread cannot be stopped: its place stays taken until it has finished."""

    places = 4
    """Half of the threads that serve requests."""
    can_be_stopped = False

    def __init__(self, place: Workplace) -> None:
        super().__init__()
        self._place = place
        self._warming = threading.Thread(target=warm, name="warm", daemon=True)

    async def run(self, studies: Sequence[str], work: Work, take: Take) -> None:
        """See `Workers`. Work waits until all libraries are loaded: if two threads load them, one may fail."""
        await self.prepare()
        if self._warming.is_alive():
            await run_sync(self._warming.join)
        running = asyncio.ensure_future(run_sync(self._worked, work, take))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    def _worked(self, work: Work, take: Take) -> None:
        for part in parts_of(work, self._place):
            take(part)
        self._place.cohorts.write_segments(self._place.database)

    async def prepare(self) -> None:
        """See `Workers`."""
        if self._warming.ident is None:
            self._warming.start()

    async def forget(self, study: str) -> None:
        """See `Workers`."""
        self._place.cohorts.drop(study)

    async def close(self) -> None:
        """See `Workers`. The interpreter may crash if it ends while a thread still imports."""
        if self._warming.ident is not None:
            await run_sync(self._warming.join)


class ProcessWorkers(Workers):
    """Computes in processes. A process that dies or is stopped is replaced when the next question needs it."""

    can_be_stopped = True

    def __init__(self, places: int, settings: WorkerSettings) -> None:
        super().__init__()
        self.places = places
        self._settings = settings
        self._idle: list[WorkerProcess] = []
        self._working: set[WorkerProcess] = set()
        self._outdated: set[WorkerProcess] = set()
        self._starting: asyncio.Task[None] | None = None

    @property
    def pids(self) -> list[int | None]:
        """The numbers of the processes."""
        return [worker.pid for worker in (*self._idle, *self._working)]

    async def prepare(self) -> None:
        """See `Workers`. The garbage is collected when they are there, not while the first requests wait."""
        try:
            while not self._are_all_there():
                await self._start_one()
        finally:
            settle()

    async def run(self, studies: Sequence[str], work: Work, take: Take) -> None:
        """See `Workers`. A worker that had ended before it read the work is replaced by another one."""
        for _ in range(TRIES):
            worker = await self._idle_worker(studies)
            worker.studies.update(studies)
            try:
                return await self._asked(worker, work, take)
            except WorkerEnded as ended:
                if ended.code != 0:
                    raise self._refusal(ended.code, worker) from None
        raise Busy("No process was there to compute the answer.")

    async def _asked(self, worker: WorkerProcess, work: Work, take: Take) -> None:
        self._working.add(worker)
        usable = False
        try:
            async with asyncio.timeout(PATIENCE * self._settings.cpu_seconds):
                await run_sync(partial(worker.ask, work, take), abandon_on_cancel=True)
            usable = True
        except TimeoutError:
            raise self._refusal(DEADLINE_EXIT, worker) from None
        except asyncio.CancelledError as why:
            self._log_stop(str(why), worker)
            raise
        except ServiceError:
            usable = True
            raise
        finally:
            self._working.discard(worker)
            if usable and worker not in self._outdated:
                self._idle.append(worker)
            else:
                self._outdated.discard(worker)
                worker.kill()

    def _refusal(self, code: int | None, worker: WorkerProcess) -> ServiceError:
        if code == DEADLINE_EXIT:
            self._log_stop("deadline", worker)
            return TakesTooLong(f"A question may take {self._settings.cpu_seconds:g} seconds of a processor.")
        self._log_stop("died", worker)
        return Busy("The process that computed the answer has ended.")

    def _log_stop(self, reason: str, worker: WorkerProcess) -> None:
        self.stopped[reason] += 1
        log.warning("event=worker status=stopped reason=%s pid=%s", reason, worker.pid)

    async def _idle_worker(self, studies: Sequence[str]) -> WorkerProcess:
        """A worker without work: one that has read the studies before, else a new one, else one that has read few."""
        while True:
            for worker in [worker for worker in self._idle if not worker.is_alive()]:
                self._idle.remove(worker)
                worker.kill()
            chosen = min(self._idle, key=lambda each: (len({*studies} - each.studies), len(each.studies)), default=None)
            if chosen is not None and (self._are_all_there() or not chosen.studies or {*studies} <= chosen.studies):
                self._idle.remove(chosen)
                return chosen
            await self._start_one()

    def _are_all_there(self) -> bool:
        return len(self._idle) + len(self._working) >= self.places

    async def _start_one(self) -> None:
        """Start one process, or wait for the one that is being started."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
        try:
            await asyncio.shield(self._starting)
        except (OSError, EOFError):
            raise Busy("No process can be started to compute the answer.") from None

    async def _start(self) -> None:
        self._idle.append(await run_sync(WorkerProcess, self._settings))

    async def forget(self, study: str) -> None:
        """See `Workers`. Processes that have read the study are ended: at once, or after their work."""
        self._outdated |= {worker for worker in self._working if study in worker.studies}
        ended = [worker for worker in self._idle if study in worker.studies]
        self._idle = [worker for worker in self._idle if worker not in ended]
        await self._end(ended)

    async def close(self) -> None:
        """See `Workers`."""
        if self._starting is not None:
            await asyncio.wait([self._starting])
        await self._end([*self._idle, *self._working])

    async def _end(self, workers: Sequence[WorkerProcess]) -> None:
        for worker in workers:
            worker.kill()
        for worker in workers:
            await run_sync(worker.join)


def workers_of(settings: Settings, database: Database) -> Workers:
    """The workers that the settings ask for; threads use the `database` of the service."""
    if settings.compute_workers == 0:
        from app.access.kept_cohorts import KeptCohorts

        return ThreadWorkers(Workplace(database, KeptCohorts(settings.cohort_bytes)))
    known = WorkerSettings(
        settings.database_url,
        settings.secret_path,
        settings.cohort_bytes,
        settings.compute_seconds,
        settings.segments_path,
    )
    return ProcessWorkers(settings.compute_workers, known)


@dataclass(slots=True, eq=False)
class Flight(Generic[Answered]):
    """A question that is being answered, by its name, and how many wait for its answer."""

    name: str
    task: asyncio.Task[Answered]
    askers: int = field(default=0, init=False)


@dataclass(slots=True, eq=False)
class NewestFlight(Flight[tuple[AnswerOrigin, bytes]]):
    """A question about a study as it stands: who asked it first, the state that this client saw, and the state that is
    `read` for the answer, as soon as it is known.
    """

    read: asyncio.Future[AnswerOrigin]
    client: str
    seen: AnswerOrigin

    def may_serve(self, client: str, seen: AnswerOrigin) -> bool:
        """Whether a client who saw this state may wait for the answer: it is not known to be of an earlier state, and
        the client does not wait behind other questions of another one.
        """
        if self.read.done():
            return not self.read.result().is_before(seen)
        return client == self.client or seen == self.seen


AnyFlight = TypeVar("AnyFlight", bound=Flight[Any])


class Computing:
    """Answers questions by work that `Workers` do. All methods run in one event loop."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.queue = FairQueue(workers.places, revoking=workers.can_be_stopped)
        self._flights: list[Flight[Any]] = []
        self._preparing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Let the workers start soon, without waiting for them."""
        self._preparing = asyncio.create_task(self._prepare())

    async def _prepare(self) -> None:
        await asyncio.sleep(PREPARED_AFTER)
        try:
            await self.workers.prepare()
        except Busy as failure:
            log.warning("event=worker status=not_started error=%s", type(failure.__context__).__name__)

    async def answer(self, client: str, studies: Sequence[str], tag: str, work: Work) -> bytes:
        """What the work gives, which reads these studies; the turn is that of the first. Equal tags mean the same work.

        Raises `Busy`, `TakesTooLong`, and what the work raises.
        """
        flight = next((each for each in self._flights if each.name == tag), None)
        if flight is None:
            flight = self._begin(Flight(tag, asyncio.create_task(self._whole(client, studies, work))))
        with self._asking(flight):
            answer: bytes = await asyncio.shield(flight.task)
            return answer

    async def newest(
        self, client: str, study: str, question: str, seen: AnswerOrigin, work: Work
    ) -> tuple[AnswerOrigin, bytes]:
        """The answer to a question about the study as it stands, and the state that it was read from: that in which the
        study is when the computing begins, never an earlier one than the client has `seen`. The work gives the
        origin first. Equal questions mean the same work.

        Raises the same as `answer`.
        """
        while True:
            flight, begun = self._that_may_serve(question, client, seen), False
            if flight is None:
                flight, begun = self._begin_newest(client, study, question, seen, work), True
            with self._asking(flight):
                either: list[asyncio.Future[Any]] = [flight.task, flight.read]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if begun or not flight.read.done() or not flight.read.result().is_before(seen):
                    return await asyncio.shield(flight.task)

    def _that_may_serve(self, question: str, client: str, seen: AnswerOrigin) -> NewestFlight | None:
        for flight in self._flights:
            if isinstance(flight, NewestFlight) and flight.name == question and flight.may_serve(client, seen):
                return flight
        return None

    def _begin_newest(self, client: str, study: str, question: str, seen: AnswerOrigin, work: Work) -> NewestFlight:
        loop = asyncio.get_running_loop()
        read: asyncio.Future[AnswerOrigin] = loop.create_future()

        def tell(part: bytes) -> None:
            if not read.done():
                read.set_result(AnswerOrigin.of(part))

        async def computed() -> tuple[AnswerOrigin, bytes]:
            taken = TakenLast(lambda part: loop.call_soon_threadsafe(tell, part))
            await self._computed(client, [study], work, taken.begun)
            origin, *answer = taken.parts
            tell(origin)
            return AnswerOrigin.of(origin), b"".join(answer)

        return self._begin(NewestFlight(question, asyncio.create_task(computed()), read, client, seen))

    def _begin(self, flight: AnyFlight) -> AnyFlight:
        self._flights.append(flight)
        flight.task.add_done_callback(partial(self._landed, flight))
        return flight

    @contextmanager
    def _asking(self, flight: Flight[Any]) -> Iterator[None]:
        """Somebody waits for the answer in the block. If nobody does any more, it is given up."""
        flight.askers += 1
        try:
            yield
        finally:
            flight.askers -= 1
            if flight.askers == 0 and not flight.task.done():
                self._flights.remove(flight)
                flight.task.cancel()

    async def _whole(self, client: str, studies: Sequence[str], work: Work) -> bytes:
        parts: list[bytes] = []
        await self.parts(client, studies, work, parts.append)
        return b"".join(parts)

    async def parts(self, client: str, studies: Sequence[str], work: Work, take: Take) -> None:
        """Let `take` have each part of what the work gives, in a thread. The same work is not done once for several.

        If it has to make room for another client, it waits and begins again: it gives the same bytes, and those that
        were taken before are left out.
        """
        await self._computed(client, studies, work, TakenOnce(take).begun)

    async def _computed(self, client: str, studies: Sequence[str], work: Work, begun: Callable[[], Take]) -> None:
        """Compute when it is the turn of the client; `begun` gives what takes the parts, each time that it begins."""
        while True:
            async with self.queue.place(client, studies[0] if studies else "") as turn:
                running = asyncio.ensure_future(self.workers.run(studies, work, begun()))
                either: list[asyncio.Future[Any]] = [running, turn.revoked]
                try:
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                    if running.done():
                        return running.result()
                finally:
                    if not running.done():
                        running.cancel("made_room" if turn.revoked.done() else "client_gone")
                        await asyncio.wait([running])

    def _landed(self, flight: Flight[Any], task: asyncio.Task[Any]) -> None:
        if flight in self._flights:
            self._flights.remove(flight)
        if not task.cancelled():
            task.exception()  # it may be that nobody waits for it any more

    async def close(self) -> None:
        """Give up what is being computed, and end the workers."""
        tasks: list[asyncio.Task[Any]] = [flight.task for flight in self._flights]
        if self._preparing is not None:
            tasks.append(self._preparing)
        for task in tasks:
            task.cancel()
        await self.workers.close()
        if tasks:
            await asyncio.wait(tasks)
