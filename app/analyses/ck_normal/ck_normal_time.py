"""How long CK stays normal, how long it takes to become normal, and for which share of follow-up it was normal."""

from functools import partial

import numpy as np
from pydantic import Field

from app.analyses.answer import (
    Answer,
    Basis,
    Claim,
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
    in_risk_set,
    is_event,
    spell_intervals,
    strategies,
    times_by_strategy,
    times_of,
)
from app.analyses.claims import median_time
from app.analyses.preset_difference import Differs, PresetDifference, normal_time_difference
from app.analyses.without_effect import Headline, NullOptions, Simulated, without_effect
from app.derive.exposure import first_new_drug_day
from app.derive.intercurrent_events import Event
from app.derive.per_patient import included
from app.derive.reasons import ExclusionReason, FlagCode
from app.derive.rescue_treatment import CAUSES, CENSORED, before_end
from app.derive.study import DerivedStudy
from app.estimate.results import (
    CurvePoint,
    Median,
    Number,
    NumberAtRisk,
    Reason,
    RestrictedMean,
    Result,
    Summary,
    Survival,
    WhyNull,
)
from app.estimate.summary import summarise
from app.estimate.times.interval_censored import IntervalCensored
from app.estimate.times.many_curves import medians_and_means
from app.estimate.times.survival import HalfRule, kaplan_meier
from app.protocol.endpoints import RescueStrategy
from app.timeline.cohort import NO_TIME, Bools, Ints


class ConfirmedTime(Result):
    """The time to the first of two consecutive CKs with the same normality."""

    n: int = Field(description="Patients at risk.", examples=[15])
    events: int = Field(description="Patients who reached it.", examples=[11])
    median: Median = Field(description="Median time.")
    curve: tuple[CurvePoint, ...] = Field(description="Share of patients who have not reached it.", examples=[[]])
    numbers_at_risk: tuple[NumberAtRisk, ...] = Field(description="Patients at risk, every 30 or 90 d.", examples=[[]])


class SustainedNormality(Result):
    """Normality and relapse, each confirmed by the next CK of known normality.

    A single CK at the end of follow-up confirms nothing, and the patient is censored at it.
    """

    n: int = Field(description="Patients in the time to the first normal CK.", examples=[15])
    patients: int = Field(description="Of these, patients with two consecutive normal CKs.", examples=[11])
    time_to_sustained: ConfirmedTime = Field(description="From day 0 to the first of two consecutive normal CKs.")
    time_to_confirmed_relapse: ConfirmedTime = Field(
        description="From that day to the first of two consecutive abnormal CKs, in the patients of the risk set whose "
        "normality was sustained; further treatment is ignored."
    )


class TimeShare(Result):
    """The share of the days of follow-up with normal CK, by one rule for the days between two draws."""

    rule: str = Field(
        description="`carried_forward`: the state lasts until the next draw. `midpoint`: it changes halfway.",
        examples=["carried_forward", "midpoint"],
    )
    per_patient: Summary = Field(description="The shares of the patients: each patient counts the same.")
    days_normal: Number = Field(description="Days with normal CK of all patients together.", examples=[4210])
    days_followed: Number = Field(description="Days of follow-up of all patients together.", examples=[9035])
    pooled: Number | None = Field(
        description="days_normal / days_followed: each day counts the same.", examples=[0.465965688987]
    )
    reason: WhyNull = None


class ProportionNormal(Result):
    """The proportion of time with normal CK, from the baseline CK (or the first later one) to the last CK.

    Only CKs of known normality count.
    """

    n: int = Field(description="Efficacy set with two CKs of known normality, the baseline among them.", examples=[15])
    too_few_draws: int = Field(description="Efficacy set without two such CKs.", examples=[0])
    by_rule: tuple[TimeShare, ...] = Field(description="One row for each rule.", examples=[[]])


def sustained_normality(context: Context, in_set: Bools) -> SustainedNormality:
    """Confirmed normality in the efficacy set, confirmed relapse in the risk set `in_set`."""
    sustained, evaluable = context.study.sustained, context.study.first_normal.evaluable
    reached = sustained.start != NO_TIME
    relapsed = sustained.end != NO_TIME
    since = np.where(relapsed, sustained.end, sustained.last) - sustained.start
    return SustainedNormality(
        n=int(evaluable.sum()),
        patients=int((evaluable & reached).sum()),
        time_to_sustained=_confirmed(context, np.where(reached, sustained.start, sustained.last), reached, evaluable),
        time_to_confirmed_relapse=_confirmed(context, since, relapsed, in_set & reached),
    )


