"""Comparison of groups: how long CK takes to become normal, and how long it then stays normal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from app.analyses.answer import Answer, Basis, Context, Findings, Grouped, Question
from app.analyses.ck_normal.ck_normal_time import (
    NormalTimeOptions,
    normal_time_definition,
    normality_excluded,
    normality_flags,
    strategy_in_force,
)
from app.analyses.ck_normal.intercurrent_strategies import times_of
from app.analyses.claims import comparison, differences_of
from app.analyses.comparison.comparisons import UNKNOWN
from app.derive.rescue_treatment import ABNORMAL, CENSORED
from app.estimate.results import (
    CurvePoint,
    Median,
    Number,
    NumberAtRisk,
    Reason,
    RestrictedMean,
    Result,
    Survival,
    TestResult,
    WhyNull,
)
from app.estimate.times.group_survival import HazardRatio, LogRank, MeanDifference, cox, log_rank, mean_difference
from app.estimate.times.survival import kaplan_meier, numbers_at_risk, restricted_mean
from app.protocol.endpoints import RescueStrategy
from app.timeline.cohort import Bools, Ints

FEW_EVENTS = 10
SMALL_GROUP = 20
Estimate = Literal["time_normal", "time_to_first_normal"]


class GroupTime(Grouped):
    """One subgroup, and its differences from the first."""

    n: int = Field(description="Patients in the estimate.", examples=[7])
    events: int = Field(description="Of these, patients with the event.", examples=[5])
    expected: Number | None = Field(
        description="Events expected in the group if all groups had one hazard; null where it is not compared.",
        examples=[4.31],
    )
    median: Median = Field(description="Median time.")
    curve: tuple[CurvePoint, ...] = Field(description="Its curve from time 0.", examples=[[]])
    numbers_at_risk: tuple[NumberAtRisk, ...] = Field(
        description="Patients at risk, every 30 or 90 d up to the longest time of all groups.", examples=[[]]
    )
    rmst: RestrictedMean = Field(description="Restricted mean of the time.")
    hazard_ratio: HazardRatio | None = Field(
        description="Its hazard divided by that of the first group (Cox); above 1 the event comes earlier. Null where "
        "the group is not compared."
    )
    rmst_difference: MeanDifference | None = Field(
        description="Its restricted mean minus that of the first group; null where it cannot be computed."
    )
    reason: WhyNull = None


class GroupComparison(Result):
    """One time to an event, compared between the subgroups."""

    estimate: Estimate = Field(
        description="`time_normal`: from the first normal CK to the first later abnormal one. `time_to_first_normal`: "
        "from day 0 to the first normal CK, of patients whose CK was abnormal before.",
        examples=["time_normal"],
    )
    groups: tuple[GroupTime, ...] = Field(
        description="The subgroups in code-point order, last the patients without the attribute or with `unknown`, "
        "who are not compared. The first is the reference.",
        examples=[[]],
    )
    log_rank: TestResult = Field(description="Test of equal hazards in all groups; `statistic` is chi-square.")
    ties: str = Field(description="How tied events enter the partial likelihood of Cox.", examples=["efron"])
    likelihood_ratio: TestResult = Field(description="Test of the same hypothesis by Cox's model.")
    proportional_hazards: TestResult = Field(
        description="Test that the hazard ratios do not change with time; with a small p one number does not "
        "describe them."
    )
    reason: WhyNull = None


class CkNormalGroups(Answer):
    """The times to normal and to abnormal CK, compared between subgroups."""

    results: tuple[GroupComparison, ...] = Field(description="One entry for each of the two times.", examples=[[]])


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The times of one subgroup: `durations` (days) and `events` for the tests, `curve` and `mean` by the strategy."""

    context: Context
    durations: Ints
    events: Bools
    curve: Survival
    mean: RestrictedMean

    @property
    def compared(self) -> bool:
        """Whether the patients have one known value of the attribute."""
        return self.context.group is not None and not set(self.context.group.values()) & set(UNKNOWN)


