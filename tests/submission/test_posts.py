"""Posts that arrive at the same time: stored together, each is what it would be alone, and none harms another."""

import itertools
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from app.errors import Busy, NotFound, ServiceError
from app.store import audit, hash_chain, intake
from app.store.audit import Access, Who
from app.store.engine import Database
from app.store.tables import FACTS, patients, set_aside, studies
from app.submission import posts
from app.submission.batches import add_timeline
from app.submission.loop import Submitter
from app.submission.native_patients import NativePatients
from app.submission.posts import PostedTimeline, store_posts
from tests.repetition import repeats
from tests.store.posts import begin_study, ck, history, now, post, revisions, timeline, values
from tests.submission.test_loop import erased, made, told

ROOT = Path(__file__).parents[2]
_names = itertools.count()


def posted(database: Database, study: str, written: dict, at: int | None = None) -> PostedTimeline:
    at = at or now()
    submitter = Submitter(database, study, "native-json", at, client="nurse")
    return PostedTimeline(submitter, NativePatients(database, study, None, at), history(written))


def store(database: Database, *together: PostedTimeline) -> list:
    """What each is told when these are stored in one transaction."""
    with database.writing() as transaction:
        return store_posts(transaction, together)


def add(database: Database, study: str, written: dict):
    """Store a timeline as the request does; a refusal is returned."""
    at = posted(database, study, written)
    try:
        return add_timeline(at.submitter, at.patients, at.history)
    except ServiceError as refusal:
        return refusal


def add_at_once(database: Database, study: str, *written: dict) -> list:
    """What each of these is told when their requests wait for each other."""
    found: dict[int, object] = {}

    def ask(which: int) -> None:
        found[which] = add(database, study, written[which])

    threads = [threading.Thread(target=ask, args=(which,)) for which in range(len(written))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[which] for which in range(len(written))]


_RESULTS = st.builds(
    ck,
    st.sampled_from(["k1", "k2", None]),
    st.sampled_from([100, 100.5, 90_000]),
    time=st.sampled_from(["2005-03-16", "2005-03-17", "2005-03-16T09:48:00+09:00", "2005-03-17T00:48:00Z"]),
    status=st.sampled_from(["final", "corrected", "entered-in-error"]),
    version=st.sampled_from([None, 1, 2]),
    upper_limit=st.sampled_from([None, 163, 5]),
)
_TIMELINES = st.builds(
    timeline,
    st.sampled_from(["P1", "P2", "P3", "gone"]),
    _RESULTS,
    about=st.sampled_from([{}, {"sex": "female"}, {"sex": "male"}, {"merged_into": "P1"}, {"merged_into": "P3"}]),
    infusions=st.sampled_from([[], [{"time": "2005-04-11", "product": name} for name in ("IVIG", "X")]]),
).filter(lambda written: written["patient"].get("merged_into") != written["patient"]["id"])


def outcome(each) -> object:
    if isinstance(each, ServiceError):
        return each.slug, [(fault.pointer, fault.code) for fault in each.faults]
    return each, each.fates, each.receipt.counts, each.receipt.lines, each.draws


def held(database: Database, study: str) -> dict[str, list]:
    """All rows of a study, without keys, salts, hashes and times of receipt."""
    with database.reading() as transaction:
        key = transaction.execute(select(studies.c.key).where(studies.c.id == study)).scalar_one()
        names = dict(transaction.execute(select(patients.c.key, patients.c.id).where(patients.c.study == key)).all())
        held = {
            kind: sorted(
                [(names[row.patient_key], *row[1:]) for row in transaction.execute(select(table)) if row[0] in names],
                key=repr,
            )
            for kind, (table, _) in FACTS.items()
        }
        listed = transaction.execute(select(set_aside).where(set_aside.c.study == key))
        held["set_aside"] = [(row.number, row.patient, row.reason, row.added, row.removed) for row in listed]
        held["intake"] = [each[:2] for each in intake.counts_of(transaction, key)]
        lines = audit.listing(transaction, study=study, after=(0, 0, -1), until=2**62, limit=100)
        held["audit"] = [(each.patients, each.first_revision, each.revision) for each in lines]
        assert not hash_chain.verify(transaction, study).faults
    held["revisions"] = [(each.number, each.format, each.client, each.counts) for each in revisions(database, study)]
    return held


