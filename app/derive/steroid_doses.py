"""The reported glucocorticoid doses of each patient over time: what is known of each day, sums over days, and the day
from which the dose is low.

A day counts as known only if a reported period covers it and each period that covers it has a daily dose. A day that no
period covers is never taken as a day without the drug, unless the protocol says so of the days after the last period.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.derive.dose_steps import DIGITS, DosePeriods, steps_of
from app.derive.per_patient import any_where, first_reason
from app.derive.reasons import ExclusionReason
from app.timeline.cohort import NO_TIME, Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Dosing:
    """What is known of the dose on each day, day 0 being the first infusion.

    Each row is a time of a patient with one dose, from the day `first` to the day `last`: `known` says whether the dose
    is known, `covered` whether a period covers these days, `doubtful` whether several orders of one drug do. The rows
    of a patient follow each other without a gap, from the first reported day to the last day under observation. `end`
    is that day for each patient (`NO_TIME` for an untreated one). `ever` marks the patients with any reported period,
    `treated` the safety set.
    """

    patient: Ints
    first: Ints
    last: Ints
    daily_milligrams: Floats
    known: Bools
    covered: Bools
    doubtful: Bools
    periods: DosePeriods
    end: Ints
    ever: Bools
    treated: Bools

    def at(self, day: Ints) -> Floats:
        """The dose of each patient on a day of its own (`NO_TIME` for none), NaN where it is not known."""
        mine = day[self.patient]
        on = self.known & (self.first <= mine) & (mine <= self.last)
        dose = np.full(len(self.end), np.nan)
        dose[self.patient[on]] = self.daily_milligrams[on]
        return dose

    @property
    def at_start(self) -> Floats:
        """The dose of each patient on day 0."""
        return self.at(np.zeros(len(self.end), dtype=np.int64))

    @property
    def known_until(self) -> Ints:
        """The last day up to which each day from day 0 on has a known dose; -1 if that of day 0 is not known."""
        until = np.where(self.end == NO_TIME, -1, self.end)
        doubt = ~self.known & (self.last >= 0)
        np.minimum.at(until, self.patient[doubt], np.maximum(self.first[doubt], 0) - 1)
        return np.where(np.isnan(self.at_start), -1, until)

    def known_days(self, days: int) -> Ints:
        """How many of the first `days` days from day 0 on have a known dose."""
        return self._days(self.known, days)

    def milligrams(self, days: int) -> Floats:
        """The sum over the first `days` days from day 0 on, in mg; NaN where the dose of any of them is not known."""
        periods = self.periods
        stop = np.where(periods.ended, np.minimum(periods.stop, days), days)
        overlap = np.maximum(stop - np.maximum(periods.start, 0), 0)
        inside = overlap > 0
        sums = np.bincount(
            periods.patient[inside], weights=(periods.daily_milligrams * overlap)[inside], minlength=len(self.end)
        ).astype(np.float64)
        return np.where(self.known_days(days) == days, sums, np.nan)

    def unknown(self, days: int) -> tuple[ExclusionReason | None, ...]:
        """Why the sum over the first `days` days is not known; None where it is."""
        size, enough = len(self.end), self.known_days(days) == days
        doubt = self._days(self.covered & ~self.known, days) > 0
        checks: Sequence[tuple[ExclusionReason, Bools]] = (
            *self._without_doses(),
            (ExclusionReason.OVERLAPPING_ORDERS, self._days(self.doubtful, days) > 0),
            (ExclusionReason.STEROID_DOSE_UNKNOWN, doubt),
            (ExclusionReason.OBSERVED_TOO_SHORT, (self.end < days - 1) & (self.known_until == self.end)),
            (ExclusionReason.STEROID_GAP, ~enough),
        )
        return first_reason(checks, size)

    def unknown_at(self, day: Ints) -> tuple[ExclusionReason | None, ...]:
        """Why the dose of each patient on a day of its own is not known; None where it is."""
        mine = day[self.patient]
        on = self.covered & ~self.known & (self.first <= mine) & (mine <= self.last)
        checks: Sequence[tuple[ExclusionReason, Bools]] = (
            *self._without_doses(),
            (ExclusionReason.OVERLAPPING_ORDERS, any_where(self.patient, len(self.end), on & self.doubtful)),
            (ExclusionReason.STEROID_DOSE_UNKNOWN, any_where(self.patient, len(self.end), on)),
            (ExclusionReason.STEROID_GAP, np.isnan(self.at(day))),
        )
        return first_reason(checks, len(self.end))

    def _without_doses(self) -> Sequence[tuple[ExclusionReason, Bools]]:
        return (
            (ExclusionReason.NOT_TREATED, ~self.treated),
            (ExclusionReason.NO_STEROID_REPORTED, ~self.ever),
        )

    def _days(self, chosen: Bools, days: int) -> Ints:
        overlap = np.maximum(np.minimum(self.last, days - 1) - np.maximum(self.first, 0) + 1, 0)
        return np.bincount(
            self.patient[chosen], weights=overlap[chosen].astype(np.float64), minlength=len(self.end)
        ).astype(np.int64)


def rows_of_owners(patient: Ints, owner: Ints) -> tuple[Ints, Ints]:
    """The rows of the patient `owner` of each course, with the course of each; `patient` ascends."""
    begins = np.searchsorted(patient, owner, side="left")
    count = np.searchsorted(patient, owner, side="right") - begins
    course = np.repeat(np.arange(len(owner)), count)
    return course, np.arange(len(course)) - np.repeat(np.cumsum(count) - count - begins, count)


def periods_of(periods: DosePeriods, owner: Ints, shift: Ints) -> DosePeriods:
    """The periods of the patient `owner` of each course, counted from `shift` days after the day 0 of the patient."""
    course, rows = rows_of_owners(periods.patient, owner)
    later, stop = shift[course], periods.stop[rows]
    return DosePeriods(
        course,
        periods.start[rows] - later,
        np.where(stop == NO_TIME, NO_TIME, stop - later),
        periods.daily_milligrams[rows],
        periods.convertible[rows],
        periods.ordered[rows],
        periods.doubtful[rows],
    )


def dosing(periods: DosePeriods, end: Ints, treated: Bools, *, stopped: bool) -> Dosing:
    """What is known of each day up to the day `end` of each patient, counted from day 0.

    `stopped` says that the dose is 0 after the last reported period; otherwise it is not known there.
    """
    steps = steps_of(periods)
    who, day, covered = steps.patient, steps.day, steps.covered
    last_row = np.ones(len(who), dtype=np.bool_)
    last_row[:-1] = who[1:] != who[:-1]
    following = np.append(day[1:], 0) - 1
    last = np.where(last_row, end[who], np.minimum(following, end[who]))
    # Without a period a step has the dose 0. That is known only after the last period, if the protocol says so.
    known = ~np.isnan(steps.daily_milligrams) & (covered | (last_row & stopped))
    seen = last >= day
    return Dosing(
        patient=who[seen],
        first=day[seen],
        last=last[seen],
        daily_milligrams=np.where(known, steps.daily_milligrams, np.nan)[seen],
        known=known[seen],
        covered=covered[seen],
        doubtful=steps.doubtful[seen],
        periods=periods,
        end=end,
        ever=any_where(periods.patient, len(end), np.ones(len(periods.patient), dtype=np.bool_)),
        treated=treated,
    )


@dataclass(frozen=True, slots=True, eq=False)
class LowDose:
    """One row per patient: the days from day 0 until the dose was low, or until the end of known doses, and whether it
    was. `reason` says why a patient is not at risk; only the rows of those `at_risk` have a meaning.
    """

    reason: tuple[ExclusionReason | None, ...]
    at_risk: Bools
    day: Ints
    reached: Bools


def low_dose(doses: Dosing, at_most: float, sustained_days: int) -> LowDose:
    """The first day on which the dose was at most `at_most` mg, and stayed so for `sustained_days` days, that day
    included.

    Only days up to the first unknown one count: a patient is censored on the last day before it. A patient whose dose
    on day 0 is not known, or is low already, is not at risk.
    """
    size, until, at_start = len(doses.end), doses.known_until, doses.at_start
    inside = doses.known & (doses.first <= until[doses.patient]) & (doses.last > 0)
    low = inside & (doses.daily_milligrams <= round(at_most, DIGITS))
    begins = low.copy()
    begins[1:] &= ~(low[:-1] & (doses.patient[1:] == doses.patient[:-1]))
    run = np.cumsum(begins)[low] - 1
    first, patient = np.maximum(doses.first[begins], 1), doses.patient[begins]
    last = np.full(len(first), NO_TIME, dtype=np.int64)
    np.maximum.at(last, run, np.minimum(doses.last, until[doses.patient])[low])
    long_enough = last - first + 1 >= sustained_days
    day = np.full(size, -NO_TIME, dtype=np.int64)
    np.minimum.at(day, patient[long_enough], first[long_enough])
    reached = day != -NO_TIME
    at_day_0 = np.zeros(size, dtype=np.int64)
    named = doses.unknown_at(at_day_0)
    started_low = ~np.isnan(at_start) & (at_start <= round(at_most, DIGITS))
    reason = tuple(
        unknown or (ExclusionReason.LOW_DOSE_AT_START if already else None)
        for unknown, already in zip(named, started_low.tolist(), strict=True)
    )
    at_risk = np.array([each is None for each in reason], dtype=np.bool_)
    return LowDose(reason, at_risk, np.where(reached, day, np.maximum(until, 0)), reached & at_risk)
