"""The order in which questions are computed: in turns by client, and for each client in turns by study."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.errors import Busy

MOST_WAITING = 64
"""How many questions may wait in all."""
MOST_OF_A_CLIENT = 32
"""How many questions of one client may wait."""

PATIENCE = 1.0
"""Seconds that a client without a place waits until another client has to make room."""
MOMENT = 0.005
"""Seconds between the turn of a question that waited and its computing: clients often go away at the same time, and
no process should begin, and be killed, for each of them.
"""

Pair = tuple[str, str]
"""A client and a study."""


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A question that waits. `granted` is set when it may be computed, `revoked` when it must make room for another
    client, and wait again.
    """

    client: str
    study: str
    granted: asyncio.Future[None]
    revoked: asyncio.Future[None]

    @property
    def pair(self) -> Pair:
        """The client and the study."""
        return self.client, self.study


class FairQueue:
    """Gives `places` to questions. A client with many questions does not delay the only question of another client.

    A free place goes to the client that has the fewest, and for each client to the study that has the fewest. Where
    there are two places or more, one client on one study never has all of them. If `revoking`, a client that has none
    after a while gets the latest one of a client that has several. All methods run in one event loop, and questions
    wait without a thread.
    """

    def __init__(self, places: int, *, revoking: bool = False) -> None:
        self._free = places
        self._most_of_a_pair = max(1, places - 1)
        self._revoking = revoking
        self._granted: list[Turn] = []
        self._waiting: dict[str, dict[str, deque[Turn]]] = {}

    def waiting(self, client: str | None = None) -> int:
        """How many questions wait, in all or of one client."""
        lines = self._waiting.values() if client is None else [self._waiting.get(client, {})]
        return sum(len(line) for studies in lines for line in studies.values())

    def running(self) -> int:
        """How many questions are computed."""
        return len(self._granted)

    @asynccontextmanager
    async def place(self, client: str, study: str) -> AsyncIterator[Turn]:
        """Wait for a place, and leave it free afterwards. Raises `Busy` if too many wait already.

        A question that is cancelled leaves the queue at once.
        """
        loop = asyncio.get_running_loop()
        turn = Turn(client, study, loop.create_future(), loop.create_future())
        self._waiting.setdefault(client, {}).setdefault(study, deque()).append(turn)
        self._grant()
        try:
            if not turn.granted.done():
                self._refuse_too_many(client)
                await self._wait_for(turn)
            yield turn
        finally:
            if turn in self._granted:
                self._granted.remove(turn)
                self._free += 1
                self._grant()
            else:
                self._take_out(turn)

    async def _wait_for(self, turn: Turn) -> None:
        while not turn.granted.done():
            await asyncio.wait([turn.granted], timeout=PATIENCE if self._revoking else None)
            if not turn.granted.done():
                self._make_room(turn.client)
        await asyncio.sleep(MOMENT)

    def _make_room(self, client: str) -> None:
        """If the client has no place, revoke the latest one of the client that has the most, if it has several."""
        places = Counter(turn.client for turn in self._granted)
        if places and not places[client] and not any(turn.revoked.done() for turn in self._granted):
            other, most = places.most_common(1)[0]
            if most > 1:
                latest = next(turn for turn in reversed(self._granted) if turn.client == other)
                latest.revoked.set_result(None)

    def _refuse_too_many(self, client: str) -> None:
        """Raise `Busy` if the question that has just come is one too many."""
        if self.waiting() > MOST_WAITING or self.waiting(client) > MOST_OF_A_CLIENT:
            raise Busy("Too many questions wait for their answers.")

    def _grant(self) -> None:
        """Give the free places to those whose turn it is."""
        while self._free and (turn := next(self._in_turn(), None)) is not None:
            self._take_out(turn)
            self._to_the_end(turn.client, turn.study)
            self._granted.append(turn)
            self._free -= 1
            turn.granted.set_result(None)

    def _in_turn(self) -> Iterator[Turn]:
        """The questions that may have a place, in the order of their turns."""
        clients = Counter(turn.client for turn in self._granted)
        pairs = Counter(turn.pair for turn in self._granted)
        for client in sorted(self._waiting, key=lambda client: clients[client]):
            for study, line in sorted(self._waiting[client].items(), key=lambda each: pairs[client, each[0]]):
                if pairs[client, study] < self._most_of_a_pair:
                    yield from line

    def _to_the_end(self, client: str, study: str) -> None:
        """Let all other studies of the client, and all other clients, have their turn before this one."""
        lines = self._waiting.pop(client, {})
        if study in lines:
            lines[study] = lines.pop(study)
        if lines:
            self._waiting[client] = lines

    def _take_out(self, turn: Turn) -> None:
        client, study = turn.pair
        lines = self._waiting.get(client, {})
        if study in lines and turn in lines[study]:
            lines[study].remove(turn)
            if not lines[study]:
                del lines[study]
            if not lines:
                del self._waiting[client]
