"""Adverse events by severity and by term: a patient counts once, at the worst that is known."""

from collections import defaultdict
from collections.abc import Iterable
from typing import get_args

from pydantic import Field

from app.estimate.results import Result
from app.timeline.cohort import Events
from app.timeline.vocabulary import Severity

SEVERITIES: tuple[str | None, ...] = (*reversed(get_args(Severity)), None)
"""Worst first; an unknown severity is the worst only of patients of whom no other is known."""
_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}


class SeverityCount(Result):
    """Events of one severity."""

    severity: str | None = Field(description="The severity; null where it was not sent.", examples=["mild", None])
    patients: int = Field(description="Patients for whom it is the worst that is known.", examples=[5])
    events: int = Field(description="Events of this severity.", examples=[7])


class TermDetail(Result):
    """Events of one term."""

    term: str = Field(
        description="The term as sent; spellings that differ in case only are one.", examples=["Headache"]
    )
    patients: int = Field(description="Patients who had it.", examples=[2])
    events: int = Field(description="How often.", examples=[2])
    patients_with_serious_event: int = Field(description="Patients in whom it was serious.", examples=[0])
    serious_events: int = Field(description="How often it was serious.", examples=[0])
    by_severity: tuple[SeverityCount, ...] = Field(
        description="The same by severity, worst first; each patient once.",
        examples=[[{"severity": "mild", "patients": 2, "events": 2}]],
    )


def by_severity(events: Events) -> tuple[SeverityCount, ...]:
    """Every severity, worst first, with the patients whose worst it is."""
    return _counted(zip(events.patient.tolist(), events.severity, strict=True), every=True)


def by_term(events: Events) -> tuple[TermDetail, ...]:
    """Every term, the one of most patients first; spellings that differ in case only are one, shown in the spelling
    that comes first in code-point order.
    """
    had: dict[str, list[tuple[int, str | None, bool]]] = defaultdict(list)
    spelling: dict[str, str] = {}
    rows = zip(events.patient.tolist(), events.severity, events.serious, events.term, strict=True)
    for patient, severity, serious, term in rows:
        shown = term.strip()
        key = shown.casefold()
        had[key].append((patient, severity, serious is True))
        spelling[key] = min(spelling.get(key, shown), shown)
    details = [_detail(spelling[key], each) for key, each in had.items()]
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
