"""Adverse events of the treated: which of them fell on or after treatment, and which count as reactions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.derive.exposure import Exposure
from app.derive.reasons import FlagCode
from app.protocol.model import AdverseReactions
from app.timeline.cohort import NO_TIME, Bools, Cohort, Events


@dataclass(frozen=True, slots=True, eq=False)
class Reactions:
    """The events on or after the first infusion, in the order of the columns, and which of them are related or
    serious.
    """

    events: Events
    related: Bools
    serious: Bools
    flags: Mapping[FlagCode, int]


def after_treatment(cohort: Cohort, exposure: Exposure) -> Bools:
    """Which events of the columns have their onset on or after the first infusion of their patient.

    Days are compared; on day 0 an event with a clock time earlier than that of the infusion came before it. An event
    without onset counts.
    """
    events = cohort.events
    unknown = events.day == NO_TIME
    day0, instant0 = (exposure.day0[events.patient], exposure.instant0[events.patient])
    timed = (events.instant != NO_TIME) & (instant0 != NO_TIME)
    before = ~unknown & ((events.day < day0) | (events.day == day0) & timed & (events.instant < instant0))
    after: Bools = exposure.treated[events.patient] & ~before
    return after


def reactions(cohort: Cohort, exposure: Exposure, rules: AdverseReactions) -> Reactions:
    """Events after treatment, those without onset flagged. An absent relation is `unknown`."""
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
            FlagCode.BEFORE_TREATMENT: int((exposure.treated[cohort.events.patient] & ~after).sum()),
        },
    )
