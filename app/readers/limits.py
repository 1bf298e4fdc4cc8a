"""Limits of normal: the one reader of ranges as text, and the rules for limits that every format applies.

A limit is never guessed. What stands where a limit should be and cannot be read is left out and said so.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from app.timeline.document import GREATEST_VALUE, normalised
from app.timeline.receipts import Note, NoteCode
from app.timeline.vocabulary import UNITS, CodeBook


class NormalLimits(NamedTuple):
    """Lower and upper limit of normal in the unit of the result.

    `unreadable`: something else, or more than this, stood there and could not be read.
    """

    lower: float | None = None
    upper: float | None = None
    unreadable: bool = False

    @property
    def notes(self) -> tuple[Note, ...]:
        """What the receipt of the result says of them."""
        return (Note(NoteCode.LIMIT_UNREADABLE),) if self.unreadable else ()


NO_LIMITS = NormalLimits()
UNREADABLE = NormalLimits(unreadable=True)

_LONGEST = 80
_SIGNS: dict[int, str] = {
    **dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f"), " "),
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc"), "-"),
    **dict.fromkeys(map(ord, "\u301c\u223c"), "~"),
    **dict.fromkeys(map(ord, "\u2264\u2266\u2a7d"), "<"),
    **dict.fromkeys(map(ord, "\u2265\u2267\u2a7e"), ">"),
}
"""Blanks, dashes, and the signs for `at most` and `at least`, each as one character. NFKC would make 52 of a 5 with a
raised 2.
"""
_NUMBER = r"([0-9]{1,9}(?:[.,][0-9]{1,9})?)"
_UNIT = r"(?: *([^\W\d_\[]\S*|\[\S*))?"
_FIRST_UNIT = r"(?: *([^\W\d_\[][^\s~<>-]*|\[[^\s~<>-]*))?"
_BETWEEN = re.compile(rf"{_NUMBER}{_FIRST_UNIT} *(?:[-~]|to) *{_NUMBER}{_UNIT}", re.IGNORECASE)
_AT_MOST = re.compile(rf"(?:<=?|=<|up to) *{_NUMBER}{_UNIT}", re.IGNORECASE)
_AT_LEAST = re.compile(rf"(?:>=?|=>) *{_NUMBER}{_UNIT}")
_CLOSING = {"(": ")", "[": "]"}


def read_limits(text: str, unit: str | None, codes: CodeBook, decimal: str = ".") -> NormalLimits:
    """The limits that a text states for a result in `unit`.

    Read are `30-200`, `30 to 200`, `<200`, `<=200`, `up to 200`, and `>30`, which has no upper limit; with any dash,
    in brackets, in full width, and with a unit. A unit of the same kind as `unit` is converted; without one the limits
    are in `unit`. `<25` and `<=25` give the same limit, because in this service a result equal to its limit is normal.
    Any other text is unreadable: a word, a sex or an age, two ranges, a lower limit above the upper one, or a number
    with another decimal mark than `decimal`.
    """
    plain = text.strip() if text.isascii() else normalised(text).translate(_SIGNS).strip()
    if not plain:
        return NO_LIMITS
    if len(plain) > _LONGEST:
        return UNREADABLE
    for within, unit_after in _unbracketed(plain):
        limits = _stated(within, unit_after, unit, codes, decimal)
        if limits is not None:
            return limits
    return UNREADABLE


def limit_in_unit(number: Decimal, written_unit: str | None, unit: str | None) -> float | None:
    """A limit in the unit of its result, rounded once; `None` if its unit is of another kind or is not known."""
    if written_unit is None or written_unit == unit:
        return float(number)
    own, given = UNITS.get(unit or ""), UNITS.get(written_unit)
    if own is None or given is None or own.quantity != given.quantity:
        return None
    if own.factor == given.factor:
        return float(number)
    return float(Fraction(number) * Fraction(given.factor) / Fraction(own.factor))


def checked_limits(lower: float | None, upper: float | None) -> NormalLimits:
    """These limits, or `UNREADABLE` if they cannot be limits of normal, or not both."""
    if lower is not None and not 0 <= lower <= GREATEST_VALUE:
        return UNREADABLE
    if upper is not None and not (lower or 0) <= upper <= GREATEST_VALUE:
        return UNREADABLE
    return UNREADABLE if upper == 0 else NormalLimits(lower, upper)


def joined_limits(limits: NormalLimits, text: NormalLimits) -> NormalLimits:
    """Limits that were sent as numbers, and the text beside them: it gives what is missing.

    If they contradict each other, nothing is known. A text that cannot be read is of no importance beside two limits.
    """
    if text.unreadable or limits.unreadable:
        return limits if None not in limits[:2] else limits._replace(unreadable=True)
    if _differ(limits.lower, text.lower) or _differ(limits.upper, text.upper):
        return UNREADABLE
    lower = text.lower if limits.lower is None else limits.lower
    return checked_limits(lower, text.upper if limits.upper is None else limits.upper)


def _differ(number: float | None, other: float | None) -> bool:
    """Whether two limits differ by more than the rounding of a conversion."""
    return number is not None and other is not None and abs(number - other) > 1e-12 * max(number, other)


def _unbracketed(text: str) -> Iterator[tuple[str, str]]:
    """What a text may say: the range, and the unit that follows its bracket. A unit may have brackets of its own."""
    if text[0] not in _CLOSING:
        yield text, ""
        return
    for i, char in enumerate(text):
        if char == _CLOSING[text[0]]:
            yield text[1:i].strip(), text[i + 1 :].strip()


def _stated(within: str, unit_after: str, unit: str | None, codes: CodeBook, decimal: str) -> NormalLimits | None:
    """The limits of a text without brackets around it; `None` if it is no range, or in no unit of this kind."""
    at_most = _AT_MOST.fullmatch(within)
    match = at_most or _BETWEEN.fullmatch(within) or _AT_LEAST.fullmatch(within)
    if match is None:
        return None
    numbers, units = match.groups()[::2], match.groups()[1::2]
    if not all(number.isdigit() or decimal in number for number in numbers):
        return None
    if (unit_after and any(units)) or (units[0] and not units[-1]):
        return None
    last = units[-1] or unit_after or None  # of `30-200 U/L` for both
    limits = [
        limit_in_unit(Decimal(number.replace(",", ".")), codes.unit(own or last), unit)
        for number, own in zip(numbers, units, strict=True)
    ]
    if None in limits:
        return None
    return checked_limits(None, limits[0]) if at_most else checked_limits(limits[0], (*limits, None)[1])
