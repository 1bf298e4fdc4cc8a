"""Work of several threads that shares transactions."""

import threading
import time

import pytest

from app.errors import Busy
from app.store.engine import Database
from app.store.writer_queue import MOST_TOGETHER, Task, WriterQueue

LONGEST = 30.0


def task(name=""):
    return Task(name, lambda _, items: items)


def test_the_first_leads_and_runs_those_that_wait_with_it():
    queue, first, second = WriterQueue(), task(), task()
    queue.enter(first)
    queue.enter(second)
    assert first.woken.is_set()
    assert not second.woken.is_set()
    assert queue.leader is first
    assert queue.take() == [first, second]
    assert queue.take() == []


def test_when_one_has_led_the_oldest_that_waits_leads():
    queue, first, second, third = WriterQueue(), task(), task(), task()
    queue.enter(first)
    queue.take()
    queue.enter(second)
    queue.enter(third)
    assert not second.woken.is_set()
    assert not queue.leave(first)
    assert queue.leader is second
    assert second.woken.is_set()
    assert not third.woken.is_set()
    assert queue.take() == [second, third]
    queue.leave(second)
    assert queue.leader is None


def test_one_that_gives_up_before_it_leads_is_not_run():
    queue, first, second, third = WriterQueue(), task(), task(), task()
    for each in (first, second, third):
        queue.enter(each)
    assert queue.leave(second)
    assert queue.leader is first
    assert queue.take() == [first, third]


def test_one_that_gives_up_when_it_was_to_lead_lets_the_next_one_lead():
    queue, first, second = WriterQueue(), task(), task()
    queue.enter(first)
    queue.enter(second)
    assert queue.leave(first)
    assert queue.leader is second
    assert second.woken.is_set()


def test_one_that_was_taken_cannot_give_up():
    queue, first, second = WriterQueue(), task(), task()
    queue.enter(first)
    queue.enter(second)
    queue.take()
    assert not queue.leave(second)
    assert queue.leader is first


def test_not_too_many_share_a_transaction_and_the_others_are_next():
    queue, tasks = WriterQueue(), [task() for _ in range(MOST_TOGETHER + 2)]
    for each in tasks:
        queue.enter(each)
    assert queue.take() == tasks[:MOST_TOGETHER]
    queue.leave(tasks[0])
    assert queue.take() == tasks[MOST_TOGETHER:]


def test_who_is_done_does_not_wait_for_the_transaction_of_the_next(sqlite_url):
    database = Database(sqlite_url)
    begun = {name: threading.Event() for name in "abc"}
    ends = {name: threading.Event() for name in "abc"}
    told = []

    def work(_, items):
        begun[items[0]].set()
        assert ends[items[0]].wait(LONGEST)
        return items

    def entered(name, count=1):
        threads = [
            threading.Thread(target=lambda: told.append(database.gathered(name, name, work))) for _ in range(count)
        ]
        for each in threads:
            each.start()
        return threads

    first = entered("a")
    assert begun["a"].wait(LONGEST)
    shared = entered("b", 3)
    while len(database._queue.tasks) < 3:
        time.sleep(0.001)
    ends["a"].set()
    assert begun["b"].wait(LONGEST)
    last = entered("c")
    while not database._queue.tasks:
        time.sleep(0.001)
    ends["b"].set()
    assert begun["c"].wait(LONGEST)
    for each in (*first, *shared):
        each.join(LONGEST)
    assert told == ["a", "b", "b", "b"]
    ends["c"].set()
    last[0].join(LONGEST)
    assert told[-1] == "c"
    database.dispose()


def test_if_the_writer_is_busy_for_too_long_each_that_waits_is_told_and_nothing_waits_any_more(sqlite_url):
    database, told = Database(sqlite_url, wait_seconds=0.2), []

    def gathered():
        with pytest.raises(Busy):
            database.gathered("a", 1, lambda _, items: items)
        told.append(1)

    threads = [threading.Thread(target=gathered) for _ in range(4)]
    with database.writing():
        for each in threads:
            each.start()
        for each in threads:
            each.join(LONGEST)
    assert len(told) == 4
    assert len(database._queue.tasks) == 0
    assert database._queue.leader is None
    assert database.gathered("a", 1, lambda _, items: items) == 1
    database.dispose()
