"""The six core set measures of each patient at baseline and at each visit, as numbers or as bounds.

Arrays have one row for each patient. Arrays of visits have one column for each judged week. A measure that was not
recorded is NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.exact_comparison import as_written, sign_of_sum
from app.derive.per_patient import NONE, pick, pick_int
from app.protocol.improvement import CoreSet, CoreSetMeasure
from app.protocol.parts import Scale
from app.timeline.cohort import COMPARATORS, NO_TIME, Bools, Floats, Ints, Words
from app.timeline.vocabulary import Direction

Recorded = tuple[AnalysisValues, Mapping[int, Ints]]
"""The records of an analyte or instrument, and the row of each patient for week 0 and each planned week."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueRange:
    """Values known to lie between `low` and `high`, which are equal where a value is exact.

    `low_open` and `high_open` say where the value cannot equal the bound itself. `unit` is 1 for scores. For enzymes it
    is the upper limit of normal of the same draw, because enzymes are compared in multiples of it.
    """

    low: Floats
    high: Floats
    low_open: Bools
    high_open: Bools
    unit: Floats

    @property
    def exact(self) -> Bools:
        """Whether each value is known exactly, and not only between bounds."""
        same: Bools = self.low == self.high
        return same


@dataclass(frozen=True, slots=True, eq=False)
class FollowedMeasure:
    """One core set measure at baseline (patients x 1) and at the visits (patients x weeks), with the days of the
    visits.

    `span` is the width of its scale. It is NaN for the enzyme, because the definition declares the range of enzymes.
    """

    name: CoreSetMeasure
    better: Direction
    span: float
    before: ValueRange
    after: ValueRange
    day: Ints

    @property
    def known(self) -> Bools:
        """Whether it was recorded at baseline and at the visit."""
        both: Bools = ~np.isnan(self.before.low) & ~np.isnan(self.after.low)
        return both


@dataclass(frozen=True, slots=True, eq=False)
class CoreSetCourse:
    """All six measures. `enzyme` is the place of the followed enzyme among the declared enzymes, -1 for none.

    `undecided` marks patients of whom bounds hide which enzyme was the most abnormal, so that no enzyme is followed.
    """

    weeks: tuple[int, ...]
    measures: tuple[FollowedMeasure, ...]
    enzyme: Ints
    undecided: Bools

    def of(self, name: CoreSetMeasure) -> FollowedMeasure:
        """One of the six measures, by name."""
        return next(each for each in self.measures if each.name == name)

    @property
    def attended(self) -> Bools:
        """Visits with at least one measure that was also recorded at baseline (patients x weeks)."""
        seen: Bools = np.logical_or.reduce([each.known for each in self.measures])
        return seen

    @property
    def at_baseline(self) -> Bools:
        """Patients with at least one measure at baseline."""
        seen: Bools = np.logical_or.reduce([~np.isnan(each.before.low[:, 0]) for each in self.measures])
        return seen

    @property
    def day(self) -> Ints:
        """The day of each visit: the last day on which one of its measures was recorded, `NO_TIME` for none."""
        days = [np.where(each.known, each.day, NO_TIME) for each in self.measures]
        last: Ints = np.maximum.reduce(days)
        return last


def core_set_course(
    declared: CoreSet, weeks: Sequence[int], recorded: Callable[[str], Recorded], scale: Callable[[str], Scale]
) -> CoreSetCourse:
    """The declared measures at baseline and at the weeks."""
    scores: tuple[tuple[CoreSetMeasure, str], ...] = (
        ("physician_global", declared.physician_global),
        ("patient_global", declared.patient_global),
        ("muscle_strength", declared.muscle_strength),
        ("function", declared.function),
        ("extramuscular", declared.extramuscular),
    )
    followed = [_score(name, recorded(code), scale(code), weeks) for name, code in scores]
    enzymes = [recorded(code) for code in declared.enzymes]
    chosen, undecided = most_abnormal([at_baseline(each) for each in enzymes])
    followed.insert(4, _enzyme(enzymes, chosen, weeks))
    return CoreSetCourse(tuple(weeks), tuple(followed), chosen, undecided)


def at_baseline(recorded: Recorded) -> ValueRange:
    """An enzyme at baseline; NaN without an upper limit, because enzymes are compared in multiples of it."""
    records, rows = recorded
    return _reading(records, rows[0])


