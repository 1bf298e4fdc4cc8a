"""The ACR/EULAR 2016 Total Improvement Score at each visit, exactly or as bounds; and worsening by the declared rule.

The absolute percentage change of a measure is 100 x improvement / range of the measure. A band of the table
(`app.protocol.improvement.TABLE`) begins above its lower cut and includes its upper cut. The written decimals are
compared: binary floats misclassify 26 of the 319 pairs of one-decimal VAS values that lie exactly on a cut. An enzyme
is compared in multiples of the upper limit of its own draw: its change is 100 x (baseline/limit - value/limit) /
multiple. If all draws have the same limit, that is the fall in U/L over the range. A missing measure may score from 0
to its maximum: the total score is then null and has bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from app.derive.core_set import CoreSetCourse, FollowedMeasure
from app.derive.exact_comparison import sign_of_sum
from app.derive.relative_change import BoundedVerdict, at_least, worse_by_points, worsened
from app.protocol.improvement import TABLE, CoreSetMeasure, ImprovementScore, Worsening
from app.timeline.cohort import NO_TIME, Bools, Floats, Ints

_NEARLY = 1e-12
Column = TypeVar("Column", Floats, Bools)


@dataclass(frozen=True, slots=True, eq=False)
class MeasureScore:
    """The score of one measure at each visit, between `lower` and `upper`, and its change in per cent of its range.

    `percent` is NaN where the measure is missing or a bound. `known` says where it is not missing.
    """

    name: CoreSetMeasure
    known: Bools
    lower: Floats
    upper: Floats
    percent: Floats


@dataclass(frozen=True, slots=True, eq=False)
class ImprovementScores:
    """Patients x weeks: the score lies between `lower` and `upper`; NaN where no measure was recorded."""

    weeks: tuple[int, ...]
    attended: Bools
    measures: tuple[MeasureScore, ...]
    lower: Floats
    upper: Floats

    @property
    def ever_attended(self) -> Bools:
        """Patients with any visit."""
        seen: Bools = np.logical_or.reduce(self.attended, axis=1)
        return seen

    @property
    def complete(self) -> Bools:
        """Visits with an exact score: no missing measure can change it."""
        same: Bools = self.lower == self.upper
        return same

    def surely(self, threshold: int) -> Bools:
        """Visits at which the score reaches a threshold, whatever the missing values are."""
        return self.lower >= threshold

    def possibly(self, threshold: int) -> Bools:
        """Visits at which the score reaches a threshold for at least some of the missing values."""
        return self.upper >= threshold


def improvement_scores(declared: ImprovementScore, course: CoreSetCourse) -> ImprovementScores:
    """The score of every patient at every judged week."""
    measures = tuple(measure_score(each, _span(declared, course, each)) for each in course.measures)
    attended: Bools = np.logical_or.reduce([each.known for each in measures])
    lower, upper = np.where(attended, 0.0, np.nan), np.where(attended, 0.0, np.nan)
    for each in measures:
        lower += each.lower
        upper += each.upper
    return ImprovementScores(course.weeks, attended, measures, lower, upper)


def measure_score(followed: FollowedMeasure, span: Floats) -> MeasureScore:
    """The score of one measure. `span` (patients x 1) is its range in its own unit."""
    bands = TABLE[followed.name]
    scores = np.array(bands.scores, dtype=np.float64)
    before, after, known = followed.before, followed.after, followed.known
    if followed.better == "higher":
        before, after = after, before
    percent = _percent(before.low, before.unit, after.high, after.unit, span)
    attained = ~(before.low_open | after.high_open)
    least = _cuts_exceeded(bands.cuts, percent, (before.low, before.unit, after.high, after.unit, span), attained)
    lower = np.where(known, scores[least], 0)
    upper = np.where(known, lower, scores[-1])
    bounded = np.flatnonzero(known & ~(before.exact & after.exact))
    if bounded.size:
        ends = [_cells(each, bounded, known.shape) for each in (before.high, before.unit, after.low, after.unit, span)]
        greatest = _percent(*ends)
        upper.ravel()[bounded] = scores[_cuts_exceeded(bands.cuts, greatest, ends, np.ones(1, dtype=np.bool_))]
        percent.ravel()[bounded] = np.nan
    return MeasureScore(followed.name, known, lower, upper, percent)


def _percent(better: Floats, unit_of_better: Floats, worse: Floats, unit_of_worse: Floats, span: Floats) -> Floats:
    """The change in per cent of the range; infinite where an upper limit is too small for a float."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        change: Floats = 100 * (better / unit_of_better - worse / unit_of_worse) / span
    return change


def _cuts_exceeded(cuts: Sequence[int], percent: Floats, ends: Sequence[Floats], attained: Bools) -> Ints:
    """The number of cuts that a change exceeds.

    `attained` is false where the true change is greater than the computed one, because a bound is open. Such a change
    exceeds the cut that it lies on. `percent` decides where it clearly differs from
    each cut. Else the decimals of `ends` decide: value and unit at the better and the worse end, and the range.
    """
    flat, error = percent.ravel(), _rounding_error(cuts, ends)
    count = np.zeros(flat.size, dtype=np.int64)
    near = []
    for cut in cuts:
        count += flat > cut
        near.append(np.flatnonzero(np.abs(flat - cut) <= error))
    rows = np.concatenate(near)
    if rows.size:
        cut_at = np.repeat(np.array(cuts, dtype=np.float64), list(map(len, near)))
        better, unit_of_better, worse, unit_of_worse, span = (_cells(each, rows, percent.shape) for each in ends)
        sign = sign_of_sum(
            (100.0, better, unit_of_worse),
            (-100.0, worse, unit_of_better),
            (-1.0, cut_at, span, unit_of_better, unit_of_worse),
        )
        exceeded = (sign > 0) | (sign == 0) & ~_cells(attained, rows, percent.shape)
        np.add.at(count, rows, exceeded.astype(np.int64) - (flat[rows] > cut_at))
    return count.reshape(percent.shape)


