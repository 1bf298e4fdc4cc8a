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

from app.timeline.columns import COMPARATORS, NO_TIME, Cohort, Floats, Ints, Words
from app.timeline.facts import SECTIONS
from app.timeline.vocabulary import ASSESSMENT_CODES, LAB_CODES

KINDS = tuple(SECTIONS)
"""The kinds of facts that have addresses here; attributes of the patient have none of their own."""

Content = tuple[Any, ...]


class Source(NamedTuple):
    """One fact that stands: the person it is of, its content as analyses read it, and what the sender calls it.

    `content` are the fields of the row of its kind (`timeline.rows`) after the patient; `record` is the patient that it
    was sent for, `time` its time, onset or start as written.
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
    code = f"/{source.content[0]}" if kind in {"labs", "assessments"} else ""
    home = f"{source.record}/{SECTIONS[kind]}{code}"
    if source.id is not None:
        return f"{home}/id:{source.id}/{source.source or ''}"
    rest = source.source if code else source.content[_TERM if kind == "events" else 0]
    return f"{home}/at:{source.time or ''}/{rest or ''}"


def aligned(cohort: Cohort, found: Mapping[str, Iterable[Source]], merged: Mapping[str, Sequence[str]]) -> Sources:
    """The addresses of the facts that a cohort was made of; `merged` are the records that each survivor stands for.

    Raises `LookupError` where a row was not made of any of the facts found.
    """
    columns = {kind: _aligned(kind, cohort, found[kind]) for kind in KINDS}
    records = tuple((row.id, *merged.get(row.id, ())) for row in cohort.patients)
    return Sources(**columns, records=records)


_TERM = 3
"""Where the term stands in the content of an event."""


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
    if kind == "medications":
        return content
    day, instant, utc = _WHEN[kind]
    values = list(content)
    if values[instant] is not None:
        values[day] = None
    values[utc] = bool(values[utc])
    if kind == "events":
        serious = values[_TERM + 2]
        values[_TERM + 2] = None if serious is None else bool(serious)
    return tuple(values)


_WHEN = {"labs": (1, 2, 3), "assessments": (1, 2, 3), "infusions": (1, 2, 3), "events": (0, 1, 2)}
"""Where day, instant and `utc` stand in the content of each kind."""


def _rows(kind: str, cohort: Cohort) -> Iterator[Content]:
    """The patient and the content of each row, spelt as `_comparable` spells it."""
    names = np.array([row.id for row in cohort.patients], dtype=np.object_)
    table: Any = getattr(cohort, kind)
    if kind == "medications":
        period = table.start_day.tolist(), _times(table.end_day)
        return zip(names[table.patient].tolist(), table.drug, *period, _numbers(table.dose), table.unit, strict=True)
    days = np.where(table.instant == NO_TIME, table.day, NO_TIME)
    who, when = names[table.patient].tolist(), (_times(days), _times(table.instant), table.utc.tolist())
    match kind:
        case "labs":
            sign = list(COMPARATORS)
            rest = (_numbers(table.value), _numbers(table.upper_limit), [sign[i] for i in table.comparator])
            return zip(
                who, [LAB_CODES[i] for i in table.code], *when, *rest, _times(table.issued), table.lab, strict=True
            )
        case "assessments":
            rest = (_numbers(table.score), _numbers(table.scale_max), _times(table.issued))
            return zip(who, [ASSESSMENT_CODES[i] for i in table.code], *when, *rest, strict=True)
        case "infusions":
            course = [number or None for number in table.course.tolist()]
            return zip(who, table.product, *when, _numbers(table.dose), table.unit, course, strict=True)
        case _:
            return zip(who, *when, table.term, table.severity, table.serious, table.related, strict=True)


def _times(column: Ints) -> list[int | None]:
    return [None if number == NO_TIME else number for number in column.tolist()]


def _numbers(column: Floats) -> list[float | None]:
    return [None if number != number else number for number in column.tolist()]  # noqa: PLR0124 - NaN
