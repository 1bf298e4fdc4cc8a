"""Columns of NumPy as columns of a dataset: what is missing becomes `None`, a day becomes a date."""

from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np

from app.timeline.cohort import NO_TIME, Bools, Floats, Ints
from app.timeline.times import EPOCH_DAY


def texts(words: Iterable[str | None]) -> list[str | None]:
    """Words, the empty one missing."""
    return [word or None for word in words]


def numbers(values: Floats) -> list[float | None]:
    """Numbers, those missing that are none or too large to be written."""
    return [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def integers(values: Ints, known: Bools | None = None) -> list[int | None]:
    """Whole numbers; missing are those that are not known, or else `NO_TIME`."""
    present = values != NO_TIME if known is None else known
    return [value if there else None for value, there in zip(values.tolist(), present, strict=True)]


def dates(days: Ints) -> list[date | None]:
    """Calendar dates from days since 1970-01-01, `NO_TIME` missing."""
    made: dict[int, date | None] = {
        day: None if day == NO_TIME else date.fromordinal(day + EPOCH_DAY) for day in np.unique(days).tolist()
    }
    return [made[day] for day in days.tolist()]


def yes(flags: Bools) -> list[str | None]:
    """`Y` or missing."""
    return ["Y" if flag else None for flag in flags.tolist()]


def yes_no(flags: Sequence[bool | None]) -> list[str | None]:
    """`Y`, `N`, or missing."""
    return [None if flag is None else "Y" if flag else "N" for flag in flags]


def adam_days(days: Ints) -> Ints:
    """Days counted from day 0 as CDISC counts them: the day of the first infusion is 1, the day before it is -1."""
    return np.where(days == NO_TIME, NO_TIME, np.where(days >= 0, days + 1, days))


def since(days: Ints, day0: Ints) -> Ints:
    """Days from day 0, `NO_TIME` where either is."""
    return np.where((days == NO_TIME) | (day0 == NO_TIME), NO_TIME, days - day0)
