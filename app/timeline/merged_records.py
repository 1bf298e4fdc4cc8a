"""Records that are of one person: which they are, and how they are read as one.

A hospital that finds two records of one person merges them, and undoes that when it was wrong. So nothing is moved: the
record that was merged says into which one (`merged_into`), and whoever reads for an analysis reads both together.
"""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from app.timeline.facts import KINDS, History
from app.timeline.vocabulary import WITHDRAWN

Stated = TypeVar("Stated")
MERGED_INTO = "merged_into"
"""The attribute of a record that names the surviving one."""


def persons(links: Mapping[str, str], known: Container[str]) -> dict[str, list[str]]:
    """By the record that survives, those that were merged into it, directly or through others, in code-point order.

    `links` says of each merged record into which one. A link to a record that is not `known` links nobody, and neither
    do links that lead round in a circle.
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
    found: dict[str, list[str]] = {}
    for record in sorted(into):
        if ends[record] != record:
            found.setdefault(ends[record], []).append(record)
    return found


def people_of(histories: Iterable[History]) -> list[History]:
    """Histories of single records, each once, as one history for each person."""
    records = {one.patient: one for one in histories}
    links = {
        one.patient: json.loads(fact.value)
        for one in records.values()
        for fact in one.attributes
        if fact.identity == MERGED_INTO and fact.status not in WITHDRAWN
    }
    for survivor, merged in persons(links, records).items():
        records[survivor] = as_one([records[survivor], *[records.pop(one) for one in merged]])
    return list(records.values())


def stated_as_one(records: Sequence[Mapping[str, Stated]]) -> dict[str, Stated]:
    """What the records of one person say of them, in the order of `as_one`: of each attribute the first statement."""
    attributes: dict[str, Stated] = {}
    for record in records:
        attributes = {**record, **attributes}
    return attributes


def as_one(records: Sequence[History]) -> History:
    """The records of one person as one, the surviving record first, the others in code-point order.

    A fact that is in several records keeps the assertions of all: of them the greatest stands, of equals the first
    (`history.standing`).
    """
    attributes = stated_as_one([{fact.identity: fact for fact in record.attributes} for record in records])
    joined: dict[str, Any] = {
        kind: tuple(fact for record in records for fact in getattr(record, kind))
        for kind in KINDS
        if kind != "attributes"
    }
    return History(records[0].patient, tuple(attributes.values()), **joined)
