"""Import files: read the content of a file in parts and store it in the same way as the same content over HTTP.

The file holds, in this order: what an import needs and reports (`Into`, `Step`, `Refusal`); `import_file`; and how it
imports timelines, HL7 v2 messages, FHIR resources, tables and workbooks.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from app.access.callers import COMMAND
from app.bulk.file_formats import Cutter, Messages, Record, groups, records
from app.errors import (
    Accepts,
    Busy,
    Fault,
    FaultCode,
    InvalidDocument,
    MalformedDocument,
    ServiceError,
    TooLarge,
    UnsupportedMediaType,
)
from app.fhir.bundle_entries import Entry
from app.fhir.own_address import NOWHERE, OwnAddress
from app.fhir.read_bundle import read_line
from app.fhir.submit import EntryResult, store_bundle, store_each
from app.hl7v2.submit import store_message
from app.readers.charsets import Charset
from app.readers.json_timelines import MOST_ITEMS
from app.readers.pseudonyms import Identifier
from app.readers.recognition import Format, has_lines
from app.readers.statements import Feed
from app.readers.streams import Elements, Line, Lines
from app.readers.table_kinds import kinds_like
from app.readers.table_layout import Layout, OneKind, plain, planned
from app.readers.table_rows import Dialect, Row
from app.readers.workbook_tables import sheets_of
from app.store.engine import Database
from app.submission.batches import ItemOutcome, facts_of, lost, store_sheets, store_table
from app.submission.exports import Exports, ReadExport
from app.submission.feeds import read_feed
from app.submission.loop import PAUSES
from app.submission.receipts import joined
from app.submission.streams import Stream
from app.timeline.receipts import NOT_KEPT, Disposition, NotKept, Receipt
from app.timeline.times import microseconds

MOST_LINES_NAMED = 5
"""How many line numbers are named where the rows of a patient are refused."""
_STATUS_OF_ENTRY = {"created": "created", "updated": "changed", "unchanged": "unchanged", "deleted": "changed"}
_FAULT_OF = {NotKept.NOT_A_NUMBER: FaultCode.BAD_NUMBER, NotKept.NO_RESULT: FaultCode.UNKNOWN_REFERENCE}
"""The fault of a reason of the ledger. Of the others, something is missing that says which draw is meant."""


@dataclass(frozen=True, slots=True)
class Into:
    """The study that files are imported into, and what is needed to read them.

    `longest` is the size in bytes of the largest piece (line, element, message or part of a table) that is read.
    `layout` says what the columns of tables mean; without it, each header says of which kind its table is.
    `moved_from` is another study whose exports are taken, too.
    `own` is the address of the FHIR facade, to which resources may refer.
    """

    database: Database
    study: str
    secret: str | None
    longest: int
    dialect: Dialect = field(default_factory=Dialect)
    layout: Layout | None = None
    moved_from: str | None = None
    own: OwnAddress = NOWHERE


class Refusal(NamedTuple):
    """A piece that was not stored: its place in the file, its text (`None` where it was not kept), and the reason."""

    place: str
    text: bytes | None
    error: ServiceError


@dataclass(slots=True)
class Step:
    """What happened to one part of a file.

    `read` is the number of bytes that were read for it. `counts` counts the items by their status: timelines,
    resources, messages, or the rows of one patient. `facts` counts the facts of their receipts by disposition.
    `left_alone` counts what the service does not keep, by its sort.
    `head` is the text that must come before refused rows to make a file of them: the header of a table. `exports` are
    those that a file of lines had; it is given with the last step of such a file.
    """

    read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    facts: Counter[Disposition] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)
    head: bytes = b""
    exports: list[ReadExport] | None = None

    def refuse(self, place: str, text: bytes | None, error: ServiceError) -> None:
        """Count a piece that was not stored: as skipped where the database was busy, else as rejected."""
        self.counts["skipped" if isinstance(error, Busy) else "rejected"] += 1
        self.refused.append(Refusal(place, text, error))


def import_file(file: Path, format: Format, into: Into) -> Iterator[Step]:
    """Store the content of a file, part by part.

    Raises `NotFound` for an unknown study, `Conflict` where the identifiers of the study need a secret and none is
    set, and `Busy` where the database cannot be written to at all.
    """
    match format:
        case "timelines":
            return _import_timelines(file, Elements(into.longest), "item", "native-json", into)
        case "ndjson":
            return _import_timelines(file, Lines(into.longest), "line", "native-ndjson", into)
        case "fhir":
            return _import_resources(file, into)
        case "hl7v2":
            return _import_messages(file, into)
        case "csv":
            return _import_table(file, into)
        case "xlsx":
            return _import_workbook(file, into)


def _import_timelines(file: Path, cutter: Cutter, unit: str, format: str, into: Into) -> Iterator[Step]:
    stream = Stream(
        into.database, into.study, format, into.longest, secret=into.secret, client=COMMAND, moved_from=into.moved_from
    )
    lines = isinstance(cutter, Lines)
    for read, group in groups(file, cutter):
        step = Step(read)
        items = stream.exports.timelines(group) if lines else group
        for line, outcome in zip(items, stream.store(items), strict=True):
            _count_item(step, f"{unit} {line.number}", line.text, outcome)
        yield step
    if lines:
        last = Step(exports=stream.exports.read)
        for each in stream.exports.read:
            if not each.is_whole:
                last.refuse("the file", None, InvalidDocument(f"{each.objection}; what is stored stays."))
        yield last


def check_exports(file: Path, into: Into) -> None:
    """Read a file of lines without storing it, if it begins as an export.

    Raises `InvalidDocument` if an export in it is not whole, and `Conflict` if the study does not take it.
    """
    exports = Exports(into.database, into.study, into.secret, into.moved_from)
    for _, group in groups(file, Lines(into.longest)):
        exports.timelines(group)
        for refusal in exports.refused.values():
            raise refusal
        if group and not exports.read:
            return
    for each in exports.read:
        if not each.is_whole:
            raise InvalidDocument(f"{each.objection}. Without its first line it is imported as it is")


def _count_item(step: Step, place: str, text: bytes | None, outcome: ItemOutcome) -> None:
    if outcome.error is not None:
        step.refuse(place, text, outcome.error)
        return
    step.facts += facts_of([outcome])
    aside = outcome.receipt is not None and _refuse_aside(step, place, text, outcome.receipt)
    if not (aside and lost(outcome)):
        step.counts[outcome.status] += 1


def _import_messages(file: Path, into: Into) -> Iterator[Step]:
    _feed_for(into)  # raises before the first message if the study cannot store messages
    for read, group in groups(file, Messages(into.longest)):
        step = Step(read)
        for number, message in group:
            try:
                _store_message(step, f"message {number}", message, into)
            except ServiceError as error:
                step.refuse(f"message {number}", message, error)
        yield step


def _store_message(step: Step, place: str, message: bytes | None, into: Into) -> None:
    if message is None:
        raise _too_large(into)
    reply = store_message(
        into.database, into.study, message, secret=into.secret, now=_now(), client=COMMAND, pauses=PAUSES
    )
    step.left_alone.update(reply.skipped)
    step.facts += reply.receipt.counts
    if reply.code != "AA":
        step.refuse(place, message, InvalidDocument(faults=reply.faults))
        return
    if _refuse_aside(step, place, message, reply.receipt) and reply.receipt.lost:
        return
    counts = reply.counts
    news = counts is not None and bool(counts.added or counts.superseded or counts.withdrawn)
    step.counts["changed" if news else "unchanged"] += 1


def _import_resources(file: Path, into: Into) -> Iterator[Step]:
    """FHIR: one resource or bundle on each line, or one in the whole file."""
    unit, cutter = ("line", Lines(into.longest)) if has_lines(file) else ("item", Elements(into.longest))
    for read, group in groups(file, cutter):
        step, feed = Step(read), _feed_for(into)
        waiting: list[tuple[Line, Entry]] = []
        for line in group:
            place = f"{unit} {line.number}"
            try:
                if line.text is None:
                    raise _too_large(into)
                entry = read_line(line.text, feed, into.own)
                if entry.resource != "Bundle":
                    waiting.append((line, entry))
                    continue
                _store_each(step, unit, waiting, feed, into)  # a bundle may refer to resources that come before it
                waiting = []
                _store_bundle(step, place, line.text, into)
            except ServiceError as error:
                step.refuse(place, line.text, error)
        _store_each(step, unit, waiting, feed, into)
        yield step


def _store_each(step: Step, unit: str, lines: Sequence[tuple[Line, Entry]], feed: Feed, into: Into) -> None:
    """Store resources in one transaction, each of them accepted or refused by itself."""
    if not lines:
        return
    entries = [entry for _, entry in lines]
    try:
        results = store_each(
            into.database, into.study, feed, entries, client=COMMAND, received_at=_now(), pauses=PAUSES
        )
    except Busy as busy:
        results = [EntryResult(entry, "refused", error=busy) for entry in entries]
    for (line, _), result in zip(lines, results, strict=True):
        if result.error is not None:
            step.refuse(f"{unit} {line.number}", line.text, result.error)
        else:
            _refuse_aside(step, f"{unit} {line.number}", line.text, result.receipt)
            _count_entry(step, result)


def _store_bundle(step: Step, place: str, text: bytes, into: Into) -> None:
    """Store a bundle: all of it or nothing. The entries of a batch are stored or refused one by one."""
    bundle = store_bundle(
        into.database, into.study, text, secret=into.secret, now=_now(), client=COMMAND, pauses=PAUSES, own=into.own
    )
    if bundle.type != "batch":  # its entries may refer to each other, so that it is sent again as a whole
        _refuse_aside(step, place, text, joined([result.receipt for result in bundle.results]))
    for number, result in enumerate(bundle.results):
        at = f"{place}, entry[{number}]"
        if result.error is not None:
            step.refuse(at, _batch_with_entry(text, number), result.error)
            continue
        if bundle.type == "batch" and result.receipt.total(Disposition.SET_ASIDE):
            _refuse_aside(step, at, _batch_with_entry(text, number), result.receipt)
        _count_entry(step, result)


def _count_entry(step: Step, result: EntryResult) -> None:
    step.facts.update(result.receipt.counts)
    if result.receipt.lost and result.receipt.total(Disposition.SET_ASIDE):
        return
    if result.status == "skipped":
        step.left_alone.update([result.entry.skipped] if result.entry.skipped else [])
    else:
        step.counts[_STATUS_OF_ENTRY[result.status]] += 1


def _batch_with_entry(bundle: bytes, number: int) -> bytes:
    """The same batch with only one of its entries."""
    batch = json.loads(bundle)
    return json.dumps(batch | {"entry": [batch["entry"][number]]}).encode()


def _import_table(file: Path, into: Into) -> Iterator[Step]:
    """Store a table. The rows of one patient in one part are stored together or refused together."""
    feed = _feed_for(into)  # raises before the first row if the study cannot store tables
    try:
        for part in _table_parts(file, into):
            step = Step(sum(len(row.text) for row in part.rows), head=part.header.text)
            readable = _store_table_part(step, part, feed, into)
            yield step
            if not readable:
                return
    except ServiceError as error:
        last = Step()
        last.refuse("the rest of the table", None, error)
        yield last


class _TablePart(NamedTuple):
    """Some successive rows of a table. `header_lines` is the number of lines of its header."""

    header: Record
    header_lines: int
    rows: Sequence[Record]
    dialect: Dialect
    layout: Layout

    def body(self) -> bytes:
        """The part as a table."""
        return self.header.text + b"".join(row.text for row in self.rows)

    def in_file(self, fault: Fault) -> Fault:
        """The same fault with the line number in the file instead of the one in this part."""
        _, *place = fault.pointer.split("/", 2)
        if not place or not place[0].isdecimal():
            return fault
        line = int(place[0])
        first = self.header.line if line <= self.header_lines else self.rows[0].line - self.header_lines
        return replace(fault, pointer="/".join(["", str(first + line - 1), *place[1:]]))

    def rows_by_patient(self, feed: Feed) -> dict[str | None, list[Record]]:
        """The rows of each patient, by the identifier that is stored; rows without one are under `None`."""
        charset = self.dialect.charset
        plan = planned(_header_row(self.header, charset), self.layout, self.dialect)
        rows: dict[str | None, list[Record]] = {}
        for row in self.rows:
            subject: str | FaultCode = FaultCode.NO_SUBJECT
            if len(row.cells) == plan.width:
                cell = row.cells[plan.patient].encode("latin-1").decode(charset).strip()
                if cell and cell not in self.dialect.missing:
                    subject = feed.pseudonyms.patient([Identifier(None, cell)])
            rows.setdefault(None if isinstance(subject, FaultCode) else subject, []).append(row)
        return rows


def _table_parts(file: Path, into: Into) -> Iterator[_TablePart]:
    """The table in parts that are as large as `longest` permits. There is at least one part."""
    read = records(file, into.dialect.delimiter, into.longest)
    header = next((record for record in read if any(map(str.strip, record.cells))), None)
    if header is None:
        raise MalformedDocument("There is no header.", [Fault("", FaultCode.MALFORMED)])
    layout = into.layout or _layout_of(header, into.dialect)
    rows: list[Record] = []
    header_lines, size = 0, 0
    for row in read:
        header_lines = header_lines or row.line - header.line
        if rows and (size + len(row.text) > into.longest or len(rows) == MOST_ITEMS):
            yield _TablePart(header, header_lines, rows, into.dialect, layout)
            rows, size = [], 0
        rows.append(row)
        size += len(row.text)
    yield _TablePart(header, header_lines or 1, rows, into.dialect, layout)


def _header_row(header: Record, charset: Charset) -> Row:
    """The header with its cells decoded; what cannot be decoded is replaced, because the table is refused later."""
    return Row(header.line, [cell.encode("latin-1").decode(charset, "replace") for cell in header.cells])


def _layout_of(header: Record, dialect: Dialect) -> OneKind:
    """The layout of the kind of table that has such a header; of results, if no kind has it."""
    names = [plain(cell) for cell in _header_row(header, dialect.charset).cells]
    return OneKind(next(iter(kinds_like(names)), "labs"))


def _store_table_part(step: Step, part: _TablePart, feed: Feed, into: Into) -> bool:
    """Store the rows of a part. `False` where the header shows that the table cannot be read."""
    try:
        stored = store_table(
            into.database, into.study, part.body(), part.dialect, part.layout,
            secret=into.secret, now=_now(), client=COMMAND, atomic=False, pauses=PAUSES,
        )  # fmt: skip
    except (InvalidDocument, UnsupportedMediaType) as error:
        step.refuse("the table", None, _error_in_file(error, part))
        return False
    except ServiceError as error:
        step.refuse(_line_numbers(part.rows), b"".join(row.text for row in part.rows), _error_in_file(error, part))
        return True
    step.left_alone.update(stored.skipped)
    step.facts += facts_of(stored.items)
    refused = any(item.error is not None for item in stored.items)
    rows_of = part.rows_by_patient(feed) if refused else {}
    for item in stored.items:
        if item.error is not None:
            _refuse_rows(step, rows_of.get(item.patient, []), _error_in_file(item.error, part))
            continue
        if not lost(item):
            step.counts[item.status] += 1
        faults = [] if item.receipt is None else [part.in_file(fault) for fault in _set_aside(item.receipt)]
        if faults:
            lines = {int(fault.pointer.split("/")[1]) for fault in faults}
            _refuse_rows(step, [row for row in part.rows if row.line in lines], InvalidDocument(faults=faults))
    return True


def _import_workbook(file: Path, into: Into) -> Iterator[Step]:
    """Store a workbook, what all its sheets say of a patient together. What is refused is named by sheet and row: it
    is corrected in the workbook, which may be imported again.
    """
    step = Step(file.stat().st_size)
    _feed_for(into)  # raises before the first row if the study cannot store tables
    try:
        with file.open("rb") as opened:
            stored = store_sheets(
                into.database, into.study, sheets_of(opened, into.dialect, into.layout), into.dialect,
                secret=into.secret, now=_now(), client=COMMAND, atomic=False, pauses=PAUSES, format="xlsx",
            )  # fmt: skip
    except ServiceError as error:
        step.refuse("the workbook", None, error)
        yield step
        return
    step.left_alone.update(stored.skipped)
    step.facts += facts_of(stored.items)
    for item in stored.items:
        faults = [*item.error.faults] if item.error is not None else []
        if item.receipt is not None:
            faults += _set_aside(item.receipt)
        if item.error is None and not lost(item):
            step.counts[item.status] += 1
        if faults or item.error is not None:
            step.refuse(_rows_of(faults), None, item.error or InvalidDocument(faults=faults))
    yield step


def _rows_of(faults: Sequence[Fault]) -> str:
    """The rows of faults in a workbook, after the kinds of their sheets."""
    found = (re.match(r"(?:/([a-z_]+))?/(\d+)", fault.pointer) for fault in faults)
    named = dict.fromkeys(
        " row ".join(filter(None, each.groups())) if each[1] else f"row {each[2]}" for each in found if each
    )
    more = f" and {len(named) - MOST_LINES_NAMED} more" if len(named) > MOST_LINES_NAMED else ""
    return f"{', '.join(list(named)[:MOST_LINES_NAMED])}{more}" or "some rows"


def _refuse_rows(step: Step, rows: Sequence[Record], error: ServiceError) -> None:
    text = b"".join(row.text.rstrip(b"\r\n") + b"\n" for row in rows)
    step.refuse(_line_numbers(rows), text, error)


def _refuse_aside(step: Step, place: str, text: bytes | None, receipt: Receipt) -> bool:
    """Count a piece as refused if any of its facts is set aside: then it must be mended. `True` if so."""
    faults = list(_set_aside(receipt))
    if faults:
        step.refuse(place, text, InvalidDocument(faults=faults))
    return bool(faults)


def _set_aside(receipt: Receipt) -> Iterator[Fault]:
    """The facts of a receipt that are set aside, as faults."""
    for line in receipt.lines:
        if line.disposition is Disposition.SET_ASIDE:
            if line.reason in set(FaultCode):
                yield Fault(line.place, FaultCode(line.reason), None, line.accepts)
            else:
                reason = NotKept(str(line.reason))
                number = Accepts(form="a number") if reason is NotKept.NOT_A_NUMBER else None
                yield Fault(line.place, _FAULT_OF.get(reason, FaultCode.MISSING), NOT_KEPT[reason], number)


def _error_in_file(error: ServiceError, part: _TablePart) -> ServiceError:
    return type(error)(error.detail, [part.in_file(fault) for fault in error.faults])


def _line_numbers(rows: Sequence[Record]) -> str:
    named = ", ".join(str(row.line) for row in rows[:MOST_LINES_NAMED])
    more = f" and {len(rows) - MOST_LINES_NAMED} more" if len(rows) > MOST_LINES_NAMED else ""
    return f"line {named}{more}"


def _now() -> int:
    """The time of receipt, in microseconds since 1970."""
    return microseconds(datetime.now(UTC))


def _feed_for(into: Into) -> Feed:
    """The feed that the study declares, for content that is received now."""
    return read_feed(into.database, into.study, into.secret, _now())


def _too_large(into: Into) -> ServiceError:
    return TooLarge(f"This piece has more than {into.longest} bytes.")
