"""Turns a timeline into facts: resolves codes, converts units, reads times, and gives each fact its identity.

`normalise` and `Reading` are the only way from a document to facts. They report all faults, each with a JSON pointer.

The identity of a fact decides whether a second statement is a correction or another fact. If the sender numbers a fact,
its identity is (source, number, code), because one accession has many analytes and two laboratories may use the same
number. Otherwise it is (code, time with its precision, source) for a laboratory result and an assessment, (product,
time) for an infusion, (drug, start) for a medication, (term, onset) for an adverse event, and the name for an attribute
of the patient. That of a medication that was ordered says so. An identity is a text whose free part comes last, so that
different identities are different texts.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache, lru_cache, partial
from operator import itemgetter
from typing import Any, TypeVar

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, pointer
from app.timeline.accepts import accepted_by
from app.timeline.document import (
    ITEMS,
    AdverseEvent,
    Assessment,
    Infusion,
    LabResult,
    LabSeries,
    Medication,
    Patient,
    Sourced,
    Timeline,
)
from app.timeline.facts import (
    FIELDS,
    KINDS,
    AnyFact,
    AssessmentFact,
    AttributeFact,
    EventFact,
    History,
    InfusionFact,
    LabFact,
    MedicationFact,
    Sent,
    attribute,
    identity_of_order,
    statement_key,
)
from app.timeline.result_columns import LabsByColumn, facts_of_labs, facts_of_series
from app.timeline.same_facts import PREFIX, Decision, decision_attribute, pair_of
from app.timeline.times import (
    DATE_FORM,
    DAY_MICROSECONDS,
    EPOCH_DAY,
    FIRST_DAY,
    INSTANT_FORM,
    NO_DAY,
    PARTIAL_FORM,
    TIME_FORM,
    Moment,
    day_text,
    first_day,
    read_time,
)
from app.timeline.vocabulary import (
    ANALYTES,
    INSTRUMENTS,
    LAB_CODE_OF,
    OWN_SYSTEM,
    UNITS,
    WITHDRAWN,
    CodeBook,
    Coding,
    Unit,
    in_canonical_unit,
    unit_named,
)

__all__ = [
    "KINDS",
    "MOST_FAULTS",
    "PATIENT_ATTRIBUTES",
    "SECTIONS",
    "AnyFact",
    "AssessmentFact",
    "AttributeFact",
    "EventFact",
    "History",
    "InfusionFact",
    "LabFact",
    "MedicationFact",
    "Reading",
    "normalise",
]

SECTIONS = {
    "labs": "labs",
    "assessments": "assessments",
    "infusions": "infusions",
    "medications": "medications",
    "events": "adverse_events",
}
PATIENT_ATTRIBUTES = ("sex", "birth_year", "diagnosis", "weight_kg", "steroid_resistant", "attributes", "merged_into")
MOST_FAULTS = 1000
"""How many faults of one document are listed."""
FEW = 5
"""So many results are read faster one by one than by columns."""

_UNIT_OF: dict[tuple[str, str], Unit] = {
    (code, unit.spelling): unit
    for code, analyte in ANALYTES.items()
    for unit in UNITS.values()
    if unit.quantity == analyte.quantity
}
_KNOWN_CODES = CodeBook()
_CANONICAL = frozenset(unit.spelling for unit in UNITS.values() if unit.factor == 1)
_identity = itemgetter(0)
_json = json.JSONEncoder(sort_keys=True).encode
AFact = TypeVar("AFact", bound=AnyFact)


def normalise(timeline: Timeline, latest: int, *, plain_id: bool = False) -> History:
    """The facts of a timeline. `plain_id` is noted in the history.

    `latest` is the latest instant that a fact may name, in microseconds since 1970 (`times.latest_acceptable`).
    Raises `InvalidDocument` with all faults.
    """
    reading = Reading(latest)
    history = reading.history(timeline, plain_id=plain_id)
    if reading.faults:
        raise InvalidDocument(faults=reading.faults)
    return history


@dataclass(slots=True)
class Reading:
    """Reads one document: `latest` is the latest acceptable instant, `faults` and `repeats` are those so far.

    `origins` has, for each kind with repeats, the place of each fact among the items of that kind in the document.
    `no_numbers` are the results that are no numbers, by section and index: they are stated without a value.
    """

    latest: int
    faults: list[Fault] = field(default_factory=list)
    repeats: int = 0
    origins: dict[str, list[int]] = field(default_factory=dict)
    no_numbers: set[tuple[str, int]] = field(default_factory=set)
    _born: int = FIRST_DAY

    def history(self, timeline: Timeline, *, plain_id: bool = False) -> History:
        """The facts of the document. They may be used only if there are no `faults` afterwards."""
        self._read_patient(timeline)
        attributes = tuple(self.attributes(timeline))
        labs = self._labs(timeline)
        scores = [self.assessment(item, i) for i, item in enumerate(timeline.assessments)]
        infusions = [self.infusion(item, i) for i, item in enumerate(timeline.infusions)]
        medications = [self.medication(item, i) for i, item in enumerate(timeline.medications)]
        events = [self.event(item, i) for i, item in enumerate(timeline.adverse_events)]
        return History(
            timeline.patient.id or "",
            attributes,
            self._once(labs, timeline, "labs"),
            self._once(scores, timeline, "assessments"),
            self._once(infusions, timeline, "infusions"),
            self._once(medications, timeline, "medications"),
            self._once(events, timeline, "events"),
            self.repeats,
            partial(_place, _lengths(timeline), attributes, self.origins),
            plain_id=plain_id,
        )

    def _labs(self, timeline: Timeline) -> list[LabFact | None]:
        facts: list[LabFact | None] = []
        given: Any = timeline.labs
        many = isinstance(given, tuple) and len(given) > FEW  # another list is long, and can be read only once
        if isinstance(given, LabsByColumn) or (many and len({*map(type, given)}) == 1):
            facts += facts_of_labs(given, self.latest, self._born) or ()
        if len(facts) < len(given):
            facts += [self.lab(result, i) for i, result in enumerate(given)]
        for i, series in enumerate(timeline.lab_series):
            facts += facts_of_series(series, self.latest, self._born) or self.series(series, i)
        return facts

    def attributes(self, timeline: Timeline) -> Iterator[AttributeFact]:
        """The attributes of the patient; the document says nothing about one that is absent or null."""
        stated: dict[str, Any] = {name: getattr(timeline.patient, name) for name in PATIENT_ATTRIBUTES}
        if timeline.ended is not None:
            self._day(timeline.ended.date, "ended", "date")
            stated["ended"] = {"date": timeline.ended.date, "reason": timeline.ended.reason}
        for name, value in stated.items():
            if value is not None:
                yield attribute(name, _json(value))
        yield from self._decisions(timeline)

    def _decisions(self, timeline: Timeline) -> Iterator[AttributeFact]:
        """The decisions about facts that may be the same. Nobody decided what the content proves, at no time."""
        seen: set[str] = set()
        for i, item in enumerate(timeline.decisions):
            at = None if item.at is None else self._moment(item.at, "decisions", i, "at", form=INSTANT_FORM)
            if (item.decision == "proven") != (item.at is None) or (at is not None and at.instant is None):
                self._fault(FaultCode.BAD_TIME, "decisions", i, "at", accepts=Accepts(form=INSTANT_FORM))
            decision = Decision(pair_of(item.kind, *item.facts), item.decision, item.by, item.reason)
            fact = decision_attribute(decision, None if at is None else at.instant)
            if fact.identity in seen or decision.pair.first == decision.pair.second:
                self._fault(FaultCode.CONFLICTING_DUPLICATE, "decisions", i)
            seen.add(fact.identity)
            yield fact

    def lab(self, result: LabResult | dict[str, Any], index: int) -> LabFact | None:
        """The fact of one result of `labs`, given as a model, or as fields that a reader of feeds has checked."""
        fields = result if isinstance(result, dict) else vars(result)
        code, time, spelling, value = LAB_CODE_OF[fields["code"]], fields["time"], fields["unit"], fields["value"]
        if time:
            moment = self._moment(time, "labs", index, "time")
        else:
            moment = self._drawn(time, fields["status"], fields["id"], "labs", index)
        unit = _UNIT_OF.get((code, spelling))
        if unit is None:
            if spelling is not None:
                unit = self._unit(spelling, code, "labs", index, "unit")
            elif value is not None:
                self._fault(FaultCode.UNKNOWN_UNIT, "labs", index, "unit", accepts=units_of(code))
        status = fields["status"] or "final"
        if value is None and status not in WITHDRAWN and ("labs", index) not in self.no_numbers:
            self._fault(FaultCode.MISSING, "labs", index, "value", accepts=accepted_by(LabResult, ("value",)))
        upper, lower = fields["upper_limit"], fields["lower_limit"]
        if lower is not None and upper is not None and lower > upper:
            self._fault(FaultCode.REVERSED_LIMITS, "labs", index, "lower_limit")
        issued = fields["issued"]
        if issued is not None:
            issued = self._issued(issued, "labs", index)
        title = fields.get("code_text")
        if title is not None and _KNOWN_CODES.meaning([Coding(OWN_SYSTEM, code, title)]) != code:
            self._fault(FaultCode.CODE_CONFLICT, "labs", index, "code_text")
        if moment is None or (unit is None and spelling is not None):
            return None
        source = fields["source"]
        if source is None:
            source = fields.get("lab")
        return _lab_fact(
            code, time, moment, unit, (value, upper, lower), fields["comparator"], source, fields["id"],
            fields.get("version"), issued, status, map(fields.get, _LAB_AS_SENT),
        )  # fmt: skip

    def series(self, series: LabSeries, index: int) -> list[LabFact | None]:
        """The facts of one item of `lab_series`, one for each of its times."""
        at = ("lab_series", index)
        code, times, lower = LAB_CODE_OF[series.code], series.times, series.lower_limit
        unit = self._unit(series.unit, code, *at, "unit")
        length = len(times)
        empty = (None,) * length
        limits = empty if series.upper_limits is None else series.upper_limits
        numbers = empty if series.ids is None else series.ids
        comparators = empty if series.comparators is None else series.comparators
        statuses = empty if series.statuses is None else series.statuses
        columns = (("values", series.values), ("upper_limits", limits), ("ids", numbers), ("comparators", comparators),
                   ("statuses", statuses))  # fmt: skip
        wrong = [name for name, column in columns if len(column) != length]
        for name in wrong:
            self._fault(FaultCode.LENGTH_MISMATCH, *at, name)
        if lower is not None and any(upper is not None and lower > upper for upper in (series.upper_limit, *limits)):
            self._fault(FaultCode.REVERSED_LIMITS, *at, "lower_limit")
        moments = [self._moment(time, "lab_series", index, "times", i) for i, time in enumerate(times)]
        if wrong or unit is None:
            return list(empty)
        source = series.lab if series.source is None else series.source
        common = series.upper_limit
        as_sent = [getattr(series, name, None) for name in _LAB_AS_SENT]
        rows = zip(times, moments, series.values, limits, numbers, comparators, statuses, strict=True)
        return [
            None if moment is None
            else _lab_fact(code, time, moment, unit, (value, common if upper is None else upper, lower), comparator,
                           source, number, None, None, status or "final", as_sent)
            for time, moment, value, upper, number, comparator, status in rows
        ]  # fmt: skip

    def assessment(self, item: Assessment, index: int) -> AssessmentFact | None:
        """The fact of one item of `assessments`. Scales that a protocol declares are checked in analyses."""
        moment = self._drawn(item.time, item.status, item.id, "assessments", index)
        status = item.status or "final"
        if item.score is None and status not in WITHDRAWN and ("assessments", index) not in self.no_numbers:
            self._fault(FaultCode.MISSING, "assessments", index, "score", accepts=_accepted_score(item.code))
        fixed, declared = INSTRUMENTS[item.code].maximum, item.scale_max
        if fixed is not None and declared is not None and not INSTRUMENTS[item.code].analogue:
            self._fault(FaultCode.SCALE_NOT_DECLARABLE, "assessments", index, "scale_max")
            declared = None
        greatest = fixed if declared is None else declared
        if item.score is not None and greatest is not None and item.score > greatest:
            accepts = _accepted_score(item.code) if declared is None else accepted_by(Assessment, ("score",))
            self._fault(FaultCode.OFF_SCALE, "assessments", index, "score", accepts=accepts)
        issued = self._issued(item.issued, "assessments", index)
        if moment is None:
            return None
        identity = _numbered_identity(item, item.code) or f"@{item.code}|{_instant(moment)}|{item.source or ''}"
        return AssessmentFact(identity=identity, issued=issued, **moment._asdict(), **_as_sent("assessments", item))

    def infusion(self, item: Infusion, index: int) -> InfusionFact | None:
        """The fact of one item of `infusions`."""
        moment = self._drawn(item.time, item.status, item.id, "infusions", index)
        self._check_dose(item, "infusions", index)
        issued = self._issued(item.issued, "infusions", index)
        if moment is None:
            return None
        identity = _numbered_identity(item) or f"@{_instant(moment)}|{item.product}"
        return InfusionFact(identity=identity, issued=issued, **moment._asdict(), **_as_sent("infusions", item))

    def medication(self, item: Medication, index: int) -> MedicationFact | None:
        """The fact of one item of `medications`."""
        start = self._day(item.start, "medications", index, "start")
        end = None
        if item.end is not None:  # an order may say until when the drug shall be taken
            end = self._day(item.end, "medications", index, "end", planned=bool(item.ordered))
        if start is not None and end is not None and end < start:
            self._fault(FaultCode.REVERSED_PERIOD, "medications", index, "end")
        self._check_dose(item, "medications", index)
        issued = self._issued(item.issued, "medications", index)
        if start is None:
            return None
        identity = _numbered_identity(item) or f"@{item.start}|{item.drug}"
        if item.ordered:
            identity = identity_of_order(item.id, item.source, item.start, item.drug)
        as_sent = _as_sent("medications", item)
        return MedicationFact(identity=identity, issued=issued, start_day=start, end_day=end, **as_sent)

    def event(self, item: AdverseEvent, index: int) -> EventFact | None:
        """The fact of one item of `adverse_events`. A month or a year is kept as written; the onset is not known."""
        onset = item.onset
        moment = (
            None
            if onset is None
            else self._moment(first_day(onset), "adverse_events", index, "onset", form=PARTIAL_FORM)
        )
        issued = self._issued(item.issued, "adverse_events", index)
        if moment is None and onset is not None:
            return None
        began = _instant(moment) if moment else ""
        if onset is not None and first_day(onset) != onset:
            moment, began = None, f"p{onset}"
        identity = _numbered_identity(item) or f"@{began}|{item.term}"
        related = str(item.related).lower() if isinstance(item.related, bool) else item.related
        when = _NO_MOMENT if moment is None else moment._asdict()
        return EventFact(identity=identity, issued=issued, related=related, **when, **_as_sent("events", item))

    def _once(self, facts: Sequence[AFact | None], timeline: Timeline, kind: str) -> tuple[AFact, ...]:
        """The facts without exact repeats.

        Two facts with the same identity, time, version, time of issue and status, and different content are a fault.
        """
        kept = tuple(filter(None, facts))
        if len(set(map(_identity, kept))) == len(kept):
            return kept
        seen: dict[Any, AFact] = {}
        origins = self.origins[kind] = []
        for i, (fact, place) in enumerate(zip(facts, places(timeline, SECTIONS[kind]), strict=True)):
            if fact is None:
                continue
            first = seen.setdefault(statement_key(kind, fact), fact)
            if first != fact:
                self._fault(FaultCode.CONFLICTING_DUPLICATE, *place)
            elif first is fact:
                origins.append(i)
        self.repeats += len(kept) - len(seen)
        return tuple(seen.values())

    def _read_patient(self, timeline: Timeline) -> None:
        patient = timeline.patient
        if patient.identifier is not None:  # a reader that knows the study puts the `id` in its place
            self._fault(FaultCode.UNSUPPORTED, "patient", "identifier")
        elif patient.id is None:
            self._fault(FaultCode.MISSING, "patient", "id", accepts=accepted_by(Patient, ("id",)))
        for name in ("id", "merged_into"):
            if not (getattr(patient, name) or "-").strip(
                "."
            ):  # an identifier of dots alone has another meaning in a URL
                accepts = accepted_by(Patient, (name,))
                self._fault(FaultCode.BAD_IDENTIFIER, "patient", name, accepts=accepts)
        if patient.merged_into is not None and patient.merged_into == patient.id:
            itself = "A record cannot be merged into itself."
            self.faults.append(Fault(pointer("patient", "merged_into"), FaultCode.CONTRADICTION, itself))
        year = patient.birth_year
        if year is None:
            return
        self._born = date(year, 1, 1).toordinal() - EPOCH_DAY
        if self._born > self.latest // DAY_MICROSECONDS:
            self._fault(FaultCode.FUTURE_TIME, "patient", "birth_year")

    def _check_dose(self, item: Infusion | Medication, section: str, index: int) -> None:
        if (item.dose is None) != (item.unit is None):
            accepts = accepted_by(type(item), ("unit",))
            self._fault(FaultCode.DOSE_WITHOUT_UNIT, section, index, "unit", accepts=accepts)

    def _issued(self, text: str | None, section: str, index: int) -> int | None:
        moment = None if text is None else self._moment(text, section, index, "issued", form=INSTANT_FORM)
        if moment is None:
            return None
        if moment.instant is None:
            self._fault(FaultCode.BAD_TIME, section, index, "issued", accepts=Accepts(form=INSTANT_FORM))
        return moment.instant

    def _drawn(self, text: str, status: str | None, number: str | None, section: str, index: int) -> Moment | None:
        """The time of a fact. A withdrawal of a number may have none: an empty text."""
        if text == "" and number is not None and status in WITHDRAWN:
            return Moment(NO_DAY, None, False)
        return self._moment(text, section, index, "time")

    def _moment(self, text: str, *at: str | int, form: str = TIME_FORM, planned: bool = False) -> Moment | None:
        read = read_time(text, _NEVER_TOO_LATE if planned else self.latest)
        if isinstance(read, Moment):
            if read.day >= self._born:
                return read
            read = FaultCode.BEFORE_BIRTH
        self._fault(read, *at, accepts=_accepted_time(read, form))
        return None

    def _day(self, text: str, *at: str | int, planned: bool = False) -> int | None:
        if len(text) != 10:
            self._fault(FaultCode.BAD_TIME, *at, accepts=Accepts(form=DATE_FORM))
            return None
        moment = self._moment(text, *at, form=DATE_FORM, planned=planned)
        return moment.day if moment is not None else None

    def _unit(self, spelling: str, code: str, *at: str | int) -> Unit | None:
        accepted = _UNIT_OF.get((code, spelling))
        if accepted is not None:
            return accepted
        unit = unit_named(spelling)
        if unit is None:
            self._fault(FaultCode.UNKNOWN_UNIT, *at, accepts=units_of(code))
        elif unit.quantity == ANALYTES[code].quantity:  # in letters of another width
            return unit
        else:
            other = FaultCode.MASS_UNIT if unit.quantity == "mass" else FaultCode.UNIT_MISMATCH
            self._fault(other, *at, accepts=units_of(code))
        return None

    def _fault(self, code: FaultCode, *at: str | int, accepts: Accepts | None = None) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(pointer(*at), code, None, accepts))


@cache
def units_of(code: str) -> Accepts:
    """The units that are accepted for an analyte, each in one spelling."""
    first: dict[object, str] = {1: ANALYTES[code].unit}
    for (analyte, _), unit in _UNIT_OF.items():
        if analyte == code:
            first.setdefault(unit.factor, unit.spelling)
    return Accepts(one_of=tuple(first.values()), see="docs/feeds.md#units")


def _accepted_score(code: str) -> Accepts | None:
    """The scores on the scale of an instrument; of a scale that the sender declares, those of every scale."""
    fixed = INSTRUMENTS[code].maximum
    return accepted_by(Assessment, ("score",)) if fixed is None else Accepts(at_least=0, at_most=fixed)


def _accepted_time(code: FaultCode, form: str) -> Accepts | None:
    """The form of a time that cannot be read, or the first day that a time may name."""
    if code is FaultCode.OUT_OF_RANGE:
        return Accepts(form=f"not before {day_text(FIRST_DAY)}")
    known = code in {FaultCode.FUTURE_TIME, FaultCode.BEFORE_BIRTH}
    return None if known else Accepts(form=form)


def _lengths(timeline: Timeline) -> tuple[Mapping[str, int], Sequence[int]]:
    """The lengths of the lists of a timeline, and of each of its series: its items need not be kept for the places."""
    lengths = tuple(len(getattr(timeline, section)) for section in SECTIONS.values())
    return _by_section(lengths), tuple(len(series.times) for series in timeline.lab_series)


@lru_cache(maxsize=256)
def _by_section(lengths: tuple[int, ...]) -> Mapping[str, int]:
    """The lengths of the lists of a timeline; one object for all timelines that have them, because many are alike."""
    return dict(zip(SECTIONS.values(), lengths, strict=True))


def _place(
    lengths: tuple[Mapping[str, int], Sequence[int]],
    attributes: Sequence[AttributeFact],
    origins: Mapping[str, Sequence[int]],
    kind: str,
    index: int,
) -> str:
    """The place of a fact in the document, or of the patient; `origins` as in `Reading`."""
    if kind == "patient":
        return pointer("patient")
    if kind == "attributes":
        name = attributes[index].identity
        if name.startswith(PREFIX):
            first = next(i for i, each in enumerate(attributes) if each.identity.startswith(PREFIX))
            return pointer("decisions", index - first)
        return pointer("ended") if name == "ended" else pointer("patient", name)
    at = origins[kind][index] if kind in origins else index
    section = SECTIONS[kind]
    items, series = lengths
    if at < items[section]:
        return pointer(section, at)
    at -= items["labs"]
    for i, length in enumerate(series):
        if at < length:
            return pointer("lab_series", i, "times", at)
        at -= length
    raise IndexError(index)


def places(timeline: Timeline, section: str) -> Iterator[tuple[str | int, ...]]:
    """The place of each fact of a section in the document, in the order of reading."""
    for i in range(len(getattr(timeline, section))):
        yield section, i
    if section == "labs":
        for i, series in enumerate(timeline.lab_series):
            for j in range(len(series.times)):
                yield "lab_series", i, "times", j


def _lab_fact(
    code: str,
    time: str,
    moment: Moment,
    unit: Unit | None,
    given: tuple[float | None, float | None, float | None],
    comparator: str | None,
    source: str | None,
    number: str | None,
    version: int | None,
    issued: int | None,
    status: str,
    as_sent: Iterable[Any],
) -> LabFact:
    """The fact of one result; `given` is its value, upper limit and lower limit as sent."""
    day, instant, utc = moment
    if number is not None:
        identity = f"#{number}|{code}|{source or ''}"
    elif instant is not None:
        identity = f"@{code}|{instant}|{source or ''}"
    else:
        identity = f"@{code}|d{day}|{source or ''}"
    value, upper, lower = given
    value, lower = _float(value), _float(lower)
    fact = LabFact._make((
        identity, source, number, version, issued, status, code, time, day, instant, utc, value, upper, lower,
        comparator, None if unit is None else unit.spelling, None, None, None, *as_sent,
    ))  # fmt: skip
    if unit is None or unit.spelling in _CANONICAL:
        return fact
    return fact._replace(
        value=_converted(value, unit), upper_limit=_converted(upper, unit), lower_limit=_converted(lower, unit),
        given_value=value, given_upper_limit=upper, given_lower_limit=lower,
    )  # fmt: skip


_LAB_AS_SENT = LabFact._fields[LabFact._fields.index("lab") :]
"""The last fields of a laboratory result; they are stored as they were sent."""


def _as_sent(kind: str, item: Sourced) -> dict[str, Any]:
    """The fields of a fact that are stored as the document has them."""
    stated = vars(item)
    as_sent = {name: stated[name] for name in _AS_SENT[kind]}
    as_sent["status"] = item.status or "final"
    for name in _FLOATS[kind]:
        as_sent[name] = _float(stated[name])
    return as_sent


_AS_SENT = {
    kind: [field.name for field in FIELDS[kind] if field.name in ITEMS[section].model_fields and field.sent == Sent()]
    for kind, section in SECTIONS.items()
}
_FLOATS = {
    kind: [field.name for field in FIELDS[kind] if field.name in names and field.type is float]
    for kind, names in _AS_SENT.items()
}
_NEVER_TOO_LATE = 2**63 - 1
_NO_MOMENT = {"day": None, "instant": None, "utc": False}


def _converted(given: float | None, unit: Unit) -> float | None:
    return None if given is None else in_canonical_unit(given, unit)


def _float(number: float | None) -> float | None:
    """The number as both databases return it; adding 0.0 turns -0.0 into 0.0."""
    return None if number is None else number + 0.0


def _instant(moment: Moment) -> str:
    return f"d{moment.day}" if moment.instant is None else str(moment.instant)


def _numbered_identity(item: Sourced, code: str = "") -> str | None:
    return None if item.id is None else f"#{item.id}|{code}|{item.source or ''}"