def proportion_normal(context: Context) -> ProportionNormal:
    """The proportion of time with normal CK by both rules."""
    days, efficacy = context.study.days_normal, context.study.efficacy
    followed_twice = efficacy & (days.days > 0)
    followed = days.days[followed_twice]
    rules = {"carried_forward": days.carried_forward[followed_twice], "midpoint": days.midpoint[followed_twice]}
    return ProportionNormal(
        n=int(followed_twice.sum()),
        too_few_draws=int((efficacy & ~followed_twice).sum()),
        by_rule=tuple(_share(context, rule, normal, followed) for rule, normal in rules.items()),
    )


def product_limit(context: Context, durations: Ints, events: Bools) -> Survival:
    """The Kaplan-Meier curve under the conventions in force."""
    return context.study.estimated(kaplan_meier, durations, events, **context.curve)


def _confirmed(context: Context, durations: Ints, events: Bools, chosen: Bools) -> ConfirmedTime:
    curve = product_limit(context, durations[chosen], events[chosen])
    return ConfirmedTime(**dict(curve))


def _share(context: Context, rule: str, normal: Ints, followed: Ints) -> TimeShare:
    """`normal` and `followed` are in half days."""
    total = int(followed.sum())
    return TimeShare(
        rule=rule,
        per_patient=context.study.estimated(summarise, normal / followed),
        days_normal=int(normal.sum()) / 2,
        days_followed=total / 2,
        pooled=int(normal.sum()) / total if total else None,
        reason=None if total else Reason.NO_PATIENTS,
    )


class NormalTimeOptions(Options):
    """The common options, and the strategy for further treatment and death."""

    rescue: RescueStrategy | None = Field(
        default=None,
        description="The effect of a further treatment or death before CK became abnormal on the time; the protocol's "
        "strategy where left out.",
        examples=["composite"],
    )


class CkNormalTimeOptions(NormalTimeOptions, NullOptions):
    """The options of this question."""


class TimeToFirstNormal(Result):
    """Days from the first infusion to the first normal CK after it, of patients whose CK was abnormal before."""

    n: int = Field(description="Patients in the estimate.", examples=[15])
    normal_at_baseline: int = Field(
        description="Patients left out because CK was already normal at baseline.", examples=[0]
    )
    events: int = Field(description="Patients with a normal CK after day 0.", examples=[13])
    median: Median = Field(description="Median time to the first normal CK after day 0.")
    curve: tuple[CurvePoint, ...] = Field(description="Share without a normal CK since day 0.", examples=[[]])
    numbers_at_risk: tuple[NumberAtRisk, ...] = Field(description="Patients at risk, every 30 or 90 d.", examples=[[]])


class FollowUp(Result):
    """The length of follow-up by the reverse Kaplan-Meier method (Schemper and Smith 1996)."""

    n: int = Field(description="Patients in the risk set.", examples=[13])
    censored: int = Field(description="Of these, patients whose time ended without any event.", examples=[5])
    median: Median = Field(
        description="Median time to censoring, where an event ends the observation; `no_events` means that nobody was "
        "censored."
    )