def _rounding_error(cuts: Sequence[int], ends: Sequence[Floats]) -> float:
    """A bound far above the rounding error of every finite percentage."""
    better, unit_of_better, worse, unit_of_worse, span = ends
    largest = sum(
        float(np.max(value, where=np.isfinite(value), initial=0)) / float(np.min(unit, initial=np.inf))
        for value, unit in ((better, unit_of_better), (worse, unit_of_worse))
    )
    narrowest = float(np.min(span, where=~np.isnan(span), initial=np.inf))
    return _NEARLY * (100 * largest / narrowest + max(cuts))


def _cells(column: Column, rows: Ints, shape: tuple[int, ...]) -> Column:
    """Cells of an array by their number in patients x weeks. The array has this shape, or one column, or one cell."""
    if column.size == 1:
        return column.reshape(())
    if column.shape == shape:
        return column.ravel()[rows]
    return column.ravel()[rows // shape[-1]]


def _span(declared: ImprovementScore, course: CoreSetCourse, followed: FollowedMeasure) -> Floats:
    """The range of a measure for each patient (patients x 1); NaN where no enzyme is followed."""
    size = len(course.enzyme)
    if followed.name != "enzyme":
        return np.full((size, 1), followed.span)
    multiples = [declared.range_of(enzyme).upper_limits for enzyme in declared.core_set.enzymes]
    spans: Floats = np.array([*multiples, np.nan], dtype=np.float64)[course.enzyme]
    return spans[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class WorseningCourse:
    """Patients x weeks: whether a visit is worse than the baseline, and whether worsening is confirmed by then."""

    worse: BoundedVerdict
    confirmed: BoundedVerdict


def worsening_course(rule: Worsening, course: CoreSetCourse) -> WorseningCourse:
    """The rule of worsening at every visit. A visit that was not attended is neither surely nor possibly worse."""
    floor = rule.zero_baseline_floor_percent
    global_and_muscle = worse_by_points(course.of("physician_global"), rule.physician_global_points) & worsened(
        course.of("muscle_strength"), rule.muscle_percent, floor
    )
    extramuscular = worse_by_points(course.of("extramuscular"), rule.extramuscular_points)
    counted = [each for each in course.measures if rule.count_enzyme or each.name != "enzyme"]
    several = at_least(rule.measures, [worsened(each, rule.measures_percent, floor) for each in counted])
    either = global_and_muscle | extramuscular | several
    attended = course.attended
    worse = BoundedVerdict(either.surely & attended, either.possibly & attended)
    confirmed = BoundedVerdict(
        np.logical_or.accumulate(twice_running(attended, worse.surely), axis=1),
        np.logical_or.accumulate(twice_running(attended, worse.possibly), axis=1),
    )
    return WorseningCourse(worse, confirmed)


def twice_running(attended: Bools, holds: Bools) -> Bools:
    """The visits at which a statement is true, as at the patient's previous attended visit."""
    found = np.zeros(holds.shape, dtype=np.bool_)
    before = np.zeros(len(holds), dtype=np.bool_)
    for week in range(holds.shape[1]):
        now = holds[:, week] & attended[:, week]
        found[:, week] = now & before
        before = np.where(attended[:, week], now, before)
    return found


def reached_between(day: Ints, reached: BoundedVerdict) -> tuple[Ints, Ints]:
    """The days between which each patient first reached a level: after the first and not later than the second day.

    `day` (patients x visits) is `NO_TIME` where a visit was missed. The first day is that of the last visit before any
    that possibly reached the level, or day 0. The second is that of the first visit that surely did, or `NO_TIME`.
    """
    visits = np.arange(day.shape[1])
    possible = np.where(reached.possibly.any(axis=1), np.argmax(reached.possibly, axis=1), day.shape[1])
    before = (day != NO_TIME) & (visits < possible[:, None])
    after: Ints = np.max(np.where(before, day, 0), axis=1, initial=0)
    first = day[np.arange(len(day)), np.argmax(reached.surely, axis=1)]
    return after, np.where(reached.surely.any(axis=1), first, NO_TIME)


def lost_between(day: Ints, reached: BoundedVerdict) -> tuple[Ints, Ints]:
    """For each patient who surely reached a level, the days from the first such visit to the loss of the level: more
    than the first number, and not more than the second (`NO_TIME`: the loss was not seen).

    The level is lost at the first later visit below it. The first number is that of the last visit before any that was
    possibly below it.
    """
    ever = reached.surely.any(axis=1)
    day, surely, possibly = day[ever], reached.surely[ever], reached.possibly[ever]
    start = np.argmax(surely, axis=1)
    begun = day[np.arange(len(day)), start][:, None]
    since = (day != NO_TIME) & (np.arange(day.shape[1]) >= start[:, None])
    return reached_between(np.where(since, day - begun, NO_TIME), BoundedVerdict(since & ~possibly, since & ~surely))


def at_last_visit(attended: Bools, holds: Bools) -> Bools:
    """Whether a statement is true at each patient's last attended visit."""
    last = attended.shape[1] - 1 - np.argmax(attended[:, ::-1], axis=1)
    held: Bools = np.logical_or.reduce(attended, axis=1) & holds[np.arange(len(holds)), last]
    return held
