"""Which format some content has, by the name of its file and its first bytes."""

import json
import re
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from app.readers.streams import without_mark
from app.readers.workbook_package import is_workbook

Format = Literal["timelines", "ndjson", "csv", "xlsx", "fhir", "hl7v2"]
FORMATS: tuple[Format, ...] = get_args(Format)
HEAD_BYTES = 65_536
"""How many bytes at the beginning are read to recognise the format."""
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xls": "xlsx",
    ".hl7": "hl7v2",
    ".fhir.json": "fhir",
    ".fhir.ndjson": "fhir",
    ".fhir.jsonl": "fhir",
}
"""Workbooks of the kinds that are not read have the format of those that are: their reader says what is wrong."""
_LINES = (".ndjson", ".jsonl")
_RESOURCE = re.compile(rb'"resourceType"\s*:')


def format_of(file: Path) -> Format | None:
    """The format of a file, by its name and its first bytes; `None` where these do not show it."""
    named = format_named(file.name)
    if named is not None:
        return named
    with file.open("rb") as opened:
        return format_within(opened, file.name)


def has_lines(file: Path, longest: int = 16_000_000) -> bool:
    """Whether each line of a file is a JSON document, judged by its name and its first line; always of a pipe."""
    if file.name.lower().endswith(_LINES) or not file.is_file():
        return True
    with file.open("rb") as opened:
        return begins_with_line(opened, longest)


def format_named(name: str) -> Format | None:
    """The format that the name of a file says by itself."""
    lower = name.lower()
    return next((format for suffix, format in _SUFFIXES.items() if lower.endswith(suffix)), None)


def format_within(opened: BinaryIO, name: str = "") -> Format | None:
    """The format of content by its first bytes; the name decides between one JSON document and many lines of them."""
    lower = name.lower()
    head = without_mark(opened.read(HEAD_BYTES)).strip()
    if is_workbook(head):
        return "xlsx"
    if head.lstrip(b"\x0b")[:3] in {b"MSH", b"FHS", b"BHS"}:
        return "hl7v2"
    if head[:1] == b"{" and _RESOURCE.search(head):
        return "fhir"
    if lower.endswith(_LINES):
        return "ndjson"
    opened.seek(0)
    if head[:1] == b"{" and begins_with_line(opened):
        return "ndjson"
    return "timelines" if head[:1] in {b"{", b"["} or lower.endswith(".json") else None


def begins_with_line(opened: BinaryIO, longest: int = 16_000_000) -> bool:
    """Whether the first line that is not blank is a JSON object by itself."""
    first = next(filter(bytes.strip, iter(lambda: opened.readline(longest), b"")), b"")
    try:
        return isinstance(json.loads(without_mark(first)), dict)
    except (ValueError, RecursionError):
        return False
