"""Files are imported: their content is read in parts and stored by the way that the same content takes over HTTP."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from app.bulk.file_formats import Cutter, Format, Messages, Record, groups, has_lines, records
from app.errors import (
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
from app.fhir.read_bundle import read_line
from app.fhir.submit import EntryResult, take_bundle, take_each
from app.hl7v2.submit import store_message
from app.readers.json_timelines import MOST_ITEMS
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed
from app.readers.streams import Elements, Line, Lines
from app.readers.tables import Dialect
from app.store.engine import Database
from app.submission.batches import ItemOutcome, store_table
from app.submission.feeds import read_feed
from app.submission.loop import PAUSES
from app.submission.streams import Stream
from app.timeline.times import microseconds


@dataclass(frozen=True, slots=True)
class Into:
    """Where files go: a study, with what is needed to read for it. `longest` is the largest piece that is read."""

    database: Database
    study: str
    secret: str | None
    longest: int
    dialect: Dialect = field(default_factory=Dialect)


class Refusal(NamedTuple):
    """What was not stored: where in the file it is, as it was written (`None` where it was not kept), and why."""

    place: str
    text: bytes | None
    error: ServiceError


@dataclass(slots=True)
class Step:
    """What happened to one part of a file: the bytes that it was read from, what was stored, left alone and refused.

    `counts` are of what is stored by itself: a timeline, a resource, a message, the rows of a patient. `head` is what
    must stand before what was refused to make a file of it, the header of a table.
    """

    read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    left_alone: Counter[str] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)
    head: bytes = b""

    def refuse(self, place: str, text: bytes | None, error: ServiceError) -> None:
        """Count what was not stored; what was not tried because the database was busy is counted as skipped."""
        self.counts["skipped" if isinstance(error, Busy) else "rejected"] += 1
        self.refused.append(Refusal(place, text, error))


def now() -> int:
    """The time at which something is received, in microseconds since 1970."""
    return microseconds(datetime.now(UTC))


def feed_for(into: Into) -> Feed:
    """What the study declares of its feeds, for what is received now."""
    return read_feed(into.database, into.study, into.secret, now())


_COUNTED = {"created": "created", "updated": "changed", "unchanged": "unchanged", "deleted": "changed"}


def import_file(file: Path, format: Format, into: Into) -> Iterator[Step]:
    """Store the content of a file, part by part.

    Raises `NotFound` for an unknown study, `Conflict` where there is no secret for its identifiers, and `Busy` where
    the database cannot be written to at all.
    """
    match format:
        case "timelines":
            return _timelines(file, Elements(into.longest), "item", "native-json", into)
        case "ndjson":
            return _timelines(file, Lines(into.longest), "line", "native-ndjson", into)
        case "fhir":
            return _resources(file, into)
        case "hl7v2":
            return _messages(file, into)
        case "csv":
            return import_table(file, into)


def _timelines(file: Path, cutter: Cutter, unit: str, format: str, into: Into) -> Iterator[Step]:
    stream = Stream(into.database, into.study, format)
    for read, group in groups(file, cutter):
        step = Step(read)
        for line, outcome in zip(group, stream.store(group), strict=True):
            _note(step, f"{unit} {line.number}", line.text, outcome)
        yield step


def _note(step: Step, place: str, text: bytes | None, outcome: ItemOutcome) -> None:
    if outcome.error is not None:
        step.refuse(place, text, outcome.error)
    else:
        step.counts[outcome.status] += 1


def _messages(file: Path, into: Into) -> Iterator[Step]:
    feed_for(into)  # a study that cannot take messages says so before the first one
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
        raise _too_long(into)
    reply = store_message(into.database, into.study, message, secret=into.secret, now=now(), pauses=PAUSES)
    step.left_alone.update(reply.skipped)
    if reply.code != "AA":
        step.refuse(place, message, InvalidDocument(faults=reply.faults))
        return
    counts = reply.counts
    news = counts is not None and bool(counts.added or counts.superseded or counts.withdrawn)
    step.counts["changed" if news else "unchanged"] += 1


def _resources(file: Path, into: Into) -> Iterator[Step]:
    """FHIR: a resource or a bundle on each line, or one that is the whole file."""
    unit, cutter = ("line", Lines(into.longest)) if has_lines(file) else ("item", Elements(into.longest))
    for read, group in groups(file, cutter):
        step, feed = Step(read), feed_for(into)
        waiting: list[tuple[Line, Entry]] = []
        for line in group:
            place = f"{unit} {line.number}"
            try:
                if line.text is None:
                    raise _too_long(into)
                entry = read_line(line.text, feed)
                if entry.resource != "Bundle":
                    waiting.append((line, entry))
                    continue
                _store_each(step, unit, waiting, feed, into)  # a bundle may refer to what stands before it
                waiting = []
                _store_bundle(step, place, line.text, into)
            except ServiceError as error:
                step.refuse(place, line.text, error)
        _store_each(step, unit, waiting, feed, into)
        yield step


def _store_each(step: Step, unit: str, lines: Sequence[tuple[Line, Entry]], feed: Feed, into: Into) -> None:
    """Resources each by itself, in one transaction."""
    if not lines:
        return
    entries = [entry for _, entry in lines]
    try:
        results = take_each(into.database, into.study, feed, entries, client=None, received_at=now(), pauses=PAUSES)
    except Busy as busy:
        results = [EntryResult(entry, "refused", error=busy) for entry in entries]
    for (line, _), result in zip(lines, results, strict=True):
        if result.error is not None:
            step.refuse(f"{unit} {line.number}", line.text, result.error)
        else:
            _count(step, result)


def _store_bundle(step: Step, place: str, text: bytes, into: Into) -> None:
    """A bundle: all of it or nothing, but for the entries of a batch."""
    taken = take_bundle(into.database, into.study, text, secret=into.secret, now=now(), pauses=PAUSES)
    for number, result in enumerate(taken.results):
        if result.error is None:
            _count(step, result)
        else:
            step.refuse(f"{place}, entry[{number}]", _batch_of(text, number), result.error)


def _count(step: Step, result: EntryResult) -> None:
    if result.disposition == "skipped":
        step.left_alone[result.entry.skipped or "resource"] += 1
    else:
        step.counts[_COUNTED[result.disposition]] += 1


def _batch_of(bundle: bytes, number: int) -> bytes:
    """A batch with one entry of another one."""
    batch = json.loads(bundle)
    return json.dumps(batch | {"entry": [batch["entry"][number]]}).encode()


def _too_long(into: Into) -> ServiceError:
    return TooLarge(f"It has more than {into.longest} bytes.")


LISTED = 5
"""Lines that are named where a patient with more rows is refused."""


class _Part(NamedTuple):
    """Rows that follow each other in a table; `height` is how many lines the header of the table has."""

    header: Record
    height: int
    rows: Sequence[Record]

    def body(self) -> bytes:
        """The part as a table."""
        return self.header.text + b"".join(row.text for row in self.rows)

    def in_file(self, fault: Fault) -> Fault:
        """A fault of the part at its line in the file."""
        _, *place = fault.pointer.split("/", 2)
        if not place or not place[0].isdecimal():
            return fault
        line = int(place[0])
        first = self.header.line if line <= self.height else self.rows[0].line - self.height
        return replace(fault, pointer="/".join(["", str(first + line - 1), *place[1:]]))

    def by_subject(self, feed: Feed, missing: frozenset[str]) -> dict[str | None, list[Record]]:
        """The rows of each subject as the reader tells them; those that name nobody under `None`."""
        columns = [cell.strip() for cell in self.header.cells]
        found: dict[str | None, list[Record]] = {}
        for row in self.rows:
            subject: str | FaultCode = FaultCode.NO_SUBJECT
            if len(row.cells) == len(columns):
                cell = row.cells[columns.index("patient")].encode("latin-1").decode().strip()
                if cell and cell not in missing:
                    subject = feed.pseudonyms.patient([Identifier(None, cell)])
            found.setdefault(None if isinstance(subject, FaultCode) else subject, []).append(row)
        return found


def import_table(file: Path, into: Into) -> Iterator[Step]:
    """Store a table; the rows of a patient in one part stand or fall together."""
    feed = feed_for(into)  # a study that cannot take tables says so before the first one
    try:
        for part in _parts(file, into):
            step = Step(sum(len(row.text) for row in part.rows), head=part.header.text)
            readable = _store(step, part, feed, into)
            yield step
            if not readable:
                return
    except ServiceError as error:
        last = Step()
        last.refuse("the rest of the table", None, error)
        yield last


def _parts(file: Path, into: Into) -> Iterator[_Part]:
    """The table in parts that are as large as what is read at once may be, at least one of them."""
    read = records(file, into.dialect.delimiter, into.longest)
    header = next((record for record in read if any(map(str.strip, record.cells))), None)
    if header is None:
        raise MalformedDocument("There is no header.", [Fault("", FaultCode.MALFORMED)])
    rows: list[Record] = []
    height, size = 0, 0
    for row in read:
        height = height or row.line - header.line
        if rows and (size + len(row.text) > into.longest or len(rows) == MOST_ITEMS):
            yield _Part(header, height, rows)
            rows, size = [], 0
        rows.append(row)
        size += len(row.text)
    yield _Part(header, height or 1, rows)


def _store(step: Step, part: _Part, feed: Feed, into: Into) -> bool:
    """Store the rows of a part; whether the table is one that can be read, as far as its header says."""
    try:
        stored = store_table(
            into.database, into.study, part.body(), into.dialect,
            secret=into.secret, now=now(), atomic=False, pauses=PAUSES,
        )  # fmt: skip
    except (InvalidDocument, UnsupportedMediaType) as error:
        step.refuse("the table", None, _in_file(error, part))
        return False
    except ServiceError as error:
        step.refuse(_lines(part.rows), b"".join(row.text for row in part.rows), _in_file(error, part))
        return True
    step.left_alone.update(stored.skipped)
    refused = any(item.error is not None for item in stored.items)
    rows_of = part.by_subject(feed, into.dialect.missing) if refused else {}
    for item in stored.items:
        if item.error is None:
            step.counts[item.status] += 1
        else:
            rows = rows_of.get(item.patient, [])
            text = b"".join(row.text.rstrip(b"\r\n") + b"\n" for row in rows)
            step.refuse(_lines(rows), text, _in_file(item.error, part))
    return True


def _in_file(error: ServiceError, part: _Part) -> ServiceError:
    return type(error)(error.detail, [part.in_file(fault) for fault in error.faults])


def _lines(rows: Sequence[Record]) -> str:
    named = ", ".join(str(row.line) for row in rows[:LISTED])
    more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
    return f"line {named}{more}"
