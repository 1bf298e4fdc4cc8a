"""Which record is the baseline, and which record serves each planned week.

One record serves one week only. No value is carried forward.
"""

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.chunks import chunks
from app.derive.per_patient import NONE, last_where
from app.protocol.criteria import DaysWindow, VisitWindow
from app.protocol.model import Visits
from app.timeline.cohort import Bools, Ints


def baseline(records: AnalysisValues, oldest_days: int | None) -> Ints:
    """The row of each patient's last record on or before day 0, at most `oldest_days` before it."""
    return last_where(records.patient, records.size, before_treatment(records, oldest_days))


def before_treatment(records: AnalysisValues, oldest_days: int | None) -> Bools:
    """Whether each record is of day 0 or at most `oldest_days` before it; None for any age."""
    before: Bools = records.day <= 0
    return before if oldest_days is None else before & (records.day >= -oldest_days)


def visit_rows(records: AnalysisValues, visits: Visits, oldest_days: int | None) -> dict[int, Ints]:
    """The row of each patient for each declared week; week 0 is the baseline, which serves no other week.

    A value older than `oldest_days` is no baseline, but may serve a week.
    """
    weeks = (0, *visits.weeks)
    targets = 7 * np.array(weeks)
    rows = np.full((len(weeks), records.size), NONE, dtype=np.int64)
    first, place_of_day = _windows(visits)
    for chunk in chunks(records.patient, records.size):
        mine = records.of_chunk(chunk)
        base = baseline(mine, oldest_days)
        place = place_of_day.take(mine.day - first, mode="clip")
        place[base[base != NONE]] = 0
        inside = np.flatnonzero(place != 0)
        place, patient = place[inside], mine.patient[inside]
        chosen = _nearest(patient, place, mine.day[inside], targets)
        rows[0, chunk.patients] = np.where(base == NONE, NONE, base + chunk.rows.start)
        rows[place[chosen], patient[chosen] + chunk.patients.start] = inside[chosen] + chunk.rows.start
    return dict(zip(weeks, rows, strict=True))


def _windows(visits: Visits) -> tuple[int, Ints]:
    """For each day from a first one on, the place of the week among the declared ones, counted from 1, in whose window
    it lies; 0 for none, and at both ends. Windows do not overlap.
    """
    sides = [side_of_window(week, visits) for week in visits.weeks]
    first = min(low for low, _ in sides) - 1
    places = np.zeros(max(high for _, high in sides) + 2 - first, dtype=np.int64)
    for place, (low, high) in enumerate(sides, 1):
        places[low - first : high + 1 - first] = place
    return first, places


def _nearest(patient: Ints, place: Ints, day: Ints, targets: Ints) -> Bools:
    """Whether each row is the nearest of its patient and window to the target day of its place; of two equally near,
    the later is.

    Rows are in order of days, no two of a patient on one day. So the distances in a window fall and then rise, and a
    row is the nearest if neither neighbour is nearer.
    """
    shared = np.flatnonzero((place[1:] == place[:-1]) & (patient[1:] == patient[:-1]))
    target = targets[place[shared]]
    first_is_nearer = np.abs(day[shared] - target) < np.abs(day[shared + 1] - target)
    nearest = np.ones(len(place), dtype=np.bool_)
    nearest[np.where(first_is_nearer, shared + 1, shared)] = False
    return nearest


def side_of_window(week: int, visits: Visits) -> tuple[int, int]:
    """First and last day of the window of a week other than 0; the window does not cross day 0."""
    low, high = window(week, visits)
    return (max(low, 1), high) if week > 0 else (low, min(high, -1))


def judged_days(judged: DaysWindow | VisitWindow, visits: Visits) -> tuple[int, int]:
    """First and last day, counted from day 0, of the values that a criterion judges; a second value may follow."""
    return judged.days if isinstance(judged, DaysWindow) else window(judged.week, visits)


def confirming_week(week: int, visits: Visits) -> int:
    """The next planned week."""
    return min(each for each in visits.weeks if each > week)


def window(week: int, visits: Visits) -> tuple[int, int]:
    """First and last day of the window of a week, counted from day 0."""
    target = 7 * week
    if visits.rule == "nearest_within":
        return target - visits.tolerance_days, target + visits.tolerance_days
    targets = [7 * declared for declared in sorted({0, *visits.weeks})]
    place = targets.index(target)
    before = target - targets[place - 1] if place > 0 else targets[place + 1] - target
    after = targets[place + 1] - target if place + 1 < len(targets) else before
    # A day half-way between two targets belongs to the later week, so the earlier window ends before that day. The
    # outermost window has no neighbour and keeps it.
    low = target - before // 2
    high = target + (after - 1) // 2 if place + 1 < len(targets) else target + after // 2
    return low, high
