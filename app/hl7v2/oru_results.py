"""ORU^R01: from patients, orders and observations to statements of results.

OBX-3 is looked at first. What is not kept is counted and nothing else of it is read, so that a fault in a test that
nobody asked for holds no result up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.data_types import KINDS, Value, read_time, read_value
from app.hl7v2.message import Envelope
from app.hl7v2.patient_identity import authority, links, person_of, subject_of
from app.hl7v2.segments import NO_SEGMENT, Segment, segments_of
from app.readers.statements import Feed, Place, Skipped, Statement, history_of, read_range, section_of
from app.timeline.facts import History
from app.timeline.normalize import MOST_FAULTS
from app.timeline.vocabulary import WITHDRAWN, Coding

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
"""OBR-25, HL7 table 0123, for results without a status of their own; `A` is an order with some of its results."""
PENDING = frozenset({"I", "O", "N"})
"""Statuses of a result that is not there: in the laboratory, ordered, not asked for."""
ORDER_PENDING = frozenset({"O", "I", "S"})

_CONTENT = ("value", "score", "comparator", "unit", "upper_limit", "lower_limit")
_FIELDS = {"code": 3, "value": 5, "score": 5, "comparator": 5, "unit": 6, "upper_limit": 7, "lower_limit": 7,
           "status": 11}  # fmt: skip


@dataclass(slots=True)
class Order:
    """One OBR with the specimens and the observations that belong to it, and the patient of its group."""

    pid: Segment
    obr: Segment | None = None
    specimens: list[Segment] = field(default_factory=list)
    observations: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class MessageResults:
    """What a message says: statements by subject, what was left alone by reason, and what is wrong."""

    statements: dict[str, list[Statement]] = field(default_factory=dict)
    skipped: Counter[Skipped] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    _people: dict[int, list[Statement]] = field(default_factory=dict)

    def statements_about(self, pid: Segment, feed: Feed) -> list[Statement]:
        """The statements about the patient of this PID, which has a result that is kept: only then PID is looked at."""
        if pid.number not in self._people:
            self._people[pid.number] = self._introduce(pid, feed)
        return self._people[pid.number]

    def _introduce(self, pid: Segment, feed: Feed) -> list[Statement]:
        person, faults = person_of(pid)
        subject = subject_of(pid, 3, feed.pseudonyms)
        self.faults += faults
        if isinstance(subject, Fault):
            self.faults.append(subject)
            return []
        statements = self.statements.setdefault(subject, [])
        statements.append(person)
        return statements


class _Refused(Exception):
    """A result that is kept has a fault."""

    def __init__(self, place: str, code: FaultCode, why: str | None = None) -> None:
        super().__init__(code)
        self.fault = Fault(place, code, why)


def results(segments: Iterable[Segment], feed: Feed, facility: str) -> MessageResults:
    """What the results of a message say; `facility` (MSH-4) stands in for whoever gave numbers without a name.

    Raises `MalformedDocument` where there is no patient or no observation.
    """
    found = MessageResults()
    orders = _orders(segments)
    if not any(order.observations for order in orders):
        raise MalformedDocument(None, [Fault("OBX", FaultCode.MISSING)])
    for order in orders:
        for obx in order.observations:
            try:
                _observe(found, obx, order, feed, facility)
            except _Refused as refusal:
                found.faults.append(refusal.fault)
    return found


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


def _observe(found: MessageResults, obx: Segment, order: Order, feed: Feed, facility: str) -> None:
    meaning = feed.codes.meaning(_codings(obx), obx.text(3, 9) or None)
    if isinstance(meaning, FaultCode):
        raise _Refused(obx.place(3), meaning)
    section = None if meaning is None else section_of(meaning)
    if meaning is None or section == "infusions":  # an order of blood products is no infusion that was given
        found.skipped["code"] += 1
        return
    if obx.cut:
        raise _Refused(obx.place(), FaultCode.MALFORMED, NO_SEGMENT)
    if order.obr is None:
        raise _Refused("OBR", FaultCode.MISSING)
    status = _status(obx, order.obr)
    if status is None:
        found.skipped["status"] += 1
        return
    if obx.text(2) not in {"", *KINDS} and status not in WITHDRAWN:
        found.skipped["value"] += 1
        return
    statements = found.statements_about(order.pid, feed)
    number_at, numbered = _number(obx, order.obr, feed, facility)
    time_at, time = _time(obx, order, feed)
    stated = {"code": meaning, "time": time, "status": status, "issued": _issued(order.obr, feed), **numbered}
    content = _content(obx, section == "labs", status in WITHDRAWN)
    fields = {"time": time_at, "issued": order.obr.place(22), "id": number_at, "source": number_at, "": obx.place()}
    place = Place("", {name: obx.place(number) for name, number in _FIELDS.items()} | fields)
    statement = Statement("labs" if section == "labs" else "assessments", stated | content, place)
    statements.append(_withdrawable(statement, feed) if status in WITHDRAWN else statement)


def _codings(obx: Segment) -> list[Coding]:
    """The code and its alternate; one without a code lends its text, which may say what the other code is not."""
    codings = []
    for first in (1, 4):
        code, text, system = (obx.text(3, first + i) or None for i in range(3))
        if code or text:
            codings.append(Coding(system if code else None, code, text))
    return codings


def _status(obx: Segment, obr: Segment) -> str | None:
    """The status in our words; `None` of a result that is not there."""
    own, of_order = obx.text(11), obr.text(25)
    if own in PENDING or (own == "U" and not obx.text(5)) or (not own and of_order in ORDER_PENDING):
        return None
    if own:
        status = _listed(STATUSES, own, obx.place(11))
    elif of_order:
        status = _listed(ORDER_STATUSES, of_order, obr.place(25))
    elif obx.is_null(5):
        return "entered-in-error"
    else:
        raise _Refused(obx.place(11), FaultCode.MISSING)
    if not obx.is_null(5) or status in WITHDRAWN:
        return status
    if status == "preliminary":  # that there is no value yet must not stand above the final result that follows
        raise _Refused(obx.place(5), FaultCode.MISSING)
    return "entered-in-error"


def _listed(table: Mapping[str, str], word: str, place: str) -> str:
    if word not in table:
        raise _Refused(place, FaultCode.UNKNOWN_VALUE)
    return table[word]


def _content(obx: Segment, measured: bool, withdrawn: bool) -> dict[str, Any]:
    """The value with its unit and limits, or the score; of a withdrawn result the value need not be one."""
    value = read_value(obx)
    if not isinstance(value, Value):
        if not withdrawn:
            raise _without_value(obx, value)
        value = Value(None)
    if not measured:
        if value.comparator is not None:
            raise _Refused(obx.place(5), FaultCode.UNSUPPORTED)
        return {"score": value.number}
    lower, upper = read_range(obx.text(7)) if obx.is_plain(7) else (None, None)
    return {
        "value": value.number,
        "comparator": value.comparator,
        "unit": obx.text(6) or obx.text(6, 2) or None,
        "lower_limit": lower,
        "upper_limit": upper,
    }


def _without_value(obx: Segment, why: FaultCode | None) -> _Refused:
    if why is None:
        return _Refused(obx.place(5), FaultCode.MISSING)
    return _Refused(obx.place(5), why) if obx.text(2) else _Refused(obx.place(2), FaultCode.MISSING)


def _withdrawable(statement: Statement, feed: Feed) -> Statement:
    """What is withdrawn needs no content: one that is not accepted must not keep the result standing."""
    _, faults = history_of("unread", [statement], feed.latest)
    if not faults:
        return statement
    kept = {name: value for name, value in statement.fields.items() if name not in _CONTENT}
    return statement._replace(fields=kept)


def _time(obx: Segment, order: Order, feed: Feed) -> tuple[str, str]:
    """When the specimen was taken, and where that stands: OBR-7, else SPM-17, else OBX-14.

    The last is the same by the standard, but many analysers write there when they measured.
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
    return place, _read(text, place, feed)


