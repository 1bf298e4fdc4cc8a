"""For how long CK stays normal once it is, and how long it takes from day 0 to the first normal CK."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    Context,
    Contribution,
    Definition,
    Excluded,
    Findings,
    Flag,
    Grouped,
    Options,
    Question,
    not_listed,
)
from app.analyses.ck_normal.intercurrent_strategies import (
    TimeByStrategy,
    Times,
    is_event,
    strategies,
    times_by_strategy,
)
from app.derive.ck_normality import UNKNOWN
from app.derive.exposure import first_new_drug_day
from app.derive.per_patient import any_where, first_reason
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.rescue_treatment import CAUSES, CENSORED, before_end
from app.derive.study import DerivedStudy
from app.estimate.results import CurvePoint, Median, Number, Reason, RestrictedMean, Result, Summary, Survival, WhyNull
from app.estimate.summary import summarise
from app.estimate.times.aalen_johansen import event_free
from app.estimate.times.survival import kaplan_meier
from app.protocol.endpoints import RescueStrategy
from app.timeline.cohort import NO_TIME, Bools, Ints


class ConfirmedTime(Result):
    """A time to the first of two consecutive CKs that agree."""

    n: int = Field(description="Patients who could reach it.", examples=[15])
    events: int = Field(description="Patients who did.", examples=[11])
    median: Median = Field(description="Median time.")
    curve: tuple[CurvePoint, ...] = Field(description="Share that has not reached it.", examples=[[]])


class SustainedNormality(Result):
    """Normality and relapse that the next CK of known normality confirms.

    A single CK at the end of follow-up confirms nothing, and the patient is censored at it.
    """

    n: int = Field(description="Efficacy set with a CK of known normality after day 0.", examples=[15])
    patients: int = Field(description="Of these, patients with two consecutive normal CKs.", examples=[11])
    time_to_sustained: ConfirmedTime = Field(description="From day 0 to the first of two consecutive normal CKs.")
    time_to_confirmed_relapse: ConfirmedTime = Field(
        description="From there to the first of two consecutive abnormal CKs, in the patients of the risk set whose "
        "normality was sustained; whatever treatment followed."
    )


class TimeShare(Result):
    """The share of the days followed for which CK was normal, by one rule for the days between two draws."""

    rule: str = Field(
        description="`carried_forward`: a state lasts until the next draw. `midpoint`: it changes half-way.",
        examples=["carried_forward", "midpoint"],
    )
    per_patient: Summary = Field(description="The shares of the patients: each patient counts the same.")
    days_normal: Number = Field(description="Days with normal CK of all patients together.", examples=[4210])
    days_followed: Number = Field(description="Days followed of all patients together.", examples=[9035])
    pooled: Number | None = Field(
        description="days_normal / days_followed: each day counts the same.", examples=[0.465965688987]
    )
    reason: WhyNull = None


class ProportionNormal(Result):
    """The proportion of time with normal CK, from the baseline CK or the first later one to the last known one."""

    n: int = Field(description="Efficacy set with two CKs of known normality, the baseline among them.", examples=[15])
    too_few_draws: int = Field(description="Efficacy set without.", examples=[0])
    by_rule: tuple[TimeShare, ...] = Field(description="One row a rule.", examples=[[]])


def sustained_normality(context: Context, in_set: Bools) -> SustainedNormality:
    """Confirmed normality in the efficacy set, confirmed relapse in the risk set `in_set`."""
    found, evaluable = context.study.sustained, context.study.first_normal.evaluable
    reached = found.start != NO_TIME
    relapsed = found.end != NO_TIME
    since = np.where(relapsed, found.end, found.last) - found.start
    return SustainedNormality(
        n=int(evaluable.sum()),
        patients=int((evaluable & reached).sum()),
        time_to_sustained=_confirmed(context, np.where(reached, found.start, found.last), reached, evaluable),
        time_to_confirmed_relapse=_confirmed(context, since, relapsed, in_set & reached),
    )


def proportion_normal(context: Context) -> ProportionNormal:
    """The proportion of time with normal CK by both rules."""
    found, efficacy = context.study.days_normal, context.study.efficacy
    followed_twice = efficacy & (found.days > 0)
    followed = found.days[followed_twice]
    rules = {"carried_forward": found.carried_forward[followed_twice], "midpoint": found.midpoint[followed_twice]}
    return ProportionNormal(
        n=int(followed_twice.sum()),
        too_few_draws=int((efficacy & ~followed_twice).sum()),
        by_rule=tuple(_share(rule, normal, followed) for rule, normal in rules.items()),
    )


def product_limit(context: Context, durations: Ints, events: Bools) -> Survival:
    """The Kaplan-Meier curve under the conventions in force."""
    return event_free(durations, events, causes_known=1, **context.curve)


def _confirmed(context: Context, durations: Ints, events: Bools, chosen: Bools) -> ConfirmedTime:
    curve = product_limit(context, durations[chosen], events[chosen])
    return ConfirmedTime(n=curve.n, events=curve.events, median=curve.median, curve=curve.curve)


def _share(rule: str, normal: Ints, followed: Ints) -> TimeShare:
    """The columns hold twice the days."""
    total = int(followed.sum())
    return TimeShare(
        rule=rule,
        per_patient=summarise(normal / followed),
        days_normal=int(normal.sum()) / 2,
        days_followed=total / 2,
        pooled=int(normal.sum()) / total if total else None,
        reason=None if total else Reason.NO_PATIENTS,
    )


class NormalTimeOptions(Options):
    """Beside the common options, another strategy for further treatment and death than the protocol's."""

    rescue: RescueStrategy | None = Field(
        default=None,
        description="What a further treatment or death before CK became abnormal does to the time; the protocol's "
        "strategy where left out.",
        examples=["composite"],
    )


