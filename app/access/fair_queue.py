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

MOMENT = 0.005
"""Seconds between the turn of a question that waited and its computing: clients often go away at the same time, and
no process should begin, and be killed, for each of them.
"""

Pair = tuple[str, str]
"""A client and a study."""


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A question that waits; `granted` is set when it may be computed."""

    pair: Pair
    granted: asyncio.Future[None]


class FairQueue:
    """Gives `places` to questions. A client with many questions does not delay the only question of another client.

    Where there are two places or more, one client on one study never has all of them. All methods run in one event
    loop, and questions wait without a thread.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._most_of_a_pair = max(1, places - 1)
        self._running: Counter[Pair] = Counter()
        self._waiting: dict[str, dict[str, deque[Turn]]] = {}

    def waiting(self, client: str | None = None) -> int:
        """How many questions wait, in all or of one client."""
        lines = self._waiting.values() if client is None else [self._waiting.get(client, {})]
        return sum(len(line) for studies in lines for line in studies.values())

    def running(self) -> int:
        """How many questions are computed."""
        return self._running.total()

    @asynccontextmanager
    async def place(self, client: str, study: str) -> AsyncIterator[None]:
        """Wait for a place, and leave it free afterwards. Raises `Busy` if too many wait already.

        A question that is cancelled leaves the queue at once.
        """
        turn = Turn((client, study), asyncio.get_running_loop().create_future())
        self._waiting.setdefault(client, {}).setdefault(study, deque()).append(turn)
        self._grant()
        try:
            if not turn.granted.done():
                self._refuse_too_many(client)
                await turn.granted
                await asyncio.sleep(MOMENT)
            yield
        finally:
            if turn.granted.done() and not turn.granted.cancelled():
                self._running -= Counter([turn.pair])
                self._free += 1
                self._grant()
            else:
                self._take_out(turn)

    def _refuse_too_many(self, client: str) -> None:
        """Raise `Busy` if the question that has just come is one too many."""
        if self.waiting() > MOST_WAITING or self.waiting(client) > MOST_OF_A_CLIENT:
            raise Busy("Too many questions wait for their answers.")

    def _grant(self) -> None:
        """Give the free places to those whose turn it is."""
        while self._free and (turn := next(self._in_turn(), None)) is not None:
            self._take_out(turn)
            client, study = turn.pair
            self._to_the_end(client, study)
            self._running[turn.pair] += 1
            self._free -= 1
            turn.granted.set_result(None)

    def _in_turn(self) -> Iterator[Turn]:
        """The questions that may have a place, in the order of their turns; a cancelled one is about to leave."""
        for client, lines in self._waiting.items():
            for study, line in lines.items():
                if self._running[client, study] < self._most_of_a_pair:
                    yield from (turn for turn in line if not turn.granted.cancelled())

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
