"""Merges that would close a ring: A into B, B into C, C into A. None of them would survive, so such a merge is refused.

There is no SQL here. A ring that an earlier version has stored stays; analyses read its records apart.
"""

import json
from collections.abc import Iterator, Sequence

from app.errors import Fault, FaultCode, pointer
from app.store.assertions import STATUS, Assertion, Fact, order, standing
from app.store.revision_builder import RevisionBuilder
from app.timeline.facts import AttributeFact, History
from app.timeline.merged_records import MERGED_INTO
from app.timeline.vocabulary import WITHDRAWN

_VALUE = AttributeFact._fields.index("value")
_RING = "The record that it names is merged into this one already, directly or through others: none would survive."


def ring_faults(builder: RevisionBuilder, histories: Sequence[History], *, put: bool = False) -> list[Fault]:
    """The faults of those histories whose merges would stand and close a ring, all of them together.

    With `put` a history replaces what is known. A fault of one of several histories begins with its number.
    """
    stated: dict[str, AttributeFact] = {}
    for history in histories:
        for _, fact in _links(history):
            if put or _stands(builder, history.patient, fact, stated.get(history.patient)):
                stated[history.patient] = fact
    faults = []
    for number, history in enumerate(histories) if stated else ():
        for at, fact in _links(history):
            if stated.get(history.patient) is fact and _in_ring(builder, history.patient, stated):
                place = history.place("attributes", at)
                numbered = len(histories) > 1 and place.startswith("/")
                where = pointer(number) + place if numbered else place
                faults.append(Fault(where, FaultCode.CONTRADICTION, _RING))
    return faults


def _links(history: History) -> Iterator[tuple[int, AttributeFact]]:
    return ((at, fact) for at, fact in enumerate(history.attributes) if fact.identity == MERGED_INTO)


def _stated(builder: RevisionBuilder, record: str) -> list[Assertion]:
    """All links of a record that were ever stated."""
    builder.load_patients([record])
    person = builder.people.get(record)
    if person is None:
        return []
    return builder.load_assertions(person, "attributes", [(MERGED_INTO,)]).get(MERGED_INTO, [])


def _stands(builder: RevisionBuilder, record: str, fact: AttributeFact, before: AttributeFact | None) -> bool:
    """Whether a link that arrives will stand: it is new, and nothing that is known is greater."""
    known: list[Fact] = [each.fact for each in _stated(builder, record)]
    known += [] if before is None else [before]
    return fact not in known and all(order(fact) >= order(each) for each in known)


def _in_ring(builder: RevisionBuilder, record: str, stated: dict[str, AttributeFact]) -> bool:
    """Whether the links lead from a record back to it."""
    at, seen = record, set[str]()
    while at not in seen:
        seen.add(at)
        link: Fact | None = stated.get(at)
        if link is None:
            current = standing(_stated(builder, at))
            link = None if current is None else current.fact
        if link is None or link[STATUS] in WITHDRAWN:
            return False
        at = json.loads(link[_VALUE])
    return at == record
