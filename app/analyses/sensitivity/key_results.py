"""The key results that a report begins with, each as one value for each patient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from app.analyses.answer import Context, Definition
from app.analyses.ck_change import change_reasons, changes_within
from app.analyses.weekly_change import change_definition, difference_reasons, differences_within, scales_of
from app.derive.bounded_values import BoundedValues
from app.derive.per_patient import included
from app.derive.reasons import ExclusionReason
from app.derive.study import DerivedStudy
from app.derive.visits import judged_days, window
from app.protocol.endpoints import Response, ResponseRule, general_form
from app.timeline.cohort import Bools, Floats, Ints

Kind = Literal["rate", "mean", "median"]


@dataclass(frozen=True, slots=True, eq=False)
class KeyResult:
    """One figure and the value of each patient: 1 or 0, a difference, or a duration in days; NaN where left out.

    `until` is the last day, counted from day 0, that can influence the patient's value. Durations have `events`:
    whether each ended with the event. Differences have their limits `within`: a value that is known only as a bound has
    its substitute in `values`. Rates have who was `judged`: the values of the others, if any, are counted and not seen.
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
    within: BoundedValues | None = None
    judged: Bools | None = None

    @property
    def included(self) -> Bools:
        """Whether each patient has a value."""
        known: Bools = ~np.isnan(self.values)
        return known

    @property
    def differences(self) -> BoundedValues:
        """The differences of the included patients with their limits."""
        return (self.within or BoundedValues.known(self.values)).where(self.included)

    def restricted_to(self, kept: Bools) -> "KeyResult":
        """The same figure for some of the patients."""
        within = self.within and self.within.unless(~kept)
        judged = None if self.judged is None else self.judged & kept
        return replace(self, values=np.where(kept, self.values, np.nan), within=within, judged=judged)

    def with_values(self, values: Floats) -> "KeyResult":
        """The same figure from other values; a value that is not changed keeps its limits."""
        same, within = values == self.values, None
        if self.within is not None:
            low, high = (np.where(same, limit, values) for limit in (self.within.low, self.within.high))
            within = BoundedValues(values, low, high)
        return replace(self, values=values, within=within)


def key_results(context: Context) -> list[KeyResult]:
    """The primary response rates, the change of each measure at the last week, the before/after comparison of ln(CK),
    and the time with normal CK.
    """
    study = context.study
    results = [response_result(study, declared) for declared in context.protocol.responses if declared.primary]
    week = last_week(study)
    if week is not None:
        results += [week_result(study, measure, week) for measure in context.protocol.weekly_change.measures]
    return [*results, change_result(study), time_result(study)]


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
        judged=verdict.judged,
    )


def last_day(study: DerivedStudy, rule: ResponseRule) -> int:
    """The last day, counted from day 0, whose value a response rule can judge."""
    return judged_days(general_form(rule).window, study.protocol.visits)[1]


def week_result(study: DerivedStudy, measure: str, week: int) -> KeyResult:
    """The change of a measure from baseline to a week; for CK the change of ln(CK)."""
    scale = scales_of(measure)[0]
    within = differences_within(study, measure, scale, week)
    values = within.point
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
        within=within,
    )


def change_result(study: DerivedStudy) -> KeyResult:
    """The change of ln(CK) after treatment minus the change before it."""
    within, weeks = changes_within(study), study.protocol.ck_change
    values = within.point
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
        within=within,
    )


def time_result(study: DerivedStudy) -> KeyResult:
    """The time for which CK stayed normal, under `treatment_policy`.

    `ck-normal-time` gives the other strategies for rescue treatment.
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
