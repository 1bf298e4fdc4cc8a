"""The patients of a message (PID, MRG), and the links between merged records (ADT^A40, ADT^A37).

`subject_of` makes the pseudonym, `read_person` reads the year of birth and the sex; nothing else of PID is stored.
`read_links` reads which records were merged or separated.
"""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.data_types import BIRTH_FORM, in_hl7_form, read_time, read_year
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
"""PID-8, HL7 table 0001: `A` is ambiguous, `N` not applicable, `X` non-binary (since 2.9)."""


def subject_of(segment: Segment, field: int, pseudonyms: Pseudonyms) -> str | Fault:
    """The pseudonym of the patient whom a list of identifiers (PID-3, MRG-1) names, or the fault of the list."""
    identifiers = list(dict.fromkeys(_identifiers(segment, field)))
    pseudonym = pseudonyms.patient([Identifier(name, value) for value, names in identifiers for name in names])
    if pseudonym is FaultCode.AMBIGUOUS_SUBJECT and len(identifiers) == 1:
        # One identifier whose authority has two names, and the study declares neither: use the globally unique name.
        (value, names), *_ = identifiers
        pseudonym = pseudonyms.patient([Identifier(names[0], value)])
    return Fault(segment.place(field), pseudonym) if isinstance(pseudonym, FaultCode) else pseudonym


def authority_names(namespace: str, universal: str, kind: str) -> list[str]:
    """The names of an authority in a hierarchic designator (HD), the globally unique one first."""
    if not universal:
        return [namespace]
    prefix = {"ISO": "urn:oid:", "UUID": "urn:uuid:", "GUID": "urn:uuid:"}.get(kind.upper(), "")
    unique = universal if universal.startswith(prefix) else prefix + universal
    return [unique] + ([namespace] if namespace else [])


def _identifiers(segment: Segment, field: int) -> list[tuple[str, tuple[str, ...]]]:
    """Each identifier of the field, with the names of its authority."""
    columns = [segment.texts(field, *at) for at in ((1,), (4, 1), (4, 2), (4, 3))]
    return [
        (value, tuple(authority_names(namespace, universal, kind)))
        for value, namespace, universal, kind in zip(*columns, strict=True)
        if value
    ]


def read_person(pid: Segment) -> tuple[Statement, list[Fault]]:
    """The year of birth and the sex in PID, each if it is given, and the faults."""
    faults = []
    birth, sex = pid.text(7), pid.text(8)
    year = read_year(birth) if birth else None
    if isinstance(year, FaultCode):
        faults.append(Fault(pid.place(7), year, "A date of birth begins with its year.", BIRTH_FORM))
    if sex and sex not in SEXES:
        faults.append(Fault(pid.place(8), FaultCode.UNKNOWN_VALUE, None, Accepts(one_of=tuple(SEXES))))
    fields = {"birth_year": None if isinstance(year, FaultCode) else year, "sex": SEXES.get(sex)}
    place = Place(pid.place(), {"id": "-3", "birth_year": "-7", "sex": "-8"})
    return Statement("patient", fields, place), faults


class RecordPair(NamedTuple):
    """Two records: the surviving one (PID), the other one, and the field that names the other one."""

    surviving: Segment
    other: Segment
    field: int


def read_links(segments: Iterable[Segment], feed: Feed, event: str) -> list[History]:
    """The statements about the records that were merged (A40) or separated again (A37).

    Of two links of a record the one with the later event time (EVN-2, else MSH-7) stands, whichever arrived first.
    Raises `MalformedDocument` if the message does not name two records, and `InvalidDocument` for any other fault.
    """
    segments = list(segments)
    faults: list[Fault] = []
    event_time = _event_time(segments, feed)
    if isinstance(event_time, Fault):
        faults.append(event_time)
    histories = []
    for pair in _pairs(segments, event):
        surviving = subject_of(pair.surviving, 3, feed.pseudonyms)
        other = subject_of(pair.other, pair.field, feed.pseudonyms)
        faults += [subject for subject in (surviving, other) if isinstance(subject, Fault)]
        if surviving == other:
            why = "The message names the same record twice."
            faults.append(Fault(pair.other.place(pair.field), FaultCode.CONTRADICTION, why))
        if not faults and isinstance(other, str) and isinstance(event_time, int):
            status = "final" if event == "A40" else "entered-in-error"
            link = attribute(MERGED_INTO, json.dumps(surviving), event_time, status)
            histories.append(History(other, (link,)))
    if faults:
        raise InvalidDocument(faults=faults)
    return histories


def _pairs(segments: list[Segment], event: str) -> Iterator[RecordPair]:
    """Each PID with the MRG after it; in A37 also a PID with a PID, of which the second is the merged record."""
    people = [segment for segment in segments if segment.name == "PID"]
    if not people:
        raise MalformedDocument(None, [Fault("PID", FaultCode.MISSING)])
    if not any(segment.name == "MRG" for segment in segments):
        if event == "A40" or len(people) != 2:
            raise MalformedDocument(None, [Fault("MRG", FaultCode.MISSING)])
        yield RecordPair(people[0], people[1], 3)
        return
    surviving = None
    for segment in segments:
        if segment.name == "PID":
            surviving = segment
        elif segment.name == "MRG":
            if surviving is None:
                raise MalformedDocument(None, [Fault("PID", FaultCode.MISSING)])
            yield RecordPair(surviving, segment, 1)


def _event_time(segments: list[Segment], feed: Feed) -> int | Fault:
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
        if read.instant is not None:
            return read.instant
        read = FaultCode.BAD_TIME
    return in_hl7_form(Fault(place, read), instant=True)
