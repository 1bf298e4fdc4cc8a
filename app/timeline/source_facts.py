"""The addresses of the facts that the rows of a cohort come from.

`GET /v1/studies/{study}/patients/{patient}` shows these facts.

The columns of a cohort have no numbers and sources of facts, so that digests do not depend on these. An export
therefore finds the facts of its rows by their content. Two facts of one patient with the same content give equal rows;
the order of their addresses decides which row gets which address.

The address of a fact is a text: `RECORD/SECTION/CODE/id:NUMBER/SOURCE` if the sender numbered it, otherwise
`RECORD/SECTION/CODE/at:TIME/REST`. `RECORD` is the patient whose timeline shows the fact (of merged records the one
that it was sent for), `SECTION` the part of the timeline. Only laboratory results and scores have a `CODE`. `TIME` is
the time as written (`time`, `start` of a medication, `onset` of an event), empty if there is none. `REST` is the last
part and may contain slashes: the `source` of a laboratory result or score, the `product` of an infusion, the `drug` of
a medication, the `term` of an event. The attributes of the patient are at `RECORD/patient`, the end of participation is
at `RECORD/ended`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from app.timeline.cohort import TABLES, Cohort, Words, cells, columns_of
from app.timeline.facts import READ_BY_ANALYSES
from app.timeline.normalize import SECTIONS

KINDS = tuple(TABLES)
"""The kinds of facts with an address for each fact; the attributes of a patient share one address."""

_PLACE = {kind: {field.name: i for i, field in enumerate(declared)} for kind, declared in READ_BY_ANALYSES.items()}
_FLAGS = {
    kind: [i for i, field in enumerate(declared) if field.type is bool] for kind, declared in READ_BY_ANALYSES.items()
}
_NAMED_BY = {"infusions": "product", "medications": "drug", "events": "term"}
"""The field at the end of the address of a fact without a number; for the other kinds it is the source."""

Content = tuple[Any, ...]


class Source(NamedTuple):
    """One fact that stands: its patient, its content as analyses read it, and the sender's number and source.

    `content` has the fields of its row (`cohort`) after the patient. `person` is the patient of the row, `record` the
    patient that the fact was sent for. `time` is its time, onset or start as written.
    """

    person: str
    record: str
    content: Content
    id: str | None
    source: str | None
    time: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """The address of the fact of each row of a cohort, and the records of each patient, the surviving one first."""

    labs: Words
    assessments: Words
    infusions: Words
    medications: Words
    events: Words
    records: tuple[tuple[str, ...], ...]

    @classmethod
    def joined(cls, parts: Sequence["Sources"]) -> "Sources":
        """The sources of neighbouring parts of a cohort as one."""
        columns = {kind: np.concatenate([getattr(part, kind) for part in parts]) for kind in KINDS}
        return cls(**columns, records=tuple(chain.from_iterable(part.records for part in parts)))

    def between(self, cohort: Cohort, first: int, stop: int) -> "Sources":
        """The part for the patients with numbers from `first` to `stop` - 1 of this cohort."""
        columns = {kind: getattr(self, kind)[getattr(cohort, kind).rows_between(first, stop)] for kind in KINDS}
        return Sources(**columns, records=self.records[first:stop])


def patient_address(record: str) -> str:
    """The address of the attributes of the patient in a record."""
    return f"{record}/patient"


def end_address(record: str) -> str:
    """The address of the end of participation in a record."""
    return f"{record}/ended"


def addresses(
    kind: str,
    records: Sequence[str],
    numbers: Sequence[str | None],
    sources: Sequence[str | None],
    times: Sequence[str | None],
    content: Sequence[Sequence[Any]],
) -> list[str]:
    """The addresses of facts of one kind, whose fields are given as columns."""
    place, section = _PLACE[kind], SECTIONS[kind]
    codes = content[place["code"]] if "code" in place else [""] * len(records)
    home = {code: f"{section}/{code}" if code else section for code in set(codes)}
    rests = content[place[_NAMED_BY[kind]]] if kind in _NAMED_BY else sources
    return [
        f"{record}/{home[code]}/at:{time or ''}/{rest or ''}"
        if number is None
        else f"{record}/{home[code]}/id:{number}/{source or ''}"
        for record, code, number, source, time, rest in zip(records, codes, numbers, sources, times, rests, strict=True)
    ]


def aligned(cohort: Cohort, found: Mapping[str, Iterable[Source]], merged: Mapping[str, Sequence[str]]) -> Sources:
    """The addresses of the facts of a cohort. `found` has the facts of each kind, `merged` the records that were merged
    into each surviving record.

    Raises `LookupError` if a row does not come from any of these facts.
    """
    columns = {kind: _aligned(kind, cohort, found[kind]) for kind in KINDS}
    records = tuple((row.id, *merged.get(row.id, ())) for row in cohort.patients)
    return Sources(**columns, records=records)


def _aligned(kind: str, cohort: Cohort, found: Iterable[Source]) -> Words:
    return words_of([where for where, _ in aligned_facts(kind, cohort, found)])


def words_of(words: Sequence[str | None]) -> Words:
    """A column of words."""
    column = np.empty(len(words), dtype=np.object_)
    column[:] = words
    return column


def aligned_facts(kind: str, cohort: Cohort, found: Iterable[Source]) -> list[tuple[str, str | None]]:
    """The address of the fact of each row of one kind, and its time as written.

    Raises `LookupError` if a row does not come from any of these facts.
    """
    waiting: dict[Content, list[tuple[str, str | None]]] = {}
    every = list(found)
    content = columns_of([source.content for source in every], len(READ_BY_ANALYSES[kind]))
    record, number, sender, time = columns_of([(each.record, each.id, each.source, each.time) for each in every], 4)
    for source, where in zip(every, addresses(kind, record, number, sender, time, content), strict=True):
        key = source.person, *_comparable(kind, source.content, cohort.zoned)
        waiting.setdefault(key, []).append((where, source.time))
    for facts in waiting.values():
        facts.sort(key=lambda fact: fact[0], reverse=True)
    return [waiting[key].pop() for key in _rows(kind, cohort)]


def _comparable(kind: str, content: Content, zoned: bool) -> Content:
    """The content. Where the study has a zone, an instant decides the calendar day, which is left out then."""
    values, place = list(content), _PLACE[kind]
    if zoned and "instant" in place and values[place["instant"]] is not None:
        values[place["day"]] = None
    for i in _FLAGS[kind]:  # SQLite stores them as numbers
        values[i] = None if values[i] is None else bool(values[i])
    return tuple(values)


def _rows(kind: str, cohort: Cohort) -> Iterator[Content]:
    """The patient and the content of each row, in the form that `_comparable` gives."""
    names = np.array([row.id for row in cohort.patients], dtype=np.object_)
    table = getattr(cohort, kind)
    columns = {field.name: cells(table, field.name) for field in READ_BY_ANALYSES[kind]}
    if cohort.zoned and "instant" in columns:
        dated = zip(columns["day"], columns["instant"], strict=True)
        columns["day"] = [day if instant is None else None for day, instant in dated]
    return zip(names[table.patient].tolist(), *columns.values(), strict=True)
