"""The common part of the readers of feeds: it turns statements into histories.

A reader finds the statements of a message. A statement is one fact with the field names of our own format and its place
in the message. Here they become histories by the same checks and the same normalisation as a timeline that is posted as
JSON, so that the same results in four formats are the same facts. A fault has the place in the message.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from app.errors import Fault, FaultCode, InvalidDocument
from app.readers.faults import structure
from app.readers.pseudonyms import Pseudonyms
from app.timeline.document import ITEMS, Patient, Timeline
from app.timeline.facts import History
from app.timeline.normalize import MOST_FAULTS, Reading
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES, CodeBook

Section = Literal["patient", "labs", "assessments", "infusions", "medications", "adverse_events"]
Skipped = Literal["resource", "code", "status", "value", "segment"]
"""Why something is skipped: its kind of resource is not stored, its test or drug is not stored, its status says that
there is no result yet, or its kind of value or its segment is not read.
"""


@dataclass(frozen=True, slots=True)
class Feed:
    """What a study declares of its feeds, and the latest instant that a message received now may name.

    `zone` is the time zone of the laboratory's clock, for times without an offset. `test` says that the study accepts
    messages about invented patients.
    """

    latest: int
    pseudonyms: Pseudonyms
    codes: CodeBook = field(default_factory=CodeBook)
    zone: ZoneInfo | None = None
    test: bool = False


class Place(NamedTuple):
    """The place of a fact in a message; `fields` has for each of our fields the text that follows `base`."""

    base: str
    fields: Mapping[str, str] = {}

    def of(self, name: str) -> str:
        """The place of one of our fields, or of the fact if the message has no place for this field."""
        return self.base + self.fields[name] if name in self.fields else self.base


class Checked(dict[str, Any]):
    """The fields of a laboratory result that its reader has checked as `LabResult` would.

    They are not checked again. A changed copy is a `dict`, which is checked.
    """

    __slots__ = ()


class Statement(NamedTuple):
    """One fact of a message: its section of a timeline, its fields with our names, its place."""

    section: Section
    fields: dict[str, Any]
    place: Place


def section_of(meaning: str) -> Section:
    """The section of a timeline for facts with this meaning (`vocabulary.MEANINGS`)."""
    if meaning in LAB_CODES:
        return "labs"
    return "assessments" if meaning in ASSESSMENT_CODES else "infusions"


def histories(statements: Mapping[str, Sequence[Statement]], latest: int) -> list[History]:
    """The history of each subject, in the order given.

    Raises `InvalidDocument` with the faults of all of them.
    """
    read, faults = [], []
    for subject, stated in statements.items():
        history, found = history_of(subject, stated, latest)
        read.append(history)
        faults += found
    if faults:
        raise InvalidDocument(faults=faults[:MOST_FAULTS])
    return read


def history_of(subject: str, statements: Iterable[Statement], latest: int) -> tuple[History, list[Fault]]:
    """The history of a subject from these statements, and their faults. If there are any, do not use the history."""
    items: dict[str, list[Any]] = {section: [] for section in ITEMS}
    places: dict[str, list[Place]] = {section: [] for section in ITEMS}
    about: dict[str, Any] = {"id": subject}
    stated_at: dict[str, Place] = {}
    faults: list[Fault] = []
    for section, fields, place in statements:
        if type(fields) is Checked:
            items[section].append(fields)
            places[section].append(place)
            continue
        if section == "patient":
            faults += _merge(about, stated_at, fields, place)
            continue
        try:
            items[section].append(ITEMS[section].__pydantic_validator__.validate_python(fields))
        except ValidationError:
            faults += _structural(fields, ITEMS[section], place)
        else:
            places[section].append(place)
    try:
        patient = Patient.__pydantic_validator__.validate_python(about)
    except ValidationError:
        for found in structure(about, Patient):
            name = str(found.path[0]) if found.path else ""
            faults.append(found.fault().at(_where(stated_at, name)))
        patient = Patient(id="unread")
    sections: dict[str, Any] = {section: tuple(found) for section, found in items.items()}
    timeline = Timeline.model_construct(None, patient=patient, lab_series=(), ended=None, **sections)
    reading = Reading(latest)
    history = reading.history(timeline)
    return history, faults + [_placed(fault, places, stated_at) for fault in reading.faults]


def _merge(
    about: dict[str, Any], stated_at: dict[str, Place], fields: Mapping[str, Any], place: Place
) -> Iterable[Fault]:
    for name, value in fields.items():
        if value is None or (name, value) == ("sex", "unknown"):  # an unknown value must not replace a known one
            continue
        if about.setdefault(name, value) != value:
            yield Fault(place.of(name), FaultCode.CONFLICTING_DUPLICATE)
        stated_at.setdefault(name, place)


def _structural(fields: Mapping[str, Any], model: type[BaseModel], place: Place) -> Iterable[Fault]:
    for found in structure(dict(fields), model):
        yield found.fault().at(place.of(str(found.path[0]) if found.path else ""))


def _placed(fault: Fault, places: Mapping[str, Sequence[Place]], stated_at: Mapping[str, Place]) -> Fault:
    """A fault of the timeline, with its place in the message."""
    section, *rest = fault.pointer.split("/")[1:]
    if section == "patient":
        return fault.at(_where(stated_at, rest[0] if rest else ""))
    index, name = int(rest[0]), rest[1] if len(rest) > 1 else ""
    return fault.at(places[section][index].of(name))


def _where(stated_at: Mapping[str, Place], name: str) -> str:
    place = stated_at.get(name) or next(iter(stated_at.values()), None)
    return place.of(name) if place else ""


_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_BETWEEN = re.compile(rf"{_NUMBER} ?- ?{_NUMBER}")
_BELOW = re.compile(rf"<=? ?{_NUMBER}")


def read_range(text: str) -> tuple[float | None, float | None]:
    """Lower and upper limit of normal, in the unit of the result: `30-200`, `30 - 200`, `<25`, `<= 190`.

    For any other text both are `None`, because a limit is never guessed: for example a text with a unit, a word, a sex
    or a decimal comma, or a lower limit alone. `<25` and `<=25` give the same limit, because in this service a result
    equal to its limit is normal.
    """
    text = text.strip()
    between = _BETWEEN.fullmatch(text)
    if between is not None:
        return float(between[1]), float(between[2])
    below = _BELOW.fullmatch(text)
    return None, float(below[1]) if below is not None else None
