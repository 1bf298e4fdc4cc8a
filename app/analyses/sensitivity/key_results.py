"""The figures that a report leads with, one value a patient: what sensitivity analyses vary."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.analyses.answer import Context, Definition
from app.analyses.ck_change import change_reasons, changes
from app.analyses.weekly_change import change_definition, difference_reasons, differences, scales_of
from app.derive.per_patient import included
from app.derive.reasons import ExclusionReason
from app.derive.study import DerivedStudy
from app.derive.visits import window
from app.protocol.endpoints import CkDecreaseOrNormalAtWeek, PercentAboveBaseline, Response, ResponseRule
from app.timeline.cohort import Bools, Floats, Ints

Kind = Literal["rate", "mean", "median"]


@dataclass(frozen=True, slots=True, eq=False)
class KeyResult:
    """One figure and what each patient contributes to it: 1 or 0, a difference, or a duration; NaN for nothing.

    `until` is the last day, counted from day 0, on which something could still bear on the patient's value. `events`
    says of durations whether they ended in the event.
    """

    analysis: str
    measure: str
    kind: Kind
    definition: Definition
    values: Floats
    reasons: Sequence[ExclusionReason | None]
    until: Ints
    scale: Literal["ln", "raw"] | None = None
    week: int | None = None
    events: Bools | None = None
    rule: ResponseRule | None = None

    @property
    def included(self) -> Bools:
        """Who contributes."""
        known: Bools = ~np.isnan(self.values)
        return known

    def keeping(self, kept: Bools) -> "KeyResult":
        """The same figure of some of the patients."""
        return replace(self, values=np.where(kept, self.values, np.nan))

    def valued(self, values: Floats) -> "KeyResult":
        """The same figure from other values."""
        return replace(self, values=values)


def key_results(context: Context) -> list[KeyResult]:
    """Each primary response rate, the change of each measure at the last week compared, D, and the time with normal
    CK.
    """
    study = context.study
    found = [response_result(study, each) for each in context.protocol.responses if each.primary]
    week = last_week(study)
    if week is not None:
        found += [week_result(study, measure, week) for measure in context.protocol.weekly_change.measures]
    return [*found, change_result(study), time_result(study)]


def last_week(study: DerivedStudy) -> int | None:
    """The last week after treatment that the protocol compares with the baseline."""
    return max((week for week in study.protocol.weekly_change.weeks if week > 0), default=None)


def response_result(study: DerivedStudy, declared: Response) -> KeyResult:
    """Whether each patient responded by a rule."""
    rule = declared.rule
    verdict = study.response(rule)
    until = last_day(study, rule)
    return KeyResult(
        analysis="response-rates",
        measure=rule.measure,
        kind="rate",
        definition=Definition.of_rule(rule),
        values=np.where(verdict.evaluable, verdict.responder.astype(np.float64), np.nan),
        reasons=verdict.reason,
        until=np.full(len(study.cohort), until),
        rule=rule,
    )


def last_day(study: DerivedStudy, rule: ResponseRule) -> int:
    """The last day that a response rule looks at."""
    if isinstance(rule, PercentAboveBaseline | CkDecreaseOrNormalAtWeek):
        return window(rule.week, study.protocol.visits)[1]
    return rule.days[1]


def week_result(study: DerivedStudy, measure: str, week: int) -> KeyResult:
    """The change of a measure from baseline to a week; of CK that of its logarithm."""
    scale = scales_of(measure)[0]
    values = differences(study, measure, scale, week)
    return KeyResult(
        analysis="weekly-change",
        measure=measure,
        kind="mean",
        definition=change_definition(study.protocol),
        values=values,
        reasons=difference_reasons(study, values, measure, week),
        until=np.full(len(study.cohort), window(week, study.protocol.visits)[1]),
        scale=scale,
        week=week,
    )


def change_result(study: DerivedStudy) -> KeyResult:
    """The change of ln(CK) after treatment minus the change before it."""
    values, weeks = changes(study), study.protocol.ck_change
    return KeyResult(
        analysis="ck-change",
        measure="CK",
        kind="mean",
        definition=Definition(id="ln_ck_change_of_change", parameters=weeks.model_dump(mode="json")),
        values=values,
        reasons=change_reasons(study, values),
        until=np.full(len(study.cohort), window(weeks.after_week, study.protocol.visits)[1]),
        scale="ln",
        week=weeks.after_week,
    )


def time_result(study: DerivedStudy) -> KeyResult:
    """The time for which CK stayed normal, under `treatment_policy`.

    The other strategies for a rescue stand side by side in `ck-normal-time`.
    """
    episodes, rule = study.remission_episodes, study.protocol.ck_normal_time
    inside = included(episodes.reason)
    return KeyResult(
        analysis="ck-normal-time",
        measure="CK",
        kind="median",
        definition=Definition(
            id="first_normal_to_first_abnormal",
            parameters=rule.model_dump(mode="json") | {"rescue": "treatment_policy"},
        ),
        values=np.where(inside, episodes.duration.astype(np.float64), np.nan),
        reasons=episodes.reason,
        until=np.where(inside, episodes.start + episodes.duration - 1, -1),
        events=episodes.relapsed,
    )
