"""Reads our own JSON: the result is a history, or a refusal with all faults of the document."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import jiter
from pydantic import BaseModel, ValidationError

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, MalformedDocument, ServiceError, TooLarge, pointer
from app.readers import contract
from app.readers.budget import check_time
from app.readers.faults import (
    FoundFault,
    Path,
    check_syntax,
    first_pass,
    in_doubt,
    known_names,
    structure,
    value_faults,
)
from app.readers.pseudonyms import Identifier, no_patient
from app.readers.streams import elements_of, without_mark
from app.timeline.accepts import accepted_by
from app.timeline.document import (
    ITEMS,
    AdverseEvent,
    Assessment,
    Ended,
    FactDecision,
    Infusion,
    LabResult,
    LabSeries,
    Medication,
    Patient,
    Sourced,
    Timeline,
)
from app.timeline.normalize import MOST_FAULTS, SECTIONS, History, Reading, normalise
from app.timeline.result_columns import labs_by_column
from app.timeline.vocabulary import WITHDRAWN

__all__ = ["Item", "first_pass", "read_array", "read_item", "read_model", "read_ndjson", "read_timeline", "together"]

MOST_FACTS = 50_000
"""Greatest number of facts in one body; a client sends more in parts, or as lines."""
MOST_ITEMS = 50_000
"""Greatest number of timelines in one body."""
MOST_REFUSED = 1_000
"""Greatest number of refused timelines of one body; with more, all of it is refused."""
MOST_MODELS = 1_000
"""Greatest number of items of one list of a timeline that are models at the same time. A model needs 1.5 kB."""
FEWEST_BY_COLUMN = 10
"""Least number of results of one timeline that are checked by columns."""
MOST_BYTES = 1_000_000
"""Greatest size in bytes of a document without timelines; a large protocol has about ten thousand."""
LONGEST_READ = 1_000
"""Characters of a text that are looked at where a large document has faults. No text may have more than 200."""

AnyModel = TypeVar("AnyModel", bound=BaseModel)
Who = Callable[[Identifier], str | FaultCode]
"""Gives the patient of a number, or the code of the fault (`Pseudonyms.patient`)."""
_UNREAD = "unread"
_PARTS: dict[str, type[BaseModel]] = {"patient": Patient, "ended": Ended}
_ITEMS: dict[str, type[BaseModel]] = {
    "labs": LabResult,
    "lab_series": LabSeries,
    "assessments": Assessment,
    "infusions": Infusion,
    "medications": Medication,
    "adverse_events": AdverseEvent,
    "decisions": FactDecision,
}
_RESTS_ON: dict[FaultCode, frozenset[str]] = {
    FaultCode.BAD_TIME: frozenset({"decision"}),
    FaultCode.MISSING: frozenset({"status", "identifier"}),
    FaultCode.MASS_UNIT: frozenset({"code"}),
    FaultCode.UNIT_MISMATCH: frozenset({"code"}),
    FaultCode.OFF_SCALE: frozenset({"code", "scale_max"}),
    FaultCode.SCALE_NOT_DECLARABLE: frozenset({"code"}),
    FaultCode.REVERSED_LIMITS: frozenset({"upper_limit", "upper_limits"}),
    FaultCode.REVERSED_PERIOD: frozenset({"start"}),
    FaultCode.DOSE_WITHOUT_UNIT: frozenset({"dose"}),
    FaultCode.LENGTH_MISMATCH: frozenset({"times"}),
    FaultCode.CONTRADICTION: frozenset({"id"}),
}
"""The fields, in addition to its own, on which a fault of meaning depends; a fault that is not here depends on its own
field alone.
"""
_NAMES_A_FACT = {"code", "code_text", "drug", "lab", "onset", "product", "start", "term", "time", *Sourced.model_fields}
_CONTENTS = {section: frozenset(model.model_fields.keys() - _NAMES_A_FACT) for section, model in ITEMS.items()}
"""The fields that need not be readable in an item that withdraws a fact."""
_VALUES: dict[Any, Any] = {str: "2000-01-01", float: 1.0}
"""A value for a required field of each type: this text is also an identifier, a label and a time."""


@dataclass(frozen=True, slots=True)
class LongList:
    """The items of a long list. Each is checked when it is read, which is possible only once, and is then let go."""

    model: type[BaseModel]
    items: list[Any]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[BaseModel]:
        """Raises `ValidationError` at the first item with a fault."""
        check = self.model.__pydantic_validator__.validate_python
        for at, item in enumerate(self.items):
            self.items[at] = None
            yield check(item)


@dataclass(frozen=True, slots=True)
class Item:
    """One timeline of many: its index from 0, and either its history or its refusal."""

    index: int
    history: History | None
    error: ServiceError | None

    @property
    def subject(self) -> str | None:
        """The patient; `None` if the item could not be read."""
        return None if self.history is None else self.history.patient

    @property
    def facts(self) -> int:
        """How many facts it brings, without the attributes of the patient."""
        return 0 if self.history is None else sum(len(getattr(self.history, kind)) for kind in SECTIONS)


def read_timeline(body: bytes, latest: int, who: Who | None = None) -> History:
    """The history of one timeline. `latest` is the latest instant that it may name (`times.latest_acceptable`).

    `who` gives the patient of a number; without it, a timeline names its patient by the `id` alone.
    Raises `MalformedDocument`, `TooLarge`, or `InvalidDocument` with all faults of the document.
    """
    body = without_mark(body)
    try:
        return _read(first_pass(body), latest, who)
    except (InvalidDocument, ValidationError):
        pass  # the error holds parts of the document; it is gone before the document is read again
    faults = list(_faults(body, Timeline, latest, who))
    document = jiter.from_json(body)
    contents = {fault.pointer: _withdrawn_content(document, fault) for fault in faults}
    if not contents or not all(contents.values()):
        raise _refused(fault for fault in faults if not contents[fault.pointer])
    for section, index in filter(None, contents.values()):
        for name in _CONTENTS[section]:
            document[section][index].pop(name, None)
    body = json.dumps(document).encode()
    del document
    return read_timeline(body, latest, who)


def _withdrawn_content(document: Any, fault: Fault) -> tuple[str, int] | None:  # noqa: ANN401 - parsed JSON
    """The place of the item that a fault is in, if the item withdraws a fact and the fault is only in its content."""
    section, index, name, *_ = (*fault.pointer.split("/")[1:], "", "", "")
    if name not in _CONTENTS.get(section, ()):
        return None
    status = document[section][int(index)].get("status")
    return (section, int(index)) if isinstance(status, str) and status in WITHDRAWN else None


def read_array(body: bytes, latest: int, who: Who | None = None) -> list[Item]:
    """The timelines of a JSON array, each read or refused by itself. A body that is not JSON is refused as a whole."""
    body = without_mark(body)
    document = check_syntax(body)
    if not isinstance(document, list):
        raise InvalidDocument(faults=[Fault("", FaultCode.WRONG_TYPE, None, Accepts(types=("array",)))])
    _check_count(len(document))
    check_time()
    items: list[Item] = []
    facts, part = 0, None
    with suppress(ServiceError, ValidationError):  # a timeline with faults is read again below, and all after it
        for i, part in enumerate(() if in_doubt(body) else document):
            document[i] = None
            items.append(Item(i, _read(part, latest, who), None))
            facts += items[-1].facts
            if facts > MOST_FACTS:
                break
    _check_facts(facts)
    whole = len(items) == len(document)
    document, part = [], None  # nothing of it stays while the body is read again
    return items if whole else _each_read(islice(elements_of(body), len(items), None), latest, who, items)


def read_ndjson(body: bytes, latest: int, who: Who | None = None) -> list[Item]:
    """The timelines of a text with one on each line, each read or refused by itself. Blank lines do not count."""
    _check_count(body.count(b"\n"))
    lines = [line for line in map(without_mark, body.split(b"\n")) if line.strip()]
    return _each_read(lines, latest, who, [])


def _each_read(parts: Iterable[bytes], latest: int, who: Who | None, items: list[Item]) -> list[Item]:
    """The items of a body, each read by itself, after those that were read before.

    Raises `InvalidDocument` where too many are refused.
    """
    refused: list[Item] = []
    facts = sum(item.facts for item in items)
    for i, part in enumerate(parts, len(items)):
        check_time()
        items.append(_item(i, part, latest, who))
        facts += items[-1].facts
        _check_facts(facts)
        if items[-1].error is not None:
            refused.append(items[-1])
        if len(refused) > MOST_REFUSED:
            told = _together(refused[:MOST_FAULTS])
            raise InvalidDocument(f"More than {MOST_REFUSED} timelines are refused, so none was stored.", told)
    return items


def read_item(index: int, text: bytes | None, latest: int, longest: int, who: Who | None = None) -> Item:
    """One timeline of a stream. `text` is `None` if it has more than `longest` bytes."""
    if text is None:
        return Item(index, None, TooLarge(f"A line may have at most {longest} bytes."))
    return _item(index, text, latest, who)


def read_model(body: bytes, model: type[AnyModel], latest: int | None = None) -> AnyModel:
    """Any other JSON document, read with the same strictness. Only a document with `timelines` may be large.

    With `latest`, a refusal also has those faults of the `timelines` that `read_timeline` finds. If the structure of
    the document has no fault, the caller finds them when it reads the timelines.

    Raises `MalformedDocument`, `TooLarge`, or `InvalidDocument` with all faults of the document.
    """
    if "timelines" not in model.model_fields and len(body) > MOST_BYTES:
        raise TooLarge(f"This document may have {MOST_BYTES} bytes.")
    body = without_mark(body)
    try:
        first_pass(body)
        return model.model_validate_json(body)
    except (InvalidDocument, ValidationError):
        pass
    raise _refused(_faults(body, model, latest))


def together(items: Iterable[Item]) -> ServiceError | None:
    """The common refusal of all items if any is refused; each pointer begins with the index of its item."""
    refused = [item for item in items if item.error is not None]
    if not refused:
        return None
    faults = _together(refused)
    worst = next(
        (kind for kind in (MalformedDocument, TooLarge) if any(isinstance(i.error, kind) for i in refused)), None
    )
    return (worst or InvalidDocument)(None, faults)


def _together(refused: Iterable[Item]) -> list[Fault]:
    """The first faults of refused items; each pointer begins with the index of its item."""
    faults = (
        fault.at(pointer(item.index) + fault.pointer)
        for item in refused
        for fault in (item.error.faults if item.error else ())
    )
    return list(islice(faults, MOST_FAULTS))


def _item(index: int, text: bytes, latest: int, who: Who | None) -> Item:
    try:
        return Item(index, read_timeline(text, latest, who), None)
    except ServiceError as error:
        return Item(index, None, error)


def _read(document: Any, latest: int, who: Who | None) -> History:  # noqa: ANN401 - parsed JSON
    """The history of a parsed timeline, whose long lists are empty afterwards.

    Raises `ValidationError` where the structure has faults.
    """
    if not isinstance(document, dict):  # the error of any other value would hold it
        raise InvalidDocument
    return _history(_timeline(document), latest, who)


def _timeline(document: dict[str, Any]) -> Timeline:
    """The model of a parsed timeline. The items of its long lists are checked when they are read, and many results with
    the same fields by columns.
    """
    apart: dict[str, Any] = {
        name: LongList(model, items)
        for name, model in ITEMS.items()
        if isinstance(items := document.get(name), list) and len(items) > MOST_MODELS
    }
    labs = document.get("labs")
    if isinstance(labs, list) and FEWEST_BY_COLUMN <= len(labs) <= MOST_MODELS:
        by_column = labs_by_column(labs)
        apart |= {} if by_column is None else {"labs": by_column}
    if not apart:
        return Timeline.model_validate(document)
    return Timeline.model_validate(document | dict.fromkeys(apart, ())).model_copy(update=apart)


def _history(timeline: Timeline, latest: int, who: Who | None) -> History:
    rows = sum(len(getattr(timeline, section)) for section in SECTIONS.values())
    _check_facts(rows + sum(len(series.times) for series in timeline.lab_series))
    plain_id = timeline.patient.identifier is None
    timeline, nobody = _named(timeline, who)
    try:
        history = normalise(timeline, latest, plain_id=plain_id)
    except InvalidDocument as refused:
        raise _refused((*nobody, *refused.faults)) from None
    if nobody:
        raise InvalidDocument(faults=nobody)
    return contract.noted(history)


def _named(timeline: Timeline, who: Who | None) -> tuple[Timeline, list[Fault]]:
    """The timeline with the `id` of its patient, and the faults of the identifiers of the patient."""
    patient, given = timeline.patient, timeline.patient.identifier
    faults = list(_nobody(patient))
    if given is None or who is None:
        return timeline, faults
    subject = who(Identifier(given.system, given.value))
    place = pointer("patient", "identifier")
    if isinstance(subject, FaultCode):
        why = "The study does not declare this authority." if subject is FaultCode.AMBIGUOUS_SUBJECT else None
        faults.append(Fault(place, subject, why))
        subject = _UNREAD
    elif patient.id not in {None, subject}:
        faults.append(Fault(place, FaultCode.AMBIGUOUS_SUBJECT, "It is the number of another patient than `id`."))
    return timeline.model_copy(
        update={"patient": patient.model_copy(update={"id": subject, "identifier": None})}
    ), faults


def _nobody(patient: Patient) -> Iterator[Fault]:
    """The faults of identifiers of the patient that are words for a missing one or numbers that a program changed."""
    for name, given in (("id", patient.id), ("merged_into", patient.merged_into)):
        why = no_patient(given) if given else None
        if why is not None:
            yield Fault(pointer("patient", name), FaultCode.BAD_IDENTIFIER, why, accepted_by(Patient, (name,)))


def _check_facts(facts: int) -> None:
    if facts > MOST_FACTS:
        raise TooLarge(f"A body may bring {MOST_FACTS} facts; send it in parts.")


def _check_count(items: int) -> None:
    if items > MOST_ITEMS:
        raise TooLarge(f"A body may hold {MOST_ITEMS} timelines.")


def _refused(faults: Iterable[Fault]) -> InvalidDocument:
    listed: dict[tuple[str, FaultCode], Fault] = {}
    for fault in faults:
        listed.setdefault((fault.pointer, fault.code), fault)
        if len(listed) == MOST_FAULTS:
            return InvalidDocument(f"Only the first {MOST_FAULTS} faults are listed.", listed.values())
    return InvalidDocument(faults=listed.values())


def _faults(body: bytes, model: type[BaseModel], latest: int | None, who: Who | None = None) -> Iterator[Fault]:
    """The faults of a document that has some, up to the greatest number that is listed."""
    for lost in value_faults(body, known_names(model)):
        yield replace(lost, accepts=accepted_by(model, _path(lost.pointer)))
    document = jiter.from_json(body)
    if len(body) > MOST_BYTES:
        if isinstance(document, dict):
            _lighten(document, known_names(model))
        else:
            document = type(document)()  # any other value of this type has the same fault
    found = list(islice(structure(document, model), MOST_FAULTS))
    yield from (fault.fault() for fault in found)
    if latest is None:
        return
    if model is Timeline:
        yield from _meaning(document, found, latest, who)
    elif isinstance(document, dict) and isinstance(document.get("timelines"), list):
        below: dict[Path, list[FoundFault]] = {}
        for known in found:
            below.setdefault(known.path[:2], []).append(known._replace(path=known.path[2:]))
        for i, part in enumerate(document["timelines"]):
            for fault in _meaning(part, below.get(("timelines", i), ()), latest):
                yield fault.at(pointer("timelines", i) + fault.pointer)


def _lighten(document: Any, names: frozenset[str]) -> None:  # noqa: ANN401 - parsed JSON
    """Drop what unknown fields hold, and the ends of texts that are too long anyway: copies of them need memory."""
    named = isinstance(document, dict)
    for at, inner in document.items() if named else enumerate(document):
        if named and at not in names:
            document[at] = None
        elif isinstance(inner, str):
            document[at] = inner[:LONGEST_READ]
        elif isinstance(inner, dict | list):
            _lighten(inner, names)


def _meaning(
    document: Any,  # noqa: ANN401 - parsed JSON
    found: Iterable[FoundFault],
    latest: int,
    who: Who | None = None,
) -> Iterator[Fault]:
    """The faults that need more than one field or the calendar, in a timeline whose structure has faults too.

    Fields with a fault of structure are left out. A required one gets a value of its type, so that all other fields can
    be read. A fault that may come from such a gap is not reported.
    """
    gaps: dict[Path, set[Path]] = {}
    for known in found:
        part = _part(known.path)
        inside = gaps.setdefault(part, set())
        if known.code is not FaultCode.UNKNOWN_FIELD:
            inside.add(known.path[len(part) :])
    try:
        timeline, nobody = _named(_timeline(_readable_document(document, gaps)), who)
        reading = Reading(latest)
        reading.history(timeline)
    except ValidationError:  # it has more faults than `found`, which is limited
        return
    for fault in (*nobody, *reading.faults):
        path = _path(fault.pointer)
        part = _part(path)
        if fault.code is FaultCode.CONFLICTING_DUPLICATE:
            certain = _section(part) not in map(_section, gaps)  # the other fact may have a gap
        else:
            certain = not _in_doubt(path[len(part) :], fault.code, gaps.get(part, ()))
        if certain:
            yield fault


def _path(pointer: str) -> Path:
    """The path of a pointer whose parts are numbers and names of our own."""
    return tuple(int(step) if step.isdecimal() else step for step in pointer.split("/")[1:])


def _in_doubt(place: Path, code: FaultCode, gaps: Iterable[Path]) -> bool:
    """Whether a fault inside a part may come from a gap in this part."""
    rests_on = _RESTS_ON.get(code, frozenset())
    if code is FaultCode.LENGTH_MISMATCH:  # a list keeps its length when one of its elements is replaced
        gaps = [gap for gap in gaps if len(gap) < 2]
    return any(place[: len(gap)] == gap or gap[0] in rests_on for gap in gaps)


def _part(path: Path) -> Path:
    """The part of a timeline that a path leads into: the patient, the end, or one item of a list."""
    return path[:1] if path[:1] in {("patient",), ("ended",)} else path[:2]


def _section(part: Path) -> str | int | None:
    """The section that the facts of a part belong to; laboratory results come from two lists."""
    return "labs" if part[:1] == ("lab_series",) else next(iter(part), None)


def _readable_document(document: Any, gaps: dict[Path, set[Path]]) -> dict[str, Any]:  # noqa: ANN401
    """The document without its faults of structure."""
    readable: dict[str, Any] = {}
    if not isinstance(document, dict):
        document = {}
    for name, model in _PARTS.items():
        part = document.get(name)
        if part is not None or name == "patient":
            readable[name] = _readable_part(part, model, gaps[(name,)]) if (name,) in gaps else part
    for name, model in _ITEMS.items():
        items = document.get(name)
        if isinstance(items, list):
            readable[name] = [
                _readable_part(item, model, gaps[name, i]) if (name, i) in gaps else item
                for i, item in enumerate(items)
            ]
    return readable


def _readable_part(part: object, model: type[BaseModel], gaps: set[Path]) -> dict[str, Any]:
    """A part without its faulty and its unknown fields; required fields and elements get a value of their type."""
    fields = model.model_fields
    kept = {name: value for name, value in part.items() if name in fields} if isinstance(part, dict) else {}
    for field, *index in gaps - {()}:
        name = str(field)
        if index and isinstance(kept.get(name), list):
            kept[name] = [*kept[name]]
            kept[name][index[0]] = _value_of(_element_type(fields[name].annotation))
        else:
            kept.pop(name, None)
    return stand_ins(model) | kept


def stand_ins(model: type[BaseModel]) -> dict[str, Any]:
    """A value of its type for each required field of a model, so that the other fields can be checked."""
    return {name: _value_of(field.annotation) for name, field in model.model_fields.items() if field.is_required()}


def _value_of(annotation: Any) -> Any:  # noqa: ANN401
    """A value that a field of this type accepts: `None` where it may be null."""
    kind, *members = _types(annotation)
    if NoneType in (kind, *members):
        return None
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) is tuple:
        return []
    return _VALUES[kind]


def _element_type(annotation: Any) -> Any:  # noqa: ANN401
    return next(get_args(kind)[0] for kind in _types(annotation) if get_origin(kind) is tuple)


def _types(annotation: Any) -> list[Any]:  # noqa: ANN401
    """The members of a union, or the type itself, without their constraints."""
    if get_origin(annotation) is Annotated:
        return _types(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for member in get_args(annotation) for kind in _types(member)]
    return [annotation]
