"""What ended a time with normal CK, under each strategy for a rescue: abnormal CK, further treatment, or death."""

from dataclasses import dataclass

import numpy as np

from app.derive.ck.ck_normal import Spells
from app.derive.exposure import Exposure, first_new_drug_day
from app.protocol.ck_normal import RescueStrategy
from app.timeline.columns import NO_TIME, Bools, Cohort, Ints

CAUSES = ("abnormal", "rescue", "death")
CENSORED, ABNORMAL, RESCUED, DIED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class Rescues:
    """One row per patient: days from day 0, `NO_TIME` for none.

    `treated` is the day of the first rescue: a second course or a new immunosuppressant that began after day 0. What
    began on day 0 itself is part of the treatment. `died` is the day of death.
    """

    treated: Ints
    died: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """One row per patient: how long the time with normal CK lasted (0 outside the risk set) and what ended it.

    `cause` is `CENSORED`, or 1 + the place in `CAUSES`. `cut` marks the patients whose time another strategy than
    `treatment_policy` ended or censored because of a rescue or death.
    """

    duration: Ints
    cause: Ints
    cut: Bools


def rescues(cohort: Cohort, exposure: Exposure, immunosuppressants: tuple[str, ...]) -> Rescues:
    """The first rescue and the death of each patient."""
    second = np.where(exposure.courses > 1, exposure.second_course_day - exposure.day0, NO_TIME)
    second = np.where(second > 0, second, NO_TIME)
    drug = first_new_drug_day(cohort, exposure, immunosuppressants)
    died = np.array(
        [p.ended_day if p.ended_reason == "died" and p.ended_day is not None else NO_TIME for p in cohort.patients],
        dtype=np.int64,
    )
    known = exposure.treated & (died != NO_TIME)
    return Rescues(_earlier(second, drug), np.where(known, died - exposure.day0, NO_TIME))


def outcomes(spells: Spells, rescued: Rescues, strategy: RescueStrategy) -> Outcomes:
    """The time with normal CK of each patient under one strategy.

    A rescue or death counts when it came before the abnormal CK; on one day the abnormal CK came first (it was the
    reason), and a rescue before death. Where CK never became abnormal, both count on their day even after the last CK:
    treatment and death are known without a draw. A rescue on or before the first normal CK acts at 0 days.
    `hypothetical` censors on the day of the rescue, or at the last CK where that came first, and leaves death to the
    last CK.
    """
    in_set = np.array([not reason for reason in spells.reason], dtype=np.bool_)
    end = spells.start + spells.duration
    cause = np.where(in_set & spells.relapsed, ABNORMAL, CENSORED)
    if strategy == "treatment_policy":
        return Outcomes(spells.duration, cause, np.zeros(len(end), dtype=np.bool_))
    forestalled = [
        in_set & (day != NO_TIME) & (~spells.relapsed | (day < end)) for day in (rescued.treated, rescued.died)
    ]
    by_rescue = forestalled[0] & ~(forestalled[1] & (rescued.died < rescued.treated))
    by_death = forestalled[1] & ~by_rescue
    to_rescue = np.maximum(rescued.treated - spells.start, 0)
    if strategy == "hypothetical":
        cut = by_rescue & (to_rescue < spells.duration)
        return Outcomes(np.where(cut, to_rescue, spells.duration), np.where(cut, CENSORED, cause), cut)
    duration = np.where(by_rescue, to_rescue, np.where(by_death, rescued.died - spells.start, spells.duration))
    cause = np.where(by_rescue, RESCUED, np.where(by_death, DIED, cause))
    return Outcomes(np.maximum(duration, 0), cause, by_rescue | by_death)


def _earlier(one: Ints, other: Ints) -> Ints:
    """The earlier of two days, of which either may be missing."""
    return np.where(one == NO_TIME, other, np.where(other == NO_TIME, one, np.minimum(one, other)))
