"""Which record is the baseline, and which record serves each planned week.

One record serves one week only. No value is carried forward.
"""

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.chunks import chunks
from app.derive.per_patient import NONE, last_where, nearest_of
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
    rows = {week: np.full(records.size, NONE, dtype=np.int64) for week in (0, *visits.weeks)}
    days = {week: side_of_window(week, visits) for week in visits.weeks}
    for chunk in chunks(records.patient, records.size):
        mine = records.of_chunk(chunk)
        base = baseline(mine, oldest_days)
        chosen = {0: base}
        for week, (low, high) in days.items():
            within = np.flatnonzero((mine.day >= low) & (mine.day <= high))
            free = within[base[mine.patient[within]] != within]
            chosen[week] = nearest_of(mine.patient, mine.size, free, mine.day, 7 * week)
        for week, local in chosen.items():
            rows[week][chunk.patients] = np.where(local == NONE, NONE, local + chunk.rows.start)
    return rows


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
