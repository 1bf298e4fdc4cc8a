"""What a number in a cell means by its number format: a plain number, a date, or something else than is stored.

A cell stores a number; its format decides what a person sees. A date is a number of days. Where the number that is
seen is not the number that is stored (15 % is 0.15), it is not clear which one the sender means: the cell is refused.
"""

import re
from typing import Literal, NamedTuple

from app.errors import TooLarge
from app.readers.csv_lines import digits
from app.readers.table_dates import DateForm, clock_of, counted_day, written_in
from app.readers.workbook_package import MAIN, Package

MOST_STYLES = 65_536
LONGEST_FORMAT = 255
"""Greatest number of characters of a number format, as in the programs that write workbooks."""
Meaning = Literal["number", "date", "date and time", "other"]


class NumberFormat(NamedTuple):
    """What a number format shows; `zeros` is the number of digits that are filled up with zeros."""

    meaning: Meaning
    zeros: int = 0


PLAIN = NumberFormat("number")
_DATE, _DATE_TIME, _OTHER = NumberFormat("date"), NumberFormat("date and time"), NumberFormat("other")
_BUILT_IN = {
    **dict.fromkeys((*range(5), *range(11, 14), *range(37, 45), 48, 49), PLAIN),
    **dict.fromkeys((*range(14, 18), *range(27, 32), 36, *range(50, 55), 57, 58), _DATE),
    22: _DATE_TIME,
}
"""The formats that a workbook does not spell out (ECMA-376, part 1, 18.8.30); any other is a time of day or a share."""
_LITERAL = re.compile(r'"[^"]*"|\\.|[_*].|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE | re.DOTALL)
"""What a format writes as it is, its colours and conditions; `[h]` is a number of hours."""
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_SCALED = re.compile(r"[0#?],+(?![0#?,])")


def number_formats(package: Package, name: str | None) -> list[NumberFormat]:
    """The number format of each style of cells, in the order in which cells name them."""
    own: dict[str, NumberFormat] = {}
    found: list[NumberFormat] = []
    within = ""
    for depth, element, attributes in package.elements(name) if name is not None else ():
        if depth == 2:
            within = element
        elif element == f"{MAIN}numFmt" and within == f"{MAIN}numFmts":
            own[attributes.get("numFmtId", "")] = format_of_code(attributes.get("formatCode", ""))
        elif element == f"{MAIN}xf" and within == f"{MAIN}cellXfs" and depth == 3:
            number = attributes.get("numFmtId", "0")
            found.append(own.get(number) or _BUILT_IN.get(int(number) if number.isdecimal() else -1, _OTHER))
        if len(own) + len(found) > MOST_STYLES:
            raise TooLarge(f"A workbook may have {MOST_STYLES} styles.")
    return found


def format_of_code(code: str) -> NumberFormat:
    """What a number format shows, by its first section: that of positive numbers."""
    if len(code) > LONGEST_FORMAT:
        return _OTHER
    plain = _LITERAL.sub("", code).partition(";")[0].lower()
    if plain.strip() in {"general", "@"}:
        return PLAIN
    plain = re.sub(r"general|am/pm|a/p|e[+-]", "", plain)
    clock = bool(re.search("[hs]", plain))
    if re.search("[ydge]|m", plain):
        date = re.search("[ydge]", plain) or not clock
        return _OTHER if not date else _DATE_TIME if clock else _DATE
    if clock or "%" in plain or _SCALED.search(plain) or not re.search("[0#?]", plain):
        return _OTHER
    zeros = re.sub("[#?, ]", "", plain.partition(".")[0]).count("0")
    return NumberFormat("number", zeros if zeros > 1 else 0)


def number_text(stored: str, format: NumberFormat, *, from_1904: bool, dates: DateForm, decimal: str) -> str | None:
    """A stored number as the text of a cell: its digits, or its date in this form; `None` if it is not clear.

    Not clear are a time without a date, a share in per cent, a number that is shown in thousands or filled up with
    zeros, and a whole number of more than 15 digits, which a spreadsheet has rounded.
    """
    if format.meaning == "number" and stored.isdecimal() and stored.isascii() and len(stored) <= 15:
        return None if len(stored) < format.zeros else str(int(stored))
    if not _NUMBER.fullmatch(stored):
        return None
    number = float(stored)
    if format.meaning in {"date", "date and time"}:
        return date_text(number, with_clock=format.meaning != "date", from_1904=from_1904, dates=dates)
    if format.meaning == "other" or abs(number) >= 1e15 or len(str(int(abs(number)))) < format.zeros:
        return None
    return digits(number).replace(".", decimal)


def date_text(number: float, *, with_clock: bool, from_1904: bool, dates: DateForm) -> str | None:
    """A number of days as a date in this form, with its clock time if it has one or is shown with one."""
    at = counted_day(number, from_1904=from_1904)
    if at is None:
        return None
    clock = clock_of(at) or ("00:00:00" if with_clock else None)
    return written_in(dates, at.date()) + (f"T{clock}" if clock else "")
