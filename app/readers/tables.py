"""Reads tables: rows become statements about facts, those of each patient one history or one refusal.

A table is a CSV (`read_table`), or rows that another reader gives (`read_sheets`). Nothing about its dialect or its
columns is guessed from its content.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument, ServiceError, TooLarge
from app.readers.budget import ROWS, check_time
from app.readers.json_timelines import MOST_ITEMS
from app.readers.lab_rows import CONTENT, LIMITS, LabRows, is_word, without_number
from app.readers.pseudonyms import Identifier, no_patient
from app.readers.statements import Feed, Skipped, Statement, described, history_of, left_out, readable
from app.readers.table_cells import CellReader, Trouble, in_table_form, number_or_trouble
from app.readers.table_kinds import VALUE_FIELDS, FactRows, PatientRows, RowReader, TableKind
from app.readers.table_layout import LABS, Layout, PartOfRow, RowPlan, planned
from app.readers.table_rows import Dialect, Row, RowSource, TableBody
from app.timeline.facts import History
from app.timeline.normalize import MOST_FAULTS
from app.timeline.receipts import Disposition, Note, NoteCode, ReceiptLine, SentFact

MOST_ROWS_OF_ONE = 25_000
"""Greatest number of rows of one patient in one table; each needs two kilobytes while it is read."""
MOST_LEFT_OUT = 50_000
"""Greatest number of rows of one table that are not ours or set aside: the answer has a line for each."""


class PatientResults(NamedTuple):
    """The rows of one patient: either their history or their refusal.

    `subject` is `None` for all rows whose patient is not known; they share one refusal.
    """

    subject: str | None
    history: History | None
    error: ServiceError | None


class Sheet(NamedTuple):
    """The rows of a table: where they come from, what their columns are, and the place of the table in what was sent.

    The place is empty for a table that was sent by itself.
    """

    source: RowSource
    layout: Layout
    place: str = ""


@dataclass(frozen=True, slots=True)
class _Planned:
    """A sheet whose header was read."""

    source: RowSource
    place: str
    plan: RowPlan
    readers: Sequence[tuple[PartOfRow, RowReader]]

    def at(self, row: Row) -> str:
        """The place of a row."""
        return f"{self.place}/{row.line}"


class _Rows:
    """Rows of the sheets, each read when it is needed."""

    def __init__(self, sheets: Sequence[_Planned], places: "array[int]") -> None:
        self._sheets, self._places = sheets, places

    def __len__(self) -> int:
        return len(self._places) // 4

    def __iter__(self) -> Iterator[Row]:
        numbers = iter(self._places)
        for sheet, line, begin, end in zip(numbers, numbers, numbers, numbers, strict=True):
            yield self._sheets[sheet].source.row(line, begin, end)._replace(sheet=sheet)


class _Read(NamedTuple):
    """A part of a row: its cells by field, its statement, and the troubles of its cells by field."""

    given: Mapping[str, str]
    statement: Statement
    troubles: dict[str, Trouble]


@dataclass(slots=True)
class ResultTable:
    """The rows of a table, or of the sheets of a workbook, by patient, in the order of their first rows."""

    feed: Feed
    dialect: Dialect
    rows: int = 0
    skipped: Counter[Skipped] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    """The first faults of the rows that were read so far."""
    unread: Sequence[int] = ()
    """The numbers of the columns that are not read."""
    _sheets: list[_Planned] = field(default_factory=list)
    _rows: dict[str | None, "array[int]"] = field(default_factory=dict)
    """Of each row four numbers: its sheet, its line, and where it begins and ends in its source."""
    _patients: int = 0
    _left_out: int = 0
    _not_ours: dict[str | None, list[ReceiptLine]] = field(default_factory=dict)
    _subjects: dict[str | None, str | Trouble] = field(default_factory=dict)

    def add(self, sheet: Sheet) -> None:
        """Add the rows of a sheet, of which the first one is the header.

        Raises what the source raises, `InvalidDocument` with the faults of the header, and `TooLarge` if there are more
        rows or patients than one body may have.
        """
        rows = sheet.source.rows()
        header = next(rows, None)
        if header is None:
            raise MalformedDocument("There is no header.", [Fault(sheet.place, FaultCode.MALFORMED)])
        cells = CellReader(self.dialect, self.dialect.zone or self.feed.zone)
        try:
            plan = planned(header, sheet.layout, self.dialect)
        except InvalidDocument as refusal:
            faults = [fault.at(sheet.place + fault.pointer) for fault in refusal.faults]
            raise InvalidDocument(refusal.detail, faults) from None
        readers = [(part, _reader_of(part.kind, self.feed, cells)) for part in plan.parts]
        number = len(self._sheets)
        self._sheets.append(_Planned(sheet.source, sheet.place, plan, readers))
        self.unread = self.unread or plan.unread
        for row in rows:
            self.take(row._replace(sheet=number) if number else row)

    def take(self, row: Row) -> None:
        """Add a row to its patient. What is not ours is counted, and is a line of the receipt of its patient.

        Raises `TooLarge` if there are more rows or patients than one body may have.
        """
        self.rows += 1
        ROWS.check(self.rows)
        check_time()
        sheet = self._sheets[row.sheet]
        place = sheet.at(row)
        if len(row.cells) != sheet.plan.width:
            self._add_fault(Fault(place, FaultCode.RAGGED_ROW))
            return
        cell = row.cells[sheet.plan.patient].strip()
        subject = self._subject(None if cell == "" or cell in self.dialect.missing else cell)
        skipped: list[ReceiptLine] = []
        parts = 0
        for part, reader in sheet.readers:
            given = part.given(row.cells, self.dialect.missing)
            if given is None:
                continue
            parts += 1
            reason = reader.skipped(part.translated(given)[0] if part.words else given)
            if reason is not None:
                skipped.append(_not_ours(part, reader, place, given, reason))
        if not parts:
            line = ReceiptLine(place, Disposition.NOT_OURS, "row", sent=SentFact(""))
            skipped.append(line)
        for line in skipped:
            self._skip(line, subject)
        ours = parts > len(skipped)
        if isinstance(subject, Trouble):
            if ours:
                self._add_fault(Fault(f"{place}{sheet.plan.patient_place}", *subject))
            return
        rows = self._rows.setdefault(subject, array("L"))
        if ours:
            self._patients += not rows
            rows.extend((row.sheet, row.line, row.begin, row.end))
        if self._patients > MOST_ITEMS:
            raise TooLarge(f"A table may hold {MOST_ITEMS} patients.")

    def read(self, *, strict: bool = False) -> Iterator[PatientResults]:
        """The results of each patient, one after the other.

        A row with a fault is set aside. If it is `strict`, the row refuses all rows of its patient. So do all rows with
        a fault that are too many for one table.
        """
        unknown = list(self.faults)
        for subject, places in self._rows.items():
            rows = _Rows(self._sheets, places)
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
        """The facts of the rows without a fault. Each of the others is set aside, a word as a result of no number; a
        detail of the patient is left out.
        """
        statements: list[Statement] = []
        aside = self._not_ours.get(subject, [])[:]
        for row in rows:
            for part in self._parts_of(row):
                kept, lines = self._kept(part, row)
                statements += [] if kept is None else [kept]
                aside += lines
        found: list[Fault] = []
        history = readable(subject, statements, self.feed.latest, found)
        for line, fault in zip(history.aside, map(self._in_table_form, found), strict=True):
            self._list_fault(fault)
            aside.append(line._replace(accepts=fault.accepts))
        return self._placed(replace(history, aside=tuple(sorted(aside, key=self._order))), rows)

    def _kept(self, read: _Read, row: Row) -> tuple[Statement | None, list[ReceiptLine]]:
        """The statement of a part of a row, unless it is set aside, and the lines of what is left out of it."""
        given, statement, troubles = read
        if statement.section == "labs" and troubles:
            statement, troubles = self._result(given, statement, troubles)
        if not troubles:
            return statement, []
        places = {name: statement.place.of(name) for name in troubles}
        if statement.section == "patient":
            for name, trouble in troubles.items():
                self._list_fault(Fault(places[name], *trouble))
            lines = [left_out(places[name], name)._replace(accepts=why.accepts) for name, why in troubles.items()]
            return statement, lines
        (name, trouble), *_ = troubles.items()
        self._leave_out()
        self._list_fault(Fault(places[name], *trouble))
        certain = {each: value for each, value in statement.fields.items() if each not in troubles}
        sent = described(statement._replace(fields=certain), self.feed.latest, "|".join(row.cells))
        line = ReceiptLine(places[name], Disposition.SET_ASIDE, trouble.code, sent=sent, accepts=trouble.accepts)
        return None, [line]

    def _result(
        self, given: Mapping[str, str], statement: Statement, troubles: dict[str, Trouble]
    ) -> tuple[Statement, dict[str, Trouble]]:
        """A result whose value is a word as one without a number; limits that cannot be read are left out and noted."""
        if "value" in troubles and is_word(given["value"]):
            self._list_fault(Fault(statement.place.of("value"), *troubles["value"]))
            statement = without_number(statement)
            troubles = {name: trouble for name, trouble in troubles.items() if name not in CONTENT}
        if troubles and troubles.keys() <= LIMITS:
            return statement._replace(notes=(*statement.notes, Note(NoteCode.LIMIT_UNREADABLE))), {}
        return statement, troubles

    def _placed(self, history: History, rows: _Rows) -> History:
        """The history with the place of its patient: the cell in its first row."""
        place_of = history.place
        first = ((self._sheets[row.sheet], row) for row in rows)
        patient = next((f"{sheet.at(row)}{sheet.plan.patient_place}" for sheet, row in first), "")
        return replace(history, place=lambda kind, at: patient if kind == "patient" else place_of(kind, at))

    def _all_of(self, subject: str, rows: _Rows) -> PatientResults:
        statements: list[Statement] = []
        faults: list[Fault] = []
        for row in rows:
            for _, statement, troubles in self._parts_of(row):
                if not troubles:
                    statements.append(statement)
                elif len(faults) < MOST_FAULTS:
                    unread = [Fault(statement.place.of(name), *trouble) for name, trouble in troubles.items()]
                    # Checked alone, because a value in place of an unreadable cell could be equal to another row.
                    alone = map(self._in_table_form, history_of(subject, [statement], self.feed.latest)[1])
                    places = {fault.pointer for fault in unread}
                    faults += [*unread, *(fault for fault in alone if fault.pointer not in places)]
        history, found = history_of(subject, statements, self.feed.latest)
        faults += map(self._in_table_form, found)
        if not faults:
            history = replace(history, aside=tuple(self._not_ours.get(subject, ())))
            return PatientResults(subject, self._placed(history, rows), None)
        return PatientResults(subject, None, InvalidDocument(faults=faults[:MOST_FAULTS]))

    def _parts_of(self, row: Row) -> Iterator[_Read]:
        """The parts of a row that are ours."""
        missing = self.dialect.missing
        sheet = self._sheets[row.sheet]
        for part, reader in sheet.readers:
            given = part.given(row.cells, missing)
            if given is None:
                continue
            given, unlisted = part.translated(given) if part.words else (given, {})
            if reader.skipped(given) is None:
                statement, troubles = reader.statement(given, part.place(sheet.at(row)))
                yield _Read(given, statement, troubles | unlisted)

    def _order(self, line: ReceiptLine) -> tuple[int, int]:
        """The number of the sheet and of the row of a line of a receipt."""
        _, first, *rest = line.place.split("/", 3)
        if first.isdecimal():
            return 0, int(first)
        return next(at for at, sheet in enumerate(self._sheets) if sheet.place == f"/{first}"), int(rest[0])

    def _in_table_form(self, fault: Fault) -> Fault:
        return in_table_form(fault, self.dialect.dates)

    def _subject(self, written: str | None) -> str | Trouble:
        if written not in self._subjects:
            given = [] if written is None else [Identifier(None, written)]
            subject = self.feed.pseudonyms.patient(given)
            self._subjects[written] = number_or_trouble(subject, written or "", no_patient)
            if len(self._subjects) > MOST_ITEMS:
                raise TooLarge(f"A table may hold {MOST_ITEMS} patients.")
        return self._subjects[written]

    def _skip(self, line: ReceiptLine, subject: str | Trouble) -> None:
        self.skipped[line.reason] += 1  # type: ignore[index]  # the reason of such a line is a `Skipped`
        self._leave_out()
        if not isinstance(subject, Trouble):
            self._not_ours.setdefault(subject, []).append(line)

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


def read_table(body: bytes, dialect: Dialect, feed: Feed, layout: Layout = LABS) -> ResultTable:
    """The rows of a CSV by patient.

    Raises `UnsupportedMediaType` if the bytes are not of the declared character set, `MalformedDocument` if a quoted
    cell does not end, `InvalidDocument` with all faults of the header, and `TooLarge`. `ResultTable.read` gives the
    faults of rows.
    """
    return read_sheets([Sheet(TableBody(body, dialect), layout)], dialect, feed)


def read_sheets(sheets: Iterable[Sheet], dialect: Dialect, feed: Feed) -> ResultTable:
    """The rows of all sheets by patient. Raises what `ResultTable.add` raises, the faults of all sheets together."""
    table = ResultTable(feed, dialect)
    faults: list[Fault] = []
    for sheet in sheets:
        try:
            table.add(sheet)
        except InvalidDocument as refusal:
            faults += refusal.faults
    if faults:
        raise InvalidDocument(faults=faults[:MOST_FAULTS])
    return table


def _reader_of(kind: TableKind, feed: Feed, cells: CellReader) -> RowReader:
    if kind == "labs":
        return LabRows(feed, cells)
    return PatientRows(feed, cells) if kind == "patients" else FactRows(kind, feed, cells)


def _not_ours(part: PartOfRow, reader: RowReader, row: str, given: Mapping[str, str], reason: Skipped) -> ReceiptLine:
    sent = reader.not_ours(given, reason)
    name = VALUE_FIELDS[part.kind] if reason == "value" else reason
    return ReceiptLine(part.place(row).of(name), Disposition.NOT_OURS, reason, sent=sent)
