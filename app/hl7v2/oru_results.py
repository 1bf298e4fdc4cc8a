"""The content of a message: `read_message` returns the histories to store. The results of ORU^R01 are read here.

`read_message` checks the header and reads ORU^R01 here, ADT^A40 and ADT^A37 by `patient_identity.read_links`.
`read_results` reads patients (PID), orders (OBR) and observations (OBX) into `MessageResults`: statements by patient.
OBX-3, the code, is read first. A test that is not stored gets a line, and its other fields are not read. A result with
a fault is set aside and harms no other one. A fault of the message itself, such as one in the patient's number,
refuses all of it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, MalformedDocument
from app.hl7v2.data_types import (
    ACCEPTED_COMPARATORS,
    ACCEPTED_NUMBER,
    KINDS,
    Clock,
    ReadTime,
    Value,
    ValueOrFault,
    in_hl7_form,
    is_document,
    is_no_number,
    read_value,
)
from app.hl7v2.message import Envelope
from app.hl7v2.patient_identity import authority_names, read_links, read_person, subject_of
from app.hl7v2.segments import NO_SEGMENT, READ_SEGMENTS, Segment, segments_of, undecoded
from app.readers.limits import UNREADABLE, NormalLimits, read_limits
from app.readers.statements import Feed, Place, Skipped, Statement, history_of, left_out, readable, section_of
from app.readers.suggestions import unknown_code
from app.timeline.document import TEXT_PATTERN
from app.timeline.facts import History
from app.timeline.normalize import MOST_FAULTS
from app.timeline.receipts import Disposition, Note, NoteCode, NotKept, ReceiptLine, SentFact
from app.timeline.times import Moment, read_time, when_text
from app.timeline.vocabulary import LOINC, PANELS, SYSTEMS, UNITS, WITHDRAWN, CodeBook, Coding, same_unit

STATUSES = {
    "F": "final", "U": "final", "V": "final", "B": "final",
    "C": "corrected", "A": "amended",
    "P": "preliminary", "R": "preliminary", "S": "preliminary",
    "D": "entered-in-error", "W": "entered-in-error",
    "X": "cancelled",
}  # fmt: skip
"""OBX-11, HL7 table 0085. `V` (verified) and `B` (something was added to the report) do not change a final value."""
ORDER_STATUSES = {
    "F": "final", "C": "corrected",
    "P": "preliminary", "R": "preliminary", "A": "preliminary", "M": "preliminary",
    "X": "cancelled",
}  # fmt: skip
"""OBR-25, HL7 table 0123, for results without OBX-11; `A` is an order with some of its results, `M` is corrected and
not final yet. `Y` and `Z` only answer queries.
"""
PENDING = frozenset({"I", "O", "N"})
"""OBX-11 of a result that does not exist yet: in the laboratory, only ordered, or not ordered."""
ORDER_PENDING = frozenset({"O", "I", "S", "N"})
"""OBR-25 of an order that has no results yet."""

IGNORED_SEGMENTS = frozenset({"SFT", "UAC", "PD1", "PV1", "PV2", "ORC", "TQ1", "TQ2"})
"""Segments of nearly every message that hold nothing to store. All others that are not read are counted as skipped."""

_OBX_FIELDS = {"code": 3, "value": 5, "score": 5, "comparator": 5, "unit": 6, "upper_limit": 7, "lower_limit": 7,
           "status": 11}  # fmt: skip


class ReadMessage(NamedTuple):
    """What is stored of a message, how much was skipped by reason, and whether it ends a link that must exist.

    An A37 with two PID and no MRG ends such a link: if the sender named the two in the other order, the message would
    end no link and nobody would notice. `lines` are the lines of the receipt that belong to none of the histories, and
    `faults` the faults of what is set aside. `aside` are patients of whom nothing can be stored but what is set aside.
    """

    histories: tuple[History, ...]
    skipped: Mapping[str, int]
    ends_known_link: bool = False
    lines: tuple[ReceiptLine, ...] = ()
    faults: tuple[Fault, ...] = ()
    aside: tuple[History, ...] = ()

    @property
    def unkept(self) -> tuple[ReceiptLine, ...]:
        """All lines that belong to no patient of whom something can be stored."""
        return (*[line for history in self.aside for line in history.aside], *self.lines)


def read_message(envelope: Envelope, feed: Feed) -> ReadMessage:
    """Read the content of a message.

    Raises `MalformedDocument` if the grammar or the header is faulty or a required segment is missing, and
    `InvalidDocument` with all faults of the message itself.
    """
    _check_header(envelope, feed)
    segments, others = segments_of(envelope.lines, envelope.delimiters, envelope.codec, READ_SEGMENTS)
    unread = {name: count for name, count in others.items() if name not in IGNORED_SEGMENTS}
    skipped = Counter({"segment": sum(unread.values())})
    lines = [ReceiptLine(name, Disposition.NOT_OURS, "segment") for name in unread]
    if not envelope.all_decoded:
        lines.append(left_out("MSH-18", "charset"))
    clock = Clock(feed.zone, envelope.sent_at.partition("^")[0] if feed.offset_of_message else "")
    if envelope.kind[0] == "ADT":
        histories = read_links(segments, feed, envelope.kind[1], clock)
        by_pairs = not any(segment.name == "MRG" for segment in segments)
        return ReadMessage(tuple(histories), +skipped, by_pairs, tuple(lines))
    results = _read_oru(segments, MessageContext(feed, clock, envelope.facility))
    return results._replace(skipped=+skipped + Counter(results.skipped), lines=(*results.lines, *lines))


def _check_header(envelope: Envelope, feed: Feed) -> None:
    faults = list(envelope.faults)
    if envelope.processing in {"T", "D"} and not feed.test:
        faults.append(Fault("MSH-11", FaultCode.NOT_PRODUCTION, None, Accepts(one_of=("P",))))
    if any(fault.code is not FaultCode.UNKNOWN_ENCODING for fault in faults):
        raise MalformedDocument(faults=faults)
    if faults:
        raise InvalidDocument(faults=faults)


class MessageContext(NamedTuple):
    """What the results of a message are read with. `facility` is MSH-4, `None` if its characters are not certain."""

    feed: Feed
    clock: Clock
    facility: str | None


def _read_oru(segments: list[Segment], context: MessageContext) -> ReadMessage:
    results = read_results(segments, context)
    if results.refused:
        raise InvalidDocument(faults=[*results.refused, *results.faults][:MOST_FAULTS])
    faults, histories, aside = results.faults, list[History](), list[History]()
    for subject in dict.fromkeys((*results.statements, *results.aside)):
        history = readable(subject, results.statements.get(subject, ()), context.feed.latest, faults)
        if any(facts for kind, facts in history.kinds() if kind != "attributes"):
            found = map(_in_hl7_form, history.aside)
            lines = (*results.about[subject], *results.aside.get(subject, ()), *found)
            histories.append(replace(history, aside=lines))
        else:  # without a result that is stored, the patient is not stored
            left = [_in_hl7_form(line) for line in history.aside if line.disposition is not Disposition.KEPT]
            aside.append(History(subject, aside=(*results.aside.get(subject, ()), *left)))
    skipped = {str(reason): count for reason, count in results.skipped.items()}
    return ReadMessage(tuple(histories), skipped, False, tuple(results.lines), tuple(faults), tuple(aside))


def _in_hl7_form(line: ReceiptLine) -> ReceiptLine:
    """The line with what its place accepts in the words of HL7 v2."""
    if line.accepts is None:
        return line
    fault = Fault(line.place, FaultCode(str(line.reason)), None, line.accepts)
    return line._replace(accepts=in_hl7_form(fault).accepts)


@dataclass(slots=True)
class Order:
    """One OBR with the specimens and the observations that belong to it, and the patient of its group.

    `doubts` are the faults of its results whose specimen time is not certain, by their places.
    """

    pid: Segment
    obr: Segment | None = None
    specimens: list[Segment] = field(default_factory=list)
    observations: list[Segment] = field(default_factory=list)
    doubts: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(slots=True)
class MessageResults:
    """The statements of a message by patient, with the lines about each patient, and the number of skipped items.

    `aside` are the lines of what is set aside, by patient; `lines` those of what is skipped, and of what is set aside
    if it is not certain whose it is. `faults` are those of what is set aside, `refused` those of the message itself.
    """

    statements: dict[str, list[Statement]] = field(default_factory=dict)
    about: dict[str, list[ReceiptLine]] = field(default_factory=dict)
    skipped: Counter[Skipped] = field(default_factory=Counter)
    aside: dict[str, list[ReceiptLine]] = field(default_factory=dict)
    lines: list[ReceiptLine] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    refused: list[Fault] = field(default_factory=list)
    _by_pid: dict[int, list[Statement]] = field(default_factory=dict)

    def statements_about(self, pid: Segment, feed: Feed) -> list[Statement]:
        """The statements about the patient of this PID. It is read at the first stored result."""
        if pid.number not in self._by_pid:
            self._by_pid[pid.number] = self._add_patient(pid, feed)
        return self._by_pid[pid.number]

    def _add_patient(self, pid: Segment, feed: Feed) -> list[Statement]:
        subject = subject_of(pid, 3, feed.pseudonyms)
        if isinstance(subject, Fault):
            self.refused.append(subject)
            return []
        person, lines = read_person(pid)
        self.about.setdefault(subject, []).extend(lines)
        statements = self.statements.setdefault(subject, [])
        statements.append(person)
        return statements

    def skip(self, segment: Segment, why: Skipped, sent: SentFact | None = None) -> None:
        """Count something that is not stored."""
        self.skipped[why] += 1
        self.lines.append(ReceiptLine(segment.place(), Disposition.NOT_OURS, why, sent=sent))

    def set_aside(self, pid: Segment, feed: Feed, line: ReceiptLine) -> None:
        """Add the line of something that is set aside."""
        subject = subject_of(pid, 3, feed.pseudonyms)
        lines = self.lines if isinstance(subject, Fault) else self.aside.setdefault(subject, [])
        lines.append(line)

    def each_alone(
        self, read: Callable[..., None], segment: Segment, meaning: str | None, order: Order, context: MessageContext
    ) -> None:
        """Read one result, or an order without results. Its faults set it aside."""
        try:
            read(self, segment, meaning, order, context)
        except InvalidDocument as refusal:
            self.faults += refusal.faults
            sent = _described(segment, meaning, order, context)
            for fault in refusal.faults:
                accepts = in_hl7_form(fault).accepts
                line = ReceiptLine(fault.pointer, Disposition.SET_ASIDE, fault.code, sent=sent, accepts=accepts)
                self.set_aside(order.pid, context.feed, line)


class _Faulty(InvalidDocument):
    """A result that would be stored has a fault."""

    def __init__(self, place: str, code: FaultCode, why: str | None = None, accepts: Accepts | None = None) -> None:
        super().__init__(faults=[Fault(place, code, why, accepts)])


def read_results(segments: Iterable[Segment], context: MessageContext) -> MessageResults:
    """Read the results of a message.

    Raises `MalformedDocument` if there is no patient, or neither an observation nor an order that was cancelled.
    """
    results = MessageResults()
    orders = _orders(segments)
    if not any(order.observations or _is_cancelled(order.obr) for order in orders):
        raise MalformedDocument(None, [Fault("OBX", FaultCode.MISSING)])
    for order in orders:
        if order.obr is not None and not order.observations and _is_cancelled(order.obr):
            results.each_alone(_read_cancelled_order, order.obr, None, order, context)
        ours = [
            (obx, meaning)
            for obx in order.observations
            if (meaning := _meaning(results, obx, order, context)) is not None
        ]
        order.doubts = _doubtful_times(ours, context.feed)
        for obx, meaning in ours:
            results.each_alone(_read_observation, obx, meaning, order, context)
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


def _meaning(results: MessageResults, obx: Segment, order: Order, context: MessageContext) -> str | None:
    """The meaning of the code of a result that may be stored. Any other result is skipped or set aside."""
    codings = _codings(obx, 3)
    meaning = context.feed.codes.meaning(codings, _decoded(obx, 3, 9))
    if isinstance(meaning, FaultCode):
        fault = Fault(obx.place(3), meaning)
        results.faults.append(fault)
        sent = _described(obx, None, order, context)
        line = ReceiptLine(fault.pointer, Disposition.SET_ASIDE, fault.code, sent=sent)
        results.set_aside(order.pid, context.feed, line)
        return None
    if meaning is None or section_of(meaning) == "infusions":
        # An ordered blood product is not an infusion that was given.
        results.skip(obx, "code", unknown_code(tuple(codings), _decoded(obx, 6)))
        return None
    return meaning


def _codings(segment: Segment, field: int) -> list[Coding]:
    """The code and the alternate code. One without a code is kept for its text, which may contradict the other code."""
    codings = []
    for first in (1, 4):
        code, text, system = (_decoded(segment, field, first + i) for i in range(3))
        if code or text:
            codings.append(Coding(system if code else None, code, text))
    return codings


def _decoded(segment: Segment, field: int, component: int = 1) -> str | None:
    """The text of a component; `None` if it is absent or not in the character set of the message."""
    try:
        return segment.text(field, component) or None
    except InvalidDocument:
        return None


class _Stated(NamedTuple):
    """What results and withdrawals have in common: fields, places of fields in the message, notes."""

    fields: dict[str, Any]
    at: dict[str, str]
    notes: tuple[Note, ...]


def _read_observation(
    results: MessageResults, obx: Segment, meaning: str, order: Order, context: MessageContext
) -> None:
    if obx.is_undecoded(3):  # its text may say that it is another test
        raise InvalidDocument(faults=[undecoded(obx.place(3))])
    if obx.cut:
        raise _Faulty(obx.place(), FaultCode.MALFORMED, NO_SEGMENT)
    if order.obr is None:
        results.refused.append(Fault("OBR", FaultCode.MISSING))
        return
    status = _status(obx, order.obr)
    if status is None:
        results.skip(obx, "status")
        return
    withdrawn = status in WITHDRAWN
    if is_document(obx) and not withdrawn:
        results.skip(obx, "value")
        return
    statements = results.statements_about(order.pid, context.feed)
    if obx.place() in order.doubts:
        raise InvalidDocument(faults=[order.doubts[obx.place()]])
    stated = _stated(order.obr, order.specimens, obx, withdrawn, context)
    measured = section_of(meaning) == "labs"
    fields = {"code": meaning, "status": status, **stated.fields}
    place = Place("", {name: obx.place(number) for name, number in _OBX_FIELDS.items()} | stated.at | {"": obx.place()})
    statement = Statement(section_of(meaning), fields, place, stated.notes)
    if measured and "id" in fields:
        lab, notes = _laboratory(obx, context.facility)
        fields["lab"], statement = lab, statement._replace(notes=stated.notes + notes)
    value = read_value(obx)
    if withdrawn:
        statements.append(_withdrawal(statement, obx, value, context.feed))
        return
    if not isinstance(value, Value):
        if not is_no_number(obx):
            raise _value_fault(obx, value)
        statements.append(statement._replace(no_number=True))
        return
    content, notes = _content(obx, value, measured, context.feed.codes)
    statements.append(statement._replace(fields=fields | content, notes=statement.notes + notes))


def _is_cancelled(obr: Segment | None) -> bool:
    return obr is not None and _decoded(obr, 25) == "X"


def _read_cancelled_order(
    results: MessageResults, obr: Segment, _: str | None, order: Order, context: MessageContext
) -> None:
    """An order that was cancelled without its results. If its code is that of a result, the result is withdrawn; of a
    panel of LOINC, its results.

    The code of another panel does not say which results it has. The ledger does not say it either: a laboratory may
    number all orders of one specimen alike, and `X` says that the order has no results.
    """
    codings = _codings(obr, 4)
    meaning = context.feed.codes.meaning(codings)
    if isinstance(meaning, FaultCode):
        raise _Faulty(obr.place(4), meaning)
    codes = _of_panel(codings) if meaning is None else (meaning,)
    if not codes or section_of(codes[0]) == "infusions":
        sent = _described(obr, None, order, context)
        line = ReceiptLine(obr.place(25), Disposition.SET_ASIDE, NotKept.AMBIGUOUS_WITHDRAWAL, sent=sent)
        results.set_aside(order.pid, context.feed, line)
        return
    statements = results.statements_about(order.pid, context.feed)
    stated = _stated(obr, order.specimens, None, True, context)
    place = Place("", {"code": obr.place(4), "status": obr.place(25), **stated.at, "": obr.place()})
    for code in codes:
        fields = {"code": code, "status": "cancelled", **stated.fields}
        statements.append(Statement(section_of(code), fields, place, stated.notes))


def _of_panel(codings: Sequence[Coding]) -> Sequence[str]:
    """The results of a panel that LOINC defines."""
    known = (PANELS.get(coding.code or "") for coding in codings if SYSTEMS.get(coding.system or "") == LOINC)
    return next(filter(None, known), ())


def _described(segment: Segment, meaning: str | None, order: Order, context: MessageContext) -> SentFact:
    """What is known of a result that is set aside, without the parts that cannot be read."""
    obx = segment if segment.name == "OBX" else None
    numbered: dict[str, Any] = {}
    moment: Moment | FaultCode | None = None
    if order.obr is not None:
        with suppress(InvalidDocument):
            _, numbered = _result_number(obx, order.obr, context)
        with suppress(InvalidDocument):
            time = _specimen_time(order.obr, order.specimens, obx, context)[1]
            moment = None if time is None else read_time(time.text, context.feed.latest)
    return SentFact(
        segment.place(),
        None if meaning is None else section_of(meaning),
        meaning,
        numbered.get("source"),
        numbered.get("id"),
        when_text(moment.day, moment.instant) if isinstance(moment, Moment) else None,
        "|".join(segment.raw(number) for number in range(2, 26)),
        _decoded(segment, 6) if obx is not None else None,
    )


def _status(obx: Segment, obr: Segment) -> str | None:
    """The status in our words; `None` if the result does not exist yet."""
    own, order_status = obx.text(11), obr.text(25)
    is_empty = not obx.raw(5).strip() or obx.is_null(5)
    if own in PENDING or (own == "U" and is_empty) or (not own and order_status in ORDER_PENDING):
        return None
    if own:
        status = _table_value(STATUSES, own, obx.place(11), PENDING)
    elif order_status:
        status = _table_value(ORDER_STATUSES, order_status, obr.place(25), ORDER_PENDING)
    elif obx.is_null(5):
        return "entered-in-error"
    else:
        raise _Faulty(obx.place(11), FaultCode.MISSING, None, _words(STATUSES, PENDING))
    if not obx.is_null(5) or status in WITHDRAWN:
        return status
    if status == "preliminary":  # "no value yet" must not withdraw the final result
        raise _Faulty(obx.place(5), FaultCode.MISSING, None, ACCEPTED_NUMBER)
    return "entered-in-error"


def _table_value(table: Mapping[str, str], word: str, place: str, pending: Iterable[str]) -> str:
    if word not in table:
        raise _Faulty(place, FaultCode.UNKNOWN_VALUE, None, _words(table, pending))
    return table[word]


def _words(table: Iterable[str], pending: Iterable[str]) -> Accepts:
    """The words of a table of statuses, and those of results that do not exist yet."""
    return Accepts(one_of=(*table, *sorted(pending)))


def _content(obx: Segment, value: Value, measured: bool, codes: CodeBook) -> tuple[dict[str, Any], tuple[Note, ...]]:
    """The value with its unit and limits, or the score, and the notes about them."""
    if not measured:
        if value.comparator is not None:
            raise _Faulty(obx.place(5), FaultCode.UNSUPPORTED, None, Accepts(form="a score without a comparator"))
        return {"score": value.number}, ()
    unit = _unit(obx, codes)
    limits = _limits(obx, unit, codes)
    content = {
        "value": value.number,
        "comparator": value.comparator,
        "unit": unit,
        "lower_limit": limits.lower,
        "upper_limit": limits.upper,
    }
    return content, limits.notes


def _unit(obx: Segment, codes: CodeBook) -> str | None:
    """The unit: the first of its code, its text, and the alternate code and text that is accepted. They must agree."""
    named = [codes.unit(text) for component in (1, 2, 4, 5) if (text := obx.text(6, component))]
    known = [unit for unit in named if unit is not None and unit in UNITS]
    if any(not same_unit(known[0], unit) for unit in known):
        raise _Faulty(obx.place(6), FaultCode.UNIT_MISMATCH)
    return next(iter(known or named), None)


_LABEL = re.compile(TEXT_PATTERN)
_LONGEST_LABEL = 64


def _laboratory(obx: Segment, facility: str | None) -> tuple[str | None, tuple[Note, ...]]:
    """The laboratory that measured: OBX-15, else OBX-23, else the sender (MSH-4), by its name or else its identifier.

    It is a detail of a result with a number: without one, the laboratory would be a part of what identifies the result.
    """
    try:
        parts = (obx.text(field, component) for field, component in ((15, 2), (15, 1), (23, 1), (23, 10)))
        name = next(filter(None, parts), facility)
    except InvalidDocument:
        name = None
    if name is None or len(name) > _LONGEST_LABEL or (name and not _LABEL.search(name)):
        return None, (Note(NoteCode.DETAIL_LEFT_OUT, "lab"),)
    return name or None, ()


def _limits(obx: Segment, unit: str | None, codes: CodeBook) -> NormalLimits:
    """The limits of OBX-7: a text. Empty components after it say nothing, nor does the null value."""
    marks = (obx.delimiters.component, obx.delimiters.subcomponent, obx.delimiters.repetition)
    if any(mark in obx.raw(7).rstrip("".join(marks) + " ") for mark in marks) or obx.is_undecoded(7):
        return UNREADABLE
    return read_limits(obx.text(7), unit, codes)


def _value_fault(obx: Segment, why: FaultCode | None) -> _Faulty:
    if why is None:
        return _Faulty(obx.place(5), FaultCode.MISSING, None, ACCEPTED_NUMBER)
    if not obx.text(2):
        return _Faulty(obx.place(2), FaultCode.MISSING, None, Accepts(one_of=tuple(KINDS)))
    accepts = ACCEPTED_COMPARATORS if why is FaultCode.UNKNOWN_VALUE else ACCEPTED_NUMBER
    return _Faulty(obx.place(5), why, None, accepts)


def _withdrawal(statement: Statement, obx: Segment, value: ValueOrFault, feed: Feed) -> Statement:
    """The statement of a withdrawal, without value, unit and limits if one of them has a fault."""
    try:
        number = value if isinstance(value, Value) else Value(None)
        content, _ = _content(obx, number, statement.section == "labs", feed.codes)
    except InvalidDocument:
        return statement
    whole = statement._replace(fields=statement.fields | content)
    _, faults = history_of("unread", [whole], feed.latest)
    return statement if faults else whole


def _stated(
    obr: Segment, specimens: Sequence[Segment], obx: Segment | None, withdrawn: bool, context: MessageContext
) -> _Stated:
    number_at, numbered = _result_number(obx, obr, context)
    time_at, time = _specimen_time(obr, specimens, obx, context)
    if time is None:
        if not (withdrawn and numbered):
            raise _Faulty(time_at, FaultCode.MISSING)
        time = ReadTime("")  # of a withdrawal, the number is enough if it has only one result
    notes = time.notes
    issued = None
    try:
        issued = _time_of(obr, 22, context) if obr.text(22) else None
    except InvalidDocument:
        if not withdrawn:  # of a withdrawal, number, code and time are enough
            raise
        notes += (Note(NoteCode.DETAIL_LEFT_OUT, "issued"),)
    if issued is not None:
        notes = tuple(dict.fromkeys(notes + issued.notes))
    fields = {"time": time.text, "issued": None if issued is None else issued.text, **numbered}
    return _Stated(fields, {"time": time_at, "issued": obr.place(22), "id": number_at, "source": number_at}, notes)


_SEVERAL_TIMES = (
    "The results of this order have different times here. The study may declare that each result has its own specimen "
    "time in OBX-14 (`result_time`)."
)


def _doubtful_times(ours: Sequence[tuple[Segment, str]], feed: Feed) -> dict[str, Fault]:
    """The faults of results of one order whose specimen time is not certain, by their places.

    If each result has its own time, one without it has none. Otherwise OBX-14 must not have several times for one code,
    nor several days. Many analysers write the minute of the measurement there, so that different minutes of different
    tests say nothing.
    """
    own = {obx.place(): _decoded(obx, 14) for obx, _ in ours}
    if feed.time_of_result:
        without = [obx for obx, _ in ours if own[obx.place()] is None] if any(own.values()) else []
        return {obx.place(): Fault(obx.place(14), FaultCode.MISSING) for obx in without}
    timed = [(obx, meaning, text) for obx, meaning in ours if (text := own[obx.place()])]
    days = {text[:8] for _, _, text in timed}
    minutes: dict[str, set[str]] = {}
    for _, meaning, text in timed:
        minutes.setdefault(meaning, set()).add(text[:12])
    doubtful = [obx for obx, meaning, _ in timed if len(days) > 1 or len(minutes[meaning]) > 1]
    return {obx.place(): Fault(obx.place(14), FaultCode.REPEATED_VALUE, _SEVERAL_TIMES) for obx in doubtful}


def _specimen_time(
    obr: Segment, specimens: Sequence[Segment], obx: Segment | None, context: MessageContext
) -> tuple[str, ReadTime | None]:
    """The place and the time at which the specimen was taken: OBR-7, else SPM-17, else OBX-14, else `None`.

    OBX-14 is the same time by the standard, but many analysers send the time of the measurement there. If the study
    declares that it is the time of the specimen, it comes first.
    """
    if context.feed.time_of_result and obx is not None and obx.text(14):
        return obx.place(14), _time_of(obx, 14, context)
    if obr.text(7):
        return obr.place(7), _time_of(obr, 7, context)
    drawn = {spm.text(17): spm for spm in specimens if spm.text(17)}
    if len(drawn) > 1:
        raise _Faulty(next(iter(drawn.values())).place(17), FaultCode.REPEATED_VALUE)
    for spm in drawn.values():
        return spm.place(17), _time_of(spm, 17, context)
    if obx is None or not obx.text(14):
        return (obr.place(7) if obx is None else obx.place(14)), None
    return obx.place(14), _time_of(obx, 14, context)


def _time_of(segment: Segment, field: int, context: MessageContext) -> ReadTime:
    time = context.clock.read(segment.text(field))
    if isinstance(time, FaultCode):
        raise _Faulty(segment.place(field), time)
    return time


def _result_number(obx: Segment | None, obr: Segment, context: MessageContext) -> tuple[str, dict[str, Any]]:
    """The place and the number of a result: OBR-3 (filler), else OBR-2 (placer), with the sub-id of the observation.

    The sub-id (OBX-4) distinguishes repeated observations of one code.
    """
    at = next((number for number in (3, 2) if obr.text(number)), None)
    if at is None:
        return obr.place(3), {}
    source = obr.text(at, 2) or authority_names("", obr.text(at, 3), obr.text(at, 4))[0] or context.facility
    if source is None:
        raise InvalidDocument(faults=[undecoded("MSH-4")])
    source = source or None
    number = context.feed.pseudonyms.number(source, obr.text(at), "" if obx is None else obx.text(4))
    if isinstance(number, FaultCode):
        raise _Faulty(obr.place(at), number)
    return obr.place(at), {"id": number, "source": source}
