"""Who is computed next, who is refused, and who leaves the queue."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access import fair_queue
from app.access.fair_queue import FairQueue
from app.errors import Busy


class Clients:
    """Questions that hold their place until they are told to leave; `order` says in which order they had one."""

    def __init__(self, places: int, *, revoking: bool = False) -> None:
        self.queue = FairQueue(places, revoking=revoking)
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.leave: dict[str, asyncio.Event] = {}

    async def ask(self, name: str, client: str, study: str) -> None:
        """Ask, and let everything happen that follows at once."""
        self.leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._asked(name, client, study))
        await settle()

    async def _asked(self, name: str, client: str, study: str) -> None:
        while not self.leave[name].is_set():
            async with self.queue.place(client, study) as turn:
                self.order.append(name)
                leaves = asyncio.ensure_future(self.leave[name].wait())
                await asyncio.wait([leaves, turn.revoked], return_when=asyncio.FIRST_COMPLETED)
                leaves.cancel()

    async def finish(self, name: str) -> None:
        """Let a question end."""
        self.leave[name].set()
        await settle()

    async def stop(self, *names: str) -> None:
        """Cancel questions at the same time, as when their client goes away."""
        for name in names:
            self.tasks[name].cancel()
        await asyncio.gather(*[self.tasks[name] for name in names], return_exceptions=True)
        await settle()


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def lose_patience() -> None:
    """Let everybody who waits lose patience, and everything happen that follows."""
    await asyncio.sleep(0.1)
    await settle()


@pytest.fixture(autouse=True)
def _no_moment(monkeypatch) -> None:
    monkeypatch.setattr(fair_queue, "MOMENT", 0)


def test_clients_have_turns_and_within_a_client_studies_have_turns():
    async def story() -> list[str]:
        clients = Clients(1)
        for number in range(3):
            await clients.ask(f"A-s{number}", "A", "s")
        await clients.ask("A-t", "A", "t")
        await clients.ask("B-s", "B", "s")
        for _ in range(5):
            await clients.finish(clients.order[-1])
        return clients.order

    assert asyncio.run(story()) == ["A-s0", "A-s1", "B-s", "A-t", "A-s2"]


def test_one_client_on_one_study_never_has_all_places():
    async def story() -> None:
        clients = Clients(3)
        for number in range(5):
            await clients.ask(f"A{number}", "A", "s")
        assert clients.order == ["A0", "A1"]
        assert (clients.queue.running(), clients.queue.waiting()) == (2, 3)
        await clients.ask("B", "B", "s")
        assert clients.order[-1] == "B"
        await clients.finish("B")
        assert clients.order == ["A0", "A1", "B"]
        await clients.ask("A-other", "A", "t")
        assert clients.order[-1] == "A-other"
        for name in ("A0", "A1", "A-other", "A2", "A3", "A4"):
            await clients.finish(name)
        assert (clients.queue.running(), clients.queue.waiting()) == (0, 0)

    asyncio.run(story())


def test_a_question_that_is_given_up_leaves_the_queue_at_once():
    async def story() -> None:
        clients = Clients(1)
        for name in ("A0", "A1", "A2"):
            await clients.ask(name, "A", "s")
        await clients.stop("A1")
        assert clients.queue.waiting() == 1
        await clients.stop("A0")
        assert (clients.order, clients.queue.running(), clients.queue.waiting()) == (["A0", "A2"], 1, 0)
        await clients.ask("A3", "A", "s")
        await clients.stop("A2", "A3")
        assert (clients.order, clients.queue.running(), clients.queue.waiting()) == (["A0", "A2"], 0, 0)

    asyncio.run(story())


def test_more_than_a_number_of_questions_of_one_client_and_in_all_are_refused(monkeypatch):
    monkeypatch.setattr(fair_queue, "MOST_WAITING", 4)
    monkeypatch.setattr(fair_queue, "MOST_OF_A_CLIENT", 2)

    async def story() -> None:
        clients = Clients(1)
        for number in range(3):
            await clients.ask(f"A{number}", "A", "s")
        for client, study in (("A", "s"), ("A", "t")):
            with pytest.raises(Busy):
                async with clients.queue.place(client, study):
                    pass
        for client in ("B", "C"):
            await clients.ask(client, client, "s")
        with pytest.raises(Busy):
            async with clients.queue.place("D", "s"):
                pass
        assert (clients.queue.waiting(), clients.queue.running()) == (4, 1)
        await clients.finish("A0")
        await clients.ask("E", "E", "s")
        assert clients.queue.waiting() == 4

    asyncio.run(story())


def test_a_client_that_has_several_places_makes_room_for_one_that_has_none(monkeypatch):
    monkeypatch.setattr(fair_queue, "PATIENCE", 0.02)

    async def story() -> None:
        clients = Clients(3, revoking=True)
        for name, study in (("A0", "s"), ("A1", "s"), ("A2", "t")):
            await clients.ask(name, "A", study)
        await lose_patience()
        assert clients.order == ["A0", "A1", "A2"]
        await clients.ask("A3", "A", "u")
        await lose_patience()
        assert clients.order == ["A0", "A1", "A2"]
        await clients.ask("B0", "B", "s")
        await clients.ask("B1", "B", "t")
        await lose_patience()
        assert clients.order[3:] == ["B0"]
        await clients.ask("C", "C", "s")
        await lose_patience()
        assert clients.order[4:] == ["C"]
        await clients.ask("D", "D", "s")
        await lose_patience()
        assert clients.order[5:] == []
        await clients.finish("C")
        await clients.finish("B0")
        assert clients.order[5:] == ["D", "B1"]
        for name in ("D", "B1", "A0", "A2", "A1", "A3"):
            await clients.finish(name)
        assert {*clients.order[7:]} == {"A1", "A2", "A3"}
        assert (clients.queue.running(), clients.queue.waiting()) == (0, 0)

    asyncio.run(story())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "finish", "stop", "stop all"]),
        st.sampled_from("AB"),
        st.sampled_from("st"),
        st.integers(0),
    ),
    max_size=40,
)


@given(st.integers(1, 3), STEPS)
def test_no_place_is_lost_and_none_is_given_twice(places, steps):
    """Whatever happens: places are taken while somebody may have one, and everybody has one in the end."""

    async def story() -> None:
        clients, number = Clients(places), 0
        pair: dict[str, tuple[str, str]] = {}
        for what, client, study, which in steps:
            if what == "ask":
                number += 1
                pair[str(number)] = client, study
                await clients.ask(str(number), client, study)
            elif what == "stop all":
                await clients.stop(*clients.tasks)
                clients.tasks.clear()
            elif clients.tasks:
                name = list(clients.tasks)[which % len(clients.tasks)]
                if what == "stop" or name in clients.order:
                    await (clients.stop if what == "stop" else clients.finish)(name)
                    del clients.tasks[name]
            inside = Counter(pair[name] for name in clients.order if name in clients.tasks)
            waits = Counter(pair[name] for name in clients.tasks if name not in clients.order)
            assert clients.queue.running() == inside.total() <= places
            assert clients.queue.waiting() == waits.total()
            full = max(1, places - 1)
            assert inside.total() == places or all(inside[each] == full for each in waits)
        while clients.tasks:
            name = next(name for name in clients.order if name in clients.tasks)
            await clients.finish(name)
            del clients.tasks[name]
        assert (clients.queue.running(), clients.queue.waiting()) == (0, 0)

    asyncio.run(story())
