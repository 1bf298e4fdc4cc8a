"""Dates of searches: a prefix and a date or time of any precision. A year means all of its days, a minute all of its
seconds.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import cast, get_args

from app.errors import Accepts, FaultCode
from app.store.resource_search import Bound, Prefix
from app.timeline.times import DAY_MICROSECONDS, EPOCH_DAY, microseconds

_SHAPE = re.compile(
    rf"(?P<prefix>{'|'.join(get_args(Prefix))})?"
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)(T(?P<clock>[0-9:.]+)(?P<offset>Z|[+ -]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?", re.ASCII)
SEARCHED_DATE = Accepts(form=f"[{'|'.join(get_args(Prefix))}]YYYY[-MM[-DD[Thh:mm[:ss[.sss]](Z or +hh:mm)]]]")
_MICROSECOND = timedelta(microseconds=1)


def bound(text: str, *, of_instants: bool = False) -> Bound | FaultCode:
    """The bound that a date parameter means, or what is wrong with it.

    A year, month or day is compared with the calendar day of a fact as its sender wrote it. With `of_instants` it is
    compared in UTC, because all those times are instants. A time of day needs its offset. A space instead of `+` is
    accepted: the decoding of an address can turn one into the other.
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return FaultCode.BAD_TIME
    prefix = cast(Prefix, shape["prefix"] or "eq")
    try:
        if shape["clock"] is not None:
            return _instants(prefix, shape)
        first, following = _days(shape)
    except (ValueError, OverflowError):
        return FaultCode.BAD_TIME
    if of_instants:
        return Bound("instant", prefix, first * DAY_MICROSECONDS, following * DAY_MICROSECONDS)
    return Bound("day", prefix, first, following)


def _days(shape: re.Match[str]) -> tuple[int, int]:
    """The first day of a year, month or day, and the first day after it, in days since 1970-01-01."""
    year, month, day = (int(shape[name] or 0) for name in ("year", "month", "day"))
    first = date(year, month or 1, day or 1)
    if day:
        following = first + timedelta(days=1)
    elif month:
        following = (first + timedelta(days=31)).replace(day=1)
    else:
        following = first.replace(year=year + 1)
    return first.toordinal() - EPOCH_DAY, following.toordinal() - EPOCH_DAY


def _instants(prefix: Prefix, shape: re.Match[str]) -> Bound | FaultCode:
    """The instants of a minute, a second or a fraction of a second."""
    clock = _CLOCK.fullmatch(shape["clock"])
    if clock is None:
        return FaultCode.BAD_TIME
    if shape["offset"] is None:
        return FaultCode.NO_OFFSET
    hours, minutes, seconds, fraction = clock.groups()
    at = datetime(
        int(shape["year"]), int(shape["month"]), int(shape["day"]), int(hours), int(minutes), int(seconds or 0),
        int((fraction or "0")[:6].ljust(6, "0")), tzinfo=_zone(shape["offset"]),
    )  # fmt: skip
    if fraction is not None:
        lasts = timedelta(microseconds=10 ** max(6 - len(fraction), 0))
    else:
        lasts = timedelta(minutes=1) if seconds is None else timedelta(seconds=1)
    low = microseconds(at)
    return Bound("instant", prefix, low, low + lasts // _MICROSECOND)


def _zone(offset: str) -> timezone:
    if offset == "Z":
        return UTC
    gap = timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
    return timezone(-gap if offset[0] == "-" else gap)
