"""The analysis values of one measure: at most one value a day, with its day relative to treatment.

Flags count the values that were left out, with the reason.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from app.derive.exact_comparison import as_written
from app.derive.exposure import Exposure
from app.derive.per_patient import pick, pick_int
from app.derive.reasons import FlagCode
from app.protocol.parts import Analogue, Scale
from app.timeline.cohort import COMPARATORS, NO_TIME, Assessments, Bools, Cohort, Events, Floats, Ints, Labs, Words
from app.timeline.vocabulary import ASSESSMENT_CODES, INSTRUMENTS

Order = tuple[Ints | Floats, ...]


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
    lab: Words
    flags: Mapping[FlagCode, int]
    row: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def point(self) -> Floats:
        """The number that calculations use for each value: the value itself, x/2 for `<x` and `<=x`, x for `>x` and
        `>=x`.
        """
        return _counted_as(self.value, self.comparator)

    def at(self, rows: Ints) -> Floats:
        """The same number at the given rows; NaN where a row is -1."""
        return _counted_as(pick(self.value, rows), pick_int(self.comparator, rows, COMPARATORS[None]))


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
    flags: Counter[FlagCode] = Counter()
    usable = np.flatnonzero(_usable(labs, cohort, exposure, flags))
    kept = labs.where(usable)
    limit = np.where(np.isnan(kept.upper_limit), np.inf, kept.upper_limit)
    worst = _before(kept, exposure) * kept.value
    chosen = _one_a_day(kept, (kept.comparator, -limit, worst, kept.issued, kept.instant), flags)
    kept = kept.where(chosen)
    flags[FlagCode.NO_UPPER_LIMIT] += int(np.isnan(kept.upper_limit).sum())
    flags[FlagCode.COMPARATOR] += int((kept.comparator != 0).sum())
    return AnalysisValues(
        len(cohort),
        kept.patient,
        kept.day - exposure.day0[kept.patient],
        kept.value,
        kept.upper_limit,
        kept.comparator,
        kept.lab,
        flags,
        usable[chosen],
    )


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
    usable = np.flatnonzero(_usable(scores, cohort, exposure, flags))
    kept = scores.where(usable)
    worst = _before(kept, exposure) * (-kept.score if scale.better == "higher" else kept.score)
    chosen = _one_a_day(kept, (worst, kept.issued, kept.instant), flags)
    kept = kept.where(chosen)
    nothing = np.full(len(kept), np.nan)
    return AnalysisValues(
        len(cohort),
        kept.patient,
        kept.day - exposure.day0[kept.patient],
        kept.score,
        nothing,
        np.zeros(len(kept), dtype=np.int64),
        np.full(len(kept), None, dtype=np.object_),
        flags,
        fitting[usable[chosen]],
    )


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
    died = np.array(
        [p.ended_day if p.ended_reason == "died" and p.ended_day is not None else NO_TIME for p in cohort.patients],
        dtype=np.int64,
    )
    death = died[table.patient] if len(cohort) else table.day
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


def _usable(table: Labs | Assessments, cohort: Cohort, exposure: Exposure, flags: Counter[FlagCode]) -> Bools:
    """The rows of treated patients, not after death, not taken on day 0 after the dose."""
    treated = exposure.treated[table.patient]
    late = treated & after_death(table, cohort)
    day0, instant0 = (exposure.day0[table.patient], exposure.instant0[table.patient])
    post_dose = treated & ~late & post_dose_on_day_0(table.day, table.instant, day0, instant0)
    usable: Bools = treated & ~late & ~post_dose
    flags[FlagCode.AFTER_DEATH] += int(late.sum())
    flags[FlagCode.DAY_0_POST_DOSE] += int(post_dose.sum())
    flags[FlagCode.UTC_DAY] += 0 if cohort.zoned else int((table.utc & usable).sum())
    return usable


def _before(table: Labs | Assessments, exposure: Exposure) -> Ints:
    """-1 for rows on or before day 0, where the opposite values favour a response; 1 for later rows."""
    return np.where(table.day <= exposure.day0[table.patient], -1, 1)


def _one_a_day(table: Labs | Assessments, preference: Order, flags: Counter[FlagCode]) -> Ints:
    """The row of each patient and day that is last in the order of `preference` (least significant column first).

    The rows of a cohort are sorted by patient and day, so only the days with several rows need sorting.
    """
    patient, day = table.patient, table.day
    same = (patient[1:] == patient[:-1]) & (day[1:] == day[:-1])
    shared = np.zeros(len(patient), dtype=np.bool_)
    shared[1:] |= same
    shared[:-1] |= same
    rows = np.flatnonzero(shared)
    order = rows[np.lexsort((*(column[rows] for column in preference), day[rows], patient[rows]))]
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = (patient[order[1:]] != patient[order[:-1]]) | (day[order[1:]] != day[order[:-1]])
    flags[FlagCode.DUPLICATE_DRAW] += int((~last).sum())
    kept = ~shared
    kept[order[last]] = True
    return np.flatnonzero(kept)