class TimeToFirstNormal(Result):
    """Days from the first infusion to the first normal CK after it, whether or not CK was normal before."""

    n: int = Field(description="Efficacy set with a CK of known normality after day 0.", examples=[15])
    normal_at_baseline: int = Field(
        description="Of these, patients whose CK was normal before: in them nothing became normal. "
        "`ck-normal-interval` and `ck-normal-groups` leave them out.",
        examples=[0],
    )
    events: int = Field(description="Patients with a normal CK after day 0.", examples=[13])
    median: Median = Field(description="Median time to the first normal CK after day 0.")
    curve: tuple[CurvePoint, ...] = Field(description="Share without a normal CK since day 0.", examples=[[]])


class FollowUp(Result):
    """The length of follow-up by the reverse Kaplan-Meier method (Schemper and Smith 1996)."""

    n: int = Field(description="Patients in the risk set.", examples=[13])
    censored: int = Field(description="Of these, patients whose time ended without any event.", examples=[5])
    median: Median = Field(
        description="Median time to being censored, in which an event ends the observation; `no_events` means that "
        "nobody was censored."
    )


class Spell(Contribution):
    """The first spell of normal CK of one patient."""

    start: int | None = Field(description="Day of the first normal CK after day 0.", examples=[21])
    duration: int | None = Field(
        description="Days to the first later abnormal CK, or to the last known one, or to what ended the time before "
        "under the strategy in force.",
        examples=[41],
    )
    event: bool | None = Field(
        description="Whether CK became abnormal again; under `composite` also whether rescue or death came before.",
        examples=[True],
    )
    ended_by: str | None = Field(
        description="What ended the time, `abnormal`, `rescue` or `death`; null where it is censored.",
        examples=["abnormal", None],
    )
    reason: str | None = Field(description="Why the patient is not in the risk set.", examples=[None, "never_normal"])
    sustained_from: int | None = Field(
        description="Day of the first of two consecutive normal CKs after day 0.", examples=[21, None]
    )
    days_followed: Number | None = Field(
        description="Days from the baseline CK or the first later one to the last known one; null where there are no "
        "two, and outside the efficacy set.",
        examples=[336],
    )
    days_normal: Number | None = Field(
        description="How many of them were normal, each state carried to the next draw.", examples=[41]
    )
    days_normal_midpoint: Number | None = Field(
        description="How many were, the state changing half-way between two draws.", examples=[38.5]
    )


