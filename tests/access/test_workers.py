"""Worker processes: they are stopped, they die, they end by themselves, and the next question is answered."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.access import computing as module
from app.access.computing import Computing, ProcessWorkers, TakenOnce
from app.access.work import AnswerOrigin
from app.access.worker_process import WorkerSettings
from app.errors import Busy, NotFound, ServiceError, TakesTooLong
from app.secret_file import secret_path
from app.store.engine import Database
from app.store.erasure import erase
from app.store.snapshot import study_at
from tests.access import works
from tests.store.posts import begin_study, now, post, timeline
from tests.tables import with_tables

pytestmark = pytest.mark.slow
GENEROUS = 30
"""Seconds. A question that waited for another one would wait for a minute."""


def filled(url: str) -> str:
    """The database, with two studies of two patients each."""
    with_tables(url)
    database = Database(url)
    for study in ("first", "second"):
        begin_study(database, study)
        for patient in ("P01", "P02"):
            post(database, study, timeline(patient))
    database.dispose()
    return url


@pytest.fixture
def url(tmp_path) -> str:
    return filled(f"sqlite:///{tmp_path / 'x.db'}")


def erased_by_another_process(url: str, study: str, patient: str) -> None:
    database = Database(url)
    with database.writing() as connection:
        erase(connection, study, patient, client=None, received_at=now())
    database.dispose()


def story(url: str, tell: Callable[[Computing], Awaitable[Any]], *, places: int = 2, seconds: float = 60) -> None:
    """Run a test in an event loop of its own, with worker processes of its own."""

    async def told() -> None:
        computing = Computing(ProcessWorkers(places, WorkerSettings(url, secret_path(url), 10_000_000, seconds)))
        try:
            await asyncio.wait_for(tell(computing), 2 * GENEROUS)
        finally:
            await computing.close()

    asyncio.run(told())


async def appears(mark: Path) -> int:
    """The number of the process that writes the file, when it does."""
    return await asyncio.to_thread(_appears, mark)


def _appears(mark: Path) -> int:
    while not (mark.exists() and mark.read_text()):
        time.sleep(0.01)
    return int(mark.read_text())


def lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def dies(pid: int) -> None:
    await asyncio.to_thread(_dies, pid)


def _dies(pid: int) -> None:
    deadline = time.monotonic() + GENEROUS
    while lives(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def refused(answer: Awaitable[bytes]) -> type[ServiceError]:
    with pytest.raises(ServiceError) as error:
        await answer
    return error.type


def test_five_expensive_questions_closed_at_once_delay_nobody(url, tmp_path):
    async def tell(computing: Computing) -> None:
        asked = [
            asyncio.create_task(computing.answer("A", ["first"], str(n), partial(works.spin, str(tmp_path / str(n)))))
            for n in range(5)
        ]
        worker = await appears(tmp_path / "0")
        for each in asked:
            each.cancel()
        began = time.monotonic()
        assert int(await computing.answer("A", ["second"], "x", works.pid)) != worker
        assert time.monotonic() - began < GENEROUS
        await dies(worker)
        assert (computing.queue.running(), computing.queue.waiting()) == (0, 0)
        assert computing.workers.stopped == {"client_gone": 1}
        assert [mark.name for mark in tmp_path.glob("[0-9]")] == ["0"]

    story(url, tell)


def test_a_client_with_several_questions_makes_room_and_its_question_is_computed_later(url, tmp_path):
    async def tell(computing: Computing) -> None:
        go_on = tmp_path / "go-on"
        asked = []
        for study in ("first", "second"):
            work = partial(works.wait_for, str(tmp_path / study), str(go_on))
            asked.append(asyncio.create_task(computing.answer("A", [study], study, work)))
            await appears(tmp_path / study)
        assert await computing.answer("B", ["first"], "x", works.pid)
        assert computing.workers.stopped == {"made_room": 1}
        go_on.touch()
        assert await asyncio.gather(*asked) == [b"done", b"done"]

    story(url, tell)


def test_a_question_that_is_asked_by_several_is_computed_once_and_stopped_when_the_last_has_gone(url, tmp_path):
    async def tell(computing: Computing) -> None:
        answers = await asyncio.gather(*[computing.answer("A", ["first"], "same", works.once) for _ in range(5)])
        assert len(set(answers)) == 1
        assert await computing.answer("A", ["first"], "same", works.once) not in answers
        work = partial(works.spin, str(tmp_path / "mark"))
        asked = [asyncio.create_task(computing.answer(client, ["first"], "spun", work)) for client in "AB"]
        worker = await appears(tmp_path / "mark")
        asked[0].cancel()
        await asyncio.sleep(0.2)
        assert lives(worker)
        assert not asked[1].done()
        asked[1].cancel()
        await dies(worker)

    story(url, tell)


def seen_now(url: str, study: str = "first") -> AnswerOrigin:
    database = Database(url)
    with study_at(database, study) as snapshot:
        seen = AnswerOrigin(*snapshot.tag())
    database.dispose()
    return seen


def posted(url: str, study: str, patient: str) -> AnswerOrigin:
    """The state of a study after a new patient."""
    database = Database(url)
    post(database, study, timeline(patient))
    database.dispose()
    return seen_now(url, study)


@dataclass
class Newest:
    """Asks how many patients the first study has as it stands, and lets the answers go on."""

    computing: Computing
    folder: Path
    work: Any = None

    def __post_init__(self) -> None:
        self.mark, self.go_on = self.folder / "mark", self.folder / "go-on"
        self.work = partial(works.newest, "first", str(self.mark), str(self.go_on))

    def asked(self, client: str, seen: AnswerOrigin) -> asyncio.Task[tuple[AnswerOrigin, bytes]]:
        return asyncio.create_task(self.computing.newest(client, "first", "how many", seen, self.work))


def test_one_computing_that_begins_after_all_have_asked_answers_them_from_the_state_that_it_finds(url, tmp_path):
    """Each sees every revision of before it asked, also who asked while an earlier state was read."""

    async def tell(computing: Computing) -> None:
        newest = Newest(computing, tmp_path)
        first = newest.asked("A", before := seen_now(url))
        await appears(newest.mark)
        same = newest.asked("B", before)
        later = [newest.asked("A", posted(url, "first", patient)) for patient in ("P03", "P04")]
        await asyncio.sleep(0.2)
        assert (computing.queue.running(), computing.queue.waiting()) == (1, 1)
        last = posted(url, "first", "P05")
        newest.go_on.touch()
        assert await first == await same == (before, b"2 by done")
        assert [await each for each in later] == [(last, b"5 by done")] * 2
        assert computing.queue.running() == 0

    story(url, tell)


def test_a_client_never_waits_behind_the_questions_of_another_one_for_an_answer_that_both_want(url, tmp_path):
    async def tell(computing: Computing) -> None:
        newest = Newest(computing, tmp_path)
        before, spun = seen_now(url), []
        for number in range(3):
            work = partial(works.spin, str(tmp_path / str(number)))
            spun.append(asyncio.create_task(computing.answer("A", ["first"], str(number), work)))
        behind = newest.asked("A", before)
        await appears(tmp_path / "0")
        newest.go_on.touch()
        own = newest.asked("B", seen := posted(url, "first", "P03"))
        assert await own == (seen, b"3 by done")
        assert not behind.done()
        for each in (*spun, behind):
            each.cancel()

    story(url, tell)


def test_an_answer_that_makes_room_is_read_anew_and_is_about_the_state_that_it_names(url, tmp_path):
    async def tell(computing: Computing) -> None:
        newest = Newest(computing, tmp_path)
        blocking = asyncio.create_task(
            computing.answer("A", ["second"], "x", partial(works.spin, str(tmp_path / "spun")))
        )
        await appears(tmp_path / "spun")
        asked = newest.asked("A", seen_now(url))
        await appears(newest.mark)
        last = posted(url, "first", "P03")
        assert await computing.answer("B", ["first"], "y", works.pid)
        assert computing.workers.stopped == {"made_room": 1}
        newest.go_on.touch()
        assert await asked == (last, b"3 by done")
        blocking.cancel()

    story(url, tell)


def test_the_newest_answer_is_given_up_when_the_last_asker_has_gone_and_refused_as_its_work_is(url, tmp_path):
    async def tell(computing: Computing) -> None:
        newest = Newest(computing, tmp_path)
        asked = [newest.asked(client, seen_now(url)) for client in "AA"]
        worker = await appears(newest.mark)
        asked[0].cancel()
        await asyncio.sleep(0.2)
        assert lives(worker)
        asked[1].cancel()
        await dies(worker)
        missing = [computing.newest("A", "first", "missing", seen_now(url), works.missing) for _ in range(2)]
        assert [await refused(each) for each in missing] == [NotFound, NotFound]

    story(url, tell)


def test_a_question_that_uses_up_its_seconds_of_processor_is_stopped_and_one_that_only_waits_too(
    url, tmp_path, monkeypatch
):
    async def tell(computing: Computing) -> None:
        for name, work, patience in (("spin", works.spin, 1_000), ("sleep", works.sleep, 2)):
            monkeypatch.setattr(module, "PATIENCE", patience)
            answer = computing.answer("A", ["first"], name, partial(work, str(tmp_path / name)))
            assert await refused(answer) is TakesTooLong
            await dies(await appears(tmp_path / name))
        assert computing.workers.stopped == {"deadline": 2}
        assert await computing.answer("A", ["first"], "x", works.pid)

    story(url, tell, seconds=0.5)


def test_the_seconds_of_processor_are_those_of_one_question(url, tmp_path):
    """Many short questions use up nothing together."""

    async def tell(computing: Computing) -> None:
        pids = {await computing.answer("A", ["first"], str(number), works.busy) for number in range(5)}
        assert len(pids) == 1

    story(url, tell, places=1, seconds=1.5)


def test_a_question_whose_process_is_killed_is_refused_and_the_next_is_answered(url, tmp_path):
    async def tell(computing: Computing) -> None:
        asked = asyncio.create_task(computing.answer("A", ["first"], "x", partial(works.spin, str(tmp_path / "mark"))))
        worker = await appears(tmp_path / "mark")
        os.kill(worker, signal.SIGKILL)
        assert await refused(asked) is Busy
        idle = int(await computing.answer("A", ["first"], "y", works.pid))
        os.kill(idle, signal.SIGKILL)
        await dies(idle)
        assert int(await computing.answer("A", ["first"], "z", works.pid)) not in {worker, idle}

    story(url, tell, places=1)


def test_signals_to_the_whole_group_are_for_the_service(url, tmp_path):
    """Ctrl-C reaches every process of a terminal: a worker finishes what it computes."""

    async def tell(computing: Computing) -> None:
        mark, go_on = tmp_path / "mark", tmp_path / "go-on"
        asked = asyncio.create_task(
            computing.answer("A", ["first"], "x", partial(works.wait_for, str(mark), str(go_on)))
        )
        worker = await appears(mark)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker, number)
        go_on.touch()
        assert await asked == b"done"
        assert int(await computing.answer("A", ["first"], "y", works.pid)) == worker

    story(url, tell, places=1)


def test_workers_are_stopped_and_replaced_also_when_the_process_that_forks_them_was_killed(url, tmp_path):
    async def tell(computing: Computing) -> None:
        work = partial(works.spin, str(tmp_path / "mark"))
        asked = asyncio.create_task(computing.answer("A", ["first"], "x", work))
        worker = await appears(tmp_path / "mark")
        forking = parent(worker)
        assert forking != os.getpid()
        os.kill(forking, signal.SIGKILL)
        await asyncio.sleep(0.2)
        assert lives(worker)
        asked.cancel()
        await dies(worker)
        assert parent(int(await computing.answer("A", ["first"], "y", works.pid))) != forking

    story(url, tell, places=1)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_what_a_worker_refuses_is_refused_and_an_error_leaves_it_without_its_text(url):
    async def tell(computing: Computing) -> None:
        assert await refused(computing.answer("A", ["first"], "x", works.missing)) is NotFound
        with pytest.raises(ServiceError) as error:
            await computing.answer("A", ["first"], "y", works.broken)
        assert str(error.value).startswith("KeyError at ")
        assert "works.py" in str(error.value)
        assert "SECRET" not in str(error.value)
        assert computing.workers.stopped == {}

    story(url, tell)


def test_a_worker_loads_no_http_and_shares_the_libraries_without_threads_of_theirs(url):
    async def tell(computing: Computing) -> None:
        loaded = (await computing.answer("A", ["first"], "x", works.modules)).decode().split()
        assert {"lifelines", "scipy", "pandas", "app.analyses"} <= set(loaded)
        assert {"fastapi", "starlette", "uvicorn", "typer", "pyarrow", "pyarrow.lib", "app.http", "app.api"} & set(
            loaded
        ) == set()
        assert await computing.answer("A", ["first"], "y", works.threads) == b"2"  # its own, and one that waits

    story(url, tell)


def test_a_cohort_is_kept_between_questions_and_its_worker_is_asked_again(url):
    async def tell(computing: Computing) -> None:
        await computing.workers.prepare()
        first = await counted(computing, "first", "A")
        assert first[:2] == (2, 1)
        assert await counted(computing, "first", "A") == first
        second = await counted(computing, "second", "B")
        assert await counted(computing, "first", "C") == first
        assert await counted(computing, "second", "C") == second

    story(url, tell)


async def counted(computing: Computing, study: str, client: str) -> tuple[int, int, int]:
    """The patients of a study, the kept cohorts, and the process."""
    answer = await computing.answer(client, [study], study, partial(works.patients, study))
    patients, kept, worker = map(int, answer.split())
    return patients, kept, worker


def test_an_erasure_ends_the_processes_that_have_read_the_study(url, tmp_path):
    async def tell(computing: Computing) -> None:
        _, _, idle = await counted(computing, "first", "A")
        erased_by_another_process(url, "first", "P01")
        await computing.workers.forget("second")
        assert lives(idle)
        await computing.workers.forget("first")
        assert not lives(idle)
        mark, go_on = tmp_path / "mark", tmp_path / "go-on"
        asked = asyncio.create_task(
            computing.answer("A", ["first"], "x", partial(works.wait_for, str(mark), str(go_on)))
        )
        working = await appears(mark)
        await computing.workers.forget("first")
        await asyncio.sleep(0.1)
        assert lives(working)
        go_on.touch()
        assert await asked == b"done"
        await dies(working)
        assert (await counted(computing, "first", "A"))[:2] == (1, 1)

    story(url, tell, places=1)


def test_a_worker_ends_by_itself_after_an_erasure_by_another_process(database_url):
    url = filled(database_url)

    async def tell(computing: Computing) -> None:
        _, _, worker = await counted(computing, "first", "A")
        erased_by_another_process(url, "first", "P01")
        await computing.answer("A", ["second"], "x", works.pid)
        await dies(worker)
        patients, kept, other = await counted(computing, "first", "A")
        assert (patients, kept) == (1, 1)
        assert other != worker

    story(url, tell, places=1)


def test_a_computing_that_begins_again_gives_each_byte_once():
    found = []
    once = TakenOnce(found.append)
    first = once.begun()
    first(b"abc")
    first(b"de")
    second = once.begun()
    first(b"x")  # nobody takes it any more
    second(b"a")
    second(b"bcdef")
    second(b"g")
    assert b"".join(found) == b"abcdefg"
