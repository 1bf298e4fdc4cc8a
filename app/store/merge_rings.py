"""Merges that contradict each other: one that turns round an earlier one, and one that would close a ring.

A record survives, or it is merged into another one. Where two records name each other, the later link counts, by the
time that its source gives it (EVN-2, `meta.lastUpdated`), in any order of arrival: the earlier one is ended, as if its
record had been put without it. Without two different times, and in a longer ring (A into B, B into C, C into A), nobody
can say which record survives, so the merge that arrives is refused.

There is no SQL here. A ring that an earlier version has stored stays; analyses read its records apart.
"""

import json
from collections.abc import Iterator, Sequence

from app.errors import Fault, FaultCode, pointer
from app.store.assertions import ISSUED, STATUS, Assertion, Fact, Tally, order, standing
from app.store.revision_builder import PatientState, RevisionBuilder
from app.store.supersession import close
from app.timeline.facts import NEVER, AttributeFact, History
from app.timeline.merged_records import MERGED_INTO
from app.timeline.vocabulary import WITHDRAWN

_VALUE = AttributeFact._fields.index("value")
_RING = (
    "The record that it names is merged into this one already, directly or through others: none would survive. "
    "Of two records, a link with a later time than the other one turns it round; else undo the other merge first."
)


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


def end_turned_links(
    builder: RevisionBuilder, person: PatientState, history: History, tally: Tally
) -> list[PatientState]:
    """End the link of a record that a later link turns round: that of the other record, or the one that arrived.

    The history has been applied to its patient. Returns the states of the other records whose links have ended.
    """
    ended = []
    for _, fact in _links(history):
        other = _named(fact)
        if fact.issued is None or other == person.id:
            continue
        theirs = _stated(builder, other)
        mine = person.known["attributes"][MERGED_INTO]
        arrived = next((each for each in mine if each.fact == fact), None)
        current = standing(theirs)
        if _is_turned(fact, person.id, theirs):
            if arrived is not None and arrived.removed is None and fact.status not in WITHDRAWN:
                close(arrived, builder.number, person.changing("attributes"))
                tally.late, tally.added = tally.late + 1, max(tally.added - 1, 0)
        elif (
            current is not None
            and current.fact[STATUS] not in WITHDRAWN
            and _named(current.fact) == person.id
            and _is_turned(current.fact, other, mine)
        ):
            state = builder.people[other]
            close(current, builder.number, state.changing("attributes"))
            tally.withdrawn += 1
            tally.changed = True
            if fact.status in WITHDRAWN and tally.added:  # it ends a link that is known, of the other record
                tally.superseded, tally.added = tally.superseded + 1, tally.added - 1
            ended.append(state)
    return ended


def _is_turned(link: Fact, record: str, theirs: Sequence[Assertion]) -> bool:
    """Whether the record that a link names was said to be merged into this `record` later: `theirs` are its links.

    The merge may have been undone since: then both records are apart.
    """
    since = _time(link)
    times = [_time(each.fact) for each in theirs if _named(each.fact) == record and each.fact[STATUS] not in WITHDRAWN]
    undone = [_time(each.fact) for each in theirs if _named(each.fact) == record and each.fact[STATUS] in WITHDRAWN]
    return any(since < at for at in times) or any(min(times, default=at) < at > since for at in undone)


def _named(link: Fact) -> str:
    named: str = json.loads(link[_VALUE])
    return named


def _time(link: Fact) -> int:
    issued: int | None = link[ISSUED]
    return NEVER if issued is None else issued


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
    """Whether a link that arrives will stand: it is new, nothing known is greater, and nothing turned it round."""
    known: list[Fact] = [each.fact for each in _stated(builder, record)]
    known += [] if before is None else [before]
    if fact in known or any(order(fact) < order(each) for each in known):
        return False
    return fact.issued is None or not _is_turned(fact, record, _stated(builder, _named(fact)))


def _in_ring(builder: RevisionBuilder, record: str, stated: dict[str, AttributeFact]) -> bool:
    """Whether the links lead from a record back to it, and it is not a pair of which the later link counts."""
    first = stated[record]
    at, seen = record, set[str]()
    while at not in seen:
        seen.add(at)
        link: Fact | None = stated.get(at)
        if link is None:
            current = standing(_stated(builder, at))
            link = None if current is None else current.fact
        if link is None or link[STATUS] in WITHDRAWN:
            return False
        turns = len(seen) == 2 and _named(link) == record
        if turns and first.issued is not None and first.issued != _time(link):
            return False
        at = _named(link)
    return at == record
