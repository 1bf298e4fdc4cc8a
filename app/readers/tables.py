"""Reads a table of results as CSV: one result in each row, columns by name, in the dialect that the sender declares.

The dialect is never guessed from the content: a comma could be a decimal mark or a thousands separator, and both would
be accepted. A body that looks like another dialect is refused, and the refusal names that dialect.
"""

import csv
import io
import itertools
import re
from _csv import Reader
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, NamedTuple

from app.errors import (
    Accepts,
    Fault,
    FaultCode,
    InvalidDocument,
    MalformedDocument,
    ServiceError,
    TooLarge,
    UnsupportedMediaType,
)
from app.readers.budget import ROWS, check_time
from app.readers.json_timelines import MOST_ITEMS
from app.readers.limits import UNREADABLE, NormalLimits, joined_limits, read_limits
from app.readers.pseudonyms import Identifier, no_number, no_patient
from app.readers.statements import Feed, Place, Skipped, Statement, described, history_of, readable
from app.readers.streams import BYTE_ORDER_MARK
from app.readers.suggestions import unknown_code
from app.timeline.accepts import accepted_by
from app.timeline.document import LabResult, normalised
from app.timeline.facts import FIELDS, History
from app.timeline.normalize import MOST_FAULTS
from app.timeline.receipts import Disposition, Note, NoteCode, ReceiptLine, SentFact
from app.timeline.times import INSTANT_FORM, with_offset
from app.timeline.vocabulary import LAB_CODE_OF, LAB_CODES, OWN_SYSTEM, STATUSES, WITHDRAWN, Coding

REQUIRED = ("patient", "code", "time", "value", "unit")
COLUMNS = tuple(dict.fromkeys((*REQUIRED, *LabResult.model_fields, "code_system", "reference_range")))
"""Each field of a laboratory result has a column; `reference_range` gives the limits as one text."""
MOST_ROWS_OF_ONE = 25_000
"""Greatest number of rows of one patient in one table; each needs two kilobytes while it is read."""
MOST_LEFT_OUT = 50_000
"""Greatest number of rows of one table that are not ours or set aside: the answer has a line for each."""
LONGEST_ROW = 500_000
"""Greatest size of one row in bytes, with the line breaks in its cells."""

Delimiter = Literal[",", ";", "\t"]
DecimalMark = Literal[".", ","]

_DELIMITERS: dict[Delimiter, str] = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_AS_SENT = [field for field in FIELDS["labs"] if field.name in COLUMNS]
_NUMBER_CELLS = [field.name for field in _AS_SENT if field.type is float]
_TEXT_CELLS = [field.name for field in _AS_SENT if field.type is str and field.name not in {"code", "time", "id"}]
_CONTENT = frozenset({"value", "unit", "comparator", "lower_limit", "upper_limit"})
_PLACES = {name: f"/{name}" for name in COLUMNS}
_AT_VALUE = {**_PLACES, "": "/value"}
"""The same of a row that is said by its value: it is no number."""
_LINE = re.compile(rb"[^\r\n]*+(?:\r\n|\r|\n)?")
_BOUND = re.compile(r"(<=|>=|<|>) *")
_WHOLE = re.compile(r"\d{1,16}", re.ASCII)
_NUMBERS: dict[DecimalMark, re.Pattern[str]] = {
    mark: re.compile(rf"-?(?:\d{{1,40}}(?:{re.escape(mark)}\d{{1,40}})?|{re.escape(mark)}\d{{1,40}})", re.ASCII)
    for mark in (".", ",")
}
_LIKE_THE_OTHER = re.compile(r"-?\d+[.,](?!\d{3}$)\d+", re.ASCII)
"""A number in the other dialect. `1,234` does not count, because its comma may be a thousands separator."""
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(?:(?:\.0{1,9})|(\.\d{1,9}))?(Z|[+-]\d{2}:\d{2})?)?", re.ASCII
)

