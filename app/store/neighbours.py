"""What stands beside new results of a patient: equal results of another number or source, and the results before and
after. Both give notes, and change nothing.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from app.readers.contract import TIMES_NEIGHBOURS
from app.store.assertions import visible
from app.store.fact_tables import shown
from app.store.queries import Query
from app.store.revision_builder import PatientState
from app.store.tables import FACTS
from app.timeline.facts import LabFact
from app.timeline.receipts import Note, NoteCode

NEAR_DAYS = 90
"""Results at most this many days away from those that were sent are looked at."""
_DUPLICATE = Note(NoteCode.POSSIBLE_DUPLICATE)
_FAR = Note(NoteCode.IMPLAUSIBLE, "neighbours")

_DAY, _VALUE = LabFact._fields.index("day"), LabFact._fields.index("value")
_READ = itemgetter(*[LabFact._fields.index(name) for name in ("code", "day", "instant", "value", "identity")])
_ALIKE = itemgetter(*map(LabFact._fields.index, ("code", "day", "value")))
_LABS = FACTS["labs"][0]
_NEAR = Query(
    select(_LABS.c.code, _LABS.c.day, _LABS.c.instant, _LABS.c.value, _LABS.c.identity).where(
        _LABS.c.patient_key == bindparam("patient"),
        _LABS.c.removed.is_(None),
        _LABS.c.value.is_not(None),
        shown(_LABS),
        _LABS.c.day.between(bindparam("first"), bindparam("last")),
    ),
    "patient",
    "first",
    "last",
)


class _Result(NamedTuple):
    """A result: when it was drawn, its value, and its place among the results that were sent (-1: it was stored)."""

    code: str
    day: int
    instant: int | None
    value: float
    identity: str
    at: int = -1


def notes_beside(
    connection: Connection, person: PatientState, labs: Mapping[int, Any], *, is_new: bool
) -> Iterator[tuple[int, Note]]:
    """The notes of the results at these places, which stand. Nothing is read of a patient who `is_new`.

    What the builder knows of a number comes before what the database has: it may not be written yet.
    """
    if is_new and _are_ordinary(labs.values()):
        return
    sent = [_Result(lab.code, lab.day, lab.instant, lab.value, lab.identity, i)
            for i, lab in labs.items() if lab.value is not None]  # fmt: skip
    if not sent:
        return
    stored: list[_Result] = []
    if not is_new:
        first, last = min(lab.day for lab in sent) - NEAR_DAYS, max(lab.day for lab in sent) + NEAR_DAYS
        own, known = {lab.identity for lab in sent}, person.known["labs"]
        near = (_Result(*row) for row in _NEAR.rows(connection, person.key, first, last))
        stored = [result for result in near if result.identity not in known]
        stored += [_Result(*_READ(each.fact)) for identity, stated in known.items() if identity not in own
                   for each in visible("labs", stated)
                   if each.fact[_VALUE] is not None and first <= each.fact[_DAY] <= last]  # fmt: skip
    everything = sent + stored
    if len({(result.code, result.day, result.value) for result in everything}) < len(everything):
        yield from ((at, _DUPLICATE) for at in _repeated(everything))
    values = [result.value for result in everything]
    if max(values) >= TIMES_NEIGHBOURS * min(values):
        yield from ((at, _FAR) for at in _far(everything))


def _are_ordinary(labs: Collection[LabFact]) -> bool:
    """Whether no results are alike, and none is many times another one: most documents of new patients are so."""
    alike = set(map(_ALIKE, labs))
    values = [value for _, _, value in alike if value is not None]
    if not values or max(values) >= TIMES_NEIGHBOURS * min(values):
        return not values
    return len(alike) == len(labs)


def _repeated(results: Sequence[_Result]) -> Iterator[int]:
    """Results with the value and the time of another number. A date alone may be any time of its day."""
    alike: dict[tuple[str, int, float], list[_Result]] = {}
    for result in results:
        alike.setdefault((result.code, result.day, result.value), []).append(result)
    for group in alike.values():
        for result in group:
            others = (other for other in group if other.identity != result.identity)
            if result.at >= 0 and any(None in (result.instant, other.instant) or result.instant == other.instant
                                      for other in others):  # fmt: skip
                yield result.at


def _far(results: Sequence[_Result]) -> Iterator[int]:
    """Results that are many times each of their neighbours, the same analyte before and after."""
    ordered = sorted(results, key=lambda result: (result.code, result.day, result.instant or 0, result.at))
    for i, result in enumerate(ordered):
        beside = [other.value for other in ordered[max(i - 1, 0) : i] + ordered[i + 1 : i + 2]
                  if other.code == result.code]  # fmt: skip
        if result.at >= 0 and beside and all(result.value >= TIMES_NEIGHBOURS * value > 0 for value in beside):
            yield result.at
