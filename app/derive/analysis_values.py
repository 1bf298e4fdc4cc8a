"""The analysis values of one measure: at most one value a day, with its day relative to treatment.

Flags count the values that were left out, with the reason.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from app.derive.chunks import Chunk, chunks
from app.derive.exact_comparison import as_written
from app.derive.exposure import Exposure
from app.derive.per_patient import pick, pick_int
from app.derive.reasons import FlagCode
from app.protocol.parts import Analogue, Scale
from app.timeline.cohort import COMPARATORS, NO_TIME, Assessments, Bools, Cohort, Events, Floats, Ints, Labs, order_by
from app.timeline.vocabulary import ASSESSMENT_CODES, INSTRUMENTS

Order = tuple[Ints | Floats, ...]
Measurements = TypeVar("Measurements", Labs, Assessments)


@dataclass(frozen=True, slots=True, eq=False)
class AnalysisValues:
    """Values of one measure sorted by patient and day, at most one a day.

    `day` counts from day 0. `upper_limit` is NaN where unknown. `comparator` is 0 where the value is exact (see
    `cohort.COMPARATORS`). Scores have neither. `flags` counts the values that were left out or marked. `row` is the
    row of each value among the cohort's rows of this code; it is empty where some values come from elsewhere.
    """

    size: int
    patient: Ints
    day: Ints
    value: Floats
    upper_limit: Floats
    comparator: Ints
    flags: Mapping[FlagCode, int]
    row: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def of_chunk(self, chunk: Chunk) -> "AnalysisValues":
        """The values of the patients of a chunk, without flags: flags are counted for the whole study only."""
        size = chunk.patients.stop - chunk.patients.start
        if size == self.size:
            return self
        columns = (each.name for each in fields(self) if isinstance(getattr(self, each.name), np.ndarray))
        mine: dict[str, Any] = {name: getattr(self, name)[chunk.rows] for name in columns}
        mine["patient"] = mine["patient"] - chunk.patients.start
        return replace(self, size=size, flags={}, **mine)

    @property
    def is_seen_after(self) -> Bools:
        """Whether each patient has a value after day 0: then the last one is."""
        ends = np.searchsorted(self.patient, np.arange(self.size + 1))
        seen: Bools = ends[1:] > ends[:-1]
        seen[seen] = self.day[ends[1:][seen] - 1] > 0
        return seen

    @property
    def point(self) -> Floats:
        """The number that calculations use for each value: the value itself, x/2 for `<x` and `<=x`, x for `>x` and
        `>=x`.
        """
        return _counted_as(self.value, self.comparator)

    @property
    def are_exact(self) -> bool:
        """Whether it is known that no value is a bound."""
        return self.flags.get(FlagCode.COMPARATOR) == 0

    def at(self, rows: Ints) -> Floats:
        """The same number at the given rows; NaN where a row is -1."""
        value = pick(self.value, rows)
        if self.are_exact:
            return value
        return _counted_as(value, pick_int(self.comparator, rows, COMPARATORS[None]))


def _counted_as(value: Floats, comparator: Ints) -> Floats:
    return np.where(_is_below(comparator), value / 2, value)


def _is_below(comparator: Ints) -> Bools:
    below: Bools = (comparator == COMPARATORS["<"]) | (comparator == COMPARATORS["<="])
    return below


def lab_records(cohort: Cohort, exposure: Exposure, code: str) -> AnalysisValues:
    """The results of one analyte, at most one a day.

    Of several results on one day the latest is kept, then the last issued, then the least favourable to a response.
    After day 0 that is the highest CK. On or before day 0 it is the lowest CK, because a fall from it is harder to
    reach.
    """
    labs = cohort.labs.of(code)

    def preference(part: Labs, shared: Ints, before: Bools) -> Order:
        value, limit = part.value[shared], part.upper_limit[shared]
        lowest = np.where(np.isnan(limit), -np.inf, -limit)
        worst = np.where(before, -value, value)
        return part.comparator[shared], lowest, worst, part.issued[shared], part.instant[shared]

    flags: Counter[FlagCode] = Counter()
    row, day = _one_a_day(labs, cohort, exposure, preference, flags)
    kept: Any = slice(None) if len(row) == len(labs) else row
    value, limit, comparator = labs.value[kept], labs.upper_limit[kept], labs.comparator[kept]
    flags[FlagCode.NO_UPPER_LIMIT] += int(np.count_nonzero(np.isnan(limit)))
    flags[FlagCode.COMPARATOR] += int(np.count_nonzero(comparator))
    return AnalysisValues(len(cohort), labs.patient[kept], day, value, limit, comparator, flags, row)


def score_records(cohort: Cohort, exposure: Exposure, code: str, scale: Scale) -> AnalysisValues:
    """The scores of one instrument that fit the protocol's scale, at most one a day.

    Of several scores on one day the latest is kept, then the last issued, then the least favourable to a response:
    the worst score after day 0, the best score on or before day 0.
    """
    scores = cohort.assessments.of(code)
    flags: Counter[FlagCode] = Counter()
    mismatch = ~on_scale(scores, scale)
    flags[FlagCode.SCALE_MISMATCH] += int((mismatch & exposure.treated[scores.patient]).sum())
    fitting = np.flatnonzero(~mismatch)
    scores = scores.where(fitting)

    def preference(part: Assessments, shared: Ints, before: Bools) -> Order:
        score = part.score[shared]
        worst = np.where(before == (scale.better == "higher"), score, -score)
        return worst, part.issued[shared], part.instant[shared]

    row, day = _one_a_day(scores, cohort, exposure, preference, flags)
    nothing, exact = np.full(len(row), np.nan), np.zeros(len(row), dtype=np.int64)
    patient, score = scores.patient[row], scores.score[row]
    return AnalysisValues(len(cohort), patient, day, score, nothing, exact, flags, fitting[row])


def on_own_scales(cohort: Cohort, sent: Mapping[Analogue, float]) -> Cohort:
    """The cohort with the scores of visual analogue scales that were sent on a declared other scale on their own.

    The conversion is exact in the decimals as they were written, rounded once at the end.
    """
    scores = cohort.assessments
    score, scale_max = scores.score.copy(), scores.scale_max.copy()
    for code, greatest in sent.items():
        rows = np.flatnonzero((scores.code == ASSESSMENT_CODES.index(code)) & (scores.scale_max == greatest))
        own = Fraction(INSTRUMENTS[code].maximum or 0) / as_written(greatest)
        values, place = np.unique(scores.score[rows], return_inverse=True)
        score[rows] = np.array([float(as_written(value) * own) for value in values.tolist()], dtype=np.float64)[place]
        scale_max[rows] = np.nan
    return replace(cohort, assessments=replace(scores, score=score, scale_max=scale_max)) if sent else cohort


def on_scale(scores: Assessments, scale: Scale) -> Bools:
    """Whether each score fits a scale."""
    mismatch = (scores.score > scale.maximum) | (scores.score < scale.minimum)
    mismatch |= ~np.isnan(scores.scale_max) & (scores.scale_max != scale.maximum)
    return ~mismatch


def after_death(table: Labs | Assessments | Events, cohort: Cohort) -> Bools:
    """Whether each row is dated after its patient's day of death."""
    death = cohort.death_day[table.patient]
    late: Bools = (death != NO_TIME) & (table.day > death)
    return late


