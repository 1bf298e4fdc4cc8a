"""The common part of the readers of feeds: it turns statements into histories.

A reader finds the statements of a message. A statement is one fact with the field names of our own format and its place
in the message. Here they become histories by the same checks and the same normalisation as a timeline that is posted as
JSON, so that the same results in four formats are the same facts. A fault has the place in the message.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from app.errors import Fault, FaultCode, InvalidDocument
from app.readers import contract
from app.readers.faults import structure
from app.readers.pseudonyms import Pseudonyms
from app.timeline.document import ITEMS, Patient, Timeline
from app.timeline.facts import History, statement_key
from app.timeline.normalize import MOST_FAULTS, SECTIONS, Reading
from app.timeline.receipts import Disposition, Note, NoteCode, ReceiptLine, SentFact
from app.timeline.times import Moment, read_time, when_text
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODE_OF, LAB_CODES, CodeBook

Section = Literal["patient", "labs", "assessments", "infusions", "medications", "adverse_events"]
_KIND_OF = {section: kind for kind, section in SECTIONS.items()}
Skipped = Literal["resource", "code", "status", "value", "segment", "order", "route"]
"""Why something is skipped: its kind of resource is not stored, its test or drug is not stored, its status says that
there is no result yet, its kind of value or its segment is not read, it orders a drug and does not say that it was
taken, or the drug is given to one place of the body only.
"""


@dataclass(frozen=True, slots=True)
class Feed:
    """What a study declares of its feeds, and the latest instant that a message received now may name.

    `zone` is the time zone of the laboratory's clock, for times without an offset. `test` says that the study accepts
    messages about invented patients. `charsets` has the character set that each name means (`charsets.Charset`).
    `offset_of_message`: the offset of the time of an HL7 v2 message holds for its other times, if there is no `zone`.
    `time_of_result`: each result of an HL7 v2 message has its own specimen time. `enrolled_only`: a patient whom the
    study does not have may not be added.
    """

    latest: int
    pseudonyms: Pseudonyms
    codes: CodeBook = field(default_factory=CodeBook)
    zone: ZoneInfo | None = None
    test: bool = False
    charsets: Mapping[str, str] = field(default_factory=dict)
    offset_of_message: bool = True
    time_of_result: bool = False
    enrolled_only: bool = False


class Place(NamedTuple):
    """The place of a fact in a message; `fields` has for each of our fields the text that follows `base`.

    The text of the field "" leads to the fact itself, if it is a part of what is at `base`.
    """

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
    """One fact of a message: its section of a timeline, its fields with our names, its place, its reader's notes.

    `no_number`: the result is a text (`HEMOLYZED`). It has no value, and may outrank a result that stands. A withdrawal
    of a number may have an empty text as its time, if none is known.
    """

    section: Section
    fields: dict[str, Any]
    place: Place
    notes: tuple[Note, ...] = ()
    no_number: bool = False


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
    history, found = _read(subject, statements, latest)
    return history, [fault for fault, _ in found]


def _read(
    subject: str, statements: Iterable[Statement], latest: int
) -> tuple[History, list[tuple[Fault, Statement | None]]]:
    """The same, each fault with the statement that has it."""
    items: dict[str, list[Any]] = {section: [] for section in ITEMS}
    sources: dict[str, list[Statement]] = {section: [] for section in ITEMS}
    about: dict[str, Any] = {"id": subject}
    stated: dict[str, Statement] = {}
    noted: dict[tuple[str, int], tuple[Note, ...]] = {}
    faults: list[tuple[Fault, Statement | None]] = []
    reading = Reading(latest)
    for statement in statements:
        section, fields, place, notes, no_number = statement
        if section == "patient":
            faults += [(fault, statement) for fault in _merge(about, stated, statement)]
            continue
        if type(fields) is Checked:
            items[section].append(fields)
        else:
            try:
                items[section].append(ITEMS[section].__pydantic_validator__.validate_python(fields))
            except ValidationError:
                faults += [(fault, statement) for fault in _structural(fields, ITEMS[section], place)]
                continue
        if no_number:
            reading.no_numbers.add((section, len(sources[section])))
        if notes:
            noted[_KIND_OF[section], len(sources[section])] = notes
        sources[section].append(statement)
    try:
        patient = Patient.__pydantic_validator__.validate_python(about)
    except ValidationError:
        for found in structure(about, Patient):
            name = str(found.path[0]) if found.path else ""
            by = _stated_by(stated, name)
            faults.append((found.fault().at(_where(by, name)), by))
        patient = Patient(id="unread")
    sections: dict[str, Any] = {section: tuple(found) for section, found in items.items()}
    timeline = Timeline.model_construct(None, patient=patient, lab_series=(), ended=None, **sections)
    history = reading.history(timeline)
    # The function must not hold the history, which holds the function: only the collector would free both.
    attributes, origins = history.attributes, reading.origins
    places = {section: [statement.place for statement in mine] for section, mine in sources.items()}

    def place_of(kind: str, index: int) -> str:
        if kind == "patient":
            return _where(_stated_by(stated, "id"), "id")
        if kind == "attributes":
            name = attributes[index].identity
            return _where(_stated_by(stated, name), name)
        at = origins[kind][index] if kind in origins else index
        return places[SECTIONS[kind]][at].of("")

    if noted and reading.origins:
        noted = {
            (kind, reading.origins[kind].index(at) if kind in reading.origins else at): notes
            for (kind, at), notes in noted.items()
            if kind not in reading.origins or at in reading.origins[kind]
        }
    history = contract.noted(replace(history, place=place_of, notes=noted))
    return history, faults + [_placed(fault, sources, stated) for fault in reading.faults]


def readable(subject: str, statements: Sequence[Statement], latest: int, faults: list[Fault] | None = None) -> History:
    """The history of a subject from the statements without a fault; each of the others is set aside.

    Statements that contradict each other are all set aside: the message does not say which one is right. A detail of
    the patient that has a fault is left out, and a line says so. The faults are added to `faults`.
    """
    kept, aside = [part for statement in statements for part in _parts(statement)], list[ReceiptLine]()
    while True:
        history, found = _read(subject, kept, latest)
        if not found:
            return replace(history, aside=tuple(aside))
        # Details of the patient first: of a wrong year of birth, results may be too early.
        details = [each for each in found if each[1] is not None and each[1].section == "patient"]
        found = details or found
        faulty = {id(statement): fault for fault, statement in found if statement is not None}
        contradicted = [by for fault, by in found if by is not None and fault.code is FaultCode.CONFLICTING_DUPLICATE]
        for statement in _like(contradicted, subject, kept, latest):
            name = next(iter(statement.fields)) if statement.section == "patient" else ""
            faulty.setdefault(id(statement), Fault(statement.place.of(name), FaultCode.CONFLICTING_DUPLICATE))
        for statement in kept:
            if id(statement) in faulty:
                aside.append(_aside(statement, faulty[id(statement)], latest))
        if faults is not None:
            faults += [faulty[id(statement)] for statement in kept if id(statement) in faulty]
        if not faulty:
            raise InvalidDocument(faults=[fault for fault, _ in found])
        kept = [statement for statement in kept if id(statement) not in faulty]


def _parts(statement: Statement) -> Iterator[Statement]:
    """A statement about a patient as one for each detail, so that a fault of one does not take the others."""
    if statement.section != "patient" or not statement.fields:
        yield statement
        return
    for name, value in statement.fields.items():
        yield statement._replace(fields={name: value})


def _aside(statement: Statement, fault: Fault, latest: int) -> ReceiptLine:
    if statement.section == "patient":
        return left_out(fault.pointer, next(iter(statement.fields), "id"))
    sent = described(statement, latest)
    return ReceiptLine(fault.pointer, Disposition.SET_ASIDE, fault.code, sent=sent, accepts=fault.accepts)


def left_out(place: str, detail: str) -> ReceiptLine:
    """The line of a detail that could not be read. It is no fact by itself, and is not counted."""
    return ReceiptLine(place, Disposition.KEPT, None, (Note(NoteCode.DETAIL_LEFT_OUT, detail),))


def described(statement: Statement, latest: int, content: str | None = None) -> SentFact:
    """What is known of a statement that is set aside. `content` is its text, if the fields do not have all of it."""
    fields = statement.fields
    word = next((fields[name] for name in ("code", "product", "drug", "term") if fields.get(name) is not None), None)
    written = next((fields[name] for name in ("time", "start", "onset") if fields.get(name) is not None), None)
    moment = read_time(written, latest) if isinstance(written, str) else None
    return SentFact(
        statement.place.of(""),
        statement.section,
        LAB_CODE_OF.get(word, word) if isinstance(word, str) else None,
        _text(fields.get("source")) or _text(fields.get("lab")),
        _text(fields.get("id")),
        when_text(moment.day, moment.instant) if isinstance(moment, Moment) else None,
        repr(sorted(fields.items())) if content is None else content,
        _text(fields.get("unit")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _like(
    contradicted: Sequence[Statement], subject: str, statements: Sequence[Statement], latest: int
) -> Iterator[Statement]:
    """The statements about the facts of the contradicted ones."""
    if contradicted:
        keys = {_keys(subject, statement, latest) for statement in contradicted}
        yield from (statement for statement in statements if _keys(subject, statement, latest) in keys)


def _keys(subject: str, statement: Statement, latest: int) -> Any:  # noqa: ANN401 - any part of a fact
    """What decides whether two statements contradict each other."""
    if statement.section == "patient":
        return ("patient", *statement.fields)
    history, _ = history_of(subject, [statement], latest)
    return next((statement_key(kind, facts[0]) for kind, facts in history.kinds() if facts), None)


def _merge(about: dict[str, Any], stated: dict[str, Statement], statement: Statement) -> Iterable[Fault]:
    stated.setdefault("id", statement)
    for name, value in statement.fields.items():
        if value is None or (name, value) == ("sex", "unknown"):  # an unknown value must not replace a known one
            continue
        if about.setdefault(name, value) != value:
            yield Fault(statement.place.of(name), FaultCode.CONFLICTING_DUPLICATE)
        stated.setdefault(name, statement)


def _structural(fields: Mapping[str, Any], model: type[BaseModel], place: Place) -> Iterable[Fault]:
    for found in structure(dict(fields), model):
        yield found.fault().at(place.of(str(found.path[0]) if found.path else ""))


def _placed(
    fault: Fault, sources: Mapping[str, Sequence[Statement]], stated: Mapping[str, Statement]
) -> tuple[Fault, Statement | None]:
    """A fault of the timeline with its place in the message, and the statement that has it."""
    section, *rest = fault.pointer.split("/")[1:]
    if section == "patient":
        name = rest[0] if rest else ""
        by = _stated_by(stated, name)
        return fault.at(_where(by, name)), by
    index, name = int(rest[0]), rest[1] if len(rest) > 1 else ""
    by = sources[section][index]
    return fault.at(by.place.of(name)), by


def _stated_by(stated: Mapping[str, Statement], name: str) -> Statement | None:
    return stated.get(name) or next(iter(stated.values()), None)


def _where(by: Statement | None, name: str) -> str:
    return by.place.of(name) if by else ""
