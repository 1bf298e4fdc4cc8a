"""Reads dates and times as they are written, and writes them.

A date stays a date, an offset is never dropped, and digits alone are never a time.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.errors import FaultCode

EPOCH_DAY = date(1970, 1, 1).toordinal()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_MICROSECONDS = 86_400_000_000
FIRST_DAY = date(1900, 1, 1).toordinal() - EPOCH_DAY
NO_DAY = FIRST_DAY - 1
"""The stored day of a withdrawal that gives no time. No fact may name this day."""
CLOCK_SKEW = timedelta(hours=24)

TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2}))?$"
DATE_PATTERN = r"^\d{4}-\d{2}-\d{2}$"
"""The documented patterns of a time and a date; `read_time` and `read_day` check these and more."""
PARTIAL_PATTERN = r"^\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2}))?)?)?$"
"""The same of a time, a date, a month or a year."""
TIME_FORM = "YYYY-MM-DD, or an RFC 3339 date-time with an offset from -12:00 to +14:00"
INSTANT_FORM = "an RFC 3339 date-time with an offset from -12:00 to +14:00"
DATE_FORM = "YYYY-MM-DD"
PARTIAL_FORM = f"YYYY, YYYY-MM, {TIME_FORM}"
"""The same in words. The time of a version, and of a question about the past, is an instant and not a date."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CLOCK = re.compile(r"T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?(?:(Z)|([+-]\d{2}):([0-5]\d))?", re.ASCII)
_SECOND = 1_000_000
_LEAST_OFFSET, _GREATEST_OFFSET = -12 * 3600 * _SECOND, 14 * 3600 * _SECOND


class Moment(NamedTuple):
    """A point in time as a sender wrote it.

    `day` is the calendar date as written, in days since 1970-01-01. `instant` is microseconds since 1970-01-01T00:00Z,
    `None` if only a date was sent. `utc` says that the time was written with `Z` (or `-00:00`): the instant is then
    known, but not the calendar day at the laboratory.
    """

    day: int
    instant: int | None
    utc: bool


def microseconds(at: datetime) -> int:
    """Microseconds from 1970-01-01T00:00Z to an aware datetime, computed with integers only."""
    gap = at - EPOCH
    return gap.days * DAY_MICROSECONDS + gap.seconds * 1_000_000 + gap.microseconds


def read_time(text: str, latest: int) -> Moment | FaultCode:
    """The moment that `text` names, or the code of its fault.

    `latest` is the latest acceptable instant in microseconds (see `latest_acceptable`). Digits beyond microseconds are
    cut.
    """
    try:
        day = _day(text[:10])
        since_midnight, timed, utc = _clock(text[10:])
    except _Unreadable as refusal:
        return refusal.code
    instant = day * DAY_MICROSECONDS + since_midnight
    if instant > latest:
        return FaultCode.FUTURE_TIME
    if day < FIRST_DAY:
        return FaultCode.OUT_OF_RANGE
    return Moment(day, instant if timed else None, utc)


class Moments(NamedTuple):
    """Many moments, by columns."""

    days: list[int]
    instants: list[int | None]
    utc: list[bool]


def read_times(texts: Sequence[str], latest: int, first: int) -> Moments | None:
    """What `read_time` gives for each text, if all can be read and none is before the day `first`; else `None`."""
    try:
        days = [_day(text[:10]) for text in texts]
        clocks = [_clock(text[10:]) for text in texts]
    except _Unreadable:
        return None
    instants = [day * DAY_MICROSECONDS + since for day, (since, _, _) in zip(days, clocks, strict=True)]
    if not days or max(instants) > latest or min(days) < max(first, FIRST_DAY):
        return None
    timed = [instant if known else None for instant, (_, known, _) in zip(instants, clocks, strict=True)]
    return Moments(days, timed, [utc for _, _, utc in clocks])


def read_day(text: str, latest: int) -> int | FaultCode:
    """The calendar date that `text` names in days since 1970-01-01, or the code of its fault."""
    moment = read_time(text, latest) if len(text) == 10 else FaultCode.BAD_TIME
    return moment if isinstance(moment, FaultCode) else moment.day


def first_day(text: str) -> str:
    """The first day of a month (`2005-03`) or a year (`2005`); any other text is returned unchanged."""
    return text + {4: "-01-01", 7: "-01"}.get(len(text), "")


class _Unreadable(Exception):
    def __init__(self, code: FaultCode) -> None:
        super().__init__(code)
        self.code = code


# Many results have the same date or the same clock time, so what was read is kept. Text that cannot be read is not
# kept, so that it does not fill the memory.
@lru_cache(maxsize=16_384)
def _day(text: str) -> int:
    """A date in days since 1970-01-01."""
    if _DATE.fullmatch(text) is None:
        raise _Unreadable(FaultCode.BAD_TIME)
    try:
        return date.fromisoformat(text).toordinal() - EPOCH_DAY
    except ValueError:
        raise _Unreadable(FaultCode.BAD_TIME) from None


@lru_cache(maxsize=16_384)
def _clock(text: str) -> tuple[int, bool, bool]:
    """The part after a date: microseconds since its midnight in UTC, whether there is a time, whether it is in UTC."""
    if text == "":
        return 0, False, False
    shape = _CLOCK.fullmatch(text)
    if shape is None:
        raise _Unreadable(FaultCode.BAD_TIME)
    hours, minutes, seconds, fraction, zulu, offset_hours, offset_minutes = shape.groups()
    since = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * _SECOND + int((fraction or "0")[:6].ljust(6, "0"))
    if zulu is not None:
        return since, True, True
    if offset_hours is None:
        raise _Unreadable(FaultCode.NO_OFFSET)
    offset = (abs(int(offset_hours)) * 3600 + int(offset_minutes) * 60) * _SECOND
    if offset_hours[0] == "-":
        offset = -offset
    if not _LEAST_OFFSET <= offset <= _GREATEST_OFFSET:
        raise _Unreadable(FaultCode.BAD_TIME)
    return since - offset, True, text.endswith("-00:00")


def with_offset(local: str, zone: ZoneInfo) -> str | FaultCode:
    """A local date-time without an offset (`2005-03-16T09:48:00`) with the offset that the zone had then.

    When the clocks of the zone change, some local times do not exist and others exist twice. Both give the code of a
    fault.
    """
    try:
        at = datetime.fromisoformat(local)
    except ValueError:
        return FaultCode.BAD_TIME
    first, second = (at.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    if first is None or first != second:
        return FaultCode.AMBIGUOUS_TIME
    minutes = first // timedelta(minutes=1)
    if first != timedelta(minutes=minutes):  # a historical local mean time has seconds, which an offset cannot have
        return FaultCode.BAD_TIME
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    return f"{local}{sign}{hours:02}:{rest:02}"


def latest_acceptable(now: datetime) -> int:
    """The latest instant that a document may name, in microseconds since 1970: `now` and 24 hours for wrong clocks."""
    return microseconds(now + CLOCK_SKEW)


def when_text(day: int, instant: int | None) -> str:
    """A time as a text by which times are compared: its instant or, of a date, its day."""
    return f"d{day}" if instant is None else str(instant)


def day_text(day: int) -> str:
    """A calendar date from days since 1970-01-01."""
    return date.fromordinal(day + EPOCH_DAY).isoformat()


def instant_text(instant: int) -> str:
    """An RFC 3339 time in UTC from microseconds since 1970-01-01T00:00Z."""
    return (EPOCH + timedelta(microseconds=instant)).isoformat().replace("+00:00", "Z")