def post_dose_on_day_0(day: Ints, instant: Ints, day0: Ints, instant0: Ints) -> Bools:
    """Whether a record of day 0 was taken after the infusion began.

    This needs a clock time of both, and the record's must be later. If one of them has only a date, the record counts
    as before the dose.
    """
    timed = (instant != NO_TIME) & (instant0 != NO_TIME)
    post_dose: Bools = (day == day0) & timed & (instant > instant0)
    return post_dose


def _one_a_day(
    table: Measurements,
    cohort: Cohort,
    exposure: Exposure,
    preference: Callable[[Measurements, Ints, Bools], Order],
    flags: Counter[FlagCode],
) -> tuple[Ints, Ints]:
    """The usable row of each patient and day that is last in the order of `preference` (least significant column
    first), and its day from day 0.

    `preference` gets some rows of the table, the places of those among them that share their day with another one, and
    whether each of these lies on or before day 0. The rows of a cohort are sorted by patient and day, so only these
    need sorting.
    """
    rows, days = np.empty(len(table), dtype=np.int64), np.empty(len(table), dtype=np.int64)
    size = 0
    last_day = np.where(cohort.death_day == NO_TIME, -NO_TIME, cohort.death_day)
    last_day[~exposure.treated] = NO_TIME
    for chunk in chunks(table.patient, len(cohort)):
        part = table.rows(chunk.rows)
        patient, day = part.patient, part.day - exposure.day0[part.patient]
        chosen = _usable(part, day, last_day, exposure, flags)
        flags[FlagCode.UTC_DAY] += 0 if cohort.zoned else int(np.count_nonzero(part.utc & chosen))
        among = np.flatnonzero(_share_day(patient, day) & chosen)
        columns: Order = preference(part, among, day[among] <= 0)
        order = among[order_by((*columns, day[among], patient[among]))]
        last = np.ones(len(order), dtype=np.bool_)
        last[:-1] = (patient[order[1:]] != patient[order[:-1]]) | (day[order[1:]] != day[order[:-1]])
        flags[FlagCode.DUPLICATE_DRAW] += int(np.count_nonzero(~last))
        chosen[order[~last]] = False
        kept = np.flatnonzero(chosen)
        found = slice(size, size := size + len(kept))
        rows[found] = kept + chunk.rows.start
        days[found] = day[kept]
    return rows[:size], days[:size]


def _usable(part: Measurements, day: Ints, last_day: Ints, exposure: Exposure, flags: Counter[FlagCode]) -> Bools:
    """The rows of treated patients, not after death, not taken on day 0 after the dose. `day` counts from day 0;
    `last_day` is the date of each patient's death, or one before or after all others.
    """
    usable: Bools = part.day <= last_day[part.patient]
    late = np.flatnonzero(~usable)
    rows = np.flatnonzero(usable & (day == 0))
    patient = part.patient[rows]
    day0, instant0 = exposure.day0[patient], exposure.instant0[patient]
    post_dose = rows[post_dose_on_day_0(part.day[rows], part.instant[rows], day0, instant0)]
    usable[post_dose] = False
    flags[FlagCode.AFTER_DEATH] += int(np.count_nonzero(exposure.treated[part.patient[late]]))
    flags[FlagCode.DAY_0_POST_DOSE] += len(post_dose)
    return usable


def _share_day(patient: Ints, day: Ints) -> Bools:
    """Whether a neighbouring row is of the same patient and day."""
    same = np.flatnonzero(day[1:] == day[:-1])
    same = same[patient[same + 1] == patient[same]]
    shared = np.zeros(len(patient), dtype=np.bool_)
    shared[same] = shared[same + 1] = True
    return shared
