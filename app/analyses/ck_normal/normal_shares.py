"""How much of the time CK was normal, and normality that a second CK confirms."""

import numpy as np
from pydantic import Field

from app.analyses.frame import Context
from app.estimate.results import CurvePoint, Median, Number, Reason, Result, Summary, Survival, WhyNull
from app.estimate.summary import summarise
from app.estimate.times.competing import event_free
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
    told = efficacy & (found.days > 0)
    followed = found.days[told]
    rules = {"carried_forward": found.carried_forward[told], "midpoint": found.midpoint[told]}
    return ProportionNormal(
        n=int(told.sum()),
        too_few_draws=int((efficacy & ~told).sum()),
        by_rule=tuple(_share(rule, normal, followed) for rule, normal in rules.items()),
    )


def product_limit(context: Context, durations: Ints, events: Bools) -> Survival:
    """The Kaplan-Meier curve under the conventions in force."""
    asked = context.conventions
    return event_free(
        durations,
        events,
        causes_known=1,
        level=context.level,
        interval=asked.interval,
        median=asked.median,
        plateau=asked.plateau,
    )


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
