"""Between which visits a level was reached and lost, against a slow twin, and the estimates made of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive.relative_change import BoundedVerdict
from app.derive.total_improvement_score import lost_between, reached_between
from app.timeline.cohort import NO_TIME
from tests.repetition import repeats

DAYS = (28, 56, 84, 112)
NO, OPEN, YES, MISSED = "no", "open", "yes", "missed"
COURSES = st.lists(st.tuples(*[st.sampled_from([NO, OPEN, YES, MISSED])] * len(DAYS)), min_size=1, max_size=8)


def arrays(courses):
    """Days, and the verdicts, of courses that are given visit by visit."""
    day = np.array([[NO_TIME if each == MISSED else at for each, at in zip(c, DAYS, strict=True)] for c in courses])
    surely = np.array([[each == YES for each in course] for course in courses])
    possibly = np.array([[each in {YES, OPEN} for each in course] for course in courses])
    return day, BoundedVerdict(surely, possibly)


def slow_reached(course):
    """Visit by visit: what is known before the first visit in doubt, and the first visit without doubt."""
    seen = [(at, each) for each, at in zip(course, DAYS, strict=True) if each != MISSED]
    after = 0
    for at, each in seen:
        if each != NO:
            break
        after = at
    return after, next((at for at, each in seen if each == YES), NO_TIME)


def slow_lost(course):
    seen = [(at, each) for each, at in zip(course, DAYS, strict=True) if each != MISSED]
    if YES not in [each for _, each in seen]:
        return None
    start = [each for _, each in seen].index(YES)
    begun, later = seen[start][0], seen[start + 1 :]
    kept = 0
    for at, each in later:
        if each != YES:
            break
        kept = at - begun
    return kept, next((at - begun for at, each in later if each == NO), NO_TIME)


@settings(max_examples=repeats(200), deadline=None)
@given(COURSES)
def test_the_days_are_those_of_the_slow_twin(courses):
    after, by = reached_between(*arrays(courses))
    assert list(zip(after.tolist(), by.tolist(), strict=True)) == [slow_reached(course) for course in courses]
    kept, lost = lost_between(*arrays(courses))
    expected = [found for course in courses if (found := slow_lost(course)) is not None]
    assert list(zip(kept.tolist(), lost.tolist(), strict=True)) == expected
    assert ((by == NO_TIME) | (after < by)).all()
    assert ((lost == NO_TIME) | (kept < lost)).all()


@pytest.mark.parametrize(
    ("course", "reached", "kept"),
    [
        ((NO, NO, YES, NO), (56, 84), (0, 28)),
        ((NO, MISSED, YES, YES), (28, 84), (28, NO_TIME)),
        ((YES, YES, YES, NO), (0, 28), (56, 84)),
        ((NO, OPEN, YES, YES), (28, 84), (28, NO_TIME)),
        ((YES, OPEN, NO, YES), (0, 28), (0, 56)),
        ((NO, NO, NO, NO), (112, NO_TIME), None),
        ((OPEN, NO, NO, MISSED), (0, NO_TIME), None),
        ((MISSED, MISSED, MISSED, YES), (0, 112), (0, NO_TIME)),
    ],
)
def test_a_level_is_reached_and_lost_between_two_visits(course, reached, kept):
    after, by = reached_between(*arrays([course]))
    assert (after[0], by[0]) == reached
    found = list(zip(*lost_between(*arrays([course])), strict=True))
    assert found == ([] if kept is None else [kept])
