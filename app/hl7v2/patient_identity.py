"""Who a message is about: PID and MRG become a pseudonym, a year of birth and a sex, and nothing else is kept."""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.data_types import read_time, read_year
from app.hl7v2.segments import Segment
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.readers.statements import Feed, Place, Statement
from app.timeline import times
from app.timeline.facts import History, attribute
from app.timeline.merged_records import MERGED_INTO
from app.timeline.times import Moment

SEXES = {
    "F": "female", "M": "male",
    "O": "other", "A": "other", "X": "other",
    "U": "unknown", "N": "unknown",
}  # fmt: skip
"""HL7 table 0001: `A` is ambiguous, `N` not applicable, `X` non-binary (since 2.9)."""


def subject_of(segment: Segment, field: int, pseudonyms: Pseudonyms) -> str | Fault:
    """The subject identifier of whom a list of identifiers (PID-3, MRG-1) names."""
    listed = list(dict.fromkeys(_names(segment, field)))
    found = pseudonyms.patient([Identifier(name, value) for value, names in listed for name in names])
    if found is FaultCode.AMBIGUOUS_SUBJECT and len(listed) == 1:
        # One identifier under two names of its authority, neither of which the study has declared: the one that is
        # unique in the world stands for both.
        (value, names), *_ = listed
        found = pseudonyms.patient([Identifier(names[0], value)])
    return Fault(segment.place(field), found) if isinstance(found, FaultCode) else found


def authority(namespace: str, universal: str, kind: str) -> list[str]:
    """The names that a hierarchic designator gives an authority, the one that is unique in the world first."""
    if not universal:
        return [namespace]
    prefix = {"ISO": "urn:oid:", "UUID": "urn:uuid:", "GUID": "urn:uuid:"}.get(kind.upper(), "")
    unique = universal if universal.startswith(prefix) else prefix + universal
    return [unique] + ([namespace] if namespace else [])


def _names(segment: Segment, field: int) -> list[tuple[str, tuple[str, ...]]]:
    """Each identifier that is given, with the names of its authority."""
    columns = [segment.texts(field, *at) for at in ((1,), (4, 1), (4, 2), (4, 3))]
    return [
        (value, tuple(authority(namespace, universal, kind)))
        for value, namespace, universal, kind in zip(*columns, strict=True)
        if value
    ]


def person_of(pid: Segment) -> tuple[Statement, list[Fault]]:
    """The year of birth and the sex that PID states, where it does."""
    faults = []
    birth, sex = pid.text(7), pid.text(8)
    year = read_year(birth) if birth else None
    if isinstance(year, FaultCode):
        faults.append(Fault(pid.place(7), year))
    if sex and sex not in SEXES:
        faults.append(Fault(pid.place(8), FaultCode.UNKNOWN_VALUE))
    stated = {"birth_year": None if isinstance(year, FaultCode) else year, "sex": SEXES.get(sex)}
    place = Place(pid.place(), {"id": "-3", "birth_year": "-7", "sex": "-8"})
    return Statement("patient", stated, place), faults


class Pair(NamedTuple):
    """The surviving record (PID), the other one, and the field that names it."""

    surviving: Segment
    other: Segment
    field: int


def links(segments: Iterable[Segment], feed: Feed, event: str) -> list[History]:
    """What the message says of each record that was merged, or that is separated again.

    Which of two links stands is decided by when they were made (EVN-2, else MSH-7), not by their arrival. Raises
    `MalformedDocument` where no two records are named, and `InvalidDocument`.
    """
    segments = list(segments)
    faults: list[Fault] = []
    made = _made_at(segments, feed)
    if isinstance(made, Fault):
        faults.append(made)
    histories = []
    for pair in _pairs(segments, event):
        surviving = subject_of(pair.surviving, 3, feed.pseudonyms)
        other = subject_of(pair.other, pair.field, feed.pseudonyms)
        faults += [subject for subject in (surviving, other) if isinstance(subject, Fault)]
        if surviving == other:
            why = "The two records that are named are one."
            faults.append(Fault(pair.other.place(pair.field), FaultCode.CONTRADICTION, why))
        if not faults and isinstance(other, str) and isinstance(made, int):
            status = "final" if event == "A40" else "entered-in-error"
            link = attribute(MERGED_INTO, json.dumps(surviving), made, status)
            histories.append(History(other, (link,)))
    if faults:
        raise InvalidDocument(faults=faults)
    return histories


def _pairs(segments: list[Segment], event: str) -> Iterator[Pair]:
    """PID with the MRG behind it; in A37 also PID with PID, the second one being the record that had been merged."""
    people = [segment for segment in segments if segment.name == "PID"]
    if not people:
        raise MalformedDocument(None, [Fault("PID", FaultCode.MISSING)])
    if not any(segment.name == "MRG" for segment in segments):
        if event == "A40" or len(people) != 2:
            raise MalformedDocument(None, [Fault("MRG", FaultCode.MISSING)])
        yield Pair(people[0], people[1], 3)
        return
    surviving = None
    for segment in segments:
        if segment.name == "PID":
            surviving = segment
        elif segment.name == "MRG":
            if surviving is None:
                raise MalformedDocument(None, [Fault("PID", FaultCode.MISSING)])
            yield Pair(surviving, segment, 1)


def _made_at(segments: list[Segment], feed: Feed) -> int | Fault:
    """The instant of the event, in microseconds since 1970."""
    at = {segment.name: segment for segment in segments}
    place, text = "EVN-2", at["EVN"].text(2) if "EVN" in at else ""
    if not text:
        place, text = "MSH-7", at["MSH"].text(7)
    if not text:
        return Fault("EVN-2", FaultCode.MISSING)
    time = read_time(text, feed.zone)
    read = time if isinstance(time, FaultCode) else times.read_time(time, feed.latest)
    if isinstance(read, Moment):
        return Fault(place, FaultCode.BAD_TIME) if read.instant is None else read.instant
    return Fault(place, read)
