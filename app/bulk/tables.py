"""Tables are imported in parts, each a table of its own under the same header, so that one of any size can be read."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from app.bulk.file_formats import Record, records
from app.bulk.steps import Into, Step, feed_for, now
from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument, ServiceError, UnsupportedMediaType
from app.readers.json_timelines import MOST_ITEMS
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed
from app.submission.batches import store_table
from app.submission.loop import PAUSES

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
