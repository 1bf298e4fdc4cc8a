"""For how long CK stays normal once it is, and how long it takes to become so."""

import numpy as np
from pydantic import Field

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
from app.derive.ck_normal import UNKNOWN
from app.derive.exposure import first_new_drug_day
from app.derive.segments import INCLUDED, any_where, first_reason
from app.derive.study import DerivedStudy
from app.estimate.results import CurvePoint, Median, RestrictedMean, Result, Survival
from app.estimate.survival import kaplan_meier, restricted_mean
from app.timeline.columns import NO_TIME, Bools, Ints

NAME = "ck-normal-time"


class TimeToFirstNormal(Result):
    """Days from the first infusion to the first normal CK."""

    n: int = Field(description="Efficacy set with a CK of known normality after day 0.", examples=[15])
    events: int = Field(description="Patients whose CK became normal.", examples=[13])
    median: Median = Field(description="Median time to the first normal CK.")
    curve: tuple[CurvePoint, ...] = Field(description="Share not yet normal.", examples=[[]])


class Spell(Contribution):
    """The first spell of normal CK of one patient."""

    start: int | None = Field(description="Day of the first normal CK after day 0.", examples=[21])
    duration: int | None = Field(
        description="Days to the first later abnormal CK, or to the last known one.", examples=[41]
    )
    event: bool | None = Field(description="Whether CK became abnormal again.", examples=[True])
    reason: str | None = Field(description="Why the patient is not in the risk set.", examples=[None, "never_normal"])


class NormalTime(Grouped):
    """The time with normal CK, from the first normal CK after treatment to the first later abnormal one."""

    n: int = Field(
        description="Patients in the risk set: CK abnormal at baseline and normal afterwards.", examples=[13]
    )
    events: int = Field(description="Of these, patients whose CK became abnormal again.", examples=[8])
    never_normal: int = Field(description="Patients whose CK never became normal; not in the risk set.", examples=[2])
    normal_at_baseline: int = Field(
        description="Patients whose CK was normal before; a stratum of their own.", examples=[0]
    )
    median: Median = Field(description="Median time for which CK stays normal.")
    curve: tuple[CurvePoint, ...] = Field(description="Kaplan-Meier curve, one row an event time.", examples=[[]])
    rmst: RestrictedMean = Field(description="Restricted mean of the time.")
    second_course: int = Field(
        description="Patients of the risk set with a second course before the spell ended; the strategy ignores it.",
        examples=[0],
    )
    new_immunosuppressant: int = Field(
        description="Patients of the risk set who began one of the protocol's immunosuppressants after day 0 and "
        "before the spell ended; the strategy ignores it.",
        examples=[0],
    )
    time_to_first_normal: TimeToFirstNormal = Field(description="How long it took to become normal.")
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
    for context in contexts(study, options):
        results.append(_normal_time(context))
        found.excluded += context.excluded(context.study.spells.reason, "CK", estimate="time_normal")
        reasons = first_normal_reasons(context.study)
        found.excluded += context.excluded(reasons, "CK", estimate="time_to_first_normal")
        found.flags += _flags(context)
    rule = study.protocol.ck_normal_time
    definition = Definition(id="first_normal_to_first_abnormal", parameters=rule.model_dump(mode="json"))
    caveats = ("conditioned_on_normalising", "seen_at_visits_only", "uncontrolled_pre_post", "definitions_are_ours")
    return CkNormalTimes(results=tuple(results), **shared(NAME, study, options, found, caveats, definition))


def _normal_time(context: Context) -> NormalTime:
    study = context.study
    spells = study.spells
    in_set = np.array([reason == INCLUDED for reason in spells.reason], dtype=np.bool_)
    durations, relapsed = spells.duration[in_set], spells.relapsed[in_set]
    curve = _curve(context, durations, relapsed)
    exposure = study.exposure
    second_course = np.where(exposure.courses > 1, exposure.second_course_day - exposure.day0, NO_TIME)
    new_drug = first_new_drug_day(study.cohort, exposure, context.protocol.ck_normal_time.immunosuppressants)
    return NormalTime(
        group=context.group,
        n=curve.n,
        events=curve.events,
        never_normal=spells.reason.count("never_normal"),
        normal_at_baseline=spells.reason.count("normal_at_baseline"),
        median=curve.median,
        curve=curve.curve,
        rmst=restricted_mean(durations, relapsed, until=context.protocol.ck_normal_time.rmst_until_days),
        second_course=int((in_set & _before_end(study, second_course)).sum()),
        new_immunosuppressant=int((in_set & _before_end(study, new_drug)).sum()),
        time_to_first_normal=_first_normal(context),
        patients=_spells(context) if context.listed else None,
    )


def _spells(context: Context) -> tuple[Spell, ...]:
    spells = context.study.spells
    rows = zip(context.ids, spells.reason, spells.start, spells.duration, spells.relapsed, strict=True)
    return tuple(
        Spell(patient=patient, start=None, duration=None, event=None, reason=reason)
        if reason
        else Spell(patient=patient, start=int(start), duration=int(duration), event=bool(relapsed), reason=None)
        for patient, reason, start, duration, relapsed in rows
    )


def _first_normal(context: Context) -> TimeToFirstNormal:
    first = context.study.first_normal
    curve = _curve(context, first.time[first.evaluable], first.reached[first.evaluable])
    return TimeToFirstNormal(n=curve.n, events=curve.events, median=curve.median, curve=curve.curve)


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


def _before_end(study: DerivedStudy, day: Ints) -> Bools:
    """Whether a rescue on this day from day 0 (`NO_TIME` for none) came before the end of the spell, not on its day."""
    before: Bools = (day != NO_TIME) & (day < study.spells.start + study.spells.duration)
    return before


def first_normal_reasons(study: DerivedStudy) -> tuple[str, ...]:
    """Why a patient is not in the estimate of the time to the first normal CK; empty for those who are."""
    records = study.records("CK")
    after = records.day > 0
    return first_reason(
        (
            *study.left_out,
            ("no_value_after_baseline", ~any_where(records.patient, records.size, after)),
            ("normality_unknown", ~any_where(records.patient, records.size, after & (study.ck_known != UNKNOWN))),
        ),
        records.size,
    )


def _flags(context: Context) -> list[Flag]:
    records = context.study.records("CK")
    counts = dict(records.flags)
    counts["undetermined"] = int((context.study.ck_known == UNKNOWN).sum())
    counts["second_course"] = context.study.exposure.flags["second_course"]
    counts["baseline_too_old"] = int((context.study.baseline_too_old("CK") & context.study.efficacy).sum())
    return context.flags(counts, "CK")


QUESTION = Question(NAME, "For how long does CK stay normal?", CkNormalTimes, ck_normal_time, in_report=True)
