"""ADT^A40 and A37: two records that are one person's, and two that are not after all."""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.data_types import read_time
from app.hl7v2.patient_identity import subject_of
from app.hl7v2.segments import Segment
from app.readers.statements import Feed
from app.timeline import times
from app.timeline.facts import History, attribute
from app.timeline.merged_records import MERGED_INTO
from app.timeline.times import Moment


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
