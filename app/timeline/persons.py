"""Records that are of one person: which they are, and how they are read as one.

A hospital that finds two records of one person merges them, and undoes that when it was wrong. So nothing is moved: the
record that was merged says into which one (`merged_into`), and whoever reads for an analysis reads both together.
"""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from app.timeline.history import AttributeFact, History
from app.timeline.vocabulary import WITHDRAWN

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


def as_one(records: Sequence[History]) -> History:
    """The records of one person as one, the surviving record first, the others in code-point order.

    What the survivor says of the person stands, and what it does not say is taken from the first that does. A fact that
    is in several records keeps the assertions of all: of them the greatest stands, of equals the first
    (`history.standing`).
    """
    attributes: dict[str, AttributeFact] = {}
    for record in records:
        for fact in record.attributes:
            attributes.setdefault(fact.identity, fact)
    joined: dict[str, Any] = {
        part.name: tuple(fact for record in records for fact in getattr(record, part.name))
        for part in fields(History)
        if part.name not in {"patient", "attributes", "repeats"}
    }
    return History(records[0].patient, tuple(attributes.values()), **joined)
