"""The content of a message: `read_message` returns the histories to store. The results of ORU^R01 are read here.

`read_message` checks the header and reads ORU^R01 here, ADT^A40 and ADT^A37 by `patient_identity.read_links`.
`read_results` reads patients (PID), orders (OBR) and observations (OBX) into `MessageResults`: statements by patient.
OBX-3, the code, is read first. A test that is not stored is counted and its other fields are not read, so that a fault
in it does not refuse the message.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.data_types import ACCEPTED_COMPARATORS, ACCEPTED_NUMBER, KINDS, Value, read_time, read_value
from app.hl7v2.message import Envelope
from app.hl7v2.patient_identity import authority_names, read_links, read_person, subject_of
from app.hl7v2.segments import NO_SEGMENT, Segment, segments_of
from app.readers.limits import UNREADABLE, NormalLimits, read_limits
from app.readers.statements import Feed, Place, Skipped, Statement, history_of, section_of
from app.timeline.facts import History
from app.timeline.normalize import MOST_FAULTS
from app.timeline.receipts import Note
from app.timeline.vocabulary import UNITS, WITHDRAWN, CodeBook, Coding, same_unit

STATUSES = {
    "F": "final", "U": "final",
    "C": "corrected", "A": "amended",
    "P": "preliminary", "R": "preliminary", "S": "preliminary",
    "D": "entered-in-error", "W": "entered-in-error",
    "X": "cancelled",
}  # fmt: skip
"""OBX-11, HL7 table 0085."""
ORDER_STATUSES = {
    "F": "final", "C": "corrected",
    "P": "preliminary", "R": "preliminary", "A": "preliminary",
    "X": "cancelled",
}  # fmt: skip
"""OBR-25, HL7 table 0123, for results without OBX-11; `A` is an order with some of its results."""
PENDING = frozenset({"I", "O", "N"})
"""OBX-11 of a result that does not exist yet: in the laboratory, only ordered, or not ordered."""
ORDER_PENDING = frozenset({"O", "I", "S"})
"""OBR-25 of an order that has no results yet."""

READ_SEGMENTS = frozenset({"MSH", "EVN", "PID", "MRG", "OBR", "OBX", "SPM"})
IGNORED_SEGMENTS = frozenset({"SFT", "UAC", "PD1", "PV1", "PV2", "ORC", "TQ1", "TQ2"})
"""Segments of nearly every message that hold nothing to store. All others that are not read are counted as skipped."""

_VALUE_FIELDS = ("value", "score", "comparator", "unit", "upper_limit", "lower_limit")
_OBX_FIELDS = {"code": 3, "value": 5, "score": 5, "comparator": 5, "unit": 6, "upper_limit": 7, "lower_limit": 7,
           "status": 11}  # fmt: skip


class ReadMessage(NamedTuple):
    """What is stored of a message, how much was skipped by reason, and whether it ends a link that must exist.

    An A37 with two PID and no MRG ends such a link: if the sender named the two in the other order, the message would
    end no link and nobody would notice.
    """

    histories: tuple[History, ...]
    skipped: Mapping[str, int]
    ends_known_link: bool = False


def read_message(envelope: Envelope, feed: Feed) -> ReadMessage:
    """Read the content of a message.

    Raises `MalformedDocument` if the grammar or the header is faulty or a required segment is missing, and
    `InvalidDocument` with all faults of the content.
    """
    _check_header(envelope, feed)
    segments, others = segments_of(envelope.lines, envelope.delimiters, envelope.codec, READ_SEGMENTS)
    skipped = Counter({"segment": sum(count for name, count in others.items() if name not in IGNORED_SEGMENTS)})
    if envelope.kind[0] == "ADT":
        histories = read_links(segments, feed, envelope.kind[1])
        return ReadMessage(tuple(histories), +skipped, not any(segment.name == "MRG" for segment in segments))
    results = _read_oru(segments, feed, envelope.facility)
    return ReadMessage(results.histories, +skipped + Counter(results.skipped))


def _check_header(envelope: Envelope, feed: Feed) -> None:
    faults = list(envelope.faults)
    if envelope.processing in {"T", "D"} and not feed.test:
        faults.append(Fault("MSH-11", FaultCode.NOT_PRODUCTION, None, Accepts(one_of=("P",))))
    if any(fault.code is not FaultCode.UNKNOWN_ENCODING for fault in faults):
        raise MalformedDocument(faults=faults)
    if faults:
        raise InvalidDocument(faults=faults)


def _read_oru(segments: list[Segment], feed: Feed, facility: str) -> ReadMessage:
    results = read_results(segments, feed, facility)
    faults, histories = results.faults, []
    for subject, statements in results.statements.items():
        history, wrong = history_of(subject, statements, feed.latest)
        histories.append(history)
        faults += wrong
    if faults:
        raise InvalidDocument(faults=faults[:MOST_FAULTS])
    return ReadMessage(tuple(histories), Counter({str(reason): count for reason, count in results.skipped.items()}))


@dataclass(slots=True)
class Order:
    """One OBR with the specimens and the observations that belong to it, and the patient of its group."""

    pid: Segment
    obr: Segment | None = None
    specimens: list[Segment] = field(default_factory=list)
    observations: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class MessageResults:
    """The statements of a message by patient, the number of skipped items by reason, and the faults."""

    statements: dict[str, list[Statement]] = field(default_factory=dict)
    skipped: Counter[Skipped] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    _by_pid: dict[int, list[Statement]] = field(default_factory=dict)

    def statements_about(self, pid: Segment, feed: Feed) -> list[Statement]:
        """The statements about the patient of this PID. It is read at the first stored result."""
        if pid.number not in self._by_pid:
            self._by_pid[pid.number] = self._add_patient(pid, feed)
        return self._by_pid[pid.number]

    def _add_patient(self, pid: Segment, feed: Feed) -> list[Statement]:
        person, faults = read_person(pid)
        subject = subject_of(pid, 3, feed.pseudonyms)
        self.faults += faults
        if isinstance(subject, Fault):
            self.faults.append(subject)
            return []
        statements = self.statements.setdefault(subject, [])
        statements.append(person)
        return statements


class _Refused(Exception):
    """A result that would be stored has a fault."""

    def __init__(self, place: str, code: FaultCode, why: str | None = None, accepts: Accepts | None = None) -> None:
        super().__init__(code)
        self.fault = Fault(place, code, why, accepts)


def read_results(segments: Iterable[Segment], feed: Feed, facility: str) -> MessageResults:
    """Read the results of a message. `facility` (MSH-4) is the source of a number that names no authority.

    Raises `MalformedDocument` if there is no patient or no observation.
    """
    results = MessageResults()
    orders = _orders(segments)
    if not any(order.observations for order in orders):
        raise MalformedDocument(None, [Fault("OBX", FaultCode.MISSING)])
    for order in orders:
        for obx in order.observations:
            try:
                _read_observation(results, obx, order, feed, facility)
            except _Refused as refusal:
                results.faults.append(refusal.fault)
    return results


def _orders(segments: Iterable[Segment]) -> list[Order]:
    orders: list[Order] = []
    for segment in segments:
        if segment.name == "PID":
            orders.append(Order(segment))
        elif segment.name in {"OBR", "OBX", "SPM"} and not orders:
            raise MalformedDocument(None, [Fault("PID", FaultCode.MISSING)])
        elif segment.name == "OBR":
            orders.append(Order(orders[-1].pid, segment))
        elif segment.name == "OBX":
            orders[-1].observations.append(segment)
        elif segment.name == "SPM":
            orders[-1].specimens.append(segment)
    if not orders:
        raise MalformedDocument(None, [Fault("PID", FaultCode.MISSING)])
    return orders


def _read_observation(results: MessageResults, obx: Segment, order: Order, feed: Feed, facility: str) -> None:
    meaning = feed.codes.meaning(_codings(obx), obx.text(3, 9) or None)
    if isinstance(meaning, FaultCode):
        raise _Refused(obx.place(3), meaning)
    section = None if meaning is None else section_of(meaning)
    if meaning is None or section == "infusions":  # an ordered blood product is not an infusion that was given
        results.skipped["code"] += 1
        return
    if obx.cut:
        raise _Refused(obx.place(), FaultCode.MALFORMED, NO_SEGMENT)
    if order.obr is None:
        raise _Refused("OBR", FaultCode.MISSING)
    status = _status(obx, order.obr)
    if status is None:
        results.skipped["status"] += 1
        return
    if obx.text(2) not in {"", *KINDS} and status not in WITHDRAWN:
        results.skipped["value"] += 1
        return
    statements = results.statements_about(order.pid, feed)
    number_at, numbered = _result_number(obx, order.obr, feed, facility)
    time_at, time = _specimen_time(obx, order, feed)
    stated = {"code": meaning, "time": time, "status": status, "issued": _release_time(order.obr, feed), **numbered}
    content, notes = _value_fields(obx, section == "labs", status in WITHDRAWN, feed.codes)
    fields = {"time": time_at, "issued": order.obr.place(22), "id": number_at, "source": number_at, "": obx.place()}
    place = Place("", {name: obx.place(number) for name, number in _OBX_FIELDS.items()} | fields)
    statement = Statement("labs" if section == "labs" else "assessments", stated | content, place, notes)
    statements.append(_withdrawal(statement, feed) if status in WITHDRAWN else statement)


def _codings(obx: Segment) -> list[Coding]:
    """The code and the alternate code. One without a code is kept for its text, which may contradict the other code."""
    codings = []
    for first in (1, 4):
        code, text, system = (obx.text(3, first + i) or None for i in range(3))
        if code or text:
            codings.append(Coding(system if code else None, code, text))
    return codings


def _status(obx: Segment, obr: Segment) -> str | None:
    """The status in our words; `None` if the result does not exist yet."""
    own, order_status = obx.text(11), obr.text(25)
    if own in PENDING or (own == "U" and not obx.text(5)) or (not own and order_status in ORDER_PENDING):
        return None
    if own:
        status = _table_value(STATUSES, own, obx.place(11), PENDING)
    elif order_status:
        status = _table_value(ORDER_STATUSES, order_status, obr.place(25), ORDER_PENDING)
    elif obx.is_null(5):
        return "entered-in-error"
    else:
        raise _Refused(obx.place(11), FaultCode.MISSING, None, _words(STATUSES, PENDING))
    if not obx.is_null(5) or status in WITHDRAWN:
        return status
    if status == "preliminary":  # "no value yet" must not withdraw the final result
        raise _Refused(obx.place(5), FaultCode.MISSING, None, ACCEPTED_NUMBER)
    return "entered-in-error"


def _table_value(table: Mapping[str, str], word: str, place: str, pending: Iterable[str]) -> str:
    if word not in table:
        raise _Refused(place, FaultCode.UNKNOWN_VALUE, None, _words(table, pending))
    return table[word]


def _words(table: Iterable[str], pending: Iterable[str]) -> Accepts:
    """The words of a table of statuses, and those of results that do not exist yet."""
    return Accepts(one_of=(*table, *sorted(pending)))


def _value_fields(
    obx: Segment, measured: bool, withdrawn: bool, codes: CodeBook
) -> tuple[dict[str, Any], tuple[Note, ...]]:
    """The value with its unit and limits, or the score, and what is to be noted of it.

    A withdrawn result needs no valid value.
    """
    value = read_value(obx)
    if not isinstance(value, Value):
        if not withdrawn:
            raise _value_refusal(obx, value)
        value = Value(None)
    if not measured:
        if value.comparator is not None:
            raise _Refused(obx.place(5), FaultCode.UNSUPPORTED, None, Accepts(form="a score without a comparator"))
        return {"score": value.number}, ()
    unit = _unit(obx, codes)
    if isinstance(unit, FaultCode):
        if not withdrawn:
            raise _Refused(obx.place(6), unit)
        unit = None
    limits = _limits(obx, unit, codes)
    fields = {
        "value": value.number,
        "comparator": value.comparator,
        "unit": unit,
        "lower_limit": limits.lower,
        "upper_limit": limits.upper,
    }
    return fields, limits.notes


def _unit(obx: Segment, codes: CodeBook) -> str | FaultCode | None:
    """The unit: the first of its code, its text, and the alternate code and text that is accepted. They must agree."""
    named = [codes.unit(text) for component in (1, 2, 4, 5) if (text := obx.text(6, component))]
    known = [unit for unit in named if unit is not None and unit in UNITS]
    if any(not same_unit(known[0], unit) for unit in known):
        return FaultCode.UNIT_MISMATCH
    return next(iter(known or named), None)


def _limits(obx: Segment, unit: str | None, codes: CodeBook) -> NormalLimits:
    """The limits of OBX-7: a text. Empty components after it say nothing, nor does the null value."""
    marks = (obx.delimiters.component, obx.delimiters.subcomponent, obx.delimiters.repetition)
    if any(mark in obx.raw(7).rstrip("".join(marks) + " ") for mark in marks):
        return UNREADABLE
    return read_limits(obx.text(7), unit, codes)


def _value_refusal(obx: Segment, why: FaultCode | None) -> _Refused:
    if why is None:
        return _Refused(obx.place(5), FaultCode.MISSING, None, ACCEPTED_NUMBER)
    if not obx.text(2):
        return _Refused(obx.place(2), FaultCode.MISSING, None, Accepts(one_of=tuple(KINDS)))
    accepts = ACCEPTED_COMPARATORS if why is FaultCode.UNKNOWN_VALUE else ACCEPTED_NUMBER
    return _Refused(obx.place(5), why, None, accepts)


def _withdrawal(statement: Statement, feed: Feed) -> Statement:
    """The statement of a withdrawal, without value, unit and limits if one of them has a fault."""
    _, faults = history_of("unread", [statement], feed.latest)
    if not faults:
        return statement
    kept = {name: value for name, value in statement.fields.items() if name not in _VALUE_FIELDS}
    return statement._replace(fields=kept)


def _specimen_time(obx: Segment, order: Order, feed: Feed) -> tuple[str, str]:
    """The place and the time at which the specimen was taken: OBR-7, else SPM-17, else OBX-14.

    OBX-14 is the same time by the standard, but many analysers send the time of the measurement there.
    """
    drawn = {spm.text(17): spm for spm in order.specimens if spm.text(17)}
    if order.obr is not None and order.obr.text(7):
        place, text = order.obr.place(7), order.obr.text(7)
    elif drawn:
        text, spm = next(iter(drawn.items()))
        place = spm.place(17)
        if len(drawn) > 1:
            raise _Refused(place, FaultCode.REPEATED_VALUE)
    elif obx.text(14):
        place, text = obx.place(14), obx.text(14)
    else:
        raise _Refused(obx.place(14), FaultCode.MISSING)
    return place, _time_of(text, place, feed)


def _release_time(obr: Segment, feed: Feed) -> str | None:
    """When the results were released: OBR-22. The time of the message (MSH-7) is never used for it."""
    return _time_of(obr.text(22), obr.place(22), feed) if obr.text(22) else None


def _time_of(text: str, place: str, feed: Feed) -> str:
    time = read_time(text, feed.zone)
    if isinstance(time, FaultCode):
        raise _Refused(place, time)
    return time


def _result_number(obx: Segment, obr: Segment, feed: Feed, facility: str) -> tuple[str, dict[str, Any]]:
    """The place and the number of a result: OBR-3 (filler), else OBR-2 (placer), with the sub-id of the observation.

    The sub-id (OBX-4) distinguishes repeated observations of one code.
    """
    at = next((number for number in (3, 2) if obr.text(number)), None)
    if at is None:
        return obr.place(3), {}
    source = obr.text(at, 2) or authority_names("", obr.text(at, 3), obr.text(at, 4))[0] or facility or None
    number = feed.pseudonyms.number(source, obr.text(at), obx.text(4))
    if isinstance(number, FaultCode):
        raise _Refused(obr.place(at), number)
    return obr.place(at), {"id": number, "source": source}
