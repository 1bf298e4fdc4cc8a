"""Do subgroups differ in how long CK takes to become normal, and in how long it then stays so?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from app.analyses.answer import Answer, Basis, Context, Findings, Grouped, Question
from app.analyses.ck_normal.ck_normal_time import (
    NormalTimeOptions,
    became_normal_reasons,
    normal_time_definition,
    normality_excluded,
    normality_flags,
    strategy_in_force,
)
from app.analyses.ck_normal.intercurrent_strategies import times_of
from app.analyses.comparison.comparisons import UNKNOWN
from app.derive.rescue_treatment import ABNORMAL, CENSORED
from app.estimate.results import Median, Number, Reason, RestrictedMean, Result, Survival, TestResult, WhyNull
from app.estimate.times.group_survival import HazardRatio, LogRank, MeanDifference, cox, log_rank, mean_difference
from app.estimate.times.survival import kaplan_meier, restricted_mean
from app.protocol.endpoints import RescueStrategy
from app.timeline.cohort import Bools, Ints

FEW_EVENTS = 10
SMALL_GROUP = 20
Estimate = Literal["time_normal", "time_to_first_normal"]


class GroupTime(Grouped):
    """One subgroup, and what sets it apart from the first."""

    n: int = Field(description="Patients in the estimate.", examples=[7])
    events: int = Field(description="Of these, patients with the event.", examples=[5])
    expected: Number | None = Field(
        description="Events that the group would have had under one hazard for all groups; null where it is not "
        "compared.",
        examples=[4.31],
    )
    median: Median = Field(description="Median time.")
    rmst: RestrictedMean = Field(description="Restricted mean of the time.")
    hazard_ratio: HazardRatio | None = Field(
        description="Its hazard over that of the first group (Cox); above 1 the event comes earlier. Null where the "
        "group is not compared."
    )
    rmst_difference: MeanDifference | None = Field(
        description="Its restricted mean minus that of the first group; null where there is none to take."
    )
    reason: WhyNull = None


class GroupComparison(Result):
    """One time to an event in all subgroups."""

    estimate: Estimate = Field(
        description="`time_normal`: from the first normal CK to the first later abnormal one. `time_to_first_normal`: "
        "from day 0 to the first normal CK, of patients whose CK was not normal before.",
        examples=["time_normal"],
    )
    groups: tuple[GroupTime, ...] = Field(
        description="The subgroups in code-point order, last the patients without the attribute or with `unknown`, "
        "who are compared with nobody. The first is the reference.",
        examples=[[]],
    )
    log_rank: TestResult = Field(description="Test of equal hazards in all groups; `statistic` is chi-square.")
    ties: str = Field(description="How tied events enter the partial likelihood of Cox.", examples=["efron"])
    likelihood_ratio: TestResult = Field(description="The same hypothesis by Cox's model.")
    proportional_hazards: TestResult = Field(
        description="Test that the hazard ratios do not change with time; a small p speaks against reading each as one "
        "number."
    )
    reason: WhyNull = None


class CkNormalGroups(Answer):
    """The times to normal and to abnormal CK, compared between subgroups."""

    results: tuple[GroupComparison, ...] = Field(description="One entry for each of the two times.", examples=[[]])


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One subgroup's times: `events` as the tests take them, `curve` and `mean` as the strategy estimates them."""

    context: Context
    durations: Ints
    events: Bools
    curve: Survival
    mean: RestrictedMean

    @property
    def compared(self) -> bool:
        """Whether the patients share a value of the attribute."""
        return self.context.group is not None and not set(self.context.group.values()) & set(UNKNOWN)


def ck_normal_groups(whole: Context) -> Findings:
    """Both times in each subgroup, and the tests between them."""
    strategy, parts = strategy_in_force(whole), list(whole.subgroups())
    normal = [_time_normal(context, strategy) for context in parts]
    first = [_time_to_first_normal(context) for context in parts]
    return Findings(
        {
            "results": [
                _comparison("time_normal", normal, whole),
                _comparison("time_to_first_normal", first, whole),
            ]
        },
        [row for each in parts for row in normality_excluded(each, became_normal_reasons(each.study))],
        [flag for each in parts for flag in normality_flags(each)],
        _caveats([each for each in (*normal, *first) if each.compared], strategy),
    )