_BAD_TIME = "A time is a calendar date, or a date with a clock time and an offset between -12:00 and +14:00."
_CLOCK = "hh:mm[:ss[.s]][Z or +hh:mm], the offset at least where the study declares no time zone"
_TABLE_TIME = Accepts(form=f"YYYY-MM-DD, or with a T or a blank after it {_CLOCK}")
_TABLE_INSTANT = Accepts(form=f"YYYY-MM-DD, with a T or a blank after it {_CLOCK}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written: its delimiter, its decimal mark, and its words for a missing value.

    An empty cell is always missing. The words are compared with whole cells, without spaces around them.
    """

    delimiter: Delimiter = ","
    decimal: DecimalMark = "."
    missing: frozenset[str] = frozenset()


class Trouble(NamedTuple):
    """Why a cell cannot be read; `detail` is a possible cause for the sender to check, `accepts` what would be read."""

    code: FaultCode
    detail: str | None = None
    accepts: Accepts | None = None


class Row(NamedTuple):
    """A row: the line of the body on which it begins, from 1, its cells, and where it begins and ends in the body."""

    line: int
    cells: Sequence[str]
    begin: int = 0
    end: int = 0


class TableBody:
    """The bytes of a table. A row is read again where it is needed, so that not all cells are in memory at a time."""

    def __init__(self, content: bytes, dialect: Dialect) -> None:
        self.content, self._dialect = content, dialect
        self.begun = 1
        """The line on which the row begins that is read now."""
        self._at = self._begun = len(BYTE_ORDER_MARK) if content.startswith(BYTE_ORDER_MARK) else 0

    def rows(self) -> Iterator[Row]:
        """The rows that are not empty, read line by line."""
        reader = self._reader(self._lines())
        for cells in reader:
            if any(map(str.strip, cells)):
                yield Row(self.begun, cells, self._begun, self._at)
            self.begun, self._begun = reader.line_num + 1, self._at

    def row(self, line: int, begin: int, end: int) -> Row:
        """A row that was read before."""
        text = io.StringIO(self.content[begin:end].decode(), newline="")
        return Row(line, next(self._reader(text)), begin, end)

    def _reader(self, lines: Iterable[str]) -> Reader:
        delimiter = self._dialect.delimiter
        return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t")

    def _lines(self) -> Iterator[str]:
        for number in itertools.count(1):
            if self._at == len(self.content):
                return
            ROWS.check(number // 2)  # some lines are empty or continue a row
            match = _LINE.match(self.content, self._at)
            self._at = match.end() if match else len(self.content)
            if self._at - self._begun > LONGEST_ROW:
                raise TooLarge(f"A row may have {LONGEST_ROW} bytes.")
            yield match[0].decode() if match else ""


class PatientResults(NamedTuple):
    """The rows of one patient: either their history or their refusal.

    `subject` is `None` for all rows whose patient is not known; they share one refusal.
    """

    subject: str | None
    history: History | None
    error: ServiceError | None


class _Rows:
    """Rows of a body, each read when it is needed."""

    def __init__(self, body: TableBody, places: "array[int]") -> None:
        self._body, self._places = body, places

    def __len__(self) -> int:
        return len(self._places) // 3

    def __iter__(self) -> Iterator[Row]:
        numbers = iter(self._places)
        return map(self._body.row, numbers, numbers, numbers)


@dataclass(slots=True)
class ResultTable:
    """The rows of a table by patient, in the order of their first rows."""

    feed: Feed
    dialect: Dialect
    columns: Sequence[str]
    body: TableBody
    rows: int = 0
    skipped: Counter[Skipped] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    """The first faults of the rows that were read so far."""
    _rows: dict[str | None, "array[int]"] = field(default_factory=dict)
    """Of each row three numbers: its line, and where it begins and ends in the body."""
    _patients: int = 0
    _left_out: int = 0
    _not_ours: dict[str | None, list[ReceiptLine]] = field(default_factory=dict)
    _subjects: dict[str | None, str | Trouble] = field(default_factory=dict)

    def take(self, row: Row) -> None:
        """Add a row to its patient. A row that is not ours is counted, and is a line of the receipt of its patient.

        Raises `TooLarge` if there are more rows or patients than one body may have.
        """
        self.rows += 1
        ROWS.check(self.rows)
        check_time()
        if len(row.cells) != len(self.columns):
            self._add_fault(Fault(f"/{row.line}", FaultCode.RAGGED_ROW))
            return
        given = self._given(row)
        reason = self._skip_reason(given)
        subject = self._subject(given.get("patient"))
        if reason is not None:
            self.skipped[reason] += 1
            self._leave_out()
            if isinstance(subject, Trouble):
                return
            coding = Coding(given.get("code_system"), given.get("code"), given.get("code_text"))
            sent = unknown_code((coding,), given.get("unit")) if reason == "code" else SentFact("")
            sent = sent._replace(source=given.get("source", given.get("lab")))
            line = ReceiptLine(f"/{row.line}/{reason}", Disposition.NOT_OURS, reason, sent=sent)
            self._not_ours.setdefault(subject, []).append(line)
        elif isinstance(subject, Trouble):
            self._add_fault(Fault(f"/{row.line}/patient", *subject))
            return
        rows = self._rows.setdefault(subject, array("L"))
        if reason is None:
            self._patients += not rows
            rows.extend((row.line, row.begin, row.end))
        if self._patients > MOST_ITEMS:
            raise TooLarge(f"A table may hold {MOST_ITEMS} patients.")

    def read(self, *, strict: bool = False) -> Iterator[PatientResults]:
        """The results of each patient, one after the other.

        A row with a fault is set aside. If it is `strict`, the row refuses all rows of its patient. So do all rows with
        a fault that are too many for one table.
        """
        unknown = list(self.faults)
        for subject, places in self._rows.items():
            rows = _Rows(self.body, places)
            if subject is None:
                yield PatientResults(None, None, InvalidDocument(faults=unknown))
            elif len(rows) > MOST_ROWS_OF_ONE:
                yield PatientResults(
                    subject, None, TooLarge(f"A patient may have {MOST_ROWS_OF_ONE} rows in one table.")
                )
            elif strict:
                yield self._all_of(subject, rows)
            else:
                try:
                    yield PatientResults(subject, self._readable(subject, rows), None)
                except TooLarge as refusal:
                    yield PatientResults(subject, None, refusal)

    def _readable(self, subject: str, rows: _Rows) -> History:
        """The results of the rows without a fault. Each of the others is set aside, a word as a result of no number."""
        statements: list[Statement] = []
        aside = self._not_ours.get(subject, [])[:]
        for row in rows:
            statement, troubles = self._statement(row)
            if "value" in troubles and is_word(self._given(row)["value"]):
                self._list_fault(Fault(f"/{row.line}/value", *troubles["value"]))
                statement = _without_number(statement)
                troubles = {name: trouble for name, trouble in troubles.items() if name not in _CONTENT}
            if not troubles:
                statements.append(statement)
                continue
            if troubles.keys() <= {"upper_limit", "lower_limit"}:
                statements.append(statement._replace(notes=(*statement.notes, Note(NoteCode.LIMIT_UNREADABLE))))
                continue
            (name, trouble), *_ = troubles.items()
            self._leave_out()
            self._list_fault(Fault(f"/{row.line}/{name}", *trouble))
            certain = {each: value for each, value in statement.fields.items() if each not in troubles}
            sent = described(statement._replace(fields=certain), self.feed.latest, "|".join(row.cells))
            place = f"/{row.line}/{name}"
            aside.append(ReceiptLine(place, Disposition.SET_ASIDE, trouble.code, sent=sent, accepts=trouble.accepts))
        found: list[Fault] = []
        history = readable(subject, statements, self.feed.latest, found)
        for line, fault in zip(history.aside, map(_in_table_form, found), strict=True):
            self._list_fault(fault)
            aside.append(line._replace(accepts=fault.accepts))
        return self._placed(replace(history, aside=tuple(sorted(aside, key=_row_number))), rows)

    def _placed(self, history: History, rows: _Rows) -> History:
        """The history with the place of its patient: the cell in its first row."""
        place_of = history.place
        patient = next((f"/{row.line}/patient" for row in rows), "")
        return replace(history, place=lambda kind, at: patient if kind == "patient" else place_of(kind, at))

    def _all_of(self, subject: str, rows: _Rows) -> PatientResults:
        statements: list[Statement] = []
        faults: list[Fault] = []
        for row in rows:
            statement, troubles = self._statement(row)
            if not troubles:
                statements.append(statement)
            elif len(faults) < MOST_FAULTS:
                faults += [Fault(f"/{row.line}/{name}", *trouble) for name, trouble in troubles.items()]
                # Checked alone, because a value in place of an unreadable cell could be equal to another row.
                faults += map(_in_table_form, history_of(subject, [statement], self.feed.latest)[1])
        history, found = history_of(subject, statements, self.feed.latest)
        faults += map(_in_table_form, found)
        if not faults:
            history = replace(history, aside=tuple(self._not_ours.get(subject, ())))
            return PatientResults(subject, self._placed(history, rows), None)
        return PatientResults(subject, None, InvalidDocument(faults=faults[:MOST_FAULTS]))

    def _statement(self, row: Row) -> tuple[Statement, dict[str, Trouble]]:
        """The statement of a row, and the troubles of its cells. Such cells are left out, or get a valid value if a
        result must have them.
        """
        given = self._given(row)
        read: dict[str, Any] = {"code": self._meaning(given)}
        read |= {"status": "final"} | {name: given[name] for name in _TEXT_CELLS if name in given}
        read["time"] = self._time(given["time"]) if "time" in given else Trouble(FaultCode.MISSING)
        if "issued" in given:
            read["issued"] = self._time(given["issued"])
        for name in _NUMBER_CELLS:
            if name in given:
                read |= self._bounded(given) if name == "value" else {name: self._number(given[name])}
        if "version" in given:
            whole = _WHOLE.fullmatch(given["version"])
            accepts = accepted_by(LabResult, ("version",))
            read["version"] = int(given["version"]) if whole else Trouble(FaultCode.BAD_NUMBER, None, accepts)
        if "id" in given:
            number = self.feed.pseudonyms.number(given.get("source", given.get("lab")), given["id"])
            read["id"] = _number_or_trouble(number, given["id"], no_number)
        if "unit" in read:
            read["unit"] = self.feed.codes.unit(read["unit"])
        if read["status"] in WITHDRAWN:
            read = self._without_bad_content(read)
        fields, troubles = _readable_fields(read)
        notes = self._check_limits(fields, given.get("reference_range", ""))
        return Statement("labs", fields, Place(f"/{row.line}", _PLACES), notes), troubles

    def _check_limits(self, fields: dict[str, Any], text: str) -> tuple[Note, ...]:
        """Complete the limits by the text of the range; limits that cannot be read are left out and noted."""
        limits = NormalLimits(fields.get("lower_limit"), fields.get("upper_limit"))
        if limits.lower is not None and limits.upper is not None and limits.lower > limits.upper:
            limits = UNREADABLE
        if text:
            stated = read_limits(text, fields.get("unit"), self.feed.codes, self.dialect.decimal)
            limits = joined_limits(limits, stated)
        fields |= {"lower_limit": limits.lower, "upper_limit": limits.upper}
        return limits.notes

    def _given(self, row: Row) -> dict[str, str]:
        """The cells of a row that are not missing, by column."""
        missing = self.dialect.missing
        stripped = zip(self.columns, map(str.strip, row.cells), strict=True)
        return {name: cell for name, cell in stripped if cell and cell not in missing}

    def _skip_reason(self, given: Mapping[str, str]) -> Skipped | None:
        if "code" in given:
            meaning = self._meaning(given)
            if meaning is None or not (isinstance(meaning, FaultCode) or meaning in LAB_CODES):
                return "code"
        # A result without a value has no meaning, unless its status withdraws it.
        status = given.get("status", "final")
        return "value" if "value" not in given and status in STATUSES and status not in WITHDRAWN else None

    def _meaning(self, given: Mapping[str, str]) -> str | FaultCode | None:
        """The meaning of the code of a row. A code without a system is ours or LOINC, as in our own format."""
        if "code" not in given:
            return FaultCode.MISSING
        system, code = given.get("code_system"), given["code"]
        if system is None and code in LAB_CODE_OF:
            system, code = OWN_SYSTEM, LAB_CODE_OF[code]
        return self.feed.codes.meaning([Coding(system, code, given.get("code_text"))])

    def _subject(self, written: str | None) -> str | Trouble:
        if written not in self._subjects:
            given = [] if written is None else [Identifier(None, written)]
            subject = self.feed.pseudonyms.patient(given)
            self._subjects[written] = _number_or_trouble(subject, written or "", no_patient)
            if len(self._subjects) > MOST_ITEMS:
                raise TooLarge(f"A table may hold {MOST_ITEMS} patients.")
        return self._subjects[written]

    def _leave_out(self) -> None:
        self._left_out += 1
        if self._left_out > MOST_LEFT_OUT:
            raise TooLarge(f"A table may hold {MOST_LEFT_OUT} rows that are of other tests or cannot be read.")

    def _add_fault(self, fault: Fault) -> None:
        self._rows.setdefault(None, array("L"))
        self._list_fault(fault)

    def _list_fault(self, fault: Fault) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)

    def _without_bad_content(self, read: dict[str, Any]) -> dict[str, Any]:
        """A withdrawal without its value, unit and limits, if these have faults: it needs its number, code and time."""
        fields, troubles = _readable_fields(read)
        faults = history_of("P", [Statement("labs", fields, Place("", _PLACES))], self.feed.latest)[1]
        if _CONTENT.isdisjoint(troubles) and _CONTENT.isdisjoint(fault.pointer[1:] for fault in faults):
            return read
        return {name: value for name, value in read.items() if name not in _CONTENT}

    def _bounded(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The value, and the comparator if it is written before the value."""
        bound = _BOUND.match(given["value"])
        if bound is None:
            return {"value": self._number(given["value"])}
        comparator = Trouble(FaultCode.REPEATED_VALUE) if "comparator" in given else bound[1]
        return {"value": self._number(given["value"][bound.end() :]), "comparator": comparator}

    def _number(self, written: str) -> float | Trouble:
        mark = self.dialect.decimal
        if _NUMBERS[mark].fullmatch(written):
            return float(written.replace(",", "."))
        other: DecimalMark = "," if mark == "." else "."
        guess = None
        if other in written and _LIKE_THE_OTHER.fullmatch(written):
            guess = f"This looks like a number with a decimal mark `{other}`; declare decimal={other} if it is."
        return Trouble(FaultCode.BAD_NUMBER, guess, Accepts(form=f"digits with at most one decimal mark `{mark}`"))

    def _time(self, written: str) -> str | Trouble:
        """A time in the form of our own format. A time without an offset is in the zone that the study declares."""
        shape = _TIME.fullmatch(written)
        if shape is None:
            return Trouble(FaultCode.BAD_TIME, _BAD_TIME, _TABLE_TIME)
        day, clock, seconds, fraction, offset = shape.groups()
        if clock is None:
            return str(day)
        at = f"{day}T{clock}{seconds or ':00'}{fraction or ''}"
        if offset is not None:
            return f"{at}{offset}"
        local = with_offset(at, self.feed.zone) if self.feed.zone is not None else FaultCode.NO_OFFSET
        return Trouble(local, None, _TABLE_TIME) if isinstance(local, FaultCode) else local


def read_table(body: bytes, dialect: Dialect, feed: Feed) -> ResultTable:
    """The rows of a table by patient.

    Raises `UnsupportedMediaType` if the bytes are not UTF-8, `MalformedDocument` if a quoted cell does not end,
    `InvalidDocument` with all faults of the header, and `TooLarge`. `ResultTable.read` gives the faults of rows.
    """
    if body.startswith(_UTF16):
        raise _not_utf8()
    if b"\0" in body:
        line = body.count(b"\n", 0, body.index(b"\0")) + 1
        raise MalformedDocument(f"There is a NUL on line {line}.", [Fault(f"/{line}", FaultCode.MALFORMED)])
    content = TableBody(body, dialect)
    rows = content.rows()
    try:
        header = next(rows, None)
        if header is None:
            raise MalformedDocument("There is no header.", [Fault("", FaultCode.MALFORMED)])
        columns = [cell.strip() for cell in header.cells]
        faults = list(islice(_header_faults(header.line, columns, dialect), MOST_FAULTS))
        if faults:
            raise InvalidDocument(faults=faults)
        table = ResultTable(feed, dialect, columns, content)
        for row in rows:
            table.take(row)
    except UnicodeDecodeError:
        raise _not_utf8() from None
    except csv.Error:
        line = content.begun
        detail = f"A quoted cell of the row that begins on line {line} does not end correctly."
        raise MalformedDocument(detail, [Fault(f"/{line}", FaultCode.MALFORMED)]) from None
    return table


def _not_utf8() -> UnsupportedMediaType:
    return UnsupportedMediaType(
        "A table is read as UTF-8, with or without a byte order mark.",
        [Fault("", FaultCode.UNKNOWN_ENCODING, None, Accepts(one_of=("UTF-8",)))],
    )


def _header_faults(line: int, columns: Sequence[str], dialect: Dialect) -> Iterator[Fault]:
    """The faults of the header. Columns are named by their number, because their names are the sender's own text."""
    other = _another_delimiter(columns, dialect)
    if other is not None:
        guess = f"This looks like a header with {_DELIMITERS[other]} between its cells; declare the delimiter if it is."
        yield Fault(f"/{line}", FaultCode.UNKNOWN_COLUMN, guess, Accepts(one_of=COLUMNS))
        return
    for number, name in enumerate(columns, 1):
        if name not in COLUMNS:
            yield Fault(f"/{line}/{number}", FaultCode.UNKNOWN_COLUMN, None, Accepts(one_of=COLUMNS))
        elif name in columns[: number - 1]:
            yield Fault(f"/{line}/{number}", FaultCode.REPEATED_COLUMN)
    for name in REQUIRED:
        if name not in columns:
            yield Fault(f"/{line}/{name}", FaultCode.MISSING)


def _another_delimiter(columns: Sequence[str], dialect: Dialect) -> Delimiter | None:
    """The other delimiter that gives a valid header, if the declared one does not."""
    for other in _DELIMITERS:
        names = {name.strip(' "') for cell in columns for name in cell.split(other)}
        if other != dialect.delimiter and names.issuperset(REQUIRED):
            return other if not set(REQUIRED).issubset(columns) else None
    return None


def _in_table_form(fault: Fault) -> Fault:
    """The fault of a time in the words of a table, because the reader of our own times found it; others unchanged."""
    if fault.code is not FaultCode.BAD_TIME or fault.accepts is None:
        return fault
    return replace(
        fault, detail=_BAD_TIME, accepts=_TABLE_INSTANT if fault.accepts.form == INSTANT_FORM else _TABLE_TIME
    )


def _number_or_trouble(number: str | FaultCode, written: str, why_not: Callable[[str], str | None]) -> str | Trouble:
    """A number as it is stored, or its trouble. In a table, a word for a missing number can be declared."""
    if not isinstance(number, FaultCode):
        return number
    why = why_not(normalised(written)) if number is FaultCode.BAD_IDENTIFIER else None
    return Trouble(number, why and f"{why} Keep the column as text; declare a word for a missing cell in `missing`.")


def is_word(value: str) -> bool:
    """Whether the text of a result is a word such as `HEMOLYZED`, and not a number or a word for a missing one."""
    return any(map(str.isalpha, value)) and not any(map(str.isnumeric, value)) and no_number(value) is None


def _without_number(statement: Statement) -> Statement:
    """The statement of a result that is a word. It may outrank a number, and its place is the cell of the word."""
    fields = {name: value for name, value in statement.fields.items() if name not in _CONTENT}
    return Statement("labs", fields, Place(statement.place.base, _AT_VALUE), no_number=True)


def _row_number(line: ReceiptLine) -> int:
    return int(line.place.split("/")[1])


def _readable_fields(read: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Trouble]]:
    """The fields that could be read, and the troubles of the others."""
    troubles = {
        name: value if isinstance(value, Trouble) else Trouble(value)
        for name, value in read.items()
        if isinstance(value, Trouble | FaultCode)
    }
    if not troubles:
        return read, troubles
    fields = {name: value for name, value in read.items() if name not in troubles}
    if "code" in troubles:
        fields |= {"code": "CK", "unit": "U/L"}  # without a known code, the unit cannot be checked
    if "time" in troubles:
        fields["time"] = "2000-01-01"
    if "value" in troubles:
        fields["value"] = 0.0
    return fields, troubles