@pytest.mark.slow
@settings(max_examples=repeats(40, 150), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(written=st.lists(_TIMELINES, min_size=2, max_size=6))
def test_posts_that_are_stored_together_are_what_they_are_one_after_the_other(database, written):
    together, apart = (begin_study(database, f"posts-{next(_names)}") for _ in range(2))
    for name in (together, apart):
        erased(database, name, "gone")
    instants = [now() for _ in written]
    ours = [posted(database, together, each, at) for each, at in zip(written, instants, strict=True)]
    found = store(database, *ours)
    alone = [store(database, posted(database, apart, each, at))[0] for each, at in zip(written, instants, strict=True)]
    assert [*map(outcome, found)] == [*map(outcome, alone)]
    assert held(database, together) == held(database, apart)


def test_posts_that_wait_at_the_same_time_share_a_commit_and_each_has_its_own_revision(database, study):
    commits = []

    @event.listens_for(database.engine, "commit")
    def committed(connection):
        commits.append(1)

    with database.writing() as transaction:
        Submitter(database, study, "native-json", now()).builder(transaction)  # so that they have to wait
        threads = [
            threading.Thread(target=add, args=(database, study, timeline(f"P{n}", ck(f"k{n}")))) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        queue = database._queues.get(study, database._queue)
        while len(queue.tasks) < 7:  # one of them is the first of the queue, and has perhaps begun
            queue = database._queues.get(study, database._queue)
        before = len(commits)
    for thread in threads:
        thread.join()
    event.remove(database.engine, "commit", committed)
    assert len(commits) - before <= 3  # that of the block as well
    assert sorted(each.number for each in revisions(database, study)) == list(range(9))


def test_one_fact_that_several_send_at_once_is_stored_once(database, study):
    told_of = told(add_at_once(database, study, *[timeline("P1", ck()) for _ in range(8)]))
    assert sorted(told_of) == ["created", *["unchanged"] * 7]
    assert values(database, study, "P1") == [1101]


def test_corrections_that_arrive_at_once_leave_the_greatest(database, study):
    add_at_once(database, study, *[timeline("P1", ck(value=100 + n, version=n)) for n in range(8)])
    assert values(database, study, "P1") == [107]


def test_a_refused_post_changes_nothing_for_the_others(database, study):
    erased(database, study, "gone")
    before = made(database, study)
    found = store(database, *[posted(database, study, timeline(who, ck())) for who in ("P1", "gone", "P2")])
    assert told(found) == ["created", "erased", "created"]
    assert [found[0].revision, found[2].revision] == [before + 1, before + 2]


def test_posts_to_an_unknown_study_are_all_refused(database, study):
    found = add_at_once(database, "nowhere", *[timeline("P1", ck()) for _ in range(3)])
    assert all(isinstance(each, NotFound) for each in found)
    assert told([add(database, study, timeline("P1", ck()))]) == ["created"]


def test_an_error_in_one_post_leaves_the_others_stored(database, study, monkeypatch):
    appended = posts.ledger.append

    def append(builder, worklist, history, **more):
        return 1 / 0 if history.patient == "P2" else appended(builder, worklist, history, **more)

    monkeypatch.setattr(posts.ledger, "append", append)
    found: dict[str, object] = {}

    def ask(who: str) -> None:
        try:
            found[who] = add(database, study, timeline(who, ck())).status
        except ZeroDivisionError:
            found[who] = "failed"

    threads = [threading.Thread(target=ask, args=(who,)) for who in ("P1", "P2", "P3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"P1": "created", "P2": "failed", "P3": "created"}
    assert made(database, study) == 2


def test_each_post_has_a_row_of_the_audit_that_names_its_sender(database, study):
    def acting(name: str) -> PostedTimeline:
        with audit.acting(Access(lambda: Who("POST", "http", name))):
            return posted(database, study, timeline(name, ck()))

    store(database, acting("ann"), acting("bob"))
    with database.reading() as transaction:
        lines = audit.listing(transaction, study=study, after=(0, 0, -1), until=2**62, limit=9)
    assert [(each.caller, each.patients, each.first_revision, each.revision) for each in lines][-2:] == [
        ("ann", ("ann",), 1, 1), ("bob", ("bob",), 2, 2),
    ]  # fmt: skip


def test_posts_whose_turn_does_not_come_are_told_busy(database, study):
    url = database.engine.url.render_as_string(hide_password=False)
    with closing(Pool(url, database)) as hasty, database.writing() as transaction:
        Submitter(database, study, "native-json", now()).builder(transaction)
        assert isinstance(add(hasty.database, study, timeline("P1", ck())), Busy)
    assert made(database, study) == 0
    assert told([add(database, study, timeline("P1", ck()))]) == ["created"]


class Pool:
    """The same database by another pool, which waits a moment only for its turn."""

    def __init__(self, url: str, database: Database) -> None:
        self.database = Database(url, wait_seconds=0.1, keys=database.keys)

    def close(self) -> None:
        self.database.dispose()


CHILD = """
import os, sys, threading
from pathlib import Path
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.queries import Insertion
from tests.store.posts import ck, timeline
from tests.submission.test_posts import posted, store
database = Database(sys.argv[1], keys=LedgerKeys(Path(sys.argv[2])))
sent = Insertion._send
def send(self, connection, kept, rows):
    sent(self, connection, kept, rows)
    if self._table.name == "lab_results":
        os.kill(os.getpid(), 9)
Insertion._send = send
store(database, *[posted(database, sys.argv[3], timeline(f"P{n}", *[ck(f"k{i}") for i in range(9)])) for n in range(3)])
"""


@pytest.mark.slow
def test_a_process_that_dies_between_the_rows_and_the_commit_leaves_nothing(database, study):
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", CHILD, url, str(database.keys.path), study]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert made(database, study) == 0
    assert told([add(database, study, timeline("P1", ck()))]) == ["created"]
    assert post(database, study, timeline("P1", ck())).status == "unchanged"
