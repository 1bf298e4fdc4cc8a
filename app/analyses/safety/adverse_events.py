"""Adverse events: their rates per unit of each exposure and in risk windows after infusions, and their severity."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from pydantic import Field

from app.analyses.all_treated import AllTreated
from app.analyses.answer import (
    Answer,
    Basis,
    Context,
    Contribution,
    Definition,
    Findings,
    Grouped,
    Options,
    Question,
    not_listed,
)
from app.analyses.claims import rate
from app.analyses.safety.adverse_reactions import event_flags, of_all_events
from app.analyses.undecided_facts import DAY_0_AND_RESCUE
from app.derive.reasons import ExclusionReason
from app.derive.risk_windows import UNKNOWN, RiskWindows, risk_windows
from app.derive.study import DerivedStudy
from app.estimate.rates.clustered import Amounts, Counts, clustered_rate, clustered_rate_ratio
from app.estimate.rates.poisson import RateRatio, event_rate, rate_ratio
from app.estimate.rates.proportion import proportion
from app.estimate.results import EventRate, Interval, Number, Result, WhyNull
from app.protocol.model import AdverseReactions
from app.timeline.cohort import NO_TIME, Bools, Events, Floats, Ints
from app.timeline.vocabulary import Severity

DEFAULT_WINDOWS = ((0, 1), (2, 14))
_DAYS_A_YEAR = 365.25
_MILLIGRAM = 3
"""Decimals to which grams are rounded: sums of tenths have rounding errors beyond them."""

SEVERITIES: tuple[str | None, ...] = (*reversed(get_args(Severity)), None)
"""Worst first; unknown comes last: it counts only for patients without any known severity."""
_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}


class SeverityCount(Result):
    """Events of one severity."""

    severity: str | None = Field(description="The severity; null where it was not sent.", examples=["mild", None])
    patients: int = Field(description="Patients for whom it is the worst known severity.", examples=[5])
    events: int = Field(description="Events of this severity.", examples=[7])


class TermDetail(Result):
    """Events of one term."""

    term: str = Field(
        description="The term as sent; spellings that differ only in case are one term.", examples=["Headache"]
    )
    patients: int = Field(description="Patients who had it.", examples=[2])
    events: int = Field(description="Events with this term.", examples=[2])
    patients_with_serious_event: int = Field(description="Patients in whom it was serious.", examples=[0])
    serious_events: int = Field(description="Serious events with this term.", examples=[0])
    by_severity: tuple[SeverityCount, ...] = Field(
        description="The counts by severity, worst first; each patient counts once.",
        examples=[[{"severity": "mild", "patients": 2, "events": 2}]],
    )


def by_severity(events: Events) -> tuple[SeverityCount, ...]:
    """Every severity, worst first, with its events and the patients for whom it is the worst."""
    return _counted(zip(events.patient.tolist(), events.severity, strict=True), every=True)


def by_term(events: Events) -> tuple[TermDetail, ...]:
    """Every term, most patients first. Spellings that differ only in case are one term, shown in the spelling that
    comes first in code-point order.
    """
    by_key: dict[str, list[tuple[int, str | None, bool]]] = defaultdict(list)
    spelling: dict[str, str] = {}
    rows = zip(events.patient.tolist(), events.severity, events.serious, events.term, strict=True)
    for patient, severity, serious, term in rows:
        shown = term.strip()
        key = shown.casefold()
        by_key[key].append((patient, severity, serious is True))
        spelling[key] = min(spelling.get(key, shown), shown)
    details = [_detail(spelling[key], rows_of_term) for key, rows_of_term in by_key.items()]
    return tuple(sorted(details, key=lambda row: (-row.patients, -row.events, row.term)))


def _detail(term: str, rows: list[tuple[int, str | None, bool]]) -> TermDetail:
    serious = [patient for patient, _, is_serious in rows if is_serious]
    return TermDetail(
        term=term,
        patients=len({patient for patient, _, _ in rows}),
        events=len(rows),
        patients_with_serious_event=len(set(serious)),
        serious_events=len(serious),
        by_severity=_counted([(patient, severity) for patient, severity, _ in rows], every=False),
    )


def _counted(rows: Iterable[tuple[int, str | None]], *, every: bool) -> tuple[SeverityCount, ...]:
    worst: dict[int, int] = {}
    events = dict.fromkeys(SEVERITIES, 0)
    for patient, severity in rows:
        events[severity] += 1
        worst[patient] = min(worst.get(patient, len(SEVERITIES)), _RANK[severity])
    patients = list(worst.values())
    return tuple(
        SeverityCount(severity=severity, patients=patients.count(rank), events=events[severity])
        for rank, severity in enumerate(SEVERITIES)
        if every or events[severity]
    )


class SafetyOptions(Options):
    """The common options, and which events are counted."""

    events: Literal["related", "all"] = Field(
        default="related",
        description="`related`: adverse reactions, by the relations that the protocol counts; `all`: every adverse "
        "event on or after the first infusion.",
        examples=["related"],
    )


class SafetyRate(Grouped):
    """Events per unit of one exposure."""

    of: Literal["events", "serious_events"] = Field(description="Which events.", examples=["events"])
    per: EventRate = Field(description="The rate; its interval assumes that events are independent.")
    patients: int = Field(description="Patients whose exposure is known.", examples=[16])
    clustered: Interval = Field(description="Interval of the rate that allows for different rates of patients.")


class WindowRate(Grouped):
    """Events in one window after an infusion."""

    first_day: int | None = Field(
        description="First day after an infusion (0: the day of the infusion); null for the time outside all windows.",
        examples=[0],
    )
    last_day: int | None = Field(description="Last day after an infusion.", examples=[1])
    patients_with_event: int = Field(description="Patients with an event in the window.", examples=[3])
    per: EventRate = Field(description="Events per day in the window.")
    clustered: Interval = Field(description="Interval of the rate that allows for different rates of patients.")
    ratio: RateRatio | None = Field(
        description="The rate divided by the rate outside all windows: exact interval, then the interval that allows "
        "for different rates of patients; null for the time outside."
    )


class PatientSafety(Contribution):
    """One treated patient."""

    events: int = Field(description="Events.", examples=[1])
    serious_events: int = Field(description="Of these, serious.", examples=[0])
    infusions: int = Field(description="Infusions.", examples=[5])
    courses: int = Field(description="Courses.", examples=[1])
    grams: Number | None = Field(
        description="Immunoglobulin in g; null where a dose or the weight is unknown.", examples=[120]
    )
    follow_up_days: int = Field(description="Days from day 0 to the last known fact.", examples=[365])
    days_in_windows: tuple[int, ...] = Field(
        description="Days in each risk window and, last, outside all.", examples=[[6, 13, 346]]
    )
    events_in_windows: tuple[int, ...] = Field(
        description="Events in each risk window and, last, outside all.", examples=[[1, 0, 0]]
    )


class SafetyCount(Grouped):
    """Patients with events, over the safety set."""

    safety: int = Field(description="Patients with at least one infusion started.", examples=[16])
    patients_with_event: int = Field(description="Patients with an event.", examples=[7])
    rate: Number | None = Field(description="patients_with_event / safety, a fraction.", examples=[0.4375])
    reason: WhyNull = None
    intervals: tuple[Interval, ...] = Field(description="Intervals of that fraction.", examples=[[]])
    all_treated: AllTreated = Field(description="The same over all treated patients: nobody is missing.")
    events: int = Field(description="Events.", examples=[9])
    patients_with_serious_event: int = Field(description="Patients with a serious event.", examples=[0])
    serious_events: int = Field(description="Serious events.", examples=[0])
    onset_unknown: int = Field(description="Events without an onset, which are in no risk window.", examples=[0])
    until_first: EventRate = Field(
        description="Patients with an event per patient-year, where time ends with the first event; patients whose "
        "events all lack an onset are left out."
    )
    by_severity: tuple[SeverityCount, ...] = Field(
        description="By severity, worst first; each patient counts once.", examples=[[]]
    )
    by_term: tuple[TermDetail, ...] = Field(description="By term, most patients first.", examples=[[]])
    patients: tuple[PatientSafety, ...] | None = Field(
        default=None, exclude_if=not_listed, description="Each treated patient, where `patients=true`.", examples=[[]]
    )


class Safety(Answer):
    """Adverse events: rates per unit of each exposure, risk windows after infusions, severity and terms."""

    results: tuple[SafetyCount, ...] = Field(description="One entry, or one for each subgroup.", examples=[[]])
    rates: tuple[SafetyRate, ...] = Field(
        description="One entry for each exposure, then the same for serious events.", examples=[[]]
    )
    risk_windows: tuple[WindowRate, ...] = Field(
        description="One entry for each window, then the time outside all.", examples=[[]]
    )


def safety(context: Context) -> Findings:
    """Every rate over the safety set."""
    study, options = context.study, context.options_as(SafetyOptions)
    reactions = study.reactions
    chosen = reactions.related if options.events == "related" else np.ones(len(reactions.events), dtype=np.bool_)
    events, serious = reactions.events.where(chosen), reactions.serious[chosen]
    windows = windows_of(context.protocol.adverse_reactions)
    at_risk = risk_windows(study.exposure, study.follow_up_days, events, windows)
    grams = _grams(study)
    unknown = [ExclusionReason.DOSE_UNKNOWN if no_dose else None for no_dose in study.safety & np.isnan(grams)]
    row = _count(context, events, serious, grams, at_risk)
    named = "Adverse reactions" if options.events == "related" else "Adverse events"
    return Findings(
        {
            "results": [row],
            "rates": _rates(context, events, serious, grams),
            "risk_windows": _windows(context, events, at_risk, windows),
        },
        [
            *context.excluded(context.untreated, "adverse_events"),
            *context.excluded(unknown, "adverse_events", estimate="per_gram"),
        ],
        event_flags(context),
        claims=[rate(f"{named} as reported", row.all_treated, row.patients_with_event, row.safety)],
    )


def _basis(whole: Context) -> Basis:
    related = whole.options_as(SafetyOptions).events == "related"
    rules = whole.protocol.adverse_reactions
    parameters = {"risk_windows": [list(days) for days in windows_of(rules)]}
    definition = Definition(
        id="related_on_or_after_first_infusion" if related else "any_on_or_after_first_infusion",
        parameters=rules.model_dump(mode="json") | parameters if related else parameters,
    )
    return Basis(("spontaneous_reports", "events_not_independent", "definitions_are_ours"), definition)


def windows_of(rules: AdverseReactions) -> tuple[tuple[int, int], ...]:
    """The declared risk windows, or the default ones."""
    return rules.risk_windows or DEFAULT_WINDOWS


def _count(context: Context, events: Events, serious: Bools, grams: Floats, at_risk: RiskWindows) -> SafetyCount:
    study = context.study
    with_event = len(np.unique(events.patient))
    treated = int(study.safety.sum())
    estimate = proportion(with_event, treated, level=context.level, methods=context.proportion_methods)
    return SafetyCount(
        group=context.group,
        safety=estimate.n,
        patients_with_event=with_event,
        rate=estimate.rate,
        reason=estimate.reason,
        intervals=estimate.intervals,
        all_treated=of_all_events(context, events.patient),
        events=len(events),
        patients_with_serious_event=len(np.unique(events.patient[serious])),
        serious_events=int(serious.sum()),
        onset_unknown=int((at_risk.window == UNKNOWN).sum()),
        until_first=_until_first(context, events),
        by_severity=by_severity(events),
        by_term=by_term(events),
        patients=_listed(context, events, serious, grams, at_risk) if context.listed else None,
    )


def _until_first(context: Context, events: Events) -> EventRate:
    """Exposure-adjusted incidence: time ends with the first event; days are counted as in follow-up."""
    study, size = context.study, len(context.study.cohort)
    known = events.where(events.day != NO_TIME)
    days = study.follow_up_days.copy()
    np.minimum.at(days, known.patient, known.day - study.exposure.day0[known.patient] + 1)
    with_event, dated = (np.bincount(each.patient, minlength=size) > 0 for each in (events, known))
    kept = ~with_event | dated
    return event_rate(int(dated.sum()), int(days[kept].sum()) / _DAYS_A_YEAR, "patient-year", level=context.level)


def _rates(context: Context, events: Events, serious: Bools, grams: Floats) -> tuple[SafetyRate, ...]:
    study, size = context.study, len(context.study.cohort)
    exposures: dict[str, Amounts] = {
        "patient": study.safety.astype(np.int64),
        "infusion": study.exposure.infusions,
        "course": study.exposure.courses,
        "gram": grams,
        "patient-year": study.follow_up_days,
    }
    kinds: tuple[tuple[Literal["events", "serious_events"], Ints], ...] = (
        ("events", events.patient),
        ("serious_events", events.patient[serious]),
    )
    return tuple(
        _rate(context, of, np.bincount(patients, minlength=size), exposure, unit)
        for of, patients in kinds
        for unit, exposure in exposures.items()
    )


def _rate(
    context: Context, of: Literal["events", "serious_events"], events: Counts, exposure: Amounts, unit: str
) -> SafetyRate:
    known = context.study.safety & ~np.isnan(exposure)
    events, exposure = events[known], exposure[known]
    total: float = int(exposure.sum()) if exposure.dtype == np.int64 else round(float(exposure.sum()), _MILLIGRAM)
    if unit == "patient-year":
        total, exposure = total / _DAYS_A_YEAR, exposure / _DAYS_A_YEAR
    return SafetyRate(
        group=context.group,
        of=of,
        per=event_rate(int(events.sum()), total, unit, level=context.level),
        patients=int(known.sum()),
        clustered=clustered_rate(events, exposure, level=context.level),
    )


def _windows(
    context: Context, events: Events, at_risk: RiskWindows, windows: tuple[tuple[int, int], ...]
) -> tuple[WindowRate, ...]:
    days, counts = at_risk.days, at_risk.events
    totals = [(int(count.sum()), int(time.sum())) for count, time in zip(counts, days, strict=True)]
    rows: list[WindowRate] = []
    for number, (first, last) in enumerate((*windows, (None, None))):
        ratio = None
        if first is not None:
            exact = rate_ratio(*totals[number], *totals[-1], level=context.level)
            clustered = clustered_rate_ratio(counts[number], days[number], counts[-1], days[-1], level=context.level)
            ratio = exact.model_copy(update={"intervals": (*exact.intervals, clustered)})
        rows.append(
            WindowRate(
                group=context.group,
                first_day=first,
                last_day=last,
                patients_with_event=int((counts[number] > 0).sum()),
                per=event_rate(*totals[number], "patient-day", level=context.level),
                clustered=clustered_rate(counts[number], days[number], level=context.level),
                ratio=ratio,
            )
        )
    return tuple(rows)


def _grams(study: DerivedStudy) -> Floats:
    """Immunoglobulin in all courses of each patient in g, NaN where it is unknown or none was given."""
    total = np.full(len(study.cohort), np.nan)
    total[study.safety] = 0.0
    np.add.at(total, study.courses.patient, study.courses.grams)
    return np.round(total, _MILLIGRAM)


def _listed(
    context: Context, events: Events, serious: Bools, grams: Floats, at_risk: RiskWindows
) -> tuple[PatientSafety, ...]:
    study, size, ids = context.study, len(context.study.cohort), context.ids
    counts = np.bincount(events.patient, minlength=size), np.bincount(events.patient[serious], minlength=size)
    return tuple(
        PatientSafety(
            patient=ids[i],
            events=int(counts[0][i]),
            serious_events=int(counts[1][i]),
            infusions=int(study.exposure.infusions[i]),
            courses=int(study.exposure.courses[i]),
            grams=None if np.isnan(grams[i]) else float(grams[i]),
            follow_up_days=int(study.follow_up_days[i]),
            days_in_windows=tuple(at_risk.days[:, i].tolist()),
            events_in_windows=tuple(at_risk.events[:, i].tolist()),
        )
        for i in np.flatnonzero(study.safety).tolist()
        if context.lists(ids[i])
    )


QUESTION = Question(
    "safety",
    "How often did adverse events occur per unit of exposure, how soon after an infusion, and how severe were they?",
    Safety,
    safety,
    _basis,
    options_type=SafetyOptions,
    depends_on=(*DAY_0_AND_RESCUE, "adverse_event"),
)
