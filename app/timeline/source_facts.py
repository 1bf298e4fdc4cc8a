"""Which fact each row of a cohort was read from, as `GET /v1/studies/{study}/patients/{patient}` shows that fact.

The columns that analyses read hold no numbers and no sources, so that neither shows in any digest. Whoever exports rows
finds the facts again by their content: two facts of one patient with the same content make the same rows, and which of
the rows is called by which of the facts is decided by the order of their addresses.

The address of a fact is text: `RECORD/SECTION/CODE/id:NUMBER/SOURCE` where the sender numbered it, else
`RECORD/SECTION/CODE/at:TIME/REST`. `RECORD` is the patient whose timeline shows it (of records that are merged, the one
that it was sent for), `SECTION` the part of the timeline. `CODE` stands for laboratory results and scores only, `TIME`
is `time` or `onset` as written, empty where there is none, and `REST`, the last part, which may hold slashes, is the
`source` of a laboratory result or score, the `product` of an infusion, the `drug` of a medication (whose TIME is its
`start`), the `term` of an event. The patient's attributes are at `RECORD/patient`, the end of participation at
`RECORD/ended`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from app.timeline.cohort import TABLES, Cohort, Words, cells
from app.timeline.facts import READ_BY_ANALYSES
from app.timeline.normalize import SECTIONS

KINDS = tuple(TABLES)
"""The kinds of facts that have addresses here; attributes of the patient have none of their own."""

_PLACE = {kind: {field.name: i for i, field in enumerate(found)} for kind, found in READ_BY_ANALYSES.items()}
_FLAGS = {kind: [i for i, field in enumerate(found) if field.type is bool] for kind, found in READ_BY_ANALYSES.items()}
_NAMED_BY = {"infusions": "product", "medications": "drug", "events": "term"}
"""The field that ends the address of a fact without a number; for the other kinds that is its source."""

Content = tuple[Any, ...]


class Source(NamedTuple):
    """One fact that stands: the person it is of, its content as analyses read it, and what the sender calls it.

    `content` are the fields of its row (`columns`) after the patient; `record` is the patient that it was sent for,
    `time` its time, onset or start as written.
    """

    person: str
    record: str
    content: Content
    id: str | None
    source: str | None
    time: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Beside each row of a cohort's columns the address of its fact; beside each patient their records, the surviving
    one first.
    """

    labs: Words
    assessments: Words
    infusions: Words
    medications: Words
    events: Words
    records: tuple[tuple[str, ...], ...]

    def between(self, cohort: Cohort, first: int, stop: int) -> "Sources":
        """Those of the patients from number `first` on and before number `stop` of the cohort that these are of."""
        columns = {kind: getattr(self, kind)[getattr(cohort, kind).rows_between(first, stop)] for kind in KINDS}
        return Sources(**columns, records=self.records[first:stop])


def patient_address(record: str) -> str:
    """The address of what a record says of the patient."""
    return f"{record}/patient"


def end_address(record: str) -> str:
    """The address of what a record says of the end of participation."""
    return f"{record}/ended"


def address(kind: str, source: Source) -> str:
    """The address of one fact."""
    place = _PLACE[kind]
    code = f"/{source.content[place['code']]}" if "code" in place else ""
    home = f"{source.record}/{SECTIONS[kind]}{code}"
    if source.id is not None:
        return f"{home}/id:{source.id}/{source.source or ''}"
    rest = source.content[place[_NAMED_BY[kind]]] if kind in _NAMED_BY else source.source
    return f"{home}/at:{source.time or ''}/{rest or ''}"


def aligned(cohort: Cohort, found: Mapping[str, Iterable[Source]], merged: Mapping[str, Sequence[str]]) -> Sources:
    """The addresses of the facts that a cohort was made of; `merged` are the records that each survivor stands for.

    Raises `LookupError` where a row was not made of any of the facts found.
    """
    columns = {kind: _aligned(kind, cohort, found[kind]) for kind in KINDS}
    records = tuple((row.id, *merged.get(row.id, ())) for row in cohort.patients)
    return Sources(**columns, records=records)


def _aligned(kind: str, cohort: Cohort, found: Iterable[Source]) -> Words:
    waiting: dict[Content, list[str]] = {}
    for source in found:
        waiting.setdefault((source.person, *_comparable(kind, source.content)), []).append(address(kind, source))
    for addresses in waiting.values():
        addresses.sort(reverse=True)
    keys = list(_rows(kind, cohort))
    words = np.empty(len(keys), dtype=np.object_)
    words[:] = [waiting[key].pop() for key in keys]
    return words


def _comparable(kind: str, content: Content) -> Content:
    """The content with the calendar day left out where there is an instant: the study's zone may have moved it."""
    values, place = list(content), _PLACE[kind]
    if "instant" in place and values[place["instant"]] is not None:
        values[place["day"]] = None
    for i in _FLAGS[kind]:  # SQLite has numbers for them
        values[i] = None if values[i] is None else bool(values[i])
    return tuple(values)


def _rows(kind: str, cohort: Cohort) -> Iterator[Content]:
    """The patient and the content of each row, spelt as `_comparable` spells it."""
    names = np.array([row.id for row in cohort.patients], dtype=np.object_)
    table = getattr(cohort, kind)
    columns = {field.name: cells(table, field.name) for field in READ_BY_ANALYSES[kind]}
    if "instant" in columns:
        dated = zip(columns["day"], columns["instant"], strict=True)
        columns["day"] = [day if instant is None else None for day, instant in dated]
    return zip(names[table.patient].tolist(), *columns.values(), strict=True)