def _basis(whole: Context) -> Basis:
    caveats = ("not_randomised", "conditioned_on_normalising", "seen_at_visits_only", "definitions_are_ours")
    return Basis(caveats, normal_time_definition(whole))


def _time_normal(context: Context, strategy: RescueStrategy) -> Group:
    times = times_of(context, strategy)
    cause = times.outcomes.cause[times.in_set]
    events = cause == ABNORMAL if strategy == "competing" else cause != CENSORED
    return Group(context, times.outcomes.duration[times.in_set], events, times.curve, times.mean)


def _time_to_first_normal(context: Context) -> Group:
    first = context.study.became_normal
    durations, events = first.time[first.evaluable], first.reached[first.evaluable]
    curve = kaplan_meier(durations, events, **context.curve)
    until = context.protocol.ck_normal_time.rmst_until_days
    return Group(context, durations, events, curve, restricted_mean(durations, events, until=until))


def _comparison(estimate: Estimate, groups: Sequence[Group], whole: Context) -> GroupComparison:
    """The groups that share a value are compared, those who have none stand last and by themselves."""
    level, asked = whole.level, whole.options.by is not None
    compared, others = [each for each in groups if each.compared], [each for each in groups if not each.compared]
    size = max(1, len(compared))
    numbers = np.repeat(np.arange(len(compared)), [len(each.durations) for each in compared])
    durations = np.concatenate([np.zeros(0, dtype=np.int64), *(each.durations for each in compared)])
    events = np.concatenate([np.zeros(0, dtype=np.bool_), *(each.events for each in compared)])
    tested = log_rank(durations, events, numbers, size)
    model = cox(durations, events, numbers, size, level=level)
    why = {} if asked else {"reason": Reason.NO_GROUPS}
    rows = [
        _row(each, tested, model.hazard_ratios[place], compared[0], place, level) for place, each in enumerate(compared)
    ]
    return GroupComparison(
        estimate=estimate,
        groups=(*rows, *(_alone(each, Reason.NOT_COMPARED if asked else Reason.NO_GROUPS) for each in others)),
        log_rank=tested.test.model_copy(update=why),
        ties=model.ties,
        likelihood_ratio=model.likelihood_ratio.model_copy(update=why),
        proportional_hazards=model.proportional_hazards.model_copy(update=why),
        reason=why.get("reason", tested.test.reason),
    )


def _row(group: Group, tested: LogRank, ratio: HazardRatio, first: Group, place: int, level: float) -> GroupTime:
    both = len(group.durations) + len(first.durations)
    return GroupTime(
        group=group.context.group,
        n=group.curve.n,
        events=group.curve.events,
        expected=tested.expected[place],
        median=group.curve.median,
        rmst=group.mean,
        hazard_ratio=ratio,
        rmst_difference=mean_difference(group.mean, first.mean, both, level=level) if place else None,
        reason=None if place else Reason.REFERENCE_GROUP,
    )


def _alone(group: Group, reason: Reason) -> GroupTime:
    return GroupTime(
        group=group.context.group,
        n=group.curve.n,
        events=group.curve.events,
        expected=None,
        median=group.curve.median,
        rmst=group.mean,
        hazard_ratio=None,
        rmst_difference=None,
        reason=reason,
    )


def _caveats(groups: Sequence[Group], strategy: RescueStrategy) -> list[str]:
    noticed = {
        "few_events": any(int(group.events.sum()) < FEW_EVENTS for group in groups),
        "small_counts": any(len(group.durations) < SMALL_GROUP for group in groups),
        "cause_specific_hazards": strategy == "competing",
    }
    return [code for code, holds in noticed.items() if holds]


QUESTION = Question(
    "ck-normal-groups",
    "Do subgroups differ in how long CK takes to become normal and stays so?",
    CkNormalGroups,
    ck_normal_groups,
    _basis,
    options_type=NormalTimeOptions,
    compares_groups=True,
)
