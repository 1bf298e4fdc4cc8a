"""Intercurrent events (ICH E9(R1)): events after day 0 that change the meaning of later values.

Only the facts that were sent are known. A patient without a reported rescue may have had one. The dose of
glucocorticoids of a patient without any reported glucocorticoid is unknown; these patients are counted.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.derive.dose_steps import dose_steps, first_day
from app.derive.doses import prednisolone
from app.derive.exposure import Exposure, first_new_drug_day
from app.derive.steroid_rescue import first_steroid_rescue_day
from app.protocol.endpoints import CkNormalTime
from app.timeline.cohort import NO_TIME, Bools, Cohort, Ints

Event = Literal[
    "second_course", "new_immunosuppressant", "steroid_increase", "steroid_taper", "steroid_rescue", "death"
]
RESCUE: tuple[Event, ...] = ("second_course", "new_immunosuppressant", "steroid_increase", "steroid_rescue")
"""Events after which a good value may not be due to the treatment. A taper has the opposite effect; after death there
are no values.
"""
_DIGITS = 6
"""Doses are compared to six decimals of a milligram: sums of thirds and sevenths have rounding errors beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class IntercurrentEvents:
    """The first day, counted from day 0, of each kind of event of each patient; `NO_TIME` where none is known.

    An increase or taper of steroids is the first day after day 0 with a higher or lower dose of glucocorticoids, in
    prednisolone equivalents, than on day 0. A `steroid_rescue` is the rise or pulse that the protocol declares.
    `steroid_known` marks the patients whose dose on day 0 is known.
    """

    second_course: Ints
    new_immunosuppressant: Ints
    steroid_increase: Ints
    steroid_taper: Ints
    steroid_rescue: Ints
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


def intercurrent_events(cohort: Cohort, exposure: Exposure, rule: CkNormalTime) -> IntercurrentEvents:
    """The intercurrent events of a cohort: the protocol names the immunosuppressants and what is a steroid rescue."""
    at_start = prednisolone(cohort, exposure, 0).daily_milligrams
    steps = dose_steps(cohort, exposure)
    after = steps.day > 0
    change = np.round(steps.daily_milligrams - at_start[steps.patient], _DIGITS)
    died = [p.ended_day if p.ended_reason == "died" and p.ended_day is not None else NO_TIME for p in cohort.patients]
    death = np.array(died, dtype=np.int64)
    return IntercurrentEvents(
        second_course=exposure.second_course,
        new_immunosuppressant=first_new_drug_day(cohort, exposure, rule.immunosuppressants),
        steroid_increase=first_day(steps, after & (change > 0), len(cohort)),
        steroid_taper=first_day(steps, after & (change < 0), len(cohort)),
        steroid_rescue=first_steroid_rescue_day(cohort, exposure, rule.steroid_rescue),
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
