"""The patients of a message (PID, MRG), and the links between merged records (ADT^A40, ADT^A37).

`subject_of` makes the pseudonym, `read_person` reads the year of birth and the sex; nothing else of PID is stored.
`read_links` reads which records were merged or separated.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.data_types import Clock, ReadTime, in_hl7_form, read_year
from app.hl7v2.segments import Segment
from app.readers.pseudonyms import Identifier, Pseudonyms
from app.readers.statements import Feed, Place, Statement, left_out
from app.timeline import times
from app.timeline.facts import AttributeFact, History, attribute
from app.timeline.merged_records import MERGED_INTO
from app.timeline.receipts import Note, ReceiptLine
from app.timeline.times import Moment

SEXES = {
    "F": "female", "M": "male",
    "O": "other", "A": "other", "X": "other",
    "U": "unknown", "N": "unknown",
}  # fmt: skip
"""PID-8, HL7 table 0001: `A` is ambiguous, `N` not applicable, `X` non-binary (since 2.9)."""


RECORD_NUMBERS = frozenset({"MR", "MRN", "PI"})
"""Types of identifiers (HL7 table 0203) that are numbers of a patient's record."""
_OTHER_NUMBERS = frozenset({
    "AN", "BR", "DL", "EI", "EN", "HC", "JHN", "MA", "MB", "MC", "MCD", "MCR", "NH", "NI", "NIIP", "PPN", "PRC", "SB",
    "SN", "SR", "SS", "TAX", "VN", "WC",
})  # fmt: skip
"""Types that are no number of a record: of an account or a visit, of a person in a country, of an insurance."""


class PersonIdentifier(NamedTuple):
    """One repetition of PID-3: the identifier, the names of its authority, and its type (CX-5)."""

    value: str
    authority: tuple[str, ...]
    type: str


def subject_of(segment: Segment, field: int, pseudonyms: Pseudonyms) -> str | Fault:
    """The pseudonym of the patient whom a list of identifiers (PID-3, MRG-1) names, or the fault of the list.

    Of several identifiers that of the declared authority counts. If that leaves several, the type decides: the number
    of the record counts if it is the only one, and the types of all others say that they are other numbers.
    """
    try:
        identifiers = list(dict.fromkeys(identifiers_of(segment, field)))
    except InvalidDocument as undecoded:
        return undecoded.faults[0]
    pseudonym = _pseudonym(identifiers, pseudonyms)
    if pseudonym is FaultCode.AMBIGUOUS_SUBJECT:
        ours = [each for each in identifiers if _pseudonym([each], pseudonyms) is not FaultCode.AMBIGUOUS_SUBJECT]
        records = [each for each in ours if each.type not in _OTHER_NUMBERS]
        if records and records != ours and all(each.type in RECORD_NUMBERS for each in records):
            pseudonym = _pseudonym(records, pseudonyms)
    return Fault(segment.place(field), pseudonym) if isinstance(pseudonym, FaultCode) else pseudonym


def _pseudonym(identifiers: Sequence[PersonIdentifier], pseudonyms: Pseudonyms) -> str | FaultCode:
    pseudonym = pseudonyms.patient([Identifier(name, each.value) for each in identifiers for name in each.authority])
    if pseudonym is FaultCode.AMBIGUOUS_SUBJECT and len({each[:2] for each in identifiers}) == 1:
        # One identifier whose authority has two names, and the study declares neither: use the globally unique name.
        pseudonym = pseudonyms.patient([Identifier(identifiers[0].authority[0], identifiers[0].value)])
    return pseudonym


def authority_names(namespace: str, universal: str, kind: str) -> list[str]:
    """The names of an authority in a hierarchic designator (HD), the globally unique one first."""
    if not universal:
        return [namespace]
    prefix = {"ISO": "urn:oid:", "UUID": "urn:uuid:", "GUID": "urn:uuid:"}.get(kind.upper(), "")
    unique = universal if universal.startswith(prefix) else prefix + universal
    return [unique] + ([namespace] if namespace else [])


def identifiers_of(segment: Segment, field: int) -> list[PersonIdentifier]:
    """Each identifier of the field."""
    columns = [segment.texts(field, *at) for at in ((1,), (4, 1), (4, 2), (4, 3), (5,))]
    return [
        PersonIdentifier(value, tuple(authority_names(namespace, universal, kind)), of_type.upper())
        for value, namespace, universal, kind, of_type in zip(*columns, strict=True)
        if value
    ]


def read_person(pid: Segment) -> tuple[Statement, list[ReceiptLine]]:
    """The year of birth and the sex in PID, each if it can be read, and the lines of those that cannot."""
    fields: dict[str, int | str] = {}
    lines = []
    for name, number in (("birth_year", 7), ("sex", 8)):
        try:
            text = pid.text(number)
        except InvalidDocument:
            lines.append(left_out(pid.place(number), name))
            continue
        read = (read_year(text) if number == 7 else SEXES.get(text, FaultCode.UNKNOWN_VALUE)) if text else None
        if isinstance(read, FaultCode):
            lines.append(left_out(pid.place(number), name))
        elif read is not None:
            fields[name] = read
    place = Place(pid.place(), {"id": "-3", "birth_year": "-7", "sex": "-8"})
    return Statement("patient", fields, place), lines


class RecordPair(NamedTuple):
    """Two records: the surviving one (PID), the other one, and the field that names the other one."""

    surviving: Segment
    other: Segment
    field: int


def read_links(segments: Iterable[Segment], feed: Feed, event: str, clock: Clock) -> list[History]:
    """The statements about the records that were merged (A40) or separated again (A37).

    Of two links of a record the one with the later event time (EVN-2, else MSH-7) stands, whichever arrived first.
    Raises `MalformedDocument` if the message does not name two records, and `InvalidDocument` for any other fault.
    """
    segments = list(segments)
    faults: list[Fault] = []
    event_time = _event_time(segments, feed, clock)
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
        if not faults and isinstance(other, str) and not isinstance(event_time, Fault):
            status = "final" if event == "A40" else "entered-in-error"
            at, notes = event_time
            link = attribute(MERGED_INTO, json.dumps(surviving), at, status)
            histories.append(_link(other, link, pair.other.place(pair.field), notes))
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


def _link(patient: str, link: AttributeFact, place: str, notes: tuple[Note, ...]) -> History:
    noted = {("attributes", 0): notes} if notes else {}
    return History(patient, (link,), place=lambda _kind, _index: place, notes=noted)


def _event_time(segments: list[Segment], feed: Feed, clock: Clock) -> tuple[int, tuple[Note, ...]] | Fault:
    """The instant of the event, in microseconds since 1970, and the notes about it."""
    at = {segment.name: segment for segment in segments}
    place, text = "EVN-2", at["EVN"].text(2) if "EVN" in at else ""
    if not text:
        place, text = "MSH-7", at["MSH"].text(7)
    if not text:
        return Fault("EVN-2", FaultCode.MISSING)
    time = clock.read(text)
    read = time if isinstance(time, FaultCode) else times.read_time(time.text, feed.latest)
    if isinstance(read, Moment) and read.instant is not None and isinstance(time, ReadTime):
        return read.instant, time.notes
    return in_hl7_form(Fault(place, read if isinstance(read, FaultCode) else FaultCode.BAD_TIME), instant=True)
