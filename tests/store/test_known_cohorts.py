"""A later cohort from known ones: which of them is taken."""

import itertools

import pytest

from app.store import known_cohorts
from app.store.known_cohorts import known_cohort
from app.store.revisions import latest_number
from app.store.studies import study_key
from tests.store.posts import ck, columns, post, timeline
from tests.store.test_segments import rows_read

PEOPLE = 16
"""Two who changed are few, eight are not too many."""
NOT_LOOKED_AT = object()
numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _filled(database, study, monkeypatch):
    monkeypatch.setattr(known_cohorts, "ALWAYS_FEW", 0)
    change(database, study, PEOPLE)


@pytest.fixture
def cohort_now(database, study):
    """The cohort as it is now from some known ones, which is the one of the rows."""

    def found(*bases):
        with database.reading() as connection:
            at = latest_number(connection, study)
            known = known_cohort(connection, study_key(connection, study), at, iter(bases))
        assert known.cohort.digest == columns(database, study, at).digest
        return known

    return found


def change(database, study, count):
    new = ck(f"k{next(numbers)}")
    for number in range(count):
        post(database, study, timeline(f"P{number:02d}", new))


def test_one_from_which_few_changed_is_taken_before_a_nearer_one_is_looked_at(database, study, cohort_now, monkeypatch):
    early = cohort_now()
    change(database, study, 2)
    with rows_read(monkeypatch) as read:
        assert cohort_now(early, NOT_LOOKED_AT).changed == 2
    assert read == [2]


@pytest.mark.parametrize("in_order", [True, False])
def test_where_many_changed_the_one_from_which_the_fewest_did_is_taken(
    database, study, cohort_now, monkeypatch, in_order
):
    early = cohort_now()
    change(database, study, 8)
    near = cohort_now(early)
    change(database, study, 3)
    with rows_read(monkeypatch) as read:
        assert cohort_now(*([early, near] if in_order else [near, early])).changed == 3
        assert cohort_now(early).changed == 8
    assert read == [3, 8]


def test_where_more_than_a_half_changed_all_rows_are_read(database, study, cohort_now):
    early = cohort_now()
    change(database, study, 9)
    assert cohort_now(early).changed == PEOPLE
