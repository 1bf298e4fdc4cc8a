"""Orders of drugs: the medications of MedicationRequests, of R4 and of R5.

An order does not say that the drug was taken, so the medication is marked as ordered. Its dose is read as that of a
MedicationStatement. An order is kept only if its first day is known and, unless it goes on, its last day: what the
resource does not say is never guessed.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from app.errors import Accepts, FaultCode
from app.fhir.elements import Element, ReadResult, Resource
from app.fhir.read_medication import (
    NamedDrug,
    ReadDose,
    aside,
    bounds_of,
    day_of,
    dose_of,
    drug_named,
    is_systemic,
    issued_at,
    not_read,
)
from app.fhir.read_observation import status_of
from app.readers.statements import Place, Statement
from app.timeline.receipts import Note, NoteCode
from app.timeline.times import DATE_FORM, day_text, read_day
from app.timeline.vocabulary import WITHDRAWN

ORDER_STATUSES: dict[str, str | None] = {
    "active": "final",
    "on-hold": "final",
    "ended": "final",
    "stopped": "final",
    "completed": "final",
    "cancelled": "cancelled",
    "entered-in-error": "entered-in-error",
    "draft": None,
    "unknown": None,
}
"""Our status for each status of a MedicationRequest; `ended` is of R5. `None`: nothing was ordered, or nobody knows."""
ORDERS = ("order", "original-order", "reflex-order", "filler-order", "instance-order")
"""The intents of an order."""
_NO_ORDERS = ("proposal", "plan", "directive", "option")
_BROKEN_OFF = frozenset({"stopped", "on-hold"})
"""Statuses of an order that ended before its time: until when it may be dispensed says nothing of its end."""
_ENDED = _BROKEN_OFF | {"ended", "completed"}
_DAYS = {"d": 1, "day": 1, "days": 1, "wk": 7, "week": 7, "weeks": 7}
_LONGEST = 36_525
_LAST = 2_932_896
"""The last day of the year 9999."""
_NEVER_TOO_LATE = 2**63 - 1
_REPEAT = ".timing.repeat"
_LIMITS = ("count", "countMax")
_MAY_SAY_HOW_MUCH = ("text", "patientInstruction", "doseAndRate")
"""The parts of an instruction in which a dose may stand that is not read."""


class Side(NamedTuple):
    """The first or the last day of an order: its place, and the day; `None` if it is written and is no day."""

    at: str
    day: str | None


def order(resource: Resource, concept: Element | None, at: str) -> ReadResult:
    """The medication that a MedicationRequest orders of the drug `concept`."""
    named = drug_named(resource, concept, at)
    if not isinstance(named, NamedDrug):
        return not_read(resource, at, named)
    status = status_of(resource, ORDER_STATUSES)
    if status is None:
        return ReadResult(skipped="status")
    if not _orders(resource):
        return ReadResult(skipped="order")
    resource.check_modifiers(resource.content, "")
    listed = list(resource.elements(resource.content, "dosageInstruction"))
    if not all(is_systemic(resource, each, where) for where, each in listed):
        return ReadResult(skipped="route")
    return _ordered(resource, named, at, status, listed)


def _ordered(
    resource: Resource, named: NamedDrug, at: str, status: str, listed: list[tuple[str, Element]]
) -> ReadResult:
    """The medication, from its first to its last day."""
    start, authored = _first_day(resource, listed)
    if start is None or start.day is None:
        return aside(resource, ".authoredOn" if start is None else start.at, FaultCode.MISSING, DATE_FORM)
    begins = read_day(start.day, resource.feed.latest)
    if isinstance(begins, FaultCode):
        return aside(resource, start.at, begins, None if begins is FaultCode.FUTURE_TIME else DATE_FORM)
    written = str(resource.content.get("status"))
    end = _last_day(resource, listed, begins, written)
    if status not in WITHDRAWN and (written in _ENDED if end is None else end.day is None):
        place = f".dosageInstruction{_REPEAT}.boundsPeriod.end" if end is None else end.at
        return aside(resource, place, FaultCode.MISSING, DATE_FORM)
    if end is not None and end.day is not None and written in _ENDED:
        ends = read_day(end.day, resource.feed.latest)
        if ends is FaultCode.FUTURE_TIME:  # it is the planned day: nobody says when the order ended
            return aside(resource, end.at, ends, None)
    number = resource.named(resource.elements(resource.content, "identifier"))
    dose = _dose(resource, listed)
    fields = {
        "id": number.id, "source": number.source, "status": status, "drug": named.name, "start": start.day,
        "end": None if end is None else end.day, "dose": dose.value, "unit": dose.unit, "ordered": True,
        "issued": issued_at(resource, "authoredOn"),
    }  # fmt: skip
    places = {
        "id": number.at, "source": number.at, "status": ".status", "drug": at, "start": start.at,
        "end": start.at if end is None else end.at, "dose": ".dosageInstruction", "unit": ".dosageInstruction",
        "ordered": ".intent", "issued": ".authoredOn",
    }  # fmt: skip
    notes = (Note(NoteCode.START_FROM_AUTHORED),) if authored else ()
    if dose.left_out:
        notes = (*notes, Note(NoteCode.DETAIL_LEFT_OUT, "dose"))
    return ReadResult((Statement("medications", fields, Place(resource.place, places), notes),))


def _orders(resource: Resource) -> bool:
    """Whether a request is an order to give the drug. A faulty intent is read as one, to find further faults."""
    content = resource.content
    intent, forbidden = resource.text(content, "intent"), content.get("doNotPerform")
    if content.get("intent") is None:
        resource.fault(".intent", FaultCode.MISSING, Accepts(one_of=ORDERS))
    elif intent is not None and intent not in (*ORDERS, *_NO_ORDERS):
        resource.fault(".intent", FaultCode.UNKNOWN_VALUE, Accepts(one_of=(*ORDERS, *_NO_ORDERS)))
    if forbidden is not None and not isinstance(forbidden, bool):
        resource.fault(".doNotPerform", FaultCode.WRONG_TYPE, Accepts(types=("boolean",)))
    return intent not in _NO_ORDERS and forbidden is not True


def _first_day(resource: Resource, listed: list[tuple[str, Element]]) -> tuple[Side | None, bool]:
    """The first day of an order, and whether it is only that on which it was written."""
    content = resource.content
    given = [each for where, part in listed if (each := _of_bounds(resource, part, where, "start")) is not None]
    if given:
        return min(given, key=lambda each: each.day or ""), False
    for at, part in _periods(resource):
        if (side := _side(resource, part, "start", at)) is not None:
            return side, False
    return _side(resource, content, "authoredOn", ""), True


def _last_day(resource: Resource, listed: list[tuple[str, Element]], begins: int, status: str) -> Side | None:
    """The last day of an order; `None` if it goes on, or nobody says when it ended."""
    sides = list(_last_days(resource, listed, begins))
    ends = [each for each in sides if each is not None]
    end = next((each for each in ends if each.day is None), None)
    if end is None and ends and len(ends) == len(sides):
        end = max(ends, key=lambda each: each.day or "")
    for at, part in _periods(resource):
        if end is None and not (status in _BROKEN_OFF and at.startswith(".dispenseRequest")):
            end = _side(resource, part, "end", at)
    if status in _BROKEN_OFF:  # R5 says when an order was stopped
        stopped = _side(resource, resource.content, "statusChanged", "")
        if stopped is not None and (end is None or (end.day or "") > (stopped.day or "")):
            return stopped
    return end


def _last_days(resource: Resource, listed: list[tuple[str, Element]], begins: int) -> Iterator[Side | None]:
    """The last day of each instruction. One with a greater `sequence` is followed after those with a lesser one, so its
    duration begins on the day after their last one.
    """
    numbers = [resource.number(each, "sequence", where) for where, each in listed]
    unclear = None in numbers and len(set(numbers)) > 1
    first: int | None = begins
    for number in sorted(set(numbers), key=lambda each: -math.inf if each is None else each):
        together = [
            _of_bounds(resource, part, where, "end") or _of_duration(resource, part, where, first)
            for (where, part), its in zip(listed, numbers, strict=True)
            if its == number
        ]
        yield from together
        days = [read_day(side.day, _NEVER_TOO_LATE) for side in together if side is not None and side.day is not None]
        known = [day for day in days if isinstance(day, int)]
        first = max(known) + 1 if len(known) == len(together) and not unclear else None


def _periods(resource: Resource) -> list[tuple[str, Element]]:
    """The periods of the whole order: over which it is taken (R5), and in which it may be dispensed."""
    content = resource.content
    dispensed = resource.element(content, "dispenseRequest") or {}
    at = ".dispenseRequest"
    found = [(".effectiveDosePeriod", resource.element(content, "effectiveDosePeriod")),
             (at + ".validityPeriod", resource.element(dispensed, "validityPeriod", at))]  # fmt: skip
    return [(where, period) for where, period in found if period is not None]


def _side(resource: Resource, part: Element, name: str, at: str) -> Side | None:
    """A day of a part; `None` if nothing is written there."""
    return None if part.get(name) is None else Side(f"{at}.{name}", day_of(resource, part, name, at))


def _of_bounds(resource: Resource, instruction: Element, at: str, name: str) -> Side | None:
    """The first or the last day of an instruction, from its period."""
    period = bounds_of(instruction).get("boundsPeriod")
    return _side(resource, period, name, f"{at}{_REPEAT}.boundsPeriod") if isinstance(period, dict) else None


def _of_duration(resource: Resource, instruction: Element, at: str, begins: int | None) -> Side | None:
    """The last day of an instruction that is followed for so many days. Another limit gives no day, nor does one that
    begins on a day that nobody knows.
    """
    bounds, timing = bounds_of(instruction), instruction.get("timing")
    repeat = timing.get("repeat") if isinstance(timing, dict) else None
    limited = isinstance(repeat, dict) and any(name in repeat for name in _LIMITS)
    if "boundsDuration" not in bounds:
        return Side(f"{at}{_REPEAT}.boundsPeriod", None) if "boundsRange" in bounds or limited else None
    place = f"{at}{_REPEAT}.boundsDuration"
    written = resource.element(bounds, "boundsDuration", at + _REPEAT)
    lasts = None if written is None else resource.quantity(written, place)
    if lasts is None or lasts.value is None or lasts.comparator is not None or lasts.unit not in _DAYS:
        return Side(place, None)
    days = Fraction(repr(lasts.value)) * _DAYS[lasts.unit]
    if days.denominator != 1 or not 1 <= days <= _LONGEST or begins is None or begins + days > _LAST:
        return Side(place, None)
    return Side(place, day_text(begins + int(days) - 1))


def _dose(resource: Resource, listed: list[tuple[str, Element]]) -> ReadDose:
    """The dose of an order, as that of a statement. A time that only says from when to when does not say how often."""
    dosages: list[tuple[str, Element]] = []
    for where, each in listed:
        timing = each.get("timing")
        repeat = timing.get("repeat") if isinstance(timing, dict) else None
        if isinstance(timing, dict) and isinstance(repeat, dict) and set(repeat) == set(bounds_of(each)):
            rest = {name: part for name, part in timing.items() if name != "repeat"}
            dosages.append((where, {**each, "timing": rest or None}))
        else:
            dosages.append((where, each))
    bounds = {repr(bounds_of(each)) for _, each in listed}
    dose = ReadDose(left_out=True) if len(bounds) > 1 else dose_of(resource, dosages)
    silent = dose == ReadDose() and any(each.get(name) for _, each in listed for name in _MAY_SAY_HOW_MUCH)
    return ReadDose(left_out=True) if silent else dose
