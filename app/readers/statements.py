"""What all readers of feeds share: from what a hospital sends to the facts that our own format would give.

A reader finds statements in a message: each one fact, in the words of our own format, with the place that it came from.
Here they become histories by the very checks and the very normalisation of a timeline that is posted as JSON, so that
the same results in four formats are the same facts; a fault is told at the place in the message.
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
"""Why something is left alone: a kind of resource that is not kept, a test or drug that is not, a status that says that
there is nothing yet, a kind of value or a segment that is not read.
"""


@dataclass(frozen=True, slots=True)
class Feed:
    """What a study declares of its feeds, and the latest instant that a message received now may name.

    `zone` is that of the laboratory's clock, for times without an offset; `test` says that messages about invented
    patients are welcome.
    """

    latest: int
    pseudonyms: Pseudonyms
    codes: CodeBook = field(default_factory=CodeBook)
    zone: ZoneInfo | None = None
    test: bool = False


class Place(NamedTuple):
    """Where in a message a fact stands; `fields` are what its users call each of our fields, after the base."""

    base: str
    fields: Mapping[str, str] = {}

    def of(self, name: str) -> str:
        """The place of one of our fields; of one that the message has no place for, the place of the fact."""
        return self.base + self.fields[name] if name in self.fields else self.base


class Checked(dict[str, Any]):
    """The fields of a laboratory result of which its reader knows that `LabResult` would take each as it is.

    They are not checked again. Whoever copies them to change them gets a `dict`, which is.
    """

    __slots__ = ()


class Statement(NamedTuple):
    """One fact as a message states it: its section of a timeline, its fields in our words, its place."""

    section: Section
    fields: dict[str, Any]
    place: Place


def section_of(meaning: str) -> Section:
    """The section of a timeline that facts of this meaning (`vocabulary.MEANINGS`) belong to."""
    if meaning in LAB_CODES:
        return "labs"
    return "assessments" if meaning in ASSESSMENT_CODES else "infusions"


def histories(statements: Mapping[str, Sequence[Statement]], latest: int) -> list[History]:
    """The history of each subject, in their order.

    Raises `InvalidDocument` with every fault of all of them.
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
    """The history that these statements make of a subject, and what is wrong with them; if anything is, the history
    must not be used.
    """
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
            faults.append(Fault(_where(stated_at, name), found.code, found.detail))
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
        if value is None or (name, value) == ("sex", "unknown"):  # not to know is no news: it would hide what is known
            continue
        if about.setdefault(name, value) != value:
            yield Fault(place.of(name), FaultCode.CONFLICTING_DUPLICATE)
        stated_at.setdefault(name, place)


def _structural(fields: Mapping[str, Any], model: type[BaseModel], place: Place) -> Iterable[Fault]:
    for found in structure(dict(fields), model):
        yield Fault(place.of(str(found.path[0]) if found.path else ""), found.code, found.detail)


def _placed(fault: Fault, places: Mapping[str, Sequence[Place]], stated_at: Mapping[str, Place]) -> Fault:
    """A fault of the timeline that stands for the message, at the place in the message."""
    section, *rest = fault.pointer.split("/")[1:]
    if section == "patient":
        return Fault(_where(stated_at, rest[0] if rest else ""), fault.code, fault.detail)
    index, name = int(rest[0]), rest[1] if len(rest) > 1 else ""
    return Fault(places[section][index].of(name), fault.code, fault.detail)


def _where(stated_at: Mapping[str, Place], name: str) -> str:
    place = stated_at.get(name) or next(iter(stated_at.values()), None)
    return place.of(name) if place else ""


_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
_BETWEEN = re.compile(rf"{_NUMBER} ?- ?{_NUMBER}")
_BELOW = re.compile(rf"<=? ?{_NUMBER}")


def read_range(text: str) -> tuple[float | None, float | None]:
    """Lower and upper limit of normal, in the unit of the result: `30-200`, `30 - 200`, `<25`, `<= 190`.

    Of any other text both are `None`, for a limit is never guessed: not from one with a unit, a word or a sex in it,
    a decimal comma, or a lower limit alone. `<25` and `<=25` give the same limit; that a result equal to the limit is
    normal is the rule of the service for every limit.
    """
    text = text.strip()
    between = _BETWEEN.fullmatch(text)
    if between is not None:
        return float(between[1]), float(between[2])
    below = _BELOW.fullmatch(text)
    return None, float(below[1]) if below is not None else None