def _issued(obr: Segment, feed: Feed) -> str | None:
    """When the results were released, OBR-22; the time of the message is another thing and is never taken for it."""
    return _read(obr.text(22), obr.place(22), feed) if obr.text(22) else None


def _read(text: str, place: str, feed: Feed) -> str:
    time = read_time(text, feed.zone)
    if isinstance(time, FaultCode):
        raise _Refused(place, time)
    return time


def _number(obx: Segment, obr: Segment, feed: Feed, facility: str) -> tuple[str, dict[str, Any]]:
    """The number of the filler (OBR-3), else of the placer (OBR-2), with the sub-id of the observation, and its place.

    The sub-id tells repeated observations of one code apart.
    """
    at = next((number for number in (3, 2) if obr.text(number)), None)
    if at is None:
        return obr.place(3), {}
    source = obr.text(at, 2) or authority("", obr.text(at, 3), obr.text(at, 4))[0] or facility or None
    value = f"{obr.text(at)}.{obx.text(4)}" if obx.text(4) else obr.text(at)
    number = feed.pseudonyms.number(source, value)
    if isinstance(number, FaultCode):
        raise _Refused(obr.place(at), number)
    return obr.place(at), {"id": number, "source": source}


READ = frozenset({"MSH", "EVN", "PID", "MRG", "OBR", "OBX", "SPM"})
STRUCTURE = frozenset({"SFT", "UAC", "PD1", "PV1", "PV2", "ORC", "TQ1", "TQ2"})
"""Segments that nearly every message has and that say nothing which is kept; all others are counted as skipped."""