class Spell(Contribution):
    """The first remission episode of one patient: the time with normal CK."""

    start: int | None = Field(description="Day of the first normal CK after day 0.", examples=[21])
    duration: int | None = Field(
        description="Days to the first later abnormal CK, or to the last CK of known normality, or to the event that "
        "ended the time earlier under the strategy in force.",
        examples=[41],
    )
    event: bool | None = Field(
        description="Whether CK became abnormal again; under `composite` also whether rescue or death came first.",
        examples=[True],
    )
    ended_by: str | None = Field(
        description="The event that ended the time: `abnormal`, `rescue` or `death`; null where it is censored.",
        examples=["abnormal", None],
    )
    reason: str | None = Field(description="Why the patient is not in the risk set.", examples=[None, "never_normal"])
    sustained_from: int | None = Field(
        description="Day of the first of two consecutive normal CKs after day 0.", examples=[21, None]
    )
    days_followed: Number | None = Field(
        description="Days from the baseline CK (or the first later one) to the last CK; null with fewer than two CKs "
        "of known normality, and outside the efficacy set.",
        examples=[336],
    )
    days_normal: Number | None = Field(
        description="How many of these days were normal, if a state lasts until the next draw.", examples=[41]
    )
    days_normal_midpoint: Number | None = Field(
        description="How many of these days were normal, if the state changes halfway between two draws.",
        examples=[38.5],
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
        description="Patients whose CK was normal at baseline; not in the risk set.", examples=[0]
    )
    interval_censored: IntervalCensored | None = Field(
        default=None,
        exclude_if=lambda estimate: estimate is None,
        description="The primary estimate where the protocol declares `primary_estimate` `interval`: the same time, "
        "interval-censored, under the strategy in force; absent under `competing`.",
        examples=[None],
    )
    median: Median = Field(description="Median time for which CK stays normal, under the strategy in force.")
    curve: tuple[CurvePoint, ...] = Field(
        description="Kaplan-Meier curve, a row at time 0 and one for each event time. Under `competing` it is 1 - the "
        "cumulative incidence of abnormal CK, and `censored` counts all patients who left the risk set without it.",
        examples=[[]],
    )
    numbers_at_risk: tuple[NumberAtRisk, ...] = Field(description="Patients at risk, every 30 or 90 d.", examples=[[]])
    rmst: RestrictedMean = Field(description="Restricted mean of the time, under the strategy in force.")
    second_course: int = Field(
        description="Patients of the risk set with a second course, begun after day 0 and before the end of the "
        "remission episode or of follow-up.",
        examples=[0],
    )
    new_immunosuppressant: int = Field(
        description="Patients of the risk set who began one of the protocol's immunosuppressants after day 0 and "
        "before the end of the remission episode or of follow-up.",
        examples=[0],
    )
    steroid_rescue: int | None = Field(
        default=None,
        exclude_if=lambda count: count is None,
        description="Patients of the risk set with a rise or pulse of glucocorticoids after day 0 and before the end "
        "of the remission episode or of follow-up; absent unless the protocol declares `steroid_rescue`.",
        examples=[0],
    )
    rescue_before_normal: int = Field(
        description="Patients of the risk set whose further treatment began after day 0, and on or before the day of "
        "the first normal CK. Every strategy except `treatment_policy` counts it at 0 days.",
        examples=[0],
    )
    strategies: tuple[TimeByStrategy, ...] = Field(
        description="The same time under each strategy for further treatment and death.", examples=[[]]
    )
    follow_up: FollowUp = Field(description="How long the risk set was followed.")
    sustained: SustainedNormality = Field(description="Normality and relapse that a second CK confirms.")
    proportion_of_time_normal: ProportionNormal = Field(
        description="The share of follow-up with normal CK; further treatment is ignored."
    )
    time_to_first_normal: TimeToFirstNormal = Field(description="Days to the first normal CK after day 0.")
    patients: tuple[Spell, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each patient, where `patients=true`.", examples=[[]]
    )


class CkNormalTimes(Answer):
    """The time for which CK stays normal."""

    results: tuple[NormalTime, ...] = Field(description="One entry, or one for each subgroup.", examples=[[]])
    preset_for_new_studies: Differs = None
    nothing: Simulated


def ck_normal_time(context: Context) -> Findings:
    """The first remission episode of every patient."""
    row = _normal_time(context, strategy_in_force(context))
    return Findings(
        {"results": [row], "nothing": without_effect(context, ["CK"], partial(_headlines, context))},
        normality_excluded(context),
        normality_flags(context),
        fields={} if context.options.by else _difference(context, row.median),
        claims=_claims(context, row),
    )


def _difference(whole: Context, median: Median) -> dict[str, PresetDifference | None]:
    return {"preset_for_new_studies": normal_time_difference(whole, median)}


