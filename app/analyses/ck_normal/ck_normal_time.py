"""For how long CK stays normal once it is, and how long it takes from day 0 to the first normal CK."""

from pydantic import Field

from app.analyses.ck_normal.normal_shares import (
    ProportionNormal,
    SustainedNormality,
    product_limit,
    proportion_normal,
    sustained_normality,
)
from app.analyses.ck_normal.normal_strategies import TimeByStrategy, Times, is_event, strategies, times_by_strategy
from app.analyses.frame import (
    Answer,
    Context,
    Contribution,
    Definition,
    Findings,
    Flag,
    Grouped,
    Options,
    Question,
    contexts,
    not_listed,
    shared,
)
from app.derive.ck.ck_normal import UNKNOWN
from app.derive.ck.ck_rescue import CAUSES, CENSORED, before_end
from app.derive.exposure import first_new_drug_day
from app.derive.segments import any_where, first_reason
from app.derive.study import DerivedStudy
from app.estimate.results import CurvePoint, Median, Number, RestrictedMean, Result, Survival
from app.estimate.times.survival import kaplan_meier
from app.protocol.ck_normal import RescueStrategy
from app.timeline.columns import NO_TIME, Bools, Ints

NAME = "ck-normal-time"


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


def ck_normal_time(study: DerivedStudy, options: Options) -> CkNormalTimes:
    """The first spell of normal CK of every patient."""
    results: list[NormalTime] = []
    found = Findings()
    rule = study.protocol.ck_normal_time
    strategy = strategy_asked(options) or rule.rescue
    for context in contexts(study, options):
        results.append(_normal_time(context, strategy))
        found.excluded += context.excluded(context.study.spells.reason, "CK", estimate="time_normal")
        reasons = first_normal_reasons(context.study)
        found.excluded += context.excluded(reasons, "CK", estimate="time_to_first_normal")
        found.flags += normality_flags(context)
    parameters = rule.model_copy(update={"rescue": strategy}).model_dump(mode="json")
    definition = Definition(id="first_normal_to_first_abnormal", parameters=parameters)
    caveats = ("conditioned_on_normalising", "seen_at_visits_only", "uncontrolled_pre_post", "definitions_are_ours")
    return CkNormalTimes(results=tuple(results), **shared(NAME, study, options, found, caveats, definition))


def strategy_asked(options: Options) -> RescueStrategy | None:
    """The strategy that was asked for; the whole report takes none."""
    return options.rescue if isinstance(options, NormalTimeOptions) else None


def _normal_time(context: Context, strategy: RescueStrategy) -> NormalTime:
    study = context.study
    spells, exposure = study.spells, study.exposure
    by_strategy = times_by_strategy(context)
    times = by_strategy[strategy]
    in_set, curve = times.in_set, times.curve
    new_drug = first_new_drug_day(study.cohort, exposure, context.protocol.ck_normal_time.immunosuppressants)
    rescue_day = study.rescues.treated
    return NormalTime(
        group=context.group,
        n=curve.n,
        events=curve.events,
        never_normal=spells.reason.count("never_normal"),
        normal_at_baseline=spells.reason.count("normal_at_baseline"),
        median=curve.median,
        curve=curve.curve,
        rmst=times.mean,
        second_course=int(before_end(spells, exposure.second_course).sum()),
        new_immunosuppressant=int(before_end(spells, new_drug).sum()),
        rescue_before_normal=int((in_set & (rescue_day != NO_TIME) & (rescue_day <= spells.start)).sum()),
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
    spells, outcomes, event = study.spells, times.outcomes, is_event(times)
    days, sustained = study.days_normal, study.sustained.start
    told = study.efficacy & (days.days > 0)
    names = (None, *CAUSES)
    return tuple(
        Spell(
            patient=patient,
            start=int(spells.start[i]) if times.in_set[i] else None,
            duration=int(outcomes.duration[i]) if times.in_set[i] else None,
            event=bool(event[i]) if times.in_set[i] else None,
            ended_by=names[outcomes.cause[i]],
            reason=spells.reason[i] or None,
            sustained_from=int(sustained[i]) if study.efficacy[i] and sustained[i] != NO_TIME else None,
            days_followed=int(days.days[i]) / 2 if told[i] else None,
            days_normal=int(days.carried_forward[i]) / 2 if told[i] else None,
            days_normal_midpoint=int(days.midpoint[i]) / 2 if told[i] else None,
        )
        for i, patient in enumerate(context.ids)
    )


def _first_normal(context: Context) -> TimeToFirstNormal:
    first = context.study.first_normal
    curve = _curve(context, first.time[first.evaluable], first.reached[first.evaluable])
    return TimeToFirstNormal(
        n=curve.n,
        normal_at_baseline=int((first.evaluable & context.study.normal_at_baseline).sum()),
        events=curve.events,
        median=curve.median,
        curve=curve.curve,
    )


def _curve(context: Context, durations: Ints, events: Bools) -> Survival:
    conventions = context.conventions
    return kaplan_meier(
        durations,
        events,
        level=context.level,
        interval=conventions.interval,
        median=conventions.median,
        plateau=conventions.plateau,
    )


def first_normal_reasons(study: DerivedStudy) -> tuple[str, ...]:
    """Why a patient is not in the estimate of the time to the first normal CK; empty for those who are."""
    return _first_normal_reasons(study, study.left_out)


def became_normal_reasons(study: DerivedStudy) -> tuple[str, ...]:
    """The same where patients whose CK was normal before are left out: it cannot become normal."""
    return _first_normal_reasons(study, (*study.left_out, ("normal_at_baseline", study.normal_at_baseline)))


def _first_normal_reasons(study: DerivedStudy, before: tuple[tuple[str, Bools], ...]) -> tuple[str, ...]:
    records = study.records("CK")
    after = records.day > 0
    return first_reason(
        (
            *before,
            ("no_value_after_baseline", ~any_where(records.patient, records.size, after)),
            ("normality_unknown", ~any_where(records.patient, records.size, after & (study.ck_known != UNKNOWN))),
        ),
        records.size,
    )


def normality_flags(context: Context) -> list[Flag]:
    """What was noticed of the CKs whose normality counts."""
    records = context.study.records("CK")
    counts = dict(records.flags)
    counts["undetermined"] = int((context.study.ck_known == UNKNOWN).sum())
    counts["second_course"] = context.study.exposure.flags["second_course"]
    counts["baseline_too_old"] = int((context.study.baseline_too_old("CK") & context.study.efficacy).sum())
    return context.flags(counts, "CK")


QUESTION = Question(
    NAME,
    "For how long does CK stay normal?",
    CkNormalTimes,
    ck_normal_time,
    options_type=NormalTimeOptions,
    in_report=True,
)
