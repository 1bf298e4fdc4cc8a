"""The dose of glucocorticoids of each patient as a step function of the day."""

from dataclasses import dataclass

import numpy as np

from app.derive.doses import glucocorticoid_periods
from app.derive.exposure import Exposure
from app.timeline.cohort import NO_TIME, Bools, Cohort, Floats, Ints

_DIGITS = 6
"""Doses are compared to six decimals of a milligram: sums of thirds and sevenths have rounding errors beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class DoseSteps:
    """The dose of glucocorticoids of a patient in mg of prednisolone equivalents a day: from a day (counted from day 0)
    until the next step, in the order of patients and days. It is NaN while unknown, and 0 before the first step.
    """

    patient: Ints
    day: Ints
    daily_milligrams: Floats


def dose_steps(cohort: Cohort, exposure: Exposure) -> DoseSteps:
    """The dose of glucocorticoids as a step function: on every day it equals `doses.prednisolone`.

    Each period adds its dose on its first day and subtracts it on the day after its last day. If another period begins
    on the last day, the dose is subtracted on that day.
    """
    known = glucocorticoid_periods(cohort, exposure)
    periods, dose = known.periods, known.daily_milligrams
    patient, start = periods.patient, periods.start_day
    begins = np.unique(np.stack([patient, start], axis=1), axis=0) if len(periods) else np.zeros((0, 2), dtype=np.int64)
    keys = {(who, day) for who, day in begins.tolist()}
    gives_way = [day != first and (who, day) in keys for who, first, day in _rows(patient, start, periods.end_day)]
    stop = periods.end_day + 1 - np.array(gives_way, dtype=np.int64)
    ended = periods.end_day != NO_TIME
    who = np.concatenate([patient, patient[ended]])
    day = np.concatenate([start, stop[ended]])
    unknown = np.isnan(dose)
    added = np.concatenate([np.where(unknown, 0.0, dose), -np.where(unknown, 0.0, dose)[ended]])
    doubt = np.concatenate([unknown, -unknown.astype(np.int64)[ended]])
    order = np.lexsort((day, who))
    who, day = who[order], day[order]
    total, doubts = _running(who, added[order]), _running(who, doubt[order].astype(np.float64))
    last = np.ones(len(who), dtype=np.bool_)
    last[:-1] = (who[1:] != who[:-1]) | (day[1:] != day[:-1])
    milligrams = np.where(doubts > 0.5, np.nan, np.round(total, _DIGITS) + 0.0)
    return DoseSteps(who[last], day[last] - exposure.day0[who[last]], milligrams[last])


def _rows(*columns: Ints) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _running(patient: Ints, added: Floats) -> Floats:
    """Running sums that start again with each patient."""
    total = np.cumsum(added)
    first = np.ones(len(patient), dtype=np.bool_)
    first[1:] = patient[1:] != patient[:-1]
    before = np.where(first, total - added, -np.inf)
    start = np.maximum.accumulate(np.where(first, np.arange(len(patient)), 0)) if len(patient) else before
    return total - before[start] if len(patient) else total


def first_day(steps: DoseSteps, chosen: Bools, size: int) -> Ints:
    """The day of the first chosen step of each of `size` patients; `NO_TIME` for none."""
    rows = np.flatnonzero(chosen)[::-1]
    first = np.full(size, NO_TIME, dtype=np.int64)
    first[steps.patient[rows]] = steps.day[rows]
    return first