def _headlines(context: Context, study: DerivedStudy, cohorts: int) -> list[Headline]:
    """The median and the restricted mean of the time with normal CK, and the share whose CK became normal."""
    strategy, conventions = strategy_in_force(context), context.conventions
    reasons = study.remission_episodes.reason
    in_set, outcomes = included(reasons), study.outcomes(strategy)
    never = np.array([reason is ExclusionReason.NEVER_NORMAL for reason in reasons], dtype=np.bool_)
    cohort = np.repeat(np.arange(cohorts), len(reasons) // cohorts)[in_set]
    medians, means = medians_and_means(
        cohort,
        cohorts,
        outcomes.duration[in_set],
        outcomes.cause[in_set],
        competing=strategy == "competing",
        until=study.protocol.ck_normal_time.rmst_until_days,
        rule=HalfRule(conventions.median, conventions.plateau),
    )
    normal, all_judged = (each.reshape(cohorts, -1).sum(axis=1) for each in (in_set, in_set | never))
    shares = np.divide(normal, all_judged, out=np.full(cohorts, np.nan), where=all_judged > 0)
    return [
        Headline("median_time_normal", "CK", "higher", medians),
        Headline("ever_normal", "CK", "higher", shares),
        Headline("rmst_time_normal", "CK", "higher", means, reason=Reason.BEYOND_FOLLOW_UP),
    ]


def strategy_in_force(context: Context) -> RescueStrategy:
    """The strategy that the options give, else the protocol's."""
    return context.options_as(NormalTimeOptions).rescue or context.protocol.ck_normal_time.rescue


def normal_time_definition(context: Context) -> Definition:
    """The time with normal CK under the strategy in force."""
    rule = context.protocol.ck_normal_time.model_copy(update={"rescue": strategy_in_force(context)})
    return Definition(id="first_normal_to_first_abnormal", parameters=rule.model_dump(mode="json"))


def _basis(whole: Context) -> Basis:
    caveats = (
        "conditioned_on_normalising",
        "seen_at_visits_only",
        "uncontrolled_pre_post",
        "definitions_are_ours",
        "upper_limit_changes",
        "several_laboratories",
    )
    definition = normal_time_definition(whole)
    if not whole.options.by:  # then the one row is that of the whole study
        return Basis(caveats, definition)
    return Basis(caveats, definition, _difference(whole, times_of(whole, strategy_in_force(whole)).curve.median))


def _claims(context: Context, row: NormalTime) -> list[Claim]:
    """A claim for each median, with the further treatments before the time ended."""
    study, sustained = context.study, row.sustained
    in_set = in_risk_set(context)
    durations = study.outcomes(strategy_in_force(context)).duration[in_set]
    evaluable, first = study.first_normal.evaluable, study.first_normal.time
    start, end, last = study.sustained.start, study.sustained.end, study.sustained.last
    reached = start != NO_TIME
    until, relapse = np.where(reached, start, last), np.where(end != NO_TIME, end, last)
    chosen = in_set & reached
    begun = {
        "second_course": row.second_course,
        "new_immunosuppressant": row.new_immunosuppressant,
        "steroid_rescue": row.steroid_rescue,
    }
    spell = {words: number for name, words in _before(context).items() if (number := begun[name]) is not None}
    return [
        _median_claim("median_time_normal", "Time with normal CK", row.median, durations, spell),
        _median_claim("median_time_to_first_normal", "Time to the first normal CK", row.time_to_first_normal.median,
                      first[evaluable], treated_again(context, first, evaluable)),
        _median_claim("median_time_to_sustained", "Time to two normal CKs in a row", sustained.time_to_sustained.median,
                      until[evaluable], treated_again(context, until, evaluable)),
        _median_claim("median_time_to_confirmed_relapse", "Time from there to two abnormal CKs in a row",
                      sustained.time_to_confirmed_relapse.median, (relapse - start)[chosen],
                      treated_again(context, relapse, chosen)),
    ]  # fmt: skip


_BEFORE: dict[Event, str] = {
    "second_course": "had a second course",
    "new_immunosuppressant": "began a new immunosuppressant",
}


def _before(context: Context) -> dict[Event, str]:
    """The further treatments that a claim counts, in words: with the steroid rescue if the protocol declares one."""
    if context.protocol.ck_normal_time.steroid_rescue is None:
        return _BEFORE
    return _BEFORE | {"steroid_rescue": "had a rise or pulse of glucocorticoids"}


def treated_again(context: Context, until: Ints, among: Bools) -> dict[str, int]:
    """How many of some patients had each further treatment after day 0 and not after a day of their own."""
    events = context.study.intercurrent_events
    days = {words: getattr(events, name) for name, words in _before(context).items()}
    return {words: int((among & (day > 0) & (day <= until)).sum()) for words, day in days.items()}


def _median_claim(code: str, subject: str, median: Median, durations: Ints, before: dict[str, int]) -> Claim:
    value = median.value
    at_risk = 0 if value is None else int((durations > value).sum())
    return median_time(code, subject, value, len(durations), at_risk, before, measure="CK")


def _normal_time(context: Context, strategy: RescueStrategy) -> NormalTime:
    study = context.study
    episodes, exposure = study.remission_episodes, study.exposure
    by_strategy = times_by_strategy(context)
    times = by_strategy[strategy]
    in_set, curve = times.in_set, times.curve
    rule = context.protocol.ck_normal_time
    new_drug = first_new_drug_day(study.cohort, exposure, rule.immunosuppressants)
    rescue_day = study.rescues.treated
    return NormalTime(
        group=context.group,
        n=curve.n,
        events=curve.events,
        never_normal=episodes.reason.count(ExclusionReason.NEVER_NORMAL)
        + episodes.reason.count(ExclusionReason.NEVER_SUSTAINED),
        normal_at_baseline=episodes.reason.count(ExclusionReason.NORMAL_AT_BASELINE),
        interval_censored=_interval_censored(context, strategy),
        median=curve.median,
        curve=curve.curve,
        numbers_at_risk=curve.numbers_at_risk,
        rmst=times.mean,
        second_course=int(before_end(episodes, exposure.second_course).sum()),
        new_immunosuppressant=int(before_end(episodes, new_drug).sum()),
        steroid_rescue=None if rule.steroid_rescue is None else int(before_end(episodes, study.rescues.steroid).sum()),
        rescue_before_normal=int((in_set & (rescue_day != NO_TIME) & (rescue_day <= episodes.start)).sum()),
        time_to_first_normal=_first_normal(context),
        strategies=strategies(context, by_strategy, strategy),
        follow_up=_follow_up(context, times),
        sustained=sustained_normality(context, in_set),
        proportion_of_time_normal=proportion_normal(context),
        patients=spells(context) if context.listed else None,
    )


def _interval_censored(context: Context, strategy: RescueStrategy) -> IntervalCensored | None:
    if context.protocol.ck_normal_time.primary_estimate != "interval" or strategy == "competing":
        return None
    return spell_intervals(context.study, strategy, context.conventions, level=context.level)


def _follow_up(context: Context, times: Times) -> FollowUp:
    censored = times.outcomes.cause[times.in_set] == CENSORED
    curve = product_limit(context, times.outcomes.duration[times.in_set], censored)
    return FollowUp(n=curve.n, censored=curve.events, median=curve.median)


def spells(context: Context) -> tuple[Spell, ...]:
    """The first spell of each patient that is listed, under the strategy in force."""
    study, strategy = context.study, strategy_in_force(context)
    episodes, outcomes, in_set = study.remission_episodes, study.outcomes(strategy), in_risk_set(context)
    event = is_event(strategy, outcomes)
    days, sustained = study.days_normal, study.sustained.start
    followed_twice = study.efficacy & (days.days > 0)
    causes = (None, *CAUSES)
    return tuple(
        Spell(
            patient=patient,
            start=int(episodes.start[i]) if in_set[i] else None,
            duration=int(outcomes.duration[i]) if in_set[i] else None,
            event=bool(event[i]) if in_set[i] else None,
            ended_by=causes[outcomes.cause[i]],
            reason=episodes.reason[i],
            sustained_from=int(sustained[i]) if study.efficacy[i] and sustained[i] != NO_TIME else None,
            days_followed=int(days.days[i]) / 2 if followed_twice[i] else None,
            days_normal=int(days.carried_forward[i]) / 2 if followed_twice[i] else None,
            days_normal_midpoint=int(days.midpoint[i]) / 2 if followed_twice[i] else None,
        )
        for i, patient in enumerate(context.ids)
        if context.lists(patient)
    )


def _first_normal(context: Context) -> TimeToFirstNormal:
    first = context.study.first_normal
    curve = product_limit(context, first.time[first.evaluable], first.reached[first.evaluable])
    return TimeToFirstNormal(
        n=curve.n,
        normal_at_baseline=first.reason.count(ExclusionReason.NORMAL_AT_BASELINE),
        events=curve.events,
        median=curve.median,
        curve=curve.curve,
        numbers_at_risk=curve.numbers_at_risk,
    )


def normality_excluded(context: Context) -> list[Excluded]:
    """The patients left out of the time with normal CK, then those left out of the time to the first normal CK."""
    return [
        *context.excluded(context.study.remission_episodes.reason, "CK", estimate="time_normal"),
        *context.excluded(context.study.first_normal.reason, "CK", estimate="time_to_first_normal"),
    ]


def undetermined(study: DerivedStudy) -> dict[FlagCode, int]:
    """The flag that counts CKs of unknown normality."""
    return {FlagCode.UNDETERMINED: study.ck_undetermined}


def normality_flags(context: Context) -> list[Flag]:
    """The flags of CK, of unknown normality and of second courses."""
    second_course = {FlagCode.SECOND_COURSE: context.study.exposure.flags[FlagCode.SECOND_COURSE]}
    of_ck = context.flags_of("CK", undetermined(context.study) | second_course)
    return [*of_ck, *context.flags_of_orders("medications", steroids=False)]


QUESTION = Question(
    "ck-normal-time",
    "For how long does CK stay normal?",
    CkNormalTimes,
    ck_normal_time,
    _basis,
    options_type=CkNormalTimeOptions,
    in_report=True,
)
