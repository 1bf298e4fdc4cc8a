"""Reads the cells of a table: numbers, times, and yes or no, as the dialect of the table declares them.

What a cell means is never guessed from its content. A cell that looks like another dialect is refused, and the refusal
names that dialect.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.errors import Accepts, Fault, FaultCode
from app.readers.table_dates import CLOCK, DateForm, forms_of, partial_forms, partial_in, time_in
from app.readers.table_rows import DecimalMark, Dialect
from app.timeline.document import normalised
from app.timeline.times import DATE_FORM, INSTANT_FORM, PARTIAL_FORM, TIME_FORM, with_offset

_WHOLE = re.compile(r"\d{1,16}", re.ASCII)
_NUMBERS: dict[DecimalMark, re.Pattern[str]] = {
    mark: re.compile(rf"-?(?:\d{{1,40}}(?:{re.escape(mark)}\d{{1,40}})?|{re.escape(mark)}\d{{1,40}})", re.ASCII)
    for mark in (".", ",")
}
_LIKE_THE_OTHER = re.compile(r"-?\d+[.,](?!\d{3}$)\d+", re.ASCII)
"""A number in the other dialect. `1,234` does not count, because its comma may be a thousands separator."""
_BAD_TIME = "A time is a calendar date, or a date with a clock time and an offset between -12:00 and +14:00."
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


class Trouble(NamedTuple):
    """Why a cell cannot be read; `detail` is a possible cause for the sender to check, `accepts` what would be read."""

    code: FaultCode
    detail: str | None = None
    accepts: Accepts | None = None


@dataclass(frozen=True, slots=True)
class CellReader:
    """Reads cells in a dialect. Times without an offset are in `zone`."""

    dialect: Dialect
    zone: ZoneInfo | None

    def number(self, written: str) -> float | Trouble:
        """A number with the declared decimal mark."""
        mark = self.dialect.decimal
        if _NUMBERS[mark].fullmatch(written):
            return float(written.replace(",", "."))
        other: DecimalMark = "," if mark == "." else "."
        guess = None
        if other in written and _LIKE_THE_OTHER.fullmatch(written):
            guess = f"This looks like a number with a decimal mark `{other}`; declare decimal={other} if it is."
        return Trouble(FaultCode.BAD_NUMBER, guess, Accepts(form=f"digits with at most one decimal mark `{mark}`"))

    def whole(self, written: str, accepts: Accepts | None) -> int | Trouble:
        """A whole number."""
        return int(written) if _WHOLE.fullmatch(written) else Trouble(FaultCode.BAD_NUMBER, None, accepts)

    def truth(self, written: str, *, listed: bool) -> bool | str | Trouble:
        """Yes or no, if the text is a word for it in any case. Where other words are `listed`, they are unchanged."""
        value = _TRUTH.get(written.lower())
        if value is not None or listed:
            return written if value is None else value
        return Trouble(FaultCode.UNKNOWN_VALUE, None, Accepts(one_of=tuple(_TRUTH)))

    def time(self, written: str) -> str | Trouble:
        """A time in the form of our own documents, with the offset of the zone if it is written without one."""
        form = self.dialect.dates
        shape = time_in(form, written)
        if shape is None:
            return Trouble(FaultCode.BAD_TIME, _hint(form, written), time_accepted(form))
        if shape.clock is None:
            return shape.day
        at = f"{shape.day}T{shape.clock}"
        if shape.offset is not None:
            return at + shape.offset
        local = with_offset(at, self.zone) if self.zone is not None else FaultCode.NO_OFFSET
        return Trouble(local, None, time_accepted(form)) if isinstance(local, FaultCode) else local

    def day(self, written: str) -> str | Trouble:
        """A date alone."""
        shape = time_in(self.dialect.dates, written)
        if shape is None or shape.clock is not None:
            return Trouble(FaultCode.BAD_TIME, _hint(self.dialect.dates, written), Accepts(form=self.dialect.dates))
        return shape.day

    def partial(self, written: str) -> str | Trouble:
        """A time, a month or a year."""
        form = self.dialect.dates
        part = partial_in(form, written)
        read = self.time(written) if part is None else part
        return read._replace(accepts=partial_accepted(form)) if isinstance(read, Trouble) else read


@lru_cache(maxsize=64)
def time_accepted(form: DateForm) -> Accepts:
    """What a cell with a time accepts."""
    return Accepts(form=f"{form}, or with a T or a blank after it {CLOCK}")


@lru_cache(maxsize=64)
def partial_accepted(form: DateForm) -> Accepts:
    """What a cell accepts that may have a month or a year alone."""
    listed = ", ".join([*reversed(partial_forms(form)), form])
    return Accepts(form=f"{listed}, or with a T or a blank after it {CLOCK}")


def in_table_form(fault: Fault, form: DateForm) -> Fault:
    """The fault of a time in the words of a table, because the reader of our own times found it; others unchanged."""
    if fault.code is not FaultCode.BAD_TIME or fault.accepts is None:
        return fault
    accepts = {
        DATE_FORM: Accepts(form=form),
        INSTANT_FORM: Accepts(form=f"{form}, with a T or a blank after it {CLOCK}"),
        PARTIAL_FORM: partial_accepted(form),
        TIME_FORM: time_accepted(form),
    }
    return replace(fault, detail=_BAD_TIME, accepts=accepts.get(fault.accepts.form or "", time_accepted(form)))


def number_or_trouble(number: str | FaultCode, written: str, why_not: Callable[[str], str | None]) -> str | Trouble:
    """A number as it is stored, or its trouble. In a table, a word for a missing number can be declared."""
    if not isinstance(number, FaultCode):
        return number
    why = why_not(normalised(written)) if number is FaultCode.BAD_IDENTIFIER else None
    return Trouble(number, why and f"{why} Keep the column as text; declare a word for a missing cell in `missing`.")


def _hint(form: DateForm, written: str) -> str:
    """The other forms in which the text is a date, as something to check."""
    other = [each for each in forms_of(written) if each != form]
    if not other:
        return _BAD_TIME
    return f"This looks like a date in the form {' or '.join(other)}; declare `dates` if it is."
