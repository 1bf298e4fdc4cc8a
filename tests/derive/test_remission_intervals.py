"""The intervals in which CK became normal and abnormal equal those of the slow twin."""

from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive.study import DerivedStudy
from app.timeline.cohort import NO_TIME
from tests.repetition import repeats
from tests.twin import ck_intervals as twin
from tests.twin.cohorts import cohorts, protocols

STUDIES = st.tuples(cohorts(), protocols())


def seen(day):
    return None if day == NO_TIME else int(day)


@given(STUDIES)
@settings(max_examples=repeats(30, thorough=60))
def test_the_intervals_of_an_episode_are_those_of_the_twin(case):
    spells, slow = DerivedStudy(*case).remission_intervals, twin.spells(*case)
    assert spells.in_set.tolist() == [each is not None for each in slow]
    for row, expected in enumerate(slow):
        if expected is not None:
            found = (int(spells.left[row]), seen(spells.right[row]), seen(spells.longest[row]))
            assert found == (expected.left, expected.right, expected.longest)
            assert spells.seen_longest[row] == expected.seen_longest
            assert spells.ended[row] == (expected.right is not None)
            assert spells.seen[row] == (expected.left if expected.right is None else expected.right)
    assert spells.gaps.tolist() == [gap for each in slow if each is not None for gap in each.gaps]


@given(STUDIES)
@settings(max_examples=repeats(30, thorough=60))
def test_the_interval_of_the_first_normal_ck_is_that_of_the_twin(case):
    first, slow = DerivedStudy(*case).first_normal_intervals, twin.first_normals(*case)
    assert first.evaluable.tolist() == [each is not None for each in slow]
    for row, expected in enumerate(slow):
        if expected is not None:
            assert (int(first.left[row]), seen(first.right[row])) == expected


@given(STUDIES)
@settings(max_examples=repeats(30))
def test_every_interval_has_room_for_the_event(case):
    study = DerivedStudy(*case)
    spells, first = study.remission_intervals, study.first_normal_intervals
    ended = spells.in_set & spells.ended
    assert (spells.left >= 0).all()
    assert (spells.left[ended] < spells.right[ended]).all()
    assert (spells.right[ended] < spells.longest[ended]).all()
    assert (spells.seen[spells.in_set] == study.remission_episodes.duration[spells.in_set]).all()
    reached = first.evaluable & (first.right != NO_TIME)
    assert (first.left[reached] < first.right[reached]).all()
    assert (first.left[first.evaluable] >= 0).all()