class NormalTime(Grouped):
    """The time with normal CK, from the first normal CK after treatment to the first later abnormal one."""

    n: int = Field(
        description="Patients in the risk set: CK abnormal at baseline and normal afterwards.", examples=[13]
    )
    events: int = Field(
        description="Of these, patients whose CK became abnormal again; under `composite` rescue and death are "
        "events too.",
        examples=[8],
    )
    never_normal: int = Field(description="Patients whose CK never became normal; not in the risk set.", examples=[2])
    normal_at_baseline: int = Field(
        description="Patients whose CK was normal before; a stratum of their own.", examples=[0]
    )
    median: Median = Field(description="Median time for which CK stays normal, under the strategy in force.")
    curve: tuple[CurvePoint, ...] = Field(
        description="Kaplan-Meier curve, one row an event time. Under `competing` it is 1 - the cumulative incidence "
        "of abnormal CK, and `censored` counts all who left without it.",
        examples=[[]],
    )
    rmst: RestrictedMean = Field(description="Restricted mean of the time, under the strategy in force.")
    second_course: int = Field(
        description="Patients of the risk set with a second course, begun after day 0 and before the spell ended or "
        "was last seen.",
        examples=[0],
    )
    new_immunosuppressant: int = Field(
        description="Patients of the risk set who began one of the protocol's immunosuppressants after day 0 and "
        "before the spell ended or was last seen.",
        examples=[0],
    )
    rescue_before_normal: int = Field(
        description="Patients of the risk set whose further treatment began after day 0 and not after the first normal "
        "CK: every strategy but `treatment_policy` lets it act at 0 days.",
        examples=[0],
    )
    strategies: tuple[TimeByStrategy, ...] = Field(
        description="The same time under each strategy for further treatment and death, side by side.", examples=[[]]
    )
    follow_up: FollowUp = Field(description="How long the risk set was followed.")
    sustained: SustainedNormality = Field(description="Normality and relapse that a second CK confirms.")
    proportion_of_time_normal: ProportionNormal = Field(
        description="For how much of the time followed CK was normal, whatever treatment followed."
    )
    time_to_first_normal: TimeToFirstNormal = Field(description="Days to the first normal CK after day 0.")
    patients: tuple[Spell, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class CkNormalTimes(Answer):
    """The time for which CK stays normal."""

    results: tuple[NormalTime, ...] = Field(description="One entry (or one a subgroup).", examples=[[]])


def ck_normal_time(context: Context) -> Findings:
    """The first spell of normal CK of every patient."""
    return Findings(
        {"results": [_normal_time(context, strategy_in_force(context))]},
        normality_excluded(context, first_normal_reasons(context.study)),
        normality_flags(context),
    )


def strategy_in_force(context: Context) -> RescueStrategy:
    """The strategy that was asked for, else the protocol's."""
    return context.options_as(NormalTimeOptions).rescue or context.protocol.ck_normal_time.rescue


def normal_time_definition(context: Context) -> Definition:
    """The time with normal CK under the strategy in force."""
    rule = context.protocol.ck_normal_time.model_copy(update={"rescue": strategy_in_force(context)})
    return Definition(id="first_normal_to_first_abnormal", parameters=rule.model_dump(mode="json"))


def _basis(whole: Context) -> Basis:
    caveats = ("conditioned_on_normalising", "seen_at_visits_only", "uncontrolled_pre_post", "definitions_are_ours")
    return Basis(caveats, normal_time_definition(whole))


def _normal_time(context: Context, strategy: RescueStrategy) -> NormalTime:
    study = context.study
    episodes, exposure = study.remission_episodes, study.exposure
    by_strategy = times_by_strategy(context)
    times = by_strategy[strategy]
    in_set, curve = times.in_set, times.curve
    new_drug = first_new_drug_day(study.cohort, exposure, context.protocol.ck_normal_time.immunosuppressants)
    rescue_day = study.rescues.treated
    return NormalTime(
        group=context.group,
        n=curve.n,
        events=curve.events,
        never_normal=episodes.reason.count(ExclusionReason.NEVER_NORMAL),
        normal_at_baseline=episodes.reason.count(ExclusionReason.NORMAL_AT_BASELINE),
        median=curve.median,
        curve=curve.curve,
        rmst=times.mean,
        second_course=int(before_end(episodes, exposure.second_course).sum()),
        new_immunosuppressant=int(before_end(episodes, new_drug).sum()),
        rescue_before_normal=int((in_set & (rescue_day != NO_TIME) & (rescue_day <= episodes.start)).sum()),
        time_to_first_normal=_first_normal(context),
        strategies=strategies(context, by_strategy, strategy),
        follow_up=_follow_up(context, times),
        sustained=sustained_normality(context, in_set),
        proportion_of_time_normal=proportion_normal(context),
        patients=_spells(context, times) if context.listed else None,
    )


def _follow_up(context: Context, times: Times) -> FollowUp:
    censored = times.outcomes.cause[times.in_set] == CENSORED
    curve = product_limit(context, times.outcomes.duration[times.in_set], censored)
    return FollowUp(n=curve.n, censored=curve.events, median=curve.median)


def _spells(context: Context, times: Times) -> tuple[Spell, ...]:
    study = context.study
    episodes, outcomes, event = study.remission_episodes, times.outcomes, is_event(times)
    days, sustained = study.days_normal, study.sustained.start
    followed_twice = study.efficacy & (days.days > 0)
    names = (None, *CAUSES)
    return tuple(
        Spell(
            patient=patient,
            start=int(episodes.start[i]) if times.in_set[i] else None,
            duration=int(outcomes.duration[i]) if times.in_set[i] else None,
            event=bool(event[i]) if times.in_set[i] else None,
            ended_by=names[outcomes.cause[i]],
            reason=episodes.reason[i],
            sustained_from=int(sustained[i]) if study.efficacy[i] and sustained[i] != NO_TIME else None,
            days_followed=int(days.days[i]) / 2 if followed_twice[i] else None,
            days_normal=int(days.carried_forward[i]) / 2 if followed_twice[i] else None,
            days_normal_midpoint=int(days.midpoint[i]) / 2 if followed_twice[i] else None,
        )
        for i, patient in enumerate(context.ids)
    )


def _first_normal(context: Context) -> TimeToFirstNormal:
    first = context.study.first_normal
    curve = kaplan_meier(first.time[first.evaluable], first.reached[first.evaluable], **context.curve)
    return TimeToFirstNormal(
        n=curve.n,
        normal_at_baseline=int((first.evaluable & context.study.normal_at_baseline).sum()),
        events=curve.events,
        median=curve.median,
        curve=curve.curve,
    )


def first_normal_reasons(study: DerivedStudy) -> tuple[ExclusionReason | None, ...]:
    """Why a patient is not in the estimate of the time to the first normal CK."""
    return _first_normal_reasons(study, study.left_out)


def became_normal_reasons(study: DerivedStudy) -> tuple[ExclusionReason | None, ...]:
    """The same where patients whose CK was normal before are left out: it cannot become normal."""
    before = (ExclusionReason.NORMAL_AT_BASELINE, study.normal_at_baseline)
    return _first_normal_reasons(study, (*study.left_out, before))


def _first_normal_reasons(
    study: DerivedStudy, before: Sequence[tuple[ExclusionReason, Bools]]
) -> tuple[ExclusionReason | None, ...]:
    records = study.analysis_values("CK")
    after = records.day > 0
    unseen, unknown = (
        ~any_where(records.patient, records.size, chosen) for chosen in (after, after & (study.ck_known != UNKNOWN))
    )
    checks = (
        *before,
        (ExclusionReason.NO_VALUE_AFTER_BASELINE, unseen),
        (ExclusionReason.NORMALITY_UNKNOWN, unknown),
    )
    return first_reason(checks, records.size)


def normality_excluded(context: Context, first_normal: Sequence[ExclusionReason | None]) -> list[Excluded]:
    """Who is not in the time with normal CK, then who is not in the time to the first normal CK."""
    return [
        *context.excluded(context.study.remission_episodes.reason, "CK", estimate="time_normal"),
        *context.excluded(first_normal, "CK", estimate="time_to_first_normal"),
    ]


def undetermined(study: DerivedStudy) -> dict[FlagCode, int]:
    """How many CKs are of unknown normality."""
    return {FlagCode.UNDETERMINED: int((study.ck_known == UNKNOWN).sum())}


def normality_flags(context: Context) -> list[Flag]:
    """What was noticed of the CKs whose normality counts."""
    second_course = {FlagCode.SECOND_COURSE: context.study.exposure.flags[FlagCode.SECOND_COURSE]}
    return context.flags_of("CK", undetermined(context.study) | second_course)


QUESTION = Question(
    "ck-normal-time",
    "For how long does CK stay normal?",
    CkNormalTimes,
    ck_normal_time,
    _basis,
    options_type=NormalTimeOptions,
    in_report=True,
)
