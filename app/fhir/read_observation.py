"""Observations: laboratory results and assessments, and the components of panels.

An observation or component whose code is not stored is skipped, whatever it holds. In the others, every element that
is used must be right:

- `focus`: the observation is about another person or thing than the subject; it is skipped (`resource`);
- `registered`, `unknown`: there is no result yet, or it is unknown; the observation is skipped (`status`);
- `dataAbsentReason`: there is no result. It is stored as `cancelled`, so that it withdraws a value sent before;
- a panel (`component`, `hasMember`) without its own value gives no statement itself;
- `meta.versionId` counts the writes of one server, not the versions of a result: it is ignored. `issued` is used.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from app.errors import Accepts, FaultCode
from app.fhir.elements import TERMINOLOGY, Element, Quantity, ReadResult, Resource
from app.fhir.read_common_observation import common_observation, result_places
from app.readers.limits import (
    NO_LIMITS,
    NormalLimits,
    checked_limits,
    joined_limits,
    limit_in_unit,
    read_limits,
)
from app.readers.statements import Place, Statement
from app.timeline.vocabulary import ASSESSMENT_CODES, IVIG, WITHDRAWN

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
    """The fields that an observation shares with its components, and the places of its number and time."""

    fields: dict[str, Any]
    named_at: str
    time_at: str


class _Value(NamedTuple):
    """A value and its place inside its observation or component; `missing`: no value was sent."""

    quantity: Quantity
    at: str
    missing: bool = False


class _Limits(NamedTuple):
    """The limits in the unit of the result, and their places."""

    limits: NormalLimits = NO_LIMITS
    lower_at: str = ""
    upper_at: str = ""


_NOTHING = Quantity(None, None, "")


def observation(resource: Resource) -> ReadResult:
    """The results that an Observation states."""
    common = common_observation(resource)
    return any_observation(resource) if common is None else common


def any_observation(resource: Resource) -> ReadResult:
    """The results that an Observation of any form states."""
    parts = _kept_parts(resource)
    if not parts:
        return ReadResult(skipped="code")
    content = resource.content
    if content.get("focus"):
        return ReadResult(skipped="resource")
    status = status_of(resource, STATUSES)
    if status is None:
        return ReadResult(skipped="status")
    resource.check_modifiers(content, "")
    time, time_at = effective(resource, EFFECTIVE)
    named = resource.named(resource.elements(content, "identifier"))
    fields = {
        "id": named.id,
        "source": named.source,
        "status": status,
        "time": time,
        "issued": resource.time(content, "issued"),
    }
    common = _Common(fields, named.at, time_at)
    stated = [_result(resource, part, at, word, common) for at, part, word in parts]
    statements = tuple(statement for statement in stated if statement is not None)
    return ReadResult(statements, None if statements else "value")


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


def _kept_parts(resource: Resource) -> list[tuple[str, Element, str]]:
    """The observation and its components whose codes are stored: place, element, our code."""
    content = resource.content
    code = resource.element(content, "code")
    if content.get("code") is None:
        resource.fault(".code", FaultCode.MISSING)
    word = resource.meaning(code, ".code")
    parts = [("", content, word)] if word is not None and word != IVIG else []
    if "component" not in content:
        return parts
    for at, component in resource.elements(content, "component", modifiers=True):
        word = resource.meaning(resource.element(component, "code", at), at + ".code")
        if word is not None and word != IVIG:
            resource.check_modifiers(component, at)
            parts.append((at, component, word))
    return parts


def _result(resource: Resource, part: Element, at: str, word: str, common: _Common) -> Statement | None:
    score = word in ASSESSMENT_CODES
    status = common.fields["status"]
    value = _value(resource, part, at, score=score)
    if resource.element(part, "dataAbsentReason", at) is not None:
        if not value.missing:
            resource.fault(f"{at}.dataAbsentReason", FaultCode.VALUE_AND_REASON)
        elif status not in WITHDRAWN:
            status = "cancelled"
    elif value.missing and status not in WITHDRAWN:
        if value.at == ".value[x]" and not at and (part.get("component") or part.get("hasMember")):
            return None
        resource.fault(at + value.at, FaultCode.MISSING, _VALUE_FORMS[score] if value.at == ".value[x]" else None)
    number, unit, unit_at, comparator = value.quantity
    fields = {**common.fields, "code": word, "status": status}
    if score:
        fields["score"] = number
        places = result_places(at, common.time_at, common.named_at, value.at, unit_at, "", "")
        return Statement("assessments", fields, Place(resource.place, places))
    found = _Limits()
    if number is not None:
        fields["value"], fields["unit"], fields["comparator"] = number, unit, comparator
        found = _read_limits(resource, part, at, unit)
        fields["lower_limit"], fields["upper_limit"] = found.limits.lower, found.limits.upper
    places = result_places(at, common.time_at, common.named_at, value.at, unit_at, found.lower_at, found.upper_at)
    return Statement("labs", fields, Place(resource.place, places), found.limits.notes)


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
        resource.fault(f"{at}.{form}", FaultCode.UNSUPPORTED, _VALUE_FORMS[score])
        return _Value(_NOTHING, "." + form)
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
