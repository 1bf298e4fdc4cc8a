"""How many treated patients had an adverse reaction, and which reactions they were."""

from collections import defaultdict

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated, of_all_treated
from app.analyses.answer import (
    Answer,
    Basis,
    Context,
    Contribution,
    Definition,
    Findings,
    Flag,
    Grouped,
    Question,
    not_listed,
)
from app.analyses.claims import rate
from app.analyses.undecided_facts import DAY_0_AND_RESCUE
from app.derive.adverse_reactions import Reactions
from app.derive.reasons import FlagCode
from app.estimate.rates.poisson import event_rate
from app.estimate.rates.proportion import proportion
from app.estimate.results import EventRate, Interval, Number, Result, WhyNull
from app.timeline.cohort import Bools, Ints

_DAYS_A_YEAR = 365.25


class TermCount(Result):
    """Reactions of one term."""

    term: str = Field(
        description="The term as sent; spellings that differ only in case are one term.", examples=["Headache"]
    )
    patients: int = Field(description="Patients who had it.", examples=[2])
    events: int = Field(description="Reactions with this term.", examples=[2])


class PatientEvents(Contribution):
    """The events of one treated patient."""

    events: int = Field(description="Events on or after the first infusion.", examples=[1])
    reactions: int = Field(description="Of these, related.", examples=[1])
    serious_events: int = Field(description="Of these, serious.", examples=[0])


class Reaction(Grouped):
    """Adverse reactions over the safety set."""

    safety: int = Field(description="Patients with at least one infusion started.", examples=[16])
    patients_with_reaction: int = Field(description="Patients with at least one related event.", examples=[7])
    rate: Number | None = Field(description="patients_with_reaction / safety, a fraction.", examples=[0.4375])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of the rate.", examples=[[]])
    all_treated: AllTreated = Field(description="The same over all treated patients: nobody is missing.")
    patients_with_event: int = Field(description="Patients with any event, related or not.", examples=[8])
    events: int = Field(description="Events on or after the first infusion.", examples=[10])
    related_events: int = Field(description="Of these, related.", examples=[9])
    patients_with_serious_event: int = Field(description="Patients with a serious event, related or not.", examples=[0])
    serious_events: int = Field(description="Serious events, related or not.", examples=[0])
    serious_reactions: int = Field(description="Serious events that are related.", examples=[0])
    by_term: tuple[TermCount, ...] = Field(description="Reactions by term, most patients first.", examples=[[]])
    per_infusion: EventRate = Field(description="Reactions per infusion given.")
    per_course: EventRate = Field(description="Reactions per course given.")
    per_patient_year: EventRate = Field(description="Reactions per year of follow-up from the first infusion.")
    patients: tuple[PatientEvents, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each treated patient, where `patients=true`.", examples=[[]]
    )


class AdverseReactionRates(Answer):
    """Adverse reactions: how many patients had one, rates, and terms."""

    results: tuple[Reaction, ...] = Field(description="One entry, or one for each subgroup.", examples=[[]])


def adverse_reactions(context: Context) -> Findings:
    """Adverse reactions over the safety set."""
    excluded = context.excluded(context.untreated, "adverse_events")
    row = _count(context)
    claim = rate("Adverse reactions as reported", row.all_treated, row.patients_with_reaction, row.safety)
    return Findings({"results": [row]}, excluded, event_flags(context), claims=[claim])


def event_flags(context: Context) -> list[Flag]:
    """The flags of adverse events, then of infusions."""
    study = context.study
    counts = {**study.reactions.flags, FlagCode.ENDED_BEFORE_TREATMENT: study.ended_before_treatment}
    return [*context.flags(counts, "adverse_events"), *context.flags(study.exposure.flags, "infusions")]


def _basis(whole: Context) -> Basis:
    rules = whole.protocol.adverse_reactions.model_dump(mode="json")
    definition = Definition(id="related_on_or_after_first_infusion", parameters=rules)
    return Basis(("spontaneous_reports", "definitions_are_ours"), definition)


def _count(context: Context) -> Reaction:
    study, reactions = context.study, context.study.reactions
    everyone = np.ones(len(reactions.events), dtype=np.bool_)
    safety, with_reaction = int(study.safety.sum()), _patients(reactions, reactions.related)
    estimate = proportion(with_reaction, safety, level=context.level, methods=context.proportion_methods)
    related = int(reactions.related.sum())
    exposure, level = study.exposure, context.level
    years = int(study.follow_up_days.sum()) / _DAYS_A_YEAR
    return Reaction(
        group=context.group,
        safety=safety,
        patients_with_reaction=with_reaction,
        rate=estimate.rate,
        reason=estimate.reason,
        intervals=estimate.intervals,
        all_treated=of_all_events(context, reactions.events.patient[reactions.related]),
        patients_with_event=_patients(reactions, everyone),
        events=len(reactions.events),
        related_events=related,
        patients_with_serious_event=_patients(reactions, reactions.serious),
        serious_events=int(reactions.serious.sum()),
        serious_reactions=int((reactions.serious & reactions.related).sum()),
        by_term=_by_term(reactions),
        per_infusion=event_rate(related, int(exposure.infusions.sum()), "infusion", level=level),
        per_course=event_rate(related, int(exposure.courses.sum()), "course", level=level),
        per_patient_year=event_rate(related, years, "patient-year", level=level),
        patients=_listed(context) if context.listed else None,
    )


def of_all_events(context: Context, patients: Ints) -> AllTreated:
    """The patients with an event over everybody who was treated, up to the last fact of all: an event that was not
    reported is not missing but unknown.
    """
    having = np.bincount(patients, minlength=len(context.study.cohort)) > 0
    return of_all_treated(context, having, having, int(context.study.follow_up_days.max(initial=0)))


def _listed(context: Context) -> tuple[PatientEvents, ...]:
    reactions, size = context.study.reactions, len(context.study.cohort)
    patient = reactions.events.patient
    counts = (
        np.bincount(rows, minlength=size) for rows in (patient, patient[reactions.related], patient[reactions.serious])
    )
    rows = zip(context.ids, context.study.safety, *counts, strict=True)
    return tuple(
        PatientEvents(patient=who, events=int(events), reactions=int(reactions), serious_events=int(serious))
        for who, treated, events, reactions, serious in rows
        if treated and context.lists(who)
    )


def _patients(reactions: Reactions, chosen: Bools) -> int:
    return len(np.unique(reactions.events.patient[chosen]))


def _by_term(reactions: Reactions) -> tuple[TermCount, ...]:
    """Every term, most patients first. Spellings that differ only in case are one term, shown in the spelling that
    comes first in code-point order.
    """
    patients: dict[str, list[int]] = defaultdict(list)
    spelling: dict[str, str] = {}
    for patient, term in zip(
        reactions.events.patient[reactions.related], reactions.events.term[reactions.related], strict=True
    ):
        shown = term.strip()
        key = shown.casefold()
        patients[key].append(int(patient))
        spelling[key] = min(spelling.get(key, shown), shown)
    counted = [
        TermCount(term=spelling[key], patients=len(set(rows)), events=len(rows)) for key, rows in patients.items()
    ]
    return tuple(sorted(counted, key=lambda row: (-row.patients, -row.events, row.term)))


QUESTION = Question(
    "adverse-reactions",
    "How many patients had an adverse reaction, and which?",
    AdverseReactionRates,
    adverse_reactions,
    _basis,
    in_report=True,
    depends_on=(*DAY_0_AND_RESCUE, "adverse_event"),
)
