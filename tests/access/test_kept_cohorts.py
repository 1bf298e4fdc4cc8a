"""Cohorts between questions: the same one, never that of an erased person, and not more than the bytes allowed."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.access.kept_cohorts import KeptCohorts, size_of
from app.store.engine import Database
from app.store.erasure import erase
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.cohort import Cohort
from tests.bench.cohort import timeline as bench_timeline
from tests.store.posts import begin_study, ck, history, now, post, timeline
from tests.tables import with_tables


@pytest.fixture
def database(tmp_path) -> Iterator[Database]:
    url = with_tables(f"sqlite:///{tmp_path / 'x.db'}")
    database = Database(url)
    for study in ("first", "second"):
        begin_study(database, study)
        for patient in ("P01", "P02"):
            post(database, study, timeline(patient, ck()))
    yield database
    database.dispose()


@contextmanager
def reads(monkeypatch) -> Iterator[list[tuple[str, int]]]:
    """The studies and revisions whose rows are read."""
    read, original = [], StudyAt.known_cohort

    def known_cohort(self, known=()):
        read.append((self.id, self.revision))
        return original(self, known)

    with monkeypatch.context() as patched:
        patched.setattr(StudyAt, "known_cohort", known_cohort)
        yield read


def cohort(kept: KeptCohorts, database: Database, study: str, at: AsOf = AsOf()) -> Cohort:  # noqa: B008 - frozen
    with study_at(database, study, at) as snapshot:
        return kept.cohort_of(snapshot)


def test_the_rows_of_a_revision_are_read_once(database, monkeypatch):
    kept = KeptCohorts(10_000_000)
    with reads(monkeypatch) as read:
        latest = cohort(kept, database, "first")
        assert cohort(kept, database, "first") is latest
        assert cohort(kept, database, "first", AsOf(2)) is latest
        assert len(cohort(kept, database, "first", AsOf(1))) == 1
        assert cohort(kept, database, "second") is not latest
        post(database, "first", timeline("P03", ck()))
        assert len(cohort(kept, database, "first")) == 3
    assert read == [("first", 2), ("first", 1), ("second", 2), ("first", 3)]
    assert kept.size == sum(size_of(cohort(kept, database, "first", AsOf(n))) for n in (1, 2, 3)) + size_of(
        cohort(kept, database, "second")
    )


def test_a_cohort_that_was_read_before_an_erasure_does_not_count_after_it(database):
    """Also one of a revision before the erased person, whose number can still be asked for."""
    kept = KeptCohorts(10_000_000)
    before, early = cohort(kept, database, "first"), cohort(kept, database, "first", AsOf(1))
    other = cohort(kept, database, "second")
    assert not kept.hold_erased(database)
    with database.writing() as connection:
        erase(connection, "first", "P02", client=None, received_at=now())
    assert kept.hold_erased(database)
    assert len(before) == 2
    assert [row.id for row in cohort(kept, database, "first").patients] == ["P01"]
    assert cohort(kept, database, "first", AsOf(1)) is not early
    assert cohort(kept, database, "second") is other
    kept.drop("first")
    assert not kept.hold_erased(database)
    assert len(kept) == 1


def test_a_cohort_that_is_read_during_a_drop_is_not_kept(database, monkeypatch):
    kept, original = KeptCohorts(10_000_000), StudyAt.known_cohort

    def dropped_meanwhile(self, known=()):
        kept.drop(self.id)
        return original(self, known)

    monkeypatch.setattr(StudyAt, "known_cohort", dropped_meanwhile)
    assert len(cohort(kept, database, "first")) == 2
    assert len(kept) == 0


def test_kept_cohorts_have_no_more_bytes_than_allowed(database):
    one = size_of(cohort(KeptCohorts(0), database, "first"))
    kept = KeptCohorts(int(2.5 * one))
    for _ in range(3):
        for study, at in (("first", AsOf()), ("first", AsOf(1)), ("second", AsOf()), ("second", AsOf(1))):
            cohort(kept, database, study, at)
            assert kept.size <= 2.5 * one
    assert len(kept) >= 2
    assert len(KeptCohorts(0)) == 0
    small = KeptCohorts(one - 1)
    cohort(small, database, "first")
    assert len(small) == 0


def test_the_size_of_a_cohort_is_about_the_memory_that_it_takes():
    histories = [history(bench_timeline(number)) for number in range(100)]
    tracemalloc.start()
    read = Cohort.of_histories(histories)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.7 * taken < size_of(read) < 2 * taken
