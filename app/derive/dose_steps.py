"""The dose of glucocorticoids of each patient as a step function of the day."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.derive.doses import glucocorticoid_periods
from app.derive.exposure import Exposure
from app.timeline.cohort import NO_TIME, Bools, Cohort, Floats, Ints

DIGITS = 6
"""Doses are compared to six decimals of a milligram: sums of thirds and sevenths have rounding errors beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class DosePeriods:
    """One row per reported period of a glucocorticoid, in the order of patients, in mg of prednisolone equivalents.

    The dose is NaN where it is not known. It is taken from `start` to the day before `stop`, both counted from day 0;
    `stop` is `NO_TIME` while the drug is still taken. `convertible` marks the units that are a daily dose, `ordered`
    the orders, `doubtful` the periods in which several orders of a drug are valid.
    """

    patient: Ints
    start: Ints
    stop: Ints
    daily_milligrams: Floats
    convertible: Bools
    ordered: Bools
    doubtful: Bools

    @property
    def ended(self) -> Bools:
        """Whether the last day of each period was reported."""
        ended: Bools = self.stop != NO_TIME
        return ended


@dataclass(frozen=True, slots=True, eq=False)
class DoseSteps:
    """The dose of glucocorticoids of a patient in mg of prednisolone equivalents a day: from a day (counted from day 0)
    until the next step, in the order of patients and days. It is NaN while unknown, and 0 before the first step.
    `covered` says whether any reported period covers the days of a step: without one the dose is 0. `doubtful`: several
    orders of a drug are valid on them.
    """

    patient: Ints
    day: Ints
    daily_milligrams: Floats
    covered: Bools
    doubtful: Bools


def dose_periods(cohort: Cohort, exposure: Exposure) -> DosePeriods:
    """The periods of the treated patients. If another period of a patient begins on the last day of a period, the
    period is not taken on that day.
    """
    known = glucocorticoid_periods(cohort, exposure)
    patient, start, end = known.periods.patient, known.periods.start_day, known.periods.end_day
    begins = {*_rows(patient, start)}
    gives_way = [day != first and (who, day) in begins for who, first, day in _rows(patient, start, end)]
    day0 = exposure.day0[patient]
    stop = np.where(end == NO_TIME, NO_TIME, end + 1 - np.array(gives_way, dtype=np.int64) - day0)
    ordered = known.periods.ordered
    return DosePeriods(patient, start - day0, stop, known.daily_milligrams, known.convertible, ordered, known.doubtful)


def dose_steps(cohort: Cohort, exposure: Exposure) -> DoseSteps:
    """The dose of glucocorticoids as a step function: on every day it equals `doses.prednisolone`."""
    return steps_of(dose_periods(cohort, exposure))


def steps_of(periods: DosePeriods) -> DoseSteps:
    """The periods as a step function: each adds its dose on its first day and subtracts it where it stops."""
    ended, dose = periods.ended, periods.daily_milligrams
    unknown = np.isnan(dose)
    who = np.concatenate([periods.patient, periods.patient[ended]])
    day = np.concatenate([periods.start, periods.stop[ended]])
    order = np.lexsort((day, who))
    who, day = who[order], day[order]
    last = np.ones(len(who), dtype=np.bool_)
    last[:-1] = (who[1:] != who[:-1]) | (day[1:] != day[:-1])
    total, doubts, open_, doubtful = (
        _running(who, np.concatenate([added, -added[ended]])[order])[last]
        for added in (
            np.where(unknown, 0.0, dose),
            unknown.astype(np.float64),
            np.ones(len(dose)),
            periods.doubtful.astype(np.float64),
        )
    )
    milligrams = np.where(doubts > 0.5, np.nan, np.round(total, DIGITS) + 0.0)
    return DoseSteps(who[last], day[last], milligrams, open_ > 0.5, doubtful > 0.5)


def _rows(*columns: Ints) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _running(patient: Ints, added: Floats) -> Floats:
    """Running sums that start again with each patient; `patient` ascends.

    The next row of every patient is added in one step. A difference of sums over all patients would carry the rounding
    of a very high dose into the sums of others.
    """
    at = np.arange(len(patient))
    place = at - np.searchsorted(patient, patient, side="left")
    rows = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[rows], np.arange(1, place.max(initial=0) + 2), side="left")
    total = added.copy()
    for first, stop in pairwise(bounds.tolist()):
        nth = rows[first:stop]
        total[nth] += total[nth - 1]
    return total


def first_day(steps: DoseSteps, chosen: Bools, size: int) -> Ints:
    """The day of the first chosen step of each of `size` patients; `NO_TIME` for none."""
    rows = np.flatnonzero(chosen)[::-1]
    first = np.full(size, NO_TIME, dtype=np.int64)
    first[steps.patient[rows]] = steps.day[rows]
    return first
