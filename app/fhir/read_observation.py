"""Observations: laboratory results and assessments, and the components of panels.

An observation or component whose code is not stored is skipped, whatever it holds. In the others, every element that
is used must be right; of a panel, a result with a fault does not take the others with it:

- `focus`: the observation is about another person or thing than the subject; it is skipped (`resource`);
- `registered`, `unknown`: there is no result yet, or it is unknown; the observation is skipped (`status`);
- `dataAbsentReason`: there is no result. It is stored as `cancelled`, so that it withdraws a value sent before;
- a text or a code (`HEMOLYZED`) instead of the number is a statement without a value, which may outrank a value;
- `cancelled`, `entered-in-error`: a withdrawal needs number, code and time, whatever stands where the value was. If it
  gives no time at all, its time is an empty text;
- a panel (`component`, `hasMember`) without its own value gives no statement itself. If it is withdrawn without its
  components, it is known later which results it had;
- `meta.versionId` counts the writes of one server, not the versions of a result: it is ignored. `issued` is used.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from unicodedata import normalize

from app.errors import Accepts, FaultCode
from app.fhir.elements import TERMINOLOGY, Element, FaultyFact, Quantity, ReadResult, Resource
from app.fhir.read_common_observation import common_observation, result_places
from app.fhir.read_patient import References
from app.fhir.read_performer import laboratory
from app.readers.limits import (
    NO_LIMITS,
    NormalLimits,
    checked_limits,
    joined_limits,
    limit_in_unit,
    read_limits,
)
from app.readers.statements import Place, Statement, described, history_of, section_of
from app.readers.suggestions import unknown_code
from app.timeline.document import GREATEST_VALUE
from app.timeline.receipts import Disposition, Note, NotKept, ReceiptLine, SentFact
from app.timeline.vocabulary import ASSESSMENT_CODES, INSTRUMENTS, IVIG, LOINC, PANELS, SYSTEMS, WITHDRAWN, Coding

STATUSES: dict[str, str | None] = {
    "registered": None,
    "preliminary": "preliminary",
    "final": "final",
    "amended": "amended",
    "corrected": "corrected",
    "cancelled": "cancelled",
    "entered-in-error": "entered-in-error",
    "unknown": None,
}
"""Our status for each status of an R4 Observation; `None`: there is no result, and the resource is skipped."""

EFFECTIVE = ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming")
VALUES = tuple(
    "value" + form
    for form in ("Quantity", "CodeableConcept", "String", "Boolean", "Integer", "Range", "Ratio", "SampledData", "Time",
                 "DateTime", "Period")
)  # fmt: skip
_OTHER_TIMES, _OTHER_VALUES = frozenset(EFFECTIVE[1:]), frozenset(VALUES[1:])
_SCORE_UNIT = re.compile(r"1|\{[^{}]*\}")
"""The unit 1 of UCUM, or an annotation such as `{score}`, which means the same."""
_NO_NUMBERS = frozenset({"valueBoolean", "valueTime", "valueDateTime", "valuePeriod"})
"""Kinds of values that hold no number."""
_CONTENT = frozenset({"value", "unit", "comparator", "lower_limit", "upper_limit", "score", "scale_max"})
"""Fields that a withdrawal does not need."""
_PANEL = re.compile(r"\b(panel|profile|battery)\b", re.IGNORECASE)
"""A word in the names of panels."""
NO_COMPARATOR = Accepts(form="no comparator")
_SCORE_UNITS = Accepts(form="no unit, 1, or an annotation such as {score}")
_VALUE_FORMS = {
    False: Accepts(one_of=("valueQuantity",)),
    True: Accepts(one_of=("valueQuantity", "valueInteger")),
}
"""The forms of a value that are read, of a result and of a score."""
_RANGE_MEANINGS = (TERMINOLOGY + "referencerange-meaning", "http://hl7.org/fhir/referencerange-meaning")
"""The code system of the types of ranges, and its name before R4."""
_NORMAL_WORDS = frozenset({"normal", "normal range", "normal values", "reference range", "reference interval"})
"""What a type without a code says of a normal range."""


class _Common(NamedTuple):
    """The fields that an observation shares with its components, the places of its number and time, and its notes."""

    fields: dict[str, Any]
    named_at: str
    time_at: str
    notes: tuple[Note, ...]


class _Value(NamedTuple):
    """A value and its place inside its observation or component; `missing`: no value was sent. `no_number`: a text."""

    quantity: Quantity
    at: str
    missing: bool = False
    no_number: bool = False


class _Limits(NamedTuple):
    """The limits in the unit of the result, and their places."""

    limits: NormalLimits = NO_LIMITS
    lower_at: str = ""
    upper_at: str = ""


_NOTHING = Quantity(None, None, "")


def observation(resource: Resource, references: References | None = None, base: str | None = None) -> ReadResult:
    """The results that an Observation states."""
    common = common_observation(resource, references, base)
    return any_observation(resource, references, base) if common is None else ReadResult((common,))


def any_observation(resource: Resource, references: References | None = None, base: str | None = None) -> ReadResult:
    """The results that an Observation of any form states."""
    content = resource.content
    aside: list[FaultyFact] = []
    others: list[ReceiptLine] = []
    parts = _kept_parts(resource, aside, others)
    withdraws_panel = not parts and not aside and not resource.faults and _withdraws_panel(resource)
    if not parts and not aside and not withdraws_panel:
        return ReadResult(skipped="code", lines=tuple(others), unknown=_unknown(resource, content))
    if content.get("focus"):
        return ReadResult(skipped="resource")
    status = status_of(resource, STATUSES)
    if status is None:
        return ReadResult(skipped="status")
    resource.check_modifiers(content, "")
    named = resource.named(resource.elements(content, "identifier"))
    timeless = status in WITHDRAWN and named.id is not None and all(content.get(form) is None for form in EFFECTIVE)
    time, time_at = ("", ".effective[x]") if timeless else effective(resource, EFFECTIVE)
    lab, notes = laboratory(resource, references, base)
    fields = {
        "id": named.id,
        "source": named.source,
        "status": status,
        "time": time,
        "issued": resource.time(content, "issued"),
        "lab": lab,
    }
    if withdraws_panel:
        places = result_places("", time_at, named.at, ".code", "", "", "")
        return ReadResult(panel=Statement("labs", fields, Place(resource.place, places), notes))
    common = _Common(fields, named.at, time_at, notes)
    aside = [_with_name(resource, faulty, fields) for faulty in aside]
    statements = []
    for at, part, word in parts:
        before = len(resource.faults)
        statement = _result(resource, part, at, word, common)
        wrong = resource.faults_since(before)
        if wrong:
            aside.append(FaultyFact(wrong, statement))
        elif statement is not None:
            statements.append(statement)
    return ReadResult(tuple(statements), None if statements or aside else "value", tuple(aside), tuple(others))


def _withdraws_panel(resource: Resource) -> bool:
    """Whether this withdraws a panel that does not list its results."""
    content = resource.content
    status = content.get("status")
    if not isinstance(status, str) or status not in WITHDRAWN or content.get("component"):
        return False
    codings, texts = _named(resource, content)
    return any(SYSTEMS.get(coding.system or "") == LOINC and coding.code in PANELS for coding in codings) or any(
        text is not None and _PANEL.search(text) is not None for text in texts
    )


def unlisted_panel(panel: Statement, latest: int) -> ReceiptLine:
    """The line of the withdrawal of a panel whose results are not known."""
    sent = described(panel, latest)._replace(section=None)
    return ReceiptLine(sent.at, Disposition.SET_ASIDE, NotKept.AMBIGUOUS_WITHDRAWAL, sent=sent)


def _named(resource: Resource, part: Element) -> tuple[tuple[Coding, ...], list[str | None]]:
    """The codes of an Observation or component and the texts of its code, without faults."""
    scratch = Resource(resource.content, "", resource.message)
    concept = scratch.element(part, "code")
    if concept is None:
        return (), []
    codings = tuple(scratch.codings(concept, ""))
    return codings, [scratch.text(concept, "text"), *(coding.text for coding in codings)]


def _unknown(resource: Resource, part: Element) -> SentFact:
    """What is known of an Observation or component with a code that is not ours."""
    codings, texts = _named(resource, part)
    quantity = part.get("valueQuantity")
    unit = quantity.get("unit") if isinstance(quantity, dict) else None
    title = next(filter(None, texts), None)
    titled = (*codings, Coding(None, None, title)) if title is not None else codings
    return unknown_code(titled, unit if isinstance(unit, str) else None)


def _with_name(resource: Resource, faulty: FaultyFact, fields: dict[str, Any]) -> FaultyFact:
    """What cannot be read of a component, with the number and the time of its observation."""
    if faulty.sent is None:
        return faulty
    known = described(Statement("labs", fields, Place(resource.place)), resource.feed.latest)
    content = f"{known.content}{faulty.sent.content}"
    sent = known._replace(at=faulty.sent.at, section=faulty.sent.section, word=faulty.sent.word, content=content)
    return faulty._replace(sent=sent)


def status_of(resource: Resource, statuses: Mapping[str, str | None]) -> str | None:
    """Our status; `None` if the resource is to be skipped. A faulty status is read as final, to find further faults."""
    written = resource.text(resource.content, "status")
    if written is not None and written in statuses:
        return statuses[written]
    if resource.content.get("status") is None:
        resource.fault(".status", FaultCode.MISSING, Accepts(one_of=tuple(statuses)))
    elif written is not None:
        resource.fault(".status", FaultCode.UNKNOWN_VALUE, Accepts(one_of=tuple(statuses)))
    return "final"


def effective(resource: Resource, forms: tuple[str, ...]) -> tuple[str | None, str]:
    """The effective time and its place; of a period, the start. `issued` does not replace it."""
    content = resource.content
    if "effectiveDateTime" in content and _OTHER_TIMES.isdisjoint(content):
        form: str | None = "effectiveDateTime"
    else:
        form = resource.only(content, forms, ".effective[x]")
    if form is None or content[form] is None:
        resource.fault(".effective[x]", FaultCode.MISSING, _read_forms(forms))
        return None, ".effective[x]"
    if form == "effectivePeriod":
        period = resource.element(content, form)
        if period is not None and period.get("start") is None:
            resource.fault(".effectivePeriod.start", FaultCode.MISSING)
        start = None if period is None else resource.time(period, "start", ".effectivePeriod")
        return start, ".effectivePeriod.start"
    if form == "effectiveTiming":
        resource.fault("." + form, FaultCode.UNSUPPORTED, _read_forms(forms))
        return None, "." + form
    return resource.time(content, form), "." + form


def _read_forms(forms: tuple[str, ...]) -> Accepts:
    return Accepts(one_of=tuple(form for form in forms if form != "effectiveTiming"))


def _kept_parts(
    resource: Resource, aside: list[FaultyFact], others: list[ReceiptLine]
) -> list[tuple[str, Element, str]]:
    """The observation and its components whose codes are stored: place, element, our code. The faults of components
    that cannot be stored are added to `aside`, and lines about components that are not ours to `others`.
    """
    content = resource.content
    code = resource.element(content, "code")
    if content.get("code") is None:
        resource.fault(".code", FaultCode.MISSING)
    word = resource.meaning(code, ".code")
    parts = [("", content, word)] if word is not None and word != IVIG else []
    if "component" not in content:
        return parts
    listed = list(resource.elements(content, "component", modifiers=True))
    for at, component in listed:
        before = len(resource.faults)
        word = resource.meaning(resource.element(component, "code", at), at + ".code")
        if word is not None and word != IVIG:
            resource.check_modifiers(component, at)
        wrong = resource.faults_since(before)
        if wrong:
            section = None if word is None else section_of(word)
            sent = SentFact(resource.place + at, section, word, content=json.dumps(component, sort_keys=True))
            aside.append(FaultyFact(wrong, sent=sent))
        elif word is not None and word != IVIG:
            parts.append((at, component, word))
        else:
            sent = _unknown(resource, component)
            others.append(ReceiptLine(resource.place + at, Disposition.NOT_OURS, "code", sent=sent))
    return parts


def _result(resource: Resource, part: Element, at: str, word: str, common: _Common) -> Statement | None:
    """The statement of one result; `None` if it has no value because it is a panel."""
    score = word in ASSESSMENT_CODES
    before = len(resource.faults)
    value = _value(resource, part, at, score=score)
    reason = resource.element(part, "dataAbsentReason", at)
    if reason is not None and not value.missing:
        resource.fault(at + ".dataAbsentReason", FaultCode.VALUE_AND_REASON)
    if common.fields["status"] in WITHDRAWN:
        return _withdrawal(resource, _statement(resource, part, at, word, common, value), before)
    if reason is not None:
        absent = common._replace(fields=common.fields | {"status": "cancelled"})
        return _statement(resource, part, at, word, absent, value)
    if value.missing and not value.no_number:
        if value.at == ".value[x]" and not at and (part.get("component") or part.get("hasMember")):
            return None
        resource.fault(at + value.at, FaultCode.MISSING, _VALUE_FORMS[score] if value.at == ".value[x]" else None)
    return _statement(resource, part, at, word, common, value)


def _statement(resource: Resource, part: Element, at: str, word: str, common: _Common, value: _Value) -> Statement:
    number, unit, unit_at, comparator = value.quantity
    fields = {**common.fields, "code": word}
    if word in ASSESSMENT_CODES:
        fields["score"] = number
        if number is not None and (INSTRUMENTS[word].maximum is None or INSTRUMENTS[word].analogue):
            fields["scale_max"] = _scale(part)
        del fields["lab"]
        places = result_places(at, common.time_at, common.named_at, value.at, unit_at, "", "")
        return Statement("assessments", fields, Place(resource.place, places), no_number=value.no_number)
    found = _Limits()
    if number is not None:
        fields["value"], fields["unit"], fields["comparator"] = number, unit, comparator
        found = _read_limits(resource, part, at, unit)
        fields["lower_limit"], fields["upper_limit"] = found.limits.lower, found.limits.upper
    places = result_places(at, common.time_at, common.named_at, value.at, unit_at, found.lower_at, found.upper_at)
    return Statement("labs", fields, Place(resource.place, places), common.notes + found.limits.notes, value.no_number)


def _scale(part: Element) -> float | None:
    """The greatest score of the scale: the `high` of a range whose text is `scale`, as we write it."""
    listed = part.get("referenceRange")
    for each in listed if isinstance(listed, list) else ():
        high = each.get("high") if isinstance(each, dict) and each.get("text") == "scale" else None
        value: Any = high.get("value") if isinstance(high, dict) else None
        if type(value) in {int, float} and 0 < value <= GREATEST_VALUE:
            return float(value)
    return None


def _withdrawal(resource: Resource, statement: Statement, before: int) -> Statement:
    """The statement of a withdrawal. Without what stands where the value was, if anything of it is faulty."""
    wrong = resource.faults_since(before)
    without = statement._replace(
        fields={name: value for name, value in statement.fields.items() if name not in _CONTENT}, no_number=False
    )
    if wrong or statement.no_number:
        return without
    latest = resource.feed.latest
    faults = len(history_of("unread", [statement], latest)[1])
    return statement if faults == len(history_of("unread", [without], latest)[1]) else without


def _value(resource: Resource, part: Element, at: str, *, score: bool) -> _Value:
    """The value of an observation or component."""
    if "valueQuantity" in part and _OTHER_VALUES.isdisjoint(part):
        form: str | None = "valueQuantity"
    else:
        form = resource.only(part, VALUES, at + ".value[x]")
    if form is None or part[form] is None:
        return _Value(_NOTHING, ".value[x]", missing=True)
    if form == "valueInteger" and score:
        return _Value(Quantity(resource.number(part, form, at), None, ""), ".valueInteger")
    if form != "valueQuantity":
        before = len(resource.faults)
        no_number = _is_no_number(resource, part, form, at)
        if not no_number and len(resource.faults) == before:
            resource.fault(f"{at}.{form}", FaultCode.UNSUPPORTED, _VALUE_FORMS[score])
        return _Value(_NOTHING, "." + form, no_number=no_number)
    written = resource.element(part, form, at)
    if written is None:
        return _Value(_NOTHING, ".valueQuantity")
    quantity = resource.quantity(written, at + ".valueQuantity")
    if score:
        if quantity.unit is not None and _SCORE_UNIT.fullmatch(quantity.unit) is None:
            resource.fault(f"{at}.valueQuantity{quantity.unit_at}", FaultCode.UNIT_MISMATCH, _SCORE_UNITS)
        if quantity.comparator is not None:
            resource.fault(f"{at}.valueQuantity.comparator", FaultCode.UNSUPPORTED, NO_COMPARATOR)
    return _Value(quantity, ".valueQuantity.value", missing=written.get("value") is None)


def _is_no_number(resource: Resource, part: Element, form: str, at: str) -> bool:
    """Whether a value was never meant as a number: words, a code, or a kind that holds no number.

    `HEMOLYZED` is no number. `1,101` and `350 U/L` are numbers that are written wrongly.
    """
    before = len(resource.faults)
    texts: list[str | None] = []
    if form == "valueCodeableConcept":
        concept = resource.element(part, form, at) or {}
        texts = [resource.text(concept, "text"), *(coding.text for coding in resource.codings(concept, at))]
    elif form == "valueString":
        texts = [resource.text(part, form, at)]
        if not (texts[0] or "").strip():
            return False
    elif form not in _NO_NUMBERS:
        return False
    if len(resource.faults) > before:
        return False
    signs = [next((sign for sign in normalize("NFKC", text) if sign.isalnum()), "") for text in texts if text]
    return not any(sign.isdigit() for sign in signs)


def _read_limits(resource: Resource, part: Element, at: str, unit: str | None) -> _Limits:
    """The limits of an observation or component whose unit is `unit`.

    A range counts if it is a normal range and holds for everybody. A range for an age or a group does not count,
    because it may not be that of this patient. If several ranges differ, the limit is unreadable.
    """
    if "referenceRange" not in part:
        return _Limits()
    lower: dict[float, str] = {}
    upper: dict[float, str] = {}
    unreadable = left_out = False
    for where, range_ in resource.elements(part, "referenceRange", at):
        normal = _is_normal(resource, range_, where)
        left_out |= normal is None
        if not normal:
            continue
        sent = _sent_limits(resource, range_, where, unit)
        text = read_limits(resource.text(range_, "text", where) or "", unit, resource.feed.codes)
        limits = joined_limits(sent, text)
        if limits.lower is not None:
            lower.setdefault(limits.lower, where + (".text" if sent.lower is None else ".low.value"))
        if limits.upper is not None:
            upper.setdefault(limits.upper, where + (".text" if sent.upper is None else ".high.value"))
        unreadable |= limits.unreadable
    unreadable |= len(lower) > 1 or len(upper) > 1 or (left_out and not upper)
    low, low_at = _only(lower)
    high, high_at = _only(upper)
    checked = checked_limits(low, high)
    return _Limits(checked._replace(unreadable=checked.unreadable or unreadable), low_at, high_at)


def _only(limits: dict[float, str]) -> tuple[float | None, str]:
    return next(iter(limits.items())) if len(limits) == 1 else (None, "")


def _is_normal(resource: Resource, range_: Element, at: str) -> bool | None:
    """Whether a range is a normal range for everybody; `None` if it may be normal for this patient and is not read.

    A range without a type is normal, as R4 says. A type is read by its code, or by its words if no code of it is known.
    """
    kind = resource.element(range_, "type", at)
    if kind is None:
        return None if range_.get("type") is not None or _is_for_some(range_) else True
    codings = list(resource.codings(kind, at + ".type"))
    known = [coding.code for coding in codings if coding.system in _RANGE_MEANINGS]
    if known:
        normal = "normal" in known
    else:
        words = [resource.text(kind, "text", at + ".type"), *(coding.text for coding in codings)]
        normal = any(word is not None and word.strip().lower() in _NORMAL_WORDS for word in words)
        if not normal:
            return None
    return None if normal and _is_for_some(range_) else normal


def _is_for_some(range_: Element) -> bool:
    return range_.get("age") is not None or bool(range_.get("appliesTo"))


def _sent_limits(resource: Resource, range_: Element, at: str, unit: str | None) -> NormalLimits:
    """The limits that a range gives as quantities."""
    low, bad_low = _limit(resource, range_, "low", at, unit)
    high, bad_high = _limit(resource, range_, "high", at, unit)
    checked = checked_limits(low, high)
    return checked._replace(unreadable=checked.unreadable or bad_low or bad_high)


def _limit(resource: Resource, range_: Element, name: str, at: str, unit: str | None) -> tuple[float | None, bool]:
    """One limit of a range in the unit of the result, and whether it is there and cannot be read.

    Without a unit, it has the unit of the result. Without a value, it says nothing.
    """
    written = resource.element(range_, name, at)
    number = None if written is None else resource.number(written, "value", f"{at}.{name}")
    if written is None or number is None:
        return None, False
    own_unit, _, agree = resource.unit(written, f"{at}.{name}")
    limit = limit_in_unit(Decimal(repr(number)), own_unit, unit) if agree else None
    return limit, limit is None
