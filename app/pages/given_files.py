"""A file that a person gives to a page: what kind it is, and the requests that send its content to this service."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from app.http.openapi import JSON, NDJSON
from app.readers.recognition import FORMATS, HEAD_BYTES, Format, format_named, format_within
from app.readers.streams import without_mark
from app.readers.table_dates import ISO, DateForm
from app.readers.table_kinds import TableKind, kind_with
from app.readers.workbook_package import is_workbook
from app.readers.workbook_tables import kind_within
from app.readers.workbook_writer import XLSX

KINDS: dict[Format, str] = {
    "csv": "A table of one kind (CSV)",
    "xlsx": "A workbook (XLSX)",
    "fhir": "FHIR R4 (a bundle, a resource, or one on each line)",
    "hl7v2": "HL7 v2 messages",
    "timelines": "Patient timelines of MyoResponse (JSON)",
    "ndjson": "Patient timelines of MyoResponse, one on each line (NDJSON)",
}
"""The kinds of files in words, in the order in which they are offered."""
TABLES: dict[TableKind, str] = {
    "patients": "Patients",
    "labs": "Laboratory results",
    "assessments": "Assessments (MMT, ADL, ...)",
    "infusions": "Infusions",
    "medications": "Drugs",
    "adverse_events": "Adverse events",
}
"""What the rows of each kind of table are about, in words."""
DELIMITERS = {",": "a comma", ";": "a semicolon", "tab": "a tab"}
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (
        b"\xd0\xcf\x11\xe0",
        "This is a workbook of an old kind or with a password. Save it as “Excel Workbook (.xlsx)” without a password, "
        "and drop that file.",
    ),
    (b"%PDF", "This is a PDF. Ask the sender for the data as CSV, FHIR, HL7 v2 or JSON."),
    (b"\x1f\x8b", "This file is compressed. Unpack it and drop what is inside."),
    (b"\xff\xfe", "This text is in UTF-16. Save it as UTF-8 and drop it again."),
    (b"\xfe\xff", "This text is in UTF-16. Save it as UTF-8 and drop it again."),
)
_TEXT = "This is no text. The service reads workbooks (XLSX), tables (CSV), FHIR, HL7 v2, JSON and NDJSON."
EMPTY = "The file is empty. Choose one that has content."
NO_FILE = "No file was chosen. Choose one, then press the button again."
UNKNOWN_TABLE = (
    "It is not clear what the rows of this table are about, because its columns are not those of one template. Choose "
    "it by hand."
)
UNKNOWN = "The kind of this file is not clear from its content or its name. Choose the kind by hand."


@dataclass(frozen=True, slots=True)
class GivenFile:
    """A file, and how it is read. `format` is `None` if that is not clear; `objection` says why it cannot be read.

    `table` is the kind of a table, `None` of a workbook with a sheet for each kind. `dates` is the form of its dates.
    """

    name: str
    body: bytes
    format: Format | None = None
    delimiter: str = ","
    decimal: str = "."
    missing: str = ""
    dates: DateForm = ISO
    table: TableKind | None = None
    objection: str | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """One request that sends content. `first` is the number of its first line in the file, if it has lines."""

    path: str
    query: tuple[tuple[str, str], ...]
    media_type: str
    body: bytes
    lines: tuple[int, ...] = ()


def looked_at(file: GivenFile) -> GivenFile:
    """The file with its kind, found from the content, then from the name; a kind that is chosen already stays."""
    head = file.body[:HEAD_BYTES]
    if not head.strip():
        return replace(file, objection=EMPTY if file.name or file.body else NO_FILE)
    for signature, advice in _SIGNATURES:
        if head.startswith(signature):
            return replace(file, objection=advice)
    if is_workbook(head):
        return replace(file, format="xlsx", table=file.table or kind_within(io.BytesIO(file.body)))
    if b"\x00" in head:
        return replace(file, objection=_TEXT)
    delimiter, table = _table_in(head)
    if file.format is None:
        format = format_within(io.BytesIO(file.body)) or ("csv" if delimiter else format_named(file.name))
        file = replace(file, format=format, objection=None if format else UNKNOWN)
    if file.format == "csv":
        file = replace(file, delimiter=file.delimiter or delimiter or ",", table=file.table or table)
        file = replace(file, objection=None if file.table else UNKNOWN_TABLE)
    return file


def _table_in(head: bytes) -> tuple[str | None, TableKind | None]:
    """The separator with which the first line names all columns that one kind of table needs, and that kind."""
    line = without_mark(head).splitlines()[0].decode("utf-8", "replace")
    for written, name in ((",", ","), (";", ";"), ("\t", "tab")):
        kind = kind_with([cell.strip().casefold() for cell in next(csv.reader([line], delimiter=written), [])])
        if kind is not None:
            return name, kind
    return None, None


def sendings(study: str, file: GivenFile, *, rehearse: bool) -> Iterator[Sending]:
    """The requests that send a file whose kind is known."""
    query = (("rehearse", "true"),) if rehearse else ()
    home = f"/v1/studies/{study}"
    match file.format:
        case "csv" | "xlsx":
            declared = (("decimal", file.decimal), ("missing", file.missing), ("dates", file.dates))
            delimiter = (("delimiter", file.delimiter),) if file.format == "csv" else ()
            kind = "" if file.table is None else f"/{file.table.replace('_', '-')}"
            media_type = "text/csv" if file.format == "csv" else XLSX
            yield Sending(f"{home}/tables{kind}", (*query, *delimiter, *declared), media_type, file.body)
        case "hl7v2":
            yield Sending(f"{home}/hl7v2", query, "application/hl7-v2", file.body)
        case "timelines":
            body = without_mark(file.body).strip()
            yield Sending(f"{home}/timelines", query, JSON, b"[" + body + b"]" if body[:1] == b"{" else body)
        case "ndjson":
            yield Sending(f"{home}/timelines", query, NDJSON, file.body)
        case "fhir":
            yield from _of_fhir(f"/fhir/{study}", query, file.body)
        case _:
            raise AssertionError(FORMATS)


_FHIR = "application/fhir+json"
_TYPE = re.compile(r"[A-Za-z]{1,60}")


def _of_fhir(path: str, query: tuple[tuple[str, str], ...], body: bytes) -> Iterator[Sending]:
    """A bundle as it is; resources by themselves as the entries of one batch, each of which stands alone."""
    whole = _object_in(body)
    if whole is not None and whole.get("resourceType") == "Bundle":
        yield Sending(path, query, _FHIR, body)
        return
    lines = [(1, body)] if whole is not None else list(enumerate(body.splitlines(), 1))
    entries: list[tuple[int, bytes]] = []
    for number, line in lines:
        if not line.strip():
            continue
        resource = _object_in(line)
        kind = None if resource is None else resource.get("resourceType")
        if kind == "Bundle" or not isinstance(kind, str) or not _TYPE.fullmatch(kind):
            yield Sending(path, query, _FHIR, line, (number,))  # the answer says what is wrong with it
            continue
        request = json.dumps({"method": "POST", "url": kind}).encode()
        entries.append((number, b'{"request":' + request + b',"resource":' + without_mark(line) + b"}"))
    if entries:
        batch = b'{"resourceType":"Bundle","type":"batch","entry":[' + b",".join(text for _, text in entries) + b"]}"
        yield Sending(path, query, _FHIR, batch, tuple(number for number, _ in entries))


def _object_in(text: bytes) -> dict[str, Any] | None:
    try:
        read = json.loads(without_mark(text))
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None
