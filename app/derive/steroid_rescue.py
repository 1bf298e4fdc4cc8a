"""A rise or a pulse of glucocorticoids that counts as a rescue treatment, where the protocol says so."""

from itertools import pairwise

import numpy as np

from app.derive.dose_steps import DoseSteps, dose_steps, first_day
from app.derive.doses import prednisolone
from app.derive.exposure import Exposure
from app.protocol.endpoints import SteroidRescue
from app.timeline.cohort import NO_TIME, Bools, Cohort, Floats, Ints

_DIGITS = 6
"""Doses are compared to six decimals of a milligram, like those of `dose_steps`."""


def first_steroid_rescue_day(cohort: Cohort, exposure: Exposure, rule: SteroidRescue | None) -> Ints:
    """The first day, counted from day 0 and after it, of a rise or pulse of glucocorticoids; `NO_TIME` for none.

    A rise needs a known dose to rise from. A patient without any reported glucocorticoid has neither. All doses are mg
    of prednisolone equivalents a day, summed over glucocorticoids.
    """
    if rule is None:
        return np.full(len(cohort), NO_TIME, dtype=np.int64)
    steps = dose_steps(cohort, exposure)
    chosen = np.zeros(len(steps.day), dtype=np.bool_)
    if rule.rise is not None:
        at_start = prednisolone(cohort, exposure, 0).daily_milligrams[steps.patient]
        from_dose = at_start if rule.over == "day_0" else _lowest_before(steps, at_start)
        chosen |= _at_least(steps.daily_milligrams - from_dose, rule.rise)
    if rule.pulse is not None:
        chosen |= _at_least(steps.daily_milligrams, rule.pulse) & ~_at_least(_before(steps), rule.pulse)
    return first_day(steps, chosen & (steps.day > 0), len(cohort))


def _at_least(milligrams: Floats, least: float) -> Bools:
    found: Bools = np.round(milligrams - least, _DIGITS) >= 0
    return found


def _before(steps: DoseSteps) -> Floats:
    """The dose on the day before each step: that of the step before, and 0 before the first one."""
    before = np.zeros(len(steps.day))
    before[1:] = np.where(steps.patient[1:] == steps.patient[:-1], steps.daily_milligrams[:-1], 0.0)
    return before


def _lowest_before(steps: DoseSteps, at_start: Floats) -> Floats:
    """The lowest known dose from day 0 to the day before each step; NaN where none is known."""
    during = np.where(steps.day > 0, steps.daily_milligrams, np.nan)
    lowest = at_start.copy()
    bounds = np.flatnonzero(np.diff(steps.patient, prepend=-1, append=-1))
    for first, last in pairwise(bounds.tolist()):
        lowest[first + 1 : last] = np.fmin.accumulate(np.fmin(during[first : last - 1], at_start[first]))
    return lowest