def ck_normal_groups(whole: Context) -> Findings:
    """Both times in each subgroup, and the tests between them."""
    strategy, contexts = strategy_in_force(whole), list(whole.subgroups())
    normal = [_time_normal(context, strategy) for context in contexts]
    first = [_time_to_first_normal(context) for context in contexts]
    results = [_comparison("time_normal", normal, whole), _comparison("time_to_first_normal", first, whole)]
    return Findings(
        {"results": results},
        [row for part in contexts for row in normality_excluded(part)],
        [flag for part in contexts for flag in normality_flags(part)],
        _caveats([group for group in (*normal, *first) if group.compared], strategy),
        claims=differences_of(
            "difference",
            [
                comparison(
                    f"`{row.estimate}` in {len(row.groups)} groups, log-rank", row.log_rank.n_used, row.log_rank, "CK"
                )
                for row in results
            ],
            family="log-rank in this answer",
            alpha=whole.protocol.weekly_change.alpha,
        ),
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
    first = context.study.first_normal
    durations, events = first.time[first.evaluable], first.reached[first.evaluable]
    curve = kaplan_meier(durations, events, **context.curve)
    until = context.protocol.ck_normal_time.rmst_until_days
    mean = restricted_mean(durations, events, until=until, level=context.level, known=curve)
    return Group(context, durations, events, curve, mean)


def _comparison(estimate: Estimate, groups: Sequence[Group], whole: Context) -> GroupComparison:
    """The groups with a known value are compared; the others follow and are not compared."""
    level, by_given = whole.level, whole.options.by is not None
    compared = [group for group in groups if group.compared]
    others = [group for group in groups if not group.compared]
    size = max(1, len(compared))
    until = max((float(group.durations.max(initial=0)) for group in groups), default=0.0)
    numbers = np.repeat(np.arange(len(compared)), [len(group.durations) for group in compared])
    durations = np.concatenate([np.zeros(0, dtype=np.int64), *(group.durations for group in compared)])
    events = np.concatenate([np.zeros(0, dtype=np.bool_), *(group.events for group in compared)])
    test = log_rank(durations, events, numbers, size)
    model = cox(durations, events, numbers, size, level=level)
    reason = {} if by_given else {"reason": Reason.NO_GROUPS}
    rows = [
        _row(group, test, model.hazard_ratios[place], compared[0], place, level, until)
        for place, group in enumerate(compared)
    ]
    return GroupComparison(
        estimate=estimate,
        groups=(
            *rows,
            *(_not_compared(group, Reason.NOT_COMPARED if by_given else Reason.NO_GROUPS, until) for group in others),
        ),
        log_rank=test.test.model_copy(update=reason),
        ties=model.ties,
        likelihood_ratio=model.likelihood_ratio.model_copy(update=reason),
        proportional_hazards=model.proportional_hazards.model_copy(update=reason),
        reason=reason.get("reason", test.test.reason),
    )


def _row(
    group: Group, test: LogRank, ratio: HazardRatio, first: Group, place: int, level: float, until: float
) -> GroupTime:
    n = len(group.durations) + len(first.durations)
    return GroupTime(
        group=group.context.group,
        n=group.curve.n,
        events=group.curve.events,
        expected=test.expected[place],
        median=group.curve.median,
        curve=group.curve.curve,
        numbers_at_risk=numbers_at_risk(group.durations, until),
        rmst=group.mean,
        hazard_ratio=ratio,
        rmst_difference=mean_difference(group.mean, first.mean, n, level=level) if place else None,
        reason=None if place else Reason.REFERENCE_GROUP,
    )


def _not_compared(group: Group, reason: Reason, until: float) -> GroupTime:
    return GroupTime(
        group=group.context.group,
        n=group.curve.n,
        events=group.curve.events,
        expected=None,
        median=group.curve.median,
        curve=group.curve.curve,
        numbers_at_risk=numbers_at_risk(group.durations, until),
        rmst=group.mean,
        hazard_ratio=None,
        rmst_difference=None,
        reason=reason,
    )


def _caveats(groups: Sequence[Group], strategy: RescueStrategy) -> list[str]:
    applies = {
        "few_events": any(int(group.events.sum()) < FEW_EVENTS for group in groups),
        "small_counts": any(len(group.durations) < SMALL_GROUP for group in groups),
        "cause_specific_hazards": strategy == "competing",
    }
    return [code for code, applied in applies.items() if applied]


QUESTION = Question(
    "ck-normal-groups",
    "Do groups differ in how long CK takes to become normal, and in how long it stays normal?",
    CkNormalGroups,
    ck_normal_groups,
    _basis,
    options_type=NormalTimeOptions,
    compares_groups=True,
)
