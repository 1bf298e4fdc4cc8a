"""Merged records: which records are of the same person, and how they are read as one patient.

A hospital may merge two records of one person, and may undo this later. Therefore no fact is moved. The merged record
has the attribute `merged_into`, which names the surviving record, and analyses read both together.

Infusions and events of two records may be the same (`same_facts`). Nothing is stored about them at the merge: what
their content proves is found each time that the records are read together, unless a person has decided otherwise. So
it does not matter what arrives before the merge and what after it, and a merge that is undone leaves nothing behind.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from app.timeline.facts import KINDS, AttributeFact, History
from app.timeline.number_rule import standing
from app.timeline.same_facts import (
    KIND_OF,
    PREFIX,
    Decision,
    Pair,
    PairKind,
    alike_between,
    are_proven_same,
    decision_attribute,
    pair_of,
)
from app.timeline.vocabulary import WITHDRAWN

Stated = TypeVar("Stated")
MERGED_INTO = "merged_into"
"""The attribute of a record that names the surviving one."""


def surviving_record(history: History) -> str | None:
    """The record that a history names as the surviving one, if it does."""
    links = (fact for fact in history.attributes if fact.identity == MERGED_INTO)
    return next((json.loads(fact.value) for fact in links), None)


def persons(links: Mapping[str, str], known: Container[str]) -> dict[str, list[str]]:
    """The merged records of each surviving record, merged directly or through others, in code-point order.

    `links` gives for each merged record the record that it was merged into. Links to a record that is not `known` and
    links that form a circle are ignored.
    """
    into = {record: survivor for record, survivor in links.items() if survivor in known}
    ends: dict[str, str] = {}
    for record in into:
        path: dict[str, None] = {}
        at = record
        while at in into and at not in ends and at not in path:
            path[at] = None
            at = into[at]
        if at in path:
            circle = list(path)[list(path).index(at) :]
            ends |= {each: each for each in circle}
        end = ends.get(at, at)
        for each in path:
            ends.setdefault(each, end)
    merged: dict[str, list[str]] = {}
    for record in sorted(into):
        if ends[record] != record:
            merged.setdefault(ends[record], []).append(record)
    return merged


def records_of_persons(histories: Iterable[History]) -> list[list[History]]:
    """The histories of the records of each person, each given once. The surviving record is the first."""
    records = {history.patient: history for history in histories}
    links = {
        record.patient: json.loads(fact.value)
        for record in records.values()
        for fact in record.attributes
        if fact.identity == MERGED_INTO and fact.status not in WITHDRAWN
    }
    merged = persons(links, records)
    others = {record for own in merged.values() for record in own}
    return [[each, *(records[record] for record in merged.get(name, ()))] for name, each in records.items()
            if name not in others]  # fmt: skip


def stated_as_one(records: Sequence[Mapping[str, Stated]]) -> dict[str, Stated]:
    """The attributes of one person: of each attribute the first statement in the order of the records."""
    attributes: dict[str, Stated] = {}
    for record in records:
        attributes = {**record, **attributes}
    return attributes


def proven_between(
    named: PairKind, records: Sequence[Sequence[Any]], decided: Container[str]
) -> Iterator[AttributeFact]:
    """The decisions that the content of facts of two records makes; `decided` are the names of the attributes."""
    for fact, other in alike_between(records, standing(KIND_OF[named], *records), None):
        pair = pair_of(named, fact.identity, other.identity)
        if PREFIX + pair.name not in decided and are_proven_same(fact, other):
            yield decision_attribute(Decision(pair, "proven"), None)


def undecided_between(
    named: PairKind, records: Sequence[Sequence[Any]], decided: Container[str], zone: ZoneInfo | None
) -> Iterator[Pair]:
    """The pairs of facts of two records that wait for a decision: their content proves nothing, and nobody decided."""
    for fact, other in alike_between(records, standing(KIND_OF[named], *records), zone):
        pair = pair_of(named, fact.identity, other.identity)
        if PREFIX + pair.name not in decided and not are_proven_same(fact, other):
            yield pair


def merged_history(records: Sequence[History]) -> History:
    """The records of one person as one history. The surviving record is given first, the others in code-point order.

    A fact that is in several records keeps the assertions of all. The number rule decides which one stands; of equal
    ones the first (`number_rule.standing`).
    """
    attributes = stated_as_one([{fact.identity: fact for fact in record.attributes} for record in records])
    joined: dict[str, Any] = {
        kind: tuple(fact for record in records for fact in getattr(record, kind))
        for kind in KINDS
        if kind != "attributes"
    }
    for named, kind in KIND_OF.items():
        for fact in proven_between(named, [getattr(record, kind) for record in records], attributes):
            attributes[fact.identity] = fact
    return History(records[0].patient, tuple(attributes.values()), **joined)
