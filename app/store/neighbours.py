"""What stands beside new results of a patient: equal results of another number or source, and the results before and
after. Both give notes, and change nothing.
"""

from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, or_, select

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
_ROUNDING = 1 + 1e-12
"""A quotient of two numbers may be rounded down."""

_DAY, _VALUE = LabFact._fields.index("day"), LabFact._fields.index("value")
_READ = itemgetter(*[LabFact._fields.index(name) for name in ("code", "day", "instant", "value", "identity")])
_ALIKE = itemgetter(*map(LabFact._fields.index, ("code", "day", "value")))
_LABS = FACTS["labs"][0]
_STANDING = select(_LABS.c.code, _LABS.c.day, _LABS.c.instant, _LABS.c.value, _LABS.c.identity).where(
    _LABS.c.patient_key == bindparam("patient"),
    _LABS.c.removed.is_(None),
    _LABS.c.value.is_not(None),
    shown(_LABS),
)
_NEAR = Query(_STANDING.where(_LABS.c.day.between(bindparam("first"), bindparam("last"))), "patient", "first", "last")
_TELLING = Query(
    _STANDING.where(
        or_(
            and_(
                _LABS.c.day.between(bindparam("first"), bindparam("last")),
                _LABS.c.value.between(bindparam("least"), bindparam("greatest")),
            ),
            and_(
                _LABS.c.day.between(bindparam("earliest"), bindparam("latest")),
                _LABS.c.value <= bindparam("low"),
            ),
        )
    ),
    "patient",
    "first",
    "last",
    "least",
    "greatest",
    "earliest",
    "latest",
    "low",
)
"""The results on the days of those that were sent that may be equal to one of them, and those nearby so low that one of
them may be many times as great. Most patients have none of either.
"""


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
    stored = [] if is_new else list(_stored(connection, person, sent))
    everything = sent + stored
    alike = Counter((result.code, result.day, result.value) for result in everything)
    if len(alike) < len(everything):
        alone = [each for each, count in alike.items() if count == 1]
        for each in alone:
            del alike[each]
        yield from ((at, _DUPLICATE) for at in _repeated(everything, alike))
    del alike
    values = [result.value for result in everything]
    if max(values) >= TIMES_NEIGHBOURS * min(values):
        yield from ((at, _FAR) for at in _far(everything))


def _stored(connection: Connection, person: PatientState, sent: Sequence[_Result]) -> Iterator[_Result]:
    """The results that stood before and may be equal to those that were sent or beside them."""
    days, values = [result.day for result in sent], [result.value for result in sent]
    days_of, near = (min(days), max(days)), (min(days) - NEAR_DAYS, max(days) + NEAR_DAYS)
    low = max(values) / TIMES_NEIGHBOURS * _ROUNDING
    found = _TELLING.rows(connection, person.key, *days_of, min(values), max(values), *near, low)
    own, known = {result.identity for result in sent}, person.known["labs"]
    new = [_Result(*_READ(each.fact)) for identity, stated in known.items() if identity not in own
           for each in visible("labs", stated)
           if each.fact[_VALUE] is not None and near[0] <= each.fact[_DAY] <= near[1]]  # fmt: skip
    if min(chain(values, (row[3] for row in found), (result.value for result in new))) <= low:
        found = _NEAR.rows(connection, person.key, *near)
    yield from (result for result in map(_Result._make, map(_not_sent, found)) if result.identity not in known)
    yield from new


def _not_sent(row: Sequence[Any]) -> tuple[Any, ...]:
    return (*row, -1)


def _are_ordinary(labs: Collection[LabFact]) -> bool:
    """Whether no results are alike, and none is many times another one: most documents of new patients are so."""
    alike = set(map(_ALIKE, labs))
    values = [value for _, _, value in alike if value is not None]
    if not values or max(values) >= TIMES_NEIGHBOURS * min(values):
        return not values
    return len(alike) == len(labs)


def _repeated(results: Sequence[_Result], alike: Container[tuple[str, int, float]]) -> Iterator[int]:
    """Results with the value and the time of another number, of those that are `alike` by code, day and value. A date
    alone may be any time of its day.
    """
    groups: dict[tuple[str, int, float], dict[int | None, list[_Result]]] = {}
    for result in results:
        if (key := (result.code, result.day, result.value)) in alike:
            groups.setdefault(key, {}).setdefault(result.instant, []).append(result)
    for group in groups.values():
        undated = {result.identity for result in group.get(None, ())}
        named = {instant: {result.identity for result in at} | undated for instant, at in group.items()}
        named[None] = {result.identity for at in group.values() for result in at}
        for instant, at in group.items():
            if len(named[instant]) > 1:
                yield from (result.at for result in at if result.at >= 0)


def _far(results: Sequence[_Result]) -> Iterator[int]:
    """Results that are many times each of their neighbours, the same analyte before and after. Stored results of one
    time are in the order of their identities, however they were read, so that the same post has the same receipt.
    """
    ordered = sorted(results, key=lambda each: (each.code, each.day, each.instant or 0, each.at, each.identity))
    for i, result in enumerate(ordered):
        beside = [other.value for other in ordered[max(i - 1, 0) : i] + ordered[i + 1 : i + 2]
                  if other.code == result.code]  # fmt: skip
        if result.at >= 0 and beside and all(result.value >= TIMES_NEIGHBOURS * value > 0 for value in beside):
            yield result.at
