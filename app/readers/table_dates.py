"""The forms of dates that a table may declare. A date in another form than the declared one is never read."""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple, get_args

DateForm = Literal[
    "YYYY-MM-DD",
    "YYYY/MM/DD",
    "YYYYMMDD",
    "DD.MM.YYYY",
    "DD/MM/YYYY",
    "MM/DD/YYYY",
    "DD-MMM-YYYY",
    "excel-1900",
    "excel-1904",
]
DATE_FORMS: tuple[DateForm, ...] = get_args(DateForm)
ISO: DateForm = "YYYY-MM-DD"
"""The form of our own documents, which a table has if it declares none."""
CLOCK = "hh:mm[:ss[.s]][Z or +hh:mm], the offset at least where the study declares no time zone"

COUNTED: dict[DateForm, bool] = {"excel-1900": False, "excel-1904": True}
"""The forms in which a date is the number of its day, as spreadsheets count them; whether they count from 1904."""
_DAYS: dict[bool, datetime] = {False: datetime(1899, 12, 30), True: datetime(1904, 1, 1)}  # noqa: DTZ001 - as in a cell
_FIRST_DAY = {False: 61, True: 0}
"""The first day whose number is clear. Before March 1900 the numbers count a 29 February 1900, which did not exist."""
_LAST_DAY = 2_958_465
_NUMBER = re.compile(r"[0-9]{1,7}(?:[.,][0-9]{1,20})?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMBER_OF = {name: f"{number:02}" for number, name in enumerate(_MONTHS, 1)}
_PARTS = {
    "YYYY": r"(?P<year>\d{4})",
    "MMM": r"(?P<name>[A-Za-z]{3})",
    "MM": r"(?P<month>\d{2})",
    "DD": r"(?P<day>\d{2})",
}
_SHORT = {"MM": r"(?P<month>\d{1,2})", "DD": r"(?P<day>\d{1,2})"}
_PART = re.compile("YYYY|MMM|MM|DD")
_CLOCK = (
    r"(?P<clock>\d{2}:\d{2})(?P<seconds>:\d{2})?(?:(?:\.0{1,9})|(?P<fraction>\.\d{1,9}))?(?P<offset>Z|[+-]\d{2}:\d{2})?"
)


class WrittenTime(NamedTuple):
    """A time as a table has it: its date as `YYYY-MM-DD`, its clock time with seconds, and its offset."""

    day: str
    clock: str | None
    offset: str | None


def time_in(form: DateForm, written: str) -> WrittenTime | None:
    """The date, or date with a clock time, that a text in this form has; `None` if it is in another form.

    Whether there is such a day is not checked here.
    """
    if form in COUNTED:
        if not _NUMBER.fullmatch(written):
            return time_in(ISO, written)
        counted = counted_day(float(written.replace(",", ".")), from_1904=COUNTED[form])
        return None if counted is None else WrittenTime(counted.date().isoformat(), clock_of(counted), None)
    shape = _times(form).fullmatch(written)
    if shape is None:
        return None
    found = shape.groupdict()
    day = _iso(found)
    if day is None or found["clock"] is None:
        return None if day is None else WrittenTime(day, None, None)
    return WrittenTime(day, f"{found['clock']}{found['seconds'] or ':00'}{found['fraction'] or ''}", found["offset"])


def partial_in(form: DateForm, written: str) -> str | None:
    """The month (`2005-04`) or the year (`2005`) that a text in this form has, which is the form without its days."""
    for shape in _partials(form):
        if found := shape.fullmatch(written):
            return _iso(found.groupdict())
    return None


def counted_day(number: float, *, from_1904: bool) -> datetime | None:
    """The day of this number, with the time that its fraction is, to the millisecond: the number is no more precise.

    `None` if there is no such day, or if it is not clear.
    """
    if not _FIRST_DAY[from_1904] <= number < _LAST_DAY:
        return None
    return _DAYS[from_1904] + timedelta(milliseconds=round(number * 86_400_000))


def clock_of(at: datetime) -> str | None:
    """The clock time of a day that was counted; `None` if there is none."""
    if at.time() == datetime.min.time():
        return None
    return at.time().isoformat("milliseconds" if at.microsecond else "seconds")


def forms_of(written: str) -> tuple[DateForm, ...]:
    """The forms in which a text is a date that exists."""
    return tuple(
        form for form in DATE_FORMS if form not in COUNTED and (time := time_in(form, written)) and _exists(time.day)
    )


def written_in(form: DateForm, day: date) -> str:
    """A date in this form; a date that is counted as in our own documents."""
    form = ISO if form in COUNTED else form
    texts = {"YYYY": f"{day.year:04}", "MMM": _MONTHS[day.month - 1].upper(), "MM": f"{day.month:02}"}
    return _PART.sub(lambda part: texts.get(part[0], f"{day.day:02}"), form)


def _exists(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


def _iso(found: dict[str, str | None]) -> str | None:
    """The parts of a date as our own documents have them; `None` if the name of the month is no name."""
    month = found.get("month")
    if name := found.get("name"):
        month = _NUMBER_OF.get(name.lower())
        if month is None:
            return None
    parts = [found["year"], month and month.zfill(2), (found.get("day") or "").zfill(2) if found.get("day") else None]
    return "-".join(part for part in parts if part)


@cache
def _times(form: DateForm) -> re.Pattern[str]:
    return re.compile(rf"{_pattern(form)}(?:[T ]{_CLOCK})?", re.ASCII)


@cache
def _partials(form: DateForm) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(_pattern(part), re.ASCII) for part in partial_forms(form))


def partial_forms(form: DateForm) -> tuple[str, ...]:
    """A form without its days, and the year alone; none where a number is a day."""
    if form in COUNTED:
        return ()
    return tuple(dict.fromkeys(_without_days(form))) if form != "YYYYMMDD" else ("YYYYMM", "YYYY")


def _without_days(form: DateForm) -> Iterator[str]:
    yield re.sub(r"[-/.]?DD$|DD[-/.]", "", form)
    yield "YYYY"


def _pattern(form: str) -> str:
    """A form as a regular expression. Where something stands between the parts and the year is last, days and months
    may have one digit.
    """
    short = _SHORT if form.endswith(("/YYYY", ".YYYY")) else {}
    return _PART.sub(lambda part: (_PARTS | short)[part[0]], form.replace(".", r"\."))
