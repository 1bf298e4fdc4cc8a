"""Files are imported: their content is read in parts and stored by the way that the same content takes over HTTP."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.bulk.file_formats import Cutter, Format, Messages, groups, has_lines
from app.bulk.steps import Into, Step, feed_for, now
from app.bulk.tables import import_table
from app.errors import Busy, InvalidDocument, ServiceError, TooLarge
from app.fhir.bundle_entries import Entry
from app.fhir.read_bundle import read_line
from app.fhir.submit import EntryResult, take_bundle, take_each
from app.hl7v2.submit import take as take_message
from app.readers.elements import Elements
from app.readers.statements import Feed
from app.readers.streams import Line, Lines
from app.submission.batches import ItemOutcome
from app.submission.loop import PAUSES
from app.submission.streams import Stream

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
    reply = take_message(into.database, into.study, message, secret=into.secret, now=now(), pauses=PAUSES)
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
