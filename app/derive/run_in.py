"""The run-in: all values of a measure before the dose, and the slopes of ln(CK) before and after it."""

from dataclasses import dataclass

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.per_patient import count_where
from app.derive.visits import before_treatment, window
from app.protocol.model import CkChangeWeeks, Visits
from app.timeline.cohort import Bools, Floats, Ints

SLOPE_DAYS = 28
"""Slopes are per four weeks, as the before/after comparison."""


@dataclass(frozen=True, slots=True, eq=False)
class RunIn:
    """The run-in values: every usable value on or before day 0, one a day. The last one is the
    baseline.

    `patient`, `value`, `is_baseline`, `row` (the place among the analysis values) and `bounded` (known as a bound only)
    have one row for each value.
    `value` is the natural logarithm if logarithms were requested. `mean` and `earlier_mean` (without the baseline) have
    one row for each patient, NaN without values. `zero_values` is the number of zeros that were left out because they
    have no logarithm.
    """

    patient: Ints
    value: Floats
    is_baseline: Bools
    row: Ints
    bounded: Bools
    mean: Floats
    earlier_mean: Floats
    zero_values: int


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """Change of ln(CK) per 28 days of each patient before and after treatment, NaN with fewer than two values."""

    before: Floats
    after: Floats
    first_day: int
    last_day: int


def run_in(records: AnalysisValues, base: Ints, reach_days: int | None, *, logarithm: bool) -> RunIn:
    """The run-in values of one measure, at most one a day. `base` is the baseline row of each patient.

    Values up to `reach_days` before day 0 are used, and the baseline even if it is older; with None values of any age,
    because old values also show the usual level of a patient.
    """
    is_baseline = np.zeros(len(records.day), dtype=np.bool_)
    is_baseline[base[base >= 0]] = True
    before = before_treatment(records, reach_days) | is_baseline
    usable = before & (records.point > 0) if logarithm else before
    patient, point = records.patient[usable], records.point[usable]
    value = np.log(point) if logarithm else point
    earlier = ~is_baseline[usable]
    return RunIn(
        patient=patient,
        value=value,
        is_baseline=~earlier,
        row=np.flatnonzero(usable),
        bounded=records.comparator[usable] != 0,
        mean=_means(patient, value, records.size),
        earlier_mean=_means(patient[earlier], value[earlier], records.size),
        zero_values=int((before & ~usable).sum()),
    )


def slopes(records: AnalysisValues, base: Ints, visits: Visits, weeks: CkChangeWeeks) -> Slopes:
    """Least-squares slopes of ln(CK) against the day, per 28 days.

    Before: from the first day of the window of `before_week` to day 0. After: from day 0 to the last day of the window
    of `after_week`. The baseline belongs to both, as in the before/after comparison. For a patient with one value in
    each window the slopes give the same contrast as that comparison, except that they use the exact days.
    """
    first, last = window(weeks.before_week, visits)[0], window(weeks.after_week, visits)[1]
    is_baseline = np.zeros(len(records.day), dtype=np.bool_)
    is_baseline[base[base >= 0]] = True
    usable, day = records.point > 0, records.day
    before = usable & (is_baseline | (day >= first) & (day <= 0))
    after = usable & (is_baseline | (day > 0) & (day <= last))
    return Slopes(_slope(records, before), _slope(records, after), first, last)


def _slope(records: AnalysisValues, chosen: Bools) -> Floats:
    """Least-squares slope per 28 days of each patient's chosen values; they lie on different days."""
    patient, size = records.patient[chosen], records.size
    day, value = records.day[chosen].astype(np.float64), np.log(records.point[chosen])
    from_mean = day - _means(patient, day, size)[patient]
    squares = np.bincount(patient, from_mean**2, size)
    products = np.bincount(patient, from_mean * (value - _means(patient, value, size)[patient]), size)
    enough = count_where(records.patient, size, chosen) >= 2
    slope: Floats = SLOPE_DAYS * np.divide(products, squares, out=np.full(size, np.nan), where=enough)
    return slope


def _means(patient: Ints, value: Floats, size: int) -> Floats:
    count = np.bincount(patient, minlength=size)
    mean: Floats = np.divide(np.bincount(patient, value, size), count, out=np.full(size, np.nan), where=count > 0)
    return mean
