"""Reads times and numbers of HL7 v2; they are returned in the form of the native format."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from unicodedata import normalize
from zoneinfo import ZoneInfo

from app.errors import Accepts, Fault, FaultCode
from app.hl7v2.segments import Segment
from app.timeline.receipts import Note, NoteCode
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
    FaultCode.CONTRADICTION: "The offset of MSH-7 is not the one that the study's time zone had then: it is not known "
    "whose clock this is. Send the time with its offset.",
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


class ReadTime(NamedTuple):
    """A time in the native form, and the notes about it."""

    text: str
    notes: tuple[Note, ...] = ()


class Clock:
    """Reads the times of one message. Those without an offset are times of the study's zone.

    If the study declares no zone, they have the offset of the time of the message (MSH-7), as the standard says. If it
    declares one and MSH-7 has another offset than the zone had at MSH-7, it is not known whose clock they are from.
    `sent_at` is MSH-7; it is "" if its offset says nothing about other times.
    """

    def __init__(self, zone: ZoneInfo | None, sent_at: str) -> None:
        self.zone = zone
        match = _TIME.fullmatch(sent_at)
        self._offset = "" if match is None or match[8] is None else f"{match[8]}:{match[9]}"
        self._contradicts = bool(self._offset) and zone is not None and not _agrees(sent_at, self._offset, zone)

    def read(self, text: str) -> ReadTime | FaultCode:
        """A time stamp as `read_time` reads it, or its fault."""
        time = read_time(text, self.zone)
        match = _TIME.fullmatch(text)
        if match is None or match[4] is None or match[8] is not None:
            return time if isinstance(time, FaultCode) else ReadTime(time)
        if self._contradicts:
            return FaultCode.CONTRADICTION
        if self.zone is None and self._offset:
            time = read_time(text + self._offset.replace(":", ""), None)
            return time if isinstance(time, FaultCode) else ReadTime(time, (Note(NoteCode.ZONE_FROM_MESSAGE),))
        return time if isinstance(time, FaultCode) else ReadTime(time)


def _agrees(sent_at: str, offset: str, zone: ZoneInfo) -> bool:
    """Whether the zone had this offset at this time; true for a time that cannot be read."""
    time = read_time(sent_at, None)
    try:
        at = datetime.fromisoformat(time if "T" in time else f"{time}T00:00:00{offset}")
        return at.astimezone(zone).utcoffset() == at.utcoffset()
    except (ValueError, OverflowError):
        return True


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


_DOCUMENTS = frozenset({"ED", "RP"})
"""Kinds of values that are documents or pointers to them, and no results."""


def is_document(obx: Segment) -> bool:
    """Whether the value is a document, such as a report as PDF."""
    return obx.text(2) in _DOCUMENTS


def is_no_number(obx: Segment) -> bool:
    """Whether the value was never meant as a number: words, a code, or a kind that holds no number.

    `HEMOLYZED` or `TNP 4` is no number. `1,101` and `350 U/L` are numbers that are written wrongly.
    """
    kind, text = obx.text(2), normalize("NFKC", obx.raw(VALUE).strip())
    if not text or not kind:
        return False
    if kind not in KINDS:
        return True
    if kind in {"CE", "CWE"} and not obx.is_undecoded(VALUE) and (obx.text(VALUE, 3) or obx.text(VALUE, 6)):
        return True
    signs = [char for char in text if char.isalnum()]
    if kind == "SN" or not signs:
        return not any(char.isdigit() or char in "<>=" for char in text)
    return not signs[0].isdigit()


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
    if obx.is_undecoded(VALUE):
        return FaultCode.UNKNOWN_ENCODING
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
"""What is read of each kind of value in OBX-2; values of other kinds (FT, DT ...) are no numbers."""
