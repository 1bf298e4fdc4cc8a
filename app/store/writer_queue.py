"""Work of several threads that shares a transaction: the oldest that waits leads, and runs all that waits with it.

When it has run them, the next one leads. So a thread whose work another one has run goes on at once: it need not wait
for a lock that the next leader has already taken.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection

from app.errors import Busy, ServiceError

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST_TOGETHER = 64
"""The largest number of pieces of work that share one transaction."""
Gathered = Callable[[Connection, Sequence[Item]], Sequence[Result | ServiceError]]
"""Work on several items in one transaction: a result or a refusal for each, in their order."""


class Task(Generic[Item, Result]):
    """An item that waits for a transaction, and later its result or its error.

    It is woken when it is to lead, and when it was run.
    """

    def __init__(self, item: Item, work: Gathered[Item, Result], name: str = "") -> None:
        self.item, self.work, self.name = item, work, name
        self.found: list[Result | ServiceError] = []
        self._error: BaseException | None = None
        self.woken = threading.Event()

    def fail(self, error: BaseException) -> None:
        """Keep the error of a transaction that failed: the task was run."""
        self._error = error
        self.woken.set()

    def outcome(self) -> Result:
        """Return the result, or raise the error."""
        if self._error is not None:
            raise self._error
        [found] = self.found
        if isinstance(found, ServiceError):
            raise found
        return found


class WriterQueue:
    """Tasks that wait for one writer, and the lock that each writer has. If there are tasks, the oldest leads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tasks: deque[Task[Any, Any]] = deque()
        self.leader: Task[Any, Any] | None = None
        self._guard = threading.Lock()

    def enter(self, task: Task[Any, Any]) -> None:
        """Wait as the last one. Where nobody leads, the task does."""
        with self._guard:
            self.tasks.append(task)
            if self.leader is None:
                self._let_lead(task)

    def take(self) -> list[Task[Any, Any]]:
        """Take the tasks that are run now: the leader and those behind it. They do not wait any more."""
        with self._guard:
            return [self.tasks.popleft() for _ in range(min(len(self.tasks), MOST_TOGETHER))]

    def leave(self, task: Task[Any, Any]) -> bool:
        """Wait no more, and let the next one lead if this one did. `False` if the task did not wait: it was taken."""
        with self._guard:
            waited = task in self.tasks
            if waited:
                self.tasks.remove(task)
            if self.leader is task:
                self._let_lead(self.tasks[0] if self.tasks else None)
            return waited

    def _let_lead(self, task: Task[Any, Any] | None) -> None:
        self.leader = task
        if task is not None:
            task.woken.set()


def run_tasks(tasks: Iterable[Task[Any, Any]], connection: Connection) -> None:
    """Run tasks in a transaction. Those of one name are one piece of work."""
    for _, same in groupby(sorted(tasks, key=attrgetter("name")), key=attrgetter("name", "work")):
        together = list(same)
        try:
            found = together[0].work(connection, [task.item for task in together])
        except Busy:
            raise
        except ServiceError as refusal:
            found = [refusal] * len(together)
        for task, result in zip(together, found, strict=True):
            task.found = [result]


def run_each(connection: Connection, works: Sequence[Callable[[Connection], Result]]) -> list[Result | ServiceError]:
    """The result of each piece of work, or its refusal."""
    found: list[Result | ServiceError] = []
    for work in works:
        try:
            found.append(work(connection))
        except Busy:
            raise
        except ServiceError as refusal:
            found.append(refusal)
    return found
