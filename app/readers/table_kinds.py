"""The kinds of tables: which columns each has, and how a row of each becomes a statement about one fact.

The columns are the fields of the models of a timeline. `FactRows` reads the rows of every kind that needs no more than
that, `PatientRows` those about the patients themselves; results of laboratories have a reader of their own
(`lab_rows`).
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Protocol, get_args

from app.errors import Accepts
from app.readers.json_timelines import stand_ins
from app.readers.pseudonyms import Identifier, no_number, no_patient
from app.readers.statements import Feed, Place, Section, Skipped, Statement
from app.readers.table_cells import CellReader, Trouble, number_or_trouble
from app.timeline.accepts import accepted_by
from app.timeline.document import ITEMS, Ended, LabResult, Patient, Sourced
from app.timeline.facts import FIELDS, VALUE_PLACE
from app.timeline.normalize import SECTIONS
from app.timeline.receipts import SentFact
from app.timeline.times import DATE_PATTERN, PARTIAL_PATTERN, TIME_PATTERN
from app.timeline.vocabulary import STATUSES, WITHDRAWN

TableKind = Literal["patients", "labs", "assessments", "infusions", "medications", "adverse_events"]
KINDS_OF_TABLES: tuple[TableKind, ...] = get_args(TableKind)
PATIENT = "patient"
"""The column with the number of the patient, which every kind has."""
_ENDED = {f"ended_{name}": name for name in Ended.model_fields}
"""The columns about the end of participation, and their fields of it."""
ATTRIBUTE = re.compile(r"attributes\.([a-z][a-z0-9_]{0,31})")
"""The column of an attribute that the protocol of the study declares."""
_LAB_REQUIRED = ("code", "time", "value", "unit")
VALUE_FIELDS = {
    section: FIELDS[kind][place].name for kind, section in SECTIONS.items() if (place := VALUE_PLACE[kind]) is not None
}
"""The field of each kind without which a fact says nothing, unless it is withdrawn."""
_DEPENDS = {"start": ("end",), "ordered": ("end",), "scale_max": ("score",)}
"""Fields that cannot be checked without another one."""
_NUMBERED = {"id", "source", "version", "issued", "status", "ordered"}


def _columns(kind: TableKind) -> tuple[str, ...]:
    if kind == "patients":
        own = [name for name in Patient.model_fields if name not in {"id", "identifier", "attributes"}]
        return (PATIENT, *own, *_ENDED)
    if kind == "labs":
        names = (PATIENT, *_LAB_REQUIRED, *LabResult.model_fields, "code_system", "reference_range")
        return tuple(dict.fromkeys(names))
    fields = [name for name in ITEMS[kind].model_fields if name not in Sourced.model_fields]
    return (PATIENT, *fields, *Sourced.model_fields)


def _required(kind: TableKind) -> tuple[str, ...]:
    if kind == "patients":
        return (PATIENT,)
    if kind == "labs":
        return (PATIENT, *_LAB_REQUIRED)
    needed = (name for name, field in ITEMS[kind].model_fields.items() if field.is_required())
    return (PATIENT, *needed, *filter(None, [VALUE_FIELDS.get(kind)]))


COLUMNS_OF: dict[TableKind, tuple[str, ...]] = {kind: _columns(kind) for kind in KINDS_OF_TABLES}
"""The columns of each kind, in the order of its template."""
REQUIRED_OF: dict[TableKind, tuple[str, ...]] = {kind: _required(kind) for kind in KINDS_OF_TABLES}


def is_column(kind: TableKind, name: str) -> bool:
    """Whether a table of this kind may have a column of this name."""
    return name in COLUMNS_OF[kind] or (kind == "patients" and ATTRIBUTE.fullmatch(name) is not None)


def kinds_like(names: Sequence[str]) -> list[TableKind]:
    """The kinds of tables that may have a header with these names, and no other ones."""
    return [
        kind
        for kind in KINDS_OF_TABLES
        if all(is_column(kind, name) for name in names) and set(REQUIRED_OF[kind]).issubset(names)
    ]


def kind_with(names: Sequence[str]) -> TableKind | None:
    """The kind of a header with these plain names: the only one whose columns they are, or else the only one of which
    they have all columns that are required, besides others.
    """
    exact = kinds_like(names)
    named = exact or [kind for kind in KINDS_OF_TABLES[1:] if set(REQUIRED_OF[kind]).issubset(names)]
    return named[0] if len(named) == 1 else None


class RowReader(Protocol):
    """Reads the rows of one kind; `given` has the cells of a row that are not missing, by field."""

    def skipped(self, given: Mapping[str, str]) -> Skipped | None:
        """Why the row has no fact that the service keeps, if it has none."""

    def not_ours(self, given: Mapping[str, str], reason: Skipped) -> SentFact:
        """What is known of such a row."""

    def statement(self, given: Mapping[str, str], place: Place) -> tuple[Statement, dict[str, Trouble]]:
        """The statement of a row, and the troubles of its cells by field.

        A field with trouble is left out, or has a valid value if the fact must have it.
        """


class FactRows:
    """Reads rows with one fact each, whose columns are the fields of its model."""

    def __init__(self, kind: Section, feed: Feed, cells: CellReader) -> None:
        self._kind: Section = kind
        self._feed, self._cells = feed, cells

    def skipped(self, given: Mapping[str, str]) -> Skipped | None:
        """A row without a score has no meaning, unless its status withdraws the fact."""
        value = VALUE_FIELDS.get(self._kind)
        status = given.get("status", "final")
        lacks = value is not None and value not in given
        return "value" if lacks and status in STATUSES and status not in WITHDRAWN else None

    def not_ours(self, given: Mapping[str, str], reason: Skipped) -> SentFact:
        """Its source."""
        return SentFact("", source=given.get("source"))

    def statement(self, given: Mapping[str, str], place: Place) -> tuple[Statement, dict[str, Trouble]]:
        """The statement of a row, and the troubles of its cells."""
        read, troubles = read_cells(ITEMS[self._kind], given, self._cells)
        if "id" in given:
            number = self._feed.pseudonyms.number(given.get("source"), given["id"])
            stored = number_or_trouble(number, given["id"], no_number)
            if isinstance(stored, Trouble):
                read.pop("id")
                troubles["id"] = stored
            else:
                read["id"] = stored
        if given.get("status") in WITHDRAWN:  # it needs what it names, and no content
            troubles = {name: why for name, why in troubles.items() if name in _names(self._kind)}
        if troubles:
            unsure = {*troubles, *(other for name in troubles for other in _DEPENDS.get(name, ()))}
            instead = stand_ins(ITEMS[self._kind]) | {VALUE_FIELDS.get(self._kind, ""): 0.0, "dose": 0.0}
            read = {name: value for name, value in read.items() if name not in unsure}
            read |= {name: value for name, value in instead.items() if name in unsure}
        return Statement(self._kind, read, place), troubles


class PatientRows:
    """Reads rows about patients: what is said of each, and how their participation ended."""

    def __init__(self, feed: Feed, cells: CellReader) -> None:
        self._feed, self._cells = feed, cells

    def skipped(self, given: Mapping[str, str]) -> Skipped | None:
        """No row is: it names a patient at least."""
        return None

    def not_ours(self, given: Mapping[str, str], reason: Skipped) -> SentFact:
        """Nothing."""
        return SentFact("")

    def statement(self, given: Mapping[str, str], place: Place) -> tuple[Statement, dict[str, Trouble]]:
        """The statement of a row, and the troubles of its cells."""
        own = {name: cell for name, cell in given.items() if name in Patient.model_fields}
        read, troubles = read_cells(Patient, own, self._cells)
        if "merged_into" in own:
            into = self._feed.pseudonyms.patient([Identifier(None, own["merged_into"])])
            named = number_or_trouble(into, own["merged_into"], no_patient)
            if isinstance(named, Trouble):
                read.pop("merged_into")
                troubles["merged_into"] = named
            else:
                read["merged_into"] = named
        stated = {found[1]: given[name] for name in given if (found := ATTRIBUTE.fullmatch(name))}
        if stated:
            read["attributes"] = stated
        ended = {name: given[column] for column, name in _ENDED.items() if column in given}
        if ended:
            end, wrong = read_cells(Ended, ended, self._cells)
            troubles |= {f"ended_{name}": why for name, why in wrong.items()}
            if not wrong:
                read["ended"] = end
        return Statement("patient", read, place), troubles


def read_cells(
    model: Any,  # noqa: ANN401 - a model of a document
    given: Mapping[str, str],
    cells: CellReader,
) -> tuple[dict[str, Any], dict[str, Trouble]]:
    """The cells as the fields of a model, each in its type, and the troubles of those that cannot be read.

    Words, ranges and lengths are checked by the model afterwards.
    """
    accepted = _accepted(model)
    read: dict[str, Any] = {}
    troubles: dict[str, Trouble] = {}
    for name, written in given.items():
        if name not in accepted:
            continue
        value = _value(written, accepted[name], cells)
        if isinstance(value, Trouble):
            troubles[name] = value
        else:
            read[name] = value
    return read, troubles


def _value(written: str, accepts: Accepts, cells: CellReader) -> object:
    times = {TIME_PATTERN: cells.time, DATE_PATTERN: cells.day, PARTIAL_PATTERN: cells.partial}
    if accepts.pattern in times:
        return times[accepts.pattern](written)
    types = accepts.types or ()
    if "number" in types:
        return cells.number(written)
    if "integer" in types:
        return cells.whole(written, accepts)
    return cells.truth(written, listed=accepts.one_of is not None) if "boolean" in types else written


@cache
def _accepted(model: Any) -> dict[str, Accepts]:  # noqa: ANN401 - as above
    return {name: accepted_by(model, (name,)) or Accepts() for name in model.model_fields}


@cache
def _names(kind: str) -> frozenset[str]:
    """The fields of a kind that name a fact and what a source says of it: no content."""
    return frozenset({name for name, field in ITEMS[kind].model_fields.items() if field.is_required()} | _NUMBERED)
