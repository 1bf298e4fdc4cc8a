"""A second implementation of sums of glucocorticoids and of the time to a low dose: day by day, in fractions.

`doses_of(periods, last)` -> `{day: dose or None}` of the days that a period covers, up to the day `last`. A period is
(first day, last day or None, dose a day or None). A dose of None is not known.
"""

from collections.abc import Sequence
from fractions import Fraction

Period = tuple[int, int | None, Fraction | None]
Day = dict[int, Fraction | None]


def doses_of(periods: Sequence[Period], last: int, *, stopped: bool = False) -> Day:
    """The dose of each day from day 0 to `last`; a day that is absent is a gap."""
    found: Day = {}
    for day in range(last + 1):
        taken = [dose for first, end, dose in periods if _is_taken(first, end, day, periods)]
        if taken:
            found[day] = None if None in taken else sum((dose for dose in taken if dose is not None), Fraction())
        elif stopped and periods and all(end is not None and end < day for _, end, _ in periods):
            found[day] = Fraction()
    return found


def _is_taken(first: int, end: int | None, day: int, periods: Sequence[Period]) -> bool:
    if day < first or (end is not None and day > end):
        return False
    gives_way = day == end and first < day and any(other == day for other, _, _ in periods)
    return not gives_way


def total(doses: Day, days: int) -> Fraction | None:
    """The sum over the days 0 to `days` - 1; None where one of them is not known."""
    found = [doses.get(day) for day in range(days)]
    return None if None in found else sum((dose for dose in found if dose is not None), Fraction())


def time_to_low(doses: Day, last: int, low: Fraction, sustained: int) -> tuple[int, bool] | None:
    """The day on which the dose was low for the first time and stayed so, or the last known day, and whether it was;
    None for a patient who is not at risk.
    """
    start = doses.get(0)
    if start is None or start <= low:
        return None
    day = 0
    while day < last and doses.get(day + 1) is not None:
        day += 1
    known = [doses[each] for each in range(day + 1)]
    for first in range(1, day + 1):
        run = known[first : first + sustained]
        if len(run) == sustained and all(dose is not None and dose <= low for dose in run):
            return first, True
    return day, False
