"""A second implementation of courses: each course as a patient of its own, judged by the slow derivations.

`courses_of(patient, protocol)` -> `[Slow]`, the courses of a patient in the order in which they began. `Slow.patient`
is the patient as the course sees it: its own infusions only, and no draw after the first infusion of the next course.
"""

from dataclasses import dataclass, replace

from app.protocol.model import Protocol
from tests.twin import derivations as twin


@dataclass(frozen=True)
class Slow:
    """One course."""

    place: int
    first: int
    last: int
    infusions: int
    patient: twin.Patient
    previous: twin.Infusion | None


def courses_of(patient: twin.Patient, protocol: Protocol) -> list[Slow]:
    found = twin.course(patient, protocol).courses
    firsts = [_first_infusion(patient, course) for course in found]
    slow = []
    for i, course in enumerate(found):
        following = firsts[i + 1] if i + 1 < len(found) else None
        own = [
            infusion
            for infusion in patient.infusions
            if infusion.product == course.product and course.first <= infusion.date <= course.last
        ]
        draws = [draw for draw in patient.draws if following is None or not _after(draw, following)]
        seen = replace(patient, draws=draws, infusions=own, donors=patient.draws)
        slow.append(Slow(i + 1, course.first, course.last, len(own), seen, firsts[i - 1] if i else None))
    return slow


def baseline_after_previous(course: Slow, protocol: Protocol, measure: str) -> bool:
    """Whether the baseline was drawn after the first infusion of the course before."""
    record = twin.baseline(course.patient, protocol, measure)
    return record is not None and course.previous is not None and _after(record.draw, course.previous)


def _first_infusion(patient: twin.Patient, course: twin.Course) -> twin.Infusion:
    """The earliest infusion of a course; one without a clock time comes before all others of its day."""
    of_first_day = [i for i in patient.infusions if i.product == course.product and i.date == course.first]
    return min(of_first_day, key=lambda infusion: twin.earliest(infusion.instant))


def _after(draw: twin.Draw, infusion: twin.Infusion) -> bool:
    """On a later day, or later on the same day where both have a clock time."""
    if draw.date != infusion.date:
        return draw.date > infusion.date
    return draw.instant is not None and infusion.instant is not None and draw.instant > infusion.instant


# --- safety -----------------------------------------------------------------------------------------------------------

WORST_FIRST = ["fatal", "life_threatening", "severe", "moderate", "mild", None]


@dataclass(frozen=True)
class Watched:
    """A treated patient: the events that count, and for each risk window, and last outside all, days and events."""

    events: list[twin.Event]
    days: list[int]
    in_windows: list[int]


def watched(patient: twin.Patient, protocol: Protocol, windows: list[tuple[int, int]], *, related: bool) -> Watched:
    """Day by day from day 0 to the last thing known; a day is of the first window that an infusion puts it into."""
    treatment = twin.course(patient, protocol)
    counted = set(protocol.adverse_reactions.related)
    events = [
        event
        for event in patient.events
        if twin._on_treatment(event, treatment) and (not related or (event.related or "unknown") in counted)
    ]
    given = [infusion for infusion in patient.infusions if infusion.product in protocol.treatment.products]
    days = [0] * (len(windows) + 1)
    for date in range(treatment.date, last_known(patient) + 1):
        days[_window(date, [infusion.date for infusion in given], windows)] += 1
    in_windows = [0] * (len(windows) + 1)
    for event in events:
        if event.date is not None:
            of_day = [i.instant for i in given if i.date == event.date]
            earlier = event.instant is not None and all(i is not None and event.instant < i for i in of_day)
            dates = [i.date for i in given if i.date < event.date or (i.date == event.date and not earlier)]
            in_windows[_window(event.date, dates, windows)] += 1
    return Watched(events, days, in_windows)


def last_known(patient: twin.Patient) -> int:
    """The date of the last value, infusion of any product, event or end of participation."""
    dates = [draw.date for draw in patient.draws] + [infusion.date for infusion in patient.infusions]
    dates += [event.date for event in patient.events if event.date is not None]
    start = min(infusion.date for infusion in patient.infusions)
    last = max([start, *dates, *([patient.ended_date] if patient.ended_date is not None else [])])
    died = patient.ended_reason == "died" and patient.ended_date is not None and patient.ended_date >= start
    return min(last, patient.ended_date) if died else last


def _window(date: int, infusions: list[int], windows: list[tuple[int, int]]) -> int:
    for number, (first, last) in enumerate(windows):
        if any(first <= date - infusion <= last for infusion in infusions):
            return number
    return len(windows)


def severities(events_of_patients: list[list[twin.Event]]) -> dict[str | None, tuple[int, int]]:
    """`{severity: (patients whose worst it is, events)}`."""
    worst = [
        min((event.severity for event in events), key=WORST_FIRST.index) for events in events_of_patients if events
    ]
    found = [event.severity for events in events_of_patients for event in events]
    return {severity: (worst.count(severity), found.count(severity)) for severity in WORST_FIRST}
