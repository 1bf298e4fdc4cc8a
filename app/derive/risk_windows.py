"""The days and the adverse events of each patient in windows of days after an infusion.

A day after several infusions belongs to one window only: the first declared window that fits one of the infusions.
Windows are in ascending order and do not overlap, so this is the window with the smallest distance. The days outside
all windows are the time for comparison. Time is counted in whole days, from day 0 to the end of follow-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.derive.exposure import Exposure
from app.timeline.cohort import NO_TIME, Bools, Events, Infusions, Ints

UNKNOWN = -1
"""The window of an event whose onset is unknown."""
Windows = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class RiskWindows:
    """`days` and `events` have one row for each window, a last row for the time outside all windows, and one column for
    each patient. `window` is the row of each event, `UNKNOWN` if its onset is unknown.
    """

    days: Ints
    events: Ints
    window: Ints


def risk_windows(exposure: Exposure, follow_up_days: Ints, events: Events, windows: Windows) -> RiskWindows:
    """The days of each patient in each window after an infusion, and the number of events with onset in it."""
    given, size = exposure.given, len(exposure.day0)
    of_window = window_of(given, events, windows)
    outside = len(windows)
    known = of_window != UNKNOWN
    counted = np.zeros((outside + 1, size), dtype=np.int64)
    np.add.at(counted, (of_window[known], events.patient[known]), 1)
    reached = [_reached(exposure, follow_up_days, windows[: number + 1]) for number in range(outside)]
    until = np.stack([np.zeros(size, dtype=np.int64), *reached, follow_up_days])
    return RiskWindows(np.diff(until, axis=0), counted, of_window)


def window_of(given: Infusions, events: Events, windows: Windows) -> Ints:
    """The window of each event; `len(windows)` for events outside all windows, `UNKNOWN` for events without onset.

    An event with a clock time before all infusions of its day counts from an earlier infusion.
    """
    unknown = events.day == NO_TIME
    chosen = np.where(unknown, UNKNOWN, len(windows))
    if not len(given) or unknown.all():
        return chosen
    floor = int(min(given.day.min(), events.day[~unknown].min())) - max(last for _, last in windows) - 1
    span = int(max(given.day.max(), events.day.max())) - floor + 1
    infused = np.unique(given.patient * span + (given.day - floor))
    at = events.patient * span + np.where(unknown, 0, events.day - floor)
    latest = at - _before_infusions_of_the_day(given, events)
    for number in range(len(windows) - 1, -1, -1):
        first, last = windows[number]
        place = np.searchsorted(infused, np.minimum(at - first, latest), side="right") - 1
        inside = (place >= 0) & (infused[np.maximum(place, 0)] >= at - last) & ~unknown
        chosen[inside] = number
    return chosen


def _before_infusions_of_the_day(given: Infusions, events: Events) -> Bools:
    """Whether an event has a clock time earlier than every infusion that its patient had on its day."""
    before = np.zeros(len(events), dtype=np.bool_)
    earliest: dict[tuple[int, int], int] = {}
    timed = np.flatnonzero(events.instant != NO_TIME)
    if not len(timed):
        return before
    # Infusions are in order of time, those without a clock time first. So the first of a day is compared.
    for who, day, instant in zip(given.patient.tolist(), given.day.tolist(), given.instant.tolist(), strict=True):
        earliest.setdefault((who, day), instant)
    for i in timed.tolist():
        infusion = earliest.get((int(events.patient[i]), int(events.day[i])), NO_TIME)
        before[i] = infusion != NO_TIME and int(events.instant[i]) < infusion
    return before


def _reached(exposure: Exposure, follow_up_days: Ints, windows: Windows) -> Ints:
    """The days of each patient's follow-up that lie in at least one of the windows after any infusion."""
    given, size = exposure.given, len(exposure.day0)
    day = given.day - exposure.day0[given.patient]
    end = follow_up_days[given.patient]
    start = np.concatenate([day + first for first, _ in windows])
    stop = np.concatenate([np.minimum(day + last + 1, end) for _, last in windows])
    patient = np.tile(given.patient, len(windows))
    kept = start < stop
    order = np.lexsort((start[kept], patient[kept]))
    patient, start, stop = patient[kept][order], start[kept][order], stop[kept][order]
    covered = np.zeros(size, dtype=np.int64)
    if not len(patient):
        return covered
    span = int(stop.max()) + 1
    furthest = np.maximum.accumulate(patient * span + stop) - patient * span
    earlier = np.concatenate([[0], furthest[:-1]])
    earlier[1:][patient[1:] != patient[:-1]] = 0
    np.add.at(covered, patient, np.maximum(0, stop - np.maximum(start, earlier)))
    return covered
