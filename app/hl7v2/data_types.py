"""Reads times and numbers of HL7 v2; they are returned in the form of the native format."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.errors import Accepts, Fault, FaultCode
from app.hl7v2.segments import Segment
from app.timeline.times import INSTANT_FORM, with_offset

VALUE = 5
"""OBX-5."""

_TIME = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:([01]\d|2[0-3])(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?(?:([+-]\d{2})(\d{2}))?", re.ASCII
)
_YEAR = re.compile(r"(\d{4})(?:\d{2}(?:\d{2}(?:\d{2}.*)?)?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})", re.ASCII)
_COMPARED = re.compile(r"([<>]=?)? *(.*)")
_COMPARATORS = {"": None, "=": None, "<": "<", ">": ">", "<=": "<=", ">=": ">="}

_TIMES: dict[FaultCode, str] = {
    FaultCode.BAD_TIME: "A time is a date YYYYMMDD, or has hours and minutes and an offset between -1200 and +1400.",
    FaultCode.NO_OFFSET: "A time with hours needs its offset (+/-ZZZZ), or the study must declare its time zone: "
    "without either, the laboratory day would be guessed.",
    FaultCode.AMBIGUOUS_TIME: "This local time does not exist on that day, or exists twice; send it with its offset.",
}
"""What is wrong with a time, in the words of HL7 v2."""
_TIME_FORM, _INSTANT_FORM = "YYYYMMDD[HHMM[SS[.S]]][+/-ZZZZ]", "YYYYMMDDHHMM[SS[.S]][+/-ZZZZ]"
BIRTH_FORM = Accepts(form="YYYY[MM[DD]]")
ACCEPTED_NUMBER = Accepts(form="digits with at most one decimal point, after one of < <= > >= if it is a bound")
ACCEPTED_COMPARATORS = Accepts(one_of=tuple(filter(None, _COMPARATORS)))


def read_time(text: str, zone: ZoneInfo | None) -> str | FaultCode:
    """A time stamp (`20050316094800+0900`) in RFC 3339, a date if it has no clock time, or its fault.

    A month without a day and an hour without minutes are faults. A clock time without an offset is a time of `zone`; it
    is a fault if there is no zone.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return FaultCode.BAD_TIME
    year, month, day, hour, minute, second, fraction, offset_hours, offset_minutes = match.groups()
    date = f"{year}-{month}-{day}"
    if hour is None:
        return date
    parts = (fraction or "").rstrip("0")
    local = f"{date}T{hour}:{minute}:{second or '00'}" + (f".{parts}" if parts else "")
    if offset_hours is not None:
        return f"{local}{offset_hours}:{offset_minutes}"
    return FaultCode.NO_OFFSET if zone is None else with_offset(local, zone)


def in_hl7_form(fault: Fault, *, instant: bool = False) -> Fault:
    """The fault of a time in the words of HL7 v2, also where the reader of our own times found it; any other fault
    unchanged. `instant`: the time needs hours and minutes.
    """
    if fault.code not in _TIMES or fault.detail is not None:
        return fault
    instant = instant or (fault.accepts is not None and fault.accepts.form == INSTANT_FORM)
    return replace(fault, detail=_TIMES[fault.code], accepts=Accepts(form=_INSTANT_FORM if instant else _TIME_FORM))


def read_year(text: str) -> int | FaultCode:
    """The year of a date of birth; the rest of the date is not read."""
    match = _YEAR.fullmatch(text)
    return int(match[1]) if match else FaultCode.BAD_TIME


class Value(NamedTuple):
    """The number in OBX-5; with a comparator it is a bound."""

    number: float | None
    comparator: str | None = None


ValueOrFault = Value | FaultCode | None
"""A value, its fault, or `None` if there is no value."""


def read_value(obx: Segment) -> ValueOrFault:
    """The value of a result whose kind is one of `KINDS`."""
    if not obx.raw(VALUE).strip() or obx.is_null(VALUE):
        return None
    if len(obx.texts(VALUE)) > 1:
        return FaultCode.REPEATED_VALUE
    kind = obx.text(2)
    return KINDS[kind](obx) if kind in KINDS else FaultCode.UNSUPPORTED


def _plain(obx: Segment) -> ValueOrFault:
    """`1101`, and also `<5` or `> 1000`, which many laboratories write where NM allows digits only."""
    return _number(obx.text(VALUE)) if obx.is_plain(VALUE) else FaultCode.BAD_NUMBER


def _structured(obx: Segment) -> ValueOrFault:
    """SN: comparator and number. A range, a ratio or a grade (`^70^-^105`, `^1^:^128`, `^3^+`) is no single number."""
    if obx.text(VALUE, 3) or obx.text(VALUE, 4):
        return FaultCode.UNSUPPORTED
    if obx.delimiters.subcomponent in obx.raw(VALUE):
        return FaultCode.BAD_NUMBER
    comparator, number = obx.text(VALUE, 1), obx.text(VALUE, 2)
    if comparator not in _COMPARATORS:
        return FaultCode.UNSUPPORTED if comparator == "<>" else FaultCode.UNKNOWN_VALUE
    if not _NUMBER.fullmatch(number):
        return FaultCode.BAD_NUMBER
    return Value(float(number), _COMPARATORS[comparator])


def _coded(obx: Segment) -> ValueOrFault:
    """A number that was sent as the code or as the text of a coded value without a coding system.

    If code and text differ, as in `12^1101`, it is not known which of them is the result: that is a fault.
    """
    texts = {text for component in (1, 2, 9) if (text := obx.text(VALUE, component))}
    if obx.text(VALUE, 3) or obx.delimiters.subcomponent in obx.raw(VALUE) or len(texts) != 1:
        return FaultCode.BAD_NUMBER
    return _number(texts.pop())


def _number(text: str) -> ValueOrFault:
    match = _COMPARED.fullmatch(text)
    if match is None or not _NUMBER.fullmatch(match[2]):
        return FaultCode.BAD_NUMBER
    return Value(float(match[2]), match[1])


KINDS: dict[str, Callable[[Segment], ValueOrFault]] = {
    "NM": _plain,
    "ST": _plain,
    "TX": _plain,
    "SN": _structured,
    "CE": _coded,
    "CWE": _coded,
}
"""What is read of each kind of value in OBX-2; results of other kinds (FT, ED, RP, DT ...) are skipped."""
