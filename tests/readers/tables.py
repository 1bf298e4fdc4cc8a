"""Small tables of results, and what a reader finds in them."""

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo

import pytest

from app.errors import ServiceError
from app.readers.pseudonyms import Pseudonyms
from app.readers.statements import Feed
from app.readers.table_rows import Dialect
from app.readers.tables import PatientResults, read_table
from app.timeline.facts import LabFact
from tests.readers.refusals import told
from tests.timeline.documents import LATEST

PLAIN = Dialect()
FEED = Feed(LATEST, Pseudonyms(None))
IN_TOKYO = Feed(LATEST, Pseudonyms(None), zone=ZoneInfo("Asia/Tokyo"))
ROW = {"patient": "P01", "time": "2005-03-16T09:48:00+09:00", "code": "CK", "value": "1101", "unit": "U/L"}
FULL = {
    "comparator": "<", "upper_limit": "163", "lower_limit": "45", "lab": "A", "source": "LIS", "id": "acc-77",
    "version": "2", "issued": "2005-03-17T08:00:00+09:00", "status": "corrected",
}  # fmt: skip


def table(*rows: Mapping[str, str], columns: tuple[str, ...] = (), delimiter: str = ",") -> bytes:
    """A table with these rows; a row has what `ROW` has where it says nothing else."""
    named = columns or tuple(dict.fromkeys([*ROW, *(name for row in rows for name in row)]))
    cells = [named, *([(ROW | row).get(name, "") for name in named] for row in rows)]
    return "\n".join(delimiter.join(_quoted(cell, delimiter) for cell in line) for line in cells).encode()


def _quoted(cell: str, delimiter: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if re.search(rf'[\n\r"{delimiter}]', cell) else cell


def read(body: bytes, dialect: Dialect = PLAIN, feed: Feed = FEED) -> list[PatientResults]:
    return list(read_table(body, dialect, feed).read())


def strictly(body: bytes, dialect: Dialect = PLAIN, feed: Feed = FEED) -> list[PatientResults]:
    """The patients of a table in which no row may be wrong."""
    return list(read_table(body, dialect, feed).read(strict=True))


def not_kept(results: PatientResults) -> list[tuple[str, str, str | None]]:
    """The lines of the rows of a patient that are no facts."""
    assert results.history is not None
    return [(line.place, line.disposition.value, line.reason) for line in results.history.aside]


def fact(*rows: Mapping[str, str], dialect: Dialect = PLAIN, feed: Feed = FEED) -> LabFact:
    """The one fact of a table that must be good."""
    [results] = read(table(*rows, delimiter=dialect.delimiter), dialect, feed)
    assert results.error is None, told(results.error)
    assert not_kept(results) == []
    [found] = results.history.labs
    return found


def faults(*rows: Mapping[str, str], dialect: Dialect = PLAIN, feed: Feed = FEED) -> list[tuple[str, str]]:
    """What is wrong with the one patient of a table in which no row may be wrong."""
    [results] = strictly(table(*rows, delimiter=dialect.delimiter), dialect, feed)
    assert results.history is None
    return told(results.error)


def refusal(body: bytes, dialect: Dialect = PLAIN, feed: Feed = FEED) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        read_table(body, dialect, feed)
    return caught.value
