"""Every value of one measure as a row: the values that analyses use, and the others with the reason."""

from dataclasses import dataclass, replace

import numpy as np

from app.datasets.parquet import days_since
from app.derive.analysis_values import AnalysisValues, after_death, post_dose_on_day_0
from app.derive.ck_normality import UNKNOWN, borrow_limits, normality
from app.derive.per_patient import first_true, pick_int
from app.derive.study import DerivedStudy
from app.derive.visits import side_of_window
from app.timeline.cohort import NO_TIME, Assessments, Bools, Floats, Ints, Labs, Words
from app.timeline.source_facts import Sources
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

REASONS = {
    "not_treated": "the patient has no day 0",
    "scale_not_declared": "the protocol declares no scale for the score",
    "scale_mismatch": "the score is of another scale than the protocol's",
    "after_death": "it is dated after the day of death",
    "day_0_post_dose": "it was taken on day 0 after the infusion began",
    "duplicate_draw": "another value of that day is used",
    "not_nearest": "another value of its window is nearer to the target, or as near and later",
    "outside_windows": "it lies in no window",
}
"""In the order in which they are looked at."""
REASON_CODES = (None, *REASONS)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Rows of one measure in the order of the cohort's columns.

    `day` is counted from day 0; it is `NO_TIME` for untreated patients. `point` is the number that analyses calculate
    with, `known` its normality. `borrowed`: the upper limit was sent with another result. `usable`: the rows that
    analyses may use, one for each patient and day. `chosen`: the usable rows that stand for a visit. `week`: the week
    in whose window a row lies, 0 for the baseline only, or `NO_TIME`. `base` and `base_known` are `point` and `known`
    of the patient's baseline. `reason` is a place in `REASON_CODES`.
    """

    patient: Ints
    date: Ints
    day: Ints
    value: Floats
    point: Floats
    upper_limit: Floats
    borrowed: Bools
    comparator: Ints
    known: Ints
    address: Words
    usable: Bools
    chosen: Bools
    baseline: Bools
    week: Ints
    base: Floats
    base_known: Ints
    reason: Ints


def measured(study: DerivedStudy, sources: Sources, measure: str) -> Measured:
    """All rows of one measure; `sources` holds the addresses of their facts."""
    table, value, addresses = _table(study, sources, measure)
    records = _records(study, measure, table, value)
    used = study.analysis_values(measure) if has_scale(study, measure) else None
    usable = np.zeros(len(table), dtype=np.bool_)
    chosen, baseline = usable.copy(), usable.copy()
    week = np.full(len(table), NO_TIME, dtype=np.int64)
    base, base_known = np.full(records.size, np.nan), np.full(records.size, UNKNOWN, dtype=np.int64)
    left_out = _left_out(study, measure, table, value)
    if used is not None:
        rows = study.weeks(measure)
        usable[used.row] = True
        for visit in rows.values():
            chosen[used.row[visit[visit >= 0]]] = True
        baseline[used.row[rows[0][rows[0] >= 0]]] = True
        base = used.at(rows[0])
        base_known = pick_int(normality(used), rows[0], UNKNOWN)
        in_reach = first_true(left_out, len(table)) == 0
        week = _weeks(study, records.day, in_reach & ~baseline)
        week[baseline] = 0
    reasons = (*left_out, ~usable, ~chosen & (week != NO_TIME), ~chosen)
    return Measured(
        patient=table.patient,
        date=table.day,
        day=records.day,
        value=value,
        point=records.point,
        upper_limit=records.upper_limit,
        borrowed=_borrowed(table, records),
        comparator=records.comparator,
        known=normality(records),
        address=addresses,
        usable=usable,
        chosen=chosen,
        baseline=baseline,
        week=week,
        base=base[table.patient],
        base_known=base_known[table.patient],
        reason=first_true(reasons, len(table)),
    )


def has_scale(study: DerivedStudy, measure: str) -> bool:
    """Whether the range of a measure is known; a laboratory result needs none."""
    return measure not in {"MMT", "ADL"} or measure in study.protocol.scales


def measures_of(study: DerivedStudy) -> list[str]:
    """The measures of which the cohort has any value, in the order of the vocabulary."""
    cohort = study.cohort
    labs, scores = np.unique(cohort.labs.code).tolist(), np.unique(cohort.assessments.code).tolist()
    return [*(LAB_CODES[i] for i in labs), *(ASSESSMENT_CODES[i] for i in scores)]


def _table(study: DerivedStudy, sources: Sources, measure: str) -> tuple[Labs | Assessments, Floats, Words]:
    cohort = study.cohort
    if measure in LAB_CODES:
        labs, place = cohort.labs.of(measure), LAB_CODES.index(measure)
        return labs, labs.value, sources.labs[cohort.labs.code == place]
    scores, place = cohort.assessments.of(measure), ASSESSMENT_CODES.index(measure)
    return scores, scores.score, sources.assessments[cohort.assessments.code == place]


def _records(study: DerivedStudy, measure: str, table: Labs | Assessments, value: Floats) -> AnalysisValues:
    """All rows as analysis values, usable or not, with the limits that the protocol borrows."""
    size, day = len(study.cohort), days_since(table.day, study.exposure.day0[table.patient])
    if not isinstance(table, Labs):
        nothing, exact = np.full(len(table), np.nan), np.zeros(len(table), dtype=np.int64)
        return AnalysisValues(size, table.patient, day, value, nothing, exact, {})
    dated = AnalysisValues(size, table.patient, table.day, value, table.upper_limit, table.comparator, {})
    if measure == "CK" and study.protocol.upper_limit == "nearest_same_laboratory":
        no_day0 = np.zeros(size, dtype=np.int64)
        dated = borrow_limits(dated, table.lab, table, no_day0)  # by date: not everybody has a day 0
    return replace(dated, day=day)


def _borrowed(table: Labs | Assessments, records: AnalysisValues) -> Bools:
    own = table.upper_limit if isinstance(table, Labs) else records.upper_limit
    return np.isnan(own) & ~np.isnan(records.upper_limit)


def _left_out(study: DerivedStudy, measure: str, table: Labs | Assessments, value: Floats) -> tuple[Bools, ...]:
    """Which rows may not be used for each of the `REASONS` before another value of its day; `derive.analysis_values`
    leaves out the same.
    """
    exposure, no_row = study.exposure, np.zeros(len(table), dtype=np.bool_)
    mismatch = undeclared = no_row
    if not isinstance(table, Labs):
        if has_scale(study, measure):
            scale = study.protocol.scale(measure)
            mismatch = (value > scale.maximum) | (value < scale.minimum)
            mismatch |= ~np.isnan(table.scale_max) & (table.scale_max != scale.maximum)
        else:
            undeclared = ~no_row
    day0, instant0 = exposure.day0[table.patient], exposure.instant0[table.patient]
    return (
        ~exposure.treated[table.patient],
        undeclared,
        mismatch,
        after_death(table, study.cohort),
        post_dose_on_day_0(table.day, table.instant, day0, instant0),
    )


def _weeks(study: DerivedStudy, day: Ints, eligible: Bools) -> Ints:
    weeks = np.full(len(day), NO_TIME, dtype=np.int64)
    for week in study.protocol.visits.weeks:
        low, high = side_of_window(week, study.protocol.visits)
        weeks[eligible & (day >= low) & (day <= high)] = week
    return weeks
