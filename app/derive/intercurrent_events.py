"""Intercurrent events (ICH E9(R1)): events after day 0 that change the meaning of later values.

Only the facts that were sent are known. A patient without a reported rescue may have had one. The prednisolone of a
patient without any reported prednisolone is unknown; these patients are counted.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.derive.doses import GLUCOCORTICOID, prednisolone
from app.derive.exposure import Exposure, are_named, first_new_drug_day
from app.timeline.cohort import NO_TIME, Bools, Cohort, Floats, Ints, Medications
from app.timeline.vocabulary import DAILY_MILLIGRAMS

Event = Literal["second_course", "new_immunosuppressant", "steroid_increase", "steroid_taper", "death"]
RESCUE: tuple[Event, ...] = ("second_course", "new_immunosuppressant", "steroid_increase")
"""Events after which a good value may not be due to the treatment. A taper has the opposite effect; after death there
are no values.
"""
_DIGITS = 6
"""Doses are compared to six decimals of a milligram: sums of thirds and sevenths have rounding errors beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class IntercurrentEvents:
    """The first day, counted from day 0, of each kind of event of each patient; `NO_TIME` where none is known.

    An increase or taper of prednisolone is the first day after day 0 with a higher or lower dose than on day 0.
    `steroid_known` marks the patients whose dose on day 0 is known.
    """

    second_course: Ints
    new_immunosuppressant: Ints
    steroid_increase: Ints
    steroid_taper: Ints
    death: Ints
    steroid_known: Bools

    def day(self, *events: Event) -> Ints:
        """The earliest day of any of these events."""
        days = np.stack([getattr(self, event) for event in events])
        earliest = np.where(days == NO_TIME, -NO_TIME, days).min(axis=0)
        return np.where(earliest == -NO_TIME, NO_TIME, earliest)

    def within(self, until: int | Ints, *events: Event) -> Bools:
        """Whether any of these events fell on day 0 or later and not after the day `until`."""
        day = self.day(*events)
        inside: Bools = (day >= 0) & (day <= until)
        return inside


@dataclass(frozen=True, slots=True, eq=False)
class DoseSteps:
    """The prednisolone dose of a patient from a day (counted from day 0) until the next step; NaN while unknown."""

    patient: Ints
    day: Ints
    daily_milligrams: Floats


def intercurrent_events(cohort: Cohort, exposure: Exposure, immunosuppressants: tuple[str, ...]) -> IntercurrentEvents:
    """The intercurrent events of a cohort."""
    at_start = prednisolone(cohort, exposure, 0).daily_milligrams
    steps = dose_steps(cohort, exposure)
    after = steps.day > 0
    change = np.round(steps.daily_milligrams - at_start[steps.patient], _DIGITS)
    died = [p.ended_day if p.ended_reason == "died" and p.ended_day is not None else NO_TIME for p in cohort.patients]
    death = np.array(died, dtype=np.int64)
    return IntercurrentEvents(
        second_course=exposure.second_course,
        new_immunosuppressant=first_new_drug_day(cohort, exposure, immunosuppressants),
        steroid_increase=_first_day(steps, after & (change > 0), len(cohort)),
        steroid_taper=_first_day(steps, after & (change < 0), len(cohort)),
        death=np.where((death != NO_TIME) & exposure.treated, death - exposure.day0, NO_TIME),
        steroid_known=~np.isnan(at_start),
    )


def until_rescue(cohort: Cohort, exposure: Exposure, events: IntercurrentEvents) -> Cohort:
    """The cohort without the values after the day of a patient's first rescue. Values of that day are kept."""
    rescue = events.day(*RESCUE)
    last = np.where(rescue == NO_TIME, -NO_TIME, rescue + exposure.day0)
    labs = cohort.labs.where(cohort.labs.day <= last[cohort.labs.patient])
    scores = cohort.assessments.where(cohort.assessments.day <= last[cohort.assessments.patient])
    return replace(cohort, labs=labs, assessments=scores)


def dose_steps(cohort: Cohort, exposure: Exposure) -> DoseSteps:
    """The prednisolone dose as a step function: on every day it equals `doses.prednisolone`.

    Each period adds its dose on its first day and subtracts it on the day after its last day. If another period begins
    on the last day, the dose is subtracted on that day.
    """
    periods = _prednisolone_periods(cohort, exposure)
    patient, start = periods.patient, periods.start_day
    begins = np.unique(np.stack([patient, start], axis=1), axis=0) if len(periods) else np.zeros((0, 2), dtype=np.int64)
    keys = {(who, day) for who, day in begins.tolist()}
    gives_way = [day != first and (who, day) in keys for who, first, day in _rows(patient, start, periods.end_day)]
    stop = periods.end_day + 1 - np.array(gives_way, dtype=np.int64)
    factor = np.array([float(DAILY_MILLIGRAMS.get(unit, np.nan)) for unit in periods.unit], dtype=np.float64)
    ended = periods.end_day != NO_TIME
    who = np.concatenate([patient, patient[ended]])
    day = np.concatenate([start, stop[ended]])
    dose = periods.dose * factor
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


def _prednisolone_periods(cohort: Cohort, exposure: Exposure) -> Medications:
    table = cohort.medications
    named = are_named(table.drug, GLUCOCORTICOID)
    return table.where(named & exposure.treated[table.patient])


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


def _first_day(steps: DoseSteps, chosen: Bools, size: int) -> Ints:
    rows = np.flatnonzero(chosen)[::-1]
    first = np.full(size, NO_TIME, dtype=np.int64)
    first[steps.patient[rows]] = steps.day[rows]
    return first