class ReadMessage(NamedTuple):
    """What is stored of a message, what was left alone by reason, and whether it ends a link that must be known.

    An A37 that names two patients as equals does so: if the order in which it names them were not ours, it would end
    nothing and nobody would notice.
    """

    histories: tuple[History, ...]
    skipped: Mapping[str, int]
    ends_known_link: bool = False


def read_message(envelope: Envelope, feed: Feed) -> ReadMessage:
    """Read a message.

    Raises `MalformedDocument` where it is not one that is read here at all: its grammar, its header, a segment that it
    cannot do without. Raises `InvalidDocument` with all that is wrong in its content.
    """
    _check_header(envelope, feed)
    segments, others = segments_of(envelope.lines, envelope.delimiters, envelope.codec, READ)
    skipped = Counter({"segment": sum(count for name, count in others.items() if name not in STRUCTURE)})
    if envelope.kind[0] == "ADT":
        histories = links(segments, feed, envelope.kind[1])
        return ReadMessage(tuple(histories), +skipped, not any(segment.name == "MRG" for segment in segments))
    found = _read_results(segments, feed, envelope.facility)
    return ReadMessage(found.histories, +skipped + Counter(found.skipped))


def _check_header(envelope: Envelope, feed: Feed) -> None:
    faults = list(envelope.faults)
    if envelope.processing in {"T", "D"} and not feed.test:
        faults.append(Fault("MSH-11", FaultCode.NOT_PRODUCTION))
    if any(fault.code is not FaultCode.UNKNOWN_ENCODING for fault in faults):
        raise MalformedDocument(faults=faults)
    if faults:
        raise InvalidDocument(faults=faults)


def _read_results(segments: list[Segment], feed: Feed, facility: str) -> ReadMessage:
    found = results(segments, feed, facility)
    faults, histories = found.faults, []
    for subject, statements in found.statements.items():
        history, wrong = history_of(subject, statements, feed.latest)
        histories.append(history)
        faults += wrong
    if faults:
        raise InvalidDocument(faults=faults[:MOST_FAULTS])
    return ReadMessage(tuple(histories), Counter({str(reason): count for reason, count in found.skipped.items()}))
