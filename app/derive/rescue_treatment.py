"""What ended a remission episode, under each strategy for rescue treatment: abnormal CK, rescue treatment, or death."""

from dataclasses import dataclass

import numpy as np

from app.derive.ck_normality import RemissionEpisodes, RemissionIntervals
from app.derive.exposure import Exposure, first_new_drug_day
from app.derive.per_patient import included
from app.derive.steroid_rescue import first_steroid_rescue_day
from app.protocol.endpoints import CkNormalTime, RescueStrategy
from app.timeline.cohort import NO_TIME, Bools, Cohort, Ints

CAUSES = ("abnormal", "rescue", "death")
CENSORED, ABNORMAL, RESCUED, DIED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class Rescues:
    """One row per patient: days from day 0, `NO_TIME` for none.

    `treated` is the day of the first rescue: a second course or a new immunosuppressant that began after day 0, or a
    rise or pulse of glucocorticoids after day 0 if the protocol declares one. A course or drug that began on day 0 is
    part of the treatment. `steroid` is the day of the first such rise or pulse, `died` the day of death.
    """

    treated: Ints
    steroid: Ints
    died: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """One row per patient: the days that the remission episode lasted (0 outside the risk set), and what ended it.

    `cause` is `CENSORED`, or 1 + the place in `CAUSES`. `cut` marks the patients whose time a rescue or death ended or
    censored; under `treatment_policy` there are none. `rescue_after_last_ck` and `death_after_last_ck` mark the
    patients whose time was censored at their last CK of known normality, and who had a rescue or died later.
    """

    duration: Ints
    cause: Ints
    cut: Bools
    rescue_after_last_ck: Bools
    death_after_last_ck: Bools


def rescues(cohort: Cohort, exposure: Exposure, rule: CkNormalTime) -> Rescues:
    """The first rescue and the death of each patient."""
    drug = first_new_drug_day(cohort, exposure, rule.immunosuppressants)
    steroid = first_steroid_rescue_day(cohort, exposure, rule.steroid_rescue)
    died = np.array(
        [p.ended_day if p.ended_reason == "died" and p.ended_day is not None else NO_TIME for p in cohort.patients],
        dtype=np.int64,
    )
    known = exposure.treated & (died != NO_TIME)
    treated = earlier(earlier(exposure.second_course, drug), steroid)
    return Rescues(treated, steroid, np.where(known, died - exposure.day0, NO_TIME))


def before_end(episodes: RemissionEpisodes, day: Ints) -> Bools:
    """Whether an event on this day (from day 0; `NO_TIME` for none) came while the remission episode was observed.

    An event on the day of the abnormal CK comes after the CK, which was the reason for it. If CK did not become
    abnormal, the episode is observed until the day of the last CK of known normality, that day included.
    """
    end = episodes.start + episodes.duration
    before: Bools = _in_set(episodes) & (day != NO_TIME) & np.where(episodes.relapsed, day < end, day <= end)
    return before


def outcomes(episodes: RemissionEpisodes, rescued: Rescues, strategy: RescueStrategy) -> Outcomes:
    """The duration of each remission episode and what ended it, under one strategy.

    A rescue or death counts only while the episode is observed (`before_end`), so that one rule censors all patients.
    If patients with a late rescue or death were followed longer than the others, only they would be at risk at late
    times. Later rescues and deaths are marked. On one day, a rescue comes before death. A rescue on or before the first
    normal CK counts at 0 days. `hypothetical` censors on the day of the rescue; under it a death
    changes nothing.
    """
    cause = np.where(_in_set(episodes) & episodes.relapsed, ABNORMAL, CENSORED)
    counted = before_end(episodes, rescued.treated), before_end(episodes, rescued.died)
    by_rescue = counted[0] & ~(counted[1] & (rescued.died < rescued.treated))
    by_death = counted[1] & ~by_rescue
    duration, cut = episodes.duration, np.zeros(len(cause), dtype=np.bool_)
    if strategy != "treatment_policy":
        duration = np.where(by_rescue, np.maximum(rescued.treated - episodes.start, 0), duration)
        cut = by_rescue if strategy == "hypothetical" else by_rescue | by_death
        cause = np.where(cut, CENSORED if strategy == "hypothetical" else np.where(by_rescue, RESCUED, DIED), cause)
    last = _in_set(episodes) & (cause == CENSORED) & ~cut
    end = episodes.start + episodes.duration
    return Outcomes(duration, cause, cut, last & (rescued.treated > end), last & (rescued.died > end))


def _in_set(episodes: RemissionEpisodes) -> Bools:
    return included(episodes.reason)


def outcome_intervals(intervals: RemissionIntervals, outcome: Outcomes) -> tuple[Ints, Ints]:
    """The interval (left, right] in which each episode ended under one strategy; `right` is `NO_TIME` where it is open.

    CK became abnormal between two draws. A rescue or death is known to the day: (day - 1, day], and (0, 1] for one that
    came before the episode. Where a rescue censors, the interval is open from its day on.
    """
    by_day = np.isin(outcome.cause, (RESCUED, DIED))
    censored = outcome.cut & ~by_day
    left = np.where(by_day, np.maximum(outcome.duration - 1, 0), np.where(censored, outcome.duration, intervals.left))
    right = np.where(by_day, np.maximum(outcome.duration, 1), np.where(censored, NO_TIME, intervals.right))
    return left, right


def earlier(first: Ints, second: Ints) -> Ints:
    """The earlier of two days; each may be missing."""
    return np.where(first == NO_TIME, second, np.where(second == NO_TIME, first, np.minimum(first, second)))