def most_abnormal(enzymes: Sequence[ValueRange]) -> tuple[Ints, Bools]:
    """The place of the enzyme with the highest multiple of its own upper limit (-1 for none), and where bounds hide it.

    Of equal multiples the first declared enzyme counts. An enzyme without an upper limit counts as not measured.
    """
    size = len(enzymes[0].low)
    chosen = np.full(size, NONE, dtype=np.int64)
    value, unit, beyond = np.full(size, np.nan), np.ones(size), np.zeros(size, dtype=np.bool_)
    for number, each in enumerate(enzymes):
        order = sign_of_sum((each.low, unit), (-1.0, value, each.unit))
        higher = (order > 0) | (order == 0) & each.low_open & ~beyond
        replaces = ~np.isnan(each.low) & ((chosen == NONE) | higher)
        chosen[replaces] = number
        value, unit = np.where(replaces, each.low, value), np.where(replaces, each.unit, unit)
        beyond = np.where(replaces, each.low_open, beyond)
    undecided = np.zeros(size, dtype=np.bool_)
    for number, each in enumerate(enzymes):
        rival = (chosen != number) & ~each.exact & ~np.isnan(each.low)
        order = sign_of_sum((each.high, unit), (-1.0, value, each.unit))
        tied = (order == 0) & (number < chosen) & ~each.high_open & ~beyond
        undecided |= rival & ((order > 0) | tied)
    return np.where(undecided, NONE, chosen), undecided


def at_best_end(followed: FollowedMeasure, scale: Scale) -> FollowedMeasure:
    """The same score with one visit, at which every patient has the best score of the scale."""
    best = np.full(followed.before.low.shape, scale.maximum if scale.better == "higher" else scale.minimum)
    return replace(followed, after=replace(followed.before, low=best, high=best))


def _score(name: CoreSetMeasure, recorded: Recorded, scale: Scale, weeks: Sequence[int]) -> FollowedMeasure:
    records, rows = recorded
    before, after = pick(records.value, rows[0])[:, None], _at(records.value, rows, weeks)
    exact = np.zeros((1, 1), dtype=np.bool_)
    one = np.ones((1, 1))
    return FollowedMeasure(
        name,
        scale.better,
        float(as_written(scale.maximum) - as_written(scale.minimum)),
        ValueRange(before, before, exact, exact, one),
        ValueRange(after, after, exact, exact, one),
        _days(records, rows, weeks),
    )


def _enzyme(enzymes: Sequence[Recorded], chosen: Ints, weeks: Sequence[int]) -> FollowedMeasure:
    """The chosen enzyme of each patient at baseline and at the weeks."""
    size = len(chosen)
    before, after = _nothing(size, 1), _nothing(size, len(weeks))
    day = np.full((size, len(weeks)), NO_TIME, dtype=np.int64)
    for number, (records, rows) in enumerate(enzymes):
        mine = np.flatnonzero(chosen == number)
        for reading, served in ((before, [0]), (after, weeks)):
            values = _reading(records, np.stack([rows[week][mine] for week in served], axis=1))
            for name in ("low", "high", "low_open", "high_open", "unit"):
                getattr(reading, name)[mine] = getattr(values, name)
        day[mine] = _days(records, rows, weeks)[mine]
    return FollowedMeasure("enzyme", "lower", np.nan, before, after, day)


def _nothing(size: int, width: int) -> ValueRange:
    absent, closed = np.full((size, width), np.nan), np.zeros((size, width), dtype=np.bool_)
    return ValueRange(absent, absent.copy(), closed, closed.copy(), np.ones((size, width)))


def _reading(records: AnalysisValues, rows: Ints) -> ValueRange:
    """Results at some rows: `<x` lies between 0 and x, `>x` has no upper bound; NaN without an upper limit."""
    value, limit = pick(records.value, rows), pick(records.upper_limit, rows)
    sign = pick_int(records.comparator, rows, 0)
    below, above = sign == COMPARATORS["<"], sign == COMPARATORS[">"]
    usable = limit > 0
    value = np.where(usable, value, np.nan)
    at_most, at_least = below | (sign == COMPARATORS["<="]), above | (sign == COMPARATORS[">="])
    low = np.where(at_most & usable, 0.0, value)
    high = np.where(at_least & usable, np.inf, value)
    return ValueRange(low, high, above & usable, below & usable, np.where(usable, limit, 1.0))


def _at(column: Floats, rows: Mapping[int, Ints], weeks: Sequence[int]) -> Floats:
    return np.stack([pick(column, rows[week]) for week in weeks], axis=1)


def _days(records: AnalysisValues, rows: Mapping[int, Ints], weeks: Sequence[int]) -> Ints:
    return np.stack([pick_int(records.day, rows[week], NO_TIME) for week in weeks], axis=1)


def enzyme_names(declared: CoreSet, chosen: Ints) -> Words:
    """The code of the followed enzyme of each patient; None for none."""
    names = np.array([*declared.enzymes, None], dtype=np.object_)
    followed: Words = names[chosen]
    return followed
