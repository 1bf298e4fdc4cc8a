"""Whether a core set measure improved or worsened by a percentage of its own baseline, or by points: yes, no, unknown.

Every verdict is a pair of arrays, patients x weeks. `surely`: it is true for all values that the missing or bounded
values may have. `possibly`: it is true for at least one of them. A missing value may have any value.
"""

from dataclasses import dataclass

import numpy as np

from app.derive.core_set import FollowedMeasure
from app.derive.exact_comparison import sign_of_sum
from app.timeline.cohort import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class BoundedVerdict:
    """Where a statement is surely true, and where it is possibly true."""

    surely: Bools
    possibly: Bools

    def __and__(self, other: "BoundedVerdict") -> "BoundedVerdict":
        """Both statements are true."""
        return BoundedVerdict(self.surely & other.surely, self.possibly & other.possibly)

    def __or__(self, other: "BoundedVerdict") -> "BoundedVerdict":
        """At least one of the statements is true."""
        return BoundedVerdict(self.surely | other.surely, self.possibly | other.possibly)

    def __invert__(self) -> "BoundedVerdict":
        """The statement is false."""
        return BoundedVerdict(~self.possibly, ~self.surely)

    @property
    def decided(self) -> Bools:
        """Where it is known whether the statement is true or false."""
        return self.surely | ~self.possibly

    def verdict_at(self, at: tuple[int, int]) -> bool | None:
        """Whether the statement is true of one patient and week; None if unknown."""
        surely, possibly = bool(self.surely[at]), bool(self.possibly[at])
        return surely if surely == possibly else None

    def at_week(self, column: int) -> "BoundedVerdict":
        """The verdict on one week, one entry for each patient."""
        return BoundedVerdict(self.surely[:, column], self.possibly[:, column])

    @property
    def ever(self) -> "BoundedVerdict":
        """Whether the statement is true in any week, one entry for each patient."""
        return BoundedVerdict(_any(self.surely), _any(self.possibly))


def _any(weeks: Bools) -> Bools:
    found: Bools = np.logical_or.reduce(weeks, axis=1)
    return found


def at_least(count: int, verdicts: list[BoundedVerdict]) -> BoundedVerdict:
    """Whether at least `count` of the statements are true."""
    surely = np.add.reduce([each.surely.astype(np.int64) for each in verdicts])
    possibly = np.add.reduce([each.possibly.astype(np.int64) for each in verdicts])
    return BoundedVerdict(surely >= count, possibly >= count)


def improved(followed: FollowedMeasure, percent: float) -> BoundedVerdict:
    """Whether a measure is better than the baseline by at least `percent` of it; false for a baseline of 0."""
    before, after, shape = followed.before, followed.after, followed.after.low.shape
    if followed.better == "higher":
        surely = _reaches(after.low, after.unit, before.high, before.unit, 100 + percent) >= 0
        possibly = _reaches(after.high, after.unit, before.low, before.unit, 100 + percent) >= 0
    else:
        surely = _reaches(after.high, after.unit, before.low, before.unit, 100 - percent) <= 0
        least = _reaches(after.low, after.unit, before.high, before.unit, 100 - percent)
        possibly = (least < 0) | (least == 0) & ~(after.low_open | before.high_open)
    surely, possibly = surely & (before.low > 0), possibly & (before.high > 0)
    return _unless_missing(followed, np.broadcast_to(surely, shape), np.broadcast_to(possibly, shape))


def worsened(followed: FollowedMeasure, percent: float, floor_percent: float) -> BoundedVerdict:
    """Whether a measure is worse than the baseline by at least `percent` of it.

    For a baseline of 0: a score of which low values are better is worse from `floor_percent` of its scale on; a score
    of which high values are better cannot become worse. A rise of an enzyme from 0 has no percentage: it is possibly
    worse.
    """
    before, after, shape = followed.before, followed.after, followed.after.low.shape
    if followed.better == "higher":
        fall = _reaches(after.high, after.unit, before.low, before.unit, 100 - percent)
        worse = (fall <= 0) & (before.low > 0)
        return _unless_missing(followed, np.broadcast_to(worse, shape), np.broadcast_to(worse, shape))
    surely = (_reaches(after.low, after.unit, before.high, before.unit, 100 + percent) >= 0) & (before.low > 0)
    most = _reaches(after.high, after.unit, before.low, before.unit, 100 + percent)
    possibly = (most > 0) | (most == 0) & ~(after.high_open | before.low_open)
    possibly = np.where(before.low > 0, possibly, after.high > 0)
    if followed.name != "enzyme":
        floor = sign_of_sum((100.0, after.low), (-floor_percent, followed.span)) >= 0
        surely = np.where(before.low > 0, surely, floor)
        possibly = np.where(before.low > 0, possibly, floor)
    return _unless_missing(followed, np.broadcast_to(surely, shape), np.broadcast_to(possibly, shape))


def worse_by_points(followed: FollowedMeasure, points: float) -> BoundedVerdict:
    """Whether a score is worse than the baseline by at least `points` points."""
    better, worse = followed.before.low, followed.after.low
    if followed.better == "higher":
        better, worse = worse, better
    reached = sign_of_sum((1.0, worse), (-1.0, better), (-1.0, points)) >= 0
    return _unless_missing(followed, reached, reached)


def _reaches(after: Floats, unit: Floats, before: Floats, unit_before: Floats, percent: float) -> Ints:
    """The sign of 100 after/unit - percent x before/unit_before: the value against a percentage of the baseline."""
    return sign_of_sum((100.0, after, unit_before), (-percent, before, unit))


def _unless_missing(followed: FollowedMeasure, surely: Bools, possibly: Bools) -> BoundedVerdict:
    known = followed.known
    return BoundedVerdict(surely & known, possibly | ~known)
