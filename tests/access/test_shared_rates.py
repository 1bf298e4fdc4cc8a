"""Several processes at one address count the requests of a client together, through their database."""

import logging
import random
import time

import pytest
from sqlalchemy import select

from app.access.rates import Rates, SharedCounts
from app.settings import Settings
from app.store import request_counts
from app.store.engine import Database
from app.store.tables import request_counts as counts

RATE = "20/hour"


pytestmark = pytest.mark.usefixtures("in_the_middle_of_an_hour")


@pytest.fixture
def by_hand(monkeypatch):
    """Nothing is settled until the test says so."""
    monkeypatch.setattr(SharedCounts, "SECONDS", 3_600.0)


@pytest.fixture
def processes(database, migrated_url):
    """What two processes count, each with connections of its own."""
    other = Database(migrated_url, keys=database.keys)
    both = [Rates(RATE, SharedCounts(each)) for each in (database, other)]
    yield both
    for each in both:
        each.stop()
    other.dispose()


def allowed(rates: Rates, client: str, requests: int) -> int:
    return sum(rates.count(client).allowed for _ in range(requests))


def test_two_services_on_one_database_let_a_client_send_no_more_than_its_rate(start, migrated_url, by_hand):
    first, second = (start(migrated_url, rate=RATE, share_rates=True) for _ in range(2))
    key, other = first.key(), first.key()
    here, there = first.with_key(key), second.with_key(key)
    shared = [each.stranger.app_state["app_state"].rates.shared for each in (first, second)]
    assert {here.get("/v1/studies").status_code for _ in range(12)} == {200}
    shared[0].settle()
    answer = there.get("/v1/studies")
    assert answer.headers["ratelimit"].startswith('"client";r=19;'), "it is not settled yet"
    shared[1].settle()
    answers = [there.get("/v1/studies") for _ in range(8)]
    assert [each.status_code for each in answers] == [200] * 7 + [429]
    assert answers[0].headers["ratelimit-policy"] == '"client";q=20;w=3600'
    assert [each.headers["ratelimit"].split(";t=")[0] for each in answers] == [
        f'"client";r={left}' for left in (6, 5, 4, 3, 2, 1, 0, 0)
    ]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert here.get("/v1/studies").status_code == 200, "at most what it counts in the second before it settles"
    for each in shared[::-1]:
        each.settle()
    assert here.get("/v1/studies").status_code == 429
    unused = second.with_key(other).get("/v1/studies")
    assert unused.headers["ratelimit"].startswith('"client";r=19;'), "nothing of another client is shown"


@pytest.mark.parametrize("seed", range(3))
def test_the_excess_is_at_most_what_each_process_counts_between_two_settlings(processes, by_hand, seed):
    """In each round both settle once, at any instant of it, and count at any other one."""
    chance = random.Random(seed)
    in_a_round = 6
    instants = [chance.randrange(in_a_round) for _ in processes]
    served = 0
    for _ in range(8):
        for instant in range(in_a_round):
            for process, at in chance.sample(list(zip(processes, instants, strict=True)), 2):
                if instant == at:
                    process.shared.settle()
                served += allowed(process, "key:a", 1)
    assert 20 <= served <= 20 + len(processes) * in_a_round
    assert not any(process.count("key:a").allowed for process in processes)


def test_each_process_settles_once_a_second_and_not_at_all_without_requests(processes, database, monkeypatch):
    settled, read = [], []
    monkeypatch.setattr(database, "together", settled.append)
    monkeypatch.setattr(request_counts, "totals", lambda *_: read.append(1) or {})
    time.sleep(1.2)
    assert settled == read == []
    began = time.monotonic()
    while time.monotonic() < began + 2.5 or not settled:
        processes[0].count("key:a")
        time.sleep(0.01)
    most = (time.monotonic() - began) / SharedCounts.SECONDS + 1
    assert 1 <= len(settled) <= most
    assert len(read) <= most


def test_the_database_does_not_say_whose_counts_it_has(processes, database, by_hand):
    allowed(processes[0], "key:3f9a1c04", 3)
    allowed(processes[1], "192.0.2.7", 2)
    for each in processes:
        each.shared.settle()
    with database.reading() as connection:
        rows = connection.execute(select(counts)).all()
    assert sorted(row.count for row in rows) == [2, 3]
    assert all(len(row.counter) == 16 for row in rows)
    text = b"".join(bytes(row.counter) for row in rows)
    assert b"3f9a1c04" not in text
    assert b"192.0.2" not in text


def test_the_counts_of_the_window_before_are_shared_and_old_ones_are_deleted(processes, database, by_hand, monkeypatch):
    allowed(processes[0], "key:a", 20)
    processes[0].shared.settle()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3_600)
    assert processes[1].count("key:a").allowed
    processes[1].shared.settle()
    assert allowed(processes[1], "key:a", 20) == 10, "nearly half of the window before counts"
    processes[1].shared.settle()
    monkeypatch.setattr(time, "time", lambda: now + 4 * 3_600)
    assert allowed(processes[1], "key:b", 30) == 20
    processes[1].shared.settle()
    with database.reading() as connection:
        assert [row.count for row in connection.execute(select(counts))] == [20]


def test_a_database_that_fails_stops_no_request_and_nothing_counted_is_lost(processes, by_hand, monkeypatch, caplog):
    one, two = processes
    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(one.shared._database, "together", lambda _: 1 / 0)
        assert allowed(one, "key:a", 5) == 5
        one.shared.settle()
        assert allowed(one, "key:a", 7) == 7
        one.shared.settle()
        assert allowed(one, "key:b", 21) == 20, "it counts alone"
    with caplog.at_level(logging.WARNING):
        one.shared.settle()
    assert [each.message for each in caplog.records if "event=rates" in each.message] == [
        "event=rates shared=no error=ZeroDivisionError", "event=rates shared=yes",
    ]  # fmt: skip
    two.count("key:a")
    two.shared.settle()
    assert two.count("key:a").left == 20 - 12 - 2


def test_what_is_counted_while_it_is_settled_is_counted_once(processes, by_hand, monkeypatch):
    one, two = processes
    read = request_counts.totals

    def slowly(*asked):
        totals = read(*asked)
        assert allowed(one, "key:a", 3) == 3
        return totals

    allowed(one, "key:a", 5)
    with monkeypatch.context() as slow:
        slow.setattr(request_counts, "totals", slowly)
        one.shared.settle()
    assert one.count("key:a").left == 20 - 5 - 3 - 1
    one.shared.settle()
    two.count("key:a")
    two.shared.settle()
    assert [each.count("key:a").left for each in (two, one)] == [20 - 9 - 2, 20 - 9 - 1]


@pytest.mark.parametrize(
    ("settings", "shared"),
    [({}, False), ({"workers": 2}, True), ({"share_rates": True}, True), ({"workers": 2, "rate": ""}, None)],
)
def test_counts_are_shared_where_several_processes_serve(start, url, settings, shared):
    rates = start(url, **({"rate": RATE} | settings)).stranger.app_state["app_state"].rates
    assert (None if rates is None else rates.shared is not None) is shared
    assert Settings(**settings).shares_rates is bool(shared or shared is None)
