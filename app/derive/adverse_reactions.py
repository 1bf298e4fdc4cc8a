"""Which adverse events of treated patients began on or after treatment, and which of these are adverse reactions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.derive.analysis_values import after_death
from app.derive.exposure import Exposure
from app.derive.reasons import FlagCode
from app.protocol.model import AdverseReactions
from app.timeline.cohort import NO_TIME, Bools, Cohort, Events


@dataclass(frozen=True, slots=True, eq=False)
class Reactions:
    """The events on or after the first infusion, in the order of the columns.

    `related` and `serious` have one entry for each of these events.
    """

    events: Events
    related: Bools
    serious: Bools
    flags: Mapping[FlagCode, int]


def after_treatment(cohort: Cohort, exposure: Exposure) -> Bools:
    """Whether each event began on or after the first infusion of its patient; one entry for each event of the cohort.

    Days are compared. On day 0, if both have a clock time, the clock times are compared. An event without onset
    counts as after treatment.
    """
    events = cohort.events
    unknown = events.day == NO_TIME
    day0, instant0 = (exposure.day0[events.patient], exposure.instant0[events.patient])
    timed = (events.instant != NO_TIME) & (instant0 != NO_TIME)
    before = ~unknown & ((events.day < day0) | (events.day == day0) & timed & (events.instant < instant0))
    after: Bools = exposure.treated[events.patient] & ~before
    return after


def reactions(cohort: Cohort, exposure: Exposure, rules: AdverseReactions) -> Reactions:
    """The events after treatment. Events without onset are flagged. A missing relation counts as `unknown`."""
    after = after_treatment(cohort, exposure)
    kept = cohort.events.where(after)
    counted = set(rules.related)
    return Reactions(
        kept,
        np.array([(word or "unknown") in counted for word in kept.related], dtype=np.bool_),
        np.array([word is True for word in kept.serious], dtype=np.bool_),
        {
            FlagCode.UTC_DAY: 0 if cohort.zoned else int(kept.utc.sum()),
            FlagCode.ONSET_UNKNOWN: int((kept.day == NO_TIME).sum()),
            FlagCode.SERIOUSNESS_UNKNOWN: int(sum(word is None for word in kept.serious)),
            FlagCode.RELATION_UNKNOWN: int(sum(word is None or word == "unknown" for word in kept.related)),
            FlagCode.EVENT_AFTER_DEATH: int(after_death(kept, cohort).sum()),
            FlagCode.BEFORE_TREATMENT: int((exposure.treated[cohort.events.patient] & ~after).sum()),
        },
    )
